"""Camera poses as 4x4 matrices: from heading, pitch and roll and back, looking at a point, composed, interpolated.

numpy only, float64, every function batched over leading dimensions. The axes are those of `rsnb.geometry`:
world x east, y north, z up; camera x right, y down, z forward.
"""

from __future__ import annotations

import numpy as np

from rsnb.errors import InputError


def pose_from_heading(position, heading, pitch=0.0, roll=0.0) -> np.ndarray:
    """The pose of a camera that stands somewhere and looks along a bearing.

    With f forward, r right and u up of the unrolled camera,
    f = (sin h cos p, cos h cos p, sin p), r = (cos h, -sin h, 0), u = r x f; then r and u turn by the roll about f.

    Args:
        position: [..., 3] camera centre in the world, metres.
        heading: [...] radians, 0 = north, clockwise positive. It counts from the model's y axis (grid north); for a
            bearing from true north see `georeference.true_to_grid_heading`.
        pitch: [...] radians, up positive.
        roll: [...] radians, positive = the camera turns clockwise as seen from behind it (its right side goes down).

    Returns:
        world_to_cam [..., 4, 4] float64; leading dimensions are broadcast.
    """
    heading, pitch, roll = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (heading, pitch, roll)))
    sin_h, cos_h, sin_p, cos_p = np.sin(heading), np.cos(heading), np.sin(pitch), np.cos(pitch)
    forward = np.stack([sin_h * cos_p, cos_h * cos_p, sin_p], axis=-1)
    right = np.stack([cos_h, -sin_h, np.zeros_like(cos_h)], axis=-1)
    up = np.cross(right, forward)
    cos_r, sin_r = np.cos(roll)[..., None], np.sin(roll)[..., None]
    rotation = np.stack([right * cos_r - up * sin_r, -(up * cos_r + right * sin_r), forward], axis=-2)
    return _from_rotation_and_centre(rotation, position)


