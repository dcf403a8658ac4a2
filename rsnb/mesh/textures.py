"""All textures of a mesh with their mip levels in one flat buffer, and the filtered lookup.

One buffer means one gather for a whole picture, whatever the number of materials: a photogrammetric tile has one
texture, a CityGML model has hundreds. Texels stay uint8 (four bytes a texel: red, green, blue, unused), so an
8192 x 4096 texture costs 180 MB with its mips and not the 400 MB of a float copy without.

Lookup follows the OBJ convention: texel row = (1 - v) * height, coordinates outside 0..1 repeat. Mip levels are 2 x 2
box averages of the stored values (no gamma), which is what averaging more rays per pixel would give; Williams,
"Pyramidal parametrics", SIGGRAPH 1983.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from rsnb.errors import InputError
from rsnb.scenes import Material

TEXTURE_SIZE_LIMIT = 32768


@dataclass(frozen=True)
class TextureBank:
    """Textures of M materials, each with up to L mip levels, flat.

    Attributes:
        texels: [T, 4] uint8, red, green, blue, 255; rows of a level are contiguous, levels follow each other.
        offset: [M, L] int64, first texel of a level. Levels beyond a material's last repeat the last.
        width, height: [M, L] int32, texels.
        last_level: [M] int32.
        rgb: [M, 3] float32, factor of the material.
    """

    texels: np.ndarray
    offset: np.ndarray
    width: np.ndarray
    height: np.ndarray
    last_level: np.ndarray
    rgb: np.ndarray

    @property
    def size(self) -> np.ndarray:
        """[M, 2] float64: width and height of level 0 in texels (1, 1 where a material has no texture)."""
        return np.stack([self.width[:, 0], self.height[:, 0]], axis=1).astype(np.float64)


def build_texture_bank(materials: tuple[Material, ...]) -> TextureBank:
    """Stack the textures of `materials` with their mips; a material without one gets a single white texel.

    A texture array that several materials share is stored once.

    Raises:
        InputError: a texture is not [H, W, 3] uint8, or is empty or larger than 32768 a side.
    """
    levels_of: dict[int, list[int]] = {}
    pieces: list[np.ndarray] = []
    sizes: list[tuple[int, int]] = []
    per_material: list[list[int]] = []
    for material in materials:
        key = id(material.texture) if material.texture is not None else -1
        if key not in levels_of:
            first = len(pieces)
            pieces.extend(_mips(material))
            sizes.extend(piece.shape[:2] for piece in pieces[first:])
            levels_of[key] = list(range(first, len(pieces)))
        per_material.append(levels_of[key])
    counts = [height * width for height, width in sizes]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    texels = np.empty((int(starts[-1]), 4), np.uint8)
    texels[:, 3] = 255
    for start, piece in zip(starts, pieces, strict=False):
        texels[start : start + piece.shape[0] * piece.shape[1], :3] = piece.reshape(-1, 3)
    depth = max(len(levels) for levels in per_material)
    index = np.array([levels + [levels[-1]] * (depth - len(levels)) for levels in per_material])
    heights, widths = np.array(sizes, np.int32).T
    return TextureBank(
        texels=texels,
        offset=starts[index],
        width=widths[index],
        height=heights[index],
        last_level=np.array([len(levels) - 1 for levels in per_material], np.int32),
        rgb=np.array([material.rgb for material in materials], np.float32).reshape(-1, 3),
    )


def _mips(material: Material) -> list[np.ndarray]:
    texture = material.texture
    if texture is None:
        return [np.full((1, 1, 3), 255, np.uint8)]
    if texture.ndim != 3 or texture.shape[2] != 3 or texture.dtype != np.uint8:
        raise InputError(f"the texture is {texture.dtype} {texture.shape}, expected uint8 [H, W, 3]",
                         where=f"material {material.name}")
    if min(texture.shape[:2]) == 0 or max(texture.shape[:2]) > TEXTURE_SIZE_LIMIT:
        raise InputError(f"the texture is {texture.shape[1]} x {texture.shape[0]} texels",
                         where=f"material {material.name}", mend=f"Keep each side within 1..{TEXTURE_SIZE_LIMIT}")
    levels = [np.ascontiguousarray(texture)]
    while max(levels[-1].shape[:2]) > 1:
        height, width = (max(1, side // 2) for side in levels[-1].shape[:2])
        levels.append(cv2.resize(levels[-1], (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, 3))
    return levels


@dataclass(frozen=True)
class TextureTensors:
    """A `TextureBank` on a torch device; `texels` is [T] int32: a texel seen as one word is one load."""

    texels: torch.Tensor
    offset: torch.Tensor
    width: torch.Tensor
    height: torch.Tensor
    last_level: torch.Tensor
    rgb: torch.Tensor

    @classmethod
    def from_bank(cls, bank: TextureBank, device: str | torch.device = "cpu") -> TextureTensors:
        words = torch.from_numpy(bank.texels).view(torch.int32).reshape(-1).to(device)
        names = ("offset", "width", "height", "last_level", "rgb")
        return cls(words, *(torch.from_numpy(getattr(bank, name)).to(device) for name in names))


def sample(bank: TextureTensors, material: torch.Tensor, uv: torch.Tensor, level: torch.Tensor,
           trilinear: bool = False) -> torch.Tensor:
    """Texture colour times material colour.

    Args:
        bank: the textures.
        material: [N] int, row of the bank.
        uv: [N, 2] float32, OBJ convention.
        level: [N] float32, mip level, 0 = full size; clamped to what the material has.
        trilinear: blend the two nearest levels; else the nearest one alone.

    Returns:
        [N, 3] float32 in 0..1.
    """
    material = material.long()
    level = torch.minimum(level.clamp(min=0.0), bank.last_level[material].to(level.dtype))
    if not trilinear:
        colour = _bilinear(bank, material, uv, (level + 0.5).floor().long())
    else:
        lower = level.floor()
        fraction = (level - lower)[:, None]
        coarse = torch.minimum(lower.long() + 1, bank.last_level[material].long())
        fine = _bilinear(bank, material, uv, lower.long())
        colour = fine + (_bilinear(bank, material, uv, coarse) - fine) * fraction
    return colour * bank.rgb[material]


def _bilinear(bank: TextureTensors, material: torch.Tensor, uv: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    width, height = bank.width[material, level], bank.height[material, level]
    start = bank.offset[material, level]
    # Fractions first: u = 1000.3 would lose its texel in float32 once multiplied by the width.
    turn = uv - uv.floor()
    x = turn[:, 0] * width - 0.5
    y = (1.0 - turn[:, 1]) * height - 0.5
    x0, y0 = x.floor(), y.floor()
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    x0, y0 = x0.int(), y0.int()
    # -1 <= x0 < width, so one wrap each way is enough; y0 may reach height - 1, where the next row wraps.
    x1 = torch.where(x0 + 1 >= width, 0, x0 + 1)
    y1 = torch.where(y0 + 1 >= height, 0, y0 + 1)
    x0 = torch.where(x0 < 0, width - 1, x0)
    y0 = torch.where(y0 < 0, height - 1, y0)
    row0, row1 = start + y0.long() * width, start + y1.long() * width
    top = _lerp(_texel(bank, row0 + x0), _texel(bank, row0 + x1), fx)
    bottom = _lerp(_texel(bank, row1 + x0), _texel(bank, row1 + x1), fx)
    return _lerp(top, bottom, fy) * (1.0 / 255.0)


def _texel(bank: TextureTensors, index: torch.Tensor) -> torch.Tensor:
    word = bank.texels[index]
    return torch.stack([word & 255, (word >> 8) & 255, (word >> 16) & 255], dim=1).float()


def _lerp(a: torch.Tensor, b: torch.Tensor, fraction: torch.Tensor) -> torch.Tensor:
    return a + (b - a) * fraction
