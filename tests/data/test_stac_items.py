"""Bands by common name and the reflectance rule, on every real item that was recorded and on made ones of each kind.

The expected numbers are typed by hand from the items' own JSON (baseline, boa_offset_applied, raster:bands) and ESA's
rule that values hold +1000 from baseline 04.00 on, unless someone has taken it out.
"""

from __future__ import annotations

import copy
import json
import warnings

import numpy as np
import pystac
import pytest
import yaml

from rsnb.data.download.loopback import LoopbackServer
from rsnb.data.stac.assets import asset_of, band_names
from rsnb.data.stac.grids import item_crs
from rsnb.data.stac.items import (
    asset_rows,
    item_detail,
    item_rows,
    read_items,
    read_thumbnail,
    read_thumbnails,
    thumbnail_href,
)
from rsnb.data.stac.reflectance import baseline_of, scaling_of
from rsnb.data.stac.search import search
from rsnb.errors import InputError

# id -> (baseline, boa_offset_applied, declared offset, offset that a reader must add)
EARTH_SEARCH = {
    "S2A_33TWN_20161202_0_L2A": ((0, 1), False, 0, 0.0),
    "S2B_33TWN_20180521_1_L2A": ((2, 7), False, 0, 0.0),
    "S2B_33TWN_20181005_0_L2A": ((2, 8), False, 0, 0.0),
    "S2B_33TWN_20190503_0_L2A": ((2, 11), False, 0, 0.0),
    "S2A_33TWN_20190707_1_L2A": ((2, 12), False, 0, 0.0),
    "S2A_33TWN_20210328_0_L2A": ((2, 14), False, 0, 0.0),
    "S2A_33TWN_20220122_0_L2A": ((3, 1), False, 0, 0.0),
    "S2B_33TWN_20220226_0_L2A": ((4, 0), False, -0.1, -0.1),  # the one that must be corrected
    "S2A_12RWT_20240106_0_L2A": ((5, 10), True, -0.1, 0.0),  # corrected already, though -0.1 is declared
}


def _items(path):
    return {item.id: item for file in sorted(path.glob("*.json")) for item in read_items(file)}


def test_every_recorded_earth_search_item_gets_its_offset_once(real):
    items = _items(real("nb1_download/earthsearch_items"))
    assert set(items) == set(EARTH_SEARCH)
    for name, (baseline, applied, declared, offset) in EARTH_SEARCH.items():
        item = items[name]
        assert item.properties["earthsearch:boa_offset_applied"] is applied
        for band in ("red", "nir", "swir16", "coastal"):
            asset = asset_of(item, band)
            assert asset.fields["raster:bands"][0]["offset"] == declared, (name, band)
            rule = scaling_of(item, asset)
            assert (rule.scale, rule.offset, rule.nodata) == (1e-4, offset, 0), (name, band)
        assert baseline_of(item) == baseline
        assert scaling_of(item, asset_of(item, "scl")).offset == 0 == scaling_of(item, asset_of(item, "visual")).offset


def test_items_of_other_catalogues(real):
    folder = real("nb1_download/odc_stac_items")
    strip = read_items(folder / "site1-20200606-tall-strip-africa.geojson")
    assert len(strip) == 9
    for item in strip:  # Planetary Computer, 2020: baseline 02.12, nothing declared
        asset = asset_of(item, "red")
        assert asset.key == "B04" and asset.gsd_m == 10 and asset.href.endswith("B04_10m.tif")
        assert scaling_of(item, asset).offset == 0.0 and scaling_of(item, asset).scale == 1e-4
        assert [asset_of(item, b).key for b in ("rededge1", "rededge2", "rededge3", "nir08")] == [
            "B05", "B06", "B07", "B8A"]  # all four are called "rededge" there
    (v0,) = read_items(folder / "S2A_28QCH_20200714_0_L2A.json")  # Earth Search v0: baseline in a product name, N0214
    assert baseline_of(v0) == (2, 14) and scaling_of(v0, asset_of(v0, "blue")).offset == 0.0
    assert asset_of(v0, "blue").href.endswith("/B02.tif")
    (landsat,) = read_items(folder / "LC08_L2SR_081119_20200101_20200823_02_T2.json")
    red, near = asset_of(landsat, "red"), asset_of(landsat, "nir")
    assert (red.key, near.key) == ("SR_B4.TIF", "SR_B5.TIF")
    rule = scaling_of(landsat, red)
    assert (rule.scale, rule.offset, rule.nodata) == (2.75e-5, -0.2, 0)
    assert asset_of(landsat, "qa_pixel").key == "QA_PIXEL.TIF"


