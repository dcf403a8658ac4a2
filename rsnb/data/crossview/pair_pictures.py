"""The pictures of one pair, read and resized: the tile, the panorama, the mask of its sky."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.errors import InputError

MODES = {"bicubic": "BICUBIC", "area": "BOX"}


class PairWarning(UserWarning):
    """Something about the pictures of pairs that was mended, or that a user should look at."""


@dataclass(frozen=True)
class PictureSizes:
    """What pictures are made of the files.

    Attributes:
        tile_size: pixels. panorama_size: (rows, columns).
        vertical_fov: of the panoramas as they are given, radians.
        share: of the rows of a panorama on disk, the middle ones, that this is.
        whole_sphere: the panoramas on disk show it, so that they are twice as wide as high.
        mode: of Pillow's resampling.
    """

    tile_size: int
    panorama_size: tuple[int, int]
    vertical_fov: float
    share: float
    whole_sphere: bool
    mode: str


@dataclass(frozen=True)
class PairPictures:
    """The pictures of one pair.

    Attributes:
        tile: [3, S, S] float32 0..1. panorama: [3, H, W] float32 0..1.
        sky: [H, W] bool, or None without a mask file.
        pixels: (width, height) of the panorama on disk.
        mask_resized: its mask has another size on disk, of the same shape.
    """

    tile: np.ndarray
    panorama: np.ndarray
    sky: np.ndarray | None
    pixels: tuple[int, int]
    mask_resized: bool


def read_pair(tile: Path, panorama: Path, mask: Path | None, sizes: PictureSizes) -> PairPictures:
    """Read the files of one pair.

    Raises:
        InputError: a file that is not there or no picture, a whole sphere that is not 2:1, or a mask of another shape
            than its panorama.
    """
    from PIL import Image

    tile_picture = read_picture(tile, (sizes.tile_size,) * 2, sizes.mode)
    picture = open_picture(panorama).convert("RGB")
    width, height = picture.size
    if sizes.whole_sphere and abs(2 * height - width) > 1:
        raise InputError(f"the panorama has {width} x {height} pixels, which is not 2:1 as a whole sphere is",
                         where=panorama, mend="Give it twice as wide as high, or leave this pair out")
    box = _box(width, height, sizes.share)
    street = _array(picture.resize(sizes.panorama_size[::-1], Image.Resampling[sizes.mode], box=box))
    if mask is None:
        return PairPictures(tile_picture, street, None, picture.size, False)
    sky = open_picture(mask)
    if not same_shape(sky.size, picture.size):
        raise InputError(f"the sky mask has {sky.width} x {sky.height} pixels, its panorama {width} x {height}: "
                         "another shape", where=mask, mend="Give a mask of the panorama's size, or load with sky=False")
    return PairPictures(tile_picture, street, _nearest(sky, sizes.panorama_size, sizes.share), picture.size,
                        sky.size != picture.size)


def open_picture(path: Path):
    """A decoded picture of Pillow.

    Raises:
        InputError: it is not there, no picture, cut short, or larger than Pillow decodes.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()
            return picture.copy()
    except FileNotFoundError:
        raise InputError("there is no such picture", where=path,
                         mend="Fetch it, or leave the pair out (PairIndex.present says which are there)") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"the picture is too large to be read ({error})", where=path,
                         mend="Make it smaller, or leave the pair out") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"this is no picture that can be read ({error})", where=path,
                         mend="Fetch it again, or leave the pair out") from None


def read_picture(path: Path, size: tuple[int, int], mode: str = "BICUBIC") -> np.ndarray:
    """[3, rows, columns] float32 in 0..1 of a picture file resized to `size` = (rows, columns)."""
    from PIL import Image

    return _array(open_picture(path).convert("RGB").resize(size[::-1], Image.Resampling[mode]))


def read_mask(path: Path, size: tuple[int, int], share: float = 1.0) -> np.ndarray:
    """[rows, columns] bool of a mask file (white = true; 0/1 masks count too), nearest pixel, its middle rows."""
    return _nearest(open_picture(path), size, share)


def warn_about_masks(name: str, ids: Sequence[str], resized: np.ndarray, all_sky: np.ndarray,
                     stacklevel: int = 3) -> None:
    """Say once, as one `PairWarning`, how many masks were resized and how many are sky everywhere; [N] bool each."""
    said = []
    for hit, what in ((resized, "have another size than their panorama and are resized"),
                      (all_sky, "are sky everywhere")):
        if hit.any():
            first = ", ".join([ids[k] for k in np.flatnonzero(hit)[:3]])
            said.append(f"{hit.sum()} of {len(ids)} masks {what} ({first})")
    if said:
        warnings.warn(f"{name}: {'; '.join(said)}.", PairWarning, stacklevel=stacklevel)


def _nearest(picture, size: tuple[int, int], share: float) -> np.ndarray:
    from PIL import Image

    picture = picture if picture.mode in ("L", "1") else picture.convert("L")
    threshold = 127 if np.asarray(picture).max(initial=0) > 1 else 0
    small = picture.convert("L").resize(size[::-1], Image.Resampling.NEAREST, box=_box(*picture.size, share))
    return np.asarray(small) > threshold


def same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether one (width, height) is the other scaled, each side rounded to whole pixels."""
    return abs(a[0] * b[1] - a[1] * b[0]) <= max(sum(a), sum(b)) / 2


def _box(width: int, height: int, share: float) -> tuple[float, float, float, float]:
    """(left, upper, right, lower) of the middle rows; whole rows, so that 90 of 180 degrees of 832 rows are 416."""
    kept = max(round(height * share), 1)
    upper = (height - kept) / 2
    return 0.0, upper, float(width), upper + kept


def _array(picture) -> np.ndarray:
    return np.asarray(picture, np.float32).transpose(2, 0, 1) / np.float32(255.0)
