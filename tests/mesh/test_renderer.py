"""Pictures against closed forms, and the compiled loops against torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry import (
    NadirCamera,
    PanoramaCamera,
    PinholeCamera,
    invert,
    nadir_pose,
    pose_from_heading,
    project_points,
)
from rsnb.mesh import RayScene, RenderOptions, Sky, Sun, render
from rsnb.mesh.camera_rays import camera_rays, sample_offsets
from rsnb.scenes import Material, SemanticClass, TexturedMesh

K = np.array([[150.0, 0, 70], [0, 190, 55], [0, 0, 1]])  # fx != fy, off the middle, 160 x 96
PINHOLE = PinholeCamera(K, 160, 96)
PANORAMA = PanoramaCamera(128, 64)
NADIR = NadirCamera(0.37, 90, 70)
POSE = pose_from_heading([3.0, -8, 2.5], np.deg2rad(33), np.deg2rad(-7), np.deg2rad(12))
CLASSES = tuple(SemanticClass(k, name, (0, 0, 0)) for k, name in enumerate(("none", "ground", "wall", "roof")))


def quads(corners, uv, classes, objects, materials, face_material=None, shift=(0, 0, 0), vertex_rgb=None):
    """Quadrilaterals [Q, 4, 3] as two triangles each."""
    n = len(corners)
    first = np.arange(n)[:, None] * 4
    faces = np.concatenate([first + [0, 1, 2], first + [0, 2, 3]], axis=1).reshape(-1, 3)
    twice = np.repeat(np.arange(n), 2)
    uv = np.asarray(uv, np.float32)
    return TexturedMesh(
        np.asarray(corners, np.float64).reshape(-1, 3) + shift, faces.astype(np.int32),
        np.stack([uv[:, [0, 1, 2]], uv[:, [0, 2, 3]]], axis=1).reshape(-1, 3, 2),
        np.zeros(2 * n, np.int32) if face_material is None else np.asarray(face_material, np.int32)[twice],
        materials, np.asarray(classes, np.int32)[twice], CLASSES, np.asarray(objects, np.int32)[twice],
        vertex_rgb=vertex_rgb)


def town(shift=(0, 0, 0)) -> TexturedMesh:
    """Ground and 30 boxes in two textures and one bare colour."""
    rng = np.random.default_rng(0)
    corners = [[[-60, -60, 0], [60, -60, 0], [60, 60, 0], [-60, 60, 0]]]
    uv, classes, objects, looks = [np.array([[0, 0], [30, 0], [30, 30], [0, 30]])], [1], [0], [0]
    for k in range(30):
        x, y = rng.uniform(-50, 50, 2)
        y += 12 * np.sign(y)
        a, b, c, d, h = x, x + 6, y, y + 5, rng.uniform(3, 15)
        ring = [(a, c), (b, c), (b, d), (a, d)]
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            corners.append([[x0, y0, 0], [x1, y1, 0], [x1, y1, h], [x0, y0, h]])
            uv.append(np.array([[0, 0], [3, 0], [3, h / 3], [0, h / 3]]))
            classes.append(2), objects.append(k + 1), looks.append(1)
        corners.append([[x0, y0, h] for x0, y0 in ring])
        uv.append(np.zeros((4, 2)))
        classes.append(3), objects.append(k + 1), looks.append(2)
    materials = (Material("ground", texture=rng.integers(60, 120, (128, 128, 3)).astype(np.uint8)),
                 Material("wall", rgb=(1, 0.9, 0.8), texture=rng.integers(90, 250, (64, 96, 3)).astype(np.uint8)),
                 Material("roof", rgb=(0.6, 0.3, 0.2)))
    return quads(corners, uv, classes, objects, materials, looks, shift)


@pytest.fixture(scope="module")
def scene() -> RayScene:
    return RayScene(town())


def wall(texture, rgb=(1, 1, 1), distance=10.0, half=5.0, **more) -> RayScene:
    """A square picture facing south, `distance` north of the origin, u to the east and v up."""
    corners = [[[-half, distance, -half], [half, distance, -half], [half, distance, half], [-half, distance, half]]]
    return RayScene(quads(corners, [[[0, 0], [1, 0], [1, 1], [0, 1]]], [2], [7], (Material("picture", rgb, texture),),
                          **more))


LEVEL_NORTH = pose_from_heading([0, 0, 0], 0.0)
SQUARE = PinholeCamera.from_fov(2 * np.arctan(0.5), 64, 64)  # sees exactly the wall of 10 m in 10 m


@pytest.mark.parametrize("camera,pose", [(PINHOLE, POSE), (PANORAMA, POSE), (NADIR, nadir_pose([3, 4, 90.0]))],
                         ids=["pinhole", "panorama", "nadir"])
def test_what_a_pixel_hits_projects_back_to_its_centre(scene, camera, pose):
    picture = render(scene, camera, pose)
    centres = camera.pixel_centres().reshape(-1, 2)
    origins, directions = (part.double().numpy() for part in camera.rays(centres.double()))
    points = origins + picture.depth.reshape(-1, 1).astype(np.float64) * directions
    hit = picture.prim.reshape(-1) >= 0
    assert 0.3 < hit.mean()
    to_world = invert(pose)
    world = points[hit] @ to_world[:3, :3].T + to_world[:3, 3]
    pixels, distance = project_points(camera, pose, world)
    assert np.abs(pixels.numpy() - centres.numpy()[hit]).max() < 1e-3
    np.testing.assert_allclose(distance.numpy(), picture.depth.reshape(-1)[hit], rtol=1e-5)
    # The point lies on the plane of the face that the picture names.
    corner = scene.mesh.vertices[scene.mesh.faces[picture.prim.reshape(-1)[hit], 0]]
    off_plane = ((world - corner) * picture.normal.reshape(3, -1).T[hit]).sum(1)
    assert np.abs(off_plane).max() < 2e-3


def test_checkerboard_stands_upright():
    """Quarters of a picture: red upper left, green upper right, blue lower left, white lower right."""
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:32, :32], texture[:32, 32:], texture[32:, :32], texture[32:, 32:] = (
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))
    picture = render(wall(texture), SQUARE, LEVEL_NORTH)
    for row, column, colour in ((10, 10, (1, 0, 0)), (10, 50, (0, 1, 0)), (50, 10, (0, 0, 1)), (50, 50, (1, 1, 1))):
        np.testing.assert_allclose(picture.rgb[:, row, column], colour, atol=1e-6)


def test_each_pixel_shows_its_texel():
    """64 x 64 texels seen through 64 x 64 pixels, one on one: the picture is the texture itself."""
    texture = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    picture = render(wall(texture), SQUARE, LEVEL_NORTH, RenderOptions(mip_bias=-1.0))
    np.testing.assert_allclose(picture.rgb * 255, texture.transpose(2, 0, 1), atol=0.02)


def test_depth_is_euclidean_and_z_depth_is_flat():
    picture = render(wall(None), SQUARE, LEVEL_NORTH)
    np.testing.assert_allclose(picture.z_depth, 10.0, rtol=1e-5)
    x, y = np.meshgrid((np.arange(64) + 0.5 - 32) / 64, (np.arange(64) + 0.5 - 32) / 64)
    np.testing.assert_allclose(picture.depth, 10 * np.sqrt(1 + x**2 + y**2), rtol=1e-5)


def test_sphere_in_a_panorama():
    """Seen from its middle a sphere of radius 20 is 20 m away everywhere (its facets lie up to 0.4 % inside)."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=4, radius=20.0)
    n = len(ball.faces)
    mesh = TexturedMesh(ball.vertices + [100.0, 50, 7], ball.faces.astype(np.int32), np.zeros((n, 3, 2), np.float32),
                        np.zeros(n, np.int32), (Material("m", (0.5, 0.5, 0.5)),), np.full(n, 2, np.int32))
    picture = render(RayScene(mesh), PANORAMA, pose_from_heading([100.0, 50, 7], 1.0, 0.3, -0.2))
    assert picture.depth.max() <= 20.0001 and picture.depth.min() > 20 * 0.995
    assert (picture.opacity == 1).all() and (picture.prim >= 0).all()
    origins, directions = PANORAMA.rays(PANORAMA.pixel_centres())
    world = directions.reshape(-1, 3).numpy() @ picture.world_to_cam[:3, :3]
    # Normals face the viewer: against the ray, to within half a facet (about 2 degrees).
    assert ((picture.normal.reshape(3, -1).T * world).sum(1) < -0.99).all()


