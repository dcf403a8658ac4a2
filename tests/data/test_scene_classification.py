"""Scene classes of Sentinel-2: hand-typed rasters, and the percentages that real items state of their own tiles."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rsnb.data.scene_classification import SCL_CLASSES, class_shares, clear_mask
from rsnb.errors import InputError

ALL_TWELVE = np.arange(12).reshape(3, 4)


def test_which_classes_are_clear():
    # 2 dark, 4 vegetation, 5 soil, 6 water, 7 unclassified, 11 snow stay
    expected = [[False, False, True, False], [True, True, True, True], [False, False, False, True]]
    np.testing.assert_array_equal(clear_mask(ALL_TWELVE), expected)
    assert [c.id for c in SCL_CLASSES] == list(range(12))


def test_nan_and_class_zero_are_no_data_whatever_is_named():
    scl = np.array([[np.nan, 0.0, 4.0, 9.0]])
    np.testing.assert_array_equal(clear_mask(scl, unclear=()), [[False, False, True, True]])


def test_growing_takes_a_square_around_clouds_but_not_around_no_data():
    scl = np.full((2, 5, 5), 4)
    scl[0, 2, 2] = 9
    scl[1, 2, 2] = 0
    clear = clear_mask(scl, grow=1)
    assert (~clear[0]).sum() == 9 and not clear[0, 1:4, 1:4].any()
    assert (~clear[1]).sum() == 1


@pytest.mark.parametrize("value", [12, 255, -1, 4.5])
def test_a_number_that_is_no_class_is_refused(value):
    with pytest.raises(InputError, match=f"{value} is no scene class"):
        clear_mask(np.array([[4, value]]))


@pytest.mark.parametrize("wrong", [{"scl": np.arange(3)}, {"scl": ALL_TWELVE, "grow": -1}])
def test_shape_and_growth_are_checked(wrong):
    with pytest.raises(InputError, match="clear_mask"):
        clear_mask(**wrong)


def test_a_few_numbers_that_are_no_class_are_masked():
    scl = np.full((10, 30), 4)
    scl[0, :3] = 12  # 3 of 300 = 1 %
    assert (~clear_mask(scl)).sum() == 3
    scl[0, 3] = 12
    with pytest.raises(InputError, match="12 is no scene class"):
        clear_mask(scl)


def test_shares_agree_with_what_real_items_state(real):
    """The item's percentages were counted by ESA on the 20 m raster; ours come from a 120 m copy that its authors
    squeezed with loss, so classes bleed into each other: 2.6 points is the worst of 35 shares, between the two kinds
    of cloud."""
    import rasterio

    stated_as = {"vegetation": "s2:vegetation_percentage", "not vegetated": "s2:not_vegetated_percentage",
                 "cloud shadow": "s2:cloud_shadow_percentage", "water": "s2:water_percentage",
                 "cloud, medium probability": "s2:medium_proba_clouds_percentage",
                 "cloud, high probability": "s2:high_proba_clouds_percentage",
                 "thin cirrus": "s2:thin_cirrus_percentage"}
    items = sorted(real("nb6_temporal/earthsearch_33TWL/sentinel-2-l2a").glob("*/S2*.json"))
    assert len(items) == 5
    for path in items:
        stated = json.loads(path.read_text())["properties"]
        with rasterio.open(path.parent / "SCL.tif") as file:
            scl = file.read(1)
        shares = class_shares(scl)
        for name, key in stated_as.items():
            assert abs(100 * shares.get(name, 0.0) - stated[key]) < 3.0, (path.name, name)
        masked = sum(stated[stated_as[name]] for name in list(stated_as)[-3:] + ["cloud shadow"])
        clear = 100 * clear_mask(scl).sum() / (scl > 0).sum()
        assert abs(100 - masked - clear) < 2.5, path.name  # 2.2 at worst
