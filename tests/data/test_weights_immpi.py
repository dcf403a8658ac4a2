"""ImMPI's decoder keys, typed from the fact sheet's table of layers, become ours; a wrong checkpoint is refused."""

from __future__ import annotations

import numpy as np
import pytest

from rsnb.data.weights.immpi import convert_decoder, convert_encoder, convert_immpi, trunk_of
from rsnb.data.weights.renaming import count
from rsnb.errors import InputError

# Level: in and out of the convolution before and after the doubling; 21 of the inputs are the plane code.
LEVELS = {4: ((533, 256), (533, 256)), 3: ((256, 128), (277, 128)), 2: ((128, 64), (149, 64)),
          1: ((64, 32), (117, 32)), 0: ((32, 16), (16, 16))}


# The same with ResNet-50, whose maps have 64, 256, 512, 1024 and 2048 channels.
DEEP_LEVELS = {4: ((2069, 256), (1301, 256)), 3: ((256, 128), (661, 128)), 2: ((128, 64), (341, 64)),
               1: ((64, 32), (117, 32)), 0: ((32, 16), (16, 16))}


def published_decoder(levels=LEVELS, deepest=512) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    state = {}

    def conv(key, outward, inward, side, bias):
        state[f"{key}.weight"] = rng.normal(size=(outward, inward, side, side)).astype(np.float32)
        if bias:
            state[f"{key}.bias"] = rng.normal(size=outward).astype(np.float32)

    def norm(key, channels):
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{key}.{part}"] = rng.normal(size=channels).astype(np.float32)
        state[f"{key}.num_batches_tracked"] = np.array(62000)

    for name, shape in {"down1": (512, deepest, 1), "down2": (256, 512, 3), "up1": (256, 256, 3),
                        "up2": (deepest, 256, 1)}.items():
        conv(f"conv_{name}.0", *shape, bias=False)
        norm(f"conv_{name}.1", shape[0])
    for i, pair in levels.items():
        for n, (inward, outward) in enumerate(pair):
            name = f"convs.(-'-u-p-c-o-n-v-'-,- -{i}-,- -{n}-)"
            conv(f"{name}.conv.conv", outward, inward, 3, bias=True)
            norm(f"{name}.bn", outward)
    for s, width in enumerate((16, 32, 64, 128)):
        conv(f"convs.(-'-d-i-s-p-c-o-n-v-'-,- -{s}-).conv", 4, width, 3, bias=True)
    return state


def published_encoder() -> dict[str, np.ndarray]:
    """ResNet-18 as torchvision builds it: (name, out, in, side), each convolution with a normalisation behind it."""
    layers = [("conv1", 64, 3, 7)]
    for stage, (inward, outward) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], start=1):
        for block, first in ((0, inward), (1, outward)):
            layers += [(f"layer{stage}.{block}.conv1", outward, first, 3),
                       (f"layer{stage}.{block}.conv2", outward, outward, 3)]
        if stage > 1:
            layers.append((f"layer{stage}.0.downsample.0", outward, inward, 1))
    state = {"fc.weight": np.zeros((1000, 512)), "fc.bias": np.zeros(1000)}
    for name, outward, inward, side in layers:
        state[f"{name}.weight"] = np.full((outward, inward, side, side), 0.5, np.float32)
        norm = name.replace("conv", "bn").replace("downsample.0", "downsample.1")
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{part}"] = np.ones(outward, np.float32)
        state[f"{norm}.num_batches_tracked"] = np.array(1)
    return {f"encoder.{key}": value for key, value in state.items()}


