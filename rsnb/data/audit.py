"""What is wrong with a folder that should hold a data set: files unmatched, unreadable, twice there, or too few."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from rsnb.errors import InputError

Kind = Literal["missing", "unmatched", "unreadable", "duplicate", "size", "count", "value", "note"]

# Data set (the name of its manifest) or format -> module with `audit(root) -> Audit`.
AUDITS = {
    "levir_nvs": "rsnb.data.multiview.levir_nvs",
    "whu_mvs": "rsnb.data.multiview.whu_mvs",
    "colmap": "rsnb.data.multiview.colmap",
    "transforms_json": "rsnb.data.multiview.transforms_json",
    "opensfm": "rsnb.data.multiview.opensfm",
    "cvusa": "rsnb.data.crossview.cvusa",
    "cvact": "rsnb.data.crossview.cvact",
    "cvact_aligned": "rsnb.data.crossview.cvact",
    "demo_cases": "rsnb.data.crossview.demo_cases",
    "worldstrat": "rsnb.data.earth.worldstrat",
    "geotiff_series": "rsnb.data.earth.geotiff_series",
    "safe": "rsnb.data.earth.safe",
}


@dataclass(frozen=True)
class Finding:
    """One thing that an audit noticed.

    Attributes:
        kind: "missing" (named but not there), "unmatched" (there, but its partner is not), "unreadable", "duplicate"
            (same bytes as another), "size" (other pixel size than the format says), "count" (other number of files than
            the manifest says), "value" (a field outside its range), or "note" (worth knowing, nothing wrong).
        path: relative to the root.
        text: what, as a sentence without the final full stop.
    """

    kind: Kind
    path: str
    text: str


@dataclass(frozen=True)
class Audit:
    """The result of looking a data set's folder through.

    Attributes:
        dataset: name of the format or manifest.
        root: the folder.
        counts: {what: how many are there}.
        expected: {what: how many the manifest says}, for those where it says so.
        findings: all that is wrong, and notes.
    """

    dataset: str
    root: Path
    counts: Mapping[str, int]
    expected: Mapping[str, int]
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing wrong; a subset (fewer files than published) and notes are no errors."""
        return all(f.kind in ("note", "count") for f in self.findings)

    def of(self, kind: Kind) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(f for f in self.findings if f.kind == kind)

    def text(self, limit: int = 10) -> str:
        """A few lines for people: counts, then up to `limit` findings of each kind."""
        lines = [f"{self.dataset}: " + ", ".join(
            f"{n} {what}" + (f" of {self.expected[what]}" if self.expected.get(what, n) != n else "")
            for what, n in self.counts.items())]
        groups = defaultdict(list)
        for finding in self.findings:
            groups[finding.kind].append(finding)
        for kind, found in groups.items():
            lines += [f"  {kind}: {f.path}: {f.text}" for f in found[:limit]]
            if len(found) > limit:
                lines.append(f"  {kind}: and {len(found) - limit} more")
        return "\n".join(lines)


def audit_dataset(dataset: str, root: str | Path) -> Audit:
    """Look a folder through as one of the formats of `AUDITS`.

    Raises:
        InputError: unknown format, or the root is no folder.
    """
    if dataset not in AUDITS:
        raise InputError(f"there is no audit for {dataset!r}", where="audit",
                         mend=f"Choose one of: {', '.join(sorted(AUDITS))}")
    if not Path(root).is_dir():
        raise InputError("there is no such folder", where=root, mend="Give the root of the data set")
    return import_module(AUDITS[dataset]).audit(Path(root))


def count_findings(counts: Mapping[str, int], expected: Mapping[str, int]) -> list[Finding]:
    """A "count" finding for each number that is not the expected one."""
    return [Finding("count", ".", f"{counts.get(what, 0)} {what}, published are {number}")
            for what, number in expected.items() if counts.get(what, 0) != number]


def picture_fault(path: Path, size: tuple[int, int] | None = None) -> tuple[Kind, str] | None:
    """What is wrong with a picture file, or None; it is decoded whole, so a cut file is found.

    Args:
        path: anything Pillow reads.
        size: (width, height) that it should have.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            found = picture.size
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return "unreadable", f"this is no whole picture ({error})"
    if size is not None and found != size:
        return "size", f"{found[0]} x {found[1]} pixels, expected {size[0]} x {size[1]}"
    return None


def duplicate_findings(paths: Iterable[Path], root: Path) -> list[Finding]:
    """A finding for each file whose bytes equal those of an earlier one; only files of equal size are read."""
    by_size = defaultdict(list)
    for path in paths:
        by_size[path.stat().st_size].append(path)
    findings = []
    for group in by_size.values():
        if len(group) < 2:
            continue
        first: dict[str, Path] = {}
        for path in group:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            other = first.setdefault(digest, path)
            if other is not path:
                findings.append(Finding("duplicate", path.relative_to(root).as_posix(),
                                        f"the same bytes as {other.relative_to(root).as_posix()}"))
    return findings
