"""Two processes do what one does with the same batches; what fails in one is told by the other."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta

import numpy as np
import pytest
import torch
from torch import nn

from rsnb.errors import InputError
from rsnb.training import launch, loop, parallel
from rsnb.training.checkpoints import load_checkpoint
from rsnb.training.loop import LoopOptions, train
from rsnb.training.parallel import AnotherFailed, Team, check_devices, in_team, one_batch_norm, team

TASK = '''
import os
import signal
import sys
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
    how: str = "raise"

    def die(self, *_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, device):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(device)
        adam = torch.optim.Adam(model.parameters(), 1e-2)

        def clip(*_):
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)

        adam.register_step_pre_hook(clip)
        order = np.random.default_rng(5)
        if "rsnb.training.worker" in sys.orig_argv:
            if self.how == "before it meets":
                sys.modules["__main__"].connect = self.die
            if self.how == "while it meets":
                torch.distributed.init_process_group = self.die

        def step(number):
            index = order.choice(len(self.x), 6, replace=False)
            with team().agreed():
                index = index[team().share(len(index))]
                if number == self.fails_at and team().rank == 1:
                    if self.how == "killed":
                        self.die()
                    raise InputError(f"row {index[0]} is torn", where="x", mend="Mend it")
            x = torch.from_numpy(self.x[index]).to(device)
            error = model(x)[:, 0] - x.square().sum(1)
            terms = {"loss": error.square().mean(), "rows": torch.tensor(float(len(index)))}
            return terms | ({"late": error.abs().mean()} if number >= 4 else {})

        return step, Trained(model, adam, one_cycle_schedule(adam, 8), {"order": order})
'''
ROWS = np.random.default_rng(0).random((40_000, 4), np.float32)  # 640 kB; twice that and it would be mapped
LOOP = LoopOptions(8, description="")
CPU = torch.device("cpu")


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
    seen, kept = [], LoopOptions(8, tmp_path / "run.ckpt", 4, description="", seconds=3600.0, devices=2)
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


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two GPUs")
def test_two_gpus_train_as_one(task):
    replica, models = task(np.repeat(ROWS, 2, axis=0)), []
    for devices in (1, 2):
        step, trained = replica("cuda")
        train(step, trained, LoopOptions(8, description="", devices=devices), replica=replica)
        models.append(torch.cat([p.flatten() for p in trained.model.parameters()]))
    assert models[1].is_cuda and torch.allclose(*models, atol=1e-4)


def test_what_fails_in_another_process_is_told_by_this_one(task):
    replica = task(ROWS, fails_at=2)
    step, trained = replica("cpu")
    with pytest.raises(InputError, match=r"^x: row \d+ is torn. Mend it.$"):
        train(step, trained, LoopOptions(8, description="", devices=2), replica=replica)
    assert team().size == 1 and not torch.distributed.is_initialized()


@pytest.mark.parametrize("how", ["before it meets", "while it meets", "killed"])
def test_a_process_that_is_killed_is_not_waited_for(task, monkeypatch, how):
    ranks = importlib.import_module("rsnb.training.ranks")
    monkeypatch.setattr(ranks, "_MEETING", timedelta(seconds=2))
    replica = task(ROWS, 2, how)
    step, trained = replica("cpu")
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"devices = 2: process 1 of the training ended with code -9"):
        train(step, trained, LoopOptions(8, description="", devices=2), replica=replica)
    assert team().size == 1 and not torch.distributed.is_initialized()
    assert time.monotonic() - begin < 60  # its connection's own patience are two hours


def test_whoever_waits_on_a_gpu_for_one_that_ended_is_given_up(tmp_path, monkeypatch):
    """There gloo tells nobody; the thread that looks after the others does."""
    monkeypatch.setattr(launch, "_GRACE_SECONDS", 0.0)
    dead = subprocess.Popen([sys.executable, "-c", "import os; os.abort()"], stderr=subprocess.DEVNULL)
    waiting, members = threading.Event(), Team(0, 2)
    others = launch._Others(tmp_path, [dead])
    with others.watched(members, waiting.set):
        assert waiting.wait(20) and members.broken.is_set()
    assert "code -6" in str(others.reason())
    # of two that say why, the first; of one that was killed and one that lost it, the killed one
    alive = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    others = launch._Others(tmp_path, [alive, alive])
    for rank, when in ((1, 200), (2, 100)):
        path = tmp_path / f"failed-{rank}.pkl"
        path.write_bytes(launch.pickle.dumps(InputError(f"said by {rank}")))
        os.utime(path, (when, when))
    assert str(others.reason()) == "said by 2."
    assert "process 2 of the training ended with code -6" in str(launch._Others(tmp_path, [alive, dead]).reason())
    others.end(0.0)
    assert alive.poll() is not None


def test_others_draw_anew_at_each_start(monkeypatch):
    """Dropout differs between processes, and after a resume is not again what it was at the start."""
    drawn = {}
    monkeypatch.setattr(loop, "_advance", lambda *_: drawn.setdefault(at, torch.rand(1).item()))
    monkeypatch.setattr(loop._Run, "begin", lambda run: setattr(run, "done", at[1]))
    for at in ((1, 0), (2, 0), (1, 5), (2, 5)):
        torch.manual_seed(3)
        line = nn.Linear(1, 1)
        with in_team(Team(at[0], 3)):
            loop.advance_in_team(None, loop.Trained(line, torch.optim.SGD(line.parameters(), 1.0)), LOOP)
    assert len(set(drawn.values())) == 4


def test_a_task_that_cannot_be_handed_over_is_refused(task):
    step, trained = task(ROWS)("cpu")
    with pytest.raises(InputError, match="cannot be handed to other processes"):
        train(step, trained, LoopOptions(8, description="", devices=2), replica=lambda device: (step, trained))


def test_large_arrays_are_mapped_and_not_copied(tmp_path):
    large, small = np.arange(2 * launch._MAPPED, dtype=np.uint8), np.arange(5)
    words = launch._with_mapped_arrays({"large": large, "small": small}, tmp_path)
    assert len(words) < 1000
    again = launch.pickle.loads(words)
    assert isinstance(again["large"], np.memmap) and np.array_equal(again["large"], large)
    assert np.array_equal(again["small"], small) and len(list(tmp_path.iterdir())) == 1


class Twins(Team):
    """The other process of two has the same numbers, times three."""

    def __init__(self):
        super().__init__(1, 2)
        self.calls = []

    def reduce(self, tensor, how):
        self.calls.append(tensor.numel())
        return (tensor + 3 * tensor) / 2 if how == "mean" else torch.maximum(tensor, 3 * tensor)


def test_means_and_shares_by_hand(monkeypatch):
    monkeypatch.setattr(parallel, "_BUCKET", 5)
    twins = Twins()
    weights = [torch.ones(3), torch.ones(2), torch.ones(2, 2, dtype=torch.float64), torch.ones(1)]
    for p in weights[:3]:
        p.grad = torch.full_like(p, 2.0)
    twins.average_gradients(weights)
    assert all(torch.equal(p.grad, torch.full_like(p, 4.0)) for p in weights[:3]) and weights[3].grad is None
    assert twins.calls == [5, 4]  # a full bucket, another type
    rows = twins.average_rows([{"loss": torch.tensor(1.5)}, {"loss": torch.tensor(2.5), "l1": torch.tensor(0.5)}])
    assert [{name: float(value) for name, value in row.items()} for row in rows] == [
        {"loss": 3.0}, {"loss": 5.0, "l1": 1.0}] and twins.calls == [5, 4, 3]
    assert twins.share(6) == slice(1, None, 2) and list(range(6))[twins.share(6)] == [1, 3, 5]
    with pytest.raises(InputError, match=r"batch of 5 cannot be shared equally by 2 devices. Use a multiple of 2"):
        twins.share(5)


def test_a_team_of_one_changes_nothing():
    weight = torch.ones(2)
    weight.grad = torch.tensor([1.0, 2.0])
    solo = team()
    solo.average_gradients([weight])
    assert weight.grad.tolist() == [1.0, 2.0] and list(range(5))[solo.share(5)] == list(range(5))
    assert solo.first_says(True) and not solo.first_says(False)
    with solo.agreed():
        pass


def test_one_that_fails_alone_tells_it_and_the_others_stop():
    twins = Twins()
    with twins.agreed():
        pass
    with pytest.raises(KeyError), twins.agreed():
        raise KeyError
    assert twins.calls == [1, 1]
    twins.reduce = lambda tensor, how: tensor + 1  # the other one says so
    with pytest.raises(AnotherFailed), twins.agreed():
        pass


def test_a_loss_is_exchanged_as_often_as_it_is_looked_at(monkeypatch):
    """Steps that nobody looks at wait for nobody but the gradients."""
    counts = []
    for every in (1, 4):
        twins, line = Twins(), nn.Linear(1, 1)
        with in_team(twins):
            run = loop._Run(loop.Trained(line, torch.optim.SGD(line.parameters(), 1e-3)),
                            LoopOptions(8, description="", check_every=every))
            loop._advance(lambda k, line=line: line.weight.square().sum() + line.bias.square().sum(), run, None)
        assert len(run.terms["loss"]) == 8
        counts.append(len(twins.calls))
    assert counts == [16, 10]


def test_batch_norm_of_a_team_shares_weights_and_statistics(monkeypatch):
    """On a GPU its layers are exchanged while it lasts; here they are told that they are on one."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(nn.BatchNorm2d(2)))
    plain = model[1][0]
    with in_team(Twins()), one_batch_norm(model):
        assert model[1][0] is plain  # the CPU has no such layer
    monkeypatch.setattr(parallel, "_on_gpu", lambda layer: True)
    with one_batch_norm(model):
        assert model[1][0] is plain
    with in_team(Twins()), one_batch_norm(model):
        layer = model[1][0]
        assert isinstance(layer, nn.SyncBatchNorm) and layer.weight is plain.weight
        layer.running_mean.fill_(3.0)
        model.eval()
    assert model[1][0] is plain and plain.running_mean.tolist() == [3.0, 3.0] and not plain.training


