"""Picture scores against hand calculations, scikit-image, and published values of real picture pairs."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rsnb.errors import InputError
from rsnb.metrics import luma, psnr, rmse, sharpness_difference, ssim, ssim_map


def load(path, mode="RGB"):
    """[C, H, W] float64 in 0..1."""
    pixels = np.asarray(Image.open(path).convert(mode), dtype=np.float64) / 255
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def scene(seed=0, shape=(3, 41, 57)):
    """A smooth random picture and a noisy copy."""
    rng = np.random.default_rng(seed)
    picture = np.cumsum(np.cumsum(rng.normal(size=shape), axis=-1), axis=-2)
    picture = (picture - picture.min()) / np.ptp(picture)
    return picture, np.clip(picture + rng.normal(size=shape) * 0.07, 0, 1)


@pytest.fixture(params=["I03", "I08"])
def tid_pair(request, real):
    folder = real("metrics/tid_pairs")
    with (folder / "results_official.csv").open() as file:
        published = {row["Method"]: float(row[f"{request.param}.bmp"]) for row in csv.DictReader(file)
                     if row["Method"] in ("psnr", "ssim")}
    name = f"{request.param}.bmp"
    return load(folder / "ref_dir" / name), load(folder / "dist_dir" / name), published


def test_published_psnr_is_over_rgb(tid_pair):
    reference, distorted, published = tid_pair
    # 21.11 and 23.3: printed with two and one decimals.
    assert psnr(reference, distorted) == pytest.approx(published["psnr"], abs=0.005)
    on_luma = psnr(*(luma(torch.tensor(x)) for x in (reference, distorted)))
    assert abs(on_luma - published["psnr"]) > 0.4


def test_published_ssim_is_that_of_8_bit_luma(tid_pair):
    reference, distorted, published = tid_pair
    grey = [torch.round(luma(torch.tensor(x)) * 255) / 255 for x in (reference, distorted)]
    assert ssim(*grey) == pytest.approx(published["ssim"], abs=1e-4)
    # channels="luma" skips the rounding, which moves the third decimal of the noisy picture.
    assert ssim(reference, distorted, channels="luma") == pytest.approx(published["ssim"], abs=2e-3)


def test_published_ssim_of_the_goldhill_pair(real):
    folder = real("metrics/piq_assets")
    known = json.loads((folder / "known_answers.json").read_text())
    pair = [load(folder / name, "L") for name in ("goldhill.gif", "goldhill_jpeg.gif")]
    published = known["published"]["ssim_with_downsampling_by_2 (MATLAB ssim.m)"]
    assert ssim(*pair, downsample=True) == pytest.approx(published, abs=5e-5)
    plain = known["ours_skimage_full_resolution"]
    assert ssim(*pair) == pytest.approx(plain["ssim"], abs=5e-5)
    assert psnr(*pair) == pytest.approx(plain["psnr"], abs=5e-5)


def test_ssim_equals_scikit_image():
    for seed in range(3):
        a, b = scene(seed)
        expected = structural_similarity(a, b, channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5,
                                         use_sample_covariance=False)
        assert ssim(a, b) == pytest.approx(expected, abs=1e-12)
        assert ssim(a * 200, b * 200, data_range=200) == pytest.approx(expected, abs=1e-12)
        assert ssim(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(expected, abs=1e-6)


def test_psnr_equals_scikit_image_and_the_formula():
    a, b = scene()
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1.0), abs=1e-12)
    # A constant error of 0.1: MSE 0.01, so 20 dB; on a range of 2 another 20 log10 2.
    flat = np.full((3, 4, 5), 0.4)
    assert psnr(flat, flat + 0.1) == pytest.approx(20)
    assert psnr(flat, flat + 0.1, data_range=2.0) == pytest.approx(20 + 20 * math.log10(2))
    assert rmse(flat, flat + 0.1, scale=255) == pytest.approx(25.5)


def test_ssim_of_constants_by_hand():
    """Flat pictures of 0.2 and 0.6: no variance, so (2 * 0.12 + c1) / (0.04 + 0.36 + c1) with c1 = 1e-4."""
    a, b = np.full((1, 11, 11), 0.2), np.full((1, 11, 11), 0.6)
    assert ssim(a, b) == pytest.approx((0.24 + 1e-4) / (0.40 + 1e-4), abs=1e-12)


def test_identical_pictures():
    a, b = scene()
    assert psnr(a, a) == math.inf
    assert psnr(np.stack([a, a]), np.stack([a, b])) == math.inf
    assert ssim(a, a) == pytest.approx(1, abs=1e-12)
    assert sharpness_difference(a, a) == math.inf


def test_batches_are_means_of_their_pictures():
    pairs = [scene(i) for i in range(3)]
    a, b = (np.stack(x) for x in zip(*pairs, strict=True))
    for score in (psnr, rmse, ssim, sharpness_difference):
        each = [score(x, y) for x, y in pairs]
        assert score(a, b) == pytest.approx(np.mean(each), rel=1e-12)
        np.testing.assert_allclose(score(a, b, per_image=True), each, rtol=1e-12)
    assert psnr(a[:, None], b[:, None], per_image=True).shape == (3, 1)


def test_what_is_masked_has_no_influence():
    a, b = scene()
    mask = np.zeros((41, 57), bool)
    mask[8:35, 10:50] = True
    spoiled = b.copy()
    spoiled[:, ~mask] = np.nan
    for score in (psnr, rmse, ssim, sharpness_difference):
        assert score(a, spoiled, mask) == score(a, b, mask)
        assert score(a, b, mask) != pytest.approx(score(a, b), abs=1e-6)
        assert score(a, b, np.ones((41, 57), bool)) == pytest.approx(score(a, b), rel=1e-12)
        assert score(a, b, mask[None]) == score(a, b, mask)
    assert psnr(a, b, mask) == pytest.approx(psnr(a[:, 8:35, 10:50], b[:, 8:35, 10:50]), rel=1e-12)


def test_masked_ssim_of_a_half_against_a_direct_sum():
    """The window in the middle, its left half masked: weights renormalised by hand."""
    a, b = (x[:1, :11, :11] for x in scene(4))
    mask = np.zeros((11, 11), bool)
    mask[:, 5:] = True
    g = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    w = np.outer(g, g) * mask
    w /= w.sum()
    x, y = a[0], b[0]
    mx, my = (w * x).sum(), (w * y).sum()
    vx, vy, cov = (w * x * x).sum() - mx**2, (w * y * y).sum() - my**2, (w * x * y).sum() - mx * my
    c1, c2 = 1e-4, 9e-4
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(a, b, mask) == pytest.approx(expected, abs=1e-12)


def test_sharpness_difference_by_hand():
    """A ramp of 0.1 a column against a flat picture: every interior pixel differs by 0.1, 10 log10(10) = 10 dB."""
    ramp = np.broadcast_to(np.arange(8) * 0.1, (3, 6, 8)).copy()
    flat = np.full((3, 6, 8), 0.5)
    assert sharpness_difference(ramp, flat) == pytest.approx(10)
    # Strengths, not signs: the mirrored ramp has the same edges. And the first row and column do not count.
    assert sharpness_difference(ramp, ramp[..., ::-1]) > 140
    bent = flat.copy()
    bent[:, 0, 0] = 1.0
    assert sharpness_difference(bent, flat) == math.inf
    # One pixel raised by 0.2 in a 6 x 8 picture: its own down and right steps and the steps from above and from the
    # left, 4 * 0.2 over 4 * 6 interior pixels.
    bent = flat.copy()
    bent[:, 2, 3] += 0.2
    assert sharpness_difference(bent, flat) == pytest.approx(10 * math.log10(24 / 0.8))


def test_masked_sharpness_needs_both_neighbours():
    """Without pixel (2, 4) neither it nor (2, 3), left of it, nor (1, 4), above it, count: 21 of 24 are left.

    The raised pixel (2, 3) then shows in the steps from above and from the left only: 2 * 0.2.
    """
    flat, mask = np.full((3, 6, 8), 0.5), np.ones((6, 8), bool)
    bent = flat.copy()
    bent[:, 2, 3] += 0.2
    mask[2, 4] = False
    assert sharpness_difference(bent, flat, mask) == pytest.approx(10 * math.log10(21 / 0.4))
    # The same turned by 90 degrees: without (3, 3), below the raised pixel.
    mask[2, 4], mask[3, 3] = True, False
    assert sharpness_difference(bent, flat, mask) == pytest.approx(10 * math.log10(21 / 0.4))


def test_ssim_map_is_differentiable():
    a, b = (torch.tensor(x[:, :13, :12]) for x in scene())
    a.requires_grad_(True)
    assert ssim_map(a, b).shape == (3, 3, 2)
    assert torch.autograd.gradcheck(lambda x: ssim_map(x, b), (a,))


def test_numpy_and_torch_agree():
    a, b = scene()
    mask = np.arange(41 * 57).reshape(41, 57) % 3 > 0
    for score in (psnr, ssim, sharpness_difference):
        assert score(torch.tensor(a), torch.tensor(b), torch.tensor(mask)) == score(a, b, mask)


@pytest.mark.parametrize("score", [psnr, ssim, sharpness_difference])
def test_bad_pictures(score):
    a, b = scene()
    with pytest.raises(InputError, match="not finite"):
        score(a, np.where(b > 0.9, np.nan, b))
    with pytest.raises(InputError, match="one size"):
        score(a, b[..., :-1])
    with pytest.raises(InputError, match="Divide 8-bit"):
        score((a * 255).astype(np.uint8), b)
    with pytest.raises(InputError, match="Divide 8-bit"):
        score(a * 255, b * 255)
    with pytest.raises(InputError, match=r"Transpose"):
        score(a.transpose(1, 2, 0), b.transpose(1, 2, 0))
    with pytest.raises(InputError, match="mask"):
        score(a, b, np.zeros((41, 57), bool))
    with pytest.raises(InputError, match="mask of shape"):
        score(a, b, np.ones((3, 57), bool))


def test_windows_and_interiors_that_do_not_exist():
    a = np.zeros((3, 10, 40))
    with pytest.raises(InputError, match="11 x 11"):
        ssim(a, a)
    with pytest.raises(InputError, match="interior"):
        sharpness_difference(a[:, :2], a[:, :2])
    with pytest.raises(InputError, match="no agreed meaning"):
        ssim(np.zeros((3, 40, 40)), np.zeros((3, 40, 40)), np.ones((40, 40)), downsample=True)
    with pytest.raises(InputError, match="channels"):
        ssim(np.zeros((3, 40, 40)), np.zeros((3, 40, 40)), channels="rgb")
