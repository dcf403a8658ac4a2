"""The baselines on scenes whose warps are known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry.poses import invert, look_at
from rsnb.metrics import psnr
from rsnb.mpi.baselines import (
    best_single_plane,
    nearest_view,
    warp_by_depth,
    warp_by_plane,
)
from rsnb.scenes import PosedImages

SIZE = (48, 64)
K0 = np.array([[70.0, 0, 30.5], [0, 76.0, 26.0], [0, 0, 1]])


def texture(points):
    """A smooth pattern in the plane: [..., 3] world points to colours [3, ...]."""
    x, y = points[..., 0], points[..., 1]
    return np.stack([0.5 + 0.4 * np.sin(2.1 * x + 0.3 * c) * np.cos(1.7 * y - 0.5 * c) for c in range(3)])


def plane_scene(heights=lambda x, y: 0 * x):
    """Views of the ground z = 0 (or of steps above it), ray by ray: rotated, off-centre, not square, fx != fy."""
    eyes = [(0, 0, 6), (0.8, 0.3, 6.2), (-0.5, 0.9, 5.8), (3.0, 0.2, 5.0)]
    ups = [(0, 1, 0), (0.3, 1, 0), (-0.2, 1, 0), (0, 1, 0)]
    poses = np.stack([look_at(eye, (0.1 * k, 0, 0), up) for k, (eye, up) in enumerate(zip(eyes, ups, strict=True))])
    Ks = np.stack([K0, K0 * [[1.1], [1.05], [1]], K0, K0])
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    pixels = np.stack([columns, rows, np.ones_like(rows)], -1)
    images, depths = [], []
    for K, pose in zip(Ks, poses, strict=True):
        back = invert(pose)
        rays = pixels @ np.linalg.inv(K).T @ back[:3, :3].T  # z_depth 1 each
        z = -back[2, 3] / rays[..., 2]
        for level in (1.0,):  # a raised block hides what is behind it
            up = (level - back[2, 3]) / rays[..., 2]
            points = back[:3, 3] + rays * up[..., None]
            z = np.where(heights(points[..., 0], points[..., 1]) >= level, up, z)
        images.append(texture(back[:3, 3] + rays * z[..., None]))
        depths.append(z)
    return PosedImages(np.stack(images).astype(np.float32), poses, "pinhole", tuple("abcd"), Ks,
                       z_depth=np.stack(depths).astype(np.float32))


def test_the_true_plane_gives_the_true_picture():
    # the plane must be parallel to the source picture: source a looks straight down from 6
    views = plane_scene()
    for target, row in (("b", 1), ("c", 2)):
        warp = warp_by_plane(views, "a", target, 6.0)
        inner = warp.mask.copy()
        assert 0.5 < inner.mean() < 1
        error = np.abs(warp.image - views.images[row]).max(axis=0)[inner]
        assert np.percentile(error, 95) < 0.005  # bilinear on a smooth pattern
        assert error.max() < 0.03  # half a pixel from the border, where the outermost sample is repeated
        assert (warp.image[:, ~inner] == 0).all()
        assert psnr(warp.image, views.images[row], inner) > 45
        assert psnr(warp_by_plane(views, "a", target, 5.0).image, views.images[row], inner) < 30


def test_the_sweep_finds_the_plane():
    views = plane_scene()
    warp = best_single_plane(views, "a", "b", (3.0, 12.0), 40)
    # steps of 1/160 in inverse depth, halved once: within a quarter of a step
    assert abs(1 / warp.z_depth - 1 / 6) <= 1 / 160 / 4 + 1e-9
    assert warp.source == "a"
    errors = [float(((w.image - views.images[1])[:, w.mask] ** 2).mean())
              for w in (warp_by_plane(views, "a", "b", 1 / v) for v in np.linspace(1 / 3, 1 / 12, 40))]
    assert ((warp.image - views.images[1])[:, warp.mask] ** 2).mean() <= min(errors)


def test_no_plane_joins_views_that_share_nothing():
    views = plane_scene()
    away = views.world_to_cam.copy()
    away[1] = look_at((0, 0, 6), (0, 0, 20), (0, 1, 0))
    with pytest.raises(InputError, match="less than a tenth"):
        best_single_plane(replace(views, world_to_cam=away), "a", "b", (3.0, 12.0), 8)
    with pytest.raises(InputError, match="reversed"):
        best_single_plane(views, "a", "b", (12.0, 3.0), 8)


def test_true_depth_gives_the_true_picture_and_knows_what_is_hidden():
    views = plane_scene(lambda x, y: (np.abs(x) < 0.7) & (np.abs(y) < 0.6))
    warp = warp_by_depth(views, "d", "c")
    error = np.abs(warp.image - views.images[2]).max(axis=0)
    assert np.percentile(error[warp.mask], 90) < 0.01  # pixels at the block's edges mix both sides
    # what the block hides from d, computed ray by ray in the world
    back, source = invert(views.world_to_cam[2]), invert(views.world_to_cam[3])[:3, 3]
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(views.K[2]).T @ back[:3, :3].T
    points = back[:3, 3] + rays * views.z_depth[2][..., None]
    crossing = source + (points - source) * ((1 - source[2]) / (points[..., 2] - source[2]))[..., None]
    hidden = (points[..., 2] < 0.5) & (np.abs(crossing[..., 0]) < 0.65) & (np.abs(crossing[..., 1]) < 0.55)
    assert hidden.sum() > 20
    assert not warp.mask[hidden].any()
    with pytest.raises(InputError, match="no true depth"):
        warp_by_depth(replace(views, z_depth=None), "a", "b")


def test_the_nearest_view():
    views = plane_scene()
    assert nearest_view(views, "a", "abcd") == "b"  # 0.88 away, c 1.05
    assert nearest_view(views, "d", "abc") == "b"
    turned = views.world_to_cam.copy()
    turned[1] = np.diag([-1.0, 1, -1, 1]) @ turned[1]  # b looks up: nothing to warp from
    assert nearest_view(replace(views, world_to_cam=turned), "a", "abcd") == "c"
    with pytest.raises(InputError, match="no view to render it from"):
        nearest_view(views, "a", "a")


def test_a_sweep_in_small_copies_finds_the_same_plane(monkeypatch):
    scene = plane_scene(lambda x, y: (np.abs(x) < 0.6) & (np.abs(y) < 0.5))
    full = best_single_plane(scene, "a", "b", (4.0, 8.0))
    monkeypatch.setattr("rsnb.mpi.baselines.SWEEP_SIDE", 22)
    quick = best_single_plane(scene, "a", "b", (4.0, 8.0))
    step = (1 / 4 - 1 / 8) / 63
    assert abs(1 / quick.z_depth - 1 / full.z_depth) < 1.01 * step and quick.image.shape == full.image.shape
    truth = scene.images[1]
    assert psnr(quick.image, truth, quick.mask) > psnr(full.image, truth, full.mask) - 0.05
