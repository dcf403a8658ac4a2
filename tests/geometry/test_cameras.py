"""Cameras against closed forms, OpenCV, and each other's inverse; float64 throughout, so tolerances are rounding."""

from __future__ import annotations

import json
import math
import warnings

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rsnb.errors import InputError
from rsnb.geometry import poses
from rsnb.geometry.cameras import (
    NadirCamera,
    PanoramaCamera,
    PinholeCamera,
    distance_to_z_depth,
    project_points,
    vertical_fov_to_horizontal,
    world_rays,
    z_depth_to_distance,
)

# Off-centre, not square, fx != fy, with skew.
K = np.array([[310.0, 4.0, 210.0], [0.0, 275.0, 95.0], [0.0, 0.0, 1.0]])
POSE = poses.pose_from_heading([12.0, -7.0, 30.0], 2.1, -0.4, 0.25)


def cameras():
    return [PinholeCamera(K, 37, 21), PanoramaCamera(31, 18), NadirCamera(0.35, 25, 14), PanoramaCamera(31, 9, 1.1)]


@pytest.fixture(params=range(4), ids=["pinhole", "panorama", "nadir", "low panorama"])
def camera(request):
    return cameras()[request.param]


def test_pixels_to_points_and_back(camera):
    """Every pixel centre: cast to 3 distances, projected again."""
    for distance in (0.1, 7.0, 5000.0):
        origins, directions = world_rays(camera, POSE)
        assert origins.shape == directions.shape == (camera.height, camera.width, 3)
        assert directions.dtype == torch.float64
        torch.testing.assert_close(directions.norm(dim=-1), torch.ones(camera.height, camera.width).double())
        pixels, found = project_points(camera, POSE, origins + distance * directions)
        torch.testing.assert_close(pixels, camera.pixel_centres(dtype=torch.float64), atol=1e-9, rtol=0)
        torch.testing.assert_close(found, torch.full_like(found, distance), atol=1e-11, rtol=1e-12)


@given(st.floats(-60, 60), st.floats(-60, 60), st.floats(0.5, 300))
@settings(max_examples=60, deadline=None)
def test_points_to_pixels_and_back(x, y, z):
    for camera in cameras():
        pixels, distance = camera.project(torch.tensor([x, y, z], dtype=torch.float64))
        origins, directions = camera.rays(pixels)
        np.testing.assert_allclose(origins + distance * directions, [x, y, z], atol=1e-9)


def test_opencv_projects_to_the_same_pixels():
    rng = np.random.default_rng(0)
    intrinsics = K.copy()
    intrinsics[0, 1] = 0  # OpenCV has no skew
    origins, directions = world_rays(PinholeCamera(intrinsics, 37, 21), POSE)
    reach = rng.uniform(3, 90, (21, 37, 1))
    points = (origins.numpy() + directions.numpy() * reach).reshape(-1, 3)
    centred = intrinsics - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]  # OpenCV counts from the first pixel's centre
    expected = cv2.projectPoints(points, cv2.Rodrigues(POSE[:3, :3])[0], POSE[:3, 3], centred, None)[0][:, 0] + 0.5
    pixels, distance = project_points(PinholeCamera(intrinsics, 37, 21), POSE, points)
    np.testing.assert_allclose(pixels, expected, atol=1e-9)
    np.testing.assert_allclose(distance, np.linalg.norm(points - [12.0, -7.0, 30.0], axis=1), rtol=1e-12)


def test_focal_length_of_the_original_notebook(real):
    original = json.loads(real("nb2_city_mesh/upstream_reference/pose.json").read_text())
    width, height = original["image_size"]
    camera = PinholeCamera.from_fov(math.radians(original["fov_deg"]), width, height)
    # 320 / tan(57.5 degrees) = 203.86 px
    assert float(camera.K[0, 0]) == pytest.approx(203.86, abs=5e-3)
    # One metre to the right and ahead lies 45 degrees from the axis: 320 + 203.86 px.
    pixels, _ = camera.project([1.0, 0.0, 1.0])
    np.testing.assert_allclose(pixels, [523.86, 320], atol=5e-3)


