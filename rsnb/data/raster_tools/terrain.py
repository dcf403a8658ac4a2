"""Slope, aspect and hillshade of an elevation model (Horn 1981), with the conventions of gdaldem."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.raster import read_grid, read_on_grid
from rsnb.data.raster_grid import Bbox, RasterGrid
from rsnb.errors import InputError


@dataclass(frozen=True)
class Elevation:
    """Heights on a grid.

    Attributes:
        height: [H, W] float32 metres, nan where unknown; row 0 is north.
        grid: where it lies.
    """

    height: np.ndarray
    grid: RasterGrid


def read_dem(path: str | Path, bbox: Bbox | None = None, bbox_crs: str | None = None) -> Elevation:
    """An elevation model, or the window of one.

    Args:
        path: one-band raster of heights in metres (Copernicus DEM, SRTM, a surface model).
        bbox: west, south, east, north, widened to whole pixels.
        bbox_crs: of the box; None = the raster's.

    Raises:
        InputError: no raster, several bands, or a box outside.
    """
    grid = read_grid(path)
    if bbox is not None:
        grid = grid.cropped(*grid.window(bbox, bbox_crs))
    bands = read_on_grid(path, grid)
    if len(bands) != 1:
        raise InputError(f"the raster has {len(bands)} bands, an elevation model has one", where=path)
    # voids of SRTM and of Copernicus DEM without a nodata entry
    height = np.where(bands[0] <= -9999, np.nan, bands[0])
    return Elevation(height, grid)


def gradient(height: np.ndarray, pixel_m: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Rise per metre towards east and towards north, [H, W] each, by Horn's 3 x 3 weights 1 2 1.

    Args:
        height: [H, W] metres, row 0 north.
        pixel_m: width and height of a pixel, metres.

    The rim is carried on along a straight line (gdaldem -compute_edges); nan where one of the nine heights is unknown.

    Raises:
        InputError: fewer than 2 x 2 heights, or pixels without a size.
    """
    height = np.asarray(height, np.float64)
    if height.ndim != 2 or min(height.shape) < 2:
        raise InputError(f"heights of shape {height.shape}, expected [H, W] of at least 2 x 2", where="gradient")
    if not (min(pixel_m) > 0 and all(map(math.isfinite, pixel_m))):
        raise InputError(f"pixels of {pixel_m} metres", where="gradient", mend="Give width and height, both positive")
    z = np.pad(height, 1, mode="reflect", reflect_type="odd")
    left, right = (z[:-2, c] + 2 * z[1:-1, c] + z[2:, c] for c in (slice(None, -2), slice(2, None)))
    up, down = (z[r, :-2] + 2 * z[r, 1:-1] + z[r, 2:] for r in (slice(None, -2), slice(2, None)))
    return (right - left) / (8 * pixel_m[0]), (up - down) / (8 * pixel_m[1])


def slope(height: np.ndarray, pixel_m: tuple[float, float]) -> np.ndarray:
    """[H, W] float32 radians from the horizontal."""
    east, north = gradient(height, pixel_m)
    return np.arctan(np.hypot(east, north)).astype(np.float32)


def aspect(height: np.ndarray, pixel_m: tuple[float, float]) -> np.ndarray:
    """[H, W] float32 bearing towards which the ground falls, radians, 0 = north, clockwise; nan where it is level."""
    east, north = gradient(height, pixel_m)
    bearing = np.arctan2(-east, -north) % (2 * np.pi)
    return np.where(np.hypot(east, north) > 0, bearing, np.nan).astype(np.float32)


def hillshade(height: np.ndarray, pixel_m: tuple[float, float], *, sun_bearing: float = math.radians(315),
              sun_elevation: float = math.radians(45), exaggeration: float = 1.0) -> np.ndarray:
    """Cosine of the angle between ground normal and sun, 0..1: the Lambert shade without cast shadows.

    Args:
        height: [H, W] metres, row 0 north.
        pixel_m: width and height of a pixel, metres.
        sun_bearing: of the sun, radians, 0 = north, clockwise; maps take the north-west.
        sun_elevation: above the horizon, radians.
        exaggeration: of heights.

    Returns:
        [H, W] float32, nan where the height is unknown. gdaldem's grey value is 1 + 254 times this.

    Raises:
        InputError: as `gradient`; or a sun under the horizon.
    """
    if not 0 < sun_elevation <= math.pi / 2:
        raise InputError(f"the sun stands {math.degrees(sun_elevation):.1f} degrees high", where="hillshade",
                         mend="Give radians within 0 and pi / 2")
    east, north = (g * exaggeration for g in gradient(height, pixel_m))
    towards = (math.sin(sun_bearing) * math.cos(sun_elevation), math.cos(sun_bearing) * math.cos(sun_elevation))
    # the normal of z(x, y) is (-dz/dx, -dz/dy, 1)
    shade = (math.sin(sun_elevation) - east * towards[0] - north * towards[1]) / np.sqrt(1 + east**2 + north**2)
    return np.clip(shade, 0, 1).astype(np.float32)
