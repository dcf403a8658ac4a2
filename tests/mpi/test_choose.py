"""Choosing by poses: overlap and angle by hand, the bell of MVSNet, nearest views and the middle one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry.poses import look_at
from rsnb.mpi.choose import (
    NothingShared,
    choose_centre,
    choose_neighbours,
    matching_score,
    nearest_first,
    nearest_names,
    nearest_views,
    shared_view,
)
from rsnb.scenes import PosedImages

K = np.array([[50.0, 0, 50], [0, 50.0, 50], [0, 0, 1]])  # 90 degrees wide and high


def row_of_cameras(xs=(0.0, 1.0, 2.0, 4.0, 40.0), z=0.0) -> PosedImages:
    """Cameras beside each other that look along +z."""
    poses = np.tile(np.eye(4), (len(xs), 1, 1))
    poses[:, 0, 3] = -np.array(xs)
    poses[:, 2, 3] = -z
    return PosedImages(np.zeros((len(xs), 3, 100, 100), np.float32), poses, "pinhole", tuple("abcdefgh"[: len(xs)]),
                       np.tile(K, (len(xs), 1, 1)))


def test_overlap_and_angle_by_hand():
    views = row_of_cameras()
    # at depth 10 a picture is 20 wide: b, shifted by 1, shares 95 %; 11 of 12 grid columns lie in it
    overlap, angle = shared_view(views, "a", "b", (10.0, 10.001))
    assert overlap == pytest.approx(11 / 12)
    # straight ahead the rays of a point at depth 10 are atan(1 / 10) apart, aside less: 5.7 degrees is the most
    assert 3.5 < angle < np.degrees(np.arctan(0.1))
    assert shared_view(views, "a", "e", (10.0, 10.001))[0] == 0
    assert np.isnan(shared_view(views, "a", "e", (10.0, 10.001))[1])
    assert shared_view(views, "a", "a", (2.0, 10.0)) == (1.0, pytest.approx(0, abs=1e-5))


def test_views_behind_share_nothing():
    poses = np.stack([look_at((0.0, 0, 0), (0, 0, 5), (0, 1, 0)), look_at((0.0, 0, 0), (0, 0, -5), (0, 1, 0))])
    views = PosedImages(np.zeros((2, 3, 100, 100), np.float32), poses, "pinhole", ("a", "b"), np.tile(K, (2, 1, 1)))
    assert shared_view(views, "a", "b", (1.0, 9.0))[0] == 0


def test_the_bell():
    assert matching_score(1.0, 5.0) == 1 and matching_score(0.5, 5.0) == 0.5
    assert matching_score(1.0, 4.0) == pytest.approx(np.exp(-0.5))
    assert matching_score(1.0, 15.0) == pytest.approx(np.exp(-0.5))
    assert 0 < matching_score(1.0, 0.5) < 0.02  # little parallax is better than none
    assert matching_score(0.2, 5.0) == 0 and matching_score(1.0, float("nan")) == 0


def test_neighbours():
    views = row_of_cameras()
    assert choose_neighbours(views, "a", "abcde", (7.0, 8.0), 2) == ("b", "c")
    assert choose_neighbours(views, "a", "abcde", (40.0, 50.0), 1) == ("d",)  # farther away: a wider baseline
    assert set(choose_neighbours(views, "a", "abcde", (7.0, 8.0), 9)) == {"b", "c", "d"}
    with pytest.raises(NothingShared, match="no other view shares"):
        choose_neighbours(views, "a", "ae", (7.0, 8.0))


def test_nearest_views_and_the_centre():
    views = row_of_cameras()
    assert nearest_views(views, "c", "abcde", 2) == ("b", "a")  # a and d are as far: in their order
    turned = views.world_to_cam.copy()
    turned[1] = np.diag([-1.0, 1, -1, 1]) @ turned[1]
    assert nearest_views(replace(views, world_to_cam=turned), "c", "abcde", 4) == ("a", "d", "e", "b")
    assert choose_centre(views, "acd", ("b", "c")) == "c"
    with pytest.raises(InputError, match="no view to render it from"):
        nearest_views(views, "c", "c")


def test_of_equally_near_ones_the_least_turned():
    views = row_of_cameras((0.0, 1.0, 2.0))
    cosine, sine = np.cos(0.3), np.sin(0.3)
    roll = np.array([[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    poses = views.world_to_cam.copy()
    poses[0] = roll @ poses[0]
    assert nearest_first(poses[[0, 2]], poses[1]).tolist() == [1, 0]
    assert nearest_first(poses[[0, 2]], roll @ poses[1]).tolist() == [0, 1]
    far = poses[[0, 2]].copy()
    far[:, :3, 3] *= 1e6  # the unit does not matter
    middle = poses[1].copy()
    middle[:3, 3] *= 1e6
    assert nearest_first(far, middle).tolist() == [1, 0]


def test_the_nearest_to_learn_from():
    views = row_of_cameras()
    assert nearest_names(views, "c", "edcba", 2) == ("d", "b")  # in the order that was given, of equal ones too
    assert nearest_names(views, "a", "edcb", 2) == ("c", "b")
    assert nearest_names(views, "c", "abcde", None) == nearest_names(views, "c", "abcde", 9) == ("a", "b", "d", "e")
    with pytest.raises(InputError, match="at least 1"):
        nearest_names(views, "c", "abcde", 0)
