"""Figures of notebook 01: requests of a download, samples of many formats, dated series with their masks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from PIL import Image

from rsnb.viewers.style import GRID, INK, MUTED, PALETTE, draw_image, image_grid, subplots

CLOUDED = np.array([0.80, 0.16, 0.32])  # laid over what a mask leaves out


def picture_rows(rows: Sequence[Sequence[tuple[str, np.ndarray]]], width: float = 11.0) -> Figure:
    """Pictures of many shapes, each row as high as its pictures need to fill the width.

    Args:
        rows: of (title, [3, H, W] or [H, W]).
        width: inches.
    """
    gap, title = 0.08, 0.26
    aspects = [[picture.shape[-1] / picture.shape[-2] for _, picture in row] for row in rows]
    heights = [(width - gap * (len(row) - 1)) / sum(row) for row in aspects]
    total = sum(heights) + (title + gap) * len(rows)
    fig, _ = subplots(1, 1, width, total, layout="none")
    fig.clear()
    top = total
    for row, aspect, height in zip(rows, aspects, heights, strict=True):
        left, top = 0.0, top - title
        for (name, picture), share in zip(row, aspect, strict=True):
            ax = fig.add_axes((left / width, (top - height) / total, height * share / width, height / total))
            draw_image(ax, picture, name, cmap="gray")
            left += height * share + gap
        top -= height + gap
    return fig


def thumbnails(pictures: Sequence[bytes], titles: Sequence[str], columns: int = 8, width: float = 11.0) -> Figure:
    """Encoded pictures (JPEG or PNG bytes, as a catalogue serves them) side by side, each with its title."""
    shown = [np.moveaxis(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), -1, 0) / 255 for data in pictures]
    return image_grid(shown, titles, columns, width)


def request_bars(requests: Sequence[Mapping[str, object]], size: int, width: float = 11.0) -> Figure:
    """Which bytes of a file each request brought.

    Args:
        requests: in order; each with "start" and "sent" (bytes) and "status".
        size: of the whole file, bytes.
    """
    fig, axes = subplots(1, 1, width, 0.5 + 0.34 * max(len(requests), 1))
    ax = axes[0, 0]
    for row, request in enumerate(requests):
        start, sent = float(request["start"]) / size, float(request["sent"]) / size
        whole = start + sent >= 1.0
        ax.barh(row, 1.0, color=GRID, height=0.6)
        ax.barh(row, sent, left=start, color=PALETTE["good" if whole else "warn"], height=0.6)
        said = f"{request['status']}, {float(request['sent']) / 1e6:.2f} MB" + ("" if whole else ", connection lost")
        ax.text(1.01, row, said, va="center", color=MUTED, fontsize=9)
    ax.set(yticks=range(len(requests)), xlim=(0, 1), xlabel=f"share of the {size / 1e6:.2f} MB file")
    ax.set_yticklabels([f"request {i}" for i in range(1, len(requests) + 1)])
    ax.invert_yaxis()
    ax.grid(False)
    return fig


def masked(image: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """A picture [3, H, W] with what the mask [H, W] leaves out tinted; no data (nan) is white."""
    shown = np.nan_to_num(image, nan=1.0)
    return np.where(clear, shown, 0.45 * shown + 0.55 * CLOUDED[:, None, None])


def series(pictures: np.ndarray, clear: np.ndarray, titles: Sequence[str], columns: int = 6, width=11.0) -> Figure:
    """A dated series [T, 3, H, W], each picture above itself with the masked pixels [T, H, W] tinted."""
    columns = min(columns, len(pictures))
    blocks = -(-len(pictures) // columns)
    side = width / columns
    aspect = pictures.shape[-2] / pictures.shape[-1]
    fig, axes = subplots(2 * blocks, columns, width, blocks * (2 * side * aspect + 0.35))
    for ax in axes.flat:
        ax.set_axis_off()
    for i, (picture, mask, title) in enumerate(zip(pictures, clear, titles, strict=True)):
        row, column = 2 * (i // columns), i % columns
        draw_image(axes[row, column], np.nan_to_num(picture, nan=1.0), title)
        draw_image(axes[row + 1, column], masked(picture, mask))
    return fig


def dated_curves(
    dates: np.ndarray,  # [T] datetime64
    measured: Mapping[str, np.ndarray],  # name: [T], nan where clouded
    truth_dates: np.ndarray,  # [D] datetime64
    truth: Mapping[str, np.ndarray],  # name: [D]
    label: str,
    width: float = 11.0,
) -> Figure:
    """Values over time: dots where they were measured, a line of the same colour where the truth runs."""
    fig, axes = subplots(1, 1, width, 3.2)
    ax = axes[0, 0]
    tints = [PALETTE[name] for name in ("good", "accent", "ours", "ours2", "baseline")]
    for colour, (name, values) in zip(tints, measured.items(), strict=False):
        if name in truth:
            ax.plot(truth_dates, truth[name], color=colour, linewidth=1.4)
        ax.plot(dates, values, "o", color=colour, label=name, markersize=5)
    ax.set(ylabel=label)
    locator = AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    fig.legend(loc="outside upper right", ncols=len(measured))
    return fig


def footprints(
    outlines: Sequence[np.ndarray],  # each [P, 2], longitude and latitude
    box: tuple[float, float, float, float],  # west, south, east, north
    title: str = "",
    width: float = 5.0,
) -> Figure:
    """Footprints of found scenes and the box that was asked for, longitude against latitude at true proportions."""
    fig, axes = subplots(1, 1, width, width * 0.8)
    ax = axes[0, 0]
    for outline in outlines:
        ax.add_patch(Polygon(outline, facecolor=PALETTE["ours"], edgecolor=PALETTE["ours"], alpha=0.12))
    west, south, east, north = box
    ax.add_patch(Polygon([(west, south), (east, south), (east, north), (west, north)], fill=False,
                         edgecolor=INK, linewidth=1.6))
    ax.autoscale_view()
    ax.set_aspect(1.0 / np.cos(np.radians((south + north) / 2)))
    ax.set(xlabel="longitude, degrees", ylabel="latitude, degrees", title=title)
    return fig
