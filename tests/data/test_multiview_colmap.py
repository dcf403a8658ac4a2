"""COLMAP models: hand-made files, text against binary, and two real ones, judged by the points that they saw."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from rsnb.data.audit import audit_dataset
from rsnb.data.multiview.colmap import read_colmap, reprojection_errors
from rsnb.data.multiview.colmap_model import MODELS, ColmapCamera, read_colmap_model
from rsnb.errors import InputError

CAMERAS = """# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
# Number of cameras: 2
3 OPENCV 400 300 310.5 302.25 199.5 148.0 -0.26 0.1 0.0007 -0.003
1 SIMPLE_RADIAL 200 100 150.0 100.0 50.0 -0.125
"""
# 0.6 0.8 0 0 as w x y z: a turn by 2 acos 0.6 about x; the second image has a blank row of keypoints
IMAGES = """# Image list with two lines of data per image:
7 0.6 0.8 0 0 1.5 -2.25 10 3 sub dir/one picture.JPG
10.5 20.25 -1 200.125 150.5 41

9 1 0 0 0 0 0 5 1 two.png
"""
POINTS = """# 3D point list
41 1.25 2.5 -3.75 255 128 0 0.75 7 1 9 0
40 0.5 -0.5 8 1 2 3 1.5 7 0
"""


def write_text_model(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("cameras", CAMERAS), ("images", IMAGES), ("points3D", POINTS)):
        (folder / f"{name}.txt").write_text(text)
    return folder


def write_binary_model(folder):
    """The same model, bytes put together by hand from the format's page: little-endian, no padding."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.bin").write_bytes(
        struct.pack("<Q", 2)
        + struct.pack("<iiQQ8d", 3, 4, 400, 300, 310.5, 302.25, 199.5, 148.0, -0.26, 0.1, 0.0007, -0.003)
        + struct.pack("<iiQQ4d", 1, 2, 200, 100, 150.0, 100.0, 50.0, -0.125))
    (folder / "images.bin").write_bytes(
        struct.pack("<Q", 2)
        + struct.pack("<i4d3di", 7, 0.6, 0.8, 0, 0, 1.5, -2.25, 10, 3) + b"sub dir/one picture.JPG\0"
        + struct.pack("<Q", 2) + struct.pack("<ddq", 10.5, 20.25, -1) + struct.pack("<ddq", 200.125, 150.5, 41)
        + struct.pack("<i4d3di", 9, 1, 0, 0, 0, 0, 0, 5, 1) + b"two.png\0" + struct.pack("<Q", 0))
    (folder / "points3D.bin").write_bytes(
        struct.pack("<Q", 2)
        + struct.pack("<q3d3Bd", 41, 1.25, 2.5, -3.75, 255, 128, 0, 0.75) + struct.pack("<Q4i", 2, 7, 1, 9, 0)
        + struct.pack("<q3d3Bd", 40, 0.5, -0.5, 8, 1, 2, 3, 1.5) + struct.pack("<Q2i", 1, 7, 0))
    return folder


@pytest.mark.parametrize("write", [write_text_model, write_binary_model])
def test_text_and_binary_hold_what_was_typed(tmp_path, write):
    model = read_colmap_model(write(tmp_path))
    camera = model.cameras[3]
    assert (camera.model, camera.width, camera.height) == ("OPENCV", 400, 300)
    assert camera.K.tolist() == [[310.5, 0, 199.5], [0, 302.25, 148], [0, 0, 1]]  # centres at +0.5 already
    assert camera.distortion.coefficients == (-0.26, 0.1, 0.0007, -0.003)
    assert model.cameras[1].K.tolist() == [[150, 0, 100], [0, 150, 50], [0, 0, 1]]
    assert model.cameras[1].distortion.coefficients == (-0.125,)
    one, two = model.images
    assert (one.id, one.name, one.camera_id, two.name) == (7, "sub dir/one picture.JPG", 3, "two.png")
    assert np.abs(one.world_to_cam[:3, :3] - Rotation.from_quat([0.8, 0, 0, 0.6]).as_matrix()).max() < 1e-15
    assert one.world_to_cam[:3, 3].tolist() == [1.5, -2.25, 10]
    assert one.keypoints.tolist() == [[10.5, 20.25], [200.125, 150.5]] and one.point_ids.tolist() == [-1, 41]
    assert two.keypoints.shape == (0, 2)
    assert model.point_ids.tolist() == [41, 40] and model.points[0].tolist() == [1.25, 2.5, -3.75]
    assert model.rgb.tolist() == [[255, 128, 0], [1, 2, 3]] and model.error.tolist() == [0.75, 1.5]
    points, seen = model.observed(one)
    assert points.tolist() == [[1.25, 2.5, -3.75]] and seen.tolist() == [[200.125, 150.5]]


