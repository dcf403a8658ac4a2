"""A density volume over a satellite tile: what it holds and where it lies, in metres.

Axes of a tile: x east, y north, z up, metres, the origin on the ground under the middle of the tile. Row 0 of tile and
volume is the northern edge, column 0 the western one, slice 0 the lowest. Voxels and pixels are cells: the slices span
0..ceiling_m and the pixels -extent_m / 2..extent_m / 2, centres at +0.5.

Sat2Density computes in half tiles: its density is this one times extent_m / 2, its lengths are these divided by that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from rsnb.errors import InputError

Ground = Literal["plane", "slab", "none"]
Edges = Literal["hold", "fade"]
SLAB_DENSITY_PER_HALF_TILE = 1000.0  # the ground slice of Sat2Density


@dataclass(frozen=True)
class TileFrame:
    """How large a tile and its volume are.

    Attributes:
        extent_m: side of the tile on the ground, metres.
        ceiling_m: height of the top of the volume above the ground, metres.

    Raises:
        InputError: a length that is not a number above 0.
    """

    extent_m: float
    ceiling_m: float

    def __post_init__(self):
        for name in ("extent_m", "ceiling_m"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise InputError(f"{name} is {value!r}", where="TileFrame", mend="Give metres above 0")

    @property
    def half_m(self) -> float:
        """Half the side of the tile: Sat2Density's unit of length."""
        return self.extent_m / 2

    def xy_of_pixels(self, pixels: Tensor, size: int) -> Tensor:
        """Metres east and north [..., 2] of (column, row) [..., 2] on a tile of `size` pixels a side."""
        scale = pixels.new_tensor([1.0, -1.0]) * (self.extent_m / size)
        return (pixels - size / 2) * scale


@dataclass(frozen=True)
class DensityVolume:
    """Densities over a batch of tiles, with the tiles that colour them.

    Attributes:
        sigma: [B, D, S, S] density, 1 / m, >= 0; slice 0 lowest, row 0 north, column 0 west.
        tile: [B, 3, C, C] colours 0..1 of the same ground, of any size; every height above a place has its colour.
        frame: extent and ceiling.
        ground: "plane": an opaque plane z = 0 that goes on for ever (its colour outside the tile is the nearest border
            pixel); "slab": Sat2Density's, an opaque slice below the others, inside the tile and inside the same
            ceiling, so that all slices are thinner by D / (D + 1); "none": nothing, the ablation.
        edges: what lies between the outermost centres and the walls of the volume: "hold" = the nearest value; "fade" =
            linear to 0 half a cell outside, as zero padding does in Sat2Density. Outside (hold: of the walls; fade: of
            half a cell more) density is 0.

    Raises:
        InputError: shapes that do not fit one another, or an unknown mode.
    """

    sigma: Tensor
    tile: Tensor
    frame: TileFrame
    ground: Ground = "plane"
    edges: Edges = "hold"

    def __post_init__(self):
        if self.sigma.ndim != 4 or self.sigma.shape[-1] != self.sigma.shape[-2]:
            raise InputError(f"sigma has shape {tuple(self.sigma.shape)}, expected [B, D, S, S]", where="DensityVolume")
        b = self.sigma.shape[0]
        if self.tile.ndim != 4 or self.tile.shape[:2] != (b, 3) or self.tile.shape[-1] != self.tile.shape[-2]:
            raise InputError(f"the tile has shape {tuple(self.tile.shape)}, expected [{b}, 3, C, C]",
                             where="DensityVolume")
        if self.ground not in ("plane", "slab", "none") or self.edges not in ("hold", "fade"):
            raise InputError(f"ground is {self.ground!r} and edges {self.edges!r}", where="DensityVolume",
                             mend='Use ground="plane", "slab" or "none", and edges="hold" or "fade"')

    def __len__(self) -> int:
        return self.sigma.shape[0]

    @property
    def slices(self) -> Tensor:
        """[B, D, S, S], or [B, D + 1, S, S] with the opaque slab as the lowest: what spans 0..ceiling_m."""
        if self.ground != "slab":
            return self.sigma
        slab = self.sigma.new_full((len(self), 1, *self.sigma.shape[-2:]),
                                   SLAB_DENSITY_PER_HALF_TILE / self.frame.half_m)
        return torch.cat([slab, self.sigma], dim=1)

    @property
    def slice_m(self) -> float:
        """Height of one of `slices`, metres."""
        return self.frame.ceiling_m / (self.sigma.shape[1] + (self.ground == "slab"))

    def subset(self, index) -> DensityVolume:
        """The volumes of an index list, in its order."""
        index = torch.as_tensor(index, device=self.sigma.device).reshape(-1)
        return replace(self, sigma=self.sigma[index], tile=self.tile[index])

    def to(self, *args, **kwargs) -> DensityVolume:
        """The same on another device or in another precision, as `torch.Tensor.to`."""
        return replace(self, sigma=self.sigma.to(*args, **kwargs), tile=self.tile.to(*args, **kwargs))


