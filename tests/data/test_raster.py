import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from rsnb.data.raster import file_on_grid, open_raster, read_on_grid, read_raster
from rsnb.data.raster_grid import RasterGrid
from rsnb.errors import InputError


def write(path, array, west, north, gsd, crs="EPSG:3879", nodata=None):
    with rasterio.open(path, "w", driver="GTiff", height=array.shape[0], width=array.shape[1], count=1, crs=crs,
                       dtype="float32", transform=from_origin(west, north, gsd, gsd), nodata=nodata) as file:
        file.write(array.astype(np.float32), 1)
    return path


def test_nodata_becomes_nan(tmp_path):
    array = read_raster(write(tmp_path / "a.tif", np.array([[1.0, -9999.0]]), 0, 0, 1, nodata=-9999.0))
    assert array.shape == (1, 2) and array[0, 0] == 1 and np.isnan(array[0, 1])


def test_onto_another_grid_by_hand(tmp_path):
    coarse = write(tmp_path / "c.tif", np.array([[1.0, 2.0], [3.0, 4.0]]), 25496000, 6672010, 5.0)
    # 1 m pixels from x 4..8 and y 6..3 below the coarse grid's top left: columns 4 | 5 6 7, rows 0..2 in the upper
    # coarse row (y from 6 to 5) and the lower one (5 to 3).
    fine = write(tmp_path / "f.tif", np.zeros((3, 4)), 25496004, 6672006, 1.0)
    assert read_raster(coarse, like=fine).tolist() == [[1, 2, 2, 2], [3, 4, 4, 4], [3, 4, 4, 4]]
    away = write(tmp_path / "g.tif", np.zeros((2, 2)), 25496100, 6672006, 1.0)
    assert np.isnan(read_raster(coarse, like=away)).all()


def test_what_is_no_raster_is_named(tmp_path):
    (tmp_path / "a.tif").write_text("no")
    with pytest.raises(InputError, match=r"a\.tif"):
        read_raster(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"b\.tif"):
        read_raster(tmp_path / "b.tif")


@pytest.mark.parametrize("west, columns, sides", [
    (179, 360, (True, False)),  # a tile of one degree up to 180 E
    (-180, 360, (False, True)),  # and one from 180 W on
    (-180, 3600, (True, True)),  # the whole globe, in tenths of a degree
])
def test_a_grid_over_the_antimeridian_is_read_from_files_in_degrees(tmp_path, west, columns, sides):
    """Zone 60 south: 180 E at 17 S is x = 500000 + 3 degrees x 111.32 km x cos 17 x 0.9996 = 819 km or so."""
    size = 360 / columns if columns == 3600 else 1 / 360
    height = 1800 if columns == 3600 else 360
    north = 90 if columns == 3600 else -16.5
    path = tmp_path / "dem.tif"
    with rasterio.open(path, "w", driver="GTiff", height=height, width=columns, count=1, crs="EPSG:4326", dtype="uint8",
                       transform=from_origin(west, north, size, size)) as file:
        file.write(np.full((height, columns), 7, np.uint8), 1)
    grid = RasterGrid(10, 40, (1000.0, 0.0, 799000.0, 0.0, -1000.0, 8120000.0), "EPSG:32760")
    values = read_on_grid(path, grid, resampling="nearest")[0]
    assert ((values[5, :18] == 7).all(), (values[5, 24:] == 7).all()) == sides
    assert np.isnan(values[5, :18]).all() != sides[0] and np.isnan(values[5, 24:]).all() != sides[1]


def test_large_whole_numbers_stay_exact(tmp_path):
    with rasterio.open(tmp_path / "ids.tif", "w", driver="GTiff", height=2, width=2, count=1, crs="EPSG:3879",
                       dtype="int32", transform=from_origin(0, 2, 1, 1)) as file:
        file.write(np.array([[16777217, 1], [2, 3]], np.int32), 1)  # 2^24 + 1 is no float32
    finer = RasterGrid(4, 4, (0.5, 0.0, 0.0, 0.0, -0.5, 2.0), "EPSG:3879")
    with open_raster(tmp_path / "ids.tif") as file:
        assert file_on_grid(file, finer, resampling="nearest")[0, 1, 1] == 16777217
    assert read_raster(tmp_path / "ids.tif")[0, 0] == 16777217
