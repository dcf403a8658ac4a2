"""A density volume seen obliquely from far away, marched in numpy: the picture of what plotly lets one turn around."""

from __future__ import annotations

import numpy as np

from rsnb.viewers.mpi_interactive import oblique
from rsnb.viewers.planes import as_array

SIDE_LIGHT_M = 1.0  # a wall is lit from the side if this much before it is empty
CLEAR = 0.02  # of the light, below which a ray ends


def oblique_view(sigma, tile, extent_m: float, ceiling_m: float, turn_deg: float = -30.0, tilt_deg: float = 40.0,
                 width: int = 560) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """The volume with the tile under it, in parallel projection, each voxel a block in the colour of its place.

    Light comes from above and a little from the left of the picture, so that walls are darker than roofs.

    Args:
        sigma: [D, S, S] density, 1 / m; slice 0 lowest, row 0 north.
        tile: [3, C, C] in 0..1.
        extent_m, ceiling_m: side of the tile and height of the volume, metres.
        turn_deg: of the view about the vertical: 0 looks north, 90 east.
        tilt_deg: 90 looks straight down, small angles along the ground.
        width: pixels.

    Returns:
        [3, H, W] with white around, and where it lies on the screen: left, right, bottom, top, metres, as `on_screen`
        gives them.
    """
    sigma, tile = as_array(sigma).astype(np.float32), as_array(tile).astype(np.float32)
    corners = on_screen(box_corners(extent_m, ceiling_m), turn_deg, tilt_deg)
    (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
    pixel = (right - left) / width
    height = max(1, round((top - bottom) / pixel))
    u, v = np.meshgrid(left + (np.arange(width) + 0.5) * pixel, top - (np.arange(height) + 0.5) * pixel)
    view = _Rays(u.ravel(), v.ravel(), np.radians(turn_deg), np.radians(tilt_deg), extent_m)
    depth, side, _ = sigma.shape
    slice_m = ceiling_m / depth
    light, coarse = _light(sigma, slice_m, extent_m / side, turn_deg), _coarse(tile, side)
    parts = max(1, round(slice_m * np.cos(np.radians(tilt_deg)) / (1.5 * pixel)))  # small steps up the screen
    step = slice_m / parts / np.sin(np.radians(tilt_deg))  # metres along the ray
    picture, clear = np.zeros((3, u.size), np.float32), np.ones(u.size, np.float32)
    rays = np.arange(u.size)
    for count, z in enumerate((np.arange(depth * parts)[::-1] + 0.5) * slice_m / parts):
        k = min(int(z / slice_m), depth - 1)
        if count % 8 == 0:
            rays = np.flatnonzero(clear > CLEAR)
        if not sigma[k].any():
            continue
        some, cell = view.cells(rays, z, side)
        dense = sigma[k].ravel()[cell] * step
        hit = dense > 1e-4
        some, cell = some[hit], cell[hit]
        weight = clear[some] * -np.expm1(-dense[hit])
        picture[:, some] += weight * (light[k].ravel() * coarse)[:, cell]
        clear[some] -= weight
    rays, cell = view.cells(np.arange(u.size), 0.0, side)
    shade = np.maximum((light[0] * np.exp(-sigma[0] * slice_m)).ravel()[cell], 0.45)
    picture[:, rays] += clear[rays] * shade * tile.reshape(3, -1)[:, view.cells(rays, 0.0, tile.shape[-1])[1]]
    clear[rays] = 0
    picture += clear
    return picture.reshape(3, height, width), (left, right, bottom, top)


def on_screen(points: np.ndarray, turn_deg: float, tilt_deg: float) -> np.ndarray:
    """[..., 2] metres to the right and up in the picture of points [..., 3], tile metres."""
    return np.asarray(points) @ oblique(np.radians(turn_deg), np.radians(tilt_deg)).T


def box_corners(extent_m: float, ceiling_m: float) -> np.ndarray:
    """[8, 3] corners of a volume, tile metres: those on the ground from the south-west counter-clockwise, then those
    above them."""
    half = extent_m / 2
    square = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    return np.concatenate([np.c_[square, np.full(4, z)] for z in (0.0, ceiling_m)])


class _Rays:
    """Where the rays of the picture's pixels cross a height: row and column as shares 0..1 of the tile."""

    def __init__(self, u, v, turn: float, tilt: float, extent_m: float):
        ahead = v / np.sin(tilt)
        x, y = u * np.cos(turn) + ahead * np.sin(turn), ahead * np.cos(turn) - u * np.sin(turn)
        self.row, self.column = (0.5 - y / extent_m).astype(np.float32), (0.5 + x / extent_m).astype(np.float32)
        lean = np.cos(tilt) / np.sin(tilt) / extent_m  # what is higher is seen farther up, so it lies nearer
        self.lean_row, self.lean_column = np.float32(lean * np.cos(turn)), np.float32(-lean * np.sin(turn))

    def cells(self, rays: np.ndarray, z: float, side: int) -> tuple[np.ndarray, np.ndarray]:
        """(those of the rays that are over the tile at that height, their cells on a grid of `side`)."""
        row = self.row[rays] + self.lean_row * np.float32(z)
        column = self.column[rays] + self.lean_column * np.float32(z)
        inside = (row >= 0) & (row < 1) & (column >= 0) & (column < 1)
        row, column = (np.minimum((share[inside] * side).astype(np.int32), side - 1) for share in (row, column))
        return rays[inside], row * side + column


def _coarse(tile: np.ndarray, side: int) -> np.ndarray:
    """[3, side x side] colours of the tile in the middle of the cells of a grid."""
    at = ((np.arange(side) + 0.5) * tile.shape[-1] / side).astype(int)
    return tile[:, at][:, :, at].reshape(3, -1)


def _light(sigma: np.ndarray, slice_m: float, pixel_m: float, turn_deg: float) -> np.ndarray:
    """[D, S, S] 0.45..1: how much light a voxel gets from straight above and from the left of the picture."""
    above = np.cumsum(sigma[::-1], axis=0)[::-1] - sigma
    steps = max(1, round(SIDE_LIGHT_M / pixel_m))
    east, north = -np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))  # towards the left of the picture
    beside, side = np.zeros_like(sigma), sigma.shape[1]
    for step in range(1, steps + 1):
        down, right = round(-north * step), round(east * step)
        rows, columns = np.arange(side) + down, np.arange(side) + right
        inside = ((rows >= 0) & (rows < side))[:, None] & ((columns >= 0) & (columns < side))
        beside += sigma[:, np.clip(rows, 0, side - 1)][:, :, np.clip(columns, 0, side - 1)] * inside
    from_above = np.exp(-above * slice_m)
    return 0.45 + 0.55 * from_above + 0.2 * (1 - from_above) * np.exp(-beside * pixel_m)
