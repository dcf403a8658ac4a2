"""The OBJ writer is judged by trimesh, an independent reader, and by its own text."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from rsnb.errors import InputError
from rsnb.products import write_obj
from rsnb.scenes import Material, SemanticClass, TexturedMesh


def quad() -> TexturedMesh:
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[0] = (255, 0, 0)  # top row red
    return TexturedMesh(
        vertices=np.array([[6000.0, 4500, 1], [6002, 4500, 1], [6002, 4503.125, 1], [6000, 4503.125, 1]]),
        faces=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        uv=np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], np.float32),
        face_material=np.array([0, 1], np.int32),
        materials=(Material("pictured", texture=picture), Material("plain", (0.5, 0.25, 0.125))),
        face_class=np.array([2, 0], np.int32),
        classes=(SemanticClass(2, "road", (1, 2, 3)),),
        name="Tile_+1984_+2690",
    )


def test_trimesh_reads_the_same_triangles_and_the_texture_the_right_way_up(tmp_path):
    path = write_obj(tmp_path, quad(), texture_format="png")
    scene = trimesh.load_scene(path)
    parts = {tuple(np.round(g.vertices.mean(axis=0), 4)): g for g in scene.geometry.values()}
    assert sorted(len(g.faces) for g in parts.values()) == [1, 1]
    assert sum(g.area for g in parts.values()) == 2 * 3.125
    textured = next(g for g in parts.values() if getattr(g.visual.material, "image", None) is not None)
    assert np.asarray(textured.visual.material.image)[0, 0].tolist()[:3] == [255, 0, 0]
    north = textured.visual.uv[textured.vertices[:, 1] > 4502]
    assert (north[:, 1] == 1).all()  # v = 1, the top row of the picture, lies in the north


def test_the_text_names_classes_and_colours(tmp_path):
    path = write_obj(tmp_path, quad(), name="tile")
    text = path.read_text()
    assert "# class 2 road 1 2 3\n" in text
    assert "mtllib tile.mtl" in text and "g class_road\nusemtl pictured" in text
    assert "g class_none\nusemtl plain" in text
    assert "Kd 0.5 0.25 0.125" in (tmp_path / "tile.mtl").read_text()


def test_a_texture_shared_by_tinted_materials_is_written_once(tmp_path):
    mesh = quad()
    texture = mesh.materials[0].texture
    tinted = replace(mesh, materials=(Material("a", texture=texture), Material("b", (0.5, 0.6, 0.7), texture)))
    text = write_obj(tmp_path, tinted, name="tile").with_suffix(".mtl").read_text()
    assert len(list(tmp_path.glob("*.jpg"))) == 1 and text.count("map_Kd tile_0.jpg") == 2 and "Kd 0.5 0.6 0.7" in text


def test_materials_of_one_name_are_refused(tmp_path):
    mesh = quad()
    with pytest.raises(InputError, match="one name"):
        write_obj(tmp_path, replace(mesh, materials=(mesh.materials[0], replace(mesh.materials[1], name="pictured"))))
