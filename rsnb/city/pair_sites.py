"""Where the pairs of a district are taken: lists side by side without common ground or building, low places alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely

from rsnb.city.district import District
from rsnb.city.options import BUILDING, TREE
from rsnb.city.pair_options import PairsOptions, Split
from rsnb.city.stations import Stations
from rsnb.city.truth import map_centres, top_surface
from rsnb.errors import InputError

ASIDE_M = 1.2  # nobody drives in the very middle of the road
STEP_M = 2.0  # between the places that are looked at
_CELL_M = 1.0  # of the map of heights that says where it is low


@dataclass(frozen=True)
class Site:
    """One place where a pair is taken.

    Attributes:
        split: the list it belongs to.
        position: [3] camera, model metres.
        ground_m: height of the ground under the camera, model metres.
        heading: bearing of the street, radians (the panorama is turned north all the same).
        tile_centre: [2] model metres; the camera's place unless the tiles are made to lie off.
        day: seed of the light in which the street is photographed.
        district: index.
        buildings: instance ids of the buildings that the tile may show a part of.
    """

    split: Split
    position: np.ndarray
    ground_m: float
    heading: float
    tile_centre: np.ndarray
    day: int
    district: tuple[int, int]
    buildings: tuple[int, ...]


@dataclass(frozen=True)
class Places:
    """Every place of a district's streets where a camera may stand, `STEP_M` apart.

    Attributes:
        district: where.
        options: tile extent, offset, camera height and greatest height count.
    """

    district: District
    options: PairsOptions

    @property
    def reach_m(self) -> float:
        """Half the side of the square around a place that holds the tile of every camera near it."""
        return self.options.tile_extent_m / 2 + self.options.tile_offset_m + ASIDE_M

    @cached_property
    def stations(self) -> Stations:
        """All of them, too tall ones left out."""
        return self._every.subset(~self._too_tall)

    @property
    def left_out(self) -> int:
        """Places whose tile would hold something taller than `tallest_m` above the bare ground below it."""
        return int(self._too_tall.sum())

    @property
    def looked_at(self) -> int:
        """All places, those included."""
        return len(self._too_tall)

    @cached_property
    def _every(self) -> Stations:
        return self.district.street_path(STEP_M, height_m=self.options.camera_height_m,
                                         inset_m=max(self.reach_m, 12.0))

    @cached_property
    def _too_tall(self) -> np.ndarray:
        xyz = self._every.position
        if self.options.tallest_m is None or len(xyz) == 0:
            return np.zeros(len(xyz), bool)
        return _highest_around(self.district, xyz[:, :2], self.reach_m) > self.options.tallest_m

    @cached_property
    def _buildings(self) -> tuple[np.ndarray, shapely.STRtree]:
        """Instance ids, and the convex hulls of all their faces (eaves and balconies too) as seen from above."""
        mesh = self.district.mesh
        faces = np.flatnonzero(mesh.face_class == BUILDING)
        order = faces[np.argsort(mesh.face_object[faces], kind="stable")]
        ids, first = np.unique(mesh.face_object[order], return_index=True)
        hulls = [shapely.MultiPoint(mesh.vertices[np.unique(mesh.faces[part]), :2]).convex_hull
                 for part in np.split(order, first[1:])]
        return ids, shapely.STRtree(hulls)

    def buildings_in(self, xy: np.ndarray, half_m: float) -> list[np.ndarray]:
        """For each centre [N, 2] the ids of the buildings that come into the square of that half side around it."""
        ids, tree = self._buildings
        squares = shapely.box(*(xy - half_m).T, *(xy + half_m).T)
        square, hull = tree.query(squares, predicate="intersects")
        return [np.unique(ids[hull[square == i]]) for i in range(len(xy))]


def choose_sites(places: Places, wanted: Mapping[Split, int], rng: np.random.Generator) -> list[Site]:
    """Sites of each list, the lists side by side from west to east without a common piece of ground or building.

    Between two lists lies a strip as wide as a tile (and twice its largest offset), so that no tile of one shows what a
    tile of the other shows; a later list also keeps away from the buildings that an earlier one shows. Inside a list
    sites are spread as far as the streets allow, 2 m at least.

    Raises:
        InputError: the streets have no room for so many.
    """
    x0, _, x1, _ = places.district.bounds
    inset, gap = max(places.reach_m, 12.0), 2 * places.reach_m
    room = x1 - x0 - 2 * inset - gap * (len(wanted) - 1)
    if not wanted or room < 10.0 * len(wanted):
        raise InputError(f"{sum(wanted.values())} pairs of tiles {places.options.tile_extent_m} m wide",
                         where="city pairs",
                         mend=f"Ask for one pair at least, and tiles so small that {len(wanted)} strips of them with "
                              f"{gap:.0f} m between fit into {x1 - x0:.0f} m")
    sites, west, taken = [], x0 + inset, np.zeros(0, int)
    for split, n in wanted.items():
        east = west + room * n / sum(wanted.values())
        x = places.stations.position[:, 0]
        inside = np.flatnonzero((x >= west) & (x <= east))
        if len(taken) and len(inside):
            shown = places.buildings_in(places.stations.position[inside, :2], places.reach_m)
            inside = inside[[not np.isin(ids, taken).any() for ids in shown]]
        if len(inside) < n:
            raise InputError(f"{n} {split} pairs are asked for, the streets have room for {len(inside)}",
                             where="city pairs", mend=_more_room(places.options))
        of_list = sites_at(places, split, spread(inside, n), rng)
        taken = np.unique([*taken, *(i for site in of_list for i in site.buildings)]).astype(int)
        sites += of_list
        west = east + gap
    return sites


def spread(index: np.ndarray, n: int) -> np.ndarray:
    """`n` entries of an index array, evenly spaced in its order."""
    return index[np.linspace(0, len(index) - 1, n).round().astype(int)]


def sites_at(places: Places, split: Split, index: np.ndarray, rng: np.random.Generator) -> list[Site]:
    """Cameras at some of the places: a little aside, each in its own light, its tile perhaps off its place."""
    district, options = places.district, places.options
    rows = []
    for i in index:
        heading = float(places.stations.heading[i])
        aside = rng.uniform(-ASIDE_M, ASIDE_M)
        xy = places.stations.position[i, :2] + aside * np.array([np.cos(heading), -np.sin(heading)])
        radius, bearing = options.tile_offset_m * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        centre = xy + radius * np.array([np.sin(bearing), np.cos(bearing)])
        rows.append((xy, float(district.terrain(*xy)), heading, centre, int(rng.integers(1 << 31))))
    shown = places.buildings_in(np.array([row[3] for row in rows]).reshape(-1, 2), options.tile_extent_m / 2)
    return [Site(split, np.array([*xy, ground + options.camera_height_m]), ground, heading, centre, day,
                 tuple(district.index), tuple(int(b) for b in ids))
            for (xy, ground, heading, centre, day), ids in zip(rows, shown, strict=True)]


def refuse_common_ground(sites: list[Site], tile_extent_m: float) -> None:
    """AssertionError where tiles of two lists overlap or show the same building: never, whatever the options."""
    for other in ("val", "test"):
        for split in {"val": ("train",), "test": ("train", "val")}[other]:
            a, b = ([s for s in sites if s.split == name] for name in (split, other))
            if not a or not b:
                continue
            xy = np.array([s.tile_centre for s in a])
            for site in b:
                near = np.abs(xy - site.tile_centre).max(axis=1) < tile_extent_m - 1e-6
                assert not near.any(), f"tiles of {split} and {other} overlap"
            owned = {(s.district, i) for s in a for i in s.buildings}
            shared = owned & {(s.district, i) for s in b for i in s.buildings}
            assert not shared, f"{split} and {other} both show building {sorted(shared)[0]}"


def _more_room(options: PairsOptions) -> str:
    return ("Ask for fewer, or for smaller tiles" + (", or name more districts" if options.districts else "")
            + (", or let taller things in (tallest_m)" if options.tallest_m is not None else ""))


def _highest_around(district: District, xy: np.ndarray, half_m: float) -> np.ndarray:
    """[N] greatest height above the bare ground below it, metres, in squares around [N, 2]: never too low, and too high
    by what a cell outside the square adds."""
    from scipy.ndimage import maximum_filter

    x0, _, _, y1 = district.bounds
    centres = map_centres(district.bounds, _CELL_M)
    top = np.nan_to_num(top_surface(district.scene, *centres)[0] - district.terrain(*centres), nan=-np.inf)
    for points in (district.mesh.vertices, _along_edges(district.mesh)):  # thin things pass between the map's rays
        row, column = _cells(points, (x0, y1), top.shape)
        np.maximum.at(top, (row, column), points[:, 2] - district.terrain(points[:, 0], points[:, 1]))
    cells = int(np.ceil(half_m / _CELL_M)) + 1
    wide = maximum_filter(top, size=2 * cells + 1, mode="nearest")
    return wide[_cells(xy, (x0, y1), top.shape)]


def _cells(points: np.ndarray, corner: tuple[float, float], shape) -> tuple[np.ndarray, np.ndarray]:
    column = np.clip(((points[:, 0] - corner[0]) / _CELL_M).astype(int), 0, shape[1] - 1)
    row = np.clip(((corner[1] - points[:, 1]) / _CELL_M).astype(int), 0, shape[0] - 1)
    return row, column


def _along_edges(mesh) -> np.ndarray:
    """[M, 3] points that divide the long edges of buildings and trees into pieces of a cell at most."""
    faces = mesh.faces[np.isin(mesh.face_class, (BUILDING, TREE))]
    xy = mesh.vertices[:, :2].astype(np.float32)
    first, second = faces, np.roll(faces, -1, axis=1)
    length = np.hypot(*np.moveaxis(xy[second] - xy[first], -1, 0))
    long = length > _CELL_M
    a, step = mesh.vertices[first[long]], mesh.vertices[second[long]]
    pieces = np.ceil(length[long] / _CELL_M).astype(int)
    step = (step - a) / pieces[:, None]
    edge = np.repeat(np.arange(len(a)), pieces - 1)
    number = 1 + np.arange(len(edge)) - np.repeat(np.cumsum(pieces - 1) - (pieces - 1), pieces - 1)
    return a[edge] + step[edge] * number[:, None]
