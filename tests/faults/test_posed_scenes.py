"""Bad posed scenes through the doors a user takes: a written tree, opened, loaded, split and optimised. Each fault ends
in one sentence that names the place and the mend, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsnb.data import read_posed_scene
from rsnb.errors import InputError
from rsnb.mpi import ExplicitOptions, choose_split, optimise_explicit

QUICK = ExplicitOptions(planes=4, steps=(1,))
CAMERA = """extrinsic
1,0,0,{x}
0,-1,0,0
0,0,-1,6
0,0,0,1

intrinsic
50,0,23.5
0,50,15.5
0,0,1

5,8
"""
TURN_LINE, DEPTH_LINE = 2, 12
VIEWS = 7


@pytest.fixture
def scene(tmp_path) -> Path:
    """A sound scene in LEVIR-NVS's layout: seven views of a patterned ground 6 units below, 0.1 apart."""
    for part in ("Images", "Cams"):
        (tmp_path / "scene_000" / part).mkdir(parents=True)
    x, y = np.meshgrid(np.arange(48), np.arange(32))
    for i in range(VIEWS):
        moved = x - 50 * 0.1 * i / 6
        picture = np.stack([127 + 120 * np.sin(0.5 * moved + c) * np.cos(0.4 * y) for c in range(3)], axis=-1)
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "scene_000" / "Images" / f"{i:03d}.png")
        (tmp_path / "scene_000" / "Cams" / f"{i:03d}.txt").write_text(CAMERA.format(x=-i / 10))
    (tmp_path / "view_split.txt").write_text("3\n001 003 005\n3\n002 004 006\n")
    return tmp_path


def run(root, **words):
    """What a notebook does with a path; gives the optimised planes."""
    views = read_posed_scene(root)
    split = choose_split(views.names, views.splits, **words)
    return optimise_explicit(views.load(), split.reference, split.train, QUICK)


def edit(path, old, new):
    text = path.read_text()
    assert old in text, (old, text)
    path.write_text(text.replace(old, new, 1))


def tree(root):
    return sorted((path.relative_to(root).as_posix(), path.stat().st_size) for path in root.rglob("*"))


def test_the_sound_scene_runs(scene):
    before = tree(scene)
    result = run(scene)
    assert result.mpi.shape[0] == 4 and np.isfinite(result.history[-1]["loss"]) and tree(scene) == before


# what is written into Cams/003.txt, the line it is reported at, what is said, what to do
CAMERAS = {
    "singular": ("1,0,0,-0.3", "0,0,0,-0.3", TURN_LINE, "is no rotation .determinant 0.000", "orthonormal"),
    "sheared": ("1,0,0,-0.3", "1,0.2,0,-0.3", TURN_LINE, "the extrinsic is no rotation", "orthonormal"),
    "scaled": ("0,-1,0,0", "0,-2,0,0", TURN_LINE, "is no rotation .determinant 2.000", "take a scale out"),
    "mirrored": ("1,0,0,-0.3", "-1,0,0,-0.3", TURN_LINE, "the extrinsic mirrors", "One axis is turned over"),
    "transposed": ("1,0,0,-0.3\n0,-1,0,0\n0,0,-1,6\n0,0,0,1", "1,0,0,0\n0,-1,0,0\n0,0,-1,0\n-0.3,0,6,1", TURN_LINE + 3,
                   "looks transposed", "translations in the last column"),
    "nan": ("0,0,-1,6", "0,0,nan,6", TURN_LINE + 2, "'nan', which is no finite number", "Repair"),
    "near zero": ("5,8", "0,8", DEPTH_LINE, "the depths are 0.0 and 8.0", "both are above 0"),
    "near below zero": ("5,8", "-5,8", DEPTH_LINE, "the depths are -5.0 and 8.0", "both are above 0"),
    "reversed": ("5,8", "8,5", DEPTH_LINE, "the depths are 8.0 and 5.0", "least comes first"),
    "empty range": ("5,8", "5,5", DEPTH_LINE, "the depths are 5.0 and 5.0", "least comes first"),
    "no range": ("5,8\n", "", None, "the line of depths is missing", "least and the greatest"),
    "no focal length": ("50,0,23.5", "0,0,23.5", 8, "is no pinhole matrix", "focal lengths above 0"),
}


@pytest.mark.parametrize("fault", CAMERAS)
def test_cameras(scene, fault):
    old, new, line, what, mend = CAMERAS[fault]
    path = scene / "scene_000" / "Cams" / "003.txt"
    edit(path, old, new)
    before = tree(scene)
    with pytest.raises(InputError, match=what) as error:
        run(scene)
    assert error.value.where == path and error.value.line == line and mend in error.value.mend
    assert tree(scene) == before


