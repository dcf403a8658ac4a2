"""The renderer on a GPU: one Triton kernel forward, one back (`triton_kernels`); float32, gradients for the content.

`render_torch` is its oracle. It runs on the CPU too, in Triton's interpreter (TRITON_INTERPRET=1 set before triton is
imported), which is how it is tested where there is no GPU. On a GPU: not measured.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from rsnb.mpi import triton_kernels as kernels
from rsnb.mpi.planes import plane_factors

# Target pixels of one program, and its warps: one thread a pixel, whose four channels are one load of 16 bytes.
TILES = tuple(({"TILE_X": x, "TILE_Y": y}, warps) for x, y, warps in ((32, 4, 4), (64, 2, 4), (32, 8, 8), (32, 2, 2)))
INTERPRETER_TILE = {"TILE_X": 32, "TILE_Y": 32}  # it is slow by the program, not by the pixel
INTERPRETED = bool(triton.knobs.runtime.interpret)


def _tuned(kernel, key: list[str], **more):
    """Tiles are chosen by trying each, once a process and way of use; the interpreter has its own."""
    if INTERPRETED:
        return kernel
    configs = [triton.Config(tile, num_warps=warps) for tile, warps in TILES]
    return triton.autotune(configs, key=key, **more)(kernel)


_forward = _tuned(kernels.composite, ["PUBLISHED", "CHANNELS_LAST", "KEEP"])
_backward = _tuned(kernels.composite_backward, ["PUBLISHED", "CHANNELS_LAST"], reset_to_zero=["gradient"])


class _Job(NamedTuple):
    """What the kernels take beside the pictures."""

    factors: Tensor  # [P, 5] float32
    camera: Tensor  # [18] float64
    background: Tensor  # [3] float32
    least_share: float
    first: int  # plane ahead of the camera
    size: tuple[int, int]
    published: bool


def render_triton(mpi: Tensor, depths: Tensor, camera, options, last_gap: float | None):
    """Colour [3, H_t, W_t], expected z depth, alpha and mask [H_t, W_t] of `MpiRendering`.

    Args:
        mpi: [P, 4, H, W] float32, best in `torch.channels_last` memory, whose gradient lies in memory as it does.
        depths: [P].
        camera: an `MpiCamera`; what is computed from it is kept for as long as it lives.
        options: `RenderOptions`.
        last_gap: see `plane_sweep`.
    """
    factors, aim, first = _packed(camera, depths, last_gap, mpi.device)
    # the way torch makes a small tensor waits for the GPU; without a background there is nothing to copy
    background = torch.tensor(options.background, device=mpi.device) if any(options.background) else mpi.new_zeros(3)
    job = _Job(factors, aim, background, options.mask_share - 1e-6, first, tuple(camera.size), options.published)
    return _Composite.apply(mpi, job)


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, mpi, job):
        planes, _, height, width = mpi.shape
        keep = ctx.needs_input_grad[0]
        mpi, last = _in_order(mpi)
        rgb, depth, alpha = mpi.new_empty(3, *job.size), mpi.new_empty(job.size), mpi.new_empty(job.size)
        mask = torch.empty(job.size, dtype=torch.uint8, device=mpi.device)
        before = mpi.new_empty(planes, *job.size) if keep else alpha
        with _on(mpi.device):
            _forward[_grid(job.size)](
                mpi, job.factors, job.camera, job.background, rgb, depth, alpha, mask, before, job.least_share,
                job.first, planes, height, width, *job.size, PUBLISHED=job.published, CHANNELS_LAST=last, KEEP=keep,
                **_how())
        ctx.save_for_backward(mpi, depth, alpha, before)
        ctx.job = job
        mask = mask.view(torch.bool)
        ctx.mark_non_differentiable(mask)
        return rgb, depth, alpha, mask

    @staticmethod
    @once_differentiable
    def backward(ctx, to_rgb, to_depth, to_alpha, _):
        mpi, depth, alpha, before = ctx.saved_tensors
        job, last = ctx.job, _in_order(mpi)[1]
        planes, _, height, width = mpi.shape
        gradient = torch.zeros_like(mpi)
        with _on(mpi.device):
            _backward[_grid(job.size)](
                mpi, job.factors, job.camera, job.background, to_rgb.contiguous(), to_depth.contiguous(),
                to_alpha.contiguous(), depth, alpha, before, gradient, job.first, planes, height, width, *job.size,
                PUBLISHED=job.published, CHANNELS_LAST=last, **_how())
        return gradient, None


def _grid(size: tuple[int, int]):
    return lambda chosen: (triton.cdiv(size[1], chosen["TILE_X"]), triton.cdiv(size[0], chosen["TILE_Y"]))


def _how() -> dict:
    """The interpreter is not tuned, and needs to be told the tile."""
    return INTERPRETER_TILE if INTERPRETED else {"enable_fp_fusion": True}


def _on(device: torch.device):
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _in_order(mpi: Tensor) -> tuple[Tensor, bool]:
    """The planes in one of the two orders of memory that the kernels know, and whether channels come last in it."""
    if mpi.is_contiguous(memory_format=torch.channels_last):
        return mpi, True
    return mpi.contiguous(), False


class _Packed(NamedTuple):
    made_from: tuple  # the very tensors, and how often each had been written to
    factors: Tensor
    camera: Tensor
    first: int


_kept: WeakKeyDictionary = WeakKeyDictionary()


def _packed(camera, depths: Tensor, last_gap: float | None, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """`PlaneFactors` as the kernels read them. They are small, and computing them takes longer than a kernel: those
    of a camera's last call are kept."""
    parts = (depths, camera.K_ref, camera.K_target, camera.ref_to_target)
    if any(part.is_inference() for part in parts):  # of torch.inference_mode: nobody counts how often it was written to
        return _pack(camera, depths, last_gap, device)
    asked = (*map(id, parts), *(part._version for part in parts), last_gap, device)
    kept = _kept.get(camera)
    if kept is None or kept.made_from[1] != asked:
        kept = _kept[camera] = _Packed((parts, asked), *_pack(camera, depths, last_gap, device))
    return kept.factors, kept.camera, kept.first


def _pack(camera, depths: Tensor, last_gap: float | None, device: torch.device) -> tuple[Tensor, Tensor, int]:
    with torch.no_grad():
        f = plane_factors(camera, depths, last_gap)
        planes = torch.stack([f.scale - 1, f.offset[:, 0], f.offset[:, 1], f.rise, f.gap], dim=1)
        aim = torch.cat([f.K_ref[:2] @ f.to_ref, f.to_ref[2:], f.to_ray])
        return planes.float().contiguous().to(device), aim.reshape(-1).to(device), int((f.scale <= 0).sum())
