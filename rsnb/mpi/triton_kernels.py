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
    factor = factors + i * 5  # scale - 1, offset of u and v, rise, gap
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
    return row * width + column, f_u, f_v, step, rise, inside


@triton.jit
def _four(start, texel, texels, counts, CHANNELS_LAST: tl.constexpr):
    """Red, green, blue and sigma of one texel a pixel; pixels that do not count read nothing.

    Side by side they are one load of 16 bytes; in pictures of their own, neighbouring pixels share a line of cache.
    """
    if CHANNELS_LAST:
        at = start + (texel[:, None] * 4 + tl.arange(0, 4)[None, :])
        pairs = tl.reshape(tl.load(at, mask=counts[:, None], other=0.0), (texel.shape[0], 2, 2))
        even, odd = tl.split(pairs)
        red, blue = tl.split(even)
        green, sigma = tl.split(odd)
    else:
        at = start + texel
        red = tl.load(at, mask=counts, other=0.0)
        green = tl.load(at + texels, mask=counts, other=0.0)
        blue = tl.load(at + 2 * texels, mask=counts, other=0.0)
        sigma = tl.load(at + 3 * texels, mask=counts, other=0.0)
    return red, green, blue, sigma


@triton.jit
def _add_four(start, texel, texels, counts, by, red, green, blue, sigma, CHANNELS_LAST: tl.constexpr):
    """Adds `by` times red, green, blue and sigma to one texel a pixel, undisturbed by other programs."""
    if CHANNELS_LAST:
        at = start + (texel[:, None] * 4 + tl.arange(0, 4)[None, :])
        four = tl.reshape(tl.join(tl.join(red, blue), tl.join(green, sigma)), (texel.shape[0], 4))
        tl.atomic_add(at, four * by[:, None], mask=counts[:, None], sem="relaxed")
    else:
        at = start + texel
        tl.atomic_add(at, red * by, mask=counts, sem="relaxed")
        tl.atomic_add(at + texels, green * by, mask=counts, sem="relaxed")
        tl.atomic_add(at + 2 * texels, blue * by, mask=counts, sem="relaxed")
        tl.atomic_add(at + 3 * texels, sigma * by, mask=counts, sem="relaxed")


@triton.jit
def _sample(plane, texel, texels, width, f_u, f_v, counts, CHANNELS_LAST: tl.constexpr):
    """Bilinear red, green, blue and sigma; `texel` is the upper left one."""
    a, b, c, d = (1 - f_u) * (1 - f_v), f_u * (1 - f_v), (1 - f_u) * f_v, f_u * f_v
    r0, g0, b0, s0 = _four(plane, texel, texels, counts, CHANNELS_LAST)
    r1, g1, b1, s1 = _four(plane, texel + 1, texels, counts, CHANNELS_LAST)
    r2, g2, b2, s2 = _four(plane, texel + width, texels, counts, CHANNELS_LAST)
    r3, g3, b3, s3 = _four(plane, texel + width + 1, texels, counts, CHANNELS_LAST)
    return (a * r0 + b * r1 + c * r2 + d * r3, a * g0 + b * g1 + c * g2 + d * g3,
            a * b0 + b * b1 + c * b2 + d * b3, a * s0 + b * s1 + c * s2 + d * s3)


@triton.jit
def _pixel(rows, columns, TILE_X: tl.constexpr, TILE_Y: tl.constexpr):
    """Column, row, index and existence of the target pixels of this program."""
    n = tl.arange(0, TILE_X * TILE_Y)
    x, y = tl.program_id(0) * TILE_X + n % TILE_X, tl.program_id(1) * TILE_Y + n // TILE_X
    return x, y, y * columns + x, (x < columns) & (y < rows)


