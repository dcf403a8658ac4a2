"""The camera files of LEVIR-NVS and the re-organised WHU MVS: an extrinsic, an intrinsic and a range of depths.

    extrinsic
    0.99,0.01,...          4 rows of 4: world to camera, OpenCV axes (x right, y down, z forward)
    (blank)
    intrinsic
    870.0,0.0,255.5        3 rows of 3: pixels, pixel centres at INTEGERS
    (blank)
    95.0,135.0             least and greatest z depth in this camera

Numbers are separated by commas (LEVIR-NVS as shipped), by blanks (WHU MVS, and LEVIR-NVS in its README), or both. The
word on a heading line may be any. K is moved by half a pixel on the way in and out, to this project's centres at +0.5.
`mvsnet` reads the other files of this look, whose second depth is an interval.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.errors import InputError
from rsnb.files import require_file, write_text

ORTHONORMAL = 1e-2  # published matrices are rounded; more than this is another kind of matrix


@dataclass(frozen=True, eq=False)
class TextCamera:
    """One camera file.

    Attributes:
        world_to_cam: [4, 4] float64, OpenCV axes, unit of the scene.
        K: [3, 3] float64, pixels, pixel centres at +0.5.
        near_far: least and greatest z depth, or None where the file gives none.
    """

    world_to_cam: np.ndarray
    K: np.ndarray
    near_far: tuple[float, float] | None


def read_camera(path: str | Path, need_depth: bool = True) -> TextCamera:
    """Read one camera file.

    Args:
        path: the text file.
        need_depth: whether the line of depths must be there and make sense (cameras of a track have none, or one that
            nobody uses).

    Raises:
        InputError: naming file, line and mend: a row with too few or too many numbers, something that is no finite
            number, a last row that is not 0 0 0 1, a matrix that is no rotation, K without focal lengths, depths that
            are not positive and rising.
    """
    path = require_file(path, "camera file")
    lines = _lines(path)
    extrinsic, first = _block(path, lines, "extrinsic", 4, 4)
    check_rotation(path, extrinsic, first)
    K, first = _block(path, lines, "intrinsic", 3, 3)
    if not (K[0, 0] > 0 and K[1, 1] > 0 and np.allclose(K[2], [0, 0, 1], atol=1e-6) and abs(K[1, 0]) < 1e-6):
        raise InputError(f"the intrinsic {K.tolist()} is no pinhole matrix", where=path, line=first,
                         mend="Its rows are fx skew cx, 0 fy cy, 0 0 1, with focal lengths above 0")
    K[:2, 2] += 0.5
    return TextCamera(extrinsic, K, _depths(path, lines, need_depth))


def write_camera(path: str | Path, camera: TextCamera, separator: str = ",") -> Path:
    """Write one camera file with all digits, in exactly the published layout of lines; gives the path.

    Args:
        path: where.
        camera: what; its K is written with pixel centres at integers.
        separator: "," as LEVIR-NVS ships it, " " as WHU MVS.
    """
    K = np.array(camera.K, np.float64)
    K[:2, 2] -= 0.5

    def rows(matrix) -> list[str]:
        return [separator.join(repr(float(value)) for value in row) for row in matrix]

    lines = ["extrinsic", *rows(camera.world_to_cam), "", "intrinsic", *rows(K)]
    if camera.near_far is not None:
        lines += ["", separator.join(repr(float(value)) for value in camera.near_far)]
    return write_text(path, "\n".join(lines) + "\n")


def _lines(path: Path) -> list[tuple[int, str]]:
    """(number, text) of the lines that are not blank, first line first; `pop(0)` takes them."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("this is no text file", where=path, mend="Fetch it again") from None
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip(" \t,")]


def _numbers(line: str) -> list[str]:
    """The numbers of a line as text; a comma or blanks at its end count for nothing."""
    return [cell for cell in re.split(r"[,\s]+", line) if cell]


