"""Scores of a scene whose renderings are known."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.mpi.render import MpiRendering
from rsnb.mpi.scene_scores import gains, score_baselines, score_result
from rsnb.mpi.views import view_rows

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not put it there
from posed_scene import block_scene

PARTS = {"train": ("1", "2", "4", "5"), "test": ("3",)}


class Known:
    """Renders the true pictures, too bright by 0.1 in the left half, with depth 10 % too far; the rest is masked."""

    def __init__(self, columns=slice(0, 60)):
        self.columns = columns

    def view(self, views, name):
        i = int(view_rows(views, [name])[0])
        rgb = torch.as_tensor(views.images[i].copy())
        rgb[..., :40] += 0.1
        mask = torch.zeros(rgb.shape[1:], dtype=torch.bool)
        mask[:, self.columns] = True
        return MpiRendering(rgb, torch.as_tensor(views.z_depth[i] * 1.1), torch.ones_like(mask).float(), mask)


@pytest.fixture(scope="module")
def scene():
    views = block_scene()
    return replace(views, images=views.images * 0.8)  # so that nothing is clipped


def test_both_families_and_depth(scene):
    scores = score_result("known", Known(), scene, PARTS)
    test = scores.mean("test")
    assert test["immpi_masked/psnr"] == pytest.approx(10 * np.log10(60 / (40 * 0.01)), abs=1e-4)
    assert test["standard/psnr"] == pytest.approx(10 * np.log10(80 / (40 * 0.01)), abs=1e-4)
    assert test["counted"] == pytest.approx(60 / 80)
    assert test["depth/abs_rel"] == pytest.approx(0.1, abs=1e-5) and test["views"] == 1
    true = scene.z_depth[3][:, :60].astype(float)
    best = min(np.abs(c - true).__truediv__(true).mean() for c in np.unique(true))
    assert test["depth/share_of_constant"] == pytest.approx(0.1 / best, rel=1e-3)
    assert scores.mean("train")["views"] == 4
    assert scores.images["3"].max() <= 1


def test_gains_are_of_shared_pixels(scene):
    left, right = (score_result("x", Known(part), scene, PARTS) for part in (slice(0, 60), slice(20, 80)))
    row = gains(left, right, scene)["3"]
    assert row["shared"] == pytest.approx(0.5) and row["gain"] == 0
    assert row["ours"] == pytest.approx(10 * np.log10(40 / (20 * 0.01)), abs=1e-4)  # 20 of 40 columns are off by 0.1
    assert left.mean()["immpi_masked/psnr"] != right.mean()["immpi_masked/psnr"]
    with pytest.raises(InputError, match="share no pixel"):
        gains(left, score_result("x", Known(slice(60, 80)), scene, PARTS), scene)


def test_baselines(scene):
    found = score_baselines(scene, PARTS, (4.0, 7.5))
    assert set(found) == {"single plane", "true depth"}
    plane, depth = (found[kind].mean()["immpi_masked/psnr"] for kind in ("single plane", "true depth"))
    assert depth > plane + 3
    blind = score_baselines(replace(scene, z_depth=None), PARTS, (4.0, 7.5))
    assert set(blind) == {"single plane"}
    assert not blind["single plane"].depth_scores


def test_views_that_no_plane_covers(scene):
    with pytest.raises(InputError, match="no pixel of any test view"):
        score_result("x", Known(slice(0, 0)), scene, PARTS)

    class Half(Known):
        def view(self, views, name):
            seen = super().view(views, name)
            return seen._replace(mask=seen.mask & (name != "1"))

    scores = score_result("x", Half(), scene, PARTS)
    assert scores.missed == ("1",) and scores.mean("train")["views"] == 3
