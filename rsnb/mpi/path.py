"""A camera path for scenes that bring none: an ellipse about the reference camera, within what the views span."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre, look_at
from rsnb.mpi.views import check_range, view_rows
from rsnb.scenes import PosedImages


def orbit(views: PosedImages, reference: str, others: Sequence[str], near_far: tuple[float, float], count: int = 48,
          share: float = 0.6) -> np.ndarray:
    """Poses of a camera that goes round once, looking at one point.

    The half axes are `share` of the other cameras' root mean square offset along the reference picture's right and
    down; the point is on its axis at the harmonic middle of the depth range, where planes uniform in inverse depth have
    their middle. One other view, beside or above, gives a path to and fro.

    Args:
        views: with the cameras.
        reference: name of the view about which the path goes.
        others: views that span what may be seen.
        near_far: z depth in the reference camera.
        count: poses.
        share: of the offset.

    Returns:
        [count, 4, 4] float64 world to camera; the first is not repeated at the end.

    Raises:
        InputError: a bad range, no other view, or cameras that all stand at one place or behind one another.
    """
    check_range(*near_far)
    i = int(view_rows(views, [reference])[0])
    rest = [name for name in others if name != reference]
    if not rest or count < 1:
        raise InputError(f"{len(rest)} views beside the reference and {count} poses", where="orbit",
                         mend="Give at least one of each")
    pose = np.asarray(views.world_to_cam[i], np.float64)
    eye = camera_centre(pose)
    offsets = (camera_centre(views.world_to_cam[view_rows(views, rest)]) - eye) @ pose[:2, :3].T
    half = share * np.sqrt((offsets**2).mean(axis=0))
    middle = 2 / (1 / near_far[0] + 1 / near_far[1])
    if half.max() < 1e-6 * middle:  # rounding leaves a little of nothing
        raise InputError("all cameras stand at one place or behind one another", where="orbit",
                         mend="Give a track, or leave the film out")
    angle = 2 * np.pi * np.arange(count) / count
    eyes = eye + half[0] * np.cos(angle)[:, None] * pose[0, :3] + half[1] * np.sin(angle)[:, None] * pose[1, :3]
    target = np.broadcast_to(eye + middle * pose[2, :3], eyes.shape)
    return look_at(eyes, target, up=-pose[1, :3])
