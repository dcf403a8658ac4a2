"""The static catalogue judged by other libraries: pystac and its schemas, rasterio, hashlib, PIL, pyproj, rustac."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pystac
import pystac_client
import pytest
import rasterio
import shapely
from PIL import Image
from pystac.validation import validate_dict

from rsnb.city.store import checksums
from rsnb.city.true_images import truth_image
from rsnb.city.write_catalogue import CatalogueOptions, ensure_catalogue, write_catalogue
from rsnb.errors import InputError

SMALL = CatalogueOptions(covers=(0.0, 0.0, 0.2, 1.0, 0.0, 0.1), pixels=96, high_pixels=600,
                         high_resolution_dates=("2022-06-20",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, quick_district):
    return ensure_catalogue(tmp_path_factory.mktemp("city"), SMALL)


@pytest.fixture(scope="module")
def items(folder):
    """{id: pystac.Item} of all collections, as pystac walks there."""
    return {i.id: i for i in pystac.Catalog.from_file(str(folder / "catalog.json")).get_items(recursive=True)}


@pytest.fixture(scope="module")
def sentinel(items):
    return sorted((i for i in items.values() if i.collection_id == "sentinel-2-l2a"), key=lambda i: i.datetime)


def documents(folder):
    return {p: json.loads(p.read_text()) for p in sorted(folder.glob("*/**/*.json")) + [folder / "catalog.json"]
            if "truth" not in p.parts and p.name != "choices.json"}


def test_every_document_satisfies_the_stac_schemas_that_pystac_ships(folder):
    found = documents(folder)
    assert len(found) == 1 + 3 + 6 + 1 + 1
    for path, document in found.items():
        # only the schemas of 1.1 are shipped; they hold for these 1.0 documents too. Extensions need a network
        probe = document | {"stac_version": "1.1.0", "stac_extensions": []}
        assert validate_dict(probe), path
    broken = copy.deepcopy(found[folder / "sentinel-2-l2a" / "collection.json"])
    del broken["extent"]
    with pytest.raises(pystac.errors.STACValidationError):
        validate_dict(broken | {"stac_version": "1.1.0", "stac_extensions": []})


def test_links_are_relative_and_lead_somewhere(folder):
    for path, document in documents(folder).items():
        for link in document["links"]:
            if not link["href"].startswith("https://www.apache.org/"):
                assert (path.parent / link["href"]).is_file(), (path, link)


def test_extents_enclose_the_items_and_bbox_the_geometry(folder, items):
    root = pystac.Catalog.from_file(str(folder / "catalog.json"))
    for collection in root.get_children():
        (box,), ((start, stop),) = collection.extent.spatial.bboxes, collection.extent.temporal.intervals
        for item in collection.get_items():
            assert shapely.box(*box).buffer(1e-9).contains(shapely.geometry.shape(item.geometry))
            assert shapely.geometry.shape(item.geometry).bounds == pytest.approx(item.bbox, abs=1e-9)
            assert shapely.geometry.shape(item.geometry).is_valid and start <= item.datetime <= stop
            assert shapely.geometry.shape(item.geometry).exterior.is_ccw


def test_every_asset_has_the_size_and_checksum_that_it_states(folder, items):
    seen = 0
    for item in items.values():
        for asset in item.assets.values():
            data = open(asset.get_absolute_href(), "rb").read()
            assert asset.href.startswith("./")
            assert asset.extra_fields["file:size"] == len(data)
            # multihash: 0x12 = sha2-256, 0x20 = 32 bytes, then the digest
            assert asset.extra_fields["file:checksum"] == "1220" + hashlib.sha256(data).hexdigest()
            seen += 1
    assert seen == 6 * (6 + 3) + 1 + 2


def test_rasters_are_cloud_optimised_and_lie_where_their_items_say(items):
    for item in items.values():
        for asset in item.assets.values():
            if "cloud-optimized" not in asset.media_type:
                continue
            with rasterio.open(asset.get_absolute_href()) as f:
                assert f.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and f.compression.name == "deflate"
                assert set(f.block_shapes) == {(512, 512)}
                assert all(bool(f.overviews(b)) == (max(f.shape) > 512) for b in f.indexes)
                stated = {**item.properties, **asset.extra_fields}
                assert list(f.shape) == stated["proj:shape"]
                assert list(f.transform)[:6] == pytest.approx(stated["proj:transform"], abs=1e-12)
                # pystac rewrites proj:epsg of version 1.1 to proj:code
                assert f.crs.to_string() == item.properties["proj:code"]
                assert shapely.geometry.shape(item.geometry).contains(shapely.Point(f.lnglat()))


def test_sentinel_items_carry_the_fields_of_earth_search(real, sentinel):
    example = json.loads(next(real("nb6_temporal/earthsearch_33TWL").glob("*/S2A*15*/*.json")).read_text())
    skipped = {"processing:software", "earthsearch:payload_id", "earthsearch:s3_path", "s2:datastrip_id",
               "s2:datatake_id", "s2:datatake_type", "s2:generation_time", "s2:granule_id",
               "s2:reflectance_conversion_factor", "s2:degraded_msi_data_percentage",
               "s2:saturated_defective_pixel_percentage"}
    raw = json.loads(open(sentinel[-1].get_self_href()).read())
    assert set(example["properties"]) - skipped <= set(raw["properties"])
    for band in ("red", "swir16", "scl", "visual"):
        assert set(example["assets"][band]) <= set(raw["assets"][band]) | {"gsd"}, band
        assert example["assets"][band].get("eo:bands") == raw["assets"][band].get("eo:bands")
    assert raw["id"] == raw["properties"]["s2:product_uri"][:3] + raw["id"][3:] and "_35VLG_" in raw["id"]


def test_reflectance_is_right_by_each_kind_of_offset(folder, sentinel):
    """Numbers -> reflectance by ESA's rule, against the truth below: the three kinds of processing all occur."""
    kinds = set()
    for item in sentinel:
        baseline, applied = (item.properties[k] for k in ("s2:processing_baseline", "earthsearch:boa_offset_applied"))
        offset = 1000 if baseline >= "04.00" and not applied else 0
        kinds.add((baseline >= "04.00", applied))
        if item.properties["eo:cloud_cover"] > 50:
            continue
        truth = truth_image(folder, "wide", item.datetime, (96, 96), bands=("nir",))[0]
        with rasterio.open(item.assets["nir"].get_absolute_href()) as f:
            numbers = f.read(1).astype(float)
        with rasterio.open(item.assets["scl"].get_absolute_href()) as f:
            clear = np.isin(f.read(1), (2, 4, 5, 6)).repeat(2, 0).repeat(2, 1)
        error = ((numbers - offset) / 1e4 - truth)[clear]
        assert abs(np.median(error)) < 0.01 and np.percentile(np.abs(error), 90) < 0.08, item.id
    assert kinds == {(False, False), (True, True), (True, False)}


