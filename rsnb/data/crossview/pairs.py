"""The index of a cross-view data set: which tile belongs to which panorama, where, in which split. Pixels on demand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rsnb.data.crossview.pair_pictures import MODES, PairPictures, PictureSizes, read_pair, warn_about_masks
from rsnb.errors import InputError
from rsnb.scenes import TilePanoramaPairs

if TYPE_CHECKING:
    from rsnb.data.crossview.sized_pairs import FindSky, SizedPairs

EARTH_RADIUS_M = 6371008.8  # mean radius (IUGG)
_ROWS = ("tile_paths", "panorama_paths", "heading", "present", "sky_paths", "label_paths", "lat_lon", "utm",
         "offset_m")
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
        offset_m: [N, 2] float64 metres east and north from the tile's centre to the camera, where the set states them;
            None = the tiles are centred at their cameras, as all real ones are.
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
    offset_m: np.ndarray | None = None

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

        rows = {name: pick(getattr(self, name)) for name in ("ids", *_ROWS)}
        splits = {name: place[old][place[old] >= 0] for name, old in self.splits.items()}
        return replace(self, **rows, splits=splits)

    @cached_property
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
            sky: read the sky masks too (nearest pixel, white = sky), if the set has any. Masks of another size than
                their panorama but of its shape are resized; a `PairWarning` counts them, and masks that are all sky.

        Raises:
            InputError: a picture is not there or cannot be read, panoramas of different shape, a whole sphere that is
                not 2:1, a mask of another shape than its panorama, a pair without mask where others have one, or more
                field of view than there is.
        """
        rows = self.rows_of(index)
        sizes = self.picture_sizes(tile_size, panorama_size, vertical_fov, resample)
        pairs, resized = self.read_rows(rows, sizes, self.masks_of(rows) if sky else [None] * len(rows))
        if pairs.sky is not None:
            warn_about_masks(self.name, pairs.ids, resized, pairs.sky.all(axis=(1, 2)))
        return pairs

    def sized(self, tile_size: int = 256, panorama_size: tuple[int, int] = (128, 512), *, sky: bool = True,
              workers: int = 4, find_sky: FindSky | None = None) -> SizedPairs:
        """The same pairs bound to their sizes, for a training that reads batch by batch; see `SizedPairs`.

        Args:
            tile_size, panorama_size, sky: as for `load`.
            workers: threads that read the pictures of a batch; 1 = none beside the caller's.
            find_sky: finds the sky of panoramas [N, 3, H, W] of a vertical field of view (radians) where the set has no
                masks: [N, H, W] bool.
        """
        from rsnb.data.crossview.sized_pairs import SizedPairs

        return SizedPairs(self, self.picture_sizes(tile_size, panorama_size), sky, workers, find_sky)

    def picture_sizes(self, tile_size: int, panorama_size: tuple[int, int], vertical_fov: float | None = None,
                      resample: str = "bicubic") -> PictureSizes:
        """What `load` makes of the files; see there for arguments and errors."""
        if resample not in MODES:
            raise InputError(f"resample is {resample!r}", where="load", mend='Use "bicubic" or "area"')
        given = self.vertical_fov if vertical_fov is None else vertical_fov
        return PictureSizes(tile_size, tuple(panorama_size), given, _kept_share(self, vertical_fov),
                            self.vertical_fov > math.pi - 1e-6, MODES[resample])

    def masks_of(self, rows: np.ndarray) -> list[Path | None]:
        """The sky masks of some pairs: of all, or of none where the set has none.

        Raises:
            InputError: some have one and others none.
        """
        masks = [None] * len(rows) if self.sky_paths is None else [self.sky_paths[i] for i in rows]
        if self.sky_paths is not None and None in masks:
            raise InputError(f"pair {self.ids[rows[masks.index(None)]]} has no sky mask, others have",
                             where=self.name, mend="Load with sky=False, or take the pairs that have one")
        return masks

    def read_rows(self, rows: np.ndarray, sizes: PictureSizes, masks: Sequence[Path | None],
                  run: Callable = map) -> tuple[TilePanoramaPairs, np.ndarray]:
        """Read pairs by `run` (the built-in map, or that of a pool of threads).

        Returns:
            the pairs, `sky` false for pairs without a mask and None if all lack one; and [N] bool, masks of another
            size.
        """
        def read(i_and_mask) -> PairPictures:
            i, mask = i_and_mask
            return read_pair(self.tile_paths[i], self.panorama_paths[i], mask, sizes)

        n, size = len(rows), sizes.panorama_size
        tiles = np.empty((n, 3, sizes.tile_size, sizes.tile_size), np.float32)
        panoramas, resized = np.empty((n, 3, *size), np.float32), np.zeros(n, bool)
        sky = None if all(mask is None for mask in masks) else np.zeros((n, *size), bool)
        first = None
        for k, one in enumerate(run(read, zip(rows.tolist(), masks, strict=True))):
            first = first or one.pixels
            if abs(one.pixels[1] / one.pixels[0] - first[1] / first[0]) > 1.5 / one.pixels[0]:
                raise InputError(f"the panorama has {one.pixels[0]} x {one.pixels[1]} pixels, "
                                 f"{self.panorama_paths[rows[0]].name} {first[0]} x {first[1]}: another field of view",
                                 where=self.panorama_paths[rows[k]],
                                 mend="Load pictures of different shape separately, or leave this one out")
            tiles[k], panoramas[k], resized[k] = one.tile, one.panorama, one.mask_resized
            if one.sky is not None:
                sky[k] = one.sky
        position = self.position
        pairs = TilePanoramaPairs(
            tiles, panoramas, tuple(self.ids[i] for i in rows), self.heading[rows], sizes.vertical_fov, sky=sky,
            position=None if position is None else position[rows],
            offset_m=np.zeros((n, 2)) if self.offset_m is None else self.offset_m[rows],
            tile_extent_m=self.tile_extent_m, camera_height_m=self.camera_height_m)
        return pairs, resized

    def rows_of(self, index) -> np.ndarray:
        """Row numbers of an index, array or mask; a row may stand in it twice.

        Raises:
            InputError: it does not fit, or is empty.
        """
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
