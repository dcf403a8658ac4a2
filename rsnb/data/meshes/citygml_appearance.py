"""Appearances of CityGML 1 to 3: which texture or colour belongs to which polygon, and the texture coordinates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np


def local(element) -> str:
    """Tag without namespace; the versions of CityGML differ in namespaces, hardly in names. "" for comments."""
    tag = element.tag
    return tag.rsplit("}", 1)[-1] if isinstance(tag, str) else ""


def gml_id(element) -> str | None:
    """`gml:id` (of any GML version), or None."""
    for key, value in element.attrib.items():
        if key.rsplit("}", 1)[-1] == "id":
            return value
    return None


def numbers(text: str | None) -> list[float]:
    """Floats of an XML list."""
    return [float(t) for t in (text or "").split()]


@dataclass
class Texture:
    """A ParameterizedTexture.

    Attributes:
        image: path as in the file.
        rings: ring id -> [(u, v), ...], v up.
        lists: target id -> texture coordinates of its rings in file order, for rings without an id.
        matrices: target id -> [3, 4], world to texture (TexCoordGen).
    """

    image: str
    rings: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    lists: dict[str, list[list[tuple[float, float]]]] = field(default_factory=dict)
    matrices: dict[str, np.ndarray] = field(default_factory=dict)

    def corners(self, target: str, ring_ids: list[str | None], rings: list) -> list | None:
        """Per ring the texture coordinates, or None where this texture has none for the polygon."""
        if target in self.matrices:
            matrix = self.matrices[target]
            return [[_project(matrix, p) for p in ring] for ring in rings]
        found = [self.rings.get(r) if r else None for r in ring_ids]
        if found[0] is None and target in self.lists:
            listed = self.lists[target]
            found = listed + [None] * (len(rings) - len(listed))
        if found[0] is None:
            return None
        return [[(0.0, 0.0)] * len(r) if uv is None else uv for r, uv in zip(rings, found, strict=False)]


def _project(matrix: np.ndarray, point) -> tuple[float, float]:
    s, t, q = matrix @ np.array([*point, 1.0])
    return float(s / q), float(t / q)


@dataclass
class Appearances:
    """What `read_appearances` found: target id -> textures and colours, best theme first, fronts before backs."""

    textures: dict[str, list[Texture]] = field(default_factory=dict)
    colours: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)


def read_appearances(root, theme: str | None) -> Appearances:
    """All X3DMaterial and ParameterizedTexture elements of a document.

    Args:
        root: lxml element of the document.
        theme: only appearances of this theme; None = all, in file order.
    """
    result = Appearances()
    fronts, backs = [], []
    for element in root.iter("{*}X3DMaterial", "{*}ParameterizedTexture"):
        if theme is not None and _theme(element) != theme:
            continue
        back = (element.findtext("{*}isFront") or "true").strip() in ("false", "0")
        (backs if back else fronts).append(element)
    for element in fronts + backs:  # a back only where no front says anything
        if local(element) == "X3DMaterial":
            _colour(element, result)
        else:
            _texture(element, result)
    return result


def _theme(element) -> str | None:
    for ancestor in element.iterancestors():
        if local(ancestor) == "Appearance":
            return (ancestor.findtext("{*}theme") or "").strip()
    return None


def _colour(element, result: Appearances) -> None:
    rgb = numbers(element.findtext("{*}diffuseColor"))
    rgb = tuple(rgb[:3]) if len(rgb) >= 3 else (0.8, 0.8, 0.8)
    for target in _targets(element):
        result.colours.setdefault(target, []).append(rgb)


def _targets(element) -> Iterable[str]:
    for target in element.iterfind("{*}target"):
        uri = target.get("uri") or target.text or ""
        yield uri.strip().removeprefix("#")


def _texture(element, result: Appearances) -> None:
    image = (element.findtext("{*}imageURI") or "").strip()
    if not image:
        return
    texture = Texture(image)
    # CityGML 1, 2: target[@uri] holds the coordinates; 3: TextureAssociation with target, then textureParameterization.
    for holder in [*element.iterfind("{*}target"), *element.iter("{*}TextureAssociation")]:
        name = holder.get("uri") or (holder.findtext("{*}target") if len(holder) else holder.text) or ""
        name = name.strip().removeprefix("#")
        for corners in holder.iter("{*}textureCoordinates"):
            values = numbers(corners.text)
            pairs = list(zip(values[0::2], values[1::2], strict=False))
            if ring := corners.get("ring"):
                texture.rings[ring.removeprefix("#")] = pairs
            texture.lists.setdefault(name, []).append(pairs)
        for matrix in holder.iter("{*}worldToTexture"):
            values = numbers(matrix.text)
            if len(values) == 12:
                texture.matrices[name] = np.array(values).reshape(3, 4)
        for coord_list in holder.iter("{*}TexCoordList"):  # CityGML 3: ring elements beside textureCoordinates
            names = [(r.text or "").strip().removeprefix("#") for r in coord_list.iterfind("{*}ring")]
            lists = [numbers(c.text) for c in coord_list.iterfind("{*}textureCoordinates")]
            for ring, values in zip(names, lists, strict=False):
                texture.rings[ring] = list(zip(values[0::2], values[1::2], strict=False))
        if name:
            result.textures.setdefault(name, []).append(texture)
