"""The renderer against closed forms, the naive form and float64 autograd of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from rsnb.errors import InputError
from rsnb.mpi import MpiCamera, RenderOptions, plane_depths, plane_sweep, render_mpi
from rsnb.mpi.render_torch import composite_torch, padded_width

sys.path.insert(0, str(Path(__file__).parent))
from render_scenes import K_REF, K_TARGET, REF_SIZE, TARGET_SIZE, camera, depths, naive_sums, pose, smooth_mpi

TORCH = RenderOptions(backend="torch")
STOOD_BACK = (0.3, -0.2, 0.4)
PAST_THE_FIRST = (0.3, -0.2, -3.5)  # the camera stands at about z = 3.5, behind the nearest planes


def sums(mpi, plane_z, view, published=False):
    sweep = plane_sweep(view, plane_z, 1000.0 if published else None)
    return composite_torch(mpi, sweep, published)[0]


def identity_view():
    return MpiCamera(K_REF, K_REF, torch.eye(4, dtype=torch.float64), REF_SIZE)


def test_identity_pose_gives_the_front_to_back_composite_of_the_planes():
    mpi, z = smooth_mpi(), depths()
    result = render_mpi(mpi, z, identity_view(), TORCH)
    y, x = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    slant = (torch.stack([x, y, torch.ones_like(x)], dim=-1).double() @ torch.linalg.inv(K_REF).T).norm(dim=-1)
    gap = torch.cat([z.diff(), z.diff()[-1:]])
    alpha = 1 - torch.exp(-mpi[:, 3] * gap[:, None, None] * slant)
    weight = alpha * torch.cat([torch.ones_like(alpha[:1]), torch.cumprod(1 - alpha, dim=0)[:-1]])
    assert torch.allclose(result.rgb, (weight[:, None] * mpi[:, :3]).sum(dim=0), atol=1e-12)
    assert torch.allclose(result.alpha, weight.sum(dim=0), atol=1e-12)
    assert torch.allclose(result.depth, (weight * z[:, None, None]).sum(dim=0) / weight.sum(dim=0), atol=1e-12)
    assert result.mask.all()


def test_one_opaque_plane_is_a_homography_of_its_picture():
    """A linear ramp, which bilinear sampling keeps: the view shows the ramp at the texel of each pixel."""
    mpi, z = torch.zeros(6, 4, *REF_SIZE, dtype=torch.float64), depths()
    y, x = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    mpi[3, 0], mpi[3, 1], mpi[3, 3] = x / 64, y / 48, 1e4
    result = render_mpi(mpi, z, camera(), TORCH)
    sweep = plane_sweep(camera(), z)
    u, v = sweep.scale[3] * sweep.q + sweep.offset[3, :, None, None]
    inner = (u > 1) & (u < 63) & (v > 1) & (v < 47)
    assert inner.float().mean() > 0.5
    assert torch.allclose(result.rgb[:2][:, inner], torch.stack([u / 64, v / 48])[:, inner], atol=1e-12)
    assert torch.allclose(result.depth[inner], (sweep.rise[3] * sweep.reach)[inner], atol=1e-12)
    outside = (u < 0) | (u > 64) | (v < 0) | (v > 48)
    assert outside.any() and (result.alpha[outside] == 0).all()  # nothing is smeared


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("shift", [STOOD_BACK, PAST_THE_FIRST])
def test_sums_and_all_gradients_equal_float64_autograd_of_the_naive_form(published, shift):
    leaves = [leaf.requires_grad_() for leaf in (smooth_mpi(), depths(), pose(shift=shift), K_TARGET.clone(),
                                                 K_REF.clone())]
    weights = torch.randn(5, *TARGET_SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for compute in (sums, naive_sums):
        view = camera(ref_to_target=leaves[2], K_target=leaves[3], K_ref=leaves[4])
        total = compute(leaves[0], leaves[1], view, published)
        gradients = torch.autograd.grad((total * weights).sum(), leaves)
        found.append((total.detach(), *gradients[:3], *(g[:2] for g in gradients[3:])))  # K's last row is fixed
    # where the camera has passed a plane, the published form still adds its 1e-6
    bound = 1e-5 if published and shift is PAST_THE_FIRST else 1e-11
    for ours, naive in zip(*found, strict=True):
        assert naive.abs().max() > 1
        assert (ours - naive).abs().max() <= bound * naive.abs().max()


def test_published_options_reach_the_renderer():
    mpi, z = smooth_mpi(density=0.05), depths()
    ours, theirs = render_mpi(mpi, z, camera(), TORCH), render_mpi(mpi, z, camera(), RenderOptions("torch", True))
    total = naive_sums(mpi, z, camera(), published=True)
    assert torch.allclose(theirs.rgb, total[:3], atol=1e-12)
    assert torch.allclose(theirs.depth, total[3] / (total[4] + 1e-5), atol=1e-11)
    assert theirs.mask.sum() > ours.mask.sum()
    assert (theirs.alpha[~ours.mask] > ours.alpha[~ours.mask]).any()


def test_mask_and_its_share():
    sweep = plane_sweep(camera(), depths())
    texels = sweep.scale[:, None, None, None] * sweep.q.movedim(0, -1) + sweep.offset[:, None, None]
    inside = ((texels >= 0) & (texels <= torch.tensor([64, 48]))).all(dim=-1)
    loose = ((texels > -0.5) & (texels < torch.tensor([64.5, 48.5]))).all(dim=-1)
    mpi = smooth_mpi()
    assert torch.equal(render_mpi(mpi, depths(), camera(), TORCH).mask, inside.all(dim=0))
    half = render_mpi(mpi, depths(), camera(), RenderOptions("torch", mask_share=0.5)).mask
    assert torch.equal(half, inside.sum(dim=0) >= 3)
    published = render_mpi(mpi, depths(), camera(), RenderOptions("torch", published=True)).mask
    assert torch.equal(published, loose.any(dim=0))


def test_background_shows_where_the_planes_let_through():
    mpi = smooth_mpi()
    black = render_mpi(mpi, depths(), camera(), TORCH)
    sky = render_mpi(mpi, depths(), camera(), RenderOptions("torch", background=(0.2, 0.5, 0.9)))
    wanted = black.rgb + (1 - black.alpha) * torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)[:, None, None]
    assert torch.allclose(sky.rgb, wanted) and (sky.rgb - black.rgb).max() > 0.05


def test_an_empty_scene_and_rays_that_turn_away_give_numbers():
    mpi = torch.zeros(6, 4, *REF_SIZE, requires_grad=True)
    motion = pose((0, 88, 0), (0.0, 0.0, 0.0)).requires_grad_()
    result = render_mpi(mpi, depths(), camera(ref_to_target=motion), TORCH)
    (result.rgb.sum() + result.depth.sum() + result.alpha.sum()).backward()
    assert torch.isfinite(mpi.grad).all() and torch.isfinite(motion.grad).all()
    assert torch.isfinite(result.depth).all() and (result.alpha == 0).all() and (result.depth == 0).all()


def test_a_target_behind_all_planes_sees_nothing():
    result = render_mpi(smooth_mpi(), depths(), camera(ref_to_target=pose((0, 0, 0), (0, 0, -20.0))), TORCH)
    assert (result.alpha == 0).all() and not result.mask.any()


def test_float32_is_near_float64():
    exact = render_mpi(smooth_mpi(), depths(), camera(), TORCH)
    single = render_mpi(smooth_mpi(dtype=torch.float32), depths(), camera(), TORCH)
    assert single.rgb.dtype == torch.float32
    assert (single.rgb - exact.rgb)[:, exact.mask].abs().max() < 2e-5
    assert (single.depth - exact.depth)[exact.mask].abs().max() < 2e-5


def test_memory_order_and_plane_count_do_not_matter():
    for count in (2, 3, 7):
        mpi, z = smooth_mpi(count), plane_depths(3.0, 9.0, count)
        total = naive_sums(mpi, z, camera())
        assert torch.allclose(sums(mpi.contiguous(memory_format=torch.channels_last), z, camera()), total, atol=1e-11)


@pytest.mark.parametrize("width", [48, 50, 64])  # rows that are stretched in memory by nothing, a part, a whole line
@pytest.mark.parametrize("published", [False, True])
def test_rows_of_any_length_are_sampled_alike(width, published):
    assert (padded_width(48), padded_width(50), padded_width(64), padded_width(512)) == (48, 80, 80, 528)
    mpi, z = smooth_mpi(5, (48, width)), depths(5)
    weights = torch.randn(5, *TARGET_SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for compute in (sums, naive_sums):
        leaf = mpi.clone().requires_grad_()
        total = compute(leaf, z, camera(), published)
        found.append((total.detach(), *torch.autograd.grad((total * weights).sum(), leaf)))
    for ours, naive in zip(*found, strict=True):
        assert (ours - naive).abs().max() <= 1e-11 * naive.abs().max()


def test_what_cannot_be_rendered_is_refused():
    with pytest.raises(InputError, match="3 depths"):
        render_mpi(smooth_mpi(4), plane_depths(3, 9, 3), camera())
    with pytest.raises(InputError, match="renderer"):
        RenderOptions(backend="gpu")
    with pytest.raises(InputError, match="numba renderer"):
        render_mpi(smooth_mpi(), depths(), camera(), RenderOptions(backend="numba"))  # float64
    with pytest.raises(InputError, match="size"):
        camera(size=(0, 4))
