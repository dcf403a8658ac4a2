"""The true look of a place from above on any day and at any pixel size: city, country around it, seasons, shadows.

`build_truth` lays a fine grid (about 1 m) over a place in the coordinate system of the product to come, and asks for
each of its points once what lies there. After that every date is a table look-up: reflectance of the surface on that
day, times the light that the sun of that day throws on it past houses and trees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from rsnb.city.district import District, build_district
from rsnb.city.landscape import Landscape, landscape_table
from rsnb.city.options import BUILDING, CAR, GEOREFERENCE, GRASS, TREE, WATER, CityOptions
from rsnb.city.seasons import BANDS, SKY_SHARE, SPECTRA, SurfaceTable, between, painted
from rsnb.city.sensor import sample, sampling_matrix
from rsnb.city.sun import Sun, sun_position
from rsnb.city.terrain import natural_height
from rsnb.city.truth import top_surface
from rsnb.errors import InputError
from rsnb.files import atomic_path, require_file

_LATTICE = 33  # places at which a grid is projected exactly; between them it is bent by less than a millimetre
_SHADOW_REACH_M = 400.0


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
        within 2^m steps is found in m doublings.
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
            InputError: an unknown band.
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
        return tuple(sampling_matrix(n, m, fwhm_px, by)
                     for n, m, by in zip(fine, shape or fine, (shift_px[1], shift_px[0]), strict=True))


def load_truth(path: str | Path) -> SeriesTruth:
    """A `SeriesTruth` as its `save` wrote it."""
    with np.load(require_file(path, "truth of a series")) as f:
        table = SurfaceTable(**{k.removeprefix("table_"): f[k] for k in f.files if k.startswith("table_")})
        grid = Grid(str(f["crs"]), tuple(float(v) for v in f["transform"]), f["surface"].shape)
        return SeriesTruth(
            grid, f["surface"], f["height_cm"] * np.float32(0.01) + np.float32(f["height_low"]),
            f["facing"] * np.float32(1 / 40), f["brightness"] * np.float32(0.01), table)


def band_numbers(bands) -> list[int]:
    """Places of bands in `BANDS`, or an `InputError` that names the unknown one."""
    unknown = [b for b in bands if b not in BANDS]
    if unknown:
        raise InputError(f"there is no band {unknown[0]!r}", where="bands", mend=f"Choose from {', '.join(BANDS)}")
    return [BANDS.index(b) for b in bands]


@lru_cache(maxsize=1)
def district_with_belt(options: CityOptions, index: tuple[int, int]) -> District:
    """`build_district` with its belt; the last one is kept, for a session writes more than one series of it."""
    return build_district(options, index, belt=True)


def build_truth(grid: Grid, landscape: Landscape, district: District | None = None,
                city: CityOptions = CityOptions()) -> SeriesTruth:
    """Asks for every point of a fine grid what lies there: the district's mesh inside its bounds, the country around.

    Args:
        grid: about 1 m to 2.5 m.
        landscape: the country; its `tile` should be the district's bounds.
        district: built with its belt, or None for open country.
        city: for the height of the hills where there is no district.
    """
    x, y = grid.model_xy()
    options = city if district is None else district.options
    key = np.empty(grid.shape, np.int64)
    above, brightness = np.empty(grid.shape, np.float32), np.empty(grid.shape, np.float32)
    for top in range(0, grid.shape[0], 64):  # a strip's temporaries stay in the cache
        part = slice(top, top + 64)
        key[part], above[part], brightness[part] = landscape(x[part], y[part])
    hills = natural_height(options, x[::8, ::8], y[::8, ::8]).repeat(8, 0).repeat(8, 1)
    height = (hills[: grid.shape[0], : grid.shape[1]] + above).astype(np.float32)
    keys, surface = np.unique(key, return_inverse=True)
    surface = surface.reshape(grid.shape).astype(np.int32)
    table, facing = landscape_table(keys), np.zeros((2, *grid.shape), np.float32)
    if district is not None:
        inside = _within(district.bounds, x, y)
        rows, z, slopes, city_table = _city_surfaces(district, x[inside], y[inside], grid)
        surface[inside] = rows + len(table)
        height[inside], brightness[inside] = z, 1.0
        facing[:, inside] = slopes
        table = table.joined(city_table)
    return SeriesTruth(grid, surface, height, facing, brightness, table).rounded()


def _within(bounds, x, y) -> np.ndarray:
    return (x > bounds[0]) & (x < bounds[2]) & (y > bounds[1]) & (y < bounds[3])


def _city_surfaces(district: District, x, y, grid: Grid):
    """Row of the table, height and slope [2, N] at points [N] of a district, and the table."""
    mesh = district.mesh
    z, prim = top_surface(district.scene, x, y)
    faces, face_row = np.unique(np.maximum(prim, 0), return_inverse=True)
    looks = np.stack([mesh.face_class, mesh.face_material, mesh.face_object], axis=1)[faces]
    looks, row_of_face = np.unique(looks, axis=0, return_inverse=True)
    normal = np.cross(*(mesh.vertices[mesh.faces[faces, k]] - mesh.vertices[mesh.faces[faces, 0]] for k in (1, 2)))
    slope = np.clip(normal[:, :2] / np.maximum(np.abs(normal[:, 2:]), 1e-9), -3.0, 3.0)
    slope *= np.where(mesh.face_class[faces] == TREE, 0.25, 1.0)[:, None]  # leaves let light through
    turn = grid.up_bearing  # model north is within 0.2 degrees of true north
    right = slope[:, 0] * np.cos(turn) - slope[:, 1] * np.sin(turn)
    up = slope[:, 0] * np.sin(turn) + slope[:, 1] * np.cos(turn)
    return (row_of_face.ravel()[face_row], np.where(np.isfinite(z), z, 0.0), np.stack([right, up])[:, face_row],
            _city_table(district, looks))


def _city_table(district: District, looks: np.ndarray) -> SurfaceTable:
    """One row for each (class, material, instance) of `looks` [N, 3]."""
    colour = np.stack([_mean_colour(m) for m in district.mesh.materials])[looks[:, 1]]
    kind = looks[:, 0]
    rng = np.random.default_rng([district.options.seed, *district.index, 61])
    count = int(looks[:, 2].max()) + 1
    own = rng.random((3, count))[:, looks[:, 2]]  # one draw an instance, so a roof's two sides agree
    needle = np.array([m.name.startswith("leaves_needle") for m in district.mesh.materials])[looks[:, 1]]
    built = painted(colour) * np.where(kind == BUILDING, 0.9 + 0.2 * own[1], 1.0)[:, None]
    winter, summer = built.copy(), built.copy()
    for where, low, high in ((kind == GRASS, "dry_grass", "grass"), (kind == WATER, "water", "green_water"),
                             ((kind == TREE) & ~needle, "bare_twigs", "leaves"),
                             ((kind == TREE) & needle, "cold_needles", "needles")):
        winter[where], summer[where] = SPECTRA[low], SPECTRA[high]
    green = np.isin(kind, (GRASS, TREE))
    table = between(winter, summer, peak_day=np.where(kind == GRASS, 180.0, 194.0) + 30.0 * (own[0] - 0.5),
                    gain=np.where(green, 0.88 + 0.24 * own[1], 1.0))
    table.cover[:] = np.select([green, kind == WATER], [4, 6], 5)
    renewed = (kind == BUILDING) & (own[2] > 0.97)  # a new metal roof between the summers
    table.change_day[:] = np.where(renewed, np.floor(7974 + 300 * own[0]), np.inf)  # from 2021-10-31 on
    table.changed[:] = SPECTRA["metal_roof"]
    parked = kind == CAR
    table.mean[parked] *= 0.9
    return table


def _mean_colour(material) -> np.ndarray:
    """[3] mean linear colour 0..1 of a material (sRGB decoded, IEC 61966-2-1)."""
    texture = np.full((1, 3), 255.0) if material.texture is None else material.texture[::4, ::4].reshape(-1, 3)
    value = np.clip(texture[:, :3] / 255.0 * np.asarray(material.rgb), 0.0, 1.0)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).mean(axis=0)


def _shifted(image: np.ndarray, towards: np.ndarray, steps: float) -> np.ndarray:
    """The value `steps` pixels away in the direction (right, up), nearest pixel; far below everything outside."""
    right, down = round(float(towards[0] * steps)), round(float(-towards[1] * steps))
    out = np.full(image.shape, -1e4, np.float32)
    h, w = image.shape
    if abs(right) < w and abs(down) < h:
        out[max(-down, 0):h - max(down, 0), max(-right, 0):w - max(right, 0)] = image[
            max(down, 0):h + min(down, 0), max(right, 0):w + min(right, 0)]
    return out
