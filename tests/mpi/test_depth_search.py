"""The depth range of a scene whose depth is known: found without being told, kept where it is right, widened if not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry.poses import invert
from rsnb.mpi.depth_search import find_depth_range, known_range, scene_range, widest_range

sys.path.insert(0, str(Path(__file__).parent))
from posed_scene import block_scene

OTHERS = ("1", "2", "3", "4", "5")


@pytest.fixture(scope="module")
def scene():
    return replace(block_scene(), near_far=None)


def test_the_range_is_found(scene):
    least, most = np.percentile(scene.z_depth[0], [2, 98])
    near, far = find_depth_range(scene, "0", OTHERS)
    assert 0.75 * least < near < 1.05 * least
    assert 0.95 * most < far < 1.4 * most
    # in other units it is the same range
    poses = scene.world_to_cam.copy()
    poses[:, :3, 3] *= 100
    assert find_depth_range(replace(scene, world_to_cam=poses), "0", OTHERS) == pytest.approx((100 * near, 100 * far))


def test_widest_range_by_hand(scene):
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[1, 0, 3], poses[2, 0, 3] = -0.5, 2.0
    views = replace(scene.subset([0, 1, 2]), world_to_cam=poses)
    # focal 86 pixels, width 80: 86 * 0.5 / 80, and 86 * 2 / 1 pixel
    assert widest_range(views, "0", ("1", "2")) == pytest.approx((0.5375, 172.0))
    poses[:] = np.eye(4)
    with pytest.raises(InputError, match="all cameras stand in one place"):
        widest_range(views, "0", ("1", "2"))


def test_pictures_of_nothing_have_no_range(scene):
    blank = replace(scene, images=np.full_like(scene.images, 0.5))
    with pytest.raises(InputError, match="agree on a depth"):
        find_depth_range(blank, "0", OTHERS)


def test_where_the_range_comes_from(scene):
    stated = replace(scene, near_far=np.tile([4.0, 7.5], (6, 1)))
    (near_far, source) = scene_range(stated, "0", OTHERS)
    assert near_far == (4.0, 7.5) and source == "the range that the data set states"
    assert scene_range(scene, "0", OTHERS)[1].startswith("sought")
    points = world_points(scene)
    (near, far), source = scene_range(scene, "0", OTHERS, points)
    assert source.startswith(f"{len(points)} sparse points")
    assert near < np.percentile(scene.z_depth[0], 2) and far > np.percentile(scene.z_depth[0], 98)


def test_points_that_this_picture_does_not_show(scene):
    aside = world_points(scene) + [0, 0, 100.0]  # behind the camera
    assert known_range(scene, "0", aside) is None and known_range(scene, "0", aside[:0]) is None
    assert scene_range(scene, "0", OTHERS, aside)[1].startswith("sought")
    stated = replace(scene, near_far=np.tile([4.0, 7.5], (6, 1)))
    assert scene_range(stated, "0", OTHERS, aside) == ((4.0, 7.5), "the range that the data set states")


@pytest.mark.parametrize(("name", "other"), [("2", "1"), ("3", "1"), ("4", "5")])
def test_one_neighbour_does_not_widen_what_is_right(scene, name, other):
    """With one other picture some wrong plane fits many pixels by chance; fitting as well as the right one is not
    enough."""
    stated = replace(scene, near_far=np.tile([4.0, 7.5], (6, 1)))
    assert scene_range(stated, name, (other,))[0] == (4.0, 7.5)


def test_points_that_leave_out_the_block(scene):
    points = world_points(scene)
    ground = points[points[:, 2] < 0.1]
    (narrow, _), _ = known_range(scene, "0", ground)
    (near, _), source = scene_range(scene, "0", OTHERS, ground)
    roof = float(np.percentile(scene.z_depth[0], 5))
    assert narrow > 1.1 * roof
    assert near < 1.05 * roof and "widened" in source


def world_points(scene) -> np.ndarray:
    """Every seventh pixel of view 0, in the world."""
    rows, columns = np.mgrid[0:64:7, 0:80:7]
    rays = np.stack([columns + 0.5, rows + 0.5, np.ones_like(rows)], -1) @ np.linalg.inv(scene.K[0]).T
    back = invert(scene.world_to_cam[0])
    return ((rays * scene.z_depth[0][rows, columns][..., None]) @ back[:3, :3].T + back[:3, 3]).reshape(-1, 3)
