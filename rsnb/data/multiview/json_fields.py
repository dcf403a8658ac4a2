"""What the two JSON formats share: the file's values, and numbers and objects in it that are what they should be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rsnb.errors import InputError

_LARGEST = 1e15  # beyond it a number is damage: what is computed from it would overflow


def read_json(path: Path):
    """The values of a file.

    Raises:
        InputError: it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is no JSON ({error})", where=path, mend="Fetch it again") from None


def number_of(values: Mapping, key: str, where: str | Path, default: float | None = None) -> float | None:
    """A finite number, or the default where the key is not there or null.

    Raises:
        InputError: something else.
    """
    value = values.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        raise InputError(f"{key} is {_short(value)}, expected a finite number", where=where, mend="Repair it")
    return float(value)


def positive_number(values: Mapping, key: str, where: str | Path, default: float | None = None) -> float | None:
    """The same, above 0; 0, which some tools write for "unknown", is the default, too.

    Raises:
        InputError: something else.
    """
    value = number_of(values, key, where)
    if value is not None and value < 0:
        raise InputError(f"{key} is {value:g}, expected a number above 0", where=where, mend="Repair it")
    return value or default


def object_of(value, what: str, where: str | Path) -> dict:
    """The value, if it is a JSON object.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, dict):
        raise InputError(f"{what} is {_short(value)}, expected an object with named fields", where=where,
                         mend="Repair or remove it")
    return value


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
