"""Notebook 04 in this process: every parameter changes what it says it changes.

The cells run as a script would, at `tiny` scale on a few pairs of the default city (built once into the data folder).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from density_cells import (
    BARS,
    CELLS,
    FEW,
    MODEL,
    OTHERS,
    PAIRS,
    QUICK,
    SMALL,
    equal,
    metrics_of,
    recorded,
    reported,
    run_cells,
    trained,
)

import rsnb.city
import rsnb.density
from rsnb.errors import InputError
from rsnb.metrics.perceptual import trunk_weights

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("city")]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """What the notebook leaves of few pairs, and the folder."""
    folder = tmp_path_factory.mktemp("learnt")
    return folder, run_cells(folder, FEW, after=MODEL)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The training that others are compared with."""
    return trained(tmp_path_factory.mktemp("plain"), {})[0]


def test_the_same_parameters_leave_the_same_bytes(learnt, tmp_path):
    assert run_cells(tmp_path, FEW) == learnt[1] and len(learnt[1]) > 40
    numbers = metrics_of(learnt[0])
    assert {"ours_height_rmse", "no_opacity_height_rmse", "told_the_heights_height_rmse", "picture_psnr"} <= {*numbers}


def test_what_is_kept_of_the_first_cells_depends_on_nothing_else():
    assert CELLS.read_before(MODEL) == {
        "seed", "device", "data_root", "out_dir", "pairs_path", "pairs_format", "train", "test", "cast_shadows",
        "audit", "tile_px", "panorama_size", "tile_extent_m", "camera_height_m", "ceiling_m", "vertical_fov_deg",
        "slices"}


def test_every_parameter_has_its_test():
    elsewhere = {"device", "devices", "data_root", "out_dir", "pairs_path", "pairs_format", "audit", "vertical_fov_deg",
                 "trunk_path", "ablations", "ablation_steps", "oracle_steps", "seeds", "save_every", "lpips", "style",
                 "skies", "blend", "route", "route_path", "heading_up", "frames", "fps", "own_tile_path",
                 "own_panorama_path", "pictures_path", "pictures_truth_path", "checkpoint"}
    assert elsewhere | set(ASKED) | {name for name, *_ in LEARNT} == set(CELLS.declared)


# --- what decides the pairs ---


ASKED = {"seed": (8, {"seed": 8, "city": 8}), "train": (300, {"train": 300}), "test": (30, {"val": 30}),
         "cast_shadows": (False, {"cast_shadows": False}), "tile_px": (64, {"tile_px": 64}),
         "panorama_size": ([48, 96], {"panorama_size": (48, 96)}), "tile_extent_m": (48.0, {"tile_extent_m": 48.0}),
         "camera_height_m": (3.0, {"camera_height_m": 3.0}), "slices": (10, {"slices": 10}),
         "ceiling_m": (12.0, {"ceiling_m": 12.0, "tallest_m": 12.0})}


