"""Writers of the files that notebooks leave behind: pictures, depth, GeoTIFF, video, meshes, multiplane images,
density volumes.

All of them atomic.
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "write_png": "images",
    "write_jpeg": "images",
    "write_label_png": "images",
    "write_mask_png": "images",
    "write_float_tiff": "images",
    "write_geotiff": "geotiff",
    "write_pose": "pose",
    "write_cameras": "pose",
    "write_video": "video",
    "write_animation": "animation",
    "AnimationOptions": "animation",
    "write_obj": "obj",
    "write_view": "view",
    "write_nadir": "view",
    "surface_height": "view",
    "write_view_products": "view",
    "write_layers": "layered_mpi",
    "read_layers": "layered_mpi",
    "LayeredMpi": "layered_mpi",
    "write_mpi_html": "mpi_html",
    "MpiHtmlOptions": "mpi_html",
    "orbit_pose": "mpi_html",
    "write_progress": "progress",
    "ProgressFrame": "progress",
    "ProgressOptions": "progress",
    "write_track_video": "track_video",
    "depth_rgb": "track_video",
    "write_volume_vtk": "density_volume",
    "write_surface_ply": "density_volume",
    "write_surface_glb": "density_volume",
    "write_height": "density_volume",
    "TileVolume": "density_volume",
    "write_path_film": "density_pictures",
    "FilmOptions": "density_pictures",
    "write_path_frames": "density_pictures",
    "write_slices": "density_pictures",
    "write_panoramas": "density_pictures",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
