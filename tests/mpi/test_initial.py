"""The plane sweep: agreement at the true plane, weights that come back from thickness, penalties by hand."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.mpi.evaluation import score_depth
from rsnb.mpi.initial import aggregate, likelihood, match_exposure, semi_global, sweep, swept_plane, thickness
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.views import padded_frame, view_set

sys.path.insert(0, str(Path(__file__).parent))
from posed_scene import block_scene

NAMES = ("0", "1", "2", "3", "4", "5")


@pytest.fixture(scope="module")
def swept():
    scene = block_scene()
    frame = padded_frame(scene, "0", NAMES, (4.0, 7.5))
    depths = plane_depths(4.0, 7.5, 24)
    views = view_set(scene, NAMES, frame)
    return scene, frame, depths, views, *sweep(views, frame, depths)


def test_pictures_agree_on_the_plane_they_show(swept):
    scene, frame, _, views, *_ = swept
    roof = frame.crop(torch.ones(frame.size)) * (torch.from_numpy(scene.z_depth[0]) < 5)
    inner = roof.bool()
    inner[1:-1, 1:-1] &= roof[:-2, 1:-1].bool() & roof[2:, 1:-1].bool() & roof[1:-1, :-2].bool() & roof[1:-1, 2:].bool()
    z = float(np.median(scene.z_depth[0][inner.numpy()]))
    colours, seen = swept_plane(views, frame, z)
    wrong, _ = swept_plane(views, frame, 1.3 * z)
    for i in range(1, 6):
        there = frame.crop(seen[i]) & inner
        assert there.sum() > 300
        error = (frame.crop(colours[i]) - torch.from_numpy(scene.images[0])).abs()[:, there].mean()
        assert error < 0.02
        assert (frame.crop(wrong[i]) - torch.from_numpy(scene.images[0])).abs()[:, there].mean() > 2 * error


def test_the_sweep_finds_the_depth(swept):
    scene, frame, depths, _, _, cost = swept
    found = frame.crop(depths[likelihood(cost).argmax(0)]).numpy()
    assert score_depth(found, scene.z_depth[0]).share_of_constant < 0.3
    assert score_depth(frame.crop(depths.flip(0)[likelihood(cost).argmax(0)]).numpy(),
                       scene.z_depth[0]).share_of_constant > 1


def test_colours_fill_the_frame(swept):
    _, frame, depths, _, colour, cost = swept
    assert colour.shape == (24, 3, *frame.size) and cost.shape == (24, *frame.size)
    assert colour.isfinite().all() and 0 <= colour.min() and colour.max() <= 1
    assert colour[-1].amax(0).min() > 0.05  # nowhere black, also where no picture reaches
    assert (cost >= 0).all() and (cost <= 1).all()


def test_exposure_is_matched(swept):
    scene, frame, depths, views, *_ = swept
    gains, offsets = np.linspace(1, 0.7, 6), np.linspace(0, 0.15, 6)
    spoilt = scene.images * gains[:, None, None, None] + offsets[:, None, None, None]
    mended = match_exposure(view_set(replace(scene, images=spoilt.astype(np.float32)), NAMES, frame), frame, depths)
    before = np.abs(spoilt - scene.images).mean(axis=(1, 2, 3))
    after = (mended.images - views.images).abs().mean(dim=(1, 2, 3)).numpy()
    assert after[0] < 1e-6
    assert (after[2:] < 0.4 * before[2:]).all()


def test_thickness_gives_the_weights_back():
    weights = torch.softmax(torch.randn(7, 5, 4, generator=torch.Generator().manual_seed(0)), dim=0)
    tau = thickness(weights, most=12.0)
    transmittance = torch.exp(-(tau.cumsum(0) - tau))
    again = transmittance * (1 - torch.exp(-tau))
    assert torch.allclose(again[:-1], weights[:-1], atol=1e-5)
    assert torch.allclose(again[-1], weights[-1], atol=1e-4)
    assert thickness(weights).max() <= 3.0 + 1e-5


def test_paths_by_hand():
    # one row of three pixels, three planes; the middle pixel does not know
    cost = torch.tensor([[0.0, 1.0, 9.0], [5.0, 1.0, 5.0], [9.0, 1.0, 0.0]]).reshape(3, 1, 3)
    result = semi_global(cost, step=1.0, jump=3.0)
    # vertical paths (1 row): the cost itself, twice. From the left: pixel 1 gets 1 + min(0 | 1 + .. | 3) = 1, 2, 4;
    # pixel 2 then: least of 1, 2, 4 is 1: 9 + (1 - 1), 5 + (2 - 1), 0 + (3 - 1)
    left = torch.tensor([[0.0, 1.0, 9.0], [5.0, 2.0, 6.0], [9.0, 4.0, 2.0]])
    right = left.flip(0).flip(1)
    assert torch.allclose(result[:, 0], (2 * cost[:, 0] + left + right) / 4)


def test_aggregation_keeps_constants_and_sums():
    cost = torch.full((2, 9, 8), 0.3)
    assert torch.allclose(aggregate(cost, 2), cost)
    spike = torch.zeros(1, 15, 15)
    spike[0, 7, 7] = 1
    blurred = aggregate(spike, 1)
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-6) and float(blurred[0, 7, 7]) == pytest.approx(1 / 9)
    assert aggregate(spike, 0) is spike


def test_likelihood_adds_up():
    weights = likelihood(torch.rand(5, 12, 13, generator=torch.Generator().manual_seed(1)))
    assert torch.allclose(weights.sum(0), torch.ones(12, 13), atol=1e-5) and weights.min() >= 0.05 / 5 - 1e-6
