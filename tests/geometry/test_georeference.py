"""Places on Earth against published conversions and finite differences."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry import georeference as geo
from rsnb.scenes import Georeference

# The row of the original's panos.txt and the model coordinates it lists (fact sheet 1.5).
PANO_LAT, PANO_LON, PANO_XY = 60.1644797333783, 24.92898345052589, (6056.963851, 4400.232103)
HELSINKI = Georeference("EPSG:3879", origin=(25_490_000.0, 6_668_000.0, 0.0))


def test_published_answers(real):
    for row in json.loads(real("metrics/epsg3879_known_answers.json").read_text()):
        found = geo.transform([row["lon"], row["lat"]], "EPSG:4326", "EPSG:3879")
        np.testing.assert_allclose(found, [row["easting"], row["northing"]], atol=1e-8)


def test_panos_row_of_the_original():
    np.testing.assert_allclose(geo.lonlat_to_model(PANO_LAT, PANO_LON, HELSINKI), PANO_XY, atol=1e-5)
    lat, lon = geo.model_to_lonlat(PANO_XY, HELSINKI)
    assert (lat, lon) == pytest.approx((PANO_LAT, PANO_LON), abs=1e-10)  # 1e-10 degrees are 1e-5 m


def test_request_of_the_original_notebook(real):
    """Its model x is one metre off its own data set's origin: 25489999 instead of 25490000."""
    original = json.loads(real("nb2_city_mesh/upstream_reference/pose.json").read_text())
    request = original["street_view_request"]
    x, y = geo.lonlat_to_model(request["lat"], request["lon"], HELSINKI)
    assert x == pytest.approx(original["local_position_m"][0] - 1.0, abs=1e-4)
    assert y == pytest.approx(original["local_position_m"][1], abs=1e-4)


@pytest.mark.parametrize(
    ("crs", "lat", "lon"),
    [
        ("EPSG:3879", 60.2, 25.1), ("EPSG:3067", 60.2, 25.1), ("EPSG:32632", 48.77, 11.43), ("EPSG:2056", 47.37, 8.54),
        ("EPSG:7415", 51.92, 4.48), ("EPSG:3946", 45.76, 4.84), ("EPSG:32760", -43.5, -179.5), (28992, 52.08, 4.3),
    ],
)
@pytest.mark.parametrize("epoch", [None, 2021.5])
def test_round_trip(crs, lat, lon, epoch):
    place = Georeference(crs, origin=(1234.5, -678.9, 12.0), epoch=epoch)
    lats, lons = lat + np.array([[0.0, 0.01], [0.02, -0.03]]), lon + np.array([[0.0, 0.01], [-0.02, 0.03]])
    points = geo.lonlat_to_model(lats, lons, place, height=40.0)
    assert points.shape == (2, 2, 3)
    np.testing.assert_array_equal(points[..., 2], 28.0)  # heights are only moved to the origin
    back = geo.model_to_lonlat(points, place)
    # The Dutch, Swiss and French systems come through datum shifts, whose inverse PROJ iterates to 1e-11 degrees.
    np.testing.assert_allclose(back, (lats, lons), atol=2e-11)


@pytest.mark.parametrize(("epoch", "metres"), [(2017.5, 0.68), (2021.5, 0.77), (2026.9, 0.90)])
def test_datum_epoch_in_helsinki(epoch, metres):
    """ETRS89 moves with Europe: fact sheet 1.5 has the distances and the azimuth -125 degrees."""
    still = geo.lonlat_to_model(PANO_LAT, PANO_LON, HELSINKI)
    moved = geo.lonlat_to_model(PANO_LAT, PANO_LON, Georeference(HELSINKI.crs, HELSINKI.origin, epoch))
    east, north = moved - still
    assert math.hypot(east, north) == pytest.approx(metres, abs=0.005)
    assert math.degrees(math.atan2(east, north)) == pytest.approx(-125, abs=0.5)


def test_epoch_means_nothing_between_plate_fixed_systems():
    point = np.array([[25_496_056.0, 6_672_400.0]])
    np.testing.assert_array_equal(geo.transform(point, "EPSG:3879", "EPSG:3067", epoch=2021.5),
                                  geo.transform(point, "EPSG:3879", "EPSG:3067"))
    with pytest.raises(InputError, match="no epoch"):
        geo.transform(point, "EPSG:3879", "EPSG:4326", epoch=21.5)


def test_convergence_of_the_fact_sheet():
    assert math.degrees(geo.meridian_convergence(PANO_LAT, PANO_LON, "EPSG:3879")) == pytest.approx(-0.0616, abs=5e-5)
    assert math.degrees(geo.meridian_convergence(PANO_LAT, PANO_LON, "EPSG:3067")) == pytest.approx(-1.797, abs=5e-4)