def test_recorded_answers_hold_every_kind_of_rule(real):
    """Earth Search, July 2025: the old collection has the offset taken out, the new one and Level-1C still hold it."""
    cassette = real("nb1_download/stac_cassettes") / "TestCLISearch.test_filter_inprocess.yaml"
    rules = {}
    for interaction in yaml.safe_load(cassette.read_text())["interactions"][1:]:
        for feature in json.loads(interaction["response"]["body"]["string"])["features"]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                item = pystac.Item.from_dict(feature)
            name = "hh" if "sentinel-1" in item.collection_id else "red"
            rule = scaling_of(item, asset_of(item, name))
            rules.setdefault(item.collection_id, set()).add((rule.scale, rule.offset))
    assert rules == {"sentinel-1-grd": {(1.0, 0.0)}, "sentinel-2-c1-l2a": {(1e-4, -0.1)},
                     "sentinel-2-l2a": {(1e-4, 0.0)}, "sentinel-2-l1c": {(1e-4, -0.1)}}


def test_recorded_landsat_and_elevation(real):
    folder = real("nb1_download/stac_cassettes")

    def features(name, number):
        interaction = yaml.safe_load((folder / name).read_text())["interactions"][number]
        return [pystac.Item.from_dict(f) for f in json.loads(interaction["response"]["body"]["string"])["features"]]

    landsat = next(i for i in features("test_multiple_collections.yaml", 0) if "landsat" in i.collection_id)
    surface = scaling_of(landsat, asset_of(landsat, "swir22"))
    assert (surface.scale, surface.offset) == (2.75e-5, -0.2)
    heat = scaling_of(landsat, asset_of(landsat, "lwir11"))
    assert (heat.scale, heat.offset) == (0.00341802, 149.0)
    tile = features("TestCLISearch.test_save_inprocess.yaml", 1)[0]
    assert asset_of(tile, "dem").key == "data" and asset_of(tile, "elevation").gsd_m == 30
    assert scaling_of(tile, asset_of(tile, "dem")).scale == 1.0


def test_reflectance_by_hand():
    """0.1 of reflectance is stored as 1000 before and as 2000 after the offset came; both must read 0.1."""
    for offset, stored in ((0.0, 1000), (-0.1, 2000)):
        rule = scaling_of(_sentinel_2({"s2:processing_baseline": "05.00" if offset else "02.14"}),
                          asset_of(_sentinel_2({}), "red"))
        values = rule.apply(np.array([[stored, 0, 65535]], np.uint16))
        assert values.dtype == np.float32 and values[0, 0] == pytest.approx(0.1, abs=1e-6) and np.isnan(values[0, 1])
        assert values[0, 2] == pytest.approx(6.5535 + offset, abs=1e-5)
    rule = scaling_of(_sentinel_2({"s2:processing_baseline": "05.00"}), asset_of(_sentinel_2({}), "red"))
    assert rule.apply(np.array([[900]]))[0, 0] == pytest.approx(-0.01, abs=1e-6)  # below zero stays
    valid = np.array([[False]])
    assert np.isnan(rule.apply(np.array([[1500]]), valid)[0, 0])


RED = {"href": "https://example.org/B04.tif", "type": "image/tiff; application=geotiff", "roles": ["data"]}


def _sentinel_2(properties: dict, assets: dict | None = None) -> pystac.Item:
    return pystac.Item.from_dict({
        "type": "Feature", "stac_version": "1.0.0", "id": "S2A_33TWN", "links": [], "bbox": [0, 0, 1, 1],
        "geometry": {"type": "Point", "coordinates": [0, 0]}, "collection": "sentinel-2-l2a",
        "assets": copy.deepcopy(assets or {"B04": RED}),
        "properties": {"datetime": "2023-01-01T00:00:00Z", "platform": "sentinel-2a", **properties}})


