"""How a model is trained: every choice, with the published ones by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from rsnb.density.critics import CriticsOptions
from rsnb.density.losses import LossWeights
from rsnb.errors import InputError

# of numbers that must be whole the lower bound is an int
_RANGES = {"steps": (1, 10**9), "batch": (1, 10**6), "picture_after": (0, 10**9), "seed": (0, 2**63 - 1),
           "rate": (1e-12, 1e3), "critic_rate": (1e-12, 1e3), "eps": (1e-16, 1.0), "critic_eps": (1e-16, 1.0),
           "tile_light": (0.0, 1.0), "emptiness": (0.0, 1e6), "clip": (1e-12, 1e12), "decay_epochs": (1, 10**6),
           "decay": (1.0, 1e6), "beyond_m": (0.0, 1e6), "margin": (1e-6, 1.0)}
_OPTIONAL = ("critic_rate", "critic_eps", "clip")
_CHOICES = {"schedule": ("one_cycle", "steps", "constant"), "order": ("drawn", "epochs"),
            "opacity_form": ("l1", "bce"), "turns": ("none", "quarter", "any")}


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained.

    Attributes:
        steps, batch: how many steps of how many pairs.
        rate: the highest learning rate, of Adam with betas and eps.
        critic_rate: that of the critics; None = the same.
        schedule: of both rates: "one_cycle" (ours; it depends on `steps`, so that no more can be asked for later),
            "steps" (published: divided by `decay` every `decay_epochs` epochs, which with 30 epochs never comes), or
            "constant".
        decay_epochs, decay: of the schedule "steps"; an epoch is as many whole batches as the pairs give.
        order: "drawn" = each batch anew from all pairs (ours); "epochs" = every pair once before any comes again, in
            a new random order each time, the rest that fills no batch left out (published).
        betas, eps: of Adam; (0, 0.999) and, for the generator, 1e-7 as published.
        critic_eps: that of the critics' Adam; None = the same. Published: 1e-8.
        weights: of the loss terms.
        opacity_form: "l1" as published or "bce".
        picture_after: step from which the picture terms join; before, geometry alone is trained.
        lowest, highest: elevations of the rays that geometry alone is trained on, radians.
        turns: joint random turns and mirrors of tile and panorama (they destroy what the sun's fixed direction in a
            set of tiles tells about heights): "none" (or False), "quarter" (or True), which loses nothing, or "any"
            angle, where the tile is interpolated, the panorama keeps its pixels, and rays whose ground lies outside
            the old tile or the turned one are left out, as with `border_mask`.
        tile_light: random gain of each tile and channel, +- this share: keeps short trainings from learning colours by
            heart.
        border_mask: leave out rays below the horizon that leave the tile before they meet the ground. With
            ground="plane" their opacity is 1 by itself, so that only the colours change.
        beyond_m: solid rays that leave the tile lower than this, metres, are asked neither for opacity nor for colour:
            what hides the sky there may stand beyond the tile, and would be built as fog inside. 0 = all are asked, as
            published.
        margin: of `opacity_loss`: the share of the density with which solid rays shall be opaque already; 1 = plain.
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
    schedule: Literal["one_cycle", "steps", "constant"] = "one_cycle"
    decay_epochs: int = 45
    decay: float = 10.0
    order: Literal["drawn", "epochs"] = "drawn"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    critic_eps: float | None = None
    weights: LossWeights = field(default_factory=LossWeights.ours)
    opacity_form: Literal["l1", "bce"] = "bce"
    picture_after: int = 0
    lowest: float = math.radians(-10.0)
    highest: float = math.radians(60.0)
    turns: Literal["none", "quarter", "any"] | bool = "none"
    tile_light: float = 0.0
    border_mask: bool = False
    beyond_m: float = 6.0
    margin: float = 0.1
    critics: CriticsOptions | None = None
    trunk: str = "vgg16"
    trunk_file: str | None = None
    emptiness: float = 0.0
    clip: float | None = 1.0
    seed: int = 0

    def __post_init__(self):
        if isinstance(self.turns, bool):
            object.__setattr__(self, "turns", "quarter" if self.turns else "none")
        check_ranges(self, _RANGES)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is {getattr(self, name)!r}", where="TrainingOptions",
                                 mend=f"Write one of {', '.join(choices)}")
        if not isinstance(self.border_mask, bool):
            raise InputError(f"border_mask is {self.border_mask!r}", where="TrainingOptions",
                             mend="Write true or false")
        betas = self.betas
        if not isinstance(betas, (tuple, list)) or len(betas) != 2 or not all(
                isinstance(b, (int, float)) and not isinstance(b, bool) and 0 <= b < 1 for b in betas):
            raise InputError(f"betas is {betas!r}", where="TrainingOptions", mend="Give two numbers from 0 to below 1")
        object.__setattr__(self, "betas", tuple(betas))
        if self.critics is None and (self.weights.gan or self.weights.feature_matching):
            raise InputError("the loss has adversarial terms, and there are no critics", where="TrainingOptions",
                             mend="Give critics=CriticsOptions(...), or set the weights gan and feature_matching to 0")
        if not -math.pi / 2 <= self.lowest < self.highest <= math.pi / 2:
            raise InputError(f"elevations from {self.lowest} to {self.highest}", where="TrainingOptions",
                             mend="Give radians, the lower one first")

    @classmethod
    def published(cls, **changes) -> TrainingOptions:
        """Section 3 of the method's facts: batch 16, rate 5e-5, three critics with their defects, all losses.

        The steps are CVACT's: 30 epochs of 1657 batches.
        """
        plain = {"steps": 30 * 1657, "batch": 16, "rate": 5e-5, "schedule": "steps", "order": "epochs",
                 "betas": (0.0, 0.999), "eps": 1e-7, "critic_eps": 1e-8, "weights": LossWeights(),
                 "opacity_form": "l1", "clip": None, "seed": 6004, "beyond_m": 0.0, "margin": 1.0,
                 "critics": CriticsOptions(same_views=False, assume_sphere=True),
                 "lowest": -math.pi / 2, "highest": math.pi / 2}
        return cls(**(plain | changes))


def check_ranges(options, ranges: dict[str, tuple[float, float]]) -> None:
    """Refuse fields of a dataclass that are no numbers in their range, or not whole where they must be.

    Raises:
        InputError: names the field and its range.
    """
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if value is None and name in _OPTIONAL:
            continue
        whole = isinstance(low, int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
            raise InputError(f"{name} is {value!r}", where=type(options).__name__,
                             mend=f"Give a {'whole ' if whole else ''}number from {low:g} to {high:g}")
