"""Pooled scores by hand; intervals against theory, scipy's bootstrap and the simplest loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rsnb.density.bootstrap import (
    PerTile,
    bin_gap,
    f_score,
    interval,
    paired_difference,
    root_ratio,
    table,
    tile_counts,
    tile_rows,
    write_rows,
)
from rsnb.errors import InputError


def test_pooling_by_hand():
    # squared errors 1, 0 and 8 over 1, 3 and 4 cells
    score = PerTile(np.array([[1.0, 1], [0, 3], [8, 4]]), root_ratio)
    assert score.values.tolist() == pytest.approx([1, 0, math.sqrt(2)])
    assert score.pooled == pytest.approx(math.sqrt(9 / 8))
    union = PerTile(np.array([[2.0, 4], [0, 0], [1, 1]]))  # a tile without any object
    assert union.pooled == pytest.approx(3 / 5)
    assert np.isnan(union.values[1]) and interval(union).tiles == 2
    assert (union + union).pooled == union.pooled
    # precision 3 of 4 and 1 of 4, recall 2 of 2 and 0 of 2: pooled 4/8 and 2/4
    both = PerTile(np.array([[3.0, 4, 2, 2], [1, 4, 0, 2]]), f_score)
    assert both.values.tolist() == pytest.approx([2 * 0.75 / 1.75, 0])
    assert both.pooled == pytest.approx(0.5)
    assert np.isnan(PerTile(np.zeros((1, 4)), f_score).pooled)  # nothing on either side
    assert PerTile(np.array([[0.0, 0, 0, 5]]), f_score).pooled == 0  # nothing found of five
    # opposite gaps of two tiles in one bin cancel, those of different bins do not
    gaps = PerTile(np.array([[2.0, 1, 10], [-2, 1, 10]]), bin_gap)
    assert gaps.values.tolist() == pytest.approx([0.3, 0.3]) and gaps.pooled == pytest.approx(2 / 20)


def test_resampling_against_a_loop():
    rng = np.random.default_rng(0)
    score = PerTile(rng.random((7, 2)) + 0.1, root_ratio)
    counts = tile_counts(7, resamples=50, seed=3)
    assert counts.shape == (50, 7) and (counts.sum(axis=1) == 7).all()
    expected = [PerTile(np.repeat(score.sums, row.astype(int), axis=0), root_ratio).pooled for row in counts]
    np.testing.assert_allclose(score.resampled(counts), expected)
    # each tile is drawn once on average, with the variance of a multinomial: 1 - 1/7
    many = tile_counts(7, resamples=20_000, seed=1)
    np.testing.assert_allclose(many.mean(axis=0), 1, atol=0.03)
    np.testing.assert_allclose(many.var(axis=0), 6 / 7, atol=0.03)


def test_interval_of_a_mean_is_that_of_theory_and_of_scipy():
    values = np.random.default_rng(4).normal(5, 2, 400)
    found = interval(PerTile.of_values(values))
    half = 1.96 * values.std() / math.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.1 * half)
    other = stats.bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(9))
    assert (found.low, found.high) == pytest.approx(tuple(other.confidence_interval), abs=0.1 * half)
    narrow = interval(PerTile.of_values(values), level=0.5)
    assert narrow.high - narrow.low == pytest.approx(2 * 0.674 * half / 1.96, rel=0.1)
    assert interval(PerTile.of_values(values)) == found  # the same draws
    assert interval(PerTile.of_values(values), seed=1) != found


def test_paired_differences_know_that_the_tiles_are_the_same():
    rng = np.random.default_rng(6)
    hard = rng.normal(10, 5, 60)  # tiles differ far more than methods
    first, second = PerTile.of_values(hard), PerTile.of_values(hard - 0.5 + rng.normal(0, 0.2, 60))
    found = paired_difference(first, second)
    assert found.value == pytest.approx(0.5, abs=0.1)
    assert found.low > 0.4 and found.high < 0.6 and found.share_above == 1
    alone = interval(first)
    assert alone.high - alone.low > 10 * (found.high - found.low)
    back = paired_difference(second, first)
    assert (back.low, back.high, back.share_above) == pytest.approx((-found.high, -found.low, 0))
    equal = paired_difference(first, first)
    assert (equal.value, equal.low, equal.high, equal.share_above) == (0, 0, 0, 0.5)


def test_perfect_tiles_have_infinite_scores_and_no_nan():
    perfect = PerTile.of_values([30.0, math.inf, 20.0])
    assert perfect.pooled == math.inf
    found = interval(perfect)
    # of three tiles (2/3)^3 = 0.30 of the resamples hold no perfect one
    assert math.isfinite(found.low) and found.high == math.inf
    assert paired_difference(perfect, perfect).value == 0


def test_what_has_no_interval_has_none():
    one = interval(PerTile.of_values([3.0, math.nan]))
    assert (one.value, one.low, one.high, one.tiles) == (3, None, None, 1) and str(one) == "3"
    nothing = interval(PerTile.of_values([math.nan, math.nan]))
    assert (nothing.value, nothing.tiles, str(nothing)) == (None, 0, "-")
    assert str(interval(PerTile.of_values([1.0, 1.0]))) == "1 [1, 1]"


def test_rows_and_tables():
    scores = {"iou": PerTile(np.array([[1.0, 2], [0, 0]])), "rmse": PerTile(np.array([[4.0, 1], [1, 1]]), root_ratio)}
    assert tile_rows(scores, ("a", "b")) == [{"id": "a", "iou": 0.5, "rmse": 2}, {"id": "b", "rmse": 1}]
    assert {name: found.tiles for name, found in table(scores, resamples=10).items()} == {"iou": 1, "rmse": 2}
    with pytest.raises(InputError, match="1 names for 2 tiles"):
        tile_rows(scores, ("a",))


def test_rows_on_disk(tmp_path):
    rows = [{"id": "a,b", "iou": 0.25, "psnr": math.inf}, {"id": "c", "psnr": math.nan, "unasked": 1.0}]
    path = write_rows(tmp_path / "new/rows.csv", ["id", "iou", "psnr"], rows)
    assert path.read_text() == 'id,iou,psnr\n"a,b",0.25,inf\nc,,\n'


def test_parts_are_joined():
    parts = [PerTile(np.array([[1.0, 2]]), root_ratio), PerTile(np.array([[3.0, 2], [5, 1]]), root_ratio)]
    whole = PerTile.joined(parts)
    assert whole.sums.tolist() == [[1, 2], [3, 2], [5, 1]] and whole.pooled == pytest.approx(math.sqrt(9 / 5))
    for wrong in ([], [parts[0], PerTile(np.ones((1, 2)))], [parts[0], PerTile(np.ones((1, 4)), root_ratio)]):
        with pytest.raises(InputError, match="different scores"):
            PerTile.joined(wrong)


def test_what_cannot_be_pooled():
    with pytest.raises(InputError, match=r"score of tile 1 \(from 0\) is NaN"):
        PerTile(np.array([[1.0, 1], [np.nan, 1]]))
    with pytest.raises(InputError, match=r"expected \[N, K\]"):
        PerTile(np.zeros((0, 2)))
    with pytest.raises(InputError, match="level is 95"):
        interval(PerTile.of_values([1.0, 2.0]), level=95)
    with pytest.raises(InputError, match="2 and 3 tiles"):
        paired_difference(PerTile.of_values([1.0, 2.0]), PerTile.of_values([1.0, 2.0, 3.0]))
    with pytest.raises(InputError, match="cannot be added"):
        PerTile.of_values([1.0]) + PerTile(np.ones((1, 2)), root_ratio)