@pytest.mark.parametrize("properties, red, offset", [
    ({"s2:processing_baseline": "04.00"}, {}, -0.1),  # Planetary Computer says the baseline alone
    ({"s2:processing_baseline": "03.01"}, {}, 0.0),
    ({"processing:version": "05.11"}, {}, -0.1),  # Copernicus
    ({"s2:product_uri": "S2A_MSIL2A_20230815T095031_N0509_R079_T33TWL_20230815T155057.SAFE"}, {}, -0.1),
    ({}, {"href": "https://x.org/S2A_MSIL2A_20200606T080609_N0212_R078_T35MNM_20200826T094900.SAFE/B04.tif"}, 0.0),
    ({}, {}, -0.1),  # nothing but the date, 2023
    ({"datetime": "2022-01-24T23:59:59Z"}, {}, 0.0),  # the day before
    ({"datetime": "2022-01-25T00:00:00Z"}, {}, -0.1),
    ({"datetime": "2018-01-01T00:00:00Z", "s2:processing_baseline": "05.00"}, {}, -0.1),  # reprocessed since
    ({"s2:processing_baseline": "05.09", "sentinel:boa_offset_applied": True}, {}, 0.0),  # Earth Search v0
    ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": "true"}, {}, 0.0),
    ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": False},
     {"raster:bands": [{"scale": 1e-4, "offset": 0}]}, -0.1),  # the flag and the pixels, not a stale 0
    ({"s2:processing_baseline": "05.11"}, {"raster:bands": [{"scale": 1e-4, "offset": 0}]}, 0.0),  # declared: believed
    ({}, {"raster:scale": 1e-4, "raster:offset": -0.1}, -0.1),  # STAC 1.1, on the asset
    ({}, {"bands": [{"name": "B04", "raster:scale": 1e-4, "raster:offset": -0.1}]}, -0.1),  # STAC 1.1, on the band
])
def test_the_rule_for_made_items(properties, red, offset):
    item = _sentinel_2(properties, {"B04": RED | red})
    rule = scaling_of(item, asset_of(item, "red"))
    assert (rule.scale, rule.offset) == (1e-4, offset), rule.why
    assert rule.why


def _item(name: str, collection: str, assets: dict, **properties) -> pystac.Item:
    item = _sentinel_2({"platform": None, **properties}, assets)
    item.id, item.collection_id = name, collection
    return item


USGS = "https://landsatlook.usgs.gov/data/LE07_L2SP_044033_20210329_20210424_02_T1"
COG = {"type": "image/tiff", "roles": ["data"]}


@pytest.mark.parametrize("item, band, scale, offset, nodata", [
    # USGS's own catalogue: common names as keys, nothing declared; what it is stands in the file's name
    (_item("LE07_L2SP_044033_20210329_20210424_02_T1_SR", "landsat-c2l2-sr", {"red": {"href": f"{USGS}_SR_B3.TIF"}},
           **{"platform": "LANDSAT_7", "landsat:collection_number": "02"}), "red", 2.75e-5, -0.2, 0),
    (_item("LC08_L2SP_044033_20210329_20210424_02_T1_ST", "landsat-c2l2-st", {"lwir11": {"href": f"{USGS}_ST_B10.TIF"}},
           **{"platform": "LANDSAT_8", "landsat:collection_number": "02"}), "lwir11", 0.00341802, 149.0, 0),
    # Harmonized Landsat Sentinel-2: BRDF-adjusted, x 10000, -9999; no offset whatever the date
    (_item("HLS.S30.T33UWP.2024100T100000.v2.0", "HLSS30_2.0", {"B04": {"href": "B04.tif"}}), "red", 1e-4, 0, -9999),
    (_item("HLS.L30.T33UWP.2024100T100000.v2.0", "HLSL30_2.0", {"B05": {"href": "B05.tif"}}), "nir08", 1e-4, 0, -9999),
    (_item("HLS.L30.T33UWP.2024100T100000.v2.0", "HLSL30_2.0", {"B10": {"href": "B10.tif"}}), "lwir11", 1, 0, None),
    (_item("HLS.S30.T33UWP.2024100T100000.v2.0", "hls2-s30", {"B04": {
        "href": "B04.tif", "raster:bands": [{"nodata": -9999, "scale": 1e-4}]}}, platform="sentinel-2a"),
     "red", 1e-4, 0, -9999),
    # Geoscience Australia's own surface reflectance
    (_item("0a0c2f0e-c2c2", "ga_s2am_ard_3", {"nbart_red": {"href": "band04.tif", "raster:bands": [{"nodata": -999}]}},
           platform="sentinel-2a"), "nbart_red", 1, 0, -999),
    # Copernicus STAC declares reflectance's scale and offset for the maps, too, which hold 1000 x their value
    (_item("S2C_MSIL2A_20250330T100051_N0511_R122_T33UWP_20250330T145914", "sentinel-2-l2a",
           {"AOT_10m": {"href": "AOT.jp2", "nodata": 0, "raster:scale": 1e-4, "raster:offset": -0.1}}),
     "aot", 1e-3, 0, 0),
    # what was made before 04.00 has no 1000 in it
    (_item("S2A_MSIL2A_20190330T100051_N0211_R122_T33UWP_20190330T145914", "sentinel-2-l2a",
           {"B04_10m": {"href": "B04.jp2", "nodata": 0, "raster:scale": 1e-4, "raster:offset": -0.1}}),
     "red", 1e-4, 0, 0),
])
def test_the_rule_for_other_makers(item, band, scale, offset, nodata):
    rule = scaling_of(item, asset_of(item, band))
    assert (rule.scale, rule.offset, rule.nodata) == (scale, offset, nodata), rule.why


