"""The GPU renderer: in Triton's interpreter against torch in float64, and compiled for the GPUs it is meant for.

The interpreter is chosen when triton is imported, so that each program here is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rsnb.errors import InputError
from rsnb.mpi import RenderOptions, render_mpi

sys.path.insert(0, str(Path(__file__).parent))
from render_scenes import camera, depths, pose, smooth_mpi

INTERPRETED = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from rsnb.errors import InputError
from rsnb.mpi import MpiCamera, RenderOptions, plane_depths, render_mpi
from render_scenes import K_REF, K_TARGET, camera, depths, pose, smooth_mpi

SIZE = (24, 40)
WEIGHTS = torch.randn(5, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

def rendered(mpi, view, z, **options):
    mpi = mpi.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    result = render_mpi(mpi, z, view, RenderOptions(**options))
    picture = torch.cat([result.rgb, result.depth[None], result.alpha[None]])
    gradient, = torch.autograd.grad((picture * WEIGHTS.to(mpi.dtype)).sum(), mpi)
    return result, gradient

def compare(name, mpi, view, z=None, channels_last=True, **options):
    z = depths(len(mpi)) if z is None else z
    exact, wanted = rendered(mpi, view, z, backend="torch", **options)
    single = mpi.float()
    if channels_last:
        single = single.contiguous(memory_format=torch.channels_last)
    ours, gradient = rendered(single, view, z, backend="triton", **options)
    assert gradient.stride() == single.stride(), name
    assert (ours.rgb - exact.rgb).abs().max() < 2e-6, (name, (ours.rgb - exact.rgb).abs().max())
    assert (ours.alpha - exact.alpha).abs().max() < 2e-6, name
    assert (ours.depth - exact.depth).abs().max() < 2e-5, (name, (ours.depth - exact.depth).abs().max())
    assert torch.equal(ours.mask, exact.mask) and ours.mask.dtype == torch.bool, name
    for part in (slice(0, 3), slice(3, 4)):
        apart, size = (gradient - wanted)[:, part], wanted[:, part]
        assert apart.norm() < 2e-5 * size.norm(), (name, float(apart.norm() / size.norm()))
        assert size.abs().max() > 1e-3, name
    print("same", name)
    return ours

for published in (False, True):
    for where, shift in (("ahead", (0.3, -0.2, 0.4)), ("past the first planes", (0.3, -0.2, -3.5))):
        view = camera(ref_to_target=pose(shift=shift), size=SIZE)
        compare(f"published {published}, {where}", smooth_mpi(5), view, channels_last=published == (where == "ahead"),
                published=published, background=(0.2, 0.5, 0.9))
view = camera(size=SIZE)
compare("opaque", smooth_mpi(5, density=20.0), view)
half = compare("half of the planes", smooth_mpi(5), view, mask_share=0.5, last_gap=0.7)
assert 0 < half.mask.float().mean() < 1
with torch.no_grad():  # nothing is kept for a way back
    again = render_mpi(smooth_mpi(5).float(), depths(5), view, RenderOptions("triton", mask_share=0.5, last_gap=0.7))
assert all((a.float() - b.float()).abs().max() < 1e-6 for a, b in zip(again, half))
compare("two planes", smooth_mpi(2), view)

mpi = torch.zeros(5, 4, 48, 64).requires_grad_()
for motion in (pose((0, 88, 0), (0.0, 0.0, 0.0)), pose((0, 0, 0), (0, 0, -20.0))):  # aside; behind all planes
    for published in (False, True):
        result = render_mpi(mpi, depths(5), camera(ref_to_target=motion, size=SIZE), RenderOptions("triton", published))
        gradient, = torch.autograd.grad(result.rgb.sum() + result.depth.sum(), mpi)
        assert torch.isfinite(gradient).all() and (result.alpha == 0).all() and (result.depth == 0).all()

# what is kept of a camera is made anew when depths, camera or gap change, also in place
z, mpi = depths(5), smooth_mpi(5).float()
seen = [render_mpi(mpi, z, view, RenderOptions("triton")).rgb]
z *= 1.3
seen.append(render_mpi(mpi, z, view, RenderOptions("triton")).rgb)
seen.append(render_mpi(mpi, z, view, RenderOptions("triton", last_gap=9.0)).rgb)
view.ref_to_target[0, 3] += 0.1
seen.append(render_mpi(mpi, z, view, RenderOptions("triton", last_gap=9.0)).rgb)
wanted = render_mpi(mpi, z, view, RenderOptions("torch", last_gap=9.0)).rgb
assert all((a - b).abs().max() > 1e-3 for a, b in zip(seen, seen[1:])) and (seen[-1] - wanted).abs().max() < 2e-5

with torch.inference_mode():  # its tensors do not count what is written to them
    z, view = depths(5), camera(size=SIZE)
    ours, wanted = (render_mpi(mpi, z, view, RenderOptions(backend)).rgb for backend in ("triton", "torch"))
    assert (ours - wanted).abs().max() < 2e-5
    z *= 1.3
    assert (render_mpi(mpi, z, view, RenderOptions("triton")).rgb - ours).abs().max() > 1e-3

nan = smooth_mpi(5).float()
nan[2, 3, 20, 30] = float("nan")
still = MpiCamera(K_REF, K_REF, torch.eye(4), (48, 64))
result = render_mpi(nan, depths(5), still, RenderOptions("triton"))
assert torch.isnan(result.rgb[0, 20, 30]) and torch.isfinite(result.rgb[:, 40, 10]).all()

for bad in (smooth_mpi(5), smooth_mpi(5).float()):
    try:
        render_mpi(bad, depths(5), camera(ref_to_target=pose().requires_grad_()), RenderOptions("triton"))
    except InputError as error:
        assert "triton renderer" in str(error)
    else:
        raise AssertionError("float64, or a pose that asks for gradients, was rendered")
print("done")
"""

