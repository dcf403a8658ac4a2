"""Camera paths: places by hand, errors that name the row, files that come back."""

import json

import numpy as np
import pytest
from rasterio.warp import transform

from rsnb.density.path import (
    CameraPath,
    make_path,
    roll_panorama,
    smooth_path,
    travel_headings,
    with_equal_steps,
)
from rsnb.density.path_files import read_path_csv, read_path_geojson, write_path_csv, write_path_geojson
from rsnb.density.volume import TileFrame
from rsnb.errors import InputError
from rsnb.scenes import Georeference

FRAME = TileFrame(32.0, 8.0)
HELSINKI = Georeference("EPSG:3879", (25496000.0, 6672000.0, 0.0))


def test_pixels_of_a_tile_become_metres():
    # 256 px over 32 m: 0.125 m a pixel; column 128 + 80 is 10 m east, row 128 - 40 is 5 m NORTH of the middle
    path = make_path([[128, 128], [208, 88]], FRAME, unit="pixels")
    assert path.points == pytest.approx(np.array([[0, 0], [10, 5]]))
    half = make_path([[64, 64], [104, 44]], FRAME, unit="pixels", tile_px=128)
    assert half.points == pytest.approx(path.points)
    assert path.length_m == pytest.approx(np.hypot(10, 5))
    assert path.positions(2.5)[1] == pytest.approx([10, 5, 2.5])


def test_headings_follow_the_way():
    # north, then east: half way (north-east) at the corner
    path = make_path([[0, 0], [0, 5], [5, 5]], FRAME)
    assert np.degrees(path.headings) == pytest.approx([0, 45, 90])
    south_west = make_path([[0, 0], [-3, -3]], FRAME)
    assert np.degrees(south_west.headings) == pytest.approx([225, 225])
    # there and back: at the turning point it looks the way on; the length of a step does not weigh
    assert np.degrees(travel_headings(np.array([[0, 0], [0, 9], [0, 0.0]]))) == pytest.approx([0, 180, 180])
    assert np.degrees(travel_headings(np.array([[0, 0], [0, 9], [1, 9.0]])))[1] == pytest.approx(45)
    assert np.degrees(travel_headings(np.array([[1, 1], [1, 1], [2, 1.0]]))) == pytest.approx([90, 90, 90])


def test_north_up_or_heading_up():
    path = make_path([[0, 0], [5, 0]], FRAME)
    assert np.degrees(path.view_headings()) == pytest.approx([90, 90])
    assert path.view_headings(heading_up=False).tolist() == [0, 0]


@pytest.mark.parametrize(("points", "message"), [
    ([[0, 0]], "at least two points"),
    ([], "at least two points"),
    ([[0, 0, 0], [1, 1, 1]], r"shape \(2, 3\)"),
    ([[0, 0], [1, np.nan]], r"point 1 \(from 0\).*not finite"),
    ([[0, 0], [1, 1], [0, 16.1]], r"point 2 .*\(0, 16.1\).*outside the 32 m tile"),
    ([[0, 0], [1, 1], [1, 1], [2, 2]], r"point 2 .*repeats"),
    ([["a", 0], [1, 1]], "not a number"),
    ([0, 0, 1], "3 numbers in a row.*two numbers a point"),
    ([0, 0], r"of 1 point.*at least two points"),
    ([[0, 0], [1]], "not a number"),
    (3.0, r"shape \(\)"),
    ([[[0, 0], [1, 1]]], r"shape \(1, 2, 2\)"),
], ids=["one", "none", "columns", "nan", "outside", "repeated", "word", "odd", "flat-one", "ragged", "number",
        "nested"])
def test_bad_points_are_named(points, message):
    with pytest.raises(InputError, match=message):
        make_path(points, FRAME, where="clicks")


def test_a_flat_list_is_read_in_pairs():
    flat, pairs = make_path([0, 0, 3, 4, -5, 6], FRAME), make_path([[0, 0], [3, 4], [-5, 6]], FRAME)
    assert flat.points.tolist() == pairs.points.tolist() and flat.headings.tolist() == pairs.headings.tolist()
    assert smooth_path((0, 0, 3, 4), FRAME, count=2).points == pytest.approx(np.array([[0, 0], [3, 4]]), abs=0.5)
    with pytest.raises(InputError, match="5 numbers in a row"):
        smooth_path([0, 0, 1, 1, 2], FRAME)


