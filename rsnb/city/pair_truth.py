"""The truth behind a pair that is known because the city is: solid space, what the camera sees, other cameras nearby.

For evaluation alone: nothing here is told to a method that learns from pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsnb.city.district import District
from rsnb.city.options import BUILDING, CAR, TREE, WATER
from rsnb.city.pair_sites import Site
from rsnb.errors import InputError
from rsnb.mesh.scene import RayScene

NOT_SEEN, COLUMN_SEEN, TOP_SEEN = 0, 1, 2
_ABOVE_M = 300.0  # nothing is so high
_STEP_M = 1e-3  # a ray that goes on behind a surface starts so far behind it
_BEARINGS = 8  # level rays that ask whether a place is indoors
_INDOORS = 3  # of them that meet walls from behind; a party wall coincides with the neighbour's, seen from outside
_CLEAR_M = 0.4  # around an off-centre camera
_KERB_M = 0.3  # pavements and lawns lie no higher above the bare ground


@dataclass(frozen=True)
class TileGrid:
    """The cells of a tile, as columns of voxels.

    Attributes:
        centre: [2] of the tile, model metres.
        extent_m, size: side of the tile, and cells along it.
        ground_m: model height of z = 0, the ground under the camera.
        ceiling_m, slices: the voxels of a column reach from the bare ground there up to so many metres.
    """

    centre: np.ndarray
    extent_m: float
    size: int
    ground_m: float
    ceiling_m: float = 1.0
    slices: int = 0

    def cell_centres(self) -> tuple[np.ndarray, np.ndarray]:
        """x, y [S, S] model metres; row 0 north."""
        steps = (np.arange(self.size) + 0.5) / self.size - 0.5
        return np.meshgrid(self.centre[0] + steps * self.extent_m, self.centre[1] - steps * self.extent_m)


@dataclass(frozen=True)
class Crossings:
    """Every surface below every cell, from the top down: arrays [M], by column and then downwards.

    Attributes:
        column: cell, row by row. z: model metres. prim: face.
    """

    column: np.ndarray
    z: np.ndarray
    prim: np.ndarray


def crossings(scene: RayScene, grid: TileGrid) -> Crossings:
    """All that an upright ray through the middle of each cell meets, outdoors and indoors."""
    x, y = (a.ravel() for a in grid.cell_centres())
    z = np.full(len(x), grid.ground_m + _ABOVE_M)
    alive, found = np.arange(len(x)), []
    while len(alive):
        origins = np.column_stack([x[alive], y[alive], z[alive]])
        hits = scene.cast(origins, np.broadcast_to(np.array([0.0, 0.0, -1.0]), origins.shape))
        alive = alive[hits.hit]
        z[alive] -= hits.distance[hits.hit]
        found.append((alive, z[alive].copy(), hits.prim[hits.hit]))
        z[alive] -= _STEP_M
    column, height, prim = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((-height, column))
    return Crossings(column[order], height[order], prim[order])


def occupancy(scene: RayScene, grid: TileGrid, ground: np.ndarray) -> np.ndarray:
    """[D, S, S] bool: voxels whose centre lies in something solid; slice 0 lowest, row 0 north.

    A column is counted from its own bare ground, as heights above the ground are: earth that rises is no object, and
    what lies below bare ground is none either. Solid is what lies on the ground, and whatever lies between two surfaces
    where level rays meet walls from behind: under a roof with rooms below it, and not under eaves, a balcony, an awning
    or a bridge. So neither a missing floor nor a roof that is a closed plate of its own misleads. A tree's crown is
    full from its lowest to its highest leaf above the cell and takes every voxel that it touches; the column below it
    is empty.

    Args:
        ground: [S, S] bare ground at the cells' centres, model metres.
    """
    found = crossings(scene, grid)
    kind, name = scene.semantic[found.prim], scene.material[found.prim]
    tree = kind == TREE
    bark = np.array([material.name.startswith("bark") for material in scene.mesh.materials])[name]
    solid = _solid_spans(scene, grid, found, ~tree)
    trunk = _trunk_spans(found, tree & bark)
    crown = _crown_spans(found, scene.instance[found.prim], tree & ~bark)
    slice_m = grid.ceiling_m / grid.slices
    count = np.zeros((grid.slices + 1, grid.size**2), np.int32)
    for (column, low, high), touch in ((solid, False), (trunk, False), (crown, True)):
        low, high = ((z - ground.ravel()[column]) / slice_m for z in (low, high))
        first, last = (np.floor(low), np.floor(high) + 1) if touch else (np.ceil(low - 0.5), np.ceil(high - 0.5))
        first, last = (np.clip(k, 0, grid.slices).astype(int) for k in (first, last))
        np.add.at(count, (first, column), 1)
        np.add.at(count, (last, column), -1)
    return (np.cumsum(count, axis=0)[:-1] > 0).reshape(grid.slices, grid.size, grid.size)


def _solid_spans(scene: RayScene, grid: TileGrid, found: Crossings, of: np.ndarray):
    """(column, low, high) of the gaps between surfaces other than trees that are full, and of all below the lowest."""
    column, z = found.column[of], found.z[of]
    if len(column) == 0:
        return column, z, z
    lowest = np.append(column[1:] != column[:-1], True)
    gap = np.flatnonzero(~lowest)
    x, y = (a.ravel()[column[gap]] for a in grid.cell_centres())
    full = indoors(scene, np.column_stack([x, y, (z[gap] + z[gap + 1]) / 2]))
    gap = gap[full]
    return (np.append(column[gap], column[lowest]), np.append(z[gap + 1], np.full(lowest.sum(), -np.inf)),
            np.append(z[gap], z[lowest]))


def _trunk_spans(found: Crossings, bark: np.ndarray):
    """A trunk is full from where the ray meets it down to the next surface of another kind."""
    start = np.flatnonzero(bark)
    following = np.minimum(start + 1, len(found.z) - 1)
    below = np.where(found.column[following] == found.column[start], found.z[following], found.z[start])
    return found.column[start], below, found.z[start]


def _crown_spans(found: Crossings, instance: np.ndarray, leaf: np.ndarray):
    """(column, lowest, highest leaf) of each tree above each cell."""
    if not leaf.any():
        return found.column[leaf], found.z[leaf], found.z[leaf]
    key = np.column_stack([found.column[leaf], instance[leaf]])
    pairs, group = np.unique(key, axis=0, return_inverse=True)
    low, high = np.full(len(pairs), np.inf), np.full(len(pairs), -np.inf)
    np.minimum.at(low, group.ravel(), found.z[leaf])
    np.maximum.at(high, group.ravel(), found.z[leaf])
    return pairs[:, 0], low, high


def indoors(scene: RayScene, points: np.ndarray) -> np.ndarray:
    """[N] bool: of eight level rays from each point [N, 3] at least three first meet a face from behind (leaves, which
    face anywhere, not counted)."""
    if len(points) == 0:
        return np.zeros(0, bool)
    bearing = (np.arange(_BEARINGS) + 0.37) * (2 * np.pi / _BEARINGS)  # streets and walls run along no such bearing
    level = np.stack([np.sin(bearing), np.cos(bearing), np.zeros(_BEARINGS)], axis=1)
    hits = scene.cast(points[:, None], level)
    prim = np.maximum(hits.prim, 0)
    behind = hits.hit & ((scene.normal[prim] * level).sum(-1) > 0) & (scene.semantic[prim] != TREE)
    return behind.sum(axis=1) >= _INDOORS


def visible_cells(scene: RayScene, grid: TileGrid, site: Site, heights: np.ndarray,
                  rows: int = 256) -> np.ndarray:
    """[S, S] uint8, what the central camera sees of each cell.

    `TOP_SEEN` (2): the topmost surface at the cell's centre; `COLUMN_SEEN` (1): not that, but anything between the
    cell's four sides, such as a facade below its roof, found by rays to all sides, 180 / `rows` degrees apart;
    `NOT_SEEN` (0): nothing.

    Args:
        heights: [S, S] topmost surface at the cells' centres, model metres.
    """
    out = np.full((grid.size, grid.size), NOT_SEEN, np.uint8)
    pitch = ((np.arange(rows) + 0.5) / rows - 0.5) * np.pi
    bearing = (np.arange(2 * rows) + 0.5) / rows * np.pi
    flat = np.cos(pitch)[:, None]
    rays = np.stack([flat * np.sin(bearing), flat * np.cos(bearing),
                     np.broadcast_to(np.sin(pitch)[:, None], (rows, 2 * rows))], axis=-1).reshape(-1, 3)
    hits = scene.cast(site.position, rays)
    seen = site.position[:2] + rays[hits.hit, :2] * hits.distance[hits.hit, None]
    cell = (seen - grid.centre) / grid.extent_m * [1, -1] + 0.5
    column, row = np.floor(cell[(cell >= 0).all(axis=1) & (cell < 1).all(axis=1)] * grid.size).astype(int).T
    out[row, column] = COLUMN_SEEN
    tops = np.stack([*grid.cell_centres(), heights.astype(float)], axis=-1).reshape(-1, 3) - site.position
    distance = np.linalg.norm(tops, axis=1)
    blocked = scene.occluded(site.position, tops / distance[:, None], distance - 0.02)
    out.ravel()[~blocked] = TOP_SEEN
    return out


def off_centre_positions(district: District, grid: TileGrid, site: Site, count: int, within_m: float) -> np.ndarray:
    """[K, 3] model metres: cameras on open ground (sky above, neither car nor water nor hedge below, nothing near) of
    the tile, at most so far from the central one, each as high above the bare ground as that.

    Raises:
        InputError: there is no such ground for so many.
    """
    rng, scene = np.random.default_rng([site.day, 1]), district.scene
    radius, bearing = within_m * np.sqrt(rng.uniform(size=64 * count)), rng.uniform(0, 2 * np.pi, 64 * count)
    xy = site.position[:2] + radius[:, None] * np.stack([np.sin(bearing), np.cos(bearing)], axis=1)
    xy = xy[np.abs(xy - grid.centre).max(axis=1) < grid.extent_m / 2]
    above = np.column_stack([xy, np.full(len(xy), grid.ground_m + _ABOVE_M)])
    hits = scene.cast(above, np.broadcast_to(np.array([0.0, 0.0, -1.0]), above.shape))
    open_ground = hits.hit & ~np.isin(scene.semantic[np.maximum(hits.prim, 0)], (BUILDING, TREE, WATER, CAR))
    bare = district.terrain(xy[:, 0], xy[:, 1])
    open_ground &= np.abs(above[:, 2] - hits.distance - bare) < _KERB_M  # no lamp, bench or hedge
    height_m = site.position[2] - site.ground_m
    chosen: list[np.ndarray] = []
    for eye in np.column_stack([xy, bare + height_m])[open_ground]:
        if len(chosen) < count and _is_clear(scene, eye):
            chosen.append(eye)
    if len(chosen) < count:
        raise InputError(f"there is open ground for {len(chosen)} of {count} off-centre cameras within {within_m:g} m "
                         f"of ({site.position[0]:.1f}, {site.position[1]:.1f})", where="city pairs",
                         mend="Let them go further (off_centre_m), or ask for fewer")
    return np.array(chosen).reshape(count, 3)


def _is_clear(scene: RayScene, eye: np.ndarray) -> bool:
    turn = np.arange(64) * np.pi * (3 - np.sqrt(5))
    rise = 1 - 2 * (np.arange(64) + 0.5) / 64
    flat = np.sqrt(1 - rise**2)
    around = np.stack([flat * np.cos(turn), flat * np.sin(turn), rise], axis=1)
    return not (scene.cast(eye, around).distance < _CLEAR_M).any() and not scene.is_inside(eye)
