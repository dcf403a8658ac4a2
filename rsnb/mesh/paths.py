"""Camera paths that need nothing but the mesh: around it, along a street, straight down on it."""

from __future__ import annotations

import numpy as np

from rsnb.errors import InputError
from rsnb.geometry import poses
from rsnb.geometry.cameras import NadirCamera
from rsnb.mesh.scene import RayScene
from rsnb.mesh.viewpoints import ground_height
from rsnb.scenes import TexturedMesh

MAX_PIXELS = 60_000_000  # of a nadir picture: with its working copies some 100 bytes a pixel
CLEARANCE_M = 4.0  # a drive ends this far before what stands in its way


def core_bounds(mesh: TexturedMesh, share: float = 0.7) -> np.ndarray:
    """[2, 3] model metres: the square about the median wall that holds `share` of the walls; strays do not count.

    For a model that fills its bounding box this is nearly all of it. Where there are no walls, any face counts.
    """
    corner = mesh.vertices[mesh.faces]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    wall = np.abs(cross[:, 2]) < 0.3 * np.linalg.norm(cross, axis=1)
    middle = (corner[wall] if wall.any() else corner).mean(axis=1)
    centre = np.median(middle[:, :2], axis=0)
    half = np.quantile(np.abs(middle[:, :2] - centre).max(axis=1), share) / np.sqrt(share)
    low, high = mesh.bounds
    box = np.stack([np.r_[centre - half, low[2]], np.r_[centre + half, high[2]]])
    return np.stack([np.maximum(box[0], low), np.minimum(box[1], high)])


def flight(bounds: np.ndarray, count: int) -> np.ndarray:
    """Poses on a circle around a model that look down on its middle.

    Args:
        bounds: [2, 3] lowest and highest corner, model metres.
        count: poses, evenly spaced, the first one south of the middle.

    Returns:
        world_to_cam [count, 4, 4].
    """
    low, high = np.asarray(bounds, np.float64)
    middle = (low + high) / 2
    half = np.linalg.norm((high - low)[:2]) / 2
    bearing = np.pi + np.arange(count) * (2 * np.pi / count)
    around = np.stack([np.sin(bearing), np.cos(bearing), np.full(count, 0.75)], axis=1)
    eyes = np.array([middle[0], middle[1], low[2]]) + 0.95 * half * around
    target = np.array([middle[0], middle[1], low[2] + 0.2 * (high - low)[2]])
    return poses.look_at(eyes, np.broadcast_to(target, eyes.shape))


def drive(scene: RayScene, start: np.ndarray, frames: int, camera_height_m=2.5, step_m=0.8) -> np.ndarray:
    """Poses along the street that a camera stands in, at a height above the ground, ending before what is in the way.

    The street is the longest free line at eye level (of equally long ones the nearest to where `start` looks).

    Args:
        scene: the model.
        start: [4, 4] world_to_cam; the first pose stands there.
        frames: number of poses.
        camera_height_m: above the ground; bumps are smoothed over some metres.
        step_m: metres a frame, less where the way is short.

    Returns:
        world_to_cam [frames, 4, 4].
    """
    if frames < 1:
        raise InputError(f"a drive of {frames} frames", where="drive", mend="Give 1 or more")
    eye = poses.camera_centre(start)
    heading, free = _longest_line(scene, eye, float(poses.heading_pitch_roll(start)[0]))
    ahead = np.array([np.sin(heading), np.cos(heading)])
    step = min(step_m, max(0.0, free - CLEARANCE_M) / max(frames - 1, 1))
    places = eye[:2] + np.arange(frames)[:, None] * step * ahead
    height = ground_height(scene, places)
    if frames >= 9:
        height = np.convolve(np.pad(height, 4, mode="edge"), np.full(9, 1 / 9), mode="valid")
    return poses.pose_from_heading(np.c_[places, height + camera_height_m], np.full(frames, heading))


def _longest_line(scene: RayScene, eye: np.ndarray, wanted: float) -> tuple[float, float]:
    """Bearing (radians) and length (metres, at most 150) of the longest free line that is 4 degrees wide."""
    bearing = wanted + np.arange(180) * np.radians(2.0)
    level = np.stack([np.sin(bearing), np.cos(bearing), np.zeros(180)], axis=1)
    free = np.minimum(scene.cast(np.broadcast_to(eye, level.shape), level).distance, 150.0)
    clear = np.minimum(free, np.minimum(np.roll(free, 1), np.roll(free, -1)))
    turn = np.abs(np.angle(np.exp(1j * (bearing - wanted))))
    best = int(np.argmax(clear - 1e-3 * turn))
    return float(bearing[best]), float(free[best])


def nadir_view(bounds: np.ndarray, gsd_m: float) -> tuple[NadirCamera, np.ndarray]:
    """Camera and pose [4, 4] straight above a model, covering it with pixels of `gsd_m` metres, north at the top.

    The corner lies on a multiple of the pixel size, so that rasters of neighbouring pieces fit together.

    Raises:
        InputError: the pixel size is not above 0, or the picture would have more than `MAX_PIXELS`.
    """
    if not gsd_m > 0:
        raise InputError(f"the ground sampling distance is {gsd_m}", where="gsd", mend="Give metres above 0")
    low, high = np.asarray(bounds, np.float64)
    width, depth = high[:2] - low[:2]
    if width * depth > MAX_PIXELS * gsd_m**2:
        least = float(np.sqrt(width * depth / MAX_PIXELS))
        digit = 10.0 ** (np.floor(np.log10(least)) - 1)
        raise InputError(f"{width:.6g} x {depth:.6g} m at {gsd_m:g} m a pixel is a picture of "
                         f"{width * depth / gsd_m**2 / 1e6:.0f} million pixels; {MAX_PIXELS // 1_000_000} million is "
                         "the most", where="gsd",
                         mend=f"Use a gsd of {np.ceil(least / digit) * digit:g} or more, and check that "
                              "the model is in metres")
    west, south = np.floor(low[:2] / gsd_m + 1e-6) * gsd_m
    columns, rows = (int(n) for n in np.ceil((high[:2] - (west, south)) / gsd_m - 1e-6))
    centre = (west + columns / 2 * gsd_m, south + rows / 2 * gsd_m, high[2] + 10.0)
    return NadirCamera(gsd_m, columns, rows), poses.nadir_pose(np.array(centre))
