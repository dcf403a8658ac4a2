"""Sky histograms: against numpy.histogram, by hand, and what the published form does with area and brightness."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rsnb.density.sky import (
    LENGTH,
    SKY_LOOKS,
    SkyLook,
    preset_skies,
    preset_sky,
    sky_distance,
    sky_histogram,
    sky_picture,
)
from rsnb.errors import InputError


def pictures(seed=0, batch=3, height=24, width=48):
    """Pictures of whole 255ths, as files hold them, which often lie on the edges of bins, and half-sky masks."""
    rng = np.random.default_rng(seed)
    panorama = (rng.integers(0, 256, (batch, 3, height, width)) / 255).astype(np.float32)
    panorama[1] = panorama[1] * 0.8 + 0.1
    sky = rng.random((batch, height, width)) < 0.4
    sky[2] = True
    return panorama, sky


def test_published_is_numpys_histogram_of_the_masked_picture():
    panorama, sky = pictures()
    ours = sky_histogram(torch.from_numpy(panorama), torch.from_numpy(sky), "published").numpy()
    for one, picture, mask in zip(ours, panorama, sky, strict=True):
        masked = picture * mask
        expected = [np.histogram(masked[channel], bins=100)[0][10:] for channel in (2, 1, 0)]
        assert np.array_equal(one, np.concatenate(expected))


def test_published_counts_a_picture_without_sky_in_the_middle():
    panorama, _ = pictures()
    empty = sky_histogram(torch.from_numpy(panorama), torch.zeros(3, 24, 48, dtype=torch.bool), "published")
    # numpy spreads the bins over -0.5..0.5: 0 begins bin 50, the 41st of the kept ones
    expected = torch.zeros(3, 90)
    expected[:, 40] = 24 * 48
    assert torch.equal(empty[0], expected.flatten())


def test_fixed_is_numpys_histogram_of_the_sky_pixels_over_0_to_1():
    rng = np.random.default_rng(1)
    panorama, sky = rng.random((2, 3, 20, 30)), rng.random((2, 20, 30)) < 0.5
    ours = sky_histogram(torch.from_numpy(panorama), torch.from_numpy(sky)).numpy()
    for one, picture, mask in zip(ours, panorama, sky, strict=True):
        counts = [np.histogram(picture[channel][mask], bins=100, range=(0, 1))[0][10:] for channel in (2, 1, 0)]
        assert np.allclose(one, np.concatenate([c / c.sum() for c in counts]), atol=1e-12)


def test_fixed_by_hand():
    # four sky pixels: blue 0.995, 1.0, 0.995, 0.05 (dropped); green all 0.505; red 0.105, 0.105, 0.205, 0.205
    blue, green, red = [0.995, 1.0, 0.995, 0.05], [0.505] * 4, [0.105, 0.105, 0.205, 0.205]
    panorama = torch.ones(1, 3, 2, 4)
    panorama[0, :, 0] = torch.tensor([red, green, blue])
    sky = torch.zeros(1, 2, 4)
    sky[0, 0] = 1
    histogram = sky_histogram(panorama, sky)[0].reshape(3, 90)
    expected = torch.zeros(3, 90)
    expected[0, 89] = 1.0  # three of the three kept
    expected[1, 40] = 1.0
    expected[2, 0] = expected[2, 10] = 0.5
    assert torch.allclose(histogram, expected)


def test_fixed_does_not_count_area_and_keeps_brightness_where_published_does_the_reverse():
    picture = sky_picture(SKY_LOOKS["clear"], 16, 64)[None]
    twice = torch.cat([picture, torch.zeros_like(picture)], dim=2)
    sky, half = torch.ones(1, 16, 64, dtype=torch.bool), torch.zeros(1, 32, 64, dtype=torch.bool)
    half[:, :16] = True
    assert torch.allclose(sky_histogram(picture, sky), sky_histogram(twice, half))
    darker = 0.5 * twice
    assert float(sky_distance(sky_histogram(twice, half), sky_histogram(darker, half))[0]) > 0.2
    same = sky_distance(*(sky_histogram(p, half, "published") for p in (twice, darker)))
    assert float(same[0]) < 0.01  # each channel's own maximum is its last edge
    assert float(sky_histogram(picture.repeat(1, 1, 1, 2), sky.repeat(1, 1, 2), "published").sum()) == pytest.approx(
        2 * float(sky_histogram(picture, sky, "published").sum()))


def test_no_sky_and_black_sky_are_zeros_and_all_sky_is_fine():
    panorama, _ = pictures()
    panorama = torch.from_numpy(panorama)
    none = torch.zeros(3, 24, 48, dtype=torch.bool)
    assert float(sky_histogram(panorama, none).abs().max()) == 0
    assert float(sky_histogram(0 * panorama, ~none).abs().max()) == 0
    every = sky_histogram(panorama, ~none)
    assert every.shape == (3, LENGTH) and torch.allclose(every.reshape(3, 3, 90).sum(-1), torch.ones(3, 3))


def test_distance_is_how_far_brightness_moved():
    def even(level):
        return sky_histogram(torch.full((1, 3, 4, 4), level), torch.ones(1, 4, 4))

    # one value each: all of it moves by the difference
    assert float(sky_distance(even(0.305), even(0.705))) == pytest.approx(0.4, abs=1e-6)
    a, b = (torch.rand(5, LENGTH, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    assert torch.allclose(sky_distance(a, b), sky_distance(b, 3 * a), atol=1e-6)
    assert float(sky_distance(a, a).max()) == 0
    scipy_stats = pytest.importorskip("scipy.stats")
    at = np.arange(90) / 100
    per_channel = [scipy_stats.wasserstein_distance(at, at, *(h[0].reshape(3, 90)[c].double() for h in (a, b)))
                   for c in range(3)]
    assert float(sky_distance(a.double(), b.double())[0]) == pytest.approx(np.mean(per_channel), abs=1e-9)
    assert sky_distance(a, torch.zeros_like(a)).isnan().all()


def test_presets_differ_and_are_the_same_everywhere():
    skies = preset_skies()
    assert set(skies) == set(SKY_LOOKS)
    assert all(h.shape == (LENGTH,) and torch.allclose(h.reshape(3, 90).sum(-1), torch.ones(3)) for h in skies.values())
    names = list(skies)
    apart = [float(sky_distance(skies[a], skies[b])) for i, a in enumerate(names) for b in names[i + 1:]]
    assert min(apart) > 0.02
    assert torch.equal(preset_sky("dusk"), skies["dusk"])
    # larger pictures of a look have nearly its histogram; the seed is in the picture
    assert float(sky_distance(preset_sky("clear", height=64, width=256), skies["clear"])) < 0.01
    look = SKY_LOOKS["clouds"]
    assert torch.equal(sky_picture(look), sky_picture(look))
    assert not torch.equal(sky_picture(look), sky_picture(look, seed=1))


def test_a_picture_without_grain_is_the_gradient():
    picture = sky_picture(SkyLook((0.2, 0.4, 0.6), (0.8, 0.8, 0.8)), 32, 512)
    assert torch.allclose(picture[:, 0].mean(-1), torch.tensor([0.2, 0.4, 0.6]), atol=0.005)
    assert torch.allclose(picture[:, -1].mean(-1), torch.tensor([0.8, 0.8, 0.8]), atol=0.005)


def test_grey_by_hand():
    # luma 0.299 r + 0.587 g + 0.114 b: 0.5 of all greys; pure green 0.587; red 0.299; blue 0.114
    panorama = torch.tensor([[0.5, 0, 1, 0], [0.5, 1, 0, 0], [0.5, 0, 0, 1]])[None, :, None]
    histogram = sky_histogram(panorama, torch.ones(1, 1, 4), "grey")
    expected = torch.zeros(90)
    expected[[40, 48, 19, 1]] = 0.25
    assert torch.allclose(histogram[0], expected)
    assert float(sky_distance(histogram, histogram.roll(10, dims=1), channels=1)) == pytest.approx(0.1, abs=1e-6)


def test_published_presets_are_what_a_panorama_of_that_sky_would_give():
    """Counts of its size, masked pixels at 0 below the lowest edge: as numpy counts the masked panorama."""
    height, width = 40, 160
    panorama = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    panorama[0, :, :16] = sky_picture(SKY_LOOKS["haze"], 16, width)
    sky = torch.zeros(1, height, width, dtype=torch.bool)
    sky[:, :16] = True
    masked = (panorama * sky[:, None])[0].numpy()
    expected = np.concatenate([np.histogram(masked[channel], bins=100)[0][10:] for channel in (2, 1, 0)])
    assert np.array_equal(preset_sky("haze", "published", height=height, width=width), expected)
    # haze is brighter than 0.6: all of the sky is in the bins that are kept
    assert float(preset_sky("haze", "published").sum()) == 3 * 51 * 512  # 0.4 of 128 rows
    for share in (0.0, 1.0):
        with pytest.raises(InputError, match="a share of"):
            preset_sky("haze", "published", share=share)


def test_faults():
    panorama, sky = torch.rand(1, 3, 4, 8), torch.ones(1, 4, 8)
    with pytest.raises(InputError, match="mask of the|same size|mask"):
        sky_histogram(panorama, torch.ones(1, 4, 4))
    with pytest.raises(InputError, match="not finite"):
        sky_histogram(panorama * torch.nan, sky)
    with pytest.raises(InputError, match="no mode"):
        sky_histogram(panorama, sky, "rgb")
    with pytest.raises(InputError, match="no sky 'storm'.*clear"):
        preset_sky("storm")