def test_fov_is_horizontal_and_comes_back():
    camera = PinholeCamera.from_fov(math.radians(90), 400, 300)
    horizontal, vertical = camera.fov
    assert float(horizontal) == pytest.approx(math.pi / 2, abs=1e-15)
    assert float(vertical) == pytest.approx(2 * math.atan(0.75), abs=1e-15)  # tan(v / 2) = 150 / 200
    assert float(vertical_fov_to_horizontal(vertical, 400, 300)) == pytest.approx(math.pi / 2, abs=1e-15)
    # Off-centre: the two half angles differ. cx = 210 of 37 is outside on the right: atan(210/310) - atan(173/310).
    horizontal, vertical = PinholeCamera(K, 37, 21).fov
    assert float(horizontal) == pytest.approx(math.atan(210 / 310) - math.atan(173 / 310), abs=1e-15)


def test_resizing_keeps_the_view():
    camera = PinholeCamera(K, 37, 21)
    large = camera.resized(74, 63)
    pixel = torch.tensor([11.3, 8.9], dtype=torch.float64)
    torch.testing.assert_close(large.rays(pixel * torch.tensor([2.0, 3.0]))[1], camera.rays(pixel)[1])


@pytest.mark.parametrize(
    ("point", "pixel"),
    [
        ((0, 0, 5), (400, 200)),  # ahead: the middle
        ((5, 0, 0), (600, 200)),  # right: three quarters
        ((-5, 0, 0), (200, 200)),  # left
        ((0, 0, -5), (0, 200)),  # behind: the seam belongs to the left edge
        ((-1e-9, 0, -5), (800 * 1e-9 / 5 / (2 * math.pi), 200)),  # just left of behind
        ((1e-9, 0, -5), (800 - 800 * 1e-9 / 5 / (2 * math.pi), 200)),  # just right of behind
        ((0, -5, 5), (400, 100)),  # 45 degrees up
        ((0, -5, 0), (400, 0)),  # straight up: the top edge, any column
        ((0, 5, 0), (400, 400)),  # straight down
    ],
)
def test_panorama_directions(point, pixel):
    pixels, distance = PanoramaCamera(800, 400).project(np.array(point, float))
    np.testing.assert_allclose(pixels, pixel, atol=1e-10)
    assert float(distance) == pytest.approx(np.linalg.norm(point))


def test_panorama_in_the_world_follows_the_fact_sheet():
    """ray = (cos lat sin lon, cos lat cos lon, sin lat), lon counted from the heading."""
    camera, heading = PanoramaCamera(16, 8), 0.83
    _, directions = world_rays(camera, poses.pose_from_heading([1, 2, 3], heading))
    i, j = np.meshgrid(np.arange(16), np.arange(8))
    lon, lat = ((i + 0.5) / 16 - 0.5) * 2 * np.pi + heading, (0.5 - (j + 0.5) / 8) * np.pi
    expected = np.stack([np.cos(lat) * np.sin(lon), np.cos(lat) * np.cos(lon), np.sin(lat)], axis=-1)
    np.testing.assert_allclose(directions, expected, atol=1e-14)


def test_a_low_panorama_is_the_middle_rows_of_the_whole_one():
    whole, low = PanoramaCamera(36, 18), PanoramaCamera(36, 6, math.pi / 3)  # 6 of 18 rows of 10 degrees
    centres = low.pixel_centres()
    torch.testing.assert_close(low.rays(centres)[1], whole.rays(whole.pixel_centres())[1][6:12], atol=1e-15, rtol=0)
    # 45 degrees up: 15 degrees = 1.5 rows above the upper edge; ahead of the middle column
    pixels, distance = low.project([0.0, -3.0, 3.0])
    np.testing.assert_allclose(pixels, [18, -1.5], atol=1e-12)
    assert float(distance) == pytest.approx(math.sqrt(18))


@pytest.mark.parametrize("fov", [0.0, -1.0, 3.2, 65.0, math.nan, math.inf])
def test_a_vertical_field_of_view_that_no_sphere_has(fov):
    with pytest.raises(InputError, match=r"vertical_fov.*at most 180"):
        PanoramaCamera(36, 6, fov)


