"""The march on the CPU in compiled loops: float32, no gradient; `march_torch` is its oracle.

The volume is turned so that the densities over a place lie side by side, with one cell more on all sides that holds
what `edges` says: then every sample is eight numbers and no question. A map of the highest slice that is not empty, of
the four columns about each place, spares the air above the roofs. Turning a volume costs some milliseconds: those of
the last two that live are kept. A picture is done column by column: the rays of one stay in one upright plane of the
volume, which the cache holds, where those of a row meet all of the volume. Columns are dealt to threads of our own and
not to OpenMP's: a second OpenMP runtime beside torch's stalls both.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from weakref import ref

import numba
import numpy as np
import torch
from torch import Tensor

from rsnb.density.sampling import LEAST_DIP, Steps, to_indices, walls
from rsnb.density.volume import DensityVolume, Rendered

TURNS_A_THREAD = 4  # with one, the thread that other work holds up is waited for
KEPT = 2  # volumes
LEAST = 1e-12  # transmittance below which nothing is looked for: numbers below 1e-38 take a hundred times as long
ZERO, ONE = np.float32(0), np.float32(1)
STEP, TWO, FOUR = np.uint64(1), np.uint64(2), np.uint64(4)


class _Turned(NamedTuple):
    """A volume as the loops read it.

    Attributes:
        sigma: [B, (S + 2) (S + 2) (D + 2)] float32, row, column, slice; 1 / m.
        top: [B, (S + 1) (S + 1)] int16, the highest slice above 0 in the columns r, r + 1 x c, c + 1; -1 if none.
        tile: [B, (C + 1) (C + 1) 4] float32, red, green, blue, 0; the last row and column twice.
        shape: S + 2, D + 2, C + 1.
    """

    sigma: np.ndarray
    top: np.ndarray
    tile: np.ndarray
    shape: tuple[int, int, int]


def march_numba(volume: DensityVolume, origins: Tensor, directions: Tensor, steps: Steps, stop: float = 0.0,
                width: int = 1) -> Rendered:
    """As `march_torch`, for float32 volumes on the CPU; rays end where their transmittance falls below `stop`, and
    those that are `width` apart are neighbours in a column."""
    turned = _turned(volume)
    batch, count = len(volume), directions.shape[1]
    out = np.empty((batch, 5, count), np.float32)
    low, high = (np.array(wall) for wall in walls(volume))
    scale, shift = map(np.array, to_indices(volume))
    shift[:3] += 1  # a cell more on all sides
    rays = [np.ascontiguousarray(part.numpy()) for part in (origins, directions)]

    def work(turn, turns):
        for b in range(batch):
            own = [part[min(b, len(part) - 1)] for part in rays]
            _march(turned.sigma[b], turned.top[b], turned.tile[b], turned.shape, width, *own, low, high, scale, shift,
                   *steps, volume.ground == "plane", np.float32(max(stop, LEAST)), out[b], turn, turns)

    _deal(work)
    found = torch.from_numpy(out)
    return Rendered(found[:, :3], found[:, 3], found[:, 4])


def _deal(work) -> None:
    """work(turn, turns) for all turns, by as many threads as torch uses."""
    threads = torch.get_num_threads()
    if threads == 1:
        work(0, 1)
        return
    turns = threads * TURNS_A_THREAD
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, turn, turns) for turn in range(turns)]:
            done.result()


_kept: OrderedDict[tuple, tuple] = OrderedDict()
_kept_lock = threading.Lock()


def _turned(volume: DensityVolume) -> _Turned:
    """The volume turned, or what was kept of it: as long as its tensors live and nobody writes to them."""
    parts = (volume.sigma, volume.tile)
    if any(part.is_inference() for part in parts):  # of torch.inference_mode: nobody counts how often it was written to
        return _turn(volume)
    key = (*map(id, parts), volume.ground, volume.edges, volume.frame)
    versions = [part._version for part in parts]
    with _kept_lock:
        kept = _kept.get(key)
        if kept is not None and kept[0] == versions:
            _kept.move_to_end(key)
            return kept[1]
    turned = _turn(volume)
    # an id may be another tensor's as soon as its own is gone: the entry goes with it
    alive = [ref(part, lambda _: _kept.pop(key, None)) for part in parts]
    with _kept_lock:
        _kept[key] = (versions, turned, alive)
        _kept.move_to_end(key)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return turned


def _turn(volume: DensityVolume) -> _Turned:
    slices = volume.slices.detach().contiguous().numpy()
    batch, depth, size, _ = slices.shape
    sigma = np.empty((batch, size + 2, size + 2, depth + 2), np.float32)
    top = np.empty((batch, size + 1, size + 1), np.int16)
    highest = np.empty((batch, size + 2, size + 2), np.int16)
    hold = volume.edges == "hold"

    def columns(turn, turns):
        for b in range(batch):
            _turn_columns(slices[b], hold, sigma[b], highest[b], turn, turns)

    _deal(columns)
    np.maximum(highest[:, 1:], highest[:, :-1], out=highest[:, :-1])
    np.maximum(highest[:, :-1, 1:], highest[:, :-1, :-1], out=top)
    tile = np.zeros((batch, volume.tile.shape[-1] + 1, volume.tile.shape[-1] + 1, 4), np.float32)
    tile[:, :-1, :-1, :3] = volume.tile.detach().permute(0, 2, 3, 1).numpy()
    tile[:, -1], tile[:, :, -1] = tile[:, -2], tile[:, :, -2]
    return _Turned(*(part.reshape(batch, -1) for part in (sigma, top, tile)), (size + 2, depth + 2, tile.shape[1]))


@numba.njit(nogil=True, cache=True)
def _turn_columns(slices, hold, sigma, highest, turn, turns):
    """Rows turn, turn + turns, ... of `sigma` [S + 2, S + 2, D + 2] from slices [D, S, S], and their highest slice."""
    depth, size, _ = slices.shape
    for row in range(turn, size + 2, turns):
        inner = min(max(row - 1, 0), size - 1)
        outside = not hold and inner != row - 1
        highest[row] = -1
        for first in range(0, size + 2, 16):  # a few columns at a time stay in the nearest cache
            last = min(first + 16, size + 2)
            for level in range(depth + 2):
                slice_ = min(max(level - 1, 0), depth - 1)
                empty = outside or (not hold and slice_ != level - 1)
                for column in range(first, last):
                    near = min(max(column - 1, 0), size - 1)
                    value = np.float32(0.0)
                    if not empty and (hold or near == column - 1):
                        value = slices[slice_, inner, near]
                    sigma[row, column, level] = value
                    if value != 0:  # a NaN counts
                        highest[row, column] = level


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _span(origin, direction, low, high, step, offset, count, plane):
    """First and last sample (excluded) that count, and the distance to the plane: as `sampling.spans`, to the bit."""
    entry, leave = 0.0, math.inf
    for axis in range(3):
        o, d = origin[axis], direction[axis]
        if d == 0:
            if o < low[axis] or o > high[axis]:
                leave = -math.inf
        else:
            near, far = (low[axis] - o) / d, (high[axis] - o) / d
            entry = max(entry, min(near, far))
            leave = min(leave, max(near, far))
    ground = math.inf
    if plane and direction[2] < -LEAST_DIP:
        ground = origin[2] / -direction[2]
    first = min(max(math.ceil(entry / step - offset), 0.0), 1.0 * count)
    end = min(max(math.floor(leave / step - offset) + 1.0, 0.0), 1.0 * count)
    if ground < math.inf:
        end = min(end, math.ceil(ground / step - offset))
    return int(first), int(max(end, first)), ground


@numba.njit(inline="always")
def _exp(x):
    """exp of a float32 that is not above 0, relative error 2e-7; a NaN stays one. The C library's takes longer."""
    x = max(x, np.float32(-87.0)) if x == x else x
    whole = np.int32(x * np.float32(1.4426950408889634) - np.float32(0.5))
    r = x - np.float32(whole) * np.float32(0.693359375) + np.float32(whole) * np.float32(2.12194440e-4)
    series = np.float32(1 / 720) + r * np.float32(1 / 5040)
    series = np.float32(1 / 120) + r * series
    series = np.float32(1 / 24) + r * series
    series = np.float32(1 / 6) + r * series
    series = ONE + r * (ONE + r * (np.float32(0.5) + r * series))
    return series * np.int32((whole + np.int32(127)) << np.int32(23)).view(np.float32)