@pytest.mark.parametrize(("devices", "device", "words"), [
    (0, CPU, "devices is 0"), (True, CPU, "devices is True"), (1.5, CPU, "devices is 1.5"), (2, CPU, "not installed"),
    ("2", CPU, "devices is '2'"), (2, torch.device("meta"), "CUDA GPUs or on the CPU, the model is on meta"),
    (3, torch.device("cuda"), "finds 2 GPUs, not 3"), (2, torch.device("cuda:1"), "begins with the first")])
def test_devices_that_are_not_there(monkeypatch, devices, device, words):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = None if words == "not installed" else "there"
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda name: found)
    with pytest.raises(InputError, match=words):
        check_devices(devices, device, dict)
    with pytest.raises(InputError, match="on one device only"):
        check_devices(2, CPU, None)


def test_one_device_never_imports_lightning():
    program = """
import sys, torch, rsnb.training, rsnb.density, rsnb.density.training, rsnb.training.parallel
from rsnb.training import LoopOptions, Trained, train
line = torch.nn.Linear(1, 1)
train(lambda k: line.weight.square().sum(), Trained(line, torch.optim.SGD(line.parameters(), 0.1)),
      LoopOptions(2, description=""))
print([name for name in sys.modules if name.partition(".")[0] in ("lightning_fabric", "lightning", "fsspec")])"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "[]"
