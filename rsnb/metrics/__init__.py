"""Scores of pictures and geometry against the truth. Bottom of the house: nothing here knows a method.

Pictures are [..., 3, H, W] (or one channel), 0..1, numpy or torch; sizes must agree. Every picture score is computed in
float64 and returned as one float: the value of the picture, or the mean over the pictures of a batch
(`per_image=True`: an array of them). A score that would be NaN raises `InputError` instead, because NaN compares as
neither better nor worse and slips through every threshold.
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "psnr": "image",
    "ssim": "image",
    "ssim_map": "image",
    "rmse": "image",
    "mse": "image",
    "mae": "image",
    "picture_scores": "image",
    "luma": "image",
    "sharpness_difference": "image",
    "sharpness_difference_shi": "sharpness",
    "lpips_distance": "perceptual",
    "Perceptual": "perceptual",
    "depth_errors": "depth",
    "height_errors": "depth",
    "angular_error": "depth",
    "rotation_error": "depth",
    "pose_errors": "depth",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
