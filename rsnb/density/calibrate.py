"""How high the camera stood, in tile pixels, from the pictures of pairs alone.

A tile painted on flat ground and seen from the right height looks like the lower half of its panorama. One height is
fitted to all pairs of a data set, as one vehicle took them. Pixels are all that pictures can tell: with the tile's
extent the height follows in metres, with the camera's height the extent (Sat2Density states 2 m and 30 m a tile for
CVACT, 17 pixels of 256, where the pictures say 12).

What stands up looks farther away than it is and what lies above the carriageway looks nearer: on the city the height
comes out up to 3 % low (9.79 for 10 pixels, interval 9.66 to 9.92, 24 pairs). CVUSA's horizon does not lie in the
middle of its panoramas: `middle` at 4 to 6 degrees nearly doubles the correlation there.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass, field

import numpy as np

from rsnb.density.flat_ground import Sphere
from rsnb.density.ground_match import Blur, GroundMatch
from rsnb.errors import InputError
from rsnb.scenes import TilePanoramaPairs


@dataclass(frozen=True)
class CalibrationOptions:
    """How the height is searched.

    Attributes:
        lowest, highest: camera heights to try, shares of the tile's side.
        steps: heights between them, in equal ratios; the peak is interpolated.
        middle: elevation of the panoramas' middle row, radians; 0 = the horizon lies in the middle.
        blur: structure of which angles is compared.
        draws: bootstrap samples of the pairs for the interval.
        confidence: share of the draws inside the interval.
        seed: of the draws.

    Raises:
        InputError: heights that are no range above 0, fewer than 5 steps or 1 draw, a share outside 0..1.
    """

    lowest: float = 0.01
    highest: float = 0.16
    steps: int = 41
    middle: float = 0.0
    blur: Blur = field(default_factory=Blur)
    draws: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.lowest < self.highest < math.inf:
            raise InputError(f"heights from {self.lowest} to {self.highest} tile sides", where="CalibrationOptions",
                             mend="Give 0 < lowest < highest")
        if self.steps < 5 or self.draws < 1 or not 0 < self.confidence < 1:
            raise InputError(f"{self.steps} steps, {self.draws} draws, confidence {self.confidence}",
                             where="CalibrationOptions",
                             mend="Give at least 5 steps and 1 draw, and a confidence between 0 and 1")


@dataclass(frozen=True)
class CameraHeight:
    """What the pairs say about the height of their camera.

    Attributes:
        pixels: the height, pixels of the tile.
        interval: lower and upper bound of it, pixels; nan where there is one pair only.
        correlation: mean over the pairs at the peak.
        at_edge: the peak lies at an end of the heights tried: no measurement.
        heights: [K] tried, pixels.
        curves: [N, K] correlation of each pair at each height.
        ids: the N pairs that were used, each pair of pictures once.
        duplicates: the pairs left out because their pictures are those of another.
        tile_px: side of the tiles.
    """

    pixels: float
    interval: tuple[float, float]
    correlation: float
    at_edge: bool
    heights: np.ndarray
    curves: np.ndarray
    ids: tuple[str, ...]
    duplicates: tuple[str, ...]
    tile_px: int

    def per_pair(self) -> np.ndarray:
        """[N] height at each pair's own peak, pixels."""
        return np.array([_peak(self.heights, curve) for curve in self.curves])

    def metres(self, tile_extent_m: float) -> float:
        """The height in metres if a tile is so wide."""
        return self.pixels / self.tile_px * _positive(tile_extent_m, "tile_extent_m")

    def tile_extent_m(self, camera_height_m: float) -> float:
        """The width of a tile in metres if the camera stood so high."""
        return self.tile_px / self.pixels * _positive(camera_height_m, "camera_height_m")


