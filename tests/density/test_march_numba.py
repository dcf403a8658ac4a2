"""The compiled march against the renderer in numpy; what it keeps, and when it stops."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="numba is not installed")

from rsnb.density import march_numba as compiled
from rsnb.density.render import march
from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame

sys.path.insert(0, str(Path(__file__).parent))
from reference_march import CEILING, EDGES, EXTENT, GROUNDS, PLACEMENTS, patchy, rays, reference_march

OPTIONS = RenderOptions(60, 24.0, backend="numba")


def volume(ground="plane", edges="hold", **shape):
    return DensityVolume(*(torch.tensor(part, dtype=torch.float32) for part in patchy(**shape)),
                         TileFrame(EXTENT, CEILING), ground, edges)


def seen(v, options=OPTIONS):
    origin, directions = rays()
    return march(v, origin[None, None], directions[None], options)


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_it_is_the_renderer_in_numpy(ground, edges, placement):
    v = volume(ground, edges)
    found = seen(v, replace(OPTIONS, placement=placement))
    for b in range(2):
        wanted = reference_march(v.sigma[b], v.tile[b], *rays(), 60, 24.0, ground, edges, placement)
        np.testing.assert_allclose(found.rgb[b].T, wanted[0], atol=2e-5)
        np.testing.assert_allclose(found.opacity[b], wanted[1], atol=2e-5)
        np.testing.assert_allclose(found.distance[b], wanted[2], atol=1e-4, rtol=1e-5)


def test_one_slice_and_one_pixel():
    v = volume(depth=1, size=2, pixels=1)
    found = seen(v)
    wanted = reference_march(v.sigma[1], v.tile[1], *rays(), 60, 24.0)
    np.testing.assert_allclose(found.rgb[1].T, wanted[0], atol=2e-5)
    np.testing.assert_allclose(found.distance[1], wanted[2], atol=1e-4, rtol=1e-5)


def test_threads_and_turns_change_nothing(monkeypatch):
    v = volume()
    one = seen(v)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        monkeypatch.setattr(compiled, "_kept", type(compiled._kept)())  # turned by three threads too
        many = seen(v)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(getattr(one, name), getattr(many, name)) for name in ("rgb", "opacity", "distance"))


def test_air_above_the_roofs_is_passed_over_and_what_floats_in_it_is_not():
    sigma = torch.zeros(1, 10, 24, 24)
    sigma[0, 8, 11, 13] = 40.0  # one cell, 6.4 to 7.2 m above (1.875, 0.625)
    v = DensityVolume(sigma, torch.rand(1, 3, 8, 8), TileFrame(EXTENT, CEILING), "none")
    origin = np.array([1.3, -2.7, 2.1])
    target = np.array([1.875, 0.625, 6.8]) + np.random.default_rng(0).uniform(-1.3, 1.3, (200, 3))
    directions = (target - origin) / np.linalg.norm(target - origin, axis=1, keepdims=True)
    found = march(v, origin[None, None], directions[None], OPTIONS)
    wanted = reference_march(sigma[0], v.tile[0], origin, directions, 60, 24.0, "none")
    np.testing.assert_allclose(found.opacity[0], wanted[1], atol=2e-5)
    assert (wanted[1] > 0.5).sum() > 20 and (wanted[1] == 0).sum() > 20


def test_a_volume_is_turned_once_and_again_when_it_was_written_to(monkeypatch):
    turned = []
    original = compiled._turn
    monkeypatch.setattr(compiled, "_turn", lambda v: turned.append(1) or original(v))
    v = volume()
    first = seen(v).opacity
    assert torch.equal(seen(v).opacity, first) and len(turned) == 1
    v.sigma.mul_(2)
    assert (seen(v).opacity - first).abs().max() > 0.1 and len(turned) == 2
    v.tile.zero_()
    assert seen(v).rgb.abs().max() == 0 and len(turned) == 3
    seen(replace(v, edges="fade"))
    seen(replace(v, ground="slab"))
    assert len(turned) == 5 and len(compiled._kept) == compiled.KEPT
    with torch.inference_mode():  # its tensors do not count what is written to them
        fleeting = volume()
        before = seen(fleeting).opacity.clone()
        fleeting.sigma.mul_(2)
        assert (seen(fleeting).opacity - before).abs().max() > 0.1
    del v
    gc.collect()
    assert not compiled._kept


def test_a_ray_stops_where_hardly_anything_is_left():
    v = volume("none")
    v = replace(v, sigma=v.sigma + 0.5)
    whole, cut = seen(v), seen(v, replace(OPTIONS, stop=0.1))
    assert 0.01 < (whole.opacity - cut.opacity).max() <= 0.1 and (cut.opacity <= whole.opacity).all()
    # what is left reaches the plane
    plane = seen(replace(v, ground="plane"), replace(OPTIONS, stop=0.1))
    down = torch.tensor(rays()[1][:, 2] < 0)
    assert (plane.opacity[:, down] == 1).all()


def test_a_density_that_is_no_number_is_seen():
    v = volume("none")
    v.sigma[0, :, :, 12] = torch.nan
    found = seen(v)
    assert torch.isnan(found.rgb[0]).any() and torch.isfinite(found.rgb[1]).all()
