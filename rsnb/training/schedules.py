"""Learning rates over a training: falling at milestones, written as in the published configurations
("100,200,300,400:2"), falling every so many steps, or up and down once."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial

import torch

from rsnb.errors import InputError


def parse_milestones(text: str) -> tuple[list[int], float]:
    """Milestones and divisor of "50,100,200:2"; an empty text has none.

    Raises:
        InputError: another form, milestones that do not rise, or a divisor that is not above 1.
    """
    if not text.strip():
        return [], 1.0
    if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*:\s*\d+(\.\d+)?\s*", text):
        raise InputError(f"{text!r} is no schedule", where="milestones", mend="Write it as 50,100,200:2")
    left, right = text.split(":")
    milestones, divisor = [int(n) for n in left.split(",")], float(right)
    if milestones[0] < 1 or any(a >= b for a, b in zip(milestones[:-1], milestones[1:], strict=True)) or divisor <= 1:
        raise InputError(f"{text!r} does not lower the rate step by step", where="milestones",
                         mend="Let the milestones rise from 1 and the divisor be above 1")
    return milestones, divisor


def milestone_schedule(optimiser: torch.optim.Optimizer, text: str,
                       steps_per_unit: int = 1) -> torch.optim.lr_scheduler.MultiStepLR:
    """A schedule that divides every rate of the optimiser at each milestone.

    Args:
        optimiser: whose rates fall.
        text: as for `parse_milestones`.
        steps_per_unit: steps of the loop for one unit of the milestones (steps of an epoch where they count epochs).
    """
    milestones, divisor = parse_milestones(text)
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, [m * steps_per_unit for m in milestones], 1 / divisor)


def decay_schedule(optimiser: torch.optim.Optimizer, every: int, divisor: float,
                   begun: int = 0) -> torch.optim.lr_scheduler.LambdaLR:
    """A schedule that divides every rate of the optimiser again and again, for as long as the training lasts.

    Args:
        optimiser: whose rates fall.
        every: steps between two falls, >= 1.
        divisor: of the rates at each of them.
        begun: steps of the training that lie before the first of this schedule.
    """
    return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: divisor ** -((step + begun) // every))


def one_cycle_schedule(optimiser: torch.optim.Optimizer, steps: int, warm: float = 0.2,
                       starts: Sequence[int] | None = None) -> torch.optim.lr_scheduler.LambdaLR:
    """Rates from a 25th of the optimiser's up to it and down to nothing along half cosines (Smith and Topin 2018).

    torch's own class divides by zero where the way up is one step long.

    Args:
        optimiser: its rates are the highest ones.
        steps: of the training, >= 1.
        warm: share of the steps that lead upwards.
        starts: of each parameter group, the step at which its cycle begins, which takes all that are left; before, its
            rate is that of the cycle's first step. None = 0 for all.
    """
    def factor(step: int, start: int) -> float:
        step, last = max(step - start, 0), max(steps - start, 1)
        top = max(warm * last, 1.0)
        low, share = (1 / 25, 1 - step / top) if step < top else (1e-6, (step - top) / max(last - top, 1.0))
        return low + (1 - low) * (1 + math.cos(math.pi * min(share, 1.0))) / 2

    starts = [0] * len(optimiser.param_groups) if starts is None else starts
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, [partial(factor, start=start) for start in starts])
    schedule.total_steps = steps  # as torch's own class calls it: what a resumed training must not change
    return schedule
