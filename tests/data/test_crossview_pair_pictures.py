"""Masks and panoramas of sizes that do not fit, and batches read by threads: against Pillow and against `load`."""

from __future__ import annotations

import math
import pickle
import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rsnb.data.crossview import sized_pairs
from rsnb.data.crossview.cvact import read_cvact
from rsnb.data.crossview.cvusa import read_cvusa
from rsnb.data.crossview.demo_cases import read_demo_cases
from rsnb.data.crossview.pair_pictures import PairWarning, read_mask, read_pair, same_shape
from rsnb.errors import InputError

NAMES = ("a", "b", "c", "d", "e")


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def root(tmp_path):
    """An aligned CVACT tree of five pairs; the mask of pair k is sky in its upper k + 1 rows of 16."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(NAMES):
        write(tmp_path / f"satview_correct/{name}_satView_polish.png", rng.integers(0, 256, (16, 16, 3), np.uint8))
        write(tmp_path / f"streetview/{name}_grdView.png", rng.integers(0, 256, (16, 32, 3), np.uint8))
        write(tmp_path / f"pano_sky_mask/{name}_grdView.png", mask(16, 32, k + 1))
    return tmp_path


def mask(rows, columns, sky):
    return np.repeat((np.arange(rows) < sky)[:, None] * np.uint8(255), columns, axis=1)


SIZES = {"tile_size": 8, "panorama_size": (8, 32)}


def test_masks_of_another_size_are_resized_and_counted_once(root):
    for name, rows in (("b", 32), ("d", 8)):
        write(root / f"pano_sky_mask/{name}_grdView.png", mask(rows, 2 * rows, rows // 4))
    with pytest.warns(PairWarning, match=r"CVACT: 2 of 5 masks have another size .* resized \(b, d\)\.") as said:
        pairs = read_cvact(root).load(**SIZES)
    assert len(said) == 1 and said[0].filename == __file__
    assert pairs.sky[1].sum() == pairs.sky[3].sum() == 2 * 32  # a quarter of 8 rows
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_cvact(root).subset([0, 2, 4]).load(**SIZES)
        read_cvact(root).load(**SIZES, sky=False)


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (32, 32), (16, 28), (12, 32)])
def test_masks_of_another_shape_are_refused(root, rows, columns):
    write(root / "pano_sky_mask/c_grdView.png", mask(rows, columns, 3))
    with pytest.raises(InputError, match=rf"c_grdView.png: the sky mask has {columns} x {rows} pixels, its panorama 32 "
                                         r"x 16: another shape"):
        read_cvact(root).load(**SIZES)
    assert read_cvact(root).load(**SIZES, sky=False).sky is None


def test_shapes_are_equal_when_one_is_the_other_scaled_and_rounded():
    # 1232 x 224 at a third is 410.67 x 74.67: both sides to the nearest pixel, or both cut.
    assert all(same_shape((1232, 224), small) and same_shape(small, (1232, 224)) for small in ((411, 75), (410, 74)))
    assert same_shape((512, 256), (1664, 832)) and not same_shape((512, 256), (512, 128))
    # The published CVUSA panorama beside a mask squeezed to 512 x 128; and one row too many.
    assert not same_shape((1232, 224), (512, 128)) and not same_shape((512, 256), (512, 258))


def test_masks_that_are_sky_everywhere_are_counted(root):
    for name in "ae":
        write(root / f"pano_sky_mask/{name}_grdView.png", mask(16, 32, 16))
    with pytest.warns(PairWarning, match=r"2 of 5 masks are sky everywhere \(a, e\)"):
        assert read_cvact(root).load(**SIZES).sky[[0, 4]].all()


@pytest.mark.parametrize("size", [(8, 32), (16, 16), (18, 32)], ids=lambda s: f"{s[1]}x{s[0]}")
def test_a_whole_sphere_that_is_not_two_to_one_is_refused(root, size):
    write(root / "streetview/b_grdView.png", np.zeros((*size, 3), np.uint8))
    with pytest.raises(InputError, match=rf"b_grdView.png: the panorama has {size[1]} x {size[0]} pixels, which is not "
                                         r"2:1"):
        read_cvact(root).subset([1]).load(**SIZES, sky=False)
    # A reader that says that less than the sphere is shown takes any shape.
    part = replace(read_cvact(root), vertical_fov=math.radians(90)).subset([1])
    assert part.load(**SIZES, sky=False).panoramas.shape == (1, 3, 8, 32)


def test_the_real_panoramas_are_read_by_all_readers(real):
    for read, folder in ((read_demo_cases, "cvact_sat2density"), (read_cvact, "cvact_sat2density"),
                         (read_cvusa, "cvusa_pairs"), (read_cvusa, "crossnet_cvusa")):
        with warnings.catch_warnings():
            warnings.simplefilter("error", PairWarning)
            index = read(real(f"nb4_sat2ground/{folder}"))
            assert len(index.load(tile_size=16, panorama_size=(16, 32))) == len(index) >= 5


def same(a, b):
    return a.ids == b.ids and a.vertical_fov == b.vertical_fov and all(
        np.array_equal(getattr(a, name), getattr(b, name)) and getattr(a, name).dtype == getattr(b, name).dtype
        for name in ("tiles", "panoramas", "sky", "heading", "offset_m"))


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_threads_read_the_same_pixels_as_load(root, workers):
    index = replace(read_cvact(root), camera_height_m=2.0, tile_extent_m=40.0, utm=np.arange(10.0).reshape(5, 2))
    source = index.sized(8, (8, 32), workers=workers)
    for asked in (None, 2, [4, 0, 0, 3], np.array([True, False, False, True, True])):
        pairs, expected = source.load(asked), index.load(asked, **SIZES)
        assert same(pairs, expected) and np.array_equal(pairs.position, expected.position)
        assert (pairs.camera_height_m, pairs.tile_extent_m) == (2.0, 40.0)
    assert len(source) == 5 and source.ids == NAMES
    part = source.subset([3, 1])
    assert part.ids == ("d", "b") and same(part.load(), index.load([3, 1], **SIZES))
    assert index.sized(8, (8, 32), sky=False, workers=workers).load().sky is None


@pytest.mark.parametrize("workers", [1, 4])
def test_errors_are_those_of_load(root, workers):
    source = read_cvact(root).sized(8, (8, 32), workers=workers)
    with pytest.raises(InputError, match="no pair is asked for"):
        source.load([])
    with pytest.raises(InputError, match="does not fit 5 pairs"):
        source.load([5])
    write(root / "streetview/d_grdView.png", np.zeros((16, 30, 3), np.uint8))
    (root / "satview_correct/e_satView_polish.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="d_grdView.png: the panorama has 30 x 16 pixels"):  # the first that is wrong
        source.load()
    with pytest.raises(InputError, match="e_satView_polish.png: this is no picture"):
        source.load([4])
    with pytest.raises(InputError, match="workers is 0"):
        read_cvact(root).sized(workers=0)


def test_what_is_read_ahead_has_the_same_pixels_and_errors(root, monkeypatch):
    index = read_cvact(root)
    source, read = index.sized(8, (8, 32), workers=2), []

    def noting(tile, *rest):
        read.append((tile.name[0], threading.current_thread().name[:5]))
        return read_pair(tile, *rest)

    monkeypatch.setattr(sized_pairs, "read_pair", noting)
    source.prefetch([3, 1])
    assert same(source.load([3, 1]), index.load([3, 1], **SIZES)) and sorted(read) == [("b", "pairs"), ("d", "pairs")]
    source.prefetch([0, 2])
    source.prefetch([0, 2])  # twice is once
    assert same(source.load([4, 2]), index.load([4, 2], **SIZES))  # others than was said
    assert same(source.load([0, 2]), index.load([0, 2], **SIZES)) and sorted(name for name, _ in read[2:]) == ["a", "c"]
    assert same(source.load([0, 2]), index.load([0, 2], **SIZES)) and len(read) == 4  # and not again
    again = pickle.loads(pickle.dumps(source))
    again.prefetch(np.array([1]))
    assert same(again.load([1]), source.load([1])) and again.subset([4, 1])._reader is not again._reader
    # errors are those of load, whenever they happen
    (root / "satview_correct/e_satView_polish.png").write_bytes(b"no picture")
    for bad, words in (([0, 4], "e_satView_polish.png: this is no picture"), ([5], "does not fit 5 pairs")):
        source.prefetch(bad)
        with pytest.raises(InputError, match=words):
            source.load(bad)
    alone = index.sized(8, (8, 32), workers=1)
    alone.prefetch([0, 1])
    assert same(alone.load([0, 1]), source.load([0, 1])) and alone._reader.pool is None


def test_every_batch_of_a_training_warns_of_a_mask_once(root):
    write(root / "pano_sky_mask/b_grdView.png", mask(32, 64, 4))
    write(root / "pano_sky_mask/c_grdView.png", mask(16, 32, 16))
    source = read_cvact(root).sized(8, (8, 32))
    with pytest.warns(PairWarning, match=r"1 of 3 masks have another size .*\(b\)\.$") as said:
        source.load([0, 1, 3])
    assert said[0].filename == __file__
    with pytest.warns(PairWarning, match=r"CVACT: 1 of 3 masks are sky everywhere \(c\)\.$"):
        source.load([0, 1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source.load()


def upper_rows(calls):
    """Finds sky in as many upper rows as the darkest sample's value modulo 7, and notes what it was asked."""
    def find(panoramas, vertical_fov):
        calls.append((panoramas.shape, vertical_fov, threading.current_thread() is threading.main_thread()))
        rows = np.round(panoramas.mean(axis=(1, 2, 3)) * 1000).astype(int) % 7 + 1
        return np.broadcast_to(np.arange(panoramas.shape[2])[:, None] < rows[:, None, None],
                               (len(panoramas), *panoramas.shape[2:]))
    return find


