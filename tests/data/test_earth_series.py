"""Folders of dated rasters, made by rasterio, and the real MODIS and Sentinel-2 series; dates as files write them."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from scipy import stats

from rsnb.data.audit import audit_dataset as audit_of
from rsnb.data.earth.bands import band_id, choose, common_name
from rsnb.data.earth.dates import date_in_name, parse_date, parse_days
from rsnb.data.earth.geotiff_series import audit, read_series
from rsnb.data.earth.series_layers import SeriesOptions, SeriesWarning
from rsnb.data.raster import read_grid, read_on_grid
from rsnb.data.raster_grid import RasterGrid
from rsnb.errors import InputError

WEST, NORTH = 500000.0, 5100000.0


def write(path, values, corner=(WEST, NORTH), gsd=10.0, crs="EPSG:32633", nodata=None, tags=None, names=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values)
    values = values[None] if values.ndim == 2 else values
    with rasterio.open(path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
                       dtype=values.dtype, crs=crs, transform=from_origin(*corner, gsd, gsd), nodata=nodata) as file:
        file.write(values)
        if names:
            file.descriptions = names
        if tags:
            file.update_tags(**tags)
    return path


def grid(level, height=6, width=8):
    return (level + np.arange(height * width).reshape(height, width)).astype(np.int16)


@pytest.mark.parametrize("name, date", [
    ("TERRA_MODIS_012010_NDVI_2013-09-14.jp2", "2013-09-14"), ("MOD13Q1.A2013257.h12v10.006.2015257.hdf", "2013-09-14"),
    ("T29UNU_20221005T115411_B02_10m.jp2", "2022-10-05T11:54:11"), ("x_2019_10_18.tif", "2019-10-18"),
    ("S2A_MSIL2A_20230115T051121_N0509_R019_T43PGQ_20230115T103456", "2023-01-15T05:11:21"),
    ("LC08_L2SP_081119_20200101_20200823_02_T1", "2020-01-01"), ("img-2020-366.tif", "2020-12-31"),
    ("a99999999.tif", None), ("r20190231.tif", None), ("dem.tif", None), ("A2013366.tif", None),
    ("123420200101.tif", None)])
def test_dates_in_names(name, date):
    assert date_in_name(name) == (None if date is None else np.datetime64(date))


@pytest.mark.parametrize("text, date", [
    ("2022-10-05T11:54:11.024Z", "2022-10-05T11:54:11"), ("2022:10:05 11:54:11", "2022-10-05T11:54:11"),
    ("2020-01-01T00:30:00+02:00", "2019-12-31T22:30:00"), ("20221005", "2022-10-05"), ("2022/10/05", "2022-10-05"),
    ("2022-10-05 11:54:11 UTC", "2022-10-05T11:54:11")])
def test_dates_in_metadata(text, date):
    assert parse_date(text) == np.datetime64(date)
    for bad in ("05/10/2022", "soon", "", "2022-13-01"):
        with pytest.raises(InputError, match="2022-10-05"):
            parse_date(bad)


@pytest.mark.parametrize("text, days", [
    (-2, -2), ("-2 days", -2), ("-2 days +12:00:00", -1.5), ("1 day, 6:00:00", 1.25), ("0 days 00:00:00", 0),
    ("x", None), (None, None), (float("nan"), None)])
def test_spans_in_metadata(text, days):
    assert parse_days(text) == days


def test_band_names():
    assert [common_name(b) for b in ("B4", "b08", "B8A", "Red", "NDVI")] == ["red", "nir", "nir08", "red", "ndvi"]
    assert [band_id(b) for b in ("red", "b4", "scl")] == ["B04", "B04", "SCL"]
    assert choose("nir", ("red", "nir"), "x") == [1]


def test_one_band_a_date_in_date_order(tmp_path):
    for date, level in (("2020-03-01", 200), ("2020-01-15", 100), ("2020-02-01", 300)):
        write(tmp_path / f"ndvi_{date}.tif", grid(level))
    stack = read_series(tmp_path, SeriesOptions(scale=0.001, offset=-0.1, bands=("ndvi",)))
    assert stack.days().tolist() == [0, 17, 46] and stack.bands == ("ndvi",) and stack.crs == "EPSG:32633"
    assert np.allclose(stack.images[:, 0, 0, 1], [0.001, 0.201, 0.101], atol=1e-6)
    assert stack.transform == (10, 0, WEST, 0, -10, NORTH) and stack.clear.all()
    assert stack.names[0] == "ndvi_2020-01-15"


def test_dates_from_tags_folders_patterns_and_by_hand(tmp_path):
    write(tmp_path / "a/one.tif", grid(1), tags={"TIFFTAG_DATETIME": "2020:05:01 10:00:00"})
    write(tmp_path / "a/two.tif", grid(2), tags={"ACQUISITION_DATE": "2020-04-01",
                                                 "TIFFTAG_DATETIME": "2024:01:01 00:00:00"})
    write(tmp_path / "a/2020-06-07/three.tif", grid(3))
    stack = read_series(tmp_path / "a")
    assert stack.dates.astype("datetime64[D]").astype(str).tolist() == ["2020-04-01", "2020-05-01", "2020-06-07"]
    write(tmp_path / "b/x_made20240101_seen010220.tif", grid(1))
    write(tmp_path / "b/x_made20240101_seen010320.tif", grid(2))
    files = sorted((tmp_path / "b").iterdir())
    stack = read_series(files, SeriesOptions(dates={files[0].name: "2020-02-01", files[1].stem: "2020-03-01"}))
    assert stack.days().tolist() == [0, 29]
    assert read_series(files, SeriesOptions(dates=["2020-03-02", "2020-03-01"])).images[0, 0, 0, 0] == 2
    write(tmp_path / "c/made20240101_seen2020-02-01.tif", grid(1))
    write(tmp_path / "c/made20240102_seen2019-02-01.tif", grid(2))
    stack = read_series(tmp_path / "c", SeriesOptions(date_pattern=r"seen([\d-]+)"))
    assert stack.images[:, 0, 0, 0].tolist() == [2, 1]


def test_many_bands_a_file(tmp_path):
    for day in (1, 6):
        write(tmp_path / f"s_2020010{day}.tif", np.stack([grid(day), grid(10 * day)]), names=("B04", "B08"))
    stack = read_series(tmp_path)
    assert stack.bands == ("red", "nir") and stack.images[:, :, 0, 0].tolist() == [[1, 10], [6, 60]]
    assert read_series(tmp_path, SeriesOptions(bands=("nir",))).images[:, 0, 0, 0].tolist() == [10, 60]
    with pytest.raises(InputError, match="swir16"):
        read_series(tmp_path, SeriesOptions(bands=("swir16",)))


def test_one_file_per_band_and_a_classification(tmp_path):
    for day in (3, 8):
        for band, level in (("B04", 100), ("B08", 300)):
            write(tmp_path / f"T33_2020010{day}_{band}_10m.tif", grid(level + day))
        classes = np.array([[4, 9, 4, 4], [4] * 4, [0, 4, 4, 4]], np.uint8)
        write(tmp_path / f"T33_2020010{day}_SCL_20m.tif", classes, gsd=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a classification on its own grid is nothing to warn of
        stack = read_series(tmp_path, SeriesOptions(bands=("nir", "red")))
    assert stack.bands == ("nir", "red") and stack.images[0, :, 0, 0].tolist() == [303, 103]
    assert not stack.clear[0, :2, 2:4].any() and not stack.clear[1, 4:, :2].any() and stack.clear[0].sum() == 40
    write(tmp_path / "T33_20200109_B04_10m.tif", grid(5))
    with pytest.warns(SeriesWarning, match="2020-01-09"):
        assert len(read_series(tmp_path, SeriesOptions(bands=("nir", "red")))) == 2


def test_names_of_landsat_and_of_unequal_lengths(tmp_path):
    for date in ("20200101", "20200117"):
        for part, level in (("SR_B4", 4), ("SR_B5", 5), ("QA_PIXEL", 9)):
            write(tmp_path / f"LC08_L2SP_191030_{date}_20200823_02_T1_{part}.TIF", grid(level))
    stack = read_series(tmp_path, SeriesOptions(bands=("nir", "red")))
    # band 5 of Landsat 8 is near infrared, that of Sentinel-2 a red edge
    assert stack.images[0, :, 0, 0].tolist() == [5, 4] and stack.dates.astype("datetime64[D]")[1].item().day == 17
    assert set(read_series(tmp_path).bands) == {"red", "nir", "qa_pixel"}
    for name in ("S2_2021-01-01_B04_10m", "S2_2021-01-01_B11_20m", "S2_2021-01-06_B11_20m"):
        write(tmp_path / "s2" / f"{name}.tif", grid(1))
    assert read_series(tmp_path / "s2").bands == ("swir16",)


def test_one_file_whose_bands_are_dates(tmp_path):
    names = ("ndvi 2020-02-01", "ndvi 2020-01-01", "ndvi 2020-03-01")
    path = write(tmp_path / "cube.tif", np.stack([grid(2), grid(1), grid(3)]), names=names)
    stack = read_series(path, SeriesOptions(bands=("ndvi",)))
    assert stack.images[:, 0, 0, 0].tolist() == [1, 2, 3] and stack.days().tolist() == [0, 31, 60]


def test_other_grids_are_laid_over_the_first(tmp_path):
    write(tmp_path / "a_20200101.tif", grid(0))
    # the second lies two columns east and one row south on the same pixels
    write(tmp_path / "a_20200102.tif", grid(100), (WEST + 20, NORTH - 10))
    first = read_series(tmp_path)
    assert first.images.shape == (2, 1, 6, 8) and np.array_equal(first.images[1, 0, 1:, 2:], grid(100)[:5, :6])
    assert np.isnan(first.images[1, 0, 0]).all() and np.isnan(first.images[1, 0, :, :2]).all()
    union = read_series(tmp_path, SeriesOptions(grid="union"))
    assert union.images.shape == (2, 1, 7, 10) and np.array_equal(union.images[1, 0, 1:, 2:], grid(100))
    assert union.clear.sum() == 96
    # a third with pixels of 20 m in the next zone is resampled, with a warning
    write(tmp_path / "a_20200103.tif", np.full((9, 9), 7, np.int16), (31000, 5115000), 200, "EPSG:32634")
    with pytest.warns(SeriesWarning, match="a_20200103"):
        third = read_series(tmp_path)
    assert third.crs == "EPSG:32633" and third.images.shape == (3, 1, 6, 8)


def test_windows_are_parts_of_the_whole(tmp_path):
    for day in (1, 2):
        write(tmp_path / f"a_2020010{day}.tif", grid(day), nodata=5)
    whole = read_series(tmp_path)
    part = read_series(tmp_path, SeriesOptions(bbox=(WEST + 20, NORTH - 40, WEST + 60, NORTH - 10)))
    assert np.array_equal(part.images, whole.images[:, :, 1:4, 2:6], equal_nan=True)
    assert part.transform == (10, 0, WEST + 20, 0, -10, NORTH - 10)
    assert np.isnan(whole.images[0, 0, 0, 4]) and not whole.clear[0, 0, 4]  # 1 + 4 = 5 is no data
    assert np.isnan(read_series(tmp_path, SeriesOptions(nodata=1)).images[0, 0, 0, 0])


def test_the_files_own_scale_is_used_once(tmp_path):
    path = write(tmp_path / "a_20200101.tif", grid(1000))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.0001,), (-0.1,)
    assert read_series(path).images[0, 0, 0, 0] == pytest.approx(0.0, abs=1e-6)
    assert read_series(path, SeriesOptions(scale=1, offset=0)).images[0, 0, 0, 0] == 1000


def test_a_broken_file_and_one_without_a_date_are_left_out(tmp_path):
    for day in (1, 2, 3):
        write(tmp_path / f"a_2020010{day}.tif", grid(day))
    write(tmp_path / "b.tif", grid(9))
    (tmp_path / "a_20200102.tif").write_text("no raster")
    with pytest.warns(SeriesWarning) as caught:
        stack = read_series(tmp_path)
    told = " ".join(str(w.message) for w in caught)
    assert len(stack) == 2 and "a_20200102.tif" in told and "b.tif" in told and "date_pattern" in told
    found = {(f.kind, f.path) for f in audit_of("geotiff_series", tmp_path).findings}
    assert ("unreadable", "a_20200102.tif") in found and ("missing", "b.tif") in found


@pytest.mark.parametrize("options, what", [
    (dict(pattern="*.jp2"), "jp2"), (dict(dates=["2020-01-01"]), "1 dates for 2 files"),
    (dict(date_pattern="("), "regular"),
    (dict(grid="largest"), "largest"), (dict(resampling="lanczos"), "lanczos"), (dict(bands=("red",)), "red"),
    (dict(bbox=(WEST + 50, NORTH - 50, WEST, NORTH)), "west and east"), (dict(bbox=(0, 0, 1, 1)), "outside"),
    (dict(bbox=(14, 45, 15, 46), bbox_crs="EPSG:1"), "EPSG:1")])
def test_bad_options_are_named(tmp_path, options, what):
    for day in (1, 2):
        write(tmp_path / f"a_2020010{day}.tif", np.stack([grid(day)] * 2), names=("a", "b"))
    with pytest.raises(InputError, match=what), warnings.catch_warnings():
        warnings.simplefilter("ignore", SeriesWarning)
        read_series(tmp_path, SeriesOptions(**options))


def test_files_that_cannot_be_told_apart(tmp_path):
    write(tmp_path / "a/x_20200101.tif", grid(1))
    write(tmp_path / "b/x_20200101.tif", grid(2))
    with pytest.raises(InputError, match="band_pattern"):
        read_series(tmp_path)
    assert len(read_series(tmp_path / "a")) == 1
    write(tmp_path / "a/y_20200101.tif", grid(2))
    assert read_series(tmp_path / "a").bands == ("x", "y")
    assert read_series(tmp_path / "a", SeriesOptions(band_pattern=r"^(.)")).bands == ("x", "y")
    assert len(read_series(tmp_path / "a", SeriesOptions(pattern="y*"))) == 1
    for source in (tmp_path / "none", []):
        with pytest.raises(InputError):
            read_series(source)


def test_a_raster_without_a_place_beside_one_with(tmp_path):
    write(tmp_path / "a_20200101.tif", grid(1))
    profile = dict(driver="GTiff", count=1, height=6, width=8, dtype="int16")
    with rasterio.open(tmp_path / "a_20200102.tif", "w", **profile) as file:
        file.write(grid(2), 1)
    with pytest.raises(InputError, match="coordinate system"):
        read_series(tmp_path)


def test_a_copy_is_found(tmp_path):
    write(tmp_path / "a_20200101.tif", grid(1))
    shutil.copy(tmp_path / "a_20200101.tif", tmp_path / "a_20200105.tif")
    found = audit(tmp_path)
    assert [(f.kind, f.path) for f in found.findings] == [("duplicate", "a_20200105.tif")]
    assert found.counts == {"files": 2, "dates": 2, "bands": 1}


def test_grid_arithmetic_by_hand():
    g = RasterGrid(6, 8, (10.0, 0.0, WEST, 0.0, -20.0, NORTH), "EPSG:32633")
    assert g.bounds == (WEST, NORTH - 120, WEST + 80, NORTH) and g.pixel_size_m == (10, 20)
    assert g.window((WEST + 11, NORTH - 59, WEST + 30, NORTH - 20)) == ((1, 3), (1, 3))
    assert g.window((WEST - 999, NORTH - 5, WEST + 5, NORTH + 999)) == ((0, 1), (0, 1))  # cut at the rim
    assert g.scaled(12, 4).transform == (20, 0, WEST, 0, -10, NORTH)
    assert g.cropped((1, 3), (2, 8)).transform[2] == WEST + 20
    # along the equator a degree is 111.32 km, at 60 degrees half of that
    degrees = RasterGrid(2, 2, (0.001, 0.0, 10.0, 0.0, -0.001, 60.001), "EPSG:4326")
    assert degrees.pixel_size_m == pytest.approx((55.8, 111.4), abs=0.1)


def test_resampled_onto_a_finer_grid_lies_where_it_should(tmp_path):
    """A ramp in x is a ramp on any grid: half-pixel right also across systems."""
    x = WEST + 10 * (np.arange(60) + 0.5)
    path = write(tmp_path / "ramp.tif", np.tile((x - WEST).astype(np.float32), (50, 1)))
    finer = RasterGrid(100, 90, (4.0, 0.0, WEST + 101, 0.0, -4.0, NORTH - 33), "EPSG:32633")
    got = read_on_grid(path, finer)[0]
    assert np.abs(got - (101 + 4 * (np.arange(90) + 0.5))).max() < 0.02
    coarse = RasterGrid(10, 10, (30.0, 0.0, WEST + 60, 0.0, -30.0, NORTH - 60), "EPSG:32633")
    assert np.abs(read_on_grid(path, coarse)[0] - (60 + 30 * (np.arange(10) + 0.5))).max() < 0.02


def test_the_real_modis_series(real):
    root = real("nb6_temporal/modis_sinop")
    stack = read_series(root, SeriesOptions(scale=1e-4, bands=("ndvi",)))
    assert stack.images.shape == (12, 1, 147, 255) and stack.bands == ("ndvi",)
    assert str(stack.dates[0])[:10] == "2013-09-14" and str(stack.dates[-1])[:10] == "2014-08-29"
    with rasterio.open(root / "TERRA_MODIS_012010_NDVI_2014-02-18.jp2") as file:
        assert np.allclose(stack.images[5, 0], file.read(1) * 1e-4, atol=1e-6)
    # two harvests a year in Mato Grosso: green in January and April, bare between them and by August
    middle = np.nanmedian(stack.images, axis=(1, 2, 3))
    assert min(middle[4], middle[7]) > max(middle[5], middle[11]) and -0.4 < stack.images.min()
    assert stack.images.max() < 1.1
    found = audit(root)
    assert found.ok and found.counts == {"files": 12, "dates": 12, "bands": 1}
    g = read_grid(root / "TERRA_MODIS_012010_NDVI_2014-02-18.jp2")
    assert g.pixel_size_m == pytest.approx((231.66, 231.66), abs=0.01)
    box = (-55.3, -11.7, -55.2, -11.6)  # degrees to MODIS's sinusoidal grid
    part = read_series(root, SeriesOptions(bbox=box, bbox_crs="EPSG:4326", pattern="*2014-0*"))
    assert 40 < part.images.shape[2] < 60 and part.images.shape[0] == 8


def test_the_real_sentinel_series(real):
    root = real("nb6_temporal/earthsearch_33TWL")
    stack = read_series(root, SeriesOptions(scale=1e-4, bands=("red",)))
    assert stack.images.shape == (5, 1, 915, 915) and stack.crs == "EPSG:32633" and stack.transform[0] == 120
    # the clearest date is brighter nowhere near the clouds' level, and the cloudy ones are
    clear = stack.clear.mean(axis=(1, 2))
    assert stats.spearmanr(clear, np.nanmedian(stack.images, axis=(1, 2, 3))).statistic < -0.5
    ground = stack.images[:, 0][stack.clear]
    assert 0.02 < np.nanmedian(ground) < 0.06
    with pytest.warns(SeriesWarning, match="lack"):
        rgb = read_series(root, SeriesOptions(scale=1e-4, bands=("red", "green", "blue")))
    assert len(rgb) == 1 and str(rgb.dates[0])[:10] == "2023-08-15"


def test_a_series_that_memory_does_not_hold_is_refused_before_it_is_read(tmp_path):
    for day in (1, 2):
        write(tmp_path / f"a_2020010{day}.tif", grid(day))
    # 2 dates x (1 band x 4 bytes + 2 for masks) x 6 x 8 pixels
    assert len(read_series(tmp_path, SeriesOptions(max_bytes=576))) == 2
    with pytest.raises(InputError, match="2 dates x 1 bands x 6 x 8 pixels.*max_bytes"):
        read_series(tmp_path, SeriesOptions(max_bytes=575))
