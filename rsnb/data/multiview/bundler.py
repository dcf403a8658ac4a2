"""Bundler's `bundle.out` with its list of pictures, which many photogrammetric programs still write.

Snavely, Seitz, Szeliski: Photo Tourism, SIGGRAPH 2006; Bundler's user manual, "Output format":

    # Bundle file v0.3
    <cameras> <points>
    f k1 k2, R (3 rows), t       a camera; f = 0: not solved
    X, RGB, views                a point: three lines

World to camera with x right, y up, z back (the camera looks down -z); pixels count from the middle of the picture, y
up. The radial factor 1 + k1 r^2 + k2 r^4 is OpenCV's. Pictures stand in list.txt, one a line, in the cameras' order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsnb.data.multiview.camera_list import ListedCamera, pictures_near, rigid, views_of
from rsnb.data.multiview.distortion import Distortion
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.files import require_file

BUNDLES = ("bundle.out", "bundle/bundle.out", "bundle.rd.out", "bundler.out")
_LISTS = ("list.txt", "image_list.txt", "bundle.out.list.txt", "list.tmp.txt", "images.txt")


def find_bundle(root: Path) -> Path | None:
    """The bundle file at or below a folder."""
    return next((root / name for name in BUNDLES if (root / name).is_file()), None)


def read_bundler(root: str | Path, images: str | Path | None = None) -> PosedViews:
    """Read a reconstruction; pixels stay on the disk.

    Args:
        root: its folder, or the bundle file.
        images: folder of the pictures; what the list says, else `images`, if None.

    Raises:
        InputError: no such file, no list of as many pictures as cameras, a file that ends too early.
    """
    root = Path(root)
    path = require_file(root if root.is_file() else find_bundle(root) or root / BUNDLES[0], "bundle file")
    numbers = _Numbers(path)
    count, points = (int(v) for v in numbers.take(2))
    if not (0 < 15 * count + 7 * points <= len(numbers.cells) and count > 0 <= points):
        raise InputError(f"the file announces {count} cameras and {points} points, more than it holds",
                         where=path, mend="It is cut short or damaged: make it again")
    names = _names(path, count)
    cameras, skipped = [], {}
    for name in names:
        line = numbers.line
        focal, k1, k2 = numbers.take(3)
        turn, move = numbers.take(9).reshape(3, 3), numbers.take(3)
        if focal > 0:
            lens = Distortion("OPENCV", (k1, k2))
            cameras.append(ListedCamera(name, _centred(focal), rigid(turn, move), None, None if lens.none else lens,
                                        line=line))
        else:
            skipped[name] = "its camera was not solved"
    xyz, rgb = _points(numbers, points)
    return views_of(f"Bundler {path.parent.name}", path, cameras, pictures_near(path, images), "opengl_w2c", skipped,
                    points=xyz if len(xyz) else None, points_rgb=rgb if len(xyz) else None)


def _centred(focal: float):
    def K(size: tuple[int, int]) -> np.ndarray:
        return np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])

    return K


def _names(path: Path, count: int) -> list[str]:
    """The pictures in the cameras' order: the first word of each line."""
    for base in (path.parent, path.parent.parent):
        for name in _LISTS:
            file = base / name
            if file.is_file():
                lines = [line.split()[0] for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
                         if line.strip() and not line.startswith("#")]
                if len(lines) == count:
                    return lines
    raise InputError(f"there is no list of its {count} pictures", where=path,
                     mend="Put list.txt beside it: one picture a line, in the order of the cameras")


def _points(numbers: _Numbers, count: int) -> tuple[np.ndarray, np.ndarray]:
    """[P, 3] float64 and [P, 3] uint8."""
    xyz, rgb = np.empty((count, 3)), np.empty((count, 3), np.uint8)
    for i in range(count):
        xyz[i] = numbers.take(3)
        rgb[i] = np.clip(numbers.take(3), 0, 255)
        numbers.take(4 * int(numbers.take(1)[0]))
    return xyz, rgb


class _Numbers:
    """The numbers of the file in their order; knows the line it has come to."""

    def __init__(self, path: Path):
        self.path, self.at = path, 0
        cells, self.lines = [], []
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if not line.startswith("#"):
                words = line.split()
                cells += words
                self.lines += [number] * len(words)
        self.cells = cells

    @property
    def line(self) -> int | None:
        return self.lines[self.at] if self.at < len(self.lines) else None

    def take(self, count: int) -> np.ndarray:
        if not 0 <= count <= len(self.cells) - self.at:
            raise InputError("there are not the numbers that must stand here", where=self.path, line=self.line,
                             mend="The file is cut short or damaged: make it again")
        part, line = self.cells[self.at:self.at + count], self.line
        self.at += count
        try:
            values = np.array([float(cell) for cell in part])
        except ValueError:
            values = np.full(count, np.nan)
        if len(values) < count or not np.isfinite(values).all():
            raise InputError("there are not the numbers that must stand here", where=self.path, line=line,
                             mend="The file is cut short or damaged: make it again")
        return values
