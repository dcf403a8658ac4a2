"""Rays of a camera in its own frame, computed once and turned into the world for each pose."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from rsnb.geometry.cameras import NadirCamera, PanoramaCamera, PinholeCamera

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


@dataclass(frozen=True, eq=False)
class PixelRun:
    """The pixels first..last of a camera, counted row by row, as a camera of one row: a part of a large picture."""

    camera: object
    first: int
    last: int
    height: int = 1

    @property
    def width(self) -> int:
        """Number of pixels."""
        return self.last - self.first

    @cached_property
    def corner(self) -> torch.Tensor:
        """[N, 2] float64 upper left corner of each pixel."""
        index = torch.arange(self.first, self.last)
        row = torch.div(index, self.camera.width, rounding_mode="floor")
        return torch.stack([index - row * self.camera.width, row], dim=-1).double()

    @cached_property
    def pixel_widths(self) -> tuple[np.ndarray, np.ndarray]:
        """As in `CameraRays`; the same for every point of a pixel."""
        return _pixel_widths(self.camera, self.corner)


_cache: OrderedDict[tuple, CameraRays] = OrderedDict()
_cache_lock = threading.Lock()


def camera_rays(camera, offset: tuple[float, float] = CENTRE) -> CameraRays:
    """Rays through the point `offset` of every pixel, (0.5, 0.5) being its centre.

    Those of the last few cameras are kept where the camera's class tells all that its rays depend on.
    """
    if isinstance(camera, RayBundle):
        return camera.fixed
    if isinstance(camera, PixelRun):
        return _rays(camera.camera, camera.corner, offset, camera.pixel_widths)
    key = _camera_key(camera)
    if key is None:
        return _compute(camera, offset)
    with _cache_lock:
        if (key, offset) in _cache:
            _cache.move_to_end((key, offset))
            return _cache[key, offset]
    rays = _compute(camera, offset)
    with _cache_lock:
        _cache[key, offset] = rays
        while len(_cache) > 1 and _cached_bytes() > CACHE_BYTES:
            _cache.popitem(last=False)
    return rays


def sample_offsets(count: int) -> list[tuple[float, float]]:
    """`count`^2 points of a pixel, no two in one column or row (Chiu, Shirley & Wang, Graphics Gems IV, 1994).

    Odd counts hold the centre. An edge that is nearly level or upright still meets count^2 steps, not count.
    """
    return [((i + (j + 0.5) / count) / count, (j + (i + 0.5) / count) / count)
            for j in range(count) for i in range(count)]


def _camera_key(camera) -> tuple | None:
    """What the camera's rays depend on; None for classes that are not known here."""
    kind, size = type(camera), (camera.width, camera.height)
    if kind is PinholeCamera:
        return kind, size, camera.K.detach().cpu().numpy().tobytes()
    if kind is NadirCamera:
        return kind, size, camera.gsd_m
    return (kind, size, camera.vertical_fov) if kind is PanoramaCamera else None


def _cached_bytes() -> int:
    # The rays of one camera share their widths.
    arrays = {id(array): array.nbytes for rays in _cache.values() for array in vars(rays).values() if array is not None}
    return sum(arrays.values())


@torch.no_grad()
def _compute(camera, offset: tuple[float, float]) -> CameraRays:
    corner = camera.pixel_centres().double().cpu() - 0.5
    if offset == CENTRE:
        return _rays(camera, corner, offset, _pixel_widths(camera, corner))
    centre = camera_rays(camera)
    return _rays(camera, corner, offset, (centre.width_at_0, centre.width_per_m))


@torch.no_grad()
def _rays(camera, corner: torch.Tensor, offset: tuple[float, float], widths) -> CameraRays:
    # The width hardly changes within a pixel: that of its middle serves all offsets.
    origins, directions = camera.rays(corner + torch.tensor(offset, dtype=torch.float64))
    single = bool((origins == 0).all())
    return CameraRays(_planar(directions), None if single else _planar(origins), *widths)


def _planar(vectors: torch.Tensor) -> np.ndarray:
    return vectors.reshape(-1, 3).float().T.contiguous().numpy()


@torch.no_grad()
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
