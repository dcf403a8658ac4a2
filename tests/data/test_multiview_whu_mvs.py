"""WHU MVS as re-organised: blank-separated cameras, 16-bit depth, lists and samples."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rsnb.data.audit import audit_dataset
from rsnb.data.multiview.whu_mvs import read_whu_mvs, whu_mvs_lists, whu_mvs_scenes, whu_samples
from rsnb.errors import InputError

CAMERA = """extrinsic
1.0 0.0 0.0 {x}
0.0 -1.0 0.0 0.0
0.0 0.0 -1.0 550.0
0.0 0.0 0.0 1.0

intrinsic
5000.0 0.0 23.5
0.0 5000.0 11.5
0.0 0.0 1.0

485.0 537.0
"""
NAMES = tuple(f"{i:03d}" for i in range(20))


def write_scene(scene, n=20):
    for part in ("Images", "Cams", "Depths"):
        (scene / part).mkdir(parents=True)
    rng = np.random.default_rng(int(scene.name[-3:]))
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (24, 48, 3), dtype=np.uint8)).save(scene / "Images" / f"{i:03d}.png")
        (scene / "Cams" / f"{i:03d}.txt").write_text(CAMERA.format(x=50.0 * i))
        # 31040 = 485 * 64; 32001 = 500.015625 * 64
        depth = np.full((24, 48), 31040, np.uint16)
        depth[0, :3] = 0, 32001, 34368 - i
        Image.fromarray(depth).save(scene / "Depths" / f"{i:03d}.png")
    return scene


def test_a_scene(tmp_path):
    write_scene(tmp_path / "scene_004")
    views = read_whu_mvs(tmp_path)
    assert views.names == NAMES and views.splits == {"reference": ("007", "012")}
    assert views.K[0].tolist() == [[5000, 0, 24], [0, 5000, 12], [0, 0, 1]] and views.world_to_cam[2, 0, 3] == 100
    depth = views.depth("000")
    assert np.isnan(depth[0, 0]) and depth[0, 1:4].tolist() == [500.015625, 537.0, 485.0]


def test_samples_by_view_id():
    (first, others), second = whu_samples(NAMES, 19)
    assert first == "007" and len(others) == 19 and "007" not in others and second[0] == "012"
    # left, right, up, down of 007 in the block of 4 x 5: the neighbours that the fact sheet names, 002 006 008 012
    samples = dict(whu_samples(NAMES, 4))
    assert list(samples) == ["006", "007", "008", "011", "012", "013"]
    assert samples["007"] == ("006", "008", "002", "012") and samples["011"] == ("010", "012", "006", "016")
    assert whu_samples(NAMES[:17], 4)[-1][0] == "011"  # 012 would need 017
    with pytest.raises(InputError, match="5 neighbours.*4 or 19"):
        whu_samples(NAMES, 5)


def test_lists_of_scenes(tmp_path):
    for number in (0, 1, 2):
        write_scene(tmp_path / f"scene_{number:03d}", n=2)
    (tmp_path / "whu_train_list.txt").write_text("\ufeff000\r\n\r\nscene_001\r\n", encoding="utf-8")
    (tmp_path / "val.txt").write_text("2\n")
    (tmp_path / "readme.txt").write_text("anything")
    assert whu_mvs_lists(tmp_path) == {"val": ("scene_002",), "train": ("scene_000", "scene_001")}
    assert whu_mvs_scenes(tmp_path) == ("scene_000", "scene_001", "scene_002")
    assert whu_mvs_scenes(tmp_path, "train") == ("scene_000", "scene_001")
    with pytest.raises(InputError, match="no list of scenes for test"):
        whu_mvs_scenes(tmp_path, "test")
    (tmp_path / "val.txt").write_text("2\n77\n")
    with pytest.raises(InputError, match="names scene_077, which is not there"):
        whu_mvs_scenes(tmp_path, "val")
    (tmp_path / "val.txt").write_text("2\nnone\n")
    with pytest.raises(InputError, match="val.txt, line 2: 'none' is no scene id"):
        whu_mvs_lists(tmp_path)


def test_audit(tmp_path):
    for number in (0, 1):
        write_scene(tmp_path / f"scene_{number:03d}", n=3)
    (tmp_path / "train.txt").write_text("000\n")
    (tmp_path / "val.txt").write_text("001\n")
    (tmp_path / "test.txt").write_text("")
    found = audit_dataset("whu_mvs", tmp_path)
    assert found.ok, found.text()
    assert found.counts == {"scenes": 2, "views": 6, "depths": 6}
    (tmp_path / "test.txt").write_text("000\n009\n")
    (tmp_path / "val.txt").write_text("")
    Image.fromarray(np.zeros((24, 48), np.uint16)).save(tmp_path / "scene_001" / "Depths" / "002.png")
    Image.fromarray(np.zeros((24, 48), np.uint8)).save(tmp_path / "scene_001" / "Depths" / "001.png")
    seen = {(f.kind, f.path) for f in audit_dataset("whu_mvs", tmp_path).findings}
    assert {("missing", "scene_009"), ("duplicate", "scene_000"), ("unmatched", "scene_001"),
            ("value", "scene_001/Depths/002.png"), ("unreadable", "scene_001/Depths/001.png")} <= seen


def test_a_list_that_is_no_text(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00\x80\n")
    with pytest.raises(InputError, match=r"train.txt, line 1: .* is no scene id"):
        whu_mvs_lists(tmp_path)
