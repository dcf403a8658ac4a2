"""CVACT trees typed by hand in all layouts; scipy.io.savemat writes the list, PIL the pictures."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from rsnb.data.crossview.act_data import read_act_data
from rsnb.data.crossview.cvact import audit, read_cvact
from rsnb.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from crossview_checks import ring_correlation

IDS = ("_a-Bc", "Aa", "aa", "zz0", "q_q")  # ids are case-sensitive and may begin with _ or -
UTM = np.array([[693012.25, 6090123.5], [693100.0, 6090200.0], [693200.0, 6090300.0], [693300.5, 6090400.0],
                [693400.0, 6090500.125]])


def cell(ids):
    """N x 1 cell array of strings."""
    array = np.empty((len(ids), 1), object)
    array[:, 0] = ids
    return array


def values(**changed):
    """What the published list holds, for five panoramas: 1, 3 to train, 2 to validate, 2, 4, 5 to test."""
    base = {"panoIds": cell(IDS), "utm": UTM,
            "trainSet": {"first": 2.0, "trainInd": np.array([[1.0], [3.0]])},
            "valSet": {"first": 1.0, "valInd": np.array([[2.0]])},
            "valSetAll": {"first": 3.0, "valInd": np.array([[2.0], [4.0], [5.0]])}}
    return {k: v for k, v in (base | changed).items() if v is not None}


def picture(path, size, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def anu(tmp_path):
    """The published layout: train and val in the small part, valSetAll in the test part."""
    savemat(tmp_path / "ACT_data.mat", values())
    for i, name in enumerate(IDS):
        for part in ("small",) if i in (0, 2) else ("small", "test") if i == 1 else ("test",):
            picture(tmp_path / f"ANU_data_{part}/satview_polish/{name}_satView_polish.jpg", (24, 24), (50 * i, 0, 0))
            picture(tmp_path / f"ANU_data_{part}/streetview/{name}_grdView.jpg", (64, 32), (0, 50 * i, 0))
    return tmp_path


def test_published_layout_with_its_three_index_sets(anu):
    index = read_cvact(anu)
    assert index.ids == IDS and np.array_equal(index.utm, UTM) and index.utm.dtype == np.float64
    # 1-based 1, 3 / 2 / 2, 4, 5.
    assert {k: v.tolist() for k, v in index.splits.items()} == {"train": [0, 2], "val": [1], "test": [1, 3, 4]}
    assert index.tile_paths[0] == anu / "ANU_data_small/satview_polish/_a-Bc_satView_polish.jpg"
    assert index.panorama_paths[4] == anu / "ANU_data_test/streetview/q_q_grdView.jpg"
    assert index.vertical_fov == math.pi and index.sky_paths is None and not index.drops and not index.notes
    test = index.split("test").load(tile_size=8, panorama_size=(8, 16))
    assert np.abs(test.tiles[:, 0].mean(axis=(1, 2)) * 255 - [50, 150, 200]).max() < 3
    assert test.position.tolist() == UTM[[1, 3, 4]].tolist() and test.sky is None
    assert test.heading.tolist() == [0, 0, 0]


def test_the_central_ninety_degrees_are_rows_208_to_623_of_832(tmp_path):
    rows = np.zeros((832, 1664, 3), np.uint8)
    rows[208:624] = 255  # what OriCNN's loader keeps
    for name, array in (("satview_correct/x_satView_polish.png", rows[:16, :16]), ("streetview/x_grdView.png", rows)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(array).save(tmp_path / name)
    index = read_cvact(tmp_path)
    kept = index.load(panorama_size=(416, 16), vertical_fov=math.pi / 2, resample="area")
    assert (kept.panoramas == 1.0).all()
    more = index.load(panorama_size=(418, 16), vertical_fov=math.pi * 418 / 832, resample="area")
    assert (more.panoramas[0, 0, :, 0] == [0.0, *[1.0] * 416, 0.0]).all()


def test_aligned_layout_joins_by_id_and_counts_the_rest(tmp_path):
    savemat(tmp_path / "ACT_data.mat", values())
    for name in ("_a-Bc", "Aa", "zz0"):
        picture(tmp_path / f"satview_correct/{name}_satView_polish.png", (8, 8), 90)
    for name in ("_a-Bc", "Aa", "aa", "notlisted"):
        picture(tmp_path / f"streetview/{name}_grdView.png", (16, 8), 90)
    picture(tmp_path / "satview_correct/notlisted_satView_polish.png", (8, 8), 91)
    for name in ("_a-Bc", "Aa"):
        mask = Image.new("RGB", (16, 8), 0)
        mask.paste((255,) * 3, (0, 0, 16, 2))
        (tmp_path / "pano_sky_mask").mkdir(exist_ok=True)
        mask.save(tmp_path / f"pano_sky_mask/{name}_grdView.png")
    index = read_cvact(tmp_path)
    assert index.ids == ("_a-Bc", "Aa")
    assert {k: v.tolist() for k, v in index.splits.items()} == {"train": [0], "val": [1], "test": [1]}
    assert index.drops == {"no panorama": ("zz0",), "no tile": ("aa",), "in no list": ("notlisted",),
                           "listed, but a picture is missing": ("aa", "zz0", "q_q")}
    assert index.load(panorama_size=(8, 16)).sky.mean() == 2 / 8
    found = audit(tmp_path)
    assert {(f.kind, f.path) for f in found.findings if f.kind not in ("note", "count")} >= {
        ("unmatched", "satview_correct/zz0_satView_polish.png"), ("unmatched", "streetview/aa_grdView.png"),
        ("unmatched", "satview_correct/notlisted_satView_polish.png"),
        ("duplicate", "satview_correct/_a-Bc_satView_polish.png")}  # one colour each
    assert found.counts["train pairs"] == 1 and found.counts["tiles"] == 4


def test_rows_move_up_where_an_earlier_pair_is_missing(anu):
    (anu / "ANU_data_small/streetview/_a-Bc_grdView.jpg").unlink()
    index = read_cvact(anu)
    assert index.ids == IDS[1:] and index.utm.tolist() == UTM[1:].tolist()
    assert {k: v.tolist() for k, v in index.splits.items()} == {"train": [1], "val": [0], "test": [0, 2, 3]}


def test_without_the_list_all_matched_pairs_and_no_split(anu):
    (anu / "ACT_data.mat").unlink()
    index = read_cvact(anu)
    assert index.ids == tuple(sorted(IDS)) and index.splits == {} and index.utm is None and index.position is None
    assert "no ACT_data.mat" in index.notes[0]


def test_one_part_alone_and_a_list_beside_or_named(anu):
    small = read_cvact(anu / "ANU_data_small")
    assert small.ids == IDS[:3] and small.splits["test"].tolist() == [1]
    moved = shutil.move(anu / "ACT_data.mat", anu / "elsewhere.mat")
    assert read_cvact(anu / "ANU_data_small", mat=moved).ids == IDS[:3]


@pytest.mark.parametrize("ids", [
    cell(IDS), cell(IDS).T,                # N x 1 and 1 x N cells
    np.array([f"{i:<9}" for i in IDS]),    # a character matrix, blanks at the end
], ids=["column", "row", "characters"])
def test_ids_in_every_shape(tmp_path, ids):
    savemat(tmp_path / "a.mat", values(panoIds=ids))
    assert read_act_data(tmp_path / "a.mat").ids == IDS


@pytest.mark.parametrize("struct", [
    {"trainInd": np.array([[1, 3]], np.uint16)},        # 1 x n, whole numbers
    {"name": "x", "ids": np.array([1.0, 3.0])},         # another name: the second field
    {"trainInd": np.array([1, 3]), "zzz": 5.0},         # by name although it stands first
], ids=["row", "second", "named"])
def test_index_sets_by_name_or_place(tmp_path, struct):
    savemat(tmp_path / "a.mat", values(trainSet=struct, valSet=None))
    act = read_act_data(tmp_path / "a.mat")
    assert act.splits["train"].tolist() == [0, 2] and list(act.splits) == ["train", "test"]


def test_northing_before_easting_is_turned_round(tmp_path):
    savemat(tmp_path / "a.mat", values(utm=UTM[:, ::-1]))
    act = read_act_data(tmp_path / "a.mat")
    assert act.utm.tolist() == UTM.tolist() and "turned round" in act.notes[0]


@pytest.mark.parametrize(("changed", "what"), [
    ({"panoIds": None}, "no field panoIds; the file has trainSet, utm, valSet, valSetAll"),
    ({"trainSet": None, "valSet": None, "valSetAll": None}, "no field trainSet, valSet or valSetAll"),
    ({"trainSet": {"a": 1.0, "trainInd": np.array([[0.0]])}}, r"trainSet.trainInd names row 0, .* rows 1 to 5"),
    ({"valSet": {"a": 1.0, "valInd": np.array([[6.0]])}}, r"valSet.valInd names row 6, panoIds has rows 1 to 5"),
    ({"valSet": {"a": 1.0, "valInd": np.array([[1.5]])}}, "not whole"),
    ({"valSet": {"a": 1.0, "valInd": "text"}}, "expected numbers"),
    ({"utm": UTM[:4]}, r"utm is float64 of shape \(4, 2\), expected 5 x 2"),
    ({"panoIds": cell(["x", "y", "x", "z", "w"])}, "'x' twice"),
    ({"panoIds": np.arange(5.0)}, "expected text"),
])
def test_a_bad_list_names_file_field_and_mend(tmp_path, changed, what):
    savemat(tmp_path / "ACT_data.mat", values(**changed))
    with pytest.raises(InputError, match=what) as error:
        read_act_data(tmp_path / "ACT_data.mat")
    assert error.value.where == tmp_path / "ACT_data.mat" and error.value.mend


def test_a_field_that_holds_nothing_readable_is_an_error(tmp_path, monkeypatch):
    # scipy gives such objects for Matlab classes; they must not be unwrapped for ever
    savemat(tmp_path / "a.mat", values())
    monkeypatch.setattr("scipy.io.loadmat", lambda _: values(trainSet=np.array([[None]], object)))
    with pytest.raises(InputError, match="trainSet.trainInd holds object, expected numbers"):
        read_act_data(tmp_path / "a.mat")


def test_files_that_are_no_list(tmp_path):
    path = tmp_path / "ACT_data.mat"
    # The first 128 bytes of an HDF5 Matlab file: text, version 0x0200, byte order.
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + bytes(600))
    with pytest.raises(InputError, match=r"version 7.3 \(HDF5\).*-v7"):
        read_act_data(path)
    savemat(path, values())
    whole = path.read_bytes()
    for bad in (b"", b"<html>quota exceeded</html>" * 9, whole[: len(whole) // 2], whole[:130]):
        path.write_bytes(bad)
        with pytest.raises(InputError, match=r"empty|no Matlab file|no field"):
            read_act_data(path)


def test_a_damaged_compressed_list(tmp_path):
    path = tmp_path / "ACT_data.mat"
    savemat(path, values(), do_compression=True)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 0x5A]))  # zlib's check sum of the last field
    with pytest.raises(InputError, match="no Matlab file that can be read .*incorrect data check"):
        read_act_data(path)


def test_positions_of_which_none_is_known(tmp_path, recwarn):
    savemat(tmp_path / "ACT_data.mat", values(utm=np.full((5, 2), np.nan)))
    assert np.isnan(read_act_data(tmp_path / "ACT_data.mat").utm).all() and not recwarn.list


def test_a_folder_around_the_parts(anu, tmp_path_factory):
    root = tmp_path_factory.mktemp("cvact")
    shutil.copytree(anu / "ANU_data_small", root / "ANU_DATA_SMALL" / "ANU_data_small")
    shutil.copy(anu / "ACT_data.mat", root)
    index = read_cvact(root)
    assert index.ids == IDS[:3] and index.splits["train"].tolist() == [0, 2]
    assert audit(root).counts["tiles"] == 3


def test_pairs_of_both_parts_are_taken_from_the_small_one(anu):
    index = read_cvact(anu)
    assert [path.parts[-3] for path in (*index.tile_paths[1:2], *index.panorama_paths[1:2])] == ["ANU_data_small"] * 2


def test_a_folder_that_is_no_cvact(tmp_path):
    (tmp_path / "streetview").mkdir()
    with pytest.raises(InputError, match="neither satview_polish nor satview_correct"):
        read_cvact(tmp_path)


def test_the_audit_of_a_whole_and_of_a_spoiled_tree(anu):
    found = audit(anu)
    assert found.ok, found.text()
    assert found.counts == {"train pairs": 2, "val pairs": 1, "test pairs": 3, "tiles": 5, "panoramas": 5,
                            "sky masks": 0}
    (anu / "ANU_data_small/streetview/aa_grdView.jpg").write_bytes(b"no picture")
    picture(anu / "ANU_data_test/satview_polish/zz0_satView_polish.jpg", (25, 24), 3)
    kinds = {(f.kind, f.path) for f in audit(anu).findings if f.kind not in ("note", "count")}
    assert kinds == {("unreadable", "ANU_data_small/streetview/aa_grdView.jpg"),
                     ("size", "ANU_data_test/satview_polish/zz0_satView_polish.jpg")}


def test_the_real_demonstration_cases(real, tmp_path):
    root = real("nb4_sat2ground/cvact_sat2density")
    index = read_cvact(root)
    assert index.ids == ("case12", "case2", "case4", "case5", "case7", "case8")
    pairs = index.load(tile_size=256, panorama_size=(256, 512))
    # Sky shares measured elsewhere on the same files, to two digits.
    assert np.abs(pairs.sky.mean(axis=(1, 2)) - [0.40, 0.43, 0.41, 0.42, 0.33, 0.37]).max() < 0.0051
    with Image.open(root / "case4/groundview.image.png") as file:
        assert np.array_equal(np.round(pairs.panoramas[2] * 255), np.asarray(file.convert("RGB")).transpose(2, 0, 1))
    assert audit(root).ok and audit(root).counts == {"pairs": 6, "tiles": 6, "panoramas": 6, "sky masks": 6}
    # As published, case 13 repeats case 2 in all three files: the audit says so.
    copy = shutil.copytree(root, tmp_path / "cases", copy_function=shutil.copyfile)
    shutil.copytree(root / "case2", copy / "case13", copy_function=shutil.copyfile)
    twice = [f.path for f in audit(copy).findings if "same bytes" in f.text]
    assert len(twice) == 3 and {p.split("/")[0] for p in twice} <= {"case2", "case13"}
    assert not audit(copy).ok and len(audit(copy).of("duplicate")) == 2  # the mask is a note


def test_real_pairs_face_north(real):
    pairs = read_cvact(real("nb4_sat2ground/cvact_sat2density")).load(tile_size=256, panorama_size=(256, 512))
    right, mirrored = (
        np.mean([ring_correlation(tile, panorama, math.pi, 2.75, 59.0, (4, 24))
                 for tile, panorama in zip(tiles, pairs.panoramas, strict=True)], axis=0)
        for tiles in (pairs.tiles, pairs.tiles[..., ::-1]))
    assert right.argmax() in (0, 1, 511) and right[0] > 0.2 > mirrored.max()  # measured: 0.24 and 0.06
