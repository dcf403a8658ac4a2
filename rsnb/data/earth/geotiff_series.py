"""Folders of dated rasters (GeoTIFF, COG, JPEG 2000) as one stack.

Understood are one file per date with one band or many, one file per date and band, and one file whose bands are dates.
The date stands in the file's name (2013-09-14, 20130914, 20130914T103021, MODIS's A2013257), in the name of its folder,
or in its tags; `SeriesOptions` gives it where that guesses wrong. Values are as stored unless the file or the options
say a scale: MODIS's NDVI wants scale=0.0001, Sentinel-2's reflectance scale=0.0001 and, from processing baseline 04.00
on, offset=-0.1 unless the catalogue took it off already.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsnb.data.audit import Audit, Finding, duplicate_findings
from rsnb.data.earth.bands import common_name
from rsnb.data.earth.series_layers import Layer, SeriesOptions, SeriesWarning, list_rasters, plan_layers
from rsnb.data.raster import open_raster, read_on_grid
from rsnb.data.raster_grid import RasterGrid, box_to_crs, require_memory, same_crs
from rsnb.data.scene_classification import clear_mask
from rsnb.errors import InputError
from rsnb.scenes import DatedStack


def read_series(source: str | Path | Sequence[str | Path], options: SeriesOptions | None = None) -> DatedStack:
    """Read dated rasters.

    Args:
        source: a folder (with the folders in it), a list of files, or one file whose bands are dates.
        options: names, dates, bands, scale, window, grid.

    Returns:
        Values as float32, nan where a file has no data or does not reach; clear is where every band has data and the
        scene classification, where there is one, says so. Files on other grids are resampled, with a `SeriesWarning`;
        files that cannot be read, have no date, or a date that lacks a wanted band are left out with one.

    Raises:
        InputError: no file, no date, two files of one date that cannot be told apart, a band that no date has, a window
            outside, files with a place beside files without one, or a stack larger than `SeriesOptions.max_bytes`.
    """
    options = options or SeriesOptions()
    layers, classes = plan_layers(list_rasters(source, options.pattern), options)
    bands = _bands(layers, options)
    dates = _complete_dates(layers, bands)
    layers = [layer for layer in layers if layer.date in dates]
    grid = _grid(layers, options)
    require_memory(len(dates), len(bands), grid, options.max_bytes, str(source) if isinstance(source, (str, Path))
                   else "read_series")
    return _stacked(dates, bands, layers, classes, grid, options)


def audit(root: Path) -> Audit:
    """Files, dates and bands; what cannot be read, has no date, lies on another grid or is there twice."""
    root = Path(root)
    findings, layers = [], []
    paths = list_rasters(root)
    for path in paths:
        name = path.relative_to(root).as_posix()
        try:
            found = plan_layers([path], SeriesOptions(), strict=True)
            layers += [layer for group in found for layer in group]
            with open_raster(path) as file:
                for _, window in file.block_windows(1):
                    file.read(window=window)
        except InputError as error:
            findings.append(Finding("missing" if "date" in error.what else "unreadable", name, error.what))
    grids = defaultdict(list)
    for layer in layers:
        grids[layer.grid].append(layer)
    for grid in sorted(grids, key=lambda g: -len(grids[g]))[1:]:
        first = grids[grid][0]
        findings.append(Finding("note", first.path.relative_to(root).as_posix(),
                                f"{len(grids[grid])} layers lie on another grid ({grid.width} x {grid.height} pixels)"))
    try:
        bands = {layer.band for layer in plan_layers(paths, SeriesOptions())[0]} if layers else set()
    except InputError as error:
        bands = {layer.band for layer in layers}
        findings.append(Finding("duplicate", Path(error.where).relative_to(root).as_posix(), error.what))
    counts = {"files": len(paths), "dates": len({layer.date for layer in layers}), "bands": len(bands)}
    return Audit("geotiff_series", root, counts, {}, tuple(findings + duplicate_findings(paths, root)))


def _bands(layers: list[Layer], options: SeriesOptions) -> tuple[str, ...]:
    there = defaultdict(set)
    for layer in layers:
        there[layer.band].add(layer.date)
    if options.bands is not None:
        wanted = tuple(common_name(b) for b in options.bands)
        missing = [b for b in wanted if b not in there]
        if missing:
            raise InputError(f"no file holds band {', '.join(missing)}", where="SeriesOptions.bands",
                             mend=f"Choose among {', '.join(there)}")
        return wanted
    n = len({layer.date for layer in layers})
    everywhere = tuple(band for band, dates in there.items() if len(dates) == n)
    if not everywhere:
        raise InputError(f"no band is there at every date; found are {', '.join(there)}", where="SeriesOptions.bands",
                         mend="Name the bands wanted, and a band_pattern if these are no bands")
    left = [band for band in there if band not in everywhere]
    if left:
        warnings.warn(f"bands that some dates lack are left out: {', '.join(left)}", SeriesWarning)
    return everywhere


def _complete_dates(layers: list[Layer], bands: tuple[str, ...]) -> list[np.datetime64]:
    there = defaultdict(set)
    for layer in layers:
        there[layer.date].add(layer.band)
    dates = [d for d in sorted(there) if set(bands) <= there[d]]
    left = [d for d in sorted(there) if d not in dates]
    if not dates:
        raise InputError(f"no date has all of {', '.join(bands)}", where="SeriesOptions.bands",
                         mend="Ask for fewer bands")
    if left:
        warnings.warn(f"dates that lack a wanted band are left out: {', '.join(map(str, left))}", SeriesWarning)
    return dates


def _grid(layers: list[Layer], options: SeriesOptions) -> RasterGrid:
    grid = layers[0].grid if isinstance(options.grid, str) else options.grid
    for layer in layers:
        if (layer.grid.crs is None) != (grid.crs is None):
            raise InputError("some files have a coordinate system and some have none", where=layer.path,
                             mend="Leave those without one out, or give them one (gdal_edit -a_srs)")
    if options.grid == "union" and grid.crs is not None:
        grid = _union(grid, {layer.grid for layer in layers})
    if options.bbox is not None:
        grid = grid.cropped(*grid.window(options.bbox, options.bbox_crs))
    return grid


def _union(grid: RasterGrid, others: set[RasterGrid]) -> RasterGrid:
    """The grid's own pixels, carried on until they cover all others."""
    a, b, c, d, e, f = grid.transform
    boxes = [o.bounds if same_crs(o.crs, grid.crs) else box_to_crs(o.bounds, o.crs, grid.crs) for o in others]
    corners = [(x - c, y - f) for box in boxes for x in box[::2] for y in box[1::2]]
    scale = a * e - b * d
    cols = [(e * x - b * y) / scale for x, y in corners]
    rows = [(a * y - d * x) / scale for x, y in corners]
    first = math.floor(min(rows) + 1e-6), math.floor(min(cols) + 1e-6)
    end = math.ceil(max(rows) - 1e-6), math.ceil(max(cols) - 1e-6)
    return grid.cropped((first[0], end[0]), (first[1], end[1]))


