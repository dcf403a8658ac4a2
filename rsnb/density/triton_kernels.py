"""GPU kernels of the density march: one ray a lane, its samples from front to back, forward and back.

Which samples count is found in float64, as `sampling.spans` does; places are float32 indices into the volume. Way back:
each sample is computed once more, and what lies behind it is worth what the whole ray is, less what was met so far.
Gradients are added where they belong by atomic additions, whose order, and with it the last digits, differ from run to
run. Never timed on a GPU: not measured.
"""

from __future__ import annotations

import triton
import triton.language as tl

LEAST_DIP = tl.constexpr(1e-9)  # of `sampling`


@triton.jit
def _axis_span(origin, direction, low, high, entry, leave):
    """Narrows the stretch of rays that lies between two walls."""
    level = direction == 0
    slope = tl.where(level, 1.0, direction)
    near, far = (low - origin) / slope, (high - origin) / slope
    near, far = tl.minimum(near, far), tl.maximum(near, far)
    within = (origin >= low) & (origin <= high)
    near = tl.where(level, tl.where(within, float("-inf"), float("inf")), near)
    far = tl.where(level, tl.where(within, float("inf"), float("-inf")), far)
    return tl.maximum(entry, near), tl.minimum(leave, far)


@triton.jit
def _aim(origins, directions, box, count, b, ray, there, origin_tile, origin_ray, direction_tile, PLANE: tl.constexpr):
    """A ray's span of samples, its distance to the plane (0 where it meets none), whether it meets it, and its origin
    and direction as indices [5] of volume and tile.

    box: [18] float64: low and high walls, step, offset, scale [5], shift [5].
    """
    o, d = origins + b * origin_tile + ray * origin_ray, directions + b * direction_tile + ray * 3
    ox, oy, oz = tl.load(o, there, 0.0), tl.load(o + 1, there, 0.0), tl.load(o + 2, there, 1.0)
    dx, dy, dz = tl.load(d, there, 1.0), tl.load(d + 1, there, 0.0), tl.load(d + 2, there, 0.0)
    step, offset = tl.load(box + 6), tl.load(box + 7)
    entry, leave = ox * 0.0, ox * 0.0 + float("inf")
    entry, leave = _axis_span(ox, dx, tl.load(box), tl.load(box + 3), entry, leave)
    entry, leave = _axis_span(oy, dy, tl.load(box + 1), tl.load(box + 4), entry, leave)
    entry, leave = _axis_span(oz, dz, tl.load(box + 2), tl.load(box + 5), entry, leave)
    first = tl.minimum(tl.maximum(tl.ceil(entry / step - offset), 0.0), count * 1.0)
    end = tl.minimum(tl.maximum(tl.floor(leave / step - offset) + 1.0, 0.0), count * 1.0)
    meets = (dz < -LEAST_DIP) & there if PLANE else (dz < 0) & (dz > 0)
    ground = tl.where(meets, oz / tl.where(meets, -dz, 1.0), 0.0)
    end = tl.where(meets, tl.minimum(end, tl.ceil(ground / step - offset)), end)
    end = tl.where(there, tl.maximum(end, first), first)
    sx, sy, sz, su, sv = (tl.load(box + 8), tl.load(box + 9), tl.load(box + 10), tl.load(box + 11), tl.load(box + 12))
    start = ((ox * sx + tl.load(box + 13)).to(tl.float32), (oy * sy + tl.load(box + 14)).to(tl.float32),
             (oz * sz + tl.load(box + 15)).to(tl.float32), (ox * su + tl.load(box + 16)).to(tl.float32),
             (oy * sv + tl.load(box + 17)).to(tl.float32))
    slope = ((dx * sx).to(tl.float32), (dy * sy).to(tl.float32), (dz * sz).to(tl.float32), (dx * su).to(tl.float32),
             (dy * sv).to(tl.float32))
    return first.to(tl.int32), end.to(tl.int32), ground.to(tl.float32), meets, start, slope


@triton.jit
def _between(at, count, HOLD: tl.constexpr):
    """The two cells of one axis between which an index lies, and what each counts; none outside unless held."""
    if HOLD:
        at = tl.minimum(tl.maximum(at, 0.0), count - 1.0)
    whole = tl.floor(at)
    rest = at - whole
    first = whole.to(tl.int32)
    near = tl.where((first >= 0) & (first < count), 1.0 - rest, 0.0)
    far = tl.where((first >= -1) & (first < count - 1), rest, 0.0)
    return (tl.minimum(tl.maximum(first, 0), count - 1), tl.minimum(tl.maximum(first + 1, 0), count - 1), near, far)


