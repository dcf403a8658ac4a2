"""Windows over http: right pixels, few requests, few bytes, and georeference from side-car files if it lies there."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import rasterio
import rasterio.control
from rasterio.transform import from_origin

from rsnb.data.download.loopback import Fault, LoopbackServer
from rsnb.data.raster_grid import RasterGrid
from rsnb.data.stac.access import Access
from rsnb.data.stac.secrets import Secret
from rsnb.data.stac.tokens import CopernicusToken
from rsnb.data.stac.windows import open_href, read_onto, read_window
from rsnb.errors import InputError

PLACE = {"crs": "EPSG:32633", "transform": from_origin(499980, 5100000, 10, 10)}
REAL_RED = "sentinel-2-l2a/S2A_33TWL_20230815_0_L2A/B04.tif"


def _write(path, values, driver="GTiff", **options):
    values = np.atleast_3d(values.T).T if values.ndim == 2 else values
    profile = {"driver": driver, "count": len(values), "height": values.shape[1], "width": values.shape[2],
               "dtype": values.dtype, **PLACE, **options}
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
    return path


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A COG of over 100 MB: one band, uint16, deflate, blocks of 512; noise, so that it cannot be squeezed."""
    folder = tmp_path_factory.mktemp("cog")
    side = 7680
    values = np.random.default_rng(5).integers(1000, 5096, (side, side), dtype=np.uint16)
    path = _write(folder / "big.tif", values, "COG", compress="deflate", level=1, blocksize=512, nodata=0)
    assert path.stat().st_size > 100e6
    yield path, values
    path.unlink()


def _touched_bytes(path, row, col, size=512, block=512) -> int:
    """Bytes of the blocks that a window touches, by another reader of TIFF."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        across = -(-page.imagewidth // block)
        return sum(page.databytecounts[r * across + c] for r in range(row // block, (row + size - 1) // block + 1)
                   for c in range(col // block, (col + size - 1) // block + 1))


@pytest.mark.parametrize("row, col", [(0, 0), (1024, 2048), (700, 700), (3333, 511), (7168, 7168), (5000, 1)])
def test_a_window_of_a_100_mb_cog_costs_few_requests_and_few_bytes(big, row, col):
    path, values = big
    with LoopbackServer(path.parent) as server:
        read = read_window(server.url_of("big.tif"), pixels=(row, col, 512, 512))
        log = server.log
    np.testing.assert_array_equal(read.values, values[row:row + 512, col:col + 512])
    assert read.valid.all() and read.values.dtype == np.uint16
    assert read.grid.transform == (10, 0, 499980 + 10 * col, 0, -10, 5100000 - 10 * row)
    assert len(log) <= 6, [(r.method, r.start, r.stop) for r in log]
    assert sum(r.sent for r in log) <= _touched_bytes(path, row, col) + 64_000


def test_a_coarse_grid_reads_an_overview(big):
    path, values = big
    grid = RasterGrid(120, 120, (640.0, 0.0, 499980.0, 0.0, -640.0, 5100000.0), "EPSG:32633")  # all of it, 64 x coarser
    with LoopbackServer(path.parent) as server:
        read = read_onto(server.url_of("big.tif"), grid, resampling="average")
        assert sum(r.sent for r in server.log) < 1e6  # of more than 100
    assert read.valid.all() and read.values.mean() == pytest.approx(values.mean(), rel=0.01)


def test_georeference_comes_from_a_side_car_file_over_http(real):
    """The real set's .tif are JPEG 2000 codestreams; CRS and transform lie in .aux.xml beside them."""
    with LoopbackServer(real("nb6_temporal/earthsearch_33TWL")) as server, open_href(server.url_of(REAL_RED)) as file:
        assert file.crs.to_epsg() == 32633
        assert file.transform[:6] == (120.0, 0.0, 499980.0, 0.0, -120.0, 5100000.0)
        assert file.nodata == 0 and file.shape == (915, 915)
        beside = {r.path.rsplit("/", 1)[-1] for r in server.log} - {"B04.tif"}
    assert "B04.tif.aux.xml" in beside and not any(name.lower().endswith((".tfw", ".wld")) for name in beside)


def test_a_window_of_jpeg_2000_is_what_another_decoder_sees(real):
    from PIL import Image

    path = real("nb6_temporal/earthsearch_33TWL") / REAL_RED
    with LoopbackServer(real("nb6_temporal/earthsearch_33TWL")) as server:
        read = read_window(server.url_of(REAL_RED), pixels=(300, 400, 64, 96))
        assert sum(r.sent for r in server.log) < path.stat().st_size + 32768
    with Image.open(path) as picture:
        expected = np.asarray(picture)[300:364, 400:496]
    np.testing.assert_array_equal(read.values, expected)
    assert read.lossy


