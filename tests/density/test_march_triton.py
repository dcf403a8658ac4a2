"""The GPU march: in Triton's interpreter against torch in float64, and compiled for the GPUs it is meant for.

The interpreter is chosen when triton is imported, so that each program here is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rsnb.density.render import render_panorama
from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame
from rsnb.geometry import PanoramaCamera

sys.path.insert(0, str(Path(__file__).parent))
from reference_march import CEILING, EXTENT, patchy

INTERPRETED = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from reference_march import CEILING, EXTENT, patchy, rays
from rsnb.density.render import march, render_panorama
from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame
from rsnb.geometry import PanoramaCamera

FRAME = TileFrame(EXTENT, CEILING)
sigma, tile = (torch.tensor(part) for part in patchy(size=12, depth=6, pixels=9))
origin, directions = rays(count=90)
weights = torch.randn(2, 5, 90, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

def rendered(backend, ground, edges, placement, dtype, origins, ways):
    leaves = [part.to(dtype, copy=True).requires_grad_() for part in (sigma, tile)]
    found = march(DensityVolume(*leaves, FRAME, ground, edges), origins, ways,
                  RenderOptions(4, 16.0, placement, backend=backend))
    picture = torch.cat([found.rgb, found.opacity[:, None], found.distance[:, None]], dim=1)
    return picture, torch.autograd.grad((picture * weights.to(dtype)).sum(), leaves)

own = torch.tensor(origin) + torch.rand(2, 90, 3, generator=torch.Generator().manual_seed(2))
turned = torch.tensor(directions)[None].flip(1).expand(2, -1, -1).clone()
turned[1] = turned[1].roll(7, 0)
turned[0, 0] = torch.tensor([1.0, 0, 0])  # level, along an axis
shared, each = (origin[None, None], directions[None]), (own, turned)
for ground, edges, placement, cast in (("plane", "hold", "middle", each), ("slab", "fade", "end", shared),
                                       ("none", "hold", "end", each)):
    exact, wanted = rendered("torch", ground, edges, placement, torch.float64, *cast)
    ours, gradients = rendered("triton", ground, edges, placement, torch.float32, *cast)
    apart = (ours - exact).abs().amax(dim=(0, 2))
    assert apart[:4].max() < 2e-5, apart
    assert apart[4] < 2e-4, apart
    for a, b in zip(gradients, wanted):
        assert (a - b).norm() < 3e-5 * b.norm(), float((a - b).norm() / b.norm())
    print("same", ground, edges, placement)

with torch.no_grad():
    v = DensityVolume(sigma.float(), tile.float(), FRAME)
    a, b = (render_panorama(v, PanoramaCamera(24, 12), [[0, 0, 2.0], [4, 1, 3.0]], 0.4, RenderOptions(4, backend=name))
            for name in ("triton", "torch"))
    assert (a.rgb - b.rgb).abs().max() < 2e-5 and a.rgb.shape == (2, 3, 12, 24)
    # a tile that asks for nothing gets nothing
leaf = v.sigma.clone().requires_grad_()
march(DensityVolume(leaf, v.tile, FRAME), origin[None, None], directions[None],
      RenderOptions(4, 16.0, backend="triton")).rgb.sum().backward()
assert leaf.grad.abs().max() > 0 and v.tile.grad is None
nan = v.sigma.clone()
nan[0, :, :, 6] = torch.nan
found = march(DensityVolume(nan, v.tile, FRAME, "none"), origin[None, None], directions[None],
              RenderOptions(4, 16.0, backend="triton"))
assert torch.isnan(found.rgb[0]).any() and torch.isfinite(found.rgb[1]).all()
print("done")
"""

# What the kernels become on a GPU: an architecture is named, none is needed.
COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from rsnb.density import triton_kernels

WHOLE = ("count", "rays", "origin_tile", "origin_ray", "direction_tile", "depth", "size", "colours")

def built(kernel, **constants):
    constants |= {"PLANE": True, "HOLD": True, "BLOCK": 64}
    kinds = {name: "constexpr" if name in constants else "*fp64" if name in ("origins", "directions", "box") else
             "i32" if name in WHOLE else "*fp32" for name in kernel.arg_names}
    done = triton.compile(ASTSource(kernel, kinds, constants), target=GPUTarget("cuda", 90, 32),
                          options={"num_warps": 2, "enable_fp_fusion": True})
    assert len(done.asm["cubin"]) > 1000
    return done.asm["ptx"]

for name, constants, additions in (("march_rays", {}, 0), ("march_back", {"TINT": True}, 32)):
    text = built(getattr(triton_kernels, name), **constants)
    # a corner of the volume is one addition, and so is a texel's channel, at each sample and on the plane
    assert text.count("atom.global") + text.count("red.global") == additions
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
    assert said.count("same") == 3 and said.endswith("done\n")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
@pytest.mark.parametrize(("ground", "edges"), [("plane", "hold"), ("slab", "fade")])
def test_on_a_gpu_it_is_torch_in_float64(ground, edges):
    pytest.importorskip("triton", reason="triton is not installed")
    sigma, tile = (torch.tensor(part) for part in patchy())
    weights = torch.randn(2, 3, 32, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for backend, device, dtype in (("torch", "cpu", torch.float64), ("auto", "cuda", torch.float32)):
        leaves = [part.to(device, dtype).requires_grad_() for part in (sigma, tile)]
        seen = render_panorama(DensityVolume(*leaves, TileFrame(EXTENT, CEILING), ground, edges),
                               PanoramaCamera(64, 32), [[0.3, 0.1, 2.0], [4, 1, 3.0]], 0.4,
                               RenderOptions(60, backend=backend))
        gradients = torch.autograd.grad((seen.rgb * weights.to(device, dtype)).sum(), leaves)
        found.append([part.detach().double().cpu() for part in (seen.rgb, *gradients)])
    assert (found[0][0] - found[1][0]).abs().max() < 2e-5
    assert all((a - b).norm() < 1e-4 * a.norm() for a, b in zip(found[0][1:], found[1][1:], strict=True))


def test_it_compiles_for_a_gpu(tmp_path):
    pytest.importorskip("triton", reason="triton is not installed")
    assert run(COMPILED, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path)).endswith("done\n")
