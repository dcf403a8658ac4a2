"""A tile seen from the street, and a street panorama seen from above, as if the world were the flat ground.

Nothing stands up in this world, so both are exact for roads and wrong for houses; that is enough to measure how high
the camera stood (`calibrate`) and which way it looked (`alignment`). Lengths have no fixed unit: the camera's height,
the tile's extent and the offset share one, metres or (with `extent` = the tile's side in pixels) tile pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rsnb.errors import InputError
from rsnb.geometry.cameras import as_tensor


@dataclass(frozen=True)
class Sphere:
    """What part of the sphere a panorama shows: a full circle, `vertical_fov` radians centred on the horizon.

    Attributes:
        rows, columns: of the panorama.
        vertical_fov: from its top edge to its bottom edge, radians; pi = down to the nadir.
        heading: bearing of the centre column, radians.
        middle: elevation of the middle row, radians; 0 = the horizon lies in the middle, as it should.

    Raises:
        InputError: no pixels, a field of view outside 0..pi, an angle that is no number.
    """

    rows: int
    columns: int
    vertical_fov: float = math.pi
    heading: float = 0.0
    middle: float = 0.0

    def __post_init__(self):
        if self.rows < 2 or self.columns < 2:
            raise InputError(f"a panorama of {self.rows} x {self.columns} pixels", where="panorama",
                             mend="Give [..., 3, H, W] with at least 2 rows and columns")
        if not 0 < self.vertical_fov <= math.pi + 1e-9:
            raise InputError(f"a vertical field of view of {math.degrees(self.vertical_fov):g} degrees",
                             where="vertical_fov", mend="Give radians above 0, up to pi (the whole sphere)")
        if not math.isfinite(self.heading) or not abs(self.middle) < math.pi / 2:
            raise InputError(f"a heading of {self.heading} and a middle row at {self.middle}", where="heading, middle",
                             mend="Give radians, the elevation of the middle row between -pi / 2 and pi / 2")

    @property
    def elevations(self) -> Tensor:
        """[H] float64 elevation of the rows' centres above the horizon, radians, top row first."""
        rows = torch.arange(self.rows, dtype=torch.float64)
        return (0.5 - (rows + 0.5) / self.rows) * self.vertical_fov + self.middle

    @property
    def bearings(self) -> Tensor:
        """[W] float64 bearing of the columns' centres, radians clockwise from north."""
        columns = torch.arange(self.columns, dtype=torch.float64)
        return ((columns + 0.5) / self.columns - 0.5) * (2 * math.pi) + self.heading


def require_whole_sphere(rows: int, columns: int, where: str = "panorama") -> None:
    """Refuse a picture that is said to show the whole sphere but has not its shape.

    That is 2:1; rows squeezed to half, as Sat2Density does (128 x 512), are let pass, and all between.

    Raises:
        InputError: fewer columns than twice the rows, or more than four times, to a pixel.
    """
    if not 2 * rows - 1 <= columns <= 4 * rows + 1:
        raise InputError(f"a panorama of {columns} x {rows} pixels is not 2:1, so it does not show the whole sphere",
                         where=where, mend="Give its vertical_fov (CVUSA: 65.5 degrees, rows / columns x 360), or "
                                           "the whole picture")


def flat_panorama(tile, sphere: Sphere, camera_height: float, extent: float | None = None,
                  offset: tuple[float, float] = (0.0, 0.0)) -> tuple[Tensor, Tensor]:
    """The panorama that the ground alone would give, the tile painted on it.

    Pixels of tiles and panoramas have their centres at +0.5; colours are interpolated linearly.

    Args:
        tile: [..., C, S, S], row 0 north.
        sphere: size, field of view and heading of the panorama.
        camera_height: above the ground.
        extent: side of the tile in the unit of the height; None = the height is in tile pixels.
        offset: east and north from the tile's middle to the camera, same unit.

    Returns:
        [..., C, H, W] float32, 0 where the ray misses the tile, and bool [H, W]: it meets the tile.

    Raises:
        InputError: a tile that is not square or holds NaN; a height or extent that is not a number above 0.
    """
    tile = _checked(tile, "tile")
    if tile.shape[-1] != tile.shape[-2]:
        raise InputError(f"the tile has shape {tuple(tile.shape)}, expected [..., C, S, S]", where="tile")
    extent = float(tile.shape[-1] if extent is None else extent)
    _check_lengths(camera_height, extent, offset)
    east, north, below = ground_points(sphere, camera_height)
    grid = torch.stack([east + offset[0], -(north + offset[1])], dim=-1) * (2 / extent)
    seen = below & (grid.abs() <= 1).all(dim=-1)
    return _sampled(tile, grid, seen), seen


