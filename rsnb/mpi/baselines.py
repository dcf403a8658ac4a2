"""What a novel-view method must beat: a source picture warped by one plane, and warped by the true depth.

Both are backward warps (each target pixel looks up one place in the source picture, bilinear). The plane is the best
one of a sweep, chosen on the very target that is scored: a baseline that knows more than a method may.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rsnb.errors import InputError
from rsnb.geometry.cameras import pixel_centres
from rsnb.geometry.homographies import fronto_parallel_homographies, warp_pixels
from rsnb.geometry.poses import compose, invert
from rsnb.mpi.choose import nearest_views
from rsnb.mpi.pictures import sample_picture, smaller
from rsnb.mpi.views import check_range, view_rows
from rsnb.scenes import PosedImages

SWEEP_SIDE = 192  # pixels: planes are sought in pictures whose sides are no longer
LEAST_OVERLAP = 0.1  # of the target: a plane that leaves less is no warp of it


@dataclass(frozen=True)
class Warp:
    """A source picture seen from a target camera.

    Attributes:
        image: [3, H, W] float32, 0 outside the mask.
        mask: [H, W] bool, true where the source shows the place.
        z_depth: of the plane in the source camera, or None where there is no plane.
        source: name of the source view.
    """

    image: np.ndarray
    mask: np.ndarray
    z_depth: float | None
    source: str


def warp_by_plane(views: PosedImages, source: str, target: str, z_depth: float) -> Warp:
    """The source picture on the plane z = z_depth of its own camera, seen from the target's."""
    i, j = view_rows(views, [source, target])
    pose = compose(views.world_to_cam[j], invert(views.world_to_cam[i]))
    H = fronto_parallel_homographies(views.K[i], views.K[j], pose, torch.tensor([z_depth], dtype=torch.float64))[0]
    # scaled so that a visible point has a positive third coordinate: the inverse of a homography of ours keeps that
    pixels = warp_pixels(torch.linalg.inv(H), pixel_centres(*views.images.shape[:-3:-1]))
    image, mask = sample_picture(torch.as_tensor(views.images[i]), pixels)
    return Warp(image.numpy(), mask.numpy(), float(z_depth), source)


def best_single_plane(views: PosedImages, source: str, target: str, near_far: tuple[float, float],
                      count: int = 64) -> Warp:
    """The plane of the source camera whose warp is nearest to the target picture, in masked mean squared error.

    A sweep uniform in inverse depth, in large pictures on smaller copies of them, then one twice as fine around the
    best of it in full.

    Args:
        views: all pictures.
        source, target: names.
        near_far: z depth in the source camera.
        count: planes of the sweep.

    Raises:
        InputError: a bad range, or no plane through which the source shows a tenth of the target.
    """
    check_range(*near_far)
    steps = np.linspace(1 / near_far[0], 1 / near_far[1], count)
    spread = abs(steps[1] - steps[0]) if count > 1 else 0.0
    coarse = smaller(views, (source, target), SWEEP_SIDE)
    error, _, best = min((_warp_error(coarse, source, target, inverse) for inverse in steps), key=lambda f: f[0])
    if not np.isfinite(error):
        raise InputError(f"view {source!r} shows less than a tenth of view {target!r} on any plane", where="baseline",
                         mend="Take a source view that is nearer, or correct near and far")
    reach = 0.5 * np.arange(-3, 4)  # past its neighbours: a small picture hides which of them is the better one
    return min((_warp_error(views, source, target, best + spread * part) for part in reach), key=lambda f: f[0])[1]


def _warp_error(views: PosedImages, source: str, target: str, inverse: float) -> tuple[float, Warp | None, float]:
    """Masked mean squared error of a plane, its warp, and its inverse depth; infinite where it shows too little."""
    if inverse <= 0:
        return np.inf, None, inverse
    warp = warp_by_plane(views, source, target, 1 / inverse)
    if warp.mask.mean() < LEAST_OVERLAP:
        return np.inf, None, inverse
    truth = views.images[view_rows(views, [target])[0]]
    return float(((warp.image - truth)[:, warp.mask] ** 2).mean()), warp, inverse


def warp_by_depth(views: PosedImages, source: str, target: str, tolerance: float = 0.02) -> Warp:
    """The source picture at the place that the target's true depth says, hidden places left out.

    Args:
        views: with z_depth.
        source, target: names.
        tolerance: a place counts as hidden where the source's own depth there is less by more than this share.

    Raises:
        InputError: the views have no depth.
    """
    if views.z_depth is None:
        raise InputError("the views have no true depth", where="warp_by_depth",
                         mend="Load them with depth, or leave this baseline out")
    i, j = view_rows(views, [source, target])
    depth = torch.as_tensor(views.z_depth[j], dtype=torch.float64)
    grid = pixel_centres(*depth.shape[::-1])
    rays = torch.cat([grid, torch.ones_like(grid[..., :1])], -1) @ torch.as_tensor(np.linalg.inv(views.K[j])).T
    pose = torch.as_tensor(compose(views.world_to_cam[i], invert(views.world_to_cam[j])))
    points = (rays * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]
    seen = torch.isfinite(points).all(-1) & (points[..., 2] > 0)
    projected = torch.where(seen[..., None], points, torch.ones_like(points)) @ torch.as_tensor(views.K[i]).T
    pixels = torch.where(seen[..., None], projected[..., :2] / projected[..., 2:], torch.nan)
    image, inside = sample_picture(torch.as_tensor(views.images[i]), pixels)
    nearest = torch.where(inside[..., None], pixels, torch.full_like(pixels, 0.5)).floor().long()
    rows = nearest[..., 1].clamp_max(depth.shape[0] - 1)
    columns = nearest[..., 0].clamp_max(depth.shape[1] - 1)
    front = torch.as_tensor(views.z_depth[i], dtype=torch.float64)[rows, columns]
    mask = inside & ~(front < (1 - tolerance) * points[..., 2])
    return Warp((image * mask).numpy(), mask.numpy(), None, source)


def nearest_view(views: PosedImages, target: str, candidates: Sequence[str]) -> str:
    """The candidate that stands nearest to the target and looks its way: the first of `choose.nearest_views`."""
    return nearest_views(views, target, candidates, 1)[0]
