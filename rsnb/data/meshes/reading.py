"""What all mesh readers share: options, textures found or missed, one warning, and the move to model coordinates."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import numpy as np

from rsnb.errors import InputError
from rsnb.scenes import Georeference, Material, SemanticClass

# Beyond this many metres from the origin a float32 step, of whatever works in float32 later, is over 4 mm.
FAR_M = 50_000.0


class MeshWarning(UserWarning):
    """A mesh was read, but not all of it: missing textures, polygons without an area."""


@dataclass(frozen=True)
class ReadOptions:
    """How a mesh file is read.

    Attributes:
        up: the file's up axis; None = as the format says (glTF y, all others z). A y-up model is turned so that its
            y becomes z and its z becomes -y.
        lod: level of detail wanted from CityJSON and CityGML ("2", "2.2"); None = the best of each object.
        theme: appearance theme wanted from CityJSON and CityGML; None = the first that colours a face.
        origin: [3] wanted model origin in CRS coordinates; None = the file's own while its coordinates are within
            50 km of zero, else the lower corner rounded down to 100 m.
        max_texture: longest texture side kept, pixels; larger pictures are shrunk; None keeps all.
        classes: class table for group names of OBJ and labels of PLY; None = the one of the file or format.
    """

    up: Literal["y", "z"] | None = None
    lod: str | None = None
    theme: str | None = None
    origin: tuple[float, float, float] | None = None
    max_texture: int | None = None
    classes: tuple[SemanticClass, ...] | None = None

    def __post_init__(self):
        if self.up not in (None, "y", "z"):
            raise InputError(f"up is {self.up!r}", where="ReadOptions", mend='Use "y", "z" or None')
        if self.lod is not None:
            object.__setattr__(self, "lod", str(self.lod))
        if self.max_texture is not None and not self.max_texture >= 1:
            raise InputError(f"max_texture is {self.max_texture}", where="ReadOptions",
                             mend="Give a number of pixels from 1, or None")


DEFAULTS = ReadOptions()


@dataclass
class Reading:
    """One reading job: options, a texture cache, and notes of what was wrong but not fatal."""

    options: ReadOptions = DEFAULTS
    missing: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    degenerate: int = 0
    notes: list[str] = field(default_factory=list)
    found: int = 0
    _cache: dict[Path, np.ndarray | None] = field(default_factory=dict)
    _folders: dict[Path, dict[str, Path]] = field(default_factory=dict)

    def texture(self, folder: Path, name: str) -> np.ndarray | None:
        """[H, W, 3] uint8 of a texture that a file in `folder` names, or None: noted as missing or broken."""
        path = self._locate(folder, name)
        if path is None:
            if name not in self.missing:
                self.missing.append(name)
            return None
        if path not in self._cache:
            self._cache[path] = self._load(path)
            self.found += self._cache[path] is not None
        return self._cache[path]

    def _locate(self, folder: Path, name: str) -> Path | None:
        """Texture paths come from other machines: backslashes, %20, another case, a folder that is not here."""
        for text in dict.fromkeys((name, unquote(name))):
            relative = Path(text.replace("\\", "/"))
            for candidate in dict.fromkeys((folder / relative, folder / relative.name)):
                if is_file(candidate):
                    return candidate
                if candidate.parent not in self._folders:
                    self._folders[candidate.parent] = _listed(candidate.parent)
                if found := self._folders[candidate.parent].get(candidate.name.lower()):
                    return found
        return None

    def _load(self, path: Path) -> np.ndarray | None:
        from PIL import Image

        # City tiles come with pictures of 16384 x 16384, which Pillow takes for an attack.
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, 2**30)
        try:
            with Image.open(path) as picture:
                return self.picture(picture)
        except (OSError, ValueError, SyntaxError):
            self.broken.append(path.name)
            return None

    def picture(self, picture) -> np.ndarray:
        """[H, W, 3] uint8 of a PIL image, shrunk to the options' `max_texture`."""
        limit = self.options.max_texture
        picture = picture.convert("RGB")
        if limit is not None and max(picture.size) > limit:
            picture.thumbnail((limit, limit))
        return np.asarray(picture)

    def report(self, where: str | Path) -> None:
        """Say once, as one `MeshWarning`, all that was wrong; nothing where nothing was."""
        parts = list(self.notes)
        if self.missing:
            total = len(self.missing) + self.found + len(self.broken)
            parts.append(f"{len(self.missing)} of {total} textures are missing ({_first(self.missing)}); "
                         "their faces have a plain colour")
        if self.broken:
            parts.append(f"{len(self.broken)} textures are not pictures ({_first(self.broken)}); "
                         "their faces have a plain colour")
        if self.degenerate:
            parts.append(f"{self.degenerate} polygons without an area were left out")
        if parts:
            warnings.warn(f"{where}: " + "; ".join(parts) + ".", MeshWarning, stacklevel=3)


def _first(names: list[str], count: int = 3) -> str:
    short = [n if len(n) <= 80 else n[:77] + "..." for n in names[:count]]  # a data: URI may be megabytes
    return ", ".join(short) + (", ..." if len(names) > count else "")


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have (too long) is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _listed(folder: Path) -> dict[str, Path]:
    """The files of a folder by their names in lower case."""
    try:
        return {p.name.lower(): p for p in folder.iterdir() if p.is_file()}
    except (OSError, ValueError):
        return {}


def place(
    vertices: np.ndarray, georeference: Georeference | None, options: ReadOptions, default_up: str = "z"
) -> tuple[np.ndarray, Georeference]:
    """File coordinates to model coordinates: up axis first, then the origin, all in float64.

    Args:
        vertices: [V, 3] file coordinates, metres.
        georeference: CRS, and the origin that is added to file coordinates to get coordinates of that CRS.
        options: `up` and `origin` are used.
        default_up: up axis of the format.

    Returns:
        [V, 3] float64 model coordinates and the georeference that belongs to them.
    """
    vertices = np.ascontiguousarray(vertices, dtype=np.float64).reshape(-1, 3)
    if (options.up or default_up) == "y":
        vertices = np.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], axis=1)
    georeference = georeference or Georeference()
    file_origin = np.asarray(georeference.origin, dtype=np.float64)
    if options.origin is not None:
        origin = np.asarray(options.origin, dtype=np.float64)
    elif len(vertices) == 0:
        origin = file_origin
    else:
        with np.errstate(invalid="ignore"):
            far = np.abs(vertices).max(axis=0) > FAR_M
        far[:2] = far[:2].any()  # east and north go together
        origin = np.where(far, np.floor(np.nan_to_num(vertices.min(axis=0)) / 100.0) * 100.0, 0.0) + file_origin
    shift = file_origin - origin
    placed = vertices + shift if shift.any() else vertices
    return placed, Georeference(georeference.crs, tuple(float(o) for o in origin), georeference.epoch)


def plain(class_id: int, name: str) -> Material:
    """The look of a face that has no material and no texture: a quiet colour that suits its class."""
    colours = {
        "wall": (0.80, 0.76, 0.69), "roof": (0.62, 0.37, 0.30), "ground": (0.50, 0.48, 0.45),
        "window": (0.42, 0.52, 0.60), "door": (0.45, 0.33, 0.24), "installation": (0.70, 0.68, 0.66),
        "water": (0.30, 0.45, 0.55), "vegetation": (0.35, 0.50, 0.28), "terrain": (0.52, 0.50, 0.42),
        "road": (0.42, 0.42, 0.43), "railway": (0.38, 0.35, 0.33),
    }
    return Material(f"plain {name}", colours.get(name, (0.75, 0.74, 0.72)))
