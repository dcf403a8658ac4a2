"""Many pictures are the same pictures."""

from __future__ import annotations

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry import PanoramaCamera, PinholeCamera, pose_from_heading
from rsnb.mesh import RayScene, RenderOptions, Sun, render, render_batch, render_each
from rsnb.scenes import Material, TexturedMesh

CAMERA = PinholeCamera(np.array([[60.0, 0, 30], [0, 70, 20], [0, 0, 1]]), 64, 48)
POSES = np.stack([pose_from_heading([x, 0.0, 2.0], 0.3 * x, -0.1) for x in range(4)])
OPTIONS = RenderOptions(sun=Sun(1.0, 0.6), shadows=True, ambient_rays=2, supersample=2)


@pytest.fixture(scope="module")
def scene() -> RayScene:
    rng = np.random.default_rng(0)
    n = 120
    corners = rng.uniform(-20, 20, (n, 1, 3)) * [1, 1, 0.3] + rng.normal(0, 3, (n, 3, 3))
    texture = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
    return RayScene(TexturedMesh(corners.reshape(-1, 3), np.arange(3 * n, dtype=np.int32).reshape(-1, 3),
                                 rng.random((n, 3, 2)).astype(np.float32), np.zeros(n, np.int32),
                                 (Material("m", texture=texture),), np.ones(n, np.int32)))


def same(one, two) -> bool:
    names = ("rgb", "depth", "normal", "semantic", "instance", "prim", "opacity")
    return all(getattr(one, name).tobytes() == getattr(two, name).tobytes() for name in names)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_batch_is_the_single_pictures(scene, processes):
    batch = render_batch(scene, CAMERA, POSES, OPTIONS, progress=False, processes=processes)
    assert len(batch) == len(POSES)
    assert all(same(picture, render(scene, CAMERA, pose, OPTIONS)) for picture, pose in zip(batch, POSES, strict=True))


def test_one_camera_a_pose(scene):
    cameras = [CAMERA, PanoramaCamera(32, 16), CAMERA, PanoramaCamera(16, 8)]
    shapes = [picture.depth.shape for picture in render_batch(scene, cameras, POSES, progress=False)]
    assert shapes == [(48, 64), (16, 32), (48, 64), (8, 16)]


def test_pictures_come_one_by_one(scene):
    pictures = render_each(scene, CAMERA, POSES, progress=False)
    assert same(next(pictures), render(scene, CAMERA, POSES[0]))


def test_a_bad_pose_is_named_before_anything_is_drawn(scene):
    poses = POSES.copy()
    poses[2, 0, 0] = np.nan
    with pytest.raises(InputError, match="pose 2"):
        render_each(scene, CAMERA, poses)
    with pytest.raises(InputError, match="3 cameras for 4 poses"):
        render_each(scene, [CAMERA] * 3, POSES)
    with pytest.raises(InputError, match="processes"):
        render_each(scene, CAMERA, POSES, processes=0)


def test_a_buried_camera_is_named():
    box = [[x, y, z] for z in (0, 5.0) for y in (-3.0, 3) for x in (-3.0, 3)]
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    faces = np.array([t for q in quads for t in ((q[0], q[1], q[2]), (q[0], q[2], q[3]))], np.int32)
    house = RayScene(TexturedMesh(np.array(box), faces, np.zeros((12, 3, 2), np.float32), np.zeros(12, np.int32),
                                  (Material("m"),), np.ones(12, np.int32), name="house.obj"))
    with pytest.raises(InputError, match="pose 2 .*house.obj.*inside a wall"):
        render_each(house, CAMERA, [pose_from_heading([x, 0, 2.0], 0.0) for x in (9, 6, 1)],
                    RenderOptions(check_camera=True))
