"""Figures of notebook 03: views against the truth, layers, depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rsnb.viewers.planes import as_array, checked_planes, plane_alpha, shown_weights
from rsnb.viewers.style import GRID, MUTED, draw_image, subplots

MOST_ACROSS = 16  # planes a line of a strip
SIGMA_SPAN = 1e3  # of the logarithmic scale


def view_comparison(
    rows: Sequence[tuple[str, np.ndarray, Mapping[str, np.ndarray], Mapping[str, float]]],
    ours: str | None = None,
    error_limit: float = 0.25,
    zoom: tuple[int, int, int, int] | None = None,
    width: float = 11.0,
) -> Figure:
    """A row a view: the truth, every method with its PSNR, and where ours is wrong.

    Args:
        rows: (name, truth [3, H, W], {method: [3, H, W]}, {method: dB}); the same methods in each row.
        ours: whose error is drawn; the last method if None.
        error_limit: the brightest error, mean over channels of |method - truth|.
        zoom: (top, left, height, width), pixels: that part is drawn once more below each row, enlarged.
        width: inches.
    """
    methods = list(rows[0][2])
    ours = methods[-1] if ours is None else ours
    boxes = [None] if zoom is None else [None, zoom]
    first = as_array(rows[0][1])
    share = width / (2.3 + len(methods))
    high = [share * shape[0] / shape[1] for shape in (first.shape[1:], *([] if zoom is None else [zoom[2:]]))]
    fig, axes = subplots(len(rows) * len(boxes), 2 + len(methods), width, len(rows) * (sum(high) + 0.4) + 0.2,
                         height_ratios=high * len(rows))
    for index, (name, truth, views, psnr_db) in enumerate(rows):
        truth, views = as_array(truth), {method: as_array(view) for method, view in views.items()}
        error = np.abs(views[ours] - truth).mean(axis=0)
        titles = [name, *(f"{method}\n{psnr_db[method]:.1f} dB" for method in methods), f"|error|\nof {ours}"]
        for line, box in enumerate(boxes):
            row = axes[index * len(boxes) + line]
            for ax, picture, title in zip(row, [truth, *(views[m] for m in methods)], titles, strict=False):
                draw_image(ax, cut(picture, box), title if box is None else "")
            drawn = draw_image(row[-1], cut(error, box), titles[-1] if box is None else "", cmap="magma", vmin=0,
                               vmax=error_limit)
            if box is None and zoom is not None:
                mark_box(row, zoom)
    fig.colorbar(drawn, ax=axes[:, -1].tolist(), shrink=0.9 / len(rows), aspect=12, pad=0.03)
    return fig


def cut(picture: np.ndarray, box: tuple[int, int, int, int] | None) -> np.ndarray:
    """The part (top, left, height, width) of [..., H, W]; all of it if None."""
    return picture if box is None else picture[..., box[0] : box[0] + box[2], box[1] : box[1] + box[3]]


def mark_box(axes, box: tuple[int, int, int, int]) -> None:
    """A frame around (top, left, height, width) on each axis."""
    for ax in axes:
        ax.add_patch(Rectangle((box[1] - 0.5, box[0] - 0.5), box[3], box[2], fill=False, edgecolor="white", lw=1.2))


def layer_strip(mpi, depths, gaps=None, columns: int | None = 8, unit: str = "m", width: float = 11.0) -> Figure:
    """Planes as they are, nearest first: colour, sigma on a logarithmic scale, alpha.

    Args:
        mpi: [P, 4, H, W]; colour in 0..1, sigma per unit length.
        depths: [P], unit of the poses.
        gaps: [P] thickness of the slabs for alpha = 1 - exp(-sigma gap); None: to the next plane.
        columns: how many planes, chosen by `chosen_planes`; None draws all, sixteen a line.
        unit: of the depths.
        width: inches.
    """
    mpi, depths = checked_planes(mpi, depths)
    alpha = plane_alpha(mpi, depths, gaps)
    chosen = chosen_planes(alpha, columns)
    across = min(len(chosen), MOST_ACROSS)
    lines = -(-len(chosen) // across)
    high = width / (across + 1) * mpi.shape[2] / mpi.shape[3]
    fig, axes = subplots(3 * lines, across, width, lines * (3 * high + 0.45) + 0.1)
    for ax in axes.flat:
        ax.set_axis_off()
    densest = max(float(np.nanmax(mpi[chosen, 3])), 1e-6)
    thinnest = densest / SIGMA_SPAN
    digits = int(np.clip(1 - np.floor(np.log10(np.diff(depths).min())), 0, 4))
    for place, plane in enumerate(chosen):
        colour, sigma, opacity = axes[3 * (place // across) : 3 * (place // across) + 3, place % across]
        draw_image(colour, mpi[plane, :3])
        colour.set_title(f"{depths[plane]:.{digits}f}" + f" {unit}" * (across <= 8), fontsize=10 if across <= 8 else 9)
        dense = draw_image(sigma, np.maximum(mpi[plane, 3], thinnest), cmap="cividis", norm=LogNorm(thinnest, densest))
        opaque = draw_image(opacity, alpha[plane], cmap="gray", vmin=0, vmax=1)
    for line in range(lines):
        rows = axes[3 * line : 3 * line + 3]
        for row, label in zip(rows, ("colour", f"sigma, 1/{unit}", "alpha"), strict=True):
            row[0].text(-0.04, 0.5, label, transform=row[0].transAxes, rotation=90, ha="right", va="center",
                        color=MUTED, fontsize=10 if across <= 8 else 8)
        for row, drawn in ((rows[1], dense), (rows[2], opaque)):
            fig.colorbar(drawn, ax=row.tolist(), aspect=10, pad=0.01, shrink=0.9)
    return fig


def chosen_planes(alpha: np.ndarray, count: int | None) -> np.ndarray:
    """Indices of `count` planes worth drawing, nearest first; all of them if None.

    They divide the stack evenly by a mixture of what the reference view shows of each plane and of the planes' number:
    dense where there is much to see, nowhere empty.
    """
    if count is None or count >= len(alpha):
        return np.arange(len(alpha))
    content = shown_weights(alpha).mean(axis=(1, 2))
    mixed = content / max(content.sum(), 1e-12) + 1 / len(alpha)
    middles = (np.arange(count) + 0.5) / count * mixed.sum()
    picked = np.unique(np.searchsorted(np.cumsum(mixed), middles).clip(max=len(alpha) - 1))
    others = [i for i in np.argsort(-content, kind="stable") if i not in picked]  # one plane may hold two shares
    return np.sort(np.append(picked, others[: count - len(picked)]).astype(int))


def depth_panel(picture, depth, true_depth=None, mask=None, unit: str = "m", width: float = 11.0) -> Figure:
    """A view with its depth and, where the truth is known, that and the signed error with its numbers.

    Args:
        picture: [3, H, W].
        depth: [H, W] z depth; nan and infinite = unknown, drawn grey.
        true_depth: [H, W] likewise, or None.
        mask: [H, W], pixels that count; the others are drawn grey. None = all.
        unit: of the depths.
        width: inches, of the figure with the truth; without it half of it is used.
    """
    picture, depth = as_array(picture), as_array(depth).astype(float)
    counted = np.isfinite(depth) if mask is None else np.isfinite(depth) & (as_array(mask) > 0)
    truth = None if true_depth is None else as_array(true_depth).astype(float)
    known = counted if truth is None else np.isfinite(truth)
    source = depth[counted] if truth is None else truth[known]
    limits = np.percentile(source, (1, 99)) if source.size else (0.0, 1.0)
    columns = 2 if truth is None else 4
    share = width / 4.9
    fig, axes = subplots(1, columns, share * (columns + 0.9 - 0.4 * (truth is None)),
                         share * picture.shape[1] / picture.shape[2] + 0.75)
    ax = axes[0]
    draw_image(ax[0], picture, "view")
    show = {"cmap": "cividis_r", "vmin": limits[0], "vmax": limits[1], "interpolation": "nearest"}
    drawn = _draw_known(ax[1], depth, counted, "depth", **show)
    if truth is not None:
        _draw_known(ax[2], truth, known, "true depth", **show)
        error = np.where(counted & known, depth - truth, np.nan)
        wrong = _draw_known(ax[3], error, counted & known, error_title(error, unit), cmap="RdBu",
                            interpolation="nearest", **dict(zip(("vmin", "vmax"), error_limits(error), strict=True)))
        fig.colorbar(wrong, ax=ax[3], label=f"depth - true, {unit}", shrink=0.8, pad=0.03)
    fig.colorbar(drawn, ax=ax[1:3].tolist(), label=f"z depth, {unit}", shrink=0.8, pad=0.02)
    return fig


def _draw_known(ax, values: np.ndarray, known: np.ndarray, title: str, **options):
    options["cmap"] = matplotlib.colormaps[options["cmap"]].with_extremes(bad=GRID)
    return draw_image(ax, np.ma.masked_where(~known, np.where(known, values, 0.0)), title, **options)


def error_title(error: np.ndarray, unit: str) -> str:
    """Mean absolute error and bias of [H, W] with nan where nothing is known."""
    known = error[np.isfinite(error)]
    if not known.size:
        return "error: nothing to compare"
    return f"mean |error| {np.abs(known).mean():.3g} {unit}\nbias {known.mean():+.2g} {unit}"


def error_limits(error: np.ndarray) -> tuple[float, float]:
    """Symmetric limits that hold 98 % of the errors."""
    known = np.abs(error[np.isfinite(error)])
    limit = float(np.percentile(known, 98)) if known.size else 0.0
    return -max(limit, 1e-9), max(limit, 1e-9)
