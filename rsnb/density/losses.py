"""What the model is trained with: pure functions of tensors, each a number, and how much each of them counts.

The published sum (Qian et al. 2023) is adversarial, feature matching, L1, L2 and perceptual terms on the
picture, the Kullback-Leibler term of the illumination code, and the one signal that reaches the geometry: the opacity
of a ray shall be 0 where the panorama shows sky and 1 elsewhere. Ours are further terms on the volume, because what is
behind a visible surface is free otherwise, and on the colours of the rendering. All are means, so that no
weight depends on picture or batch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rsnb.errors import InputError

SOLID = 1e-5  # share of light that may pass what counts as opaque whatever the margin


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term; 0 leaves it out. The defaults are the published ones.

    Attributes:
        gan: `gan_loss` of the generator.
        feature_matching: `feature_matching_loss`.
        l1, l2: of the refined picture.
        perceptual: `perceptual.PerceptualTerm` of the refined picture.
        opacity: `opacity_loss`, the non-sky supervision.
        kl: `kl_loss`; it teaches nothing where the code is not drawn.
        colour: `gain_matched_l1` of the rendering, ours.
        gravity: `gravity_loss`, ours.
        solidity: `solidity_loss`, ours.
        variation: `volume_variation`, ours.

    Raises:
        InputError: a weight that is not a number from 0 on.
    """

    gan: float = 1.0
    feature_matching: float = 10.0
    l1: float = 1.0
    l2: float = 10.0
    perceptual: float = 10.0
    opacity: float = 1.0
    kl: float = 0.1
    colour: float = 0.0
    gravity: float = 0.0
    solidity: float = 0.0
    variation: float = 0.0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise InputError(f"the weight {field.name} is {value!r}", where="LossWeights",
                                 mend="Give a number from 0 on")

    @classmethod
    def ours(cls, **changes) -> LossWeights:
        """For short trainings on few pairs: no critics and no trunk, the geometry first."""
        plain = {"gan": 0.0, "feature_matching": 0.0, "l1": 1.0, "l2": 0.0, "perceptual": 0.0, "kl": 0.0,
                 "colour": 0.5, "gravity": 0.1, "solidity": 0.1}
        return cls(**(plain | changes))


def gan_loss(logits: Sequence[Tensor], real: bool) -> Tensor:
    """Binary cross-entropy of critics' logits against one answer, mean over patches, then over critics.

    The critics' own loss is gan_loss(of fakes, False) + gan_loss(of real pictures, True); the generator's,
    non-saturating (Goodfellow et al. 2014), is gan_loss(of fakes, True).

    Args:
        logits: of each critic, any shape; above 0 means real.
        real: the answer.
    """
    return torch.stack([F.softplus(-one if real else one).mean() for one in logits]).mean()


