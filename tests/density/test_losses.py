"""The losses: closed forms, hand calculations, and where their gradients go."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from rsnb.density.losses import (
    LossWeights,
    feature_matching_loss,
    gain_matched_l1,
    gan_loss,
    gravity_loss,
    kl_loss,
    l1_loss,
    l2_loss,
    opacity_loss,
    solidity_loss,
    volume_variation,
)
from rsnb.errors import InputError


def column(*values):
    """A volume of one column, lowest slice first."""
    return torch.tensor(values, dtype=torch.float64)[None, :, None, None]


def test_gan_loss_is_the_binary_cross_entropy_averaged_by_critic():
    logits = [torch.randn(2, 1, 4, 8), torch.randn(2, 1, 3, 3)]
    for real in (True, False):
        each = [F.binary_cross_entropy_with_logits(one, torch.full_like(one, float(real))) for one in logits]
        assert torch.allclose(gan_loss(logits, real), sum(each) / 2)
    assert float(gan_loss([torch.zeros(3)], True)) == pytest.approx(math.log(2))
    far = torch.tensor([-200.0], requires_grad=True)
    gan_loss([far], True).backward()  # a generator that is found out for sure still learns
    assert float(far.grad) == -1.0


def test_feature_matching_by_hand():
    fake = [[torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([0.0])], [torch.tensor([5.0]), torch.zeros(2)]]
    real = [[torch.tensor([0.0, 4.0], requires_grad=True), torch.tensor([0.5])], [torch.tensor([3.0]), torch.zeros(2)]]
    # critic one: (1 + 2) / 2 + 0.5 = 2; critic two: 2 + 0; mean 2
    loss = feature_matching_loss(fake, real)
    assert float(loss.detach()) == pytest.approx(2.0)
    loss.backward()
    assert real[0][0].grad is None and torch.allclose(fake[0][0].grad, torch.tensor([0.25, -0.25]))


def test_kl_is_that_of_the_library():
    mean, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    each = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    assert torch.allclose(kl_loss(mean, log_variance), each.sum(1).mean(), atol=1e-5)
    assert float(kl_loss(torch.zeros(2, 3), torch.zeros(2, 3))) == 0


def test_picture_losses_count_the_mask_alone():
    image, target = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    image[0, 0] = torch.tensor([[0.5, 1.0], [4.0, 1.0]])
    mask = torch.tensor([[[1, 1], [0, 0]]], dtype=torch.bool)
    # over channels: (0.5 + 1 + 1) / 3 and (0 + 1 + 1) / 3; squares (0.25 + 2) / 3 and 2 / 3
    assert float(l1_loss(image, target, mask)) == pytest.approx((2.5 + 2.0) / 6)
    assert float(l2_loss(image, target, mask)) == pytest.approx((2.25 + 2.0) / 6)
    a, b = torch.rand(2, 3, 5, 4), torch.rand(2, 3, 5, 4)
    assert torch.allclose(l1_loss(a, b), F.l1_loss(a, b)) and torch.allclose(l2_loss(a, b), F.mse_loss(a, b))
    assert float(l1_loss(image, target, mask & False)) == 0


def test_opacity_by_hand():
    opacity = torch.tensor([[[0.25, 0.5], [1.0, 0.0]]], dtype=torch.float64)
    sky = torch.tensor([[[True, False], [False, False]]])
    # differences 0.25, 0.5, 0, 1
    assert float(opacity_loss(opacity, sky)) == pytest.approx(1.75 / 4)
    mask = torch.tensor([[[1, 1], [1, 0]]])
    assert float(opacity_loss(opacity, sky, mask=mask)) == pytest.approx(0.25)
    bce = -(math.log(0.75) + math.log(0.5)) / 3
    assert float(opacity_loss(opacity, sky, "bce", mask)) == pytest.approx(bce, abs=2e-4)


def test_opacity_bce_is_finite_and_pulls_where_a_ray_is_wrong_for_sure():
    opacity = torch.tensor([[[0.0, 1.0]]], requires_grad=True)
    loss = opacity_loss(opacity, torch.tensor([[[False, True]]]), "bce")
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-math.log(1e-4), rel=1e-3)
    assert float(opacity.grad[0, 0, 0]) < -1000 and float(opacity.grad[0, 0, 1]) > 1000


def test_with_a_margin_solid_rays_are_opaque_only_when_much_denser_fog_would_be():
    # optical depth 3 is opacity 0.9502; a tenth of it 0.2592. Sky is judged as it is
    opacity = 1 - torch.exp(-torch.tensor([[[3.0, 12.0, 3.0]]]))
    opacity.requires_grad_()
    sky = torch.tensor([[[False, False, True]]])
    loss = opacity_loss(opacity, sky, "l1", margin=0.1)
    # 12 lets less than 1e-5 pass, and is solid enough
    assert loss.item() == pytest.approx((math.exp(-0.3) + 0.0 + 1 - math.exp(-3)) / 3, abs=1e-5)
    loss.backward()
    # d exp(-0.1 t) / d o = -0.1 exp(-0.1 t) exp(t) of t = 3
    assert opacity.grad[0, 0].tolist() == pytest.approx([-0.1 * math.exp(2.7) / 3, -1 / 3, 1 / 3], rel=1e-4)
    with pytest.raises(InputError, match="margin"):
        opacity_loss(opacity, sky, margin=0.0)


def test_gain_matched_l1_forgives_a_gain_and_nothing_else():
    torch.manual_seed(0)
    rendered = torch.rand(2, 3, 8, 16, dtype=torch.float64)
    mask = torch.rand(2, 8, 16) < 0.5
    gain = torch.rand(2, 3, 1, 1, dtype=torch.float64) + 0.5
    spoilt = torch.where(mask[:, None], gain * rendered, torch.ones_like(rendered))
    assert float(gain_matched_l1(rendered, spoilt, mask)) == pytest.approx(0, abs=1e-12)
    # rendered 1, 2 against 3, 4: gain 11 / 5, errors 0.8 and 0.4
    two = torch.tensor([1.0, 2.0]).expand(1, 3, 1, 2), torch.tensor([3.0, 4.0]).expand(1, 3, 1, 2)
    assert float(gain_matched_l1(*two, torch.ones(1, 1, 2))) == pytest.approx(0.6)
    assert float(gain_matched_l1(torch.zeros(1, 3, 1, 2), two[1], torch.ones(1, 1, 2))) == pytest.approx(3.5)


def test_gravity_by_hand():
    # steps up: +3, -1, +0.5 over three pairs
    sigma = column(0.0, 3.0, 2.0, 2.5)
    assert float(gravity_loss(sigma)) == pytest.approx(3.5 / 3)
    assert float(gravity_loss(sigma, margin=1.0)) == pytest.approx(2.0 / 3)
    opacities = [1 - math.exp(-0.5 * s) for s in (0, 3, 2, 2.5)]
    up = (opacities[1] - opacities[0] + opacities[3] - opacities[2]) / 3
    assert float(gravity_loss(sigma, how="opacity", slice_m=0.5)) == pytest.approx(up)
    assert float(gravity_loss(column(9.0, 5.0, 5.0, 0.0))) == 0
    sigma = sigma.requires_grad_()
    gravity_loss(sigma).backward()
    assert torch.allclose(sigma.grad.flatten(), torch.tensor([-1, 1, -1, 1.0], dtype=torch.float64) / 3)


def test_solidity_by_hand():
    wall = 1e3
    # a roof in slice 3 over three empty slices: each is hidden for sure and lacks 0.9, of five voxels
    assert float(solidity_loss(column(0, 0, 0, wall, 0), 0.5)) == pytest.approx(3 * 0.9 / 5)
    assert float(solidity_loss(column(wall, wall, wall, wall, 0), 0.5)) == 0
    assert float(solidity_loss(column(0, 0, 0, 0, 0), 0.5)) == 0
    # optical depths 0.2 below 0.5: hidden by 1 - e^-0.5, own opacity 1 - e^-0.2
    expected = (1 - math.exp(-0.5)) * (0.9 - (1 - math.exp(-0.2))) / 2
    assert float(solidity_loss(column(0.1, 0.25), 2.0)) == pytest.approx(expected)


def test_solidity_fills_and_never_thins_the_roof():
    sigma = column(0.3, 0.0, 1.0, 2.0, 0.0).requires_grad_()
    solidity_loss(sigma, 0.5).backward()
    grad = sigma.grad.flatten()
    assert bool((grad[:3] < 0).all()) and float(grad[3:].abs().max()) == 0


def test_variation_by_hand():
    sigma = torch.zeros(1, 2, 2, 2)
    sigma[0, 0, 0, 0] = 4.0
    # one of four pairs along each axis differs by 4
    assert float(volume_variation(sigma)) == pytest.approx(3.0)


def test_weights():
    published = LossWeights()
    assert (published.gan, published.l1, published.l2, published.perceptual, published.feature_matching,
            published.opacity, published.kl) == (1, 1, 10, 10, 10, 1, 0.1)
    assert published.gravity == published.solidity == published.variation == published.colour == 0
    ours = LossWeights.ours(gravity=0.0)
    assert ours.gan == ours.perceptual == ours.gravity == 0 and ours.opacity == 1 and ours.colour == 0.5
    for wrong in (-1.0, math.nan, math.inf, "1", True):
        with pytest.raises(InputError, match="weight opacity"):
            LossWeights(opacity=wrong)
    with pytest.raises(InputError, match="no form"):
        opacity_loss(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), "l2")
    with pytest.raises(InputError, match="no form"):
        gravity_loss(column(0, 1), how="relative")
