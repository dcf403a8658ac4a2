"""Frames, padding, pyramids, and the bad input that must not become a bad result."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre, invert
from rsnb.mpi.views import (
    check_range,
    check_views,
    choose_reference,
    depth_range,
    padded_frame,
    view_set,
)

sys.path.insert(0, str(Path(__file__).parent))
from posed_scene import block_scene

NEAR_FAR = (4.0, 7.5)


@pytest.fixture(scope="module")
def scene():
    return block_scene((40, 48))


def test_padding_moves_the_principal_point_and_no_pixel(scene):
    frame = padded_frame(scene, "0", ("1", "2"), NEAR_FAR, max_pad=0.5, multiple=8)
    top, left, height, width = frame.inset
    assert (height, width) == (40, 48) and top > 0 and left > 0
    assert frame.size[0] % 8 == 0 and frame.size[1] % 8 == 0
    point = np.array([0.3, -0.4, 5.0])
    inner, outer = (K @ point for K in (scene.K[0], frame.K))
    assert np.allclose(outer[:2] / outer[2], inner[:2] / inner[2] + [left, top])
    picture = torch.arange(frame.size[0] * frame.size[1]).reshape(frame.size)
    assert frame.crop(picture)[0, 0] == picture[top, left] and frame.crop(picture).shape == (40, 48)


def test_what_other_views_see_lies_in_the_frame(scene):
    frame = padded_frame(scene, "0", scene.names, NEAR_FAR, max_pad=2.0)
    for i in range(1, len(scene)):
        to_frame = frame.world_to_cam @ invert(scene.world_to_cam[i])
        for z in (4.5, 6.0, 7.2):  # places that view i sees and that lie between near and far of the reference
            rays = np.array([[0, 0, 1], [48, 0, 1], [0, 40, 1], [48, 40, 1.0]]) @ np.linalg.inv(scene.K[i]).T
            points = rays * z @ to_frame[:3, :3].T + to_frame[:3, 3]
            points = points[(points[:, 2] > NEAR_FAR[0]) & (points[:, 2] < NEAR_FAR[1])]
            pixels = points @ frame.K.T
            pixels = pixels[:, :2] / pixels[:, 2:]
            assert (pixels > -1e-6).all() and (pixels < np.array(frame.size[::-1]) + 1e-6).all()
    limited = padded_frame(scene, "0", scene.names, NEAR_FAR, max_pad=0.1, multiple=1)
    assert limited.size[0] <= 48 and limited.size[1] <= 56  # 40 + 2 * 4, 48 + 2 * 4
    assert padded_frame(scene, "0", scene.names, NEAR_FAR, max_pad=0.0, multiple=1).size == (40, 48)


def test_levels_show_the_same_place(scene):
    frame = padded_frame(scene, "0", ("1",), NEAR_FAR, multiple=4)
    coarse = frame.at_level(2)
    point = np.array([0.3, -0.4, 5.0])
    fine_pixel, coarse_pixel = (K @ point / 5.0 for K in (frame.K, coarse.K))
    assert np.allclose(fine_pixel[:2], 4 * coarse_pixel[:2])
    views = view_set(scene, ("1", "4"), frame).at_level(1)
    assert views.images.shape == (2, 3, 20, 24)
    assert torch.allclose(views.images[1, :, 3, 5], torch.from_numpy(scene.images[4][:, 6:8, 10:12]).mean((1, 2)))
    with pytest.raises(InputError, match="has no level"):
        padded_frame(scene, "0", (), NEAR_FAR, multiple=1).at_level(4)


def test_poses_are_relative_to_the_frame(scene):
    frame = padded_frame(scene, "2", ("1",), NEAR_FAR)
    views = view_set(scene, ("4", "2"), frame)
    world = np.array([0.2, 0.1, 0.9, 1.0])
    assert np.allclose(views.ref_to_target[0] @ (scene.world_to_cam[2] @ world), scene.world_to_cam[4] @ world)
    assert np.allclose(views.ref_to_target[1], np.eye(4), atol=1e-12)
    camera = views.camera(0, frame)
    assert camera.size == (40, 48) and camera.K_ref.dtype == torch.float64


def test_the_view_in_the_middle(scene):
    assert choose_reference(scene, scene.names) == "0"
    assert choose_reference(scene, ("1", "2")) in ("1", "2")


def test_range_of_sparse_points(scene):
    rng = np.random.default_rng(1)
    z = rng.uniform(4.5, 6.5, 4000)
    pixels = rng.uniform(0, 1, (4000, 2)) * [48, 40]
    rays = np.concatenate([pixels, np.ones((4000, 1))], 1) @ np.linalg.inv(scene.K[1]).T
    cam_to_world = invert(scene.world_to_cam[1])
    points = (rays * z[:, None]) @ cam_to_world[:3, :3].T + cam_to_world[:3, 3]
    astray = camera_centre(scene.world_to_cam[1]) + [[9, 9, -1.0]]  # outside the picture: must not count
    near, far = depth_range(scene, "1", np.concatenate([points, astray]), percentiles=(0, 100), margin=0.0)
    assert (near, far) == pytest.approx((4.5, 6.5), abs=0.01)
    wider = depth_range(scene, "1", points, percentiles=(0, 100), margin=0.1)
    spread = 0.1 * (1 / near - 1 / far)
    assert wider == pytest.approx((1 / (1 / near + spread), 1 / (1 / far - spread)), rel=1e-3)
    assert depth_range(scene, "1") == NEAR_FAR
    with pytest.raises(InputError, match="no depth range"):
        depth_range(replace(scene, near_far=None), "1")
    with pytest.raises(InputError, match="sparse points"):
        depth_range(scene, "1", astray)


@pytest.mark.parametrize(("near", "far", "words"), [
    (0.0, 5.0, "above 0"), (-1.0, 5.0, "above 0"), (5.0, 4.0, "reversed"), (5.0, 5.0, "reversed"),
    (np.nan, 5.0, "greatest z depth"),
])
def test_bad_ranges(scene, near, far, words):
    with pytest.raises(InputError, match=words):
        check_range(near, far)
    with pytest.raises(InputError, match=words):
        padded_frame(scene, "0", ("1",), (near, far))


def spoilt_pose(scene, change):
    poses = scene.world_to_cam.copy()
    poses[2] = change(poses[2])
    return replace(scene, world_to_cam=poses)


def test_bad_poses_and_pictures(scene):
    good = ("0", ("1", "2"), ("3",))
    check_views(scene, *good)
    for change, words in ((lambda pose: np.diag([1, -1, 1, 1]) @ pose, "mirrored"),
                          (lambda pose: np.diag([1, 1, 0, 1]) @ pose, "no rotation"),
                          (lambda pose: np.diag([2, 2, 2, 1]) @ pose, "no rotation"),
                          (lambda pose: pose * np.nan, "not finite")):
        with pytest.raises(InputError, match=f"view 2.*{words}"):
            check_views(spoilt_pose(scene, change), *good)
    K = scene.K.copy()
    K[1, 0, 0] = -50
    with pytest.raises(InputError, match="focal lengths"):
        check_views(replace(scene, K=K), *good)
    images = scene.images.copy()
    images[1, 0, 3, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        check_views(replace(scene, images=images), *good)
    with pytest.raises(InputError, match="perspective"):
        check_views(replace(scene, camera="panorama", K=None), *good)


@pytest.mark.parametrize(("reference", "train", "test", "words"), [
    ("0", ("1", "2"), ("2",), "'2' is a test view"), ("0", ("1", "2"), ("0",), "'0' is a test view"),
    ("0", ("1", "9"), (), "no view '9'"), ("7", ("1",), (), "no view '7'"), ("0", ("1", "1"), (), "twice"),
    ("0", (), (), "no train view"), ("0", ("0",), (), "no train view"),
])
def test_bad_splits(scene, reference, train, test, words):
    with pytest.raises(InputError, match=words):
        check_views(scene, reference, train, test)
