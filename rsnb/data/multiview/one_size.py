"""Pictures of several sizes brought to one, so that they can be one array: each loses its border, K follows exactly."""

from __future__ import annotations

import numpy as np

from rsnb.geometry.intrinsics import scale_intrinsics

_SHAPE = 0.02  # pictures whose ratio of sides differs by less are the same picture format in another number of pixels

Frame = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def crop_to_one_size(frames: list[Frame]) -> list[Frame]:
    """Cut pictures to the least width and height among them.

    Pictures of the same ratio of sides are averaged down to the smallest of that ratio first; then each is cut about
    its principal point, as near to it as its border allows.

    Args:
        frames: (image [3, H, W], K [3, 3] with pixel centres at +0.5, z depth [H, W] or None) of each view; K nan for
            pictures of the whole sphere, which are cut about their middle.

    Returns:
        The same in one size.
    """
    small = [_down(frame, min((other for other in frames if _alike(frame, other)), key=_width)) for frame in frames]
    height, width = (min(frame[0].shape[axis] for frame in small) for axis in (1, 2))
    return [_cut(frame, width, height) for frame in small]


def _width(frame: Frame) -> int:
    return frame[0].shape[2]


def _alike(one: Frame, two: Frame) -> bool:
    (h1, w1), (h2, w2) = one[0].shape[1:], two[0].shape[1:]
    return abs(w1 * h2 / (h1 * w2) - 1) < _SHAPE


def _down(frame: Frame, smallest: Frame) -> Frame:
    """The picture in the number of pixels of a smaller one of its shape."""
    import cv2

    image, K, depth = frame
    (height, width), (new_height, new_width) = image.shape[1:], smallest[0].shape[1:]
    if (height, width) == (new_height, new_width):
        return frame
    picture = cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), (new_width, new_height),
                         interpolation=cv2.INTER_AREA)
    if depth is not None:
        depth = cv2.resize(depth, (new_width, new_height), interpolation=cv2.INTER_NEAREST_EXACT)
    return picture.transpose(2, 0, 1), scale_intrinsics(K, (width, height), (new_width, new_height)), depth


def _cut(frame: Frame, width: int, height: int) -> Frame:
    image, K, depth = frame
    spare = np.array([image.shape[2] - width, image.shape[1] - height])
    middle = np.where(np.isfinite(K[:2, 2]), K[:2, 2], np.array(image.shape[:0:-1]) / 2)
    left, top = np.clip(np.round(middle - [width / 2, height / 2]), 0, spare).astype(int)
    K = K.copy()
    K[:2, 2] -= left, top
    rows, columns = slice(top, top + height), slice(left, left + width)
    return np.ascontiguousarray(image[:, rows, columns]), K, None if depth is None else depth[rows, columns]
