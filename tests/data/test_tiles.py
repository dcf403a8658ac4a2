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
