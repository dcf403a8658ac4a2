"""Polygons from vector files, and from GeoJSON in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rsnb.data.raster_tools.vector_layers import FILES, PACKED, plain_file, read_layers
from rsnb.errors import InputError
from rsnb.files import require_file

SUFFIXES = (".geojson", ".json", *FILES, *PACKED)


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
        from pyproj.exceptions import CRSError, ProjError

        if self.crs is None:
            raise InputError("the file does not say its coordinate system", where=self.name,
                             mend="Give area_crs, or put the .prj beside the .shp")
        try:
            if CRS.from_user_input(self.crs) == CRS.from_user_input(crs):
                return self
        except CRSError as error:
            raise InputError(f"its coordinate system cannot be understood ({error})", where=self.name,
                             mend="Give area_crs, for example EPSG:4326") from None
        try:
            transformer = Transformer.from_crs(self.crs, crs, always_xy=True)
        except ProjError as error:  # a building site's own system, for example
            raise InputError(f"there is no way from its coordinate system to {crs} ({error})", where=self.name,
                             mend="Export it in a system with a place on the Earth, for example EPSG:4326") from None
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
    """All polygons of a vector file; points and lines in it are passed over, heights dropped.

    Args:
        path: `.geojson`/`.json` (EPSG:4326 unless the old member "crs" says otherwise), `.gpkg` (every table of
            features), `.shp` with `.prj` beside it, `.fgb`, `.kml`, or a `.zip` or `.kmz` with one of these.
        crs: of the coordinates, where the file does not say.

    Raises:
        InputError: another kind of file, one that does not parse, layers in several coordinate systems, or no polygon.
    """
    path = require_file(path, "vector file")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path.suffix or 'a file without a suffix'} is not read", where=path,
                         mend=f"Convert it to one of {', '.join(SUFFIXES)}")
    with plain_file(path) as file:
        shapes, found = _geojson(file, path) if "json" in file.suffix.lower() else read_layers(file, path)
    return _checked(shapes, found or crs, path)


def polygons_of(geometry: Mapping, crs: str = "EPSG:4326") -> Polygons:
    """The polygons of a GeoJSON dictionary: geometry, Feature or FeatureCollection."""
    return _checked(_shapes(geometry, "GeoJSON"), _named_crs(geometry) or crs, "GeoJSON")


def _checked(shapes: list, crs: str | None, where) -> Polygons:
    import shapely

    try:
        parts = [part for shape in shapes for part in shapely.get_parts(shapely.make_valid(shape))]
        parts = [part for shape in parts for part in shapely.get_parts(shape)]  # a collection may hold multipolygons
    except shapely.errors.ShapelyError as error:
        raise InputError(f"its coordinates make no sense ({error})", where=where,
                         mend="Export the file again") from None
    flat = [part for part in parts if part.geom_type == "Polygon" and not part.is_empty]
    if not flat:
        kinds = ", ".join(sorted({part.geom_type for part in parts}))
        raise InputError("there is no polygon in it" + (f" (but {kinds})" if kinds else ""), where=where,
                         mend="Draw an area, not points or lines")
    return Polygons(tuple(flat), crs, str(where))


def _geojson(path: Path, where: Path) -> tuple[list, str | None]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"this is no JSON ({getattr(error, 'msg', error)})", where=where, line=line,
                         mend="Repair or export the file again") from None
    return _shapes(document, where), _named_crs(document) or "EPSG:4326"


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
        raise InputError(f"its type is {kind!r}, which GeoJSON does not know", where=where,
                         mend="Export it as GeoJSON again")
    try:
        return [shape(document)]
    except (ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f"a {kind} has no proper coordinates ({error})", where=where,
                         mend="Rings are lists of at least four positions, the first and the last equal") from None
