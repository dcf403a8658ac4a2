"""Homographies against points on the plane projected by the cameras themselves, and against OpenCV's fit."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.geometry import poses
from rsnb.geometry.cameras import PinholeCamera, project_points
from rsnb.geometry.homographies import (
    fronto_parallel_homographies,
    plane_homography,
    transform_plane,
    warp_pixels,
)

K_A = np.array([[300.0, 2.0, 170.0], [0.0, 340.0, 90.0], [0.0, 0.0, 1.0]])
K_B = np.array([[520.0, 0.0, 200.0], [0.0, 480.0, 260.0], [0.0, 0.0, 1.0]])
POSE_A = poses.pose_from_heading([0.0, 0.0, 2.0], 0.1, 0.05, -0.1)
POSE_B = poses.pose_from_heading([2.0, 1.0, 3.0], -0.15, -0.1, 0.2)
A_TO_B = poses.compose(POSE_B, poses.invert(POSE_A))
NORMAL, OFFSET = np.array([0.36, -0.48, 0.8]), 9.0  # in the frame of camera A


def points_on_plane(count=40):
    """World points with NORMAL . X_a = OFFSET."""
    rng = np.random.default_rng(2)
    across = np.linalg.svd(NORMAL[None])[2][1:]
    local = NORMAL * OFFSET + rng.uniform(-2, 2, (count, 2)) @ across
    return (np.c_[local, np.ones(count)] @ poses.invert(POSE_A).T)[:, :3]


def test_points_on_the_plane_go_from_picture_to_picture():
    points = points_on_plane()
    in_a, _ = project_points(PinholeCamera(K_A, 1, 1), POSE_A, points)
    in_b, _ = project_points(PinholeCamera(K_B, 1, 1), POSE_B, points)
    assert torch.isfinite(in_a).all() and torch.isfinite(in_b).all()
    H = plane_homography(K_A, K_B, A_TO_B, NORMAL, OFFSET)
    np.testing.assert_allclose(warp_pixels(H, in_a), in_b, atol=1e-9)
    # A normal of another length means the same plane.
    torch.testing.assert_close(plane_homography(K_A, K_B, A_TO_B, 3 * NORMAL, 3 * OFFSET), H)
    # The third coordinate is z_b / z_a.
    third = (H @ torch.cat([in_a, torch.ones(len(in_a), 1)], dim=1)[..., None])[:, 2, 0]
    z_a, z_b = ((np.c_[points, np.ones(len(points))] @ pose.T)[:, 2] for pose in (POSE_A, POSE_B))
    np.testing.assert_allclose(third, z_b / z_a, rtol=1e-11)
    # OpenCV's least-squares fit to the same pairs is the same matrix up to its factor.
    fitted = cv2.findHomography(in_a.numpy(), in_b.numpy())[0]
    np.testing.assert_allclose(fitted, (H / H[2, 2]).numpy(), rtol=1e-5, atol=1e-7)


def test_the_other_direction_is_the_inverse():
    there = plane_homography(K_A, K_B, A_TO_B, NORMAL, OFFSET)
    normal, offset = transform_plane(A_TO_B, NORMAL, OFFSET)
    back = plane_homography(K_B, K_A, poses.invert(A_TO_B), normal, offset)
    np.testing.assert_allclose(there @ back, np.eye(3), atol=1e-11)


def test_fronto_parallel_stack():
    depths = np.array([4.0, 7.5, 30.0, math.inf])
    stack = fronto_parallel_homographies(K_A, K_B, A_TO_B, depths)
    assert stack.shape == (4, 3, 3)
    for H, depth in zip(stack[:3], depths[:3], strict=True):
        torch.testing.assert_close(H, plane_homography(K_A, K_B, A_TO_B, [0.0, 0.0, 1.0], depth))
    np.testing.assert_allclose(stack[3], K_B @ A_TO_B[:3, :3] @ np.linalg.inv(K_A), atol=1e-12)
    # Two poses at once.
    both = fronto_parallel_homographies(K_A, K_B, np.stack([A_TO_B, np.eye(4)]), depths)
    torch.testing.assert_close(both[0], stack)
    np.testing.assert_allclose(both[1], np.broadcast_to(K_B @ np.linalg.inv(K_A), (4, 3, 3)), atol=1e-12)


def test_points_behind_the_target_are_nan():
    turned = poses.compose(poses.pose_from_heading(np.zeros(3), math.pi), poses.invert(
        poses.pose_from_heading(np.zeros(3), 0.0)))
    H = plane_homography(K_A, K_A, turned, [0.0, 0.0, 1.0], 5.0)
    assert torch.isnan(warp_pixels(H, [[170.0, 90.0]])).all()


def test_gradients():
    pose = torch.tensor(A_TO_B, requires_grad=True)
    depth = torch.tensor([5.0, 11.0], dtype=torch.float64, requires_grad=True)
    pixels = torch.tensor([[100.0, 50.0], [160.0, 80.0]], dtype=torch.float64, requires_grad=True)

    def warped(p, d, x):
        return warp_pixels(fronto_parallel_homographies(K_A, K_B, p, d)[:, None], x)

    assert torch.autograd.gradcheck(warped, (pose, depth, pixels))


def test_plane_through_the_camera_is_refused():
    with pytest.raises(InputError, match="distance 0"):
        plane_homography(K_A, K_B, A_TO_B, NORMAL, 0.0)
