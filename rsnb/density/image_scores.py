"""The six picture scores of Sat2Density by its own formulas, and the sharpness difference of Shi et al. beside them.

Each is that of one picture and then averaged, PSNR in dB. Pixel scores reward grey blur: published PSNR moved from 12.5
to 12.8 dB over a generation of methods while FID fell from 86 to 19.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rsnb.density.bootstrap import Interval, PerTile, table, write_rows
from rsnb.errors import InputError
from rsnb.metrics.image import WINDOW, psnr, rmse, sharpness_difference, ssim
from rsnb.metrics.perceptual import lpips_distance
from rsnb.metrics.sharpness import sharpness_difference_shi


@dataclass(frozen=True)
class Metric:
    """A score of a picture against the true one.

    Attributes:
        compute: pictures [..., 3, H, W] in 0..1, found and true, to a number, or with per_image=True to one each. Those
            of LPIPS also take `trunk`, the weights file.
        least_side: pixels that a picture needs each way.
    """

    compute: Callable[..., float | np.ndarray]
    least_side: int = 1

    def lacks(self, height: int, width: int) -> str | None:
        """Why a picture of this size has no such score; None where it has."""
        least = self.least_side
        return None if min(height, width) >= least else f"{height} x {width} pixels, and it needs {least} x {least}"


METRICS = {
    "rmse": Metric(lambda found, true, **more: rmse(found, true, scale=255.0, **more)),
    "psnr": Metric(psnr),
    "ssim": Metric(ssim, WINDOW),
    "sd": Metric(sharpness_difference, 3),
    "sd_shi": Metric(sharpness_difference_shi, 3),
    # 32: below it AlexNet's last layers have no pixel left
    **{f"lpips_{net}": Metric(lambda found, true, net=net, **more: lpips_distance(found, true, net, **more), 32)
       for net in ("alex", "squeeze", "vgg")},
}
_LPIPS = {"p_alex": "alex", "p_squeeze": "squeeze"}  # as the paper's tables call them
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

    def write_csv(self, path: str | Path) -> Path:
        """A row a picture: its id and every one of COLUMNS, empty where the column is."""
        return write_rows(path, ["id", *COLUMNS], self.rows())


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
    columns, missing = {}, {}
    for name in COLUMNS:
        net = _LPIPS.get(name)
        metric = METRICS[f"lpips_{net}" if net else name]
        if net and net not in perceptual:
            missing[name] = "not asked for"
        elif (why := metric.lacks(*np.shape(found)[-2:])) is not None:
            missing[name] = why
        elif net is None:
            columns[name] = PerTile.of_values(metric.compute(found, true, per_image=True))
        else:
            try:
                distances = metric.compute(found, true, per_image=True, trunk=(trunks or {}).get(net))
                columns[name] = PerTile.of_values(distances)
            except InputError as error:
                missing[name] = str(error)  # the pictures passed every check above: what is left is the network's file
    return ImageScores(names, columns, missing)
