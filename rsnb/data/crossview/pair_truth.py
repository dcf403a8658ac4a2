"""What is known of made pairs beyond their pictures, where a set brings a folder `truth`: heights, solid space, depths.

Real sets have none of it. It is for evaluation; a method that learns from pairs does not see it.

    truth/pairs.json           side of the tiles, camera height, ceiling, field of view, class names; a row a pair
    truth/heights/<id>.tif     [S, S] topmost surface above the ground under the camera, metres
    truth/ground/<id>.tif      [S, S] bare ground, the same
    truth/classes/<id>.png     [S, S] class ids of it
    truth/depth/<id>.tif       [H, W] metres along the rays of the panorama, inf = nothing
    truth/visible/<id>.png     [S, S] 2 = the camera sees the topmost surface, 1 = something of the cell, 0 = nothing
    truth/occupancy/<id>.npz   `occupancy` [D, S, S] bool, slice 0 lowest, each column from its own bare ground
    truth/views.json           `positions`: {id: [[east, north, up] ...]} of further cameras
    truth/views/<id>.npz       `depth` [K, H, W], `sky` [K, H, W], `rgb` [K, H, W, 3] of those

Pairs of a training list have the first five alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.crossview.folders import require_folder
from rsnb.errors import InputError


@dataclass(frozen=True)
class PairTruth:
    """The truth of N pairs. Tile metres: x east, y north, z up, origin on the ground (height of the ground under the
    pair's camera) in the tile's middle. Tiles have row 0 north; panoramas have north in the centre column.

    A method knows of no slope: its volume stands on a plane. What is compared with one is therefore counted from the
    bare ground of the very cell: surface heights as `heights - ground`, and `occupancy`, whose z = 0 is that ground in
    every column. So do the scores of `rsnb.density` (`truths_of`): predicted voxels above z = 0, heights above local
    ground.

    Attributes:
        ids: one a pair.
        heights: [N, S, S] float32 topmost surface, metres.
        ground: [N, S, S] float32 bare ground, metres; `heights - ground` is what stands on it (an nDSM).
        classes: [N, S, S] uint8 class ids of it; `class_names` says which.
        depth: [N, H, W] float32 metres along the ray, inf = nothing.
        camera: [N, 3] float64 the pair's camera, tile metres.
        vertical_fov: of all panoramas here, radians, centred on the horizon.
        tile_extent_m, camera_height_m: side of a tile; camera above the ground.
        class_names: {id: name}.
        visible: [N, S, S] bool, cells of which the pair's camera sees anything; or None.
        top_visible: [N, S, S] bool, cells whose topmost surface it sees; or None.
        occupancy: [N, D, S, S] bool, voxels whose centre is in something solid, slice 0 lowest, on the bare ground of
            its own cell; or None. What lies below bare ground is no object.
        ceiling_m: height of the top of the uppermost slice above that ground, or None.
        views: [N, K, 3] float64 further cameras, tile metres; or None.
        view_depth: [N, K, H, W] float32; view_sky: [N, K, H, W] bool; view_rgb: [N, K, 3, H, W] float32 0..1; or None.
        centre: [N, 2] float64 middle of the tiles, metres east and north in `crs`.
        crs: anything pyproj understands ("EPSG:3879"), or None: the centres lie on a plane of no stated place.
    """

    ids: tuple[str, ...]
    heights: np.ndarray
    ground: np.ndarray
    classes: np.ndarray
    depth: np.ndarray
    camera: np.ndarray
    vertical_fov: float
    tile_extent_m: float
    camera_height_m: float
    class_names: Mapping[int, str]
    visible: np.ndarray | None = None
    top_visible: np.ndarray | None = None
    occupancy: np.ndarray | None = None
    ceiling_m: float | None = None
    views: np.ndarray | None = None
    view_depth: np.ndarray | None = None
    view_sky: np.ndarray | None = None
    view_rgb: np.ndarray | None = None
    centre: np.ndarray | None = None
    crs: str | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sky(self) -> np.ndarray:
        """[N, H, W] bool: nothing is hit above the horizon, as the pair's own masks have it."""
        rows = self.depth.shape[1]
        return ~np.isfinite(self.depth) & (np.arange(rows)[:, None] < rows / 2)


def has_pair_truth(root: str | Path) -> bool:
    """Whether a data set brings a truth that `read_pair_truth` reads."""
    return (Path(root) / "truth" / "pairs.json").is_file()


def read_pair_truth(root: str | Path, ids: Sequence[str] | None = None) -> PairTruth:
    """Read the truth of some pairs.

    Args:
        root: of the data set (the folder that holds `truth`).
        ids: which pairs, in this order; None = all of them in the order of pairs.json, then without what only those of
            val and test have.

    Raises:
        InputError: there is no truth here, a pair that it does not know, a file that is missing or broken, or pairs of
            which some have an occupancy (or a visibility, or views) and others have none.
    """
    folder = require_folder(root) / "truth"
    about = _read_json(folder / "pairs.json")
    rows = {row["id"]: row for row in about["pairs"]}
    everything = ids is None
    ids = tuple(rows) if everything else tuple(ids)
    unknown = [i for i in ids if i not in rows]
    if unknown or not ids:
        what = f"it does not know pair {unknown[0]!r}" if unknown else "no pair is asked for"
        raise InputError(what, where=folder / "pairs.json", mend="Give ids of the same data set")
    rows = [rows[i] for i in ids]
    height = float(about["camera_height_m"])
    some = () if everything and any(row["split"] == "train" for row in rows) else ids
    seen = _stacked(folder / "visible", some, ".png", _read_png)
    occupied = _stacked(folder / "occupancy", some, ".npz", lambda path: _read_npz(path)["occupancy"].astype(bool))
    positions = _read_json(folder / "views.json")["positions"] if (folder / "views.json").is_file() else {}
    return PairTruth(
        ids, *(_required(folder / name, ids, suffix, read) for name, suffix, read in (
            ("heights", ".tif", _read_tif), ("ground", ".tif", _read_tif), ("classes", ".png", _read_png),
            ("depth", ".tif", _read_tif))),
        np.array([[*row["offset_m"], height] for row in rows]), math.radians(float(about["vertical_fov_deg"])),
        float(about["tile_extent_m"]), height, {int(k): v for k, v in about.get("classes", {}).items()},
        None if seen is None else seen > 0, None if seen is None else seen > 1, occupied,
        None if occupied is None else float(about["ceiling_m"]), **_views(folder, some, positions))


def _views(folder: Path, ids: tuple[str, ...], positions: Mapping[str, list]) -> dict[str, np.ndarray]:
    arrays = _each(folder / "views", ids, ".npz", _read_npz)
    if arrays is None:
        return {}
    lacking = [i for i in ids if i not in positions]
    if lacking:
        raise InputError(f"there are no positions for the views of pair {lacking[0]}", where=folder / "views.json",
                         mend="Write the data set again")
    rgb = _stack(folder, [a["rgb"] for a in arrays])
    return {"views": np.array([positions[i] for i in ids], float),
            "view_depth": _stack(folder, [a["depth"] for a in arrays]),
            "view_sky": _stack(folder, [a["sky"] for a in arrays]).astype(bool),
            "view_rgb": np.moveaxis(rgb, -1, -3).astype(np.float32) / np.float32(255.0)}


def _each(folder: Path, ids: tuple[str, ...], suffix: str, read):
    """What `read` gives of each pair's file, or None where no pair has one."""
    paths = [folder / f"{i}{suffix}" for i in ids]
    there = [path.is_file() for path in paths]
    if not any(there):
        return None
    if not all(there):
        raise InputError(f"pair {ids[there.index(False)]} has no {folder.name}, others have", where=folder,
                         mend="Ask for pairs of one list: those of training have only heights, ground, classes and "
                              "depth")
    return [read(path) for path in paths]


def _stacked(folder: Path, ids: tuple[str, ...], suffix: str, read) -> np.ndarray | None:
    arrays = _each(folder, ids, suffix, read)
    return None if arrays is None else _stack(folder, arrays)


def _required(folder: Path, ids: tuple[str, ...], suffix: str, read) -> np.ndarray:
    out = _stacked(folder, ids, suffix, read)
    if out is None:
        raise InputError(f"pair {ids[0]} has no {folder.name}", where=folder, mend="Write the data set again")
    return out


def _stack(folder: Path, arrays: list[np.ndarray]) -> np.ndarray:
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise InputError(f"arrays of different shape: {sorted(shapes)[:3]}", where=folder,
                         mend="Write the data set again")
    return np.stack(arrays)


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("there is no truth of pairs", where=path,
                         mend="Give a data set that the city wrote; real ones have none") from None
    except ValueError as error:
        raise InputError(f"this is no JSON ({error})", where=path, mend="Write the data set again") from None


def _read_tif(path: Path) -> np.ndarray:
    import tifffile

    return _checked(path, lambda: tifffile.imread(path))


def _read_png(path: Path) -> np.ndarray:
    from PIL import Image

    return _checked(path, lambda: np.asarray(Image.open(path)))


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    def load():
        with np.load(path) as file:
            return dict(file)

    return _checked(path, load)


def _checked(path: Path, read):
    try:
        return read()
    except Exception as error:  # each library has its own ways to say that a file is cut short
        raise InputError(f"this file cannot be read ({error})", where=path, mend="Write the data set again") from None
