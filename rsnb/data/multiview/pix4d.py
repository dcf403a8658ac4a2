"""Pix4D's `*_calibrated_camera_parameters.txt`: aerial projects, ten lines a picture below a head that says so.

    fileName imageWidth imageHeight                  (the head: eight lines that name the parts)
    DSC00002.JPG 6000 4000
    K (3 rows), radial distortion (3), tangential distortion (2)
    the camera's place C (3), R (3 rows): world to camera with OpenCV axes, x = K [R | -R C] X

The lens is OpenCV's, in its order k1 k2 k3 and p1 p2 (support.pix4d.com, "How are the internal and external camera
parameters defined"); the origin there is a corner of the picture, so K is taken as it stands. Coordinates are the map's
less the project's offset.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsnb.data.multiview.camera_list import ListedCamera, pictures_near, rigid, views_of
from rsnb.data.multiview.distortion import Distortion
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.files import require_file

PATTERN = "*calibrated_camera_parameters.txt"
_PARTS = (3, 3, 3, 3, 2, 3, 3, 3, 3)  # numbers of the lines below a name: K, radial, tangential, place, R


def find_pix4d(root: Path) -> Path | None:
    """The file in a folder, or in the places where Pix4D puts it."""
    for folder in (root, root / "params", root / "1_initial" / "params"):
        for path in sorted(folder.glob(PATTERN)):
            return path
    return None


def read_pix4d(root: str | Path, images: str | Path | None = None) -> PosedViews:
    """Read a project; pixels stay on the disk.

    Args:
        root: its folder, or the file.
        images: folder of the pictures; `images` near the file if None.

    Raises:
        InputError: no such file, or a picture without its nine lines of numbers.
    """
    root = Path(root)
    path = require_file(root if root.is_file() else find_pix4d(root) or root / PATTERN[1:], "calibrated cameras")
    lines = [(number, text.split()) for number, text in
             enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1) if text.strip()]
    while lines and not (len(lines[0][1]) >= 3 and all(_number(cell) is not None for cell in lines[0][1][-2:])):
        lines.pop(0)
    cameras = []
    while lines:
        (line, head), part = lines[0], lines[1:1 + len(_PARTS)]
        values = [[_number(cell) for cell in cells] for _, cells in part]
        good = len(head) >= 3 and None not in map(_number, head[-2:]) \
            and [len(row) for row in values] == list(_PARTS) and all(None not in row for row in values)
        if not good:
            raise InputError(f"the {len(_PARTS)} lines of numbers below {' '.join(head)[:40]!r} are not complete",
                             where=path, line=line, mend="Export the parameters again")
        cameras.append(_camera(" ".join(head[:-2]), [_number(cell) for cell in head[-2:]], values, line))
        lines = lines[1 + len(_PARTS):]
    return views_of(f"Pix4D {path.name.removesuffix(PATTERN[1:]).rstrip('_')}", path, cameras,
                    pictures_near(path, images), "opencv_w2c")


def _camera(name: str, size, values, line: int) -> ListedCamera:
    K, turn, place = np.array(values[:3]), np.array(values[6:9]), np.array(values[5])
    (k1, k2, k3), (p1, p2) = values[3], values[4]
    lens = Distortion("OPENCV", (k1, k2, p1, p2, k3))
    return ListedCamera(name, K, rigid(turn, -turn @ place), tuple(size), None if lens.none else lens, line=line)


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
