"""Georeferenced rasters, read as they are, by window, or onto the grid of another one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rsnb.data.raster_grid import RasterGrid, same_crs
from rsnb.errors import InputError
from rsnb.files import require_file

RESAMPLING = ("auto", "nearest", "bilinear", "cubic", "average")


@contextmanager
def open_raster(path: str | Path) -> Iterator:
    """A rasterio data set; whatever is no raster is an InputError with the file's name.

    `path` may be one of GDAL's own (/vsizip/..., http://...); those are not looked for on disk.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    if not str(path).startswith(("/vsi", "http://", "https://", "s3://")):
        path = require_file(path, "raster")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                yield file
    except (RasterioError, UnicodeDecodeError) as error:
        raise InputError(f"this is no raster that can be read ({error})", where=path,
                         mend="Check that the file is whole; fetch it again if it came from a download") from None


def grid_of(file) -> RasterGrid:
    """Grid of an open rasterio data set."""
    from affine import Affine

    crs = None if file.crs is None or file.transform == Affine.identity() else file.crs.to_string()
    return RasterGrid(file.height, file.width, tuple(float(v) for v in file.transform[:6]), crs)


def read_grid(path: str | Path) -> RasterGrid:
    """Size and place of a raster file; the CRS is None also where the file has one but no transform."""
    with open_raster(path) as file:
        return grid_of(file)


def read_on_grid(path: str | Path, grid: RasterGrid | None = None, indexes: Sequence[int] | None = None,
                 resampling: str = "auto", nodata: float | None = None) -> np.ndarray:
    """Bands of a raster on a given grid, [B, H, W] float32; `path` is anything rasterio opens, else as `file_on_grid`.

    Raises:
        InputError: no raster, no such band, or a grid that cannot be compared (no CRS on one side).
    """
    with open_raster(path) as file:
        return file_on_grid(file, grid, indexes, resampling, nodata).astype(np.float32, copy=False)


def file_on_grid(file, grid: RasterGrid | None = None, indexes: Sequence[int] | None = None,
                 resampling: str = "auto", nodata: float | None = None) -> np.ndarray:
    """Bands of an open raster on a given grid; pixels are only copied where the grids fit each other.

    Args:
        file: of rasterio.
        grid: the grid wanted; None = the file's own. A window of the file's grid reads that window alone.
        indexes: bands, from 1; None = all.
        resampling: "nearest" for classes; "auto" is "average" onto pixels 1.5 times as large or more, else "bilinear".
        nodata: a value that means no data although the file does not say so (0 in Sentinel-2's JPEG 2000).

    Returns:
        [B, H, W] float32 (float64 where the file's numbers want that), nan where the file has no data or does not
        reach.

    Raises:
        InputError: no such band, or a grid that cannot be compared (no CRS on one side).
    """
    where = str(file.name).split("?", 1)[0]  # what follows may be a signature
    if resampling not in RESAMPLING:
        raise InputError(f"resampling = {resampling!r}", where=where, mend=f"One of {', '.join(RESAMPLING)}")
    own = grid_of(file)
    indexes = list(range(1, file.count + 1)) if indexes is None else list(indexes)
    if max(indexes) > file.count or min(indexes) < 1:
        raise InputError(f"band {max(indexes)} is asked for, but the file has {file.count}", where=where)
    if grid is None or grid == own:
        return _masked_read(file, indexes, (0, own.height), (0, own.width), nodata)
    if (grid.crs is None) != (own.crs is None):
        raise InputError("a raster without a coordinate system cannot be laid over one that has one", where=where,
                         mend="A side-car file (.aux.xml, .tfw) may be missing")
    if grid.crs is None:
        raise InputError(f"{own.width} x {own.height} pixels without a coordinate system, but {grid.width} x "
                         f"{grid.height} are wanted", where=where, mend="Bring the files to one size first")
    offset = _whole_offset(own, grid)
    if offset is not None:
        return _copied(file, indexes, own, grid, offset, nodata)
    return _warped(file, indexes, own, grid, resampling, nodata)