@pytest.mark.parametrize(("crs", "lat", "lon"), [("EPSG:3067", 60.2, 24.9), ("EPSG:32632", 48.8, 11.4),
                                                 ("EPSG:2056", 47.4, 8.5), ("EPSG:7415", 51.9, 4.5)])
def test_convergence_is_where_the_meridian_points(crs, lat, lon):
    """A step due north, seen in the grid: its bearing there is 0 minus the convergence."""
    south, north = geo.transform([[lon, lat - 1e-4], [lon, lat + 1e-4]], "EPSG:4326", crs)
    east_step, north_step = north - south
    on_grid = math.atan2(east_step, north_step)
    # The Swiss and Dutch ellipsoids are shifted by some hundred metres: 1e-5 rad of longitude difference.
    assert geo.true_to_grid_heading(0.0, lat, lon, crs) == pytest.approx(on_grid, abs=3e-5)
    assert geo.grid_to_true_heading(on_grid, lat, lon, crs) == pytest.approx(0.0, abs=3e-5)


def test_convergence_of_many_places():
    lats, lons = np.array([[60.0, 61.0]]), np.array([[24.9], [25.1]])
    many = geo.meridian_convergence(lats, lons, "EPSG:3067")
    assert many.shape == (2, 2)
    assert many[1, 0] == geo.meridian_convergence(60.0, 25.1, "EPSG:3067")


def test_swapped_coordinates_are_recognised():
    with pytest.raises(InputError, match="look swapped") as caught:
        geo.lonlat_to_model(PANO_LON, PANO_LAT, HELSINKI)
    assert "latitude (north) first" in str(caught.value)
    with pytest.raises(InputError, match=r"point 1.*look swapped"):
        geo.lonlat_to_model([PANO_LAT, PANO_LON], [PANO_LON, PANO_LAT], HELSINKI)
    with pytest.raises(InputError, match="look swapped"):  # -122 is no latitude at all
        geo.lonlat_to_model(-122.4, 37.8, Georeference("EPSG:32610"))


def test_places_outside_the_area_of_use():
    with pytest.raises(InputError, match="outside the area"):
        geo.lonlat_to_model(48.1, 11.6, HELSINKI)
    with pytest.raises(InputError, match="no finite"):
        geo.lonlat_to_model([60.0, math.nan], 25.0, HELSINKI)
    geo.lonlat_to_model(60.2, 24.4, HELSINKI)  # just over the zone's border: data of one town reach that far


def test_area_across_the_antimeridian():
    fiji = Georeference("EPSG:3460")  # 176.81 E to 178.15 W
    for lon in (177.0, 179.9, -179.9):
        assert np.isfinite(geo.lonlat_to_model(-17.8, lon, fiji)).all()
    with pytest.raises(InputError, match="outside the area"):
        geo.lonlat_to_model(-17.8, 0.0, fiji)


@pytest.mark.parametrize(
    ("crs", "words"),
    [
        ("EPSG:999999", "unknown coordinate reference system"),
        ("Helsinki", "unknown coordinate reference system"),
        (["EPSG:3879"], "unknown coordinate reference system"),
        (None, "no place on Earth"),
        ("EPSG:4326", "counts in degrees"),
        ("EPSG:4978", "counts in degrees or from the Earth's centre"),
        ("EPSG:2263", "US survey foot"),
        ("EPSG:2053", "south and west"),
        ("EPSG:3031", "point north"),
    ],
)
def test_unfit_systems(crs, words):
    with pytest.raises(InputError, match=words) as caught:
        geo.Projector(Georeference(crs))
    assert caught.value.mend


def test_points_that_cannot_be_transformed():
    with pytest.raises(InputError, match="not a finite number"):
        geo.transform([math.inf, 0], "EPSG:4326", "EPSG:3879")
    with pytest.raises(InputError, match="PROJ cannot take point 1"):
        geo.transform([[25.0, 60.0], [25.0, 95.0]], "EPSG:4326", "EPSG:3879")
    with pytest.raises(InputError, match="shape"):
        geo.transform([1.0], "EPSG:4326", "EPSG:3879")


def test_custom_system_without_area_of_use():
    local = Georeference("+proj=tmerc +lat_0=48.7 +lon_0=11.4 +k=1 +x_0=0 +y_0=0 +ellps=GRS80 +units=m +no_defs")
    # One minute of latitude is a nautical mile, to 0.3 %.
    x, y = geo.lonlat_to_model(48.7 + 1 / 60, 11.4, local)
    assert x == pytest.approx(0, abs=1e-6)
    assert y == pytest.approx(1852, rel=3e-3)
