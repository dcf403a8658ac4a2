"""A mesh with what belongs to it: panorama list, street views, picks; and large meshes tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.meshes import read_mesh
from rsnb.data.reading import DEFAULTS, ReadOptions
from rsnb.data.tiles import HELSINKI, Tile, find_tiles, read_tiles, tile_of
from rsnb.errors import InputError
from rsnb.scenes import Georeference, TexturedMesh

TILES_AT_ONCE = 9  # a tile and its neighbours; more are read group by group


@dataclass(frozen=True)
class StreetScenePaths:
    """Where the parts of a street scene lie; None = there is none.

    Attributes:
        mesh: file, or folder of tiles or files.
        panos: list of panoramas, `panos.txt`.
        panoramas: known panorama pictures, for novel views between them.
        left_out: panorama pictures that methods never see, for scoring.
        street_views: perspective pictures with stated poses.
        picks: picked points for them, one JSON or CSV of the same stem each.
        truth: what only a synthetic city knows.
    """

    mesh: Path
    panos: Path | None = None
    panoramas: Path | None = None
    left_out: Path | None = None
    street_views: Path | None = None
    picks: Path | None = None
    truth: Path | None = None


def locate_street_scene(root: str | Path, panos: str | Path | None = None) -> StreetScenePaths:
    """The parts below a folder (mesh/, panos.txt, panoramas/, left_out/, street_views/, picks/, truth/), or a mesh.

    Args:
        root: folder of that layout, or a mesh file, or a folder of mesh files.
        panos: a panorama list elsewhere.

    Raises:
        InputError: `root` or `panos` does not exist.
    """
    root = Path(root).expanduser()
    if not root.exists():
        raise InputError("there is no such file or folder", where=root, mend="Give a mesh, or a folder with mesh/")
    if panos is not None and str(panos) and not Path(panos).expanduser().is_file():
        raise InputError("there is no such file", where=panos, mend="Give a panos.txt, or nothing")
    given = Path(panos).expanduser() if panos is not None and str(panos) else None
    if not (root / "mesh").is_dir():
        return StreetScenePaths(root, given)
    parts = {name: root / name for name in ("panoramas", "left_out", "street_views", "picks", "truth")}
    listed = root / "panos.txt"
    return StreetScenePaths(root / "mesh", given or (listed if listed.is_file() else None),
                            **{name: path for name, path in parts.items() if path.is_dir()})


def mesh_groups(
    path: str | Path,
    places: np.ndarray,
    georeference: Georeference = HELSINKI,
    options: ReadOptions = DEFAULTS,
) -> Iterator[tuple[np.ndarray, TexturedMesh]]:
    """The mesh around given places, in pieces that fit memory.

    A file, a folder without tile names or one with at most 9 tiles comes whole, once. A larger tiling comes tile by
    tile: each tile that holds a place, with its 8 neighbours.

    Args:
        path: mesh file or folder.
        places: [N, 2 or 3] model metres of `georeference`.
        georeference, options: as for `read_mesh`.

    Yields:
        the indices [n] of the places that a piece serves, and the piece. Its own georeference may have another origin.

    Raises:
        InputError: a place lies in a tile that is not there (tilings only), or what the readers find.
    """
    path, places = Path(path), np.atleast_2d(np.asarray(places, float))
    tiles = find_tiles(path) if path.is_dir() else {}
    if len(tiles) <= TILES_AT_ONCE:
        yield np.arange(len(places)), read_mesh(path, georeference, options)
        return
    own = [tile_of(x, y, georeference) for x, y in places[:, :2]]
    for tile in sorted(set(own)):
        index = np.flatnonzero([Tile(*o) == tile for o in own])
        yield index, read_tiles(path, tile, georeference, options=options)
