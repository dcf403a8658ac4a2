"""The loop that every training runs: steps, progress, a stop at numbers that are not finite, checkpoints, resuming.

A training that is resumed at step k goes on exactly as one that was never interrupted: model, optimiser, schedule,
every generator and the history come back. On the CPU that is to the last digit, with the same number of threads.
More steps may be asked for than a checkpoint was made for, unless its schedule of rates depends on their number.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsnb.errors import InputError
from rsnb.training import parallel
from rsnb.training.checkpoints import load_checkpoint, save_checkpoint
from rsnb.training.history import History, Spans, spans_of, write_terms
from rsnb.training.seeds import Generator, random_state, restore_random_state

Step = Callable[[int], "Tensor | dict[str, Tensor]"]
AfterStep = Callable[[int, dict[str, float], float], None]
Replica = Callable[[str], "tuple[Step, Trained]"]
_FORMAT = "rsnb training 1"


@dataclass(frozen=True)
class Trained:
    """What a training changes, and what a checkpoint therefore holds.

    Attributes:
        model: all weights; those in the optimiser are trained.
        optimiser: of torch.
        schedule: of learning rates, stepped once after each step; or None.
        generators: torch or numpy generators, besides the global ones, that the steps draw from.
        others: further things with `state_dict` and `load_state_dict` that the steps change by themselves: the
            optimiser of critics, say.
        records: what `after_step` writes down (validations, say): rows of numbers and texts, brought back in place.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    generators: Mapping[str, Generator] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class LoopOptions:
    """How long to train, and what to keep.

    Attributes:
        steps: in total, those before a resume included.
        checkpoint: file to write and to resume from; None keeps nothing.
        save_every: steps between checkpoints; the last step is saved anyway. 0 saves only that.
        resume: go on from `checkpoint` where it exists; else it is an error that it does.
        settings: numbers and texts that make a training what it is, in dicts of dicts if need be; a checkpoint with
            others is refused.
        check_every: steps between looks at the loss. On a GPU each look waits for it; a larger number lets it run on.
        description: of the progress bar; an empty text hides it.
        when_memory_runs_out: the mend of that error: which parameter to lower.
        seconds: wall time, that before a resume included, after which the training ends as if its steps were done,
            after at least one step more; None = no limit. The checkpoint is written, and can be gone on from.
        devices: GPUs, or processes on the CPU, that share each batch (`parallel`); 1 = this process alone.
    """

    steps: int
    checkpoint: str | Path | None = None
    save_every: int = 0
    resume: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    check_every: int = 1
    description: str = "training"
    when_memory_runs_out: str = "Lower the size of the pictures or the number of planes"
    seconds: float | None = None
    devices: int = 1


def train(step: Step, trained: Trained, options: LoopOptions, after_step: AfterStep | None = None,
          replica: Replica | None = None) -> History:
    """Run `step` until `options.steps` are done.

    Args:
        step: takes the step's number from 0; gives the loss, or a dict of terms with "loss" among them. The loop does
            the gradients, the optimiser's step and the schedule's.
        trained: what is changed, in place.
        options: see there.
        after_step: called with the number of steps done, the last terms that were looked at, and the seconds so far,
            before a checkpoint is written: for validation, pictures, logs.
        replica: for more than one device: gives (step, trained) of the same training on the device it is called with,
            in another process; a picklable object. Its state need not be that of `trained`: that is handed over.

    Raises:
        InputError: a loss or weight that is not finite (says at which step, and which checkpoint is the last good
            one), memory that runs out, a checkpoint of another training, or devices that are not there.
    """
    _check(options)
    device = next((p.device for p in trained.model.parameters()), torch.device("cpu"))
    parallel.check_devices(options.devices, device, replica)
    run = _Run(trained, options)
    run.begin()
    if options.devices == 1 or run.done >= options.steps:
        run.guard(lambda: _advance(step, run, after_step))
    else:
        from rsnb.training.launch import launched

        with launched(replica, options.devices, device, options, run.write):
            run.guard(lambda: _advance(step, run, after_step))
    return History(run.terms, run.seconds(), run.resumed_at, run.spans)


