"""Windows of rasters over http or from disk: only the blocks that a window touches are fetched.

A cloud-optimized GeoTIFF (COG) keeps its index in front, so a window costs one request for the size, one or two for the
index, and one a run of neighbouring blocks. GDAL is told not to look for side-car files, which would be a dozen more
requests; where a file then has no georeference, it is opened again with them (`.aux.xml`, world files). JP2 has no such
index: GDAL reads it by tiles too, with more requests.
"""

from __future__ import annotations

import math
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np

from rsnb.data.raster import file_on_grid, grid_of
from rsnb.data.raster_grid import Bbox, RasterGrid, checked_box, same_crs
from rsnb.data.stac.access import Access, Opened
from rsnb.errors import InputError
from rsnb.files import require_file

# What may be asked for beside a file when its georeference is looked for: the likely one first, world files after.
RASTERS = ".tif,.tiff,.jp2,.j2k,.vrt,.png"
SIDE_CARS = (f"{RASTERS},.xml", f"{RASTERS},.xml,.tfw,.tifw,.tiffw,.j2w,.jp2w,.wld,.prj")
# GDAL remembers for as long as the process lives that a URL failed; these are asked again without its memory.
_failed: set[str] = set()


@dataclass(frozen=True)
class WindowRead:
    """Pixels of one band.

    Attributes:
        values: [H, W], numbers and type as in the file.
        valid: [H, W] bool, false where the file has no data or does not reach.
        grid: place of the pixels.
        nodata: of the file, or None.
        lossy: the file is compressed with loss: class numbers in it are not to be trusted at edges.
    """

    values: np.ndarray
    valid: np.ndarray
    grid: RasterGrid
    nodata: float | None
    lossy: bool


@contextmanager
def open_href(href: str, access: Access | None = None) -> Iterator:
    """An open rasterio data set for an href: signed, with a token, georeferenced by side-car files if need be.

    Args:
        href: http, https, s3, or a path.
        access: how to sign and log in; None for a fresh one.

    Raises:
        InputError: it does not answer, is no raster, is refused; named without query, so without signature.
    """
    import rasterio
    from rasterio.errors import RasterioError

    opened = (access or Access()).open(href)
    if opened.is_local and not opened.label.startswith("/vsi"):
        require_file(opened.target.reveal(), "raster")
    with ExitStack() as stack:
        stack.enter_context(no_georeference_warnings())
        try:
            for side_cars in SIDE_CARS[-1:] if opened.is_local else ("", *SIDE_CARS):
                stack.enter_context(rasterio.Env(**_options(opened, side_cars)))
                file = rasterio.open(opened.target.reveal())
                if _has_place(file) or side_cars == SIDE_CARS[-1]:
                    break
                file.close()
            stack.enter_context(file)
            _failed.discard(opened.label)
            yield file
        except RasterioError as error:
            _failed.add(opened.label)
            raise _explain(error, opened) from None


def read_window(href: str, bbox: Bbox | None = None, crs: str | None = None,
                pixels: tuple[int, int, int, int] | None = None, band: int = 1,
                access: Access | None = None) -> WindowRead:
    """A part of a raster, pixel for pixel.

    Args:
        href: http, https, s3, or a path; COG, JP2, or anything else that rasterio opens.
        bbox: west, south, east, north; all pixels that it touches, cut at the raster's edge.
        crs: of the box; None: the raster's own.
        pixels: instead of a box: first row, first column, rows, columns; beyond the edge there is no data.
        band: from 1.
        access: how to sign and log in.

    Raises:
        InputError: a box that lies outside or is turned around, no such band, or a file that cannot be read.
    """
    if bbox is not None and pixels is not None:
        raise InputError("both a box and pixels are given", where="read_window", mend="Leave one of them out")
    with open_href(href, access) as file:
        own = grid_of(file)
        _require_band(file, band, href)
        if pixels is not None:
            row, col, height, width = pixels
            if height < 1 or width < 1:
                raise InputError(f"a window of {height} x {width} pixels is none", where="pixels")
            return _padded(file, own, band, (row, row + height), (col, col + width))
        if bbox is not None:
            checked_box(bbox)
            if crs is not None and own.crs is None:
                raise InputError("the raster has no coordinate system", where=_bare(href), mend="Ask for pixels")
        rows, cols = ((0, own.height), (0, own.width)) if bbox is None else own.window(bbox, crs)
        return _padded(file, own, band, rows, cols)


def read_onto(href: str, grid: RasterGrid, band: int = 1, resampling: str = "bilinear",
              access: Access | None = None, nodata: float | None = None) -> WindowRead:
    """A raster on another grid; where it is coarser, an overview of the file is read instead of its finest pixels.

    Args:
        href: as for `read_window`.
        grid: wanted.
        band: from 1.
        resampling: as for `raster.file_on_grid`.
        access: how to sign and log in.
        nodata: number that means nothing, where the file itself names none.

    Returns:
        `values` in the file's type for "nearest", else float32. Nothing valid where the file does not reach the grid.

    Raises:
        InputError: the raster has no place on Earth, or cannot be read.
    """
    import rasterio

    with open_href(href, access) as file:
        _require_band(file, band, href)
        own = grid_of(file)
        if own.crs is None or grid.crs is None:
            mend = "Its side-car file (.aux.xml, .tfw) may be missing"
            if file.gcps[0]:
                mend = "It is placed by control points alone: take a geocoded product, such as sentinel-1-rtc"
            raise InputError("a raster without a coordinate system cannot be laid on a grid", where=_bare(href),
                             mend=mend)
        level = _overview(file, band, own, grid)
        smaller = nullcontext(file) if level is None else rasterio.open(file.name, overview_level=level)
        with smaller as source:
            values = file_on_grid(source, grid, [band], resampling, None if file.nodata is not None else nodata)[0]
        valid = np.isfinite(values)
        if resampling == "nearest":
            values = np.where(valid, values, 0).astype(file.dtypes[band - 1])
        return WindowRead(values, valid, grid, file.nodata, _is_lossy(file))


