"""Terms keep the steps at which they were written, whichever joined late, paused, or came from an older checkpoint."""

from __future__ import annotations

import torch

from rsnb.training.checkpoints import load_checkpoint, save_checkpoint
from rsnb.training.history import History
from rsnb.training.loop import LoopOptions, Trained, train


def training(lasts):
    """The loss is the step's number; "late" joins at step 4, "rare" comes at steps 2, 3, 5 and 6."""
    model = torch.nn.Linear(1, 1)

    def step(number):
        k = number + 1
        terms = {"loss": model.weight.sum() * 0 + k}
        if k >= 4:
            terms["late"] = torch.tensor(10.0 * k)
        return terms | ({"rare": torch.tensor(100.0 * k)} if k in (2, 3, 5, 6) else {})

    return lambda path: train(step, Trained(model, torch.optim.SGD(model.parameters(), 0.1)),
                              LoopOptions(lasts, path, description=""))


EXPECTED = [{"step": k, "loss": float(k), "late": 10.0 * k if k >= 4 else None,
             "rare": 100.0 * k if k in (2, 3, 5, 6) else None} for k in range(1, 8)]


def test_rows_are_aligned_whether_interrupted_or_not(tmp_path):
    whole = training(7)(None)
    assert whole.rows() == EXPECTED
    assert whole.terms["late"] == [40.0, 50.0, 60.0, 70.0] and whole.spans["rare"] == [[2, 3], [5, 6]]
    for cut in (1, 3, 4, 5):
        path = tmp_path / f"{cut}.ckpt"
        assert training(cut)(path).rows() == [{name: row[name] for name in training_terms(cut)}
                                              for row in EXPECTED[:cut]]
        assert training(7)(path).rows() == EXPECTED


def training_terms(cut):
    return ["step", "loss"] + (["late"] if cut >= 4 else []) + (["rare"] if cut >= 2 else [])


def test_a_checkpoint_that_holds_no_steps_is_read_as_if_short_terms_had_joined_late(tmp_path):
    path = tmp_path / "old.ckpt"
    training(5)(path)
    state = load_checkpoint(path)
    del state["spans"], state["terms"]["rare"]
    save_checkpoint(path, state)
    rows = training(7)(path).rows()
    assert [row["late"] for row in rows] == [None, None, None, 40.0, 50.0, 60.0, 70.0]
    assert History({"loss": [1.0, 2.0, 3.0], "gan": [5.0]}, 0.0, 0).rows() == [
        {"step": 1, "loss": 1.0, "gan": None}, {"step": 2, "loss": 2.0, "gan": None},
        {"step": 3, "loss": 3.0, "gan": 5.0}]


def test_a_history_of_nothing_has_no_rows():
    assert History({}, 0.0, 0).rows() == []