def test_stated_percentages_are_those_of_the_scene_classification(sentinel):
    for item in sentinel:
        with rasterio.open(item.assets["scl"].get_absolute_href()) as f:
            scl = f.read(1)
        seen = scl[scl != 0]
        what = item.properties
        assert what["eo:cloud_cover"] == pytest.approx(100 * np.isin(seen, (8, 9, 10)).mean(), abs=1e-4)
        assert what["s2:vegetation_percentage"] == pytest.approx(100 * (seen == 4).mean(), abs=1e-4)
        assert what["s2:nodata_pixel_percentage"] == pytest.approx(100 * (scl == 0).mean(), abs=1e-4)
    cover = [i.properties["eo:cloud_cover"] for i in sentinel]
    assert min(cover) < 3 and max(cover) > 95
    partial = [i for i in sentinel if i.properties["s2:nodata_pixel_percentage"] > 0]
    assert len(partial) == 1


def test_the_partial_item_has_no_data_outside_its_footprint(sentinel):
    item = next(i for i in sentinel if i.properties["s2:nodata_pixel_percentage"] > 0)
    outline = shapely.geometry.shape(item.geometry)
    to_lonlat = pyproj.Transformer.from_crs(32635, 4326, always_xy=True)
    with rasterio.open(item.assets["red"].get_absolute_href()) as f:
        red = f.read(1)
        rows, columns = np.mgrid[:96:5, :96:5]
        x, y = f.xy(rows.ravel(), columns.ravel())
    inside = shapely.contains_xy(outline, *to_lonlat.transform(x, y)).reshape(rows.shape)
    assert 0.85 < inside.mean() < 0.95  # half of 0.4 x 0.4 is missing
    assert ((red[::5, ::5] > 0) == inside).mean() > 0.98


def test_recorded_shifts_and_weather_belong_to_the_items(folder, sentinel):
    records = {r["id"]: r for r in json.loads((folder / "truth" / "series.json").read_text())}
    assert set(records) == {i.id for i in sentinel}
    for item in sentinel:
        record = records[item.id]
        assert item.datetime.strftime("%Y-%m-%dT%H:%M:%S") == record["date"]
        with rasterio.open(folder / "truth" / f"{item.id}-clouds.tif") as f:
            cloud, shadow, opacity, _ = f.read()
        assert cloud.mean() == pytest.approx(record["cloud_share"], abs=1e-4)
        assert cloud[opacity > 40].all() and not (cloud & shadow).any()


def test_the_surface_model_is_the_truth_s_height(folder, items, district):
    (item,) = (i for i in items.values() if i.collection_id == "cop-dem-glo-30")
    with rasterio.open(item.assets["data"].get_absolute_href()) as f:
        assert f.crs.to_epsg() == 4326 and f.dtypes == ("float32",)
        # 1 arc second down, 2 across, as GLO-30 between 60 and 70 degrees of latitude (1.5 between 50 and 60)
        assert f.res == pytest.approx((2 / 3600, 1 / 3600))
        lon, lat = pyproj.Transformer.from_crs(3879, 4326, always_xy=True).transform(25490000 + 6250, 6668000 + 4750)
        dem = f.read(1)
        row, column = f.index(lon, lat)
    city = district()
    middle = city.dsm(2.0).mean()
    assert dem[row - 6:row + 7, column - 6:column + 7].mean() == pytest.approx(middle, abs=2.5)
    assert -5 < dem[dem > -30000].min() and dem.max() < 80


