"""The histogram of a panorama's sky, which is all the model is told of the light, and some skies to choose from.

"published" restates Sat2Density with its defects: raw counts, which grow with the sky's area and the picture's size;
bin edges from 0 (the masked pixels) to each channel's own maximum, so that absolute brightness is partly lost; dark sky
shares the ten dropped bins with what is masked. "fixed" mends them: sky pixels alone, edges at hundredths of 0..1, each
channel's kept bins made to sum to 1, as Sat2Density++ does. "grey" is the same of the luma alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rsnb.errors import InputError
from rsnb.metrics.image import luma

BINS, DROPPED = 100, 10
KEPT = BINS - DROPPED
LENGTH = 3 * KEPT  # of a histogram: 90 bins of blue, then green, then red
HistogramMode = Literal["fixed", "published", "grey"]
SKY_SHARE = 0.4  # of a street panorama of the whole sphere


def sky_histogram(panorama: Tensor, sky: Tensor, mode: HistogramMode = "fixed", *, bins: int = BINS,
                  dropped: int = DROPPED) -> Tensor:
    """Histogram [B, 3 (bins - dropped)] of the sky's blue, then green, then red, dark bins left out.

    That of "grey" is [B, bins - dropped]. Where there is no sky (or, but for "published", none as bright as the kept
    bins) a channel's part is 0: count these. "published" then has all masked pixels in its middle bin, as
    numpy.histogram does with a constant.

    Args:
        panorama: [B, 3, H, W] in 0..1.
        sky: [B, H, W] bool, true where sky is seen.
        mode: "fixed", "published" or "grey" (see the module).
        bins: over the range, before `dropped` of them are left out at the dark end.

    Raises:
        InputError: shapes that do not fit, an unknown mode, values that are not finite.
    """
    if panorama.ndim != 4 or panorama.shape[1] != 3 or sky.shape != panorama.shape[:1] + panorama.shape[2:]:
        raise InputError(f"the panorama has shape {tuple(panorama.shape)}, the sky mask {tuple(sky.shape)}",
                         where="sky_histogram", mend="Give [B, 3, H, W] and a mask [B, H, W] of the same size")
    if mode not in get_args(HistogramMode):
        raise InputError(f"there is no mode {mode!r}", where="sky_histogram",
                         mend=f"Write one of {', '.join(get_args(HistogramMode))}")
    panorama, sky = panorama.detach(), sky.bool()
    if not torch.isfinite(panorama).all():
        raise InputError("the panorama holds values that are not finite", where="sky_histogram")
    picture = luma(panorama) if mode == "grey" else panorama.flip(1)  # [B, 1 or 3, H, W], blue first
    values, weight = picture.flatten(2), sky[:, None].expand_as(picture).flatten(2).to(panorama.dtype)
    if mode == "published":
        values, weight = values * weight, torch.ones_like(weight)
        index = _own_range_bins(values, bins)
    else:
        index = (values * bins).floor().clamp(0, bins - 1).long()
    counts = values.new_zeros(*values.shape[:2], bins).scatter_add_(2, index, weight)[..., dropped:]
    if mode != "published":
        counts = counts / counts.sum(dim=-1, keepdim=True).clamp(min=1)
    return counts.flatten(1)


def sky_distance(a: Tensor, b: Tensor, bins: int = BINS, channels: int = 3) -> Tensor:
    """Earth mover's distance [...] of two histograms [..., channels K], mean over the channels, in brightness 0..1.

    Each channel is made to sum to 1 first, so area does not count; NaN where a channel of either is empty. A "grey"
    histogram has one channel.
    """
    a, b = (h.unflatten(-1, (channels, -1)) for h in (a, b))
    a, b = (h / h.sum(dim=-1, keepdim=True) for h in (a, b))
    return (a - b).cumsum(dim=-1).abs().sum(dim=-1).mean(dim=-1) / bins


@dataclass(frozen=True)
class SkyLook:
    """A sky made of a gradient, some clouds and grain; colours are red, green, blue in 0..1.

    Attributes:
        zenith, horizon: colours there.
        cloud: colour of the clouds.
        cover: share of the sky that they hide, 0..1.
    """

    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    cloud: tuple[float, float, float] = (0.95, 0.95, 0.95)
    cover: float = 0.0


SKY_LOOKS = {
    "clear": SkyLook((0.27, 0.47, 0.78), (0.68, 0.82, 0.94)),
    "clouds": SkyLook((0.33, 0.52, 0.80), (0.75, 0.85, 0.94), cover=0.45),
    "haze": SkyLook((0.62, 0.70, 0.78), (0.85, 0.86, 0.85)),
    "overcast": SkyLook((0.62, 0.64, 0.67), (0.80, 0.81, 0.82), cloud=(0.72, 0.73, 0.75), cover=0.5),
    "bright": SkyLook((0.90, 0.93, 0.97), (0.99, 0.99, 0.99), cloud=(1.0, 1.0, 1.0), cover=0.3),
    "dusk": SkyLook((0.24, 0.27, 0.47), (0.92, 0.60, 0.38), cloud=(0.62, 0.42, 0.44), cover=0.2),
    "gloom": SkyLook((0.30, 0.33, 0.38), (0.48, 0.50, 0.53), cloud=(0.36, 0.38, 0.41), cover=0.6),
}


def sky_picture(look: SkyLook, height: int = 64, width: int = 256, seed: int = 0) -> Tensor:
    """[3, H, W] float32 in 0..1 from zenith (first row) to horizon, the same for the same seed on every machine."""
    rng = np.random.default_rng(seed)
    up = torch.linspace(1, 0, height)[:, None] ** 1.5  # the gradient is steepest near the zenith
    zenith, horizon, cloud = (torch.tensor(c)[:, None, None] for c in (look.zenith, look.horizon, look.cloud))
    sky = horizon + (zenith - horizon) * up
    coarse = torch.from_numpy(rng.random((1, 1, max(height // 8, 2), max(width // 16, 2)))).float()
    blobs = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)[0, 0]
    edge = torch.quantile(blobs, 1 - look.cover)
    cover = ((blobs - edge) * 6 + 0.5).clamp(0, 1) if look.cover > 0 else torch.zeros_like(blobs)
    grain = torch.from_numpy(rng.normal(scale=0.012, size=(3, height, width))).float()
    return (sky + (cloud - sky) * cover + grain).clamp(0, 1)


def preset_sky(name: str, mode: HistogramMode = "fixed", *, height: int = 128, width: int = 512,
               share: float = SKY_SHARE) -> Tensor:
    """Histogram [270], "grey" [90], of one of `SKY_LOOKS`, for a tile that comes without a panorama.

    Args:
        name: "clear", "clouds", "haze", "overcast", "bright", "dusk" or "gloom".
        mode: as the encoder was trained (`IlluminationOptions.histogram`).
        height, width, share: of the panoramas that the encoder was trained on, and how much of them is sky. "published"
            counts pixels and puts what is masked into its lowest bin, so that an encoder would take the sky of another
            size for another light; the other modes do not depend on them but for the grain.

    Raises:
        InputError: an unknown name, or a share that leaves no sky or nothing else.
    """
    if name not in SKY_LOOKS:
        raise InputError(f"there is no sky {name!r}", where="sky", mend=f"Write one of {', '.join(SKY_LOOKS)}")
    rows = round(share * height)
    if not 0 < rows < height:
        raise InputError(f"a share of {share:g} of {height} rows", where="preset_sky",
                         mend="Give a share between 0 and 1 that is at least a row, and leaves one")
    panorama, sky = torch.zeros(1, 3, height, width), torch.zeros(1, height, width, dtype=torch.bool)
    panorama[0, :, :rows], sky[:, :rows] = sky_picture(SKY_LOOKS[name], rows, width), True
    return sky_histogram(panorama, sky, mode)[0]


def preset_skies(mode: HistogramMode = "fixed") -> dict[str, Tensor]:
    """All presets: name to histogram, as `preset_sky` gives them."""
    return {name: preset_sky(name, mode) for name in SKY_LOOKS}


def _own_range_bins(values: Tensor, bins: int) -> Tensor:
    """Bin [B, 3, N] of every value by numpy.histogram's edges over each channel's own range."""
    low, high = values.amin(dim=-1).cpu().numpy(), values.amax(dim=-1).cpu().numpy()
    flat = low == high  # numpy widens an empty range to 1
    half = np.array(0.5, low.dtype)
    edges = np.linspace(np.where(flat, low - half, low), np.where(flat, high + half, high), bins + 1, axis=-1)
    edges = torch.from_numpy(edges.astype(low.dtype)).to(values.device).contiguous()
    return (torch.searchsorted(edges, values.contiguous(), right=True) - 1).clamp(0, bins - 1)