def test_pixel_sizes_in_degrees_are_no_metres():
    """USGS's 3DEP lies in EPSG:5498: NAD83 with heights, degrees by another name than 4326."""
    fields = {"href": "dem.tif", **COG, "proj:transform": [9.26e-05, 0, -122, 0, -9.26e-05, 48]}
    for code in ({"proj:epsg": 5498}, {"proj:code": "EPSG:5498"}):
        item = _item("n48w122", "3dep-seamless", {"data": fields}, gsd=10, **code)
        assert asset_of(item, "dem").gsd_m == 10 and item_crs(item) is None
    naip = _item("ia_m", "naip", {"image": {"href": "m.tif", **COG}}, **{"proj:epsg": 26915})
    assert item_crs(naip) == "EPSG:26915"


def test_heights_are_found_among_their_masks():
    """Copernicus STAC: heights under "data", beside masks of editing, filling and water."""
    rasters = {key: {"href": f"{key}.tif", **COG} for key in ("EDM", "data", "WBM")}
    assert asset_of(_item("Copernicus_DSM_10_N47", "cop-dem-glo-30-dged-cog", rasters), "dem").key == "data"
    with pytest.raises(InputError, match="no asset for 'dem'"):
        asset_of(_item("x", "y", {key: rasters[key] for key in ("EDM", "WBM")}), "dem")


def test_percentages_wherever_a_catalogue_keeps_them():
    item = _sentinel_2({"eo:cloud_cover": 86.04, "eo:snow_cover": 0.1, "statistics": {"water": 0.07, "nodata": 2.37}})
    detail = item_detail(item)
    assert detail["percentages"] == {"cloud_cover": 86.04, "snow_cover": 0.1, "water": 0.07, "nodata": 2.37}
    assert not detail["properties"].keys() & {"statistics", "eo:snow_cover"}


COPERNICUS = {f"{band}_{metres}m": {
    "href": f"s3://eodata/{band}_{metres}m.jp2", "type": "image/jp2", "gsd": metres, "roles": ["data"],
    "bands": [{"name": band, "eo:common_name": common}] if common else [],
    "alternate": {"https": {"href": f"https://download.dataspace.copernicus.eu/{band}_{metres}m.jp2"}}}
    for band, common, sizes in (("B04", "red", (10, 20, 60)), ("B05", "rededge071", (20, 60)),
                                ("B8A", "nir08", (20, 60)), ("SCL", None, (20, 60)), ("TCI", None, (10, 20)))
    for metres in sizes}


@pytest.mark.parametrize("name, resolution, key", [
    ("red", None, "B04_10m"), ("red", 10, "B04_10m"), ("red", 15, "B04_10m"), ("red", 20, "B04_20m"),
    ("red", 120, "B04_60m"), ("red", 5, "B04_10m"), ("B04", 20, "B04_20m"), ("b4", 60, "B04_60m"),
    ("B04_20m", 10, "B04_20m"), ("rededge1", 10, "B05_20m"), ("nir08", None, "B8A_20m"), ("8A", 60, "B8A_60m"),
    ("scl", None, "SCL_20m"), ("visual", None, "TCI_10m"),
])
def test_copernicus_keys_by_name_and_resolution(name, resolution, key):
    asset = asset_of(_sentinel_2({}, COPERNICUS), name, resolution)
    assert asset.key == key and asset.href.startswith("https://download.dataspace")  # https before s3


