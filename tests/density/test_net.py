"""The density net: the published parameter count, the unit of its head, and what an untrained volume is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from rsnb.density.net import DensityNet, DensityNetOptions
from rsnb.errors import InputError


def test_the_published_network_has_its_parameters():
    # weights and biases of convolutions a -> b of k x k: a b k^2 + b; norms: 2 b; one slope a PReLU
    down = [(3, 32, 7), (32, 64, 3), (64, 128, 3), (128, 256, 3), (256, 512, 3)]
    up = [(512, 256, 3), (256, 128, 3), (128, 64, 3), (64, 32, 3)]
    convolutions = sum(a * b * k * k + 3 * b for a, b, k in [*down, *[(512, 512, 3)] * 12, *up])
    expected = convolutions + 32 * 64 * 49 + 64 + 5
    net = DensityNet(DensityNetOptions.of_size("full"))
    assert sum(p.numel() for p in net.parameters()) == expected
    assert round(expected / 1e6, 2) == 31.57


def test_the_published_layers_are_as_the_sheet_says():
    torch.manual_seed(0)
    net = DensityNet(DensityNetOptions(kind="published", width=4, slices=6, depth=2, blocks=1, head="relu"))
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [hasattr(m, "parametrizations") for m in convolutions] == [True] * (len(convolutions) - 1) + [False]
    norms = [m for m in net.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == len(convolutions) - 1
    assert all(m.affine and not m.track_running_stats for m in norms)
    assert [type(layer.activation) for layer in (net.trunk.first, *net.trunk.downs)] == [nn.PReLU] * 3
    assert [layer.activation.negative_slope for layer in net.trunk.ups] == [0.2, 0.2]
    # spectral norm: the largest singular value of a used weight matrix is 1
    convolution = net.trunk.blocks[0].first.convolution.conv
    for _ in range(200):
        weight = convolution.weight.detach()  # in training mode every look is a step of the power iteration
    assert float(torch.linalg.matrix_norm(weight.flatten(1), 2)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", ["unet", "published"])
def test_the_head_counts_in_its_unit(kind):
    torch.manual_seed(0)
    options = {"kind": kind, "width": 4, "slices": 5, "depth": 2, "blocks": 1, "head": "relu"}
    net = DensityNet(DensityNetOptions(**options, unit_m=15.0)).eval()
    per_metre = DensityNet(DensityNetOptions(**options)).eval()
    per_metre.load_state_dict(net.state_dict())
    tile = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        sigma = net(tile)
        assert sigma.shape == (2, 5, 16, 16) and float(sigma.max()) > 0 and float(sigma.min()) == 0
        assert torch.allclose(15 * sigma, per_metre(tile))


@pytest.mark.parametrize("kind", ["unet", "published"])
@pytest.mark.parametrize(("initial", "unit_m"), [(0.01, 1.0), (0.2, 0.5)])
def test_an_untrained_volume_is_nearly_empty_and_learns(kind, initial, unit_m):
    torch.manual_seed(0)
    net = DensityNet(DensityNetOptions(kind=kind, width=8, slices=6, depth=2, blocks=1, initial_density=initial,
                                       unit_m=unit_m))
    sigma = net(torch.rand(2, 3, 32, 32))
    assert float(sigma.detach().min()) > 0
    assert float(sigma.detach().mean()) == pytest.approx(initial, rel=0.25)
    sigma.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert float(next(net.trunk.first.parameters()).grad.abs().max()) > 0


def test_a_volume_learns_to_follow_its_tile():
    # the red channel in every slice: the way from pixel to voxel is open, and starts from nearly nothing
    torch.manual_seed(0)
    net = DensityNet(DensityNetOptions.of_size("tiny"))
    tile = torch.rand(1, 3, 16, 16)
    target = tile[:, :1].expand(1, 8, 16, 16)
    adam = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = (net(tile) - target).abs().mean()
        losses.append(loss.item())
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert losses[-1] < 0.5 * losses[0]
    assert losses[-1] < 0.7 * float((target - target.mean()).abs().mean())  # more than one number for all


@pytest.mark.parametrize("options", [{"head": "softplus"}, {"head": "relu"}, {"profile": "falling"}])
@pytest.mark.parametrize("logit", [50.0, 1e30, 3e38])
def test_density_stays_finite_however_large_the_logits(options, logit):
    net = DensityNet(DensityNetOptions(width=2, slices=3, depth=1, **options)).eval()
    with torch.no_grad():
        net.trunk.last.weight.zero_()
        net.trunk.last.bias.fill_(logit)
    sigma = net(torch.rand(1, 3, 4, 4))
    sigma.sum().backward()
    assert float(sigma.detach().max()) <= 1e6 and float(sigma.detach()[:, 0].min()) >= 1.49
    assert float(sigma.detach().min()) >= (0.0 if options.get("profile") == "falling" else 1.49)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("initial", [1e-30, 0.01, 30.0, 2e4])
def test_any_initial_density_is_met(initial):
    # 2e4 in half tiles is an exponent of 3e5: its exponential is no number
    net = DensityNet(DensityNetOptions(width=2, slices=3, depth=1, unit_m=15.0, initial_density=initial)).eval()
    with torch.no_grad():
        net.trunk.last.weight.zero_()
        sigma = net(torch.rand(1, 3, 4, 4))
    assert torch.allclose(sigma, torch.full_like(sigma, initial), rtol=1e-4)


def test_a_tile_too_small_for_batch_norm_is_refused_with_the_smallest_that_is_not():
    net = DensityNet(DensityNetOptions(width=2, slices=2, depth=3))
    net.eval()(torch.rand(1, 3, 8, 8))
    net.train()
    with pytest.raises(InputError, match="one tile of 8 pixels.*at least 9 pixels, or with a batch of 2"):
        net(torch.rand(1, 3, 8, 8))
    net(torch.rand(1, 3, 9, 9))  # the smallest, and the smallest batch
    net(torch.rand(2, 3, 4, 4))


@pytest.mark.parametrize("kind", ["unet", "published"])
@pytest.mark.parametrize("size", [16, 19, 21])
def test_any_size_goes_through(kind, size):
    net = DensityNet(DensityNetOptions(kind=kind, width=4, slices=3, depth=2, blocks=1)).eval()
    tile = torch.rand(1, 3, size, size)
    with torch.no_grad():
        sigma = net(tile)
        assert sigma.shape == (1, 3, size, size)
        filled = torch.nn.functional.pad(tile, (0, -size % 4, 0, -size % 4), mode="replicate")
        assert torch.allclose(sigma, net(filled)[..., :size, :size])


def test_sizes_and_faults():
    widths = [DensityNetOptions.of_size(size).width for size in ("tiny", "smoke", "small", "full")]
    assert widths == sorted(widths)
    assert DensityNetOptions.of_size("full").unit_m == 15.0  # half a CVACT tile
    assert DensityNetOptions.of_size("small", slices=10).slices == 10
    with pytest.raises(InputError, match="no size 'huge'"):
        DensityNetOptions.of_size("huge")
    for wrong in ({"kind": "resnet"}, {"head": "exp"}, {"unit_m": 0.0}, {"width": 0}, {"initial_density": math.inf},
                  {"gain": -1.0}, {"width": 24.0}, {"slices": 2.5}, {"depth": True}, {"blocks": -1}, {"width": "8"},
                  {"gain": "1"}, {"unit_m": True}):
        with pytest.raises(InputError, match=rf"DensityNetOptions: .*\b{next(iter(wrong))}\b"):
            DensityNetOptions(**wrong)
    for huge in ({"depth": 13}, {"width": 2048, "depth": 4, "kind": "published"}, {"width": 10_000}):
        with pytest.raises(InputError, match="at most 12 halvings, and at most 16384 channels"):
            DensityNetOptions(**huge)
    with pytest.raises(InputError, match=r"expected \[B, 3, S, S\]"):
        DensityNet(DensityNetOptions.of_size("tiny"))(torch.rand(3, 16, 16))
    with pytest.raises(InputError, match="at least 8 x 8"):
        DensityNet(DensityNetOptions(kind="published", width=2, slices=2, depth=2, blocks=0))(torch.rand(1, 3, 7, 7))
