"""Do panoramas look where their data set says? The ground of the tile tells, by correlation around the circle.

Straight roads look nearly the same from both ends and woods look the same all round, so a peak alone says little: a
verdict needs one that stands out, and a turn is only told where luma and colour find it independently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rsnb.density.calibrate import ground_match
from rsnb.density.ground_match import Blur
from rsnb.errors import InputError
from rsnb.scenes import TilePanoramaPairs

Verdict = Literal["ok", "turned", "ambiguous"]


@dataclass(frozen=True)
class HeadingOptions:
    """When a heading is believed.

    Attributes:
        tolerance: a stated heading this near the peak is right, radians; two columns are always near enough.
        apart: a second peak counts from this far off the first, radians.
        clear: the second peak must be below this share of the first.
        least: the first peak must be above this correlation.
        search: only turns up to this, radians; pi = the whole circle.
        middle: elevation of the panoramas' middle row, radians.
        blur: structure of which angles is compared.
    """

    tolerance: float = math.radians(5.0)
    apart: float = math.radians(20.0)
    clear: float = 0.75
    least: float = 0.1
    search: float = math.pi
    middle: float = 0.0
    blur: Blur = field(default_factory=Blur)

    def __post_init__(self):
        if not (0 < self.tolerance < math.pi and 0 < self.apart < math.pi and 0 < self.search <= math.pi):
            raise InputError(f"angles of {self.tolerance}, {self.apart} and {self.search} rad", where="HeadingOptions",
                             mend="Give tolerance, apart and search in radians, above 0, up to pi")


@dataclass(frozen=True)
class HeadingCheck:
    """What the ground says about the heading of one pair.

    Attributes:
        id: of the pair.
        shift_deg: true heading less stated heading at the peak of the luma, -180..180.
        score: correlation there; at_stated: at the stated heading.
        second: the best score at least `apart` away, and second_deg where it lies.
        colour_deg: where the peak of the colours lies.
        verdict: "ok": the peak stands out and the stated heading lies within the tolerance of it; "turned": it stands
            out elsewhere, and the colours agree; "ambiguous": neither.
        curve: [W] the luma's correlation at turns of 0, 1 / W, 2 / W ... of a circle.
    """

    id: str
    shift_deg: float
    score: float
    at_stated: float
    second: float
    second_deg: float
    colour_deg: float
    verdict: Verdict
    curve: np.ndarray

    @property
    def ambiguity(self) -> float:
        """Second peak over first: 0 = unique, 1 = two as good as each other."""
        return max(self.second, 0.0) / self.score if self.score > 0 else 1.0


def check_headings(pairs: TilePanoramaPairs, camera_height_px: float | None = None,
                   options: HeadingOptions = HeadingOptions()) -> list[HeadingCheck]:
    """One check a pair.

    Args:
        pairs: with their stated headings.
        camera_height_px: above the ground, in pixels of the tiles (`calibrate`); None = from the pairs' camera_height_m
            and tile_extent_m.
        options: when a heading is believed.

    Raises:
        InputError: no pair, NaN, no camera height to be had, or one that is not above 0.
    """
    if len(pairs) < 1:
        raise InputError("there is no pair to check", where="pairs", mend="Give at least one pair")
    if camera_height_px is None:
        if pairs.camera_height_m is None or pairs.tile_extent_m is None:
            raise InputError("neither camera_height_px nor both camera_height_m and tile_extent_m are known",
                             where="check_headings", mend="Give camera_height_px; `calibrate` measures it")
        camera_height_px = pairs.camera_height_m / pairs.tile_extent_m * pairs.tiles.shape[-1]
    if not 0 < camera_height_px < math.inf:
        raise InputError(f"camera_height_px is {camera_height_px!r}", where="check_headings",
                         mend="Give tile pixels above 0")
    return [_check(pairs, index, camera_height_px, options) for index in range(len(pairs))]


def _check(pairs: TilePanoramaPairs, index: int, height: float, options: HeadingOptions) -> HeadingCheck:
    luma, colour = (ground_match(pairs, index, channels, options.middle, options.blur).headings(height)
                    for channels in ("luma", "colour"))
    columns = len(luma)
    turns = (np.arange(columns) + columns / 2) % columns / columns * 2 * math.pi - math.pi
    allowed = np.abs(turns) <= options.search + 1e-9
    if not np.isfinite(luma[allowed]).any():
        return HeadingCheck(pairs.ids[index], *[math.nan] * 6, "ambiguous", luma)
    luma, colour = np.nan_to_num(luma, nan=-1.0), np.nan_to_num(colour, nan=-1.0)
    best = int(np.where(allowed, luma, -np.inf).argmax())
    other = allowed & (np.abs(_wrapped(turns - turns[best])) >= options.apart)
    second = int(np.where(other, luma, -np.inf).argmax()) if other.any() else best
    tint = int(np.where(allowed, colour, -np.inf).argmax())
    stands_out = luma[best] >= options.least and (not other.any() or luma[second] < options.clear * luma[best])
    tolerance = max(options.tolerance, 2.01 * 2 * math.pi / columns)
    near = abs(turns[best]) <= tolerance
    agreed = abs(_wrapped(turns[best] - turns[tint])) <= 2 * tolerance
    verdict = "ambiguous" if not stands_out else "ok" if near else "turned" if agreed else "ambiguous"
    runner_up = (luma[second], math.degrees(turns[second])) if other.any() else (0.0, math.nan)
    return HeadingCheck(pairs.ids[index], math.degrees(turns[best]), float(luma[best]), float(luma[0]),
                        float(runner_up[0]), runner_up[1], math.degrees(turns[tint]), verdict, luma)


def _wrapped(angle):
    """To -pi..pi."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
