"""How far one picture lies beside another, to a few hundredths of a pixel, and moving it back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rsnb.errors import InputError
from rsnb.scenes import DatedStack

# A shift is believed if the edges agree to this after it; edges of pictures that have nothing in common reach 0.1.
LEAST_CORRELATION = 0.2
# Pictures whose edges agree to this have the same season: then their values help. Else they mislead.
ALIKE = 0.8
STEPS, STOP_PX = 40, 1e-4
# Everything is looked at through a Gaussian of this many pixels, which widens the reach and calms the noise; what lies
# within RIM_PX of a masked pixel or of the picture's rim is not compared, since the filter mixes that in.
FINE_PX, RIM_PX = 1.0, 4


@dataclass(frozen=True)
class Shift:
    """Where the content of one picture lies in another.

    Attributes:
        rows, cols: pixels by which the moving picture's content lies below and to the right of the fixed one's.
        correlation: of what was compared after the shift, over the pixels that count in both, mean of the bands.
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

    Fields change their colours between dates, even from darker to brighter than their neighbours, but keep their edges:
    compared is the gradient's magnitude in each band, and the values too where the edges agree well. First tenths of a
    pixel by cross-correlation (up-sampled Fourier transform of Guizar-Sicairos et al. 2008, `skimage.registration`), in
    which masked pixels hold the mean; then Gauss-Newton on sum (gain * moving(x + s) + bias - fixed)^2 over the pixels
    that count in both (Lucas and Kanade 1981), each feature weighted by how well it fits. Masked clouds have no
    influence on that. Measured on scenes known as functions: within 0.01 pixel without noise, 0.03 with 2 % noise and
    28 % of one picture masked. On real Sentinel-2 frames of one place over two months a known move is found to 0.1
    pixel at worst (0.01 in the median), and going round three dates misses by 0.2 pixel in the mean, 0.5 at worst.

    Args:
        moving, fixed: [H, W] or [B, H, W], the same bands.
        moving_mask, fixed_mask: [H, W], true where pixels count.
        max_shift: pixels; a larger one is not believed.

    Raises:
        InputError: sizes differ, pictures under 16 x 16, or under 64 pixels that count in both.
    """
    moving, moving_mask = _bands(moving, moving_mask)
    fixed, fixed_mask = _bands(fixed, fixed_mask)
    if moving.shape != fixed.shape or min(fixed.shape[1:]) < 16:
        raise InputError(f"pictures of {moving.shape} and {fixed.shape}", where="find_shift",
                         mend="Bring both to the same bands and one size of at least 16 x 16 first")
    counting = int((moving_mask & fixed_mask).sum())
    if counting < 64:
        raise InputError("under 64 pixels count in both pictures", where="find_shift", mend="Widen the masks")
    features = _features(moving, moving_mask), _features(fixed, fixed_mask)
    masks = moving_mask, fixed_mask
    edges = tuple(f[: len(fixed)] for f in features)
    coarse = _coarse_shift(*edges, *masks)
    # the coarse shift can be a cloud's: then beginning from none may do better
    starts = [coarse] if max(map(abs, coarse)) < 1 else [coarse, (0.0, 0.0)]
    found = [_refined(*edges, *masks, start) for start in starts if max(map(abs, start)) <= max_shift]
    found = [s for s in found if max(abs(s.rows), abs(s.cols)) <= max_shift]
    best = max(found, key=lambda s: s.correlation, default=Shift(0.0, 0.0, 0.0, counting))
    if best.correlation < ALIKE:
        return best
    return _refined(*features, *masks, (best.rows, best.cols))


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
        reference: index of the frame that stays, or a picture [B, H, W] or [H, W]; None = of the frames that are nearly
            as clear as the clearest the one nearest to the middle of the dates (shadows of another season move edges:
            on a simulated city by 0.2 pixel between March and summer, where summer frames agree to 0.05).
        max_shift: pixels.

    Returns:
        The stack, frames without a trusted shift as they were, and the shift of each frame.

    Raises:
        InputError: a reference that is not there or has another size.
    """
    if reference is None:
        share, days = stack.clear.mean(axis=(1, 2)), stack.days()
        away = np.where(share >= 0.9 * share.max(), np.abs(days - days.mean()), np.inf)
        reference = int(away.argmin())
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


