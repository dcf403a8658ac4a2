"""glTF 2.0, text or binary (.gltf, .glb), through trimesh.

trimesh resolves buffers, images and node transforms and already turns texture coordinates to v up. Transforms are
applied here, in float64: city tiles carry their large offset in a node.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from rsnb.data.meshes.class_tables import CITY_SURFACES, surface_class
from rsnb.data.meshes.polygons import near_zero
from rsnb.data.meshes.reading import DEFAULTS, Reading, ReadOptions, place
from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.scenes import Georeference, Material, TexturedMesh

_PACKED = {"KHR_draco_mesh_compression", "EXT_meshopt_compression"}


def read_gltf(
    path: str | Path,
    georeference: Georeference | None = None,
    options: ReadOptions = DEFAULTS,
    reading: Reading | None = None,
) -> TexturedMesh:
    """Read a glTF scene as one mesh, turned from y up (glTF's axis) to z up; `ReadOptions(up="z")` leaves it.

    A node or material whose name is a surface class ("roof", "WallSurface_3") gives its faces that class. Instances
    are the vertex attribute `_BATCHID` of 3D Tiles where it is there, else the nodes. A base colour factor without a
    texture is turned from linear light to sRGB, as pictures are.

    Raises:
        InputError: not a glTF file, a buffer that is missing, no triangles, a vertex that is not a number.
    """
    import trimesh

    path = require_file(path, "glTF file")
    own = reading is None
    reading = reading or Reading(options)
    _check_header(path, reading)
    parts = _Parts()
    try:
        scene = trimesh.load_scene(path, process=False)
        for number, node in enumerate(sorted(scene.graph.nodes_geometry), start=1):
            transform, name = scene.graph[node]
            geometry = scene.geometry[name]
            if isinstance(geometry, trimesh.Trimesh) and len(geometry.faces):
                parts.add(geometry, np.asarray(transform, dtype=np.float64), (node, name), number, reading, path)
    except InputError:
        raise
    except Exception as error:  # a damaged file: trimesh raises whatever its parser met
        what = " ".join(str(error).split())
        raise InputError(f"this glTF file cannot be read ({type(error).__name__}: {what})", where=path,
                         mend="Check that the file is whole and its buffers lie beside it") from None
    mesh = parts.mesh(path, georeference, options)
    if own:
        reading.report(path)
    return mesh


class _Parts:
    """Triangles of the nodes, one after the other."""

    def __init__(self):
        self.vertices, self.faces, self.uv, self.colours = [], [], [], []
        self.material, self.face_class, self.objects = [], [], []
        self.materials: list[Material] = []
        self.material_ids: dict[int, int] = {}
        self.count = 0

    def add(self, geometry, transform, names, number, reading, path) -> None:
        points = np.asarray(geometry.vertices, dtype=np.float64)
        faces = np.asarray(geometry.faces, dtype=np.int64)
        if faces.min() < 0 or faces.max() >= len(points):
            raise InputError(f"a face of {names[1]!r} names vertex {faces.max()}, but there are only {len(points)}",
                             where=path, mend="The file is cut short or its indices are off")
        self.vertices.append(points @ transform[:3, :3].T + transform[:3, 3])
        if np.linalg.det(transform[:3, :3]) < 0:  # a mirrored node would turn its faces inside out
            faces = faces[:, ::-1]
        self.faces.append(faces + self.count)
        self.count += len(points)
        visual = geometry.visual
        material = getattr(visual, "material", None)
        uv = getattr(visual, "uv", None)
        uv = None if uv is None or len(uv) != len(points) else uv
        self.uv.append(np.zeros((*faces.shape, 2)) if uv is None else np.asarray(uv, dtype=np.float64)[faces])
        if id(material) not in self.material_ids or material is None:
            self.material_ids[id(material)] = len(self.materials)
            self.materials.append(_material(material, uv is not None, reading))
        index = self.material_ids[id(material)]
        self.material.append(np.full(len(faces), index))
        found = (surface_class(n) for n in (*names, self.materials[index].name))
        self.face_class.append(np.full(len(faces), next(filter(None, found), 0)))
        self.objects.append(_instances(geometry, faces, number))
        self.colours.append(_colours(geometry, len(points)))

    def mesh(self, path, georeference, options) -> TexturedMesh:
        if not self.faces:
            raise InputError("the scene has no triangles", where=path, mend="Check that it holds a mesh")
        points = np.concatenate(self.vertices)
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        if len(bad):
            raise InputError(f"vertex {bad[0]} (from 0) is not a finite number", where=path,
                             mend="Remove or repair that vertex in the file")
        vertices, placed = place(points, georeference, options, default_up="y")
        coloured = any(c is not None for c in self.colours)
        colours = [np.full((len(v), 3), 255, np.uint8) if c is None else c
                   for v, c in zip(self.vertices, self.colours, strict=True)]
        face_class = np.concatenate(self.face_class).astype(np.int32)
        return TexturedMesh(
            vertices, np.concatenate(self.faces).astype(np.int32), near_zero(np.concatenate(self.uv)),
            np.concatenate(self.material).astype(np.int32), tuple(self.materials), face_class,
            CITY_SURFACES if face_class.any() else (), np.concatenate(self.objects).astype(np.int32), placed,
            np.concatenate(colours) if coloured else None, name=path.stem,
        )


def _material(material, has_uv: bool, reading: Reading) -> Material:
    if material is None:
        return Material("none")
    name = getattr(material, "name", None) or "unnamed"
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    factor = getattr(material, "baseColorFactor", None)
    factor = np.ones(3) if factor is None else np.asarray(factor, dtype=np.float64)[:3]
    if factor.max(initial=0) > 1.0 or getattr(getattr(material, "baseColorFactor", None), "dtype", None) == np.uint8:
        factor = factor / 255.0
    if picture is not None and has_uv and hasattr(picture, "convert"):
        reading.found += 1
        return Material(name, tuple(factor.tolist()), reading.picture(picture))
    srgb = np.where(factor <= 0.0031308, 12.92 * factor, 1.055 * np.maximum(factor, 1e-9) ** (1 / 2.4) - 0.055)
    return Material(name, tuple(np.clip(srgb, 0.0, 1.0).tolist()))


def _colours(geometry, count: int) -> np.ndarray | None:
    """[V, 3] uint8 vertex colours, whether the primitive has a material beside them or not."""
    if geometry.visual.kind == "vertex":
        return np.asarray(geometry.visual.vertex_colors, dtype=np.uint8)[:, :3]
    colour = getattr(geometry.visual, "vertex_attributes", {}).get("color")
    if colour is None or len(colour) != count:
        return None
    colour = np.asarray(colour)[:, :3]
    return colour.astype(np.uint8) if colour.dtype == np.uint8 else np.clip(colour * 255, 0, 255).astype(np.uint8)


def _instances(geometry, faces: np.ndarray, number: int) -> np.ndarray:
    batch = geometry.vertex_attributes.get("_BATCHID") if hasattr(geometry, "vertex_attributes") else None
    if batch is None or len(batch) != len(geometry.vertices):
        return np.full(len(faces), number)
    return np.asarray(batch).reshape(-1)[faces[:, 0]].astype(np.int64) + 1


def _check_header(path: Path, reading: Reading) -> None:
    """Notes images that are not there, which trimesh passes over, and refuses what it cannot unpack."""
    data = path.read_bytes()
    try:
        if data[:4] == b"glTF":
            (length,) = struct.unpack_from("<I", data, 12)
            data = data[20 : 20 + length]
        header = json.loads(data)
        names = [image.get("uri", "data:") for image in header.get("images", [])]
        outside = [name for name in names if not name.startswith("data:")]
        packed = sorted(_PACKED & set(header.get("extensionsRequired", [])))
    except (ValueError, struct.error, AttributeError, TypeError, RecursionError):
        raise InputError("this is no glTF file", where=path, mend="Check the file; it may be cut short") from None
    if packed:
        raise InputError(f"the file is packed with {', '.join(packed)}", where=path,
                         mend="Save it without compression, for example `gltf-transform copy IN OUT`")
    for name in outside:
        reading.texture(path.parent, name)
