"""A mesh with what belongs to it: panorama list, street views, picks; and large meshes tile by tile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.meshes.dispatch import read_files, read_mesh
from rsnb.data.meshes.reading import DEFAULTS, ReadOptions
from rsnb.data.meshes.tiles import HELSINKI, Tile, find_tile_pieces, read_tiles, tile_bounds, tile_of
from rsnb.errors import InputError
from rsnb.files import require_file
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
        picks: picked points for them, one JSON or CSV of the same stem each (`find_picks`).
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
    places: np.ndarray | None,
    georeference: Georeference = HELSINKI,
    options: ReadOptions = DEFAULTS,
) -> Iterator[tuple[np.ndarray, TexturedMesh, np.ndarray]]:
    """The mesh around given places, in pieces that fit memory.

    A file, a folder without tile names or one with at most 9 tiles comes whole, once. A larger tiling comes tile by
    tile: each tile that holds a place, with its 8 neighbours. Of several files of one tile, `find_tile_pieces`
    takes one, or the pieces that make it up.

    Args:
        path: mesh file or folder.
        places: [N, 2 or 3] model metres of `georeference`, or None: then a large tiling gives its middle tile.
        georeference, options: as for `read_mesh`.

    Yields:
        the indices [n] of the places that a piece serves; the piece, whose georeference may have another origin; and
        the box [2, 3] that is the piece's own, in its model metres: its tile without the neighbours, or all of it.

    Raises:
        InputError: a place lies in a tile that is not there (tilings only), or what the readers find.
    """
    path = Path(path)
    tiles = find_tile_pieces(path) if path.is_dir() else {}
    if len(tiles) <= TILES_AT_ONCE:
        files = [file for pieces in tiles.values() for file in pieces]
        mesh = read_files(files, path, georeference, options) if files else read_mesh(path, georeference, options)
        yield np.arange(0 if places is None else len(places)), mesh, mesh.bounds
        return
    if places is None:
        middle = np.median(np.array(list(tiles)), axis=0)
        nearest = min(tiles, key=lambda tile: float(np.abs(np.array(tile) - middle).sum()))
        yield _tile_group(path, nearest, np.arange(0), georeference, options)
        return
    places = np.atleast_2d(np.asarray(places, float))
    own = [tile_of(x, y, georeference) for x, y in places[:, :2]]
    for tile in sorted(set(own)):
        index = np.flatnonzero([Tile(*o) == tile for o in own])
        yield _tile_group(path, tile, index, georeference, options)


def _tile_group(path, tile, index, georeference, options):
    mesh = read_tiles(path, tile, georeference, options=options)
    box = mesh.bounds
    box[:, :2] = tile_bounds(tile, mesh.georeference)
    return index, mesh, box


def choose_rows(text: str, count: int) -> np.ndarray:
    """Row numbers of a list of `count` places that a text such as "all", "0:80:16", "3" or "0,5,-1" means.

    Raises:
        InputError: another text, a row that is not there, or no row at all.
    """
    mend = 'Use "all", numbers such as "0,5,8", or a slice such as "0:80:16"'
    try:
        if text.strip() == "all":
            chosen = np.arange(count)
        elif ":" in text:
            chosen = np.arange(count)[slice(*(int(part) if part.strip() else None for part in text.split(":")))]
        else:
            chosen = np.array([int(part) for part in text.split(",")])
    except (ValueError, TypeError):
        raise InputError(f"{text!r} names no rows", where="rows", mend=mend) from None
    if len(chosen) == 0 or chosen.max() >= count or chosen.min() < -count:
        raise InputError(f"{text!r} asks for rows that are not there; the list has {count}", where="rows", mend=mend)
    return chosen % count


def read_poses(path: str | Path) -> dict[str, np.ndarray]:
    """Named poses from JSON: {name: world_to_cam [4, 4] float64}.

    Raises:
        InputError: naming the file and the entry that is no 4 x 4 matrix of numbers.
    """
    path = require_file(path, "file of poses")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise InputError("this is no JSON", where=path, mend="Write it again") from None
    poses = {}
    for name, rows in entries.items() if isinstance(entries, dict) else ():
        try:
            poses[name] = np.array(rows, dtype=np.float64)
        except (TypeError, ValueError):
            poses[name] = np.zeros(0)
        if poses[name].shape != (4, 4) or not np.isfinite(poses[name]).all():
            raise InputError(f"the pose of {name!r} is no 4 x 4 matrix of numbers", where=path, mend="Repair it")
    if not poses:
        raise InputError("there are no poses", where=path, mend='Write {"name": [[...], [...], [...], [...]]}')
    return poses
