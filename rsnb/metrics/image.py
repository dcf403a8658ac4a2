"""Pixel scores: PSNR, SSIM, RMSE, MSE, MAE, sharpness difference; `picture_scores` gives the usual ones at once.

Known answers (tests hold them): two TID2013 pairs with the values of the original implementations, and piq's goldhill
pair. Two traps they settle: published PSNR is over all RGB samples (luma alone gives 1.2 and 0.4 dB more on those
pairs), while published SSIM is that of the luma rounded to 8 bit (0.6993, 0.9669; the mean over RGB channels is 0.6732,
0.9674), and the down-sampling of the authors' MATLAB script moves it further still.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from rsnb.errors import InputError

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03  # Wang et al. 2004, section III.B
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_BELL = [math.exp(-((i - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for i in range(WINDOW)]
KERNEL = [value / sum(_BELL) for value in _BELL]
# A window of which less lies inside the mask says more about the mask than about the picture.
LEAST_WINDOW_SHARE = 0.25


def psnr(a, b, mask=None, *, data_range: float = 1.0, per_image: bool = False) -> float | np.ndarray:
    """Peak signal-to-noise ratio in dB, 10 log10(data_range^2 / MSE), over all channels together.

    Args:
        a, b: [..., C, H, W] pictures.
        mask: [..., H, W] or [..., 1, H, W], True where pixels count; None = everywhere.
        data_range: the largest value a sample can have (1 for pictures in 0..1).
        per_image: return [...] instead of the mean.

    Returns:
        dB. Identical pictures have infinity, and so has the mean of a batch that holds such a pair. The mean is one of
        dB values, not the dB of a mean error.

    Raises:
        InputError: shapes differ, a sample that counts is not finite, or a mask is empty.
    """
    errors = _mean_squared_errors(a, b, mask, data_range)
    with np.errstate(divide="ignore"):
        return mean_or_each(10 * np.log10(data_range**2 / errors), per_image)


def rmse(a, b, mask=None, *, scale: float = 1.0, per_image: bool = False) -> float | np.ndarray:
    """Root mean squared error over all channels, times `scale` (255 gives the grey levels that papers quote).

    Arguments and errors as for `psnr`.
    """
    return mean_or_each(scale * np.sqrt(_mean_squared_errors(a, b, mask, math.inf)), per_image)


def mse(a, b, mask=None, *, scale: float = 1.0, per_image: bool = False) -> float | np.ndarray:
    """Mean squared error over all channels, times `scale` squared (255 gives squared grey levels).

    Arguments and errors as for `psnr`.
    """
    return mean_or_each(scale**2 * _mean_squared_errors(a, b, mask, math.inf), per_image)


def mae(a, b, mask=None, *, scale: float = 1.0, per_image: bool = False) -> float | np.ndarray:
    """Mean absolute error over all channels, times `scale`.

    Arguments and errors as for `psnr`.
    """
    a, b, mask = checked_pair(a, b, mask, math.inf)
    return mean_or_each(scale * _masked_mean((a - b).abs(), mask, "mask"), per_image)


def picture_scores(pred, ref, mask=None, *, data_range: float = 1.0) -> dict[str, float]:
    """MAE, MSE, RMSE, PSNR and SSIM of a picture (means over a batch), and how much of it counted.

    Args:
        pred, ref: [..., C, H, W], 1 or 3 channels (score the bands of a satellite picture one by one).
        mask: [..., H, W], true where pixels count: clear ones.
        data_range: the largest value a sample can have.

    Returns:
        {"mae", "mse", "rmse", "psnr", "ssim", "counted"}; psnr in dB, counted the share of pixels. Where no window of
        SSIM lies in the mask to a quarter or more, or the picture is smaller than the window, "ssim" is absent: a table
        shows the gap.

    Raises:
        InputError: as for `psnr`.
    """
    scores = {"mae": mae(pred, ref, mask), "mse": mse(pred, ref, mask), "rmse": rmse(pred, ref, mask),
              "psnr": psnr(pred, ref, mask, data_range=data_range)}
    try:
        scores["ssim"] = ssim(pred, ref, mask, data_range=data_range)
    except InputError as error:
        if not str(error.where).startswith("ssim"):
            raise
    shape = checked_pair(pred, ref, mask, data_range)[2]
    return scores | {"counted": 1.0 if shape is None else float(shape.double().mean())}


def ssim(a, b, mask=None, *, data_range: float = 1.0, downsample: bool = False, channels: str = "each",
         per_image: bool = False) -> float | np.ndarray:
    """Structural similarity (Wang et al. 2004, equation 13): 11 x 11 Gaussian of sigma 1.5, K1 = 0.01, K2 = 0.03.

    Only windows that lie wholly inside the picture count ("valid", as in the authors' script and in scikit-image), and
    variances are those of the population. With the defaults the result equals
    `skimage.metrics.structural_similarity(..., gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`.

    Args:
        a, b: [..., C, H, W] pictures, at least 11 x 11.
        mask: [..., H, W] or [..., 1, H, W], True where pixels count. Local means and variances then weigh counting
            pixels only, so that what lies outside has no influence at all; averaged are the windows whose centre
            counts and of which at least a quarter of the weight does.
        data_range: the largest value a sample can have.
        downsample: average blocks of round(min(H, W) / 256) pixels first, as the authors' ssim.m and piq do: at 512 x
            512 the goldhill pair has 0.8202 so and 0.6824 without. Not together with a mask.
        channels: "each" = mean of the channels' values (scikit-image, torchmetrics, pytorch-msssim); "luma" = of the
            BT.601 luma alone (MATLAB's rgb2gray also rounds it to 8 bit: round `luma(...)` yourself to match that).
        per_image: return [...] instead of the mean.

    Raises:
        InputError: as for `psnr`; also pictures that are smaller than the window.
    """
    a, b, mask = checked_pair(a, b, mask, data_range)
    if channels not in ("each", "luma"):
        raise InputError(f"channels = {channels!r}", where="ssim", mend='Write "each" or "luma"')
    if channels == "luma":
        a, b = luma(a), luma(b)
    if downsample:
        if mask is not None:
            raise InputError("downsample and mask together have no agreed meaning", where="ssim", mend="Drop one")
        a, b = _block_average(a), _block_average(b)
    values = []
    for i, (x, y) in enumerate(zip(one_by_one(a), one_by_one(b), strict=True)):
        if mask is None:
            values.append(float(ssim_map(x, y, data_range=data_range).mean()))
            continue
        seen = one_by_one(mask[..., None, :, :])[i]
        similarity, share = _masked_ssim_map(x, y, seen, data_range)
        centres = seen[..., WINDOW // 2 : -(WINDOW // 2), WINDOW // 2 : -(WINDOW // 2)] & (share >= LEAST_WINDOW_SHARE)
        if not centres.any():
            raise InputError(f"no window of picture {i} (from 0) lies in the mask to a quarter or more",
                             where="ssim mask", mend="Use a mask with larger areas")
        values.append(float(similarity[centres.expand(similarity.shape)].mean()))
    return mean_or_each(np.array(values).reshape(a.shape[:-3]), per_image)


def ssim_map(a: Tensor, b: Tensor, *, data_range: float = 1.0) -> Tensor:
    """The local similarity at every "valid" window, [..., C, H - 10, W - 10]; differentiable, in the input's precision.

    1 - mean of it is the SSIM loss of the multiplane-image papers. Arguments are tensors [..., C, H, W].
    """
    return similarity(*(gaussian_blur(x) for x in (a, b, a * a, b * b, a * b)), data_range)


def luma(image: Tensor) -> Tensor:
    """BT.601 luma [..., 1, H, W] of RGB [..., 3, H, W], full range, not rounded; one channel is passed through."""
    if image.shape[-3] == 1:
        return image
    weights = image.new_tensor(LUMA)[:, None, None]
    return (image * weights).sum(dim=-3, keepdim=True)


def sharpness_difference(a, b, mask=None, *, per_image: bool = False) -> float | np.ndarray:
    """How well the strength of edges agrees, in dB, as Sat2Density computes it (higher is better).

    With g = |forward difference down| + |forward difference right|, 10 log10(1 / mean |g(a) - g(b)|) over all channels
    of the interior (H - 2) x (W - 2) pixels, samples in 0..1. After Mathieu, Couprie and LeCun 2016, equation 10, who
    take backward differences of the whole picture. Because the difference is not squared the value depends on the range
    of the samples (0..255 gives 24 dB more), and other papers define other sums (Shi et al.): compare only numbers of
    one definition.

    Args:
        a, b: [..., C, H, W] in 0..1, at least 3 x 3.
        mask: a pixel counts if it and its neighbours below and to the right do.
        per_image: return [...] instead of the mean.

    Returns:
        dB; infinity where the edge strengths are identical (which does not mean that the pictures are).

    Raises:
        InputError: as for `psnr`; also pictures without an interior.
    """
    a, b, mask = checked_pair(a, b, mask, 1.0)
    if min(a.shape[-2:]) < 3:
        raise InputError(f"pictures of {tuple(a.shape[-2:])} pixels have no interior", where="sharpness_difference")
    inside = None
    if mask is not None:
        centre, below, right = mask[..., 1:-1, 1:-1], mask[..., 2:, 1:-1], mask[..., 1:-1, 2:]
        inside = centre & below & right
    errors = _masked_mean((_edge_strength(a) - _edge_strength(b)).abs(), inside, "sharpness_difference")
    with np.errstate(divide="ignore"):
        return mean_or_each(10 * np.log10(1 / errors), per_image)


def _edge_strength(image: Tensor) -> Tensor:
    """|down| + |right| at the interior pixels, [..., C, H - 2, W - 2]."""
    centre = image[..., 1:-1, 1:-1]
    return (image[..., 2:, 1:-1] - centre).abs() + (image[..., 1:-1, 2:] - centre).abs()


def checked_pair(a, b, mask, data_range: float) -> tuple[Tensor, Tensor, Tensor | None]:
    """Both pictures in float64 and the mask as bool [..., H, W], after every check that all scores share."""
    a, b = _picture(a, "a"), _picture(b, "b")
    b = b.to(a.device)
    if a.shape != b.shape:
        raise InputError(f"pictures of shape {tuple(a.shape)} and {tuple(b.shape)}", where="metrics",
                         mend="Bring them to one size first; scores never resize")
    if mask is not None:
        mask = torch.as_tensor(np.asarray(mask) if not isinstance(mask, Tensor) else mask).to(a.device).bool()
        if mask.ndim == a.ndim and mask.shape[-3] == 1:
            mask = mask[..., 0, :, :]
        try:
            mask = mask.expand(*a.shape[:-3], *a.shape[-2:])
        except RuntimeError as error:
            raise InputError(f"a mask of shape {tuple(mask.shape)} for pictures of shape {tuple(a.shape)}",
                             where="mask", mend="Give [..., H, W]") from error
        # Whatever lies outside the mask must not matter, not even as NaN times zero.
        a, b = (torch.where(mask[..., None, :, :], x, torch.zeros_like(x)) for x in (a, b))
    for name, x in (("a", a), ("b", b)):
        if not torch.isfinite(x).all():
            raise InputError(f"picture {name} holds samples that are not finite", where="metrics",
                             mend="Repair what made them, or mask them out")
        if x.numel() and x.abs().max() > 16 * data_range:
            raise InputError(f"picture {name} reaches {float(x.abs().max()):g}, but data_range is {data_range:g}",
                             where="metrics", mend="Divide 8-bit pictures by 255, or give the data_range")
    return a, b, mask


def _picture(image, name: str) -> Tensor:
    if not isinstance(image, Tensor):
        image = torch.from_numpy(np.array(image))
    if image.ndim < 3 or image.shape[-3] not in (1, 3) or image.numel() == 0:
        hint = "Transpose pictures of shape [H, W, 3]" if image.ndim and image.shape[-1] == 3 else "Give RGB pictures"
        raise InputError(f"picture {name} has shape {tuple(image.shape)}, expected [..., 3, H, W]", where="metrics",
                         mend=hint)
    if not image.is_floating_point():
        raise InputError(f"picture {name} holds {image.dtype}, expected samples in 0..1", where="metrics",
                         mend="Divide 8-bit pictures by 255")
    return image.detach().to(torch.float64)


def _mean_squared_errors(a, b, mask, data_range: float) -> np.ndarray:
    """[...] one mean squared error a picture."""
    a, b, mask = checked_pair(a, b, mask, data_range)
    return _masked_mean((a - b) ** 2, mask, "mask")


def _masked_mean(values: Tensor, mask: Tensor | None, where: str) -> np.ndarray:
    """Mean of [..., C, H, W] over channels and pixels, [...] numpy."""
    if mask is None:
        return values.mean(dim=(-3, -2, -1)).cpu().numpy()
    count = mask.sum(dim=(-2, -1))
    if (count == 0).any():
        raise InputError("the mask leaves no pixel of a picture", where=where,
                         mend="Drop that picture or widen the mask")
    total = torch.where(mask[..., None, :, :], values, torch.zeros_like(values)).sum(dim=(-3, -2, -1))
    return (total / (count * values.shape[-3])).cpu().numpy()


def mean_or_each(values: np.ndarray, per_image: bool) -> float | np.ndarray:
    return np.asarray(values, dtype=np.float64) if per_image else float(np.mean(values))


def one_by_one(batch: Tensor) -> Tensor:
    """[..., C, H, W] to [N, C, H, W]: one by one, five float64 moment maps of a large batch would not fit."""
    return batch.reshape(-1, *batch.shape[-3:])


def gaussian_blur(x: Tensor, padding: str = "valid") -> Tensor:
    """The 11 x 11 window of SSIM (sigma 1.5) over [..., H, W], one axis after the other; differentiable.

    Args:
        x: [..., H, W].
        padding: "valid" gives [..., H - 10, W - 10], "zero" [..., H, W] with zeros beyond the border.

    Raises:
        InputError: smaller than the window, where padding is "valid".
    """
    if padding == "zero":
        x = torch.nn.functional.pad(x, (WINDOW // 2,) * 4)
    height, width = x.shape[-2:]
    if min(height, width) < WINDOW:
        raise InputError(f"a picture of {height} x {width} pixels is smaller than the window of SSIM", where="ssim",
                         mend=f"Use pictures of at least {WINDOW} x {WINDOW} pixels")
    # Sums of shifted slices: in float64 on a CPU a twentieth of conv2d's time.
    for axis in (-2, -1):
        length = x.shape[axis] - WINDOW + 1
        blurred = x.narrow(axis, 0, length) * KERNEL[0]
        for i in range(1, WINDOW):
            blurred.add_(x.narrow(axis, i, length), alpha=KERNEL[i])
        x = blurred
    return x


def similarity(mean_a, mean_b, square_a, square_b, product, data_range: float = 1.0) -> Tensor:
    """Equation 13 of Wang et al. 2004 from the five local means."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    means, covariance = mean_a * mean_b, product - mean_a * mean_b
    energy = mean_a**2 + mean_b**2
    spread = square_a + square_b - energy
    return ((2 * means + c1) * (2 * covariance + c2)) / ((energy + c1) * (spread + c2))


def _masked_ssim_map(a: Tensor, b: Tensor, mask: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """Local similarity [C, H - 10, W - 10] from counting pixels only; their share of the weight [1, H - 10, W - 10]."""
    weight = mask.to(a.dtype)
    share = gaussian_blur(weight)
    safe = share.clamp_min(1e-300)
    moments = [gaussian_blur(weight * x) / safe for x in (a, b, a * a, b * b, a * b)]
    return similarity(*moments, data_range), share


def _block_average(image: Tensor) -> Tensor:
    factor = max(1, round(min(image.shape[-2:]) / 256))
    pooled = torch.nn.functional.avg_pool2d(one_by_one(image), factor)
    return pooled.reshape(*image.shape[:-2], *pooled.shape[-2:])
