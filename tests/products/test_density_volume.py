"""Density volumes as files: bytes against the format's text, surfaces against closed forms, read by other programs."""

import json
import struct

import numpy as np
import pytest
import rasterio
import tifffile
import trimesh
from PIL import Image

from rsnb.errors import InputError
from rsnb.geometry.isosurface import density_surface, tile_colours
from rsnb.products.density_volume import (
    TileVolume,
    write_height,
    write_surface_glb,
    write_surface_ply,
    write_volume_vtk,
)
from rsnb.scenes import Georeference

HELSINKI = Georeference("EPSG:3879", (25496000.0, 6672000.0, 0.0))
SOLID = 1e4


def box_volume() -> TileVolume:
    """A block of 4 x 5 x 7 voxels of 2 x 2 x 0.8 m: slices 0..3, rows 2..6, columns 5..11 of 10 x 16 x 16."""
    sigma = np.zeros((10, 16, 16))
    sigma[0:4, 2:7, 5:12] = SOLID
    tile = np.zeros((3, 16, 16))
    tile[0] = np.linspace(0, 1, 16)  # red grows to the east
    tile[1] = np.linspace(1, 0, 16)[:, None]  # green to the north
    return TileVolume(sigma, tile, 32.0, 8.0)


def block_m3(a: int, b: int, c: int, voxel_m3: float) -> float:
    """Volume inside marching cubes of a x b x c solid voxels, whose surface is the Minkowski sum of the box of their
    centres, (a - 1) x (b - 1) x (c - 1), and an octahedron of half a voxel: with A = a - 1 and so on
    A B C + 2 r (A B + B C + C A) + 2 r^2 (A + B + C) + 4 / 3 r^3 at r = 1 / 2."""
    a, b, c = a - 1, b - 1, c - 1
    return voxel_m3 * (a * b * c + (a * b + b * c + c * a) + (a + b + c) / 2 + 1 / 6)


def test_vtk_golden_bytes(tmp_path):
    sigma = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8.0]]])  # row 0 is north
    volume = TileVolume(sigma, np.zeros((3, 2, 2)), 8.0, 3.0)
    # x east fastest, then y from south, then z: lower slice south 3 4, north 1 2, then the upper slice
    golden = (b"# vtk DataFile Version 3.0\ndensity volume, tile metres, x east y north z up\nBINARY\n"
              b"DATASET STRUCTURED_POINTS\nDIMENSIONS 2 2 2\nORIGIN -2.0 -2.0 0.75\nSPACING 4.0 4.0 1.5\nPOINT_DATA 8\n"
              b"SCALARS sigma_per_m float 1\nLOOKUP_TABLE default\n"
              + struct.pack(">8f", 3, 4, 1, 2, 7, 8, 5, 6) + b"\n")
    assert write_volume_vtk(tmp_path / "volume.vtk", volume).read_bytes() == golden


def test_vtk_as_sat2density_has_it(tmp_path):
    sigma = np.arange(12.0).reshape(3, 2, 2) / 8
    volume = TileVolume(sigma, np.zeros((3, 4, 4)), 16.0, 3.0)  # half a tile is 8 m: densities times 8, at most 10
    text = write_volume_vtk(tmp_path / "volume.vtk", volume, layout="grid").read_bytes()
    header, values = text[: text.index(b"default\n") + 8].decode(), text[text.index(b"default\n") + 8 : -1]
    assert "DIMENSIONS 2 2 3\nORIGIN 0.0 0.0 0.0\nSPACING 1.0 1.0 1.0\nPOINT_DATA 12\n" in header
    assert np.frombuffer(values, ">f4").tolist() == [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 10]  # row fastest
    with pytest.raises(InputError, match="layout 'cells'"):
        write_volume_vtk(tmp_path / "volume.vtk", volume, layout="cells")


def test_a_block_has_the_volume_that_it_should_have(tmp_path):
    mesh = trimesh.load(write_surface_ply(tmp_path / "s.ply", box_volume()), process=False)
    assert mesh.is_watertight and mesh.volume == pytest.approx(block_m3(4, 5, 7, 2 * 2 * 0.8), rel=1e-5)
    # columns 5..11 of 2 m from -16 m on: -6..8 east; rows 2..6 from the north: 16 - 4 = 12 down to 2; 4 slices of 0.8
    assert mesh.bounds == pytest.approx(np.array([[-6, 2, 0], [8, 12, 3.2]]), abs=1e-3)


