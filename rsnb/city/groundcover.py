"""What covers the ground of a district: surfaces in order of precedence, lawns, park paths, hedges, bridge parapets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from rsnb.city import surfaces
from rsnb.city.furniture import WallKind, add_low_walls
from rsnb.city.ground import KERB_M, WATER_M, Layer, drape, partition, steps
from rsnb.city.lots import Lot
from rsnb.city.markings import lane_markings
from rsnb.city.options import GRASS, LANE_MARKING, PAVEMENT, ROAD, WATER
from rsnb.city.streets import Layout


def park_paths(layout: Layout) -> shapely.Geometry:
    """Gravel paths: along the park's edge, around its pond or through its middle."""
    lines = []
    for part in shapely.get_parts(layout.park):
        ring = shapely.get_coordinates(shapely.oriented_envelope(part))[:4]
        middle = ring.mean(axis=0)
        lines += [shapely.LineString([corner, middle]) for corner in ring]
        lines += [shapely.LineString([(ring[k] + ring[(k + 1) % 4]) / 2, middle]) for k in range(4)]
        lines.append(shapely.difference(part.buffer(-6.5).boundary, layout.water.buffer(13.0)))
    if not lines:
        return shapely.Polygon()
    paths = shapely.union_all([line.buffer(1.3) for line in lines])
    near_pond = layout.water.buffer(2.2)
    around = shapely.difference(layout.water.buffer(4.8), near_pond)
    paths = shapely.union_all([shapely.difference(paths, near_pond), around]) if not layout.water.is_empty else paths
    return shapely.intersection(paths, layout.park)


def lawns_of(layout: Layout, uses: list[str], footprints, rng) -> shapely.Geometry:
    """Green in the middle of most paved yards and around towers."""
    lawns = []
    for block, use in zip(layout.blocks, uses, strict=True):
        if use == "tower":
            lawns.append(shapely.difference(block.buffer(-7.0), footprints.buffer(8.0)).buffer(-1.5).buffer(1.5))
        elif use == "house" and rng.random() < 0.7:
            lawns.append(shapely.difference(block.buffer(-5.0), footprints.buffer(2.6)).buffer(-2.0).buffer(2.0))
    return shapely.union_all(lawns) if lawns else shapely.Polygon()


def doorsteps_of(lots: list[Lot], setback: float) -> shapely.Geometry:
    """Paved ways from front doors through the front gardens."""
    strips = []
    for lot in lots:
        if lot.use != "house" or setback < 1.0 or not lot.on_street:
            continue
        middle = lot.corner + lot.along * lot.width / 2
        strips.append(shapely.LineString([middle, middle - lot.inward * (setback + 0.6)]).buffer(0.8, cap_style="flat"))
        drive = lot.corner + lot.along * (lot.width + 2.2)
        strips.append(shapely.LineString([drive + lot.inward * 5.0, drive - lot.inward * (setback + 0.6)])
                      .buffer(1.4, cap_style="flat"))
    return shapely.union_all(strips) if strips else shapely.Polygon()


def hedges_of(layout: Layout, uses: list[str], footprints, doorsteps, rng) -> np.ndarray:
    """[N, 2, 2] pieces of hedge, at most 5 m long, around most garden blocks, with gaps for doors and drives."""
    off = shapely.union_all([footprints.buffer(0.8), doorsteps.buffer(0.4)])
    pieces = []
    for block, use in zip(layout.blocks, uses, strict=True):
        if use != "house" or rng.random() < 0.25:
            continue
        for part in shapely.get_parts(block.buffer(-0.5, join_style="mitre")):
            ring = shapely.orient_polygons(part, exterior_cw=False).exterior
            points = shapely.get_coordinates(ring)
            for a, b in zip(points[:-1], points[1:], strict=True):
                count = max(1, int(np.ceil(np.hypot(*(b - a)) / 5.0)))
                step = a + (b - a) * np.linspace(0, 1, count + 1)[:, None]
                lines = shapely.difference(shapely.linestrings(np.stack([step[:-1], step[1:]], axis=1)), off)
                for line in shapely.get_parts(lines):
                    if line.length > 0.8:
                        pieces.append(shapely.get_coordinates(line)[[0, -1]])
    pieces = np.array(pieces).reshape(-1, 2, 2)
    # Pieces cut by the overlay may run backwards; the ring ran with the block on its left.
    middle = pieces.mean(axis=1)
    left = np.stack([-(pieces[:, 1] - pieces[:, 0])[:, 1], (pieces[:, 1] - pieces[:, 0])[:, 0]], axis=1)
    left /= np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-9)
    blocks = shapely.union_all([b.buffer(-0.7) for b in layout.blocks])
    shapely.prepare(blocks)
    probe = middle + 0.45 * left
    wrong = ~shapely.contains_xy(blocks, probe[:, 0], probe[:, 1])
    pieces[wrong] = pieces[wrong][:, ::-1]
    return pieces


@dataclass(frozen=True)
class GroundPlan:
    """What lies on the ground, seen from above: everything `add_ground` turns into surfaces."""

    layout: Layout
    uses: list[str]
    yard: str
    footprints: shapely.Geometry
    paths: shapely.Geometry
    lawns: shapely.Geometry
    pits: np.ndarray
    doorsteps: shapely.Geometry
    hedges: np.ndarray


