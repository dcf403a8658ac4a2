"""The surface of a density grid over a tile: closed triangles in metres.

numpy at module level; scikit-image is loaded by the function that needs it.
"""

from __future__ import annotations

import numpy as np

from rsnb.errors import InputError


def density_surface(sigma, extent_m: float, ceiling_m: float, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Where a density grid passes a level, by marching cubes (Lewiner and others, J. Graphics Tools 8, 2003).

    What is interpolated between voxel centres is 1 - 2^(-sigma / level), which ends at 1: so the wall of something
    dense lies half way between its last voxel and the first empty one, however dense it is. Around the grid there is
    nothing, which closes the surface at the border and at the ground.

    Args:
        sigma: [D, S, S] density, 1 / m; slice 0 lowest, row 0 north, column 0 west.
        extent_m, ceiling_m: side of the tile and height of the grid, metres.
        level: density of the surface, 1 / m.

    Returns:
        vertices [V, 3] float64, tile metres (x east, y north, z up, origin on the ground in the middle), and faces
        [F, 3] int32, counter-clockwise seen from outside.

    Raises:
        InputError: another shape, densities that are negative or not a number, or nothing denser than the level.
    """
    from skimage.measure import marching_cubes

    opacity = share_of_level(sigma, level)
    if not (opacity > 0.5).any():
        raise InputError(f"nothing is denser than {level:g} / m", where="density_surface",
                         mend=f"Choose a level below {float(np.max(sigma)):.3g} / m, the greatest density")
    depth, side, _ = opacity.shape
    found, faces, _, _ = marching_cubes(np.pad(opacity, 1), 0.5)
    up, down, right = (found.astype(np.float64) - 0.5).T  # padded by one; centres at +0.5
    pixel = extent_m / side
    vertices = np.stack([right * pixel - extent_m / 2, extent_m / 2 - down * pixel, up * (ceiling_m / depth)], axis=1)
    return vertices, faces[:, ::-1].astype(np.int32)  # they come clockwise seen from outside


def share_of_level(sigma, level: float) -> np.ndarray:
    """[D, S, S] float64 1 - 2^(-sigma / level): 0 where there is nothing, 0.5 at the level, 1 where it is solid.

    Raises:
        InputError: as for `density_surface`.
    """
    sigma = np.asarray(sigma.detach().cpu() if hasattr(sigma, "detach") else sigma, np.float64)
    if sigma.ndim != 3 or sigma.shape[1] != sigma.shape[2] or not sigma.size:
        raise InputError(f"a density of shape {sigma.shape}", where="sigma", mend="Give one volume, [D, S, S]")
    if not (sigma >= 0).all():  # false for nan as well
        bad = [int(i) for i in np.argwhere(~(sigma >= 0))[0]]
        raise InputError(f"the density at slice, row, column {bad} is {sigma[tuple(bad)]}", where="sigma",
                         mend="Densities are numbers of 0 or more")
    if not 0 < level < np.inf:
        raise InputError(f"the level is {level}", where="level", mend="Give a density above 0, in 1 / m")
    return -np.expm1(-np.log(2.0) / level * sigma)


def tile_colours(vertices: np.ndarray, tile: np.ndarray, extent_m: float) -> np.ndarray:
    """[V, 3] the colour of a tile [3, C, C] (row 0 north) under each vertex [V, 3], tile metres; bilinear.

    As in Sat2Density a wall has one colour from top to bottom: that of its place on the ground.
    """
    size = tile.shape[-1]
    along = np.stack([0.5 - vertices[:, 1] / extent_m, 0.5 + vertices[:, 0] / extent_m])  # row, column
    at = np.clip(along * size - 0.5, 0, size - 1)
    low = np.minimum(at.astype(int), max(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    row, column = at - low
    top = tile[:, low[0], low[1]] * (1 - column) + tile[:, low[0], high[1]] * column
    bottom = tile[:, high[0], low[1]] * (1 - column) + tile[:, high[0], high[1]] * column
    return (top * (1 - row) + bottom * row).T
