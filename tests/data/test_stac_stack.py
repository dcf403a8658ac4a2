"""From a search to a dated stack: the real series over loopback http, and made items whose answer is known."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pystac
import pytest
import rasterio
from rasterio.transform import from_origin

from rsnb.data.download.loopback import Fault, LoopbackServer
from rsnb.data.raster_grid import RasterGrid, box_to_crs
from rsnb.data.scene_classification import clear_from_qa_pixel, clear_mask
from rsnb.data.stac.grids import aligned_grid, utm_crs
from rsnb.data.stac.options import SearchOptions
from rsnb.data.stac.search import search
from rsnb.data.stac.stack import StackOptions, read_stack, solar_day
from rsnb.errors import InputError
from rsnb.scenes import DatedStack

BOX = (15.2, 45.3, 15.4, 45.5)


def test_the_whole_path_on_a_real_catalogue_over_http(real):
    """Search, window, mask, series: against the same pixels read from disk by rasterio and the JSON's own numbers."""
    root = real("nb6_temporal/earthsearch_33TWL")
    with LoopbackServer(root) as server:
        found = search(f"{server.url}/catalog.json", SearchOptions(bbox=BOX))
        stack = read_stack(found.items, ["red"], StackOptions(bbox=BOX))
        sent = sum(r.sent for r in server.requests("*.tif"))
    assert isinstance(stack, DatedStack) and stack.crs == "EPSG:32633" and stack.bands == ("red",)
    assert [str(d)[:10] for d in stack.dates] == ["2023-08-10", "2023-08-13", "2023-08-15", "2023-08-18", "2023-08-20"]
    assert stack.transform[0] == 120 and stack.transform[4] == -120
    assert (stack.transform[2] - 499980) % 120 == 0 and (5100000 - stack.transform[5]) % 120 == 0
    t, _, height, width = stack.images.shape
    row, col = round((5100000 - stack.transform[5]) / 120), round((stack.transform[2] - 499980) / 120)
    for n, name in enumerate(stack.names):
        folder = root / "sentinel-2-l2a" / name
        with rasterio.open(folder / "B04.tif") as file:
            numbers = file.read(1)[row:row + height, col:col + width]
        with rasterio.open(folder / "SCL.tif") as file:
            classes = file.read(1)[row:row + height, col:col + width]
        # boa_offset_applied is true in all five: DN x 0.0001 and nothing else
        expected = np.where(numbers == 0, np.nan, numbers * 1e-4)
        np.testing.assert_allclose(stack.images[n, 0], expected, atol=1e-6)
        np.testing.assert_array_equal(stack.clear[n], clear_mask(classes) & (numbers > 0))
        np.testing.assert_array_equal(stack.classes[n], classes)
    clear_share = stack.clear.mean(axis=(1, 2))
    assert clear_share[2] > 0.98 and clear_share[0] < 0.5  # 0.2 % and 69 % of clouds, says the catalogue
    assert 0.015 < np.median(stack.images[2][:, stack.clear[2]]) < 0.06  # red of forest and meadows in August
    whole = sum(p.stat().st_size for p in root.glob("*/*/*.tif") if p.stem in ("B04", "SCL"))
    assert sent < 0.7 * whole
    assert any("compressed with loss" in note for note in stack.notes)
    assert any("already applied" in note for note in stack.notes)


def test_true_colour_of_one_date_and_the_others_are_noted(real):
    """Green and blue are there for one date alone: the other four are left out, by name."""
    items = search(real("nb6_temporal/earthsearch_33TWL")).items
    stack = read_stack(items, ["red", "green", "blue"], StackOptions(bbox=BOX))
    assert stack.names == ("S2A_33TWL_20230815_0_L2A",)
    left_out = [note for note in stack.notes if "was left out" in note]
    assert len(left_out) == 4 and all("B03.tif" in note for note in left_out)
    red, green, blue = (np.median(stack.images[0, b][stack.clear[0]]) for b in range(3))
    assert green > 1.4 * max(red, blue) and min(red, blue) > 0.02  # forest and meadows


def test_a_dead_server_leaves_one_error_that_says_why(real):
    root = real("nb6_temporal/earthsearch_33TWL")
    with LoopbackServer(root, [Fault("*.tif", "status", 403)]) as server:
        items = search(f"{server.url}/catalog.json").items
        with pytest.raises(InputError, match="none of 5 items could be opened.*403"):
            read_stack(items, ["red"], StackOptions(bbox=BOX))


