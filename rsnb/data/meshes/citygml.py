"""CityGML 1, 2 and 3 (OGC 08-007r1, 12-019, 20-010): surfaces of all thematic modules, textured or not."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from rsnb.data.meshes.citygml_appearance import Appearances, gml_id, local, numbers, read_appearances
from rsnb.data.meshes.class_tables import surface_class
from rsnb.data.meshes.polygons import PolygonCollector
from rsnb.data.meshes.reading import DEFAULTS, Reading, ReadOptions
from rsnb.data.meshes.srs import parse_srs, to_easting_northing
from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.scenes import Georeference, Material, TexturedMesh

_POLYGONS = ("{*}Polygon", "{*}PolygonPatch", "{*}Triangle", "{*}Rectangle")
_MEMBERS = ("cityObjectMember", "featureMember", "groupMember")
_HREF = "{http://www.w3.org/1999/xlink}href"


@dataclass
class _Polygon:
    """A polygon as found: its rings in file coordinates and where in the document it stands."""

    element: object
    context: object  # the element whose ancestors give class, object and LoD: itself, or the xlink that names it
    rings: list
    ring_ids: list
    matrix: np.ndarray | None = None  # of an implicit geometry
    anchor: np.ndarray | None = None


def read_citygml(
    path: str | Path,
    georeference: Georeference | None = None,
    options: ReadOptions = DEFAULTS,
    reading: Reading | None = None,
) -> TexturedMesh:
    """Read a CityGML file: class from the thematic surface around each polygon, instance from the city object.

    Of each city object one level of detail is taken: the one asked for, else its highest. A polygon that several
    geometries share by xlink comes once, with the most telling class. The file's srsName holds over the CRS of
    `georeference`; degrees are turned to UTM metres. Numbers of instances follow the file's order, from 1.

    Raises:
        InputError: not XML, not CityGML, a coordinate that is no number, no surface at the level of detail.
    """
    path = require_file(path, "CityGML file")
    own = reading is None
    reading = reading or Reading(options)
    root = _parse(path)
    by_id = {gml_id(e): e for e in root.iter() if isinstance(e.tag, str) and gml_id(e)}
    polygons = _choose_lod(path, _contexts(root, by_id, path), reading)
    crs = next((parse_srs(e.get("srsName")) for e in root.iter() if isinstance(e.tag, str) and e.get("srsName")), None)
    try:
        named, crs = crs, _to_metres(polygons, crs)
    except ValueError as error:
        raise InputError(str(error), where=path, mend="Check the coordinates against their srsName") from None
    if named and not crs and polygons:
        reading.notes.append(f"its coordinate system {named} is unknown")
    try:
        appearances = read_appearances(root, options.theme)
    except ValueError as error:
        raise InputError(f"an appearance holds something that is no number ({error})", where=path,
                         mend="Repair that texture coordinate or colour") from None
    collector, objects = PolygonCollector(reading), {}
    for polygon in polygons:
        kind = _class_of(polygon.context)
        owner = _owner(polygon.context)
        number = 0 if owner is None else objects.setdefault(id(owner), len(objects) + 1)
        look, uvs = _look(path, polygon, appearances, kind, collector)
        collector.add(polygon.rings, uvs, look, kind, number)
    given = georeference or Georeference()
    mesh = collector.mesh(path.stem, path, Georeference(crs or given.crs, given.origin, given.epoch))
    if own:
        reading.report(path)
    return mesh


def _parse(path: Path):
    from lxml import etree

    # Entities stay unresolved: a city model has no use for them, and files from elsewhere may abuse them.
    parser = etree.XMLParser(huge_tree=True, resolve_entities=False, no_network=True, remove_comments=True)
    try:
        root = etree.parse(str(path), parser).getroot()
    except (etree.XMLSyntaxError, OSError) as error:  # lxml says OSError to bytes that are no text
        what = " ".join((getattr(error, "msg", None) or "it holds bytes that are no text").split())
        raise InputError(f"this is no XML ({what})", where=path, line=getattr(error, "lineno", None),
                         mend="The file is cut short or was edited: fetch it again") from None
    if not (local(root) == "CityModel" or "citygml" in str(root.nsmap)):
        raise InputError(f"the outermost element is {local(root)!r}, not CityModel", where=path,
                         mend="Name a CityGML file")
    return root


def _contexts(root, by_id: dict, path: Path) -> list[_Polygon]:
    """Every polygon once: seen from its own place, or from the xlink that gives it the better class."""
    links = defaultdict(list)
    for element in root.iter():
        if isinstance(element.tag, str) and (href := element.get(_HREF)) and href.startswith("#"):
            links[href[1:]].append(element)
    result = []
    for element in root.iter(*_POLYGONS):
        rings, ids = _rings(element, path)
        if not rings:
            continue
        places = [element] + [link for name in _names_upward(element) for link in links.get(name, ())]
        implicit = [p for p in places if _implicit(p) is not None]
        for place in implicit:
            try:
                matrix, anchor = _placement(_implicit(place), by_id)
            except ValueError as error:
                raise InputError(f"an implicit geometry is placed by something that is no number ({error})", where=path,
                                 line=place.sourceline, mend="Repair its matrix or reference point") from None
            result.append(_Polygon(element, place, rings, ids, matrix, anchor))
        if not implicit:
            best = max(places, key=lambda p: (_surface_of(p) is not None, p is element))
            result.append(_Polygon(element, best, rings, ids))
    return result


def _names_upward(element):
    """Ids of the polygon and of the geometry around it, up to the property that holds it."""
    while element is not None and not local(element).startswith("lod"):
        if name := gml_id(element):
            yield name
        element = element.getparent()
        if element is not None and local(element) in _MEMBERS:
            return


def _rings(element, path: Path) -> tuple[list, list]:
    rings, ids = [], []
    for side in element:
        if local(side) not in ("exterior", "interior", "outerBoundaryIs", "innerBoundaryIs"):
            continue
        ring = next(side.iter("{*}LinearRing", "{*}Ring"), None)
        if ring is None:
            continue
        points = _points(ring, path)
        if local(side) in ("exterior", "outerBoundaryIs"):
            rings.insert(0, points)
            ids.insert(0, gml_id(ring))
        else:
            rings.append(points)
            ids.append(gml_id(ring))
    return rings, ids


def _points(ring, path: Path) -> list:
    """[(x, y, z)] of a ring: one posList, pos after pos, or GML 2 coordinates."""
    texts = [e for e in ring.iter("{*}posList", "{*}pos", "{*}coordinates")]
    values, width = [], 3
    for element in texts:
        text = element.text or ""
        try:
            values += numbers(text.replace(",", " ") if local(element) == "coordinates" else text)
        except ValueError:
            shown = " ".join(text.split())[:60]
            raise InputError(f"`{shown}` holds something that is no number", where=path, line=element.sourceline,
                             mend="Repair that coordinate") from None
        if (element.get("srsDimension") or ring.get("srsDimension")) == "2":
            width = 2
    if len(values) % width or not np.isfinite(values).all():
        raise InputError(f"a ring has {len(values)} coordinates, which are not {width} finite ones a corner",
                         where=path, line=ring.sourceline, mend="Repair that ring")
    if width == 2:
        return [(x, y, 0.0) for x, y in zip(values[0::2], values[1::2], strict=True)]
    return list(zip(values[0::3], values[1::3], values[2::3], strict=True))


def _ancestors(element):
    yield element
    yield from element.iterancestors()


def _surface_of(element):
    """The nearest element around a polygon whose name is a class, below the city object's own."""
    for ancestor in _ancestors(element):
        if local(ancestor) in _MEMBERS:
            return None
        parent = ancestor.getparent()
        if surface_class(local(ancestor)) and not (parent is not None and local(parent) in _MEMBERS):
            return ancestor
    return None


