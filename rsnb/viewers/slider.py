"""Sliders over pictures that need no kernel and no server: a path of views, and before against after.

The pictures are JPEG inside the HTML itself, and what moves them are handlers inside its tags: it works in a notebook,
in its HTML export and in a saved page alike, leaves no widget state, and where scripts are taken out the same pictures
stand side by side. `live_view` is the other kind: it asks a running kernel for every picture.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from PIL import Image

from rsnb.errors import InputError
from rsnb.viewers.planes import as_array
from rsnb.viewers.style import MUTED, image_grid
from rsnb.viewers.twins import as_picture, display_with_twin, figure_pixels

# shows frame number `value`, hides the others; called once a picture has loaded, and whenever the slider moves
_PICK = ("var f=this.parentNode.querySelectorAll('img'),k=+this.value;for(var i=0;i&lt;f.length;i++){"
         "f[i].style.width='100%';f[i].style.display=i==k?'block':'none'}"
         "this.nextElementSibling.textContent=f[k].alt;this.style.display='block'")
_SCRUB = ("var r=this.getBoundingClientRect(),s=this.nextElementSibling;"
          "s.value=Math.round((event.clientX-r.left)/r.width*s.max);s.oninput()")
_START = "this.onload=null;var b=this.parentNode;b.parentNode.querySelector('input').oninput()"
# lays the two pictures over each other and shows the left part of the first
_WIPE = ("var f=this.parentNode.querySelectorAll('img');f[0].parentNode.style.position='relative';"
         "for(var i=0;i&lt;2;i++){f[i].style.width='100%';f[i].style.display='block'}"
         "f[1].style.position='absolute';f[1].style.left=f[1].style.top='0';"
         "f[1].style.clipPath='inset(0 0 0 '+this.value+'%)';this.style.display='block';"
         "var e=f[0].parentNode.querySelector('span');e.style.display='block';e.style.left=this.value+'%'")
_EDGE = '<span style="display:none;position:absolute;top:0;bottom:0;width:2px;background:#ffffff"></span>'


def view_slider(
    render: Callable[[float], np.ndarray],
    n: int = 12,
    static_positions: int = 5,
    labels: Sequence[str] | None = None,
    shown_width: int = 420,
    max_bytes: int = 400_000,
) -> None:
    """Views along a path to drag through, here and in the exported HTML, with no kernel.

    Drag the slider, or move the pointer across the picture. The static twin is a row of `static_positions` of them.

    Args:
        render: position on the path, 0..1 -> picture [3, H, W] in 0..1.
        n: pictures, evenly along the path, both ends included.
        static_positions: pictures of the twin.
        labels: one a picture, shown under it; None counts.
        shown_width: pixels on the screen.
        max_bytes: of all pictures as JPEG; quality and then size are lowered until they fit.
    """
    if n < 2:
        raise InputError(f"{n} pictures", where="view_slider", mend="Give at least 2")
    frames = [as_array(render(float(position))) for position in np.linspace(0, 1, n)]
    labels = [f"{i + 1} of {n}" for i in range(n)] if labels is None else list(labels)
    some = np.unique(np.round(np.linspace(0, n - 1, min(static_positions, n))).astype(int))
    twin = figure_pixels(image_grid([frames[i] for i in some], [labels[i] for i in some], columns=len(some)))
    display_with_twin({"text/html": slider_html(frames, labels, shown_width, max_bytes)}, twin, f"{n} views")


def compare_slider(
    before: np.ndarray,  # [3, H, W]
    after: np.ndarray,  # [3, H, W]
    titles: tuple[str, str] = ("before", "after"),
    shown_width: int = 420,
    max_bytes: int = 200_000,
) -> None:
    """Two pictures of one size over each other with an edge to drag; the static twin shows them side by side.

    Works without a kernel, like `view_slider`.
    """
    pair = [as_array(before), as_array(after)]
    if pair[0].shape != pair[1].shape:
        raise InputError(f"pictures of shape {pair[0].shape} and {pair[1].shape}", where="compare_slider",
                         mend="Give two pictures of one size")
    twin = figure_pixels(image_grid(pair, list(titles), columns=2, width=8.0))
    display_with_twin({"text/html": compare_html(*pair, titles, shown_width, max_bytes)}, twin, " | ".join(titles))


def slider_html(frames: Sequence[np.ndarray], labels: Sequence[str], shown_width: int, max_bytes: int) -> str:
    """The HTML of `view_slider`: one element, all its pictures and handlers inside."""
    pictures = _tags(frames, labels, max_bytes, share=100 // min(len(frames), 6) - 1)
    slider = _range(_PICK, len(frames) - 1, len(frames) // 2, "position on the path")
    return _box(pictures, _SCRUB, slider, f"{len(frames)} views", shown_width)


def compare_html(before, after, titles: Sequence[str], shown_width: int, max_bytes: int) -> str:
    """The HTML of `compare_slider`."""
    pictures = _tags([before, after], titles, max_bytes, share=49) + _EDGE
    slider = _range(_WIPE, 100, 50, "edge between the pictures")
    return _box(pictures, _SCRUB.replace("Math.round", ""), slider, " | ".join(titles), shown_width)


def _box(pictures: str, scrub: str, slider: str, caption: str, shown_width: int) -> str:
    return (f'<div style="max-width:{shown_width}px"><div style="cursor:ew-resize" onpointermove="{scrub}">{pictures}'
            f'</div>{slider}<div style="color:{MUTED};font:13px sans-serif">{escape(caption)}</div></div>')


def _tags(frames, labels, max_bytes: int, share: int) -> str:
    """Image elements; the last of them starts the slider when it has loaded."""
    jpegs = fitting_jpegs(frames, max_bytes)
    tags = [f'<img alt="{escape(label)}" style="display:inline-block;width:{share}%" draggable="false" '
            f'src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"' + (
                f' onload="{_START}"' if i == len(jpegs) - 1 else "") + ">"
            for i, (jpeg, label) in enumerate(zip(jpegs, labels, strict=True))]
    return "".join(tags)


def _range(handler: str, most: int, value: int, what: str) -> str:
    """A slider, hidden until its handler has run: without handlers it would only mislead."""
    return (f'<input type="range" min="0" max="{most}" value="{value}" aria-label="{what}" '
            f'style="display:none;width:100%;margin:6px 0" oninput="{handler}">')


def fitting_jpegs(frames: Sequence[np.ndarray], max_bytes: int) -> list[bytes]:
    """Pictures [3, H, W] as JPEG of the best quality that fits the limit, then smaller and smaller."""
    pictures = [as_picture(frame) for frame in frames]
    while True:
        for quality in (88, 80, 70, 60):
            jpegs = [_jpeg(picture, quality) for picture in pictures]
            if sum(map(len, jpegs)) <= max_bytes:
                return jpegs
        if min(pictures[0].size) < 16:
            raise InputError(f"{len(frames)} pictures do not fit into {max_bytes} bytes", where="max_bytes",
                             mend="Raise it, or show fewer pictures")
        pictures = [picture.resize([round(0.8 * side) for side in picture.size], Image.Resampling.LANCZOS)
                    for picture in pictures]


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, format="JPEG", quality=quality, subsampling=1)
    return out.getvalue()


def live_view(render: Callable[[float, float], np.ndarray], reach: float = 1.0, shown_width: int = 420):
    """ipywidgets: two sliders that move the camera right and up, and what it then sees, rendered by the kernel.

    For working in a live notebook: it shows nothing where no kernel runs, and a notebook that is saved with it holds
    widget state. `view_slider` has neither fault.

    Args:
        render: (right, down), each -reach..reach -> picture [3, H, W] in 0..1.
        reach: of the sliders, unit of the poses.
        shown_width: pixels on the screen.

    Returns:
        A widget to display.
    """
    import ipywidgets

    picture = ipywidgets.Image(format="jpeg", width=shown_width)
    sliders = [ipywidgets.FloatSlider(value=0.0, min=-reach, max=reach, step=reach / 20, description=name)
               for name in ("right", "down")]

    def update(_=None):
        picture.value = _jpeg(as_picture(as_array(render(*(slider.value for slider in sliders)))), 85)

    for slider in sliders:
        slider.observe(update, names="value")
    update()
    return ipywidgets.VBox([picture, *sliders])
