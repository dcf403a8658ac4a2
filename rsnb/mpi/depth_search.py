"""The depth range of a scene: from sparse points, from what a data set states, or sought in the pictures themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre
from rsnb.mpi.choose import NothingShared
from rsnb.mpi.initial import aggregate
from rsnb.mpi.matching import matching_cost
from rsnb.mpi.pictures import smaller
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.views import check_range, depth_range, padded_frame, view_rows, view_set
from rsnb.scenes import PosedImages

SEARCH_SIDE = 128  # pixels of the longer side of the pictures that are searched
SEARCH_PLANES = 96
CONFIDENT = 0.5  # a pixel counts where its best plane costs at most this share of what planes cost on average
LEAST_SHARE = 0.01  # of the pixels: fewer confident ones tell nothing


def widest_range(views: PosedImages, reference: str, others: Sequence[str]) -> tuple[float, float]:
    """Between which z depths planes can be told apart at all.

    Nearer than `near` the nearest of the others is shifted by more than the picture's width; beyond `far` the
    farthest by less than a pixel against infinity.

    Raises:
        NothingShared: all cameras stand in one place.
    """
    rows = view_rows(views, [reference, *others])
    centres = camera_centre(views.world_to_cam[rows])
    baseline = np.linalg.norm(centres[1:] - centres[0], axis=-1)
    if baseline.max() <= 1e-9 * max(1.0, float(np.abs(centres).max())):
        raise NothingShared("all cameras stand in one place: turning tells no depth", where="depth search",
                            mend="Give views from other places, or state near and far")
    focal, width = float(views.K[rows[0]][0, 0]), views.images.shape[-1]
    return focal * float(baseline[baseline > 0].min()) / width, focal * float(baseline.max())


def find_depth_range(views: PosedImages, reference: str, others: Sequence[str],
                     bounds: tuple[float, float] | None = None, percentiles: tuple[float, float] = (1.0, 99.0),
                     margin: float = 0.05) -> tuple[float, float]:
    """Near and far, z depths in the reference camera, from a wide plane sweep through small pictures.

    Planes uniform in inverse depth; pixels count that agree on one plane clearly better than on the others.

    Args:
        views: all pictures; only the named are looked at.
        reference: whose camera the planes are parallel to.
        others: views to compare with.
        bounds: where to look; None = wherever the cameras can tell planes apart (`widest_range`).
        percentiles: of those pixels' inverse depth.
        margin: the range is widened by this share of itself (in inverse depth) at each end.

    Raises:
        NothingShared: fewer than a hundredth of the pixels agree on anything.
    """
    small = smaller(views, (reference, *others), SEARCH_SIDE)
    bounds = bounds or widest_range(small, reference, others)
    inverse = _agreed_inverse_depths(small, reference, others, bounds)
    total = small.images.shape[-1] * small.images.shape[-2]
    if len(inverse) < LEAST_SHARE * total:
        raise NothingShared(f"only {len(inverse)} of {total} pixels agree on a depth from {bounds[0]:.3g} to "
                            f"{bounds[1]:.3g}", where=f"view {reference}",
                            mend="State near and far, or check poses and the choice of views")
    low, high = np.percentile(inverse, percentiles)
    spread = max(margin * (high - low), 0.5 * (1 / bounds[0] - 1 / bounds[1]) / (SEARCH_PLANES - 1))
    near, far = 1 / (high + spread), 1 / max(low - spread, 1 / bounds[1])
    check_range(near, far, "depth search")
    return float(near), float(far)


def _agreed_inverse_depths(views: PosedImages, reference: str, others: Sequence[str], bounds,
                           known: tuple[float, float] | None = None) -> np.ndarray:
    """[K] inverse depths of the reference picture's pixels that agree with the others on one plane.

    Where a range is known, places outside it count only if pictures agree there clearly better than anywhere within:
    with one neighbour, or patterns that repeat, some wrong plane always fits about as well as the right one.
    """
    frame = padded_frame(views, reference, (), bounds, 0.0, 1)
    depths = plane_depths(*bounds, SEARCH_PLANES)
    cost = aggregate(matching_cost(view_set(views, (reference, *others), frame), frame, depths), 1)
    least, index = cost.min(dim=0)
    middle = cost.median(dim=0).values
    clear = (least < CONFIDENT * middle) & (middle > 0.02) & (index > 0)
    within = (depths >= known[0]) & (depths <= known[1]) if known is not None else depths < 0
    if within.any():
        clear &= within[index] | (least < CONFIDENT * cost[within].amin(0))
    return (1 / depths[index[clear]]).cpu().numpy()


def known_range(views: PosedImages, name: str, points=None) -> tuple[tuple[float, float], str] | None:
    """What is known of a view's range without a look at pictures, and in words where from; None where nothing is.

    The sparse points that lie in its picture come first, else what the data set states.
    """
    if points is not None:
        try:
            return depth_range(views, name, points), f"{len(points)} sparse points"
        except InputError:
            pass  # fewer than two lie in this picture, or all at one depth
    if views.near_far is not None and np.isfinite(views.near_far[view_rows(views, [name])[0]]).all():
        return depth_range(views, name), "the range that the data set states"
    return None


def scene_range(views: PosedImages, reference: str, others: Sequence[str],
                points=None) -> tuple[tuple[float, float], str]:
    """The range that planes should have, and in words where it comes from.

    What is known (`known_range`), else a search. Points and stated percentiles of points leave out what has few of them
    (lawns, water, near ground): the search widens the range where more than a fiftieth of the pixels agree clearly
    better on places outside.

    Args:
        points: [P, 3] sparse points in the world, or None.
    """
    known = known_range(views, reference, points)
    if known is None:
        return find_depth_range(views, reference, others), "sought in the pictures: neither points nor a range known"
    return _widened(views, reference, others, *known)


def _widened(views, reference, others, known, source):
    small = smaller(views, (reference, *others), SEARCH_SIDE)
    bounds = widest_range(small, reference, others)
    bounds = (max(bounds[0], 0.2 * known[0]), min(max(bounds[1], 1.5 * known[1]), 4 * known[1]))
    if not bounds[0] < known[0] < known[1] < bounds[1]:
        return known, source
    inverse = _agreed_inverse_depths(small, reference, others, bounds, known)
    total, (near, far) = small.images.shape[-1] * small.images.shape[-2], known
    nearer, farther = inverse[inverse > 1 / near], inverse[inverse < 1 / far]
    if len(nearer) > 0.02 * total:
        near = max(bounds[0], 1 / np.percentile(nearer, 95.0))
    if len(farther) > 0.02 * total:
        far = min(bounds[1], 1 / np.percentile(farther, 5.0))
    if (near, far) == known:
        return known, source
    return (float(near), float(far)), f"{source} ({known[0]:.3g} to {known[1]:.3g}), widened by what pictures agree on"
