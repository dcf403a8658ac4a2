"""Which views to learn from, and around which to build: by what they share, never by how a test picture looks.

Only poses and intrinsics are read here (a view that is asked for has a known pose; its picture is what is sought).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre, rotation_angle
from rsnb.mpi.views import check_range, view_rows
from rsnb.scenes import PosedImages

BEST_ANGLE = 5.0  # degrees between rays of a match: MVSNet's (Yao et al. 2018, section 4.1), as are the two spreads
SPREAD_BELOW, SPREAD_ABOVE = 1.0, 10.0
LEAST_OVERLAP = 0.3  # of a picture: two views that share less are no neighbours
LOOKS_ALONG = 0.5  # cosine of 60 degrees between axes
_GRID = 12


class NothingShared(InputError):
    """Pictures that have nothing to be matched by; another choice of views may have."""


def shared_view(views: PosedImages, name: str, other: str, near_far: tuple[float, float]) -> tuple[float, float]:
    """What two views share of the space between near and far in the first one.

    Returns:
        overlap, the share 0..1 of points on a grid (three depths, uniform in inverse depth) that lie in the other
        picture, and the median angle between the rays to them, degrees (nan without overlap).
    """
    check_range(*near_far)
    i, j = view_rows(views, [name, other])
    height, width = views.images.shape[-2:]
    steps = (np.arange(_GRID) + 0.5) / _GRID
    columns, rows = np.meshgrid(steps * width, steps * height)
    rays = np.stack([columns, rows, np.ones_like(rows)], -1).reshape(-1, 3) @ np.linalg.inv(views.K[i]).T
    depths = 1 / np.linspace(1 / near_far[0], 1 / near_far[1], 3)
    points = (rays * depths[:, None, None]).reshape(-1, 3)
    rotation, shift = views.world_to_cam[i, :3, :3], views.world_to_cam[i, :3, 3]
    world = (points - shift) @ rotation
    camera = world @ views.world_to_cam[j, :3, :3].T + views.world_to_cam[j, :3, 3]
    pixels = camera @ np.asarray(views.K[j]).T
    inside = (camera[:, 2] > 0) & ((pixels[:, :2] > 0) & (pixels[:, :2] < pixels[:, 2:] * [width, height])).all(axis=1)
    if not inside.any():
        return 0.0, float("nan")
    to_own, to_other = (world[inside] - camera_centre(views.world_to_cam[k]) for k in (i, j))
    cosine = (to_own * to_other).sum(1) / (np.linalg.norm(to_own, axis=1) * np.linalg.norm(to_other, axis=1))
    return float(inside.mean()), float(np.degrees(np.median(np.arccos(np.clip(cosine, -1, 1)))))


def matching_score(overlap: float, angle: float) -> float:
    """How well two views tell depth: their overlap times a bell of the angle between rays around 5 degrees.

    The bell is narrow towards 0 (no parallax) and wide towards large angles (pictures look different).
    """
    if overlap < LEAST_OVERLAP or not np.isfinite(angle):
        return 0.0
    spread = SPREAD_BELOW if angle < BEST_ANGLE else SPREAD_ABOVE
    # never quite 0: pictures of a small angle match, only with less depth
    return overlap * max(float(np.exp(-((angle - BEST_ANGLE) ** 2) / (2 * spread**2))), 0.01 * min(1.0, angle))


def choose_neighbours(views: PosedImages, name: str, candidates: Sequence[str], near_far: tuple[float, float],
                      count: int = 3) -> tuple[str, ...]:
    """The candidates that tell most about the depth in a view, the best first; fewer where fewer share anything.

    Raises:
        NothingShared: no candidate shares `LEAST_OVERLAP` of the picture: there is nothing to match.
    """
    scores = {other: matching_score(*shared_view(views, name, other, near_far))
              for other in candidates if other != name}
    best = sorted((other for other in scores if scores[other] > 0), key=lambda other: -scores[other])[:count]
    if not best:
        raise NothingShared(f"no other view shares {LEAST_OVERLAP:.0%} of its picture from {near_far[0]:.3g} to "
                            f"{near_far[1]:.3g}", where=f"view {name}",
                            mend="Take a view with neighbours, or check poses and depth range")
    return tuple(best)


def nearest_first(poses: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Order [K] of cameras [K, 4, 4] by how near they stand to a camera [4, 4], of equally near ones the least turned.

    Those that look more than 60 degrees away from its axis come last: they hardly show what it sees.
    """
    distance = np.linalg.norm(camera_centre(poses) - camera_centre(pose), axis=-1)
    away = poses[:, 2, :3] @ pose[2, :3] < LOOKS_ALONG
    turned = np.round(rotation_angle(poses, pose), 6)
    return np.lexsort((turned, np.round(distance / max(distance.max(), 1e-12), 6), away))


def nearest_views(views: PosedImages, target: str, candidates: Sequence[str], count: int = 3) -> tuple[str, ...]:
    """The candidates from which a target is best seen, the best first (`nearest_first`), without the target itself."""
    names = [name for name in candidates if name != target]
    if not names:
        raise InputError("there is no view to render it from", where=f"view {target}", mend="Give another view")
    own, others = (views.world_to_cam[view_rows(views, part)] for part in ([target], names))
    return tuple(names[int(k)] for k in nearest_first(others, own[0])[:count])


def nearest_names(views: PosedImages, reference: str, train: Sequence[str], count: int | None) -> tuple[str, ...]:
    """The train views without the reference, or the `count` of them nearest to it, in their order."""
    names = tuple(name for name in train if name != reference)
    if count is None or count >= len(names):
        return names
    if count < 1:
        raise InputError(f"{count} views to learn from", where="nearest", mend="Give at least 1")
    chosen = nearest_views(views, reference, names, count)
    return tuple(name for name in names if name in chosen)


def choose_centre(views: PosedImages, candidates: Sequence[str], targets: Sequence[str]) -> str:
    """The candidate from which all targets are nearest: least sum of squared distances of the centres.

    Of those that look within 60 degrees of the targets' mean axis, where there are such.
    """
    poses, goals = (views.world_to_cam[view_rows(views, part)] for part in (tuple(candidates), tuple(targets)))
    axis = goals[:, 2, :3].mean(0)
    away = poses[:, 2, :3] @ axis < LOOKS_ALONG * np.linalg.norm(axis)
    distance = ((camera_centre(poses)[:, None] - camera_centre(goals)[None]) ** 2).sum((1, 2))
    return tuple(candidates)[int(np.lexsort((distance, away))[0])]
