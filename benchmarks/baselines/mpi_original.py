"""A multiplane renderer as the original does it, in plain torch: what ours is measured against.

Seven channels of every plane are resampled (colour, density, and the plane's points in the target frame, which have a
closed form), the grid of each plane is made anew with a matrix product over all pixels, and the transmittance is a
cumulative product over a stack of all planes. Facts only; its convention for pixel centres is ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def render_original(mpi: Tensor, depths: Tensor, camera) -> tuple[Tensor, Tensor, Tensor]:
    """Colour [3, H, W], depth [H, W] and mask [H, W] bool of one view.

    Args:
        mpi: [P, 4, H, W] float32.
        depths: [P].
        camera: an `rsnb.mpi.MpiCamera` whose target has the planes' size.
    """
    planes, _, height, width = mpi.shape
    K_ref, K_target, pose, depths = (m.to(mpi.dtype) for m in (camera.K_ref, camera.K_target, camera.ref_to_target,
                                                               depths))
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1).to(mpi.dtype)
    points = (torch.linalg.inv(K_ref) @ pixels)[None] * depths[:, None, None]  # [P, 3, H W], reference frame
    points = pose[:3, :3] @ points + pose[:3, 3:]
    channels = torch.cat([mpi, points.reshape(planes, 3, height, width)], dim=1)

    normal = torch.tensor([[0.0, 0.0, 1.0]], dtype=mpi.dtype)
    homography = K_target @ (pose[:3, :3] + pose[:3, 3:] @ normal / depths[:, None, None]) @ torch.linalg.inv(K_ref)
    texels = torch.linalg.inv(homography) @ pixels
    texels = (texels[:, :2] / texels[:, 2:]).reshape(planes, 2, height, width).permute(0, 2, 3, 1)
    u, v = texels.unbind(dim=-1)
    inside = (u > -0.5) & (u < width + 0.5) & (v > -0.5) & (v < height + 0.5)
    grid = torch.stack([2 * u / width - 1, 2 * v / height - 1], dim=-1)
    warped = F.grid_sample(channels, grid, mode="bilinear", padding_mode="border", align_corners=False)

    colour, sigma, points = warped[:, :3], warped[:, 3:4], warped[:, 4:]
    sigma = torch.where(points[:, 2:] >= 0, sigma, torch.zeros_like(sigma))
    spacing = (points[1:] - points[:-1]).norm(dim=1, keepdim=True)
    spacing = torch.cat([spacing, torch.full_like(spacing[:1], 1000.0)])
    kept = torch.exp(-sigma * spacing)
    transmittance = torch.cumprod(kept + 1e-6, dim=0)
    transmittance = torch.cat([torch.ones_like(transmittance[:1]), transmittance[:-1]])
    weights = transmittance * (1 - kept)
    depth = (weights * points[:, 2:]).sum(dim=0)[0] / (weights.sum(dim=0)[0] + 1e-5)
    return (weights * colour).sum(dim=0), depth, inside.any(dim=0)
