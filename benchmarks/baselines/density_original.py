"""A density renderer as the original does it, in plain torch: what ours is measured against.

The points of all samples are made in float64 and rounded, the colours of the tile are repeated for every slice, density
and colours are looked up in those two volumes by 5-D grids, and every sample is composited, most of them being outside.
Facts only; pixel centres, metres and the colour at the volume's walls (held, where the original fades) are ours, so
that the pictures are the same.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def render_original(slices: Tensor, tile: Tensor, extent_m: float, ceiling_m: float, size: tuple[int, int],
                    height_m: float, samples: int, length_m: float) -> tuple[Tensor, Tensor, Tensor]:
    """Panoramas [B, 3, H, W], opacity and distance [B, H, W] from above the tile's middle, north in the centre.

    Args:
        slices: [B, D, S, S] density, 1 / m, ground included.
        tile: [B, 3, S, S].
        size: H, W.
        height_m, samples, length_m: of the camera, and of its rays; sample k lies at k + 1 steps.
    """
    (rows, columns), batch = size, len(slices)
    lat = (0.5 - (torch.arange(rows, dtype=torch.float64) + 0.5) / rows)[:, None] * math.pi
    lon = ((torch.arange(columns, dtype=torch.float64) + 0.5) / columns - 0.5) * (2 * math.pi)
    rays = torch.stack([torch.cos(lat) * torch.sin(lon), torch.cos(lat) * torch.cos(lon),
                        torch.sin(lat).expand(rows, columns)], dim=-1)
    step = length_m / samples
    t = (torch.arange(samples, dtype=torch.float64) + 1) * step
    points = rays[:, :, None] * t[:, None] + rays.new_tensor([0.0, 0.0, height_m])  # [H, W, K, 3]
    grid = points / points.new_tensor([extent_m / 2, -extent_m / 2, ceiling_m / 2]) - points.new_tensor([0.0, 0.0, 1.0])
    grid = grid.to(slices.dtype).expand(batch, -1, -1, -1, -1)
    colours = tile[:, :, None].repeat(1, 1, slices.shape[1], 1, 1)  # [B, 3, D, S, S]
    sigma = F.grid_sample(slices[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0]
    colour = F.grid_sample(colours, grid, padding_mode="border", align_corners=False)
    tau = sigma * step
    before = torch.cat([torch.zeros_like(tau[..., :1]), torch.cumsum(tau, dim=-1)[..., :-1]], dim=-1)
    weights = torch.exp(-before) * (1 - torch.exp(-tau))
    return (weights[:, None] * colour).sum(dim=-1), weights.sum(dim=-1), (weights * t.to(weights)).sum(dim=-1)
