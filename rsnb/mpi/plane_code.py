"""The plane code: 21 numbers that tell the decoder which plane it draws (Wu, Zou, Shi 2022, after NeRF's encoding).

A plane's scalar s lies evenly between 0.01 (plane 0, the nearest) and 1.0, whatever the true depths are; since planes
are uniform in inverse depth, s says where between near and far a plane lies. Its code is s followed by sin(2^k s),
cos(2^k s) for k = 0 ... 9, without a factor pi.

The published code lost this: the 21 lists are joined along the planes and then reshaped to [P, 21], so a row holds
numbers of many planes. `kind="published"` gives that order, which only published weights need: a row no longer belongs
to a depth, and another plane count means other codes.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from rsnb.errors import InputError

CODE_CHANNELS = 21
_FREQUENCIES = 10
_NEAREST, _FARTHEST = 0.01, 1.0

PlaneCode = Literal["published", "mended"]


def plane_scalars(count: int, *, dtype=torch.float32, device=None) -> Tensor:
    """[P] scalars of the planes, from 0.01 for the nearest to 1.0 for the farthest.

    Raises:
        InputError: fewer than one plane.
    """
    if count < 1:
        raise InputError(f"{count} planes are none", where="planes", mend="Use at least one plane, better 8 to 64")
    return torch.linspace(_NEAREST, _FARTHEST, count, dtype=dtype, device=device)


def plane_codes(count: int, kind: PlaneCode = "mended", *, dtype=torch.float32, device=None) -> Tensor:
    """[P, 21] codes of `count` planes.

    Args:
        count: number of planes.
        kind: "mended": row p is the code of plane p. "published": the scrambled order of the authors' code.

    Raises:
        InputError: fewer than one plane, or an unknown kind.
    """
    scalars = plane_scalars(count, dtype=dtype, device=device)
    if kind == "mended":
        return encode_scalars(scalars)
    if kind == "published":
        return encode_scalars(scalars).T.reshape(count, CODE_CHANNELS)
    raise InputError(f"there is no plane code {kind!r}", where="plane_code", mend="Write 'published' or 'mended'")


def encode_scalars(scalars: Tensor) -> Tensor:
    """[P, 21] codes of any scalars [P]: s, sin s, cos s, sin 2s, cos 2s, ... cos 512s."""
    angles = scalars[:, None] * 2.0 ** torch.arange(_FREQUENCIES, dtype=scalars.dtype, device=scalars.device)
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1)  # [P, 10, 2]
    return torch.cat([scalars[:, None], waves.flatten(1)], dim=1)
