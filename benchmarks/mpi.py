"""The multiplane renderer's speed at 512 x 512 x 32 planes, as ratios against the original's way, in the same run.

    python benchmarks/mpi.py [--quick] [--repeats 7] [--out benchmarks/results/mpi_cpu.json]

Forward, and forward + backward to the planes' content, on all cores that torch uses. The baseline
(`baselines/mpi_original.py`) resamples seven channels on grids of its own for every plane and multiplies up the
transmittance. Ours renders the same function for it (`published=True`); picture, depth and gradient of all are
compared with the baseline in float64 before anything is timed. The mended renderer, which leaves out what lies beyond
the frame, is timed beside it. The planes lie in channels_last memory for the compiled loops, and channel by channel for
torch, the baseline and the row that says so. Random semi-transparent planes: nothing can be skipped.

Page faults of large buffers change the baseline's time by up to three times, so everything is run under two settings of
the allocator: its default, and with freed memory kept. Times are medians of interleaved repeats, ratios medians of each
repeat's own. Ends with a verdict, and exit code 1 where a promise is missed or an output differs.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import torch
from baselines.mpi_original import render_original
from harness import two_allocators

from rsnb.geometry import pose_from_heading
from rsnb.mpi import MpiCamera, RenderOptions, plane_depths, plane_sweep, render_mpi
from rsnb.mpi.planes import share_in_frame

PLANES, SIZE, NEAR, FAR = 32, 512, 70.0, 115.0
# Baseline's wall time over ours, at least: forward, forward + backward.
PROMISES = {"numba": (20.0, 10.0), "torch": (8.0, 4.0)}
# What each may differ by from the baseline in float64, at most: what the baseline itself does in float32, whose texel
# coordinates are off by some 1e-5 pixels in planes of white noise. The last gap of 1000 makes sigma's gradient stiff.
SAME = {"colour, greatest": 2e-4, "depth, relative, greatest": 1e-4, "masks, share of pixels": 1e-4,
        "gradient of colour, L2": 1e-4, "gradient of sigma, L2": 1e-3}


def scene() -> tuple[torch.Tensor, torch.Tensor, MpiCamera]:
    """Planes [P, 4, H, W], depths, and a camera that has moved and turned by some degrees."""
    mpi = torch.rand(PLANES, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    mpi[:, 3] *= 0.1
    K_ref = torch.tensor([[560.0, 0.0, 262.0], [0.0, 548.0, 251.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    K_target = torch.tensor([[571.0, 0.0, 249.0], [0.0, 563.0, 259.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    turn = pose_from_heading([0, 0, 0], *np.deg2rad([3, -2, 5])) @ np.linalg.inv(pose_from_heading([0, 0, 0], 0.0))
    turn[:3, 3] = 3.0, -4.0, 1.5
    return mpi, plane_depths(NEAR, FAR, PLANES), MpiCamera(K_ref, K_target, turn, (SIZE, SIZE))


def ways(mpi: torch.Tensor, depths: torch.Tensor, camera: MpiCamera) -> dict:
    """{name: (planes in that way's memory order, planes to colour, depth and mask)}."""
    last = mpi.contiguous(memory_format=torch.channels_last)

    def ours(backend, published):
        options = RenderOptions(backend, published)

        def run(planes):
            result = render_mpi(planes, depths, camera, options)
            return result.rgb, result.depth, result.mask

        return run

    return {"original's way": (mpi, lambda planes: render_original(planes, depths, camera)),
            "numba": (last, ours("numba", True)), "torch": (mpi, ours("torch", True)),
            "numba, mended": (last, ours("numba", False)), "torch, mended": (mpi, ours("torch", False)),
            "numba, channel by channel": (mpi, ours("numba", True))}


def forward(planes: torch.Tensor, run):
    with torch.no_grad():
        return run(planes)


def forward_and_backward(planes: torch.Tensor, run, weights: torch.Tensor):
    """The outputs, and the gradient of a weighted sum of them."""
    planes = planes.detach().requires_grad_()
    colour, depth, mask = run(planes)
    ((colour * weights[:3]).sum() + (depth * weights[3]).sum()).backward()
    return colour.detach(), depth.detach(), mask, planes.grad


def differences(found, wanted, inside: torch.Tensor) -> dict[str, float]:
    """How far outputs are from the baseline's, on pixels whose whole ray stays between the frame's outer texel centres.

    Beyond those the baseline's points, being resampled, are the border's, and ours are where the ray is.
    """
    def apart(a, b):
        return float((a - b).double().norm() / b.double().norm())

    return {"colour, greatest": float((found[0] - wanted[0])[:, inside].abs().max()),
            "depth, relative, greatest": float(((found[1] - wanted[1]) / wanted[1])[inside].abs().max()),
            "masks, share of pixels": float((found[2] != wanted[2]).float().mean()),
            "gradient of colour, L2": apart(found[3][:, :3], wanted[3][:, :3]),
            "gradient of sigma, L2": apart(found[3][:, 3], wanted[3][:, 3])}


def measure(repeats: int) -> dict:
    """One allocator setting: parity, then wall and CPU milliseconds of every way, taking turns."""
    mpi, depths, camera = scene()
    todo = ways(mpi, depths, camera)
    inside = share_in_frame(plane_sweep(camera, depths), (SIZE, SIZE), -0.5) == 1
    weights = torch.randn(4, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * inside
    weights[3] *= 0.01
    exact = forward_and_backward(mpi.double(), todo["original's way"][1], weights)
    parity = {name: differences(forward_and_backward(*todo[name], weights), exact, inside)
              for name in ("original's way", "numba", "torch")}
    del exact
    calls = {(name, kind): call for name, (planes, run) in todo.items() for kind, call in (
        ("forward", lambda p=planes, r=run: forward(p, r)),
        ("both", lambda p=planes, r=run: forward_and_backward(p, r, weights)))}
    times = two_allocators.table(two_allocators.take_turns(calls, repeats), "original's way")
    return {"parity": parity, "times": times, "in_frame": float(inside.float().mean()), "load": os.getloadavg()[0]}


def report(setting: str, result: dict) -> list[two_allocators.Line]:
    """Print one setting's table; the verdict's lines."""
    print(f"\nAllocator: {setting}; load {result['load']:.1f}; {result['in_frame']:.0%} of the pixels in frame"
          f"\n{two_allocators.COLUMNS}")
    two_allocators.print_times(result["times"])
    lines = two_allocators.print_parity(setting, result["parity"], lambda _name: SAME)
    return lines + [two_allocators.promise(setting, name, kind, result["times"][name][kind], limit)
                    for name, limits in PROMISES.items()
                    for kind, limit in zip(("forward", "both"), limits, strict=True)]


if __name__ == "__main__":
    sys.exit(two_allocators.main(two_allocators.Benchmark(
        __file__, __doc__.splitlines()[0], "mpi_cpu.json", f"{SIZE} x {SIZE} x {PLANES} planes", (SIZE, SIZE, PLANES),
        measure, report)))
