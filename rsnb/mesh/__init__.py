"""Views from a textured mesh: pictures with depth and labels, camera pose from picked points, novel views.

`RayScene(mesh)` once, then `render(scene, camera, world_to_cam, options)` for each picture; see `render` for what a
picture holds and `RenderOptions` for sun, shadows, anti-aliasing and sky.
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "RayScene": "scene",
    "Hits": "scene",
    "Sun": "shading",
    "Sky": "sky",
    "RenderOptions": "renderer",
    "Rendering": "renderer",
    "render": "renderer",
    "render_each": "batch",
    "render_batch": "batch",
    "refine_hits": "refine",
    "ray_triangle": "refine",
    "sample_texture": "refine",
    "solve_pose": "pose",
    "PoseOptions": "pose",
    "PoseSolution": "pose",
    "ImageBasedOptions": "image_based",
    "ImageBasedRenderer": "image_based",
    "SurfaceField": "surface_field",
    "SurfaceFieldOptions": "surface_field",
    "surface_samples": "surface_field",
    "SourceViews": "source_views",
    "transfer_colours": "colour_transfer",
    "ViewSettings": "settings",
    "NovelView": "image_based",
    "score_novel_views": "novel_views",
    "recoloured_mesh": "novel_views",
    "NovelViewScores": "novel_views",
    "PoseErrorCurve": "novel_views",
    "predict_views": "novel_views",
    "pose_error_curve": "novel_views",
    "SHEET_PSNR": "novel_views",
    "compare_with_panorama": "consistency",
    "render_rays": "ray_bundle",
    "find_viewpoints": "viewpoints",
    "ground_height": "viewpoints",
    "stand_at": "viewpoints",
    "stand_at_lonlat": "viewpoints",
    "add_ground": "ground",
    "lacks_ground": "ground",
    "textured_share": "ground",
    "drive": "paths",
    "flight": "paths",
    "core_bounds": "paths",
    "nadir_view": "paths",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