def _stacked(dates, bands, layers, classes, grid: RasterGrid, options: SeriesOptions) -> DatedStack:
    by_key = {(layer.date, layer.band): layer for layer in layers}
    of_date = {layer.date: layer for layer in classes}
    images = np.empty((len(dates), len(bands), grid.height, grid.width), np.float32)
    clear, kept = [], []
    for date in dates:
        try:
            image = images[len(kept)]
            for n, band in enumerate(bands):
                image[n] = _read(by_key[date, band], grid, options)
            seen = np.isfinite(image).all(axis=0)
            if date in of_date:
                layer = of_date[date]
                seen &= clear_mask(read_on_grid(layer.path, grid, [layer.index], "nearest", nodata=0)[0])
        except InputError as error:
            warnings.warn(f"{date} is left out of the series: {error}", SeriesWarning)
            continue
        clear.append(seen)
        kept.append(date)
    if not kept:
        raise InputError("no date can be read", where=layers[0].path, mend="Fetch the files again")
    moved = sorted({layer.path.name for layer in layers if layer.date in kept and not _fits(layer.grid, grid)})
    if moved:
        warnings.warn(f"{len(moved)} files were resampled onto the grid of the series: {', '.join(moved[:5])}",
                      SeriesWarning)
    return DatedStack(images[: len(kept)], np.array(kept, "datetime64[s]"), bands, np.stack(clear), grid.transform,
                      grid.crs, _frame_names([by_key[date, bands[0]].path for date in kept]))


def _frame_names(paths: list[Path]) -> tuple[str, ...]:
    """File names, with their folder's where the files of all dates are called alike."""
    stems = tuple(path.stem for path in paths)
    return stems if len(set(stems)) == len(stems) else tuple(f"{path.parent.name}/{path.stem}" for path in paths)


def _read(layer: Layer, grid: RasterGrid, options: SeriesOptions) -> np.ndarray:
    values = read_on_grid(layer.path, grid, [layer.index], options.resampling, options.nodata)[0]
    return values * np.float32(layer.scale) + np.float32(layer.offset)


def _fits(one: RasterGrid, grid: RasterGrid) -> bool:
    """Whether pixels of one grid are pixels of the other."""
    if one.crs is None or grid.crs is None:
        return one == grid
    a, b = np.array(one.transform), np.array(grid.transform)
    if not same_crs(one.crs, grid.crs) or not np.allclose(a[[0, 1, 3, 4]], b[[0, 1, 3, 4]], rtol=1e-6, atol=1e-12):
        return False
    shift = np.linalg.solve(a[[0, 1, 3, 4]].reshape(2, 2), (b - a)[[2, 5]])
    return bool(np.abs(shift - np.round(shift)).max() < 1e-3)
