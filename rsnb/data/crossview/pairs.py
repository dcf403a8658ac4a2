"""The index of a cross-view data set: which tile belongs to which panorama, where, in which split. Pixels on demand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from rsnb.errors import InputError
from rsnb.scenes import TilePanoramaPairs

EARTH_RADIUS_M = 6371008.8  # mean radius (IUGG)
_ROWS = ("tile_paths", "panorama_paths", "heading", "present", "sky_paths", "label_paths", "lat_lon", "utm")
PLANE_M = 20_000.0  # positions further apart than this do not lie on one plane to a metre


@dataclass(frozen=True)
class PairIndex:
    """Names, places and splits of tile-panorama pairs; no pixel is read before `load`.

    Attributes:
        name: of the data set, for messages.
        ids: one a pair, unique.
        tile_paths, panorama_paths: where the two pictures are, or would be.
        heading: [N] float64, bearing of the panorama's centre column, radians.
        vertical_fov: of the panoramas as they are on disk, radians, centred on the horizon (pi: the whole sphere).
        present: [N] bool, both pictures are there. All true unless the reader was told to keep absent ones.
        sky_paths: masks (white = sky), None for a pair without one; or None where the set has none.
        label_paths: 8-bit class pictures of the panoramas, likewise.
        lat_lon: [N, 2] float64 degrees of the camera, nan where unknown; or None.
        utm: [N, 2] float64 metres east and north of the camera; or None.
        splits: {"train": index array, "val": ..., "test": ...}, those the lists name; indices from 0.
        tile_extent_m: side of every tile on the ground, metres, or None where nobody states it.
        camera_height_m: above the ground, or None.
        drops: {reason: ids (or file names) left out}.
        notes: what else a user should know, as sentences without the final full stop.
    """

    name: str
    ids: tuple[str, ...]
    tile_paths: tuple[Path, ...]
    panorama_paths: tuple[Path, ...]
    heading: np.ndarray
    vertical_fov: float
    present: np.ndarray
    sky_paths: tuple[Path | None, ...] | None = None
    label_paths: tuple[Path | None, ...] | None = None
    lat_lon: np.ndarray | None = None
    utm: np.ndarray | None = None
    splits: Mapping[str, np.ndarray] = field(default_factory=dict)
    tile_extent_m: float | None = None
    camera_height_m: float | None = None
    drops: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        n = len(self.ids)
        for what in _ROWS:
            values = getattr(self, what)
            if values is not None and len(values) != n:
                raise InputError(f"{len(values)} {what} for {n} pairs", where=self.name)
        if len(set(self.ids)) != n:
            raise InputError("an id stands twice in the index", where=self.name)
        for split, index in self.splits.items():
            if len(index) and not 0 <= index.min() <= index.max() < n:
                raise InputError(f"split {split!r} names pair {index.max()} of {n}", where=self.name)

    def __len__(self) -> int:
        return len(self.ids)

    def split(self, name: str) -> PairIndex:
        """The pairs of one split, in the order of its list.

        Raises:
            InputError: the data set has no such split.
        """
        if name not in self.splits:
            has = f"It has {', '.join(self.splits)}" if self.splits else "It has no list; use the whole index"
            raise InputError(f"there is no split {name!r}", where=self.name, mend=has)
        return self.subset(self.splits[name])

    def subset(self, index) -> PairIndex:
        """The pairs of an index array or boolean mask, in its order; splits follow, drops and notes stay."""
        index = np.arange(len(self))[np.asarray(index)] if len(self) else np.zeros(0, int)
        index = np.atleast_1d(index)
        place = np.full(len(self), -1)
        place[index] = np.arange(len(index))

        def pick(values):
            if values is None or isinstance(values, np.ndarray):
                return None if values is None else values[index]
            return tuple(values[i] for i in index)

        rows = {name: pick(getattr(self, name)) for name in
                ("ids", *_ROWS)}
        splits = {name: place[old][place[old] >= 0] for name, old in self.splits.items()}
        return replace(self, **rows, splits=splits)

    @property
    def position(self) -> np.ndarray | None:
        """[N, 2] float64, metres east and north on one plane: UTM where the set has it, else from latitude and
        longitude on the plane through their mean, if all known ones lie within 20 km of it. None elsewhere."""
        if self.utm is not None or self.lat_lon is None:
            return self.utm
        known = np.isfinite(self.lat_lon).all(axis=1)
        if not known.any():
            return None
        metres = local_metres(self.lat_lon, self.lat_lon[known].mean(axis=0))
        return metres if np.abs(metres[known]).max() <= PLANE_M else None

    def load(self, index=None, tile_size: int = 256, panorama_size: tuple[int, int] = (128, 512), *,
             vertical_fov: float | None = None, resample: Literal["bicubic", "area"] = "bicubic",
             sky: bool = True) -> TilePanoramaPairs:
        """Read the pictures of some pairs.

        Sat2Density resizes tile and panorama bicubically to 256 x 256 and 512 x 128 and squeezes the whole sphere of
        CVACT into it; OriCNN keeps the central 90 degrees of CVACT (rows 208..623 of 832) and resizes by area.

        Args:
            index: pair, index array or mask; None = all of them. A large set does not fit into memory: take batches.
            tile_size: pixels.
            panorama_size: (rows, columns).
            vertical_fov: keep only this middle part of each panorama, radians; None = all of it.
            resample: "bicubic" (Pillow's, widened when it reduces) or "area" (mean over each pixel's area).
            sky: read the sky masks too (nearest pixel, white = sky), if the set has any.

        Raises:
            InputError: a picture is not there or cannot be read, panoramas of different shape, a pair without mask
                where others have one, or more field of view than there is.
        """
        rows = self._rows(index)
        share = _kept_share(self, vertical_fov)
        masked = [] if not sky or self.sky_paths is None else [self.sky_paths[i] for i in rows]
        if None in masked:
            raise InputError(f"pair {self.ids[rows[masked.index(None)]]} has no sky mask, others have",
                             where=self.name, mend="Load with sky=False, or take the pairs that have one")
        modes = {"bicubic": "BICUBIC", "area": "BOX"}
        if resample not in modes:
            raise InputError(f"resample is {resample!r}", where="load", mend='Use "bicubic" or "area"')
        tiles = np.stack([read_picture(self.tile_paths[i], (tile_size,) * 2, modes[resample]) for i in rows])
        panoramas = _read_panoramas([self.panorama_paths[i] for i in rows], panorama_size, modes[resample], share)
        position = self.position
        return TilePanoramaPairs(
            tiles, panoramas, tuple(self.ids[i] for i in rows), self.heading[rows],
            self.vertical_fov if vertical_fov is None else vertical_fov,
            sky=np.stack([read_mask(p, panorama_size, share) for p in masked]) if masked else None,
            position=None if position is None else position[rows], offset_m=np.zeros((len(rows), 2)),
            tile_extent_m=self.tile_extent_m, camera_height_m=self.camera_height_m)

    def _rows(self, index) -> np.ndarray:
        """Row numbers of an index, array or mask; a row may stand in it twice."""
        rows = np.arange(len(self))
        if index is not None:
            index = np.atleast_1d(np.asarray(index))
            if index.size == 0:
                index = np.zeros(0, int)
            if index.dtype == bool:
                fits = index.shape == rows.shape
            else:
                fits = index.dtype.kind in "iu" and (np.abs(index + 0.5) < len(self)).all()
            if not fits:
                raise InputError(f"index {index.tolist()[:5]} does not fit {len(self)} pairs", where=self.name,
                                 mend=f"Give numbers from 0 to {len(self) - 1}, or a mask of that many values")
            rows = rows[index]
        if len(rows) == 0:
            raise InputError("no pair is asked for", where=self.name, mend="Give at least one index")
        return rows


def _kept_share(index: PairIndex, vertical_fov: float | None) -> float:
    """Share of the panorama's rows that a vertical field of view keeps."""
    if vertical_fov is None:
        return 1.0
    if not 0.0 < vertical_fov <= index.vertical_fov + 1e-6:
        raise InputError(f"a vertical field of view of {math.degrees(vertical_fov):.1f} degrees is asked for, the "
                         f"panoramas have {math.degrees(index.vertical_fov):.1f}", where=index.name,
                         mend="Ask for less, in radians")
    return min(vertical_fov / index.vertical_fov, 1.0)


