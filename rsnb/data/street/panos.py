"""`panos.txt`: the list of street panoramas, columns Pano_ID, Lat, Lon, Y, X (Y before X)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.errors import InputError
from rsnb.files import require_file, write_text
from rsnb.geometry.georeference import Projector
from rsnb.scenes import Georeference

COLUMNS = ("Pano_ID", "Lat", "Lon", "Y", "X")
_ALIASES = {
    "panoid": "id", "id": "id", "pano": "id", "name": "id", "lat": "lat", "latitude": "lat", "lon": "lon",
    "lng": "lon", "long": "lon", "longitude": "lon", "y": "y", "northing": "y", "north": "y", "x": "x",
    "easting": "x", "east": "x",
}
# WGS84 against ETRS89 is under 1 m, and published rows are up to 1 m off by hand: more is a mistake.
TOLERANCE_M = 5.0


@dataclass(frozen=True)
class PanoTable:
    """Panoramas and where they stand.

    Attributes:
        ids: one a row, unique.
        lat, lon: [N] float64, degrees.
        x, y: [N] float64, model metres, x east and y north.
    """

    ids: tuple[str, ...]
    lat: np.ndarray
    lon: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, pano_id: str) -> int:
        """Index of a panorama, or an InputError that names a few."""
        if pano_id not in self.ids:
            raise InputError(f"there is no panorama {pano_id!r}", where="panos",
                             mend=f"Choose one of {', '.join(self.ids[:3])}")
        return self.ids.index(pano_id)


@dataclass(frozen=True)
class _Row:
    line: int
    id: str
    lat: float
    lon: float
    x: float
    y: float


def read_panos(path: str | Path, georeference: Georeference | None = None) -> PanoTable:
    """Read a `panos.txt`.

    Args:
        path: text file, columns by comma, semicolon, tab or blanks. With a header the columns may stand in any order;
            without one they are Pano_ID, Lat, Lon, Y, X. Empty lines and lines from `#` on are passed over.
        georeference: of the model. With it each row's latitude and longitude must agree with its X and Y to 5 m,
            X and Y may be full coordinates of the CRS, and a header without X and Y has them computed.

    Raises:
        InputError: naming file, line and mend: a short row, something that is no number, an id twice, latitude and
            longitude swapped, or at odds with X and Y.
    """
    path = require_file(path, "panos file")
    columns, lines = _split(path)
    rows = [_parse(path, number, cells, columns) for number, cells in lines]
    if not rows:
        raise InputError("there is no row", where=path, mend=f"Write lines with {', '.join(COLUMNS)}")
    first: dict[str, int] = {}
    for row in rows:
        if row.id in first:
            raise InputError(f"panorama {row.id} stands here and in line {first[row.id]}", where=path, line=row.line,
                             mend="Remove one of the two")
        first[row.id] = row.line
    lat, lon, x, y = (np.array([getattr(r, k) for r in rows]) for k in ("lat", "lon", "x", "y"))
    if georeference is not None and georeference.crs is not None:
        x, y = _checked(path, rows, x, y, georeference)
    elif np.isnan(x).any():
        raise InputError("the file has no X and Y, and no georeference to compute them from", where=path,
                         mend="Give the model's georeference")
    return PanoTable(tuple(r.id for r in rows), lat, lon, x, y)


def write_panos(path: str | Path, table: PanoTable) -> Path:
    """Write a `panos.txt` with header and commas, numbers with all their digits; gives the path."""
    lines = [",".join(COLUMNS)]
    for i, pano_id in enumerate(table.ids):
        if re.search(r"[,;\t\s]", pano_id) or pano_id.startswith("#"):
            raise InputError(f"panorama id {pano_id!r} holds a separator", where=path, mend="Use another id")
        numbers = (table.lat[i], table.lon[i], table.y[i], table.x[i])
        lines.append(",".join([pano_id, *(repr(float(n)) for n in numbers)]))
    return write_text(path, "\n".join(lines) + "\n")


def _split(path: Path) -> tuple[dict[str, int], list[tuple[int, list[str]]]]:
    """Column of each field, and the cells of each data line with its number."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("this is no text file", where=path, mend="Name a panos.txt") from None
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), start=1)]
    lines = [(n, line) for n, line in lines if line and not line.startswith("#")]
    separator = next((s for s in "\t,;" if lines and s in lines[0][1]), None)
    cells = [(n, [c.strip().strip('"') for c in line.split(separator)]) for n, line in lines]
    columns = {"id": 0, "lat": 1, "lon": 2, "y": 3, "x": 4}
    if cells:
        named = [_ALIASES.get(re.sub(r"[^a-z]", "", c.lower())) for c in cells[0][1]]
        if "lat" in named and "lon" in named:
            columns, cells = {name: i for i, name in enumerate(named) if name}, cells[1:]
            if ("x" in columns) != ("y" in columns):
                raise InputError("the header names only one of X and Y", where=path, line=lines[0][0],
                                 mend="Name both, or neither to have them computed")
            if "id" not in columns:
                raise InputError("the header names no Pano_ID", where=path, line=lines[0][0],
                                 mend=f"Write {', '.join(COLUMNS)}")
    return columns, cells


