"""Compiled loops around Embree's packets: cast, and cast + texture + sky in one pass over the pixels.

The arithmetic is that of `shading`, `textures` and `sky` (the oracles), in the same order, pixel by pixel. Compiled on
first use (a few seconds) and kept on disk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from rsnb.mesh.packets import LANES

# Rows of Embree's RTCRayHit16, 16 four-byte lanes each.
ORIGIN, NEAR, DIRECTION, TIME, FAR, MASK, ID, FLAGS = 0, 3, 4, 7, 8, 9, 10, 11
U, V, PRIM, GEOMETRY, INSTANCE = 15, 16, 17, 18, 19
ROWS = 24
BLOCK = 1024  # pixels whose hits stay in the first-level cache between stages
INV_255 = np.float32(1.0 / 255.0)


class FaceTables(NamedTuple):
    """Per-face arrays, as in `RayScene`."""

    uv: np.ndarray  # [F, 6] float32
    normal: np.ndarray  # [F, 3] float32
    texel_level: np.ndarray  # [F] float32
    material: np.ndarray  # [F] int32
    semantic: np.ndarray  # [F] int32
    instance: np.ndarray  # [F] int32
    corner_rgb: np.ndarray  # [F, 9] float32 0..1, or [0, 9]


class Textures(NamedTuple):
    """A `TextureBank`, texels as words."""

    texels: np.ndarray  # [T] uint32
    offset: np.ndarray  # [M, L] int64
    width: np.ndarray  # [M, L] int32
    height: np.ndarray  # [M, L] int32
    last_level: np.ndarray  # [M] int32
    rgb: np.ndarray  # [M, 3] float32


class Lens(NamedTuple):
    """Rays in the camera frame (planar) and the camera's place."""

    directions: np.ndarray  # [3, N] float32
    origins: np.ndarray  # [3, N] float32, or [3, 0]: all in the centre
    width_at_0: np.ndarray  # [N] float32
    width_per_m: np.ndarray  # [N] float32
    turn: np.ndarray  # [3, 3] float32
    eye: np.ndarray  # [3] float32


class Look(NamedTuple):
    """What is the same for all pixels: filtering, and the background as 4 colours and two numbers."""

    bias: float
    trilinear: bool
    min_cosine: float
    sky: np.ndarray  # [4, 3] float32: zenith, horizon, ground, glow
    glow_strength: float
    to_sun: np.ndarray  # [3] float32


class Target(NamedTuple):
    """Where results go; arrays of size 0 are not wanted. Pixel i goes to place i - shift."""

    prim: np.ndarray  # [N] int32
    depth: np.ndarray  # [N] float32
    semantic: np.ndarray  # [N] int32
    instance: np.ndarray  # [N] int32
    normal: np.ndarray  # [3, N] float32
    opacity: np.ndarray  # [N] float32, added to
    rgb: np.ndarray  # [3, N] float32, added to
    weight: float
    shift: int


