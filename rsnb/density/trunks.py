"""The two bodies that density net and refinement net are made of: the published one and a small U-Net.

Both take an optional style vector, which modulates the maps behind the second and the third upsampling (Sat2Density's
illumination injection): map * (w + 1) + b, with w and b linear in the style, before the activation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsnb.density.layers import Convolution, Layer, LayerKind, ResidualBlock, on_whole_cells

_STYLED = (1, 2)  # the second and the third upsampling


class ResidualTrunk(nn.Module):
    """Encoder, residual blocks and decoder without skips, as in pix2pixHD (Wang et al. 2018) and Sat2Density.

    Args:
        inward, outward: channels of input and output.
        width: of the first layer; doubles with every halving.
        up_widths: of the layers behind the upsamplings, coarsest first; as many upsamplings as halvings.
        blocks: residual blocks on the coarsest map.
        kind: of all layers but the last, which has neither norm nor spectral norm.
        style_width: of the style vector; None = there is no style.
    """

    def __init__(self, inward: int, outward: int, width: int, up_widths: tuple[int, ...], blocks: int,
                 kind: LayerKind, style_width: int | None = None):
        super().__init__()
        self.kind, depth = kind, len(up_widths)
        widths = [width << level for level in range(depth + 1)]
        self.first = Layer(inward, width, 7, kind, activation="prelu")
        self.downs = nn.ModuleList(Layer(a, b, 3, kind, stride=2, activation="prelu")
                                   for a, b in zip(widths, widths[1:], strict=False))
        self.blocks = nn.Sequential(*(ResidualBlock(widths[-1], kind) for _ in range(blocks)))
        coarser = (widths[-1], *up_widths)
        self.ups = nn.ModuleList(Layer(a, b, 3, kind) for a, b in zip(coarser, up_widths, strict=False))
        self.last = Convolution(up_widths[-1], outward, 7, LayerKind(kind.padding, "none", False))
        self.modulation = Modulation(style_width, up_widths) if style_width else None

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """[B, in, H, W], and style [B, style_width] or None = without modulation, to [B, out, H, W]."""
        return on_whole_cells(lambda x: self._forward(x, style), x, len(self.downs), self.kind)

    def _forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        x = self.first(x)
        for down in self.downs:
            x = down(x)
        x = self.blocks(x)
        modulations = _modulations(self.modulation, style)
        for step, up in enumerate(self.ups):
            x = up(F.interpolate(x, scale_factor=2.0, mode="nearest"), modulations.get(step))
        return self.last(x)


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) with one layer a level on the way up.

    Args:
        inward, outward: channels of input and output.
        width: of the maps at full resolution; doubles with the first two halvings.
        depth: halvings, >= 1.
        kind: of all layers but the last.
        style_width: of the style vector; None = there is no style.
        joined: True = skips are appended to what comes from below, with a second layer at full resolution: what draws
            outlines. False = they are added: half the products at full resolution, where the time goes.
    """

    def __init__(self, inward: int, outward: int, width: int, depth: int, kind: LayerKind,
                 style_width: int | None = None, joined: bool = False):
        super().__init__()
        self.kind, self.joined = kind, joined
        widths = [width << min(level, 2) for level in range(depth + 1)]
        self.first = Layer(inward, width, 3, kind)
        if joined:
            self.first = nn.Sequential(self.first, Layer(width, width, 3, kind))
        self.downs = nn.ModuleList(
            nn.Sequential(Layer(a, b, 3, kind, stride=2), Layer(b, b, 3, kind))
            for a, b in zip(widths, widths[1:], strict=False))
        up_widths = tuple(widths[-2::-1])
        coarser = (widths[-1], *up_widths)
        self.narrowings = None if joined else nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(coarser, up_widths, strict=False))
        self.ups = nn.ModuleList(Layer(a + b if joined else b, b, 3, kind)
                                 for a, b in zip(coarser, up_widths, strict=False))
        self.last = nn.Conv2d(width, outward, 1)
        self.modulation = Modulation(style_width, up_widths) if style_width else None

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """[B, in, H, W], and style [B, style_width] or None = without modulation, to [B, out, H, W]."""
        return on_whole_cells(lambda x: self._forward(x, style), x, len(self.downs), self.kind)

    def _forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        x = self.first(x)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        modulations = _modulations(self.modulation, style)
        for step, up in enumerate(self.ups):
            x = up(self._meet(x, skips.pop(), step), modulations.get(step))
        return self.last(x)

    def _meet(self, x: Tensor, skip: Tensor, step: int) -> Tensor:
        """The map from below, twice as large, with the one of its level."""
        if self.joined:
            larger = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            return torch.cat([larger, skip], dim=1)
        return F.interpolate(self.narrowings[step](x), scale_factor=2.0, mode="nearest") + skip


class Modulation(nn.Module):
    """Factors and offsets of the second and third upsampling, where there are so many, linear in the style.

    Args:
        style_width: W of the style [B, W].
        up_widths: channels behind each upsampling.
    """

    def __init__(self, style_width: int, up_widths: tuple[int, ...]):
        super().__init__()
        self.steps = [step for step in _STYLED if step < len(up_widths)] or [len(up_widths) - 1]
        self.widths = [up_widths[step] for step in self.steps for _ in range(2)]
        self.linear = nn.Linear(style_width, sum(self.widths))

    def forward(self, style: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
        """(w, b), each [B, C], under the number of the upsampling, from 0."""
        parts = self.linear(style).split(self.widths, dim=1)
        return {step: (parts[2 * i], parts[2 * i + 1]) for i, step in enumerate(self.steps)}


def _modulations(modulation: Modulation | None, style: Tensor | None) -> dict[int, tuple[Tensor, Tensor]]:
    return modulation(style) if modulation is not None and style is not None else {}
