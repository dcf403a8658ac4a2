"""The march on the CPU in compiled loops: float32, no gradient; `march_torch` is its oracle.

The volume is turned so that the densities over a place lie side by side, with one cell more on all sides that holds
what `edges` says: then every sample is eight numbers and no question. A map of the highest slice that is not empty, of
the four columns about each place, spares the air above the roofs. Turning a volume costs some milliseconds: those of
the last two that live are kept. Rays are dealt to threads in turns, since rays into the sky are short. Threads and not
OpenMP: a second OpenMP runtime beside torch's stalls both.
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

from rsnb.density.sampling import LEAST_DIP, Steps, walls
from rsnb.density.volume import DensityVolume, Rendered

RAYS_A_TURN = 256
TURNS_A_THREAD = 4  # tasks of a thread: with one, the thread that other work holds up is waited for
KEPT = 2  # volumes


class _Turned(NamedTuple):
    """A volume as the loops read it.

    Attributes:
        sigma: [B, S + 2, S + 2, D + 2] float32, row, column, slice; 1 / m.
        top: [B, S + 1, S + 1] int32, the highest slice that is above 0 in the columns r, r + 1 x c, c + 1; -1 if none.
        tile: [B, C + 1, C + 1, 4] float32, red, green, blue, 0; the last row and column twice.
    """

    sigma: np.ndarray
    top: np.ndarray
    tile: np.ndarray


def march_numba(volume: DensityVolume, origins: Tensor, directions: Tensor, steps: Steps,
                stop: float = 0.0) -> Rendered:
    """As `march_torch`, for float32 volumes on the CPU; rays end where their transmittance falls below `stop`."""
    turned = _turned(volume)
    batch, count = len(volume), directions.shape[1]
    out = np.empty((batch, 5, count), np.float32)
    low, high = (np.array(wall) for wall in walls(volume))
    size, colours = volume.sigma.shape[-1], volume.tile.shape[-1]
    # from metres to the turned arrays' own indices: scale and shift of x, y, z, and of x, y on the tile
    fine, tall = size / volume.frame.extent_m, 1 / volume.slice_m
    tint = colours / volume.frame.extent_m
    scale = np.array([fine, -fine, tall, tint, -tint])
    shift = np.array([size / 2 + 0.5, size / 2 + 0.5, 0.5, colours / 2 - 0.5, colours / 2 - 0.5])
    rays = [np.ascontiguousarray(part.numpy()) for part in (origins, directions)]

    def work(turn, turns):
        for b in range(batch):
            _march(turned.sigma[b], turned.top[b], turned.tile[b], *(part[min(b, len(part) - 1)] for part in rays),
                   low, high, scale, shift, *steps, volume.ground == "plane", np.float32(stop), out[b], turn, turns)

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
    top = np.empty((batch, size + 1, size + 1), np.int32)
    highest = np.empty((batch, size + 2, size + 2), np.int32)
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
    return _Turned(sigma, top, tile)


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


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _tint(tile, x, y, weight, sums):
    """Adds weight times the colour at column x and row y of the tile, held at its border."""
    last = tile.shape[0] - 2
    x, y = min(max(x, 0.0), 1.0 * last), min(max(y, 0.0), 1.0 * last)
    column, row = int(x), int(y)
    fx, fy = np.float32(x - column), np.float32(y - row)
    one = np.float32(1)
    a, b = weight * (one - fy) * (one - fx), weight * (one - fy) * fx
    c, d = weight * fy * (one - fx), weight * fy * fx
    for channel in range(3):
        sums[channel] += (a * tile[row, column, channel] + b * tile[row, column + 1, channel]
                          + c * tile[row + 1, column, channel] + d * tile[row + 1, column + 1, channel])


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _march(sigma, top, tile, origins, directions, low, high, scale, shift, step, offset, count, plane, stop, out, turn,
           turns):
    """Rays of this turn: red, green, blue, opacity and distance into `out` [5, N]."""
    rows, columns, levels = sigma.shape
    length = np.float32(step)
    one = np.float32(1)
    sums = np.zeros(3, np.float32)
    for start in range(turn * RAYS_A_TURN, len(directions), turns * RAYS_A_TURN):
        for ray in range(start, min(start + RAYS_A_TURN, len(directions))):
            origin, direction = origins[min(ray, len(origins) - 1)], directions[ray]
            first, end, ground = _span(origin, direction, low, high, step, offset, count, plane)
            ox, oy, oz = (origin[0] * scale[0] + shift[0], origin[1] * scale[1] + shift[1],
                          origin[2] * scale[2] + shift[2])
            dx, dy, dz = direction[0] * scale[0], direction[1] * scale[1], direction[2] * scale[2]
            sums[:] = 0
            left, far = one, np.float32(0)
            for k in range(first, end):
                t = (k + offset) * step
                x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
                column, row, level = int(x), int(y), int(z)
                column, row, level = min(column, columns - 2), min(row, rows - 2), min(level, levels - 2)
                if level > top[row, column]:
                    continue
                fx, fy, fz = np.float32(x - column), np.float32(y - row), np.float32(z - level)
                a = sigma[row, column, level] * (one - fz) + sigma[row, column, level + 1] * fz
                b = sigma[row, column + 1, level] * (one - fz) + sigma[row, column + 1, level + 1] * fz
                c = sigma[row + 1, column, level] * (one - fz) + sigma[row + 1, column, level + 1] * fz
                d = sigma[row + 1, column + 1, level] * (one - fz) + sigma[row + 1, column + 1, level + 1] * fz
                a, c = a * (one - fx) + b * fx, c * (one - fx) + d * fx
                tau = (a * (one - fy) + c * fy) * length
                if tau == 0:
                    continue
                after = left * np.exp(-tau)
                weight = left - after
                left = after
                far += weight * np.float32(t)
                _tint(tile, (origin[0] + t * direction[0]) * scale[3] + shift[3],
                      (origin[1] + t * direction[1]) * scale[4] + shift[4], weight, sums)
                if left < stop:
                    break
            opacity = one - left
            if ground < math.inf:
                opacity = one
                far += left * np.float32(ground)
                _tint(tile, (origin[0] + ground * direction[0]) * scale[3] + shift[3],
                      (origin[1] + ground * direction[1]) * scale[4] + shift[4], left, sums)
            for channel in range(3):
                out[channel, ray] = sums[channel]
            out[3, ray] = opacity
            out[4, ray] = far
