"""Cameras, poses, homographies and places on Earth. Bottom of the house: nothing here knows a data set or a method.

The conventions of the whole package, stated once:

* **World (model) axes**: x east, y north, z up, metres, float64. Real-world coordinates are model + origin, where the
  origin is a place in a projected CRS (`rsnb.scenes.Georeference`).
* **Camera axes**: OpenCV's, x right, y down, z forward. A pose is `world_to_cam`, 4x4, float64: X_cam = R X_world + t.
* **Pixels**: (column, row), both growing from the top-left *corner* of the picture, which is (0, 0); so the centre of
  the first pixel is (0.5, 0.5) and the picture spans [0, W] x [0, H]. OpenCV puts (0, 0) at the centre of the first
  pixel: subtract 0.5 from cx and cy there.
* **Angles**: radians inside, degrees only at the border (file names, notebooks, command line).
* **Bearings**: 0 = north, clockwise positive (90 degrees = east). Pitch: up positive. Roll: clockwise positive as the
  person behind the camera sees the camera turn (the picture's content then turns counter-clockwise).
* **Depth** is the Euclidean distance along the unit ray, infinite where nothing is hit. The distance along the camera
  axis is derived from it and always called `z_depth`.
* **Images**: [..., 3, H, W], float32, 0..1.

`poses` and `georeference` need numpy only (pyproj is loaded when first used), `cameras` and `homographies` need torch,
`isosurface` scikit-image.
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "pose_from_heading": "poses",
    "heading_pitch_roll": "poses",
    "camera_centre": "poses",
    "invert": "poses",
    "compose": "poses",
    "look_at": "poses",
    "nadir_pose": "poses",
    "rotation_angle": "poses",
    "interpolate": "poses",
    "PinholeCamera": "cameras",
    "PanoramaCamera": "cameras",
    "NadirCamera": "cameras",
    "world_rays": "cameras",
    "project_points": "cameras",
    "distance_to_z_depth": "cameras",
    "z_depth_to_distance": "cameras",
    "plane_homography": "homographies",
    "fronto_parallel_homographies": "homographies",
    "warp_pixels": "homographies",
    "density_surface": "isosurface",
    "Projector": "georeference",
    "lonlat_to_model": "georeference",
    "model_to_lonlat": "georeference",
    "meridian_convergence": "georeference",
    "transform": "georeference",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
