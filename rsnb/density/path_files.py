"""Camera paths as files: CSV (ours in metres, Sat2Density's in pixels) and GeoJSON lines (tile metres or lon/lat)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from rsnb.density.path import SAT2DENSITY_PX, CameraPath, Unit, make_path
from rsnb.density.volume import TileFrame
from rsnb.errors import InputError
from rsnb.files import require_file, write_text
from rsnb.geometry.georeference import lonlat_to_model, model_to_lonlat
from rsnb.scenes import Georeference

TILE_METRES = "tile metres, x east, y north"


def read_path_csv(path: str | Path, frame: TileFrame, *, unit: Unit | None = None,
                  tile_px: int = SAT2DENSITY_PX) -> CameraPath:
    """Read a path from a CSV file.

    Columns are named x_m, y_m (tile metres) and heading_deg (bearing), as `write_path_csv` writes them, or x, y: pixels
    of a tile, as Sat2Density lists its paths. Its `angle` is not read: it says nothing but the direction of the path,
    which is computed here. Other columns are passed over. Without names the first two columns are x and y, and `unit`
    must be given.

    Args:
        path: of the file; commas, semicolons or tabs.
        frame: the tile.
        unit: of x and y; None: what the headings say.
        tile_px: pixels along the tile for which pixels are meant.

    Raises:
        InputError: no such file, a line without numbers, or what `make_path` refuses; it names the line.
    """
    path = require_file(path, "CSV file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("this is no text file", where=path, mend="Give a CSV file") from None
    head = text.lstrip().split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    rows = [(number, [cell.strip() for cell in cells])
            for number, cells in enumerate(csv.reader(text.splitlines(), delimiter=separator), start=1) if any(cells)]
    columns, rows, unit = _columns(path, rows, unit)
    values = [[_number(path, line, cells, column) for column in columns] for line, cells in rows]
    table = np.array(values, float).reshape(-1, len(columns))
    headings = np.radians(table[:, 2]) if len(columns) == 3 else None
    return make_path(table[:, :2], frame, headings, unit=unit, tile_px=tile_px, where=str(path),
                     lines=[line for line, _ in rows])


def write_path_csv(path: str | Path, way: CameraPath) -> Path:
    """Write x_m, y_m, heading_deg, a line a point; `read_path_csv` gives the same path back."""
    rows = np.c_[way.points, np.degrees(way.headings)].tolist()
    return write_text(path, "x_m,y_m,heading_deg\n" + "".join(f"{x!r},{y!r},{h!r}\n" for x, y, h in rows))


def read_path_geojson(path: str | Path, frame: TileFrame, georeference: Georeference | None = None,
                      centre: tuple[float, float] = (0.0, 0.0)) -> CameraPath:
    """Read a path from the one LineString of a GeoJSON file (RFC 7946).

    Coordinates are longitude and latitude, degrees, if a georeference is given, and tile metres if not or if the file
    says so (`write_path_geojson` does). The property tile_heading_deg, a list of bearings on the tile, is read where
    it is there.

    Args:
        path: of the file.
        frame: the tile.
        georeference: of the model in which the tile lies.
        centre: of the tile, model metres east and north.

    Raises:
        InputError: no such file, no GeoJSON, none or several lines, an old-style `crs` member, lon/lat without a
            georeference, or what `make_path` refuses.
    """
    path = require_file(path, "GeoJSON file")
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError:
        raise InputError("this is no JSON", where=path, mend="Save the line as GeoJSON") from None
    feature = _only_line(path, document)
    properties = _mapping(feature.get("properties"))
    coordinates = feature["geometry"].get("coordinates")
    try:
        points = np.array([[float(position[0]), float(position[1])] for position in coordinates]).reshape(-1, 2)
        headings = properties.get("tile_heading_deg")
        headings = None if headings is None else np.radians(np.array(headings, float))
    except (TypeError, ValueError, IndexError, KeyError):
        raise InputError("a position of the line is not two numbers", where=path,
                         mend="Give [longitude, latitude] a point") from None
    if properties.get("coordinates") != TILE_METRES:
        points = _from_lonlat(path, points, document, frame, georeference, centre)
    return make_path(points, frame, headings, where=str(path))


def write_path_geojson(path: str | Path, way: CameraPath, georeference: Georeference | None = None,
                       centre: tuple[float, float] = (0.0, 0.0)) -> Path:
    """Write one LineString: longitude and latitude where there is a georeference with a CRS, else tile metres.

    The property tile_heading_deg holds the bearings, counted from the tile's north. `read_path_geojson` gives the path
    back: to a micrometre in metres, to a tenth of a millimetre through degrees.
    """
    properties: dict[str, object] = {"tile_heading_deg": np.degrees(way.headings).round(9).tolist()}
    if georeference is None or georeference.crs is None:
        points = way.points.round(6)
        properties["coordinates"] = TILE_METRES
    else:
        lat, lon = model_to_lonlat(way.points + np.asarray(centre, float), georeference)
        points = np.stack([lon, lat], axis=1).round(10)
    feature = {"type": "Feature", "properties": properties,
               "geometry": {"type": "LineString", "coordinates": points.tolist()}}
    return write_text(path, json.dumps({"type": "FeatureCollection", "features": [feature]}, indent=1) + "\n")


def _columns(path: Path, rows, unit: Unit | None):
    """(columns of x, y and perhaps the bearing, rows below the headings, unit)."""
    if not rows:
        raise InputError("the file is empty", where=path, mend="Give at least two points")
    line, first = rows[0]
    names = [name.lower().strip("#\" ") for name in first]
    for pair, meant in ((("x_m", "y_m"), "metres"), (("x", "y"), "pixels")):
        if set(pair) <= set(names):
            found = [names.index(name) for name in (*pair, "heading_deg") if name in names]
            return found, rows[1:], unit or meant
    if any(_is_number(cell) for cell in first):
        if unit is None:
            raise InputError("the columns have no names, so their unit is unknown", where=path, line=line,
                             mend='Give unit="metres" or unit="pixels", or write x_m,y_m or x,y above them')
        return [0, 1], rows, unit
    raise InputError(f"the columns are {', '.join(first)}", where=path, line=line,
                     mend="Name them x_m,y_m[,heading_deg] (metres) or x,y (pixels)")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(path: Path, line: int, cells: list[str], column: int) -> float:
    if column >= len(cells) or not _is_number(cells[column]):
        said = f"{cells[column]!r}" if column < len(cells) else "missing"
        raise InputError(f"column {column + 1} is {said}, not a number", where=path, line=line,
                         mend="Repair or remove that line")
    return float(cells[column])


def _only_line(path: Path, document) -> dict:
    """The feature that holds the line."""
    document = _mapping(document)
    kind = document.get("type")
    features = document.get("features") if kind == "FeatureCollection" else [
        document if kind == "Feature" else {"geometry": document}]
    features = [f for f in features if isinstance(f, dict)] if isinstance(features, list) else []
    kinds = [_mapping(f.get("geometry")).get("type") for f in features]
    if kinds.count("LineString") != 1:
        raise InputError(f"{kinds.count('LineString')} lines among {', '.join(map(str, kinds)) or 'nothing'}",
                         where=path, mend="Give one geometry of type LineString")
    return features[kinds.index("LineString")]


def _mapping(value) -> dict:
    return value if isinstance(value, dict) else {}


def _from_lonlat(path: Path, points, document, frame: TileFrame, georeference, centre) -> np.ndarray:
    named = _mapping(_mapping(document.get("crs")).get("properties")).get("name")
    if named and not str(named).endswith(("CRS84", "EPSG::4326", "EPSG:4326")):
        raise InputError(f"the coordinates are in {named}", where=path,
                         mend="Save the line as GeoJSON of RFC 7946, which is in longitude and latitude")
    if georeference is None:
        if named:
            raise InputError(f"the coordinates are in {named}, but the tile has no place on Earth", where=path,
                             mend="Give the georeference of the tile")
        return points
    try:
        return lonlat_to_model(points[:, 1], points[:, 0], georeference) - np.asarray(centre, float)
    except InputError as error:
        raise InputError(error.what, where=path, mend=error.mend) from None
