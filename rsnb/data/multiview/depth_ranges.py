"""Least and greatest depth of each view from points of the scene, for formats that state none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rsnb.data.multiview.views import PosedViews

PERCENTILES = (1.0, 99.0)  # of the points' depth in each picture: single points are often wrong
_LEAST = 10  # points in a picture that make a range


def ranges_of_points(views: PosedViews, points: np.ndarray, percentiles=PERCENTILES) -> np.ndarray:
    """[N, 2] float64: percentiles of the z depth of the points [P, 3] that lie in each picture; nan for too few."""
    ranges = np.full((len(views), 2), np.nan)
    for i, name in enumerate(views.names):
        with np.errstate(invalid="ignore"):
            pixels = views.project(name, points)
            inside = ((pixels > 0) & (pixels < views.sizes[i])).all(axis=1)
        depth = points[inside] @ views.world_to_cam[i, 2, :3] + views.world_to_cam[i, 2, 3]
        if len(depth) >= _LEAST:
            ranges[i] = np.percentile(depth, percentiles)
    return ranges


def with_depth_ranges(views: PosedViews, points: np.ndarray | None = None) -> PosedViews:
    """The views with `near_far` from points: sparse ones that came with the scene, or those given (such as
    `PoseReport.points`, which are made from the pictures). Without points, or with ranges already, they stay as they
    are."""
    made = points is not None
    points = points if made else views.points
    if views.near_far is not None or points is None or len(points) < _LEAST:
        return views
    ranges = ranges_of_points(views, points)
    if not np.isfinite(ranges).any():
        return views
    of = "points triangulated from features of the pictures" if made else "the sparse points"
    return replace(views, near_far=ranges, notes=(*views.notes, "near and far are the 1st and 99th percentile of the "
                                                  f"depth of {of}"))
