"""Histogram matching: one picture gets the value distribution of another, band by band."""

from __future__ import annotations

import numpy as np

from rsnb.errors import InputError


def match_histogram(source: np.ndarray, reference: np.ndarray, source_mask: np.ndarray | None = None,
                    reference_mask: np.ndarray | None = None) -> np.ndarray:
    """v -> F_ref^-1(F_source(v)) by quantiles (Gonzalez and Woods, Digital Image Processing, 3.3).

    Without masks and missing data it equals `skimage.exposure.match_histograms(..., channel_axis=0)`. With a mask the
    two distributions are those of the pixels that count (clear in their own picture); every pixel of the source is then
    mapped, values beyond those that counted go to the ends.

    Args:
        source: [B, H, W] or [H, W].
        reference: [B, H', W'] or [H', W'], any size.
        source_mask, reference_mask: [H, W] and [H', W'], true where pixels count.

    Returns:
        As `source`, float64; nan stays nan.

    Raises:
        InputError: other numbers of bands, or no pixel that counts.
    """
    source, reference = np.asarray(source, np.float64), np.asarray(reference, np.float64)
    if source.ndim != reference.ndim or source.ndim not in (2, 3) or source.shape[:-2] != reference.shape[:-2]:
        raise InputError(f"pictures of shape {source.shape} and {reference.shape}", where="match_histogram",
                         mend="Give [B, H, W] with the same bands")
    if source.ndim == 2:
        return match_histogram(source[None], reference[None], source_mask, reference_mask)[0]
    out = np.empty_like(source)
    for band in range(len(source)):
        values, shares = _distribution(source[band], source_mask, "source")
        targets, target_shares = _distribution(reference[band], reference_mask, "reference")
        mapped = np.interp(shares, target_shares, targets)
        out[band] = np.where(np.isfinite(source[band]), np.interp(source[band], values, mapped), np.nan)
    return out


def _distribution(band: np.ndarray, mask: np.ndarray | None, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur, rising, and the share of pixels up to each."""
    counts = np.isfinite(band) if mask is None else np.isfinite(band) & np.asarray(mask, bool)
    if not counts.any():
        raise InputError(f"no pixel of the {name} counts", where="match_histogram", mend="Widen the mask")
    values, numbers = np.unique(band[counts], return_counts=True)
    return values, np.cumsum(numbers) / numbers.sum()
