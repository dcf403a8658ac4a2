"""How far one picture lies beside another, to a few hundredths of a pixel, and moving it back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rsnb.errors import InputError
from rsnb.scenes import DatedStack

# A shift is believed if the pictures agree to this after it (correlation of what counts, shading taken out).
LEAST_CORRELATION = 0.3
STEPS, STOP_PX = 30, 1e-4


@dataclass(frozen=True)
class Shift:
    """Where the content of one picture lies in another.

    Attributes:
        rows, cols: pixels by which the moving picture's content lies below and to the right of the fixed one's.
        correlation: of the two after the shift, over the pixels that count in both.
        pixels: how many those are.
    """

    rows: float
    cols: float
    correlation: float
    pixels: int

    @property
    def trusted(self) -> bool:
        """Whether the pictures agree well enough after it for the shift to mean something."""
        return self.correlation >= LEAST_CORRELATION


def find_shift(moving: np.ndarray, fixed: np.ndarray, moving_mask: np.ndarray | None = None,
               fixed_mask: np.ndarray | None = None, max_shift: float = 10.0) -> Shift:
    """The translation between two pictures of one size.

    First whole pixels and tenths by phase correlation (Kuglin and Hines 1975; up-sampled Fourier transform of
    Guizar-Sicairos et al. 2008, `skimage.registration`), in which masked pixels hold the mean. Then Gauss-Newton on
    sum (gain * moving(x + s) + bias - fixed)^2 over the pixels that count in both (Lucas and Kanade 1981), so that
    masked clouds have no influence on the result. ACCURACY

    Args:
        moving, fixed: [H, W], or [B, H, W] of which the mean of the bands counts.
        moving_mask, fixed_mask: [H, W], true where pixels count.
        max_shift: pixels; a larger one is not believed.

    Raises:
        InputError: sizes differ, pictures under 16 x 16, or under 64 pixels that count in both.
    """
    moving, moving_mask = _grey(moving, moving_mask)
    fixed, fixed_mask = _grey(fixed, fixed_mask)
    if moving.shape != fixed.shape or min(fixed.shape) < 16:
        raise InputError(f"pictures of {moving.shape} and {fixed.shape} pixels", where="find_shift",
                         mend="Bring both to one size of at least 16 x 16 first")
    if (moving_mask & fixed_mask).sum() < 64:
        raise InputError("under 64 pixels count in both pictures", where="find_shift", mend="Widen the masks")
    starts = [(0.0, 0.0), _phase_shift(moving, fixed, moving_mask, fixed_mask)]
    found = [_refined(moving, fixed, moving_mask, fixed_mask, s) for s in starts if max(map(abs, s)) <= max_shift]
    found = [s for s in found if max(abs(s.rows), abs(s.cols)) <= max_shift]
    if not found:
        return Shift(0.0, 0.0, 0.0, int((moving_mask & fixed_mask).sum()))
    return max(found, key=lambda s: s.correlation)


def shift_image(image: np.ndarray, rows: float, cols: float, order: int = 3) -> np.ndarray:
    """The picture whose pixel (r, c) is the given one's at (r + rows, c + cols), by splines.

    Args:
        image: [..., H, W]; nan (no data) is carried along and grows by the pixels a spline mixes it into.
        rows, cols: pixels.
        order: of the spline; 3 keeps detail, 1 makes no overshoots, 0 copies the nearest pixel.

    Returns:
        [..., H, W] float32, nan where the picture does not reach.
    """
    from scipy.ndimage import shift as spline_shift

    image = np.asarray(image)
    lead = image.reshape(-1, *image.shape[-2:])
    out = np.empty(lead.shape, np.float32)
    for i, band in enumerate(lead):
        there = np.isfinite(band)
        filled = _filled(band.astype(np.float64), there)
        moved = spline_shift(filled, (-rows, -cols), order=order, mode="nearest")
        share = spline_shift(there.astype(np.float64), (-rows, -cols), order=min(order, 1), mode="constant", cval=0.0)
        # the rim's half pixel is still ground that the picture saw
        out[i] = np.where(share > 0.5, moved, np.nan)
    return out.reshape(image.shape)


def coregister(stack: DatedStack, reference: int | np.ndarray | None = None, max_shift: float = 5.0
               ) -> tuple[DatedStack, tuple[Shift, ...]]:
    """Every frame moved onto one.

    Args:
        stack: any; clouds are left out by its clear mask.
        reference: index of the frame that stays, or a picture [B, H, W] or [H, W]; None = the frame with most clear
            pixels.
        max_shift: pixels.

    Returns:
        The stack, frames without a trusted shift as they were, and the shift of each frame.

    Raises:
        InputError: a reference that is not there or has another size.
    """
    if reference is None:
        reference = int(stack.clear.sum(axis=(1, 2)).argmax())
    if isinstance(reference, (int, np.integer)):
        if not -len(stack) <= reference < len(stack):
            raise InputError(f"there is no frame {reference}", where="coregister", mend=f"0 to {len(stack) - 1}")
        fixed, fixed_mask = stack.images[reference], stack.clear[reference]
        reference = int(reference) % len(stack)
    else:
        fixed, fixed_mask, reference = np.asarray(reference), None, -1
    images, clear, shifts = stack.images.copy(), stack.clear.copy(), []
    for i in range(len(stack)):
        if i == reference:
            shifts.append(Shift(0.0, 0.0, 1.0, int(stack.clear[i].sum())))
            continue
        try:
            shift = find_shift(stack.images[i], fixed, stack.clear[i], fixed_mask, max_shift)
        except InputError:
            if stack.images.shape[-2:] != fixed.shape[-2:]:
                raise
            shift = Shift(0.0, 0.0, 0.0, 0)  # too little is clear to tell
        shifts.append(shift)
        if shift.trusted:
            images[i] = shift_image(stack.images[i], shift.rows, shift.cols)
            moved = shift_image(stack.clear[i].astype(np.float32), shift.rows, shift.cols, order=1)
            clear[i] = (np.nan_to_num(moved) > 0.99) & np.isfinite(images[i]).all(axis=0)
    return replace(stack, images=images, clear=clear), tuple(shifts)


def _grey(image: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    image = np.asarray(image, np.float64)
    image = image if image.ndim == 2 else image.mean(axis=0)
    there = np.isfinite(image)
    return image, there if mask is None else there & np.asarray(mask, bool)


def _filled(image: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Missing pixels take the nearest one that is there, so that a spline does not ring at the rim of a gap."""
    if there.all():
        return image
    if not there.any():
        return np.zeros_like(image)
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~there, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def _phase_shift(moving, fixed, moving_mask, fixed_mask) -> tuple[float, float]:
    from skimage.registration import phase_cross_correlation

    window = np.outer(np.hanning(fixed.shape[0]), np.hanning(fixed.shape[1]))
    flat = [np.where(mask, image - image[mask].mean(), 0.0) * window
            for image, mask in ((moving, moving_mask), (fixed, fixed_mask))]
    if not (flat[0].any() and flat[1].any()):
        return 0.0, 0.0
    back, _, _ = phase_cross_correlation(flat[1], flat[0], upsample_factor=10, normalization=None)
    return -float(back[0]), -float(back[1])


