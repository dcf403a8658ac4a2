"""`transforms.json` of NeRF, instant-ngp and nerfstudio: camera-to-world matrices with OpenGL axes.

    {"fl_x": ..., "fl_y": ..., "cx": ..., "cy": ..., "w": ..., "h": ..., "k1": ..., "k2": ..., "p1": ..., "p2": ...,
     "camera_angle_x": ..., "frames": [{"file_path": "images/0001.jpg", "transform_matrix": [[...] x 4]}, ...]}

OpenGL axes are x right, y up, z backward; here they become OpenCV's. A scale of the axes (not of the place) is taken
out. Intrinsics may stand in each frame, may be only an angle of view, and are of the size `w` x `h`, which the pictures
on the disk may be a part of. Pixel centres are at +0.5 (the files come from COLMAP). `transforms_train.json`, `_val`,
`_test` (the synthetic NeRF scenes) make the splits; nerfstudio's `ply_file_path` names sparse points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.audit import Audit, Finding, picture_fault
from rsnb.data.meshes.ply_columns import read_columns
from rsnb.data.multiview.distortion import SPHERICAL, Distortion
from rsnb.data.multiview.json_fields import number_of, positive_number, read_json
from rsnb.data.multiview.pictures import (
    PictureFolder,
    duplicate_pictures,
    picture_size,
    picture_stem,
    relative_name,
    same_shape,
)
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.geometry.intrinsics import scale_intrinsics
from rsnb.geometry.poses import invert

PARTS = ("train", "val", "test")
_FISHEYES = ("OPENCV_FISHEYE", "RADIAL_FISHEYE", "SIMPLE_RADIAL_FISHEYE")
_MATRIX = "A frame's transform_matrix is camera to world, 4 rows of 4, its rotation orthonormal"


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a file: what it says, and the split that it belongs to."""

    source: Path
    number: int
    path: str
    cam_to_world: np.ndarray
    values: Mapping
    part: str | None

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.source} frames[{self.number}]"


def read_transforms_json(root: str | Path, images: str | Path | None = None) -> PosedViews:
    """Read a scene; pixels stay on the disk.

    Args:
        root: the folder of `transforms.json`, or the file itself.
        images: folder of the pictures (from the root); if None, what the file says, then `images`, `images_2` ...

    Returns:
        Views named by the path in the file without its suffix (the last part alone where that is enough). Frames
        without a picture are among `skipped`.

    Raises:
        InputError: no such file, a frame without a matrix, one that is no rotation, or no focal length.
    """
    frames = _frames(_files(Path(root)))
    base = Path(root) if Path(root).is_dir() else Path(root).parent
    folder = _pictures(base, images)
    found = [_find(frame, base, folder) for frame in frames]
    names = _names([frame.path for frame in frames])
    skipped = {name: "there is no such picture" for name, path in zip(names, found, strict=True) if path is None}
    kept = [(name, frame, path) for name, frame, path in zip(names, frames, found, strict=True) if path is not None]
    sizes = [_size(frame, path) for _, frame, path in kept]
    cameras = [_intrinsics(frame, size, path) for (_, frame, path), size in zip(kept, sizes, strict=True)]
    poses = [invert(frame.cam_to_world @ np.diag([1.0, -1.0, -1.0, 1.0])) for _, frame, _ in kept]
    points, rgb = _points(frames[0], base)
    return PosedViews(
        name=f"transforms.json {base.name}", names=tuple(name for name, _, _ in kept),
        image_paths=tuple(path for _, _, path in kept), K=np.array([K for K, _ in cameras]).reshape(-1, 3, 3),
        world_to_cam=np.array(poses).reshape(-1, 4, 4), sizes=np.array(sizes).reshape(-1, 2),
        distortion=tuple(lens for _, lens in cameras), splits=_splits(kept), skipped=skipped,
        convention="opengl_c2w", points=points, points_rgb=rgb)


def _files(root: Path) -> list[tuple[Path, str | None]]:
    """The files to read, each with its split."""
    if root.is_file():
        return [(root, None)]
    if (root / "transforms.json").is_file():
        return [(root / "transforms.json", None)]
    parts = [(path, part) for part in PARTS if (path := root / f"transforms_{part}.json").is_file()]
    if not parts:
        require_file(root / "transforms.json", "transforms.json (or transforms_train.json ...)")
    return parts


