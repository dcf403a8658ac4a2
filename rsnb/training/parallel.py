"""One training on several GPUs or processes: the same steps, each process with its share of every batch.

    def step(number):                       # runs in every process
        index = draw_a_batch()              # the same in all, from a generator that a checkpoint holds
        index = index[team().share(len(index))]
        ...
    train(step, trained, LoopOptions(steps, devices=4), replica=Replica(...))

The calling process is the first of the team: its model is the one that is trained, it alone writes checkpoints, shows
the bar and calls `after_step`. The others are started by `train`, build the same training by calling `replica(device)`,
take over its whole state, and end with it. Gradients are averaged after each backward pass, before clipping and the
optimiser's step; so are the terms that are written down. Launch of the collectives and devices are Lightning Fabric's
(extra `scale`), which nothing imports before a training asks for more than one device.

Batch norm takes its statistics over the whole batch on GPUs; on the CPU each process over its share, and the running
ones are averaged whenever a checkpoint is written and at the end.
"""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsnb.errors import InputError

_MAPPED = 1 << 20  # bytes from which an array is handed over as a file that all processes map
_BUCKET = 1 << 24  # numbers that are averaged in one go
_JOIN_SECONDS = 300.0  # until a process must have built its replica


class Team:
    """The processes of one training, as one of them sees them; of a training on one device, that one alone.

    Attributes:
        rank: number of this process; 0 is the one that called `train`.
        size: number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

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
        self.agree()
        for bucket in _buckets(tensors):
            flat = self.reduce(torch.cat([t.detach().reshape(-1) for t in bucket]), "mean")
            for tensor, mean in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                tensor.detach().copy_(mean.view_as(tensor))

    def average_terms(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Means over the processes of detached terms; the tensors that were given stay as they are."""
        if self.size == 1:
            return terms
        means = torch.stack([value.float() for value in terms.values()])
        self.average([means])
        return dict(zip(terms, means.unbind(), strict=True))

    def first_says(self, answer: bool) -> bool:
        """The answer of the first process."""
        if self.size == 1:
            return answer
        self.agree()
        return bool(self.reduce(torch.tensor(float(answer and self.rank == 0)), "max") > 0)

    def agree(self) -> None:
        """All are well; else raises `AnotherFailed`. Comes before whatever the processes do together, so that one that
        failed is not waited for."""
        if self.size > 1 and float(self.reduce(torch.zeros(()), "max")) > 0:
            raise AnotherFailed

    def failed(self) -> None:
        """Tell the others, in place of what they do together next."""
        self.reduce(torch.ones(()), "max")

    def reduce(self, tensor: Tensor, how: str) -> Tensor:
        """The mean or maximum of a tensor over the processes."""
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


def check_devices(devices: int, device: torch.device, replica: Callable | None) -> None:
    """Refuse a number of devices that this machine or training cannot serve.

    Raises:
        InputError: says what is missing.
    """
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise InputError(f"devices is {devices!r}", where="devices", mend="Use a whole number from 1")
    if devices == 1:
        return
    if replica is None:
        raise InputError("this training runs on one device only", where=f"devices = {devices}", mend="Set devices = 1")
    if importlib.util.find_spec("lightning_fabric") is None:
        raise InputError("several devices need Lightning Fabric, which is not installed", where=f"devices = {devices}",
                         mend="Install rsnb[scale] or lightning-fabric, or set devices = 1")
    if device.type == "cuda":
        if devices > torch.cuda.device_count():
            raise InputError(f"torch finds {torch.cuda.device_count()} GPUs, not {devices}", where="devices",
                             mend="Use no more than there are")
        if device.index not in (None, 0):
            raise InputError(f"a training on {devices} GPUs begins with the first, the model is on {device}",
                             where="device", mend='Put it on "cuda:0"; CUDA_VISIBLE_DEVICES chooses which that is')


