"""Writers of the files that notebooks leave behind: pictures, depth, GeoTIFF, video, meshes. All of them atomic."""

from __future__ import annotations

import importlib

_HOME = {
    "write_png": "images",
    "write_jpeg": "images",
    "write_label_png": "images",
    "write_float_tiff": "images",
    "write_geotiff": "geotiff",
    "write_pose": "pose",
    "write_cameras": "pose",
    "write_video": "video",
    "write_obj": "obj",
    "write_view": "view",
    "write_nadir": "view",
    "surface_height": "view",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"rsnb.products.{_HOME[name]}"), name)
    raise AttributeError(f"module 'rsnb.products' has no attribute {name!r}")
