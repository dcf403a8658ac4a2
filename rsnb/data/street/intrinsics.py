"""Pinhole camera matrices in files: checked where given, made from the field of view where not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from rsnb.errors import InputError


def parse_camera_matrix(rows, where: str | Path) -> np.ndarray:
    """[3, 3] float64 camera matrix, pixels, out of nested lists.

    Raises:
        InputError: not 3 x 3 finite numbers, a focal length that is not positive, a last row other than 0 0 1.
    """
    try:
        K = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        K = np.zeros(0)
    if K.shape != (3, 3) or not np.isfinite(K).all() or min(K[0, 0], K[1, 1]) <= 0 or K[2].tolist() != [0, 0, 1]:
        raise InputError("'K' is no 3 x 3 camera matrix", where=where,
                         mend="Write [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels, fx and fy above 0, or remove it")
    return K


def fov_camera_matrix(fov_deg: float, width: int, height: int) -> np.ndarray:
    """[3, 3] float64 camera matrix of a horizontal field of view: focal length width / (2 tan(fov / 2)) pixels,
    centre in the middle of the picture."""
    focal = width / (2.0 * math.tan(math.radians(fov_deg) / 2.0))
    return np.array([[focal, 0.0, width / 2.0], [0.0, focal, height / 2.0], [0.0, 0.0, 1.0]])
