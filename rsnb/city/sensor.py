"""What a line scanner makes of a scene: blur, sampling, shift, noise; and exact means over pixels of any size.

All of it is separable: a picture is `rows @ scene @ columns.T` with one sparse matrix an axis, so every pixel is the
exact integral of the finely sampled scene under its kernel, whatever the ratio of the two grids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import ndtr

FWHM_IN_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass(frozen=True)
class Sensor:
    """One instrument's optics and electronics.

    Attributes:
        fwhm_px: full width at half maximum of its Gaussian point-spread function, detector included, in its own
            pixels; 0: a pixel is the plain mean over its area.
        noise: standard deviation of the noise, reflectance.
        gain_noise: noise relative to the signal.
    """

    fwhm_px: float = 1.0
    noise: float = 0.0015
    gain_noise: float = 0.004

    def noisy(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """`image` [...] float32 with noise."""
        return image + rng.standard_normal(image.shape, dtype=np.float32) * (self.noise + self.gain_noise * image)


HIGH_RESOLUTION = Sensor(fwhm_px=1.3, noise=0.0008, gain_noise=0.003)  # of the 1.5 m pictures, SPOT-like


def sampling_matrix(n_fine: int, n_pixels: int, fwhm_px: float = 0.0, shift_px: float = 0.0) -> sparse.csr_array:
    """[n_pixels, n_fine] float32 weights that turn n_fine cells of a line into n_pixels over the same length.

    Args:
        n_fine, n_pixels: cells of the scene, pixels of the picture.
        fwhm_px: of a Gaussian kernel, pixels; 0: the mean over the pixel.
        shift_px: the picture's pixels see this much further along the axis than they should. At the ends the scene is
            taken to go on as its last cell.
    """
    ratio = n_fine / n_pixels
    centre = (np.arange(n_pixels) + 0.5 + shift_px) * ratio
    sigma = fwhm_px / FWHM_IN_SIGMA * ratio
    reach = int(np.ceil(0.5 * ratio if sigma == 0 else 3.5 * sigma)) + 1
    first = np.floor(centre).astype(int) - reach
    edge = first[:, None] + np.arange(2 * reach + 2)
    if sigma == 0:
        total = np.clip(edge - centre[:, None], -ratio / 2, ratio / 2)
    else:
        total = ndtr((edge - centre[:, None]) / sigma)
    weight = np.diff(total, axis=1)
    weight /= weight.sum(axis=1, keepdims=True)
    cell = np.clip(edge[:, :-1], 0, n_fine - 1)
    pixel = np.repeat(np.arange(n_pixels), cell.shape[1])
    matrix = sparse.coo_array((weight.ravel(), (pixel, cell.ravel())), shape=(n_pixels, n_fine)).tocsr()
    matrix.eliminate_zeros()
    return matrix.astype(np.float32)


def sample(scene: np.ndarray, rows: sparse.csr_array, columns: sparse.csr_array) -> np.ndarray:
    """[h, w] picture of a scene [H, W] under two sampling matrices, [h, H] and [w, W]."""
    return np.ascontiguousarray((columns @ (rows @ scene).T).T)


def nearest(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """[..., h, w] of an image [..., H, W] over the same area: the value of the pixel that each centre falls into."""
    row, column = (((np.arange(n) + 0.5) * old / n).astype(int)
                   for n, old in zip(shape, image.shape[-2:], strict=True))
    return image[..., row[:, None], column]
