"""What lenses do to a picture: from ideal to real pixels, and pictures made ideal again.

All models start from x = X / Z, y = Y / Z in the camera frame (OpenCV axes) and give distorted (x', y'), to which K is
then applied. The formulas are those of OpenCV's `calib3d` and COLMAP's `models.h`, which agree where both have a model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from rsnb.errors import InputError

# Number of coefficients of each model.
COEFFICIENTS = {"OPENCV": 8, "OPENCV_FISHEYE": 4, "FOV": 1, "THIN_PRISM_FISHEYE": 8}
SPHERICAL = "SPHERICAL"  # an equirectangular picture of the whole sphere: no K, nothing to undistort
_GRID = 33  # a picture's border and inside are looked at in this many points a side


@dataclass(frozen=True)
class Distortion:
    """A lens.

    Attributes:
        model: "OPENCV" (k1 k2 p1 p2 k3 k4 k5 k6: radial as a fraction of polynomials, and tangential), "OPENCV_FISHEYE"
            (k1 k2 k3 k4 of the angle), "FOV" (omega), "THIN_PRISM_FISHEYE" (k1 k2 p1 p2 k3 k4 sx1 sy1), "SPHERICAL", or
            the name a file gives to a model that cannot be undone here.
        coefficients: in that order; those left out at the end are 0.
    """

    model: str
    coefficients: tuple[float, ...] = field(default=())

    def __post_init__(self):
        most = COEFFICIENTS.get(self.model)
        if most is not None and len(self.coefficients) > most:
            raise InputError(f"{self.model} has {len(self.coefficients)} coefficients, at most {most} are known",
                             where="Distortion")

    @property
    def none(self) -> bool:
        """Whether the model changes nothing: a polynomial one whose coefficients are all 0."""
        return self.model in ("OPENCV", "PINHOLE") and not any(self.coefficients)

    @property
    def known(self) -> bool:
        """Whether `distort` has the formula."""
        return self.model in COEFFICIENTS or self.none


def distort(lens: Distortion | None, ideal: np.ndarray) -> np.ndarray:
    """Distorted image-plane coordinates [..., 2] of ideal ones [..., 2] (x = X / Z, y = Y / Z), float64.

    Raises:
        InputError: a model without a formula here.
    """
    ideal = np.asarray(ideal, np.float64)
    if lens is None or lens.none:
        return ideal
    if not lens.known:
        raise InputError(f"the lens model {lens.model} is not supported", where="distortion",
                         mend=f"Undistort the pictures first, for example with COLMAP; supported are "
                              f"{', '.join(COEFFICIENTS)} and their simpler forms")
    values = (*lens.coefficients, *[0.0] * (COEFFICIENTS[lens.model] - len(lens.coefficients)))
    return _MODELS[lens.model](ideal, values)


def _opencv(ideal, c):
    k1, k2, p1, p2, k3, k4, k5, k6 = c
    x, y = ideal[..., 0], ideal[..., 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return np.stack([x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                     y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y)], axis=-1)


def _angles(ideal) -> tuple[np.ndarray, np.ndarray]:
    """Angle from the axis [...], and the equidistant coordinates [..., 2]: its length along the direction of (x, y)."""
    radius = np.linalg.norm(ideal, axis=-1)
    theta = np.arctan(radius)
    return theta, ideal * np.where(radius > 1e-12, theta / np.maximum(radius, 1e-12), 1.0)[..., None]


def _fisheye(ideal, c):
    theta, flat = _angles(ideal)
    t2 = theta * theta
    return flat * (1 + t2 * (c[0] + t2 * (c[1] + t2 * (c[2] + t2 * c[3]))))[..., None]


def _fov(ideal, c):
    omega = c[0]
    radius = np.linalg.norm(ideal, axis=-1)
    if abs(omega) < 1e-9:
        return ideal
    slope = 2 * np.tan(omega / 2)
    return ideal * np.where(radius > 1e-12, np.arctan(radius * slope) / (np.maximum(radius, 1e-12) * omega),
                            slope / omega)[..., None]


def _thin_prism(ideal, c):
    k1, k2, p1, p2, k3, k4, sx1, sy1 = c
    _, flat = _angles(ideal)
    x, y = flat[..., 0], flat[..., 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
    return np.stack([x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + sx1 * r2,
                     y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y) + sy1 * r2], axis=-1)


_MODELS = {"OPENCV": _opencv, "OPENCV_FISHEYE": _fisheye, "FOV": _fov, "THIN_PRISM_FISHEYE": _thin_prism}


def apply_intrinsics(K: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Pixels [..., 2] of image-plane coordinates [..., 2]."""
    return plane @ K[:2, :2].T + K[:2, 2]


