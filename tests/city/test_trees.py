from __future__ import annotations

import numpy as np
import pytest
import shapely
from scipy.spatial import cKDTree

from rsnb.city.options import TREE
from rsnb.city.trees import SPECIES, _ball, _shape, scatter, thin


def test_ball_is_closed_and_faces_outwards():
    vertices, faces = _ball(1)
    corner = vertices[faces]
    volume = np.einsum("ij,ij->i", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])).sum() / 6
    assert len(faces) == 80 and 3.5 < volume < 4 * np.pi / 3
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


@pytest.mark.parametrize("species", SPECIES)
def test_a_tree_is_about_one_unit_high_and_light_enough(species):
    for detail, low, high in (("full", 100, 260), ("twin", 20, 40)):
        vertices, faces, uv, trunk = _shape(species, 0, detail)
        assert low <= len(faces) <= high
        assert 0.85 < vertices[:, 2].max() < 1.15 and vertices[:, 2].min() > -0.06
        assert uv.shape == (len(faces), 3, 2) and 0 < trunk.sum() <= 10


def test_scattered_points_keep_their_distance_and_their_area():
    area = shapely.box(0, 0, 60, 40) - shapely.Point(30, 20).buffer(10)
    points = scatter(area, 4.0, np.random.default_rng(3), 1000)
    assert cKDTree(points).query(points, k=2)[0][:, 1].min() >= 4.0
    assert shapely.contains_xy(area, *points.T).all() and len(points) > 70
    assert len(thin(np.array([(0.0, 0.0), (1.0, 0.0), (3.0, 0.0)]), 2.5)) == 2


@pytest.mark.parametrize("index", [(0, 0), (1, 0), (0, 3)])
def test_five_hundred_trees_stand_with_their_feet_on_the_ground(district, index):
    d = district(index)
    assert len(d.trees) >= 500
    mesh = d.mesh
    assert set(np.unique(mesh.face_object[mesh.face_class == TREE])) == set(d.trees.object_id)
    used = mesh.faces[mesh.face_class == TREE]
    foot = np.full(mesh.face_object.max() + 1, np.inf)
    np.minimum.at(foot, np.repeat(mesh.face_object[mesh.face_class == TREE], 3), mesh.vertices[used.ravel(), 2])
    above = foot[d.trees.object_id] - d.terrain(*d.trees.xy.T)
    assert (above < 0.12).all() and (above > -0.6).all()
