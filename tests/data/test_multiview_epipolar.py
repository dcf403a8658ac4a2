"""Real pictures as their readers load them: features matched by OpenCV must lie on the lines that our poses, K and
undistortion predict. Nothing in this proof comes from the readers' own conventions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rsnb.data.multiview.colmap import read_colmap
from rsnb.data.multiview.opensfm import read_opensfm
from rsnb.data.multiview.transforms_json import read_transforms_json

FLIP = np.diag([1.0, -1, -1, 1])  # what stays when OpenGL axes are taken for OpenCV's


def matches(images):
    """Pixels [M, 2] of the same features in two pictures [2, 3, H, W], centres at +0.5."""
    sift = cv2.SIFT_create(1500)
    grey = [cv2.cvtColor((image.transpose(1, 2, 0) * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY) for image in images]
    (first, left), (second, right) = (sift.detectAndCompute(g, None) for g in grey)
    good = [a for a, b in cv2.BFMatcher().knnMatch(left, right, k=2) if a.distance < 0.7 * b.distance]
    return (np.array([first[m.queryIdx].pt for m in good]) + 0.5, np.array([second[m.trainIdx].pt for m in good]) + 0.5)


def line_distance(p, q, K, world_to_cam):
    """Median distance in pixels of q from the line of p: q' K2^-T [t]x R K1^-1 p."""
    relative = world_to_cam[1] @ np.linalg.inv(world_to_cam[0])
    x, y, z = relative[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ relative[:3, :3]
    lines = np.c_[p, np.ones(len(p))] @ (np.linalg.inv(K[1]).T @ essential @ np.linalg.inv(K[0])).T
    return np.median(np.abs((lines * np.c_[q, np.ones(len(q))]).sum(axis=1)) / np.hypot(lines[:, 0], lines[:, 1]))


# reader, two views, pixels allowed: what was measured is 0.22, 0.20, 0.27 and 0.20
CASES = {"fox": (read_transforms_json, (5, 9), 0.35), "sceaux_castle": (read_colmap, (0, 1), 0.35),
         "odm_drone": (read_opensfm, (2, 3), 0.45), "vesta_astrovision": (read_colmap, (2, 3), 0.35)}


@pytest.mark.parametrize("name", CASES)
def test_features_lie_on_their_lines(real, name):
    read, pair, allowed = CASES[name]
    views = read(real(f"nb3_multiview/{name}"))
    loaded = views.load([views.names[i] for i in pair])
    p, q = matches(loaded.images)
    assert len(p) > 80
    assert line_distance(p, q, loaded.K, loaded.world_to_cam) < allowed
    # and it would be seen: mirrored axes, and camera to world
    assert line_distance(p, q, loaded.K, FLIP @ loaded.world_to_cam) > 5
    assert line_distance(p, q, loaded.K, np.linalg.inv(loaded.world_to_cam)) > 5


def test_undistortion_is_needed(real):
    views = read_opensfm(real("nb3_multiview/odm_drone"))
    loaded = views.load(list(views.names[2:]), undistort=False)
    p, q = matches(loaded.images)
    assert line_distance(p, q, loaded.K, loaded.world_to_cam) > 20
