"""Polygons with holes, in space, to triangles; and the collector that readers of polygon formats fill."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rsnb.data.meshes.class_tables import CITY_SURFACES
from rsnb.data.meshes.reading import Reading, place, plain
from rsnb.errors import InputError
from rsnb.scenes import Georeference, Material, SemanticClass, TexturedMesh

Ring = Sequence[Sequence[float]]  # corners (x, y, z), not closed


def newell(ring: Ring) -> tuple[float, float, float]:
    """Normal of a closed polygon in space, its length twice the area (Newell's sum over edges), right-handed."""
    nx = ny = nz = 0.0
    x0, y0, z0 = ring[0]
    ax, ay, az = 0.0, 0.0, 0.0  # relative to the first corner: full CRS coordinates would cancel badly
    for x, y, z in [*ring[1:], ring[0]]:
        bx, by, bz = x - x0, y - y0, z - z0
        nx += (ay - by) * (az + bz)
        ny += (az - bz) * (ax + bx)
        nz += (ax - bx) * (ay + by)
        ax, ay, az = bx, by, bz
    return nx, ny, nz


def clean_ring(ring: Ring, uv: Ring | None = None) -> tuple[list, list | None]:
    """The ring without its closing corner and without corners that repeat their neighbour; `uv` loses the same."""
    end = len(ring)
    while end > 1 and tuple(ring[end - 1]) == tuple(ring[0]):
        end -= 1
    keep = [i for i in range(end) if i == 0 or tuple(ring[i]) != tuple(ring[i - 1])]
    points = [ring[i] for i in keep]
    if not uv:
        return points, None
    return points, [uv[i] if i < len(uv) else uv[0] for i in keep]


def triangulate(rings: Sequence[Ring], min_area_m2: float = 1e-6) -> list[tuple[int, int, int]] | None:
    """Triangles of a polygon in space, wound as the polygon is.

    Args:
        rings: outer ring, then holes, corners in metres, not closed; indices count through them in this order.
        min_area_m2: a polygon with less is degenerate.

    Returns:
        corner indices, or None where the polygon is degenerate.

    The polygon is flattened along the largest axis of its Newell normal: dropping one coordinate keeps the topology
    and is exact, and ear clipping (mapbox earcut) needs no metric.
    """
    outer = rings[0]
    if len(outer) < 3:
        return None
    normal = newell(outer)
    length = math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    if not length / 2.0 >= min_area_m2:  # also true for NaN
        return None
    if len(rings) == 1 and len(outer) == 3:
        return [(0, 1, 2)]
    drop = max(range(3), key=lambda axis: abs(normal[axis]))
    first, second = ((1, 2), (2, 0), (0, 1))[drop]
    sign = 1.0 if normal[drop] > 0 else -1.0
    x0, y0 = outer[0][first], outer[0][second]
    flat = np.array([(sign * (p[first] - x0), p[second] - y0) for ring in rings for p in ring])
    ends = np.cumsum([len(ring) for ring in rings]).astype(np.uint32)

    from mapbox_earcut import triangulate_float64

    corners = triangulate_float64(flat, ends).reshape(-1, 3)
    a, b, c = flat[corners[:, 0]], flat[corners[:, 1]], flat[corners[:, 2]]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    corners[area < 0] = corners[area < 0][:, [0, 2, 1]]
    triangles = [tuple(t) for t in corners[area != 0].tolist()]
    return triangles or None


def split_polygons(counts: np.ndarray, corners: np.ndarray, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Polygons given corner after corner, as triangles.

    Args:
        counts: [P] corners of each polygon, >= 3.
        corners: [sum of counts] vertex indices.
        vertices: [V, 3] float64.

    Returns:
        [F, 3] positions in `corners`, and [F] polygon index; polygons keep their order.
    """
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    threes, fours = np.flatnonzero(counts == 3), np.flatnonzero(counts == 4)
    pick, source = [starts[threes][:, None] + np.arange(3)], [threes]
    if len(fours):
        p = vertices[corners[starts[fours][:, None] + np.arange(4)]]
        one, two = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), np.cross(p[:, 2] - p[:, 0], p[:, 3] - p[:, 0])
        # Cut along 0-2 unless that leaves the polygon (a reflex corner 1 or 3): then 1-3 stays inside.
        inside = ((one * two).sum(axis=1) >= 0)[:, None, None]
        cut = np.where(inside, [[[0, 1, 2], [0, 2, 3]]], [[[0, 1, 3], [1, 2, 3]]])
        pick.append((starts[fours][:, None, None] + cut).reshape(-1, 3))
        source.append(np.repeat(fours, 2))
    for polygon in np.flatnonzero(counts > 4):
        ring = corners[starts[polygon] : starts[polygon] + counts[polygon]]
        triangles = triangulate([vertices[ring].tolist()]) or [(0, i, i + 1) for i in range(1, len(ring) - 1)]
        pick.append(starts[polygon] + np.array(triangles))
        source.append(np.full(len(triangles), polygon))
    pick, source = np.concatenate(pick), np.concatenate(source)
    order = np.argsort(source, kind="stable")
    return pick[order], source[order]


@dataclass
class PolygonCollector:
    """Collects polygons one by one, and gives the mesh when all are in."""

    reading: Reading
    materials: list[Material] = field(default_factory=list)
    _material_ids: dict[Hashable, int] = field(default_factory=dict)
    _points: list = field(default_factory=list)
    _uv: list = field(default_factory=list)
    _faces: list = field(default_factory=list)
    _attributes: list = field(default_factory=list)  # (material, class, object) a face

    def material(self, key: Hashable, make) -> int:
        """Index of the material of this key; `make()` builds it when the key is new."""
        if key not in self._material_ids:
            self._material_ids[key] = len(self.materials)
            self.materials.append(make())
        return self._material_ids[key]

    def plain_material(self, class_id: int) -> int:
        """Index of the quiet colour that faces of this class get when the file gives none."""
        names = {c.id: c.name for c in CITY_SURFACES}
        name = names.get(class_id, "unclassified")
        return self.material(("plain", name), lambda: plain(class_id, name))

    def add(self, rings: Sequence[Ring], uvs: Sequence[Ring] | None, material: int, class_id: int, obj: int) -> None:
        """Add a polygon: rings of corners (closed or not), per ring a list of (u, v) or None for no texture."""
        cleaned = [clean_ring(ring, None if uvs is None else uvs[i]) for i, ring in enumerate(rings)]
        cleaned = [c for i, c in enumerate(cleaned) if i == 0 or len(c[0]) >= 3]
        triangles = triangulate([points for points, _ in cleaned])
        if triangles is None:
            self.reading.degenerate += 1
            return
        start = len(self._points)
        for points, uv in cleaned:
            self._points.extend(points)
            self._uv.extend([(0.0, 0.0)] * len(points) if uv is None else uv)
        self._faces.extend((a + start, b + start, c + start) for a, b, c in triangles)
        self._attributes.extend([(material, class_id, obj)] * len(triangles))

    def mesh(
        self, name: str, where, georeference: Georeference | None, classes: tuple[SemanticClass, ...] = CITY_SURFACES
    ) -> TexturedMesh:
        """The mesh of all polygons; InputError where there is none."""
        if not self._faces:
            raise InputError("the mesh has no polygons with an area", where=where,
                             mend="Check that the file holds surfaces, and the level of detail asked for")
        vertices, placed = place(np.array(self._points, dtype=np.float64), georeference, self.reading.options)
        faces = np.array(self._faces, dtype=np.int32)
        attributes = np.array(self._attributes, dtype=np.int32)
        uv = np.array(self._uv, dtype=np.float64)[faces]
        return TexturedMesh(
            vertices, faces, near_zero(uv), attributes[:, 0], tuple(self.materials), attributes[:, 1], classes,
            attributes[:, 2], placed, name=name,
        )


def near_zero(uv: np.ndarray) -> np.ndarray:
    """Texture coordinates [F, 3, 2] as float32; a face hundreds of repeats away is moved back by whole repeats,
    which changes nothing but what float32 can resolve."""
    far = np.abs(uv).max(axis=(1, 2), initial=0.0) > 64.0
    if far.any():
        uv = uv.copy()
        uv[far] -= np.floor(uv[far].min(axis=1, keepdims=True))
    return uv.astype(np.float32)
