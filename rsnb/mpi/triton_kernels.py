"""GPU kernels of the renderer: one program a tile of target pixels, all planes of it from front to back.

Two numbers say where a pixel's texel lies: q(x, y) of `PlaneFactors`, split once a pixel, in float64, into its nearest
whole number and the rest; and a displacement d_i that is small, so that float32 holds it to some 1e-6 texels:

    texel_i = q_whole + d_i,   d_i = (scale_i - 1) q_whole + scale_i q_rest + offset_i

Way back: each plane's sample is computed once more, what reached it was kept by the forward pass, and what lies behind
it is summed from back to front; gradients of texels are added where they belong by atomic additions, whose order, and
with it the last digits, differ from run to run. Never timed on a GPU: not measured.
"""

from __future__ import annotations

import triton
import triton.language as tl

FACTORS = 5  # a plane: scale - 1, offset of u and v, rise, gap
LEAST_ALPHA = tl.constexpr(1e-5)
EPSILON = tl.constexpr(1e-6)


@triton.jit
def _aim(camera, x, y):
    """A pixel's q as whole number and rest, reach, slant, and whether its ray runs towards the planes.

    camera: [18] float64, row by row: the matrices that give (q_u, q_v, 1) r_z and the ray d for (x, y, 1).
    """
    x, y = x.to(tl.float64) + 0.5, y.to(tl.float64) + 0.5
    towards = tl.load(camera + 6) * x + (tl.load(camera + 7) * y + tl.load(camera + 8))
    ahead = towards > 1e-9
    reach = tl.where(ahead, 1.0 / tl.where(ahead, towards, 1.0), 0.0)
    u = (tl.load(camera + 0) * x + (tl.load(camera + 1) * y + tl.load(camera + 2))) * reach
    v = (tl.load(camera + 3) * x + (tl.load(camera + 4) * y + tl.load(camera + 5))) * reach
    whole_u, whole_v = tl.floor(u + 0.5), tl.floor(v + 0.5)
    dx = tl.load(camera + 9) * x + (tl.load(camera + 10) * y + tl.load(camera + 11))
    dy = tl.load(camera + 12) * x + (tl.load(camera + 13) * y + tl.load(camera + 14))
    dz = tl.load(camera + 15) * x + (tl.load(camera + 16) * y + tl.load(camera + 17))
    slant = tl.sqrt(dx * dx + dy * dy + dz * dz) * reach
    return (whole_u.to(tl.float32), (u - whole_u).to(tl.float32), whole_v.to(tl.float32),
            (v - whole_v).to(tl.float32), reach.to(tl.float32), slant.to(tl.float32), ahead)


@triton.jit
def _between(whole, d, last):
    """The two texels of one axis between which whole + d lies, as the first one's index, and how far along: 0..1."""
    before = tl.floor(d - 0.5)
    rest = d - 0.5 - before
    first = whole + before
    rest = tl.where(first < 0, 0.0, tl.where(first >= last, 1.0, rest))
    return tl.minimum(tl.maximum(first, 0.0), last - 1).to(tl.int32), rest


@triton.jit
def _meet(factors, i, planes, whole_u, rest_u, whole_v, rest_v, slant, ahead, height, width, PUBLISHED: tl.constexpr):
    """Plane i: upper left texel, fractions, thickness along the ray (0 where it does not count), whether in frame."""
    factor = factors + i * 5
    away, rise, gap = tl.load(factor), tl.load(factor + 3), tl.load(factor + 4)
    d_u = away * whole_u + ((1.0 + away) * rest_u + tl.load(factor + 1))
    d_v = away * whole_v + ((1.0 + away) * rest_v + tl.load(factor + 2))
    margin = 0.5 if PUBLISHED else 0.0
    inside = (d_u >= -margin - whole_u) & (d_u <= width + margin - whole_u) & ahead
    inside = inside & (d_v >= -margin - whole_v) & (d_v <= height + margin - whole_v)
    if PUBLISHED:  # the last gap is along the ray
        step = tl.where(i + 1 == planes, tl.where(ahead, gap, 0.0), gap * slant)
    else:
        step = tl.where(inside, gap * slant, 0.0)
    column, f_u = _between(whole_u, d_u, width - 1)
    row, f_v = _between(whole_v, d_v, height - 1)
    return column, row, f_u, f_v, step, rise, inside


