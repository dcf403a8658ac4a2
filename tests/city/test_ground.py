from __future__ import annotations

import numpy as np
import pytest
import shapely

from rsnb.city import CityOptions
from rsnb.city.assembly import Palette, Parts
from rsnb.city.ground import Layer, drape, partition, steps, triangulate
from rsnb.city.terrain import build_terrain

BOUNDS = (6100.0, 4600.0, 6150.0, 4650.0)
ROAD = shapely.LineString([(6090, 4603), (6160, 4641)]).buffer(4.0, cap_style="flat")
DISC = shapely.Point(6125, 4625).buffer(6.0)
HOUSE = shapely.box(6102, 4635, 6112, 4645)


@pytest.fixture(scope="module")
def terrain():
    return build_terrain(CityOptions(), (0, 0), shapely.Polygon())


@pytest.fixture(scope="module")
def layers():
    return [Layer(DISC, 0, 1), Layer(ROAD, 1, 2), Layer(shapely.box(*BOUNDS), 2, 3, 0.12)]


def test_every_spot_belongs_to_the_first_layer_that_covers_it(layers):
    pieces = {layer.class_id: shapely.union_all(p) for layer, p in partition(layers, BOUNDS, HOUSE)}
    area = shapely.box(*BOUNDS)
    expected = {1: DISC, 2: (ROAD & area) - DISC, 3: area - ROAD - DISC - HOUSE}
    for number, shape in expected.items():
        assert pieces[number].symmetric_difference(shape).area < 1e-6, number
    assert sum(p.area for p in pieces.values()) == pytest.approx(2500 - 100, abs=1e-6)


def test_draped_faces_lie_on_the_terrain_look_up_and_fill_the_plan(layers, terrain):
    parts, palette = Parts(), Palette()
    for name in "abc":
        palette.look(name)
    drape(parts, partition(layers, BOUNDS, HOUSE), terrain, BOUNDS)
    mesh = parts.mesh(palette, "ground")
    corner = mesh.vertices[mesh.faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert (normal[:, 2] > 0).all()
    assert normal[:, 2].sum() / 2 == pytest.approx(2400, abs=0.01)
    # Centre and corners of every face are at the terrain's height: no face bridges a crease.
    lift = np.where(mesh.face_class == 3, 0.12, 0.0)
    centre = corner.mean(axis=1)
    assert np.abs(centre[:, 2] - terrain(*centre[:, :2].T) - lift).max() < 1e-6


def test_triangles_fill_a_polygon_with_a_hole():
    ring = shapely.Polygon([(0, 0), (10, 0), (10, 10), (0, 10)], [[(3, 3), (3, 6), (6, 6), (6, 3)]])
    flat = triangulate(np.array([ring, shapely.Polygon([(20, 0), (21, 0), (20, 1)])]))
    a, b = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    area = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    assert (area > 0).all() and area.sum() == pytest.approx(91 + 0.5)


def test_kerbs_look_into_the_lowered_region(terrain):
    parts, palette = Parts(), Palette()
    palette.look("a")
    low = shapely.box(6110, 4610, 6130, 4620) - shapely.box(6118, 4614, 6121, 4616)  # a carriageway with an island
    steps(parts, low, terrain, (0.0, 0.12), 0, 1, shapely.box(*BOUNDS))
    mesh = parts.mesh(palette, "kerb")
    corner = mesh.vertices[mesh.faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    probe = corner.mean(axis=1) + 0.05 * normal
    assert shapely.contains_xy(low, probe[:, 0], probe[:, 1]).all()
    total = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1).sum() / 2
    assert total == pytest.approx((60 + 10) * 0.12, rel=1e-6)
