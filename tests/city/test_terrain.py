from __future__ import annotations

import numpy as np
import pytest
import shapely

from rsnb.city import CityOptions, Terrain, core_bounds
from rsnb.city.terrain import build_terrain, split_at_creases

# One cell: south-west 0, south-east 10, north-west 20, north-east 40; 5 m wide.
CELL = Terrain(100.0, 200.0, np.array([[0.0, 10.0], [20.0, 40.0]]))


@pytest.mark.parametrize("x, y, z", [
    (100, 200, 0), (105, 200, 10), (100, 205, 20), (105, 205, 40),
    (102.5, 202.5, 20),  # the diagonal joins 0 and 40
    (104, 201, 14),  # lower triangle: 0 + 0.8 * (10 - 0) + 0.2 * (40 - 10)
    (101, 204, 20),  # upper triangle: 0 + 0.8 * (20 - 0) + 0.2 * (40 - 20)
    (90, 200, 0),  # outside: the rim goes on
])
def test_height_in_one_cell(x, y, z):
    assert CELL(x, y) == pytest.approx(z, abs=1e-12)


def test_pieces_of_a_cut_segment_are_straight_on_the_surface():
    terrain = build_terrain(CityOptions(), (0, 0), shapely.Polygon())
    rng = np.random.default_rng(0)
    start, end = rng.uniform(0, 400, (40, 2)) + (6050, 4550), rng.uniform(0, 400, (40, 2)) + (6050, 4550)
    a, b = split_at_creases(start, end, terrain)
    middle = terrain(*((a + b) / 2).T)
    assert np.abs(middle - (terrain(*a.T) + terrain(*b.T)) / 2).max() < 1e-9
    assert np.linalg.norm(b - a, axis=1).sum() == pytest.approx(np.linalg.norm(end - start, axis=1).sum(), abs=0.01)
    # Uncut, the same segments are not straight on the ground, so the cut is what did it.
    whole = terrain(*((start + end) / 2).T) - (terrain(*start.T) + terrain(*end.T)) / 2
    assert np.abs(whole).max() > 0.1


def test_a_segment_along_a_crease_stays_whole():
    # x from 100 to 105 along y = 200 touches three grid lines only at its ends.
    a, b = split_at_creases(np.array([[100.0, 200.0]]), np.array([[105.0, 200.0]]), CELL)
    assert len(a) == 1 and np.allclose(a, [[100, 200]]) and np.allclose(b, [[105, 200]])


def test_water_lies_level_and_the_ground_has_relief():
    x0, y0, _, _ = core_bounds((0, 0))
    pond = shapely.Point(x0 + 250, y0 + 200).buffer(30)
    terrain = build_terrain(CityOptions(), (0, 0), pond)
    rng = np.random.default_rng(1)
    points = rng.uniform(-30, 30, (400, 2)) + (x0 + 250, y0 + 200)
    inside = shapely.contains_xy(pond, *points.T)
    z = terrain(*points[inside].T)
    assert np.ptp(z) == 0.0
    grid = terrain(*np.meshgrid(np.arange(x0, x0 + 501, 5), np.arange(y0, y0 + 501, 5)))
    assert np.ptp(grid) >= 5.0
    assert np.abs(np.diff(grid, axis=1)).max() / 5 < 0.15  # nowhere steeper than 15 %


def test_neighbours_meet_in_the_middle_of_the_belt():
    west = build_terrain(CityOptions(), (0, 0), shapely.box(6200, 4700, 6240, 4740))
    east = build_terrain(CityOptions(), (1, 0), shapely.Polygon())
    y = np.linspace(4480, 5020, 300)
    assert np.abs(west(6525.0, y) - east(6525.0, y)).max() < 1e-9
