"""Training: geometry is learned from masks alone and not from wrong ones; resuming is exact; bad pairs are refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rsnb.density.critics import CriticsOptions
from rsnb.density.heights import height_map, volume_from_heights
from rsnb.density.losses import LossWeights
from rsnb.density.model import ModelOptions, SatDensity
from rsnb.density.net import DensityNetOptions
from rsnb.density.render import render_panorama
from rsnb.density.training import TrainingOptions, train_pairs
from rsnb.density.volume import RenderOptions, TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.scenes import TilePanoramaPairs
from rsnb.training import LoopOptions

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
    plain = {"steps": 80, "batch": 8, "weights": LossWeights.ours(gravity=0.0, solidity=0.0, l1=0.0)}
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
    with pytest.raises(InputError, match="training = "):
        train_pairs(model(), pairs, replace(options, rate=2e-3), kept)


def test_every_published_term_of_the_loss_is_there_and_counts_as_weighed(worlds):
    pairs = worlds[0][0].subset(np.arange(4))
    options = TrainingOptions.published(steps=1, batch=2, weights=LossWeights(perceptual=0.0),
                                        critics=CriticsOptions(count=3, width=4, crop_px=18))
    terms = {name: values[0] for name, values in train_pairs(model(), pairs, options, QUIET).terms.items()}
    weights = LossWeights()
    wanted = sum(getattr(weights, name) * terms[name] for name in
                 ("gan", "feature_matching", "l1", "l2", "opacity", "kl"))
    assert terms["loss"] == pytest.approx(wanted, rel=1e-5)


def test_rays_that_leave_the_tile_before_the_ground_can_be_left_out(worlds):
    pairs = worlds[0][0].subset(np.arange(4))
    every = {"lowest": -math.pi / 2, "highest": math.pi / 2, "steps": 1, "batch": 4}
    losses = [train_pairs(model(refine=None, ground="none"), pairs, geometry(border_mask=mask, **every), QUIET)
              for mask in (False, True)]
    assert losses[0].terms["opacity"][0] != losses[1].terms["opacity"][0]


@pytest.mark.parametrize(("change", "message"), [
    ({"sky": None}, "no sky masks"), ({"camera_height_m": None}, "how high the camera is"),
    ({"tile_extent_m": 30.0}, "30.0 m wide, the model's 16.0 m"), ({"sky": "all"}, "is sky everywhere"),
    ({"tiles": "nan"}, "not finite")], ids=["no sky", "no height", "extent", "all sky", "nan"])
def test_pairs_that_cannot_teach_are_refused(worlds, change, message):
    pairs = worlds[0][0].subset(np.arange(3))
    if change.get("sky") == "all":
        change = {"sky": np.ones_like(pairs.sky)}
    if change.get("tiles") == "nan":
        change = {"tiles": np.full_like(pairs.tiles, np.nan)}
    with pytest.raises(InputError, match=message):
        train_pairs(model(refine=None), replace(pairs, **change), geometry(steps=1), QUIET)


@pytest.mark.parametrize(("changes", "message"), [
    ({"weights": LossWeights()}, "no critics"), ({"steps": 0}, "0 steps"), ({"lowest": 2.0}, "lower one first")],
    ids=["critics", "steps", "elevations"])
def test_options_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        geometry(**changes)


def test_a_loss_without_terms_is_refused(worlds):
    nothing = LossWeights.ours(opacity=0.0, colour=0.0, gravity=0.0, solidity=0.0, l1=0.0)
    with pytest.raises(InputError, match="weight 0"):
        train_pairs(model(refine=None), worlds[0][0], geometry(weights=nothing, steps=1), QUIET)
