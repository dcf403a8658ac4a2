"""Colour of surface points in torch: texture, sun, sky light, shadows, haze. The reference for every faster backend.

Photogrammetric textures already hold light, so unlit (colour = texture) is the default. Where a sun is given the light
is Lambert's cosine for the sun plus a hemispherical sky (blueish from above, brownish from the ground), computed in
linear light with a display gamma of 2.2: colour = shoulder(texture * light ** (1 / 2.2)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from rsnb.errors import InputError
from rsnb.mesh.scene import RayScene, SceneTensors
from rsnb.mesh.textures import sample

GAMMA = 2.2
KNEE = 0.8  # brightness above which lit colours bend towards 1 instead of clipping
LEAF_LIGHT, LEAF_CONTRAST = 0.6, 0.45  # sunlight on foliage: mean, and how much it still depends on the side
LEAF_DEPTH_M = 2.0  # leaves this near do not shade each other
MIN_COSINE = 0.05  # a surface seen more edge-on than this is filtered no stronger


@dataclass(frozen=True)
class Sun:
    """The sun as a directional light.

    Attributes:
        azimuth: bearing the sun stands at, radians, 0 = north, clockwise positive.
        elevation: above the horizon, radians; below it there is no direct light.
        colour, intensity: linear light on a surface that faces the sun.
        radius: angular radius, radians, for soft shadows (the true sun has 0.00465); needs `shadow_rays` > 1.
        sky, ground: linear light from above and from below (hemispherical ambient).
        foliage: semantic ids lit softly, as leaves are that let light through: their facets hardly show.
    """

    azimuth: float
    elevation: float
    colour: tuple[float, float, float] = (1.0, 0.95, 0.86)
    intensity: float = 1.35
    radius: float = 0.00465
    sky: tuple[float, float, float] = (0.27, 0.31, 0.38)
    ground: tuple[float, float, float] = (0.19, 0.18, 0.17)
    foliage: tuple[int, ...] = ()

    def __post_init__(self):
        if not -np.pi / 2 <= self.elevation <= np.pi / 2:
            raise InputError(f"the sun's elevation is {self.elevation}", where="Sun",
                             mend="Give radians between -pi/2 and pi/2 (np.deg2rad(35) is a good afternoon)")

    @property
    def direction(self) -> np.ndarray:
        """[3] float64 unit vector towards the sun, world axes."""
        flat = np.cos(self.elevation)
        return np.array([np.sin(self.azimuth) * flat, np.cos(self.azimuth) * flat, np.sin(self.elevation)])


@dataclass(frozen=True)
class SurfacePoints:
    """Hit surface points of a bundle of rays, [N] each unless said otherwise, float32 on one device.

    Attributes:
        prim: int64 face. u, v: barycentric weights. distance: metres.
        position: [N, 3] relative to the scene's centre. direction: [N, 3] of the ray.
        width: metres that a pixel covers there, across the ray.
        turn: 0..1, a number of the pixel, and stagger: 0..1, one of the pass; they move the samples of shadow and sky.
    """

    prim: torch.Tensor
    u: torch.Tensor | None
    v: torch.Tensor
    distance: torch.Tensor
    position: torch.Tensor
    direction: torch.Tensor
    width: torch.Tensor
    turn: torch.Tensor
    stagger: float


def facing_normal(tables: SceneTensors, prim: torch.Tensor, direction: torch.Tensor):
    """Face normal turned towards the viewer [N, 3], and the cosine of the viewing angle [N], 0..1."""
    normal = tables.normal[prim]
    cosine = (normal * direction).sum(1)
    return torch.where(cosine[:, None] > 0, -normal, normal), cosine.abs()


def mip_level(tables: SceneTensors, prim: torch.Tensor, width: torch.Tensor, cosine: torch.Tensor, bias: float):
    """log2 of level-0 texels under a pixel: the square root of its area on the face, so tilted faces blur a little
    across and alias a little along (isotropic filtering)."""
    footprint = width.clamp(min=1e-9).log2() - 0.5 * cosine.clamp(min=MIN_COSINE).log2()
    return tables.texel_level[prim] + footprint + bias


def albedo(tables: SceneTensors, points: SurfacePoints, cosine: torch.Tensor, bias: float, trilinear: bool):
    """[N, 3] float32: texture times material colour times interpolated vertex colour."""
    uv = interpolate(tables.uv[points.prim], points.u, points.v)
    level = mip_level(tables, points.prim, points.width, cosine, bias)
    colour = sample(tables.textures, tables.material[points.prim], uv, level, trilinear)
    if tables.corner_rgb is not None:
        colour = colour * interpolate(tables.corner_rgb[points.prim], points.u, points.v)
    return colour


def interpolate(corners: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Barycentric mean of corner values [N, 3, C] with weights 1 - u - v, u, v -> [N, C]."""
    first, second, third = corners.unbind(1)
    return first + u[:, None] * (second - first) + v[:, None] * (third - first)


@dataclass(frozen=True)
class LightRays:
    """Rays that test what light reaches a point.

    Attributes:
        shadow: rays to the sun; 0 = no cast shadows, 1 = hard, more = soft by `Sun.radius`.
        ambient: rays that test how much sky light reaches a point; 0 = all of it does.
        ambient_distance: metres beyond which a blocker of sky light does not count.
    """

    shadow: int = 0
    ambient: int = 0
    ambient_distance: float = 25.0


