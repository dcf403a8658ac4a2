"""MVSNet folders (DTU, BlendedMVS, Tanks and Temples for learned stereo), and WHU MVS as its authors publish it.

Yao, Luo, Li, Fang, Quan: MVSNet, ECCV 2018; the grammar stands in its repository's README.

    images/00000000.jpg       or blended_images, image, Images ...
    cams/00000000_cam.txt     extrinsic, 4 rows of 4: world to camera, OpenCV axes
                              intrinsic, 3 rows of 3
                              DEPTH_MIN DEPTH_INTERVAL (DEPTH_NUM DEPTH_MAX)
    pair.txt                  count of views; then for each its number and `10 ID SCORE ID SCORE ...`: not needed here

Files of the same look say DEPTH_MIN DEPTH_MAX in LEVIR-NVS (`camera_text`): where the second number is the smaller one
it can only be the interval. Without DEPTH_NUM 192 depths are taken, MVSNet's own number. K is left as it stands:
MVSNet's warping has pixel centres at +0.5.

WHU MVS as published by Liu and Ji (CVPR 2020) writes `f x0 y0` for the intrinsic, DEPTH_MIN DEPTH_MAX DEPTH_INTERVAL
for the depths and, by the README of their code, camera to world with x right, y up: OpenGL axes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.multiview.camera_text import check_rotation, is_number
from rsnb.data.multiview.conventions import poses_of
from rsnb.data.multiview.pictures import PictureFolder, picture_size
from rsnb.data.multiview.scene_folder import files_of, sub_folder, view_key
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.files import require_file

DEPTHS = 192  # MVSNet's number of depths where a file states none
CAMERA_FOLDERS = ("cams", "cam", "cameras")
_PICTURES = ("blended_images", "images", "image", "rectified")


@dataclass(frozen=True, eq=False)
class MvsnetCamera:
    """One camera file.

    Attributes:
        matrix: [4, 4] float64 as written: world to camera with OpenCV axes, or WHU's camera to world with y up.
        K: [3, 3] float64 pixels, as written.
        near_far: least and greatest z depth, or None.
        original_whu: the file has the form of WHU MVS's authors.
        assumed: whether the number of depths is assumed.
    """

    matrix: np.ndarray
    K: np.ndarray
    near_far: tuple[float, float] | None
    original_whu: bool
    assumed: bool


def read_mvsnet(root: str | Path, images: str | Path | None = None) -> PosedViews:
    """Read a scene; pixels stay on the disk.

    Args:
        root: the folder that holds cams.
        images: folder of the pictures (from the root), if it is none of the usual names.

    Returns:
        Views named by their pictures' stems. Cameras without a picture are among `skipped`.

    Raises:
        InputError: no such folders, a file that is cut short or no rotation, depths that make no sense, files of both
            kinds in one folder.
    """
    root = Path(root)
    cameras = camera_files(root)
    if not cameras:
        raise InputError("there are no camera files of MVSNet", where=root,
                         mend="Cameras are cams/00000000_cam.txt and so on")
    folder = _pictures(root, images)
    found = {name: folder.find(name) for name in cameras}
    skipped = {name: "it has a camera but no picture" for name, path in found.items() if path is None}
    names = tuple(name for name, path in found.items() if path is not None)
    read = [read_mvsnet_camera(cameras[name]) for name in names]
    kinds = {camera.original_whu for camera in read}
    if len(kinds) > 1:
        raise InputError("some camera files are MVSNet's and some WHU MVS's own", where=root,
                         mend="Put them into folders of their own")
    convention = "opengl_c2w" if True in kinds else "opencv_w2c"
    notes = ()
    if any(camera.assumed for camera in read):
        notes = (f"the camera files state no number of depths; {DEPTHS} are taken for the greatest depth",)
    ranges = [camera.near_far or (np.nan, np.nan) for camera in read]
    return PosedViews(
        name=f"MVSNet {root.name}", names=names, image_paths=tuple(found[name] for name in names),
        K=np.array([camera.K for camera in read]).reshape(-1, 3, 3),
        world_to_cam=poses_of(np.array([camera.matrix for camera in read]).reshape(-1, 4, 4), convention),
        sizes=np.array([picture_size(found[name]) for name in names]).reshape(-1, 2),
        near_far=np.array(ranges).reshape(-1, 2) if any(camera.near_far for camera in read) else None,
        skipped=skipped, notes=notes, convention=convention)


def camera_files(root: Path) -> dict[str, Path]:
    """{name of the view: file} of a folder's MVSNet-like cameras, in the order of their numbers."""
    for name in CAMERA_FOLDERS:
        files = {stem.removesuffix("_cam"): path for stem, path in files_of(root, name, (".txt",)).items()
                 if view_key(stem.removesuffix("_cam"))[0] == 0}
        if files:
            return dict(sorted(files.items(), key=lambda item: view_key(item[0])))
    return {}


