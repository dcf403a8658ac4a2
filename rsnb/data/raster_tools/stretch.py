"""From reflectance (or any values) to 0..1 for the eye."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rsnb.errors import InputError

Limits = np.ndarray  # [..., 2]: what becomes 0 and what becomes 1, one pair or one per band


def percentile_limits(images: np.ndarray, low: float = 2.0, high: float = 98.0, mask: np.ndarray | None = None,
                      joint: bool = False) -> Limits:
    """The values below which `low` and `high` per cent of the pixels lie, for `stretch`.

    Args:
        images: [..., B, H, W]; of a series all dates count together, so that they stay comparable.
        low, high: per cent, 0 <= low < high <= 100.
        mask: [..., H, W], true where pixels count (clear ones: clouds would darken everything else).
        joint: one pair for all bands (colours stay as they are) instead of one each (colours are balanced).

    Returns:
        [2], or [B, 2].

    Raises:
        InputError: percentages out of order, or a band without a pixel that counts.
    """
    if not 0 <= low < high <= 100:
        raise InputError(f"percentages {low} and {high}", where="percentile_limits", mend="0 <= low < high <= 100")
    images = np.asarray(images, np.float64)
    counts = np.isfinite(images)
    if mask is not None:
        counts &= np.asarray(mask, bool)[..., None, :, :]
    if joint:
        if not counts.any():
            raise InputError("no pixel counts", where="percentile_limits", mend="Widen the mask")
        return np.percentile(images[counts], [low, high])
    limits = []
    for band in range(images.shape[-3]):
        values = images[..., band, :, :][counts[..., band, :, :]]
        if not values.size:
            raise InputError(f"no pixel of band {band} (from 0) counts", where="percentile_limits",
                             mend="Widen the mask")
        limits.append(np.percentile(values, [low, high]))
    return np.array(limits)


def stretch(images: np.ndarray, limits: Limits | tuple[float, float] | None = None, gamma: float = 1.0,
            mask: np.ndarray | None = None, joint: bool = False,
            empty: float | Literal["nan"] = 0.0) -> np.ndarray:
    """((x - low) / (high - low)) ** (1 / gamma), cut to 0..1.

    Args:
        images: [..., B, H, W].
        limits: (low, high) or [B, 2]; None = the 2nd and 98th percentile of what counts.
        gamma: over 1 brightens the middle.
        mask: [..., H, W] for the percentiles; pixels outside it are stretched all the same.
        joint: one pair of percentiles for all bands.
        empty: value of pixels without data; "nan" leaves them.

    Returns:
        [..., B, H, W] float32. A band whose limits are equal becomes 0.5 throughout.

    Raises:
        InputError: gamma not positive, limits that fall, or of another number of bands.
    """
    if not gamma > 0:
        raise InputError(f"gamma is {gamma}", where="stretch", mend="Give a positive number; 1 leaves values alone")
    images = np.asarray(images)
    limits = np.asarray(percentile_limits(images, mask=mask, joint=joint) if limits is None else limits, np.float64)
    if limits.shape not in ((2,), (images.shape[-3], 2)):
        raise InputError(f"limits of shape {limits.shape} for {images.shape[-3]} bands", where="stretch",
                         mend="Give (low, high), or one such pair a band")
    low, high = (limits[..., i, None, None] if limits.ndim == 2 else limits[i] for i in (0, 1))
    if np.any(high < low):
        raise InputError(f"limits fall: {limits.tolist()}", where="stretch", mend="Give (low, high)")
    span = np.where(high > low, high - low, 1.0)
    value = np.where(high > low, np.clip((images - low) / span, 0, 1), np.where(np.isfinite(images), 0.5, np.nan))
    if gamma != 1:
        value = value ** (1 / gamma)
    if empty != "nan":
        value = np.where(np.isfinite(value), value, empty)
    return value.astype(np.float32)
