"""The march on the CPU in compiled loops: float32, no gradient; `march_torch` is its oracle.

The volume is turned so that the densities over a place lie side by side, with one cell more on all sides that holds
what `edges` says: then every sample is eight numbers and no question. A map of the highest slice that is not empty, of
the four columns about each place, spares the air above the roofs. Turning a volume costs some milliseconds: those of
the last two that live are kept. A picture is done column by column: the rays of one stay in one upright plane of the
volume, which the cache holds, where those of a row meet all of the volume. Of a ray, some samples are done at a time,
each step of the work in a loop of its own, most of which the compiler makes into instructions for many samples. Columns
are dealt to threads of our own and not to OpenMP's: a second OpenMP runtime beside torch's stalls both.
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

TURNS_A_THREAD = 8  # with one, the thread that other work holds up is waited for
KEPT = 2  # volumes
PIECE = 32  # samples of a ray that are done at a time
LEAST = 1e-7  # transmittance below which a ray ends in any case: of a sum of 1 in float32 nothing of it would be left
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


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _along(first, count, offset, step, start, slope, last, index, share):
    """Where samples first .. first + count lie along one axis: cell 0 .. last, and how far into it. Nothing else is in
    the loop, so that the compiler turns it into instructions for many samples at a time."""
    for j in range(count):
        at = min(max(start + (first + j + offset) * step * slope, 0.0), last + 1.0)
        cell = min(np.int64(at), last)
        index[j], share[j] = cell, np.float32(at - cell)


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _join(count, column, row, wide, factor, cell):
    """Cells of columns and rows in an array whose rows are `wide` cells of so many numbers."""
    for j in range(count):
        cell[j] = (row[j] * wide + column[j]) * factor


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _pass(count, tau, kept):
    """What passes each sample."""
    for j in range(count):
        kept[j] = _exp(-tau[j])


@numba.njit(inline="always")
def _look_up(sigma, top, count, below, right, length, place, level, cell, fx, fy, fz, tau):
    """Optical depth of each sample; whether any of them stops something."""
    found = False
    for j in range(count):
        tau[j] = ZERO
        if level[j] > top[np.uint64(place[j])]:
            continue
        found = True
        at, u, v, w = np.uint64(cell[j] + level[j]), fx[j], fy[j], fz[j]
        a = sigma[at] * (ONE - w) + sigma[at + STEP] * w
        b = sigma[at + right] * (ONE - w) + sigma[at + right + STEP] * w
        at += below
        c = sigma[at] * (ONE - w) + sigma[at + STEP] * w
        d = sigma[at + right] * (ONE - w) + sigma[at + right + STEP] * w
        a, c = a * (ONE - u) + b * u, c * (ONE - u) + d * u
        tau[j] = (a * (ONE - v) + c * v) * length
    return found


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
    right, below = np.uint64(levels), np.uint64(size * levels)
    down = np.uint64(side) * FOUR
    length = np.float32(step)
    column, row, level = np.empty(PIECE, np.int64), np.empty(PIECE, np.int64), np.empty(PIECE, np.int64)
    place, cell = np.empty(PIECE, np.int64), np.empty(PIECE, np.int64)
    fx, fy, fz = np.empty(PIECE, np.float32), np.empty(PIECE, np.float32), np.empty(PIECE, np.float32)
    tau, kept = np.empty(PIECE, np.float32), np.empty(PIECE, np.float32)
    start, slope = np.empty(5), np.empty(5)
    for line in range(width * turn // turns, width * (turn + 1) // turns):
        for ray in range(line, len(directions), width):
            origin, direction = origins[min(ray, len(origins) - 1)], directions[ray]
            first, end, ground = _span(origin, direction, low, high, step, offset, count, plane)
            for axis in range(5):
                of = axis if axis < 3 else axis - 3
                start[axis], slope[axis] = origin[of] * scale[axis] + shift[axis], direction[of] * scale[axis]
            red, green, blue, far, left = ZERO, ZERO, ZERO, ZERO, ONE
            while first < end and left >= stop:
                n = min(end - first, PIECE)
                _along(first, n, offset, step, start[0], slope[0], size - 2, column, fx)
                _along(first, n, offset, step, start[1], slope[1], size - 2, row, fy)
                _along(first, n, offset, step, start[2], slope[2], levels - 2, level, fz)
                _join(n, column, row, size - 1, 1, place)
                _join(n, column, row, size, levels, cell)
                if not _look_up(sigma, top, n, below, right, length, place, level, cell, fx, fy, fz, tau):
                    first += n
                    continue
                _pass(n, tau, kept)
                _along(first, n, offset, step, start[3], slope[3], side - 2, column, fx)
                _along(first, n, offset, step, start[4], slope[4], side - 2, row, fy)
                _join(n, column, row, side, 4, cell)
                for j in range(n):
                    if kept[j] == ONE:
                        continue
                    after = left * kept[j]
                    weight = left - after
                    left = after
                    far += weight * np.float32((first + j + offset) * step)
                    texel, u, v = np.uint64(cell[j]), fx[j], fy[j]
                    red += weight * _mix(tile, texel, down, u, v)
                    green += weight * _mix(tile, texel + STEP, down, u, v)
                    blue += weight * _mix(tile, texel + TWO, down, u, v)
                    if left < stop:
                        break
                first += n
            opacity = ONE - left
            if ground < math.inf:
                opacity = ONE
                far += left * np.float32(ground)
                _along(0, 1, 1.0, ground, start[3], slope[3], side - 2, column, fx)
                _along(0, 1, 1.0, ground, start[4], slope[4], side - 2, row, fy)
                texel, u, v = np.uint64((row[0] * side + column[0]) * 4), fx[0], fy[0]
                red += left * _mix(tile, texel, down, u, v)
                green += left * _mix(tile, texel + STEP, down, u, v)
                blue += left * _mix(tile, texel + TWO, down, u, v)
            out[0, ray], out[1, ray], out[2, ray], out[3, ray], out[4, ray] = red, green, blue, opacity, far
