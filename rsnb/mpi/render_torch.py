"""The renderer in torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rsnb.mpi.planes import PlaneSweep


def composite_torch(mpi: Tensor, sweep: PlaneSweep, epsilon: float = 0.0, clamp: bool = False) -> Tensor:
    """Sums of w_i times red, green, blue, rise_i and 1 over all planes, front to back.

    Args:
        mpi: [P, 4, H, W].
        sweep: of the target camera.
        epsilon: added to each factor exp(-tau_i) of the transmittance.
        clamp: texels beyond the reference frame repeat its border; otherwise they are empty.

    Returns:
        [5, H_t, W_t] in the precision of `mpi`.
    """
    height, width = mpi.shape[2:]
    size = sweep.q.new_tensor([width, height])
    sweep = PlaneSweep(*(part.to(mpi.dtype) for part in sweep))
    transmittance = torch.ones_like(sweep.reach)
    total = mpi.new_zeros(5, *sweep.reach.shape)
    for i in range(len(mpi)):
        if sweep.scale[i] <= 0:
            continue
        texel = sweep.scale[i] * sweep.q.movedim(0, -1) + sweep.offset[i]
        grid = 2 * texel / size.to(mpi.dtype) - 1
        texels = F.grid_sample(mpi[i][None], grid[None], padding_mode="border", align_corners=False)[0]
        tau = texels[3] * sweep.gap[i] * sweep.slant
        if not clamp:
            tau = torch.where((grid.abs() <= 1).all(dim=-1), tau, torch.zeros_like(tau))
        kept = torch.exp(-tau)
        weight = transmittance * (1 - kept)
        transmittance = transmittance * (kept + epsilon)
        total = total + weight * torch.cat([texels[:3], sweep.rise[i].expand_as(weight)[None],
                                            torch.ones_like(weight)[None]])
    return total
