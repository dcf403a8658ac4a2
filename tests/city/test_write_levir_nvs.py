"""The city as LEVIR-NVS, read with PIL, tifffile and numpy alone, and compared with the city's own heights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from rsnb.city.posed_scene import close_cracks, district_order
from rsnb.city.write_levir_nvs import LevirOptions, ensure_levir_nvs
from rsnb.data.audit import audit_dataset
from rsnb.data.multiview.levir_nvs import read_levir_nvs
from rsnb.errors import InputError

SMALL = LevirOptions(scenes=1, size=96, supersample=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory, district):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rsnb.city.posed_scene.shared_district", lambda city, index, belt: district(index))
        folder = ensure_levir_nvs(tmp_path_factory.mktemp("levir"), SMALL)
        assert ensure_levir_nvs(folder.parents[1], SMALL) == folder
    return folder


def camera(path):
    """E, K (pixel centres at integers), near, far as ImMPI's own loader takes them: by line number, split at commas."""
    lines = [line.rstrip() for line in path.read_text().split("\n")]
    numbers = [[float(cell) for cell in line.split(",")] for line in (*lines[1:5], *lines[7:10], lines[11])]
    return np.array(numbers[:4]), np.array(numbers[4:7]), *numbers[7]


def view(scene, i):
    rgb = np.asarray(Image.open(scene / "Images" / f"{i:03d}.png"), float)
    depth = tifffile.imread(scene / "Depths" / f"{i:03d}.tiff").astype(float)
    return rgb, depth, *camera(scene / "Cams" / f"{i:03d}.txt")


def world_points(depth, E, K):
    """[H, W, 3] in scene units, of every pixel of a depth picture."""
    column, row = np.meshgrid(np.arange(depth.shape[1]), np.arange(depth.shape[0]))
    rays = np.stack([column, row, np.ones(depth.shape)], axis=-1) @ np.linalg.inv(K).T
    return (rays * depth[..., None] - E[:3, 3]) @ E[:3, :3]


def test_tree_and_kinds_of_files(root):
    scene = root / "scene_000"
    names = [f"{i:03d}" for i in range(21)]
    for part, suffix in (("Images", "png"), ("Cams", "txt"), ("Depths", "tiff")):
        assert sorted(p.name for p in (scene / part).iterdir()) == [f"{name}.{suffix}" for name in names]
    assert sorted(p.name for p in (scene / "Track").iterdir()) == [f"{i:03d}.txt" for i in range(1, 101)]
    picture = Image.open(scene / "Images" / "000.png")
    assert (picture.size, picture.mode) == ((96, 96), "RGB")
    assert tifffile.imread(scene / "Depths" / "000.tiff").dtype == np.float32
    assert (root / "view_split.txt").read_text() == (
        "10\n001 003 005 007 009 011 013 015 017 019\n10\n002 004 006 008 010 012 014 016 018 020\n")
    assert [line == "" for line in (scene / "Cams" / "000.txt").read_text().split("\n")] == [
        n in (5, 10, 12) for n in range(13)]


def test_depths_are_the_citys_heights(root, district):
    """Each pixel's point, by hand-written maths, lies on the city: nowhere above its top surface, and on it to 1 cm
    wherever the picture shows what can be seen from above."""
    city, scene = district(), root / "scene_000"
    truth = json.loads((root / "truth" / "scene_000.json").read_text())
    assert truth["district"] == [0, 0] and truth["unit_m"] == 4.0
    for i in (0, 4, 13):
        _, depth, E, K, near, far = view(scene, i)
        assert near <= depth.min() and depth.max() <= far and 50 < near < far < 135
        points = truth["origin_model_m"] + truth["unit_m"] * world_points(depth, E, K)
        above = points[..., 2] - city.height(points[..., 0], points[..., 1])
        on_top = np.abs(above) < 0.3
        assert on_top.mean() > 0.6 and np.quantile(np.abs(above[on_top]), 0.99) < 0.01
        # a point on a wall has the roof above it on one side: 5 cm to that side nothing may be lower
        beside = [points[..., 2] - city.height(points[..., 0] + dx, points[..., 1] + dy)
                  for dx, dy in ((0, 0), (0.05, 0), (-0.05, 0), (0, 0.05), (0, -0.05))]
        assert np.mean(np.nanmin(beside, axis=0) < 0.01) > 0.999


