"""A static STAC catalogue of the city: a year of a Sentinel-2-like series, high-resolution pictures, a surface model.

    catalog.json
    sentinel-2-l2a/collection.json, <id>/<id>.json     items worded as on Earth Search v1
                   <id>/B02.tif ... SCL.tif TCI.tif    COGs (deflate, blocks of 512, overviews), EPSG:32635
                   <id>/thumbnail.jpg
    cop-dem-glo-30/...                                 heights of the surface, float32 COG, EPSG:4326
    city-high-resolution/...                           red green blue nir at 1.5 m, uint16 COG, STAC 1.1
    truth/wide, truth/near                             for evaluation only: scene.npz (see `true_images.truth_image`)
    truth/series.json, truth/<id>-clouds.tif           dates, shifts, weather; cloud, cloud shadow, opacity, shade
                                                       (the sign of shifts: see `true_images.true_shifts`)

Digital numbers are reflectance x 10000; items differ in their processing baseline and in whether the offset of 1000
is still in the numbers, as on the real catalogue. One item covers its grid only in part.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from rsnb.city import stac_items as stac
from rsnb.city.acquisitions import NATIVE_M, Acquisition, check_weather, observe, plan_acquisitions
from rsnb.city.district import shared_district
from rsnb.city.grids import Grid
from rsnb.city.landscape import Landscape
from rsnb.city.options import CORE_M, GEOREFERENCE, CityOptions, check_index, core_bounds
from rsnb.city.sensor import HIGH_RESOLUTION, Sensor, nearest, sample, sampling_matrix
from rsnb.city.series import SeriesTruth, band_numbers
from rsnb.city.store import ensure_built
from rsnb.city.survey import build_truth
from rsnb.city.true_images import at_overpass
from rsnb.errors import InputError
from rsnb.files import atomic_path, write_text

EPSG = 32635
OFFSET_SINCE = np.datetime64("2022-01-25")  # ESA's processing baseline 04.00
HIGH_BANDS = ("red", "green", "blue", "nir")
_PARTIAL = 0.4  # one item lacks the north-western triangle of this part of both sides
_ARC_SECOND = 1.0 / 3600.0


@dataclass(frozen=True)
class CatalogueOptions:
    """What to write.

    Attributes:
        city: see there.
        district: (i, j) in the middle.
        start, stop: first and last day of the series.
        covers: cloud cover of each date, 0..1, dealt out in random order.
        bands: reflectance bands, of `seasons.BANDS`; red, green, blue also make the true-colour picture.
        pixels: side of the 10 m bands, a multiple of 6.
        fine_m: step of the grid that the series' truth is sampled on.
        shift_px: largest misregistration of a date, 10 m pixels.
        high_resolution_dates: of the 1.5 m pictures.
        high_pixels: their side.
        sensor: optics and noise of the series.
    """

    city: CityOptions = field(default_factory=CityOptions)
    district: tuple[int, int] = (0, 0)
    start: str = "2021-08-10"
    stop: str = "2022-10-05"
    covers: tuple[float, ...] = (0.0, 0.0, 0.03, 0.1, 0.25, 0.0, 0.55, 1.0)
    bands: tuple[str, ...] = ("blue", "green", "red", "nir", "swir16", "swir22")
    pixels: int = 540
    fine_m: float = 10 / 3
    shift_px: float = 0.3
    high_resolution_dates: tuple[str, ...] = ("2021-09-04", "2022-06-20")
    high_pixels: int = 1024
    sensor: Sensor = field(default_factory=Sensor)

    def __post_init__(self):
        check_index(self.district)
        band_numbers(self.bands)
        for date in (self.start, self.stop):
            at_overpass(date)
        days = [at_overpass(date).astype("datetime64[D]") for date in self.high_resolution_dates]
        if len(set(days)) < len(days):
            raise InputError("one day is named twice", where="high_resolution_dates", mend="Name each day once")
        check_weather(self.covers, self.shift_px, "CatalogueOptions")
        if not isinstance(self.pixels, int) or self.pixels % 6 or self.pixels < 24:
            raise InputError(f"pixels is {self.pixels!r}", where="CatalogueOptions", mend="Use a multiple of 6 from 24")
        if not isinstance(self.high_pixels, int) or self.high_pixels < 32:
            raise InputError(f"high_pixels is {self.high_pixels!r}", where="CatalogueOptions", mend="Use 32 or more")
        if not 0.5 <= self.fine_m <= 5.0:
            raise InputError(f"fine_m is {self.fine_m}", where="CatalogueOptions", mend="Use 0.5 to 5 m")
        if not {"red", "green", "blue"} <= set(self.bands):
            raise InputError(f"bands are {', '.join(self.bands)}", where="CatalogueOptions",
                             mend="red, green and blue must be among them")


def ensure_catalogue(root: str | Path, options: CatalogueOptions = CatalogueOptions()) -> Path:
    """The folder of the catalogue below `root`, built now if it is not there yet (see `store.ensure_built`)."""
    return ensure_built(root, "catalogue", asdict(options), lambda folder: write_catalogue(folder, options))


def write_catalogue(folder: Path, options: CatalogueOptions) -> None:
    """Write all files into an existing folder."""
    district = shared_district(options.city, check_index(options.district), belt=True)
    landscape = Landscape(options.city.seed, district.bounds)
    wide, near = _grids(options)
    district.scene  # built once, before two threads ask for it  # noqa: B018
    with ThreadPoolExecutor(2) as pool:
        far, close = pool.map(lambda grid: build_truth(grid, landscape, district), (wide, near))
        for name, truth in (("wide", far), ("near", close)):
            truth.save(folder / "truth" / name / "scene.npz")
        collections = [
            _write_series(folder, far, options, pool),
            _write_collection(folder, "dem", "Copernicus-like DEM GLO-30", "Heights of the city's surface, 1 x 2 arc "
                              "seconds", [_write_dem(folder, far)]),
            _write_collection(folder, "high", "High-resolution pictures", "Red, green, blue and near infrared at 1.5 m",
                              [_write_high(folder, close, date, options) for date in options.high_resolution_dates])]
    _write_json(folder / "catalog.json", stac.catalogue([c for c in collections if c]))


def _grids(options: CatalogueOptions) -> tuple[Grid, Grid]:
    """Fine grids of the series, on the 60 m lattice of Sentinel-2's tiles, and of the high-resolution pictures."""
    import pyproj

    x, y, *_ = core_bounds(options.district)
    centre = pyproj.Transformer.from_crs(GEOREFERENCE.crs, f"EPSG:{EPSG}", always_xy=True).transform(
        x + CORE_M / 2 + GEOREFERENCE.origin[0], y + CORE_M / 2 + GEOREFERENCE.origin[1])

    def square(side: float, fine: float, lattice: float) -> Grid:
        n = round(side / fine)
        left, top = (round(v / lattice) * lattice for v in (centre[0] - side / 2, centre[1] + side / 2))
        return Grid(f"EPSG:{EPSG}", (side / n, 0.0, left, 0.0, -side / n, top), (n, n))

    return square(10.0 * options.pixels, options.fine_m, 60.0), square(1.5 * options.high_pixels, 1.0, 1.5)