@triton.jit
def _corner(column, row, channel, height, width, CHANNELS_LAST: tl.constexpr):
    """Where the upper left texel's channels [N, 4] stand within their plane."""
    texel = row * width + column
    if CHANNELS_LAST:
        return texel[:, None] * 4 + channel[None, :]
    else:
        return texel[:, None] + (channel * (height * width))[None, :]


@triton.jit
def _sample(plane, corner, right, down, f_u, f_v, counts):
    """Bilinear samples [N, 4]; pixels that do not count read nothing."""
    mask = counts[:, None]
    f_u, f_v = f_u[:, None], f_v[:, None]
    a = tl.load(plane + corner, mask=mask, other=0.0)
    b = tl.load(plane + corner + right, mask=mask, other=0.0)
    c = tl.load(plane + corner + down, mask=mask, other=0.0)
    d = tl.load(plane + corner + (down + right), mask=mask, other=0.0)
    return (a * (1 - f_u) + b * f_u) * (1 - f_v) + (c * (1 - f_u) + d * f_u) * f_v


@triton.jit
def _pixel(rows, columns, TILE_X: tl.constexpr, TILE_Y: tl.constexpr):
    """Column, row, index and existence of the target pixels of this program."""
    n = tl.arange(0, TILE_X * TILE_Y)
    x, y = tl.program_id(0) * TILE_X + n % TILE_X, tl.program_id(1) * TILE_Y + n // TILE_X
    return x, y, y * columns + x, (x < columns) & (y < rows)


@triton.jit
def _sizes(texels, pixels):
    """Of one plane of texels, and of one picture: int64, for all planes may hold more than 2^31 numbers."""
    return tl.full((), 4, tl.int64) * texels, tl.full((), 1, tl.int64) * pixels


@triton.jit
def composite(mpi, factors, camera, background, rgb, depth, alpha, mask, before, least_share, first, planes, height,
              width, rows, columns, PUBLISHED: tl.constexpr, CHANNELS_LAST: tl.constexpr, KEEP: tl.constexpr,
              TILE_X: tl.constexpr, TILE_Y: tl.constexpr):
    """Picture, depth, alpha and mask of a tile; with KEEP, `before` [P, rows, columns] gets what reaches each plane."""
    x, y, index, exists = _pixel(rows, columns, TILE_X, TILE_Y)
    whole_u, rest_u, whole_v, rest_v, reach, slant, ahead = _aim(camera, x, y)
    channel = tl.arange(0, 4)
    plane_size, picture_size = _sizes(height * width, rows * columns)
    right = 4 if CHANNELS_LAST else 1
    passed = tl.full((TILE_X * TILE_Y,), 1.0, tl.float32)
    depths, alphas, met = passed * 0, passed * 0, passed * 0
    colours = tl.zeros((TILE_X * TILE_Y, 4), tl.float32)
    for i in tl.range(first, planes):
        column, row, f_u, f_v, step, rise, inside = _meet(
            factors, i, planes, whole_u, rest_u, whole_v, rest_v, slant, ahead, height, width, PUBLISHED)
        counts = (exists & ahead) if PUBLISHED else (exists & inside)
        corner = _corner(column, row, channel, height, width, CHANNELS_LAST)
        sample = _sample(mpi + i * plane_size, corner, right, right * width, f_u, f_v, counts)
        sigma = tl.sum(tl.where(channel[None, :] == 3, sample, 0.0), axis=1)
        kept = tl.exp(-sigma * step)
        if KEEP:
            tl.store(before + i * picture_size + index, passed, mask=exists)
        weight = passed - passed * kept
        passed = passed * (kept + EPSILON) if PUBLISHED else passed * kept
        colours += weight[:, None] * sample
        depths += weight * rise
        alphas += weight
        met += inside.to(tl.float32)
    behind = tl.load(background + channel, mask=channel < 3, other=0.0)
    colours += (1 - alphas)[:, None] * behind[None, :]
    share = met / tl.maximum(planes - first, 1).to(tl.float32)
    divisor = alphas + LEAST_ALPHA if PUBLISHED else tl.maximum(alphas, LEAST_ALPHA)
    where = index[:, None] + (channel * (rows * columns))[None, :]
    tl.store(rgb + where, colours, mask=exists[:, None] & (channel < 3)[None, :])
    tl.store(depth + index, depths * reach / divisor, mask=exists)
    tl.store(alpha + index, alphas, mask=exists)
    valid = (met > 0) if PUBLISHED else (share >= least_share)
    tl.store(mask + index, valid.to(tl.uint8), mask=exists)


