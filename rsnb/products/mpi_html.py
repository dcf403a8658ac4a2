"""A multiplane image as one HTML file: its layers stand in the browser's own 3-D space, the reader moves the camera.

CSS has what a multiplane image needs: a picture an element, `translateZ`, a perspective, and the over operator. With
the eye f pixels in front of the pivot's plane (f: focal length in pixels), perspective-origin at the principal point,
and layer i enlarged by z_i / z_pivot, each pixel falls on itself at rest; moved, the browser warps each layer by the
homography that the renderer uses. What CSS cannot do: a slanted ray does not pass through more of a layer (tau is that
of the reference camera's rays, exact at rest), and nothing marks pixels that the reference camera did not see.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, features

from rsnb.errors import InputError
from rsnb.files import write_text
from rsnb.geometry.intrinsics import scale_intrinsics
from rsnb.products.plane_layers import PlaneFrame, checked_planes, over, plane_gaps

TEMPLATE = Path(__file__).with_name("templates") / "mpi.html"


@dataclass(frozen=True)
class MpiHtmlOptions:
    """What the page shows.

    Attributes:
        title: heading of the page.
        max_side: the reference picture's longer side in the file, pixels; larger ones are averaged down.
        planes: at most so many layers: neighbours are laid over each other first, which changes nothing at rest. None
            keeps all.
        reach_deg: how far the camera moves from the reference, as an angle about the pivot.
        pivot: z depth about which the camera turns; None: the median depth of what the reference camera sees.
        unit: of the depths, for the captions ("m").
    """

    title: str = "Multiplane image"
    max_side: int = 384
    planes: int | None = None
    reach_deg: float = 8.0
    pivot: float | None = None
    unit: str = ""

    def __post_init__(self):
        for name, good, mend in (
            ("max_side", self.max_side >= 16, "Give at least 16 pixels"),
            ("planes", self.planes is None or self.planes >= 1, "Give at least 1, or None for all"),
            ("reach_deg", 0 < self.reach_deg <= 60, "Give an angle above 0, at most 60 degrees"),
            ("pivot", self.pivot is None or 0 < self.pivot < float("inf"), "Give a depth above 0, or None"),
        ):
            if not good:
                raise InputError(f"the value is {getattr(self, name)!r}", where=f"MpiHtmlOptions.{name}", mend=mend)


@dataclass(frozen=True, eq=False)
class HtmlLayers:
    """The layers as the page holds them.

    Attributes:
        rgba: [L, H, W, 4] uint8, straight alpha, nearest first, of the whole (padded) frame.
        depths: [L] float64 z depth of each layer.
        K: [3, 3] float64, pixels of the layers.
        inset: (top, left, height, width) of the reference picture.
    """

    rgba: np.ndarray
    depths: np.ndarray
    K: np.ndarray
    inset: tuple[int, int, int, int]

    def pivot(self) -> float:
        """Median over the reference picture of its expected depth, weighted by inverse depth; the middle if empty."""
        top, left, height, width = self.inset
        alpha = self.rgba[:, top : top + height, left : left + width, 3] / 255.0
        weights = alpha * np.cumprod(np.concatenate([np.ones_like(alpha[:1]), 1 - alpha[:-1]]), axis=0)
        seen = weights.sum(axis=0)
        inverse = (weights / self.depths[:, None, None]).sum(axis=0)[seen > 0.5] / seen[seen > 0.5]
        return float(1 / np.median(inverse if inverse.size else 1 / self.depths))


def write_mpi_html(path: str | Path, mpi: np.ndarray, depths: np.ndarray, frame: PlaneFrame,
                   options: MpiHtmlOptions | None = None) -> Path:
    """Write the viewer: one file, opened from a disk, without a server or a network; a still picture without scripts.

    Args:
        path: of the `.html` file; written whole or not at all.
        mpi: [P, 4, H, W] float32 red, green, blue (0..1) and sigma per unit length, plane 0 the nearest.
        depths: [P] z depths in the reference camera, increasing.
        frame: the frame's K, size and inset are used; the page shows the inset, and the rim around it when moved.
        options: see there.

    Returns:
        The path. `#yaw=3&pitch=-1` behind the file's name opens it with the camera at `orbit_pose` of these degrees,
        `#spread=1` with the planes spread, `#embed=1` shows the picture alone, `zoom=1` in its own pixels.

    Raises:
        InputError: see `checked_planes`; or all planes are empty.
    """
    options = options or MpiHtmlOptions()
    layers = html_layers(mpi, depths, frame, options)
    shown = [_embedded(layer, depth, layers.inset) for layer, depth in zip(layers.rgba, layers.depths, strict=True)]
    shown = [layer for layer in shown if layer is not None]
    if not shown:
        raise InputError("all planes are empty", where=path, mend="Look at the densities: nothing would be seen")
    top, left, height, width = layers.inset
    K = layers.K.copy()
    K[:2, 2] -= left, top
    unit = f" {options.unit}" if options.unit else ""
    data = {"width": width, "height": height, "K": K.tolist(), "reach": options.reach_deg, "unit": unit,
            "pivot": options.pivot or layers.pivot(),
            "frame": {"x": -left, "y": -top, "w": layers.rgba.shape[2], "h": layers.rgba.shape[1]}, "layers": shown}
    facts = (f"Multiplane image: {len(mpi)} planes from {depths[0]:.4g} to {depths[-1]:.4g}{unit} in front of the "
             f"camera, {len(shown)} layers in this file, {width} × {height} pixels. The camera turns up to "
             f"{options.reach_deg:g}° about depth {data['pivot']:.4g}{unit}.")
    still = over(layers.rgba)[0][:, top : top + height, left : left + width]
    still = Image.fromarray((still * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0).copy())
    page = TEMPLATE.read_text(encoding="utf-8")
    texts = {"TITLE": html.escape(options.title), "FACTS": html.escape(facts), "STILL": _data_uri(still, 88),
             "DATA": json.dumps(data).replace("<", "\\u003c")}
    return write_text(path, re.sub(f"@({'|'.join(texts)})@", lambda marker: texts[marker[1]], page))


def orbit_pose(yaw_deg: float, pitch_deg: float, pivot: float) -> np.ndarray:
    """The page's camera: [4, 4] float64 from the reference camera's frame to that of the moved one.

    The camera turns about the point at depth `pivot` on its axis and keeps looking at it; positive yaw takes it to the
    right, positive pitch up.
    """
    (s, c), (t, d) = ((np.sin(a), np.cos(a)) for a in np.radians([yaw_deg, pitch_deg]))
    pose = np.eye(4)
    pose[:3, :3] = np.array([[1, 0, 0], [0, d, -t], [0, t, d]]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    pose[:3, 3] = [0, 0, pivot] - pose[:3, 2] * pivot
    return pose


def html_layers(mpi: np.ndarray, depths: np.ndarray, frame: PlaneFrame, options: MpiHtmlOptions) -> HtmlLayers:
    """The layers that the page will hold: in its size, neighbours merged, empty ones still there."""
    mpi, depths = checked_planes(mpi, depths, frame)
    K = np.asarray(frame.K, np.float64)
    height, width = mpi.shape[2:]
    pixels = np.stack([*np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), np.ones((height, width))])
    ray = np.linalg.norm(np.einsum("ij,jhw->ihw", np.linalg.inv(K), pixels), axis=0)
    groups = np.array_split(np.arange(len(mpi)), min(options.planes or len(mpi), len(mpi)))
    box, size, inset = _smaller(mpi.shape[2:], tuple(frame.inset), options.max_side)
    layers, places = np.empty((len(groups), 4, *size), np.float32), []
    for i, group in enumerate(groups):
        layer, mass = _merged(mpi[group], plane_gaps(depths)[group], ray)
        layers[i] = _resized(layer, box, size)
        # the merged layer stands at the mean inverse depth of what it shows
        mass = mass if mass.sum() > 0 else np.ones(len(group))
        places.append(depths[group[0]] if len(group) == 1 else mass.sum() / (mass / depths[group]).sum())
    K = K.copy()
    K[:2, 2] -= box[:2]
    K = scale_intrinsics(K, (box[2] - box[0], box[3] - box[1]), (size[1], size[0]))
    return HtmlLayers(_eight_bit(layers), np.array(places), K, inset)


def _merged(planes: np.ndarray, gaps: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[4, H, W] colour times alpha, and alpha, of planes [n, 4, H, W] laid over each other; and what each adds [n]."""
    layer, mass = np.zeros((4, *ray.shape)), np.zeros(len(planes))
    for i, (plane, gap) in enumerate(zip(planes, gaps, strict=True)):
        weight = -np.expm1(-plane[3] * gap * ray) * (1 - layer[3])
        layer[:3] += weight * np.clip(plane[:3], 0, 1)
        layer[3] += weight
        mass[i] = weight.sum()
    return layer, mass


