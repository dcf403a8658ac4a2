"""Local multiplane images: weights by hand, one fills in for another, better than a plane, test pictures never read."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.geometry.poses import invert
from rsnb.metrics.image import psnr
from rsnb.mpi.baselines import best_single_plane, nearest_view, warp_by_plane
from rsnb.mpi.explicit import ExplicitOptions
from rsnb.mpi.local import BlendedMpis, LocalOptions, frames_for, optimise_local
from rsnb.mpi.recipe import planes_near
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.views import MpiFrame

sys.path.insert(0, str(Path(__file__).parent))
from posed_scene import block_scene

TRAIN, TEST = ("0", "1", "2", "4", "5"), "3"
OPTIONS = LocalOptions(planes=24, near_far=(4.0, 7.5))


@pytest.fixture(scope="module")
def scene():
    return block_scene()


@pytest.fixture(scope="module")
def blended(scene):
    return optimise_local(scene, TRAIN, (TEST,), OPTIONS)


def test_a_view_that_was_not_seen(scene, blended):
    truth = scene.images[3]
    view = blended.view(scene, TEST)
    plane = best_single_plane(scene, nearest_view(scene, TEST, TRAIN), TEST, (4.0, 7.5))
    ours, theirs = psnr(view.rgb.clamp(0, 1), truth), psnr(plane.image, truth, plane.mask)
    assert ours > theirs + 2  # all of our picture against what the plane shows of it
    mirrored = scene.world_to_cam.copy()
    mirrored[3] = scene.world_to_cam[1]
    wrong = blended.view(replace(scene, world_to_cam=mirrored), TEST)
    assert psnr(wrong.rgb.clamp(0, 1), truth) < ours - 4


def test_the_test_picture_is_not_looked_at(scene, blended):
    spoilt = scene.images.copy()
    spoilt[3] = 0
    again = optimise_local(replace(scene, images=spoilt), TRAIN, (TEST,), OPTIONS)
    assert again.names == blended.names
    assert all(torch.equal(one.mpi, other.mpi) for one, other in zip(again.members, blended.members, strict=True))


def test_a_blend_is_seen_like_one_mpi(scene, blended):
    one, = blended.along(scene.K[3], scene.world_to_cam[3:4], (64, 80))
    view = blended.view(scene, TEST)
    assert torch.equal(one.rgb, view.rgb) and view.rgb.shape == (3, 64, 80) and view.mask.dtype == torch.bool
    assert 4 < float(view.depth.median()) < 7.5
    assert len(blended.notes) == len(blended.members) and blended.history == []


def flat(x: float, colour: float, opaque=slice(None)) -> OptimisedMpi:
    """Two planes of 8 x 8 pixels, too far to shift, of a camera at (x, 0, 0); only the columns `opaque` are opaque."""
    pose = np.eye(4)
    pose[0, 3] = -x
    mpi = torch.zeros(2, 4, 8, 8)
    mpi[:, :3] = colour
    mpi[:, 3, :, opaque] = 1e-6
    K = np.array([[8.0, 0, 4], [0, 8, 4], [0, 0, 1]])
    return OptimisedMpi(mpi, torch.tensor([1e8, 2e8], dtype=torch.float64),
                        MpiFrame(K, (8, 8), pose, 1e8, 2e8, (0, 0, 8, 8)))


def test_weights_by_hand():
    mpis = BlendedMpis((flat(0, 0.0), flat(4, 1.0), flat(-30, 0.5)), ("a", "b", "c"), blend=2, nearness=1.0)
    pose = np.eye(4)
    pose[0, 3] = -1.0  # 1 from a, 3 from b
    assert mpis.weights(pose) == pytest.approx({0: 0.75, 1: 0.25})
    assert replace(mpis, nearness=2.0).weights(pose) == pytest.approx({0: 0.9, 1: 0.1})
    assert replace(mpis, nearness=0.0, blend=3).weights(pose) == pytest.approx({0: 1 / 3, 1: 1 / 3, 2: 1 / 3})
    seen = mpis.render(mpis.members[0].frame.K, pose, (8, 8))
    assert torch.allclose(seen.rgb, torch.tensor(0.25), atol=1e-4)
    # at a frame's own camera it is that frame alone
    assert mpis.weights(np.eye(4))[0] > 0.999


def test_a_frame_that_looks_away_comes_last():
    away = flat(1, 0.5)
    back = np.diag([-1.0, 1, -1, 1]) @ away.frame.world_to_cam
    away = replace(away, frame=replace(away.frame, world_to_cam=back))
    mpis = BlendedMpis((away, flat(0, 0.0), flat(4, 1.0)), ("x", "a", "b"), blend=2)
    pose = np.eye(4)
    pose[0, 3] = -1.0
    assert mpis.weights(pose) == pytest.approx({1: 0.75, 2: 0.25})
    assert planes_near(mpis, pose) is mpis.members[1]


def test_all_frames_must_fit_into_memory(scene, monkeypatch):
    """What four kept images take must be free before the first is made, though matching one takes less."""
    options = replace(OPTIONS, planes=4, max_pad=0.0)
    image = 16 * 4 * 64 * 80
    seen = []
    monkeypatch.setattr("rsnb.mpi.local.check_memory", lambda needed, free: seen.append(needed))
    optimise_local(scene, ("0", "1", "2", "4"), (), options)
    assert np.allclose(np.diff(seen), -image, atol=0.1 * image) and seen[-1] > 5 * image
    monkeypatch.undo()
    monkeypatch.setattr("rsnb.mpi.local.free_bytes", lambda device: seen[0] - 1)
    with pytest.raises(InputError, match="are free"):
        optimise_local(scene, ("0", "1", "2", "4"), (), options)


def test_one_fills_in_for_another():
    pose = np.eye(4)
    pose[0, 3] = -1.0
    mpis = BlendedMpis((flat(0, 0.2, slice(0, 4)), flat(4, 0.8, slice(2, 6))), ("a", "b"), blend=2)
    seen = mpis.render(mpis.members[0].frame.K, pose, (8, 8))
    # left a alone, then 3/4 a and 1/4 b, then b alone; nobody knows the last columns: their neighbours' colour
    assert torch.allclose(seen.rgb[0, 4], torch.tensor([0.2, 0.2, 0.35, 0.35, 0.8, 0.8, 0.8, 0.8]), atol=2e-3)
    assert seen.mask[4].tolist() == [True] * 6 + [False] * 2


def test_frames_for_targets(scene):
    assert frames_for(scene, TRAIN, (), 2) == TRAIN
    assert frames_for(scene, TRAIN, (TEST,), 1) == ("0",)  # in the middle of the circle: nearer than its neighbours
    assert set(frames_for(scene, TRAIN, (TEST,), 1)) < set(frames_for(scene, TRAIN, (TEST,), 3))


def test_refining(scene):
    refine = ExplicitOptions(steps=(3,), views_per_step=1, backend="torch")
    result = optimise_local(scene, TRAIN, (TEST,), replace(OPTIONS, planes=4, frames_per_target=2, refine=refine))
    assert len(result.members) == 2 and len(result.history) == 6


def test_refining_matches_exposure_where_it_pays(scene):
    refine = ExplicitOptions(steps=(30,), learning_rates=(0.05, 0.1), backend="torch")
    dark = 0.6 * scene.images
    dark[0] = scene.images[0]
    result = optimise_local(replace(scene, images=dark), ("0", "1", "2"), ("3",),
                            replace(OPTIONS, planes=8, frames_per_target=1, refine=refine))
    assert result.names == ("0",)
    shown = result.view(scene, TEST)  # as bright as its own frame's picture, not half way to the others
    assert float(shown.rgb[:, shown.mask].mean()) == pytest.approx(float(scene.images[3].mean()), rel=0.05)


@pytest.mark.parametrize("change", [
    {"planes": 8}, {"neighbours": 1}, {"frames_per_target": 1}, {"near_far": (4.2, 7.5)}, {"blend": 1},
    {"nearness": 3.0}, {"max_pad": 0.0}, {"match_width": 40},
])
def test_every_option_changes_the_result(scene, change):
    small = replace(OPTIONS, planes=6)
    plain, changed = (optimise_local(scene, TRAIN, (TEST,), chosen).view(scene, TEST).rgb
                      for chosen in (small, replace(small, **change)))
    assert not torch.equal(plain, changed)


def test_a_view_without_neighbours_is_left_out(scene):
    turned = scene.world_to_cam.copy()
    turned[4] = np.diag([-1.0, 1, -1, 1]) @ turned[4]
    result = optimise_local(replace(scene, world_to_cam=turned), TRAIN, (), replace(OPTIONS, planes=4))
    assert result.names == ("0", "1", "2", "5") and "left out" in result.notes[3]
    with pytest.raises(InputError, match="no view has a neighbour"):
        optimise_local(replace(scene, world_to_cam=turned), ("0", "4"), (), OPTIONS)


@pytest.mark.parametrize(("train", "targets", "words"), [
    (("0",), ("3",), "no train view beside"), (("0", "3"), ("3",), "is a test view"), (("0", "9"), (), "no view '9'"),
    ((), (), "no train view"),
])
def test_bad_splits(scene, train, targets, words):
    with pytest.raises(InputError, match=words):
        optimise_local(scene, train, targets, OPTIONS)


def test_options_are_checked():
    for change in ({"planes": 1}, {"neighbours": 0}, {"nearness": -1.0}, {"max_pad": 5.0}):
        with pytest.raises(InputError):
            LocalOptions(**change)


def test_a_real_facade(real):
    """Two views of a castle, small: the whole picture 1.5 dB above what the best plane shows of it."""
    from rsnb.data import read_colmap

    project = read_colmap(real("nb3_multiview/sceaux_castle"))
    views = project.load(max_width=177)
    test = ("100_7104.JPG", "100_7105.JPG")
    train = tuple(name for name in views.names if name not in test)
    result = optimise_local(views, train, test, LocalOptions(planes=48), points=project.points)
    for name, source in zip(test, ("100_7103.JPG", "100_7107.JPG"), strict=True):
        truth = views.images[views.names.index(name)]
        plane = best_single_plane(views, source, name, (8.0, 15.0), count=16)
        assert psnr(result.view(views, name).rgb.clamp(0, 1), truth) > psnr(plane.image, truth, plane.mask) + 1.5


def test_a_view_without_neighbours_is_shown_on_a_board():
    """Views 3 and 5 stand far aside and see other ground than the rest."""
    scene = block_scene()
    poses = scene.world_to_cam.copy()
    aside = invert(poses)
    aside[[3, 5], 0, 3] += 9.0
    aside = replace(scene, world_to_cam=invert(aside))
    options = LocalOptions(planes=6, frames_per_target=2, neighbours=2, near_far=(4.0, 7.5))
    result = optimise_local(aside, ("0", "1", "2", "5"), ("3",), options)
    assert result.names[-1] == "5" and any("on a board" in note for note in result.notes)
    seen = result.view(aside, "3")
    assert seen.mask.float().mean() > 0.5
    warp = warp_by_plane(aside, "5", "3", float(result.members[-1].depths[int(
        result.members[-1].mpi[:, 3].amax((1, 2)).argmax())]))
    both = warp.mask & seen.mask.numpy()
    assert psnr(seen.rgb.numpy(), warp.image, both) > 25
    # where the matched frames show the view, no board is made
    assert not any("board" in note for note in optimise_local(scene, ("0", "1", "2", "5"), ("3",), options).notes)