def _masked_read(file, indexes, rows, cols, nodata: float | None) -> np.ndarray:
    from rasterio.windows import Window

    window = Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0])
    kind = np.result_type(np.float32, *(file.dtypes[i - 1] for i in indexes))
    read = file.read(indexes, window=window, masked=True)
    values = read.data.astype(kind, copy=False)  # `filled` would copy a whole tile once more
    values[np.ma.getmaskarray(read)] = np.nan
    if nodata is not None:
        values[values == nodata] = np.nan
    return values


def _whole_offset(own: RasterGrid, grid: RasterGrid) -> tuple[int, int] | None:
    """(row, column) of the wanted grid's corner in the file, where both have the same pixels."""
    steps = np.array(own.transform)[[0, 1, 3, 4]], np.array(grid.transform)[[0, 1, 3, 4]]
    size = np.abs(steps[0]).max()
    # over the whole width the two grids must not drift apart by more than a thousandth of a pixel
    drift = np.abs(steps[0] - steps[1]).max() * max(grid.width, grid.height)
    if drift > 1e-3 * size or not same_crs(own.crs, grid.crs):
        return None
    a, b, c, d, e, f = own.transform
    x, y = grid.transform[2] - c, grid.transform[5] - f
    scale = a * e - b * d
    col, row = (e * x - b * y) / scale, (a * y - d * x) / scale
    if max(abs(col - round(col)), abs(row - round(row))) > 1e-3:
        return None
    return round(row), round(col)


def _copied(file, indexes, own: RasterGrid, grid: RasterGrid, offset: tuple[int, int], nodata) -> np.ndarray:
    rows = max(0, offset[0]), min(own.height, offset[0] + grid.height)
    cols = max(0, offset[1]), min(own.width, offset[1] + grid.width)
    if rows[1] <= rows[0] or cols[1] <= cols[0]:
        return np.full((len(indexes), grid.height, grid.width), np.nan, np.float32)
    values = _masked_read(file, indexes, rows, cols, nodata)
    if values.shape[1:] == (grid.height, grid.width):
        return values
    out = np.full((len(indexes), grid.height, grid.width), np.nan, values.dtype)
    out[:, rows[0] - offset[0] : rows[1] - offset[0], cols[0] - offset[1] : cols[1] - offset[1]] = values
    return out


def _warped(file, indexes, own: RasterGrid, grid: RasterGrid, resampling: str, nodata) -> np.ndarray:
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    try:
        rows, cols = own.window(grid.bounds, grid.crs)
    except InputError:  # the file does not reach here
        return np.full((len(indexes), grid.height, grid.width), np.nan, np.float32)
    pad = 4 + math.ceil(2 * max(_relative_size(own, grid), 1.0))  # the widest kernel, cubic, reaches two wanted pixels
    rows = max(0, rows[0] - pad), min(own.height, rows[1] + pad)
    cols = max(0, cols[0] - pad), min(own.width, cols[1] + pad)
    if resampling == "auto":
        resampling = "average" if _relative_size(own, grid) >= 1.5 else "bilinear"
    part = own.cropped(rows, cols)
    values = _masked_read(file, indexes, rows, cols, nodata)
    out = np.full((len(indexes), grid.height, grid.width), np.nan, values.dtype)
    reproject(values, out, src_transform=Affine(*part.transform), src_crs=own.crs,
              src_nodata=np.nan, dst_transform=Affine(*grid.transform), dst_crs=grid.crs, dst_nodata=np.nan,
              resampling=Resampling[resampling])
    return out


def _relative_size(own: RasterGrid, grid: RasterGrid) -> float:
    """Side of a wanted pixel in pixels of the file."""
    if same_crs(own.crs, grid.crs):
        areas = [abs(g.transform[0] * g.transform[4] - g.transform[1] * g.transform[3]) for g in (own, grid)]
    else:
        areas = [math.prod(g.pixel_size_m) for g in (own, grid)]
    return math.sqrt(areas[1] / areas[0])


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
    grid = None if like is None else read_grid(like)
    if grid is not None and grid.crs is None:
        raise InputError("a raster without a coordinate system cannot be laid over another", where=like)
    with open_raster(path) as file:
        bands = file_on_grid(file, grid, resampling="nearest").astype(np.float64, copy=False)
    return bands[0] if len(bands) == 1 else bands
