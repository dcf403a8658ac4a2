"""The sharpness difference of Shi et al., which shares its name with another one."""

from __future__ import annotations

import math

import numpy as np
import torch

from rsnb.errors import InputError
from rsnb.metrics.image import checked_pair, mean_or_each


def sharpness_difference_shi(a, b, *, per_image: bool = False) -> float | np.ndarray:
    """How well the gradients of two pictures agree, in dB, as Shi et al. (TPAMI 2022) count it; higher is better.

    10 log10(255^2 / (64 mean(|dx| + |dy|))) with dx, dy the differences between the signed forward gradients of the two
    pictures in samples 0..255, over all channels of the interior (H - 2) x (W - 2) pixels. `sharpness_difference` is
    that of Sat2Density, of unsigned gradients that may cancel: never put both into one column.

    Args:
        a, b: [..., C, H, W] in 0..1, at least 3 x 3.
        per_image: return [...] instead of the mean.

    Returns:
        dB; infinity where the gradients are identical.

    Raises:
        InputError: as for `psnr`; also pictures without an interior.
    """
    a, b, _ = checked_pair(a, b, None, 1.0)
    if min(a.shape[-2:]) < 3:
        raise InputError(f"pictures of {tuple(a.shape[-2:])} pixels have no interior", where="sharpness_difference_shi")
    difference = 255 * (a - b)  # gradients are linear: that of the difference is the difference of both
    centre = difference[..., 1:-1, 1:-1]
    errors = (difference[..., 2:, 1:-1] - centre).abs() + (difference[..., 1:-1, 2:] - centre).abs()
    # 10 log10 of a quotient as a difference of logarithms: 0 gives infinity without a division by it
    decibels = 10 * (math.log10(255**2 / 64) - torch.log10(errors.mean(dim=(-3, -2, -1))))
    return mean_or_each(decibels.cpu().numpy(), per_image)
