"""One door for mesh files of any format, for folders of them, and the merger of several meshes into one."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rsnb.data.meshes.class_tables import unify_tables
from rsnb.data.meshes.reading import DEFAULTS, Reading, ReadOptions
from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.geometry.georeference import horizontal_crs
from rsnb.scenes import Georeference, Material, TexturedMesh

_SUFFIXES = {
    ".obj": "obj", ".glb": "gltf", ".gltf": "gltf", ".ply": "ply", ".json": "cityjson", ".jsonl": "cityjson",
    ".cityjson": "cityjson", ".gml": "citygml", ".xml": "citygml", ".citygml": "citygml",
}
_HEAD = 8192  # bytes that tell most formats


def read_mesh(
    path: str | Path, georeference: Georeference | None = None, options: ReadOptions = DEFAULTS
) -> TexturedMesh:
    """Read a mesh file of any known format (OBJ, glTF, PLY, CityJSON, CityGML), or all of a folder as one mesh.

    Args:
        path: a file; or a folder whose files, of one format and in subfolders too, are read and merged.
        georeference: place of the file's coordinates: `origin` is added to them to get coordinates of `crs`. Where the
            file names its own CRS, that holds.
        options: level of detail, up axis, model origin and so on.

    Returns:
        the mesh in model metres; `mesh.georeference.origin` takes them back to the CRS.

    Raises:
        InputError: no such file, unknown format, or what the format's reader finds.
    """
    path = Path(path)
    files = _mesh_files(path) if path.is_dir() else [require_file(path, "mesh file")]
    return read_files(files, path, georeference, options)


def read_files(
    files: Sequence[Path], where: Path, georeference: Georeference | None, options: ReadOptions
) -> TexturedMesh:
    """Read several files and merge them; their warnings come as one, under the name `where`."""
    if georeference is not None and georeference.crs is not None:
        horizontal_crs(georeference.crs)  # an unknown system is better said now than at the first camera
    reading = Reading(options)
    meshes = [_read(file, georeference, options, reading) for file in files]
    mesh = meshes[0] if len(meshes) == 1 else merge_meshes(meshes, options.origin, name=Path(where).name)
    reading.report(where)
    return mesh


def _read(file: Path, georeference: Georeference | None, options: ReadOptions, reading: Reading) -> TexturedMesh:
    try:
        return _reader(file)(file, georeference, options, reading)
    except InputError:
        raise
    except Exception as error:  # damage that the reader did not foresee
        what = " ".join(str(error).split())[:200]
        raise InputError(f"this file cannot be read ({type(error).__name__}: {what})", where=file,
                         mend="It is damaged or cut short: fetch or export it again") from error


def _mesh_files(folder: Path) -> list[Path]:
    by_format: dict[str, list[Path]] = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in _SUFFIXES):
        kind = _SUFFIXES[file.suffix.lower()]
        if kind in ("cityjson", "citygml") and _sniff(file) != kind:
            continue  # sidecars and metadata
        by_format.setdefault(kind, []).append(file)
    if not by_format:
        raise InputError("this folder holds no mesh file", where=folder,
                         mend=f"Name a folder with one of {', '.join(sorted(_SUFFIXES))}")
    if len(by_format) > 1:
        counts = ", ".join(f"{len(v)} {k}" for k, v in by_format.items())
        raise InputError(f"this folder holds meshes of several formats ({counts})", where=folder,
                         mend="Name one file, or a folder with one format")
    return next(iter(by_format.values()))


def _sniff(file: Path) -> str | None:
    """Format of a file by its first bytes, or None."""
    with open(file, "rb") as stream:
        head = stream.read(_HEAD)
    if head.startswith(b"glTF"):
        return "gltf"
    if head.startswith(b"ply"):
        return "ply"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        return "citygml" if b"citygml" in text or b"CityModel" in text else None
    if text.startswith(b"{"):
        if b'"asset"' in text and b'"CityObjects"' not in text:
            return "gltf"
        # The keys of a JSON object come in any order: "type" may stand behind a long list of vertices.
        if b'"CityJSON' in text or b'"CityObjects"' in text or (len(head) == _HEAD and _has(file, b'"CityJSON')):
            return "cityjson"
        return None
    if any(line.startswith((b"v ", b"mtllib ")) for line in text.splitlines()):
        return "obj"
    return None


def _has(file: Path, word: bytes) -> bool:
    with open(file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        return whole.find(word) >= 0


def _reader(file: Path):
    """The reader of a file: by extension where that says it, by content else."""
    kind = _SUFFIXES.get(file.suffix.lower()) or _sniff(file)
    if kind == "cityjson" and _sniff(file) == "gltf":
        kind = "gltf"
    if kind == "obj":
        from rsnb.data.meshes.obj import read_obj as reader
    elif kind == "ply":
        from rsnb.data.meshes.ply import read_ply as reader
    elif kind == "gltf":
        from rsnb.data.meshes.gltf import read_gltf as reader
    elif kind == "cityjson":
        from rsnb.data.meshes.cityjson import read_cityjson as reader
    elif kind == "citygml":
        from rsnb.data.meshes.citygml import read_citygml as reader
    else:
        raise InputError("this is no mesh format that can be read here", where=file,
                         mend=f"Use one of {', '.join(sorted(_SUFFIXES))}")
    return reader


def merge_meshes(
    meshes: Sequence[TexturedMesh], origin: Sequence[float] | None = None, name: str = "merged"
) -> TexturedMesh:
    """Several meshes as one, each in its true place.

    Args:
        meshes: of one CRS (those without a CRS go with any).
        origin: [3] model origin of the result in CRS coordinates; None = the lowest of their origins, per axis.
        name: of the result.

    Class tables are unified by name, equal materials become one, instances keep apart.

    Raises:
        InputError: no mesh, or meshes of different CRS.
    """
    if not meshes:
        raise InputError("there is no mesh to merge", where=name, mend="Give at least one")
    systems = list(dict.fromkeys(m.georeference.crs for m in meshes if m.georeference.crs is not None))
    if len(systems) > 1:
        raise InputError(f"meshes of different coordinate systems cannot be merged ({', '.join(systems)})", where=name,
                         mend="Read them one by one, or transform them first")
    origins = np.array([m.georeference.origin for m in meshes], dtype=np.float64)
    base = origins.min(axis=0) if origin is None else np.asarray(origin, dtype=np.float64)
    classes, maps = unify_tables([m.classes for m in meshes])
    materials, material_maps = _unify_materials(meshes)
    vertices, faces, face_class, objects, material = [], [], [], [], []
    n_vertices = n_objects = 0
    for mesh, place, mapping, material_map in zip(meshes, origins, maps, material_maps, strict=True):
        shift = place - base
        vertices.append(mesh.vertices + shift if shift.any() else mesh.vertices)
        faces.append(mesh.faces + np.int32(n_vertices))
        face_class.append(_mapped(mesh.face_class, mapping))
        material.append(material_map[mesh.face_material])
        own = np.zeros(len(mesh.faces), np.int32) if mesh.face_object is None else mesh.face_object
        objects.append(np.where(own > 0, own + n_objects, 0).astype(np.int32))
        n_vertices, n_objects = n_vertices + len(mesh.vertices), n_objects + int(own.max())
    first = meshes[0]
    return replace(
        first, vertices=np.concatenate(vertices), faces=np.concatenate(faces),
        uv=np.concatenate([m.uv for m in meshes]), face_material=np.concatenate(material).astype(np.int32),
        materials=materials, face_class=np.concatenate(face_class),
        classes=classes if any(m.classes for m in meshes) else (),
        face_object=np.concatenate(objects) if n_objects else None, vertex_rgb=_merge_colours(meshes),
        georeference=Georeference(systems[0] if systems else None, tuple(float(b) for b in base),
                                  first.georeference.epoch), name=name,
    )


def _mapped(ids: np.ndarray, mapping: dict[int, int]) -> np.ndarray:
    unique, inverse = np.unique(ids, return_inverse=True)
    return np.array([mapping.get(int(u), int(u)) for u in unique], dtype=np.int32)[inverse.reshape(-1)]


def _unify_materials(meshes: Sequence[TexturedMesh]) -> tuple[tuple[Material, ...], list[np.ndarray]]:
    """Materials without repeats (same name, colour and texture bytes), and per mesh the map from its own."""
    keys: dict[tuple, int] = {}
    digests: dict[int, bytes] = {}
    materials, maps = [], []
    for mesh in meshes:
        own = []
        for material in mesh.materials:
            texture = material.texture
            if texture is not None and id(texture) not in digests:
                digests[id(texture)] = hashlib.blake2b(np.ascontiguousarray(texture)).digest()
            key = (material.name, material.rgb, None if texture is None else (texture.shape, digests[id(texture)]))
            if key not in keys:
                keys[key] = len(materials)
                materials.append(material)
            own.append(keys[key])
        maps.append(np.array(own, dtype=np.int32))
    return tuple(materials), maps


def _merge_colours(meshes: Sequence[TexturedMesh]) -> np.ndarray | None:
    if all(m.vertex_rgb is None for m in meshes):
        return None
    return np.concatenate([np.full((len(m.vertices), 3), 255, np.uint8) if m.vertex_rgb is None else m.vertex_rgb
                           for m in meshes])
