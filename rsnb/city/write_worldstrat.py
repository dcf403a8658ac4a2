"""The city and the country around it in WorldStrat's layout, with the truth that the real set never had.

    lr_dataset/<place>/L2A/<place>-<n>-L2A_data.tiff   B01 02 03 04 05 06 07 08 8A 09 11 12, float32 reflectance
                          <place>-<n>-SCL.tiff ...     SCL, CLM (0, 1), CLP (0..255), dataMask: float32, same grid
                          <place>-<n>.metadata         JSON: n, lon, lat, bounds, lowres_date, highres_date, delta ...
    hr_dataset/12bit/<place>/<place>_pan.tiff          1054 x 1054 uint16, 1.5 m; a CRS but no transform, as published
                            <place>_rgbn.tiff          263 x 263 x 4 uint16, 6 m, red green blue nir
    truth/<place>/scene.npz                            for evaluation only, see `true_images.truth_image`
                  series.json                          dates, shifts (see `true_images.true_shifts`), cloud heights
                  <place>-<n>-clouds.tif               bands cloud, cloud shadow (0, 1), opacity x 200, shade x 200
                  <place>-high-resolution.tif          true red green blue nir x 10000 at the date of the SPOT picture

WorldStrat: Cornebise, Orsolic, Kalaitzis, "Open high-resolution satellite imagery: the WorldStrat dataset", NeurIPS
2022. As there, low-resolution pixels are degrees (so not square in metres), 20 m and 60 m bands are repeated to 10 m,
revisit numbers are no date order, `cloud_cover` is not of the crop, and the SPOT picture is out of register by metres.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from rsnb.city.acquisitions import Acquisition, Observation, check_weather, observe, plan_acquisitions
from rsnb.city.district import shared_district
from rsnb.city.grids import Grid
from rsnb.city.landscape import Landscape
from rsnb.city.options import CORE_M, GEOREFERENCE, CityOptions, check_index, core_bounds
from rsnb.city.seasons import BANDS
from rsnb.city.sensor import HIGH_RESOLUTION, Sensor, nearest
from rsnb.city.series import SeriesTruth
from rsnb.city.store import ensure_built
from rsnb.city.survey import build_truth
from rsnb.city.true_images import at_overpass
from rsnb.errors import InputError
from rsnb.files import atomic_path, write_text

HR_M = 1.5
# SPOT-like 12-bit numbers = offset + gain (reflectance x transmitted + path radiance), by band.
_SPOT = {"red": (7500.0, 0.90, 0.020), "green": (7000.0, 0.88, 0.036), "blue": (5600.0, 0.85, 0.070),
         "nir": (7500.0, 0.92, 0.008)}
_PAN = {"blue": 0.22, "green": 0.36, "red": 0.42}
_SPOT_OFFSET = 90.0


@dataclass(frozen=True)
class WorldStratOptions:
    """What to write.

    Attributes:
        city: see there.
        districts: (i, j) of the districts that become places; each takes some seconds to build.
        n_country: more places, of open country.
        high_resolution_date: of the SPOT-like pictures.
        span_days: the revisits lie within half of this before and after.
        covers: cloud cover of each revisit, 0..1, dealt out in random order.
        hr_pixels: side of the panchromatic picture, pixels of 1.5 m (WorldStrat: 1054).
        fine_m: step of the grid that the truth is sampled on.
        shift_px: largest misregistration of a revisit, 10 m pixels.
        hr_shift_m: largest misregistration of the high-resolution pictures.
        sensor: optics and noise of the low-resolution instrument.
    """

    city: CityOptions = field(default_factory=CityOptions)
    districts: tuple[tuple[int, int], ...] = ((0, 0),)
    n_country: int = 1
    high_resolution_date: str = "2022-06-20"
    span_days: int = 190
    covers: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.02, 0.08, 0.35, 1.0)
    hr_pixels: int = 1054
    fine_m: float = 1.0
    shift_px: float = 0.3
    hr_shift_m: float = 4.0
    sensor: Sensor = field(default_factory=Sensor)

    def __post_init__(self):
        for index in self.districts:
            check_index(index)
        at_overpass(self.high_resolution_date)
        check_weather(self.covers, self.shift_px, "WorldStratOptions")
        if not (self.districts or self.n_country > 0):
            raise InputError("there is no place to write", where="WorldStratOptions", mend="Name a district")
        if not (isinstance(self.hr_pixels, int) and self.hr_pixels >= 64 and 0.25 <= self.fine_m <= 3.0):
            raise InputError(f"hr_pixels is {self.hr_pixels} and fine_m {self.fine_m}", where="WorldStratOptions",
                             mend="Use at least 64 pixels and 0.25 to 3 m")


def ensure_worldstrat(root: str | Path, options: WorldStratOptions = WorldStratOptions()) -> Path:
    """The folder of the data set below `root`, built now if it is not there yet (see `store.ensure_built`)."""
    return ensure_built(root, "worldstrat", asdict(options), lambda folder: write_worldstrat(folder, options))


def write_worldstrat(folder: Path, options: WorldStratOptions) -> None:
    """Write all files into an existing folder."""
    for number, (i, j) in enumerate(check_index(index) for index in options.districts):
        district = shared_district(options.city, (i, j), belt=True)
        landscape = Landscape(options.city.seed, district.bounds)
        x, y, *_ = core_bounds((i, j))
        truth = build_truth(_grid(x + CORE_M / 2, y + CORE_M / 2, options), landscape, district)
        write_place(folder, f"City-{options.city.seed:02d}{i}{j}", truth, options, number)
    for k in range(options.n_country):
        x, y = 500.0 + 4200.0 * k, 500.0 - 3100.0 * k
        truth = build_truth(_grid(x, y, options), Landscape(options.city.seed + 101 + k), city=options.city)
        write_place(folder, f"Country-{options.city.seed:02d}{k:02d}", truth, options, 50 + k)


def _grid(x: float, y: float, options: WorldStratOptions) -> Grid:
    """The fine grid in degrees around a point in model metres."""
    import pyproj

    side = options.hr_pixels * HR_M
    east, north = x + GEOREFERENCE.origin[0], y + GEOREFERENCE.origin[1]
    to_lonlat = pyproj.Transformer.from_crs(GEOREFERENCE.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform([east - side / 2, east + side / 2, east, east], [north, north, north - side / 2,
                                                                                 north + side / 2])
    n = round(side / options.fine_m)
    return Grid("EPSG:4326", ((lon[1] - lon[0]) / n, 0.0, lon[0], 0.0, -(lat[3] - lat[2]) / n, lat[3]), (n, n))


def write_place(folder: Path, name: str, truth: SeriesTruth, options: WorldStratOptions, number: int) -> None:
    """All files of one place."""
    seed = (options.city.seed, number, 81)
    rng = np.random.default_rng(seed)
    high_date = at_overpass(options.high_resolution_date) + np.timedelta64(2400, "s")
    half = np.timedelta64(options.span_days // 2, "D")
    lon, lat = truth.grid.centre_lonlat
    plan = plan_acquisitions((lat, lon), high_date - half, high_date + half, options.covers, options.shift_px, seed)
    side = options.hr_pixels * HR_M
    shape = round(side / 9.88), round(side / 10.07)
    grid = truth.grid.resized(shape)
    records = []
    for n, index in enumerate(rng.permutation(len(plan)), start=1):
        seen = observe(truth, plan[index], shape, sensor=options.sensor)
        _write_revisit(folder / "lr_dataset" / name / "L2A", f"{name}-{n}", seen, grid)
        stated = round(float(np.clip(100 * plan[index].cover * rng.uniform(0.3, 1.2), 0, 100)), 2)
        metadata = _metadata(n, grid, plan[index], high_date, stated, name, float(rng.integers(2, 200) / 2))
        write_text(folder / "lr_dataset" / name / "L2A" / f"{name}-{n}.metadata", json.dumps(metadata, indent=4))
        _write_tiff(folder / "truth" / name / f"{name}-{n}-clouds.tif", seen.cloud_layers, grid, compress="deflate")
        records.append({"n": n, **seen.record})
    shift_m = tuple(float(v) for v in np.round(rng.uniform(-options.hr_shift_m, options.hr_shift_m, 2), 3))
    _write_high_resolution(folder, name, truth, high_date, shift_m, options, rng)
    truth.save(folder / "truth" / name / "scene.npz")
    series = {"place": name, "highres_date": str(high_date), "highres_shift_m_right_down": shift_m,
              "footprint": truth.grid.bounds, "revisits": records}
    write_text(folder / "truth" / name / "series.json", json.dumps(series, indent=1) + "\n")


def _metadata(n, grid: Grid, acquisition: Acquisition, high_date, cloud_cover: float, name: str, rank: float) -> dict:
    left, bottom, right, top = grid.bounds
    lon, lat = grid.centre_lonlat
    low, high = (d.astype("datetime64[D]") for d in (acquisition.date, high_date))
    wide, tall = (pixel * count / 1000 for pixel, count in zip(grid.pixel_m, grid.shape[::-1], strict=True))
    urban = name.startswith("City")
    return {"n": n, "lon": lon, "lat": lat, "bounds": json.dumps([left, bottom, right, top]), "lowres_date": str(low),
            "highres_date": str(high), "delta": int((low - high) / np.timedelta64(1, "D")), "rank": rank,
            "cloud_cover": cloud_cover, "area": round(wide * tall, 2), "LCCS": 190 if urban else 10,
            "SMOD": "Urban: Dense Urban" if urban else "Rural: Very Low Dens",
            "IPCC": "Settlement" if urban else "Agriculture"}


def _write_revisit(folder: Path, stem: str, seen: Observation, grid: Grid) -> None:
    images = np.stack([nearest(seen.images[band], grid.shape) for band in BANDS])
    _write_tiff(folder / f"{stem}-L2A_data.tiff", np.round(images, 4), grid, nodata=0)  # made of whole numbers
    scl = nearest(seen.scl, grid.shape).astype(np.float32)
    masks = {"SCL": scl, "CLM": np.isin(scl, (8, 9, 10)).astype(np.float32),
             "CLP": _cloud_probability(seen, grid),
             "dataMask": np.ones(grid.shape, np.float32)}
    for name, mask in masks.items():
        _write_tiff(folder / f"{stem}-{name}.tiff", mask[None].astype(np.float32), grid, nodata=0)


def _cloud_probability(seen: Observation, grid: Grid) -> np.ndarray:
    """[h, w] 0..255: a coarse and uncertain guess, as s2cloudless makes it in pixels of 160 m; not the true opacity."""
    coarse = seen.clouds.resized(tuple(-(-n // 16) for n in grid.shape))
    rng = np.random.default_rng((*seen.acquisition.seed, 83))
    guess = np.maximum(coarse.opacity, coarse.cirrus) + rng.normal(0.02, 0.06, coarse.opacity.shape)
    return nearest(np.round(255 * np.clip(guess, 0.0, 0.98)), grid.shape)


def _write_high_resolution(folder: Path, name: str, truth: SeriesTruth, date, shift_m, options, rng) -> None:
    """The SPOT-like pair and the true picture on its grid; the truth is neither shifted nor blurred."""
    day, here = truth.on(date), folder / "hr_dataset" / "12bit" / name
    sizes = {HR_M: (options.hr_pixels,) * 2, 4 * HR_M: (options.hr_pixels // 4,) * 2}

    def numbers(gsd: float, bands: dict) -> list[np.ndarray]:
        shift = tuple(v / gsd for v in shift_m)
        clear = day.image(sizes[gsd], tuple(bands), HIGH_RESOLUTION.fwhm_px, shift)
        images = HIGH_RESOLUTION.noisy(clear, rng)
        return [gain * (passed * image + path)
                for image, (gain, passed, path) in zip(images, bands.values(), strict=True)]

    rgbn = np.stack(numbers(4 * HR_M, _SPOT))
    pan = sum(weight * image for weight, image in zip(
        _PAN.values(), numbers(HR_M, {band: _SPOT[band] for band in _PAN}), strict=True))
    for suffix, data in (("rgbn", rgbn), ("pan", pan[None])):
        stored = np.clip(np.round(_SPOT_OFFSET + data), 1, 4095).astype(np.uint16)
        _write_tiff(here / f"{name}_{suffix}.tiff", stored, None)
    true = np.clip(np.round(day.image(sizes[HR_M], ("red", "green", "blue", "nir")) * 1e4), 0, 65535).astype(np.uint16)
    _write_tiff(folder / "truth" / name / f"{name}-high-resolution.tif", true,
                truth.grid.resized(sizes[HR_M]), compress="deflate", predictor=2, tiled=True)


def _write_tiff(path: Path, data: np.ndarray, grid: Grid | None, **more) -> None:
    """A GeoTIFF [B, H, W]; without a grid it gets a CRS and no transform, as WorldStrat's SPOT pictures."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.transform import Affine

    profile = dict(driver="GTiff", width=data.shape[2], height=data.shape[1], count=len(data), dtype=data.dtype,
                   crs="EPSG:4326" if grid is None else grid.crs, interleave="pixel") | more
    if grid is not None:
        profile["transform"] = Affine(*grid.transform)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(temporary, "w", **profile) as file:
            file.write(data)
