"""What is chosen for a scene: right on a scene whose answers are known, and told in words."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry.poses import look_at
from rsnb.mpi.explicit import ExplicitOptions
from rsnb.mpi.setup import measured_exposure, prepare, range_and_neighbours, rough_range

sys.path.insert(0, str(Path(__file__).parent))
from posed_scene import block_scene

TRAIN, TEST = ("0", "1", "2", "4", "5"), ("3",)


@pytest.fixture(scope="module")
def scene():
    return block_scene()


def test_a_scene_with_a_stated_range(scene):
    setup = prepare(scene, TRAIN, TEST, reference="0")
    assert setup.reference == "0" and setup.near_far == (4.0, 7.5) and not setup.exposure
    assert set(setup.learn_from) == {"1", "2", "4", "5"} and setup.recipe == "single"
    assert any("4 to 7.5" in note for note in setup.notes)
    options = setup.options(ExplicitOptions(planes=7))
    assert options.planes == 7 and options.near_far == (4.0, 7.5) and not options.exposure


def test_the_reference_is_chosen_by_poses_alone(scene):
    chosen = prepare(scene, TRAIN, TEST)
    assert chosen.reference == "0"  # in the middle of the circle: nearer than view 3's neighbours on it
    spoilt = scene.images.copy()
    spoilt[3] = 0
    assert asdict(prepare(replace(scene, images=spoilt), TRAIN, TEST)) == asdict(chosen)
    assert "in the middle" in prepare(scene, TRAIN).notes[0]


def test_exposure_is_measured(scene):
    dark = scene.images.copy()
    dark[1:] *= 0.7
    others = ("1", "2", "4", "5")
    assert measured_exposure(scene, "0", others, (4.0, 7.5)) < 0.02
    assert measured_exposure(replace(scene, images=dark), "0", others, (4.0, 7.5)) > 0.3
    assert prepare(replace(scene, images=dark), TRAIN, TEST, reference="0").exposure


def test_wanted_views_from_far_aside_ask_for_local_ones(scene):
    aside = scene.world_to_cam.copy()
    aside[3] = look_at((4.0, 0.0, 5.0), (0.1, -0.05, 0.5), (0, 1, 0))
    setup = prepare(replace(scene, world_to_cam=aside), TRAIN, TEST)
    assert setup.recipe == "local" and any("1 of 1 wanted views" in note for note in setup.notes)


def test_a_rough_range_where_nothing_is_known(scene):
    bare = replace(scene, near_far=None)
    near, far = rough_range(bare, "0", TRAIN)  # axes meet in the point that all look at, 5.5 below the camera
    assert near == pytest.approx(2.75, rel=0.1) and far == pytest.approx(11, rel=0.1)
    (near_far, source), others = range_and_neighbours(bare, "0", TRAIN, 3)
    assert source.startswith("sought") and len(others) == 3 and "0" not in others
    assert 3.5 < near_far[0] < 5 and 5.5 < near_far[1] < 9
    # parallel axes: from the baselines
    straight = bare.world_to_cam.copy()
    straight[:, :3, :3] = straight[0, :3, :3]
    near, far = rough_range(replace(bare, world_to_cam=straight), "0", TRAIN)
    assert np.isfinite([near, far]).all() and 0 < near < far


def test_a_range_that_is_given(scene):
    bare = replace(scene, near_far=None, images=np.full_like(scene.images, 0.5))  # nothing could be sought in these
    setup = prepare(bare, TRAIN, TEST, near_far=(3.0, 9.0))
    assert setup.near_far == (3.0, 9.0) and setup.range_given and any("given" in note for note in setup.notes)
    with pytest.raises(InputError, match="agree on a depth"):
        prepare(bare, TRAIN, TEST)
    with pytest.raises(InputError, match="reversed"):
        prepare(scene, TRAIN, TEST, near_far=(9.0, 3.0))
    assert not prepare(scene, TRAIN, TEST).range_given


def test_points_that_the_reference_does_not_show(scene):
    behind = np.array([[0.0, 0, 50], [1, 0, 60], [0, 1, 70]])
    assert prepare(scene, TRAIN, TEST, points=behind, reference="0").near_far == (4.0, 7.5)  # as is stated


def test_a_long_lens_has_a_rough_range(scene):
    """Parallel axes, a picture so narrow that planes nearer than 100 baselines shift out of it."""
    straight, K = scene.world_to_cam.copy(), scene.K.copy()
    straight[:, :3, :3] = straight[0, :3, :3]
    K[:, :2, :2] *= 100
    near, far = rough_range(replace(scene, world_to_cam=straight, K=K, near_far=None), "0", TRAIN)
    assert 0 < near < far


def test_one_view_is_refused(scene):
    with pytest.raises(InputError, match="no train view beside"):
        prepare(scene, ("0",), TEST)
