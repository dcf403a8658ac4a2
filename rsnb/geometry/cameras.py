"""Cameras: from pixels to rays and from points to pixels, one interface for pinhole, panorama and nadir pictures.

Every camera has `width`, `height`, `pixel_centres()`, `rays(pixels)` and `project(points_cam)`; all of it is torch,
batched, differentiable, and as precise as its input (float64 stays float64; numpy arrays and lists are taken too).
Pixels are (column, row) with (0, 0) at the top-left corner, so pixel centres lie at +0.5; camera axes are x right,
y down, z forward; distances run along the unit ray, in the unit of the points (metres).

Batches line up **from the left**: K [B..., 3, 3] or poses [B..., 4, 4] belong to pixels [B..., ..., 2] or points
[B..., ..., 3]. A dimension of size 1 is shared: one cloud [P, 3] seen by N poses is passed as cloud[None], [1, P, 3].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from rsnb.errors import InputError


class Camera(Protocol):
    """What every camera can do. `rays` and `project` are each other's inverse wherever a point is seen."""

    width: int
    height: int
    central: ClassVar[bool]  # all rays start at the camera centre

    def pixel_centres(self, dtype: torch.dtype | None = None, device=None) -> Tensor:
        """[H, W, 2] (column + 0.5, row + 0.5)."""

    def rays(self, pixels) -> tuple[Tensor, Tensor]:
        """Pixels [..., 2] to origins [..., 3] and unit directions [..., 3] in the camera frame."""

    def project(self, points_cam) -> tuple[Tensor, Tensor]:
        """Points [..., 3] of the camera frame to pixels [..., 2] (NaN where not seen) and distances [...]."""


@dataclass(frozen=True, eq=False)
class PinholeCamera:
    """A perspective camera without distortion.

    Attributes:
        K: [..., 3, 3] intrinsics in pixels, rows (fx, skew, cx), (0, fy, cy), (0, 0, 1); fx and fy > 0.
        width, height: picture size, pixels.

    Raises:
        InputError: K is not such a matrix, or the size is not positive.
    """

    K: Tensor
    width: int
    height: int
    central: ClassVar[bool] = True

    def __post_init__(self):
        object.__setattr__(self, "K", as_tensor(self.K))
        _check_size(self)
        K = self.K.detach()
        if K.shape[-2:] != (3, 3) or not torch.isfinite(K).all():
            raise InputError(f"K has shape {tuple(K.shape)} or holds numbers that are not finite",
                             where="PinholeCamera", mend="Give finite intrinsics of shape [..., 3, 3]")
        bottom = torch.tensor([0.0, 0.0, 1.0], dtype=K.dtype, device=K.device)
        if not (K[..., 0, 0] > 0).all() or not (K[..., 1, 1] > 0).all() or not (K[..., 2, :] == bottom).all():
            raise InputError(f"K = {K.tolist()} is no pinhole matrix", where="PinholeCamera",
                             mend="Its rows are (fx, skew, cx), (0, fy, cy), (0, 0, 1), in pixels, fx and fy above 0")

    @classmethod
    def from_fov(cls, fov, width: int, height: int) -> PinholeCamera:
        """Square pixels, principal point in the middle, `fov` [...] the HORIZONTAL angle in radians.

        OpenGL and PyTorch3D mean the vertical one; `vertical_fov_to_horizontal` converts.

        Raises:
            InputError: fov is not between 0 and pi.
        """
        fov = as_tensor(fov)
        seen = fov.detach()
        if not ((seen > 0) & (seen < math.pi)).all():
            raise InputError(f"a field of view of {np.degrees(seen.cpu().numpy())} degrees", where="fov",
                             mend="Set fov, the horizontal angle, between 0 and 180 degrees (both excluded); only a "
                                  "panorama sees more. Python code gives it in radians")
        focal = width / (2 * torch.tan(fov / 2))
        zero, one = torch.zeros_like(focal), torch.ones_like(focal)
        K = torch.stack([focal, zero, one * (width / 2), zero, focal, one * (height / 2), zero, zero, one], dim=-1)
        return cls(K.reshape(*focal.shape, 3, 3), width, height)

    @property
    def fov(self) -> tuple[Tensor, Tensor]:
        """Horizontal and vertical angle [...] between the picture's opposite edges, radians (skew left out)."""
        angles = []
        for axis, size in ((0, self.width), (1, self.height)):
            focal, centre = self.K[..., axis, axis], self.K[..., axis, 2]
            angles.append(torch.atan(centre / focal) + torch.atan((size - centre) / focal))
        return angles[0], angles[1]

    def resized(self, width: int, height: int) -> PinholeCamera:
        """The same view in another number of pixels (K scaled; exact, as the origin is the picture's corner)."""
        scale = self.K.new_tensor([width / self.width, height / self.height, 1.0])
        return PinholeCamera(self.K * scale[:, None], width, height)

    def pixel_centres(self, dtype: torch.dtype | None = None, device=None) -> Tensor:
        """[H, W, 2] (column + 0.5, row + 0.5), in the precision and on the device of K unless told otherwise."""
        return pixel_centres(self.width, self.height, dtype or self.K.dtype, device or self.K.device)

    def rays(self, pixels) -> tuple[Tensor, Tensor]:
        """Origins [..., 3] (all zero) and unit directions [..., 3] of pixels [..., 2], camera frame."""
        pixels, K = _same_precision(as_tensor(pixels), self.K)
        K = _align(K, pixels, 2)
        y = (pixels[..., 1] - K[..., 1, 2]) / K[..., 1, 1]
        x = (pixels[..., 0] - K[..., 0, 2] - K[..., 0, 1] * y) / K[..., 0, 0]
        directions = torch.nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)], dim=-1), dim=-1)
        return torch.zeros_like(directions), directions

    def project(self, points_cam) -> tuple[Tensor, Tensor]:
        """Pixels [..., 2] and distances [...] of camera-frame points [..., 3].

        Points on or behind the plane of the camera (z <= 0) get NaN pixels, which pass no gradient back. Pixels outside
        the picture are given as they are.
        """
        points, K = _same_precision(as_tensor(points_cam), self.K)
        K = _align(K, points, 2)
        z = points[..., 2]
        seen = z > 0
        # Division by 1 where nothing is seen: a NaN made by 0/0 would poison the gradients of all other points.
        safe = torch.where(seen, z, torch.ones_like(z))
        x, y = points[..., 0] / safe, points[..., 1] / safe
        pixels = torch.stack([K[..., 0, 0] * x + K[..., 0, 1] * y + K[..., 0, 2], K[..., 1, 1] * y + K[..., 1, 2]], -1)
        seen, distance = torch.broadcast_tensors(seen, _norm(points))
        return _nan_where(~seen.expand(pixels.shape[:-1]), pixels), distance.expand(pixels.shape[:-1])