def _box(width: int, height: int, share: float) -> tuple[float, float, float, float]:
    """(left, upper, right, lower) of the middle rows; whole rows, so that 90 of 180 degrees of 832 rows are 416."""
    kept = max(round(height * share), 1)
    upper = (height - kept) / 2
    return 0.0, upper, float(width), upper + kept


def _open(path: Path):
    """A decoded picture, 8 bits a channel."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()
            return picture.copy()
    except FileNotFoundError:
        raise InputError("there is no such picture", where=path,
                         mend="Fetch it, or leave the pair out (PairIndex.present says which are there)") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"this is no picture that can be read ({error})", where=path,
                         mend="Fetch it again, or leave the pair out") from None


def read_picture(path: Path, size: tuple[int, int], mode: str = "BICUBIC") -> np.ndarray:
    """[3, rows, columns] float32 in 0..1 of a picture file resized to `size` = (rows, columns)."""
    from PIL import Image

    return _array(_open(path).convert("RGB").resize(size[::-1], Image.Resampling[mode]))


def _read_panoramas(paths: list[Path], size: tuple[int, int], mode: str, share: float) -> np.ndarray:
    """[N, 3, rows, columns] float32 of the middle rows of pictures that must all be of one shape."""
    from PIL import Image

    out, first = np.empty((len(paths), 3, *size), np.float32), None
    for i, path in enumerate(paths):
        picture = _open(path).convert("RGB")
        width, height = picture.size
        first = first or picture.size
        if abs(height / width - first[1] / first[0]) > 1.5 / width:
            raise InputError(f"the panorama has {width} x {height} pixels, {paths[0].name} {first[0]} x {first[1]}: "
                             "another field of view", where=path,
                             mend="Load pictures of different shape separately, or leave this one out")
        out[i] = _array(picture.resize(size[::-1], Image.Resampling[mode], box=_box(width, height, share)))
    return out


def read_mask(path: Path, size: tuple[int, int], share: float = 1.0) -> np.ndarray:
    """[rows, columns] bool of a mask file (white = true; 0/1 masks count too), nearest pixel, its middle rows."""
    from PIL import Image

    picture = _open(path)
    picture = picture if picture.mode in ("L", "1") else picture.convert("L")
    threshold = 127 if np.asarray(picture).max(initial=0) > 1 else 0
    small = picture.convert("L").resize(size[::-1], Image.Resampling.NEAREST, box=_box(*picture.size, share))
    return np.asarray(small) > threshold


def _array(picture) -> np.ndarray:
    return np.asarray(picture, np.float32).transpose(2, 0, 1) / np.float32(255.0)


def local_metres(lat_lon: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """[..., 2] metres east and north of `origin` (lat, lon) for [..., 2] degrees; good to a metre within 20 km."""
    lat_lon, origin = np.asarray(lat_lon, float), np.asarray(origin, float)
    north, east = np.moveaxis(np.radians(lat_lon - origin), -1, 0)
    return np.stack([east * np.cos(np.radians((lat_lon[..., 0] + origin[0]) / 2)), north], axis=-1) * EARTH_RADIUS_M


def distance_m(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[...] great-circle distances of [..., 2] and [..., 2] (lat, lon) in degrees (haversine)."""
    (lat_a, lon_a), (lat_b, lon_b) = (np.moveaxis(np.radians(np.asarray(p, float)), -1, 0) for p in (a, b))
    half = np.sin((lat_b - lat_a) / 2) ** 2 + np.cos(lat_a) * np.cos(lat_b) * np.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.minimum(half, 1.0)))