@triton.jit(do_not_specialize=["first", "planes"])
def composite(mpi, factors, camera, background, rgb, depth, alpha, mask, before, least_share, first, planes, height,
              width, rows, columns, PUBLISHED: tl.constexpr, CHANNELS_LAST: tl.constexpr, KEEP: tl.constexpr,
              TILE_X: tl.constexpr, TILE_Y: tl.constexpr):
    """Picture, depth, alpha and mask of a tile; with KEEP, `before` [P, rows, columns] gets what reaches each plane."""
    x, y, index, exists = _pixel(rows, columns, TILE_X, TILE_Y)
    whole_u, rest_u, whole_v, rest_v, reach, slant, ahead = _aim(camera, x, y)
    texels, pixels = height * width, rows * columns
    # int64: all planes together may hold more than 2^31 numbers
    plane_size, picture_size = tl.full((), 4, tl.int64) * texels, tl.full((), 1, tl.int64) * pixels
    passed = tl.full((TILE_X * TILE_Y,), 1.0, tl.float32)
    reds, greens, blues, depths, alphas, met = (passed * 0, passed * 0, passed * 0, passed * 0, passed * 0, passed * 0)
    for i in tl.range(first, planes):
        texel, f_u, f_v, step, rise, inside = _meet(
            factors, i, planes, whole_u, rest_u, whole_v, rest_v, slant, ahead, height, width, PUBLISHED)
        counts = exists & (ahead if PUBLISHED else inside)
        red, green, blue, sigma = _sample(mpi + i * plane_size, texel, texels, width, f_u, f_v, counts, CHANNELS_LAST)
        kept = tl.exp(-sigma * step)
        if KEEP:
            tl.store(before + i * picture_size + index, passed, mask=exists)
        weight = passed - passed * kept
        passed = passed * (kept + EPSILON) if PUBLISHED else passed * kept
        reds += weight * red
        greens += weight * green
        blues += weight * blue
        depths += weight * rise
        alphas += weight
        met += inside.to(tl.float32)
    share = met / tl.maximum(planes - first, 1).to(tl.float32)
    divisor = alphas + LEAST_ALPHA if PUBLISHED else tl.maximum(alphas, LEAST_ALPHA)
    valid = (met > 0) if PUBLISHED else (share >= least_share)
    tl.store(rgb + index, reds + (1 - alphas) * tl.load(background), mask=exists)
    tl.store(rgb + pixels + index, greens + (1 - alphas) * tl.load(background + 1), mask=exists)
    tl.store(rgb + 2 * pixels + index, blues + (1 - alphas) * tl.load(background + 2), mask=exists)
    tl.store(depth + index, depths * reach / divisor, mask=exists)
    tl.store(alpha + index, alphas, mask=exists)
    tl.store(mask + index, valid.to(tl.uint8), mask=exists)


@triton.jit(do_not_specialize=["first", "planes"])
def composite_backward(mpi, factors, camera, background, to_rgb, to_depth, to_alpha, depth, alpha, before, gradient,
                       first, planes, height, width, rows, columns, PUBLISHED: tl.constexpr,
                       CHANNELS_LAST: tl.constexpr, TILE_X: tl.constexpr, TILE_Y: tl.constexpr):
    """Adds to `gradient`, which lies in memory as `mpi`, the part of a tile's pixels."""
    x, y, index, exists = _pixel(rows, columns, TILE_X, TILE_Y)
    whole_u, rest_u, whole_v, rest_v, reach, slant, ahead = _aim(camera, x, y)
    texels, pixels = height * width, rows * columns
    plane_size, picture_size = tl.full((), 4, tl.int64) * texels, tl.full((), 1, tl.int64) * pixels
    to_red = tl.load(to_rgb + index, mask=exists, other=0.0)
    to_green = tl.load(to_rgb + pixels + index, mask=exists, other=0.0)
    to_blue = tl.load(to_rgb + 2 * pixels + index, mask=exists, other=0.0)
    alphas = tl.load(alpha + index, mask=exists, other=0.0)
    divisor = alphas + LEAST_ALPHA if PUBLISHED else tl.maximum(alphas, LEAST_ALPHA)
    to_z = tl.load(to_depth + index, mask=exists, other=0.0) / divisor
    by_depth = to_z * tl.load(depth + index, mask=exists, other=0.0)
    if not PUBLISHED:
        by_depth = tl.where(alphas >= LEAST_ALPHA, by_depth, 0.0)
    to_weight = tl.load(to_alpha + index, mask=exists, other=0.0) - by_depth
    to_weight -= to_red * tl.load(background) + to_green * tl.load(background + 1) + to_blue * tl.load(background + 2)
    to_z = to_z * reach
    behind = to_z * 0
    for k in tl.range(0, planes - first):
        i = planes - 1 - k
        texel, f_u, f_v, step, rise, inside = _meet(
            factors, i, planes, whole_u, rest_u, whole_v, rest_v, slant, ahead, height, width, PUBLISHED)
        counts = exists & (ahead if PUBLISHED else inside)
        red, green, blue, sigma = _sample(mpi + i * plane_size, texel, texels, width, f_u, f_v, counts, CHANNELS_LAST)
        kept = tl.exp(-sigma * step)
        reached = tl.load(before + i * picture_size + index, mask=exists, other=0.0)
        passed = reached * kept
        weight = reached - passed
        f = to_red * red + to_green * green + to_blue * blue + (to_z * rise + to_weight)
        to_tau = passed * f - (behind * (kept / (kept + EPSILON)) if PUBLISHED else behind)
        behind += weight * f
        r, g, b, s, out = to_red * weight, to_green * weight, to_blue * weight, to_tau * step, gradient + i * plane_size
        _add_four(out, texel, texels, counts, (1 - f_u) * (1 - f_v), r, g, b, s, CHANNELS_LAST)
        _add_four(out, texel + 1, texels, counts, f_u * (1 - f_v), r, g, b, s, CHANNELS_LAST)
        _add_four(out, texel + width, texels, counts, (1 - f_u) * f_v, r, g, b, s, CHANNELS_LAST)
        _add_four(out, texel + width + 1, texels, counts, f_u * f_v, r, g, b, s, CHANNELS_LAST)
