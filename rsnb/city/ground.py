"""The ground: an exact partition of the plane into surfaces, draped on the terrain's triangles, with kerbs and quays.

Surfaces never overlap, so nothing flickers, and every triangle lies in one triangle of the terrain, so heights are
exact. Layers differ by a constant height above the terrain (a pavement is a kerb higher than the carriageway); where
they meet, upright faces close the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import mapbox_earcut
import numpy as np
import shapely

from rsnb.city.assembly import Parts
from rsnb.city.terrain import Terrain, split_at_creases

KERB_M = 0.12
WATER_M = -1.3
_TILE_M = 25.0
_SLIVER_M2 = 1e-5


@dataclass(frozen=True)
class Layer:
    """One surface: its look (material number), class, height above the terrain, metres per texture repeat, place."""

    geometry: shapely.Geometry
    look: int
    class_id: int
    lift_m: float = 0.0
    repeat_m: tuple[float, float] = (5.0, 5.0)


def partition(layers: list[Layer], bounds, holes: shapely.Geometry) -> list[tuple[Layer, np.ndarray]]:
    """Gives each spot of `bounds` to the first layer that covers it; `holes` (building footprints) to none.

    Returns:
        (layer, [n] polygons no larger than 25 m) pairs; the polygons are disjoint.
    """
    x_min, y_min, x_max, y_max = bounds
    x, y = np.meshgrid(np.arange(x_min, x_max - 1, _TILE_M), np.arange(y_min, y_max - 1, _TILE_M))
    squares = shapely.box(x.ravel(), y.ravel(), x.ravel() + _TILE_M, y.ravel() + _TILE_M)
    rest = _areas(shapely.difference(squares, _clip(holes, squares)))
    result = []
    for layer in layers:
        mine = _clip(layer.geometry, squares)
        mine = _areas(shapely.intersection(rest, mine))
        rest = _areas(shapely.difference(rest, mine))
        parts = shapely.get_parts(shapely.get_parts(mine))
        parts = parts[(shapely.get_dimensions(parts) == 2) & (shapely.area(parts) > _SLIVER_M2)]
        if len(parts):
            result.append((layer, parts))
    return result


def _clip(geometry: shapely.Geometry, squares: np.ndarray) -> np.ndarray:
    """[n] the part of a geometry, often of very many small pieces, in each square."""
    pieces = shapely.get_parts(geometry)
    tree = shapely.STRtree(pieces)
    square, piece = tree.query(squares, predicate="intersects")
    cut = _areas(shapely.intersection(squares[square], pieces[piece]))
    out = np.full(len(squares), shapely.Polygon(), dtype=object)
    for k, group in _groups(square, cut):
        out[k] = group[0] if len(group) == 1 else shapely.union_all(group)
    return out


def _areas(geometries: np.ndarray) -> np.ndarray:
    """Geometries with their stray points and lines (where borders touch) dropped."""
    mixed = np.flatnonzero(~np.isin(shapely.get_type_id(geometries), (3, 6)))
    geometries = geometries.copy()
    for k in mixed:
        parts = shapely.get_parts(shapely.get_parts(geometries[k]))
        geometries[k] = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
        if geometries[k].is_empty:
            geometries[k] = shapely.Polygon()
    return geometries


def _groups(key, values):
    order = np.argsort(key, kind="stable")
    key, values = key[order], values[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else []
    for a, b in zip(starts, [*starts[1:], len(key)], strict=False):
        yield key[a], values[a:b]


def drape(parts: Parts, pieces: list[tuple[Layer, np.ndarray]], terrain: Terrain, bounds) -> None:
    """Cuts the polygons at the terrain's creases, triangulates them and adds them as faces that look up."""
    corners = terrain.triangles(bounds)
    cells = shapely.polygons(corners)
    tree = shapely.STRtree(cells)
    for layer, polygons in pieces:
        shapely.prepare(polygons)
        piece, cell = tree.query(polygons, predicate="intersects")
        whole = shapely.covers(polygons[piece], cells[cell])
        cut = shapely.get_parts(shapely.intersection(polygons[piece[~whole]], cells[cell[~whole]]))
        cut = cut[(shapely.get_type_id(cut) == 3) & (shapely.area(cut) > _SLIVER_M2)]
        flat = np.concatenate([corners[cell[whole]], triangulate(cut)])
        vertices, faces = _weld(flat)
        z = terrain(vertices[:, 0], vertices[:, 1]) + layer.lift_m
        uv = (vertices - (6000.0, 4500.0)) / layer.repeat_m
        parts.add(np.column_stack([vertices, z]), faces, uv[faces], layer.look, layer.class_id)


