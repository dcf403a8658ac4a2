import numpy as np
import pytest

from rsnb.data import format_tile_name
from rsnb.data.meshes.tiles import HELSINKI, Tile
from rsnb.data.street.street_scene import choose_rows, locate_street_scene, mesh_groups, read_poses
from rsnb.errors import InputError

TRIANGLE = "v {x} {y} 0\nv {x1} {y} 0\nv {x} {y1} 0\nf 1 2 3\n"


def write_tile(folder, i, j):
    x, y = 250 * (i - 1960), 250 * (j - 2672)
    text = TRIANGLE.format(x=x, y=y, x1=x + 250, y1=y + 250)
    (folder / f"{format_tile_name(Tile(i, j))}_L1.obj").write_text(text)


def test_a_folder_of_the_layout_gives_its_parts_and_a_lone_mesh_gives_only_itself(tmp_path):
    for name in ("mesh", "panoramas", "picks"):
        (tmp_path / name).mkdir()
    (tmp_path / "panos.txt").write_text("Pano_ID,Lat,Lon,Y,X\n")
    found = locate_street_scene(tmp_path)
    assert found.mesh == tmp_path / "mesh" and found.panos == tmp_path / "panos.txt"
    assert found.panoramas == tmp_path / "panoramas" and found.left_out is None and found.truth is None
    lone = locate_street_scene(tmp_path / "mesh", tmp_path / "panos.txt")
    assert lone.mesh == tmp_path / "mesh" and lone.panos == tmp_path / "panos.txt" and lone.panoramas is None


@pytest.mark.parametrize("which", ["root", "panos"])
def test_a_path_that_is_not_there_is_named(tmp_path, which):
    with pytest.raises(InputError, match="nowhere"):
        locate_street_scene(*((tmp_path / "nowhere",) if which == "root" else (tmp_path, tmp_path / "nowhere")))


def test_few_tiles_come_whole(tmp_path):
    write_tile(tmp_path, 1984, 2690)
    write_tile(tmp_path, 1985, 2690)
    (index, mesh, box), = mesh_groups(tmp_path, [[6100.0, 4600.0], [6300.0, 4600.0]])
    assert index.tolist() == [0, 1] and len(mesh.faces) == 2
    assert box[:, 0].tolist() == [6000, 6500]


def test_of_several_files_of_one_tile_one_is_read(tmp_path):
    for j in (2690, 2691):
        write_tile(tmp_path, 1984, j)
    fine = tmp_path / "Tile_+1984_+2690_L1.obj"
    (tmp_path / "Tile_+1984_+2690_L0.obj").write_text(fine.read_text())
    (tmp_path / "Tile_+1984_+2690_L1.ply").write_text("ply\n")
    (_, mesh, _), = mesh_groups(tmp_path, None)
    assert len(mesh.faces) == 2


def test_many_tiles_come_as_each_places_tile_with_its_neighbours(tmp_path):
    for i in range(1980, 1985):
        for j in range(2690, 2693):
            write_tile(tmp_path, i, j)
    places = [[5300.0, 4800.0], [5800.0, 4800.0], [5301.0, 4801.0]]  # tiles 1981, 1983 and 1981 of row 2691
    groups = list(mesh_groups(tmp_path, places, HELSINKI))
    assert [g[0].tolist() for g in groups] == [[0, 2], [1]]
    for (_, mesh, box), tile in zip(groups, (1981, 1983), strict=True):
        assert len(mesh.faces) == 9
        low = mesh.bounds[0, 0] + mesh.georeference.origin[0] - 25_490_000
        assert low == pytest.approx(250 * (tile - 1 - 1960))
        own = box[:, 0] + mesh.georeference.origin[0] - 25_490_000
        assert own == pytest.approx([250 * (tile - 1960), 250 * (tile - 1959)])
    (none, mesh, _), = mesh_groups(tmp_path, None, HELSINKI)
    assert len(none) == 0 and len(mesh.faces) == 9  # the middle tile, 1982, with its neighbours
    assert mesh.bounds[0, 0] + mesh.georeference.origin[0] - 25_490_000 == pytest.approx(250 * (1981 - 1960))
    with pytest.raises(InputError, match=r"Tile_\+1990"):
        list(mesh_groups(tmp_path, np.array([[7550.0, 4800.0]]), HELSINKI))


@pytest.mark.parametrize(("text", "rows"), [("all", [0, 1, 2, 3, 4]), ("1:5:2", [1, 3]), ("3", [3]), ("0, -1", [0, 4]),
                                            (":2", [0, 1])])
def test_rows_in_words(text, rows):
    assert choose_rows(text, 5).tolist() == rows


@pytest.mark.parametrize("text", ["", "5", "-6", "a", "1:b", "5:9", "1;2"])
def test_rows_that_are_not_there(text):
    with pytest.raises(InputError, match="rows"):
        choose_rows(text, 5)


def test_poses_are_read_or_refused_by_name(tmp_path):
    path = tmp_path / "poses.json"
    path.write_text('{"a.jpg": [[1,0,0,5],[0,1,0,6],[0,0,1,7],[0,0,0,1]]}')
    assert read_poses(path)["a.jpg"][:3, 3].tolist() == [5, 6, 7]
    for bad, word in (('{"a.jpg": [[1,0],[0,1]]}', "a.jpg"), ("{}", "no poses"), ("[", "no JSON")):
        path.write_text(bad)
        with pytest.raises(InputError, match=word):
            read_poses(path)
