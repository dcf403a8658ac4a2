"""Where the planes of a multiplane image lie, and what a target camera's rays meet on them.

The planes are z = z_i of the reference camera, nearest first, uniform in inverse depth (Wu, Zou, Shi, IEEE TGRS 60,
2022; MINE, ICCV 2021). For a target pixel (x, y, 1) with d = K_t^-1 (x, y, 1), r = R^T d and the target camera's centre
o = -R^T t in the reference frame, the ray meets plane i at the target z depth lambda_i = (z_i - o_z) / r_z, and the
texel it meets there is affine in a vector q(x, y) that all planes share:

    texel_i = (z_i - o_z) / z_i * q + K_r o / z_i,   q = (K_r r)_xy / r_z

(both first two components), and the way between two planes is |d| (z_i+1 - z_i) / r_z. Nothing of it is sampled.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rsnb.errors import InputError
from rsnb.geometry.cameras import as_tensor
from rsnb.geometry.homographies import fronto_parallel_homographies

# A texel coordinate that no reference frame reaches: where a ray runs along or away from the planes.
NOWHERE = -1e6
PUBLISHED_EPSILON = 1e-6  # what the published renderer adds to each factor exp(-tau_i) of the transmittance
LEAST_TOWARDS = 1e-9  # of r_z, for a ray that runs towards the planes


class PlaneFactors(NamedTuple):
    """What belongs to planes and cameras alone, and three matrices to compute the rest from: float64.

    Attributes:
        scale, offset, rise, gap: see `PlaneSweep`.
        to_ray: [3, 3] from target pixels (x, y, 1) to d.
        to_ref: [3, 3] from target pixels to r.
        K_ref: [3, 3].
    """

    scale: Tensor
    offset: Tensor
    rise: Tensor
    gap: Tensor
    to_ray: Tensor
    to_ref: Tensor
    K_ref: Tensor


class PlaneSweep(NamedTuple):
    """What the rays of one target picture meet on every plane, in factors (see the module's text).

    Attributes:
        scale: [P] (z_i - o_z) / z_i; not above 0 where the target camera stands on or behind the plane.
        offset: [P, 2] texels; texel_i = scale_i q + offset_i, in pixels of the reference frame, centres at +0.5.
        rise: [P] z_i - o_z; lambda_i = rise_i * reach.
        gap: [P] to the next plane along the reference axis; the last one as `last_gap` says.
        q: [2, H, W] texels; NOWHERE for rays that do not run towards the planes.
        reach: [H, W] 1 / r_z: target z depth per unit along the reference axis; 0 for rays that run elsewhere.
        slant: [H, W] |d| / r_z: way along the ray per unit along the reference axis; 0 likewise.
    """

    scale: Tensor
    offset: Tensor
    rise: Tensor
    gap: Tensor
    q: Tensor
    reach: Tensor
    slant: Tensor


def plane_depths(near: float, far: float, count: int) -> Tensor:
    """Depths of `count` planes, uniform in inverse depth: 1/z_i = 1/near + i/(count - 1) (1/far - 1/near).

    Args:
        near, far: z depths in the reference camera, unit of the poses, 0 < near < far.
        count: of planes, at least 2.

    Returns:
        [P] float64, the nearest first.

    Raises:
        InputError: a range that is reversed or not above 0, or fewer than 2 planes.
    """
    if not 0 < near < far < float("inf"):
        raise InputError(f"a depth range from {near} to {far}", where="plane_depths",
                         mend="Give 0 < near < far, z depths in the reference camera; look whether the scene's range "
                              "is reversed or its camera looks away from it")
    if isinstance(count, bool) or int(count) != count or count < 2:
        raise InputError(f"{count} planes", where="plane_depths", mend="A multiplane image has at least 2")
    return 1 / torch.linspace(1 / near, 1 / far, int(count), dtype=torch.float64)


def plane_homographies(K_ref, K_target, ref_to_target, depths) -> Tensor:
    """For each plane the matrix that takes target pixels to the texels they show.

    Args:
        K_ref, K_target: [3, 3] intrinsics, pixels, centres at +0.5.
        ref_to_target: [4, 4] motion from the reference camera's frame to the target's.
        depths: [P] z depths of the planes in the reference camera.

    Returns:
        [P, 3, 3]; for a target pixel (x, y, 1) the third coordinate is z_reference / z_target.
    """
    return torch.linalg.inv(fronto_parallel_homographies(K_ref, K_target, ref_to_target, depths))


def plane_distances(camera, depths, last_gap: float | None = None) -> tuple[Tensor, Tensor]:
    """Closed form of where the rays meet the planes, and how far they run between them.

    Args:
        camera: an `MpiCamera`.
        depths: [P].
        last_gap: see `plane_sweep`.

    Returns:
        lambda [P, H, W], z depths in the target camera (0 for rays that do not run towards the planes; negative for
        planes behind the camera), and delta [P, H, W], way along the ray to the next plane, both in the unit of the
        poses.
    """
    sweep = plane_sweep(camera, depths, last_gap)
    return sweep.rise[:, None, None] * sweep.reach, sweep.gap[:, None, None] * sweep.slant


def plane_factors(camera, depths, last_gap: float | None = None) -> PlaneFactors:
    """The part of `plane_sweep` that needs no pixel; same arguments, same errors."""
    K_ref, K_target, pose = (as_tensor(m).double() for m in (camera.K_ref, camera.K_target, camera.ref_to_target))
    depths = as_tensor(depths).double().to(pose.device)
    if depths.ndim != 1 or not (depths > 0).all() or not (depths.diff() > 0).all():
        raise InputError("plane depths are not above 0 or do not increase", where="depths",
                         mend="Give them nearest first, as plane_depths does")
    rotation, centre = pose[:3, :3], -(pose[:3, :3].T @ pose[:3, 3])
    if last_gap is None:
        last = depths[-1] - depths[-2] if len(depths) > 1 else depths[-1]
    else:
        last = depths.new_tensor(last_gap)
    to_ray = torch.linalg.inv(K_target)
    return PlaneFactors(
        scale=(depths - centre[2]) / depths,
        offset=(K_ref[:2] @ centre)[None, :] / depths[:, None],
        rise=depths - centre[2],
        gap=torch.cat([depths.diff(), last.reshape(1)]),
        to_ray=to_ray,
        to_ref=rotation.T @ to_ray,
        K_ref=K_ref,
    )


def plane_sweep(camera, depths, last_gap: float | None = None) -> PlaneSweep:
    """The rays of a target picture against all planes; float64, differentiable in everything.

    Args:
        camera: an `MpiCamera` (its tensors may ask for gradients).
        depths: [P] z depths in the reference camera, increasing.
        last_gap: thickness of the last plane along the reference axis, unit of the poses; None repeats the gap before
            it (a lone plane is as thick as it is far).

    Raises:
        InputError: depths are not above 0 or do not increase.
    """
    factors = plane_factors(camera, depths, last_gap)
    K_ref = factors.K_ref
    towards = _linear(factors.to_ref[2], camera.size)
    across = K_ref[:2, :2] @ factors.to_ref[:2]
    ahead = towards > LEAST_TOWARDS
    everywhere = towards.device.type == "cpu" and bool(ahead.all())  # the usual case, told without waiting for a GPU
    reach = 1 / towards if everywhere else torch.where(ahead, 1 / torch.where(ahead, towards, 1.0), 0.0)
    q = torch.stack([torch.addcmul(K_ref[k, 2], _linear(across[k], camera.size), reach) for k in (0, 1)])
    q = q if everywhere else torch.where(ahead, q, NOWHERE)
    square = sum(_linear(row, camera.size).square() for row in factors.to_ray)
    return PlaneSweep(*factors[:4], q=q, reach=reach, slant=square.sqrt() * reach)


def texel_ranges(sweep: PlaneSweep | PlaneFactors, size: tuple[int, int], margin: float = 0.0) -> Tensor:
    """For which q a plane's texel lies within the reference frame: [P, 2 (u, v), 2 (least, greatest)].

    Planes that the camera stands on or behind get an empty range. `margin` widens the frame on all sides, in texels.
    """
    height, width = size
    low = (sweep.offset.new_tensor([-margin] * 2) - sweep.offset) / sweep.scale[:, None]
    high = (sweep.offset.new_tensor([width + margin, height + margin]) - sweep.offset) / sweep.scale[:, None]
    ranges = torch.stack([low, high], dim=-1)
    empty = ranges.new_tensor([float("inf"), -float("inf")])
    return torch.where(sweep.scale[:, None, None] > 0, ranges, empty)


def planes_in_frame(sweep: PlaneSweep, size: tuple[int, int], margin: float = 0.0) -> tuple[Tensor, Tensor]:
    """Which planes ahead of the camera a ray meets within the reference frame: those from `first` on, before `last`.

    Each bound of `texel_ranges` is a Moebius function of the plane's depth, hence monotone from plane to plane, and
    what lies within all four bounds is one run of planes.

    Returns:
        first, last [H, W] int32, indices into all planes; none are met where last <= first.
    """
    passed, count = int((sweep.scale <= 0).sum()), len(sweep.scale)
    first = sweep.q.new_full(sweep.reach.shape, passed, dtype=torch.int32)
    last = torch.full_like(first, count)
    ranges = texel_ranges(sweep, size, margin)[passed:]
    for q, (low, high) in zip(sweep.q, ranges.permute(1, 2, 0), strict=True):
        least, greatest = torch.aminmax(q)
        for bound, needed, upper in ((low, bool((low > least).any()), False),
                                     (high, bool((high < greatest).any()), True)):
            if not needed:
                continue
            rising = bool(bound[-1] >= bound[0])
            # how many bounds lie below q: of lower ones those that hold, of upper ones those that do not
            below = torch.searchsorted(bound.sort().values, q.contiguous(), right=not upper, out_int32=True)
            if rising != upper:  # the nearest planes are within this bound
                torch.minimum(last, below + passed if rising else count - below, out=last)
            else:
                torch.maximum(first, below + passed if rising else count - below, out=first)
    return first, last


def share_in_frame(sweep: PlaneSweep, size: tuple[int, int], margin: float = 0.0) -> Tensor:
    """[H, W] float32: of the planes ahead of the camera, the share whose texel lies within the reference frame."""
    first, last = planes_in_frame(sweep, size, margin)
    return (last - first).clamp_(min=0).float() / max(int((sweep.scale > 0).sum()), 1)


def _linear(row: Tensor, size: tuple[int, int]) -> Tensor:
    """[H, W]: row [3] times (x, y, 1) at all pixel centres, from 1-D x and y (a product with all pixels is slow)."""
    height, width = size
    x = torch.arange(width, dtype=row.dtype, device=row.device) + 0.5
    y = torch.arange(height, dtype=row.dtype, device=row.device)[:, None] + 0.5
    return row[0] * x + (row[1] * y + row[2])
