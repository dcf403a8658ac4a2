"""The perceptual term against torchvision's networks with the same weights, and VGG19's file."""

from __future__ import annotations

import importlib
import sys
import types

import pytest
import torch
import torch.nn.functional as F

from rsnb.density.perceptual import PerceptualTerm
from rsnb.errors import InputError
from rsnb.metrics.perceptual import trunk_weights

MEAN, SPREAD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def torchvision_features(name):
    """torchvision's `features` without weights; its compiled part, not needed, may not fit a CPU build of torch."""
    try:
        models = importlib.import_module("torchvision.models")
    except RuntimeError:
        for module in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
            del sys.modules[module]
        module = "torchvision._meta_registrations"
        sys.modules[module] = types.ModuleType(module)
        models = importlib.import_module("torchvision.models")
    module = {"vgg16": models.vgg, "vgg19": models.vgg}.get(name)
    if module is not None:
        letter = {"vgg16": "D", "vgg19": "E"}[name]
        return module.make_layers(module.cfgs[letter])
    with torch.device("meta"):
        features = models.alexnet().features
    return features.to_empty(device="cpu")


def by_torchvision(features, image, target, taken):
    total, (x, y) = 0.0, ((p - MEAN[:, None, None]) / SPREAD[:, None, None] for p in (image, target))
    for number, layer in enumerate(features[:max(taken) + 1]):
        layer.inplace = False
        x, y = layer(x), layer(y)
        if number in taken:
            total = total + {0: 0.125, 1: 0.25, 2: 1.0}[taken.index(number)] * F.l1_loss(x, y)
    return total


# relu3_1, relu4_1 and relu5_1 by torchvision's numbering; AlexNet's last three ReLUs
@pytest.mark.parametrize(("trunk", "net", "taken"), [("vgg16", "vgg", (11, 18, 25)), ("alex", "alex", (7, 9, 11))])
def test_it_is_the_weighted_distance_of_torchvisions_maps(trunk, net, taken):
    try:
        state = trunk_weights(net)
    except InputError as error:
        pytest.skip(str(error))
    features = torchvision_features(trunk)
    features.load_state_dict({key: state[key] for key in features.state_dict()})
    image, target = torch.rand(2, 2, 3, 40, 64, generator=torch.Generator().manual_seed(0))
    term = PerceptualTerm(trunk)
    image.requires_grad_()
    target.requires_grad_()
    loss = term(image, target)
    with torch.no_grad():
        assert torch.allclose(loss, by_torchvision(features, image, target, taken), rtol=1e-4)
        assert float(term(image, image)) == 0
    loss.backward()
    assert float(image.grad.abs().max()) > 0 and target.grad is None
    assert not list(term.parameters()) and not term.state_dict()


def test_vgg19_comes_from_a_named_file_alone(tmp_path):
    with pytest.raises(InputError, match=r"no file of weights is named.*weight of that term to 0"):
        PerceptualTerm("vgg19")
    features = torchvision_features("vgg19")
    file = tmp_path / "vgg19.pth"
    torch.save({f"features.{key}": value for key, value in features.state_dict().items()}, file)
    image, target = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(PerceptualTerm("vgg19", file)(image, target),
                              by_torchvision(features, image, target, (11, 20, 29)), rtol=1e-4)


def test_files_that_are_no_vgg19(tmp_path):
    file = tmp_path / "weights.pth"
    for content in ({"features.0.weight": torch.zeros(64, 3, 3, 3)}, [1, 2]):
        torch.save(content, file)
        with pytest.raises(InputError, match=r"weights\.pth"):
            PerceptualTerm("vgg19", file)
    file.write_bytes(b"not weights")
    with pytest.raises(InputError, match="no readable weights"):
        PerceptualTerm("vgg19", file)
    with pytest.raises(InputError, match="there is no such file"):
        PerceptualTerm("vgg19", tmp_path / "absent.pth")


def test_other_faults():
    with pytest.raises(InputError, match="no trunk 'squeeze'"):
        PerceptualTerm("squeeze")
    with pytest.raises(InputError, match="resnet"):
        trunk_weights("resnet")
    try:
        term = PerceptualTerm("alex")
    except InputError as error:
        pytest.skip(str(error))
    with pytest.raises(InputError, match="too small"):
        term(torch.rand(1, 3, 16, 64), torch.rand(1, 3, 16, 64))
