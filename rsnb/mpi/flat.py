"""A picture on a board: what is left for a view that shares too little with any other to know its depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from rsnb.mpi.plane_state import plane_gaps
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.views import padded_frame, view_rows
from rsnb.scenes import PosedImages

OPAQUE = 20.0  # optical thickness


def flat_mpi(views: PosedImages, name: str, near_far: tuple[float, float], planes: int = 32, points=None,
             others: Sequence[str] = (), max_pad: float = 0.25) -> OptimisedMpi:
    """One picture on the plane that is nearest to the scene's middle depth; nothing beyond its border.

    Args:
        views: with the picture.
        name: of the view; the planes are parallel to its camera.
        near_far: z depth of the first and last plane.
        planes: P, so that it can be blended and exported like any other.
        points: [N, 3] sparse points in the world: the depth is the harmonic mean of those in the picture; without any,
            of near and far.
        others: views that the frame should cover, as for `padded_frame`.
        max_pad: see there.

    Returns:
        `OptimisedMpi` with an empty history.
    """
    i = int(view_rows(views, [name])[0])
    frame = padded_frame(views, name, others, near_far, max_pad)
    depths = plane_depths(*near_far, planes)
    inverse = _inverse_depth(views, i, near_far, points)
    plane = int((1 / depths - inverse).abs().argmin())
    top, left, height, width = frame.inset
    margins = (left, frame.size[1] - left - width, top, frame.size[0] - top - height)
    mpi = torch.zeros(planes, 4, *frame.size)
    # colours go on beyond the border, where nothing is dense: else its outermost half pixel would darken
    mpi[:, :3] = F.pad(torch.as_tensor(views.images[i])[None], margins, mode="replicate")
    frame.crop(mpi)[plane, 3] = OPAQUE / float(plane_gaps(depths)[plane])
    return OptimisedMpi(mpi, depths, frame)


def _inverse_depth(views: PosedImages, i: int, near_far: tuple[float, float], points) -> float:
    middle = 0.5 / near_far[0] + 0.5 / near_far[1]
    if points is None or not len(points):
        return middle
    pose = views.world_to_cam[i]
    camera = np.asarray(points, float) @ pose[:3, :3].T + pose[:3, 3]
    camera = camera[camera[:, 2] > 0]
    pixels = camera @ np.asarray(views.K[i]).T
    size = np.array(views.images.shape[:1:-1])
    inside = ((pixels[:, :2] > 0) & (pixels[:, :2] < pixels[:, 2:] * size)).all(axis=1)
    return float((1 / camera[inside, 2]).mean()) if inside.any() else middle