def heading_pitch_roll(world_to_cam) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three angles of `pose_from_heading`, from a pose.

    Args:
        world_to_cam: [..., 4, 4].

    Returns:
        heading [...] in [0, 2 pi), pitch [...] in [-pi/2, pi/2], roll [...] in (-pi, pi], radians. Straight up or down
        heading and roll turn about one axis: roll is then 0 and heading says where the top of the picture points
        (for a camera looking down) or the bottom (looking up).
    """
    rotation = _rotation(world_to_cam)
    right, down, forward = rotation[..., 0, :], rotation[..., 1, :], rotation[..., 2, :]
    level = np.hypot(forward[..., 0], forward[..., 1])
    pitch = np.arctan2(forward[..., 2], level)
    # Below 1e-9 the heading's own rounding error would be larger than what roll = 0 costs.
    vertical = level < 1e-9
    heading = np.where(
        vertical, np.arctan2(-right[..., 1], right[..., 0]), np.arctan2(forward[..., 0], forward[..., 1])
    )
    roll = np.where(vertical, 0.0, np.arctan2(-right[..., 2], -down[..., 2]))
    # A heading of -1e-17 must not become 2 pi, hence the second modulo.
    return np.mod(np.mod(heading, 2 * np.pi), 2 * np.pi), pitch[()], roll[()]


def camera_centre(world_to_cam) -> np.ndarray:
    """Where the camera stands: [..., 3] world metres, -R^T t of world_to_cam [..., 4, 4]."""
    pose = np.asarray(world_to_cam, dtype=np.float64)
    return -np.einsum("...ji,...j->...i", _rotation(pose), pose[..., :3, 3])


def invert(pose) -> np.ndarray:
    """The inverse of a rigid motion [..., 4, 4] (world_to_cam to cam_to_world and back), exactly orthogonal."""
    pose = np.asarray(pose, dtype=np.float64)
    inverse = np.zeros(pose.shape)
    inverse[..., :3, :3] = np.swapaxes(_rotation(pose), -1, -2)
    inverse[..., :3, 3] = camera_centre(pose)
    inverse[..., 3, 3] = 1.0
    return inverse


def compose(second, first) -> np.ndarray:
    """The motion `second` after `first`, [..., 4, 4]; compose(world_to_b, invert(world_to_a)) takes camera a to b."""
    return np.asarray(second, dtype=np.float64) @ np.asarray(first, dtype=np.float64)


def look_at(eye, target, up=(0.0, 0.0, 1.0)) -> np.ndarray:
    """The pose of a camera at `eye` whose axis goes through `target`, with `up` pointing up in the picture.

    Args:
        eye: [..., 3] world metres.
        target: [..., 3] world metres.
        up: [..., 3] world direction.

    Returns:
        world_to_cam [..., 4, 4] float64.

    Raises:
        InputError: eye and target coincide, or the line of sight is parallel to `up`.
    """
    eye, target, up = (np.asarray(a, dtype=np.float64) for a in (eye, target, up))
    forward = target - eye
    reach = np.linalg.norm(forward, axis=-1, keepdims=True)
    if not (reach > 0).all():
        raise InputError("eye and target are the same point (or not finite)", where="look_at",
                         mend="Give two different points")
    forward = forward / reach
    right = np.cross(forward, up)
    width = np.linalg.norm(right, axis=-1, keepdims=True)
    if not (width > 1e-9 * np.linalg.norm(up, axis=-1, keepdims=True)).all():
        raise InputError("the line of sight is parallel to the up direction, so the picture has no top",
                         where="look_at", mend="Give another `up`, for example north (0, 1, 0) when looking down")
    right = right / width
    rotation = np.stack([right, np.cross(forward, right), np.broadcast_to(forward, right.shape)], axis=-2)
    return _from_rotation_and_centre(rotation, eye)


def nadir_pose(position) -> np.ndarray:
    """A camera at `position` [..., 3] looking straight down, north at the top: x east, picture y south; [..., 4, 4]."""
    return _from_rotation_and_centre(np.diag([1.0, -1.0, -1.0]), position)


def rotation_angle(a, b) -> np.ndarray:
    """The angle of the rotation between two poses or rotation matrices, [...] radians in [0, pi].

    From sine (the antisymmetric part) and cosine (the trace) together, so that it is exact to rounding for tiny angles
    too, where the arc cosine of the trace alone loses half of the digits.

    Args:
        a, b: [..., 4, 4] poses or [..., 3, 3] rotations.
    """
    relative = _rotation(a) @ np.swapaxes(_rotation(b), -1, -2)
    skew = relative - np.swapaxes(relative, -1, -2)
    sine = np.sqrt(skew[..., 2, 1] ** 2 + skew[..., 0, 2] ** 2 + skew[..., 1, 0] ** 2) / 2
    cosine = (np.trace(relative, axis1=-2, axis2=-1) - 1) / 2
    return np.arctan2(sine, cosine)


def interpolate(a, b, fraction) -> np.ndarray:
    """Poses on the way from a to b: the centre on the straight line, the rotation at constant speed about one axis.

    The short way round is taken; for exactly opposite rotations the axis is one of two equally good ones.

    Args:
        a, b: world_to_cam [..., 4, 4].
        fraction: [...] 0 = a, 1 = b; values outside extrapolate.

    Returns:
        world_to_cam [..., 4, 4]; leading dimensions are broadcast.
    """
    a, b, fraction = (np.asarray(x, dtype=np.float64) for x in (a, b, fraction))
    axis, angle = _axis_and_angle(_rotation(b) @ np.swapaxes(_rotation(a), -1, -2))
    rotation = _rotation_about(axis, angle * fraction) @ _rotation(a)
    weight = fraction[..., None]
    return _from_rotation_and_centre(rotation, (1 - weight) * camera_centre(a) + weight * camera_centre(b))


def _rotation(pose) -> np.ndarray:
    pose = np.asarray(pose, dtype=np.float64)
    if pose.shape[-2:] not in ((4, 4), (3, 3)):
        raise InputError(f"a pose has shape {pose.shape}", where="geometry.poses",
                         mend="Give matrices of shape [..., 4, 4] (or [..., 3, 3] for rotations)")
    return pose[..., :3, :3]


def _from_rotation_and_centre(rotation: np.ndarray, centre) -> np.ndarray:
    """world_to_cam from R [..., 3, 3] and the camera centre [..., 3]: t = -R c."""
    centre = np.asarray(centre, dtype=np.float64)
    if centre.shape[-1:] != (3,):
        raise InputError(f"a position has shape {centre.shape}", where="geometry.poses", mend="Give [..., 3]")
    batch = np.broadcast_shapes(rotation.shape[:-2], centre.shape[:-1])
    pose = np.zeros((*batch, 4, 4))
    pose[..., :3, :3] = rotation
    pose[..., :3, 3] = -np.einsum("...ij,...j->...i", rotation, centre)
    pose[..., 3, 3] = 1.0
    return pose


def _axis_and_angle(rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit axis [..., 3] and angle [...] in [0, pi] of rotations [..., 3, 3].

    Through the quaternion, as the eigenvector of the largest eigenvalue of a symmetric 4x4 matrix (Bar-Itzhack 2000),
    which has no special cases and averages the rounding of a matrix that is not exactly orthogonal.
    """
    m = rotation
    symmetric = np.zeros((*m.shape[:-2], 4, 4))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        symmetric[..., i, i] = m[..., i, i] - m[..., j, j] - m[..., k, k]
        symmetric[..., i, j] = symmetric[..., j, i] = m[..., i, j] + m[..., j, i]
        symmetric[..., i, 3] = symmetric[..., 3, i] = m[..., k, j] - m[..., j, k]
    symmetric[..., 3, 3] = np.trace(m, axis1=-2, axis2=-1)
    quaternion = np.linalg.eigh(symmetric)[1][..., :, -1]
    quaternion = quaternion * np.where(quaternion[..., 3:] < 0, -1.0, 1.0)
    sine = np.linalg.norm(quaternion[..., :3], axis=-1)
    safe = np.where(sine > 0, sine, 1.0)[..., None]
    axis = np.where(sine[..., None] > 0, quaternion[..., :3] / safe, np.array([0.0, 0.0, 1.0]))
    return axis, 2 * np.arctan2(sine, quaternion[..., 3])


def _rotation_about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rodrigues: rotation [..., 3, 3] about a unit axis [..., 3] by an angle [...]."""
    batch = np.broadcast_shapes(axis.shape[:-1], np.shape(angle))
    x, y, z = np.moveaxis(np.broadcast_to(axis, (*batch, 3)), -1, 0)
    zero = np.zeros(batch)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*batch, 3, 3)
    angle = np.asarray(angle)[..., None, None]
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
