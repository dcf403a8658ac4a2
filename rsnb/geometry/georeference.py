"""Places on Earth: latitude and longitude to model metres and back, grid north against true north, datum epochs.

numpy at module level; pyproj is loaded by the first function that needs it. Everything is float64: a metre-true
easting has eight digits before the point, which float32 cannot hold.

Three traps this module closes:

* **Axis order.** EPSG says northing before easting for EPSG:3879 and latitude before longitude for EPSG:4326. Arrays
  here are always (x = east, y = north) or named `lat`, `lon`.
* **Grid north** is not true north: `meridian_convergence` (PROJ's `get_factors`), `true_to_grid_heading`.
* **Datum epoch.** GNSS and street-view positions are WGS84, which follows ITRF; ETRS89 moves with the European plate.
  PROJ equates the two (error 0.7 to 0.9 m in Helsinki today) unless told the epoch. With an epoch, latitude and
  longitude count as ITRF2014 (EPSG:7912) of that decimal year. Heights are never converted: geoid grids are not
  shipped with PROJ, and a wrong height shift is worse than none.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rsnb.errors import InputError
from rsnb.scenes import Georeference

if TYPE_CHECKING:
    import pyproj

WGS84 = "EPSG:4326"
DYNAMIC_WGS84 = "EPSG:7912"  # ITRF2014, geographic 3D: what WGS84 is to a few centimetres, with a time axis
# Transverse Mercator stays exact well outside its strip, and city data often reach over the border of a zone.
AREA_MARGIN_DEG = 2.0


class Projector:
    """Latitude and longitude to model coordinates and back, for one `Georeference`.

    Args:
        georeference: its `crs` must be a projected CRS in metres with east and north axes; its `epoch` (decimal year),
            where given, is the epoch of the latitudes and longitudes.

    Raises:
        InputError: no CRS, an unknown one, or one that is not of this kind.
    """

    def __init__(self, georeference: Georeference):
        if georeference.crs is None:
            raise InputError("the model has no place on Earth (crs is None)", where="georeference",
                             mend="Give the CRS of the model, for example crs = EPSG:3879, and its origin")
        self.georeference = georeference
        self.crs = projected_crs(georeference.crs)
        self._origin = np.asarray(georeference.origin, dtype=np.float64)

    def to_model(self, lat, lon, height=None) -> np.ndarray:
        """Model coordinates [..., 2] (x east, y north) or, with `height` [...] of the model's own height system,
        [..., 3]; of latitudes and longitudes [...] in degrees.

        Raises:
            InputError: a latitude or longitude that is not a number, lies outside the CRS's area of use, or looks
                swapped with the other.
        """
        lat, lon = _check_lat_lon(lat, lon, self.crs)
        east_north = transform(np.stack([lon, lat], axis=-1), WGS84, self.crs, self.georeference.epoch)
        if height is None:
            return east_north - self._origin[:2]
        height = np.broadcast_to(np.asarray(height, dtype=np.float64), lat.shape)
        return np.concatenate([east_north, height[..., None]], axis=-1) - self._origin

    def to_lonlat(self, points) -> tuple[np.ndarray, np.ndarray]:
        """Latitude and longitude [...], degrees (in this order), of model points [..., 2] or [..., 3]."""
        world = np.asarray(points, dtype=np.float64)[..., :2] + self._origin[:2]
        lon_lat = transform(world, self.crs, WGS84, self.georeference.epoch)
        return lon_lat[..., 1], lon_lat[..., 0]

    def convergence(self, lat, lon) -> np.ndarray:
        """Meridian convergence [...] in radians, see `meridian_convergence`."""
        return meridian_convergence(lat, lon, self.crs)


def lonlat_to_model(lat, lon, georeference: Georeference, height=None) -> np.ndarray:
    """Degrees to model metres, `Projector.to_model` in one call. Note the order: latitude first, as people write it."""
    return Projector(georeference).to_model(lat, lon, height)


def model_to_lonlat(points, georeference: Georeference) -> tuple[np.ndarray, np.ndarray]:
    """Model metres [..., 2 or 3] to (latitude, longitude) [...] in degrees, `Projector.to_lonlat` in one call."""
    return Projector(georeference).to_lonlat(points)


def meridian_convergence(lat, lon, crs) -> np.ndarray:
    """The bearing of grid north: the angle from true north to the grid's y axis, clockwise positive, [...] radians.

    So a bearing counted from true north is larger than the one counted from the grid's y axis by this angle
    (near the central meridian about (lon - lon_0) sin lat).

    Args:
        lat, lon: [...] degrees.
        crs: a projected CRS (anything pyproj understands).

    Raises:
        InputError: as in `Projector.to_model`.
    """
    crs = projected_crs(crs)
    lat, lon = _check_lat_lon(lat, lon, crs)
    factors = _projection(crs.to_wkt()).get_factors(lon, lat, errcheck=True)
    return np.deg2rad(np.asarray(factors.meridian_convergence, dtype=np.float64)).reshape(lat.shape)[()]


def true_to_grid_heading(heading, lat, lon, crs) -> np.ndarray:
    """A bearing from true north, [...] radians, to one from the model's y axis, as `pose_from_heading` takes it."""
    return np.asarray(heading, dtype=np.float64) - meridian_convergence(lat, lon, crs)


