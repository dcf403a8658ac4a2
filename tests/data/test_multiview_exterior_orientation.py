"""Tables of x, y, z, omega, phi, kappa: by hand, and a real flight against the OpenSfM poses of the same pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rsnb.data.multiview.dispatch import read_posed_scene
from rsnb.data.multiview.exterior_orientation import read_exterior_orientation, rotation_of_angles
from rsnb.data.multiview.opensfm import read_opensfm
from rsnb.data.multiview.pose_check import check_poses
from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre

HEAD = "name,x,y,z,omega,phi,kappa,fx,fy,cx,cy\n"


def write(root, text, names=("a.png", "b.png"), file="eo.csv"):
    for name in names:
        Image.new("RGB", (64, 48)).save(root / name)
    (root / file).write_text(text)
    return root


def test_angles_by_hand():
    # each angle turns by 90 degrees about its axis: x stays and y goes to z; y stays and z goes to x; x goes to y
    quarter = np.pi / 2
    assert np.abs(rotation_of_angles(quarter, 0, 0) - [[1, 0, 0], [0, 0, -1], [0, 1, 0]]).max() < 1e-15
    assert np.abs(rotation_of_angles(0, quarter, 0) - [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]).max() < 1e-15
    assert np.abs(rotation_of_angles(0, 0, quarter) - [[0, -1, 0], [1, 0, 0], [0, 0, 1]]).max() < 1e-15
    # kappa is done first: a camera turned by kappa and then tilted by omega
    assert np.abs(rotation_of_angles(quarter, 0, quarter) @ [1, 0, 0] - [0, 0, 1]).max() < 1e-15


def test_a_nadir_camera_and_an_oblique_one(tmp_path):
    root = write(tmp_path, HEAD + "a.png,1000.5,2000,100,0,0,0,50,60,31,25\nb.png,1003.5,2004,100,30,0,0,50,60,31,25\n")
    views = read_posed_scene(root)
    assert views.names == ("a", "b") and views.georeference.origin == (1002.0, 2002.0, 0.0)
    assert np.abs(camera_centre(views.world_to_cam) - [[-1.5, -2, 100], [1.5, 2, 100]]).max() < 1e-12
    assert views.K[0].tolist() == [[50, 0, 31], [0, 60, 25], [0, 0, 1]]
    # straight down, north at the top: what lies east is right in the picture, what lies north above the middle
    assert np.abs(views.world_to_cam[0, :3, :3] - np.diag([1, -1, -1])).max() < 1e-12
    # omega of 30 degrees lifts the line of sight from straight down towards north
    assert np.abs(views.world_to_cam[1, 2, :3] - [0, 0.5, -np.sqrt(0.75)]).max() < 1e-12


@pytest.mark.parametrize("text", [
    "Omega;Phi;Kappa;Filename;Easting;Northing;Height\n1;2;3;a.png;10;20;30\n\n1;2;3;b.png;11;20;30\n",
    "#label\tX [m]\tY [m]\tZ [m]\tomega (deg)\tphi (deg)\tkappa (deg)\na.png\t10\t20\t30\t1\t2\t3\n"
    "b.png\t11\t20\t30\t1\t2\t3\n",
    "imageName X Y Z Omega Phi Kappa\na.png 10 20 30 1 2 3\nb.png   11  20 30 1 2 3\n"])
def test_other_heads_and_separators(tmp_path, text):
    (tmp_path / "cameras.json").write_text(
        '{"v2 cam": {"projection_type": "brown", "width": 64, "height": 48, "focal_x": 0.75, "focal_y": 0.75, '
        '"c_x": 0, "c_y": 0, "k1": -0.1}}')
    views = read_exterior_orientation(write(tmp_path, text) / "eo.csv")
    assert camera_centre(views.world_to_cam)[:, 0].tolist() == pytest.approx([0, 1])
    assert np.abs(views.world_to_cam[0, :3, :3].T @ np.diag([1, -1, -1])
                  - rotation_of_angles(*np.radians([1, 2, 3]))).max() < 1e-12
    assert views.K[0, 0, 0] == 48 and views.distortion[0].coefficients[0] == -0.1


def test_a_real_flight(real):
    root = real("nb3_multiview/odm_drone")
    table, solved = read_posed_scene(root / "odm_xyz_opk.csv"), read_opensfm(root)
    rows = [solved.names.index(name) for name in table.names]
    assert sorted(rows) == [0, 1, 2, 3] and (table.K == solved.K[rows]).all()
    assert table.distortion == tuple(solved.distortion[i] for i in rows)
    assert np.abs(table.world_to_cam[:, :3, :3] - solved.world_to_cam[rows][:, :3, :3]).max() < 2e-5  # 0.001 degrees
    there = camera_centre(table.world_to_cam) + table.georeference.origin
    assert np.abs(there - camera_centre(solved.world_to_cam)[rows] - solved.georeference.origin).max() < 2e-3
    report = check_poses(table)
    assert report.ok and report.scores["opengl_c2w"] > 0.85, report.text()
    assert any("opensfm and exterior_orientation; opensfm was read" in note for note in read_posed_scene(root).notes)


def test_focal_length_from_the_cameras_name(tmp_path):
    text = "filename x y z omega phi kappa camera\na.png 1 2 3 0 0 0 'dji 64 48 brown 0.75'\n"
    views = read_exterior_orientation(write(tmp_path, text.replace("filename", "'filename'")) / "eo.csv")
    assert views.K[0].tolist() == [[48, 0, 32], [0, 48, 24], [0, 0, 1]] and "without a lens" in views.notes[0]


@pytest.mark.parametrize(("text", "line", "message"), [
    (HEAD.replace("kappa,", ""), 1, "there is no column kappa"),
    (HEAD + "a.png,1,2,3,0,0\n", 2, "the row has 6 columns, its head 11"),
    (HEAD + "a.png,1,2,high,0,0,0,9,9,1,1\n", 2, "z is 'high'"),
    (HEAD + "a.png,1,2,nan,0,0,0,9,9,1,1\n", 2, "z is 'nan'"),
    (HEAD + "a.png,1,2,3,0,0,399.5,9,9,1,1\n", 2, "kappa is 399.5, more than a full turn.*grads"),
    (HEAD + "a.png,1,2,3,0,0,0,-9,9,1,1\n", 2, "the focal lengths are -9"),
    ("name,x,y,z,omega,phi,kappa\na.png,1,2,3,0,0,0\n", 2, "nothing says the focal length of a.png"),
    ("", None, "the table is empty"),
    (HEAD + "c.png,1,2,3,0,0,0,9,9,1,1\n", None, "there is no view.*1 were listed without a picture"),
])
def test_damaged_tables(tmp_path, text, line, message):
    with pytest.raises(InputError, match=message) as error:
        read_exterior_orientation(write(tmp_path, text) / "eo.csv")
    assert error.value.line == line and error.value.mend
