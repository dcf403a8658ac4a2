"""Our recipe: decode, bake, refine. The decoder's planes become explicit ones, and those are optimised.

A network has seen other scenes and never overfits, but its planes are blurred and dear; explicit planes are fast and
sharp, but need a start that knows the depth. So the planes of a network (of a cross-scene training, or warmed up on the
scene for some steps) are laid into the explicit stage's padded frame and refined there. The plane sweep is the other
start; both can be joined, as two opinions on where surfaces lie.

On the city (128 x 128, 32 planes, ten views, 150 steps of refinement) the sweep alone reaches 30.86 dB in unseen views
and 0.112 of the best constant plane's depth error, joined with a decoder of 300 steps 30.79 dB and 0.084, and that
decoder alone 30.27 dB and 0.259; its five minutes are not counted. So the decoder buys depth, not views: without a
network this recipe begins with the sweep, and with one it joins both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from rsnb.errors import InputError
from rsnb.mpi.choose import nearest_names
from rsnb.mpi.decode import decode_scene
from rsnb.mpi.decoder_loss import DecoderLossOptions
from rsnb.mpi.explicit import ExplicitOptions, optimise_explicit
from rsnb.mpi.initial import likelihood, sweep, thickness
from rsnb.mpi.layers import check_choice
from rsnb.mpi.model import ImMPI
from rsnb.mpi.per_scene import DecoderOptions, optimise_decoder
from rsnb.mpi.plane_state import plane_gaps
from rsnb.mpi.render import PUBLISHED_LAST_GAP
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.views import MpiFrame, check_views, padded_frame, view_set
from rsnb.scenes import PosedImages

MOST = 3.0  # optical thickness of a plane to begin with: an opaque one lets no gradient through to those behind


@dataclass(frozen=True)
class HybridOptions:
    """How a decoder's planes are made and refined.

    Attributes:
        explicit: of the refinement; its last number of steps is done.
        decoder: of the warm-up; its planes and depth range are those of `explicit`. By default without LPIPS, and
            with four views a decode: a blur is enough to bake.
        warm_up: steps of the decoder on the scene before its planes are baked; 0 with a model is feed-forward only.
        join: "decoder": its planes alone, the sweep where the reference picture does not reach; "both": the decoder's
            weights times the sweep's likelihood, with the sweep's colours.
        most: greatest optical thickness of a baked plane.
    """

    explicit: ExplicitOptions = field(default_factory=ExplicitOptions)
    decoder: DecoderOptions = field(default_factory=lambda: DecoderOptions(
        views_per_decode=4, loss=DecoderLossOptions(weights=(2.0, 1.0, 0.0))))
    warm_up: int = 0
    join: Literal["decoder", "both"] = "both"
    most: float = MOST

    def __post_init__(self):
        check_choice(self.join, ("decoder", "both"), "HybridOptions.join")
        if self.warm_up < 0 or self.most <= 0:
            raise InputError(f"warm_up is {self.warm_up} and most {self.most}", where="HybridOptions",
                             mend="Give a number of steps not below 0, and a thickness above 0")


def optimise_hybrid(views: PosedImages, reference: str, train: Sequence[str],
                    options: HybridOptions | None = None, *, model: ImMPI | None = None, device: str = "cpu",
                    on_step: Callable[[int, int, Callable[[], OptimisedMpi]], None] | None = None) -> OptimisedMpi:
    """Planes of a scene by decoder and refinement.

    Args:
        views: all pictures; only `train` and `reference` are looked at.
        reference: whose camera the planes are parallel to.
        train: names of the views to learn from.
        options: see there.
        model: weights of a cross-scene training. Without it, and without a warm-up, the explicit stage's own start is
            used.
        device: torch's.
        on_step: called as on_step(step, total, result_so_far) after every step of both stages.

    Returns:
        `OptimisedMpi` with the history of both stages: "stage" is 0 for the decoder's rows and 1 for the refinement's,
        steps and seconds go on.

    Raises:
        InputError: as `optimise_decoder` and `optimise_explicit` do.
    """
    options = options or HybridOptions()
    begin = time.perf_counter()
    explicit = options.explicit
    check_views(views, reference, train)
    if model is None and not options.warm_up:
        return optimise_explicit(views, reference, train, explicit, device=device, on_step=on_step)
    before = options.warm_up
    total = before + explicit.steps[-1]
    decoded = _decoded(views, reference, train, options, model, device,
                       None if on_step is None else lambda step, _, result: on_step(step, total, result))
    names = nearest_names(views, reference, train, explicit.nearest)
    start = bake(decoded, views, reference, names, explicit.max_pad, options.most, options.join, device)
    spent = time.perf_counter() - begin
    if explicit.seconds is not None:
        explicit = replace(explicit, seconds=max(explicit.seconds - spent, 0.0))

    def later(step, _, result):
        on_step(before + step, total, lambda: _joined(decoded, result(), spent))

    refined = optimise_explicit(views, reference, train, explicit, device=device, start=start,
                                on_step=None if on_step is None else later)
    return _joined(decoded, refined, spent)


def bake(decoded: OptimisedMpi, views: PosedImages, reference: str, others: Sequence[str], max_pad: float = 0.25,
         most: float = MOST, join: Literal["decoder", "both", "edge"] = "decoder", device: str = "cpu") -> OptimisedMpi:
    """The planes of a network in the frame that the explicit stage uses, rendered as our renderer does.

    Within the reference picture colours and thickness are kept (thickness up to `most`, the published last gap of 1000
    turned into ours). Beyond it, where a network knows nothing, is what the plane sweep through the pictures finds.

    Args:
        decoded: of `decode_scene` or `optimise_decoder`.
        views, reference: of the scene.
        others: views that the frame must cover, and that are swept.
        max_pad: as in `ExplicitOptions`.
        most: greatest optical thickness of a plane.
        join: see `HybridOptions`; "edge" repeats the picture's border instead of sweeping.
        device: torch's.

    Returns:
        `OptimisedMpi` with the depths of `decoded` and a larger frame, to be given to `optimise_explicit` as `start`.
    """
    near_far = (decoded.frame.near, decoded.frame.far)
    frame = padded_frame(views, reference, others, near_far, max_pad)
    gaps = plane_gaps(decoded.depths).to(decoded.mpi)[:, None, None, None]
    inner = decoded.frame.crop(decoded.mpi)
    tau = inner[:, 3:] * gaps
    if decoded.rendering.published:
        tau[-1] = inner[-1, 3:] * PUBLISHED_LAST_GAP
    colour, tau = inner[:, :3], tau.clamp_max(most)
    if join == "edge":
        colour, tau = (frame.pad(x) for x in (colour, tau))
    else:
        swept, likely = _sweep(views, (reference, *others), frame, decoded.depths, device)
        if join == "both":
            weights = likely * (frame.pad(_weights(tau[:, 0])[:, None], "constant", 1 / len(tau))[:, 0] + 0.01)
            colour, tau = swept, thickness(weights / weights.sum(0), most)[:, None]
        else:
            inside = frame.pad(torch.ones_like(tau[:1]), "constant")
            colour = torch.where(inside > 0, frame.pad(colour, "constant"), swept)
            tau = torch.where(inside > 0, frame.pad(tau, "constant"), thickness(likely, most)[:, None])
    return replace(decoded, mpi=torch.cat([colour, tau / gaps], 1), frame=frame,
                   rendering=replace(decoded.rendering, published=False))


def _decoded(views, reference, names, options: HybridOptions, model, device, on_step) -> OptimisedMpi:
    explicit = options.explicit
    if not options.warm_up:
        return decode_scene(model, views, reference, explicit.near_far, explicit.planes, device=device)
    decoder = replace(options.decoder, planes=explicit.planes, near_far=explicit.near_far, steps=options.warm_up)
    return optimise_decoder(views, reference, names, decoder, model=model, device=device, on_step=on_step).mpi


def _joined(decoded: OptimisedMpi, refined: OptimisedMpi, spent: float) -> OptimisedMpi:
    before = len(decoded.history)
    rows = [row | {"step": before + row["step"], "stage": 1, "seconds": spent + row["seconds"]}
            for row in refined.history]
    return replace(refined, history=[row | {"stage": 0} for row in decoded.history] + rows,
                   seconds=spent + refined.seconds)


def _sweep(views: PosedImages, names: Sequence[str], frame: MpiFrame, depths: Tensor,
           device: str) -> tuple[Tensor, Tensor]:
    colour, cost = sweep(view_set(views, names, frame, device), frame, depths)
    return colour, likelihood(cost)


def _weights(tau: Tensor) -> Tensor:
    """Compositing weights [P, H, W] of thickness [P, H, W] along the reference axis, adding up to 1."""
    passed = torch.exp(-tau.cumsum(0))
    weights = torch.cat([torch.ones_like(tau[:1]), passed[:-1]]) - passed
    weights[-1] += passed[-1]
    return weights
