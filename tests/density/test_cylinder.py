"""The cylinder against the plain march: pictures and gradients, and exactly so where nothing is smoothed."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from rsnb.density import cylinder
from rsnb.density.cylinder import render_cylinder
from rsnb.density.render import render_panorama
from rsnb.density.sampling import Steps
from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame
from rsnb.geometry import PanoramaCamera

FRAME = TileFrame(30.0, 8.0)
CAMERA = PanoramaCamera(96, 24)
NAMES = ("rgb", "opacity", "distance")


def street(batch=2, size=64, dtype=torch.float32):
    """Hollow blocks with walls of two cells about an empty middle, under a smooth tile."""
    generator = torch.Generator().manual_seed(0)
    sigma = torch.zeros(batch, 16, size, size, dtype=dtype)
    blocks = ((4, 20, 6, 24, 9), (8, 22, 34, 50, 14), (40, 60, 8, 20, 11), (38, 52, 40, 60, 6))
    for south, north, west, east, top in blocks:
        block = sigma[:, :top, size - north:size - south, west:east]
        block[...] = 4.0
        block[:, :-2, 2:-2, 2:-2] = 0
    tile = F.interpolate(torch.rand(batch, 3, 12, 12, generator=generator, dtype=dtype), size=(size, size),
                         mode="bicubic").clamp(0, 1)
    return sigma, tile


def apart(volume, position, heading=0.0, camera=CAMERA, **options):
    plain, two_step = (render_panorama(volume, camera, position, heading, RenderOptions(backend=backend, **options))
                       for backend in ("torch", "cylinder"))
    return {name: (getattr(plain, name) - getattr(two_step, name)).abs() for name in NAMES}


@pytest.mark.parametrize(("ground", "edges", "placement"), [("plane", "hold", "middle"), ("slab", "fade", "end"),
                                                            ("none", "hold", "end")])
def test_it_is_the_plain_march_but_for_a_little(ground, edges, placement):
    """Off the middle, turned, each tile from a height of its own."""
    volume = DensityVolume(*street(), FRAME, ground, edges)
    found = apart(volume, [[0.4, 0.2, 2.0], [3.0, -1.5, 3.1]], [0.0, 0.9], placement=placement)
    assert found["opacity"].mean() < 0.002 and found["rgb"].mean() < 0.003 and found["distance"].mean() < 0.03
    # what is smoothed lies along edges
    assert (found["opacity"] > 0.05).float().mean() < 0.01


def test_where_nothing_changes_along_the_ground_nothing_is_smoothed():
    """Densities by height alone: circles give them back, and with them all that depends on height."""
    layers = torch.rand(1, 16, 1, 1, generator=torch.Generator().manual_seed(0)) * 0.3
    volume = DensityVolume(layers.expand(-1, -1, 64, 64), street(1)[1], FRAME)
    # rays that stay 3 m within the walls: 10 m long
    found = apart(volume, [0.4, 0.2, 2.0], length_m=10.0, samples=40)
    assert found["opacity"].max() < 1e-5 and found["distance"].max() < 1e-4


@pytest.mark.parametrize("ground", ["plane", "slab", "none"])
def test_gradients_are_those_of_the_plain_march(ground):
    sigma, tile = street(1)
    generator = torch.Generator().manual_seed(1)
    sigma = sigma + 0.05 * torch.rand(sigma.shape, generator=generator)
    weights = F.interpolate(torch.randn(1, 5, 6, 24, generator=generator), size=(24, 96), mode="bicubic")
    found = []
    for backend in ("torch", "cylinder"):
        leaves = sigma.clone().requires_grad_(), tile.clone().requires_grad_()
        seen = render_panorama(DensityVolume(*leaves, FRAME, ground), CAMERA, [0.4, 0.2, 2.0], 0.3,
                               RenderOptions(60, backend=backend))
        loss = ((seen.rgb * weights[:, :3]).sum() + (seen.opacity * weights[:, 3]).sum()
                + 0.1 * (seen.distance * weights[:, 4]).sum())
        found.append(torch.autograd.grad(loss, leaves))
    for plain, two_step in zip(*found, strict=True):
        assert (two_step - plain).norm() < 0.08 * plain.norm()


@pytest.mark.parametrize("edges", ["hold", "fade"])
def test_gradients_by_differences(edges, monkeypatch):
    monkeypatch.setattr(cylinder, "NUMBERS_AT_A_TIME", 3 * 5 * 3)  # groups of three rows
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_()
              for shape in ((2, 3, 4, 4), (2, 3, 3, 3))]
    positions = torch.tensor([[1.0, 2.0, 2.0], [-4.0, 0.5, 9.0]]).double()  # the second above the ceiling
    bearings = torch.linspace(0.1, 5.0, 5).double().expand(2, 5)
    elevations = torch.linspace(1.2, -1.3, 7).double()

    def pictures(sigma, tile):
        seen = render_cylinder(DensityVolume(sigma, tile, FRAME, "plane", edges), positions, bearings, elevations,
                               Steps(2.0, 0.5, 9))
        return seen.rgb, seen.opacity, seen.distance

    assert torch.autograd.gradcheck(pictures, leaves, fast_mode=True)
    monkeypatch.setattr(cylinder, "NUMBERS_AT_A_TIME", 10**6)
    for one, many in zip(pictures(*leaves), (render_cylinder(DensityVolume(*leaves, FRAME, "plane", edges), positions,
                         bearings, elevations, Steps(2.0, 0.5, 9)).__dict__[name] for name in NAMES), strict=True):
        torch.testing.assert_close(one, many)


def test_opaque_volumes_leave_numbers_that_are_quick_to_multiply():
    """exp(-1.1) a step, up to a hundred steps: below exp(-87) a float32 is kept in a slow form."""
    volume = DensityVolume(torch.full((1, 4, 16, 16), 5.0, requires_grad=True), street(1, 16)[1], FRAME, "slab")
    seen = render_panorama(volume, CAMERA, [0.0, 0.0, 2.0], 0.0, RenderOptions(100, backend="cylinder"))
    seen.rgb.sum().backward()
    gradient = volume.sigma.grad.abs()
    assert (seen.opacity > 0.999).all() and torch.isfinite(gradient).all()
    assert not ((gradient > 0) & (gradient < 1e-30)).any()


def test_a_camera_that_sees_straight_along_a_wall_of_the_tile():
    volume = DensityVolume(torch.full((1, 4, 16, 16), 0.1), street(1, 16)[1], FRAME)
    seen = render_panorama(volume, PanoramaCamera(8, 4), [15.0, 0.0, 2.0], math.pi / 8,
                           RenderOptions(50, backend="cylinder"))
    assert all(torch.isfinite(getattr(seen, name)).all() for name in NAMES)
    # west through the tile and east out of it
    west, east = seen.opacity[0, 1, 1], seen.opacity[0, 1, 5]
    assert west > 0.3 and east < 0.1
