"""The six picture scores of Sat2Density by its own formulas, and the sharpness difference of Shi et al. beside them.

Each is that of one picture and then averaged, PSNR in dB. Pixel scores reward grey blur: published PSNR moved from 12.5
to 12.8 dB over a generation of methods while FID fell from 86 to 19.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rsnb.density.bootstrap import Interval, PerTile, table
from rsnb.errors import InputError
from rsnb.metrics.image import psnr, rmse, sharpness_difference, ssim
from rsnb.metrics.perceptual import lpips_distance
from rsnb.metrics.sharpness import sharpness_difference_shi

PUBLISHED = ("rmse", "ssim", "psnr", "sd", "p_alex", "p_squeeze")  # in the order of the original's table
COLUMNS = (*PUBLISHED, "sd_shi")
LOWER_IS_BETTER = frozenset({"rmse", "p_alex", "p_squeeze"})


@dataclass(frozen=True)
class ImageScores:
    """Scores of N pictures.

    Attributes:
        ids: N names.
        columns: {score: `PerTile` of N} of those in COLUMNS that could be had.
        missing: {score: why its column is empty} of the others.
    """

    ids: tuple[str, ...]
    columns: Mapping[str, PerTile]
    missing: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> list[dict[str, str | float | None]]:
        """One a picture: "id" and every one of COLUMNS, None where the column is empty."""
        values = {name: self.columns[name].values if name in self.columns else None for name in COLUMNS}
        return [{"id": name} | {column: None if found is None else float(found[i]) for column, found in values.items()}
                for i, name in enumerate(self.ids)]

    def means(self, **options) -> dict[str, Interval | None]:
        """Mean and bootstrap interval of every one of COLUMNS; options as for `bootstrap.interval`."""
        return dict.fromkeys(COLUMNS) | table(self.columns, **options)


def score_images(found, true, ids: Sequence[str] | None = None, perceptual: Sequence[str] = ("alex", "squeeze"),
                 trunks: Mapping[str, str | Path] | None = None) -> ImageScores:
    """All scores of pictures against true ones.

    Args:
        found, true: [N, 3, H, W] in 0..1.
        ids: N names; None = "0", "1" ...
        perceptual: networks of LPIPS to try; the others are left out ("not asked for").
        trunks: {network: weights file}, where they are not in the usual places.

    Returns:
        "rmse" in grey levels (0..255), "psnr" in dB of peak 1, "ssim" (11 x 11 Gaussian, mean of the channels), "sd" in
        dB (Sat2Density's), "sd_shi" in dB, "p_alex" and "p_squeeze" (LPIPS 0.1 distances). What pictures are too small
        for, or whose network is not there, is in `missing` with its reason.

    Raises:
        InputError: pictures of different or other shapes, or that are not finite; another number of names.
    """
    if np.ndim(found) != 4 or np.shape(found) != np.shape(true):
        raise InputError(f"pictures of shape {tuple(np.shape(found))} and {tuple(np.shape(true))}",
                         where="score_images", mend="Give two stacks [N, 3, H, W] of one size")
    names = tuple(str(i) for i in range(len(found))) if ids is None else tuple(ids)
    if len(names) != len(found):
        raise InputError(f"{len(names)} names for {len(found)} pictures", where="score_images")
    columns = {"rmse": rmse(found, true, scale=255, per_image=True), "psnr": psnr(found, true, per_image=True)}
    missing = {f"p_{net}": "not asked for" for net in ("alex", "squeeze") if net not in perceptual}
    tries: dict[str, Callable[[], np.ndarray]] = {
        "ssim": lambda: ssim(found, true, per_image=True),
        "sd": lambda: sharpness_difference(found, true, per_image=True),
        "sd_shi": lambda: sharpness_difference_shi(found, true, per_image=True),
    }
    for net in ("alex", "squeeze"):
        if net in perceptual:
            trunk = (trunks or {}).get(net)
            tries[f"p_{net}"] = lambda net=net, trunk=trunk: lpips_distance(found, true, net, trunk=trunk,
                                                                            per_image=True)
    for name, score in tries.items():
        try:
            columns[name] = score()
        except InputError as error:
            # the pictures themselves passed every check above: what is left is their size, or the network's file
            missing[name] = str(error)
    return ImageScores(names, {name: PerTile.of_values(columns[name]) for name in COLUMNS if name in columns}, missing)
