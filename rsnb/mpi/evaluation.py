"""Scores of rendered views in both families of the literature, of depth, and over seeds.

`immpi_masked` is what ImMPI's library holds: PSNR over the mask, SSIM with zero padding on pictures multiplied by the
mask, LPIPS (VGG) of those pictures fed as 0..1 where the network wants -1..1. `standard` is what later papers print:
PSNR over all pixels, SSIM over whole windows, LPIPS (VGG) on -1..1. Their numbers are not comparable, so tables show
both. Masked scores reward small masks: the share of pixels that counted stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from rsnb.errors import InputError
from rsnb.metrics.depth import depth_errors
from rsnb.metrics.image import WINDOW, psnr, ssim
from rsnb.metrics.perceptual import lpips_distance
from rsnb.mpi.losses import published_ssim

FAMILIES = ("immpi_masked", "standard")


@dataclass(frozen=True)
class ViewScores:
    """One rendered view against its picture.

    Attributes:
        name: of the view.
        split: "train", "test" or "reference".
        counted: share of the pixels that the mask holds.
        scores: {"immpi_masked": {"psnr", "ssim", "lpips"}, "standard": the same}; a score that cannot be had is absent.
        missing: {score: why it is absent}.
    """

    name: str
    split: str
    counted: float
    scores: Mapping[str, Mapping[str, float]]
    missing: Mapping[str, str] = field(default_factory=dict)


def score_view(name: str, split: str, image, truth, mask=None, lpips: str | None = "vgg") -> ViewScores:
    """Both families for one view.

    Args:
        name, split: for the table.
        image, truth: [3, H, W] in 0..1 (the rendering is clamped to it).
        mask: [H, W], pixels that count in `immpi_masked`; None = all.
        lpips: "vgg" (both papers' network), "alex", or None to leave it out (it takes seconds a view on a CPU).

    Raises:
        InputError: bad pictures as for `metrics.psnr`; a mask that leaves no pixel.
    """
    if lpips not in (None, "vgg", "alex"):
        raise InputError(f"{lpips!r} is no network of LPIPS here", where="score_view",
                         mend="Choose 'vgg', 'alex', or none")
    image, truth = (torch.as_tensor(np.asarray(x, dtype=np.float64)) for x in (image, truth))
    image = image.clamp(0, 1)
    mask = torch.ones(image.shape[-2:], dtype=torch.bool) if mask is None else torch.as_tensor(np.asarray(mask)) > 0
    scores = {"immpi_masked": {"psnr": psnr(image, truth, mask)}, "standard": {"psnr": psnr(image, truth)}}
    missing = {}
    if min(image.shape[-2:]) >= WINDOW:
        scores["standard"]["ssim"] = ssim(image, truth)
        scores["immpi_masked"]["ssim"] = float(published_ssim(image, truth, mask))
    else:
        missing["ssim"] = f"the picture is smaller than {WINDOW} pixels"
    if lpips is None:
        missing["lpips"] = "not asked for"
    else:
        try:
            scores["standard"]["lpips"] = lpips_distance(image, truth, lpips)
            # lpips_distance maps 0..1 to -1..1; the original feeds 0..1 as it is, which is the image of 0.5..1
            scores["immpi_masked"]["lpips"] = lpips_distance((image * mask + 1) / 2, (truth * mask + 1) / 2, lpips)
        except InputError as error:
            missing["lpips"] = str(error)
    return ViewScores(name, split, float(mask.double().mean()), scores, missing)


def mean_scores(views: Sequence[ViewScores], split: str | None = None) -> dict[str, float]:
    """Means over the views of a split (all if None), by "family/score"; a score that any view lacks is absent.

    Also "counted" and "views". An infinite PSNR (an identical picture) makes the mean infinite.

    Raises:
        InputError: no view of that split.
    """
    chosen = [view for view in views if split in (None, view.split)]
    if not chosen:
        raise InputError(f"no view of the split {split!r} was scored", where="mean_scores",
                         mend="Score views of that split first")
    means = {}
    for family in FAMILIES:
        for score in ("psnr", "ssim", "lpips"):
            values = [view.scores[family].get(score) for view in chosen]
            if None not in values:
                means[f"{family}/{score}"] = float(np.mean(values))
    return means | {"counted": float(np.mean([view.counted for view in chosen])), "views": float(len(chosen))}


def mean_and_sd(runs: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """{score: (mean, standard deviation)} over the runs of several seeds, of the scores that all of them have.

    The deviation is that of a sample (n - 1); nan for one run, which has none.
    """
    if not runs:
        raise InputError("there is no run", where="mean_and_sd", mend="Give the scores of at least one seed")
    shared = [key for key in runs[0] if all(key in run for run in runs)]
    table = {key: np.array([run[key] for run in runs], dtype=float) for key in shared}
    return {key: (float(v.mean()), float(v.std(ddof=1)) if len(v) > 1 else float("nan")) for key, v in table.items()}


@dataclass(frozen=True)
class DepthScores:
    """A depth picture against the true one, and against the best that one constant plane could do.

    Attributes:
        abs_rel: mean |depth - true| / true.
        mae: mean |depth - true|, unit of the scene.
        constant: the constant depth of least mean absolute relative error.
        constant_abs_rel, constant_mae: its errors (mae of its own best constant, the median).
        counted: share of the pixels that were scored.
    """

    abs_rel: float
    mae: float
    constant: float
    constant_abs_rel: float
    constant_mae: float
    counted: float

    @property
    def share_of_constant(self) -> float:
        """abs_rel / constant_abs_rel: 0 is perfect, 1 no better than one plane."""
        return self.abs_rel / self.constant_abs_rel if self.constant_abs_rel > 0 else float("inf")


def score_depth(depth, true, mask=None) -> DepthScores:
    """Score z depth [H, W] against the truth.

    Args:
        depth: [H, W] z depth of the rendering.
        true: [H, W] true z depth of that view; nan or infinite where unknown, which does not count.
        mask: [H, W], pixels that count besides; None = all.

    Raises:
        InputError: nothing to score, shapes differ, or a predicted depth that is not above 0.
    """
    depth, true = (np.asarray(x, dtype=np.float64) for x in (depth, true))
    known = np.isfinite(true)
    if mask is not None:
        known = known & (np.asarray(mask) > 0)
    errors = depth_errors(depth, true, known)
    constant, abs_rel = best_constant_depth(true[known])
    mae = float(np.abs(true[known] - np.median(true[known])).mean())
    return DepthScores(errors["abs_rel"], errors["mae"], constant, abs_rel, mae, float(known.mean()))


def best_constant_depth(true) -> tuple[float, float]:
    """The constant c of least mean |c - t| / t over true depths [...], and that mean: a median weighted by 1 / t."""
    order = np.sort(np.asarray(true, dtype=np.float64).ravel())
    weight = np.cumsum(1 / order)
    best = float(order[np.searchsorted(weight, weight[-1] / 2)])
    return best, float((np.abs(order - best) / order).mean())


def seconds_to_reach(history: Sequence[Mapping[str, float]], threshold_db: float, key: str = "psnr") -> float | None:
    """The first "seconds" in a history at which `key` is at least the threshold; None if it never is.

    Entries without the key are skipped; nan is below every threshold.
    """
    return next((float(entry["seconds"]) for entry in history if key in entry and entry[key] >= threshold_db), None)
