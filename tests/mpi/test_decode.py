"""Planes without optimisation: the published checkpoint run as published, ours read again, bad input refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.data.weights.immpi import convert_immpi
from rsnb.data.weights.trunks import resnet_table
from rsnb.errors import InputError
from rsnb.mpi import decode
from rsnb.mpi.decode import decode_scene, load_model, model_from_state, model_settings, network_frame, new_model
from rsnb.mpi.decoder_loss import Switches
from rsnb.training.checkpoints import save_checkpoint

sys.path.insert(0, str(Path(__file__).parent))
from posed_scene import block_scene
from published_network import (
    published_codes,
    published_encoder_state,
    published_features,
    published_network,
    published_state,
)


@pytest.fixture(scope="module")
def views():
    return block_scene((100, 140), 3)


@pytest.fixture(scope="module")
def mended():
    """A small network whose running statistics are not those of a fresh one."""
    model = new_model(bottleneck_norm="group", seed=3)
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith("running_mean"):
                value.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(len(key)))
    return model


def published_checkpoint(dtype=torch.float64):
    return {"epoch": 499, "optimizer": {}, "feature_generator": {k: v.to(dtype) for k, v in
                                                                 published_encoder_state().items()},
            "mpi_generator": {k: v.to(dtype) for k, v in published_state().items()}}


def test_a_published_checkpoint_is_run_as_its_authors_run_it():
    """Key by key converted, decoded in the scrambled code: the network written out under the published keys."""
    views, planes = block_scene((128, 256), 2), 5
    model = model_from_state(convert_immpi(published_checkpoint())).double()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = decode_scene(model, views, "0", (4.0, 8.0), planes)
    image = torch.as_tensor(views.images[0]).double()
    with torch.no_grad():
        expected = published_network(published_state(), published_features(published_encoder_state(), image),
                                     published_codes(planes), training=True)[0]
    assert (result.mpi - expected).abs().max() < 1e-6 and result.mpi.dtype == torch.float32
    assert expected[:, :3].std(dim=0).mean() > 1e-3  # planes differ, so another order of codes would show
    assert result.depths.tolist() == pytest.approx([1 / (1 / 4 - i / 4 * (1 / 4 - 1 / 8)) for i in range(planes)])
    assert result.rendering.published and result.history == []
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_the_mended_code_would_be_another_picture():
    """The test above can fail: the same weights under the mended codes give other planes."""
    views = block_scene((128, 256), 2)
    state = convert_immpi(published_checkpoint(torch.float32))
    a, b = (decode_scene(model_from_state(state, plane_code=code), views, "0", (4.0, 8.0), 5)
            for code in ("published", "mended"))
    assert (a.mpi - b.mpi).abs().max() > 0.01 and a.rendering.published and not b.rendering.published


def test_sides_that_do_not_fit_are_padded_and_told(views, mended):
    result = decode_scene(mended, views, "0", planes=3)
    assert result.mpi.shape == (3, 4, 128, 256) and result.frame.inset == (0, 0, 100, 140)
    assert np.array_equal(result.frame.K, views.K[0])  # grown to the right and below, so no pixel moves
    assert result.view(views, "1").rgb.shape == (3, 100, 140)
    frame = network_frame(views, "0", (4.0, 7.5))
    padded = decode.network_picture(views.images[0], frame)
    assert np.array_equal(padded[:, :100, :140].numpy(), views.images[0])
    assert torch.equal(padded[:, 110, :140], padded[:, 99, :140])
    assert torch.equal(padded[:, :, 200], padded[:, :, 139])


def test_the_plane_count_is_free_with_mended_code_and_kept_statistics(views, mended):
    """Of seven planes every second one is one of four, in a model that stays in training mode."""
    mended.train()
    four, seven = (decode_scene(mended, views, "0", planes=n) for n in (4, 7))
    assert mended.training and mended.encoder.bn1.training
    assert torch.allclose(seven.mpi[::2], four.mpi, atol=1e-5)
    assert (four.mpi[0] - four.mpi[1]).abs().max() > 1e-3
    assert torch.allclose(seven.depths[::2], four.depths)
    own = model_from_state(mended.state_dict(), bottleneck_norm="group", plane_code="mended")  # statistics of the batch
    four, seven = (decode_scene(own, views, "0", planes=n) for n in (4, 7))
    assert not torch.allclose(seven.mpi[::2], four.mpi, atol=1e-3)


@pytest.mark.parametrize("trunk", ["resnet18", "resnet50"])
def test_a_model_from_a_state_is_of_the_trunk_that_wrote_it(trunk):
    model = new_model(trunk, "group", seed=1)
    state = model.state_dict()
    again = model_from_state(state, bottleneck_norm="group", plane_code="mended", statistics="mended")
    assert model_settings(again) == model_settings(model) == {
        "trunk": trunk, "bottleneck_norm": "group", "plane_code": "mended", "statistics": "mended"}
    assert all(torch.equal(again.state_dict()[key], value) for key, value in state.items())


def test_resnet50_decodes(views):
    result = decode_scene(new_model("resnet50", "group").train(), views, "0", planes=2)
    assert result.mpi.shape == (2, 4, 128, 256) and bool(result.mpi.isfinite().all())


def test_weights_come_from_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(1)
    a = new_model(seed=5)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)
    assert torch.equal(new_model(seed=5).decoder.head0.weight, a.decoder.head0.weight)
    assert not torch.equal(new_model(seed=6).decoder.head0.weight, a.decoder.head0.weight)


def test_a_checkpoint_of_a_training_gives_its_network_back(tmp_path, views, mended):
    path = save_checkpoint(tmp_path / "csi.ckpt", {"format": "rsnb training 1", "model": mended.state_dict(),
                                                  "settings": {**model_settings(mended), "planes": 4}})
    again = decode_scene(load_model(path), views, "0", planes=4)
    assert torch.equal(again.mpi, decode_scene(mended, views, "0", planes=4).mpi)


@pytest.mark.parametrize("state", [
    {"model": {}, "settings": {"trunk": "resnet18"}}, {"format": "rsnb mpi 1", "mpi": torch.zeros(1)}, {"model": {}},
], ids=["settings of another", "a finished image", "no settings"])
def test_what_is_no_network_is_refused(tmp_path, state):
    path = save_checkpoint(tmp_path / "other.ckpt", state)
    with pytest.raises(InputError, match="holds no network of ImMPI"):
        load_model(path)


def test_a_network_of_other_settings_is_refused(tmp_path, mended):
    settings = {**model_settings(mended), "trunk": "resnet50"}
    path = save_checkpoint(tmp_path / "csi.ckpt", {"model": mended.state_dict(), "settings": settings})
    with pytest.raises(InputError, match="keys are missing"):
        load_model(path)


def test_bad_input(views, mended, monkeypatch):
    with pytest.raises(InputError, match="there is no view '9'"):
        decode_scene(mended, views, "9", planes=2)
    with pytest.raises(InputError, match="reversed"):
        decode_scene(mended, views, "0", (8.0, 4.0), 2)
    with pytest.raises(InputError, match="no depth range"):
        decode_scene(mended, replace(views, near_far=None), "0", planes=2)
    with pytest.raises(InputError, match="plane_code is 'mended' in the model and 'published'"):
        decode_scene(mended, views, "0", planes=2, switches=Switches(plane_code="published"))
    monkeypatch.setattr(decode, "free_bytes", lambda device: 10**6)
    with pytest.raises(InputError, match=r"takes 0\.0 GB.*Lower the number of planes"):
        decode_scene(mended, views, "0", planes=2)


def test_a_published_trunk_of_50_layers_is_recognised():
    state = {f"encoder.{row.key}": torch.zeros(row.shape) for row in resnet_table("resnet50").values()}
    with pytest.raises(InputError, match="first 'decoder.bottleneck"):
        model_from_state(state)  # not "unknown key encoder.layer1.0.conv3": the encoder fits
