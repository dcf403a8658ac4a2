"""Looks at an optimisation: when, at what, and that nothing is learnt from them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.metrics import psnr
from rsnb.mpi import ExplicitOptions, Watch, optimise_explicit

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not put it there
from posed_scene import block_scene

OPTIONS = ExplicitOptions(planes=6, steps=(9,), views_per_step=1, backend="torch")


def test_looks_are_spread_over_the_steps():
    scene = block_scene()
    watch = Watch(scene, ["3", "1"], looks=5)
    result = optimise_explicit(scene, "0", ("1", "2", "4"), OPTIONS, on_step=watch)
    assert [frame.step for frame in watch.frames] == [1, 3, 5, 7, 9]
    last = watch.frames[-1]
    for name, kept in (("3", True), ("1", False)):
        assert np.array_equal(last.image, result.view(scene, name).rgb.clamp(0, 1).numpy()) == kept
    scores = [psnr(view.rgb.clamp(0, 1), scene.images[i], view.mask)
              for i, view in ((3, result.view(scene, "3")), (1, result.view(scene, "1")))]
    assert last.psnr == pytest.approx(np.mean(scores), abs=1e-6)
    marked = watch.history(result.history)
    assert [entry["step"] for entry in marked if "test_psnr" in entry] == [1, 3, 5, 7, 9]
    assert marked[-1]["test_psnr"] == last.psnr and "test_psnr" not in result.history[-1]
    alone = optimise_explicit(scene, "0", ("1", "2", "4"), OPTIONS)
    assert torch.equal(alone.mpi, result.mpi)


def test_more_looks_than_steps():
    watch = Watch(block_scene(), ["3"], looks=50)
    optimise_explicit(block_scene(), "0", ("1", "2"), OPTIONS, on_step=watch)
    assert [frame.step for frame in watch.frames] == list(range(1, 10))


def test_nothing_to_look_at():
    with pytest.raises(InputError):
        Watch(block_scene(), [])
