"""Names of coordinate systems, and files that write them in another order."""

from __future__ import annotations

import numpy as np
import pytest

from rsnb.data.meshes.srs import parse_srs, to_easting_northing


@pytest.mark.parametrize(("name", "code"), [
    ("EPSG:32632", "EPSG:32632"), ("urn:ogc:def:crs:EPSG::25832", "EPSG:25832"), ("epsg:3879", "EPSG:3879"),
    ("urn:ogc:def:crs:EPSG:6.12:3068", "EPSG:3068"),
    ("urn:ogc:def:crs,crs:EPSG:6.12:3068,crs:EPSG:6.12:5783", "EPSG:3068"),
    ("https://www.opengis.net/def/crs/EPSG/0/7415", "EPSG:7415"),
    ("http://www.opengis.net/gml/srs/epsg.xml#25833", "EPSG:25833"),
    ("urn:adv:crs:ETRS89_UTM32*DE_DHHN2016_NH", "EPSG:25832"),
    ("urn:adv:crs:DE_DHDN_3GK4*DE_DHHN92_NH", "EPSG:31468"), (None, None), ("", None), ("local", None),
])
def test_names(name, code):
    assert parse_srs(name) == code


def test_degrees_become_utm_metres():
    """PLATEAU's EPSG:6697 writes latitude, longitude, height; oracle: UTM at its central meridian."""
    points = np.array([[35.0, 141.0, 12.5], [35.0001, 141.0, 12.5]])  # 141 E is the centre of zone 54
    moved, crs = to_easting_northing(points, "EPSG:6697")
    assert crs == "EPSG:32654"
    assert moved[0] == pytest.approx([500_000.0, 3_873_043.0, 12.5], abs=1.0)  # 0.9996 * meridian arc 3 874 592.9 m
    assert moved[1, 1] - moved[0, 1] == pytest.approx(11.09, abs=0.01)


def test_southern_degrees():
    moved, crs = to_easting_northing(np.array([[-37.81, 144.96, 0.0]]), "EPSG:4979")
    assert crs == "EPSG:32755" and 5_800_000 < moved[0, 1] < 5_830_000


def test_feet_become_metres():
    """New York's EPSG:2263 counts in US survey feet of 1200 / 3937 m; its scale and UTM's differ by under 0.1 %."""
    feet = np.array([[980_000.0, 195_000.0, 100.0], [983_280.833, 195_000.0, 100.0]])
    moved, crs = to_easting_northing(feet, "EPSG:2263")
    assert crs == "EPSG:32618" and moved[0, 2] == pytest.approx(100 * 1200 / 3937)
    assert np.linalg.norm(moved[1] - moved[0]) == pytest.approx(1000.0, abs=1.0)
    assert 580_000 < moved[0, 0] < 590_000 and 4_500_000 < moved[0, 1] < 4_515_000  # lower Manhattan


@pytest.mark.parametrize("swap", [False, True])
def test_projected_files_in_both_orders(swap):
    """EPSG:3879 defines northing first, but city files write easting first: the area of use tells."""
    point = np.array([[25_496_056.964, 6_672_400.232, 11.0]])
    given = point[:, [1, 0, 2]] if swap else point
    moved, _ = to_easting_northing(given, "EPSG:3879")
    assert np.array_equal(moved, point)


def test_unknown_systems_are_handed_on():
    point = np.array([[1.0, 2.0, 3.0]])
    assert to_easting_northing(point, None)[0] is point
    assert to_easting_northing(point, "EPSG:999999")[1] is None