def test_an_item_that_fails_on_the_way_is_noted(real):
    root = real("nb6_temporal/earthsearch_33TWL")
    with LoopbackServer(root, [Fault("*20230818*/SCL.tif", "status", 404)]) as server:
        items = search(f"{server.url}/catalog.json").items
        stack = read_stack(items, ["red"], StackOptions(bbox=BOX))
    assert len(stack) == 4 and "S2A_33TWL_20230818_0_L2A" not in stack.names
    assert any("S2A_33TWL_20230818_0_L2A was left out" in note and "404" in note for note in stack.notes)


# --- made items

def _raster(path, values, west=500000.0, north=5000000.0, size=10.0, nodata=0):
    with rasterio.open(path, "w", driver="GTiff", count=1, dtype=values.dtype, height=len(values), nodata=nodata,
                       width=values.shape[1], crs="EPSG:32633", transform=from_origin(west, north, size, size)) as file:
        file.write(values, 1)
    return str(path)


def _item(folder, name, moment="2023-06-01T10:00:00Z", scl=True, west=500000.0, **bands):
    """An item of 8 x 8 pixels of 10 m; bands by name, numbers or arrays; SCL of 4 x 4 pixels of 20 m."""
    baseline = bands.pop("baseline", "02.14")
    assets = {}
    for band, value in bands.items():
        values = np.broadcast_to(np.asarray(value, np.uint16), (8, 8)).copy()
        assets[band] = {"href": _raster(folder / f"{name}-{band}.tif", values, west), "type": "image/tiff", "gsd": 10}
    if scl is not False:
        classes = np.full((4, 4), 4, np.uint8) if scl is True else np.asarray(scl, np.uint8)
        assets["scl"] = {"href": _raster(folder / f"{name}-scl.tif", classes, west, size=20.0), "type": "image/tiff"}
    return pystac.Item.from_dict({
        "type": "Feature", "stac_version": "1.0.0", "id": name, "links": [], "bbox": [15, 45, 15.001, 45.001],
        "geometry": {"type": "Point", "coordinates": [15, 45]}, "collection": "sentinel-2-l2a", "assets": assets,
        "properties": {"datetime": moment, "platform": "sentinel-2a", "s2:processing_baseline": baseline}})


def test_baselines_either_side_of_the_offset_agree(tmp_path):
    """The same ground, 0.2 of reflectance: stored as 2000 before and as 3000 after the offset came."""
    items = [_item(tmp_path, "late", "2023-06-05T10:00:00Z", red=3000, baseline="05.09"),
             _item(tmp_path, "early", "2021-06-01T10:00:00Z", red=2000, baseline="02.14")]
    stack = read_stack(items, ["red"])
    assert stack.names == ("early", "late") and stack.clear.all()
    np.testing.assert_allclose(stack.images, 0.2, atol=1e-6)


def test_classes_of_20_m_mask_pixels_of_10_m(tmp_path):
    scl = np.full((4, 4), 4)
    scl[1, 2] = 9
    stack = read_stack([_item(tmp_path, "a", scl=scl, red=1000)], ["red"])
    expected = np.ones((8, 8), bool)
    expected[2:4, 4:6] = False
    np.testing.assert_array_equal(stack.clear[0], expected)
    grown = read_stack([_item(tmp_path, "a", scl=scl, red=1000)], ["red"], StackOptions(grow=1))
    assert (~grown.clear[0]).sum() == 16  # 2 x 2 grown by one pixel all round
    snowless = read_stack([_item(tmp_path, "a", scl=scl, red=1000)], ["red"], StackOptions(unclear=(4,)))
    assert snowless.clear[0].sum() == 4


def test_two_halves_of_one_day_become_one_frame(tmp_path):
    left, right = np.full((8, 8), 1000), np.full((8, 8), 3000)
    left[:, 4:], right[:, :3] = 0, 0  # no data there; columns 3 belong to both, the first one wins
    items = [_item(tmp_path, "left", "2023-06-01T10:00:00Z", red=left),
             _item(tmp_path, "right", "2023-06-01T10:00:20Z", red=right)]
    stack = read_stack(items, ["red"])
    assert stack.names == ("left+right",) and str(stack.dates[0]) == "2023-06-01T10:00:00"
    np.testing.assert_allclose(stack.images[0, 0, 0], [0.1] * 4 + [0.3] * 4, atol=1e-6)
    alone = read_stack(items, ["red"], StackOptions(group="item"))
    assert alone.names == ("left", "right") and np.isnan(alone.images[1, 0, 0, :3]).all()
    assert not alone.clear[1, :, :3].any()