def test_the_decoder_is_complete_and_unchanged():
    state = published_decoder()
    ours = convert_decoder(state)
    assert count(ours) == 5_466_064  # the published count
    assert not [key for key in ours if "num_batches" in key or "(" in key]
    for old, new in {
        "conv_up2.1.running_var": "bottleneck.up2.norm.running_var",
        "convs.(-'-u-p-c-o-n-v-'-,- -4-,- -0-).conv.conv.weight": "level4.before.conv.weight",
        "convs.(-'-u-p-c-o-n-v-'-,- -1-,- -1-).bn.bias": "level1.after.norm.bias",
        "convs.(-'-d-i-s-p-c-o-n-v-'-,- -3-).conv.weight": "head3.weight",
    }.items():
        assert ours[new] is state[old]


def test_the_whole_checkpoint():
    checkpoint = {"epoch": 499, "optimizer": {"state": {}}, "feature_generator": published_encoder(),
                  "mpi_generator": {f"module.{key}": value for key, value in published_decoder().items()}}
    ours = convert_immpi(checkpoint)
    parts = {part: {k: v for k, v in ours.items() if k.startswith(part)} for part in ("encoder.", "decoder.")}
    assert count(parts["encoder."]) == 11_176_512  # 11,689,512 of torchvision less the classifier's 513,000
    assert count(parts["decoder."]) == 5_466_064
    assert "encoder.layer2.0.downsample.1.running_mean" in ours and "encoder.fc.weight" not in ours


def test_a_checkpoint_of_resnet50():
    decoder = published_decoder(DEEP_LEVELS, 2048)
    ours = convert_decoder(decoder)
    # the thin decoder, and 9 taps for each channel that the maps have more of, and two wider 1 x 1
    more = 9 * 256 * (1536 + 768) + 9 * (128 * 384 + 64 * 192) + 1536 * (512 + 256) + 2 * 1536
    assert count(ours) == 5_466_064 + more == 12_510_160
    assert ours["level4.before.conv.weight"].shape == (256, 2069, 3, 3)
    deep = {"encoder.layer1.0.conv3.weight": np.zeros((256, 64, 1, 1), np.float32)}
    assert (trunk_of(decoder), trunk_of(ours), trunk_of(deep)) == ("resnet50",) * 3
    assert trunk_of(published_decoder()) == trunk_of(published_encoder()) == "resnet18"
    with pytest.raises(InputError, match="of different trunks"):
        convert_immpi({"feature_generator": published_encoder(), "mpi_generator": decoder})
    with pytest.raises(InputError, match="264 of 265 keys are missing"):
        convert_immpi({"feature_generator": deep, "mpi_generator": decoder})


def test_torch_tensors_stay_torch_tensors():
    torch = pytest.importorskip("torch")
    state = {key: torch.from_numpy(value) for key, value in published_encoder().items()}
    ours = convert_encoder(state)
    assert ours["conv1.weight"] is state["encoder.conv1.weight"]


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda s: s.update({"extra.weight": np.zeros(3)}), "unknown key 'extra.weight'"),
    (lambda s: s.pop("conv_up1.0.weight"), "1 of 88 keys are missing, first 'conv_up1.0.weight'"),
    (lambda s: s.update({"conv_up1.0.weight": np.zeros((256, 256, 1, 1))}), "has shape (256, 256, 1, 1), expected"),
    (lambda s: s.update({"conv_up1.1.bias": np.full(256, np.nan)}), "'conv_up1.1.bias' holds numbers that are not"),
    (lambda s: s.update({"conv_up1.1.bias": "text"}), "'conv_up1.1.bias' has str"),
    (lambda s: s.update({"module.conv_up1.1.bias": np.zeros(256)}), "stands there twice"),
])
def test_a_wrong_state_is_refused_by_key(spoil, words):
    state = published_decoder()
    spoil(state)
    with pytest.raises(InputError) as caught:
        convert_decoder(state)
    assert words in str(caught.value)


@pytest.mark.parametrize("checkpoint", [{}, {"mpi_generator": {}}, [1], {"mpi_generator": 3, "feature_generator": {}}])
def test_something_else_is_no_checkpoint(checkpoint):
    with pytest.raises(InputError, match="has no '(feature|mpi)_generator'"):
        convert_immpi(checkpoint)
