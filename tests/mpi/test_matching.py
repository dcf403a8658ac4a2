"""Agreement of pictures on planes: at the true depth, in other light too, and the picture that comes of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.mpi.evaluation import score_depth
from rsnb.mpi.matching import matched_mpi, matching_cost, with_detail
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.views import padded_frame, view_set

sys.path.insert(0, str(Path(__file__).parent))
from posed_scene import block_scene

NAMES = ("0", "1", "2", "4", "5")
DEPTHS = plane_depths(4.0, 7.5, 24)


@pytest.fixture(scope="module")
def scene():
    return block_scene()


def test_detail_is_blind_to_brightness(scene):
    frame = padded_frame(scene, "0", (), (4.0, 7.5))
    views = view_set(scene, NAMES, frame)
    detailed = with_detail(views).images
    brighter = with_detail(replace(views, images=views.images + 0.1)).images
    assert detailed.shape == (5, 6, 64, 80) and torch.equal(detailed[:, :3], views.images)
    assert torch.allclose(detailed[:, 3:], brighter[:, 3:], atol=1e-6)
    # by hand: inside the picture the mean is over 7 x 7 pixels
    square = views.images[1, 2, 20:27, 30:37]
    assert float(detailed[1, 5, 23, 33]) == pytest.approx(float(square[3, 3] - square.mean()), abs=1e-6)


@pytest.mark.parametrize("light", ["same", "darker"])
def test_depth_is_where_pictures_agree(scene, light):
    if light == "darker":
        images = scene.images.copy()
        images[1:] = 0.85 * images[1:]
        scene = replace(scene, images=images)
    frame = padded_frame(scene, "0", (), (4.0, 7.5))
    cost = matching_cost(view_set(scene, NAMES, frame), frame, DEPTHS)
    assert cost.shape == (24, 64, 80) and cost.isfinite().all() and (cost >= 0).all()
    result = matched_mpi(view_set(scene, NAMES, frame), frame, DEPTHS)
    depth = result.view(scene, "0").depth.numpy()
    assert score_depth(depth, scene.z_depth[0]).share_of_constant < (0.5 if light == "same" else 0.8)
    assert score_depth(11.5 - depth, scene.z_depth[0]).share_of_constant > 0.9  # near and far exchanged


@pytest.mark.parametrize("halvings", [0, 1])
def test_its_own_view_comes_back(scene, halvings):
    frame = padded_frame(scene, "0", NAMES, (4.0, 7.5), multiple=2)
    result = matched_mpi(view_set(scene, NAMES, frame), frame, DEPTHS, halvings)
    assert result.mpi.shape == (24, 4, *frame.size) and frame.size != (64, 80)
    assert result.mpi.isfinite().all() and result.mpi[:, 3].min() >= 0
    shown = result.view(scene, "0")
    assert np.abs((shown.rgb / shown.alpha).numpy() - scene.images[0]).max() < 1e-4
    assert shown.alpha.min() > 0.9
