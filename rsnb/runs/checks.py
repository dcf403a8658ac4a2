"""Numbers that a reader relies on: a line that is the same on every machine, or a stop."""

from __future__ import annotations

import math

from rsnb.errors import InputError
from rsnb.runs import notebook as _notebook

MAX_RTOL = 0.05  # looser than this, a check says little: then it has to say why


class CheckFailed(AssertionError):
    """A number is not what the notebook promises."""


def check(name: str, value: float, expected: float, rtol: float, *, why: str = "", always: bool = False) -> None:
    """Assert |value - expected| <= rtol * |expected| and print a line made from the expected value alone.

    Args:
        name: the number's name, as in metrics.json, where the measured value goes.
        value: what was measured (any scalar that float() takes).
        expected: what it should be, for the notebook's default parameters; not 0 (use `check_at_most` there).
        rtol: relative tolerance, at most 0.05; 0 means exactly.
        why: the reason for a larger tolerance.
        always: the value holds for any parameters, not only for the defaults.

    Raises:
        CheckFailed: the number is off, or not finite.
        InputError: the check itself is no check (expected 0 or not finite, tolerance too large without a reason).
    """
    expected = float(expected)
    if not math.isfinite(expected) or not math.isfinite(rtol) or rtol < 0 or (expected == 0 and rtol > 0):
        raise InputError(f"expected {expected} within {rtol} is no check", where=f"check {name!r}",
                         mend="Give a finite expected value other than 0 and rtol >= 0; near 0, use check_at_most")
    if rtol > MAX_RTOL and not why:
        raise InputError(f"a tolerance of {rtol:g} is above {MAX_RTOL:g}", where=f"check {name!r}",
                         mend="Tighten it, or say why it must be so loose with why='...'")
    promise = f"{expected:g} within {100 * rtol:g} %" if rtol else f"{expected:g} exactly"
    value = _record(name, value, promise)
    if _applies(name, always) and abs(value - expected) > rtol * abs(expected):
        off = "" if expected == 0 else f" (off by {100 * abs(value / expected - 1):.2g} %)"
        raise CheckFailed(f"{name}: measured {value:.6g}, expected {promise}{off}")
    _say(name, promise, always)


def check_at_least(name: str, value: float, bound: float, *, always: bool = False) -> None:
    """Assert value >= bound; prints the bound, records the value. See `check`."""
    _one_sided(name, value, bound, always, at_least=True)


def check_at_most(name: str, value: float, bound: float, *, always: bool = False) -> None:
    """Assert value <= bound; prints the bound, records the value. See `check`."""
    _one_sided(name, value, bound, always, at_least=False)


def _one_sided(name: str, value: float, bound: float, always: bool, at_least: bool) -> None:
    bound = float(bound)
    if not math.isfinite(bound):
        raise InputError(f"a bound of {bound} is no check", where=f"check {name!r}", mend="Give a finite bound")
    promise = f"{'at least' if at_least else 'at most'} {bound:g}"
    value = _record(name, value, promise)
    if _applies(name, always) and (value < bound if at_least else value > bound):
        raise CheckFailed(f"{name}: measured {value:.6g}, expected {promise}")
    _say(name, promise, always)


def _record(name: str, value: float, promise: str) -> float:
    """The value as a finite float, noted in the current run; NaN never looks like success."""
    value = float(value)
    if not math.isfinite(value):
        raise CheckFailed(f"{name}: measured {value}, which is not a number to compare; expected {promise}")
    run = _notebook.current()
    if run is not None:
        run.metric(name, value)
        run.note_check(name, promise)
    return value


def _applies(name: str, always: bool) -> bool:
    run = _notebook.current()
    return always or run is None or run.defaults


def _say(name: str, promise: str, always: bool) -> None:
    if _applies(name, always):
        print(f"{name} ok ({promise})")
    else:
        print(f"{name} recorded (no expected value for these parameters)")