@triton.jit
def _cells(x, y, z, depth, size, HOLD: tl.constexpr):
    """Two starts of slices, two of rows, two columns, and what each counts."""
    column, next_column, x0, x1 = _between(x, size, HOLD)
    row, next_row, y0, y1 = _between(y, size, HOLD)
    level, next_level, z0, z1 = _between(z, depth, HOLD)
    area = size * size
    return (level * area, next_level * area, z0, z1, row * size, next_row * size, y0, y1, column, next_column, x0, x1)


@triton.jit
def _row(slices, start, column, next_column, x0, x1, counts):
    slices += start
    return tl.load(slices + column, counts, 0.0) * x0 + tl.load(slices + next_column, counts, 0.0) * x1


@triton.jit
def _density(slices, c, counts):
    lower = _row(slices, c[0] + c[4], c[8], c[9], c[10], c[11], counts) * c[6]
    lower += _row(slices, c[0] + c[5], c[8], c[9], c[10], c[11], counts) * c[7]
    upper = _row(slices, c[1] + c[4], c[8], c[9], c[10], c[11], counts) * c[6]
    upper += _row(slices, c[1] + c[5], c[8], c[9], c[10], c[11], counts) * c[7]
    return lower * c[2] + upper * c[3]


@triton.jit
def _add_row(to_slices, start, column, next_column, x0, x1, counts, value):
    tl.atomic_add(to_slices + start + column, value * x0, mask=counts & (x0 != 0), sem="relaxed")
    tl.atomic_add(to_slices + start + next_column, value * x1, mask=counts & (x1 != 0), sem="relaxed")


@triton.jit
def _texels(u, v, colours):
    column, next_column, u0, u1 = _between(u, colours, True)
    row, next_row, v0, v1 = _between(v, colours, True)
    row, next_row = row * colours, next_row * colours
    return (row + column, row + next_column, next_row + column, next_row + next_column, v0 * u0, v0 * u1, v1 * u0,
            v1 * u1)


@triton.jit
def _channel(tile, q, counts):
    return (tl.load(tile + q[0], counts, 0.0) * q[4] + tl.load(tile + q[1], counts, 0.0) * q[5]
            + tl.load(tile + q[2], counts, 0.0) * q[6] + tl.load(tile + q[3], counts, 0.0) * q[7])


@triton.jit
def _add_channel(to_tile, q, counts, value):
    tl.atomic_add(to_tile + q[0], value * q[4], mask=counts, sem="relaxed")
    tl.atomic_add(to_tile + q[1], value * q[5], mask=counts, sem="relaxed")
    tl.atomic_add(to_tile + q[2], value * q[6], mask=counts, sem="relaxed")
    tl.atomic_add(to_tile + q[3], value * q[7], mask=counts, sem="relaxed")


@triton.jit(do_not_specialize=["count", "rays"])
def march_rays(slices, tile, origins, directions, box, out, count, rays, origin_tile, origin_ray, direction_tile, depth,
               size, colours, PLANE: tl.constexpr, HOLD: tl.constexpr, BLOCK: tl.constexpr):
    """Red, green, blue, opacity and distance of rays, into out [B, 5, N]."""
    b, ray = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = ray < rays
    first, end, ground, meets, start, slope = _aim(origins, directions, box, count, b, ray, there, origin_tile,
                                                   origin_ray, direction_tile, PLANE)
    slices += b * depth * size * size
    area = colours * colours
    tile += b * 3 * area
    step, offset = tl.load(box + 6), tl.load(box + 7)
    length = step.to(tl.float32)
    red, green, blue, far = ground * 0, ground * 0, ground * 0, ground * 0
    left = ground * 0 + 1.0
    for k in tl.range(tl.min(first), tl.max(end)):
        counts = (k >= first) & (k < end)
        t = ((k + offset) * step).to(tl.float32)
        cells = _cells(start[0] + t * slope[0], start[1] + t * slope[1], start[2] + t * slope[2], depth, size, HOLD)
        after = left * tl.exp(-_density(slices, cells, counts) * length)
        weight = left - after
        left = after
        far += weight * t
        shown = counts & (weight != 0)
        texels = _texels(start[3] + t * slope[3], start[4] + t * slope[4], colours)
        red += weight * _channel(tile, texels, shown)
        green += weight * _channel(tile + area, texels, shown)
        blue += weight * _channel(tile + 2 * area, texels, shown)
    opacity = 1.0 - left
    if PLANE:
        rest = tl.where(meets, left, 0.0)
        far += rest * ground
        texels = _texels(start[3] + ground * slope[3], start[4] + ground * slope[4], colours)
        red += rest * _channel(tile, texels, meets)
        green += rest * _channel(tile + area, texels, meets)
        blue += rest * _channel(tile + 2 * area, texels, meets)
        opacity = tl.where(meets, 1.0, opacity)
    out += b * 5 * rays + ray
    tl.store(out, red, there)
    tl.store(out + rays, green, there)
    tl.store(out + 2 * rays, blue, there)
    tl.store(out + 3 * rays, opacity, there)
    tl.store(out + 4 * rays, far, there)


