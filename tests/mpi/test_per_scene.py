"""Per-scene optimisation of the decoder, on a scene that is known exactly and with few planes."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.metrics import psnr
from rsnb.mpi.decode import load_model, new_model
from rsnb.mpi.decoder_loss import DecoderLossOptions, Switches
from rsnb.mpi.per_scene import DecoderOptions, optimise_decoder, settle_statistics
from rsnb.mpi.views import view_rows
from rsnb.scenes import PosedImages
from rsnb.training.checkpoints import load_checkpoint

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not put it there
from posed_scene import block_scene

TRAIN, TEST = ("1", "2", "4", "5"), "3"
PLAIN = DecoderLossOptions(weights=(2.0, 1.0, 0.0))
SHORT = DecoderOptions(planes=2, epochs=1, bottleneck_norm="group", loss=PLAIN, milestones="")


def options(**changes):
    """SHORT with other attributes; `switches` go into the loss."""
    switches = changes.pop("switches", None)
    loss = PLAIN if switches is None else replace(PLAIN, switches=Switches(**switches))
    return replace(SHORT, **({"loss": loss} | changes))


@pytest.fixture(autouse=True)
def no_look_at_the_memory(request, monkeypatch):
    """It takes as long as a few of the small steps here."""
    if "large_scenes" not in request.node.name:
        monkeypatch.setattr("rsnb.mpi.per_scene.require_memory", lambda *_: None)


@pytest.fixture(scope="module")
def scene():
    return block_scene(size=(128, 128))


@pytest.fixture(scope="module")
def optimised(scene):
    return optimise_decoder(scene, "0", TRAIN, options(planes=4, epochs=8))


def test_it_learns_the_scene(scene, optimised):
    history = optimised.mpi.history
    assert [row["step"] for row in history] == list(range(1, 41))  # the reference and four views, eight times
    first, last = (np.mean([row["loss"] for row in part]) for part in (history[:5], history[-5:]))
    assert last < 0.6 * first
    assert np.mean([row["psnr"] for row in history[-5:]]) > np.mean([row["psnr"] for row in history[:5]]) + 3
    assert all({"loss", "l1", "ssim", "psnr", "seconds"} <= set(row) for row in history)


def test_a_view_that_was_not_seen_and_mirrored_poses(scene, optimised):
    truth = scene.images[view_rows(scene, [TEST])[0]]
    view = optimised.mpi.view(scene, TEST)
    mirrored = scene.world_to_cam.copy()
    mirrored[3] = scene.world_to_cam[1]  # from the other side of the circle
    wrong = optimised.mpi.view(replace(scene, world_to_cam=mirrored), TEST)
    assert psnr(view.rgb.clamp(0, 1), truth, view.mask) > psnr(wrong.rgb.clamp(0, 1), truth, wrong.mask) + 4


def test_what_comes_out(scene, optimised):
    result = optimised.mpi
    assert result.mpi.shape == (4, 4, 128, 128) and result.mpi.dtype == torch.float32
    assert result.frame.size == (128, 128) and result.frame.inset == (0, 0, 128, 128)
    assert result.depths.tolist() == pytest.approx([4.0, 1 / (2 / 12 + 1 / 22.5), 1 / (1 / 12 + 2 / 22.5), 7.5])
    assert result.rendering.mask_share == 0.5 and not result.rendering.published
    # the model is in eval mode, and draws the planes that were given
    picture = torch.from_numpy(scene.images[0])
    with torch.no_grad():
        assert torch.equal(optimised.model(picture, 4)[0], result.mpi)


def test_resumed_is_never_interrupted_to_the_last_digit(scene, tmp_path):
    whole = optimise_decoder(scene, "0", ("1", "2"), options(epochs=2))
    path = tmp_path / "scene.ckpt"
    optimise_decoder(scene, "0", ("1", "2"), options(epochs=2, seconds=0.0), checkpoint=path)
    assert load_checkpoint(path)["step"] == 1
    rest = optimise_decoder(scene, "0", ("1", "2"), options(epochs=2), checkpoint=path)
    assert rest.resumed_at == 1
    assert torch.equal(rest.mpi.mpi, whole.mpi.mpi)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]) or name.endswith("num_batches_tracked")
    rows = [[row[k] for k in ("step", "loss", "psnr")] for r in (rest, whole) for row in r.mpi.history]
    assert rows[:6] == rows[6:]
    done = optimise_decoder(scene, "0", ("1", "2"), options(epochs=2), checkpoint=path).mpi  # nothing is left to do
    assert torch.equal(done.mpi, whole.mpi.mpi) and done.seconds >= done.history[-1]["seconds"] > 0
    # and the checkpoint alone gives the same planes again
    with torch.no_grad():
        again = load_model(path).eval()(torch.from_numpy(scene.images[0]), 2)[0]
    assert torch.equal(again, rest.mpi.mpi)
    with pytest.raises(InputError, match="start"):  # other weights to begin with
        optimise_decoder(scene, "0", ("1", "2"), options(epochs=2, seed=1), checkpoint=path)
    with pytest.raises(InputError, match="switch_mask"):
        optimise_decoder(scene, "0", ("1", "2"), options(epochs=2, switches={"mask": "published"}), checkpoint=path)


@pytest.mark.parametrize("change", [
    {"switches": {"plane_code": "published"}}, {"switches": {"pyramid": "published"}},
    {"switches": {"reference": "published"}}, {"switches": {"mask": "published"}},
    {"near_far": (4.2, 7.5)}, {"views_per_decode": 2}, {"learning_rate": 2e-3}, {"milestones": "1:2", "epochs": 2},
    {"seed": 5}, {"loss": replace(PLAIN, weights=(2.0, 0.0, 0.0))}, {"loss": replace(PLAIN, mask_share=1.0)},
], ids=lambda change: "-".join(f"{k}" for k in change.get("switches", change)))
def test_every_option_changes_the_result(scene, plain, change):
    changed = optimise_decoder(scene, "0", ("1",), options(**change)).mpi
    base = plain[change.get("epochs", 1)]
    assert changed.mpi.shape != base.shape or not torch.equal(changed.mpi, base)


@pytest.fixture(scope="module")
def plain(scene):
    return {epochs: optimise_decoder(scene, "0", ("1",), options(epochs=epochs)).mpi.mpi for epochs in (1, 2)}


def test_one_decode_for_two_views_has_their_mean_loss(scene):
    published = {"reference": "published"}
    one, two, both = (optimise_decoder(scene, "0", names, options(switches=published, views_per_decode=2)).mpi.history
                      for names in (("1",), ("2",), ("1", "2")))
    assert len(both) == 1
    assert both[0]["loss"] == pytest.approx((one[0]["loss"] + two[0]["loss"]) / 2, rel=1e-5)


def test_statistics(scene):
    """A fresh encoder keeps the picture's, so that the switch says nothing; a trained one has others."""
    model = new_model("resnet18", "group", statistics="mended", seed=1)
    with torch.no_grad():
        model.encoder.bn1.running_mean.fill_(0.1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mended = optimise_decoder(scene, "0", ("1",), SHORT, model=model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())  # a copy was trained
    after = mended.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("encoder."))
    assert not torch.equal(after["decoder.head0.weight"], before["decoder.head0.weight"])
    other = new_model("resnet18", "group", statistics="published", seed=1)
    other.load_state_dict(before)
    published = optimise_decoder(scene, "0", ("1",), options(switches={"statistics": "published"}), model=other)
    assert (published.mpi.mpi - mended.mpi.mpi).abs().max() > 1e-3
    with pytest.raises(InputError, match="statistics is 'published' in the model"):
        optimise_decoder(scene, "0", ("1",), SHORT, model=other)