def test_binary_is_taken_where_both_are_there_and_points_may_be_missing(tmp_path):
    write_text_model(tmp_path)
    write_binary_model(tmp_path)
    (tmp_path / "points3D.bin").unlink()
    (tmp_path / "cameras.txt").write_text("nonsense")
    assert read_colmap_model(tmp_path).points.shape == (0, 3)


# K and coefficients of each model, by COLMAP's order of parameters: params are 1, 2, 3, ...
PARAMETERS = {
    "SIMPLE_PINHOLE": ((1, 1, 2, 3), None, None), "PINHOLE": ((1, 2, 3, 4), None, None),
    "SIMPLE_RADIAL": ((1, 1, 2, 3), "OPENCV", (4,)), "RADIAL": ((1, 1, 2, 3), "OPENCV", (4, 5)),
    "OPENCV": ((1, 2, 3, 4), "OPENCV", (5, 6, 7, 8)), "FULL_OPENCV": ((1, 2, 3, 4), "OPENCV", tuple(range(5, 13))),
    "OPENCV_FISHEYE": ((1, 2, 3, 4), "OPENCV_FISHEYE", (5, 6, 7, 8)), "FOV": ((1, 2, 3, 4), "FOV", (5,)),
    "SIMPLE_RADIAL_FISHEYE": ((1, 1, 2, 3), "OPENCV_FISHEYE", (4,)),
    "RADIAL_FISHEYE": ((1, 1, 2, 3), "OPENCV_FISHEYE", (4, 5)),
    "THIN_PRISM_FISHEYE": ((1, 2, 3, 4), "THIN_PRISM_FISHEYE", tuple(range(5, 13))),
    "RAD_TAN_THIN_PRISM_FISHEYE": ((1, 2, 3, 4), "RAD_TAN_THIN_PRISM_FISHEYE", tuple(range(5, 17))),
    "SIMPLE_DIVISION": ((1, 1, 2, 3), "SIMPLE_DIVISION", (4,)), "DIVISION": ((1, 2, 3, 4), "DIVISION", (5,)),
    "SIMPLE_FISHEYE": ((1, 1, 2, 3), "OPENCV_FISHEYE", ()), "FISHEYE": ((1, 2, 3, 4), "OPENCV_FISHEYE", ()),
    "EUCM": ((1, 2, 3, 4), "EUCM", (5, 6)),
}