@numba.njit(inline="always")
def _four(tile, side, x, y):
    """Where the four texels about column x and row y of the tile start, held at its border, and what each counts."""
    last = side - 2.0
    x, y = min(max(x, 0.0), last), min(max(y, 0.0), last)
    column, row = np.uint64(x), np.uint64(y)
    fx, fy = np.float32(x - column), np.float32(y - row)
    first = (row * np.uint64(side) + column) * FOUR
    return first, fx, fy


@numba.njit(inline="always")
def _mix(tile, first, down, fx, fy):
    """One channel between four texels."""
    above = tile[first] * (ONE - fx) + tile[first + FOUR] * fx
    below = tile[first + down] * (ONE - fx) + tile[first + down + FOUR] * fx
    return above * (ONE - fy) + below * fy


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _march(sigma, top, tile, shape, width, origins, directions, low, high, scale, shift, step, offset, count, plane,
           stop, out, turn, turns):
    """Columns of this turn of pictures of some width: red, green, blue, opacity and distance into `out` [5, N].

    Indices are unsigned: signed ones are asked whether they count from the end.
    """
    size, levels, side = shape
    wide, tall = np.uint64(size - 1), np.uint64(levels)
    right, below = tall, np.uint64(size) * tall
    down = np.uint64(side) * FOUR
    length = np.float32(step)
    limit, roof = size - 2, levels - 2
    for line in range(width * turn // turns, width * (turn + 1) // turns):
        for ray in range(line, len(directions), width):
            origin, direction = origins[min(ray, len(origins) - 1)], directions[ray]
            first, end, ground = _span(origin, direction, low, high, step, offset, count, plane)
            ox, oy, oz = (origin[0] * scale[0] + shift[0], origin[1] * scale[1] + shift[1],
                          origin[2] * scale[2] + shift[2])
            dx, dy, dz = direction[0] * scale[0], direction[1] * scale[1], direction[2] * scale[2]
            cx, cy, ex, ey = (origin[0] * scale[3] + shift[3], origin[1] * scale[4] + shift[4],
                              direction[0] * scale[3], direction[1] * scale[4])
            red, green, blue, far, left = ZERO, ZERO, ZERO, ZERO, ONE
            for k in range(first, end):
                t = (k + offset) * step
                x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
                column, row, level = min(int(x), limit), min(int(y), limit), min(int(z), roof)
                place = np.uint64(row) * wide + np.uint64(column)
                if level > top[place]:
                    continue
                fx, fy, fz = np.float32(x - column), np.float32(y - row), np.float32(z - level)
                at = (place + np.uint64(row)) * tall + np.uint64(level)
                a = sigma[at] * (ONE - fz) + sigma[at + STEP] * fz
                b = sigma[at + right] * (ONE - fz) + sigma[at + right + STEP] * fz
                at += below
                c = sigma[at] * (ONE - fz) + sigma[at + STEP] * fz
                d = sigma[at + right] * (ONE - fz) + sigma[at + right + STEP] * fz
                a, c = a * (ONE - fx) + b * fx, c * (ONE - fx) + d * fx
                tau = (a * (ONE - fy) + c * fy) * length
                if tau == 0:
                    continue
                after = left * _exp(-tau)
                weight = left - after
                left = after
                far += weight * np.float32(t)
                texel, fx, fy = _four(tile, side, cx + t * ex, cy + t * ey)
                red += weight * _mix(tile, texel, down, fx, fy)
                green += weight * _mix(tile, texel + STEP, down, fx, fy)
                blue += weight * _mix(tile, texel + TWO, down, fx, fy)
                if left < stop:
                    break
            opacity = ONE - left
            if ground < math.inf:
                opacity = ONE
                far += left * np.float32(ground)
                texel, fx, fy = _four(tile, side, cx + ground * ex, cy + ground * ey)
                red += left * _mix(tile, texel, down, fx, fy)
                green += left * _mix(tile, texel + STEP, down, fx, fy)
                blue += left * _mix(tile, texel + TWO, down, fx, fy)
            out[0, ray], out[1, ray], out[2, ray], out[3, ray], out[4, ray] = red, green, blue, opacity, far
