"""A whole scene scored: every view of a result and of the baselines, in both metric families, and the depth.

Masked scores of two methods are of different pixels. `gains` therefore compares them where both have a pixel, beside
what each table says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rsnb.errors import InputError
from rsnb.metrics.image import psnr
from rsnb.mpi.baselines import best_single_plane, nearest_view, warp_by_depth
from rsnb.mpi.evaluation import DepthScores, ViewScores, mean_scores, score_depth, score_view
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.views import view_rows
from rsnb.scenes import PosedImages

WIDER = 1.25  # a baseline may look for its plane in a range larger by this than that of the planes


@dataclass(frozen=True)
class SceneScores:
    """One method on one scene.

    Attributes:
        method: for tables.
        views: scores of each view.
        images: {view: [3, H, W] float32 in 0..1}.
        masks: {view: [H, W] bool}.
        depths: {view: [H, W] float32 z depth}; empty for methods without.
        depth_scores: {view: scores}, where a true depth is known.
        missed: views of which no pixel is covered; they are in no mean.
    """

    method: str
    views: tuple[ViewScores, ...]
    images: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    depths: Mapping[str, np.ndarray] = field(default_factory=dict)
    depth_scores: Mapping[str, DepthScores] = field(default_factory=dict)
    missed: tuple[str, ...] = ()

    def mean(self, split: str | None = "test") -> dict[str, float]:
        """Means over a split, as `mean_scores` gives them; with depth: also "depth/abs_rel", "depth/share" ..."""
        means = mean_scores(self.views, split)
        names = [view.name for view in self.views if split in (None, view.split) and view.name in self.depth_scores]
        if names:
            found = [self.depth_scores[name] for name in names]
            means["depth/abs_rel"] = float(np.mean([score.abs_rel for score in found]))
            means["depth/mae"] = float(np.mean([score.mae for score in found]))
            constant = float(np.mean([score.constant_abs_rel for score in found]))
            means["depth/share_of_constant"] = means["depth/abs_rel"] / constant if constant > 0 else float("inf")
        return means


def score_result(method: str, result: OptimisedMpi, views: PosedImages, parts: Mapping[str, Sequence[str]],
                 lpips: str | None = None) -> SceneScores:
    """Render and score views.

    Args:
        method: its name in tables.
        result: anything with `.view(views, name)`.
        views: pictures and cameras; true z depth where there is one.
        parts: {"train": names, "test": names, ...}.
        lpips: network of the perceptual distance for test views, or None; it takes seconds a view on a CPU.

    Raises:
        InputError: no test view is covered by the planes (single ones that are not are `missed`).
    """
    scored, images, masks, depths, depth_scores, missed = [], {}, {}, {}, {}, []
    for part, names in parts.items():
        for name in names:
            i = int(view_rows(views, [name])[0])
            seen = result.view(views, name)
            images[name], depths[name] = (x.clamp(min=0).cpu().numpy() for x in (seen.rgb.clamp(max=1), seen.depth))
            masks[name] = seen.mask.cpu().numpy()
            if not masks[name].any():
                missed.append(name)
                continue
            network = lpips if part == "test" else None
            scored.append(score_view(name, part, images[name], views.images[i], masks[name], network))
            if views.z_depth is not None:
                covered = masks[name] & (depths[name] > 0) & np.isfinite(views.z_depth[i])
                if covered.any():
                    depth_scores[name] = score_depth(depths[name], views.z_depth[i], covered)
        if names and part == "test" and set(names) <= set(missed):
            raise InputError("no pixel of any test view is covered by the planes", where=method,
                             mend="Choose test views or a reference nearer to each other, or raise max_pad")
    return SceneScores(method, tuple(scored), images, masks, depths, depth_scores, tuple(missed))


def score_baselines(views: PosedImages, parts: Mapping[str, Sequence[str]], near_far: tuple[float, float],
                    lpips: str | None = None) -> dict[str, SceneScores]:
    """The nearest train view warped to each view: by the best single plane, and by the true depth where it is known.

    The plane is chosen on the picture that is scored, so this baseline knows more than a method may.

    Args:
        views, parts, lpips: as for `score_result`; sources are the views of "train" (and "reference").
        near_far: z depth of the planes; the sweep is wider by a quarter at both ends.
    """
    sources = (*parts.get("reference", ()), *parts.get("train", ()))
    wide = (near_far[0] / WIDER, near_far[1] * WIDER)
    kinds = {"single plane": lambda source, name: best_single_plane(views, source, name, wide)}
    if views.z_depth is not None and np.isfinite(views.z_depth).any():
        kinds["true depth"] = lambda source, name: warp_by_depth(views, source, name)
    out = {}
    for kind, warp_to in kinds.items():
        scored, images, masks = [], {}, {}
        for part, names in parts.items():
            for name in names:
                warp = warp_to(nearest_view(views, name, sources), name)
                images[name], masks[name] = warp.image, warp.mask
                truth = views.images[view_rows(views, [name])[0]]
                scored.append(score_view(name, part, warp.image, truth, warp.mask, lpips if part == "test" else None))
        out[kind] = SceneScores(kind, tuple(scored), images, masks)
    return out


def gains(ours: SceneScores, other: SceneScores, views: PosedImages,
          split: str = "test") -> dict[str, dict[str, float]]:
    """{view: {"ours", "other", "gain" in dB, "shared" share of pixels}}: PSNR where both methods have a pixel."""
    table = {}
    for name in (view.name for view in ours.views if view.split == split):
        both = ours.masks[name] & other.masks[name]
        if not both.any():
            raise InputError(f"{ours.method} and {other.method} share no pixel of view {name!r}", where="gains",
                             mend="Leave that view out of the split, or compare methods that both show it")
        truth = views.images[view_rows(views, [name])[0]]
        one, two = (psnr(scores.images[name], truth, both) for scores in (ours, other))
        table[name] = {"ours": one, "other": two, "gain": one - two, "shared": float(both.mean())}
    return table
