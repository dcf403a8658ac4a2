"""CVUSA, the aligned subset of Zhai et al. (CVPR 2017): 35,532 training and 8,884 validation pairs all over the USA.

    splits/train-19zl.csv, splits/val-19zl.csv   no header; satellite, panorama and (mostly) label path, by commas
    bingmap/19/<id>.jpg                          750 x 750, north up, web-Mercator zoom 19
    streetview/panos/<id>.jpg                    1232 x 224, the full circle, centre column = north
    streetview/annotations/<id>.png              8-bit classes of the panorama
    sky_mask/<id>.png                            white = sky (published with Sat2Density)
    split_locations/all.csv                      query lat, query lon, camera lat, camera lon, heading; line N = id N

Lists may also lie beside the pictures or under another name with "train" or "val" in it; a folder without any list is
paired by file name. Licence: Bing and Google imagery, research use, on request; no licence text is published.

Two things that papers state differently, and what this reader says:

* Vertical field of view: 224/1232 of a circle = 65.5 degrees, pixels as high as wide. OriCNN's orientation map agrees
  (pitch +-32.6 degrees at the outer pixel centres); Sat2Density computes with 90.
* Side of a tile: 750 pixels of zoom 19 are 223.9 m x cos(latitude): 95 m (Alaska) to 204 m (Florida), 176 m in the
  median (`tile_extent_m`), which houses and cars in the pictures confirm; Sat2Density and Shi et al. compute with 55 m.

The tile is centred at the camera: of the two positions in `all.csv` that is the second one. The first is a place that
was asked for; it lies up to 50 m away, off the road.
"""

from __future__ import annotations

import math
import re
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from rsnb.data.audit import Audit, Finding, count_findings
from rsnb.data.crossview.folders import PICTURES, Listing, picture_findings, pictures_of, require_folder
from rsnb.data.crossview.pair_lists import Row, read_pair_list
from rsnb.data.crossview.pair_table import read_offsets
from rsnb.data.crossview.pairs import PairIndex
from rsnb.data.nested_root import nested_root
from rsnb.data.published_counts import published_counts
from rsnb.errors import InputError
from rsnb.files import require_file

TILE_PIXELS = 750
PANORAMA_PIXELS = (1232, 224)  # width, height
VERTICAL_FOV = 2 * math.pi * 224 / 1232
_TILES = ("bingmap/19", "bingmap", "aerial", "satellite", "sat")
_PANORAMAS = ("streetview/panos", "streetview", "ground", "street", "panos")
_LABELS = ("streetview/annotations", "annotations", "labels")
_SKY = ("sky_mask", "sky_masks", "pano_sky_mask")
_LIST_FOLDERS = ("splits", ".", "split_locations", "lists")


def read_cvusa(root: str | Path, *, absent: Literal["drop", "keep"] = "drop",
               tile_extent_m: float | None = None) -> PairIndex:
    """Index a CVUSA tree; see the module for what may lie where.

    Args:
        root: folder of the data set, or one with a single such folder up to two levels below.
        absent: "drop" leaves out and counts pairs of which a picture is missing, "keep" keeps them with `present`
            false. Where no picture is there at all, the lists alone are indexed, all `present` false, with a note.
        tile_extent_m: side of a tile where all are equal (a made set); the real ones differ by latitude.

    Raises:
        InputError: no list and no picture; a list with too few or swapped columns, an id twice, or positions that are
            none.
    """
    root = _data_root(root)
    lists, positions, notes = find_lists(root)
    listing = Listing()
    if lists:
        rows, splits = _joined_rows(lists)
    else:
        rows, splits = _rows_of_folders(root), {}
        if not rows:
            raise InputError("there is neither a pair list nor a folder of tiles and one of panoramas", where=root,
                             mend="Give the folder that holds splits/train-19zl.csv and bingmap/19")
    drops: dict[str, list[str]] = {}
    rows, splits = _without_mismatches(rows, splits, drops)
    if not rows:
        raise InputError("the tile and the panorama of every pair carry different ids", where=root,
                         mend="Each line of a list names two pictures of the same number")
    tiles = [listing.first(row.candidates(0, str(root))) for row in rows]
    panoramas = [listing.first(row.candidates(1, str(root))) for row in rows]
    present = np.array([t is not None and p is not None for t, p in zip(tiles, panoramas, strict=True)], bool)
    if not present.any():
        notes.append("no picture of the lists is here: an index of names alone")
        absent = "keep"
    sky = [listing.first(f"{root}/{folder}/{row.panorama_stem}." for folder in _SKY) for row in rows]
    labels = [listing.first(_label_candidates(row, root)) for row in rows]
    lat_lon = None
    if positions is not None:
        lat_lon, missing = _camera_positions(rows, read_positions(positions))
        if missing:
            notes.append(f"{missing} pairs have no line in {positions.name}")
    index = PairIndex(
        "CVUSA", tuple(r.id for r in rows),
        tuple(t or root / r.cells[0] for t, r in zip(tiles, rows, strict=True)),
        tuple(p or root / r.cells[1] for p, r in zip(panoramas, rows, strict=True)),
        np.zeros(len(rows)), VERTICAL_FOV, present, _or_none(sky), _or_none(labels), lat_lon, splits=splits,
        tile_extent_m=tile_extent_m, drops=drops, notes=tuple(notes),
        offset_m=read_offsets(root, [row.id for row in rows]))
    if absent == "keep" or present.all():
        return index
    for i in np.flatnonzero(~present):
        what = " and ".join(w for w, found in (("no tile", tiles[i]), ("no panorama", panoramas[i])) if found is None)
        drops.setdefault(what, []).append(rows[i].id)
    return index.subset(present)


