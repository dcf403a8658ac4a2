"""Files that are either whole or not there: write to a temporary neighbour, flush to disk, then rename."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rsnb.errors import InputError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` (same suffix) that becomes `path` when the block ends without an error.

    The folder is made if need be. On an error the temporary file is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text atomically; gives the path back."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def require_file(path: str | Path, what: str = "file") -> Path:
    """The path, or an InputError that names it and what lies in its folder."""
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        raise InputError(f"this is a folder, not a {what}", where=path, mend="Name a file in it")
    beside = sorted(p.name for p in path.parent.iterdir())[:5] if path.parent.is_dir() else []
    mend = f"Its folder holds {', '.join(beside)}" if beside else f"There is no folder {path.parent} either"
    raise InputError(f"there is no such {what}", where=path, mend=mend)