def _refined(moving, fixed, moving_mask, fixed_mask, start) -> Shift:
    """Gauss-Newton from a start; the pictures are smoothed a little, which widens the reach and calms the noise."""
    from scipy.ndimage import gaussian_filter, spline_filter
    from scipy.ndimage import shift as spline_shift

    pairs = (moving, moving_mask), (fixed, fixed_mask)
    smooth = [gaussian_filter(_filled(image, mask), 1.0) for image, mask in pairs]
    seen, fixed_mask = (_eroded(mask) for _, mask in pairs)
    down, along = (spline_filter(g) for g in np.gradient(smooth[0]))
    coefficients = spline_filter(smooth[0])
    shift, last = np.array(start, np.float64), None
    for _ in range(STEPS):
        take = lambda image: spline_shift(image, -shift, order=3, mode="nearest", prefilter=False)  # noqa: B023, E731
        mask = (spline_shift(seen, -shift, order=1, mode="constant") > 0.99) & (fixed_mask > 0)
        if mask.sum() < 64:
            break
        value = take(coefficients)[mask]
        target = smooth[1][mask]
        design = np.stack([take(down)[mask], take(along)[mask], value, np.ones_like(value)], axis=1)
        solved = np.linalg.lstsq(design, target, rcond=None)[0]
        flat = value.std() == 0 or target.std() == 0
        last = (0.0 if flat else float(np.corrcoef(value, target)[0, 1]), int(mask.sum()))
        gain = solved[2]
        if not gain > 0 or not np.isfinite(solved).all():
            break
        step = np.clip(solved[:2] / gain, -2, 2)
        shift = shift + step
        if np.abs(step).max() < STOP_PX:
            break
    if last is None:
        return Shift(float(start[0]), float(start[1]), 0.0, 0)
    return Shift(float(shift[0]), float(shift[1]), last[0], last[1])


def _eroded(mask: np.ndarray) -> np.ndarray:
    """Pixels that count and whose smoothed value holds none that does not, as float64."""
    from scipy.ndimage import binary_erosion

    inner = binary_erosion(mask, iterations=3, border_value=1)
    return (inner if inner.sum() >= 64 else mask).astype(np.float64)
