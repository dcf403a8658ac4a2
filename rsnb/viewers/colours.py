"""Arrays to colours: depth, class ids, normals, errors. All give [3, H, W] float in 0..1."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np

from rsnb.scenes import SemanticClass

SKY = (0.93, 0.95, 0.97)  # where nothing was hit


def map_colours(values: np.ndarray, low: float, high: float, colour_map: str) -> np.ndarray:
    """[H, W] -> [3, H, W] by a matplotlib colour map between two values; not finite = light grey."""
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    rgb = matplotlib.colormaps[colour_map](np.nan_to_num(share))[..., :3]
    rgb[~np.isfinite(values)] = SKY
    return np.moveaxis(rgb, -1, 0)


def depth_colours(depth: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Distance in metres, near = bright; logarithmic, since a street view spans two decades."""
    finite = depth[np.isfinite(depth)]
    low = low or (float(np.percentile(finite, 1)) if len(finite) else 1.0)
    high = high or (float(np.percentile(finite, 99)) if len(finite) else 2.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return map_colours(np.where(np.isfinite(depth), np.log(depth), np.inf), np.log(low), np.log(high), "magma_r")


def label_colours(labels: np.ndarray, classes: Sequence[SemanticClass]) -> np.ndarray:
    """Class ids to the display colours of the table; 0 = light grey."""
    table = np.tile(np.asarray(SKY), (max([0, *(c.id for c in classes)]) + 1, 1))
    for c in classes:
        if c.id != 0:
            table[c.id] = np.asarray(c.rgb) / 255.0
    return np.moveaxis(table[labels], -1, 0)


def normal_colours(normal: np.ndarray) -> np.ndarray:
    """World normals [3, H, W]: east, north, up as red, green, blue; zero normals (sky) light grey."""
    rgb = 0.5 + 0.5 * normal
    empty = (normal == 0).all(axis=0) | ~np.isfinite(normal).all(axis=0)
    rgb[:, empty] = np.asarray(SKY)[:, None]
    return np.clip(rgb, 0, 1)