def test_cog_before_jp2_and_https_before_s3():
    assets = {"red-jp2": {"href": "https://x.org/B04.jp2", "type": "image/jp2"}, "red": RED,
              "thumbnail": {"href": "t.jpg", "type": "image/jpeg", "roles": ["thumbnail"],
                            "eo:bands": [{"name": "red", "common_name": "red"}]},
              "visual": {"href": "TCI.tif", "type": "image/tiff", "roles": ["visual"],
                         "eo:bands": [{"name": "red", "common_name": "red"}]}}
    item = _sentinel_2({}, assets)
    assert asset_of(item, "red").key == "red"
    assert band_names(item) == ["red"]
    assets["red"] = RED | {"href": "s3://bucket/B04.tif"}
    assert asset_of(_sentinel_2({}, assets), "red").key == "red-jp2"
    sizes = {"B04_10m": {"href": "s3://bucket/B04.jp2", "type": "image/jp2"},
             "B04_20m": {"href": "https://x.org/B04.jp2", "type": "image/jp2"}}
    assert asset_of(_sentinel_2({}, sizes), "red").key == "B04_20m"  # what can be opened, though it is coarser


def test_band_numbers_go_by_platform():
    """B4 is red on Landsat 8 and near infrared on Landsat 5."""
    def landsat(number):
        return pystac.Item.from_dict({
            "type": "Feature", "stac_version": "1.0.0", "id": "x", "links": [], "bbox": [0, 0, 1, 1],
            "geometry": {"type": "Point", "coordinates": [0, 0]}, "collection": "landsat-c2-l2",
            "properties": {"datetime": "2001-01-01T00:00:00Z", "platform": f"landsat-{number}"},
            "assets": {f"SR_B{n}": {"href": f"B{n}.tif", "type": "image/tiff"} for n in range(1, 8)}})

    names = ("blue", "red", "nir", "swir16")
    assert [asset_of(landsat(8), name).key for name in names] == ["SR_B2", "SR_B4", "SR_B5", "SR_B6"]
    assert [asset_of(landsat(5), name).key for name in names] == ["SR_B1", "SR_B3", "SR_B4", "SR_B5"]


def test_several_bands_in_one_file_are_counted_from_one():
    bands = [{"name": n, "common_name": n} for n in ("red", "green", "blue", "nir")]
    item = _sentinel_2({}, {"image": {"href": "i.tif", "type": "image/tiff", "roles": ["data"], "eo:bands": bands,
                                      "raster:bands": [{"scale": 1, "offset": n} for n in range(4)]}})
    assert asset_of(item, "blue").band == 3 and asset_of(item, "nir").band == 4
    assert scaling_of(_sentinel_2({}, {}), asset_of(item, "blue")).offset == 2


def test_a_band_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(InputError, match="S2A_33TWN: there is no asset for 'swir16'. It has red"):
        asset_of(_sentinel_2({}), "swir16")


def test_rows_of_a_real_search(real):
    folder = real("nb6_temporal/earthsearch_33TWL/sentinel-2-l2a/S2A_33TWL_20230815_0_L2A")
    (item,) = read_items(folder / "S2A_33TWL_20230815_0_L2A.json")
    (row,) = item_rows([item])
    assert row == {"id": "S2A_33TWL_20230815_0_L2A", "collection": "sentinel-2-l2a", "platform": "sentinel-2a",
                   "date": "2023-08-15 09:58:11", "cloud": 0.20399, "gsd": 10.0, "assets": 35,
                   "thumbnail": "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/33/T/WL/2023/8/"
                                "S2A_33TWL_20230815_0_L2A/thumbnail.jpg"}
    detail = item_detail(item)
    assert detail["percentages"]["vegetation"] == 96.39101 and detail["percentages"]["cloud_cover"] == 0.20399
    assert len(detail["percentages"]) == 14 and detail["footprint"]["type"] == "Polygon"
    rows = {r["key"]: r for r in asset_rows(item)}
    assert rows["red"]["href"] == str(folder / "B04.tif") and rows["red"]["type"].startswith("image/tiff")
    assert rows["red"]["shape"] == (10980, 10980) and rows["scl"]["gsd"] == 20
    assert rows["granule_metadata"]["shape"] is None


