"""Depth ranges from sparse points, by hand; nerfstudio's points beside its transforms.json."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rsnb.data.multiview.depth_ranges import with_depth_ranges
from rsnb.data.multiview.dispatch import read_posed_scene
from rsnb.data.multiview.pose_check import check_poses
from rsnb.errors import InputError


@pytest.fixture
def root(tmp_path):
    """Two cameras at x = 0 and 1 that look down -z (OpenGL), and points at depths 1 to 101, two of them elsewhere."""
    frames = []
    for i in range(2):
        Image.new("RGB", (64, 48)).save(tmp_path / f"{i}.png")
        pose = np.eye(4)
        pose[0, 3] = i
        frames.append({"file_path": f"{i}.png", "transform_matrix": pose.tolist()})
    (tmp_path / "transforms.json").write_text(
        json.dumps({"fl_x": 60, "w": 64, "h": 48, "ply_file_path": "sparse.ply", "frames": frames}))
    points = [(0.25, 0.0, -float(z)) for z in range(1, 102)] + [(0.0, 0.0, 5.0), (500.0, 0.0, -7.0)]
    text = "ply\nformat ascii 1.0\nelement vertex 103\n" + "".join(f"property float {a}\n" for a in "xyz")
    text += "".join(f"property uchar {c}\n" for c in ("red", "green", "blue")) + "end_header\n"
    (tmp_path / "sparse.ply").write_text(text + "".join(f"{x} {y} {z} 10 20 30\n" for x, y, z in points))
    return tmp_path


def test_points_of_nerfstudio_give_the_range(root):
    views = read_posed_scene(root)
    assert views.points.shape == (103, 3) and views.points_rgb[5].tolist() == [10, 20, 30]
    # the first camera sees depths 1 to 101; the second has the one at depth 1 at 32 - 45 pixels, outside
    assert views.near_far[0].tolist() == pytest.approx([2, 100]) and views.near_far[1].tolist() == pytest.approx(
        [2 + 0.99, 101 - 0.99])
    assert "sparse points" in views.notes[-1]
    assert with_depth_ranges(views, np.zeros((50, 3))) is views  # stated or made ranges stay
    blind = with_depth_ranges(replace(views, near_far=None), views.points + [0, 900.0, 0])
    assert blind.near_far is None
    (root / "sparse.ply").unlink()
    assert read_posed_scene(root).points is None and read_posed_scene(root).near_far is None
    (root / "sparse.ply").write_text("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n")
    with pytest.raises(InputError, match="sparse.ply: its vertices have no x, y and z"):
        read_posed_scene(root)


def test_points_made_from_the_pictures_agree_with_the_solved_ones(real):
    views = read_posed_scene(real("nb3_multiview/sceaux_castle"))
    made = with_depth_ranges(replace(views, near_far=None), check_poses(views, pairs=4).points)
    assert "triangulated" in made.notes[-1]
    assert np.nanmedian(np.abs(made.near_far / views.near_far - 1)) < 0.05
