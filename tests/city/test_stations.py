from __future__ import annotations

import numpy as np
import pytest
import shapely

from rsnb.errors import InputError


def test_stations_stand_on_the_carriageway_at_their_height(district):
    d = district()
    s = d.street_path(16.0, height_m=2.2, lateral_m=1.4)
    assert len(s) > 150
    inside = shapely.contains_xy(d.layout.carriageway, *s.position[:, :2].T)
    assert inside.mean() > 0.99
    assert np.allclose(s.position[:, 2] - d.terrain(*s.position[:, :2].T), 2.2)
    assert 0.1 < s.is_junction.mean() < 0.7


def test_neighbours_are_spacing_apart_along_their_heading(district):
    s = district().street_path(16.0)
    same = s.street[1:] == s.street[:-1]
    step = (s.position[1:, :2] - s.position[:-1, :2])[same]
    along = np.stack([np.sin(s.heading), np.cos(s.heading)], axis=1)[:-1][same]
    assert np.allclose(step, 16.0 * along, atol=1e-6)


def test_half_a_spacing_later_is_midway(district):
    d = district()
    a, b = d.street_path(16.0), d.street_path(16.0, start_m=8.0)
    street = np.unique(a.street)[0]
    p, q = a.position[a.street == street, :2], b.position[b.street == street, :2]
    n = min(len(p) - 1, len(q))
    assert np.allclose(q[:n], (p[:n] + p[1:n + 1]) / 2)


def test_lateral_is_to_the_right(district):
    d = district()
    a, b = d.street_path(30.0), d.street_path(30.0, lateral_m=2.0)
    right = np.stack([np.cos(a.heading), -np.sin(a.heading)], axis=1)
    assert np.allclose(b.position[:, :2] - a.position[:, :2], 2.0 * right)


def test_junctions_are_where_streets_cross(district):
    d = district()
    s = d.street_path(4.0)
    nodes = d.streets.nodes[d.streets.degree >= 3]
    gap = np.linalg.norm(s.position[:, None, :2] - nodes[None], axis=2).min(axis=1)
    assert s.is_junction[gap < 3.0].all()
    assert not s.is_junction[gap > 30.0].any()


def test_a_spacing_of_nothing_is_refused(district):
    with pytest.raises(InputError, match="spacing_m"):
        district().street_path(0.0)
