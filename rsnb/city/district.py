"""Builds one district of the city: plan, ground, buildings, trees and furniture as one textured mesh."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import shapely

from rsnb.city import surfaces
from rsnb.city.assembly import Palette, Parts
from rsnb.city.buildings import Building, add_building, plan_buildings
from rsnb.city.furniture import add_bridge_walls, add_cars, add_fixtures
from rsnb.city.ground import KERB_M, WATER_M, Layer, drape, partition, steps
from rsnb.city.lots import Lot, place_lots
from rsnb.city.markings import lane_markings
from rsnb.city.options import (
    GRASS,
    LANE_MARKING,
    PAVEMENT,
    PLAN,
    ROAD,
    WATER,
    CityOptions,
    check_index,
    core_bounds,
    random_stream,
)
from rsnb.city.planting import plan_places
from rsnb.city.stations import Stations, stations
from rsnb.city.streets import Layout, StreetGraph, plan_streets
from rsnb.city.terrain import Terrain, build_terrain
from rsnb.city.trees import Trees, add_trees
from rsnb.city.truth import map_centres, top_surface
from rsnb.errors import InputError
from rsnb.scenes import TexturedMesh


@dataclass(frozen=True)
class District:
    """One district and everything that is known about it; coordinates are model metres.

    Attributes:
        mesh: the textured mesh.
        options, index, detail, belt: what it was built from.
        character: name of its recipe.
        bounds: (x_min, y_min, x_max, y_max) of the ground.
        terrain: height of the bare ground, `terrain(x, y)`; closed form, exact. Pavements and lawns lie a kerb's
            height above it, water 1.3 m below.
        buildings, trees: the tables; cars: [N, 4] x, y, heading (from east, counter-clockwise), instance id.
        streets: the graph of centre lines.
    """

    mesh: TexturedMesh
    options: CityOptions
    index: tuple[int, int]
    detail: str
    belt: bool
    character: str
    bounds: tuple[float, float, float, float]
    terrain: Terrain
    buildings: tuple[Building, ...]
    trees: Trees
    cars: np.ndarray
    streets: StreetGraph
    layout: Layout = field(repr=False)

    @cached_property
    def scene(self):
        """The mesh as a `rsnb.mesh.RayScene`, built at first use."""
        from rsnb.mesh import RayScene

        return RayScene(self.mesh)

    def height(self, x, y) -> np.ndarray:
        """Height of the topmost surface at (x, y), float64, nan outside; by an upright ray through the mesh."""
        return top_surface(self.scene, x, y)[0]

    def dsm(self, gsd_m: float = 1.0) -> np.ndarray:
        """[H, W] float64 heights of the topmost surface at pixel centres; row 0 is the northern edge of `bounds`."""
        return self.height(*map_centres(self.bounds, gsd_m))

    def semantic_map(self, gsd_m: float = 1.0) -> np.ndarray:
        """[H, W] int32 class ids of the topmost surface at pixel centres, 0 = nothing; row 0 is the northern edge."""
        _, prim = top_surface(self.scene, *map_centres(self.bounds, gsd_m))
        return np.where(prim >= 0, self.mesh.face_class[np.maximum(prim, 0)], 0).astype(np.int32)

    def street_path(self, spacing_m: float = 16.0, *, start_m: float = 0.0, height_m: float = 2.5,
                    lateral_m: float = 0.0, inset_m: float = 12.0) -> Stations:
        """Camera stations along all streets inside the core.

        Stations midway between those of spacing s and start 0 are those of spacing s and start s / 2.

        Args:
            spacing_m: between stations of one street.
            start_m: of the first station from where the street enters the core.
            height_m: camera above the carriageway.
            lateral_m: to the right of the centre line.
            inset_m: distance kept from the core's edge.
        """
        if not spacing_m > 0:
            raise InputError(f"spacing_m is {spacing_m!r}, expected metres above 0", where="street_path")
        return stations(self.streets, self.terrain, core_bounds(self.index), spacing_m=spacing_m, start_m=start_m,
                        height_m=height_m, lateral_m=lateral_m, inset_m=inset_m)


def build_district(options: CityOptions = CityOptions(), index=(0, 0), detail: Literal["full", "twin"] = "full",
                   belt: bool = False) -> District:
    """Builds a district; the same arguments give the same bytes.

    Args:
        options: seed and the few other choices.
        index: (i, j), 0..3 each; i counts east, j north. Core (0, 0) covers x 6000..6500, y 4500..5000.
        detail: "full", or "twin": the same city without kerbs, cars, lamps, benches, chimneys, dormers, roof-top
            units, parapets and eaves, its trees smooth blobs.
        belt: also build the district's half of the tree-lined boulevards around it (550 x 550 m).

    Raises:
        InputError: for an index outside the city or an unknown detail.
    """
    index = check_index(index)
    if detail not in ("full", "twin"):
        raise InputError(f"detail is {detail!r}", where="build_district", mend='Use "full" or "twin"')
    character = PLAN[index[0]][index[1]]
    layout = plan_streets(options, index, character)
    terrain = build_terrain(options, index, layout.water)
    lots, uses = place_lots(layout, character, random_stream(options, index, "lots"))
    plans = plan_buildings(lots, character, random_stream(options, index, "buildings"))
    footprints = shapely.union_all([lot.polygon() for lot in lots])
    paths = _park_paths(layout)
    places = plan_places(options, layout, character, footprints, paths, 1 + len(plans),
                         random_stream(options, index, "planting"), belt)

    parts, palette = Parts(), Palette()
    bounds = (layout.tile if belt else layout.core).bounds
    lawns = _lawns(layout, uses, footprints, random_stream(options, index, "lawns"))
    ground = GroundPlan(layout, uses, character.yard, footprints, paths, lawns, places.pits,
                        _doorsteps(lots, character.setback))
    _add_ground(parts, palette, ground, terrain, bounds, detail)
    buildings = tuple(add_building(parts, palette, plan, terrain, detail) for plan in plans)
    lift = KERB_M if detail == "full" else 0.0
    add_trees(parts, palette, places.trees, terrain, lift, detail)
    cars = np.zeros((0, 4))
    if detail == "full":
        ids = add_cars(parts, palette, places.cars, terrain, 1 + len(plans) + len(places.trees),
                       random_stream(options, index, "cars"))
        cars = np.column_stack([places.cars, ids])
        add_fixtures(parts, palette, places.lamps, "lamp", terrain, lift)
        add_fixtures(parts, palette, places.benches, "bench", terrain, lift)
    mesh = parts.mesh(palette, f"city seed {options.seed} district {index[0]}-{index[1]} {detail}")
    return District(mesh, options, index, detail, belt, character.name, tuple(float(b) for b in bounds), terrain,
                    buildings, places.trees, cars, layout.graph, layout)


def _park_paths(layout: Layout) -> shapely.Geometry:
    """Gravel paths: along the park's edge, around its pond or through its middle."""
    lines = []
    for part in shapely.get_parts(layout.park):
        ring = shapely.get_coordinates(shapely.oriented_envelope(part))[:4]
        middle = ring.mean(axis=0)
        lines += [shapely.LineString([corner, middle]) for corner in ring]
        lines += [shapely.LineString([(ring[k] + ring[(k + 1) % 4]) / 2, middle]) for k in range(4)]
        lines.append(part.buffer(-6.5).boundary)
    if not lines:
        return shapely.Polygon()
    paths = shapely.union_all([line.buffer(1.3) for line in lines])
    near_pond = layout.water.buffer(2.2)
    around = shapely.difference(layout.water.buffer(4.8), near_pond)
    paths = shapely.union_all([shapely.difference(paths, near_pond), around]) if not layout.water.is_empty else paths
    return shapely.intersection(paths, layout.park)