def _smaller(size: tuple[int, int], inset: tuple[int, int, int, int], max_side: int):
    """Source box (left, top, right, bottom), pixels (H, W) for it and the inset in them.

    Where the picture must shrink, its inset gets whole pixels, and the rim as many as it has whole ones.
    """
    top, left, height, width = inset
    share = min(1.0, max_side / max(height, width))
    rows, columns = max(1, round(height * share)), max(1, round(width * share))
    tall, wide = height / rows, width / columns  # source pixels a pixel
    before = int(top / tall), int(left / wide)
    after = int((size[0] - top - height) / tall), int((size[1] - left - width) / wide)
    box = (left - before[1] * wide, top - before[0] * tall,
           left + width + after[1] * wide, top + height + after[0] * tall)
    return box, (before[0] + rows + after[0], before[1] + columns + after[1]), (*before, rows, columns)


def _resized(layer: np.ndarray, box, size: tuple[int, int]) -> np.ndarray:
    """[4, H, W] -> [4, *size] by averages of areas. Colours are multiplied by alpha: that is what may be averaged."""
    if size == layer.shape[1:]:
        return layer
    pictures = [Image.fromarray(channel.astype(np.float32)) for channel in layer]
    return np.stack([np.asarray(picture.resize(size[::-1], Image.Resampling.BOX, box)) for picture in pictures])


