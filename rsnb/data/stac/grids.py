"""The grid of a stack: one coordinate system, one pixel size, aligned with the pixels that the items have."""

from __future__ import annotations

import math
from functools import lru_cache

from rsnb.data.raster_grid import Bbox, RasterGrid, same_crs
from rsnb.errors import InputError


def utm_crs(lon: float, lat: float) -> str:
    """EPSG code of the UTM zone of a place in degrees (WGS 84), without the exceptions of Norway and Svalbard."""
    zone = int((lon + 180) // 6) % 60 + 1
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"


@lru_cache(maxsize=256)
def is_projected(code: str) -> bool:
    """Whether a coordinate system is one in metres or feet; false for degrees, and for what is none."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_user_input(code).is_projected
    except CRSError:
        return False


def item_crs(item) -> str | None:
    """Projected coordinate system that an item states for its rasters, or None (also where it states degrees)."""
    stated = [item.properties, *(asset.extra_fields for asset in item.assets.values())]
    for fields in stated:
        code = stated_crs(fields)
        if code and is_projected(code):
            return code
    return None


def stated_crs(fields: dict) -> str | None:
    """Code of the projection extension among an item's properties or an asset's fields, of its version 1 or 2."""
    code = fields.get("proj:code") or (f"EPSG:{fields['proj:epsg']}" if fields.get("proj:epsg") else None)
    return code and str(code)


def aligned_grid(box: Bbox, crs: str, resolution: float, native: RasterGrid | None = None) -> RasterGrid:
    """Square pixels that cover a box.

    Args:
        box: in `crs`.
        crs: of the grid.
        resolution: side of a pixel in units of `crs`.
        native: where it has the same coordinate system, pixel corners fall together with its corner; else they are
            multiples of the resolution.

    Raises:
        InputError: a box in degrees that crosses the antimeridian.
    """
    if box[0] > box[2]:
        raise InputError("a grid in degrees cannot cross the antimeridian", where="crs",
                         mend="Use the UTM zone of the box")
    aligned = native is not None and native.crs is not None and same_crs(native.crs, crs)
    x0, y0 = (native.transform[2], native.transform[5]) if aligned else (0.0, 0.0)
    tiny = 1e-6  # a box on pixel corners must not gain a row by rounding
    first_col = math.floor((box[0] - x0) / resolution + tiny)
    first_row = math.floor((y0 - box[3]) / resolution + tiny)
    cols = max(math.ceil((box[2] - x0) / resolution - tiny) - first_col, 1)
    rows = max(math.ceil((y0 - box[1]) / resolution - tiny) - first_row, 1)
    transform = (resolution, 0.0, x0 + first_col * resolution, 0.0, -resolution, y0 - first_row * resolution)
    return RasterGrid(rows, cols, transform, crs)
