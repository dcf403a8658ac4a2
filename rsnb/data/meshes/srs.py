"""Coordinate reference systems as 3-D city models name them, and the axis order in which they really write."""

from __future__ import annotations

import re

import numpy as np


def parse_srs(name: str | None) -> str | None:
    """"EPSG:25832" out of the ways to say so; None where nothing is said or known.

    Known: "EPSG:25832", "urn:ogc:def:crs:EPSG::25832", "urn:ogc:def:crs,crs:EPSG::25832,crs:EPSG::5783" (a compound:
    the horizontal part is kept), "https://www.opengis.net/def/crs/EPSG/0/7415", and the German
    "urn:adv:crs:ETRS89_UTM32*DE_DHHN2016_NH".
    """
    if not name:
        return None
    if found := re.search(r"EPSG(?:[:/]+[\d.]*[:/]+|[:/])(\d{4,6})", name, re.IGNORECASE):
        return f"EPSG:{found.group(1)}"
    if found := re.search(r"epsg\.xml#(\d{4,6})", name, re.IGNORECASE):
        return f"EPSG:{found.group(1)}"
    if found := re.search(r"ETRS89_UTM(\d\d)", name):
        return f"EPSG:258{found.group(1)}"
    if found := re.search(r"DE_DHDN_3GK(\d)", name):
        return f"EPSG:3146{int(found.group(1)) + 4}"
    return None


def to_easting_northing(points: np.ndarray, crs: str | None) -> tuple[np.ndarray, str | None]:
    """File coordinates as metres east, north, up, and their CRS.

    Args:
        points: [V, 3] float64 as in the file.
        crs: what `parse_srs` gave; the answer's is None where PROJ does not know it.

    Degrees (EPSG:6697 and the like, latitude first) and feet (EPSG:2263) go to the UTM zone they lie in, in metres.
    In a projected CRS whose definition puts the northing first, files follow the definition or do not: the area of
    use decides.

    Raises:
        ValueError: degrees or feet that are not on Earth.
    """
    if crs is None or len(points) == 0:
        return points, crs
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        system = CRS.from_user_input(crs)
    except CRSError:
        return points, None
    flat = system.sub_crs_list[0] if system.is_compound else system
    north_first = bool(flat.axis_info) and flat.axis_info[0].direction == "north"
    if flat.is_geographic:
        lonlat = points[:, [1, 0, 2]] if north_first else points
        return _to_utm(lonlat, flat.to_2d())
    if north_first and _swapped(points, system):
        points = points[:, [1, 0, 2]]
    metres = flat.axis_info[0].unit_conversion_factor if flat.axis_info else 1.0
    if abs(metres - 1.0) < 1e-9:
        return points, crs
    up = system.axis_info[2].unit_conversion_factor if len(system.axis_info) > 2 else metres
    return _to_utm(points * [1.0, 1.0, up], flat)


def _to_utm(points: np.ndarray, flat) -> tuple[np.ndarray, str]:
    """Points (x or longitude, y or latitude, metres up) of a horizontal CRS, in the UTM zone of their middle."""
    from pyproj import Transformer

    east, north = np.nanmean(points[:, 0]), np.nanmean(points[:, 1])
    lon, lat = Transformer.from_crs(flat, "EPSG:4326", always_xy=True).transform(east, north)
    if not (abs(lon) <= 180.0 and abs(lat) <= 90.0):
        raise ValueError(f"the coordinates lie at longitude {lon}, latitude {lat}, which is not on Earth")
    zone = min(int((lon + 180.0) // 6.0) + 1, 60)
    utm = f"EPSG:{326 if lat >= 0 else 327}{zone:02d}"
    x, y = Transformer.from_crs(flat, utm, always_xy=True).transform(points[:, 0], points[:, 1])
    return np.stack([x, y, points[:, 2]], axis=1), utm


def _swapped(points: np.ndarray, system) -> bool:
    """True where the coordinates fit the area of use only when their first two columns change places."""
    from pyproj import Transformer

    area = system.area_of_use
    if area is None:
        return False
    lon, lat = np.meshgrid([area.west, (area.west + area.east) / 2, area.east], [area.south, area.north])
    east, north = Transformer.from_crs("EPSG:4326", system, always_xy=True).transform(lon.ravel(), lat.ravel())
    if not (np.isfinite(east).all() and np.isfinite(north).all()):
        return False
    x, y = np.nanmean(points[:, 0]), np.nanmean(points[:, 1])

    def outside(a: float, b: float) -> float:
        """Metres by which a pair of coordinates misses the box of the area of use."""
        return (max(east.min() - a, 0.0, a - east.max())) + max(north.min() - b, 0.0, b - north.max())

    return outside(y, x) + 1000.0 < outside(x, y)