def tile_extent_m(latitude, pixels: int = TILE_PIXELS, zoom: int = 19) -> np.ndarray:
    """[...] metres on the ground along the side of a web-Mercator tile picture of so many pixels, at [...] degrees."""
    return 2 * math.pi * 6378137.0 * np.cos(np.radians(latitude)) / (256 * 2**zoom) * pixels


def read_positions(path: str | Path) -> np.ndarray:
    """`all.csv`: [M, 5] float64: latitude and longitude asked for, latitude and longitude of the camera, heading of the
    unturned panorama in degrees. Line N (from 1) belongs to id N.

    Raises:
        InputError: naming the line: not four or five numbers, or no latitude and longitude (swapped?).
    """
    path = require_file(path, "list of positions")
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    table = np.full((len(lines), 5), np.nan)
    for number, line in enumerate(lines):
        cells = [c for c in re.split(r"[,;\s]+", line.strip()) if c]
        try:
            values = [float(c) for c in cells]
        except ValueError:
            raise InputError(f"{line.strip()[:60]!r} are not five numbers", where=path, line=number + 1,
                             mend="Columns are query lat, query lon, camera lat, camera lon, heading; there is no "
                                  "header, as line N belongs to id N") from None
        if len(values) not in (4, 5):
            raise InputError(f"{len(values)} columns, expected 5", where=path, line=number + 1,
                             mend="Columns are query lat, query lon, camera lat, camera lon, heading")
        table[number, :len(values)] = values
    bad = (np.abs(table[:, [0, 2]]) > 90).any(axis=1) | (np.abs(table[:, [1, 3]]) > 180).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        swapped = (np.abs(table[row, [1, 3]]) <= 90).all()
        raise InputError("latitude and longitude look swapped" if swapped else "this is no latitude and longitude",
                         where=path, line=row + 1,
                         mend="Columns are query lat, query lon, camera lat, camera lon, heading")
    return table


def find_lists(root: Path) -> tuple[dict[str, Path], Path | None, list[str]]:
    """{split: pair list}, the list of positions, and notes on lists passed over, below a root; a list without "train",
    "val" or "test" in its name counts under its own stem."""
    lists: dict[str, Path] = {}
    positions, notes = None, []
    for folder in _LIST_FOLDERS:
        for path in sorted((root / folder).glob("*.csv")) if (root / folder).is_dir() else []:
            with open(path, encoding="utf-8-sig", errors="replace") as file:
                head = [line.strip().lower() for line in islice(file, 3) if line.strip()]
            if path.stem.lower() == "all":
                positions = positions or path
                continue
            if head and re.fullmatch(r"[-+\d.e,;\s]+", head[0]):
                notes.append(f"{path.name} is not read: only in all.csv line N belongs to id N")
                continue
            if not any(suffix in line for suffix in PICTURES for line in head) and "19zl" not in path.name:
                continue  # some other table
            split = next((s for s in ("train", "val", "test") if s in path.stem.lower()), path.stem)
            if lists.setdefault(split, path) != path:
                notes.append(f"{path.name} is not read: {lists[split].name} is the {split} list already")
    return lists, positions, notes


