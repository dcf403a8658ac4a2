"""The demonstration cases of Sat2Density (ICCV 2023): a folder a case, each with a tile, a panorama and a sky mask.

    <case>/satview-input.png        256 x 256, north up, centred at the camera
    <case>/groundview.image.png     512 x 256, the whole sphere, centre column = north
    <case>/groundview.sky.png       the same size, white = sky

All are crops of CVACT (its terms hold: research only, not to be passed on). Of those published, case 13 repeats case 2
in all three files. The side of a tile is not stated: Sat2Density computes with 30 m, cars say about 59 m.
"""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Literal

import numpy as np

from rsnb.data.audit import Audit, Finding
from rsnb.data.crossview.folders import picture_findings, pictures_of, require_folder
from rsnb.data.crossview.pair_pictures import same_shape
from rsnb.data.crossview.pairs import PairIndex
from rsnb.data.nested_root import nested_root
from rsnb.errors import InputError

TILE, PANORAMA, SKY = "satview-input", "groundview.image", "groundview.sky"
_NAMES = {"tile": TILE, "panorama": PANORAMA, "sky mask": SKY}
_PUBLISHED = {"tiles": (256, 256), "panoramas": (512, 256), "sky masks": (512, 256)}


def find_cases(root: str | Path) -> dict[str, dict[str, Path]]:
    """{case: {"tile", "panorama", "sky mask": file, those that are there}} of a folder of cases, or of one case itself;
    in the order of their numbers."""
    root = Path(root)
    here = _case(root)
    if here:
        return {root.resolve().name: here}
    folders = (p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    cases = {folder.name: found for folder in folders if (found := _case(folder))}
    return {name: cases[name] for name in sorted(cases, key=_by_number)}


def read_demo_cases(root: str | Path, *, duplicates: Literal["drop", "keep"] = "drop",
                    tile_extent_m: float | None = None) -> PairIndex:
    """Index the cases below a root; ids are the folders' names.

    Left out and counted in `drops`: a case without tile or panorama, or with a picture that cannot be read; one whose
    panorama is not twice as wide as high; one whose mask has another shape (of another size it may be: it is resized
    when it is loaded); and one that repeats an earlier case in all its files. A case without a mask is kept, with a
    note.

    Args:
        root: folder of the cases, or one with a single such folder up to two levels below, or a case.
        duplicates: whether repeated cases are left out.
        tile_extent_m: side of a tile, metres, if the user knows it.

    Raises:
        InputError: no case here, none that is whole (it says what is wrong with the first one), or a picture with more
            pixels than Pillow reads.
    """
    root = _data_root(root)
    cases = find_cases(root)
    if not cases:
        raise InputError("there is no demonstration case here", where=root,
                         mend=f"Give the folder of the cases; each holds {TILE}.png, {PANORAMA}.png and {SKY}.png")
    drops: dict[str, list[str]] = {}
    kept: dict[str, dict[str, Path]] = {}
    digests: dict[tuple, str] = {}
    for name, files in cases.items():
        fault = _fault(files)
        if fault is None and duplicates == "drop":
            digest = tuple(_sha256(files[kind]) if kind in files else "" for kind in _NAMES)
            other = digests.setdefault(digest, name)
            fault = None if other == name else "the same files as another case"
        if fault is None:
            kept[name] = files
        else:
            drops.setdefault(fault, []).append(name)
    if not kept:
        fault, names = next(iter(drops.items()))
        raise InputError(f"no case is whole: {names[0]} has {fault}", where=root,
                         mend="Fetch the cases again, or mend the pictures")
    bare = [name for name, files in kept.items() if "sky mask" not in files]
    notes = (f"{len(bare)} cases have no sky mask ({', '.join(bare[:3])})",) if bare else ()
    n = len(kept)
    return PairIndex(
        "Sat2Density cases", tuple(kept), tuple(f["tile"] for f in kept.values()),
        tuple(f["panorama"] for f in kept.values()), np.zeros(n), math.pi, np.ones(n, bool),
        tuple(f.get("sky mask") for f in kept.values()) if len(bare) < n else None, tile_extent_m=tile_extent_m,
        drops={reason: tuple(names) for reason, names in drops.items()}, notes=notes)


def audit(root: str | Path, decode: bool = True) -> Audit:
    """Look a folder of cases through: what is missing, misshapen or twice there.

    Args:
        root: as for `read_demo_cases`.
        decode: also read every picture whole and compare single files.
    """
    root = _data_root(root)
    cases = find_cases(root)
    findings = []
    groups: dict[str, list[Path]] = {f"{kind}s": [] for kind in _NAMES}
    first: dict[tuple, str] = {}
    for name, files in cases.items():
        for kind in _NAMES:
            if kind in files:
                groups[f"{kind}s"].append(files[kind])
            else:
                findings.append(Finding("missing", name, f"the case has no {kind}"))
        try:
            fault = _fault(files)
        except InputError:
            fault = "a picture that is too large to be read"
        if fault is not None and not fault.startswith("no "):
            findings.append(Finding("size" if "pixels" in fault else "unreadable", name, f"the case has {fault}"))
        other = first.setdefault(tuple(_sha256(files[kind]) for kind in _NAMES if kind in files), name)
        if other != name:
            findings.append(Finding("duplicate", name, f"the same files as {other}"))
    if decode:
        repeated = {finding.path for finding in findings if finding.kind == "duplicate"}
        findings += [f for f in picture_findings(groups, root, _PUBLISHED)  # said once already, of the whole case
                     if not ("same bytes" in f.text and Path(f.path).parts[0] in repeated)]
    return Audit("demo_cases", root, {"cases": len(cases)} | {kind: len(p) for kind, p in groups.items()}, {},
                 tuple(findings))


def _data_root(root: str | Path) -> Path:
    root = require_folder(root)
    return nested_root(root, lambda folder: bool(find_cases(folder)))


def _case(folder: Path) -> dict[str, Path]:
    pictures = pictures_of(folder)
    return {kind: pictures[stem] for kind, stem in _NAMES.items() if stem in pictures}


def _fault(files: dict[str, Path]) -> str | None:
    """What keeps a case from being a pair, or None."""
    for kind in ("tile", "panorama"):
        if kind not in files:
            return f"no {kind}"
    sizes = {}
    for kind, path in files.items():
        sizes[kind] = _size(path)
        if sizes[kind] is None:
            return f"a {kind} that is no picture"
    (width, height), tile = sizes["panorama"], sizes["tile"]
    if width != 2 * height:
        return f"a panorama of {width} x {height} pixels, which is not twice as wide as high"
    if tile[0] != tile[1]:
        return f"a tile of {tile[0]} x {tile[1]} pixels, which is not square"
    mask = sizes.get("sky mask", (width, height))
    if not same_shape(mask, (width, height)):
        return f"a sky mask of {mask[0]} x {mask[1]} pixels beside a panorama of {width} x {height}"
    return None


def _size(path: Path) -> tuple[int, int] | None:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.size
    except Image.DecompressionBombError as error:
        raise InputError(f"the picture is too large to be read ({error})", where=path,
                         mend="Make it smaller, or take the case away") from None
    except (OSError, ValueError, SyntaxError):
        return None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _by_number(name: str) -> tuple:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)][1::2], name
