"""North-up rasters on Earth and where their pixels lie in the city's own coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rsnb.city.options import GEOREFERENCE

_LATTICE = 33  # places at which a grid is projected exactly; between them it is bent by less than a millimetre


@dataclass(frozen=True)
class Grid:
    """A north-up raster's place on Earth.

    Attributes:
        crs: "EPSG:32635", "EPSG:4326" ...
        transform: (a, b, c, d, e, f) as in `DatedStack`; b = d = 0.
        shape: (rows, columns).
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]

    def resized(self, shape: tuple[int, int]) -> Grid:
        """The same footprint in other pixels."""
        a, _, c, _, e, f = self.transform
        (h, w), (rows, columns) = shape, self.shape
        return Grid(self.crs, (a * columns / w, 0.0, c, 0.0, e * rows / h, f), (h, w))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in the units of the CRS."""
        a, _, c, _, e, f = self.transform
        return c, f + e * self.shape[0], c + a * self.shape[1], f

    def model_xy(self) -> tuple[np.ndarray, np.ndarray]:
        """x, y [H, W] model metres of the pixel centres."""
        x, y = self._lattice
        rows, columns = (_line_weights(n) for n in self.shape)
        return rows @ x @ columns.T, rows @ y @ columns.T

    @cached_property
    def pixel_m(self) -> tuple[float, float]:
        """Width and height of a pixel on the ground, metres, in the middle of the grid."""
        x, y = self._lattice
        m = _LATTICE // 2
        step_r, step_c = (_LATTICE - 1) / self.shape[0], (_LATTICE - 1) / self.shape[1]
        return (float(np.hypot(x[m, m + 1] - x[m, m], y[m, m + 1] - y[m, m]) * step_c),
                float(np.hypot(x[m + 1, m] - x[m, m], y[m + 1, m] - y[m, m]) * step_r))

    @cached_property
    def centre_lonlat(self) -> tuple[float, float]:
        """Longitude and latitude of the middle, degrees."""
        import pyproj

        left, bottom, right, top = self.bounds
        return pyproj.Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True).transform(
            (left + right) / 2, (bottom + top) / 2)

    @cached_property
    def up_bearing(self) -> float:
        """Bearing of the grid's upward direction against true north, radians."""
        import pyproj

        left, bottom, right, top = self.bounds
        to_lonlat = pyproj.Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        lon, lat = to_lonlat.transform([(left + right) / 2] * 2, [bottom, top])
        return float(np.radians(pyproj.Geod(ellps="WGS84").inv(lon[0], lat[0], lon[1], lat[1])[0]))

    @cached_property
    def _lattice(self) -> tuple[np.ndarray, np.ndarray]:
        import pyproj

        left, bottom, right, top = self.bounds
        east, north = np.meshgrid(np.linspace(left, right, _LATTICE), np.linspace(top, bottom, _LATTICE))
        x, y = pyproj.Transformer.from_crs(self.crs, GEOREFERENCE.crs, always_xy=True).transform(east, north)
        return x - GEOREFERENCE.origin[0], y - GEOREFERENCE.origin[1]


def _line_weights(n: int) -> np.ndarray:
    """[n, _LATTICE] weights of linear interpolation from lattice lines to pixel centres."""
    at = (np.arange(n) + 0.5) / n * (_LATTICE - 1)
    return np.clip(1.0 - np.abs(at[:, None] - np.arange(_LATTICE)), 0.0, None)
