"""Wavefront OBJ: a file typed by hand, trimesh as the oracle, the real Lyon files, and what can be wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rsnb.data import MeshWarning, ReadOptions, read_obj
from rsnb.errors import InputError
from rsnb.scenes import Georeference, SemanticClass

GOLDEN = """\
# a square of two materials, a roof above it
mtllib two words.mtl
o house 1
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
g ground
usemtl photo wall
f 1/1 2/2 3/3 4/4
g roof_12
usemtl paint
v 0 0 3
v 1 0 3
v 1 1 3
vt 0.5 0.25
f -3/-1 -2/-5 -1/-2
f 5/1/9 6/2/9 \\
7/3/9
o house 2
f 1//1 2//1 3//1
"""
LIBRARY = """\
newmtl photo wall
Ka 1 1 1
Kd 1.0 1.0 1.0
map_Kd -s 1 1 1 -bm 0.5 textures\\Four Pixels.PNG
newmtl paint
Kd 0.25 0.5 0.75
"""


@pytest.fixture
def golden(tmp_path, four_pixels):
    four_pixels("textures/four pixels.png")  # the library writes it in capitals, with a backslash
    (tmp_path / "two words.mtl").write_text(LIBRARY)
    path = tmp_path / "my tile.obj"
    path.write_text(GOLDEN)
    return path


def test_golden_geometry(golden):
    mesh = read_obj(golden)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 5, 6], [0, 1, 2]]
    assert mesh.vertices[5].tolist() == [1, 0, 3]
    assert mesh.name == "my tile"


def test_golden_texture_corners_with_negative_indices(golden):
    mesh = read_obj(golden)
    assert mesh.uv[1].tolist() == [[0, 0], [1, 1], [0, 1]]
    # 5 texture corners are known in that line: -1 is the fifth, -5 the first, -2 the fourth
    assert mesh.uv[2].tolist() == [[0.5, 0.25], [0, 0], [0, 1]]
    assert mesh.uv[3].tolist() == [[0, 0], [1, 0], [1, 1]]
    assert (mesh.uv[4] == 0).all()  # 1//1 has none


def test_golden_materials(golden):
    mesh = read_obj(golden)
    photo, paint = mesh.materials
    assert (photo.name, paint.name) == ("photo wall", "paint")
    assert photo.texture.tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]]
    assert paint.rgb == (0.25, 0.5, 0.75) and paint.texture is None
    assert mesh.face_material.tolist() == [0, 0, 1, 1, 1]


def test_texture_is_upright(golden, colour_towards):
    mesh = read_obj(golden)
    assert colour_towards(mesh, (0, 1)) == (255, 0, 0)  # the picture's top left is red, and v is up
    assert colour_towards(mesh, (1, 1)) == (0, 255, 0)
    assert colour_towards(mesh, (0, 0)) == (0, 0, 255)


def test_golden_classes_and_objects(golden):
    mesh = read_obj(golden)
    names = {c.id: c.name for c in mesh.classes}
    assert [names[i] for i in mesh.face_class] == ["ground", "ground", "roof", "roof", "roof"]
    assert mesh.face_object.tolist() == [1, 1, 1, 1, 2]


def test_header_table_and_class_groups(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text("# class 7 high vegetation 0 255 0\n# class 2 lane marking 9 8 7\nv 0 0 0\nv 1 0 0\nv 0 1 0\n"
                    "g class_high vegetation\nf 1 2 3\ng class_lane marking\nf 1 2 3\ng roof\nf 1 2 3\n")
    mesh = read_obj(path)
    assert mesh.face_class.tolist() == [7, 2, 0]
    assert mesh.classes == (SemanticClass(2, "lane marking", (9, 8, 7)),
                            SemanticClass(7, "high vegetation", (0, 255, 0)))


def test_vertex_colours_as_fractions_and_bytes(tmp_path):
    for scale, name in ((1.0, "a.obj"), (255.0, "b.obj")):
        rows = [f"v {i} {i * i} 0 {scale * r} 0 {scale}" for i, r in enumerate((0.0, 0.2, 1.0))]
        (tmp_path / name).write_text("\n".join(rows) + "\nf 1 2 3\n")
        assert read_obj(tmp_path / name).vertex_rgb.tolist() == [[0, 0, 255], [51, 0, 255], [255, 0, 255]]


@pytest.mark.parametrize("shift", [(1_842_000.25, 5_175_000.5, 170.0), (25_496_056.75, 6_672_400.25, 5.0)])
def test_full_coordinates_lose_nothing(tmp_path, shift):
    """Lambert 93 and EPSG:3879 in full: sizes to a micrometre, and model + origin is the file again."""
    corners = np.array([[0, 0, 0], [0.001, 0, 0], [0, 0.002, 7]]) + shift
    path = tmp_path / "far.obj"
    path.write_text("\n".join("v {!r} {!r} {!r}".format(*map(float, c)) for c in corners) + "\nf 1 2 3\n")
    mesh = read_obj(path, Georeference("EPSG:3946"))
    assert np.abs(mesh.vertices[:, :2]).max() < 101.0
    assert np.abs(mesh.vertices + mesh.georeference.origin - corners).max() < 1e-8
    assert np.ptp(mesh.vertices.astype(np.float32), axis=0)[:2] == pytest.approx([0.001, 0.002], abs=1e-5)
    assert mesh.georeference.crs == "EPSG:3946" and mesh.georeference.origin[2] == 0.0


def test_helsinki_model_coordinates_stay(tmp_path):
    path = tmp_path / "near.obj"
    path.write_text("v 6056.963851 4400.232103 11\nv 6057 4401 11\nv 6058 4400 11\nf 1 2 3\n")
    mesh = read_obj(path, Georeference("EPSG:3879", (25_490_000, 6_668_000, 0)))
    assert mesh.vertices[0].tolist() == [6056.963851, 4400.232103, 11]
    moved = read_obj(path, Georeference("EPSG:3879", (25_490_000, 6_668_000, 0)),
                     ReadOptions(origin=(25_496_000, 6_672_000, 0)))
    assert np.allclose(moved.vertices[0], [56.963851, 400.232103, 11], atol=1e-9)


def test_y_up_is_turned(tmp_path):
    path = tmp_path / "y.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 2 3\nf 1 2 3\n")
    mesh = read_obj(path, options=ReadOptions(up="y"))
    assert mesh.vertices[2].tolist() == [0, -3, 2]  # y up becomes z, z (towards the viewer) becomes south


def test_random_mesh_as_trimesh_reads_it(tmp_path):
    import trimesh

    rng = np.random.default_rng(5)
    vertices, corners = rng.normal(size=(60, 3)).round(6), rng.random((40, 2)).round(6)
    lines = ["v {} {} {}".format(*v) for v in vertices] + ["vt {} {}".format(*t) for t in corners]
    for _ in range(80):
        face = zip(rng.choice(60, 3, replace=False) + 1, rng.integers(0, 40, 3) + 1, strict=True)
        lines.append("f " + " ".join(f"{a}/{b}" for a, b in face))
    path = tmp_path / "random.obj"
    path.write_text("\n".join(lines))
    mesh, oracle = read_obj(path), trimesh.load(path, process=False)
    assert np.allclose(mesh.vertices[mesh.faces], oracle.vertices[oracle.faces], atol=1e-12)
    assert np.allclose(mesh.uv, oracle.visual.uv[oracle.faces], atol=1e-7)


@pytest.mark.parametrize("name", ["ensemble_de_batiments_1", "extrait_3_terrain_lyon_2", "tour_part_dieu",
                                  *(f"multilod/tour_part_dieu_{i}" for i in range(3))])
def test_lyon(real, name):
    import trimesh

    path = real(f"nb2_city_mesh/lyon_obj/{name}.obj")
    mesh, oracle = read_obj(path), trimesh.load(path, process=False)
    assert len(mesh.faces) == len(re.findall(r"^f ", path.read_text(), re.MULTILINE))
    assert np.allclose(mesh.vertices[mesh.faces], oracle.vertices[oracle.faces])
    assert (mesh.vertex_rgb is not None) == ("multilod" in name)


def bad(tmp_path, text):
    path = tmp_path / "bad.obj"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_obj(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value) and caught.value.mend
    return caught.value


SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\n"


@pytest.mark.parametrize(("text", "line", "word"), [
    (SQUARE + "f 1 2 3\nf 1 2 9\n", 5, "only 3"),
    (SQUARE + "f 1 2 -4\n", 4, "only 3"),
    (SQUARE + "f 0 1 2\n", 4, "vertex 0"),
    (SQUARE + "vt 0 0\nf 1/1 2/1 3/2\n", 5, "texture corner 2"),
    (SQUARE + "f 1 2\n", 4, "2 corners"),
    (SQUARE + "f 1 2 x\n", 4, "face corner"),
    ("v 0 0 0\nv 1 nan 0\nv 1 1 0\nf 1 2 3\n", 2, "finite"),
    ("v 0 0 0\nv 1 inf 0\nv 1 1 0\nf 1 2 3\n", 2, "finite"),
    ("v 0 0 0\nv 1 oh 0\nv 1 1 0\nf 1 2 3\n", 2, "no number"),
    ("v 0 0 0\nv 1 0\nv 1 1 0\nf 1 2 3\n", 2, "2 numbers"),
    (SQUARE, None, "no faces"),
    ("", None, "no faces"),
    ("# class one roof 1 2 3\n" + SQUARE + "f 1 2 3\n", 1, "no class"),
])
def test_bad_files(tmp_path, text, line, word):
    error = bad(tmp_path, text)
    assert error.line == line and word in error.what


def test_missing_file_names_its_neighbours(tmp_path):
    (tmp_path / "other.obj").write_text(SQUARE)
    with pytest.raises(InputError, match=r"there is no such OBJ file.*other\.obj"):
        read_obj(tmp_path / "tile.obj")


def test_missing_and_broken_textures_are_one_warning(golden, tmp_path):
    (tmp_path / "two words.mtl").write_text(
        LIBRARY + "map_Kd gone.jpg\nnewmtl third\nKd 0 0 0\nmap_Kd noise.jpg\n")
    (tmp_path / "noise.jpg").write_bytes(b"no picture at all")
    with pytest.warns(MeshWarning) as caught:
        mesh = read_obj(golden)
    assert len(caught) == 1
    assert "1 of 3 textures are missing (gone.jpg)" in str(caught[0].message)
    assert "1 textures are not pictures (noise.jpg)" in str(caught[0].message)
    assert mesh.materials[1].rgb == (0.25, 0.5, 0.75)


def test_truncated_picture_is_broken_not_a_crash(golden, tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "two words.mtl").write_text("newmtl paint\nmap_Kd cut.jpg\nnewmtl photo wall\nKd 1 0 0\n")
    with pytest.warns(MeshWarning, match=r"not pictures \(cut\.jpg\)"):
        read_obj(golden)


def test_missing_library_is_a_warning(golden, tmp_path):
    (tmp_path / "two words.mtl").unlink()
    with pytest.warns(MeshWarning, match=r"library two words\.mtl is missing"):
        mesh = read_obj(golden)
    assert [m.rgb for m in mesh.materials] == [(0.8, 0.8, 0.8)] * 2


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_behind_a_continued_one_keep_their_numbers(tmp_path, end):
    path = tmp_path / "a.obj"
    path.write_bytes(end.join(["v 0 0 0", "v 1 \\", "0 \\", "0", "v 0 1 0", "f 1 2 3", "f 1 2 4"]).encode())
    with pytest.raises(InputError, match="line 7: a face names vertex 4"):
        read_obj(path)


@pytest.mark.parametrize("kd", ["red", "nan", "1 inf 0", "1 0"])
def test_bad_colour_names_the_library(golden, tmp_path, kd):
    (tmp_path / "two words.mtl").write_text(f"newmtl paint\nKd {kd}\n")
    with pytest.raises(InputError, match=rf"two words\.mtl, line 2: `Kd {kd}` is not a colour"):
        read_obj(golden)


@pytest.mark.parametrize(("kd", "factor"), [
    ("1 1 1", (1, 1, 1)), ("0.9 0.5 0.5", (0.9, 0.5, 0.5)), ("0.7 0.7 0.7", (0.7, 0.7, 0.7)),
    ("0 0 0", (1, 1, 1)), ("0.800000 0.800000 0.800000", (1, 1, 1)), ("0.64 0.64 0.64", (1, 1, 1)),
])
def test_colour_under_a_texture(golden, tmp_path, kd, factor):
    (tmp_path / "two words.mtl").write_text(
        f"newmtl photo wall\nKd {kd}\nmap_Kd textures/four pixels.png\nnewmtl paint\n")
    assert read_obj(golden).materials[0].rgb == factor


def test_large_textures_can_be_shrunk(golden, tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((64, 32, 3), np.uint8)).save(tmp_path / "big.png")
    (tmp_path / "two words.mtl").write_text("newmtl photo wall\nmap_Kd big.png\nnewmtl paint\nKd 1 1 1\n")
    assert read_obj(golden, options=ReadOptions(max_texture=16)).materials[0].texture.shape == (16, 8, 3)
