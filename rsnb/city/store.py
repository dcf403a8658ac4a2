"""Data sets built from the city, kept on disk: built once by whoever needs them first, whole or not there at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

import rsnb
from rsnb.files import write_text

SUMS = "SHA256SUMS"
# Sources that a built data set depends on; a test compares them with what the writers import.
BUILDERS = ("city", "data", "geometry", "mesh", "metrics", "products", "errors.py", "files.py", "lazy.py",
            "scenes.py")


def ensure_built(root: str | Path, name: str, choices: Mapping[str, object], build: Callable[[Path], None]) -> Path:
    """The folder `<root>/city/<name>-<key>`, built now if it is not there yet.

    The key hashes `choices` and the sources that build, so a changed option or a changed generator gives a new folder.
    Building happens under a lock in a temporary folder that is renamed when all files and their SHA256SUMS are written:
    a killed build leaves nothing that a reader could take for data, and a second process waits for the first.

    Args:
        root: data folder.
        name: of the data set.
        choices: JSON values that determine the content.
        build: writes the files into the folder it is given.
    """
    text = json.dumps({"choices": choices, "sources": _source_hash()}, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    folder = Path(root).expanduser().resolve() / "city" / f"{name}-{key}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if folder.is_dir():
            return folder
        for stale in folder.parent.glob(f".{folder.name}.partial-*"):  # of a killed process: we hold the lock
            shutil.rmtree(stale)
        partial = folder.parent / f".{folder.name}.partial-{os.getpid()}"
        partial.mkdir()
        try:
            build(partial)
            write_text(partial / "choices.json", json.dumps(dict(choices), indent=1, sort_keys=True) + "\n")
            write_text(partial / SUMS, checksums(partial))
            os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def checksums(folder: Path) -> str:
    """`sha256sum` lines of every file below a folder, sorted by path."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SUMS)
    return "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files)


def dataset_sha256(folder: str | Path) -> str:
    """One hash for a built data set: that of its SHA256SUMS."""
    return hashlib.sha256((Path(folder) / SUMS).read_bytes()).hexdigest()


def _source_hash() -> str:
    package = Path(rsnb.__file__).parent
    digest = hashlib.sha256()
    for part in BUILDERS:
        for path in sorted((package / part).rglob("*.py")) if (package / part).is_dir() else [package / part]:
            digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
