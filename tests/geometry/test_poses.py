"""Poses against hand calculations, scipy's rotations, and the pose that the original mesh notebook used."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from rsnb.errors import InputError
from rsnb.geometry import poses

ANGLE = st.floats(-math.pi, math.pi)
PLACE = st.tuples(*[st.floats(-1e4, 1e4)] * 3)


def direction(world_to_cam, axis):
    """World direction of a camera axis (0 right, 1 down, 2 forward)."""
    return world_to_cam[..., axis, :3]


def test_looking_north_level():
    pose = poses.pose_from_heading([10.0, 20.0, 30.0], 0.0)
    # Right is east, picture-down is world-down, forward is north; t = -R c = (-10, 30, -20).
    expected = [[1, 0, 0, -10], [0, 0, -1, 30], [0, 1, 0, -20], [0, 0, 0, 1]]
    np.testing.assert_allclose(pose, expected, atol=1e-15)


@pytest.mark.parametrize(
    ("heading", "pitch", "forward"),
    [
        (90, 0, (1, 0, 0)),  # east
        (180, 0, (0, -1, 0)),  # south
        (-90, 0, (-1, 0, 0)),  # west
        (0, 30, (0, math.sqrt(3) / 2, 0.5)),  # north and up
        (45, -45, (0.5, 0.5, -math.sqrt(0.5))),  # north-east and down
    ],
)
def test_forward_direction(heading, pitch, forward):
    pose = poses.pose_from_heading(np.zeros(3), np.deg2rad(heading), np.deg2rad(pitch))
    np.testing.assert_allclose(direction(pose, 2), forward, atol=1e-15)


def test_positive_roll_lowers_the_right_side():
    # Looking north, rolled clockwise by 90 degrees: the camera's right side points down, picture-down points west.
    pose = poses.pose_from_heading(np.zeros(3), 0.0, 0.0, math.pi / 2)
    np.testing.assert_allclose(direction(pose, 0), (0, 0, -1), atol=1e-15)
    np.testing.assert_allclose(direction(pose, 1), (-1, 0, 0), atol=1e-15)
    np.testing.assert_allclose(direction(pose, 2), (0, 1, 0), atol=1e-15)


@given(PLACE, ANGLE, st.floats(-1.57, 1.57), ANGLE)
@settings(max_examples=100, deadline=None)
def test_angles_and_centre_come_back(place, heading, pitch, roll):
    pose = poses.pose_from_heading(place, heading, pitch, roll)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-14)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(poses.camera_centre(pose), place, atol=1e-10)
    back = poses.heading_pitch_roll(pose)
    assert 0 <= back[0] < 2 * math.pi
    # Near the vertical heading and roll are known to rounding / cos(pitch) only; the pose itself always.
    tolerance = 1e-13 / math.cos(pitch)
    assert math.remainder(back[0] - heading, 2 * math.pi) == pytest.approx(0, abs=tolerance)
    assert back[1] == pytest.approx(pitch, abs=1e-12)
    assert math.remainder(back[2] - roll, 2 * math.pi) == pytest.approx(0, abs=tolerance)
    np.testing.assert_allclose(poses.pose_from_heading(place, *back), pose, atol=1e-8)


@pytest.mark.parametrize("pitch", [-math.pi / 2, math.pi / 2])
@pytest.mark.parametrize("roll", [0.0, 0.7, -2.5])
def test_vertical_views_have_no_roll_but_the_same_pose(pitch, roll):
    pose = poses.pose_from_heading([1.0, 2.0, 3.0], 0.4, pitch, roll)
    angles = poses.heading_pitch_roll(pose)
    assert angles[2] == 0
    np.testing.assert_allclose(poses.pose_from_heading([1.0, 2.0, 3.0], *angles), pose, atol=1e-9)


def test_nadir_is_the_straight_down_view_with_north_up():
    nadir = poses.nadir_pose([5.0, 6.0, 100.0])
    np.testing.assert_allclose(nadir, poses.pose_from_heading([5.0, 6.0, 100.0], 0.0, -math.pi / 2), atol=1e-12)
    np.testing.assert_allclose(poses.heading_pitch_roll(nadir), (0, -math.pi / 2, 0), atol=1e-15)


def test_batches_broadcast():
    places = np.arange(12.0).reshape(4, 1, 3)
    batch = poses.pose_from_heading(places, np.linspace(0, 3, 5), 0.1)
    assert batch.shape == (4, 5, 4, 4)
    np.testing.assert_array_equal(batch[2, 3], poses.pose_from_heading(places[2, 0], np.linspace(0, 3, 5)[3], 0.1))


def test_original_notebooks_camera(real):
    """Its PyTorch3D camera (x left, y up, z forward, row vectors) is our pose with all angles zero."""
    original = json.loads(real("nb2_city_mesh/upstream_reference/pose.json").read_text())
    rotation = np.diag([-1.0, -1.0, 1.0]) @ np.array(original["axis_matrix_TR"], float).T
    place = original["local_position_m"]
    pose = poses.pose_from_heading(place, *np.deg2rad(original["pitch_yaw_roll_deg_in_code"]))
    np.testing.assert_allclose(pose[:3, :3], rotation, atol=1e-15)
    np.testing.assert_allclose(pose[:3, 3], -rotation @ place, atol=1e-11)


def test_inverse_and_composition():
    rng = np.random.default_rng(1)
    a = poses.pose_from_heading(rng.normal(size=(6, 3)) * 100, *rng.uniform(-1, 1, (3, 6)))
    b = poses.pose_from_heading(rng.normal(size=(6, 3)) * 100, *rng.uniform(-1, 1, (3, 6)))
    np.testing.assert_allclose(poses.compose(poses.invert(a), a), np.broadcast_to(np.eye(4), a.shape), atol=1e-12)
    point = np.array([3.0, -4.0, 5.0, 1.0])
    a_to_b = poses.compose(b, poses.invert(a))
    np.testing.assert_allclose(a_to_b @ (a @ point)[..., None], (b @ point)[..., None], atol=1e-11)


def test_look_at_puts_the_target_on_the_axis():
    eye, target = np.array([3.0, -2.0, 8.0]), np.array([-10.0, 30.0, 1.0])
    pose = poses.look_at(eye, target)
    x, y, z = (pose @ [*target, 1.0])[:3]
    assert (x, y) == pytest.approx((0, 0), abs=1e-12)
    assert z == pytest.approx(np.linalg.norm(target - eye))
    heading, pitch, roll = poses.heading_pitch_roll(pose)
    assert heading == pytest.approx(math.atan2(-13, 32) % (2 * math.pi))
    assert pitch == pytest.approx(math.atan2(-7, math.hypot(13, 32)))
    assert roll == pytest.approx(0, abs=1e-15)


def test_look_at_refuses_what_has_no_answer():
    with pytest.raises(InputError, match="same point"):
        poses.look_at([1, 2, 3], [1, 2, 3])
    with pytest.raises(InputError, match="parallel"):
        poses.look_at([0, 0, 10], [0, 0, 0])
    np.testing.assert_allclose(poses.look_at([0, 0, 10], [0, 0, 0], up=(0, 1, 0)), poses.nadir_pose([0, 0, 10]))


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-9, 1e-3, 1.0, 3.0, math.pi - 1e-9, math.pi])
def test_rotation_angle_is_exact_at_both_ends(angle):
    axis = np.array([0.48, -0.6, 0.64])  # length 1
    first = Rotation.from_rotvec([0.3, 0.2, -1.0])
    second = Rotation.from_rotvec(axis * angle) * first
    found = poses.rotation_angle(second.as_matrix(), first.as_matrix())
    assert found == pytest.approx(angle, abs=3e-16 if angle < 1e-6 else 1e-15, rel=1e-3 if angle < 1e-6 else 1e-15)


def test_interpolation_against_scipy():
    rng = np.random.default_rng(3)
    rotations = Rotation.random(2, random_state=7)
    centres = rng.normal(size=(2, 3)) * 50
    a, b = (poses._from_rotation_and_centre(r.as_matrix(), c) for r, c in zip(rotations, centres, strict=True))
    fractions = np.linspace(0, 1, 7)
    between = poses.interpolate(a, b, fractions)
    np.testing.assert_allclose(between[:, :3, :3], Slerp([0, 1], rotations)(fractions).as_matrix(), atol=1e-13)
    expected = centres[0] + fractions[:, None] * (centres[1] - centres[0])
    np.testing.assert_allclose(poses.camera_centre(between), expected, atol=1e-12)
    np.testing.assert_allclose(between[0], a, atol=1e-13)
    np.testing.assert_allclose(between[-1], b, atol=1e-12)


def test_interpolation_goes_the_short_way_over_north():
    a, b = (poses.pose_from_heading(np.zeros(3), math.radians(h)) for h in (350, 20))
    heading = poses.heading_pitch_roll(poses.interpolate(a, b, 0.5))[0]
    assert math.degrees(heading) == pytest.approx(5)
    np.testing.assert_allclose(poses.interpolate(a, a, 0.3), a, atol=1e-15)


def test_wrong_shapes_are_told():
    with pytest.raises(InputError, match=r"\(3, 4\)"):
        poses.camera_centre(np.zeros((3, 4)))
    with pytest.raises(InputError, match="position"):
        poses.pose_from_heading([1.0, 2.0], 0.0)


def test_poses_and_georeference_need_numpy_only():
    """`rsnb info` and the readers must not pay for torch."""
    code = ("import sys, rsnb.geometry.poses, rsnb.geometry.georeference;"
            "print([m for m in ('torch', 'scipy', 'pyproj') if m in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
