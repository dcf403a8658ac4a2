"""The truth beside made pairs, typed by hand with json, tifffile, PIL and numpy alone."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tifffile
from PIL import Image

from rsnb.data.crossview.pair_truth import has_pair_truth, read_pair_truth
from rsnb.errors import InputError


@pytest.fixture
def root(tmp_path):
    """Pair "a" of training, "b" and "c" of val; tiles of 4 cells, panoramas of 2 x 4, one further camera each."""
    truth = tmp_path / "truth"
    for name in ("heights", "ground", "classes", "depth", "visible", "occupancy", "views"):
        (truth / name).mkdir(parents=True)
    rows = [{"id": i, "split": s, "offset_m": [1.5, -2.0]} for i, s in (("a", "train"), ("b", "val"), ("c", "val"))]
    (truth / "pairs.json").write_text(json.dumps({
        "tile_extent_m": 8.0, "camera_height_m": 2.5, "vertical_fov_deg": 180.0, "ceiling_m": 6.0, "slices": 3,
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
    # Nothing is hit in two places, but below the horizon that is no sky.
    assert truth.sky[0].tolist() == [[False, True, False, False], [False] * 4]


def test_training_pairs_and_all_pairs_bring_what_each_has(root):
    for truth in (read_pair_truth(root, ["a"]), read_pair_truth(root)):
        assert truth.occupancy is truth.visible is truth.views is truth.ceiling_m is None
    assert read_pair_truth(root).heights[:, 0, 0].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(("spoil", "what"), [
    (lambda t: (t / "pairs.json").unlink(), "no truth of pairs"),
    (lambda t: (t / "pairs.json").write_text("{"), "no JSON"),
    (lambda t: (t / "heights/b.tif").unlink(), "pair b has no heights"),
    (lambda t: (t / "heights/b.tif").write_bytes(b"x"), "cannot be read"),
    (lambda t: (t / "occupancy/b.npz").unlink(), "pair b has no occupancy, others have"),
    (lambda t: (t / "views.json").write_text('{"positions": {"c": [[1, 2, 3]]}}'), "no positions for the views of"),
    (lambda t: tifffile.imwrite(t / "heights/b.tif", np.zeros((5, 5), np.float32)), "different shape"),
], ids=["no list", "broken list", "no heights", "broken heights", "no occupancy", "no positions", "other size"])
def test_what_is_missing_or_broken_is_named(root, spoil, what):
    spoil(root / "truth")
    with pytest.raises(InputError, match=what):
        read_pair_truth(root, ["b", "c"])


def test_unknown_pairs_and_a_real_set_are_refused(root, tmp_path_factory):
    with pytest.raises(InputError, match="does not know pair 'z'"):
        read_pair_truth(root, ["z"])
    with pytest.raises(InputError, match="no pair is asked for"):
        read_pair_truth(root, [])
    other = tmp_path_factory.mktemp("real")
    assert not has_pair_truth(other)
    with pytest.raises(InputError, match="real ones have none"):
        read_pair_truth(other)
