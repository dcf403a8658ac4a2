"""Camera lists of other programs, hand-typed: the same camera at (1, 2, 3) that looks along +x with z up, in each."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from PIL import Image

from rsnb.data.multiview.colmap import read_colmap
from rsnb.data.multiview.dispatch import read_posed_scene
from rsnb.errors import InputError

POSE = [[0, -1, 0, 2], [0, 0, -1, 3], [1, 0, 0, -1], [0, 0, 0, 1]]  # world to camera, x right, y down, z forward
K = [[500, 0, 330], [0, 500, 235], [0, 0, 1]]
CAMERA_FILE = """500 0 330
0 500 235
0 0 1
0 0 0
0 0 1
-1 0 0
0 -1 0
1 2 3
640 480
"""
# Bundler: x right, y up, z back, so the second and third rows of the pose change their signs.
BUNDLE = """# Bundle file v0.3
3 2
500 -0.1 0.02
0 -1 0
0 0 1
-1 0 0
2 -3 1
0 0 0
0 0 0
0 0 0
0 0 0
0 0 0
500 0 0
0 -1 0
0 0 1
-1 0 0
2.5 -3 1
9.0 2.0 3.0
10 20 30
2 0 17 0.0 0.0 2 3 -31.25 0.0
8.0 2.5 3.5
255 0 0
1 0 18 1.5 2.5
"""
PIX4D = """fileName imageWidth imageHeight
camera matrix K [3x3]
radial distortion [3x1]
tangential distortion [2x1]
camera position t [3x1]
camera rotation R [3x3]
camera model m = K [R|-Rt] X