def feature_matching_loss(fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """L1 between critics' feature maps (Wang et al. 2018), summed over layers, mean over critics.

    Args:
        fake, real: feature maps by critic and layer; no gradient goes to `real`.
    """
    sums = [torch.stack([(a - b.detach()).abs().mean() for a, b in zip(mine, theirs, strict=True)]).sum()
            for mine, theirs in zip(fake, real, strict=True)]
    return torch.stack(sums).mean()


def kl_loss(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of a normal from the standard one, summed over the code, mean over the batch.

    Args:
        mean, log_variance: [B, code].
    """
    return (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=-1).mean() / 2


def l1_loss(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference of pictures [B, C, H, W] over the pixels of a mask [B, H, W] (None: all)."""
    return masked_mean((image - target).abs().mean(dim=1), mask)


def l2_loss(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared difference of pictures [B, C, H, W] over the pixels of a mask [B, H, W] (None: all)."""
    return masked_mean(((image - target) ** 2).mean(dim=1), mask)


def opacity_loss(opacity: Tensor, sky: Tensor, how: Literal["l1", "bce"] = "l1", mask: Tensor | None = None,
                 margin: float = 1.0) -> Tensor:
    """How far rendered opacity is from 0 at the sky and from 1 elsewhere.

    Args:
        opacity: [B, H, W] in 0..1.
        sky: [B, H, W] bool.
        how: "l1" as published, or "bce", binary cross-entropy with opacities kept 1e-4 from both ends.
        mask: [B, H, W], the rays that count; None = all, as published. Rays below the horizon that leave the tile
            before they meet the ground would ask for a wall on its border (`ground_in_tile`).
        margin: what is solid shall be opaque with this share of its optical depth already (ours); 1 = plain. Without,
            a house ten metres deep is opaque as thin fog, and nothing makes it denser.

    Raises:
        InputError: another `how`, or a margin outside 0..1.
    """
    if not 0 < margin <= 1:
        raise InputError(f"margin is {margin!r}", where="opacity_loss", mend="Give a share above 0, at most 1")
    target = 1 - sky.to(opacity.dtype)
    if margin < 1:
        passed = 1 - opacity
        # what passes nearly nothing is solid enough; a root has no finite slope at 0
        thinned = torch.where(passed > SOLID, 1 - passed.clamp(min=SOLID) ** margin, opacity)
        opacity = torch.where(sky.bool(), opacity, thinned)
    if how == "l1":
        return masked_mean((opacity - target).abs(), mask)
    if how != "bce":
        raise InputError(f"the opacity loss has no form {how!r}", where="opacity_loss", mend='Write "l1" or "bce"')
    # a clamp has no gradient where it holds: a ray that is wrong for sure would never be corrected
    inner = 1e-4 + (1 - 2e-4) * opacity
    return masked_mean(-(target * inner.log() + (1 - target) * (1 - inner).log()), mask)


def gain_matched_l1(rendered: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """L1 between rendered colours and a panorama after the best gain for each picture and channel, a constant here.

    Satellite and street camera expose differently; the pattern of colours on the ground is what they share.

    Args:
        rendered: [B, 3, H, W], composited satellite colours.
        target: [B, 3, H, W], the panorama.
        mask: [B, H, W] bool, where something solid is seen.
    """
    weight = mask[:, None].to(rendered.dtype)
    with torch.no_grad():
        product = (weight * rendered * target).sum(dim=(2, 3), keepdim=True)
        gain = product / (weight * rendered**2).sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)
    return l1_loss(gain * rendered, target, mask)


def gravity_loss(sigma: Tensor, margin: float = 0.0, how: Literal["density", "opacity"] = "density",
                 slice_m: float = 1.0) -> Tensor:
    """Mean over all pairs of slices of how much more the upper holds than the lower, above a margin: things stand.

    A hinge, as in Sat3DGen.

    Args:
        sigma: [B, D, S, S], 1 / m, D >= 2, lowest first.
        margin: growth that costs nothing, 1 / m, or opacity 0..1.
        how: "density" compares densities; "opacity" that of a slice, 1 - exp(-sigma slice_m), so that of two walls the
            denser does not count.
        slice_m: height of a slice, metres; only for "opacity".

    Raises:
        InputError: another `how`.
    """
    if how not in ("density", "opacity"):
        raise InputError(f"the gravity loss has no form {how!r}", where="gravity_loss",
                         mend='Write "density" or "opacity"')
    values = sigma if how == "density" else -torch.expm1(-sigma * slice_m)
    return F.relu(values[:, 1:] - values[:, :-1] - margin).mean()


def solidity_loss(sigma: Tensor, slice_m: float, least: float = 0.9) -> Tensor:
    """Mean over all voxels of how much opacity they lack, each as far as it is hidden from above: no hollow interiors.

    A voxel is hidden by the opacity 1 - exp(-optical depth) of the slices above it, which is a constant here: else the
    roof could be thinned to please. A voxel lacks what its own opacity is short of `least`.

    Args:
        sigma: [B, D, S, S], 1 / m, lowest slice first.
        slice_m: height of a slice, metres.
        least: opacity 0..1 of one slice that is enough.
    """
    depth = sigma * slice_m
    above = depth.detach().flip(1).cumsum(1).flip(1) - depth.detach()
    hidden = -torch.expm1(-above)
    lacking = F.relu(least + torch.expm1(-depth))
    return (hidden * lacking).mean()


def volume_variation(sigma: Tensor) -> Tensor:
    """Mean absolute difference of neighbours in [B, D, S, S], along slices, rows and columns, added."""
    return sum(sigma.diff(dim=axis).abs().mean() for axis in (1, 2, 3))


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of [B, H, W] over a mask of that shape (0 where it is empty), or over everything."""
    if mask is None:
        return values.mean()
    mask = mask.to(values.dtype)
    return (values * mask).sum() / mask.sum().clamp(min=1)
