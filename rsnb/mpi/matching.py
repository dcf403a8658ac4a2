"""How well pictures agree on planes, from colour and from detail, and the one-picture multiplane image that follows.

Photographs of one place differ in exposure, flare and vignetting. What stays is local detail: the picture minus its
mean over a square. Both are compared, so that blank walls are told apart by colour and bright ones by their joints.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from rsnb.mpi.initial import fill_unknown, likelihood, match_exposure, swept_plane, thickness
from rsnb.mpi.plane_state import plane_gaps
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.views import MpiFrame, ViewSet

EXPOSURE_PAYS = 0.1  # of the difference between pictures that matching their exposure must take away
LEAST_SIDE = 64  # pixels: as small as pictures are made whose exposure is measured
COLOUR_SHARE = 0.5  # of a difference in colour, beside one in detail


def with_detail(views: ViewSet) -> ViewSet:
    """The views with six channels: colour, and colour minus its mean over a square (a fiftieth of the width)."""
    images = views.images
    radius = min(max(3, round(images.shape[-1] / 100)), min(images.shape[-2:]) - 1)
    mean = F.avg_pool2d(F.pad(images, (radius,) * 4, mode="replicate"), 2 * radius + 1, 1)
    return replace(views, images=torch.cat([images, images - mean], 1))


def matching_cost(views: ViewSet, frame: MpiFrame, depths: Tensor, agreeing: float = 0.5) -> Tensor:
    """How far the other pictures are from the first one on every plane.

    Args:
        views: of the frame's level; the first is the one that the others are compared with.
        frame: of the planes.
        depths: [P].
        agreeing: share of the others that counts, the best of them (Kang, Szeliski, Chai 2001): the rest may be hidden.

    Returns:
        [P, H, W]; a plane on which nothing can be compared there costs what the others do on average.
    """
    detailed = with_detail(views)
    rows = []
    for depth in depths.tolist():
        colours, seen = swept_plane(detailed, frame, depth)
        both = seen[1:] & seen[:1]
        apart = (colours[1:] - colours[:1]).abs()
        distance = COLOUR_SHARE * apart[:, :3].mean(1) + apart[:, 3:].mean(1)
        distance = torch.where(both, distance, torch.inf).sort(dim=0).values
        keep = (both.sum(0) * agreeing).ceil()
        chosen = torch.arange(len(distance), device=keep.device)[:, None, None] < keep
        rows.append(torch.where(keep > 0, torch.where(chosen, distance, 0.0).sum(0) / keep.clamp_min(1), torch.inf))
    cost = torch.stack(rows)
    known = cost.isfinite()
    mean = torch.where(known, cost, 0.0).sum(0) / known.sum(0).clamp_min(1)
    return torch.where(known, cost, mean)


@torch.no_grad()
def exposure_gain(views: ViewSet, frame: MpiFrame, depths: Tensor) -> float:
    """By what share pictures agree better once their exposure is matched to the first one's; below 0: worse.

    What counts is the median over the pixels of the difference on the plane where they agree best. Means over pictures
    would not do: they differ for what is hidden as well.
    """
    while min(views.images.shape[-2:]) > 2 * LEAST_SIDE and not (frame.size[0] % 2 or frame.size[1] % 2):
        views, frame = views.at_level(1), frame.at_level(1)
    depths = depths[:: max(1, len(depths) // 24)]
    matched_views = match_exposure(views, frame, depths)
    plain, matched = (matching_cost(given, frame, depths).amin(0) for given in (views, matched_views))
    told = plain > 0  # 0 where no other picture shows the place, or all is black
    if told.sum() < 16:
        return 0.0
    # in units of the pictures' contrast: two that were washed out until nothing is left agree as well
    contrast = [float(given.images[1:].std().clamp_min(1e-3)) for given in (views, matched_views)]
    return 1 - float(matched[told].median()) / contrast[1] / max(float(plain[told].median()) / contrast[0], 1e-6)


@torch.no_grad()
def matched_mpi(views: ViewSet, frame: MpiFrame, depths: Tensor, halvings: int = 0) -> OptimisedMpi:
    """A multiplane image of the first picture, its planes opaque where the others agree with it.

    All planes have the first picture's own colours; beyond its border the mean of what the others show there.

    Args:
        views: relative to the frame; the first is the frame's own camera.
        frame: its sides are multiples of 2^halvings.
        depths: [P].
        halvings: depth is looked for in pictures halved that often, and enlarged: cheaper, and edges a little softer.
    """
    coarse, coarse_frame = views.at_level(halvings), frame.at_level(halvings)
    if exposure_gain(coarse, coarse_frame, depths) > EXPOSURE_PAYS:
        coarse, views = match_exposure(coarse, coarse_frame, depths), match_exposure(views, frame, depths)
    weights = likelihood(matching_cost(coarse, coarse_frame, depths))
    if halvings:
        weights = F.interpolate(weights[None], frame.size, mode="bilinear", align_corners=False)[0]
    mpi = views.images.new_empty((len(depths), 4, *frame.size))
    mpi[:, 3] = thickness(weights) / plane_gaps(depths).to(mpi)[:, None, None]
    top, left, height, width = frame.inset
    padded = frame.size != (height, width)
    for plane, depth in zip(mpi, depths.tolist(), strict=True):
        if padded:
            colours, seen = swept_plane(views, frame, depth)
            count = seen.sum(0)
            plane[:3] = fill_unknown((colours * seen[:, None]).sum(0) / count.clamp_min(1), count > 0)
        plane[:3, top : top + height, left : left + width] = views.images[0]
    return OptimisedMpi(mpi, depths, frame)
