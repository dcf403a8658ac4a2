"""Optimisations side by side as GIF or MP4: what each shows at the same step, or after the same seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rsnb.errors import InputError
from rsnb.products.images import to_uint8
from rsnb.products.video import write_video

PAPER, INK, MUTED, GRID, WAITING = "#ffffff", "#1d2733", "#6b7785", "#dfe4ea", "#e8edf1"
# Distinguishable for colour-blind readers (Okabe and Ito 2008); the curve has the colour of its run's name.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#8a6d00")
MARGIN, LINE, CHART = 12, 20, 116  # pixels
SHARPER = 3  # the curves are drawn so many times larger and averaged down: smooth lines


@dataclass(frozen=True, eq=False)
class ProgressFrame:
    """One moment of an optimisation.

    Attributes:
        step: from 1 (0: before the first).
        seconds: since the start.
        psnr: of the picture, or of whatever the curve should tell; dB.
        image: [3, H, W] in 0..1.
    """

    step: int
    seconds: float
    psnr: float
    image: np.ndarray


@dataclass(frozen=True)
class ProgressOptions:
    """How the film runs.

    Attributes:
        clock: "step" or "seconds": what is the same in all panes at any time, and the axis under the curves.
        pane: a picture is enlarged by the whole number that brings its longer side nearest to this, pixels.
        pictures: of the film at most. Without more moments than that each is shown once, all equally long.
        seconds: of the film, without the hold.
        hold: seconds that the last picture stays.
        measure: what the number is called ("PSNR of view 004").
    """

    clock: Literal["step", "seconds"] = "step"
    pane: int = 256
    pictures: int = 40
    seconds: float = 6.0
    hold: float = 1.5
    measure: str = "PSNR"

    def __post_init__(self):
        for name, good in (("clock", self.clock in ("step", "seconds")), ("pane", 64 <= self.pane <= 2048),
                           ("pictures", self.pictures >= 1), ("seconds", 0 < self.seconds < 3600),
                           ("hold", 0 <= self.hold < 3600)):
            if not good:
                raise InputError(f"the value is {getattr(self, name)!r}", where=f"ProgressOptions.{name}",
                                 mend='The clock is "step" or "seconds", a pane has 64 to 2048 pixels, the film at '
                                      "least one picture and some seconds")


def write_progress(path: str | Path, runs: Mapping[str, Sequence[ProgressFrame]],
                   options: ProgressOptions | None = None, truth: np.ndarray | None = None) -> Path:
    """Write a film of one or more optimisations: a pane each with name, step, seconds and dB, curves growing below.

    A run shows its latest moment not after the film's clock: nothing before its first, its last one from then on.

    Args:
        path: `.gif` or `.mp4`; written whole or not at all. An MP4 is made picture by picture, a GIF in memory.
        runs: {name: moments in order}, one to four runs, pictures of one size.
        options: clock, size, duration.
        truth: [3, H, W], shown as a last pane.

    Returns:
        The path.

    Raises:
        InputError: no run or moment, more than four, pictures of different size, moments that are not in order or hold
            numbers that are not finite, another suffix.
    """
    options = options or ProgressOptions()
    _check(runs, truth)
    clock = {name: np.array([getattr(frame, options.clock) for frame in run], float) for name, run in runs.items()}
    moments = np.unique(np.concatenate(list(clock.values())))
    if len(moments) > options.pictures:  # the last one is always there
        moments = moments[np.round(np.linspace(len(moments) - 1, 0, options.pictures)).astype(int)[::-1]]
    fps = len(moments) / options.seconds
    return write_video(path, _film(runs, clock, moments, options, truth, round(options.hold * fps)), fps)


def _check(runs: Mapping[str, Sequence[ProgressFrame]], truth: np.ndarray | None) -> None:
    if not 1 <= len(runs) <= len(COLOURS) or not all(len(frames) for frames in runs.values()):
        raise InputError(f"{len(runs)} runs, or one without a moment", where="write_progress",
                         mend=f"Give one to {len(COLOURS)} runs with at least one moment each")
    shape = np.shape(next(iter(runs.values()))[0].image)
    for name, frames in runs.items():
        for i, frame in enumerate(frames):
            if np.shape(frame.image) != shape or len(shape) != 3 or shape[0] != 3:
                raise InputError(f"picture {i} of {name!r} has shape {np.shape(frame.image)}, the first {shape}",
                                 where="write_progress", mend="Give [3, H, W], all of one size")
        numbers = np.array([(frame.step, frame.seconds, frame.psnr) for frame in frames], float)
        if not np.isfinite(numbers).all() or (np.diff(numbers[:, :2], axis=0) < 0).any():
            raise InputError(f"the moments of {name!r} are not in order, or their numbers not finite",
                             where="write_progress", mend="Sort them by step; leave out moments without a PSNR")
    if truth is not None and np.shape(truth) != shape:
        raise InputError(f"the true picture has shape {np.shape(truth)}, the runs' {shape}", where="write_progress")


def _film(runs, clock, moments, options: ProgressOptions, truth, hold: int) -> Iterator[np.ndarray]:
    """[3, H, W] in 0..1, one a moment, the last `hold` times more."""
    chart = _Chart(runs, clock, options)
    picture = None
    for moment in moments:
        shown = {name: int(np.searchsorted(clock[name], moment, side="right")) - 1 for name in runs}
        picture = _picture(runs, shown, moment, chart, options, truth)
        yield picture
    for _ in range(hold):
        yield picture


def _picture(runs, shown: Mapping[str, int], moment: float, chart: _Chart, options: ProgressOptions, truth):
    rows, columns = np.shape(next(iter(runs.values()))[0].image)[1:]
    factor = max(1, round(options.pane / max(rows, columns)))
    height, width = rows * factor, columns * factor
    panes = len(runs) + (truth is not None)
    top = MARGIN // 2 + 2 * LINE + 4
    # even sides: the codec of MP4 would drop a last odd row
    size = [panes * (width + MARGIN) + MARGIN, top + height + CHART + MARGIN]
    canvas = Image.new("RGB", [side + side % 2 for side in size], PAPER)
    draw = ImageDraw.Draw(canvas)
    for i, (name, frames) in enumerate(runs.items()):
        x, frame = MARGIN + i * (width + MARGIN), frames[shown[name]]
        _text(draw, (x, MARGIN // 2), name, COLOURS[i], width, 16)
        if shown[name] < 0:
            draw.rectangle((x, top, x + width - 1, top + height - 1), fill=WAITING)
            _text(draw, (x, MARGIN // 2 + LINE), "no picture yet", MUTED, width, 14)
            continue
        canvas.paste(_enlarged(frame.image, factor), (x, top))
        _text(draw, (x, MARGIN // 2 + LINE), f"step {frame.step}   {frame.seconds:.1f} s   {frame.psnr:.2f} dB", INK,
              width, 14)
    if truth is not None:
        x = MARGIN + len(runs) * (width + MARGIN)
        _text(draw, (x, MARGIN // 2), "truth", INK, width, 16)
        canvas.paste(_enlarged(truth, factor), (x, top))
    canvas.paste(chart.draw((canvas.width - 2 * MARGIN, CHART), shown, moment), (MARGIN, top + height + MARGIN // 2))
    return np.asarray(canvas, np.float32).transpose(2, 0, 1) / 255


def _enlarged(image: np.ndarray, factor: int) -> Image.Image:
    return Image.fromarray(to_uint8(np.nan_to_num(image)).repeat(factor, axis=0).repeat(factor, axis=1))


def _text(draw: ImageDraw.ImageDraw, place, text: str, colour: str, room: int, size: int) -> None:
    """A line of text that ends in three points where the room does."""
    font = ImageFont.load_default(size=size)
    whole = text
    while len(text) > 1 and draw.textlength(text, font=font) > room:
        text = whole[: len(text.removesuffix("...")) - 1] + "..."
    draw.text(place, text, fill=colour, font=font)


class _Chart:
    """The curves: axes that stay, lines that grow."""

    def __init__(self, runs, clock, options: ProgressOptions):
        self.options = options
        self.curves = [(clock[name], np.array([frame.psnr for frame in frames])) for name, frames in runs.items()]
        self.names = list(runs)
        values = np.concatenate([psnr for _, psnr in self.curves])
        self.low, self.high = np.floor(values.min()), np.ceil(values.max())
        self.high = max(self.high, self.low + 1)
        self.end = max(max(x[-1] for x, _ in self.curves), 1e-9)

    def draw(self, size: tuple[int, int], shown: Mapping[str, int], moment: float) -> Image.Image:
        """RGB of that size with every run's curve up to the moment it shows."""
        s = SHARPER
        picture = Image.new("RGB", (size[0] * s, size[1] * s), PAPER)
        draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=12 * s)
        left, right, top, bottom = 34 * s, (size[0] - 8) * s, 22 * s, (size[1] - 18) * s

        def place(x, y):
            up = (y - self.low) / (self.high - self.low)
            return left + x / self.end * (right - left), bottom - up * (bottom - top)

        draw.text((0, 0), f"{self.options.measure}, dB", fill=MUTED, font=font)
        middle = round((self.low + self.high) / 2)
        for value in sorted({self.low, middle, self.high}):
            y = place(0, value)[1]
            draw.line([(left, y), (right, y)], fill=GRID, width=s)
            draw.text((left - 6 * s, y), f"{value:.0f}", fill=MUTED, font=font, anchor="rm")
        unit = " s" if self.options.clock == "seconds" else ""
        draw.text((left, bottom + 3 * s), "0", fill=MUTED, font=font)
        draw.text(((left + right) / 2, bottom + 3 * s), self.options.clock, fill=MUTED, font=font, anchor="ma")
        draw.text((right, bottom + 3 * s), f"{self.end:.4g}{unit}", fill=MUTED, font=font, anchor="ra")
        now = place(moment, 0)[0]
        draw.line([(now, top), (now, bottom)], fill=MUTED, width=s)
        for i, (name, (x, psnr)) in enumerate(zip(self.names, self.curves, strict=True)):
            known = shown[name] + 1
            if known < 1:
                continue
            points = [place(*point) for point in zip(x[:known], psnr[:known], strict=True)]
            points.append((max(now, points[-1][0]), points[-1][1]))  # what is shown stays until the next moment
            draw.line(points, fill=COLOURS[i], width=2 * s, joint="curve")
            u, v = points[-1]
            draw.ellipse((u - 4 * s, v - 4 * s, u + 4 * s, v + 4 * s), fill=COLOURS[i])
        return picture.resize(size, Image.Resampling.BOX)
