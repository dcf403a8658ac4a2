from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import shapely

from rsnb.city.buildings import _quota
from rsnb.city.facades import BAYS, FACADES, facade_texture
from rsnb.city.options import BUILDING
from rsnb.city.roofs import ROOF_TYPES, rise, roof_faces

INDICES = [(0, 0), (1, 0), (0, 3)]


@pytest.mark.parametrize("index", INDICES)
def test_three_roof_types_over_fifteen_percent_and_varied_heights(district, index):
    buildings = district(index).buildings
    share = Counter(b.roof for b in buildings)
    assert sum(n / len(buildings) > 0.15 for n in share.values()) >= 3, share
    assert np.std([b.height_m for b in buildings]) >= 3.0
    assert max(b.height_m for b in buildings) > 35 and min(b.height_m for b in buildings) < 12


@pytest.mark.parametrize("index", INDICES)
def test_footprints_neither_overlap_nor_leave_the_core(district, index):
    d = district(index)
    shapes = np.array([b.footprint for b in d.buildings])
    assert shapely.is_valid(shapes).all()
    tree = shapely.STRtree(shapes)
    a, b = tree.query(shapes, predicate="intersects")
    overlap = shapely.area(shapely.intersection(shapes[a[a < b]], shapes[b[a < b]]))
    assert overlap.max(initial=0) < 0.5
    assert shapely.union_all(shapes).difference(d.layout.core).area < 0.1


def test_the_table_height_is_what_a_plumb_line_through_the_mesh_measures(district):
    d = district((0, 0), "twin")
    # A rectangle's centre lies under the ridge or apex of these roofs.
    rows = [b for b in d.buildings if len(b.footprint.exterior.coords) == 5 and
            b.roof in ("gable", "hip", "flat", "spire", "mansard")]
    centre = np.array([b.footprint.centroid.coords[0] for b in rows])
    expected = np.array([b.ground_m + b.height_m for b in rows])
    assert len(rows) > 100
    assert np.abs(d.height(*centre.T) - expected).max() < 2e-3


def test_ground_floors_are_above_all_ground_around_them(district):
    d = district()
    for b in d.buildings[::7]:
        ring = shapely.get_coordinates(b.footprint)
        assert d.terrain(*ring.T).max() < b.ground_m


def test_walls_and_roofs_face_outwards(district):
    # Volume by the divergence theorem, seen from a point in the plane of the wall feet: the missing floor adds nothing.
    d = district((0, 0), "twin")
    mesh = d.mesh
    for b in [b for b in d.buildings if b.roof == "flat" and len(b.footprint.exterior.coords) == 5][:12]:
        faces = mesh.faces[(mesh.face_object == b.object_id) & (mesh.face_class == BUILDING)]
        corner = mesh.vertices[faces]
        foot = corner[..., 2].min()
        corner = corner - (*b.footprint.centroid.coords[0], foot)
        volume = np.einsum("ij,ij->i", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])).sum() / 6
        assert volume == pytest.approx(b.footprint.area * (b.ground_m + b.height_m - foot), rel=1e-9)


def test_a_quota_is_kept_exactly():
    names = _quota(10, {"a": 0.5, "b": 0.3, "c": 0.2}, np.random.default_rng(0))
    assert Counter(names) == {"a": 5, "b": 3, "c": 2}
    assert len(_quota(7, {"a": 0.5, "b": 0.5}, np.random.default_rng(0))) == 7


@pytest.mark.parametrize("kind", ROOF_TYPES)
def test_roofs_cover_their_walls_and_look_up(kind):
    faces = [(np.asarray(c, float), what) for c, what in roof_faces(kind, 14.0, 10.0, 9.0, "twin")]
    plan = 0.0
    for corners, _ in faces:
        normal = sum(np.cross(corners[k] - corners[0], corners[k + 1] - corners[0]) for k in range(1, len(corners) - 1))
        assert normal[2] > -1e-9
        plan += normal[2] / 2
    assert plan == pytest.approx(140.0)  # upward faces, seen from above, are the rectangle
    if kind != "stepped":
        assert max(c[:, 2].max() for c, _ in faces) == pytest.approx(9.0 + rise(kind, 14.0, 10.0))


def test_a_gable_by_hand():
    # 10 m deep: ridge at half depth, 0.42 * 10 = 4.2 m above the walls.
    roof = [c for c, what in roof_faces("gable", 14.0, 10.0, 9.0, "twin") if what == "roof"]
    ridge = {tuple(p) for c in roof for p in c if p[2] > 13}
    assert ridge == {(0.0, 5.0, 13.2), (14.0, 5.0, 13.2)}


def test_there_are_at_least_twelve_facades_and_no_two_are_alike():
    pictures = [facade_texture(name, "upper") for name in FACADES]
    assert len(pictures) >= 12
    small = np.array([p[::16, ::16].astype(float) for p in pictures])
    for k in range(len(small)):
        for m in range(k):
            assert np.abs(small[k] - small[m]).mean() > 4.0
    assert all(p.shape[0] <= 512 and p.shape[1] <= 1024 and p.dtype == np.uint8 for p in pictures)


def test_facades_repeat_by_bays_without_cutting_a_window():
    # Between two bays there is wall: columns at bay borders vary far less than those through the windows.
    picture = facade_texture("brick_red", "upper").astype(float).mean(axis=2)
    bay = picture.shape[1] / BAYS
    border = picture[:, [round(k * bay) % picture.shape[1] for k in range(BAYS)]]
    window = picture[:, [round((k + 0.5) * bay) for k in range(BAYS)]]
    assert border.std(axis=0).max() < 0.6 * window.std(axis=0).min()
