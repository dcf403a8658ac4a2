"""Pictures of a textured mesh: perspective, panorama and nadir from one function.

Embree says which face each ray meets, tables turn the face into colour, depth, normal and class. Labels and depth are
those of the ray through the pixel centre and never averages; colour is averaged over `supersample`^2 rays a pixel, each
with a mip level from its footprint. No display, no randomness: two runs give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from rsnb.errors import InputError
from rsnb.mesh.camera_rays import CameraRays, camera_rays, sample_offsets
from rsnb.mesh.scene import Hits, RayScene
from rsnb.mesh.shading import Sun, SurfacePoints, albedo, facing_normal, lit
from rsnb.mesh.sky import Sky, sky_colour

CHUNK = 1 << 17  # rays shaded together: their working set stays in the last-level cache
CENTRE = (0.5, 0.5)
Channel = Literal["rgb", "depth", "normal", "semantic", "instance", "opacity"]
ALL_CHANNELS: tuple[Channel, ...] = ("rgb", "depth", "normal", "semantic", "instance", "opacity")


@dataclass(frozen=True)
class RenderOptions:
    """How to make a picture.

    Attributes:
        supersample: colour rays a pixel and axis; 1, 2, 3 or 4 are useful (cost grows with the square).
        trilinear: blend two mip levels (no visible steps on the ground); False takes the nearest one.
        mip_bias: added to the mip level; negative is sharper and aliases more.
        sun: None = unlit, colour = texture (right for photogrammetry, whose textures hold light already).
        shadows: the sun casts shadows. shadow_rays: rays to the sun, more than 1 for soft edges.
        ambient_rays: rays that darken corners (ambient occlusion), 0 = none; needs a sun.
        ambient_distance: metres within which something darkens.
        sky: gradient, or a constant colour 0..1.
        haze_m: distance at which 63 % of a colour has become the horizon's, or None for clear air.
        channels: what to compute; `prim` always is.
        check_camera: refuse a camera inside a wall or below the ground.
        device: torch device that shades. Rays are cast on the CPU whatever it is.
        backend: "embree" casts rays; "egl" rasterises ids with OpenGL (perspective cameras only, see `raster`).
    """

    supersample: int = 1
    trilinear: bool = True
    mip_bias: float = -0.25
    sun: Sun | None = None
    shadows: bool = False
    shadow_rays: int = 1
    ambient_rays: int = 0
    ambient_distance: float = 25.0
    sky: Sky | tuple[float, float, float] = field(default_factory=Sky)
    haze_m: float | None = None
    channels: tuple[Channel, ...] = ALL_CHANNELS
    check_camera: bool = False
    device: str = "cpu"
    backend: Literal["embree", "egl"] = "embree"

    def __post_init__(self):
        for name, low, high in (("supersample", 1, 16), ("shadow_rays", 1, 1024), ("ambient_rays", 0, 4096)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise InputError(f"{name} is {value!r}, expected a whole number {low}..{high}", where="RenderOptions")
        unknown = set(self.channels) - set(ALL_CHANNELS)
        if unknown:
            raise InputError(f"unknown channels {sorted(unknown)}", where="RenderOptions",
                             mend=f"Choose from {', '.join(ALL_CHANNELS)}")
        if self.haze_m is not None and not self.haze_m > 0:
            raise InputError(f"haze_m is {self.haze_m}", where="RenderOptions", mend="Give metres above 0, or None")
        if self.backend not in ("embree", "egl"):
            raise InputError(f"backend is {self.backend!r}", where="RenderOptions", mend="Choose 'embree' or 'egl'")


@dataclass(frozen=True)
class Rendering:
    """One picture and what is behind each pixel. Channels that were not asked for are None.

    Attributes:
        rgb: [3, H, W] float32, 0..1.
        depth: [H, W] float32, metres along the ray (inf = sky).
        normal: [3, H, W] float32, world axes, towards the viewer (0 = sky).
        semantic, instance: [H, W] int32 of the face at the pixel centre (0 = sky or unclassified).
        prim: [H, W] int32 face index (-1 = sky).
        opacity: [H, W] float32, share of the pixel's colour rays that hit something.
        camera, world_to_cam: where it was taken.
    """

    rgb: np.ndarray | None
    depth: np.ndarray | None
    normal: np.ndarray | None
    semantic: np.ndarray | None
    instance: np.ndarray | None
    prim: np.ndarray
    opacity: np.ndarray | None
    camera: object
    world_to_cam: np.ndarray

    @property
    def z_depth(self) -> np.ndarray:
        """[H, W] float32: distance along the optical axis, metres (inf = sky)."""
        from rsnb.geometry.cameras import distance_to_z_depth

        hit = np.isfinite(self.depth)
        z = np.asarray(distance_to_z_depth(self.camera, np.where(hit, self.depth, 1.0)), np.float32)
        return np.where(hit, z, np.float32(np.inf))


def render(scene: RayScene, camera, world_to_cam: np.ndarray, options: RenderOptions = RenderOptions()) -> Rendering:
    """One picture.

    Args:
        scene: what to look at.
        camera: PinholeCamera, PanoramaCamera or NadirCamera (anything with width, height and rays(pixels)).
        world_to_cam: [4, 4] float64, OpenCV axes, model metres.

    Raises:
        InputError: the pose is not a rigid motion, or (`check_camera`) the camera stands inside something.
    """
    pose = checked_pose(world_to_cam)
    if options.check_camera:
        refuse_buried_camera(scene, camera, pose)
    frame = Frame(scene, camera, pose, options)
    offsets = sample_offsets(options.supersample)
    wants_colour = "rgb" in options.channels or "opacity" in options.channels
    frame.shoot(CENTRE, labels=True, colour=wants_colour and CENTRE in offsets, weight=1 / len(offsets))
    for offset in offsets if wants_colour else []:
        if offset != CENTRE:
            frame.shoot(offset, labels=False, colour=True, weight=1 / len(offsets))
    return frame.rendering()


def checked_pose(world_to_cam) -> np.ndarray:
    """[4, 4] float64, or an InputError that says what is wrong with it."""
    pose = np.asarray(world_to_cam, np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise InputError(f"the pose has shape {pose.shape} or numbers that are not finite", where="world_to_cam",
                         mend="Give one [4, 4] matrix; render_batch takes several")
    turn = pose[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-4 or np.linalg.det(turn) < 0:
        raise InputError(f"the pose {np.round(turn, 4).tolist()} is no rotation", where="world_to_cam",
                         mend="Its upper left 3 x 3 must be orthonormal with determinant +1")
    return pose


def refuse_buried_camera(scene: RayScene, camera, pose: np.ndarray) -> None:
    """InputError where the camera centre of `pose` is inside something. Nadir cameras stand above everything."""
    centre = -pose[:3, :3].T @ pose[:3, 3]
    if not hasattr(camera, "gsd_m") and scene.is_inside(centre):
        place = ", ".join(f"{value:.2f}" for value in centre)
        raise InputError(f"the camera at ({place}) stands inside a wall or below the ground", where=scene.mesh.name,
                         mend="Move it into the open, raise it, or check the georeference and the camera height")


class Frame:
    """One picture in the making: rays of a camera turned into the world, results gathered pixel by pixel."""

    def __init__(self, scene: RayScene, camera, pose: np.ndarray, options: RenderOptions):
        self.scene, self.camera, self.pose, self.options = scene, camera, pose, options
        self.tables = scene.tensors(options.device)
        self.turn = pose[:3, :3].astype(np.float32)  # row vectors: direction in the world = direction @ turn
        self.eye = (-pose[:3, :3].T @ pose[:3, 3] - scene.centre).astype(np.float32)
        # A supersampled pixel is covered by several rays; each stands for its part.
        self.bias = options.mip_bias - np.log2(options.supersample)
        n = camera.width * camera.height
        wanted = set(options.channels)
        self.prim = np.empty(n, np.int32)
        self.depth = np.empty(n, np.float32) if "depth" in wanted else None
        self.normal = np.zeros((3, n), np.float32) if "normal" in wanted else None
        self.semantic = np.zeros(n, np.int32) if "semantic" in wanted else None
        self.instance = np.zeros(n, np.int32) if "instance" in wanted else None
        self.opacity = np.zeros(n, np.float32) if "opacity" in wanted else None
        self.rgb = np.zeros((3, n), np.float32) if "rgb" in wanted else None

    def shoot(self, offset: tuple[float, float], labels: bool, colour: bool, weight: float) -> None:
        """Cast one ray a pixel. `labels`: keep what it hits; `colour`: add `weight` times what it sees."""
        rays = camera_rays(self.camera, offset)
        for first in range(0, len(rays.directions), CHUNK):
            part = slice(first, first + CHUNK)
            directions, origins = self._world(rays, part)
            hits = self.scene.cast_local(origins, directions)
            index = np.flatnonzero(hits.prim >= 0)
            if labels:
                self._keep(part, hits, directions, index)
            if colour and self.opacity is not None:
                self.opacity[part] += np.float32(weight) * (hits.prim >= 0)
            if colour and self.rgb is not None:
                seen = self._colours(rays, part, origins, directions, hits, index, offset)
                self.rgb[:, part] += weight * seen.T.cpu().numpy()

    def rendering(self) -> Rendering:
        """The finished picture."""
        shape = (self.camera.height, self.camera.width)

        def image(array):
            return None if array is None else array.reshape(*array.shape[:-1], *shape)

        rgb = None if self.rgb is None else np.clip(self.rgb, 0.0, 1.0, out=self.rgb)
        return Rendering(image(rgb), image(self.depth), image(self.normal), image(self.semantic), image(self.instance),
                         image(self.prim), image(self.opacity), self.camera, self.pose)

    def _world(self, rays: CameraRays, part: slice) -> tuple[np.ndarray, np.ndarray]:
        directions = rotate(rays.directions[part], self.turn)
        if rays.origins is None:
            return directions, self.eye[None]
        return directions, rotate(rays.origins[part], self.turn) + self.eye

    def _keep(self, part: slice, hits: Hits, directions: np.ndarray, index: np.ndarray) -> None:
        self.prim[part] = hits.prim
        prim = hits.prim[index]
        if self.depth is not None:
            self.depth[part] = hits.distance
        if self.semantic is not None:
            self.semantic[part][index] = self.scene.semantic[prim]
        if self.instance is not None:
            self.instance[part][index] = self.scene.instance[prim]
        if self.normal is not None:
            normal, _ = facing_normal(self.tables, self._put(prim).long(), self._put(directions[index]))
            self.normal[:, index + part.start] = normal.T.cpu().numpy()

    def _colours(self, rays, part, origins, directions, hits, index, offset) -> torch.Tensor:
        options = self.options
        toward = self._put(directions)
        to_sun = None if options.sun is None else self._put(options.sun.direction.astype(np.float32))
        out = sky_colour(options.sky, toward, to_sun)
        if len(index) == 0:
            return out
        distance = hits.distance[index]
        start = origins if len(origins) == 1 else origins[index]
        points = SurfacePoints(
            prim=self._put(hits.prim[index]).long(), u=self._put(hits.u[index]), v=self._put(hits.v[index]),
            distance=self._put(distance), position=self._put(start + distance[:, None] * directions[index]),
            direction=self._put(directions[index]),
            width=self._put(rays.width_at_0[part][index] + rays.width_per_m[part][index] * distance),
            turn=self._put(pixel_turn(index + part.start, self.camera.width, offset)),
        )
        normal, cosine = facing_normal(self.tables, points.prim, points.direction)
        colour = albedo(self.tables, points, cosine, self.bias, options.trilinear)
        if options.sun is not None:
            colour = lit(self.scene, points, colour, normal, options.sun,
                         shadow_rays=options.shadow_rays if options.shadows else 0,
                         ambient_rays=options.ambient_rays, ambient_distance=options.ambient_distance)
        if options.haze_m is not None:
            air = torch.exp(points.distance * (-1.0 / options.haze_m))[:, None]
            horizon = self._put(np.asarray(getattr(options.sky, "horizon", options.sky), np.float32))
            colour = horizon + (colour - horizon) * air
        out[self._put(index)] = colour
        return out

    def _put(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.options.device)


def rotate(vectors: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Row vectors [N, 3] times [3, 3], float32, the same bits for every split into chunks (a BLAS product is not)."""
    x, y, z = vectors.T
    return np.stack([x * turn[0, k] + y * turn[1, k] + z * turn[2, k] for k in range(3)], axis=1)


def pixel_turn(index: np.ndarray, width: int, offset: tuple[float, float]) -> np.ndarray:
    """A number 0..1 for each pixel, unlike its neighbours' (interleaved gradient noise, Jimenez, SIGGRAPH 2014)."""
    x, y = index % width + offset[0], index // width + offset[1]
    return np.modf(52.9829189 * np.modf(0.06711056 * x + 0.00583715 * y)[0])[0].astype(np.float32)