def test_views_show_the_same_colours_at_the_same_place(root):
    """View 000 seen through the depth of 007 and 016; with the picture mirrored it is another place."""
    scene = root / "scene_000"
    rgb0, depth0, E0, K0, *_ = view(scene, 0)
    for i in (7, 16):
        rgb, depth, E, K, *_ = view(scene, i)
        points = world_points(depth0, E0, K0)
        seen = points @ E[:3, :3].T + E[:3, 3]
        pixel = np.rint(seen[..., :2] / seen[..., 2:] @ K[:2, :2].T + K[:2, 2]).astype(int)
        inside = ((pixel >= 0) & (pixel < 96)).all(axis=-1)
        column, row = np.where(inside[..., None], pixel, 0)[..., 0], np.where(inside[..., None], pixel, 0)[..., 1]
        visible = inside & (np.abs(depth[row, column] - seen[..., 2]) < 0.4)
        assert visible.mean() > 0.6
        apart = np.abs(rgb[row, column] - rgb0)[visible].mean()
        mirrored = np.abs(rgb[row, 95 - column] - rgb0)[visible].mean()
        assert apart < 20 and mirrored > 1.8 * apart  # of 255; nearest pixels, 2 m apart


def test_all_cameras_look_at_the_origin_from_a_circle(root):
    scene = root / "scene_000"
    E = np.array([camera(scene / "Cams" / f"{i:03d}.txt")[0] for i in range(21)])
    centre = -np.einsum("nji,nj->ni", E[:, :3, :3], E[:, :3, 3])
    assert np.linalg.norm(centre, axis=1) == pytest.approx(np.full(21, 370 / 4), abs=1e-9)
    assert np.abs(E[:, :2, 3]).max() < 1e-9  # the origin is on every axis
    angle = np.degrees(np.arccos(centre[1:] @ centre[0] / (370 / 4) ** 2))
    assert angle == pytest.approx(np.full(20, 9.0), abs=1e-6)
    step = np.linalg.norm(centre[1:] - np.roll(centre[1:], -1, axis=0), axis=1)
    assert step == pytest.approx(np.full(20, step[0])) and step[0] > 1
    track = np.array([camera(scene / "Track" / f"{i:03d}.txt")[0] for i in range(1, 101)])
    assert np.abs(track[:, 2, 3] - 370 / 4).max() < 1e-9 and len(np.unique(track.round(9), axis=0)) == 100


def test_our_reader_agrees(root):
    views = read_levir_nvs(root)
    assert len(views) == 21 and not views.notes and not views.skipped and len(views.track) == 100
    E, K, near, far = camera(root / "scene_000" / "Cams" / "005.txt")
    assert (views.world_to_cam[5] == E).all() and (views.K[5, :2, 2] == K[:2, 2] + 0.5).all()
    assert views.near_far[5].tolist() == [near, far]
    found = audit_dataset("levir_nvs", root)
    assert found.ok, found.text()
    assert found.counts == {"scenes": 1, "views": 21, "depths": 21, "track poses": 100}


def test_districts_of_different_character_come_first():
    from rsnb.city.options import PLAN

    order = district_order()
    assert sorted(order) == [(i, j) for i in range(4) for j in range(4)]
    assert len({PLAN[i][j].name for i, j in order[:6]}) == 6


def test_a_crack_is_closed_and_an_edge_is_not():
    depth = np.arange(30.0).reshape(5, 6)
    depth[2, 2], depth[0, 3], depth[4, 4:] = np.inf, np.inf, np.inf
    closed = close_cracks(depth)
    # around (2, 2): 7 8 9, 13 15, 19 20 21; above (0, 3) there is nothing: 2 4 8 9 10
    assert closed[2, 2] == 14.0 and closed[0, 3] == 8.0 and np.isinf(closed[4, 4:]).all()
    assert (closed[np.isfinite(depth)] == depth[np.isfinite(depth)]).all()


def test_the_edge_of_the_world_is_refused(tmp_path, district, monkeypatch):
    monkeypatch.setattr("rsnb.city.posed_scene.shared_district", lambda city, index, belt: district(index))
    with pytest.raises(InputError, match=r"scene_000: .* of view 000 look past the edge of the district"):
        ensure_levir_nvs(tmp_path, LevirOptions(scenes=1, size=32, distance_m=900.0, fov_deg=50.0))
    assert not [p for p in (tmp_path / "city").iterdir() if p.is_dir()]


@pytest.mark.parametrize("wrong", [{"scenes": 0}, {"scenes": 17}, {"size": 9}, {"size": 96.0}, {"fov_deg": 0},
                                   {"circle_deg": float("nan")}, {"tilt_deg": "steep"}, {"scenes": True},
                                   {"supersample": 0}, {"sun_elevation_deg": float("nan")},
                                   {"sun_azimuth_deg": "south"}])
def test_options_out_of_range(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is "):
        LevirOptions(**wrong)
