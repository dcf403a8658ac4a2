"""Items of a search as one `DatedStack`: one grid, reflectance, clear masks, one frame a day."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from rsnb.data.raster import grid_of
from rsnb.data.raster_grid import Bbox, RasterGrid, box_to_crs, require_memory
from rsnb.data.scene_classification import UNCLEAR, clear_from_qa_pixel, clear_mask
from rsnb.data.stac.access import Access
from rsnb.data.stac.area import parse_bbox
from rsnb.data.stac.assets import asset_of
from rsnb.data.stac.grids import aligned_grid, is_projected, item_crs, utm_crs
from rsnb.data.stac.matching import item_interval
from rsnb.data.stac.reflectance import Scaling, baseline_of, scaling_of
from rsnb.data.stac.windows import no_georeference_warnings, open_href, read_onto
from rsnb.errors import InputError
from rsnb.scenes import DatedStack


@dataclass(frozen=True)
class StackOptions:
    """Which part of the items, and on which grid.

    Attributes:
        bbox: west, south, east, north in `bbox_crs`; in degrees west > east crosses the antimeridian. None: the whole
            raster of the first item that can be opened.
        bbox_crs: of the box.
        crs: of the stack; None: that of the items, or the UTM zone where they are in degrees.
        resolution: side of a pixel in units of `crs`; None: that of the first item's first band.
        group: "solar_day" makes one frame of what was taken on one day by the sun's clock, "item" one frame an item.
        resampling: of bands; classes always take the nearest.
        unclear: classes of the scene classification that are masked.
        grow: pixels of the stack by which masked areas are grown.
        max_bytes: of the result; more is refused before anything is read.
        workers: items read at a time.
        progress: show a bar, one step an item.
    """

    bbox: Bbox | None = None
    bbox_crs: str = "EPSG:4326"
    crs: str | None = None
    resolution: float | None = None
    group: Literal["solar_day", "item"] = "solar_day"
    resampling: str = "bilinear"
    unclear: tuple[int, ...] = UNCLEAR
    grow: int = 0
    max_bytes: int = 2_000_000_000
    workers: int = 4
    progress: bool = False


@dataclass(frozen=True)
class StacStack(DatedStack):
    """A `DatedStack` that also tells how it came about.

    Attributes:
        classes: [T, H, W] uint8 scene classes (SCL), 0 where nothing is known; None without a classification.
        notes: items left out and why, masks that are missing, which offset rule was used.
    """

    classes: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def subset(self, index) -> StacStack:
        """The dates of an index array or boolean mask, in date order."""
        index = np.sort(np.arange(len(self))[index] if np.asarray(index).dtype == bool else np.atleast_1d(index))
        return replace(self, images=self.images[index], dates=self.dates[index], clear=self.clear[index],
                       names=tuple(self.names[i] for i in index),
                       classes=None if self.classes is None else self.classes[index])


@dataclass(frozen=True)
class _Frame:
    """One item on the grid."""

    item: object
    moment: dt.datetime
    bands: np.ndarray  # [B, H, W] float32, nan without data
    clear: np.ndarray  # [H, W] bool
    classes: np.ndarray | None  # [H, W] uint8
    notes: tuple[str, ...] = ()
    rules: tuple[Scaling, ...] = ()  # one a band


def read_stack(items: Sequence, bands: Sequence[str], options: StackOptions | None = None,
               access: Access | None = None) -> StacStack:
    """Read bands of items onto one grid, in date order.

    An item that cannot be read, lacks a band or a date, or has no data there is noted and left out; the rest goes on.

    Args:
        items: `pystac.Item`s, in any order.
        bands: common names such as ("red", "green", "blue", "nir").
        options: part and grid.
        access: how to sign and log in; None for a fresh one.

    Returns:
        `images` [T, B, H, W] float32: reflectance by the rules of `reflectance.scaling_of`, nan without data.
        `clear` [T, H, W]: by SCL or QA_PIXEL where the item has one, else true wherever there is data.

    Raises:
        InputError: no item could be read (with the reason of the first), an empty list, a bad box, or a stack larger
            than `max_bytes`.
    """
    from tqdm.auto import tqdm

    options, access, bands = options or StackOptions(), access or Access(), tuple(bands)
    if not items or not bands:
        raise InputError("there is nothing to read", where="items" if not items else "bands",
                         mend="Search with other dates, area or cloud cover" if not items else 'Such as ("red", "nir")')
    notes: list[str] = []
    dated = [(start, item) for item in items if (start := item_interval(item)[0]) is not None]
    notes += [f"{item.id} has no date and was left out" for item in items if item_interval(item)[0] is None]
    if not dated:
        raise InputError("no item has a date", where="items", mend="A time series needs them")
    dated.sort(key=lambda pair: (pair[0], pair[1].id))
    grid = stack_grid([item for _, item in dated], bands, options, access)
    require_memory(len(dated), len(bands), grid, options.max_bytes, "read_stack")
    read = partial(_read_item, bands=bands, grid=grid, options=options, access=access)
    with no_georeference_warnings(), ThreadPoolExecutor(max(options.workers, 1)) as pool:
        frames = list(tqdm(pool.map(_or_why(read), dated), "items", len(dated), disable=not options.progress))
    good = [frame for frame in frames if not isinstance(frame, str)]
    notes += [frame for frame in frames if isinstance(frame, str)]
    notes += _rules_used(good) + [text for frame in good for text in frame.notes]
    if not good:
        raise InputError(f"none of {len(items)} items could be read: {notes[0]}", where="read_stack",
                         mend="Check the box, the bands, and what the catalogue needs")
    groups = _grouped(good, options.group, _longitude(grid))
    merged = [_mosaic(group) for group in groups]
    classes = [m.classes for m in merged]
    return StacStack(
        images=np.stack([m.bands for m in merged]), clear=np.stack([m.clear for m in merged]), bands=bands,
        dates=np.array([m.moment.replace(tzinfo=None) for m in merged], dtype="datetime64[s]"),
        transform=grid.transform, crs=grid.crs, names=tuple("+".join(f.item.id for f in group) for group in groups),
        classes=None if any(c is None for c in classes) else np.stack(classes), notes=tuple(dict.fromkeys(notes)))


def stack_grid(items: Sequence, bands: Sequence[str], options: StackOptions,
               access: Access | None = None) -> RasterGrid:
    """The grid that `read_stack` uses; opens the first item that can be opened.

    Raises:
        InputError: a bad box or resolution, or none of the items can be opened.
    """
    if options.resolution is not None and not options.resolution > 0:
        raise InputError(f"resolution = {options.resolution}", where="StackOptions", mend="Give metres above 0")
    native = _native(items, bands, access)
    in_degrees = options.bbox_crs.upper() in ("EPSG:4326", "OGC:CRS84")
    bbox = options.bbox
    if bbox is not None and in_degrees:
        bbox = parse_bbox(bbox)
    if native.crs is None:
        raise InputError("the rasters have no coordinate system", where=items[0].id, mend="Use geocoded products")
    crs = options.crs or next((code for item in items if (code := item_crs(item))), None)
    if crs is None:
        west, south, east, north = bbox if bbox and in_degrees else box_to_crs(native.bounds, native.crs, "EPSG:4326")
        crs = utm_crs((west + (east + 360 if east < west else east)) / 2, (south + north) / 2)
    box = box_to_crs(bbox or native.bounds, options.bbox_crs if bbox else native.crs, crs)
    resolution = options.resolution
    if resolution is None:
        metres = is_projected(crs)
        resolution = _nominal(max(native.pixel_size_m), items[0], bands[0]) if metres else abs(native.transform[0])
    return aligned_grid(box, crs, float(resolution), native)


def _nominal(measured: float, item, band: str) -> float:
    """The pixel size that the item states where that is the measured one to 5 %: 30 m, not 30.9 m of an arc second."""
    stated = asset_of(item, band).gsd_m
    return stated if stated and abs(stated / measured - 1) < 0.05 else round(measured, 3)


def _native(items, bands, access) -> RasterGrid:
    first = None
    for item in items:
        try:
            with open_href(asset_of(item, bands[0]).href, access) as file:
                return grid_of(file)
        except InputError as error:
            first = first or error
    raise InputError(f"none of {len(items)} items could be opened: {_place_and_fault(first)}", where="read_stack",
                     mend=first.mend or "See what the catalogue needs")


def _or_why(read):
    def try_it(pair):
        try:
            return read(*pair)
        except InputError as error:
            return f"{pair[1].id} was left out: {_place_and_fault(error)}"

    return try_it


def _place_and_fault(error: InputError) -> str:
    """An error inside another sentence: without its mend and full stop."""
    return f"{error.where}: {error.what}" if error.where else error.what


def _read_item(moment: dt.datetime, item, bands, grid: RasterGrid, options: StackOptions, access: Access) -> _Frame:
    size = max(grid.pixel_size_m)
    images, rules = [], []
    for name in bands:
        asset = asset_of(item, name, size)
        scaling = scaling_of(item, asset)
        read = read_onto(asset.href, grid, asset.band, options.resampling, access, scaling.nodata)
        # without the rule's nodata: that was masked in the file's own numbers, before any were mixed
        images.append(replace(scaling, nodata=None).apply(read.values, read.valid))
        rules.append(scaling)
    images = np.stack(images)
    has_data = np.isfinite(images).all(axis=0)
    if not np.isfinite(images).any():
        raise InputError("it has no data in this box")
    clear, classes, notes = _clear(item, grid, options, access)
    return _Frame(item, moment, images, has_data & clear, classes, notes, tuple(rules))


def _rules_used(frames: list[_Frame]) -> list[str]:
    """How many items were scaled by which rule, by the rule of their first band."""
    used = Counter((frame.item.collection_id or "items", frame.rules[0]) for frame in frames)
    return [f"{count} of {name}: stored numbers x {rule.scale:g} {rule.offset:+g}, {rule.why}"
            for (name, rule), count in used.items()]


def _clear(item, grid: RasterGrid, options: StackOptions, access: Access):
    names = {}
    for name in ("scl", "qa_pixel"):
        try:
            names[name] = asset_of(item, name, max(grid.pixel_size_m))
        except InputError:
            continue
    if "scl" in names:
        read = read_onto(names["scl"].href, grid, names["scl"].band, "nearest", access)
        classes = np.where(read.valid, read.values, 0)
        notes = ((f"the scene classification of {item.collection_id or 'these items'} is compressed with loss: its "
                  "edges are unsure, growing the mask helps",) if read.lossy else ())
        return clear_mask(classes, options.unclear, options.grow), classes.astype(np.uint8), notes
    if "qa_pixel" in names:
        read = read_onto(names["qa_pixel"].href, grid, names["qa_pixel"].band, "nearest", access)
        return read.valid & clear_from_qa_pixel(read.values), None, ()
    return np.ones((grid.height, grid.width), bool), None, (
        f"{item.collection_id or item.id} has no cloud mask: clear means that there is data",)


def _longitude(grid: RasterGrid) -> float:
    west, _, east, _ = box_to_crs(grid.bounds, grid.crs, "EPSG:4326")
    return (west + (east + 360 if east < west else east)) / 2


def solar_day(moment: dt.datetime, longitude: float) -> dt.date:
    """The date on a sundial: UTC shifted by four minutes a degree."""
    return (moment + dt.timedelta(minutes=4 * longitude)).date()


def _grouped(frames: list[_Frame], group: str, longitude: float) -> list[list[_Frame]]:
    """Frames of one day together; of a tile that was processed twice, the newer baseline comes first."""
    if group == "item":
        return [[frame] for frame in frames]
    days: dict[dt.date, list[_Frame]] = {}
    for frame in frames:
        days.setdefault(solar_day(frame.moment, longitude), []).append(frame)
    for same_day in days.values():
        same_day.sort(key=lambda frame: baseline_of(frame.item) or (0, 0), reverse=True)
    return [days[day] for day in sorted(days)]


def _mosaic(frames: list[_Frame]) -> _Frame:
    """The first frame; where a next one has more of the bands, that one."""
    first = frames[0]
    if len(frames) == 1:
        return first
    bands, clear = first.bands.copy(), first.clear.copy()
    classes = None if any(f.classes is None for f in frames) else first.classes.copy()
    for frame in frames[1:]:
        hole = np.isfinite(frame.bands).sum(axis=0) > np.isfinite(bands).sum(axis=0)
        bands[:, hole], clear[hole] = frame.bands[:, hole], frame.clear[hole]
        if classes is not None:
            classes[hole] = frame.classes[hole]
    return _Frame(first.item, min(f.moment for f in frames), bands, clear, classes)
