from __future__ import annotations

import numpy as np
import pytest
import shapely
from shapely import LineString

from rsnb.city.markings import lane_markings
from rsnb.city.streets import KINDS, StreetGraph, _graph


def test_two_streets_that_cross_become_four_edges():
    graph = _graph([LineString([(0, 0), (100, 0)]), LineString([(40, -50), (40, 50)])], ["street", "avenue"])
    assert len(graph.nodes) == 5 and len(graph.edges) == 4
    crossing = int(np.argmax(graph.degree))
    assert graph.degree[crossing] == 4 and np.allclose(graph.nodes[crossing], (40, 0))
    assert np.linalg.norm(graph.nodes[graph.edges[:, 1]] - graph.nodes[graph.edges[:, 0]], axis=1).sum() == \
        pytest.approx(200)


def test_setback_is_half_the_crossing_carriageway_and_its_kerb():
    graph = _graph([LineString([(0, 0), (100, 0)]), LineString([(40, -50), (40, 50)])], ["street", "avenue"])
    reach = graph.setback()
    for e, kind in enumerate(graph.kind):
        side = 0 if graph.degree[graph.edges[e, 0]] == 4 else 1
        other = KINDS["avenue" if kind == "street" else "street"].carriageway_m
        assert reach[e, side] == pytest.approx(other / 2 + 2.5)
        assert reach[e, 1 - side] == 0.0


def test_markings_of_one_street_by_hand():
    # 100 m of lane (5.6 m wide, no centre line) between two crossings: one zebra at each end, bars 0.5 x 3.4 m,
    # at -2.25, -1.25 ... 1.75 before centring: five bars.
    nodes = np.array([(0, 0), (100, 0), (0, 50), (0, -50), (100, 50), (100, -50)], float)
    edges = np.array([(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)])
    graph = StreetGraph(nodes, edges, ("lane",) * 5, np.array([0, 1, 1, 2, 2]))
    on_first = [m for m in lane_markings(graph) if abs(m.centroid.y) < 2.9 and 2.8 < m.centroid.x < 97.2]
    assert len(on_first) == 10
    assert sum(m.area for m in on_first) == pytest.approx(10 * 0.5 * 3.4)
    assert shapely.union_all(on_first).centroid.y == pytest.approx(0, abs=1e-9)


def test_paint_and_cars_lie_on_the_carriageway_and_nothing_else_does(district):
    d = district()
    layout = d.layout
    cars = shapely.points(d.cars[:, :2])
    shapely.prepare(layout.carriageway)
    assert shapely.contains(layout.carriageway, cars).all() and len(cars) > 200
    assert not shapely.dwithin(layout.carriageway, shapely.points(d.trees.xy), 0.6).any()
    footprints = shapely.union_all([b.footprint for b in d.buildings])
    assert footprints.intersection(layout.corridor).area < 0.5
    assert not shapely.contains_xy(footprints, *d.trees.xy.T).any()
    assert not shapely.contains_xy(layout.water - layout.corridor, *d.trees.xy.T).any()


def test_blocks_corridor_water_and_quays_tile_the_core(district):
    layout = district().layout
    parts = [*layout.blocks, layout.park]
    rest = layout.corridor | layout.quay | layout.water
    assert sum(p.area for p in parts) + (rest & layout.core).area == pytest.approx(250000, abs=60)