def test_a_sky_is_found_once_where_no_mask_is_there(root):
    for name in "bd":
        (root / f"pano_sky_mask/{name}_grdView.png").unlink()
    index = read_cvact(root)
    with pytest.raises(InputError, match="pair b has no sky mask, others have"):
        index.sized(8, (8, 32)).load([0, 1])
    calls: list = []
    source = index.sized(8, (8, 32), find_sky=upper_rows(calls))
    pairs = source.load([1, 0, 1, 3])
    assert calls == [((2, 3, 8, 32), math.pi, True)]  # b once, although it is there twice, and d
    found = upper_rows([])(index.load([1, 3], **SIZES, sky=False).panoramas, math.pi)
    assert np.array_equal(pairs.sky[[0, 2, 3]], found[[0, 0, 1]]) and pairs.sky.dtype == bool
    assert np.array_equal(pairs.sky[1], read_mask(root / "pano_sky_mask/a_grdView.png", (8, 32)))
    assert same(source.load([1, 0, 1, 3]), pairs) and same(source.subset([1, 3]).load(), source.load([1, 3]))
    assert len(calls) == 1
    kept = list(source._found.values())
    assert sum(a.nbytes for a in kept) == 2 * 8 * 32 / 8  # a bit a pixel


def test_a_set_without_any_mask_and_an_answer_that_is_none(root):
    for path in (root / "pano_sky_mask").iterdir():
        path.unlink()
    index = read_cvact(root)
    assert index.sized(8, (8, 32)).load().sky is None
    assert index.sized(8, (9, 7), find_sky=upper_rows([])).load().sky.shape == (5, 9, 7)  # 63 pixels are no whole bytes
    for answer in (lambda p, _: np.zeros(len(p), bool), lambda p, _: p[:, 0]):
        with pytest.raises(InputError, match=r"find_sky gives .* for 5 panoramas of 32 x 8 pixels.*\[N, H, W\] bool"):
            index.sized(8, (8, 32), find_sky=answer).load()
