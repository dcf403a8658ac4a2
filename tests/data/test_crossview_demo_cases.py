"""Demonstration cases typed by hand, spoiled one by one, and the real ones."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from PIL import Image

from rsnb.data.crossview.demo_cases import audit, find_cases, read_demo_cases
from rsnb.data.crossview.pair_pictures import PairWarning
from rsnb.errors import InputError


def case(folder, seed, panorama=(16, 8), mask=(16, 8), tile=(8, 8)):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for name, size in (("satview-input", tile), ("groundview.image", panorama), ("groundview.sky", mask)):
        if size is not None:
            pixels = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
            pixels = (pixels > 127) * np.uint8(255) if "sky" in name else pixels
            Image.fromarray(pixels).save(folder / f"{name}.png")


@pytest.fixture
def cases(tmp_path):
    for number in (12, 2, 4):
        case(tmp_path / f"case{number}", number)
    return tmp_path


def test_cases_come_in_the_order_of_their_numbers_with_all_three_pictures(cases):
    index = read_demo_cases(cases, tile_extent_m=30.0)
    assert index.ids == ("case2", "case4", "case12") and not index.drops and not index.notes
    assert index.vertical_fov == math.pi and (index.heading == 0).all() and index.tile_extent_m == 30.0
    pairs = index.load(tile_size=8, panorama_size=(8, 16))
    with Image.open(cases / "case12/groundview.image.png") as file:
        assert np.array_equal(np.round(pairs.panoramas[2] * 255), np.asarray(file).transpose(2, 0, 1))
    with Image.open(cases / "case12/groundview.sky.png") as file:
        assert np.array_equal(pairs.sky[2], np.asarray(file.convert("L")) > 127)
    assert audit(cases).ok and audit(cases).counts == {"cases": 3, "tiles": 3, "panoramas": 3, "sky masks": 3}


def test_one_case_alone_and_a_folder_around_them(cases, tmp_path_factory):
    assert read_demo_cases(cases / "case4").ids == ("case4",)
    around = tmp_path_factory.mktemp("around")
    shutil.copytree(cases, around / "demo_img")
    assert read_demo_cases(around).ids == ("case2", "case4", "case12")


@pytest.mark.parametrize(("spoiled", "reason", "kind"), [
    ({"panorama": (16, 9)}, "panorama of 16 x 9 pixels, which is not twice as wide as high", "size"),
    ({"mask": (16, 4)}, "sky mask of 16 x 4 pixels beside a panorama of 16 x 8", "size"),
    ({"tile": (8, 6)}, "tile of 8 x 6 pixels, which is not square", "size"),
    ({"panorama": None}, "no panorama", "missing"), ({"tile": None}, "no tile", "missing"),
], ids=["panorama not 2:1", "mask of another shape", "tile not square", "no panorama", "no tile"])
def test_what_is_no_pair_is_left_out_counted_and_audited(cases, spoiled, reason, kind):
    case(cases / "case3", 3, **spoiled)
    index = read_demo_cases(cases)
    assert "case3" not in index.ids and len(index) == 3
    (found, names), = index.drops.items()
    assert reason in found and names == ("case3",)
    assert not audit(cases).ok and {f.kind for f in audit(cases).findings if f.path.startswith("case3")} >= {kind}
    with pytest.raises(InputError, match="no case is whole: case3 has"):
        read_demo_cases(cases / "case3")


def test_a_mask_of_another_size_is_kept_and_resized_with_a_warning(cases):
    case(cases / "case3", 3, mask=(32, 16))
    index = read_demo_cases(cases)
    assert index.ids == ("case2", "case3", "case4", "case12") and not index.drops
    with pytest.warns(PairWarning, match=r"1 of 4 masks have another size than their panorama.*\(case3\)"):
        pairs = index.load(tile_size=8, panorama_size=(8, 16))
    with Image.open(cases / "case3/groundview.sky.png") as file:  # nearest of 2 x 2: the later one of the middle
        assert np.array_equal(pairs.sky[1], np.asarray(file.convert("L"))[1::2, 1::2] > 127)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_beyond_pillows_limit_is_named(cases, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # an error above 80; panoramas have 128 pixels, tiles 64
    with pytest.raises(InputError, match=r"case2.groundview.image.png: the picture is too large.*Make it smaller"):
        read_demo_cases(cases)
    assert {f.kind for f in audit(cases).findings} - {"note"} == {"unreadable"}


def test_a_case_without_mask_stays_and_a_broken_picture_goes(cases):
    case(cases / "case5", 5, mask=None)
    (cases / "case4/satview-input.png").write_bytes(b"no picture")
    index = read_demo_cases(cases)
    assert index.ids == ("case2", "case5", "case12") and index.sky_paths[1] is None
    assert index.notes == ("1 cases have no sky mask (case5)",)
    assert index.drops == {"a tile that is no picture": ("case4",)}
    assert {(f.kind, f.path) for f in audit(cases, decode=False).findings} == {("missing", "case5"),
                                                                              ("unreadable", "case4")}


def test_the_second_of_two_equal_cases_is_left_out_unless_it_is_asked_for(cases):
    shutil.copytree(cases / "case2", cases / "case13")
    assert read_demo_cases(cases).drops == {"the same files as another case": ("case13",)}
    assert read_demo_cases(cases, duplicates="keep").ids == ("case2", "case4", "case12", "case13")
    found = audit(cases)
    assert [(f.path, f.text) for f in found.of("duplicate")] == [("case13", "the same files as case2")]


def test_a_folder_without_cases_says_what_it_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"no demonstration case here.*satview-input\.png"):
        read_demo_cases(tmp_path)


def test_the_real_cases_and_the_duplicate_that_was_published(real, tmp_path):
    root = real("nb4_sat2ground/cvact_sat2density")
    index = read_demo_cases(root)
    assert index.ids == ("case2", "case4", "case5", "case7", "case8", "case12") and not index.drops
    assert audit(root).ok and set(find_cases(root)) == set(index.ids)
    copy = shutil.copytree(root, tmp_path / "cases", copy_function=shutil.copyfile)
    shutil.copytree(root / "case2", copy / "case13", copy_function=shutil.copyfile)
    assert read_demo_cases(copy).drops == {"the same files as another case": ("case13",)}
    assert [f.path for f in audit(copy).of("duplicate")] == ["case13"]
