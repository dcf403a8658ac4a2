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
from rsnb.geometry.poses import camera_centre
from rsnb.mesh.camera_rays import CENTRE, PixelRun, RayBundle, sample_offsets
from rsnb.mesh.packets import run_in_parts
from rsnb.mesh.passes import CHUNK, DEVICE_CHUNK, Pass
from rsnb.mesh.scene import RayScene
from rsnb.mesh.shading import Sun
from rsnb.mesh.sky import Sky

Channel = Literal["rgb", "depth", "normal", "semantic", "instance", "opacity"]
ALL_CHANNELS: tuple[Channel, ...] = ("rgb", "depth", "normal", "semantic", "instance", "opacity")


@dataclass(frozen=True)
class RenderOptions:
    """How to make a picture.

    Attributes:
        supersample: colour rays a pixel and axis; 1, 2, 3 or 4 are useful (cost grows with the square).
        trilinear: blend two mip levels (no visible steps on the ground); False takes the nearest one.
        mip_bias: added to the mip level; negative is sharper and aliases more. -0.5 is nearest to 144 rays a pixel in
            street, panorama and nadir views of the city, for 1 to 9 rays a pixel.
        sun: None = unlit, colour = texture (right for photogrammetry, whose textures hold light already).
        shadows: the sun casts shadows. shadow_rays: rays to the sun, more than 1 for soft edges.
        ambient_rays: rays that darken corners (ambient occlusion), 0 = none; needs a sun.
        ambient_distance: metres within which something darkens.
        sky: gradient, or a constant colour 0..1.
        haze_m: distance at which 63 % of a colour has become the horizon's, or None for clear air.
        channels: what to compute; `prim` always is.
        check_camera: refuse a camera inside a wall or below the ground.
        device: torch device that shades. Rays are cast on the CPU whatever it is.
        kernels: "auto" fuses casting and texturing in compiled loops where it can (CPU, numba installed); "torch" is
            their reference: the same picture to 1e-5, slower.
        backend: "embree" casts rays; "egl" rasterises ids with OpenGL (perspective cameras only, see `raster`).
    """

    supersample: int = 1
    trilinear: bool = True
    mip_bias: float = -0.5
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
    kernels: Literal["auto", "torch"] = "auto"
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
        for name, choices in (("backend", ("embree", "egl")), ("kernels", ("auto", "torch"))):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is {getattr(self, name)!r}", where="RenderOptions",
                                 mend=f"Choose from {', '.join(choices)}")


UNLIT = RenderOptions()
LARGE_PIXELS = 1 << 23  # pictures with more are made piece by piece, whose rays are not kept
PIECE_PIXELS = 1 << 21  # whole chunks of rays, so that the pieces change nothing


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


def render(scene: RayScene, camera, world_to_cam: np.ndarray, options: RenderOptions = UNLIT) -> Rendering:
    """One picture. Large ones are made in pieces, so that memory holds little more than the picture itself.

    Args:
        scene: what to look at.
        camera: PinholeCamera, PanoramaCamera or NadirCamera (anything with width, height and rays(pixels)).
        world_to_cam: [4, 4] float64, OpenCV axes, model metres.

    Raises:
        InputError: the pose is not a rigid motion, or (`check_camera`) the camera stands inside something.
    """
    pose = checked_pose(world_to_cam)
    if getattr(camera, "K", None) is not None and camera.K.ndim != 2:
        raise InputError(f"the camera holds K of shape {tuple(camera.K.shape)}", where="render",
                         mend="Give one camera with K [3, 3]; render_batch takes a list of cameras")
    if options.check_camera:
        refuse_buried_camera(scene, camera, pose)
    count = camera.width * camera.height
    if count <= LARGE_PIXELS or isinstance(camera, RayBundle) or options.backend != "embree":
        return _draw(scene, camera, pose, options)
    whole: dict[str, np.ndarray] = {}
    for first in range(0, count, PIECE_PIXELS):
        run = PixelRun(camera, first, min(first + PIECE_PIXELS, count))
        piece = _draw(scene, run, pose, options)
        for name in {"prim", *options.channels}:
            part = getattr(piece, name)[..., 0, :]
            whole.setdefault(name, np.empty((*part.shape[:-1], count), part.dtype))[..., run.first : run.last] = part
    images = {name: array.reshape(*array.shape[:-1], camera.height, camera.width) for name, array in whole.items()}
    return Rendering(*(images.get(name) for name in (*ALL_CHANNELS[:5], "prim", "opacity")), camera, pose)