def test_panorama_edges_and_poles_as_pixels():
    camera = PanoramaCamera(800, 400)
    left, right = camera.rays([[0.0, 123.4], [800.0, 123.4]])[1]
    torch.testing.assert_close(left, right, atol=1e-15, rtol=0)  # one meridian
    poles = camera.rays([[x, y] for y in (0.0, 400.0) for x in (0.0, 300.0, 799.0)])[1]
    np.testing.assert_allclose(poles, [[0, -1, 0]] * 3 + [[0, 1, 0]] * 3, atol=1e-15)


def test_nadir_map_coordinates():
    """origin (cx + (i + 0.5 - W/2) g, cy + (H/2 - (j + 0.5)) g, z_top), ray straight down; hand-computed corner."""
    camera = NadirCamera(0.5, 10, 6)
    origins, directions = world_rays(camera, poses.nadir_pose([100.0, 200.0, 50.0]))
    np.testing.assert_allclose(origins[0, 0], [100 - 4.5 * 0.5, 200 + 2.5 * 0.5, 50], atol=1e-13)
    np.testing.assert_allclose(origins[5, 9], [100 + 4.5 * 0.5, 200 - 2.5 * 0.5, 50], atol=1e-13)
    np.testing.assert_allclose(directions, np.broadcast_to([0, 0, -1], (6, 10, 3)), atol=1e-15)
    pixels, distance = project_points(camera, poses.nadir_pose([100.0, 200.0, 50.0]), [100.0, 201.0, 8.0])
    np.testing.assert_allclose(pixels, [5, 1], atol=1e-12)
    assert float(distance) == pytest.approx(42)


def test_behind_is_nan_and_leaves_the_other_gradients_alone():
    points = torch.tensor([[1.0, 2.0, 5.0], [1.0, 2.0, -5.0], [1.0, 2.0, 0.0]], dtype=torch.float64, requires_grad=True)
    pixels, distance = PinholeCamera(K, 37, 21).project(points)
    assert torch.isfinite(pixels).all(dim=-1).tolist() == [True, False, False]
    np.testing.assert_allclose(distance.detach(), [math.sqrt(30), math.sqrt(30), math.sqrt(5)])
    pixels[torch.isfinite(pixels)].sum().backward()
    assert torch.isfinite(points.grad).all()
    assert points.grad[0].abs().sum() > 0 and points.grad[1:].abs().sum() == 0
    above = NadirCamera(1.0, 4, 4).project([0.0, 0.0, -1.0])
    assert torch.isnan(above[0]).all() and float(above[1]) == -1


def test_panorama_gradients_are_finite_at_seam_poles_and_centre():
    points = torch.tensor([[0.0, 0, -5], [0, -5, 0], [0, 5, 0], [0, 0, 0]], dtype=torch.float64, requires_grad=True)
    pixels, distance = PanoramaCamera(64, 32).project(points)
    assert torch.isnan(pixels[3]).all() and torch.isfinite(pixels[:3]).all()
    (pixels[:3].sum() + distance.sum()).backward()
    assert torch.isfinite(points.grad).all()


def test_gradients_of_pose_intrinsics_and_points():
    pose = torch.tensor(POSE, requires_grad=True)
    intrinsics = torch.tensor(K, requires_grad=True)
    free = torch.tensor([[1.0, 1, 1], [0, 1, 1], [0, 0, 0]], dtype=torch.float64)  # the rest of K is no parameter
    pixels = torch.tensor([[3.0, 4.0], [30.0, 17.0]], dtype=torch.float64, requires_grad=True)
    points = torch.tensor(POSE[:3, 2] * 40 + [12.0, -7.0, 30.0] + np.array([[3.0, 1, 2], [-4, 2, 1]]),
                          requires_grad=True)

    def pinhole(k):
        return PinholeCamera(torch.where(free > 0, k, torch.tensor(K)), 37, 21)

    assert torch.autograd.gradcheck(lambda k, p, x: world_rays(pinhole(k), p, x), (intrinsics, pose, pixels))
    assert torch.autograd.gradcheck(lambda k, p, x: project_points(pinhole(k), p, x), (intrinsics, pose, points))
    for camera in cameras()[1:]:
        assert torch.autograd.gradcheck(lambda p, x, c=camera: world_rays(c, p, x), (pose, pixels))
        assert torch.autograd.gradcheck(lambda p, x, c=camera: project_points(c, p, x), (pose, points))
    fov = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda f: PinholeCamera.from_fov(f, 64, 48).project(target)[0], (fov,))


