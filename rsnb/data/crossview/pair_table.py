"""`truth/pairs.json` of a made set of pairs: where its cameras and tiles are, and what was asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.errors import InputError

AGAIN = "Write the data set again"
PARTS = ("ANU_data_small", "ANU_data_test", "CVACT", "CVACT_small", "CVACT_test")  # of a set, as CVACT is unpacked


@dataclass(frozen=True)
class PairRow:
    """One pair.

    Attributes:
        split: its list.
        offset_m: metres east and north from the tile's centre to the camera.
        centre: of the tile, metres east and north in the set's CRS.
    """

    split: str
    offset_m: tuple[float, float]
    centre: tuple[float, float]


@dataclass(frozen=True)
class PairTable:
    """What pairs.json says.

    Attributes:
        path: of the file.
        rows: {id: pair}, in its order.
        tile_extent_m, camera_height_m: metres. vertical_fov: radians.
        slices: of the occupancy of evaluated pairs, 0 = none; ceiling_m: where they end, or None.
        crs: of the centres, or None.
        class_names: {id: name}.
    """

    path: Path
    rows: Mapping[str, PairRow]
    tile_extent_m: float
    camera_height_m: float
    vertical_fov: float
    slices: int
    ceiling_m: float | None
    crs: str | None
    class_names: Mapping[int, str]


def read_pair_table(path: Path) -> PairTable:
    """Read the file.

    Raises:
        InputError: it is not there, no JSON, or a key is missing or holds something else; naming file and key.
    """
    table = read_json(path)
    extent, height, fov = (_number(table, key, path) for key in ("tile_extent_m", "camera_height_m",
                                                                "vertical_fov_deg"))
    for key, value, most in (("tile_extent_m", extent, math.inf), ("camera_height_m", height, math.inf),
                             ("vertical_fov_deg", fov, 180.0 + 1e-6)):
        if not 0 < value <= most:
            raise _bad(path, f"{key!r} is {value:g}", "a number above 0" + ("" if most == math.inf else ", up to 180"))
    slices = table.get("slices", 0)
    if type(slices) is not int or slices < 0:
        raise _bad(path, f"'slices' is {slices!r}", "a whole number")
    crs = table.get("crs")
    if crs is not None and not isinstance(crs, str):
        raise _bad(path, f"'crs' is {crs!r}", 'text such as "EPSG:3879", or null')
    origin = numbers(table, "origin", path, 3) if "origin" in table else (0.0, 0.0, 0.0)
    return PairTable(path, _rows(table, path, origin), extent, height, math.radians(min(fov, 180.0)), slices,
                     None if table.get("ceiling_m") is None else _number(table, "ceiling_m", path), crs,
                     _class_names(table, path))


def read_offsets(root: Path, ids: Sequence[str]) -> np.ndarray | None:
    """[N, 2] float64 metres east and north from each tile's centre to its camera, 0 for a pair that is not known there;
    None where the set states none.

    Args:
        root: of the data set; or a part of it (`PARTS`) that lies beside `truth`, if all of its pairs are known there:
            else what lies beside it is of another set.
        ids: of the pairs.

    Raises:
        InputError: what `read_pair_table` raises.
    """
    path = root / "truth" / "pairs.json"
    beside = root.parent / "truth" / "pairs.json"
    if path.is_file():
        rows = read_pair_table(path).rows
    elif root.name in PARTS and beside.is_file():
        rows = read_pair_table(beside).rows
        if not all(i in rows for i in ids):
            return None
    else:
        return None
    return np.array([rows[i].offset_m if i in rows else (0.0, 0.0) for i in ids]).reshape(-1, 2)


def read_json(path: Path) -> dict:
    """An object of a JSON file.

    Raises:
        InputError: it is not there, no JSON, or no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("there is no truth of pairs", where=path,
                         mend="Give a data set that the city wrote; real ones have none") from None
    except (OSError, ValueError) as error:
        raise InputError(f"this is no JSON ({error})", where=path, mend=AGAIN) from None
    if not isinstance(found, dict):
        raise _bad(path, f"it holds {type(found).__name__}", "an object")
    return found


def numbers(table: Mapping, key: str, path: Path, count: int, of: str = "") -> tuple[float, ...]:
    """So many finite numbers under a key; `of` says whose key it is, for the message.

    Raises:
        InputError: the key is missing or holds something else.
    """
    if key not in table:
        raise InputError(f"{of}{key!r} is missing", where=path, mend=AGAIN)
    value = table[key]
    if not isinstance(value, list) or len(value) != count or not all(_is_number(v) for v in value):
        raise _bad(path, f"{of}{key!r} is {str(value)[:60]}", f"{count} numbers")
    return tuple(float(v) for v in value)


def _number(table: Mapping, key: str, path: Path) -> float:
    if key not in table:
        raise InputError(f"{key!r} is missing", where=path, mend=AGAIN)
    if not _is_number(table[key]):
        raise _bad(path, f"{key!r} is {str(table[key])[:60]}", "a number")
    return float(table[key])


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rows(table: Mapping, path: Path, origin: tuple[float, ...]) -> dict[str, PairRow]:
    if "pairs" not in table:
        raise InputError("'pairs' is missing", where=path, mend=AGAIN)
    if not isinstance(table["pairs"], list):
        raise _bad(path, f"'pairs' is {str(table['pairs'])[:60]}", "a list of objects")
    out: dict[str, PairRow] = {}
    for number, row in enumerate(table["pairs"], 1):
        if not isinstance(row, dict):
            raise _bad(path, f"pair {number} is {str(row)[:60]}", "an object")
        for key in ("id", "split"):
            if not isinstance(row.get(key), str):
                raise InputError(f"{key!r} of pair {number} is missing or no text", where=path, mend=AGAIN)
        of = f"pair {row['id']!r}: "
        if row["id"] in out:
            raise InputError(f"{of}it stands there twice", where=path, mend=AGAIN)
        centre = numbers(row, "tile_centre", path, 2, of)
        out[row["id"]] = PairRow(row["split"], numbers(row, "offset_m", path, 2, of),
                                 (centre[0] + origin[0], centre[1] + origin[1]))
    return out


def _class_names(table: Mapping, path: Path) -> dict[int, str]:
    names = table.get("classes", {})
    if not isinstance(names, dict) or not all(str(k).isdecimal() and isinstance(v, str) for k, v in names.items()):
        raise _bad(path, f"'classes' is {str(names)[:60]}", '{"3": "building"}')
    return {int(k): v for k, v in names.items()}


def _bad(path: Path, what: str, expected: str) -> InputError:
    return InputError(f"{what}, expected {expected}", where=path, mend=AGAIN)
