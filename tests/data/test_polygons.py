"""Triangulation of polygons in space: areas, holes, winding, degenerate rings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsnb.data.meshes.polygons import clean_ring, near_zero, newell, split_polygons, triangulate

# A U of area 3 x 3 - 1 x 2 = 7: earcut must not fill the notch.
U_SHAPE = [(0, 0), (3, 0), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3)]


def tilt(points, shift=(0.0, 0.0, 0.0)):
    """Points of the plane on a tilted plane in space; a rotation, so areas stay."""
    e1, e2 = np.array([2, 1, 2]) / 3.0, np.array([-2, 2, 1]) / 3.0
    return [tuple(np.array(shift) + x * e1 + y * e2) for x, y in points]


def triangle_vectors(rings, triangles):
    """[T, 3] normals of triangles, their lengths twice the areas."""
    corners = np.array([p for ring in rings for p in ring])[np.array(triangles)]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def test_newell_is_twice_the_area_along_the_right_handed_normal():
    # e1 x e2 = (1*1-2*2, 2*-2-2*1, 2*2-1*-2)/9 = (-3, -6, 6)/9
    assert np.allclose(newell(tilt(U_SHAPE)), 14.0 * np.array([-1, -2, 2]) / 3.0)


@pytest.mark.parametrize("shift", [(0, 0, 0), (25_496_056.0, 6_672_400.0, 12.0)])
@pytest.mark.parametrize("turned", [False, True])
def test_concave_polygon_keeps_area_and_winding(shift, turned):
    ring = tilt(U_SHAPE, shift)[:: -1 if turned else 1]
    normals = triangle_vectors([ring], triangulate([ring]))
    up = np.array([-1, -2, 2]) / 3.0 * (-1 if turned else 1)
    assert np.linalg.norm(normals, axis=1).sum() / 2 == pytest.approx(7.0, abs=1e-6)
    assert (normals @ up > 0).all(), "each triangle faces as the polygon does"


@pytest.mark.parametrize("hole_turned", [False, True])
def test_hole_is_left_open_whichever_way_it_is_wound(hole_turned):
    outer = tilt([(0, 0), (4, 0), (4, 4), (0, 4)])
    hole = tilt([(1, 1), (3, 1), (3, 2), (1, 2)])[:: -1 if hole_turned else 1]
    triangles = triangulate([outer, hole])
    normals = triangle_vectors([outer, hole], triangles)
    assert np.linalg.norm(normals, axis=1).sum() / 2 == pytest.approx(16 - 2)
    assert (normals @ np.array([-1, -2, 2]) > 0).all()
    assert len(triangles) == 8  # V + 2 holes - 2 = 8 + 2 - 2


@pytest.mark.parametrize("ring", [
    [(0, 0, 0), (1, 0, 0)],
    [(0, 0, 0), (1, 1, 1), (2, 2, 2)],
    [(0, 0, 0), (1, 0, 0), (0, 0, 0), (1, 0, 0)],
    [(0, 0, 0), (1, 0, 0), (float("nan"), 1, 0)],
])
def test_polygon_without_area_is_none(ring):
    assert triangulate([ring]) is None


def test_closing_and_repeated_corners_go_and_their_uv_with_them():
    ring = [(0, 0, 0), (1, 0, 0), (1, 0, 0), (1, 1, 0), (0, 0, 0), (0, 0, 0)]
    assert clean_ring(ring, [(i, 0) for i in range(6)]) == ([ring[0], ring[1], ring[3]], [(0, 0), (1, 0), (3, 0)])


@given(st.integers(3, 40), st.integers(0, 2**32 - 1))
def test_star_polygons_keep_their_area(count, seed):
    rng = np.random.default_rng(seed)
    angle = (np.arange(count) + rng.uniform(0.1, 0.9, count)) * 2 * np.pi / count
    radius = rng.uniform(0.5, 2.0, count)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    shoelace = 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))  # signed area, the independent formula
    ring = tilt(np.stack([x, y], axis=1))
    triangles = triangulate([ring])
    normals = triangle_vectors([ring], triangles)
    assert (normals @ np.array([-1, -2, 2]) / 3.0).sum() / 2 == pytest.approx(shoelace, rel=1e-9)
    assert len(triangles) <= count - 2


def test_quads_split_along_the_diagonal_that_stays_inside():
    # An arrow head: the corner (1, 1) is reflex, so cutting 0-2 would cover the notch twice.
    arrow = np.array([(0, 0, 0), (1, 1, 0), (4, 0, 0), (1, 4, 0)], dtype=float)[[1, 2, 3, 0]]
    for start in range(4):
        ring = np.roll(arrow, start, axis=0)
        pick, source = split_polygons(np.array([4]), np.arange(4), ring)
        normals = triangle_vectors([ring], pick)
        assert np.linalg.norm(normals, axis=1).sum() == pytest.approx(abs(normals.sum(axis=0)[2])), start
        assert (normals[:, 2] > 0).all() and source.tolist() == [0, 0]


def test_far_texture_repeats_come_near_without_a_change():
    uv = np.array([[[1000.25, -300.5], [1001.25, -300.5], [1000.25, -299.0]], [[0.1, 0.2], [3.0, -4.0], [0.5, 0.5]]])
    near = near_zero(uv)
    assert np.allclose(near[0], [[0.25, 0.5], [1.25, 0.5], [0.25, 2.0]]) and np.allclose(near[1], uv[1])
