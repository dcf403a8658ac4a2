"""Polygons from vector files: GeoJSON, GeoPackage, ESRI shapefile (also zipped)."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rsnb.errors import InputError
from rsnb.files import require_file

SUFFIXES = (".geojson", ".json", ".gpkg", ".shp", ".zip")


@dataclass(frozen=True)
class Polygons:
    """Outlines and their coordinate system.

    Attributes:
        shapes: shapely polygons and multipolygons.
        crs: anything pyproj understands, or None where the file does not say.
        name: of the file.
    """

    shapes: tuple
    crs: str | None
    name: str = "polygons"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north of them all."""
        import shapely

        return tuple(float(v) for v in shapely.total_bounds(list(self.shapes)))

    def to_crs(self, crs: str) -> Polygons:
        """The same outlines in another system; straight edges get points between, so that they bend as they must.

        Raises:
            InputError: no CRS, or coordinates that lie outside its reach.
        """
        import numpy as np
        import shapely
        from pyproj import CRS, Transformer
        from pyproj.exceptions import CRSError

        if self.crs is None:
            raise InputError("the file does not say its coordinate system", where=self.name,
                             mend="Give area_crs, or put the .prj beside the .shp")
        try:
            if CRS.from_user_input(self.crs) == CRS.from_user_input(crs):
                return self
        except CRSError as error:
            raise InputError(f"its coordinate system cannot be understood ({error})", where=self.name,
                             mend="Give area_crs, for example EPSG:4326") from None
        transformer = Transformer.from_crs(self.crs, crs, always_xy=True)
        west, south, east, north = self.bounds
        step = max(east - west, north - south) / 100 or 1.0
        try:
            bent = shapely.segmentize(np.array(self.shapes, object), step)
        except shapely.errors.ShapelyError as error:
            raise InputError(f"its coordinates make no sense ({error})", where=self.name,
                             mend="Export the file again") from None
        moved = shapely.transform(bent, lambda p: np.stack(transformer.transform(p[:, 0], p[:, 1]), axis=1))
        if not np.isfinite(shapely.get_coordinates(moved)).all():
            raise InputError(f"its coordinates cannot be taken to {crs}", where=self.name,
                             mend="Check that the coordinate system of the file is the one it says")
        return Polygons(tuple(moved), crs, self.name)


def read_polygons(path: str | Path, crs: str | None = None) -> Polygons:
    """All polygons of a vector file; points and lines in it are passed over.

    Args:
        path: `.geojson`/`.json` (EPSG:4326 unless the old member "crs" says otherwise), `.gpkg` (every table of
            features), `.shp` with `.prj` beside it, or `.zip` with one shapefile.
        crs: of the coordinates, where the file does not say.

    Raises:
        InputError: another kind of file, one that does not parse, or no polygon in it.
    """
    path = require_file(path, "vector file")
    suffix = path.suffix.lower()
    if suffix in (".geojson", ".json"):
        shapes, found = _geojson(path)
    elif suffix == ".gpkg":
        shapes, found = _geopackage(path)
    elif suffix in (".shp", ".zip"):
        from rsnb.data.raster_tools.shapefile import read_shapefile

        shapes, found = read_shapefile(path)
    else:
        raise InputError(f"{suffix or 'a file without a suffix'} is not read", where=path,
                         mend=f"Convert it to one of {', '.join(SUFFIXES)}")
    return _checked(shapes, found or crs, path)


def polygons_of(geometry: Mapping, crs: str = "EPSG:4326") -> Polygons:
    """The polygons of a GeoJSON dictionary: geometry, Feature or FeatureCollection."""
    return _checked(_shapes(geometry, "GeoJSON"), _named_crs(geometry) or crs, "GeoJSON")


def _checked(shapes: list, crs: str | None, where) -> Polygons:
    import shapely

    flat = [part for shape in shapes for part in shapely.get_parts(shapely.make_valid(shape))]
    flat = [part for part in flat if part.geom_type == "Polygon" and not part.is_empty]
    if not flat:
        raise InputError("there is no polygon in it", where=where, mend="Draw an area, not points or lines")
    return Polygons(tuple(flat), crs, str(where))


def _geojson(path: Path) -> tuple[list, str | None]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"this is no JSON ({getattr(error, 'msg', error)})", where=path, line=line,
                         mend="Repair or export the file again") from None
    return _shapes(document, path), _named_crs(document) or "EPSG:4326"


def _named_crs(document) -> str | None:
    """The CRS of GeoJSON before RFC 7946 ("urn:ogc:def:crs:EPSG::32633")."""
    named = document.get("crs") if isinstance(document, Mapping) else None
    text = (named.get("properties") or {}).get("name", "") if isinstance(named, Mapping) else ""
    match = re.search(r"EPSG:+(?:[\d.]*:)?(\d+)$", text)
    return f"EPSG:{match[1]}" if match else None


def _shapes(document, where) -> list:
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    kind = document.get("type") if isinstance(document, Mapping) else None
    if kind == "FeatureCollection":
        return [s for feature in document.get("features") or () for s in _shapes(feature, where)]
    if kind == "Feature":
        return _shapes(document["geometry"], where) if document.get("geometry") else []
    if kind == "GeometryCollection":
        return [s for part in document.get("geometries") or () for s in _shapes(part, where)]
    if kind in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        return []
    if kind not in ("Polygon", "MultiPolygon"):
        raise InputError(f"its type is {kind!r}, which GeoJSON does not know", where=where)
    try:
        return [shape(document)]
    except (ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f"a {kind} has no proper coordinates ({error})", where=where,
                         mend="Rings are lists of at least four positions, the first and the last equal") from None


def _geopackage(path: Path) -> tuple[list, str | None]:
    """All feature tables of a GeoPackage (OGC 12-128): SQLite, geometries as a header and WKB."""
    import shapely
    from shapely.errors import ShapelyError

    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        tables = database.execute("select table_name, column_name, srs_id from gpkg_geometry_columns").fetchall()
        systems = {row[0]: row[1:] for row in database.execute(
            "select srs_id, organization, organization_coordsys_id, definition from gpkg_spatial_ref_sys")}
        if len({srs for _, _, srs in tables}) > 1:
            raise InputError(f"its {len(tables)} tables have different coordinate systems", where=path,
                             mend="Export the one wanted to a file of its own")
        shapes = []
        for table, column, _ in tables:
            name, geometry = (text.replace('"', '""') for text in (table, column))
            for (blob,) in database.execute(f'select "{geometry}" from "{name}"'):
                if blob is not None:
                    shapes.append(shapely.from_wkb(_wkb(blob, path)))
        database.close()
    except (sqlite3.Error, ShapelyError, UnicodeDecodeError) as error:
        raise InputError(f"this is no GeoPackage that can be read ({error})", where=path,
                         mend="Export the file again") from None
    organization, code, definition = systems.get(tables[0][2] if tables else None, (None, None, None))
    if organization and organization.upper() == "EPSG":
        return shapes, f"EPSG:{code}"
    return shapes, definition if definition and definition != "undefined" else None


def _wkb(blob: bytes, path: Path) -> bytes:
    """Without the header: GP, version, flags, srs_id, and an envelope whose length the flags tell."""
    headed = isinstance(blob, bytes) and len(blob) > 8 and blob[:2] == b"GP"
    envelope = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}.get((blob[3] >> 1) & 7) if headed else None
    if envelope is None:
        raise InputError("a geometry has no GeoPackage header", where=path, mend="Export the file again")
    return blob[8 + envelope :]
