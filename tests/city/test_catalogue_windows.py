"""The city's own COGs read by window over http, as notebook 01 does: the request log is the proof."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import tifffile

from rsnb.city import write_catalogue as module
from rsnb.data.download.loopback import LoopbackServer
from rsnb.data.stac.assets import asset_of
from rsnb.data.stac.options import SearchOptions
from rsnb.data.stac.search import search
from rsnb.data.stac.stack import StackOptions, read_stack
from rsnb.data.stac.windows import read_window


@pytest.fixture(scope="module")
def folder(tmp_path_factory, quick_district):
    options = module.CatalogueOptions(covers=(0.0,), pixels=24, high_pixels=1024, high_resolution_dates=("2022-06-20",))
    return module.ensure_catalogue(tmp_path_factory.mktemp("windows"), options)


def _touched(path, row, col, size) -> int:
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        side, across = page.tilewidth, -(-page.imagewidth // page.tilewidth)
        blocks = [r * across + c for r in range(row // side, (row + size - 1) // side + 1)
                  for c in range(col // side, (col + size - 1) // side + 1)]
        per_plane = across * -(-page.imagelength // side)
        planes = range(len(page.databytecounts) // per_plane)
        return sum(page.databytecounts[p * per_plane + b] for p in planes for b in blocks)


@pytest.mark.parametrize("row, col", [(0, 0), (300, 200), (512, 512)])
def test_a_window_of_the_citys_own_cog(folder, row, col):
    with LoopbackServer(folder) as server:
        found = search(f"{server.url}/catalog.json", SearchOptions(collections="city-high-resolution"))
        asset = asset_of(found.items[0], "red")
        server.clear_log()
        read = read_window(asset.href, pixels=(row, col, 512, 512), band=asset.band)
        log = server.log
    path = folder / "city-high-resolution" / found.items[0].id / asset.href.rsplit("/", 1)[-1]
    with rasterio.open(path) as file:
        expected = file.read(asset.band)[row:row + 512, col:col + 512]
    np.testing.assert_array_equal(read.values, expected)
    assert len(log) <= 6 and {r.path for r in log} == {path.relative_to(folder).as_posix()}
    assert sum(r.sent for r in log) <= _touched(path, row, col, 512) + 64_000


def test_from_the_catalogue_to_a_stack(folder):
    with LoopbackServer(folder) as server:
        found = search(f"{server.url}/catalog.json", SearchOptions(collections="sentinel-2-l2a"))
        stack = read_stack(found.items, ["red", "nir"], StackOptions())
    with rasterio.open(next((folder / "sentinel-2-l2a").glob("*/B04.tif"))) as file:
        assert stack.crs == file.crs.to_string() and stack.transform == tuple(file.transform)[:6]
        numbers = file.read(1)
    # whatever offset the date has, red spreads as the stored numbers do
    covered = numbers > 0
    np.testing.assert_allclose(np.ptp(stack.images[0, 0][covered]), np.ptp(numbers[covered]) * 1e-4, atol=1e-6)
    assert np.isnan(stack.images[0, 0][~covered]).all()
    assert 0 < np.nanmedian(stack.images[0, 0]) < np.nanmedian(stack.images[0, 1]) < 0.6
