"""Layers of the published networks, with the switches that mend them, and their factorised forms.

The decoder's input at a level is [x, skip, code]: x differs from plane to plane, skip is the encoder's map and the same
for all planes, code is constant over the picture. A convolution is linear, so it splits into three: that of x, that of
skip computed once, and for the code a bias per plane (code times the kernel's sum over space; exact under reflection
padding, which repeats the constant). And a 3 x 3 convolution behind a nearest doubling reads at most 2 x 2 different
pixels, so it is a transposed convolution of the small map with 4 x 4 taps and stride 2: 16 products a pixel for 36.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsnb.errors import InputError

Statistics = Literal["published", "mended"]
_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
GROUPS = 32  # of the group normalisation that may stand in the bottleneck


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation, whose eval mode is a switch.

    Args:
        channels: C of the input [N, C, H, W].
        statistics: "mended": eval mode uses the running statistics. "published": the authors never leave training
            mode, so a picture is always normalised by its own batch. Eval mode then keeps the running statistics as
            they are, which changes no output.
    """

    def __init__(self, channels: int, statistics: Statistics = "mended"):
        check_choice(statistics, ("published", "mended"), "statistics")
        super().__init__(channels)
        self.statistics = statistics

    def forward(self, x: Tensor) -> Tensor:
        if self.training or self.statistics == "mended":
            return super().forward(x)
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


class Block(nn.Module):
    """Reflection-padded 3 x 3 convolution with bias, batch normalisation, ELU: [N, in, H, W] to [N, out, H, W]."""

    def __init__(self, inward: int, outward: int, statistics: Statistics):
        super().__init__()
        self.conv = nn.Conv2d(inward, outward, 3)
        self.norm = BatchNorm(outward, statistics)

    def forward(self, x: Tensor) -> Tensor:
        return self.activate(self.conv(reflect(x)))

    def activate(self, y: Tensor) -> Tensor:
        """What follows the convolution."""
        return F.elu(self.norm(y), inplace=True)

    def with_code(self, x: Tensor, codes: Tensor) -> Tensor:
        """The block over [x, code] for every plane; x [1, C, H, W] is the same for all, codes [P, E]."""
        kernel, for_code = self.conv.weight.split([x.shape[1], codes.shape[1]], dim=1)
        y = F.conv2d(reflect(x), kernel, self.conv.bias)
        return self.activate(y + _plane_bias(for_code, codes))

    def doubled(self, x: Tensor, skip: Tensor | None, codes: Tensor) -> Tensor:
        """The block over [x doubled, skip, code]; x [P, C, H, W], skip [1, S, 2H, 2W] or None, codes [P, E].

        Without a skip there is no code either.
        """
        if skip is None:
            return self.activate(convolve_doubled(x, self.conv.weight, self.conv.bias))
        kernel, for_skip, for_code = self.conv.weight.split([x.shape[1], skip.shape[1], codes.shape[1]], dim=1)
        shared = F.conv2d(reflect(skip), for_skip, self.conv.bias)
        return self.activate(convolve_doubled(x, kernel, None).add_(shared).add_(_plane_bias(for_code, codes)))


def convolve_doubled(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Nearest doubling, reflection padding by 1 and a 3 x 3 convolution, without making the doubled map.

    Reflection on the doubled map equals replication on the small one. Row 2r of the result sees the small rows r - 1
    (tap 0) and r (taps 1 + 2), row 2r + 1 sees r (taps 0 + 1) and r + 1 (tap 2); as a transposed convolution of
    stride 2 that starts one row early these are the taps 2, 1 + 2, 0 + 1, 0, and likewise along columns.

    Args:
        x: [N, in, H, W].
        kernel: [out, in, 3, 3].
        bias: [out] or None.

    Returns:
        [N, out, 2H, 2W].
    """
    taps = _spread(_spread(kernel, 2), 3)  # [out, in, 4, 4]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return F.conv_transpose2d(padded, taps.transpose(0, 1), bias, stride=2, padding=3)


def reflect(x: Tensor) -> Tensor:
    """[..., H, W] to [..., H + 2, W + 2], mirrored at the border pixels."""
    return F.pad(x, (1, 1, 1, 1), mode="reflect")


def load_weights(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a converted state dict into a module, every key of it and no other.

    Running statistics are left out where the module normalises without them.

    Raises:
        InputError: the first key that is missing, unknown or of another shape.
    """
    own = module.state_dict()
    tensors = {key: torch.as_tensor(value) for key, value in state.items()}
    tensors = {key: value for key, value in tensors.items() if key in own or not key.endswith(_STATISTICS)}
    wanted = [key for key in own if not key.endswith(_STATISTICS[-1])]
    for fault, keys in (("missing", [k for k in wanted if k not in tensors]),
                        ("unknown here", [k for k in tensors if k not in own])):
        if keys:
            raise InputError(f"{len(keys)} keys are {fault}, first {keys[0]!r}", where=where,
                             mend="Is it another network's file, or one that was not converted?")
    for key in wanted:
        if tensors[key].shape != own[key].shape:
            raise InputError(f"{key!r} has shape {tuple(tensors[key].shape)}, expected {tuple(own[key].shape)}",
                             where=where, mend="Is it a file of another size of the network?")
    module.load_state_dict(tensors)  # strict: counters of batches may be absent, torch starts them at zero


def check_choice(value: str, choices: tuple[str, ...], where: str) -> None:
    """Raises an InputError where a switch has a value that it does not know."""
    if value not in choices:
        raise InputError(f"there is no {where} {value!r}", where=where,
                         mend=f"Write {' or '.join(map(repr, choices))}")


def _plane_bias(kernel: Tensor, codes: Tensor) -> Tensor:
    """[P, out, 1, 1] what constant channels `codes` [P, E] add under a kernel [out, E, 3, 3]."""
    return (codes @ kernel.sum(dim=(2, 3)).T)[:, :, None, None]


def _spread(kernel: Tensor, axis: int) -> Tensor:
    """Three taps along an axis as the four of the transposed convolution."""
    a, b, c = kernel.unbind(axis)
    return torch.stack([c, b + c, a + b, a], dim=axis)
