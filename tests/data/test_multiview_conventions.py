"""Pose conventions by hand-calculated matrices, and real scenes written in a wrong one on purpose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rsnb.data.multiview import pose_check
from rsnb.data.multiview.conventions import CONVENTIONS, describe, file_matrices, poses_of, reinterpret
from rsnb.data.multiview.dispatch import _in_convention, read_posed_scene
from rsnb.data.multiview.feature_matches import PairMatches, agreement, match_views
from rsnb.data.multiview.pose_check import check_poses
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.geometry.poses import look_at
from rsnb.scenes import Georeference

SCENES = ("sceaux_castle", "fox", "odm_drone", "vesta_astrovision")
# A camera at (1, 2, 3) that looks along the world's +x with the world's z up: right is -y, down is -z.
LOOKING_EAST = np.array([[0.0, -1, 0, 2], [0, 0, -1, 3], [1, 0, 0, -1], [0, 0, 0, 1]])
# The same camera as each kind of file holds it: the columns of camera to world are its axes, then its place.
C2W = {"opencv_c2w": ([0, -1, 0], [0, 0, -1], [1, 0, 0]), "opengl_c2w": ([0, -1, 0], [0, 0, 1], [-1, 0, 0]),
       "zup_c2w": ([0, -1, 0], [1, 0, 0], [0, 0, 1]), "drb_c2w": ([0, 0, -1], [0, -1, 0], [-1, 0, 0]),
       "frd_c2w": ([1, 0, 0], [0, -1, 0], [0, 0, -1])}


@pytest.mark.parametrize("convention", C2W)
def test_axes_by_hand(convention):
    written = np.eye(4)
    written[:3] = np.c_[np.array(C2W[convention], float).T, [1, 2, 3]]
    assert np.abs(poses_of(written, convention) - LOOKING_EAST).max() < 1e-12
    inverse = convention.replace("c2w", "w2c")
    assert np.abs(poses_of(np.linalg.inv(written), inverse) - LOOKING_EAST).max() < 1e-12
    swapped = written.copy()
    swapped[:3, :3] = written[:3, :3].T
    assert np.abs(poses_of(swapped, f"{convention}_transposed") - LOOKING_EAST).max() < 1e-12


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_there_and_back(convention):
    rng = np.random.default_rng(4)
    turns = np.linalg.qr(rng.normal(size=(5, 3, 3)))[0]
    turns *= np.linalg.det(turns)[:, None, None]
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = turns, rng.normal(size=(5, 3)) * 10
    files = file_matrices(poses, convention)
    assert np.abs(poses_of(files, convention) - poses).max() < 1e-12 and describe(convention)
    others = [name for name in CONVENTIONS if name != convention]
    assert all(np.abs(poses_of(files, other) - poses).max() > 0.1 for other in others)


def test_a_quaternion_with_its_real_part_last_by_hand():
    # a quarter turn about z is w x y z = (1, 0, 0, 1) / sqrt 2; written real part last it reads (0, 0, 1, 1) / sqrt 2,
    # which as w x y z is half a turn about the axis between y and z
    misread = np.diag([-1.0, 0, 0, 1])
    misread[1, 2] = misread[2, 1] = 1
    meant = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert np.abs(poses_of(misread, "opencv_w2c_xyzw") - meant).max() < 1e-12


def test_points_too_far_away_for_a_side_count_but_are_not_placed():
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, :3, 3] = [-1, 0, 0]
    rays = (np.array([[0.1, 0.2], [0.1, 0.2]]), np.array([[0.101, 0.2], [0.3, 0.2]]))  # 0.5 and 100 pixels behind
    good, points = agreement(PairMatches(0, 1, rays, 500.0), poses)
    assert good.tolist() == [True, False] and np.isnan(points).all()


def test_agreement_of_points_in_front_behind_and_beside_the_line():
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, :3, 3] = [-1, 0, 0]  # the second camera stands at x = 1
    world = np.array([[0.5, 0.2, 4], [0.1, -0.3, 8], [0.5, 0.2, 4], [0, 0, -4]], float)
    rays = [world[:, :2] / world[:, 2:], (world[:, :2] - [1, 0]) / world[:, 2:]]
    rays[1][2, 1] += 10 / 500  # ten pixels off its line
    good, points = agreement(PairMatches(0, 1, tuple(rays), 500.0), poses)
    assert good.tolist() == [True, True, False, False]
    assert np.abs(points[:2] - world[:2]).max() < 1e-9 and np.isnan(points[2:]).all()
    same = np.tile(np.eye(4), (2, 1, 1))
    assert not agreement(PairMatches(0, 1, tuple(rays), 500.0), same)[0].any()


@pytest.mark.parametrize("name", SCENES)
def test_real_scenes_pass_and_wrong_conventions_are_recognised(real, monkeypatch, name):
    views = read_posed_scene(real(f"nb3_multiview/{name}"))
    matches = match_views(views, 4)  # found by pixels alone: once is enough for all poses
    monkeypatch.setattr(pose_check, "match_views", lambda views, pairs: matches)
    right = check_poses(views)
    assert right.ok and right.suggestion is None and right.evidence == "pictures", right.text()
    assert right.scores[views.convention] > 0.9 and len(right.points) > 100
    for written in (*CONVENTIONS[:4], "zup_c2w", "drb_c2w", f"{views.convention}_transposed", "opencv_w2c_xyzw"):
        if written == views.convention:
            continue
        wrong = replace(views, world_to_cam=poses_of(file_matrices(views.world_to_cam, written), views.convention))
        report = check_poses(wrong)
        assert report.suggestion == written and not report.ok, report.text()
        mended = reinterpret(wrong, report.suggestion)
        assert np.abs(mended.world_to_cam - views.world_to_cam).max() < 1e-4  # rotations of six digits
        assert any(written in note for note in mended.notes)


@pytest.mark.parametrize("name", ["sceaux_castle", "vesta_astrovision"])
def test_sparse_points_tell_the_usual_conventions_where_pictures_cannot(real, name):
    views = read_posed_scene(real(f"nb3_multiview/{name}"))
    right = check_poses(views, pairs=0)
    assert right.evidence == "points" and right.ok and right.suggestion is None
    for written in ("opengl_c2w", "opencv_c2w", "opengl_w2c"):
        wrong = replace(views, world_to_cam=poses_of(file_matrices(views.world_to_cam, written), "opencv_w2c"))
        report = check_poses(wrong, pairs=0)
        assert report.suggestion == written and not report.ok and "sparse points" in report.text()
        # only poses by which no picture shows a point are certainly wrong
        assert report.certain == (report.scores["opencv_w2c"] < 1e-3) and (report.certain or written == "opencv_c2w")


@pytest.fixture
def slanting():
    """A block of 4 x 4 aerial pictures without files that look ahead over its edge: (right views, many points)."""
    places = np.stack(np.meshgrid(*[np.arange(-40.0, 40, 20)] * 2), axis=-1).reshape(-1, 2)
    poses = look_at(np.c_[places, np.full(16, 100.0)], np.c_[places + [0, 70], np.zeros(16)])
    points = np.random.default_rng(0).uniform([-40, -40, 0], [40, 40, 15], size=(2000, 3))
    K = np.tile([[800.0, 0, 400], [0, 800, 300], [0, 0, 1]], (16, 1, 1))
    names = tuple("abcdefghijklmnop")
    return PosedViews("block", names, tuple(Path(f"{name}.png") for name in names), K, poses,
                      np.tile([800, 600], (16, 1)), points=points)


def test_points_alone_never_turn_a_right_scene(slanting):
    report = check_poses(slanting)
    # cameras misread lie outside, from where they see the whole block: more points than any right picture shows
    assert report.suggestion == "opencv_c2w" and report.scores["opencv_c2w"] > 2 * report.scores["opencv_w2c"]
    assert not report.certain and "perhaps read it with" in report.text()
    kept = _in_convention(slanting, "detect")
    assert (kept.world_to_cam == slanting.world_to_cam).all() and "by the points alone opencv_c2w" in kept.notes[-1]


def test_depth_ranges_of_points_follow_the_poses(real):
    views = read_posed_scene(real("nb3_multiview/sceaux_castle"))
    wrong = replace(views, world_to_cam=poses_of(file_matrices(views.world_to_cam, "opengl_c2w"), "opencv_w2c"),
                    near_far=None)
    mended = reinterpret(wrong, "opengl_c2w")
    assert np.nanmedian(np.abs(mended.near_far / views.near_far - 1)) < 0.05


def test_the_door_takes_a_convention_or_detects_it(real, tmp_path, monkeypatch):
    monkeypatch.setattr(pose_check, "match_views", lambda views, pairs: match_views(views, 2))  # enough, and quick
    root = real("nb3_multiview/fox")
    values = json.loads((root / "transforms.json").read_text())
    for frame in values["frames"]:  # what a tool writes that forgot to turn the axes
        frame["transform_matrix"] = (np.array(frame["transform_matrix"]) @ np.diag([1.0, -1, -1, 1])).tolist()
    (tmp_path / "transforms.json").write_text(json.dumps(values))
    (tmp_path / "images_4").symlink_to(root / "images_4")
    right = read_posed_scene(root).world_to_cam
    named = read_posed_scene(tmp_path, convention="opencv_c2w")
    found = read_posed_scene(tmp_path, convention="detect")
    assert np.abs(named.world_to_cam - right).max() < 1e-4 and (found.world_to_cam == named.world_to_cam).all()
    assert found.convention == "opencv_c2w" and "not as opengl_c2w" in found.notes[-1]
    assert (read_posed_scene(root, convention="detect").world_to_cam == right).all()
    with pytest.raises(InputError, match="'nerf' is no pose convention.*opencv_w2c"):
        read_posed_scene(root, convention="nerf")


@pytest.fixture
def circle():
    """Eight cameras on a circle that look at the origin from 6 units; there are no pictures of them."""
    angles = np.arange(8) * 0.5
    poses = look_at(np.stack([5 * np.cos(angles), 5 * np.sin(angles), 0 * angles + 3.3], axis=-1), (0.0, 0.0, 0.0))
    K = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
    names = tuple("abcdefgh")
    return PosedViews("circle", names, tuple(Path(f"{name}.png") for name in names), np.tile(K, (8, 1, 1)), poses,
                      np.tile([320, 240], (8, 1)))


def test_cameras_alone_give_a_hint_and_say_so(circle):
    report = check_poses(circle, pairs=0)
    assert report.ok and report.evidence == "cameras" and "the cameras alone" in report.text()
    wrong = replace(circle, world_to_cam=poses_of(file_matrices(circle.world_to_cam, "opengl_c2w"), "opencv_w2c"))
    assert check_poses(wrong, pairs=0).suggestion == "opengl_c2w"


def test_what_else_is_looked_at(circle):
    small = replace(circle, sizes=circle.sizes // 4)
    assert "pictures 4 times as large" in _bad(small, "intrinsics")
    wide = replace(circle, K=circle.K * [[1, 1, 0.25], [1, 1, 1], [1, 1, 1]])
    assert check_poses(wide, pairs=0).ok  # a crop at one side is no other size
    lying = replace(circle, sizes=np.tile([240, 320], (8, 1)))
    assert "turned by 90 degrees" in _bad(lying, "intrinsics")
    one = circle.subset([circle.names[0]])
    assert "one view only" in _bad(one, "baseline")
    still = replace(circle, world_to_cam=np.tile(circle.world_to_cam[:1], (8, 1, 1)),
                    near_far=np.tile([5.0, 9.0], (8, 1)))
    assert "stand at one place" in _bad(still, "baseline")
    mirrored = circle.world_to_cam.copy()
    mirrored[3, 0] *= -1
    assert "determinant -1.000" in _bad(replace(circle, world_to_cam=mirrored), "rotations")
    points = np.random.default_rng(0).normal(size=(200, 3)) * 0.5
    interval = replace(circle, points=points, near_far=np.tile([4.0, 4.5], (8, 1)))
    assert "mvsnet" in _bad(interval, "depth range")


def test_up_where_the_world_has_one(circle, real):
    placed = replace(circle, georeference=Georeference("EPSG:32651", (0.0, 0.0, 0.0)))
    assert "100% of the cameras" in check_poses(placed, pairs=0).text() and check_poses(placed, pairs=0).ok
    assert not any(f.name == "up" for f in check_poses(circle, pairs=0).findings)
    # the world turned over: cameras hang below the ground and look up at it
    fallen = replace(placed, world_to_cam=placed.world_to_cam @ np.diag([1.0, -1, -1, 1]))
    assert "0% of the cameras" in _bad(fallen, "up")
    assert "ok up: 100%" in check_poses(read_posed_scene(real("nb3_multiview/odm_drone")), pairs=0).text()


def test_mirrored_rotations_are_told_whatever_the_evidence(circle):
    mirrored = circle.world_to_cam.copy()
    mirrored[:, 0] *= -1
    points = np.random.default_rng(0).normal(size=(200, 3)) * 0.5
    report = check_poses(replace(circle, world_to_cam=mirrored, points=points), pairs=0)
    assert not report.ok and report.suggestion is None and list(report.scores) == ["opencv_w2c"]


def _bad(views, name):
    found = [f for f in check_poses(views, pairs=0).findings if f.name == name and f.ok is False]
    assert found, check_poses(views, pairs=0).text()
    return found[0].text
