"""What the formats share that list one camera after the other: pictures found, K scaled to the files, views made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.multiview.conventions import poses_of
from rsnb.data.multiview.distortion import Distortion
from rsnb.data.multiview.pictures import SUFFIXES, PictureFolder, picture_size, same_shape
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.geometry.intrinsics import scale_intrinsics

_LARGEST = 1e15  # beyond it a number is damage: what is computed from it would overflow
ORTHONORMAL = 1e-2  # files have few digits; more than this is another kind of matrix


@dataclass(frozen=True, eq=False)
class ListedCamera:
    """One camera as a file lists it.

    Attributes:
        name: of the picture.
        K: [3, 3] float64 pixels of a picture of `size`, pixel centres at +0.5; a callable of (width, height) where the
            file counts from the middle of a picture whose size it does not state.
        matrix: [4, 4] float64 as written, see `conventions`.
        size: (width, height) of the picture that K is of; None: that of the file.
        lens: None for none.
        near_far: None where none is stated.
        line: of the file, for messages.
    """

    name: str
    K: np.ndarray | Callable[[tuple[int, int]], np.ndarray]
    matrix: np.ndarray
    size: tuple[float, float] | None = None
    lens: Distortion | None = None
    near_far: tuple[float, float] | None = None
    line: int | None = None


def views_of(name: str, source: Path, cameras: Sequence[ListedCamera], folder: PictureFolder, convention: str,
             skipped: Mapping[str, str] | None = None, **more) -> PosedViews:
    """Views of listed cameras, in their order; those without a picture are among `skipped`.

    Args:
        name, source: of the scene, and the file, for messages.
        convention: of the matrices.
        skipped: {what the file lists without a pose: why}.
        more: further fields of `PosedViews`.

    Raises:
        InputError: a matrix that is no rigid motion, no focal length, a picture of another shape than its camera's.
    """
    found = [folder.find(camera.name) for camera in cameras]
    absent = {c.name: "there is no such picture" for c, path in zip(cameras, found, strict=True) if path is None}
    kept = [(camera, path) for camera, path in zip(cameras, found, strict=True) if path is not None]
    sizes, intrinsics = [], []
    for camera, path in kept:
        _check(camera, source)
        if camera.size is not None and not 0 < min(camera.size) <= max(camera.size) < _LARGEST:
            raise InputError(f"the picture size of {camera.name} is {camera.size[0]:g} x {camera.size[1]:g}",
                             where=source, line=camera.line, mend="Width and height are above 0, in pixels")
        size = picture_size(path, camera.size)
        K = camera.K(size) if callable(camera.K) else camera.K
        if not (K[0, 0] > 0 and K[1, 1] > 0 and (np.abs(K) < _LARGEST).all()):
            raise InputError(f"the focal lengths of {camera.name} are {K[0, 0]:g} and {K[1, 1]:g}", where=source,
                             line=camera.line, mend="They are above 0, in pixels; remove cameras that were not solved")
        stated = camera.size or size
        if not same_shape(size, stated):
            raise InputError(f"the picture has {size[0]} x {size[1]} pixels, its camera {stated[0]:g} x {stated[1]:g}: "
                             "another shape", where=path, mend="It was cropped or turned")
        sizes.append(size)
        intrinsics.append(scale_intrinsics(K, stated, size))
    ranges = [camera.near_far or (np.nan, np.nan) for camera, _ in kept]
    return PosedViews(
        name=name, names=tuple(camera.name for camera, _ in kept), image_paths=tuple(path for _, path in kept),
        K=np.array(intrinsics).reshape(-1, 3, 3), sizes=np.array(sizes).reshape(-1, 2),
        world_to_cam=poses_of(np.array([camera.matrix for camera, _ in kept]).reshape(-1, 4, 4), convention),
        distortion=tuple(camera.lens for camera, _ in kept), skipped={**(skipped or {}), **absent},
        convention=convention,
        near_far=np.array(ranges).reshape(-1, 2) if any(camera.near_far for camera, _ in kept) else None, **more)


def pictures_near(source: Path, images: str | Path | None) -> PictureFolder:
    """The folder of the pictures: the named one (from the file's folder or the one up); else `images`, `images_2` ...
    beside the file; else its own folder if there are pictures in it; else `images` ... one folder up.

    Raises:
        InputError: the folder named is not there.
    """
    bases = [source.parent, source.parent.parent]
    if images is not None:
        found = next((base / images for base in bases if (base / images).is_dir()), None)
        if found is None:
            raise InputError("there is no such folder of pictures", where=bases[0] / images, mend="Name it from there")
        return PictureFolder([found])
    for base in bases:
        folders = sorted((p for p in base.glob("[iI]mages*") if p.is_dir()),
                         key=lambda p: int(p.name[7:]) if p.name[7:].isdecimal() else 0)
        if folders:
            return PictureFolder(folders[:1])
        if base == source.parent and any(p.suffix.lower() in SUFFIXES for p in base.iterdir()):
            break  # images one folder up are another scene's
    return PictureFolder([source.parent])


def rigid(turn, last_column) -> np.ndarray:
    """[4, 4] of a rotation [3, 3] and the last column [3]."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, last_column
    return matrix


def _check(camera: ListedCamera, source: Path) -> None:
    turn = camera.matrix[:3, :3]
    ordinary = (np.abs(turn) < 1e3).all() and (np.abs(camera.matrix) < _LARGEST).all()
    determinant = float(np.linalg.det(turn)) if ordinary else float("nan")
    if not (determinant > 0 and np.abs(turn @ turn.T - np.eye(3)).max() < ORTHONORMAL):
        kind = "mirrors" if determinant < 0 else "is no rotation"
        raise InputError(f"the pose of {camera.name} {kind} (determinant {determinant:.3f})", where=source,
                         line=camera.line, mend="Its 3 x 3 must be orthonormal with determinant 1; remove this camera")
