"""Hits with gradients: values against Embree, gradients against finite differences in float64."""

from __future__ import annotations

import numpy as np
import torch

from rsnb.geometry import PinholeCamera, pose_from_heading, world_rays
from rsnb.mesh import RayScene, ray_triangle, refine_hits, sample_texture
from rsnb.mesh.textures import TextureTensors, build_texture_bank, sample
from rsnb.scenes import Material, TexturedMesh

SHIFT = np.array([25_490_000.0, 6_668_000.0, 0.0])


def hills(shift=0.0) -> RayScene:
    """A bumpy ground of 20 x 20 m."""
    n = 21
    x, y = np.meshgrid(np.linspace(-10, 10, n), np.linspace(-10, 10, n))
    vertices = np.stack([x, y, np.sin(x) * np.cos(y)], axis=-1).reshape(-1, 3) + shift
    i = np.arange(n * n).reshape(n, n)
    faces = np.concatenate([np.stack([i[:-1, :-1], i[:-1, 1:], i[1:, 1:]], -1).reshape(-1, 3),
                            np.stack([i[:-1, :-1], i[1:, 1:], i[1:, :-1]], -1).reshape(-1, 3)]).astype(np.int32)
    uv = ((vertices - shift)[faces][..., :2] / 20 + 0.5).astype(np.float32)
    return RayScene(TexturedMesh(vertices, faces, uv, np.zeros(len(faces), np.int32), (Material("m"),),
                                 np.ones(len(faces), np.int32)))


CAMERA = PinholeCamera(np.array([[40.0, 0, 11], [0, 50, 9], [0, 0, 1]]), 24, 18)


def rays(shift=0.0):
    pose = pose_from_heading(np.array([1.0, -2, 9]) + shift, 0.3, -1.2, 0.1)
    return (part.reshape(-1, 3) for part in world_rays(CAMERA, pose))


def test_agrees_with_embree_and_keeps_float64():
    for shift in (0.0, SHIFT):
        scene = hills(shift)
        origins, directions = rays(shift)
        hits = scene.cast(origins.numpy(), directions.numpy())
        refined = refine_hits(scene, origins, directions)
        assert refined.distance.dtype == torch.float64 and len(refined.index) > 300
        index = refined.index.numpy()
        np.testing.assert_allclose(refined.distance, hits.distance[index], rtol=1e-5)
        np.testing.assert_allclose(refined.u, hits.u[index], atol=1e-4)
        corners = torch.from_numpy(scene.mesh.vertices[scene.mesh.faces])[refined.prim] - torch.as_tensor(shift)
        weights = torch.stack([1 - refined.u - refined.v, refined.u, refined.v], 1)
        # To float64's last digits at 25 490 km, 4 nm.
        point = refined.point - torch.as_tensor(shift)
        np.testing.assert_allclose((weights[:, :, None] * corners).sum(1), point, atol=2e-8)


def test_gradients_of_ray_and_triangle():
    torch.manual_seed(0)
    corners = torch.randn(5, 3, 3, dtype=torch.float64) + torch.tensor([0.0, 0, 6])
    origins = torch.randn(5, 3, dtype=torch.float64) * 0.1
    directions = torch.nn.functional.normalize(corners.mean(1) - origins, dim=1)
    inputs = [x.requires_grad_() for x in (origins, directions, corners)]
    assert torch.autograd.gradcheck(ray_triangle, inputs)


def test_gradient_reaches_pose_vertices_and_texture():
    """Colour of a picture as a function of camera height, one vertex and the texture, against finite differences."""
    scene = hills()
    origins, directions = rays()
    prim = torch.from_numpy(scene.cast(origins.numpy(), directions.numpy()).prim)
    uv = torch.from_numpy(scene.mesh.uv).double()
    target = torch.rand(len(origins), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(lift, vertices, texture):
        moved = origins + lift * torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64)
        hits = refine_hits(scene, moved, directions, prim, vertices)
        corner = uv[hits.prim]
        place = corner[:, 0] + hits.u[:, None] * (corner[:, 1] - corner[:, 0]) + hits.v[:, None] * (
            corner[:, 2] - corner[:, 0])
        return ((sample_texture(texture, place) - target[hits.index]) ** 2).sum() + 0.01 * hits.distance.sum()

    inputs = [torch.zeros((), dtype=torch.float64), torch.from_numpy(scene.mesh.vertices.copy()),
              torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)]
    leaves = [x.clone().requires_grad_() for x in inputs]
    loss(*leaves).backward()
    seen = int(torch.from_numpy(scene.faces)[prim[len(prim) // 2]][0])
    for k, place in ((0, ()), (1, (seen, 2)), (2, (1, 3, 4)), (2, (0, 4, 4))):
        step = 1e-6
        up, down = ([x.clone() for x in inputs] for _ in range(2))
        up[k][place] += step
        down[k][place] -= step
        numeric = float(loss(*up) - loss(*down)) / (2 * step)
        assert abs(numeric) > 1e-4
        np.testing.assert_allclose(float(leaves[k].grad[place]), numeric, rtol=1e-5)


def test_differentiable_lookup_is_the_renderers():
    texture = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
    uv = torch.from_numpy(np.random.default_rng(1).uniform(-2, 2, (500, 2)).astype(np.float32))
    bank = TextureTensors.from_bank(build_texture_bank((Material("m", texture=texture),)))
    plain = sample(bank, torch.zeros(500, dtype=torch.int32), uv, torch.zeros(500))
    ours = sample_texture(torch.from_numpy(texture).permute(2, 0, 1).float() / 255, uv)
    np.testing.assert_allclose(ours, plain, atol=1e-5)
