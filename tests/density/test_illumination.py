"""The illumination encoder: published count and defects, and the way between two styles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from rsnb.density.illumination import IlluminationEncoder, IlluminationOptions, interpolate_styles
from rsnb.density.sky import preset_skies
from rsnb.errors import InputError


def skies(mode="fixed"):
    return torch.stack(list(preset_skies(mode).values()))


def test_the_published_encoder_has_its_parameters():
    encoder = IlluminationEncoder(IlluminationOptions(mode="published"))
    # 270 -> 256 -> 256, two heads of 128, then 128 -> 256 and five 256 -> 256
    expected = 271 * 256 + 257 * 256 + 2 * 257 * 128 + 129 * 256 + 5 * 257 * 256
    assert sum(p.numel() for p in encoder.parameters()) == expected == 562_944


def test_published_is_linear_up_to_the_tanh_and_ours_is_not():
    torch.manual_seed(0)
    for mode, linear in (("published", True), ("ours", False)):
        encoder = IlluminationEncoder(IlluminationOptions(mode=mode)).double()
        a, b = torch.randn(2, 1, 270, dtype=torch.float64) * 0.05
        scale = 1 if mode == "published" else 90
        middle, ends = encoder.body(scale * (a + b) / 2), (encoder.body(scale * a) + encoder.body(scale * b)) / 2
        assert torch.allclose(middle, ends) is linear


def test_a_sky_has_one_style_unless_told_otherwise():
    torch.manual_seed(0)
    histogram = skies()
    ours = IlluminationEncoder(IlluminationOptions(draw_in_training=True))
    assert torch.equal(ours.eval()(histogram), ours(histogram))
    assert not torch.equal(ours.train()(histogram), ours(histogram))
    published = IlluminationEncoder(IlluminationOptions.of_size("full")).eval()
    assert not torch.equal(published(histogram), published(histogram))
    seeded = [published(histogram, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*seeded)


def test_the_draw_has_the_mean_and_variance_it_says():
    torch.manual_seed(0)
    encoder = IlluminationEncoder(IlluminationOptions(hidden=8, code=4, style_width=4, layers=1, draw_at_test=True))
    seen = []
    encoder.style = lambda code: seen.append(code) or code
    histogram = skies()[:1].expand(20_000, -1)
    with torch.no_grad():
        result = encoder.eval().illumination(histogram)
    code = seen[0]
    # standard errors of mean and log variance of 20,000 draws: s / 141, 0.01
    assert torch.allclose(code.mean(0), result.mean[0], atol=0.06)
    assert torch.allclose(code.var(0).log(), result.log_variance[0], atol=0.06)


def test_published_raw_counts_saturate_the_mean_and_ours_tell_skies_apart():
    torch.manual_seed(0)
    published = IlluminationEncoder(IlluminationOptions.of_size("full"))
    mean, log_variance = published.moments(skies("published") * 4)  # skies of 64 k pixels, as at 512 x 128
    assert float((mean.abs() > 0.99).float().mean()) > 0.5
    assert float(log_variance.detach().abs().max()) <= 1
    ours = IlluminationEncoder(IlluminationOptions())
    mean, log_variance = ours.moments(skies())
    assert float(log_variance.detach().abs().max()) <= 1
    # a fresh encoder tells skies apart by a good part of what a style is
    style = ours.eval()(skies()).detach()
    assert float(style.std(dim=0).norm() / style.norm(dim=1).mean()) > 0.1


def test_an_encoder_of_grey_skies_takes_the_luma_alone():
    options = IlluminationOptions.of_size("tiny", mode="grey")
    assert (options.length, options.histogram) == (90, "grey")
    torch.manual_seed(0)
    encoder, ours = IlluminationEncoder(options), IlluminationEncoder(IlluminationOptions.of_size("tiny"))
    styles = encoder(skies("grey"))
    assert styles.shape == (7, 16) and float((styles[0] - styles[-1]).detach().abs().max()) > 1e-3
    # one channel that sums to 1 drives the first layer as hard as three do: mean 1 a bin
    assert float(encoder.moments(skies("grey"))[0].detach().std()) == pytest.approx(
        float(ours.moments(skies())[0].detach().std()), rel=1.0)
    with pytest.raises(InputError, match=r"expected \[B, 90\]"):
        encoder(skies())


def test_the_length_of_the_code_does_not_count():
    encoder = IlluminationEncoder(IlluminationOptions.of_size("tiny"))
    code = torch.randn(3, 8)
    assert torch.allclose(encoder.style(code), encoder.style(7 * code), atol=1e-6)
    assert encoder.style(code).shape == (3, 16)
    assert torch.isfinite(encoder(torch.zeros(1, 270))).all()  # a panorama without sky


def test_all_layers_learn():
    torch.manual_seed(0)
    encoder = IlluminationEncoder(IlluminationOptions.of_size("smoke", draw_in_training=True))
    result = encoder.illumination(skies())
    (result.style.square().sum() + result.log_variance.sum()).backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in encoder.parameters())
    assert sum(isinstance(m, nn.LeakyReLU) for m in encoder.body) == 2


def test_slerp_turns_evenly_and_linear_does_not():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    path = interpolate_styles(a, b, 4)
    angles = torch.atan2(path[:, 1], path[:, 0])
    assert torch.allclose(angles, torch.tensor([0, 1, 2, 3]) * math.pi / 6, atol=1e-6)
    assert torch.allclose(path.norm(dim=1), torch.tensor([2, 8 / 3, 10 / 3, 4]), atol=1e-5)
    assert torch.allclose(interpolate_styles(a, b, 3, "linear")[1], torch.tensor([1.0, 2.0]))
    assert torch.allclose(path[0], a, atol=1e-6) and torch.allclose(path[-1], b, atol=1e-6)


def test_slerp_of_equal_and_of_nearly_equal_directions_is_the_line():
    a = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    for b in (a, 2 * a, a + 1e-5, torch.zeros_like(a)):
        path = interpolate_styles(a, b, 5)
        assert torch.isfinite(path).all()
        assert torch.allclose(path, interpolate_styles(a, b, 5, "linear"), atol=1e-5)


def test_faults():
    a = torch.randn(4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="opposite"):
        interpolate_styles(a, -a, 3)
    assert torch.allclose(interpolate_styles(a, -a, 3, "linear")[1], torch.zeros(4))
    for wrong in ((a, a[:2], 3), (a, a, 1), (a, a, 3, "cubic")):
        with pytest.raises(InputError):
            interpolate_styles(*wrong)
    with pytest.raises(InputError, match=r"expected \[B, 270\]"):
        IlluminationEncoder(IlluminationOptions.of_size("tiny"))(torch.rand(270))
    for wrong in ({"mode": "rgb"}, {"code": 0}, {"hidden": 2.5}, {"layers": True}):
        with pytest.raises(InputError):
            IlluminationOptions(**wrong)
    with pytest.raises(InputError, match="no size"):
        IlluminationOptions.of_size("paper")