def test_sky_has_no_depth_no_label_and_no_opacity(scene):
    picture = render(scene, PANORAMA, POSE, RenderOptions(supersample=2))
    sky = picture.prim < 0
    assert 0.2 < sky.mean() < 0.8
    assert np.isinf(picture.depth[sky]).all() and np.isfinite(picture.depth[~sky]).all()
    assert (picture.semantic[sky] == 0).all() and (picture.instance[sky] == 0).all()
    assert (picture.normal[:, sky] == 0).all() and picture.opacity[0].max() == 0
    np.testing.assert_allclose(np.linalg.norm(picture.normal[:, ~sky], axis=0), 1, rtol=1e-5)
    assert picture.rgb.min() >= 0 and picture.rgb.max() <= 1


def test_labels_come_from_the_table_even_when_colours_are_averaged(scene):
    picture = render(scene, PINHOLE, POSE, RenderOptions(supersample=3))
    assert set(np.unique(picture.semantic)) <= {c.id for c in CLASSES} and len(np.unique(picture.semantic)) > 2
    assert len(np.unique(picture.instance)) > 3
    hit = picture.prim >= 0
    np.testing.assert_array_equal(picture.semantic[hit], scene.mesh.face_class[picture.prim[hit]])
    np.testing.assert_array_equal(picture.instance[hit], scene.mesh.face_object[picture.prim[hit]])
    single = render(scene, PINHOLE, POSE)
    for name in ("prim", "depth", "normal", "semantic"):
        np.testing.assert_array_equal(getattr(picture, name), getattr(single, name))


