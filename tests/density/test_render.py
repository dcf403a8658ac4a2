"""What is known of a rendering without a renderer: closed forms, directions, distances, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rsnb.density import render
from rsnb.density.render import exit_heights, ground_in_tile, march, render_panorama, render_view
from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame
from rsnb.errors import InputError
from rsnb.geometry import NadirCamera, PanoramaCamera, PinholeCamera
from rsnb.geometry.poses import nadir_pose, pose_from_heading

FRAME = TileFrame(32.0, 8.0)
BACKENDS = ("torch", "numba", "cylinder")
NORTH, EAST, SOUTH, WEST = (0.1, 0.9, 0.2), (0.8, 0.1, 0.3), (0.4, 0.2, 0.7), (0.9, 0.8, 0.1)


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    return request.param


def four_quarters(pixels=64):
    """A tile whose quarters between the diagonals have a colour each."""
    v, u = np.mgrid[:pixels, :pixels] + 0.5 - pixels / 2
    side = np.where(np.abs(u) > np.abs(v), np.where(u > 0, 1, 3), np.where(v < 0, 0, 2))
    return torch.tensor(np.array([NORTH, EAST, SOUTH, WEST], np.float32)[side]).permute(2, 0, 1)[None]


def empty(ground="plane", batch=1, **more):
    return DensityVolume(torch.zeros(batch, 8, 32, 32), four_quarters().repeat(batch, 1, 1, 1), FRAME, ground, **more)


def test_fog_of_one_density(backend):
    """opacity 1 - exp(-sigma L), L = 16 m to the northern wall of a tile that is fog all over; level rays."""
    v = DensityVolume(torch.full((1, 8, 32, 32), 0.07), torch.full((1, 3, 4, 4), 0.6), FRAME, "none")
    # steps of 2 cm: the wall lies between samples 799 and 800; one row at the horizon
    found = render_panorama(v, PanoramaCamera(4, 1, 0.1), [0, 0, 4.0], np.pi / 4,
                            RenderOptions(900, 18.0, backend=backend))
    wanted = 1 - math.exp(-0.07 * 16)
    # columns look along 45 + (-135, -45, 45, 135) degrees: west, north, east, south, each at a wall that is 16 m away.
    # Circles of the cylinder are 0.5 m apart and one lies on the wall: 0.25 m too much fog, 0.07 x 0.25 x exp(-1.12)
    tolerance = 0.006 if backend == "cylinder" else 1e-5
    np.testing.assert_allclose(found.opacity[0, 0], wanted, atol=tolerance)
    np.testing.assert_allclose(found.rgb[0, :, 0], 0.6 * wanted, atol=tolerance)
    # sum of w t = integral of sigma t exp(-sigma t) = (1 - exp(-sigma L) (1 + sigma L)) / sigma
    np.testing.assert_allclose(found.distance[0, 0], (1 - math.exp(-1.12) * 2.12) / 0.07, atol=tolerance * 16.5,
                               rtol=1e-3)


def test_an_opaque_wall_is_seen_where_it_stands(backend):
    sigma = torch.zeros(1, 8, 32, 32)
    sigma[:, :, 6] = 1e4  # between 9 and 10 m north; the density begins to rise half a cell before, at 8.5
    found = render_panorama(DensityVolume(sigma, four_quarters(), FRAME), PanoramaCamera(90, 45), [0, 0, 2.0], 0.0,
                            RenderOptions(100, backend=backend))
    step = render.farthest_corner(empty(), torch.tensor([0, 0, 2.0])) / 100
    middle = found.depth()[0, 22, 44:46]  # level, at bearings of 2 degrees
    assert ((middle >= 8.4) & (middle <= 8.6 + step)).all()
    up = found.depth()[0, 0]
    assert torch.isinf(up).all()


def test_the_plane_lies_where_it_lies_and_has_the_right_colours(backend):
    camera = PanoramaCamera(64, 32)
    found = render_panorama(empty(), camera, [0, 0, 2.0], 0.0, RenderOptions(50, backend=backend))
    dip = (torch.arange(32) + 0.5 - 16) / 32 * math.pi
    depth = found.depth()[0]
    assert torch.isinf(depth[:16]).all() and (found.opacity[0, :16] == 0).all()
    wanted = (2 / torch.sin(dip[16:]))[:, None].expand(16, 64)
    torch.testing.assert_close(depth[16:], wanted, rtol=1e-6, atol=0)
    assert (found.opacity[0, 16:] == 1).all()
    # the centre column looks north, columns run clockwise; 2 m / tan(22 degrees) = 5 m away
    for column, colour in ((32, NORTH), (48, EAST), (0, SOUTH), (63, SOUTH), (16, WEST)):
        np.testing.assert_allclose(found.rgb[0, :, 20, column], colour, atol=1e-6)
    # 40 m away, beyond the tile: its border goes on
    np.testing.assert_allclose(found.rgb[0, :, 16, 48], EAST, atol=1e-6)
    torch.testing.assert_close(found.rgb[0, :, 16:].amax(dim=(1, 2)), torch.tensor([0.9, 0.9, 0.7]))


def test_a_camera_off_the_middle_that_has_turned_and_sees_little(backend):
    """65 degrees of rows, from 5 m east and 3 m north, the middle looking to 100 degrees: every pixel by hand."""
    camera, heading = PanoramaCamera(48, 13, math.radians(65)), math.radians(100)
    tile = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    v = DensityVolume(torch.zeros(1, 4, 8, 8), tile, FRAME)
    found = render_panorama(v, camera, [5.0, 3.0, 1.7], heading, RenderOptions(50, backend=backend))
    for row, column in ((8, 3), (10, 24), (12, 40), (11, 47)):
        dip = math.radians((row + 0.5) * 5 - 32.5)
        bearing = heading + math.radians((column + 0.5) * 7.5 - 180)
        reach = 1.7 / math.tan(dip)
        x, y = 5 + reach * math.sin(bearing), 3 + reach * math.cos(bearing)
        u, v_ = np.clip([x + 16 - 0.5, 16 - y - 0.5], 0, 31)  # pixels of 1 m
        a, b = int(u), int(v_)
        fu, fv = u - a, v_ - b
        c, d = min(a + 1, 31), min(b + 1, 31)
        colour = ((tile[0, :, b, a] * (1 - fu) + tile[0, :, b, c] * fu) * (1 - fv)
                  + (tile[0, :, d, a] * (1 - fu) + tile[0, :, d, c] * fu) * fv)
        np.testing.assert_allclose(found.rgb[0, :, row, column], colour, atol=2e-5)
        assert float(found.depth()[0, row, column]) == pytest.approx(1.7 / math.sin(dip), rel=1e-6)


def test_each_tile_of_a_batch_has_its_camera(backend):
    generator = torch.Generator().manual_seed(1)
    v = DensityVolume(torch.rand(3, 6, 16, 16, generator=generator) ** 6, torch.rand(3, 3, 16, 16, generator=generator),
                      FRAME)
    places, headings = [[0, 0, 2.0], [5, -4, 1.5], [-7, 2, 9.5]], [0.0, 1.0, -2.0]  # the last one above the ceiling
    options = RenderOptions(40, 30.0, backend=backend)
    together = render_panorama(v, PanoramaCamera(24, 12), np.array(places), torch.tensor(headings), options)
    for b in range(3):
        alone = render_panorama(v.subset([b]), PanoramaCamera(24, 12), places[b], headings[b], options)
        for name in ("rgb", "opacity", "distance"):
            torch.testing.assert_close(getattr(together, name)[b], getattr(alone, name)[0], atol=1e-5, rtol=1e-5)


def test_nobody_there_is_no_error(backend):
    """A camera so far above that no ray meets the volume within its length, and one that looks past the tile."""
    for position in ([0, 0, 500.0], [300.0, 0, 2.0]):
        found = render_panorama(empty("none"), PanoramaCamera(16, 8), position, 0.0,
                                RenderOptions(20, 30.0, backend=backend))
        assert (found.opacity == 0).all() and (found.rgb == 0).all() and torch.isinf(found.depth()).all()


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_from_above_the_tile_is_a_map(backend):
    """Rows to the south, columns to the east; a block of 5 m with a lid is 4 m below a camera at 9 m."""
    sigma = torch.zeros(1, 16, 32, 32)
    sigma[:, :10, 4:8, 20:30] = 500.0  # 10 slices of 0.5 m; y from 8 to 12, x from 4 to 14
    tile = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    v = DensityVolume(sigma, tile, FRAME)
    found = render_view(v, NadirCamera(1.0, 32, 32), nadir_pose([0, 0, 9.0]), RenderOptions(400, backend=backend))
    np.testing.assert_allclose(found.rgb, tile, atol=1e-5)
    block = torch.zeros(32, 32, dtype=torch.bool)
    block[4:8, 20:30] = True
    depth = found.depth()[0]
    # between the centres of slices 9 and 10 the density falls from 500 to 0: opaque up to near the end of that
    assert ((depth[block] > 3.7) & (depth[block] < 4.1)).all()
    np.testing.assert_allclose(depth[~block], 9.0, rtol=1e-6)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_pinhole_that_is_turned_and_has_unlike_axes(backend):
    """fx != fy, off-centre, pitched and rolled: depth of the plane and colours by the ray of each pixel."""
    K = np.array([[31.0, 0, 17.0], [0, 24.0, 9.0], [0, 0, 1]])
    pose = pose_from_heading([-2.0, 1.0, 2.5], 0.7, -0.2, 0.2)
    found = render_view(empty(), PinholeCamera(K, 30, 20), pose, RenderOptions(30, backend=backend))
    v, u = np.mgrid[:20, :30] + 0.5
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T @ pose[:3, :3]
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    down = rays[..., 2] < 0
    assert 0.5 < down.mean() < 1
    reach = np.where(down, 2.5 / np.where(down, -rays[..., 2], 1), np.inf)
    np.testing.assert_allclose(found.depth()[0], reach, rtol=1e-6)
    x, y = (np.where(down, -2 + reach * rays[..., 0], np.nan), np.where(down, 1 + reach * rays[..., 1], np.nan))
    # in the tile, and not where colours meet
    clear = down & (np.abs(np.abs(x) - np.abs(y)) > 1) & (np.abs(x) < 16) & (np.abs(y) < 16)
    seen = found.rgb[0].permute(1, 2, 0).numpy()
    for colour, side in ((NORTH, y > np.abs(x)), (EAST, x > np.abs(y))):
        assert (side & clear).sum() > 5
        np.testing.assert_allclose(seen[side & clear], np.tile(colour, ((side & clear).sum(), 1)), atol=1e-5)


def test_a_pose_that_is_level_is_the_panorama():
    v = DensityVolume(torch.rand(2, 6, 16, 16) ** 6, torch.rand(2, 3, 16, 16), FRAME)
    camera, places, headings = PanoramaCamera(24, 12, 2.0), np.array([[0, 0, 2.0], [5, -4, 1.5]]), np.array([0.3, 4.0])
    for backend in ("torch", "cylinder"):
        options = RenderOptions(40, backend=backend)
        by_pose = render_view(v, camera, pose_from_heading(places, headings), options)
        by_place = render_panorama(v, camera, places, headings, options)
        torch.testing.assert_close(by_pose.rgb, by_place.rgb, atol=1e-5, rtol=0)
        torch.testing.assert_close(by_pose.distance, by_place.distance, atol=1e-4, rtol=1e-5)
    tilted = pose_from_heading(places, headings, 0.1)
    assert (render_view(v, camera, tilted).opacity - by_place.opacity).abs().max() > 0.1
    upside_down = pose_from_heading(places, headings, 0.0, np.pi)
    turned = render_view(v, camera, upside_down, RenderOptions(40, backend="torch"))
    torch.testing.assert_close(turned.opacity.flip(1, 2), render_view(
        v, camera, pose_from_heading(places, headings), RenderOptions(40, backend="torch")).opacity, atol=1e-4, rtol=0)


def test_ground_in_the_tile():
    """Tile of 32 m, camera at 2 m in its middle: north the tile ends at a dip of atan(2 / 16) = 7.1 degrees."""
    camera = PanoramaCamera(36, 90)  # rows of 2 degrees, columns of 10
    inside = ground_in_tile(FRAME, camera, [0, 0, 2.0])
    assert inside.shape == (1, 90, 36) and inside[0, :45].all() and inside[0, 60:].all()
    # column 17 looks 5 degrees west of north: 16 m / cos 5 to the border, 7.09 degrees; rows 47, 48 dip 5, 7 degrees
    assert inside[0, 45:50, 17].tolist() == [False, False, False, False, True]
    # column 22 looks to 45 degrees: corner at 22.6 m, 5.05 degrees
    assert inside[0, 45:50, 22].tolist() == [False, False, False, True, True]
    two = ground_in_tile(FRAME, camera, [[0, 0, 2.0], [0, 14.0, 2.0]])
    assert torch.equal(two[0], inside[0])
    assert two[1, 45:, 17].sum() < inside[0, 45:, 17].sum()  # the northern border is 2 m away: below 45 degrees only
    assert two[1, 45:, 17].tolist() == [False] * 22 + [True] * 23  # 2 m / cos 5 away: 44.9 degrees; row 67 dips 45
    headed = ground_in_tile(FRAME, camera, [0, 14.0, 2.0], np.pi)
    assert headed[0, 45:, 17].tolist() == two[1, 45:, 35].tolist()


def test_where_rays_leave_the_tile():
    """Tile of 32 m: the border is 16 m / max(|sin|, |cos|) of the bearing away, the ray there at z + that tan e."""
    camera = PanoramaCamera(4, 90)  # columns to the south-west, north-west, north-east, south-east
    rise = np.radians(89.0 - 2 * np.arange(90))
    centre = exit_heights(FRAME, camera, [0, 0, 2.0]).numpy()
    np.testing.assert_allclose(centre[0], (2 + 16 * np.sqrt(2) * np.tan(rise))[:, None].repeat(4, 1), rtol=1e-9)
    # headed by 45 degrees columns look west, north, east and south, of a camera 4 m east and 6 m north of the middle
    off = exit_heights(FRAME, camera, [[4.0, 6.0, 2.0]], np.radians(45.0)).numpy()
    np.testing.assert_allclose(off[0], 2 + np.tan(rise)[:, None] * np.array([20.0, 10.0, 12.0, 22.0]), rtol=1e-6)
    # 4 m west of the tile: the view to the east crosses it, 36 m to the far side; the others never are over it
    outside = exit_heights(FRAME, camera, [[-20.0, 0.0, 2.0]], np.radians(45.0)).numpy()
    np.testing.assert_allclose(outside[0], 2 + np.tan(rise)[:, None] * np.array([0.0, 0.0, 36.0, 0.0]), rtol=1e-6)
    # on the ground inside is what `ground_in_tile` says
    inside = ground_in_tile(FRAME, camera, [0, 0, 2.0])[0].numpy()
    assert np.array_equal(inside[45:], centre[0, 45:] <= 0)


def test_the_default_length_leaves_no_volume_out():
    """To the corner (16, -16, 8) from (-5, 4, 2): sqrt(21^2 + 20^2 + 6^2)."""
    v = DensityVolume(torch.full((1, 2, 4, 4), 1e-3), torch.ones(1, 3, 2, 2), FRAME, "none")
    assert render.farthest_corner(v, torch.tensor([[-5.0, 4, 2], [0, 0, 2]])) == pytest.approx(
        math.sqrt(21**2 + 20**2 + 6**2))
    # parallel rays are as long as the volume is high
    seen = render_view(v, NadirCamera(1.0, 4, 4), nadir_pose([0, 0, 9.0]), RenderOptions(90, backend="torch"))
    np.testing.assert_allclose(seen.opacity, 1 - math.exp(-8e-3), rtol=1e-3)


def test_what_backend_is_taken(monkeypatch):
    taken = []

    def spy(name, original):
        return lambda *args: taken.append(name) or original(*args)

    for name in ("render_cylinder", "march_torch"):
        monkeypatch.setattr(render, name, spy(name, getattr(render, name)))
    v, camera = empty(), PanoramaCamera(8, 4)
    learning = DensityVolume(v.sigma.clone().requires_grad_(), v.tile, FRAME)
    render_panorama(learning, camera, [0, 0, 2.0])
    render_view(learning, NadirCamera(1.0, 4, 4), nadir_pose([0, 0, 9.0]))
    with torch.no_grad():
        render_panorama(learning, camera, [0, 0, 2.0])  # compiled
    render_panorama(v.to(torch.float64), camera, [0, 0, 2.0])
    monkeypatch.setattr(render, "_is_there", lambda package: False)
    render_panorama(v, camera, [0, 0, 2.0])
    assert taken == ["render_cylinder", "march_torch", "march_torch", "render_cylinder"]
    with pytest.raises(InputError, match="needs the package numba"):
        render_panorama(v, camera, [0, 0, 2.0], 0.0, RenderOptions(backend="numba"))


@pytest.mark.parametrize(("ask", "said"), [
    (lambda v: render_panorama(v, PanoramaCamera(8, 4), [0, 0, math.nan]), "not finite"),
    (lambda v: render_panorama(v, PanoramaCamera(8, 4), [0, 0, 0.0]), "0 m above the ground"),
    (lambda v: render_panorama(v, PanoramaCamera(8, 4), [0, 0, -1.5]), "-1.5 m above the ground"),
    (lambda v: render_panorama(v, PanoramaCamera(8, 4), [[0, 0, 2.0]] * 3), r"shape \(3, 3\) for 2 tiles"),
    (lambda v: render_panorama(v, PanoramaCamera(8, 4), [0, 2.0]), r"shape \(2,\)"),
    (lambda v: render_panorama(v, PanoramaCamera(8, 4), [0, 0, 2.0], [0.0, 1.0, 2.0]), "heading of shape"),
    (lambda v: render_panorama(v, PanoramaCamera(8, 4), [0, 0, 2.0], math.inf), "heading"),
    (lambda v: render_panorama(v, NadirCamera(1.0, 8, 4), [0, 0, 2.0]), "is no panorama"),
    (lambda v: render_view(v, NadirCamera(1.0, 8, 4), np.eye(3)), r"pose of shape \(3, 3\)"),
    (lambda v: render_view(v, NadirCamera(1.0, 8, 4), nadir_pose([0, 0, -4.0])), "-4 m above the ground"),
    (lambda v: render_view(v, NadirCamera(1.0, 8, 4), np.full((4, 4), np.nan)), "not finite"),
    (lambda v: render_view(v, NadirCamera(1.0, 8, 4), nadir_pose([0, 0, 9.0]), RenderOptions(backend="cylinder")),
     "panoramas of a level camera only"),
    (lambda v: march(v, [[[0, 0, 2.0]]], [[[0, 0, -2.0]]]), "no unit vector"),
    (lambda v: march(v, [[0, 0, 2.0]], [[[0, 0, -1.0]]]), "origins of shape"),
    (lambda v: march(v, [[[0, 0, 2.0]]] * 3, [[[0, 0, -1.0]]]), "for 2 tiles"),
    (lambda v: march(v, [[[0, 0, -2.0]]], [[[0, 0, -1.0]]]), "-2 m above"),
    (lambda v: march(v.to(torch.float64), [[[0, 0, 2.0]]], [[[0, 0, -1.0]]], RenderOptions(backend="numba")),
     "works in float32"),
    (lambda v: march(DensityVolume(v.sigma.clone().requires_grad_(), v.tile, FRAME), [[[0, 0, 2.0]]], [[[0, 0, -1.0]]],
                     RenderOptions(backend="numba")), "has no gradients"),
], ids=["nan", "on ground", "below", "three places", "two numbers", "three headings", "infinite heading", "no panorama",
        "pose shape", "below by pose", "nan pose", "cylinder", "length", "dimensions", "batch", "below by ray",
        "float64", "gradients"])
def test_what_cannot_be_rendered_is_told(ask, said):
    if "float32" in said or "gradients" in said:
        pytest.importorskip("numba", reason="numba is not installed")
    with pytest.raises(InputError, match=said):
        ask(empty(batch=2))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_triton_is_refused_without_a_gpu():
    with pytest.raises(InputError, match="triton march"):
        render_panorama(empty(), PanoramaCamera(8, 4), [0, 0, 2.0], 0.0, RenderOptions(backend="triton"))
