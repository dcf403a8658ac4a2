"""Curves of an optimisation and bars of scores, methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rsnb.errors import InputError
from rsnb.viewers.style import INK, MUTED, PALETTE, PAPER, subplots

CURVE_COLOURS = [PALETTE[name] for name in ("ours", "ours2", "good", "accent", "truth", "baseline")]
SPLIT_COLOURS = {"reference": PALETTE["accent"], "train": PALETTE["ours"], "test": PALETTE["ours2"]}
FAMILIES = ("immpi_masked", "standard")
SCORE_NAMES = {"psnr": "PSNR, dB (more is better)", "ssim": "SSIM (more is better)",
               "lpips": "LPIPS (less is better)"}


def psnr_curves(
    runs: Mapping[str, Sequence],
    x: str = "seconds",
    thresholds: Sequence[float] = (),
    test_key: str = "test_psnr",
    smooth: int = 9,
    width: float = 11.0,
    height: float = 3.6,
) -> Figure:
    """Training curves over time or steps; test views as circles; several seeds as a band, least to greatest.

    Args:
        runs: {label: history}, or {label: [history, ...]} for several seeds; a history is a list of {"step",
            "seconds", "psnr"} with `test_key` in the entries at which test views were scored.
        x: "seconds" or "step".
        thresholds: dB; each is a line, and where a run first reaches it is marked (mean over seeds, if all of them do):
            by test views if every run has them, else by the curves as drawn.
        test_key: see above.
        smooth: running median over so many steps (each step sees other views); 1 leaves the curves as they are.
        width, height: inches.
    """
    fig, axes = subplots(1, 1, width, height)
    ax = axes[0, 0]
    seeds = {label: [run] if len(run) == 0 or isinstance(run[0], Mapping) else list(run) for label, run in runs.items()}
    train = {label: [curve(history, x, "psnr", smooth) for history in some] for label, some in seeds.items()}
    test = {label: [curve(history, x, test_key) for history in some] for label, some in seeds.items()}
    tested = [all(len(at) for at, _ in curves) for curves in test.values()]
    for index, label in enumerate(runs):
        colour = CURVE_COLOURS[index % len(CURVE_COLOURS)]
        _draw_band(ax, train[label], colour, label)
        for at, values in test[label]:
            ax.plot(at, values, "o", ms=5, mfc="white", mec=colour, mew=1.6)
        for threshold in thresholds:
            where = first_reach((test if all(tested) else train)[label], threshold)
            if where is not None:
                ax.plot([where], [threshold], "|", ms=12, mew=2, color=colour)
                ax.annotate(f"{where:.3g} s" if x == "seconds" else f"{where:.0f}", (where, threshold), color=colour,
                            xytext=(4, -12 - 11 * index), textcoords="offset points", fontsize=9,
                            bbox={"color": PAPER, "alpha": 0.8, "pad": 0.5})
    for threshold in thresholds:
        ax.axhline(threshold, color=MUTED, ls=":", lw=1)
        ax.annotate(f"{threshold:g} dB", (1.0, threshold), xycoords=("axes fraction", "data"), xytext=(4, 0),
                    textcoords="offset points", va="center", color=MUTED, fontsize=9)
    ax.set(xlabel=x, ylabel="PSNR, dB", xlim=(0, None),
           title="training views (lines)" + (", test views (circles)" if any(tested) else ""))
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower right", fontsize=9)
    else:
        ax.text(0.5, 0.5, "nothing recorded", transform=ax.transAxes, ha="center", color=MUTED)
    return fig


def curve(history: Sequence[Mapping[str, float]], x: str, key: str, smooth: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(x, values) of the entries that have the key and a finite value, after a running median."""
    pairs = np.array([(entry[x], entry[key]) for entry in history if np.isfinite(entry.get(key, np.nan))], float)
    at, values = pairs.reshape(-1, 2).T
    half = min(smooth, len(values)) // 2
    if half:
        padded = np.pad(values, half, mode="edge")
        values = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
    return at, values


