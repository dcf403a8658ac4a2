"""The Helsinki grid: published positions, names, and a tile with its neighbours."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsnb.data import (
    HELSINKI,
    MeshWarning,
    Tile,
    find_tiles,
    format_tile_name,
    neighbours,
    parse_tile_name,
    read_tiles,
    tile_bounds,
    tile_of,
)
from rsnb.data.meshes.tiles import find_tile_pieces
from rsnb.errors import InputError
from rsnb.scenes import Georeference


@pytest.mark.parametrize(("x", "y", "tile"), [
    (6056.963851, 4400.232103, (1984, 2689)),  # the published panos.txt row: not in the tile that upstream loads
    (6034.444325201213, 4562.423854339868, (1984, 2690)),  # the upstream notebook's camera
    (6063, 4597, (1984, 2690)),
    (6000, 4500, (1984, 2690)), (5999.999, 4500, (1983, 2690)), (6000, 4499.999, (1984, 2689)),
])
def test_published_positions(x, y, tile):
    assert tile_of(x, y) == tile
    assert tile_of(x + 25_490_000, y + 6_668_000, Georeference("EPSG:3879")) == tile


def test_upstream_pose(real):
    pose = json.loads(real("nb2_city_mesh/upstream_reference/pose.json").read_text())
    x, y, _ = pose["local_position_m"]
    assert format_tile_name(tile_of(x, y)) == pose["tile"]
    east, north = pose["epsg3879_of_lat_lon"]
    assert tile_of(east, north, Georeference("EPSG:3879")) == parse_tile_name(pose["tile"])


def test_bounds():
    assert tile_bounds(Tile(1984, 2690)).tolist() == [[6000, 4500], [6250, 4750]]
    assert tile_bounds(Tile(1984, 2690), Georeference("EPSG:3879"))[0].tolist() == [25_496_000, 6_672_500]


@given(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5))
def test_a_position_lies_in_its_tile(x, y):
    low, high = tile_bounds(tile_of(x, y))
    assert (low <= (x + 1e-6, y + 1e-6)).all() and ((x, y) < high + 1e-6).all()  # float64 of a northing: 1e-9


def test_neighbours():
    around = neighbours(Tile(10, 20))
    assert len(around) == 8 and Tile(10, 20) not in around and around[0] == (9, 19) and around[-1] == (11, 21)
    assert len(neighbours(Tile(0, 0), 2)) == 24 and neighbours(Tile(0, 0), 0) == []


@pytest.mark.parametrize(("name", "tile"), [
    ("Tile_+1984_+2690_groundtruth_L1.obj", (1984, 2690)), ("Tile_+1984_+2690.ply", (1984, 2690)),
    ("Tile_-012_+003_L21.obj", (-12, 3)), ("tile_1984_2690.obj", (1984, 2690)), ("tile-1984-2690.obj", (1984, 2690)),
    ("tile-1984-2690-coord-6034-4562-fov-115-direction--1.8-pitch--8.jpg", (1984, 2690)),
    ("house.obj", None), ("texture_+1984.jpg", None),
    # kilometre N 6672 E 25496 starts at 250 m tile 4 x 496 = 1984, 4 x 672 = 2688; b is 500 m (2 tiles) north of a
    ("672496b1", (1984, 2690)), ("672496B1.obj", (1984, 2690)), ("672496a1_L21.obj", (1984, 2688)),
    ("672496a2", (1984, 2689)), ("672496a4", (1985, 2689)),
    # published places in the model frame: 672495a3 holds x 5312 to 5437, y 4094 to 4219 (4 x 495 + 1, 2688);
    # 672496d1 and d2 meet at (6600, 4750) (1984 + 2, 2688 + 2 and one further north)
    ("672495a3", tuple(tile_of(5312.5, 4093.75))), ("672495a3", tuple(tile_of(5437.5, 4218.75))),
    ("672496d1", (1986, 2690)), ("672496d2", tuple(tile_of(6600.0, 4750.0))),
    ("668490a1", tuple(tile_of(0.0, 0.0))), ("672496e1", None), ("672496b5", None), ("1672496b1", None),
    ("672496b12", None), ("Helsinki3D_2017_OBJ_672496x2.zip", None),
])
def test_names(name, tile):
    assert parse_tile_name(name) == tile


@given(st.integers(-9999, 9999), st.integers(-9999, 9999))
def test_names_round_trip(i, j):
    assert parse_tile_name(format_tile_name(Tile(i, j)) + "_groundtruth_L1.obj") == (i, j)


@pytest.fixture
def folder(tmp_path):
    """Tiles 1984 2689, 1984 2690 (twice, and as PLY) and 1985 2690, each a triangle at its lower left corner."""
    def write(name, tile, height=0):
        x, y = tile_bounds(Tile(*tile))[0]
        (tmp_path / name).parent.mkdir(exist_ok=True)
        corners = "".join(f"v {a} {b} {height}\n" for a, b in ((x, y), (x + 1, y), (x, y + 1)))
        (tmp_path / name).write_text(f"o a\n{corners}f 1 2 3\n")

    write("Tile_+1984_+2690_groundtruth_L0.obj", (1984, 2690), 99)
    write("Tile_+1984_+2690_groundtruth_L1.obj", (1984, 2690))
    (tmp_path / "Tile_+1984_+2690_groundtruth_L1.ply").write_text("ply\n")
    write("Tile_+1984_+2689.obj", (1984, 2689))
    write("sub/Tile_+1985_+2690.obj", (1985, 2690))
    write("Tile_+1990_+2690.obj", (1990, 2690))
    return tmp_path


def test_find(folder):
    found = find_tiles(folder)
    assert set(found) == {(1984, 2690), (1984, 2689), (1985, 2690), (1990, 2690)}
    assert found[Tile(1984, 2690)].name == "Tile_+1984_+2690_groundtruth_L1.obj"


def test_the_citys_folders_and_pieces(tmp_path):
    """A tree of pieces: 000 was split into 0000 and 0001, 0001 into 00010 and 00011; 0000 got a finer texture.

    The files' own numbers count from +007 +001 at the model's origin: (6000 + 1750) / 250 = 31 and
    (4500 + 250) / 250 = 19.
    """
    for piece in ("L16_000", "L17_0000", "L17_0001", "L18_00010", "L18_00011", "L18_0000t1"):
        for sheet, number in (("672496b1", "+031_+019"), ("672496b2", "+031_+020")):
            path = tmp_path / "mesh" / sheet / f"Tile_{number}_{piece}.obj"
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text("v 6000 4500 0\nv 6001 4500 0\nv 6000 4501 0\nf 1 2 3\n")
    (tmp_path / "mesh/672496b1/Tile_+031_+019_L18_00011_0.jpg").touch()

    def names(level=None):
        pieces = find_tile_pieces(tmp_path, level)
        assert set(pieces) == {(1984, 2690), (1984, 2691)}
        return [path.stem.partition("19_")[2] for path in pieces[Tile(1984, 2690)]]

    assert names() == names(18) == names(30) == ["L18_0000t1", "L18_00010", "L18_00011"]
    assert names(17) == ["L17_0000", "L17_0001"] and names(16) == ["L16_000"]
    assert find_tile_pieces(tmp_path, 15) == {} and set(find_tiles(tmp_path)) == {(1984, 2690), (1984, 2691)}
    with pytest.warns(MeshWarning, match="7 of 8 neighbours"):
        assert len(read_tiles(tmp_path, (6063.0, 4597.0)).faces) == 6
    with pytest.warns(MeshWarning, match="7 of 8 neighbours"):
        assert len(read_tiles(tmp_path, (6063.0, 4597.0), level=16).faces) == 2


def test_tile_with_its_neighbours(folder):
    with pytest.warns(MeshWarning, match=r"6 of 8 neighbours of Tile_\+1984_\+2690 are missing \(Tile_\+1983_\+2689, "):
        mesh = read_tiles(folder, (6063.0, 4597.0, 11.0))
    assert np.sort(mesh.vertices[::3, :2], axis=0).tolist() == [[6000, 4250], [6000, 4500], [6250, 4500]]
    assert mesh.georeference == HELSINKI and mesh.face_object.tolist() == [1, 2, 3] and mesh.vertices[:, 2].max() == 0
    assert mesh.name == "Tile_+1984_+2690"


def test_the_frame_stays_however_far_the_tile(tmp_path):
    far = Tile(1960 + 400, 2672)  # 100 km east of the model's origin
    x, y = tile_bounds(far)[0]
    (tmp_path / f"{format_tile_name(far)}.obj").write_text(f"v {x} {y} 0\nv {x + 1} {y} 0\nv {x} {y + 1} 0\nf 1 2 3\n")
    mesh = read_tiles(tmp_path, far, rings=0)
    assert mesh.georeference == HELSINKI and mesh.vertices[0].tolist() == [100_000, 0, 0]


def test_tile_alone(folder):
    assert len(read_tiles(folder, Tile(1984, 2689), rings=0).faces) == 1


def test_own_tile_is_needed(folder):
    with pytest.raises(InputError, match=r"tile Tile_\+1986_\+2690 \(x 6500 to 6750 m.*there are Tile_\+1984_\+2689"):
        read_tiles(folder, (6510.0, 4597.0))
    with pytest.raises(InputError, match="no such folder"):
        read_tiles(folder / "none", (6510.0, 4597.0))
    with pytest.raises(InputError, match="no position"):
        tile_of(float("nan"), 0.0)
