"""Picked points: files typed by hand, round trips, and every way a pair can be wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rsnb.data import Picks, find_picks, read_picks, write_picks
from rsnb.errors import InputError

GOLDEN = {
    "schema": "rsnb.picks", "version": 1,
    "image": {"name": "view.jpg", "width": 640, "height": 480},
    "camera": {"K": [[500, 0, 320], [0, 510, 240], [0, 0, 1]], "fov_deg": 65.2},
    "prior": {"world_to_cam": [[1, 0, 0, 1], [0, 0, -1, 2], [0, 1, 0, 3], [0, 0, 0, 1]]},
    "pairs": [
        {"id": "corner", "image": [100.5, 200.25], "world": [6034.444, 4562.423, 11], "render": [101, 202],
         "depth_m": 35.5},
        {"image": [1, 2], "world": [3, 4, 5]},
        {"image": [6, 7], "world": [8, 9, 10], "render": None},
        {"image": [11, 12], "world": [13, 14, 15]},
    ],
    "annotator": "user1", "time": "2026-11-20T08:00:00Z",
}
ROWS = ["corner,100.5,200.25,6034.444,4562.423,11", "b,1,2,3,4,5", "c,6,7,8,9,10", "d,11,12,13,14,15"]


def test_golden_json(tmp_path):
    path = tmp_path / "picks.json"
    path.write_text(json.dumps(GOLDEN))
    picks = read_picks(path)
    assert len(picks) == 4 and picks.ids == ("corner", "2", "3", "4")
    assert picks.pixels[0].tolist() == [100.5, 200.25] and picks.world[0].tolist() == [6034.444, 4562.423, 11]
    assert picks.render_pixels[0].tolist() == [101, 202] and np.isnan(picks.render_pixels[1:]).all()
    assert picks.depth[0] == 35.5 and np.isnan(picks.depth[1:]).all()
    assert picks.K[1, 1] == 510 and picks.fov_deg == 65.2 and picks.prior[1, 2] == -1
    assert (picks.image, picks.width, picks.height) == ("view.jpg", 640, 480)
    assert (picks.annotator, picks.time) == ("user1", "2026-11-20T08:00:00Z")


@pytest.mark.parametrize("header", ["id,u,v,x,y,z", "ID, U, V, X, Y, Z", None])
def test_golden_csv(tmp_path, header):
    path = tmp_path / "picks.csv"
    path.write_text("\n".join(["# clicked by hand", *([header] if header else []), *ROWS, ""]))
    picks = read_picks(path)
    assert picks.ids == ("corner", "b", "c", "d")
    assert picks.pixels[0].tolist() == [100.5, 200.25] and picks.world[3].tolist() == [13, 14, 15]


def test_csv_with_other_columns_and_without_ids(tmp_path):
    path = tmp_path / "picks.csv"
    path.write_text("x,y,z,u,v,remark\n" + "\n".join(f"{i},2,3,{i},5,hm" for i in range(4)))
    picks = read_picks(path)
    assert picks.world[3].tolist() == [3, 2, 3] and picks.pixels[3].tolist() == [3, 5] and picks.ids[3] == "4"
    path.write_text("\n".join(f"{i},2,3,4,5" for i in range(4)))
    assert read_picks(path).world[1].tolist() == [3, 4, 5]


@pytest.mark.parametrize("name", ["a.json", "a.csv"])
def test_round_trip_to_the_last_bit(tmp_path, name):
    rng = np.random.default_rng(3)
    picks = Picks(rng.normal(size=(9, 2)) * 640, rng.normal(size=(9, 3)) * 1e4, image="v.png", width=640, height=480,
                  K=np.array([[1 / 3, 0, 0.1], [0, 2 / 3, 0.7], [0, 0, 1]]), fov_deg=90.0,
                  prior=rng.normal(size=(4, 4)), render_pixels=rng.normal(size=(9, 2)), depth=rng.random(9),
                  annotator="a", time="t")
    again = read_picks(write_picks(tmp_path / name, picks))
    assert np.array_equal(again.pixels, picks.pixels) and np.array_equal(again.world, picks.world)
    assert again.ids == picks.ids
    if name == "a.json":
        for key in ("K", "prior", "render_pixels", "depth"):
            assert np.array_equal(getattr(again, key), getattr(picks, key)), key
        assert (again.image, again.width, again.fov_deg, again.annotator) == ("v.png", 640, 90.0, "a")


def changed(**at):
    """The golden document with the values at some places ("pairs__2__world") changed, or gone (KeyError)."""
    document = json.loads(json.dumps(GOLDEN))
    for key, value in at.items():
        target, _, last = key.rpartition("__")
        node = document
        for part in filter(None, target.split("__")):
            node = node[int(part) if part.isdigit() else part]
        if value is KeyError:
            del node[int(last) if last.isdigit() else last]
        else:
            node[int(last) if last.isdigit() else last] = value
    return document


@pytest.mark.parametrize(("change", "word"), [
    ({"pairs__3": KeyError}, "3 pairs, but a pose needs at least 4"),
    ({"pairs": []}, "0 pairs"),
    ({"pairs": None}, "no list"),
    ({"pairs__2__world": [1, 2]}, "pair 3: 'world' is [1, 2]"),
    ({"pairs__1__world__2": None}, "pair 2: 'world'"),
    ({"pairs__1__image__0": float("nan")}, "pair 2: 'image'"),
    ({"pairs__1__world__0": float("inf")}, "pair 2: 'world'"),
    ({"pairs__0__image": KeyError}, "pair 1: 'image' is None"),
    ({"pairs__0__depth_m": "far"}, "pair 1: 'depth_m' is 'far', not 1 finite"),
    ({"pairs__0": 5}, "'pair 1' is 5, not an object"),
    ({"version": 2}, "version 2 is not 'rsnb.picks' version 1"),
    ({"schema": KeyError}, "schema None"),
    ({"camera__K": [[1, 2], [3, 4]]}, "'K' is no 3 x 3"),
    ({"camera__K": [[0, 0, 0]] * 3}, "'K' is no 3 x 3"),
    ({"camera__K": [[500, 0, 320], [0, float("nan"), 240], [0, 0, 1]]}, "'K' is no 3 x 3"),
    ({"camera__K": [[500, 0, 320], [0, 510, 240], [0, 0, 10**400]]}, "'K' is no 3 x 3"),
    ({"camera": "phone"}, "'camera' is 'phone', not an object"),
    ({"image": ["view.jpg"]}, "'image' is ['view.jpg'], not an object"),
    ({"prior": 5}, "'prior' is 5, not an object"),
    ({"image__width": "a"}, "width and height are 'a' and 480"),
    ({"image__height": 0}, "width and height are 640 and 0"),
    ({"pairs__0__world__0": 10**400}, "pair 1: 'world'"),
    ({"prior__world_to_cam": [1]}, "'prior' is no 4 x 4"),
    ({"camera__fov_deg": 180}, "fov_deg is 180"),
])
def test_bad_json(tmp_path, change, word):
    path = tmp_path / "picks.json"
    path.write_text(json.dumps(changed(**change)))
    with pytest.raises(InputError) as caught:
        read_picks(path)
    assert word in str(caught.value) and str(path) in str(caught.value) and caught.value.mend


@pytest.mark.parametrize(("rows", "line", "word"), [
    (ROWS[:3], None, "3 pairs, but a pose needs at least 4"),
    ([*ROWS, "e,1,2,3,4"], 6, "5 columns, expected 6"),
    ([*ROWS, "e,1,2,3,4,x"], 6, "no number"),
    ([*ROWS, "e,1,2,3,4,nan"], 6, "not finite"),
    ([], None, "0 pairs"),
])
def test_bad_csv(tmp_path, rows, line, word):
    path = tmp_path / "picks.csv"
    path.write_text("\n".join(["id,u,v,x,y,z", *rows]))
    with pytest.raises(InputError) as caught:
        read_picks(path)
    assert word in caught.value.what and caught.value.line == line and str(path) in str(caught.value)


def test_files_that_are_none(tmp_path):
    path = tmp_path / "picks.json"
    with pytest.raises(InputError, match="no such picks file"):
        read_picks(path)
    path.write_text('{"schema": ')
    with pytest.raises(InputError, match=r"picks\.json, line 1: this is no JSON"):
        read_picks(path)
    path.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(InputError, match="no text file"):
        read_picks(path)
    path.write_text("")
    with pytest.raises(InputError, match="0 pairs"):
        read_picks(path)


def test_files_that_csv_and_json_cannot_take(tmp_path):
    path = tmp_path / "picks.csv"
    path.write_text("id,u,v,x,y,z\n" + "a" * 140_000 + ",1,2,3,4,5\n")
    with pytest.raises(InputError, match=r"picks\.csv, line 2: this is no CSV"):
        read_picks(path)
    path.write_text('{"a":' * 200_000)
    with pytest.raises(InputError, match=r"picks\.csv: this JSON cannot be read"):
        read_picks(path)


def test_camera_matrix_of_the_field_of_view():
    points = {"pixels": np.ones((4, 2)), "world": np.ones((4, 3))}
    # 640 / 2 / tan(60 degrees / 2) = 320 sqrt 3
    K = Picks(**points, fov_deg=60.0, width=640, height=400).camera_matrix
    assert np.allclose(K, [[320 * 3**0.5, 0, 320], [0, 320 * 3**0.5, 200], [0, 0, 1]], rtol=1e-12)
    given = np.diag([5.0, 6.0, 1.0])
    assert Picks(**points, K=given, fov_deg=60.0, width=640, height=400).camera_matrix is given
    for known in ({}, {"fov_deg": 60.0}, {"fov_deg": 60.0, "width": 640}, {"width": 640, "height": 400}):
        assert Picks(**points, **known).camera_matrix is None


def test_picks_of_a_picture_are_found(tmp_path):
    name = "tile-1-2-coord-6034.4-4562.4-fov-115.0-direction--1.8-pitch--8.0.jpg"
    assert find_picks(tmp_path, name) is None and find_picks(tmp_path / "none", name) is None
    table = tmp_path / name.replace(".jpg", ".csv")
    table.write_text("")
    assert find_picks(tmp_path, name) == table
    table.with_suffix(".json").write_text("")
    assert find_picks(str(tmp_path), name) == table.with_suffix(".json")


def test_a_pick_on_the_sky_cannot_be_kept():
    world = np.ones((4, 3))
    world[2, 1] = np.inf
    with pytest.raises(InputError, match="pair 3 holds a value that is not a finite number"):
        Picks(np.ones((4, 2)), world)
