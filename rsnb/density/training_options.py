"""How a model is trained: every choice, with the published ones by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from rsnb.density.critics import CriticsOptions
from rsnb.density.losses import LossWeights
from rsnb.errors import InputError

_RANGES = {"steps": (1, 10**9), "batch": (1, 10**6), "picture_after": (0, 10**9), "seed": (0, 2**63 - 1),
           "rate": (1e-12, 1e3), "critic_rate": (1e-12, 1e3), "eps": (1e-16, 1.0), "tile_light": (0.0, 1.0),
           "emptiness": (0.0, 1e6), "clip": (1e-12, 1e12)}
_WHOLE = ("steps", "batch", "picture_after", "seed")
_CHOICES = {"schedule": ("one_cycle", "constant"), "opacity_form": ("l1", "bce")}


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained.

    Attributes:
        steps, batch: how many steps of how many pairs.
        rate: the highest learning rate, of Adam with betas and eps.
        critic_rate: that of the critics; None = the same.
        schedule: of both rates, "one_cycle" (ours) or "constant" (published: its steps never come).
        betas, eps: of Adam; (0, 0.999) and, for the generator, 1e-7 as published.
        weights: of the loss terms.
        opacity_form: "l1" as published or "bce".
        picture_after: step from which the picture terms join; before, geometry alone is trained.
        lowest, highest: elevations of the rays that geometry alone is trained on, radians.
        turns: joint random quarter turns and mirrors of tile and panorama (they destroy what the sun's fixed direction
            in a set of tiles tells about heights).
        tile_light: random gain of each tile and channel, +- this share: keeps short trainings from learning colours by
            heart.
        border_mask: leave out rays below the horizon that leave the tile before they meet the ground. With
            ground="plane" their opacity is 1 by itself, so that only the colours change.
        critics: None = no critics, and then the weights of gan and feature_matching must be 0.
        trunk, trunk_file: of the perceptual term.
        emptiness: weight of the mean opacity of voxels (ours): what no ray speaks for is air.
        clip: largest norm of the gradient; None = as it comes.
        seed: of batches, turns, critics and draws.

    Raises:
        InputError: an unknown choice, a number out of its range, or terms of critics without critics.
    """

    steps: int = 300
    batch: int = 8
    rate: float = 1e-2
    critic_rate: float | None = None
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weights: LossWeights = field(default_factory=LossWeights.ours)
    opacity_form: Literal["l1", "bce"] = "bce"
    picture_after: int = 0
    lowest: float = math.radians(-10.0)
    highest: float = math.radians(60.0)
    turns: bool = False
    tile_light: float = 0.0
    border_mask: bool = False
    critics: CriticsOptions | None = None
    trunk: str = "vgg16"
    trunk_file: str | None = None
    emptiness: float = 0.0
    clip: float | None = 1.0
    seed: int = 0

    def __post_init__(self):
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name in ("critic_rate", "clip"):
                continue
            kind = int if name in _WHOLE else (int, float)
            if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
                raise InputError(f"{name} is {value!r}", where="TrainingOptions",
                                 mend=f"Give a {'whole ' if name in _WHOLE else ''}number from {low:g} to {high:g}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is {getattr(self, name)!r}", where="TrainingOptions",
                                 mend=f"Write one of {', '.join(choices)}")
        if self.critics is None and (self.weights.gan or self.weights.feature_matching):
            raise InputError("the loss has adversarial terms, and there are no critics", where="TrainingOptions",
                             mend="Give critics=CriticsOptions(...), or set the weights gan and feature_matching to 0")
        if not -math.pi / 2 <= self.lowest < self.highest <= math.pi / 2:
            raise InputError(f"elevations from {self.lowest} to {self.highest}", where="TrainingOptions",
                             mend="Give radians, the lower one first")

    @classmethod
    def published(cls, **changes) -> TrainingOptions:
        """Section 3 of the method's facts: batch 16, rate 5e-5, three critics with their defects, all losses.

        Not reproduced: batches are drawn anew at each step, where the original goes through all pairs in epochs and
        drops the rest; and both optimisers have the generator's eps.
        """
        plain = {"steps": 30 * 1657, "batch": 16, "rate": 5e-5, "schedule": "constant", "betas": (0.0, 0.999),
                 "eps": 1e-7, "weights": LossWeights(), "opacity_form": "l1", "clip": None, "seed": 6004,
                 "critics": CriticsOptions(same_views=False, assume_sphere=True),
                 "lowest": -math.pi / 2, "highest": math.pi / 2}
        return cls(**(plain | changes))