def lit(scene: RayScene, tables: SceneTensors, points: SurfacePoints, colour: torch.Tensor, normal: torch.Tensor,
        sun: Sun, rays: LightRays) -> torch.Tensor:
    """Colour [N, 3] under sun and sky.

    Args:
        scene: casts the rays (on the CPU). tables: of the scene, on the device of all else.
        colour: [N, 3] albedo as stored (display gamma).
        normal: [N, 3], towards the viewer.
        rays: how light is tested for what is in its way.
    """
    def row(values):
        return torch.as_tensor(np.asarray(values, np.float32)).to(colour)

    direct = torch.zeros_like(points.distance)
    # The start leaves the surface by more than its own rounding: that grows with the distance of the eye.
    start = points.position + normal * (2e-3 + 1e-4 * points.distance)[:, None]
    lamp = start
    if sun.elevation > 0:
        direct = (normal * row(sun.direction)).sum(1)
        if sun.foliage:
            classes = torch.tensor(sun.foliage, dtype=torch.int32, device=direct.device)
            leaf = torch.isin(tables.semantic[points.prim], classes)
            direct = torch.where(leaf, LEAF_LIGHT * (1.0 + LEAF_CONTRAST * direct), direct)
            lamp = start + leaf[:, None] * (LEAF_DEPTH_M * row(sun.direction))
        direct = direct.clamp(min=0.0)
    if rays.shadow > 0 and sun.elevation > 0:
        direct = direct * _sun_seen(scene, lamp, direct > 0, points, sun, rays.shadow)
    upward = 0.5 + 0.5 * normal[:, 2:3]
    ambient = row(sun.ground) + (row(sun.sky) - row(sun.ground)) * upward
    if rays.ambient > 0:
        ambient = ambient * _openness(scene, start, normal, points, rays.ambient, rays.ambient_distance)[:, None]
    light = ambient + row(sun.colour) * sun.intensity * direct[:, None]
    return shoulder(colour * light.pow(1.0 / GAMMA))


def shoulder(colour: torch.Tensor) -> torch.Tensor:
    """Leave 0..0.8 alone and bend what is brighter towards 1, so that bright walls keep their windows."""
    room = 1.0 - KNEE
    return torch.where(colour <= KNEE, colour, KNEE + room * torch.tanh((colour - KNEE) / room))


def _sun_seen(scene: RayScene, start: torch.Tensor, wanted: torch.Tensor, points: SurfacePoints, sun: Sun, count: int):
    axis = sun.direction
    first = np.cross(axis, [0.0, 0.0, 1.0] if abs(axis[2]) < 0.9 else [1.0, 0.0, 0.0])
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    index = torch.nonzero(wanted).squeeze(1)
    origin, angle = start[index], 2 * np.pi * points.turn[index]
    seen = torch.zeros(len(index), dtype=start.dtype, device=start.device)
    basis = [torch.as_tensor(a.astype(np.float32)).to(start) for a in (axis, first, second)]
    for k in range(count):
        radius = 0.0 if count == 1 else np.tan(sun.radius) * np.sqrt((k + points.stagger) / count)
        phase = angle + k * GOLDEN_ANGLE
        direction = basis[0] + radius * (phase.cos()[:, None] * basis[1] + phase.sin()[:, None] * basis[2])
        seen += ~_blocked(scene, origin, direction / direction.norm(dim=1, keepdim=True), np.inf)
    share = torch.ones_like(points.turn)
    share[index] = seen / count
    return share


GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


def _openness(scene: RayScene, start: torch.Tensor, normal: torch.Tensor, points: SurfacePoints, count: int, reach):
    """Cosine-weighted share [N] of the hemisphere that is free within `reach` metres (Vogel spiral)."""
    # Duff et al., "Building an orthonormal basis, revisited", JCGT 2017.
    x, y, z = normal.unbind(1)
    sign = torch.where(z >= 0, 1.0, -1.0)
    a = -1.0 / (sign + z)
    b = x * y * a
    first = torch.stack([1.0 + sign * x * x * a, sign * b, -sign * x], 1)
    second = torch.stack([b, sign + y * y * a, -y], 1)
    free = torch.zeros_like(points.turn)
    for k in range(count):
        radius = np.sqrt((k + points.stagger) / count)
        phase = 2 * np.pi * points.turn + k * GOLDEN_ANGLE
        direction = (radius * phase.cos())[:, None] * first + (radius * phase.sin())[:, None] * second
        direction = direction + np.sqrt(1.0 - radius**2) * normal
        free += ~_blocked(scene, start, direction, reach)
    return free / count


def _blocked(scene: RayScene, origin: torch.Tensor, direction: torch.Tensor, reach: float) -> torch.Tensor:
    limit = np.full(len(origin), reach, np.float32)
    blocked = scene.occluded_local(origin.cpu().numpy(), np.ascontiguousarray(direction.cpu().numpy()), limit)
    return torch.from_numpy(blocked).to(origin.device)