@pytest.mark.parametrize("name", ASKED)
def test_the_city_is_asked_for_as_the_parameters_say(name, city, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(rsnb.city, "ensure_pairs", lambda root, options: asked.append((root, options)) or city[0])
    value, changes = ASKED[name]
    run_cells(tmp_path, {name: value, "data_root": str(tmp_path)}, until=PAIRS)
    if name == "seed":
        changes = changes | {"city": replace(city[1].city, seed=8)}
    [(root, options)] = asked
    assert options == replace(city[1], **changes) != city[1]
    assert str(root).startswith(str(tmp_path))


@pytest.mark.parametrize("name", sorted(set(ASKED) - {"cast_shadows", "slices", "seed"}))
def test_pairs_are_read_as_the_parameters_say(name, plain, tmp_path):
    value = {"train": 4, "test": 2}.get(name, ASKED[name][0])
    [fit] = trained(tmp_path, {name: value})
    pairs, before = fit.pairs, plain.pairs
    if name == "test":
        assert equal(fit.weights, plain.weights)
        return
    assert not equal(fit.weights, plain.weights)
    seen = {"train": len(pairs), "tile_px": pairs.tiles.shape[-1], "panorama_size": list(pairs.panoramas.shape[-2:]),
            "tile_extent_m": pairs.tile_extent_m, "camera_height_m": pairs.camera_height_m,
            "ceiling_m": fit.model.options.frame.ceiling_m}
    assert seen[name] == value
    assert pairs.ids == before.ids[:len(pairs)] and pairs.vertical_fov == before.vertical_fov


def test_another_field_of_view(plain, tmp_path):
    [fit] = trained(tmp_path, {"vertical_fov_deg": 90.0})
    assert fit.pairs.vertical_fov == pytest.approx(np.pi / 2) and plain.pairs.vertical_fov == pytest.approx(np.pi)
    assert not equal(fit.weights, plain.weights)


def test_pairs_of_a_folder_and_its_format(city, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(rsnb.city, "ensure_pairs", None)  # calling it would fail
    [fit] = trained(tmp_path / "a", {"pairs_path": str(city[0]), "pairs_format": "cvact"})
    assert equal(fit.weights, plain.weights)
    with pytest.raises(InputError, match="splits/train-19zl.csv"):
        trained(tmp_path / "b", {"pairs_path": str(city[0]), "pairs_format": "cvusa"})


def test_all_pairs_are_read_batch_by_batch(city, tmp_path, capsys):
    [fit] = trained(tmp_path, {"pairs_path": str(city[0]), "train": 0, "audit": True})
    assert len(fit.pairs) == 320 and not hasattr(fit.pairs, "tiles")
    assert "pairs" in capsys.readouterr().out


def test_audit_says_what_it_found(city, tmp_path, capsys):
    said = []
    for audit in (True, False):
        run_cells(tmp_path / f"{audit}", QUICK | {"audit": audit}, until=PAIRS)
        said.append(capsys.readouterr().out)
    assert said[0].startswith(said[1]) and len(said[0]) > len(said[1]) + 40


def test_the_device_is_read(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="device"):
        run_cells(tmp_path / "a", {"device": "abacus"})
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="GPU"):
            run_cells(tmp_path / "b", {"device": "cuda"})
    with pytest.raises(InputError, match="3 devices|devices"):  # a batch of two
        trained(tmp_path / "c", {"devices": 3})


# --- what is trained ---

LEARNT = [  # parameter, value, the terms of the loss that it brings or takes away, what else both trainings have
    ("model_size", "smoke", "", {}), ("samples", 20, "", {}), ("ray_length_m", 20.0, "", {}),
    ("density_profile", "free", "", {}), ("ground", "none", "", {}), ("ground", "slab", "", {}),
    ("sky_light", False, "", {}), ("recipe", "published", "colour kl", {"critics": 1, "perceptual": 0.1}),
    ("steps", 5, "", {}), ("picture_after", 4, "l1 l2", {}), ("batch", 3, "", {}), ("rate", 0.001, "", {}),
    ("opacity", 0.0, "opacity", {}), ("opacity", 0.5, "", {}), ("margin", 1.0, "", {}), ("beyond_m", 0.0, "", {}),
    ("gravity", 0.5, "gravity", {"density_profile": "free"}), ("solidity", 0.5, "solidity", {}),
    ("emptiness", 0.0, "emptiness", {}), ("turns", "quarter", "", {}), ("turns", "any", "", {}),
    ("border_mask", True, "", {"beyond_m": 0.0}), ("critics", 1, "gan critics feature_matching", {}),
    ("critics", 2, "", {"critics": 1}), ("perceptual", 1.0, "perceptual", {"trunk": "alex"}),
    ("trunk", "vgg16", "", {"trunk": "alex", "perceptual": 1.0}),
]


@pytest.mark.parametrize(("name", "value", "terms", "other"), LEARNT, ids=[f"{row[0]}={row[1]}" for row in LEARNT])
def test_each_parameter_of_the_training_changes_the_weights(name, value, terms, other, plain, tmp_path):
    [before] = trained(tmp_path / "a", other) if other else [plain]
    [after] = trained(tmp_path / "b", other | {name: value})
    assert not equal(before.weights, after.weights)
    assert {*before.history.terms} ^ {*after.history.terms} == {*terms.split()}


def test_slices_and_seed_change_the_model(plain, tmp_path):
    [fit] = trained(tmp_path / "a", {"slices": 10})
    assert plain.model.options.density.slices == 20 and fit.model.options.density.slices == 10
    [fit] = trained(tmp_path / "b", {"seed": 8})
    assert fit.options.seed == 8 and not equal(fit.weights, plain.weights)


def test_the_trunk_is_read_from_its_file(tmp_path):
    file = tmp_path / "alex.pth"
    state = trunk_weights("alex")
    torch.save({f"features.{name}": 0.5 * value for name, value in state.items()}, file)
    term = {"trunk": "alex", "perceptual": 1.0}
    [usual], [named] = (trained(tmp_path / more.get("trunk_path", "0")[-5:], term | more)
                        for more in ({}, {"trunk_path": str(file)}))
    assert named.history.terms["perceptual"] != usual.history.terms["perceptual"]


def test_a_training_that_was_kept_is_not_repeated(tmp_path, plain):
    [first], [second] = (trained(tmp_path, {"save_every": 2}) for _ in range(2))
    assert (tmp_path / "ours_0.ckpt").is_file()
    assert (first.history.resumed_at, second.history.resumed_at) == (0, 4)
    assert equal(first.weights, plain.weights) and equal(second.weights, plain.weights)


def test_devices_are_handed_to_the_training(tmp_path, monkeypatch):
    handed = []
    monkeypatch.setattr(rsnb.density, "train_pairs", lambda *given: handed.append(given[3]))
    run_cells(tmp_path, QUICK | {"devices": 2}, until=OTHERS, after=MODEL)
    assert [loop.devices for loop in handed] == [2]


def test_a_checkpoint_is_rendered_without_training(learnt, tmp_path, monkeypatch):
    folder, left = learnt
    monkeypatch.setattr(rsnb.density, "train_pairs", None)  # calling it would fail
    rendered = run_cells(tmp_path, FEW | {"checkpoint": str(folder / "model.pt")}, after=MODEL)
    same = [name for name in left if name.startswith(("panoramas/", "test_views/", "way/")) or name == "volume.vtk"]
    assert len(same) > 20 and all(rendered[name] == left[name] for name in same)
    assert not [name for name in metrics_of(tmp_path) if name.startswith("no_opacity")]


# --- what is compared ---


def test_every_ablation_is_trained(plain, tmp_path):
    names = ["whole", *rsnb.density.ABLATIONS, "no_opacity+no_light"]
    with pytest.MonkeyPatch.context() as patch:
        fits = recorded(patch)
        run_cells(tmp_path, QUICK | SMALL | {"ablations": "/".join(names)}, until="def rows_of", after=MODEL)
    assert len(fits) == 1 + len(names) and equal(fits[0].weights, plain.weights)
    whole, *others = fits[1:]
    assert whole.model.options == fits[0].model.options and whole.options.weights == fits[0].options.weights
    assert all((fit.model.options, fit.options) != (whole.model.options, whole.options) for fit in others)
    assert fits[1 + names.index("direct")].model.density is None and {fit.options.steps for fit in fits[1:]} == {2}
    assert fits[-1].options.weights.opacity == 0 and fits[-1].model.illumination is None


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return reported(tmp_path_factory.mktemp("scores"), {"oracle_steps": 2, "ablations": "no_opacity"}, until=BARS,
                    after=MODEL)


@pytest.mark.parametrize(("name", "value", "begins"), [
    ("ablation_steps", 3, "no_opacity"), ("ablations", "no_light", "no_"), ("ablations", "", "no_opacity"),
    ("oracle_steps", 3, "told"), ("oracle_steps", 0, "told"), ("seeds", 2, "ours_run_2")])
def test_the_others_change_and_ours_does_not(name, value, begins, scores, tmp_path):
    compared = {"oracle_steps": 2, "ablations": "no_opacity"}
    changed = reported(tmp_path, compared | {name: value}, until=BARS, after=MODEL)
    differ = {key for key in {*scores, *changed} if scores.get(key) != changed.get(key)}
    extra = ("height_rmse_gained", "tile_draws")  # by the supervision that no_opacity leaves out
    assert differ and all(key.startswith((begins, *extra)) for key in differ)


def test_the_spread_over_seeds_is_reported(tmp_path):
    numbers = reported(tmp_path, {"seeds": 2}, until="true = [None]", after=MODEL)
    two = [numbers[f"ours{run}_height_rmse"] for run in ("", "_run_2")]
    assert numbers["seeds_height_rmse_sd"] == pytest.approx(abs(two[0] - two[1]) / np.sqrt(2)) != 0