@pytest.mark.parametrize("collection, platform, properties, key, kind", [
    ("sentinel-3-olci-lfr-l2-netcdf", "sentinel-3b", {"eo:cloud_cover": 8.5}, "otci", "application/netcdf"),
    ("sentinel-5p-l2-netcdf", "sentinel-5p", {"s5p:product_type": "L2__NO2___"}, "no2", "application/x-netcdf"),
])
def test_items_of_the_coarse_sensors_are_listed(collection, platform, properties, key, kind):
    item = _sentinel_2({"platform": platform, "datetime": None, "start_datetime": "2023-01-01T00:00:00Z",
                        "end_datetime": "2023-01-01T01:41:30Z", **properties}, {key: {"href": "a.nc", "type": kind}})
    item.collection_id, item.id = collection, "S"
    (row,) = item_rows([item])
    assert row["date"] == "2023-01-01 00:00:00" and row["cloud"] == properties.get("eo:cloud_cover")
    assert band_names(item) == [key] and asset_of(item, key).href == "a.nc"
    assert scaling_of(item, asset_of(item, key)).scale == 1.0


def test_sizes_and_checksums_stand_in_the_detail(real):
    cassette = real("nb1_download/stac_cassettes") / "TestCLISearch.test_filter_inprocess.yaml"
    page = json.loads(yaml.safe_load(cassette.read_text())["interactions"][1]["response"]["body"]["string"])
    feature = next(f for f in page["features"] if f["id"] == "S2B_T20EPT_20250731T131905_L2A")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = {r["key"]: r for r in asset_rows(pystac.Item.from_dict(feature))}
    assert rows["red"]["bytes"] == 4702862 and rows["scl"]["checksum"].startswith("1220424f377750a0")


def test_files_that_hold_no_items_are_refused(tmp_path):
    path = tmp_path / "items.json"
    path.write_text("{")
    with pytest.raises(InputError, match="items.json, line 1: this is no JSON"):
        read_items(path)
    path.write_text('{"type": "FeatureCollection", "features": [{"type": "Feature", "id": "half"}]}')
    with pytest.raises(InputError, match="items.json: item half is no STAC item"):
        read_items(path)


@pytest.mark.parametrize("place, field, value", [
    ("asset", "roles", "data"), ("asset", "roles", [3]), ("asset", "type", ["image/tiff"]), ("asset", "bands", ["red"]),
    ("asset", "raster:bands", {"scale": 1}), ("asset", "proj:transform", ["a"]), ("asset", "alternate", "s3"),
    ("item", "bbox", [0, 0, "1", 1]), ("item", "collection", 7),
])
def test_fields_of_another_kind_are_named_and_cost_one_item_alone(tmp_path, place, field, value):
    good = _sentinel_2({}).to_dict()
    bad = copy.deepcopy(good) | {"id": "bad"}
    (bad["assets"]["B04"] if place == "asset" else bad)[field] = value
    path = tmp_path / "found.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [good, bad]}))
    with pytest.raises(InputError, match=f"found.json: item bad is no STAC item.*{field}"):
        read_items(path)
    folder = tmp_path / "static"
    folder.mkdir()
    for feature in (good, bad):
        (folder / f"{feature['id']}.json").write_text(json.dumps(feature))
    (folder / "catalog.json").write_text(json.dumps({
        "type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "c",
        "links": [{"rel": "item", "href": f"./{name}.json"} for name in ("bad", good["id"])]}))
    found = search(folder)
    assert [item.id for item in found.items] == [good["id"]] and any("left out" in note for note in found.notes)


PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)


def test_thumbnails_are_bounded_and_must_be_pictures(tmp_path):
    (tmp_path / "t.png").write_bytes(PNG)
    (tmp_path / "login.png").write_bytes(b"<html>log in</html>")
    with LoopbackServer(tmp_path) as server:
        def item(name):
            return _sentinel_2({}, {"thumbnail": {"href": f"{server.url}/{name}", "type": "image/png"}})

        assert read_thumbnail(item("t.png")) == PNG
        lost = item("gone.png")
        lost.id = "lost"
        assert read_thumbnails([item("t.png"), lost]) == {"S2A_33TWN": PNG, "lost": None}
        with pytest.raises(InputError, match="larger than 100 bytes"):
            read_thumbnail(item("t.png"), limit=100)
        with pytest.raises(InputError, match="no JPEG, PNG.*login page"):
            read_thumbnail(item("login.png"))
        with pytest.raises(InputError, match="cannot be had .404."):
            read_thumbnail(item("gone.png"))
    assert thumbnail_href(_sentinel_2({})) is None
    with pytest.raises(InputError, match="no thumbnail"):
        read_thumbnail(_sentinel_2({}))
    local = _sentinel_2({}, {"preview": {"href": str(tmp_path / "t.png"), "type": "image/png", "roles": ["overview"]}})
    assert read_thumbnail(local) == PNG
