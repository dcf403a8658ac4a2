"""`ACT_data.mat`, the list of CVACT: names, places and the three index sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.errors import InputError
from rsnb.files import require_file

# struct of the file -> (field in it, split). Loaders take the field by name or as the struct's second one.
_SETS = {"trainSet": ("trainInd", "train"), "valSet": ("valInd", "val"), "valSetAll": ("valInd", "test")}


@dataclass(frozen=True)
class ActData:
    """What the list says; rows are in its order.

    Attributes:
        ids: [M] panorama ids.
        utm: [M, 2] float64, metres, east then north; or None where the file has no `utm`.
        splits: {"train", "val", "test": index arrays from 0} for `trainSet`, `valSet`, `valSetAll`.
        notes: what was put right.
    """

    ids: tuple[str, ...]
    utm: np.ndarray | None
    splits: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


def read_act_data(path: str | Path) -> ActData:
    """Read the list.

    `panoIds` may be a cell array of strings (N x 1 or 1 x N) or a character matrix; index sets are structs that hold
    `trainInd` or `valInd`, 1-based, n x 1 or 1 x n; a set that the file lacks is left out, one at least must be there.

    Raises:
        InputError: no Matlab file, one of version 7.3 (HDF5), a field missing or of the wrong kind, an index outside
            1..N, an id twice.
    """
    from scipy.io import loadmat

    path = require_file(path, "Matlab list")
    if path.stat().st_size == 0:
        raise InputError("the file is empty", where=path, mend="Fetch it again")
    try:
        values = loadmat(path)
    except NotImplementedError:
        raise InputError("this is a Matlab file of version 7.3 (HDF5)", where=path,
                         mend="Save it again in Matlab with save(..., '-v7'), or get the published one") from None
    except Exception as error:  # what scipy raises on damage has no end: zlib.error, UnboundLocalError, MemoryError ...
        raise InputError(f"this is no Matlab file that can be read ({error})", where=path,
                         mend="Fetch ACT_data.mat again") from None
    ids = _ids(path, values)
    utm, notes = _utm(path, values, len(ids))
    splits = {split: _index(path, values[struct], struct, inner, len(ids))
              for struct, (inner, split) in _SETS.items() if struct in values}
    if not splits:
        raise _no_field(path, values, "trainSet, valSet or valSetAll")
    return ActData(ids, utm, splits, notes)


def _no_field(path: Path, values: dict, field: str) -> InputError:
    has = ", ".join(sorted(k for k in values if not k.startswith("__"))) or "nothing"
    return InputError(f"there is no field {field}; the file has {has}", where=path,
                      mend="Use the ACT_data.mat that is published with CVACT")


def _ids(path: Path, values: dict) -> tuple[str, ...]:
    if "panoIds" not in values:
        raise _no_field(path, values, "panoIds")
    cells = np.asarray(values["panoIds"]).ravel()
    ids = []
    for cell in cells:
        while isinstance(cell, np.ndarray) and cell.size == 1:
            cell = cell.ravel()[0]
        if not isinstance(cell, str):
            raise InputError(f"panoIds holds {cell!r} at place {len(ids) + 1}, expected text", where=path,
                             mend="Use the ACT_data.mat that is published with CVACT")
        ids.append(cell.strip().strip("\0"))
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))
        raise InputError(f"panoIds holds {twice!r} twice", where=path, mend="Remove one of the two rows")
    return tuple(ids)


def _utm(path: Path, values: dict, n: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """[N, 2] east, north. The file does not say which column is which, but a zone's eastings lie in 100..900 km."""
    if "utm" not in values:
        return None, ("the list has no utm",)
    utm = np.asarray(values["utm"])
    if utm.dtype.kind not in "iuf" or utm.ndim != 2 or n not in utm.shape or 2 not in utm.shape:
        raise InputError(f"utm is {utm.dtype} of shape {utm.shape}, expected {n} x 2 numbers", where=path,
                         mend="Use the ACT_data.mat that is published with CVACT")
    utm = (utm if utm.shape == (n, 2) else utm.T).astype(np.float64)
    known = np.isfinite(utm).all(axis=1)
    middle = np.median(utm[known], axis=0) if known.any() else np.zeros(2)
    if middle[0] > 1e6 and 1e5 < middle[1] < 9e5:
        return utm[:, ::-1].copy(), ("utm stands north before east in the list; turned round",)
    return utm, ()


def _unwrapped(value) -> np.ndarray:
    """What lies inside arrays of one object."""
    value = np.asarray(value)
    while value.dtype == object and value.size == 1 and isinstance(value.ravel()[0], np.ndarray):
        value = value.ravel()[0]
    return value


def _index(path: Path, value, struct: str, inner: str, n: int) -> np.ndarray:
    """Index array from 0 of one struct."""
    value = _unwrapped(value)
    if value.dtype.names:
        names = value.dtype.names
        name = inner if inner in names else names[1] if len(names) > 1 else names[0]
        value, inner = _unwrapped(value[name]), name
    field = f"{struct}.{inner}"
    if value.dtype.kind not in "iuf":
        raise InputError(f"{field} holds {value.dtype}, expected numbers", where=path,
                         mend="Use the ACT_data.mat that is published with CVACT")
    index = value.ravel()
    if index.size and (not np.isfinite(index).all() or (index != np.round(index)).any()):
        raise InputError(f"{field} holds numbers that are not whole", where=path,
                         mend="It must hold row numbers of panoIds, from 1")
    if index.size and not 1 <= index.min() <= index.max() <= n:
        bad = index.min() if index.min() < 1 else index.max()
        raise InputError(f"{field} names row {int(bad)}, panoIds has rows 1 to {n}", where=path,
                         mend="Row numbers count from 1; take the list that belongs to these ids")
    return index.astype(np.int64) - 1
