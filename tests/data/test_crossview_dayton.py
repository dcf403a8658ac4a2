"""Dayton tuples: four squares side by side, what the name says, and the real samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from rsnb.data.crossview.dayton import read_dayton
from rsnb.errors import InputError


@pytest.fixture
def tuples(tmp_path):
    colours = ((10, 20, 30), (40, 50, 60), (70, 80, 90), (100, 110, 120))
    whole = np.concatenate([np.full((6, 6, 3), c, np.uint8) for c in colours], axis=1)
    Image.fromarray(whole).save(tmp_path / "_a-B.x12.y-3.a-90.png")
    Image.fromarray(whole).save(tmp_path / "c.d.x0.y511.a33.5.png")
    Image.fromarray(whole).save(tmp_path / "something else.png")
    return tmp_path


def test_squares_names_and_headings(tuples):
    found = read_dayton(tuples)
    assert found.ids == ("_a-B.x12.y-3.a-90", "c.d.x0.y511.a33.5") and found.panorama_ids == ("_a-B", "c.d")
    assert found.pixel.tolist() == [[12, -3], [0, 511]]
    assert found.heading == pytest.approx([1.5 * math.pi, math.radians(33.5)])
    for k, part in enumerate((found.ground, found.aerial, found.ground_labels, found.aerial_labels)):
        assert part.shape == (2, 3, 6, 6) and part.dtype == np.float32
        assert np.array_equal(np.round(part[0] * 255), np.broadcast_to(
            np.array([10, 20, 30])[:, None, None] + 30 * k, (3, 6, 6)))


def test_another_order_and_a_selection(tuples):
    found = read_dayton(tuples, ["c.d.x0.y511.a33.5"], order=("aerial", "ground", "aerial_labels", "ground_labels"))
    assert len(found) == 1 and found.aerial[0, 0, 0, 0] * 255 == pytest.approx(10)
    assert found.ground_labels[0, 0, 0, 0] * 255 == pytest.approx(100)


def test_what_is_no_tuple_is_an_error(tuples, tmp_path_factory):
    with pytest.raises(InputError, match="no Dayton tuple here"):
        read_dayton(tmp_path_factory.mktemp("empty"))
    with pytest.raises(InputError, match="no tuple 'zz'"):
        read_dayton(tuples, ["zz"])
    with pytest.raises(InputError, match="order is"):
        read_dayton(tuples, order=("ground", "ground", "aerial", "aerial_labels"))
    Image.new("RGB", (24, 8)).save(tuples / "e.x1.y1.a1.png")
    with pytest.raises(InputError, match="24 x 8 pixels, four squares would be 32 x 8"):
        read_dayton(tuples)
    Image.new("RGB", (32, 8)).save(tuples / "e.x1.y1.a1.png")
    with pytest.raises(InputError, match="different size"):
        read_dayton(tuples)
    (tuples / "e.x1.y1.a1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="no picture that can be read"):
        read_dayton(tuples)


def test_a_picture_beyond_pillows_limit_is_named(tuples, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # an error above 80; tuples have 144 pixels
    with pytest.raises(InputError, match=r"x12.y-3.a-90.png: the picture is too large to be read.*smaller"):
        read_dayton(tuples)


def test_the_real_samples(real):
    found = read_dayton(real("nb4_sat2ground/dayton_samples"))
    assert len(found) == 8 and found.ground.shape == (8, 3, 256, 256)
    place = found.panorama_ids.index("3l2aqibi_QJcFgg1I5lw4A")
    assert found.pixel[place].tolist() == [880, 465]
    assert math.degrees(found.heading[place]) == pytest.approx(345)
    # Sky of Cityscapes (70, 130, 180) fills the upper edge of the ground labels, none of the aerial ones.
    sky = np.array([70, 130, 180])[:, None, None] / 255
    near = [np.abs(labels[:, :, :20] - sky).max(axis=1) < 0.1 for labels in (found.ground_labels, found.aerial_labels)]
    assert near[0].mean() > 0.5 > 0.05 > near[1].mean()
