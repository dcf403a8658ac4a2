"""One function opens every set of pairs by its folder alone."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from rsnb.data.crossview.dispatch import FORMATS, read_pairs
from rsnb.errors import InputError


def write(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(str(path))).integers(0, 256, (*size, 3)).astype(np.uint8)).save(path)


def cvusa(root):
    names = ("0000001", "0000002")
    for name in names:
        write(root / f"bingmap/19/{name}.jpg", (8, 8))
        write(root / f"streetview/panos/{name}.jpg", (4, 22))
    (root / "splits").mkdir()
    (root / "splits/val-19zl.csv").write_text("".join(
        f"bingmap/19/{n}.jpg,streetview/panos/{n}.jpg,streetview/annotations/{n}.png\n" for n in names))


def cvusa_without_a_list(root):
    for name in ("a", "b"):
        write(root / f"aerial/{name}.jpg", (8, 8))
        write(root / f"ground/{name}.jpg", (4, 22))


def aligned(root):
    write(root / "satview_correct/x_satView_polish.png", (8, 8))
    write(root / "streetview/x_grdView.png", (8, 16))
    write(root / "pano_sky_mask/x_grdView.png", (8, 16))


def published(root):
    write(root / "ANU_data_small/satview_polish/x_satView_polish.jpg", (8, 8))
    write(root / "ANU_data_small/streetview/x_grdView.jpg", (8, 16))


def one_part(root):
    write(root / "satview_polish/x_satView_polish.jpg", (8, 8))
    write(root / "streetview/x_grdView.jpg", (8, 16))


def cases(root):
    write(root / "case1/satview-input.png", (8, 8))
    write(root / "case1/groundview.image.png", (8, 16))


KINDS = {"cvusa": (cvusa, "CVUSA", 2), "cvusa without a list": (cvusa_without_a_list, "CVUSA", 2),
         "aligned": (aligned, "CVACT", 1), "published": (published, "CVACT", 1), "one part": (one_part, "CVACT", 1),
         "cases": (cases, "Sat2Density cases", 1)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_recognised_by_its_folder_and_from_two_levels_above(tmp_path, kind):
    make, name, count = KINDS[kind]
    make(tmp_path / "a/b/set")
    for root in (tmp_path / "a/b/set", tmp_path / "a"):
        index = read_pairs(root, tile_extent_m=50.0, camera_height_m=2.0)
        assert (index.name, len(index), index.tile_extent_m, index.camera_height_m) == (name, count, 50.0, 2.0)
        assert index.load(tile_size=8, panorama_size=(4, 16), sky=False).tiles.shape == (count, 3, 8, 8)


def test_several_sets_none_and_a_forced_format(tmp_path):
    with pytest.raises(InputError, match=r"no set of .*Found: nothing.*cvact: satview_polish"):
        read_pairs(tmp_path)
    cvusa(tmp_path / "one")
    aligned(tmp_path / "two")
    with pytest.raises(InputError, match=r"2 sets of pairs here. Give one of them: one, two"):
        read_pairs(tmp_path)
    with pytest.raises(InputError, match=r"'vigor' is no format of pairs.*cvact, demo_cases, cvusa"):
        read_pairs(tmp_path, "vigor")
    with pytest.raises(InputError, match="no demonstration case"):
        read_pairs(tmp_path / "one", "demo_cases")
    with pytest.raises(InputError, match="tile_extent_m is -1"):
        read_pairs(tmp_path / "one", tile_extent_m=-1)
    assert set(FORMATS) == {"cvact", "demo_cases", "cvusa"}


def test_the_real_sets(real):
    names = {"cvact_sat2density": ("Sat2Density cases", 6), "cvusa_pairs": ("CVUSA", 7), "crossnet_cvusa": ("CVUSA", 5)}
    for folder, expected in names.items():
        index = read_pairs(real(f"nb4_sat2ground/{folder}"))
        assert (index.name, len(index)) == expected and index.present.all()
    with pytest.raises(InputError, match="Dayton tuples"):
        read_pairs(real("nb4_sat2ground/dayton_samples"))
    with pytest.raises(InputError, match="3 sets of pairs here.*cvact_sat2density"):
        read_pairs(real("nb4_sat2ground/cvact_sat2density").parent)


def test_the_lists_paths_may_name_another_folder(real, tmp_path):
    # crossnet's data.csv says imgs/aerial0.jpg; the pictures lie beside it, or where it says.
    root = real("nb4_sat2ground/crossnet_cvusa")
    (tmp_path / "imgs").mkdir()
    for path in root.iterdir():
        shutil.copyfile(path, tmp_path / ("" if path.suffix == ".csv" else "imgs") / path.name)
    here, there = read_pairs(root), read_pairs(tmp_path)
    assert here.ids == there.ids and [p.name for p in here.label_paths] == [p.name for p in there.label_paths]
