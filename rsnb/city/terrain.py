"""The ground as an exact piecewise-linear surface on a regular 5 m grid, and lines cut at its creases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from rsnb.city.options import BELT_M, CORE_M, CityOptions, core_bounds

STEP_M = 5.0
_MARGIN_M = BELT_M / 2 + 5 * STEP_M
# Water and a collar around it lie level; further out the ground rises to its natural height over the ramp. The collar
# is wider than the diagonal of a grid cell, so every triangle that touches water is level.
_COLLAR_M, _RAMP_M = 7.2, 36.0


@dataclass(frozen=True)
class Terrain:
    """Heights z [ny + 1, nx + 1] (row = northing) at x0 + 5 k, y0 + 5 k; linear on two triangles a cell.

    The cell's diagonal runs from its south-west to its north-east corner. Outside the grid the rim goes on.
    """

    x0: float
    y0: float
    z: np.ndarray

    def __call__(self, x, y) -> np.ndarray:
        """Height of the ground at (x, y), model metres; arrays of one shape, float64."""
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        ny, nx = self.z.shape[0] - 1, self.z.shape[1] - 1
        u = np.clip((x - self.x0) / STEP_M, 0, nx)
        v = np.clip((y - self.y0) / STEP_M, 0, ny)
        i, j = np.minimum(u.astype(int), nx - 1), np.minimum(v.astype(int), ny - 1)
        fx, fy = u - i, v - j
        z00, z10 = self.z[j, i], self.z[j, i + 1]
        z01, z11 = self.z[j + 1, i], self.z[j + 1, i + 1]
        lower = z00 + fx * (z10 - z00) + fy * (z11 - z10)
        upper = z00 + fy * (z01 - z00) + fx * (z11 - z01)
        return np.where(fx >= fy, lower, upper)

    def triangles(self, bounds) -> np.ndarray:
        """[T, 3, 2] corners (counter-clockwise) of the triangles inside bounds that lie on the grid."""
        x_min, y_min, x_max, y_max = bounds
        x = np.arange(x_min, x_max - STEP_M / 2, STEP_M)
        y = np.arange(y_min, y_max - STEP_M / 2, STEP_M)
        corner = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 1, 2)
        low = corner + np.array([[0, 0], [STEP_M, 0], [STEP_M, STEP_M]])
        high = corner + np.array([[0, 0], [STEP_M, STEP_M], [0, STEP_M]])
        return np.stack([low, high], axis=1).reshape(-1, 3, 2)


def natural_height(options: CityOptions, x, y) -> np.ndarray:
    """The smooth hills of the whole city before any district shapes them, metres; x, y broadcast."""
    rng = np.random.default_rng([options.seed, 41])
    wavelength = rng.uniform(420.0, 980.0, 7)
    direction = rng.uniform(0, 2 * np.pi, 7)
    phase = rng.uniform(0, 2 * np.pi, 7)
    total = np.zeros(np.broadcast(x, y).shape)
    for length, angle, shift in zip(wavelength, direction, phase, strict=True):
        along = np.cos(angle) * (x - 6000.0) + np.sin(angle) * (y - 4500.0)
        total += np.cos(2 * np.pi * along / length + shift) * length / 980.0
    return 12.0 + options.relief_m * 0.16 * total


def build_terrain(options: CityOptions, index: tuple[int, int], water: shapely.Geometry) -> Terrain:
    """The ground of one district (core, belt and a little more), levelled around `water` (may be empty).

    Where the city's hills give less than `relief_m` inside the core, a hill that fades to nothing at the district's
    border makes up for it, so neighbours always meet.
    """
    x_min, y_min, _, _ = core_bounds(index)
    n = round((CORE_M + 2 * _MARGIN_M) / STEP_M)
    x = x_min - _MARGIN_M + STEP_M * np.arange(n + 1)
    y = (y_min - _MARGIN_M + STEP_M * np.arange(n + 1))[:, None]
    z = natural_height(options, x, y)

    core = ((x >= x_min) & (x <= x_min + CORE_M)) & ((y >= y_min) & (y <= y_min + CORE_M))
    rng = np.random.default_rng([options.seed, *index, 42])
    angle = rng.uniform(0, 2 * np.pi)
    half = CORE_M / 2 + BELT_M / 2
    a = np.clip(np.abs(x - x_min - CORE_M / 2) / half, 0, 1)
    b = np.clip(np.abs(y - y_min - CORE_M / 2) / half, 0, 1)
    fade = (1 - a**4) ** 2 * (1 - b**4) ** 2
    tilt = (np.cos(angle) * (x - x_min - 250) + np.sin(angle) * (y - y_min - 250)) / 250.0
    hill = fade * np.sin(1.4 * tilt)
    for lift in np.arange(0.0, options.relief_m + 2, 0.25):
        raised = z + lift * hill
        if np.ptp(raised[core]) >= options.relief_m:
            break
    z = raised

    if not shapely.is_empty(water):
        points = shapely.points(np.broadcast_to(x, z.shape), np.broadcast_to(y, z.shape))
        shapely.prepare(water)
        distance = shapely.distance(water, points)
        # A little below the middle: banks neither dug deep nor heaped high along a canal on sloping ground.
        level = np.percentile(z[distance < STEP_M], 35)
        ramp = np.clip((distance - _COLLAR_M) / _RAMP_M, 0, 1)
        ramp = ramp * ramp * (3 - 2 * ramp)
        z = level + (z - level) * np.where(distance <= _COLLAR_M, 0.0, ramp)
    return Terrain(float(x[0]), float(y[0, 0]), z)


def split_at_creases(start: np.ndarray, end: np.ndarray, terrain: Terrain) -> tuple[np.ndarray, np.ndarray]:
    """Cuts segments where they cross a crease of the terrain, keeping their direction.

    Args:
        start, end: [S, 2] end points, metres.
        terrain: gives the crease lines x = x0 + 5 k, y = y0 + 5 k and x - y = x0 - y0 + 5 k.

    Returns:
        start, end: [P, 2] of the pieces, in order along each segment.
    """
    a = (start - (terrain.x0, terrain.y0)) / STEP_M
    b = (end - (terrain.x0, terrain.y0)) / STEP_M
    owner, at = [np.arange(len(a)), np.arange(len(a))], [np.zeros(len(a)), np.ones(len(a))]
    for weight in ((1.0, 0.0), (0.0, 1.0), (1.0, -1.0)):
        ca, cb = a @ weight, b @ weight
        low, high = np.ceil(np.minimum(ca, cb) - 1e-9), np.floor(np.maximum(ca, cb) + 1e-9)
        count = np.where(np.abs(cb - ca) < 1e-9, 0, np.maximum(high - low + 1, 0)).astype(int)
        which = np.repeat(np.arange(len(a)), count)
        k = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + low[which]
        owner.append(which)
        at.append(np.clip((k - ca[which]) / (cb - ca)[which], 0, 1))
    owner, at = np.concatenate(owner), np.concatenate(at)
    order = np.lexsort((at, owner))
    owner, at = owner[order], at[order]
    length = np.linalg.norm(end - start, axis=1)
    keep = (owner[1:] == owner[:-1]) & ((at[1:] - at[:-1]) * length[owner[1:]] > 1e-4)
    # A cut closer than 0.1 mm to the one before is dropped: its piece merges into the next one.
    point = start[owner] + at[:, None] * (end - start)[owner]
    first = point[:-1][keep]
    return first, point[1:][keep]
