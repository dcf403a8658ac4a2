"""The true look of a place from above on any day and at any pixel size: city, country around it, seasons, shadows.

A place is kept on a fine grid (about 1 m) in the coordinate system of the products to come; `survey.build_truth` makes
it. Every date is then a table look-up: reflectance of the surface on that day, times the light that the sun of that
day throws on it past houses and trees.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from rsnb.city.grids import Grid
from rsnb.city.seasons import BANDS, SKY_SHARE, SurfaceTable
from rsnb.city.sensor import sample, sampling_matrix
from rsnb.city.sun import Sun, sun_position
from rsnb.errors import InputError
from rsnb.files import atomic_path, require_file

_SHADOW_REACH_M = 400.0
_MOST_PIXELS = 20_000  # on a side of a picture


@dataclass(frozen=True)
class SeriesTruth:
    """A place on a fine grid, and all that is needed to see it on any day.

    Attributes:
        grid: the fine grid, H x W.
        surface: [H, W] int32, row of `table`.
        height: [H, W] float32, height of the surface above the sea, metres.
        facing: [2, H, W] float32, slope of the surface: its normal is (facing[0], facing[1], 1) before scaling, x to
            the right and y up in the grid.
        brightness: [H, W] float32, the surface's own small variation; 1 on average.
        table: reflectance of every surface on any day.
    """

    grid: Grid
    surface: np.ndarray
    height: np.ndarray
    facing: np.ndarray
    brightness: np.ndarray
    table: SurfaceTable

    def sun(self, date) -> Sun:
        """Where the sun stands over the middle of the place."""
        lon, lat = self.grid.centre_lonlat
        return sun_position(date, lat, lon)

    def direct_light(self, date) -> np.ndarray:
        """[H, W] float32: sunlight on the surface, 1 on lit level ground, 0 in shadow.

        Shadows: a point is dark where a point towards the sun stands above the ray to the sun; the highest obstacle
        within 2^m steps is found in m doublings, each rounded to whole pixels: ends of long shadows are right to two
        pixels.
        """
        sun = self.sun(date)
        azimuth = sun.azimuth - self.grid.up_bearing
        towards = np.array([np.sin(azimuth), np.cos(azimuth)])
        wide, high = self.grid.pixel_m
        step = np.hypot(towards[0] * wide, towards[1] * high)
        drop = step * np.tan(sun.elevation)
        horizon = _shifted(self.height, towards, 1.0) - drop
        count = 1
        while count * step < min(_SHADOW_REACH_M, np.ptp(self.height) / np.tan(sun.elevation)):
            horizon = np.maximum(horizon, _shifted(horizon, towards, count) - count * drop)
            count *= 2
        lit = np.clip((self.height - horizon) / drop + 0.5, 0.0, 1.0)
        cosine = (self.facing[0] * towards[0] + self.facing[1] * towards[1]) / np.tan(sun.elevation) + 1.0
        cosine /= np.sqrt(1.0 + self.facing[0] ** 2 + self.facing[1] ** 2)
        return (lit * np.clip(cosine, 0.0, 1.7)).astype(np.float32)

    def on(self, date) -> TrueDay:
        """The place on a date (anything numpy takes for one, UTC; the time of day places the sun).

        Raises:
            InputError: the sun is below 3 degrees.
        """
        if self.sun(date).elevation < np.radians(3.0):
            raise InputError(f"the sun stands below 3 degrees on {date}", where="date", mend="Name an hour of daylight")
        return TrueDay(self, self.table.reflectance(date), self.direct_light(date))

    def image(self, date, shape: tuple[int, int] | None = None, bands: tuple[str, ...] = BANDS) -> np.ndarray:
        """[B, h, w] float32 mean reflectance over each pixel on a date; see `on` and `TrueDay.image`."""
        return self.on(date).image(shape, bands)

    @cached_property
    def _rows(self) -> np.ndarray:
        return self.surface.astype(np.intp)

    def shape_at(self, gsd_m: float) -> tuple[int, int]:
        """(rows, columns) whose pixels are nearest to gsd_m on a side."""
        if not gsd_m > 0:
            raise InputError(f"gsd_m is {gsd_m!r}", where="gsd_m", mend="Give metres above 0")
        wide, high = self.grid.pixel_m
        return (max(1, round(self.grid.shape[0] * high / gsd_m)), max(1, round(self.grid.shape[1] * wide / gsd_m)))

    def save(self, path: str | Path) -> Path:
        """Write everything into one NPZ file."""
        arrays = {f"table_{name}": value for name, value in vars(self.table).items()}
        low = float(self.height.min())
        with atomic_path(path) as temporary:
            np.savez_compressed(
                temporary, crs=self.grid.crs, transform=self.grid.transform, surface=self.surface,
                height_cm=np.round((self.height - low) * 100).astype(np.uint16), height_low=low,
                facing=np.round(self.facing * 40).clip(-127, 127).astype(np.int8),
                brightness=np.round(self.brightness * 100).clip(0, 255).astype(np.uint8), **arrays)
        return Path(path)

    def rounded(self) -> SeriesTruth:
        """The truth as `save` and `load_truth` keep it, so that products and reloaded truth agree to the last bit."""
        low = float(self.height.min())
        return replace(
            self, height=(np.round((self.height - low) * 100).astype(np.uint16) * np.float32(0.01) + np.float32(low)),
            facing=np.round(self.facing * 40).clip(-127, 127).astype(np.int8) * np.float32(1 / 40),
            brightness=np.round(self.brightness * 100).clip(0, 255).astype(np.uint8) * np.float32(0.01))


@dataclass(frozen=True)
class TrueDay:
    """A place on one day: spectra [N, 12] of its surfaces and sunlight [H, W] on them."""

    truth: SeriesTruth
    spectra: np.ndarray
    direct: np.ndarray

    def image(self, shape: tuple[int, int] | None = None, bands: tuple[str, ...] = BANDS, fwhm_px: float = 0.0,
              shift_px: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
        """[B, h, w] float32 reflectance, without clouds and noise.

        Args:
            shape: pixels (rows, columns) over the whole footprint; the fine grid's own if None.
            bands: of `BANDS`.
            fwhm_px: 0: each pixel is the mean over its area; else see `Sensor`.
            shift_px: (right, down), pixels by which the picture's sampling is off.

        Raises:
            InputError: an unknown band, no band, or a size that no picture has.
        """
        picks, (rows, columns) = band_numbers(bands), self._sampling(shape, fwhm_px, shift_px)
        sunny, shady = self.truth.brightness * self.direct, self.truth.brightness
        images = []
        for band in picks:
            light = (1.0 - np.float32(SKY_SHARE[band])) * sunny + np.float32(SKY_SHARE[band]) * shady
            scene = np.take(np.ascontiguousarray(self.spectra[:, band]), self.truth._rows) * light
            images.append(sample(scene, rows, columns))
        return np.stack(images)

    def light(self, shape: tuple[int, int]) -> np.ndarray:
        """[h, w] float32 mean of the direct light over each pixel, 1 = level and lit."""
        return sample(self.direct, *self._sampling(shape))

    def water(self, shape: tuple[int, int]) -> np.ndarray:
        """[h, w] float32 share of water in each pixel."""
        wet = np.take((self.truth.table.cover == 6).astype(np.float32), self.truth._rows)
        return sample(wet, *self._sampling(shape))

    def _sampling(self, shape, fwhm_px: float = 0.0, shift_px=(0.0, 0.0)):
        fine = self.truth.grid.shape
        if shape is not None and not (len(shape) == 2 and all(
                isinstance(n, int | np.integer) and 1 <= n <= _MOST_PIXELS for n in shape)):
            raise InputError(f"a picture of {shape} pixels", where="shape",
                             mend=f"Give (rows, columns), whole numbers from 1 to {_MOST_PIXELS}")
        return tuple(sampling_matrix(n, m, fwhm_px, by)
                     for n, m, by in zip(fine, shape or fine, (shift_px[1], shift_px[0]), strict=True))


def load_truth(path: str | Path) -> SeriesTruth:
    """A `SeriesTruth` as its `save` wrote it.

    Raises:
        InputError: no such file, or one that is damaged or of another version.
    """
    path = require_file(path, "truth of a series")
    try:
        with np.load(path) as f:
            table = SurfaceTable(**{k.removeprefix("table_"): f[k] for k in f.files if k.startswith("table_")})
            grid = Grid(str(f["crs"]), tuple(float(v) for v in f["transform"]), f["surface"].shape)
            return SeriesTruth(
                grid, f["surface"], f["height_cm"] * np.float32(0.01) + np.float32(f["height_low"]),
                f["facing"] * np.float32(1 / 40), f["brightness"] * np.float32(0.01), table)
    except (BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the truth of a series cannot be read ({error})", where=path,
                         mend="Delete the data set's folder and build it again") from error


def band_numbers(bands) -> list[int]:
    """Places of bands in `BANDS`, or an `InputError` that names the unknown one."""
    unknown = [b for b in bands if b not in BANDS]
    if unknown or not len(bands):
        raise InputError(f"there is no band {unknown[0]!r}" if unknown else "no band is named", where="bands",
                         mend=f"Choose from {', '.join(BANDS)}")
    return [BANDS.index(b) for b in bands]


def _shifted(image: np.ndarray, towards: np.ndarray, steps: float) -> np.ndarray:
    """The value `steps` pixels away in the direction (right, up), nearest pixel; far below everything outside."""
    right, down = round(float(towards[0] * steps)), round(float(-towards[1] * steps))
    out = np.full(image.shape, -1e4, np.float32)
    h, w = image.shape
    if abs(right) < w and abs(down) < h:
        out[max(-down, 0):h - max(down, 0), max(-right, 0):w - max(right, 0)] = image[
            max(down, 0):h + min(down, 0), max(right, 0):w + min(right, 0)]
    return out
