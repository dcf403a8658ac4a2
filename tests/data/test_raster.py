import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from rsnb.data.raster import read_raster
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
