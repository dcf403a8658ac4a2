"""Polygons of an ESRI shapefile (ESRI Shapefile Technical Description, July 1998); attributes are not read."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from rsnb.errors import InputError

# Polygon, PolygonZ, PolygonM: the heights and measures of the last two follow the points and are passed over.
POLYGONS, EMPTY = (5, 15, 25), 0
# What zipfile raises on damaged or locked archives (a ValueError is a negative place in the file).
ZIP_FAULTS = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, RuntimeError, ValueError, EOFError, OSError)


def read_shapefile(path: str | Path) -> tuple[list, str | None]:
    """(shapely polygons, CRS as WKT or None) of a `.shp`, with the `.prj` beside it, or of a zip that holds both.

    Raises:
        InputError: no shapefile, several in one zip, another kind of shape, or a file cut short.
    """
    path = Path(path)
    if path.suffix.lower() == ".zip":
        data, projection = _from_zip(path)
    else:
        data = path.read_bytes()
        beside = next((p for p in path.parent.iterdir() if p.name.lower() == f"{path.stem}.prj".lower()), None)
        projection = beside.read_bytes() if beside else None
    text = projection.decode("utf-8", "replace").strip() if projection else ""
    return parse_shapes(data, path), text or None


def parse_shapes(data: bytes, where) -> list:
    """The polygons in the bytes of a `.shp`."""
    if len(data) < 100 or struct.unpack(">i", data[:4])[0] != 9994:
        raise InputError("this is no shapefile", where=where, mend="Name the .shp, or a zip with .shp and .prj")
    kind = struct.unpack("<i", data[32:36])[0]
    if kind not in (*POLYGONS, EMPTY):
        raise InputError(f"the shapes are of kind {kind}, not polygons", where=where,
                         mend="Kinds 1 and 8 are points, 3 lines: draw polygons, or buffer them in a GIS first")
    polygons, start = [], 100
    while start + 12 <= len(data):
        number, words = struct.unpack(">ii", data[start : start + 8])
        record = data[start + 8 : start + 8 + 2 * words]
        if len(record) < 2 * words or words < 2:
            raise InputError(f"the file ends within record {number}", where=where, mend="Copy the file again")
        if struct.unpack("<i", record[:4])[0] in POLYGONS:
            polygons += _polygons(record, number, where)
        start += 8 + 2 * words
    return polygons


def _polygons(record: bytes, number: int, where) -> list:
    """A record's rings as polygons: outer rings run clockwise, holes the other way round inside one of them."""
    from shapely import Polygon

    try:
        n_parts, n_points = struct.unpack("<ii", record[36:44])
        starts = np.frombuffer(record, "<i4", n_parts, 44)
        points = np.frombuffer(record, "<f8", 2 * n_points, 44 + 4 * n_parts).reshape(-1, 2)
        rings = np.split(points, starts[1:])
    except (struct.error, ValueError, IndexError):
        raise InputError(f"record {number} is broken", where=where, mend="Copy the file again") from None
    rings = [ring for ring in rings if len(ring) >= 4 and np.isfinite(ring).all()]
    outer = [Polygon(ring) for ring in rings if _clockwise(ring)]
    holes = [ring for ring in rings if not _clockwise(ring)]
    if not outer:  # files with the wrong sense of turning are about: then every ring is an outline
        return [Polygon(ring) for ring in holes]
    inside: dict[int, list] = {}
    for ring in holes:
        point = Polygon(ring).representative_point()
        home = [i for i, shape in enumerate(outer) if shape.contains(point)]
        if home:
            inside.setdefault(min(home, key=lambda i: outer[i].area), []).append(ring)
    return [Polygon(shape.exterior, inside.get(i, [])) for i, shape in enumerate(outer)]


def _clockwise(ring: np.ndarray) -> bool:
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) < 0


def _from_zip(path: Path) -> tuple[bytes, bytes | None]:
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as file:
            names = {n.lower(): n for n in file.namelist() if not n.startswith("__MACOSX")}
            shapes = [n for n in names if n.endswith(".shp")]
            beside = names.get(shapes[0][:-4] + ".prj") if shapes else None
            if len(shapes) == 1:
                return file.read(names[shapes[0]]), None if beside is None else file.read(beside)
    except ZIP_FAULTS as error:
        raise InputError(f"this is no whole zip ({error})", where=path, mend="Make or fetch it again") from None
    raise InputError(f"the zip holds {len(shapes)} shapefiles", where=path, mend="Put one into it")
