"""Patch critics of a street panorama, and the perspective crops that two of them look at.

Up to three (Qian et al. 2023): the panorama at half its size, a perspective crop of it, and that crop at
half its size. Two defects of the original are mended, each behind a switch: there a fake and the real picture it is
compared with were cropped under different random views, and crops took every panorama for a whole sphere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsnb.density.layers import PUBLISHED, Convolution, Layer, LayerKind
from rsnb.density.sizes import values_of_size
from rsnb.errors import InputError

_SIZES = {
    "tiny": {"count": 1, "width": 4, "crop_px": 16},
    "smoke": {"count": 2, "width": 8, "crop_px": 32},
    "small": {"count": 2, "width": 16, "crop_px": 32},
    "full": {},
}
_SHRINK = 0.99  # of the drawn angles, as published
LEAST_SIDE = 9  # pixels; below it nothing is left to reflect after three halvings


@dataclass(frozen=True)
class Verdict:
    """What one critic says: logits [B, 1, h, w], a patch each, above 0 for real; four feature maps, finest first."""

    logits: Tensor
    features: tuple[Tensor, ...]


@dataclass(frozen=True)
class CriticsOptions:
    """Which critics there are and how crops are taken.

    Attributes:
        count: 1 = panorama; 2 = and the crop; 3 = and the crop at half its size (published: 3 on CVACT, 2 on CVUSA).
        width: channels of the first layer; 64 as published, 1.56 M parameters a critic.
        crop_px: side of the crop, pixels.
        crop_fov: its angle of view between opposite edges, radians.
        most_pitch: largest pitch of a crop, radians; less for panoramas that show less than the whole sphere, so that
            the middle of the crop stays well inside.
        same_views: False = fake and real are cropped under views of their own, as published (for its ablation).
        assume_sphere: True = crops take the panorama's rows for 180 degrees whatever they span, as published.

    Raises:
        InputError: a count other than 1, 2, 3, or a size or angle that cannot be.
    """

    count: int = 3
    width: int = 64
    crop_px: int = 128
    crop_fov: float = math.radians(100)
    most_pitch: float = math.radians(40)
    same_views: bool = True
    assume_sphere: bool = False

    def __post_init__(self):
        least = LEAST_SIDE * (2 if self.count == 3 else 1)
        if self.count not in (1, 2, 3) or self.width < 1 or self.crop_px < least:
            raise InputError(f"{self.count} critics of width {self.width} on crops of {self.crop_px} pixels",
                             where="CriticsOptions",
                             mend=f"Use 1 to 3 critics, of width 1 or more, on crops of {least} pixels or more")
        if not 0 < self.crop_fov < math.pi or not 0 <= self.most_pitch < math.pi / 2:
            raise InputError(f"crop_fov is {self.crop_fov!r} and most_pitch {self.most_pitch!r}",
                             where="CriticsOptions", mend="Give radians in 0..pi and 0..pi / 2")

    @classmethod
    def of_size(cls, size: str, **changes) -> CriticsOptions:
        """The options of "tiny", "smoke", "small" or "full" (published widths, CVACT), with changes."""
        return cls(**values_of_size(_SIZES, size, changes))


@dataclass(frozen=True)
class CropViews:
    """Where crops look, one a panorama: yaw [B] from its centre column, clockwise, and pitch [B], upwards; radians."""

    yaw: Tensor
    pitch: Tensor


class PatchCritic(nn.Module):
    """Judges patches of a picture, whatever its size (from 9 x 9 pixels on).

    Args:
        width: channels of the first layer; doubled three times.
    """

    def __init__(self, width: int = 64):
        super().__init__()
        widths = (3, width, 2 * width, 4 * width, 8 * width)
        self.layers = nn.ModuleList(Layer(a, b, 3, PUBLISHED, stride)
                                    for a, b, stride in zip(widths, widths[1:], (2, 2, 2, 1), strict=False))
        self.head = Convolution(widths[-1], 1, 3, LayerKind(PUBLISHED.padding, "none", False))

    def forward(self, image: Tensor) -> Verdict:
        """The verdict on pictures [B, 3, H, W] in 0..1.

        Raises:
            InputError: fewer than 9 pixels a side.
        """
        if min(image.shape[-2:]) < LEAST_SIDE:
            raise InputError(f"pictures of {tuple(image.shape[-2:])} pixels are too small for a critic",
                             where="PatchCritic", mend="Use larger panoramas or crops, or fewer critics")
        features = []
        for layer in self.layers:
            image = layer(image)
            features.append(image)
        return Verdict(self.head(image), tuple(features))


class PatchCritics(nn.Module):
    """One to three critics, each on its own view of a panorama.

    Args:
        options: count, width and crops.
    """

    def __init__(self, options: CriticsOptions = CriticsOptions()):
        super().__init__()
        self.options = options
        self.critics = nn.ModuleList(PatchCritic(options.width) for _ in range(options.count))

    def forward(self, panorama: Tensor, views: CropViews, vertical_fov: float = math.pi) -> list[Verdict]:
        """A verdict of every critic.

        Args:
            panorama: [B, 3, H, W] in 0..1, a full circle; real or fake. One of fewer than 18 rows is not halved.
            views: one a panorama, of `views` of the same class.
            vertical_fov: what the rows span, centred on the horizon, radians.
        """
        small = panorama.shape[-2] < 2 * LEAST_SIDE
        pictures = [panorama if small else F.avg_pool2d(panorama, 2)]
        if self.options.count > 1:
            fov = math.pi if self.options.assume_sphere else vertical_fov
            pictures.append(perspective_crops(panorama, views, self.options.crop_px, self.options.crop_fov, fov))
        if self.options.count > 2:
            pictures.append(F.avg_pool2d(pictures[-1], 2))
        return [critic(picture) for critic, picture in zip(self.critics, pictures, strict=True)]

    def views(self, batch: int, vertical_fov: float = math.pi, generator: torch.Generator | None = None,
              device=None) -> tuple[CropViews, CropViews]:
        """Random views for `batch` fakes and for the real pictures; the same ones unless `same_views` is off.

        Args:
            batch: number of panoramas.
            vertical_fov: of the panoramas, radians.
            generator: on the CPU; None = the global one.
            device: where the views go.
        """
        fov = math.pi if self.options.assume_sphere else vertical_fov
        most = min(self.options.most_pitch, max(fov / 2 - self.options.crop_fov / 4, 0.0))
        fake = _draw(batch, most, generator, device)
        return fake, fake if self.options.same_views else _draw(batch, most, generator, device)


def perspective_crops(panorama: Tensor, views: CropViews, size: int, fov: float,
                      vertical_fov: float = math.pi) -> Tensor:
    """Perspective pictures [B, 3, size, size] cut out of panoramas, bilinear; black where the panorama ends.

    Args:
        panorama: [B, 3, H, W], a full circle.
        views: yaw and pitch [B].
        size: pixels a side.
        fov: angle between opposite edges, radians.
        vertical_fov: what the panorama's rows span, centred on the horizon, radians.
    """
    height, width = panorama.shape[-2:]
    column, row = _panorama_pixels(views, size, fov, vertical_fov, height, width, panorama.dtype)
    ring = torch.cat([panorama[..., -1:], panorama, panorama[..., :1]], dim=-1)
    grid = torch.stack([2 * (column + 1) / (width + 2) - 1, 2 * row / height - 1], dim=-1)
    crops = F.grid_sample(ring, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return crops * ((row >= 0) & (row <= height))[:, None]


def _panorama_pixels(views: CropViews, size: int, fov: float, vertical_fov: float, height: int, width: int,
                     dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Column in 0..W and row [B, size, size] that every pixel of the crops looks at, pixel centres at +0.5."""
    step = (torch.arange(size, dtype=dtype, device=views.yaw.device) + 0.5) / size * 2 - 1
    across = step * math.tan(fov / 2)
    x, up = across[None, None, :], -across[None, :, None]
    yaw, pitch = (angle.to(dtype)[:, None, None] for angle in (views.yaw, views.pitch))
    forward = torch.cos(pitch) - up * torch.sin(pitch)
    up = torch.sin(pitch) + up * torch.cos(pitch)
    bearing = torch.atan2(x, forward) + yaw
    elevation = torch.atan2(up, torch.hypot(x, forward))
    column = torch.remainder(bearing / (2 * math.pi) + 0.5, 1.0) * width
    return column, (0.5 - elevation / vertical_fov) * height


def _draw(batch: int, most_pitch: float, generator: torch.Generator | None, device) -> CropViews:
    """Whole degrees in -180..180 and up to the pitch, times 0.99."""
    degrees = round(math.degrees(most_pitch))
    yaw = torch.randint(-180, 180, (batch,), generator=generator)
    pitch = torch.randint(-degrees, degrees, (batch,), generator=generator) if degrees else torch.zeros(batch)
    return CropViews(*(torch.deg2rad(angle.float() * _SHRINK).to(device) for angle in (yaw, pitch)))