def advance_in_team(step: Step, trained: Trained, options: LoopOptions) -> None:
    """The loop of a process that is not the first: from the checkpoint of the options on, writing nothing."""
    run = _Run(trained, options)
    run.begin()
    run.path = None
    # dropout must not be the same in all processes, nor after a resume what it was at the start
    draws = np.random.SeedSequence([torch.initial_seed(), run.done, parallel.team().rank])
    torch.manual_seed(int(draws.generate_state(1, np.uint64)[0] >> 1))
    run.guard(lambda: _advance(step, run, None))


def _advance(step: Step, run: _Run, after_step: AfterStep | None) -> None:
    trained, options, team = run.trained, run.options, parallel.team()
    moved = [p for group in trained.optimiser.param_groups for p in group["params"]]
    with _progress(options, run.done) as bar, parallel.one_batch_norm(trained.model):
        while run.done < options.steps:
            terms = step(run.done)
            terms = terms if isinstance(terms, dict) else {"loss": terms}
            run.pending.append({name: value.detach() for name, value in terms.items()})
            if len(run.pending) >= options.check_every:
                run.look()  # before the step spoils the weights
            trained.optimiser.zero_grad(set_to_none=True)
            terms["loss"].backward()
            team.average_gradients(moved)
            trained.optimiser.step()
            if trained.schedule is not None:
                trained.schedule.step()
            run.done += 1
            spent = run.seconds()  # one look at the clock: `after_step` must not see an end that the loop does not
            last = run.done == options.steps or (options.seconds is not None
                                                 and team.first_says(spent >= options.seconds))
            if last:
                run.look()
                spent = run.seconds()
            bar.update(1)
            if run.terms:
                bar.set_postfix(loss=f"{run.terms['loss'][-1]:.4g}", refresh=False)
            if after_step is not None and run.terms:
                with run.clock_stopped():
                    after_step(run.done, {name: values[-1] for name, values in run.terms.items()}, spent)
            if last or (options.save_every and run.done % options.save_every == 0):
                run.save()
            if last:
                return


