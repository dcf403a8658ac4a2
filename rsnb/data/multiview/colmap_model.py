"""COLMAP's sparse models as they lie on the disk: cameras, images and points, text or binary.

Formats: colmap.github.io/format.html, and `src/colmap/sensor/models.h` for the camera models. Poses are world to camera
with OpenCV axes, a quaternion w x y z and a translation; pixel centres are at +0.5 as here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rsnb.data.multiview.distortion import SPHERICAL, Distortion
from rsnb.errors import InputError
from rsnb.files import require_file

# Id in binary files, name in text files, number of parameters.
MODELS = ((0, "SIMPLE_PINHOLE", 3), (1, "PINHOLE", 4), (2, "SIMPLE_RADIAL", 4), (3, "RADIAL", 5), (4, "OPENCV", 8),
          (5, "OPENCV_FISHEYE", 8), (6, "FULL_OPENCV", 12), (7, "FOV", 5), (8, "SIMPLE_RADIAL_FISHEYE", 4),
          (9, "RADIAL_FISHEYE", 5), (10, "THIN_PRISM_FISHEYE", 12), (11, "RAD_TAN_THIN_PRISM_FISHEYE", 16),
          (12, "SIMPLE_DIVISION", 4), (13, "DIVISION", 5), (14, "SIMPLE_FISHEYE", 3), (15, "FISHEYE", 4),
          (16, "EUCM", 6), (17, "EQUIRECTANGULAR", 2))
_LARGEST = 1e15  # beyond it a number is damage: what is computed from it would overflow
_BY_ID = {number: (name, count) for number, name, count in MODELS}
_BY_NAME = {name: count for _, name, count in MODELS}
_ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "SIMPLE_DIVISION",
              "SIMPLE_FISHEYE")
_LENS = {"SIMPLE_PINHOLE": None, "PINHOLE": None, "SIMPLE_RADIAL": "OPENCV", "RADIAL": "OPENCV", "OPENCV": "OPENCV",
         "FULL_OPENCV": "OPENCV", "OPENCV_FISHEYE": "OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE": "OPENCV_FISHEYE",
         "RADIAL_FISHEYE": "OPENCV_FISHEYE", "SIMPLE_FISHEYE": "OPENCV_FISHEYE", "FISHEYE": "OPENCV_FISHEYE",
         "EQUIRECTANGULAR": SPHERICAL}


@dataclass(frozen=True)
class ColmapCamera:
    """One row of cameras: COLMAP's model name and parameters in its order, of pictures of this size."""

    id: int
    model: str
    width: int
    height: int
    params: tuple[float, ...]

    @property
    def K(self) -> np.ndarray:
        """[3, 3] float64, pixel centres at +0.5; nan for spherical pictures."""
        if self.model == "EQUIRECTANGULAR":
            return np.full((3, 3), np.nan)
        focal = (self.params[0], *self.params[:3]) if self.model in _ONE_FOCAL else self.params[:4]
        return np.array([[focal[0], 0, focal[2]], [0, focal[1], focal[3]], [0, 0, 1]])

    @property
    def distortion(self) -> Distortion | None:
        """The lens; a model without a formula here keeps its COLMAP name."""
        lens = _LENS.get(self.model, self.model)
        if lens is None:
            return None
        if lens == SPHERICAL:
            return Distortion(SPHERICAL)
        return Distortion(lens, self.params[3 if self.model in _ONE_FOCAL else 4:])


@dataclass(frozen=True, eq=False)
class ColmapImage:
    """One row of images.

    Attributes:
        world_to_cam: [4, 4] float64.
        keypoints: [M, 2] float64 pixels (of the camera's picture size).
        point_ids: [M] int64, -1 = no point.
    """

    id: int
    name: str
    camera_id: int
    world_to_cam: np.ndarray
    keypoints: np.ndarray
    point_ids: np.ndarray


@dataclass(frozen=True, eq=False)
class ColmapModel:
    """A sparse model.

    Attributes:
        folder: where it was read.
        cameras: by id. images: in the order of the file.
        point_ids: [P] int64; points: [P, 3] float64; rgb: [P, 3] uint8; error: [P] float64 mean reprojection, pixels.
    """

    folder: Path
    cameras: dict[int, ColmapCamera]
    images: tuple[ColmapImage, ...]
    point_ids: np.ndarray
    points: np.ndarray
    rgb: np.ndarray
    error: np.ndarray

    def observed(self, image: ColmapImage) -> tuple[np.ndarray, np.ndarray]:
        """Points [M, 3] that an image sees, and where it saw them, [M, 2] pixels."""
        if len(self.points) == 0:
            return np.zeros((0, 3)), np.zeros((0, 2))
        order, ids = self._sorted
        place = order[np.minimum(np.searchsorted(ids, image.point_ids), len(ids) - 1)]
        known = self.point_ids[place] == image.point_ids
        return self.points[place[known]], image.keypoints[known]

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """Order of the points by id, and the ids in it: sorted once, not for each image."""
        order = np.argsort(self.point_ids)
        return order, self.point_ids[order]


