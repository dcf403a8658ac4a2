"""CityJSON: a house typed by hand, counts by plain json of the real files, and what can be wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rsnb.data import MeshWarning, ReadOptions, read_cityjson
from rsnb.errors import InputError
from rsnb.scenes import Georeference

SCALE, TRANSLATE = 0.001, [90_000.0, 435_000.0, 0.0]


def house(version="2.0"):
    """A box of 4 x 3 x 2 m with a hole in its floor, in millimetres; a wall in a texture, a roof with a material."""
    mm = [[x * 1000, y * 1000, z * 1000] for z in (0, 2) for x, y in ((0, 0), (4, 0), (4, 3), (0, 3))]
    mm += [[1000, 1000, 0], [1000, 2000, 0], [2000, 2000, 0], [2000, 1000, 0]]
    shell = [
        [[0, 3, 2, 1], [8, 11, 10, 9]],  # floor with a hole
        [[4, 5, 6, 7]],  # roof
        [[0, 1, 5, 4]], [[1, 2, 6, 5]], [[2, 3, 7, 6]], [[3, 0, 4, 7]],
    ]
    return {
        "type": "CityJSON", "version": version,
        "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/28992"},
        "transform": {"scale": [SCALE] * 3, "translate": TRANSLATE},
        "vertices": mm,
        "appearance": {
            "textures": [{"type": "PNG", "image": "gone.png"}, {"type": "PNG", "image": "four.png"}],
            "vertices-texture": [[0, 0], [1, 0], [1, 1], [0, 1]],
            "materials": [{"name": "tiles", "diffuseColor": [0.5, 0.25, 0.125]}],
        },
        "CityObjects": {
            "house": {"type": "Building", "children": ["part"], "geometry": [
                {"type": "MultiSurface", "lod": "0", "boundaries": [[[0, 1, 2, 3]]]}]},
            "part": {"type": "BuildingPart", "parents": ["house"], "geometry": [
                {"type": "MultiSurface", "lod": "1.2", "boundaries": [[[0, 1, 2, 3]], [[4, 5, 6, 7]]]},
                {"type": "Solid", "lod": "2.2", "boundaries": [shell],
                 "semantics": {"surfaces": [{"type": "GroundSurface"}, {"type": "RoofSurface"},
                                            {"type": "WallSurface"}, {"type": "+Extra"}],
                               "values": [[0, 1, 2, 2, None, 3]]},
                 "texture": {"summer": {"values": [[[[None]], [[None]], [[1, 0, 1, 2, 3]], [[0, 0, 1, 2, 3]],
                                                    [[None]], [[None]]]]}},
                 "material": {"paint": {"values": [[None, 0, None, 0, None, None]]}}}]},
            "shed": {"type": "Building", "geometry": [
                {"type": "CompositeSurface", "lod": 2, "boundaries": [[[0, 1, 2]], [[0, 0, 1]]]}]},
        },
    }


def write(tmp_path, document, name="house.city.json"):
    path = tmp_path / name
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def mesh(tmp_path, four_pixels):
    four_pixels()
    with pytest.warns(MeshWarning, match=r"1 of 2 textures are missing \(gone\.png\).*1 polygons without an area"):
        return read_cityjson(write(tmp_path, house()))


def area_of(mesh, keep):
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces[keep]], 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


def test_areas_by_class(mesh):
    ids = {c.name: c.id for c in mesh.classes}
    part = mesh.face_object == 1
    assert area_of(mesh, part & (mesh.face_class == ids["ground"])) == pytest.approx(12 - 1)
    assert area_of(mesh, part & (mesh.face_class == ids["roof"])) == pytest.approx(12)
    assert area_of(mesh, part & (mesh.face_class == ids["wall"])) == pytest.approx(8 + 6)
    # the surface without a class and the one of an unknown extension are plain building
    assert area_of(mesh, part & (mesh.face_class == ids["building"])) == pytest.approx(8 + 6)
    assert area_of(mesh, mesh.face_object == 2) == pytest.approx(6)
    assert mesh.face_object.max() == 2, "a part belongs to its building"


def test_place(mesh):
    assert mesh.georeference.crs == "EPSG:28992"
    world = mesh.vertices + mesh.georeference.origin
    assert np.allclose(world.min(axis=0), TRANSLATE) and np.allclose(np.ptp(world, axis=0), [4, 3, 2])
    assert np.abs(mesh.vertices).max() < 110


def test_outside_is_outside(mesh):
    solid = mesh.face_object == 1
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces[solid]], 1, 0)
    normal = np.cross(b - a, c - a)
    middle = np.array([2, 1.5, 1]) + TRANSLATE - mesh.georeference.origin
    assert ((normal * (a - middle)).sum(axis=1) > 0).all()


def test_looks(mesh):
    a = mesh.vertices[mesh.faces] + mesh.georeference.origin - TRANSLATE
    south = (mesh.face_object == 1) & (np.abs(a[:, :, 1]).max(axis=1) < 1e-9)
    assert {mesh.materials[i].name for i in mesh.face_material[south]} == {"four.png"}
    # texture corners (0 0) (1 0) (1 1) (0 1) of the ring 0 1 5 4: u = x / 4, v = z / 2, v up
    assert np.allclose(mesh.uv[south], a[south][:, :, [0, 2]] / [4, 2], atol=1e-6)
    east = (mesh.face_object == 1) & (np.abs(a[:, :, 0] - 4).max(axis=1) < 1e-9)
    assert {mesh.materials[i].rgb for i in mesh.face_material[east]} == {(0.5, 0.25, 0.125)}, "missing: its material"


@pytest.mark.parametrize(("lod", "area"), [("0", 12), ("1", 24), ("1.2", 24), ("2.2", 51)])
def test_level_of_detail(tmp_path, four_pixels, lod, area):
    document = house()
    del document["CityObjects"]["shed"]
    for g in document["CityObjects"]["part"]["geometry"]:
        g.pop("texture", None)
    mesh = read_cityjson(write(tmp_path, document), options=ReadOptions(lod=lod))
    assert area_of(mesh, slice(None)) == pytest.approx(area)  # 51 = floor 11 + roof 12 + walls 28


def test_level_of_detail_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"no level of detail 3.*The file has 0, 1\.2, 2, 2\.2"):
        read_cityjson(write(tmp_path, house()), options=ReadOptions(lod="3"))


def test_other_theme_leaves_the_texture_out(tmp_path, four_pixels):
    four_pixels()
    with pytest.warns(MeshWarning):
        mesh = read_cityjson(write(tmp_path, house()), options=ReadOptions(theme="winter"))
    assert all(m.texture is None for m in mesh.materials)


def test_version_1_0_multisolid_and_crs_argument(tmp_path):
    document = house("1.0")
    document["metadata"] = {}
    part = document["CityObjects"]["part"]["geometry"][1]
    shell = part["boundaries"][0]
    document["CityObjects"] = {"a": {"type": "Bridge", "geometry": [
        {"type": "MultiSolid", "lod": 2, "boundaries": [[shell], [shell]],
         "semantics": {"surfaces": [{"type": "RoofSurface"}], "values": [[[0] * 6], None]},
         "material": {"": {"value": 0}}}]}}
    mesh = read_cityjson(write(tmp_path, document), Georeference("EPSG:7415"))
    names = {c.id: c.name for c in mesh.classes}
    assert [names[i] for i in np.unique(mesh.face_class)] == ["roof", "bridge"]
    assert mesh.georeference.crs == "EPSG:7415" and area_of(mesh, slice(None)) == pytest.approx(2 * 51)
    assert {m.name for m in mesh.materials} == {"tiles"}


def test_templates(tmp_path):
    document = house()
    matrix = [0, -2, 0, 10, 2, 0, 0, 20, 0, 0, 3, 30, 0, 0, 0, 1]  # a quarter turn, scaled 2 2 3, shifted
    document["geometry-templates"] = {
        "templates": [{"type": "MultiSurface", "lod": "2", "boundaries": [[[0, 1, 2]]]}],
        "vertices-templates": [[0, 0, 0], [1, 0, 0], [0, 0, 1]]}
    document["CityObjects"] = {"tree": {"type": "SolitaryVegetationObject", "geometry": [
        {"type": "GeometryInstance", "template": 0, "boundaries": [6], "transformationMatrix": matrix}]}}
    mesh = read_cityjson(write(tmp_path, document))
    world = mesh.vertices + mesh.georeference.origin - TRANSLATE
    # anchor = vertex 6 = (4, 3, 2): (0 0 0) -> (10 20 30); (1 0 0) -> (10 22 30); (0 0 1) -> (10 20 33)
    assert np.allclose(world, np.array([[14, 23, 32], [14, 25, 32], [14, 23, 35]]), atol=1e-6)
    assert mesh.classes[mesh.face_class[0]].name == "vegetation"


def test_sequence_of_features(tmp_path):
    head = {"type": "CityJSON", "version": "2.0", "transform": {"scale": [1, 1, 1], "translate": [100, 0, 0]},
            "CityObjects": {}, "vertices": []}
    lines = [head] + [{"type": "CityJSONFeature", "id": k, "vertices": [[i, 0, 0], [i + 1, 0, 0], [i, 1, 0]],
                       "CityObjects": {k: {"type": "Road", "geometry": [
                           {"type": "MultiSurface", "lod": "1", "boundaries": [[[0, 1, 2]]]}]}}}
                      for i, k in enumerate("ab")]
    path = tmp_path / "tile.city.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    mesh = read_cityjson(path)
    assert mesh.vertices[:, 0].tolist() == [100, 101, 100, 101, 102, 101] and mesh.face_object.tolist() == [1, 2]


@pytest.mark.parametrize(("change", "word"), [
    (lambda d: d.update(type="FeatureCollection"), "not \"CityJSON\""),
    (lambda d: d["CityObjects"]["shed"]["geometry"][0].update(boundaries=[[[0, 1, 99]]]), "names vertex 99"),
    (lambda d: d["CityObjects"]["shed"]["geometry"][0].update(boundaries=[[[0, 1, -1]]]), "names vertex -1"),
    (lambda d: d["vertices"].__setitem__(3, [0, float("nan"), 0]), "vertex 3 "),
    (lambda d: d.update(CityObjects={}), "no polygons"),
    (lambda d: d["appearance"].pop("materials"), "cannot be followed"),
    (lambda d: d["vertices"].__setitem__(3, [0, 1]), "not built as CityJSON is"),
    (lambda d: d["transform"].pop("scale"), "not built as CityJSON is"),
])
def test_bad_files(tmp_path, four_pixels, change, word):
    four_pixels()
    document = house()
    change(document)
    path = write(tmp_path, document)
    with pytest.raises(InputError, match=word) as caught:
        read_cityjson(path)
    assert str(path) in str(caught.value) and caught.value.mend


def test_cut_file_names_the_line(tmp_path):
    path = tmp_path / "cut.json"
    path.write_text(json.dumps(house(), indent=1)[:400])
    with pytest.raises(InputError, match="this is no JSON") as caught:
        read_cityjson(path)
    assert caught.value.line > 5


def triangles_of(node):
    """Triangles of all surfaces below, by plain recursion: n corners and h holes give n + 2 h - 2."""
    if isinstance(node[0], list) and isinstance(node[0][0], int):
        return sum(len(ring) for ring in node) + 2 * (len(node) - 1) - 2
    return sum(triangles_of(child) for child in node)


@pytest.mark.filterwarnings("ignore::rsnb.data.MeshWarning")
@pytest.mark.parametrize(("name", "crs", "degenerate"), [
    ("rotterdam/rotterdam_one.json", "EPSG:7415", 1), ("rotterdam/rotterdam_subset.json", None, 12),
    ("zurich_subset_lod2.json", "EPSG:2056", 0), ("DH_01_subs.city.json", None, 0)])
def test_real(real, name, crs, degenerate):
    path = real(f"nb2_city_mesh/cityjson/{name}")
    document = json.loads(path.read_text())
    mesh = read_cityjson(path)
    assert mesh.georeference.crs == crs
    whole = sum(triangles_of(g["boundaries"]) for o in document["CityObjects"].values() for g in o.get("geometry", []))
    assert whole - 3 * degenerate - 12 <= len(mesh.faces) <= whole
    extent = (document.get("metadata") or {}).get("geographicalExtent")
    if extent and "zurich" not in name:
        world = mesh.bounds + mesh.georeference.origin
        assert np.allclose(world.reshape(-1), extent, atol=0.01)
    roots = [k for k, o in document["CityObjects"].items() if not o.get("parents")]
    assert mesh.face_object.max() <= len(roots)


@pytest.mark.filterwarnings("ignore::rsnb.data.MeshWarning")
def test_rotterdam_roof_pixels_are_square(real):
    """The atlas holds aerial pictures: metres per texture pixel are the same along both axes (7.3 cm)."""
    mesh = read_cityjson(real("nb2_city_mesh/cityjson/rotterdam/rotterdam_one.json"))
    textured = [i for i, m in enumerate(mesh.materials) if m.texture is not None]
    assert [mesh.materials[i].texture.shape for i in textured] == [(1024, 1024, 3)]
    for face in np.flatnonzero(mesh.face_material == textured[0]):
        points, uv = mesh.vertices[mesh.faces[face]], mesh.uv[face].astype(float) * 1024
        scale = np.linalg.svd(np.diff(points, axis=0).T @ np.linalg.inv(np.diff(uv, axis=0).T))[1]
        assert scale == pytest.approx([0.0733, 0.0733], abs=0.001)
        assert np.linalg.det(np.diff(uv, axis=0)) > 0, "not mirrored: v up, counter-clockwise from above"


@pytest.mark.filterwarnings("ignore::rsnb.data.MeshWarning")
def test_default_theme_comes_first(tmp_path, four_pixels):
    four_pixels()
    document = house()
    geometry = document["CityObjects"]["part"]["geometry"][1]
    geometry["material"] = {"a": {"value": 0}, "b": {"value": 1}}
    del geometry["texture"]
    document["appearance"]["materials"].append({"name": "slate", "diffuseColor": [0.1, 0.1, 0.1]})
    assert "tiles" in {m.name for m in read_cityjson(write(tmp_path, document)).materials}
    document["appearance"]["default-theme-material"] = "b"
    names = {m.name for m in read_cityjson(write(tmp_path, document)).materials}
    assert "slate" in names and "tiles" not in names