def _block(path: Path, lines: list, word: str, rows: int, columns: int) -> tuple[np.ndarray, int]:
    """Take a heading and a matrix off the list; gives the number of the matrix's first line, too."""
    if not lines:
        raise InputError(f"the file ends before its {word}", where=path,
                         mend=f"After a line {word} come {rows} rows of {columns} numbers")
    number, heading = lines.pop(0)
    if is_number(_numbers(heading)[0]):
        raise InputError(f"this line is {heading[:40]!r}, expected the heading {word}", where=path, line=number,
                         mend=f"Put a line {word} before its {rows} rows; there may be one row too many before it")
    matrix = np.empty((rows, columns))
    first = number + 1
    for row in range(rows):
        if not lines or not is_number(_numbers(lines[0][1])[0]):
            raise InputError(f"the {word} has {row * columns} numbers, expected {rows * columns}", where=path,
                             line=lines[0][0] if lines else None,
                             mend=f"Complete its {rows} rows of {columns} numbers")
        line, text = lines.pop(0)
        first = line if row == 0 else first
        matrix[row] = _row(path, line, text, columns, f"row {row + 1} of the {word}")
    return matrix, first


def _row(path: Path, line: int, text: str, columns: int, what: str) -> list[float]:
    cells = _numbers(text)
    if len(cells) != columns:
        raise InputError(f"{what} has {len(cells)} numbers, expected {columns}", where=path, line=line,
                         mend="Repair the row; numbers are separated by commas or blanks, decimals have a point")
    bad = next((cell for cell in cells if not is_number(cell) or not math.isfinite(float(cell))), None)
    if bad is not None:
        raise InputError(f"{what} holds {bad!r}, which is no finite number", where=path, line=line,
                         mend="Repair the row, or remove this camera and its picture")
    return [float(cell) for cell in cells]


def is_number(text: str) -> bool:
    """Whether a cell is a number, finite or not."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_rotation(path: Path, extrinsic: np.ndarray, first: int) -> None:
    """Refuse a matrix [4, 4] that is no rigid motion; `first` is its first line in the file.

    Raises:
        InputError: naming what it looks like: transposed, mirrored, scaled.
    """
    if not np.allclose(extrinsic[3], [0, 0, 0, 1], atol=1e-6):
        what = "looks transposed" if np.allclose(extrinsic[:, 3], [0, 0, 0, 1], atol=1e-6) else "is not 0 0 0 1"
        raise InputError(f"the last row of the extrinsic, {extrinsic[3].tolist()}, {what}", where=path, line=first + 3,
                         mend="Write world to camera row by row, translations in the last column")
    turn = extrinsic[:3, :3]
    determinant = float(np.linalg.det(turn))
    if abs(determinant + 1) < 3 * ORTHONORMAL:
        raise InputError(f"the extrinsic mirrors (determinant {determinant:.3f})", where=path, line=first,
                         mend="One axis is turned over: axes are x right, y down, z forward (OpenCV)")
    if np.abs(turn @ turn.T - np.eye(3)).max() > ORTHONORMAL:
        raise InputError(f"the extrinsic is no rotation (determinant {determinant:.3f})", where=path, line=first,
                         mend="Its upper left 3 x 3 must be orthonormal; take a scale out of it")


def _depths(path: Path, lines: list, needed: bool) -> tuple[float, float] | None:
    """The depth line, which comes after the intrinsic; whatever follows it is nobody's."""
    if not lines:
        if needed:
            raise InputError("the line of depths is missing", where=path,
                             mend="After the intrinsic come the least and the greatest depth, such as 95.0,135.0")
        return None
    line, text = lines[0]
    if not needed:
        cells = _numbers(text)
        return tuple(float(c) for c in cells) if len(cells) == 2 and all(map(is_number, cells)) else None
    if len(_numbers(text)) in (3, 4):
        raise InputError(f"the line of depths has {len(_numbers(text))} numbers, expected 2", where=path, line=line,
                         mend="Depths with an interval are MVSNet's: read the scene with format='mvsnet'")
    near, far = _row(path, line, text, 2, "the line of depths")
    if not 0 < near < far:
        raise InputError(f"the depths are {near} and {far}", where=path, line=line,
                         mend="The least comes first, and both are above 0: z in this camera"
                              + ("; if the second is the interval between depths, read the scene with format='mvsnet'"
                                 if 0 < far <= near else ""))
    return near, far