def grid_to_true_heading(heading, lat, lon, crs) -> np.ndarray:
    """The inverse of `true_to_grid_heading`."""
    return np.asarray(heading, dtype=np.float64) + meridian_convergence(lat, lon, crs)


def transform(points, source, target, epoch: float | None = None) -> np.ndarray:
    """Horizontal coordinates from one CRS to another.

    Args:
        points: [..., 2] or [..., 3]: (x = east, y = north) or (longitude, latitude) in degrees; a third column (height)
            is handed through unchanged.
        source, target: anything pyproj understands; of compound systems the horizontal part is used.
        epoch: decimal year of the positions on the WGS84 side, or None to equate WGS84 with plate-fixed datums as PROJ
            does by default. Without effect where neither side is geographic WGS84.

    Returns:
        float64, the shape of `points`.

    Raises:
        InputError: unknown CRS, points that are not finite or that PROJ cannot transform.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.shape[-1:] not in ((2,), (3,)):
        raise InputError(f"points of shape {points.shape}", where="transform", mend="Give [..., 2] or [..., 3]")
    source, target = horizontal_crs(source), horizontal_crs(target)
    if not np.isfinite(points).all():
        raise InputError("a coordinate is not a finite number", where=f"{source.name} to {target.name}",
                         mend="Remove or repair the rows without a position")
    x, y = points[..., 0].ravel(), points[..., 1].ravel()
    if epoch is None:
        moved = _transformer(source.to_wkt(), target.to_wkt()).transform(x, y)
    else:
        year = _check_epoch(epoch)
        pair = [DYNAMIC_WGS84 if _is_wgs84(crs) else crs.to_wkt() for crs in (source, target)]
        moved = _transformer(*pair).transform(x, y, np.zeros_like(x), np.full_like(x, year))
    result = points.copy()
    result[..., 0], result[..., 1] = (np.asarray(m).reshape(points.shape[:-1]) for m in moved[:2])
    if not np.isfinite(result).all():
        bad = int(np.flatnonzero(~np.isfinite(result).all(axis=-1).ravel())[0])
        raise InputError(f"PROJ cannot take point {bad} (from 0), x = {x[bad]}, y = {y[bad]}, from {source.name} to "
                         f"{target.name}", where="transform",
                         mend="Check the CRS, and that x is east or longitude and y north or latitude")
    return result


def horizontal_crs(crs) -> pyproj.CRS:
    """The CRS that pyproj makes of a code, WKT or PROJ string; the horizontal part if it is a compound one.

    Raises:
        InputError: pyproj does not know it.
    """
    import pyproj

    try:
        found = crs if isinstance(crs, pyproj.CRS) else _parse_crs(crs)
    except (pyproj.exceptions.CRSError, TypeError) as error:
        raise InputError(f"unknown coordinate reference system {crs!r}", where="crs",
                         mend='Write an EPSG code such as "EPSG:3879", WKT or a PROJ string') from error
    if not found.is_compound:
        return found
    part = found.sub_crs_list[0]
    # The part comes without its area of use; looked up by its code it has one.
    return _parse_crs(part.to_epsg()) if part.area_of_use is None and part.to_epsg() else part


def projected_crs(crs) -> pyproj.CRS:
    """`horizontal_crs` that may carry a model: projected, in metres, one axis east and one north.

    Raises:
        InputError: it is geographic, in feet, or its axes point elsewhere (south, west).
    """
    crs = horizontal_crs(crs)
    if not crs.is_projected:
        raise InputError(f"{crs.name} counts in degrees or from the Earth's centre, a model needs metres on a map grid",
                         where="crs", mend='Give a projected one, such as the UTM zone of the place ("EPSG:32635")')
    directions = {axis.direction for axis in crs.axis_info[:2]}
    if directions not in ({"east", "north"}, {"unknown"}, set()):
        # Polar systems say "south" or "north" for both axes, South African ones "west" and "south".
        raise InputError(f"the axes of {crs.name} point {' and '.join(sorted(directions))}, a model has x east and y "
                         "north", where="crs", mend="Reproject the model to a grid with such axes, for example UTM")
    for axis in crs.axis_info[:2]:
        if abs(axis.unit_conversion_factor - 1) > 1e-12:
            raise InputError(f"{crs.name} measures in {axis.unit_name}, a model is in metres", where="crs",
                             mend="Reproject the model to a metric system of the same place")
    return crs


def _check_lat_lon(lat, lon, crs: pyproj.CRS) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 arrays of one shape, after a look for numbers that cannot be right in this CRS."""
    lat, lon = np.broadcast_arrays(np.asarray(lat, dtype=np.float64), np.asarray(lon, dtype=np.float64))
    good = _inside(lat, lon, crs)
    if good.all():
        return lat, lon
    bad = int(np.flatnonzero(~good.ravel())[0])
    if not (np.isfinite(lat.ravel()[bad]) and np.isfinite(lon.ravel()[bad])):
        raise InputError(f"point {bad} (from 0) has no finite latitude and longitude", where="lat, lon",
                         mend="Remove or repair that row")
    here = f"latitude {lat.ravel()[bad]:.6f}, longitude {lon.ravel()[bad]:.6f}"
    which = "" if lat.size == 1 else f" (point {bad}, from 0)"
    if _inside(lon.ravel()[bad], lat.ravel()[bad], crs):
        raise InputError(f"{here}{which} look swapped: the other way round they lie in the area of {crs.name}, this "
                         "way they do not", where="lat, lon",
                         mend="Give the latitude (north) first, then the longitude")
    area = crs.area_of_use
    where = "" if area is None else (f" (longitude {area.west} to {area.east}, latitude {area.south} to {area.north}, "
                                     f"{area.name.split(' - ')[0]})")
    raise InputError(f"{here}{which} lie outside the area where {crs.name} is used{where}", where="lat, lon",
                     mend="Check the coordinates, or give the CRS of the place")


