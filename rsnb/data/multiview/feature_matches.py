"""The same points found in pairs of pictures: a witness about cameras that no convention of a file has touched.

Lowe: Distinctive Image Features from Scale-Invariant Keypoints, IJCV 60 (2004), with his ratio test; wrong pairs go
out by a fundamental matrix estimated from the pixels alone. Hartley, Zisserman: Multiple View Geometry (2nd ed.),
11.4.3 (Sampson distance) and 12.2 (linear triangulation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsnb.data.multiview.distortion import SPHERICAL
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.geometry.intrinsics import scale_intrinsics
from rsnb.geometry.poses import rotation_angle

WIDTH = 640  # pictures are matched at this width; smaller ones are enlarged up to four times
FEATURES, RATIO, LEAST = 1500, 0.75, 24  # keypoints a picture, Lowe's ratio, matches that make a pair worth anything
PARALLAX = 0.004  # pictures that move less than this share of their width tell nothing


@dataclass(frozen=True, eq=False)
class PairMatches:
    """Features of two views.

    Attributes:
        i, j: positions of the views.
        rays: two arrays [M, 2] float64 on the ideal image planes, x = X / Z and y = Y / Z.
        focal: mean focal length in pixels of the pictures as matched (a unit for errors on the plane).
    """

    i: int
    j: int
    rays: tuple[np.ndarray, np.ndarray]
    focal: float

    def __len__(self) -> int:
        return len(self.rays[0])


def match_views(views: PosedViews, pairs: int = 8, width: int = WIDTH) -> list[PairMatches]:
    """Features of up to `pairs` pairs of views that look alike, about a tenth of a second a picture of 640 pixels.

    Pairs are chosen so that it does not matter whether poses were read right: views that follow each other by name,
    and views turned least against each other (the angle between two rotations is the same in every convention).
    Pictures that cannot be read, spherical ones, pairs with too few features or without parallax are passed over.
    """
    found: dict[int, tuple | None] = {}
    matched = []
    for i, j in _likely_pairs(views, 2 * pairs):
        for k in (i, j):
            if k not in found:
                found[k] = _features(views, k, width)
        if found[i] is not None and found[j] is not None:
            pair = _match(i, j, found[i], found[j], width)
            matched += [pair] if pair is not None else []
        if len(matched) == pairs:
            break
    return matched


def _likely_pairs(views: PosedViews, count: int) -> list[tuple[int, int]]:
    """Pairs of positions in turn from neighbours by name, next but one, and by angle; spread over the scene."""
    n = len(views)
    angle = rotation_angle(views.world_to_cam[:, None], views.world_to_cam[None]) if n <= 400 else None
    chosen: list[tuple[int, int]] = []
    anchors = np.unique(np.linspace(0, n - 1, min(n, max(2, count // 2))).round().astype(int))
    for step in range(3):
        for i in anchors:
            j = int(i) + (1 if step == 0 else 2)
            if step == 2 and angle is not None:
                j = int(np.argsort(angle[i], kind="stable")[min(2, n - 1)])
            pair = (min(int(i), j), max(int(i), j))
            if 0 <= pair[0] < pair[1] < n and pair not in chosen:
                chosen.append(pair)
    return chosen[:count]


def _features(views: PosedViews, i: int, width: int):
    """Keypoints [M, 2] in pixels (centres +0.5) of the undistorted small picture, descriptors and K; None without."""
    import cv2

    lens = views.distortion[i]
    if lens is not None and lens.model == SPHERICAL:
        return None
    try:
        small = views.load([views.names[i]], max_width=width)
    except InputError:
        return None
    grey = cv2.cvtColor((small.images[0].transpose(1, 2, 0) * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    K, zoom = small.K[0], min(4.0, width / grey.shape[1])
    if zoom > 1.2:
        new = (round(grey.shape[1] * zoom), round(grey.shape[0] * zoom))
        K = scale_intrinsics(K, grey.shape[::-1], new)
        grey = cv2.resize(grey, new, interpolation=cv2.INTER_CUBIC)
    points, descriptors = cv2.SIFT_create(FEATURES).detectAndCompute(grey, None)
    if len(points) < LEAST:
        return None
    return np.array([point.pt for point in points]) + 0.5, descriptors, K


def _match(i: int, j: int, first, second, width: int) -> PairMatches | None:
    import cv2

    both = cv2.BFMatcher().knnMatch(first[1], second[1], k=2)
    good = [pair[0] for pair in both if len(pair) == 2 and pair[0].distance < RATIO * pair[1].distance]
    if len(good) < LEAST:
        return None
    p = first[0][[m.queryIdx for m in good]]
    q = second[0][[m.trainIdx for m in good]]
    cv2.setRNGSeed(0)
    _, kept = cv2.findFundamentalMat(p, q, cv2.USAC_MAGSAC, 1.0, 0.999, 2000)
    if kept is None or kept.sum() < LEAST:
        return None
    p, q = p[kept.ravel() > 0], q[kept.ravel() > 0]
    if np.median(np.linalg.norm(p - q, axis=1)) < PARALLAX * width:
        return None
    focal = float(np.mean([K[[0, 1], [0, 1]].mean() for K in (first[2], second[2])]))
    return PairMatches(i, j, (_rays(p, first[2]), _rays(q, second[2])), focal)


def _rays(pixels: np.ndarray, K: np.ndarray) -> np.ndarray:
    rays = np.c_[pixels, np.ones(len(pixels))] @ np.linalg.inv(K).T
    return rays[:, :2] / rays[:, 2:]


def agreement(pair: PairMatches, world_to_cam: np.ndarray, pixels: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Which matches two poses agree with, [M] bool, and where those points lie in the world, [M, 3] (nan for others).

    A match counts if its Sampson distance from the epipolar geometry is below `pixels` and the point lies in front of
    both cameras, or so far away that its rays are parallel to within `pixels` (such points are nan, too).

    Args:
        world_to_cam: [N, 4, 4] poses of all views.
    """
    one, two = world_to_cam[pair.i], world_to_cam[pair.j]
    relative = two @ np.linalg.inv(one)
    (x, y, z), turn = relative[:3, 3], relative[:3, :3]
    length = np.linalg.norm(relative[:3, 3])
    scale = 1.0 + max(np.linalg.norm(pose[:3, 3]) for pose in (one, two))
    points = np.full((len(pair), 3), np.nan)
    if length < 1e-9 * scale:
        return np.zeros(len(pair), bool), points
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ turn / length
    p, q = (np.c_[rays, np.ones(len(pair))] for rays in pair.rays)
    lines, back = p @ essential.T, q @ essential
    distance = np.abs((lines * q).sum(axis=1)) / np.sqrt(
        np.maximum((lines[:, :2] ** 2).sum(axis=1) + (back[:, :2] ** 2).sum(axis=1), 1e-24))
    first, second, angle = _depths(p, q, turn, relative[:3, 3])
    near, front = distance * pair.focal < pixels, (first > 0) & (second > 0)
    parallel = angle * pair.focal < pixels
    placed = near & front & ~parallel
    points[placed] = (p[placed] * first[placed, None] - one[:3, 3]) @ one[:3, :3]
    return near & (front | parallel), points


def _depths(p: np.ndarray, q: np.ndarray, turn: np.ndarray, move: np.ndarray):
    """z depths [M] in both cameras of the points nearest to both rays: a q = b turn p + move in the least squares; and
    the angle [M] between the rays, pi for rays that point apart."""
    r = p @ turn.T
    rr, qq, rq = (r * r).sum(axis=1), (q * q).sum(axis=1), (r * q).sum(axis=1)
    rm, qm = r @ move, q @ move
    determinant = rr * qq - rq * rq
    ok = determinant > 1e-12 * rr * qq
    safe = np.where(ok, determinant, 1.0)
    first = np.where(ok, (rq * qm - qq * rm) / safe, -1.0)
    second = np.where(ok, (rr * qm - rq * rm) / safe, -1.0)
    angle = np.where(rq > 0, np.sqrt(np.maximum(determinant, 0) / (rr * qq)), np.pi)
    return first, second, angle
