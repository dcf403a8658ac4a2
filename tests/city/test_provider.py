"""The city as an image provider: pyproj says where it is, and its two views of a place fit each other."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pyproj
import pytest

from rsnb.city.provider import CityProvider
from rsnb.data.providers.provider import ImageProvider
from rsnb.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from crossview_checks import ring_correlation

TO_PLACE = pyproj.Transformer.from_crs("EPSG:3879", "EPSG:4326", always_xy=True)


@pytest.fixture(scope="module")
def provider(district):
    return CityProvider(district(), panorama_width=128)


def test_the_nearest_panorama_stands_where_its_metadata_says(provider):
    assert isinstance(provider, ImageProvider)
    x, y = provider.stations.position[17, :2] + [0.6, -0.8]
    lon, lat = TO_PLACE.transform(x + 25490000.0, y + 6668000.0)
    view = provider.street_view(lat=lat, lon=lon)
    assert view.id == "city-0017" and view.distance_m == pytest.approx(1.0, abs=1e-3)
    east, north = TO_PLACE.transform(view.lon, view.lat, direction="INVERSE")
    assert np.abs(np.array([east - 25490000.0, north - 6668000.0])
                  - provider.stations.position[17, :2]).max() < 1e-3
    # The middle column looks along the grid; its true bearing is the convergence, (lon - 25) sin lat.
    assert math.degrees(view.heading) == pytest.approx((lon - 25) * math.sin(math.radians(lat)), abs=1e-4)
    same = provider.street_view("city-0017")
    assert np.array_equal(same.image, view.image) and math.isnan(same.distance_m) and same.terms


def test_street_and_top_view_of_a_place_fit(provider):
    curve = np.zeros(128)
    for number in range(4, 124, 12):
        street = provider.street_view(f"city-{number:04d}")
        try:
            top = provider.top_view(street.lat, street.lon, extent_m=60.0, size=120)
        except InputError:
            continue  # too near the edge
        curve += ring_correlation(top.image, street.image, math.pi, 2.5, 60.0, (4, 24))
    assert curve.argmax() in (0, 1, 127) and curve[0] > 2.0  # of eight to ten places


def test_what_the_city_cannot_show(provider):
    lon, lat = TO_PLACE.transform(25496000.0 + 20, 6672500.0 + 20)
    with pytest.raises(InputError, match="reaches out of the district"):
        provider.top_view(lat, lon, extent_m=60.0)
    for bad in ("city-99999", "17", "city-x"):
        with pytest.raises(InputError, match="Ids are city-0000 to"):
            provider.street_view(bad)
    with pytest.raises(InputError, match="further than 50 m"):
        provider.street_view(lat=lat + 0.01, lon=lon)
