"""Exact answers about a district: heights, surface model and semantic map, by upright rays through its mesh."""

from __future__ import annotations

import numpy as np

from rsnb.errors import InputError


def top_surface(scene, x, y) -> tuple[np.ndarray, np.ndarray]:
    """Highest surface under the sky at (x, y).

    Args:
        scene: `rsnb.mesh.RayScene` of the district.
        x, y: model metres, broadcast together.

    Returns:
        z: height, float64, nan where nothing is there; prim: [same shape] int, face number, -1 where nothing is there.
    """
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    above = float(scene.mesh.bounds[1, 2]) + 10.0
    origins = np.stack([x, y, np.full(x.shape, above)], axis=-1)
    directions = np.broadcast_to(np.array([0.0, 0.0, -1.0]), origins.shape)
    hits = scene.cast(origins, directions)
    distance = np.asarray(hits.distance, float)
    prim = np.asarray(hits.prim).astype(np.int64)
    z = np.where(prim >= 0, above - np.where(np.isfinite(distance), distance, 0.0), np.nan)
    return z, prim


def map_centres(bounds, gsd_m: float) -> tuple[np.ndarray, np.ndarray]:
    """x, y [H, W] of the pixel centres of a north-up map that covers bounds; row 0 is the northern edge."""
    if not (isinstance(gsd_m, (int, float)) and 0.01 <= gsd_m <= 100):
        raise InputError(f"gsd_m is {gsd_m!r}, expected metres per pixel from 0.01 to 100", where="gsd_m")
    x_min, y_min, x_max, y_max = bounds
    width, height = round((x_max - x_min) / gsd_m), round((y_max - y_min) / gsd_m)
    x = x_min + gsd_m * (np.arange(width) + 0.5)
    y = y_max - gsd_m * (np.arange(height) + 0.5)
    return np.meshgrid(x, y)
