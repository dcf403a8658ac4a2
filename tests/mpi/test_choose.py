"""Choosing by poses: overlap and angle by hand, the bell of MVSNet, nearest views and the middle one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry.poses import look_at
from rsnb.mpi.choose import choose_centre, choose_neighbours, matching_score, nearest_views, shared_view
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
    with pytest.raises(InputError, match="no other view shares"):
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