def _lawns(layout: Layout, uses: list[str], footprints, rng) -> shapely.Geometry:
    """Green in the middle of most paved yards and around towers."""
    lawns = []
    for block, use in zip(layout.blocks, uses, strict=True):
        if use == "tower":
            lawns.append(shapely.difference(block.buffer(-7.0), footprints.buffer(8.0)).buffer(-1.5).buffer(1.5))
        elif use == "house" and rng.random() < 0.7:
            lawns.append(shapely.difference(block.buffer(-5.0), footprints.buffer(2.6)).buffer(-2.0).buffer(2.0))
    return shapely.union_all(lawns) if lawns else shapely.Polygon()


def _doorsteps(lots: list[Lot], setback: float) -> shapely.Geometry:
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


@dataclass(frozen=True)
class GroundPlan:
    """What lies on the ground, seen from above: everything `_add_ground` turns into surfaces."""

    layout: Layout
    uses: list[str]
    yard: str
    footprints: shapely.Geometry
    paths: shapely.Geometry
    lawns: shapely.Geometry
    pits: np.ndarray
    doorsteps: shapely.Geometry


def _add_ground(parts, palette, plan: GroundPlan, terrain, bounds, detail) -> None:
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
        add_bridge_walls(parts, stone, _bridge_edges(layout), terrain, lift)
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


def _inside(markings, carriageway) -> shapely.Geometry:
    """The painted pieces that lie wholly on the carriageway."""
    pieces = shapely.get_parts(markings)
    inner = carriageway.buffer(0.02)
    shapely.prepare(inner)
    return shapely.union_all(pieces[shapely.covers(inner, pieces)])
