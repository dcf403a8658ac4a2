"""Per-scene optimisation as published: the scene is learnt by the decoder's weights, and by nothing else.

The encoder sees the reference picture once and stays as it is; Adam moves the decoder so that the planes it draws,
rendered into the training views, look like the pictures (Wu, Zou, Shi, IEEE TGRS 60, 2022). 500 epochs of one step a
view, rates halved at 50, 100, 200, 300 and 400. Every defect of the published code is a switch of the loss; one decode
may serve several views, which the authors' code does not do.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rsnb.errors import InputError
from rsnb.mpi.decode import decode_scene, model_settings, network_frame, network_picture, new_model
from rsnb.mpi.decoder_cost import require_memory
from rsnb.mpi.decoder_loss import DecoderLoss, DecoderLossOptions, Switches, Target
from rsnb.mpi.encoder import Trunk
from rsnb.mpi.layers import BatchNorm
from rsnb.mpi.model import ImMPI
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.views import check_range, check_views, depth_range, view_rows, view_set
from rsnb.scenes import PosedImages
from rsnb.training.loop import LoopOptions, Trained
from rsnb.training.loop import train as run_loop
from rsnb.training.schedules import milestone_schedule

OnStep = Callable[[int, int, Callable[[], OptimisedMpi]], None]


@dataclass(frozen=True)
class DecoderOptions:
    """How a decoder learns a scene. The defaults are the published numbers with every defect mended.

    Attributes:
        planes: P.
        near_far: z depth of the first and last plane; None takes the reference view's own.
        epochs: rounds over the targets.
        steps: of the optimiser in all, in place of what `epochs` makes; None: as `epochs` says.
        views_per_decode: targets that one decode serves (K); an epoch has ceil(targets / K) steps. Published: 1.
        learning_rate: of Adam (0.9, 0.999).
        milestones: epochs at which the rate is divided, and the divisor: "50,100,200,300,400:2".
        loss: terms, their weights and the switches.
        bottleneck_norm: of a fresh decoder: "batch" as published, or "group", which pictures of 128 x 128 need.
        trunk: of a fresh encoder.
        save_epochs: epochs between checkpoints; 0 writes one at the end.
        seconds: wall time after which the optimisation ends, or None.
        seed: of a fresh model's weights; nothing else is drawn.
        logdir: folder for TensorBoard's scalars; None writes none.
        check_every: steps between looks at the loss; on a GPU each look waits for it.
    """

    planes: int = 32
    near_far: tuple[float, float] | None = None
    epochs: int = 500
    steps: int | None = None
    views_per_decode: int = 1
    learning_rate: float = 1e-3
    milestones: str = "50,100,200,300,400:2"
    loss: DecoderLossOptions = field(default_factory=DecoderLossOptions)
    bottleneck_norm: Literal["batch", "group"] = "batch"
    trunk: Trunk = "resnet18"
    save_epochs: int = 50
    seconds: float | None = None
    seed: int = 23
    logdir: str | Path | None = None
    check_every: int = 1

    def __post_init__(self):
        for name, least in (("planes", 2), ("epochs", 1), ("steps", 1), ("views_per_decode", 1), ("save_epochs", 0),
                            ("check_every", 1)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise InputError(f"the value is {getattr(self, name)}", where=f"DecoderOptions.{name}",
                                 mend=f"Give at least {least}")
        if not self.learning_rate > 0:
            raise InputError(f"the value is {self.learning_rate}", where="DecoderOptions.learning_rate",
                             mend="Give a rate above 0; published is 1e-3")

    @classmethod
    def published(cls, **changes) -> DecoderOptions:
        """With all defects of the authors' code; `changes` are other attributes."""
        return cls(**({"loss": DecoderLossOptions(switches=Switches.all_published())} | changes))


@dataclass(frozen=True)
class DecoderResult:
    """What a per-scene optimisation gives.

    Attributes:
        mpi: the decoded planes, in the reference camera's frame (grown to the right and below where the network wants
            it larger; `frame.inset` tells where the picture lies); sigma per unit length, as the renderer takes it.
            `history` has a row a look: step, loss, its terms (the last known LPIPS where it is not due at each step),
            psnr of the step's views over their masks, seconds.
        model: encoder and trained decoder, in eval mode, on the device.
        resumed_at: step of the checkpoint that was gone on from; 0 where there was none.
    """

    mpi: OptimisedMpi
    model: ImMPI
    resumed_at: int = 0


