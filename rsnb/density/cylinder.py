"""Panoramas of a level camera in two interpolations: what a training step renders with.

All columns of a panorama share one pattern: sample k of row i lies at radius r = t cos(lat) and height z + t sin(lat),
whatever the bearing. So the slices are first resampled on circles about the camera, one spoke a column, and then whole
columns at a time between circles and slices. Samples outside the walls, above the ceiling and below the ground are
never made. The first step smooths a little, as circles lie half a pixel of the volume apart: on a volume of thin walls
the opacity differs by 0.0003 and the distance by 1 cm from `march_torch`, on the mean.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from rsnb.density.march_torch import colour_at
from rsnb.density.sampling import Steps, plane_distance, walls
from rsnb.density.volume import DensityVolume, Rendered

CIRCLES_A_PIXEL = 2.0  # of the volume; with 1 gradients are off by some 20 %, with 2 by some 3 %
NUMBERS_AT_A_TIME = 24576  # of an operation in the loops: from 32768 on all threads wait for each other at each one
LEAST = 1e-12  # what is left of a ray is 0 below: numbers under 1e-38 take a hundred times as long


def render_cylinder(volume: DensityVolume, positions: Tensor, bearings: Tensor, elevations: Tensor,
                    steps: Steps) -> Rendered:
    """Panoramas [B, 3, H, W], in the volume's precision; gradients for sigma and tile.

    Args:
        volume: B tiles.
        positions: [B, 3] float64 camera, tile metres.
        bearings: [B, W] float64, of the columns, radians from north, clockwise.
        elevations: [H] float64, of the rows, radians above the horizon.
        steps: along the rays.
    """
    pattern = _pattern(volume, positions, elevations, steps, bearings.shape[1])
    around = torch.stack([torch.sin(bearings), torch.cos(bearings)], dim=-1)  # [B, W, 2]
    radii = torch.arange(pattern.circles, device=positions.device).double() * pattern.spacing
    places = positions[:, None, None, :2] + radii[:, None, None] * around[:, None]  # [B, R, W, 2]
    densities = _on_circles(volume, places)
    colours = colour_at(volume, places).permute(0, 2, 1, 3).flatten(0, 1)  # [B R, 3, W]
    rgb, left, distance = _Composite.apply(densities, colours, pattern, steps.size)
    rgb, left, distance = (part[pattern.rank] for part in (rgb, left, distance))
    shape = (len(volume), len(elevations))
    rgb, left, distance = (part.unflatten(0, shape) for part in (rgb, left, distance))  # [B, H, (3,) W]
    rgb, opacity = rgb.transpose(1, 2), 1 - left
    if volume.ground == "plane":
        rays = torch.stack([torch.cos(elevations), torch.zeros_like(elevations), torch.sin(elevations)], dim=-1)
        reach = plane_distance(volume, positions[:, None], rays)  # [B, H]
        met = torch.isfinite(reach)
        reach = torch.where(met, reach, 0.0)
        floor = colour_at(volume, positions[:, None, None, :2]
                          + (reach * rays[:, 0])[..., None, None] * around[:, None])
        left = left * met[..., None]
        rgb = rgb + left[:, None] * floor
        distance = distance + left * reach[..., None].to(left)
        opacity = torch.where(met[..., None], 1.0, opacity)
    return Rendered(rgb, opacity, distance)


class _Pattern(NamedTuple):
    """The samples of all rows of all cameras. Rows stand sorted by their number of samples, the longest first, and in
    groups. Those samples of a group that are the m-th of their row lie side by side, m = 0, 1, ...: the rows that still
    go on are always the first ones of the group.

    Attributes:
        rank: [B H], where the row b H + i stands.
        groups: of each, its rows and how many of them have an m-th sample, for each m.
        cells: [N, 4] int64 into the densities [B D R]; shares: [N, 4] of each.
        ring: [N] int64 into the colours [B R], between which and the next the sample lies; way: [N, 1, 1] how far.
        t: [N, 1] distance, metres.
        circles, spacing: number of circles, metres between them; the first is the camera.
    """

    rank: Tensor
    groups: list[tuple[slice, list[int]]]
    cells: Tensor
    shares: Tensor
    ring: Tensor
    way: Tensor
    t: Tensor
    circles: int
    spacing: float


def _pattern(volume: DensityVolume, positions: Tensor, elevations: Tensor, steps: Steps, width: int) -> _Pattern:
    low, high = walls(volume)
    outermost = float(torch.linalg.vector_norm(positions[:, :2].abs() + high[0], dim=-1).max())
    outermost = min(outermost, (steps.count + 1) * steps.size)
    spacing = volume.frame.extent_m / volume.sigma.shape[-1] / CIRCLES_A_PIXEL
    circles = math.ceil(outermost / spacing) + 2
    t = steps.distances(torch.arange(steps.count, device=positions.device))
    r = t * torch.cos(elevations)[:, None]  # [H, K]
    z = positions[:, 2, None, None] + t * torch.sin(elevations)[:, None]  # [B, H, K]
    inside = (z <= high[2]) & (z > 0 if volume.ground == "plane" else z >= low[2]) & (r <= outermost)
    inside = inside.flatten(0, 1)
    lengths, order = torch.sort(inside.sum(dim=1), descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    # the samples that count are in a row: the m-th one is that many after the first
    first = inside.to(torch.uint8).argmax(dim=1)[order]
    at_a_time = len(order) if order.device.type != "cpu" else max(1, NUMBERS_AT_A_TIME // (3 * width))
    groups, m, place = _groups(lengths, at_a_time)
    sample, row = first[place] + m, order[place]
    b, i = row // len(elevations), row % len(elevations)
    ring = r[i, sample] / spacing
    inner = ring.floor().clamp(max=circles - 2)
    level = z[b, i, sample] / volume.slice_m - 0.5
    cells, shares = _around(volume, level, ring, inner, b, circles)
    single = volume.sigma.dtype
    return _Pattern(rank, groups, cells, shares.to(single),
                    b * circles + inner.long(), (ring - inner)[:, None, None].to(single), t[sample, None].to(single),
                    circles, spacing)


def _around(volume: DensityVolume, level: Tensor, ring: Tensor, inner: Tensor, b: Tensor,
            circles: int) -> tuple[Tensor, Tensor]:
    """Cells [N, 4] between two slices and two circles, and what each counts; nothing beyond the outer slices if faded.
    """
    depth = volume.sigma.shape[1] + (volume.ground == "slab")
    if volume.edges == "hold":
        level = level.clamp(0, depth - 1)
    lower = level.floor()
    cells, shares = [], []
    for slice_, up in ((lower, 1 - (level - lower)), (lower + 1, level - lower)):
        up = torch.where((slice_ >= 0) & (slice_ < depth), up, 0.0)
        slice_ = slice_.clamp(0, depth - 1)
        for circle, out in ((inner, 1 - (ring - inner)), (inner + 1, ring - inner)):
            cells.append((b * depth + slice_.long()) * circles + circle.long())
            shares.append(up * out)
    return torch.stack(cells, dim=1), torch.stack(shares, dim=1)


def _groups(lengths: Tensor, rows: int) -> tuple[list[tuple[slice, list[int]]], Tensor, Tensor]:
    """Groups of so many rows, of descending lengths, and the number in its row and the row of all samples in order."""
    count = torch.arange(int(lengths[0]), device=lengths.device)
    m, place = torch.nonzero(count[:, None] < lengths, as_tuple=True)
    order = torch.argsort(place // rows, stable=True)
    groups = []
    for start in range(0, len(lengths), rows):
        part = lengths[start:start + rows].cpu()
        sizes = (torch.arange(int(part[0]))[:, None] < part).sum(dim=1).tolist()
        groups.append((slice(start, start + len(part)), sizes))
    return groups, m[order], place[order]


def _on_circles(volume: DensityVolume, places: Tensor) -> Tensor:
    """[B D R, W] density of all slices at places [B, R, W, 2]."""
    slices, half = volume.slices, volume.frame.half_m
    grid = (places / places.new_tensor([half, -half])).to(slices.dtype)
    if volume.edges == "fade":
        return F.grid_sample(slices, grid, padding_mode="zeros", align_corners=False).flatten(0, 2)
    inside = (grid.abs() <= 1).all(dim=-1)[:, None]
    return F.grid_sample(slices, grid, padding_mode="border", align_corners=False).mul_(inside).flatten(0, 2)


class _Composite(torch.autograd.Function):
    """Sums of w c [Q, 3, W], what is left of T [Q, W], and sums of w t [Q, W], of the rows in the pattern's order."""

    @staticmethod
    def forward(ctx, densities, colours, pattern, step):
        rows, width = len(pattern.rank), densities.shape[1]
        kept = F.embedding_bag(pattern.cells, densities, per_sample_weights=pattern.shares, mode="sum")
        F.threshold_(kept.mul_(-step).exp_(), LEAST, 0.0)  # of each sample, [N, W]
        before = torch.empty_like(kept)  # T
        sums = (densities.new_zeros(rows, 3, width), densities.new_ones(rows, width), densities.new_zeros(rows, width))
        start = 0
        for group, sizes in pattern.groups:
            rgb, left, distance = (part[group] for part in sums)
            for size in sizes:
                part = slice(start, start + size)
                start += size
                before[part] = left[:size]
                F.threshold_(left[:size].mul_(kept[part]), LEAST, 0.0)
                weights = before[part] - left[:size]
                rgb[:size].addcmul_(weights[:, None], _colour(colours, pattern, part))
                distance[:size].addcmul_(weights, pattern.t[part])
        ctx.save_for_backward(kept, before, sums[1], colours)
        ctx.pattern, ctx.step, ctx.cells = pattern, step, len(densities)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx, to_rgb, to_left, to_distance):
        kept, before, left, colours = ctx.saved_tensors
        pattern = ctx.pattern
        to_tau = torch.empty_like(kept)
        to_colours = torch.zeros_like(colours) if ctx.needs_input_grad[1] else None
        start = len(kept)
        for group, sizes in reversed(pattern.groups):
            from_rgb, from_distance = to_rgb[group], to_distance[group]
            behind = left[group] * to_left[group]  # what all that lies behind a sample is worth
            for size in reversed(sizes):
                part = slice(start - size, start)
                start -= size
                passed = before[part] * kept[part]
                weights = before[part] - passed
                worth = (from_rgb[:size] * _colour(colours, pattern, part)).sum(dim=1)
                worth.addcmul_(from_distance[:size], pattern.t[part])
                # the sample itself gains what passes it, all behind loses what it is worth
                torch.mul(passed, worth, out=to_tau[part]).sub_(behind[:size])
                behind[:size].addcmul_(weights, worth)
                if to_colours is not None:
                    share = weights[:, None] * from_rgb[:size]
                    way, ring = pattern.way[part], pattern.ring[part]
                    to_colours.index_add_(0, ring, share * (1 - way))
                    to_colours.index_add_(0, ring + 1, share * way)
        return _back_to_cells(to_tau, pattern, ctx.step, ctx.cells), to_colours, None, None


def _colour(colours: Tensor, pattern: _Pattern, part: slice) -> Tensor:
    """[n, 3, W] of some samples."""
    ring = pattern.ring[part]
    return torch.lerp(colours.index_select(0, ring), colours.index_select(0, ring + 1), pattern.way[part])


def _back_to_cells(to_tau: Tensor, pattern: _Pattern, step: float, cells: int) -> Tensor:
    """[cells, W] gradient of the densities: as many weighted sums again, of the samples that each has a share in."""
    cell, order = torch.sort(pattern.cells.flatten(), stable=True)
    starts = torch.searchsorted(cell, torch.arange(cells, device=cell.device))
    shares = pattern.shares.flatten()[order] * step
    return F.embedding_bag(order // 4, to_tau, starts, per_sample_weights=shares, mode="sum")
