"""What every export of a multiplane image shares: its frame, the alpha of each plane, layers laid over each other.

A multiplane image is [P, 4, H, W] float32: red, green, blue in 0..1 and sigma >= 0 (density per unit length), plane 0
the nearest. Along the reference axis plane i is `gap_i` thick, so it hides alpha_i = 1 - exp(-sigma_i gap_i) of what is
behind it (Wu, Zou, Shi, IEEE TGRS 60, 2022): the layers that image editors and browsers know.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from rsnb.errors import InputError


class PlaneFrame(Protocol):
    """The frustum that the planes fill: what `rsnb.mpi.MpiFrame` has, and what `read_layers` gives."""

    K: np.ndarray  # [3, 3] pixels of the padded frame, centres at +0.5
    size: tuple[int, int]  # (H, W) of the padded frame
    world_to_cam: np.ndarray  # [4, 4] of the reference camera
    near: float  # z depth of the first plane ...
    far: float  # ... and of the last
    inset: tuple[int, int, int, int]  # (top, left, height, width) of the reference picture in the frame


def checked_planes(mpi, depths, frame: PlaneFrame) -> tuple[np.ndarray, np.ndarray]:
    """The planes [P, 4, H, W] float32 and their depths [P] float64, as arrays without a copy where possible.

    Raises:
        InputError: shapes that do not fit each other or the frame, another type than float32, numbers that are not
            finite, a density below 0, depths that are not above 0 and increasing.
    """
    mpi, depths = np.asarray(mpi), np.asarray(depths, np.float64)
    if mpi.ndim != 4 or mpi.shape[1] != 4 or depths.shape != mpi.shape[:1] or not len(mpi):
        raise InputError(f"planes of shape {mpi.shape} with depths of shape {depths.shape}", where="mpi",
                         mend="Give [P, 4, H, W] and [P]")
    if mpi.dtype != np.float32:
        raise InputError(f"planes of type {mpi.dtype}", where="mpi", mend="Give float32: another type would be rounded")
    if tuple(frame.size) != mpi.shape[2:] or np.shape(frame.K) != (3, 3) or np.shape(frame.world_to_cam) != (4, 4):
        raise InputError(f"a frame of {tuple(frame.size)} pixels with K {np.shape(frame.K)} and pose "
                         f"{np.shape(frame.world_to_cam)} for planes of {mpi.shape[2:]}", where="frame",
                         mend="Give the frame that the planes were made in")
    top, left, height, width = frame.inset
    if min(top, left) < 0 or min(height, width) < 1 or top + height > mpi.shape[2] or left + width > mpi.shape[3]:
        raise InputError(f"an inset {tuple(frame.inset)} in planes of {mpi.shape[2:]}", where="frame.inset",
                         mend="Give (top, left, height, width) within the frame")
    for index, plane in enumerate(mpi):  # plane by plane: no second copy of a large array
        if not np.isfinite(plane).all() or plane[3].min() < 0:
            raise InputError(f"plane {index} holds numbers that are not finite or a density below 0", where="mpi",
                             mend="Look at what made it: the optimisation may have failed")
    if not (depths > 0).all() or not (np.diff(depths) > 0).all() or not np.isfinite(depths).all():
        raise InputError("the depths are not above 0 or do not increase", where="depths", mend="Give the nearest first")
    return mpi, depths


def plane_gaps(depths: np.ndarray) -> np.ndarray:
    """[P] float64 thickness along the reference axis: to the next plane; the last as the one before it.

    A lone plane is as thick as it is far, as for the renderer.
    """
    if len(depths) == 1:
        return depths.copy()
    gaps = np.diff(depths)
    return np.append(gaps, gaps[-1])


def plane_alpha(sigma: np.ndarray, gap: float) -> np.ndarray:
    """1 - exp(-sigma gap), float64, exact for thin fog too."""
    return -np.expm1(-np.asarray(sigma, np.float64) * gap)


def straight_rgba(plane: np.ndarray, gap: float) -> np.ndarray:
    """[4, H, W] colour and sigma -> [H, W, 4] uint8, colour not multiplied by alpha, rounded to nearest."""
    rgba = np.concatenate([np.clip(plane[:3], 0, 1), plane_alpha(plane[3], gap)[None]])
    return np.ascontiguousarray((rgba * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def over(layers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay layers over each other, front to back.

    Args:
        layers: [P, H, W, 4] uint8 with straight alpha, the nearest first.

    Returns:
        Colour on black [3, H, W] and alpha [H, W], float64 in 0..1.
    """
    colour, left = np.zeros((3, *layers.shape[1:3])), np.ones(layers.shape[1:3])
    for layer in layers:
        rgba = layer.transpose(2, 0, 1) / 255.0
        colour += left * rgba[3] * rgba[:3]
        left = left * (1 - rgba[3])
    return colour, 1 - left
