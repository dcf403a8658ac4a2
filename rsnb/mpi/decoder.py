"""The decoder: five feature maps of the reference picture and a plane code become one plane of the MPI.

Published network of Wu, Zou, Shi (TGRS 2022), after MINE (Li et al. 2021): a bottleneck widens the view of the coarsest
map, then five levels double the size, each with a convolution before and one after the doubling; the latter also sees
the encoder's map of that size. Four heads give colour and density at full, half, quarter and eighth size. The scene
lives in these weights. 5,466,064 parameters for ResNet-18; keys are those that converted published weights have.

Two forms of one function: `naive=True` as published, every plane carrying its own copy of the shared maps; else the
factorised one of `rsnb.mpi.layers`, equal to rounding and about three times cheaper.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsnb.errors import InputError
from rsnb.mpi.encoder import WIDTHS
from rsnb.mpi.layers import GROUPS, BatchNorm, Block, Statistics, check_choice, reflect
from rsnb.mpi.plane_code import CODE_CHANNELS, PlaneCode, plane_codes

SCALES = 4
_LEVELS = (16, 32, 64, 128, 256)  # channels of level 0 ... 4
_LEAST_DENSITY = 1e-4
_SIDE = 128  # height and width are multiples of this: the bottleneck halves 1/32 twice more


class Decoder(nn.Module):
    """Planes from features.

    Args:
        recipe: "immpi", the published network; no other is known yet.
        naive: compute as published instead of by the factorised form; same function.
        plane_code: which codes `codes` gives: "mended", or "published" for published weights.
        bottleneck_norm: "batch" as published, which needs more than one pixel in the bottleneck, hence pictures larger
            than 128 x 128; "group" (32 groups of channels) works on those too and is another function.
        statistics: "published": of the batch in every mode; "mended": eval mode uses the running statistics.
        widths: channels of the five feature maps, finest first.
    """

    def __init__(self, recipe: Literal["immpi"] = "immpi", *, naive: bool = False, plane_code: PlaneCode = "mended",
                 bottleneck_norm: Literal["batch", "group"] = "batch", statistics: Statistics = "published",
                 widths: tuple[int, ...] = WIDTHS["resnet18"]):
        check_choice(recipe, ("immpi",), "recipe")
        check_choice(plane_code, ("published", "mended"), "plane_code")
        check_choice(bottleneck_norm, ("batch", "group"), "bottleneck_norm")
        check_choice(statistics, ("published", "mended"), "statistics")
        super().__init__()
        self.naive, self.plane_code, self.widths = naive, plane_code, tuple(widths)
        self.bottleneck = Bottleneck(widths[-1], bottleneck_norm, statistics)
        for level in range(SCALES, -1, -1):
            above = widths[-1] + CODE_CHANNELS if level == SCALES else _LEVELS[level + 1]
            skip = widths[level - 1] + CODE_CHANNELS if level > 0 else 0
            setattr(self, f"level{level}", nn.ModuleDict({
                "before": Block(above, _LEVELS[level], statistics),
                "after": Block(_LEVELS[level] + skip, _LEVELS[level], statistics)}))
        for scale in range(SCALES):
            setattr(self, f"head{scale}", nn.Conv2d(_LEVELS[scale], 4, 3))

    def codes(self, planes: int) -> Tensor:
        """[P, 21] plane codes of this decoder's kind, on its device and in its precision."""
        weight = self.head0.weight
        return plane_codes(planes, self.plane_code, dtype=weight.dtype, device=weight.device)

    def forward(self, features: list[Tensor], codes: Tensor) -> list[Tensor]:
        """MPIs at four scales.

        With the mended code and running statistics a plane depends on its own code alone, so any count of planes may
        be asked for after training. With batch statistics planes are normalised together.

        Args:
            features: five maps [1, C, H/2, W/2] ... [1, C, H/32, W/32] of the encoder; H, W multiples of 128.
            codes: [P, 21], from `codes`.

        Returns:
            [P, 4, H/2^s, W/2^s] for s = 0 ... 3; red, green, blue in 0..1 and density >= 1e-4.

        Raises:
            InputError: a size that the bottleneck cannot halve, or that leaves batch normalisation one value.
        """
        self._check(features, codes)
        deep = self.bottleneck(features[-1])
        x, mpis = None, []
        for level in range(SCALES, -1, -1):
            blocks = getattr(self, f"level{level}")
            skip = features[level - 1] if level > 0 else None
            form = self._naive_level if self.naive else self._level
            x = form(blocks, deep if x is None else x, skip, codes)
            if level < SCALES:
                mpis.insert(0, _colour_and_density(getattr(self, f"head{level}")(reflect(x))))
        return mpis

    def _level(self, blocks: nn.ModuleDict, x: Tensor, skip: Tensor | None, codes: Tensor) -> Tensor:
        before, after = blocks["before"], blocks["after"]
        x = before.with_code(x, codes) if blocks is self.level4 else before(x)
        return after.doubled(x, skip, codes)

    def _naive_level(self, blocks: nn.ModuleDict, x: Tensor, skip: Tensor | None, codes: Tensor) -> Tensor:
        if blocks is self.level4:
            x = _beside_code(x, codes)
        x = F.interpolate(blocks["before"](x), scale_factor=2, mode="nearest")
        if skip is not None:
            x = torch.cat([x, _beside_code(skip, codes)], dim=1)
        return blocks["after"](x)

    def _check(self, features: list[Tensor], codes: Tensor) -> None:
        if len(features) != SCALES + 1 or any(len(f) != 1 for f in features):
            raise InputError("the decoder takes five feature maps of one picture", where="Decoder")
        if codes.dim() != 2 or codes.shape[1] != CODE_CHANNELS:
            raise InputError(f"plane codes are [P, {CODE_CHANNELS}], not {tuple(codes.shape)}", where="Decoder",
                             mend="Take them from decoder.codes(planes)")
        height, width = (2 * n for n in features[0].shape[-2:])
        if height % _SIDE or width % _SIDE:
            raise InputError(f"a picture of {height} x {width} cannot be halved seven times", where="Decoder",
                             mend=f"Use height and width that are multiples of {_SIDE}")
        if height == width == _SIDE and self.bottleneck.normalises_batch():
            raise InputError(f"at {_SIDE} x {_SIDE} the bottleneck has one pixel, and batch normalisation needs two",
                             where="Decoder", mend="Set bottleneck_norm='group', or use a larger picture")


