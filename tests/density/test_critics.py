"""Patch critics: published count, and crops that look where a pinhole camera of the geometry room looks."""

from __future__ import annotations

import math

import pytest
import torch

from rsnb.density.critics import CriticsOptions, CropViews, PatchCritic, PatchCritics, perspective_crops
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera, PinholeCamera, project_points, world_rays
from rsnb.geometry.poses import pose_from_heading


def smooth(height=64, width=128, vertical_fov=math.pi):
    """A panorama [1, 3, H, W] whose colours are the unit ray's east, north, up, shifted to 0..1."""
    camera = PanoramaCamera(width, height, vertical_fov)
    _, rays = world_rays(camera, torch.from_numpy(pose_from_heading([0.0, 0.0, 0.0], 0.0)))
    return (rays.permute(2, 0, 1)[None] + 1) / 2


def test_the_published_critic_has_its_parameters():
    # a b 9 + b and a norm of 2 b for each of four layers; the head 512 -> 1
    layers = sum(a * b * 9 + 3 * b for a, b in ((3, 64), (64, 128), (128, 256), (256, 512)))
    assert sum(p.numel() for p in PatchCritic().parameters()) == layers + 512 * 9 + 1
    assert round((layers + 512 * 9 + 1) / 1e6, 2) == 1.56
    assert len(PatchCritics(CriticsOptions(width=2)).critics) == 3


def test_maps_and_logits_have_the_published_strides():
    verdict = PatchCritic(4)(torch.rand(2, 3, 64, 256))
    assert [tuple(f.shape) for f in verdict.features] == [(2, 4, 32, 128), (2, 8, 16, 64), (2, 16, 8, 32),
                                                          (2, 32, 8, 32)]
    assert verdict.logits.shape == (2, 1, 8, 32)


@pytest.mark.parametrize("vertical_fov", [math.pi, math.pi / 2])
def test_crops_see_the_rays_of_a_pinhole_camera(vertical_fov):
    views = CropViews(torch.tensor([0.0, 2.9, -1.3]), torch.tensor([0.0, 0.3, -0.25]))
    panorama = smooth(256, 512, vertical_fov).expand(3, -1, -1, -1)
    crops = perspective_crops(panorama, views, 24, math.radians(60), vertical_fov)
    camera = PinholeCamera.from_fov(math.radians(60), 24, 24)
    for crop, yaw, pitch in zip(crops, views.yaw, views.pitch, strict=True):
        _, rays = world_rays(camera, torch.from_numpy(pose_from_heading([0.0, 0.0, 0.0], float(yaw), float(pitch))))
        expected = (rays.permute(2, 0, 1) + 1) / 2
        seen = torch.asin(rays[..., 2]).abs() < vertical_fov / 2 - 0.01
        assert torch.allclose(crop[:, seen], expected[:, seen], atol=2e-3)
        assert float(seen.double().mean()) > 0.7


def test_crops_of_a_panorama_taken_for_a_sphere_are_wrong():
    views = CropViews(torch.tensor([0.4]), torch.tensor([0.3]))
    panorama = smooth(128, 512, math.pi / 2)
    right = perspective_crops(panorama, views, 16, 1.0, math.pi / 2)
    assert float((perspective_crops(panorama, views, 16, 1.0, math.pi) - right).abs().max()) > 0.1


def test_crops_cross_the_seam_and_end_with_the_panorama():
    ramp = torch.zeros(1, 3, 32, 64, dtype=torch.float64)
    ramp[..., :32] = 1.0  # the western half
    crop = perspective_crops(ramp, CropViews(torch.tensor([math.pi]), torch.tensor([0.0])), 10, math.radians(60))
    # looking back, west is on the right-hand side: the left half of the panorama continues beyond the seam
    assert torch.allclose(crop[0, 0], torch.tensor([0.0] * 5 + [1.0] * 5, dtype=torch.float64).expand(10, 10))
    flat = torch.ones(1, 3, 16, 64, dtype=torch.float64)
    crop = perspective_crops(flat, CropViews(torch.tensor([0.0]), torch.tensor([0.0])), 100, math.radians(100),
                             math.radians(60))
    # in the middle column: rows with |tan| <= tan 30 degrees of tan 50
    rows = 100 * math.tan(math.pi / 6) / math.tan(math.radians(50))
    assert int(crop[0, 0, :, 50].sum()) == pytest.approx(rows, abs=2)