def test_a_volume_full_to_its_walls_is_closed():
    vertices, faces = density_surface(np.full((4, 6, 6), SOLID), 12.0, 8.0, 1.0)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight and mesh.volume == pytest.approx(block_m3(4, 6, 6, 2 * 2 * 2), rel=1e-6)
    assert mesh.bounds == pytest.approx(np.array([[-6, -6, 0], [6, 6, 8]]), abs=1e-6)


def test_the_level_decides_what_is_inside(tmp_path):
    sigma = np.zeros((8, 8, 8))
    sigma[:, :, :4], sigma[:, :, 4:] = 0.5, 2.0
    volume = TileVolume(sigma, np.zeros((3, 8, 8)), 8.0, 8.0)
    assert volume.level == pytest.approx(np.log(2))  # voxels of 1 m
    west = [write_surface_ply(tmp_path / "s.ply", volume, level) and
            trimesh.load(tmp_path / "s.ply", process=False).bounds[0, 0] for level in (0.4, 1.0)]
    # at 0.4 all of it: 1 - 2^-1.25 = 0.58 reaches 0.5 at 0.14 of a voxel west of... the first centre, -3.5
    assert west[0] == pytest.approx(-3.5 - (1 - 0.5 / (1 - 2**-1.25)), abs=1e-5)
    # at 1 the thin half is out: between 1 - 2^-0.5 at -0.5 m and 1 - 2^-2 at +0.5 m
    thin, dense = 1 - 2**-0.5, 1 - 2**-2
    assert west[1] == pytest.approx(-0.5 + (0.5 - thin) / (dense - thin), abs=1e-5)
    with pytest.raises(InputError, match=r"nothing is denser than 5 .*below 2"):
        write_surface_ply(tmp_path / "none.ply", volume, 5.0)
    with pytest.raises(InputError, match="level is -1"):
        density_surface(sigma, 8.0, 8.0, -1.0)
    assert not (tmp_path / "none.ply").exists()


def test_ply_carries_the_colours_of_the_tile(tmp_path):
    mesh = trimesh.load(write_surface_ply(tmp_path / "s.ply", box_volume()), process=False)
    rgb = mesh.visual.vertex_colors[:, :3] / 255
    # pixel centres lie at -15, -13 .. 15 m: red is (x + 15) / 30 and green (y + 15) / 30 between them
    assert rgb[:, 0] == pytest.approx((mesh.vertices[:, 0] + 15) / 30, abs=3e-3)
    assert rgb[:, 1] == pytest.approx((mesh.vertices[:, 1] + 15) / 30, abs=3e-3)


def test_tile_colours_end_at_the_border():
    tile = np.arange(12.0).reshape(3, 2, 2)
    corners = np.array([[-4, 4, 0], [4, 4, 0], [-4, -4, 0], [0, 0, 5.0]])
    assert tile_colours(corners, tile, 8.0)[:, 0] == pytest.approx([0, 1, 2, 1.5])
    assert tile_colours(corners, tile[:, :1, :1], 8.0)[:, 1].tolist() == [4.0] * 4


def test_glb_stands_upright_and_wears_the_tile(tmp_path):
    path = write_surface_glb(tmp_path / "s.glb", box_volume())
    scene = trimesh.load_scene(path, process=False)
    block, ground = scene.geometry["density"], scene.geometry["ground"]
    assert block.is_watertight and block.volume == pytest.approx(block_m3(4, 5, 7, 2 * 2 * 0.8), rel=1e-5)
    # glTF: y up, north is -z
    assert block.bounds == pytest.approx(np.array([[-6, 0, -12], [8, 3.2, -2]]), abs=1e-3)
    assert ground.bounds == pytest.approx(np.array([[-16, 0, -16], [16, 0, 16]]))
    assert ground.face_normals == pytest.approx(np.array([[0, 1, 0], [0, 1, 0]]))
    # trimesh turns v up: u grows east, v north; the picture itself is the tile
    where = np.stack([0.5 + block.vertices[:, 0] / 32, 0.5 - block.vertices[:, 2] / 32], axis=1)
    assert block.visual.uv == pytest.approx(where, abs=1e-5)
    picture = np.asarray(block.visual.material.baseColorTexture.convert("RGB"))
    assert picture[0, 15].tolist() == [255, 255, 0] and picture[15, 0].tolist() == [0, 0, 0]
    alone = write_surface_glb(tmp_path / "alone.glb", box_volume(), ground=False)
    assert list(trimesh.load_scene(alone).geometry) == ["density"]


