"""Archives often hold one folder more than their readers expect: CVPR_subset/CVPR_subset/bingmap."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

LEVELS = 2


def nested_root(root: Path, holds: Callable[[Path], bool]) -> Path:
    """The folder that holds a data set: the given one, else the only one up to two levels below that does.

    Args:
        root: an existing folder.
        holds: whether a folder looks like the root of the data set.

    Returns:
        The given folder, too, where there is none or more than one below it.
    """
    level = [root]
    for _ in range(LEVELS + 1):
        found = [folder for folder in level if holds(folder)]
        if found:
            return found[0] if len(found) == 1 else root
        level = [below for folder in level for below in _folders(folder)]
    return root


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(e.path) for e in entries if e.is_dir() and not e.name.startswith((".", "__MACOSX")))
