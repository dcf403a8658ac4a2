"""What is wrong with a question is said before anything is asked: boxes, geometries, dates, numbers."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pytest

from rsnb.data.stac.area import on_the_globe, parse_bbox, read_geometry, split_at_antimeridian
from rsnb.data.stac.catalogues import CATALOGUES, find_catalogue, needs_table
from rsnb.data.stac.options import SearchOptions
from rsnb.errors import InputError

SQUARE = [[[15.0, 45.0], [16.0, 45.0], [16.0, 46.0], [15.0, 46.0], [15.0, 45.0]]]
POLYGON = {"type": "Polygon", "coordinates": SQUARE}


@pytest.mark.parametrize("bbox, expected", [
    ((15, 45, 16, 46), (15, 45, 16, 46)),
    ("15, 45,16 ,46", (15, 45, 16, 46)),
    ("15 45 16 46", (15, 45, 16, 46)),
    ((15, 45, -10, 16, 46, 900), (15, 45, 16, 46)),  # with heights, as GeoJSON allows
    (np.array([15, 45, 15, 45]), (15, 45, 15, 45)),  # a point
    ((178, -20, -179, -10), (178, -20, -179, -10)),  # 3 degrees wide, over the antimeridian
])
def test_boxes_that_are_understood(bbox, expected):
    assert parse_bbox(bbox) == expected


@pytest.mark.parametrize("bbox, words", [
    ((45, 16, 46, 15), "south .16. lies above north .15."),
    ((16, 45, 15, 46), "west .16. lies east of east .15.*swap the two"),
    ((45, 145, 46, 146), "south is 145, but a latitude"),
    ((15, 45, 190, 46), "east is 190, but a longitude"),
    ((15, 45, 16), "four finite numbers"),
    ((15, 45, float("nan"), 46), "four finite numbers"),
    ("15, 45, east, 46", "no box of numbers"),
    (7, "no box of numbers"),
])
def test_boxes_that_are_refused_with_the_right_order(bbox, words):
    with pytest.raises(InputError, match=f"bbox: .*{words}.*") as error:
        SearchOptions(bbox=bbox)
    assert "west, south, east, north" in str(error.value)


def test_a_box_over_the_antimeridian_is_cut_in_two():
    assert SearchOptions(bbox=(178, -20, -179, -10)).boxes == ((178, -20, 180, -10), (-180, -20, -179, -10))
    assert split_at_antimeridian((180.0, -20.0, -179.0, -10.0)) == ((-180.0, -20.0, -179.0, -10.0),)
    assert SearchOptions(bbox=(15, 45, 16, 46)).boxes == ((15, 45, 16, 46),)


@pytest.mark.parametrize("wrap", [
    lambda g: g,
    lambda g: {"type": "Feature", "properties": {}, "geometry": g},
    lambda g: {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": None, "geometry": g}]},
    lambda g: {"type": "GeometryCollection", "geometries": [g]},
    json.dumps,
])
def test_geometries_in_every_wrapping(wrap):
    from shapely.geometry import box, shape

    assert shape(read_geometry(wrap(POLYGON))).equals(box(15, 45, 16, 46))


@pytest.mark.parametrize("inside, lon", [(True, 179.8), (True, -179.8), (False, 0.0), (False, 179.0), (False, -179.0)])
def test_a_footprint_that_jumps_over_the_antimeridian_is_cut(inside, lon):
    """A ring from 179.5 E to 179.5 W in one jump: without care it would span all the other longitudes."""
    from shapely.geometry import Point

    ring = [[179.5, -18], [-179.5, -18], [-179.5, -17], [179.5, -17], [179.5, -18]]
    footprint = on_the_globe({"type": "Polygon", "coordinates": [ring]})
    assert footprint.intersects(Point(lon, -17.5)) is inside
    assert footprint.area == pytest.approx(1.0)  # 1 degree by 1 degree


def test_a_geometry_file_with_two_features_becomes_one(tmp_path):
    from shapely.geometry import shape

    features = [{"type": "Feature", "properties": {}, "geometry": g}
                for g in (POLYGON, {"type": "Point", "coordinates": [20, 50]}, None)]
    path = tmp_path / "drawn.geojson"
    path.write_text("\ufeff" + json.dumps({"type": "FeatureCollection", "features": features}))
    assert shape(read_geometry(path)).bounds == (15, 45, 20, 50)


def test_a_ring_that_crosses_itself_is_mended():
    from shapely.geometry import shape

    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    assert shape(read_geometry(bow_tie)).area == pytest.approx(2.0)  # two triangles of base 2 and height 1


@pytest.mark.parametrize("text, words", [
    ("{", "drawn.geojson, line 1: this is no JSON"),
    ("[1, 2]", "no GeoJSON object"),
    ('{"type": "Polygon"}', "no GeoJSON geometry"),
    ('{"type": "Circle", "coordinates": [1, 2]}', "no GeoJSON geometry"),
    ('{"type": "FeatureCollection", "features": []}', "no geometry in it"),
    ('{"type": "Point", "coordinates": [25496000, 6672000]}', "not on the globe.*longitude before latitude"),
    ('{"type": "Point", "coordinates": [1, 2], "crs": {"type": "name", "properties": {"name": "EPSG:3879"}}}',
     "in EPSG:3879.*EPSG:4326"),
])
def test_geometry_files_that_are_refused_by_name(tmp_path, text, words):
    path = tmp_path / "drawn.geojson"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as error:
        SearchOptions(geometry=path)
    assert "drawn.geojson" in str(error.value)


@pytest.mark.parametrize("start, end, interval", [
    ("2023-08-10", "2023-08-20", "2023-08-10T00:00:00Z/2023-08-20T23:59:59Z"),
    ("2023", "2023", "2023-01-01T00:00:00Z/2023-12-31T23:59:59Z"),
    ("2023-12", "2024-02", "2023-12-01T00:00:00Z/2024-02-29T23:59:59Z"),  # a leap year
    ("2023-08-10T12:30:00+02:00", None, "2023-08-10T10:30:00Z/.."),
    ("2023-08-10T12:30:00Z", "..", "2023-08-10T12:30:00Z/.."),
    (None, dt.date(2023, 8, 20), "../2023-08-20T23:59:59Z"),
    (np.datetime64("2023-08-10"), np.datetime64("2023-08-11T01:02:03"), "2023-08-10T00:00:00Z/2023-08-11T01:02:03Z"),
    (np.datetime64("NaT"), "", None),
])
def test_dates_and_the_interval_that_is_sent(start, end, interval):
    assert SearchOptions(start=start, end=end).interval == interval


@pytest.mark.parametrize("fields, words", [
    ({"start": "10/08/2023"}, "start: '10/08/2023' is no date.*year first"),
    ({"end": "2023-02-30"}, "end: '2023-02-30' is no date"),
    ({"end": "soon"}, "end: 'soon' is no date"),
    ({"start": "2023-08-20", "end": "2023-08-10"}, "start: .*comes after the end"),
    ({"max_cloud": 120}, "max_cloud: 120 is no percentage"),
    ({"max_cloud": -1}, "max_cloud"),
    ({"max_items": 0}, "max_items: 0 is no number"),
    ({"max_items": 2.5}, "max_items"),
    ({"page_size": True}, "page_size"),
    ({"bbox": (1, 2, 3, 4), "geometry": POLYGON}, "both a box and a geometry"),
])
def test_fields_that_are_refused_by_name(fields, words):
    with pytest.raises(InputError, match=words):
        SearchOptions(**fields)


def test_one_collection_may_stand_alone_and_sort_words_are_translated():
    assert SearchOptions(collections="sentinel-2-l2a").collections == ("sentinel-2-l2a",)
    assert SearchOptions(sort="-cloud").sort_key == ("properties.eo:cloud_cover", True)
    assert SearchOptions(sort="+datetime").sort_key == ("properties.datetime", False)
    assert SearchOptions(sort="").sort_key is None


def test_catalogues_by_name_alias_url_folder_and_nothing(tmp_path):
    assert find_catalogue("Earth-Search").url == "https://earth-search.aws.element84.com/v1"
    assert find_catalogue("cdse") is CATALOGUES["copernicus_data_space"]
    assert find_catalogue("https://example.org/stac/").url == "https://example.org/stac"
    (tmp_path / "catalog.json").write_text("{}")
    assert find_catalogue(tmp_path).url == str((tmp_path / "catalog.json").resolve())
    with pytest.raises(InputError, match="'nowhere' is no catalogue.*earth_search, copernicus_data_space"):
        find_catalogue("nowhere")


def test_the_table_says_what_each_live_catalogue_needs():
    rows = {row["catalogue"]: row for row in needs_table()}
    assert set(rows) == {"earth_search", "copernicus_data_space", "planetary_computer"}
    assert all(row["search needs"] == "nothing" for row in rows.values())  # all three are searched anonymously
    assert "RSNB_CDSE_USER" in rows["copernicus_data_space"]["pixels need"]
    assert "no account" in rows["planetary_computer"]["pixels need"]