def test_the_border_belongs_to_the_tile_and_pixels_outside_do_not():
    assert make_path([[0, 0], [256, 256]], FRAME, unit="pixels").points[1] == pytest.approx([16, -16])
    with pytest.raises(InputError, match=r"point 0 .*\(-1, 3\).*256 x 256 pixels"):
        make_path([[-1, 3], [5, 5]], FRAME, unit="pixels")
    with pytest.raises(InputError, match="unit"):
        make_path([[0, 0], [1, 1]], FRAME, unit="feet")


def test_a_camera_with_headings_may_stand_and_turn():
    path = make_path([[1, 1], [1, 1], [1, 1]], FRAME, np.radians([0, -90, 450]))
    assert np.degrees(path.headings) == pytest.approx([0, 270, 90])
    with pytest.raises(InputError, match="one bearing a point"):
        make_path([[1, 1], [2, 2]], FRAME, [0.0])
    with pytest.raises(InputError, match="point 1"):
        make_path([[1, 1], [2, 2]], FRAME, [0.0, np.inf])


def test_a_spline_without_smoothing_goes_through_the_clicks():
    clicks = np.array([[-10, -10], [-4, 6], [3, -2], [9, 9], [12, 0.0]])
    path = smooth_path(clicks, FRAME, count=401, smoothing=0)
    nearest = np.hypot(*(path.points[None] - clicks[:, None]).transpose(2, 0, 1)).min(axis=1)
    assert len(path) == 401 and nearest.max() < path.length_m / 400  # the spacing of the points
    steps = np.diff(path.points, axis=0)  # headings are the curve's own direction
    middle = np.angle(np.exp(1j * (np.arctan2(*steps.T) - path.headings[:-1])))
    assert np.abs(np.degrees(middle)).max() < 4


def test_smoothing_is_in_squared_pixels_of_256_whatever_the_unit_and_extent():
    clicks = np.array([[60, 60], [90, 66], [120, 58], [150, 67], [180, 60], [210, 64.0]])
    path = smooth_path(clicks, FRAME, unit="pixels", count=2001)
    off = np.hypot(*(path.points[None] - make_path(clicks, FRAME, unit="pixels").points[:, None]).transpose(2, 0, 1))
    # the sum of squared distances from clicks to curve is at most 25 px^2 (a pixel is 0.125 m), and near it
    assert 5 < (off.min(axis=1) ** 2).sum() / 0.125**2 <= 25.01
    wide = smooth_path(clicks / 2, TileFrame(64.0, 8.0), unit="pixels", tile_px=128, count=2001)
    assert wide.points == pytest.approx(2 * path.points, abs=1e-9)
    assert len(smooth_path(clicks, FRAME, unit="pixels")) == 80


def test_two_clicks_give_a_line_and_the_border_holds():
    path = smooth_path([[-8, 0], [8, 8]], FRAME, count=5)
    assert path.points == pytest.approx(np.array([[-8, 0], [-4, 2], [0, 4], [4, 6], [8, 8]]))
    assert path.headings == pytest.approx(np.arctan2(16, 8))
    loop = smooth_path([[0, 0], [16, 16], [16, -16], [0, -1]], FRAME, smoothing=0)
    assert np.abs(loop.points).max() == 16  # the free spline would bulge to the east
    with pytest.raises(InputError, match="point 1 .*repeats"):
        smooth_path([[0, 0], [0, 0], [1, 1]], FRAME)
    with pytest.raises(InputError, match="count is 1"):
        smooth_path([[0, 0], [1, 1]], FRAME, count=1)


def test_equal_steps_keep_both_ends_and_turn_the_short_way():
    path = CameraPath(np.array([[0, 0], [0, 1], [0, 10.0]]), np.radians([350, 10, 10.0]))
    even = with_equal_steps(path, 2.6)  # 10 m in 4 steps of 2.5
    assert even.points == pytest.approx(np.array([[0, 0], [0, 2.5], [0, 5], [0, 7.5], [0, 10]]))
    assert even.headings == pytest.approx(0)  # along the way, which is north
    half_way = with_equal_steps(path, 0.5, look="given")
    assert np.degrees(half_way.headings[:3]) == pytest.approx([350, 0, 10], abs=1e-9)
    assert len(with_equal_steps(path, 2.5)) == 5 and len(with_equal_steps(path, 99)) == 2


