"""The data set of notebook 02 on disk, judged by other libraries: csv, pyproj, trimesh, PIL, rasterio, sha256sum."""

import csv
import json
import re
import subprocess
from dataclasses import replace

import numpy as np
import pyproj
import pytest
import rasterio
import trimesh
from PIL import Image

from rsnb.city.picking import PickingOptions
from rsnb.city.store import checksums
from rsnb.city.twin import TwinOptions
from rsnb.city.write_street_scene import StreetSceneOptions, ensure_street_scene
from rsnb.errors import InputError

SMALL = StreetSceneOptions(twin=TwinOptions(texel_m=1.0), picking=PickingOptions(wrong_pairs=0), reach_m=45.0,
                           n_left_out=4, panorama_width=128, n_views=2, view_size=320, supersample=1, top_gsd_m=2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return ensure_street_scene(tmp_path_factory.mktemp("city"), SMALL)


def test_four_tiles_with_helsinki_names_that_trimesh_reads(folder):
    names = sorted(p.name for p in (folder / "mesh").glob("*.obj"))
    assert names == [f"Tile_+{i}_+{j}_L1.obj" for i in (1984, 1985) for j in (2690, 2691)]
    tile = trimesh.load(folder / "mesh" / names[0], force="mesh", process=False)
    # Tile +1984 +2690 covers x 6000..6250 and y 4500..4750; what leans over the edge stays with it.
    assert np.abs(tile.bounds[:, :2] - [[6000, 4500], [6250, 4750]]).max() < 25
    materials = (folder / "mesh" / names[0]).with_suffix(".mtl").read_text()
    pages = re.findall(r"map_Kd (\S+)", materials)
    assert pages and all(Image.open(folder / "mesh" / page).size == (2048, 2048) for page in pages)


def test_panos_agree_with_pyproj_and_with_their_pictures(folder):
    rows = list(csv.DictReader((folder / "panos.txt").open()))
    east, north = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3879", always_xy=True).transform(
        [float(r["Lon"]) for r in rows], [float(r["Lat"]) for r in rows])
    assert np.abs(np.array(east) - 25490000 - [float(r["X"]) for r in rows]).max() < 1e-3
    assert np.abs(np.array(north) - 6668000 - [float(r["Y"]) for r in rows]).max() < 1e-3
    assert {r["Pano_ID"] for r in rows} == {p.stem for p in (folder / "panoramas").glob("*.jpg")}
    assert all(Image.open(p).size == (128, 64) for p in (folder / "panoramas").glob("*.jpg"))


def test_left_out_places_lie_between_known_ones_and_are_none_of_them(folder):
    def places(name):
        return np.array([json.loads(p.read_text())["position"] for p in sorted((folder / name).glob("*.json"))])

    gap = np.linalg.norm(places("left_out")[:, None, :2] - places("panoramas")[None, :, :2], axis=2)
    assert len(gap) == 4 and gap.min() > 0.25 * 16
    assert (np.sort(gap, axis=1)[:, :2] < 9.0).all()  # two known ones near each


def test_street_view_names_follow_the_grammar_and_their_poses_are_metres_off(folder):
    true = json.loads((folder / "truth" / "poses.json").read_text())
    assert len(true) == 2
    for name, pose in true.items():
        said = re.fullmatch(r"tile-198[45]-269[01]-coord-(\d+)-(\d+)-fov-90-direction-[\d.]+-pitch--?[\d.]+\.jpg", name)
        assert said, name
        pose = np.array(pose)
        centre = -pose[:3, :3].T @ pose[:3, 3]
        assert 0.05 < np.hypot(float(said[1]) - centre[0], float(said[2]) - centre[1]) < 8
        assert Image.open(folder / "street_views" / name).size == (320, 320)


def test_picks_project_to_where_they_were_clicked(folder):
    true = json.loads((folder / "truth" / "poses.json").read_text())
    for name, pose in true.items():
        picks = json.loads((folder / "picks" / name).with_suffix(".json").read_text())
        world = np.array([pair["world"] for pair in picks["pairs"]])
        clicked = np.array([pair["image"] for pair in picks["pairs"]])
        camera = world @ np.array(pose)[:3, :3].T + np.array(pose)[:3, 3]
        pixel = 160 + 160 * camera[:, :2] / camera[:, 2:]  # fov 90: the focal length is half the width
        assert len(world) == 9 and np.median(np.linalg.norm(pixel - clicked, axis=1)) < 5  # 2 px each way and 0.7 x 2


def test_rasters_lie_in_their_place_and_know_heights(folder):
    with rasterio.open(folder / "truth" / "dsm.tif") as file:
        assert file.crs.to_epsg() == 3879 and file.shape == (250, 250)
        assert tuple(file.bounds) == (25496000, 6672500, 25496500, 6673000)
        heights = file.read(1)
    assert heights.std() > 3 and np.ptp(heights) > 20
    with rasterio.open(folder / "topview.tif") as file:
        colour = file.read()
    assert colour.shape == (3, 250, 250) and colour.std() > 20


def test_every_file_is_in_the_checksums(folder):
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder).returncode == 0
    listed = {line.split("  ", 1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"SHA256SUMS"}
    assert listed == there


def test_the_same_options_give_the_same_bytes(folder, tmp_path):
    assert checksums(ensure_street_scene(tmp_path, SMALL)) == checksums(folder)


@pytest.mark.parametrize(("change", "word"), [({"spacing_m": 1000.0}, "leave"), ({"reach_m": 5.0}, "leave"),
                                              ({"district": (0, 7)}, "district")])
def test_a_scene_that_cannot_be_is_refused_and_leaves_nothing(tmp_path, change, word):
    with pytest.raises(InputError, match=word):
        ensure_street_scene(tmp_path, replace(SMALL, **change))
    assert not [p for p in tmp_path.rglob("*") if p.is_dir() and p.name != "city"]
