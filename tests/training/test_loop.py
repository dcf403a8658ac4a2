"""Resumed is as if never interrupted; numbers that are not finite stop a training and spoil nothing."""

from __future__ import annotations

import itertools
import time
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rsnb.errors import InputError
from rsnb.training import loop
from rsnb.training.checkpoints import load_checkpoint
from rsnb.training.loop import LoopOptions, Trained, train
from rsnb.training.schedules import milestone_schedule, one_cycle_schedule
from rsnb.training.seeds import seed_everything


def network():
    """With dropout and running statistics: both must be taken up again too."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ELU(), nn.Dropout(0.3), nn.Flatten(),
                         nn.Linear(288, 1))


def training(seed=4):
    """A network, and a step that draws from torch's and numpy's global generators and from two of its own."""
    seed_everything(seed)
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    views, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    trained = Trained(model, optimiser, milestone_schedule(optimiser, "3,7:2"), {"views": views, "noise": noise})

    def step(i):
        x = torch.rand(4, 3, 8, 8) + views.random() + np.random.rand()  # noqa: NPY002
        fit = (model(x) - torch.rand(4, 1, generator=noise) - i / 10).square().mean()
        weights = model[0].weight.square().mean()
        return {"loss": fit + 0.1 * weights, "fit": fit}

    return trained, step


def options(**changes):
    return LoopOptions(**({"steps": 11, "description": ""} | changes))


def everything(trained):
    moments = trained.optimiser.state_dict()["state"]
    return [*trained.model.state_dict().values(), *(t for s in moments.values() for t in s.values()),
            torch.rand(3), torch.rand(3, generator=trained.generators["noise"]),
            torch.tensor(trained.generators["views"].random(3)), torch.tensor(trained.optimiser.param_groups[0]["lr"])]


@pytest.mark.parametrize("k", [1, 3, 4, 7, 10])
def test_resumed_at_any_step_is_never_interrupted_to_the_last_digit(tmp_path, k):
    trained, step = training()
    whole = train(step, trained, options())
    expected = everything(trained)

    path = tmp_path / "run.ckpt"
    trained, step = training()

    def killed(done, terms, seconds):
        if done == k + 1:
            raise KeyboardInterrupt  # one step after the last checkpoint, which is lost

    if k < 10:
        with pytest.raises(KeyboardInterrupt):
            train(step, trained, options(checkpoint=path, save_every=k), killed)
    else:
        train(step, trained, options(steps=k, checkpoint=path))
    assert load_checkpoint(path)["step"] == k
    trained, step = training(seed=77)  # nothing of a new process is as it was
    history = train(step, trained, options(checkpoint=path, save_every=k))
    assert history.resumed_at == k
    assert history.terms == whole.terms and len(history.terms["loss"]) == 11
    for a, b in zip(everything(trained), expected, strict=True):
        assert torch.equal(a, b)


def test_records_of_after_step_come_back_as_far_as_the_checkpoint_goes(tmp_path):
    """Noted after every second step; the checkpoint is of step 6, so what was noted at 8 is written anew."""
    path, kept = tmp_path / "run.ckpt", []
    for last in (9, 11):
        trained, step = training()

        def note(done, terms, seconds, trained=trained, last=last):
            if done == 9 == last:
                raise KeyboardInterrupt
            if done % 2 == 0:
                trained.records.append({"step": done, "loss": terms["loss"]})

        try:
            history = train(step, trained, options(checkpoint=path, save_every=3), note)
        except KeyboardInterrupt:
            kept = list(trained.records)
    assert [row["step"] for row in kept] == [2, 4, 6, 8]
    assert history.resumed_at == 6 and [row["step"] for row in trained.records] == [2, 4, 6, 8, 10]
    assert trained.records == [{"step": k, "loss": history.terms["loss"][k - 1]} for k in (2, 4, 6, 8, 10)]


def test_without_the_random_states_it_would_be_another_training(tmp_path, monkeypatch):
    """The test above can fail: leave out what brings the generators back, and it does."""
    trained, step = training()
    whole = train(step, trained, options())
    path = tmp_path / "run.ckpt"
    trained, step = training()
    train(step, trained, options(steps=4, checkpoint=path))
    monkeypatch.setattr("rsnb.training.loop.restore_random_state", lambda *_: None)
    trained, step = training(seed=77)
    assert train(step, trained, options(checkpoint=path)).terms["loss"][4] != whole.terms["loss"][4]


def test_a_finished_training_is_not_run_again(tmp_path):
    trained, step = training()
    first = train(step, trained, options(checkpoint=tmp_path / "run.ckpt"))

    def never(i):
        raise AssertionError

    trained, _ = training()
    again = train(never, trained, options(checkpoint=tmp_path / "run.ckpt"))
    assert again.terms == first.terms and again.resumed_at == 11
    assert again.seconds > load_checkpoint(tmp_path / "run.ckpt")["seconds"] > 0
    longer, step = training()
    assert len(train(step, longer, options(steps=13, checkpoint=tmp_path / "run.ckpt")).terms["loss"]) == 13


@pytest.mark.parametrize("check_every", [1, 4])
def test_a_loss_that_is_no_number_stops_and_the_last_good_checkpoint_stays(tmp_path, check_every):
    trained, step = training()
    path = tmp_path / "run.ckpt"

    def spoilt(i):
        terms = step(i)
        return {**terms, "loss": terms["loss"] * (float("nan") if i == 5 else 1)}

    with pytest.raises(InputError, match=r"loss is nan at step 6; the training stops, the last good checkpoint is that "
                                         r"of step 4, .*run.ckpt"):
        train(spoilt, trained, options(checkpoint=path, save_every=2, check_every=check_every))
    kept = load_checkpoint(path)
    assert kept["step"] == 4 and all(torch.isfinite(v).all() for v in kept["model"].values())
    if check_every == 1:  # the weights in memory are those before the step
        assert all(torch.isfinite(p).all() for p in trained.model.parameters())
    with pytest.raises(InputError, match="no checkpoint was written"):
        train(spoilt, training()[0], options())


def test_a_gradient_that_is_no_number_never_reaches_a_checkpoint(tmp_path):
    weight = nn.Linear(1, 1)
    trained = Trained(weight, torch.optim.SGD(weight.parameters(), 0.1))

    def step(i):
        p = weight.weight.square().sum()
        return p + (p * 0).sqrt() if i == 3 else p  # finite, but its slope is infinite times zero

    with pytest.raises(InputError, match=r"the weight 'weight' is not finite after step 4; .* that of step 2"):
        train(step, trained, options(checkpoint=tmp_path / "run.ckpt", save_every=2))
    assert load_checkpoint(tmp_path / "run.ckpt")["model"]["weight"].isfinite().all()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")])
def test_memory_that_runs_out_names_the_parameter(error):
    def step(i):
        raise error

    with pytest.raises(InputError, match="memory ran out at step 1. Lower planes"):
        train(step, training()[0], options(when_memory_runs_out="Lower planes"))


def test_the_cpus_own_words_for_no_memory():
    with pytest.raises(InputError, match="memory ran out"):
        train(lambda i: torch.empty(2**60).sum(), training()[0], options())


def test_other_errors_are_not_dressed_up():
    def step(i):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        train(step, training()[0], options())


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "run.ckpt"
    trained, step = training()
    train(step, trained, options(checkpoint=path, settings={"planes": 32, "scene": "a"}))
    kept = path.read_bytes()
    for changes, words in (({"settings": {"planes": 16, "scene": "a"}}, "planes = 32, now it is 16"),
                           ({"settings": {"planes": 32}}, "scene = 'a', now it is None"),
                           ({"steps": 5}, "11 steps behind it, more than the 5"),
                           ({"resume": False}, "a checkpoint already")):
        with pytest.raises(InputError, match=words):
            train(step, trained, options(**({"checkpoint": path, "settings": {"planes": 32, "scene": "a"}} | changes)))
    other = nn.Linear(2, 2)
    settings = {"planes": 32, "scene": "a"}
    with pytest.raises(InputError, match="a schedule of rates and the checkpoint none, or the other"):
        train(step, Trained(other, torch.optim.Adam(other.parameters())), options(checkpoint=path, settings=settings))
    with pytest.raises(InputError, match="another model or optimiser"):
        train(step, Trained(other, trained.optimiser, trained.schedule, trained.generators),
              options(checkpoint=path, settings=settings))
    assert path.read_bytes() == kept


def test_hooks_see_each_step_and_the_bar_shows_the_loss(capsys):
    trained, step = training()
    seen = []

    def validate(*row):
        seen.append(row)
        time.sleep(0.05)

    history = train(step, trained, options(steps=3, description="a bar"), validate)
    steps, terms, seconds = zip(*seen, strict=True)
    assert steps == (1, 2, 3)
    assert [each["fit"] for each in terms] == history.terms["fit"]
    assert 0 < seconds[0] < seconds[1] < seconds[2] <= history.seconds
    assert seconds[2] - seconds[0] < 0.1  # two hooks lie between, and do not count
    assert "a bar" in capsys.readouterr().err


def test_time_that_is_up_ends_it_and_more_time_goes_on(tmp_path):
    path = tmp_path / "run.ckpt"
    trained, step = training()
    short = train(step, trained, options(checkpoint=path, seconds=0.0, check_every=5))
    assert len(short.terms["loss"]) == 1 and load_checkpoint(path)["step"] == 1
    trained, step = training()
    resumed = train(step, trained, options(checkpoint=path))
    assert resumed.resumed_at == 1 and len(resumed.terms["loss"]) == 11
    trained, step = training()
    assert train(step, trained, options(seconds=3600.0)).terms == resumed.terms


def test_it_runs_without_tqdm(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    trained, step = training()
    assert len(train(step, trained, options(steps=2, description="no bar")).terms["loss"]) == 2


@pytest.mark.parametrize("changes", [{"steps": 0}, {"save_every": -1}, {"check_every": 0}])
def test_options_that_make_no_sense(changes):
    with pytest.raises(InputError, match="Use at least"):
        train(lambda i: None, training()[0], options(**changes))


@pytest.mark.parametrize("limit", [8.0, 9.0, 10.0, 11.0])
def test_whoever_asks_for_the_time_after_a_step_sees_the_end_when_the_loop_does(monkeypatch, limit):
    ticks = itertools.count()  # a second passes whenever somebody looks
    monkeypatch.setattr(loop, "time", types.SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    trained, step = training()
    seen = []
    train(step, trained, options(steps=50, seconds=limit), lambda done, terms, seconds: seen.append(seconds >= limit))
    assert len(seen) < 50 and seen == [False] * (len(seen) - 1) + [True]


def test_more_steps_may_be_asked_for_unless_the_schedule_depends_on_them(tmp_path):
    for schedule, more in ((lambda adam, steps: None, True),
                           (lambda adam, steps: milestone_schedule(adam, "3:2"), True),
                           (one_cycle_schedule, False)):
        path = tmp_path / f"{more}.ckpt"
        for steps in (4, 6):
            trained, step = training()
            trained = replace(trained, schedule=schedule(trained.optimiser, steps))
            if steps == 6 and not more:
                with pytest.raises(InputError, match=r"made for 4 steps, now 6 are asked for, and its schedule of "
                                                     r'rates depends on .* or train anew with the schedule "constant"'):
                    train(step, trained, options(steps=steps, checkpoint=path))
            else:
                assert len(train(step, trained, options(steps=steps, checkpoint=path)).terms["loss"]) == steps
        for suffix in ("", ".sha256"):
            path.with_name(path.name + suffix).unlink()


def test_settings_that_differ_are_named_alone_and_briefly(tmp_path):
    path, many = tmp_path / "run.ckpt", {f"option_{k:02}": k for k in range(40)}
    trained, step = training()
    then = {"net": {"width": 8, "kind": {"norm": "batch"}}, "trunk": "x" * 500} | many
    train(step, trained, options(checkpoint=path, settings=then))
    trained, step = training()
    with pytest.raises(InputError) as one:
        train(step, trained, options(checkpoint=path, settings=then | {"net": {"width": 9, "kind": {"norm": "batch"}}}))
    assert "made with net.width = 8, now it is 9." in str(one.value) and "norm" not in str(one.value)
    with pytest.raises(InputError) as all_:
        train(step, trained, options(checkpoint=path, settings={"trunk": "y" * 500}))
    words = str(all_.value).replace(str(path), "")
    assert "(42 more differ: net.width, option_00, option_01" in words and len(words) < 400