def test_no_side_car_is_looked_for_where_the_file_knows_its_place(big):
    with LoopbackServer(big[0].parent) as server:
        read_window(server.url_of("big.tif"), pixels=(0, 0, 8, 8))
        assert {r.path for r in server.log} == {"big.tif"}


@pytest.fixture
def small(tmp_path):
    """20 x 30 pixels of 10 m, value = 100 row + column, a nodata corner."""
    values = (100 * np.arange(20)[:, None] + np.arange(30)).astype(np.uint16)
    return _write(tmp_path / "small.tif", values, nodata=0), values


def test_a_box_takes_all_pixels_that_it_touches(small):
    path, values = small
    # from 499980 + 25 to 499980 + 61 m east, 41 to 79 m south: columns 2 to 6, rows 4 to 7
    read = read_window(str(path), bbox=(500005, 5100000 - 79, 500041, 5100000 - 41))
    np.testing.assert_array_equal(read.values, values[4:8, 2:7])
    assert read.grid.transform == (10, 0, 500000, 0, -10, 5099960)


def test_a_box_in_degrees_covers_the_same_ground(small):
    from pyproj import Transformer

    path, values = small
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    west, south = to_degrees.transform(500032, 5099882)
    east, north = to_degrees.transform(500058, 5099918)
    read = read_window(str(path), bbox=(west, south, east, north), crs="EPSG:4326")
    np.testing.assert_array_equal(read.values, values[8:12, 5:8])


def test_pixels_beyond_the_edge_are_no_data(small):
    path, values = small
    read = read_window(str(path), pixels=(-2, 28, 5, 4))
    assert read.valid.tolist() == [[False] * 4] * 2 + [[True, True, False, False]] * 3
    np.testing.assert_array_equal(read.values[2:, :2], values[:3, 28:])
    assert not read_window(str(path), pixels=(0, 0, 1, 1)).valid[0, 0]  # the file's own nodata


@pytest.mark.parametrize("arguments, words", [
    ({"bbox": (600000, 5000000, 600100, 5000100)}, "bbox: the box .* lies outside"),
    ({"bbox": (500041, 5099921, 500005, 5099959)}, "bbox: west and east"),
    ({"pixels": (0, 0, 0, 5)}, "pixels: a window of 0 x 5"),
    ({"bbox": (0, 0, 1, 1), "pixels": (0, 0, 1, 1)}, "both a box and pixels"),
    ({"band": 2}, "small.tif: band 2 is asked for, but the file has 1"),
])
def test_windows_that_are_refused(small, arguments, words):
    with pytest.raises(InputError, match=words):
        read_window(str(small[0]), **arguments)


def test_on_the_same_pixels_nothing_changes(small):
    path, values = small
    grid = RasterGrid(6, 8, (10.0, 0.0, 500010.0, 0.0, -10.0, 5099950.0), "EPSG:32633")
    for resampling in ("nearest", "bilinear", "average"):
        read = read_onto(str(path), grid, resampling=resampling)
        np.testing.assert_allclose(read.values, values[5:11, 3:11], err_msg=resampling, rtol=1e-6)
    assert read_onto(str(path), grid, resampling="nearest").values.dtype == np.uint16