def audit(root: str | Path, decode: bool = True) -> Audit:
    """Look a CVUSA tree through.

    Args:
        root: folder of the data set.
        decode: also read every picture whole and look for files with the same bytes (a full set takes minutes).
    """
    root = _data_root(root)
    index = read_cvusa(root, absent="keep")
    lists = find_lists(root)[0]
    findings = [Finding("note", ".", note) for note in index.notes]
    findings += [Finding("value", ".", f"{len(ids)} pairs left out: {reason} ({', '.join(ids[:3])})")
                 for reason, ids in index.drops.items()]
    kinds = {"tiles": index.tile_paths, "panoramas": index.panorama_paths, "sky masks": index.sky_paths or (),
             "labels": index.label_paths or ()}
    there = {kind: sorted({p for p in paths if p is not None and p.is_file()}) for kind, paths in kinds.items()}
    if index.present.any():
        findings += _partnerless(index, root, bool(lists))
        listed = {p for paths in there.values() for p in paths}
        folders = {p.parent for kind in ("tiles", "panoramas") for p in there[kind]} if lists else set()
        findings += [Finding("unmatched", _relative(p, root), "in no list")
                     for folder in sorted(folders) for p in pictures_of(folder).values() if p not in listed]
    for kind, paths in (("sky mask", index.sky_paths), ("label", index.label_paths)):
        lacking = [i for i, p in zip(index.ids, paths or (), strict=False) if p is None]
        if lacking:
            findings.append(Finding("missing", ".", f"{len(lacking)} pairs have no {kind} ({', '.join(lacking[:3])})"))
    if decode:
        findings += picture_findings(there, root, {"tiles": (TILE_PIXELS,) * 2, "panoramas": PANORAMA_PIXELS,
                                                   "sky masks": PANORAMA_PIXELS, "labels": PANORAMA_PIXELS})
    counts = {f"{split} pairs": len(rows) for split, rows in index.splits.items()} or {"pairs": len(index)}
    counts |= {kind: len(paths) for kind, paths in there.items()}
    expected = published_counts("cvusa")
    findings += count_findings(counts, expected)
    return Audit("cvusa", root, counts, expected, tuple(findings))


def _data_root(root: str | Path) -> Path:
    root = require_folder(root)
    if find_lists(root)[0] or any((root / folder).is_dir() for folder in _TILES):
        return root
    return nested_root(root, lambda folder: (folder / "splits").is_dir() or (folder / "bingmap").is_dir())


def _partnerless(index: PairIndex, root: Path, listed: bool) -> list[Finding]:
    """A finding for each picture that a list names and that is not there, or (no list) whose partner is not there."""
    findings = []
    for i in np.flatnonzero(~index.present):
        paths = {"tile": index.tile_paths[i], "panorama": index.panorama_paths[i]}
        for what, path in paths.items():
            if not path.is_file() and listed:
                findings.append(Finding("missing", _relative(path, root), f"the {what} that the list names"))
            elif not path.is_file():
                other = next(p for p in paths.values() if p != path)
                findings.append(Finding("unmatched", _relative(other, root), f"there is no {what} of this name"))
    return findings


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _or_none(paths: list[Path | None]) -> tuple[Path | None, ...] | None:
    return tuple(paths) if any(p is not None for p in paths) else None


def _joined_rows(lists: dict[str, Path]) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Rows of all lists, each id once, and the index array of each split."""
    rows: list[Row] = []
    place: dict[str, int] = {}
    splits = {}
    for split, path in lists.items():
        index = []
        for row in read_pair_list(path):
            if row.id not in place:
                place[row.id] = len(rows)
                rows.append(row)
            index.append(place[row.id])
        splits[split] = np.array(index, int)
    return rows, splits


def _rows_of_folders(root: Path) -> list[Row]:
    """Pairs by file name, of the first tile and panorama folders that are there; none where one of them is not."""
    tiles = next((f for f in _TILES if pictures_of(root / f)), None)
    panoramas = next((f for f in _PANORAMAS if pictures_of(root / f)), None)
    if tiles is None or panoramas is None:
        return []
    a, b = pictures_of(root / tiles), pictures_of(root / panoramas)
    return [Row(stem, (f"{tiles}/{(a.get(stem) or b[stem]).name}", f"{panoramas}/{(b.get(stem) or a[stem]).name}"),
                root, 0) for stem in sorted({*a, *b})]


def _without_mismatches(rows, splits, drops):
    """Rows whose two names carry different numbers would be wrong pairs: they go, and are counted."""
    wrong = {i for i, row in enumerate(rows) if row.names_differ}
    if not wrong:
        return rows, splits
    drops["tile and panorama carry different ids"] = tuple(rows[i].id for i in sorted(wrong))
    place = np.cumsum([i not in wrong for i in range(len(rows))]) - 1
    return ([r for i, r in enumerate(rows) if i not in wrong],
            {name: np.array([place[i] for i in index if i not in wrong], int) for name, index in splits.items()})


def _label_candidates(row: Row, root: Path):
    yield from row.candidates(2, str(root))
    yield from (f"{root}/{folder}/{row.panorama_stem}." for folder in _LABELS)


def _camera_positions(rows: list[Row], table: np.ndarray) -> tuple[np.ndarray, int]:
    """[N, 2] degrees of each row's camera, nan where its id has no line; and how many those are."""
    number = np.array([int(r.id) if r.id.isdecimal() else 0 for r in rows])
    known = (number >= 1) & (number <= len(table))
    lat_lon = np.full((len(rows), 2), np.nan)
    lat_lon[known] = table[number[known] - 1, 2:4]
    return lat_lon, int((~known).sum())
