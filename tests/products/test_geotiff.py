import numpy as np
import pytest
import rasterio

from rsnb.errors import InputError
from rsnb.products import write_geotiff
from rsnb.scenes import Georeference, SemanticClass

HELSINKI = Georeference("EPSG:3879", (25490000.0, 6668000.0, 0.0))


def test_pixel_centres_land_at_crs_coordinates_computed_by_hand(tmp_path):
    dsm = np.arange(300 * 400, dtype=np.float64).reshape(300, 400)
    path = write_geotiff(tmp_path / "dsm.tif", dsm, (6000.0, 5000.0), 0.5, HELSINKI, nodata=-9999)
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 3879 and file.nodata == -9999 and file.dtypes == ("float32",)
        # column 2, row 1: east 25 490 000 + 6000 + 2.5 * 0.5, north 6 668 000 + 5000 - 1.5 * 0.5
        assert file.xy(1, 2) == pytest.approx((25496001.25, 6672999.25), abs=1e-9)
        assert np.array_equal(file.read(1), dsm.astype(np.float32))


@pytest.mark.parametrize("cloud_optimised", [False, True])
def test_labels_keep_ids_names_and_colours(tmp_path, cloud_optimised):
    labels = np.zeros((300, 300), np.int32)
    labels[:10] = 4
    classes = [SemanticClass(4, "water", (1, 2, 3))]
    path = write_geotiff(tmp_path / "l.tif", labels, (0, 0), 1.0, HELSINKI, classes=classes,
                         cloud_optimised=cloud_optimised)
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(1), labels) and file.dtypes == ("uint8",)
        assert file.tags()["CLASS_4"] == "water"
        assert file.colormap(1)[4] == (1, 2, 3, 255)


def test_colour_becomes_three_bands_of_eight_bits(tmp_path):
    with rasterio.open(write_geotiff(tmp_path / "c.tif", np.full((3, 8, 9), 0.5), (0, 0), 1.0, HELSINKI)) as file:
        assert (file.count, file.height, file.width) == (3, 8, 9) and (file.read() == 128).all()


@pytest.mark.parametrize(("crs", "message"), [(None, "no coordinate reference"), ("EPSG:999999", "EPSG:999999")])
def test_a_raster_without_a_known_place_is_refused(tmp_path, crs, message):
    with pytest.raises(InputError, match=message):
        write_geotiff(tmp_path / "x.tif", np.zeros((4, 4)), (0, 0), 1.0, Georeference(crs))
    assert not list(tmp_path.iterdir())
