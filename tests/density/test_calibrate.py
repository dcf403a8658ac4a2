"""Camera height from pictures: known on worlds that are flat, on the city, and as measured on the CVACT demo pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from rsnb.density.calibrate import CalibrationOptions, calibrate_camera_height
from rsnb.density.flat_ground import Sphere, flat_panorama
from rsnb.errors import InputError
from rsnb.scenes import TilePanoramaPairs

CASES = (2, 4, 5, 7, 8, 12)


def read(path, size=None):
    picture = Image.open(path).convert("RGB")
    picture = picture if size is None else picture.resize(size, Image.Resampling.BOX)
    return np.asarray(picture, np.float32).transpose(2, 0, 1) / 255


def flat_pairs(n=3, height=7.3, size=96, heading_deg=0.0, offset=(0.0, 0.0), **more):
    """Pairs of a world that is flat and goes on beyond the tiles: what a camera `height` pixels above it sees."""
    rng = np.random.default_rng(3)
    worlds = gaussian_filter(rng.normal(size=(n, 3, 4 * size, 4 * size)), (0, 0, 2, 2)).astype(np.float32)
    worlds = 0.5 + worlds / np.abs(worlds).max() / 2
    sphere = Sphere(64, 128, heading=math.radians(heading_deg))
    panoramas = np.stack([flat_panorama(world, sphere, height, offset=offset)[0].numpy() for world in worlds])
    panoramas[:, :, :32] = 0.8
    middle = slice(3 * size // 2, 5 * size // 2)
    return TilePanoramaPairs(np.ascontiguousarray(worlds[:, :, middle, middle]), panoramas, tuple("abcdefgh"[:n]),
                             np.full(n, math.radians(heading_deg)), math.pi, **more)


def test_a_flat_world_gives_its_height_to_a_fraction_of_a_step():
    options = CalibrationOptions(steps=25)  # neighbours differ by 12 %
    found = calibrate_camera_height(flat_pairs(), options)
    assert found.pixels == pytest.approx(7.3, rel=0.02)
    assert found.interval[0] <= found.pixels <= found.interval[1]
    assert found.correlation > 0.8 and not found.at_edge and found.ids == ("a", "b", "c")
    # 7.3 pixels of 96 on a tile of 48 m are 3.65 m; a camera 3.65 m up means a tile of 48 m.
    assert found.metres(48.0) == pytest.approx(found.pixels / 2)
    assert found.tile_extent_m(found.metres(48.0)) == pytest.approx(48.0)


def test_stated_headings_and_offsets_are_used():
    options = CalibrationOptions(steps=9)
    turned = flat_pairs(heading_deg=77.0)
    assert calibrate_camera_height(turned, options).correlation > 0.8
    wrong = TilePanoramaPairs(turned.tiles, turned.panoramas, turned.ids, np.zeros(3), math.pi)
    assert calibrate_camera_height(wrong, options).correlation < 0.4
    aside = flat_pairs(offset=(6.0, -4.0), offset_m=np.tile([3.0, -2.0], (3, 1)), tile_extent_m=48.0)
    assert calibrate_camera_height(aside, options).correlation > 0.8
    with pytest.raises(InputError, match="tile_extent_m"):
        calibrate_camera_height(flat_pairs(offset_m=np.ones((3, 2))), options)


def test_pictures_that_come_twice_count_once():
    pairs = flat_pairs(2)
    again = TilePanoramaPairs(pairs.tiles[[0, 1, 0]], pairs.panoramas[[0, 1, 0]], ("a", "b", "copy"), np.zeros(3),
                              math.pi)
    options = CalibrationOptions(steps=9)
    found, once = calibrate_camera_height(again, options), calibrate_camera_height(pairs, options)
    assert found.duplicates == ("copy",) and found.ids == ("a", "b") and found.pixels == once.pixels
    single = TilePanoramaPairs(pairs.tiles[:1], pairs.panoramas[:1], ("a",), np.zeros(1), math.pi)
    alone = calibrate_camera_height(single, options)
    assert all(math.isnan(bound) for bound in alone.interval)


def test_a_peak_outside_the_range_is_told():
    options = CalibrationOptions(lowest=0.05, highest=0.12, steps=9)
    assert calibrate_camera_height(flat_pairs(height=14.0), options).at_edge


def test_pairs_without_structure_are_left_out_aloud():
    pairs = flat_pairs(2)
    pairs.panoramas[1] = 0.5
    with pytest.warns(UserWarning, match="1 of 2 pairs .*: b"):
        assert calibrate_camera_height(pairs, CalibrationOptions(steps=9)).ids == ("a",)
    pairs.panoramas[:] = 0.5
    with pytest.raises(InputError, match="no pair has structure"):
        calibrate_camera_height(pairs, CalibrationOptions(steps=9))


def test_bad_input_is_refused():
    pairs = flat_pairs(1)
    empty = TilePanoramaPairs(pairs.tiles[:0], pairs.panoramas[:0], (), np.zeros(0), math.pi)
    with pytest.raises(InputError, match="at least one pair"):
        calibrate_camera_height(empty)
    pairs.tiles[0, 0, 5, 5] = np.nan
    with pytest.raises(InputError, match="a: the tile holds samples that are not finite"):
        calibrate_camera_height(pairs)
    found = calibrate_camera_height(flat_pairs(1), CalibrationOptions(steps=5))
    for bad in (0.0, -30.0, math.nan):
        with pytest.raises(InputError, match="tile_extent_m"):
            found.metres(bad)
    with pytest.raises(InputError, match="lowest < highest"):
        CalibrationOptions(lowest=0.2)


def test_cvact_cameras_stand_12_pixels_high(real):
    # Fact sheet 1.4: an optimum of 11.5 to 12 of 256 pixels with a mean correlation of 0.261, against the 17.07 that
    # 2 m on a tile of 30 m would be.
    folder = real("nb4_sat2ground/cvact_sat2density")
    tiles = np.stack([read(folder / f"case{i}/satview-input.png") for i in CASES])
    panoramas = np.stack([read(folder / f"case{i}/groundview.image.png", (256, 128)) for i in CASES])
    pairs = TilePanoramaPairs(tiles, panoramas, tuple(map(str, CASES)), np.zeros(6), math.pi)
    found = calibrate_camera_height(pairs, CalibrationOptions(lowest=0.02, highest=0.12, steps=19))
    assert 11.3 < found.pixels < 12.7
    assert found.interval[1] < 17.07
    assert found.correlation > 2 * np.interp(17.07, found.heights, found.curves.mean(axis=0))
    assert 55 < found.tile_extent_m(2.75) < 65  # not 30
