"""Views of a scene as files, read back by Pillow and tifffile."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from rsnb.errors import InputError
from rsnb.products.images import write_mask_png
from rsnb.products.view import write_view_products

RGB = np.array([[[0.0, 0.5, 1.2]], [[254.6 / 255, 0.999, -1.0]], [[0.1, 0.2, 0.3]]], np.float32)
DEPTH = np.array([[77.25, 1e-5, 108.0]], np.float32)
MASK = np.array([[True, False, True]])


def test_three_files_a_view(tmp_path):
    paths = write_view_products(tmp_path, "004", RGB, DEPTH, MASK, unit="10 m")
    assert [p.relative_to(tmp_path).as_posix() for p in paths] == ["images/004.png", "depths/004.tiff", "masks/004.png"]
    # rounded to nearest, not cut off: 254.6 is 255 and 127.5 is 128; out of range is clipped, not wrapped
    assert np.asarray(Image.open(paths[0])).tolist() == [[[0, 255, 26], [128, 255, 51], [255, 0, 77]]]
    assert np.array_equal(tifffile.imread(paths[1]), DEPTH) and tifffile.imread(paths[1]).dtype == np.float32
    with tifffile.TiffFile(paths[1]) as file:
        assert json.loads(file.pages[0].description) == {"quantity": "z depth", "unit": "10 m"}
    mask = Image.open(paths[2])
    assert mask.mode == "L" and np.asarray(mask).tolist() == [[255, 0, 255]]


@pytest.mark.parametrize(("rgb", "depth", "mask"), [
    (RGB[:2], DEPTH, MASK), (RGB, DEPTH[:, :2], MASK), (RGB, DEPTH, MASK[:, :2]), (RGB, DEPTH, MASK.astype(np.uint8))],
    ids=["colour", "depth", "mask", "mask type"])
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, rgb, depth, mask):
    with pytest.raises(InputError, match="004"):
        write_view_products(tmp_path, "004", rgb, depth, mask)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="bool"):
        write_mask_png(tmp_path / "m.png", MASK.astype(np.float32))
