"""Composition, band arithmetic, stretch, histogram matching, terrain: by hand and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from skimage.exposure import match_histograms

from rsnb.data.raster_tools.composition import COMPOSITIONS, INDICES, compose, evaluate
from rsnb.data.raster_tools.histogram import match_histogram
from rsnb.data.raster_tools.stretch import percentile_limits, stretch
from rsnb.data.raster_tools.terrain import aspect, gradient, hillshade, read_dem, slope
from rsnb.errors import InputError

BANDS = ("blue", "green", "red", "nir")


def four_bands():
    """Two pixels: blue .1 .2, green .2 .2, red .1 .3, nir .3 0."""
    return np.array([[[0.1, 0.2]], [[0.2, 0.2]], [[0.1, 0.3]], [[0.3, 0.0]]], np.float32)


def test_channels_by_name():
    images = four_bands()
    assert compose(images, BANDS)[:, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.1])
    assert np.array_equal(compose(images, BANDS, "false colour"), images[[3, 2, 1]])
    numbered = ("B02", "B03", "B04", "B08")
    assert np.array_equal(compose(images, numbered, ("B08", "red", "green")), images[[3, 2, 1]])
    assert compose(np.stack([images] * 5), BANDS).shape == (5, 3, 1, 2)


def test_index_and_expression_by_hand():
    images = four_bands()
    # (0.3 - 0.1) / 0.4 = 0.5; (0 - 0.3) / 0.3 = -1
    assert evaluate("NDVI", images, BANDS)[0].tolist() == pytest.approx([0.5, -1.0])
    # (0.2 - 0.3) / 0.5 = -0.2; (0.2 - 0) / 0.2 = 1
    assert evaluate("ndwi", images, BANDS)[0].tolist() == pytest.approx([-0.2, 1.0])
    # EVI 2.5 * 0.2 / (0.3 + 0.6 - 0.75 + 1) = 0.5 / 1.15
    assert evaluate("evi", images, BANDS)[0, 0] == pytest.approx(0.5 / 1.15)
    assert evaluate("max(red, 2 * blue) ** 2 - -1", images, BANDS)[0].tolist() == pytest.approx([1.04, 1.16])
    assert evaluate("nir > red", images, BANDS)[0].tolist() == [1, 0]
    mixed = compose(images, BANDS, ("ndvi", "red", "sqrt(abs(red - nir))"))
    assert mixed[:, 0, 0].tolist() == pytest.approx([0.5, 0.1, math.sqrt(0.2)])


def test_what_is_not_defined_is_no_data():
    images = np.zeros((2, 1, 3), np.float32)
    images[:, 0, 1] = 1, 3
    images[:, 0, 2] = np.nan, 1
    got = evaluate("(a - b) / (a + b)", images, ("a", "b"))
    assert np.isnan(got[0, 0]) and got[0, 1] == -0.5 and np.isnan(got[0, 2])
    assert np.isnan(evaluate("a > b", images, ("a", "b"))[0, 2])


@pytest.mark.parametrize("text", ["__import__('os').system('true')", "red.real", "red; nir", "lambda: 1", "open('x')",
                                  "red[0]", "1 if red else 2", "'a'", "", "swir16", "min(red)", "red @ nir", "9" * 600,
                                  "True < red < nir"])
def test_only_arithmetic_is_run(text):
    with pytest.raises(InputError):
        evaluate(text, four_bands(), BANDS)


def test_every_named_composition_and_index_works_on_twelve_bands():
    from rsnb.data.earth.bands import L2A_ORDER

    images = np.random.default_rng(0).random((12, 3, 4))
    for name in COMPOSITIONS:
        assert np.isfinite(compose(images, L2A_ORDER, name)).all()
    for name in INDICES:
        assert np.isfinite(evaluate(name, images, L2A_ORDER)).all()


def test_stretch_by_hand():
    # 0 .. 100 in steps of 1: 10 % and 90 % are 10 and 90
    images = np.arange(101.0)[None, None]
    assert percentile_limits(images, 10, 90).tolist() == [[10, 90]]
    got = stretch(images, percentile_limits(images, 10, 90))
    assert got[0, 0, [0, 10, 50, 90, 100]].tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    assert stretch(images, (0, 100), gamma=2)[0, 0, 25] == pytest.approx(0.5)  # sqrt(0.25)


def test_bands_alone_or_together():
    images = np.stack([np.linspace(0, 1, 50), np.linspace(0, 4, 50)])[:, None]
    each, joint = percentile_limits(images, 0, 100), percentile_limits(images, 0, 100, joint=True)
    assert each.tolist() == [[0, 1], [0, 4]] and joint.tolist() == [0, 4]
    assert stretch(images, joint)[0].max() == pytest.approx(0.25) and stretch(images, each)[0].max() == 1


def test_clouds_and_holes_do_not_count():
    images = np.full((1, 1, 100), 0.2)
    images[..., :50] = np.linspace(0.1, 0.3, 50)
    images[..., 90:] = 9.0
    images[..., 0] = np.nan
    mask = np.ones((1, 100), bool)
    mask[0, 90:] = False
    assert percentile_limits(images, 0, 100, mask).max() == pytest.approx(0.3)
    got = stretch(images, mask=mask)
    assert got[0, 0, 0] == 0 and got[0, 0, -1] == 1 and np.isfinite(got).all()
    assert np.isnan(stretch(images, empty="nan")[0, 0, 0])
    assert (stretch(np.full((1, 2, 2), 3.0)) == 0.5).all()


@pytest.mark.parametrize("call", [
    lambda: stretch(np.ones((1, 2, 2)), gamma=0), lambda: stretch(np.ones((1, 2, 2)), (2, 1)),
    lambda: stretch(np.ones((2, 2, 2)), np.ones((3, 2))), lambda: percentile_limits(np.ones((1, 2, 2)), 98, 2),
    lambda: percentile_limits(np.full((1, 2, 2), np.nan)), lambda: compose(np.ones((1, 2, 2)), ("red",), "true color"),
    lambda: compose(np.ones((1, 2, 2)), ("red",), ("red", "red")),
    lambda: match_histogram(np.ones((2, 2, 2)), np.ones(4)),
    lambda: match_histogram(np.ones((2, 2)), np.full((2, 2), np.nan)), lambda: slope(np.ones(4), (1, 1)),
    lambda: slope(np.ones((3, 3)), (0, 1)), lambda: hillshade(np.ones((3, 3)), (1, 1), sun_elevation=-0.1),
])
def test_bad_arguments_are_refused(call):
    with pytest.raises(InputError):
        call()


def test_histogram_matching_equals_scikit_image():
    rng = np.random.default_rng(2)
    source = rng.integers(0, 50, (3, 40, 30)).astype(float)
    reference = rng.gamma(2, 30, (3, 25, 60))
    oracle = match_histograms(source, reference, channel_axis=0)
    assert np.allclose(match_histogram(source, reference), oracle, atol=1e-9)


def test_histogram_matching_undoes_a_rising_change():
    rng = np.random.default_rng(4)
    truth = rng.random((30, 30))
    bent = truth**2.2 * 3 + 1
    cloud = np.zeros((30, 30), bool)
    cloud[:9] = True
    seen = np.where(cloud, 40.0, bent)
    got = match_histogram(seen, truth, ~cloud, ~cloud)
    assert np.abs(got - truth)[~cloud].max() < 1e-9
    assert np.abs(match_histogram(seen, truth) - truth)[~cloud].mean() > 0.1  # with the cloud counted it is off


def test_a_plane_by_hand():
    # z rises 3 m per 10 m eastwards and 4 m per 20 m southwards: dz/dx = 0.3, dz/dy (north) = -0.2
    rows, cols = np.mgrid[:6, :8]
    z = 100 + 3.0 * cols + 4.0 * rows
    east, north = gradient(z, (10, 20))
    assert np.allclose(east, 0.3) and np.allclose(north, -0.2)  # the rim too
    assert np.allclose(slope(z, (10, 20)), math.atan(math.hypot(0.3, 0.2)))
    # it falls towards west (-0.3) and north (+0.2): atan2(-0.3, 0.2) = -56.31 = 303.69 degrees
    assert np.allclose(np.degrees(aspect(z, (10, 20))), 303.69, atol=0.01)
    # sun in the west at 30 degrees: l = (-cos 30, 0, sin 30); n = (-0.3, 0.2, 1) / sqrt(1.13)
    expected = (0.3 * math.cos(math.radians(30)) + math.sin(math.radians(30))) / math.sqrt(1.13)
    shade = hillshade(z, (10, 20), sun_bearing=math.radians(270), sun_elevation=math.radians(30))
    assert np.allclose(shade, expected)


def test_horn_weights_by_hand():
    z = np.array([[1.0, 2, 4], [3, 9, 6], [5, 8, 7]])
    # Horn 1981, without the centre: ((4 + 12 + 7) - (1 + 6 + 5)) / 8 = 11/8; ((1 + 4 + 4) - (5 + 16 + 7)) / 8 = -19/8
    east, north = gradient(z, (1, 1))
    assert east[1, 1] == 11 / 8 and north[1, 1] == -19 / 8


def test_level_ground_and_holes():
    z = np.zeros((5, 5))
    assert np.isnan(aspect(z, (1, 1))).all() and np.allclose(hillshade(z, (1, 1)), math.sin(math.pi / 4))
    z[0, 0] = np.nan
    shade = hillshade(z, (1, 1))
    assert np.isnan(shade[0, 0]) and np.isnan(shade[1, 1]) and np.isfinite(shade[2:, 2:]).all()


def test_an_elevation_model_from_disk(tmp_path):
    heights = np.full((4, 5), 120.0, np.float32)
    heights[0, 0] = -32768
    with rasterio.open(tmp_path / "dem.tif", "w", driver="GTiff", height=4, width=5, count=1, dtype="float32",
                       crs="EPSG:4326", transform=from_origin(25, 60.0004, 0.0001, 0.0001)) as file:
        file.write(heights, 1)
    dem = read_dem(tmp_path / "dem.tif")
    assert np.isnan(dem.height[0, 0]) and dem.height[1, 1] == 120
    # at 60 degrees a ten-thousandth of a degree is 11.14 m north to south and half as much east to west
    width, height = dem.grid.pixel_size_m
    assert height == pytest.approx(11.14, abs=0.01) and width == pytest.approx(5.58, abs=0.01)
    part = read_dem(tmp_path / "dem.tif", (25.0001, 60.0001, 25.0003, 60.0003))
    assert part.height.shape == (2, 2) and part.grid.transform[2] == pytest.approx(25.0001)
