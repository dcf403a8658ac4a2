"""Picture files as numbers: their size without decoding them, their colours as float32, and where they lie."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from rsnb.data.audit import Finding, duplicate_findings
from rsnb.data.raster import open_raster
from rsnb.errors import InputError
from rsnb.files import require_file

UNREADABLE = (OSError, ValueError, SyntaxError, IndexError, TypeError, KeyError)  # what Pillow raises on damage
LARGEST_PIXELS = 1 << 28
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")


def picture_size(path: str | Path, like: tuple[float, float] | None = None) -> tuple[int, int]:
    """(width, height) from the head of a picture file; its pixels stay on the disk.

    Args:
        path: of the file.
        like: (width, height) that its camera states, if it does. A photograph taken upright is often stored lying on
            its side with a tag (EXIF orientation): if the picture as the tag turns it has that shape and the stored one
            has not, the camera was made from turned pictures, and their size is given.

    Raises:
        InputError: no such file, or no picture.
    """
    from PIL import Image

    path = require_file(path, "picture")
    try:
        with Image.open(path) as picture:
            size = picture.size
            if like is not None and not same_shape(size, like) and same_shape(size[::-1], like) and _lies(picture):
                return size[::-1]
            return size
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        if path.suffix.lower() in (".tif", ".tiff"):
            with open_raster(path) as file:
                return file.width, file.height
        raise InputError(f"this is no picture that can be read ({error})", where=path,
                         mend="Fetch it again, or remove it and its camera") from None


def same_shape(size: tuple[float, float], like: tuple[float, float]) -> bool:
    """Whether one is the other made smaller or larger, to a pixel and a half of rounding."""
    return abs(size[1] / like[1] - size[0] / like[0]) <= 1.5 / min(*size, *like)


def _lies(picture) -> bool:
    """Whether the orientation tag says that width and height change places."""
    return picture.getexif().get(0x0112) in (5, 6, 7, 8)


def read_picture(path: str | Path, background: float = 1.0, size: tuple[int, int] | None = None) -> np.ndarray:
    """A picture as [3, H, W] float32 in 0..1.

    Grey, palette, CMYK, 16-bit and transparent pictures become RGB. Orientation tags are not followed, as cameras are
    of the pixels as stored, unless the picture has the `size` wanted only when it is turned.

    Args:
        path: PNG, JPEG, TIFF, WebP, BMP.
        size: (width, height) as `picture_size` gave it.
        background: grey 0..1 that shows where a picture is transparent (the NeRF data sets mean white).

    Raises:
        InputError: no such file, cut short, or not of 8 or 16 bits.
    """
    from PIL import Image, ImageOps

    path = require_file(path, "picture")
    try:
        with Image.open(path) as picture:
            if size is not None and picture.size != size and picture.size[::-1] == size and _lies(picture):
                picture = ImageOps.exif_transpose(picture)
            # Pillow drops the lower half of 16-bit colours without a word
            deep = picture.mode in ("RGB", "RGBA") and ";16" in str(getattr(picture, "tile", ())[:1])
            if picture.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in picture.info:
                picture = picture.convert("RGBA")
            elif picture.mode in ("1", "CMYK", "YCbCr", "LAB", "HSV"):
                picture = picture.convert("RGB")
            array = _sixteen_bit(path) if deep else np.asarray(picture)
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise InputError(f"this is no whole picture ({error})", where=path,
                             mend="Fetch it again, or remove it and its camera") from None
        array = read_tiff(path)
    return np.ascontiguousarray(_as_rgb(array, path, background).transpose(2, 0, 1))


def _sixteen_bit(path: Path) -> np.ndarray:
    """[H, W, 3 or 4] uint16."""
    import cv2

    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise InputError("this is no whole picture", where=path, mend="Fetch it again, or remove it and its camera")
    return cv2.cvtColor(array, cv2.COLOR_BGRA2RGBA if array.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def read_tiff(path: Path) -> np.ndarray:
    """[H, W] or [H, W, C] of a TIFF as GDAL reads it, which knows all compressions: OpenCV writes LZW unasked, and
    Pillow takes neither floats of it nor several 16-bit channels.

    Raises:
        InputError: it is damaged, or no TIFF.
    """
    with open_raster(path) as file:
        if file.width * file.height > LARGEST_PIXELS or file.count > 4:
            raise InputError(f"it says {file.width} x {file.height} pixels of {file.count} channels", where=path,
                             mend="It is damaged, or no picture of a camera")
        array = np.moveaxis(file.read(), 0, -1)
    return array[..., 0] if array.shape[2] == 1 else array


def _as_rgb(array: np.ndarray, path: Path, background: float) -> np.ndarray:
    """[H, W, 3] float32."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.dtype.kind not in "ui":
        raise InputError(f"the picture holds {array.dtype} of shape {array.shape}", where=path,
                         mend="Pictures have 8 or 16 bits and 1 to 4 channels")
    # Pillow hands 16-bit grey out as int32 in old releases
    scale = 255.0 if array.dtype == np.uint8 else 65535.0
    values = array.astype(np.float32) / np.float32(scale)
    if values.shape[2] in (2, 4):
        alpha = values[..., -1:]
        values = values[..., :-1] * alpha + np.float32(background) * (1 - alpha)
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values[..., :3]


