"""From posed pictures to what the optimisation holds: the frame of the planes, the views around it, their pyramid.

Views are named everywhere (ImMPI's two loaders number the same view differently). The frame of the planes is the
reference camera made larger on each side, so that target views which look past the reference picture are covered;
padding only moves the principal point, hence the renderer knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rsnb.errors import InputError
from rsnb.geometry.intrinsics import scale_intrinsics
from rsnb.geometry.poses import camera_centre, compose, invert, rotation_angle
from rsnb.mpi.render import MpiCamera
from rsnb.scenes import PosedImages

RIGID = 1e-4  # largest |R R^T - 1|: camera files have six digits


@dataclass(frozen=True)
class MpiFrame:
    """The pinhole frustum that the planes fill.

    Attributes:
        K: [3, 3] float64 of the padded frame.
        size: (H, W) of the padded frame, pixels.
        world_to_cam: [4, 4] float64 of the reference camera.
        near, far: z depth of the first and the last plane.
        inset: (top, left, height, width): where the reference picture lies in the frame.
    """

    K: np.ndarray
    size: tuple[int, int]
    world_to_cam: np.ndarray
    near: float
    far: float
    inset: tuple[int, int, int, int]

    def at_level(self, level: int) -> MpiFrame:
        """The frame with pixels 2^level times as large; its sides must divide."""
        factor = 2**level
        if self.size[0] % factor or self.size[1] % factor:
            raise InputError(f"a frame of {self.size[0]} x {self.size[1]} pixels has no level {level}", where="levels",
                             mend=f"Pad it to a multiple of {factor}")
        return replace(self, K=scale_intrinsics(self.K, (factor, factor), (1, 1)),
                       size=(self.size[0] // factor, self.size[1] // factor),
                       inset=tuple(round(v / factor) for v in self.inset))

    def crop(self, picture):
        """What of [..., H, W] lies in the reference picture."""
        top, left, height, width = self.inset
        return picture[..., top : top + height, left : left + width]

    def pad(self, picture: Tensor, mode: str = "replicate", value: float = 0.0) -> Tensor:
        """[N, C, H, W] of the reference picture laid into the frame (`crop` undone), the rest filled as `mode` says."""
        top, left, height, width = self.inset
        margins = (left, self.size[1] - left - width, top, self.size[0] - top - height)
        return F.pad(picture, margins, mode=mode, **({"value": value} if mode == "constant" else {}))


@dataclass(frozen=True)
class ViewSet:
    """Pictures and cameras as tensors, relative to a frame.

    Attributes:
        images: [N, 3, H, W] float32.
        K: [N, 3, 3] float64.
        ref_to_target: [N, 4, 4] float64, from the frame's camera to each view's.
        names: one a view.
    """

    images: Tensor
    K: np.ndarray
    ref_to_target: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def at_level(self, level: int) -> ViewSet:
        """Pictures averaged over blocks of 2^level pixels (columns and rows that fill no block are dropped)."""
        if level == 0:
            return self
        factor = 2**level
        return replace(self, images=F.avg_pool2d(self.images, factor),
                       K=scale_intrinsics(self.K, (factor, factor), (1, 1)))

    def camera(self, i: int, frame: MpiFrame) -> MpiCamera:
        """What the renderer wants for view i; frame and views must be of one level."""
        return mpi_camera(frame, self.K[i], self.ref_to_target[i], tuple(self.images.shape[-2:]), self.images.device)


def mpi_camera(frame: MpiFrame, K, ref_to_target, size: tuple[int, int], device=None) -> MpiCamera:
    """A camera for the renderer, float64 on the device."""
    matrices = (torch.tensor(np.asarray(m), dtype=torch.float64, device=device) for m in (frame.K, K, ref_to_target))
    return MpiCamera(*matrices, size)


def view_set(views: PosedImages, names: Sequence[str], frame: MpiFrame, device=None) -> ViewSet:
    """The named views, relative to the frame."""
    rows = view_rows(views, names)
    poses = compose(views.world_to_cam[rows], invert(frame.world_to_cam))
    return ViewSet(torch.as_tensor(views.images[rows], device=device), np.asarray(views.K)[rows], poses, tuple(names))


def view_rows(views: PosedImages, names: Sequence[str]) -> np.ndarray:
    """Positions [K] of views by name.

    Raises:
        InputError: a name that is not there.
    """
    where = {name: i for i, name in enumerate(views.names)}
    for name in names:
        if name not in where:
            raise InputError(f"there is no view {name!r}", where="split",
                             mend=f"Choose among {', '.join(views.names[:4])}" + (" ..." if len(views) > 4 else ""))
    return np.array([where[name] for name in names], int)


def check_views(views: PosedImages, reference: str, train: Sequence[str], test: Sequence[str] = ()) -> None:
    """Everything about poses and split that would otherwise give a picture that looks like a bad result.

    Raises:
        InputError: panoramas, a name that is unknown or twice in the split, a test view among the train views, no view
            to learn from, a pose that is no rotation and translation, an intrinsic matrix without area, pictures that
            are not finite.
    """
    if views.camera != "pinhole":
        raise InputError("multiplane images are made from perspective pictures", where="views",
                         mend="Cut perspective views out of the panoramas")
    named = (reference, *train, *test)
    rows = view_rows(views, named)
    for part, members in (("train", train), ("test", test)):
        if len(set(members)) != len(members):
            twice = next(name for name in members if list(members).count(name) > 1)
            raise InputError(f"view {twice!r} is there twice", where=f"{part} split", mend="Remove one of the two")
    both = [name for name in test if name in (*train, reference)]
    if both:
        raise InputError(f"view {both[0]!r} is a test view and is learnt from as well", where="split",
                         mend="Take it out of one of the two, else its score says nothing")
    if not set(train) - {reference}:
        raise InputError("there is no train view beside the reference, and one picture has no depth", where="split",
                         mend="Give at least one more view that sees the same place")
    for i in rows:
        _check_pose(views.world_to_cam[i], views.names[i])
        K = np.asarray(views.K[i])
        if not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise InputError("its focal lengths are not above 0", where=f"K of view {views.names[i]}",
                             mend="Give K in pixels with positive focal lengths")
        if not np.isfinite(views.images[i]).all():
            raise InputError("the picture holds samples that are not finite", where=f"view {views.names[i]}",
                             mend="Repair the picture or leave the view out")


def _check_pose(pose: np.ndarray, name: str) -> None:
    where, rotation = f"pose of view {name}", pose[:3, :3]
    if not np.isfinite(pose).all():
        raise InputError("it holds numbers that are not finite", where=where, mend="Leave the view out")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > RIGID or not np.allclose(pose[3], [0, 0, 0, 1]):
        raise InputError("it is no rotation and translation", where=where,
                         mend="Give world-to-camera matrices without scale or shear")
    if np.linalg.det(rotation) < 0:
        raise InputError("its rotation is mirrored (determinant -1)", where=where,
                         mend="An axis is flipped: OpenCV's are x right, y down, z forward")


def check_range(near: float, far: float, where: str = "near and far") -> None:
    """Raises InputError where 0 < near < far does not hold."""
    if not (np.isfinite(near) and np.isfinite(far)):
        raise InputError(f"{near:g} and {far:g}", where=where, mend="Give the least and greatest z depth of the scene")
    if near <= 0:
        raise InputError(f"the depth range begins at {near:g}", where=where,
                         mend="Planes lie in front of the camera: near must be above 0")
    if far <= near:
        raise InputError(f"the depth range is reversed or empty ({near:g} to {far:g})", where=where,
                         mend="near must be less than far")


def padded_frame(views: PosedImages, reference: str, others: Sequence[str], near_far: tuple[float, float],
                 max_pad: float = 0.25, multiple: int = 4) -> MpiFrame:
    """The reference camera's frame, grown until what the other views see between near and far lies in it.

    Args:
        views: all pictures.
        reference: whose camera the planes are parallel to.
        others: views to be covered.
        near_far: of the planes.
        max_pad: at most this share of the reference picture's width and height is added on a side; 0 for none.
        multiple: both sides of the frame become multiples of it (2^(levels - 1) for a pyramid).

    Raises:
        InputError: a bad depth range.
    """
    check_range(*near_far)
    i = int(view_rows(views, [reference])[0])
    height, width = views.images.shape[-2:]
    low, high = np.zeros(2), np.array([width, height], float)
    for j in view_rows(views, others):
        seen = _corners_in_reference(views, i, j, near_far)
        if seen.size:
            low, high = np.minimum(low, seen.min(axis=0)), np.maximum(high, seen.max(axis=0))
    limit = np.floor(max_pad * np.array([width, height]))
    left, top = (int(v) for v in np.minimum(np.ceil(-low), limit))
    right, bottom = (int(v) for v in np.minimum(np.ceil(high - [width, height]), limit))
    right += -(left + width + right) % multiple
    bottom += -(top + height + bottom) % multiple
    K = np.asarray(views.K[i], np.float64).copy()
    K[:2, 2] += left, top
    return MpiFrame(K, (top + height + bottom, left + width + right), np.asarray(views.world_to_cam[i], np.float64),
                    float(near_far[0]), float(near_far[1]), (top, left, height, width))


def _corners_in_reference(views: PosedImages, i: int, j: int, near_far) -> np.ndarray:
    """[<= 8, 2] pixels of picture i where the corner rays of picture j cross the depths near and far of camera i."""
    height, width = views.images.shape[-2:]
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
    target_to_ref = compose(views.world_to_cam[i], invert(views.world_to_cam[j]))
    rays = corners @ np.linalg.inv(views.K[j]).T @ target_to_ref[:3, :3].T
    origin = target_to_ref[:3, 3]
    pixels = []
    for z in near_far:
        reach = (z - origin[2]) / np.where(np.abs(rays[:, 2]) > 1e-9, rays[:, 2], np.nan)
        points = origin + rays * reach[:, None]
        points = points[reach > 0] @ np.asarray(views.K[i]).T
        pixels.append(points[:, :2] / points[:, 2:])
    return np.concatenate(pixels)


def choose_reference(views: PosedImages, train: Sequence[str]) -> str:
    """The train view in the middle: least sum of angle and of baseline (in units of their median) to the others."""
    poses = views.world_to_cam[view_rows(views, train)]
    centres = camera_centre(poses)
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    angle = rotation_angle(poses[:, None], poses[None])
    cost = sum(d.sum(axis=1) / max(np.median(d), 1e-12) for d in (distance, angle))
    return tuple(train)[int(np.argmin(cost))]


def depth_range(views: PosedImages, reference: str, points=None, percentiles=(1.0, 99.0), margin: float = 0.05):
    """Near and far for the planes: of sparse points in the reference camera, or else what the data set states.

    Args:
        views: with `near_far` where there are no points.
        reference: a view's name.
        points: [P, 3] world coordinates, or None. Those count that lie in the reference picture.
        percentiles: of the points' z depth; the rest are taken for outliers.
        margin: the range of points is widened by this share of its inverse depth at each end.

    Raises:
        InputError: neither points nor a stated range, or a bad one.
    """
    i = int(view_rows(views, [reference])[0])
    if points is None:
        if views.near_far is None or not np.isfinite(views.near_far[i]).all():
            raise InputError("no depth range is known", where=f"view {reference}",
                             mend="State near and far, or give the sparse points of the reconstruction")
        near, far = (float(v) for v in views.near_far[i])
        check_range(near, far, f"depth range of view {reference}")
        return near, far
    depths = depths_in_picture(views, i, points)
    if len(depths) < 2:
        raise InputError(f"{len(depths)} sparse points lie in the picture", where=f"view {reference}",
                         mend="State near and far, or take another reference")
    high, low = 1 / np.percentile(depths, percentiles)
    spread = margin * (high - low)
    near, far = float(1 / (high + spread)), float(1 / max(low - spread, 1e-3 * low))
    check_range(near, far, f"sparse points in view {reference}")
    return near, far


def depths_in_picture(views: PosedImages, i: int, points) -> np.ndarray:
    """[K] z depths, in camera i, of those world points [P, 3] that lie in its picture."""
    camera = np.asarray(points, float) @ views.world_to_cam[i, :3, :3].T + views.world_to_cam[i, :3, 3]
    camera = camera[camera[:, 2] > 0]
    pixels = camera @ np.asarray(views.K[i]).T
    size = np.array(views.images.shape[:1:-1])
    inside = ((pixels[:, :2] > 0) & (pixels[:, :2] < pixels[:, 2:] * size)).all(axis=1)
    return camera[inside, 2]
