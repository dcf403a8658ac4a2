"""Rendered panoramas against true ones: sky, skyline and depth, from the central camera and from anywhere else.

Pixels whose true surface lies outside the tile (a house across the street, seen over its border) cannot be explained by
a volume over the tile. They count in the plain scores; those that end in "/inside" leave them out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from rsnb.density.bootstrap import PerTile, bin_gap, root_ratio, sum_per_tile
from rsnb.density.heights import as_array
from rsnb.density.sampling import with_length
from rsnb.density.volume import DensityVolume, Rendered, RenderOptions, TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera, world_rays
from rsnb.geometry.poses import pose_from_heading

HIT = 0.5  # opacity from which a pixel counts as not sky
BINS = 10  # of the calibration error
LEAST_DOUBT = 1e-4  # the cross-entropy takes opacities between this and 1 - this: float32 opacities reach 0 and 1
AT_ONCE = 16  # volumes rendered together


@dataclass(frozen=True)
class ViewTruth:
    """What one camera a tile really sees.

    Attributes:
        position: [N, 3] tile metres, z = height above the ground; a tile whose row is NaN has no such camera.
        depth: [N, H, W] true distance along the ray, metres; infinity where nothing is hit.
        sky: [N, H, W] bool, true where the panorama shows sky.
        heading: [N] or scalar, bearing of the centre column, radians.
        vertical_fov: of the rows, radians, centred on the horizon.
        length_m: of the rays that are compared with it where the renderer's options name none; None = what the
            farthest of these cameras needs. To be given where they are part of a larger set.

    Raises:
        InputError: shapes that do not fit one another, or a depth that is NaN or not above 0.
    """

    position: np.ndarray
    depth: np.ndarray
    sky: np.ndarray
    heading: np.ndarray | float = 0.0
    vertical_fov: float = math.pi
    length_m: float | None = None

    def __post_init__(self):
        for name, dtype in (("position", np.float64), ("depth", np.float64), ("sky", bool)):
            object.__setattr__(self, name, as_array(getattr(self, name)).astype(dtype))
        n = len(self.depth)
        object.__setattr__(self, "heading", np.broadcast_to(as_array(self.heading), (n,)))
        if self.depth.ndim != 3 or self.sky.shape != self.depth.shape or self.position.shape != (n, 3):
            raise InputError(f"position {self.position.shape}, depth {self.depth.shape} and sky {self.sky.shape}",
                             where="ViewTruth", mend="Give [N, 3], [N, H, W] and [N, H, W]")
        if not (self.depth[self.there] > 0).all():
            raise InputError("true depths are NaN, 0 or negative", where="ViewTruth",
                             mend="Write infinity where nothing is hit")

    def __len__(self) -> int:
        return len(self.depth)

    @property
    def there(self) -> np.ndarray:
        """[N] bool: tiles that have this camera."""
        return np.isfinite(self.position).all(axis=-1)

    @property
    def camera(self) -> PanoramaCamera:
        return PanoramaCamera(self.depth.shape[2], self.depth.shape[1], self.vertical_fov)


def score_views(volume: DensityVolume, views: Sequence[ViewTruth], options: RenderOptions = RenderOptions(),
                render: Callable[..., Rendered] | None = None) -> list[dict[str, PerTile]]:
    """Render and score every view of N tiles, a few volumes at a time.

    Args:
        volume: of N tiles.
        views: of the same tiles.
        options: of the renderer.
        render: what stands for `render.render_panorama`, None = that.

    Returns:
        `score_view` of each.

    Raises:
        InputError: other numbers of tiles.
    """
    if render is None:
        from rsnb.density.render import render_panorama as render
    scored = []
    for view in views:
        if len(view) != len(volume):
            raise InputError(f"a view of {len(view)} tiles for {len(volume)} volumes", where="score_views")
        there, parts = np.flatnonzero(view.there), []
        # one length for all: what a tile scores must not depend on who is rendered beside it
        steps = with_length(replace(options, length_m=options.length_m or view.length_m), volume.frame,
                            torch.from_numpy(view.position[there]))
        for start in range(0, len(there), AT_ONCE):
            some = there[start : start + AT_ONCE]
            with torch.no_grad():
                seen = render(volume.subset(some), view.camera, view.position[some], view.heading[some], steps)
            parts.append((as_array(seen.opacity), as_array(seen.depth(HIT))))
        opacity, depth = np.zeros(view.depth.shape), np.full(view.depth.shape, np.inf)
        if parts:
            opacity[there], depth[there] = (np.concatenate(part) for part in zip(*parts, strict=True))
        scored.append(score_view(opacity, depth, view, volume.frame))
    return scored


def score_view(opacity, depth, truth: ViewTruth, frame: TileFrame) -> dict[str, PerTile]:
    """Opacity and depth of one rendered panorama a tile.

    Args:
        opacity: [N, H, W] 0..1.
        depth: [N, H, W] distance of what is hit, divided by the opacity, metres; infinity where nothing is.
        truth: what the cameras really see.
        frame: tells what lies inside the volume.

    Returns:
        "opacity/iou" (of opacity >= 0.5 and not sky), "opacity/l1", "opacity/bce", "opacity/ece" (expected calibration
        error of the opacity as a probability, 10 equal bins), each also with "/inside"; "skyline/mean", "/median",
        "/p90" of the absolute and "/bias" of the signed elevation error (found - true) over all columns, degrees, and
        with "/inside" over those whose true skyline is inside; "depth/abs_rel", "/rmse" (metres), "/delta_1" (max ratio
        below 1.25) and "/missed" on true hits, as `metrics.depth_errors` defines them, "/rmse_all" (missed ones count
        with all of their true depth, as if found at 0), and the same with "/above" (rays above the horizon), "/inside"
        and "/inside_above" behind; "depth/false_hits" (share of the true sky that has a depth).

    Raises:
        InputError: other shapes, or an opacity or depth that is NaN.
    """
    opacity, depth = as_array(opacity), as_array(depth)
    if opacity.shape != truth.depth.shape or depth.shape != truth.depth.shape:
        raise InputError(f"opacity {opacity.shape} and depth {depth.shape}, the truth {truth.depth.shape}",
                         where="score_view", mend="Render with the camera of the truth")
    counts = np.broadcast_to(truth.there[:, None, None], opacity.shape)
    if np.isnan(opacity[counts]).any() or not (depth[counts] > 0).all():
        raise InputError("opacities or depths are NaN, or depths not above 0", where="score_view")
    above, inside = _pixel_groups(truth, frame)
    scores = {}
    for name, pixels in (("", counts), ("/inside", counts & (truth.sky | inside))):
        scores |= {f"opacity/{key}{name}": value for key, value in _opacity(opacity, ~truth.sky, pixels).items()}
    for name, pixels in (("", counts), ("/above", above), ("/inside", inside), ("/inside_above", inside & above)):
        scores |= {f"depth/{key}{name}": value for key, value in _depth(depth, truth.depth, pixels & counts).items()}
    scores["depth/false_hits"] = PerTile.mean(np.isfinite(depth), counts & truth.sky)
    return scores | _skyline(opacity >= HIT, truth, inside)


def skyline(solid, vertical_fov: float) -> np.ndarray:
    """Elevation of the topmost solid pixel of each column of panoramas, by its upper edge.

    What floats above the roofs counts too: it hides the sky all the same.

    Args:
        solid: [..., H, W] bool, what is no sky.
        vertical_fov: of the rows, radians, centred on the horizon.

    Returns:
        [..., W] float64 radians; a column without anything solid has the lower border, -vertical_fov / 2.
    """
    solid = as_array(solid) > 0
    return (0.5 - _top_row(solid) / solid.shape[-2]) * vertical_fov


def pool_views(scored: Sequence[dict[str, PerTile]]) -> dict[str, PerTile]:
    """The views of every tile taken together."""
    pooled = dict(scored[0])
    for scores in scored[1:]:
        pooled = {name: value + scores[name] for name, value in pooled.items()}
    return pooled


def view_rings(views: Sequence[ViewTruth], scored: Sequence[dict[str, PerTile]],
               edges_m: Sequence[float]) -> dict[str, dict[str, PerTile]]:
    """The views pooled by their distance from the middle of their tile; rings without any camera are absent.

    Args:
        views: K views of N tiles.
        scored: their scores.
        edges_m: distances between which a ring lies, ascending; the last one is open.

    Returns:
        {"4-8 m": scores}.
    """
    bounds, rings = [*edges_m, math.inf], {}
    for low, high in zip(bounds[:-1], bounds[1:], strict=True):
        parts = []
        for view, scores in zip(views, scored, strict=True):
            distance = np.hypot(view.position[:, 0], view.position[:, 1])
            here = (distance >= low) & (distance < high)
            if here.any():
                parts.append({name: PerTile(np.where(here[:, None], value.sums, 0), value.statistic)
                              for name, value in scores.items()})
        if parts:
            rings[f"{low:g}-{high:g} m" if high < math.inf else f"from {low:g} m"] = pool_views(parts)
    return rings


def _pixel_groups(truth: ViewTruth, frame: TileFrame) -> tuple[np.ndarray, np.ndarray]:
    """[N, H, W] bool: rays above the horizon; true surfaces inside the volume."""
    position = np.where(truth.there[:, None], truth.position, 0)
    origins, directions = (x.numpy() for x in world_rays(truth.camera, pose_from_heading(position, truth.heading)))
    finite = np.isfinite(truth.depth)
    points = origins + directions * np.where(finite, truth.depth, 0)[..., None]
    # a wall on the border and a roof at the ceiling are inside: truth is rounded to a hundredth of a pixel or so
    level = np.abs(points[..., :2]).max(axis=-1) <= frame.half_m + 1e-3
    return directions[..., 2] > 0, finite & level & (points[..., 2] <= frame.ceiling_m + 1e-3)


def _opacity(opacity: np.ndarray, solid: np.ndarray, pixels: np.ndarray) -> dict[str, PerTile]:
    hit = opacity >= HIT
    sure = np.clip(opacity, LEAST_DOUBT, 1 - LEAST_DOUBT)
    gap, count = opacity - solid, sum_per_tile(pixels)
    place = np.minimum((opacity * BINS).astype(int), BINS - 1)
    bins = [sum_per_tile(np.where(pixels & (place == k), gap, 0)) for k in range(BINS)]
    return {
        "iou": PerTile.mean(hit & solid, pixels & (hit | solid)),
        "l1": PerTile.mean(np.abs(gap), pixels),
        "bce": PerTile.mean(-np.where(solid, np.log(sure), np.log1p(-sure)), pixels),
        "ece": PerTile(np.stack([*bins, count], axis=-1), bin_gap),
    }


def _depth(found: np.ndarray, true: np.ndarray, pixels: np.ndarray) -> dict[str, PerTile]:
    scored = pixels & np.isfinite(true)
    both = scored & np.isfinite(found)
    f, t = np.where(both, found, 1), np.where(both, true, 1)
    return {
        "abs_rel": PerTile.mean(np.abs(f - t) / t, both),
        "rmse": PerTile(PerTile.mean((f - t) ** 2, both).sums, root_ratio),
        "rmse_all": PerTile(PerTile.mean(np.where(both, f - t, np.where(scored, true, 0)) ** 2, scored).sums,
                            root_ratio),
        "delta_1": PerTile.mean(both & (np.maximum(f / t, t / f) < 1.25), scored),
        "missed": PerTile.mean(~np.isfinite(found), scored),
    }


def _top_row(solid: np.ndarray) -> np.ndarray:
    """[..., W] first row of solid [..., H, W] that is; H where none is."""
    return np.where(solid.any(axis=-2), solid.argmax(axis=-2), solid.shape[-2])


def _skyline(hit: np.ndarray, truth: ViewTruth, inside: np.ndarray) -> dict[str, PerTile]:
    found, true = (skyline(solid, truth.vertical_fov) for solid in (hit, ~truth.sky))
    error = np.degrees(found - true)
    all_columns = np.broadcast_to(truth.there[:, None], error.shape)
    of_top = np.take_along_axis(inside, np.minimum(_top_row(~truth.sky), hit.shape[1] - 1)[:, None], axis=1)[:, 0]
    scores = {}
    for suffix, columns in (("", all_columns), ("/inside", all_columns & of_top)):
        scores[f"skyline/mean{suffix}"] = PerTile.mean(np.abs(error), columns)
        scores[f"skyline/bias{suffix}"] = PerTile.mean(error, columns)
        for name, share in (("median", 50), ("p90", 90)):
            scores[f"skyline/{name}{suffix}"] = PerTile.of_values(
                [np.percentile(np.abs(e[c]), share) if c.any() else np.nan
                 for e, c in zip(error, columns, strict=True)])
    return scores
