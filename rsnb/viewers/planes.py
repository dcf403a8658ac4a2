"""What figures need to know of a multiplane image, in numpy: opacity, what shows, where its sheets lie.

Sigma is density per unit length and plane i stands for a slab of thickness gap_i, so alpha_i = 1 - exp(-sigma_i gap_i);
seen from the reference camera, w_i = alpha_i prod_{j < i} (1 - alpha_j) (Wu, Zou, Shi, IEEE TGRS 60, 2022).
"""

from __future__ import annotations

import numpy as np

from rsnb.errors import InputError


def as_array(values) -> np.ndarray:
    """numpy array of an array or of a tensor on any device, with or without gradients."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def checked_planes(mpi, depths) -> tuple[np.ndarray, np.ndarray]:
    """(mpi [P, 4, H, W], depths [P]) as arrays.

    Raises:
        InputError: shapes that do not fit.
    """
    mpi, depths = as_array(mpi), as_array(depths).astype(float)
    if mpi.ndim != 4 or mpi.shape[1] != 4 or depths.shape != mpi.shape[:1] or len(depths) < 2:
        raise InputError(f"a multiplane image of shape {mpi.shape} with depths {depths.shape}", where="viewers",
                         mend="Give [P, 4, H, W] with P depths, at least two")
    return mpi, depths


def plane_alpha(mpi, depths, gaps=None) -> np.ndarray:
    """[P, H, W] opacity of each plane, seen along the reference axis: 1 - exp(-sigma gap).

    Args:
        mpi: [P, 4, H, W], sigma per unit length in the last channel.
        depths: [P], unit of the poses.
        gaps: [P] thickness of each slab; None: to the next plane, the last as the one before it.
    """
    mpi, depths = checked_planes(mpi, depths)
    gaps = np.diff(depths, append=2 * depths[-1] - depths[-2]) if gaps is None else as_array(gaps)
    return -np.expm1(-mpi[:, 3] * gaps[:, None, None])


def shown_weights(alpha: np.ndarray) -> np.ndarray:
    """[P, H, W] share of each plane in what the reference camera sees, front to back."""
    clear = np.cumprod(1 - alpha, axis=0)
    return alpha * np.concatenate([np.ones_like(clear[:1]), clear[:-1]])


def plane_corners(K, size: tuple[int, int], depths) -> np.ndarray:
    """[P, 4, 3] corners of the sheets in the reference camera (x right, y down, z forward), clockwise from top left."""
    height, width = size
    pixels = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], float)
    rays = pixels @ np.linalg.inv(as_array(K).astype(float)).T
    return as_array(depths).astype(float)[:, None, None] * rays


def on_table(points: np.ndarray) -> np.ndarray:
    """Reference camera to (right, up in the picture, towards the camera): sheets lie on a table, the camera above."""
    return points * np.array([1.0, -1.0, -1.0])


def shrink(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[..., H, W] averaged over blocks to [..., h, w]; sides need not divide, and nothing is enlarged."""
    for axis, wanted in ((-2, size[0]), (-1, size[1])):
        edges = block_edges(values.shape[axis], wanted)
        sums = np.add.reduceat(values, edges[:-1], axis=axis)
        counts = np.diff(edges).reshape((-1, 1) if axis == -2 else (-1,))
        values = sums / counts
    return values


def block_edges(length: int, blocks: int) -> np.ndarray:
    """[blocks + 1] where the blocks of `shrink` begin and end, in pixels."""
    return np.round(np.linspace(0, length, min(blocks, length) + 1)).astype(int)
