"""OriCNN's TensorFlow variables become ours; a converted layer gives what TensorFlow's definition of it gives."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from rsnb.data.weights.oricnn import convert_oricnn
from rsnb.data.weights.renaming import count
from rsnb.errors import InputError

LAYERS = ((5, 64), (64, 128), (128, 256), (256, 512), (512, 512), (512, 512), (512, 512))


@pytest.fixture(scope="module")
def published() -> dict[str, np.ndarray]:
    """A checkpoint as TensorFlow's reader lists it, with Adam's slots of one variable and the counters."""
    rng = np.random.default_rng(1)
    state = {"train/beta1_power": np.float32(0.5), "train/beta2_power": np.float32(0.5), "Variable": np.int32(296000)}
    for branch in ("sat_rgbori", "grd_rgbori"):
        for n, (inward, outward) in enumerate(LAYERS, start=1):
            scope = f"{branch}encoder_{n}"
            state[f"{scope}/conv2d/kernel"] = rng.standard_normal((4, 4, inward, outward), dtype=np.float32)
            state[f"{scope}/conv2d/bias"] = rng.standard_normal(outward, dtype=np.float32)
            for part in ("gamma", "beta", "moving_mean", "moving_variance") if n > 1 else ():
                state[f"{scope}/batch_normalization/{part}"] = rng.standard_normal(outward, dtype=np.float32)
    state["sat_rgboriencoder_1/conv2d/kernel/Adam"] = state["sat_rgboriencoder_1/conv2d/kernel/Adam_1"] = np.zeros(2)
    return state


def test_counts_and_names(published):
    ours = convert_oricnn(published)
    for view in ("satellite", "panorama"):
        part = {k: v for k, v in ours.items() if k.startswith(f"{view}.")}
        assert count(part) == 15_347_904  # the published count
        assert len(part) == 7 * 2 + 6 * 4
    assert ours["panorama.norm7.weight"] is published["grd_rgboriencoder_7/batch_normalization/gamma"]
    assert ours["satellite.norm2.running_var"] is published["sat_rgboriencoder_2/batch_normalization/moving_variance"]


def same_convolution(picture: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """TensorFlow's SAME, stride 2, by its definition: ceil(n / 2) outputs, the odd pixel of padding goes behind."""
    pads = []
    for n in picture.shape[:2]:
        total = max((-(-n // 2) - 1) * 2 + 4 - n, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(picture, [*pads, (0, 0)])
    return np.stack([sum(correlate2d(padded[..., c], kernel[..., c, o], mode="valid") for c in range(kernel.shape[2]))
                     + bias[o] for o in range(3)], axis=-1)[::2, ::2]  # three outputs are enough


@pytest.mark.parametrize(("rows", "columns", "padding"), [(8, 10, (1, 1, 1, 1)), (8, 11, (1, 2, 1, 1))])
def test_a_layer_gives_the_same_numbers(published, rows, columns, padding):
    """Padding (left, right, top, bottom): even sizes one pixel each side, an odd size one before and two behind."""
    ours = convert_oricnn(published)
    picture = np.random.default_rng(2).normal(size=(rows, columns, 5))
    expected = same_convolution(picture, published["sat_rgboriencoder_1/conv2d/kernel"].astype(float),
                                published["sat_rgboriencoder_1/conv2d/bias"].astype(float))
    x = torch.nn.functional.pad(torch.from_numpy(picture.transpose(2, 0, 1))[None], padding)
    weight, bias = (torch.from_numpy(ours[f"satellite.conv1.{k}"]).double() for k in ("weight", "bias"))
    found = torch.nn.functional.conv2d(x, weight, bias, stride=2)[0, :3].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_numbered_layers_and_output_suffix_are_understood(published):
    state = {k.replace("encoder_3/conv2d/", "encoder_3/conv2d_2/") + ":0": v for k, v in published.items()}
    assert convert_oricnn(state).keys() == convert_oricnn(published).keys()


def test_torch_tensors_are_transposed_too(published):
    state = {k: torch.from_numpy(np.asarray(v)) for k, v in published.items()}
    ours = convert_oricnn(state)["satellite.conv2.weight"]
    assert ours.is_contiguous()
    np.testing.assert_array_equal(ours.numpy(), published["sat_rgboriencoder_2/conv2d/kernel"].transpose(3, 2, 0, 1))


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda s: s.pop("grd_rgboriencoder_4/conv2d/bias"), "first 'grd_rgboriencoder_4/conv2d/bias'"),
    (lambda s: s.update({"sat_rgboriencoder_1/conv2d/kernel": np.zeros((4, 4, 3, 64))}), "expected (4, 4, 5, 64)"),
    (lambda s: s.update({"vgg/conv1/kernel": np.zeros(3)}), "unknown key 'vgg/conv1/kernel'"),
    (lambda s: s.update({"sat_rgboriencoder_1/conv2d_1/bias": np.zeros(64)}), "two variables are called"),
])
def test_a_wrong_checkpoint_is_refused(published, spoil, words):
    state = dict(published)
    spoil(state)
    with pytest.raises(InputError) as caught:
        convert_oricnn(state)
    assert words in str(caught.value)


def test_converters_import_no_torch():
    program = ("import sys, rsnb.data.weights.immpi, rsnb.data.weights.liif, rsnb.data.weights.oricnn\n"
               "assert not {'torch', 'tensorflow', 'scipy'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
