"""Collects pieces of geometry with their look, class and instance, and makes one mesh of them."""

from __future__ import annotations

import numpy as np

from rsnb.city.options import CLASSES, GEOREFERENCE
from rsnb.scenes import Material, TexturedMesh

SMALLEST_FACE_M2 = 1e-6


class Palette:
    """Materials by name; a texture is shared by all materials that tint it."""

    def __init__(self):
        self._materials: list[Material] = []
        self._number: dict[tuple, int] = {}

    def look(self, name: str, texture: np.ndarray | None = None, rgb=(1.0, 1.0, 1.0)) -> int:
        """Number of the material with this name, colour factor and texture [H, W, 3] uint8; made at first use."""
        rgb = tuple(round(float(c), 3) for c in rgb)
        key = (name, rgb)
        if key not in self._number:
            self._number[key] = len(self._materials)
            same = sum(m.name == name or m.name.startswith(f"{name}-") for m in self._materials)
            self._materials.append(Material(f"{name}-{same}" if same else name, rgb, texture))
        return self._number[key]

    @property
    def materials(self) -> tuple[Material, ...]:
        return tuple(self._materials)


class Parts:
    """A growing triangle mesh; every `add` brings its own vertices."""

    def __init__(self):
        self._chunks: list[tuple] = []
        self._quads: list[tuple] = []
        self._count = 0

    def add(self, vertices, faces, uv, look, class_id, object_id=0) -> None:
        """Triangles: vertices [V, 3], faces [F, 3], uv [F, 3, 2]; look, class and object a number or [F]."""
        n = len(faces)
        self._chunks.append((
            np.asarray(vertices, float), np.asarray(faces, np.int64), np.asarray(uv, np.float32),
            np.broadcast_to(np.asarray(look, np.int32), n), np.broadcast_to(np.asarray(class_id, np.int32), n),
            np.broadcast_to(np.asarray(object_id, np.int32), n)))

    def quad(self, corners, uv, look: int, class_id: int, object_id: int = 0) -> None:
        """One planar four-cornered face, corners (4 of x, y, z) counter-clockwise from outside, uv (4 of u, v)."""
        self._quads.append((corners, uv, look, class_id, object_id))

    def triangle(self, corners, uv, look: int, class_id: int, object_id: int = 0) -> None:
        """One triangle, corners (3 of x, y, z) counter-clockwise from outside."""
        self.add(np.asarray(corners, float), [[0, 1, 2]], [uv], look, class_id, object_id)

    def _flush_quads(self) -> None:
        if not self._quads:
            return
        corners, uv, look, class_id, object_id = (np.array(column) for column in zip(*self._quads, strict=True))
        n = len(corners)
        pick = np.array([[0, 1, 2], [0, 2, 3]])
        faces = (4 * np.arange(n)[:, None, None] + pick).reshape(-1, 3)
        self.add(corners.reshape(-1, 3), faces, uv[:, pick].reshape(-1, 3, 2), np.repeat(look, 2),
                 np.repeat(class_id, 2), np.repeat(object_id, 2))
        self._quads = []

    def mesh(self, palette: Palette, name: str) -> TexturedMesh:
        """Everything added so far as one mesh, faces smaller than a square millimetre left out."""
        self._flush_quads()
        starts = np.cumsum([0] + [len(chunk[0]) for chunk in self._chunks])
        vertices = np.concatenate([chunk[0] for chunk in self._chunks])
        faces = np.concatenate([chunk[1] + start for chunk, start in zip(self._chunks, starts, strict=False)])
        uv, look, class_id, object_id = (np.concatenate([chunk[k] for chunk in self._chunks]) for k in range(2, 6))
        corner = vertices[faces]
        area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) / 2
        keep = area > SMALLEST_FACE_M2
        return TexturedMesh(
            vertices=vertices, faces=faces[keep].astype(np.int32), uv=uv[keep], face_material=look[keep],
            materials=palette.materials, face_class=class_id[keep], classes=CLASSES, face_object=object_id[keep],
            georeference=GEOREFERENCE, name=name)