def test_glb_is_laid_out_as_the_standard_says(tmp_path):
    data = write_surface_glb(tmp_path / "s.glb", box_volume()).read_bytes()
    magic, version, total = struct.unpack_from("<4sII", data)
    length, kind = struct.unpack_from("<I4s", data, 12)
    document = json.loads(data[20 : 20 + length])
    binary, second = struct.unpack_from("<I4s", data, 20 + length)
    assert (magic, version, total, kind, second) == (b"glTF", 2, len(data), b"JSON", b"BIN\0")
    assert length % 4 == 0 and binary % 4 == 0 and binary == document["buffers"][0]["byteLength"]
    assert 28 + length + binary == len(data)
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0 and view["byteOffset"] + view["byteLength"] <= binary
    image = document["bufferViews"][document["images"][0]["bufferView"]]
    start = 28 + length + image["byteOffset"]
    assert data[start : start + 4] == b"\x89PNG"


def test_height_with_and_without_a_place(tmp_path):
    height = np.arange(64.0).reshape(8, 8)
    height[0, 0] = np.nan
    path = write_height(tmp_path / "h.tif", height, 32.0, HELSINKI, centre=(100.0, -50.0))
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 3879 and file.nodata == -9999
        # row 1, column 2 of 4 m: 25 496 000 + 100 - 16 + 10 east, 6 672 000 - 50 + 16 - 6 north
        assert file.xy(1, 2) == pytest.approx((25496094.0, 6671960.0))
        read = file.read(1)
    assert read[0, 0] == -9999 and np.array_equal(read[1:], height[1:])
    plain = write_height(tmp_path / "plain.tif", height, 32.0)
    with tifffile.TiffFile(plain) as file:
        assert json.loads(file.pages[0].description)["gsd_m"] == 4.0
        assert np.array_equal(file.asarray(), height.astype(np.float32), equal_nan=True)
    with pytest.raises(InputError, match=r"shape \(4, 8\)"):
        write_height(tmp_path / "x.tif", height[:4], 32.0)


@pytest.mark.parametrize(("change", "message"), [
    ({"sigma": np.zeros((1, 2, 4, 4))}, "one volume of a batch"),
    ({"sigma": np.full((2, 4, 4), np.nan)}, "not a number"),
    ({"sigma": np.full((2, 4, 4), -1.0)}, "negative"),
    ({"tile": np.zeros((4, 4))}, "the tile has shape"),
    ({"extent_m": 0.0}, "extent_m is 0.0"),
    ({"ceiling_m": np.nan}, "ceiling_m nan"),
], ids=["batch", "nan", "negative", "grey", "extent", "ceiling"])
def test_bad_volumes_are_refused(change, message):
    good = {"sigma": np.zeros((2, 4, 4)), "tile": np.zeros((3, 4, 4)), "extent_m": 8.0, "ceiling_m": 2.0}
    with pytest.raises(InputError, match=message):
        TileVolume(**good | change)


def test_writers_leave_the_rest_of_a_folder_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    volume = box_volume()
    for _ in range(2):
        write_volume_vtk(tmp_path / "v.vtk", volume)
        write_surface_ply(tmp_path / "s.ply", volume)
        write_surface_glb(tmp_path / "s.glb", volume)
        write_height(tmp_path / "h.tif", np.zeros((4, 4)), 32.0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.tif", "mine.txt", "s.glb", "s.ply", "v.vtk"]
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert Image.open(tmp_path / "h.tif").size == (4, 4)
