"""Open any set of tile-panorama pairs: the format is recognised by what lies in the folder.

The order of the formats is that of `FORMATS`. Where a folder itself is of none, the only set up to two levels below it
is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from rsnb.data.crossview.cvusa import find_lists
from rsnb.data.crossview.dayton import dayton_files
from rsnb.data.crossview.demo_cases import find_cases
from rsnb.data.crossview.folders import pictures_of, require_folder
from rsnb.data.crossview.pairs import PairIndex
from rsnb.errors import InputError

_CVACT = ("satview_polish", "satview_correct")
_CVACT_PARTS = ("", "ANU_data_small", "ANU_data_test")
_TILES = ("bingmap/19", "bingmap", "aerial", "satellite", "sat")
_PANORAMAS = ("streetview/panos", "streetview", "ground", "street", "panos")


def cvact_here(folder: Path) -> bool:
    """A CVACT tree, as published or as Shi et al. aligned it."""
    return any((folder / part / name).is_dir() for part in _CVACT_PARTS for name in _CVACT)


def demo_cases_here(folder: Path) -> bool:
    """Folders of Sat2Density's demonstration, or one of them."""
    return bool(find_cases(folder))


def cvusa_here(folder: Path) -> bool:
    """A CVUSA tree: a list of pairs, or a folder of tiles and one of panoramas."""
    if find_lists(folder)[0]:
        return True
    return all(any(pictures_of(folder / name) for name in names) for names in (_TILES, _PANORAMAS))


@dataclass(frozen=True)
class PairReader:
    """One format.

    Attributes:
        look: whether a folder is of this format.
        module, function: of the reader, imported when it is needed.
        looks_for: what it is recognised by, for messages.
    """

    look: Callable[[Path], bool]
    module: str
    function: str
    looks_for: str


FORMATS: Mapping[str, PairReader] = {
    "cvact": PairReader(cvact_here, "cvact", "read_cvact", "satview_polish or satview_correct beside streetview"),
    "demo_cases": PairReader(demo_cases_here, "demo_cases", "read_demo_cases",
                             "folders with satview-input.png and groundview.image.png"),
    "cvusa": PairReader(cvusa_here, "cvusa", "read_cvusa",
                        "splits/train-19zl.csv, another list of two picture names a line, or bingmap and streetview"),
}
_LEVELS = 2


def read_pairs(root: str | Path, format: str = "auto", *, tile_extent_m: float | None = None,
               camera_height_m: float | None = None) -> PairIndex:
    """Index a set of pairs of any format; pixels stay on the disk.

    Args:
        root: of the data set, or a folder with the only one up to two levels below.
        format: one of `FORMATS`, or "auto".
        tile_extent_m, camera_height_m: metres, where the user knows them; no format states them.

    Raises:
        InputError: nothing that is known (it says what was looked for and what is there), several sets to choose
            among, numbers that are no lengths, or whatever the reader finds wrong.
    """
    root = require_folder(root)
    if format != "auto" and format not in FORMATS:
        raise InputError(f"{format!r} is no format of pairs", where="format",
                         mend=f"Choose 'auto' or one of: {', '.join(FORMATS)}")
    for name, value in (("tile_extent_m", tile_extent_m), ("camera_height_m", camera_height_m)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} is {value!r}", where="read_pairs", mend="Give metres above 0, or None")
    place, name = (root, format) if format != "auto" else _locate(root)
    reader = FORMATS[name]
    function = getattr(import_module(f"rsnb.data.crossview.{reader.module}"), reader.function)
    return replace(function(place, tile_extent_m=tile_extent_m), camera_height_m=camera_height_m)


def _locate(root: Path) -> tuple[Path, str]:
    level = [root]
    for _ in range(_LEVELS + 1):
        found = {folder: name for folder in level if (name := _format_of(folder)) is not None}
        if len(found) == 1:
            return next(iter(found.items()))
        if found:
            names = [folder.relative_to(root).as_posix() for folder in found]
            raise InputError(f"there are {len(names)} sets of pairs here", where=root,
                             mend=f"Give one of them: {', '.join(names[:6])}")
        level = [below for folder in level for below in _folders(folder)]
    if dayton_files(root):
        raise InputError("these are Dayton tuples, not tiles with panoramas", where=root,
                         mend="Read them with rsnb.data.crossview.dayton.read_dayton")
    there = ", ".join(p.name for p in sorted(root.iterdir())[:6]) or "nothing"
    looked_for = "; ".join(f"{name}: {reader.looks_for}" for name, reader in FORMATS.items())
    raise InputError(f"no set of tile-panorama pairs is recognised here. Found: {there}. Looked for: {looked_for}",
                     where=root, mend="Give the root of the data set, or force a format with format=")


def _format_of(folder: Path) -> str | None:
    return next((name for name, reader in FORMATS.items() if reader.look(folder)), None)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX")))
