"""Builds one district of the city: plan, ground, buildings, trees and furniture as one textured mesh."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import shapely

from rsnb.city.assembly import Palette, Parts
from rsnb.city.buildings import Building, add_building, plan_buildings
from rsnb.city.furniture import add_cars, add_fixtures
from rsnb.city.ground import KERB_M
from rsnb.city.groundcover import GroundPlan, add_ground, doorsteps_of, hedges_of, lawns_of, park_paths
from rsnb.city.lots import place_lots
from rsnb.city.options import PLAN, CityOptions, check_index, core_bounds, random_stream
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
            units, parapets, eaves, balconies, hedges and bridge walls, its trees smooth blobs.
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
    paths = park_paths(layout)
    places = plan_places(options, layout, character, footprints, paths, 1 + len(plans),
                         random_stream(options, index, "planting"), belt)

    parts, palette = Parts(), Palette()
    bounds = (layout.tile if belt else layout.core).bounds
    lawns = lawns_of(layout, uses, footprints, random_stream(options, index, "lawns"))
    doorsteps = doorsteps_of(lots, character.setback)
    hedges = np.zeros((0, 2, 2))
    if character.yard == "grass" and character.setback > 0:
        hedges = hedges_of(layout, uses, footprints, doorsteps, random_stream(options, index, "hedges"))
    ground = GroundPlan(layout, uses, character.yard, footprints, paths, lawns, places.pits,
                        doorsteps, hedges)
    add_ground(parts, palette, ground, terrain, bounds, detail)
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


@lru_cache(maxsize=2)
def shared_district(options: CityOptions = CityOptions(), index: tuple[int, int] = (0, 0),
                    detail: Literal["full", "twin"] = "full", belt: bool = False) -> District:
    """`build_district`, the last two kept in memory: several writers of one notebook look at the same district."""
    return build_district(options, index, detail, belt)
