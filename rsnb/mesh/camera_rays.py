"""Rays of a camera in its own frame, computed once and turned into the world for each pose."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch

CACHE_BYTES = 1 << 29
CENTRE = (0.5, 0.5)


@dataclass(frozen=True)
class CameraRays:
    """One ray a pixel, row by row, camera frame, float32.

    Attributes:
        directions: [3, N] unit vectors (planar: a rotation is nine products of whole rows).
        origins: [3, N] metres, or None where all rays start in the camera centre.
        width_at_0, width_per_m: [N], metres that a pixel covers across the ray at distance t are
            width_at_0 + width_per_m * t (the square root of the area, so cameras with unlike axes are served too).
    """

    directions: np.ndarray
    origins: np.ndarray | None
    width_at_0: np.ndarray
    width_per_m: np.ndarray


@dataclass(frozen=True)
class RayBundle:
    """Rays that follow no lens, as a camera of one row: texels of a texture page, a pushbroom line, a list of probes.

    Attributes:
        fixed: the rays; origins relative to the camera centre, one ray a pixel whatever the point within it.
    """

    fixed: CameraRays
    height: int = 1

    @property
    def width(self) -> int:
        """Number of rays."""
        return self.fixed.directions.shape[1]


_cache: OrderedDict[tuple, CameraRays] = OrderedDict()


def camera_rays(camera, offset: tuple[float, float] = CENTRE) -> CameraRays:
    """Rays through the point `offset` of every pixel, (0.5, 0.5) being its centre. The last few cameras are kept."""
    if isinstance(camera, RayBundle):
        return camera.fixed
    key = (*_camera_key(camera), offset)
    if key in _cache:
        _cache.move_to_end(key)
        return _cache[key]
    rays = _compute(camera, offset)
    _cache[key] = rays
    while len(_cache) > 1 and sum(_bytes(kept) for kept in _cache.values()) > CACHE_BYTES:
        _cache.popitem(last=False)
    return rays


def sample_offsets(count: int) -> list[tuple[float, float]]:
    """`count`^2 points of a pixel, no two in one column or row (Chiu, Shirley & Wang, Graphics Gems IV, 1994).

    Odd counts hold the centre. An edge that is nearly level or upright still meets count^2 steps, not count.
    """
    return [((i + (j + 0.5) / count) / count, (j + (i + 0.5) / count) / count)
            for j in range(count) for i in range(count)]


def _camera_key(camera) -> tuple:
    K = getattr(camera, "K", None)
    inner = K.detach().cpu().numpy().tobytes() if isinstance(K, torch.Tensor) else np.asarray(K).tobytes()
    return type(camera).__name__, camera.width, camera.height, getattr(camera, "gsd_m", None), inner


def _bytes(rays: CameraRays) -> int:
    arrays = (rays.directions, rays.origins, rays.width_at_0, rays.width_per_m)
    return sum(array.nbytes for array in arrays if array is not None)


@torch.no_grad()
def _compute(camera, offset: tuple[float, float]) -> CameraRays:
    corner = camera.pixel_centres().double().cpu() - 0.5
    origins, directions = camera.rays(corner + torch.tensor(offset, dtype=torch.float64))
    if offset == CENTRE:
        at_0, per_m = _pixel_widths(camera, corner)
    else:
        # The width hardly changes within a pixel.
        at_0, per_m = camera_rays(camera).width_at_0, camera_rays(camera).width_per_m
    single = bool((origins == 0).all())
    return CameraRays(_planar(directions), None if single else _planar(origins), at_0, per_m)


def _planar(vectors: torch.Tensor) -> np.ndarray:
    return vectors.reshape(-1, 3).float().T.contiguous().numpy()


def _pixel_widths(camera, corner: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    steps = []
    for axis in (0, 1):
        before = torch.full((2,), 0.5, dtype=torch.float64)
        after = before.clone()
        before[axis], after[axis] = 0.0, 1.0
        pairs = zip(camera.rays(corner + after), camera.rays(corner + before), strict=True)
        steps.append([(a - b).reshape(-1, 3) for a, b in pairs])
    areas = [torch.linalg.cross(steps[0][k], steps[1][k]).norm(dim=1) for k in (0, 1)]
    return tuple(area.sqrt().float().numpy() for area in areas)
