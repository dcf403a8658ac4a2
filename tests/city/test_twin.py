"""A baked texture shows what the true scene looked like from outside its surface."""

import numpy as np
import pytest

from rsnb.city.twin import TwinOptions, bake_twin, fill_unknown
from rsnb.geometry.cameras import PinholeCamera
from rsnb.geometry.poses import look_at
from rsnb.mesh import RayScene, RenderOptions, Sun, render
from rsnb.metrics import psnr
from rsnb.scenes import Material, SemanticClass, TexturedMesh

PLAIN = TwinOptions(texel_m=0.1, blur_texels=0.0, gain=(1.0, 1.0, 1.0), haze=0.0, page_size=1024)
SUN = Sun(np.radians(PLAIN.sun_azimuth_deg), np.radians(PLAIN.sun_elevation_deg))


def street_corner(with_bin: bool = False) -> TexturedMesh:
    """A turned house (object 1) on ground (object 0), smooth colours; `with_bin` adds a small box before its wall."""
    turn = np.radians(20)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    boxes = [((0, 0, 0), (8, 5, 6))] + ([((3, -1.5, 0), (4, -0.6, 1.2))] if with_bin else [])
    vertices = [(-12.0, -14.0, 0.0), (20, -14, 0), (20, 16, 0), (-12, 16, 0)]
    faces, objects = [(0, 1, 2), (0, 2, 3)], [0, 0]
    for number, (low, high) in enumerate(boxes, start=1):
        base = len(vertices)
        corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
        vertices += list((np.array(low) + corners * np.subtract(high, low)) @ rotation.T)
        quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (1, 5, 7, 3)]  # no floor
        faces += [tuple(base + i for i in t) for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
        objects += [number] * 10
    vertices, faces = np.array(vertices), np.array(faces, np.int32)
    y, x = np.indices((64, 64)) / 64
    waves = np.stack([0.5 + 0.3 * np.sin(2 * np.pi * x), 0.5 + 0.3 * np.cos(2 * np.pi * y), 0.4 + 0.2 * x * y], -1)
    corner = vertices[faces]
    uv = (corner[..., :2] + corner[..., 2:] * (0.7, 0.4)) / 16.0  # something that varies on every face
    return TexturedMesh(vertices, faces, uv.astype(np.float32), np.zeros(len(faces), np.int32),
                        (Material("waves", texture=(waves * 255).astype(np.uint8)),),
                        np.where(np.array(objects) > 0, 3, 5).astype(np.int32),
                        (SemanticClass(3, "building", (1, 1, 1)), SemanticClass(5, "road", (2, 2, 2))),
                        np.array(objects, np.int32), name="corner")


CAMERA = PinholeCamera.from_fov(np.radians(60), 160, 120)
VIEWS = [look_at((16, -12, 9), (4, 3, 2)), look_at((-10, 14, 6), (4, 3, 2))]
LIT = RenderOptions(sun=SUN, shadows=True, supersample=3)


@pytest.mark.parametrize("view", VIEWS)
def test_unlit_twin_looks_like_the_lit_truth(view):
    truth = RayScene(street_corner())
    twin = RayScene(bake_twin(street_corner(), truth, PLAIN))
    real, baked = render(truth, CAMERA, view, LIT), render(twin, CAMERA, view, RenderOptions(supersample=3))
    hit = real.prim >= 0
    assert np.array_equal(real.semantic, baked.semantic)
    unlit = render(truth, CAMERA, view, RenderOptions(supersample=3))
    good, floor = (psnr(a.rgb, real.rgb, hit) for a in (baked, unlit))
    assert good > 28 and good > floor + 10  # what is left are shadow edges, which no texel of 10 cm holds


def test_what_the_twin_lacks_becomes_paint_on_what_is_behind_it():
    truth = RayScene(street_corner(with_bin=True))
    twin = RayScene(bake_twin(street_corner(), truth, PLAIN))
    clean = RayScene(bake_twin(street_corner(), RayScene(street_corner()), PLAIN))
    a, b = (render(s, CAMERA, VIEWS[0], RenderOptions()) for s in (twin, clean))
    changed = np.abs(a.rgb - b.rgb).max(axis=0) > 0.05
    assert 0.001 < changed.mean() < 0.2


def test_haze_and_gain_shift_colours_as_stated():
    truth = RayScene(street_corner())
    plain, cast = (bake_twin(street_corner(), truth, TwinOptions(**{**PLAIN.__dict__, **change}))
                   for change in ({}, {"gain": (0.5, 1.0, 1.0), "haze": 0.2}))
    red = plain.materials[0].texture[..., 0].astype(float), cast.materials[0].texture[..., 0].astype(float)
    # red' = 0.5 red * 0.8 + 0.62 * 0.2 (airlight), in 0..255
    assert np.abs(red[0] * 0.5 * 0.8 + 0.62 * 0.2 * 255 - red[1]).max() <= 1.0


def test_unknown_texels_take_the_colour_around_them():
    page, known = np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), bool)
    page[10:20, 10:20], known[10:20, 10:20] = (1.0, 0.5, 0.25), True
    filled = fill_unknown(page, known)
    assert np.allclose(filled, (1.0, 0.5, 0.25), atol=1e-5)
    assert np.array_equal(fill_unknown(page, np.zeros_like(known)), page)
