"""Does a panorama fit its tile? Flat ground seen in both, compared bearing by bearing; numpy and scipy alone."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates


def ring_correlation(tile, panorama, vertical_fov, height_m, extent_m, ring_m, offset=(0.0, 0.0)) -> np.ndarray:
    """[W] correlation of the ground in a panorama [3, H, W] with that in a tile [3, S, S], for each turn of the tile.

    A pixel at pitch -p shows flat ground height / tan(p) away; its bearing grows with the column, centre = north.
    Entry k turns the tile's ring k columns; entry 0 is "both are north up". Rows lose their mean first.
    """
    grey, street = tile.mean(axis=0), panorama.mean(axis=0)
    rows, columns = street.shape
    down = -(0.5 - (np.arange(rows) + 0.5) / rows) * vertical_fov
    reach = np.where(down > 0, height_m / np.tan(np.maximum(down, 1e-9)), np.inf)
    used = (reach > ring_m[0]) & (reach < ring_m[1])
    bearing = ((np.arange(columns) + 0.5) / columns - 0.5) * 2 * np.pi
    east = reach[used, None] * np.sin(bearing) + offset[0]
    north = reach[used, None] * np.cos(bearing) + offset[1]
    side = len(grey)
    seen = map_coordinates(grey, [(0.5 - north / extent_m) * side - 0.5, (0.5 + east / extent_m) * side - 0.5], order=1,
                           mode="nearest")
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (seen, street[used]))
    turned = np.fft.irfft(np.fft.rfft(a, axis=1).conj() * np.fft.rfft(b, axis=1), n=columns, axis=1).sum(axis=0)
    return turned / np.sqrt((a**2).sum() * (b**2).sum())