def read_colmap_model(folder: str | Path) -> ColmapModel:
    """Read cameras, images and points from one folder; binary files are taken where both kinds are there.

    A model without points is read, too. `rigs`, `frames` and project files beside it are passed over.

    Raises:
        InputError: files missing or cut short, an unknown camera model, a row that does not parse; text files are named
            with the line, binary ones with the byte.
    """
    folder = Path(folder)
    kind = next((k for k in (".bin", ".txt") if (folder / f"cameras{k}").is_file()
                 and (folder / f"images{k}").is_file()), None)
    if kind is None:
        require_file(folder / "cameras.bin", "COLMAP model (cameras and images, .bin or .txt)")
        require_file(folder / "images.bin", "COLMAP model (cameras and images, .bin or .txt)")
    points_file = folder / f"points3D{kind}"
    read = _Binary if kind == ".bin" else _Text
    cameras = {camera.id: camera for camera in read.cameras(folder / f"cameras{kind}")}
    for camera in cameras.values():
        _check_camera(camera, folder / f"cameras{kind}")
    images = tuple(read.images(folder / f"images{kind}"))
    rows = list(read.points(points_file)) if points_file.is_file() else []
    for image in images:
        if image.camera_id not in cameras:
            raise InputError(f"image {image.name} has camera {image.camera_id}, which is not listed",
                             where=folder / f"images{kind}", mend="The two files belong to different models")
    ids, xyz, rgb, error = zip(*rows, strict=True) if rows else ((), (), (), ())
    return ColmapModel(folder, cameras, images, np.array(ids, np.int64), np.array(xyz, np.float64).reshape(-1, 3),
                       np.array(rgb, np.uint8).reshape(-1, 3), np.array(error, np.float64))


def _check_camera(camera: ColmapCamera, path: Path) -> None:
    spherical = camera.model == "EQUIRECTANGULAR"
    params = np.array(camera.params)
    focal = params[:1 if camera.model in _ONE_FOCAL else 2]
    if not (camera.width > 0 and camera.height > 0 and (np.abs(params) < _LARGEST).all()
            and (spherical or (focal > 0).all())):
        raise InputError(f"camera {camera.id} has {camera.width} x {camera.height} pixels and the parameters "
                         f"{', '.join(f'{v:g}' for v in camera.params)}", where=path,
                         mend="Sizes and focal lengths are above 0, and all are finite")


def pose_from_quaternion(quaternion, translation, where, line: int | None = None) -> np.ndarray:
    """World to camera [4, 4] from w x y z (normalised here) and a translation."""
    q = np.asarray(quaternion, np.float64)
    ordinary = (np.abs(q) < 2).all() and (np.abs(translation) < _LARGEST).all()
    length = np.linalg.norm(q) if ordinary else 0.0
    if not 0.5 < length < 2:
        raise InputError(f"the pose {q.tolist()}, {list(translation)} is none", where=where, line=line,
                         mend="A rotation is a unit quaternion w x y z; remove this image")
    w, x, y, z = q / length
    pose = np.eye(4)
    pose[:3, :3] = [[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]]
    pose[:3, 3] = translation
    return pose


