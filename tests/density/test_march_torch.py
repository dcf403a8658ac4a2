"""The plain march against a renderer in numpy, and its gradients against differences."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.density.render import march
from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame

sys.path.insert(0, str(Path(__file__).parent))
from reference_march import CEILING, EDGES, EXTENT, GROUNDS, PLACEMENTS, patchy, rays, reference_march

FRAME = TileFrame(EXTENT, CEILING)


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_it_is_the_renderer_in_numpy(ground, edges, placement):
    sigma, tile = patchy()
    origin, directions = rays()
    options = RenderOptions(60, 24.0, placement, backend="torch")
    volume = DensityVolume(torch.tensor(sigma), torch.tensor(tile), FRAME, ground, edges)
    exact = march(volume, origin[None, None], directions[None], options)
    single = march(volume.to(torch.float32), origin[None, None], directions[None], options)
    for b in range(2):
        wanted = reference_march(sigma[b], tile[b], origin, directions, 60, 24.0, ground, edges, placement)
        for result, off in ((exact, 1e-10), (single, 2e-5)):
            np.testing.assert_allclose(result.rgb[b].T, wanted[0], atol=off)
            np.testing.assert_allclose(result.opacity[b], wanted[1], atol=off)
            np.testing.assert_allclose(result.distance[b], wanted[2], atol=off * 5, rtol=off)
    assert wanted[1].min() < 0.2 and wanted[1].max() > 0.9  # the rays differ


def test_origins_and_directions_of_each_ray_and_tile():
    sigma, tile = patchy()
    rng = np.random.default_rng(3)
    origins = rng.uniform([-9, -9, 1], [9, 9, 10], (2, 5, 3))
    directions = rng.normal(size=(2, 5, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    volume = DensityVolume(torch.tensor(sigma), torch.tensor(tile), FRAME)
    found = march(volume, origins, directions, RenderOptions(50, 25.0, backend="torch"))
    assert found.rgb.shape == (2, 3, 5) and found.opacity.shape == found.distance.shape == (2, 5)
    for b in range(2):
        for n in range(5):
            rgb, opacity, distance = reference_march(sigma[b], tile[b], origins[b, n], directions[b, n:n + 1], 50, 25.0)
            np.testing.assert_allclose(found.rgb[b, :, n], rgb[0], atol=1e-10)
            np.testing.assert_allclose([found.opacity[b, n], found.distance[b, n]], [opacity[0], distance[0]],
                                       atol=1e-10, rtol=1e-10)


def test_in_pieces_it_is_the_same(monkeypatch):
    sigma, tile = patchy()
    origin, directions = rays()
    volume = DensityVolume(torch.tensor(sigma), torch.tensor(tile), FRAME)
    options = RenderOptions(60, 24.0, backend="torch")
    whole = march(volume, origin[None, None], directions[None], options)
    monkeypatch.setattr("rsnb.density.march_torch.SAMPLES_AT_A_TIME", 60 * 2 * 37)  # 37 rays of 200
    pieces = march(volume, origin[None, None], directions[None], options)
    for name in ("rgb", "opacity", "distance"):
        torch.testing.assert_close(getattr(pieces, name), getattr(whole, name), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("edges", EDGES)
def test_gradients(ground, edges):
    sigma, tile = patchy(batch=1, depth=3, size=4, pixels=3)
    leaves = [torch.tensor(part).requires_grad_() for part in (sigma + 0.05, tile)]
    origin, directions = rays(count=7)

    def pictures(sigma, tile):
        found = march(DensityVolume(sigma, tile, FRAME, ground, edges), origin[None, None], directions[None],
                      RenderOptions(12, 20.0, backend="torch"))
        return found.rgb, found.opacity, found.distance

    assert torch.autograd.gradcheck(pictures, leaves, fast_mode=True)


def test_opaque_density_far_behind_leaves_what_lies_before_it_alone():
    """Exclusive sums, not sums less the last one: 1e7 in float32 would swallow what was before."""
    sigma = torch.zeros(1, 1, 6, 6)
    sigma[..., 2:4], sigma[..., 4:] = 0.05, 1e7
    volume = DensityVolume(sigma, torch.rand(1, 3, 6, 6), FRAME, "none")
    found = march(volume, [[[-2.0, 0, 4]]], [[[1.0, 0, 0]]], RenderOptions(400, 20.0, backend="torch"))
    wanted = reference_march(sigma[0], volume.tile[0], np.array([-2.0, 0, 4]), np.array([[1.0, 0, 0]]), 400, 20.0,
                             "none")
    assert float(found.distance) == pytest.approx(float(wanted[2][0]), rel=1e-5)
