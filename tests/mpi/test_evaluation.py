"""Both metric families and the depth scores on pictures whose scores are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.metrics import ssim
from rsnb.mpi.evaluation import (
    best_constant_depth,
    mean_and_sd,
    mean_scores,
    score_depth,
    score_view,
    seconds_to_reach,
)


def half_wrong():
    """A picture that is off by 0.1 in the left half and by 0.5 in the right one; the mask holds the left half."""
    rng = np.random.default_rng(3)
    truth = rng.uniform(0.2, 0.45, (3, 40, 60))
    image = truth + 0.1
    image[..., 30:] += 0.4
    mask = np.zeros((40, 60), bool)
    mask[:, :30] = True
    return image, truth, mask


def test_the_two_families_count_different_pixels():
    image, truth, mask = half_wrong()
    scores = score_view("004", "test", image, truth, mask, lpips=None)
    assert scores.scores["immpi_masked"]["psnr"] == pytest.approx(20.0, abs=1e-9)
    assert scores.scores["standard"]["psnr"] == pytest.approx(-10 * math.log10((0.01 + 0.25) / 2), abs=1e-9)
    assert scores.scores["standard"]["ssim"] == pytest.approx(ssim(image, truth), abs=1e-12)
    assert scores.scores["immpi_masked"]["ssim"] > scores.scores["standard"]["ssim"]  # black agrees with black
    assert scores.counted == 0.5
    assert scores.missing == {"lpips": "not asked for"}


def test_values_beyond_white_are_clamped_as_in_a_file():
    truth = np.ones((3, 16, 16))
    assert math.isinf(score_view("a", "test", truth + 0.5, truth, lpips=None).scores["standard"]["psnr"])
    assert not math.isinf(score_view("a", "test", truth - 0.5, truth, lpips=None).scores["standard"]["psnr"])


def test_lpips_is_fed_as_each_family_feeds_it(monkeypatch):
    seen = []
    monkeypatch.setattr("rsnb.mpi.evaluation.lpips_distance", lambda a, b, net: seen.append((a, b, net)) or 0.25)
    image, truth, mask = half_wrong()
    scores = score_view("a", "test", image, truth, mask)
    assert scores.scores["standard"]["lpips"] == scores.scores["immpi_masked"]["lpips"] == 0.25
    # the network gets 2 x - 1: the picture itself in one family, the masked picture in 0..1 in the other
    assert torch.allclose(2 * seen[1][0] - 1, torch.as_tensor(np.clip(image, 0, 1) * mask))
    assert torch.allclose(seen[0][1], torch.as_tensor(truth)) and seen[0][2] == "vgg"


def test_a_score_that_cannot_be_had_is_absent_with_its_reason(monkeypatch):
    def absent(a, b, net):
        raise InputError("the ImageNet weights are not on this machine")

    monkeypatch.setattr("rsnb.mpi.evaluation.lpips_distance", absent)
    image, truth, mask = half_wrong()
    view = score_view("a", "test", image, truth, mask)
    assert "lpips" not in view.scores["standard"] and "not on this machine" in view.missing["lpips"]
    means = mean_scores([view])
    assert "standard/psnr" in means and "standard/lpips" not in means
    with pytest.raises(InputError, match="no pixel"):
        score_view("a", "test", image, truth, mask * 0)


def test_train_and_test_are_apart():
    truth = np.full((3, 16, 16), 0.5)
    views = [score_view(n, split, truth + off, truth, lpips=None)
             for n, split, off in (("1", "train", 0.01), ("2", "test", 0.1), ("3", "test", 0.001))]
    assert mean_scores(views, "train")["standard/psnr"] == pytest.approx(40)
    assert mean_scores(views, "test")["standard/psnr"] == pytest.approx((20 + 60) / 2)
    assert mean_scores(views, "test")["views"] == 2
    with pytest.raises(InputError, match="no view of the split"):
        mean_scores(views, "reference")


def test_seeds():
    table = mean_and_sd([{"psnr": 20.0, "lpips": 0.1}, {"psnr": 22.0}, {"psnr": 24.0, "lpips": 0.2}])
    assert table == {"psnr": (22.0, 2.0)}
    assert math.isnan(mean_and_sd([{"psnr": 20.0}])["psnr"][1])
    with pytest.raises(InputError):
        mean_and_sd([])


def test_depth_against_the_truth_and_the_best_plane():
    true = np.array([[10.0, 10.0, 20.0, np.nan], [10.0, 40.0, np.inf, 10.0]])
    pred = np.array([[11.0, 10.0, 20.0, 5.0], [10.0, 40.0, 5.0, 99.0]])
    mask = np.ones_like(true)
    mask[1, 3] = 0
    scores = score_depth(pred, true, mask)
    assert scores.abs_rel == pytest.approx(0.1 / 5)
    assert scores.mae == pytest.approx(1 / 5)
    # constant 10: errors 0, 0, 1/2, 0, 3/4
    assert scores.constant == 10 and scores.constant_abs_rel == pytest.approx(1.25 / 5)
    assert scores.constant_mae == pytest.approx((0 + 0 + 10 + 0 + 30) / 5)
    assert scores.share_of_constant == pytest.approx(0.02 / 0.25)
    assert scores.counted == pytest.approx(5 / 8)


def test_no_constant_is_better():
    true = np.random.default_rng(0).uniform(1, 9, 400) ** 2
    best, error = best_constant_depth(true)
    tried = [(np.abs(c - true) / true).mean() for c in np.linspace(1, 81, 4001)]
    assert error <= min(tried) + 1e-12
    assert error == pytest.approx((np.abs(best - true) / true).mean())


def test_seconds_to_reach():
    history = [{"seconds": 0.0, "psnr": 10.0}, {"seconds": 1.0}, {"seconds": 2.0, "psnr": math.nan},
               {"seconds": 3.0, "psnr": 25.0}, {"seconds": 4.0, "psnr": 24.0}]
    assert seconds_to_reach(history, 20) == 3.0
    assert seconds_to_reach(history, 10) == 0.0
    assert seconds_to_reach(history, 30) is None


def test_a_network_that_is_none():
    image, truth, mask = half_wrong()
    with pytest.raises(InputError, match="'resnet' is no network"):
        score_view("004", "test", image, truth, mask, lpips="resnet")
