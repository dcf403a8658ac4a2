"""The renderer on the CPU in compiled loops (`render_kernels`): float32, gradients for the planes' content.

Forward, rows are dealt to threads. Backward, in bands of rows: first per-sample gradients, rows dealt to threads, then
their scatter into the planes, planes dealt to threads. No two threads write one number, and the order of all sums is
fixed: the result is the same to the bit for any number of threads. Threads and not OpenMP: a second OpenMP runtime
beside torch's stalls both.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rsnb.mpi import render_kernels as kernels
from rsnb.mpi.planes import PUBLISHED_EPSILON, PlaneFactors, texel_ranges

ROWS_A_PART = 16  # forward
BAND = 64  # rows whose per-sample gradients are held at a time
ROWS_A_BAND_PART = 8


class _Job(NamedTuple):
    """What the loops take, in numpy."""

    shape: tuple[int, int]
    factors: tuple[np.ndarray, ...]
    aim: tuple[np.ndarray, ...]
    epsilon: np.float32
    outside: np.float32
    size: tuple[int, int]


def composite_numba(mpi: Tensor, factors: PlaneFactors, size: tuple[int, int],
                    published: bool = False) -> tuple[Tensor, Tensor]:
    """As `composite_torch`: sums [5, H_t, W_t] and the share of planes in frame [H_t, W_t], float32."""
    factors = PlaneFactors(*(part.detach() for part in factors))  # a matrix that asks for gradients passes as it is
    shape = tuple(mpi.shape[2:])
    ranges = texel_ranges(factors, shape, 0.5 if published else 0.0)
    single = [part.numpy().astype(np.float32) for part in (factors.rise, factors.gap)]
    job = _Job(shape, (factors.scale.numpy(), factors.offset.numpy(), *single, ranges.numpy()),
               tuple(np.ascontiguousarray(m.numpy()) for m in (factors.to_ray, factors.to_ref, factors.K_ref)),
               np.float32(PUBLISHED_EPSILON if published else 0.0), np.float32(published), size)
    return _Composite.apply(mpi, job)


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, mpi, job):
        sums, share = np.empty((5, *job.size), np.float32), np.empty(job.size, np.float32)
        texels = _texels(mpi)

        def work(start, stop):
            kernels.render_rows(texels, job.shape, job.factors, job.aim, job.epsilon, job.outside, sums, share,
                                start, stop)

        with _Deal() as deal:
            deal(work, job.size[0], ROWS_A_PART)
        share /= max(int((job.factors[0] > 0).sum()), 1)
        ctx.save_for_backward(mpi)
        ctx.job = job
        share = torch.from_numpy(share)
        ctx.mark_non_differentiable(share)
        return torch.from_numpy(sums), share

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, _):
        mpi, job = ctx.saved_tensors[0], ctx.job
        texels = _texels(mpi)
        gradient = gradient.contiguous().numpy()
        out = np.empty_like(texels)  # large arrays of numpy come in large pages, which torch's do not
        planes, (height, width) = len(texels), job.size
        band = (np.empty((planes, BAND, width), np.float32), np.empty((planes, BAND, width), np.float32),
                np.empty((planes, BAND), np.bool_), np.empty((BAND, 2, width)),
                np.empty((BAND, 4 * width), np.float32))

        with _Deal() as deal:
            for top in range(0, height, BAND):
                rows = min(BAND, height - top)

                def samples(start, stop, top=top):
                    kernels.gradient_rows(texels, job.shape, job.factors, job.aim, job.epsilon, job.outside, gradient,
                                          band, top, top + start, top + stop)

                def scatter(start, stop, top=top, rows=rows):
                    kernels.scatter_planes(out, job.shape, job.factors, band, rows, top == 0, start, stop)

                deal(samples, rows, ROWS_A_BAND_PART)
                deal(scatter, planes, 1)
        return torch.from_numpy(out.reshape(planes, *job.shape, 4)).permute(0, 3, 1, 2), None


class _Deal:
    """work(start, stop) over 0..count in parts, to as many threads as torch uses, which stay for all calls."""

    def __enter__(self):
        self.threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        return self

    def __exit__(self, *failure):
        if self.pool is not None:
            self.pool.shutdown()

    def __call__(self, work, count: int, part: int) -> None:
        parts = [(start, min(start + part, count)) for start in range(0, count, part)]
        if self.pool is None:
            for start, stop in parts:
                work(start, stop)
        else:
            for done in [self.pool.submit(work, *one) for one in parts]:
                done.result()


def _texels(mpi: Tensor) -> np.ndarray:
    """[P, H * W * 4]; free of cost where `mpi` is in channels_last memory."""
    return mpi.detach().permute(0, 2, 3, 1).contiguous().numpy().reshape(len(mpi), -1)
