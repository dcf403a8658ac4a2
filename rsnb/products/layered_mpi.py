"""A multiplane image as a folder: one picture a plane for every viewer, and the exact numbers to go on with.

    planes/plane_000.png   8-bit RGBA, straight alpha; stacked in an image editor they show the reference picture,
                           a little too clear at its rim: slanted rays pass through more of a layer
    exact/plane_000.png    16-bit grey: the float32 numbers themselves, in halves (see `HOW_TO_READ`)
    mpi.json               camera, depths, file names and their sha256

PNG keeps every bit, and any library reads it: the exact planes need no code of this project to come back.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.products.plane_layers import PlaneFrame, checked_planes, plane_gaps, straight_rgba

FORMAT, VERSION, INDEX = "rsnb layered mpi", 1, "mpi.json"
# Largest error of colour and of each plane's alpha (0..1) where only the 8-bit layers were written: half a grey level.
ERROR_8BIT = 0.5 / 255
HOW_TO_READ = {
    "layers": "8-bit RGBA, straight alpha, first plane nearest; alpha = 1 - exp(-sigma * gap), gap along the reference "
              "camera's axis; colours are clipped to 0..1",
    "exact": "16-bit grey, 4 H rows and 2 W columns: the planes' red, green, blue and sigma below each other; the left "
             "half holds the upper 16 bits of each float32, the right half the lower 16 bits",
    "sigma": "density per unit length, unit of the depths and of the pose",
    "K": "pixels of the whole frame, pixel centres at +0.5",
    "world_to_cam": "reference camera, OpenCV axes: x right, y down, z forward",
    "inset": "top, left, height, width of the reference picture in the frame",
    "order": "draw the last plane first, each next one over it",
}


@dataclass(frozen=True, eq=False)
class LayeredMpi:
    """What `read_layers` gives; it is a frame itself, so it can be written again as it is.

    Attributes:
        mpi: [P, 4, H, W] float32 red, green, blue (0..1) and sigma >= 0 per unit length, plane 0 the nearest.
        depths: [P] float64 z depths in the reference camera.
        K: [3, 3] float64, pixels of the padded frame.
        world_to_cam: [4, 4] float64.
        near, far: as the frame had them.
        inset: (top, left, height, width) of the reference picture in the frame.
        name: of the scene.
        exact: whether the numbers are bit for bit those that were written; else colour and alpha of each plane are
            within `ERROR_8BIT` of them (colours beyond 0..1 were clipped).
    """

    mpi: np.ndarray
    depths: np.ndarray
    K: np.ndarray
    world_to_cam: np.ndarray
    near: float
    far: float
    inset: tuple[int, int, int, int]
    name: str
    exact: bool

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the padded frame."""
        return self.mpi.shape[2], self.mpi.shape[3]


