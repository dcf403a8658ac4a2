from __future__ import annotations

import hashlib

import numpy as np
import pytest
import shapely

from rsnb.city import CLASSES, CityOptions, build_district
from rsnb.city.options import BUILDING, CAR, GRASS, LANE_MARKING, PAVEMENT, ROAD, TREE, WATER
from rsnb.errors import InputError

INDICES = [(0, 0), (1, 0), (0, 3)]


def digest(mesh) -> str:
    h = hashlib.sha256()
    for array in (mesh.vertices, mesh.faces, mesh.uv, mesh.face_material, mesh.face_class, mesh.face_object):
        h.update(np.ascontiguousarray(array).tobytes())
    for m in mesh.materials:
        h.update(repr((m.name, m.rgb)).encode())
        if m.texture is not None:
            h.update(m.texture.tobytes())
    return h.hexdigest()


@pytest.mark.parametrize("index", INDICES)
def test_every_class_covers_half_a_percent_of_the_map(district, index):
    labels = district(index).semantic_map(0.5)
    assert labels.shape == (1000, 1000) and (labels > 0).all()
    share = {c.name: float((labels == c.id).mean()) for c in CLASSES}
    assert min(share.values()) > 0.005, share


@pytest.mark.parametrize("index", INDICES)
def test_size_of_the_mesh_and_of_its_textures(district, index):
    mesh = district(index).mesh
    assert 200_000 <= len(mesh.faces) < 450_000
    textures = {id(m.texture): m.texture for m in mesh.materials if m.texture is not None}.values()
    assert all(t.dtype == np.uint8 and t.shape[0] <= 512 and t.shape[1] <= 1024 for t in textures)
    assert sum(t.nbytes for t in textures) < 60e6
    assert mesh.vertices.dtype == np.float64 and mesh.uv.dtype == np.float32
    assert len({m.name for m in mesh.materials}) == len(mesh.materials)


@pytest.mark.parametrize("index", INDICES)
def test_no_face_is_degenerate_and_flat_ground_looks_up(district, index):
    mesh = district(index).mesh
    corner = mesh.vertices[mesh.faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.linalg.norm(normal, axis=1) / 2
    assert area.min() > 1e-6
    ground = np.isin(mesh.face_class, (WATER, ROAD, LANE_MARKING))
    assert (normal[ground, 2] / area[ground] / 2 > 0.9).all()


def test_same_seed_same_bytes_other_seed_other_city(district):
    first = district((0, 0), "twin")
    again = build_district(CityOptions(seed=7), (0, 0), "twin")
    assert digest(first.mesh) == digest(again.mesh)
    assert digest(first.mesh) != digest(district((0, 0), "twin", seed=8).mesh)


def test_another_seed_keeps_the_promises(district):
    d = district((0, 0), "twin", seed=8)
    labels = d.semantic_map(1.0)
    for c in CLASSES:
        if c.id != CAR:  # a twin has none
            assert (labels == c.id).mean() > 0.005, c.name
    assert len(d.trees) >= 500


def test_the_twin_is_the_same_city_without_small_things(district):
    full, twin = district(), district((0, 0), "twin")
    assert [b.footprint.wkb for b in full.buildings] == [b.footprint.wkb for b in twin.buildings]
    assert np.array_equal(full.trees.xy, twin.trees.xy)
    assert not (twin.mesh.face_class == CAR).any() and len(twin.cars) == 0
    assert len(twin.mesh.faces) < 0.5 * len(full.mesh.faces)
    same = (full.semantic_map(2.0) == twin.semantic_map(2.0)).mean()
    assert same > 0.9


def test_roads_have_the_terrains_height_pavements_a_kerb_more_water_less(district):
    d = district()
    labels, heights = d.semantic_map(1.0), d.dsm(1.0)
    x = d.bounds[0] + 0.5 + np.arange(500)
    y = d.bounds[3] - 0.5 - np.arange(500)
    bare = d.terrain(*np.meshgrid(x, y))
    for name, lift in ((ROAD, 0.0), (LANE_MARKING, 0.0), (WATER, -1.3)):
        assert np.abs(heights - bare - lift)[labels == name].max() < 2e-3
    # Hedges are grass, lamps and parapets are pavement: nearly all of both is ground.
    for name in (PAVEMENT, GRASS):
        assert (np.abs(heights - bare - 0.12)[labels == name] < 2e-3).mean() > 0.95
    assert (heights - bare)[labels == BUILDING].min() > 1.0


def test_the_first_row_of_a_map_is_the_north(district):
    d = district()
    labels = d.semantic_map(1.0)
    x0, _, _, y1 = d.bounds
    water = shapely.difference(d.layout.water, d.layout.corridor).buffer(-2.0)
    wet = np.argwhere(labels == WATER)
    xy = np.column_stack([x0 + wet[:, 1] + 0.5, y1 - wet[:, 0] - 0.5])
    assert shapely.contains_xy(d.layout.water, *xy.T).mean() > 0.999
    assert shapely.area(water) > 0


def test_instances_are_shared_by_no_two_classes(district):
    mesh = district().mesh
    for a, b in ((BUILDING, TREE), (TREE, CAR), (BUILDING, CAR)):
        ids = [set(np.unique(mesh.face_object[mesh.face_class == c])) for c in (a, b)]
        assert not ids[0] & ids[1] and 0 not in ids[0] | ids[1]
    assert len(district().buildings) == len(np.unique(mesh.face_object[mesh.face_class == BUILDING]))


def test_belts_make_neighbours_meet():
    west = build_district(CityOptions(), (2, 0), "twin", belt=True)
    assert west.bounds == (7075.0, 4475.0, 7625.0, 5025.0)
    labels = west.semantic_map(2.0)
    assert (labels > 0).all()
    assert (labels[:, -3:] == ROAD).mean() > 0.5  # the boulevard runs along the border


def test_outside_the_district_there_is_no_height(district):
    d = district((0, 0), "twin")
    assert np.isnan(d.height(d.bounds[0] - 50, d.bounds[1]))


@pytest.mark.parametrize("arguments, what", [(((9, 0),), "district"), (((0, 0), "low"), "detail")])
def test_wrong_arguments_are_refused(arguments, what):
    with pytest.raises(InputError, match=what):
        build_district(CityOptions(), *arguments)


@pytest.mark.parametrize("index", [(0, 0), (1, 0), (0, 3)])
def test_a_district_shows_at_least_twelve_facade_designs(district, index):
    assert len({building.facade for building in district(index).buildings}) >= 12
