"""Losses of multiplane images: against the metrics, the naive form, float64 autograd and sums done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rsnb.metrics import ssim
from rsnb.metrics.image import gaussian_blur
from rsnb.mpi.losses import (
    TargetMoments,
    edge_aware_smoothness,
    photometric_loss,
    published_ssim,
    ssim_to,
    total_variation,
)


def pair(height=37, width=29, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(3, height, width, generator=generator, dtype=dtype)
    return a, (a + 0.2 * torch.randn(3, height, width, generator=generator, dtype=dtype)).clamp(0, 1)


def dense_window(sigma=1.5, size=11):
    """The Gaussian as the original writes it: normalised in one dimension, then the outer product."""
    line = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    line /= line.sum()
    return torch.from_numpy(np.outer(line, line))


def test_separable_blur_is_the_dense_one():
    a, _ = pair()
    dense = F.conv2d(a[:, None], dense_window()[None, None], padding=5)[:, 0]
    assert torch.allclose(gaussian_blur(a, "zero"), dense, atol=1e-14)
    assert torch.allclose(gaussian_blur(a, "valid"), dense[:, 5:-5, 5:-5], atol=1e-14)


def test_ssim_equals_the_metric():
    a, b = pair()
    assert float(ssim_to(TargetMoments.of(b), a).mean()) == pytest.approx(ssim(a, b), abs=1e-12)
    assert float(ssim_to(TargetMoments.of(a), a).mean()) == pytest.approx(1.0, abs=1e-12)


def test_published_ssim_is_the_original_formula():
    # the original: conv2d with zero padding 5, five windows, on masked pictures
    a, b = pair()
    mask = torch.zeros(a.shape[1:], dtype=torch.float64)
    mask[3:30, 8:] = 1
    x, y = a * mask, b * mask
    blur = lambda v: F.conv2d(v[:, None], dense_window()[None, None], padding=5)[:, 0]  # noqa: E731
    mu_x, mu_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mu_x**2, blur(y * y) - mu_y**2, blur(x * y) - mu_x * mu_y
    expected = ((2 * mu_x * mu_y + 1e-4) * (2 * cov + 9e-4) / ((mu_x**2 + mu_y**2 + 1e-4) * (var_x + var_y + 9e-4)))
    assert float(published_ssim(a, b, mask)) == pytest.approx(float(expected.mean()), abs=1e-12)
    assert float(published_ssim(a, b, mask * 0)) == pytest.approx(1.0)  # why it is for its own table only


def test_photometric_loss_by_hand():
    target = torch.full((3, 20, 24), 0.5, dtype=torch.float64)
    image = target + 0.1
    # L1: 2.0 * (3 channels * 0.1) = 0.6. SSIM of constants: (2 * 0.3 + c1) / (0.61 + c1), the variances cancel
    similarity = (2 * 0.6 * 0.5 + 1e-4) / (0.36 + 0.25 + 1e-4)
    loss = photometric_loss(image, TargetMoments.of(target))
    assert float(loss) == pytest.approx(0.6 + 1 - similarity, abs=1e-9)
    assert float(photometric_loss(image, TargetMoments.of(target), weights=(1.0, 0.0))) == pytest.approx(0.3)
    small = torch.full((3, 8, 8), 0.5)
    assert float(photometric_loss(small + 0.1, TargetMoments(small, small, small))) == pytest.approx(0.6, abs=1e-6)


def test_photometric_loss_sees_nothing_outside_the_mask():
    image, target = pair()
    mask = torch.zeros_like(image[0])
    mask[:, 4:20] = 1
    spoilt = torch.where(mask.bool(), image, torch.full_like(image, 7.0)).requires_grad_()
    moments = TargetMoments.of(target)
    loss = photometric_loss(spoilt, moments, mask)
    assert loss.item() == pytest.approx(photometric_loss(image, moments, mask).item(), abs=1e-12)
    loss.backward()
    assert (spoilt.grad[:, mask == 0] == 0).all()
    assert (spoilt.grad[:, mask == 1] != 0).any()
    # L1 is over the mask's pixels, not the frame's
    flat = torch.full_like(image, 0.25)
    half = photometric_loss(flat + 0.1 * mask, TargetMoments.of(flat), mask, (1.0, 0.0))
    assert half.item() == pytest.approx(0.3, abs=1e-9)
    assert float(photometric_loss(image, moments, mask * 0)) == 0.0


def test_gradients_against_differences():
    image, target = pair(17, 14)
    moments = TargetMoments.of(target)
    assert torch.autograd.gradcheck(lambda x: photometric_loss(x, moments), image.requires_grad_(), atol=1e-6)


def test_total_variation_by_hand():
    values = torch.tensor([[0.0, 1.0, 1.0], [0.0, 3.0, 1.0]])
    # down: 0 2 0 -> mean 2/3; right: 1 0 3 2 -> mean 1.5
    assert float(total_variation(values)) == pytest.approx(2 / 3 + 1.5)
    weight = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.5, 1.0]])
    # down: 2 * 0.5; right: 1, 0, 3 * 0.5, 2 * 0.5
    assert float(total_variation(values, weight)) == pytest.approx(1 / 3 + 3.5 / 4)


def test_edges_in_the_picture_excuse_edges_in_depth():
    depth = torch.zeros(6, 8)
    depth[:, 4:] = 1
    flat = torch.zeros(3, 6, 8)
    step = flat.clone()
    step[:, :, 4:] = 0.5
    # 6 of the 6 * 7 differences along rows are 1
    assert float(edge_aware_smoothness(depth, flat)) == pytest.approx(6 / 42)
    assert float(edge_aware_smoothness(depth, step)) == pytest.approx(6 / 42 * math.exp(-5))
    assert float(edge_aware_smoothness(depth, step.roll(2, -1))) > 0.9 * 6 / 42
