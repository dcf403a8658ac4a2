"""MVSNet folders from hand-typed files: its README's grammar, BlendedMVS's four depth numbers, WHU's first form."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rsnb.data.multiview.camera_text import read_camera
from rsnb.data.multiview.dispatch import read_posed_scene
from rsnb.data.multiview.mvsnet import read_mvsnet, read_mvsnet_camera
from rsnb.errors import InputError

# At (1, 2, 3), looking along +x with z up: see test_multiview_conventions.
CAMERA = """extrinsic
0.0 -1.0 0.0 2.0
0.0 0.0 -1.0 3.0
1.0 0.0 0.0 -1.0
0.0 0.0 0.0 1.0

intrinsic
361.54125 0.0 82.900625
0.0 360.3975 66.383875
0.0 0.0 1.0

425.0 2.5 {rest}
"""
# The same camera in the form of WHU MVS's authors: camera to world, x right, y up, so z points back.
WHU = """extrinsic
0.0 0.0 -1.0 1.0
-1.0 0.0 0.0 2.0
0.0 1.0 0.0 3.0
0.0 0.0 0.0 1.0

361.5 82.9 66.4

425.0 902.5 2.5
0 0 0 0 0 160 128
"""
POSE = [[0, -1, 0, 2], [0, 0, -1, 3], [1, 0, 0, -1], [0, 0, 0, 1]]


WHU_HEADED = WHU.replace("extrinsic", "extrinsic: camera to world, XrightYup").replace("361.5", "f(px) x0 y0\n361.5")


def write(root, text=CAMERA.format(rest="192 902.5"), pictures="blended_images", cameras="cams", name="{:08d}_cam.txt"):
    for folder in (pictures, cameras):
        (root / folder).mkdir()
    for i in range(3):
        picture = name.format(i).replace("_cam", "").replace(".txt", ".jpg")
        Image.new("RGB", (160, 128)).save(root / pictures / picture)
        (root / cameras / name.format(i)).write_text(text)
    (root / cameras / "pair.txt").write_text("3\n0\n2 1 10.5 2 3.5\n")
    return root


@pytest.mark.parametrize(("rest", "far", "assumed"), [("192 902.5", 902.5, False), ("128 742.5", 742.5, False),
                                                      ("101", 675.0, False), ("", 902.5, True)])
def test_a_scene(tmp_path, rest, far, assumed):
    views = read_posed_scene(write(tmp_path, CAMERA.format(rest=rest)))
    assert views.names == ("00000000", "00000001", "00000002") and views.convention == "opencv_w2c"
    assert np.abs(views.world_to_cam - POSE).max() == 0 and views.near_far.tolist() == [[425, far]] * 3
    assert views.K[1].tolist() == [[361.54125, 0, 82.900625], [0, 360.3975, 66.383875], [0, 0, 1]]
    assert bool(views.notes) == assumed and views.load(["00000001"]).images.shape == (1, 3, 128, 160)


@pytest.mark.parametrize("text", [WHU, WHU_HEADED], ids=["plain", "with headings"])
def test_whu_as_first_published(tmp_path, text):
    views = read_posed_scene(write(tmp_path, text, "Images", "Cams", "{:03d}.txt"), images=None)
    assert not len(views.skipped) and views.convention == "opengl_c2w" and views.name.startswith("MVSNet")
    assert np.abs(views.world_to_cam - POSE).max() < 1e-12 and views.near_far.tolist() == [[425, 902.5]] * 3
    assert views.K[0].tolist() == [[361.5, 0, 82.9], [0, 361.5, 66.4], [0, 0, 1]]


def test_depths_of_the_other_kind_are_sent_here(tmp_path):
    """LEVIR-NVS's layout with an interval in it: refused with the mend, and read when forced."""
    text = CAMERA.format(rest="")
    write(tmp_path, text, "Images", "Cams", "{:08d}.txt")
    with pytest.raises(InputError, match=r"00000000.txt, line 12: the depths are 425.0 and 2.5.*format='mvsnet'"):
        read_posed_scene(tmp_path)
    assert read_posed_scene(tmp_path, format="mvsnet").near_far[0].tolist() == [425, 902.5]
    (tmp_path / "Cams" / "00000000.txt").write_text(CAMERA.format(rest="192 902.5"))
    with pytest.raises(InputError, match=r"line 12: the line of depths has 4 numbers.*format='mvsnet'"):
        read_camera(tmp_path / "Cams" / "00000000.txt")


@pytest.mark.parametrize(("old", "new", "line", "message"), [
    ("1.0 0.0 0.0 -1.0", "1.0 0.0 0.0", 4, "a row of the extrinsic has 3 numbers"),
    ("0.0 -1.0 0.0 2.0", "0.0 1.0 0.0 2.0", 2, "the extrinsic mirrors"),
    ("0.0 -1.0 0.0 2.0", "0.0 -7.0 0.0 2.0", 2, "is no rotation"),
    ("0.0 0.0 0.0 1.0\n", "0.0 0.0 1.0 1.0\n", 5, "last row of the extrinsic"),
    ("361.54125", "-361.54125", 8, "no pinhole matrix"),
    ("361.54125", "wide", 8, "no number"),
    ("361.54125", "nan", 8, "not finite"),
    ("425.0 2.5", "425.0 -2.5", 12, "give the range"),
    ("425.0 2.5", "0 2.5", 12, "give the range"),
    ("425.0 2.5 ", "1 2 3 4 5 ", 12, "has 7 numbers"),
])
def test_damaged_files(tmp_path, old, new, line, message):
    path = tmp_path / "00000000_cam.txt"
    text = CAMERA.format(rest="192 902.5")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as error:
        read_mvsnet_camera(path)
    assert error.value.line == line and error.value.where == path and error.value.mend


def test_cut_short_mixed_and_missing(tmp_path):
    write(tmp_path)
    whole = CAMERA.format(rest="")
    for keep in (3, 7, 8):
        (tmp_path / "cams" / "00000001_cam.txt").write_text("\n".join(whole.split("\n")[:keep]))
        with pytest.raises(InputError, match=r"00000001_cam.txt.*(rows, expected|pinhole)"):
            read_mvsnet(tmp_path)
    (tmp_path / "cams" / "00000001_cam.txt").write_text(WHU)
    with pytest.raises(InputError, match="some camera files are MVSNet's"):
        read_mvsnet(tmp_path)
    (tmp_path / "cams" / "00000001_cam.txt").write_text(whole.rsplit("\n", 2)[0])  # no depths at all
    (tmp_path / "blended_images" / "00000002.jpg").unlink()
    views = read_mvsnet(tmp_path)
    assert "00000002" in views.skipped and np.isnan(views.near_far[1]).all()
    with pytest.raises(InputError, match="no such folder of pictures"):
        read_mvsnet(tmp_path, images="elsewhere")
    with pytest.raises(InputError, match="no camera files"):
        read_mvsnet(tmp_path / "cams")
