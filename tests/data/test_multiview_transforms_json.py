"""transforms.json: axes, intrinsics of every spelling, missing pictures; the fox judged by its epipolar lines."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

from rsnb.data.audit import audit_dataset
from rsnb.data.multiview.transforms_json import read_transforms_json
from rsnb.errors import InputError

# OpenGL camera at (1, 2, 3) that looks along world +x with world z up: its axes x right = -y, y up = z, z back = -x.
MATRIX = [[0, 0, -1, 1], [-1, 0, 0, 2], [0, 1, 0, 3], [0, 0, 0, 1]]


def write(root, values, frames, sizes=(40, 20)):
    (root / "transforms.json").write_text(json.dumps({**values, "frames": frames}))
    for frame in frames:
        path = root / frame["file_path"]
        path = path if path.suffix else path.with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", sizes).save(path)
    return root


def frame(name="images/a.png", **more):
    return {"file_path": name, "transform_matrix": MATRIX, **more}


def test_axes_by_hand(tmp_path):
    views = read_transforms_json(write(tmp_path, {"fl_x": 30}, [frame()]))
    # OpenCV camera: x right = world -y, y down = world -z, z forward = world +x; the camera's centre goes to 0
    assert views.world_to_cam[0].tolist() == [[0, -1, 0, 2], [0, 0, -1, 3], [1, 0, 0, -1], [0, 0, 0, 1]]
    # 5 m ahead, 1 m to the right, 0.5 m up: right of the middle by 30 / 5, above it by 15 / 5
    assert views.project("a", [6, 1, 3.5]).tolist() == [20 + 6, 10 - 3]


@pytest.mark.parametrize(("values", "K"), [
    ({"fl_x": 30, "fl_y": 31, "cx": 19, "cy": 11, "w": 40, "h": 20}, (30, 31, 19, 11)),
    ({"fl_x": 120, "fl_y": 124, "cx": 76, "cy": 44, "w": 160.0, "h": 80.0}, (30, 31, 19, 11)),
    ({"fl_y": 31}, (31, 31, 20, 10)),
    ({"camera_angle_x": 2 * math.atan(20 / 30)}, (30, 30, 20, 10)),
    ({"camera_angle_x": 2 * math.atan(20 / 30), "camera_angle_y": 2 * math.atan(10 / 31), "w": 80, "h": 40},
     (30, 31, 20, 10)),
])
def test_intrinsics_of_every_spelling(tmp_path, values, K):
    found = read_transforms_json(write(tmp_path, values, [frame()])).K[0]
    fx, fy, cx, cy = K
    assert found == pytest.approx(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), abs=1e-9)


def test_intrinsics_of_single_frames_and_lenses(tmp_path):
    frames = [frame("images/a.png", fl_x=50.0, k1=0.1), frame("./images/b.png"), frame("images/c", k3=0.3)]
    views = read_transforms_json(write(tmp_path, {"fl_x": 30, "k2": 0.05, "p1": 0.01, "p2": 0.02}, frames))
    assert views.names == ("a", "b", "c") and views.K[:, 0, 0].tolist() == [50, 30, 30]
    assert [d.coefficients for d in views.distortion] == [
        (0.1, 0.05, 0.01, 0.02, 0), (0, 0.05, 0.01, 0.02, 0), (0, 0.05, 0.01, 0.02, 0.3)]
    views = read_transforms_json(write(tmp_path, {"fl_x": 30, "camera_model": "OPENCV_FISHEYE", "k4": 0.4}, [frame()]))
    assert (views.distortion[0].model, views.distortion[0].coefficients) == ("OPENCV_FISHEYE", (0, 0, 0, 0.4))
    views = read_transforms_json(write(tmp_path, {"fl_x": 30, "k1": 0.0}, [frame()]))
    assert views.distortion == (None,)
    views = read_transforms_json(write(tmp_path, {"camera_model": "EQUIRECTANGULAR"}, [frame()]))
    assert views.load().camera == "panorama"


def test_pictures_that_are_missing_or_downsized(tmp_path):
    write(tmp_path, {"fl_x": 120, "w": 160, "h": 80}, [frame("images_4/a.png"), frame("images_4/b.png")])
    values = {"fl_x": 120, "w": 160, "h": 80, "frames": [frame(f"images/{n}.jpg") for n in "abc"]}
    (tmp_path / "transforms.json").write_text(json.dumps(values))
    views = read_transforms_json(tmp_path)
    assert views.names == ("a", "b") and set(views.skipped) == {"c"} and views.K[0, 0, 0] == 30
    (tmp_path / "images_4" / "extra.png").write_bytes((tmp_path / "images_4" / "a.png").read_bytes())
    found = audit_dataset("transforms_json", tmp_path)
    assert found.counts == {"frames": 3, "pictures": 2}
    assert {(f.kind, f.path) for f in found.findings} == {
        ("missing", "images/c.jpg"), ("unmatched", "images_4/extra.png"), ("duplicate", "images_4/b.png")}
    for name in ("a", "b", "extra"):
        (tmp_path / "images_4" / f"{name}.png").unlink()
    with pytest.raises(InputError, match="no view.*3 were listed without a picture"):
        read_transforms_json(tmp_path)


def test_synthetic_scene_with_three_files(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        frames = [frame(f"./{part}/r_{i}") for i in range(count)]
        write(tmp_path, {"camera_angle_x": 0.69}, frames)
        (tmp_path / "transforms.json").rename(tmp_path / f"transforms_{part}.json")
    (tmp_path / "train" / "r_2.png").unlink()
    views = read_transforms_json(tmp_path)
    assert views.names == ("train/r_0", "train/r_1", "test/r_0", "test/r_1") and set(views.skipped) == {"train/r_2"}
    assert views.splits == {"train": ("train/r_0", "train/r_1"), "test": ("test/r_0", "test/r_1")}
    assert views.image_paths[2] == tmp_path / "test" / "r_0.png"


def test_splits_by_file_names(tmp_path):
    write(tmp_path, {"fl_x": 30, "train_filenames": ["images/a.png"], "test_filenames": ["images/b.png"]},
          [frame("images/a.png"), frame("images/b.png"), frame("images/c.png")])
    assert read_transforms_json(tmp_path).splits == {"train": ("a",), "test": ("b",)}


@pytest.mark.parametrize(("change", "message"), [
    ({"transform_matrix": None}, r"frames\[1\].transform_matrix is no matrix"),
    ({"transform_matrix": MATRIX[:3]}, None),
    ({"transform_matrix": MATRIX[:2]}, r"frames\[1\].transform_matrix is no matrix"),
    ({"transform_matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]}, r"no rigid motion .*-1.000"),
    ({"transform_matrix": [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, r"no rigid motion"),
    ({"transform_matrix": [[float("nan")] * 4] * 4}, r"no matrix of finite"),
    ({"file_path": None}, r"frames\[1\] has no file_path"),
    ({"fl_x": "long"}, r"frames\[1\]: fl_x is 'long'"),
    ({"fl_x": -3}, r"frames\[1\]: fl_x is -3"),
    ({"fl_x": None}, r"frames\[1\]: there is no focal length"),
    ({"k1": float("inf")}, r"frames\[1\]: k1 is inf"),
    ({"transform_matrix": [[1e300, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, r"no matrix of finite"),
    ({"w": 20}, r"b.png: the picture has 40 x 20 pixels, w and h are 20 x 20: another shape"),
])
def test_bad_frames(tmp_path, change, message):
    write(tmp_path, {"fl_x": 30}, [frame("images/a.png"), frame("images/b.png")])
    values = {"fl_x": 30, "frames": [frame("images/a.png"), {**frame("images/b.png"), **change}]}
    (tmp_path / "transforms.json").write_text(json.dumps(values))
    if message is None:
        assert len(read_transforms_json(tmp_path)) == 2
        return
    with pytest.raises(InputError, match=message):
        read_transforms_json(tmp_path)


def test_fisheyes_by_any_name_and_no_name(tmp_path):
    frames = [frame("images/a.png")]
    for name, model in (("RADIAL_FISHEYE", "OPENCV_FISHEYE"), ("opencv_fisheye", "OPENCV_FISHEYE"), (None, "OPENCV")):
        write(tmp_path, {"fl_x": 30, "k1": 0.1, "camera_model": name}, frames)
        assert read_transforms_json(tmp_path).distortion[0].model == model


def test_splits_that_are_no_lists(tmp_path):
    write(tmp_path, {"fl_x": 30, "train_filenames": 3}, [frame("images/a.png")])
    with pytest.raises(InputError, match="train_filenames is no list"):
        read_transforms_json(tmp_path)
    write(tmp_path, {"fl_x": 30, "train_filenames": [["images/a.png"]]}, [frame("images/a.png")])
    assert read_transforms_json(tmp_path).splits == {}


def test_two_frames_that_find_one_picture(tmp_path):
    write(tmp_path, {"fl_x": 30}, [frame("images/a.png")])
    values = {"fl_x": 30, "frames": [frame("images/left/a.png"), frame("images/right/a.png")]}
    (tmp_path / "transforms.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="a.png: views 'images/left/a' and 'images/right/a' have the same picture"):
        read_transforms_json(tmp_path)


def test_no_json(tmp_path):
    with pytest.raises(InputError, match="no such transforms.json"):
        read_transforms_json(tmp_path)
    (tmp_path / "transforms.json").write_text('{"frames": [')
    with pytest.raises(InputError, match="this is no JSON"):
        read_transforms_json(tmp_path)
    assert not audit_dataset("transforms_json", tmp_path).ok
    (tmp_path / "transforms.json").write_text("[]")
    with pytest.raises(InputError, match="no list of frames"):
        read_transforms_json(tmp_path)


def test_fox(real):
    root = real("nb3_multiview/fox")
    views = read_transforms_json(root)
    assert len(views) == 50 and len(views.skipped) == 17 and views.sizes.tolist() == [[270, 480]] * 50
    assert views.K[0] == pytest.approx(np.array([[1375.52, 0, 554.558], [0, 1374.49, 965.268], [0, 0, 4]]) / 4)
    found = audit_dataset("transforms_json", root)
    assert found.counts == {"frames": 67, "pictures": 50}
    assert len(found.of("missing")) == 17 and len(found.findings) == 17


def test_a_scale_of_the_cameras_axes_changes_nothing(tmp_path):
    matrix = np.array(MATRIX, float)
    scaled = matrix.copy()
    scaled[:3, :3] *= 0.37
    write(tmp_path, {"fl_x": 30}, [frame("images/a.png"), frame("images/b.png")])
    frames = [{**frame(f"images/{n}.png"), "transform_matrix": m.tolist()} for n, m in (("a", matrix), ("b", scaled))]
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 30, "frames": frames}))
    views = read_transforms_json(tmp_path)
    assert np.abs(views.world_to_cam[0] - views.world_to_cam[1]).max() < 1e-12
