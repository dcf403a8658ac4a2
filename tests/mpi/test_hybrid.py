"""Decode, bake, refine: baked planes look as the decoded ones did, and refining them is better than either."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.metrics import psnr
from rsnb.mpi.decode import network_frame, new_model
from rsnb.mpi.explicit import ExplicitOptions, optimise_explicit
from rsnb.mpi.hybrid import HybridOptions, bake, optimise_hybrid
from rsnb.mpi.initial import likelihood, sweep, thickness
from rsnb.mpi.plane_state import plane_gaps
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.render import RenderOptions
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.views import view_rows, view_set

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not put it there
from posed_scene import block_scene

TRAIN, TEST = ("1", "2", "4", "5"), "3"
NEAR_FAR = (4.0, 7.5)


@pytest.fixture(scope="module")
def scene():
    return block_scene()


def decoded(scene, rendering, planes=5):
    """As if a network had drawn it: smooth noise in its frame, which is larger than the picture."""
    frame = network_frame(scene, "0", NEAR_FAR)
    coarse = torch.rand(planes, 4, 9, 9, generator=torch.Generator().manual_seed(1))
    mpi = torch.nn.functional.interpolate(coarse, frame.size, mode="bilinear").clamp_min(0.05)
    return OptimisedMpi(mpi, plane_depths(*NEAR_FAR, planes), frame, rendering=rendering)


@pytest.mark.parametrize("published", [False, True], ids=["mended", "published"])
def test_baked_planes_look_as_before(scene, published):
    before = decoded(scene, RenderOptions(backend="torch", published=published, mask_share=1.0))
    after = bake(before, scene, "0", TRAIN, most=50.0, join="edge")
    height, width = scene.images.shape[-2:]
    assert after.frame.size[0] > height and after.frame.inset[2:] == (height, width) != before.frame.size
    assert not after.rendering.published
    one, two = before.view(scene, "0"), after.view(scene, "0")
    assert (one.rgb - two.rgb).abs().max() < 1e-4 and (one.depth - two.depth).abs().max() < 1e-3
    # another view, where all planes are met within the picture
    inner = replace(before, mpi=before.frame.crop(before.mpi), frame=replace(before.frame, size=(height, width)))
    mask = replace(inner, rendering=RenderOptions(backend="torch", mask_share=1.0)).view(scene, "2").mask
    assert mask.float().mean() > 0.4
    assert ((inner.view(scene, "2").rgb - after.view(scene, "2").rgb).abs() * mask).max() < 2e-4


def test_thickness_is_limited(scene):
    before = decoded(scene, RenderOptions(backend="torch", published=True))
    baked = bake(before, scene, "0", TRAIN, join="edge", most=2.0)
    tau = baked.mpi[:, 3] * plane_gaps(baked.depths)[:, None, None]
    assert float(tau.max()) == pytest.approx(2.0)
    assert float(tau[-1].min()) == pytest.approx(2.0)  # 1000 units of anything


def test_beyond_the_picture_is_what_the_sweep_finds(scene):
    before = decoded(scene, RenderOptions(backend="torch"))
    baked = bake(before, scene, "0", TRAIN)
    frame = baked.frame
    views = view_set(scene, ("0", *TRAIN), frame)
    colour, cost = sweep(views, frame, baked.depths)
    tau = thickness(likelihood(cost))
    gaps = plane_gaps(baked.depths)[:, None, None]
    outside = torch.ones(frame.size, dtype=torch.bool)
    frame.crop(outside).fill_(False)
    assert torch.equal(baked.mpi[:, :3, outside], colour[:, :, outside])
    torch.testing.assert_close((baked.mpi[:, 3] * gaps)[:, outside], tau[:, outside], rtol=1e-5, atol=1e-6,
                               check_dtype=False)
    assert torch.equal(frame.crop(baked.mpi)[:, :3], before.frame.crop(before.mpi)[:, :3])
    # a decoder that has no opinion leaves the sweep's
    even = thickness(torch.full((5, *before.frame.size), 0.2))[:, None] / gaps[:, None]
    none = replace(before, mpi=torch.cat([before.mpi[:, :3], even.float()], 1))
    joined = bake(none, scene, "0", TRAIN, join="both", most=3.0)
    alpha, expected = (1 - torch.exp(-x) for x in (joined.mpi[:, 3] * gaps, tau))
    assert torch.equal(joined.mpi[:, :3], colour) and (alpha - expected).abs().max() < 2e-2


EXPLICIT = ExplicitOptions(planes=4, steps=(12,), views_per_step=2, backend="torch")


@pytest.fixture(scope="module")
def large():
    return block_scene(size=(128, 128))


@pytest.fixture(autouse=True)
def no_look_at_the_memory(monkeypatch):
    monkeypatch.setattr("rsnb.mpi.per_scene.require_memory", lambda *_: None)  # it takes as long as the steps here


def test_warm_up_bake_and_refinement(large):
    seen = []
    warm = HybridOptions(EXPLICIT, warm_up=6)
    assert warm.decoder.loss.weights[2] == 0  # it runs where lpips is not installed
    warm = replace(warm, decoder=replace(warm.decoder, bottleneck_norm="group", views_per_decode=2))
    result = optimise_hybrid(large, "0", TRAIN, warm, on_step=lambda *now: seen.append(now))
    assert [row["stage"] for row in result.history] == [0] * 6 + [1] * 12
    assert [row["step"] for row in result.history] == list(range(1, 19))
    seconds = [row["seconds"] for row in result.history]
    assert seconds == sorted(seconds) and seconds[-1] <= result.seconds
    assert [now[:2] for now in seen] == [(step, 18) for step in range(1, 19)]
    truth = large.images[view_rows(large, [TEST])[0]]
    early, late = (r.view(large, TEST) for r in (seen[5][2](), result))
    scores = [psnr(r.rgb.clamp(0, 1), truth, late.mask) for r in (early, late)]
    assert scores[1] > scores[0] + 3  # six steps of a decoder are a blur
    other = optimise_hybrid(large, "0", TRAIN, replace(warm, join="decoder"))
    assert not torch.equal(other.mpi, result.mpi)


def test_feed_forward(large):
    model = new_model("resnet18", "group", seed=3)
    result = optimise_hybrid(large, "0", TRAIN, HybridOptions(EXPLICIT), model=model)
    assert len(result.history) == 12 and result.mpi.shape[0] == 4
    assert result.frame.size != (128, 128)
    with pytest.raises(InputError, match="no view 'x'"):
        optimise_hybrid(large, "0", ("1", "x"), HybridOptions(EXPLICIT), model=model)


def test_without_network_it_is_the_explicit_stage(large):
    small = replace(large, images=np.ascontiguousarray(large.images[..., :40, :40]), z_depth=None)
    one = optimise_hybrid(small, "0", TRAIN, HybridOptions(EXPLICIT))
    assert torch.equal(one.mpi, optimise_explicit(small, "0", TRAIN, EXPLICIT).mpi)


@pytest.mark.parametrize("change", [{"warm_up": -1}, {"most": 0.0}, {"join": "sum"}])
def test_options_are_checked(change):
    with pytest.raises(InputError):
        HybridOptions(**change)
