"""A small multiplane image, cameras in general position, and the renderer in its naive form, as tests share them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from rsnb.mpi import MpiCamera, plane_depths

K_REF = torch.tensor([[90.0, 0.7, 29.0], [0.0, 110.0, 26.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
K_TARGET = torch.tensor([[80.0, -0.4, 27.0], [0.0, 97.0, 21.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
REF_SIZE, TARGET_SIZE = (48, 64), (40, 56)
NEAR, FAR = 3.0, 9.0


def pose(angles=(5.0, -7.0, 20.0), shift=(0.3, -0.2, 0.4)) -> torch.Tensor:
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    motion[:3, 3] = shift
    return torch.from_numpy(motion)


def camera(**changes) -> MpiCamera:
    facts = {"K_ref": K_REF, "K_target": K_TARGET, "ref_to_target": pose(), "size": TARGET_SIZE} | changes
    return MpiCamera(**facts)


def smooth_mpi(planes=6, size=REF_SIZE, seed=0, dtype=torch.float64, density=0.4) -> torch.Tensor:
    """Random content that bilinear sampling resolves."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(planes, 4, 7, 9, generator=generator, dtype=torch.float64)
    mpi = F.interpolate(coarse, size=size, mode="bicubic", align_corners=False).clamp(0, 1)
    mpi[:, 3] *= density
    return mpi.to(dtype)


def depths(planes=6) -> torch.Tensor:
    return plane_depths(NEAR, FAR, planes)


def naive_sums(mpi, plane_z, view: MpiCamera, published: bool = False):
    """Red, green, blue, z depth and alpha [5, H, W], before the depth is divided: seven channels warped plane by plane.

    Everything from definitions: texels by projecting where the target's ray meets each plane, spacings by the distance
    between the points of neighbouring planes, and plain autograd.
    """
    rotation, shift = view.ref_to_target[:3, :3], view.ref_to_target[:3, 3]
    height, width = mpi.shape[2:]
    y, x = torch.meshgrid(*(torch.arange(n, dtype=mpi.dtype) + 0.5 for n in view.size), indexing="ij")
    ray = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ torch.linalg.inv(view.K_target).T
    ray_ref, eye = ray @ rotation, -(rotation.T @ shift)
    points, texels = [], []
    for z in plane_z:
        along = (z - eye[2]) / ray_ref[..., 2]
        points.append(along[..., None] * ray)
        seen = (eye + along[..., None] * ray_ref) @ view.K_ref.T
        texels.append(seen[..., :2] / seen[..., 2:])
    passed = torch.ones_like(x)
    total = torch.zeros(5, *view.size, dtype=mpi.dtype)
    for i, (point, texel) in enumerate(zip(points, texels, strict=True)):
        grid = 2 * texel / texel.new_tensor([width, height]) - 1
        sample = F.grid_sample(mpi[i][None], grid[None], padding_mode="border", align_corners=False)[0]
        k = i if i + 1 < len(points) else i - 1
        spacing = (points[k + 1] - points[k]).norm(dim=-1)
        if published and i + 1 == len(points):
            spacing = torch.full_like(spacing, 1000.0)
        inside = torch.ones_like(x) if published else (grid.abs() <= 1).all(dim=-1).to(mpi.dtype)
        kept = torch.exp(-sample[3] * spacing * inside * (point[..., 2] > 0))
        weight = passed * (1 - kept)
        passed = passed * (kept + (1e-6 if published else 0))
        total = total + weight * torch.stack([*sample[:3], point[..., 2], torch.ones_like(x)])
    return total