def add_ground(parts, palette, plan: GroundPlan, terrain, bounds, detail) -> None:
    """All surfaces of the ground in order of precedence, and the steps between them."""
    layout, uses, yard, lawns, paths = plan.layout, plan.uses, plan.yard, plan.lawns, plan.paths
    full = detail == "full"
    lift = KERB_M if full else 0.0
    area = shapely.box(*bounds)
    carriageway = shapely.intersection(layout.carriageway, area)
    markings = shapely.multipolygons(lane_markings(layout.graph))
    water = shapely.difference(shapely.intersection(layout.water, area), layout.corridor)
    kerb = shapely.difference(carriageway.buffer(0.25, join_style="mitre"), carriageway)
    bank = shapely.difference(layout.water.buffer(0.6, join_style="mitre"), layout.water)
    pits = shapely.multipolygons(shapely.box(*(plan.pits - 0.6).T, *(plan.pits + 0.6).T))
    paved = [b for b, use in zip(layout.blocks, uses, strict=True)
             if use in ("tower", "shed") or (yard == "paving" and use == "house")]
    look = palette.look
    asphalt = look("asphalt", surfaces.asphalt())
    stone = look("granite", surfaces.granite())
    sett, slabs = look("cobbles", surfaces.cobbles()), look("paving", surfaces.paving())
    road_markings = _inside(markings, carriageway)
    small = [Layer(kerb, stone, PAVEMENT, lift, (1.0, 1.0)),
             Layer(pits, look("gravel", surfaces.gravel(), (0.62, 0.52, 0.42)), PAVEMENT, lift, (5.0, 5.0))]
    layers = [
        Layer(road_markings, look("paint", surfaces.paint()), LANE_MARKING, 0.0, (2.5, 2.5)),
        Layer(carriageway, asphalt, ROAD, 0.0, (10.0, 10.0)),
        *(small if full else []),
        Layer(layout.corridor, slabs, PAVEMENT, lift, (5.0, 5.0)),
        Layer(water, look("water", surfaces.water()), WATER, WATER_M, (25.0, 25.0)),
        Layer(bank, stone, PAVEMENT, lift, (2.0, 2.0)),
        Layer(layout.quay, sett, PAVEMENT, lift, (2.5, 2.5)),
        Layer(paths, look("gravel", surfaces.gravel()), PAVEMENT, lift, (5.0, 5.0)),
        Layer(plan.doorsteps, slabs, PAVEMENT, lift, (5.0, 5.0)),
        Layer(lawns, look("grass", surfaces.grass()), GRASS, lift, (25.0, 12.5)),
        Layer(shapely.union_all(paved), sett, PAVEMENT, lift, (2.5, 2.5)),
        Layer(area, look("grass", surfaces.grass()), GRASS, lift, (25.0, 12.5)),
    ]
    drape(parts, partition(layers, bounds, plan.footprints), terrain, bounds)
    if full:
        steps(parts, carriageway, terrain, (0.0, lift), stone, PAVEMENT, area)
        bridges = _bridge_edges(layout)
        add_low_walls(parts, WallKind(stone, PAVEMENT, 0.95, 0.3, 2.0), bridges, terrain, lift)
        _add_arches(parts, look("arch", None, (0.09, 0.1, 0.11)), bridges, terrain)
        leaves = look("leaves_broad", surfaces.leaves("broad"), (0.62, 0.74, 0.56))
        add_low_walls(parts, WallKind(leaves, GRASS, 1.1, 0.7, 3.0), plan.hedges, terrain, lift)
    steps(parts, water, terrain, (WATER_M, lift), stone, PAVEMENT, area)


def _bridge_edges(layout: Layout) -> np.ndarray:
    """[N, 2, 2] straight sides of the bridges, the road on their left."""
    edges = []
    for polygon in shapely.get_parts(shapely.orient_polygons(layout.corridor, exterior_cw=False)):
        for ring in shapely.get_rings(polygon):
            points = shapely.get_coordinates(ring)
            lines = shapely.linestrings(np.stack([points[:-1], points[1:]], axis=1))
            over = shapely.intersection(lines, layout.water.buffer(0.6))
            for line in over[shapely.length(over) > 2.0]:
                for part in shapely.get_parts(line):
                    edges.append(shapely.get_coordinates(part)[[0, -1]])
    return np.array(edges).reshape(-1, 2, 2)


def _add_arches(parts, dark: int, bridges: np.ndarray, terrain) -> None:
    """The shaded opening under each bridge: a flat arch just before the wall, which faces right of its edge."""
    for a, b in bridges:
        length = np.hypot(*(b - a))
        if length < 6.0:
            continue
        along = (b - a) / length
        outward = np.array([along[1], -along[0]])
        t = np.linspace(0.0, np.pi, 13)
        s = length / 2 + (length / 2 - 1.5) * np.cos(t)  # from the far end back to the near one
        xy = a + s[:, None] * along + 0.04 * outward
        z = terrain(*((a + b) / 2)) + WATER_M
        arch = np.column_stack([xy, z + 1.15 * np.sin(t) ** 0.8])
        foot = np.array([[*((a + b) / 2 + 0.04 * outward), z]])
        k = np.arange(12)
        faces = np.stack([np.zeros(12, int), k + 1, k + 2], axis=1)
        parts.add(np.concatenate([foot, arch]), faces, np.zeros((12, 3, 2)), dark, PAVEMENT)


def _inside(markings, carriageway) -> shapely.Geometry:
    """The painted pieces that lie wholly on the carriageway."""
    pieces = shapely.get_parts(markings)
    inner = carriageway.buffer(0.02)
    shapely.prepare(inner)
    return shapely.union_all(pieces[shapely.covers(inner, pieces)])
