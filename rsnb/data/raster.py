"""Georeferenced rasters, read as they are, by window, or onto the grid of another one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.errors import InputError
from rsnb.files import require_file

Bbox = tuple[float, float, float, float]  # west, south, east, north in the units of its CRS
RESAMPLING = ("auto", "nearest", "bilinear", "cubic", "average")


@dataclass(frozen=True)
class RasterGrid:
    """Size and place of a raster.

    Attributes:
        height, width: pixels.
        transform: (a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f, of pixel corners.
        crs: anything rasterio understands ("EPSG:32633"), or None for a raster without a place.
    """

    height: int
    width: int
    transform: tuple[float, float, float, float, float, float]
    crs: str | None

    @property
    def bounds(self) -> Bbox:
        """West, south, east, north: the box around the four corners."""
        a, b, c, d, e, f = self.transform
        x = [c, c + a * self.width, c + b * self.height, c + a * self.width + b * self.height]
        y = [f, f + d * self.width, f + e * self.height, f + d * self.width + e * self.height]
        return min(x), min(y), max(x), max(y)

    @property
    def pixel_size_m(self) -> tuple[float, float]:
        """Width and height of the middle pixel on the ground, metres; of degrees they differ (anisotropic pixels).

        Raises:
            InputError: no CRS.
        """
        from pyproj import CRS, Geod

        if self.crs is None:
            raise InputError("pixel sizes in metres need a coordinate system", where="RasterGrid")
        crs = CRS.from_user_input(self.crs)
        a, b, c, d, e, f = self.transform
        if not crs.is_geographic:
            metres = crs.axis_info[0].unit_conversion_factor or 1.0
            return math.hypot(a, d) * metres, math.hypot(b, e) * metres
        x = c + a * self.width / 2 + b * self.height / 2
        y = f + d * self.width / 2 + e * self.height / 2
        geod = crs.get_geod() or Geod(ellps="WGS84")
        return geod.inv(x, y, x + a, y + d)[2], geod.inv(x, y, x + b, y + e)[2]

    def cropped(self, rows: tuple[int, int], cols: tuple[int, int]) -> RasterGrid:
        """The grid of a window: rows[0] to rows[1] (excluded), and columns likewise."""
        a, b, c, d, e, f = self.transform
        corner = (a * cols[0] + b * rows[0] + c, d * cols[0] + e * rows[0] + f)
        return RasterGrid(rows[1] - rows[0], cols[1] - cols[0], (a, b, corner[0], d, e, corner[1]), self.crs)

    def scaled(self, height: int, width: int) -> RasterGrid:
        """Another number of pixels over the same footprint (half-pixel right: corners stay, centres move)."""
        a, b, c, d, e, f = self.transform
        along, down = self.width / width, self.height / height
        return RasterGrid(height, width, (a * along, b * down, c, d * along, e * down, f), self.crs)

    def window(self, bbox: Bbox, crs: str | None = None) -> tuple[tuple[int, int], tuple[int, int]]:
        """Whole pixels that cover a box, cut at the raster's edges: (first row, end row), (first column, end column).

        Args:
            bbox: west, south, east, north.
            crs: of the box; None = the raster's own.

        Raises:
            InputError: the box is turned around, has no area, or lies outside.
        """
        bbox = checked_box(bbox)
        if crs is not None and self.crs is not None and not same_crs(crs, self.crs):
            bbox = checked_box(_not_across(box_to_crs(bbox, crs, self.crs), self.bounds))
        a, b, c, d, e, f = self.transform
        scale = a * e - b * d
        corners = [(x - c, y - f) for x in bbox[::2] for y in bbox[1::2]]
        cols = [(e * x - b * y) / scale for x, y in corners]
        rows = [(a * y - d * x) / scale for x, y in corners]
        tiny = 1e-6  # a box that was printed and read again must not gain a row
        first = [max(0, math.floor(min(v) + tiny)) for v in (rows, cols)]
        end = [min(n, math.ceil(max(v) - tiny)) for v, n in ((rows, self.height), (cols, self.width))]
        if end[0] <= first[0] or end[1] <= first[1]:
            raise InputError(f"the box {_printed(bbox)} lies outside the raster's {_printed(self.bounds)}",
                             where="bbox", mend="Check the order west, south, east, north, and the CRS of the box")
        return (first[0], end[0]), (first[1], end[1])


def checked_box(bbox: Sequence[float]) -> Bbox:
    """Four finite numbers with west < east and south < north, or an InputError that says which are turned."""
    try:
        west, south, east, north = (float(v) for v in bbox)
    except (TypeError, ValueError):
        raise InputError(f"{bbox!r} are not four numbers", where="bbox", mend="Give west, south, east, north") from None
    if not all(map(math.isfinite, (west, south, east, north))):
        raise InputError("a number of the box is not finite", where="bbox", mend="Give west, south, east, north")
    for low, high, what in ((west, east, "west and east"), (south, north, "south and north")):
        if low >= high:
            raise InputError(f"{what} are {low:g} and {high:g}: they must rise", where="bbox",
                             mend="The order is west, south, east, north")
    return west, south, east, north


def same_crs(one: str, other: str) -> bool:
    """Whether two CRS texts mean the same system; InputError for one that names none."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return one == other or CRS.from_user_input(one) == CRS.from_user_input(other)
    except CRSError as error:
        raise InputError(f"{one!r} and {other!r} are not both coordinate systems ({error})", where="crs",
                         mend="Use an EPSG code, for example EPSG:4326") from None


def box_to_crs(bbox: Bbox, source: str, target: str) -> Bbox:
    """The box in another system that holds all of a box (its edges are followed, not its corners alone).

    In degrees a box over the antimeridian comes out with west > east.
    """
    from rasterio.errors import CRSError
    from rasterio.warp import transform_bounds

    try:
        return tuple(transform_bounds(source, target, *bbox, densify_pts=21))
    except CRSError as error:
        raise InputError(f"the box cannot be taken from {source} to {target} ({error})", where="bbox",
                         mend="Use an EPSG code, for example EPSG:4326") from None


def _not_across(box: Bbox, bounds: Bbox) -> Bbox:
    """Of a box over the antimeridian the side on which a raster of these bounds lies; all longitudes for both sides."""
    west, south, east, north = box
    if west <= east:
        return box
    return (-180.0 if bounds[0] < east else west), south, (180.0 if bounds[2] > west else east), north


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
    values = file.read(indexes, window=window, masked=True).astype(kind).filled(np.nan)
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


def _printed(bbox: Bbox) -> str:
    return ", ".join(f"{v:.6g}" for v in bbox)


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
