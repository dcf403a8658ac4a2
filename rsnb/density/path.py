"""Where a camera goes on a tile, and which way it looks: from points, through clicked points, in equal steps.

Metres of the tile throughout (x east, y north, the origin in its middle); bearings in radians, 0 = north, clockwise.
Sat2Density draws its paths in pixels of a 256-pixel tile, which every function here takes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from rsnb.density.volume import TileFrame
from rsnb.errors import InputError

Unit = Literal["metres", "pixels"]
SAT2DENSITY_PX = 256
STANDSTILL_M = 1e-9  # two points that are nearer than this are one


@dataclass(frozen=True)
class CameraPath:
    """Places on a tile in the order in which a camera comes by.

    Attributes:
        points: [N, 2] float64, tile metres east and north, N >= 2.
        headings: [N] float64, bearing of travel, radians.
    """

    points: np.ndarray
    headings: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    @property
    def length_m(self) -> float:
        """Length of the way, metres."""
        return float(_steps(self.points).sum())

    def positions(self, camera_height_m: float) -> np.ndarray:
        """[N, 3] float64 camera places, tile metres, all at one height above the ground."""
        return np.concatenate([self.points, np.full((len(self), 1), float(camera_height_m))], axis=1)

    def view_headings(self, heading_up: bool = True) -> np.ndarray:
        """[N] radians, bearing of the panorama's centre column: the way ahead, or north (as in Sat2Density)."""
        return self.headings.copy() if heading_up else np.zeros(len(self))


def make_path(points, frame: TileFrame, headings=None, *, unit: Unit = "metres", tile_px: int = SAT2DENSITY_PX,
              where: str = "path", lines: Sequence[int] | None = None) -> CameraPath:
    """A path through given points, looking along it unless told otherwise.

    Args:
        points: [N, 2], or flat, [2 N]: metres east and north of the middle, or (column, row) on a tile of `tile_px`
            pixels a side, the corner being (0, 0).
        frame: the tile.
        headings: [N] bearings, radians; None: along the way (see `travel_headings`).
        unit: of the points.
        tile_px: pixels along the tile, for unit="pixels".
        where: file or argument that an error names.
        lines: [N] its line of each point, from 1; None: errors count points from 0.

    Raises:
        InputError: fewer than two points; one that is not a number or lies outside the tile; a point that repeats the
            one before it, unless headings say where a camera looks that stands still.
    """
    try:
        points = np.asarray(points, np.float64)
        headings = None if headings is None else np.asarray(headings, np.float64)
    except (TypeError, ValueError):
        raise InputError("the path holds something that is not a number", where=where,
                         mend="Give two numbers a point") from None
    if points.ndim == 1 and len(points) % 2:
        raise InputError(f"{len(points)} numbers in a row, which are no pairs", where=where,
                         mend="Give two numbers a point: east, north, east, north ...")
    points = points.reshape(-1, 2) if points.ndim == 1 else points
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
        found = f"of {len(points)} point(s)" if points.shape[1:] == (2,) else f"of shape {points.shape}"
        raise InputError(f"a path {found}", where=where, mend="Give at least two points, [N, 2]")
    if headings is not None and headings.shape != (len(points),):
        raise InputError(f"headings of shape {headings.shape} for {len(points)} points", where=where,
                         mend="Give one bearing a point")
    line = (lambda row: None) if lines is None else (lambda row: lines[row])
    known = np.isfinite(points).all(axis=1) & (True if headings is None else np.isfinite(headings))
    _refuse(~known, points, "is not finite", where, line, "Remove or repair that row")
    metres = _metres(points, frame, unit, tile_px)
    half = frame.half_m * (1 + 1e-9)
    side = f"the {frame.extent_m:g} m tile" + (f" of {tile_px} x {tile_px} pixels" if unit == "pixels" else "")
    _refuse((np.abs(metres) > half).any(axis=1), points, f"lies outside {side}", where, line,
            'Check the unit (metres from the middle, or pixels with unit="pixels") and the tile\'s extent')
    if headings is None:
        _refuse(np.r_[False, _steps(metres) < STANDSTILL_M], points, "repeats the point before it", where, line,
                "Remove it, or give headings: a camera that stands still has no direction")
        headings = travel_headings(metres)
    return CameraPath(metres, _turned(headings))


def smooth_path(points, frame: TileFrame, *, unit: Unit = "metres", tile_px: int = SAT2DENSITY_PX, count: int = 80,
                smoothing: float = 25.0, where: str = "path") -> CameraPath:
    """A cubic smoothing spline through clicked points, looking along its tangent (Sat2Density's path drawing).

    Two points give a straight line and three a parabola. Where smoothing carries the spline over the tile's border, it
    follows the border.

    Args:
        points, unit, tile_px, where: as for `make_path`.
        frame: the tile.
        count: points of the path, evenly along the chords of the clicked ones.
        smoothing: sum of squared distances between clicked points and curve that is allowed, in pixels of a 256-pixel
            tile whatever the unit; 0 goes through them all.

    Raises:
        InputError: as for `make_path`; a count below 2 or a smoothing below 0.
    """
    from scipy.interpolate import splev, splprep

    if count < 2 or not 0 <= smoothing < np.inf:
        raise InputError(f"count is {count} and smoothing {smoothing}", where="smooth_path",
                         mend="Give at least 2 points and a smoothing of 0 or more")
    clicked = make_path(points, frame, unit=unit, tile_px=tile_px, where=where).points
    pixel_m = frame.extent_m / SAT2DENSITY_PX
    spline, _ = splprep((clicked / pixel_m).T, k=min(3, len(clicked) - 1), s=smoothing)
    along = np.linspace(0, 1, count)
    curve = np.stack(splev(along, spline), axis=1) * pixel_m
    ahead = np.stack(splev(along, spline, der=1), axis=1)
    still = np.hypot(*ahead.T) < 1e-12
    headings = np.where(still, travel_headings(curve), _bearing(ahead))
    return make_path(np.clip(curve, -frame.half_m, frame.half_m), frame, headings, where=where)


