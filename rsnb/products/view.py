"""Everything that one rendering holds, as files: one set for a street view, one for a view from above."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre
from rsnb.products.geotiff import write_geotiff
from rsnb.products.images import write_float_tiff, write_label_png, write_mask_png, write_png
from rsnb.products.pose import write_pose
from rsnb.scenes import Georeference, SemanticClass


class View(Protocol):
    """What `rsnb.mesh.render` gives."""

    rgb: np.ndarray  # [3, H, W] 0..1
    depth: np.ndarray  # [H, W] metres along the ray, inf = nothing
    normal: np.ndarray  # [3, H, W] world axes
    semantic: np.ndarray  # [H, W] class ids
    camera: object
    world_to_cam: np.ndarray  # [4, 4]


def write_view(folder: str | Path, name: str, view: View, classes: Sequence[SemanticClass], georeference: Georeference,
               **facts) -> list[Path]:
    """Write <name>_rgb.png, _labels.png, _depth.tif, _normals.tif and _pose.json; gives their paths.

    Args:
        facts: JSON values for the pose file, such as pano_id or lat and lon in degrees.
    """
    folder = Path(folder)
    K = getattr(view.camera, "K", None)
    height, width = view.depth.shape
    return [
        write_png(folder / f"{name}_rgb.png", view.rgb),
        write_label_png(folder / f"{name}_labels.png", view.semantic, classes),
        write_float_tiff(folder / f"{name}_depth.tif", view.depth,
                         {"quantity": "distance along the ray", "unit": "m", "nothing": "inf"}),
        write_float_tiff(folder / f"{name}_normals.tif", view.normal,
                         {"quantity": "surface normal", "axes": "east, north, up", "nothing": 0}),
        write_pose(folder / f"{name}_pose.json", view.world_to_cam, width=width, height=height,
                   camera="panorama" if K is None else "pinhole", K=None if K is None else np.asarray(K),
                   georeference=georeference, **facts),
    ]


def surface_height(view: View) -> np.ndarray:
    """[H, W] float64 model z of what a camera straight above sees; nan where it sees nothing."""
    height = camera_centre(view.world_to_cam)[2] - view.depth.astype(np.float64)
    return np.where(np.isfinite(height), height, np.nan)


def write_nadir(folder: str | Path, view: View, gsd_m: float, classes: Sequence[SemanticClass],
                georeference: Georeference) -> list[Path]:
    """Write colour.tif, dsm.tif (metres, nodata -9999) and labels.tif of a nadir view; gives their paths."""
    rows, columns = view.depth.shape
    x, y, _ = camera_centre(view.world_to_cam)
    corner = (x - columns / 2 * gsd_m, y + rows / 2 * gsd_m)
    dsm = surface_height(view) + georeference.origin[2]
    folder = Path(folder)
    return [
        write_geotiff(folder / "colour.tif", view.rgb, corner, gsd_m, georeference),
        write_geotiff(folder / "dsm.tif", dsm, corner, gsd_m, georeference, nodata=-9999.0),
        write_geotiff(folder / "labels.tif", view.semantic, corner, gsd_m, georeference, classes=classes),
    ]


def write_view_products(folder: str | Path, name: str, rgb: np.ndarray, depth: np.ndarray, mask: np.ndarray,
                        unit: str = "scene units") -> list[Path]:
    """Write images/<name>.png, depths/<name>.tiff and masks/<name>.png of one synthesized view; gives their paths.

    Args:
        folder: of all views of a scene.
        name: of the view.
        rgb: [3, H, W] in 0..1; rounded to 8 bits, values outside clipped.
        depth: [H, W] z depth in the view's camera; kept as float32, where the mask is false too.
        mask: [H, W] bool, valid pixels: 255 in the file, else 0.
        unit: of the depths; it stands in the file.

    Raises:
        InputError: shapes that differ, or a mask that is not bool; nothing is written then.
    """
    rgb, depth, mask = np.asarray(rgb), np.asarray(depth), np.asarray(mask)
    if rgb.shape != (3, *depth.shape) or mask.shape != depth.shape or depth.ndim != 2 or mask.dtype != bool:
        raise InputError(f"colour {rgb.shape}, depth {depth.shape} and mask {mask.shape} {mask.dtype}", where=name,
                         mend="Give [3, H, W], [H, W] and [H, W] bool")
    folder = Path(folder)
    return [
        write_png(folder / "images" / f"{name}.png", rgb),
        write_float_tiff(folder / "depths" / f"{name}.tiff", depth, {"quantity": "z depth", "unit": unit}),
        write_mask_png(folder / "masks" / f"{name}.png", mask),
    ]
