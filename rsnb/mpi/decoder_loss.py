"""The loss of one rendered target at four scales, as ImMPI takes it, with every defect of the published code a switch.

Per scale 2 L1 + (1 - SSIM) + LPIPS(VGG16), and the scales are added (Wu, Zou, Shi, TGRS 2022; the cross-scene training
leaves LPIPS out). What counts is masked: rendering and target are multiplied by the mask, L1 is the sum over channels
divided by the pixels of the mask. The mask depends on cameras and planes alone, hence a target's masked picture, its
SSIM moments and its VGG features are computed at its first step and kept (a third of the cost of LPIPS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from rsnb.errors import InputError
from rsnb.metrics.perceptual import Perceptual
from rsnb.mpi.decoder import SCALES
from rsnb.mpi.layers import check_choice
from rsnb.mpi.losses import TargetMoments, ssim_to
from rsnb.mpi.render import Backend, MpiCamera, RenderOptions, render_mpi

Switch = Literal["published", "mended"]


@dataclass(frozen=True)
class Switches:
    """Each defect of the published code, alone: "published" with it, "mended" without.

    Attributes:
        plane_code: the scrambled code of the planes (see `rsnb.mpi.plane_code`).
        pyramid: K / 2^s with integer pixel centres, which shifts the coarse cameras by up to 0.44 of their pixels
            against the pictures, and pictures made small without anti-alias. Mended: exact K, averaged pixels.
        lpips_range: VGG is fed 0..1. Mended: -1..1, for which LPIPS was made.
        reference: the reference picture is in no loss. Mended: it is a target like the others.
        mask: a pixel counts where any one plane is met, and planes repeat their border beyond the frame
            (`RenderOptions(published=True)`, which also makes the last gap 1000 long). Mended: each plane ends at its
            frame, and a share of them must be met.
        statistics: batch normalisation uses the statistics of the picture in rendering too. Mended: the kept ones.
    """

    plane_code: Switch = "mended"
    pyramid: Switch = "mended"
    lpips_range: Switch = "mended"
    reference: Switch = "mended"
    mask: Switch = "mended"
    statistics: Switch = "mended"

    def __post_init__(self):
        for name, value in asdict(self).items():
            check_choice(value, ("published", "mended"), f"Switches.{name}")

    @classmethod
    def all_published(cls) -> Switches:
        """With all defects, as the authors' code runs."""
        return cls(*["published"] * len(fields(cls)))

    @classmethod
    def all_mended(cls) -> Switches:
        """Without any of them."""
        return cls()

    @classmethod
    def mending(cls, names: str) -> Switches:
        """From a text: "all", "none", or the names of the defects that are mended, with commas.

        Raises:
            InputError: a name that is no defect.
        """
        known = [defect.name for defect in fields(cls)]
        chosen = {"all": known, "none": []}.get(names.strip(), [name.strip() for name in names.split(",")])
        for name in chosen:
            if name not in known:
                raise InputError(f"{name!r} is no defect of the published code", where="mended",
                                 mend=f"Choose 'all', 'none', or among {', '.join(known)}")
        return cls(**{name: "mended" if name in chosen else "published" for name in known})

    def rendering(self, mask_share: float = 0.5, backend: str = "auto") -> RenderOptions:
        """How views are rendered under these switches, in the loss and afterwards."""
        if self.mask == "published":
            return RenderOptions(backend=backend, published=True)
        return RenderOptions(backend=backend, mask_share=mask_share)