def optimise_decoder(views: PosedImages, reference: str, train: Sequence[str],
                     options: DecoderOptions | None = None, *, model: ImMPI | None = None, device: str = "cpu",
                     checkpoint: str | Path | None = None, on_step: OnStep | None = None) -> DecoderResult:
    """Optimise the decoder of ImMPI for one scene.

    Args:
        views: all pictures; only `train` and `reference` are looked at.
        reference: whose picture the encoder sees and whose camera the planes are parallel to.
        train: names of the views to learn from. The reference is one more target, unless the switch says as
            published.
        options: see there.
        model: weights to begin with, of a cross-scene training, say; a copy is trained. None: fresh ones.
        device: torch's.
        checkpoint: file to write and to go on from; None keeps nothing.
        on_step: called as on_step(step, total, result_so_far) after every step; the last makes an `OptimisedMpi`.

    Raises:
        InputError: bad poses, split or range; pictures below 128 x 128 with LPIPS; a picture of 128 x 128 with the
            published bottleneck; too little memory; a model that contradicts the switches; a loss that is not finite
            (says at which step); a checkpoint of another training.
    """
    options = options or DecoderOptions()
    run = _Run(views, reference, train, options, model, device, time.perf_counter())
    return run.optimise(checkpoint, on_step)


class _Run:
    """One optimisation: what its steps share."""

    def __init__(self, views: PosedImages, reference: str, names: Sequence[str], options: DecoderOptions,
                 model: ImMPI | None, device: str, begin: float):
        check_views(views, reference, names)
        self.views, self.reference, self.options, self.device, self.begin = views, reference, options, device, begin
        self.near_far = options.near_far or depth_range(views, reference)
        check_range(*self.near_far)
        self.frame = network_frame(views, reference, self.near_far)
        self.model = self._model(model).to(device)
        self.loss = DecoderLoss(options.loss, device)
        self.model.decoder.train()
        require_memory(self.model.decoder, self.frame.size, options.planes, device)
        self.settings = self._settings(names)
        self.features = self._features()
        self.codes = self.model.decoder.codes(options.planes)
        self.targets = self._targets(names)
        self.per_epoch = -(-len(self.targets) // options.views_per_decode)

    def optimise(self, checkpoint: str | Path | None, on_step: OnStep | None) -> DecoderResult:
        options, decoder = self.options, self.model.decoder
        adam = torch.optim.Adam(decoder.parameters(), options.learning_rate)
        trained = Trained(self.model, adam, milestone_schedule(adam, options.milestones, self.per_epoch))
        steps = options.steps or options.epochs * self.per_epoch
        loop = LoopOptions(
            steps, checkpoint, options.save_epochs * self.per_epoch, settings=self.settings,
            check_every=options.check_every, description="per-scene optimisation", seconds=options.seconds,
            when_memory_runs_out="Lower `planes`, the size of the pictures or `views_per_decode`")
        with _scalars(options.logdir) as log:
            history = run_loop(self.step, trained, loop,
                               lambda *now: self.after(trained.records, loop, log, on_step, now))
        return DecoderResult(self.result(trained.records), self.model.eval(), history.resumed_at)

    def step(self, number: int) -> dict[str, Tensor]:
        """One decode, and the mean loss of the targets whose turn it is."""
        count, each = len(self.targets), self.options.views_per_decode
        turn = [(number * each + k) % count for k in range(min(each, count))]
        mpis = self.model.decoder(self.features, self.codes)
        rows = [self.loss(mpis, self.targets[i], number) for i in turn]
        return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}

    def after(self, records: list[dict[str, Any]], loop: LoopOptions, log, on_step: OnStep | None, now) -> None:
        """Write down a step; keep the statistics that the planes of a checkpoint will be drawn with."""
        done, terms, seconds = now
        ends = done == loop.steps or (loop.seconds is not None and seconds >= loop.seconds)
        if ends or done % self.options.check_every == 0:
            records.append({"step": done, **terms, "seconds": seconds})
            if log is not None:
                for name, value in terms.items():
                    log.add_scalar(name, value, done)
        if ends or (loop.save_every and done % loop.save_every == 0):
            self._settle()
        if on_step is not None:
            on_step(done, loop.steps, lambda: self.result(records))

    def result(self, records: Sequence[dict[str, Any]]) -> OptimisedMpi:
        """The planes that the weights draw now."""
        self._settle()
        decoded = decode_scene(self.model, self.views, self.reference, self.near_far, self.options.planes,
                               device=self.device, switches=self.options.loss.switches)
        spent = max([time.perf_counter() - self.begin, *(row["seconds"] for row in records[-1:])])  # resumed: in all
        return replace(decoded, history=list(records), seconds=spent, rendering=self.options.loss.rendering)

    def _settle(self) -> None:
        if self.model.decoder.bottleneck.statistics == "mended":
            settle_statistics(self.model.decoder, self.features, self.codes)

    def _model(self, model: ImMPI | None) -> ImMPI:
        switches, options = self.options.loss.switches, self.options
        if model is None:
            return new_model(options.trunk, options.bottleneck_norm, switches.plane_code, switches.statistics,
                             options.seed)
        for name, value in model_settings(model).items():
            if name in ("plane_code", "statistics") and value != getattr(switches, name):
                raise InputError(f"{name} is {value!r} in the model and {getattr(switches, name)!r} in the switches",
                                 where="switches", mend="Set the switch as the model was trained with")
        return deepcopy(model)

    @torch.no_grad()
    def _features(self) -> list[Tensor]:
        """Of the reference picture, once: the encoder is not trained."""
        encoder = self.model.encoder
        row = view_rows(self.views, [self.reference])[0]
        picture = network_picture(self.views.images[row], self.frame, self.device)
        if encoder.bn1.statistics == "mended" and not encoder.bn1.running_mean.any():
            settle_statistics(encoder, picture)  # a fresh encoder keeps none; without any its maps grow and grow
        return encoder.eval()(picture)

    def _targets(self, names: Sequence[str]) -> list[Target]:
        names = [name for name in names if name != self.reference]
        if self.options.loss.switches.reference == "mended":
            names = [self.reference, *names]
        depths = plane_depths(*self.near_far, self.options.planes)
        chosen = view_set(self.views, names, self.frame, self.device)
        return [self.loss.target(image, chosen.camera(i, self.frame), depths, name)
                for i, (image, name) in enumerate(zip(chosen.images, names, strict=True))]

    def _settings(self, names: Sequence[str]) -> dict[str, Any]:
        """What a checkpoint must share to be gone on from."""
        options, loss = self.options, self.options.loss
        return {"recipe": "per scene", **model_settings(self.model), "planes": options.planes,
                "near_far": [float(v) for v in self.near_far], "size": list(self.frame.size),
                "reference": self.reference, "train_views": list(names), "views_per_decode": options.views_per_decode,
                "learning_rate": options.learning_rate, "milestones": options.milestones,
                "weights": list(loss.weights), "perceptual": loss.perceptual if loss.weights[2] else "none",
                "perceptual_every": loss.perceptual_every, "mask_share": loss.mask_share,
                **{f"switch_{name}": value for name, value in vars(loss.switches).items()},
                "start": _digest(self.model)}


@torch.no_grad()
def settle_statistics(module: nn.Module, *inputs) -> None:
    """Set all running statistics to those of one batch, so that eval mode gives what training mode gives on it.

    Args:
        module: with `BatchNorm` layers; its mode stays as it was.
        inputs: of the module.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, BatchNorm)]
    counts: dict[nn.Module, int] = {}
    hooks = [norm.register_forward_pre_hook(
        lambda layer, given: counts.__setitem__(layer, given[0].numel() // given[0].shape[1])) for norm in norms]
    before = [(layer, layer.training) for layer in module.modules()]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 1.0
        module.train()(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for layer, training in before:
            layer.training = training
    for norm, count in counts.items():
        norm.running_var.mul_((count - 1) / count)  # torch keeps the unbiased variance and normalises by the biased


def _digest(model: nn.Module) -> str:
    """Of all weights: a checkpoint that began from others is another training."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _scalars(logdir: str | Path | None):
    """TensorBoard's writer, or None."""
    if logdir is None:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(f"TensorBoard is not installed ({error})", where="DecoderOptions.logdir",
                         mend="Run `pip install tensorboard`, or set logdir to None: the history has the same "
                              "numbers") from error
    with SummaryWriter(str(logdir)) as writer:
        yield writer
