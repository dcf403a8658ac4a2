"""Image-based rendering: exact where it must be, better than the mesh, and not fooled by occlusion or wrong poses."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.geometry.cameras import PinholeCamera
from rsnb.geometry.poses import camera_centre, heading_pitch_roll, pose_from_heading, rotation_angle
from rsnb.mesh.colour_transfer import fit_colour_transfer
from rsnb.mesh.image_based import ImageBasedOptions, ImageBasedRenderer
from rsnb.mesh.novel_views import NovelViewScores, perturbed, pose_error_curve, predict_views, score_novel_views
from rsnb.mesh.renderer import RenderOptions, render
from rsnb.mesh.scene import RayScene
from rsnb.mesh.source_views import SourceViews
from rsnb.metrics import psnr
from rsnb.scenes import PosedImages

sys.path.insert(0, str(Path(__file__).parent))
from courtyard import (
    CAMERA,
    SHARP,
    SOURCES,
    TARGETS,
    blurred,
    courtyard,
    mesh_of,
    photographs,
    poses_at,
    sharp_textures,
)


@pytest.fixture(scope="module")
def place():
    return courtyard()


def score(place, sources=None, **options):
    """Mean PSNR of the mesh and of image-based rendering on the left-out pictures."""
    scene, own, targets, mask = place
    renderer = ImageBasedRenderer(scene, sources or own, ImageBasedOptions(**options))
    views = predict_views(renderer.render, targets)
    return tuple(psnr(np.stack([getattr(v, name) for v in views]), targets.images, mask)
                 for name in ("mesh_rgb", "rgb"))


@pytest.mark.parametrize("residual", [True, False])
def test_left_out_views_gain_six_decibels(place, residual):
    mesh, blended = score(place, residual=residual)
    assert blended - mesh > 6.0


def test_mirrored_poses_score_clearly_worse(place):
    _, sources, _, _ = place
    heading, pitch, roll = heading_pitch_roll(sources.world_to_cam)
    turned = pose_from_heading(camera_centre(sources.world_to_cam), -heading, pitch, roll)
    mirrored = replace(sources, world_to_cam=turned)
    mesh, right = score(place)
    _, wrong = score(place, mirrored)
    assert wrong < right - 6.0
    assert wrong < mesh  # wrong pictures do harm, they are not quietly ignored


def test_a_view_at_a_source_is_that_source(place):
    scene, sources, _, _ = place
    renderer = ImageBasedRenderer(scene, sources, ImageBasedOptions(nearest=1, residual=False))
    view = renderer.render(CAMERA, sources.world_to_cam[2])
    inside = np.isfinite(view.depth) & (view.filled > 0.99)
    # silhouettes aside the four-tap lookup lands on the pixel itself
    assert np.median(np.abs(view.rgb - sources.images[2])[:, inside]) < 1e-4
    assert psnr(view.rgb, sources.images[2], inside) > 35


def test_occluders_do_not_bleed():
    """A red pillar before grey walls: no wall point behind it, seen from elsewhere, may turn red."""
    grey, red = (0.5, 0.5, 0.5), (1.0, 0.0, 0.0)
    mesh = mesh_of([grey] * 5 + [red] * 4)
    sources, _ = photographs(mesh, poses_at([(0, -3), (6, -3)]))
    scene = RayScene(mesh)
    camera, pose = CAMERA, poses_at([(3.2, -2.0)])[0]
    truth = render(scene, camera, pose, SHARP)
    wall = (truth.prim >= 0) & (truth.prim < 10) & (truth.opacity == 1) & ~_near_step(truth.depth)

    def worst(**options):
        renderer = ImageBasedRenderer(scene, sources, ImageBasedOptions(residual=False, sky=False, **options))
        return np.abs(renderer.render(camera, pose).rgb - truth.rgb)[:, wall].max()

    assert worst() < 0.1  # what is left are source pixels that mix pillar and wall, where nothing better sees the wall
    assert worst(depth_absolute_m=100.0) > 0.3  # without the visibility test the pillar is painted on the wall


def _near_step(depth, ratio=1.15):
    """Pixels beside a depth step, one pixel on either side."""
    step = np.zeros(depth.shape, bool)
    filled = np.where(np.isfinite(depth), depth, 1e3)
    for axis in (0, 1):
        for shift in (-1, 1):
            other = np.roll(filled, shift, axis)
            step |= (other > ratio * filled) | (filled > ratio * other)
    return step


def test_pinhole_lookup_returns_the_colour_of_the_place():
    """Rotated camera, fx != fy, off-centre: a picture that holds its own world coordinates must give them back."""
    scene = RayScene(mesh_of([(0.5, 0.5, 0.5)] * 9))
    K = np.array([[70.0, 0, 30], [0, 90, 55], [0, 0, 1]])
    pose = pose_from_heading([-4.0, -5.0, 2.0], 0.9, 0.1, 0.15)
    camera = PinholeCamera(torch.as_tensor(K), 96, 80)
    view = render(scene, camera, pose, RenderOptions(channels=("depth",)))
    cam_to_world = np.linalg.inv(pose)
    rays = camera.rays(camera.pixel_centres())[1].numpy() @ cam_to_world[:3, :3].T
    seen = np.isfinite(view.depth)
    world = cam_to_world[:3, 3] + rays * np.where(seen, view.depth, 0)[..., None]
    images = ((world + 20) / 40).astype(np.float32).transpose(2, 0, 1)[None]
    views = SourceViews(scene, PosedImages(images, pose[None], "pinhole", ("one",), K[None]))
    pixels = torch.tensor([[20.3, 52.8], [70.1, 44.4], [33.0, 70.6]], dtype=torch.float64)
    directions = camera.rays(pixels)[1].numpy() @ cam_to_world[:3, :3].T
    hits = scene.cast(cam_to_world[:3, 3], directions)
    points = cam_to_world[:3, 3] + directions * hits.distance[:, None]
    normals = scene.normal[hits.prim]
    normals = normals * -np.sign((normals * directions).sum(1, keepdims=True)).astype(np.float32)
    local = torch.tensor(points - scene.centre).float()
    look = views.at_points(0, local, torch.tensor(normals))
    assert (views.at_points(0, local, torch.tensor(-normals)).seen == 0).all()  # asked from behind the wall
    # bilinear in the picture, not on the wall: off by the curvature of the perspective, under 2 cm here
    assert np.abs(look.rgb.numpy() * 40 - 20 - points).max() < 0.02
    assert (look.seen > 0.9).all()
    assert np.allclose(look.distance.numpy(), hits.distance, rtol=1e-5)


def test_what_no_picture_sees_is_the_mesh(place):
    scene, sources, _, _ = place
    behind = poses_at([(40, 40)])[0]  # outside the walls, whose outsides no picture shows
    view = ImageBasedRenderer(scene, sources, ImageBasedOptions(sky=False)).render(CAMERA, behind)
    walls = np.isfinite(view.depth)
    assert walls.any() and view.filled[walls].max() < 0.05
    assert np.isfinite(view.rgb).all()


def test_sky_comes_from_the_pictures(place):
    scene, sources, targets, mask = place
    purple = sources.images.copy()
    purple[np.broadcast_to(~np.stack([np.isfinite(ImageBasedRenderer(scene, sources).views.rows(i)[:, 7].numpy())
                                      .reshape(CAMERA.height, CAMERA.width) for i in range(len(sources))])[:, None],
                           purple.shape)] = 0.25
    view = ImageBasedRenderer(scene, replace(sources, images=purple)).render(CAMERA, targets.world_to_cam[0])
    high = np.zeros_like(mask[0])
    high[:10] = True
    assert np.abs(view.rgb[:, high] - 0.25).max() < 1e-3


def test_grid_coordinates_change_nothing():
    origin = np.array([25_490_000.0, 6_668_000.0, 0.0])
    textures = sharp_textures()
    views = []
    for shift in (np.zeros(3), origin):
        sources, _ = photographs(mesh_of(textures, shift), poses_at(SOURCES[:3], shift))
        renderer = ImageBasedRenderer(RayScene(mesh_of(blurred(textures), shift)), sources)
        views.append(renderer.render(CAMERA, poses_at(TARGETS[:1], shift)[0]).rgb)
    assert np.abs(views[0] - views[1]).mean() < 1e-3


def test_colour_transfer_takes_exposures_back(place):
    scene, sources, _, _ = place
    rng = np.random.default_rng(4)
    gain = rng.uniform(0.7, 1.3, (len(sources), 3))
    gain /= gain.mean(axis=0)
    exposed = replace(sources, images=(np.clip(sources.images * gain[:, :, None, None], 0, 1)).astype(np.float32))
    fitted, bias = fit_colour_transfer(SourceViews(scene, exposed))
    assert np.abs(fitted * gain / (fitted * gain).mean(axis=0) - 1).max() < 0.1
    assert np.abs(bias).max() < 0.06
    _, plain = score(place, exposed)
    _, transferred = score(place, exposed, colour_transfer=True)
    assert transferred > plain + 1.5


def test_pose_errors_cost_quality(place):
    scene, sources, targets, mask = place
    curve = pose_error_curve(scene, sources, targets, mask, ((0, 0), (0.2, 0.5), (1.9, 4.0)))
    assert curve.psnr[0] - curve.psnr[1] > 1.0 and curve.psnr[1] - curve.psnr[2] > 1.0
    assert curve.psnr[0] > curve.mesh_psnr + 6
    moved = perturbed(sources, 0.5, 2.0, seed=3)
    away = np.linalg.norm(camera_centre(moved.world_to_cam) - camera_centre(sources.world_to_cam), axis=1)
    assert np.allclose(away, 0.5)
    assert np.allclose(np.degrees(rotation_angle(moved.world_to_cam, sources.world_to_cam)), 2.0)


def test_scores_know_their_targets(place):
    _, sources, targets, mask = place
    grey = np.full_like(targets.images, 0.5)
    scores = score_novel_views({"mesh": grey, "truth": targets.images}, targets, mask, sources, lpips_net=None)
    assert isinstance(scores, NovelViewScores) and np.isinf(scores.psnr["truth"]).all()
    # (-5.5, -4.5) to (-8, -6) is sqrt(2.5^2 + 1.5^2), to (-3, -5) sqrt(2.5^2 + 0.5^2)
    assert scores.distance_m[0] == pytest.approx(np.hypot(2.5, 0.5))
    error = ((grey - targets.images)[1][:, mask[1]].astype(float) ** 2).mean()
    assert scores.psnr["mesh"][1] == pytest.approx(-10 * np.log10(error), abs=1e-4)
    with pytest.raises(InputError, match="left out"):
        score_novel_views({"mesh": sources.images}, sources, np.ones((8, 80, 160), bool), sources, None)


@pytest.mark.parametrize("options", [{"nearest": 0}, {"angle_rad": 0.0}, {"supersample": 2.5}])
def test_bad_options_are_told(options):
    with pytest.raises(InputError):
        ImageBasedOptions(**options)


def test_no_pictures_are_told(place):
    scene, sources, _, _ = place
    with pytest.raises(InputError, match="no source picture"):
        ImageBasedRenderer(scene, sources.subset(np.zeros(0, int)))
