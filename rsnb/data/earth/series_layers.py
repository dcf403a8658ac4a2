"""Which file (and which band of it) is which date and which band of a series; headers are read, pixels are not."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rsnb.data.earth.bands import band_of_file
from rsnb.data.earth.dates import date_in_name, parse_date
from rsnb.data.raster import RESAMPLING, grid_of, open_raster
from rsnb.data.raster_grid import MAX_BYTES, Bbox, RasterGrid
from rsnb.errors import InputError

SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt", ".img")
# Tags that say when the ground was seen; TIFFTAG_DATETIME comes last, most programs write the day of conversion there.
DATE_TAGS = ("ACQUISITION_DATE", "ACQUISITION_DATETIME", "ACQUISITIONDATETIME", "SENSING_TIME", "DATE_ACQUIRED",
             "RANGEBEGINNINGDATE", "DATETIME", "DATE", "TIME_COVERAGE_START", "TIFFTAG_DATETIME")


class SeriesWarning(UserWarning):
    """A file of a series that was left out, or brought onto another grid."""


@dataclass(frozen=True)
class SeriesOptions:
    """How to read a folder of dated rasters.

    Attributes:
        pattern: file names taken, as in a shell ("*NDVI*.jp2"); folders within are searched too.
        date_pattern: regular expression whose first group is the date; None = the first date in the file's name, else
            in its folders' names, else in its tags.
        dates: {file name: date}, or one date per file in the order of the files' names; goes before everything else.
        bands: names wanted, in this order; None = those that every date has.
        band_pattern: regular expression whose first group is the band's name, for one file per band; None = the part
            of the name in which files of one date differ.
        scale, offset: value = stored * scale + offset; None = the file's own (GDAL), else 1 and 0.
        nodata: a stored value that means no data although the file does not say so.
        bbox: west, south, east, north, widened to whole pixels; None = everything.
        bbox_crs: of the box; None = that of the grid.
        grid: "first" (of the earliest file), "union" (its pixels, over the ground of all), or a `RasterGrid`.
        resampling: of files on other grids: "auto", "nearest", "bilinear", "cubic" or "average".
        max_bytes: of the result; more is refused before anything is read.
        classification: regular expression of files that hold a scene classification (SCL), which masks and is no band.
    """

    pattern: str = "*"
    date_pattern: str | None = None
    dates: Mapping[str, object] | Sequence | None = None
    bands: tuple[str, ...] | None = None
    band_pattern: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    bbox: Bbox | None = None
    bbox_crs: str | None = None
    grid: str | RasterGrid = "first"
    resampling: str = "auto"
    max_bytes: int = MAX_BYTES
    classification: str = r"(?i)(?:^|[_.-])SCL(?:[_.-]|$)"

    def __post_init__(self):
        if self.grid not in ("first", "union") and not isinstance(self.grid, RasterGrid):
            raise InputError(f"grid = {self.grid!r}", where="SeriesOptions",
                             mend='Write "first", "union" or a RasterGrid')
        if self.resampling not in RESAMPLING:
            raise InputError(f"resampling = {self.resampling!r}", where="SeriesOptions",
                             mend=f"Choose one of {', '.join(RESAMPLING)}")
        for name in ("date_pattern", "band_pattern", "classification"):
            try:
                re.compile(getattr(self, name) or "")
            except re.error as error:
                raise InputError(f"{name} is no regular expression ({error})", where="SeriesOptions",
                                 mend=r"Write for example NDVI_([\d-]+)") from None
        if isinstance(self.bands, str):
            object.__setattr__(self, "bands", (self.bands,))


@dataclass(frozen=True)
class Layer:
    """One band of one file: what it shows, when, and where."""

    path: Path
    index: int
    date: np.datetime64
    band: str
    grid: RasterGrid
    scale: float
    offset: float


@dataclass(frozen=True)
class _File:
    path: Path
    date: np.datetime64 | None
    band: str | None
    grid: RasterGrid
    descriptions: tuple[str | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]


def list_rasters(source: str | Path | Sequence[str | Path], pattern: str = "*") -> list[Path]:
    """The raster files of a folder (and the folders in it) or of a list, by name.

    Raises:
        InputError: no such folder, or no raster in it.
    """
    if isinstance(source, (str, Path)):
        root = Path(source)
        if root.is_file():
            return [root]
        if not root.is_dir():
            raise InputError("there is no such folder", where=root, mend="Give a folder, a file or a list of files")
        paths = [p for p in sorted(root.rglob(pattern)) if p.suffix.lower() in SUFFIXES and p.name[0] != "."]
        if not paths:
            raise InputError(f"no raster here fits {pattern!r}", where=root,
                             mend=f"Files end in {', '.join(SUFFIXES)}; patterns are those of a shell")
        return paths
    paths = [Path(p) for p in source]
    if not paths:
        raise InputError("the list of files is empty", where="read_series")
    return paths


def plan_layers(paths: Sequence[Path], options: SeriesOptions, strict: bool = False) -> tuple[list[Layer], list[Layer]]:
    """(layers of bands, layers of the scene classification), by date.

    Args:
        paths: raster files.
        options: how to name and date them.
        strict: raise for a file without a date or that cannot be read, instead of a `SeriesWarning`.

    Raises:
        InputError: nothing is left, or files of one date that cannot be told apart.
    """
    given = options.dates
    if given is not None and not isinstance(given, Mapping) and len(given) != len(paths):
        raise InputError(f"{len(given)} dates for {len(paths)} files", where="SeriesOptions.dates",
                         mend="Give one date per file in the order of their names, or {file name: date}")
    files = []
    for number, path in enumerate(paths):
        try:
            file = _look(path, options, number)
            if file.date is None and not _dates_of_bands(file):
                raise InputError("nothing says its date", where=path,
                                 mend="Give dates, or a date_pattern whose first group is the date in the file's name")
            files.append(file)
        except InputError as error:
            if strict:
                raise
            warnings.warn(f"left out of the series: {error}", SeriesWarning)
    if not files:
        raise InputError("no file can be read and dated", where=paths[0],
                         mend="Give dates, or a date_pattern whose first group is the date in the file's name")
    classes = [f for f in files if re.search(options.classification, f.path.stem)]
    others = _named([f for f in files if f not in classes])
    layers = [layer for f in others for layer in _layers(f, options)]
    _check_unique(layers)
    order = lambda layer: (layer.date, layer.path.name, layer.index)  # noqa: E731
    return sorted(layers, key=order), sorted((lay for f in classes for lay in _layers(f, options)), key=order)


def _look(path: Path, options: SeriesOptions, number: int) -> _File:
    with open_raster(path) as file:
        tags = {k.upper(): v for k, v in file.tags().items()}
        grid, descriptions = grid_of(file), tuple(file.descriptions)
        scales, offsets = tuple(file.scales), tuple(file.offsets)
    band = None
    if options.band_pattern is not None:
        match = re.search(options.band_pattern, path.name)
        band = None if match is None else (match[1] if match.re.groups else match[0])
    return _File(path, _date(path, tags, options, number), band, grid, descriptions, scales, offsets)


def _date(path: Path, tags: Mapping[str, str], options: SeriesOptions, number: int) -> np.datetime64 | None:
    if isinstance(options.dates, Mapping):
        given = options.dates.get(path.name, options.dates.get(path.stem))
        if given is not None:
            return parse_date(given, where=path)
    elif options.dates is not None:
        return parse_date(options.dates[number], where=path)
    found = date_in_name(path.name, options.date_pattern)
    # folders from the file upwards: <date>/B04.tif
    for folder in path.parts[-2:-5:-1]:
        found = date_in_name(folder, options.date_pattern) if found is None else found
    for tag in DATE_TAGS:
        if found is None and tag in tags:
            try:
                found = parse_date(tags[tag], where=path)
            except InputError:
                continue  # a tag of that name which holds something else
    return found


def _named(files: list[_File]) -> list[_File]:
    """Files of one band each get the band's name: the part of the name in which files of one date differ."""
    by_date = defaultdict(list)
    for f in files:
        if f.band is None and len(f.descriptions) == 1 and f.date is not None:
            by_date[f.date].append(f)
    names: dict[Path, str] = {}
    for group in by_date.values():
        if len(group) > 1:
            names |= _differing({f.path: re.split(r"[-_. ]+", f.path.stem) for f in group})
    known = {name.lower() for name in names.values() if name}
    for group in by_date.values():
        if len(group) == 1 and known:  # alone on its date: the name that other dates taught
            path = group[0].path
            whole = rf"(?<![a-z0-9])({'|'.join(map(re.escape, known))})(?![a-z0-9])"
            found = re.findall(whole, path.stem.lower())
            if found:
                names[path] = max(found, key=len)
    return [replace(f, band=names[f.path]) if names.get(f.path) else f for f in files]


