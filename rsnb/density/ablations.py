"""The method with parts of it taken away, by name: what each part is worth is what is lost without it.

"no_opacity", "no_light" and both together are those of the paper (Qian et al. 2023); "no_ground" and "no_distance" are
its other switches; "no_colour", "no_emptiness", "no_margin", "no_beyond" and "free" take away what we added. "gravity",
"border" and "turns" are the other way round: what the recipe leaves out. "direct" is no ablation but a baseline:
pictures from pictures, without any volume.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from rsnb.density.model import ModelOptions
from rsnb.density.training_options import TrainingOptions
from rsnb.errors import InputError

_Options = tuple[ModelOptions, TrainingOptions]


def _weights(training: TrainingOptions, **changes: float) -> TrainingOptions:
    return replace(training, weights=replace(training.weights, **changes))


def _no_ground(model: ModelOptions, training: TrainingOptions) -> _Options:
    # rays that look down are no longer opaque by themselves: they have something to teach
    return replace(model, ground="none"), replace(training, lowest=-math.pi / 2)


def _no_distance(model: ModelOptions, training: TrainingOptions) -> _Options:
    return replace(model, refine=model.refine and replace(model.refine, distance=False)), training


def _free(model: ModelOptions, training: TrainingOptions) -> _Options:
    return replace(model, density=model.density and replace(model.density, profile="free")), training


def _direct(model: ModelOptions, training: TrainingOptions) -> _Options:
    training = replace(_weights(training, opacity=0.0, gravity=0.0, solidity=0.0), emptiness=0.0, picture_after=0)
    return replace(model, density=None), training


_PARTS: dict[str, Callable[[ModelOptions, TrainingOptions], _Options]] = {
    "no_opacity": lambda model, training: (model, _weights(training, opacity=0.0)),
    "no_light": lambda model, training: (replace(model, illumination=None), training),
    "no_colour": lambda model, training: (model, _weights(training, colour=0.0)),
    "no_emptiness": lambda model, training: (model, replace(training, emptiness=0.0)),
    "no_margin": lambda model, training: (model, replace(training, margin=1.0)),
    "no_beyond": lambda model, training: (model, replace(training, beyond_m=0.0)),
    "no_ground": _no_ground,
    "no_distance": _no_distance,
    "free": _free,
    "gravity": lambda model, training: (model, _weights(training, gravity=0.1, solidity=0.1)),
    "border": lambda model, training: (model, replace(training, border_mask=True)),
    "turns": lambda model, training: (model, replace(training, turns="quarter")),
    "direct": _direct,
}
ABLATIONS = tuple(_PARTS)


def ablated(name: str, options: ModelOptions, training: TrainingOptions) -> tuple[ModelOptions, TrainingOptions]:
    """The options without a part of the method or with another one, or several such changes.

    Args:
        name: of `ABLATIONS`, several joined by "+" ("no_opacity+no_light"):
            "no_opacity": without the non-sky supervision of the opacity;
            "no_light": without illumination injection;
            "no_colour": without the term on the rendered colours;
            "no_emptiness": without the term that takes for air what no ray speaks for;
            "no_margin": solid rays need be opaque only as they are;
            "no_beyond": solid rays that leave the tile low are asked of it too;
            "no_ground": without the ground prior, and with the rays that look down from the first step on;
            "no_distance": the refinement net is not told the rendered distance;
            "free": every voxel for itself, where profile="falling" lets density only fall upwards;
            "gravity": with the terms against density that grows upwards and against hollow interiors, weights 0.1
                (the first is 0 by itself unless densities are free: "free+gravity");
            "border": without rays whose ground lies beyond the tile;
            "turns": with quarter turns and mirrors of tile and panorama together;
            "direct": no volume; the refinement net paints all from the ground plane, and pictures alone teach it.
        options, training: of the whole method.

    Returns:
        both, changed. Whether terms of the loss are left is for `train_pairs` to say.

    Raises:
        InputError: a part that is not in `ABLATIONS`.
    """
    parts = name.split("+")
    unknown = [part for part in parts if part not in _PARTS]
    if unknown:
        raise InputError(f"there is no ablation {unknown[0]!r}", where="ablations",
                         mend=f'Write of {", ".join(ABLATIONS)}; several are joined by "+"')
    for part in parts:
        options, training = _PARTS[part](options, training)
    return options, training
