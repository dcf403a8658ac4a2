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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from rsnb.geometry.poses import invert, look_at, pose_from_heading
from rsnb.mpi import MpiCamera, RenderOptions, plane_depths, plane_sweep, render_mpi
from rsnb.mpi.planes import share_in_frame
from rsnb.scenes import PosedImages

FORWARD_US, BOTH_US, SCENE_SECONDS = 130.0, 500.0, 60.0  # promises
PANORAMA_US, PANORAMA_BOTH_US = 500.0, 2000.0  # of the density renderer
# How far each renderer may be from float64; torch's sampling coordinates are off by some 1e-5 texels of white noise.
SAME = {"torch": {"colour": 2e-4, "depth": 1e-4, "gradient of colour": 1e-3, "gradient of sigma": 1e-3},
        "triton": {"colour": 5e-5, "depth": 1e-5, "gradient of colour": 1e-4, "gradient of sigma": 1e-4}}
# Of the density renderer's march; the cylinder smooths, and is compared on the mean.
SAME_DENSITY = {"triton": {"colour": 2e-5, "distance": 2e-4, "gradient": 1e-4},
                "cylinder": {"mean colour": 4e-3, "mean distance": 2e-2}}
SHADES = 2e-3  # of colour 0..1, between shading on the device and on the CPU


class LeftOut(Exception):
    """A check that cannot be done here; the text says why."""


@dataclass
class Bench:
    """What the checks share.

    Attributes:
        device: torch's.
        size, planes, view_steps, repeats: of the work.
        decoder_seconds: wall time that the published decoder gets.
        lines: the verdict so far: text, and whether it is kept.
    """

    device: str
    size: int
    planes: int
    view_steps: int
    repeats: int
    decoder_seconds: float
    lines: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def dry(self) -> bool:
        return self.device == "cpu"

    def promise(self, text: str, kept: bool) -> None:
        self.lines.append((text, bool(kept)))


def random_planes(bench: Bench) -> tuple[torch.Tensor, torch.Tensor, MpiCamera]:
    """White noise [P, 4, H, W] on the CPU, depths, and a camera that has moved, turned and zoomed a little."""
    size = bench.size
    mpi = torch.rand(bench.planes, 4, size, size, generator=torch.Generator().manual_seed(0))
    mpi[:, 3] *= 0.1
    K_ref = torch.tensor([[1.094 * size, 0, 0.512 * size], [0, 1.07 * size, 0.49 * size], [0, 0, 1]]).double()
    K_target = torch.tensor([[1.115 * size, 0, 0.486 * size], [0, 1.1 * size, 0.506 * size], [0, 0, 1]]).double()
    turn = pose_from_heading([0, 0, 0], *np.deg2rad([3, -2, 5])) @ invert(pose_from_heading([0, 0, 0], 0.0))
    turn[:3, 3] = 3.0, -4.0, 1.5
    return mpi, plane_depths(70.0, 115.0, bench.planes), MpiCamera(K_ref, K_target, turn, (size, size))


def ground_and_block(size: int, count: int = 21) -> PosedImages:
    """View "000" looks down from the middle, the others from a circle around it; with true z depth."""
    eyes = [(0.0, 0.0, 6.0), *((0.6 * np.cos(a), 0.6 * np.sin(a), 6.1) for a in np.linspace(0, 6, count - 1))]
    poses = np.stack([look_at(eye, (0.1, -0.05, 0.5), (0.02 * k - 0.2, 1, 0)) for k, eye in enumerate(eyes)])
    K = np.array([[1.1 * size, 0, size / 2 - 1.5], [0, 1.15 * size, size / 2 + 1.0], [0, 0, 1]])
    shots = [_shot(K, pose, size) for pose in poses]
    return PosedImages(np.stack([s[0] for s in shots]), poses, "pinhole", tuple(f"{k:03d}" for k in range(count)),
                       np.broadcast_to(K, (count, 3, 3)).copy(), z_depth=np.stack([s[1] for s in shots]),
                       near_far=np.tile([4.0, 7.5], (count, 1)))


