"""Solid space, visibility and open ground of tiles, against a hand-made place and against the city's own tables."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from rsnb.city.options import BUILDING, CLASSES, PAVEMENT, ROAD, TREE
from rsnb.city.pair_options import PairsOptions
from rsnb.city.pair_sites import Places, Site, choose_sites
from rsnb.city.pair_truth import (
    COLUMN_SEEN,
    NOT_SEEN,
    TOP_SEEN,
    TileGrid,
    crossings,
    indoors,
    occupancy,
    off_centre_positions,
    visible_cells,
)
from rsnb.errors import InputError
from rsnb.mesh.scene import RayScene
from rsnb.scenes import Material, TexturedMesh

_BOX = ((0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7), (3, 2, 1, 0))  # the last is its floor


def box(x0, y0, z0, x1, y1, z1, floor=True):
    """Corners [Q, 4, 3] of the outward faces of a box."""
    p = np.array([(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0),
                  (x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)], float)
    return p[np.array(_BOX if floor else _BOX[:5])]


def level(x0, y0, x1, y1, z):
    return np.array([[(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]], float)


@pytest.fixture(scope="module")
def place():
    """Ground at z = 0; a house of 8 x 6 m without floor, 5 m high, under a roof plate (5 to 5.4 m) that reaches 2 m out
    on all sides; a lamp's arm over the street; a tree whose leaves lie 3 and 6 m up; two houses wall to wall."""
    parts = [(level(-40, -40, 40, 40, 0.0), ROAD, 0, 0), (box(2, 2, -0.5, 10, 8, 5, floor=False)[:4], BUILDING, 1, 0),
             (box(0, 0, 5, 12, 10, 5.4), BUILDING, 1, 0), (box(-6, -6, 3, -4, -5, 3.2), PAVEMENT, 0, 0),
             (level(-9, 3, -6, 6, 3.05), TREE, 9, 0), (level(-8, 4, -7, 5, 6.05), TREE, 9, 0),
             (box(3, -10, -0.5, 6, -4, 4, floor=False), BUILDING, 2, 0),
             (box(6, -10, -0.5, 9, -4, 7, floor=False), BUILDING, 3, 0)]
    return scene_of(parts)