@dataclass(frozen=True, eq=False)
class PanoramaCamera:
    """An equirectangular picture: all of the sphere, or the rows around its horizon.

    lon = ((i + 0.5) / W - 0.5) 2 pi and lat = (0.5 - (j + 0.5) / H) vertical_fov for the pixel in column i and row j:
    the middle of the picture looks along camera z, columns grow to the right, and the left and the right edge are the
    same meridian, behind the camera. With vertical_fov pi the upper edge is straight up.

    Attributes:
        width, height: pixels.
        vertical_fov: angle between the upper and the lower edge, radians, above 0 and at most pi.
    """

    width: int
    height: int
    vertical_fov: float = math.pi
    central: ClassVar[bool] = True

    def __post_init__(self):
        _check_size(self)
        object.__setattr__(self, "vertical_fov", float(self.vertical_fov))
        if not 0 < self.vertical_fov <= math.pi:
            raise InputError(f"an angle of {math.degrees(self.vertical_fov):g} degrees", where="vertical_fov",
                             mend="Give an angle above 0, at most 180 degrees; Python code gives it in radians")

    def pixel_centres(self, dtype: torch.dtype | None = None, device=None) -> Tensor:
        """[H, W, 2] (column + 0.5, row + 0.5), float64 unless told otherwise."""
        return pixel_centres(self.width, self.height, dtype or torch.float64, device)

    def rays(self, pixels) -> tuple[Tensor, Tensor]:
        """Origins [..., 3] (all zero) and unit directions [..., 3] of pixels [..., 2], camera frame."""
        pixels = as_tensor(pixels)
        lon = (pixels[..., 0] / self.width - 0.5) * (2 * math.pi)
        lat = (0.5 - pixels[..., 1] / self.height) * self.vertical_fov
        level = torch.cos(lat)
        directions = torch.stack([level * torch.sin(lon), -torch.sin(lat), level * torch.cos(lon)], dim=-1)
        return torch.zeros_like(directions), directions

    def project(self, points_cam) -> tuple[Tensor, Tensor]:
        """Pixels [..., 2] and distances [...] of camera-frame points [..., 3].

        Columns lie in [0, W): the seam belongs to the left edge. Rows beyond the picture are given as they are. At the
        poles every column is right; the middle one is given, without gradient for it. The camera centre gets NaN.
        """
        points = as_tensor(points_cam)
        x, y, z = points.unbind(dim=-1)
        pole = (x == 0) & (z == 0)
        # At the poles both atan2(0, 0) and the root have no gradient: go round them with constants.
        safe_z = torch.where(pole, torch.ones_like(z), z)
        lon = torch.atan2(x, safe_z)
        level = torch.where(pole, torch.zeros_like(z), torch.hypot(x, safe_z))
        lat = torch.atan2(-y, level)
        column = (lon / (2 * math.pi) + 0.5) * self.width
        column = torch.where(column >= self.width, column - self.width, column)
        pixels = torch.stack([column, (0.5 - lat / self.vertical_fov) * self.height], dim=-1)
        return _nan_where(pole & (y == 0), pixels), _norm(points)