def _shot(K: np.ndarray, pose: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    back = invert(pose)
    rows, columns = np.mgrid[:size, :size] + 0.5
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(K).T @ back[:3, :3].T
    ground, top = -back[2, 3] / rays[..., 2], (1.5 - back[2, 3]) / rays[..., 2]
    roof = back[:3, 3] + rays * top[..., None]
    block = (np.abs(roof[..., 0]) < 0.9) & (np.abs(roof[..., 1]) < 0.7)
    z = np.where(block, top, ground)
    x, y = np.moveaxis((back[:3, 3] + rays * z[..., None])[..., :2], -1, 0)
    waves = [0.5 + 0.2 * np.sin(3.4 * x + 2 * c) * np.cos(2.9 * y - c) + 0.15 * np.sin(1.9 * x - 2.3 * y + c)
             + 0.1 * np.sin(23 * x + c) * np.sin(19 * y) for c in range(3)]
    return np.stack([np.where(block, 0.9 - 0.6 * w, w) for w in waves]).astype(np.float32), z.astype(np.float32)


def need_triton() -> None:
    try:
        import triton  # noqa: F401
    except ImportError:
        raise LeftOut("triton is not installed") from None


def outputs(planes: torch.Tensor, depths, camera, options: RenderOptions, weights: torch.Tensor):
    """Colour, depth and the gradient of a weighted sum of both, in float64 on the CPU."""
    planes = planes.detach().requires_grad_()
    seen = render_mpi(planes, depths, camera, options)
    ((seen.rgb * weights[:3].to(planes)).sum() + (seen.depth * weights[3].to(planes)).sum()).backward()
    return [part.detach().double().cpu() for part in (seen.rgb, seen.depth, planes.grad)]


def renderer_parity(bench: Bench) -> dict:
    """Greatest difference of colour and (relative) depth, and L2 of gradients, on pixels whose ray stays in frame."""
    mpi, depths, camera = random_planes(bench)
    inside = share_in_frame(plane_sweep(camera, depths), (bench.size, bench.size), -0.5) == 1
    weights = torch.randn(4, bench.size, bench.size, generator=torch.Generator().manual_seed(1)) * inside
    weights[3] *= 0.01
    found: dict[str, dict] = {"pixels in frame": {"share": float(inside.float().mean())}}
    for published in (False, True):
        exact = outputs(mpi.double(), depths, camera, RenderOptions("torch", published), weights)
        for backend, order in (("torch", "first"), ("triton", "last"), ("triton", "first")):
            if backend == "triton":
                try:
                    need_triton()
                except LeftOut:
                    continue
            memory = torch.channels_last if order == "last" else torch.contiguous_format
            ours = outputs(mpi.to(bench.device).contiguous(memory_format=memory), depths, camera,
                           RenderOptions(backend, published), weights)
            apart = [(a - b) for a, b in zip(ours, exact, strict=True)]
            facts = {"colour": float(apart[0][:, inside].abs().max()),
                     "depth": float((apart[1] / exact[1])[inside].abs().max()),
                     "gradient of colour": float(apart[2][:, :3].norm() / exact[2][:, :3].norm()),
                     "gradient of sigma": float(apart[2][:, 3].norm() / exact[2][:, 3].norm())}
            name = f"{backend}, channels {order}, {'published' if published else 'mended'}"
            found[name] = facts
            wrong = [f"{key} {facts[key]:.1e}" for key, limit in SAME[backend].items() if not facts[key] <= limit]
            bench.promise(f"{name}: as torch in float64" + (f", but {', '.join(wrong)}" if wrong else ""), not wrong)
    return found


def timed(bench: Bench, call: Callable[[], object]) -> dict[str, float]:
    """Microseconds of one call: alone, from its start to its end on the device; and in a row of 20, which hides what
    Python takes wherever the device is the slower."""
    for _ in range(min(5, bench.repeats)):
        call()
    if bench.dry:
        begin = time.perf_counter()
        call()
        return {"alone_us": (time.perf_counter() - begin) * 1e6, "in_a_row_us": None}

    def span(count: int) -> float:
        torch.cuda.synchronize()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(count):
            call()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e3 / count

    return {"alone_us": float(np.median([span(1) for _ in range(bench.repeats)])),
            "in_a_row_us": float(np.median([span(20) for _ in range(max(3, bench.repeats // 5))]))}


def kernel_times(call: Callable[[], object]) -> dict[str, float]:
    """Microseconds a call of every kernel on the GPU that takes at least 1."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(10):
            call()
        torch.cuda.synchronize()
    times = {row.key[:60]: row.self_device_time_total / 10 for row in seen.key_averages()}
    return {name: spent for name, spent in sorted(times.items(), key=lambda item: -item[1]) if spent >= 1}


def renderer_times(bench: Bench) -> dict:
    """Of every way to render on the device; the baseline is the torch path."""
    mpi, depths, camera = random_planes(bench)
    found = {}
    for backend, order in (("torch", "first"), ("triton", "last"), ("triton", "first")):
        if backend == "triton":
            need_triton()
        memory = torch.channels_last if order == "last" else torch.contiguous_format
        planes = mpi.to(bench.device).contiguous(memory_format=memory)
        asking = planes.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        options = RenderOptions(backend)

        def forward(planes=planes, options=options):
            with torch.no_grad():
                return render_mpi(planes, depths, camera, options).rgb

        towards = torch.rand_like(forward())

        def both(asking=asking, options=options, towards=towards):
            return torch.autograd.grad(render_mpi(asking, depths, camera, options).rgb, asking, towards)

        row = found[f"{backend}, channels {order}"] = {"forward": timed(bench, forward), "both": timed(bench, both)}
        if not bench.dry:
            row["kernels_us"] = kernel_times(both)
    fast = found["triton, channels last"]
    if not bench.dry:
        from rsnb.mpi import render_triton

        found["tiles chosen"] = {"forward": str(render_triton._forward.best_config),
                                 "backward": str(render_triton._backward.best_config)}
        for kind, limit, title in (("forward", FORWARD_US, "forward"), ("both", BOTH_US, "forward + backward")):
            spent = fast[kind]["in_a_row_us"]
            bench.promise(f"fused renderer, {title}: {spent:.0f} us, at most {limit:g}", spent <= limit)
    return found


def split(views: PosedImages) -> tuple[list[str], list[str]]:
    """Odd names to learn from, even ones to test; 000 is the reference."""
    return list(views.names[1::2]), list(views.names[2::2])


def test_psnr(result, views: PosedImages, names: list[str]) -> float:
    """Mean over the test views, on pixels whose ray meets at least half of the planes."""
    found = []
    for name in names:
        seen, k = result.view(views, name), views.names.index(name)
        wrong = (np.asarray(seen.rgb.cpu()) - views.images[k]) ** 2
        mask = np.asarray(seen.mask.cpu())
        found.append(-10 * np.log10(max(float(wrong[:, mask].mean()), 1e-10)))
    return float(np.mean(found))


def full_scene(bench: Bench) -> dict:
    """Seconds and test PSNR of an explicit optimisation."""
    from rsnb.mpi import ExplicitOptions, optimise_explicit

    views = ground_and_block(bench.size)
    train, test = split(views)
    each = 5
    options = ExplicitOptions(planes=bench.planes, steps=(bench.view_steps // each,), views_per_step=each)
    if not bench.dry:
        torch.cuda.reset_peak_memory_stats()  # of this scene, not of the checks before
    begin = time.perf_counter()
    result = optimise_explicit(views, "000", train, options, device=bench.device)
    if not bench.dry:
        torch.cuda.synchronize()
    spent = time.perf_counter() - begin
    row = {"view_steps": bench.view_steps, "seconds": spent, "test_psnr_db": test_psnr(result, views, test)}
    if not bench.dry:
        row["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        bench.promise(f"explicit scene, {bench.view_steps:,} view-steps: {spent:.1f} s, at most {SCENE_SECONDS:g}",
                      spent <= SCENE_SECONDS)
    return row


def published_decoder(bench: Bench) -> dict:
    """What the published recipe reaches on the same scene in its time, and what 5,000 steps would take."""
    try:
        from rsnb.mpi.decoder_loss import DecoderLossOptions, Switches
        from rsnb.mpi.per_scene import DecoderOptions, optimise_decoder
    except ImportError as error:
        raise LeftOut(f"the published recipe is not there ({error})") from None
    from rsnb.errors import InputError

    views = ground_and_block(max(bench.size, 128))
    train, test = split(views)

    def run(weights):
        loss = DecoderLossOptions(weights=weights, switches=Switches.all_published())
        options = DecoderOptions(planes=bench.planes, steps=2 if bench.dry else 5000, seconds=bench.decoder_seconds,
                                 loss=loss, check_every=1 if bench.dry else 20, save_epochs=0,
                                 bottleneck_norm="group" if views.images.shape[-1] < 256 else "batch")
        return optimise_decoder(views, "000", train, options, device=bench.device)

    terms = "L1, SSIM, LPIPS"
    begin = time.perf_counter()
    try:
        if bench.dry:
            raise InputError("toy size")
        result = run((2.0, 1.0, 1.0))
    except InputError as error:  # the trunk of LPIPS is a file that may not be at hand
        terms, begin = f"L1, SSIM (no LPIPS: {str(error)[:120]})", time.perf_counter()
        result = run((2.0, 1.0, 0.0))
    spent, steps = time.perf_counter() - begin, result.mpi.history[-1]["step"]
    return {"steps": steps, "seconds": spent, "seconds_for_5000_steps": spent / steps * 5000, "loss": terms,
            "test_psnr_db": test_psnr(result.mpi, views, test)}


def mesh_shading(bench: Bench) -> dict:
    """Greatest difference of one street view shaded on the device and on the CPU."""
    try:
        from rsnb.city import CityOptions, build_district
        from rsnb.geometry import PinholeCamera
        from rsnb.mesh import RayScene, render
        from rsnb.mesh import RenderOptions as MeshOptions

        if bench.dry:
            raise LeftOut("a district takes too long for a dry run")
        district = build_district(CityOptions(seed=0))
        scene = RayScene(district.mesh)
    except ImportError as error:
        raise LeftOut(f"the mesh room lacks a package ({error})") from None
    stations = district.street_path(16.0)
    middle = len(stations) // 2
    pose = pose_from_heading(stations.position[middle], stations.heading[middle])
    camera = PinholeCamera.from_fov(np.deg2rad(90), bench.size, bench.size)
    pictures = [np.asarray(torch.as_tensor(render(scene, camera, pose, MeshOptions(device=device)).rgb).cpu())
                for device in ("cpu", bench.device)]
    apart = np.abs(pictures[0].astype(float) - pictures[1].astype(float))
    scale = 255.0 if pictures[0].dtype == np.uint8 else 1.0
    mean = float(apart.mean() / scale)
    bench.promise(f"mesh shading on the device: mean difference {mean:.1e}, at most {SHADES:g}", mean <= SHADES)
    return {"mean": mean, "greatest": float(apart.max() / scale)}


def panorama_of(bench: Bench, name: str):
    """A volume on the CPU ("thin": hollow blocks in empty air; "dense": no empty place), and rays for it."""
    from rsnb.density.volume import DensityVolume, TileFrame
    from rsnb.geometry import PanoramaCamera

    depth, size = (4, 8) if bench.dry else (64, 256)
    generator = torch.Generator().manual_seed(0)
    sigma = torch.rand(1, depth, size, size, generator=generator) * 2
    if name == "thin":
        sigma = torch.zeros_like(sigma)
        for k in range(24):  # in rings about the camera
            x, y = (int(size * (0.5 + (0.3 + 0.12 * (k % 2)) * f(k * 0.26))) for f in (np.sin, np.cos))
            block = sigma[0, :depth * (3 + k % 5) // 8, y - size // 30:y + size // 30, x - size // 40:x + size // 40]
            block[...] = 4.0
            block[:-2, 2:-2, 2:-2] = 0
    tile = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8, generator=generator), size=(size, size),
                                           mode="bicubic").clamp(0, 1)
    return DensityVolume(sigma, tile, TileFrame(30.0, 8.0)), PanoramaCamera(*((8, 4) if bench.dry else (512, 128)))


def density_parity(bench: Bench) -> dict:
    """Greatest (of the cylinder: mean) differences of colour and distance, metres, and L2 of the gradient of sigma."""
    from dataclasses import replace

    from rsnb.density.render import render_panorama
    from rsnb.density.volume import RenderOptions

    samples, found = 6 if bench.dry else 100, {}
    for ground, edges in (("plane", "hold"), ("slab", "fade")):
        volume, camera = panorama_of(bench, "thin")
        volume = replace(volume, sigma=volume.sigma + 0.01, ground=ground, edges=edges)
        weights = torch.randn(1, 3, camera.height, camera.width, generator=torch.Generator().manual_seed(1)).double()

        def rendered(volume, backend, camera=camera, weights=weights):
            sigma = volume.sigma.detach().requires_grad_()
            seen = render_panorama(replace(volume, sigma=sigma), camera, [0.4, 0.2, 2.0], 0.3,
                                   RenderOptions(samples, backend=backend))
            gradient, = torch.autograd.grad((seen.rgb * weights.to(seen.rgb)).sum(), sigma)
            return [part.detach().double().cpu() for part in (seen.rgb, seen.distance, gradient)]

        exact = rendered(volume.to(torch.float64), "torch")
        for backend in ("triton", "cylinder"):
            if backend == "triton":
                try:
                    need_triton()
                except LeftOut:
                    continue
            apart = [a - b for a, b in zip(rendered(volume.to(bench.device), backend), exact, strict=True)]
            facts = {"colour": float(apart[0].abs().max()), "distance": float(apart[1].abs().max()),
                     "mean colour": float(apart[0].abs().mean()), "mean distance": float(apart[1].abs().mean()),
                     "gradient": float(apart[2].norm() / exact[2].norm())}
            name = f"density, {backend}, {ground}"
            found[name] = facts
            if bench.dry and backend == "cylinder":
                continue  # toy cells are wide
            wrong = [f"{key} {facts[key]:.1e}" for key, limit in SAME_DENSITY[backend].items()
                     if not facts[key] <= limit]
            bench.promise(f"{name}: as torch in float64" + (f", but {', '.join(wrong)}" if wrong else ""), not wrong)
    return found


def density_times(bench: Bench) -> dict:
    """Of one panorama, forward and forward + backward to the densities."""
    from dataclasses import replace

    from rsnb.density.render import render_panorama
    from rsnb.density.volume import RenderOptions

    need_triton()
    found = {}
    for name in ("thin", "dense"):
        volume, camera = panorama_of(bench, name)
        volume = volume.to(bench.device)
        asking = replace(volume, sigma=volume.sigma.clone().requires_grad_())
        for backend in ("triton", "cylinder"):
            options = RenderOptions(6 if bench.dry else 100, backend=backend)

            def forward(volume=volume, camera=camera, options=options):
                with torch.no_grad():
                    return render_panorama(volume, camera, [0.0, 0.0, 2.0], 0.0, options).rgb

            towards = torch.rand_like(forward())

            def both(volume=asking, camera=camera, options=options, towards=towards):
                rgb = render_panorama(volume, camera, [0.0, 0.0, 2.0], 0.0, options).rgb
                return torch.autograd.grad(rgb, volume.sigma, towards)

            row = found[f"{backend}, {name}"] = {"forward": timed(bench, forward), "both": timed(bench, both)}
            if not bench.dry:
                row["kernels_us"] = kernel_times(both)
        if not bench.dry:
            for kind, limit, title in (("forward", PANORAMA_US, "forward"),
                                       ("both", PANORAMA_BOTH_US, "forward + backward")):
                spent = found[f"triton, {name}"][kind]["in_a_row_us"]
                bench.promise(f"density, {name} volume, {title}: {spent:.0f} us, at most {limit:g}", spent <= limit)
    return found


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
          "density times": density_times, "marked tests": marked_tests}


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