def _frames(files: list[tuple[Path, str | None]]) -> list[Frame]:
    frames = []
    for path, part in files:
        values = read_json(path)
        if not isinstance(values, dict) or not isinstance(values.get("frames"), list) or not values["frames"]:
            raise InputError("there is no list of frames", where=path, mend="Give a file of NeRF or nerfstudio")
        shared = {key: value for key, value in values.items() if key != "frames"}
        listed = {str(name): p for p in PARTS for name in _listed(values, p, path)}
        for number, frame in enumerate(values["frames"]):
            if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
                raise InputError(f"frames[{number}] has no file_path", where=path,
                                 mend="Name its picture, or remove it")
            matrix = _matrix(frame.get("transform_matrix"), path, number)
            frames.append(Frame(path, number, frame["file_path"], matrix, {**shared, **frame},
                                part or listed.get(frame["file_path"])))
    return frames


def _listed(values: dict, part: str, path: Path) -> list:
    """File names of one of nerfstudio's splits."""
    names = values.get(f"{part}_filenames") or []
    if not isinstance(names, list):
        raise InputError(f"{part}_filenames is no list", where=path, mend="Repair or remove it")
    return names


def _matrix(rows, path: Path, number: int) -> np.ndarray:
    try:
        matrix = np.array(rows, np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0, 0, 0, 1]])
    if matrix.shape != (4, 4) or not (np.abs(matrix) < 1e15).all():
        raise InputError(f"frames[{number}].transform_matrix is no matrix of finite numbers", where=path, mend=_MATRIX)
    turn = matrix[:3, :3]
    determinant = np.linalg.det(turn)
    if determinant > 1e-9 and matrix[3, 3] == 1:
        # Blender writes the scale of the camera object into the matrix: it is of the axes alone, not of the place
        turn /= np.cbrt(determinant)
    if not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6) or determinant < 0 \
            or np.abs(turn @ turn.T - np.eye(3)).max() > 1e-2:
        raise InputError(f"frames[{number}].transform_matrix is no rigid motion (determinant {determinant:.3f})",
                         where=path, mend=_MATRIX)
    return matrix


def _pictures(base: Path, images: str | Path | None) -> PictureFolder:
    if images is not None:
        if not (base / images).is_dir():
            raise InputError("there is no such folder of pictures", where=base / images, mend="Name it from the root")
        return PictureFolder([base / images])
    beside = sorted((p for p in base.glob("images*") if p.is_dir()),
                    key=lambda p: int(p.name[7:]) if p.name[7:].isdecimal() else 0)
    return PictureFolder([*beside, base] if beside else [base])


def _find(frame: Frame, base: Path, folder: PictureFolder) -> Path | None:
    """The picture of a frame: the path as it stands, with .png after it (NeRF's), else by name in the folders."""
    if base in folder.folders:
        for path in (base / frame.path, base / f"{frame.path}.png"):
            if path.is_file():
                return path
    return folder.find(frame.path)


def _names(paths: list[str]) -> list[str]:
    """Short names of views: the last part without its suffix where no two are equal, else the whole path."""
    clean = [path.replace("\\", "/").removeprefix("./") for path in paths]
    short = [picture_stem(path.rsplit("/", 1)[-1]) for path in clean]
    return short if len(set(short)) == len(short) else [picture_stem(path) for path in clean]


