"""How well a panorama agrees with the ground of its tile: one number a camera height, or one a heading.

Both pictures are reduced to the structure between two angles (lane marks, kerbs, shadows): a Gaussian of `blur.fine`
less one of `blur.coarse`. What is coarser - brightness, haze, the fading of the ground with distance - would outweigh
all that tells one height or heading from another; what is finer never meets its partner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from rsnb.density.flat_ground import Sphere, flat_panorama, require_whole_sphere
from rsnb.errors import InputError
from rsnb.geometry.cameras import as_tensor
from rsnb.metrics.image import LUMA

LEAST_PIXELS = 32
CHANNELS = {"luma": torch.tensor([LUMA]), "colour": torch.tensor([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]])}


@dataclass(frozen=True)
class Blur:
    """Standard deviations of the two Gaussians between which structure is compared, radians."""

    fine: float = math.radians(1.0)
    coarse: float = math.radians(9.0)

    def __post_init__(self):
        if not 0 < self.fine < self.coarse < math.pi:
            raise InputError(f"blurs of {self.fine} and {self.coarse} rad", where="Blur",
                             mend="Give 0 < fine < coarse < pi")


class GroundMatch:
    """One pair, ready to be compared at many camera heights and headings.

    Args:
        tile: [3, S, S] in 0..1, row 0 north.
        panorama: [3, H, W] in 0..1.
        sphere: what the panorama shows; its heading is what the pair states.
        channels: "luma", or "colour": the differences green - red and blue - red, averaged.
        blur: between which angles structure counts.
        offset: east and north from the tile's middle to the camera, tile pixels.
        name: said in errors.

    Raises:
        InputError: shapes that do not fit, NaN, a panorama that shows nothing below the horizon.
    """

    def __init__(self, tile, panorama, sphere: Sphere, channels: str = "luma", blur: Blur = Blur(),
                 offset: tuple[float, float] = (0.0, 0.0), name: str = "panorama"):
        tile, panorama = (as_tensor(x).detach().cpu().float() for x in (tile, panorama))
        if panorama.ndim != 3 or tuple(panorama.shape) != (3, sphere.rows, sphere.columns):
            raise InputError(f"the panorama has shape {tuple(panorama.shape)}, expected "
                             f"{(3, sphere.rows, sphere.columns)}", where=name)
        if tile.ndim != 3 or tile.shape[0] != 3:
            raise InputError(f"the tile has shape {tuple(tile.shape)}, expected [3, S, S]", where=name)
        if sphere.vertical_fov > math.pi - 1e-6:
            require_whole_sphere(sphere.rows, sphere.columns, name)
        for what, picture in (("tile", tile), ("panorama", panorama)):
            if not torch.isfinite(picture).all():
                raise InputError(f"the {what} holds samples that are not finite", where=name,
                                 mend="Repair or leave out this pair")
        self.sphere, self.offset = sphere, offset
        self._first = int((sphere.elevations >= 0).sum())  # row, the first one below the horizon
        if sphere.rows - self._first < 2:
            raise InputError("the panorama shows nothing below the horizon", where=name,
                             mend="Give the panorama with its ground, and its vertical_fov")
        self._sigmas = [(angle / sphere.vertical_fov * sphere.rows, angle / (2 * math.pi) * sphere.columns)
                        for angle in (blur.fine, blur.coarse)]
        self._area = torch.cos(sphere.elevations).clamp(min=0)[self._first:, None].numpy()
        self._tile = torch.einsum("kc,chw->khw", CHANNELS[channels], tile)
        below = torch.einsum("kc,chw->khw", CHANNELS[channels], panorama[:, self._first:]).double().numpy()
        self._below = [(layer, self._structure(layer, np.broadcast_to(self._area, layer.shape))) for layer in below]

    def at(self, camera_height: float) -> float:
        """Correlation of the structure for a camera `camera_height` tile pixels high, -1..1; nan where hardly a ray
        meets the tile or one of the pictures has no structure there."""
        ground, weight = self._ground(camera_height)
        if np.count_nonzero(weight) < LEAST_PIXELS:
            return math.nan
        return float(np.mean([_correlation(self._structure(a, weight), self._structure(b, weight), weight)
                              for a, (b, _) in zip(ground, self._below, strict=True)]))

    def headings(self, camera_height: float) -> np.ndarray:
        """[W] correlation if the panorama's true heading is the stated one + k / W of a circle, k = 0 .. W - 1."""
        ground, weight = self._ground(camera_height)
        if np.count_nonzero(weight) < LEAST_PIXELS:
            return np.full(self.sphere.columns, math.nan)
        share = weight / weight.sum()
        curves = []
        for layer, (_, below) in zip(ground, self._below, strict=True):
            structure = self._structure(layer, weight)
            structure -= (share * structure).sum()
            # sums over the pixels that meet the tile, for all turns at once: a row is a circle
            product, mean = _all_turns(share * structure, below), _all_turns(share, below)
            spread = (share * structure**2).sum() * (_all_turns(share, below**2) - mean**2)
            curves.append(np.where(spread > 1e-18, product / np.sqrt(np.maximum(spread, 1e-18)), math.nan))
        return np.mean(curves, axis=0)

    def _ground(self, camera_height: float) -> tuple[np.ndarray, np.ndarray]:
        """Channels [K, h, W] of the tile as the rows below the horizon would show it; weights [h, W], solid angle."""
        ground, seen = flat_panorama(self._tile, self.sphere, camera_height, offset=self.offset)
        return ground[:, self._first:].double().numpy(), seen[self._first:].numpy() * self._area

    def _structure(self, image: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """[h, W]: what lies between the two blurs, where the weight is above 0; nothing leaks in from elsewhere."""
        fine, coarse = (gaussian_filter(weight * image, sigma, mode=("nearest", "wrap"))
                        / np.maximum(gaussian_filter(weight, sigma, mode=("nearest", "wrap")), 1e-12)
                        for sigma in self._sigmas)
        return np.where(weight > 0, fine - coarse, 0.0)


def _correlation(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> float:
    weight = weight / weight.sum()
    a, b = a - (weight * a).sum(), b - (weight * b).sum()
    spread = (weight * a**2).sum() * (weight * b**2).sum()
    return float((weight * a * b).sum() / math.sqrt(spread)) if spread > 1e-18 else math.nan


def _all_turns(fixed: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """[W] sum over rows and columns j of fixed[:, j] turned[:, j - k], for k = 0 .. W - 1."""
    spectrum = np.fft.rfft(fixed, axis=1) * np.conj(np.fft.rfft(turned, axis=1))
    return np.fft.irfft(spectrum.sum(axis=0), n=fixed.shape[1])
