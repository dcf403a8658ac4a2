"""Georeferenced rasters, read as they are or onto the grid of another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsnb.errors import InputError
from rsnb.files import require_file


def read_raster(path: str | Path, like: str | Path | None = None) -> np.ndarray:
    """A raster's bands as float64, row 0 = first row of the file, nan where it has no data.

    Args:
        path: GeoTIFF or anything rasterio opens.
        like: another raster; the first is then taken onto its grid by nearest neighbour, nan outside.

    Returns:
        [H, W] for one band, else [C, H, W].

    Raises:
        InputError: no such file, no raster, or `like` given and one of them has no coordinate system.
    """
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.warp import Resampling, reproject

    path = require_file(path, "raster")
    try:
        with rasterio.open(path) as file:
            bands = file.read(masked=True).astype(np.float64).filled(np.nan)
            crs, transform = file.crs, file.transform
        if like is None:
            return bands[0] if len(bands) == 1 else bands
        with rasterio.open(require_file(like, "raster")) as file:
            wanted = (file.height, file.width, file.crs, file.transform)
    except RasterioError as error:
        raise InputError(f"this is no raster that can be read ({error})", where=path) from None
    if crs is None or wanted[2] is None:
        raise InputError("a raster without a coordinate system cannot be laid over another", where=path)
    out = np.full((len(bands), *wanted[:2]), np.nan)
    reproject(bands, out, src_transform=transform, src_crs=crs, src_nodata=np.nan, dst_transform=wanted[3],
              dst_crs=wanted[2], dst_nodata=np.nan, resampling=Resampling.nearest)
    return out[0] if len(out) == 1 else out
