"""Clouds of ordered cover, their shadows where geometry puts them, passes on a five-day calendar, scene classes."""

from __future__ import annotations

import numpy as np
import pytest

from rsnb.city.acquisitions import NATIVE_M, observe, plan_acquisitions
from rsnb.city.clouds import CLOUD_REFLECTANCE, CLOUDY, SHADOW_LEFT, CloudCover, classify, make_clouds
from rsnb.city.grids import Grid
from rsnb.city.seasons import BANDS, SPECTRA, between
from rsnb.city.sensor import Sensor
from rsnb.city.series import SeriesTruth
from rsnb.city.sun import Sun, sun_position
from rsnb.errors import InputError

GRID = Grid("EPSG:32635", (10.0, 0.0, 382000.0, 0.0, -10.0, 6675000.0), (300, 300))
SUN = Sun(np.radians(160.0), np.radians(45.0))
HELSINKI = (60.17, 24.93)


def field(n=150, step=2.0):
    """A level field of one crop."""
    grid = Grid("EPSG:32635", (step, 0.0, 385000.0, 0.0, -step, 6672200.0), (n, n))
    return SeriesTruth(grid, np.zeros((n, n), np.int32), np.zeros((n, n), np.float32), np.zeros((2, n, n), np.float32),
                       np.ones((n, n), np.float32), between(SPECTRA["crop"], SPECTRA["crop"], peak_day=0.0))


@pytest.mark.parametrize("cover", [0.0, 0.05, 0.4, 1.0])
def test_cover_is_as_ordered(cover):
    clouds = make_clouds(GRID, SUN, cover, np.random.default_rng(3))
    assert (clouds.opacity >= CLOUDY).mean() == pytest.approx(cover, abs=1e-3)
    assert clouds.cirrus.max() == 0
    if cover == 0:
        assert clouds.opacity.max() == 0 and clouds.shade.max() == 0


@pytest.mark.parametrize("azimuth, elevation, height", [
    (160.0, 45.0, 800.0), (180.0, 30.0, 500.0), (95.0, 50.0, 1200.0)])
def test_shadows_lie_height_over_tangent_away_from_the_sun(azimuth, elevation, height):
    sun = Sun(np.radians(azimuth), np.radians(elevation))
    clouds = make_clouds(GRID, sun, 0.5, np.random.default_rng(5), height_m=height)
    # where the shadows lie, seen from their clouds: the displacement that makes both fields alike where they overlap
    middle = slice(120, 180)
    alike = {(right, down): np.square(clouds.shade[120 + down:180 + down, 120 + right:180 + right]
                                      - clouds.opacity[middle, middle]).mean()
             for right in range(-120, 121) for down in range(-120, 121, 1)}
    assert clouds.opacity[middle, middle].std() > 0.1
    away = np.radians(azimuth + 180.0) - GRID.up_bearing
    distance = height / np.tan(np.radians(elevation)) / 10.0
    expected = distance * np.sin(away), -distance * np.cos(away)
    assert min(alike, key=alike.get) == pytest.approx(expected, abs=1.01)


def test_thick_cloud_hides_the_ground_and_thin_shade_dims_it():
    ground = np.full((2, 1, 4), 0.2, np.float32)
    clouds = CloudCover(np.array([[0, 1, 0, 0]], np.float32), np.array([[0, 0, 0, 0.4]], np.float32),
                        np.array([[0, 0, 1, 0]], np.float32), 900.0)
    red, swir = BANDS.index("red"), BANDS.index("swir16")
    seen = clouds.over(ground, [red, swir])[:, 0]
    assert seen[:, 0] == pytest.approx([0.2, 0.2])
    assert seen[:, 1] == pytest.approx(1.1 * CLOUD_REFLECTANCE[[red, swir]])
    assert seen[:, 2] == pytest.approx(0.2 * SHADOW_LEFT[[red, swir]])
    # veil of 0.4 with half the brightness of cloud: 0.6 x 0.2 + 0.4 x 0.5 x 0.61 = 0.242 in red
    assert seen[0, 3] == pytest.approx(0.242)
    assert clouds.cloud.tolist() == [[False, True, False, True]]
    assert clouds.shadow.tolist() == [[False, False, True, False]]


def test_scene_classes_by_hand_and_mistakes_are_few():
    shape = (40, 60)
    rng = np.random.default_rng(0)
    red, nir = np.full(shape, 0.04), np.full(shape, 0.4)
    nir[:, 30:] = 0.05  # the right half is bare
    light, water = np.ones(shape), np.zeros(shape)
    light[:10, 30:], water[30:] = 0.2, 6
    opacity, cirrus, shade = (np.zeros(shape, np.float32) for _ in range(3))
    opacity[10:20, :10], opacity[10:20, 10:12], cirrus[10:20, 12:20], shade[20:25] = 0.9, 0.4, 0.15, 0.8
    clouds = CloudCover(opacity, cirrus, shade, 1000.0)
    truth = classify(clouds, np.stack([red, nir, nir]), light, water, rng, mistakes=False)
    at = {(5, 5): 4, (5, 45): 2, (15, 5): 9, (15, 11): 8, (15, 15): 10, (15, 45): 5, (22, 45): 3, (35, 5): 6}
    assert {place: int(truth[place]) for place in at} == at
    big = make_clouds(GRID, SUN, 0.3, rng, cirrus=0.1)
    arguments = (np.stack([np.full(GRID.shape, 0.04), *np.full((2, *GRID.shape), 0.4)]), np.ones(GRID.shape),
                 np.zeros(GRID.shape))
    right, wrong = (classify(big, *arguments, rng, mistakes=m) for m in (False, True))
    assert set(np.unique(right)) == {3, 4, 8, 9, 10}
    assert 0.005 < (right != wrong).mean() < 0.1
    assert ((right >= 8) == big.cloud).all()
    assert 11 in wrong and 2 in wrong and (wrong == 11).mean() < 0.01


