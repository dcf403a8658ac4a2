"""A film along a path: colour, and beside it depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rsnb.errors import InputError
from rsnb.products.video import write_video

NOTHING = 0.35  # grey where there is no depth
FOOT = 24  # pixels: the strip under the pictures with the key of the depth's colours


def write_track_video(path: str | Path, frames: Iterable[tuple[np.ndarray, np.ndarray | None]], near: float, far: float,
                      fps: float = 10.0, *, unit: str = "", min_side: int = 256) -> Path:
    """Write colour (left) and depth (right) of one view after the other; a generator keeps memory flat.

    Args:
        path: `.mp4` (or `.gif`, which is made in memory); written whole or not at all.
        frames: (rgb [3, H, W] in 0..1, z depth [H, W] or None) a view; all with a depth or none.
        near, far: z depths that get the brightest and the darkest colour; uniform in inverse depth between, as the
            planes of a multiplane image are. Beyond them the colour stays; not finite or not above 0 is grey.
        fps: pictures a second.
        unit: of the depths, for the key.
        min_side: smaller pictures are enlarged by the least whole number that brings both sides to it.

    Returns:
        The path.

    Raises:
        InputError: no frame, a range that is not 0 < near < far, frames of different size, depths in some frames only.
    """
    if not 0 < near < far < float("inf"):
        raise InputError(f"a depth range from {near} to {far}", where="write_track_video", mend="Give 0 < near < far")
    return write_video(path, _pictures(frames, near, far, unit, min_side), fps)


def depth_rgb(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """[H, W] z depth -> [3, H, W] in 0..1: near light, far dark, by share of inverse depth; nothing is grey."""
    depth = np.asarray(depth, np.float64)
    known = np.isfinite(depth) & (depth > 0)
    inverse = 1 / np.where(known, depth, far)
    share = np.clip((inverse - 1 / far) / (1 / near - 1 / far), 0, 1)
    rgb = _TABLE[np.round(share * 255).astype(int)]
    rgb[~known] = NOTHING
    return np.moveaxis(rgb, -1, 0)


def cubehelix(start: float = 0.5, rotations: float = -0.7, hue: float = 1.4, ends=(0.06, 0.94)) -> np.ndarray:
    """[256, 3] colours whose brightness rises evenly while the hue turns (Green, Bull. Astron. Soc. India 39, 2011).

    With l from `ends`[0] to `ends`[1], angle = 2 pi (start / 3 + 1 + rotations l) and a = hue l (1 - l) / 2, red,
    green and blue are l + a (c cos(angle) + s sin(angle)). It prints in grey without two depths becoming one.
    """
    light = np.linspace(*ends, 256)
    angle = 2 * np.pi * (start / 3 + 1 + rotations * light)
    turn = np.array([[-0.14861, 1.78277], [-0.29227, -0.90649], [1.97294, 0.0]]) @ [np.cos(angle), np.sin(angle)]
    return np.clip(light + hue * light * (1 - light) / 2 * turn, 0, 1).T


_TABLE = cubehelix()


def _pictures(frames, near: float, far: float, unit: str, min_side: int) -> Iterator[np.ndarray]:
    first, foot = None, None
    for i, (rgb, depth) in enumerate(frames):
        kind = (np.shape(rgb), None if depth is None else np.shape(depth))
        if np.ndim(rgb) != 3 or np.shape(rgb)[0] != 3 or kind[1] not in (None, np.shape(rgb)[1:]):
            raise InputError(f"frame {i} has colour {kind[0]} and depth {kind[1]}", where="write_track_video",
                             mend="Give [3, H, W] and [H, W] or None")
        first = first or kind
        if kind != first:
            raise InputError(f"frame {i} has colour {kind[0]} and depth {kind[1]}, the first {first[0]} and {first[1]}",
                             where="write_track_video", mend="Give frames of one size, all with a depth or none")
        factor = max(1, -(-min_side // min(np.shape(rgb)[1:])))
        picture = np.nan_to_num(np.asarray(rgb, np.float32))
        if depth is not None:
            picture = np.concatenate([picture, depth_rgb(depth, near, far).astype(np.float32)], axis=2)
        picture = picture.repeat(factor, axis=1).repeat(factor, axis=2)
        if depth is None:
            yield picture
            continue
        foot = _key(picture.shape[2], near, far, unit, picture.shape[1] % 2) if foot is None else foot
        yield np.concatenate([picture, foot], axis=1)


def _key(width: int, near: float, far: float, unit: str, odd: int) -> np.ndarray:
    """[3, FOOT, width]: under the depth picture the table from near to far, with both numbers."""
    strip = Image.new("RGB", (width, FOOT + odd), "black")  # with an even number of rows in all, as the codec wants
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size=14)
    texts = [f"{value:.4g}{' ' + unit if unit else ''}" for value in (near, far)]
    half, middle = width // 2, FOOT // 2
    draw.text((8, middle), "colour", fill="white", font=font, anchor="lm")
    draw.text((half + 8, middle), "depth " + texts[0], fill="white", font=font, anchor="lm")
    draw.text((width - 8, middle), texts[1], fill="white", font=font, anchor="rm")
    begin = half + 16 + int(draw.textlength("depth " + texts[0], font=font))
    end = width - 16 - int(draw.textlength(texts[1], font=font))
    if end - begin >= 16:
        shares = np.linspace(255, 0, end - begin).round().astype(int)  # uniform in inverse depth
        bar = np.broadcast_to((_TABLE[shares] * 255 + 0.5).astype(np.uint8), (FOOT - 12, end - begin, 3))
        strip.paste(Image.fromarray(np.ascontiguousarray(bar)), (begin, 6))
    return np.asarray(strip, np.float32).transpose(2, 0, 1) / 255