@triton.jit
def composite_backward(mpi, factors, camera, background, to_rgb, to_depth, to_alpha, depth, alpha, before, gradient,
                       first, planes, height, width, rows, columns, PUBLISHED: tl.constexpr,
                       CHANNELS_LAST: tl.constexpr, TILE_X: tl.constexpr, TILE_Y: tl.constexpr):
    """Adds to `gradient`, which lies in memory as `mpi`, the part of a tile's pixels."""
    x, y, index, exists = _pixel(rows, columns, TILE_X, TILE_Y)
    whole_u, rest_u, whole_v, rest_v, reach, slant, ahead = _aim(camera, x, y)
    channel = tl.arange(0, 4)
    colour = channel < 3
    plane_size, picture_size = _sizes(height * width, rows * columns)
    right = 4 if CHANNELS_LAST else 1
    down = right * width
    where = index[:, None] + (channel * (rows * columns))[None, :]
    to_colour = tl.load(to_rgb + where, mask=exists[:, None] & colour[None, :], other=0.0)
    to_z = tl.load(to_depth + index, mask=exists, other=0.0)
    alphas = tl.load(alpha + index, mask=exists, other=0.0)
    divisor = alphas + LEAST_ALPHA if PUBLISHED else tl.maximum(alphas, LEAST_ALPHA)
    to_z = to_z / divisor
    lost = to_z * tl.load(depth + index, mask=exists, other=0.0)
    if not PUBLISHED:
        lost = tl.where(alphas >= LEAST_ALPHA, lost, 0.0)
    behind_all = tl.load(background + channel, mask=colour, other=0.0)
    to_weight = tl.load(to_alpha + index, mask=exists, other=0.0) - lost
    to_weight -= tl.sum(to_colour * behind_all[None, :], axis=1)
    to_z = to_z * reach
    behind = to_z * 0
    for k in tl.range(0, planes - first):
        i = planes - 1 - k
        column, row, f_u, f_v, step, rise, inside = _meet(
            factors, i, planes, whole_u, rest_u, whole_v, rest_v, slant, ahead, height, width, PUBLISHED)
        counts = (exists & ahead) if PUBLISHED else (exists & inside)
        corner = _corner(column, row, channel, height, width, CHANNELS_LAST)
        plane = i * plane_size
        sample = _sample(mpi + plane, corner, right, down, f_u, f_v, counts)
        sigma = tl.sum(tl.where(channel[None, :] == 3, sample, 0.0), axis=1)
        kept = tl.exp(-sigma * step)
        reached = tl.load(before + i * picture_size + index, mask=exists, other=0.0)
        passed = reached * kept
        weight = reached - passed
        f = tl.sum(to_colour * sample, axis=1) + (to_z * rise + to_weight)
        to_tau = passed * f - (behind * (kept / (kept + EPSILON)) if PUBLISHED else behind)
        behind += weight * f
        to_sample = tl.where(colour[None, :], to_colour * weight[:, None], (to_tau * step)[:, None])
        target, take = gradient + plane + corner, counts[:, None]
        up, left = (1 - f_v)[:, None], (1 - f_u)[:, None]
        tl.atomic_add(target, to_sample * (left * up), mask=take, sem="relaxed")
        tl.atomic_add(target + right, to_sample * ((1 - left) * up), mask=take, sem="relaxed")
        tl.atomic_add(target + down, to_sample * (left * (1 - up)), mask=take, sem="relaxed")
        tl.atomic_add(target + (down + right), to_sample * ((1 - left) * (1 - up)), mask=take, sem="relaxed")