def test_the_camera_turns_about_a_corner():
    corner = make_path([[0, 0], [0, 8], [8, 8]], FRAME)
    degrees = np.degrees(with_equal_steps(corner, 1.0, turn_m=4.0).headings)
    # 1 m before the corner: from (0, 5) to (1, 8), so atan(1 / 3) to the right; at it from (0, 6) to (2, 8)
    assert degrees[[0, 5, 6, 7, 8, 9, 10, 16]] == pytest.approx([0, 0, 0, 18.435, 45, 71.565, 90, 90], abs=1e-3)
    back = with_equal_steps(make_path([[0, 0], [0, 8], [0, 0]], FRAME), 4.0)
    assert np.degrees(back.headings) == pytest.approx([0, 0, 180, 180, 180])


@pytest.mark.parametrize("arguments", [{"step_m": 0}, {"step_m": 1.0, "turn_m": 0.0}, {"step_m": 1, "look": "up"}],
                         ids=["step", "turn", "look"])
def test_equal_steps_refuse(arguments):
    with pytest.raises(InputError, match="metres above 0"):
        with_equal_steps(make_path([[0, 0], [0, 8]], FRAME), **arguments)
    with pytest.raises(InputError, match="never leaves"):
        with_equal_steps(CameraPath(np.zeros((2, 2)), np.zeros(2)), 1.0)


def test_rolling_brings_the_heading_to_the_centre():
    columns = np.arange(8.0)[None]  # centre between columns 3 and 4 is north; column 6 | 5 is east
    # a quarter of the circle to the right: what was two columns right of the centre comes to it
    assert roll_panorama(columns, np.pi / 2)[0].tolist() == [2, 3, 4, 5, 6, 7, 0, 1]
    assert roll_panorama(columns, -np.pi / 2)[0].tolist() == [6, 7, 0, 1, 2, 3, 4, 5]
    half = roll_panorama(columns, np.pi / 8)[0]
    assert half[:7] == pytest.approx(np.arange(7) + 0.5)
    depth = np.array([[1.0, np.inf, 3.0, 5.0]])
    assert roll_panorama(depth, 0.75 * np.pi / 2)[0].tolist() == [np.inf, 3.0, 4.5, 2.0]  # 0.25 x 5 + 0.75 x 1 = 2
    assert roll_panorama(depth, 2 * np.pi)[0].tolist() == depth[0].tolist()


def test_csv_round_trip(tmp_path):
    path = with_equal_steps(smooth_path([[-8, 3], [1, 7], [9, -7]], FRAME), 0.7)
    back = read_path_csv(write_path_csv(tmp_path / "way.csv", path), FRAME)
    assert np.array_equal(back.points, path.points)
    assert back.headings == pytest.approx(path.headings, abs=1e-12)


def test_a_list_of_pixels_as_sat2density_keeps_it(tmp_path):
    file = tmp_path / "pixels.csv"
    file.write_text("\ufeff,x,y,angle\n0,128,128,17\n1,208,88,17\n\n")
    path = read_path_csv(file, FRAME)
    assert path.points == pytest.approx(np.array([[0, 0], [10, 5]]))
    assert path.headings == pytest.approx(np.arctan2(10, 5))  # along the way; the angle is not read
    file.write_text("x;y\n4;5\n6;7\n")
    assert read_path_csv(file, FRAME, unit="metres").points == pytest.approx(np.array([[4, 5], [6, 7]]))
    file.write_text("4\t5\n6\t7\n")
    assert read_path_csv(file, FRAME, unit="metres").points == pytest.approx(np.array([[4, 5], [6, 7]]))


