"""Training: geometry is learned from masks alone and not from wrong ones; resuming is exact; bad pairs are refused."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from rsnb.density.batches import Batches
from rsnb.density.critics import CriticsOptions
from rsnb.density.heights import height_map, volume_from_heights
from rsnb.density.losses import LossWeights
from rsnb.density.model import ModelOptions, SatDensity
from rsnb.density.net import DensityNetOptions
from rsnb.density.render import render_panorama
from rsnb.density.training import _Replica, _Training, train_pairs
from rsnb.density.training_options import TrainingOptions
from rsnb.density.volume import RenderOptions, TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.scenes import TilePanoramaPairs
from rsnb.training import LoopOptions, load_checkpoint
from rsnb.training.parallel import Team, in_team

SIZE, EXTENT, CEILING = 16, 16.0, 8.0
FRAME = TileFrame(EXTENT, CEILING)
QUIET = LoopOptions(1, description="")


def box_world(count: int, seed: int) -> tuple[TilePanoramaPairs, np.ndarray]:
    """Green tiles with red boxes 5 m high and grey ones of 0 m, none over the camera, and the panoramas of them."""
    draw = np.random.default_rng(seed)
    heights = np.zeros((count, SIZE, SIZE), np.float32)
    tiles = np.tile(np.float32([0.3, 0.6, 0.3])[:, None, None], (count, 1, SIZE, SIZE))
    for i in range(count):
        for kind, colour in ((0.0, (0.5, 0.5, 0.5)), (5.0, (0.8, 0.2, 0.2)), (5.0, (0.8, 0.2, 0.2))):
            row, column = draw.choice([0, 1, 2, 10, 11, 12], 2)
            heights[i, row:row + 4, column:column + 4] = kind
            tiles[i, :, row:row + 4, column:column + 4] = np.float32(colour)[:, None, None]
    volume = volume_from_heights(heights, torch.as_tensor(tiles), FRAME, 16)
    seen = render_panorama(volume, PanoramaCamera(32, 16), [0.0, 0.0, 2.0], options=RenderOptions(48))
    solid = seen.opacity.numpy() > 0.5
    return TilePanoramaPairs(tiles, seen.rgb.numpy().clip(0, 1), tuple(f"{seed}-{i}" for i in range(count)),
                             np.zeros(count), math.pi, ~solid, tile_extent_m=EXTENT, camera_height_m=2.0,
                             offset_m=np.zeros((count, 2))), heights


def model(**changes) -> SatDensity:
    torch.manual_seed(0)
    options = ModelOptions.of_size("tiny", FRAME, samples=16)
    density = DensityNetOptions.of_size("tiny", profile="falling")
    return SatDensity(replace(options, **({"density": density} | changes)))


def geometry(**changes) -> TrainingOptions:
    # nothing stands beyond these tiles
    plain = {"steps": 80, "batch": 8, "weights": LossWeights.ours(gravity=0.0, solidity=0.0, l1=0.0), "beyond_m": 0.0}
    return TrainingOptions(**(plain | changes))


@pytest.fixture(scope="module")
def worlds():
    return box_world(48, 1), box_world(12, 2)


def height_error(trained: SatDensity, world) -> float:
    pairs, heights = world
    found = height_map(trained.volume(torch.as_tensor(pairs.tiles)), "median")
    return float(np.sqrt(np.mean((np.asarray(found) - heights) ** 2)))


def test_heights_are_learned_from_masks_alone_and_not_from_the_masks_of_other_tiles(worlds):
    (pairs, _), unseen = worlds
    constant = float(unseen[1].std())
    learned, spoilt, blind = (model(refine=None) for _ in range(3))
    history = train_pairs(learned, pairs, geometry(), QUIET)
    assert len(history.terms["opacity"]) == 80 and set(history.terms) == {"loss", "opacity", "colour"}
    shuffled = np.roll(np.arange(len(pairs)), 7)
    train_pairs(spoilt, replace(pairs, sky=pairs.sky[shuffled], panoramas=pairs.panoramas[shuffled]), geometry(), QUIET)
    without = LossWeights.ours(opacity=0.0, gravity=0.0, solidity=0.0, l1=0.0)
    train_pairs(blind, pairs, geometry(weights=without), QUIET)
    errors = [height_error(one, unseen) for one in (learned, spoilt, blind)]
    assert errors[0] < 0.6 * constant
    assert min(errors[1:]) > 0.85 * constant


def test_a_training_with_critics_goes_on_as_if_it_had_never_stopped(worlds, tmp_path):
    pairs = worlds[0][0].subset(np.arange(6))
    weights = LossWeights(perceptual=0.0)
    options = TrainingOptions(steps=4, batch=2, rate=1e-3, weights=weights, turns=True, tile_light=0.2, picture_after=1,
                              critics=CriticsOptions(count=2, width=4, crop_px=18), opacity_form="l1")
    whole, halves = model(), model()
    terms = train_pairs(whole, pairs, options, QUIET).terms
    assert len(terms["gan"]) == 3 and all(math.isfinite(v) for values in terms.values() for v in values)
    kept = replace(QUIET, checkpoint=tmp_path / "c.pt", save_every=1)

    class Stop(Exception):
        pass

    def stop(done, *_):
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        train_pairs(halves, pairs, options, kept, stop)
    other = model()
    history = train_pairs(other, pairs, options, kept)
    assert history.resumed_at == 2 and history.terms == terms
    for name, value in whole.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    with pytest.raises(InputError, match=r"training.rate = 0.001, now it is 0.002\."):
        train_pairs(model(), pairs, replace(options, rate=2e-3), kept)
    with pytest.raises(InputError, match="first_pair = "):
        train_pairs(model(), worlds[1][0].subset(np.arange(6)), options, kept)


def test_every_published_term_of_the_loss_is_there_and_counts_as_weighed(worlds):
    pairs = worlds[0][0].subset(np.arange(4))
    options = TrainingOptions.published(steps=1, batch=2, weights=LossWeights(perceptual=0.0),
                                        critics=CriticsOptions(count=3, width=4, crop_px=18))
    terms = {name: values[0] for name, values in train_pairs(model(), pairs, options, QUIET).terms.items()}
    weights = LossWeights()
    wanted = sum(getattr(weights, name) * terms[name] for name in
                 ("gan", "feature_matching", "l1", "l2", "opacity", "kl"))
    assert terms["loss"] == pytest.approx(wanted, rel=1e-5)


def test_critics_learn_while_the_generator_learns_from_them_alone(worlds):
    pairs = worlds[0][0].subset(np.arange(8))
    weights = LossWeights(feature_matching=0.0, l1=0.0, l2=0.0, perceptual=0.0, opacity=0.0, kl=0.0)
    options = TrainingOptions(steps=25, batch=4, rate=1e-9, critic_rate=5e-3, weights=weights, clip=None,
                              critics=CriticsOptions(count=1, width=8))
    still = model()
    before = {name: value.clone() for name, value in still.named_parameters()}
    history = train_pairs(still, pairs, options, QUIET)
    # the generator stands still, so its pictures are ever easier to tell from real ones
    assert np.mean(history.terms["critics"][-5:]) < 0.8 * history.terms["critics"][0]
    assert np.mean(history.terms["gan"][-5:]) > history.terms["gan"][0]
    assert all(torch.allclose(value, before[name], atol=1e-6) for name, value in still.named_parameters())
    moving = model()
    train_pairs(moving, pairs, replace(options, rate=1e-3, steps=2), QUIET)
    assert any(not torch.equal(a, b) for a, b in zip(moving.refine.parameters(), still.refine.parameters(),
                                                     strict=True))


def test_more_steps_may_be_asked_for_on_a_constant_schedule(worlds, tmp_path):
    pairs = worlds[0][0].subset(np.arange(6))
    for schedule in ("constant", "steps", "one_cycle"):
        options = geometry(steps=1, batch=2, schedule=schedule)
        kept = replace(QUIET, checkpoint=tmp_path / f"{schedule}.pt")
        train_pairs(model(refine=None), pairs, options, kept)
        if schedule == "one_cycle":
            with pytest.raises(InputError, match=r"made for 1 steps, now 2 .* schedule .* depends"):
                train_pairs(model(refine=None), pairs, replace(options, steps=2), kept)
        else:
            history = train_pairs(model(refine=None), pairs, replace(options, steps=2), kept)
            assert history.resumed_at == 1 and len(history.terms["loss"]) == 2


def test_critics_join_a_training_that_ended_before_there_were_pictures(worlds, tmp_path):
    pairs = worlds[0][0].subset(np.arange(4))
    options = TrainingOptions(steps=2, batch=2, schedule="constant", picture_after=2, opacity_form="l1",
                              weights=LossWeights(perceptual=0.0), critics=CriticsOptions(count=1, width=4))
    kept = replace(QUIET, checkpoint=tmp_path / "c.pt")
    assert "gan" not in train_pairs(model(), pairs, options, kept).terms
    longer = train_pairs(model(), pairs, replace(options, steps=3), kept)
    assert longer.resumed_at == 2 and len(longer.terms["gan"]) == 1
    at_once = train_pairs(model(), pairs, replace(options, steps=3), QUIET)
    assert at_once.terms == longer.terms


def test_two_processes_train_critics_and_go_on_where_they_stopped(worlds, tmp_path):
    pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed")
    pairs = worlds[0][0].subset(np.arange(6))
    options = TrainingOptions(steps=4, batch=2, rate=1e-3, weights=LossWeights(perceptual=0.0), opacity_form="l1",
                              picture_after=1, critics=CriticsOptions(count=1, width=4))
    kept, seen = replace(QUIET, checkpoint=tmp_path / "c.pt", save_every=2, devices=2), {}

    class Stop(Exception):
        pass

    def stop(done, terms, seconds):
        seen[done] = dict(terms)
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        train_pairs(model(), pairs, options, kept, stop)
    again = model()
    history = train_pairs(again, pairs, options, kept)
    assert history.resumed_at == 2 and len(history.terms["gan"]) == 3
    third = {name: row for name, row in history.rows()[2].items() if name != "step"}
    assert third == pytest.approx(seen[3], rel=1e-5)
    # the first step is that of one process: geometry alone, means of shares; but for batch norm over half a batch
    assert history.terms["loss"][0] == pytest.approx(train_pairs(model(), pairs, replace(options, steps=1), QUIET)
                                                     .terms["loss"][0], rel=0.2)
    critics = load_checkpoint(tmp_path / "c.pt")["others"]["critics"]
    fresh = _Training(model(), pairs, options).critics.state_dict()
    assert any(not torch.equal(critics[name], fresh[name]) for name in fresh)


@pytest.mark.parametrize("devices", ["2", True, 0])
def test_a_number_of_devices_that_is_none_is_refused(worlds, devices):
    with pytest.raises(InputError, match="devices is"):
        train_pairs(model(refine=None), worlds[0][0], geometry(steps=1), replace(QUIET, devices=devices))


def test_published_decay_of_both_rates_counts_epochs_from_the_first_step(worlds):
    pairs = worlds[0][0].subset(np.arange(7))  # 3 whole batches an epoch
    options = TrainingOptions.published(steps=20, batch=2, rate=0.1, decay_epochs=2, picture_after=4, schedule="steps",
                                        weights=LossWeights(perceptual=0.0), critics=CriticsOptions(count=1, width=4))
    training = _Training(model(), pairs, options)
    trained = training.trained()
    rates = []
    for number in range(14):
        rates.append((trained.optimiser.param_groups[0]["lr"], training.critic_optimiser.param_groups[0]["lr"]))
        trained.optimiser.step()
        trained.schedule.step()
        if number >= 4:
            training.critic_optimiser.step()
            training.critic_schedule.step()
    assert [a for a, _ in rates] == pytest.approx([0.1] * 6 + [0.01] * 6 + [0.001] * 2)
    assert [b for _, b in rates] == pytest.approx([a for a, _ in rates])
    assert training.critic_optimiser.defaults["eps"] == 1e-8 and trained.optimiser.defaults["eps"] == 1e-7


class Member(Team):
    """One of two processes that are never launched."""

    def average_gradients(self, parameters):
        """Done by the test."""

    def reduce(self, tensor, how):
        return tensor


def test_two_shares_of_a_batch_make_up_the_step_of_one_process(worlds):
    pairs = worlds[0][0].subset(np.arange(9))
    weights = LossWeights.ours(colour=0.0, l1=0.0)  # means over pixels that a mask chooses are not shared exactly
    options = geometry(batch=4, turns="any", tile_light=0.2, order="epochs", weights=weights, opacity_form="l1")
    plain = replace(options, turns="quarter")
    for case in (options, plain):
        whole = Batches(pairs, case, FRAME, torch.device("cpu"))
        shares = [Batches(pairs, case, FRAME, torch.device("cpu")) for _ in range(2)]
        for number in range(3):
            expected = whole.draw(number)
            for rank, share in enumerate(shares):
                with in_team(Member(rank, 2)):
                    found = share.draw(number)
                for name in ("tile", "panorama", "sky", "position", "heading"):
                    assert torch.equal(getattr(found, name), getattr(expected, name)[rank::2]), name
    gradients = []
    for members in ([Team()], [Member(0, 2), Member(1, 2)]):
        grown = []
        for member in members:
            one = model(refine=None)
            for parent in one.modules():
                for name, child in parent.named_children():
                    if isinstance(child, torch.nn.BatchNorm2d):
                        setattr(parent, name, torch.nn.Identity())
            with in_team(member):
                _Training(one, pairs, plain).step(0)["loss"].backward()
            grown.append(torch.cat([p.grad.flatten() for p in one.parameters()]))
        gradients.append(torch.stack(grown).mean(dim=0))
    assert torch.allclose(*gradients, atol=1e-6) and float(gradients[0].norm()) > 1e-3


def test_a_training_is_built_anew_in_another_process_of_what_can_be_handed_over(worlds):
    pairs = worlds[0][0].subset(np.arange(4))
    options = TrainingOptions(steps=2, batch=2, weights=LossWeights(perceptual=0.0), critics=CriticsOptions(1, width=4))
    mine = _Training(model(), pairs, options)
    replica = pickle.loads(pickle.dumps(_Replica(mine.model.options, mine.batches.source, options)))
    _, trained = replica("cpu")
    trained.model.load_state_dict(mine.model.state_dict())
    for name, other in mine.trained().others.items():
        trained.others[name].load_state_dict(other.state_dict())
    with pytest.raises(InputError, match="batch of 3 cannot be shared"):
        train_pairs(model(), pairs, replace(options, batch=3), replace(QUIET, devices=2))


class TrueVolume(torch.nn.Module):
    """In place of the density net: solid where the tile is red."""

    def __init__(self):
        super().__init__()
        self.size = torch.nn.Parameter(torch.ones(()))

    def forward(self, tile):
        tall = ((tile[:, 0] > 1.5 * tile[:, 1]).float() * 10)[:, None].expand(-1, 16, -1, -1).clone()
        tall[:, 10:] = 0  # 5 of 8 m
        return tall * self.size


def opacity_term(pairs, density, ground="plane", **changes) -> float:
    one = model(refine=None, ground=ground, render=RenderOptions(48))
    one.density = density
    options = geometry(**({"steps": 1, "batch": len(pairs), "opacity_form": "l1", "margin": 1.0} | changes))
    return train_pairs(one, pairs, options, QUIET).terms["opacity"][0]


def test_turned_pairs_fit_the_turned_world(worlds):
    pairs = worlds[0][0].subset(np.arange(12))
    straight, turned = opacity_term(pairs, TrueVolume()), opacity_term(pairs, TrueVolume(), turns=True)
    wrong = opacity_term(replace(pairs, sky=np.roll(pairs.sky, 8, axis=2)), TrueVolume())
    assert straight < 0.02 and turned < 0.02 and wrong > 0.05


def test_worlds_turned_by_any_angle_still_fit(worlds):
    # boxes of 4 m on tiles of 1 m a pixel are blurred by the turn, so some error is there, far from that of wrong ones
    pairs = worlds[0][0].subset(np.arange(12))
    wrong = replace(pairs, sky=np.roll(pairs.sky, 8, axis=2))
    right, spoilt = (opacity_term(each, TrueVolume(), turns="any") for each in (pairs, wrong))
    assert right < 0.03 and spoilt > 0.05


def test_what_may_stand_beyond_the_tile_is_not_asked_of_it(worlds):
    # nothing there at all, so that every ray that is asked and no sky errs by 1; the tile's border is 8 m / max(|sin|,
    # |cos|) away, so a ray that rises by e passes it at 2 m + that tan e, and counts where this is 4 m or more
    pairs = worlds[0][0].subset(np.arange(4))

    class Nothing(TrueVolume):
        def forward(self, tile):
            return self.size * torch.zeros(len(tile), 2, *tile.shape[-2:])

    rise = (8 - np.arange(16) - 0.5) / 16 * np.pi
    bearing = ((np.arange(32) + 0.5) / 32 - 0.5) * 2 * np.pi
    passes = 2 + np.tan(rise)[:, None] * 8 / np.maximum(np.abs(np.sin(bearing)), np.abs(np.cos(bearing)))
    asked = (passes <= 0) | (passes >= 4) | pairs.sky
    every = {"lowest": -math.pi / 2, "highest": math.pi / 2, "ground": "none"}
    found = opacity_term(pairs, Nothing(), beyond_m=4.0, **every)
    assert found == pytest.approx((~pairs.sky & asked).sum() / asked.sum(), abs=1e-5)
    assert found < opacity_term(pairs, Nothing(), **every) - 0.02


def test_rays_that_leave_the_tile_before_the_ground_can_be_left_out(worlds):
    # nothing there at all: every ray that is no sky errs by 1, and the mask leaves the rays that do not dip and those
    # whose ground is inside: reach = 2 / tan(dip) <= 8 / max(|sin|, |cos|) of the bearing
    pairs = worlds[0][0].subset(np.arange(4))

    class Nothing(TrueVolume):
        def forward(self, tile):
            return self.size * torch.zeros(len(tile), 2, *tile.shape[-2:])

    dip = (np.arange(16) + 0.5 - 8) / 16 * np.pi
    bearing = ((np.arange(32) + 0.5) / 32 - 0.5) * 2 * np.pi
    edge = 8 / np.maximum(np.abs(np.sin(bearing)), np.abs(np.cos(bearing)))
    kept = (dip < 0)[:, None] | (2 / np.tan(np.where(dip > 0, dip, 1.0))[:, None] <= edge)
    every = {"lowest": -math.pi / 2, "highest": math.pi / 2, "ground": "none"}
    assert opacity_term(pairs, Nothing(), **every) == pytest.approx(float((~pairs.sky).mean()), abs=1e-5)
    assert opacity_term(pairs, Nothing(), border_mask=True, **every) == pytest.approx(
        float((~pairs.sky)[:, kept].mean()), abs=1e-5)


def test_a_generator_without_a_volume_is_trained_on_pictures(worlds):
    pairs = worlds[0][0].subset(np.arange(4))
    terms = train_pairs(model(density=None), pairs, TrainingOptions(steps=12, batch=4), QUIET).terms
    assert terms["l1"][-1] < terms["l1"][0] and "gravity" not in terms
    with pytest.raises(InputError, match="without a density net"):
        train_pairs(model(density=None), pairs, TrainingOptions(steps=2, picture_after=1), QUIET)
    with pytest.raises(InputError, match="neither"):
        model(density=None, refine=None)


def test_validation_between_steps_sees_the_model_as_it_will_be_used_and_changes_nothing(worlds):
    pairs = worlds[0][0].subset(np.arange(6))
    tiles = torch.as_tensor(pairs.tiles[:3])
    watched, alone = model(refine=None), model(refine=None)
    modes = []

    def look(*_):
        modes.append(watched.training)
        watched.volume(tiles)

    train_pairs(watched, pairs, geometry(steps=3, batch=2), QUIET, look)
    train_pairs(alone, pairs, geometry(steps=3, batch=2), QUIET)
    assert modes == [False] * 3 and not watched.training
    assert all(torch.equal(a, b) for a, b in zip(watched.state_dict().values(), alone.state_dict().values(),
                                                 strict=True))


@pytest.mark.parametrize(("change", "message"), [
    ({"sky": None}, "no sky masks"), ({"camera_height_m": None}, "how high the camera is"),
    ({"panoramas": "narrow"}, "not 2:1"), ({"tile_extent_m": 30.0}, "30.0 m wide, the model's 16.0 m"),
    ({"sky": "all"}, r"masks are sky all over: pair 1-\d, 1-\d, 1-\d. Turn"),
    ({"tiles": "nan"}, "not finite")], ids=["no sky", "no height", "shape", "extent", "all sky", "nan"])
def test_pairs_that_cannot_teach_are_refused(worlds, change, message):
    pairs = worlds[0][0].subset(np.arange(3))
    if change.get("sky") == "all":
        change = {"sky": np.ones_like(pairs.sky)}
    if change.get("panoramas") == "narrow":
        change = {"panoramas": pairs.panoramas[..., :20], "sky": pairs.sky[..., :20]}
    if change.get("tiles") == "nan":
        change = {"tiles": np.full_like(pairs.tiles, np.nan)}
    with pytest.raises(InputError, match=message):
        train_pairs(model(refine=None), replace(pairs, **change), geometry(steps=1), QUIET)


@pytest.mark.parametrize(("changes", "message"), [
    ({"weights": LossWeights()}, "no critics"), ({"steps": 0}, "steps is 0"), ({"lowest": 2.0}, "lower one first"),
    ({"schedule": "onecycle"}, "one_cycle, steps, constant"), ({"opacity_form": "l2"}, "l1, bce"),
    ({"batch": 2.5}, "whole"), ({"seed": -1}, "seed is -1"), ({"clip": 0.0}, "clip is 0.0"),
    ({"picture_after": -1}, "picture_after"), ({"turns": "half"}, "none, quarter, any"),
    ({"order": "shuffled"}, "drawn, epochs"), ({"decay": 0.5}, "decay is 0.5"),
    ({"decay_epochs": 1.5}, "whole number"), ({"border_mask": "no"}, "border_mask is 'no'"),
    ({"betas": (0.9,)}, "betas is"), ({"betas": (0.9, 1.0)}, "two numbers from 0 to below 1"),
    ({"betas": (True, 0.9)}, "betas is")],
    ids=["critics", "steps", "elevations", "schedule", "opacity", "batch", "seed", "clip", "picture_after", "turns",
         "order", "decay", "decay_epochs", "border_mask", "one beta", "beta of 1", "beta of yes"])
def test_options_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        geometry(**changes)


def test_turns_are_also_said_by_yes_or_no():
    assert (geometry(turns=True).turns, geometry(turns=False).turns, geometry().turns) == ("quarter", "none", "none")
    assert replace(geometry(turns=True), steps=3) == geometry(turns="quarter", steps=3)


def test_a_loss_without_terms_is_refused(worlds):
    nothing = LossWeights.ours(opacity=0.0, colour=0.0, gravity=0.0, solidity=0.0, l1=0.0)
    with pytest.raises(InputError, match="weight 0"):
        train_pairs(model(refine=None), worlds[0][0], geometry(weights=nothing, steps=1), QUIET)