def remove_intrinsics(K: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Image-plane coordinates [..., 2] of pixels [..., 2]."""
    return (pixels - K[:2, 2]) @ np.linalg.inv(K[:2, :2]).T


def ideal_intrinsics(K: np.ndarray, lens: Distortion, size: tuple[int, int]) -> np.ndarray:
    """K [3, 3] of the picture without distortion: the widest view of which every pixel lies inside the real picture.

    Size and principal point stay, the focal lengths are scaled together, at most to half (a fisheye's whole view would
    leave nothing of its middle). OpenCV's `getOptimalNewCameraMatrix` with alpha 0 does the same, but moves the
    principal point and scales x and y apart.

    Args:
        K: of the real picture, pixel centres at +0.5.
        size: (width, height).

    Raises:
        InputError: no such focal lengths up to 20 times the file's: the coefficients belong to another picture.
    """
    width, height = size
    side = np.linspace(0.0, 1.0, _GRID)
    points = np.stack(np.meshgrid(0.5 + side * (width - 1), 0.5 + side * (height - 1)), axis=-1)
    reach = valid_radius(lens)

    def scaled(zoom: float) -> np.ndarray:
        return K * np.array([[zoom, zoom, 1], [zoom, zoom, 1], [1, 1, 1]])

    def inside(zoom: float) -> bool:
        plane = remove_intrinsics(scaled(zoom), points)
        real = apply_intrinsics(K, distort(lens, plane))
        # the outermost half pixel of the real picture may be repeated
        return bool((np.linalg.norm(plane, axis=-1) < reach).all() and (real >= 0).all()
                    and (real <= [width, height]).all())

    low, high = 0.5, 20.0
    if inside(low):
        return scaled(low)
    if not inside(high):
        raise InputError(f"the lens coefficients {lens.coefficients} leave nothing of the picture", where=lens.model,
                         mend="Check that intrinsics and coefficients belong to this picture size")
    for _ in range(40):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if inside(middle) else (middle, high)
    return scaled(high)


@lru_cache(maxsize=64)
def valid_radius(lens: Distortion) -> float:
    """Largest distance from the axis on the ideal image plane (the tangent of the angle) up to which the lens maps
    outwards. Beyond it polynomials fold the world back into the picture."""
    angle = np.linspace(0.0, np.pi / 2, 4001)[:-1]
    if lens.none or not lens.known:
        return np.inf
    radius = np.tan(angle)
    along = np.zeros((len(radius), 2))
    along[:, 0] = radius
    back = distort(lens, -along)[:, 0]
    both = (distort(lens, along)[:, 0] - back) / 2  # without the tangential part
    fold = np.flatnonzero(np.diff(both) <= 0)
    return float(radius[fold[0]]) if len(fold) else np.inf


def source_pixels(K: np.ndarray, lens: Distortion, ideal_K: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[H, W, 2] float32: where in the real picture each pixel of the ideal one lies, pixel centres at integers (the
    convention of `cv2.remap`)."""
    width, height = size
    out = np.empty((height, width, 2), np.float32)
    rows = max(1, (1 << 20) // width)  # in float64, a picture of 24 million pixels would need gigabytes at once
    for first in range(0, height, rows):
        last = min(first + rows, height)
        centres = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(first, last) + 0.5), axis=-1)
        out[first:last] = apply_intrinsics(K, distort(lens, remove_intrinsics(ideal_K, centres))) - 0.5
    return out
