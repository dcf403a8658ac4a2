"""What poses and intrinsics say by themselves: numbers for `pose_check`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rsnb.data.multiview.views import PosedViews
from rsnb.geometry.poses import camera_centre
from rsnb.scenes import Georeference

_MOST_POINTS = 5000  # of the sparse points, evenly chosen: shares need no more


def rotation_fault(views: PosedViews, tolerance: float = 1e-3) -> str | None:
    """What is wrong with the first rotation that is none, or None."""
    turns = views.world_to_cam[:, :3, :3]
    off = np.abs(turns @ np.swapaxes(turns, 1, 2) - np.eye(3)).max(axis=(1, 2))
    determinant = np.linalg.det(turns)
    for i in np.flatnonzero(~(off < tolerance) | ~(determinant > 0)):
        return (f"view {views.names[i]} has a rotation of determinant {determinant[i]:.3f}, off orthonormal by "
                f"{off[i]:.1e}")
    return None


def points_seen(views: PosedViews, poses: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[N] share of the points [P, 3] that lie in front of each camera and inside its picture."""
    points = points[:: max(1, len(points) // _MOST_POINTS)]
    other = replace(views, world_to_cam=poses)
    shares = []
    for i, name in enumerate(views.names):
        with np.errstate(invalid="ignore"):
            pixels = other.project(name, points)
            shares.append(((pixels > 0) & (pixels < views.sizes[i])).all(axis=1).mean())
    return np.array(shares)


def look_at_point(poses: np.ndarray) -> np.ndarray | None:
    """The point [3] nearest to all optical axes, or None where they are parallel (within about a degree)."""
    centres, axes = camera_centre(poses), poses[:, 2, :3]
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    total = across.sum(axis=0)
    if np.linalg.eigvalsh(total)[0] < 3e-4 * len(poses):
        return None
    return np.linalg.solve(total, np.einsum("nij,nj->i", across, centres))


def look_depths(views: PosedViews, poses: np.ndarray) -> np.ndarray | None:
    """[N] depth at which each camera is taken to look: the stated range's middle (in inverse depth), else that of the
    common point (negative behind a camera); None where neither is known."""
    if views.near_far is not None and np.isfinite(views.near_far).all():
        return 2 / (1 / views.near_far).sum(axis=1)
    point = look_at_point(poses) if len(poses) > 1 else None
    return None if point is None else poses[:, 2, :3] @ point + poses[:, 2, 3]


def looking_together(views: PosedViews, poses: np.ndarray) -> float:
    """Share 0..1 of other views that see what a view has in its middle; 0 where cameras stand at one place or look away
    from their common point, nan-free: 0 where nothing is known."""
    depths = look_depths(views, poses)
    if depths is None or len(poses) < 2:
        return 0.0
    centres = camera_centre(poses)
    spread = np.linalg.norm(centres - centres.mean(axis=0), axis=1).max()
    if spread < 1e-3 * np.abs(depths).mean():
        return 0.0
    middle = centres + poses[:, 2, :3] * depths[:, None]
    seen = []
    for i in range(len(poses)):
        camera = np.delete(middle, i, axis=0) @ poses[i, :3, :3].T + poses[i, :3, 3]
        pixels = camera @ views.K[i].T
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = pixels[:, :2] / pixels[:, 2:]
        seen.append(((camera[:, 2] > 0) & (pixels > 0).all(axis=1) & (pixels < views.sizes[i]).all(axis=1)).mean())
    return float((np.array(seen) * (depths > 0)).mean())


def baseline_share(views: PosedViews, points: np.ndarray | None = None) -> float | None:
    """Median distance of a camera to its nearest neighbour, as a share of the depth it looks at; None if unknown.

    Args:
        points: [P, 3] of the scene, where there are any.
    """
    centres = camera_centre(views.world_to_cam)
    if points is not None and len(points):
        depth = np.linalg.norm(np.median(points, axis=0) - centres, axis=1)
    else:
        depth = look_depths(views, views.world_to_cam)
    if depth is None or not np.abs(depth).mean() > 0:
        return None
    step = [np.sort(np.linalg.norm(centres - centre, axis=1))[1] for centre in centres]
    return float(np.median(step) / np.median(np.abs(depth)))


def upright_share(views: PosedViews) -> float | None:
    """Share of the cameras that a person or an aircraft could hold so, if the world's z points up: the top of the
    picture is not below its bottom, or it looks down. None where the scene has no place on Earth, hence no known up."""
    if views.georeference == Georeference():
        return None
    top, forward = -views.world_to_cam[:, 1, 2], views.world_to_cam[:, 2, 2]  # their parts along z
    return float(((forward < -0.5) | ((top > -0.3) & (forward < 0.8))).mean())


def turned_intrinsics(views: PosedViews) -> bool:
    """Whether the principal points lie in the middle of the pictures only if width and height change places."""
    sides = views.sizes.astype(float)
    upright, turned = (np.abs(np.nanmedian(2 * views.K[:, :2, 2] / size - 1, axis=0)).max()
                       for size in (sides, sides[:, ::-1])) if np.isfinite(views.K).any() else (0.0, 1.0)
    return bool(upright > 0.2 and turned < 0.1)


def principal_point_scale(views: PosedViews) -> float | None:
    """How many times as large the pictures would have to be for the principal points to lie in their middle: a K of
    another size of the pictures shows itself so. None for spherical pictures."""
    ratio = 2 * views.K[:, :2, 2] / views.sizes
    ratio = ratio[np.isfinite(ratio).all(axis=1)]
    if not len(ratio):
        return None
    x, y = np.median(ratio, axis=0)
    # both sides must say so: cropped pictures have their middle elsewhere
    return float(np.sqrt(x * y)) if x > 0 and y > 0 and 0.8 < x / y < 1.25 else 1.0
