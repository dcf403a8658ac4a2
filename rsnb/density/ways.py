"""A straight way through the middle of a tile on which as little as possible stands."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import uniform_filter

from rsnb.density.heights import as_array
from rsnb.density.volume import TileFrame
from rsnb.errors import InputError

_BEARINGS = 72  # that are tried, over half a circle
_STEPS = 200  # places looked at along each


def free_way(heights, frame: TileFrame, share: float = 0.5, width_m: float = 4.0,
             tall_m: float = 2.0) -> np.ndarray:
    """Both ends of the straight way through the middle of a tile whose mean height is least.

    Args:
        heights: [S, S] metres above the ground, row 0 north.
        frame: of the tile.
        share: length of the way, as a share of the tile's side.
        width_m: of the way.
        tall_m: what is taller counts as so tall: what is in the way is in the way, a house as well as a car.

    Returns:
        [2, 2] float64, metres east and north of the middle: the southern end first, or the western one of a way due
        east; of ways that are as free as each other the one nearest to north.

    Raises:
        InputError: heights of another shape or not finite, a share outside 0..1, a width or height that is not
            above 0.
    """
    heights = as_array(heights)
    if heights.ndim != 2 or heights.shape[0] != heights.shape[1] or not np.isfinite(heights).all():
        raise InputError(f"heights of shape {heights.shape} (finite?)", where="free_way", mend="Give finite [S, S]")
    if not 0 < share <= 1 or not 0 < tall_m < math.inf or not 0 < width_m < math.inf:
        raise InputError(f"share is {share!r}, width_m {width_m!r} and tall_m {tall_m!r}", where="free_way",
                         mend="Give a share above 0, at most 1, and metres above 0")
    half, size = share * frame.half_m, len(heights)
    turn = np.arange(_BEARINGS)
    bearings = np.where(turn % 2, -(turn + 1) // 2, turn // 2) * (math.pi / _BEARINGS)  # 0, -2.5, 2.5, -5 ... degrees
    ahead = np.stack([np.sin(bearings), np.cos(bearings)], axis=1)
    places = np.linspace(-half, half, _STEPS)[None, :, None] * ahead[:, None]
    columns, rows = (np.clip((0.5 + sign * places[..., axis] / frame.extent_m) * size, 0, size - 1).astype(int)
                     for axis, sign in ((0, 1), (1, -1)))
    wide = max(1, round(width_m / frame.extent_m * size))
    met = uniform_filter(np.clip(heights, 0, tall_m), wide, mode="nearest")[rows, columns].mean(axis=1)
    best = ahead[int(met.round(9).argmin())] * half  # the filter's rounding must not choose
    return np.stack([-best, best]) if best[1] > 1e-9 else np.stack([best, -best])  # due west is written as due east