@triton.jit(do_not_specialize=["count", "rays"])
def march_back(slices, tile, origins, directions, box, out, to_out, to_slices, to_tile, count, rays, origin_tile,
               origin_ray, direction_tile, depth, size, colours, PLANE: tl.constexpr, HOLD: tl.constexpr,
               TINT: tl.constexpr, BLOCK: tl.constexpr):
    """Adds the gradients of slices and, with TINT, of the tile; out and to_out [B, 5, N]."""
    b, ray = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = ray < rays
    first, end, ground, meets, start, slope = _aim(origins, directions, box, count, b, ray, there, origin_tile,
                                                   origin_ray, direction_tile, PLANE)
    slices += b * depth * size * size
    to_slices += b * depth * size * size
    area = colours * colours
    tile += b * 3 * area
    to_tile += b * 3 * area
    out += b * 5 * rays + ray
    to_out += b * 5 * rays + ray
    to_red, to_green = tl.load(to_out, there, 0.0), tl.load(to_out + rays, there, 0.0)
    to_blue, to_opacity = tl.load(to_out + 2 * rays, there, 0.0), tl.load(to_out + 3 * rays, there, 0.0)
    to_far = tl.load(to_out + 4 * rays, there, 0.0)
    behind = to_red * tl.load(out, there, 0.0) + to_green * tl.load(out + rays, there, 0.0)
    behind += to_blue * tl.load(out + 2 * rays, there, 0.0) + to_opacity * tl.load(out + 3 * rays, there, 0.0)
    behind += to_far * tl.load(out + 4 * rays, there, 0.0)  # what the ray is worth from here on
    step, offset = tl.load(box + 6), tl.load(box + 7)
    length = step.to(tl.float32)
    left = ground * 0 + 1.0
    for k in tl.range(tl.min(first), tl.max(end)):
        counts = (k >= first) & (k < end)
        t = ((k + offset) * step).to(tl.float32)
        c = _cells(start[0] + t * slope[0], start[1] + t * slope[1], start[2] + t * slope[2], depth, size, HOLD)
        after = left * tl.exp(-_density(slices, c, counts) * length)
        weight = left - after
        left = after
        texels = _texels(start[3] + t * slope[3], start[4] + t * slope[4], colours)
        worth = to_red * _channel(tile, texels, counts) + to_green * _channel(tile + area, texels, counts)
        worth += to_blue * _channel(tile + 2 * area, texels, counts) + to_opacity + to_far * t
        behind -= weight * worth
        value = (after * worth - behind) * length
        _add_row(to_slices, c[0] + c[4], c[8], c[9], c[10], c[11], counts, value * c[2] * c[6])
        _add_row(to_slices, c[0] + c[5], c[8], c[9], c[10], c[11], counts, value * c[2] * c[7])
        _add_row(to_slices, c[1] + c[4], c[8], c[9], c[10], c[11], counts, value * c[3] * c[6])
        _add_row(to_slices, c[1] + c[5], c[8], c[9], c[10], c[11], counts, value * c[3] * c[7])
        if TINT:
            shown = counts & (weight != 0)
            _add_channel(to_tile, texels, shown, to_red * weight)
            _add_channel(to_tile + area, texels, shown, to_green * weight)
            _add_channel(to_tile + 2 * area, texels, shown, to_blue * weight)
    if TINT and PLANE:
        texels = _texels(start[3] + ground * slope[3], start[4] + ground * slope[4], colours)
        _add_channel(to_tile, texels, meets, to_red * left)
        _add_channel(to_tile + area, texels, meets, to_green * left)
        _add_channel(to_tile + 2 * area, texels, meets, to_blue * left)
