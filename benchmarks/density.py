"""The density renderer's speed at 128 x 512 rays x 100 samples in 65 x 256 x 256, against the original's way.

    python benchmarks/density.py [--quick] [--repeats 7] [--out benchmarks/results/density_cpu.json]

One panorama from 2 m above the middle of a 30 m tile, all of the sphere, on all cores that torch uses. The baseline
(`baselines/density_original.py`) makes its sample points in float64 and looks up density and colour in two volumes by
5-D grids. Ours renders the same function for it: an opaque slice as ground, edges that fade, samples at the ends of
their steps. Picture, opacity and distance are compared with the baseline's in float64 before anything is timed. Of the
training path, which smooths, the mean difference is compared, and the angle between the gradients.

Two volumes: "thin", as training leaves it (hollow blocks with walls, trees, empty air), and "dense", where no place is
empty. Training is timed forward, and forward + backward to the densities; the compiled march forward, with and without
an end of the rays at a transmittance of 1e-4, and once with the turning of a volume that it has not seen before. What
is promised of a dense volume is promised with that end, which changes colours by 1e-4 at most: the row above it tells
what the march does without.

Page faults of large buffers change the baseline's time, so everything is run under two settings of the allocator: its
default, and with freed memory kept. Times are medians of interleaved repeats, ratios medians of each repeat's own. Ends
with a verdict, and exit code 1 where a promise is missed or an output differs.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from baselines.density_original import render_original
from harness import two_allocators

from rsnb.density.render import render_panorama
from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame
from rsnb.geometry import PanoramaCamera

FRAME, SIZE, PIXELS, SLICES, SAMPLES = TileFrame(30.0, 8.0), (128, 512), 256, 64, 100
HEIGHT_M, LENGTH_M, STOP = 2.0, 22.03125, 1e-4
BASE, TRAINING, MARCH, STOPPED, TURNED = ("original's way", "cylinder", "numba", "numba, stop at 1e-4",
                                          "numba, volume turned too")
# Baseline's wall time over ours, at least: volume, way, forward or both.
PROMISES = (("thin", MARCH, "forward", 14.0), ("dense", STOPPED, "forward", 20.0), ("thin", TRAINING, "forward", 2.5),
            ("dense", TRAINING, "forward", 2.5), ("thin", TRAINING, "both", 2.5), ("dense", TRAINING, "both", 2.5))
# What each may differ by from the baseline in float64: the march at most, training on the mean.
SAME = {MARCH: {"colour, greatest": 2e-5, "opacity, greatest": 2e-5, "distance m, greatest": 2e-4},
        STOPPED: {"colour, greatest": 1.5e-4, "opacity, greatest": 1.5e-4, "distance m, greatest": 3e-3},
        TRAINING: {"colour, mean": 4e-3, "opacity, mean": 1e-3, "distance m, mean": 2e-2,
                   "gradient, angle in degrees": 8.0}}


def volumes() -> dict[str, torch.Tensor]:
    """Densities [1, 64, 256, 256], 1 / m."""
    rng = np.random.default_rng(0)
    thin = torch.zeros(1, SLICES, PIXELS, PIXELS)
    for _ in range(30):
        x, y, wide, long, tall = (int(n) for n in rng.integers([0, 0, 14, 14, 20], [230, 230, 56, 56, 60]))
        if abs(x + wide / 2 - 128) < wide / 2 + 14 and abs(y + long / 2 - 128) < long / 2 + 14:
            continue  # not about the camera
        block = thin[0, :tall, y:y + long, x:x + wide]
        block[...] = 4.0
        block[:-3, 3:-3, 3:-3] = 0
    # a surface is as sharp as the last convolution that makes it
    thin = F.avg_pool3d(F.pad(thin[None], (1, 1, 1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    return {"thin": thin, "dense": torch.rand(thin.shape, generator=torch.Generator().manual_seed(1)) * 2}


def smooth_tile() -> torch.Tensor:
    coarse = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    return F.interpolate(coarse, size=(PIXELS, PIXELS), mode="bicubic").clamp(0, 1)


def ways(tile: torch.Tensor) -> dict:
    """{name: densities to colour, opacity and distance}."""
    def volume(sigma):
        return DensityVolume(sigma, tile.to(sigma.dtype), FRAME, "slab", "fade")

    def original(sigma):
        v = volume(sigma)
        return render_original(v.slices, v.tile, FRAME.extent_m, FRAME.ceiling_m, SIZE, HEIGHT_M, SAMPLES, LENGTH_M)

    def ours(backend, stop=0.0, anew=False):
        options = RenderOptions(SAMPLES, LENGTH_M, "end", stop, backend)

        def run(sigma):
            # a tensor of its own over the same memory is a volume that nobody has seen
            seen = render_panorama(volume(sigma.view(sigma.shape) if anew else sigma), PanoramaCamera(*SIZE[::-1]),
                                   [0.0, 0.0, HEIGHT_M], 0.0, options)
            return seen.rgb, seen.opacity, seen.distance

        return run

    return {BASE: original, TRAINING: ours("cylinder"), MARCH: ours("numba"), STOPPED: ours("numba", STOP),
            TURNED: ours("numba", anew=True)}


def forward(sigma: torch.Tensor, run):
    with torch.no_grad():
        return run(sigma)


def both(sigma: torch.Tensor, run, weights: torch.Tensor) -> torch.Tensor:
    """The gradient of a weighted sum of all that is rendered."""
    sigma = sigma.detach().requires_grad_()
    rgb, opacity, distance = run(sigma)
    ((rgb * weights[:3]).sum() + (opacity * weights[3]).sum() + (distance * weights[4]).sum()).backward()
    return sigma.grad


def differences(sigma: torch.Tensor, todo: dict, weights: torch.Tensor) -> dict[str, dict[str, float]]:
    """Of every way from the baseline in float64."""
    exact = forward(sigma.double(), todo[BASE])
    gradient = both(sigma, todo[BASE], weights)
    found = {}
    for name in (BASE, MARCH, STOPPED, TRAINING):
        apart = [(a - b).abs() for a, b in zip(forward(sigma, todo[name]), exact, strict=True)]
        facts = found[name] = {}
        for title, part in zip(("colour", "opacity", "distance m"), apart, strict=True):
            facts[f"{title}, greatest"], facts[f"{title}, mean"] = float(part.max()), float(part.mean())
    ours = both(sigma, todo[TRAINING], weights)
    cosine = float((ours * gradient).sum() / (ours.norm() * gradient.norm()))
    found[TRAINING]["gradient, angle in degrees"] = float(np.degrees(np.arccos(min(cosine, 1.0))))
    return found


def measure(repeats: int) -> dict:
    """One allocator setting: parity, then wall and CPU milliseconds of every way on both volumes, taking turns."""
    todo = ways(smooth_tile())
    weights = F.interpolate(torch.randn(1, 5, 16, 64, generator=torch.Generator().manual_seed(3)), size=SIZE)[0]
    weights[4] *= 0.1
    result: dict = {}
    for kind_of_volume, sigma in volumes().items():
        result[kind_of_volume] = {"parity": differences(sigma, todo, weights)}
        calls = {(name, "forward"): (lambda s=sigma, r=run: forward(s, r)) for name, run in todo.items()}
        calls |= {(name, "both"): (lambda s=sigma, r=todo[name]: both(s, r, weights)) for name in (BASE, TRAINING)}
        result[kind_of_volume]["times"] = two_allocators.table(two_allocators.take_turns(calls, repeats), BASE)
    return {"volumes": result, "load": os.getloadavg()[0]}


def report(setting: str, result: dict) -> list[two_allocators.Line]:
    """Print one setting's tables; the verdict's lines."""
    lines = []
    for volume, found in result["volumes"].items():
        print(f"\nAllocator: {setting}; {volume} volume; load {result['load']:.1f}\n{two_allocators.COLUMNS}")
        two_allocators.print_times(found["times"])
        lines += two_allocators.print_parity(f"{setting}: {volume}", found["parity"],
                                             lambda name: SAME.get(name, {}))
    return lines + [two_allocators.promise(f"{setting}: {volume}", name, kind,
                                           result["volumes"][volume]["times"][name][kind], limit)
                    for volume, name, kind, limit in PROMISES]


if __name__ == "__main__":
    sys.exit(two_allocators.main(two_allocators.Benchmark(
        __file__, __doc__.splitlines()[0], "density_cpu.json",
        f"{SIZE[0]} x {SIZE[1]} rays x {SAMPLES} samples in {SLICES + 1} x {PIXELS} x {PIXELS}",
        (*SIZE, SAMPLES, SLICES + 1, PIXELS, PIXELS), measure, report)))