def _pictures(root: Path, images: str | Path | None) -> PictureFolder:
    if images is not None:
        if not (root / images).is_dir():
            raise InputError("there is no such folder of pictures", where=root / images, mend="Name it from the root")
        return PictureFolder([root / images])
    folders = [folder for name in _PICTURES if (folder := sub_folder(root, name)).is_dir()]
    return PictureFolder(folders[:1] or [root])


def read_mvsnet_camera(path: str | Path) -> MvsnetCamera:
    """Read one camera file of either kind.

    Raises:
        InputError: too few numbers, something that is no number, no rotation, depths or intervals that are not above 0.
    """
    path = require_file(path, "camera file")
    rows = _rows(path)
    matrix = _take(path, rows, 4, 4, "extrinsic")
    check_rotation(path, matrix[0], matrix[1])
    if _one_line(rows):
        line, (focal, x, y) = rows.pop(0)
        K, original = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]]), True
    else:
        (K, line), original = _take(path, rows, 3, 3, "intrinsic"), False
    if not (K[0, 0] > 0 and K[1, 1] > 0 and np.allclose(K[2], [0, 0, 1], atol=1e-6)):
        raise InputError(f"the intrinsic {K.tolist()} is no pinhole matrix", where=path, line=line,
                         mend="Focal lengths are above 0; the last row is 0 0 1")
    near_far, assumed = _range(path, rows, original)
    return MvsnetCamera(matrix[0], K, near_far, original, assumed)


def is_first_edition(path: Path) -> bool:
    """Whether a camera file has the form of WHU MVS's authors; words on headings say nothing, they may be any."""
    try:
        return _one_line(_rows(path)[4:])
    except InputError:
        return False


def _one_line(rows: list) -> bool:
    """Whether the rows below the extrinsic begin with `f x0 y0` instead of three rows of three."""
    return bool(rows) and len(rows[0][1]) == 3 and rows[0][1][1] > 0 and (len(rows) < 3 or len(rows[2][1]) != 3)


def _rows(path: Path) -> list[tuple[int, list[float]]]:
    """(line, numbers) of the lines that hold numbers; a line without any is a heading."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("this is no text file", where=path, mend="Fetch it again") from None
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = [cell for cell in re.split(r"[,\s]+", line) if cell]
        if not any(map(is_number, cells)):
            continue
        try:
            values = [float(cell) for cell in cells]
        except ValueError as error:
            raise InputError(f"there is something that is no number ({error})", where=path, line=number,
                             mend="Repair the row, or remove this camera and its picture") from None
        if not all(math.isfinite(value) for value in values):
            raise InputError("there is a number that is not finite", where=path, line=number,
                             mend="Repair the row, or remove this camera and its picture")
        rows.append((number, values))
    return rows


def _take(path: Path, rows: list, count: int, columns: int, what: str) -> tuple[np.ndarray, int]:
    """A matrix off the rows, and the number of its first line."""
    taken, rows[:count] = rows[:count], []
    for number, row in taken:
        if len(row) != columns:
            raise InputError(f"a row of the {what} has {len(row)} numbers, expected {columns}", where=path, line=number,
                             mend="An extrinsic has 4 rows of 4 numbers, an intrinsic 3 rows of 3")
    if len(taken) < count:
        raise InputError(f"the {what} has {len(taken)} rows, expected {count}", where=path,
                         mend="The file is cut short: fetch it again")
    return np.array([row for _, row in taken]), taken[0][0]


def _range(path: Path, rows: list, original_whu: bool) -> tuple[tuple[float, float] | None, bool]:
    """Near and far, and whether the number of depths was assumed."""
    if not rows:
        return None, False
    line, row = rows[0]
    if not 2 <= len(row) <= 4:
        raise InputError(f"the line of depths has {len(row)} numbers", where=path, line=line,
                         mend="It is DEPTH_MIN DEPTH_INTERVAL, perhaps with DEPTH_NUM and DEPTH_MAX")
    if original_whu:
        near, far, assumed = row[0], row[1], False
    else:
        count = row[2] if len(row) > 2 else DEPTHS
        near, far, assumed = row[0], row[3] if len(row) == 4 else row[0] + row[1] * (count - 1), len(row) == 2
    if not (0 < near < far and row[1] > 0):
        raise InputError(f"the depths {' '.join(f'{value:g}' for value in row)} give the range {near:g} to {far:g}",
                         where=path, line=line, mend="The least depth and the interval are above 0")
    return (near, far), assumed
