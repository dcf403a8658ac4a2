"""Cross-scene initialisation (CSI): one network is trained on many scenes, before it is given a scene of its own.

Wu, Zou, Shi, IEEE TGRS 60, 2022, on WHU MVS: 62 scenes with two references each, one random neighbour of 19 a step,
encoder and decoder trained by Adam at 1e-4, halved at epochs 100, 200, 300, 400 of 500, loss 2 L1 + (1 - SSIM) at four
scales, without LPIPS. Scenes are read when their turn comes, so any number of them fits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rsnb.errors import InputError
from rsnb.mpi.decode import model_settings, network_frame, network_picture, new_model
from rsnb.mpi.decoder_cost import require_memory
from rsnb.mpi.decoder_loss import DecoderLoss, DecoderLossOptions, Switches
from rsnb.mpi.layers import check_choice
from rsnb.mpi.model import ImMPI
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.render import Backend
from rsnb.mpi.scene_samples import LoadedScenes, SceneSample
from rsnb.mpi.views import MpiFrame, ViewSet, depth_range, view_set
from rsnb.training.devices import pick_device
from rsnb.training.loop import History, LoopOptions, Trained, train
from rsnb.training.schedules import milestone_schedule


@dataclass(frozen=True)
class CrossSceneOptions:
    """How the network is trained; the defaults are the published ones, but for the switches.

    Attributes:
        epochs: each shows every sample once, in an order of its own.
        learning_rate: of Adam.
        schedule: epochs at which it is divided, and by what.
        planes: P.
        trunk: of the encoder.
        bottleneck_norm: "group" works on 128 x 128 pictures too (see `Decoder`).
        train_encoder: False leaves the encoder as it is.
        targets_per_decode: neighbours that one step renders; their mean loss counts. A decode costs far more than a
            rendering, so two or four bring more than they cost.
        loss_weights: of L1, 1 - SSIM and LPIPS.
        mask_share: see `DecoderLossOptions`.
        switches: defects of the published code; a mended `reference` may be drawn as a target as well.
        validate_every, save_every: epochs between validations and between checkpoints; 0 leaves them to the end.
        scenes_in_memory: how many scenes are kept once they are read.
        seconds: wall time after which the training ends, or None.
        seed: of the weights, the order of the samples and the choice of neighbours.
        backend: of the renderer.
    """

    epochs: int = 500
    learning_rate: float = 1e-4
    schedule: str = "100,200,300,400:2"
    planes: int = 32
    trunk: Literal["resnet18", "resnet50"] = "resnet18"
    bottleneck_norm: Literal["batch", "group"] = "batch"
    train_encoder: bool = True
    targets_per_decode: int = 1
    loss_weights: tuple[float, float, float] = (2.0, 1.0, 0.0)
    mask_share: float = 0.5
    switches: Switches = field(default_factory=Switches)
    validate_every: int = 20
    save_every: int = 50
    scenes_in_memory: int = 8
    seconds: float | None = None
    seed: int = 28
    backend: Backend = "auto"

    def __post_init__(self):
        for name, least in (("epochs", 1), ("planes", 2), ("targets_per_decode", 1), ("validate_every", 0),
                            ("save_every", 0), ("scenes_in_memory", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"the value is {getattr(self, name)}", where=f"CrossSceneOptions.{name}",
                                 mend=f"Give at least {least}")
        if not self.learning_rate > 0:
            raise InputError(f"the value is {self.learning_rate}", where="CrossSceneOptions.learning_rate",
                             mend="Give a rate above 0")
        check_choice(self.trunk, ("resnet18", "resnet50"), "CrossSceneOptions.trunk")
        check_choice(self.bottleneck_norm, ("batch", "group"), "CrossSceneOptions.bottleneck_norm")
        _ = self.loss  # so that wrong weights, backend or share are told here, not after scenes were read

    @property
    def loss(self) -> DecoderLossOptions:
        """Of the loss."""
        return DecoderLossOptions(weights=self.loss_weights, mask_share=self.mask_share, switches=self.switches,
                                  backend=self.backend)

    @property
    def model(self) -> dict[str, Any]:
        """What the network is besides its weights; the keys of `model_settings`."""
        return {"trunk": self.trunk, "bottleneck_norm": self.bottleneck_norm,
                "plane_code": self.switches.plane_code, "statistics": self.switches.statistics}


@dataclass(frozen=True)
class CrossSceneResult:
    """A network that has seen many scenes.

    Attributes:
        model: in evaluation mode, on the device of the training.
        history: every step's "loss", its terms and "psnr" (scale 0, masked, dB).
        validation: rows of "epoch", "step", "loss", "psnr" (means over all neighbours at scale 0), "views", "seconds".
        steps_per_epoch: number of samples.
    """

    model: ImMPI
    history: History
    validation: list[dict[str, float]]
    steps_per_epoch: int

    def epochs(self) -> list[dict[str, float]]:
        """Means of the terms over each whole epoch."""
        n, terms = self.steps_per_epoch, {k: v for k, v in self.history.terms.items()
                                          if len(v) == len(self.history.terms["loss"])}
        return [{"epoch": i + 1, **{key: float(np.mean(values[i * n : (i + 1) * n])) for key, values in terms.items()}}
                for i in range(len(self.history.terms["loss"]) // n)]


def train_cross_scene(samples: Sequence[SceneSample], options: CrossSceneOptions | None = None, *,
                      model: ImMPI | None = None, validation: Sequence[SceneSample] = (),
                      checkpoint: str | Path | None = None, device: str = "cpu",
                      after_epoch: Callable[[int, ImMPI, dict[str, float]], None] | None = None) -> CrossSceneResult:
    """Train a network on many scenes.

    Args:
        samples: one step each in every epoch.
        options: see there.
        model: to begin with, an ImageNet trunk in it for instance; it is changed. None draws the weights from the seed.
        validation: samples of scenes that are not trained on.
        checkpoint: file that is written, and gone on from where it exists; a resumed training ends as one that was
            never interrupted, on a CPU to the last digit. `load_model` reads it.
        device: torch's, or "auto".
        after_epoch: called with the whole epochs done, the model, and the epoch's mean terms ("validation_loss" and
            "validation_psnr" among them where it was validated).

    Raises:
        InputError: no samples, a sample whose views do not fit, a model of other settings, too little memory, a loss
            that is not finite (the last good checkpoint stays), a checkpoint of another training.
    """
    options = options or CrossSceneOptions()
    if not samples:
        raise InputError("there is no sample to learn from", where="samples",
                         mend="Give at least one scene with a reference and a neighbour")
    model = new_model(seed=options.seed, **options.model) if model is None else model
    _check_model(model, options)
    run = _Run(model.to(pick_device(device)), samples, validation, options, pick_device(device), after_epoch)
    run.prepare(samples[0], ())  # memory is asked for before the first step
    history = train(run.step, run.trained, LoopOptions(
        options.epochs * len(samples), checkpoint, options.save_every * len(samples), settings=run.settings(),
        description="cross-scene training", seconds=options.seconds,
        when_memory_runs_out="Lower planes, the size of the pictures or scenes_in_memory"), run.after_step)
    model.eval()
    return CrossSceneResult(model, history, run.trained.records, len(samples))


@dataclass(frozen=True)
class _Prepared:
    """A sample as tensors: the padded reference picture, depths of the planes, the reference and its targets."""

    image: Tensor
    depths: Tensor
    views: ViewSet
    frame: MpiFrame


class _Run:
    """One training: what its steps share."""

    def __init__(self, model: ImMPI, samples, validation, options: CrossSceneOptions, device: str, after_epoch):
        self.model, self.samples, self.validation = model, samples, validation
        self.options, self.device, self.after_epoch = options, device, after_epoch
        self.loss = DecoderLoss(options.loss, device)
        self.scenes = LoadedScenes(options.scenes_in_memory)
        self.sizes: set[tuple[int, int]] = set()
        self.generator = torch.Generator().manual_seed(options.seed)
        moved = model.parameters() if options.train_encoder else model.decoder.parameters()
        optimiser = torch.optim.Adam(moved, options.learning_rate)
        self.trained = Trained(model, optimiser, milestone_schedule(optimiser, options.schedule, len(samples)),
                               {"neighbours": self.generator})
        self.this_epoch: list[dict[str, float]] = []
        self._mode()

    def settings(self) -> dict[str, Any]:
        options = self.options
        told = "\n".join(f"{s.name} {s.reference} {' '.join(s.neighbours)}" for s in self.samples)
        return {"recipe": "cross_scene", "samples": f"{len(self.samples)}, {hashlib.sha256(told.encode()).hexdigest()}",
                **options.model, **{f"switches.{k}": v for k, v in asdict(options.switches).items()},
                "loss_weights": list(options.loss_weights),
                **{name: getattr(options, name) for name in
                   ("learning_rate", "schedule", "planes", "train_encoder", "targets_per_decode", "mask_share",
                    "seed")}}

    def step(self, number: int) -> dict[str, Tensor]:
        """Loss and terms of one sample."""
        sample, names = self.turn(number)
        ready = self.prepare(sample, names)
        with torch.set_grad_enabled(self.options.train_encoder):
            features = self.model.encoder(ready.image)
        mpis = self.model.decoder(features, self.model.decoder.codes(self.options.planes))
        found = [self.loss(mpis, self.target(ready, name), number) for name in names]
        return {term: torch.stack([terms[term] for terms in found]).mean() for term in found[0]}

    def turn(self, number: int) -> tuple[SceneSample, list[str]]:
        """Whose turn it is, and random neighbours of it, none twice."""
        epoch, at = divmod(number, len(self.samples))
        order = np.random.default_rng([self.options.seed, epoch]).permutation(len(self.samples))
        sample = self.samples[order[at]]
        names = sample.neighbours
        if self.options.switches.reference == "mended":
            names = (*names, sample.reference)
        chosen = torch.randperm(len(names), generator=self.generator)[:self.options.targets_per_decode]
        return sample, [names[i] for i in chosen.tolist()]

    def prepare(self, sample: SceneSample, names: Sequence[str]) -> _Prepared:
        """The sample's reference, and those of its views that are to be rendered."""
        views = self.scenes.views(sample)
        near_far = depth_range(views, sample.reference)
        frame = network_frame(views, sample.reference, near_far)
        if frame.size not in self.sizes:
            require_memory(self.model.decoder, frame.size, self.options.planes, self.device)
            self.sizes.add(frame.size)
        posed = view_set(views, (sample.reference, *names), frame, self.device)
        return _Prepared(network_picture(posed.images[0], frame, self.device),
                         plane_depths(*near_far, self.options.planes), posed, frame)

    def target(self, ready: _Prepared, name: str):
        i = ready.views.names.index(name)
        return self.loss.target(ready.views.images[i], ready.views.camera(i, ready.frame), ready.depths, name)

    def after_step(self, done: int, terms: dict[str, float], seconds: float) -> None:
        options, (epoch, rest) = self.options, divmod(done, len(self.samples))
        ends = (epoch, rest) == (options.epochs, 0) or (options.seconds is not None and seconds >= options.seconds)
        self.this_epoch.append(terms)
        if rest and not ends:
            return
        means = {key: float(np.mean([row[key] for row in self.this_epoch])) for key in terms}
        self.this_epoch = []
        if self.validation and (ends or (options.validate_every and epoch % options.validate_every == 0)):
            row = self.validate()
            self.trained.records.append({"epoch": epoch, "step": done, **row, "seconds": seconds})
            means |= {"validation_loss": row["loss"], "validation_psnr": row["psnr"]}
        if self.after_epoch is not None:
            self.after_epoch(epoch, self.model, means)
            self._mode()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Means over all neighbours of all validation samples, at scale 0; changes nothing in the model."""
        self.model.eval()
        found = []
        for sample in self.validation:
            ready = self.prepare(sample, sample.neighbours)
            mpi = self.model(ready.image, self.options.planes)[:1]
            for name in sample.neighbours:
                terms = self.loss(mpi, self.target(ready, name))
                found.append([float(terms["loss"]), float(terms["psnr"])])
        self._mode()
        loss, psnr = np.mean(found, axis=0)
        return {"loss": float(loss), "psnr": float(psnr), "views": len(found)}

    def _mode(self) -> None:
        self.model.train()
        self.model.encoder.train(self.options.train_encoder)


def _check_model(model: ImMPI, options: CrossSceneOptions) -> None:
    for name, found in model_settings(model).items():
        if found != options.model[name]:
            raise InputError(f"the model has {name} = {found!r}, the options ask for {options.model[name]!r}",
                             where="model", mend=f"Set {name} as the model has it, or build it with the other")
