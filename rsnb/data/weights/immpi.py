"""ImMPI's published checkpoints (Wu, Zou, Shi, TGRS 2022): ResNet-18 encoder and the decoder that is the scene.

How one gets the dict: `torch.load("ASI_prior.ckpt", map_location="cpu", weights_only=True)`, a dict of epoch,
feature_generator, mpi_generator and optimizer. The published keys were read in the authors' code; a published decoder
key is a Python tuple written as text with a dash between all its characters.

| published | ours | shape of the weight |
|---|---|---|
| mpi_generator conv_down1.0, .1 | decoder.bottleneck.down1.conv, .norm | 512, 512, 1, 1; no bias |
| mpi_generator conv_down2.0, .1 | decoder.bottleneck.down2.conv, .norm | 256, 512, 3, 3; no bias |
| mpi_generator conv_up1.0, .1 | decoder.bottleneck.up1.conv, .norm | 256, 256, 3, 3; no bias |
| mpi_generator conv_up2.0, .1 | decoder.bottleneck.up2.conv, .norm | 512, 256, 1, 1; no bias |
| ("upconv", i, 0) .conv.conv, .bn | decoder.level{i}.before.conv, .norm | out, in, 3, 3 |
| ("upconv", i, 1) .conv.conv, .bn | decoder.level{i}.after.conv, .norm | out, in, 3, 3 |
| ("dispconv", s) .conv | decoder.head{s} | 4, out, 3, 3 |
| feature_generator encoder.* | encoder.* without encoder.fc | as torchvision's ResNet-18 |

Levels i = 4 ... 0 lie before and after the doubling of size; `after` of level i > 0 also sees the encoder's map i - 1.
Input channels end with the 21 numbers of the plane code. Per plane four channels come out, red, green, blue (sigmoid)
and density (absolute value + 1e-4). 5,466,064 parameters in the decoder, 11,176,512 in the encoder.

To run it as published: normalise by the statistics of the batch (the authors never leave training mode), pad 3 x 3
convolutions by reflection, and give the plane codes in the published, scrambled order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsnb.data.weights.renaming import Array, Becomes, convolution, normalisation, rename
from rsnb.data.weights.trunks import resnet18_table
from rsnb.errors import InputError

CODE = 21  # a scalar, and its sine and cosine at ten frequencies
_ENCODER = (64, 64, 128, 256, 512)  # channels of conv1 and layer1 ... layer4
_WIDTHS = (16, 32, 64, 128, 256)  # channels of level 0 ... 4
_BOTTLENECK = {"down1": (512, 512, 1), "down2": (256, 512, 3), "up1": (256, 256, 3), "up2": (512, 256, 1)}


def convert_immpi(checkpoint: Mapping[str, Any]) -> dict[str, Array]:
    """Encoder and decoder of a checkpoint, keys "encoder. ..." and "decoder. ...".

    Args:
        checkpoint: the dict that the file holds; epoch and optimizer are left out.

    Raises:
        InputError: feature_generator or mpi_generator is missing, or a key or shape in them does not belong.
    """
    for part in ("feature_generator", "mpi_generator"):
        if not isinstance(checkpoint, Mapping) or not isinstance(checkpoint.get(part), Mapping):
            raise InputError(f"the checkpoint has no {part!r}", where="ImMPI",
                             mend="Give the whole dict of a .ckpt file, or use convert_decoder")
    encoder = convert_encoder(checkpoint["feature_generator"])
    decoder = convert_decoder(checkpoint["mpi_generator"])
    return {f"encoder.{k}": v for k, v in encoder.items()} | {f"decoder.{k}": v for k, v in decoder.items()}


def convert_encoder(state: Mapping[str, Array]) -> dict[str, Array]:
    """The ResNet-18 of `feature_generator`, under torchvision's keys and without its classifier."""
    return rename(state, resnet18_table("encoder."), "ImMPI's encoder", lambda key: key.startswith("encoder.fc."))


def convert_decoder(state: Mapping[str, Array]) -> dict[str, Array]:
    """The decoder of `mpi_generator`; keys as in the module's table, without "decoder." in front."""
    return rename(state, decoder_table(), "ImMPI's decoder")


def decoder_table() -> dict[str, Becomes]:
    """Published decoder key -> ours and its shape."""
    table = {}
    for name, (outward, inward, side) in _BOTTLENECK.items():
        ours = f"bottleneck.{name}"
        table |= convolution(f"conv_{name}.0", f"{ours}.conv", (outward, inward, side, side), bias=False)
        table |= normalisation(f"conv_{name}.1", f"{ours}.norm", outward)
    for level in range(4, -1, -1):
        outward = _WIDTHS[level]
        above = _ENCODER[4] + CODE if level == 4 else _WIDTHS[level + 1]
        skip = _ENCODER[level - 1] + CODE if level > 0 else 0
        for n, (part, inward) in enumerate({"before": above, "after": outward + skip}.items()):
            published, ours = f"convs.{dashed(('upconv', level, n))}", f"level{level}.{part}"
            table |= convolution(f"{published}.conv.conv", f"{ours}.conv", (outward, inward, 3, 3))
            table |= normalisation(f"{published}.bn", f"{ours}.norm", outward)
    for scale in range(4):
        table |= convolution(f"convs.{dashed(('dispconv', scale))}.conv", f"head{scale}", (4, _WIDTHS[scale], 3, 3))
    return table


def dashed(key: tuple) -> str:
    """How the authors' code names a layer: ("upconv", 4, 0) with a dash between all characters of its text."""
    return "-".join(str(key))