def triangulate(polygons: np.ndarray) -> np.ndarray:
    """[T, 3, 2] counter-clockwise triangles that fill the polygons (holes allowed)."""
    polygons = shapely.normalize(polygons)
    simple = (shapely.get_num_coordinates(polygons) == 4)
    out = [shapely.get_coordinates(polygons[simple]).reshape(-1, 4, 2)[:, :3]]
    for polygon in polygons[~simple]:
        rings = shapely.get_rings(polygon)
        ring_points = [shapely.get_coordinates(ring)[:-1] for ring in rings]
        points = np.concatenate(ring_points)
        ends = np.cumsum([len(p) for p in ring_points]).astype(np.uint32)
        index = mapbox_earcut.triangulate_float64(points, ends)
        out.append(points[index.reshape(-1, 3)])
    flat = np.concatenate(out)
    a, b = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    flat[area < 0] = flat[area < 0][:, ::-1]
    return flat[np.abs(area) > 2e-6]


def _weld(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles [T, 3, 2] as shared vertices [V, 2] and faces [T, 3]; corners within a tenth of a millimetre join."""
    points = flat.reshape(-1, 2)
    key = np.round((points - points.min(axis=0)) * 1e4).astype(np.int64)
    _, first, index = np.unique(key[:, 0] * (1 << 32) + key[:, 1], return_index=True, return_inverse=True)
    return points[first], index.reshape(-1, 3)


def steps(parts: Parts, low: shapely.Geometry, terrain: Terrain, lifts, look: int, class_id: int, inside) -> None:
    """Upright faces along the border of a lowered region (carriageway, water), looking into it.

    Args:
        low: the region; faces stand along all its rings that lie inside `inside` (the built area's edge gets none).
        lifts: (bottom, top) above the terrain, metres.
        look, class_id: of the faces.
        inside: polygon whose border gets no faces.
    """
    edge = inside.boundary.buffer(0.01)
    start, end = [], []
    for polygon in shapely.get_parts(low):
        polygon = shapely.orient_polygons(polygon, exterior_cw=False)
        for ring in shapely.get_rings(polygon):
            points = shapely.get_coordinates(ring)
            start.append(points[:-1])
            end.append(points[1:])
    if not start:
        return
    start, end = np.concatenate(start), np.concatenate(end)
    middle = shapely.points((start + end) / 2)
    shapely.prepare(edge)
    keep = ~shapely.contains(edge, middle)
    # The region lies left of its rings and the faces look into it, so they run against the ring.
    start, end = split_at_creases(end[keep], start[keep], terrain)
    n = len(start)
    ground = terrain(np.r_[start[:, 0], end[:, 0]], np.r_[start[:, 1], end[:, 1]])
    bottom, top = (ground + lift for lift in lifts)
    ring = np.concatenate([start, end])
    vertices = np.concatenate([np.column_stack([ring, bottom]), np.column_stack([ring, top])])
    a, b = np.arange(n), n + np.arange(n)
    c, d = b + 2 * n, a + 2 * n
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    length = np.linalg.norm(end - start, axis=1)
    s0 = np.cumsum(length) - length
    u0, u1, v1 = s0 / 2.0, (s0 + length) / 2.0, np.full(n, (lifts[1] - lifts[0]) / 2.0)
    zero = np.zeros(n)
    uv = np.concatenate([
        np.stack([np.stack([u0, zero], 1), np.stack([u1, zero], 1), np.stack([u1, v1], 1)], 1),
        np.stack([np.stack([u0, zero], 1), np.stack([u1, v1], 1), np.stack([u0, v1], 1)], 1)])
    parts.add(vertices, faces, uv, look, class_id)
