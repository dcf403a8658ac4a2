"""The city's CVUSA and CVACT trees, judged by csv, scipy, PIL, pyproj and by geometry done again from scratch."""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import tifffile
from PIL import Image
from scipy.io import loadmat

from rsnb.city import write_pairs as module
from rsnb.city.options import GEOREFERENCE
from rsnb.city.write_pairs import PairsOptions, ensure_pairs, write_pairs
from rsnb.data.crossview import cvact, cvusa
from rsnb.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from crossview_checks import ring_correlation


@pytest.fixture(scope="module")
def built(district, tmp_path_factory):
    """`built("cvusa")` is the folder of that layout: 16 + 8 pairs, 3 more to test where the layout has such a list."""
    folders = {}

    def get(layout):
        if layout not in folders:
            folders[layout] = tmp_path_factory.mktemp(layout)
            write_pairs(folders[layout], PairsOptions(layout=layout, test=0 if layout == "cvusa" else 3), [district()])
        return folders[layout]

    return get


def places(folder):
    return {row["id"]: row for row in json.loads((folder / "truth/pairs.json").read_text())["pairs"]}


def test_cvusa_files_are_those_of_the_published_layout(built):
    folder = built("cvusa")
    lists = {split: list(csv.reader((folder / f"splits/{split}-19zl.csv").open())) for split in ("train", "val")}
    assert [len(rows) for rows in lists.values()] == [16, 8]
    ids = [row[0][11:-4] for rows in lists.values() for row in rows]
    assert sorted(ids) == [f"{i:07d}" for i in range(1, 25)]
    assert all(row == [f"bingmap/19/{i}.jpg", f"streetview/panos/{i}.jpg", f"streetview/annotations/{i}.png"]
               for row, i in zip(lists["train"] + lists["val"], ids, strict=True))
    for i in ids:
        sizes = [Image.open(folder / name).size for name in (
            f"bingmap/19/{i}.jpg", f"streetview/panos/{i}.jpg", f"streetview/annotations/{i}.png", f"sky_mask/{i}.png")]
        assert sizes == [(64, 64), (176, 32), (176, 32), (176, 32)]
    # Line N of all.csv is id N: columns three and four are the camera, as pyproj takes it to the model.
    table = np.loadtxt(folder / "split_locations/all.csv", delimiter=",")
    assert table.shape == (24, 5)
    to_model = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3879", always_xy=True)
    east, north = to_model.transform(table[:, 3], table[:, 2])
    true = np.array([places(folder)[f"{i + 1:07d}"]["position"] for i in range(24)])
    assert np.abs(np.column_stack([east, north]) - GEOREFERENCE.origin[:2] - true[:, :2]).max() < 1e-3


def test_cvact_list_has_the_published_nesting(built):
    folder = built("cvact")
    mat = loadmat(folder / "ACT_data.mat")
    assert mat["panoIds"].shape == (27, 1) and mat["panoIds"][0, 0].shape == (1,)
    ids = [str(c[0]) for c in mat["panoIds"][:, 0]]
    # The ways in which public loaders reach the rows: by name, and as the second field.
    train = mat["trainSet"]["trainInd"][0][0] - 1
    val, everything = mat["valSet"][0][0][1] - 1, mat["valSetAll"]["valInd"][0, 0] - 1
    assert train.shape == (16, 1) and val.shape == (8, 1) and everything.shape == (11, 1)
    assert set(val.ravel()) < set(everything.ravel()) and not set(train.ravel()) & set(everything.ravel())
    for part, rows in (("small", [*train, *val]), ("test", everything)):
        root = folder / f"ANU_data_{part}"
        assert {p.name for p in (root / "streetview").iterdir()} == {f"{ids[int(k[0])]}_grdView.jpg" for k in rows}
        assert {p.name for p in (root / "satview_polish").iterdir()} == {
            f"{ids[int(k[0])]}_satView_polish.jpg" for k in rows}
    # UTM zone 35 of Helsinki; distances between the places hold to the two grids' scales (0.9996 and 1).
    true = np.array([places(folder)[i]["position"][:2] for i in ids])
    to_utm = pyproj.Transformer.from_crs("EPSG:3879", "EPSG:32635", always_xy=True)
    assert np.abs(np.column_stack(to_utm.transform(*(true + GEOREFERENCE.origin[:2]).T)) - mat["utm"]).max() < 1e-3


