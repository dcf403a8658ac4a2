"""Dayton tuples (Vo & Hays 2016, as Regmi & Borji 2018 prepared them): street view, aerial view and both label maps.

One JPEG of 1024 x 256 a place, four squares side by side: ground | aerial | ground labels | aerial labels. Its name,
`<panorama id>.x<column>.y<row>.a<heading>.jpg`, gives the pixel of the full panorama at which the view is centred and
its heading in degrees. The labels are pictures in the colours of Cityscapes, as JPEG: near them, not exactly.

Other sets of this kind put the four in another order: say so with `order`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.crossview.folders import pictures_of, require_folder
from rsnb.data.crossview.pair_pictures import open_picture
from rsnb.errors import InputError

ORDER = ("ground", "aerial", "ground_labels", "aerial_labels")
_NAME = re.compile(r"(?P<panorama>.+)\.x(?P<x>-?\d+)\.y(?P<y>-?\d+)\.a(?P<heading>-?\d+(?:\.\d+)?)\Z")


@dataclass(frozen=True)
class DaytonTuples:
    """N places.

    Attributes:
        ids: names of the files without suffix; panorama_ids: their first part.
        ground, aerial: [N, 3, S, S] float32 0..1.
        ground_labels, aerial_labels: [N, 3, S, S] float32 0..1, colours of classes.
        pixel: [N, 2] int, column and row of the panorama at which the view is centred.
        heading: [N] float64 radians, 0..2 pi, as the name says.
    """

    ids: tuple[str, ...]
    panorama_ids: tuple[str, ...]
    ground: np.ndarray
    aerial: np.ndarray
    ground_labels: np.ndarray
    aerial_labels: np.ndarray
    pixel: np.ndarray
    heading: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def dayton_files(root: str | Path) -> dict[str, Path]:
    """{id: path} of the pictures of a folder that are named as tuples are."""
    return {stem: path for stem, path in pictures_of(Path(root)).items() if _NAME.fullmatch(stem)}


def read_dayton(root: str | Path, ids: Sequence[str] | None = None, *,
                order: tuple[str, str, str, str] = ORDER) -> DaytonTuples:
    """Read the tuples of a folder.

    Args:
        root: the folder.
        ids: which ones, in this order; None = all, by name.
        order: of the four squares, from left to right.

    Raises:
        InputError: no tuple here, an id that is not here, a picture that is not four squares wide, another order than
            one of the four names.
    """
    files = dayton_files(require_folder(root))
    if sorted(order) != sorted(ORDER):
        raise InputError(f"order is {order!r}", where="read_dayton", mend=f"Put {', '.join(ORDER)} in order")
    if not files:
        raise InputError("there is no Dayton tuple here", where=root,
                         mend="Give the folder of pictures named <panorama id>.x<column>.y<row>.a<heading>.jpg")
    ids = tuple(files) if ids is None else tuple(ids)
    unknown = [i for i in ids if i not in files]
    if unknown or not ids:
        raise InputError(f"there is no tuple {unknown[0]!r}" if unknown else "no tuple is asked for", where=root,
                         mend=f"There are {len(files)}, the first is {next(iter(files))}")
    squares = [_squares(files[i]) for i in ids]
    if len({part.shape for part in squares}) > 1:
        raise InputError("the tuples are of different size", where=root, mend="Read them apart, with ids")
    parts = np.stack(squares)
    names = [_NAME.fullmatch(i) for i in ids]
    return DaytonTuples(
        ids, tuple(m["panorama"] for m in names), **{name: parts[:, k] for k, name in enumerate(order)},
        pixel=np.array([[int(m["x"]), int(m["y"])] for m in names]),
        heading=np.array([math.radians(float(m["heading"])) % (2 * math.pi) for m in names]))


def _squares(path: Path) -> np.ndarray:
    """[4, 3, S, S] float32."""
    picture = np.asarray(open_picture(path).convert("RGB"), np.float32) / np.float32(255.0)
    rows, columns = picture.shape[:2]
    if columns != 4 * rows:
        raise InputError(f"the picture has {columns} x {rows} pixels, four squares would be {4 * rows} x {rows}",
                         where=path, mend="Give tuples of four squares side by side, 1024 x 256 as published")
    return picture.reshape(rows, 4, rows, 3).transpose(1, 3, 0, 2)
