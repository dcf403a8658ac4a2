"""Clouds over a place: fractal fields of any cover, their shadows where the sun puts them, and a scene classification.

A cloud deck is one random field on a ladder of lattices (cubic B-splines, each finer one weaker), cut off so that the
wanted share of the picture is covered. It hangs at one height; seen from straight above, the shadow of a cloud lies
height / tan(sun elevation) away from it, on the side away from the sun.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from rsnb.city.grids import Grid
from rsnb.city.sensor import sample, sampling_matrix
from rsnb.city.sun import Sun

CLOUDY = 0.2  # opacity from which a pixel counts as cloud, and darkening from which it counts as shadow
# Of thick cloud in the 12 bands: bright and nearly grey, darker in the short-wave infrared, dark in the water band B09.
CLOUD_REFLECTANCE = np.array([0.62, 0.62, 0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 0.65, 0.36, 0.42, 0.32], np.float32)
# Part of the light under a cloud that is left, by band: blue sky light fills shadows more than infrared.
SHADOW_LEFT = np.array([0.50, 0.47, 0.41, 0.36, 0.34, 0.33, 0.31, 0.30, 0.30, 0.30, 0.26, 0.25], np.float32)


@dataclass(frozen=True)
class CloudCover:
    """Clouds over one grid on one date; all arrays [H, W] float32, 0..1.

    Attributes:
        opacity: of clouds, seen from above.
        cirrus: opacity of the thin high veil.
        shade: share of the sunlight that clouds keep from the ground.
        height_m: of the deck above the ground.
    """

    opacity: np.ndarray
    cirrus: np.ndarray
    shade: np.ndarray
    height_m: float

    def resized(self, shape: tuple[int, int]) -> CloudCover:
        """The same clouds in coarser pixels: the mean over each."""
        if shape == self.opacity.shape:
            return self
        rows, columns = (sampling_matrix(n, m) for n, m in zip(self.opacity.shape, shape, strict=True))
        return CloudCover(*(sample(a, rows, columns) for a in (self.opacity, self.cirrus, self.shade)), self.height_m)

    @property
    def cloud(self) -> np.ndarray:
        """bool: cloud or cirrus."""
        return (self.opacity >= CLOUDY) | (self.cirrus >= CLOUDY / 2)

    @property
    def shadow(self) -> np.ndarray:
        """bool: in the shadow of a cloud, and not under one."""
        return (self.shade >= CLOUDY) & ~self.cloud

    def over(self, image: np.ndarray, bands: list[int]) -> np.ndarray:
        """A clear image [B, H, W] seen through these clouds; `bands` are places in `seasons.BANDS`."""
        left = SHADOW_LEFT[bands][:, None, None]
        shaded = image * (1.0 - self.shade * (1.0 - left))
        bright = CLOUD_REFLECTANCE[bands][:, None, None] * (0.75 + 0.35 * self.opacity)
        seen = shaded + self.opacity * (bright - shaded)
        veil = 0.5 * CLOUD_REFLECTANCE[bands][:, None, None]
        return (seen + self.cirrus * (veil - seen)).astype(np.float32)


def make_clouds(grid: Grid, sun: Sun, cover: float, rng: np.random.Generator, cirrus: float = 0.0,
                height_m: float | None = None) -> CloudCover:
    """Clouds of a given cover over a grid.

    Args:
        grid: pixels of the product.
        sun: its position; the grid's upward direction may differ from north.
        cover: share of the pixels with an opacity of at least `CLOUDY`, 0..1; 0: none, 1: overcast.
        rng: of everything random.
        cirrus: share of the pixels under a thin veil.
        height_m: of the deck; drawn from 500 to 1400 m if None.
    """
    drawn = float(rng.uniform(500.0, 1400.0))
    height_m = drawn if height_m is None else float(height_m)
    wide, high = grid.pixel_m
    azimuth = sun.azimuth - grid.up_bearing
    away = height_m / np.tan(max(sun.elevation, 0.05))  # metres from a cloud to its shadow
    right, down = away * np.sin(azimuth) / wide, -away * np.cos(azimuth) / high  # pixels from a shadow to its cloud
    pad = int(np.ceil(max(abs(right), abs(down)))) + 2
    shape = (grid.shape[0] + 2 * pad, grid.shape[1] + 2 * pad)
    inside = (slice(pad, -pad), slice(pad, -pad))
    field = _fractal(shape, (high, wide), rng, 1300.0)
    opacity = np.zeros(shape, np.float32)
    if cover > 0:
        threshold = np.quantile(field[inside], 1.0 - cover) if cover < 1 else field.min() - 0.3
        opacity = _opacity(field, threshold)
    shade = ndimage.shift(opacity, (-down, -right), order=1, mode="nearest")
    veil = np.zeros(shape, np.float32)
    if cirrus > 0:
        high_field = _fractal(shape, (high, 0.35 * wide), rng, 2600.0)
        excess = high_field - np.quantile(high_field[inside], 1.0 - cirrus)
        veil = np.where(excess > 0, CLOUDY / 2 + 0.12 * (1 - np.exp(-2 * np.maximum(excess, 0))), 0.0)
        veil = ndimage.gaussian_filter(veil, 2.0)
    return CloudCover(*(np.ascontiguousarray(a[inside], np.float32) for a in (opacity, veil, shade)), height_m)


def _opacity(field: np.ndarray, threshold: float) -> np.ndarray:
    """Grows from `CLOUDY` at the threshold towards 1 inside, and fades to 0 just outside."""
    depth = np.maximum(field - threshold + 0.1, 0.0)
    return (1.0 - np.exp(-depth * (-np.log(1.0 - CLOUDY) / 0.1))).astype(np.float32)


def _fractal(shape, pixel_m, rng: np.random.Generator, longest_m: float) -> np.ndarray:
    """[H, W] random field of unit spread, its features from `longest_m` down to 1/32 of it."""
    total = np.zeros(shape)
    for octave in range(6):
        length = longest_m / 2**octave
        bases = [_spline_basis(n * step / length, n) for n, step in zip(shape, pixel_m, strict=True)]
        lattice = rng.standard_normal((bases[0].shape[1], bases[1].shape[1]))
        total += 0.6**octave * (bases[0] @ lattice @ bases[1].T)
    return (total - total.mean()) / max(total.std(), 1e-9)


def _spline_basis(cells: float, n: int) -> np.ndarray:
    """[n, K] cubic B-splines on a lattice of step 1 at n pixel centres along a line of `cells` steps."""
    at = (np.arange(n) + 0.5) / n * cells
    distance = np.abs(at[:, None] - np.arange(-1, int(np.ceil(cells)) + 3)[None])
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2
    far = np.clip(2.0 - distance, 0.0, None) ** 3 / 6
    return np.where(distance < 1, near, far)


def classify(clouds: CloudCover, clear: np.ndarray, light: np.ndarray, cover: np.ndarray,
             rng: np.random.Generator, mistakes: bool = True) -> np.ndarray:
    """[H, W] uint8 scene classification as Sen2Cor's, with its usual mistakes.

    3 cloud shadow, 4 vegetation, 5 not vegetated, 6 water, 8 and 9 cloud of medium and high probability, 10 cirrus;
    2 dark area where houses or trees shade the ground. Mistakes: the brightest roofs pass for cloud, a few thin edges
    of clouds are missed, some shadows are called dark areas, a few cloud tops snow (11).

    Args:
        clouds: the truth, on this grid.
        clear: [3, H, W] red, nir, swir16 of the clear image.
        light: [H, W] mean light on the pixel, 1 = level and lit.
        cover: [H, W] 6 where the pixel is mostly water.
        mistakes: False: what a perfect observer would say.
    """
    red, nir, swir = clear
    greenness = (nir - red) / np.maximum(nir + red, 1e-6)
    classes = np.where(greenness > 0.4, 4, 5).astype(np.uint8)
    classes[(light < 0.5) & (classes == 5)] = 2
    classes[cover == 6] = 6
    classes[clouds.shadow] = 3
    classes[(clouds.cirrus >= CLOUDY / 2)] = 10
    classes[clouds.opacity >= CLOUDY] = 8
    classes[clouds.opacity >= 0.55] = 9
    if mistakes:
        bright = (red > max(0.22, float(np.quantile(red, 0.9985)))) & (classes == 5)
        classes[bright] = 8
        edge = (clouds.opacity >= CLOUDY) & (clouds.opacity < 0.3) & (rng.random(red.shape) < 0.35)
        classes[edge] = np.where(greenness > 0.4, 4, 7)[edge]
        classes[(clouds.opacity > 0.9) & (rng.random(red.shape) < 0.004)] = 11
        weak = (classes == 3) & (clouds.shade < 0.35) & (rng.random(red.shape) < 0.5)
        classes[weak] = 2
    return classes
