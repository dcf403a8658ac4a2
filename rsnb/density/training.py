"""Training from pairs: the published losses and their switches, in one step function for every profile.

A step renders the panoramas of a batch from its tiles. Critics, where there are any, are trained first in each step, on
the same fakes. As long as geometry alone is trained (`picture_after`), only the rows of the panorama between
`lowest` and `highest` are rendered: below, the ground plane is opaque by itself, and above there is nothing on a tile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rsnb.density.augment import draw_turns, turn_headings, turn_offsets, turn_panoramas, turn_tiles
from rsnb.density.critics import CriticsOptions, PatchCritics
from rsnb.density.losses import (
    LossWeights,
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
from rsnb.density.volume import DensityVolume
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.scenes import TilePanoramaPairs
from rsnb.training import History, LoopOptions, Trained, one_cycle_schedule, train

_NO_PICTURE = ("gan", "feature_matching", "l1", "l2", "perceptual", "kl")


class PairSource(Protocol):
    """Pairs that need not lie in memory: anything with a length and `load`; `PairIndex` bound to its sizes is one."""

    def __len__(self) -> int:
        """Number of pairs."""

    def load(self, index: np.ndarray) -> TilePanoramaPairs:
        """The pairs of an index array, all of one size."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained.

    Attributes:
        steps, batch: how many steps of how many pairs.
        rate: the highest learning rate, of Adam with betas.
        schedule: "one_cycle" (ours) or "constant" (published: its steps never come).
        betas: of Adam; (0, 0.999) as published.
        weights: of the loss terms.
        opacity_form: "l1" as published or "bce".
        picture_after: step from which the picture terms join; before, geometry alone is trained.
        lowest, highest: elevations of the rays that geometry alone is trained on, radians.
        turns: joint random quarter turns and mirrors of tile and panorama (they destroy what the sun's fixed direction
            in a set of tiles tells about heights).
        tile_light: random gain of each tile and channel, +- this share: keeps short trainings from learning colours by
            heart.
        border_mask: leave out rays below the horizon that leave the tile before they meet the ground.
        critics: None = no critics, and then the weights of gan and feature_matching must be 0.
        trunk, trunk_file: of the perceptual term.
        emptiness: weight of the mean opacity of voxels (ours): what no ray speaks for is air.
        clip: largest norm of the gradient; None = as it comes.
        seed: of batches, turns and draws.
    """

    steps: int = 300
    batch: int = 8
    rate: float = 1e-2
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    betas: tuple[float, float] = (0.9, 0.999)
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
        if self.steps < 1 or self.batch < 1 or not 0 < self.rate < math.inf:
            raise InputError(f"{self.steps} steps of {self.batch} pairs at rate {self.rate}", where="TrainingOptions",
                             mend="Give whole numbers and a rate above 0")
        if self.critics is None and (self.weights.gan or self.weights.feature_matching):
            raise InputError("the loss has adversarial terms, and there are no critics", where="TrainingOptions",
                             mend="Give critics=CriticsOptions(...), or set the weights gan and feature_matching to 0")
        if not -math.pi / 2 <= self.lowest < self.highest <= math.pi / 2:
            raise InputError(f"elevations from {self.lowest} to {self.highest}", where="TrainingOptions",
                             mend="Give radians, the lower one first")

    @classmethod
    def published(cls, **changes) -> TrainingOptions:
        """Section 3 of the method's facts: batch 16, rate 5e-5, three critics, all losses."""
        plain = {"steps": 30 * 1657, "batch": 16, "rate": 5e-5, "schedule": "constant", "betas": (0.0, 0.999),
                 "weights": LossWeights(), "opacity_form": "l1", "critics": CriticsOptions(), "clip": None,
                 "lowest": -math.pi / 2, "highest": math.pi / 2}
        return cls(**(plain | changes))


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
        self.source = _InMemory(pairs) if isinstance(pairs, TilePanoramaPairs) else pairs
        if len(self.source) < 1:
            raise InputError("there is no pair to learn from", where="train_pairs", mend="Give at least one")
        self.device = next(model.parameters()).device
        self.order = np.random.default_rng([options.seed, 1])
        self.draws = torch.Generator().manual_seed(options.seed)
        weights = options.weights
        self.pictures = model.refine is not None and options.picture_after < options.steps
        self.critics = self.critic_optimiser = self.perceptual = None
        if self.pictures and options.critics is not None:
            with torch.random.fork_rng(devices=[]):  # the same critics whatever was drawn before
                torch.manual_seed(options.seed)
                self.critics = PatchCritics(options.critics).to(self.device)
            self.critic_optimiser = torch.optim.Adam(self.critics.parameters(), options.rate, betas=options.betas)
        if self.pictures and weights.perceptual:
            self.perceptual = PerceptualTerm(options.trunk, options.trunk_file, where="train_pairs").to(self.device)

    def run(self, loop: LoopOptions | None, after_step) -> History:
        options = self.options
        optimiser = torch.optim.Adam(self.model.parameters(), options.rate, betas=options.betas)
        if options.clip is not None:
            optimiser.register_step_pre_hook(self.clip)
        schedule = None
        if options.schedule == "one_cycle":
            schedule = one_cycle_schedule(optimiser, options.steps)
        others = {} if self.critics is None else {"critics": self.critics, "critic_optimiser": self.critic_optimiser}
        trained = Trained(self.model, optimiser, schedule, {"order": self.order, "draws": self.draws}, others)
        given = LoopOptions(options.steps, description="Sat2Density") if loop is None else loop
        values = {f.name: getattr(given, f.name) for f in fields(given)} | {
            "steps": options.steps, "settings": _settings(self.model, options) | dict(given.settings),
            "when_memory_runs_out": "Lower the batch, the size of the panoramas or the number of samples"}
        self.model.train()
        history = train(self.step, trained, LoopOptions(**values), after_step)
        self.model.eval()
        return history

    def clip(self, *_) -> None:
        nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)

    def step(self, number: int) -> dict[str, Tensor]:
        """The loss of one step, and its terms."""
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
        view = model.view(volume, self.camera(batch), batch.position, batch.heading, histogram)
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


def _settings(model: SatDensity, options: TrainingOptions) -> dict:
    """Everything that makes this training what it is, as texts."""
    return {"model": repr(model.options), "training": repr(options)}

