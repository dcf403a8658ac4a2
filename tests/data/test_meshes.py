"""The one door: dispatch, folders, mergers; and what each format says to the same faults."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

from rsnb.data import MeshWarning, ReadOptions, merge_meshes, read_mesh
from rsnb.errors import InputError
from rsnb.scenes import Georeference, Material, SemanticClass, TexturedMesh

TRIANGLE = "v {0} 0 0\nv {1} 0 0\nv {0} 1 0\n{2}f 1 2 3\n"


def triangle(shift=(0.0, 0.0, 0.0), crs="EPSG:3879", classes=(), face_class=0, texture=None, **more):
    return TexturedMesh(
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]], np.int32), np.zeros((1, 3, 2), np.float32),
        np.zeros(1, np.int32), (Material("m", texture=texture),), np.array([face_class], np.int32), classes,
        georeference=Georeference(crs, shift), **more)


def test_merge_keeps_true_places_in_float64():
    """Two triangles 1/1024 m apart at EPSG:3879 coordinates, their origins 10 km apart."""
    a = triangle((25_490_000.0, 6_668_000.0, 0.0))
    b = triangle((25_500_000.0 + 1 / 1024, 6_668_000.0, 2.0))
    both = merge_meshes([a, b])
    assert both.georeference == Georeference("EPSG:3879", (25_490_000.0, 6_668_000.0, 0.0))
    assert both.vertices[3].tolist() == [10_000 + 1 / 1024, 0, 2] and both.faces.tolist() == [[0, 1, 2], [3, 4, 5]]
    moved = merge_meshes([a, b], origin=(25_495_000, 6_668_000, 0))
    assert moved.vertices[0].tolist() == [-5000, 0, 0] and moved.vertices[3, 0] == 5000 + 1 / 1024


def test_merge_unifies_classes_by_name():
    sum_like = (SemanticClass(0, "unclassified", (0, 0, 0)), SemanticClass(1, "terrain", (1, 1, 1)),
                SemanticClass(3, "building", (3, 3, 3)))
    other = (SemanticClass(1, "wall", (9, 9, 9)), SemanticClass(2, "terrain", (2, 2, 2)))
    both = merge_meshes([triangle(classes=sum_like, face_class=3), triangle(classes=other, face_class=1),
                         triangle(classes=other, face_class=2), triangle(face_class=0)])
    names = {c.id: c.name for c in both.classes}
    assert [names[i] for i in both.face_class] == ["building", "wall", "terrain", "unclassified"]
    assert names[1] == "terrain" and names[3] == "building", "the first table keeps its numbers"


def test_merge_shares_equal_materials_and_keeps_instances_apart():
    one, same, other = (np.full((2, 2, 3), v, np.uint8) for v in (7, 7, 8))
    both = merge_meshes([
        triangle(texture=one, face_object=np.array([2], np.int32)), triangle(texture=same),
        triangle(texture=other, face_object=np.array([1], np.int32))])
    assert len(both.materials) == 2 and both.face_material.tolist() == [0, 0, 1]
    assert both.face_object.tolist() == [2, 0, 3]


def test_merge_fills_vertex_colours_with_white():
    both = merge_meshes([triangle(vertex_rgb=np.full((3, 3), 5, np.uint8)), triangle()])
    assert both.vertex_rgb.tolist() == [[5] * 3] * 3 + [[255] * 3] * 3


def test_merge_refuses_other_places():
    with pytest.raises(InputError, match=r"different coordinate systems.*EPSG:3879, EPSG:25832"):
        merge_meshes([triangle(), triangle(crs="EPSG:25832"), triangle(crs=None)])
    with pytest.raises(InputError, match="no mesh to merge"):
        merge_meshes([])


@pytest.mark.parametrize("name", ["tile.OBJ", "tile.data"])
def test_dispatch_by_extension_or_content(tmp_path, name):
    (tmp_path / name).write_text("# a comment\n" + TRIANGLE.format(0, 1, ""))
    assert len(read_mesh(tmp_path / name).faces) == 1


def test_folder_of_tiles_with_one_warning(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.mtl").write_text(f"newmtl a\nmap_Kd gone{i}.jpg\n")
        (tmp_path / f"{i}.obj").write_text(TRIANGLE.format(i, i + 1, f"mtllib {i}.mtl\no b\nusemtl a\n"))
    (tmp_path / "notes.json").write_text('{"camera": 1}')
    with pytest.warns(MeshWarning) as caught:
        mesh = read_mesh(tmp_path, Georeference("EPSG:3879", (5.0, 0.0, 0.0)))
    assert len(caught) == 1 and "2 of 2 textures are missing (gone0.jpg, gone1.jpg)" in str(caught[0].message)
    assert mesh.vertices[:, 0].tolist() == [0, 1, 0, 1, 2, 1] and mesh.face_object.tolist() == [1, 2]
    assert mesh.georeference.origin == (5.0, 0.0, 0.0)


def test_folders_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="holds no mesh file"):
        read_mesh(tmp_path)
    (tmp_path / "a.obj").write_text(TRIANGLE.format(0, 1, ""))
    (tmp_path / "a.ply").write_text("ply\n")
    with pytest.raises(InputError, match=r"several formats \(1 obj, 1 ply\)"):
        read_mesh(tmp_path)


@pytest.mark.parametrize(("name", "content"), [
    ("a.txt", b"hello"), ("a.json", b"{}"), ("a.json", b"[1, 2]"), ("a.gml", b""), ("a.xml", b"<a/>"), ("a.obj", b""),
    ("a.ply", b""), ("a.glb", b""), ("a.gltf", b"{}"), ("a.jpg", bytes(range(256))),
])
def test_files_that_hold_no_mesh(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_mesh(path)
    assert str(path) in str(caught.value) and caught.value.mend and "\n" not in str(caught.value)


def test_missing_file():
    with pytest.raises(InputError, match=r"nowhere/tile\.obj: there is no such mesh file. There is no folder"):
        read_mesh("nowhere/tile.obj")


def test_unknown_crs(tmp_path):
    (tmp_path / "a.obj").write_text(TRIANGLE.format(0, 1, ""))
    with pytest.raises(InputError, match="unknown coordinate reference system 'EPSG:99999'"):
        read_mesh(tmp_path / "a.obj", Georeference("EPSG:99999"))


def test_readers_load_no_torch():
    code = "import sys, rsnb.data as d; [getattr(d, n) for n in d.__all__]; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_wrong_option():
    with pytest.raises(InputError, match="up is 'x'"):
        ReadOptions(up="x")
    for size in (0, -1):
        with pytest.raises(InputError, match=f"max_texture is {size}"):
            ReadOptions(max_texture=size)


@pytest.mark.filterwarnings("ignore::rsnb.data.MeshWarning")
def test_ingolstadt_stands_together(real):
    folder = real("nb2_city_mesh/ingolstadt_lod3")
    mesh = read_mesh(folder)
    assert np.ptp(mesh.bounds, axis=0) == pytest.approx([134.896, 283.287, 22.713], abs=0.01)
    assert mesh.face_object.max() == 11  # ten files; 4018209 holds two buildings
    one = read_mesh(folder / "4018264/4018264.xml")
    centre = one.bounds.mean(axis=0) + one.georeference.origin
    boxes = [mesh.vertices[mesh.faces[mesh.face_object == i]].reshape(-1, 3) for i in range(1, 12)]
    nearest = min(np.abs((b.min(0) + b.max(0)) / 2 + mesh.georeference.origin - centre).max() for b in boxes)
    assert nearest < 1e-6
    shared = [m.name for m in mesh.materials if m.name == "Roofing_Tile_Spanish.jpg"]
    assert len(shared) == 1, "four buildings bring the same picture"


@pytest.mark.filterwarnings("ignore::rsnb.data.MeshWarning")
def test_picture_that_is_none_in_a_real_model(real, tmp_path):
    source = real("nb2_city_mesh/ingolstadt_lod3/4018209")
    shutil.copytree(source, tmp_path / "b", copy_function=shutil.copyfile)
    (tmp_path / "b/textures/Wood 01.jpg").write_text("no picture")
    (tmp_path / "b/textures/Wood_Floor.jpg").unlink()
    with pytest.warns(MeshWarning, match=r"1 of 4 textures are missing.*1 textures are not pictures \(Wood 01\.jpg\)"):
        mesh = read_mesh(tmp_path / "b/4018209.xml")
    assert len(mesh.faces) == len(read_mesh(source / "4018209.xml").faces)
