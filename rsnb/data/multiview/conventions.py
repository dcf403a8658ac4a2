"""Pose conventions: what a file's matrix means, and the same numbers read in another way.

A convention has three parts, `<axes>_<direction>[_transposed | _xyzw]`:

    axes        opencv  x right, y down, z forward (COLMAP, OpenSfM, MVSNet, LEVIR-NVS)
                opengl  x right, y up, z back (NeRF, Blender, aerial omega-phi-kappa)
                zup     x right, y forward, z up (robots, some exporters of panoramas)
                drb     x down, y right, z back (LLFF's poses_bounds)
                frd     x forward, y right, z down (aircraft bodies)
    direction   w2c     the matrix takes world to camera; its last column is -R C
                c2w     the matrix takes camera to world; its last column is the camera's place
    transposed  rows and columns of the rotation are swapped, the last column is as it should be
    xyzw        the rotation is a quaternion with its real part last, where the format has it first (COLMAP)

The world's own axes are nobody's business here: turning the whole world changes no picture.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rsnb.data.multiview.depth_ranges import ranges_of_points
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.geometry.poses import invert

# What takes camera coordinates of these axes to OpenCV's.
AXES = {"opencv": np.eye(3), "opengl": np.diag([1.0, -1.0, -1.0]),
        "zup": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
        "drb": np.array([[0, 1.0, 0], [1, 0, 0], [0, 0, -1]]),
        "frd": np.array([[0, 1.0, 0], [0, 0, 1], [1, 0, 0]])}
_PLAIN = ("opencv_w2c", "opengl_c2w", "opencv_c2w", "opengl_w2c", "zup_c2w", "drb_c2w", "frd_c2w", "zup_w2c",
          "drb_w2c", "frd_w2c")
# The usual ones first.
CONVENTIONS = (*_PLAIN, *(f"{name}_transposed" for name in _PLAIN), *(f"{name}_xyzw" for name in _PLAIN[:4]))


def describe(convention: str) -> str:
    """A convention in words, for messages."""
    axes, direction, change = _parts(convention)
    words = {"opencv": "x right, y down, z forward", "opengl": "x right, y up, z back",
             "zup": "x right, y forward, z up", "drb": "x down, y right, z back", "frd": "x forward, y right, z down"}
    return ((" to ".join(("camera", "world") if direction == "c2w" else ("world", "camera"))) + f", {words[axes]}"
            + {"": "", "transposed": ", rows and columns of the rotation swapped",
               "xyzw": ", quaternions with the real part last"}[change])


def file_matrices(world_to_cam: np.ndarray, convention: str) -> np.ndarray:
    """The matrices [..., 4, 4] that a file of this convention holds for poses [..., 4, 4] (OpenCV world to camera)."""
    axes, direction, change = _parts(convention)
    matrices = _embed(AXES[axes].T) @ np.asarray(world_to_cam, np.float64)
    matrices = invert(matrices) if direction == "c2w" else matrices
    return _CHANGES[change][1](matrices)


def poses_of(matrices: np.ndarray, convention: str) -> np.ndarray:
    """OpenCV world-to-camera poses [..., 4, 4] of a file's matrices [..., 4, 4]; undoes `file_matrices`."""
    axes, direction, change = _parts(convention)
    matrices = _CHANGES[change][0](np.asarray(matrices, np.float64))
    return _embed(AXES[axes]) @ (invert(matrices) if direction == "c2w" else matrices)


def reinterpret(views: PosedViews, convention: str) -> PosedViews:
    """The same files, their matrices read as another convention.

    Where the scene has sparse points, depth ranges are made anew of them; else those that the data set states stay.

    Raises:
        InputError: an unknown name.
    """
    _parts(convention)
    if convention == views.convention:
        return views

    def turned(poses):
        return None if poses is None else poses_of(file_matrices(poses, views.convention), convention)

    changed = replace(views, world_to_cam=turned(views.world_to_cam), track=turned(views.track), convention=convention,
                      notes=(*views.notes, f"the poses are read as {convention} ({describe(convention)}), not as "
                             f"{views.convention}, the format's own"))
    return changed if views.points is None else replace(changed, near_far=ranges_of_points(changed, views.points))


def _parts(convention: str) -> tuple[str, str, str]:
    if convention not in CONVENTIONS:
        raise InputError(f"{convention!r} is no pose convention", where="convention",
                         mend=f"Choose 'auto', 'detect' or one of {', '.join(CONVENTIONS[:4])} (more in "
                              "rsnb.data.multiview.conventions)")
    axes, direction, *change = convention.split("_")
    return axes, direction, change[0] if change else ""


def _embed(turn: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    return matrix


def _swapped(matrices: np.ndarray) -> np.ndarray:
    matrices = matrices.copy()
    matrices[..., :3, :3] = np.swapaxes(matrices[..., :3, :3], -1, -2)
    return matrices


def _rolled(matrices: np.ndarray, step: int) -> np.ndarray:
    """The matrices whose quaternions x y z w are those of the given ones, moved on by `step` places."""
    from scipy.spatial.transform import Rotation

    matrices = matrices.copy()
    numbers = Rotation.from_matrix(matrices[..., :3, :3].reshape(-1, 3, 3)).as_quat()
    turned = Rotation.from_quat(np.roll(numbers, step, axis=-1)).as_matrix()
    matrices[..., :3, :3] = turned.reshape(matrices[..., :3, :3].shape)
    return matrices


# From what a reader takes the numbers for to what is meant, and back. A reader that takes the numbers (a, b, c, d) for
# w x y z has x y z w = (b, c, d, a); meant is (a, b, c, d).
_CHANGES = {"": (lambda m: m, lambda m: m), "transposed": (_swapped, _swapped),
            "xyzw": (lambda m: _rolled(m, 1), lambda m: _rolled(m, -1))}