class _Run:
    """One call of `train`: where it stands, and what it has written down."""

    def __init__(self, trained: Trained, options: LoopOptions):
        self.trained, self.options = trained, options
        self.path = None if options.checkpoint is None else Path(options.checkpoint)
        self.done = self.resumed_at = 0
        self.saved_at: int | None = None
        self.terms: dict[str, list[float]] = {}
        self.spans: Spans = {}
        self.pending: list[dict[str, Tensor]] = []
        self.spent, self.started = 0.0, time.perf_counter()

    def seconds(self) -> float:
        return self.spent + time.perf_counter() - self.started

    @contextmanager
    def clock_stopped(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.started += time.perf_counter() - begin

    def begin(self) -> None:
        """Take up the checkpoint, where there is one."""
        if self.path is None or not self.path.exists():
            return
        if not self.options.resume:
            raise InputError("there is a checkpoint already", where=self.path,
                             mend="Set resume=True, or remove it together with its .sha256")
        state = load_checkpoint(self.path)
        if state.get("format") != _FORMAT:
            raise InputError("this is no checkpoint of a training", where=self.path, mend="Name another file")
        self._require_same(state)
        trained = self.trained
        lacking = sorted({*trained.others} - {*state["others"]})
        if lacking:
            raise InputError(f"the checkpoint holds no {lacking[0]!r}, and this training has it", where=self.path,
                             mend="Use the parameters that it was made with, or another file")
        try:
            trained.model.load_state_dict(state["model"])
            trained.optimiser.load_state_dict(state["optimiser"])
            for name, other in trained.others.items():
                other.load_state_dict(state["others"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"the checkpoint is of another model or optimiser ({_in_short(error)})", where=self.path,
                             mend="Use the parameters that it was made with, or another file") from error
        if trained.schedule is not None:
            trained.schedule.load_state_dict(state["schedule"])
        restore_random_state(state["random"], trained.generators)
        trained.records[:] = state.get("records", [])
        self.done = self.resumed_at = self.saved_at = state["step"]
        self.terms, self.spent = state["terms"], state["seconds"]
        self.spans = spans_of(self.terms, state.get("spans"))

    def save(self) -> None:
        """Write a checkpoint, if there is a path; only of a finite loss and finite weights."""
        self.look()
        parallel.average_statistics(self.trained.model)
        for name, value in self.trained.model.state_dict().items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                self._stop(f"the weight {name!r} is not finite after step {self.done}")
        if self.path is None:
            return
        self.write(self.path)
        self.saved_at = self.done

    def write(self, path: Path) -> None:
        """All that another call needs to go on from here."""
        trained = self.trained
        save_checkpoint(path, {
            "format": _FORMAT, "step": self.done, "settings": dict(self.options.settings), "terms": self.terms,
            "spans": self.spans, "seconds": self.seconds(), "model": trained.model.state_dict(),
            "optimiser": trained.optimiser.state_dict(),
            "schedule": None if trained.schedule is None else trained.schedule.state_dict(),
            "others": {name: other.state_dict() for name, other in trained.others.items()},
            "random": random_state(trained.generators), "records": list(trained.records)})

    def look(self) -> None:
        """Fetch the pending terms, and stop at the first that is not finite."""
        means = parallel.team().average_rows(self.pending)
        rows = [{name: float(value) for name, value in row.items()} for row in means]
        self.pending.clear()
        for row in rows:
            at = len(self.terms.get("loss", ())) + 1
            bad = [f"{name} is {value}" for name, value in row.items() if not math.isfinite(value)]
            if bad:
                self._stop(f"{', '.join(bad)} at step {at}")
            write_terms(row, at, self.terms, self.spans)

    def guard(self, work: Callable[[], None]) -> None:
        """Run `work`; where memory runs out, say which parameter to lower."""
        try:
            work()
        except (MemoryError, RuntimeError) as error:
            # torch tells it of a GPU by a class of its own, of the CPU by these words
            if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "allocate memory" not in str(error):
                raise
            raise InputError(f"memory ran out at step {self.done + 1}", where=self.options.description or "training",
                             mend=self.options.when_memory_runs_out) from error

    def _stop(self, what: str) -> None:
        kept = "no checkpoint was written" if self.saved_at is None else \
            f"the last good checkpoint is that of step {self.saved_at}, {self.path}"
        raise InputError(f"{what}; the training stops, {kept}", where=self.options.description or "training",
                         mend="Lower the learning rate, or look for a picture without a valid pixel")

    def _require_same(self, state: Mapping[str, Any]) -> None:
        then, now = _flat(state["settings"]), _flat(self.options.settings)
        other = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        if other:
            name, more = other[0], f" ({len(other) - 1} more differ: {_in_short(', '.join(other[1:]), 80)})"
            raise InputError(f"the checkpoint was made with {name} = {_in_short(repr(then.get(name)), 60)}, now it is "
                             f"{_in_short(repr(now.get(name)), 60)}{more if other[1:] else ''}", where=self.path,
                             mend=f"Set {name} as it was, or name another checkpoint")
        planned = (state["schedule"] or {}).get("total_steps"), getattr(self.trained.schedule, "total_steps", None)
        if None not in planned and planned[0] != planned[1]:
            raise InputError(f"the checkpoint was made for {planned[0]} steps, now {planned[1]} are asked for, and its "
                             "schedule of rates depends on their number", where=self.path,
                             mend='Ask for as many steps as then, or train anew with the schedule "constant"')
        if state["step"] > self.options.steps:
            raise InputError(f"the checkpoint has {state['step']} steps behind it, more than the {self.options.steps} "
                             "asked for", where=self.path, mend="Raise steps, or name another checkpoint")
        if (state["schedule"] is None) != (self.trained.schedule is None):
            raise InputError("the training has a schedule of rates and the checkpoint none, or the other way round",
                             where=self.path, mend="Use the schedule that it was made with")


def _check(options: LoopOptions) -> None:
    for name, least in (("steps", 1), ("save_every", 0), ("check_every", 1)):
        if getattr(options, name) < least:
            raise InputError(f"{name} is {getattr(options, name)}", where=name, mend=f"Use at least {least}")


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings without dicts inside: {"density": {"width": 8}} has "density.width"."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return flat


def _in_short(words: object, length: int = 160) -> str:
    text = " ".join(str(words).split())
    return text if len(text) <= length else text[:length - 3] + "..."


class _Silent:
    """Stands for the progress bar where none is wanted or tqdm is not installed."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def update(self, _):
        """Nothing to draw."""

    def set_postfix(self, **_):
        """Nothing to draw."""


def _progress(options: LoopOptions, done: int):
    if not options.description:
        return _Silent()
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _Silent()
    return tqdm(total=options.steps, initial=done, desc=options.description, unit="step", mininterval=0.5)
