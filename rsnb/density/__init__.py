"""Sat2Density: from one satellite tile to a density volume, and from that to the street panorama of any place on it.

`predict` gives the volume, `render_panorama` and `render_view` march through it, the refinement network paints what the
volume cannot know. Everything is in metres (`volume` says where things lie).
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "TileFrame": "volume",
    "DensityVolume": "volume",
    "Rendered": "volume",
    "RenderOptions": "volume",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
