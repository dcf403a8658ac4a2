"""Which pictures a folder holds, looked up once: sets of 100,000 files need no 100,000 questions to the disk."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from rsnb.data.audit import Finding, duplicate_findings, picture_fault
from rsnb.errors import InputError

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


def pictures_of(folder: Path) -> dict[str, Path]:
    """{stem: path} of the pictures in a folder, sorted; empty where there is no such folder."""
    if not folder.is_dir():
        return {}
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith("."))
    return {p.stem: p for p in files}


def require_folder(root: str | Path) -> Path:
    """The root of a data set, or an InputError."""
    root = Path(root)
    if not root.is_dir():
        raise InputError("there is no such folder", where=root, mend="Give the root of the data set")
    return root


def by_id(folder: Path, suffix: str) -> dict[str, Path]:
    """{id: path} of the pictures named `<id><suffix>.<any picture type>`; the suffix in any case, the id as it is."""
    pattern = re.compile(re.escape(suffix) + r"\Z", re.IGNORECASE)
    found = ((pattern.sub("", p.stem), p) for p in pictures_of(folder).values() if pattern.search(p.stem))
    return {name: path for name, path in found if name}


class Listing:
    """Answers whether a picture is there, under the name given, in lower case or as another picture type."""

    def __init__(self):
        self._folders: dict[str, dict[str, Path]] = {}

    def find(self, path: str) -> Path | None:
        """The file that a list means by `path`, or None. Text, as `Path` takes seconds for a full data set."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            exact = pictures_of(Path(folder))
            self._folders[folder] = {stem.lower(): found for stem, found in exact.items()} | exact
        stem, known = os.path.splitext(name)[0], self._folders[folder]
        return known.get(stem) or known.get(stem.lower())

    def first(self, paths: Iterable[str]) -> Path | None:
        """The first of several candidates that is there."""
        return next((found for found in map(self.find, paths) if found is not None), None)


def picture_findings(groups: dict[str, list[Path]], root: Path, published: dict[str, tuple[int, int]]) -> list[Finding]:
    """Unreadable pictures, other pixel sizes than most of their kind, and tiles and panoramas with the same bytes
    (of masks a note).

    Args:
        groups: {kind: paths}.
        published: {kind: (width, height)} of the data set as it was published; a set that is wholly of another size
            (a city's small version, a resized copy) gets a note, a single picture that differs is an error.
    """
    from PIL import Image

    findings = []
    for kind, paths in groups.items():
        sizes: dict[tuple[int, int], list[Path]] = defaultdict(list)
        for path in paths:
            fault = picture_fault(path)
            if fault is not None:
                findings.append(Finding(fault[0], path.relative_to(root).as_posix(), fault[1]))
                continue
            with Image.open(path) as picture:
                sizes[picture.size].append(path)
        if not sizes:
            continue
        usual = published.get(kind)
        if usual not in sizes:
            usual = Counter({size: len(found) for size, found in sizes.items()}).most_common(1)[0][0]
            if kind in published:
                findings.append(Finding("note", ".", f"{kind} have {usual[0]} x {usual[1]} pixels, published are "
                                                     f"{published[kind][0]} x {published[kind][1]}"))
        findings += [Finding("size", p.relative_to(root).as_posix(),
                             f"{size[0]} x {size[1]} pixels, the other {kind} have {usual[0]} x {usual[1]}")
                     for size, found in sizes.items() if size != usual for p in found]
        twice = duplicate_findings(paths, root)
        if kind not in ("tiles", "panoramas"):  # two places may well have the same mask
            twice = [Finding("note", found.path, found.text) for found in twice]
        findings += twice
    return findings
