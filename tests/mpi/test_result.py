"""A finished multiplane image: its views, and what comes back from disk."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.mpi import MpiFrame, OptimisedMpi, RenderOptions, load_mpi, plane_depths, render_mpi, save_mpi, view_set
from rsnb.training import save_checkpoint

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not put it there
from posed_scene import block_scene


@pytest.fixture
def scene():
    return block_scene()


@pytest.fixture
def result(scene):
    frame = MpiFrame(scene.K[0], (64, 80), scene.world_to_cam[0], 4.0, 7.5, (0, 0, 64, 80))
    mpi = torch.rand(4, 4, 64, 80, generator=torch.Generator().manual_seed(0))
    return OptimisedMpi(mpi, plane_depths(4.0, 7.5, 4), frame, [{"step": 1, "loss": 0.5}], 2.0,
                        RenderOptions(backend="torch", mask_share=0.75, background=(0.1, 0.2, 0.3)))


def test_a_view_is_that_of_its_camera(scene, result):
    shown = view_set(scene, ["3"], result.frame)
    expected = render_mpi(result.mpi, result.depths, shown.camera(0, result.frame), result.rendering)
    seen = result.view(scene, "3")
    for ours, theirs in zip(seen, expected, strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(seen.rgb, result.view(scene, "2").rgb)


def test_a_path_is_its_views_one_by_one(scene, result):
    frames = list(result.along(scene.K[0], scene.world_to_cam[1:4], (64, 80)))
    assert len(frames) == 3
    for name, frame in zip("123", frames, strict=True):
        assert torch.equal(frame.rgb, result.view(scene, name).rgb)
    half = next(result.along(scene.K[:1] * np.array([[0.5], [0.5], [1]]), scene.world_to_cam[1:2], (32, 40)))
    assert half.rgb.shape == (3, 32, 40)


def test_saved_and_read_again(tmp_path, scene, result):
    back = load_mpi(save_mpi(tmp_path / "scene.mpi", result))
    assert torch.equal(back.mpi, result.mpi) and torch.equal(back.depths, result.depths)
    assert back.rendering == result.rendering and back.history == result.history and back.seconds == 2.0
    assert back.frame.size == result.frame.size and back.frame.inset == result.frame.inset
    assert torch.equal(back.view(scene, "3").rgb, result.view(scene, "3").rgb)


def test_another_checkpoint_is_refused(tmp_path):
    path = save_checkpoint(tmp_path / "other.ckpt", {"format": "rsnb training 1"})
    with pytest.raises(InputError, match="no finished multiplane image"):
        load_mpi(path)
