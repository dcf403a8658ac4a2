import numpy as np
import pytest

from rsnb.mesh import RayScene
from rsnb.mesh.ground import SUNK_M, add_ground, lacks_ground, textured_share
from rsnb.mesh.viewpoints import ground_height
from rsnb.scenes import Material, SemanticClass, TexturedMesh


def houses() -> TexturedMesh:
    """Four box houses (walls and roofs, no floor) on a slope of 10 %: foot z = 0.1 x."""
    vertices, faces, objects = [], [], []
    for number, (x, y) in enumerate([(0, 0), (60, 0), (0, 60), (60, 60)], start=1):
        base = len(vertices)
        for z in (0.0, 8.0):
            vertices += [(x + dx, y + dy, 0.1 * x + z) for dx, dy in ((0, 0), (10, 0), (10, 10), (0, 10))]
        for k in range(4):
            a, b = base + k, base + (k + 1) % 4
            faces += [(a, b, b + 4), (a, b + 4, a + 4)]
        faces += [(base + 4, base + 5, base + 6), (base + 4, base + 6, base + 7)]
        objects += [number] * 10
    n = len(faces)
    return TexturedMesh(np.array(vertices, float), np.array(faces, np.int32), np.zeros((n, 3, 2), np.float32),
                        np.zeros(n, np.int32), (Material("plain"),), np.full(n, 2, np.int32),
                        (SemanticClass(2, "wall", (1, 2, 3)),), np.array(objects, np.int32))


def test_houses_lack_a_ground_and_have_one_afterwards():
    bare = houses()
    assert lacks_ground(RayScene(bare))
    staged = add_ground(bare, margin_m=20.0, cell_m=2.0)
    scene = RayScene(staged)
    assert not lacks_ground(scene)
    # Between the houses the ground climbs from the feet at x = 10 (z 0) to those at x = 60 (z 6): 0.12 a metre.
    height = ground_height(scene, [[35.0, 5.0], [35.0, 65.0], [-1.0, 5.0], [71.0, 5.0]])
    assert height == pytest.approx(np.array([3.0, 3.0, 0.0, 6.0]) - SUNK_M, abs=0.15)
    across = ground_height(scene, np.stack([np.linspace(12, 58, 20), np.full(20, 35.0)], axis=1))
    assert (np.diff(across) > 0).all() and np.diff(across).max() < 0.6  # no steps
    assert staged.bounds[0, 0] == -20 and staged.bounds[1, 0] == 90


def test_the_old_faces_keep_their_looks_and_the_new_ones_are_terrain():
    bare = houses()
    staged = add_ground(bare)
    n = len(bare.faces)
    assert np.array_equal(staged.faces[:n], bare.faces) and np.array_equal(staged.face_object[:n], bare.face_object)
    terrain = {c.id: c.name for c in staged.classes}[int(staged.face_class[-1])]
    assert terrain == "terrain" and not staged.face_object[n:].any()
    up = np.cross(*(np.diff(staged.vertices[staged.faces[n:]], axis=1).transpose(1, 0, 2)))
    assert (up[:, 2] > 0).all()


def test_textured_share_is_by_area():
    mesh = houses()
    picture = Material("p", texture=np.zeros((2, 2, 3), np.uint8))
    roof = np.tile([0] * 8 + [1, 1], 4).astype(np.int32)
    half = type(mesh)(**{**mesh.__dict__, "materials": (Material("plain"), picture), "face_material": roof})
    assert textured_share(half) == pytest.approx(100 / (100 + 4 * 80))  # roof 10 x 10, four walls 10 x 8
