"""Helsinki's tile grid: which tile a position lies in, and a tile with its neighbours as one mesh.

`Tile_+i_+j` covers eastings 25 000 000 + 250 i and northings 6 000 000 + 250 j of EPSG:3879, 250 m each way; the model
frame of the published tiles has its origin at E 25 490 000, N 6 668 000. One tile cuts every street's horizon after
250 m, so street views need the eight around it too.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rsnb.data.meshes.dispatch import read_files
from rsnb.data.meshes.reading import DEFAULTS, MeshWarning, ReadOptions
from rsnb.errors import InputError
from rsnb.scenes import Georeference, TexturedMesh

HELSINKI = Georeference("EPSG:3879", (25_490_000.0, 6_668_000.0, 0.0))
_SUFFIXES = (".obj", ".ply", ".glb", ".gltf")  # in this order where a tile comes in several formats
_NAMES = (
    re.compile(r"tile[_ ]([+-]?\d+)[_ ]([+-]?\d+)(?!\d)", re.IGNORECASE),
    re.compile(r"tile-(-?\d+)-(-?\d+)(?!\d)", re.IGNORECASE),
)


class Tile(NamedTuple):
    """Index of a tile: i counts eastwards, j northwards."""

    i: int
    j: int


@dataclass(frozen=True)
class TileGrid:
    """A square grid in CRS coordinates: tile (i, j) has its lower left corner at (east0 + i size, north0 + j size)."""

    east0: float = 25_000_000.0
    north0: float = 6_000_000.0
    size_m: float = 250.0


HELSINKI_GRID = TileGrid()


def tile_of(x: float, y: float, georeference: Georeference = HELSINKI, grid: TileGrid = HELSINKI_GRID) -> Tile:
    """The tile of a model position (x east, y north, metres). With `Georeference("EPSG:3879")`, whose origin is 0,
    x and y are easting and northing. A position on an edge belongs to the tile north or east of it."""
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError(f"({x}, {y}) is no position", where="tile_of", mend="Give finite metres")
    east, north = x + georeference.origin[0] - grid.east0, y + georeference.origin[1] - grid.north0
    return Tile(math.floor(east / grid.size_m), math.floor(north / grid.size_m))


def tile_bounds(tile: Tile, georeference: Georeference = HELSINKI, grid: TileGrid = HELSINKI_GRID) -> np.ndarray:
    """[2, 2] float64: lower left and upper right corner (x, y) of a tile, model metres."""
    low = np.array([grid.east0, grid.north0]) + np.array(tile, dtype=np.float64) * grid.size_m
    return np.stack([low, low + grid.size_m]) - np.array(georeference.origin[:2])


def neighbours(tile: Tile, rings: int = 1) -> list[Tile]:
    """The tiles around one, without itself, row by row from the south-west: 8 for one ring, 24 for two."""
    steps = range(-rings, rings + 1)
    return [Tile(tile[0] + di, tile[1] + dj) for dj in steps for di in steps if (di, dj) != (0, 0)]


def parse_tile_name(name: str) -> Tile | None:
    """Index in a name like "Tile_+1984_+2690_groundtruth_L1.obj", "Tile_1984_2690" or "tile-1984-2690"; or None."""
    for pattern in _NAMES:
        if found := pattern.search(name):
            return Tile(int(found.group(1)), int(found.group(2)))
    return None


def format_tile_name(tile: Tile) -> str:
    """ "Tile_+1984_+2690", as the published tiles are named."""
    return f"Tile_{tile[0]:+d}_{tile[1]:+d}"


def find_tiles(folder: str | Path) -> dict[Tile, Path]:
    """The mesh files of a folder (and its subfolders) whose names are tiles; of several of one tile the OBJ comes
    before the PLY, and the finest level ("_L1" after "_L0")."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("there is no such folder of tiles", where=folder, mend="Give the folder with the tile files")
    found: dict[Tile, Path] = {}
    for file in sorted(folder.rglob("*"), key=lambda p: p.as_posix()):
        tile = parse_tile_name(file.name)
        if file.suffix.lower() not in _SUFFIXES or tile is None or not file.is_file():
            continue
        if tile not in found or _preference(file) > _preference(found[tile]):
            found[tile] = file
    return found


def _preference(file: Path) -> tuple[int, int]:
    level = re.search(r"_L(\d+)", file.stem)
    return -_SUFFIXES.index(file.suffix.lower()), int(level.group(1)) if level else -1


def read_tiles(
    folder: str | Path,
    position: Sequence[float] | Tile,
    georeference: Georeference = HELSINKI,
    rings: int = 1,
    options: ReadOptions = DEFAULTS,
    grid: TileGrid = HELSINKI_GRID,
) -> TexturedMesh:
    """The tile of a position with its neighbours, merged.

    Args:
        folder: where the tile files lie.
        position: model metres (x, y, ...), or a `Tile`.
        georeference: of the tiles' coordinates.
        rings: rings of neighbours; 0 reads the one tile alone.
        options: for the reader; the model origin stays that of `georeference` unless told otherwise.
        grid: where tiles lie.

    Returns:
        the merged mesh; instances of different tiles keep apart. Neighbours that are not there are one `MeshWarning`.

    Raises:
        InputError: the position's own tile is not in the folder.
    """
    own = position if isinstance(position, Tile) else tile_of(position[0], position[1], georeference, grid)
    found = find_tiles(folder)
    if own not in found:
        have = ", ".join(format_tile_name(t) for t in sorted(found)[:6]) or "none"
        low, high = tile_bounds(own, georeference, grid)
        raise InputError(f"tile {format_tile_name(own)} (x {low[0]:.0f} to {high[0]:.0f} m, y {low[1]:.0f} to "
                         f"{high[1]:.0f} m) is not here; there are {have}", where=folder,
                         mend="Fetch that tile, or choose a position inside the tiles that are there")
    around = neighbours(own, rings)
    missing = [t for t in around if t not in found]
    if missing:
        names = ", ".join(format_tile_name(t) for t in missing[:3]) + (", ..." if len(missing) > 3 else "")
        warnings.warn(f"{folder}: {len(missing)} of {len(around)} neighbours of {format_tile_name(own)} are missing "
                      f"({names}); the view ends there.", MeshWarning, stacklevel=2)
    files = [found[own]] + [found[t] for t in around if t in found]
    if options.origin is None:
        options = replace(options, origin=georeference.origin)
    return read_files(files, Path(format_tile_name(own)), georeference, options)
