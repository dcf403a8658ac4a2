"""The density net: from a satellite tile to the density of every voxel above it.

The channels of its output are the slices of the volume, lowest first (Qian et al. 2023). "published" is
their network: no skips, a ReLU at the end. "unet" is ours for CPUs and short trainings: skips, and a softplus at the
end, because a ReLU that begins below zero everywhere has no gradient and stays there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsnb.density.layers import PUBLISHED, LayerKind
from rsnb.density.sizes import values_of_size
from rsnb.density.trunks import ResidualTrunk, UNet
from rsnb.errors import InputError

_SIZES = {
    "tiny": {"profile": "falling", "width": 8, "slices": 8, "depth": 2},
    "smoke": {"profile": "falling", "width": 16, "slices": 24, "depth": 3},
    "small": {"profile": "falling", "width": 24, "slices": 24, "depth": 3},
    "full": {"kind": "published", "width": 32, "slices": 64, "depth": 4, "head": "relu", "unit_m": 15.0},
}
MOST_HALVINGS, MOST_CHANNELS = 12, 16384  # the published network has 4, and 512
MOST_DENSITY = 1e6  # of the heads, in their unit: a hair of it is opaque, and no logit makes infinity of it
_FIRST_LOGIT = -2.0  # of the lowest slice: a fresh volume of the falling profile holds 0.12 of most_density there
_FIRST_DROP = -1.0  # before its softplus: each slice above lowers the logit by 0.31
_HEAD_SPREAD = 0.1  # of the first logits, against a plain layer's: a fresh volume is nearly even


@dataclass(frozen=True)
class DensityNetOptions:
    """What the density net looks like.

    Attributes:
        kind: "unet" (ours) or "published" (Qian et al. 2023; 31.57 M parameters at width 32, depth 4, 64 slices).
        width: channels at full resolution.
        slices: D, of the volume.
        depth: number of halvings.
        blocks: residual blocks of "published".
        head: "softplus", or "relu" as published.
        initial_density: about what the untrained softplus head gives everywhere, 1 / m; a ray of 20 m through 0.01
            has an opacity of 0.18.
        gain: factor before the softplus: the way from nearly empty to opaque is long, and an optimiser that takes
            steps of one size walks it that many times faster. 1 = plain.
        profile: "free" = every voxel for itself, as published; "falling" = density never grows upwards: it is
            `most_density` times the sigmoid of a logit that each slice lowers further. Things stand on the ground, and
            are solid up to where they end (ours; under a crown of leaves it is wrong).
        most_density: of "falling", 1 / m; `head`, `initial_density` and `unit_m` do not matter there.
        unit_m: metres in which the head counts: density = head / unit_m. Half the tile's side for the published
            numbers (15 m CVACT, 27.5 m CVUSA); the height of a slice makes 1 an optical depth of 1 a slice.

    Raises:
        InputError: an unknown kind, head or profile; a number that is not above 0, or not whole where it counts
            something; more channels on the coarsest map than `MOST_CHANNELS`.
    """

    kind: Literal["unet", "published"] = "unet"
    width: int = 24
    slices: int = 64
    depth: int = 3
    blocks: int = 6
    head: Literal["softplus", "relu"] = "softplus"
    initial_density: float = 0.01
    gain: float = 10.0
    unit_m: float = 1.0
    profile: Literal["free", "falling"] = "free"
    most_density: float = 4.0

    def __post_init__(self):
        if self.kind not in ("unet", "published") or self.head not in ("softplus", "relu"):
            raise InputError(f"kind is {self.kind!r} and head {self.head!r}", where="DensityNetOptions",
                             mend='Use kind="unet" or "published", and head="softplus" or "relu"')
        if self.profile not in ("free", "falling"):
            raise InputError(f"profile is {self.profile!r}", where="DensityNetOptions",
                             mend='Use profile="free" or "falling"')
        for name, least in (("width", 1), ("slices", 1), ("depth", 1), ("blocks", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name} is {value!r}", where="DensityNetOptions",
                                 mend=f"Give a whole number of at least {least}")
        for name in ("initial_density", "gain", "unit_m", "most_density"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise InputError(f"{name} is {value!r}", where="DensityNetOptions", mend="Give a number above 0")
        halvings = self.depth if self.kind == "published" else min(self.depth, 2)  # with which the width doubles
        if self.depth > MOST_HALVINGS or self.width << halvings > MOST_CHANNELS:
            raise InputError(f"{self.width} channels and {self.depth} halvings", where="DensityNetOptions",
                             mend=f"Use at most {MOST_HALVINGS} halvings, and at most {MOST_CHANNELS} channels where "
                                  "the map is coarsest")

    @classmethod
    def of_size(cls, size: str, **changes) -> DensityNetOptions:
        """The options of "tiny", "smoke", "small" (U-Nets) or "full" (as published, CVACT), with changes."""
        return cls(**values_of_size(_SIZES, size, changes))


class DensityNet(nn.Module):
    """Density of every voxel above a satellite tile.

    Args:
        options: kind, widths, head and its unit.
    """

    def __init__(self, options: DensityNetOptions = DensityNetOptions()):
        super().__init__()
        self.options = options
        if options.kind == "published":
            ups = tuple(options.width << level for level in reversed(range(options.depth)))
            self.trunk = ResidualTrunk(3, options.slices, options.width, ups, options.blocks, PUBLISHED)
            last = self.trunk.last.conv
        else:
            self.trunk = UNet(3, options.slices, options.width, options.depth, LayerKind(norm="batch"), joined=True)
            last = self.trunk.last
        if options.profile == "falling":
            with torch.no_grad():
                last.weight.mul_(_HEAD_SPREAD)
                last.bias.fill_(_FIRST_DROP / options.gain)
                last.bias[0] = _FIRST_LOGIT / options.gain
        elif options.head == "softplus":
            with torch.no_grad():
                last.weight.mul_(_HEAD_SPREAD / options.gain)
                last.bias.fill_(_inverse_softplus(options.initial_density * options.unit_m) / options.gain)

    def forward(self, tile: Tensor) -> Tensor:
        """Density [B, D, S, S], 1 / m, >= 0, slice 0 lowest, of tiles [B, 3, S, S] in 0..1 of any size S.

        Raises:
            InputError: another shape; for "published" fewer than 2^(depth + 1) pixels a side; in training, for "unet"
                one tile of 2^depth pixels a side or less, of which batch norm would see one number a channel.
        """
        options = self.options
        if tile.ndim != 4 or tile.shape[1] != 3:
            raise InputError(f"the tile has shape {tuple(tile.shape)}, expected [B, 3, S, S]", where="DensityNet")
        cell = 2**options.depth
        if self.training and options.kind == "unet" and len(tile) == 1 and tile.shape[-1] <= cell:
            raise InputError(f"one tile of {tile.shape[-1]} pixels and {options.depth} halvings leave one number for "
                             "batch norm", where="DensityNet",
                             mend=f"Train with tiles of at least {cell + 1} pixels, or with a batch of 2 or more")
        x = self.trunk(tile if options.kind == "published" else 2 * tile - 1)
        if options.profile == "falling":
            logits = (options.gain * x).clamp(-MOST_DENSITY, MOST_DENSITY)
            lowest, drops = logits[:, :1], F.softplus(logits[:, 1:])
            return options.most_density * torch.sigmoid(torch.cat([lowest, lowest - drops.cumsum(dim=1)], dim=1))
        x = F.relu(x) if options.head == "relu" else F.softplus(options.gain * x)
        return x.clamp(max=MOST_DENSITY) / options.unit_m


def _inverse_softplus(value: float) -> float:
    """x with log(1 + e^x) = value > 0, for values of any size."""
    return value + math.log(-math.expm1(-value))
