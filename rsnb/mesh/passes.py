"""One ray a pixel over a picture: cast, keep labels, add colour. Compiled loops where they can be had, else torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from rsnb.mesh.camera_rays import camera_rays
from rsnb.mesh.packets import plain, run_in_parts
from rsnb.mesh.scene import Hits, RayScene
from rsnb.mesh.shading import MIN_COSINE, LightRays, SurfacePoints, albedo, facing_normal, lit
from rsnb.mesh.sky import Sky, sky_colour

if TYPE_CHECKING:
    from rsnb.mesh.renderer import Frame

# Rays shaded together. Few enough that torch never splits an operation over its own threads (it does from 32768 numbers
# on): where it splits, the last bit of exp and pow changes, and one thread would not give the same picture as two.
CHUNK = 1 << 13
DEVICE_CHUNK = 1 << 20


class Pass:
    """The rays through one point of every pixel of a `Frame`.

    Args:
        frame: the picture; its arrays are written.
        offset: the point within the pixel, 0..1.
        labels: keep face, depth, normal and ids of what is hit.
        colour: add `weight` times the colour, and `weight` to the opacity where something is hit.
        number: of this pass among those of the picture, from 0.
    """

    def __init__(self, frame: Frame, offset: tuple[float, float], labels: bool, colour: bool,
                 weight: float, number: int = 0):
        self.frame, self.offset, self.labels, self.colour = frame, offset, labels, colour
        self.weight, self.number = np.float32(weight), number
        self.options, self.scene = frame.options, frame.scene
        self.rays = camera_rays(frame.camera, offset)
        self.relit = colour and (self.options.sun is not None or self.options.haze_m is not None)
        self.fused = (self.scene.tree is not None and self.options.kernels == "auto" and self.options.device == "cpu"
                      and self.options.backend == "embree")
        self.raster = None
        if self.options.backend == "egl":
            from rsnb.mesh.raster import rasterise

            self.raster = rasterise(self.scene, frame.camera, frame.pose, offset)

    def run(self, part: slice) -> None:
        """The pixels of one slice, in torch but for the cast."""
        directions, origins = self._world(part)
        base = None
        if self.fused:
            hits, base = self._fused_hits(part)
        elif self.raster is not None:
            hits = self.raster(part, origins, directions)
        else:
            hits = self.scene.cast_local(origins, directions)
        index = np.flatnonzero(hits.prim >= 0)
        if self.labels:
            self._keep(part, hits, directions, index)
        if self.colour and self.frame.opacity is not None:
            self.frame.opacity[part] += self.weight * (hits.prim >= 0)
        if self.colour and self.frame.rgb is not None:
            seen = self._colours(part, origins, directions, hits, index, base)
            self.frame.rgb[:, part] += self.weight * seen.T.cpu().numpy()

    def run_fused(self, first: int, last: int) -> None:
        """Pixels first..last in one compiled loop, for pictures without sun and haze."""
        frame = self.frame
        arrays = {"opacity": frame.opacity, "rgb": frame.rgb} if self.colour else {}
        if self.labels:
            arrays |= {name: getattr(frame, name) for name in ("prim", "depth", "normal", "semantic", "instance")}
        self._shoot(arrays, self.weight, 0, first, last)

    def _fused_hits(self, part: slice) -> tuple[Hits, np.ndarray]:
        n = part.stop - part.start
        arrays = {"prim": np.empty(n, np.int32), "depth": np.empty(n, np.float32)}
        if self.colour and self.frame.rgb is not None:
            arrays["rgb"] = np.zeros((3, n), np.float32)
        run_in_parts(lambda a, b: self._shoot(arrays, np.float32(1), part.start, part.start + a, part.start + b), n,
                     torch.get_num_threads())
        unused = np.empty(0, np.float32)
        return Hits(arrays["depth"], arrays["prim"], unused, unused), arrays.get("rgb")

    def _shoot(self, arrays: dict, weight: np.float32, shift: int, first: int, last: int) -> None:
        from rsnb.mesh import kernels

        faces, textures = kernel_tables(self.scene)
        frame, rays, options = self.frame, self.rays, self.options
        origins = np.empty((3, 0), np.float32) if rays.origins is None else rays.origins
        lens = kernels.Lens(rays.directions, origins, rays.width_at_0, rays.width_per_m, frame.turn, frame.eye)
        sky = options.sky if isinstance(options.sky, Sky) else Sky(*[options.sky] * 4, glow_strength=0.0)
        sun = options.sun
        look = kernels.Look(
            np.float32(frame.bias), options.trilinear, np.float32(MIN_COSINE),
            np.array([sky.zenith, sky.horizon, sky.ground, sky.glow], np.float32),
            np.float32(0.0 if sun is None else sky.glow_strength),
            np.zeros(3, np.float32) if sun is None else sun.direction.astype(np.float32))
        wanted = [_or_empty(arrays.get(name), name) for name in kernels.Target._fields[:7]]
        target = kernels.Target(*wanted, weight, shift)
        kernels.shoot(self.scene.tree.engine, faces, textures, lens, look, target, first, last)

    def _world(self, part: slice) -> tuple[np.ndarray, np.ndarray]:
        directions = rotate(self.rays.directions[:, part], self.frame.turn)
        if self.rays.origins is None:
            return directions, self.frame.eye[None]
        return directions, rotate(self.rays.origins[:, part], self.frame.turn) + self.frame.eye

    def _keep(self, part: slice, hits: Hits, directions: np.ndarray, index: np.ndarray) -> None:
        frame, prim = self.frame, hits.prim[index]
        frame.prim[part] = hits.prim
        if frame.depth is not None:
            frame.depth[part] = hits.distance
        if frame.semantic is not None:
            frame.semantic[part][index] = self.scene.semantic[prim]
        if frame.instance is not None:
            frame.instance[part][index] = self.scene.instance[prim]
        if frame.normal is not None:
            toward = self._put(directions[index])
            normal, _ = facing_normal(self.scene.tensors(self.options.device), self._put(prim).long(), toward)
            frame.normal[:, index + part.start] = normal.T.cpu().numpy()

    def _colours(self, part, origins, directions, hits, index, base) -> torch.Tensor:
        options = self.options
        if base is not None:
            out = torch.from_numpy(base).T
        else:
            to_sun = None if options.sun is None else self._put(options.sun.direction.astype(np.float32))
            out = sky_colour(options.sky, self._put(directions), to_sun)
        if len(index) == 0:
            return out
        tables, chosen = self.scene.tensors(options.device), self._put(index)
        points = self._points(part, origins, directions, hits, index)
        normal, cosine = facing_normal(tables, points.prim, points.direction)
        if base is not None:
            colour = out[chosen]
        else:
            colour = albedo(tables, points, cosine, self.frame.bias, options.trilinear)
        if options.sun is not None:
            rays = LightRays(options.shadow_rays if options.shadows else 0, options.ambient_rays,
                             options.ambient_distance)
            colour = lit(self.scene, tables, points, colour, normal, options.sun, rays)
        if options.haze_m is not None:
            air = torch.exp(points.distance * (-1.0 / options.haze_m))[:, None]
            horizon = self._put(np.asarray(getattr(options.sky, "horizon", options.sky), np.float32))
            colour = horizon + (colour - horizon) * air
        out[chosen] = colour
        return out

    def _points(self, part, origins, directions, hits, index) -> SurfacePoints:
        distance, toward = hits.distance[index], directions[index]
        start = origins if len(origins) == 1 else origins[index]
        known = len(hits.u) > 0
        return SurfacePoints(
            prim=self._put(hits.prim[index]).long(),
            u=self._put(hits.u[index]) if known else None, v=self._put(hits.v[index]) if known else None,
            distance=self._put(distance), position=self._put(start + distance[:, None] * toward),
            direction=self._put(toward),
            width=self._put(self.rays.width_at_0[part][index] + self.rays.width_per_m[part][index] * distance),
            turn=self._put(pixel_turn(index + part.start + self.frame.first, self.frame.columns, self.number)),
            stagger=(0.5 + self.number * 0.7548777) % 1.0)

    def _put(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.options.device)


def kernel_tables(scene: RayScene):
    """The scene's tables as the compiled loops take them; made once."""
    from rsnb.mesh.kernels import FaceTables, Textures

    if scene.kernel_tables is None:
        bank, mesh = scene.bank, scene.mesh
        n = len(mesh.faces)
        rgb = np.empty((0, 9), np.float32)
        if mesh.vertex_rgb is not None:
            rgb = (mesh.vertex_rgb[mesh.faces].reshape(n, 9).astype(np.float32)) / np.float32(255.0)
        uv = np.asarray(mesh.uv, np.float32).reshape(n, 6)
        tables = uv, scene.normal, scene.texel_level, scene.material, scene.semantic, scene.instance, rgb
        faces = FaceTables(*(plain(table) for table in tables))
        words = bank.texels.view(np.uint32).reshape(-1)
        textures = Textures(words, bank.offset, bank.width, bank.height, bank.last_level, bank.rgb)
        scene.kernel_tables = faces, textures
    return scene.kernel_tables


def _or_empty(array: np.ndarray | None, name: str) -> np.ndarray:
    if array is not None:
        return array
    if name in ("normal", "rgb"):
        return np.empty((3, 0), np.float32)
    return np.empty(0, np.int32 if name in ("prim", "semantic", "instance") else np.float32)


def rotate(planar: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Planar vectors [3, N] into the world, [N, 3] float32; the same bits for every split (a BLAS product is not)."""
    x, y, z = planar
    return np.stack([x * turn[0, k] + y * turn[1, k] + z * turn[2, k] for k in range(3)], axis=1)


def pixel_turn(index: np.ndarray, width: int, number: int) -> np.ndarray:
    """A number 0..1 for each pixel, unlike its neighbours' (interleaved gradient noise, Jimenez, SIGGRAPH 2014).

    The passes of one picture step by the golden ratio, so that their samples spread and do not repeat.
    """
    x, y = index % width + 0.5, index // width + 0.5
    noise = 52.9829189 * np.modf(0.06711056 * x + 0.00583715 * y)[0] + number * 0.6180340
    return np.modf(noise)[0].astype(np.float32)
