"""glTF typed by hand: axes, texture direction, node transforms, colours; a GLB by trimesh's writer."""

from __future__ import annotations

import base64
import json
import struct

import numpy as np
import pytest

from rsnb.data import MeshWarning, ReadOptions, read_gltf, read_mesh
from rsnb.errors import InputError
from rsnb.scenes import Georeference


def document(tmp_path, **nodes):
    """A square in glTF's xy plane, standing up: corners (0 0) (1 0) (1 1) (0 1), texture coordinates v DOWN."""
    points = struct.pack("<12f", 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0)
    corners = struct.pack("<8f", 0, 1, 1, 1, 1, 0, 0, 0)  # glTF: v = 0 is the top of the picture
    index = struct.pack("<6H", 0, 1, 2, 0, 2, 3)
    uri = "data:application/octet-stream;base64," + base64.b64encode(points + corners + index).decode()
    gltf = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "facade", "mesh": 0, **nodes}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [{"name": "picture", "pbrMetallicRoughness": {
            "baseColorTexture": {"index": 0}, "baseColorFactor": [1.0, 0.5, 0.25, 1.0]}}],
        "textures": [{"source": 0}], "images": [{"uri": "four.png"}],
        "buffers": [{"uri": uri, "byteLength": 92}],
        "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": 48}, {"buffer": 0, "byteOffset": 48,
                        "byteLength": 32}, {"buffer": 0, "byteOffset": 80, "byteLength": 12}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
            {"bufferView": 1, "componentType": 5126, "count": 4, "type": "VEC2"},
            {"bufferView": 2, "componentType": 5123, "count": 6, "type": "SCALAR"}],
    }
    path = tmp_path / "square.gltf"
    path.write_text(json.dumps(gltf))
    return path, gltf


def test_square_stands_up_in_z(tmp_path, four_pixels):
    four_pixels()
    mesh = read_gltf(document(tmp_path)[0])
    # glTF (x, y, z) with y up is (x, -z, y) with z up.
    assert sorted(map(tuple, mesh.vertices.tolist())) == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)]
    assert mesh.vertices[mesh.faces[0]].tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 1]]
    # Counter-clockwise for a viewer at +z of glTF, who is a viewer in the south here: the normal is -y.
    a, b, c = mesh.vertices[mesh.faces[0]]
    assert np.cross(b - a, c - a).tolist() == [0, -1, 0]


def test_texture_is_upright(tmp_path, four_pixels, colour_towards):
    four_pixels()
    mesh = read_gltf(document(tmp_path)[0], options=ReadOptions(up="z"))  # the square stays in the xy plane
    assert colour_towards(mesh, (0, 1)) == (255, 0, 0)
    assert colour_towards(mesh, (1, 0)) == (255, 255, 255)
    assert mesh.materials[0].rgb == pytest.approx((1.0, 0.5, 0.25), abs=0.005)
    assert [c.name for c in mesh.classes if c.id == mesh.face_class[0]] == ["wall"]  # the node is called "facade"


def test_node_transform_in_float64(tmp_path, four_pixels):
    four_pixels()
    # A quarter turn about glTF's y (up): x -> -z; with z up: east -> north. Then 25 496 056.25 m east.
    turn = [0, np.sqrt(0.5), 0, np.sqrt(0.5)]
    path, _ = document(tmp_path, rotation=turn, translation=[25_496_056.25, 11.0, -6_672_400.5], scale=[2, 1, 1])
    mesh = read_gltf(path, Georeference("EPSG:3879"))
    world = mesh.vertices + mesh.georeference.origin
    assert np.allclose(world[1] - world[0], [0, 2, 0], atol=1e-6)
    assert np.allclose(world[0], [25_496_056.25, 6_672_400.5, 11.0], atol=1e-6)


def test_mirrored_node_keeps_its_outside(tmp_path, four_pixels):
    four_pixels()
    mesh = read_gltf(document(tmp_path, scale=[-1, 1, 1])[0])
    a, b, c = mesh.vertices[mesh.faces[0]]
    assert np.cross(b - a, c - a).tolist() == [0, -1, 0]


def test_missing_image_is_a_warning(tmp_path):
    with pytest.warns(MeshWarning, match=r"1 of 1 textures are missing \(four\.png\)"):
        mesh = read_gltf(document(tmp_path)[0])
    # linear 0.5 is sRGB 0.735: 1.055 * 0.5 ** (1 / 2.4) - 0.055
    assert mesh.materials[0].texture is None and mesh.materials[0].rgb[1] == pytest.approx(0.7354, abs=0.005)


def test_glb_with_vertex_colours_written_by_trimesh(tmp_path):
    import trimesh

    colours = np.array([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]], np.uint8)
    written = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], vertex_colors=colours, process=False)
    path = tmp_path / "c.glb"
    trimesh.Scene({"roof_1": written}).export(path)
    mesh = read_mesh(path)
    assert mesh.vertex_rgb.tolist() == colours[:, :3].tolist() and mesh.materials[0].rgb == (1, 1, 1)
    assert [c.name for c in mesh.classes if c.id == mesh.face_class[0]] == ["roof"]


def test_missing_buffer_and_cut_files(tmp_path, four_pixels):
    four_pixels()
    path, gltf = document(tmp_path)
    gltf["buffers"][0]["uri"] = "gone.bin"
    path.write_text(json.dumps(gltf))
    with pytest.raises(InputError, match=r"square\.gltf: this glTF file cannot be read"):
        read_gltf(path)
    path.write_text(json.dumps(gltf)[:200])
    with pytest.raises(InputError, match="no glTF file"):
        read_gltf(path)
    (tmp_path / "cut.glb").write_bytes(b"glTF\x02\x00\x00\x00")
    with pytest.raises(InputError, match="no glTF file"):
        read_gltf(tmp_path / "cut.glb")


def test_packed_files_are_refused(tmp_path, four_pixels):
    four_pixels()
    path, gltf = document(tmp_path)
    path.write_text(json.dumps(gltf | {"extensionsRequired": ["KHR_draco_mesh_compression"]}))
    with pytest.raises(InputError, match="packed with KHR_draco_mesh_compression"):
        read_gltf(path)