@pytest.mark.parametrize("layout", ["cvusa", "cvact", "cvact_aligned"])
def test_the_readers_take_them_for_the_real_thing(built, layout):
    folder, kind = built(layout), cvusa if layout == "cvusa" else cvact
    read = cvusa.read_cvusa if layout == "cvusa" else cvact.read_cvact
    index = read(folder, tile_extent_m=64.0)
    assert len(index) == (24 if layout == "cvusa" else 27) and not index.drops
    sizes = {k: len(v) for k, v in index.splits.items()}
    assert sizes == {"train": 16, "val": 8} | ({} if layout == "cvusa" else {"test": 11})
    assert kind.audit(folder).ok, kind.audit(folder).text()
    assert math.degrees(index.vertical_fov) == pytest.approx(180.0 if kind is cvact else 65.4545, abs=1e-3)
    true = np.array([places(folder)[i]["position"][:2] for i in index.ids])
    moved, centred = index.position - index.position.mean(axis=0), true - true.mean(axis=0)
    # Same places but for where north is on the grid (UTM: 1.6 degrees) and its scale.
    assert np.abs(np.linalg.norm(moved, axis=1) / np.linalg.norm(centred, axis=1) - 1).max() < 4e-3
    assert (index.sky_paths is None) == (layout == "cvact")


@pytest.mark.parametrize(("layout", "size"), [("cvusa", (32, 176)), ("cvact_aligned", (64, 128))])
def test_tile_and_panorama_face_the_same_way(built, layout, size):
    read = cvusa.read_cvusa if layout == "cvusa" else cvact.read_cvact
    index = read(built(layout))
    pairs = index.load(tile_size=64, panorama_size=size)
    curves = {name: np.mean([ring_correlation(tile, panorama, index.vertical_fov, 2.5, 64.0, (4, 26))
                             for tile, panorama in zip(tiles, pairs.panoramas, strict=True)], axis=0)
              for name, tiles in (("right", pairs.tiles), ("mirrored", pairs.tiles[..., ::-1]),
                                  ("turned", np.rot90(pairs.tiles, axes=(2, 3))))}
    # Measured: 0.31 and 0.35 at no turn; 0.13 at best when mirrored.
    assert curves["right"].argmax() == 0 and curves["right"][0] > 0.25 > curves["mirrored"].max() + 0.05
    # rot90 turns the tile to the left: what was north is west, so it fits a quarter turn to the right.
    assert abs(curves["turned"].argmax() - size[1] / 4) <= 1


def test_truth_is_the_true_city(built, district):
    folder, city = built("cvusa"), district()
    for pair_id, place in list(places(folder).items())[:6]:
        x, y, z = place["position"]
        heights = tifffile.imread(folder / f"truth/heights/{pair_id}.tif")
        for row, column in ((0, 0), (10, 50), (63, 20)):  # 1 m pixels, row 0 north
            assert heights[row, column] + z - 2.5 == pytest.approx(
                float(city.height(x - 31.5 + column, y + 31.5 - row)), abs=2e-3)
        assert abs(z - 2.5 - float(city.terrain(x, y))) < 1e-9
        depth = tifffile.imread(folder / f"truth/depth/{pair_id}.tif")
        sky = np.asarray(Image.open(folder / f"sky_mask/{pair_id}.png").convert("L")) > 127
        assert np.array_equal(sky[:16], np.isinf(depth[:16])) and not sky[16:].any()
        # The lowest row looks 32.7 - 1.02 degrees down onto a street that is level to a hand's breadth in 4 m.
        down = math.radians((16 - 0.5) * 360 / 176)
        assert np.median(depth[-1]) == pytest.approx(2.5 / math.sin(down), rel=0.06)


def test_a_seam_that_an_upright_ray_slips_through_is_bare_ground(district, tmp_path, monkeypatch):
    take_pair = module.take_pair

    def torn(*args):
        pictures = take_pair(*args)
        pictures.heights[3, 5] = -np.inf
        return pictures

    monkeypatch.setattr(module, "take_pair", torn)
    write_pairs(tmp_path, PairsOptions(layout="cvusa", train=1, val=1, tile_px=16, panorama_size=(4, 16)), [district()])
    for path in (tmp_path / "truth/heights").iterdir():
        heights, ground = tifffile.imread(path), tifffile.imread(tmp_path / "truth/ground" / path.name)
        assert np.isfinite(heights).all() and heights[3, 5] == pytest.approx(ground[3, 5], abs=1e-5)


