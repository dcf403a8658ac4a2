"""Helsinki's tile grid: which tile a position lies in, and a tile with its neighbours as one mesh.

`Tile_+i_+j` covers eastings 25 000 000 + 250 i and northings 6 000 000 + 250 j of EPSG:3879, 250 m each way; the model
frame of the published tiles has its origin at E 25 490 000, N 6 668 000. One tile cuts every street's horizon after
250 m, so street views need the eight around it too.

The city's own archives (Helsinki3D_2017_OBJ_672496x2.zip) hold a folder a tile, 672496b1/Tile_+031_+019_L16_000.obj.
The folder's name is the kilometre's south-west corner (N 6672, E 25496), then its quarter a to d of 500 m, then the
quarter 1 to 4 of that, each time south-west, north-west, south-east, north-east, as on Finnish map sheets. No page of
the city says so: it is inferred from known places in 672496b1 (Tile_+1984_+2690), 672495a3, 672496d1 and d2. The files'
numbers count from another corner (the model's origin lies in Tile_+007_+001), so the folder decides where there is one.
A tile is a tree of pieces, as ContextCapture writes them: L17_0000 and L17_0001 come from L16_000, and a name may end
in t1, t2 ... where a level is finer in its texture alone.
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
_SHEET = re.compile(r"(?<![0-9a-z])(\d{3})(\d{3})([a-d])([1-4])(?![0-9a-z])", re.IGNORECASE)
_LEVEL = re.compile(r"_L(\d+)(?:_(\d+)(?:t\d+)?$)?", re.IGNORECASE)


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
    """Index in a name like "Tile_+1984_+2690_groundtruth_L1.obj", "Tile_1984_2690", "tile-1984-2690", or, by the city's
    own scheme, "672496b1"; else None."""
    for pattern in _NAMES:
        if found := pattern.search(name):
            return Tile(int(found.group(1)), int(found.group(2)))
    if found := _SHEET.search(name):
        north, east, half, quarter = (int(found[1]), int(found[2]), "abcd".index(found[3].lower()), int(found[4]) - 1)
        return Tile(4 * east + 2 * (half // 2) + quarter // 2, 4 * north + 2 * (half % 2) + quarter % 2)
    return None


def format_tile_name(tile: Tile) -> str:
    """ "Tile_+1984_+2690", as the published tiles are named."""
    return f"Tile_{tile[0]:+d}_{tile[1]:+d}"


def find_tiles(folder: str | Path) -> dict[Tile, Path]:
    """The mesh files of a folder (and its subfolders) whose names are tiles; of several of one tile the OBJ comes
    before the PLY, and the finest level ("_L1" after "_L0"). Of a tile in pieces it is the first; see
    `find_tile_pieces`."""
    return {tile: pieces[0] for tile, pieces in find_tile_pieces(folder).items()}


def find_tile_pieces(folder: str | Path, level: int | None = None) -> dict[Tile, list[Path]]:
    """As `find_tiles`, with all the pieces that a tile consists of.

    Args:
        folder: of the tile files; subfolders count, and one named like "672496b1" says which tile its files are.
        level: the finest that is wanted; None = the finest there is. A branch that ends before it stays as it is.

    Raises:
        InputError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("there is no such folder of tiles", where=folder, mend="Give the folder with the tile files")
    found: dict[Tile, list[Path]] = {}
    for file in sorted(folder.rglob("*"), key=lambda p: p.as_posix()):
        if file.suffix.lower() in _SUFFIXES and file.is_file():
            sheet = parse_tile_name(file.parent.name) if _SHEET.fullmatch(file.parent.name) else None
            tile = sheet or parse_tile_name(file.name)
            if tile is not None:
                found.setdefault(tile, []).append(file)
    chosen = {tile: _finest(files, level) for tile, files in found.items()}
    return {tile: files for tile, files in chosen.items() if files}


def _finest(files: list[Path], level: int | None) -> list[Path]:
    """One whole file of the finest level, or the pieces that have no finer one among the others."""
    kind = min(_SUFFIXES.index(file.suffix.lower()) for file in files)
    wanted = [(*_level_and_piece(file), file) for file in files if file.suffix.lower() == _SUFFIXES[kind]]
    wanted = [entry for entry in wanted if level is None or entry[0] <= level]
    if not any(piece for _, piece, _ in wanted):
        best = max((depth for depth, _, _ in wanted), default=-1)
        return [file for depth, _, file in wanted if depth == best][:1]
    deepest: dict[str, int] = {}
    for depth, piece, _ in wanted:
        for stop in range(1, len(piece or "") + 1):
            deepest[piece[:stop]] = max(deepest.get(piece[:stop], depth), depth)
    pieces = {(piece, depth): file for depth, piece, file in reversed(wanted) if piece}  # the first of equals stays
    return [file for (piece, depth), file in sorted(pieces.items()) if deepest[piece] == depth]


def _level_and_piece(file: Path) -> tuple[int, str | None]:
    found = _LEVEL.search(file.stem)
    return (int(found[1]), found[2]) if found else (-1, None)


def read_tiles(
    folder: str | Path,
    position: Sequence[float] | Tile,
    georeference: Georeference = HELSINKI,
    rings: int = 1,
    options: ReadOptions = DEFAULTS,
    grid: TileGrid = HELSINKI_GRID,
    level: int | None = None,
) -> TexturedMesh:
    """The tile of a position with its neighbours, merged.

    Args:
        folder: where the tile files lie.
        position: model metres (x, y, ...), or a `Tile`.
        georeference: of the tiles' coordinates.
        rings: rings of neighbours; 0 reads the one tile alone.
        options: for the reader; the model origin stays that of `georeference` unless told otherwise.
        grid: where tiles lie.
        level: the finest that is read, see `find_tile_pieces`: the finest of the city's archives are gigabytes.

    Returns:
        the merged mesh; instances of different tiles keep apart. Neighbours that are not there are one `MeshWarning`.

    Raises:
        InputError: the position's own tile is not in the folder.
    """
    own = position if isinstance(position, Tile) else tile_of(position[0], position[1], georeference, grid)
    found = find_tile_pieces(folder, level)
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
    files = found[own] + [file for t in around if t in found for file in found[t]]
    if options.origin is None:
        options = replace(options, origin=georeference.origin)
    return read_files(files, Path(format_tile_name(own)), georeference, options)
