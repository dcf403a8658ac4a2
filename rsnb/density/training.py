"""Training from pairs: the published losses and their switches, in one step function for every profile.

A step renders the panoramas of a batch from its tiles. Critics, where there are any, are trained first in each step, on
the same fakes. As long as geometry alone is trained (`picture_after`), only the rows of the panorama between
`lowest` and `highest` are rendered: below, the ground plane is opaque by itself, and above there is nothing on a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsnb.density.batches import Batch, Batches, PairSource
from rsnb.density.critics import PatchCritics
from rsnb.density.losses import (
    feature_matching_loss,
    gain_matched_l1,
    gan_loss,
    gravity_loss,
    kl_loss,
    l1_loss,
    l2_loss,
    opacity_loss,
    solidity_loss,
    volume_variation,
)
from rsnb.density.model import ModelOptions, SatDensity, StreetView
from rsnb.density.perceptual import PerceptualTerm
from rsnb.density.render import render_panorama
from rsnb.density.training_options import TrainingOptions
from rsnb.density.volume import DensityVolume
from rsnb.errors import InputError
from rsnb.scenes import TilePanoramaPairs
from rsnb.training import History, LoopOptions, Trained, decay_schedule, one_cycle_schedule, team, train
from rsnb.training.parallel import Team, check_count


def train_pairs(model: SatDensity, pairs: TilePanoramaPairs | PairSource, options: TrainingOptions,
                loop: LoopOptions | None = None,
                after_step: Callable[[int, dict[str, float], float], None] | None = None) -> History:
    """Train a model, or go on with it.

    Args:
        model: changed in place, on the device where it is to be trained.
        pairs: in memory, or a source of them; with sky masks and the height of the camera.
        options: of the training.
        loop: checkpoint, bar, seconds, devices; its `steps` and `settings` are replaced. None = no checkpoint, one
            device. With more, each has its share of every batch (`training.parallel`): means over pixels that a mask
            chooses are then means of the shares' means, and codes and crops are drawn anew on each device, so that the
            numbers are not those of one device to the last digit.
        after_step: as in `training.train`.

    Returns:
        the history of all terms of the loss.

    Raises:
        InputError: no pairs, fewer than a batch where they come in epochs, no masks, tiles of another extent than the
            model's, pictures that are not finite, masks that are sky everywhere (of a source: if all pairs are so;
            some are left out, see `batches.Batches`); a batch that the devices cannot share; or what `train` raises.
    """
    return _Training(model, pairs, options).run(loop, after_step)


class _Training:
    def __init__(self, model: SatDensity, pairs: TilePanoramaPairs | PairSource, options: TrainingOptions):
        self.model, self.options = model, options
        _check_model(model, options)
        self.device = next(model.parameters()).device
        self.batches = Batches(pairs, options, model.options.frame, self.device)
        weights = options.weights
        self.pictures = model.refine is not None and options.picture_after < options.steps
        # more steps may be asked for later, unless the rates depend on their number: a checkpoint must hold what joins
        later = model.refine is not None and (self.pictures or options.schedule != "one_cycle")
        self.critics = self.critic_optimiser = self.critic_schedule = self.perceptual = None
        if later and options.critics is not None:
            with torch.random.fork_rng(devices=[]):  # the same critics whatever was drawn before
                torch.manual_seed(options.seed)
                self.critics = PatchCritics(options.critics).to(self.device)
            self.critic_optimiser = torch.optim.Adam(self.critics.parameters(), options.critic_rate or options.rate,
                                                     betas=options.betas, eps=options.critic_eps or options.eps)
        if self.pictures and weights.perceptual:
            self.perceptual = PerceptualTerm(options.trunk, options.trunk_file, where="train_pairs").to(self.device)

    def run(self, loop: LoopOptions | None, after_step) -> History:
        options = self.options
        given = LoopOptions(options.steps, description="Sat2Density") if loop is None else loop
        check_count(given.devices)
        if given.devices > 1:
            Team(0, given.devices).share(options.batch)  # refused before processes are started
        given = replace(given, steps=options.steps, settings=self.settings() | dict(given.settings),
                        when_memory_runs_out="Lower the batch, the size of the panoramas or the number of samples")
        try:
            return train(self.step, self.trained(), given, after_step and self.looked_at(after_step),
                         _Replica(self.model.options, self.batches.source, options))
        finally:
            self.model.eval()

    def trained(self) -> Trained:
        """Model, optimisers and their schedules, at the beginning."""
        options = self.options
        nets = [(self.model.density, 0), (self.model.refine, options.picture_after),
                (self.model.illumination, options.picture_after)]
        groups, starts = zip(*(({"params": list(net.parameters())}, start) for net, start in nets if net is not None),
                             strict=True)
        optimiser = torch.optim.Adam(groups, options.rate, betas=options.betas, eps=options.eps)
        if options.clip is not None:
            optimiser.register_step_pre_hook(self.clip)
        others = {}
        if self.critics is not None:
            others = {"critics": self.critics, "critic_optimiser": self.critic_optimiser}
            self.critic_schedule = self.schedule(self.critic_optimiser, begun=options.picture_after)
            if self.critic_schedule is not None:
                others["critic_schedule"] = self.critic_schedule
        return Trained(self.model, optimiser, self.schedule(optimiser, starts), {"order": self.batches.order,
                                                                           "draws": self.batches.draws}, others)

    def schedule(self, optimiser: torch.optim.Optimizer, starts: Sequence[int] | None = None, begun: int = 0):
        """Of an optimiser that joins after `begun` steps, or whose groups do after `starts` steps."""
        options = self.options
        if options.schedule == "one_cycle":
            return one_cycle_schedule(optimiser, options.steps - begun, starts=starts)
        if options.schedule == "steps":
            every = options.decay_epochs * self.batches.steps_per_epoch()
            return decay_schedule(optimiser, every, options.decay, begun)
        return None

    def looked_at(self, after_step) -> Callable[[int, dict[str, float], float], None]:
        """`after_step` with the model as it will be used: batch statistics are neither taken nor kept."""
        def look(done: int, terms: dict[str, float], seconds: float) -> None:
            self.model.eval()
            after_step(done, terms, seconds)

        return look

    def clip(self, *_) -> None:
        nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)

    def settings(self) -> dict[str, Any]:
        """What makes this training what it is: a checkpoint of another one is refused."""
        source = self.batches.source
        first = self.batches.first()
        about = {"pairs": len(source), "first_pair": first.ids[0], "tiles": first.tiles.shape[-1],
                 "panoramas": "x".join(str(n) for n in first.panoramas.shape[-2:]),
                 "vertical_fov": first.vertical_fov, "camera_height_m": first.camera_height_m}
        training = asdict(self.options)
        del training["steps"]  # the loop looks at what depends on them
        return _plain(asdict(self.model.options) | about | {"training": training})

    def step(self, number: int) -> dict[str, Tensor]:
        """The loss of one step, and its terms."""
        self.model.train()
        with team().agreed():
            batch = self.batches.draw(number)
        volume = self.model.volume(batch.tile)
        if self.pictures and number >= self.options.picture_after:
            terms = self.picture_terms(volume, batch, self.batches.noise(number))
        else:
            rows = batch.rows(self.options.lowest, self.options.highest)
            terms = self.geometry_terms(volume, batch, *rows)
        return self.total(terms | self.volume_terms(volume))

    def geometry_terms(self, volume: DensityVolume, batch: Batch, first: int, last: int,
                       view: StreetView | None = None) -> dict[str, Tensor]:
        weights = self.options.weights
        rendered = view.rendered if view is not None else render_panorama(
            volume, batch.camera, batch.position, batch.heading, self.model.options.render, (first, last))
        sky = batch.sky[:, first:last]
        mask = None
        if self.options.border_mask or batch.known is not None:
            mask = batch.ground_inside(volume.frame)[:, first:last]
        if self.options.beyond_m:
            asked = batch.answerable(volume.frame, self.options.beyond_m)[:, first:last]
            mask = asked if mask is None else mask & asked
        terms = {}
        if weights.opacity:
            terms["opacity"] = opacity_loss(rendered.opacity, sky, self.options.opacity_form, mask, self.options.margin)
        if weights.colour:
            solid = ~sky if mask is None else ~sky & mask
            terms["colour"] = gain_matched_l1(rendered.rgb, batch.panorama[:, :, first:last], solid)
        return terms

    def picture_terms(self, volume: DensityVolume, batch: Batch, noise: torch.Generator) -> dict[str, Tensor]:
        weights, model = self.options.weights, self.model
        histogram = None if model.illumination is None else model.histogram(batch.panorama, batch.sky)
        view = model.view(volume, batch.camera, batch.position, batch.heading, histogram, generator=noise)
        terms = self.geometry_terms(volume, batch, 0, batch.sky.shape[1], view)
        terms |= {"l1": l1_loss(view.rgb, batch.panorama), "l2": l2_loss(view.rgb, batch.panorama)}
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(view.rgb, batch.panorama)
        if view.illumination is not None and weights.kl:
            terms["kl"] = kl_loss(view.illumination.mean, view.illumination.log_variance)
        if self.critics is not None:
            terms |= self.adversarial_terms(view.rgb, batch, noise)
        return terms

    def adversarial_terms(self, fake: Tensor, batch: Batch, noise: torch.Generator) -> dict[str, Tensor]:
        """One step of the critics on these pictures, then their verdict as terms of the generator."""
        real, vertical_fov = batch.panorama, batch.vertical_fov
        views = self.critics.views(len(fake), vertical_fov, noise, self.device)
        on_fake = self.critics(fake.detach(), views[0], vertical_fov)
        on_real = self.critics(real, views[1], vertical_fov)
        loss = gan_loss([v.logits for v in on_fake], False) + gan_loss([v.logits for v in on_real], True)
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        team().average_gradients(self.critics.parameters())
        self.critic_optimiser.step()
        if self.critic_schedule is not None:
            self.critic_schedule.step()
        self.critics.requires_grad_(False)
        judged = self.critics(fake, views[0], vertical_fov)
        with torch.no_grad():
            wanted = self.critics(real, views[1], vertical_fov)
        self.critics.requires_grad_(True)
        return {"gan": gan_loss([v.logits for v in judged], True), "critics": loss.detach(),
                "feature_matching": feature_matching_loss([v.features for v in judged], [v.features for v in wanted])}

    def volume_terms(self, volume: DensityVolume) -> dict[str, Tensor]:
        weights, sigma, slice_m = self.options.weights, volume.sigma, volume.slice_m
        terms = {}
        if self.model.density is None:
            return terms
        if weights.gravity:
            terms["gravity"] = gravity_loss(sigma, how="opacity", slice_m=slice_m)
        if weights.solidity:
            terms["solidity"] = solidity_loss(sigma, slice_m)
        if weights.variation:
            terms["variation"] = volume_variation(sigma)
        if self.options.emptiness:
            terms["emptiness"] = -torch.expm1(-sigma * slice_m).mean()
        return terms

    def total(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        weights = asdict(self.options.weights) | {"emptiness": self.options.emptiness, "critics": 0.0}
        loss = sum(weights[name] * value for name, value in terms.items() if weights[name])
        if not isinstance(loss, Tensor):
            raise InputError("every term of the loss has weight 0", where="TrainingOptions.weights",
                             mend="Give at least one a weight")
        return {"loss": loss} | terms


@dataclass(frozen=True)
class _Replica:
    """The same training in another process."""

    model: ModelOptions
    source: PairSource
    options: TrainingOptions

    def __call__(self, device: str) -> tuple[Callable[[int], dict[str, Tensor]], Trained]:
        training = _Training(SatDensity(self.model).to(device), self.source, self.options)
        return training.step, training.trained()


def _plain(value: Any) -> Any:
    """Settings as a checkpoint can hold them: paths and numpy's numbers become texts and numbers."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _check_model(model: SatDensity, options: TrainingOptions) -> None:
    if model.density is None and (model.refine is None or options.picture_after):
        raise InputError("a model without a density net learns pictures alone, and is asked for something else",
                         where="train_pairs", mend="Give it a refinement net, and picture_after=0")