def _draw(scene: RayScene, camera, pose: np.ndarray, options: RenderOptions) -> Rendering:
    """The rays of every pixel of a camera or `PixelRun`, one pass for each of the supersampled points."""
    frame = Frame(scene, camera, pose, options)
    offsets = sample_offsets(options.supersample)
    wants_colour = "rgb" in options.channels or "opacity" in options.channels
    frame.shoot(CENTRE, labels=True, colour=wants_colour and CENTRE in offsets, weight=1 / len(offsets))
    for number, offset in enumerate(offsets if wants_colour else [], start=1):
        if offset != CENTRE:
            frame.shoot(offset, labels=False, colour=True, weight=1 / len(offsets), number=number)
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
    centre = camera_centre(pose)
    if not hasattr(camera, "gsd_m") and scene.is_inside(centre):
        place = ", ".join(f"{value:.2f}" for value in centre)
        raise InputError(f"the camera at ({place}) stands inside a wall or below the ground", where=scene.mesh.name,
                         mend="Move it into the open, raise it, or check the georeference and the camera height")


class Frame:
    """One picture in the making: rays of a camera turned into the world, results gathered pixel by pixel."""

    def __init__(self, scene: RayScene, camera, pose: np.ndarray, options: RenderOptions):
        self.scene, self.camera, self.pose, self.options = scene, camera, pose, options
        run = camera if isinstance(camera, PixelRun) else PixelRun(camera, 0, camera.width * camera.height)
        self.first, self.columns = run.first, run.camera.width  # where in the picture its pixels lie
        self.turn = pose[:3, :3].astype(np.float32)  # row vectors: direction in the world = direction @ turn
        self.eye = (camera_centre(pose) - scene.centre).astype(np.float32)
        # A supersampled pixel is covered by several rays; each stands for its part.
        self.bias = options.mip_bias - np.log2(options.supersample)
        n, wanted = camera.width * camera.height, set(options.channels)
        self.prim = np.empty(n, np.int32)
        self.depth = np.empty(n, np.float32) if "depth" in wanted else None
        self.normal = np.zeros((3, n), np.float32) if "normal" in wanted else None
        self.semantic = np.zeros(n, np.int32) if "semantic" in wanted else None
        self.instance = np.zeros(n, np.int32) if "instance" in wanted else None
        self.opacity = np.zeros(n, np.float32) if "opacity" in wanted else None
        self.rgb = np.zeros((3, n), np.float32) if "rgb" in wanted else None

    def shoot(self, offset: tuple[float, float], labels: bool, colour: bool, weight: float, number: int = 0) -> None:
        """Cast one ray a pixel. `labels`: keep what it hits; `colour`: add `weight` times what it sees."""
        one = Pass(self, offset, labels, colour, weight, number)
        if one.fused and not one.relit:
            run_in_parts(one.run_fused, len(self.prim), torch.get_num_threads())
            return
        chunk = CHUNK if self.options.device == "cpu" else DEVICE_CHUNK
        run_in_parts(lambda first, last: one.run(slice(first, last)), len(self.prim), torch.get_num_threads(), chunk)

    def rendering(self) -> Rendering:
        """The finished picture."""
        shape = (self.camera.height, self.camera.width)

        def image(array):
            return None if array is None else array.reshape(*array.shape[:-1], *shape)

        rgb = None if self.rgb is None else np.clip(self.rgb, 0.0, 1.0, out=self.rgb)
        return Rendering(image(rgb), image(self.depth), image(self.normal), image(self.semantic), image(self.instance),
                         image(self.prim), image(self.opacity), self.camera, self.pose)