@dataclass(frozen=True, eq=False)
class NadirCamera:
    """An orthographic picture along camera z; with `poses.nadir_pose` a map with north at the top.

    Attributes:
        gsd_m: ground sampling distance, metres a pixel.
        width, height: pixels. The camera centre is at pixel (W / 2, H / 2).
    """

    gsd_m: float
    width: int
    height: int
    central: ClassVar[bool] = False

    def __post_init__(self):
        _check_size(self)
        if not (math.isfinite(self.gsd_m) and self.gsd_m > 0):
            raise InputError(f"a ground sampling distance of {self.gsd_m} m", where="gsd_m",
                             mend="Give metres a pixel, above 0")

    def pixel_centres(self, dtype: torch.dtype | None = None, device=None) -> Tensor:
        """[H, W, 2] (column + 0.5, row + 0.5), float64 unless told otherwise."""
        return pixel_centres(self.width, self.height, dtype or torch.float64, device)

    def rays(self, pixels) -> tuple[Tensor, Tensor]:
        """Origins [..., 3] in the plane z = 0 and unit directions [..., 3] (all (0, 0, 1)) of pixels [..., 2]."""
        pixels = as_tensor(pixels)
        x = (pixels[..., 0] - self.width / 2) * self.gsd_m
        y = (pixels[..., 1] - self.height / 2) * self.gsd_m
        origins = torch.stack([x, y, torch.zeros_like(x)], dim=-1)
        return origins, torch.zeros_like(origins) + origins.new_tensor([0.0, 0.0, 1.0])

    def project(self, points_cam) -> tuple[Tensor, Tensor]:
        """Pixels [..., 2] and distances along the ray [...] of camera-frame points [..., 3].

        Points behind the picture plane (z < 0: above a camera that looks down) get NaN pixels and a negative distance.
        """
        points = as_tensor(points_cam)
        pixels = points[..., :2] / self.gsd_m + points.new_tensor([self.width / 2, self.height / 2])
        return _nan_where(points[..., 2] < 0, pixels), points[..., 2]


def world_rays(camera: Camera, world_to_cam, pixels=None) -> tuple[Tensor, Tensor]:
    """Rays in the world, ready to be cast into a scene.

    Args:
        camera: any camera.
        world_to_cam: [B..., 4, 4] pose or poses (B... may be empty).
        pixels: [B..., ..., 2], or None for all pixel centres.

    Returns:
        origins and unit directions, [B..., ..., 3] world metres; [B..., H, W, 3] without `pixels`. Both are views that
        may share memory (a pinhole has one origin): call .contiguous() before handing them to foreign code.
    """
    pose = as_tensor(world_to_cam)
    if pixels is None:
        centres = camera.pixel_centres(dtype=pose.dtype, device=pose.device)
        batch = max(pose.ndim - 2, _batch_dims(camera))
        pixels = centres.reshape(*[1] * batch, camera.height, camera.width, 2)
    origins, directions = camera.rays(pixels)
    origins, directions, pose = _same_precision(origins, directions, pose)
    cam_to_world = pose[..., :3, :3].transpose(-1, -2)
    directions = _rotate(cam_to_world, directions)
    centre = _align(-(cam_to_world @ pose[..., :3, 3:])[..., 0], directions, 1)
    origins = centre if camera.central else _rotate(cam_to_world, origins) + centre
    return torch.broadcast_tensors(origins, directions)


def project_points(camera: Camera, world_to_cam, points) -> tuple[Tensor, Tensor]:
    """World points [B..., ..., 3] to pixels [B..., ..., 2] and distances [B..., ...], for poses [B..., 4, 4].

    What "not seen" gives is the camera's business (NaN pixels); visibility behind other surfaces is not looked at.
    """
    points, pose = _same_precision(as_tensor(points), as_tensor(world_to_cam))
    return camera.project(_rotate(pose[..., :3, :3], points) + _align(pose[..., :3, 3], points, 1))


