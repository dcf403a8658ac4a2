"""Pictures and per-pixel arrays: RGB as PNG or JPEG, labels as palette PNG, depth and normals as float32 TIFF."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from rsnb.errors import InputError
from rsnb.files import atomic_path
from rsnb.scenes import SemanticClass


def to_uint8(rgb: np.ndarray) -> np.ndarray:
    """[3, H, W] float in 0..1 -> [H, W, 3] uint8, rounded to nearest, values outside clipped."""
    if rgb.ndim != 3 or rgb.shape[0] != 3:
        raise InputError(f"a picture of shape {rgb.shape}, expected [3, H, W]", where="to_uint8")
    return np.ascontiguousarray((np.clip(rgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def write_png(path: str | Path, rgb: np.ndarray) -> Path:
    """[3, H, W] float in 0..1 -> 8-bit RGB PNG."""
    with atomic_path(path) as temporary:
        Image.fromarray(to_uint8(rgb)).save(temporary, format="PNG")
    return Path(path)


def write_jpeg(path: str | Path, rgb: np.ndarray, quality: int = 92) -> Path:
    """[3, H, W] float in 0..1 -> JPEG without chroma subsampling (edges of signs and windows keep their colour)."""
    with atomic_path(path) as temporary:
        Image.fromarray(to_uint8(rgb)).save(temporary, format="JPEG", quality=quality, subsampling=0)
    return Path(path)


def write_label_png(path: str | Path, labels: np.ndarray, classes: Sequence[SemanticClass]) -> Path:
    """[H, W] integer class ids -> 8-bit palette PNG whose pixel values ARE the ids, coloured by the class table.

    Raises InputError for an id outside 0..255 or one that the table does not list (0 = nothing is always allowed).
    """
    known = {0, *(c.id for c in classes)}
    unknown = sorted(set(np.unique(labels).tolist()) - known)
    if unknown or max(known) > 255:
        raise InputError(f"label ids {unknown or sorted(known)} do not fit the class table", where=path,
                         mend="Give the class table of the mesh that was rendered; ids must lie in 0..255")
    palette = np.zeros((256, 3), np.uint8)
    for c in classes:
        palette[c.id] = c.rgb
    image = Image.fromarray(labels.astype(np.uint8), mode="P")
    image.putpalette(palette.tobytes())
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
    return Path(path)


def write_mask_png(path: str | Path, mask: np.ndarray) -> Path:
    """[H, W] bool -> 8-bit grey PNG, 255 where true.

    Raises InputError for another shape or type: a weight or a label would lose its meaning.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype != bool:
        raise InputError(f"a mask of shape {mask.shape} and type {mask.dtype}", where=path, mend="Give [H, W] bool")
    with atomic_path(path) as temporary:
        Image.fromarray(mask.astype(np.uint8) * 255).save(temporary, format="PNG")
    return Path(path)


def write_float_tiff(path: str | Path, array: np.ndarray, description: dict | str = "") -> Path:
    """[H, W] or [C, H, W] -> float32 TIFF (channels last), deflate; `description` lands in ImageDescription as JSON.

    Say there what the numbers are, e.g. {"quantity": "distance along the ray", "unit": "m", "nothing": "inf"}.
    """
    data = np.asarray(array, np.float32)
    data = data if data.ndim == 2 else np.moveaxis(data, 0, -1)
    text = description if isinstance(description, str) else json.dumps(description)
    with atomic_path(path) as temporary:
        tifffile.imwrite(temporary, data, compression="zlib", photometric="minisblack",
                         planarconfig="contig" if data.ndim == 3 else None, description=text, metadata=None)
    return Path(path)
