"""MTL, the material library of Wavefront OBJ: diffuse colour and diffuse texture."""

from __future__ import annotations

import math
from pathlib import Path

from rsnb.data.meshes.reading import Reading, is_file
from rsnb.errors import InputError
from rsnb.scenes import Material

# Options that may stand before the file name of a map statement, and how many arguments each has at most.
_MAP_OPTIONS = {"-blendu": 1, "-blendv": 1, "-boost": 1, "-mm": 2, "-o": 3, "-s": 3, "-t": 3, "-texres": 1,
                "-clamp": 1, "-bm": 1, "-imfchan": 1, "-type": 1, "-cc": 1}


# Kd that exporters write whatever the picture looks like (none, 3ds Max, Blender to 2.7, Blender since): no tint.
_NO_TINT = ((0.0,) * 3, (0.588,) * 3, (0.64,) * 3, (0.8,) * 3)


def find_library(folder: Path, names: str) -> list[Path]:
    """Files of a `mtllib` statement. The name may hold spaces, or several names may stand there: one file that
    exists wins, else each word is a name."""
    whole = folder / names.replace("\\", "/")
    candidates = (whole, folder / whole.name)
    if found := next(filter(is_file, candidates), None):
        return [found]
    words = [folder / w for w in names.split()]
    return words if any(map(is_file, words)) else [whole]


def read_mtl(path: Path, reading: Reading) -> dict[str, Material]:
    """Materials of a library by name.

    Kd multiplies the texture, as the format says; the greys that exporters write by default under a texture count as 1.
    A material without Kd is 0.8 grey; one whose texture cannot be had keeps its Kd.

    Raises:
        InputError: a Kd that is not three numbers, with file and line.
    """
    colours: dict[str, tuple[float, ...]] = {}
    maps: dict[str, str] = {}
    name = None
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        word, _, rest = line.strip().partition(" ")
        if "\t" in word:
            word, _, rest = line.strip().partition("\t")
        word, rest = word.lower(), rest.strip()
        if word == "newmtl":
            name = rest
            colours.setdefault(name, ())
        elif name is not None and word == "kd":
            colours[name] = _colour(rest, path, number)
        elif name is not None and word in ("map_kd", "map_ka") and (word == "map_kd" or name not in maps):
            maps[name] = _map_file(rest)
    return {name: _material(name, kd, maps.get(name), path.parent, reading) for name, kd in colours.items()}


def _material(name: str, kd: tuple[float, ...], picture: str | None, folder: Path, reading: Reading) -> Material:
    texture = reading.texture(folder, picture) if picture else None
    if texture is None:
        grey = (0.8, 0.8, 0.8)
        return Material(name, grey if not kd or (picture and not any(kd)) else kd)
    return Material(name, kd if kd and kd not in _NO_TINT else (1.0, 1.0, 1.0), texture)


def _colour(text: str, path: Path, line: int) -> tuple[float, float, float]:
    parts = text.split()
    if parts and parts[0] in ("spectral", "xyz"):
        return (0.8, 0.8, 0.8)
    try:
        values = [float(p) for p in parts[:3]]
    except ValueError:
        values = []
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise InputError(f"`Kd {text}` is not a colour", where=path, line=line, mend="Write three numbers 0..1")
    return tuple(min(max(v, 0.0), 1.0) for v in (values * 3)[:3])


def _map_file(text: str) -> str:
    """The file name of a map statement, which may hold spaces, behind its options."""
    words = text.split(" ")
    while words and words[0].lower() in _MAP_OPTIONS:
        count = _MAP_OPTIONS[words[0].lower()]
        words = words[1:]
        while words and count:
            if count < 3 and len(words) == 1:
                break
            try:
                float(words[0])
            except ValueError:
                if words[0].lower() not in ("on", "off", "r", "g", "b", "m", "l", "z", "sphere"):
                    break
            words, count = words[1:], count - 1
    return " ".join(words)