def calibrate_camera_height(pairs: TilePanoramaPairs,
                            options: CalibrationOptions = CalibrationOptions()) -> CameraHeight:
    """Fit one camera height to all pairs; their own camera_height_m is not looked at.

    Args:
        pairs: headings must be right (`alignment.check_headings`); of tile_extent_m only the offsets make use.
        options: the search.

    Raises:
        InputError: no pair, NaN, panoramas without ground, offsets without tile_extent_m, no structure at all.
    """
    if len(pairs) < 1:
        raise InputError("there is no pair to calibrate with", where="pairs", mend="Give at least one pair")
    kept, duplicates = _distinct(pairs)
    size = pairs.tiles.shape[-1]
    heights = size * np.geomspace(options.lowest, options.highest, options.steps)
    curves = np.full((len(kept), options.steps), math.nan)
    for row, index in enumerate(kept):
        match = ground_match(pairs, index, middle=options.middle, blur=options.blur)
        curves[row] = [match.at(height) for height in heights]
    known = np.isfinite(curves).all(axis=1)
    if not known.any():
        raise InputError("no pair has structure on the ground at all heights", where="pairs",
                         mend="Give larger pictures, or a narrower range of heights")
    if not known.all():
        blank = ", ".join(pairs.ids[i] for i in np.array(kept)[~known])
        warnings.warn(f"{(~known).sum()} of {len(kept)} pairs show no structure on the ground and are left out: "
                      f"{blank}", stacklevel=2)
    curves, kept = curves[known], [i for i, good in zip(kept, known, strict=True) if good]
    mean = curves.mean(axis=0)
    best = int(mean.argmax())
    return CameraHeight(_peak(heights, mean), _interval(heights, curves, options), float(mean[best]),
                        best in (0, options.steps - 1), heights, curves, tuple(pairs.ids[i] for i in kept),
                        tuple(pairs.ids[i] for i in duplicates), size)


def ground_match(pairs: TilePanoramaPairs, index: int, channels: str = "luma", middle: float = 0.0,
                 blur: Blur = Blur()) -> GroundMatch:
    """One of the pairs, ready to be compared; `middle` = elevation of the panorama's middle row, radians.

    Raises:
        InputError: as `GroundMatch`; an offset without tile_extent_m, a tile_extent_m that is not above 0.
    """
    rows, columns = pairs.panoramas.shape[-2:]
    offset = (0.0, 0.0)
    if pairs.offset_m is not None and np.any(pairs.offset_m[index]):
        if pairs.tile_extent_m is None:
            raise InputError("the cameras stand off the tiles' middle by metres, but nobody states how wide a tile is",
                             where="tile_extent_m", mend="State it, or give pairs without offset_m")
        scale = pairs.tiles.shape[-1] / _positive(pairs.tile_extent_m, "tile_extent_m")
        offset = tuple(float(v) * scale for v in pairs.offset_m[index])
    sphere = Sphere(rows, columns, pairs.vertical_fov, float(pairs.heading[index]), middle)
    return GroundMatch(pairs.tiles[index], pairs.panoramas[index], sphere, channels, blur, offset, pairs.ids[index])


def _distinct(pairs: TilePanoramaPairs) -> tuple[list[int], list[int]]:
    """Indices of the pairs whose two pictures come for the first time, and of the others."""
    seen, kept, again = set(), [], []
    for i in range(len(pairs)):
        digest = hashlib.sha256(pairs.tiles[i].tobytes() + pairs.panoramas[i].tobytes()).digest()
        (again if digest in seen else kept).append(i)
        seen.add(digest)
    return kept, again


def _peak(heights: np.ndarray, curve: np.ndarray) -> float:
    """The height of the largest value, by a parabola through it and its neighbours in log height."""
    best = int(np.argmax(curve))
    if best in (0, len(curve) - 1):
        return float(heights[best])
    before, top, after = curve[best - 1:best + 2]
    bend = before - 2 * top + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(heights[best] * (heights[1] / heights[0]) ** shift)


def _interval(heights: np.ndarray, curves: np.ndarray, options: CalibrationOptions) -> tuple[float, float]:
    if len(curves) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(options.seed)
    draws = rng.integers(0, len(curves), (options.draws, len(curves)))
    peaks = [_peak(heights, curves[draw].mean(axis=0)) for draw in draws]
    tail = (1 - options.confidence) / 2
    low, high = np.quantile(peaks, [tail, 1 - tail])
    return float(low), float(high)


def _positive(value: float, name: str) -> float:
    if not 0 < float(value) < math.inf:
        raise InputError(f"{name} is {value!r}", where=name, mend="Give metres above 0")
    return float(value)
