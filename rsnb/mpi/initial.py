"""A first multiplane image without any optimisation: a plane sweep through the training pictures.

Each plane shows what the pictures agree on there, and is opaque where they agree best (photo-consistency, Collins 1996;
the greatest differences do not count, so that views from which a place is hidden do not spoil it: Kang, Szeliski,
Chai 2001). From such a start the optimisation needs hundreds of steps in place of thousands and finds the right depth.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from rsnb.geometry.cameras import pixel_centres
from rsnb.mpi.pictures import sample_picture
from rsnb.mpi.planes import plane_homographies
from rsnb.mpi.views import MpiFrame, ViewSet


def swept_plane(views: ViewSet, frame: MpiFrame, depth: float) -> tuple[Tensor, Tensor]:
    """All pictures as they would lie on the plane z = depth of the frame: [N, 3, H, W], and where they do [N, H, W]."""
    grid = pixel_centres(*frame.size[::-1], device=views.images.device)
    ones = torch.ones_like(grid[..., :1])
    homogeneous = torch.cat([grid, ones], -1)
    colours, seen = [], []
    for i in range(len(views)):
        camera = views.camera(i, frame)
        to_target = torch.linalg.inv(plane_homographies(camera.K_ref, camera.K_target, camera.ref_to_target,
                                                        torch.tensor([depth], dtype=torch.float64))[0])
        moved = homogeneous @ to_target.to(grid.device).T
        pixels = torch.where(moved[..., 2:] > 0, moved[..., :2] / moved[..., 2:], torch.nan)
        colour, inside = sample_picture(views.images[i], pixels)
        colours.append(colour)
        seen.append(inside)
    return torch.stack(colours), torch.stack(seen)


def sweep(views: ViewSet, frame: MpiFrame, depths: Tensor, agreeing: float = 0.8) -> tuple[Tensor, Tensor]:
    """What the pictures agree on at every plane, and how well.

    Args:
        views, frame: of one level.
        depths: [P].
        agreeing: share of the pictures that must agree on a place.

    Returns:
        colour [P, 3, H, W]: mean of the agreeing pictures (where none sees a place: the nearest colour that is known),
        cost [P, H, W]: their mean absolute distance to the first picture, or to the middle one where the first does
        not show the place, 0..1.
    """
    planes, costs = [], []
    for depth in depths.tolist():
        colours, seen = swept_plane(views, frame, depth)
        count = seen.sum(0)
        hidden = torch.where(seen[:, None], colours, torch.nan)
        middle = torch.where(seen[0], colours[0], hidden.nanmedian(dim=0).values)
        distance = (hidden - middle).abs().mean(1).nan_to_num(math.inf)
        order = distance.sort(dim=0)
        keep = (count * agreeing).ceil().clamp_min(2)
        chosen = (torch.arange(len(colours), device=keep.device)[:, None, None] < keep) & order.values.isfinite()
        weight = torch.zeros_like(distance).scatter(0, order.indices, chosen.to(distance.dtype))
        total = weight.sum(0).clamp_min(1.0)
        planes.append(fill_unknown((weight[:, None] * colours).sum(0) / total, count > 0))
        cost = torch.where(chosen, order.values, torch.zeros_like(order.values)).sum(0) / total
        costs.append(torch.where(count >= 2, cost, torch.full_like(cost, math.inf)))
    # Where fewer than two pictures show a place on a plane, that plane is as likely as the others on average.
    cost = torch.stack(costs)
    seen = cost.isfinite()
    mean = torch.where(seen, cost, 0.0).sum(0) / seen.sum(0).clamp_min(1)
    return torch.stack(planes), torch.where(seen, cost, mean)


def fill_unknown(colour: Tensor, known: Tensor) -> Tensor:
    """Colours [3, H, W] carried over to where none is known, coarser and coarser."""
    if known.all() or not known.any():
        return colour
    weight = known.to(colour.dtype)[None]
    filled, level_colour, level_weight = colour * weight, colour * weight, weight
    missing = ~known
    while missing.any():
        level_colour = F.avg_pool2d(level_colour[None], 2, ceil_mode=True)[0]
        level_weight = F.avg_pool2d(level_weight[None], 2, ceil_mode=True)[0]
        size = colour.shape[-2:]
        share = F.interpolate(level_weight[None], size, mode="nearest")[0]
        found = missing & (share[0] > 0)
        coarse = F.interpolate(level_colour[None], size, mode="nearest")[0] / share.clamp_min(1e-12)
        filled = torch.where(found, coarse, filled)
        missing = missing & ~found
    return filled


def aggregate(cost: Tensor, radius: int) -> Tensor:
    """Mean of the cost [P, H, W] over squares of 2 radius + 1 pixels, twice (a tent), borders repeated."""
    if radius == 0:
        return cost
    for _ in range(2):
        padded = F.pad(cost[None], (radius,) * 4, mode="replicate")
        cost = F.avg_pool2d(padded, 2 * radius + 1, stride=1)[0]
    return cost


def semi_global(cost: Tensor, step: float, jump: float) -> Tensor:
    """The cost [P, H, W] with what the neighbours along rows and columns think of it (Hirschmueller 2008, equation 13).

    Four paths, averaged: a neighbour one plane off costs `step`, one further off `jump`. Carries the depth of textured
    places into blank ones and settles repeated patterns, such as windows.
    """
    paths = []
    for turned in (False, True):
        volume = cost.transpose(1, 2) if turned else cost
        for backward in (False, True):
            path = _along_columns(volume.flip(1) if backward else volume, step, jump)
            path = path.flip(1) if backward else path
            paths.append(path.transpose(1, 2) if turned else path)
    return torch.stack(paths).mean(0)


def _along_columns(cost: Tensor, step: float, jump: float) -> Tensor:
    rows = [cost[:, 0]]
    for y in range(1, cost.shape[1]):
        before = rows[-1]
        least = before.amin(0)
        best = torch.minimum(before, least + jump)
        best[1:] = torch.minimum(best[1:], before[:-1] + step)
        best[:-1] = torch.minimum(best[:-1], before[1:] + step)
        rows.append(cost[:, y] + best - least)
    return torch.stack(rows, 1)


def likelihood(cost: Tensor, radius: int | None = None, floor: float = 0.05) -> Tensor:
    """Weight of each plane [P, H, W], adding up to 1.

    The cost is aggregated over squares and along paths, then softmax(-cost / temperature); `floor` is shared by all
    planes. Penalties and temperature are in units of the scene's own noise, the median of the least cost: 0.01 in a
    rendered scene, 0.05 in hand-held photographs. The squares' radius is 1 pixel in small pictures and grows with them
    if it is not given.
    """
    radius = max(1, round(cost.shape[-1] / 300)) if radius is None else radius
    cost = aggregate(cost, radius)
    noise = float(cost.amin(0).median().clamp(0.005, 0.05))
    cost = semi_global(cost, 0.4 * noise, 4 * noise)
    return (1 - floor) * torch.softmax(-cost / (0.3 * noise), dim=0) + floor / len(cost)


def thickness(weights: Tensor, most: float = 3.0) -> Tensor:
    """Optical thickness tau [P, H, W] that gives these compositing weights, front to back; at most `most`.

    w_i = T_i (1 - exp(-tau_i)) with T_i = 1 - sum of the weights in front, hence tau_i = -log(1 - w_i / T_i).
    """
    behind = 1 - weights.cumsum(0) + weights
    alpha = weights / behind.clamp_min(1e-6)
    return -torch.log1p(-alpha.clamp(0, min(1 - math.exp(-most), 1 - 1e-7)))


def exposure_factors(views: ViewSet, frame: MpiFrame, depths: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and offset [N, 3] that make each picture look as the first one does where both look.

    Mean and standard deviation over the common area of a plane are matched, averaged over near, middle and far planes:
    for that the pictures need not be aligned to the pixel.
    """
    gains, offsets = [], []
    for depth in depths[[0, len(depths) // 2, -1]].tolist():
        colours, seen = swept_plane(views, frame, depth)
        for i in range(len(views)):
            both = seen[0] & seen[i]
            if both.sum() < 16:
                gain, offset = views.images.new_ones(3), views.images.new_zeros(3)
            else:
                own, first = colours[i][:, both], colours[0][:, both]
                gain = (first.std(1) / own.std(1).clamp_min(1e-3)).clamp(0.5, 2.0)
                offset = first.mean(1) - gain * own.mean(1)
            gains.append(gain)
            offsets.append(offset)
    return tuple(torch.stack(v).reshape(3, len(views), 3).mean(0) for v in (gains, offsets))


def match_exposure(views: ViewSet, frame: MpiFrame, depths: Tensor) -> ViewSet:
    """The pictures with gain and offset of `exposure_factors`: photographs with automatic exposure need it."""
    gain, offset = exposure_factors(views, frame, depths)
    return replace(views, images=(views.images * gain[..., None, None] + offset[..., None, None]).clamp(0, 1))