def test_finer_pixels_by_bilinear_and_nearest_by_hand(small):
    """Halved pixels: centres at a quarter and three quarters; 100 row + column is linear, so bilinear is exact."""
    path, _ = small
    grid = RasterGrid(4, 4, (5.0, 0.0, 500080.0, 0.0, -5.0, 5099900.0), "EPSG:32633")  # from row 10, column 10 on
    rows, cols = 10 + (np.arange(4) + 0.5) / 2 - 0.5, 10 + (np.arange(4) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(read_onto(str(path), grid).values, 100 * rows[:, None] + cols, rtol=1e-5)
    near = read_onto(str(path), grid, resampling="nearest").values
    np.testing.assert_array_equal(near, [[1010, 1010, 1011, 1011]] * 2 + [[1110, 1110, 1111, 1111]] * 2)


def test_another_projection_keeps_the_place(small):
    """A plane in UTM 33, read onto UTM 34: each pixel holds the plane's value at its own place."""
    from pyproj import Transformer

    path, _ = small
    x, y = Transformer.from_crs("EPSG:32633", "EPSG:32634", always_xy=True).transform(500130, 5099900)
    grid = RasterGrid(4, 4, (10.0, 0.0, x - 20, 0.0, -10.0, y + 20), "EPSG:32634")
    read = read_onto(str(path), grid)
    cols, rows = np.meshgrid(np.arange(4) + 0.5, np.arange(4) + 0.5)
    back = Transformer.from_crs("EPSG:32634", "EPSG:32633", always_xy=True)
    east, north = back.transform(x - 20 + 10 * cols, y + 20 - 10 * rows)
    plane = 100 * ((5100000 - north) / 10 - 0.5) + (east - 499980) / 10 - 0.5
    np.testing.assert_allclose(read.values, plane, atol=15)  # GDAL's warp is exact to an eighth of a pixel


def test_nodata_does_not_mix_with_its_neighbours(tmp_path):
    values = np.full((8, 8), 1000, np.uint16)
    values[:, :4] = 0
    grid = RasterGrid(16, 16, (5.0, 0.0, 499980.0, 0.0, -5.0, 5100000.0), "EPSG:32633")
    for stated in ({"nodata": 0}, {}):  # said by the file, or by the catalogue alone
        path = _write(tmp_path / f"n{len(stated)}.tif", values, **stated)
        read = read_onto(str(path), grid, nodata=0)
        assert read.valid[:, 9:].all() and not read.valid[:, :7].any()
        assert set(np.unique(read.values[read.valid])) == {1000.0}


def test_a_file_that_does_not_reach_the_grid_gives_nothing(small):
    grid = RasterGrid(4, 4, (10.0, 0.0, 700000.0, 0.0, -10.0, 5000000.0), "EPSG:32633")
    assert not read_onto(str(small[0]), grid).valid.any()


def test_a_raster_without_a_place_is_refused_by_name(tmp_path):
    path = _write(tmp_path / "bare.tif", np.ones((4, 4), np.uint8), crs=None, transform=rasterio.Affine.identity())
    grid = RasterGrid(4, 4, (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), "EPSG:32633")
    with pytest.raises(InputError, match="bare.tif: a raster without a coordinate system.*side-car"):
        read_onto(str(path), grid)


def test_a_raster_by_control_points_is_refused_with_what_to_take(tmp_path):
    corners = [rasterio.control.GroundControlPoint(r, c, 15 + c / 80, 45 - r / 80) for r in (0, 8) for c in (0, 8)]
    with rasterio.open(tmp_path / "iw-vv.tiff", "w", driver="GTiff", count=1, dtype="uint16", height=8, width=8,
                       gcps=corners, crs="EPSG:4326") as file:
        file.write(np.ones((8, 8), np.uint16), 1)
    grid = RasterGrid(4, 4, (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), "EPSG:32633")
    with pytest.raises(InputError, match="iw-vv.tiff: a raster without.*control points.*sentinel-1-rtc"):
        read_onto(str(tmp_path / "iw-vv.tiff"), grid)


@pytest.mark.parametrize("fault, words", [
    (Fault("*.tif", "status", 403), "403.*login or a signature"),
    (Fault("*.tif", "status", 404), "404.*names a file that is gone"),
    (Fault("*.tif", "html"), "cannot be read"),
    (Fault("*.tif", "no_ranges"), "cannot be read.*cannot send parts of files"),
])
def test_servers_that_do_not_give_windows(big, fault, words):
    with LoopbackServer(big[0].parent, [fault]) as server, pytest.raises(InputError, match=words):
        read_window(server.url_of("big.tif") + "?sig=TOPSECRET", pixels=(100, 100, 64, 64))


@pytest.mark.parametrize("code", [403, 404])
def test_what_failed_once_is_asked_again(small, code):
    """GDAL alone keeps saying that the file is not there until the process ends."""
    path, values = small
    with LoopbackServer(path.parent, [Fault("*.tif", "status", code, times=1)]) as server:
        url = server.url_of("small.tif")
        with pytest.raises(InputError, match=str(code)):
            read_window(url)
        np.testing.assert_array_equal(read_window(url).values, values)


def test_a_signature_does_not_show_in_messages(small):
    with LoopbackServer(small[0].parent) as server, pytest.raises(InputError) as error:
        read_window(f"{server.url}/gone.tif?se=2026&sig=TOPSECRET", pixels=(0, 0, 1, 1))
    assert "gone.tif" in str(error.value) and "TOPSECRET" not in str(error.value)


def test_a_token_goes_to_its_host_alone_and_into_no_log(small, caplog):
    token = CopernicusToken("user", Secret("word"))
    token._token, token._ends = Secret("TOPSECRET"), float("inf")
    caplog.set_level(logging.DEBUG)
    with LoopbackServer(small[0].parent) as home, LoopbackServer(small[0].parent) as stranger:
        access = Access(copernicus=token, hosts=(home.url.removeprefix("http://"),))
        for server in (home, stranger):
            read_window(server.url_of("small.tif"), pixels=(0, 0, 2, 2), access=access)
        assert {r.headers.get("authorization") for r in home.log} == {"Bearer TOPSECRET"}
        assert {r.headers.get("authorization") for r in stranger.log} == {None}
    assert "TOPSECRET" not in caplog.text and "TOPSECRET" not in repr(access)


def test_local_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(InputError, match="gone.tif: there is no such raster"):
        read_window(str(tmp_path / "gone.tif"))
    (tmp_path / "text.tif").write_text("hello")
    with pytest.raises(InputError, match="text.tif: this raster cannot be read"):
        read_window(str(tmp_path / "text.tif"))
