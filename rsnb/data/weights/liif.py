"""LIIF's published models (Chen, Liu, Wang, CVPR 2021): EDSR-baseline or RDN features and the implicit decoder.

How one gets the dict: `torch.load("edsr-baseline-liif.pth", map_location="cpu", weights_only=True)["model"]["sd"]`; the
whole file's dict is taken too. Published keys were read in the authors' code.

| published | ours | shape of the weight |
|---|---|---|
| encoder.head.0 | encoder.first | 64, 3, 3, 3 |
| encoder.body.{i}.body.0, .2, i = 0 ... 15 | encoder.blocks.{i}.conv1, .conv2 | 64, 64, 3, 3 |
| encoder.body.16 | encoder.last | 64, 64, 3, 3 |
| encoder.sub_mean, encoder.add_mean | left out: the published encoder never uses them | |
| imnet.layers.{0, 2, 4, 6, 8} | decoder.{0 ... 4} | 256, 580; three of 256, 256; 3, 256 |
| RDN: encoder.SFENet1, SFENet2 | encoder.first, encoder.second | 64, 3, 3, 3; 64, 64, 3, 3 |
| RDN: encoder.RDBs.{i}.convs.{c}.conv.0 | encoder.dense.{i}.conv{c} | 64, 64 (c + 1), 3, 3; i < 16, c < 8 |
| RDN: encoder.RDBs.{i}.LFF | encoder.dense.{i}.fuse | 64, 576, 1, 1 |
| RDN: encoder.GFF.0, .1 | encoder.fuse1, encoder.fuse2 | 64, 1024, 1, 1; 64, 64, 3, 3 |

Pictures go in as (x - 0.5) / 0.5 and come out the same way. The 580 inputs of decoder.0 are the 3 x 3 neighbourhood of
64 features in the order feature, row, column (so that its first 576 columns, as 256, 64, 3, 3, are a convolution), the
query's offset (row, column) and the cell (height, width), both in a measure where a feature pixel is 2 wide.
Parameters: EDSR-baseline 1,220,416, decoder 346,883.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rsnb.data.weights.renaming import Array, Becomes, convolution, rename

FEATURES = 64
_HIDDEN, _LAYERS = 256, 5
_INPUTS = FEATURES * 9 + 2 + 2


def convert_liif(checkpoint: Mapping[str, Any]) -> dict[str, Array]:
    """Encoder and decoder of a published model, keys "encoder. ..." and "decoder. ...".

    Args:
        checkpoint: the state dict, or the file's dict around it (`model`, then `sd`).

    Raises:
        InputError: a key or shape that does not belong to LIIF with EDSR-baseline or RDN.
    """
    state = checkpoint
    for key in ("model", "sd"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    rdn = isinstance(state, Mapping) and any(str(key).endswith("encoder.SFENet1.weight") for key in state)
    table = rdn_table() if rdn else edsr_table()
    return rename(state, table | decoder_table(), "LIIF with RDN" if rdn else "LIIF with EDSR-baseline",
                  lambda key: key.startswith(("encoder.sub_mean.", "encoder.add_mean.")))


def decoder_table() -> dict[str, Becomes]:
    """Published decoder key -> ours and its shape."""
    widths = [_INPUTS, *[_HIDDEN] * (_LAYERS - 1), 3]
    table = {}
    for n in range(_LAYERS):
        table |= convolution(f"imnet.layers.{2 * n}", f"decoder.{n}", (widths[n + 1], widths[n]))
    return table


def edsr_table(blocks: int = 16) -> dict[str, Becomes]:
    """Published key of the EDSR-baseline encoder -> ours and its shape."""
    square = (FEATURES, FEATURES, 3, 3)
    table = convolution("encoder.head.0", "encoder.first", (FEATURES, 3, 3, 3))
    for i in range(blocks):
        table |= convolution(f"encoder.body.{i}.body.0", f"encoder.blocks.{i}.conv1", square)
        table |= convolution(f"encoder.body.{i}.body.2", f"encoder.blocks.{i}.conv2", square)
    return table | convolution(f"encoder.body.{blocks}", "encoder.last", square)


def rdn_table(blocks: int = 16, layers: int = 8) -> dict[str, Becomes]:
    """Published key of the RDN encoder (its configuration B) -> ours and its shape."""
    table = convolution("encoder.SFENet1", "encoder.first", (FEATURES, 3, 3, 3))
    table |= convolution("encoder.SFENet2", "encoder.second", (FEATURES, FEATURES, 3, 3))
    for i in range(blocks):
        for c in range(layers):
            shape = (FEATURES, FEATURES * (c + 1), 3, 3)
            table |= convolution(f"encoder.RDBs.{i}.convs.{c}.conv.0", f"encoder.dense.{i}.conv{c}", shape)
        table |= convolution(f"encoder.RDBs.{i}.LFF", f"encoder.dense.{i}.fuse",
                             (FEATURES, FEATURES * (layers + 1), 1, 1))
    table |= convolution("encoder.GFF.0", "encoder.fuse1", (FEATURES, FEATURES * blocks, 1, 1))
    return table | convolution("encoder.GFF.1", "encoder.fuse2", (FEATURES, FEATURES, 3, 3))
