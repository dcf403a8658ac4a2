"""CVACT (Liu & Li, CVPR 2019): panoramas of Canberra with the satellite picture around each; one reader, three layouts.

As published ("anu"), 35,532 training and 8,884 validation pairs in the small part, 92,802 in the test part:

    ACT_data.mat                                            names, UTM positions, three index sets
    ANU_data_small/streetview/<id>_grdView.jpg              1664 x 832, the whole sphere, centre column = north
    ANU_data_small/satview_polish/<id>_satView_polish.jpg   1200 x 1200, north up, centred at the camera
    ANU_data_test/...                                       the same for `valSetAll`

As Shi et al. (TPAMI 2022) aligned them for view synthesis ("aligned"), which Sat2Density uses; 32,810 tiles were
counted against 44,415 panoramas, so the two are joined by id and the rest is counted:

    satview_correct/<id>_satView_polish.png   256 x 256
    streetview/<id>_grdView.png               512 x 256
    pano_sky_mask/<id>_grdView.png            white = sky

And the demonstration folders of Sat2Density ("cases"): <case>/satview-input.png, groundview.image.png,
groundview.sky.png.

Licence: research only, not to be passed on; from the authors by mail. No side length of a tile is published:
Sat2Density computes with 30 m, Shi et al. with 40.2 m, cars in the pictures say about 59 m for the aligned tiles. So
`tile_extent_m` is None unless it is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.audit import Audit, Finding, count_findings
from rsnb.data.crossview.act_data import ActData, read_act_data
from rsnb.data.crossview.folders import by_id, picture_findings, pictures_of, require_folder
from rsnb.data.crossview.pair_table import read_offsets
from rsnb.data.crossview.pairs import PairIndex
from rsnb.data.nested_root import nested_root
from rsnb.data.published_counts import published_counts
from rsnb.errors import InputError

MAT = "ACT_data.mat"
_TILE_FOLDERS = {"satview_correct": "aligned", "satview_polish": "anu"}
_TILE, _PANORAMA = "_satView_polish", "_grdView"
_PARTS = ("", "ANU_data_small", "ANU_data_test", "CVACT", "CVACT_small", "CVACT_test")
_PUBLISHED = {
    "anu": {"tiles": (1200, 1200), "panoramas": (1664, 832)},
    "aligned": {"tiles": (256, 256), "panoramas": (512, 256), "sky masks": (512, 256)},
    "cases": {"tiles": (256, 256), "panoramas": (512, 256), "sky masks": (512, 256)},
}
_CASE = {"tiles": "satview-input", "panoramas": "groundview.image", "sky masks": "groundview.sky"}


@dataclass(frozen=True)
class CvactFiles:
    """What lies in a tree: its layout and {id: path} of each kind of picture."""

    layout: str
    tiles: dict[str, Path]
    panoramas: dict[str, Path]
    sky: dict[str, Path]


def read_cvact(root: str | Path, mat: str | Path | None = None, *, tile_extent_m: float | None = None) -> PairIndex:
    """Index a CVACT tree of any layout; a pair is kept if both pictures are there, the others are counted in `drops`.

    With the list the pairs have positions and the splits "train", "val" and "test" (`trainSet`, `valSet`,
    `valSetAll`; the second is part of the third); without it all pairs whose names match are indexed, without splits.

    Args:
        root: folder that holds the picture folders, or ANU_data_small and ANU_data_test, or such a folder.
        mat: the list; None looks for ACT_data.mat in the root, one folder below it, and beside the root.
        tile_extent_m: side of a tile, metres, if the user knows it.

    Raises:
        InputError: no such pictures here, or a list that is broken (see `read_act_data`).
    """
    root = _data_root(root)
    files = find_files(root)
    path = Path(mat) if mat is not None else _find_mat(root)
    listed = None if path is None else read_act_data(path)
    both = [i for i in files.tiles if i in files.panoramas]
    drops = {"no panorama": _sorted_without(files.tiles, files.panoramas),
             "no tile": _sorted_without(files.panoramas, files.tiles)}
    notes: tuple[str, ...] = ()
    if listed is None:
        ids, utm, splits = sorted(both), None, {}
        if files.layout != "cases":
            notes = (f"there is no {MAT}: no positions, no splits",)
    else:
        ids, utm, splits, absent = _listed_pairs(listed, set(both))
        drops["listed, but a picture is missing"] = absent
        drops["in no list"] = tuple(sorted(set(both) - set(ids)))
        notes = listed.notes
    return PairIndex(
        "CVACT", tuple(ids), tuple(files.tiles[i] for i in ids), tuple(files.panoramas[i] for i in ids),
        np.zeros(len(ids)), math.pi, np.ones(len(ids), bool),
        tuple(files.sky.get(i) for i in ids) if any(i in files.sky for i in ids) else None, None, None, utm, splits,
        tile_extent_m, drops={reason: lost for reason, lost in drops.items() if lost}, notes=notes,
        offset_m=read_offsets(root, ids))


def _data_root(root: str | Path) -> Path:
    return nested_root(require_folder(root), lambda folder: any((folder / part / name).is_dir()
                                                                for part in _PARTS for name in _TILE_FOLDERS))


def find_files(root: Path) -> CvactFiles:
    """The pictures of a tree, from the root and its `ANU_data_*` folders.

    Raises:
        InputError: none of the layouts.
    """
    layout, tiles, panoramas, sky = "", {}, {}, {}
    for part in _PARTS:
        for name, found in _TILE_FOLDERS.items():
            if layout in ("", found) and (root / part / name).is_dir():
                layout = found
                # the first part wins: 8,884 pairs lie in both, and it is the large archive that is often damaged
                tiles = by_id(root / part / name, _TILE) | tiles
                panoramas = by_id(root / part / "streetview", _PANORAMA) | panoramas
                sky = by_id(root / part / "pano_sky_mask", _PANORAMA) | sky
    if layout:
        return CvactFiles(layout, tiles, panoramas, sky)
    cases = {}
    for kind, stem in _CASE.items():
        cases[kind] = {folder.name: found[stem] for folder in sorted(p for p in root.iterdir() if p.is_dir())
                       if stem in (found := pictures_of(folder))}
    if not cases["tiles"] and not cases["panoramas"]:
        raise InputError("this is no CVACT tree: there is neither satview_polish nor satview_correct", where=root,
                         mend="Give the folder that holds ANU_data_small, or satview_correct and streetview")
    return CvactFiles("cases", cases["tiles"], cases["panoramas"], cases["sky masks"])


def audit(root: str | Path, decode: bool = True) -> Audit:
    """Look a CVACT tree of any layout through.

    Args:
        root: as for `read_cvact`.
        decode: also read every picture whole and look for files with the same bytes (a full set takes minutes).
    """
    root = _data_root(root)
    files = find_files(root)
    index = read_cvact(root)
    findings = [Finding("note", ".", note) for note in index.notes]
    for kind, paths, partner in (("tile", files.tiles, files.panoramas), ("panorama", files.panoramas, files.tiles),
                                 ("sky mask", files.sky, files.panoramas)):
        other = "tile" if kind == "panorama" else "panorama"
        findings += [Finding("unmatched", paths[i].relative_to(root).as_posix(), f"this {kind} has no {other}")
                     for i in _sorted_without(paths, partner)]
    lost = index.drops.get("listed, but a picture is missing", ())
    if lost:
        findings.append(Finding("note", MAT, f"{len(lost)} pairs of the list are not here ({', '.join(lost[:3])})"))
    findings += [Finding("unmatched", files.tiles[i].relative_to(root).as_posix(), "this pair is in no list")
                 for i in index.drops.get("in no list", ())]
    if index.sky_paths is not None:
        bare = [i for i, p in zip(index.ids, index.sky_paths, strict=True) if p is None]
        findings += [Finding("missing", files.panoramas[i].relative_to(root).as_posix(), "no sky mask for it")
                     for i in bare]
    groups = {"tiles": sorted(files.tiles.values()), "panoramas": sorted(files.panoramas.values()),
              "sky masks": sorted(files.sky.values())}
    if decode:
        findings += picture_findings(groups, root, _PUBLISHED[files.layout])
    counts = {f"{split} pairs": len(rows) for split, rows in index.splits.items()} or {"pairs": len(index)}
    counts |= {kind: len(paths) for kind, paths in groups.items()}
    name = {"anu": "cvact", "aligned": "cvact_aligned"}.get(files.layout)
    expected = published_counts(name) if name else {}
    return Audit("cvact", root, counts, expected, (*findings, *count_findings(counts, expected)))


def _find_mat(root: Path) -> Path | None:
    places = (root / MAT, *sorted(root.glob(f"*/{MAT}")), root.parent / MAT)
    return next((p for p in places if p.is_file()), None)


def _sorted_without(some: dict[str, Path], others: dict[str, Path]) -> tuple[str, ...]:
    return tuple(sorted(i for i in some if i not in others))


def _listed_pairs(listed: ActData, there: set[str]):
    """ids, utm and splits of the listed pairs that are there; the ids of those that a split names but that are not."""
    kept = np.array([i in there for i in listed.ids], bool)
    place = np.cumsum(kept) - 1
    wanted = np.zeros(len(kept), bool)
    for index in listed.splits.values():
        wanted[index] = True
    splits = {name: place[index[kept[index]]] for name, index in listed.splits.items()}
    ids = [i for i, keep in zip(listed.ids, kept, strict=True) if keep]
    absent = tuple(listed.ids[i] for i in np.flatnonzero(wanted & ~kept))
    return ids, None if listed.utm is None else listed.utm[kept], splits, absent
