"""The place that a search asks for: a box in degrees, or a drawn or written GeoJSON geometry.

Longitude first, WGS 84, after RFC 7946 (GeoJSON) and the STAC API: a box is (west, south, east, north), and west > east
means that it crosses the antimeridian.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rsnb.errors import InputError
from rsnb.files import require_file

Box = tuple[float, float, float, float]
ORDER = "Give west, south, east, north in degrees, longitude before latitude"
# A box that crosses the antimeridian and yet spans more than half the globe is a box with west and east swapped.
WIDEST_CROSSING = 180.0


def parse_bbox(bbox: str | Sequence[float], where: str = "bbox") -> Box:
    """(west, south, east, north) in degrees.

    Args:
        bbox: four numbers, six with heights (which are dropped), or a text of them with commas or blanks between.
        where: named in messages.

    Raises:
        InputError: not four finite numbers, outside the globe, south above north, or west and east swapped.
    """
    try:
        cells = bbox.replace(",", " ").replace(";", " ").split() if isinstance(bbox, str) else list(bbox)
        numbers = [float(cell) for cell in cells]
    except (TypeError, ValueError):
        raise InputError(f"{bbox!r} is no box of numbers", where=where, mend=ORDER) from None
    if len(numbers) == 6:
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise InputError(f"a box has four finite numbers, got {bbox!r}", where=where, mend=ORDER)
    west, south, east, north = numbers
    for name, value, limit in (("south", south, 90), ("north", north, 90), ("west", west, 180), ("east", east, 180)):
        if abs(value) > limit:
            kind = "latitude" if limit == 90 else "longitude"
            raise InputError(f"{name} is {value:g}, but a {kind} lies within -{limit} and {limit}", where=where,
                             mend=f"{ORDER}; perhaps the two were swapped")
    if south > north:
        raise InputError(f"south ({south:g}) lies above north ({north:g})", where=where,
                         mend=f"{ORDER}; perhaps the corners were swapped")
    if west > east and east + 360 - west > WIDEST_CROSSING:
        raise InputError(f"west ({west:g}) lies east of east ({east:g})", where=where,
                         mend=f"{ORDER}; swap the two (a box that crosses the antimeridian also has west > east, but "
                              "spans less than 180 degrees)")
    return west, south, east, north


def split_at_antimeridian(bbox: Box) -> tuple[Box, ...]:
    """The box itself, or its two parts where it crosses the antimeridian (west > east)."""
    west, south, east, north = bbox
    if west <= east:
        return (bbox,)
    parts = ((west, south, 180.0, north), (-180.0, south, east, north))
    return tuple(part for part in parts if part[0] < part[2])  # 180 to 180 is no place


def read_geometry(geometry: str | Path | Mapping) -> dict:
    """A GeoJSON geometry from a dictionary, a file or a text; the parts of a FeatureCollection become one.

    Args:
        geometry: geometry, Feature, FeatureCollection or GeometryCollection as a dictionary, its JSON text, or the
            path of a file with it.

    Returns:
        The geometry alone, WGS 84 longitude and latitude, valid (a ring that crosses itself is mended).

    Raises:
        InputError: naming the file: no JSON, no geometry, another coordinate system, or coordinates outside the globe.
    """
    from shapely.errors import ShapelyError
    from shapely.geometry import mapping, shape
    from shapely.ops import unary_union
    from shapely.validation import make_valid

    where, values = _load(geometry)
    _require_wgs84(values, where)
    try:
        shapes = [shape(part) for part in _parts(values)]
    except (ShapelyError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f"this is no GeoJSON geometry ({error})", where=where,
                         mend="Give a Polygon, Feature or FeatureCollection") from None
    shapes = [part if part.is_valid else make_valid(part) for part in shapes if not part.is_empty]
    if not shapes:
        raise InputError("there is no geometry in it", where=where, mend="Draw or write at least one polygon")
    merged = shapes[0] if len(shapes) == 1 else unary_union(shapes)
    west, south, east, north = merged.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise InputError(f"its coordinates reach from {west:g}, {south:g} to {east:g}, {north:g}, which is not on the "
                         "globe", where=where, mend="Write longitude before latitude, in degrees of WGS 84, and cut "
                                                    "shapes at the antimeridian (RFC 7946, 3.1.9)")
    return json.loads(json.dumps(mapping(merged)))  # lists, as JSON has them


def on_the_globe(geometry: Mapping):
    """A shapely geometry of a footprint, cut at the antimeridian where it crosses it with one long jump.

    RFC 7946 wants such shapes cut, but catalogues hold rings that go from 179.9 to -179.9 degrees at once.
    """
    from shapely import get_coordinates, transform
    from shapely.affinity import translate
    from shapely.geometry import box, shape
    from shapely.ops import unary_union

    whole = shape(geometry)
    parts = []
    for part in getattr(whole, "geoms", [whole]):
        lon = get_coordinates(part)[:, 0]
        if len(lon) > 1 and abs(lon[1:] - lon[:-1]).max() > 180:
            part = transform(part, lambda xy: xy + [360.0, 0.0] * (xy[:, :1] < 0))
            part = part if part.is_valid else part.buffer(0)
            parts += [part.intersection(box(0, -90, 180, 90)),
                      translate(part.intersection(box(180, -90, 360, 90)), xoff=-360)]
        else:
            parts.append(part if part.is_valid else part.buffer(0))
    return parts[0] if len(parts) == 1 else unary_union(parts)


def _load(geometry) -> tuple[str, Mapping]:
    if isinstance(geometry, Mapping):
        return "geometry", geometry
    if isinstance(geometry, str) and geometry.lstrip().startswith("{"):
        where, text = "geometry", geometry
    else:
        path = require_file(geometry, "GeoJSON file")
        where = str(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise InputError("this is no text", where=where, mend="GeoJSON is UTF-8 text") from None
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"this is no JSON ({error.msg})", where=where, line=error.lineno,
                         mend="Write it as GeoJSON (RFC 7946)") from None
    if not isinstance(values, Mapping):
        raise InputError("this is no GeoJSON object", where=where, mend="Give a Polygon, Feature or FeatureCollection")
    return where, values


def _require_wgs84(values: Mapping, where: str) -> None:
    # the "crs" member of the 2008 draft is gone from RFC 7946, but tools still write it
    name = str(((values.get("crs") or {}).get("properties") or {}).get("name", ""))
    if name and not name.upper().endswith(("CRS84", "4326")):
        raise InputError(f"its coordinates are in {name}", where=where,
                         mend="Write it in WGS 84 longitude and latitude (EPSG:4326)")


def _parts(values: Mapping) -> list[Mapping]:
    kind = values.get("type")
    if kind == "FeatureCollection":
        return [part for feature in values["features"] for part in _parts(feature)]
    if kind == "Feature":
        return _parts(values["geometry"]) if values.get("geometry") else []
    if kind == "GeometryCollection":
        return [part for geometry in values["geometries"] for part in _parts(geometry)]
    return [values]
