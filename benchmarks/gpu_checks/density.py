"""The density renderer: as torch in float64, and how fast for one panorama."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from gpu_checks.bench import Bench, LeftOut, need_triton

from rsnb.density.render import render_panorama
from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame
from rsnb.geometry import PanoramaCamera

PANORAMA_US, PANORAMA_BOTH_US = 500.0, 2000.0  # promises
# How far the march may be from float64; the cylinder smooths, and is compared on the mean.
SAME = {"triton": {"colour": 2e-5, "distance": 2e-4, "gradient": 1e-4},
        "cylinder": {"mean colour": 4e-3, "mean distance": 2e-2}}


def panorama_of(bench: Bench, name: str):
    """A volume on the CPU ("thin": hollow blocks in empty air; "dense": no empty place), and rays for it."""
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
            bench.promise_same(name, facts, SAME[backend])
    return found


def density_times(bench: Bench) -> dict:
    """Of one panorama, forward and forward + backward to the densities."""
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

            found[f"{backend}, {name}"] = bench.times(forward, both)
        if not bench.dry:
            bench.promise_times(f"density, {name} volume", found[f"triton, {name}"], PANORAMA_US, PANORAMA_BOTH_US)
    return found