class Bottleneck(nn.Module):
    """Two poolings and two doublings around the coarsest map: [1, C, h, w] to the same shape, h and w multiples of 4.

    Args:
        channels: C.
        norm: "batch" or "group".
        statistics: of the batch normalisation.
    """

    def __init__(self, channels: int, norm: Literal["batch", "group"], statistics: Statistics):
        super().__init__()
        self.norm, self.statistics = norm, statistics
        for name, inward, outward, side in (("down1", channels, 512, 1), ("down2", 512, 256, 3),
                                            ("up1", 256, 256, 3), ("up2", 256, channels, 1)):
            layer = BatchNorm(outward, statistics) if norm == "batch" else nn.GroupNorm(GROUPS, outward)
            conv = nn.Conv2d(inward, outward, side, padding=side // 2, bias=False)  # pads zeros, as published
            setattr(self, name, nn.ModuleDict({"conv": conv, "norm": layer}))

    def normalises_batch(self) -> bool:
        """Whether the statistics are taken from the picture in the current mode."""
        return self.norm == "batch" and (self.training or self.statistics == "published")

    def forward(self, x: Tensor) -> Tensor:
        x = _squash(self.down1, F.max_pool2d(x, 3, stride=2, padding=1))
        x = _squash(self.down2, F.max_pool2d(x, 3, stride=2, padding=1))
        x = _squash(self.up1, F.interpolate(x, scale_factor=2, mode="nearest"))
        return _squash(self.up2, F.interpolate(x, scale_factor=2, mode="nearest"))


def _squash(layer: nn.ModuleDict, x: Tensor) -> Tensor:
    return F.leaky_relu(layer["norm"](layer["conv"](x)), 0.1, inplace=True)


def _beside_code(x: Tensor, codes: Tensor) -> Tensor:
    """[P, C + 21, H, W]: a copy of x [1, C, H, W] for each plane with its code as constant channels."""
    copies = x.expand(len(codes), -1, -1, -1)
    return torch.cat([copies, codes[:, :, None, None].expand(-1, -1, *x.shape[-2:])], dim=1)


def _colour_and_density(y: Tensor) -> Tensor:
    return torch.cat([y[:, :3].sigmoid(), y[:, 3:].abs() + _LEAST_DENSITY], dim=1)
