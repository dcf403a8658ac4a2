"""The refinement net: from what rays bring home to the street picture, under a style.

It paints what the volume cannot know: facades, which the satellite sees from above only, and the sky, which no density
stands for (Qian et al. 2023). The style modulates two of its layers and nothing else in the model, so
light cannot change the geometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rsnb.density.layers import PUBLISHED, LayerKind
from rsnb.density.sizes import values_of_size
from rsnb.density.trunks import ResidualTrunk, UNet
from rsnb.density.volume import Rendered
from rsnb.errors import InputError

_SIZES = {
    "tiny": {"width": 8, "depth": 2, "style_width": 16},
    "smoke": {"width": 16, "depth": 3, "style_width": 32},
    "small": {"width": 24, "depth": 3, "style_width": 64},
    "full": {"kind": "published", "width": 64, "depth": 4, "style_width": 256, "around": False, "residual": False},
}
_SKY_GREY = 0.5  # what stands behind the rendering before the net has learned a sky
_LEAST = 0.02  # colours are kept this far from 0 and 1, where the logit has no end


@dataclass(frozen=True)
class RefineNetOptions:
    """What the refinement net looks like.

    Attributes:
        kind: "unet" (ours) or "published" (Qian et al. 2023; 183.0 M parameters at width 64, depth 4, 9 blocks).
        width: channels at full resolution.
        depth: number of halvings, >= 2 so that there is something to modulate.
        blocks: residual blocks of "published".
        style_width: of the style vector.
        opacity, distance: whether these are given to the net beside the colour.
        octaves: of the place that a ray meets (`place_encoding`), given to the net too; 0 = none, as published
            unless its switch is set.
        around: columns continue on the other side of the picture, as a panorama's do; False = reflection.
        residual: the net adds to the logit of the rendering over grey, so that an untrained one shows the rendering;
            False = it gives all of the colour.

    Raises:
        InputError: an unknown kind, a number that is not whole or too small, a depth below 2.
    """

    kind: Literal["unet", "published"] = "unet"
    width: int = 24
    depth: int = 3
    blocks: int = 9
    style_width: int = 256
    opacity: bool = True
    distance: bool = True
    octaves: int = 0
    around: bool = True
    residual: bool = True

    def __post_init__(self):
        if self.kind not in ("unet", "published"):
            raise InputError(f"kind is {self.kind!r}", where="RefineNetOptions",
                             mend='Use kind="unet" or "published"')
        for name, least in (("width", 1), ("depth", 2), ("blocks", 0), ("style_width", 1), ("octaves", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name} is {value!r}", where="RefineNetOptions",
                                 mend=f"Give a whole number of at least {least}")

    @classmethod
    def of_size(cls, size: str, **changes) -> RefineNetOptions:
        """The options of "tiny", "smoke", "small" (U-Nets) or "full" (as published), with changes."""
        return cls(**values_of_size(_SIZES, size, changes))

    @property
    def channels(self) -> int:
        """Of the features."""
        return 3 + self.opacity + self.distance + 6 * self.octaves


def place_encoding(rendered: Rendered, origins: Tensor, directions: Tensor, half_m: float, octaves: int) -> Tensor:
    """Sines and cosines of the place that each ray meets, [B, 6 octaves, H, W]; 0 where it meets nothing.

    Of z, x, y in half tiles, octave k counts 2^k half turns a half tile (Mildenhall et al. 2020, equation 4).
    Sat2Density's switch for it composites the encodings of all samples of a ray; this one encodes the mean place of
    what the ray meets, times the opacity, which is the same wherever a ray ends at one surface.

    Args:
        rendered: of those rays.
        origins, directions: [B or 1, H or 1, W or 1, 3] and [B or 1, H, W, 3] tile metres, unit vectors.
        half_m: half the tile's side, metres.
        octaves: how many.
    """
    distance = rendered.distance / rendered.opacity.clamp(min=1e-6)
    places = (origins + directions * distance[..., None])[..., [2, 0, 1]] / half_m
    turns = torch.pi * 2.0 ** torch.arange(octaves, dtype=places.dtype, device=places.device)
    angles = (places[..., None, :] * turns[:, None]).flatten(-2).movedim(-1, 1)  # [B, 3 octaves, H, W]
    return rendered.opacity[:, None] * torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


class RefineNet(nn.Module):
    """A street picture from rendered features.

    Args:
        options: kind, widths, which features.
    """

    def __init__(self, options: RefineNetOptions = RefineNetOptions()):
        super().__init__()
        self.options = options
        padding = "around" if options.around else "reflect"
        if options.kind == "published":
            # 1024 -> 384, 384, 384, 64 at full width: six times the width, and the last as wide as the first
            ups = (*[6 * options.width] * (options.depth - 1), options.width)
            kind = LayerKind(padding, PUBLISHED.norm, PUBLISHED.spectral)
            self.trunk = ResidualTrunk(options.channels, 3, options.width, ups, options.blocks, kind,
                                       options.style_width)
        else:
            self.trunk = UNet(options.channels, 3, options.width, options.depth, LayerKind(padding),
                              options.style_width)
            nn.init.normal_(self.trunk.last.weight, std=0.01)
            nn.init.zeros_(self.trunk.last.bias)

    def features(self, rendered: Rendered, half_m: float, rays: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """What `forward` takes, [B, C, H, W]: colour, and by the options opacity, distance in half tiles, and place.

        Args:
            rendered: of the volume.
            half_m: half the tile's side, metres (`TileFrame.half_m`).
            rays: origins and directions as `place_encoding` takes them, where the options have octaves.

        Raises:
            InputError: no rays, where the options ask for places.
        """
        parts = [rendered.rgb]
        if self.options.opacity:
            parts.append(rendered.opacity[:, None])
        if self.options.distance:
            parts.append(rendered.distance[:, None] / half_m)
        if self.options.octaves:
            if rays is None:
                raise InputError("the net is told places, and nobody says along which rays", where="RefineNet",
                                 mend="Give rays, or octaves=0")
            parts.append(place_encoding(rendered, *rays, half_m, self.options.octaves))
        return torch.cat(parts, dim=1)

    def forward(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        """The picture [B, 3, H, W] in 0..1.

        Args:
            features: [B, C, H, W] as `features` gives them.
            style: [B, style_width], or None: no modulation (illumination injection off).

        Raises:
            InputError: shapes that do not fit; with reflection padding fewer than 2^(depth + 1) pixels a side.
        """
        if features.ndim != 4 or features.shape[1] != self.options.channels:
            raise InputError(f"features have shape {tuple(features.shape)}, expected [B, {self.options.channels}, H, "
                             "W]", where="RefineNet", mend="Build them by its method `features`")
        if style is not None and style.shape != (len(features), self.options.style_width):
            raise InputError(f"style has shape {tuple(style.shape)}, expected "
                             f"[{len(features)}, {self.options.style_width}]", where="RefineNet")
        x = self.trunk(features, style)
        return torch.sigmoid(x + torch.logit(self._start(features), eps=_LEAST) if self.options.residual else x)

    def _start(self, features: Tensor) -> Tensor:
        """The rendering over grey, or on black where the net is not told the opacity."""
        rgb = features[:, :3]
        return rgb + (1 - features[:, 3:4]) * _SKY_GREY if self.options.opacity else rgb
