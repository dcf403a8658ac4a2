"""What an optimiser moves: colours and thickness of planes, and the memory that takes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rsnb.errors import InputError
from rsnb.mpi.views import MpiFrame

TENSORS_HELD = 11  # of the size of the MPI: itself, gradients, two of Adam, good state, one view's graph; measured: 10
LEAST_TAU = 1e-6


class Planes:
    """What Adam moves: colours [P, 3, H, W], and thickness tau by its inverse softplus [P, 1, H, W]."""

    def __init__(self, colour: Tensor, tau: Tensor, gaps: Tensor):
        self.colour = colour.detach().clone().requires_grad_()
        self.raw = _softplus_inverse(tau.detach()).requires_grad_()
        self.gaps = gaps.to(colour)[:, None, None, None]

    def mpi(self) -> Tensor:
        """[P, 4, H, W]: colour and sigma, the thickness by the gap that it fills."""
        return torch.cat([self.colour, F.softplus(self.raw) / self.gaps], dim=1)

    def alpha(self) -> Tensor:
        """[P, 1, H, W] opacity of each plane along the reference axis, 1 - exp(-tau)."""
        return -torch.expm1(-F.softplus(self.raw))

    @torch.no_grad()
    def project(self) -> None:
        """Colours back into 0..1."""
        self.colour.clamp_(0, 1)

    def parameters(self) -> tuple[Tensor, Tensor]:
        """What Adam moves: colour and raw thickness."""
        return self.colour, self.raw

    def state(self) -> tuple[Tensor, Tensor]:
        return self.colour.detach().clone(), self.raw.detach().clone()

    @torch.no_grad()
    def restore(self, state: tuple[Tensor, Tensor]) -> None:
        self.colour.copy_(state[0])
        self.raw.copy_(state[1])


def _softplus_inverse(tau: Tensor) -> Tensor:
    tau = tau.clamp_min(LEAST_TAU)
    return tau + torch.log(-torch.expm1(-tau))


class _PlaneVariation(torch.autograd.Function):
    """Total variation one plane at a time: nothing is kept but the planes themselves."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        down = sum((plane[..., 1:, :] - plane[..., :-1, :]).abs().sum() for plane in values)
        right = sum((plane[..., 1:] - plane[..., :-1]).abs().sum() for plane in values)
        return down / _pairs(values, -2) + right / _pairs(values, -1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        result = torch.empty_like(values)
        weights = [gradient / _pairs(values, axis) for axis in (-2, -1)]
        for plane, out in zip(values, result, strict=True):
            out.zero_()
            down = (plane[..., 1:, :] - plane[..., :-1, :]).sign_() * weights[0]
            out[..., 1:, :] += down
            out[..., :-1, :] -= down
            right = (plane[..., 1:] - plane[..., :-1]).sign_() * weights[1]
            out[..., 1:] += right
            out[..., :-1] -= right
        return result


def _pairs(values: Tensor, axis: int) -> int:
    return max(values.numel() // values.shape[axis] * (values.shape[axis] - 1), 1)


def plane_variation(values: Tensor) -> Tensor:
    """`losses.total_variation` of planes [P, C, H, W] without its intermediate pictures: twice the planes saved."""
    return _PlaneVariation.apply(values)


def plane_gaps(depths: Tensor) -> Tensor:
    """[P] thickness of the planes' slabs along the reference axis; the last as thick as the one before."""
    return torch.cat([depths.diff(), depths.diff()[-1:]])


def mpi_bytes(frame: MpiFrame, planes: int) -> int:
    """Of the multiplane image itself: four float32 a texel."""
    return 16 * planes * frame.size[0] * frame.size[1]


def memory_bytes(frame: MpiFrame, planes: int) -> int:
    """What the optimisation will hold at its finest level, roughly."""
    return TENSORS_HELD * mpi_bytes(frame, planes)


def check_memory(needed: int, available: int | None) -> None:
    """Raises InputError where more bytes are needed than are free; None = nobody knows, and nothing is refused."""
    if available is not None and needed > available:
        raise InputError(f"the optimisation needs about {needed / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are "
                         "free", where="memory", mend="Lower `planes`, the size of the pictures or `max_pad`")
