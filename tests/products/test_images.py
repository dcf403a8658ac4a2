"""Products are read back by independent libraries (PIL, tifffile, rasterio, PyAV), never by our own readers."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from rsnb.errors import InputError
from rsnb.products import write_float_tiff, write_jpeg, write_label_png, write_png
from rsnb.scenes import SemanticClass

CLASSES = (SemanticClass(3, "building", (200, 100, 50)), SemanticClass(7, "road", (90, 91, 92)))


def test_png_keeps_rows_channels_and_rounds(tmp_path):
    rgb = np.zeros((3, 2, 3), np.float32)
    rgb[0, 0, 2] = 1.0  # top right red
    rgb[1, 1, 0] = 0.5  # bottom left green: 0.5 * 255 = 127.5, rounds to 128
    rgb[2, 1, 1] = 7.0  # out of range: clipped
    pixels = np.asarray(Image.open(write_png(tmp_path / "a.png", rgb)))
    assert pixels.shape == (2, 3, 3)
    assert pixels[0, 2].tolist() == [255, 0, 0]
    assert pixels[1, 0].tolist() == [0, 128, 0]
    assert pixels[1, 1].tolist() == [0, 0, 255]


def test_jpeg_is_a_jpeg_of_that_size(tmp_path):
    rgb = np.full((3, 40, 60), 0.25, np.float32)
    image = Image.open(write_jpeg(tmp_path / "a.jpg", rgb))
    assert image.format == "JPEG" and image.size == (60, 40)
    assert abs(np.asarray(image).mean() - 64) < 2


def test_label_png_pixel_values_are_the_ids(tmp_path):
    labels = np.array([[0, 3], [7, 7]])
    image = Image.open(write_label_png(tmp_path / "l.png", labels, CLASSES))
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), labels)
    assert np.asarray(image.convert("RGB"))[0, 1].tolist() == [200, 100, 50]


def test_label_png_refuses_an_id_that_the_table_does_not_list(tmp_path):
    with pytest.raises(InputError, match="5"):
        write_label_png(tmp_path / "l.png", np.array([[5]]), CLASSES)
    assert not list(tmp_path.iterdir())


def test_float_tiff_keeps_infinity_and_its_description(tmp_path):
    depth = np.array([[1.25, np.inf, 3.0]], np.float32)
    path = write_float_tiff(tmp_path / "d.tif", depth, {"unit": "m"})
    assert np.array_equal(tifffile.imread(path), depth)
    with tifffile.TiffFile(path) as file:
        assert json.loads(file.pages[0].description) == {"unit": "m"}
    normals = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    assert np.array_equal(tifffile.imread(write_float_tiff(tmp_path / "n.tif", normals)), normals.transpose(1, 2, 0))


def test_a_failing_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = write_png(tmp_path / "a.png", np.zeros((3, 2, 2)))
    before = path.read_bytes()
    with pytest.raises(InputError):
        write_png(path, np.zeros((2, 2)))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
