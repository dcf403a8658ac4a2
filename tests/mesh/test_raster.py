"""OpenGL's ids against Embree's. Runs wherever EGL gives a context, a software driver included."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry import NadirCamera, PanoramaCamera, PinholeCamera, nadir_pose, pose_from_heading
from rsnb.mesh import RayScene, RenderOptions, render
from rsnb.mesh.raster import egl_context, face_ids
from rsnb.scenes import Material, TexturedMesh


@pytest.fixture(scope="module")
def scene() -> RayScene:
    """A hilly ground of 300 m and 200 boards standing on it."""
    try:
        egl_context().release()
    except Exception as error:
        pytest.skip(f"no OpenGL over EGL here: {error}")
    rng = np.random.default_rng(0)
    n = 61
    x, y = np.meshgrid(np.linspace(-150, 150, n), np.linspace(-150, 150, n))
    ground = np.stack([x, y, 3 * np.sin(x / 20) * np.cos(y / 25)], -1).reshape(-1, 3)
    i = np.arange(n * n).reshape(n, n)
    faces = [np.stack([i[:-1, :-1], i[:-1, 1:], i[1:, 1:]], -1).reshape(-1, 3),
             np.stack([i[:-1, :-1], i[1:, 1:], i[1:, :-1]], -1).reshape(-1, 3)]
    vertices, count = [ground], n * n
    for _ in range(200):
        foot, angle, width, height = rng.uniform(-140, 140, 2), rng.uniform(0, 6.3), *rng.uniform((2, 3), (9, 20))
        along = width * np.array([np.cos(angle), np.sin(angle)])
        vertices.append(np.array([[*foot, -4], [*(foot + along), -4], [*(foot + along), height], [*foot, height]]))
        faces.append(np.array([[0, 1, 2], [0, 2, 3]]) + count)
        count += 4
    faces = np.concatenate(faces).astype(np.int32)
    texture = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    return RayScene(TexturedMesh(np.concatenate(vertices) + [25_490_000.0, 6_668_000, 0], faces,
                                 rng.random((len(faces), 3, 2)).astype(np.float32), np.zeros(len(faces), np.int32),
                                 (Material("m", texture=texture),), np.ones(len(faces), np.int32)))


def test_an_optimiser_can_be_made_after_a_context(scene):
    """In a process of its own: here triton may be loaded already."""
    program = ("import torch; from rsnb.mesh.raster import egl_context; context = egl_context(); "
               "torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]); print('made')")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and done.stdout.strip() == "made", done.stderr[-500:]


PINHOLE = PinholeCamera(np.array([[210.0, 3, 150], [0, 240, 90], [0, 0, 1]]), 320, 200)
POSE = pose_from_heading([25_490_003.0, 6_667_990, 9], 0.6, -0.15, 0.1)


@pytest.mark.parametrize("supersample", [1, 2])
def test_perspective_parity(scene, supersample):
    rays = render(scene, PINHOLE, POSE, RenderOptions(supersample=supersample))
    drawn = render(scene, PINHOLE, POSE, RenderOptions(supersample=supersample, backend="egl"))
    same = rays.prim == drawn.prim
    assert same.mean() >= 0.999 and 0.2 < (rays.prim >= 0).mean() < 1
    hit = same & (rays.prim >= 0)
    assert np.median(np.abs(rays.depth[hit] - drawn.depth[hit])) < 1e-4
    np.testing.assert_allclose(drawn.depth[hit], rays.depth[hit], rtol=1e-3)
    assert np.abs(rays.rgb - drawn.rgb).mean() < 1e-3
    np.testing.assert_array_equal(drawn.semantic[hit], rays.semantic[hit])


def test_nadir_parity(scene):
    camera, pose = NadirCamera(0.71, 300, 240), nadir_pose([25_490_003.3, 6_667_990.4, 120])
    rays, drawn = (render(scene, camera, pose, RenderOptions(backend=b)) for b in ("embree", "egl"))
    # OpenGL snaps corners to 1/256 pixel: of triangles 7 pixels small, edge pixels differ.
    assert (rays.prim == drawn.prim).mean() >= 0.995 and (rays.prim >= 0).mean() > 0.5


def test_pictures_of_several_sizes_share_a_context(scene):
    first = face_ids(scene, PINHOLE, POSE)
    face_ids(scene, PinholeCamera(PINHOLE.K, 33, 21), POSE)
    np.testing.assert_array_equal(first, face_ids(scene, PINHOLE, POSE))


def test_each_thread_draws_in_a_context_of_its_own(scene):
    wanted = face_ids(scene, PINHOLE, POSE)
    with ThreadPoolExecutor(1) as pool:
        np.testing.assert_array_equal(pool.submit(face_ids, scene, PINHOLE, POSE).result(timeout=60), wanted)
        assert pool.submit(lambda: scene.of_thread.raster).result() is not scene.of_thread.raster
    np.testing.assert_array_equal(face_ids(scene, PINHOLE, POSE), wanted)


def test_panoramas_are_refused_with_a_reason(scene):
    with pytest.raises(InputError, match="panoramas"):
        render(scene, PanoramaCamera(64, 32), POSE, RenderOptions(backend="egl"))