def test_a_point_of_the_panorama_lands_where_geometry_projects_it():
    panorama = torch.zeros(1, 3, 90, 180, dtype=torch.float64)
    panorama[0, :, 40, 110] = 1.0  # two degrees a pixel: bearing (110.5 - 90) * 2, elevation (45 - 40.5) * 2 degrees
    bearing, elevation = math.radians(41), math.radians(9)
    point = torch.tensor([math.sin(bearing) * math.cos(elevation), math.cos(bearing) * math.cos(elevation),
                          math.sin(elevation)], dtype=torch.float64)
    camera = PinholeCamera.from_fov(math.radians(100), 128, 128)
    pixel, _ = project_points(camera, torch.from_numpy(pose_from_heading([0.0, 0.0, 0.0], 0.5, 0.2)), point[None])
    crop = perspective_crops(panorama, CropViews(torch.tensor([0.5]), torch.tensor([0.2])), 128, math.radians(100))
    weight = crop[0, 0] / crop[0, 0].sum()
    centres = torch.arange(128) + 0.5
    found = torch.stack([(weight.sum(0) * centres).sum(), (weight.sum(1) * centres).sum()])
    assert torch.allclose(found, pixel[0], atol=0.3)


def test_fakes_and_real_pictures_share_views_unless_published():
    generator = torch.Generator().manual_seed(0)
    fake, real = PatchCritics(CriticsOptions.of_size("small")).views(64, generator=generator)
    assert fake is real
    assert float(fake.pitch.abs().max()) <= math.radians(40) * 0.99 + 1e-6
    assert float(fake.yaw.min()) < -2 and float(fake.yaw.max()) > 2
    fake, real = PatchCritics(CriticsOptions.of_size("small", same_views=False)).views(64, generator=generator)
    assert not torch.equal(fake.yaw, real.yaw)
    # of a panorama of 90 degrees the middle of the crop stays 25 degrees inside
    narrow, _ = PatchCritics(CriticsOptions.of_size("small")).views(200, math.pi / 2, generator)
    assert math.radians(17) < float(narrow.pitch.abs().max()) <= math.radians(20)
    wide, _ = PatchCritics(CriticsOptions.of_size("small", assume_sphere=True)).views(200, math.pi / 2, generator)
    assert float(wide.pitch.abs().max()) > math.radians(30)


def test_the_critics_look_at_half_the_panorama_at_the_crop_and_at_half_the_crop():
    torch.manual_seed(0)
    critics = PatchCritics(CriticsOptions(width=4, crop_px=32)).eval()
    panorama = torch.rand(2, 3, 32, 64)
    views, _ = critics.views(2)
    verdicts = critics(panorama, views)
    assert [tuple(v.logits.shape[-2:]) for v in verdicts] == [(2, 4), (4, 4), (2, 2)]
    crop = perspective_crops(panorama, views, 32, critics.options.crop_fov)
    for verdict, critic, picture in zip(verdicts, critics.critics, (panorama, crop, crop), strict=True):
        if critic is not critics.critics[1]:
            picture = torch.nn.functional.interpolate(picture, scale_factor=0.5, mode="area")
        assert torch.allclose(verdict.logits, critic(picture).logits, atol=1e-5)
    rows = PatchCritics(CriticsOptions.of_size("tiny"))(torch.rand(1, 3, 16, 64), views)[0].features[0].shape
    assert rows == (1, 4, 8, 32)  # too low to be halved


def test_a_critic_learns_to_tell_noise_from_even_grey():
    torch.manual_seed(0)
    critics = PatchCritics(CriticsOptions(count=1, width=4))
    adam = torch.optim.Adam(critics.parameters(), 1e-2)
    views, _ = critics.views(2)
    for _ in range(20):
        noise, grey = torch.rand(2, 3, 32, 64), torch.rand(2, 3, 1, 1).expand(2, 3, 32, 64)
        logits = [critics(picture, views)[0].logits for picture in (noise, grey)]
        loss = torch.nn.functional.softplus(-logits[0]).mean() + torch.nn.functional.softplus(logits[1]).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert float(logits[0].detach().mean()) > float(logits[1].detach().mean()) + 1


def test_faults():
    with pytest.raises(InputError, match="too small for a critic"):
        PatchCritic(2)(torch.rand(1, 3, 8, 64))
    for wrong in ({"count": 4}, {"width": 0}, {"crop_px": 12}, {"crop_fov": 3.2}, {"most_pitch": -0.1}):
        with pytest.raises(InputError):
            CriticsOptions(**wrong)
    CriticsOptions(count=2, crop_px=12)
    with pytest.raises(InputError, match="no size"):
        CriticsOptions.of_size("big")
