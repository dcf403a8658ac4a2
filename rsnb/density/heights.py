"""What a density volume says about heights: upright rays in closed form, occupied voxels, and the way back.

Along an upright ray through the middle of a voxel column the density is linear between the slices' centres, exactly as
the renderer interpolates it, so the optical depth is a piecewise parabola: nothing here is sampled. Everything is
computed in float64 without gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from scipy.special import dawsn, erfcx
from torch import Tensor

from rsnb.density.volume import DensityVolume, Ground, RenderOptions, TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import NadirCamera
from rsnb.geometry.poses import nadir_pose

HowHigh = Literal["termination", "median"]
OPAQUE = 40.0  # optical depth of one slice of what is solid: e^-40 of the light passes
FLAT = 1e-10  # below this curvature of the optical depth (b L^2) a segment is taken as constant: as large an error
# five nodes integrate a segment as thin as this to rounding, where the closed forms would cancel
THIN = 0.05
NODES, WEIGHTS = np.polynomial.legendre.leggauss(5)


def height_map(volume: DensityVolume, how: HowHigh = "termination", opacity: float = 0.5) -> Tensor:
    """Heights of the surface that a ray from straight above meets.

    Args:
        volume: B volumes. The ground ("plane" or not) ends every ray at z = 0; with ground="slab" the slab is the
            lowest slice, so that bare ground is about one slice high, as in Sat2Density.
        how: "termination": the expected height at which the ray ends, the integral of 1 - T(z), T(z) = exp(-optical
            depth above z); "median": where the opacity gathered from above passes `opacity`, 0 where it never does.
        opacity: for "median", between 0 and 1.

    Returns:
        [B, S, S] metres, 0..ceiling_m (half a slice more with edges="fade"), precision and device of sigma.

    Raises:
        InputError: an unknown `how`, an opacity outside 0..1, densities that are negative or not finite.
    """
    if how not in ("termination", "median"):
        raise InputError(f"there is no height of kind {how!r}", where="height_map",
                         mend='Use "termination" or "median"')
    if not 0 < opacity < 1:
        raise InputError(f"opacity is {opacity!r}", where="height_map", mend="Give a share between 0 and 1")
    heights = np.zeros(_columns(volume))
    depth = np.zeros_like(heights)
    level = -math.log1p(-opacity)
    for top, length, above, below in _segments(volume):
        gained = (above + below) / 2 * length
        if how == "termination":
            # what is stopped, not 1 - what passes: nothing above the ground must give 0, not a rounding error
            heights -= np.expm1(-depth) * length - np.exp(-depth) * _stopped(above, below, length)
        else:
            passed = (depth < level) & (depth + gained >= level)
            heights[passed] = (top - _reached(above, below, length, level - depth))[passed]
        depth += gained
    return torch.as_tensor(heights).to(volume.sigma)


def optical_depth_above(volume: DensityVolume, heights) -> Tensor:
    """Integral of the density from z = `heights` to the top of the volume, over the middle of each voxel column.

    The ground plane is no part of it; a slab is.

    Args:
        volume: B volumes.
        heights: [B, S, S] or anything that broadcasts to it, metres; below 0 counts as 0.

    Returns:
        [B, S, S] float64.

    Raises:
        InputError: heights of another shape, or densities that are negative or not finite.
    """
    wanted = _columns(volume)
    try:
        heights = np.broadcast_to(as_array(heights), wanted)
    except ValueError as error:
        raise InputError(f"heights have shape {np.shape(heights)}, the volume has columns {wanted}",
                         where="optical_depth_above") from error
    depth = np.zeros(wanted)
    for top, length, above, below in _segments(volume):
        part = np.clip(top - heights, 0, length)
        depth += above * part + (below - above) * part**2 / (2 * length)
    return torch.as_tensor(depth)


def occupancy(volume: DensityVolume, threshold: float = 0.5, slices: int | None = None) -> Tensor:
    """Voxels that stop more than a share of the light that crosses them from top to bottom.

    The density of a voxel is that of its centre, over the height of one slice: occupied where
    1 - exp(-sigma slice_m) > threshold.

    Args:
        volume: B volumes.
        threshold: between 0 and 1.
        slices: count them anew, each with the value of the slice at its centre; None = as many as the volume has.

    Returns:
        [B, D, S, S] bool over 0..ceiling_m, slice 0 lowest. Sat2Density's slab is ground and says nothing of what
        stands in its height: there a column is what it is in the slice above.

    Raises:
        InputError: a threshold outside 0..1, or fewer than one slice.
    """
    if not 0 < threshold < 1:
        raise InputError(f"threshold is {threshold!r}", where="occupancy", mend="Give a share between 0 and 1")
    filled = volume.slices * volume.slice_m > -math.log1p(-threshold)
    if volume.ground == "slab":
        filled[:, 0] = filled[:, 1]
    if slices is None:
        return filled
    if isinstance(slices, bool) or not isinstance(slices, int) or slices < 1:
        raise InputError(f"slices is {slices!r}", where="occupancy", mend="Give a whole number above 0")
    centres = (torch.arange(slices, device=filled.device) + 0.5) * (filled.shape[1] / slices)
    return filled[:, centres.long()]


def column_filled(occupied) -> Tensor:
    """[..., D, S, S] bool: occupied voxels and all below them; a hollow volume becomes solid."""
    occupied = torch.as_tensor(occupied).bool()
    return occupied.flip(-3).cumsum(-3).flip(-3) > 0


def volume_from_heights(heights, tile: Tensor, frame: TileFrame, slices: int,
                        ground: Ground = "plane") -> DensityVolume:
    """A solid volume under a height map: what a method that predicts heights alone says about street views.

    The highest slice whose centre is below the surface gets the density with which `height_map(..., "median")` gives
    the height back, to a fifth of a slice; what is lower than a quarter of a slice becomes ground.

    Args:
        heights: [B, S, S] metres; clipped to 0..ceiling_m.
        tile: [B, 3, C, C] colours.
        frame: extent and ceiling.
        slices: D of the volume.
        ground: "plane" or "none".

    Raises:
        InputError: heights that are not [B, S, S] or not finite; ground="slab".
    """
    heights = torch.as_tensor(heights, dtype=tile.dtype, device=tile.device).detach()
    if heights.ndim != 3 or not torch.isfinite(heights).all() or ground == "slab":
        raise InputError(f"heights {tuple(heights.shape)} (finite?) over ground {ground!r}",
                         where="volume_from_heights", mend='Give finite metres [B, S, S] and ground="plane" or "none"')
    step = frame.ceiling_m / slices
    centres = (torch.arange(slices, dtype=tile.dtype, device=tile.device)[:, None, None] + 0.5) * step
    # seen from above the density grows linearly from the empty centre of slice k + 1 to s at that of slice k, so the
    # optical depth x below that centre is s x^2 / (2 step); it shall be ln 2 at the surface
    z = heights.clamp(0, frame.ceiling_m)[:, None]
    below_next = centres + step - z
    needed = 2 * step * math.log(2) / below_next.clamp(min=1e-6) ** 2
    # above the highest centre and below the lowest the density is constant: s (ceiling - z), s (step - z)
    needed[:, -1:] = torch.where(z > centres[-1], math.log(2) / (frame.ceiling_m - z).clamp(min=1e-6), needed[:, -1:])
    needed[:, :1] = torch.where(z < centres[0], math.log(2) / (step - z).clamp(min=1e-6), needed[:, :1])
    cut = (z >= centres) & (z < centres + step)
    cut[:, :1] |= (z < centres[0]) & (z >= step / 4)
    sigma = torch.where(cut, needed.clamp(max=OPAQUE / step), torch.where(z >= centres, OPAQUE / step, 0.0))
    return DensityVolume(sigma.to(tile.dtype), tile, frame, ground)


def published_heights(volume: DensityVolume, samples: int = 100) -> Tensor:
    """Heights as Sat2Density computes them: upright rays from one tile side above the ground down to it.

    The steps are longer than a slice and the distance is not divided by the opacity, so that whatever is transparent
    looks high; with the published sizes a step is 0.30 m (CVACT) or 0.55 m (CVUSA). Bare ground is at 0 only with
    ground="slab" or "plane".

    Args:
        volume: B volumes.
        samples: of a ray.

    Returns:
        [B, S, S] metres.
    """
    from rsnb.density.render import render_view

    size = volume.sigma.shape[-1]
    reach = volume.frame.extent_m
    camera = NadirCamera(reach / size, size, size)
    seen = render_view(volume, camera, nadir_pose([0.0, 0.0, reach]),
                       RenderOptions(samples=samples, length_m=reach, placement="end"))
    return reach - seen.distance


def as_array(values) -> np.ndarray:
    """Tensors and arrays as float64 arrays."""
    values = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    return np.asarray(values, np.float64)


def _columns(volume: DensityVolume) -> tuple[int, int, int]:
    """(B, S, S), after a look at the densities."""
    sigma = volume.sigma.detach()
    if not (torch.isfinite(sigma).all() and (sigma >= 0).all()):
        raise InputError("densities are negative, NaN or infinite", where="DensityVolume",
                         mend="Look at the training: a density net ends in a function that is finite and not negative")
    return sigma.shape[0], *sigma.shape[2:]


def _segments(volume: DensityVolume) -> Iterator[tuple[float, float, np.ndarray, np.ndarray]]:
    """From the top down to z = 0: height of the upper end, length, and the densities [B, S, S] at both ends."""
    slices, step = as_array(volume.slices), volume.slice_m
    count = slices.shape[1]
    if volume.edges == "fade":
        yield volume.frame.ceiling_m + step / 2, step, np.zeros_like(slices[:, 0]), slices[:, -1]
    else:
        yield volume.frame.ceiling_m, step / 2, slices[:, -1], slices[:, -1]
    for k in range(count - 1, 0, -1):
        yield (k + 0.5) * step, step, slices[:, k], slices[:, k - 1]
    yield step / 2, step / 2, slices[:, 0], slices[:, 0] / (2 if volume.edges == "fade" else 1)


def _stopped(above: np.ndarray, below: np.ndarray, length: float) -> np.ndarray:
    """Integral of 1 - exp(-(a u + b u^2)) over 0..length, with a = above and 2 b length = below - above."""
    gained = (above + below) / 2 * length
    bend = (below - above) / (2 * length)
    out = np.zeros_like(gained)
    thin = gained < THIN
    flat = ~thin & (np.abs(bend) * length**2 < FLAT)
    for sign, kernel in ((1, lambda x: math.sqrt(math.pi) / 2 * erfcx(x)), (-1, dawsn)):
        curved = ~thin & ~flat & (sign * bend > 0)
        root = np.sqrt(np.abs(bend[curved]))
        at_top, at_bottom = (kernel(density[curved] / (2 * root)) for density in (above, below))
        out[curved] = length - (at_top - np.exp(-gained[curved]) * at_bottom) / root
    out[flat] = length + np.expm1(-gained[flat]) * length / gained[flat]
    u = (NODES + 1) / 2 * length
    out[thin] = -np.expm1(-(above[thin, None] * u + bend[thin, None] * u**2)) @ (WEIGHTS / 2 * length)
    return out


def _reached(above: np.ndarray, below: np.ndarray, length: float, wanted: np.ndarray) -> np.ndarray:
    """How far below the upper end of a segment its optical depth is `wanted`; nonsense where it never is."""
    bend = (below - above) / (2 * length)
    root = np.sqrt(np.clip(above**2 + 4 * bend * wanted, 0, None))
    return 2 * wanted / np.maximum(above + root, 1e-200)