@dataclass(frozen=True)
class DecoderLossOptions:
    """What a rendered target is compared by.

    Attributes:
        weights: of L1, 1 - SSIM and LPIPS. A weight of 0 leaves its term out; (2, 1, 0) is the cross-scene loss.
        perceptual: the network of LPIPS; VGG16, the authors' choice, is the only one.
        perceptual_every: LPIPS at every k-th step alone, then k times as heavy: its mean pull stays.
        mask_share: of the planes that must be met for a pixel to count (not used where `mask` is published). Below 1
            the true planes are no minimum: where a ray misses the surface's plane at the frame's end, the picture is
            dark, and the planes before it are pulled up to fill it.
        switches: defects.
        backend: of the renderer.
    """

    weights: tuple[float, float, float] = (2.0, 1.0, 1.0)
    perceptual: Literal["vgg16"] = "vgg16"
    perceptual_every: int = 1
    mask_share: float = 0.5
    switches: Switches = field(default_factory=Switches)
    backend: Backend = "auto"

    def __post_init__(self):
        check_choice(self.perceptual, ("vgg16",), "DecoderLossOptions.perceptual")
        if len(self.weights) != 3 or min(self.weights) < 0 or max(self.weights) == 0:
            raise InputError(f"the weights are {self.weights}", where="DecoderLossOptions.weights",
                             mend="Give three numbers not below 0, of L1, SSIM and LPIPS, one of them above 0")
        if self.perceptual_every < 1:
            raise InputError(f"LPIPS every {self.perceptual_every} steps", where="DecoderLossOptions.perceptual_every",
                             mend="Give at least 1")
        RenderOptions(self.backend, mask_share=self.mask_share)  # so that a wrong one is told here, not at a step

    @property
    def rendering(self) -> RenderOptions:
        """Of the loss and of the views that are made afterwards."""
        return self.switches.rendering(self.mask_share, self.backend)


def scaled_camera(camera: MpiCamera, scale: int, how: Switch = "mended") -> MpiCamera:
    """The camera of pictures and planes with pixels 2^scale times as large.

    With centres at +0.5 division by 2^s is exact. The published code divides matrices for centres at 0, so in our
    convention its principal points become (c - 0.5) / 2^s + 0.5: off by 0.5 - 0.5 / 2^s coarse pixels.
    """
    size = tuple(side >> scale for side in camera.size)
    return replace(camera, K_ref=_divided(camera.K_ref, scale, how), K_target=_divided(camera.K_target, scale, how),
                   size=size)


def _divided(K: Tensor, scale: int, how: Switch) -> Tensor:
    centre = K.new_tensor([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]) if how == "published" else torch.zeros_like(K)
    return (K - centre) * K.new_tensor([[0.5**scale], [0.5**scale], [1.0]]) + centre


def scaled_picture(image: Tensor, scale: int, how: Switch = "mended") -> Tensor:
    """A picture [3, H, W] with pixels 2^scale times as large: [3, H >> scale, W >> scale].

    Published: bilinear at the new centres without anti-alias, so that from scale 2 on most pixels are not looked at.
    Mended: averages of blocks; columns and rows that fill no block are dropped.
    """
    if scale == 0:
        return image
    if how == "mended":
        return F.avg_pool2d(image, 2**scale)
    size = tuple(side >> scale for side in image.shape[-2:])
    return F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]


class Target:
    """One view that the loss compares with, at four scales; what does not change over the steps is kept here.

    Made by `DecoderLoss.target`. `name` is for errors; `depths` [P] are those of the planes it is rendered from.
    """

    def __init__(self, name: str, depths: Tensor, images: Sequence[Tensor], cameras: Sequence[MpiCamera]):
        self.name, self.depths, self.images, self.cameras = name, depths, tuple(images), tuple(cameras)
        self._kept: dict[int, tuple[Tensor, Tensor, TargetMoments]] = {}
        self._features: dict[int, list[Tensor]] = {}

    def masked(self, scale: int, mask: Tensor) -> tuple[Tensor, Tensor, TargetMoments]:
        """Mask [H, W], its pixels [], and SSIM moments of the picture multiplied by it."""
        if scale not in self._kept:
            pixels = mask.sum()
            if not pixels:
                raise InputError("none of its pixels lies on the planes, so there is nothing to compare",
                                 where=f"view {self.name!r}",
                                 mend="Leave the view out, lower mask_share or take another reference")
            image = self.images[scale]
            moments = TargetMoments.of(image * mask, "zero")
            self._kept[scale] = (mask.to(image.dtype), pixels.to(image.dtype), moments)
        return self._kept[scale]

    def features(self, scale: int, compute) -> list[Tensor]:
        """VGG features of the masked picture, `compute(picture)` at the first call."""
        if scale not in self._features:
            with torch.no_grad():
                self._features[scale] = compute(self._kept[scale][2].image)
        return self._features[scale]


