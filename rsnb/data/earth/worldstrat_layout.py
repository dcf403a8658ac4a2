"""Which files of a folder are WorldStrat's, in every layout that is about; nothing is opened here.

The published tree (`lr_dataset/<place>/L2A/<place>-<n>-L2A_data.tiff`, `hr_dataset/12bit/<place>/<place>_rgbn.tiff`),
one place's folders alone (`L2A/`, `HR/`), everything flat in one folder, and the prepared frames of the Temporal LIIF
thesis (`<place>/1.png` ... `5.png`, `<place>/hr_x2.png`, `dates.csv`). Only names count, not folders, except that what
lies under a folder L1C is passed over and a prepared frame belongs to the place its folder is named after.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOW = re.compile(r"(?P<place>.+)-(?P<n>\d+)-(?P<kind>L2A_data|SCL|CLM|CLP|dataMask)\.tiff?", re.I)
METADATA = re.compile(r"(?P<place>.+)-(?P<n>\d+)(?:-L2A)?\.metadata", re.I)
PREPARED = re.compile(r"(?P<n>\d+)\.png", re.I)
HIGH = re.compile(r"(?P<place>.+?)_(?P<kind>pan|rgbn|ps|rgb|adapted|adapted_x[246])\.(?:tiff?|png)", re.I)
PREPARED_HIGH = re.compile(r"hr(?:_(?P<kind>x[246]))?\.(?:tiff?|png)", re.I)
TABLES = re.compile(r"(?:dates|metadata)\.csv", re.I)
KINDS = {kind.lower(): kind for kind in ("L2A_data", "SCL", "CLM", "CLP", "dataMask")}


@dataclass(frozen=True)
class Revisit:
    """The files of one date of a place.

    Attributes:
        n: its number in the file names: not date order.
        files: {"L2A_data" or "png", "SCL", "CLM", "CLP", "dataMask": path}, those that are there.
        metadata: its .metadata file, or None.
    """

    n: int
    files: Mapping[str, Path]
    metadata: Path | None = None


@dataclass(frozen=True)
class PlaceFiles:
    """The files of one place.

    Attributes:
        name: as in the file names, blanks as underscores ("Amnesty_POI-13-1-1").
        frames: "L2A" (12-band TIFF) or "prepared" (8-bit RGB PNG).
        revisits: by number.
        high_resolution: {"rgbn", "pan", "ps", "rgb", "x6", "x4", "x2", "adapted": path}.
        tables: dates.csv and metadata.csv that may hold its dates, the nearest first.
    """

    name: str
    frames: str
    revisits: tuple[Revisit, ...]
    high_resolution: Mapping[str, Path]
    tables: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Listing:
    """All places under a root, and the files that are there a second time under the same name."""

    places: tuple[PlaceFiles, ...]
    twice: tuple[Path, ...]
    high_alone: tuple[Path, ...]


def list_files(root: Path) -> Listing:
    """Sort the files under a root by place and revisit."""
    low, high, tables, twice = defaultdict(dict), defaultdict(dict), [], []
    for path in sorted(root.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        if TABLES.fullmatch(path.name):
            tables.append(path)
            continue
        slot, key = _slot(path)
        if slot is None:
            continue
        group = (high if slot[0] == "high" else low)[slot[1:]]
        if key in group:
            twice.append(path)
        else:
            group[key] = path
    tables += [p for p in sorted(root.parent.glob("*.csv")) if TABLES.fullmatch(p.name)]
    return _grouped(low, high, tables, twice)


def _slot(path: Path) -> tuple[tuple | None, object]:
    """(("low" or "high", place, frames), (revisit, kind) or kind), or None for a file of another kind."""
    name = path.name
    match = METADATA.fullmatch(name)
    if match:
        return ("low", _place(match["place"]), "L2A"), (int(match["n"]), "metadata")
    if any(part.lower() == "l1c" for part in path.parts[:-1]) or re.search(r"-\d+-L\d\w_data_", name):
        return None, None
    match = LOW.fullmatch(name)
    if match:
        return ("low", _place(match["place"]), "L2A"), (int(match["n"]), KINDS[match["kind"].lower()])
    match = PREPARED.fullmatch(name)
    if match:
        return ("low", _place(path.parent.name), "prepared"), (int(match["n"]), "png")
    match = PREPARED_HIGH.fullmatch(name)
    if match:
        return ("high", _place(path.parent.name)), (match["kind"] or "adapted").lower()
    match = HIGH.fullmatch(name)
    if match:
        return ("high", _place(match["place"])), match["kind"].lower().removeprefix("adapted_")
    return None, None


def _grouped(low, high, tables, twice) -> Listing:
    places = []
    for (name, frames), files in sorted(low.items()):
        revisits = defaultdict(dict)
        for (n, kind), path in files.items():
            revisits[n][kind] = path
        rows = tuple(Revisit(n, {k: p for k, p in kinds.items() if k != "metadata"}, kinds.get("metadata"))
                     for n, kinds in sorted(revisits.items()))
        places.append(PlaceFiles(name, frames, rows, high.get((name,), {}), tuple(tables)))
    known = {place.name for place in places}
    alone = [path for (name,), kinds in high.items() if name not in known for path in kinds.values()]
    return Listing(tuple(places), tuple(twice), tuple(sorted(alone)))


def _place(text: str) -> str:
    return re.sub(r"\s+", "_", text.strip())