def picture_stem(name: str) -> str:
    """A picture's name without its suffix; r_0.5, which has none, stays."""
    head, dot, suffix = name.rpartition(".")
    return head if dot and suffix.isalpha() and len(suffix) <= 4 else name


class PictureFolder:
    """The pictures below one or more folders, found by a name that may differ in case, suffix or leading folder.

    Args:
        folders: looked through in this order; those that are not there are passed over.
    """

    def __init__(self, folders: list[Path]):
        self.folders = tuple(folder for folder in folders if folder.is_dir())
        self._as_written: dict[str, Path] = {}
        self._exact: dict[str, Path] = {}
        self._stem: dict[str, Path] = {}
        self._last: dict[str, list[Path]] = defaultdict(list)
        for folder in self.folders:
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
                    name = path.relative_to(folder).as_posix()
                    self._as_written.setdefault(name, path)
                    name = name.lower()
                    self._exact.setdefault(name, path)
                    self._stem.setdefault(name.rsplit(".", 1)[0], path)
                    self._last[path.stem.lower()].append(path)

    @property
    def paths(self) -> list[Path]:
        """All pictures."""
        return list(self._as_written.values())

    def find(self, name: str) -> Path | None:
        """The file that a model calls `name`, or None.

        Taken is the same path, else one with another suffix or case, else one without the leading folders; for a bare
        name also the one file of that name in any sub-folder.
        """
        wanted = name.replace("\\", "/").removeprefix("./")
        if wanted in self._as_written:
            return self._as_written[wanted]
        wanted = wanted.lower()
        while wanted.startswith("../"):
            wanted = wanted[3:]
        parts = wanted.split("/")
        for first in range(len(parts)):
            tail = "/".join(parts[first:])
            # a name without a suffix may hold a dot: r_0.5
            for stem in (tail, tail.rsplit(".", 1)[0] if tail.endswith(SUFFIXES) else tail):
                found = self._exact.get(tail) or self._stem.get(stem)
                if found is not None:
                    return found
        # train/r_0 must not be taken for test/r_0
        beside = self._last.get(wanted.rsplit(".", 1)[0] if wanted.endswith(SUFFIXES) else wanted, [])
        return beside[0] if len(beside) == 1 else None


def relative_name(path: Path, root: Path) -> str:
    """For findings: the path from the root, upwards where pictures lie beside it."""
    return Path(os.path.relpath(path, root)).as_posix()


def duplicate_pictures(paths: list[Path], root: Path) -> list[Finding]:
    """`duplicate_findings` of pictures that may lie beside the root."""
    base = Path(os.path.commonpath([root, *paths]))
    return [replace(f, path=relative_name(base / f.path, root)) for f in duplicate_findings(paths, base)]
