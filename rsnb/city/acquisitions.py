"""When a Sentinel-2-like instrument passes, what the weather is like, and the pictures it brings back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsnb.city.clouds import CloudCover, classify, make_clouds
from rsnb.city.seasons import BANDS
from rsnb.city.sensor import Sensor
from rsnb.city.series import SeriesTruth, TrueDay, band_numbers
from rsnb.city.sun import sun_position
from rsnb.errors import InputError

NATIVE_M = {"coastal": 60, "nir09": 60, "blue": 10, "green": 10, "red": 10, "nir": 10} | dict.fromkeys(
    ("rededge1", "rededge2", "rededge3", "nir08", "swir16", "swir22"), 20)
REVISIT_DAYS = 5
_PASS_DAY = np.datetime64("2021-08-10")  # Sentinel-2B, relative orbit 79; five days later comes 2A on it
OVERPASS = np.timedelta64(9 * 3600 + 50 * 60, "s")  # UTC, over Helsinki
LOWEST_SUN_DEG = 17.0


@dataclass(frozen=True)
class Acquisition:
    """One pass.

    Attributes:
        date: UTC, seconds.
        platform: "sentinel-2a" or "sentinel-2b".
        cover, cirrus: share of the picture under clouds and under a thin veil, as ordered.
        shift_px: (right, down) 10 m pixels by which the picture's pixels look further right and down than its grid
            says; its content so lies further left and up.
        seed: of its clouds and noise.
    """

    date: np.datetime64
    platform: str
    cover: float
    cirrus: float
    shift_px: tuple[float, float]
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Observation:
    """What one pass brought back, and what was really there.

    Attributes:
        acquisition: its circumstances.
        images: {band: [h, w] float32 reflectance}, each band in its native pixels.
        scl: [h, w] uint8 scene classification in 20 m pixels, with mistakes.
        clouds: the truth in 10 m pixels.
        day: the truth below them.
    """

    acquisition: Acquisition
    images: dict[str, np.ndarray]
    scl: np.ndarray
    clouds: CloudCover
    day: TrueDay

    @property
    def cloud_layers(self) -> np.ndarray:
        """[4, h, w] uint8, the truth in 10 m pixels: cloud, cloud shadow (0, 1), opacity x 200, shade x 200."""
        clouds = self.clouds
        return np.stack([clouds.cloud, clouds.shadow, np.round(200 * clouds.opacity),
                         np.round(200 * clouds.shade)]).astype(np.uint8)

    @property
    def record(self) -> dict:
        """What the evaluation may know of the pass, as JSON values."""
        return {"date": str(self.acquisition.date), "platform": self.acquisition.platform,
                "shift_px_right_down": self.acquisition.shift_px, "cloud_height_m": round(self.clouds.height_m, 2),
                "cloud_share": round(float(self.clouds.cloud.mean()), 4),
                "shadow_share": round(float(self.clouds.shadow.mean()), 4)}


def check_weather(covers: tuple[float, ...], shift_px: float, where: str) -> None:
    """Refuses cloud covers and a misregistration that no series can have, with an `InputError`."""
    if not (isinstance(covers, tuple | list) and covers and all(
            isinstance(c, int | float) and 0 <= c <= 1 for c in covers)):
        raise InputError(f"covers are {covers!r}", where=where, mend="Give shares from 0 to 1, one for each date")
    if not 0 <= shift_px <= 5:
        raise InputError(f"shift_px is {shift_px}", where=where, mend="Use 0 to 5 pixels")


def plan_acquisitions(place: tuple[float, float], start, stop, covers: tuple[float, ...], shift_px: float,
                      seed: tuple[int, ...]) -> tuple[Acquisition, ...]:
    """Irregular dates of a five-day revisit, one for each cloud cover.

    The calendar is the real one of one orbit over Helsinki, so all series of the city know the same passes. The time
    from start to stop is cut into as many parts as there are covers; in each part one of the passes with enough sun is
    taken, so some gaps are short and some, like a northern winter, are long.

    Args:
        place: (latitude, longitude), degrees.
        start, stop: dates.
        covers: cloud covers 0..1, dealt out in random order.
        shift_px: largest misregistration, 10 m pixels.
        seed: of all that is random.

    Raises:
        InputError: too few passes by daylight.
    """
    rng = np.random.default_rng([*seed, 71])
    start, stop = np.datetime64(start, "D"), np.datetime64(stop, "D")
    first, last = (int((day - _PASS_DAY) / np.timedelta64(1, "D")) for day in (start, stop))
    passes = {k: (_PASS_DAY + k * REVISIT_DAYS).astype("datetime64[s]") + OVERPASS
              for k in range(-(-first // REVISIT_DAYS), last // REVISIT_DAYS + 1)}
    lit = [k for k, d in passes.items() if np.degrees(sun_position(d, *place).elevation) > LOWEST_SUN_DEG]
    if len(lit) < len(covers):
        raise InputError(f"{len(covers)} dates are asked for, but from {start} to {stop} there are {len(lit)} passes "
                         f"with the sun above {LOWEST_SUN_DEG:.0f} degrees", where="dates",
                         mend="Lengthen the time, or ask for fewer dates")
    chosen = [int(rng.choice(part)) for part in np.array_split(lit, len(covers))]
    plan = []
    for k, cover in zip(chosen, rng.permutation(covers), strict=True):
        date = passes[k] + np.timedelta64(int(rng.integers(0, 900)), "s")
        plan.append(Acquisition(
            date, f"sentinel-2{'ba'[k % 2]}", float(cover), 0.25 if 0.1 < cover < 0.5 else 0.0,
            tuple(float(v) for v in np.round(rng.uniform(-shift_px, shift_px, 2), 4)), (*seed, 72, k % 2**32)))
    return tuple(plan)


def observe(truth: SeriesTruth, acquisition: Acquisition, shape: tuple[int, int], bands: tuple[str, ...] = BANDS,
            sensor: Sensor = Sensor()) -> Observation:
    """Pictures of one pass.

    Args:
        truth: the place.
        acquisition: when and how.
        shape: (rows, columns) of the 10 m bands; those of the 20 m and 60 m bands follow, rounded up.
        bands: which to take.
        sensor: optics and noise, the same in the native pixels of every band.
    """
    rng = np.random.default_rng(acquisition.seed)
    day = truth.on(acquisition.date)
    clouds = make_clouds(truth.grid.resized(shape), truth.sun(acquisition.date), acquisition.cover, rng,
                         acquisition.cirrus)

    def native(metres: int) -> tuple[int, int]:
        return -(-shape[0] * 10 // metres), -(-shape[1] * 10 // metres)

    images = {}
    for metres in (10, 20, 60):
        names = tuple(b for b in bands if NATIVE_M[b] == metres)
        if not names:
            continue
        size = native(metres)
        shift = tuple(v * n / s for v, n, s in zip(acquisition.shift_px, size[::-1], shape[::-1], strict=True))
        clear = day.image(size, names, sensor.fwhm_px, shift)
        seen = sensor.noisy(clouds.resized(size).over(clear, band_numbers(names)), rng)
        images |= dict(zip(names, np.maximum(seen, 1e-4), strict=True))
    size = native(20)
    what = day.image(size, ("red", "nir", "swir16"), 1.0), day.light(size), np.where(day.water(size) > 0.5, 6, 0)
    return Observation(acquisition, images, classify(clouds.resized(size), *what, rng), clouds, day)
