"""Pictures with known cameras on the disk: every pose and intrinsic at hand, pixels read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from rsnb.data.multiview.distortion import (
    SPHERICAL,
    Distortion,
    apply_intrinsics,
    distort,
    ideal_intrinsics,
    source_pixels,
    valid_radius,
)
from rsnb.data.multiview.one_size import crop_to_one_size
from rsnb.data.multiview.pictures import UNREADABLE, read_picture, read_tiff
from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.geometry.intrinsics import scale_intrinsics
from rsnb.scenes import Georeference, PosedImages

ROUNDED = (1e-5, 2e-2)  # |R R^T - 1| of rotations written with few digits


@dataclass(frozen=True, eq=False)
class PosedViews:
    """What every multi-view reader gives. Nothing here holds pixels; `load` reads them.

    Attributes:
        name: of the scene, for messages.
        names: one a view, unique.
        image_paths: the picture files.
        K: [N, 3, 3] float64, pixels of the picture FILES (a downsized folder has its own), pixel centres at +0.5; nan
            for spherical pictures.
        world_to_cam: [N, 4, 4] float64, OpenCV axes, in the unit of the scene.
        sizes: [N, 2] int, width and height of the files.
        distortion: one lens a view, None where there is none.
        depth_paths: one a view, or None: z depth (along the camera's axis) in the unit of the poses.
        depth_scale: what a number in a depth file is worth.
        near_far: [N, 2] float64 least and greatest z depth that the data set states (or that its sparse points have,
            where the reader says so); None where it states none, nan for views without.
        splits: {"train": names, "test": names, "reference": names ...}.
        track: [M, 4, 4] float64 poses of a camera path that comes with the scene, or None; track_K: [M, 3, 3].
        skipped: {what the data set lists: why it is not among the views}.
        georeference: place of the world's coordinates on Earth.
        points: [P, 3] float64 sparse points in the world, or None; points_rgb: [P, 3] uint8.
        notes: what a reader of the data set should know.
        convention: what the matrices in the files were taken for, see `conventions`; `world_to_cam` is always OpenCV's.
    """

    name: str
    names: tuple[str, ...]
    image_paths: tuple[Path, ...]
    K: np.ndarray
    world_to_cam: np.ndarray
    sizes: np.ndarray
    distortion: tuple[Distortion | None, ...] = ()
    depth_paths: tuple[Path | None, ...] | None = None
    depth_scale: float = 1.0
    near_far: np.ndarray | None = None
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    track: np.ndarray | None = None
    track_K: np.ndarray | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    georeference: Georeference = field(default_factory=Georeference)
    points: np.ndarray | None = None
    points_rgb: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    convention: str = "opencv_w2c"

    def __post_init__(self):
        n = len(self.names)
        if n == 0:
            raise InputError("there is no view", where=self.name,
                             mend=f"{len(self.skipped)} were listed without a picture file: check the picture folder"
                             if self.skipped else "Check that the folder holds cameras and pictures")
        object.__setattr__(self, "world_to_cam", _orthonormal(self.world_to_cam))
        if not self.distortion:
            object.__setattr__(self, "distortion", (None,) * n)
        for what, found, wanted in (
            ("image_paths", (len(self.image_paths),), (n,)), ("K", self.K.shape, (n, 3, 3)),
            ("world_to_cam", self.world_to_cam.shape, (n, 4, 4)), ("sizes", self.sizes.shape, (n, 2)),
            ("distortion", (len(self.distortion),), (n,)),
            ("depth_paths", (n if self.depth_paths is None else len(self.depth_paths),), (n,)),
            ("near_far", (n, 2) if self.near_far is None else self.near_far.shape, (n, 2)),
        ):
            if found != wanted:
                raise InputError(f"{what} has shape {found}, expected {wanted}", where=self.name)
        if len(set(self.names)) != n:
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise InputError(f"view {twice!r} is there twice", where=self.name, mend="Remove one of the two")
        first: dict[Path, str] = {}
        for name, path in zip(self.names, self.image_paths, strict=True):
            if first.setdefault(path, name) != name:
                raise InputError(f"views {first[path]!r} and {name!r} have the same picture", where=path,
                                 mend="Put the pictures into the folders that the names say, or remove one view")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, names: Sequence[str]) -> np.ndarray:
        """Positions [K] of views by name.

        Raises:
            InputError: a name that is not there.
        """
        where = {name: i for i, name in enumerate(self.names)}
        unknown = [name for name in names if name not in where]
        if unknown:
            raise InputError(f"there is no view {unknown[0]!r}", where=self.name,
                             mend=f"It was left out: {self.skipped[unknown[0]]}" if unknown[0] in self.skipped
                             else f"Choose among {', '.join(self.names[:4])} ...")
        return np.array([where[name] for name in names], int)

    def subset(self, names: Sequence[str] | str) -> PosedViews:
        """The views of these names (or of a split's name), in that order; splits keep what is still there."""
        names = self.splits[names] if isinstance(names, str) and names in self.splits else names
        names = (names,) if isinstance(names, str) else tuple(names)
        rows = self.index(names)
        return replace(
            self, names=names, image_paths=tuple(self.image_paths[i] for i in rows), K=self.K[rows],
            world_to_cam=self.world_to_cam[rows], sizes=self.sizes[rows],
            distortion=tuple(self.distortion[i] for i in rows),
            depth_paths=None if self.depth_paths is None else tuple(self.depth_paths[i] for i in rows),
            near_far=None if self.near_far is None else self.near_far[rows],
            splits={part: tuple(n for n in members if n in names) for part, members in self.splits.items()})

    def project(self, name: str, points: np.ndarray) -> np.ndarray:
        """Pixels [..., 2] of the picture file, distortion included, of world points [..., 3].

        nan behind the camera and where the lens model no longer holds; else also outside the picture.
        """
        i = int(self.index([name])[0])
        camera = np.asarray(points, np.float64) @ self.world_to_cam[i, :3, :3].T + self.world_to_cam[i, :3, 3]
        seen = camera[..., 2] > 0
        plane = camera[..., :2] / np.where(seen, camera[..., 2], np.nan)[..., None]
        lens = self.distortion[i]
        if lens is not None:
            plane = np.where(np.linalg.norm(plane, axis=-1, keepdims=True) < valid_radius(lens), plane, np.nan)
        return apply_intrinsics(self.K[i], distort(lens, plane))

    def depth(self, name: str) -> np.ndarray:
        """[H, W] float32 z depth of a view in the unit of the poses, nan where unknown.

        Raises:
            InputError: the data set has no depth for it, or the file is no picture of the view's size.
        """
        i = int(self.index([name])[0])
        path = None if self.depth_paths is None else self.depth_paths[i]
        if path is None:
            raise InputError(f"there is no depth of view {name}", where=self.name,
                             mend="Read it without depth, or complete the folder of depths")
        array = read_depth(path, self.depth_scale)
        if array.shape != (self.sizes[i, 1], self.sizes[i, 0]):
            raise InputError(f"the depth has {array.shape[1]} x {array.shape[0]} pixels, its picture "
                             f"{self.sizes[i, 0]} x {self.sizes[i, 1]}", where=path)
        return array

    def load(self, names: Sequence[str] | str | None = None, max_width: int | None = None, undistort: bool = True,
             with_depth: bool = False, background: float = 1.0,
             fit: Literal["refuse", "crop"] = "refuse") -> PosedImages:
        """Read pictures.

        Args:
            names: which views, or the name of a split; all if None.
            max_width: wider pictures are averaged down to this width, K with them; depth takes the nearest pixel.
            undistort: pictures and K become those of a pinhole camera, the widest one that the picture fills. False
                leaves the pixels as they are; K is then right near the middle only.
            with_depth: also `z_depth`.
            background: grey 0..1 behind transparent pixels.
            fit: what happens to pictures of several sizes: "refuse" them, or "crop" them to what all have, see
                `one_size`.

        Raises:
            InputError: pictures of several sizes (where they are refused) or kinds in one call, a lens that cannot be
                undone, a file that cannot be read or has changed its size.
        """
        views = self if names is None else self.subset(names)
        spherical = [d is not None and d.model == SPHERICAL for d in views.distortion]
        if any(spherical) and not all(spherical):
            raise InputError("spherical and perspective pictures do not fit into one call", where=self.name,
                             mend="Load them apart")
        several = len(np.unique(views.sizes, axis=0)) > 1
        if several and fit != "crop":
            found = ", ".join(f"{w} x {h}" for w, h in np.unique(views.sizes, axis=0)[:4])
            raise InputError(f"the pictures have several sizes ({found})", where=self.name,
                             mend="Choose views of one size by name, or load them with fit='crop'")
        frames = [_load_one(views, i, max_width, undistort and not spherical[i], with_depth, background)
                  for i in range(len(views))]
        frames = crop_to_one_size(frames) if several else frames
        images, K, depth = zip(*frames, strict=True)
        return PosedImages(
            images=np.stack(images), world_to_cam=views.world_to_cam, names=views.names,
            camera="panorama" if all(spherical) else "pinhole", K=None if all(spherical) else np.stack(K),
            georeference=self.georeference, z_depth=np.stack(depth) if with_depth else None, near_far=views.near_far)


def _orthonormal(poses: np.ndarray) -> np.ndarray:
    """Poses whose rotations have few digits in their file (off by 1e-5 to 2e-2), made exact; cameras stay in place.

    What is further off is left alone: it is no rotation, and the check of poses says so.
    """
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not np.isfinite(poses).all():
        return poses
    turns = poses[:, :3, :3]
    off = np.abs(turns @ np.swapaxes(turns, 1, 2) - np.eye(3)).max(axis=(1, 2))
    rounded = (off > ROUNDED[0]) & (off < ROUNDED[1]) & (np.linalg.det(turns) > 0)
    if not rounded.any():
        return poses
    poses = poses.copy()
    u, _, v = np.linalg.svd(turns[rounded])
    places = np.linalg.solve(turns[rounded], poses[rounded, :3, 3:])
    poses[rounded, :3, :3] = u @ v
    poses[rounded, :3, 3:] = u @ v @ places
    return poses


def _load_one(views: PosedViews, i: int, max_width, undistort: bool, with_depth: bool, background: float):
    """Picture [3, H, W], K and z depth [H, W] (or None) of one view."""
    import cv2

    lens, K, (width, height) = views.distortion[i], views.K[i], (int(v) for v in views.sizes[i])
    image = read_picture(views.image_paths[i], background, (width, height)).transpose(1, 2, 0)
    if image.shape[:2] != (height, width):
        raise InputError(f"the picture has {image.shape[1]} x {image.shape[0]} pixels, it had {width} x {height} when "
                         "the scene was read", where=views.image_paths[i], mend="Read the scene again")
    depth = views.depth(views.names[i]) if with_depth else None
    if undistort and lens is not None and not lens.none:
        try:
            K, source = _straight(tuple(K.ravel()), lens, (width, height))
        except InputError as error:
            raise InputError(error.what, where=views.image_paths[i], mend=error.mend) from None
        image = cv2.remap(np.ascontiguousarray(image), source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if depth is not None:
            depth = cv2.remap(depth, source, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    if max_width is not None and width > max_width:
        new = (max_width, max(1, round(height * max_width / width)))
        image = cv2.resize(np.ascontiguousarray(image), new, interpolation=cv2.INTER_AREA)
        K = scale_intrinsics(K, (width, height), new)
        if depth is not None:
            rows, columns = (((np.arange(n) + 0.5) * (m / n)).astype(int) for n, m in zip(new[::-1], depth.shape,
                                                                                          strict=True))
            depth = depth[np.ix_(rows, columns)]
    return np.ascontiguousarray(image.transpose(2, 0, 1)), K, depth


@lru_cache(maxsize=1)  # views of one camera come one after the other
def _straight(K: tuple[float, ...], lens: Distortion, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """K of the undistorted picture, and where its pixels lie in the real one."""
    real = np.reshape(K, (3, 3))
    ideal = ideal_intrinsics(real, lens, size)
    return ideal, source_pixels(real, lens, ideal, size)


def read_depth(path: str | Path, scale: float = 1.0) -> np.ndarray:
    """[H, W] float32: the numbers of a one-channel TIFF or 16-bit PNG times `scale`; nan where not finite or <= 0.

    Raises:
        InputError: no such file, no picture, or several channels.
    """
    path = require_file(path, "depth picture")
    if path.suffix.lower() in (".tif", ".tiff"):
        array = read_tiff(path)
    else:
        from PIL import Image

        try:
            with Image.open(path) as picture:
                array = np.asarray(picture)
        except (*UNREADABLE, Image.DecompressionBombError) as error:
            raise InputError(f"this is no whole picture ({error})", where=path, mend="Fetch it again") from None
    array = array.squeeze()
    if array.ndim != 2 or array.dtype == np.uint8:
        raise InputError(f"the depth holds {array.dtype} of shape {array.shape}", where=path,
                         mend="A depth is one channel of 16-bit integers or floats")
    values = array.astype(np.float32) * np.float32(scale)
    return np.where(np.isfinite(values) & (values > 0), values, np.float32(np.nan))
