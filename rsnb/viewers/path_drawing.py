"""Click a camera path onto a tile: in a notebook, in its HTML export and in a saved page alike, with no kernel.

What is clicked stands below as CSV, to copy or to download for `read_path_csv`; handlers inside the tags do it all.
"""

from __future__ import annotations

import base64

import numpy as np

from rsnb.errors import InputError
from rsnb.viewers.planes import as_array
from rsnb.viewers.slider import fitting_jpegs
from rsnb.viewers.style import MUTED, PALETTE, draw_image, subplots
from rsnb.viewers.twins import display_with_twin, figure_pixels

HEAD = "x_m,y_m"
# redraws the line and the points from the text, so that somebody may also edit the text
_DRAW = ("var b=this.closest('[data-extent]'),e=+b.dataset.extent,t=b.querySelector('textarea'),"
         "p=t.value.split('\\n').slice(1).map(function(l){return l.split(',').map(Number)})"
         ".filter(function(q){return q.length==2&&isFinite(q[0])&&isFinite(q[1])}),"
         "s=p.map(function(q){return (q[0]/e+0.5)*1000+','+(0.5-q[1]/e)*1000});"
         "b.querySelector('polyline').setAttribute('points',s.join(' '));"
         "b.querySelector('path').setAttribute('d',s.map(function(q){return 'M'+q+'h0'}).join(''));"
         "b.querySelector('a').href='data:text/csv,'+encodeURIComponent(t.value)")
_CLICK = ("var b=this.closest('[data-extent]'),e=+b.dataset.extent,r=this.getBoundingClientRect(),"
          "t=b.querySelector('textarea');"
          "t.value=t.value.replace(/\\n*$/,'\\n')+((event.clientX-r.left)/r.width*e-e/2).toFixed(2)+','"
          "+(e/2-(event.clientY-r.top)/r.height*e).toFixed(2)+'\\n';t.oninput()")
_UNDO = ("var t=this.closest('[data-extent]').querySelector('textarea'),l=t.value.trim().split('\\n');"
         "if(l.length>1)l.pop();t.value=l.join('\\n')+'\\n';t.oninput()")


def draw_path(tile: np.ndarray, extent_m: float, begun: np.ndarray | None = None, shown_width: int = 420,
              max_bytes: int = 80_000) -> None:
    """A tile to click a path on; the static twin is the tile with its axes in metres.

    Args:
        tile: [3, C, C] in 0..1, row 0 north.
        extent_m: its side, metres.
        begun: [M, 2] tile metres, points that are there from the start; or None.
        shown_width: pixels on the screen.
        max_bytes: of the picture as JPEG.

    Raises:
        InputError: a tile that is no square, or an extent that is not above 0.
    """
    html = drawing_html(tile, extent_m, begun, shown_width, max_bytes)
    half = extent_m / 2
    fig, axes = subplots(1, 1, 4.5, 4.5)
    draw_image(axes[0, 0], as_array(tile), "click a path here (needs a page that runs handlers)",
               extent=(-half, half, -half, half))
    axes[0, 0].set_axis_on()
    axes[0, 0].set(xlabel="east, m", ylabel="north, m")
    if begun is not None:
        axes[0, 0].plot(*np.asarray(begun, float).T, "o-", color=PALETTE["accent"], mec="black")
    display_with_twin({"text/html": html}, figure_pixels(fig), f"tile of {extent_m:g} m")


def drawing_html(tile: np.ndarray, extent_m: float, begun: np.ndarray | None = None, shown_width: int = 420,
                 max_bytes: int = 80_000) -> str:
    """The HTML of `draw_path`: one element, its picture and handlers inside."""
    tile = as_array(tile)
    if tile.ndim != 3 or tile.shape[0] != 3 or tile.shape[1] != tile.shape[2] or not 0 < extent_m < np.inf:
        raise InputError(f"a tile of shape {tile.shape} and {extent_m} m", where="draw_path",
                         mend="Give [3, C, C] and metres above 0")
    begun = np.zeros((0, 2)) if begun is None else np.asarray(begun, float).reshape(-1, 2)
    text = "\n".join([HEAD, *(f"{x:.2f},{y:.2f}" for x, y in begun), ""])
    picture = base64.b64encode(fitting_jpegs([tile], max_bytes)[0]).decode()
    colour, whole = PALETTE["accent"], "position:absolute;left:0;top:0;width:100%;height:100%"
    line = 'fill="none" stroke-linejoin="round" stroke-linecap="round"'
    drawing = (f'<svg viewBox="0 0 1000 1000" style="{whole};cursor:crosshair" onclick="{_CLICK}">'
               f'<polyline points="" {line} stroke="{colour}" stroke-width="8"></polyline>'
               f'<path d="" {line} stroke="{colour}" stroke-width="26"></path></svg>')
    start = "this.onload=null;this.closest('[data-extent]').querySelector('textarea').oninput()"
    return (f'<div data-extent="{extent_m!r}" style="max-width:{shown_width}px;font:13px sans-serif;color:{MUTED}">'
            f'<div style="position:relative"><img alt="tile" draggable="false" style="width:100%;display:block" '
            f'src="data:image/jpeg;base64,{picture}" onload="{start}">{drawing}</div>'
            f'<button onclick="{_UNDO}">undo</button> <a download="path.csv" href="data:text/csv,">path.csv</a> '
            f'click a path; {extent_m:g} m a side, metres from the middle'
            f'<textarea rows="6" aria-label="points" style="width:100%;box-sizing:border-box" oninput="{_DRAW}">'
            f'{text}</textarea></div>')
