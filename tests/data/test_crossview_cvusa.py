"""CVUSA trees typed by hand after the published layout, and the real lists and pictures."""

from __future__ import annotations

import csv
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsnb.data.crossview.cvusa import audit, read_cvusa, read_positions, tile_extent_m
from rsnb.data.crossview.pair_lists import read_pair_list
from rsnb.data.crossview.pairs import distance_m, local_metres
from rsnb.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from crossview_checks import ring_correlation

ALL = """44.750410252126471,-121.224477921547162,44.750453,-121.224609,15.160000
39.747379000000024,-86.268218999999988,39.747416,-86.268192,247.769990
43.303374508636836,-115.042687010277987,43.303221,-115.042576,239.019990
"""


def picture(path, size, colour, kind="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(kind, size, colour).save(path)


@pytest.fixture
def tree(tmp_path):
    """Three pairs in the published places: 2 and 3 to train, 1 to validate; JPEGs are one colour each."""
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train-19zl.csv").write_text(
        "bingmap/19/0000003.jpg,streetview/panos/0000003.jpg,streetview/annotations/0000003.png\n"
        "bingmap/19/0000002.jpg,streetview/panos/0000002.jpg,streetview/annotations/0000002.png\n")
    (tmp_path / "splits" / "val-19zl.csv").write_text(
        "bingmap/19/0000001.jpg,streetview/panos/0000001.jpg,streetview/annotations/0000001.png\n")
    (tmp_path / "split_locations").mkdir()
    (tmp_path / "split_locations" / "all.csv").write_text(ALL)
    for i in (1, 2, 3):
        picture(tmp_path / f"bingmap/19/000000{i}.jpg", (30, 30), (40 * i, 0, 0))
        picture(tmp_path / f"streetview/panos/000000{i}.jpg", (88, 16), (0, 40 * i, 0))
        mask = Image.new("L", (88, 16), 0)
        mask.paste(255, (0, 0, 44, 4 * i))  # sky in the left half, i quarters of the height
        (tmp_path / "sky_mask").mkdir(exist_ok=True)
        mask.save(tmp_path / f"sky_mask/000000{i}.png")
    return tmp_path


def test_lists_pictures_and_positions_are_joined_by_id(tree):
    index = read_cvusa(tree)
    assert index.ids == ("0000003", "0000002", "0000001")
    assert {k: v.tolist() for k, v in index.splits.items()} == {"train": [0, 1], "val": [2]}
    assert index.tile_paths[0] == tree / "bingmap/19/0000003.jpg"
    assert index.sky_paths[2] == tree / "sky_mask/0000001.png" and index.label_paths is None
    # Line N of all.csv is id N, columns three and four are the camera.
    assert index.lat_lon.tolist() == [[43.303221, -115.042576], [39.747416, -86.268192], [44.750453, -121.224609]]
    assert index.position is None  # 3,000 km apart: no common plane
    assert (index.heading == 0).all() and math.degrees(index.vertical_fov) == pytest.approx(65.4545, abs=1e-3)
    assert index.present.all() and not index.drops and index.tile_extent_m is None


def test_the_archive_of_the_authors_with_its_own_folder(tree, tmp_path_factory):
    root = tmp_path_factory.mktemp("cvusa")
    shutil.copytree(tree, root / "CVPR_subset" / "CVPR_subset")
    assert read_cvusa(root).ids == read_cvusa(tree).ids and len(read_cvusa(root).lat_lon) == 3
    assert audit(root).counts == audit(tree).counts and audit(root).root == root / "CVPR_subset" / "CVPR_subset"


def test_only_in_the_whole_list_does_line_n_belong_to_id_n(tree):
    """Copies with split_locations/train.csv and test.csv, whose lines follow the lists, give no positions by id."""
    (tree / "split_locations" / "train.csv").write_text(ALL.split("\n", 1)[1])
    assert read_cvusa(tree).lat_lon.tolist()[2] == [44.750453, -121.224609]
    (tree / "split_locations" / "all.csv").unlink()
    index = read_cvusa(tree)
    assert index.lat_lon is None and any("train.csv is not read" in note for note in index.notes)