def test_high_resolution_pictures_show_the_truth_at_their_date(folder, items):
    (item,) = (i for i in items.values() if i.collection_id == "city-high-resolution")
    assert item.properties["gsd"] == 1.5 and str(item.datetime.date()) == "2022-06-20"
    asset = item.assets["analytic"]
    assert [b["name"] for b in json.loads(open(item.get_self_href()).read())["assets"]["analytic"]["bands"]] == [
        "red", "green", "blue", "nir"]
    truth = truth_image(folder, "near", item.datetime, (600, 600), bands=("red", "green", "blue", "nir"))
    with rasterio.open(asset.get_absolute_href()) as f:
        image = (f.read() - 120.0) / 8000.0
    assert image.mean(axis=(1, 2)) == pytest.approx(truth.mean(axis=(1, 2)), rel=0.01)
    for found, true in zip(image, truth, strict=True):
        assert np.corrcoef(found.ravel(), true.ravel())[0, 1] > 0.9


def test_thumbnails_are_small_pictures(sentinel):
    for item in sentinel:
        with Image.open(item.assets["thumbnail"].get_absolute_href()) as picture:
            assert picture.format == "JPEG" and picture.size == (343, 343)


def test_rustac_reads_the_items(folder, sentinel):
    rustac = pytest.importorskip("rustac")
    for item in sentinel:
        read = rustac.read_sync(item.get_self_href())
        assert read["id"] == item.id and read["properties"]["eo:cloud_cover"] == item.properties["eo:cloud_cover"]
    collection = rustac.read_sync(str(folder / "sentinel-2-l2a" / "collection.json"))
    assert sum(link["rel"] == "item" for link in collection["links"]) == len(sentinel)


def test_the_same_options_give_the_same_bytes(quick_district, tmp_path):
    tiny = replace(SMALL, covers=(0.2,), pixels=24, high_pixels=64)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_catalogue(tmp_path / name, tiny)
    assert checksums(tmp_path / "a") == checksums(tmp_path / "b")


def test_rustac_serves_the_series_as_a_searchable_catalogue(folder, sentinel):
    program = shutil.which("rustac", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("the rustac program is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    # it follows a collection's item links from the working folder, whatever the collection's own
    server = subprocess.Popen([program, "serve", "collection.json", "--addr", f"127.0.0.1:{address[1]}"],
                              cwd=folder / "sentinel-2-l2a", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(address, server)
        client = pystac_client.Client.open(f"http://127.0.0.1:{address[1]}")
        found = client.search(collections=["sentinel-2-l2a"], bbox=[24.9, 60.1, 25.0, 60.2],
                              datetime="2022-06-01/2022-09-30").items()
        assert {i.id for i in found} == {i.id for i in sentinel if "2022-06" <= str(i.datetime)[:7] <= "2022-09"}
        assert not list(client.search(collections=["sentinel-2-l2a"], bbox=[10.0, 50.0, 11.0, 51.0]).items())
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(address, server) -> None:
    """Until the server answers; it must not have died."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                return
        assert server.poll() is None, "the server stopped"
        time.sleep(0.05)


@pytest.mark.parametrize("change, message", [
    ({"pixels": 100}, "multiple of 6"), ({"bands": ("red", "nir")}, "red, green and blue"),
    ({"bands": ("red", "green", "blue", "B08")}, "no band 'B08'"), ({"covers": (0.2, 1.5)}, "shares from 0 to 1"),
    ({"district": (4, 0)}, "no district"), ({"fine_m": 9.0}, "0.5 to 5 m"),
    ({"start": "August"}, "'August' is no date"), ({"high_pixels": 0}, "high_pixels is 0"),
    ({"high_resolution_dates": ("2022-06-20", "2022-06-20T11:00")}, "day is named twice"),
    ({"pixels": "540"}, "pixels is '540'"), ({"covers": 0.5}, "covers are 0.5"), ({"covers": ("x",)}, "shares from 0"),
    ({"shift_px": float("nan")}, "shift_px is nan"), ({"shift_px": -0.1}, "0 to 5 pixels"),
])
def test_wrong_options_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(SMALL, **change)


def test_truth_image_names_what_is_wrong(folder):
    with pytest.raises(InputError, match="Known are near, wide"):
        truth_image(folder, "elsewhere", "2022-06-20")
    with pytest.raises(InputError, match="Give one of them"):
        truth_image(folder, "wide", "2022-06-20", (10, 10), 30.0)
    assert truth_image(folder, "wide", "2022-06-20", gsd_m=20.0, bands=("red",)).shape == (1, 48, 48)
