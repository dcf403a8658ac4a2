"""A tiny texture whose four pixels tell which way is up, and a way to look colours up in a mesh."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def four_pixels(tmp_path):
    """Writes a 2 x 2 PNG: red, green in the top row; blue, white in the bottom row."""

    def write(name: str = "four.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array([[RED, GREEN], [BLUE, WHITE]], dtype=np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def colour_towards():
    """Colour 0..255 at the point of the mesh's textured triangles that lies nearest to a corner of the unit square:
    30 % of the way from that vertex to the centre of the square (0.5, 0.5)."""

    def look(mesh, corner) -> tuple[int, ...]:
        target = np.array(corner, dtype=float) * 0.7 + 0.5 * 0.3
        for face, uv, material in zip(mesh.faces, mesh.uv, mesh.face_material, strict=True):
            a, b, c = mesh.vertices[face][:, :2]
            s, t = np.linalg.solve(np.stack([b - a, c - a], axis=1), target - a)
            if min(s, t, 1 - s - t) > -1e-9:
                u, v = uv[0] + s * (uv[1] - uv[0]) + t * (uv[2] - uv[0])
                texture = mesh.materials[material].texture
                rows, columns = texture.shape[:2]
                # The convention under test: v up, so texture row = (1 - v) * height.
                return tuple(texture[int((1 - v) % 1 * rows), int(u % 1 * columns)].tolist())
        raise AssertionError("no face there")

    return look