def test_lists_whose_columns_belong_to_different_pairs(tree):
    for name in ("train", "val"):
        path = tree / "splits" / f"{name}-19zl.csv"
        path.write_text(path.read_text().replace("panos/000", "panos/100"))
    with pytest.raises(InputError, match="every pair carry different ids.*same number"):
        read_cvusa(tree)


def test_a_split_loads_its_own_pictures_in_its_order(tree):
    train = read_cvusa(tree).split("train")
    assert train.ids == ("0000003", "0000002") and train.splits["train"].tolist() == [0, 1]
    assert train.splits["val"].size == 0
    pairs = train.load(tile_size=10, panorama_size=(8, 44))
    assert pairs.tiles.shape == (2, 3, 10, 10) and pairs.panoramas.shape == (2, 3, 8, 44)
    assert pairs.tiles.dtype == pairs.panoramas.dtype == np.float32
    # Colours 120 and 80 of 255, JPEG's rounding aside.
    assert np.abs(pairs.tiles[:, 0].mean(axis=(1, 2)) * 255 - [120, 80]).max() < 3
    assert np.abs(pairs.panoramas[:, 1].mean(axis=(1, 2)) * 255 - [120, 80]).max() < 3
    # id 3: three quarters of the left half, id 2: two quarters.
    assert pairs.sky.mean(axis=(1, 2)).tolist() == [3 / 8, 2 / 8]
    assert pairs.sky[0, 0].tolist() == [True] * 22 + [False] * 22


def test_a_crop_keeps_the_middle_rows_of_picture_and_mask(tree):
    rows = np.repeat(np.arange(16, dtype=np.uint8)[:, None], 88, axis=1)
    for i in (1, 2, 3):  # PNG: exact values, row r has grey 10 r
        Image.fromarray(np.repeat(rows[..., None] * 10, 3, axis=2)).save(tree / f"streetview/panos/000000{i}.png")
        (tree / f"streetview/panos/000000{i}.jpg").unlink()
    index = read_cvusa(tree)
    assert index.panorama_paths[0].suffix == ".png"  # the list says .jpg: another type of picture is found too
    half = index.load([0], panorama_size=(8, 88), vertical_fov=index.vertical_fov / 2, resample="area")
    # Half of 16 rows: rows 4..11.
    assert np.round(half.panoramas[0, 0, :, 0] * 25.5, 4).tolist() == list(range(4, 12))
    assert half.vertical_fov == index.vertical_fov / 2
    # Sky of id 3 reaches down to row 12: all eight rows; that of id 1 to row 4: none.
    assert half.sky[0, :, 0].all() and not index.load([2], panorama_size=(8, 88),
                                                      vertical_fov=index.vertical_fov / 2).sky.any()
    with pytest.raises(InputError, match="90.0 degrees is asked for, the panoramas have 65.5"):
        index.load([0], vertical_fov=math.pi / 2)


def test_pairs_may_be_asked_for_twice_and_by_mask_but_not_out_of_range(tree):
    index = read_cvusa(tree)
    assert index.load([2, 0, 2], tile_size=4).ids == ("0000001", "0000003", "0000001")
    assert index.load(np.array([False, True, False]), tile_size=4).ids == ("0000002",)
    for bad in ([3], [0.5], [True], []):
        with pytest.raises(InputError, match="does not fit 3 pairs|no pair is asked for"):
            index.load(bad)


def test_a_second_list_of_one_split_is_not_read_in_silence(tree):
    (tree / "train-old.csv").write_text("bingmap/19/0000009.jpg,streetview/panos/0000009.jpg\n")
    index = read_cvusa(tree)
    assert len(index) == 3 and index.notes == ("train-old.csv is not read: train-19zl.csv is the train list already",)


def test_missing_pictures_are_left_out_and_counted_or_kept_on_demand(tree):
    (tree / "bingmap/19/0000002.jpg").unlink()
    (tree / "streetview/panos/0000001.jpg").unlink()
    index = read_cvusa(tree)
    assert index.ids == ("0000003",) and {k: v.tolist() for k, v in index.splits.items()} == {"train": [0], "val": []}
    assert index.drops == {"no tile": ["0000002"], "no panorama": ["0000001"]}
    kept = read_cvusa(tree, absent="keep")
    assert kept.present.tolist() == [True, False, False] and not kept.drops
    with pytest.raises(InputError, match="0000002.jpg: there is no such picture"):
        kept.load([1])