def _inside(lat, lon, crs: pyproj.CRS) -> np.ndarray:
    """[...] True where a position is a position at all and in the CRS's area of use (widened by the margin)."""
    lat, lon = np.asarray(lat), np.asarray(lon)
    inside = np.isfinite(lat) & np.isfinite(lon) & (np.abs(lat) <= 90) & (np.abs(lon) <= 180)
    area = crs.area_of_use
    if area is None:
        return inside
    width = (area.east - area.west) % 360.0 or 360.0  # over the antimeridian west is larger than east
    from_west = np.mod(lon - area.west + AREA_MARGIN_DEG, 360.0)
    return inside & (lat >= area.south - AREA_MARGIN_DEG) & (lat <= area.north + AREA_MARGIN_DEG) & (
        from_west <= width + 2 * AREA_MARGIN_DEG)


def _check_epoch(epoch: float) -> float:
    if not 1980.0 <= float(epoch) <= 2100.0:
        raise InputError(f"{epoch} is no epoch", where="epoch",
                         mend="Give a decimal year such as 2021.5, or leave it out")
    return float(epoch)


def _is_wgs84(crs: pyproj.CRS) -> bool:
    return crs.is_geographic and (crs.to_epsg() in (4326, 4979) or crs.to_authority() == ("OGC", "CRS84"))


@lru_cache(maxsize=64)
def _parse_crs(text) -> pyproj.CRS:
    import pyproj

    return pyproj.CRS.from_user_input(text)


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    import pyproj

    return pyproj.Transformer.from_crs(source, target, always_xy=True)


@lru_cache(maxsize=64)
def _projection(wkt: str) -> pyproj.Proj:
    import pyproj

    return pyproj.Proj(pyproj.CRS.from_wkt(wkt))
