"""Depth, height and angle errors by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.geometry import poses
from rsnb.metrics import angular_error, depth_errors, height_errors, pose_errors, rotation_error


def test_depth_errors_by_hand():
    true = np.array([[10.0, 20.0], [40.0, np.inf]])
    pred = np.array([[11.0, 18.0], [80.0, np.inf]])
    errors = depth_errors(pred, true)
    assert errors["abs_rel"] == pytest.approx((0.1 + 0.1 + 1.0) / 3)
    assert errors["sq_rel"] == pytest.approx((1 / 10 + 4 / 20 + 1600 / 40) / 3)
    assert errors["rmse"] == pytest.approx(math.sqrt((1 + 4 + 1600) / 3))
    logs = math.log(1.1) ** 2 + math.log(0.9) ** 2 + math.log(2) ** 2
    assert errors["rmse_log"] == pytest.approx(math.sqrt(logs / 3))
    assert errors["mae"] == pytest.approx((1 + 2 + 40) / 3)
    assert errors["median"] == 2
    # Ratios 1.1, 1.111, 2: two below 1.25, none more below 1.5625 and 1.953.
    assert [errors[f"delta_{i}"] for i in (1, 2, 3)] == pytest.approx([2 / 3] * 3)
    assert (errors["missed"], errors["false_hits"], errors["pixels"]) == (0, 0, 3)
    assert depth_errors(pred, true, thresholds=(2.5,))["delta_1"] == 1
    assert "delta_2" not in depth_errors(pred, true, thresholds=(2.5,))


def test_missed_and_invented_surfaces_are_told():
    true = np.array([10.0, 20.0, 30.0, np.inf, np.inf])
    pred = np.array([10.0, np.inf, 30.0, 5.0, np.inf])
    errors = depth_errors(pred, true)
    assert errors["mae"] == 0 and errors["missed"] == pytest.approx(1 / 3)
    assert errors["delta_3"] == pytest.approx(2 / 3)  # a miss fails every threshold
    assert errors["false_hits"] == 0.5
    nothing = depth_errors(np.full(5, np.inf), true)
    assert nothing["missed"] == 1 and math.isnan(nothing["rmse"]) and math.isnan(nothing["median"])
    assert not nothing["rmse"] <= 1e9  # NaN passes no bar


def test_masked_depths_have_no_influence():
    rng = np.random.default_rng(0)
    true = rng.uniform(1, 50, (8, 9))
    pred = true * rng.uniform(0.9, 1.2, (8, 9))
    mask = rng.random((8, 9)) > 0.4
    spoiled = np.where(mask, pred, np.nan)
    assert depth_errors(spoiled, np.where(mask, true, -1), mask) == depth_errors(pred[mask], true[mask])
    assert depth_errors(torch.tensor(pred), torch.tensor(true), torch.tensor(mask)) == depth_errors(pred, true, mask)


@pytest.mark.parametrize("value", [np.nan, 0.0, -3.0])
def test_depths_that_are_none(value):
    good, bad = np.full(4, 5.0), np.array([5.0, 5.0, value, 5.0])
    with pytest.raises(InputError, match="1 predicted depths"):
        depth_errors(bad, good)
    with pytest.raises(InputError, match="1 true depths"):
        depth_errors(good, bad)


def test_nothing_to_score():
    good = np.full(4, 5.0)
    with pytest.raises(InputError, match="nothing to score"):
        depth_errors(good, good, np.zeros(4, bool))
    with pytest.raises(InputError, match="no pixel has a finite"):
        depth_errors(good, good + np.inf)
    with pytest.raises(InputError, match="differ"):
        depth_errors(good, good[:3])
    with pytest.raises(InputError, match="mask of shape"):
        depth_errors(good, good, np.ones(3, bool))


def test_height_errors_by_hand():
    errors = height_errors(np.array([1.0, -2.0, 3.0, 10.0]), np.array([0.0, -2.0, 5.0, 0.0]))
    # Differences 1, 0, -2, 10; median 0.5, deviations from it 0.5, 0.5, 2.5, 9.5 with median 1.5.
    assert errors["rmse"] == pytest.approx(math.sqrt(105 / 4))
    assert errors["mae"] == pytest.approx(13 / 4)
    assert errors["median"] == pytest.approx(1.5)
    assert errors["bias"] == pytest.approx(9 / 4)
    assert errors["nmad"] == pytest.approx(1.4826 * 1.5)
    assert errors["cells"] == 4
    with pytest.raises(InputError, match="1 heights"):
        height_errors(np.array([1.0, np.nan]), np.zeros(2))


@pytest.mark.parametrize("angle", [0.0, 1e-10, 1e-3, 1.0, math.pi / 2, 3.0, math.pi])
def test_angles_between_directions(angle):
    a = np.array([2.0, 0.0, 0.0])
    b = 5 * np.array([math.cos(angle), math.sin(angle) * 0.6, math.sin(angle) * 0.8])
    assert angular_error(a, b) == pytest.approx(angle, abs=1e-15, rel=1e-6)


def test_angles_of_normal_pictures():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4, 5))
    errors = angular_error(a, b, axis=0)
    assert errors.shape == (4, 5)
    cosine = (a * b).sum(0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)
    np.testing.assert_allclose(errors, np.arccos(cosine), atol=1e-7)
    a[:, 1, 2] = 0
    assert np.isnan(angular_error(a, b, axis=0)[1, 2])
    with pytest.raises(InputError, match="axis"):
        angular_error(a, b)


def test_angles_between_rotations():
    a = poses.pose_from_heading([0, 0, 0], 0.2, 0.1)
    turned = poses.pose_from_heading([5, 5, 5], 0.2, 0.4)  # pitched up by 0.3 more; the place does not matter
    assert rotation_error(a, turned) == pytest.approx(0.3)
    assert rotation_error(torch.tensor(a), torch.tensor(a)) == 0


def test_pose_errors_of_a_known_shift_and_turn():
    true = poses.pose_from_heading(np.array([[6000.0, 4500.0, 2.0]] * 2), 0.3)
    there = np.array([[6003.0, 4504.0, 2.0], [6000.0, 4500.0, 2.0]])
    pred = poses.pose_from_heading(there, np.array([0.3, 0.3 + 0.02]))
    metres, angle = pose_errors(pred, true)
    assert metres == pytest.approx([5.0, 0.0], abs=1e-9)
    assert angle == pytest.approx([0.0, 0.02], abs=1e-9)
