"""Two processes do what one does with the same batches; what fails in one is told by the other."""

from __future__ import annotations

import importlib
import os
import sys

import numpy as np
import pytest
import torch

from rsnb.training.checkpoints import load_checkpoint
from rsnb.training.loop import LoopOptions, train
from rsnb.training.parallel import team

TASK = '''
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rsnb.errors import InputError
from rsnb.training import LoopOptions, Trained, one_cycle_schedule, team, train


@dataclass(frozen=True)
class Task:
    """Least squares, with a clipped gradient and a generator that draws the batches."""

    x: np.ndarray
    fails_at: int = -1

    def __call__(self, device):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(device)
        adam = torch.optim.Adam(model.parameters(), 1e-2)

        def clip(*_):
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)

        adam.register_step_pre_hook(clip)
        order = np.random.default_rng(5)

        def step(number):
            index = order.choice(len(self.x), 6, replace=False)
            index = index[team().share(len(index))]
            if number == self.fails_at and team().rank == 1:
                raise InputError(f"row {index[0]} is torn", where="x", mend="Mend it")
            x = torch.from_numpy(self.x[index])
            error = model(x)[:, 0] - x.square().sum(1)
            terms = {"loss": error.square().mean(), "rows": torch.tensor(float(len(index)))}
            return terms | ({"late": error.abs().mean()} if number >= 4 else {})

        return step, Trained(model, adam, one_cycle_schedule(adam, 8), {"order": order})
'''
ROWS = np.random.default_rng(0).random((40_000, 4), np.float32)  # 640 kB; twice that and it would be mapped
LOOP = LoopOptions(8, description="")


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A module that another process can import too."""
    pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed")
    (tmp_path / "least_squares_task.py").write_text(TASK)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("least_squares_task", None)
    return importlib.import_module("least_squares_task").Task


def test_two_processes_train_as_one_with_the_same_batches(task, tmp_path):
    replica = task(np.repeat(ROWS, 2, axis=0))
    step, alone = replica("cpu")
    one = train(step, alone, LOOP)
    step, shared = replica("cpu")
    seen, kept = [], LoopOptions(8, tmp_path / "run.ckpt", 4, description="", devices=2)
    threads, rng = torch.get_num_threads(), torch.get_rng_state()
    two = train(step, shared, kept, lambda done, terms, seconds: seen.append((os.getpid(), done)), replica)
    for a, b in zip(alone.model.parameters(), shared.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5) and b.is_leaf
    assert two.terms["loss"] == pytest.approx(one.terms["loss"], abs=1e-5)
    assert two.terms["late"] == pytest.approx(one.terms["late"], abs=1e-5) and two.rows()[3]["late"] is None
    assert one.terms["rows"] == [6.0] * 8 and two.terms["rows"] == [3.0] * 8
    assert seen == [(os.getpid(), k) for k in range(1, 9)]
    # nothing of it stays behind
    assert team().size == 1 and not torch.distributed.is_initialized() and torch.get_num_threads() == threads
    assert "MASTER_PORT" not in os.environ and torch.equal(rng, torch.get_rng_state())
    # one process can go on from what two have written, and is at the end
    state = load_checkpoint(tmp_path / "run.ckpt")
    assert state["step"] == 8 and all(torch.equal(v, shared.model.state_dict()[k]) for k, v in state["model"].items())
    step, again = replica("cpu")
    assert train(step, again, LoopOptions(8, tmp_path / "run.ckpt", description="")).terms == two.terms