def test_opacity_is_the_covered_share_of_a_pixel():
    """The wall's left edge runs through the middle of a column of pixels: half covered, whatever the samples."""
    corners = [[[0.0, 10, -50], [50, 10, -50], [50, 10, 50], [0, 10, 50]]]
    mesh = quads(corners, np.zeros((1, 4, 2)), [2], [1], (Material("m", (0.0, 0.0, 0.0)),))
    camera = PinholeCamera(np.array([[64.0, 0, 32.5], [0, 64, 32.5], [0, 0, 1]]), 65, 65)
    picture = render(RayScene(mesh), camera, LEVEL_NORTH, RenderOptions(supersample=4, sky=(1.0, 1.0, 1.0)))
    np.testing.assert_allclose(picture.opacity[:, 32], 0.5)
    assert (picture.opacity[:, :32] == 0).all() and (picture.opacity[:, 33:] == 1).all()
    np.testing.assert_allclose(picture.rgb[:, :, 32], 0.5, atol=1e-6)


def test_supersampling_converges(scene):
    truth = render(scene, PINHOLE, POSE, RenderOptions(supersample=12, channels=("rgb",))).rgb
    error = [np.abs(render(scene, PINHOLE, POSE, RenderOptions(supersample=s)).rgb - truth).mean() for s in (1, 2, 4)]
    assert error[0] > 1.3 * error[1] and error[1] > 1.3 * error[2]


def test_mips_calm_the_far_ground(scene):
    """One ray a pixel and the finest texture only is noise; the footprint's mip is nearer to many rays."""
    truth = render(scene, PINHOLE, POSE, RenderOptions(supersample=12)).rgb
    fine = render(scene, PINHOLE, POSE, RenderOptions(mip_bias=-20.0)).rgb
    mipped = render(scene, PINHOLE, POSE).rgb
    assert np.abs(mipped - truth).mean() < 0.7 * np.abs(fine - truth).mean()


