"""What is wrong with a folder of WorldStrat's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsnb.data.audit import Audit, Finding, count_findings, duplicate_findings, picture_fault
from rsnb.data.earth.worldstrat_dates import revisit_facts
from rsnb.data.earth.worldstrat_layout import Listing, PlaceFiles, Revisit, list_files
from rsnb.data.published_counts import published_counts
from rsnb.data.raster import grid_of, open_raster
from rsnb.errors import InputError


def audit(root: Path) -> Audit:
    """Places, revisits, high-resolution pictures; every raster and picture is read whole."""
    listing = list_files(root)
    counts = {
        "places": len({p.name for p in listing.places}),
        "revisits": sum(1 for p in listing.places for r in p.revisits if "L2A_data" in r.files),
        "prepared frames": sum(1 for p in listing.places for r in p.revisits if "png" in r.files),
        "high-resolution pictures": sum(len(kinds) for kinds in
                                        {p.name: p.high_resolution for p in listing.places}.values()),
    }
    findings = []
    for place in listing.places:
        findings += _place_findings(place, root)
    findings += _listing_findings(listing, root)
    expected = published_counts("worldstrat")
    return Audit("worldstrat", root, counts, expected, tuple(findings + count_findings(counts, expected)))


def _listing_findings(listing: Listing, root: Path) -> list[Finding]:
    name = lambda path: path.relative_to(root).as_posix()  # noqa: E731
    found = [Finding("duplicate", name(p), "a file of this name is there already, and is the one that is read")
             for p in listing.twice]
    found += [Finding("unmatched", name(p), "a high-resolution picture without a frame") for p in listing.high_alone]
    frames = [p for place in listing.places for r in place.revisits for k, p in r.files.items()
              if k in ("L2A_data", "png")]
    return found + duplicate_findings(frames, root)


def _place_findings(place: PlaceFiles, root: Path) -> list[Finding]:
    found, grids = [], {}
    for revisit in place.revisits:
        found += _revisit_findings(place, revisit, root, grids)
    frames = {r.files.get("L2A_data") for r in place.revisits}
    sizes = {(grid.height, grid.width) for path, grid in grids.items() if path in frames}
    if len(sizes) > 1:
        text = " and ".join(f"{w} x {h}" for h, w in sorted(sizes))
        found.append(Finding("note", place.name, f"frames of {text} pixels; the reader brings them onto one grid"))
    if not place.high_resolution:
        found.append(Finding("note", place.name, "no high-resolution picture"))
    for kind, path in place.high_resolution.items():
        found += _raster_findings(path, root, {"pan": 1, "rgbn": 4}.get(kind), {})
    offsets = _offsets(place)
    if len(offsets) and (np.abs(offsets) > 365).all():
        found.append(Finding("value", place.name, "every frame is over 365 days from the high-resolution picture: "
                             f"{np.abs(offsets).min():.0f} at the least"))
    elif (np.abs(offsets) > 365).any():
        found.append(Finding("note", place.name, f"{(np.abs(offsets) > 365).sum()} frames are over 365 days from the "
                             "high-resolution picture"))
    return found


def _offsets(place: PlaceFiles) -> np.ndarray:
    offsets = []
    for revisit in place.revisits:
        try:
            offsets.append(revisit_facts(place, revisit).offset_days)
        except InputError:
            continue  # reported with the revisit
    return np.array([o for o in offsets if np.isfinite(o)])


def _revisit_findings(place: PlaceFiles, revisit: Revisit, root: Path, grids: dict) -> list[Finding]:
    picture = revisit.files.get("L2A_data") or revisit.files.get("png")
    if picture is None:
        path = revisit.metadata or next(iter(revisit.files.values()))
        return [Finding("missing", path.relative_to(root).as_posix(), f"there is no frame for revisit {revisit.n}")]
    name = picture.relative_to(root).as_posix()
    found = []
    try:
        facts = revisit_facts(place, revisit)
        found += [Finding("value", name, note) for note in facts.notes]
        if np.isnat(facts.date):
            found.append(Finding("missing", name, "nothing says its date"))
    except InputError as error:
        found.append(Finding("unreadable", name, f"its metadata: {error}"))
    if place.frames == "prepared":
        fault = picture_fault(picture)
        return found + ([Finding(fault[0], name, fault[1])] if fault else [])
    for kind, path in revisit.files.items():
        found += _raster_findings(path, root, 12 if kind == "L2A_data" else 1, grids)
        if kind != "L2A_data" and picture in grids and path in grids and grids[path] != grids[picture]:
            found.append(Finding("size", path.relative_to(root).as_posix(), "another grid than the frame's"))
    if not {"SCL", "CLM", "CLP"} & set(revisit.files):
        found.append(Finding("note", name, "no mask of clouds beside it"))
    return found


def _raster_findings(path: Path, root: Path, bands: int | None, grids: dict) -> list[Finding]:
    """What is wrong with one raster, read whole; its grid goes into `grids`."""
    name = path.relative_to(root).as_posix()
    try:
        with open_raster(path) as file:
            values = file.read()
            grids[path] = grid_of(file)
    except InputError as error:
        return [Finding("unreadable", name, error.what)]
    if bands is not None and len(values) != bands:
        return [Finding("size", name, f"{len(values)} bands, expected {bands}")]
    if not np.isfinite(values).all():
        return [Finding("value", name, "holds values that are not finite")]
    if bands != 1 and not values.any():
        return [Finding("value", name, "holds nothing but zeros")]
    return []
