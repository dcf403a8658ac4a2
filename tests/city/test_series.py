"""The truth of a series against closed forms: seasons, sun, light, sampling, and the same land at every resolution."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import numpy as np
import pyproj
import pytest
from scipy.special import ndtr
from skimage.registration import phase_cross_correlation

from rsnb.city.grids import Grid
from rsnb.city.landscape import KINDS, Landscape, landscape_table
from rsnb.city.options import GEOREFERENCE, TREE, WATER
from rsnb.city.seasons import BANDS, SPECTRA, between, days_since_epoch
from rsnb.city.sensor import Sensor, nearest, sample, sampling_matrix
from rsnb.city.series import SeriesTruth, load_truth
from rsnb.city.sun import sun_position
from rsnb.city.survey import build_truth
from rsnb.city.true_images import at_overpass
from rsnb.errors import InputError

NOON = "2022-06-20T10:00"
RED, NIR = BANDS.index("red"), BANDS.index("nir")


def utm_grid(side_m=600.0, n=300, left=385000.0, top=6672200.0):
    return Grid("EPSG:32635", (side_m / n, 0.0, left, 0.0, -side_m / n, top), (n, n))


def flat_truth(surface, table, height=None, grid=None):
    """Level, evenly bright land with the given surfaces."""
    shape = surface.shape
    return SeriesTruth(grid or utm_grid(2.0 * shape[0], shape[0]), surface.astype(np.int32),
                       np.zeros(shape, np.float32) if height is None else height.astype(np.float32),
                       np.zeros((2, *shape), np.float32), np.ones(shape, np.float32), table)


# --- seasons

def test_a_season_is_summer_at_its_peak_and_winter_half_a_year_later():
    table = between(np.full(12, 0.1), np.full(12, 0.3), peak_day=170.0)
    # 1 January 2000 + 170 days = 19 June 2000 (leap year: 31 + 29 + 31 + 30 + 31 = 152 days to 1 June, + 18)
    assert table.reflectance("2000-06-19")[0] == pytest.approx(0.3, abs=1e-6)
    # 170 + 182.625 days = 18 December 2000, 15:00
    assert table.reflectance("2000-12-18T15:00")[0] == pytest.approx(0.1, abs=1e-6)
    # a quarter of a year after the peak (91.3125 d = 18 September 2000, 7:30): cos = 0, so an eighth of the way
    assert table.reflectance("2000-09-18T07:30")[0] == pytest.approx(0.1 + 0.2 / 8, abs=1e-6)
    # a sixth of a year before it (60.875 d = 19 April 2000, 3:00): cos = 1/2, so (3/4)^3 = 27/64
    assert table.reflectance("2000-04-19T03:00")[0] == pytest.approx(0.1 + 0.2 * 27 / 64, abs=1e-6)


def test_the_year_at_sixty_degrees_north():
    """NDVI of the country, by kind: bare fields and trees in March, green in June, harvested in September."""
    x, y = np.meshgrid(np.arange(2000.0, 10000.0, 40.0), np.arange(0.0, 9000.0, 40.0))
    keys = np.unique(Landscape(7, (5975.0, 4475.0, 6525.0, 5025.0))(x, y)[0])
    table, kind = landscape_table(keys), keys & 15
    still = np.isinf(table.change_day)

    def ndvi(name, day):
        red, nir = table.reflectance(day)[still & (kind == KINDS.index(name))][:, [RED, NIR]].T
        return np.median((nir - red) / (nir + red))

    for name in ("cereal", "late_crop"):
        assert ndvi(name, "2022-03-25") < 0.35 and ndvi(name, "2022-07-05") > 0.7 > 0.4 > ndvi(name, "2022-09-28")
    assert ndvi("deciduous", "2022-04-01") < 0.55 and ndvi("deciduous", "2022-07-05") > 0.8
    assert ndvi("meadow", "2022-03-25") < 0.5 and ndvi("meadow", "2022-06-25") > 0.7
    assert ndvi("conifer", "2022-03-25") > 0.65  # evergreen
    for name in ("road", "track", "yard", "roof", "water"):
        assert ndvi(name, "2022-01-15") == pytest.approx(ndvi(name, "2022-07-01"), abs=0.03)


def test_trend_grows_with_the_years_since_2020():
    table = between(np.full(12, 0.2), np.full(12, 0.2), peak_day=0.0, trend=0.05)
    # 7305 days from 2000-01-01 are 20 x 365.25: the trend is 0 there, and 0.05 x 2 years later
    assert table.reflectance("2020-01-01")[0] == pytest.approx(0.2, abs=1e-7)
    assert table.reflectance("2021-12-31T12:00")[0] == pytest.approx(0.2 * 1.1, abs=1e-6)


def test_stubble_shows_from_harvest_over_new_year_to_sowing_and_a_change_stays():
    table = between(SPECTRA["soil"], SPECTRA["crop"], peak_day=172.0)
    table.harvest[:], table.sowing[:], table.stubble[:] = 222.0, 60.0, 0.5
    shown = [table.reflectance(d)[0, NIR] == 0.5 for d in ("2021-08-05", "2021-08-15", "2022-01-10", "2022-02-25",
                                                          "2022-03-10", "2022-07-01")]
    assert shown == [False, True, True, True, False, False]
    table.change_day[:], table.changed[:] = days_since_epoch("2022-05-01"), 0.07
    assert table.reflectance("2022-04-30")[0, NIR] != np.float32(0.07)
    assert (table.reflectance("2022-05-01")[0] == np.float32(0.07)).all()
    assert (table.reflectance("2030-01-10")[0] == np.float32(0.07)).all()  # even in the season of stubble


# --- sun

@pytest.mark.parametrize("date, lat, lon, azimuth, elevation", [
    # stated in real items of the tiles 33TWL (2023) and by the almanac at an equinox noon on the equator
    ("2023-08-15T09:58:12", 45.555, 15.71, 151.832, 55.765),
    ("2000-03-20T12:07:30", 0.0, 0.0, None, 89.9),
])
def test_the_sun_stands_where_real_metadata_say(date, lat, lon, azimuth, elevation):
    sun = sun_position(date, lat, lon)
    assert np.degrees(sun.elevation) == pytest.approx(elevation, abs=0.15)
    if azimuth is not None:
        assert np.degrees(sun.azimuth) == pytest.approx(azimuth, abs=0.3)


def test_sun_of_real_items(real):
    import json

    for path in sorted(real("nb6_temporal/earthsearch_33TWL").glob("*/*/*.json")):
        item = json.loads(path.read_text())
        what, box = item["properties"], item["bbox"]
        sun = sun_position(what["datetime"][:19], (box[1] + box[3]) / 2, (box[0] + box[2]) / 2)
        # their angles are means over what the orbit saw of the tile, so not quite those of its middle
        assert np.degrees(sun.elevation) == pytest.approx(what["view:sun_elevation"], abs=0.6), path.name
        assert np.degrees(sun.azimuth) == pytest.approx(what["view:sun_azimuth"], abs=1.5), path.name


# --- sampling

def test_three_cells_on_two_pixels_by_hand():
    # a pixel is 1.5 cells: the first holds cell 0 and half of cell 1 -> weights 1/1.5, 0.5/1.5
    assert sampling_matrix(3, 2).toarray() == pytest.approx(np.array([[2, 1, 0], [0, 1, 2]]) / 3, abs=1e-6)


def test_a_whole_number_of_cells_is_a_block_mean():
    scene = np.random.default_rng(0).random((12, 20)).astype(np.float32)
    mean = scene.reshape(3, 4, 4, 5).mean(axis=(1, 3))
    assert sample(scene, sampling_matrix(12, 3), sampling_matrix(20, 4)) == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.21])
def test_an_edge_seen_through_the_psf_is_the_normal_distribution(shift):
    # bright from x = 100 px on, 10 cells a pixel; a pixel centre d px beyond the edge sees Phi(d / sigma)
    scene = (np.arange(2000) >= 1000).astype(np.float32)
    seen = sampling_matrix(2000, 200, 1.0, shift) @ scene
    sigma = 1.0 / 2.354820045
    assert seen == pytest.approx(ndtr((np.arange(200) + 0.5 + shift - 100.0) / sigma), abs=2e-3)


def test_weights_sum_to_one_even_at_the_ends():
    for fwhm in (0.0, 0.7, 1.4):
        total = np.asarray(sampling_matrix(97, 13, fwhm, 0.3).sum(axis=1)).ravel()
        assert total == pytest.approx(np.ones(13), abs=1e-5)


def test_nearest_repeats_coarse_pixels():
    assert nearest(np.array([[1, 2], [3, 4]]), (4, 4)).tolist() == [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2
    assert nearest(np.array([1, 2, 3])[None], (1, 5)).tolist() == [[1, 1, 2, 3, 3]]  # centres at 0.3 0.9 1.5 2.1 2.7


# --- light

def test_a_uniform_field_keeps_its_reflectance_through_optics_and_any_pixel():
    table = between(SPECTRA["soil"], SPECTRA["crop"], peak_day=180.0)
    day = flat_truth(np.zeros((90, 90)), table).on(NOON)
    expected = table.reflectance(NOON)[0]
    for shape, fwhm in (((90, 90), 0.0), ((18, 18), 1.0), ((17, 13), 1.3), ((4, 5), 0.0)):
        image = day.image(shape, fwhm_px=fwhm, shift_px=(0.2, -0.3))
        assert image == pytest.approx(np.broadcast_to(expected[:, None, None], image.shape), rel=1e-4)


@pytest.mark.parametrize("date", ["2022-04-10T06:30", "2022-06-20T10:00", "2022-09-20T13:00"])
def test_a_tower_throws_a_shadow_of_height_over_tangent_away_from_the_sun(date):
    height = np.zeros((301, 301))
    height[145:156, 145:156] = 40.0
    truth = flat_truth(np.zeros((301, 301)), between(np.full(12, 0.2), np.full(12, 0.2), peak_day=0.0), height)
    dark = truth.direct_light(date) < 0.5
    sun = truth.sun(date)
    rows, columns = np.nonzero(dark & (height == 0))
    bearing = sun.azimuth + np.pi - truth.grid.up_bearing  # away from the sun, in the grid's own directions
    along = ((columns - 150) * np.sin(bearing) - (rows - 150) * np.cos(bearing)) * 2.0  # 2 m pixels
    across = ((columns - 150) * np.cos(bearing) + (rows - 150) * np.sin(bearing)) * 2.0
    # the shadow ends at the tower's far corner, moved by the length; the tower is 22 m wide
    end = 40.0 / np.tan(sun.elevation) + 11.0 * (abs(np.sin(bearing)) + abs(np.cos(bearing)))
    assert along.max() == pytest.approx(end, abs=4.0)  # two pixels
    assert along.min() > 0 and np.abs(across).max() < 11 * np.sqrt(2) + 4


def test_a_shadow_leaves_the_sky_s_part_of_the_light():
    height = np.zeros((120, 120))
    height[80:84] = 60.0  # a wall; the sun stands south, so rows before it are dark
    table = between(np.full(12, 0.4), np.full(12, 0.4), peak_day=0.0)
    image = flat_truth(np.zeros((120, 120)), table, height).image(NOON)
    # sky share: blue 29 %, swir22 5 %
    assert image[1, 70, 60] == pytest.approx(0.4 * 0.29, rel=0.01)
    assert image[-1, 70, 60] == pytest.approx(0.4 * 0.05, rel=0.01)
    assert image[1, 100, 60] == pytest.approx(0.4, rel=1e-4)


def test_a_roof_that_faces_the_sun_is_brighter():
    truth = flat_truth(np.zeros((20, 20)), between(np.full(12, 0.2), np.full(12, 0.2), peak_day=0.0))
    truth.facing[1, :10], truth.facing[1, 10:] = 0.5, -0.5  # normals lean up (north), then down (south)
    sun, light = truth.sun(NOON), truth.direct_light(NOON)
    # unit normal (0, -0.5, 1) / sqrt(1.25); sun (sin a cos e, cos a cos e, sin e); relative to level ground sin e
    lean = np.cos(sun.azimuth - truth.grid.up_bearing) / np.tan(sun.elevation)
    assert light[15, 5] == pytest.approx((1 - 0.5 * lean) / np.sqrt(1.25), rel=1e-5)
    assert light[5, 5] == pytest.approx((1 + 0.5 * lean) / np.sqrt(1.25), rel=1e-5)
    assert light[15, 5] > 1.1 > 0.8 > light[5, 5]


def test_night_is_refused():
    truth = flat_truth(np.zeros((9, 9)), between(np.full(12, 0.2), np.full(12, 0.2), peak_day=0.0))
    with pytest.raises(InputError, match="sun stands below 3 degrees"):
        truth.image("2022-06-20T22:00")
    with pytest.raises(InputError, match="no band 'B04'"):
        truth.image(NOON, bands=("B04",))


@pytest.mark.parametrize("wrong", [{"shape": (0, 4)}, {"shape": (4,)}, {"shape": (3.5, 4)}, {"shape": (30_000, 4)},
                                   {"bands": ()}])
def test_pictures_of_no_size_or_no_band_are_refused(wrong):
    truth = flat_truth(np.zeros((9, 9)), between(np.full(12, 0.2), np.full(12, 0.2), peak_day=0.0))
    with pytest.raises(InputError, match="shape: a picture of|no band is named"):
        truth.image(NOON, **wrong)


def test_a_day_without_a_time_means_the_hour_of_the_pass():
    assert str(at_overpass("2022-06-20")) == "2022-06-20T09:50:00"
    assert str(at_overpass("2022-06-20T03:04Z")) == "2022-06-20T03:04:00"
    east = timezone(timedelta(hours=3))
    assert str(at_overpass(datetime(2022, 6, 20, 12, 30, tzinfo=east))) == "2022-06-20T09:30:00"
    assert str(at_overpass("2022-06-20T12:30:00.5+03:00")) == "2022-06-20T09:30:00"
    assert str(at_overpass("20220620")) == "2022-06-20T09:50:00"  # numpy takes this for a year
    assert str(at_overpass(date(2022, 6, 20))) == str(at_overpass(np.datetime64("2022-06-20"))) == "2022-06-20T09:50:00"
    for wrong in ("midsummer", "now", "2022-02-30", 20220620, [1]):
        with pytest.raises(InputError, match="is no date"):
            at_overpass(wrong)
    for none in (None, "", np.datetime64("NaT")):
        with pytest.raises(InputError, match="date is missing"):
            at_overpass(none)


# --- the place

def test_a_grid_lies_where_pyproj_says():
    grid = utm_grid(6000.0, 400)
    x, y = grid.model_xy()
    pick = [(0, 0), (399, 0), (123, 321), (200, 200)]
    east, north = zip(*((385000.0 + (c + 0.5) * 15.0, 6672200.0 - (r + 0.5) * 15.0) for r, c in pick), strict=True)
    expected = np.array(pyproj.Transformer.from_crs("EPSG:32635", "EPSG:3879", always_xy=True).transform(east, north))
    found = np.array([[x[p], y[p]] for p in pick]).T + np.array(GEOREFERENCE.origin[:2])[:, None]
    assert np.abs(found - expected).max() < 1e-3
    # UTM zone 35's central meridian is 27 E. At 24.95 E, 60.16 N, west of it, meridians lean towards it, to the right:
    # up on the grid is (27 - 24.95) sin(60.16) = 1.78 degrees to the left of true north
    assert np.degrees(grid.up_bearing) == pytest.approx(-1.78, abs=0.05)
    assert grid.pixel_m == pytest.approx((15.0, 15.0), abs=0.01)


def test_the_land_is_the_same_at_any_resolution_and_on_any_grid():
    land = Landscape(7, (5975.0, 4475.0, 6525.0, 5025.0))
    x, y = np.meshgrid(np.arange(4000.0, 8500.0, 31.0), np.arange(2500.0, 7000.0, 31.0))
    key, height, brightness = land(x, y)
    some = np.random.default_rng(1).permutation(x.size)[:500]
    again = land(x.ravel()[some], y.ravel()[some])
    assert (again[0] == key.ravel()[some]).all() and (again[1] == height.ravel()[some]).all()
    kinds = {KINDS[k] for k in np.unique(key & 15)}
    assert {"cereal", "meadow", "conifer", "deciduous", "water", "road", "roof", "lawn"} <= kinds
    assert 0.93 < brightness[height == 0].mean() < 1.07
    assert (Landscape(8, land.tile)(x, y)[0] != key).mean() > 0.9  # another seed is another country


@pytest.fixture(scope="module")
def place(district):
    """The default district and some country around it, on 2 m."""
    city = district()
    grid = utm_grid(800.0, 400, 384873.0, 6672275.0)
    return build_truth(grid, Landscape(7, city.bounds), city), city


def test_city_pixels_are_the_district_s_own(place):
    truth, city = place
    x, y = truth.grid.model_xy()
    x0, y0, x1, y1 = city.bounds
    inside = np.flatnonzero(((x > x0) & (x < x1) & (y > y0) & (y < y1)).ravel())
    pick = np.random.default_rng(2).permutation(inside)[:400]
    expected = city.height(x.ravel()[pick], y.ravel()[pick])
    assert np.abs(truth.height.ravel()[pick] - expected).max() < 0.011  # kept in centimetres
    _, prim = _top(city, x.ravel()[pick], y.ravel()[pick])
    kind = city.mesh.face_class[prim]
    spectra = truth.table.reflectance("2022-07-10")[truth.surface.ravel()[pick]]
    ndvi = (spectra[:, NIR] - spectra[:, RED]) / (spectra[:, NIR] + spectra[:, RED])
    assert ndvi[kind == TREE].min() > 0.7 and ndvi[(kind != TREE) & (kind != 1)].max() < 0.45
    assert spectra[kind == WATER, NIR].max() < 0.03
    assert np.percentile(spectra, 1) > 0.003 and np.percentile(spectra, 99) < 0.55


def test_roofs_lean_as_their_heights_fall(place):
    truth, _ = place
    down, right = np.gradient(truth.height, 2.0)
    inside = np.s_[100:300, 100:300]
    alone = np.ones(truth.surface.shape, bool)  # the same roof on all four sides, so no edge is near
    for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        alone &= np.roll(truth.surface, shift, axis) == truth.surface
    roofs = (alone & (np.hypot(down, right) > 0.15) & (np.hypot(down, right) < 1.5))[inside]
    assert roofs.sum() > 1000
    # the normal of a surface z(right, up) is (-dz/dright, -dz/dup, 1)
    assert np.corrcoef(truth.facing[0][inside][roofs], -right[inside][roofs])[0, 1] > 0.85
    assert np.corrcoef(truth.facing[1][inside][roofs], down[inside][roofs])[0, 1] > 0.85


def _top(city, x, y):
    from rsnb.city.truth import top_surface

    return top_surface(city.scene, x, y)


def test_seasons_show_in_summer_and_spring(place):
    truth, _ = place
    shape = truth.shape_at(10.0)
    assert shape == (80, 80)
    summer, spring = (truth.image(d, shape, ("red", "nir")) for d in ("2022-07-01T10:00", "2022-04-01T10:00"))
    ndvi = [(i[1] - i[0]) / (i[1] + i[0]) for i in (summer, spring)]
    assert np.median(ndvi[0]) > np.median(ndvi[1]) + 0.1
    assert 0.005 < np.percentile(summer, 1) and np.percentile(summer, 99) < 0.5


def test_coarse_truth_is_the_mean_of_fine_truth(place):
    truth, _ = place
    fine = truth.image(NOON, (400, 400), ("green",))[0]
    assert truth.image(NOON, (100, 100), ("green",))[0] == pytest.approx(
        fine.reshape(100, 4, 100, 4).mean(axis=(1, 3)), abs=1e-5)


def test_a_shift_moves_what_a_pixel_sees_to_the_right_and_down(place):
    truth, _ = place
    still = flat_truth(truth.surface, truth.table)
    # 5 cells a pixel: (0.2, -0.4) pixels are 1 cell to the right and 2 up; the scene itself rolled the other way
    rolled = flat_truth(np.roll(truth.surface, (2, -1), axis=(0, 1)), truth.table)
    moved = still.on(NOON).image((80, 80), ("green", "nir"), 1.0, (0.2, -0.4))
    assert moved[:, 4:-4, 4:-4] == pytest.approx(rolled.on(NOON).image((80, 80), ("green", "nir"), 1.0)[:, 4:-4, 4:-4],
                                                 abs=1e-5)


@pytest.mark.parametrize("shift", [(0.3, -0.2), (-0.14, 0.27)])
def test_an_ordered_shift_is_found_by_phase_correlation(place, shift):
    truth, _ = place
    day, window = truth.on(NOON), np.hanning(72)[:, None] * np.hanning(72)
    # optics of two pixels leave next to no alias, which would draw the estimate to whole pixels
    still, moved = ((i - i.mean()) * window for i in (day.image((80, 80), ("green",), 2.0, by)[0, 4:-4, 4:-4]
                                                       for by in ((0.0, 0.0), shift)))
    found, *_ = phase_cross_correlation(still, moved, upsample_factor=100, normalization=None)
    # a picture that looks further right holds everything further left: registration moves it back right
    assert found[::-1] == pytest.approx(shift, abs=0.04)


def test_a_saved_truth_gives_the_same_pictures_to_the_last_bit(place, tmp_path):
    truth, _ = place
    first, second = (truth.save(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert first.read_bytes() == second.read_bytes()
    again = load_truth(first)
    assert again.grid == truth.grid
    assert (again.image(NOON, (80, 80)) == truth.image(NOON, (80, 80))).all()


def test_a_damaged_truth_is_refused(tmp_path):
    truth = flat_truth(np.zeros((9, 9)), between(np.full(12, 0.2), np.full(12, 0.2), peak_day=0.0))
    whole = truth.save(tmp_path / "scene.npz").read_bytes()
    np.savez(tmp_path / "other.npz", crs="EPSG:32635", table_colour=np.ones(3))
    spoilt = bytearray(whole)
    spoilt[len(whole) // 2:len(whole) // 2 + 40] = bytes(40)
    for n, data in enumerate((b"", b"no zip", whole[: len(whole) // 2], bytes(spoilt),
                              (tmp_path / "other.npz").read_bytes())):
        (tmp_path / f"{n}.npz").write_bytes(data)
        with pytest.raises(InputError, match=rf"{n}\.npz.*build it again"):
            load_truth(tmp_path / f"{n}.npz")
    with pytest.raises(InputError, match="absent.npz") as absent:
        load_truth(tmp_path / "absent.npz")
    assert "build it again" not in str(absent.value)


def test_noise_has_the_ordered_size():
    clear = np.full((1, 300, 300), 0.25, np.float32)
    noisy = Sensor(noise=0.002, gain_noise=0.004).noisy(clear, np.random.default_rng(0))
    assert (noisy - clear).std() == pytest.approx(0.002 + 0.004 * 0.25, rel=0.02)
    assert noisy.mean() == pytest.approx(0.25, abs=5e-5)
