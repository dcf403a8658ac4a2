"""Scores of many tiles pooled into one number, with bootstrap intervals over the tiles.

A root mean square or an intersection over union of a set of tiles is no mean of the tiles' own: a tile without any
object has none, and a quiet tile would weigh as much as a city block. `PerTile` therefore keeps the sums of every tile
and pools those; the bootstrap (Efron 1979, percentile intervals) draws tiles with replacement and pools again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from rsnb.errors import InputError
from rsnb.files import write_text

RESAMPLES = 2000
LEVEL = 0.95


def ratio(sums: np.ndarray) -> np.ndarray:
    """[...] s0 / s1 of sums [..., 2]: a mean, a share, an intersection over union."""
    return sums[..., 0] / sums[..., 1]


def root_ratio(sums: np.ndarray) -> np.ndarray:
    """[...] sqrt(s0 / s1) of sums [..., 2]: a root mean square."""
    return np.sqrt(sums[..., 0] / sums[..., 1])


def f_score(sums: np.ndarray) -> np.ndarray:
    """[...] of sums [..., 4]: true among the found, found, found among the true, true.

    The harmonic mean of precision s0 / s1 and recall s2 / s3; 0 where only one side has anything.
    """
    precision, recall = (np.where(sums[..., i + 1] > 0, sums[..., i] / np.maximum(sums[..., i + 1], 1), 0.0)
                         for i in (0, 2))
    top = 2 * precision * recall / np.where(precision + recall > 0, precision + recall, 1)
    return np.where(sums[..., 1] + sums[..., 3] > 0, top, np.nan)


def bin_gap(sums: np.ndarray) -> np.ndarray:
    """[...] of sums [..., K + 1]: sum of |s_k| over the K bins, by the count in the last: a calibration error."""
    return np.abs(sums[..., :-1]).sum(axis=-1) / sums[..., -1]


def sum_per_tile(values: np.ndarray) -> np.ndarray:
    """[N] float64 sums of [N, ...]."""
    return values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class PerTile:
    """One score of N tiles.

    Attributes:
        sums: [N, K] float64, what each tile adds up to; a tile that has nothing to score is all 0.
        statistic: sums [..., K] to the score [...]; NaN where they are all 0.

    Raises:
        InputError: no tile, or a sum that is NaN.
    """

    sums: np.ndarray
    statistic: Callable[[np.ndarray], np.ndarray] = ratio

    def __post_init__(self):
        sums = np.asarray(self.sums, np.float64)
        object.__setattr__(self, "sums", sums)
        if sums.ndim != 2 or not len(sums):
            raise InputError(f"sums have shape {sums.shape}, expected [N, K] with N > 0", where="PerTile")
        if np.isnan(sums).any():
            tile = int(np.flatnonzero(np.isnan(sums).any(axis=1))[0])
            raise InputError(f"the score of tile {tile} (from 0) is NaN", where="PerTile",
                             mend="Leave out what cannot be scored with sums of 0")

    @classmethod
    def of_values(cls, values) -> PerTile:
        """Of one value [N] a tile, all weighing the same; NaN = that tile has none."""
        values = np.asarray(values, np.float64)
        there = ~np.isnan(values)
        return cls(np.stack([np.where(there, values, 0), there], axis=-1), ratio)

    @classmethod
    def mean(cls, values: np.ndarray, cells: np.ndarray) -> PerTile:
        """Mean of values [N, ...] over cells [N, ...] bool (of a mask: the share of cells in it), pooled over tiles."""
        return cls(np.stack([sum_per_tile(np.where(cells, values, 0)), sum_per_tile(cells)], axis=-1), ratio)

    @classmethod
    def joined(cls, parts: Sequence[PerTile]) -> PerTile:
        """The tiles of several parts one after the other.

        Raises:
            InputError: no part, or parts of different scores.
        """
        if not parts or len({(part.statistic, part.sums.shape[1]) for part in parts}) > 1:
            raise InputError("parts of different scores, or no part", where="PerTile.joined",
                             mend="Join what one function said of different tiles")
        return cls(np.concatenate([part.sums for part in parts]), parts[0].statistic)

    def __len__(self) -> int:
        return len(self.sums)

    def __add__(self, other: PerTile) -> PerTile:
        """The same tiles seen once more: sums add up."""
        if self.statistic is not other.statistic or self.sums.shape != other.sums.shape:
            raise InputError("two different scores cannot be added", where="PerTile")
        return PerTile(self.sums + other.sums, self.statistic)

    @property
    def values(self) -> np.ndarray:
        """[N] score of each tile alone, NaN where it has none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.statistic(self.sums)

    @property
    def pooled(self) -> float:
        """Of all tiles together, NaN where none has anything to score."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(self.statistic(self.sums.sum(axis=0)))

    def resampled(self, counts: np.ndarray) -> np.ndarray:
        """[R] pooled scores of R sets that hold tile i counts[:, i] times; counts [R, N]."""
        finite = np.isfinite(self.sums)
        sums = counts @ np.where(finite, self.sums, 0)
        for k in np.flatnonzero(~finite.all(axis=0)):
            # 0 x infinity is NaN: the PSNR of a perfect picture must not spoil the sets without it
            sums[counts @ ~finite[:, k] > 0, k] = np.inf
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.statistic(sums)


@dataclass(frozen=True)
class Interval:
    """A pooled score and where it may lie.

    Attributes:
        value: of all tiles; None where none has anything to score.
        low, high: percentile interval; None where fewer than two tiles have anything to score.
        tiles: how many have.
    """

    value: float | None
    low: float | None
    high: float | None
    tiles: int

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        bounds = "" if self.low is None else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.value:.3g}{bounds}"


@dataclass(frozen=True)
class Difference(Interval):
    """Of two methods on the same tiles, first minus second.

    Attributes:
        share_above: share of the resamples in which it is above 0 (ties count half); None where low is.
    """

    share_above: float | None = None


@lru_cache(maxsize=2)  # a table asks for the same draws for each of its scores
def tile_counts(tiles: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """[R, N] float64, not to be written to: how often each of N tiles is in each of R sets of N, with replacement.

    Raises:
        InputError: no tiles or no resamples.
    """
    if tiles < 1 or resamples < 1:
        raise InputError(f"{resamples} resamples of {tiles} tiles", where="bootstrap", mend="Give at least one of both")
    draws = np.random.default_rng(seed).multinomial(tiles, np.full(tiles, 1 / tiles), size=resamples)
    counts = draws.astype(np.float64)
    counts.flags.writeable = False
    return counts


def interval(score: PerTile, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """A pooled score with its percentile interval over tiles.

    Resamples that hold nothing to score (no tile with an object, say) are left out.

    Args:
        score: of N tiles.
        level: share of the resamples inside the interval, between 0 and 1.
        resamples: how many.
        seed: of the draws: the same tiles are drawn for every score and method.

    Raises:
        InputError: a level outside 0..1.
    """
    value, tiles, (low, high), _ = _spread(score, None, level, resamples, seed)
    return Interval(value, low, high, tiles)


def paired_difference(first: PerTile, second: PerTile, level: float = LEVEL, resamples: int = RESAMPLES,
                      seed: int = 0) -> Difference:
    """Pooled score of one method minus that of another on the same tiles, both drawn together.

    Args:
        first, second: one score of the same N tiles in the same order.
        level, resamples, seed: as for `interval`.

    Raises:
        InputError: different numbers of tiles; a level outside 0..1.
    """
    if len(first) != len(second):
        raise InputError(f"{len(first)} and {len(second)} tiles", where="paired_difference",
                         mend="Score both methods on the same tiles")
    value, tiles, (low, high), above = _spread(first, second, level, resamples, seed)
    return Difference(value, low, high, tiles, above)


def table(scores: Mapping[str, PerTile], **options) -> dict[str, Interval]:
    """{score: interval}; options as for `interval`."""
    return {name: interval(score, **options) for name, score in scores.items()}


def tile_rows(scores: Mapping[str, PerTile], ids: Iterable[str] | None = None) -> list[dict[str, float]]:
    """One dictionary a tile with its own scores; a score that the tile does not have is absent.

    Args:
        scores: of the same N tiles.
        ids: N names, added under "id".
    """
    count = len(next(iter(scores.values()))) if scores else 0
    names = [None] * count if ids is None else list(ids)
    if len(names) != count:
        raise InputError(f"{len(names)} names for {count} tiles", where="tile_rows")
    rows = [{} if name is None else {"id": name} for name in names]
    for name, score in scores.items():
        for row, value in zip(rows, score.values, strict=True):
            if not np.isnan(value):
                row[name] = float(value)
    return rows


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, str | float | None]]) -> Path:
    """A table of scores as a CSV file: a heading, then a line a row; what a row does not have, or is NaN, is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return write_text(path, text.getvalue())