@dataclass(frozen=True)
class Rendered:
    """What rays bring home.

    Attributes:
        rgb: [B, 3, H, W], sum of weight x colour: what the rays do not see is black.
        opacity: [B, H, W], sum of weights, 0..1.
        distance: [B, H, W], sum of weight x distance along the ray, metres: Sat2Density's depth, which is too short
            where the opacity is below 1.
    """

    rgb: Tensor
    opacity: Tensor
    distance: Tensor

    def depth(self, least_opacity: float = 0.5) -> Tensor:
        """[B, H, W] expected distance of what is hit, metres; infinite where the opacity is below the least."""
        hit = self.opacity >= least_opacity
        return torch.where(hit, self.distance / self.opacity.clamp(min=1e-6), torch.inf)


@dataclass(frozen=True)
class RenderOptions:
    """How rays are sampled.

    Attributes:
        samples: equal steps a ray.
        length_m: of the sampled part of a ray; None = to the farthest corner of the volume as seen from the camera that
            is farthest out in the batch, so that no ray ends inside the volume. The parallel rays of an orthographic
            camera (`render_view`) are sampled until the last of them leaves the volume.
        placement: where in its step a sample lies: "middle", or "end" (Sat2Density: the first one step from the
            camera).
        stop: transmittance below which "numba" ends a ray; the other backends follow every ray to its end. At 0 it
            still ends one at 1e-7, where float32 has nothing left to add.
        backend: "torch": the plain form, for any ray; "cylinder": two interpolations in a row, for panoramas of a level
            camera; "numba": compiled loops for the CPU, float32, without gradient; "triton": compiled for a GPU,
            float32, with gradients; "auto": the fastest that gives what is asked for.
    """

    samples: int = 100
    length_m: float | None = None
    placement: Literal["middle", "end"] = "middle"
    stop: float = 0.0
    backend: Literal["auto", "torch", "cylinder", "numba", "triton"] = "auto"

    def __post_init__(self):
        if isinstance(self.samples, bool) or not isinstance(self.samples, int) or self.samples < 1:
            raise InputError(f"samples is {self.samples!r}", where="RenderOptions", mend="Give a whole number above 0")
        if self.length_m is not None and not 0 < self.length_m < math.inf:
            raise InputError(f"length_m is {self.length_m!r}", where="RenderOptions", mend="Give metres, or None")
        if self.placement not in ("middle", "end") or not 0 <= self.stop < 1:
            raise InputError(f"placement is {self.placement!r} and stop {self.stop!r}", where="RenderOptions",
                             mend='Use placement="middle" or "end", and 0 <= stop < 1')
        if self.backend not in ("auto", "torch", "cylinder", "numba", "triton"):
            raise InputError(f"there is no backend {self.backend!r}", where="RenderOptions",
                             mend='Use "auto", "torch", "cylinder", "numba" or "triton"')
