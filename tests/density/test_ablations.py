"""Ablations by name: what each takes away, and that it takes nothing else."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from rsnb.density.ablations import ABLATIONS, ablated
from rsnb.density.losses import LossWeights
from rsnb.density.model import ModelOptions, SatDensity
from rsnb.density.training import train_pairs
from rsnb.density.training_options import TrainingOptions
from rsnb.density.volume import TileFrame
from rsnb.errors import InputError
from rsnb.scenes import TilePanoramaPairs

PLAIN = ModelOptions.of_size("tiny", TileFrame(30.0, 8.0), samples=4)
WHOLE = replace(PLAIN, density=replace(PLAIN.density, profile="falling"))
TRAINING = TrainingOptions(steps=10, picture_after=4, emptiness=0.2,
                           weights=LossWeights.ours(variation=0.3, gravity=0.2, solidity=0.2))
NO_TERMS = {"training.emptiness": 0.0, "training.weights.gravity": 0.0, "training.weights.solidity": 0.0}
CHANGES = {
    "no_opacity": {"training.weights.opacity": 0.0},
    "no_light": {"model.illumination": None},
    "no_colour": {"training.weights.colour": 0.0},
    "no_emptiness": {"training.emptiness": 0.0},
    "no_margin": {"training.margin": 1.0},
    "no_beyond": {"training.beyond_m": 0.0},
    "no_ground": {"model.ground": "none", "training.lowest": -math.pi / 2},
    "no_distance": {"model.refine.distance": False},
    "free": {"model.density.profile": "free"},
    "gravity": {"training.weights.gravity": 0.1, "training.weights.solidity": 0.1},
    "border": {"training.border_mask": True},
    "turns": {"training.turns": "quarter"},
    "direct": NO_TERMS | {"training.weights.opacity": 0.0, "training.picture_after": 0, "model.density": None},
}


def leaves(values: dict, prefix: str) -> dict:
    found = {}
    for name, value in values.items():
        found |= leaves(value, f"{prefix}.{name}") if isinstance(value, dict) else {f"{prefix}.{name}": value}
    return found


def changes(name: str) -> dict:
    """What differs from the whole method; a part that is gone counts as one change."""
    before, after = ({**leaves(asdict(m), "model"), **leaves(asdict(t), "training")}
                     for m, t in ((WHOLE, TRAINING), ablated(name, WHOLE, TRAINING)))
    gone = {key for key in after if key not in before}
    return {key: value for key, value in after.items() if key in gone or before[key] != value}


@pytest.mark.parametrize("name", ABLATIONS)
def test_each_takes_its_part_alone(name):
    assert changes(name) == CHANGES[name]
    model = SatDensity(ablated(name, WHOLE, TRAINING)[0])
    assert (model.density is None) == (name == "direct") and (model.illumination is None) == (name == "no_light")


@pytest.mark.parametrize("name", [*ABLATIONS, "no_opacity+no_light+no_ground"])
def test_each_can_be_trained(name):
    """Two steps, of geometry alone and of pictures: the terms that were taken away are gone, the others are there."""
    rng = np.random.default_rng(0)
    sky = np.repeat((np.arange(8) < 4)[None, :, None], 16, axis=2)
    pairs = TilePanoramaPairs(rng.random((1, 3, 8, 8), np.float32), rng.random((1, 3, 8, 16), np.float32), ("a",),
                              np.zeros(1), math.pi, sky, tile_extent_m=30.0, camera_height_m=2.0)
    options, training = ablated(name, WHOLE, replace(TRAINING, steps=2, picture_after=1, batch=1))
    terms = train_pairs(SatDensity(options), pairs, training).terms
    whole = {"loss", "opacity", "colour", "gravity", "solidity", "variation", "emptiness", "l1", "l2"}
    gone = {"no_opacity": {"opacity"}, "no_colour": {"colour"}, "no_emptiness": {"emptiness"},
            "direct": {"opacity", "gravity", "solidity", "variation", "emptiness"}}
    assert set(terms) - {"kl"} == whole - set().union(*(gone.get(part, set()) for part in name.split("+")))
    assert np.isfinite(terms["loss"]).all()


def test_several_at_once_in_any_order():
    assert changes("no_opacity+no_light") == CHANGES["no_opacity"] | CHANGES["no_light"]
    assert ablated("direct+no_light+free", WHOLE, TRAINING) == ablated("free+no_light+direct", WHOLE, TRAINING)
    geometry = replace(WHOLE, refine=None)
    assert ablated("no_distance", geometry, TRAINING) == (geometry, TRAINING)


def test_what_is_no_ablation_is_refused_by_name():
    assert set(CHANGES) == set(ABLATIONS)
    for name in ("no_roof", "no_light+no_roof"):
        with pytest.raises(InputError, match="ablations: there is no ablation 'no_roof'.*no_opacity, .*direct"):
            ablated(name, WHOLE, TRAINING)
    with pytest.raises(InputError, match="there is no ablation ''"):
        ablated("", WHOLE, TRAINING)