@intrinsic
def _call(typingctx, function, first, second, third, fourth):
    """Call a C function, given as an address, with four pointers, given as addresses."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [word] * 4)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64, types.int64), codegen


@njit(cache=True, nogil=True)
def _packet():
    """A packet [ROWS, 16] of float32 on a 64-byte border, the same memory as int32, and an all-on mask."""
    raw = np.zeros((ROWS + 1) * LANES + LANES, np.float32)
    start = ((64 - raw.ctypes.data % 64) % 64) // 4
    rows = raw[start : start + (ROWS + 1) * LANES].reshape(ROWS + 1, LANES)
    words = raw.view(np.int32)[start : start + (ROWS + 1) * LANES].reshape(ROWS + 1, LANES)
    words[ROWS] = -1
    return rows, words


@njit(cache=True, nogil=True)
def _arm(rows, words):
    for lane in range(LANES):
        rows[NEAR, lane] = 0.0
        rows[TIME, lane] = 0.0
        words[MASK, lane] = -1
        words[ID, lane] = 0
        words[FLAGS, lane] = 0
        words[PRIM, lane] = -1
        words[GEOMETRY, lane] = -1
        words[INSTANCE, lane] = -1


@njit(cache=True, nogil=True)
def _load(rows, origins, directions, base, last):
    for lane in range(LANES):
        i = min(base + lane, last - 1)
        o = i if len(origins) > 1 else 0
        for axis in range(3):
            rows[ORIGIN + axis, lane] = origins[o, axis]
            rows[DIRECTION + axis, lane] = directions[i, axis]


@njit(cache=True, nogil=True)
def cast_rays(engine, origins, directions, distance, prim, u, v, first, last):
    rows, words = _packet()
    for base in range(first, last, LANES):
        _arm(rows, words)
        _load(rows, origins, directions, base, last)
        rows[FAR] = np.inf
        _call(engine.intersect, words[ROWS].ctypes.data, engine.tree, rows.ctypes.data, engine.arguments)
        for lane in range(min(LANES, last - base)):
            i = base + lane
            prim[i] = words[PRIM, lane]
            distance[i] = rows[FAR, lane] if words[PRIM, lane] >= 0 else np.inf
            u[i] = rows[U, lane]
            v[i] = rows[V, lane]


@njit(cache=True, nogil=True)
def occluded_rays(engine, origins, directions, limit, out, first, last):
    rows, words = _packet()
    for base in range(first, last, LANES):
        _arm(rows, words)
        _load(rows, origins, directions, base, last)
        for lane in range(LANES):
            rows[FAR, lane] = limit[min(base + lane, last - 1)]
        _call(engine.occluded, words[ROWS].ctypes.data, engine.tree, rows.ctypes.data, engine.arguments)
        for lane in range(min(LANES, last - base)):
            out[base + lane] = rows[FAR, lane] < 0.0  # Embree writes -inf where something is in the way


@njit(cache=True, nogil=True)
def shoot(engine, faces, textures, lens, look, target, first, last):
    """Pixels first..last: turn the rays, cast them, write what they hit and add its colour.

    Works through blocks that stay in the first-level cache, stage by stage. Each stage unpacks its arrays once: a tuple
    taken apart in the innermost loop costs ten times the work itself in reference counts.
    """
    rows, words = _packet()
    prim, floats = np.empty(BLOCK, np.int32), np.empty((6, BLOCK), np.float32)
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        _cast_block(engine, lens, rows, words, prim, floats, start, stop)
        _label_block(faces, target, prim, floats, start, stop)
        if target.rgb.shape[1]:
            _sky_block(look, target.rgb, prim, floats, start - target.shift, stop - start, target.weight)
            _colour_block(faces, textures, lens, look, target, prim, floats, start, stop)


@njit(cache=True, nogil=True)
def _cast_block(engine, lens, rows, words, prim, floats, start, stop):
    r, eye, rays, origins = lens.turn, lens.eye, lens.directions, lens.origins
    one_eye = origins.shape[1] == 0
    for base in range(start, stop, LANES):
        _arm(rows, words)
        for lane in range(LANES):
            i = min(base + lane, stop - 1)
            x, y, z = rays[0, i], rays[1, i], rays[2, i]
            for axis in range(3):
                rows[DIRECTION + axis, lane] = x * r[0, axis] + y * r[1, axis] + z * r[2, axis]
                rows[ORIGIN + axis, lane] = eye[axis]
            if not one_eye:
                x, y, z = origins[0, i], origins[1, i], origins[2, i]
                for axis in range(3):
                    rows[ORIGIN + axis, lane] += x * r[0, axis] + y * r[1, axis] + z * r[2, axis]
            rows[FAR, lane] = np.inf
        _call(engine.intersect, words[ROWS].ctypes.data, engine.tree, rows.ctypes.data, engine.arguments)
        for lane in range(min(LANES, stop - base)):
            at = base + lane - start
            prim[at] = words[PRIM, lane]
            floats[0, at] = rows[FAR, lane] if words[PRIM, lane] >= 0 else np.inf
            floats[1, at] = rows[U, lane]
            floats[2, at] = rows[V, lane]
            for axis in range(3):
                floats[3 + axis, at] = rows[DIRECTION + axis, lane]


@njit(cache=True, nogil=True)
def _label_block(faces, target, prim, floats, start, stop):
    first, n = start - target.shift, stop - start
    if len(target.prim):
        target.prim[first : first + n] = prim[:n]
    if len(target.depth):
        target.depth[first : first + n] = floats[0, :n]
    if len(target.semantic):
        _look_up(faces.semantic, prim, target.semantic, first, n)
    if len(target.instance):
        _look_up(faces.instance, prim, target.instance, first, n)
    if len(target.opacity):
        opacity = target.opacity
        for k in range(n):
            if prim[k] >= 0:
                opacity[first + k] += target.weight
    if target.normal.shape[1]:
        _normals(faces.normal, prim, floats, target.normal, first, n)


@njit(cache=True, nogil=True)
def _look_up(table, prim, out, first, n):
    for k in range(n):
        if prim[k] >= 0:
            out[first + k] = table[prim[k]]


@njit(cache=True, nogil=True)
def _normals(table, prim, floats, out, first, n):
    for k in range(n):
        f = prim[k]
        if f >= 0:
            cosine = table[f, 0] * floats[3, k] + table[f, 1] * floats[4, k] + table[f, 2] * floats[5, k]
            side = np.float32(-1.0) if cosine > 0 else np.float32(1.0)
            for axis in range(3):
                out[axis, first + k] = side * table[f, axis]


@njit(cache=True, nogil=True)
def _sky_block(look, rgb, prim, floats, first, n, weight):
    sky, to_sun, strength = look.sky, look.to_sun, look.glow_strength
    for k in range(n):
        if prim[k] < 0:
            haze, below, glow = _sky_mix(floats[3, k], floats[4, k], floats[5, k], to_sun, strength)
            for c in range(3):
                colour = sky[0, c] + (sky[1, c] - sky[0, c]) * haze
                colour += (sky[2, c] - colour) * below
                rgb[c, first + k] += weight * (colour + (sky[3, c] - colour) * glow)


@njit(cache=True, nogil=True)
def _colour_block(faces, textures, lens, look, target, prim, floats, start, stop):
    first, weight, rgb = start - target.shift, target.weight, target.rgb
    width_at_0, width_per_m = lens.width_at_0, lens.width_per_m
    normal, face_uv, face_level, material = faces.normal, faces.uv, faces.texel_level, faces.material
    corner_rgb, coloured = faces.corner_rgb, len(faces.corner_rgb) > 0
    texels, offset, widths, heights = textures.texels, textures.offset, textures.width, textures.height
    last_level, tint = textures.last_level, textures.rgb
    for k in range(stop - start):
        f = prim[k]
        if f < 0:
            continue
        u, v = floats[1, k], floats[2, k]
        cosine = normal[f, 0] * floats[3, k] + normal[f, 1] * floats[4, k] + normal[f, 2] * floats[5, k]
        width = max(width_at_0[start + k] + width_per_m[start + k] * floats[0, k], np.float32(1e-9))
        area = width * width / max(abs(cosine), look.min_cosine)
        m = material[f]
        level = face_level[f] + np.float32(0.5) * np.log2(area) + look.bias
        level = min(max(level, np.float32(0.0)), np.float32(last_level[m]))
        s = face_uv[f, 0] + u * (face_uv[f, 2] - face_uv[f, 0]) + v * (face_uv[f, 4] - face_uv[f, 0])
        t = face_uv[f, 1] + u * (face_uv[f, 3] - face_uv[f, 1]) + v * (face_uv[f, 5] - face_uv[f, 1])
        s -= np.floor(s)
        t -= np.floor(t)
        lower = int(level) if look.trilinear else int(level + np.float32(0.5))
        red, green, blue = _bilinear(texels, offset[m, lower], widths[m, lower], heights[m, lower], s, t)
        fraction = level - np.float32(lower)
        if look.trilinear and fraction > 0:
            lower += 1
            red1, green1, blue1 = _bilinear(texels, offset[m, lower], widths[m, lower], heights[m, lower], s, t)
            red += (red1 - red) * fraction
            green += (green1 - green) * fraction
            blue += (blue1 - blue) * fraction
        red *= tint[m, 0]
        green *= tint[m, 1]
        blue *= tint[m, 2]
        if coloured:
            c = corner_rgb
            red *= c[f, 0] + u * (c[f, 3] - c[f, 0]) + v * (c[f, 6] - c[f, 0])
            green *= c[f, 1] + u * (c[f, 4] - c[f, 1]) + v * (c[f, 7] - c[f, 1])
            blue *= c[f, 2] + u * (c[f, 5] - c[f, 2]) + v * (c[f, 8] - c[f, 2])
        rgb[0, first + k] += weight * red
        rgb[1, first + k] += weight * green
        rgb[2, first + k] += weight * blue


@njit(cache=True, nogil=True)
def _bilinear(texels, start, width, height, s, t):
    x = s * np.float32(width) - np.float32(0.5)
    y = (np.float32(1.0) - t) * np.float32(height) - np.float32(0.5)
    left, top = np.floor(x), np.floor(y)
    fx, fy = x - left, y - top
    x0, y0 = int(left), int(top)
    x1 = 0 if x0 + 1 >= width else x0 + 1
    y1 = 0 if y0 + 1 >= height else y0 + 1
    x0 = width - 1 if x0 < 0 else x0
    y0 = height - 1 if y0 < 0 else y0
    row0, row1 = start + np.int64(y0) * width, start + np.int64(y1) * width
    a, b, c, d = texels[row0 + x0], texels[row0 + x1], texels[row1 + x0], texels[row1 + x1]
    return _mix(a, b, c, d, 0, fx, fy), _mix(a, b, c, d, 8, fx, fy), _mix(a, b, c, d, 16, fx, fy)


@njit(cache=True, nogil=True)
def _mix(a, b, c, d, bits, fx, fy):
    p, q = np.float32((a >> bits) & 255), np.float32((b >> bits) & 255)
    r, s = np.float32((c >> bits) & 255), np.float32((d >> bits) & 255)
    upper, lower = p + (q - p) * fx, r + (s - r) * fx
    return (upper + (lower - upper) * fy) * INV_255


@njit(cache=True, nogil=True)
def _sky_mix(dx, dy, dz, to_sun, strength):
    """Shares of horizon, ground and glow in the background along a direction."""
    one, zero = np.float32(1.0), np.float32(0.0)
    clear = one - min(max(dz, zero), one)
    clear *= clear
    haze = np.float32(0.65) * clear
    clear *= clear
    haze += np.float32(0.35) * (clear * clear)
    below = min(max(dz * np.float32(-4.0), zero), one)
    if strength <= 0:
        return haze, below, zero
    p3 = max(dx * to_sun[0] + dy * to_sun[1] + dz * to_sun[2], zero)
    for _ in range(3):
        p3 *= p3
    p7 = p3
    for _ in range(4):
        p7 *= p7
    p12 = p7
    for _ in range(5):
        p12 *= p12
    mixed = np.float32(0.30) * p3 + np.float32(0.40) * p7 + np.float32(0.60) * p12
    return haze, below, min(strength * (one - below) * mixed, one)
