"""The freest straight way, on tiles where it can be named."""

from __future__ import annotations

import numpy as np
import pytest

from rsnb.density.volume import TileFrame
from rsnb.density.ways import free_way
from rsnb.errors import InputError

FRAME = TileFrame(60.0, 20.0)


def street(bearing_deg: float, size: int = 120, width_m: float = 6.0, height_m: float = 9.0) -> np.ndarray:
    """[S, S] houses everywhere but along a street through the middle."""
    places = (np.arange(size) + 0.5) / size * 60 - 30
    east, north = np.meshgrid(places, -places)
    turned = np.radians(bearing_deg)
    return np.where(np.abs(east * np.cos(turned) - north * np.sin(turned)) < width_m / 2, 0.0, height_m)


@pytest.mark.parametrize("bearing", [0, 30, 65, 90, 120, 155])
def test_it_goes_along_the_street(bearing):
    ends = free_way(street(bearing), FRAME)
    along = np.degrees(np.arctan2(*(ends[1] - ends[0]))) % 180
    assert abs((along - bearing + 90) % 180 - 90) <= 4.5  # 4 m wide and 30 m long in 6 m: atan(1 / 15) is 3.8 degrees
    np.testing.assert_allclose(ends[0], -ends[1])
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(0.5 * 60.0)


def test_of_free_ways_the_one_to_the_north():
    np.testing.assert_allclose(free_way(np.zeros((8, 8)), FRAME, share=1.0), [[0, -30], [0, 30]], atol=1e-9)


def test_a_car_counts_less_than_a_house_and_a_house_no_more_than_a_tower():
    heights = street(90)
    heights[50, :] = 9.0  # beside the street's middle line: nothing in the way
    heights[:, 60] = 1.0  # due north: 1 m all the way
    assert abs(free_way(heights, FRAME)[1, 1]) < 3  # the street is freer
    heights = np.full((60, 60), 3.0)
    heights[:, 30] = 100.0  # taller, yet no more in the way than the rest
    np.testing.assert_allclose(free_way(heights, FRAME)[1], [0, 15], atol=1e-9)


@pytest.mark.parametrize("heights, changes", [
    (np.zeros((4, 5)), {}), (np.full((4, 4), np.nan), {}), (np.zeros((4, 4)), {"share": 0.0}),
    (np.zeros((4, 4)), {"share": 1.5}), (np.zeros((4, 4)), {"tall_m": 0.0})])
def test_what_it_refuses(heights, changes):
    with pytest.raises(InputError, match="free_way"):
        free_way(heights, FRAME, **changes)
