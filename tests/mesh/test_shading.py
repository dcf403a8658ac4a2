"""Sun, shadow, sky and haze where one can work them out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.geometry import NadirCamera, PanoramaCamera, PinholeCamera, nadir_pose, pose_from_heading
from rsnb.mesh import RayScene, RenderOptions, Sky, Sun, render
from rsnb.mesh.shading import GAMMA, shoulder
from rsnb.mesh.sky import sky_colour
from rsnb.scenes import Material, TexturedMesh

GREY = (0.5, 0.5, 0.5)


def sheets(*corners) -> RayScene:
    """Grey quadrilaterals [4, 3]."""
    n = len(corners)
    first = np.arange(n)[:, None] * 4
    faces = np.concatenate([first + [0, 1, 2], first + [0, 2, 3]], axis=1).reshape(-1, 3).astype(np.int32)
    return RayScene(TexturedMesh(np.array(corners, np.float64).reshape(-1, 3), faces,
                                 np.zeros((2 * n, 3, 2), np.float32), np.zeros(2 * n, np.int32),
                                 (Material("grey", GREY),), np.ones(2 * n, np.int32)))


GROUND = [[-50, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]]
# A wall along the x axis, 10 m high.
WALL = [[-20, 0, 0], [20, 0, 0], [20, 0, 10], [-20, 0, 10]]
MAP = NadirCamera(0.5, 80, 80)  # 40 x 40 m, row j looks at y = 20 - (j + 0.5) / 2
ABOVE = nadir_pose([0, 0, 100.0])


def test_sunlit_ground_has_lamberts_brightness():
    sun = Sun(1.0, np.deg2rad(30), colour=(1, 0.5, 0.25), intensity=0.6, sky=(0.2, 0.3, 0.4), ground=(9, 9, 9))
    picture = render(sheets(GROUND), MAP, ABOVE, RenderOptions(sun=sun))
    # Flat ground sees only sky (its hemisphere weight is 1) and the sun at sin 30 = 1/2.
    light = np.array([0.2, 0.3, 0.4]) + 0.6 * 0.5 * np.array([1, 0.5, 0.25])
    np.testing.assert_allclose(picture.rgb[:, 40, 40], 0.5 * light ** (1 / GAMMA), rtol=1e-5)


def test_light_comes_from_the_suns_bearing():
    """A sun in the east (bearing 90) lights the eastern side of a wall that runs north."""
    wall = [[0, -20, 0], [0, 20, 0], [0, 20, 10], [0, -20, 10]]
    options = RenderOptions(sun=Sun(np.deg2rad(90), 0.3), shadows=True)
    camera = PinholeCamera.from_fov(0.5, 8, 8)
    east = render(sheets(GROUND, wall), camera, pose_from_heading([20, 0, 5], np.deg2rad(270)), options)
    west = render(sheets(GROUND, wall), camera, pose_from_heading([-20, 0, 5], np.deg2rad(90)), options)
    assert east.rgb[:, 4, 4].min() > 1.4 * west.rgb[:, 4, 4].max()


def test_shadow_is_as_long_as_it_should_be():
    """Sun in the south at 45 degrees: the 10 m wall darkens y from 0 to 10 and nothing else."""
    options = RenderOptions(sun=Sun(np.pi, np.deg2rad(45)), shadows=True)
    picture = render(sheets(GROUND, WALL), MAP, ABOVE, options)
    dark = picture.rgb[0] < 0.9 * picture.rgb[0].max()
    y = 20 - (np.arange(80) + 0.5) / 2
    # Column 40 looks at x = 0.25, in the middle of the wall.
    np.testing.assert_array_equal(dark[:, 40], (y > 0) & (y < 10))
    no_shadow = render(sheets(GROUND, WALL), MAP, ABOVE, RenderOptions(sun=Sun(np.pi, np.deg2rad(45))))
    assert np.ptp(no_shadow.rgb[0]) < 1e-6


def test_soft_sun_blurs_the_edge_of_a_shadow():
    """A sun of radius 0.1 rad and a 10 m wall: the penumbra lies about 10 m out and is metres wide."""
    sun = Sun(np.pi, np.deg2rad(45), radius=0.1)
    hard = render(sheets(GROUND, WALL), MAP, ABOVE, RenderOptions(sun=sun, shadows=True)).rgb[0, :, 40]
    soft = render(sheets(GROUND, WALL), MAP, ABOVE, RenderOptions(sun=sun, shadows=True, shadow_rays=32)).rgb[0, :, 40]
    between = (soft > soft.min() + 0.02) & (soft < soft.max() - 0.02)
    assert len(np.unique(hard)) == 2 and between.sum() >= 4


def test_far_surfaces_do_not_shadow_themselves():
    """Flat ground under a low sun, seen from 2 km: no speckles (the classic shadow acne)."""
    big = [[-3000, -3000, 0], [3000, -3000, 0], [3000, 3000, 0], [-3000, 3000, 0]]
    options = RenderOptions(sun=Sun(0.7, np.deg2rad(8)), shadows=True)
    camera = PinholeCamera.from_fov(np.deg2rad(60), 64, 64)
    picture = render(sheets(big), camera, pose_from_heading([0, 0, 1500.0], 0.2, np.deg2rad(-60)), options)
    assert (picture.prim >= 0).all() and np.ptp(picture.rgb[0]) < 1e-6


def test_corners_get_less_sky():
    """At the foot of a wall that is high against its distance, close to half of the hemisphere is blocked."""
    high = [[-200, 0, 0], [200, 0, 0], [200, 0, 100], [-200, 0, 100]]
    sun = Sun(0.0, -0.1, sky=(0.4, 0.4, 0.4), ground=(0.4, 0.4, 0.4))  # below the horizon: sky light alone
    options = RenderOptions(sun=sun, ambient_rays=256, ambient_distance=1000.0)
    picture = render(sheets(GROUND, high), MAP, ABOVE, options)
    open_light = render(sheets(GROUND), MAP, ABOVE, options).rgb[0, 40, 40]
    share = (picture.rgb[0, :, 40] / open_light) ** GAMMA
    y = np.abs(20 - (np.arange(80) + 0.5) / 2)
    # Cosine-weighted, an endless wall of height h at distance y hides (1 - cos(atan(h / y))) / 2 of the sky.
    expected = 1 - (1 - np.cos(np.arctan(100 / y))) / 2
    np.testing.assert_allclose(share, expected, atol=0.03)


def test_light_does_not_clip():
    """A white wall in blazing sun stays below 1 and brighter stays brighter."""
    values = torch.tensor([0.0, 0.5, 0.8, 0.9, 1.2, 2.0])
    bent = shoulder(values)
    assert torch.equal(bent[:3], values[:3]) and bent.max() <= 1 and (bent.diff() > 0).all()


def test_haze_fades_to_the_horizon():
    """63 % of the way (1 - 1/e) at the haze distance, for a wall 100 m away."""
    wall = [[-90, 100, -90], [90, 100, -90], [90, 100, 90], [-90, 100, 90]]
    options = RenderOptions(haze_m=100.0, sky=Sky(horizon=(0.9, 0.8, 0.7)))
    picture = render(sheets(wall), PinholeCamera.from_fov(0.02, 3, 3), pose_from_heading([0, 0, 0], 0.0), options)
    expected = np.array([0.9, 0.8, 0.7]) + (0.5 - np.array([0.9, 0.8, 0.7])) * np.exp(-1)
    np.testing.assert_allclose(picture.rgb[:, 1, 1], expected, rtol=1e-4)


def test_sky_is_the_named_colours_at_zenith_and_below():
    sky = Sky()
    colours = sky_colour(sky, torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 0, -1]]))
    np.testing.assert_allclose(colours, [sky.zenith, sky.horizon, sky.ground], rtol=1e-6)
    np.testing.assert_allclose(sky_colour((0.1, 0.2, 0.3), torch.zeros(2, 3)), [[0.1, 0.2, 0.3]] * 2)


def test_the_glow_stands_where_the_sun_is():
    sun = Sun(np.deg2rad(120), np.deg2rad(40))
    camera = PanoramaCamera(360, 180)
    scene = sheets([[-1, -1, -50], [1, -1, -50], [1, 1, -50], [-1, 1, -50]])
    picture = render(scene, camera, pose_from_heading([0, 0, 0], 0.0), RenderOptions(sun=sun))
    row, column = np.unravel_index(picture.rgb[0].argmax(), picture.rgb[0].shape)
    assert abs(column + 0.5 - (180 + 120)) <= 1 and abs(row + 0.5 - 50) <= 1


def test_a_sun_in_degrees_is_refused():
    with pytest.raises(InputError, match="radians"):
        Sun(180, 35)


def test_foliage_is_lit_from_both_sides():
    """A board whose class counts as foliage is bright on the side away from the sun too; a wall there is dark."""
    board = [[-3, 0, 0], [3, 0, 0], [3, 0, 6], [-3, 0, 6]]
    camera, pose = PinholeCamera.from_fov(0.3, 8, 8), pose_from_heading([0, -10, 3], 0.0)
    options = [RenderOptions(sun=Sun(0.0, 0.5, foliage=ids), shadows=True) for ids in ((), (1,))]
    lights = [render(sheets(board), camera, pose, one).rgb[1, 4, 4] for one in options]
    assert lights[1] > 1.3 * lights[0]
