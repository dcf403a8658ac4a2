"""The city as WHU MVS, read with PIL and numpy alone, and compared with the city's own heights."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rsnb.city.write_whu_mvs import WhuOptions, ensure_whu_mvs, split_scenes
from rsnb.data.audit import audit_dataset
from rsnb.data.multiview.whu_mvs import read_whu_mvs, whu_mvs_scenes, whu_samples
from rsnb.errors import InputError

SMALL = WhuOptions(scenes=3, width=96, supersample=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory, district):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rsnb.city.posed_scene.shared_district", lambda city, index, belt: district(index))
        return ensure_whu_mvs(tmp_path_factory.mktemp("whu"), SMALL)


def camera(path):
    """E, K (pixel centres at integers), near, far: by line number, split at blanks, as ImMPI's loader does."""
    lines = [line.rstrip() for line in path.read_text().split("\n")]
    numbers = [[float(cell) for cell in line.split()] for line in (*lines[1:5], *lines[7:10], lines[11])]
    return np.array(numbers[:4]), np.array(numbers[4:7]), *numbers[7]


def test_depths_are_the_citys_heights(root, district):
    """Each pixel's point, by hand-written maths, lies on the city's top surface to 1 cm: half a count is 0.8 cm."""
    city = district()
    for number, i in ((0, 0), (1, 7), (2, 19)):
        scene = root / f"scene_{number:03d}"
        E, K, near, far = camera(scene / "Cams" / f"{i:03d}.txt")
        picture = Image.open(scene / "Depths" / f"{i:03d}.png")
        assert picture.mode in ("I;16", "I") and picture.size == (96, 48)
        depth = np.asarray(picture).astype(float) / 64
        assert 400 < near <= depth.min() and depth.max() <= far < 560
        column, row = np.meshgrid(np.arange(96), np.arange(48))
        rays = np.stack([column, row, np.ones(depth.shape)], axis=-1) @ np.linalg.inv(K).T
        points = (rays * depth[..., None] - E[:3, 3]) @ E[:3, :3]
        above = points[..., 2] - city.height(points[..., 0], points[..., 1])
        on_top = np.abs(above) < 0.3
        assert on_top.mean() > 0.8 and np.quantile(np.abs(above[on_top]), 0.97) < 0.01
        # a point on a wall has the roof above it on one side: 10 cm to that side nothing may be lower
        beside = [points[..., 2] - city.height(points[..., 0] + dx, points[..., 1] + dy)
                  for dx, dy in ((0, 0), (0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1))]
        assert np.mean(np.nanmin(beside, axis=0) < 0.012) > 0.997  # lamps and leaves are thinner than that


def test_a_block_of_four_rows_and_five_columns(root):
    scene = root / "scene_001"
    read = [camera(scene / "Cams" / f"{i:03d}.txt") for i in range(20)]
    centre = np.array([-E[:3, :3].T @ E[:3, 3] for E, *_ in read])
    assert (np.diff(centre.reshape(4, 5, 3), axis=1) == pytest.approx(np.tile([50.0, 0, 0], (4, 4, 1)), abs=1e-6))
    assert (np.diff(centre.reshape(4, 5, 3), axis=0) == pytest.approx(np.tile([0, -50.0, 0], (3, 5, 1)), abs=1e-6))
    # neighbours left, right, up, down of 007 are west, east, north, south of it
    sample = dict(whu_samples(tuple(f"{i:03d}" for i in range(20)), 4))["007"]
    beside = centre[[int(name) for name in sample]] - centre[7]
    assert beside.round(6).tolist() == [[-50, 0, 0], [50, 0, 0], [0, 50, 0], [0, -50, 0]]
    for E, K, *_ in read:
        assert E[2, 2] < -0.99 and K[0, 0] == pytest.approx(520 * 96 / 76.8)
    # every picture has one and the same place on the ground in its middle, though the cameras are 200 m apart
    middle = []
    for E, K, *_ in read:
        ray = np.linalg.inv(K) @ [47.5, 23.5, 1.0]
        eye, way = -E[:3, :3].T @ E[:3, 3], E[:3, :3].T @ ray
        middle.append(eye + way * (520 / -way[2]))
    assert np.ptp(middle, axis=0).max() < 0.05


def test_lists_and_our_reader(root):
    assert {part: (root / f"{part}.txt").read_text() for part in ("train", "val", "test")} == {
        "train": "000\n", "val": "001\n", "test": "002\n"}
    assert whu_mvs_scenes(root, "test") == ("scene_002",)
    views = read_whu_mvs(root, 2)
    E, K, near, far = camera(root / "scene_002" / "Cams" / "011.txt")
    assert (views.world_to_cam[11] == E).all() and (views.K[11, :2, 2] == K[:2, 2] + 0.5).all()
    assert np.nanmin(views.depth("011")) >= near
    found = audit_dataset("whu_mvs", root)
    assert found.ok, found.text()
    assert found.counts == {"scenes": 3, "views": 60, "depths": 60}


def test_pictures_show_the_district_and_no_sky(root):
    for number in range(3):
        rgb = np.asarray(Image.open(root / f"scene_{number:03d}" / "Images" / "007.png"), float)
        assert rgb.shape == (48, 96, 3) and rgb.std() > 20


def test_shares_of_scenes():
    assert {part: len(n) for part, n in split_scenes(88).items()} == {"train": 62, "val": 8, "test": 18}
    for count in range(1, 30):
        parts = split_scenes(count)
        assert sorted(n for numbers in parts.values() for n in numbers) == list(range(count))
        assert len(parts["train"]) >= 1 and (count < 3 or all(len(numbers) for numbers in parts.values()))


@pytest.mark.parametrize("wrong", [{"scenes": 0}, {"width": 97}, {"width": 8}, {"scenes": 2.0}, {"supersample": 1.5},
                                   {"sun_elevation_deg": -3.0}])
def test_options_out_of_range(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is "):
        WhuOptions(**wrong)
