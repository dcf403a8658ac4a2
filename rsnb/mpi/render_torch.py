"""The renderer in torch, any device and precision: planes in small groups, gradients by hand.

With f_i the sample of plane i times the gradient of the sums and eps what the published code adds to each factor of the
transmittance, the gradient of tau_i = sigma_i delta_i is

    exp(-tau_i) (T_i f_i - S_i / (exp(-tau_i) + eps)),   S_i = sum of w_j f_j over the planes j behind i,

so one pass back to front does for everything; samples and T are kept from the forward pass. Gradients of poses,
intrinsics and depths come out as those of the factors in `PlaneSweep`, and autograd takes them further.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from rsnb.mpi.planes import PUBLISHED_EPSILON, PlaneSweep, planes_in_frame
from rsnb.mpi.row_threads import bands, in_parallel


def composite_torch(mpi: Tensor, sweep: PlaneSweep, published: bool = False) -> tuple[Tensor, Tensor]:
    """Sums of w_i times red, green, blue, z depth and 1 over all planes, front to back, and where the planes are met.

    Args:
        mpi: [P, 4, H, W].
        sweep: of the target camera.
        published: texels beyond the reference frame repeat its border (otherwise they are empty), each factor
            exp(-tau_i) of the transmittance gets 1e-6 more, and the last gap is along the ray.

    Returns:
        sums [5, H_t, W_t] in the precision of `mpi`, differentiable once in `mpi` and the sweep's tensors; and of the
        planes ahead of the camera the share [H_t, W_t] whose texel lies within the reference frame (as published:
        or within half a texel of it).
    """
    fixed = PlaneSweep(*(part.detach() for part in sweep))
    factors = (part.to(mpi.dtype) for part in (sweep.scale, sweep.offset, sweep.rise, sweep.gap, sweep.q, sweep.slant))
    first, last = planes_in_frame(fixed, tuple(mpi.shape[2:]), 0.5 if published else 0.0)
    share = (last - first).clamp_(min=0).float() / max(int((fixed.scale > 0).sum()), 1)
    total = _Composite.apply(mpi, *factors, *((None, PUBLISHED_EPSILON) if published else ((first, last), 0.0)))
    depth = total[3] * sweep.reach.to(mpi.dtype)
    return torch.cat([total[:3], depth[None], total[4:]]), share


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, mpi, scale, offset, rise, gap, q, slant, met, epsilon):
        keep = any(ctx.needs_input_grad)
        moving = any(ctx.needs_input_grad[1:])
        before = mpi.new_empty(len(mpi) if keep else 0, *slant.shape)
        total = mpi.new_zeros(5, *slant.shape)
        rows = [slice(0, len(slant))] if moving else bands(len(slant), mpi.device)
        factors, size = (mpi.detach(), scale, offset, gap, q, slant, met), group_size(mpi.device)
        samples = in_parallel(  # the size is told: a thread of a band has one thread of torch
            lambda part: _forward(_Planes(*factors, part, size), rise, epsilon, total[:, part], before[:, part]), rows)
        ctx.save_for_backward(mpi, scale, offset, rise, gap, q, slant, before)
        ctx.met, ctx.epsilon, ctx.rows = met, epsilon, rows
        ctx.samples = samples if keep else None
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        mpi, scale, offset, rise, gap, q, slant, before = ctx.saved_tensors
        planes = _Planes(mpi, scale, offset, gap, q, slant, ctx.met)
        moving = any(ctx.needs_input_grad[1:])
        out = _Gradients(mpi, scale, offset, rise, gap, q, slant)
        pieces = [_Backward(_Planes(mpi, scale, offset, gap, q, slant, ctx.met, rows), rise, gradient[:, rows],
                            before[:, rows], ctx.epsilon, out if moving else None) for rows in ctx.rows]
        scratch = None
        groups = list(planes.groups())
        for number, part in reversed(list(enumerate(groups))):
            size = part.stop - part.start
            if scratch is None or len(scratch) != size:
                scratch = mpi.new_empty(size, 4, *slant.shape)
            in_parallel(lambda i, part=part, number=number, scratch=scratch: pieces[i].group(
                part, ctx.samples[i][number], scratch[:, :, ctx.rows[i]]), range(len(pieces)))
            to_mpi, to_grid = torch.ops.aten.grid_sampler_2d_backward(
                scratch, planes.texels(part, values=moving), planes.grid(part), 0, 1, False,
                [ctx.needs_input_grad[0], moving])
            if ctx.needs_input_grad[0]:
                out.content(part, to_mpi)
            if moving:
                out.across_the_planes(part, to_grid, planes.per_texel)
        content = out.mpi if ctx.needs_input_grad[0] else None
        return content, out.scale, out.offset, out.rise, out.gap, out.q, out.slant, None, None


def _forward(planes: _Planes, rise: Tensor, epsilon: float, total: Tensor, before: Tensor) -> list[Tensor]:
    """Composite some rows into total [5, h, W]; with `before` [P, h, W] also T in front of each plane. The samples."""
    transmittance = torch.ones_like(planes.slant)
    weight = torch.empty_like(planes.slant)
    samples = []
    for part in planes.groups():
        step = planes.steps(part)
        texels = F.grid_sample(planes.texels(part), planes.grid(part), padding_mode="border", align_corners=False)
        if len(before):
            samples.append(texels)
        kept = step.mul_(texels[:, 3]).neg_().exp_()
        for k, i in enumerate(range(part.start, part.stop)):
            if len(before):
                before[i] = transmittance
            # T (1 - kept), and T goes on to the next plane
            torch.addcmul(transmittance, transmittance, kept[k], value=-1, out=weight)
            transmittance.mul_(kept[k].add_(epsilon) if epsilon else kept[k])
            total[:3].addcmul_(texels[k, :3], weight)
            total[3].add_(weight, alpha=planes.rise(rise, i))
            if epsilon:
                total[4] += weight
    if not epsilon:
        torch.sub(1, transmittance, out=total[4])  # the weights sum to what does not pass
    return samples


class _Backward:
    """Back to front through some rows of the target picture: the gradients of samples, one group after the other."""

    def __init__(self, planes: _Planes, rise: Tensor, gradient: Tensor, before: Tensor, epsilon: float,
                 moving: _Gradients | None):
        self.planes, self.rise, self.gradient, self.before = planes, rise, gradient, before
        self.epsilon, self.moving = epsilon, moving
        self.behind = torch.zeros_like(planes.slant)
        self.f, self.passed, self.weight = (torch.empty_like(planes.slant) for _ in range(3))

    def group(self, part: slice, texels: Tensor, out: Tensor) -> None:
        """Write the gradients of the samples [G, 4, h, W] of a group."""
        planes, gradient, f, passed, weight = self.planes, self.gradient, self.f, self.passed, self.weight
        step = planes.steps(part)
        kept = torch.mul(texels[:, 3], step).neg_().exp_()
        for k in reversed(range(len(texels))):
            i = part.start + k
            torch.add(gradient[4], gradient[3], alpha=planes.rise(self.rise, i), out=f)
            for channel in range(3):
                f.addcmul_(texels[k, channel], gradient[channel])
            torch.mul(self.before[i], kept[k], out=passed)
            torch.sub(self.before[i], passed, out=weight)
            passed.mul_(f)  # from here on the gradient of tau
            passed -= self.behind * (kept[k] / (kept[k] + self.epsilon)) if self.epsilon else self.behind
            self.behind.addcmul_(weight, f)
            torch.mul(gradient[:3], weight, out=out[k, :3])
            torch.mul(passed, step[k], out=out[k, 3])
            if self.moving is not None:
                self.moving.rise[i] = (weight * gradient[3]).sum()
                if planes.met is not None or i + 1 < len(planes.mpi):
                    self.moving.along_the_ray(i, out[k, 3] * texels[k, 3])


class _Planes:
    """The planes ahead of the camera, in groups: `grid_sample` shares a batch among threads, not a picture."""

    def __init__(self, mpi: Tensor, scale: Tensor, offset: Tensor, gap: Tensor, q: Tensor, slant: Tensor,
                 met: tuple[Tensor, Tensor] | None, rows: slice = slice(None), size: int | None = None):
        height, width = mpi.shape[2:]
        self.size = size or group_size(mpi.device)
        q, slant, met = q[:, rows], slant[rows], met and tuple(part[rows] for part in met)
        self.mpi, self.gap, self.slant, self.met = mpi, gap, slant, met
        self.padded = padded_width(width) if mpi.device.type == "cpu" else width
        self.per_texel = q.new_tensor([2 / self.padded, 2 / height])
        self.normalised = q * self.per_texel[:, None, None]
        self.scale = scale[:, None, None, None]
        self.shift = (offset * self.per_texel - 1)[:, :, None, None]
        self.first = int((scale <= 0).sum())  # depths increase: those that the camera has passed come first
        self._rise: list[float] = []
        self._copy = None

    def groups(self) -> Iterator[slice]:
        for start in range(self.first, len(self.mpi), self.size):
            yield slice(start, min(start + self.size, len(self.mpi)))

    def rise(self, rise: Tensor, i: int) -> float:
        self._rise = self._rise or rise.tolist()
        return self._rise[i]

    def texels(self, part: slice, values: bool = True) -> Tensor:
        """[G, 4, H, W or more] of a group, rows as long as `padded_width` says; of any content unless `values`."""
        texels, width = self.mpi[part], self.mpi.shape[3]
        if self.padded == width:
            return texels
        if self._copy is None or len(self._copy) < len(texels):
            # contiguous, which grid_sampler_2d_backward makes of what is not
            self._copy = texels.new_zeros(*texels.shape[:3], self.padded)
        copy = self._copy[: len(texels)]
        if values:
            copy[..., :width] = texels
            copy[..., width:] = texels[..., -1:]
        return copy

    def grid(self, part: slice) -> Tensor:
        """Sampling grids [G, H_t, W_t, 2]."""
        return torch.mul(self.normalised, self.scale[part]).add_(self.shift[part]).permute(0, 2, 3, 1)

    def steps(self, part: slice) -> Tensor:
        """Thicknesses [G, H_t, W_t], 0 where a texel lies beyond the frame."""
        step = self.slant * self.gap[part, None, None]
        if self.met is None and part.stop == len(self.mpi):  # as published: the last gap is along the ray
            step[-1] = torch.where(self.slant > 0, self.gap[-1], 0)
        if self.met is not None:
            first, last = self.met
            for k, i in enumerate(range(part.start, part.stop)):
                step[k] *= (first <= i) & (last > i)
        return step


def group_size(device: torch.device) -> int:
    """Planes that go through `grid_sample` at once: as many as torch has threads, which share a batch."""
    return max(2, min(8, torch.get_num_threads())) if device.type == "cpu" else 8


def padded_width(width: int) -> int:
    """Texels a row on the CPU: an odd number of 64-byte lines, so that rows do not fall on the same sets of the cache.

    At 512 texels a row `grid_sample` takes twice as long as at 528, and its way back 1.6 times (measured on Zen 4).
    """
    lines = -(-width // 16)
    return 16 * (lines + 1 - lines % 2)


class _Gradients:
    """Where the gradients of one backward pass gather."""

    def __init__(self, mpi: Tensor, scale: Tensor, offset: Tensor, rise: Tensor, gap: Tensor, q: Tensor,
                 slant: Tensor):
        self.mpi = torch.empty_like(mpi)
        self.mpi[: int((scale <= 0).sum())] = 0  # planes that the camera has passed
        self.scale, self.offset, self.rise, self.gap, self.q, self.slant = (
            torch.zeros_like(part) for part in (scale, offset, rise, gap, q, slant))
        self._inputs = scale, gap, q, slant

    def content(self, part: slice, to_texels: Tensor) -> None:
        """`to_texels` [G, 4, H, W or more]: what columns beyond the planes got belongs to the last one they repeat."""
        width = self.mpi.shape[3]
        self.mpi[part] = to_texels[..., :width]
        if to_texels.shape[3] > width:
            self.mpi[part, ..., -1] += to_texels[..., width:].sum(dim=-1)

    def along_the_ray(self, i: int, to_log_step: Tensor) -> None:
        """`to_log_step` [H, W] is the gradient of tau times tau, of plane i: tau is linear in gap and in slant."""
        _, gap, _, slant = self._inputs
        self.gap[i] = to_log_step.sum() / gap[i]
        self.slant += torch.where(slant > 0, to_log_step / slant.clamp(min=1e-30), 0)

    def across_the_planes(self, part: slice, to_grid: Tensor, per_texel: Tensor) -> None:
        """`to_grid` [G, H, W, 2] is the gradient of the sampling grid of a group of planes."""
        scale, _, q, _ = self._inputs
        to_texel = to_grid * per_texel
        self.offset[part] = to_texel.sum(dim=(1, 2))
        self.scale[part] = (to_texel * q.movedim(0, -1)).sum(dim=(1, 2, 3))
        self.q += (to_texel * scale[part, None, None, None]).sum(dim=0).movedim(-1, 0)