def test_passes_follow_the_calendar_have_daylight_and_leave_the_winter_out():
    covers = (0.0, 0.1, 0.2, 0.5, 1.0, 0.0)
    plan = plan_acquisitions(HELSINKI, "2021-08-10", "2022-10-05", covers, 0.3, (7,))
    days = np.array([a.date.astype("datetime64[D]") for a in plan])
    assert ((days - np.datetime64("2021-08-10")) % np.timedelta64(5, "D") == np.timedelta64(0, "D")).all()
    assert (np.diff(days) > np.timedelta64(0, "D")).all() and len(set(np.diff(days))) > 1
    assert sorted(a.cover for a in plan) == sorted(covers)
    assert all(max(map(abs, a.shift_px)) <= 0.3 for a in plan) and len({a.shift_px for a in plan}) == 6
    assert not any(str(d)[5:7] in ("11", "12", "01") for d in days)
    assert min(np.degrees(sun_position(a.date, *HELSINKI).elevation) for a in plan) > 17
    # the two satellites take turns: days apart divisible by ten belong to one of them
    assert all((a.platform == plan[0].platform) == (int((d - days[0]) / np.timedelta64(1, "D")) % 10 == 0)
               for a, d in zip(plan, days, strict=True))
    assert plan == plan_acquisitions(HELSINKI, "2021-08-10", "2022-10-05", covers, 0.3, (7,))


@pytest.mark.parametrize("product", [
    # real products of the tile on this orbit
    "S2A_MSIL2A_20180413T095031_N9999_R079_T35VLG", "S2B_MSIL2A_20240605T094549_N0510_R079_T35VLG",
    "S2A_MSIL2A_20240710T095031_N0510_R079_T35VLG", "S2A_MSIL2A_20240829T095031_N0511_R079_T35VLG"])
def test_passes_are_those_of_real_products(product):
    stamp = product[11:19]
    day = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:]}"
    (only,) = plan_acquisitions(HELSINKI, np.datetime64(day) - 2, np.datetime64(day) + 2, (0.0,), 0.3, (7,))
    assert str(only.date)[:10] == day and only.platform == f"sentinel-2{product[2].lower()}"
    assert abs(only.date - np.datetime64(f"{day}T{product[20:22]}:{product[22:24]}")) < np.timedelta64(20, "m")


def test_too_few_passes_are_refused():
    with pytest.raises(InputError, match="there are 0 passes"):
        plan_acquisitions(HELSINKI, "2021-11-20", "2022-01-10", (0.0,), 0.3, (7,))
    with pytest.raises(InputError, match="from 2022-06-02 to 2022-06-04 there are 0 passes"):
        plan_acquisitions(HELSINKI, np.datetime64("2022-06-02T09:50"), "2022-06-04", (0.0,), 0.3, (7,))
    with pytest.raises(InputError, match="2 dates are asked for"):
        plan_acquisitions(HELSINKI, "2022-06-01", "2022-06-04", (0.0, 0.0), 0.3, (7,))
    with pytest.raises(InputError, match="there are 0 passes"):
        plan_acquisitions(HELSINKI, "2022-06-04", "2022-06-01", (0.0,), 0.3, (7,))


def test_an_observation_of_a_clear_field_is_its_closed_form_plus_noise():
    truth = field()
    (clear,) = plan_acquisitions(HELSINKI, "2022-06-01", "2022-06-20", (0.0,), 0.3, (7,))
    seen = observe(truth, clear, (30, 30), sensor=Sensor(noise=0.001, gain_noise=0.0))
    expected = truth.table.reflectance(clear.date)[0]
    for band, image in seen.images.items():
        n = {10: 30, 20: 15, 60: 5}[NATIVE_M[band]]
        assert image.shape == (n, n)
        assert image.mean() == pytest.approx(expected[BANDS.index(band)], abs=5 * 0.001 / n)
        assert image.std() == pytest.approx(0.001, rel=0.5)
    assert set(seen.images) == set(BANDS) and (seen.scl == 4).all() and seen.scl.shape == (15, 15)
    again = observe(truth, clear, (30, 30), sensor=Sensor(noise=0.001, gain_noise=0.0))
    assert all((again.images[b] == seen.images[b]).all() for b in BANDS)


def test_an_overcast_day_shows_no_ground():
    (overcast,) = plan_acquisitions(HELSINKI, "2022-06-01", "2022-06-20", (1.0,), 0.3, (7,))
    seen = observe(field(), overcast, (30, 30), ("red", "swir16"))
    assert seen.clouds.cloud.all() and np.isin(seen.scl, (8, 9)).mean() > 0.95
    assert seen.images["red"].min() > 0.15 and set(seen.images) == {"red", "swir16"}
