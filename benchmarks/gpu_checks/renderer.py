"""The multiplane renderer: as torch in float64, and how fast."""

from __future__ import annotations

import numpy as np
import torch
from gpu_checks.bench import Bench, LeftOut, need_triton

from rsnb.geometry.poses import invert, pose_from_heading
from rsnb.mpi import MpiCamera, RenderOptions, plane_depths, plane_sweep, render_mpi
from rsnb.mpi.planes import share_in_frame

FORWARD_US, BOTH_US = 130.0, 500.0  # promises
# How far each renderer may be from float64; torch's sampling coordinates are off by some 1e-5 texels of white noise.
SAME = {"torch": {"colour": 2e-4, "depth": 1e-4, "gradient of colour": 1e-3, "gradient of sigma": 1e-3},
        "triton": {"colour": 5e-5, "depth": 1e-5, "gradient of colour": 1e-4, "gradient of sigma": 1e-4}}


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
            bench.promise_same(name, facts, SAME[backend])
    return found


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

        found[f"{backend}, channels {order}"] = bench.times(forward, both)
    fast = found["triton, channels last"]
    if not bench.dry:
        from rsnb.mpi import render_triton

        found["tiles chosen"] = {"forward": str(render_triton._forward.best_config),
                                 "backward": str(render_triton._backward.best_config)}
        bench.promise_times("fused renderer", fast, FORWARD_US, BOTH_US)
    return found
