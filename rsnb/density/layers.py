"""Convolutions of the density room's networks: how they pad, what normalises them, and their activations.

Sat2Density pads by reflection and has spectral norm (Miyato et al. 2018) and an affine instance norm on every layer. A
panorama closes on itself, so ours can pad along the circle; and our small networks have no spectral norm, and group
norm where they paint pictures and batch norm where colours stand for heights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from rsnb.errors import InputError

SLOPE = 0.2  # of every LeakyReLU
Activation = Literal["prelu", "leaky", "relu", "none"]


@dataclass(frozen=True)
class LayerKind:
    """What every convolution of a network has in common.

    Attributes:
        padding: "reflect" at all borders; "around": columns continue on the other side, rows repeat the outermost;
            "zeros".
        norm: "instance" (affine), "group" (up to 8 groups), "batch" or "none". The first two make what a colour means
            depend on how much of it there is in the picture: heights that go with colours are learned slowly.
        spectral: spectral norm of the weights.
    """

    padding: Literal["reflect", "around", "zeros"] = "zeros"
    norm: Literal["instance", "group", "batch", "none"] = "group"
    spectral: bool = False


PUBLISHED = LayerKind("reflect", "instance", True)


class Convolution(nn.Module):
    """A convolution with bias that keeps the size (stride 1) or halves it (stride 2): [B, in, H, W] to [B, out, h, w].

    Args:
        inward, outward: channels.
        kernel: odd side of the kernel, pixels.
        kind: padding and spectral norm; its `norm` is not applied here.
        stride: 1 or 2.
    """

    def __init__(self, inward: int, outward: int, kernel: int, kind: LayerKind, stride: int = 1):
        super().__init__()
        self.padding, self.margin = kind.padding, kernel // 2
        own = self.margin if kind.padding == "zeros" else 0
        conv = nn.Conv2d(inward, outward, kernel, stride=stride, padding=own)
        self.conv = parametrizations.spectral_norm(conv) if kind.spectral else conv

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, self.margin, self.padding))


class Layer(nn.Module):
    """Convolution, norm, modulation by a style where there is one, activation: [B, in, H, W] to [B, out, h, w].

    Args:
        inward, outward, kernel, kind, stride: as for `Convolution`.
        activation: "prelu" has one slope for all channels, learned from 0.25.
    """

    def __init__(self, inward: int, outward: int, kernel: int, kind: LayerKind, stride: int = 1,
                 activation: Activation = "leaky"):
        super().__init__()
        self.convolution = Convolution(inward, outward, kernel, kind, stride)
        self.norm = _norm(kind.norm, outward)
        self.activation = _activation(activation)

    def forward(self, x: Tensor, modulation: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The layer's map; with modulation (w, b), each [B, out], the normalised map times w + 1 plus b."""
        x = self.norm(self.convolution(x))
        if modulation is not None:
            w, b = modulation
            x = x * (w + 1)[..., None, None] + b[..., None, None]
        return self.activation(x)


class ResidualBlock(nn.Module):
    """x plus convolution, norm, ReLU, convolution, norm of it: [B, C, H, W] to the same."""

    def __init__(self, channels: int, kind: LayerKind):
        super().__init__()
        self.first = Layer(channels, channels, 3, kind, activation="relu")
        self.second = Layer(channels, channels, 3, kind, activation="none")

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


def pad(x: Tensor, by: int, padding: str) -> Tensor:
    """[..., H, W] to [..., H + 2 by, W + 2 by] by `LayerKind.padding`; unchanged for "zeros", which convolutions do."""
    if by == 0 or padding == "zeros":
        return x
    if padding == "reflect":
        return F.pad(x, (by, by, by, by), mode="reflect")
    x = torch.cat([x[..., -by:], x, x[..., :by]], dim=-1) if by <= x.shape[-1] else _wrapped(x, by)
    return F.pad(x, (0, 0, by, by), mode="replicate")


def on_whole_cells(network: Callable[[Tensor], Tensor], x: Tensor, halvings: int, kind: LayerKind) -> Tensor:
    """`network` of x [B, C, H, W], of any size although it halves and doubles: x is continued to the right and below up
    to multiples of 2^halvings, and what lies there is cut off the result.

    Raises:
        InputError: with reflection padding, fewer than 2^(halvings + 1) pixels a side: the coarsest map then has one
            pixel, and nothing to reflect.
    """
    height, width = x.shape[-2:]
    cell = 2**halvings
    if kind.padding == "reflect" and min(height, width) < 2 * cell:
        raise InputError(f"{height} x {width} pixels are too few for {halvings} halvings", where="network",
                         mend=f"Give at least {2 * cell} x {2 * cell} pixels, or use fewer halvings (depth)")
    below, right = -height % cell, -width % cell
    if below or right:
        x = F.pad(x, (0, right, 0, below), mode="replicate")
    return network(x)[..., :height, :width]


def _wrapped(x: Tensor, by: int) -> Tensor:
    """Columns continued along the circle more than once."""
    columns = torch.arange(-by, x.shape[-1] + by, device=x.device) % x.shape[-1]
    return x[..., columns]


def _norm(norm: str, channels: int) -> nn.Module:
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(next(groups for groups in (8, 4, 2, 1) if channels % groups == 0), channels)
    return nn.Identity()


def _activation(activation: str) -> nn.Module:
    return {"prelu": nn.PReLU, "relu": nn.ReLU, "none": nn.Identity}.get(activation, lambda: nn.LeakyReLU(SLOPE))()
