"""PLY, ASCII and binary, with what labelled city meshes put into it.

SUM-Helsinki (3d.bk.tudelft.nl/projects/meshannotation) has per-face `label`, a `texcoord` list, `texnumber` and
`comment TextureFile`. trimesh 5.2 binds only one texture and keeps labels in a private field; the tests use it as
the oracle of geometry.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsnb.data.meshes.class_tables import SUM_HELSINKI, complete_table
from rsnb.data.meshes.ply_columns import Column, read_columns
from rsnb.data.meshes.polygons import near_zero, split_polygons
from rsnb.data.meshes.reading import DEFAULTS, Reading, ReadOptions, place
from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.scenes import Georeference, Material, TexturedMesh

_LABELS = ("label", "labels", "class", "semantic", "scalar_label", "scalar_class", "category")


def read_ply(
    path: str | Path,
    georeference: Georeference | None = None,
    options: ReadOptions = DEFAULTS,
    reading: Reading | None = None,
) -> TexturedMesh:
    """Read a PLY mesh.

    Faces take their look from the texture where they have one, else from red/green/blue of the face; colours of the
    vertices are kept where no texture was found. Labels below 0 are unclassified (SUM-Helsinki's files of 2021).
    Texture coordinates may lie on faces (`texcoord`) or vertices (s t, u v, texture_u texture_v), v up.

    Raises:
        InputError: file cut short, not a number, a face index out of range, each with its place.
    """
    path = require_file(path, "PLY file")
    own = reading is None
    reading = reading or Reading(options)
    file = read_columns(path)
    vertex, _ = _scalars_and_lists(file.columns.get("vertex", {}))
    face, lists = _scalars_and_lists(file.columns.get("face", {}))
    corner_key = next((k for k in ("vertex_indices", "vertex_index") if k in lists), None)
    if not {"x", "y", "z"} <= set(vertex) or corner_key is None or not len(lists[corner_key].counts):
        raise InputError("the mesh has no faces", where=path,
                         mend="A PLY mesh needs `vertex` with x, y, z and `face` with a list vertex_indices")
    points = np.stack([vertex[k].values.astype(np.float64) for k in "xyz"], axis=1)
    corners, counts = lists[corner_key].values.astype(np.int64), lists[corner_key].counts
    _check(path, points, corners, counts, file.first_line)
    keep = counts >= 3
    if not keep.all():
        raise InputError(f"face {int(np.argmin(keep))} (from 0) has fewer than 3 corners", where=path,
                         mend="Remove that face from the file")
    pick, source = split_polygons(counts, corners, points)
    uv, has_uv = _texture_corners(vertex, lists, corners, counts, pick)
    pictures = [c.split(None, 1)[1].strip() for c in file.comments if c.lower().startswith("texturefile ")]
    materials, face_material = _looks(path, pictures, face, source, has_uv, "red" in vertex, reading)
    textured = any(m.texture is not None for m in materials)
    face_class = np.zeros(len(pick), dtype=np.int32)
    if label := next((k for k in face if k.lower() in _LABELS), None):
        face_class = np.maximum(face[label].values[source].astype(np.int64), 0).astype(np.int32)
    placed, where = place(points, georeference, options)
    mesh = TexturedMesh(
        placed, corners[pick].astype(np.int32), near_zero(uv), face_material, materials, face_class,
        complete_table(options.classes or SUM_HELSINKI, face_class), _instances(face, source), where,
        None if textured else _vertex_colours(vertex), name=path.stem,
    )
    if own:
        reading.report(path)
    return mesh


def _scalars_and_lists(columns: dict[str, Column]) -> tuple[dict[str, Column], dict[str, Column]]:
    return ({k: c for k, c in columns.items() if c.counts is None},
            {k: c for k, c in columns.items() if c.counts is not None})


def _check(path: Path, points: np.ndarray, corners: np.ndarray, counts: np.ndarray, lines: dict[str, int]) -> None:
    """Vertices finite, indices in range; rows of an ASCII file have a line number."""
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise InputError(f"vertex {bad[0]} (from 0) is not a finite number", where=path,
                         line=lines["vertex"] + int(bad[0]) if lines else None,
                         mend="Remove or repair that vertex in the file")
    bad = np.flatnonzero((corners < 0) | (corners >= len(points)))
    if len(bad):
        face = int(np.searchsorted(np.cumsum(counts), bad[0], side="right"))
        raise InputError(f"face {face} (from 0) names vertex {corners[bad[0]]}, but there are only {len(points)}",
                         where=path, line=lines["face"] + face if lines else None,
                         mend="The file is cut short or its indices are off")


def _texture_corners(vertex, lists, corners, counts, pick) -> tuple[np.ndarray, bool]:
    """[F, 3, 2] texture coordinates of the triangles' corners, and whether the file has any."""
    column = lists.get("texcoord") or lists.get("texture_coordinates")
    if column is not None and len(column.values):
        if (column.counts == 2 * counts).all():
            return column.values.astype(np.float64).reshape(-1, 2)[pick], True
        per_corner = np.zeros((len(corners), 2))  # some faces have none: an empty list
        has = column.counts == 2 * counts
        own = np.repeat(column.counts == 2 * counts, column.counts)
        per_corner[np.repeat(has, counts)] = column.values[own].reshape(-1, 2)
        return per_corner[pick], True
    for u, v in (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("tu", "tv")):
        if u in vertex and v in vertex:
            both = np.stack([vertex[u].values, vertex[v].values], axis=1).astype(np.float64)
            return both[corners][pick], True
    return np.zeros((*pick.shape, 2)), False


def _looks(path, pictures, face, source, has_uv, coloured, reading) -> tuple[tuple[Material, ...], np.ndarray]:
    """Materials, and the material of each triangle: its texture, else its own colour, else grey."""
    grey = Material("plain", (0.8, 0.8, 0.8))
    materials: list[Material] = []
    number = np.full(len(source), -1)
    if has_uv and pictures:
        textures = [reading.texture(path.parent, name) for name in pictures]
        given = face["texnumber"].values[source] if "texnumber" in face else np.zeros(len(source))
        usable = np.array([t is not None for t in textures])
        inside = (given >= 0) & (given < len(textures))
        number = np.where(inside & usable[np.where(inside, given, 0).astype(int)], given, -1).astype(int)
        materials = [Material(n, texture=t) if t is not None else grey
                     for n, t in zip(pictures, textures, strict=True)]
    rest = number < 0
    if rest.any() and {"red", "green", "blue"} <= set(face):
        rgb = np.stack([_bytes(face[k].values) for k in ("red", "green", "blue")], axis=1)[source[rest]]
        palette, which = np.unique(rgb, axis=0, return_inverse=True)
        number[rest] = which.reshape(-1) + len(materials)
        materials += [Material(f"colour {r} {g} {b}", (r / 255, g / 255, b / 255)) for r, g, b in palette.tolist()]
    elif rest.any():
        number[rest] = len(materials)
        materials.append(Material("vertex colours") if coloured else grey)
    used, compact = np.unique(number, return_inverse=True)
    return tuple(materials[i] for i in used), compact.astype(np.int32)


def _bytes(values: np.ndarray) -> np.ndarray:
    """Colours as 0..255, whether stored so or as 0..1 floats."""
    scale = 255.0 if values.dtype.kind == "f" and values.max(initial=0) <= 1.0 else 1.0
    return np.clip(np.round(values.astype(np.float64) * scale), 0, 255).astype(np.uint8)


def _vertex_colours(vertex) -> np.ndarray | None:
    if not {"red", "green", "blue"} <= set(vertex):
        return None
    return np.stack([_bytes(vertex[k].values) for k in ("red", "green", "blue")], axis=1)


def _instances(face, source) -> np.ndarray | None:
    key = next((k for k in face if k.lower() in ("instance", "instance_id", "object_id")), None)
    return None if key is None else np.maximum(face[key].values[source], 0).astype(np.int32)
