"""The explicit stage: colours and densities of the planes themselves are optimised, from coarse to fine.

Hundreds of times cheaper a step than ImMPI's decoder, and prone to what every explicit volume is prone to: fitting the
training views with fog. Against it stand the start from a plane sweep, the pyramid, several views a step, total
variation of colour and of alpha, and an edge-aware term on the rendered disparity.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from rsnb.errors import InputError
from rsnb.metrics.image import WINDOW
from rsnb.mpi.choose import nearest_names
from rsnb.mpi.initial import likelihood, match_exposure, sweep, thickness
from rsnb.mpi.losses import TargetMoments, edge_aware_smoothness, photometric_loss
from rsnb.mpi.plane_state import Planes, check_memory, memory_bytes, plane_gaps, plane_variation
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.render import RenderOptions, render_mpi
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.views import MpiFrame, ViewSet, check_range, check_views, depth_range, padded_frame, view_set
from rsnb.scenes import PosedImages
from rsnb.training.memory import free_bytes


@dataclass(frozen=True)
class ExplicitOptions:
    """How planes are optimised.

    Attributes:
        planes: P.
        near_far: z depth of the first and last plane; None takes the reference view's own.
        steps: optimiser steps of each level, the coarsest first; their number is that of the levels. A plane sweep is
            good enough a start for one level; the other starts need two or three.
        views_per_step: training views that one step sees.
        start: "sweep" (plane sweep), "reference" (the reference picture on all planes) or "grey".
        learning_rates: of colour (in 0..1) and of log-like thickness, falling to a tenth within each level.
        loss_weights: of L1 and 1 - SSIM.
        tv_colour, tv_alpha: weight of total variation, of planes' colours and alphas.
        smoothness: weight of the edge-aware term on the rendered disparity, scaled to 0..1 between far and near.
        max_pad: the frame grows by at most this share of the reference picture on each side.
        mask_share: of the planes that must cover a pixel for it to count in the loss.
        nearest: learn only from this many views, those whose cameras stand nearest to the reference's; None = all.
            Planes cannot show what is seen from far aside: between two planes such views jump by several pixels.
        learn_reference: the reference picture is a training view as well (ImMPI leaves it out).
        exposure: match the training pictures' exposure to the reference's first (photographs, not renderings).
        seconds: wall time after which the optimisation stops, or None.
        seed: of the order of the views.
        backend: of the renderer.
    """

    planes: int = 32
    near_far: tuple[float, float] | None = None
    steps: tuple[int, ...] = (150,)
    views_per_step: int = 3
    start: Literal["sweep", "reference", "grey"] = "sweep"
    learning_rates: tuple[float, float] = (0.01, 0.1)
    loss_weights: tuple[float, float] = (2.0, 1.0)
    tv_colour: float = 0.5
    tv_alpha: float = 0.5
    smoothness: float = 0.2
    max_pad: float = 0.25
    mask_share: float = 0.5
    nearest: int | None = None
    learn_reference: bool = True
    exposure: bool = False
    seconds: float | None = None
    seed: int = 0
    backend: Literal["auto", "torch", "numba"] = "auto"

    def __post_init__(self):
        for name, good in (("planes", self.planes >= 2), ("views_per_step", self.views_per_step >= 1),
                           ("steps", len(self.steps) >= 1 and min(self.steps, default=0) >= 0),
                           ("learning_rates", min(self.learning_rates) > 0), ("max_pad", 0 <= self.max_pad <= 2),
                           ("tv_colour", self.tv_colour >= 0), ("tv_alpha", self.tv_alpha >= 0),
                           ("smoothness", self.smoothness >= 0)):
            if not good:
                raise InputError(f"the value is {getattr(self, name)!r}", where=f"ExplicitOptions.{name}",
                                 mend="Give planes >= 2, at least one view a step and level, rates above 0, weights "
                                      "not below 0, and a padding from 0 to 2")
        if self.start not in ("sweep", "reference", "grey"):
            raise InputError(f"{self.start!r} is no start", where="ExplicitOptions.start",
                             mend="Write 'sweep', 'reference' or 'grey'")


class LossNotFinite(InputError):
    """The loss became NaN or infinite. `step` says when; `result` holds the last state whose loss was finite."""

    def __init__(self, step: int, result: OptimisedMpi):
        self.step, self.result = step, result
        super().__init__(f"the loss is not finite at step {step}; the last good state is kept", where="explicit stage",
                         mend="Lower the learning rates, and check the pictures and poses")

    def __reduce__(self):
        return type(self), (self.step, self.result)


def optimise_explicit(views: PosedImages, reference: str, train: Sequence[str],
                      options: ExplicitOptions | None = None, *, device: str = "cpu",
                      start: OptimisedMpi | None = None,
                      on_step: Callable[[int, int, Callable[[], OptimisedMpi]], None] | None = None,
                      ) -> OptimisedMpi:
    """Optimise a multiplane image of a scene.

    Args:
        views: all pictures; only `train` and `reference` are looked at.
        reference: whose camera the planes are parallel to.
        train: names of the views to learn from.
        options: see there.
        device: torch's.
        start: planes to refine (what a decoder baked, or an earlier result) in their own frame and depths; sweep and
            pyramid are then left out: only the last number of steps is done.
        on_step: called as on_step(step, total, result_so_far) after every step; the last makes an `OptimisedMpi`.

    Returns:
        `OptimisedMpi`. With one seed and one number of threads it is the same to the last digit.

    Raises:
        InputError: bad poses, split or range; too little memory.
        LossNotFinite: with the last good state in it.
    """
    options = options or ExplicitOptions()
    begin = time.perf_counter()
    check_views(views, reference, train)
    names = nearest_names(views, reference, train, options.nearest)
    frame, depths = (start.frame, start.depths) if start else _frame_and_depths(views, reference, names, options)
    check_memory(memory_bytes(frame, len(depths)), free_bytes(device))
    pictures = view_set(views, (reference, *names), frame, device)
    if options.exposure:
        pictures = match_exposure(pictures, frame, depths)
    if not options.learn_reference:
        pictures = ViewSet(pictures.images[1:], pictures.K[1:], pictures.ref_to_target[1:], names)
    run = _Run(pictures, frame, depths, options, begin, on_step)
    try:
        return run.refine(start.mpi.to(device)) if start else run.coarse_to_fine()
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise InputError("the memory did not suffice", where="memory",
                         mend="Lower `planes`, `views_per_step`, the size of the pictures or `max_pad`") from error


def _frame_and_depths(views: PosedImages, reference: str, names: Sequence[str],
                      options: ExplicitOptions) -> tuple[MpiFrame, Tensor]:
    near_far = options.near_far or depth_range(views, reference)
    check_range(*near_far)
    frame = padded_frame(views, reference, names, near_far, options.max_pad, 2 ** (len(options.steps) - 1))
    return frame, plane_depths(*near_far, options.planes)


class _Run:
    """One optimisation: what its levels share."""

    def __init__(self, views: ViewSet, frame: MpiFrame, depths: Tensor, options: ExplicitOptions, begin: float,
                 on_step):
        self.views, self.frame, self.depths, self.options = views, frame, depths, options
        self.begin, self.on_step = begin, on_step
        self.gaps = plane_gaps(depths)
        self.history: list[dict[str, float]] = []
        self.generator = torch.Generator().manual_seed(options.seed)
        self.queue: list[int] = []
        self.rendering = RenderOptions(backend=options.backend, mask_share=options.mask_share)

    def coarse_to_fine(self) -> OptimisedMpi:
        planes, swept = None, None
        for level in reversed(range(len(self.options.steps))):
            views, frame = self.views.at_level(level), self.frame.at_level(level)
            swept_before, (swept, tau) = swept, self.first(views, frame)
            if planes is None:
                planes = Planes(swept, tau, self.gaps)
            else:
                planes = self.finer(planes, swept, swept_before)
            swept_before = tau = None
            if level == 0:
                swept = None  # held for the next level only
            self.level(planes, views, frame, level)
        return self.result(planes, self.frame)

    def refine(self, start: Tensor) -> OptimisedMpi:
        expected = (len(self.depths), 4, *self.frame.size)
        if tuple(start.shape) != expected:
            raise InputError(f"the planes have shape {tuple(start.shape)}, their frame and depths {expected}",
                             where="start", mend="Give planes with the frame and the depths they were made for")
        planes = Planes(start[:, :3], start[:, 3:] * self.gaps.to(start)[:, None, None, None], self.gaps)
        self.level(planes, self.views, self.frame, 0)
        return self.result(planes, self.frame)

    def first(self, views: ViewSet, frame: MpiFrame) -> tuple[Tensor, Tensor]:
        """Colour [P, 3, H, W] and tau [P, 1, H, W] to begin a level with."""
        count, (height, width) = len(self.depths), frame.size
        if self.options.start == "sweep":
            colour, cost = sweep(views, frame, self.depths)
            return colour, thickness(likelihood(cost))[:, None]
        colour = views.images.new_full((count, 3, height, width), 0.5)
        if self.options.start == "reference" and self.options.learn_reference:
            top, left, inner_height, inner_width = frame.inset
            image = views.images[0][:, :inner_height, :inner_width]
            picture = F.pad(image[None], (left, width - left - image.shape[2], top, height - top - image.shape[1]),
                            mode="replicate")
            colour = picture.expand(count, -1, -1, -1)
        return colour, colour.new_full((count, 1, height, width), 2.0 / count)

    def finer(self, planes: Planes, swept: Tensor, swept_before: Tensor) -> Planes:
        """Twice as many pixels a side: what was learnt, and the finer detail of the sweep on top of it."""
        size = swept.shape[-2:]
        enlarge = lambda x: F.interpolate(x, size, mode="bilinear", align_corners=False)  # noqa: E731
        colour, raw = planes.state()
        colour = (enlarge(colour) + swept - enlarge(swept_before)).clamp(0, 1)
        return Planes(colour, F.softplus(enlarge(raw)), self.gaps)

    def level(self, planes: Planes, views: ViewSet, frame: MpiFrame, level: int) -> None:
        """All steps of one level."""
        steps = self.options.steps[-1 - level]
        targets = [TargetMoments.of(image) if min(image.shape[1:]) >= WINDOW else TargetMoments(image, image, image)
                   for image in views.images]
        cameras = [views.camera(i, frame) for i in range(len(views))]
        colour_rate, tau_rate = self.options.learning_rates
        adam = torch.optim.Adam([{"params": [planes.colour], "lr": colour_rate},
                                 {"params": [planes.raw], "lr": tau_rate}], betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.ExponentialLR(adam, 0.1 ** (1 / max(steps, 1)))
        good = planes.state()
        for _ in range(steps):
            if self.options.seconds is not None and time.perf_counter() - self.begin > self.options.seconds:
                return
            adam.zero_grad(set_to_none=True)
            loss, error = self.gradients(planes, targets, cameras)
            step = len(self.history) + 1
            if not torch.isfinite(loss):
                planes.restore(good)
                raise LossNotFinite(step, self.result(planes, frame))
            for kept, now in zip(good, planes.parameters(), strict=True):
                kept.copy_(now.detach())  # in place: a new copy each step would be one more image held
            adam.step()
            schedule.step()
            planes.project()
            self.history.append({"step": step, "level": level, "loss": loss.item(),
                                 "psnr": -10 * torch.log10(error.clamp_min(1e-10)).item(),
                                 "seconds": time.perf_counter() - self.begin})
            if self.on_step is not None:
                self.on_step(step, sum(self.options.steps), lambda: self.result(planes, frame))
        if not (planes.colour.isfinite().all() and planes.raw.isfinite().all()):  # the last step has no next loss
            planes.restore(good)
            raise LossNotFinite(len(self.history), self.result(planes, frame))

    def gradients(self, planes: Planes, targets, cameras) -> tuple[Tensor, Tensor]:
        """Gradients of one step into the planes; gives its loss and the mean squared error of its views.

        One view after the other goes backward to the image that all share, so that one view's graph is held at a time.
        """
        options = self.options
        mpi = planes.mpi()
        shared = mpi.detach().requires_grad_()
        chosen = self.next_views(len(targets))
        total, errors = mpi.new_zeros(()), []
        for i in chosen:
            seen = render_mpi(shared, self.depths, cameras[i], self.rendering)
            loss = photometric_loss(seen.rgb, targets[i], seen.mask, options.loss_weights) / len(chosen)
            if options.smoothness:
                loss = loss + options.smoothness / len(chosen) * self.roughness(seen.depth, targets[i].image)
            if loss.requires_grad:  # a view that no plane covers tells nothing
                loss.backward()
            total = total + loss.detach()
            with torch.no_grad():
                wrong = ((seen.rgb - targets[i].image) ** 2 * seen.mask).sum()
                errors.append(wrong / (3 * seen.mask.sum()).clamp_min(1))
            del seen, loss
        if shared.grad is not None:
            mpi.backward(shared.grad)
        del mpi, shared  # the priors come after: by then the image and its gradient are free again
        for weight, values in ((options.tv_colour, planes.colour), (options.tv_alpha, None)):
            if weight:
                term = weight * plane_variation(planes.alpha() if values is None else values)
                term.backward()
                total = total + term.detach()
        return total, torch.stack(errors).mean()

    def roughness(self, depth: Tensor, image: Tensor) -> Tensor:
        """The edge-aware term, on disparity scaled to 0..1 between far and near."""
        inverse_near, inverse_far = 1 / float(self.depths[0]), 1 / float(self.depths[-1])
        disparity = (1 / depth.clamp_min(1e-3 / inverse_near) - inverse_far) / (inverse_near - inverse_far)
        return edge_aware_smoothness(disparity.clamp(-0.5, 1.5), image)

    def next_views(self, count: int) -> list[int]:
        """The next of a shuffled deck, so that all views come equally often."""
        chosen: list[int] = []
        while len(chosen) < min(self.options.views_per_step, count):
            if not self.queue:
                self.queue = torch.randperm(count, generator=self.generator).tolist()
            chosen.append(self.queue.pop())
        return chosen

    @torch.no_grad()
    def result(self, planes: Planes, frame: MpiFrame) -> OptimisedMpi:
        return OptimisedMpi(planes.mpi().detach().clone(), self.depths, frame, list(self.history),
                            time.perf_counter() - self.begin, self.rendering)
