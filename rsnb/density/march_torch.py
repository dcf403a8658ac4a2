"""The plain march: trilinear density, colour by place, for any rays on any device, differentiable.

With tau_k = sigma_k step, T_k = exp(-sum of the tau before) and w_k = T_k (1 - exp(-tau_k)) (Mildenhall et al., ECCV
2020, eq. 3): colour = sum w_k c_k, opacity = sum w_k, distance = sum w_k t_k. What a plane under the volume gets is
what is left of T, at its exact distance. This is what the other backends are compared with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rsnb.density.sampling import Steps, spans
from rsnb.density.volume import DensityVolume, Rendered

SAMPLES_AT_A_TIME = 1 << 21  # without gradient: bounds the memory of a piece to some hundred megabytes


def march_torch(volume: DensityVolume, origins: Tensor, directions: Tensor, steps: Steps) -> Rendered:
    """As `render.march`, of rays [B or 1, N, 3] float64: pictures [B, 3, N] and [B, N] in the volume's precision."""
    slices = volume.slices
    count = directions.shape[1]
    keeps = torch.is_grad_enabled() and (slices.requires_grad or volume.tile.requires_grad)
    piece = count if keeps else max(1, SAMPLES_AT_A_TIME // (len(volume) * steps.count))
    parts = [_piece(volume, slices, origins[:, start:start + piece] if origins.shape[1] > 1 else origins,
                    directions[:, start:start + piece], steps) for start in range(0, count, piece)]
    return Rendered(*(torch.cat([part[i] for part in parts], dim=-1) for i in range(3)))


def _piece(volume: DensityVolume, slices: Tensor, origins: Tensor, directions: Tensor,
           steps: Steps) -> tuple[Tensor, Tensor, Tensor]:
    origins, directions = torch.broadcast_tensors(origins, directions)
    span = spans(volume, origins, directions, steps)
    first, end = int(span.first.min()), max(int(span.end.max()), int(span.first.min()) + 1)
    k = torch.arange(first, end, device=slices.device)
    counts = (k[:, None] >= span.first[:, None]) & (k[:, None] < span.end[:, None])  # [B or 1, K, N]
    t = steps.distances(k)[:, None]
    places = origins[:, None] + directions[:, None] * t[..., None]  # [B or 1, K, N, 3]
    sigma = density_at(volume, slices, places) * counts
    colour = colour_at(volume, places[..., :2])
    tau = sigma * steps.size
    depth = torch.cumsum(tau, dim=1)
    passed = torch.exp(-torch.cat([torch.zeros_like(depth[:, :1]), depth[:, :-1]], dim=1))
    weights = -torch.expm1(-tau) * passed  # [B, K, N]
    rgb = (weights[:, None] * colour).sum(dim=2)
    opacity = -torch.expm1(-depth[:, -1])
    distance = (weights * t.to(weights)).sum(dim=1)
    if volume.ground != "plane":
        return rgb, opacity, distance
    met = torch.isfinite(span.ground)
    reach = torch.where(met, span.ground, 0.0)
    left = torch.exp(-depth[:, -1]) * met
    floor = colour_at(volume, (origins + directions * reach[..., None])[..., :2])
    return (rgb + left[:, None] * floor, torch.where(met, 1.0, opacity), distance + left * reach.to(left))


def density_at(volume: DensityVolume, slices: Tensor, places: Tensor) -> Tensor:
    """[B, K, N] density, 1 / m, of `volume.slices` at places [B or 1, K, N, 3] within the walls."""
    half, ceiling = volume.frame.half_m, volume.frame.ceiling_m
    grid = torch.stack([places[..., 0] / half, places[..., 1] / -half, places[..., 2] * (2 / ceiling) - 1], dim=-1)
    grid = grid.to(slices.dtype).expand(len(slices), -1, -1, -1)[:, None]
    padding = "border" if volume.edges == "hold" else "zeros"
    return F.grid_sample(slices[:, None], grid, padding_mode=padding, align_corners=False)[:, 0, 0]


def colour_at(volume: DensityVolume, places: Tensor) -> Tensor:
    """[B, 3, ...] colour of the tile at places [B or 1, ..., 2] metres east and north; outside, of its border."""
    tile = volume.tile
    grid = (places / places.new_tensor([volume.frame.half_m, -volume.frame.half_m])).clamp(-1e3, 1e3).to(tile.dtype)
    shape = grid.shape[1:-1]
    grid = grid.reshape(len(grid), 1, -1, 2).expand(len(tile), -1, -1, -1)
    found = F.grid_sample(tile, grid, padding_mode="border", align_corners=False)
    return found.reshape(len(tile), 3, *shape)