def _differing(tokens: dict[Path, list[str]]) -> dict[Path, str]:
    """What is left of each name without the words that all begin or end with; a pixel size ("10m") is no part of it."""
    parts = list(tokens.values())
    shortest = min(map(len, parts))
    head = next((i for i in range(shortest) if len({p[i] for p in parts}) > 1), shortest)
    tail = next((i for i in range(shortest - head) if len({p[-1 - i] for p in parts}) > 1), shortest - head)
    names = {}
    for path, words in tokens.items():
        inner = words[head : len(words) - tail]
        inner = [w for w in inner if not re.fullmatch(r"\d+m", w)] or inner
        names[path] = "_".join(inner)
    return names


def _dates_of_bands(file: _File) -> list[np.datetime64]:
    """The dates of a file whose bands are the dates (band descriptions say so), else nothing."""
    found = [date_in_name(text) if text else None for text in file.descriptions]
    return found if len(found) > 1 and all(d is not None for d in found) else []


def _layers(file: _File, options: SeriesOptions) -> list[Layer]:
    dates = _dates_of_bands(file)
    n = len(file.descriptions)
    if dates:
        name = file.band or (options.bands[0] if options.bands and len(options.bands) == 1 else "band1")
        names = [name] * n
    else:
        dates = [file.date] * n
        names = [file.band] if file.band and n == 1 else _names(file, options)
    return [Layer(file.path, i + 1, dates[i], band_of_file(names[i], file.path.name), file.grid,
                  file.scales[i] if options.scale is None else options.scale,
                  file.offsets[i] if options.offset is None else options.offset) for i in range(n)]


def _names(file: _File, options: SeriesOptions) -> list[str]:
    n = len(file.descriptions)
    if options.bands is not None and len(options.bands) == n and not any(file.descriptions):
        return list(options.bands)
    return [text or f"band{i + 1}" for i, text in enumerate(file.descriptions)]


def _check_unique(layers: list[Layer]) -> None:
    seen = {}
    for layer in layers:
        other = seen.setdefault((layer.date, layer.band), layer)
        if other is not layer:
            raise InputError(f"band {layer.band} of {layer.date} is also in {other.path.name}", where=layer.path,
                             mend="Choose files by a pattern, or name the bands by a band_pattern")
