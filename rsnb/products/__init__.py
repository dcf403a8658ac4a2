"""Writers of the files that notebooks leave behind: pictures, depth, GeoTIFF, video, meshes. All of them atomic."""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "write_png": "images",
    "write_jpeg": "images",
    "write_label_png": "images",
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
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
