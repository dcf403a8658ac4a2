"""LEVIR-NVS from hand-typed scenes: views, splits, track, and what an audit says about a damaged one."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from rsnb.data.audit import audit_dataset
from rsnb.data.multiview.levir_nvs import levir_nvs_scenes, read_levir_nvs, read_view_split
from rsnb.errors import InputError

CAMERA = """extrinsic
1.0,0.0,0.0,{x}
0.0,-1.0,0.0,0.0
0.0,0.0,-1.0,90.0
0.0,0.0,0.0,1.0

intrinsic
40.0,0.0,15.5
0.0,40.0,15.5
0.0,0.0,1.0

80.0,100.0
"""
# As the README of the data set prints it: the ten odd views, then the ten even ones.
SPLIT = """10
001 003 005 007 009 011 013 015 017 019
10
002 004 006 008 010 012 014 016 018 020
"""


def write_scene(scene, n=21, track=range(1, 101), suffix=".png"):
    for part in ("Images", "Cams", "Depths", "Track"):
        (scene / part).mkdir(parents=True)
    rng = np.random.default_rng(len(scene.name))
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(scene / "Images" / f"{i:03d}{suffix}")
        (scene / "Cams" / f"{i:03d}.txt").write_text(CAMERA.format(x=float(i)))
        tifffile.imwrite(scene / "Depths" / f"{i:03d}.tiff", rng.uniform(80, 100, (32, 32)).astype(np.float32))
    for i in track:
        text = CAMERA.format(x=i / 10)
        (scene / "Track" / f"{i:03d}.txt").write_text(text if i % 2 else text[:text.rindex("\n\n")])
    return scene


@pytest.fixture
def root(tmp_path):
    write_scene(tmp_path / "scene_000")
    (tmp_path / "view_split.txt").write_text(SPLIT)
    return tmp_path


def test_a_scene(root):
    views = read_levir_nvs(root, 0)
    assert len(views) == 21 and views.names[::20] == ("000", "020") and views.name == "LEVIR-NVS scene_000"
    assert views.world_to_cam[7].tolist() == [[1, 0, 0, 7], [0, -1, 0, 0], [0, 0, -1, 90], [0, 0, 0, 1]]
    assert views.K[3].tolist() == [[40, 0, 16], [0, 40, 16], [0, 0, 1]]
    assert views.near_far.tolist() == [[80, 100]] * 21 and views.sizes.tolist() == [[32, 32]] * 21
    assert views.splits["reference"] == ("000",)
    assert views.splits["train"] == tuple(f"{i:03d}" for i in range(1, 20, 2))
    assert views.splits["test"] == tuple(f"{i:03d}" for i in range(2, 21, 2))
    assert views.splits["few_shot_train"] == ("001", "008", "015") and len(views.splits["few_shot_test"]) == 17
    assert not views.notes and not views.skipped
    assert views.track.shape == (100, 4, 4) and views.track[[0, 99], 0, 3].tolist() == [0.1, 10.0]
    assert views.track_K.shape == (100, 3, 3)
    loaded = views.load("train", with_depth=True)
    assert loaded.images.shape == (10, 3, 32, 32) and 80 <= loaded.z_depth.min() <= loaded.z_depth.max() <= 100
    assert (loaded.images[1] * 255).round().astype(np.uint8).transpose(1, 2, 0).tolist() == np.asarray(
        Image.open(root / "scene_000" / "Images" / "003.png")).tolist()


def test_the_folder_of_the_archive_around_them(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("levir")
    shutil.copytree(root, outside / "LEVIR_NVS")
    assert levir_nvs_scenes(outside) == ("scene_000",) and len(read_levir_nvs(outside, 0)) == 21
    assert audit_dataset("levir_nvs", outside).counts == audit_dataset("levir_nvs", root).counts


def test_scenes_by_any_name(root):
    write_scene(root / "scene_011", n=3, track=())
    assert levir_nvs_scenes(root) == ("scene_000", "scene_011")
    for scene in ("scene_011", "011", 11, "11"):
        assert read_levir_nvs(root, scene).name.endswith("scene_011")
    assert len(read_levir_nvs(root / "scene_011")) == 3 and read_levir_nvs(root / "scene_011").track is None
    with pytest.raises(InputError, match="2 scenes here.*scene_000, scene_011"):
        read_levir_nvs(root)
    with pytest.raises(InputError, match="no scene '4'"):
        read_levir_nvs(root, 4)
    with pytest.raises(InputError, match="no scene here"):
        read_levir_nvs(root / "scene_000" / "Images")
    with pytest.raises(InputError, match="no such folder"):
        read_levir_nvs(root / "nowhere", 0)


def test_other_spellings(tmp_path):
    scene = write_scene(tmp_path / "scene_000", n=4, track=range(100), suffix=".JPG")
    for part in ("Images", "Cams", "Depths", "Track"):
        (scene / part).rename(scene / f"_{part}")
        (scene / f"_{part}").rename(scene / part.lower())
    (scene / "cams" / "001.txt").write_text(CAMERA.format(x=1.0).replace(",", " ").replace("\n", "\r\n"))
    views = read_levir_nvs(tmp_path)
    assert len(views) == 4 and views.track.shape == (100, 4, 4) and views.track[1, 0, 3] == 0.1  # 000 comes first
    assert views.splits["train"] == ("001", "003") and views.splits["test"] == ("002",)


@pytest.mark.parametrize(("text", "note"), [
    (SPLIT.replace("10\n001", "11\n000 001", 1), "lists the reference view 000 for train"),
    ("2\n1 2\n2\n3,4\n", r"not those of the published odd-even rule"),
    ("10\n" + SPLIT.split("\n")[1] + "\n", r"1 list\(s\), two are needed"),
])
def test_what_is_odd_about_a_split_is_noted(root, text, note):
    (root / "view_split.txt").write_text(text)
    views = read_levir_nvs(root)
    assert any(re.search(note, n) for n in views.notes), views.notes
    assert "000" not in views.splits["train"] + views.splits["test"]
    if "odd-even rule;" not in note and text.startswith("2"):
        assert views.splits["train"] == ("001", "002") and views.splits["test"] == ("003", "004")


def test_a_split_may_name_published_views_that_are_absent_but_no_others(root):
    (root / "scene_000" / "Images" / "020.png").unlink()
    views = read_levir_nvs(root)
    assert any(re.search(r"not there for test: \[20\]", note) for note in views.notes)
    (root / "view_split.txt").write_text(SPLIT.replace("018", "021"))
    with pytest.raises(InputError, match=r"view_split.txt, line 4: the test list names view 021, which is not there"):
        read_levir_nvs(root)


def test_view_split_grammar(tmp_path):
    path = tmp_path / "view_split.txt"
    path.write_text("3   # train\r\n001,002\r\n 003.png\r\n2 // test\r\n004 005\r\n\r\n")
    assert read_view_split(path) == ((1, 2, 3), (4, 5))
    for text, line in (("3\n001 002\n", 1), ("2\n001 002 003\n2\n004 005\n", 1), ("2\n1 2\n4\n3 4\n", 3)):
        path.write_text(text)
        with pytest.raises(InputError, match=f"line {line}: the count says"):
            read_view_split(path)
    path.write_text("2\n001 abc\n")
    with pytest.raises(InputError, match="line 2: 'abc' is no view id"):
        read_view_split(path)
    scene = write_scene(tmp_path / "scene_000", track=())
    path.write_text("2\n001 002\n2\n002 003\n")
    with pytest.raises(InputError, match=r"\[2\] are both for training and for testing"):
        read_levir_nvs(scene)


def test_audit_of_a_whole_scene(root):
    found = audit_dataset("levir_nvs", root)
    assert found.ok, found.text()
    assert found.counts == {"scenes": 1, "views": 21, "depths": 21, "track poses": 100}
    # a part of the published 16 scenes is no fault, but it is said
    assert [f.text for f in found.of("count")] == [
        "1 scenes, published are 16", "21 views, published are 336", "100 track poses, published are 1600"]
    assert "32 x 32 pixels, published are 512 x 512" in found.of("note")[0].text


def test_audit_of_a_damaged_scene(root):
    scene = root / "scene_000"
    (scene / "Cams" / "003.txt").write_text(CAMERA.format(x="").replace("0.0,40.0", "0.0,-40.0"))
    (scene / "Images" / "004.png").write_bytes((scene / "Images" / "004.png").read_bytes()[:900])
    (scene / "Images" / "005.png").unlink()
    (scene / "Images" / "006.png").write_bytes((scene / "Images" / "007.png").read_bytes())
    Image.new("RGB", (30, 32)).save(scene / "Images" / "008.png")
    (scene / "Depths" / "009.tiff").unlink()
    tifffile.imwrite(scene / "Depths" / "010.tiff", np.full((16, 16), 90, np.float32))
    tifffile.imwrite(scene / "Depths" / "011.tiff", np.full((32, 32), 0.9, np.float32))
    (scene / "Cams" / "012.txt").unlink()
    (scene / "Track" / "050.txt").write_text("extrinsic\n1 2\n")
    found = audit_dataset("levir_nvs", root)
    seen = {(f.kind, f.path.removeprefix("scene_000/")) for f in found.findings}
    assert {("unreadable", "Cams/003.txt"), ("unreadable", "Images/004.png"), ("missing", "Images/005.png"),
            ("duplicate", "Images/007.png"), ("size", "Images/008.png"), ("missing", "Depths/009.tiff"),
            ("size", "Depths/010.tiff"), ("value", "Depths/011.tiff"), ("missing", "Cams/012.txt"),
            ("unreadable", "Track/050.txt")} <= seen, seen
    assert not found.ok and found.counts["views"] == 19
    with pytest.raises(InputError, match=r"Cams/003.txt, line 2: row 1 of the extrinsic has 3 numbers"):
        read_levir_nvs(root)


def test_partners_that_are_missing_are_skipped_by_the_reader(root):
    (root / "scene_000" / "Images" / "005.png").unlink()
    (root / "scene_000" / "Cams" / "012.txt").unlink()
    views = read_levir_nvs(root)
    assert len(views) == 19 and set(views.skipped) == {"005", "012"}
    assert "005" not in views.splits["train"] and len(views.splits["train"]) == 9


def test_audit_of_something_else(tmp_path):
    found = audit_dataset("levir_nvs", tmp_path)
    assert not found.ok and "no folder here" in found.text()
