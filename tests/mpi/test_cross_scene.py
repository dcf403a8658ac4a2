"""Training across scenes: what a step sees, that a resumed one is no other, and that validation changes nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.data.multiview.whu_mvs import whu_samples
from rsnb.errors import InputError
from rsnb.mpi import cross_scene
from rsnb.mpi.cross_scene import CrossSceneOptions, train_cross_scene
from rsnb.mpi.decode import decode_scene, load_model, new_model
from rsnb.mpi.decoder_loss import Switches
from rsnb.mpi.render import render_mpi
from rsnb.mpi.scene_samples import LoadedScenes, SceneSample
from rsnb.training.checkpoints import load_checkpoint

sys.path.insert(0, str(Path(__file__).parent))
from posed_scene import block_scene

NAMES = ("1", "2", "3")


class Scene:
    """A scene that counts how often it is read, and writes down whose views were asked for."""

    def __init__(self, shift: float):
        views = block_scene((128, 128), 4)
        self.views = replace(views, images=(views.images + shift).clip(0, 1).astype(np.float32))
        self.reads = 0

    def load(self):
        self.reads += 1
        return self.views


@pytest.fixture(scope="module")
def scenes():
    return [Scene(0.0), Scene(-0.2)]


@pytest.fixture
def samples(scenes):
    return [SceneSample(f"scene {i}", "0", NAMES, scene.load) for i, scene in enumerate(scenes)]


def options(**changes):
    return CrossSceneOptions(**({"epochs": 2, "planes": 2, "bottleneck_norm": "group", "save_every": 1,
                                 "learning_rate": 1e-3, "switches": Switches(reference="published")} | changes))


def weights(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


def test_resumed_is_never_interrupted_to_the_last_digit(tmp_path, samples):
    """Killed within the second epoch, after the checkpoint of the first: weights, terms and validations agree."""
    how = options(validate_every=1, schedule="1:2")
    whole = train_cross_scene(samples, how, validation=samples[:1])
    path, calls = tmp_path / "csi.ckpt", []

    def killed(self, number, step=cross_scene._Run.step):
        calls.append(number)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(self, number)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cross_scene._Run, "step", killed)
        train_cross_scene(samples, how, validation=samples[:1], checkpoint=path)
    assert load_checkpoint(path)["step"] == 2
    torch.manual_seed(99)  # nothing global counts
    again = train_cross_scene(samples, how, validation=samples[:1], checkpoint=path)
    assert again.history.resumed_at == 2 and again.history.terms == whole.history.terms
    assert same(weights(again.model), weights(whole.model))
    told = [{k: v for k, v in row.items() if k != "seconds"} for row in again.validation]
    assert told == [{k: v for k, v in row.items() if k != "seconds"} for row in whole.validation]
    assert [row["epoch"] for row in told] == [1, 2] and [row["step"] for row in told] == [2, 4]
    # and render-only from the file
    a, b = (decode_scene(model, samples[0].load(), "0", planes=2).mpi for model in (load_model(path), again.model))
    assert torch.equal(a, b)
    with pytest.raises(InputError, match="planes = 2, now it is 3"):
        train_cross_scene(samples, options(planes=3, schedule="1:2"), checkpoint=path)
    with pytest.raises(InputError, match="made with samples = '2, "):
        train_cross_scene(samples[:1], how, checkpoint=path)


@pytest.fixture(scope="module")
def fresh():
    return new_model(bottleneck_norm="group")


def drawn(model, samples, **changes):
    """(scene, its neighbours) of every step, without the cost of any."""
    how = options(**changes)
    run = cross_scene._Run(model, samples, (), how, "cpu", None)
    turns = [run.turn(number) for number in range(how.epochs * len(samples))]
    return [(sample.name, *names) for sample, names in turns]


def test_neighbours_are_drawn_by_the_seed_and_each_epoch_shows_every_sample(samples, fresh):
    seen = drawn(fresh, samples, epochs=60)
    assert seen == drawn(fresh, samples, epochs=60) != drawn(fresh, samples, epochs=60, seed=29)
    for epoch in range(60):
        assert {row[0] for row in seen[2 * epoch : 2 * epoch + 2]} == {"scene 0", "scene 1"}
    assert len({tuple(row[0] for row in seen[2 * e : 2 * e + 2]) for e in range(60)}) == 2  # both orders come
    shares = [sum(row[1] == name for row in seen) / len(seen) for name in NAMES]
    assert max(abs(share - 1 / 3) for share in shares) < 0.15  # 3.4 standard deviations of 120 draws
    assert all(len(row) == 2 for row in seen)


def test_several_targets_of_one_decode_differ_and_the_mended_reference_is_one(samples, fresh):
    seen = drawn(fresh, samples, epochs=30, targets_per_decode=2, switches=Switches())
    assert all(len(row) == 3 and row[1] != row[2] for row in seen)
    assert {name for row in seen for name in row[1:]} == {"0", *NAMES}
    assert all(set(row[1:]) == set(NAMES) for row in drawn(fresh, samples, targets_per_decode=9))  # there are no more


def test_validation_has_no_gradient_and_changes_no_statistics(samples):
    run = cross_scene._Run(new_model(bottleneck_norm="group"), samples, samples, options(), "cpu", None)
    run.step(0)  # so that running statistics are not a fresh network's
    before = weights(run.model)
    row = run.validate()
    assert same(before, weights(run.model)) and all(p.grad is None for p in run.model.parameters())
    assert run.model.training and row["views"] == 6
    # the same by hand: eval mode, every neighbour at full size
    errors = []
    run.model.eval()
    for sample in samples:
        views = sample.load()
        result = decode_scene(run.model, views, "0", planes=2)
        for name in NAMES:
            seen = result.view(views, name)
            square = ((seen.rgb - torch.as_tensor(views.images[int(name)])) ** 2)[:, seen.mask].mean()
            errors.append(-10 * float(torch.log10(square)))
    assert row["psnr"] == pytest.approx(np.mean(errors), abs=1e-4)


def test_the_rate_falls_at_epochs_and_not_at_steps(samples):
    run = cross_scene._Run(new_model(bottleneck_norm="group"), samples, (), options(schedule="1,3:4"), "cpu", None)
    rates = []
    for _ in range(8):
        rates.append(run.trained.optimiser.param_groups[0]["lr"])
        run.trained.optimiser.step()
        run.trained.schedule.step()
    assert rates == pytest.approx([1e-3] * 2 + [2.5e-4] * 4 + [6.25e-5] * 2)


def test_it_learns_and_reports_epochs(samples):
    told = []
    result = train_cross_scene(samples[:1], options(epochs=12, targets_per_decode=3),
                               after_epoch=lambda epoch, model, means: told.append((epoch, means["loss"])))
    rows = result.epochs()
    assert [row["epoch"] for row in rows] == list(range(1, 13)) == [epoch for epoch, _ in told]
    assert [row["loss"] for row in rows] == pytest.approx([loss for _, loss in told])
    assert rows[-1]["psnr"] > rows[0]["psnr"] + 1 and not result.model.training


def test_an_encoder_that_is_not_trained_stays(samples):
    model = new_model(bottleneck_norm="group")
    before = weights(model)
    after = weights(train_cross_scene(samples[:1], options(epochs=1, train_encoder=False), model=model).model)
    moved = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert moved == {"decoder"}


def test_scenes_are_read_when_needed_and_few_are_kept(scenes, samples):
    keep = LoadedScenes(1)
    before = [scene.reads for scene in scenes]
    for i in (0, 0, 1, 1, 0):
        keep.views(samples[i])
    assert [scene.reads - b for scene, b in zip(scenes, before, strict=True)] == [2, 1]


def test_resnet50_trains(samples):
    result = train_cross_scene(samples[:1], options(epochs=1, trunk="resnet50"))
    assert result.model.decoder.widths == (64, 256, 512, 1024, 2048) and np.isfinite(result.history.terms["loss"][0])


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path, samples, monkeypatch):
    path = tmp_path / "csi.ckpt"
    train_cross_scene(samples, options(epochs=1), checkpoint=path)
    good = path.read_bytes()
    monkeypatch.setattr(cross_scene._Run, "step", lambda self, number: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(InputError, match=r"loss is nan at step 3; .* last good checkpoint is that of step 2"):
        train_cross_scene(samples, options(epochs=2), checkpoint=path)
    assert path.read_bytes() == good


def test_memory_is_asked_for_before_the_first_step(samples, monkeypatch):
    monkeypatch.setattr("rsnb.mpi.decoder_cost.free_bytes", lambda device: 10**6)
    monkeypatch.setattr(cross_scene._Run, "step", lambda *_: pytest.fail("a step was taken"))
    with pytest.raises(InputError, match="only 0.0 GB are free"):
        train_cross_scene(samples, options())


def bad_views(scene, **changes):
    return lambda: replace(scene.views, **changes)


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda s, v: [], "there is no sample to learn from"),
    (lambda s, v: [replace(s, neighbours=("1", "7"))], "scene scene 0, split: there is no view '7'"),
    (lambda s, v: [replace(s, neighbours=("0", "1"))], "'0' is among its own neighbours"),
    (lambda s, v: [replace(s, neighbours=())], "no train view beside the reference"),
    (lambda s, v: [replace(s, load=bad_views(v, near_far=v.views.near_far[:, ::-1]))], "scene 0.*reversed"),
    (lambda s, v: [replace(s, load=bad_views(v, near_far=None))], "scene 0.*no depth range"),
    (lambda s, v: [replace(s, load=bad_views(v, images=v.views.images * np.float32("nan")))], "are not finite"),
], ids=["no samples", "unknown view", "own neighbour", "no neighbour", "range", "no range", "picture"])
def test_bad_samples(scenes, samples, spoil, words):
    with pytest.raises(InputError, match=words):
        train_cross_scene(spoil(samples[0], scenes[0]), options())


def test_a_model_of_other_settings_and_bad_options(samples):
    with pytest.raises(InputError, match="the model has trunk = 'resnet18', the options ask for 'resnet50'"):
        train_cross_scene(samples, options(trunk="resnet50"), model=new_model(bottleneck_norm="group"))
    with pytest.raises(InputError, match="plane_code = 'mended', the options ask for 'published'"):
        train_cross_scene(samples, options(switches=Switches(plane_code="published")),
                          model=new_model(bottleneck_norm="group"))
    with pytest.raises(InputError, match="bottleneck_norm='group'"):
        train_cross_scene(samples, options(bottleneck_norm="batch"))
    for changes in ({"epochs": 0}, {"planes": 1}, {"learning_rate": 0.0}, {"trunk": "vgg"}, {"targets_per_decode": 0},
                    {"mask_share": 0.0}, {"backend": "cuda"}):
        with pytest.raises(InputError, match=next(iter(changes))):
            options(**changes)
    with pytest.raises(InputError, match="does not lower the rate"):
        train_cross_scene(samples, options(schedule="3,2:2"))
    with pytest.raises(InputError, match="4 or 19"):
        whu_samples(tuple(f"{i:03d}" for i in range(20)), 8)


def test_published_rendering_is_what_the_loss_sees_when_asked(samples):
    """The loss of a step by hand: one target, published mask, four scales would add; here only scale 0."""
    how = options(switches=Switches.all_published(), loss_weights=(2.0, 0.0, 0.0))
    model = new_model("resnet18", **{k: v for k, v in how.model.items() if k != "trunk"})
    run = cross_scene._Run(model, samples[:1], (), how, "cpu", None)
    ready = run.prepare(samples[0], ("1",))
    with torch.no_grad():
        mpi = model(ready.image, 2)[:1]
        found = float(run.loss(mpi, run.target(ready, "1"))["loss"])
        seen = render_mpi(mpi[0], ready.depths, ready.views.camera(1, ready.frame), how.switches.rendering())
    target = torch.as_tensor(samples[0].load().images[1])
    by_hand = 2 * float(((seen.rgb - target).abs() * seen.mask).sum() / seen.mask.sum())
    assert found == pytest.approx(by_hand, rel=1e-5)