# What the kernels become on a GPU: an architecture is named, none is needed.
COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from rsnb.mpi import triton_kernels

WHOLE = ("first", "planes", "height", "width", "rows", "columns")

def built(kernel, **constants):
    constants |= {"PUBLISHED": False, "TILE_X": 32, "TILE_Y": 4}
    kinds = {name: "constexpr" if name in constants else "*fp64" if name == "camera" else "*u8" if name == "mask" else
             "fp32" if name == "least_share" else "i32" if name in WHOLE else "*fp32" for name in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(kernel.arg_names)
               if kinds[name].startswith("*")}
    done = triton.compile(ASTSource(kernel, kinds, constants, aligned), target=GPUTarget("cuda", 90, 32),
                          options={"num_warps": 4, "enable_fp_fusion": True})
    assert len(done.asm["cubin"]) > 1000
    return done.asm["ptx"]

last = built(triton_kernels.composite, CHANNELS_LAST=True, KEEP=True)
assert last.count("ld.global.v4") == 4  # a texel is one load of 16 bytes
back = built(triton_kernels.composite_backward, CHANNELS_LAST=True)
assert back.count("global.gpu.relaxed.add.v4.f32") == 4  # and one addition
first = built(triton_kernels.composite_backward, CHANNELS_LAST=False)
assert first.count("global.gpu.relaxed.add.f32") == 16
for text in (last, back, first):
    assert "bar.sync" not in text and "shared" not in text  # no thread waits for another
print("done")
"""


def run(program: str, **variables) -> str:
    done = subprocess.run([sys.executable, "-c", program, str(Path(__file__).parent)], capture_output=True, text=True,
                          timeout=300, env=os.environ | variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_in_the_interpreter_it_is_torch_in_float64():
    pytest.importorskip("triton", reason="triton is not installed")
    said = run(INTERPRETED, TRITON_INTERPRET="1")
    assert said.count("same") == 7 and said.endswith("done\n")


def test_it_compiles_for_a_gpu_with_wide_loads_and_additions(tmp_path):
    pytest.importorskip("triton", reason="triton is not installed")
    assert run(COMPILED, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path)).endswith("done\n")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_on_a_gpu_it_is_torch_in_float64(published, channels_last):
    pytest.importorskip("triton", reason="triton is not installed")
    order = torch.channels_last if channels_last else torch.contiguous_format
    mpi = smooth_mpi().float().cuda().contiguous(memory_format=order).requires_grad_()
    exact = smooth_mpi().requires_grad_()
    view = camera(ref_to_target=pose())
    for leaf, backend in ((exact, "torch"), (mpi, "auto")):
        result = render_mpi(leaf, depths(), view, RenderOptions(backend, published))
        (result.rgb.sum() + result.depth.sum()).backward()
        rgb = result.rgb.detach().double().cpu()
    assert (rgb - render_mpi(exact, depths(), view, RenderOptions("torch", published)).rgb).abs().max() < 2e-5
    assert (mpi.grad.cpu() - exact.grad).norm() < 1e-4 * exact.grad.norm()


def test_it_is_refused_without_a_gpu():
    with pytest.raises(InputError, match="triton renderer"):
        render_mpi(smooth_mpi().float(), depths(), camera(), RenderOptions("triton"))
