"""The march on a GPU: one Triton kernel forward, one back (`triton_kernels`); float32, gradients for sigma and tile.

`march_torch` is its oracle. It runs on the CPU too, in Triton's interpreter (TRITON_INTERPRET=1 set before triton is
imported), which is how it is tested where there is no GPU. On a GPU: not measured.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from typing import NamedTuple

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from rsnb.density import triton_kernels as kernels
from rsnb.density.sampling import Steps, to_indices, walls
from rsnb.density.volume import DensityVolume, Rendered

INTERPRETED = bool(triton.knobs.runtime.interpret)
BLOCKS = ((32, 1), (64, 2), (128, 4))  # rays of a program, and its warps: it goes on until its longest ray ends
INTERPRETER_BLOCK = 1024  # it is slow by the program, not by the ray


def _tuned(kernel, key: list[str], **more):
    """Blocks are chosen by trying each, once a process and way of use; the interpreter has its own."""
    if INTERPRETED:
        return kernel
    configs = [triton.Config({"BLOCK": block}, num_warps=warps) for block, warps in BLOCKS]
    return triton.autotune(configs, key=key, **more)(kernel)


_forward = _tuned(kernels.march_rays, ["PLANE", "HOLD"])
_backward = _tuned(kernels.march_back, ["PLANE", "HOLD", "TINT"], reset_to_zero=["to_slices", "to_tile"])


class _Job(NamedTuple):
    """What the kernels take beside volume, tile and pictures."""

    origins: Tensor  # [B or 1, N or 1, 3] float64
    directions: Tensor  # [B or 1, N, 3] float64
    box: Tensor  # [18] float64
    samples: int
    plane: bool
    hold: bool

    def strides(self) -> tuple[int, int, int]:
        """Numbers from one tile to the next and from one ray to the next; 0 for what is shared."""
        tile, ray = (size * (self.origins.shape[i] > 1) for i, size in ((0, 3 * self.origins.shape[1]), (1, 3)))
        return tile, ray, 3 * self.directions.shape[1] * (len(self.directions) > 1)


def march_triton(volume: DensityVolume, origins: Tensor, directions: Tensor, steps: Steps,
                 stop: float = 0.0) -> Rendered:
    """As `march_torch`, for float32 volumes; `stop` is of no use where rays go side by side, and not used."""
    box = _box(*(tuple(wall) for wall in walls(volume)), steps, *to_indices(volume), volume.sigma.device)
    job = _Job(origins.contiguous(), directions.contiguous(), box, steps.count, volume.ground == "plane",
               volume.edges == "hold")
    found = _March.apply(volume.slices.contiguous(), volume.tile.contiguous(), job)
    return Rendered(found[:, :3], found[:, 3], found[:, 4])


@lru_cache(maxsize=64)  # making a small tensor on a GPU takes as long as a kernel
def _box(low, high, steps, scale, shift, device) -> Tensor:
    return torch.tensor([*low, *high, steps.size, steps.offset, *scale, *shift], dtype=torch.float64, device=device)


class _March(torch.autograd.Function):
    @staticmethod
    def forward(ctx, slices, tile, job):
        out = slices.new_empty(len(slices), 5, job.directions.shape[1])
        with _on(slices.device):
            _forward[_grid(out)](slices, tile, job.origins, job.directions, job.box, out, *_sizes(slices, tile, job),
                                 PLANE=job.plane, HOLD=job.hold, **_how())
        ctx.save_for_backward(slices, tile, out)
        ctx.job = job
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, to_out):
        slices, tile, out = ctx.saved_tensors
        job, tint = ctx.job, ctx.needs_input_grad[1]
        to_slices, to_tile = torch.zeros_like(slices), torch.zeros_like(tile)
        with _on(slices.device):
            _backward[_grid(out)](slices, tile, job.origins, job.directions, job.box, out, to_out.contiguous(),
                                  to_slices, to_tile, *_sizes(slices, tile, job), PLANE=job.plane, HOLD=job.hold,
                                  TINT=tint, **_how())
        return to_slices, to_tile if tint else None, None


def _sizes(slices: Tensor, tile: Tensor, job: _Job) -> tuple[int, ...]:
    return job.samples, job.directions.shape[1], *job.strides(), slices.shape[1], slices.shape[2], tile.shape[2]


def _grid(out: Tensor):
    return lambda chosen: (triton.cdiv(out.shape[2], chosen["BLOCK"]), len(out))


def _how() -> dict:
    """The interpreter is not tuned, and needs to be told the block."""
    return {"BLOCK": INTERPRETER_BLOCK} if INTERPRETED else {"enable_fp_fusion": True}


def _on(device: torch.device):
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
