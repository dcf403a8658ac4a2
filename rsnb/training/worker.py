"""A process of a team other than the first: python -m rsnb.training.worker FOLDER RANK SIZE PORT KIND

Started by `launch.launched`, which has written the task and the state to begin with into the folder, and reads there
what went wrong.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path

import torch

from rsnb.training.loop import advance_in_team
from rsnb.training.parallel import AnotherFailed, in_team
from rsnb.training.ranks import connect, disconnect


def work(folder: Path, rank: int, size: int, port: int, kind: str) -> None:
    """Build the training, meet the others, and do its steps with them."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        device = "cpu" if kind == "cpu" else f"{kind}:{rank}"
        if kind == "cuda":
            torch.cuda.set_device(rank)
        build, options = pickle.loads((folder / "task.pkl").read_bytes())
        step, trained = build(device)
        (folder / f"ready-{rank}").touch()
        with in_team(connect(rank, size, port, kind)):
            advance_in_team(step, trained, replace(options, checkpoint=folder / "state.ckpt", description="",
                                                   resume=True))
    except AnotherFailed:
        _leave(0)
    except Exception as error:
        _report(folder, rank, error)
        _leave(1)
    disconnect()


def _leave(code: int) -> None:
    """At once: whoever leaves politely may wait for a process that waits for this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _end_with(parent: int) -> None:
    """Whoever started this process may be killed without a chance to end it."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _report(folder: Path, rank: int, error: Exception) -> None:
    try:
        words = pickle.dumps(error)
        pickle.loads(words)
    except Exception:
        words = pickle.dumps(RuntimeError("".join(traceback.format_exception(error))[-4000:]))
    part = folder / f"failed-{rank}.part"
    part.write_bytes(words)
    part.rename(folder / f"failed-{rank}.pkl")


if __name__ == "__main__":
    work(Path(sys.argv[1]), *(int(word) for word in sys.argv[2:5]), sys.argv[5])