def test_lists_beside_the_pictures_under_other_names_and_separators(tmp_path):
    picture(tmp_path / "aerial/0000007.png", (8, 8), 1)
    picture(tmp_path / "ground/0000007.png", (22, 4), 1)
    (tmp_path / "my_train_list.csv").write_text(
        "satellite;panorama\r\n.\\aerial\\0000007.png; ground/0000007.png\r\n\r\n")
    index = read_cvusa(tmp_path)
    assert index.ids == ("0000007",) and list(index.splits) == ["train"] and index.label_paths is None
    assert index.tile_paths == (tmp_path / "aerial/0000007.png",)


def test_names_that_differ_in_case_alone_are_two_pairs_and_a_wrong_case_is_forgiven(tmp_path):
    for name in ("Aa.jpg", "aa.jpg", "Bb.JPG"):
        picture(tmp_path / "aerial" / name, (8, 8), 1)
        picture(tmp_path / "ground" / name, (22, 4), 1)
    (tmp_path / "val.csv").write_text("".join(f"aerial/{n},ground/{n}\n" for n in ("aa.jpg", "Aa.jpg", "bb.jpg")))
    found = [path.name for path in read_cvusa(tmp_path).tile_paths]
    assert found == ["aa.jpg", "Aa.jpg", "Bb.JPG"]


def test_without_lists_pairs_are_made_by_name(tmp_path):
    for name in ("0000001", "0000002"):
        picture(tmp_path / f"bingmap/19/{name}.jpg", (8, 8), 1)
    for name in ("0000002", "0000003"):
        picture(tmp_path / f"streetview/panos/{name}.jpg", (22, 4), 1)
    index = read_cvusa(tmp_path)
    assert index.ids == ("0000002",) and index.splits == {}
    assert index.drops == {"no panorama": ["0000001"], "no tile": ["0000003"]}
    with pytest.raises(InputError, match="no split 'train'.*has no list"):
        index.split("train")


BAD = [
    ("bingmap/19/1.jpg,streetview/panos/1.jpg\nbingmap/19/2.jpg\n", 2, "column 2 is not a picture"),
    ("bingmap/19/1.jpg,streetview/panos/1.jpg\nbingmap/19/2.jpg,,x.png\n", 2, "column 2 is not a picture"),
    ("bingmap/19/1.jpg\n", 1, "column 2 is not a picture"),
    ("bingmap/19/1.jpg,streetview/panos/1.jpg\n3,streetview/panos/3.jpg\n", 2, "column 1 is not a picture"),
    ("streetview/panos/1.jpg,bingmap/19/1.jpg\n", 1, "look swapped"),
    ("bingmap/19/1.jpg,streetview/panos/1.jpg\nbingmap/19/1.jpg,streetview/panos/1.jpg\n", 2, "stands here and in"),
    ("", None, "no pair"),
]


@pytest.mark.parametrize(("text", "line", "what"), BAD)
def test_a_bad_list_names_file_line_and_mend(tmp_path, text, line, what):
    path = tmp_path / "train-19zl.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=what) as error:
        read_pair_list(path)
    assert error.value.where == path and error.value.line == line and error.value.mend


@pytest.mark.parametrize(("line", "what"), [
    ("44.7,-121.2,44.7", "3 columns"), ("44.7,-121.2,44.7,-121.2,15,9", "6 columns"),
    ("-121.2,44.7,-121.2,44.7,15", "look swapped"), ("94.7,-190.2,44.7,-121.2,15", "no latitude"),
    ("lat,lon,lat,lon,heading", "not five numbers"),
])
def test_a_bad_line_of_positions_is_named(tmp_path, line, what):
    path = tmp_path / "all.csv"
    path.write_text(ALL + line + "\n")
    with pytest.raises(InputError, match=what) as error:
        read_positions(path)
    assert error.value.line == 4 and error.value.mend


