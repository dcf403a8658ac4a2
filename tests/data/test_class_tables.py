"""Class names of the formats, and tables made one."""

from __future__ import annotations

import numpy as np
import pytest

from rsnb.data.meshes.class_tables import CITY_SURFACES, SUM_HELSINKI, complete_table, surface_class, unify_tables
from rsnb.scenes import SemanticClass


def test_sum_helsinki_as_published():
    assert [(c.id, c.name, c.rgb) for c in SUM_HELSINKI] == [
        (0, "unclassified", (0, 0, 0)), (1, "terrain", (170, 85, 0)), (2, "high vegetation", (0, 255, 0)),
        (3, "building", (255, 255, 0)), (4, "water", (0, 255, 255)), (5, "car", (255, 0, 255)),
        (6, "boat", (0, 0, 153))]


@pytest.mark.parametrize(("name", "expected"), [
    ("WallSurface", "wall"), ("RoofSurface", "roof"), ("GroundSurface", "ground"), ("Window", "window"),
    ("WindowSurface", "window"), ("Door", "door"), ("DoorSurface", "door"), ("BuildingInstallation", "installation"),
    ("OuterCeilingSurface", "outer ceiling"), ("OuterFloorSurface", "outer floor"), ("ClosureSurface", "closure"),
    ("InteriorWallSurface", "interior"), ("BuildingPart", "building"), ("TINRelief", "terrain"),
    ("TrafficArea", "road"), ("SolitaryVegetationObject", "vegetation"), ("WaterSurface", "water"),
    ("wall_3", "wall"), ("Roof.001", "roof"),
    ("cityObjectMember", None), ("LinearRing", None), ("surface", None), ("", None),
])
def test_names(name, expected):
    ids = {c.name: c.id for c in CITY_SURFACES}
    assert surface_class(name) == (0 if expected is None else ids[expected])


def test_ids_and_colours_are_unique():
    assert [c.id for c in CITY_SURFACES] == list(range(len(CITY_SURFACES)))
    assert len({c.rgb for c in CITY_SURFACES}) == len(CITY_SURFACES)


def test_unknown_labels_get_a_row():
    table = complete_table(SUM_HELSINKI, np.array([0, 3, 12, 9]))
    assert [c.name for c in table[7:]] == ["label 9", "label 12"] and table[7].rgb != table[8].rgb


def test_unified_ids_never_collide():
    tables = [SUM_HELSINKI, CITY_SURFACES, [SemanticClass(22, "kiosk", (1, 2, 3)), SemanticClass(1, "roof", (0, 0, 1))]]
    merged, maps = unify_tables(tables)
    assert len({c.id for c in merged}) == len({c.name for c in merged}) == len(merged)
    names = {c.id: c.name for c in merged}
    for table, mapping in zip(tables, maps, strict=True):
        assert all(names[mapping[c.id]] == c.name for c in table)
    assert all(names[c.id] == c.name for c in SUM_HELSINKI), "the first table keeps its numbers"