@pytest.mark.parametrize(("number", "name", "count"), MODELS)
def test_every_camera_model(tmp_path, number, name, count):
    params = tuple(float(i) for i in range(1, count + 1))
    write_text_model(tmp_path)
    (tmp_path / "cameras.txt").write_text(f"1 {name} 20 10 {' '.join(map(str, params))}\n")
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 1 a.png\n\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "cameras.bin").write_bytes(struct.pack(f"<QiiQQ{count}d", 1, 1, number, 20, 10, *params))
    (tmp_path / "b" / "images.bin").write_bytes(struct.pack("<Q", 0))
    camera = read_colmap_model(tmp_path).cameras[1]
    assert camera == read_colmap_model(tmp_path / "b").cameras[1] == ColmapCamera(1, name, 20, 10, params)
    if name == "EQUIRECTANGULAR":
        assert camera.distortion.model == "SPHERICAL" and np.isnan(camera.K).all()
        return
    (fx, fy, cx, cy), lens, coefficients = PARAMETERS[name]
    assert camera.K.tolist() == [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
    assert camera.distortion is None if lens is None else (
        camera.distortion.model, camera.distortion.coefficients) == (lens, coefficients)


@pytest.mark.parametrize(("file", "text", "message"), [
    ("cameras.txt", "1 MYSTERY 20 10 1 2 3\n", r"line 1: .*no camera of a known model"),
    ("cameras.txt", "1 PINHOLE 20 10 1 2 3\n", r"line 1: .*no camera with 4 parameters"),
    ("images.txt", "1 1 0 0 0 0 0 0 1\n\n", r"line 1: the row has 9 columns"),
    ("images.txt", "1 0 0 0 0 0 0 0 1 a.png\n\n", r"line 1: the pose .* is none"),
    ("images.txt", "1 1 0 0 0 0 0 0 1 a.png\n1 2\n", r"line 2: 2 numbers of keypoints"),
    ("images.txt", "1 1 0 0 0 0 0 x 1 a.png\n\n", r"line 1: there is something that is no number"),
    ("images.txt", "1 1 0 0 0 0 0 0 8 a.png\n\n", r"image a.png has camera 8"),
    ("points3D.txt", "1 2 3\n", r"line 1: the row has 3 columns"),
    ("points3D.txt", "nan 1 2 3 0 0 0 1\n", r"line 1: there is a number nan"),
    ("points3D.txt", "1 1 2 3 0 0 256 1\n", r"line 1: the colour is 0 0 256"),
    ("images.txt", "inf 1 0 0 0 0 0 0 1 a.png\n\n", r"line 1: there is a number inf"),
    ("images.txt", "1 1 0 0 0 0 0 0 1 a.png\n1 nan 7\n", r"line 2: there is a number nan"),
    ("images.txt", "1 1 0 0 0 0 0 0 1 a.png\n2 1 0 0 0 0 0 0 1 b.png\n", r"line 2: .*may be empty"),
    ("cameras.txt", "1 PINHOLE 0 10 1 1 2 3\n", r"camera 1 has 0 x 10 pixels"),
    ("cameras.txt", "1 PINHOLE 20 10 1 -1 2 3\n", r"camera 1 has 20 x 10 pixels and the parameters 1, -1, 2, 3"),
])
def test_text_errors_name_the_line(tmp_path, file, text, message):
    write_text_model(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        read_colmap_model(tmp_path)
    assert Path(raised.value.where).name == file


def test_damaged_numbers_in_binary_files(tmp_path):
    write_binary_model(tmp_path)
    (tmp_path / "cameras.bin").write_bytes(struct.pack("<QiiQQ3d", 1, 1, 0, 20, 10, 1, 2, float("nan")))
    with pytest.raises(InputError, match="cameras.bin: camera 1 has 20 x 10 pixels and the parameters 1, 2, nan"):
        read_colmap_model(tmp_path)
    write_binary_model(tmp_path)
    row = struct.pack("<Qi7di", 1, 1, 1e200, 0, 0, 0, 0, 0, 0, 1)
    (tmp_path / "images.bin").write_bytes(row + b"a.png\0" + bytes(8))
    with pytest.raises(InputError, match=r"images.bin: the pose \[1e\+200"):
        read_colmap_model(tmp_path)


def test_binary_cut_anywhere_is_refused(tmp_path):
    write_binary_model(tmp_path)
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        whole = (tmp_path / name).read_bytes()
        for end in range(len(whole)):
            (tmp_path / name).write_bytes(whole[:end])
            with pytest.raises(InputError, match=f"{name}: "):
                read_colmap_model(tmp_path)
        (tmp_path / name).write_bytes(whole)
    (tmp_path / "cameras.bin").write_bytes(struct.pack("<QiiQQ3d", 1, 1, 77, 20, 10, 1, 2, 3))
    with pytest.raises(InputError, match="unknown model 77"):
        read_colmap_model(tmp_path)
    (tmp_path / "cameras.bin").write_bytes(struct.pack("<Q", 1 << 60))
    with pytest.raises(InputError, match="more than the file can hold"):
        read_colmap_model(tmp_path)


def test_downsized_pictures_of_another_spelling(tmp_path):
    write_binary_model(tmp_path / "sparse" / "0")
    (tmp_path / "images_4" / "Sub Dir").mkdir(parents=True)
    Image.new("RGB", (100, 75)).save(tmp_path / "images_4" / "Sub Dir" / "ONE picture.jpg")
    Image.new("RGB", (9, 9)).save(tmp_path / "images_4" / "nobody.png")
    views = read_colmap(tmp_path)
    assert views.names == ("sub dir/one picture.JPG",) and views.skipped == {"two.png": "there is no such picture"}
    assert views.sizes.tolist() == [[100, 75]]
    assert views.K[0].tolist() == [[77.625, 0, 49.875], [0, 75.5625, 37], [0, 0, 1]]  # a quarter of each number
    assert read_colmap(tmp_path / "sparse" / "0", images=tmp_path / "images_4").names == views.names
    found = audit_dataset("colmap", tmp_path)
    assert {(f.kind, f.path) for f in found.findings} >= {("missing", "two.png"), ("unmatched", "images_4/nobody.png")}
    Image.new("RGB", (75, 100)).save(tmp_path / "images_4" / "two.png")
    with pytest.raises(InputError, match="two.png: the picture has 75 x 100 pixels, its camera 200 x 100: another"):
        read_colmap(tmp_path)
    with pytest.raises(InputError, match="no such folder of pictures"):
        read_colmap(tmp_path, images="pictures")
    with pytest.raises(InputError, match="no COLMAP model here"):
        read_colmap(tmp_path / "images_4")


def test_sceaux_castle_puts_points_where_they_were_seen(real):
    """11 pictures, 7862 points; COLMAP itself states the mean error of every point, which ours must equal."""
    root = real("nb3_multiview/sceaux_castle")
    model = read_colmap_model(root / "colmap")
    assert (len(model.images), len(model.points)) == (11, 7862)
    errors = reprojection_errors(model)
    assert np.median(errors) < 0.55 and len(errors) == 37123  # 7862 points seen 4.72183 times each, says the file
    total, times = np.zeros(len(model.points)), np.zeros(len(model.points))
    row = {number: i for i, number in enumerate(model.point_ids)}
    ids = np.concatenate([image.point_ids[image.point_ids >= 0] for image in model.images])
    np.add.at(total, [row[i] for i in ids], errors)
    np.add.at(times, [row[i] for i in ids], 1)
    assert np.abs(total / times - model.error).max() < 0.02
    views = read_colmap(root)
    assert len(views) == 11 and not views.skipped and views.sizes.tolist() == [[708, 532]] * 11
    # the maker's own calibration of the full size, K.txt: 2905.88 and the middle; a lens of one number shifts it by 2 %
    K = np.array((root / "K.txt").read_text().split(), float).reshape(3, 3)
    assert np.abs(views.K[0] * [[4], [4], [1]] / np.where(K, K, 1) - (K != 0)).max() < 0.025
    assert ((views.near_far[:, 0] > 4) & (views.near_far[:, 1] < 16)).all()
    assert audit_dataset("colmap", root).ok


def test_vesta_puts_points_where_they_were_seen(real):
    root = real("nb3_multiview/vesta_astrovision")
    model = read_colmap_model(root)
    errors = reprojection_errors(model)
    assert len(model.images) == 4 and len(model.points) == 1465 and len(errors) == 4673
    assert np.max(errors) < 1e-6  # its keypoints were computed from the points
    views = read_colmap(root)
    assert len(views) == 4 and (views.distortion[0] is None) and views.load([views.names[0]]).images.shape[2] == 1024
    assert audit_dataset("colmap", root).ok


def test_spoiled_conventions_would_be_seen(real, tmp_path):
    """The same proof fails by hundreds of pixels for a quaternion x y z w, and by half for centres at integers."""
    root = real("nb3_multiview/sceaux_castle") / "colmap"
    for name in ("cameras.txt", "points3D.txt"):
        shutil.copy(root / name, tmp_path / name)
    lines = (root / "images.txt").read_text().splitlines()
    for i, line in enumerate(lines):
        cells = line.split()
        if len(cells) == 10 and not line.startswith("#"):
            lines[i] = " ".join([cells[0], *cells[2:5], cells[1], *cells[5:]])
    (tmp_path / "images.txt").write_text("\n".join(lines))
    assert np.nanmedian(reprojection_errors(read_colmap_model(tmp_path))) > 100
