"""Options by the name of a size: what "tiny", "smoke", "small" and "full" mean stands beside each options class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsnb.errors import InputError


def values_of_size(sizes: Mapping[str, Mapping[str, Any]], size: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a size, with changes.

    Raises:
        InputError: no such size.
    """
    if size not in sizes:
        raise InputError(f"there is no size {size!r}", where="size", mend=f"Write one of {', '.join(sizes)}")
    return {**sizes[size], **changes}
