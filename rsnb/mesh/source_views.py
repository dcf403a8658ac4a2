"""Known pictures of a mesh, made ready to be asked what colour they saw at a surface point, and whether they saw it.

Each source picture is rendered once through the mesh: every pixel then knows its colour and its place in the world.
A surface point is looked up among the four pixels around its projection, and a pixel takes part only if the place it
saw lies on the point's own tangent plane. That is a depth test that needs no slope term on walls seen at a grazing
angle, and colours of whatever stands in front never bleed in at silhouettes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera, PinholeCamera
from rsnb.geometry.poses import camera_centre
from rsnb.mesh.camera_rays import camera_rays
from rsnb.mesh.renderer import RenderOptions, render
from rsnb.mesh.scene import RayScene
from rsnb.scenes import PosedImages

SKY_VIEWS = 25  # pictures that vote on the sky, many: most see a building where one sees a lamp
EDGE_CONFIDENCE = 0.05  # of a pixel on a silhouette: its colour is a mixture of front and back


@dataclass(frozen=True)
class Lookup:
    """What one source saw at N points.

    Attributes:
        rgb: [N, 3] its colours, 0 where it saw nothing.
        seen: [N] 0..1, share of the four pixels around that show the point, times their confidence.
        toward: [N, 3] unit vectors from the source to the points.
        distance: [N] metres to the source.
    """

    rgb: Tensor
    seen: Tensor
    toward: Tensor
    distance: Tensor


def source_camera(sources: PosedImages, index: int) -> PinholeCamera | PanoramaCamera:
    """The camera of one picture."""
    height, width = sources.images.shape[-2:]
    if sources.camera == "panorama":
        return PanoramaCamera(width, height)
    return PinholeCamera(torch.as_tensor(sources.K[index]), width, height)


class SourceViews:
    """Pictures with their surface points.

    Args:
        scene: the mesh that pictures are projected on.
        sources: the pictures; poses in the model coordinates of the mesh.
        depth_absolute_m, depth_relative: tolerance of the visibility test, metres and share of the distance.
        carry: "colour", or "residual": what the picture says beyond the mesh seen through the same pixels. Added to the
            mesh's colour in another view, it keeps detail that a far picture is too coarse to show.
        mesh_options: how the mesh is rendered for the residual.

    Attributes:
        centres: [N, 3] float32 camera centres relative to `scene.centre`.
        pixel_rad: [N] angle of a pixel in the middle of the picture, radians.

    Raises:
        InputError: there is no picture.
    """

    def __init__(self, scene: RayScene, sources: PosedImages, depth_absolute_m: float = 0.03,
                 depth_relative: float = 0.004, carry: Literal["colour", "residual"] = "colour",
                 mesh_options: RenderOptions | None = None):
        if len(sources) == 0:
            raise InputError("there is no source picture", where="SourceViews", mend="Give at least one street view")
        self.scene, self.sources = scene, sources
        self.depth_absolute_m, self.depth_relative = depth_absolute_m, depth_relative
        self.carry, self.mesh_options = carry, mesh_options or RenderOptions()
        self.height, self.width = sources.images.shape[-2:]
        self.wraps = sources.camera == "panorama"
        pose = sources.world_to_cam
        centres = camera_centre(pose) - scene.centre
        self.centres = torch.from_numpy(centres.astype(np.float32))
        self.rotations = torch.from_numpy(pose[:, :3, :3].astype(np.float32))
        self.cameras = [_single(source_camera(sources, i)) for i in range(len(sources))]
        self.pixel_rad = torch.tensor([float(np.median(camera_rays(c).width_per_m)) for c in self.cameras])
        self._rows: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.sources)

    def nearest(self, pose: np.ndarray, count: int) -> list[tuple[int, float]]:
        """The nearest sources and how much each counts: 1, fading to 0 where the next one would take its place."""
        centre = torch.from_numpy((camera_centre(pose) - self.scene.centre).astype(np.float32))
        distance = (self.centres - centre).norm(dim=1)
        order = torch.argsort(distance, stable=True)
        count = min(count, len(order))
        limit = float(distance[order[count]]) if count < len(order) else float("inf")
        return [(int(i), min(1.0, max(0.0, (limit - float(distance[i])) / (0.15 * limit + 1e-9)) + 1e-3))
                for i in order[:count]]

    def rows(self, index: int) -> Tensor:
        """[H * W, 8]: colour (residual on the mesh) 3, surface point 3 (inf = sky), confidence, distance; made once."""
        if index not in self._rows:
            self._rows[index] = self._make_rows(index)
        return self._rows[index]

    def _make_rows(self, index: int) -> Tensor:
        camera, pose = self.cameras[index], self.sources.world_to_cam[index]
        channels = ("depth", "rgb") if self.carry == "residual" else ("depth",)
        mesh = render(self.scene, camera, pose, replace(self.mesh_options, channels=channels))
        depth = mesh.depth
        _, directions, _, _ = local_rays(self.scene, camera, pose, (0.5, 0.5))
        with np.errstate(invalid="ignore"):
            points = self.centres[index].numpy() + directions * depth.reshape(-1, 1)
        points[~np.isfinite(depth.reshape(-1))] = np.inf
        rows = np.empty((depth.size, 8), np.float32)
        rows[:, :3] = self.sources.images[index].reshape(3, -1).T
        if self.carry == "residual":
            hit = np.isfinite(depth).reshape(-1)
            rows[hit, :3] -= mesh.rgb.reshape(3, -1).T[hit]
        rows[:, 3:6] = points
        rows[:, 6] = _confidence(depth, self.wraps).reshape(-1)
        rows[:, 7] = depth.reshape(-1)
        return torch.from_numpy(rows)

    def at_points(self, index: int, points: Tensor, normals: Tensor) -> Lookup:
        """Colours of surface points in one source.

        Args:
            index: which source.
            points: [N, 3] float32 relative to `scene.centre`.
            normals: [N, 3] unit vectors towards whoever asks; a source on the other side of a thin wall does not count.
        """
        away = points - self.centres[index]
        distance = away.norm(dim=1)
        toward = away / distance[:, None].clamp(min=1e-6)
        taps, share = self._taps(index, away)
        rows = self.rows(index)[taps]  # [N, 4, 8]
        off_plane = ((rows[..., 3:6] - points[:, None]) * normals[:, None]).sum(-1).abs()
        # half a source pixel of roughness is allowed: leaves and rubble have no tangent plane to speak of
        tolerance = self.depth_absolute_m + (self.depth_relative + 0.25 * self.pixel_rad[index]) * distance
        near = (rows[..., 7] - distance[:, None]).abs() < (0.5 * distance + 1.0)[:, None]
        same_side = (toward * normals).sum(1) < 0
        weight = share * ((off_plane < tolerance[:, None]) & near & same_side[:, None]) * rows[..., 6]
        return Lookup(*_blend_taps(rows[..., :3], weight), toward, distance)

    def at_directions(self, index: int, directions: Tensor) -> tuple[Tensor, Tensor]:
        """What one source shows in world directions [N, 3] where it sees the sky: colours [N, 3], share seen [N]."""
        taps, share = self._taps(index, directions)
        rows = self.rows(index)[taps]
        return _blend_taps(rows[..., :3], share * torch.isinf(rows[..., 7]) * rows[..., 6])

    def _taps(self, index: int, away: Tensor) -> tuple[Tensor, Tensor]:
        """Row indices [N, 4] of the four pixels around the projection of world vectors, and their shares [N, 4]."""
        pixels, _ = self.cameras[index].project(away @ self.rotations[index].T)
        x, y = pixels[:, 0] - 0.5, pixels[:, 1] - 0.5
        known = torch.isfinite(x) & torch.isfinite(y)
        if not self.wraps:
            known &= (x > -0.5) & (y > -0.5) & (x < self.width - 0.5) & (y < self.height - 0.5)
        x, y = torch.where(known, x, 0.0), torch.where(known, y, 0.0)
        x0, y0 = x.floor(), y.floor()
        fx, fy = x - x0, y - y0
        column, row = x0.long(), y0.long()
        right, below = column + 1, row + 1
        if self.wraps:
            column, right = column % self.width, right % self.width
        else:
            column, right = column.clamp(min=0), right.clamp(max=self.width - 1)
        row, below = row.clamp(min=0), below.clamp(max=self.height - 1)
        taps = torch.stack([row * self.width + column, row * self.width + right, below * self.width + column,
                            below * self.width + right], dim=1)
        share = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], dim=1)
        return taps, share * known[:, None]


def sky_from_views(views: SourceViews, directions: Tensor, near: list[tuple[int, float]]) -> tuple[Tensor, Tensor]:
    """Sky by direction: the median of the nearest pictures that see the sky there.

    The median, because a wire or a lamp that the mesh does not have crosses another part of the sky in each picture.

    Args:
        directions: [N, 3] unit, world.
        near: from `SourceViews.nearest`.

    Returns:
        colours [N, 3], and 1 where some picture sees the sky [N].
    """
    colours = []
    for index, _ in near:
        rgb, seen = views.at_directions(index, directions)
        colours.append(torch.where(seen[:, None] > 0.01, rgb, torch.nan))
    stack = torch.stack(colours)
    lower, upper = stack.nanmedian(0).values, -(-stack).nanmedian(0).values  # of an even number, torch takes one side
    seen = torch.isfinite(lower[:, 0])
    return torch.where(seen[:, None], (lower + upper) / 2, 0.0), seen.float()


def local_rays(scene: RayScene, camera, pose: np.ndarray, offset: tuple[float, float]):
    """World rays through one point of each pixel, in the scene's float32 frame.

    Returns:
        origins [1 or P, 3] relative to `scene.centre`, directions [P, 3], and the metres that a pixel covers across the
        ray at distance 0 [P] and more for every metre [P].
    """
    rays = camera_rays(camera, offset)
    turn = pose[:3, :3].astype(np.float32)
    eye = (camera_centre(pose) - scene.centre).astype(np.float32)
    directions = np.ascontiguousarray(rays.directions.T @ turn)
    origins = eye[None] if rays.origins is None else np.ascontiguousarray(rays.origins.T @ turn + eye)
    return origins, directions, rays.width_at_0, rays.width_per_m


def _blend_taps(rgb: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    seen = weight.sum(dim=1)
    return (rgb * weight[..., None]).sum(dim=1) / seen[:, None].clamp(min=1e-6), seen


def _single(camera):
    """The camera in float32: points are relative to the camera, so nothing is lost and half the time is won."""
    return replace(camera, K=camera.K.float()) if isinstance(camera, PinholeCamera) else camera


def _confidence(depth: np.ndarray, wraps: bool) -> np.ndarray:
    """[H, W]: 1 inside surfaces, `EDGE_CONFIDENCE` beside depth steps.

    Inverse depth is linear across a plane in a perspective picture, so its second difference tells a step from a slope.
    """
    inverse = torch.from_numpy(np.where(np.isfinite(depth), 1.0 / np.maximum(depth, 1e-3), 0.0))[None, None].float()
    padded = F.pad(inverse, (1, 1, 0, 0), mode="circular" if wraps else "replicate")
    padded = F.pad(padded, (0, 0, 1, 1), mode="replicate")
    middle = padded[..., 1:-1, 1:-1]
    bend = torch.maximum((padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2] - 2 * middle).abs(),
                         (padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1] - 2 * middle).abs())
    edge = bend > 0.06 * middle.clamp(min=1e-3)
    return np.where(edge[0, 0].numpy(), np.float32(EDGE_CONFIDENCE), np.float32(1.0))