OPTIONS = {
    "plain": RenderOptions(),
    "nearest mip": RenderOptions(trilinear=False, supersample=2),
    "sun": RenderOptions(sun=Sun(2.0, 0.6), shadows=True, shadow_rays=2, ambient_rays=3, supersample=2),
    "haze": RenderOptions(haze_m=70.0, sky=(0.5, 0.6, 0.7)),
    "glow": RenderOptions(sun=Sun(0.6, 0.3), sky=Sky(glow_strength=0.8)),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("camera,pose", [(PINHOLE, POSE), (PANORAMA, POSE), (NADIR, nadir_pose([3, 4, 90.0]))],
                         ids=["pinhole", "panorama", "nadir"])
def test_compiled_loops_agree_with_torch(scene, camera, pose, options):
    fast, slow = (render(scene, camera, pose, replace(options, kernels=kernels)) for kernels in ("auto", "torch"))
    np.testing.assert_array_equal(fast.prim, slow.prim)
    for name in ("depth", "normal", "semantic", "instance", "opacity", "rgb"):
        np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), atol=2e-6, err_msg=name)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_two_runs_give_the_same_bytes(scene, options):
    one, two = render(scene, PANORAMA, POSE, options), render(RayScene(town()), PANORAMA, POSE, options)
    for name in ("rgb", "depth", "normal", "semantic", "instance", "prim", "opacity"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes(), name


@pytest.mark.parametrize("camera,pose", [(NADIR, nadir_pose([2.0, -3, 40])), (PANORAMA, POSE), (PINHOLE, POSE)])
def test_pieces_of_a_large_picture_make_the_same_picture(scene, camera, pose, monkeypatch):
    options = RenderOptions(supersample=2, sun=Sun(3.0, 0.7, radius=0.01), shadows=True, shadow_rays=2)
    whole = render(scene, camera, pose, options)
    monkeypatch.setattr("rsnb.mesh.renderer.LARGE_PIXELS", 1 << 12)
    monkeypatch.setattr("rsnb.mesh.renderer.PIECE_PIXELS", 1 << 10)
    pieces = render(scene, camera, pose, options)
    for name in ("prim", "semantic", "instance", "opacity"):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))
    # Pieces here are smaller than a chunk, so the last bit of a power may differ.
    for name in ("rgb", "depth", "normal"):
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), atol=1e-6)
    few = render(scene, camera, pose, replace(options, channels=("depth",)))
    assert few.rgb is None and few.opacity is None and few.depth.shape == whole.depth.shape


def test_cameras_that_are_not_known_get_their_own_pictures(scene):
    class Bent(PanoramaCamera):
        turn = 0.0

        def rays(self, pixels):
            return super().rays(pixels + pixels.new_tensor([self.turn, 0.0]))

    plain, bent = Bent(64, 32), Bent(64, 32)
    object.__setattr__(bent, "turn", 16.0)  # a quarter of the circle
    first, second = (render(scene, camera, POSE, RenderOptions(channels=("depth",))) for camera in (plain, bent))
    np.testing.assert_array_equal(second.prim, np.roll(first.prim, -16, axis=1))
    assert (first.prim != second.prim).any()


def test_panoramas_of_one_size_and_other_vertical_angles_have_their_own_rays():
    heights = [camera_rays(PanoramaCamera(10, 6, fov)).directions[1, 0] for fov in (np.pi, 1.0)]
    np.testing.assert_allclose(heights, [-np.sin(np.pi * 5 / 12), -np.sin(5 / 12)], rtol=1e-6)  # first row


def test_threads_that_push_each_other_out_of_the_ray_cache(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr("rsnb.mesh.camera_rays.CACHE_BYTES", 1 << 14)
    sizes = [(24 + k % 7, 12) for k in range(600)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda size: camera_rays(PanoramaCamera(*size)).directions.shape[1], sizes))
    assert found == [width * height for width, height in sizes]


def test_sixteen_passes_of_a_panorama_share_their_widths_in_the_cache(monkeypatch):
    monkeypatch.setattr("rsnb.mesh.camera_rays.CACHE_BYTES", 17 * 128 * 64 * 12 + 128 * 64 * 8)
    camera = PanoramaCamera(128, 64)
    first = [camera_rays(camera, offset) for offset in sample_offsets(4)]
    assert all(camera_rays(camera, offset) is rays for offset, rays in zip(sample_offsets(4), first, strict=True))


