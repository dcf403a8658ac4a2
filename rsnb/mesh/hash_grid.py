"""Multi-resolution hash grid in plain torch, with levels that fade out where they are finer than a pixel.

Grid and hash are those of Mueller et al., "Instant neural graphics primitives" (SIGGRAPH 2022); the fading is the
down-weighting of Barron et al., "Zip-NeRF" (ICCV 2023): a feature of cell size s, averaged over a blob of standard
deviation w, keeps erf(s / (sqrt(8) w)) of itself. So a far pixel, an average over a metre of wall, neither reads nor
trains the centimetre levels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PRIMES = (1, 2_654_435_761, 805_459_861)


class HashGrid(torch.nn.Module):
    """Features of points in space.

    Args:
        levels: number of grids.
        log2_table: binary logarithm of the rows of each grid's table.
        features: values a row.
        coarsest_m, finest_m: cell sizes of the first and the last grid, metres; in between a geometric series.
        seed: of the small random numbers at the start.
    """

    def __init__(self, levels: int, log2_table: int, features: int, coarsest_m: float, finest_m: float, seed: int = 0):
        super().__init__()
        ratio = (finest_m / coarsest_m) ** (1 / max(levels - 1, 1))
        self.register_buffer("cells", coarsest_m * ratio ** torch.arange(levels, dtype=torch.float32))
        self.rows, self.features = 1 << log2_table, features
        generator = torch.Generator().manual_seed(seed)
        table = (torch.rand(levels * self.rows, features, generator=generator) * 2 - 1) * 1e-4
        self.table = torch.nn.Parameter(table)

    @property
    def out_features(self) -> int:
        """Length of a feature vector."""
        return len(self.cells) * self.features

    def forward(self, points: Tensor, width_m: Tensor | None = None) -> Tensor:
        """Features [N, levels * features] of points [N, 3] metres, averaged over about width_m [N] metres."""
        scaled = points[:, None] / self.cells[:, None]  # [N, L, 3]
        low = scaled.floor()
        within = scaled - low
        low = low.long()
        index, weight = None, None
        for axis in range(3):
            # [N, L, 2]: hash part and weight of the lower and the upper neighbour along this axis
            part = torch.stack([low[..., axis], low[..., axis] + 1], dim=-1) * PRIMES[axis]
            share = torch.stack([1 - within[..., axis], within[..., axis]], dim=-1)
            if index is None:
                index, weight = part, share
            else:
                index = (index[..., :, None] ^ part[..., None, :]).flatten(-2)
                weight = (weight[..., :, None] * share[..., None, :]).flatten(-2)
        index = (index & (self.rows - 1)) + (torch.arange(len(self.cells), device=points.device) * self.rows)[:, None]
        found = torch.nn.functional.embedding_bag(
            index.reshape(-1, 8), self.table, per_sample_weights=weight.reshape(-1, 8), mode="sum")
        found = found.reshape(len(points), len(self.cells), self.features)
        if width_m is not None:
            # a pixel of width w is a box: standard deviation w / sqrt(12)
            kept = torch.erf(self.cells / (math.sqrt(8 / 12) * width_m[:, None].clamp(min=1e-6)))
            found = found * kept[..., None]
        return found.flatten(1)