def distance_to_z_depth(camera: Camera, distance) -> Tensor:
    """Depth pictures [..., H, W] along the ray to depth along the camera axis; infinity stays infinite.

    For a panorama the result is negative behind the camera.
    """
    distance = as_tensor(distance)
    return torch.where(torch.isinf(distance), distance, distance * _axis_cosine(camera, distance))


def z_depth_to_distance(camera: Camera, z_depth) -> Tensor:
    """The inverse of `distance_to_z_depth`, [..., H, W] to [..., H, W]."""
    z_depth = as_tensor(z_depth)
    return torch.where(torch.isinf(z_depth), z_depth.abs(), z_depth / _axis_cosine(camera, z_depth))


def vertical_fov_to_horizontal(fov, width: int, height: int) -> Tensor:
    """The horizontal angle [...] of a picture with square pixels and this vertical angle [...], radians."""
    return 2 * torch.atan(torch.tan(as_tensor(fov) / 2) * (width / height))


def as_tensor(values) -> Tensor:
    """Tensors as they are, everything else (numpy arrays, lists, numbers) as a tensor; integers become float64."""
    if not isinstance(values, Tensor):
        values = np.asarray(values)
        # torch cannot mark a tensor read-only and warns when it would have to.
        values = torch.from_numpy(values if values.flags.writeable else values.copy())
    return values if values.is_floating_point() else values.to(torch.float64)


def _check_size(camera) -> None:
    for name in ("width", "height"):
        size = getattr(camera, name)
        if isinstance(size, bool) or int(size) != size or size < 1:
            raise InputError(f"a picture {name} of {size} pixels", where=type(camera).__name__,
                             mend="Width and height are whole numbers above 0")
        object.__setattr__(camera, name, int(size))


def pixel_centres(width: int, height: int, dtype: torch.dtype = torch.float64, device=None) -> Tensor:
    """[H, W, 2] (column + 0.5, row + 0.5) of a picture."""
    columns = torch.arange(width, dtype=dtype, device=device) + 0.5
    rows = torch.arange(height, dtype=dtype, device=device) + 0.5
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)


def _batch_dims(camera: Camera) -> int:
    return camera.K.ndim - 2 if isinstance(camera, PinholeCamera) else 0


def _same_precision(*tensors: Tensor) -> list[Tensor]:
    """All in the finest of their precisions: a float32 point seen by a float64 pose is computed in float64."""
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [tensor.to(dtype) for tensor in tensors]


def _align(matrix: Tensor, values: Tensor, own: int) -> Tensor:
    """Insert dimensions so that the batch of `matrix` (all but its last `own`) meets the first ones of `values`."""
    batch, leading = matrix.ndim - own, values.ndim - 1
    if batch > leading:
        raise InputError(f"{batch} batch dimensions of cameras meet values of shape {tuple(values.shape)}",
                         where="geometry.cameras", mend="Batches line up from the left: insert dimensions of size 1")
    return matrix.reshape(*matrix.shape[:batch], *[1] * (leading - batch), *matrix.shape[batch:])


def _rotate(rotation: Tensor, vectors: Tensor) -> Tensor:
    """R v for rotations [B..., 3, 3] and vectors [B..., ..., 3], one matrix product a batch (not one a ray)."""
    batch = rotation.ndim - 2
    if batch == 0:
        return vectors @ rotation.transpose(-1, -2)
    _align(rotation, vectors, 2)
    flat = vectors.reshape(*vectors.shape[:batch], -1, 3) @ rotation.transpose(-1, -2)
    return flat.reshape(*flat.shape[:batch], *vectors.shape[batch:])


def _norm(points: Tensor) -> Tensor:
    """Length [...] of [..., 3]; its gradient at zero is zero, not NaN."""
    return torch.linalg.vector_norm(points, dim=-1)


def _nan_where(mask: Tensor, pixels: Tensor) -> Tensor:
    return torch.where(mask[..., None], torch.full_like(pixels, math.nan), pixels)


def _axis_cosine(camera: Camera, like: Tensor) -> Tensor:
    """z of the unit ray of every pixel, [B..., H, W]."""
    centres = camera.pixel_centres(dtype=like.dtype, device=like.device)
    batch = _batch_dims(camera)
    return camera.rays(centres.reshape(*[1] * batch, *centres.shape))[1][..., 2].to(like.dtype)
