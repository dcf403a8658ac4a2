"""What every surface reflects on any day: spectra, seasons, harvests and changes in closed form.

A surface's reflectance in a band goes from a winter spectrum to a summer one and back with the weight
((1 + cos(2 pi (day - peak_day) / 365.25)) / 2) ^ 3, times a slow trend: the power makes the season as short as it is
at 60 degrees north, where leaves come in May. There is no snow. A field is harvested on a day of the year and shows
stubble until it is sown; a building site or a new roof comes on one day and stays. The end members are round numbers
of the size that field spectra of such surfaces have.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

# Common names of Sentinel-2's L2A bands: B01 02 03 04 05 06 07 08 8A 09 11 12, the order of WorldStrat's files.
BANDS = ("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09", "swir16",
         "swir22")
YEAR_DAYS = 365.25
EPOCH = np.datetime64("2000-01-01T00:00:00")
TREND_EPOCH_DAYS = 20.0 * YEAR_DAYS  # trends are 0 at the start of 2020
SEASON_POWER = 3
# Part of the light on level ground that comes from the sky, not from the sun; it is what a shadow leaves.
SKY_SHARE = np.array([0.33, 0.29, 0.23, 0.18, 0.16, 0.14, 0.13, 0.12, 0.11, 0.11, 0.06, 0.05])

SPECTRA = {name: np.array(values) for name, values in {
    "grass": (0.025, 0.032, 0.070, 0.045, 0.105, 0.27, 0.33, 0.36, 0.38, 0.38, 0.20, 0.10),
    "dry_grass": (0.045, 0.058, 0.088, 0.108, 0.148, 0.19, 0.21, 0.235, 0.255, 0.26, 0.28, 0.19),
    "leaves": (0.018, 0.022, 0.045, 0.026, 0.075, 0.24, 0.30, 0.325, 0.345, 0.345, 0.16, 0.070),
    "bare_twigs": (0.035, 0.040, 0.055, 0.062, 0.090, 0.13, 0.15, 0.165, 0.18, 0.185, 0.18, 0.12),
    "needles": (0.014, 0.018, 0.033, 0.021, 0.050, 0.135, 0.160, 0.175, 0.19, 0.195, 0.090, 0.040),
    "cold_needles": (0.014, 0.018, 0.028, 0.022, 0.045, 0.105, 0.125, 0.135, 0.15, 0.155, 0.085, 0.040),
    "crop": (0.024, 0.030, 0.065, 0.035, 0.100, 0.31, 0.40, 0.43, 0.45, 0.45, 0.20, 0.090),
    "flowering_crop": (0.028, 0.036, 0.110, 0.085, 0.150, 0.31, 0.38, 0.41, 0.43, 0.43, 0.21, 0.10),
    "soil": (0.060, 0.075, 0.105, 0.135, 0.165, 0.185, 0.205, 0.225, 0.24, 0.245, 0.31, 0.26),
    "dark_soil": (0.040, 0.048, 0.064, 0.080, 0.098, 0.112, 0.125, 0.138, 0.15, 0.155, 0.20, 0.17),
    "stubble": (0.065, 0.082, 0.118, 0.150, 0.190, 0.225, 0.250, 0.27, 0.29, 0.30, 0.36, 0.28),
    "water": (0.045, 0.044, 0.040, 0.026, 0.021, 0.018, 0.017, 0.015, 0.013, 0.012, 0.006, 0.004),
    "green_water": (0.045, 0.046, 0.052, 0.034, 0.030, 0.024, 0.022, 0.020, 0.016, 0.015, 0.006, 0.004),
    "asphalt": (0.070, 0.080, 0.088, 0.094, 0.100, 0.105, 0.110, 0.115, 0.12, 0.12, 0.13, 0.12),
    "gravel": (0.100, 0.125, 0.155, 0.180, 0.195, 0.205, 0.215, 0.22, 0.225, 0.23, 0.26, 0.24),
    "clay_roof": (0.050, 0.060, 0.082, 0.150, 0.190, 0.210, 0.225, 0.24, 0.25, 0.25, 0.30, 0.27),
    "dark_roof": (0.058, 0.063, 0.068, 0.073, 0.078, 0.083, 0.088, 0.093, 0.098, 0.098, 0.12, 0.12),
    "metal_roof": (0.230, 0.250, 0.265, 0.275, 0.280, 0.285, 0.290, 0.295, 0.30, 0.30, 0.27, 0.24),
}.items()}


@dataclass(frozen=True)
class SurfaceTable:
    """The N surfaces of a scene, each a parcel, a roof, a tree, a street ...; B = 12 bands in the order of `BANDS`.

    Attributes:
        winter, summer: [N, B] reflectance of a flat, sunlit surface on its least and its most green day.
        peak_day: [N] day of the year (0 = 1 January) on which `summer` is reached; half a year later comes `winter`.
        trend: [N] relative change a year.
        harvest, sowing: [N] days of the year between which `stubble` shows (over New Year's Eve where harvest is the
            later); nan = never.
        stubble: [N, B].
        change_day: [N] days since 2000-01-01 from which `changed` shows for good; inf = never.
        changed: [N, B].
        cover: [N] class of scene classification that a perfect observer gives in summer: 4 vegetation, 5 bare, 6 water.
    """

    winter: np.ndarray
    summer: np.ndarray
    peak_day: np.ndarray
    trend: np.ndarray
    harvest: np.ndarray
    sowing: np.ndarray
    stubble: np.ndarray
    change_day: np.ndarray
    changed: np.ndarray
    cover: np.ndarray

    def __len__(self) -> int:
        return len(self.winter)

    def reflectance(self, date) -> np.ndarray:
        """[N, B] float32 at a date (anything numpy takes for a date, UTC)."""
        day = days_since_epoch(date)
        season = (0.5 + 0.5 * np.cos(2 * np.pi * (day - self.peak_day) / YEAR_DAYS)) ** SEASON_POWER
        value = self.winter + (self.summer - self.winter) * season[:, None]
        value = value * (1.0 + self.trend * (day - TREND_EPOCH_DAYS) / YEAR_DAYS)[:, None]
        of_year = day % YEAR_DAYS
        since_harvest, stubble_days = (of_year - self.harvest) % YEAR_DAYS, (self.sowing - self.harvest) % YEAR_DAYS
        value = np.where((since_harvest < stubble_days)[:, None], self.stubble, value)  # nan compares false
        value = np.where((day >= self.change_day)[:, None], self.changed, value)
        return value.astype(np.float32)

    def joined(self, other: SurfaceTable) -> SurfaceTable:
        """The rows of both, these first."""
        return SurfaceTable(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


def days_since_epoch(date) -> float:
    """Days from 2000-01-01T00:00 UTC to a date."""
    return float((np.datetime64(date, "s") - EPOCH) / np.timedelta64(1, "D"))


def between(low, high, *, peak_day, gain=1.0, cover=4, trend=0.0) -> SurfaceTable:
    """Surfaces that swing from spectrum `low` in winter to `high` on their peak day.

    Args:
        low, high: [N, B] or [B].
        peak_day, gain, trend: [N] or numbers; gain multiplies both spectra.
        cover: see `SurfaceTable`.
    """
    n = len(np.broadcast_arrays(np.atleast_1d(peak_day), gain, trend)[0])
    n = max(n, *(len(v) if np.ndim(v) == 2 else 1 for v in (low, high)))
    gain = np.broadcast_to(gain, n)[:, None]
    low, high = np.broadcast_to(low, (n, len(BANDS))) * gain, np.broadcast_to(high, (n, len(BANDS))) * gain

    def column(value) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, float), n).copy()

    never = column(np.nan)
    return SurfaceTable(low, high, column(peak_day), column(trend), never, never.copy(),
                        np.zeros((n, len(BANDS))), column(np.inf), np.zeros((n, len(BANDS))),
                        np.full(n, cover, np.uint8))


def painted(rgb: np.ndarray) -> np.ndarray:
    """[N, B] spectra of built surfaces whose picture colour is rgb [N, 3], linear light 0..1.

    The visible bands follow the colour, kept within what roofs and paving reflect; the infrared goes on from red and
    the brightness, as mineral and painted surfaces do.
    """
    visible = np.clip(0.03 + 0.4 * np.asarray(rgb, float), 0.03, 0.40)
    red, green, blue = visible.T
    grey = visible.mean(axis=1)
    nir = 0.5 * red + 0.5 * grey + 0.035
    swir = nir * 1.08 + 0.01
    steps = (0.88 * blue, blue, green, red, 0.7 * red + 0.3 * nir, 0.4 * red + 0.6 * nir, 0.2 * red + 0.8 * nir, nir,
             1.02 * nir, 1.02 * nir, swir, 0.9 * swir)
    return np.stack(steps, axis=1)
