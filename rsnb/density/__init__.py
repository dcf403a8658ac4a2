"""Sat2Density: from one satellite tile to a density volume, and from that to the street panorama of any place on it.

`SatDensity` is the model, `train_pairs` trains it; its volume is marched through by `render_panorama` and
`render_view`, and the refinement network paints what the volume cannot know. Everything is in metres (`volume` says
where things lie).
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_NAMES = {
    "volume": "TileFrame DensityVolume Rendered RenderOptions",
    "render": "march render_panorama render_view ground_in_tile exit_heights",
    "net": "DensityNet DensityNetOptions",
    "refine": "RefineNet RefineNetOptions",
    "illumination": "IlluminationEncoder IlluminationOptions Illumination interpolate_styles",
    "sky": "sky_histogram sky_distance SkyLook SKY_LOOKS sky_picture preset_sky preset_skies",
    "model": "SatDensity ModelOptions StreetView save_model load_model",
    "street": "sky_light shown_sky street_pictures eyes",
    "stages": "time_stages",
    "ablations": "ABLATIONS ablated",
    "training": "train_pairs PairSource",
    "training_options": "TrainingOptions",
    "baselines": "constant_heights mean_map train_oracle OracleOptions HeightNet",
    "critics": "PatchCritics CriticsOptions CropViews perspective_crops",
    "losses": "LossWeights gan_loss feature_matching_loss kl_loss l1_loss l2_loss opacity_loss gain_matched_l1 "
              "gravity_loss solidity_loss volume_variation",
    "perceptual": "PerceptualTerm",
    "augment": "Turn draw_turns turn_tiles turn_panoramas turn_headings turn_offsets",
    "heights": "height_map optical_depth_above occupancy column_filled volume_from_heights published_heights",
    "geometry_scores": "SurfaceTruth KnownPairs truths_of score_geometry height_scores occupancy_scores mass_scores",
    "panorama_scores": "ViewTruth score_views score_view pool_views view_rings skyline",
    "tile_scores": "score_tiles write_tile_rows",
    "consistency": "Flicker flicker reprojection_scores style_invariance",
    "image_scores": "ImageScores score_images",
    "bootstrap": "PerTile Interval Difference interval paired_difference table tile_rows",
    "path": "CameraPath make_path smooth_path with_equal_steps travel_headings roll_panorama",
    "ways": "free_way",
    "path_files": "read_path_csv write_path_csv read_path_geojson write_path_geojson",
    "flat_ground": "Sphere flat_panorama birds_eye ground_points",
    "calibrate": "calibrate_camera_height CalibrationOptions CameraHeight",
    "alignment": "check_headings HeadingOptions HeadingCheck",
    "sky_segment": "segment_sky SkyOptions sky_iou",
    "folder_scores": "score_folders FolderScores",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