def test_settled_statistics_are_those_of_the_batch():
    decoder = new_model("resnet18", "batch", seed=2).decoder
    noise = torch.Generator().manual_seed(0)
    features = [torch.randn(1, width, 128 >> i, 256 >> i, generator=noise)
                for i, width in enumerate(decoder.widths, start=1)]
    codes = decoder.codes(3)
    with torch.no_grad():
        trained = decoder.train()(features, codes)[0]
        assert (decoder.eval()(features, codes)[0] - trained).abs().max() > 1e-2
        settle_statistics(decoder, features, codes)
        assert not decoder.training
        # two values a channel in the bottleneck: the unbiased variance would be twice the biased one
        assert (decoder(features, codes)[0] - trained).abs().max() < 1e-4
    assert decoder.bottleneck.down1["norm"].momentum == 0.1


def test_pictures_that_the_network_cannot_halve(scene):
    cut = replace(scene, images=np.ascontiguousarray(scene.images[..., :100, :120]), z_depth=None)
    result = optimise_decoder(cut, "0", ("1",), SHORT).mpi
    assert result.mpi.shape[-2:] == (128, 128) and result.frame.inset == (0, 0, 100, 120)
    assert result.view(cut, "1").rgb.shape == (3, 100, 120)
    with pytest.raises(InputError, match="bottleneck_norm='group'"):
        optimise_decoder(scene, "0", ("1",), replace(SHORT, bottleneck_norm="batch"))


