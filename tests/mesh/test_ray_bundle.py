import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry.cameras import NadirCamera, world_rays
from rsnb.geometry.poses import nadir_pose
from rsnb.mesh import RayScene, RenderOptions, Sun, render
from rsnb.mesh.ray_bundle import render_rays
from rsnb.scenes import Material, TexturedMesh


def scene() -> RayScene:
    """A textured 8 x 6 m plane with a 2 m step, far from the origin."""
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0, 0], [4, 0, 0], [4, 6, 0], [0, 6, 0], [4, 0, 2], [8, 0, 2], [8, 6, 2], [4, 6, 2]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    uv = (corners[faces][..., :2] / (8, 6)).astype(np.float32)
    texture = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return RayScene(TexturedMesh(corners + (6000, 4500, 0), faces, uv, np.zeros(4, np.int32),
                                 (Material("noise", texture=texture),), np.array([1, 1, 2, 2], np.int32)))


@pytest.mark.parametrize("sun", [None, Sun(np.radians(240), np.radians(30))])
def test_the_rays_of_a_nadir_camera_give_the_nadir_picture(sun):
    plane, camera = scene(), NadirCamera(0.25, 40, 30)
    pose, options = nadir_pose(np.array([6004.0, 4503.0, 50.0])), RenderOptions(sun=sun, shadows=sun is not None)
    picture = render(plane, camera, pose, options)
    origins, directions = (np.asarray(a).reshape(-1, 3) for a in world_rays(camera, pose))
    row = render_rays(plane, origins, directions, 0.25, options)
    hit = np.isfinite(picture.depth)
    assert hit.mean() > 0.5 and (np.isfinite(row.depth.reshape(30, 40)) == hit).all()
    assert np.abs(row.depth.reshape(30, 40) - picture.depth)[hit].max() < 1e-3
    assert (row.semantic.reshape(30, 40) == picture.semantic).mean() > 0.99
    assert np.abs(row.rgb.reshape(3, 30, 40) - picture.rgb).mean() < 2e-3


def test_two_bundles_of_one_size_are_not_confused():
    plane, down = scene(), np.tile((0.0, 0.0, -1.0), (3, 1))
    low = np.array([[6001.0, 4501, 9], [6002, 4501, 9], [6003, 4501, 9]])
    assert render_rays(plane, low, down, 0.1).depth == pytest.approx(np.full((1, 3), 9.0))
    assert render_rays(plane, low + (4, 0, 0), down, 0.1).depth == pytest.approx(np.full((1, 3), 7.0))


def test_supersampling_a_ray_is_refused():
    with pytest.raises(InputError, match="supersample"):
        render_rays(scene(), np.zeros((1, 3)), np.array([[0.0, 0, 1]]), 0.1, RenderOptions(supersample=2))