def _points(frame: Frame, base: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Nerfstudio's sparse points, [P, 3] float64 and [P, 3] uint8, in the world of the matrices; None without them.

    Raises:
        InputError: the file is there, but is no PLY with x, y and z.
    """
    name = frame.values.get("ply_file_path")
    path = base / name if isinstance(name, str) else None
    if path is None or not path.is_file():
        return None, None
    columns = read_columns(path).columns.get("vertex", {})
    if not {"x", "y", "z"} <= set(columns):
        raise InputError("its vertices have no x, y and z", where=path, mend="Make it again, or remove ply_file_path")
    points = np.stack([columns[axis].values for axis in "xyz"], axis=-1).astype(np.float64)
    colours = [columns[name].values for name in ("red", "green", "blue") if name in columns]
    return points, np.stack(colours, axis=-1).astype(np.uint8) if len(colours) == 3 else None


def _size(frame: Frame, path: Path) -> tuple[int, int]:
    """(width, height) of a picture file, turned as its tag says where only that has the shape of the frame."""
    width, height = (positive_number(frame.values, key, frame.place) for key in "wh")
    return picture_size(path, (width, height) if width and height else None)


def _intrinsics(frame: Frame, size: tuple[int, int], path: Path) -> tuple[np.ndarray, Distortion | None]:
    """K [3, 3] for the picture as it is on the disk, and its lens."""
    values = frame.values
    if str(values.get("camera_model", "")).upper() in ("EQUIRECTANGULAR", "SPHERICAL"):
        return np.full((3, 3), np.nan), Distortion(SPHERICAL)
    width, height = (positive_number(values, key, frame.place, float(side))
                     for key, side in zip("wh", size, strict=True))
    if not same_shape(size, (width, height)):
        raise InputError(f"the picture has {size[0]} x {size[1]} pixels, w and h are {width:g} x {height:g}: another "
                         "shape", where=path, mend="Take the pictures that the file was made of, or a smaller copy")
    focal = {}
    for axis, side in (("x", width), ("y", height)):
        angle = positive_number(values, f"camera_angle_{axis}", frame.place)
        focal[axis] = positive_number(values, f"fl_{axis}", frame.place,
                                      side / 2 / math.tan(angle / 2) if angle else None)
    if not (focal["x"] or focal["y"]):
        raise InputError("there is no focal length", where=frame.place,
                         mend="Give fl_x and fl_y in pixels, or camera_angle_x in radians")
    fx, fy = focal["x"] or focal["y"], focal["y"] or focal["x"]
    cx, cy = number_of(values, "cx", frame.place), number_of(values, "cy", frame.place)
    if not (fx > 0 and fy > 0):
        raise InputError(f"the focal lengths are {fx} and {fy}", where=frame.place, mend="They are above 0, in pixels")
    K = np.array([[fx, 0, width / 2 if cx is None else cx], [0, fy, height / 2 if cy is None else cy], [0, 0, 1]])
    return scale_intrinsics(K, (width, height), size), _lens(frame)


def _lens(frame: Frame) -> Distortion | None:
    k1, k2, k3, k4, p1, p2 = (number_of(frame.values, key, frame.place, 0.0)
                              for key in ("k1", "k2", "k3", "k4", "p1", "p2"))
    model = str(frame.values.get("camera_model") or "OPENCV").upper()
    if model in _FISHEYES or frame.values.get("is_fisheye") is True:
        return Distortion("OPENCV_FISHEYE", (k1, k2, k3, k4))
    if model not in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV"):
        return Distortion(model)
    if k4:
        return Distortion("OPENCV_K4")  # nerfstudio's r^8 term, which OpenCV does not have
    lens = Distortion("OPENCV", (k1, k2, p1, p2, k3))
    return None if lens.none else lens


def _splits(kept) -> dict[str, tuple[str, ...]]:
    parts = {part: tuple(name for name, frame, _ in kept if frame.part == part) for part in PARTS}
    return {part: names for part, names in parts.items() if names}


def audit(root: str | Path) -> Audit:
    """Look a scene through: frames without a picture, pictures without a frame, each picture decoded, duplicates."""
    root = Path(root)
    counts = {"frames": 0, "pictures": 0}
    try:
        frames = _frames(_files(root))
    except InputError as error:
        return Audit("transforms_json", root, counts, {}, (Finding("unreadable", "transforms.json", error.what),))
    folder = _pictures(root, None)
    found = [_find(frame, root, folder) for frame in frames]
    used = sorted({path for path in found if path is not None})
    counts = {"frames": len(frames), "pictures": len(used)}
    findings = [Finding("missing", frame.path, "a frame names it") for frame, path in zip(frames, found, strict=True)
                if path is None]
    for frame, path in zip(frames, found, strict=True):
        fault = None if path is None else picture_fault(path)
        if fault:
            findings.append(Finding(fault[0], relative_name(path, root), fault[1]))
        elif path is not None:
            try:
                _intrinsics(frame, _size(frame, path), path)
            except InputError as error:
                findings.append(Finding("size" if "pixels" in error.what else "value", frame.path, error.what))
    beside = {path.parent for path in used}
    findings += [Finding("unmatched", relative_name(path, root), "no frame names it")
                 for path in sorted(set(folder.paths) - set(used)) if path.parent in beside]
    return Audit("transforms_json", root, counts, {}, (*findings, *duplicate_pictures(used, root)))
