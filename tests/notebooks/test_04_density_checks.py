"""Notebook 04 in this process: a spoiled result fails a check, and bad parameters stop with one paragraph.

A model that is good enough for all checks is not trained here (that takes minutes) but told the answers: its density
net learns the true heights of the very tiles that are scored.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from density_cells import BARS, CELLS, FEW, MODEL, OTHERS, OWN, PICTURES, QUICK, run_cells, trained

import rsnb.data
import rsnb.density
from rsnb import runs
from rsnb.density.model import SatDensity
from rsnb.errors import InputError
from rsnb.runs.parameters import resolve

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("city")]


@pytest.fixture(scope="module")
def scored(city):
    """The pairs that are scored."""
    index = rsnb.data.read_pairs(city[0], "auto", tile_extent_m=city[1].tile_extent_m,
                                 camera_height_m=city[1].camera_height_m)
    return index.split("val").subset(np.arange(FEW["test"])).sized(city[1].tile_px, city[1].panorama_size).load()


@pytest.fixture(scope="module")
def good(city, scored, tmp_path_factory):
    """Weights of a model that was told the heights of the tiles that are scored."""
    [fit] = trained(tmp_path_factory.mktemp("good"), {"tile_px": 96})
    net, slice_m = fit.model.density, fit.model.options.frame.ceiling_m / 20
    truth, tiles, steps = rsnb.data.read_pair_truth(city[0], scored.ids), torch.as_tensor(scored.tiles), 80
    middles = slice_m * (torch.arange(20) + 0.5)[:, None, None]
    filled = ((torch.as_tensor(truth.heights - truth.ground)[:, None] - middles) / slice_m + 0.5).clamp(0, 1)
    optimiser = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.02, total_steps=steps)
    net.train()
    for _ in range(steps):
        opacity = -torch.expm1(-slice_m * net(tiles))
        loss = F.binary_cross_entropy(opacity.clamp(1e-5, 1 - 1e-5), filled)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    net.eval()
    return {name: value.detach().clone() for name, value in fit.model.state_dict().items()}


def with_weights(monkeypatch, change=lambda model: None, weights=None, also: tuple[str, ...] = ()) -> None:
    """From here on ours, and the ablations named, have these weights, changed."""
    train = rsnb.density.train_pairs

    def train_pairs(model, pairs, options, loop=None):
        history = train(model, pairs, options, loop)
        if loop.description in ("ours", *also):
            model.load_state_dict(weights)
            change(model)
        return history

    monkeypatch.setattr(rsnb.density, "train_pairs", train_pairs)


def failures(out_dir, changes=None, **options) -> set[str]:
    """The checks that fail with expected values of the default parameters; all of them are looked at."""
    failed = set()

    def noting(check):
        def noted(name, *given, **more):
            try:
                check(name, *given, **more)
            except runs.CheckFailed:
                failed.add(name)

        return noted

    with pytest.MonkeyPatch.context() as patch:
        for kind in ("check", "check_at_least", "check_at_most"):
            patch.setattr(runs, kind, noting(getattr(runs, kind)))
        run_cells(out_dir, QUICK | (changes or {}), only_defaults=True, **options)
    return failed


def test_the_truth_passes_every_check(good, tmp_path, monkeypatch):
    with_weights(monkeypatch, weights=good)
    assert failures(tmp_path, {"ablations": "no_opacity"}, after=MODEL) == set()


@torch.no_grad()
def negate(model):
    for weight in model.density.parameters():
        weight.neg_()


def of_density(change):
    """A change of what the density net gives."""
    return lambda model: model.density.register_forward_hook(lambda net, given, sigma: change(sigma))


SPOILT = {
    "weights negated": (negate, {"height_rmse_share_of_constant", "footprint_iou", "opacity_iou_centre",
                                 "opacity_iou_off_centre"}),
    "north is south": (of_density(lambda sigma: sigma.flip(2)), {"height_rmse_share_of_constant", "footprint_iou"}),
    "upside down": (of_density(lambda sigma: sigma.flip(1)), {"height_rmse_share_of_constant", "opacity_iou_centre"}),
    "fog": (of_density(lambda sigma: sigma.mean((2, 3), keepdim=True).expand_as(sigma)),
            {"height_rmse_share_of_constant", "footprint_iou", "depth_above_horizon_share_of_untrained"}),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_volume_fails_its_checks(name, good, tmp_path, monkeypatch):
    change, expected = SPOILT[name]
    with_weights(monkeypatch, change, good)
    assert failures(tmp_path, until=BARS, after=MODEL) >= expected


def test_the_truth_of_other_tiles_fails_the_checks(good, scored, tmp_path, monkeypatch):
    with_weights(monkeypatch, weights=good)
    read = rsnb.data.read_pair_truth
    monkeypatch.setattr(rsnb.data, "read_pair_truth", lambda folder, ids: read(
        folder, ids[1:] + ids[:1] if ids == scored.ids else ids))
    failed = failures(tmp_path, until=BARS, after=MODEL)
    assert failed >= {"height_rmse_share_of_constant", "footprint_iou", "opacity_iou_centre", "opacity_iou_off_centre"}


def test_tiles_that_are_nearly_flat_fail_their_check(good, tmp_path, monkeypatch):
    with_weights(monkeypatch, weights=good)
    read = rsnb.data.read_pair_truth

    def low(folder, ids):
        truth = read(folder, ids)
        return replace(truth, heights=truth.ground + 0.3 * (truth.heights - truth.ground))

    monkeypatch.setattr(rsnb.data, "read_pair_truth", low)
    assert "constant_height_rmse_m" in failures(tmp_path, until=BARS, after=MODEL)


def test_an_ablation_that_costs_nothing_fails_its_check(good, tmp_path, monkeypatch):
    with_weights(monkeypatch, weights=good, also=("no_opacity",))
    assert failures(tmp_path, {"ablations": "no_opacity"}, until=BARS, after=MODEL) == {
        "height_rmse_gained_by_opacity_supervision_m", "tile_draws_in_which_it_gains"}


def test_panoramas_rolled_by_a_quarter_fail_a_check(scored, tmp_path, monkeypatch):
    """Ours learns from the very pairs that are scored, so that the true ones pass this check in sixty steps."""
    train, turned = rsnb.density.train_pairs, 0

    def train_pairs(model, pairs, options, loop=None):
        pairs = replace(scored, panoramas=np.roll(scored.panoramas, turned, axis=-1),
                        sky=np.roll(scored.sky, turned, axis=-1))
        return train(model, pairs, options, loop)

    monkeypatch.setattr(rsnb.density, "train_pairs", train_pairs)
    geometry = {"steps": 60, "picture_after": 60}
    right = failures(tmp_path / "a", geometry, until=BARS, after=MODEL)
    turned = scored.panoramas.shape[-1] // 4
    wrong = failures(tmp_path / "b", geometry, until=BARS, after=MODEL)
    assert "opacity_iou_centre" not in right and wrong >= {"opacity_iou_centre", "opacity_iou_off_centre"}


# --- what the last cell says ---

OF_THE_LAST = {"geometry_changed_by_style", "distance_changed_by_style", "reloaded_model_bit_equal",
               "sky_segmenter_iou"}


def test_a_model_that_is_saved_otherwise_fails_its_check(tmp_path, monkeypatch):
    load = rsnb.density.load_model

    @torch.no_grad()
    def touched(*given):
        model = load(*given)
        weight = next(model.density.parameters()).view(-1)
        weight[0] = torch.nextafter(weight[0], torch.tensor(2.0)) + 1e-6
        return model

    monkeypatch.setattr(rsnb.density, "load_model", touched)
    assert failures(tmp_path, after=OWN) & OF_THE_LAST == {"reloaded_model_bit_equal"}


def lit(histogram) -> torch.Tensor:
    return 1 + (histogram * torch.linspace(0, 1, histogram.shape[-1])).sum()


def test_light_in_the_rays_fails_its_check(tmp_path, monkeypatch):
    view = SatDensity.view

    def leaky(self, volume, camera, position, heading=0.0, histogram=None, **more):
        if histogram is not None:
            volume = replace(volume, sigma=volume.sigma * lit(histogram))
        return view(self, volume, camera, position, heading, histogram, **more)

    monkeypatch.setattr(SatDensity, "view", leaky)
    assert failures(tmp_path, after=OWN) & OF_THE_LAST == {"distance_changed_by_style"}


def test_light_in_the_volume_fails_its_check(tmp_path, monkeypatch):
    view, volume, seen = SatDensity.view, SatDensity.volume, []

    def looking(self, there, camera, position, heading=0.0, histogram=None, **more):
        seen.append(histogram)
        return view(self, there, camera, position, heading, histogram, **more)

    def leaky(self, tile):
        made = volume(self, tile)
        return replace(made, sigma=made.sigma * lit(seen[-1])) if seen else made

    monkeypatch.setattr(SatDensity, "view", looking)
    monkeypatch.setattr(SatDensity, "volume", leaky)
    assert "geometry_changed_by_style" in failures(tmp_path, after=OWN)


def test_a_sky_that_is_not_found_fails_its_check(tmp_path, monkeypatch):
    find = rsnb.density.segment_sky
    monkeypatch.setattr(rsnb.density, "segment_sky", lambda *given: ~find(*given))
    assert failures(tmp_path, after=OWN) & OF_THE_LAST == {"sky_segmenter_iou"}


# --- bad parameters ---

# parameter, value, what the message says beside what is to be done, what else is set
BAD = [
    ("tile_extent_m", 0.0, "extent_m is 0", {}), ("ceiling_m", 0.0, "ceiling_m is 0", {}),
    ("camera_height_m", 0.0, "camera_height_m is 0", {}), ("train", -1, "train is -1", {}),
    ("test", -1, "val is -1", {}), ("tile_px", 0, "tile_px is 0", {}),
    ("panorama_size", [64, 100], "panorama_size", {}), ("slices", 0, "slices is 0", {}),
    ("vertical_fov_deg", 400.0, "vertical_fov: an angle of 400 degrees", {}),
    ("pairs_path", "/nowhere", "/nowhere: there is no such folder", {}),
    ("samples", 0, "samples is 0", {}), ("ray_length_m", -1.0, "length_m is -1", {}), ("critics", 4, "critics", {}),
    ("recipe", "published", "adversarial terms, and there are no critics", {}),
    ("steps", 0, "steps is 0", {}), ("batch", 0, "batch is 0", {}), ("rate", 0.0, "rate is 0", {}),
    ("picture_after", -1, "picture_after is -1", {}), ("margin", 2.0, "margin is 2", {}),
    ("beyond_m", -1.0, "beyond_m is -1", {}), ("emptiness", -1.0, "emptiness is -1", {}),
    ("opacity", -1.0, "opacity is -1", {}), ("gravity", -1.0, "gravity is -1", {}),
    ("solidity", -1.0, "solidity is -1", {}), ("perceptual", -1.0, "perceptual is -1", {}),
    ("trunk_path", "/nowhere.pth", "/nowhere.pth", {"perceptual": 1.0}), ("seeds", 0, "seeds: 0 trainings", {}),
    ("devices", 0, "devices", {}), ("save_every", -1, "save_every", {}),
    ("checkpoint", "/nowhere.pt", "/nowhere.pt: ", {}), ("ablations", "x", "ablations: there is no ablation 'x'", {}),
    ("ablation_steps", 0, "steps is 0", {"ablations": "no_light"}), ("oracle_steps", -1, "steps is -1", {}),
    ("style", "x", "there is no sky 'x'", {}), ("skies", "clear,x", "there is no sky 'x'", {}),
    ("frames", 1, "1 ", {}), ("fps", 0.0, "fps=0.0", {}),
    ("route", [0.0, 0.0], "route: ", {}),
    ("route", [0.0, 0.0, 500.0, 0.0], "route: point 1 (from 0), (500, 0), lies outside the 64 m tile", {}),
    ("route", [0.0, 0.0, 5.0], "route: ", {}), ("route_path", "/nowhere.csv", "/nowhere.csv: ", {}),
    ("route_path", "/nowhere.geojson", "/nowhere.geojson: ", {}),
    ("own_tile_path", "/nowhere.png", "/nowhere.png: ", {}),
    ("own_panorama_path", "/nowhere.png", "/nowhere.png: ", {}),
    ("pictures_path", "/nowhere", "/nowhere: ", {}),
]
LATE = ("style", "skies", "frames", "fps", "route", "route_path", "own_tile_path", "own_panorama_path", "pictures_path")


@pytest.mark.parametrize(("name", "value", "says", "other"), BAD, ids=[f"{row[0]}={row[1]}" for row in BAD])
def test_bad_parameters_stop_with_one_paragraph(name, value, says, other, tmp_path):
    after = PICTURES if name in LATE else "" if name in CELLS.read_before(MODEL) else MODEL
    with pytest.raises(InputError) as caught:
        run_cells(tmp_path, QUICK | {name: value} | other, after=after)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600 and says in text
    assert caught.value.mend or "expected" in text
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("name", [name for name, declared in CELLS.declared.items() if declared.choices])
def test_parameters_with_choices_take_no_others(name):
    with pytest.raises(InputError, match=f"{name}.*Choose one of: {CELLS.declared[name].choices[0]}"):
        resolve(CELLS.declared, overrides=[(name, "x")])
    for choice in CELLS.declared[name].choices:
        assert resolve(CELLS.declared, overrides=[(name, choice)])[name] == choice


def test_a_model_of_other_tiles_is_refused(tmp_path):
    [fit] = trained(tmp_path / "a", {"ceiling_m": 15.0})
    rsnb.density.save_model(tmp_path / "model.pt", fit.model)
    with pytest.raises(InputError, match="15.0 m"):
        run_cells(tmp_path / "b", QUICK | {"checkpoint": str(tmp_path / "model.pt")}, until=OTHERS, after=MODEL)
    assert (tmp_path / "model.pt").is_file()


def test_a_kept_training_of_other_options_is_refused_and_left_there(tmp_path):
    trained(tmp_path, {"save_every": 2})
    kept = (tmp_path / "ours_0.ckpt").read_bytes()
    with pytest.raises(InputError, match="ours_0.ckpt"):
        trained(tmp_path, {"save_every": 2, "rate": 0.001})
    assert (tmp_path / "ours_0.ckpt").read_bytes() == kept
