"""The encoder: a ResNet trunk (He et al. 2016) that gives five feature maps of the reference picture.

Keys are torchvision's without the classifier, so a converted ImageNet file loads as it is. Nothing of torchvision is
imported: the network is written out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsnb.errors import InputError
from rsnb.mpi.layers import BatchNorm, Statistics, check_choice, load_weights

Trunk = Literal["resnet18", "resnet50"]
WIDTHS = {"resnet18": (64, 64, 128, 256, 512), "resnet50": (64, 256, 512, 1024, 2048)}
_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures


class Encoder(nn.Module):
    """Five maps of a picture, of 1/2, 1/4, 1/8, 1/16 and 1/32 of its size.

    Args:
        trunk: "resnet18" (11,176,512 parameters) or "resnet50" (23,508,032).
        statistics: "published": the picture's own in every mode, as the authors run it; "mended": eval mode uses the
            running statistics.
    """

    def __init__(self, trunk: Trunk = "resnet18", statistics: Statistics = "published"):
        check_choice(trunk, tuple(WIDTHS), "trunk")
        super().__init__()
        self.widths = WIDTHS[trunk]
        block = _Basic if trunk == "resnet18" else _Bottleneck
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm(64, statistics)
        inward = 64
        for stage, count in enumerate(_BLOCKS[trunk], start=1):
            stride, outward = 1 if stage == 1 else 2, self.widths[stage]
            first = block(inward, outward, stride, statistics)
            rest = [block(outward, outward, 1, statistics) for _ in range(count - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(first, *rest))
            inward = outward
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(_SPREAD)[:, None, None], persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @classmethod
    def from_weights(cls, state: Mapping[str, Tensor], trunk: Trunk = "resnet18",
                     statistics: Statistics = "published") -> Encoder:
        """An encoder with the weights of a state dict under torchvision's keys; a classifier in it is left out.

        Raises:
            InputError: a key that is missing, unknown or of another shape.
        """
        encoder = cls(trunk, statistics)
        load_weights(encoder, {k: v for k, v in state.items() if not k.startswith("fc.")}, f"weights of {trunk}")
        return encoder

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps [1, C, h, w], finest first: after the first convolution, then after each of four stages.

        Args:
            image: [3, H, W] or [1, 3, H, W] in 0..1; H and W multiples of 32.

        Raises:
            InputError: another shape.
        """
        image = image[None] if image.dim() == 3 else image
        if image.dim() != 4 or image.shape[:2] != (1, 3) or image.shape[2] % 32 or image.shape[3] % 32:
            raise InputError(f"a picture of shape {tuple(image.shape)} does not fit the encoder", where="Encoder",
                             mend="Give one picture [3, H, W], H and W multiples of 32")
        x = F.relu(self.bn1(self.conv1((image - self.mean) / self.spread)))
        maps = [x]
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


class _Residual(nn.Module):
    """x plus what the branch makes of it; x is projected where stride or width changes."""

    def __init__(self, inward: int, outward: int, stride: int, statistics: Statistics):
        super().__init__()
        if stride != 1 or inward != outward:
            self.downsample = nn.Sequential(nn.Conv2d(inward, outward, 1, stride=stride, bias=False),
                                            BatchNorm(outward, statistics))
        else:
            self.downsample = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.downsample(x))


class _Basic(_Residual):
    """Two 3 x 3 convolutions."""

    def __init__(self, inward: int, outward: int, stride: int, statistics: Statistics):
        super().__init__(inward, outward, stride, statistics)
        self.conv1 = nn.Conv2d(inward, outward, 3, stride=stride, padding=1, bias=False)
        self.bn1 = BatchNorm(outward, statistics)
        self.conv2 = nn.Conv2d(outward, outward, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(outward, statistics)

    def branch(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))


class _Bottleneck(_Residual):
    """1 x 1, 3 x 3 (with the stride, as torchvision has it) and 1 x 1, a quarter as wide inside."""

    def __init__(self, inward: int, outward: int, stride: int, statistics: Statistics):
        super().__init__(inward, outward, stride, statistics)
        inside = outward // 4
        self.conv1 = nn.Conv2d(inward, inside, 1, bias=False)
        self.bn1 = BatchNorm(inside, statistics)
        self.conv2 = nn.Conv2d(inside, inside, 3, stride=stride, padding=1, bias=False)
        self.bn2 = BatchNorm(inside, statistics)
        self.conv3 = nn.Conv2d(inside, outward, 1, bias=False)
        self.bn3 = BatchNorm(outward, statistics)

    def branch(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.bn3(self.conv3(F.relu(self.bn2(self.conv2(x)))))