class DecoderLoss:
    """The loss of rendered targets.

    Args:
        options: see there.
        device: where planes and pictures are.

    Raises:
        InputError: LPIPS has a weight, and its package or trunk is not to be had.
    """

    def __init__(self, options: DecoderLossOptions | None = None, device: str = "cpu"):
        self.options = options or DecoderLossOptions()
        self.rendering, self.device = self.options.rendering, device
        self.perceptual = None
        if self.options.weights[2]:
            self.perceptual = Perceptual("vgg", device=device, where="DecoderLossOptions.weights")

    def target(self, image, camera: MpiCamera, depths, name: str = "") -> Target:
        """A view to compare with.

        Args:
            image: [3, H, W] in 0..1, at least 128 x 128 where LPIPS counts.
            camera: of that view at full size, relative to the planes' frame.
            depths: [P] of the planes.
            name: for errors.
        """
        how = self.options.switches.pyramid
        image = torch.as_tensor(image, dtype=torch.float32, device=self.device)
        if min(image.shape[-2:]) < (128 if self.perceptual else 2 ** SCALES):
            raise InputError(f"a picture of {tuple(image.shape[-2:])} pixels is too small for four scales",
                             where=f"view {name!r}", mend="Use pictures of at least 128 x 128 pixels")
        return Target(name, torch.as_tensor(depths), [scaled_picture(image, s, how) for s in range(SCALES)],
                      [scaled_camera(camera, s, how) for s in range(SCALES)])

    def __call__(self, mpis: Sequence[Tensor], target: Target, step: int = 0) -> dict[str, Tensor]:
        """Loss of one target.

        Args:
            mpis: [P, 4, H/2^s, W/2^s] for s = 0 ... 3, from the decoder.
            target: from `target`.
            step: from 0; tells whether LPIPS is due.

        Returns:
            {"loss" [], weighted and added over the scales; "l1", "ssim" (1 - SSIM), "lpips" where it was due: [] each,
            added over the scales, without weights; "psnr" []: of scale 0 over the mask, dB}. All but "loss" have no
            gradient.

        Raises:
            InputError: a target none of whose pixels lies on the planes.
        """
        due = self.perceptual is not None and step % self.options.perceptual_every == 0
        terms: dict[str, list[Tensor]] = {"l1": [], "ssim": [], "lpips": []}
        for scale, mpi in enumerate(mpis):
            seen = render_mpi(mpi, target.depths, target.cameras[scale], self.rendering)
            mask, pixels, moments = target.masked(scale, seen.mask)
            image = seen.rgb * mask
            error = image - moments.image
            terms["l1"].append(error.abs().sum() / pixels)
            terms["ssim"].append(1 - ssim_to(moments, image).mean())
            if due:
                kept = target.features(scale, self._features)
                terms["lpips"].append(self.perceptual.distance(self._features(image), kept))
            if scale == 0:
                psnr = -10 * torch.log10(((error.detach() ** 2).sum() / (3 * pixels)).clamp_min(1e-10))
        sums = {name: torch.stack(values).sum() for name, values in terms.items() if values}
        weights = dict(zip(("l1", "ssim", "lpips"), self.options.weights, strict=True))
        weights["lpips"] *= self.options.perceptual_every
        loss = sum(weights[name] * value for name, value in sums.items())
        return {"loss": loss, **{name: value.detach() for name, value in sums.items()}, "psnr": psnr}

    def _features(self, image: Tensor) -> list[Tensor]:
        return self.perceptual.features(image if self.options.switches.lpips_range == "published" else 2 * image - 1)
