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

from rsnb.mpi.planes import PUBLISHED_EPSILON, PlaneSweep, share_in_frame, texel_ranges


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
    size = tuple(mpi.shape[2:])
    factors = (part.to(mpi.dtype) for part in (sweep.scale, sweep.offset, sweep.rise, sweep.gap, sweep.q, sweep.slant))
    rules = (None, PUBLISHED_EPSILON) if published else (texel_ranges(fixed, size), 0.0)
    total = _Composite.apply(mpi, *factors, *rules)
    depth = total[3] * sweep.reach.to(mpi.dtype)
    return torch.cat([total[:3], depth[None], total[4:]]), share_in_frame(fixed, size, 0.5 if published else 0.0)


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, mpi, scale, offset, rise, gap, q, slant, ranges, epsilon):
        planes = _Planes(mpi, scale, offset, gap, q, slant, ranges)
        keep = any(ctx.needs_input_grad)
        transmittance = torch.ones_like(slant)
        before = mpi.new_empty(len(mpi) if keep else 0, *slant.shape)
        total = mpi.new_zeros(5, *slant.shape)
        weight = torch.empty_like(slant)
        samples = []
        for part in planes.groups():
            grid, step = planes.aim(part)
            texels = F.grid_sample(mpi[part], grid, padding_mode="border", align_corners=False)
            if keep:
                samples.append(texels)
            kept = torch.exp(texels[:, 3].mul(step).neg_())
            for k, i in enumerate(range(part.start, part.stop)):
                if keep:
                    before[i] = transmittance
                torch.mul(transmittance, kept[k], out=weight)
                torch.sub(transmittance, weight, out=weight)
                transmittance.mul_(kept[k].add_(epsilon) if epsilon else kept[k])
                total[:3].addcmul_(texels[k, :3], weight)
                total[3].addcmul_(weight, rise[i])
                if epsilon:
                    total[4] += weight
        if not epsilon:
            torch.sub(1, transmittance, out=total[4])  # the weights sum to what does not pass
        ctx.save_for_backward(mpi, scale, offset, rise, gap, q, slant, before)
        ctx.ranges, ctx.epsilon, ctx.samples = ranges, epsilon, samples
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        mpi, scale, offset, rise, gap, q, slant, before = ctx.saved_tensors
        planes = _Planes(mpi, scale, offset, gap, q, slant, ctx.ranges)
        moving = any(ctx.needs_input_grad[1:])
        out = _Gradients(mpi, scale, offset, rise, gap, q, slant)
        behind = torch.zeros_like(slant)
        for part, texels in reversed(list(zip(planes.groups(), ctx.samples, strict=True))):
            grid, step = planes.aim(part)
            kept = torch.exp(texels[:, 3].mul(step).neg_())
            to_texels = torch.empty_like(texels)
            for k in reversed(range(len(texels))):
                i = part.start + k
                f = (texels[k, :3] * gradient[:3]).sum(dim=0).addcmul_(gradient[3], rise[i]).add_(gradient[4])
                passed = before[i] * kept[k]
                weight = before[i] - passed
                to_tau = passed * f
                to_tau -= behind * (kept[k] / (kept[k] + ctx.epsilon)) if ctx.epsilon else behind
                behind.addcmul_(weight, f)
                torch.mul(gradient[:3], weight, out=to_texels[k, :3])
                torch.mul(to_tau, step[k], out=to_texels[k, 3])
                if moving:
                    out.rise[i] = (weight * gradient[3]).sum()
                    if ctx.ranges is not None or i + 1 < len(mpi):
                        out.along_the_ray(i, to_texels[k, 3] * texels[k, 3])
            to_mpi, to_grid = torch.ops.aten.grid_sampler_2d_backward(
                to_texels, mpi[part], grid, 0, 1, False, [ctx.needs_input_grad[0], moving])
            if ctx.needs_input_grad[0]:
                out.mpi[part] = to_mpi
            if moving:
                out.across_the_planes(part, to_grid)
        content = out.mpi if ctx.needs_input_grad[0] else None
        return content, out.scale, out.offset, out.rise, out.gap, out.q, out.slant, None, None


