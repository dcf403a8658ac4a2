"""A stack at other dates, by the true dates of its frames and through its clear pixels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rsnb.errors import InputError
from rsnb.scenes import DatedStack

METHODS = ("linear", "nearest", "previous", "mean", "harmonic")
YEAR_DAYS = 365.25


@dataclass(frozen=True)
class TimeResampled:
    """Frames at the dates asked for.

    Attributes:
        stack: [T', B, H, W]; clear where the pixel was seen clear at any date at all.
        extrapolated: [T', H, W] bool, the pixel was never seen clear before that date, or never after it: the value is
            carried on from one side.
        gap_days: [T', H, W] float32, days between the two clear looks around the date; 0 on a look, nan where
            extrapolated.
    """

    stack: DatedStack
    extrapolated: np.ndarray
    gap_days: np.ndarray


def resample_time(stack: DatedStack, dates, method: str = "linear", harmonics: int = 1) -> TimeResampled:
    """The stack at given dates, each pixel from the looks at which it was clear.

    Args:
        stack: frames at their true dates.
        dates: wanted, anything numpy takes for dates; sorted on the way.
        method: "linear" between the clear looks before and after by days (a look on the date itself is given back as
            it is); "nearest" in days (of two equally near the earlier); "previous"; "mean" of all clear looks whatever
            the date; "harmonic": least squares of a + b t + sum of c_k cos + d_k sin (2 pi k t / 365.25 d), which goes
            through no look exactly. Beyond the first or last clear look linear carries that look on.
        harmonics: k runs from 1 to this. Pixels with fewer clear looks than 3 + 2 harmonics are taken linearly.

    Returns:
        Frames, and where they are extrapolated; a pixel that is never clear is nan.

    Raises:
        InputError: another method, no date, or dates that are none.
    """
    if method not in METHODS:
        raise InputError(f"method = {method!r}", where="resample_time", mend=f"Choose one of {', '.join(METHODS)}")
    try:
        wanted = np.sort(np.atleast_1d(np.asarray(dates, "datetime64[s]")))
    except ValueError as error:
        raise InputError(f"the dates wanted are none ({error})", where="resample_time",
                         mend="Write them as 2019-10-18") from None
    if not wanted.size or np.isnat(wanted).any():
        raise InputError("no date is asked for, or one is missing", where="resample_time")
    usable = stack.clear & np.isfinite(stack.images).all(axis=1)
    before, after = _neighbours(usable)
    days, targets = stack.days(), (wanted - stack.dates[0]) / np.timedelta64(1, "D")
    fitted = _harmonic(stack.images, usable, days, targets, harmonics) if method == "harmonic" else None
    mean = _mean(stack.images, usable) if method == "mean" else None
    images, outside, gaps = [], [], []
    for i, day in enumerate(targets):
        left, right = _at(before, after, days, day)
        outside.append((left < 0) | (right < 0))
        gaps.append(np.where(outside[-1], np.nan, days[right] - days[left]))
        if method == "mean":
            frame = mean
        else:
            frame = _between(stack.images, days, day, left, right, "linear" if method == "harmonic" else method)
        if fitted is not None:
            frame = np.where(np.isfinite(fitted[i]), fitted[i], frame)
        images.append(frame)
    seen = np.broadcast_to(usable.any(axis=0), (len(wanted), *usable.shape[1:]))
    images = np.stack(images).astype(np.float32)
    clear = seen & np.isfinite(images).all(axis=1)
    made = replace(stack, images=images, dates=wanted, clear=clear, names=tuple(f"{method} {d}" for d in wanted))
    return TimeResampled(made, np.stack(outside), np.stack(gaps).astype(np.float32))


def shifted_dates(stack: DatedStack, order: Sequence[int]) -> DatedStack:
    """The same dates with the frames in another order: a control that must score worse where dates matter."""
    order = np.asarray(order)
    if sorted(order.tolist()) != list(range(len(stack))):
        raise InputError(f"{order.tolist()} is no order of {len(stack)} frames", where="shifted_dates")
    return replace(stack, images=stack.images[order], clear=stack.clear[order],
                   names=tuple(stack.names[i] for i in order))


def _neighbours(usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[T, H, W] index of the last usable look up to each frame (-1: none), and of the first from it on (-1: none)."""
    n = len(usable)
    index = np.arange(n)[:, None, None]
    before = np.maximum.accumulate(np.where(usable, index, -1), axis=0)
    after = np.minimum.accumulate(np.where(usable, index, n)[::-1], axis=0)[::-1]
    return before, np.where(after == n, -1, after)


def _at(before, after, days, day) -> tuple[np.ndarray, np.ndarray]:
    """[H, W] indices of the looks on or before and on or after a day."""
    none = np.full(before.shape[1:], -1)
    last, first = np.searchsorted(days, day, "right") - 1, np.searchsorted(days, day, "left")
    left = before[last] if last >= 0 else none
    right = after[first] if first < len(days) else none
    # a look on the very day stands for both sides (of several on that day the last)
    same = (left >= 0) & (days[left] == day)
    return left, np.where(same, left, right)


def _between(images, days, day, left, right, method) -> np.ndarray:
    """[B, H, W] from the two looks; nan where there is none."""
    left_side = np.where(left < 0, right, left)
    right_side = left_side if method == "previous" else np.where(right < 0, left, right)
    gap = days[right_side] - days[left_side]
    share = np.where(gap > 0, (day - days[left_side]) / np.where(gap > 0, gap, 1), 0.0)
    if method == "nearest":
        share = (share > 0.5).astype(float)
    a = np.take_along_axis(images, left_side[None, None], axis=0)[0]
    b = np.take_along_axis(images, right_side[None, None], axis=0)[0]
    # a side that has no weight must not matter, not even as nan times zero
    value = np.where(share <= 0, a, np.where(share >= 1, b, a * (1 - share) + b * share))
    return np.where(left_side < 0, np.nan, value)


def _mean(images, usable) -> np.ndarray:
    count = usable.sum(axis=0)
    total = np.where(usable[:, None], images, 0.0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _harmonic(images, usable, days, targets, harmonics: int) -> np.ndarray:
    """[T', B, H, W] of the fit, nan where there are too few looks."""
    if not 1 <= harmonics <= 4:
        raise InputError(f"harmonics = {harmonics}", where="resample_time", mend="Choose 1 to 4")
    design, wanted = _basis(days, days, harmonics), _basis(targets, days, harmonics)
    n = design.shape[1]
    t, b, h, w = images.shape
    weight = usable.reshape(t, -1).astype(np.float64)
    # a touch of ridge on the waves alone keeps looks of one season from swinging the others without bound
    ridge = np.diag([0.0, 1e-3] + [1e-3] * (n - 2))
    normal = np.einsum("ti,tj,tp->pij", design, design, weight) + ridge
    values = np.where(usable[:, None], images, 0.0).reshape(t, b, -1)
    right = np.einsum("ti,tbp->pib", design, values)
    enough = weight.sum(axis=0) >= n + 1
    fit = np.full((len(targets), b, h * w), np.nan)
    if enough.any():
        solved = np.linalg.solve(normal[enough], right[enough])
        fit[:, :, enough] = np.einsum("ti,pib->tbp", wanted, solved)
    return fit.reshape(len(targets), b, h, w)


def _basis(days, all_days, harmonics: int) -> np.ndarray:
    span = max(float(np.ptp(all_days)), 1.0)
    waves = [f(2 * np.pi * k * days / YEAR_DAYS) for k in range(1, harmonics + 1) for f in (np.cos, np.sin)]
    return np.stack([np.ones_like(days), (days - np.mean(all_days)) / span, *waves], axis=1)
