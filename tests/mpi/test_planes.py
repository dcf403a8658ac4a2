"""Planes against point projection: where a point of a plane is seen, and how far rays run between planes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from rsnb.errors import InputError
from rsnb.geometry import warp_pixels
from rsnb.mpi import MpiCamera, plane_depths, plane_distances, plane_homographies, plane_sweep
from rsnb.mpi.planes import planes_in_frame, share_in_frame, texel_ranges

sys.path.insert(0, str(Path(__file__).parent))
from render_scenes import K_REF, K_TARGET, TARGET_SIZE, camera, depths, pose


def points_on_planes(generator_seed=3, count=200):
    """Points of every plane that lie in the reference picture, with their pixels in both pictures and target depths."""
    generator = torch.Generator().manual_seed(generator_seed)
    pixels = torch.rand(6, count, 2, generator=generator, dtype=torch.float64) * torch.tensor([64.0, 48.0]).double()
    rays = torch.cat([pixels, torch.ones(6, count, 1)], dim=-1) @ torch.linalg.inv(K_REF).T
    points = rays * depths()[:, None, None]
    motion = pose()
    moved = points @ motion[:3, :3].T + motion[:3, 3]
    seen = moved @ K_TARGET.T
    return pixels, seen[..., :2] / seen[..., 2:], moved


def test_depths_are_uniform_in_inverse_depth():
    z = plane_depths(2.0, 10.0, 5)  # 1/z: 0.5 0.4 0.3 0.2 0.1
    assert torch.allclose(z, torch.tensor([2.0, 2.5, 10 / 3, 5.0, 10.0], dtype=torch.float64))


@pytest.mark.parametrize(("near", "far", "count", "what"), [
    (0.0, 5.0, 8, "range"), (-1.0, 5.0, 8, "range"), (5.0, 2.0, 8, "range"), (5.0, 5.0, 8, "range"),
    (float("nan"), 5.0, 8, "range"), (1.0, 5.0, 1, "planes"), (1.0, 5.0, 2.5, "planes")])
def test_ranges_that_hold_no_planes_are_refused(near, far, count, what):
    with pytest.raises(InputError, match=what):
        plane_depths(near, far, count)


def test_homographies_agree_with_point_projection():
    reference, target, moved = points_on_planes()
    matrices = plane_homographies(K_REF, K_TARGET, pose(), depths())
    assert (warp_pixels(matrices[:, None], target) - reference).abs().max() < 1e-9
    third = (matrices[:, None] @ torch.cat([target, torch.ones(6, 200, 1)], dim=-1)[..., None])[..., 2, 0]
    assert torch.allclose(third, depths()[:, None] / moved[..., 2], atol=1e-12)


def test_sweep_agrees_with_homographies_in_every_pixel():
    sweep, height, width = plane_sweep(camera(), depths()), *TARGET_SIZE
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    wanted = warp_pixels(plane_homographies(K_REF, K_TARGET, pose(), depths())[:, None, None],
                         torch.stack([x, y], dim=-1).double())
    texels = sweep.scale[:, None, None, None] * sweep.q.movedim(0, -1) + sweep.offset[:, None, None]
    assert (texels - wanted).abs().max() < 1e-9


def test_distances_agree_with_sampled_points():
    """Points where rays meet planes, by solving for them: their depths, and the ways between neighbours."""
    distance, delta = plane_distances(camera(), depths())
    motion, height, width = pose(), *TARGET_SIZE
    points = []
    for z in depths():  # n . X = z in the reference frame is (R n) . X' = z + (R n) . t in the target's
        normal = motion[:3, :3] @ torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        ray = torch.stack([x, y, torch.ones_like(x)], dim=-1).double() @ torch.linalg.inv(K_TARGET).T
        points.append(ray * ((z + normal @ motion[:3, 3]) / (ray @ normal))[..., None])
    points = torch.stack(points)
    assert (distance - points[..., 2]).abs().max() < 1e-11
    assert (delta[:-1] - (points[1:] - points[:-1]).norm(dim=-1)).abs().max() < 1e-11
    assert torch.equal(delta[-1], delta[-2])  # the last gap repeats the one before


def test_a_stated_last_gap_is_measured_along_the_reference_axis():
    _, delta = plane_distances(camera(ref_to_target=pose((0, 0, 30), (0, 0, 0))), depths(), last_gap=1000.0)
    x, y = (3.5 - 27.0 + 0.4 * (7.5 - 21.0) / 97.0) / 80.0, (7.5 - 21.0) / 97.0  # pixel (3, 7), skew -0.4
    assert delta[-1, 7, 3] == pytest.approx(1000 * (x * x + y * y + 1) ** 0.5)


def test_planes_behind_the_camera_have_no_positive_scale():
    forward = camera(ref_to_target=pose((0, 0, 0), (0.0, 0.0, -5.0)))  # the camera stands at z = 5
    sweep = plane_sweep(forward, depths())
    assert torch.equal(sweep.scale > 0, depths() > 5.0)


def test_rays_that_turn_away_meet_nothing():
    sideways = camera(ref_to_target=pose((0, 88, 0), (0.0, 0.0, 0.0)))
    sweep = plane_sweep(sideways, depths())
    away = sweep.reach == 0
    assert 0 < away.float().mean() < 1
    assert (sweep.slant[away] == 0).all() and (sweep.q[:, away] < -1e5).all()
    assert torch.isfinite(torch.cat([sweep.q, sweep.slant[None]])).all()


def test_share_in_frame_counts_the_planes_whose_texel_is_inside():
    sweep, (height, width) = plane_sweep(camera(), depths()), (48, 64)
    texels = sweep.scale[:, None, None, None] * sweep.q.movedim(0, -1) + sweep.offset[:, None, None]
    inside = ((texels >= 0) & (texels <= torch.tensor([width, height]))).all(dim=-1).float().mean(dim=0)
    assert torch.equal(share_in_frame(sweep, (height, width)), inside)
    assert len(inside.unique()) > 3


@pytest.mark.parametrize(("angles", "shift"), [
    ((5, -7, 20), (0.3, -0.2, 0.4)), ((5, -7, 20), (0.3, -0.2, -3.5)), ((-9, 12, 70), (-2.0, 1.5, 0.0)),
    ((0, 0, 0), (0.0, 0.0, 3.0)), ((0, 0, 0), (0.0, 0.0, -2.5)), ((0, 60, 0), (0.0, 0.0, 0.0)),
    ((0, 0, 0), (0.0, 0.0, -20.0)), ((3, 2, 1), (6.0, -4.0, 1.0))])
@pytest.mark.parametrize("margin", [0.0, 0.5, -0.5])
def test_planes_in_frame_are_one_run_of_them(angles, shift, margin):
    """Against each plane looked at on its own, for cameras that turn, approach, pass planes, or stand far aside."""
    sweep = plane_sweep(camera(ref_to_target=pose(angles, shift)), depths(12))
    first, last = planes_in_frame(sweep, (48, 64), margin)
    ranges = texel_ranges(sweep, (48, 64), margin)
    q = sweep.q[None]
    inside = ((q >= ranges[..., 0][..., None, None]) & (q <= ranges[..., 1][..., None, None])).all(dim=1)
    i = torch.arange(12)[:, None, None]
    assert torch.equal((i >= first) & (i < last), inside)


@pytest.mark.parametrize(("rotation", "what"), [
    (torch.diag(torch.tensor([1.0, 1.0, -1.0])), "mirrored"), (torch.zeros(3, 3), "singular"),
    (2 * torch.eye(3), "scaled")])
def test_motions_that_are_not_rigid_are_refused(rotation, what):
    motion = torch.eye(4)
    motion[:3, :3] = rotation
    with pytest.raises(InputError, match=what):
        MpiCamera(K_REF, K_TARGET, motion, TARGET_SIZE)


def test_depths_must_increase():
    with pytest.raises(InputError, match="increase"):
        plane_sweep(camera(), depths().flip(0))
