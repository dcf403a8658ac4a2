"""The least-squares problem behind `rsnb.mesh.pose`: a camera's state, its residuals, its fit and its covariance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import least_squares

from rsnb.geometry.poses import camera_centre

FOV_LIMITS = (math.radians(10.0), math.radians(160.0))  # what a fitted pinhole picture can reasonably have


@dataclass(frozen=True)
class PoseOptions:
    """How `solve_pose` works.

    Attributes:
        threshold_px: a pair whose reprojection error is larger is called wrong; None for five times `sigma_px` (the
            world point was clicked too, and on a wall seen at a grazing angle its error counts double).
        sigma_px: expected error of one click per axis; weighs pairs against the prior, and the covariance.
        prior: [4, 4] world_to_cam from elsewhere (file name, GPS), or None. Must share the frame of the points.
        prior_sigma_m: standard deviations of the prior's centre, metres, x y z of the world.
        prior_sigma_rad: standard deviations of its rotation about the camera's x (pitch), y (heading), z (roll).
        estimate_fov: fit one focal length (fx = fy) as well. Always on where no K is given.
        prior_sigma_log_focal: with `estimate_fov`, standard deviation of log(focal) around the given K; None for no
            prior on it.
        fix_roll: five instead of six degrees of freedom: the camera's x axis stays horizontal.
        inlier_share: smallest share of the pairs that must agree. Not lower than half: picks on one facade always fit a
            second camera too, that looks at its mirror image from behind.
        leave_one_out: also solve without each inlier in turn (how far one pair alone moves the camera).
        max_subsets: limit on subsets of each size; up to it all are tried, else a seeded random choice. With an
            unknown field of view it is shared among the starting values of that.
        seed: of that choice.
    """

    threshold_px: float | None = None
    sigma_px: float = 2.0
    prior: np.ndarray | None = None
    prior_sigma_m: tuple[float, float, float] = (1.5, 1.5, 0.5)
    prior_sigma_rad: tuple[float, float, float] = (math.radians(2.0), math.radians(3.0), math.radians(1.0))
    estimate_fov: bool = False
    prior_sigma_log_focal: float | None = None
    fix_roll: bool = False
    inlier_share: float = 0.55
    leave_one_out: bool = False
    max_subsets: int = 400
    seed: int = 0

    @property
    def cut_px(self) -> float:
        """The threshold in force, pixels."""
        return 5.0 * self.sigma_px if self.threshold_px is None else self.threshold_px


@dataclass(frozen=True)
class CameraState:
    """A camera: rotation world -> camera, centre in local metres, log of the factor on K's focal lengths."""

    R: np.ndarray
    centre: np.ndarray
    log_focal: float = 0.0


