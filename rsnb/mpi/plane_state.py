"""What an optimiser moves: colours and thickness of planes, and the memory that takes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rsnb.errors import InputError
from rsnb.mpi.views import MpiFrame

TENSORS_HELD = 9  # of the size of the MPI: itself, gradient, two of Adam, good state, and what a step computes
LEAST_TAU = 1e-6


class Planes:
    """What Adam moves: colours [P, 3, H, W], and thickness tau by its inverse softplus [P, 1, H, W]."""

    def __init__(self, colour: Tensor, tau: Tensor, gaps: Tensor):
        self.colour = colour.detach().clone().requires_grad_()
        self.raw = _softplus_inverse(tau.detach()).requires_grad_()
        self.gaps = gaps.to(colour)[:, None, None, None]

    def mpi(self) -> tuple[Tensor, Tensor]:
        """[P, 4, H, W], and tau [P, 1, H, W]: thickness of a plane along the reference axis."""
        tau = F.softplus(self.raw)
        return torch.cat([self.colour, tau / self.gaps], dim=1), tau

    @torch.no_grad()
    def project(self) -> None:
        """Colours back into 0..1."""
        self.colour.clamp_(0, 1)

    def state(self) -> tuple[Tensor, Tensor]:
        return self.colour.detach().clone(), self.raw.detach().clone()

    @torch.no_grad()
    def restore(self, state: tuple[Tensor, Tensor]) -> None:
        self.colour.copy_(state[0])
        self.raw.copy_(state[1])


def _softplus_inverse(tau: Tensor) -> Tensor:
    tau = tau.clamp_min(LEAST_TAU)
    return tau + torch.log(-torch.expm1(-tau))


def plane_gaps(depths: Tensor) -> Tensor:
    """[P] thickness of the planes' slabs along the reference axis; the last as thick as the one before."""
    return torch.cat([depths.diff(), depths.diff()[-1:]])


def memory_bytes(frame: MpiFrame, planes: int) -> int:
    """What the optimisation will hold at its finest level, roughly."""
    return TENSORS_HELD * 16 * planes * frame.size[0] * frame.size[1]


def check_memory(needed: int, available: int | None) -> None:
    """Raises InputError where more bytes are needed than are free; None = nobody knows, and nothing is refused."""
    if available is not None and needed > available:
        raise InputError(f"the optimisation needs about {needed / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are "
                         "free", where="memory", mend="Lower `planes`, the size of the pictures or `max_pad`")
