"""A renderer in plain numpy and float64, sample by sample as the texts say it: the witness for all backends.

Nothing of the renderer is used here: what counts is asked of each sample's place, corners are looked up one by one.
"""

from __future__ import annotations

import numpy as np

EXTENT, CEILING = 30.0, 8.0
GROUNDS, EDGES, PLACEMENTS = ("plane", "slab", "none"), ("hold", "fade"), ("middle", "end")


def reference_march(sigma, tile, origin, directions, samples, length, ground="plane", edges="hold",
                    placement="middle"):
    """rgb [N, 3], opacity [N], distance [N] of rays [N, 3] from an origin [3] through sigma [D, S, S]."""
    sigma, tile = np.asarray(sigma, np.float64), np.asarray(tile, np.float64)
    if ground == "slab":
        sigma = np.concatenate([np.full((1, *sigma.shape[1:]), 1000 / (EXTENT / 2)), sigma])
    n, step = len(directions), length / samples
    left, rgb, opacity, distance = np.ones(n), np.zeros((n, 3)), np.zeros(n), np.zeros(n)
    for k in range(samples):
        t = (k + (0.5 if placement == "middle" else 1.0)) * step
        place = origin + t * directions
        density = look_up(sigma, place, edges)
        if ground == "plane":
            density = np.where(place[:, 2] > 0, density, 0)
        alpha = 1 - np.exp(-density * step)
        weight = left * alpha
        rgb += weight[:, None] * colour(tile, place)
        opacity += weight
        distance += weight * t
        left = left * (1 - alpha)
    if ground == "plane":
        hits = directions[:, 2] < 0
        t = np.where(hits, origin[2] / np.where(hits, -directions[:, 2], 1), 0)
        weight = np.where(hits, left, 0)
        rgb += weight[:, None] * colour(tile, origin + t[:, None] * directions)
        opacity += weight
        distance += weight * t
    return rgb, opacity, distance


def look_up(sigma, place, edges):
    depth, size, _ = sigma.shape
    at = [place[:, 2] / CEILING * depth - 0.5, (0.5 - place[:, 1] / EXTENT) * size - 0.5,
          (0.5 + place[:, 0] / EXTENT) * size - 0.5]  # slice, row, column, centres at whole numbers
    inside = np.ones(len(place), bool)
    if edges == "hold":
        for a, count in zip(at, sigma.shape, strict=True):
            inside &= (a >= -0.5) & (a <= count - 0.5)
        at = [np.clip(a, 0, count - 1) for a, count in zip(at, sigma.shape, strict=True)]
    found = np.zeros(len(place))
    low = [np.floor(a).astype(int) for a in at]
    for corner in np.ndindex(2, 2, 2):
        index = [lo + c for lo, c in zip(low, corner, strict=True)]
        share = np.prod([1 - abs(a - i) for a, i in zip(at, index, strict=True)], axis=0)
        there = np.all([(i >= 0) & (i < count) for i, count in zip(index, sigma.shape, strict=True)], axis=0)
        index = [np.clip(i, 0, count - 1) for i, count in zip(index, sigma.shape, strict=True)]
        found += np.where(there, share * sigma[tuple(index)], 0)
    return found * inside


def colour(tile, place):
    size = tile.shape[-1]
    row, column = (np.clip(a * size - 0.5, 0, size - 1)
                   for a in (0.5 - place[:, 1] / EXTENT, 0.5 + place[:, 0] / EXTENT))
    top, first = np.floor(row).astype(int), np.floor(column).astype(int)
    below, second = np.minimum(top + 1, size - 1), np.minimum(first + 1, size - 1)
    v, u = row - top, column - first
    return (tile[:, top, first] * (1 - v) * (1 - u) + tile[:, top, second] * (1 - v) * u
            + tile[:, below, first] * v * (1 - u) + tile[:, below, second] * v * u).T


def patchy(seed=0, batch=2, depth=10, size=24, pixels=40):
    """Densities [B, D, S, S] with empty places, and tiles [B, 3, C, C], float64, white noise both."""
    rng = np.random.default_rng(seed)
    sigma = np.clip(rng.random((batch, depth, size, size)) - 0.7, 0, 1) * 3
    sigma[:, depth // 2:, size // 3:] = 0
    return sigma, rng.random((batch, 3, pixels, pixels))


def rays(seed=1, count=200):
    """Unit directions [N, 3] all around, and above the ground an origin [3] off the tile's middle."""
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    return np.array([1.3, -2.7, 2.1]), directions / np.linalg.norm(directions, axis=1, keepdims=True)