@dataclass(frozen=True)
class PoseProblem:
    """Pairs in local coordinates and what is known about the camera beforehand; makes residuals, fits, covariances."""

    pixels: np.ndarray
    points: np.ndarray  # local: the mean is subtracted
    K: np.ndarray
    width: float  # of the picture, pixels
    options: PoseOptions
    fit_focal: bool
    focal_starts: tuple[float, ...]
    prior: CameraState | None

    @classmethod
    def build(cls, pixels, points, K, width, origin, options):
        fit_focal = options.estimate_fov
        starts = (0.0,)
        width = width or 2 * K[0, 2]  # a principal point in the middle is all there is to go by
        if fit_focal:
            fovs = np.linspace(math.radians(35), math.radians(115), 9)
            starts = (0.0, *np.log(width / 2 / np.tan(fovs / 2) / K[0, 0]))
        prior = None
        if options.prior is not None:
            P = np.asarray(options.prior, dtype=np.float64)
            prior = CameraState(P[:3, :3], camera_centre(P) - origin)
        return cls(pixels, points, K, width, options, fit_focal, starts, prior)

    def K_of(self, state):
        K = self.K.copy()
        K[[0, 1], [0, 1]] *= math.exp(state.log_focal)
        return K

    def residuals(self, state):
        """[N, 2] pixels; a point behind the camera gets infinity."""
        cam = (self.points - state.centre) @ state.R.T
        K = self.K_of(state)
        z = np.where(cam[:, 2] > 1e-6, cam[:, 2], np.nan)
        uv = (cam[:, :2] @ K[:2, :2].T) / z[:, None] + K[:2, 2]
        return np.where(np.isnan(uv), np.inf, uv - self.pixels)

    def step(self, state, delta):
        """Move a state: 3 centre, then 3 rotations about the camera's axes, or pitch and heading; then log focal."""
        R = state.R
        if self.options.fix_roll:  # turns about the camera's x and the world's z keep the horizon level
            R = rotation_about([delta[3], 0, 0]) @ R @ rotation_about([0, 0, delta[4]])
        else:
            R = rotation_about(delta[3:6]) @ R
        return CameraState(R, state.centre + delta[:3], state.log_focal + (delta[-1] if self.fit_focal else 0.0))

    @property
    def size(self):
        return 5 + (not self.options.fix_roll) + self.fit_focal

    def prior_residuals(self, state):
        """Deviations from the priors in standard deviations."""
        out = []
        if self.prior is not None:
            turn = cv2.Rodrigues(state.R @ self.prior.R.T)[0][:, 0]
            out += [(state.centre - self.prior.centre) / self.options.prior_sigma_m,
                    turn / self.options.prior_sigma_rad]
        if self.fit_focal and self.options.prior_sigma_log_focal:
            out.append([state.log_focal / self.options.prior_sigma_log_focal])
        return np.concatenate(out) if out else np.zeros(0)

    def stacked(self, state, use):
        pick = self.residuals(state)[use].ravel() / self.options.sigma_px
        return np.concatenate([np.clip(pick, -1e4, 1e4), self.prior_residuals(state)])

    def refine(self, state, use, robust=True):
        """Least squares from `state` on the pairs `use`, soft-L1 on what deviates by more than two sigmas."""
        if self.options.fix_roll:
            state = CameraState(_level(state.R), state.centre, state.log_focal)
        result = least_squares(
            lambda delta: self.stacked(self.step(state, delta), use), np.zeros(self.size),
            loss="soft_l1" if robust else "linear", f_scale=2.0, x_scale=self._scales(), max_nfev=60)
        return self.step(state, result.x)

    def _scales(self):
        return np.array([1.0] * 3 + [0.03] * (2 if self.options.fix_roll else 3) + [0.1] * self.fit_focal)

    def cost(self, state):
        """MSAC: squared errors in sigmas, cut at the threshold, plus the prior's."""
        focal = self.K[0, 0] * math.exp(state.log_focal)
        if self.fit_focal and not FOV_LIMITS[0] < self.fov(focal)[0] < FOV_LIMITS[1]:
            return math.inf
        squared = (self.residuals(state) ** 2).sum(axis=1)
        cut = np.minimum(squared, self.options.cut_px**2).sum() / self.options.sigma_px**2
        return cut + (self.prior_residuals(state) ** 2).sum()

    def fov(self, focal: float) -> tuple[float, float]:
        """Horizontal angle between the picture's edges, radians, and its derivative by the log of the focal length."""
        left = math.atan(self.K[0, 2] / focal)
        right = math.atan((self.width - self.K[0, 2]) / focal)
        return left + right, -(math.sin(2 * left) + math.sin(2 * right)) / 2

    def quick_costs(self, states):
        """[M] the pixel part of `cost` for many states at once, to rank hypotheses."""
        R = np.stack([s.R for s in states])
        centre = np.stack([s.centre for s in states])
        scale = np.exp([s.log_focal for s in states])[:, None, None]
        cam = (self.points - centre[:, None]) @ R.transpose(0, 2, 1)
        z = np.where(cam[..., 2:] > 1e-6, cam[..., 2:], np.inf)
        plane = cam[..., :2] / z * scale
        away = plane @ self.K[:2, :2].T + self.K[:2, 2] - self.pixels
        squared = np.where(np.isfinite(z[..., 0]), (away**2).sum(axis=-1), np.inf)
        return np.minimum(squared, self.options.cut_px**2).sum(axis=1)

    def inliers(self, state):
        return np.linalg.norm(self.residuals(state), axis=1) < self.options.cut_px

    def covariance(self, state, use):
        """(J^T J)^-1 sigma^2 in (centre, camera rotation) and the variance of log focal."""
        J = _jacobian(lambda d: self.stacked(self.step(state, d), use), self._scales() * 1e-5)
        residual = self.stacked(state, use)
        # variance of unit weight: the residuals' own, held near 1 (= sigma_px) by four pseudo-observations, since
        # nine pairs leave few degrees of freedom to estimate it from
        freedom = max(len(residual) - self.size, 0)
        unit = ((residual**2).sum() + 4.0) / (freedom + 4.0)
        inner = np.linalg.pinv(J.T @ J, hermitian=True) * unit
        M = np.eye(6, self.size)
        if self.options.fix_roll:
            M[3:, 3:] = 0
            M[3, 3] = 1
            M[3:6, 4] = state.R[:, 2]  # the world's z axis seen by the camera
        elif self.fit_focal:
            M = np.eye(6, 7)
        return M @ inner @ M.T, float(inner[-1, -1]) if self.fit_focal else 0.0


def rotation_about(vector):
    return cv2.Rodrigues(np.asarray(vector, dtype=np.float64))[0]


def _level(R):
    """The rotation with the same viewing direction and a horizontal x axis (roll 0)."""
    forward = R[2]
    right = np.array([forward[1], -forward[0], 0.0])
    norm = np.linalg.norm(right)
    if norm < 1e-6:  # straight up or down: roll has no meaning
        return R
    right /= norm
    return np.stack([right, np.cross(forward, right), forward])


def _jacobian(function, steps):
    columns = [(function(e * s) - function(-e * s)) / (2 * s) for e, s in zip(np.eye(len(steps)), steps, strict=True)]
    return np.stack(columns, axis=1)
