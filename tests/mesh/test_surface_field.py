"""The surface field: the grid against a plain loop, gains on left-out views, none where there is nothing to learn."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.mesh.hash_grid import PRIMES, HashGrid
from rsnb.mesh.image_based import NovelView
from rsnb.mesh.novel_views import predict_views, recoloured_mesh
from rsnb.mesh.source_views import SourceViews
from rsnb.mesh.surface_field import SurfaceField, SurfaceFieldOptions, SurfaceSamples, surface_samples
from rsnb.metrics import psnr

sys.path.insert(0, str(Path(__file__).parent))
from courtyard import CAMERA, courtyard

SMALL = SurfaceFieldOptions(log2_table=14, steps=150, batch=2048, check_every=25)


@pytest.fixture(scope="module")
def place():
    scene, sources, targets, mask = courtyard()
    return scene, SourceViews(scene, sources), targets, mask


def trained(samples, options=SMALL):
    field = SurfaceField(options)
    field.fit(samples)
    return field


def score(field, place):
    scene, _, targets, mask = place
    views = predict_views(lambda camera, pose: field.render(scene, camera, pose), targets)
    return tuple(psnr(np.stack([getattr(v, name) for v in views]), targets.images, mask)
                 for name in ("mesh_rgb", "rgb"))


def test_left_out_views_gain_and_shuffled_colours_do_not(place):
    samples = surface_samples(place[1])
    mesh, learned = score(trained(samples), place)
    assert learned - mesh > 5.0
    turn = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    shuffled = SurfaceSamples(samples.points, samples.mesh_rgb, samples.directions, samples.width_m, samples.rgb[turn])
    _, fooled = score(trained(shuffled), place)
    assert fooled < mesh + 0.3


def test_same_seed_same_field(place):
    samples = surface_samples(place[1])
    short = SurfaceFieldOptions(log2_table=12, steps=20, batch=512)
    one, two = (trained(samples, short).evaluate(samples[:500]) for _ in range(2))
    other = trained(samples, SurfaceFieldOptions(log2_table=12, steps=20, batch=512, seed=1)).evaluate(samples[:500])
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_training_stops_when_held_out_rays_no_longer_gain(place):
    samples = surface_samples(place[1])
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(samples.rgb.shape, generator=generator)  # nothing to learn: every gain is by chance
    field = SurfaceField(SurfaceFieldOptions(log2_table=16, steps=600, batch=2048, check_every=20, patience=2))
    field.fit(SurfaceSamples(samples.points, samples.mesh_rgb, samples.directions, samples.width_m, noise))
    assert field.history[-1][0] < 600
    errors = [error for _, error in field.history]
    assert int(np.argmin(errors)) == len(errors) - 3  # two looks without a gain, then the best weights come back


def test_samples_are_the_pictures_own(place):
    """A sample's point, projected into its picture, is a pixel of that picture with the sample's colour."""
    scene, views, _, _ = place
    samples = surface_samples(views)
    pose = views.sources.world_to_cam[0]
    points = samples.points[:2000].double().numpy() + scene.centre  # the first picture's come first
    pixels, distance = CAMERA.project(points @ pose[:3, :3].T + pose[:3, 3])
    column, row = (pixels.numpy() - 0.5).round().astype(int).T
    assert np.abs(pixels.numpy() - 0.5 - np.stack([column, row], 1)).max() < 1e-2
    assert np.allclose(views.sources.images[0][:, row, column].T, samples.rgb[:2000].numpy())
    # a pixel of a 160-wide panorama covers 2 pi / 160 of the distance across the equator, never less on the surface
    equator = np.abs(row - 39.5) < 1
    assert (samples.width_m.numpy()[:2000][equator] > 0.99 * 2 * math.pi / 160 * distance.numpy()[equator]).all()


def test_grid_equals_a_plain_loop():
    grid = HashGrid(levels=3, log2_table=8, features=2, coarsest_m=2.0, finest_m=0.5, seed=3)
    with torch.no_grad():
        grid.table.copy_(torch.rand(grid.table.shape, generator=torch.Generator().manual_seed(1)))
    point = (-3.3, 1.7, 0.25)
    expected = []
    for level, cell in enumerate((2.0, 1.0, 0.5)):
        low = [math.floor(x / cell) for x in point]
        value = np.zeros(2)
        for corner in np.ndindex(2, 2, 2):
            index = 0
            weight = 1.0
            for axis in range(3):
                index ^= (low[axis] + corner[axis]) * PRIMES[axis]
                within = point[axis] / cell - low[axis]
                weight *= within if corner[axis] else 1 - within
            value += weight * grid.table[level * 256 + index % 256].detach().numpy()
        expected.append(value)
    found = grid(torch.tensor([point])).detach().numpy()[0]
    assert np.allclose(found, np.concatenate(expected), atol=1e-5)
    # faded for a pixel of 1 m: erf(cell / (sqrt(8) * 1 / sqrt(12)))
    faded = grid(torch.tensor([point]), torch.tensor([1.0])).detach().numpy()[0]
    kept = [math.erf(cell / math.sqrt(8 / 12)) for cell in (2.0, 1.0, 0.5)]
    assert np.allclose(faded, np.concatenate(expected) * np.repeat(kept, 2), atol=1e-5)


def test_grid_gradient_reaches_the_table():
    grid = HashGrid(levels=2, log2_table=6, features=2, coarsest_m=1.0, finest_m=0.5)
    points = torch.rand(5, 3, generator=torch.Generator().manual_seed(0)) * 4 - 2
    grid(points).sum().backward()
    # weights of the eight corners sum to 1: each point gives each level's rows a gradient of 1 a feature
    assert float(grid.table.grad.sum()) == pytest.approx(5 * 2 * 2, rel=1e-5)


def test_pictures_that_miss_the_mesh_are_told(place):
    with pytest.raises(InputError, match="one coordinate system"):
        trained(surface_samples(place[1])[:10])


@pytest.mark.parametrize("options", [{"steps": 0}, {"levels": 2.0}, {"held_out": 0.0}, {"finest_m": 5.0}])
def test_bad_options_are_told(options):
    with pytest.raises(InputError):
        SurfaceFieldOptions(**options)


def test_recoloured_mesh_undoes_a_cast():
    """Pictures that are 0.8 times the mesh plus 0.1: the fit must give exactly that back, and leave the sky alone."""
    rgb = torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
    samples = SurfaceSamples(rgb, rgb, rgb, rgb[:, 0], 0.8 * rgb + 0.1)
    view = NovelView(None, np.full((3, 1, 2), 0.5, np.float32), None, np.array([[4.0, np.inf]]))
    assert np.allclose(recoloured_mesh(samples, [view])[0, :, 0], [0.5 * 0.8 + 0.1, 0.5], atol=1e-5)
