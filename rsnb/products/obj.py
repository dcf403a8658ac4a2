"""Wavefront OBJ with MTL and JPEG or PNG textures, as the Helsinki tiles come."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from rsnb.errors import InputError
from rsnb.files import atomic_path, write_text
from rsnb.scenes import TexturedMesh


def write_obj(folder: str | Path, mesh: TexturedMesh, name: str | None = None, *, texture_format: str = "jpg") -> Path:
    """Write <name>.obj, <name>.mtl and one picture a textured material into `folder`; gives the OBJ's path.

    Coordinates are model metres with millimetres; texture coordinates are v up as in the mesh. Faces are grouped by
    material (`usemtl`) and by semantic class (`g class_<name>`), and the class table stands in the header as comments
    (`# class ID NAME R G B`); `rsnb.data.read_mesh` reads both back. OBJ has no place for instances, a georeference or
    vertex colours: the former two are lost or the reader's argument, the latter raise InputError.
    """
    names = [material.name for material in mesh.materials]
    if len(set(names)) < len(names):
        raise InputError("two materials have one name, which OBJ cannot tell apart", where=mesh.name,
                         mend="Rename them")
    if mesh.vertex_rgb is not None:
        raise InputError("vertex colours cannot be written to OBJ", where=mesh.name, mend="Use PLY or GLB")
    folder, name = Path(folder), name or mesh.name
    folder.mkdir(parents=True, exist_ok=True)
    _write_materials(folder, name, mesh, texture_format)
    corners, corner_of = np.unique(mesh.uv.reshape(-1, 2), axis=0, return_inverse=True)
    corner_of = corner_of.reshape(-1, 3)
    text = io.StringIO()
    text.write("# rsnb: model metres, z up\n")
    for c in mesh.classes:
        text.write("# class {} {} {} {} {}\n".format(c.id, c.name, *c.rgb))
    text.write(f"mtllib {name}.mtl\n")
    np.savetxt(text, mesh.vertices, fmt="v %.3f %.3f %.3f")
    np.savetxt(text, corners, fmt="vt %.6f %.6f")
    class_name = {0: "none"} | {c.id: c.name for c in mesh.classes}
    order = np.lexsort((mesh.face_class, mesh.face_material))
    keys = np.stack([mesh.face_material[order], mesh.face_class[order]], axis=1)
    starts = np.flatnonzero(np.r_[True, (np.diff(keys, axis=0) != 0).any(axis=1)])
    for start, stop in zip(starts, np.r_[starts[1:], len(order)], strict=True):
        part = order[start:stop]
        text.write(f"g class_{class_name[int(keys[start, 1])]}\nusemtl {mesh.materials[keys[start, 0]].name}\n")
        columns = np.stack([mesh.faces[part] + 1, corner_of[part] + 1], axis=2).reshape(-1, 6)
        np.savetxt(text, columns, fmt="f %d/%d %d/%d %d/%d")
    return write_text(folder / f"{name}.obj", text.getvalue())


def _write_materials(folder: Path, name: str, mesh: TexturedMesh, texture_format: str) -> None:
    lines, written = [], {}
    for index, material in enumerate(mesh.materials):
        lines += [f"newmtl {material.name}", "Ka 0 0 0", "Kd {:.6g} {:.6g} {:.6g}".format(*material.rgb), "illum 1"]
        if material.texture is not None:
            # Materials that share one array (a facade in several tints) share one file.
            picture = written.setdefault(id(material.texture), f"{name}_{index}.{texture_format}")
            if picture == f"{name}_{index}.{texture_format}":
                with atomic_path(folder / picture) as temporary:
                    options = {"quality": 92, "subsampling": 0} if texture_format == "jpg" else {}
                    Image.fromarray(material.texture).save(temporary, **options)
            lines.append(f"map_Kd {picture}")
        lines.append("")
    write_text(folder / f"{name}.mtl", "\n".join(lines))
