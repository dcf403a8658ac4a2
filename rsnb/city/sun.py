"""Where the sun stands on a date."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsnb.city.seasons import days_since_epoch


@dataclass(frozen=True)
class Sun:
    """Azimuth (bearing, clockwise from north) and elevation above the horizon, radians."""

    azimuth: float
    elevation: float


def sun_position(date, lat: float, lon: float) -> Sun:
    """The sun at a date (UTC) over a latitude and longitude in degrees, to about 0.02 degrees (1950 to 2050).

    The low-precision formulas of the Astronomical Almanac (page C5): mean longitude and anomaly, equation of the centre
    to two terms, sidereal time. Refraction is left out.
    """
    days = days_since_epoch(date) - 0.5  # from 2000-01-01 12:00
    anomaly = np.radians(357.528 + 0.9856003 * days)
    longitude = np.radians(280.460 + 0.9856474 * days + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    tilt = np.radians(23.439 - 4e-7 * days)
    ascension = np.arctan2(np.cos(tilt) * np.sin(longitude), np.cos(longitude))
    declination = np.arcsin(np.sin(tilt) * np.sin(longitude))
    sidereal = np.radians((280.46062 + 360.98564737 * days + lon) % 360.0)
    hour, lat = sidereal - ascension, np.radians(lat)
    elevation = np.arcsin(np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(hour))
    azimuth = np.arctan2(-np.cos(declination) * np.sin(hour),
                         np.sin(declination) * np.cos(lat) - np.cos(declination) * np.cos(hour) * np.sin(lat))
    return Sun(float(azimuth % (2 * np.pi)), float(elevation))
