"""Figures of notebook 04: heights, panoramas, skylines, paths and skies, prediction against truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rsnb.errors import InputError
from rsnb.viewers.colours import depth_colours
from rsnb.viewers.planes import as_array
from rsnb.viewers.scores import CURVE_COLOURS
from rsnb.viewers.style import INK, MUTED, PALETTE, PAPER, draw_image, subplots

_BAR = {"aspect": 14, "fraction": 0.03, "pad": 0.01}
COMPASS = dict(zip("NESW", range(0, 360, 90), strict=True))


def height_panels(rows: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]], extent_m: float,
                  error_limit_m: float = 5.0, width: float = 11.0) -> Figure:
    """A row a tile: the tile, the predicted height, the true one, and predicted minus true; one scale for all heights.

    Args:
        rows: (name, tile [3, C, C], predicted [S, S] metres, true [S, S] metres or None where nobody knows); nan where
            there is no height. All with a truth or none.
        extent_m: side of a tile, metres.
        error_limit_m: the strongest colour of an error.
        width: inches.
    """
    rows = [(name, as_array(tile), as_array(ours), None if truth is None else as_array(truth))
            for name, tile, ours, truth in rows]
    known = [truth is not None for *_, truth in rows]
    if not rows or any(known) != all(known):
        raise InputError("some rows have a true height and some do not, or there is none", where="height_panels",
                         mend="Give a truth for all tiles or for none")
    finite = np.concatenate([part[np.isfinite(part)] for row in rows for part in row[2:] if part is not None])
    top = max(float(np.percentile(finite, 99.5)) if len(finite) else 1.0, 1.0)
    columns = 4 if all(known) else 2
    side = width / (columns + 0.6)
    fig, axes = subplots(len(rows), columns, width if columns == 4 else 0.6 * width,
                         len(rows) * (side if columns == 4 else 0.6 * side) + 0.3 * len(rows) + 0.1)
    for ax, (name, tile, ours, truth) in zip(axes, rows, strict=True):
        draw_image(ax[0], tile, f"{name}, {extent_m:g} m")
        heights = draw_image(ax[1], ours, "predicted height", cmap="cividis", vmin=0, vmax=top)
        if truth is not None:
            error = ours - truth
            draw_image(ax[2], truth, "true height", cmap="cividis", vmin=0, vmax=top)
            rmse = np.sqrt(np.nanmean(error**2))
            errors = draw_image(ax[3], error, f"predicted − true, RMSE {rmse:.2f} m", cmap="RdBu_r",
                                vmin=-error_limit_m, vmax=error_limit_m)
    shrunk = min(0.85, 1.7 / len(rows))
    fig.colorbar(heights, ax=axes[:, min(2, columns - 1)].tolist(), label="m", shrink=shrunk, aspect=16, pad=0.02)
    if columns == 4:
        fig.colorbar(errors, ax=axes[:, 3].tolist(), label="m", shrink=shrunk, aspect=16, pad=0.02, extend="both")
    return fig


def panorama_strips(places: Sequence[tuple[str, Mapping[str, np.ndarray]]], near_m: float = 2.0, far_m: float = 40.0,
                    headings: Sequence[float] | None = None, width: float = 11.0) -> Figure:
    """A column a place, a line a kind of panorama, with the points of the compass below.

    Args:
        places: (name, {kind: panorama}), the same kinds in each: [3, H, W] is a picture, [H, W] with a kind that names
            depth or distance is metres (inf = nothing), any other [H, W] is a share 0..1 such as opacity.
        near_m, far_m: of the depth colours, near bright; the same for all.
        headings: bearing of each centre column, radians; None: all north.
        width: inches.
    """
    kinds = list(places[0][1])
    if not kinds or any(list(views) != kinds for _, views in places):
        raise InputError("the places have no panoramas or not the same kinds", where="panorama_strips",
                         mend="Give each place a mapping with the same keys in the same order")
    headings = np.zeros(len(places)) if headings is None else np.asarray(headings, float)
    first = as_array(places[0][1][kinds[0]])
    high = (width - 0.8) / len(places) * first.shape[-2] / first.shape[-1]
    fig, axes = subplots(len(kinds), len(places), width, len(kinds) * (high + 0.27) + 0.45)
    scales: dict[str, list] = {"depth": [], "share": []}
    for column, (name, views) in enumerate(places):
        for row, kind in enumerate(kinds):
            panorama = as_array(views[kind])
            title = f"{name}: {kind}" if row == 0 else kind
            ax = axes[row, column]
            if panorama.ndim == 3:
                draw_image(ax, np.nan_to_num(panorama), title)
            elif "depth" in kind or "distance" in kind:
                draw_image(ax, depth_colours(panorama, near_m, far_m), title)
                scales["depth"].append(row)
            else:
                shares = draw_image(ax, panorama, title, cmap="gray", vmin=0, vmax=1)
                ax.add_patch(Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, ec=MUTED, lw=0.8,
                                       clip_on=False))
                scales["share"].append(row)
        _compass(axes[-1, column], first.shape[-1], headings[column])
    if scales["share"]:
        fig.colorbar(shares, ax=axes[sorted(set(scales["share"]))].ravel().tolist(), **_BAR, ticks=[0, 1])
    if scales["depth"]:
        _depth_bar(fig, axes[sorted(set(scales["depth"]))].ravel().tolist(), near_m, far_m)
    return fig


def _compass(ax, columns: int, heading: float) -> None:
    """Ticks N, E, S and W below a panorama."""
    ax.set_axis_on()
    ax.grid(False)
    ax.spines[:].set_visible(False)
    at = {name: ((np.radians(bearing) - heading) / (2 * np.pi) + 0.5) % 1 * columns - 0.5
          for name, bearing in COMPASS.items()}
    ax.set_xticks(list(at.values()), list(at))
    ax.set_yticks([])
    ax.tick_params(length=3, pad=2)
    ax.set_xlim(-0.5, columns - 0.5)


def _depth_bar(fig, axes, near_m: float, far_m: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import NullFormatter, NullLocator

    bar = fig.colorbar(ScalarMappable(LogNorm(near_m, far_m), "magma_r"), ax=axes, label="m", **_BAR)
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if near_m <= tick <= far_m]
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_minor_formatter(NullFormatter())


def skyline_plot(truth: np.ndarray, predictions: Mapping[str, np.ndarray], heading: float = 0.0,
                 panorama: np.ndarray | None = None, vertical_fov: float = np.pi, width: float = 11.0) -> Figure:
    """How high the skyline stands along each bearing: the truth as a surface, predictions as lines with their error.

    Args:
        truth: [W] elevation of the skyline in each column of a panorama, radians; nan where unknown.
        predictions: {label: [W]}, radians.
        heading: bearing of the centre column, radians.
        panorama: [3, H, W'] in 0..1, laid behind the lines; or None.
        vertical_fov: of the panorama, radians, about the horizon.
        width: inches.
    """
    truth = np.degrees(as_array(truth))
    curves = {label: np.degrees(as_array(curve)) for label, curve in predictions.items()}
    middle = np.degrees(heading)
    bearing = middle + ((np.arange(len(truth)) + 0.5) / len(truth) - 0.5) * 360
    fig, axes = subplots(1, 1, width, 3.6)
    ax = axes[0, 0]
    if panorama is not None:
        half = np.degrees(vertical_fov) / 2
        ax.imshow(np.moveaxis(np.clip(as_array(panorama), 0, 1), 0, -1), aspect="auto", zorder=0, alpha=0.75,
                  extent=(middle - 180, middle + 180, -half, half), interpolation="antialiased")
        ax.grid(False)
    else:
        ax.fill_between(bearing, np.minimum(truth, 0), truth, color=PALETTE["baseline"], alpha=0.25, lw=0)
    behind = {"path_effects": _halo()} if panorama is not None else {}
    ax.plot(bearing, truth, color=PALETTE["truth"], lw=2.2, label="true", **behind)
    for index, (label, curve) in enumerate(curves.items()):
        error = np.nanmean(np.abs(curve - truth))
        ax.plot(bearing, curve, color=CURVE_COLOURS[index % 4], lw=1.6, label=f"{label}, mean error {error:.1f}°",
                **behind)
    values = np.concatenate([truth, *curves.values()])
    values = values[np.isfinite(values)]
    low, high = (min(0.0, float(values.min())), float(values.max())) if len(values) else (0.0, 10.0)
    ticks = np.arange(np.ceil((middle - 180) / 90), np.floor((middle + 180) / 90) + 1) * 90
    names = {bearing: name for name, bearing in COMPASS.items()}
    ax.set_xticks(ticks, [f"{names[int(tick % 360)]}\n{tick % 360:.0f}°" for tick in ticks])
    ax.set(xlabel="bearing", ylabel="elevation of the skyline, degrees", xlim=(middle - 180, middle + 180),
           ylim=(low - 2, high + 0.22 * (high - low) + 4))
    ax.legend(loc="upper right", ncols=min(4, 1 + len(curves)), fontsize=9, frameon=panorama is not None)
    return fig


def _halo():
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=3.6, foreground=PAPER), Normal()]


def path_map(tile: np.ndarray, extent_m: float, paths: Mapping[str, tuple[np.ndarray, np.ndarray]],
             clicked: np.ndarray | None = None, arrows: int = 14, width: float = 5.5) -> Figure:
    """Camera paths on the tile with the way they look, begin marked by a ring; axes in metres.

    Args:
        tile: [3, C, C] in 0..1.
        extent_m: its side, metres.
        paths: {label: (points [N, 2] tile metres, bearings [N] radians)}.
        clicked: [M, 2] tile metres, the points through which somebody drew; or None.
        arrows: a path, about.
        width: inches.
    """
    half = extent_m / 2
    fig, axes = subplots(1, 1, width, width)
    ax = axes[0, 0]
    ax.imshow(np.moveaxis(np.clip(as_array(tile), 0, 1), 0, -1), extent=(-half, half, -half, half),
              interpolation="antialiased")
    ax.grid(False)
    colours = [PALETTE["accent"], "#56b4e9", *CURVE_COLOURS]
    for index, (label, (points, headings)) in enumerate(paths.items()):
        points, headings, colour = np.asarray(points, float), np.asarray(headings, float), colours[index % len(colours)]
        ax.plot(*points.T, color=colour, lw=2, label=label, path_effects=_halo())
        some = np.unique(np.linspace(0, len(points) - 1, min(arrows, len(points))).round().astype(int))
        ax.quiver(*points[some].T, np.sin(headings[some]), np.cos(headings[some]), angles="xy", color=colour,
                  scale=17, width=0.008, headwidth=4, headlength=4.5, headaxislength=4, edgecolor=INK, linewidth=0.5,
                  zorder=4)
        ax.plot(*points[0], "o", ms=10, mfc="none", mec=colour, mew=2.4, zorder=5, path_effects=_halo())
    if clicked is not None:
        ax.plot(*np.asarray(clicked, float).T, "x", ms=8, mew=2.2, color=PAPER, label="clicked", zorder=6,
                path_effects=[*_dark_halo()])
    ax.set(xlabel="east, m", ylabel="north, m", xlim=(-half, half), ylim=(-half, half))
    if paths or clicked is not None:
        ax.legend(loc="upper right", fontsize=9, frameon=True, framealpha=0.85)
    return fig


def _dark_halo():
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=4.2, foreground=INK), Normal()]


def style_matrix(tiles: Sequence[np.ndarray], styles: Sequence[np.ndarray], pictures: Sequence[Sequence[np.ndarray]],
                 names: tuple[Sequence[str], Sequence[str]] = ((), ()), width: float = 11.0) -> Figure:
    """Every tile under every sky: the tiles down the left side, the pictures that lend their sky along the top.

    Args:
        tiles: N of [3, C, C].
        styles: M of [3, h, w], or an empty sequence: no line of skies.
        pictures: N rows of M panoramas [3, H, W].
        names: of the tiles and of the styles.
        width: inches.
    """
    if len(pictures) != len(tiles) or not len(tiles) or len({len(row) for row in pictures}) != 1 or (
            len(styles) not in (0, len(pictures[0]))):
        raise InputError(f"{len(tiles)} tiles, {len(styles)} styles and rows of {[len(row) for row in pictures]} "
                         "pictures", where="style_matrix", mend="Give a row a tile with a picture a style")
    head = 1 if len(styles) else 0
    many = len(pictures[0])
    panorama = as_array(pictures[0][0])
    wide = panorama.shape[-1] / panorama.shape[-2]
    high = max((width - 0.1) / (1 + wide * many + 0.1), 0.4)
    fig, axes = subplots(len(tiles) + head, 1 + many, width, (high + 0.06) * (len(tiles) + head) + 0.3,
                         width_ratios=[1.0, *[wide] * many])
    for ax in axes.flat:
        ax.set_axis_off()
    for column in range(many):
        name = names[1][column] if len(names[1]) else ""
        if head:
            draw_image(axes[0, column + 1], as_array(styles[column]), name or "sky of", aspect="auto")
        else:
            axes[0, column + 1].set_title(name)
    for row, tile in enumerate(tiles):
        ax = axes[row + head, 0]
        draw_image(ax, as_array(tile))
        if len(names[0]):
            ax.text(-0.06, 0.5, names[0][row], transform=ax.transAxes, rotation=90, ha="right", va="center",
                    fontsize=9, color=MUTED)
        for column, picture in enumerate(pictures[row]):
            draw_image(axes[row + head, column + 1], as_array(picture))
    if head:
        axes[0, 0].text(0.5, 0.5, "tile ↓\nsky →", transform=axes[0, 0].transAxes, ha="center", va="center",
                        color=MUTED, fontsize=9)
    return fig