def write_layers(folder: str | Path, mpi: np.ndarray, depths: np.ndarray, frame: PlaneFrame, *, name: str = "mpi",
                 exact: bool = True) -> Path:
    """Write a multiplane image as a folder of pictures; the folder is there whole or not at all.

    Args:
        folder: made, or replaced where it is an earlier export.
        mpi: [P, 4, H, W] float32.
        depths: [P] z depths in the reference camera, increasing.
        frame: camera facts; K and pose are kept as float64.
        name: of the scene, for people.
        exact: write the exact planes too; without them the folder is a tenth as large and reads as 8-bit.

    Returns:
        The folder.

    Raises:
        InputError: see `checked_planes`; or the folder exists and is something else.
    """
    folder = Path(folder)
    mpi, depths = checked_planes(mpi, depths, frame)
    gaps = plane_gaps(depths)
    with _atomic_folder(folder) as temporary:
        entries = []
        for index, plane in enumerate(mpi):
            file = f"planes/plane_{index:03d}.png"
            entry = {"depth": float(depths[index]), "gap": float(gaps[index]), "file": file,
                     "sha256": _save(temporary / file, Image.fromarray(straight_rgba(plane, gaps[index])))}
            if exact:
                file = f"exact/plane_{index:03d}.png"
                entry["exact"] = {"file": file, "sha256": _save(temporary / file, Image.fromarray(_halves(plane)))}
            entries.append(entry)
        index = {"format": FORMAT, "version": VERSION, "name": name, "exact": exact, "size": list(mpi.shape[2:]),
                 "K": np.asarray(frame.K, np.float64).tolist(),
                 "world_to_cam": np.asarray(frame.world_to_cam, np.float64).tolist(),
                 "near": float(frame.near), "far": float(frame.far), "inset": [int(v) for v in frame.inset],
                 "how_to_read": HOW_TO_READ, "planes": entries}
        (temporary / INDEX).write_text(json.dumps(index, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return folder


def read_layers(folder: str | Path) -> LayeredMpi:
    """Read what `write_layers` wrote.

    Raises:
        InputError: no such folder or index, an index of another format, version or content, a file that is missing or
            whose sha256 is another.
    """
    folder = Path(folder)
    path = require_file(folder / INDEX, "index of a layered multiplane image")
    index = _index(path)
    height, width = index["size"]
    mpi = np.empty((len(index["planes"]), 4, height, width), np.float32)
    for plane, entry in zip(mpi, index["planes"], strict=True):
        if index["exact"]:
            plane[...] = _floats(_pixels(folder, entry["exact"], (4 * height, 2 * width), np.uint16))
        else:
            plane[...] = _approximate(_pixels(folder, entry, (height, width, 4), np.uint8), entry["gap"])
    return LayeredMpi(mpi, np.array([entry["depth"] for entry in index["planes"]], np.float64),
                      np.array(index["K"], np.float64), np.array(index["world_to_cam"], np.float64), index["near"],
                      index["far"], tuple(index["inset"]), index["name"], index["exact"])


def _halves(plane: np.ndarray) -> np.ndarray:
    """[4, H, W] float32 -> [4 H, 2 W] uint16, upper halves left of lower ones."""
    bits = np.ascontiguousarray(plane).view(np.uint32).reshape(-1, plane.shape[-1])
    return np.concatenate([bits >> 16, bits & 0xFFFF], axis=1).astype(np.uint16)


def _floats(halves: np.ndarray) -> np.ndarray:
    width = halves.shape[1] // 2
    bits = halves[:, :width].astype(np.uint32) << 16 | halves[:, width:]
    return bits.view(np.float32).reshape(4, -1, width)


def _approximate(rgba: np.ndarray, gap: float) -> np.ndarray:
    """[H, W, 4] uint8 -> [4, H, W]: the sigma that gives back this alpha."""
    alpha = rgba[..., 3] / 255.0
    # an alpha of 1 would need an infinite density: the middle of what is rounded to it stands for it
    sigma = -np.log1p(-np.minimum(alpha, 1 - ERROR_8BIT / 2)) / gap
    return np.concatenate([rgba[..., :3].transpose(2, 0, 1) / 255.0, sigma[None]]).astype(np.float32)


def _save(path: Path, image: Image.Image) -> str:
    """Write a PNG and give its sha256."""
    path.parent.mkdir(exist_ok=True)
    image.save(path, format="PNG", compress_level=4)  # lower halves are noise: more effort saves 1 % of the bytes
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _pixels(folder: Path, entry: dict, shape: tuple[int, ...], dtype) -> np.ndarray:
    path = folder / entry["file"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"it names {entry['file']!r}, which lies outside the folder", where=folder / INDEX)
    require_file(path, "plane")
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise InputError("the file is not the one that was written (its sha256 differs)", where=path,
                         mend="Export the multiplane image again")
    with Image.open(path) as image:
        pixels = np.asarray(image)
    if pixels.shape != shape or pixels.dtype != dtype:
        raise InputError(f"a picture of shape {pixels.shape} and type {pixels.dtype}, not {shape} and {dtype.__name__}",
                         where=path, mend=f"{INDEX} was changed: export the multiplane image again")
    return pixels


_NUMBER = (int, float)
_KEYS = {"format": str, "version": int, "name": str, "exact": bool, "size": list, "K": list, "world_to_cam": list,
         "near": _NUMBER, "far": _NUMBER, "inset": list, "planes": list}


def _index(path: Path) -> dict:
    """The index, with every key that is read later there and of its type."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"this is no JSON ({error})", where=path, mend="Export the multiplane image again") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise InputError(f"this is no index of a {FORMAT}", where=path)
    if index.get("version") != VERSION:
        raise InputError(f"its version is {index.get('version')!r}, this reader knows {VERSION}", where=path)
    wrong = [key for key, kind in _KEYS.items() if not isinstance(index.get(key), kind)]
    wrong += [key for key, shape in (("K", (3, 3)), ("world_to_cam", (4, 4)), ("size", (2,)), ("inset", (4,)))
              if key not in wrong and _shape(index[key]) != shape]
    if "size" not in wrong and not all(isinstance(side, int) and side > 0 for side in index["size"]):
        wrong.append("size")
    wanted = {"depth": _NUMBER, "gap": _NUMBER, "file": str, "sha256": str}
    for i, entry in enumerate(index["planes"] if "planes" not in wrong else []):
        part = entry if isinstance(entry, dict) else {}
        wrong += [f"planes[{i}].{key}" for key, kind in wanted.items() if not isinstance(part.get(key), kind)
                  or (kind is _NUMBER and not 0 < part[key] < float("inf"))]
        stored = part.get("exact") if isinstance(part.get("exact"), dict) else {}
        if index.get("exact") is True:
            wrong += [f"planes[{i}].exact.{key}" for key in ("file", "sha256") if not isinstance(stored.get(key), str)]
    if wrong or not index["planes"]:
        raise InputError(f"{', '.join(wrong[:3]) or 'planes'} is missing or of another form", where=path,
                         mend="Export the multiplane image again")
    return index


def _shape(numbers: list) -> tuple[int, ...] | None:
    try:
        return np.array(numbers, np.float64).shape
    except (TypeError, ValueError):
        return None


@contextmanager
def _atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place when the block ends without an error."""
    if folder.exists() and not (folder.is_dir() and ((folder / INDEX).is_file() or not any(folder.iterdir()))):
        raise InputError("something else is there already", where=folder,
                         mend="Choose another folder, or remove it yourself")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}") for _ in range(2))
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            os.rename(folder, old)
        os.rename(temporary, folder)
    except BaseException:
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
