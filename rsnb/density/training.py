"""Training from pairs: the published losses and their switches, in one step function for every profile.

A step renders the panoramas of a batch from its tiles. Critics, where there are any, are trained first in each step, on
the same fakes. As long as geometry alone is trained (`picture_after`), only the rows of the panorama between
`lowest` and `highest` are rendered: below, the ground plane is opaque by itself, and above there is nothing on a tile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rsnb.density.augment import draw_turns, turn_headings, turn_offsets, turn_panoramas, turn_tiles
from rsnb.density.critics import PatchCritics
from rsnb.density.flat_ground import require_whole_sphere
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
from rsnb.density.model import SatDensity, StreetView
from rsnb.density.perceptual import PerceptualTerm
from rsnb.density.render import ground_in_tile, render_panorama
from rsnb.density.training_options import TrainingOptions
from rsnb.density.volume import DensityVolume
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.scenes import TilePanoramaPairs
from rsnb.training import History, LoopOptions, Trained, one_cycle_schedule, train


class PairSource(Protocol):
    """Pairs that need not lie in memory: anything with a length and `load`; `PairIndex` bound to its sizes is one."""

    def __len__(self) -> int:
        """Number of pairs."""

    def load(self, index: np.ndarray) -> TilePanoramaPairs:
        """The pairs of an index array, all of one size."""


@dataclass(frozen=True)
class _Batch:
    """Pairs on the device: tiles [B, 3, S, S], panoramas [B, 3, H, W], sky [B, H, W], cameras [B, 3], headings [B]."""

    tile: Tensor
    panorama: Tensor
    sky: Tensor
    position: Tensor
    heading: Tensor


def train_pairs(model: SatDensity, pairs: TilePanoramaPairs | PairSource, options: TrainingOptions,
                loop: LoopOptions | None = None,
                after_step: Callable[[int, dict[str, float], float], None] | None = None) -> History:
    """Train a model, or go on with it.

    Args:
        model: changed in place, on the device where it is to be trained.
        pairs: in memory, or a source of them; with sky masks and the height of the camera.
        options: of the training.
        loop: checkpoint, bar, seconds; its `steps` and `settings` are replaced. None = no checkpoint.
        after_step: as in `training.train`.

    Returns:
        the history of all terms of the loss.

    Raises:
        InputError: no pairs, no masks, tiles of another extent than the model's, pictures that are not finite, masks
            that are sky everywhere; or what `train` raises.
    """
    return _Training(model, pairs, options).run(loop, after_step)


class _Training:
    def __init__(self, model: SatDensity, pairs: TilePanoramaPairs | PairSource, options: TrainingOptions):
        self.model, self.options = model, options
        _check_model(model, options)
        self.source = _InMemory(pairs) if isinstance(pairs, TilePanoramaPairs) else pairs
        if len(self.source) < 1:
            raise InputError("there is no pair to learn from", where="train_pairs", mend="Give at least one")
        self.device = next(model.parameters()).device
        self.order = np.random.default_rng([options.seed, 1])
        self.draws = torch.Generator().manual_seed(options.seed)
        weights = options.weights
        self.pictures = model.refine is not None and options.picture_after < options.steps
        self.critics = self.critic_optimiser = self.critic_schedule = self.perceptual = None
        if self.pictures and options.critics is not None:
            with torch.random.fork_rng(devices=[]):  # the same critics whatever was drawn before
                torch.manual_seed(options.seed)
                self.critics = PatchCritics(options.critics).to(self.device)
            self.critic_optimiser = torch.optim.Adam(self.critics.parameters(), options.critic_rate or options.rate,
                                                     betas=options.betas, eps=options.eps)
        if self.pictures and weights.perceptual:
            self.perceptual = PerceptualTerm(options.trunk, options.trunk_file, where="train_pairs").to(self.device)

    def run(self, loop: LoopOptions | None, after_step) -> History:
        options = self.options
        optimiser = torch.optim.Adam(self.model.parameters(), options.rate, betas=options.betas, eps=options.eps)
        if options.clip is not None:
            optimiser.register_step_pre_hook(self.clip)
        schedule = None
        if options.schedule == "one_cycle":
            schedule = one_cycle_schedule(optimiser, options.steps)
        others = {}
        if self.critics is not None:
            others = {"critics": self.critics, "critic_optimiser": self.critic_optimiser}
            if options.schedule == "one_cycle":
                self.critic_schedule = one_cycle_schedule(self.critic_optimiser, options.steps - options.picture_after)
                others["critic_schedule"] = self.critic_schedule
        trained = Trained(self.model, optimiser, schedule, {"order": self.order, "draws": self.draws}, others)
        given = LoopOptions(options.steps, description="Sat2Density") if loop is None else loop
        values = {f.name: getattr(given, f.name) for f in fields(given)} | {
            "steps": options.steps, "settings": self.settings() | dict(given.settings),
            "when_memory_runs_out": "Lower the batch, the size of the panoramas or the number of samples"}
        try:
            return train(self.step, trained, LoopOptions(**values), after_step and self.looked_at(after_step))
        finally:
            self.model.eval()

    def looked_at(self, after_step) -> Callable[[int, dict[str, float], float], None]:
        """`after_step` with the model as it will be used: batch statistics are neither taken nor kept."""
        def look(done: int, terms: dict[str, float], seconds: float) -> None:
            self.model.eval()
            after_step(done, terms, seconds)

        return look

    def clip(self, *_) -> None:
        nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)

    def settings(self) -> dict[str, str | int]:
        """What makes this training what it is: a checkpoint of another one is refused."""
        first = self.source.load(np.arange(1))
        about = {"pairs": len(self.source), "first_pair": first.ids[0], "tiles": first.tiles.shape[-1],
                 "panoramas": "x".join(str(n) for n in first.panoramas.shape[-2:]),
                 "vertical_fov": first.vertical_fov, "camera_height_m": first.camera_height_m}
        return {name: repr(value) for name, value in (asdict(self.model.options) | about).items()} | {
            f"training.{f.name}": repr(getattr(self.options, f.name)) for f in fields(self.options)}

    def step(self, number: int) -> dict[str, Tensor]:
        """The loss of one step, and its terms."""
        self.model.train()
        batch = self.draw()
        volume = self.model.volume(batch.tile)
        if self.pictures and number >= self.options.picture_after:
            terms = self.picture_terms(volume, batch)
        else:
            terms = self.geometry_terms(volume, batch, *self.rows(batch))
        return self.total(terms | self.volume_terms(volume))

    def draw(self) -> _Batch:
        options = self.options
        count = len(self.source)
        index = self.order.choice(count, options.batch, replace=count < options.batch)
        batch = self.on_device(self.source.load(index))
        if options.turns:
            turns = draw_turns(len(index), self.draws)
            batch = _Batch(turn_tiles(turns, batch.tile), turn_panoramas(turns, batch.panorama),
                           turn_panoramas(turns, batch.sky), turn_offsets(turns, batch.position),
                           turn_headings(turns, batch.heading))
        if options.tile_light:
            gain = 1 + options.tile_light * (2 * torch.rand(len(index), 3, 1, 1, generator=self.draws) - 1)
            batch = _Batch((batch.tile * gain.to(self.device)).clamp(0, 1), batch.panorama, batch.sky, batch.position,
                           batch.heading)
        return batch

    def on_device(self, pairs: TilePanoramaPairs) -> _Batch:
        _check(pairs, self.model.options.frame.extent_m)
        offset = np.zeros((len(pairs), 2)) if pairs.offset_m is None else pairs.offset_m
        position = np.column_stack([offset, np.full(len(pairs), pairs.camera_height_m)])
        self.vertical_fov = pairs.vertical_fov
        return _Batch(*(torch.as_tensor(a).to(self.device) for a in (
            pairs.tiles, pairs.panoramas, pairs.sky, position.astype(np.float32), pairs.heading.astype(np.float32))))

    def rows(self, batch: _Batch) -> tuple[int, int]:
        """First and last (excluded) row of what geometry alone is trained on."""
        height = batch.sky.shape[1]
        first = (0.5 - self.options.highest / self.vertical_fov) * height
        last = (0.5 - self.options.lowest / self.vertical_fov) * height
        return max(math.floor(first), 0), min(math.ceil(last), height)

    def camera(self, batch: _Batch) -> PanoramaCamera:
        return PanoramaCamera(batch.sky.shape[2], batch.sky.shape[1], self.vertical_fov)

    def geometry_terms(self, volume: DensityVolume, batch: _Batch, first: int, last: int,
                       view: StreetView | None = None) -> dict[str, Tensor]:
        camera, weights = self.camera(batch), self.options.weights
        rendered = view.rendered if view is not None else render_panorama(
            volume, camera, batch.position, batch.heading, self.model.options.render, (first, last))
        sky = batch.sky[:, first:last]
        mask = None
        if self.options.border_mask:
            mask = ground_in_tile(volume.frame, camera, batch.position, batch.heading)[:, first:last].to(self.device)
        terms = {}
        if weights.opacity:
            terms["opacity"] = opacity_loss(rendered.opacity, sky, self.options.opacity_form, mask)
        if weights.colour:
            solid = ~sky if mask is None else ~sky & mask
            terms["colour"] = gain_matched_l1(rendered.rgb, batch.panorama[:, :, first:last], solid)
        return terms

    def picture_terms(self, volume: DensityVolume, batch: _Batch) -> dict[str, Tensor]:
        weights, model = self.options.weights, self.model
        histogram = None if model.illumination is None else model.histogram(batch.panorama, batch.sky)
        view = model.view(volume, self.camera(batch), batch.position, batch.heading, histogram, generator=self.draws)
        terms = self.geometry_terms(volume, batch, 0, batch.sky.shape[1], view)
        terms |= {"l1": l1_loss(view.rgb, batch.panorama), "l2": l2_loss(view.rgb, batch.panorama)}
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(view.rgb, batch.panorama)
        if view.illumination is not None and weights.kl:
            terms["kl"] = kl_loss(view.illumination.mean, view.illumination.log_variance)
        if self.critics is not None:
            terms |= self.adversarial_terms(view.rgb, batch.panorama)
        return terms

    def adversarial_terms(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """One step of the critics on these pictures, then their verdict as terms of the generator."""
        views = self.critics.views(len(fake), self.vertical_fov, self.draws, self.device)
        on_fake = self.critics(fake.detach(), views[0], self.vertical_fov)
        on_real = self.critics(real, views[1], self.vertical_fov)
        loss = gan_loss([v.logits for v in on_fake], False) + gan_loss([v.logits for v in on_real], True)
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimiser.step()
        if self.critic_schedule is not None:
            self.critic_schedule.step()
        self.critics.requires_grad_(False)
        judged = self.critics(fake, views[0], self.vertical_fov)
        with torch.no_grad():
            wanted = self.critics(real, views[1], self.vertical_fov)
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
class _InMemory:
    pairs: TilePanoramaPairs

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: np.ndarray) -> TilePanoramaPairs:
        """The pairs of an index array."""
        return self.pairs.subset(index)


def _check(pairs: TilePanoramaPairs, extent_m: float) -> None:
    where = "train_pairs"
    if math.isclose(pairs.vertical_fov, math.pi, rel_tol=1e-3):
        require_whole_sphere(*pairs.panoramas.shape[-2:], where)
    if pairs.sky is None:
        raise InputError("the pairs have no sky masks", where=where, mend="Make them with density.segment_sky")
    if pairs.camera_height_m is None:
        raise InputError("nobody says how high the camera is", where=where,
                         mend="Give camera_height_m, in metres; density.calibrate finds it from the pictures")
    if pairs.tile_extent_m is not None and not math.isclose(pairs.tile_extent_m, extent_m, rel_tol=1e-6):
        raise InputError(f"the tiles are {pairs.tile_extent_m} m wide, the model's {extent_m} m", where=where,
                         mend="Build the model with the frame of the pairs")
    if not np.isfinite(pairs.tiles).all() or not np.isfinite(pairs.panoramas).all():
        raise InputError("a picture holds numbers that are not finite", where=where, mend="Check its file")
    covered = pairs.sky.all(axis=(1, 2))
    if covered.any():
        raise InputError(f"pair {pairs.ids[int(np.argmax(covered))]} is sky everywhere", where=where,
                         mend="Leave it out: its mask is wrong, or was saved inverted")


def _check_model(model: SatDensity, options: TrainingOptions) -> None:
    if model.density is None and (model.refine is None or options.picture_after):
        raise InputError("a model without a density net learns pictures alone, and is asked for something else",
                         where="train_pairs", mend="Give it a refinement net, and picture_after=0")
