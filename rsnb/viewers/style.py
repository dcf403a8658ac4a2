"""One visual language for every figure of the suite: palette, type, spacing, and how a figure is shown and saved."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from rsnb.files import atomic_path

INK, MUTED, PAPER, GRID = "#1d2733", "#6b7785", "#ffffff", "#dfe4ea"
# One colour a role, the same in every notebook; distinguishable for colour-blind readers (Okabe and Ito 2008).
PALETTE = {
    "truth": INK,
    "baseline": "#8a96a3",
    "ours": "#0072b2",
    "ours2": "#d55e00",
    "good": "#009e73",
    "accent": "#e69f00",
    "warn": "#cc3d3d",
}
DPI = 80
STYLE = {
    "figure.dpi": DPI,
    "figure.facecolor": PAPER,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
}


plt.rcParams.update(STYLE)  # titles and labels ask for it when they are set, not when the figure is made


def subplots(rows: int, columns: int, width: float = 11.0, height: float = 4.0, **options):
    """(figure, axes [rows, columns]), inches."""
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **options)


def draw_image(ax, image: np.ndarray, title: str = "", **options):
    """Put [3, H, W] or [H, W] on an axis without ticks or frame; gives matplotlib's image back."""
    picture = np.clip(np.moveaxis(image, 0, -1), 0, 1) if image.ndim == 3 else image
    options = {"interpolation": "antialiased"} | options
    drawn = ax.imshow(picture, **options)
    ax.set_axis_off()
    if title:
        ax.set_title(title)
    return drawn


def image_grid(images: Sequence[np.ndarray], titles: Sequence[str] = (), columns=4, width=11.0) -> Figure:
    """Pictures [3, H, W] of one size in rows of `columns`, each with its title."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    aspect = images[0].shape[-2] / images[0].shape[-1]
    height = rows * (width / columns * aspect + (0.28 if titles else 0.06))
    fig, axes = subplots(rows, columns, width, height)
    for index, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if index < len(images):
            draw_image(ax, images[index], titles[index] if titles else "")
    return fig


def show(fig: Figure, path: str | Path | None = None) -> Path | None:
    """Display a figure in the notebook, save it as PNG when a path is given, and close it.

    Photographs go into the notebook as JPEG and plots as PNG: a committed notebook must stay small.
    """
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI)
    if path is not None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(buffer.getvalue())
    display_picture(buffer.getvalue(), photograph=any(ax.images for ax in fig.axes))
    plt.close(fig)
    return None if path is None else Path(path)


def show_table(rows: Sequence[Mapping[str, object]], headings: Mapping[str, str] | None = None) -> None:
    """Display rows as a table; numbers with two or three digits, columns in the order of the first row.

    Args:
        rows: one mapping a row, all with the same keys.
        headings: {key: column heading}; keys that are missing stand for themselves.
    """
    from IPython.display import Markdown, display

    columns = list(rows[0])
    lines = [" | ".join(str((headings or {}).get(c, c)) for c in columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_cell(row[c]) for c in columns) for row in rows]
    display(Markdown("\n".join(f"| {line} |" for line in lines)))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"
    return str(value)


def display_picture(png: bytes, photograph: bool) -> None:
    """Show PNG bytes in a notebook (as JPEG if a photograph); does nothing outside IPython."""
    try:
        from IPython import get_ipython
        from IPython.display import Image as Shown
        from IPython.display import display
    except ImportError:
        return
    if get_ipython() is None:
        return
    display(Shown(data=as_jpeg(png) if photograph else png, format="jpeg" if photograph else "png"))


def as_jpeg(png: bytes, quality: int = 82) -> bytes:
    """PNG bytes -> JPEG bytes on white."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    flat = Image.new("RGB", picture.size, "white")
    flat.paste(picture, mask=picture.split()[3])
    out = io.BytesIO()
    flat.save(out, format="JPEG", quality=quality, subsampling=1)
    return out.getvalue()
