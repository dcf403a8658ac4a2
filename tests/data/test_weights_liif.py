"""LIIF's published keys become ours, with EDSR-baseline and with RDN; the decoder's first layer is a convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rsnb.data.weights.liif import convert_liif
from rsnb.data.weights.renaming import count
from rsnb.errors import InputError


def published_decoder() -> dict[str, torch.Tensor]:
    """580-256-256-256-256-3, a rectifier between the layers: so the layers are 0, 2, 4, 6, 8."""
    torch.manual_seed(0)
    middle = [layer for _ in range(3) for layer in (nn.Linear(256, 256), nn.ReLU())]
    layers = nn.Sequential(nn.Linear(580, 256), nn.ReLU(), *middle, nn.Linear(256, 3))
    return {f"imnet.layers.{key}": value for key, value in layers.state_dict().items()}


def published_edsr() -> dict[str, torch.Tensor]:
    state = {}
    names = ["head.0", *(f"body.{i}.body.{j}" for i in range(16) for j in (0, 2)), "body.16"]
    for name in names:
        for key, value in nn.Conv2d(3 if name == "head.0" else 64, 64, 3).state_dict().items():
            state[f"encoder.{name}.{key}"] = value
    for name in ("sub_mean", "add_mean"):
        state |= {f"encoder.{name}.weight": torch.eye(3)[..., None, None], f"encoder.{name}.bias": torch.zeros(3)}
    return state


def published_rdn() -> dict[str, torch.Tensor]:
    layers = {"SFENet1": (3, 3), "SFENet2": (64, 3), "GFF.0": (16 * 64, 1), "GFF.1": (64, 3)}
    for i in range(16):
        layers |= {f"RDBs.{i}.convs.{c}.conv.0": (64 + 64 * c, 3) for c in range(8)} | {f"RDBs.{i}.LFF": (576, 1)}
    return {f"encoder.{name}.{key}": value for name, (inward, side) in layers.items()
            for key, value in nn.Conv2d(inward, 64, side).state_dict().items()}


def split_count(ours) -> tuple[int, int]:
    return tuple(count({k: v for k, v in ours.items() if k.startswith(part)}) for part in ("encoder.", "decoder."))


def test_edsr_baseline():
    state = published_edsr() | published_decoder()
    ours = convert_liif(state)
    assert split_count(ours) == (1_220_416, 346_883)  # the published counts
    assert ours["encoder.blocks.15.conv2.weight"] is state["encoder.body.15.body.2.weight"]
    assert ours["encoder.last.bias"] is state["encoder.body.16.bias"]
    assert ours["decoder.4.bias"].shape == (3,)


def test_the_files_own_dict_and_numpy_arrays():
    state = {f"module.{k}": v.numpy() for k, v in (published_edsr() | published_decoder()).items()}
    ours = convert_liif({"model": {"name": "liif", "args": {}, "sd": state}, "optimizer": {}, "epoch": 1000})
    assert split_count(ours) == (1_220_416, 346_883) and isinstance(ours["decoder.0.weight"], np.ndarray)


def test_rdn():
    ours = convert_liif(published_rdn() | published_decoder())
    # 1,792 + 36,928; 16 blocks of 8 layers 64 (c + 1) -> 64 (1,327,616) and 576 -> 64 (36,928); 65,600 + 36,928
    assert split_count(ours) == (1_792 + 36_928 + 16 * (1_327_616 + 36_928) + 65_600 + 36_928, 346_883)
    assert ours["encoder.dense.15.conv7.weight"].shape == (64, 512, 3, 3)


def test_the_first_layer_is_a_convolution_of_the_features():
    """The published decoder unfolds 3 x 3 features; as the docstring says, 576 columns are a 3 x 3 convolution."""
    weight = convert_liif(published_edsr() | published_decoder())["decoder.0.weight"]
    feat = torch.randn(1, 64, 5, 7)
    unfolded = nn.functional.unfold(feat, 3, padding=1).view(576, 35)
    convolved = nn.functional.conv2d(feat, weight[:, :576].reshape(256, 64, 3, 3), padding=1).view(256, 35)
    torch.testing.assert_close(weight[:, :576] @ unfolded, convolved, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("state", "words"), [
    (published_edsr(), "10 of 78 keys are missing, first 'imnet.layers.0.weight'"),
    (published_rdn() | published_decoder() | {"encoder.tail.0.weight": torch.zeros(1)}, "LIIF with RDN: unknown key"),
    ({"a": torch.zeros(1)}, "unknown key 'a'"),
    (7, "expected a mapping"),
])
def test_another_network_is_refused(state, words):
    with pytest.raises(InputError) as caught:
        convert_liif(state)
    assert words in str(caught.value)


def test_the_three_dimensional_copy_of_temporal_liif_is_refused():
    state = published_edsr() | published_decoder()
    state["encoder.head.0.weight"] = state["encoder.head.0.weight"][:, :, None].repeat(1, 1, 3, 1, 1)
    with pytest.raises(InputError, match=r"shape \(64, 3, 3, 3, 3\), expected \(64, 3, 3, 3\)"):
        convert_liif(state)