def scene_of(parts):
    """Quads [Q, 4, 3], class, instance and material of each part."""
    quads = np.concatenate([p[0] for p in parts])
    faces = (4 * np.arange(len(quads))[:, None, None] + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    of = np.repeat(np.arange(len(parts)), [2 * len(p[0]) for p in parts])
    return RayScene(TexturedMesh(
        quads.reshape(-1, 3), faces.astype(np.int32), np.zeros((len(faces), 3, 2), np.float32),
        np.zeros(len(faces), np.int32), (Material("leaves"),), np.array([p[1] for p in parts], np.int32)[of], CLASSES,
        np.array([p[2] for p in parts], np.int32)[of]))


def cells(grid):
    x, y = grid.cell_centres()
    z = (np.arange(grid.slices) + 0.5) * grid.ceiling_m / grid.slices
    return x, y, z


def test_occupancy_of_the_hand_made_place(place):
    grid = TileGrid(np.zeros(2), 24.0, 48, 0.0, 8.0, 40)  # cells of 0.5 m, slices of 0.2 m
    x, y, z = cells(grid)
    def within(x0, y0, x1, y1):
        return (x > x0) & (x < x1) & (y > y0) & (y < y1)

    def between(low, high):
        return ((z > low) & (z < high))[:, None, None]

    expected = within(2, 2, 10, 8) & between(0, 5) | within(0, 0, 12, 10) & between(5, 5.4)
    expected = expected | within(-6, -6, -4, -5) & between(3, 3.2)  # the arm alone, not what is below it
    # One leaf at 3.05 m fills the voxel from 3.0 to 3.2; where both are above each other all from 3.0 to 6.2 is crown.
    expected = expected | within(-9, 3, -6, 6) & between(3, 3.2) | within(-8, 4, -7, 5) & between(3, 6.2)
    expected = expected | within(3, -10, 6, -4) & between(0, 4) | within(6, -10, 9, -4) & between(0, 7)
    assert np.array_equal(occupancy(place, grid, np.zeros((48, 48))), expected)


def test_columns_are_counted_from_their_own_bare_ground():
    """A slope that rises 0.25 m a metre to the east; a house with a level roof at 4 m whose walls reach into the earth;
    a plate that lies under the ground."""
    slope = np.array([[(-8, -8, -2), (8, -8, 2), (8, 8, 2), (-8, 8, -2)]], float)
    scene = scene_of([(slope, ROAD, 0, 0), (box(-4, -4, -3, 4, 4, 4, floor=False), BUILDING, 1, 0),
                      (level(4, -8, 8, -6, 0.2), PAVEMENT, 0, 0)])
    for ground_m in (0.0, -1.0, 1.5):  # the ground under the camera plays no part
        grid = TileGrid(np.zeros(2), 16.0, 16, ground_m, 8.0, 16)  # cells of 1 m, slices of 0.5 m
        x, y, z = cells(grid)
        # The column at x stands on 0.25 x: its voxel at z lies at 0.25 x + z, which is inside up to 4 m.
        house = (np.abs(x) < 4) & (np.abs(y) < 4)
        expected = house & (0.25 * x + z[:, None, None] < 4.0)
        assert np.array_equal(occupancy(scene, grid, 0.25 * x), expected)
        # On one datum with the heights: what is full of a column is as high as the house stands above its ground.
        assert np.abs(expected.sum(axis=0) * 0.5 - (4.0 - 0.25 * x))[house].max() <= 0.25
    assert expected.sum(axis=0)[8, 4] == 10 and expected.sum(axis=0)[8, 11] == 6  # 4.875 m and 3.125 m, by hand


def test_earth_is_no_object_and_a_tile_may_lie_off(place):
    # The ground under the camera lies 1 m below this one, the tile 20 m away from everything: nothing stands on it.
    grid = TileGrid(np.array([-30.0, -30.0]), 10.0, 5, -1.0, 2.0, 4)
    assert not occupancy(place, grid, np.zeros((5, 5))).any()
    # Were the bare ground 1 m lower, 1 m of the 2 would lie on it.
    assert occupancy(place, grid, np.full((5, 5), -1.0)).tolist() == [[[True] * 5] * 5] * 2 + [[[False] * 5] * 5] * 2


def test_upright_rays_meet_every_surface_once(place):
    grid = TileGrid(np.array([6.0, 5.0]), 1.0, 1, 0.0)
    found = crossings(place, grid)
    assert found.z == pytest.approx([5.4, 5.0, 0.0], abs=1e-4) and found.column.tolist() == [0, 0, 0]


def test_indoors_is_behind_walls_and_not_below_eaves(place):
    points = np.array([(6.0, 5.0, 2.0), (1.0, 5.0, 2.0), (6.0, 5.0, 5.2), (-7.5, 4.5, 4.0), (0.0, -8.0, 1.0),
                       (5.99, -7.0, 1.0), (6.01, -7.0, 1.0)])
    assert indoors(place, points).tolist() == [True, False, True, False, False, True, True]


def test_what_the_camera_sees_of_the_hand_made_place(place):
    grid = TileGrid(np.zeros(2), 24.0, 48, 0.0)
    eye = np.array([-2.0, 5.0, 2.5])
    x, y, _ = cells(grid)
    heights = 300.0 - place.cast(np.stack([x, y, np.full_like(x, 300.0)], -1), np.array([0, 0, -1.0])).distance
    seen = visible_cells(place, grid, Site("val", eye, 0.0, 0.0, np.zeros(2), 0, (0, 0), ()), heights)
    free = heights < 0.01
    # On free ground: hidden where the straight line on the map crosses the walls. They are higher than the eye, the
    # roof plate, the lamp's arm and the leaves are above every line of sight to the ground.
    houses = [shapely.box(2, 2, 10, 8), shapely.box(3, -10, 6, -4), shapely.box(6, -10, 9, -4)]
    lines = shapely.linestrings(np.stack([np.broadcast_to(eye[:2], (*x.shape, 2)), np.stack([x, y], -1)], axis=-2))
    hidden = np.any([shapely.intersects(lines, house) for house in houses], axis=0)
    near_edge = np.any([shapely.distance(lines, house) < 0.36 for house in houses], axis=0) & ~hidden
    sure = free & ~near_edge
    assert np.array_equal(seen[sure & ~hidden] == TOP_SEEN, np.ones((sure & ~hidden).sum(), bool))
    assert (seen[free & hidden] != TOP_SEEN).all() and (seen[sure & hidden] == NOT_SEEN).mean() > 0.95
    # A roof above the eye shows nothing but its edge and underside, a facade the cells it stands in.
    assert not (seen[(heights > 5.3) & (x > 0)] == TOP_SEEN).any()
    assert (seen[(x > 2) & (x < 2.5) & (y > 3) & (y < 7)] == COLUMN_SEEN).all()


@pytest.fixture(scope="module")
def some_sites(district):
    options = PairsOptions("cvact_aligned", tile_extent_m=48.0)
    return choose_sites(Places(district(), options), {"val": 5}, np.random.default_rng(3))


def test_houses_of_the_city_are_full_and_the_air_is_empty(district, some_sites):
    city, inside, outside = district(), 0, 0
    # Footprints say what a house covers; which rays meet which faces has no part in it.
    walls = shapely.union_all([b.footprint for b in city.buildings])
    near = walls.buffer(2.0)  # eaves, balconies, awnings
    houses = shapely.union_all([b.footprint.buffer(-0.5) for b in city.buildings])  # a parapet is lower inside
    for site in some_sites:
        grid = TileGrid(site.tile_centre, 48.0, 48, site.ground_m, 12.0, 24)
        x, y, z = cells(grid)
        ground = city.terrain(x, y)
        top = city.height(x, y) - ground
        solid = occupancy(city.scene, grid, ground)
        below, above = z[:, None, None] < top - 0.05, z[:, None, None] > top + 0.01
        house = shapely.contains_xy(houses, x, y)
        inside += house.sum()
        assert solid[below & house].mean() > 0.999 and not solid[above & house].any()
        kind = city.mesh.face_class[city.scene.cast(np.stack([x, y, np.full_like(x, 300.0)], -1),
                                                    np.array([0, 0, -1.0])).prim]
        street = np.isin(kind, (ROAD, PAVEMENT)) & ~shapely.contains_xy(near, x, y) & (top < 2.0)
        outside += street.sum()
        assert not solid[above & street].any() and solid[below & street].all()
    assert inside > 300 and outside > 3000


def test_off_centre_cameras_stand_in_the_open(district, some_sites):
    city = district()
    for site in some_sites:
        grid = TileGrid(site.tile_centre, 48.0, 48, site.ground_m)
        eyes = off_centre_positions(city, grid, site, 6, 10.0)
        away = np.linalg.norm(eyes[:, :2] - site.position[:2], axis=1)
        assert len(eyes) == 6 and 2.0 < away.max() <= 10.0 and len(np.unique(eyes[:, 0])) == 6
        below = city.height(eyes[:, 0], eyes[:, 1])
        bare = city.terrain(eyes[:, 0], eyes[:, 1])
        assert np.abs(eyes[:, 2] - bare - 2.5).max() < 1e-6 and ((below - bare > -0.1) & (below - bare < 0.3)).all()
        assert not any(b.footprint.buffer(0.2).contains(shapely.Point(e)) for b in city.buildings for e in eyes)
        assert np.array_equal(eyes, off_centre_positions(city, grid, site, 6, 10.0))
    with pytest.raises(InputError, match=r"open ground for \d+ of 3 .*off_centre_m"):
        wall = max(city.buildings, key=lambda b: b.footprint.area).footprint.centroid
        indoors_site = Site("val", np.array([wall.x, wall.y, site.ground_m + 2.5]), site.ground_m, 0.0,
                            np.array([wall.x, wall.y]), 1, (0, 0), ())
        off_centre_positions(city, TileGrid(indoors_site.tile_centre, 48.0, 48, site.ground_m), indoors_site, 3, 1.0)