@contextmanager
def launched(replica: Callable, devices: int, device: torch.device, options: Any,
             save_state: Callable[[Path], Any]) -> Iterator[Team]:
    """A team whose other processes are running and wait for the first step.

    Args:
        replica: `replica(device: str)` gives (step, trained) of the same training; it must be picklable, and its
            arrays are mapped from files, not copied.
        devices: processes in all.
        device: of this process.
        options: of the loop, for the others.
        save_state: writes the checkpoint that the others begin with.

    Raises:
        InputError: what happened in another process, as it told it; or that one of them ended without a word.
    """
    from rsnb.training.ranks import connect, disconnect, free_port

    kept = {name: os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT")}
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="rsnb-team-") as place:
        folder = Path(place)
        (folder / "task.pkl").write_bytes(_with_mapped_arrays((replica, options), folder))
        save_state(folder / "state.ckpt")
        port = free_port()
        others = _start(place, devices, port, device.type)
        done = False
        try:
            if device.type == "cpu":
                torch.set_num_threads(max(threads // devices, 1))
            _wait_until_ready(folder, others)
            with in_team(connect(0, devices, port, device.type)) as members:
                yield members
            done = True
        except (AnotherFailed, RuntimeError) as error:
            reason = _reason(folder, others)
            if reason is None:
                raise
            raise reason from error
        finally:
            if done:
                disconnect()  # all leave together; after a failure nobody may be waited for
            _end(others, 10.0 if done else 0.0)
            disconnect()
            torch.set_num_threads(threads)
            for name, value in kept.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


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


def _with_mapped_arrays(value: Any, folder: Path) -> bytes:
    class Pickler(pickle.Pickler):
        def reducer_override(self, item):
            if not isinstance(item, np.ndarray) or item.nbytes < _MAPPED or item.dtype.hasobject:
                return NotImplemented
            path = folder / f"{len(list(folder.glob('*.npy')))}.npy"
            np.save(path, item)
            return np.load, (str(path), "r")

    stream = io.BytesIO()
    try:
        Pickler(stream).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"the training cannot be handed to other processes ({' '.join(str(error).split())[:160]})",
                         where="devices", mend="Build it of importable functions and classes, or set devices = 1"
                         ) from error
    return stream.getvalue()


def _start(place: str, devices: int, port: int, kind: str) -> list[subprocess.Popen]:
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)  # where this process finds what the replica names
    env = os.environ | {"PYTHONPATH": path}
    if kind == "cpu":
        env["OMP_NUM_THREADS"] = str(max(torch.get_num_threads() // devices, 1))
    # a session of their own: whoever interrupts this process is answered by it alone, which then ends them
    return [subprocess.Popen([sys.executable, "-m", "rsnb.training.worker", place, str(rank), str(devices), str(port),
                              kind], env=env, start_new_session=True) for rank in range(1, devices)]


def _wait_until_ready(folder: Path, others: Sequence[subprocess.Popen]) -> None:
    """Wait for their replicas: nobody may wait at the meeting point for one that died on the way."""
    begin = time.monotonic()
    while not all((folder / f"ready-{rank}").exists() for rank in range(1, len(others) + 1)):
        if any(other.poll() is not None for other in others):
            raise AnotherFailed
        if time.monotonic() - begin > _JOIN_SECONDS:
            raise InputError(f"another process was not ready after {_JOIN_SECONDS:.0f} s", where="devices",
                             mend="Set devices = 1")
        time.sleep(0.02)


def _reason(folder: Path, others: Sequence[subprocess.Popen]) -> Exception | None:
    """Why another process ended: its own error, or that it ended without one."""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        for path in sorted(folder.glob("failed-*.pkl")):
            return pickle.loads(path.read_bytes())
        if all(other.poll() is not None for other in others):
            break
        time.sleep(0.05)
    codes = {rank: other.poll() for rank, other in enumerate(others, start=1)}
    dead = {rank: code for rank, code in codes.items() if code}
    if not dead:
        return None
    rank, code = next(iter(dead.items()))
    return InputError(f"process {rank} of the training ended with code {code}", where=f"devices = {len(others) + 1}",
                      mend="Its own words stand above; code -9 is the system's, for memory. Or set devices = 1")


def _end(others: Sequence[subprocess.Popen], patience: float) -> None:
    """Let them end by themselves for some seconds, where all steps were done; then end them."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(other.poll() is None for other in others):
        time.sleep(0.02)
    for other in others:
        if other.poll() is None:
            other.kill()
        other.wait()
