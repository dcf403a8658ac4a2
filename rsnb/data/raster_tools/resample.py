"""Pictures and stacks at another number of pixels over the same footprint."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rsnb.data.raster_grid import RasterGrid
from rsnb.errors import InputError
from rsnb.scenes import DatedStack


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys 1981 with a = -1/2, as Pillow; torch and OpenCV take -3/4."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


# Kernel and its half width in pixels.
KERNELS: dict[str, tuple[Callable, float]] = {
    "nearest": (lambda x: ((x >= -0.5) & (x < 0.5)).astype(float), 0.5),
    "average": (lambda x: ((x > -0.5) & (x <= 0.5)).astype(float), 0.5),
    "bilinear": (lambda x: np.clip(1 - np.abs(x), 0, None), 1.0),
    "bicubic": (_cubic, 2.0),
}


def resample_images(images: np.ndarray, height: int, width: int, method: str = "bicubic", antialias: bool = True
                    ) -> np.ndarray:
    """Images at height x width pixels over the same footprint: corners stay where they are (half-pixel right).

    Without missing data "bicubic", "bilinear" and "average" with antialias equal Pillow's `resize` in float.

    Args:
        images: [..., H, W].
        height, width: wanted.
        method: "bicubic", "bilinear", "nearest", or "average" (of the pixels whose centres lie in the wanted one).
        antialias: widen the kernel when pixels get larger; without it detail folds over into false patterns.

    Returns:
        [..., height, width] float32. Pixels without data (nan) do not spread: the others' weights are scaled up, and
        where less than half of the weight has data the result is nan.

    Raises:
        InputError: another method, or no pixels wanted.
    """
    images = np.asarray(images, np.float64)
    if method not in KERNELS:
        raise InputError(f"method = {method!r}", where="resample_images", mend=f"Choose one of {', '.join(KERNELS)}")
    if min(height, width) < 1 or images.ndim < 2 or not images.size:
        raise InputError(f"{height} x {width} pixels of {images.shape}", where="resample_images",
                         mend="Give at least one pixel each way")
    rows = kernel_matrix(images.shape[-2], height, method, antialias)
    cols = kernel_matrix(images.shape[-1], width, method, antialias)
    there = np.isfinite(images)
    if there.all():
        return _apply(images, rows, cols).astype(np.float32)
    value = _apply(np.where(there, images, 0.0), rows, cols)
    weight = _apply(there.astype(np.float64), rows, cols)
    return np.where(weight > 0.5, value / np.where(weight > 0.5, weight, 1.0), np.nan).astype(np.float32)


def resample_space(stack: DatedStack, scale: float | tuple[float, float] | None = None, *,
                   size: tuple[int, int] | None = None, method: str = "bicubic", antialias: bool = True) -> DatedStack:
    """A stack with more (scale > 1) or fewer pixels over the same footprint, its transform with them.

    Args:
        stack: any.
        scale: new pixels per old one, one number or (down, along); sizes are rounded, the transform takes up the rest.
        size: (height, width) instead.
        method, antialias: as `resample_images`.

    A pixel is clear where at least half of what it is made of is (bilinear weights, whatever the method).

    Raises:
        InputError: both or none of scale and size, or a scale that is not positive.
    """
    if (scale is None) == (size is None):
        raise InputError("give either scale or size", where="resample_space")
    h, w = stack.images.shape[-2:]
    if size is None:
        down, along = (scale, scale) if np.isscalar(scale) else scale
        if not (down > 0 and along > 0 and math.isfinite(down) and math.isfinite(along)):
            raise InputError(f"scale = {scale}", where="resample_space", mend="Give a positive number")
        size = max(1, round(h * down)), max(1, round(w * along))
    way = "nearest" if method == "nearest" else "bilinear"
    images = resample_images(stack.images, *size, method=method, antialias=antialias)
    clear = resample_images(stack.clear, *size, method=way, antialias=antialias) >= 0.5
    grid = RasterGrid(h, w, stack.transform, stack.crs).scaled(*size)
    return replace(stack, images=images, clear=clear & np.isfinite(images).all(axis=1), transform=grid.transform)


def kernel_matrix(n: int, wanted: int, method: str, antialias: bool = True):
    """[wanted, n] sparse matrix of weights, rows summing to 1; kernels are cut at the rim as Pillow cuts them."""
    from scipy.sparse import csr_matrix

    kernel, half = KERNELS[method]
    step = n / wanted
    centre = (np.arange(wanted) + 0.5) * step
    if method == "nearest":
        columns = np.minimum(np.floor(centre).astype(int), n - 1)
        return csr_matrix((np.ones(wanted), (np.arange(wanted), columns)), shape=(wanted, n))
    wide = max(step, 1.0) if antialias or method == "average" else 1.0
    first = np.maximum(np.floor(centre - half * wide + 0.5).astype(int), 0)
    end = np.minimum(np.floor(centre + half * wide + 0.5).astype(int), n)
    taps = int((end - first).max())
    columns = first[:, None] + np.arange(taps)
    weights = kernel((columns + 0.5 - centre[:, None]) / wide) * (columns < end[:, None])
    rows = np.repeat(np.arange(wanted), taps)
    weights = weights / weights.sum(axis=1, keepdims=True)
    return csr_matrix((weights.ravel(), (rows, np.minimum(columns, n - 1).ravel())), shape=(wanted, n))


def _apply(images: np.ndarray, rows, cols) -> np.ndarray:
    lead, (h, w) = images.shape[:-2], images.shape[-2:]
    flat = images.reshape(-1, h, w)
    along = (cols @ flat.reshape(-1, w).T).T.reshape(len(flat), h, -1)
    down = rows @ along.transpose(1, 0, 2).reshape(h, -1)
    return down.reshape(rows.shape[0], len(flat), -1).transpose(1, 0, 2).reshape(*lead, rows.shape[0], cols.shape[0])
