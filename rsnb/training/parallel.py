"""One training on several GPUs or processes: the same steps, each process with its share of every batch.

    def step(number):                       # runs in every process
        with team().agreed():               # whatever may fail in one alone: all fail with it
            index = draw_a_batch()          # the same in all, from a generator that a checkpoint holds
            batch = load(index[team().share(len(index))])
        ...
    train(step, trained, LoopOptions(steps, devices=4), replica=Replica(...))

The calling process is the first of the team: its model is the one that is trained, it alone writes checkpoints, shows
the bar and calls `after_step`. The others are started by `train` (`launch`), build the same training by calling
`replica(device)`, take over its whole state, and end with it. Gradients are averaged after each backward pass, before
clipping and the optimiser's step; the terms that are written down whenever they are looked at. Processes meet and get
their devices through Lightning Fabric (extra `scale`), which nothing imports before a training asks for more than one.

Batch norm takes its statistics over the whole batch on GPUs; on the CPU each process over its share, and the running
ones are averaged whenever a checkpoint is written and at the end.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn

from rsnb.errors import InputError

_BUCKET = 1 << 24  # numbers that are averaged in one go


class Team:
    """The processes of one training, as one of them sees them; of a training on one device, that one alone.

    Attributes:
        rank: number of this process; 0 is the one that called `train`.
        size: number of processes.
        broken: set by whoever finds that another process has ended.
    """

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size
        self.broken = threading.Event()

    def share(self, count: int) -> slice:
        """Which of `count` items of a batch are this process's: every `size`-th.

        Raises:
            InputError: a count that cannot be shared equally.
        """
        if count % self.size:
            raise InputError(f"a batch of {count} cannot be shared equally by {self.size} devices", where="batch",
                             mend=f"Use a multiple of {self.size}")
        return slice(self.rank, None, self.size)

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.size > 1:
            self.average([p.grad for p in parameters if p.grad is not None])

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace floating tensors by their means over the processes; all must call it with as many."""
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = self.reduce(torch.cat([t.detach().reshape(-1) for t in bucket]), "mean")
            for tensor, mean in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                tensor.detach().copy_(mean.view_as(tensor))

    def average_rows(self, rows: Sequence[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        """Means over the processes of the detached terms of several steps, exchanged in one go; the tensors that were
        given stay as they are."""
        if self.size == 1 or not rows:
            return list(rows)
        means = iter(self.reduce(torch.stack([value.float() for row in rows for value in row.values()]), "mean"))
        return [{name: next(means) for name in row} for row in rows]

    def first_says(self, answer: bool) -> bool:
        """The answer of the first process."""
        if self.size == 1:
            return answer
        return bool(self.reduce(torch.tensor(float(answer and self.rank == 0)), "max") > 0)

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """What each process does inside alone, all have done when this ends, or all fail: what they compute together
        next (batch norm) would wait for one that failed. On GPUs too the processes exchange this without waiting for
        what the GPUs still do.

        Raises:
            AnotherFailed: it failed in another process.
        """
        try:
            yield
        except Exception:
            if self.size > 1:
                with suppress(AnotherFailed, RuntimeError):
                    self.reduce(torch.ones(()), "max")
            raise
        if self.size > 1 and float(self.reduce(torch.zeros(()), "max")) > 0:
            raise AnotherFailed

    def reduce(self, tensor: Tensor, how: str) -> Tensor:
        """The mean or maximum of a tensor over the processes; the one that was given stays as it is."""
        raise NotImplementedError


class AnotherFailed(Exception):
    """Another process of the team failed; it says why itself."""


_SOLO = Team()
_now = [_SOLO]


def team() -> Team:
    """The team of the training that is running; outside of one, and on one device, a team of one."""
    return _now[-1]


@contextmanager
def in_team(members: Team) -> Iterator[Team]:
    """`team()` gives `members` inside."""
    _now.append(members)
    try:
        yield members
    finally:
        _now.pop()


def check_count(devices: int) -> None:
    """Refuse what is no number of devices.

    Raises:
        InputError: anything but a whole number from 1.
    """
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise InputError(f"devices is {devices!r}", where="devices", mend="Use a whole number from 1")


def check_devices(devices: int, device: torch.device, replica: Callable | None) -> None:
    """Refuse a number of devices that this machine or training cannot serve.

    Raises:
        InputError: says what is missing.
    """
    check_count(devices)
    if devices == 1:
        return
    if replica is None:
        raise InputError("this training runs on one device only", where=f"devices = {devices}", mend="Set devices = 1")
    if importlib.util.find_spec("lightning_fabric") is None:
        raise InputError("several devices need Lightning Fabric, which is not installed", where=f"devices = {devices}",
                         mend="Install rsnb[scale] or lightning-fabric, or set devices = 1")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"a training on several devices runs on CUDA GPUs or on the CPU, the model is on {device}",
                         where="device", mend="Set devices = 1")
    if device.type == "cuda":
        if devices > torch.cuda.device_count():
            raise InputError(f"torch finds {torch.cuda.device_count()} GPUs, not {devices}", where="devices",
                             mend="Use no more than there are")
        if device.index not in (None, 0):
            raise InputError(f"a training on {devices} GPUs begins with the first, the model is on {device}",
                             where="device", mend='Put it on "cuda:0"; CUDA_VISIBLE_DEVICES chooses which that is')


@contextmanager
def one_batch_norm(model: nn.Module) -> Iterator[None]:
    """Inside, batch norms of a model on a GPU take their statistics over the team; the layers come back afterwards."""
    places = [(parent, name, child) for parent in model.modules() for name, child in parent.named_children()
              if isinstance(child, nn.modules.batchnorm._BatchNorm) and team().size > 1 and _on_gpu(child)]
    for parent, name, child in places:
        setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # shares weights and statistics
    try:
        yield
    finally:
        for parent, name, child in places:
            child.train(getattr(parent, name).training)
            setattr(parent, name, child)


def _on_gpu(layer: nn.Module) -> bool:
    return any(tensor.is_cuda for tensor in (*layer.parameters(), *layer.buffers()))


def average_statistics(model: nn.Module) -> None:
    """Make the floating buffers of a model (running statistics) the same in all processes: their means."""
    team().average([b for b in model.buffers() if b.is_floating_point()])


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or tensor.device != bucket[0].device
                       or sum(t.numel() for t in bucket) + tensor.numel() > _BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