@pytest.mark.parametrize(("text", "message"), [
    ("1,2\n3,4\n", "line 1: .*unit is unknown"),
    ("east,north\n3,4\n", "line 1: the columns are east, north"),
    ("x_m,y_m\n1,2\n3,four\n", "line 3: column 2 is 'four'"),
    ("x_m,y_m\n1,2\n3\n", "line 3: column 2 is missing"),
    ("x_m,y_m\n1,2\n\n3,nan\n", "line 4: .*not finite"),
    ("x_m,y_m\n1,2\n3,40\n", "line 3: .*outside"),
    ("x,y\n10,20\n10,20\n", "line 3: .*repeats"),
    ("x_m,y_m\n1,2\n", "at least two points"),
    ("", "empty"),
], ids=["unnamed", "unknown", "word", "short", "nan", "outside", "repeated", "one", "empty"])
def test_bad_csv_names_the_line(tmp_path, text, message):
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"bad.csv.*{message}"):
        read_path_csv(file, FRAME)


def test_geojson_in_tile_metres(tmp_path):
    path = smooth_path([[-8, 3], [1, 7], [9, -7]], FRAME, count=9)
    file = write_path_geojson(tmp_path / "way.geojson", path)
    for georeference in (None, HELSINKI):  # the file says what it holds
        back = read_path_geojson(file, FRAME, georeference)
        assert back.points == pytest.approx(path.points, abs=1e-6)
        assert back.headings == pytest.approx(path.headings, abs=1e-9)
    bare = tmp_path / "bare.geojson"
    bare.write_text('{"type": "LineString", "coordinates": [[0, 0], [3, 3, 7]]}')
    assert np.degrees(read_path_geojson(bare, FRAME).headings) == pytest.approx([45, 45])


def test_geojson_in_longitude_and_latitude(tmp_path):
    path = make_path([[-8, 3], [9, -7]], FRAME)
    file = write_path_geojson(tmp_path / "way.geojson", path, HELSINKI, centre=(120.0, -40.0))
    longitude, latitude = json.loads(file.read_text())["features"][0]["geometry"]["coordinates"][0]
    # an independent transformation of easting 25496000 + 120 - 8 and northing 6672000 - 40 + 3
    x, y = transform("EPSG:3879", "EPSG:4326", [25496112.0], [6671963.0])
    assert (longitude, latitude) == pytest.approx((x[0], y[0]), abs=1e-9) and 24 < longitude < 26 and 60 < latitude < 61
    back = read_path_geojson(file, FRAME, HELSINKI, centre=(120.0, -40.0))
    assert back.points == pytest.approx(path.points, abs=1e-4)
    with pytest.raises(InputError, match=r"way.geojson.*point 0 .*outside"):
        read_path_geojson(file, FRAME, HELSINKI)  # another tile


@pytest.mark.parametrize(("document", "message"), [
    ("[1, 2", "no JSON"),
    ({"type": "FeatureCollection", "features": []}, "0 lines among nothing"),
    ({"type": "Point", "coordinates": [0, 0]}, "0 lines among Point"),
    ({"type": "Feature", "geometry": None}, "0 lines among None"),
    ({"type": "FeatureCollection", "features": [{"geometry": {"type": "LineString"}}] * 2}, "2 lines"),
    ({"type": "LineString", "coordinates": [[0, 0], ["a", 1]]}, "not two numbers"),
    ({"type": "LineString", "coordinates": None}, "not two numbers"),
    ({"type": "LineString", "coordinates": [[0, 0]]}, "at least two points"),
    ({"type": "LineString", "coordinates": [[24.9, 60.1], [24.9, 60.2]]}, "point 0 .*outside"),
    ({"type": "LineString", "coordinates": [[0, 0], [1, 1]],
      "crs": {"properties": {"name": "urn:ogc:def:crs:EPSG::3879"}}}, "EPSG::3879"),
    ({"type": "LineString", "coordinates": [[0, 0], [1, 1]],
      "crs": {"properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}}, "no place on Earth"),
], ids=["cut", "nothing", "point", "null", "two", "word", "no-list", "short", "lonlat", "projected", "crs84"])
def test_bad_geojson_is_refused(tmp_path, document, message):
    file = tmp_path / "bad.geojson"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(InputError, match=rf"bad.geojson.*{message}"):
        read_path_geojson(file, FRAME)


def test_swapped_degrees_are_told(tmp_path):
    file = tmp_path / "swapped.geojson"
    file.write_text('{"type": "LineString", "coordinates": [[60.16, 24.93], [60.17, 24.93]]}')
    with pytest.raises(InputError, match=r"swapped.geojson.*swapped"):
        read_path_geojson(file, FRAME, HELSINKI)
