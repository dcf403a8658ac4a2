"""Camera pose from picked pairs: pixels of a photograph and the points of the city model behind them.

The street-view provider's own pose is off by metres and degrees; a person who clicks the same nine corners in the
photograph and in a render of the model fixes that. The chain: hypotheses from all small subsets of pairs (a minimal
three-point solver and SQPNP, Terzakis & Lourakis 2020, over OpenCV), the one that most pairs agree with (MSAC,
Torr & Zisserman 2000), then a robust least-squares fit, by wish with roll 0, a prior pose and an unknown field of view.

Coordinates of a national grid (25 490 000, 6 668 000) do not fit single precision, and OpenCV puts pixel centres at
whole numbers; both are handled here: the mean of the points is subtracted in float64, and 0.5 from the pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations

import cv2
import numpy as np

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre
from rsnb.mesh.pose_fit import CameraState, PoseOptions, PoseProblem, rotation_about

__all__ = ["PoseOptions", "PoseSolution", "solve_pose"]

WHERE = "picks"


@dataclass(frozen=True)
class PoseSolution:
    """What `solve_pose` found.

    Attributes:
        world_to_cam: [4, 4] float64.
        K: [3, 3] float64, pixels; as given, or with the fitted focal length.
        reprojection_errors: [N] pixels, infinite for a point behind the camera.
        inliers: [N] bool, pairs that the pose was fitted to.
        covariance: [6, 6] float64, order (centre x, y, z of the world in metres; rotation about the camera's x, y, z
            axes in radians, so about pitch, heading, roll for a level camera). Rank 5 where roll was fixed. The fov's
            uncertainty, where it was fitted, is included (marginalised), its own value is `fov_sigma`.
        fov: horizontal field of view in radians, None where the picture's width is not known.
        fov_sigma: its standard deviation in radians, 0 where it was given.
        leave_one_out_m: [N] metres that the centre moves without this pair; NaN for outliers; None if not asked for.
    """

    world_to_cam: np.ndarray
    K: np.ndarray
    reprojection_errors: np.ndarray
    inliers: np.ndarray
    covariance: np.ndarray
    fov: float | None = None
    fov_sigma: float = 0.0
    leave_one_out_m: np.ndarray | None = None

    @property
    def centre(self) -> np.ndarray:
        """[3] camera centre, world metres."""
        return camera_centre(self.world_to_cam)

    @property
    def position_sigma_m(self) -> float:
        """Standard deviation of the centre, metres (root of the trace of its covariance)."""
        return float(np.sqrt(np.trace(self.covariance[:3, :3])))

    @property
    def rms_px(self) -> float:
        """Root mean square reprojection error of the inliers, pixels."""
        return float(np.sqrt(np.mean(self.reprojection_errors[self.inliers] ** 2)))


def solve_pose(
    image_points: np.ndarray,
    world_points: np.ndarray,
    K: np.ndarray | None = None,
    width: int | None = None,
    height: int | None = None,
    options: PoseOptions | None = None,
) -> PoseSolution:
    """The camera pose that maps picked world points to picked pixels, with wrong pairs found and left out.

    Args:
        image_points: [N, 2] pixels, corner of the picture at (0, 0), pixel centres at +0.5. N >= 4.
        world_points: [N, 3] metres, any size of coordinates; in one plane is fine, on one line is not.
        K: [3, 3] pixels, or None: then width and height are needed, the principal point is the picture's centre and
            the field of view is estimated.
        width, height: of the picture in pixels, for checks and the field of view.
        options: see `PoseOptions`; None for its defaults.

    Returns:
        PoseSolution.

    Raises:
        InputError: fewer than 4 picks, not finite, outside the picture, all on one line in the picture or in the
            world, or no pose that enough of them agree with.
    """
    options = options or PoseOptions()
    if K is None:
        options = replace(options, estimate_fov=True, prior_sigma_log_focal=None)
    pixels, points, K = _checked(image_points, world_points, K, width, height, options)
    origin = points.mean(axis=0)
    problem = PoseProblem.build(pixels, points - origin, K, width, origin, options)
    start, inliers = _consensus(problem)
    state = problem.refine(start, inliers)
    state, inliers = _settle(problem, state, inliers)

    errors = np.linalg.norm(problem.residuals(state), axis=1)
    covariance, log_focal_variance = problem.covariance(state, inliers)
    shifts = _leave_one_out(problem, state, inliers) if options.leave_one_out else None
    world_to_cam = np.eye(4)
    world_to_cam[:3, :3] = state.R
    world_to_cam[:3, 3] = -state.R @ (state.centre + origin)
    K_out = problem.K_of(state)
    fov, slope = (None, 0.0) if width is None else problem.fov(K_out[0, 0])
    fov_sigma = math.sqrt(log_focal_variance) * abs(slope)
    return PoseSolution(world_to_cam, K_out, errors, inliers, covariance, fov, fov_sigma, shifts)


# --- input ----------------------------------------------------------------------------------------------------------


def _checked(image_points, world_points, K, width, height, options):
    pixels = np.asarray(image_points, dtype=np.float64)
    points = np.asarray(world_points, dtype=np.float64)
    if pixels.ndim != 2 or pixels.shape[1:] != (2,) or points.shape != (len(pixels), 3):
        raise InputError(f"image points have shape {pixels.shape} and world points {points.shape}, expected [N, 2] and "
                         "[N, 3]", where=WHERE, mend="Give one world point for each pixel")
    if len(pixels) < 4:
        raise InputError(f"{len(pixels)} pairs were picked, a pose needs at least 4 (9 leave room for mistakes)",
                         where=WHERE, mend="Pick more pairs, spread over the picture")
    bad = ~(np.isfinite(pixels).all(axis=1) & np.isfinite(points).all(axis=1))
    if bad.any():
        raise InputError(f"pair {int(np.flatnonzero(bad)[0])} (from 0) holds a number that is not finite", where=WHERE,
                         mend="Remove the pair; a click on the sky has no point behind it")
    if width is not None and height is not None:
        outside = (pixels < 0).any(axis=1) | (pixels > [width, height]).any(axis=1)
        if outside.any():
            i = int(np.flatnonzero(outside)[0])
            raise InputError(f"pair {i} (from 0) has pixel ({pixels[i, 0]:.1f}, {pixels[i, 1]:.1f}), outside the "
                             f"{width} x {height} picture", where=WHERE,
                             mend="Check that column comes before row, and the picture's size")
    _check_spread(pixels, points)
    if K is None:
        if not width or not height:
            raise InputError("neither K nor the picture's width and height are given", where="solve_pose",
                             mend="Give K, or width and height to have the field of view estimated")
        K = np.array([[width / 2, 0, width / 2], [0, width / 2, height / 2], [0, 0, 1.0]])
    K = np.asarray(K, dtype=np.float64)
    if K.shape != (3, 3) or not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise InputError(f"K is not a camera matrix: {K.tolist()}", where="solve_pose",
                         mend="fx and fy must be positive pixels")
    if options.prior is not None and (np.shape(options.prior) != (4, 4) or not np.isfinite(options.prior).all()):
        raise InputError("the prior pose is not a finite 4 x 4 matrix", where="solve_pose")
    return pixels, points, K


def _check_spread(pixels, points):
    """Refuse picks on one line: the camera could turn about it."""
    for what, array, floor in (("pixels", pixels, 1.0), ("world points", points, 1e-3)):
        spread = np.linalg.svd(array - array.mean(axis=0), compute_uv=False) / math.sqrt(len(array))
        if spread[1] < max(floor, 0.01 * spread[0]):
            raise InputError(f"the picked {what} lie on one line (spread {spread[0]:.3g} along it, {spread[1]:.3g} "
                             "across), so no pose follows from them", where=WHERE,
                             mend="Pick points at other heights or on another wall as well")
        if len(np.unique(np.round(array, 6), axis=0)) < 4:
            raise InputError(f"fewer than 4 different {what} among {len(array)} pairs", where=WHERE,
                             mend="Remove repeated picks and add others")


# --- consensus ------------------------------------------------------------------------------------------------------


def _subsets(n, size, limit, rng):
    if math.comb(n, size) <= limit:
        return list(combinations(range(n), size))
    return [tuple(rng.choice(n, size, replace=False)) for _ in range(limit)]


def _hypotheses(problem):
    """Candidate states from small subsets of pairs, from all pairs together, and from the prior."""
    rng = np.random.default_rng(problem.options.seed)
    n = len(problem.pixels)
    limit = math.ceil(problem.options.max_subsets / min(len(problem.focal_starts), 8))
    subsets = [*_subsets(n, 3, limit, rng), tuple(range(n))]
    if n > 4:
        subsets += _subsets(n, 4, limit, rng)
    if problem.prior is not None:
        yield problem.prior
    for log_focal in problem.focal_starts:
        K = problem.K.copy()
        K[[0, 1], [0, 1]] *= math.exp(log_focal)
        for subset in subsets:
            yield from _solve_subset(problem.points[list(subset)], problem.pixels[list(subset)] - 0.5, K, log_focal)


def _solve_subset(points, pixels, K, log_focal):
    K_cv = K.copy()
    K_cv[:2, 2] -= 0.5  # OpenCV: the centre of the first pixel is (0, 0)
    try:
        if len(points) == 3:
            _, rotations, translations = cv2.solveP3P(points, pixels, K_cv, None, flags=cv2.SOLVEPNP_P3P)
        else:
            _, rotations, translations, _ = cv2.solvePnPGeneric(points, pixels, K_cv, None, flags=cv2.SOLVEPNP_SQPNP)
    except cv2.error:  # a degenerate subset (three points on a line) has no solution; others do
        return
    for rotation, translation in zip(rotations, translations, strict=True):
        R = rotation_about(rotation)
        if np.isfinite(R).all() and np.isfinite(translation).all():
            yield CameraState(R, -R.T @ translation[:, 0], log_focal)


def _consensus(problem):
    """The state that most pairs agree with, after refining the best few, and its inliers."""
    states = list(_hypotheses(problem))
    if not states:
        raise InputError("the picks allow no camera pose at all", where=WHERE, mend="Pick points on other walls too")
    ranked = (states[i] for i in np.argsort(problem.quick_costs(states), kind="stable"))
    refined = []
    for state in _distinct(ranked, 6 if problem.fit_focal else 4):
        near = np.linalg.norm(problem.residuals(state), axis=1) < 2 * problem.options.cut_px
        if near.sum() >= 4:
            state = problem.refine(state, near)
            refined.append((problem.cost(state), len(refined), state))
    if refined:
        state = min(refined)[2]
        inliers = problem.inliers(state)
        n = len(inliers)
        if inliers.sum() >= max(4, math.ceil(problem.options.inlier_share * n)):
            return state, inliers
    best = int(max((problem.inliers(s[2]).sum() for s in refined), default=0))
    raise InputError(f"no camera pose agrees with enough of the {len(problem.pixels)} pairs (at best {best} within "
                     f"{problem.options.cut_px:g} pixels and in front of the camera)", where=WHERE,
                     mend="Check the pairs, K (or let the field of view be estimated) and the order of coordinates")


def _distinct(ranked, count):
    """The first `count` states that differ by more than half a metre or one degree."""
    kept = []
    for state in ranked:
        if all(np.linalg.norm(state.centre - k.centre) > 0.5 or np.abs(state.R - k.R).max() > 0.02
               or abs(state.log_focal - k.log_focal) > 0.1 for k in kept):
            kept.append(state)
            if len(kept) == count:
                break
    return kept


def _settle(problem, state, inliers):
    """Refine and choose inliers in turn until the choice stays."""
    for _ in range(5):
        now = problem.inliers(state)
        if now.sum() < 4 or (now == inliers).all():
            break
        inliers = now
        state = problem.refine(state, inliers)
    return state, inliers


def _leave_one_out(problem, state, inliers):
    shifts = np.full(len(inliers), np.nan)
    if inliers.sum() > 4:
        for i in np.flatnonzero(inliers):
            use = inliers.copy()
            use[i] = False
            shifts[i] = np.linalg.norm(problem.refine(state, use).centre - state.centre)
    return shifts
