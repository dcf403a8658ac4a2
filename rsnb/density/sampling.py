"""Where rays are sampled: one answer for all backends, in float64.

Sample k of a ray lies (k + offset) step from its origin. It counts where density may be: within the walls of the
volume, and above the ground where that is a plane.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame

LEAST_DIP = 1e-9  # sine of the angle under the horizon from which on a ray meets the plane


class Steps(NamedTuple):
    """Equal steps: sample k at (k + offset) size metres, for k in 0 .. count."""

    size: float
    offset: float
    count: int

    @classmethod
    def of(cls, options: RenderOptions, length_m: float) -> Steps:
        """Those of the options, on rays of a length."""
        length = length_m if options.length_m is None else options.length_m
        return cls(length / options.samples, 0.5 if options.placement == "middle" else 1.0, options.samples)

    def distances(self, k: Tensor) -> Tensor:
        """Of samples k [...], metres, float64."""
        return (k.double() + self.offset) * self.size


class Spans(NamedTuple):
    """Which samples of each ray count, and where it meets the ground.

    Attributes:
        first, end: [..., ] int64, samples first .. end (excluded).
        ground: [...] float64, distance to the plane, metres; infinite where it is not met, or is none.
    """

    first: Tensor
    end: Tensor
    ground: Tensor


def walls(volume: DensityVolume) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Lowest and highest x, y, z between which density may be above 0, metres."""
    margin = rise = 0.0
    if volume.edges == "fade":
        margin, rise = volume.frame.extent_m / volume.sigma.shape[-1] / 2, volume.slice_m / 2
    half = volume.frame.half_m + margin
    bottom = 0.0 if volume.ground == "plane" else -rise
    return (-half, -half, bottom), (half, half, volume.frame.ceiling_m + rise)


def to_indices(volume: DensityVolume) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and shift from metres to (column, row, slice) of `volume.slices` and (column, row) of the tile, centres at
    whole numbers: x, y, z, x, y."""
    size, colours, extent = volume.sigma.shape[-1], volume.tile.shape[-1], volume.frame.extent_m
    scale = (size / extent, -size / extent, 1 / volume.slice_m, colours / extent, -colours / extent)
    return scale, (size / 2 - 0.5, size / 2 - 0.5, -0.5, colours / 2 - 0.5, colours / 2 - 0.5)


def with_length(options: RenderOptions, frame: TileFrame, origins: Tensor) -> RenderOptions:
    """The options with the length of rays that all cameras [..., 3] together need, where none is given.

    Cameras that are rendered some at a time then have the same steps, whoever shares their batch.
    """
    if options.length_m is not None or not len(origins):
        return options
    return replace(options, length_m=_to_farthest_corner(frame, origins))


def farthest_corner(volume: DensityVolume, origins: Tensor) -> float:
    """Metres from the origin [..., 3] that is farthest out to the corner of the volume that is farthest from it."""
    return _to_farthest_corner(volume.frame, origins)


def _to_farthest_corner(frame: TileFrame, origins: Tensor) -> float:
    half, ceiling = frame.half_m, frame.ceiling_m
    away = origins.abs()
    height = torch.maximum(away[..., 2], (origins[..., 2] - ceiling).abs())
    return float(torch.sqrt((away[..., 0] + half) ** 2 + (away[..., 1] + half) ** 2 + height**2).max())


def farthest_exit(volume: DensityVolume, origins: Tensor, directions: Tensor) -> float:
    """Metres to where the last of the rays leaves the volume; the ceiling where none meets it."""
    entry, leave = _between_walls(volume, origins, directions)
    farthest = float(torch.where(entry <= leave, leave, 0.0).max())
    return farthest if farthest > 0 else volume.frame.ceiling_m


def spans(volume: DensityVolume, origins: Tensor, directions: Tensor, steps: Steps) -> Spans:
    """The samples that count, of rays with origins and unit directions [..., 3] in tile metres, float64."""
    entry, leave = _between_walls(volume, origins, directions)
    first = torch.ceil(entry / steps.size - steps.offset).clamp(0, steps.count)
    end = (torch.floor(leave / steps.size - steps.offset) + 1).clamp(0, steps.count)
    ground = plane_distance(volume, origins, directions)
    if volume.ground == "plane":
        # a sample on the plane itself is the plane's
        end = torch.minimum(end, torch.ceil(ground / steps.size - steps.offset))
    return Spans(first.long(), torch.maximum(first, end).long(), ground)


def plane_distance(volume: DensityVolume, origins: Tensor, directions: Tensor) -> Tensor:
    """[...] metres along the rays to the plane z = 0; infinite for those that do not dip, or where no plane is."""
    height, rise = torch.broadcast_tensors(origins[..., 2], directions[..., 2])
    if volume.ground != "plane":
        return torch.full_like(rise, math.inf)
    dips = rise < -LEAST_DIP
    return torch.where(dips, height / torch.where(dips, -rise, 1.0), math.inf)


def _between_walls(volume: DensityVolume, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Distances [...] at which rays enter (0 inside) and leave the walls; those that miss them leave before."""
    low, high = (origins.new_tensor(wall) for wall in walls(volume))
    level = directions == 0
    slope = torch.where(level, 1.0, directions)
    near, far = (low - origins) / slope, (high - origins) / slope
    near, far = torch.minimum(near, far), torch.maximum(near, far)
    within = (origins >= low) & (origins <= high)
    near = torch.where(level, torch.where(within, -math.inf, math.inf), near)
    far = torch.where(level, torch.where(within, math.inf, -math.inf), far)
    return near.amax(dim=-1).clamp(min=0), far.amin(dim=-1)
