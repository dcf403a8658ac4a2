"""ImMPI's published checkpoints (Wu, Zou, Shi, TGRS 2022): a ResNet encoder and the decoder that is the scene.

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
| feature_generator encoder.* | encoder.* without encoder.fc | as torchvision's ResNet-18 or -50 |

Levels i = 4 ... 0 lie before and after the doubling of size; `after` of level i > 0 also sees the encoder's map i - 1.
Input channels end with the 21 numbers of the plane code. Per plane four channels come out, red, green, blue (sigmoid)
and density (absolute value + 1e-4). 5,466,064 parameters in the decoder, 11,176,512 in the encoder. Which trunk a file
is of is read off its shapes; with ResNet-50 the bottleneck has 2048 channels outside and the skipped maps 64, 256, 512
and 1024 (12,510,160 and 23,508,032 parameters).

To run it as published: normalise by the statistics of the batch (the authors never leave training mode), pad the 3 x 3
convolutions of levels and heads by reflection and the two of the bottleneck by zeros, and give the plane codes in the
published, scrambled order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsnb.data.weights.renaming import Array, Becomes, convolution, normalisation, rename
from rsnb.data.weights.trunks import RESNET_WIDTHS, resnet_table
from rsnb.errors import InputError

CODE = 21  # a scalar, and its sine and cosine at ten frequencies
_WIDTHS = (16, 32, 64, 128, 256)  # channels of level 0 ... 4


def convert_immpi(checkpoint: Mapping[str, Any]) -> dict[str, Array]:
    """Encoder and decoder of a checkpoint, keys "encoder. ..." and "decoder. ...".

    Args:
        checkpoint: the dict that the file holds; epoch and optimizer are left out.

    Raises:
        InputError: feature_generator or mpi_generator is missing, a key or shape in them does not belong, or the two
            are of different trunks.
    """
    for part in ("feature_generator", "mpi_generator"):
        if not isinstance(checkpoint, Mapping) or not isinstance(checkpoint.get(part), Mapping):
            raise InputError(f"the checkpoint has no {part!r}", where="ImMPI",
                             mend="Give the whole dict of a .ckpt file, or use convert_decoder")
    trunks = {trunk_of(checkpoint[part]) for part in ("feature_generator", "mpi_generator")}
    if len(trunks) > 1:
        raise InputError("encoder and decoder are of different trunks", where="ImMPI",
                         mend="Take both from one checkpoint")
    encoder = convert_encoder(checkpoint["feature_generator"])
    decoder = convert_decoder(checkpoint["mpi_generator"])
    return {f"encoder.{k}": v for k, v in encoder.items()} | {f"decoder.{k}": v for k, v in decoder.items()}


def convert_encoder(state: Mapping[str, Array]) -> dict[str, Array]:
    """The ResNet of `feature_generator`, under torchvision's keys and without its classifier."""
    return rename(state, resnet_table(trunk_of(state), "encoder."), "ImMPI's encoder",
                  lambda key: key.startswith("encoder.fc."))


def convert_decoder(state: Mapping[str, Array]) -> dict[str, Array]:
    """The decoder of `mpi_generator`; keys as in the module's table, without "decoder." in front."""
    return rename(state, decoder_table(trunk_of(state)), "ImMPI's decoder")


def trunk_of(state: Mapping[str, Array]) -> str:
    """Whether a published or converted encoder or decoder is of "resnet50"; "resnet18" where nothing says so."""
    for key, array in state.items() if isinstance(state, Mapping) else ():
        if str(key).endswith("layer1.0.conv3.weight"):
            return "resnet50"
        if str(key).endswith(("conv_down1.0.weight", "bottleneck.down1.conv.weight")):
            return "resnet50" if tuple(getattr(array, "shape", ()))[1:2] == (RESNET_WIDTHS["resnet50"][-1],) else \
                "resnet18"
    return "resnet18"


def decoder_table(trunk: str = "resnet18") -> dict[str, Becomes]:
    """Published decoder key -> ours and its shape, for an encoder of "resnet18" or "resnet50"."""
    encoder = RESNET_WIDTHS[trunk]  # channels of conv1 and layer1 ... layer4
    bottleneck = {"down1": (512, encoder[4], 1), "down2": (256, 512, 3), "up1": (256, 256, 3),
                  "up2": (encoder[4], 256, 1)}
    table = {}
    for name, (outward, inward, side) in bottleneck.items():
        ours = f"bottleneck.{name}"
        table |= convolution(f"conv_{name}.0", f"{ours}.conv", (outward, inward, side, side), bias=False)
        table |= normalisation(f"conv_{name}.1", f"{ours}.norm", outward)
    for level in range(4, -1, -1):
        outward = _WIDTHS[level]
        above = encoder[4] + CODE if level == 4 else _WIDTHS[level + 1]
        skip = encoder[level - 1] + CODE if level > 0 else 0
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
