"""Numbers of notebook 04: losses of a training, scores with intervals beside their baselines, camera calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullLocator

from rsnb.errors import InputError
from rsnb.viewers.planes import as_array
from rsnb.viewers.scores import CURVE_COLOURS, curve
from rsnb.viewers.style import INK, MUTED, PALETTE, subplots


def training_curves(runs: Mapping[str, Sequence], panels: Mapping[str, str], x: str = "step", smooth: int = 9,
                    goals: Mapping[str, float] | None = None, width: float = 11.0) -> Figure:
    """Losses and scores over a training, a panel each: lines where there are many entries, circles where few.

    A panel is logarithmic if all of it is above 0 and it spans more than a decade.

    Args:
        runs: {label: history} or {label: [history, ...]} for several seeds, thin lines of one colour; a history is a
            list of mappings with `x` and some of the panels' keys.
        panels: {key: title with its unit}.
        x: "step" or "seconds".
        smooth: running median over so many entries where there are more than 30.
        goals: {key: number to reach}, a dotted line.
        width: inches.
    """
    keys, goals = list(panels), goals or {}
    if not keys or not runs:
        raise InputError("there is nothing to draw", where="training_curves", mend="Give runs and panels")
    columns = min(3, len(keys))
    lines = -(-len(keys) // columns)
    fig, axes = subplots(lines, columns, width, 2.6 * lines + 0.4)
    for ax in axes.flat[len(keys) :]:
        ax.set_axis_off()
    for ax, key in zip(axes.flat, keys, strict=False):
        seen = []
        for index, (label, run) in enumerate(runs.items()):
            seeds = [run] if len(run) == 0 or isinstance(run[0], Mapping) else run
            for number, history in enumerate(seeds):
                at, raw = curve(history, x, key)
                many = len(at) > 30
                values = curve(history, x, key, smooth)[1] if many else raw
                ax.plot(at, values, "-" if many else "o-", color=CURVE_COLOURS[index % len(CURVE_COLOURS)], mfc="white",
                        ms=5, lw=1.6 if len(seeds) == 1 else 1.0, label=label if number == 0 else None)
                seen.append(values)
        values = np.concatenate(seen)
        if len(values) and values.min() > 0 and values.max() > 10 * values.min():
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            ax.yaxis.set_minor_locator(NullLocator())
        if key in goals:
            ax.axhline(goals[key], color=MUTED, ls=":", lw=1.2)
            ax.annotate("goal", (1.0, goals[key]), xycoords=("axes fraction", "data"), xytext=(-2, 2), ha="right",
                        textcoords="offset points", color=MUTED, fontsize=8)
        if not len(values):
            ax.text(0.5, 0.5, "nothing recorded", transform=ax.transAxes, ha="center", color=MUTED)
            ax.set_yticks([])
        ax.set(xlabel=x, title=panels[key], xlim=(0, None))
    if len(runs) > 1:
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=min(6, len(runs)),
                   fontsize=9)
    return fig


def interval_bars(scores: Mapping[str, Mapping[str, object]], panels: Mapping[str, str], ours: Sequence[str],
                  goals: Mapping[str, float] | None = None, width: float = 11.0) -> Figure:
    """Methods against each other, a panel a score: bars with intervals, baselines in grey, a dotted line for a goal.

    Args:
        scores: {method: {key: mean, or (mean, low, high)}}; a method that lacks a key has an empty place, with a dash.
        panels: {key: title that names the unit and which way is better}.
        ours: methods that are not baselines.
        goals: {key: number to reach}.
        width: inches.

    Raises:
        InputError: nothing to draw.
    """
    goals = goals or {}
    if not scores or not panels:
        raise InputError("there is no score to draw", where="interval_bars", mend="Give methods and panels")
    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    fig, axes = subplots(lines, columns, width, lines * (0.7 + 0.3 * len(scores)) + 0.3, sharey=True)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (key, title) in zip(axes.flat, panels.items(), strict=False):
        ends = [0.0]
        for y, (method, values) in enumerate(scores.items()):
            mean, low, high = np.append(np.atleast_1d(np.asarray(values.get(key, np.nan), float)), [np.nan] * 2)[:3]
            if not np.isfinite(mean):
                ax.annotate("–", (0, y), xytext=(4, 0), textcoords="offset points", va="center", color=MUTED)
                continue
            ax.barh(y, mean, 0.72, color=PALETTE["ours"] if method in ours else PALETTE["baseline"])
            spread = np.isfinite(low) and np.isfinite(high)
            if spread:
                ax.plot([low, high], [y, y], color=INK, lw=1.6, solid_capstyle="butt")
            end = max(mean, high) if spread else mean
            digits = 1 if abs(mean) >= 10 else 2
            ax.annotate(f"{mean:.{digits}f}", (max(end, 0), y), xytext=(4, 0), textcoords="offset points", va="center",
                        fontsize=8)
            ends += [end, mean, low if spread else mean]
        if key in goals:
            ax.axvline(goals[key], color=PALETTE["ours2"], ls=":", lw=1.4)
            ends.append(goals[key])
        room = 0.24 * (max(ends) - min(ends) or 1)
        ax.set_xlim(min(ends), max(ends) + room)
        ax.set_title(title, fontsize=9)
        ax.grid(axis="y", visible=False)
    _bar_legend(fig, scores, ours, goals.keys() & panels.keys())
    axes[0, 0].set_yticks(range(len(scores)), list(scores))
    for ax in axes.flat:
        ax.tick_params(axis="y", length=0)
    axes[0, 0].set_ylim(len(scores) - 0.45, -0.55)  # shared: the first method on top
    for tick, method in zip(axes[0, 0].get_yticklabels(), scores, strict=True):
        tick.set_color(INK if method in ours else MUTED)
    return fig


def _bar_legend(fig: Figure, scores: Mapping, ours: Sequence[str], goals) -> None:
    handles = [Rectangle((0, 0), 1, 1, color=PALETTE[role], label=label) for role, label, shown in (
        ("ours", "the method and its ablations", any(method in ours for method in scores)),
        ("baseline", "baselines", any(method not in ours for method in scores))) if shown]
    handles.append(Line2D([], [], color=INK, lw=1.6, label="interval"))
    if goals:
        handles.append(Line2D([], [], color=PALETTE["ours2"], ls=":", lw=1.4, label="goal"))
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)


def calibration_curve(height_m: np.ndarray, correlation: np.ndarray, marks: Mapping[str, float] | None = None,
                      metres_a_pixel: float | None = None, names: Sequence[str] = (), width: float = 9.0) -> Figure:
    """How well flat ground seen from each camera height agrees with the panoramas: where the mean peaks, and what the
    heights in use say.

    Args:
        height_m: [N] camera heights, metres, for the tile extent that is assumed.
        correlation: [N] or [K, N], one line a pair; the bold line is their mean.
        marks: {label: height in metres}: assumptions to compare with the peak.
        metres_a_pixel: of the tile; a second axis then counts tile pixels, which is what pairs can really tell.
        names: [K] of the pairs, at the ends of their lines.
        width: inches.

    Raises:
        InputError: shapes that do not fit, or nothing finite.
    """
    height_m, lines = as_array(height_m).astype(float), np.atleast_2d(as_array(correlation).astype(float))
    finite = np.isfinite(lines)
    if height_m.ndim != 1 or lines.ndim != 2 or lines.shape[1] != len(height_m) or not finite.any(axis=0).all():
        raise InputError(f"heights {height_m.shape} and correlations {lines.shape}, or heights without any",
                         where="calibration_curve", mend="Give [N] and [K, N] with a number at each height")
    mean = np.where(finite, lines, 0).sum(axis=0) / finite.sum(axis=0)
    best = int(np.argmax(mean))
    fig, axes = subplots(1, 1, width, 3.8)
    ax = axes[0, 0]
    if len(lines) > 1:
        ax.plot(height_m, lines.T, color=PALETTE["baseline"], lw=0.9, alpha=0.7)
        _name_ends(ax, height_m, lines[: len(names)], names)
    pixels = "" if metres_a_pixel is None else f" = {height_m[best] / metres_a_pixel:.1f} tile pixels"
    label = f"mean of {len(lines)} pairs" if len(lines) > 1 else "correlation"
    ax.plot(height_m, mean, color=PALETTE["ours"], lw=2.4, label=label)
    ax.plot(height_m[best], mean[best], "o", ms=9, color=PALETTE["ours2"], mec="white", zorder=5,
            label=f"best: {height_m[best]:.2f} m{pixels}, correlation {mean[best]:.2f}")
    for index, (said, at) in enumerate((marks or {}).items()):
        ax.axvline(at, color=[PALETTE["accent"], PALETTE["good"], MUTED][index % 3], ls="--", lw=1.6,
                   label=f"{said}: {at:.2f} m")
    ax.set(xlabel="camera height, m", ylabel="correlation with the panorama")
    ax.legend(fontsize=9, loc="best", frameon=True, framealpha=0.85)
    if metres_a_pixel is not None:
        above = ax.secondary_xaxis("top", functions=(lambda m: m / metres_a_pixel, lambda px: px * metres_a_pixel))
        above.set_xlabel("tile pixels")
    return fig


def _name_ends(ax, x: np.ndarray, lines: np.ndarray, names: Sequence[str]) -> None:
    """Names right of where lines end, in their order, at least a line of text apart."""
    ends = [(float(line[np.isfinite(line)][-1]), name) for line, name in zip(lines, names, strict=True)
            if np.isfinite(line).any()]
    if not ends:
        return
    middle = np.mean([end for end, _ in ends])
    for rank, (_, name) in enumerate(sorted(ends)):
        ax.annotate(name, (1.0, middle), xycoords=("axes fraction", "data"), fontsize=8, color=MUTED, va="center",
                    xytext=(5, 10 * (rank - (len(ends) - 1) / 2)), textcoords="offset points", annotation_clip=False)