def _write_series(folder: Path, truth: SeriesTruth, options: CatalogueOptions, pool) -> dict:
    lon, lat = truth.grid.centre_lonlat
    plan = plan_acquisitions((lat, lon), at_overpass(options.start), at_overpass(options.stop), options.covers,
                             options.shift_px, (options.city.seed, *options.district, 91))
    partial = int(np.argmin([a.cover for a in plan]))  # the first cloudless one, so that its gap is seen
    done = list(pool.map(lambda n: _write_date(folder, truth, plan[n], options, n == partial), range(len(plan))))
    write_text(folder / "truth" / "series.json", json.dumps([record for _, record in done], indent=1) + "\n")
    return _write_collection(folder, "s2", "Sentinel-2 Level 2A", "Simulated pictures like Sentinel-2's, of the "
                             "procedural city through the seasons", [document for document, _ in done])


def _write_date(folder: Path, truth: SeriesTruth, acquisition: Acquisition, options: CatalogueOptions,
                partial: bool) -> tuple[dict, dict]:
    """All files of one date; its item, and its record for the evaluation."""
    seen = observe(truth, acquisition, (options.pixels,) * 2, options.bands, options.sensor)
    how = processing_of(acquisition)
    name = stac.s2_id(acquisition.date, acquisition.platform)
    here = folder / stac.COLLECTIONS["s2"] / name
    grids = {metres: truth.grid.resized((-(-options.pixels * 10 // metres),) * 2) for metres in (10, 20, 60)}
    assets = {}
    for band, image in seen.images.items():
        grid = grids[NATIVE_M[band]]
        numbers = np.round(image * 1e4) + how.stored_offset
        numbers = np.where(_covered(grid.shape, partial), np.clip(numbers, 1, 32767), 0).astype(np.uint16)
        file = f"{stac.S2_BANDS[band][0]}.tif"
        write_cog(here / file, numbers[None], grid, nodata=0)
        assets[band] = stac.with_file(stac.s2_asset(band, grid, how), here, file)
    scl = np.where(_covered(seen.scl.shape, partial), seen.scl, 0).astype(np.uint8)
    write_cog(here / "SCL.tif", scl[None], grids[20], nodata=0, resampling="nearest")
    colour = _true_colour(np.stack([seen.images[b] for b in ("red", "green", "blue")]),
                          _covered(grids[10].shape, partial))
    write_cog(here / "TCI.tif", colour, grids[10], nodata=0)
    assets["scl"] = stac.with_file(stac.scl_asset(grids[20]), here, "SCL.tif")
    assets["visual"] = stac.with_file(stac.visual_asset(grids[10]), here, "TCI.tif")
    assets["thumbnail"] = _thumbnail(here, colour)
    sun = truth.sun(acquisition.date)
    properties = stac.s2_properties(acquisition.date, acquisition.platform, tuple(
        float(np.degrees(v)) for v in (sun.azimuth, sun.elevation)), scl, how, EPSG)
    outline = ((_PARTIAL, 0), (1, 0), (1, 1), (0, 1), (0, _PARTIAL)) if partial else ((0, 0), (1, 0), (1, 1), (0, 1))
    document = stac.item(name, stac.COLLECTIONS["s2"], stac.footprint(truth.grid, outline[::-1]), properties, assets,
                         ("eo/v1.1.0", "projection/v1.1.0", "raster/v1.1.0", "view/v1.0.0", "grid/v1.0.0",
                          "mgrs/v1.0.0", "file/v2.1.0"))
    _write_json(here / f"{name}.json", document)
    write_cog(folder / "truth" / f"{name}-clouds.tif", seen.cloud_layers, grids[10])
    return document, {"id": name, **seen.record, "offset_in_numbers": how.stored_offset}


def processing_of(acquisition: Acquisition) -> stac.Processing:
    """Before 2022-01-25 no offset; after it the passes of one satellite have it taken off, those of the other not."""
    if acquisition.date < OFFSET_SINCE:
        return stac.Processing("03.01", 0, False)
    if acquisition.platform.endswith("a"):
        return stac.Processing("05.10", -0.1, True)
    return stac.Processing("04.00", -0.1, False)


def _covered(shape: tuple[int, int], partial: bool) -> np.ndarray:
    """[h, w] bool: seen by the satellite."""
    down, right = ((np.arange(n) + 0.5) / n for n in shape)
    return right[None] + down[:, None] >= (_PARTIAL if partial else 0.0)


def _true_colour(rgb: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """[3, h, w] uint8: ESA's true-colour scale, reflectance 0.3558 = 255; 0 = no data."""
    return np.where(covered, np.clip(np.round(rgb / 0.3558 * 255), 1, 255), 0).astype(np.uint8)


def _thumbnail(folder: Path, colour: np.ndarray) -> dict:
    from PIL import Image

    small = nearest(colour, (343, 343)) if colour.shape[1] < 343 else colour
    with atomic_path(folder / "thumbnail.jpg") as temporary:
        Image.fromarray(small.transpose(1, 2, 0)).resize((343, 343), Image.Resampling.BOX).save(temporary, quality=85)
    return stac.with_file({"type": "image/jpeg", "title": "Thumbnail image", "roles": ["thumbnail"]}, folder,
                          "thumbnail.jpg")


def _write_dem(folder: Path, truth: SeriesTruth) -> dict:
    """Surface heights in degrees: 1 arc second down, 2 across, as Copernicus DEM has them from 60 to 70 degrees."""
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    name = "Copernicus_DSM_COG_10_N60_00_E024_00_DEM"
    metres = truth.grid.resized(truth.shape_at(15.0))
    heights = sample(truth.height, *(sampling_matrix(n, m) for n, m in zip(truth.grid.shape, metres.shape,
                                                                           strict=True)))
    west, south, east, north = stac.footprint(truth.grid)[1]
    step = 2 * _ARC_SECOND, _ARC_SECOND
    left, top = np.ceil(west / step[0]) * step[0], np.floor(north / step[1]) * step[1]
    shape = int((top - south) / step[1]), int((east - left) / step[0])
    grid = Grid("EPSG:4326", (step[0], 0.0, float(left), 0.0, -step[1], float(top)), shape)
    dem = np.full(shape, -32767.0, np.float32)
    reproject(heights, dem, src_transform=Affine(*metres.transform), src_crs=metres.crs, dst_crs=grid.crs,
              dst_transform=Affine(*grid.transform), resampling=Resampling.bilinear, dst_nodata=-32767.0)
    here = folder / stac.COLLECTIONS["dem"] / name
    write_cog(here / f"{name}.tif", dem[None], grid, nodata=-32767.0)
    asset = {"type": stac.COG_TYPE, "title": name, "roles": ["data"],
             "raster:bands": [{"nodata": -32767.0, "data_type": "float32", "unit": "metre", "sampling": "point"}]}
    properties = {"datetime": "2021-04-22T00:00:00Z", "gsd": 30, "proj:epsg": 4326, "proj:shape": list(shape),
                  "proj:transform": list(grid.transform), "rsnb:simulated": True}
    document = stac.item(name, stac.COLLECTIONS["dem"], stac.footprint(grid), properties,
                         {"data": stac.with_file(asset, here, f"{name}.tif")},
                         ("projection/v1.1.0", "raster/v1.1.0", "file/v2.1.0"))
    _write_json(here / f"{name}.json", document)
    return document


def _write_high(folder: Path, truth: SeriesTruth, date: str, options: CatalogueOptions) -> dict:
    """One 1.5 m picture: sharper optics, other numbers (reflectance x 8000 + 120), no clouds."""
    moment = at_overpass(date) + np.timedelta64(2400, "s")
    name = f"HIGH_{str(moment)[:10].replace('-', '')}"
    here = folder / stac.COLLECTIONS["high"] / name
    grid = truth.grid.resized((options.high_pixels,) * 2)
    rng = np.random.default_rng([options.city.seed, *options.district, int(str(moment)[:10].replace("-", ""))])
    clear = truth.on(moment).image(grid.shape, HIGH_BANDS, HIGH_RESOLUTION.fwhm_px)
    image = HIGH_RESOLUTION.noisy(clear, rng)
    numbers = np.clip(np.round(120 + 8000 * image), 1, 65535).astype(np.uint16)
    write_cog(here / "RGBN.tif", numbers, grid, nodata=0)
    bands = [{"name": b, "eo:common_name": b, "nodata": 0, "data_type": "uint16", "raster:scale": 0.000125,
              "raster:offset": -0.015} for b in HIGH_BANDS]
    assets = {"analytic": stac.with_file({"type": stac.COG_TYPE, "title": "Red, green, blue, near infrared",
                                          "bands": bands, "roles": ["data"]}, here, "RGBN.tif"),
              "thumbnail": _thumbnail(here, _true_colour(image[:3], np.ones(grid.shape, bool)))}
    sun = truth.sun(moment)
    properties = {"datetime": f"{moment}Z", "gsd": 1.5, "eo:cloud_cover": 0.0, "proj:code": grid.crs,
                  "proj:shape": list(grid.shape), "proj:transform": list(grid.transform), "rsnb:simulated": True,
                  "view:sun_azimuth": float(np.degrees(sun.azimuth)),
                  "view:sun_elevation": float(np.degrees(sun.elevation))}
    document = stac.item(name, stac.COLLECTIONS["high"], stac.footprint(grid), properties, assets,
                         ("eo/v2.0.0", "projection/v2.0.0", "raster/v2.0.0", "view/v1.0.0", "file/v2.1.0"), "1.1.0")
    _write_json(here / f"{name}.json", document)
    return document


def _write_collection(folder: Path, which: str, title: str, description: str, items: list[dict]) -> dict | None:
    if not items:
        return None
    document = stac.collection(stac.COLLECTIONS[which], title, description, items)
    _write_json(folder / document["id"] / "collection.json", document)
    return document


def _write_json(path: Path, document: dict) -> None:
    write_text(path, json.dumps(document, indent=1) + "\n")


def write_cog(path: Path, data: np.ndarray, grid: Grid, *, nodata=None, resampling: str = "average") -> None:
    """A cloud-optimised GeoTIFF [B, H, W]: deflate with predictor, blocks of 512, overviews down to one block."""
    import rasterio
    from rasterio.transform import Affine

    profile = dict(driver="COG", width=data.shape[2], height=data.shape[1], count=len(data), dtype=data.dtype,
                   crs=grid.crs, transform=Affine(*grid.transform), nodata=nodata, compress="deflate",
                   predictor="yes", blocksize=512, overview_resampling=resampling)
    with atomic_path(path) as temporary, rasterio.open(temporary, "w", **profile) as file:
        file.write(data)
