"""Street-view names with their negative numbers, sidecars, and pictures as cameras."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rsnb.data import (
    HELSINKI,
    StreetView,
    StreetViewOptions,
    format_street_view_name,
    parse_street_view_name,
    read_street_views,
    write_sidecar,
)
from rsnb.errors import InputError
from rsnb.scenes import Georeference

UPSTREAM = "tile-1984-2690-coord-6034-4562-fov-115-direction--1.8-pitch--8.jpg"


def test_upstream_name():
    assert parse_street_view_name(UPSTREAM) == StreetView((1984, 2690), 6034, 4562, 115, -1.8, -8)
    assert format_street_view_name(parse_street_view_name(UPSTREAM)) == UPSTREAM
    assert parse_street_view_name(UPSTREAM.removesuffix(".jpg")).pitch_deg == -8


def test_upstream_pattern(real):
    """The name made by upstream's own pattern from its own request."""
    pose = json.loads(real("nb2_city_mesh/upstream_reference/pose.json").read_text())
    request = pose["street_view_request"]
    x, y = (round(v) for v in pose["local_position_m"][:2])
    name = pose["file_name_pattern"].format(t1=1984, t2=2690, x=x, y=y, fov=request["fov"],
                                            direction=request["heading"], pitch=request["pitch"])
    assert parse_street_view_name(name) == StreetView((1984, 2690), x, y, 115, -1.8, -8)


metres = st.integers(-99999, 99999)
degrees = st.integers(-360_000_000, 360_000_000).map(lambda n: n / 1e6)


@given(st.integers(-999, 9999), st.integers(-999, 9999), metres, metres, st.integers(1, 359_999_999), degrees, degrees,
       st.sampled_from([".jpg", ".png", ".JPG"]))
def test_names_round_trip(i, j, x, y, fov, heading, pitch, suffix):
    view = StreetView((i, j), x, y, fov / 1e6, heading, pitch)
    assert parse_street_view_name(format_street_view_name(view, suffix)) == view


@pytest.mark.parametrize("name", [
    "image1.jpg", UPSTREAM.replace("--1.8", "-"), UPSTREAM.replace("fov-115-", ""), UPSTREAM + ".txt",
    UPSTREAM.replace("--8", "---8"), "x" + UPSTREAM,
])
def test_other_names(name):
    with pytest.raises(InputError, match="no street view"):
        parse_street_view_name(name)


def picture(folder, name, size=(40, 20), value=51):
    Image.new("RGB", size, (value, 0, 255)).save(folder / name)
    return folder / name


def axes(pose):
    """Right, down, forward of a world_to_cam in the world, and the camera centre."""
    return (*pose[:3, :3], -pose[:3, :3].T @ pose[:3, 3])


def test_picture_becomes_a_camera(tmp_path):
    picture(tmp_path, "tile-1984-2690-coord-6034-4562-fov-90-direction-90-pitch-0.png")
    views = read_street_views(tmp_path, HELSINKI, StreetViewOptions(height_m=2.5, ground=lambda x, y: x / 1000))
    assert views.camera == "pinhole" and views.georeference == HELSINKI
    assert views.images.shape == (1, 3, 20, 40) and views.images[0, :, 0, 0] == pytest.approx([0.2, 0, 1])
    # fov 90 is the horizontal one: focal length = 40 / 2 / tan 45
    assert views.K[0].tolist() == [[pytest.approx(20), 0, 20], [0, pytest.approx(20), 10], [0, 0, 1]]
    right, down, forward, centre = axes(views.world_to_cam[0])
    assert np.allclose(centre, [6034, 4562, 8.534])
    assert np.allclose(forward, [1, 0, 0]) and np.allclose(right, [0, -1, 0]) and np.allclose(down, [0, 0, -1])


def test_sidecar_wins(tmp_path):
    view = StreetView((1984, 2690), 6034.444325201213, 4562.423854339868, 115.0, -1.8, -8.0, 11.25, 0.5)
    file = picture(tmp_path, format_street_view_name(view, ".png"))
    write_sidecar(file, view)
    *_, forward, centre = axes(read_street_views(tmp_path).world_to_cam[0])
    assert centre == pytest.approx([6034.444325201213, 4562.423854339868, 11.25], abs=1e-9)
    # forward = (sin h cos p, cos h cos p, sin p)
    h, p = math.radians(-1.8), math.radians(-8)
    assert np.allclose(forward, [math.sin(h) * math.cos(p), math.cos(h) * math.cos(p), math.sin(p)])


def test_sidecar_of_any_name_with_latitude_and_own_K(tmp_path):
    file = picture(tmp_path, "photo.png")
    K = [[30.0, 0, 19], [0, 31, 11], [0, 0, 1]]
    file.with_suffix(".json").write_text(json.dumps(
        {"lat": 60.1644797333783, "lon": 24.92898345052589, "z": 3, "heading_deg": 0, "pitch_deg": 0, "K": K}))
    views = read_street_views(tmp_path, HELSINKI)
    assert axes(views.world_to_cam[0])[3] == pytest.approx([6056.963851, 4400.232103, 3], abs=1e-3)
    assert views.K[0].tolist() == K
    # ITRF of 2021.5 lies 0.77 m from ETRS89 in Helsinki, towards azimuth -125 degrees going from ETRS89
    moved = axes(read_street_views(tmp_path, HELSINKI, StreetViewOptions(epoch=2021.5)).world_to_cam[0])[3]
    assert np.hypot(*(moved - [6056.963851, 4400.232103, 3])[:2]) == pytest.approx(0.77, abs=0.02)