def _bands(image: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    image = np.asarray(image, np.float64)
    image = image[None] if image.ndim == 2 else image
    there = np.isfinite(image).all(axis=0)
    return image, there if mask is None else there & np.asarray(mask, bool)


def _features(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[2 B, H, W]: the strength of each band's edges, then the bands themselves, both smoothed."""
    from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

    filled = [_filled(band, mask) for band in image]
    edges = [gaussian_gradient_magnitude(band, FINE_PX) for band in filled]
    return np.stack(edges + [gaussian_filter(band, FINE_PX) for band in filled])


def _filled(image: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Missing pixels take the nearest one that is there, so that a spline does not ring at the rim of a gap."""
    if there.all():
        return image
    if not there.any():
        return np.zeros_like(image)
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~there, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def _coarse_shift(moving, fixed, moving_mask, fixed_mask) -> tuple[float, float]:
    """To a tenth of a pixel from the strength of edges, [B, H, W] each."""
    from skimage.registration import phase_cross_correlation

    window = np.outer(np.hanning(fixed.shape[1]), np.hanning(fixed.shape[2]))
    pair = []
    for edges, mask in ((fixed, fixed_mask), (moving, moving_mask)):
        spread = np.maximum(edges[:, mask].std(axis=1), 1e-30)[:, None, None]
        level = edges[:, mask].mean(axis=1)[:, None, None]
        pair.append(np.where(mask, ((edges - level) / spread).mean(axis=0), 0.0) * window)
    if not (np.abs(pair[0]).max() > 1e-9 and np.abs(pair[1]).max() > 1e-9):
        return 0.0, 0.0
    back, _, _ = phase_cross_correlation(*pair, upsample_factor=10, normalization=None)
    return -float(back[0]), -float(back[1])


def _refined(moving, fixed, moving_mask, fixed_mask, start) -> Shift:
    """Gauss-Newton from a start, on features [F, H, W]."""
    from scipy.ndimage import shift as spline_shift
    from scipy.ndimage import spline_filter

    splines = [[spline_filter(image) for image in (feature, *np.gradient(feature))] for feature in moving]
    seen, fixed_mask = _eroded(moving_mask).astype(np.float64), _eroded(fixed_mask)
    shift, found = np.array(start, np.float64), Shift(float(start[0]), float(start[1]), 0.0, 0)
    for _ in range(STEPS):
        mask = (spline_shift(seen, -shift, order=1, mode="constant") > 0.99) & fixed_mask
        if mask.sum() < 64:
            break
        normal, right, correlations = np.zeros((2, 2)), np.zeros(2), []
        for images, target in zip(splines, fixed, strict=True):
            values = [spline_shift(image, -shift, order=3, mode="nearest", prefilter=False)[mask] for image in images]
            parts = _normal_equations(*values, target[mask])
            normal, right = normal + parts[0], right + parts[1]
            correlations.append(parts[2])
        found = Shift(float(shift[0]), float(shift[1]), float(np.mean(correlations)), int(mask.sum()))
        if not np.linalg.det(normal) > 0:
            break
        step = np.clip(np.linalg.solve(normal, right), -1, 1)
        if np.abs(step).max() < STOP_PX:
            break
        shift = shift + step
    return found


def _normal_equations(value, down, along, target) -> tuple[np.ndarray, np.ndarray, float]:
    """One feature's share of the 2 x 2 system for the next step, and its correlation; [n] each."""
    value, target = value - value.mean(), target - target.mean()
    energy = value @ value
    if not (energy > 1e-20 * len(value) and target @ target > 1e-20 * len(value)):
        return np.zeros((2, 2)), np.zeros(2), 0.0
    gain = value @ target / energy
    rest = target - gain * value
    slope = gain * np.stack([down - down.mean(), along - along.mean()])
    # a feature that fits badly (another season) says little; the floor keeps a perfect fit from dividing by zero
    variance = max(rest @ rest, 1e-12 * (target @ target)) / len(rest)
    correlation = float(value @ target / np.sqrt(energy * (target @ target)))
    return slope @ slope.T / variance, slope @ rest / variance, correlation


def _eroded(mask: np.ndarray) -> np.ndarray:
    """Pixels that count, away from those that do not."""
    from scipy.ndimage import binary_erosion

    inner = binary_erosion(mask, iterations=RIM_PX, border_value=0)
    return inner if inner.sum() >= 64 else mask
