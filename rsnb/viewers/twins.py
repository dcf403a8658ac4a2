"""Interactive views that are never blank: a picture travels in the same output, for whatever cannot draw the view."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from rsnb.viewers.style import DPI, as_jpeg


def display_with_twin(live: Mapping[str, object], twin: np.ndarray, text: str) -> None:
    """Display one output: the live view by MIME type, its static twin [3, H, W] as a JPEG, and a line of text.

    A front end draws the first that it can: the live view where it can be drawn, else the picture, else the line.
    """
    from IPython.display import display

    png = io.BytesIO()
    as_picture(twin).save(png, format="PNG")
    bundle = {**live, "image/jpeg": base64.b64encode(as_jpeg(png.getvalue())).decode(), "text/plain": text}
    display(plain_json(bundle), raw=True)


def as_picture(image) -> Image.Image:
    """[3, H, W] in 0..1 -> an 8-bit picture; nan is black."""
    return Image.fromarray((np.clip(np.nan_to_num(np.moveaxis(image, 0, -1)), 0, 1) * 255 + 0.5).astype(np.uint8))


def figure_pixels(fig: Figure) -> np.ndarray:
    """[3, H, W] float in 0..1 of a matplotlib figure, which is closed."""
    data = io.BytesIO()
    fig.savefig(data, format="png", dpi=DPI)
    plt.close(fig)
    return np.moveaxis(np.asarray(Image.open(data).convert("RGB")) / 255.0, -1, 0)


def plain_json(value):
    """numpy arrays and scalars inside a figure as plain lists and numbers."""
    if isinstance(value, dict):
        return {key: plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, np.ndarray):
        return np.round(value, 3).tolist() if value.dtype.kind == "f" else value.tolist()
    return value.item() if isinstance(value, np.generic) else value
