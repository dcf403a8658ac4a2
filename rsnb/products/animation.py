"""A dated series as GIF or MP4: every frame as long as its date lasts, with the date on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rsnb.errors import InputError
from rsnb.products.images import to_uint8
from rsnb.products.video import write_video

MAX_SIDE = 4096


@dataclass(frozen=True)
class AnimationOptions:
    """How a series becomes a film.

    Attributes:
        pacing: "dates": a frame stays until the date of the next one, in proportion; "even": all stay equally long.
        seconds: of the whole film.
        fps: pictures per second; each frame of the series has at least one.
        scale: enlargement by a whole number, pixels stay squares.
        blend: fade from frame to frame, linearly in days (or evenly), instead of holding each.
        label: text on each frame; {date} and {name} are filled in; "" for none.
        timeline: a bar at the foot with a tick per date and a mark at the present one.
    """

    pacing: Literal["dates", "even"] = "dates"
    seconds: float = 6.0
    fps: float = 10.0
    scale: int = 1
    blend: bool = False
    label: str = "{date}"
    timeline: bool = True


def write_animation(path: str | Path, frames: np.ndarray, dates, options: AnimationOptions | None = None,
                    names=None) -> Path:
    """Write a dated series as `.gif` or `.mp4`.

    Args:
        path: of the film; written whole or not at all.
        frames: [T, 3, H, W] in 0..1, in date order, stretched for the eye; nan becomes black.
        dates: [T], anything numpy takes for dates.
        options: pacing, size, label.
        names: [T] texts for {name}.

    Returns:
        The path.

    Raises:
        InputError: no frame, other numbers of dates, dates that are not in order, options out of range, another suffix.
    """
    options = options or AnimationOptions()
    frames, dates = _checked(frames, dates, options)
    names = [""] * len(frames) if names is None else list(names)
    if len(names) != len(frames):
        raise InputError(f"{len(names)} names for {len(frames)} frames", where="write_animation")
    shares = _schedule(dates, options)
    return write_video(path, _pictures(frames, dates, names, shares, options), options.fps)


def frame_counts(dates, options: AnimationOptions) -> list[int]:
    """How many pictures of the film show each frame of the series ("hold", not blended)."""
    return [len(group) for group in _schedule(np.asarray(dates, "datetime64[s]"), options)]


def _checked(frames, dates, options: AnimationOptions) -> tuple[np.ndarray, np.ndarray]:
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[1] != 3 or not len(frames):
        raise InputError(f"frames have shape {frames.shape}, expected [T, 3, H, W] with T > 0", where="write_animation",
                         mend="Compose three bands and stretch them first")
    try:
        dates = np.asarray(dates, "datetime64[s]").reshape(-1)
    except ValueError as error:
        raise InputError(f"the dates are none ({error})", where="write_animation") from None
    if len(dates) != len(frames) or np.isnat(dates).any() or (np.diff(dates) < np.timedelta64(0, "s")).any():
        raise InputError(f"{len(dates)} dates for {len(frames)} frames, or dates not in order", where="write_animation",
                         mend="Give one date per frame, rising")
    good = options.seconds > 0 and options.fps > 0 and options.scale >= 1 and int(options.scale) == options.scale
    if not good or options.pacing not in ("dates", "even"):
        raise InputError(f"{options}", where="AnimationOptions",
                         mend='seconds and fps are positive, scale is 1, 2, ..., pacing "dates" or "even"')
    try:
        options.label.format(date="", name="")
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise InputError(f"{options.label!r} is no label ({error})", where="AnimationOptions.label",
                         mend="Known are {date} and {name}; a brace itself is written twice") from None
    if max(frames.shape[2:]) * options.scale > MAX_SIDE:
        raise InputError(f"{frames.shape[3] * options.scale} x {frames.shape[2] * options.scale} pixels",
                         where="AnimationOptions.scale", mend=f"Keep both under {MAX_SIDE}")
    return frames, dates


def _schedule(dates: np.ndarray, options: AnimationOptions) -> list[np.ndarray]:
    """For each frame the shares (0 = its own date, towards 1 = the next) of the pictures that show it."""
    n = len(dates)
    gaps = np.diff(dates) / np.timedelta64(1, "D") if options.pacing == "dates" else np.ones(n - 1)
    # the last frame has no next date: it stays as long as frames do on average
    gaps = np.append(gaps, gaps.mean() if n > 1 and gaps.sum() > 0 else 1.0)
    ends = np.cumsum(gaps) / max(gaps.sum(), 1e-12) * options.seconds * options.fps
    ends = np.maximum(np.round(ends), 1).astype(int)
    counts = np.maximum(np.diff(ends, prepend=0), 1)
    return [np.arange(count) / count for count in counts]


def _pictures(frames, dates, names, shares, options: AnimationOptions) -> Iterator[np.ndarray]:
    days = dates.astype("datetime64[D]")
    for i, group in enumerate(shares):
        following = min(i + 1, len(frames) - 1)
        held = None
        for share in group:
            if options.blend or held is None:
                mixed = frames[i] * (1 - share) + frames[following] * share if options.blend else frames[i]
                text = options.label.format(date=days[i], name=names[i]) if options.label else ""
                held = _stamped(np.nan_to_num(mixed), text, options)
            picture = held
            if options.timeline and len(frames) > 1:
                picture = _with_timeline(held, dates, i, share if options.blend else 0.0)
            yield picture.astype(np.float32).transpose(2, 0, 1) / 255


def _stamped(frame: np.ndarray, text: str, options: AnimationOptions) -> np.ndarray:
    """[H, W, 3] uint8, enlarged, with the text in the upper left corner."""
    from PIL import Image, ImageDraw, ImageFont

    pixels = to_uint8(frame).repeat(options.scale, axis=0).repeat(options.scale, axis=1)
    if not text:
        return pixels
    picture = Image.fromarray(pixels)
    size = max(10, min(picture.height, picture.width) // 16)
    font = ImageFont.load_default(size=size)
    # white with a dark rim is legible on clouds and on forest alike
    ImageDraw.Draw(picture).text((size // 2, size // 3), text, fill="white", font=font, stroke_width=max(1, size // 10),
                                 stroke_fill="black")
    return np.asarray(picture)


def _with_timeline(pixels: np.ndarray, dates: np.ndarray, i: int, share: float) -> np.ndarray:
    """A bar at the foot: a tick per date where it lies in time, and a mark at the present one."""
    out = pixels.copy()
    height, width = out.shape[:2]
    thick = max(2, height // 90)
    inset = thick * 4
    span = max((dates[-1] - dates[0]) / np.timedelta64(1, "s"), 1.0)
    places = (dates - dates[0]) / np.timedelta64(1, "s") / span
    now = places[i] + share * (places[min(i + 1, len(dates) - 1)] - places[i])
    row, column = height - inset, lambda p: inset + round(p * (width - 2 * inset))
    out[row - 2 * thick : row + 3 * thick, inset - 2 * thick : width - inset + 2 * thick + 1] //= 3
    out[row : row + thick, inset : width - inset + 1] = 150
    if len(dates) * 4 * thick < width:  # more ticks would run into one bar
        for place in places:
            out[row - thick : row + 2 * thick, column(place) : column(place) + max(1, thick // 2)] = 150
    # white: GIF has 256 colours, and those of a small coloured mark would go to the picture
    mark = column(now)
    out[row - 2 * thick : row + 3 * thick, max(0, mark - thick) : mark + thick + 1] = 255
    return out