def test_a_pixel_with_more_bands_wins_over_one_with_fewer(tmp_path):
    """Red reaches further than nir in the first tile; a second that has only red there must not take its place."""
    nir, other = np.full((8, 8), 2000), np.full((8, 8), 4000)
    nir[:, 4:], other[:, 6:] = 0, 0
    items = [_item(tmp_path, "first", "2023-06-01T10:00:00Z", red=1000, nir=nir),
             _item(tmp_path, "second", "2023-06-01T10:00:20Z", red=3000, nir=other)]
    red, near = read_stack(items, ["red", "nir"]).images[0, :, 0]
    np.testing.assert_allclose(red, [0.1] * 4 + [0.3] * 2 + [0.1] * 2, atol=1e-6)
    np.testing.assert_allclose(near, [0.2] * 4 + [0.4] * 2 + [np.nan] * 2, atol=1e-6)


def test_of_a_day_processed_twice_the_newer_baseline_counts(tmp_path):
    items = [_item(tmp_path, "old", red=1000, baseline="02.14"), _item(tmp_path, "new", red=3000, baseline="05.00")]
    stack = read_stack(items, ["red"])
    np.testing.assert_allclose(stack.images, 0.2, atol=1e-6)
    assert stack.names == ("new+old",)


@pytest.mark.parametrize("moment, longitude, day", [
    ("2023-06-01T23:30:00+00:00", 15, 2),  # one hour on: the next day by the sun
    ("2023-06-01T23:30:00+00:00", -120, 1),
    ("2023-06-02T00:30:00+00:00", -15, 1),
])
def test_days_are_counted_by_the_sun(moment, longitude, day):
    assert solar_day(dt.datetime.fromisoformat(moment), longitude).day == day


def test_neighbouring_tiles_on_one_grid(tmp_path):
    items = [_item(tmp_path, "west", red=1000), _item(tmp_path, "east", red=2000, west=500080.0)]
    stack = read_stack(items, ["red"], StackOptions(bbox=(500040, 4999920, 500120, 5000000), bbox_crs="EPSG:32633"))
    assert stack.images.shape == (1, 1, 8, 8) and stack.transform == (10, 0, 500040, 0, -10, 5000000)
    np.testing.assert_allclose(stack.images[0, 0, 3], [0.1] * 4 + [0.2] * 4, atol=1e-6)


def test_a_coarser_and_another_grid(tmp_path):
    ramp = (1000 + 100 * np.arange(8)[None, :] + np.zeros((8, 1))).astype(np.uint16)
    item = _item(tmp_path, "a", red=ramp)
    coarse = read_stack([item], ["red"], StackOptions(resolution=20.0, resampling="average"))
    # pairs of columns: (1000 + 1100) / 2 = 1050, 1250, 1450, 1650
    np.testing.assert_allclose(coarse.images[0, 0, 0], [0.105, 0.125, 0.145, 0.165], atol=1e-6)
    moved = read_stack([item], ["red"], StackOptions(crs="EPSG:32634", resolution=10.0))
    assert moved.crs == "EPSG:32634" and np.isnan(moved.images).any() and np.nanmax(moved.images) <= 0.1701


def test_items_in_degrees_come_out_in_utm(tmp_path):
    path = tmp_path / "dem.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, dtype="float32", height=20, width=20, crs="EPSG:4326",
                       transform=from_origin(24.9, 60.2, 1 / 1800, 1 / 3600)) as file:
        file.write(np.full((20, 20), 12.5, np.float32), 1)
    item = pystac.Item.from_dict({
        "type": "Feature", "stac_version": "1.0.0", "id": "tile", "links": [], "collection": "cop-dem-glo-30",
        "bbox": [24.9, 60.19, 24.92, 60.2], "geometry": {"type": "Point", "coordinates": [24.9, 60.2]},
        "properties": {"datetime": "2021-04-22T00:00:00Z", "proj:epsg": 4326},
        "assets": {"data": {"href": str(path), "type": "image/tiff", "roles": ["data"]}}})
    stack = read_stack([item], ["dem"], StackOptions(resolution=30.0))
    assert stack.crs == "EPSG:32635" and np.nanmedian(stack.images) == 12.5  # zone of 24 to 30 degrees east
    assert any("no cloud mask" in note for note in stack.notes)


