"""The compiled renderer against the torch one in float64, and the same to the bit for any number of threads."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("numba")

from rsnb.mpi import MpiCamera, RenderOptions, plane_depths, render_mpi

sys.path.insert(0, str(Path(__file__).parent))
from render_scenes import K_REF, K_TARGET, TARGET_SIZE, camera, depths, pose, smooth_mpi

WEIGHTS = torch.randn(5, *TARGET_SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def rendered(mpi, options, view, plane_z=None):
    """Picture, depth, alpha and mask, and the gradient of a weighted sum of the first three."""
    mpi = mpi.detach().clone().requires_grad_()
    result = render_mpi(mpi, depths() if plane_z is None else plane_z, view, options)
    picture = torch.cat([result.rgb, result.depth[None], result.alpha[None]])
    weights = WEIGHTS if picture.shape == WEIGHTS.shape else torch.ones_like(picture)
    gradient, = torch.autograd.grad((picture * weights.to(mpi.dtype)).sum(), mpi)
    return result, gradient


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("shift", [(0.3, -0.2, 0.4), (0.3, -0.2, -3.5)])
@pytest.mark.parametrize("density", [0.4, 20.0])
def test_picture_and_gradient_are_those_of_torch_in_float64(published, shift, density):
    view = camera(ref_to_target=pose(shift=shift))
    exact, wanted = rendered(smooth_mpi(density=density), RenderOptions("torch", published), view)
    ours, gradient = rendered(smooth_mpi(density=density).float(), RenderOptions("numba", published), view)
    assert (ours.rgb - exact.rgb).abs().max() < 1e-6 and (ours.alpha - exact.alpha).abs().max() < 1e-6
    assert (ours.depth - exact.depth).abs().max() < 1e-5
    assert torch.equal(ours.mask, exact.mask)
    for part in (slice(0, 3), slice(3, 4)):  # colour and sigma have gradients of different size
        assert (gradient - wanted)[:, part].norm() < 1e-5 * wanted[:, part].norm()
        assert (gradient - wanted)[:, part].abs().max() < 1e-4 * wanted[:, part].abs().max()


@pytest.mark.parametrize("channels_last", [False, True])
def test_threads_and_memory_order_change_no_bit(channels_last):
    mpi = smooth_mpi(5, (150, 130)).float()
    other = mpi.contiguous(memory_format=torch.channels_last) if channels_last else mpi
    view = camera(size=(170, 97))  # more rows than a band, and no multiple of one
    threads, found = torch.get_num_threads(), []
    try:
        for count, content in ((1, mpi), (3, other)):
            torch.set_num_threads(count)
            found.append(rendered(content, RenderOptions("numba"), view, plane_depths(3, 9, 5)))
    finally:
        torch.set_num_threads(threads)
    (one, one_gradient), (three, three_gradient) = found
    assert torch.equal(one.rgb, three.rgb) and torch.equal(one.depth, three.depth)
    assert torch.equal(one_gradient, three_gradient) and one_gradient.abs().max() > 0


def test_gradient_of_a_parameter_in_channels_last_memory_is_not_copied():
    mpi = smooth_mpi().float().contiguous(memory_format=torch.channels_last).requires_grad_()
    render_mpi(mpi, depths(), camera(), RenderOptions("numba")).rgb.sum().backward()
    assert mpi.grad.stride() == mpi.stride() and mpi.grad.is_contiguous(memory_format=torch.channels_last)


def test_auto_falls_back_to_torch_where_a_pose_asks_for_gradients():
    motion = pose().requires_grad_()
    render_mpi(smooth_mpi().float(), depths(), camera(ref_to_target=motion)).rgb.sum().backward()
    assert motion.grad.abs().max() > 0


def test_cameras_that_ask_for_gradients_render_without_them_too():
    wanted = render_mpi(smooth_mpi().float(), depths(), camera(), RenderOptions("numba")).rgb
    asking = camera(K_ref=K_REF.clone().requires_grad_(), ref_to_target=pose().requires_grad_())
    with torch.no_grad():
        found = render_mpi(smooth_mpi().float(), depths(), asking, RenderOptions("numba")).rgb
    assert torch.equal(found, wanted)


def test_nan_is_never_hidden():
    for channel in (0, 3):
        mpi = smooth_mpi().float()
        mpi[2, channel, 20, 30] = float("nan")
        view = MpiCamera(K_REF, K_REF, torch.eye(4), (48, 64))
        result = render_mpi(mpi, depths(), view, RenderOptions("numba"))
        assert torch.isnan(result.rgb[0, 20, 30]) and torch.isfinite(result.rgb[:, 40, 10]).all()


def test_rays_that_turn_away_and_empty_planes_give_numbers():
    view = camera(K_target=K_TARGET, ref_to_target=pose((0, 88, 0), (0.0, 0.0, 0.0)))
    result, gradient = rendered(torch.zeros(6, 4, 48, 64), RenderOptions("numba"), view)
    assert torch.isfinite(result.depth).all() and (result.alpha == 0).all() and torch.isfinite(gradient).all()
