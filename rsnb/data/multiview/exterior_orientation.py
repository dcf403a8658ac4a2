"""Tables of exterior orientations as aerial photogrammetry hands them out: a row a picture, position and three angles.

    filename,x,y,z,omega,phi,kappa[,fx,fy,cx,cy][,camera]

Columns are found by their names, in any order; commas, semicolons, tabs or blanks separate them. x, y, z are east,
north and height in metres of a map projection. Luhmann, Robson, Kyle, Boehm: Close-Range Photogrammetry and 3D Imaging
(3rd ed.), 2.2.2.1: R = Rx(omega) Ry(phi) Rz(kappa) takes camera axes (x right, y up, z back) to the map's, angles in
degrees. Pix4D, OpenDroneMap and orthority write it so. Tables in heading, pitch and roll are another thing. cx and cy
are taken to count from the picture's corner.

Intrinsics, if the table has none, come from OpenSfM's `reconstruction.json` or OpenDroneMap's `cameras.json` beside it,
else from the camera's name (OpenSfM puts the focal length into it), then without the lens.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsnb.data.multiview.camera_list import pictures_near
from rsnb.data.multiview.conventions import poses_of
from rsnb.data.multiview.distortion import Distortion
from rsnb.data.multiview.json_fields import read_json
from rsnb.data.multiview.opensfm import shot_camera
from rsnb.data.multiview.pictures import picture_size, picture_stem
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.scenes import Georeference

_COLUMNS = {"name": ("filename", "imagename", "image", "name", "photo", "label", "file"),
            "x": ("x", "easting", "east", "e"), "y": ("y", "northing", "north", "n"),
            "z": ("z", "altitude", "height", "h", "elevation"), "omega": ("omega",), "phi": ("phi",),
            "kappa": ("kappa",), "fx": ("fx", "f", "focal", "focalpx"), "fy": ("fy",), "cx": ("cx",), "cy": ("cy",),
            "camera": ("camera", "cameraid", "cam")}
_NEEDED = ("name", "x", "y", "z", "omega", "phi", "kappa")


def read_exterior_orientation(path: str | Path, images: str | Path | None = None) -> PosedViews:
    """Read a table and its pictures; pixels stay on the disk.

    Args:
        path: the table.
        images: folder of the pictures (from the table's); `images` near the table, else its own folder, if None.

    Returns:
        Views in the order of the table. The world is the map less whole metres, which are the georeference's origin;
        its projection is not stated in such tables. Rows without a picture are among `skipped`.

    Raises:
        InputError: no columns of those names, a value that is no number, angles that are no degrees, no intrinsics.
    """
    path = require_file(path, "table of exterior orientations")
    rows = _rows(path)
    folder = pictures_near(path, images)
    found = [folder.find(row["name"]) for _, row in rows]
    skipped = {row["name"]: "there is no such picture" for (_, row), file in zip(rows, found, strict=True)
               if file is None}
    kept = [(line, row, file) for (line, row), file in zip(rows, found, strict=True) if file is not None]
    sizes = [picture_size(file) for _, _, file in kept]
    cameras = _cameras_beside(path)
    read = [_intrinsics(path, line, row, size, cameras) for (line, row, _), size in zip(kept, sizes, strict=True)]
    centres = np.array([[_number(path, line, row, key) for key in "xyz"] for line, row, _ in kept]).reshape(-1, 3)
    origin = np.floor(centres.mean(axis=0)) * (1, 1, 0) if len(kept) else np.zeros(3)
    matrices = np.tile(np.eye(4), (len(kept), 1, 1))
    for matrix, (line, row, _), centre in zip(matrices, kept, centres, strict=True):
        matrix[:3, :3] = rotation_of_angles(*(_angle(path, line, row, key) for key in ("omega", "phi", "kappa")))
        matrix[:3, 3] = centre - origin
    notes = tuple(sorted({note for _, _, note in read if note}))
    return PosedViews(
        name=f"exterior orientation {path.stem}", names=tuple(picture_stem(row["name"]) for _, row, _ in kept),
        image_paths=tuple(file for _, _, file in kept), K=np.array([K for K, _, _ in read]).reshape(-1, 3, 3),
        world_to_cam=poses_of(matrices, "opengl_c2w"), sizes=np.array(sizes).reshape(-1, 2),
        distortion=tuple(lens for _, lens, _ in read), skipped=skipped, notes=notes, convention="opengl_c2w",
        georeference=Georeference(None, tuple(float(v) for v in origin)))


def rotation_of_angles(omega: float, phi: float, kappa: float) -> np.ndarray:
    """[3, 3]: Rx(omega) Ry(phi) Rz(kappa), radians; camera axes (x right, y up, z back) to the map's."""
    (so, co), (sp, cp), (sk, ck) = ((math.sin(a), math.cos(a)) for a in (omega, phi, kappa))
    about_x = np.array([[1, 0, 0], [0, co, -so], [0, so, co]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[ck, -sk, 0], [sk, ck, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line, {our name of the column: cell}) of the rows below the head."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("this is no text file", where=path, mend="Fetch it again") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line and (not line.startswith("#") or "omega" in line.lower())]
    if not lines:
        raise InputError("the table is empty", where=path, mend="Its head names the columns")
    head = lines[0][1].lstrip("# ")
    comma = max(",;\t ", key=head.count) if any(c in head for c in ",;\t") else " "
    quote = "'" if head.count("'") > head.count('"') else '"'

    def cells(line: str) -> list[str]:
        return [c.strip() for c in next(csv.reader([line], delimiter=comma, quotechar=quote, skipinitialspace=True))]

    names = [re.sub(r"[^a-z]", "", re.sub(r"[\[(].*", "", cell.lower())) for cell in cells(head)]
    where = {key: next((names.index(word) for word in words if word in names), None) for key, words in _COLUMNS.items()}
    absent = [key for key in _NEEDED if where[key] is None]
    if absent:
        raise InputError(f"there is no column {absent[0]}", where=path, line=lines[0][0],
                         mend=f"The head names the columns {', '.join(_NEEDED)}")
    rows = []
    for number, line in lines[1:]:
        values = cells(line)
        if len(values) < len(names):
            raise InputError(f"the row has {len(values)} columns, its head {len(names)}", where=path, line=number,
                             mend="Complete it, or put a name that holds blanks into quotation marks")
        rows.append((number, {key: values[i] for key, i in where.items() if i is not None}))
    return rows


def _number(path: Path, line: int, row: Mapping[str, str], key: str) -> float:
    try:
        value = float(row[key])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{key} is {row[key]!r}, expected a number", where=path, line=line, mend="Repair the row")
    return value


def _angle(path: Path, line: int, row: Mapping[str, str], key: str) -> float:
    value = _number(path, line, row, key)
    if abs(value) > 360:
        raise InputError(f"{key} is {value:g}, more than a full turn in degrees", where=path, line=line,
                         mend="Give the angles in degrees (grads times 0.9)")
    return math.radians(value)


def _cameras_beside(path: Path) -> tuple[Path, dict] | None:
    """The cameras of an OpenSfM file in the same folder: {name without its version mark: camera}."""
    for name in ("reconstruction.json", "cameras.json", "opensfm/reconstruction.json"):
        file = path.parent / name
        if file.is_file():
            values = read_json(file)
            values = values[0] if isinstance(values, list) and values else values
            cameras = values.get("cameras", values) if isinstance(values, dict) else {}
            if isinstance(cameras, dict):
                return file, {re.sub(r"^v2 ", "", key): camera for key, camera in cameras.items()}
    return None


def _intrinsics(path: Path, line: int, row: Mapping[str, str], size: tuple[int, int],
                beside: tuple[Path, dict] | None) -> tuple[np.ndarray, Distortion | None, str | None]:
    """K [3, 3], lens and a note, from the table, the cameras beside it, or the camera's name."""
    width, height = size
    if row.get("fx"):
        fx = _number(path, line, row, "fx")
        fy = _number(path, line, row, "fy") if row.get("fy") else fx
        cx, cy = (_number(path, line, row, key) if row.get(key) else side / 2
                  for key, side in (("cx", width), ("cy", height)))
        if not (fx > 0 and fy > 0):
            raise InputError(f"the focal lengths are {fx:g} and {fy:g}", where=path, line=line,
                             mend="They are above 0, in pixels")
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), None, None
    camera = re.sub(r"^v2 ", "", row.get("camera", ""))
    if beside is not None and (camera in beside[1] or (not camera and len(beside[1]) == 1)):
        K, lens = shot_camera({"cameras": beside[1]}, {"camera": camera or next(iter(beside[1]))}, size, beside[0],
                              row["name"])
        return K, lens, None
    named = re.search(r"\b(?:perspective|brown|radial|simple_radial) (0?\.\d+|\d+\.\d+)$", camera)
    if named is None:
        raise InputError(f"nothing says the focal length of {row['name']}", where=path, line=line,
                         mend="Add columns fx, fy, cx, cy in pixels, or put OpenSfM's cameras.json beside the table")
    focal = float(named[1]) * max(size)
    return (np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]), None,
            f"the focal length is the one in the camera's name ({named[1]} of the longer side), without a lens")