def test_heights_either_side_of_the_antimeridian_become_one_grid(tmp_path):
    """Two tiles in degrees, 10 m high west of 180 and 20 m east of it, for a box that crosses."""
    items = []
    for west, height in ((179, 10), (-180, 20)):
        path = tmp_path / f"{height}.tif"
        with rasterio.open(path, "w", driver="GTiff", count=1, dtype="float32", height=360, width=360, crs="EPSG:4326",
                           transform=from_origin(west, -16.5, 1 / 360, 1 / 360)) as file:
            file.write(np.full((360, 360), height, np.float32), 1)
        items.append(pystac.Item.from_dict({
            "type": "Feature", "stac_version": "1.0.0", "id": f"{height}", "links": [], "collection": "cop-dem-glo-90",
            "bbox": [west, -17.5, west + 1, -16.5], "geometry": {"type": "Point", "coordinates": [west, -17]},
            "properties": {"datetime": "2021-04-22T00:00:00Z", "proj:epsg": 4326},
            "assets": {"data": {"href": str(path), "type": "image/tiff", "roles": ["data"]}}}))
    box = (179.9, -17.1, -179.9, -17.0)
    stack = read_stack(items, ["dem"], StackOptions(bbox=box, resolution=300.0, resampling="nearest"))
    row = stack.images[0, 0, stack.images.shape[2] // 2]
    assert np.isfinite(row).all() and set(row) == {10.0, 20.0} and (np.diff(row) >= 0).all()
    assert abs((row == 10).sum() - (row == 20).sum()) <= 1  # 0.1 degrees either side
    with pytest.raises(InputError, match="a grid in degrees cannot cross the antimeridian.*UTM"):
        read_stack(items, ["dem"], StackOptions(bbox=box, crs="EPSG:4326"))


def test_items_of_two_zones_lie_on_one_grid(tmp_path):
    """One place at the border of zones 33 and 34, seen on two days, each in its own zone."""
    from pyproj import Transformer

    x, y = Transformer.from_crs("EPSG:32633", "EPSG:32634", always_xy=True).transform(800000, 5000000)
    items = []
    for day, (zone, east, north) in enumerate(((32633, 800000, 5000000), (32634, round(x, -1), round(y, -1))), 1):
        path = tmp_path / f"{zone}.tif"
        with rasterio.open(path, "w", driver="GTiff", count=1, dtype="uint16", height=200, width=200, nodata=0,
                           crs=f"EPSG:{zone}", transform=from_origin(east - 1000, north + 1000, 10, 10)) as file:
            file.write(np.full((200, 200), 1000 * day, np.uint16), 1)
        item = _item(tmp_path, f"z{zone}", f"2021-06-0{day}T10:00:00Z", scl=False)
        item.properties["proj:epsg"] = zone
        item.add_asset("red", pystac.Asset(str(path), media_type="image/tiff"))
        items.append(item)
    stack = read_stack(items, ["red"], StackOptions(bbox=(799500, 4999500, 800500, 5000500), bbox_crs="EPSG:32633"))
    assert stack.crs == "EPSG:32633" and stack.images.shape == (2, 1, 100, 100)
    np.testing.assert_allclose(stack.images.mean(axis=(1, 2, 3)), [0.1, 0.2], atol=1e-6)


def test_landsat_is_masked_by_its_quality_bits(tmp_path):
    bits = np.full((8, 8), 0b01000000, np.uint16)
    bits[0, :4] = [0b1, 0b10, 0b1000, 0b10000]  # fill, dilated cloud, cloud, shadow
    bits[0, 4] = 0b100000  # snow stays
    np.testing.assert_array_equal(clear_from_qa_pixel(bits)[0], [False] * 4 + [True] * 4)
    assert not clear_from_qa_pixel(bits, snow_is_clear=False)[0, 4]
    assets = {"red": {"href": _raster(tmp_path / "red.tif", np.full((8, 8), 20000, np.uint16)), "type": "image/tiff"},
              "qa_pixel": {"href": _raster(tmp_path / "qa.tif", bits, nodata=1), "type": "image/tiff"}}
    item = pystac.Item.from_dict({
        "type": "Feature", "stac_version": "1.0.0", "id": "LC08_L2SP_1_02_T1", "links": [], "bbox": [15, 45, 16, 46],
        "geometry": {"type": "Point", "coordinates": [15, 45]}, "collection": "landsat-c2-l2", "assets": assets,
        "properties": {"datetime": "2023-10-08T17:37:26Z", "platform": "landsat-8"}})
    item.assets["red"].extra_fields["raster:bands"] = [{"scale": 2.75e-5, "offset": -0.2, "nodata": 0}]
    stack = read_stack([item], ["red"])
    np.testing.assert_allclose(stack.images, 0.35, atol=1e-6)  # 20000 x 0.0000275 - 0.2
    assert (~stack.clear).sum() == 4 and stack.classes is None


def test_what_is_left_out_is_told(tmp_path):
    undated = _item(tmp_path, "undated", red=1000)
    undated.datetime = None
    undated.properties["datetime"] = None
    no_class = _item(tmp_path, "strange", "2023-06-03T10:00:00Z", scl=np.full((4, 4), 77), red=1000)
    items = [_item(tmp_path, "good", red=1000), undated, _item(tmp_path, "bandless", "2023-06-02T10:00:00Z", nir=1),
             no_class, _item(tmp_path, "empty", "2023-06-04T10:00:00Z", red=0)]
    stack = read_stack(items, ["red"])
    assert stack.names == ("good",)
    text = "\n".join(stack.notes)
    for words in ("undated has no date", "bandless was left out", "there is no asset for 'red'",
                  "strange was left out: clear_mask: 77 is no scene class", "empty was left out"):
        assert words in text


@pytest.mark.parametrize("options, words", [
    ({"bbox": (16, 45, 15, 46)}, "bbox: west .16. lies east"),
    ({"bbox": (15.0, 45.1, 15.001, 45.2), "max_bytes": 1000}, "GB.*max_bytes"),
    ({"bbox": (100, 10, 100.1, 10.1), "resolution": 100.0}, "none of 1 items could be read.*no data in this box"),
    ({"resolution": -1.0}, "resolution = -1.0"),
    ({"crs": "EPSG:999999"}, "cannot be taken from"),
])
def test_options_that_cannot_be_met(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        read_stack([_item(tmp_path, "a", red=1000)], ["red"], StackOptions(**options))


def test_nothing_to_read_is_said():
    with pytest.raises(InputError, match="items: there is nothing to read"):
        read_stack([], ["red"])


def test_a_subset_keeps_classes_and_masks_together(tmp_path):
    items = [_item(tmp_path, f"d{n}", f"2023-06-0{n}T10:00:00Z", red=1000 * n, scl=np.full((4, 4), 3 + n))
             for n in (1, 2, 3)]
    part = read_stack(items, ["red"]).subset([2, 0])
    assert part.names == ("d1", "d3") and part.classes[:, 0, 0].tolist() == [4, 6]
    np.testing.assert_allclose(part.images[:, 0, 0, 0], [0.1, 0.3], atol=1e-6)


# --- grids

@pytest.mark.parametrize("lon, lat, code", [(15, 45, 32633), (24.9, 60.2, 32635), (-58, -34.6, 32721), (-180, 1, 32601),
                                            (179.9, -1, 32760)])
def test_utm_zones(lon, lat, code):
    assert utm_crs(lon, lat) == f"EPSG:{code}"


def test_a_box_over_the_antimeridian_stays_small_in_utm():
    """179.9 E to 179.9 W at 17 S: 0.2 degrees are 111.32 km x cos 17 x 0.2 = 21.29 km, 0.1 degrees north 11.07 km.

    In zone 60 (middle 177 E) the meridian leans by 3 degrees x sin 17 = 0.0153 rad there, so the upright box around it
    is wider by 0.0153 x 11.07 km and higher by 0.0153 x 21.29 km.
    """
    west, south, east, north = box_to_crs((179.9, -17.1, -179.9, -17.0), "EPSG:4326", "EPSG:32760")
    assert east - west == pytest.approx(21_290 + 169, rel=0.003)
    assert north - south == pytest.approx(11_070 + 326, rel=0.003)


def test_a_grid_is_aligned_with_the_pixels_of_the_items():

    native = RasterGrid(915, 915, (120.0, 0.0, 499980.0, 0.0, -120.0, 5100000.0), "EPSG:32633")
    grid = aligned_grid((500001.0, 5099700.0, 500300.0, 5099990.0), "EPSG:32633", 120.0, native)
    assert grid.transform == (120.0, 0.0, 499980.0, 0.0, -120.0, 5100000.0) and (grid.height, grid.width) == (3, 3)
    other = aligned_grid((500001.0, 5099700.0, 500300.0, 5099990.0), "EPSG:32634", 120.0, native)
    assert other.transform[2] % 120 == 0 and other.transform[5] % 120 == 0
    # corners on pixel corners gain nothing
    assert aligned_grid((500100.0, 5099760.0, 500220.0, 5099880.0), "EPSG:32633", 120.0, native).width == 1


def test_the_real_items_say_their_place(real):
    root = real("nb6_temporal/earthsearch_33TWL")
    stated = json.loads(next(root.glob("*/*20230815*/S2A*.json")).read_text())["properties"]["proj:epsg"]
    stack = read_stack(search(root).items[:1], ["red"])  # no box: the whole raster
    assert stack.crs == f"EPSG:{stated}" and stack.images.shape == (1, 1, 915, 915)
