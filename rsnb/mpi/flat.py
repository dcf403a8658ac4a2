"""A picture on a board: what is left for a view that shares too little with any other to know its depth."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rsnb.mpi.plane_state import plane_gaps
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.views import depths_in_picture, padded_frame, view_rows
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
    mpi = torch.zeros(planes, 4, *frame.size)
    # colours go on beyond the border, where nothing is dense: else its outermost half pixel would darken
    mpi[:, :3] = frame.pad(torch.as_tensor(views.images[i])[None])
    frame.crop(mpi)[plane, 3] = OPAQUE / float(plane_gaps(depths)[plane])
    return OptimisedMpi(mpi, depths, frame)


def _inverse_depth(views: PosedImages, i: int, near_far: tuple[float, float], points) -> float:
    depths = () if points is None or not len(points) else depths_in_picture(views, i, points)
    return float((1 / depths).mean()) if len(depths) else 0.5 / near_far[0] + 0.5 / near_far[1]
