"""Notebook 04 in this process: other skies, ways through a tile, own pictures, and what is scored of pictures.

The cells run as a script would, at `tiny` scale on a few pairs of the default city (built once into the data folder).
"""

from __future__ import annotations

import csv
import json

import av
import numpy as np
import pytest
from density_cells import OWN, PICTURES, QUICK, SKIES, WAY, metrics_of, run_cells
from PIL import Image

import rsnb.products
from rsnb import runs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("city")]
QUICK = QUICK | {"steps": 10, "picture_after": 0, "rate": 0.02}  # so that skies show


def left_by(out_dir, changes, until="block = ", after=PICTURES) -> dict:
    """The files, and what is reported."""
    left = run_cells(out_dir, QUICK | changes, until=until, after=after)
    runs.current().finish()
    return left | {"metrics.json": metrics_of(out_dir)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return left_by(tmp_path_factory.mktemp("plain"), {})


def changed_files(one: dict, other: dict) -> set[str]:
    return {name.split("/")[0] for name in {*one, *other} if one.get(name) != other.get(name)} - {"metrics.json"}


@pytest.mark.parametrize("style", ["none", "dusk"])
def test_the_style_changes_pictures_and_nothing_else(style, plain, tmp_path):
    changed = left_by(tmp_path, {"style": style}, until=SKIES)
    other = {name for name in changed if plain[name] != changed[name]} - {"metrics.json", "images.csv"}
    assert {name.split("/")[0] for name in other} == {"panoramas", "panoramas.png"}
    assert {name.rsplit("_", 1)[-1] for name in other if "/" in name} == {"ours.png"}  # no depth, no opacity
    names = {name for name, value in changed["metrics.json"].items() if plain["metrics.json"][name] != value}
    assert names and all(name.startswith("picture_") for name in names)


def test_networks_of_the_perceptual_distance(plain, tmp_path):
    alex, both = (left_by(tmp_path / name, {"lpips": name}, until=SKIES)["metrics.json"] for name in ("alex", "both"))
    before, unasked = plain["metrics.json"], {"not measured": "not asked for"}
    assert 0 < alex["picture_p_alex"] == both["picture_p_alex"] < 1 and before["picture_p_alex"] == unasked
    assert alex["picture_p_squeeze"] == unasked != both["picture_p_squeeze"]  # or why it could not be measured
    pixels = ("picture_psnr", "picture_ssim", "picture_rmse")
    assert [alex[name] for name in pixels] == [before[name] for name in pixels]


def test_skies_decide_matrix_and_film(plain, tmp_path):
    changed = left_by(tmp_path / "a", {"skies": "clear,overcast,clouds"}, until=WAY)
    assert changed["skies.png"] != plain["skies.png"] and changed["panoramas.png"] == plain["panoramas.png"]
    assert not {"skies.png", "skies.mp4"} & {*left_by(tmp_path / "b", {"skies": ""}, until=WAY)}


def test_the_way_between_two_skies(tmp_path, monkeypatch):
    films, write = {}, rsnb.products.write_video

    def record(path, film, fps):
        films[path.parent.name] = np.stack(film), fps
        return write(path, film, fps)

    monkeypatch.setattr(rsnb.products, "write_video", record)
    for blend in ("slerp", "linear"):
        run_cells(tmp_path / blend, QUICK | {"blend": blend, "fps": 9.0}, until=WAY, after=PICTURES)
    (slerped, fps), (straight, _) = films["slerp"], films["linear"]
    assert fps == 9.0 and len(slerped) == 3
    ends, middle = np.abs(slerped - straight)[[0, -1]].max(), np.abs(slerped - straight)[1].max()
    assert ends < 1e-5 and middle > 20 * ends


def way_of(folder) -> np.ndarray:
    with (folder / "way.csv").open() as file:
        return np.array([[float(row[name]) for name in ("x_m", "y_m")] for row in csv.DictReader(file)])


def test_a_way_that_is_listed_or_read(plain, tmp_path):
    listed = left_by(tmp_path / "a", {"route": [-8.0, -4.0, 0.0, 0.0, 10.0, 2.0], "frames": 5})
    points = way_of(tmp_path / "a")
    assert np.allclose(points[[0, -1]], [[-8, -4], [10, 2]], atol=1e-3) and len(points) == 5
    assert listed["way.mp4"].startswith("5 frames") and plain["way.mp4"].startswith("3 frames")
    changed = changed_files(plain, listed)
    assert {"way.csv", "way.geojson", "way"} <= changed <= {"way.csv", "way.geojson", "way", "way.mp4", "skies.mp4"}
    straight = np.array([[-8.0, -4.0], [4.0, 2.0]])
    (tmp_path / "way.geojson").write_text(json.dumps({"type": "LineString", "coordinates": straight.tolist()}))
    (tmp_path / "way.csv").write_text("x_m,y_m\n-8,-4\n4,2\n")
    for suffix in ("csv", "geojson"):
        left_by(tmp_path / suffix, {"route_path": str(tmp_path / f"way.{suffix}")}, until="walk = [")
        assert np.allclose(way_of(tmp_path / suffix), [[-8, -4], [-2, -1], [4, 2]], atol=1e-3)


def test_heading_and_pace_of_the_film(plain, tmp_path):
    north = left_by(tmp_path, {"heading_up": False, "fps": 5.0})
    assert north["way.csv"] == plain["way.csv"] and north["way/panorama_0001.png"] != plain["way/panorama_0001.png"]
    with av.open(tmp_path / "way.mp4") as film:
        assert float(film.streams.video[0].average_rate) == 5.0


@pytest.fixture(scope="module")
def own_pictures(tmp_path_factory):
    """A tile with a red half, and two panoramas under skies of other colours."""
    folder, rows = tmp_path_factory.mktemp("own"), np.arange(64)[:, None, None]
    tile = np.full((96, 96, 3), 120, np.uint8)
    tile[:48] = 200, 40, 40
    Image.fromarray(tile).save(folder / "tile.png")
    for name, sky in {"blue": (110, 160, 230), "grey": (205, 205, 205)}.items():
        picture = np.where(rows < 32, sky, (90, 85, 80)) + np.zeros((1, 128, 1), int)
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{name}.png")
    return folder


def test_own_tile_and_own_panorama(own_pictures, tmp_path):
    seen = {}
    for name, change in {"tile": {"own_tile_path": "tile.png"}, "blue": {"own_panorama_path": "blue.png"},
                         "grey": {"own_panorama_path": "grey.png"}}.items():
        paths = {key: str(own_pictures / value) for key, value in change.items()}
        seen[name] = run_cells(tmp_path / name, QUICK | paths, until="pair = ", after=OWN)
        assert {"own.png", "own/own_picture.png", "own/own_depth.png"} <= {*seen[name]}
    assert seen["blue"]["own/own_depth.png"] == seen["grey"]["own/own_depth.png"] != seen["tile"]["own/own_depth.png"]
    assert seen["blue"]["own/own_picture.png"] != seen["grey"]["own/own_picture.png"]
    assert not [name for name in run_cells(tmp_path / "none", QUICK, until="pair = ", after=OWN)
                if name.startswith("own")]


def test_two_folders_are_scored(own_pictures, tmp_path):
    rows = {}
    for name in ("same", "other"):
        for folder, picture in (("made", "blue"), ("true", "blue" if name == "same" else "grey")):
            (tmp_path / name / folder).mkdir(parents=True)
            (tmp_path / name / folder / "a.png").write_bytes((own_pictures / f"{picture}.png").read_bytes())
        paths = {key: str(tmp_path / name / folder) for key, folder in
                 {"pictures_path": "made", "pictures_truth_path": "true"}.items()}
        left = run_cells(tmp_path / "out" / name, QUICK | paths, until="save_model(", after=OWN)
        assert not [file for file in left if file.startswith("test_views")]
        with (tmp_path / "out" / name / "pictures.csv").open() as file:
            rows[name] = [row for row in csv.DictReader(file) if "a" in row.values()]
    [same], [other] = rows["same"], rows["other"]
    assert float(same["rmse"]) == 0 < float(other["rmse"])


def test_the_plain_run_scores_its_own_pictures(tmp_path):
    run_cells(tmp_path, QUICK, until="save_model(", after=OWN)
    with (tmp_path / "pictures.csv").open() as file:
        assert len([row for row in csv.reader(file)]) > 3
    assert len(list((tmp_path / "test_views").iterdir())) == len(list((tmp_path / "true_views").iterdir())) == 3