def _eight_bit(layers: np.ndarray) -> np.ndarray:
    """[L, 4, H, W] colour times alpha, and alpha -> [L, H, W, 4] uint8 straight alpha, made for blending in 8 bits.

    A browser multiplies colour by alpha, in whole numbers, and keeps 8 bits after every layer. Thirty thin layers that
    are each rounded on their own would end 8 levels too dark. So the layers are laid over each other here as there,
    the last first, and each makes up for what was lost behind it. The colour written is the least that gives the
    wanted product, whether it is rounded or cut off (WebP decoders cut).
    """
    out = np.zeros((len(layers), *layers.shape[2:], 4), np.uint8)
    wanted, shown = np.zeros((3, *layers.shape[2:])), np.zeros((3, *layers.shape[2:]), np.int64)
    for layer, pixels in zip(layers[::-1], out[::-1], strict=True):
        alpha = (np.clip(layer[3], 0, 1) * 255 + 0.5).astype(np.int64)
        wanted = 255 * layer[:3] + (1 - layer[3]) * wanted
        behind = (2 * shown * (255 - alpha) + 255) // 510
        product = np.clip(np.floor(wanted - behind + 0.5).astype(np.int64), 0, alpha)
        shown = behind + product
        colour = (255 * product + alpha - 1) // np.maximum(alpha, 1)
        pixels[...] = np.concatenate([np.where(alpha > 0, colour, 0), alpha[None]]).transpose(1, 2, 0)
    return out


def _embedded(rgba: np.ndarray, depth: float, inset: tuple[int, int, int, int]) -> dict | None:
    """A layer cut to what of it is visible, for the page; None where nothing is."""
    rows, columns = np.flatnonzero(rgba[..., 3].any(axis=1)), np.flatnonzero(rgba[..., 3].any(axis=0))
    if not len(rows):
        return None
    top, left, _, _ = inset
    (y0, y1), (x0, x1) = rows[[0, -1]] + [0, 1], columns[[0, -1]] + [0, 1]
    part = Image.fromarray(np.ascontiguousarray(rgba[y0:y1, x0:x1]))
    return {"src": _data_uri(part), "z": float(depth), "x": int(x0 - left), "y": int(y0 - top),
            "w": int(x1 - x0), "h": int(y1 - y0)}


def _data_uri(image: Image.Image, quality: int | None = None) -> str:
    """Lossless WebP unless `quality` is given; PNG where Pillow has no WebP.

    The layers are lossless: colour at half resolution, as lossy WebP has it, costs 12 dB where planes are thin.
    """
    buffer, kind = io.BytesIO(), "webp" if features.check("webp") else "png"
    if kind == "png":
        image.save(buffer, format="PNG", optimize=True)
    else:
        effort = {"lossless": True, "method": 2, "quality": 50} if quality is None else {"quality": quality}
        image.save(buffer, format="WEBP", **effort)  # more effort: four times as long for 0.3 % of the bytes
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