def test_the_lists_share_no_ground(built):
    rows = list(places(built("cvact")).values())
    span = {split: [r["tile_centre"][0] for r in rows if r["split"] == split] for split in ("train", "val", "test")}
    assert max(span["train"]) + 64.0 <= min(span["val"]) and max(span["val"]) + 64.0 <= min(span["test"])


def test_tiles_may_lie_off_the_camera_and_the_truth_says_so(district, tmp_path):
    options = PairsOptions(train=3, val=3, tile_offset_m=9.0, tile_px=32, supersample=1)
    write_pairs(tmp_path, options, [district()])
    offsets = np.array([row["offset_m"] for row in places(tmp_path).values()])
    assert 0.5 < np.linalg.norm(offsets, axis=1).max() <= 9.0
    for pair_id, place in places(tmp_path).items():
        heights = tifffile.imread(tmp_path / f"truth/heights/{pair_id}.tif")
        ground = tifffile.imread(tmp_path / f"truth/ground/{pair_id}.tif")
        x, y = np.array(place["position"][:2]) - place["offset_m"]  # the tile's centre
        assert heights[0, 0] + place["position"][2] - 2.5 == pytest.approx(float(district().height(x - 31, y + 31)),
                                                                           abs=2e-3)
        assert ground[0, -1] + place["position"][2] - 2.5 == pytest.approx(float(district().terrain(x + 31, y + 31)),
                                                                           abs=2e-3)


def test_equal_options_give_equal_bytes_and_another_seed_others(district, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "each_district", lambda *_: [district()])
    options = PairsOptions(train=2, val=2, tile_px=16, supersample=1, panorama_size=(16, 64))
    a = ensure_pairs(tmp_path / "a", options)
    assert ensure_pairs(tmp_path / "a", options) == a
    b = ensure_pairs(tmp_path / "b", options)
    c = ensure_pairs(tmp_path / "b", PairsOptions(train=2, val=2, tile_px=16, supersample=1, panorama_size=(16, 64),
                                                  seed=6))
    d = ensure_pairs(tmp_path / "b", replace(options, cast_shadows=False))
    assert len({b.name, c.name, d.name}) == 3  # what is chosen names the folder
    assert a.name == b.name and (a / "SHA256SUMS").read_bytes() == (b / "SHA256SUMS").read_bytes()
    assert (c / "SHA256SUMS").read_bytes() != (b / "SHA256SUMS").read_bytes()


@pytest.mark.parametrize(("changed", "what"), [
    ({"layout": "vigor"}, "layout is 'vigor'"), ({"train": 0}, "train is 0"), ({"tile_px": 2.5}, "tile_px is 2.5"),
    ({"tile_extent_m": 900.0}, "tile_extent_m is 900"), ({"test": 4}, "CVUSA has no test list"),
    ({"supersample": 0}, "supersample is 0"), ({"seed": "x"}, "seed is 'x'"), ({"tile_extent_m": True}, "is True"),
    ({"panorama_size": (0, 128)}, "panorama_size is"), ({"panorama_size": (32.0, 176)}, "panorama_size is"),
    ({"panorama_size": (32, 176, 3)}, "panorama_size is"), ({"panorama_size": 5}, "panorama_size is 5"),
    ({"layout": "cvact", "panorama_size": (32, 128)}, "128 x 32 pixels in the layout 'cvact'.*half as many rows"),
    ({"layout": "cvact_aligned", "panorama_size": (64, 64)}, "64 x 64 pixels in the layout 'cvact_aligned'"),
    ({"tile_offset_m": 33.0}, "tile_offset_m is 33 on tiles of 64 m"), ({"cast_shadows": 1}, "cast_shadows is 1"),
])
def test_impossible_options_are_refused_at_once(changed, what):
    with pytest.raises(InputError, match=what):
        PairsOptions(**changed)


@pytest.mark.parametrize(("changed", "what"), [
    ({"panorama_size": (33, 176), "layout": "cvusa"}, "176 x 33 pixels"),
    ({"panorama_size": (90, 176), "layout": "cvusa"}, "176 x 90"),
    ({"district": (9, 9)}, "district"), ({"train": 100_000}, "room for"),
    ({"tile_extent_m": 190.0, "test": 3}, "strips"),
])
def test_what_does_not_fit_is_refused_and_leaves_nothing(district, tmp_path, monkeypatch, changed, what):
    monkeypatch.setattr(module, "each_district", lambda *_: [district()])
    with pytest.raises(InputError, match=what):
        ensure_pairs(tmp_path, PairsOptions(**({"layout": "cvact"} | changed)))
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and not p.name.endswith(".lock")]
