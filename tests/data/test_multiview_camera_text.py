"""Camera files of LEVIR-NVS and WHU MVS: every published spelling, and each way they can be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from rsnb.data.multiview.camera_text import TextCamera, read_camera, write_camera
from rsnb.errors import InputError

# R turns 90 degrees about z and then tips the view down: rows are orthonormal by eye.
ROWS = (("0.0", "1.0", "0.0", "-12.5"), ("0.8", "0.0", "-0.6", "3.25"), ("-0.6", "0.0", "-0.8", "95.0"),
        ("0.0", "0.0", "0.0", "1.0"))
K_ROWS = (("870.5", "0.25", "255.5"), ("0.0", "868.0", "250.0"), ("0.0", "0.0", "1.0"))
DEPTHS = ("95.0", "135.5")


def text_of(separator=",", rows=ROWS, k_rows=K_ROWS, depths=DEPTHS, end="", line_end="\n"):
    lines = ["extrinsic", *(separator.join(r) + end for r in rows), "", "intrinsic",
             *(separator.join(r) + end for r in k_rows), ""]
    return line_end.join([*lines, separator.join(depths) + end] if depths else lines[:-1])


@pytest.mark.parametrize("separator", [",", ", ", " ", "\t", " ,  "])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", ",", "  "])
def test_every_spelling_reads_the_same(tmp_path, separator, line_end, end):
    path = tmp_path / "000.txt"
    path.write_bytes(b"\xef\xbb\xbf" * (end == "") + text_of(separator, end=end, line_end=line_end).encode())
    camera = read_camera(path)
    assert camera.world_to_cam.tolist() == [[0, 1, 0, -12.5], [0.8, 0, -0.6, 3.25], [-0.6, 0, -0.8, 95], [0, 0, 0, 1]]
    # the file counts pixel centres at integers, we at +0.5: the middle of 512 pixels is 255.5 there and 256 here
    assert camera.K.tolist() == [[870.5, 0.25, 256.0], [0, 868.0, 250.5], [0, 0, 1]]
    assert camera.near_far == (95.0, 135.5)


def test_cameras_of_a_track_may_lack_depths(tmp_path):
    path = tmp_path / "001.txt"
    path.write_text(text_of(depths=None))
    assert read_camera(path, need_depth=False).near_far is None
    with pytest.raises(InputError, match=r"001.txt: the line of depths is missing"):
        read_camera(path)
    path.write_text(text_of(depths=("0", "0")))  # there, but nobody's: no reason to refuse a pose
    assert read_camera(path, need_depth=False).world_to_cam[2, 3] == 95


def swap(rows, row, column, value):
    changed = [list(r) for r in rows]
    changed[row][column] = value
    return changed


BAD = {
    "15 numbers": (dict(rows=(ROWS[0], ROWS[1][:3], *ROWS[2:])), r"line 3: row 2 of the extrinsic has 3 numbers"),
    "17 numbers": (dict(rows=((*ROWS[0], "1"), *ROWS[1:])), r"line 2: row 1 of the extrinsic has 5 numbers"),
    "3 rows": (dict(rows=ROWS[:3]), r"line 6: the extrinsic has 12 numbers, expected 16"),
    "5 rows": (dict(rows=(*ROWS, ROWS[3])), r"line 6: this line is .*expected the heading intrinsic"),
    "a word": (dict(rows=swap(ROWS, 1, 2, "O.6")), r"line 3: .*'O.6', which is no finite number"),
    "nan": (dict(rows=swap(ROWS, 2, 3, "nan")), r"line 4: .*'nan'"),
    "infinite K": (dict(k_rows=swap(K_ROWS, 0, 0, "inf")), r"line 8: .*'inf'"),
    "mirrored": (dict(rows=(("0.0", "-1.0", "0.0", "0.0"), *ROWS[1:])), r"line 2: the extrinsic mirrors \(.* -1.000"),
    "scaled": (dict(rows=swap(swap(ROWS, 0, 1, "2.0"), 1, 0, "1.6")), r"line 2: the extrinsic is no rotation"),
    "last row": (dict(rows=swap(ROWS, 3, 0, "0.5")), r"line 5: the last row of the extrinsic"),
    "transposed": (dict(rows=np.array(ROWS).T.tolist()), r"line 5: .*looks transposed"),
    "no focal length": (dict(k_rows=swap(K_ROWS, 1, 1, "0.0")), r"line 8: the intrinsic .*no pinhole"),
    "K cut": (dict(k_rows=K_ROWS[:2]), r"the intrinsic has 6 numbers|the intrinsic has"),
    "depths turned": (dict(depths=("135", "95")), r"line 12: the depths are 135.0 and 95.0"),
    "depth behind": (dict(depths=("-5", "95")), r"line 12: the depths are -5.0"),
    "one depth": (dict(depths=("95",)), r"line 12: the line of depths has 1 numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_name_file_line_and_what(tmp_path, case):
    change, message = BAD[case]
    path = tmp_path / "007.txt"
    path.write_text(text_of(**change))
    with pytest.raises(InputError, match=message) as raised:
        read_camera(path)
    assert raised.value.where == path and raised.value.mend


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(InputError, match="no such camera file"):
        read_camera(tmp_path / "none.txt")
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="no text file"):
        read_camera(tmp_path / "x.txt")
    (tmp_path / "y.txt").write_text("0.0,1.0,0.0,1.0\n")
    with pytest.raises(InputError, match="expected the heading extrinsic"):
        read_camera(tmp_path / "y.txt")
    (tmp_path / "z.txt").write_text("")
    with pytest.raises(InputError, match="ends before its extrinsic"):
        read_camera(tmp_path / "z.txt")


@pytest.mark.parametrize("separator", [",", " "])
def test_written_file_has_the_published_lines(tmp_path, separator):
    """Read back as the original does: lines by number, rows joined with the separator."""
    path = tmp_path / "000.txt"
    rng = np.random.default_rng(3)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn * np.linalg.det(turn), rng.standard_normal(3) * 1e4
    write_camera(path, TextCamera(pose, np.array([[870.1, 0, 256], [0, 870.2, 255.75], [0, 0, 1.0]]), (70.5, 99.0)),
                 separator)
    lines = path.read_text().splitlines()
    assert (lines[0], lines[5], lines[6], lines[10], len(lines)) == ("extrinsic", "", "intrinsic", "", 12)
    numbers = [float(cell) for line in lines[1:5] for cell in line.split(separator)]
    assert (np.reshape(numbers, (4, 4)) == pose).all()
    rows = [[float(c) for c in line.split(separator)] for line in lines[7:10]]
    assert rows == [[870.1, 0, 255.5], [0, 870.2, 255.25], [0, 0, 1]]
    assert [float(c) for c in lines[11].split(separator)] == [70.5, 99.0]