def _class_of(element) -> int:
    return next((c for a in _ancestors(element) if (c := surface_class(local(a)))), 0)


def _owner(element):
    """The city object: the child of the city model's member."""
    for ancestor in _ancestors(element):
        parent = ancestor.getparent()
        if parent is not None and local(parent) in _MEMBERS:
            return ancestor
    return None


def _lod_of(element) -> str:
    for ancestor in _ancestors(element):
        if found := re.match(r"lod(\d)", local(ancestor)):
            return found.group(1)
    return ""


def _choose_lod(path: Path, polygons: list[_Polygon], reading: Reading) -> list[_Polygon]:
    """Of each city object the polygons of one level of detail; those that name none always stay."""
    wanted = reading.options.lod
    lods = [_lod_of(p.context) for p in polygons]
    owners = [id(_owner(p.context)) for p in polygons]
    best = defaultdict(str)
    for owner, lod in zip(owners, lods, strict=True):
        best[owner] = max(best[owner], lod)
    kept = [p for p, lod, owner in zip(polygons, lods, owners, strict=True)
            if not lod or lod == (best[owner] if wanted is None else wanted[:1])]
    if polygons and not kept:
        raise InputError(f"there is nothing at level of detail {wanted}", where=path,
                         mend=f"The file has {', '.join(sorted(set(lods)))}")
    return kept


