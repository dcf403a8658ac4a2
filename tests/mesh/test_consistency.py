import numpy as np

from rsnb.geometry.cameras import PanoramaCamera, PinholeCamera
from rsnb.geometry.poses import pose_from_heading
from rsnb.mesh import RayScene, render
from rsnb.mesh.consistency import compare_with_panorama
from rsnb.scenes import Material, SemanticClass, TexturedMesh


def room() -> RayScene:
    """Inside of a 20 x 12 x 6 m box, each wall a class of its own."""
    c = np.array([[x, y, z] for x in (-10, 10) for y in (-6, 6) for z in (0, 6)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, d, e in quads for f in ((a, b, d), (a, d, e))], np.int32)
    classes = tuple(SemanticClass(i, f"wall {i}", (40 * i, 0, 0)) for i in range(1, 7))
    return RayScene(TexturedMesh(c, faces, np.zeros((12, 3, 2), np.float32), np.zeros(12, np.int32),
                                 (Material("grey", (0.5, 0.5, 0.5)),), np.repeat(np.arange(1, 7), 2).astype(np.int32),
                                 classes))


def test_same_place_agrees_and_a_turned_panorama_does_not():
    scene, here = room(), np.array([2.0, -1.0, 1.7])
    camera = PinholeCamera.from_fov(np.radians(80), 160, 120)
    view = render(scene, camera, pose_from_heading(here, 0.7, 0.1, 0.05))
    panorama = PanoramaCamera(1024, 512)
    found = compare_with_panorama(view, render(scene, panorama, pose_from_heading(here, 2.1)))
    assert found.same_class > 0.985 and found.depth_median_rel < 2e-3
    assert np.all(np.abs(found.view_m / found.panorama_m - 1) < 0.05)
    wrong = render(scene, panorama, pose_from_heading(here, 2.1))
    mirrored = type(wrong)(**{**wrong.__dict__, "depth": wrong.depth[:, ::-1], "semantic": wrong.semantic[:, ::-1]})
    spoiled = compare_with_panorama(view, mirrored)
    assert spoiled.same_class < 0.7 and spoiled.depth_median_rel > 0.05