@contextmanager
def no_georeference_warnings() -> Iterator[None]:
    """Silence rasterio about files whose place lies beside them.

    Python's warning filters belong to the whole process: a worker thread leaves them to the thread that started it.
    """
    from rasterio.errors import NotGeoreferencedWarning

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _options(opened: Opened, side_cars: str) -> dict:
    """GDAL's configuration for one href (gdal.org: Configuration options, /vsicurl/); `side_cars`: suffixes, or ""."""
    options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
               "GDAL_HTTP_MULTIPLEX": "YES", "GDAL_HTTP_MAX_RETRY": "3", "GDAL_HTTP_RETRY_DELAY": "0.5",
               "GDAL_HTTP_CONNECTTIMEOUT": "10", "GDAL_HTTP_TIMEOUT": "60", "VSI_CACHE": "TRUE",
               "GDAL_INGESTED_BYTES_AT_OPEN": "32768"}
    if side_cars:
        options["GDAL_DISABLE_READDIR_ON_OPEN"] = "TRUE"
        target = opened.target.reveal()
        if not opened.is_local and "?" not in target and target.lower().endswith(tuple(RASTERS.split(","))):
            options["CPL_VSIL_CURL_ALLOWED_EXTENSIONS"] = side_cars
    if opened.label in _failed:
        options["CPL_VSIL_CURL_NON_CACHED"] = "/vsicurl/"
    if opened.headers:
        options["GDAL_HTTP_HEADERS"] = "\r\n".join(f"{k}: {v.reveal()}" for k, v in opened.headers.items())
    return options


def _has_place(file) -> bool:
    return (file.crs is not None and not file.transform.is_identity) or bool(file.gcps[0]) or bool(file.rpcs)


def _require_band(file, band: int, href: str) -> None:
    if not 1 <= band <= file.count:
        raise InputError(f"band {band} is asked for, but the file has {file.count}", where=_bare(href))


def _padded(file, own: RasterGrid, band: int, rows: tuple[int, int], cols: tuple[int, int]) -> WindowRead:
    from rasterio.windows import Window

    shape = rows[1] - rows[0], cols[1] - cols[0]
    fill = 0 if file.nodata is None or math.isnan(file.nodata) else file.nodata
    values, valid = np.full(shape, fill, dtype=file.dtypes[band - 1]), np.zeros(shape, dtype=bool)
    inner_rows = max(rows[0], 0), min(rows[1], own.height)
    inner_cols = max(cols[0], 0), min(cols[1], own.width)
    if inner_rows[1] > inner_rows[0] and inner_cols[1] > inner_cols[0]:
        window = Window.from_slices(inner_rows, inner_cols)
        part = slice(inner_rows[0] - rows[0], inner_rows[1] - rows[0]), slice(inner_cols[0] - cols[0],
                                                                             inner_cols[1] - cols[0])
        read = file.read(band, window=window, masked=True)
        values[part], valid[part] = read.data, ~np.ma.getmaskarray(read)
    return WindowRead(values, valid, own.cropped(rows, cols), file.nodata, _is_lossy(file))


def _overview(file, band: int, own: RasterGrid, grid: RasterGrid) -> int | None:
    """Index of the coarsest overview that is still as fine as the grid, or None for the file itself."""
    if same_crs(own.crs, grid.crs):
        sizes = [math.sqrt(abs(g.transform[0] * g.transform[4] - g.transform[1] * g.transform[3])) for g in (own, grid)]
    else:
        sizes = [math.sqrt(math.prod(g.pixel_size_m)) for g in (own, grid)]
    fitting = [i for i, factor in enumerate(file.overviews(band)) if factor * sizes[0] <= sizes[1] * 1.001]
    return fitting[-1] if fitting else None


def _is_lossy(file) -> bool:
    structure = file.tags(ns="IMAGE_STRUCTURE")
    return structure.get("COMPRESSION_REVERSIBILITY", "").upper().startswith("LOSSY") or (
        structure.get("COMPRESSION", "").upper() in ("JPEG", "LERC", "JXL"))


def _explain(error: Exception, opened: Opened) -> InputError:
    text = " ".join(str(error).replace(opened.target.reveal(), opened.label).split())
    text = re.sub(r"\?\S*", "", text)[-200:]  # whatever stands behind a question mark may be a signature
    code = re.search(r"(?:HTTP response code:?|error code)[^0-9]*(\d{3})", str(error))
    mend = {"401": "This asset wants a login", "403": "This asset wants a login or a signature; see what the catalogue "
            "needs", "404": "The catalogue names a file that is gone"}.get(code.group(1) if code else "")
    if "Range downloading not supported" in str(error):
        mend = "The server cannot send parts of files: download the asset first"
    return InputError(f"this raster cannot be read ({text})", where=opened.label,
                      mend=mend or "Check the network, or that the file is whole")


def _bare(href: str) -> str:
    return href.split("?", 1)[0]