def first_reach(curves: Sequence[tuple[np.ndarray, np.ndarray]], threshold: float) -> float | None:
    """Where curves first are at least the threshold, on average; None if one of them never is."""
    firsts = [at[values >= threshold][:1] for at, values in curves]
    return float(np.mean(firsts)) if firsts and all(len(first) for first in firsts) else None


def _draw_band(ax, curves, colour, label) -> None:
    """The mean of several curves over where all of them run, with their span."""
    curves = [(at, values) for at, values in curves if len(at)]
    if not curves:
        return
    grid, middle = curves[0]
    if len(curves) > 1:
        grid = np.linspace(max(at[0] for at, _ in curves), min(at[-1] for at, _ in curves), 200)
        values = np.stack([np.interp(grid, at, values) for at, values in curves])
        ax.fill_between(grid, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, lw=0)
        middle, label = values.mean(axis=0), f"{label}, {len(curves)} seeds"
    ax.plot(grid, middle, color=colour, label=label)


def score_bars(scores: Mapping[str, Mapping[str, Mapping[str, object]]], width: float = 11.0) -> Figure:
    """Methods against each other, train and test views apart; a row a metric family, since they do not compare.

    Args:
        scores: {method: {split: {"family/score": mean or (mean, sd)}}}, as `mean_scores` and `mean_and_sd` of the MPI
            room give them; other keys are left out, and so is a score that no method has.
        width: inches.

    Raises:
        InputError: there is no score to draw.
    """
    keys = [key for by_split in scores.values() for values in by_split.values() for key in values if "/" in key]
    families = [f for f in FAMILIES if any(key.startswith(f + "/") for key in keys)]
    kinds = [s for s in SCORE_NAMES if any(key.endswith("/" + s) for key in keys)]
    if not families or not kinds:
        raise InputError("there is no score to draw", where="score_bars",
                         mend=f"Give keys such as {FAMILIES[0]}/{next(iter(SCORE_NAMES))}")
    splits = list(dict.fromkeys(split for by_split in scores.values() for split in by_split))
    fig, axes = subplots(len(families), len(kinds), width, len(families) * (0.55 + 0.24 * len(scores) * len(splits))
                         + 0.5, sharey=True)
    for row, family in enumerate(families):
        for column, kind in enumerate(kinds):
            _draw_bars(axes[row, column], scores, splits, f"{family}/{kind}")
            axes[row, column].set_title(f"{family}: {SCORE_NAMES[kind]}")
    axes[0, 0].invert_yaxis()  # shared: the first method on top
    handles = [Rectangle((0, 0), 1, 1, color=SPLIT_COLOURS.get(split, INK), label=f"{split} views")
               for split in splits]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(splits), fontsize=9)
    return fig


def _draw_bars(ax, scores, splits, key) -> None:
    high = 0.8 / len(splits)
    for i, by_split in enumerate(scores.values()):
        for j, split in enumerate(splits):
            if key not in by_split.get(split, {}):
                continue
            mean, sd = np.broadcast_to(np.append(by_split[split][key], np.nan)[:2], 2)
            y = i + (j - (len(splits) - 1) / 2) * high
            ax.barh(y, mean, high * 0.9, color=SPLIT_COLOURS.get(split, INK))
            if np.isfinite(sd):
                ax.plot([mean - sd, mean + sd], [y, y], color=INK, lw=1.5)
            digits = 1 if key.endswith("psnr") else 3
            said = f"{mean:.{digits}f}" + (f" \N{PLUS-MINUS SIGN} {sd:.{digits}f}" if np.isfinite(sd) else "")
            ax.annotate(said, (mean + (sd if np.isfinite(sd) else 0), y), xytext=(4, 0), textcoords="offset points",
                        va="center", fontsize=8)
    ax.set_yticks(range(len(scores)), list(scores))
    ax.margins(x=0.3)
    ax.set_xlim(left=0)
    ax.grid(axis="y", visible=False)
