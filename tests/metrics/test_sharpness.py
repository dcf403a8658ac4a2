"""Shi et al.'s sharpness difference by hand, and where it parts from Sat2Density's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.metrics import sharpness_difference, sharpness_difference_shi


def ramp(down, right, size=6):
    rows, columns = np.mgrid[:size, :size]
    return np.repeat((down * rows + right * columns)[None] / 255, 3, axis=0)


def test_ramps_by_hand():
    # gradients (down, right) in grey levels: |3 - 1| + |2 - (-2)| = 6 everywhere
    assert sharpness_difference_shi(ramp(3, 2), ramp(1, -2) + 0.3) == pytest.approx(
        10 * math.log10(255**2 / (64 * 6)), abs=1e-9)
    # the unsigned ones of Sat2Density: 5 against 3, in 0..1
    assert sharpness_difference(ramp(3, 2), ramp(1, -2) + 0.3) == pytest.approx(10 * math.log10(255 / 2), abs=1e-9)
    # where these cancel, the signed ones do not
    assert sharpness_difference(ramp(3, 2), ramp(2, 3)) > 140
    assert sharpness_difference_shi(ramp(3, 2), ramp(2, 3)) == pytest.approx(10 * math.log10(255**2 / (64 * 2)))


def test_sat2densitys_formula_word_by_word():
    """mean |gx_gt + gy_gt - gx_pred - gy_pred| of absolute first differences: the terms cancel as one sum a picture."""
    rng = np.random.default_rng(5)
    a, b = rng.random((2, 3, 9, 12))
    sums = []
    for image in (a, b):
        gy, gx = abs(np.diff(image, axis=1)), abs(np.diff(image, axis=2))
        sums.append(gx[:, 1:-1, 1:] + gy[:, 1:, 1:-1])
    assert sharpness_difference(b, a) == pytest.approx(10 * math.log10(1 / abs(sums[0] - sums[1]).mean()), abs=1e-9)


def test_interior_channels_and_batches():
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 4, 3, 7, 5))
    expected = []
    for x, y in zip(a * 255, b * 255, strict=True):
        total, count = 0.0, 0
        for c in range(3):
            for i in range(1, 6):
                for j in range(1, 4):
                    total += abs((x[c, i + 1, j] - x[c, i, j]) - (y[c, i + 1, j] - y[c, i, j]))
                    total += abs((x[c, i, j + 1] - x[c, i, j]) - (y[c, i, j + 1] - y[c, i, j]))
                    count += 1
        expected.append(10 * math.log10(255**2 / (64 * total / count)))
    np.testing.assert_allclose(sharpness_difference_shi(a, b, per_image=True), expected, rtol=1e-12)
    assert sharpness_difference_shi(a, b) == pytest.approx(np.mean(expected))
    assert sharpness_difference_shi(a, a + 0.1) > 160  # a constant has no gradient
    assert sharpness_difference_shi(a, a) == math.inf
    with pytest.raises(InputError, match="no interior"):
        sharpness_difference_shi(a[..., :2], b[..., :2])