def test_views_of_different_size(scene):
    path = scene / "scene_000" / "Images" / "004.png"
    Image.open(path).resize((24, 16)).save(path)
    with pytest.raises(InputError, match=r"several sizes \(24 x 16, 48 x 32\).*fit='crop'"):
        run(scene)
    # the mend works; that K of a smaller picture is then wrong is another fault, which the camera check tells
    assert read_posed_scene(scene).load(fit="crop").images.shape == (VIEWS, 3, 16, 24)
    assert len(read_posed_scene(scene).subset("train").load()) == 3


PICTURES = {"cut": lambda data: data[: len(data) // 2], "empty": lambda data: b"",
            "a page": lambda data: b"<html>quota", "damaged": lambda data: data[:100] + bytes(60) + data[160:]}


@pytest.mark.parametrize("fault", PICTURES)
def test_pictures_that_do_not_decode(scene, fault):
    path = scene / "scene_000" / "Images" / "003.png"
    path.write_bytes(PICTURES[fault](path.read_bytes()))
    with pytest.raises(InputError, match=r"003.png: this is no (whole )?picture") as error:
        run(scene)
    assert error.value.where == path and "remove it and its camera" in error.value.mend
    path.unlink()  # the mend: the view is then left out, and said to be
    (scene / "view_split.txt").unlink()
    assert run(scene).history and read_posed_scene(scene).skipped == {"003": "it has a camera but no picture"}


SPLITS = {
    "test is train": ("3\n001 003 005\n2\n003 004\n", {}, r"view_split.txt: views \[3\] are both for training and"),
    "unknown view": ("3\n001 003 005\n2\n002 099\n", {}, r"view_split.txt, line 4: the test list names view 099"),
    "wrong count": ("4\n001 003 005\n3\n002 004 006\n", {}, "view_split.txt, line 1: the list of 4 ids holds 3 twice"),
    "count too small": ("2\n001 003 005\n3\n002 004 006\n", {}, "view_split.txt, line 1: the count says 2"),
    "no id": ("3\n001 x03 005\n3\n002 004 006\n", {}, r"view_split.txt, line 2: 'x03' is no view id"),
    "test parameter is train": (None, {"test": "003", "train": "001,003"}, "'003' is a test view and a train view"),
    "unknown test parameter": (None, {"test": "099"}, "test: there is no view '099'.*Choose among 000"),
    "unknown reference": (None, {"reference": "42"}, "reference: there is no view '42'"),
    "unknown protocol": (None, {"protocol": "odd"}, "'odd' is no protocol.*ten_ten"),
}


@pytest.mark.parametrize("fault", SPLITS)
def test_splits(scene, fault):
    text, words, message = SPLITS[fault]
    if text is not None:
        (scene / "view_split.txt").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        run(scene, **words)
    assert error.value.mend


def test_one_view_only(scene):
    for path in sorted((scene / "scene_000" / "Images").iterdir())[1:]:
        path.unlink()
    with pytest.raises(InputError, match="there is one view only.*at least two"):
        run(scene)
    views = read_posed_scene(scene).load()
    with pytest.raises(InputError, match="one picture has no depth"):
        optimise_explicit(views, "000", ("000",), QUICK)


def test_ranges_given_by_hand(scene):
    views = read_posed_scene(scene).load()
    for near_far, message in (((8.0, 5.0), "reversed or empty"), ((0.0, 5.0), "begins at 0"),
                              ((-1.0, 5.0), "begins at -1"), ((float("nan"), 5.0), "nan")):
        with pytest.raises(InputError, match=message) as error:
            optimise_explicit(views, "000", ("001", "003"), ExplicitOptions(planes=4, steps=(1,), near_far=near_far))
        assert error.value.mend


@pytest.mark.parametrize(("matrix", "message"), [
    (np.diag([1.0, 1, 0, 1]), r"frames\[1\].transform_matrix is no rigid motion .determinant 0.000"),
    (np.diag([1.0, 1, -1, 1]), r"frames\[1\].transform_matrix is no rigid motion .determinant -1.000"),
    ([[1, 0], [0, 1]], r"frames\[1\].transform_matrix is no matrix")])
def test_the_same_in_transforms_json(tmp_path, matrix, message):
    frames = []
    for i, pose in enumerate((np.eye(4), np.array(matrix), np.eye(4))):
        Image.new("RGB", (48, 32)).save(tmp_path / f"{i}.png")
        frames.append({"file_path": f"{i}.png", "transform_matrix": pose.tolist()})
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 50, "frames": frames}))
    with pytest.raises(InputError, match=message) as error:
        run(tmp_path)
    assert error.value.where == tmp_path / "transforms.json" and "orthonormal" in error.value.mend


def test_the_same_in_a_colmap_model(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "ab":
        Image.new("RGB", (48, 32)).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 48 32 50 50 24 16\n")
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 4 1 a.png\n\n2 0 0 0 0 0 0 4 1 b.png\n\n")
    with pytest.raises(InputError, match=r"images.txt, line 3: the pose .* is none.*unit quaternion"):
        run(tmp_path)
