"""What a rendered view is compared with, and what keeps planes smooth where no view says otherwise.

The photometric loss is ImMPI's, a L1 + b (1 - SSIM), with two mends: the SSIM window is separable and its target
moments are computed once a view (`TargetMoments`), not once a step; and only pixels that some plane covers count, in
both terms. Regularisers are those of explicit multiplane images (NeX, section 3.4; MINE, equation 9): total variation
of colour and density, and an edge-aware term on the rendered depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rsnb.metrics.image import WINDOW, gaussian_blur, similarity


@dataclass(frozen=True)
class TargetMoments:
    """A target picture [3, H, W] with the local moments that SSIM wants of it: they do not change over the steps."""

    image: Tensor
    mean: Tensor
    square: Tensor
    padding: str = "valid"

    @classmethod
    def of(cls, image: Tensor, padding: str = "valid") -> TargetMoments:
        return cls(image, gaussian_blur(image, padding), gaussian_blur(image * image, padding), padding)


def ssim_to(target: TargetMoments, image: Tensor) -> Tensor:
    """Local similarity (Wang et al. 2004, equation 13) of a picture [3, H, W] to the target, per channel and window.

    Three blurs and not five, because the target's moments are known. [3, H - 10, W - 10], or [3, H, W] where the
    moments were computed with padding "zero".
    """
    blurred = gaussian_blur(torch.cat([image, image * image, image * target.image]), target.padding)
    mean, square, product = blurred.split(image.shape[0])
    return similarity(mean, target.mean, square, target.square, product)


def published_ssim(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """ImMPI's SSIM: zero padding, on pictures multiplied by the mask, mean over the whole frame.

    Where both are black (outside the mask) it counts 1, so that it grows as the mask shrinks: for its own table only.

    Args:
        a, b: [3, H, W] in 0..1.
        mask: [H, W], or None for everywhere.
    """
    if mask is not None:
        a, b = a * mask.to(a.dtype), b * mask.to(b.dtype)
    return ssim_to(TargetMoments.of(b, "zero"), a).mean()


def photometric_loss(image: Tensor, target: TargetMoments, mask: Tensor | None = None, weights=(2.0, 1.0)) -> Tensor:
    """weights[0] L1 + weights[1] (1 - SSIM) over the pixels of the mask.

    L1 is ImMPI's: the sum over channels divided by the pixels, hence three times the mean. SSIM counts at windows whose
    centre lies in the mask. Pixels outside the mask are set to the target's own, so that they pull at nothing.

    Args:
        image: [3, H, W] rendered, 0..1.
        target: moments of the true picture of that size (padding "valid").
        mask: [H, W], what counts; None = everywhere. Should be not empty: an empty one gives 0.
        weights: of the two terms. Where the second is 0, or the picture smaller than the window, SSIM is left out.
    """
    if mask is None:
        mask = torch.ones_like(image[0])
    mask = mask.to(image.dtype)
    blended = mask * image + (1 - mask) * target.image
    pixels = mask.sum().clamp_min(1.0)
    loss = weights[0] * (blended - target.image).abs().sum() / pixels
    if weights[1] == 0 or min(image.shape[-2:]) < WINDOW:
        return loss
    edge = WINDOW // 2
    inner = mask if target.padding == "zero" else mask[edge:-edge, edge:-edge]
    similarity = ssim_to(target, blended)
    return loss + weights[1] * ((1 - similarity) * inner).sum() / (3 * inner.sum().clamp_min(1.0))


def total_variation(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute difference of neighbours along rows and along columns, added: [..., H, W] -> [].

    Args:
        values: [..., H, W].
        weight: broadcastable to `values`, >= 0: a pair counts as much as the less of its two weights.
    """
    down = (values[..., 1:, :] - values[..., :-1, :]).abs()
    right = (values[..., 1:] - values[..., :-1]).abs()
    if weight is not None:
        down = down * torch.minimum(weight[..., 1:, :], weight[..., :-1, :])
        right = right * torch.minimum(weight[..., 1:], weight[..., :-1])
    return down.mean() + right.mean()


def edge_aware_smoothness(depth: Tensor, image: Tensor, sharpness: float = 10.0) -> Tensor:
    """Mean gradient of a depth picture, each counted exp(-sharpness |gradient of the image|).

    Give disparity scaled to 0..1, so that one weight fits scenes of any unit.

    Args:
        depth: [H, W].
        image: [3, H, W] in 0..1, the guide; no gradient is taken through it.
        sharpness: per unit of colour difference (mean over channels).
    """
    image = image.detach()
    down = (depth[1:] - depth[:-1]).abs() * torch.exp(-sharpness * (image[:, 1:] - image[:, :-1]).abs().mean(0))
    right = (depth[:, 1:] - depth[:, :-1]).abs() * torch.exp(
        -sharpness * (image[..., 1:] - image[..., :-1]).abs().mean(0))
    return down.mean() + right.mean()
