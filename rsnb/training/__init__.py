"""What trainings share: seeds, the loop with its checkpoints and resuming, schedules, devices and free memory.

`train(step, Trained(model, optimiser), LoopOptions(steps, checkpoint))` runs one, or goes on with it.
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "train": "loop",
    "Trained": "loop",
    "LoopOptions": "loop",
    "History": "history",
    "team": "parallel",
    "save_checkpoint": "checkpoints",
    "load_checkpoint": "checkpoints",
    "seed_everything": "seeds",
    "random_state": "seeds",
    "restore_random_state": "seeds",
    "milestone_schedule": "schedules",
    "parse_milestones": "schedules",
    "one_cycle_schedule": "schedules",
    "decay_schedule": "schedules",
    "pick_device": "devices",
    "free_bytes": "memory",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
