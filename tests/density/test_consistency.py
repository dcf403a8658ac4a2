"""Flicker, reprojection and style invariance of scenes that are known, and what was spoilt on purpose."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rsnb.density.consistency import flicker, reprojection_scores, style_invariance
from rsnb.density.volume import DensityVolume, TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera, PinholeCamera, world_rays
from rsnb.geometry.poses import pose_from_heading

PANORAMA = PanoramaCamera(96, 48)
PINHOLE = PinholeCamera(torch.tensor([[50.0, 0, 30], [0, 60, 22], [0, 0, 1]], dtype=torch.float64), 64, 40)


def room(position, heading=0.0, camera=PANORAMA, pitch=0.0):
    """Pose, depth [H, W] and smooth colours [3, H, W] of a floor z = 0 and a wall y = 6, each coloured by its place."""
    pose = torch.as_tensor(pose_from_heading(np.asarray(position, np.float64), heading, pitch))
    origins, rays = world_rays(camera, pose)
    ground = torch.where(rays[..., 2] < 0, -origins[..., 2] / rays[..., 2], torch.inf)
    wall = torch.where(rays[..., 1] > 0, (6 - origins[..., 1]) / rays[..., 1], torch.inf)
    depth = torch.minimum(ground, wall)
    # a wall of 5 m: above it there is sky
    depth = torch.where(origins[..., 2] + rays[..., 2] * depth > 5, torch.inf, depth)
    points = origins + rays * torch.where(torch.isinf(depth), 0, depth)[..., None]
    colour = 0.5 + 0.4 * torch.sin(points * 0.3)
    return pose, depth, torch.where(torch.isinf(depth), 0.7, colour.movedim(-1, 0))


def path(places, camera=PANORAMA, **options):
    poses, depths, frames = zip(*(room(place, camera=camera, **options) for place in places), strict=True)
    return torch.stack(frames), torch.stack(depths), camera, torch.stack(poses)


@pytest.mark.parametrize("camera", [PANORAMA, PINHOLE], ids=["panorama", "pinhole"])
def test_the_same_place_twice_does_not_flicker(camera):
    found = flicker(*path([(1.0, -2.0, 1.7)] * 3, camera, heading=0.4))
    assert found.beyond_motion == pytest.approx([0, 0], abs=1e-9) and (found.plain == 0).all()
    assert found.counted == pytest.approx([1, 1], abs=0.01) and found.mean == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("camera", [PANORAMA, PINHOLE], ids=["panorama", "pinhole"])
def test_motion_is_explained_and_repainting_is_not(camera):
    frames, depth, camera, poses = path([(x, -2.0, 1.7) for x in (0.0, 0.4, 0.8)], camera)
    steady = flicker(frames, depth, camera, poses)
    assert (steady.beyond_motion < 0.1 * steady.plain).all() and (steady.counted > 0.8).all()
    rng = np.random.default_rng(0)
    tints = torch.as_tensor(rng.choice([-0.1, 0.1], 3))  # every frame under another light
    tints[1] = -tints[0]
    lit = flicker(frames + tints[:, None, None, None], depth, camera, poses)
    assert lit.beyond_motion[0] == pytest.approx(0.2, abs=0.01)
    wrong = flicker(frames, depth * 1.5, camera, poses)  # a geometry that does not hold what is seen
    assert (wrong.beyond_motion > 3 * steady.beyond_motion).all()


def test_a_turn_is_motion_too():
    """Whole columns: 96 columns, a quarter turn. The picture changes everywhere, the surfaces nowhere."""
    (first, depth_a, frame_a), (second, depth_b, frame_b) = (room((0.0, 0.0, 1.7), h) for h in (0.0, math.pi / 2))
    found = flicker(torch.stack([frame_a, frame_b]), torch.stack([depth_a, depth_b]), PANORAMA,
                    torch.stack([first, second]))
    assert found.beyond_motion[0] < 1e-9 < 0.05 < found.plain[0] and found.counted[0] > 0.99


def shares(a, b, camera=PANORAMA):
    scores = reprojection_scores(a[1][None], b[1][None], a[0][None], b[0][None], camera)
    return {name.split("/")[1]: score.pooled for name, score in scores.items()}


@pytest.mark.parametrize("camera", [PANORAMA, PINHOLE], ids=["panorama", "pinhole"])
def test_two_views_of_one_world_agree(camera):
    a, b = room((0.0, -1.0, 1.7), 0.1, camera), room((1.5, 0.5, 1.5), -0.2, camera)
    got = shares(a, b, camera)
    assert got["agree"] > 0.95 and got["conflict"] < 0.04
    assert got["agree"] + got["hidden"] + got["conflict"] == pytest.approx(1)
    assert (got["inside"] == 1) == (camera is PANORAMA)
    assert shares(a, a, camera)["agree"] == 1


def test_views_that_contradict_each_other():
    a, b = room((0.0, -1.0, 1.7)), room((0.0, -1.0, 1.7))
    # from one place: what B has half as far hides A's surface, and A looks through B's
    pose, depth, frame = b
    nearer = (pose, depth / 2, frame)
    got = shares(a, nearer)
    assert got["agree"] == 0 and got["hidden"] == pytest.approx(0.5) and got["conflict"] == pytest.approx(0.5)
    # B sees no wall at all: A's wall is looked through; B has no surface there to be carried back
    gone = (pose, torch.where(depth > 4, torch.inf, depth), frame)
    got = shares(a, gone)
    kept, wall = int((depth <= 4).sum()), int((torch.isfinite(depth) & (depth > 4)).sum())
    assert got["conflict"] == pytest.approx(wall / (2 * kept + wall), abs=0.02)


def test_style_must_not_touch_geometry():
    volume = DensityVolume(torch.rand(1, 4, 6, 6), torch.zeros(1, 3, 6, 6), TileFrame(8.0, 4.0))
    assert style_invariance(volume, replace(volume, tile=torch.ones(1, 3, 6, 6))) == 0
    other = volume.sigma.clone()
    other[0, 3, 2, 1] += 0.25
    assert style_invariance(volume, replace(volume, sigma=other)) == pytest.approx(0.25)
    with pytest.raises(InputError, match="one tile"):
        style_invariance(volume, replace(volume, frame=TileFrame(8.0, 5.0)))
    other[0, 0, 0, 0] = math.nan
    with pytest.raises(InputError, match="not finite"):
        style_invariance(volume, replace(volume, sigma=other))


def test_what_does_not_fit_is_said():
    frames, depth, camera, poses = path([(0.0, 0.0, 1.7), (0.1, 0.0, 1.7)])
    with pytest.raises(InputError, match="T of at least 2"):
        flicker(frames[:1], depth[:1], camera, poses[:1])
    with pytest.raises(InputError, match="not finite"):
        flicker(frames * math.nan, depth, camera, poses)
    far = path([(0.0, 0.0, 1.7), (0.0, -300.0, 200.0)], PINHOLE)
    apart = flicker(far[0], torch.where(torch.isinf(far[1]), 3.0, far[1]), *far[2:])
    assert apart.counted.tolist() == [0.0] and apart.mean is None
    with pytest.raises(InputError, match=r"\[N, H, W\]"):
        reprojection_scores(depth, depth[:1], poses, poses, camera)
