from __future__ import annotations

import pytest

from rsnb.city import CLASSES, GEOREFERENCE, CityOptions, core_bounds
from rsnb.city.options import PLAN
from rsnb.errors import InputError


def test_the_default_core_lies_on_four_tiles_of_the_helsinki_grid():
    # Tile_+1984_+2690 covers E 25000000 + 250 * 1984 = 25496000, N 6000000 + 250 * 2690 = 6672500.
    x0, y0, x1, y1 = core_bounds((0, 0))
    assert (x0 + GEOREFERENCE.origin[0], y0 + GEOREFERENCE.origin[1]) == (25496000.0, 6672500.0)
    assert (x1 - x0, y1 - y0) == (500.0, 500.0)


def test_districts_are_550_m_apart_and_the_city_is_2200_m_wide():
    assert core_bounds((1, 0))[0] - core_bounds((0, 0))[0] == 550.0
    assert core_bounds((3, 3))[2] + 25 - (core_bounds((0, 0))[0] - 25) == 2200.0
    assert len(PLAN) == 4 and all(len(row) == 4 for row in PLAN)


@pytest.mark.parametrize("index", [(4, 0), (0, -1), (1,), "ab", None])
def test_a_district_that_does_not_exist_is_refused(index):
    with pytest.raises(InputError, match="district"):
        core_bounds(index)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 1.5}, {"relief_m": 0}, {"parked_share": "half"}])
def test_wrong_options_name_themselves(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        CityOptions(**wrong)


def test_class_ids_are_distinct_and_leave_zero_free():
    ids = [c.id for c in CLASSES]
    assert sorted(set(ids)) == sorted(ids) and min(ids) > 0
    assert len({c.rgb for c in CLASSES}) == len(CLASSES)