def test_threads_change_nothing(scene):
    import torch

    camera, before = PanoramaCamera(512, 256), torch.get_num_threads()
    try:
        pictures = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            pictures.append(render(scene, camera, POSE, OPTIONS["sun"]))
    finally:
        torch.set_num_threads(before)
    assert pictures[0].rgb.tobytes() == pictures[1].rgb.tobytes()
    assert pictures[0].prim.tobytes() == pictures[1].prim.tobytes()


@pytest.mark.parametrize("options", [OPTIONS["plain"], OPTIONS["sun"]], ids=["plain", "sun"])
def test_moving_the_world_changes_nothing(options):
    """Mesh and camera moved to full EPSG:3879 coordinates."""
    shift = np.array([25_490_000.0, 6_668_000.0, 0.0])
    there = pose_from_heading(np.array([3.0, -8, 2.5]) + shift, np.deg2rad(33), np.deg2rad(-7), np.deg2rad(12))
    here = render(RayScene(town()), PINHOLE, POSE, options)
    moved = render(RayScene(town(shift)), PINHOLE, there, options)
    same = here.prim == moved.prim
    assert same.mean() > 0.999
    np.testing.assert_allclose(here.depth[same], moved.depth[same], atol=1e-4)
    assert np.abs(here.rgb - moved.rgb).mean() < 1e-3


def test_vertex_colours_multiply_the_texture():
    """Corners black, black, white, white from bottom to top under a grey texture of 128: halfway up 64."""
    shades = np.array([[0] * 3, [0] * 3, [255] * 3, [255] * 3], np.uint8)
    scene = wall(np.full((8, 8, 3), 128, np.uint8), rgb=(1, 0.5, 0), vertex_rgb=shades)
    for kernels in ("auto", "torch"):
        picture = render(scene, SQUARE, LEVEL_NORTH, RenderOptions(kernels=kernels))
        # Pixel row 15 looks at height 1 - 15.5 / 64 of the wall.
        expected = np.array([1, 0.5, 0]) * 128 / 255 * (1 - 15.5 / 64)
        np.testing.assert_allclose(picture.rgb[:, 15, 20], expected, atol=1e-5)


def test_only_asked_channels_are_made(scene):
    picture = render(scene, PINHOLE, POSE, RenderOptions(channels=("depth", "semantic"), supersample=2))
    assert picture.rgb is None and picture.normal is None and picture.opacity is None
    full = render(scene, PINHOLE, POSE)
    np.testing.assert_array_equal(picture.depth, full.depth)


def test_camera_in_a_wall_is_refused_only_when_asked(scene):
    low, high = (scene.mesh.vertices[scene.mesh.faces[scene.mesh.face_object == 1]].reshape(-1, 3).min(0),
                 scene.mesh.vertices[scene.mesh.faces[scene.mesh.face_object == 1]].reshape(-1, 3).max(0))
    buried = pose_from_heading((low + high) / 2 - [0, 0, (high - low)[2] / 2 - 1.7], 0.4)
    render(scene, PINHOLE, buried)
    with pytest.raises(InputError, match="inside a wall"):
        render(scene, PINHOLE, buried, RenderOptions(check_camera=True))
    render(scene, PINHOLE, POSE, RenderOptions(check_camera=True))


@pytest.mark.parametrize("pose,message", [
    (np.eye(3), "shape"), (np.full((4, 4), np.nan), "not finite"), (np.diag([2.0, 2, 2, 1]), "no rotation"),
    (np.diag([-1.0, 1, 1, 1]), "no rotation")])
def test_bad_poses_are_refused(scene, pose, message):
    with pytest.raises(InputError, match=message) as caught:
        render(scene, PINHOLE, pose)
    assert "\n" not in str(caught.value)


def test_a_stack_of_cameras_is_refused(scene):
    with pytest.raises(InputError, match="one camera"):
        render(scene, PinholeCamera(np.stack([K, K]), 160, 96), POSE)


@pytest.mark.parametrize("options", [dict(supersample=0), dict(supersample=1.5), dict(ambient_rays=-1), dict(haze_m=0),
                                     dict(channels=("rgb", "smell")), dict(backend="metal"), dict(kernels="fortran")])
def test_bad_options_are_refused(options):
    with pytest.raises(InputError, match="RenderOptions"):
        RenderOptions(**options)
