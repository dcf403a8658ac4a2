"""Windows of rasters by a box or by outlines: type, CRS and transform stay, nothing is resampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from rsnb.data.raster import grid_of, open_raster
from rsnb.data.raster_grid import Bbox, RasterGrid
from rsnb.data.raster_tools.vectors import Polygons, polygons_of, read_polygons
from rsnb.errors import InputError
from rsnb.files import atomic_path
from rsnb.scenes import DatedStack

Area = str | Path | Mapping | Polygons


def crop_raster(source: str | Path, target: str | Path, *, bbox: Bbox | None = None, bbox_crs: str | None = None,
                area: Area | None = None, area_crs: str | None = None, all_touched: bool = False) -> Path:
    """Write the part of a raster inside a box or inside outlines as a GeoTIFF.

    Pixel type, CRS, pixel size, nodata, scales, band names, colour table and tags stay; the transform moves by whole
    pixels. Pixels of the window outside the outlines become nodata; where the file has none they keep their numbers
    under a mask inside the GeoTIFF (readers that honour masks leave them out), since any number could be a value.

    Args:
        source: anything rasterio opens.
        target: `.tif`; written whole or not at all.
        bbox: west, south, east, north, widened to whole pixels and cut at the raster's edges.
        bbox_crs: of the box; None = the raster's.
        area: instead of a box: a vector file (GeoJSON, GeoPackage, shapefile, zipped shapefile), a GeoJSON dictionary,
            or `Polygons`. Taken to the raster's CRS.
        area_crs: of the outlines, where their file does not say.
        all_touched: keep every pixel that an outline touches, not only those whose centre it holds.

    Raises:
        InputError: both or none of box and area, an area outside the raster, a raster without a CRS, no vector file.
    """
    if (bbox is None) == (area is None):
        raise InputError("give either bbox or area", where="crop_raster")
    with open_raster(source) as file:
        grid = grid_of(file)
        if grid.crs is None:
            raise InputError("the raster has no coordinate system, so nothing says where the box lies", where=source)
        outlines = None if area is None else _outlines(area, area_crs).to_crs(grid.crs)
        rows, cols = grid.window(*((bbox, bbox_crs) if outlines is None else (outlines.bounds, None)))
        part = grid.cropped(rows, cols)
        inside = None if outlines is None else _inside(outlines, part, all_touched)
        if inside is not None and not inside.any():
            raise InputError("the outlines hold no pixel's centre", where=area if isinstance(area, (str, Path)) else
                             "area", mend="Use all_touched, or a finer raster")
        _write(file, Path(target), rows, cols, part, inside)
    return Path(target)


def crop_stack(stack: DatedStack, *, bbox: Bbox | None = None, bbox_crs: str | None = None, area: Area | None = None,
               area_crs: str | None = None, all_touched: bool = False) -> DatedStack:
    """The part of a stack inside a box or inside outlines; outside the outlines nan and not clear.

    Arguments and errors as `crop_raster`; without a CRS a box is in the units of the stack's transform.
    """
    if (bbox is None) == (area is None):
        raise InputError("give either bbox or area", where="crop_stack")
    grid = RasterGrid(*stack.images.shape[-2:], stack.transform, stack.crs)
    outlines = None
    if area is not None:
        if stack.crs is None:
            raise InputError("the stack has no coordinate system", where="crop_stack", mend="Crop it by a bbox")
        outlines = _outlines(area, area_crs).to_crs(stack.crs)
    rows, cols = grid.window(*((bbox, bbox_crs) if outlines is None else (outlines.bounds, None)))
    part = grid.cropped(rows, cols)
    images = stack.images[..., slice(*rows), slice(*cols)].copy()
    clear = stack.clear[:, slice(*rows), slice(*cols)].copy()
    if outlines is not None:
        inside = _inside(outlines, part, all_touched)
        images[..., ~inside] = np.nan
        clear &= inside
    return replace(stack, images=images, clear=clear, transform=part.transform)


def _outlines(area: Area, crs: str | None) -> Polygons:
    if isinstance(area, Polygons):
        return area
    if isinstance(area, Mapping):
        return polygons_of(area, crs or "EPSG:4326")
    return read_polygons(area, crs)


def _inside(outlines: Polygons, part: RasterGrid, all_touched: bool) -> np.ndarray:
    from rasterio.features import geometry_mask
    from rasterio.transform import Affine

    return geometry_mask(outlines.shapes, (part.height, part.width), Affine(*part.transform), all_touched=all_touched,
                         invert=True)


def _write(file, target: Path, rows, cols, part: RasterGrid, inside: np.ndarray | None) -> None:
    import rasterio
    from rasterio.enums import MaskFlags
    from rasterio.transform import Affine
    from rasterio.windows import Window

    if target.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(f"cannot write a {target.suffix or 'nameless'} raster", where=target, mend="Use .tif")
    window = Window(cols[0], rows[0], part.width, part.height)
    values = file.read(window=window)
    own_mask = MaskFlags.per_dataset in file.mask_flag_enums[0]
    mask = file.dataset_mask(window=window) > 0 if own_mask else None
    if inside is not None and file.nodata is not None:
        values[:, ~inside] = file.nodata
    elif inside is not None:
        mask = inside if mask is None else mask & inside
    profile = dict(driver="GTiff", height=part.height, width=part.width, count=file.count, dtype=file.dtypes[0],
                   crs=file.crs, transform=Affine(*part.transform), nodata=file.nodata, compress="deflate",
                   bigtiff="if_safer")
    if min(part.height, part.width) >= 256:
        profile |= dict(tiled=True, blockxsize=256, blockysize=256)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), atomic_path(target) as temporary:
        with rasterio.open(temporary, "w", **profile) as out:
            out.write(values)
            out.update_tags(**{k: v for k, v in file.tags().items() if k != "AREA_OR_POINT"})
            out.descriptions, out.scales, out.offsets = file.descriptions, file.scales, file.offsets
            if file.colorinterp[0].name == "palette":
                out.write_colormap(1, file.colormap(1))
            if mask is not None:
                out.write_mask(mask)
