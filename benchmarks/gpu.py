"""Everything that only a GPU can show, in one run of less than ten minutes.

    python benchmarks/gpu.py [--out benchmarks/results/gpu.json] [--only CHECK ...]
    python benchmarks/gpu.py --dry      toy size on the CPU, kernels in Triton's interpreter; its times mean nothing

Needs torch, numpy and scipy; triton, the mesh room's packages and pytest where they are there: a check that lacks
something is left out with its reason. The scene is made here: a textured ground with a raised block, 21 views.

- multiplane renderer, torch and Triton on the device against torch in float64 on the CPU: picture, depth, gradients
- their times at 512 x 512 x 32, forward and forward + backward: CUDA events, medians
- explicit optimisation of a full scene: 512 x 512, 32 planes, 5,000 view-steps
- the published decoder on the same scene, for at most three minutes, and what 5,000 of its steps would take
- the mesh room's shading on the device against the CPU
- density renderer, Triton and the cylinder on the device against torch in float64 on the CPU, and their times for one
  panorama of 128 x 512 rays x 100 samples in 65 x 256 x 256, a thin and a dense volume
- a training step of the published density model, batch 4, with critics and all losses: its memory
- the tests marked `cuda`

Ends with a verdict, and exit code 1 where a promise is missed or a check breaks. Without a GPU it says so and does
nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from pathlib import Path

import torch
from gpu_checks.bench import Bench, LeftOut
from gpu_checks.density import density_parity, density_times
from gpu_checks.density_training import density_step
from gpu_checks.full_scene import full_scene, published_decoder
from gpu_checks.mesh import mesh_shading
from gpu_checks.renderer import renderer_parity, renderer_times


def marked_tests(bench: Bench) -> dict:
    """The tests that want a GPU."""
    if bench.dry:
        raise LeftOut("they run on a GPU only")
    try:
        import pytest
    except ImportError:
        raise LeftOut("pytest is not installed") from None
    tests = Path(__file__).parents[1] / "tests"
    code = pytest.main(["-q", "-m", "cuda", "-p", "no:cacheprovider", str(tests / "mpi"), str(tests / "density"),
                        str(tests / "training")])
    bench.promise("tests marked cuda", int(code) == 0)
    return {"exit_code": int(code)}


CHECKS = {"renderer parity": renderer_parity, "renderer times": renderer_times, "full scene": full_scene,
          "published decoder": published_decoder, "mesh shading": mesh_shading, "density parity": density_parity,
          "density times": density_times, "density step": density_step, "marked tests": marked_tests}


def show(name: str, found: dict) -> None:
    print(f"\n{name}")
    for key, value in found.items():
        print(f"  {key}: {_short(value)}")


def _short(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(part)}" for key, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def run(bench: Bench, names: list[str]) -> dict:
    """All checks: what each found, why it was left out, or how it broke; one does not stop the others."""
    record = {}
    for name in names:
        begin = time.perf_counter()
        try:
            found = CHECKS[name](bench)
        except LeftOut as reason:
            found = {"left out": str(reason)}
        except Exception as error:
            traceback.print_exc()
            found = {"broke": f"{type(error).__name__}: {error}"[:500]}
            bench.promise(f"{name} broke: {type(error).__name__}: {str(error)[:200]}", False)
        record[name] = found | {"check_seconds": time.perf_counter() - begin}
        show(name, record[name])
    return record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/gpu.json, or nowhere in a dry run")
    parser.add_argument("--only", nargs="+", choices=list(CHECKS), default=list(CHECKS))
    parser.add_argument("--dry", action="store_true", help="every check at toy size on the CPU")
    args = parser.parse_args()
    if args.dry:
        os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported, which nothing has done yet
        bench = Bench("cpu", 32, 4, 10, 1, 20.0)
    elif not torch.cuda.is_available():
        print("torch sees no GPU: nothing is measured and no record is written. (--dry tries the script itself.)")
        return 0
    else:
        bench = Bench("cuda", 512, 32, 5000, 50, 180.0)
    facts = {"dry": bench.dry, "device": "cpu" if bench.dry else torch.cuda.get_device_name(),
             "torch": torch.__version__, "cuda": torch.version.cuda, "size": [bench.size, bench.size, bench.planes]}
    try:
        import triton

        facts["triton"] = triton.__version__
    except ImportError:
        facts["triton"] = None
    print(json.dumps(facts))
    begin = time.perf_counter()
    record = facts | {"checks": run(bench, args.only), "seconds": time.perf_counter() - begin}
    print()
    for line, kept in bench.lines:
        print("kept  " if kept else "MISSED", line)
    record["verdict"] = [{"line": line, "kept": kept} for line, kept in bench.lines]
    out = args.out or (None if bench.dry else Path(__file__).parent / "results" / "gpu.json")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1) + "\n")
    return 0 if all(kept for _, kept in bench.lines) else 1


if __name__ == "__main__":
    sys.exit(main())
