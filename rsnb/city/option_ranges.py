"""Numbers among a writer's options that lie outside what it can write, refused before anything is built."""

from __future__ import annotations

from collections.abc import Mapping

from rsnb.errors import InputError


def check_ranges(options, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Look at some fields of a dataclass of options.

    Args:
        options: the dataclass.
        ranges: {field: (least, greatest)}; whole numbers are asked for where the least is one.

    Raises:
        InputError: a field that is no number, or none in its range.
    """
    for name, (low, high) in ranges.items():
        value, whole = getattr(options, name), isinstance(low, int)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
            raise InputError(f"{name} is {value!r}, expected a {'whole ' * whole}number from {low:g} to {high:g}",
                             where=type(options).__name__, mend="Choose one in that range")
