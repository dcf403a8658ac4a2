"""Pictures of a density volume and of a way through it: the slices on one sheet, and a film with map and depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rsnb.errors import InputError
from rsnb.products.density_volume import TileVolume
from rsnb.products.images import to_uint8, write_float_tiff, write_png
from rsnb.products.track_video import NOTHING, cubehelix
from rsnb.products.video import write_video

INK, PAPER, WAY, CAMERA = "#1d2733", "#ffffff", "#56b4e9", "#e69f00"
STRIP = 22  # pixels: a line of words
GAP = 8


@dataclass(frozen=True)
class FilmOptions:
    """How a film along a path looks.

    Attributes:
        fps: pictures a second.
        near_m, far_m: distances that get the brightest and the darkest depth colour, the same in all frames.
        least_width: pixels; a narrower panorama is enlarged by a whole number.
        map_height: pixels, or None: as high as panorama and depth together.
    """

    fps: float = 12.0
    near_m: float = 2.0
    far_m: float = 40.0
    least_width: int = 512
    map_height: int | None = None

    def __post_init__(self):
        if not 0 < self.near_m < self.far_m < np.inf or not 0 < self.fps < np.inf or self.least_width < 1:
            raise InputError(f"{self}", where="FilmOptions", mend="Give fps above 0 and 0 < near_m < far_m")


def write_slices(path: str | Path, volume: TileVolume, count: int = 12, columns: int = 6, side: int = 160) -> Path:
    """Write a PNG of slices, lowest first, each with the heights it spans: opacity over the slice's own thickness.

    White is empty and black is opaque; where a volume has more slices than `count`, neighbours are taken together.

    Args:
        path: of the picture, .png.
        volume: what to show.
        count: slices at most.
        columns: slices a line.
        side: pixels of a slice.
    """
    depth = len(volume.sigma)
    edges = np.round(np.linspace(0, depth, min(count, depth) + 1)).astype(int)
    thickness = volume.ceiling_m / depth
    opacity = -np.expm1(-np.add.reduceat(volume.sigma, edges[:-1], axis=0) * thickness)
    columns = min(columns, len(opacity))
    lines, gap = -(-len(opacity) // columns), GAP
    sheet = Image.new("RGB", (columns * (side + gap) + gap, lines * (side + gap + STRIP) + gap + STRIP), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for index, layer in enumerate(opacity):
        left, top = gap + index % columns * (side + gap), index // columns * (side + gap + STRIP)
        grey = Image.fromarray((255 - np.clip(layer, 0, 1) * 255 + 0.5).astype(np.uint8))
        sheet.paste(grey.resize((side, side), Image.Resampling.NEAREST), (left, top + STRIP))
        draw.rectangle((left - 1, top + STRIP - 1, left + side, top + STRIP + side), outline="#6b7785")
        draw.text((left, top + STRIP - 4), f"{edges[index] * thickness:.2f} to {edges[index + 1] * thickness:.2f} m",
                  fill=INK, font=font, anchor="ls")
    draw.text((gap, sheet.height - gap), f"opacity seen from above, white 0, black 1; north up; {volume.extent_m:g} m "
              "a side", fill=INK, font=font, anchor="ls")
    return write_png(path, np.moveaxis(np.asarray(sheet, np.float32) / 255, -1, 0))


def write_path_film(path: str | Path, frames: Iterable[tuple[np.ndarray, np.ndarray]], tile: np.ndarray,
                    extent_m: float, way: tuple[np.ndarray, np.ndarray], heading_up: bool = True,
                    options: FilmOptions = FilmOptions()) -> Path:
    """Write a film along a path: the map with the moving camera, beside it panorama, compass and depth.

    Args:
        path: `.mp4` (or `.gif`, which is made in memory); written whole or not at all.
        frames: (panorama [3, H, W] in 0..1, depth [H, W] metres, inf = nothing) a point; a generator keeps memory flat.
        tile: [3, C, C], row 0 north.
        extent_m: its side, metres.
        way: points [N, 2], tile metres, and bearings of travel [N], radians, as `CameraPath` has them.
        heading_up: whether the panoramas' centre columns look along the bearing; else they look north.
        options: size, speed and scale of the depths.

    Returns:
        The path.

    Raises:
        InputError: a frame of another size than the first, or another number of frames than of points.
    """
    return write_video(path, film_frames(frames, tile, extent_m, way, heading_up, options), options.fps)


def film_frames(frames: Iterable[tuple[np.ndarray, np.ndarray]], tile: np.ndarray, extent_m: float,
                way: tuple[np.ndarray, np.ndarray], heading_up: bool = True,
                options: FilmOptions = FilmOptions()) -> Iterator[np.ndarray]:
    """The pictures [3, h, w] of `write_path_film` one by one, all of one even size."""
    points, headings = (np.asarray(part, np.float64) for part in way)
    if points.shape != (len(headings), 2) or not len(points):
        raise InputError(f"points {points.shape} and headings {headings.shape}", where="write_path_film",
                         mend="Give [N, 2] and [N]")
    shape, board, n = None, None, 0
    for n, (rgb, depth) in enumerate(frames, start=1):
        rgb, depth = np.asarray(rgb), np.asarray(depth)
        shape = shape or rgb.shape
        if rgb.ndim != 3 or rgb.shape != shape or rgb.shape != (3, *depth.shape):
            raise InputError(f"frame {n - 1} (from 0) has a panorama of shape {rgb.shape} and depth {depth.shape}, "
                             f"the first {shape}", where="write_path_film", mend="Give [3, H, W] and [H, W], one size")
        if n > len(points):
            break
        board = board or _Board(shape, tile, extent_m, points, options)
        yield board.frame(rgb, depth, n - 1, float(headings[n - 1]), heading_up)
    if n != len(points):
        raise InputError(f"{'more' if n > len(points) else n} frames for a path of {len(points)} points",
                         where="write_path_film", mend="Give one frame a point")


def write_path_frames(folder: str | Path, frames: Iterable[tuple[np.ndarray, np.ndarray]], tile: np.ndarray,
                      extent_m: float, way: tuple[np.ndarray, np.ndarray],
                      options: FilmOptions = FilmOptions()) -> list[Path]:
    """Write panorama_0000.png, depth_0000.png (colours) and map_0000.png and so on for each point of a path.

    Arguments as for `write_path_film`. What else lies in the folder stays; gives the paths.
    """
    folder, written = Path(folder), []
    points, headings = (np.asarray(part, np.float64) for part in way)
    for index, (rgb, depth) in enumerate(frames):
        if index >= len(points):
            raise InputError(f"more frames than the {len(points)} points of the path", where="write_path_frames",
                             mend="Give one frame a point")
        ground = map_with_camera(tile, extent_m, points, index, float(headings[index]), options.map_height or 256)
        colours = distance_rgb(np.asarray(depth), options.near_m, options.far_m)
        for name, picture in (("panorama", np.asarray(rgb)), ("depth", colours), ("map", ground)):
            written.append(write_png(folder / f"{name}_{index:04d}.png", picture))
    return written


def write_panoramas(folder: str | Path, name: str, views: Mapping[str, np.ndarray], near_m: float = 2.0,
                    far_m: float = 40.0) -> list[Path]:
    """Write all panoramas and maps of one place, a file each: <name>_<kind>.png, and .tif for what is in metres.

    Args:
        folder: what else lies there stays.
        name: of the place.
        views: {kind: array}: [3, H, W] in 0..1 is a picture; [H, W] with a kind that names depth, distance or height is
            metres: float32 TIFF beside the PNG in colours; any other [H, W] is a share 0..1, grey.
        near_m, far_m: of the depth colours; heights run from 0 to far_m / 4, low dark.

    Returns:
        The paths.

    Raises:
        InputError: an array of another shape, or a name or kind that is no file name; nothing is written then.
    """
    views = {kind: np.asarray(view.detach().cpu() if hasattr(view, "detach") else view) for kind, view in views.items()}
    for kind, view in views.items():
        if view.ndim not in (2, 3) or (view.ndim == 3 and view.shape[0] != 3):
            raise InputError(f"{kind} has shape {view.shape}", where=name, mend="Give [3, H, W] or [H, W]")
        if not all(part and set(part).isdisjoint("/\\:\0") for part in (name, kind)):
            raise InputError(f"{name!r} and {kind!r} are no part of a file name", where="write_panoramas",
                             mend="Leave out slashes and colons")
    folder, written = Path(folder), []
    for kind, view in views.items():
        stem = f"{name}_{kind.replace(' ', '_')}"
        metres = view.ndim == 2 and any(word in kind for word in ("depth", "distance", "height"))
        if metres:
            written.append(write_float_tiff(folder / f"{stem}.tif", view, {"quantity": kind, "unit": "m"}))
        if "height" in kind and metres:
            picture = np.moveaxis(_TABLE[(np.clip(np.nan_to_num(view) / (far_m / 4), 0, 1) * 255).astype(int)], -1, 0)
        elif metres:
            picture = distance_rgb(view, near_m, far_m)
        else:
            picture = np.nan_to_num(view if view.ndim == 3 else np.broadcast_to(view, (3, *view.shape)))
        written.append(write_png(folder / f"{stem}.png", picture))
    return written


def map_with_camera(tile: np.ndarray, extent_m: float, points: np.ndarray, index: int, heading: float,
                    side: int = 256) -> np.ndarray:
    """[3, side, side]: a tile with the path, its way so far thicker, and an arrow where the camera is.

    Args:
        tile: [3, C, C], row 0 north; extent_m: its side, metres.
        points: [N, 2] tile metres.
        index: of the point where the camera is.
        heading: bearing it travels, radians.
        side: pixels.
    """
    fine = 2  # drawn larger and shrunk: PIL's lines have no soft edge
    picture = Image.fromarray(to_uint8(tile)).resize((side * fine, side * fine), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    pixels = (np.asarray(points) * (1, -1) / extent_m + 0.5) * side * fine
    width = max(1, round(side / 200)) * fine
    draw.line([tuple(p) for p in pixels], fill=INK, width=width * 2, joint="curve")
    draw.line([tuple(p) for p in pixels], fill=PAPER, width=width, joint="curve")
    if index:
        draw.line([tuple(p) for p in pixels[: index + 1]], fill=WAY, width=width * 2, joint="curve")
    ahead = np.array([np.sin(heading), -np.cos(heading)])
    right = np.array([-ahead[1], ahead[0]])
    size = side * fine / 22
    shape = ((1.3, 0), (-0.8, 0.75), (-0.35, 0), (-0.8, -0.75))
    arrow = [tuple(pixels[index] + size * (a * ahead + b * right)) for a, b in shape]
    draw.polygon(arrow, fill=CAMERA, outline=INK, width=fine)
    small = picture.resize((side, side), Image.Resampling.BOX)
    return np.moveaxis(np.asarray(small, np.float32) / 255, -1, 0)


def distance_rgb(distance: np.ndarray, near_m: float, far_m: float) -> np.ndarray:
    """[H, W] metres -> [3, H, W] in 0..1: near light, far dark, by the logarithm; what is not finite is grey."""
    distance = np.asarray(distance, np.float64)
    known = np.isfinite(distance) & (distance > 0)
    share = np.log(np.where(known, distance, far_m) / near_m) / np.log(far_m / near_m)
    rgb = _TABLE[np.round((1 - np.clip(share, 0, 1)) * 255).astype(int)]
    rgb[~known] = NOTHING
    return np.moveaxis(rgb, -1, 0)


_TABLE = cubehelix()


class _Board:
    """Where things stand in a frame."""

    def __init__(self, shape, tile, extent_m: float, points: np.ndarray, options: FilmOptions):
        self.tile, self.extent_m, self.points, self.options = tile, extent_m, points, options
        self.factor = max(1, -(-options.least_width // shape[2]))
        self.height, self.width = shape[1] * self.factor, shape[2] * self.factor
        whole = 2 * self.height + 3 * STRIP
        self.map_side = (options.map_height or whole - 2 * STRIP) // 2 * 2
        self.size = tuple((side + 1) // 2 * 2 for side in (  # even, as the codec wants
            self.map_side + self.width + 3 * GAP, max(whole, self.map_side + 2 * STRIP)))
        self.font = ImageFont.load_default(size=14)

    def frame(self, rgb, depth, index: int, heading: float, heading_up: bool) -> np.ndarray:
        sheet = Image.new("RGB", self.size, "black")
        draw = ImageDraw.Draw(sheet)
        left = self.map_side + 2 * GAP
        ground = map_with_camera(self.tile, self.extent_m, self.points, index, heading, self.map_side)
        sheet.paste(Image.fromarray(to_uint8(ground)), (GAP, STRIP))
        self._word(draw, GAP, STRIP // 2, f"north up, {self.extent_m:g} m")
        self._word(draw, GAP + self.map_side, STRIP // 2, f"{index + 1} / {len(self.points)}", "rm")
        middle = "the way ahead" if heading_up else "north"
        self._word(draw, left, STRIP // 2, f"panorama, {middle} in the middle")
        sheet.paste(self._enlarged(to_uint8(np.nan_to_num(rgb))), (left, STRIP))
        self._compass(draw, left, STRIP + self.height, heading if heading_up else 0.0, heading)
        colours = distance_rgb(depth, self.options.near_m, self.options.far_m)
        top = 2 * STRIP + self.height
        sheet.paste(self._enlarged(to_uint8(colours)), (left, top))
        self._key(sheet, draw, left, top + self.height + STRIP // 2)
        return np.moveaxis(np.asarray(sheet, np.float32) / 255, -1, 0)

    def _enlarged(self, pixels: np.ndarray) -> Image.Image:
        return Image.fromarray(pixels.repeat(self.factor, axis=0).repeat(self.factor, axis=1))

    def _word(self, draw, x: float, y: float, text: str, anchor: str = "lm") -> None:
        draw.text((x, y), text, fill="white", font=self.font, anchor=anchor)

    def _compass(self, draw, left: int, top: int, centre: float, heading: float) -> None:
        """Where the bearings lie in the panorama, and a mark where the camera travels."""
        for name, bearing in zip("NESW", np.arange(4) * np.pi / 2, strict=True):
            x = left + self._column(bearing - centre)
            draw.line((x, top, x, top + 4), fill="white")
            inside = min(max(x, left + 6), left + self.width - 6)
            self._word(draw, inside, top + 4 + (STRIP - 4) / 2, name, "mm")
        x = left + self._column(heading - centre)
        draw.polygon([(x, top), (x - 5, top + 8), (x + 5, top + 8)], fill=CAMERA)

    def _column(self, turn: float) -> float:
        return (turn / (2 * np.pi) + 0.5) % 1.0 * self.width

    def _key(self, sheet, draw, left: int, middle: int) -> None:
        near, far = self.options.near_m, self.options.far_m
        words = f"depth {near:g} m", f"{far:g} m; grey: nothing"
        self._word(draw, left, middle, words[0])
        self._word(draw, left + self.width, middle, words[1], "rm")
        begin = left + 8 + int(draw.textlength(words[0], font=self.font))
        end = left + self.width - 8 - int(draw.textlength(words[1], font=self.font))
        if end - begin >= 16:
            ramp = np.geomspace(near, far, end - begin)
            bar = to_uint8(distance_rgb(np.broadcast_to(ramp, (STRIP - 10, end - begin)), near, far))
            sheet.paste(Image.fromarray(bar), (begin, middle - (STRIP - 10) // 2))