def _cell(value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return "" if np.isnan(value) else f"{value:.9g}"


def _spread(first: PerTile, second: PerTile | None, level: float, resamples: int, seed: int):
    """Value, tiles that have one, bounds and the share of resamples above 0: of a score, or of a difference."""
    if not 0 < level < 1:
        raise InputError(f"level is {level!r}", where="bootstrap", mend="Give a share between 0 and 1, such as 0.95")
    there = ~np.isnan(first.values)
    pooled = first.pooled
    if second is not None:
        there &= ~np.isnan(second.values)
        pooled = _minus(first.pooled, second.pooled)
    tiles = int(there.sum())
    value = None if np.isnan(pooled) else float(pooled)
    if value is None or tiles < 2:
        return value, tiles, (None, None), None
    counts = tile_counts(len(first), resamples, seed)
    drawn = first.resampled(counts)
    if second is not None:
        drawn = _minus(drawn, second.resampled(counts))
    drawn = drawn[~np.isnan(drawn)]
    # "lower" and "higher" take values that were drawn: interpolation between two infinities would be NaN
    low = np.quantile(drawn, (1 - level) / 2, method="lower")
    high = np.quantile(drawn, (1 + level) / 2, method="higher")
    return value, tiles, (float(low), float(high)), float((drawn > 0).mean() + (drawn == 0).mean() / 2)


def _minus(a, b):
    """a - b, where equal infinities differ by 0."""
    with np.errstate(invalid="ignore"):
        return np.where(np.asarray(a) == np.asarray(b), 0.0, np.subtract(a, b))
