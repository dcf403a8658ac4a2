"""Where trees, parked cars, lamps and benches stand, clear of carriageways, buildings and water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from rsnb.city.markings import BAY_M, clear_stretch
from rsnb.city.options import Character, CityOptions
from rsnb.city.streets import KINDS, QUAY_M, Layout
from rsnb.city.trees import Trees, scatter, thin

_AT_LEAST, _AT_MOST = 560, 760  # trees in a district's core


@dataclass(frozen=True)
class Places:
    """Positions of everything that stands on the ground; [N, 3] are x, y and angle (radians from east)."""

    trees: Trees
    pits: np.ndarray  # [N, 2] street trees in paving
    cars: np.ndarray
    lamps: np.ndarray
    benches: np.ndarray


def along_streets(layout: Layout, spacing_m: float, lateral, offset_m: float, sides=(-1, 1)) -> list[tuple]:
    """(xy, direction, side, edge) every spacing_m along each edge; `lateral(kind)` metres from the centre, or None."""
    reach, degree = layout.graph.setback(), layout.graph.degree
    out = []
    for e, (start, end) in enumerate(layout.graph.segments()):
        kind = KINDS[layout.graph.kind[e]]
        away = lateral(kind)
        if away is None:
            continue
        length = float(np.hypot(*(end - start)))
        crossing = degree[layout.graph.edges[e]] >= 3
        first, last = clear_stretch(length, reach[e], crossing)
        along = (end - start) / length
        left = np.array([-along[1], along[0]])
        for at in np.arange(first + offset_m, last - 0.5, spacing_m):
            for side in sides:
                out.append((start + along * at + side * away * left, along, side, e))
    return out


def plan_places(options: CityOptions, layout: Layout, character: Character, footprints: shapely.Geometry,
                paths: shapely.Geometry, first_tree_id: int, rng, belt: bool) -> Places:
    """Everything that stands on the ground of a district."""
    area = layout.tile if belt else layout.core
    inner = area.buffer(-1.2)
    keep_off = shapely.union_all([layout.carriageway.buffer(0.65), footprints.buffer(1.5), layout.water.buffer(0.8)])
    street = [p for p, *_ in along_streets(layout, options.tree_spacing_m,
                                           lambda k: None if k.name == "lane" else k.carriageway_m / 2 + 1.05, 4.0)]
    street = np.array(street).reshape(-1, 2)
    quay = _quay_points(layout, options.tree_spacing_m)
    points = np.concatenate([street, quay])
    shapely.prepare(keep_off)
    free = shapely.contains_xy(inner, points[:, 0], points[:, 1])
    free &= ~shapely.contains_xy(keep_off, points[:, 0], points[:, 1])
    points = thin(points[free], 5.0)
    in_core = shapely.contains_xy(layout.core, points[:, 0], points[:, 1])
    most = int(_AT_MOST * 0.7)
    if in_core.sum() > most:
        drop = rng.permutation(np.flatnonzero(in_core))[: in_core.sum() - most]
        points = np.delete(points, drop, axis=0)
    pits = points
    in_core = int(shapely.contains_xy(layout.core, pits[:, 0], pits[:, 1]).sum())

    off = shapely.union_all([keep_off, footprints.buffer(3.2), paths.buffer(1.2)])
    park = shapely.difference(layout.park.buffer(-2.0), off)
    park_points = scatter(park, 7.0, rng, 220)
    yards = shapely.difference(shapely.union_all([b.buffer(-2.2) for b in layout.blocks]), off)
    rest = max(_AT_LEAST - in_core - len(park_points), min(140, _AT_MOST - in_core - len(park_points)))
    yard_points = scatter(yards, 5.5, rng, rest)
    green = np.concatenate([park_points, yard_points])
    if belt:
        verge = shapely.difference(shapely.difference(layout.tile, layout.core.buffer(1.0)), layout.corridor.buffer(2))
        green = np.concatenate([green, scatter(verge.buffer(-1.5), 7.0, rng, 240)])
    trees = _choose(options, pits, green, rng, layout, character, first_tree_id)
    return Places(trees, pits, _cars(options, layout, inner, rng), _lamps(layout, inner, keep_off, pits),
                  _benches(layout, paths, rng))


def _quay_points(layout: Layout, spacing_m: float) -> np.ndarray:
    """Rows of trees along both banks of canal or basin."""
    if layout.quay.is_empty:
        return np.zeros((0, 2))
    line = layout.water.buffer(QUAY_M - 3.4, join_style="mitre").boundary
    out = []
    for part in shapely.get_parts(line):
        at = np.arange(3.0, part.length, spacing_m)
        out.append(shapely.get_coordinates(shapely.line_interpolate_point(part, at)))
    points = np.concatenate(out)
    off = layout.corridor.buffer(1.0)
    shapely.prepare(off)
    return points[~shapely.contains_xy(off, points[:, 0], points[:, 1])]


def _choose(options, pits, green, rng, layout, character, first_id) -> Trees:
    """Species and size: one species per street side for rows, mixed in parks and yards."""
    n, m = len(pits), len(green)
    row = np.array(["linden", "maple", "linden"])
    # Streets are kept uniform by choosing from a coarse grid of the plan.
    key = (pits // 140).astype(int)
    species = row[(key[:, 0] * 7 + key[:, 1] * 13 + options.seed) % 3]
    species[rng.random(n) < 0.04] = "birch"
    mixed = rng.choice(["maple", "linden", "birch", "poplar", "spruce"], m, p=(0.32, 0.26, 0.2, 0.07, 0.15))
    low = {"linden": 6.4, "maple": 5.8, "birch": 7.0, "poplar": 12.0, "spruce": 8.0}
    high = {"linden": 8.2, "maple": 7.2, "birch": 9.5, "poplar": 16.0, "spruce": 13.0}
    names = np.concatenate([species, mixed])
    size = np.array([rng.uniform(low[s], high[s]) for s in names])
    size[n:] *= rng.uniform(0.85, 1.35, m)
    return Trees(np.concatenate([pits, green]), size, rng.uniform(0, 2 * np.pi, n + m), tuple(str(s) for s in names),
                 first_id + np.arange(n + m), rng.integers(0, 5, n + m))


def _cars(options, layout, inner, rng) -> np.ndarray:
    """Parked in the bays, nose with the traffic of their side, now and then the other way."""
    shapely.prepare(inner)
    cars = []
    bays = along_streets(layout, BAY_M, lambda k: k.carriageway_m / 2 - k.parking_m / 2 if k.parking_m else None,
                         0.05 + BAY_M / 2)
    for xy, along, side, _ in bays:
        if rng.random() > options.parked_share:
            continue
        heading = np.arctan2(*(-side * along)[::-1]) + (np.pi if rng.random() < 0.06 else 0.0)
        jitter = rng.normal(0, (0.22, 0.07)) @ np.array([along, (-along[1], along[0])])
        place = (*(xy + jitter), heading + rng.normal(0, 0.015))
        if shapely.contains_xy(inner.buffer(-3), *place[:2]):
            cars.append(place)
    return np.array(cars).reshape(-1, 3)


def _lamps(layout, inner, keep_off, pits) -> np.ndarray:
    tree = shapely.STRtree(shapely.points(pits))
    lamps = []
    for xy, along, side, _ in along_streets(layout, 27.0, lambda k: k.carriageway_m / 2 + 0.75, 8.5, sides=(1,)):
        if not shapely.contains_xy(inner, *xy):
            continue
        near = tree.query(shapely.Point(xy).buffer(1.6))
        spot = xy if len(near) == 0 else xy + 2.4 * along
        to_road = side * np.array([along[1], -along[0]])
        lamps.append((*spot, np.arctan2(to_road[1], to_road[0])))
    return np.array(lamps).reshape(-1, 3)


def _benches(layout, paths, rng) -> np.ndarray:
    """Beside the park's paths."""
    benches = []
    for part in shapely.get_parts(paths.buffer(0.7).boundary):
        for at in np.arange(6.0, part.length - 2, 17.0):
            p, q = part.interpolate(at), part.interpolate(at + 0.5)
            angle = np.arctan2(q.y - p.y, q.x - p.x)
            spot = shapely.Point(p)
            if layout.park.buffer(-2).contains(spot) and not layout.water.buffer(1).contains(spot):
                benches.append((p.x, p.y, angle))
    return np.array(benches).reshape(-1, 3)
