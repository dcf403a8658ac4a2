"""What every image provider answers: a place or an id to a street view, a place to a view from above."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from rsnb.errors import InputError


@dataclass(frozen=True)
class ProvidedImage:
    """A picture and what is known about it.

    Attributes:
        image: [3, H, W] float32 in 0..1.
        kind: "panorama" (equirectangular, full circle), "pinhole", or "top" (from above, up = north).
        id: of the provider.
        lat, lon: degrees, where the picture was really taken (its metadata), not where it was asked for.
        heading: bearing of the middle column from true north, clockwise, radians; nan where unknown. 0 for "top".
        distance_m: from the place asked for to (lat, lon); nan where an id was asked for.
        source: file or address, without any key.
        terms: licence and attribution, to be shown with the picture.
        date: ISO 8601, or None where unknown.
        fov: horizontal field of view, radians (2 pi for panoramas); None where unknown, and for "top".
        extent_m: side of a view from above on the ground, metres; None for street views.
    """

    image: np.ndarray
    kind: Literal["panorama", "pinhole", "top"]
    id: str
    lat: float
    lon: float
    heading: float
    distance_m: float
    source: str
    terms: str
    date: str | None = None
    fov: float | None = None
    extent_m: float | None = None


@runtime_checkable
class ImageProvider(Protocol):
    """A source of pictures. Asking for what it cannot give is an InputError that says what it can give."""

    name: str
    terms: str

    def street_view(self, pano_id: str | None = None, *, lat: float | None = None, lon: float | None = None,
                    max_distance_m: float = 50.0) -> ProvidedImage:
        """The picture of an id, or the one nearest to a latitude and longitude in degrees, within `max_distance_m`."""

    def top_view(self, lat: float, lon: float, extent_m: float = 50.0, size: int = 256) -> ProvidedImage:
        """`size` x `size` pixels of a square `extent_m` metres wide around a place, up = north."""


def check_request(pano_id: str | None, lat: float | None, lon: float | None) -> None:
    """Either an id or a place.

    Raises:
        InputError: neither, both, half a place, or a place that is none.
    """
    if (pano_id is None) == (lat is None and lon is None):
        raise InputError("give either an id or a latitude and longitude", where="street_view",
                         mend='For example street_view("id"), or street_view(lat=60.17, lon=24.94)')
    if pano_id is None:
        check_place(lat, lon)


def check_place(lat: float | None, lon: float | None) -> None:
    """InputError where this is no latitude and longitude in degrees."""
    numbers = [isinstance(v, int | float | np.number) and math.isfinite(v) for v in (lat, lon)]
    if not all(numbers) or abs(lat) > 90 or abs(lon) > 180:
        swapped = all(numbers) and abs(lon) <= 90 and abs(lat) <= 180
        raise InputError(f"latitude {lat}, longitude {lon}" + (" look swapped" if swapped else " are no place"),
                         where="lat, lon", mend="Give degrees, the latitude (north) first")


def check_top_view(lat: float, lon: float, extent_m: float, size: int) -> None:
    """InputError where a view from above cannot be: no place, no extent, no pixels."""
    check_place(lat, lon)
    if not (isinstance(extent_m, int | float) and 0 < extent_m <= 100_000):
        raise InputError(f"extent_m is {extent_m!r}", where="top_view", mend="Give metres above 0, up to 100,000")
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 16384:
        raise InputError(f"size is {size!r}", where="top_view", mend="Give pixels, a whole number from 1 to 16384")


def too_far(distance: float, limit: float, what: str, where: str) -> InputError:
    """The error for a nearest picture that is not near."""
    return InputError(f"the nearest {what} lies {distance:,.0f} m away, further than {limit:g} m", where=where,
                      mend="Ask for another place, or raise max_distance_m")