def _implicit(element):
    for ancestor in _ancestors(element):
        if local(ancestor) == "ImplicitGeometry":
            return ancestor
        if local(ancestor) in _MEMBERS:
            return None
    return None


def _placement(implicit, by_id: dict) -> tuple[np.ndarray, np.ndarray]:
    """Matrix [4, 4] and anchor [3] of an implicit geometry (a tree model that stands at many places)."""
    values = numbers(implicit.findtext("{*}transformationMatrix"))
    matrix = np.array(values).reshape(4, 4) if len(values) == 16 else np.eye(4)
    reference = implicit.find("{*}referencePoint")
    if reference is not None and (href := reference.get(_HREF)):
        reference = by_id.get(href.removeprefix("#"))
    point = next(reference.iter("{*}pos", "{*}coordinates"), None) if reference is not None else None
    anchor = numbers((point.text or "").replace(",", " ")) if point is not None else [0.0, 0.0, 0.0]
    if len(anchor) not in (2, 3) or not (np.isfinite(anchor).all() and np.isfinite(matrix).all()):
        raise ValueError(f"matrix {matrix.tolist()}, point {anchor}")
    return matrix, np.array((anchor + [0.0])[:3])


def _to_metres(polygons: list[_Polygon], crs: str | None) -> str | None:
    """Turn all rings to metres east, north, up at once; gives their CRS."""
    local_points, plain_points = [], []
    for polygon in polygons:
        (plain_points if polygon.matrix is None else local_points).append(polygon)
    anchors = np.array([p.anchor for p in local_points]).reshape(-1, 3)
    flat = np.array([c for p in plain_points for ring in p.rings for c in ring], dtype=np.float64).reshape(-1, 3)
    moved, new_crs = to_easting_northing(np.concatenate([flat, anchors]), crs)
    corners, at = moved.tolist(), 0
    for polygon in plain_points:
        rings = []
        for ring in polygon.rings:
            rings.append([tuple(c) for c in corners[at : at + len(ring)]])
            at += len(ring)
        polygon.rings = rings
    for polygon, anchor in zip(local_points, moved[len(flat) :], strict=True):
        matrix = polygon.matrix
        polygon.rings = [[tuple(matrix[:3, :3] @ np.array(c) + matrix[:3, 3] + anchor) for c in ring]
                         for ring in polygon.rings]
    return new_crs


def _look(path, polygon: _Polygon, appearances: Appearances, kind: int, collector) -> tuple[int, list | None]:
    """Material and texture coordinates: a texture, of the polygon or what holds it, before a colour."""
    targets = [name for e in _ancestors(polygon.element) if (name := gml_id(e))]
    if polygon.context is not polygon.element:
        targets += [name for e in _ancestors(polygon.context) if (name := gml_id(e)) and name not in targets]
    for target in targets:
        for texture in appearances.textures.get(target, ()):
            uvs = texture.corners(target, polygon.ring_ids, polygon.rings)
            array = None if uvs is None else collector.reading.texture(path.parent, texture.image)
            if array is not None:
                make = partial(Material, Path(texture.image).name, texture=array)
                return collector.material(("texture", texture.image), make), uvs
    for target in targets:
        for rgb in appearances.colours.get(target, ()):
            make = partial(Material, "colour {:.0f} {:.0f} {:.0f}".format(*(255 * c for c in rgb)), rgb)
            return collector.material(("colour", rgb), make), None
    return collector.plain_material(kind), None