class _Planes:
    """The planes ahead of the camera, in groups: `grid_sample` shares a batch among threads, not a picture."""

    def __init__(self, mpi: Tensor, scale: Tensor, offset: Tensor, gap: Tensor, q: Tensor, slant: Tensor,
                 ranges: Tensor | None):
        height, width = mpi.shape[2:]
        self.mpi, self.gap, self.q, self.slant = mpi, gap, q, slant
        self.per_texel = q.new_tensor([2 / width, 2 / height])
        self.normalised = (q.movedim(0, -1) * self.per_texel).contiguous()
        self.scale = scale[:, None, None, None]
        # a whole row of the shift: broadcast over an inner dimension of 2, the sum below takes 17 times as long
        shift = (offset * self.per_texel - 1)[:, None, None]
        self.shift = shift.expand(-1, 1, q.shape[2], 2).contiguous()
        self.first = int((scale <= 0).sum())  # depths increase: those that the camera has passed come first
        self.extent = None if ranges is None else (q.amin(dim=(1, 2)).tolist(), q.amax(dim=(1, 2)).tolist())
        self.ranges = None if ranges is None else ranges.tolist()

    def groups(self) -> Iterator[slice]:
        size = max(2, min(8, torch.get_num_threads())) if self.mpi.device.type == "cpu" else 8
        for start in range(self.first, len(self.mpi), size):
            yield slice(start, min(start + size, len(self.mpi)))

    def aim(self, part: slice) -> tuple[Tensor, Tensor]:
        """Grids [G, H_t, W_t, 2] and thicknesses [G, H_t, W_t], 0 where a texel lies beyond the frame."""
        grid = torch.addcmul(self.shift[part], self.normalised, self.scale[part])
        step = self.slant * self.gap[part, None, None]
        if self.ranges is None and part.stop == len(self.mpi):  # as published: the last gap is along the ray
            step[-1] = torch.where(self.slant > 0, self.gap[-1], 0)
        for k, i in enumerate(range(part.start, part.stop)):
            self._empty_beyond(i, step[k])
        return grid, step

    def _empty_beyond(self, i: int, step: Tensor) -> None:
        if self.ranges is None:
            return
        for axis, (low, high) in enumerate(self.ranges[i]):
            if self.extent[0][axis] < low:
                step *= self.q[axis] >= low
            if self.extent[1][axis] > high:
                step *= self.q[axis] <= high


class _Gradients:
    """Where the gradients of one backward pass gather."""

    def __init__(self, mpi: Tensor, scale: Tensor, offset: Tensor, rise: Tensor, gap: Tensor, q: Tensor,
                 slant: Tensor):
        self.mpi = torch.empty_like(mpi)
        self.mpi[: int((scale <= 0).sum())] = 0  # planes that the camera has passed
        self.scale, self.offset, self.rise, self.gap, self.q, self.slant = (
            torch.zeros_like(part) for part in (scale, offset, rise, gap, q, slant))
        self._inputs = scale, gap, q, slant
        self._per_texel = q.new_tensor([2 / mpi.shape[3], 2 / mpi.shape[2]])

    def along_the_ray(self, i: int, to_log_step: Tensor) -> None:
        """`to_log_step` [H, W] is the gradient of tau times tau, of plane i: tau is linear in gap and in slant."""
        _, gap, _, slant = self._inputs
        self.gap[i] = to_log_step.sum() / gap[i]
        self.slant += torch.where(slant > 0, to_log_step / slant.clamp(min=1e-30), 0)

    def across_the_planes(self, part: slice, to_grid: Tensor) -> None:
        """`to_grid` [G, H, W, 2] is the gradient of the sampling grid of a group of planes."""
        scale, _, q, _ = self._inputs
        to_texel = to_grid * self._per_texel
        self.offset[part] = to_texel.sum(dim=(1, 2))
        self.scale[part] = (to_texel * q.movedim(0, -1)).sum(dim=(1, 2, 3))
        self.q += (to_texel * scale[part, None, None, None]).sum(dim=0).movedim(-1, 0)