a.jpg 640 480
500 0 330
0 500 235
0 0 1
-0.1 0.02 0.003
0.001 0.002
1 2 3
0 -1 0
0 0 -1
1 0 0
b c.jpg 640 480
500 0 330
0 500 235
0 0 1
0 0 0
0 0
1 2.5 3
0 -1 0
0 0 -1
1 0 0
"""
METASHAPE = """<?xml version="1.0" encoding="UTF-8"?>
<document version="1.5.0"><chunk label="Chunk 1" enabled="true"><sensors next_id="1">
<sensor id="0" label="unknown" type="frame"><resolution width="640" height="480"/>
<calibration type="frame" class="initial"><resolution width="640" height="480"/><f>480</f></calibration>
<calibration type="frame" class="adjusted"><resolution width="640" height="480"/><f>500</f><cx>10</cx><cy>-5</cy>
<b1>2</b1><b2>0.5</b2><k1>-0.1</k1><k2>0.02</k2><k3>0.003</k3><p1>0.001</p1><p2>0.002</p2></calibration></sensor>
</sensors>
<cameras next_id="3"><camera id="0" sensor_id="0" label="a" enabled="true">
<transform>0 0 1 1 -1 0 0 2 0 -1 0 3 0 0 0 1</transform></camera>
<camera id="1" sensor_id="0" label="b" enabled="true">
<transform>0 0 1 1 -1 0 0 2.5 0 -1 0 3 0 0 0 1</transform></camera>
<camera id="2" sensor_id="0" label="c" enabled="true"></camera></cameras></chunk></document>
"""


OPENMVG = {
    "sfm_data_version": "0.3", "root_path": "/somewhere/else",
    "views": [{"key": i, "value": {"polymorphic_id": 1073741824, "ptr_wrapper": {"id": i, "data": {
        "local_path": "", "filename": f"{name}.jpg", "width": 640, "height": 480, "id_view": i, "id_intrinsic": 0,
        "id_pose": i}}}} for i, name in enumerate("abc")],
    "intrinsics": [{"key": 0, "value": {"polymorphic_name": "pinhole_brown_t2", "ptr_wrapper": {"id": 9, "data": {
        "width": 640, "height": 480, "focal_length": 500, "principal_point": [330, 235],
        "disto_t2": [-0.1, 0.02, 0.003, 0.001, 0.002]}}}}],
    "extrinsics": [{"key": i, "value": {"rotation": [[0, -1, 0], [0, 0, -1], [1, 0, 0]], "center": [1, y, 3]}}
                   for i, y in ((0, 2), (1, 2.5))],
    "structure": [{"key": 5, "value": {"X": [9, 2, 3], "observations": []}}], "control_points": []}


def pictures(folder, *names, size=(640, 480)):
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.new("RGB", size).save(folder / name)


def llff(root, size=(640, 480), folder="images"):
    pictures(root / folder, "a.jpg", "b.jpg", size=size)
    # columns: down (0, 0, -1), right (0, -1, 0), back (-1, 0, 0), place, height width focal
    rows = [[0, 0, -1, 1, 480, 0, -1, 0, y, 640, -1, 0, 0, 3, 500, 4, 90] for y in (2, 2.5)]
    np.save(root / "poses_bounds.npy", np.array(rows, float))
    return root


def test_llff(tmp_path):
    views = read_posed_scene(llff(tmp_path))
    assert views.names == ("a.jpg", "b.jpg") and views.convention == "drb_c2w"
    assert np.abs(views.world_to_cam[0] - POSE).max() < 1e-12 and views.world_to_cam[1, 0, 3] == 2.5
    assert views.K[0].tolist() == [[500, 0, 320], [0, 500, 240], [0, 0, 1]] and views.near_far[0].tolist() == [4, 90]
    small = tmp_path / "small"
    small.mkdir()
    assert read_posed_scene(llff(small, (160, 120), "images_4")).K[0, 0].tolist() == [125, 0, 80]
    pictures(tmp_path / "images", "c.jpg")
    with pytest.raises(InputError, match="there are 2 rows and 3 pictures"):
        read_posed_scene(tmp_path)
    for bad, message in ((np.zeros((2, 15)), r"shape \(2, 15\)"), (np.full((3, 17), np.nan), "finite numbers"),
                         (np.zeros((3, 17)), "row 0 .* has the depths 0 and 0")):
        np.save(tmp_path / "poses_bounds.npy", bad)
        with pytest.raises(InputError, match=message):
            read_posed_scene(tmp_path)
    (tmp_path / "poses_bounds.npy").write_text("<html>")
    with pytest.raises(InputError, match="no array of numpy"):
        read_posed_scene(tmp_path)


@pytest.mark.parametrize("apart", [True, False])
def test_camera_files_of_facades(tmp_path, apart):
    cameras = tmp_path / ("gt_dense_cameras" if apart else "images")
    pictures(tmp_path / "images", "0000.jpg", "0001.jpg")
    cameras.mkdir(exist_ok=True)
    (cameras / "0000.jpg.camera").write_text(CAMERA_FILE)
    (cameras / "0001.jpg.camera").write_text(CAMERA_FILE.replace("1 2 3", "1 2.5 3"))
    views = read_posed_scene(tmp_path)
    assert views.names == ("0000.jpg", "0001.jpg") and views.convention == "opencv_c2w"
    assert np.abs(views.world_to_cam[0] - POSE).max() < 1e-12 and views.world_to_cam[1, 0, 3] == 2.5
    assert views.K[0].tolist() == K
    for old, new, message in (("-1 0 0", "1 0 0", "pose of 0000.jpg mirrors"), ("0 0 0", "0 0", "25 numbers"),
                              ("0 0 0", "0.1 0 0", "the distortion is"), ("640 480", "480 640", "another shape"),
                              ("-1 0 0", "0 0 0", "is no rotation .determinant 0.000"), ("500", "f", "is no number")):
        (cameras / "0000.jpg.camera").write_text(CAMERA_FILE.replace(old, new, 1))
        with pytest.raises(InputError, match=message):
            read_posed_scene(tmp_path)


def test_bundler(tmp_path):
    pictures(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "bundle.out").write_text(BUNDLE)
    (tmp_path / "list.txt").write_text("images/a.jpg 0 500\nimages/b.jpg\nimages/c.jpg 0 500\n")
    views = read_posed_scene(tmp_path)
    assert views.names == ("images/a.jpg", "images/c.jpg") and "not solved" in views.skipped["images/b.jpg"]
    assert np.abs(views.world_to_cam[0] - POSE).max() < 1e-12 and views.world_to_cam[1, 0, 3] == 2.5
    assert views.K[0].tolist() == [[500, 0, 320], [0, 500, 240], [0, 0, 1]]
    assert views.distortion[0].coefficients == (-0.1, 0.02) and views.distortion[1] is None
    assert views.points.tolist() == [[9, 2, 3], [8, 2.5, 3.5]] and views.points_rgb[0].tolist() == [10, 20, 30]
    # a point straight ahead lies in the middle, one to the left (+y) and above it left of and above the middle
    assert views.project("images/c.jpg", np.array([9.0, 2.5, 3])).tolist() == [320, 240]
    assert (views.project("images/a.jpg", np.array([8.0, 2.5, 3.5])) < [320, 240]).all()
    (tmp_path / "list.txt").write_text("a.jpg\n")
    with pytest.raises(InputError, match="no list of its 3 pictures"):
        read_posed_scene(tmp_path)
    (tmp_path / "list.txt").write_text("a.jpg\nb.jpg\nc.jpg\n")
    for text, message in ((BUNDLE[:150], "3 cameras and 2 points, more than it holds"),
                          (BUNDLE[:-9], "line 23: there are not the numbers that must stand here")):
        (tmp_path / "bundle.out").write_text(text)
        with pytest.raises(InputError, match=message):
            read_posed_scene(tmp_path)


def test_pix4d(tmp_path):
    pictures(tmp_path / "images", "a.jpg", "b c.jpg")
    (tmp_path / "params").mkdir()
    path = tmp_path / "params" / "flight_calibrated_camera_parameters.txt"
    path.write_text(PIX4D)
    views = read_posed_scene(tmp_path)
    assert views.names == ("a.jpg", "b c.jpg") and views.name == "Pix4D flight"
    assert np.abs(views.world_to_cam[0] - POSE).max() < 1e-12 and views.world_to_cam[1, 0, 3] == 2.5
    assert views.K[1].tolist() == K and views.distortion[1] is None
    assert views.distortion[0].coefficients == (-0.1, 0.02, 0.001, 0.002, 0.003)
    path.write_text(PIX4D.replace("1 2.5 3\n", ""))
    with pytest.raises(InputError, match="line 19: the 9 lines of numbers below 'b c.jpg 640 480' are not complete"):
        read_posed_scene(tmp_path)


def test_metashape(tmp_path):
    pictures(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg")
    path = tmp_path / "cameras.xml"
    path.write_text(METASHAPE)
    views = read_posed_scene(tmp_path)
    assert views.names == ("a", "b") and views.convention == "opencv_c2w" and "not aligned" in views.skipped["c"]
    assert np.abs(views.world_to_cam[0] - POSE).max() < 1e-12 and views.world_to_cam[1, 0, 3] == 2.5
    assert views.K[0].tolist() == [[502, 0.5, 330], [0, 500, 235], [0, 0, 1]]
    assert views.distortion[0].coefficients == (-0.1, 0.02, 0.002, 0.001, 0.003)
    # the manual's formula by hand, for a point at x = 0.3, y = -0.2 of the image plane
    x, y, r2 = 0.3, -0.2, 0.13
    radial = 1 - 0.1 * r2 + 0.02 * r2**2 + 0.003 * r2**3
    u, v = (x * radial + 0.001 * (r2 + 2 * x * x) + 2 * 0.002 * x * y,
            y * radial + 0.002 * (r2 + 2 * y * y) + 2 * 0.001 * x * y)
    point = np.array([1.0, 2, 3]) + [4, -0.3 * 4, 0.2 * 4]
    assert np.abs(views.project("a", point) - [320 + 10 + u * 502 + v * 0.5, 240 - 5 + v * 500]).max() < 1e-9
    for old, new, message in (("<document", "<!DOCTYPE x><document", "declares entities"), ("</chunk>", "", "no XML"),
                              ("0 0 1 1 -1 0", "0 0 1 1 1 0", "mirrors"), ("0 0 1 1 -1 0", "0 0 1 1", "not 16 numbers"),
                              ("<f>500</f>", "<f>0</f>", "focal lengths of a are 2 and 0"),
                              ("<f>500</f>", "<f>long</f>", "no number"),
                              ('sensor_id="0"', 'sensor_id="7"', "no calibration")):
        path.write_text(METASHAPE.replace(old, new, 1))
        with pytest.raises(InputError, match=message):
            read_posed_scene(tmp_path)


def test_openmvg(tmp_path):
    pictures(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg")
    path = tmp_path / "sfm_data.json"
    path.write_text(json.dumps(OPENMVG))
    views = read_posed_scene(tmp_path)
    assert views.names == ("a.jpg", "b.jpg") and "no pose" in views.skipped["c.jpg"]
    assert np.abs(views.world_to_cam[0] - POSE).max() < 1e-12 and views.world_to_cam[1, 0, 3] == 2.5
    assert views.K[0].tolist() == [[500, 0, 330.5], [0, 500, 235.5], [0, 0, 1]]  # pixels from the first one's middle
    assert views.points.tolist() == [[9, 2, 3]]
    assert views.distortion[0].coefficients == (-0.1, 0.02, 0.001, 0.002, 0.003)
    path.write_text(json.dumps(OPENMVG).replace("disto_t2", "disto_k3").replace("0.003, 0.001, 0.002", "0.003"))
    assert read_posed_scene(path).distortion[0].coefficients == (-0.1, 0.02, 0, 0, 0.003)
    for old, new, message in (("[1, 0, 0]", "[-1, 0, 0]", "the pose of a.jpg mirrors"),
                              ('"focal_length": 500', '"focal_length": "long"', "focal_length is 'long'"),
                              ('"center": [1, 2, 3]', '"center": [1, 2]', r"center is \[1, 2\], expected 3"),
                              ('"id_intrinsic": 0', '"id_intrinsic": 7', "an intrinsic that is not listed"),
                              ('"extrinsics"', '"before"', "there are no extrinsics")):
        path.write_text(json.dumps(OPENMVG).replace(old, new, 1))
        with pytest.raises(InputError, match=message):
            read_posed_scene(tmp_path)


@pytest.mark.parametrize("kind", ["camera_files", "bundler", "pix4d", "metashape"])
def test_a_real_facade_in_each_form(real, tmp_path, kind):
    """The castle's solved cameras written down in each program's way, and its own pictures."""
    solved = read_colmap(real("nb3_multiview/sceaux_castle"))
    (tmp_path / "images").symlink_to(solved.image_paths[0].parent)
    cameras = zip(solved.names, solved.K, solved.world_to_cam, strict=True)
    rows = [_WRITE[kind](*camera) for camera in cameras]
    if kind == "camera_files":
        for name, text in zip(solved.names, rows, strict=True):
            (tmp_path / "cameras").mkdir(exist_ok=True)
            (tmp_path / "cameras" / f"{name}.camera").write_text(text)
    elif kind == "bundler":
        (tmp_path / "bundle.out").write_text(f"# Bundle file v0.3\n{len(rows)} 0\n" + "".join(rows))
        (tmp_path / "list.txt").write_text("\n".join(solved.names))
    elif kind == "pix4d":
        (tmp_path / "castle_calibrated_camera_parameters.txt").write_text(PIX4D[:PIX4D.index("a.jpg")] + "".join(rows))
    else:
        k = solved.K[0]
        (tmp_path / "castle.xml").write_text(
            '<document><chunk><sensors><sensor id="0" type="frame"><calibration><resolution width="708" height="532"/>'
            f"<f>{k[0, 0]}</f></calibration></sensor></sensors><cameras>{''.join(rows)}</cameras></chunk></document>")
    views = read_posed_scene(tmp_path)
    assert len(views) == 11 and np.abs(views.world_to_cam - solved.world_to_cam).max() < 1e-9
    focal = (slice(None), [0, 1], [0, 1])
    assert np.abs(views.K[focal] / solved.K[focal] - 1).max() < 2e-3


def _written(root, kind):
    """A sound scene of a kind; gives its path and the file of cameras."""
    pictures(root / "images", "a.jpg", "b.jpg", "b c.jpg", "c.jpg")
    file = root / {"bundler": "bundle.out", "pix4d": "x_calibrated_camera_parameters.txt", "metashape": "cameras.xml",
                   "openmvg": "sfm_data.json", "camera_files": "a.jpg.camera", "llff": "poses_bounds.npy"}[kind]
    if kind == "llff":
        llff(root)
        (root / "images" / "c.jpg").unlink()
        (root / "images" / "b c.jpg").unlink()
    else:
        file.write_text({"bundler": BUNDLE, "pix4d": PIX4D, "metashape": METASHAPE, "openmvg": json.dumps(OPENMVG),
                         "camera_files": CAMERA_FILE}[kind])
    (root / "list.txt").write_text("a.jpg\nb.jpg\nc.jpg\n")
    return file


@pytest.mark.parametrize("kind", ["bundler", "pix4d", "metashape", "openmvg", "camera_files", "llff"])
@pytest.mark.filterwarnings("error")
def test_damage_is_told_whatever_it_is(tmp_path, kind):
    file = _written(tmp_path, kind)
    whole, rng = file.read_bytes(), random.Random(1)
    read_posed_scene(tmp_path, format=kind)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            at, change = rng.randrange(len(data)), rng.randrange(4)
            if change == 0:
                data[at] = rng.randrange(256)
            elif change == 1:
                data = data[:at + 1]
            elif change == 2:
                data[at:at] = rng.choice([b"9" * 30, b"-", b"nan", b"1e400", b"\0", b" ", b"\n", b'"', b"\xff"])
            else:
                del data[at:min(at + rng.randint(1, 12), len(data) - 1)]
        file.write_bytes(bytes(data))
        try:
            read_posed_scene(tmp_path, format=kind)
        except InputError as error:
            assert error.mend or error.where


def _line(values):
    return " ".join(repr(float(v)) for v in np.ravel(values)) + "\n"


_FLIP = np.diag([1.0, -1, -1])
_WRITE = {
    "camera_files": lambda name, k, pose: _line(k) + "0 0 0\n" + _line(pose[:3, :3].T)
    + _line(-pose[:3, :3].T @ pose[:3, 3]) + "708 532\n",
    "bundler": lambda name, k, pose: _line([k[0, 0], 0, 0]) + _line(_FLIP @ pose[:3, :3]) + _line(_FLIP @ pose[:3, 3]),
    "pix4d": lambda name, k, pose: f"{name} 708 532\n" + "".join(map(_line, k)) + "0 0 0\n0 0\n"
    + _line(-pose[:3, :3].T @ pose[:3, 3]) + "".join(map(_line, pose[:3, :3])),
    "metashape": lambda name, k, pose: f'<camera sensor_id="0" label="{name}"><transform>{_line(np.linalg.inv(pose))}'
    "</transform></camera>",
}
