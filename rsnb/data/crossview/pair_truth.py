"""What is known of made pairs beyond their pictures, where a set brings a folder `truth`: heights, solid space, depths.

Real sets have none of it. It is for evaluation; a method that learns from pairs does not see it.

    truth/pairs.json           side of the tiles, camera height, ceiling, field of view, class names, CRS; a row a pair
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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.crossview.folders import require_folder
from rsnb.data.crossview.pair_table import AGAIN, numbers, read_json, read_pair_table
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
        InputError: there is no truth here, a pair that it does not know, a file or key that is missing or broken,
            arrays that do not fit one another, or pairs of which some have an occupancy (or a visibility, or views) and
            others have none.
    """
    folder = require_folder(root) / "truth"
    table = read_pair_table(folder / "pairs.json")
    everything = ids is None
    ids = tuple(table.rows) if everything else tuple(ids)
    unknown = [i for i in ids if i not in table.rows]
    if unknown or not ids:
        what = f"it does not know pair {unknown[0]!r}" if unknown else "no pair is asked for"
        raise InputError(what, where=table.path, mend="Give ids of the same data set")
    rows = [table.rows[i] for i in ids]
    trained = any(row.split == "train" for row in rows)
    some = () if everything and trained else ids
    surface = {name: _required(folder / name, ids, suffix, read, 2) for name, suffix, read in (
        ("heights", ".tif", _read_tif), ("ground", ".tif", _read_tif), ("classes", ".png", _read_png),
        ("depth", ".tif", _read_tif))}
    seen = _stacked(folder / "visible", some, ".png", _read_png, 2)
    occupied = _stacked(folder / "occupancy", some, ".npz", lambda path: _read_npz(path, "occupancy")[0], 3)
    if occupied is None and table.slices and not trained:
        raise InputError(f"pair {ids[0]} has no occupancy, although pairs.json says {table.slices} slices",
                         where=folder / "occupancy", mend=AGAIN)
    if occupied is not None and table.ceiling_m is None:
        raise InputError("'ceiling_m' is missing, although there is an occupancy", where=table.path, mend=AGAIN)
    _same_cells(folder, surface["heights"], ground=surface["ground"], classes=surface["classes"], visible=seen,
                occupancy=occupied)
    views = _views(folder, some, surface["depth"].shape[1:])
    if not views and (folder / "views.json").is_file() and not trained:
        raise InputError(f"pair {ids[0]} has no views, although there is a views.json", where=folder / "views",
                         mend=AGAIN)
    return PairTruth(
        ids, **surface, camera=np.array([[*row.offset_m, table.camera_height_m] for row in rows]),
        vertical_fov=table.vertical_fov, tile_extent_m=table.tile_extent_m, camera_height_m=table.camera_height_m,
        class_names=table.class_names, visible=None if seen is None else seen > 0,
        top_visible=None if seen is None else seen > 1, occupancy=None if occupied is None else occupied.astype(bool),
        ceiling_m=None if occupied is None else table.ceiling_m, **views,
        centre=np.array([row.centre for row in rows]), crs=table.crs)


def _views(folder: Path, ids: tuple[str, ...], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Further cameras, their pictures of the shape of the pair's own."""
    arrays = _each(folder / "views", ids, ".npz", lambda path: _read_npz(path, "depth", "sky", "rgb"))
    if arrays is None:
        return {}
    depth, sky, rgb = (_stack(folder / "views", [a[k] for a in arrays]) for k in range(3))
    if depth.shape[2:] != shape or sky.shape != depth.shape or rgb.shape != (*depth.shape, 3):
        raise InputError(f"views have depth {depth.shape[1:]}, sky {sky.shape[1:]} and rgb {rgb.shape[1:]} beside "
                         f"panoramas of {shape}", where=folder / "views", mend=AGAIN)
    path = folder / "views.json"
    if not path.is_file():
        raise InputError("there are views and nothing that says where their cameras are", where=path, mend=AGAIN)
    positions = read_json(path).get("positions")
    if not isinstance(positions, dict):
        raise InputError("'positions' is missing or no object", where=path, mend=AGAIN)
    eyes = []
    for i in ids:
        if not isinstance(positions.get(i), list) or len(positions[i]) != depth.shape[1]:
            raise InputError(f"there are no {depth.shape[1]} positions for the views of pair {i}", where=path,
                             mend=AGAIN)
        eyes.append([numbers({"position": eye}, "position", path, 3, f"pair {i!r}: ") for eye in positions[i]])
    return {"views": np.array(eyes), "view_depth": depth, "view_sky": sky.astype(bool),
            "view_rgb": np.moveaxis(rgb, -1, -3).astype(np.float32) / np.float32(255.0)}


def _same_cells(folder: Path, heights: np.ndarray, **others: np.ndarray | None) -> None:
    for name, array in others.items():
        if array is not None and array.shape[-2:] != heights.shape[-2:]:
            raise InputError(f"{name} has {array.shape[-1]} x {array.shape[-2]} cells, heights {heights.shape[-1]} x "
                             f"{heights.shape[-2]}", where=folder / name, mend=AGAIN)


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


def _stacked(folder: Path, ids: tuple[str, ...], suffix: str, read, axes: int) -> np.ndarray | None:
    arrays = _each(folder, ids, suffix, read)
    if arrays is None:
        return None
    flat = next((i for i, a in zip(ids, arrays, strict=True) if a.ndim != axes), None)
    if flat is not None:
        raise InputError(f"the array has other than {axes} axes", where=folder / f"{flat}{suffix}", mend=AGAIN)
    return _stack(folder, arrays)


def _required(folder: Path, ids: tuple[str, ...], suffix: str, read, axes: int) -> np.ndarray:
    out = _stacked(folder, ids, suffix, read, axes)
    if out is None:
        raise InputError(f"pair {ids[0]} has no {folder.name}", where=folder, mend=AGAIN)
    return out


def _stack(folder: Path, arrays: list[np.ndarray]) -> np.ndarray:
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise InputError(f"arrays of different shape: {sorted(shapes)[:3]}", where=folder,
                         mend=AGAIN)
    return np.stack(arrays)


def _read_tif(path: Path) -> np.ndarray:
    import tifffile

    return _checked(path, lambda: tifffile.imread(path))


def _read_png(path: Path) -> np.ndarray:
    from PIL import Image

    return _checked(path, lambda: np.asarray(Image.open(path)))


def _read_npz(path: Path, *keys: str) -> list[np.ndarray]:
    def load():
        with np.load(path) as file:
            return {key: file[key] for key in keys if key in file}

    found = _checked(path, load)
    lacking = [key for key in keys if key not in found]
    if lacking:
        raise InputError(f"it holds no {lacking[0]!r}", where=path, mend=AGAIN)
    return [found[key] for key in keys]


def _checked(path: Path, read):
    try:
        return read()
    except Exception as error:  # each library has its own ways to say that a file is cut short
        raise InputError(f"this file cannot be read ({error})", where=path, mend=AGAIN) from None