def test_true_north_is_turned_to_grid_north(tmp_path):
    """In EPSG:3067 grid north in Helsinki stands 1.797 degrees west of true north."""
    picture(tmp_path, "tile-0-0-coord-0-0-fov-90-direction-0-pitch-0.png")
    place = Georeference("EPSG:3067", (385_079.0, 6_671_403.0, 0.0))  # 60.1645 N, 24.929 E
    grid = axes(read_street_views(tmp_path, place).world_to_cam[0])[2]
    true = axes(read_street_views(tmp_path, place, StreetViewOptions(true_north=True)).world_to_cam[0])[2]
    assert np.allclose(grid, [0, 1, 0])
    assert math.degrees(math.atan2(true[0], true[1])) == pytest.approx(1.797, abs=0.005)
    with pytest.raises(InputError, match="need a georeference"):
        read_street_views(tmp_path, None, StreetViewOptions(true_north=True))


def test_panoramas_and_mixed_folders(tmp_path):
    file = picture(tmp_path, "tile-1-2-coord-3-4-fov-360-direction-45-pitch-0.png")
    views = read_street_views(tmp_path)
    assert views.camera == "panorama" and views.K is None
    pinhole = picture(tmp_path, "tile-1-2-coord-3-4-fov-60-direction-45-pitch-0.png")
    with pytest.raises(InputError, match="holds pinhole pictures and panoramas"):
        read_street_views(tmp_path)
    assert read_street_views(tmp_path, options=StreetViewOptions(camera="pinhole")).names == (pinhole.name,)
    assert read_street_views(tmp_path, options=StreetViewOptions(camera="panorama")).names == (file.name,)
    write_sidecar(pinhole, StreetView((1, 2), 3, 4, 60, 45, 0, 2.0, camera="panorama"))
    assert len(read_street_views(tmp_path)) == 2


def test_other_pictures_are_passed_over_aloud(tmp_path):
    picture(tmp_path, UPSTREAM.replace("jpg", "png"))
    picture(tmp_path, "holiday.png")
    with pytest.warns(UserWarning, match=r"1 pictures have neither.*holiday\.png"):
        assert len(read_street_views(tmp_path)) == 1


@pytest.mark.parametrize("fov", ["0", "-5", "180", "200"])
def test_impossible_fov(tmp_path, fov):
    file = picture(tmp_path, UPSTREAM.replace("fov-115", f"fov-{fov}").replace("jpg", "png"))
    with pytest.raises(InputError, match="more than 0 and less than 180") as caught:
        read_street_views(tmp_path)
    assert str(file) in str(caught.value)


def test_bad_folders(tmp_path):
    with pytest.raises(InputError, match="no street view here"):
        read_street_views(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_street_views(tmp_path / "none")
    file = picture(tmp_path, UPSTREAM.replace("jpg", "png"))
    picture(tmp_path, UPSTREAM.replace("jpg", "png").replace("6034", "7000"), size=(41, 20))
    with pytest.raises(InputError, match="has 41 x 20 pixels.*has 40 x 20"):
        read_street_views(tmp_path)
    file.write_text("no picture")
    with pytest.raises(InputError, match="no picture that can be read"):
        read_street_views(tmp_path)
    file.with_suffix(".json").write_text('{"position": [1, 2')
    with pytest.raises(InputError, match=r"\.json, line 1: this is no JSON"):
        read_street_views(tmp_path)
    file.with_suffix(".json").write_text('{"position": [1, "two", 3]}')
    with pytest.raises(InputError, match="sidecar cannot be understood"):
        read_street_views(tmp_path)


@pytest.mark.parametrize(("change", "word"), [
    ({"camera": "fisheye"}, "camera is 'fisheye'"),
    ({"tile": ["a"]}, r"tile is \['a'\]"),
    ({"K": [[float("nan")] * 3] * 3}, "'K' is no 3 x 3"),
    ({"K": [[1, 2], [3, 4]]}, "'K' is no 3 x 3"),
    ({"heading_deg": 10**400}, "OverflowError"),
    ({"position": [1, 2, float("inf")]}, "not finite"),
])
def test_bad_sidecars(tmp_path, change, word):
    file = picture(tmp_path, "photo.png")
    file.with_suffix(".json").write_text(json.dumps({"position": [1, 2, 3], "heading_deg": 0, "pitch_deg": 0} | change))
    with pytest.raises(InputError, match=word) as caught:
        read_street_views(tmp_path)
    assert "photo." in str(caught.value)


def test_ground_that_is_not_there(tmp_path):
    picture(tmp_path, UPSTREAM.replace("jpg", "png"))
    with pytest.raises(InputError, match="no ground at x 6034"):
        read_street_views(tmp_path, options=StreetViewOptions(ground=lambda x, y: float("nan")))
