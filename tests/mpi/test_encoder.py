"""The encoder against torchvision's ResNets with the same weights."""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np
import pytest
import torch

from rsnb.data.weights.trunks import convert_resnet18, resnet_table
from rsnb.errors import InputError
from rsnb.mpi.encoder import Encoder


@pytest.fixture(scope="module")
def models():
    """torchvision's models; its compiled operators, which they do not need, may not fit a CPU build of torch."""
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        name = "torchvision._meta_registrations"
        sys.modules[name] = types.ModuleType(name)
        return importlib.import_module("torchvision.models")


def unlike_fresh(module):
    """Weights and statistics that a wrong place for any of them would show."""
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if "running_var" in key:
                value.uniform_(0.5, 2)
            elif value.dim() == 1:
                value.normal_(0.5, 0.3)
    return module


@pytest.mark.parametrize(("trunk", "parameters"), [("resnet18", 11_176_512), ("resnet50", 23_508_032)])
def test_it_is_torchvisions_trunk(models, trunk, parameters):
    torch.manual_seed(0)
    theirs = unlike_fresh(getattr(models, trunk)(weights=None))
    ours = Encoder.from_weights(theirs.state_dict(), trunk, statistics="mended")
    assert sum(p.numel() for p in ours.parameters()) == parameters
    image = torch.rand(3, 96, 64)
    stages = {}
    for name in ("relu", "layer1", "layer2", "layer3", "layer4"):
        # relu works in place behind the normalisation too, so its map is copied at once
        getattr(theirs, name).register_forward_hook(lambda m, i, o, name=name: stages.setdefault(name, o.clone()))
    normalised = (image - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
        [0.229, 0.224, 0.225])[:, None, None]
    for mode in (True, False):
        stages.clear()
        with torch.no_grad():
            theirs.train(mode)(normalised[None])
            maps = ours.train(mode)(image)
        for ours_map, (name, expected), width, i in zip(maps, stages.items(), ours.widths, range(1, 6), strict=True):
            assert ours_map.shape == (1, width, 96 >> i, 64 >> i)
            assert torch.allclose(ours_map, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())), name


def test_a_converted_imagenet_file_loads_by_every_key():
    rng = np.random.default_rng(1)
    published = {key: rng.normal(size=row.shape).astype(np.float32) for key, row in resnet_table("resnet18").items()}
    published |= {"fc.weight": np.zeros((1000, 512)), "bn1.num_batches_tracked": np.array(5)}
    state = convert_resnet18(published)
    encoder = Encoder.from_weights(state)
    assert {k for k in encoder.state_dict() if not k.endswith("num_batches_tracked")} == set(state)
    for key in ("conv1.weight", "layer3.0.downsample.1.running_mean", "layer4.1.bn2.bias"):
        assert np.array_equal(encoder.state_dict()[key].numpy(), published[key])


def test_published_statistics_are_the_pictures_own_in_every_mode():
    torch.manual_seed(2)
    encoder, image = unlike_fresh(Encoder()), torch.rand(3, 64, 64)
    before = encoder.bn1.running_mean.clone()
    with torch.no_grad():
        tested = encoder.eval()(image)[-1]
        assert torch.equal(encoder.bn1.running_mean, before)  # a test leaves no trace
        assert torch.allclose(encoder.train()(image)[-1], tested, atol=1e-5)
        mended = Encoder.from_weights(encoder.state_dict(), statistics="mended").eval()
        assert not torch.allclose(mended(image)[-1], tested, atol=1e-2)


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda s: s.pop("conv1.weight"), "1 keys are missing, first 'conv1.weight'"),
    (lambda s: s.update({"layer5.0.conv1.weight": torch.zeros(1)}), "unknown here, first 'layer5.0.conv1.weight'"),
    (lambda s: s.update({"bn1.bias": torch.zeros(65)}), "'bn1.bias' has shape (65,), expected (64,)"),
])
def test_wrong_weights_are_refused_by_key(spoil, words):
    state = Encoder().state_dict()
    spoil(state)
    with pytest.raises(InputError) as caught:
        Encoder.from_weights(state)
    assert words in str(caught.value)


def test_a_wrong_picture_or_trunk_is_refused():
    with pytest.raises(InputError, match="multiples of 32"):
        Encoder()(torch.rand(3, 100, 64))
    with pytest.raises(InputError, match="no trunk 'vgg'"):
        Encoder("vgg")