class _Text:
    """The three text files."""

    @staticmethod
    def lines(path: Path) -> Iterator[tuple[int, str]]:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise InputError("this is no text file", where=path, mend="Fetch it again") from None
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.lstrip().startswith("#"):
                yield number, line.strip()

    @classmethod
    def cameras(cls, path: Path) -> Iterator[ColmapCamera]:
        for number, line in cls.lines(path):
            if not line:
                continue
            cells = line.split()
            count = _BY_NAME.get(cells[1].upper()) if len(cells) > 1 else None
            if count is None or len(cells) != 4 + count:
                known = f"with {count} parameters" if count else "of a known model"
                raise InputError(f"{line[:60]!r} is no camera {known}", where=path, line=number,
                                 mend="A row is CAMERA_ID MODEL WIDTH HEIGHT PARAMS")
            own, width, height, *params = _floats([cells[0], *cells[2:]], path, number)
            yield ColmapCamera(int(own), cells[1].upper(), int(width), int(height), tuple(params))

    @classmethod
    def images(cls, path: Path) -> Iterator[ColmapImage]:
        lines = cls.lines(path)
        for number, line in lines:
            if not line:
                continue
            cells = line.split(None, 9)
            if len(cells) < 10:
                raise InputError(f"the row has {len(cells)} columns, expected 10", where=path, line=number,
                                 mend="A row is IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then a row of keypoints, "
                                      "which may be empty")
            values = _floats(cells[:9], path, number)
            # the row of keypoints is there even where it is empty, unless the file ends
            below, keypoints = next(lines, (number, ""))
            points = np.array(_floats(keypoints.split(), path, below))
            if len(points) % 3:
                raise InputError(f"{len(points)} numbers of keypoints, expected threes of X Y POINT3D_ID", where=path,
                                 line=below, mend="The row is cut short, or the empty row below an image is missing")
            points = points.reshape(-1, 3)
            yield ColmapImage(int(values[0]), cells[9], int(values[8]),
                              pose_from_quaternion(values[1:5], values[5:8], path, number), points[:, :2],
                              points[:, 2].astype(np.int64))

    @classmethod
    def points(cls, path: Path) -> Iterator[tuple]:
        for number, line in cls.lines(path):
            if line:
                cells = line.split(None, 8)
                if len(cells) < 8:
                    raise InputError(f"the row has {len(cells)} columns, expected 8 and a track", where=path,
                                     line=number, mend="A row is POINT3D_ID X Y Z R G B ERROR TRACK")
                values = _floats(cells[:8], path, number)
                if not all(0 <= value <= 255 for value in values[4:7]):
                    raise InputError(f"the colour is {' '.join(cells[4:7])}", where=path, line=number,
                                     mend="R, G and B are whole numbers from 0 to 255")
                yield int(values[0]), values[1:4], values[4:7], values[7]


def _floats(cells: list[str], path: Path, line: int) -> list[float]:
    """The numbers of a row."""
    try:
        values = [float(cell) for cell in cells]
    except ValueError as error:
        raise InputError(f"there is something that is no number ({error})", where=path, line=line,
                         mend="Repair the row; below each image comes a row of keypoints, which may be empty") from None
    bad = next((value for value in values if not abs(value) < _LARGEST), None)
    if bad is not None:
        raise InputError(f"there is a number {bad}, expected finite ones", where=path, line=line, mend="Repair the row")
    return values


class _Binary:
    """The three binary files, little-endian."""

    @staticmethod
    def cameras(path: Path) -> Iterator[ColmapCamera]:
        data = _Bytes(path)
        for _ in range(data.count(24)):
            number, model, width, height = data.take("<iiQQ")
            if model not in _BY_ID:
                raise InputError(f"camera {number} has the unknown model {model}", where=path,
                                 mend=f"Known are 0 to {MODELS[-1][0]}; the file may be damaged")
            name, count = _BY_ID[model]
            yield ColmapCamera(number, name, width, height, data.take(f"<{count}d"))

    @staticmethod
    def images(path: Path) -> Iterator[ColmapImage]:
        data = _Bytes(path)
        for _ in range(data.count(73)):
            number, *pose, camera = data.take("<i7di")
            name = data.text()
            rows = data.array(np.dtype([("xy", "<f8", 2), ("point", "<i8")]), data.count(24))
            yield ColmapImage(number, name, camera, pose_from_quaternion(pose[:4], pose[4:], path), rows["xy"].copy(),
                              rows["point"].copy())

    @staticmethod
    def points(path: Path) -> Iterator[tuple]:
        data = _Bytes(path)
        for _ in range(data.count(51)):
            number, x, y, z, r, g, b, error = data.take("<q3d3Bd")
            data.skip(8 * data.count(8))
            yield number, (x, y, z), (r, g, b), error


class _Bytes:
    """A binary file read from front to back, with an InputError where it ends too early."""

    def __init__(self, path: Path):
        self.path, self.data, self.at = path, require_file(path).read_bytes(), 0

    def _need(self, size: int) -> None:
        if self.at + size > len(self.data):
            raise InputError(f"the file ends at byte {len(self.data)}, in the middle of a record that starts at byte "
                             f"{self.at}", where=self.path, mend="Fetch or copy it again")

    def take(self, form: str) -> tuple:
        size = struct.calcsize(form)
        self._need(size)
        values = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return values

    def count(self, record: int) -> int:
        """A number of records of at least so many bytes each: one that cannot be is refused before anything grows."""
        start = self.at
        (number,) = self.take("<Q")
        if number * record > len(self.data) - self.at:
            raise InputError(f"byte {start} announces {number} records, more than the file can hold", where=self.path,
                             mend="The file is cut short or no COLMAP file; fetch or copy it again")
        return number

    def text(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            self._need(len(self.data) + 1)
        value = self.data[self.at:end].decode("utf-8", errors="replace")
        self.at = end + 1
        return value

    def array(self, dtype: np.dtype, count: int) -> np.ndarray:
        self._need(dtype.itemsize * count)
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += dtype.itemsize * count
        return values

    def skip(self, size: int) -> None:
        self._need(size)
        self.at += size
