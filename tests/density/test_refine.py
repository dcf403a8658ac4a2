"""The refinement net: published count, the circle closes, the style reaches two layers, fresh it shows its input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rsnb.density import layers
from rsnb.density.illumination import IlluminationEncoder, IlluminationOptions
from rsnb.density.net import DensityNet, DensityNetOptions
from rsnb.density.refine import RefineNet, RefineNetOptions, place_encoding
from rsnb.density.volume import Rendered
from rsnb.errors import InputError


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_published_generator_has_its_parameters_and_products(monkeypatch):
    # spectral norm adds no parameter, and its power iterations are slow where there are no numbers
    monkeypatch.setattr(layers.parametrizations, "spectral_norm", lambda module: module)
    with torch.device("meta"):
        refine = RefineNet(RefineNetOptions.of_size("full"))
        illumination = IlluminationEncoder(IlluminationOptions.of_size("full"))
        density = DensityNet(DensityNetOptions.of_size("full"))
    # a convolution a -> b of k x k has a b k^2 + b, its norm 2 b; one slope for each of five PReLUs; the style's layer
    down = [(5, 64, 7), (64, 128, 3), (128, 256, 3), (256, 512, 3), (512, 1024, 3)]
    up = [(1024, 384, 3), (384, 384, 3), (384, 384, 3), (384, 64, 3)]
    expected = sum(a * b * k * k + 3 * b for a, b, k in [*down, *[(1024, 1024, 3)] * 18, *up])
    assert count(refine) == expected + 64 * 3 * 49 + 3 + 5 + 257 * 4 * 384
    assert round(count(refine) / 1e6, 1) == 183.0
    assert round((count(refine) + count(illumination) + count(density)) / 1e6, 1) == 215.2
    products = {}
    for net, inputs in ((density, ((1, 3, 256, 256),)), (refine, ((1, 5, 128, 512), (1, 256)))):
        for convolution in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
            convolution.register_forward_hook(lambda m, args, out, net=net: products.update(
                {net: products.get(net, 0) + out.numel() * m.in_channels * m.kernel_size[0] ** 2}))
        with torch.no_grad():
            net.eval()(*(torch.empty(shape, device="meta") for shape in inputs))
    assert [round(number / 1e9, 1) for number in products.values()] == [20.2, 95.3]


@pytest.mark.parametrize("kind", ["unet", "published"])
def test_a_turned_panorama_gives_a_turned_picture(kind):
    torch.manual_seed(0)
    options = {"kind": kind, "width": 8, "depth": 2, "blocks": 1, "style_width": 6, "residual": False}
    features, style = torch.rand(2, 5, 16, 32), torch.randn(2, 6)
    with torch.no_grad():
        around = RefineNet(RefineNetOptions(**options)).eval()
        # four columns are one cell of the coarsest map
        assert torch.allclose(around(features.roll(4, -1), style), around(features, style).roll(4, -1), atol=1e-5)
        reflecting = RefineNet(RefineNetOptions(**options, around=False)).eval()
        reflecting.load_state_dict(around.state_dict())
        seam = reflecting(features.roll(4, -1), style) - reflecting(features, style).roll(4, -1)
        assert float(seam.abs().max()) > 1e-4


def test_the_place_that_a_ray_meets_is_encoded_by_octaves():
    # from (0, 3, 2) m a ray goes 4 m east to (4, 3, 2): z, x, y are 0.25, 0.5, 0.375 of 8 m; the second is half seen
    origin, east = torch.tensor([0.0, 3, 2]).reshape(1, 1, 1, 3), torch.tensor([1.0, 0, 0]).expand(1, 1, 3, 3)
    rendered = Rendered(torch.zeros(1, 3, 1, 3), torch.tensor([[[1.0, 0.5, 0.0]]]), torch.tensor([[[4.0, 2.0, 0.0]]]))
    found = place_encoding(rendered, origin, east, 8.0, octaves=2)
    angles = torch.pi * torch.tensor([0.25, 0.5, 0.375, 0.5, 1.0, 0.75])
    expected = torch.cat([angles.sin(), angles.cos()])
    assert found.shape == (1, 12, 1, 3)
    for column, opacity in enumerate((1.0, 0.5, 0.0)):
        assert torch.allclose(found[0, :, 0, column], opacity * expected, atol=1e-6)
    net = RefineNet(RefineNetOptions(width=8, depth=2, style_width=4, octaves=2))
    assert net.features(rendered, 8.0, (origin, east)).shape == (1, 17, 1, 3)
    with pytest.raises(InputError, match="along which rays"):
        net.features(rendered, 8.0)


def test_an_untrained_unet_shows_the_rendering_over_grey():
    torch.manual_seed(0)
    rgb, opacity = torch.full((1, 3, 8, 16), 0.3), torch.full((1, 8, 16), 0.5)
    rendered = Rendered(rgb, opacity, torch.full((1, 8, 16), 9.0))
    net = RefineNet(RefineNetOptions(width=8, depth=2, style_width=4))
    picture = net(net.features(rendered, 3.0), torch.zeros(1, 4))
    assert torch.allclose(picture, torch.full_like(picture, 0.3 + 0.5 * 0.5), atol=0.03)
    bare = RefineNet(RefineNetOptions(width=8, depth=2, style_width=4, opacity=False))
    assert torch.allclose(bare(bare.features(rendered, 3.0)), rgb, atol=0.03)


def test_features_are_what_the_options_ask_for():
    rendered = Rendered(torch.rand(2, 3, 8, 16), torch.rand(2, 8, 16), 10 * torch.rand(2, 8, 16))
    features = RefineNet(RefineNetOptions.of_size("tiny")).features(rendered, half_m=4.0)
    assert torch.equal(features[:, :3], rendered.rgb) and torch.equal(features[:, 3], rendered.opacity)
    assert torch.equal(features[:, 4], rendered.distance / 4.0)
    for switches, channels in (({"distance": False}, 4), ({"opacity": False}, 4),
                               ({"opacity": False, "distance": False}, 3)):
        net = RefineNet(RefineNetOptions.of_size("tiny", **switches))
        assert net.options.channels == channels == net.features(rendered, 4.0).shape[1]
        assert net(net.features(rendered, 4.0)).shape == (2, 3, 8, 16)


@pytest.mark.parametrize("kind", ["unet", "published"])
def test_the_style_modulates_the_second_and_third_upsampling_alone(kind):
    torch.manual_seed(0)
    net = RefineNet(RefineNetOptions(kind=kind, width=4, depth=4, blocks=1, style_width=6, residual=False)).eval()
    assert net.trunk.modulation.steps == [1, 2]
    if kind == "unet":
        nn.init.normal_(net.trunk.last.weight)
    maps = {}
    for step, up in enumerate(net.trunk.ups):
        up.register_forward_hook(lambda module, args, out, step=step: maps.setdefault(step, []).append(out))
    features = torch.rand(1, 5, 32, 64)
    with torch.no_grad():
        pictures = [net(features, style) for style in (torch.zeros(1, 6), torch.ones(1, 6), None)]
        same = [torch.equal(maps[step][0], maps[step][1]) for step in range(4)]
        assert same == [True, False, False, False]
        assert float((pictures[0] - pictures[1]).abs().max()) > 1e-3
        # factors and offsets of 0 are no modulation
        nn.init.zeros_(net.trunk.modulation.linear.weight)
        nn.init.zeros_(net.trunk.modulation.linear.bias)
        assert torch.equal(net(features, torch.ones(1, 6)), pictures[2])
    assert all(0 <= float(p.min()) and float(p.max()) <= 1 for p in pictures)


def test_modulation_by_hand():
    # map * (w + 1) + b before LeakyReLU, with w = 1, b = -0.5 by the bias of the style's layer alone
    torch.manual_seed(0)
    net = RefineNet(RefineNetOptions(width=4, depth=2, style_width=3))
    up, linear = net.trunk.ups[1], net.trunk.modulation.linear
    nn.init.zeros_(linear.weight)
    with torch.no_grad():
        linear.bias.copy_(torch.tensor([1.0] * 4 + [-0.5] * 4))
        modulation = net.trunk.modulation(torch.rand(1, 3))[1]
        x = torch.rand(1, 4, 8, 16)
        plain = up.norm(up.convolution(x)) * 2 - 0.5
        assert torch.allclose(up(x, modulation), torch.where(plain > 0, plain, 0.2 * plain))


def test_odd_sizes_and_faults():
    net = RefineNet(RefineNetOptions.of_size("tiny"))
    assert net(torch.rand(1, 5, 13, 27)).shape == (1, 3, 13, 27)
    with pytest.raises(InputError, match="expected \\[B, 5, H, W\\]"):
        net(torch.rand(1, 4, 8, 16))
    with pytest.raises(InputError, match="style has shape"):
        net(torch.rand(2, 5, 8, 16), torch.rand(1, 16))
    for wrong in ({"kind": "gan"}, {"depth": 1}, {"width": 0}, {"width": 2.5}, {"octaves": -1}):
        with pytest.raises(InputError):
            RefineNetOptions(**wrong)
    with pytest.raises(InputError, match="no size"):
        RefineNetOptions.of_size("large")
