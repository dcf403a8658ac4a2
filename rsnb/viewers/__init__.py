"""Figures and interactive views: the only room that imports matplotlib, plotly or ipywidgets.

Every function takes results and gives a matplotlib figure (`show` displays and saves it); every interactive view
carries a static twin in the same output, so an executed notebook is never blank.
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "show": "style",
    "image_grid": "style",
    "show_table": "style",
    "PALETTE": "style",
    "depth_colours": "colours",
    "label_colours": "colours",
    "normal_colours": "colours",
    "show_mesh": "mesh",
    "view_comparison": "mpi",
    "layer_strip": "mpi",
    "depth_panel": "mpi",
    "psnr_curves": "scores",
    "score_bars": "scores",
    "camera_map": "scene_map",
    "show_planes": "mpi_interactive",
    "planes_picture": "mpi_interactive",
    "PlanesLook": "mpi_interactive",
    "view_slider": "slider",
    "compare_slider": "slider",
    "live_view": "slider",
    "height_panels": "density",
    "panorama_strips": "density",
    "skyline_plot": "density",
    "path_map": "density",
    "style_matrix": "density",
    "training_curves": "density_scores",
    "interval_bars": "density_scores",
    "calibration_curve": "density_scores",
    "show_volume": "density_interactive",
    "volume_figure": "density_interactive",
    "volume_picture": "density_interactive",
    "VolumeLook": "density_interactive",
    "sky_slider": "density_interactive",
    "path_film": "density_interactive",
    "draw_path": "path_drawing",
    "drawing_html": "path_drawing",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
