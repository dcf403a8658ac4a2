"""North-up GeoTIFF of a nadir raster, optionally cloud-optimised, through rasterio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsnb.errors import InputError
from rsnb.files import atomic_path
from rsnb.scenes import Georeference, SemanticClass


def write_geotiff(
    path: str | Path,
    raster: np.ndarray,  # [H, W] or [C, H, W], row 0 = north
    north_west: tuple[float, float],  # model x, y of the raster's outer corner, metres
    gsd_m: float,
    georeference: Georeference,
    *,
    nodata: float | None = None,
    classes: Sequence[SemanticClass] = (),
    cloud_optimised: bool = False,
) -> Path:
    """Write a raster with its place on Earth.

    Corner and pixel size are model metres; the origin of the georeference is added in float64. Pictures (float 0..1,
    three channels) become 8 bit; integer labels keep their type and get the class table as colour table and names in
    the tag CLASS_<id>; everything else is float32.

    Not-a-number becomes `nodata` where that is given. Raises InputError when the georeference has no CRS or one that
    GDAL does not know.
    """
    import rasterio
    from rasterio.crs import CRS
    from rasterio.errors import CRSError
    from rasterio.transform import from_origin

    if georeference.crs is None:
        raise InputError("the mesh has no coordinate reference system", where=path,
                         mend="Give one, for example crs='EPSG:3879'")
    try:
        crs = CRS.from_user_input(georeference.crs)
    except CRSError as error:
        raise InputError(f"unknown coordinate reference system {georeference.crs!r} ({error})", where=path,
                         mend="Use an EPSG code, for example EPSG:3879") from error
    data = _storable(raster)
    if nodata is not None and data.dtype.kind == "f":
        data = np.nan_to_num(data, nan=nodata)
    x, y = north_west[0] + georeference.origin[0], north_west[1] + georeference.origin[1]
    profile = dict(driver="COG" if cloud_optimised else "GTiff", width=data.shape[-1], height=data.shape[-2],
                   count=len(data), dtype=data.dtype, crs=crs, transform=from_origin(x, y, gsd_m, gsd_m),
                   nodata=nodata, compress="deflate")
    if not cloud_optimised and data.shape[-1] >= 256 and data.shape[-2] >= 256:
        profile |= dict(tiled=True, blockxsize=256, blockysize=256)
    with atomic_path(path) as temporary, rasterio.open(temporary, "w", **profile) as file:
        file.write(data)
        if classes:
            file.update_tags(**{f"CLASS_{c.id}": c.name for c in classes})
            if data.dtype == np.uint8 and len(data) == 1:
                file.write_colormap(1, {0: (0, 0, 0, 0)} | {c.id: (*c.rgb, 255) for c in classes})
    return Path(path)


def _storable(raster: np.ndarray) -> np.ndarray:
    """[C, H, W] in the type that the file will hold."""
    data = raster[None] if raster.ndim == 2 else raster
    if np.issubdtype(data.dtype, np.integer):
        return data.astype(np.uint8) if data.min() >= 0 and data.max() <= 255 else data.astype(np.int32)
    if len(data) == 3:
        return (np.clip(data, 0, 1) * 255 + 0.5).astype(np.uint8)
    return data.astype(np.float32)
