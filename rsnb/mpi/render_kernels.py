"""Compiled loops of the CPU renderer: one target row after another, all planes of it while its texels are in the cache.

A sample's four channels lie side by side, so that one 4-wide instruction handles them; everything that has one number a
sample (coordinates, exp, transmittance) runs in loops of its own over the row, which the compiler vectorises. The
arithmetic is that of `render_torch` (the oracle), coordinates in float64, the rest in float32.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from rsnb.mpi.four_wide import add_weighted, as_float, dot_four, mix_texels, scatter

ONE = np.float32(1.0)
ZERO = np.float32(0.0)
HALF = np.float32(0.5)
LEAST = np.float32(-87.0)
LOG2_E = np.float32(1.4426950408889634)
LN_2 = np.float32(0.6931471805599453)
C2, C3, C4, C5, C6, C7 = (np.float32(1 / n) for n in (2, 6, 24, 120, 720, 5040))  # of the series of exp


@njit(inline="always")
def _exp(x):
    """exp of a float32 that is not above 0; relative error 1e-7. Below -87 about 1e-38."""
    x = LEAST if x < LEAST else x  # and NaN stays NaN
    whole = np.int32(x * LOG2_E - HALF)
    r = x - np.float32(whole) * LN_2
    series = ONE + r * (ONE + r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * (C6 + r * C7))))))
    return series * as_float((whole + np.int32(127)) << np.int32(23))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def aim_row(y, to_ray, to_ref, K_ref, q, reach, slant, plain):
    """What `PlaneSweep` holds for one row: q [2, W] float64, reach and slant [W] float32; plain [W] is 1 where a ray
    runs towards the planes: the slant of a gap that is measured along the ray, as the published last one."""
    fx, skew, cx, fy, cy = K_ref[0, 0], K_ref[0, 1], K_ref[0, 2], K_ref[1, 1], K_ref[1, 2]
    centre = y + 0.5
    for x in range(q.shape[1]):
        column = x + 0.5
        rz = to_ref[2, 0] * column + (to_ref[2, 1] * centre + to_ref[2, 2])
        ahead = rz > 1e-9
        turn = 1.0 / rz if ahead else 0.0
        rx = (to_ref[0, 0] * column + (to_ref[0, 1] * centre + to_ref[0, 2])) * turn
        ry = (to_ref[1, 0] * column + (to_ref[1, 1] * centre + to_ref[1, 2])) * turn
        dx = to_ray[0, 0] * column + (to_ray[0, 1] * centre + to_ray[0, 2])
        dy = to_ray[1, 1] * centre + to_ray[1, 2]
        q[0, x] = fx * rx + skew * ry + cx if ahead else -1e6
        q[1, x] = fy * ry + cy if ahead else -1e6
        reach[x] = turn
        slant[x] = np.sqrt(dx * dx + dy * dy + 1.0) * turn
        plain[x] = ONE if ahead else ZERO


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def place_row(q, scale, offset, height, width, first, fx, fy):
    """Where a row's samples lie on one plane: index of the upper left texel's first number, and the two fractions."""
    u_shift, v_shift = offset[0] - 0.5, offset[1] - 0.5
    u_last, v_last = width - 1.0, height - 1.0
    for x in range(len(first)):
        u = min(max(scale * q[0, x] + u_shift, 0.0), u_last)
        v = min(max(scale * q[1, x] + v_shift, 0.0), v_last)
        column = min(np.int32(u), np.int32(width - 2))
        row = min(np.int32(v), np.int32(height - 2))
        first[x] = np.int32(4) * (row * np.int32(width) + column)
        fx[x] = np.float32(u - column)
        fy[x] = np.float32(v - row)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def thickness_row(q, slant, gap, ranges, outside, step, count):
    """step [W]: way through one plane, times `outside` where its texel is out of range; else `count` [W] gets 1 added.

    Returns whether the row meets the plane at all.
    """
    u_low, u_high, v_low, v_high = ranges[0, 0], ranges[0, 1], ranges[1, 0], ranges[1, 1]
    met = 0
    for x in range(len(step)):
        u, v = q[0, x], q[1, x]
        inside = np.int32((u >= u_low) & (u <= u_high) & (v >= v_low) & (v <= v_high))
        step[x] = gap * slant[x] * max(np.float32(inside), outside)
        met += inside
    if met > 0:
        for x in range(len(step)):
            u, v = q[0, x], q[1, x]
            count[x] += np.float32((u >= u_low) & (u <= u_high) & (v >= v_low) & (v <= v_high))
    return met > 0 or outside > ZERO


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def sample_row(texels, first, fx, fy, row, samples):
    for x in range(len(first)):
        mix_texels(texels, np.int64(first[x]), row, fx[x], fy[x], samples, np.int64(4 * x))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def absorb_row(samples, step, epsilon, passed, kept, weight):
    """kept = exp(-tau), weight = T (1 - kept), and T goes on to the next plane."""
    for x in range(len(step)):
        kept[x] = _exp(-samples[4 * x + 3] * step[x])
    for x in range(len(step)):
        weight[x] = passed[x] * (ONE - kept[x])
        passed[x] *= kept[x] + epsilon


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def blend_row(total, samples, weight, rise, depth, alpha):
    for x in range(len(weight)):
        add_weighted(total, np.int64(4 * x), samples, weight[x])
    for x in range(len(weight)):
        depth[x] += weight[x] * rise
        alpha[x] += weight[x]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def render_rows(texels, shape, factors, aim, epsilon, outside, sums, share, start, stop):
    """Target rows start..stop of the sums [5, H_t, W_t] and of the count of planes in range [H_t, W_t].

    texels [P, H * W * 4] float32; shape (H, W); factors (scale, offset, rise, gap, ranges) of all planes; aim (to_ray,
    to_ref, K_ref).
    """
    scale, offset, rise, gap, ranges = factors
    width, row = sums.shape[2], np.int64(4 * shape[1])
    q, reach, slant = np.empty((2, width)), np.empty(width, np.float32), np.empty(width, np.float32)
    first, fx, fy = np.empty(width, np.int32), np.empty(width, np.float32), np.empty(width, np.float32)
    step, kept, weight = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    samples, total = np.empty(4 * width, np.float32), np.empty(4 * width, np.float32)
    passed, plain = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(start, stop):
        aim_row(y, aim[0], aim[1], aim[2], q, reach, slant, plain)
        total[:], passed[:], sums[3:, y] = ZERO, ONE, ZERO
        share[y] = ZERO
        for i in range(len(scale)):
            by = plain if outside > ZERO and i + 1 == len(scale) else slant
            if scale[i] <= 0 or not thickness_row(q, by, gap[i], ranges[i], outside, step, share[y]):
                continue
            place_row(q, scale[i], offset[i], shape[0], shape[1], first, fx, fy)
            sample_row(texels[i], first, fx, fy, row, samples)
            absorb_row(samples, step, epsilon, passed, kept, weight)
            blend_row(total, samples, weight, rise[i], sums[3, y], sums[4, y])
        for x in range(width):
            sums[0, y, x], sums[1, y, x], sums[2, y, x] = total[4 * x], total[4 * x + 1], total[4 * x + 2]
            sums[3, y, x] *= reach[x]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def dot_row(samples, colour, f):
    """f [W] += samples times the picture's gradient, whose fourth channel is 0."""
    whole = len(f) // 4 * 4
    for x in range(0, whole, 4):
        dot_four(samples, colour, np.int64(4 * x), f, np.int64(x))
    for x in range(whole, len(f)):
        for c in range(3):
            f[x] += samples[4 * x + c] * colour[4 * x + c]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def plain_row(to_depth, reach, rise, to_alpha, f):
    """f [W]: the part of a sample's gradient that does not depend on its colour."""
    for x in range(len(f)):
        f[x] = to_depth[x] * reach[x] * rise + to_alpha[x]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def absorb_row_for_gradient(samples, step, epsilon, before, kept, passed):
    """As `absorb_row`, keeping what the way back needs: T before the plane, and kept."""
    for x in range(len(step)):
        kept[x] = _exp(-samples[4 * x + 3] * step[x])
    for x in range(len(step)):
        before[x] = passed[x]
        passed[x] *= kept[x] + epsilon


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def unwind_row(before, kept, f, step, epsilon, behind, weight, density):
    """From S behind the plane: its weight and the gradient of its sigma; then S takes the plane in."""
    for x in range(len(f)):
        after = before[x] * kept[x]
        w = before[x] - after
        lost = behind[x] * (kept[x] / (kept[x] + epsilon)) if epsilon > 0 else behind[x]
        density[x] = (after * f[x] - lost) * step[x]
        weight[x] = w
        behind[x] += w * f[x]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def gradient_rows(texels, shape, factors, aim, epsilon, outside, gradient, band, top, start, stop):
    """Per-sample gradients of target rows start..stop into a band's buffers, whose first row is `top`.

    band: weight and density [P, B, W_t] float32 (colour's gradient is weight times the picture's; density is sigma's),
    met [P, B] whether a row meets a plane, q [B, 2, W_t] float64, colour [B, 4 W_t] the picture's gradient interleaved.
    """
    scale, offset, rise, gap, ranges = factors
    weights, densities, met, qs, colours = band
    planes, width, row = len(scale), gradient.shape[2], np.int64(4 * shape[1])
    reach, slant, count = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    first, fx, fy = np.empty(width, np.int32), np.empty(width, np.float32), np.empty(width, np.float32)
    samples, passed, plain = np.empty(4 * width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    before, kept = np.empty((planes, width), np.float32), np.empty((planes, width), np.float32)
    f, step = np.empty((planes, width), np.float32), np.empty((planes, width), np.float32)
    for y in range(start, stop):
        b = y - top
        q, colour = qs[b], colours[b]
        aim_row(y, aim[0], aim[1], aim[2], q, reach, slant, plain)
        for x in range(width):
            for c in range(3):
                colour[4 * x + c] = gradient[c, y, x]
            colour[4 * x + 3] = ZERO
        passed[:] = ONE
        for i in range(planes):
            by = plain if outside > ZERO and i + 1 == planes else slant
            met[i, b] = scale[i] > 0 and thickness_row(q, by, gap[i], ranges[i], outside, step[i], count)
            if not met[i, b]:
                continue
            place_row(q, scale[i], offset[i], shape[0], shape[1], first, fx, fy)
            sample_row(texels[i], first, fx, fy, row, samples)
            plain_row(gradient[3, y], reach, rise[i], gradient[4, y], f[i])
            dot_row(samples, colour, f[i])
            absorb_row_for_gradient(samples, step[i], epsilon, before[i], kept[i], passed)
        behind = passed
        behind[:] = ZERO
        for k in range(planes):
            i = planes - 1 - k
            if met[i, b]:
                unwind_row(before[i], kept[i], f[i], step[i], epsilon, behind, weights[i, b], densities[i, b])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def scatter_planes(out, shape, factors, band, rows, clear, start, stop):
    """A band's per-sample gradients into planes start..stop of out [P, H * W * 4], set to 0 first if `clear`."""
    scale, offset, _, _, _ = factors
    weights, densities, met, qs, colours = band
    width, row = weights.shape[2], np.int64(4 * shape[1])
    first, fx, fy = np.empty(width, np.int32), np.empty(width, np.float32), np.empty(width, np.float32)
    for i in range(start, stop):
        if clear:
            out[i] = ZERO
        for b in range(rows):
            if not met[i, b]:
                continue
            place_row(qs[b], scale[i], offset[i], shape[0], shape[1], first, fx, fy)
            weight, density, colour, target = weights[i, b], densities[i, b], colours[b], out[i]
            for x in range(width):
                if weight[x] != ZERO or density[x] != ZERO:
                    scatter(target, np.int64(first[x]), row, (fx[x], fy[x]), colour, np.int64(4 * x),
                            (weight[x], density[x]))
