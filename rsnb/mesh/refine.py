"""Hits as differentiable functions of camera, vertices and texture.

Embree says which face a ray meets; that choice is kept and distance and barycentric weights are computed again in torch
(Moeller & Trumbore, "Fast, minimum storage ray/triangle intersection", 1997), so gradients reach the pose, the
vertices and the texture. What has no gradient is the choice itself: silhouettes do not pull. It is there for your own
optimisation over a mesh: a texture from pictures, vertices from depths, a pose that is already within some pixels. The
notebooks solve poses from picks alone (`pose`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rsnb.mesh.scene import RayScene


@dataclass(frozen=True)
class RefinedHits:
    """Hits of N rays with gradients.

    Attributes:
        index: [M] int64, the rays that hit something, of the flattened N.
        prim: [M] int64 face.
        distance, u, v: [M] of the dtype of the rays.
        point: [M, 3] world metres.
    """

    index: torch.Tensor
    prim: torch.Tensor
    distance: torch.Tensor
    u: torch.Tensor
    v: torch.Tensor
    point: torch.Tensor


def refine_hits(scene: RayScene, origins: torch.Tensor, directions: torch.Tensor, prim: torch.Tensor | None = None,
                vertices: torch.Tensor | None = None) -> RefinedHits:
    """Cast rays and recompute the hits in torch.

    Args:
        scene: what to look at.
        origins, directions: [N, 3] world metres and unit vectors (float64 for pixel-exact poses), any device.
        prim: [N] int faces already known (-1 = miss), or None: cast.
        vertices: [V, 3] world metres with gradient, or None: those of the mesh.
    """
    if prim is None:
        hits = scene.cast(origins.detach().cpu().numpy(), directions.detach().cpu().numpy())
        prim = torch.from_numpy(hits.prim)
    prim = prim.to(origins.device).long()
    index = torch.nonzero(prim >= 0).squeeze(1)
    prim = prim[index]
    centre = torch.as_tensor(scene.centre).to(origins)
    faces = torch.from_numpy(scene.faces).to(origins.device)[prim].long()
    # Differences before products: with national-grid coordinates the cross products would lose all digits.
    corners = (torch.from_numpy(scene.mesh.vertices).to(origins) if vertices is None else vertices)[faces] - centre
    distance, u, v = ray_triangle(origins[index] - centre, directions[index], corners)
    return RefinedHits(index, prim, distance, u, v, origins[index] + distance[:, None] * directions[index])


def ray_triangle(origins: torch.Tensor, directions: torch.Tensor, corners: torch.Tensor):
    """Distance [N] and weights u, v [N] where rays [N, 3] meet the planes of triangles [N, 3 corners, 3].

    Rays parallel to their plane give values that are not finite.
    """
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = torch.linalg.cross(directions, second)
    scale = 1.0 / (first * p).sum(1)
    away = origins - corners[:, 0]
    q = torch.linalg.cross(away, first)
    u = (away * p).sum(1) * scale
    v = (directions * q).sum(1) * scale
    return (second * q).sum(1) * scale, u, v


def sample_texture(texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    """Bilinear colour [N, C] of one texture [C, H, W] at uv [N, 2] (OBJ convention, repeating); both have gradients."""
    height, width = texture.shape[-2:]
    turn = uv - uv.detach().floor()
    x, y = turn[:, 0] * width - 0.5, (1.0 - turn[:, 1]) * height - 0.5
    x0, y0 = x.detach().floor(), y.detach().floor()
    fx, fy = x - x0, y - y0
    columns = [(x0.long() + k) % width for k in (0, 1)]
    rows = [(y0.long() + k) % height for k in (0, 1)]
    top = texture[:, rows[0], columns[0]] * (1 - fx) + texture[:, rows[0], columns[1]] * fx
    bottom = texture[:, rows[1], columns[0]] * (1 - fx) + texture[:, rows[1], columns[1]] * fx
    return (top * (1 - fy) + bottom * fy).T
