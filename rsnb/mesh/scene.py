"""A mesh made ready for rays: Embree's tree for visibility, flat tables for shading.

Embree computes in single precision. In full projected coordinates (25 490 000 m east) a float32 has steps of two
metres, so vertices are moved in float64 to the middle of the mesh before any cast, and rays are moved the same way.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rsnb.errors import InputError
from rsnb.mesh.packets import build_packet_tree
from rsnb.mesh.textures import TextureBank, TextureTensors, build_texture_bank
from rsnb.scenes import TexturedMesh


@dataclass(frozen=True)
class Hits:
    """First surface along rays, all arrays of the rays' leading shape.

    Attributes:
        distance: float32 metres along the unit ray, inf where nothing is hit.
        prim: int32 face index, -1 where nothing is hit.
        u, v: float32 barycentric weights of the face's second and third corner.
    """

    distance: np.ndarray
    prim: np.ndarray
    u: np.ndarray
    v: np.ndarray

    @property
    def hit(self) -> np.ndarray:
        """bool: something was hit."""
        return self.prim >= 0

    def reshaped(self, shape: tuple[int, ...]) -> Hits:
        """The same hits with another leading shape."""
        return Hits(*(array.reshape(shape) for array in (self.distance, self.prim, self.u, self.v)))


@dataclass(frozen=True)
class SceneTensors:
    """The tables that shading needs, on one torch device (corner arrays are [F, 3, ...])."""

    corners: torch.Tensor  # [F, 3, 3] float32, relative to the scene's centre
    uv: torch.Tensor  # [F, 3, 2] float32
    corner_rgb: torch.Tensor | None  # [F, 3, 3] float32 0..1
    normal: torch.Tensor  # [F, 3] float32, as wound
    material: torch.Tensor  # [F] int32
    semantic: torch.Tensor  # [F] int32
    instance: torch.Tensor  # [F] int32
    texel_level: torch.Tensor  # [F] float32, log2 of texels per metre
    textures: TextureTensors


@dataclass
class RayScene:
    """A mesh that can be asked what a ray hits. Built once (0.1 to 0.4 s for 250,000 faces), then only read.

    Args:
        mesh: what to look at.
        packets: cast 16 rays at a time where that can be had (see `packets`); False asks embreex ray by ray, slower and
            the reference.

    Attributes:
        centre: [3] float64, whole metres near the middle of the mesh; subtracted before float32.
        vertices: [V, 3] float32, relative to `centre`.
        normal: [F, 3] float32 unit normal as wound (0 for a face without area).
        texel_level: [F] float32, log2 of level-0 texels per metre on the face.
        bank: textures.

    It pickles as its mesh and is built again on the other side, so it travels to worker processes.
    """

    mesh: TexturedMesh
    packets: bool = True
    centre: np.ndarray = field(init=False)
    vertices: np.ndarray = field(init=False)
    normal: np.ndarray = field(init=False)
    texel_level: np.ndarray = field(init=False)
    bank: TextureBank = field(init=False)

    def __post_init__(self):
        mesh = self.mesh
        self.centre = np.round(mesh.bounds.mean(axis=0))
        local = mesh.vertices - self.centre
        self.vertices = np.ascontiguousarray(local, np.float32)
        self.faces = np.ascontiguousarray(mesh.faces, np.int32)
        self.bank = build_texture_bank(mesh.materials)
        corner = local[mesh.faces]
        cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        doubled_area = np.linalg.norm(cross, axis=1)
        self.normal = (cross / np.maximum(doubled_area, 1e-12)[:, None]).astype(np.float32)
        self.texel_level = _texel_level(mesh, self.bank, doubled_area)
        self.instance = np.zeros(len(mesh.faces), np.int32) if mesh.face_object is None else np.ascontiguousarray(
            mesh.face_object, np.int32)
        self.semantic = np.ascontiguousarray(mesh.face_class, np.int32)
        self.material = np.ascontiguousarray(mesh.face_material, np.int32)
        self.of_thread = threading.local()  # OpenGL's context, which serves one thread alone
        self.kernel_tables = None  # made by the first picture that compiled loops draw
        self._tensors: dict[str, SceneTensors] = {}
        self._build_tree()

    def _build_tree(self) -> None:
        self.tree = build_packet_tree(self.vertices, self.faces) if self.packets else None
        if self.tree is None:
            from embreex import rtcore_scene
            from embreex.mesh_construction import TriangleMesh

            self._embree = rtcore_scene.EmbreeScene(robust=True)
            self._embree_mesh = TriangleMesh(self._embree, self.vertices, self.faces)

    def __getstate__(self) -> dict[str, Any]:
        return {"mesh": self.mesh, "packets": self.packets}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.mesh, self.packets = state["mesh"], state["packets"]
        self.__post_init__()

    def cast(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """First hit of each ray, from either side of a face.

        Args:
            origins: [..., 3] model metres (float64 keeps large coordinates exact), or [3] for all.
            directions: [..., 3] unit vectors.
        """
        origins, directions, shape = _ray_arrays(origins, directions)
        local = (origins - self.centre).astype(np.float32)
        return self.cast_local(local, directions.astype(np.float32)).reshaped(shape)

    def cast_local(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """`cast` for rays that are float32 [N, 3] and relative to `centre` already (origins [1, 3] serve all rays)."""
        if self.tree is not None:
            return Hits(*self.tree.cast(origins, directions, torch.get_num_threads()))
        if len(origins) != len(directions):
            origins = np.broadcast_to(origins, directions.shape)
        out = self._embree.run(origins, directions, output=True)
        distance = out["tfar"]
        distance[out["primID"] < 0] = np.inf
        return Hits(distance, out["primID"], out["u"], out["v"])

    def occluded(self, origins: np.ndarray, directions: np.ndarray, max_distance: float | np.ndarray = np.inf):
        """bool [...]: whether anything lies on the ray nearer than `max_distance` metres (number or [...])."""
        origins, directions, shape = _ray_arrays(origins, directions)
        limit = np.broadcast_to(np.asarray(max_distance, np.float32), shape).reshape(-1)
        local = (origins - self.centre).astype(np.float32)
        return self.occluded_local(local, directions.astype(np.float32), limit).reshape(shape)

    def occluded_local(self, origins: np.ndarray, directions: np.ndarray, limit: np.ndarray) -> np.ndarray:
        """`occluded` for float32 [N, 3] rays relative to `centre` and limits [N]."""
        if self.tree is not None:
            return self.tree.occluded(origins, directions, limit, torch.get_num_threads())
        limit = np.minimum(limit, np.float32(1e37))
        return self._embree.run(origins, directions, dists=limit, query="OCCLUDED") >= 0

    def is_inside(self, point: np.ndarray) -> bool:
        """Whether a point [3] (model metres) lies inside a building, a wall or the ground, or touches a surface.

        Inside means all of this, or 5 cm around the point are full:

        - Of 64 rays upwards, more than 60 % cross an odd number of faces, and meet the back of the first one (or all
          meet fronts: a mesh wound the wrong way round).
        - Of 32 level rays the same holds (where the first meets backs, their number does not count: beyond a wall a ray
          may end in a hillside), or most of 32 rays downwards meet nothing at all, as below a ground without thickness.
          Under a canopy, a bridge or eaves neither does. Where a model has no ground, a roof of one sheet is one.
        """
        count = 64
        rise = np.sin(np.deg2rad(5.0)) + (np.arange(count) + 0.5) / count * (1 - np.sin(np.deg2rad(5.0)))
        turn = np.arange(count) * np.pi * (3 - np.sqrt(5))
        flat = np.sqrt(1 - rise**2)
        upward = np.stack([flat * np.cos(turn), flat * np.sin(turn), rise], axis=1).astype(np.float32)
        start = (np.asarray(point, np.float64) - self.centre).astype(np.float32)[None]
        around = self.cast_local(start, np.concatenate([upward[:32], -upward[:32]]))
        if (around.distance < 0.05).mean() > 0.5:
            return True
        odd, back = self._enclosure(start, upward)
        if odd <= 0.6 or 0.02 <= back <= 0.6:
            return False
        if (self.cast_local(start, -upward[32:]).prim < 0).mean() > 0.6:
            return True
        bearing = np.arange(32) * (2 * np.pi / 32)
        level = np.stack([np.sin(bearing), np.cos(bearing), np.zeros(32)], axis=1).astype(np.float32)
        odd, back = self._enclosure(start, level)
        return bool(back > 0.6 or (odd > 0.6 and back < 0.02))

    def _enclosure(self, start: np.ndarray, directions: np.ndarray) -> tuple[float, float]:
        """Shares of rays [N, 3] from one point [1, 3] that cross an odd number of faces, and that first meet a back."""
        start = np.repeat(start, len(directions), axis=0)
        crossings, back = np.zeros(len(directions), int), np.zeros(len(directions), bool)
        alive = np.arange(len(directions))
        for depth in range(64):
            hits = self.cast_local(start[alive], directions[alive])
            alive, distance, prim = alive[hits.hit], hits.distance[hits.hit], hits.prim[hits.hit]
            if depth == 0:
                back[alive] = (self.normal[prim] * directions[alive]).sum(1) > 0
            if len(alive) == 0:
                break
            crossings[alive] += 1
            start[alive] += (distance + 1e-3 + 1e-5 * distance)[:, None] * directions[alive]
        return float((crossings % 2 == 1).mean()), float(back.mean())

    def tensors(self, device: str = "cpu") -> SceneTensors:
        """Tables for shading on a torch device; uploaded once."""
        if device not in self._tensors:
            def put(array):
                return torch.from_numpy(np.ascontiguousarray(array)).to(device)

            rgb = self.mesh.vertex_rgb
            self._tensors[device] = SceneTensors(
                corners=put(self.vertices[self.faces]),
                uv=put(self.mesh.uv.astype(np.float32)),
                corner_rgb=None if rgb is None else put(rgb[self.faces].astype(np.float32) / 255.0),
                normal=put(self.normal),
                material=put(self.material),
                semantic=put(self.semantic),
                instance=put(self.instance),
                texel_level=put(self.texel_level),
                textures=TextureTensors.from_bank(self.bank, device),
            )
        return self._tensors[device]


def _ray_arrays(origins, directions):
    origins, directions = np.asarray(origins, np.float64), np.asarray(directions)
    if directions.shape[-1:] != (3,) or origins.shape[-1:] != (3,):
        raise InputError(f"origins {origins.shape} and directions {directions.shape} must end in 3", where="rays")
    shape = np.broadcast_shapes(origins.shape, directions.shape)
    origins = np.broadcast_to(origins, shape).reshape(-1, 3)
    return origins, np.broadcast_to(directions, shape).reshape(-1, 3), shape[:-1]


def _texel_level(mesh: TexturedMesh, bank: TextureBank, doubled_area: np.ndarray) -> np.ndarray:
    size = bank.size[mesh.face_material]
    uv = mesh.uv.astype(np.float64) * size[:, None, :]
    first, second = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    doubled_texels = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    # A face without texture area shows one texel: level 0 whatever the distance.
    density = np.where(doubled_texels > 0, doubled_texels, 1e-12) / np.maximum(doubled_area, 1e-12)
    return np.clip(0.5 * np.log2(density), -20.0, 20.0).astype(np.float32)