def with_equal_steps(path: CameraPath, step_m: float, look: Literal["way", "given"] = "way",
                     turn_m: float = 2.0) -> CameraPath:
    """The same way at constant speed: points every `step_m` metres or a little less, both ends kept.

    Args:
        path: the way.
        step_m: metres from point to point.
        look: "way": along the way; "given": headings turn evenly between those of the given points, the short way
            round (where the camera only turns on the spot it does so at once).
        turn_m: for "way": the heading is that from half as much before a point to half as much after it, so that the
            camera turns over this length about a corner.

    Raises:
        InputError: a step or turn that is not above 0, another way to look, or a path that goes nowhere.
    """
    way = np.r_[0.0, np.cumsum(_steps(path.points))]
    if not 0 < step_m < np.inf or not 0 < turn_m < np.inf or look not in ("way", "given"):
        raise InputError(f"step_m is {step_m}, turn_m {turn_m} and look {look!r}", where="with_equal_steps",
                         mend='Give metres above 0, and look="way" or "given"')
    if way[-1] < STANDSTILL_M:
        raise InputError("the path never leaves its first point", where="with_equal_steps", mend="Give another path")
    at = np.linspace(0, way[-1], max(2, int(np.ceil(way[-1] / step_m - 1e-9)) + 1))
    points = _along(path, way, at)
    if look == "given":
        return CameraPath(points, _turned(np.interp(at, way, np.unwrap(path.headings))))
    ahead = _along(path, way, at + turn_m / 2) - _along(path, way, at - turn_m / 2)
    back = np.hypot(*ahead.T) < 1e-6 * turn_m  # where it turns back on itself
    return CameraPath(points, _turned(np.where(back, travel_headings(points), _bearing(ahead))))


def _along(path: CameraPath, way: np.ndarray, at: np.ndarray) -> np.ndarray:
    """[M, 2] points at the distances `at` [M] from the start."""
    return np.stack([np.interp(at, way, path.points[:, axis]) for axis in (0, 1)], axis=1)


def travel_headings(points: np.ndarray) -> np.ndarray:
    """[N] bearings, radians, along a polyline [N, 2]: half way between coming and going, or going where it turns back.

    Where points repeat, the next step that goes somewhere counts.
    """
    steps = np.diff(np.asarray(points, np.float64), axis=0)
    length = np.hypot(*steps.T)
    if not (length > 0).any():
        return np.zeros(len(points))
    moving = np.flatnonzero(length > 0)
    way_on = np.minimum(np.searchsorted(moving, np.arange(len(steps))), len(moving) - 1)
    unit = (steps / np.where(length > 0, length, 1.0)[:, None])[moving[way_on]]
    going, coming = unit[np.r_[0 : len(unit), -1]], unit[np.r_[0, 0 : len(unit)]]
    ahead = going + coming
    back = np.hypot(*ahead.T) < 1e-9
    ahead[back] = going[back]
    return _bearing(ahead)


def roll_panorama(panorama: np.ndarray, heading: float) -> np.ndarray:
    """A north-centred full-circle picture [..., H, W] turned so that its centre column looks along `heading`, radians.

    Between columns it is interpolated linearly; what is infinite (depth of nothing) is taken from the nearer column.
    """
    panorama = np.asarray(panorama)
    width = panorama.shape[-1]
    shift = heading / (2 * np.pi) * width
    whole = int(np.floor(shift + 1e-9))
    share = shift - whole
    first, second = np.roll(panorama, -whole, axis=-1), np.roll(panorama, -whole - 1, axis=-1)
    if share < 1e-9:
        return first
    known = np.isfinite(first) & np.isfinite(second)
    blend = np.where(known, first, 0) * (1 - share) + np.where(known, second, 0) * share
    return np.where(known, blend, first if share < 0.5 else second).astype(panorama.dtype)


def _refuse(bad: np.ndarray, points: np.ndarray, what: str, where: str, line, mend: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        x, y = points[row]
        raise InputError(f"point {row} (from 0), ({x:g}, {y:g}), {what}", where=where, line=line(row), mend=mend)


def _metres(points: np.ndarray, frame: TileFrame, unit: Unit, tile_px: int) -> np.ndarray:
    if unit not in ("metres", "pixels") or tile_px < 1:
        raise InputError(f"unit is {unit!r} and tile_px {tile_px}", where="path",
                         mend='Use unit="metres" or "pixels", and pixels above 0')
    if unit == "metres":
        return points.copy()
    return frame.xy_of_pixels(torch.as_tensor(points), tile_px).numpy()


def _steps(points: np.ndarray) -> np.ndarray:
    return np.hypot(*np.diff(points, axis=0).T)


def _bearing(ahead: np.ndarray) -> np.ndarray:
    """[N] radians in (-pi, pi], of directions [N, 2] east and north."""
    return np.arctan2(ahead[:, 0], ahead[:, 1])


def _turned(angle: np.ndarray) -> np.ndarray:
    """Radians in [0, 2 pi)."""
    turned = np.mod(angle, 2 * np.pi)
    return np.where(turned >= 2 * np.pi, 0.0, turned)  # a tiny negative angle rounds up to the full circle
