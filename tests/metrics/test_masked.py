"""MAE, MSE and the table of scores, against numbers worked out by hand and by scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from rsnb.errors import InputError
from rsnb.metrics import mae, mse, picture_scores, rmse


def test_by_hand():
    a = np.zeros((1, 2, 2))
    b = np.array([[[0.1, 0.2], [0.4, -0.5]]])
    # |b| = .1 .2 .4 .5: mean 0.3; squares .01 .04 .16 .25: mean 0.115
    assert mae(a, b) == pytest.approx(0.3) and mse(a, b) == pytest.approx(0.115)
    assert mae(a, b, scale=255) == pytest.approx(76.5) and mse(a, b, scale=10) == pytest.approx(11.5)
    mask = np.array([[True, False], [True, False]])
    assert mae(a, b, mask) == pytest.approx(0.25) and mse(a, b, mask) == pytest.approx(0.085)
    assert rmse(a, b, mask) == pytest.approx(0.085**0.5)


def test_what_lies_outside_the_mask_has_no_influence():
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 40, 50)), rng.random((3, 40, 50))
    mask = np.zeros((40, 50), bool)
    mask[5:35, 10:45] = True
    spoilt = b.copy()
    spoilt[:, ~mask] = np.nan
    assert picture_scores(a, b, mask) == picture_scores(a, spoilt, mask)


def test_table_against_scikit_image():
    rng = np.random.default_rng(1)
    a = rng.random((3, 40, 50))
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)
    scores = picture_scores(b, a)
    assert list(scores) == ["mae", "mse", "rmse", "psnr", "ssim", "counted"] and scores["counted"] == 1
    assert scores["mse"] == pytest.approx(mean_squared_error(a, b))
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1))
    assert scores["ssim"] == pytest.approx(structural_similarity(
        a, b, channel_axis=0, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False), abs=1e-6)


def test_share_that_counted_and_no_window():
    a, mask = np.zeros((3, 20, 20)), np.zeros((20, 20), bool)
    mask[::7, ::7] = True  # scattered pixels: no window of SSIM is a quarter full
    scores = picture_scores(a, a + 0.1, mask)
    assert scores["counted"] == pytest.approx(9 / 400) and "ssim" not in scores
    assert "ssim" not in picture_scores(a[:, :8, :8], a[:, :8, :8] + 0.1)


def test_errors_are_those_of_the_other_scores():
    with pytest.raises(InputError, match="no pixel"):
        picture_scores(np.zeros((3, 20, 20)), np.zeros((3, 20, 20)), np.zeros((20, 20), bool))
    with pytest.raises(InputError, match="shape"):
        mae(np.zeros((3, 20, 20)), np.zeros((3, 20, 21)))
    with pytest.raises(InputError, match="finite"):
        mse(np.full((3, 20, 20), np.nan), np.zeros((3, 20, 20)))
