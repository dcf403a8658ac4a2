"""Pictures between their pixels, and with fewer of them; the cameras of smaller ones with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rsnb.geometry.intrinsics import scale_intrinsics
from rsnb.mpi.views import view_rows
from rsnb.scenes import PosedImages

LEAST_SIDE = 16  # pixels: no picture is made smaller than that


def sample_picture(image: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Bilinear samples [C, ...] of a picture [C, H, W] at pixels [..., 2], and where they lie inside it [...] bool.

    Inside means within half a pixel of the outermost centres' rectangle, that is on the picture; beyond, and at nan,
    the sample is 0.
    """
    height, width = image.shape[-2:]
    size = pixels.new_tensor([width, height])
    inside = ((pixels >= 0) & (pixels <= size)).all(dim=-1)
    grid = torch.where(inside[..., None], 2 * pixels / size - 1, torch.zeros_like(pixels)).to(image.dtype)
    flat = F.grid_sample(image[None], grid.reshape(1, 1, -1, 2), padding_mode="border", align_corners=False)
    samples = flat.reshape(image.shape[0], *pixels.shape[:-1])
    return torch.where(inside, samples, torch.zeros_like(samples)), inside


def smaller(views: PosedImages, names: Sequence[str], longest: int) -> PosedImages:
    """The named views, averaged down until no side has more pixels than `longest`, intrinsics with them; no depth."""
    chosen = views.subset(view_rows(views, names))
    height, width = chosen.images.shape[-2:]
    factor = max(height, width) / longest
    if factor <= 1:
        return chosen
    size = tuple(min(side, max(LEAST_SIDE, round(side / factor))) for side in (height, width))
    images = F.interpolate(torch.as_tensor(chosen.images), size, mode="area").numpy()
    K = np.stack([scale_intrinsics(k, (width, height), size[::-1]) for k in chosen.K])
    return PosedImages(images, chosen.world_to_cam, "pinhole", chosen.names, K, near_far=chosen.near_far)