def test_rows_of_two_different_ids_are_dropped_and_counted(tree):
    with (tree / "splits/val-19zl.csv").open("a") as file:
        file.write("bingmap/19/0000004.jpg,streetview/panos/0000005.jpg\n")
    index = read_cvusa(tree)
    assert index.ids == ("0000003", "0000002", "0000001") and index.splits["val"].tolist() == [2]
    assert index.drops == {"tile and panorama carry different ids": ("0000004",)}


def test_a_folder_that_is_none_and_one_without_anything(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_cvusa(tmp_path / "nowhere")
    with pytest.raises(InputError, match="neither a pair list nor"):
        read_cvusa(tmp_path)


def test_a_panorama_of_another_shape_and_a_missing_mask_are_refused_by_name(tree):
    (tree / "sky_mask/0000002.png").unlink()
    index = read_cvusa(tree)
    with pytest.raises(InputError, match="pair 0000002 has no sky mask"):
        index.load()
    assert index.load(sky=False).sky is None
    picture(tree / "streetview/panos/0000003.jpg", (88, 44), 9)
    with pytest.raises(InputError, match=r"0000002.jpg: the panorama has 88 x 16 pixels, 0000003.jpg 88 x 44"):
        read_cvusa(tree).load(sky=False)


def test_the_audit_finds_what_was_spoiled(tree):
    with (tree / "splits/val-19zl.csv").open("a") as file:
        file.write("bingmap/19/0000004.jpg,streetview/panos/0000004.jpg\n")
    picture(tree / "bingmap/19/0000004.jpg", (30, 30), 200)
    picture(tree / "streetview/panos/0000004.jpg", (88, 16), 200)
    assert [f.path for f in audit(tree).findings if f.kind not in ("note", "count")] == ["."]  # no mask for it
    picture(tree / "sky_mask/0000004.png", (88, 16), 255, "L")
    assert audit(tree).ok
    assert audit(tree).counts == {"train pairs": 2, "val pairs": 2, "tiles": 4, "panoramas": 4, "sky masks": 4,
                                  "labels": 0}
    (tree / "bingmap/19/0000002.jpg").unlink()
    picture(tree / "bingmap/19/0000009.jpg", (30, 30), 7)
    data = (tree / "streetview/panos/0000001.jpg").read_bytes()
    (tree / "streetview/panos/0000001.jpg").write_bytes(data[: len(data) // 2])
    (tree / "bingmap/19/0000004.jpg").write_bytes((tree / "bingmap/19/0000003.jpg").read_bytes())
    (tree / "sky_mask/0000003.png").write_bytes((tree / "sky_mask/0000002.png").read_bytes())
    picture(tree / "streetview/panos/0000003.jpg", (90, 16), 9)
    found = audit(tree)
    assert not found.ok
    assert {(f.kind, f.path) for f in found.findings if f.kind not in ("note", "count")} == {
        ("missing", "bingmap/19/0000002.jpg"), ("unmatched", "bingmap/19/0000009.jpg"),
        ("unreadable", "streetview/panos/0000001.jpg"), ("duplicate", "bingmap/19/0000004.jpg"),
        ("size", "streetview/panos/0000003.jpg")}
    assert "sky_mask/0000003.png" in [f.path for f in found.of("note")]  # masks may be alike


def test_tile_extent_is_web_mercators():
    # zoom 0 shows the equator, 40,075.017 km, on 256 pixels; zoom 19 on 256 * 2**19.
    assert tile_extent_m(0.0) == pytest.approx(40_075_016.686 / (256 * 2**19) * 750, rel=1e-9)
    assert tile_extent_m(60.0) == pytest.approx(tile_extent_m(0.0) / 2, rel=1e-12)


def test_local_metres_agree_with_the_ellipsoid_to_half_a_percent():
    import pyproj

    geod = pyproj.Geod(ellps="WGS84")
    bearing, _, far = geod.inv(-86.0, 40.0, -85.99, 40.005)
    east, north = local_metres(np.array([40.005, -85.99]), np.array([40.0, -86.0]))
    assert math.hypot(east, north) == pytest.approx(far, rel=5e-3)
    assert math.degrees(math.atan2(east, north)) == pytest.approx(bearing, abs=0.3)
    assert distance_m([40.0, -86.0], [40.005, -85.99]) == pytest.approx(far, rel=5e-3)


def test_the_official_lists(real):
    folder = real("nb5_geoloc/cvusa_lists")
    index = read_cvusa(folder)
    assert {k: len(v) for k, v in index.splits.items()} == {"train": 1024, "val": 8884}
    assert not index.present.any() and len(index.notes) == 1
    with (folder / "val-19zl.csv").open() as file:  # Python's csv module is the witness
        rows = list(csv.reader(file))
    val = index.split("val")
    assert val.ids == tuple(row[0][11:-4] for row in rows) and val.panorama_paths[5] == folder / rows[5][1]
    table = np.loadtxt(folder / "all.csv", delimiter=",")
    assert len(table) == 45516 and (val.lat_lon == table[[int(i) - 1 for i in val.ids], 2:4]).all()
    apart = distance_m(table[:, :2], table[:, 2:4])
    assert 9.0 < np.median(apart) < 9.3 and apart.max() < 50.1  # the manifest: 9 m in the median, 50 m at most
    assert audit(folder).ok


def test_real_pictures_without_a_list_and_with_the_crossnet_list(real):
    pairs = read_cvusa(real("nb4_sat2ground/cvusa_pairs"))
    assert pairs.ids == ("0000107", "0000194", "0001216", "0001239", "0001263", "0010000", "0011351")
    assert audit(real("nb4_sat2ground/cvusa_pairs")).ok
    cross = read_cvusa(real("nb4_sat2ground/crossnet_cvusa"))
    assert cross.ids == ("0", "1", "2", "3", "4") and cross.present.all() and None not in cross.label_paths
    loaded = cross.load([2], tile_size=750, panorama_size=(224, 1232), resample="area")
    with Image.open(real("nb4_sat2ground/crossnet_cvusa") / "ground2.jpg") as ground:
        assert np.array_equal(np.round(loaded.panoramas[0] * 255), np.asarray(ground).transpose(2, 0, 1))
    found = audit(real("nb4_sat2ground/crossnet_cvusa"))
    assert found.ok and found.counts["labels"] == 5 and not found.of("note")  # native sizes


def test_field_of_view_and_heading_agree_with_the_published_orientation_map(real):
    from scipy.io import loadmat

    yaw, pitch = np.moveaxis(loadmat(real("nb5_geoloc/cvusa_lists/yaw_pitch_grd_CVUSA.mat"))["orient_mat"], -1, 0)
    index = read_cvusa(real("nb4_sat2ground/cvusa_pairs"))
    outer = math.degrees(index.vertical_fov / 2 * (1 - 1 / 224))  # pitch of the outermost pixel centres
    assert math.degrees(pitch.max()) == pytest.approx(outer, abs=0.03)  # their step is 2 pi / 1231, ours / 1232
    assert yaw[0, 615] < 0 < yaw[0, 616] and (index.heading == 0).all()  # north is the middle


def test_real_pairs_face_north_and_stand_in_the_middle_of_their_tile(real):
    """The second position of all.csv is the tile's centre: the ground seen from there fits the tile's middle."""
    index = read_cvusa(real("nb4_sat2ground/cvusa_pairs"))
    table = read_positions(real("nb5_geoloc/cvusa_lists/all.csv"))[[int(i) - 1 for i in index.ids]]
    pairs = index.load(tile_size=750, panorama_size=(224, 1232))
    offsets = [local_metres(row[2:4], row[:2]) for row in table]
    side = tile_extent_m(table[:, 2])

    def score(i, offset):
        return ring_correlation(pairs.tiles[i], pairs.panoramas[i], pairs.vertical_fov, 2.5, side[i], (4, 30),
                                offset)[0]

    centred = np.mean([score(i, (0, 0)) for i in range(7)])
    moved = np.mean([score(i, offsets[i]) for i in range(7)])
    assert centred > 0.09 and moved < 0.03  # measured: 0.110 and -0.013
