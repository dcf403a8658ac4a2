"""Pairs bound to the sizes of a training: batches read by threads, one ahead; a sky without a mask is found, once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rsnb.data.crossview.pair_pictures import PairPictures, PictureSizes, read_pair, warn_about_masks
from rsnb.data.crossview.pairs import PairIndex
from rsnb.errors import InputError
from rsnb.scenes import TilePanoramaPairs

FindSky = Callable[[np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class SizedPairs:
    """A source of pairs of one size, as trainings take it; made by `PairIndex.sized`. The same pixels as of
    `PairIndex.load`.

    Attributes:
        index: the pairs.
        sizes: of the pictures.
        sky: give masks of the sky.
        workers: threads that read the pictures of a batch, and of the next one; 1 = none beside the caller's, and
            nothing is read ahead.
        find_sky: (panoramas [N, 3, H, W] float32, vertical field of view in radians) -> [N, H, W] bool, for pairs that
            have no mask. Each is looked at once and kept, a bit a pixel; subsets share what was found.

    Raises:
        InputError: workers below 1.
    """

    index: PairIndex
    sizes: PictureSizes
    sky: bool = True
    workers: int = 4
    find_sky: FindSky | None = None
    _found: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    _told: set[str] = field(default_factory=set, repr=False, compare=False)
    _reader: _Reader = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        if type(self.workers) is not int or self.workers < 1:
            raise InputError(f"workers is {self.workers!r}", where="sized", mend="Give a whole number from 1")
        object.__setattr__(self, "_reader", _Reader(self.workers))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def ids(self) -> tuple[str, ...]:
        """One a pair."""
        return self.index.ids

    def subset(self, index) -> SizedPairs:
        """The pairs of an index array or boolean mask, in its order."""
        return replace(self, index=self.index.subset(index))

    def load(self, index=None) -> TilePanoramaPairs:
        """Read the pictures of some pairs.

        Args:
            index: pair, index array or mask; None = all of them. A pair may stand in it twice.

        Raises:
            InputError: what `PairIndex.load` raises; a pair without a mask is none where `find_sky` is given; or an
                answer of it that is no [N, H, W] bool.
        """
        rows = self.index.rows_of(index)
        masks = self._masks(rows)
        pairs, resized = self.index.read_rows(rows, self.sizes, masks, self._reader.run(rows))
        if self.sky and self.find_sky is not None:
            pairs = self._with_found_sky(pairs, np.array([mask is None for mask in masks]))
        if pairs.sky is not None:
            self._tell(pairs, resized)
        return pairs

    def prefetch(self, index) -> None:
        """Begin to read the pairs that `load` will be asked for next, and come back at once. What is wrong with them is
        told by `load`. If it asks for others, time was lost and nothing else; only the last ones are kept.

        Args:
            index: as for `load`.
        """
        if self.workers == 1:
            return
        with suppress(InputError):
            rows = self.index.rows_of(index)
            pairs = [(self.index.tile_paths[i], self.index.panorama_paths[i], mask, self.sizes)
                     for i, mask in zip(rows, self._masks(rows), strict=True)]
            self._reader.begin(rows, pairs)

    def _masks(self, rows: np.ndarray) -> list[Path | None]:
        if not self.sky:
            return [None] * len(rows)
        if self.find_sky is None:
            return self.index.masks_of(rows)
        return [None if self.index.sky_paths is None else self.index.sky_paths[i] for i in rows]

    def _with_found_sky(self, pairs: TilePanoramaPairs, lacking: np.ndarray) -> TilePanoramaPairs:
        """The pairs with the sky of those [N] bool that have no mask."""
        shape = pairs.panoramas.shape[2:]
        sky = np.zeros((len(pairs), *shape), bool) if pairs.sky is None else pairs.sky
        new = {pairs.ids[k]: k for k in np.flatnonzero(lacking) if pairs.ids[k] not in self._found}
        if new:
            at = list(new.values())
            found = np.asarray(self.find_sky(pairs.panoramas[at], pairs.vertical_fov))
            if found.shape != (len(at), *shape) or found.dtype != bool:
                raise InputError(f"find_sky gives {found.dtype} of shape {found.shape} for {len(at)} panoramas of "
                                 f"{shape[1]} x {shape[0]} pixels", where="sized", mend="Let it give [N, H, W] bool")
            self._found.update(zip(new, np.packbits(found.reshape(len(at), -1), axis=1), strict=True))
        for k in np.flatnonzero(lacking):
            sky[k] = np.unpackbits(self._found[pairs.ids[k]], count=sky[k].size).reshape(shape)
        return replace(pairs, sky=sky)

    def _tell(self, pairs: TilePanoramaPairs, resized: np.ndarray) -> None:
        """Warn of each pair once, however often it is drawn."""
        new = np.array([i not in self._told for i in pairs.ids])
        said = new & (resized | pairs.sky.all(axis=(1, 2)))
        self._told.update(i for i, hit in zip(pairs.ids, said, strict=True) if hit)
        warn_about_masks(self.index.name, pairs.ids, resized & new, pairs.sky.all(axis=(1, 2)) & new, stacklevel=4)


class _Reader:
    """Threads that read pairs, and what they were told to read ahead. In another process it begins anew."""

    def __init__(self, workers: int):
        self.workers = workers
        self.pool: ThreadPoolExecutor | None = None
        self.ahead: tuple[list[int], list[Future[PairPictures]]] = [], []

    def __reduce__(self):
        return _Reader, (self.workers,)

    def begin(self, rows: np.ndarray, pairs: list[tuple]) -> None:
        """Read pairs (arguments of `read_pair`), which `run` of the same rows then gives."""
        if self.ahead[0] != rows.tolist():
            for future in self.ahead[1]:
                future.cancel()
            self.ahead = rows.tolist(), [self._threads().submit(read_pair, *pair) for pair in pairs]

    def run(self, rows: np.ndarray) -> Callable:
        """In place of the built-in map over these rows."""
        if len(rows) and self.ahead[0] == rows.tolist():
            futures, self.ahead = self.ahead[1], ([], [])
            return lambda read, items: (future.result() for future in futures)
        return map if min(self.workers, len(rows)) < 2 else self._threads().map

    def _threads(self) -> ThreadPoolExecutor:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(self.workers, "pairs")
        return self.pool
