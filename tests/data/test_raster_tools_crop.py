"""Crops read back by rasterio."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.mask import mask as rasterio_mask
from rasterio.transform import from_origin

from rsnb.data.raster_tools.crop import crop_raster, crop_stack
from rsnb.data.raster_tools.vectors import Polygons, polygons_of
from rsnb.errors import InputError
from rsnb.scenes import DatedStack

WEST, NORTH = 500000.0, 5100000.0
# In pixels of 10 m: an L of columns 2..7 and rows 1..8 without its upper right quarter.
L_SHAPE = [(WEST + 20, NORTH - 10), (WEST + 50, NORTH - 10), (WEST + 50, NORTH - 50), (WEST + 80, NORTH - 50),
           (WEST + 80, NORTH - 90), (WEST + 20, NORTH - 90), (WEST + 20, NORTH - 10)]
L_PIXELS = np.zeros((8, 6), bool)
L_PIXELS[:, :3], L_PIXELS[4:, :] = True, True


@pytest.fixture
def raster(tmp_path):
    def write(name="r.tif", dtype="uint16", nodata=None, **more):
        values = np.arange(2 * 12 * 14, dtype=dtype).reshape(2, 12, 14)
        with rasterio.open(tmp_path / name, "w", driver="GTiff", height=12, width=14, count=2, dtype=dtype,
                           crs="EPSG:32633", transform=from_origin(WEST, NORTH, 10, 10), nodata=nodata, **more) as file:
            file.write(values)
            file.descriptions = ("red", "nir")
            file.scales, file.offsets = (0.0001, 0.0001), (-0.1, -0.1)
            file.update_tags(SENSOR="MSI")
        return tmp_path / name, values

    return write


def geojson(path, ring, crs=None):
    document = {"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [0, 0]}},
        {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}]}
    if crs:
        document["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(document))
    return path


def test_a_box_keeps_everything_but_the_size(raster, tmp_path):
    path, values = raster()
    # from half a pixel before column 3 and row 2: widened to whole pixels
    out = crop_raster(path, tmp_path / "c.tif", bbox=(WEST + 25, NORTH - 80, WEST + 70, NORTH - 15))
    with rasterio.open(out) as file:
        assert np.array_equal(file.read(), values[:, 1:8, 2:7]) and file.dtypes == ("uint16", "uint16")
        assert file.crs.to_epsg() == 32633 and tuple(file.transform)[:6] == (10, 0, WEST + 20, 0, -10, NORTH - 10)
        assert file.descriptions == ("red", "nir") and file.scales == (0.0001, 0.0001) and file.offsets == (-0.1, -0.1)
        assert file.tags()["SENSOR"] == "MSI" and file.nodata is None


def test_a_box_in_degrees_holds_all_of_it(raster, tmp_path):
    path, values = raster()
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    corners = [to_degrees.transform(WEST + x, NORTH - y) for x in (31, 69) for y in (21, 79)]
    box = (*np.min(corners, axis=0), *np.max(corners, axis=0))
    with rasterio.open(crop_raster(path, tmp_path / "c.tif", bbox=box, bbox_crs="EPSG:4326")) as file:
        assert np.array_equal(file.read(), values[:, 2:8, 3:7])


@pytest.mark.parametrize("nodata", [None, 7])
def test_outlines_by_rasterio_and_by_hand(raster, tmp_path, nodata):
    path, values = raster(nodata=nodata)
    vector = geojson(tmp_path / "l.geojson", L_SHAPE, "urn:ogc:def:crs:EPSG::32633")
    with rasterio.open(crop_raster(path, tmp_path / "c.tif", area=vector)) as file:
        got = file.read(masked=True)
        assert file.nodata == nodata and file.dtypes[0] == "uint16"
    expected = values[:, 1:9, 2:8]
    assert np.array_equal(~got.mask, np.broadcast_to(L_PIXELS, got.shape) & (expected != nodata))
    assert np.array_equal(got.data[:, L_PIXELS], expected[:, L_PIXELS])
    if nodata is None:
        assert np.array_equal(got.data, expected)  # numbers stay, a mask lies over them
    else:
        with rasterio.open(path) as file:
            oracle, _ = rasterio_mask(file, [shapely.Polygon(L_SHAPE)], crop=True)
        assert np.array_equal(got.data, oracle)


def test_colour_table_and_mask_stay(tmp_path):
    classes = np.arange(12 * 14, dtype=np.uint8).reshape(1, 12, 14) % 12
    seen = np.ones((12, 14), bool)
    seen[3, 4] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(
            tmp_path / "scl.tif", "w", driver="GTiff", height=12, width=14, count=1, dtype="uint8", crs="EPSG:32633",
            transform=from_origin(WEST, NORTH, 10, 10)) as file:
        file.write(classes)
        file.write_colormap(1, {4: (0, 160, 0, 255)})
        file.write_mask(seen)
    out = crop_raster(tmp_path / "scl.tif", tmp_path / "c.tif", area={
        "type": "Polygon", "coordinates": [L_SHAPE]}, area_crs="EPSG:32633")
    with rasterio.open(out) as file:
        assert file.colormap(1)[4] == (0, 160, 0, 255) and np.array_equal(file.read(), classes[:, 1:9, 2:8])
        assert np.array_equal(file.dataset_mask() > 0, L_PIXELS & seen[1:9, 2:8])
    assert [p.name for p in tmp_path.iterdir() if "c.tif" in p.name] == ["c.tif"]  # no mask beside it


def test_outlines_in_degrees_lie_at_the_same_pixels(raster, tmp_path):
    path, _ = raster()
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    ring = [to_degrees.transform(*p) for p in L_SHAPE]
    with rasterio.open(crop_raster(path, tmp_path / "c.tif", area=geojson(tmp_path / "l.json", ring))) as file:
        got = file.dataset_mask() > 0
    assert got.sum() == L_PIXELS.sum()


def test_a_stack_outside_is_no_data():
    images = np.arange(2 * 1 * 12 * 14, dtype=np.float32).reshape(2, 1, 12, 14)
    stack = DatedStack(images, np.array(["2020-01-01", "2020-01-02"], "datetime64[s]"), ("red",),
                       np.ones((2, 12, 14), bool), (10.0, 0.0, WEST, 0.0, -10.0, NORTH), "EPSG:32633", ("a", "b"))
    ring = {"type": "Polygon", "coordinates": [L_SHAPE]}
    part = crop_stack(stack, area=polygons_of(ring, "EPSG:32633"))
    assert part.transform[2] == WEST + 20 and part.transform[5] == NORTH - 10
    assert np.array_equal(part.clear[0], L_PIXELS) and np.array_equal(np.isfinite(part.images[1, 0]), L_PIXELS)
    assert np.array_equal(part.images[:, 0, L_PIXELS], images[:, 0, 1:9, 2:8][:, L_PIXELS])
    assert np.isfinite(stack.images).all()  # the stack itself is left alone
    box = crop_stack(stack, bbox=(WEST, NORTH - 20, WEST + 30, NORTH))
    assert np.array_equal(box.images, images[:, :, :2, :3])


def test_edges_bend_with_the_projection():
    """A parallel is no straight line in UTM: half-way it bulges off the chord."""
    ring = [(9, 60), (21, 60), (21, 60.5), (9, 60.5), (9, 60)]
    moved = polygons_of({"type": "Polygon", "coordinates": [ring]}).to_crs("EPSG:32633")
    y_middle = Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True).transform(15, 60)[1]
    assert moved.bounds[1] == pytest.approx(y_middle, abs=30)
    assert polygons_of({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}).shapes[0].area == 6


def test_bad_crops_leave_nothing(raster, tmp_path):
    path, _ = raster()
    out = tmp_path / "c.tif"
    crops = [dict(), dict(bbox=(0, 0, 1, 1), area={}), dict(bbox=(WEST + 90, NORTH - 90, WEST, NORTH)),
             dict(bbox=(0.0, 0.0, 1.0, 1.0)), dict(bbox=(WEST, NORTH - 1, float("nan"), NORTH)),
             dict(bbox=(14, 45, 15, 46), bbox_crs="EPSG:99999"), dict(area=tmp_path / "none.shp"),
             dict(area={"type": "Polygon", "coordinates": [L_SHAPE]})]  # metres said to be degrees
    for crop in crops:
        with pytest.raises(InputError):
            crop_raster(path, out, **crop)
    with pytest.raises(InputError, match=r"\.tif"):
        crop_raster(path, tmp_path / "c.png", bbox=(WEST, NORTH - 50, WEST + 50, NORTH))
    with pytest.raises(InputError, match="area_crs"):
        crop_raster(path, out, area=Polygons((shapely.box(0, 0, 1, 1),), None))
    assert not out.exists() and not list(tmp_path.glob(".c*"))