def test_batches_equal_the_loop(camera):
    rng = np.random.default_rng(5)
    batch = poses.pose_from_heading(rng.normal(size=(4, 3)), *rng.uniform(-1, 1, (3, 4)))
    all_origins, all_directions = world_rays(camera, batch)
    assert all_origins.shape == (4, camera.height, camera.width, 3)
    cloud = rng.normal(size=(9, 3)) * 20
    all_pixels, all_distances = project_points(camera, batch, cloud[None])
    assert all_pixels.shape == (4, 9, 2) and all_distances.shape == (4, 9)
    for i, pose in enumerate(batch):
        origins, directions = world_rays(camera, pose)
        torch.testing.assert_close(all_origins[i], origins, atol=1e-12, rtol=0)
        torch.testing.assert_close(all_directions[i], directions, atol=1e-14, rtol=0)
        pixels, distances = project_points(camera, pose, cloud)
        torch.testing.assert_close(all_pixels[i], pixels, atol=1e-9, rtol=0, equal_nan=True)
        torch.testing.assert_close(all_distances[i], distances, atol=1e-12, rtol=0)


def test_batched_intrinsics():
    stack = np.stack([K, K * [[2, 1, 1], [1, 3, 1], [1, 1, 1]]])
    batch = PinholeCamera(stack, 37, 21)
    both = np.stack([POSE, poses.nadir_pose([0, 0, 9])])
    directions = world_rays(batch, both)[1]
    for i in range(2):
        torch.testing.assert_close(directions[i], world_rays(PinholeCamera(stack[i], 37, 21), both[i])[1])
    assert world_rays(batch, POSE)[1].shape == (2, 21, 37, 3)
    assert batch.fov[0].shape == (2,)
    assert distance_to_z_depth(batch, torch.ones(2, 21, 37)).shape == (2, 21, 37)
    with pytest.raises(InputError, match="from the left"):
        batch.project([1.0, 2.0, 3.0])


def test_precision_follows_the_finest_input():
    single = PinholeCamera(torch.tensor(K, dtype=torch.float32), 37, 21)
    assert single.rays(single.pixel_centres())[1].dtype == torch.float32
    assert world_rays(single, torch.tensor(POSE, dtype=torch.float32))[0].dtype == torch.float32
    assert project_points(single, POSE, np.ones((2, 3), np.float32))[0].dtype == torch.float64
    frozen = POSE.copy()
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        world_rays(single, frozen)


def test_a_wall_has_one_z_depth():
    camera = PinholeCamera(K, 37, 21)
    _, directions = camera.rays(camera.pixel_centres())
    distance = 5 / directions[..., 2]  # the plane z = 5
    distance[0, 0] = math.inf
    z_depth = distance_to_z_depth(camera, distance)
    assert math.isinf(z_depth[0, 0])
    np.testing.assert_allclose(z_depth.flatten()[1:], 5, rtol=1e-14)
    torch.testing.assert_close(z_depth_to_distance(camera, z_depth), distance)
    nadir = NadirCamera(1.0, 4, 3)
    torch.testing.assert_close(distance_to_z_depth(nadir, torch.full((3, 4), 7.0)), torch.full((3, 4), 7.0))
    behind = distance_to_z_depth(PanoramaCamera(8, 4), torch.full((4, 8), math.inf))
    assert torch.isposinf(behind).all()


@pytest.mark.parametrize("degrees", [0, -10, 180, 400, math.nan])
def test_impossible_fov(degrees):
    with pytest.raises(InputError, match="between 0 and 180"):
        PinholeCamera.from_fov(math.radians(degrees), 64, 48)


def test_impossible_cameras():
    for bad in (np.eye(4), np.diag([-1.0, 1, 1]), np.diag([1.0, 1, 2]), np.diag([math.nan, 1, 1])):
        with pytest.raises(InputError):
            PinholeCamera(bad, 4, 4)
    with pytest.raises(InputError, match="width"):
        PanoramaCamera(0, 4)
    with pytest.raises(InputError, match="height"):
        PanoramaCamera(8, 4.5)
    with pytest.raises(InputError, match="ground sampling"):
        NadirCamera(0.0, 4, 4)
