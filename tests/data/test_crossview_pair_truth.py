"""The truth beside made pairs, typed by hand with json, tifffile, PIL and numpy alone."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tifffile
from PIL import Image

from rsnb.data.crossview.pair_table import read_offsets
from rsnb.data.crossview.pair_truth import has_pair_truth, read_pair_truth
from rsnb.errors import InputError


@pytest.fixture
def root(tmp_path):
    """Pair "a" of training, "b" and "c" of val; tiles of 4 cells, panoramas of 2 x 4, one further camera each."""
    truth = tmp_path / "truth"
    for name in ("heights", "ground", "classes", "depth", "visible", "occupancy", "views"):
        (truth / name).mkdir(parents=True)
    rows = [{"id": i, "split": s, "offset_m": [1.5, -2.0], "tile_centre": [100.0 + k, 200.5]}
            for k, (i, s) in enumerate((("a", "train"), ("b", "val"), ("c", "val")))]
    (truth / "pairs.json").write_text(json.dumps({
        "tile_extent_m": 8.0, "camera_height_m": 2.5, "vertical_fov_deg": 180.0, "ceiling_m": 6.0, "slices": 3,
        "crs": "EPSG:3879", "origin": [25490000.0, 6668000.0, 0.0],
        "classes": {"3": "building"}, "pairs": rows}))
    (truth / "views.json").write_text(json.dumps({"positions": {"b": [[1, 2, 3]], "c": [[4, 5, 6]]}}))
    for k, i in enumerate("abc"):
        tifffile.imwrite(truth / f"heights/{i}.tif", np.full((4, 4), k, np.float32))
        tifffile.imwrite(truth / f"ground/{i}.tif", np.full((4, 4), k - 0.5, np.float32))
        tifffile.imwrite(truth / f"depth/{i}.tif", np.array([[1, np.inf, 3, 4], [5, 6, np.inf, 8]], np.float32))
        Image.fromarray(np.full((4, 4), 3, np.uint8)).save(truth / f"classes/{i}.png")
        if i != "a":
            Image.fromarray(np.array([[0, 1, 2, 2]] * 4, np.uint8)).save(truth / f"visible/{i}.png")
            np.savez(truth / f"occupancy/{i}.npz", occupancy=np.arange(48).reshape(3, 4, 4) < 8 * k)
            np.savez(truth / f"views/{i}.npz", depth=np.full((1, 2, 4), k, np.float32), sky=np.zeros((1, 2, 4), bool),
                     rgb=np.full((1, 2, 4, 3), (51, 102, 255), np.uint8))
    return tmp_path


def test_every_part_of_evaluated_pairs(root):
    truth = read_pair_truth(root, ["c", "b"])
    assert has_pair_truth(root) and truth.ids == ("c", "b") and len(truth) == 2
    assert truth.ground[:, 0, 0].tolist() == [1.5, 0.5]
    assert truth.heights[:, 0, 0].tolist() == [2.0, 1.0] and (truth.classes == 3).all()
    assert truth.visible[0, 0].tolist() == [False, True, True, True]
    assert truth.top_visible[0, 0].tolist() == [False, False, True, True]
    assert truth.occupancy.shape == (2, 3, 4, 4) and truth.occupancy.sum(axis=(1, 2, 3)).tolist() == [16, 8]
    assert (truth.tile_extent_m, truth.camera_height_m, truth.ceiling_m) == (8.0, 2.5, 6.0)
    assert truth.vertical_fov == pytest.approx(math.pi) and truth.class_names == {3: "building"}
    assert truth.camera.tolist() == [[1.5, -2.0, 2.5]] * 2 and truth.views.tolist() == [[[4, 5, 6]], [[1, 2, 3]]]
    assert truth.view_depth[0, 0, 0, 0] == 2.0 and truth.view_sky.shape == (2, 1, 2, 4)
    assert truth.view_rgb.shape == (2, 1, 3, 2, 4) and truth.view_rgb[0, 0, :, 0, 0] == pytest.approx([0.2, 0.4, 1.0])
    # Model metres plus the model's origin.
    assert truth.crs == "EPSG:3879" and truth.centre.tolist() == [[25490102.0, 6668200.5], [25490101.0, 6668200.5]]
    # Nothing is hit in two places, but below the horizon that is no sky.
    assert truth.sky[0].tolist() == [[False, True, False, False], [False] * 4]


def test_training_pairs_and_all_pairs_bring_what_each_has(root):
    for truth in (read_pair_truth(root, ["a"]), read_pair_truth(root)):
        assert truth.occupancy is truth.visible is truth.views is truth.ceiling_m is None
    assert read_pair_truth(root).heights[:, 0, 0].tolist() == [0.0, 1.0, 2.0]


def changed(**values):
    """pairs.json with keys set, or taken away (None)."""
    def spoil(truth):
        table = json.loads((truth / "pairs.json").read_text()) | values
        (truth / "pairs.json").write_text(json.dumps({k: v for k, v in table.items() if v is not None}))
    return spoil


def row_changed(**values):
    """The row of pair b with keys set, or taken away (None)."""
    def spoil(truth):
        table = json.loads((truth / "pairs.json").read_text())
        table["pairs"][1] = {k: v for k, v in (table["pairs"][1] | values).items() if v is not None}
        (truth / "pairs.json").write_text(json.dumps(table))
    return spoil


def arrays_changed(name, **values):
    """An .npz with arrays set, or taken away (None)."""
    def spoil(truth):
        with np.load(truth / name) as file:
            arrays = dict(file) | values
        np.savez(truth / name, **{k: v for k, v in arrays.items() if v is not None})
    return spoil


def half_written(truth):
    text = (truth / "pairs.json").read_text()
    (truth / "pairs.json").write_text(text[:len(text) // 2])


def without(folder):
    return lambda truth: [path.unlink() for path in (truth / folder).iterdir()]


SPOILED = {
    "no list": (lambda t: (t / "pairs.json").unlink(), "no truth of pairs"),
    "broken list": (lambda t: (t / "pairs.json").write_text("{"), "no JSON"),
    "half a list": (half_written, "no JSON"),
    "not text": (lambda t: (t / "pairs.json").write_bytes(b"\xff\xfe\x00"), "no JSON"),
    "list of a list": (lambda t: (t / "pairs.json").write_text("[]"), "holds list, expected an object"),
    "no pairs": (changed(pairs=None), "'pairs' is missing"),
    "pairs are no list": (changed(pairs={"b": 1}), "'pairs' is .*expected a list"),
    "a pair is text": (changed(pairs=["b", "c"]), "pair 1 is b, expected an object"),
    "no extent": (changed(tile_extent_m=None), "'tile_extent_m' is missing"),
    "extent is text": (changed(tile_extent_m="8"), "'tile_extent_m' is 8, expected a number"),
    "extent 0": (changed(tile_extent_m=0), "'tile_extent_m' is 0, expected a number above 0"),
    "no camera height": (changed(camera_height_m=None), "'camera_height_m' is missing"),
    "height is NaN": (changed(camera_height_m=math.nan), "'camera_height_m' is nan"),
    "no field of view": (changed(vertical_fov_deg=None), "'vertical_fov_deg' is missing"),
    "field of view 270": (changed(vertical_fov_deg=270), "'vertical_fov_deg' is 270, .*up to 180"),
    "no ceiling": (changed(ceiling_m=None), "'ceiling_m' is missing, although"),
    "slices are text": (changed(slices="3"), "'slices' is '3', expected a whole number"),
    "classes by name": (changed(classes={"building": 3}), "'classes' is"),
    "CRS is a number": (changed(crs=3879), "'crs' is 3879, expected text"),
    "origin of two": (changed(origin=[1, 2]), "'origin' is .*expected 3 numbers"),
    "no id": (row_changed(id=None), "'id' of pair 2 is missing"),
    "id twice": (row_changed(id="c"), "pair 'c': it stands there twice"),
    "no split": (row_changed(split=None), "'split' of pair 2 is missing"),
    "no offset": (row_changed(offset_m=None), "pair 'b': 'offset_m' is missing"),
    "offset of one": (row_changed(offset_m=[1.0]), r"pair 'b': 'offset_m' is \[1.0\], expected 2 numbers"),
    "no centre": (row_changed(tile_centre=None), "pair 'b': 'tile_centre' is missing"),
    "no heights": (lambda t: (t / "heights/b.tif").unlink(), "pair b has no heights"),
    "no heights at all": (without("heights"), "pair b has no heights"),
    "broken heights": (lambda t: (t / "heights/b.tif").write_bytes(b"x"), "cannot be read"),
    "colour classes": (lambda t: Image.new("RGB", (4, 4)).save(t / "classes/b.png"), "other than 2 axes"),
    "other size": (lambda t: tifffile.imwrite(t / "heights/b.tif", np.zeros((5, 5), np.float32)), "different shape"),
    "ground of other size": (lambda t: [tifffile.imwrite(t / f"ground/{i}.tif", np.zeros((5, 5), np.float32))
                                        for i in "bc"], "ground has 5 x 5 cells, heights 4 x 4"),
    "no occupancy": (lambda t: (t / "occupancy/b.npz").unlink(), "pair b has no occupancy, others have"),
    "no occupancy at all": (without("occupancy"), "no occupancy, although pairs.json says 3 slices"),
    "empty occupancy": (arrays_changed("occupancy/b.npz", occupancy=None), "b.npz: it holds no 'occupancy'"),
    "no views at all": (without("views"), "no views, although"),
    "views without sky": (arrays_changed("views/b.npz", sky=None), "b.npz: it holds no 'sky'"),
    "views of other size": (lambda t: [arrays_changed(f"views/{i}.npz", depth=np.zeros((1, 3, 4)))(t) for i in "bc"],
                            "views have depth"),
    "no views.json": (lambda t: (t / "views.json").unlink(), "views.json: there are views and nothing that says where"),
    "no positions": (lambda t: (t / "views.json").write_text("{}"), "'positions' is missing"),
    "positions of one": (lambda t: (t / "views.json").write_text('{"positions": {"c": [[1, 2, 3]]}}'),
                         "no 1 positions for the views of pair b"),
    "position of two": (lambda t: (t / "views.json").write_text('{"positions": {"b": [[1, 2]], "c": [[1, 2, 3]]}}'),
                        r"pair 'b': 'position' is \[1, 2\], expected 3 numbers"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_is_missing_or_broken_is_named(root, how):
    spoil, what = SPOILED[how]
    spoil(root / "truth")
    with pytest.raises(InputError, match=what) as error:
        read_pair_truth(root, ["b", "c"])
    assert root in error.value.where.parents and error.value.mend


def test_a_set_without_a_place_has_centres_on_a_plane(root):
    changed(crs=None, origin=None)(root / "truth")
    truth = read_pair_truth(root, ["a"])
    assert truth.crs is None and truth.centre.tolist() == [[100.0, 200.5]]


def test_offsets_are_found_from_the_set_and_from_a_part_of_it(root):
    assert read_offsets(root, ["b", "of another set"]).tolist() == [[1.5, -2.0], [0.0, 0.0]]
    for name in ("ANU_data_small", "ANU_data_test"):
        (root / name).mkdir()
        assert read_offsets(root / name, ["b", "a"]).tolist() == [[1.5, -2.0]] * 2
        assert read_offsets(root / name, ["b", "of another set"]) is None  # it only lies beside it
    (root / "of mine").mkdir()
    assert read_offsets(root / "of mine", ["b"]) is None and read_offsets(root / "truth" / "heights", ["b"]) is None
    half_written(root / "truth")
    assert read_offsets(root / "of mine", ["b"]) is None
    with pytest.raises(InputError, match="no JSON"):
        read_offsets(root, ["b"])


def test_unknown_pairs_and_a_real_set_are_refused(root, tmp_path_factory):
    with pytest.raises(InputError, match="does not know pair 'z'"):
        read_pair_truth(root, ["z"])
    with pytest.raises(InputError, match="no pair is asked for"):
        read_pair_truth(root, [])
    other = tmp_path_factory.mktemp("real")
    assert not has_pair_truth(other)
    with pytest.raises(InputError, match="real ones have none"):
        read_pair_truth(other)
