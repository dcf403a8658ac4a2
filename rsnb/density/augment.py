"""Turning a pair: the tile rotates, the panorama rolls, and nothing else about the place changes.

Seen from above the world may be turned about the vertical through the tile's centre, or mirrored. A panorama taken
anywhere on the tile then has its columns moved, without any resampling, by whole columns; what is left of the angle,
less than half a column, is added to its heading. Quarter turns and mirror are exact on the tile too; for other angles
it is interpolated, and its corners are unknown (`Turn.known`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rsnb.errors import InputError


@dataclass(frozen=True)
class Turn:
    """A mirror and then a rotation of the world about the vertical, clockwise as seen from above.

    Attributes:
        quarters: of a full turn.
        mirror: east and west are swapped, before the rotation.
        columns: further rotation, in columns of a panorama `width` columns wide, not only whole ones.
        width: of those panoramas; only asked for where `columns` is not 0.
    """

    quarters: int = 0
    mirror: bool = False
    columns: float = 0
    width: int | None = None

    def __post_init__(self):
        if self.columns and not self.width:
            raise InputError(f"a turn by {self.columns} columns of a panorama of unknown width", where="Turn",
                             mend="Give `width`")

    @property
    def beyond(self) -> float:
        """The part of the angle that no whole column makes up, radians."""
        return (self.columns - round(self.columns)) * 2 * math.pi / self.width if self.columns else 0.0

    @property
    def angle(self) -> float:
        """What is added to every bearing, radians; mirrored ones are negated first."""
        return self.quarters * math.pi / 2 + (self.columns * 2 * math.pi / self.width if self.columns else 0.0)

    def tile(self, tile: Tensor) -> Tensor:
        """A tile or volume [..., S, S], turned. Exact without `columns`; with them bilinear, and the corners repeat
        the nearest border pixel.
        """
        tile = tile.flip(-1) if self.mirror else tile
        tile = torch.rot90(tile, -self.quarters, (-2, -1))
        if not self.columns:
            return tile
        grid = self._grid(tile.shape[-1], tile.dtype, tile.device)
        flat = tile.reshape(1, -1, *tile.shape[-2:])
        return F.grid_sample(flat, grid, padding_mode="border", align_corners=False).reshape(tile.shape)

    def known(self, size: int, device=None) -> Tensor:
        """[S, S] bool: where the turned tile shows what was on the tile before."""
        if not self.columns:
            return torch.ones(size, size, dtype=torch.bool, device=device)
        return (self._grid(size, torch.float64, device)[0].abs() <= 1).all(dim=-1)

    def panorama(self, panorama: Tensor) -> Tensor:
        """A panorama, mask or depth [..., H, W] of the turned world, its centre column at `heading` of the old one; no
        pixel is changed.

        Raises:
            InputError: a width that quarter turns or `columns` do not fit.
        """
        width = panorama.shape[-1]
        if (self.quarters % 2 and width % 4) or (self.quarters % 4 and width % 2) or (self.columns
                                                                                     and width != self.width):
            raise InputError(f"a panorama of {width} columns cannot be rolled by {self.quarters} quarter turns and "
                             f"{self.columns} of {self.width} columns", where="Turn.panorama",
                             mend="Use a width that is a multiple of 4, and turns made for that width")
        panorama = panorama.flip(-1) if self.mirror else panorama
        shift = (self.quarters % 4) * width // 4 + round(self.columns)
        return torch.roll(panorama, shift, dims=-1) if shift % width else panorama

    def heading(self, heading):
        """Bearing of the centre column of `panorama`'s result, radians, of the bearing that it had.

        A rotation by whole columns is a roll, which leaves it; a mirror negates it.
        """
        heading = -heading if self.mirror else heading
        return heading + self.beyond if self.beyond else heading

    def offset(self, offset: Tensor) -> Tensor:
        """Where a camera [..., 2 or 3], metres east, north (and up) of the tile's centre, comes to stand."""
        east, north = offset[..., 0], offset[..., 1]
        east = -east if self.mirror else east
        c, s = math.cos(self.angle), math.sin(self.angle)
        turned = torch.stack([c * east + s * north, c * north - s * east], dim=-1)
        return torch.cat([turned, offset[..., 2:]], dim=-1)

    def _grid(self, size: int, dtype: torch.dtype, device) -> Tensor:
        """[1, S, S, 2] where in -1..1 each pixel of the result comes from, for the rotation by `columns` alone."""
        angle = self.columns * 2 * math.pi / self.width
        line = (torch.arange(size, dtype=dtype, device=device) + 0.5) * 2 / size - 1
        y, x = torch.meshgrid(line, line, indexing="ij")  # y to the south
        c, s = math.cos(angle), math.sin(angle)
        return torch.stack([c * x + s * y, c * y - s * x], dim=-1)[None]


def draw_turns(count: int, generator: torch.Generator | None = None, *, mirror: bool = True,
               width: int | None = None, whole: bool = True) -> list[Turn]:
    """Random turns, all equally likely.

    Args:
        count: how many.
        generator: on the CPU; None = the global one.
        mirror: whether half of them are mirrored.
        width: of the panoramas: then any whole number of columns is drawn, within an eighth of a turn of a quarter;
            None = quarter turns alone, which lose nothing.
        whole: False = any angle, not only whole columns.
    """
    quarters = torch.randint(4, (count,), generator=generator).tolist()
    mirrored = (torch.rand(count, generator=generator) < 0.5).tolist() if mirror else [False] * count
    if width is None:
        return [Turn(q, m) for q, m in zip(quarters, mirrored, strict=True)]
    if not whole:
        columns = ((torch.rand(count, generator=generator, dtype=torch.float64) - 0.5) * width / 4).tolist()
        return [Turn(q, m, c, width) for q, m, c in zip(quarters, mirrored, columns, strict=True)]
    columns = torch.randint(-(width // 8), (width + 7) // 8, (count,), generator=generator).tolist()
    return [Turn(q, m, c, width) for q, m, c in zip(quarters, mirrored, columns, strict=True)]


def turn_tiles(turns: Sequence[Turn], tiles: Tensor) -> Tensor:
    """Tiles or volumes [B, ..., S, S], each turned by its own turn."""
    return torch.stack([turn.tile(tile) for turn, tile in zip(turns, tiles, strict=True)])


def turn_panoramas(turns: Sequence[Turn], panoramas: Tensor) -> Tensor:
    """Panoramas, masks or depths [B, ..., H, W], each turned by its own turn."""
    return torch.stack([turn.panorama(one) for turn, one in zip(turns, panoramas, strict=True)])


def turn_headings(turns: Sequence[Turn], headings: Tensor) -> Tensor:
    """Headings [B], radians, that belong to the turned panoramas."""
    return torch.stack([turn.heading(one) for turn, one in zip(turns, headings, strict=True)])


def turn_offsets(turns: Sequence[Turn], offsets: Tensor) -> Tensor:
    """Camera places [B, 2 or 3], metres from the tile's centre, each turned by its own turn."""
    return torch.stack([turn.offset(one) for turn, one in zip(turns, offsets, strict=True)])
