"""Do a panorama and a perspective picture from one place tell the same story? They should, ray by ray."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsnb.geometry.cameras import project_points, world_rays
from rsnb.geometry.poses import camera_centre
from rsnb.mesh.renderer import Rendering


@dataclass(frozen=True)
class Agreement:
    """A perspective picture against the panorama's nearest pixels.

    Attributes:
        same_class: share of pixels with one class in both.
        depth_median_rel: median of |difference| / distance where both hit something.
        bearing: [W] radians clockwise from north, of the pixels of the perspective's middle row.
        view_m, panorama_m: [W] their distances in either picture, metres.
    """

    same_class: float
    depth_median_rel: float
    bearing: np.ndarray
    view_m: np.ndarray
    panorama_m: np.ndarray


def compare_with_panorama(view: Rendering, panorama: Rendering) -> Agreement:
    """Look up each ray of `view` in `panorama` (nearest pixel); both must come from the same place.

    What disagrees lies on edges, where the nearest panorama pixel sees past a corner: finer panoramas agree more.
    """
    _, directions = (np.asarray(a) for a in world_rays(view.camera, view.world_to_cam))
    centre = camera_centre(panorama.world_to_cam)
    pixels = np.asarray(project_points(panorama.camera, panorama.world_to_cam, centre + directions)[0])
    height, width = panorama.depth.shape
    column = np.floor(pixels[..., 0]).astype(int) % width
    row = np.clip(np.floor(pixels[..., 1]).astype(int), 0, height - 1)
    depth, semantic = panorama.depth[row, column], panorama.semantic[row, column]
    both = np.isfinite(depth) & np.isfinite(view.depth)
    relative = np.abs(depth[both] - view.depth[both]) / view.depth[both]
    middle = view.depth.shape[0] // 2
    return Agreement(
        same_class=float((semantic == view.semantic).mean()),
        depth_median_rel=float(np.median(relative)) if both.any() else float("nan"),
        bearing=np.unwrap(np.arctan2(directions[middle, :, 0], directions[middle, :, 1])),
        view_m=view.depth[middle],
        panorama_m=depth[middle],
    )