def _parse(path: Path, line: int, cells: list[str], columns: dict[str, int]) -> _Row:
    need = max(columns.values()) + 1
    if len(cells) < need:
        raise InputError(f"the row has {len(cells)} columns, expected {need} ({', '.join(COLUMNS)})", where=path,
                         line=line, mend="Complete the row, or remove it")
    values = {}
    for key in ("lat", "lon", "y", "x"):
        text = cells[columns[key]] if key in columns else "nan"
        try:
            values[key] = float(text)
        except ValueError:
            raise InputError(f"{key} is {text!r}, which is no number", where=path, line=line,
                             mend="Repair the row; decimals have a point") from None
        if key in columns and not math.isfinite(values[key]):
            raise InputError(f"{key} is {text}, not a finite number", where=path, line=line, mend="Repair the row")
    lat, lon = values["lat"], values["lon"]
    if not -90.0 <= lat <= 90.0:
        looks = "latitude and longitude look swapped" if -90.0 <= lon <= 90.0 else "it must be within -90 and 90"
        raise InputError(f"latitude is {lat}: {looks}", where=path, line=line,
                         mend="Columns are Pano_ID, Lat, Lon, Y, X")
    if not -180.0 <= lon <= 180.0:
        raise InputError(f"longitude is {lon}: it must be within -180 and 180", where=path, line=line,
                         mend="Columns are Pano_ID, Lat, Lon, Y, X")
    return _Row(line, cells[columns["id"]], lat, lon, values["x"], values["y"])


def _checked(
    path: Path, rows: list[_Row], x: np.ndarray, y: np.ndarray, georeference: Georeference
) -> tuple[np.ndarray, np.ndarray]:
    """X and Y in model metres, compared with latitude and longitude row by row."""
    projector = Projector(georeference)
    expected = np.empty((len(rows), 2))
    for i, row in enumerate(rows):
        expected[i] = _project(projector, path, row)
    missing = np.isnan(x)
    x, y = np.where(missing, expected[:, 0], x), np.where(missing, expected[:, 1], y)
    given = np.stack([x, y], axis=1)
    origin = np.array(georeference.origin[:2])
    full = np.abs(given - origin - expected).max(axis=1) < np.abs(given - expected).max(axis=1)
    given = np.where(full[:, None], given - origin, given)
    off = np.hypot(*(given - expected).T)
    for i in np.flatnonzero(~(off <= TOLERANCE_M)):
        row = rows[i]
        if np.hypot(*(given[i, ::-1] - expected[i])) <= TOLERANCE_M:
            what, mend = "X and Y look swapped", "The order is Pano_ID, Lat, Lon, Y, X: Y comes first"
        else:
            what = (f"latitude {row.lat}, longitude {row.lon} is x {expected[i, 0]:.1f}, y {expected[i, 1]:.1f} in the "
                    f"model, but the row says x {row.x}, y {row.y}: {off[i]:.1f} m apart")
            mend = f"Check the row, and that the model's CRS is {georeference.crs} with origin {georeference.origin}"
        raise InputError(what, where=path, line=row.line, mend=mend)
    return given[:, 0], given[:, 1]


def _project(projector: Projector, path: Path, row: _Row) -> np.ndarray:
    try:
        return projector.to_model(row.lat, row.lon)
    except InputError as error:
        try:
            projector.to_model(row.lon, row.lat)
        except InputError:
            raise InputError(error.what, where=path, line=row.line, mend=error.mend) from None
        raise InputError(f"latitude {row.lat} and longitude {row.lon} look swapped", where=path, line=row.line,
                         mend="The order is Pano_ID, Lat, Lon, Y, X: latitude comes first") from None