def test_large_scenes_want_a_gpu_before_anything_starts(monkeypatch):
    size, count = 512, 2
    pose = np.stack([np.eye(4)] * count)
    pose[1, 0, 3] = 0.1
    K = np.tile([[500.0, 0, 256], [0, 500, 256], [0, 0, 1]], (count, 1, 1))
    scene = PosedImages(np.zeros((count, 3, size, size), np.float32), pose, "pinhole", ("a", "b"), K,
                        near_far=np.tile([4.0, 8.0], (count, 1)))
    monkeypatch.setattr("rsnb.mpi.decoder_cost.free_bytes", lambda device: 6 * 2**30)
    with pytest.raises(InputError, match="wants a GPU"):
        optimise_decoder(scene, "a", ("b",), DecoderOptions(loss=PLAIN))


def test_a_loss_that_is_no_number_says_when(scene):
    with pytest.raises(InputError, match="at step [2-9].*no checkpoint was written"):
        optimise_decoder(scene, "0", ("1",), options(epochs=4, learning_rate=1e30))


def test_what_is_called_on_the_way(scene, tmp_path, monkeypatch):
    seen, written = [], []

    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def add_scalar(self, name, value, step):
            written.append((self.folder, name, step))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    plain = optimise_decoder(scene, "0", ("1",), SHORT)
    shown = optimise_decoder(scene, "0", ("1",), replace(SHORT, logdir=tmp_path),
                             on_step=lambda *now: seen.append((now[:2], now[2]().mpi.shape)))
    assert seen == [((1, 2), (2, 4, 128, 128)), ((2, 2), (2, 4, 128, 128))]
    assert (str(tmp_path), "loss", 2) in written and (str(tmp_path), "psnr", 1) in written
    assert torch.equal(plain.mpi.mpi, shown.mpi.mpi)  # looking changes nothing
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        optimise_decoder(scene, "0", ("1",), replace(SHORT, logdir=tmp_path))


def test_the_published_preset():
    published = DecoderOptions.published(planes=8)
    assert published.loss.switches == Switches.all_published() and published.planes == 8
    assert (published.epochs, published.learning_rate, published.loss.weights) == (500, 1e-3, (2.0, 1.0, 1.0))
    assert published.loss.rendering.published


@pytest.mark.parametrize(("change", "words"), [
    ({"planes": 1}, "planes"), ({"epochs": 0}, "epochs"), ({"views_per_decode": 0}, "views_per_decode"),
    ({"learning_rate": 0.0}, "learning_rate"), ({"check_every": 0}, "check_every"),
])
def test_options_are_checked(change, words):
    with pytest.raises(InputError, match=words):
        replace(SHORT, **change)