def birds_eye(panorama, sphere: Sphere, size: int, camera_height: float, extent: float | None = None,
              offset: tuple[float, float] = (0.0, 0.0)) -> tuple[Tensor, Tensor]:
    """The map that a panorama gives if all it shows below the horizon were ground: the inverse of `flat_panorama`.

    Args:
        panorama: [..., C, H, W] of `sphere`.
        sphere: what it shows.
        size: pixels along the side of the map.
        camera_height, extent, offset: as for `flat_panorama`; extent None = map pixels.

    Returns:
        [..., C, size, size] float32, row 0 north, 0 where the panorama does not reach down, and bool [size, size].

    Raises:
        InputError: a panorama of another size than its sphere, NaN, a length that is not above 0.
    """
    panorama = _checked(panorama, "panorama")
    if tuple(panorama.shape[-2:]) != (sphere.rows, sphere.columns):
        raise InputError(f"the panorama has {tuple(panorama.shape[-2:])} rows and columns, its sphere "
                         f"{(sphere.rows, sphere.columns)}", where="panorama")
    if size < 1:
        raise InputError(f"a map of {size} pixels", where="size", mend="Give a whole number above 0")
    extent = float(size if extent is None else extent)
    _check_lengths(camera_height, extent, offset)
    centres = ((torch.arange(size, dtype=torch.float64) + 0.5) / size - 0.5) * extent
    east, north = centres[None, :] - offset[0], -centres[:, None] - offset[1]
    elevation = -torch.atan2(torch.full((), float(camera_height), dtype=torch.float64), torch.hypot(east, north))
    turn = (torch.atan2(east, north) - sphere.heading) / (2 * math.pi) + 0.5
    column, row = (turn % 1.0) * sphere.columns, (0.5 - (elevation - sphere.middle) / sphere.vertical_fov) * sphere.rows
    seen = (row >= 0) & (row <= sphere.rows)
    # one column of each side on the other, so that nothing is interpolated with the void at the seam
    wrapped = torch.cat([panorama[..., -1:], panorama, panorama[..., :1]], dim=-1)
    grid = torch.stack([(column + 1) / (sphere.columns + 2), row / sphere.rows], dim=-1) * 2 - 1
    return _sampled(wrapped, grid, seen), seen


def ground_points(sphere: Sphere, camera_height: float) -> tuple[Tensor, Tensor, Tensor]:
    """Where the rays of all pixels meet the ground: east and north of the camera [H, W] float64, unit of the height.

    The third is bool [H, W]: the ray looks down. Elsewhere the first two are infinite.
    """
    down = -sphere.elevations
    below = (down > 1e-9) & (down < math.pi / 2)
    reach = torch.where(below, camera_height / torch.tan(down.clamp(1e-9, math.pi / 2)), torch.inf)
    below = below[:, None].expand(sphere.rows, sphere.columns)
    east, north = torch.sin(sphere.bearings), torch.cos(sphere.bearings)
    # a direction of exactly 0 times an infinite reach would be NaN
    east, north = (torch.where(below, reach[:, None] * d[None, :], torch.inf) for d in (east, north))
    return east, north, below


def _sampled(image: Tensor, grid: Tensor, seen: Tensor) -> Tensor:
    """[..., C, H, W] of an image [..., C, h, w] at grid [H, W, 2] (edges at -1 and 1), 0 where not seen."""
    flat = image.reshape(1, -1, *image.shape[-2:])
    grid = torch.where(seen[..., None], grid, torch.zeros_like(grid)).to(flat.dtype)
    out = torch.nn.functional.grid_sample(flat, grid[None], padding_mode="border", align_corners=False)
    out = torch.where(seen, out[0], torch.zeros_like(out[0]))
    return out.reshape(*image.shape[:-2], *grid.shape[:2])


def _checked(image, name: str) -> Tensor:
    image = as_tensor(image).detach().to(device="cpu", dtype=torch.float32)
    if image.ndim < 3 or image.numel() == 0:
        raise InputError(f"the {name} has shape {tuple(image.shape)}, expected [..., C, H, W]", where=name)
    if not torch.isfinite(image).all():
        raise InputError(f"the {name} holds samples that are not finite", where=name,
                         mend="Repair or leave out this picture")
    return image


def _check_lengths(camera_height, extent, offset) -> None:
    for name, value in (("camera_height", camera_height), ("extent", extent)):
        if not 0 < float(value) < math.inf:
            raise InputError(f"{name} is {value!r}", where=name, mend="Give a length above 0, in one unit for all")
    if len(offset) != 2 or not all(math.isfinite(float(v)) for v in offset):
        raise InputError(f"offset is {offset!r}", where="offset", mend="Give (east, north), in the unit of the height")
