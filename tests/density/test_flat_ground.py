"""The flat ground: directions and distances by hand, there and back again, input that must be refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rsnb.density.flat_ground import Sphere, birds_eye, flat_panorama, ground_points, require_whole_sphere
from rsnb.errors import InputError


def four_quarters(size=64):
    """Red in the north, green in the east, blue in the south, white in the west, black in the middle third."""
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    tile = np.zeros((3, size, size), np.float32)
    tile[0][(-y > abs(x))] = 1
    tile[1][(x > abs(y))] = 1
    tile[2][(y > abs(x))] = 1
    tile[:, (-x > abs(y))] = 1
    tile[:, np.hypot(x, y) < size / 6] = 0
    return tile


@pytest.mark.parametrize("heading_deg", [0, 90, -45])
def test_each_quarter_of_the_tile_lies_at_its_bearing(heading_deg):
    sphere = Sphere(64, 128, heading=math.radians(heading_deg))
    panorama, seen = flat_panorama(four_quarters(), sphere, camera_height=8.0)
    row = 40  # depression (40.5 / 64 - 0.5) * 180 = 23.9 degrees: 8 / tan = 18.0 pixels away, outside the black middle
    assert seen[row].all()
    for bearing, colour in ((0, (1, 0, 0)), (90, (0, 1, 0)), (180, (0, 0, 1)), (270, (1, 1, 1))):
        column = int(((bearing - heading_deg) / 360 + 0.5) * 128) % 128
        assert panorama[:, row, column].tolist() == pytest.approx(colour), (bearing, column)


def test_a_ray_meets_the_ground_where_the_triangle_says():
    sphere = Sphere(4, 8)  # rows at +67.5, +22.5, -22.5, -67.5 degrees; column 4 at bearing 22.5
    east, north, below = ground_points(sphere, camera_height=2.0)
    assert below[:, 0].tolist() == [False, False, True, True]
    reach = 2.0 / math.tan(math.radians(22.5))  # 4.828
    assert east[2, 4].item() == pytest.approx(reach * math.sin(math.radians(22.5)))
    assert north[2, 4].item() == pytest.approx(reach * math.cos(math.radians(22.5)))
    assert torch.isinf(east[0]).all()


def test_half_pixels_are_right_and_metres_are_pixels():
    # A tile whose red is the east coordinate of its pixel centres, in metres (4 pixels of 2 m): linear, so that
    # bilinear interpolation gives the coordinate itself between the outermost centres (-3..3 m).
    tile = np.zeros((3, 4, 4), np.float32)
    tile[0] = [-3, -1, 1, 3]
    tile[1] = np.array([3, 1, -1, -3])[:, None]
    sphere = Sphere(32, 64)
    panorama, seen = flat_panorama(tile, sphere, camera_height=1.5, extent=8.0, offset=(0.5, -0.25))
    east, north, _ = ground_points(sphere, 1.5)
    inside = seen & ((east + 0.5).abs() < 3) & ((north - 0.25).abs() < 3)
    assert inside.sum() > 300
    assert torch.allclose(panorama[0][inside], (east + 0.5)[inside].float(), atol=1e-5)
    assert torch.allclose(panorama[1][inside], (north - 0.25)[inside].float(), atol=1e-5)
    in_pixels, _ = flat_panorama(tile, sphere, camera_height=0.75, offset=(0.25, -0.125))
    assert torch.equal(in_pixels, panorama)


def test_what_lies_outside_the_tile_is_not_seen():
    sphere = Sphere(64, 128)
    _, seen = flat_panorama(np.ones((3, 16, 16), np.float32), sphere, camera_height=4.0)
    # Due north the tile ends 8 pixels away, 26.6 degrees down; due north-east 11.3 away, 19.5 degrees down.
    down = torch.rad2deg(-sphere.elevations)
    assert down[seen[:, 64].nonzero()[0].item()].item() == pytest.approx(26.6, abs=2.9)  # a row has 2.8 degrees
    assert down[seen[:, 80].nonzero()[0].item()].item() == pytest.approx(19.5, abs=2.9)
    assert not seen[:32].any() and seen[45:].all()


@pytest.mark.parametrize("heading_deg", [0, 137])
def test_there_and_back_gives_the_tile(heading_deg):
    y, x = np.mgrid[:48, :48] / 48
    tile = np.stack([0.5 + 0.4 * np.sin(5 * x + 2 * y), x, 0.3 + 0.5 * y**2]).astype(np.float32)
    sphere = Sphere(256, 512, heading=math.radians(heading_deg))
    panorama, _ = flat_panorama(tile, sphere, camera_height=10.0, offset=(3.0, -2.0))
    back, seen = birds_eye(panorama, sphere, 48, camera_height=10.0, offset=(3.0, -2.0))
    assert seen.all()
    inner = np.s_[:, 4:-4, 4:-4]
    assert np.abs(back.numpy() - tile)[inner].max() < 0.01
    mirrored = back.numpy()[:, :, ::-1]
    assert np.abs(mirrored - tile)[inner].max() > 0.3


def test_a_band_of_the_sphere_leaves_a_hole_under_the_camera():
    sphere = Sphere(224, 1232, vertical_fov=math.radians(65.5))
    _, seen = birds_eye(np.ones((3, 224, 1232), np.float32), sphere, 64, camera_height=10.0)
    y, x = np.mgrid[:64, :64] + 0.5 - 32
    assert np.array_equal(seen.numpy(), np.hypot(x, y) >= 10.0 / math.tan(math.radians(65.5 / 2)))


def test_the_seam_at_the_back_is_no_edge():
    # Behind a camera that looks north lies the seam; a panorama of one colour must stay that colour there.
    back, _ = birds_eye(np.ones((1, 64, 128), np.float32), Sphere(64, 128), 33, camera_height=5.0)
    assert torch.allclose(back, torch.ones_like(back))


@pytest.mark.parametrize(("change", "named"), [
    ({"extent": 0.0}, "extent"), ({"extent": -30.0}, "extent"), ({"camera_height": 0.0}, "camera_height"),
    ({"camera_height": math.nan}, "camera_height"), ({"offset": (math.nan, 0.0)}, "offset"),
    ({"tile": np.full((3, 8, 8), np.nan, np.float32)}, "not finite"), ({"tile": np.ones((3, 8, 9))}, "shape"),
], ids=["extent-0", "extent-negative", "height-0", "height-nan", "offset-nan", "tile-nan", "tile-not-square"])
def test_bad_input_is_refused(change, named):
    arguments = {"tile": np.ones((3, 8, 8), np.float32), "camera_height": 2.0} | change
    with pytest.raises(InputError, match=named):
        flat_panorama(sphere=Sphere(8, 16), **arguments)


def test_a_sphere_that_is_none_is_refused():
    for size in ((224, 1232), (256, 256)):
        with pytest.raises(InputError, match="not 2:1"):
            require_whole_sphere(*size)
    require_whole_sphere(256, 512)
    require_whole_sphere(128, 512)  # Sat2Density squeezes the rows
    for arguments in ((64, 128, 4.0), (64, 128, 0.0), (1, 128), (64, 128, math.pi, math.nan)):
        with pytest.raises(InputError):
            Sphere(*arguments)
    with pytest.raises(InputError, match="rows and columns"):
        birds_eye(np.ones((3, 8, 16)), Sphere(16, 32), 8, 2.0)
