"""PLY: a labelled tile typed by hand after the SUM-Helsinki description, binary twins, trimesh as the oracle."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from rsnb.data import MeshWarning, read_ply
from rsnb.errors import InputError

# Two triangles of the unit square under the picture, one above with no texture (texnumber -1) and the label of the
# 2021 files for "unclassified"; face colours are those of the labels.
SUM = """\
ply
format ascii 1.0
comment TextureFile four one.png
comment TextureFile four two.png
element vertex 5
property double x
property double y
property double z
element face 3
property list uchar int vertex_indices
property list uchar float texcoord
property int texnumber
property int label
property uchar red
property uchar green
property uchar blue
end_header
0 0 0
1 0 0
1 1 0
0 1 0
0.5 0.5 2
3 0 1 2 6 0 0 1 0 1 1 0 3 255 255 0
3 0 2 3 6 0 0 1 1 0 1 1 1 170 85 0
3 0 1 4 6 0 0 0 0 0 0 -1 -1 0 0 0
"""


@pytest.fixture
def tile(tmp_path, four_pixels):
    four_pixels("four one.png")
    four_pixels("four two.png")
    path = tmp_path / "Tile_+1984_+2690.ply"
    path.write_text(SUM)
    return path


def test_golden(tile):
    mesh = read_ply(tile)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 4]]
    assert mesh.uv[1].tolist() == [[0, 0], [1, 1], [0, 1]]
    assert [mesh.materials[i].name for i in mesh.face_material] == ["four one.png", "four two.png", "colour 0 0 0"]
    names = {c.id: c.name for c in mesh.classes}
    assert [names[i] for i in mesh.face_class] == ["building", "terrain", "unclassified"]
    assert {c.name: c.rgb for c in mesh.classes}["boat"] == (0, 0, 153)


def test_texture_is_upright(tile, colour_towards):
    mesh = read_ply(tile)
    assert [colour_towards(mesh, c) for c in ((0, 1), (0, 0), (1, 0))] == [(255, 0, 0), (0, 0, 255), (255, 255, 255)]


def test_geometry_as_trimesh_reads_it(tile):
    import trimesh

    oracle = trimesh.load(tile, process=False, skip_materials=True)
    assert np.allclose(np.sort(oracle.triangles.reshape(3, -1)), np.sort(read_ply(tile).vertices[
        read_ply(tile).faces].reshape(3, -1)))


@pytest.mark.parametrize("order", ["<", ">"])
def test_binary_twin_is_the_same(tile, tmp_path, order):
    header, body = SUM.split("end_header\n")
    rows = [line.split() for line in body.splitlines()]
    data = b"".join(struct.pack(order + "3d", *map(float, r)) for r in rows[:5])
    for r in rows[5:]:
        data += struct.pack(order + "B3iB6f2i3B", 3, *map(int, r[1:4]), 6, *map(float, r[5:11]), *map(int, r[11:13]),
                            *map(int, r[13:16]))
    name = "binary_little_endian" if order == "<" else "binary_big_endian"
    path = tmp_path / "binary.ply"
    path.write_bytes((header.replace("ascii", name) + "end_header\n").encode() + data)
    one, two = read_ply(tile), read_ply(path)
    for key in ("vertices", "faces", "uv", "face_class", "face_material"):
        assert np.array_equal(getattr(one, key), getattr(two, key)), key


@pytest.mark.parametrize("binary", [False, True])
def test_polygons_of_different_sizes(tmp_path, binary):
    """A pentagon, a triangle without texture corners, a quad: rows of different lengths."""
    layout = "binary_little_endian" if binary else "ascii"
    header = (f"ply\nformat {layout} 1.0\nelement vertex 6\nproperty float x\nproperty float y\nproperty float z\n"
              "element face 3\nproperty list uchar int vertex_index\nproperty list uchar float texcoord\nend_header\n")
    points = [(0, 0, 0), (2, 0, 0), (2, 1, 0), (1, 2, 0), (0, 1, 0), (5, 5, 5)]
    faces = [((0, 1, 2, 3, 4), True), ((0, 1, 5), False), ((0, 1, 2, 4), True)]
    uv = {i: (p[0] / 2, p[1] / 2) for i, p in enumerate(points)}
    path = tmp_path / "p.ply"
    if binary:
        data = b"".join(struct.pack("<3f", *p) for p in points)
        for face, has in faces:
            flat = [c for i in face for c in uv[i]] if has else []
            data += struct.pack(f"<B{len(face)}iB{len(flat)}f", len(face), *face, len(flat), *flat)
        path.write_bytes(header.encode() + data)
    else:
        rows = [" ".join(map(str, p)) for p in points]
        for face, has in faces:
            flat = [c for i in face for c in uv[i]] if has else []
            rows.append(" ".join(map(str, [len(face), *face, len(flat), *flat])))
        path.write_text(header + "\n".join(rows) + "\n")
    mesh = read_ply(path)
    assert len(mesh.faces) == 3 + 1 + 2
    assert mesh.faces[3].tolist() == [0, 1, 5] and (mesh.uv[3] == 0).all()
    textured = np.array([0, 1, 2, 4, 5])
    assert np.allclose(mesh.uv[textured], mesh.vertices[mesh.faces[textured], :2] / 2)


def test_vertex_colours_and_vertex_texture_corners(tmp_path):
    path = tmp_path / "v.ply"
    path.write_text("ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
                    "property float s\nproperty float t\n"
                    "property uchar red\nproperty uchar green\nproperty uchar blue\n"
                    "element face 1\nproperty list uchar uint vertex_indices\nproperty uchar label\nend_header\n"
                    "0 0 0 0.25 0.75 1 2 3\n1 0 0 0 1 4 5 6\n0 1 0 1 1 7 8 9\n3 0 1 2 12\n")
    mesh = read_ply(path)
    assert mesh.vertex_rgb.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert mesh.uv[0].tolist() == [[0.25, 0.75], [0, 1], [1, 1]]
    assert mesh.materials[0].rgb == (1, 1, 1), "white: the vertex colours are the look"
    assert {c.id: c.name for c in mesh.classes}[12] == "label 12"


def test_missing_texture_is_a_warning(tile, tmp_path):
    (tmp_path / "four two.png").unlink()
    with pytest.warns(MeshWarning, match=r"1 of 2 textures are missing \(four two\.png\)"):
        mesh = read_ply(tile)
    assert mesh.materials[mesh.face_material[1]].rgb == (170 / 255, 85 / 255, 0)


# The header is 17 lines, so vertex 2 is line 20 and face 0 line 23.
@pytest.mark.parametrize(("change", "line", "word"), [
    (("3 0 1 2 6", "3 0 1 7 6"), 23, "vertex 7"),
    (("1 1 0\n", "1 nan 0\n"), 20, "finite"),
    (("1 1 0\n", "1 one 0\n"), 20, "no number"),
    (("3 0 1 4 6 0 0 0 0 0 0 -1 -1 0 0 0\n", ""), None, "ends in row 2"),
    (("element face 3", "element face three"), 9, "cannot be understood"),
    (("element face 3", "element face -3"), 9, "cannot be understood"),
    (("property double x", "property quad x"), 6, "cannot be understood"),
    (("3 0 1 2 6", "-3 0 1 2 6"), None, "a list of -3.0 items"),
    (("3 0 1 2 6", "3 0 1 2 inf"), None, "a list of inf items"),
    (("format ascii", "format text"), None, "unknown PLY format"),
    (("ply\n", "pl\n"), None, "no PLY file"),
    (("element vertex 5\nproperty double x", "element vertex 5\nproperty double w"), None, "no faces"),
])
def test_bad_files(tile, change, line, word):
    assert change[0] in SUM
    tile.write_text(SUM.replace(*change, 1))
    with pytest.raises(InputError) as caught:
        read_ply(tile)
    assert word in caught.value.what and caught.value.line == line and str(tile) in str(caught.value)


def test_binary_cut_short(tmp_path):
    path = tmp_path / "cut.ply"
    path.write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\nproperty float y\n"
                     b"property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
                     + struct.pack("<8f", *range(8)))
    with pytest.raises(InputError, match="promises 3 rows of `vertex`, the file ends in row 2"):
        read_ply(path)
