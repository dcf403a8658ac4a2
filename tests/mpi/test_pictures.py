"""Pictures sampled and made smaller: at centres and edges by hand, and with cameras that see the same."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.mpi.pictures import sample_picture, smaller
from rsnb.scenes import PosedImages

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not put it there
from posed_scene import block_scene


def test_sampling_at_centres_and_edges():
    image = torch.arange(12.0).reshape(1, 3, 4)
    pixels = torch.tensor([[0.5, 0.5], [3.5, 2.5], [1.0, 0.5], [0.1, 0.5], [-0.1, 0.5], [4.01, 1.0], [torch.nan, 1.0]])
    samples, inside = sample_picture(image, pixels)
    assert samples[0].tolist() == pytest.approx([0, 11, 0.5, 0, 0, 0, 0], abs=1e-6)
    assert inside.tolist() == [True, True, True, True, False, False, False]


def test_smaller_pictures():
    scene = block_scene()
    small = smaller(scene, ("2", "0"), 40)
    assert small.names == ("2", "0") and small.images.shape == (2, 3, 32, 40)
    assert np.allclose(small.K[0][:2], scene.K[2][:2] / 2)
    assert small.images.mean() == pytest.approx(scene.images[[2, 0]].mean(), abs=1e-4)
    assert smaller(scene, ("0",), 500).images.shape == (1, 3, 64, 80)
    assert small.z_depth is None and smaller(scene, ("0",), 64).images.shape == (1, 3, 51, 64)
    assert smaller(scene, ("0",), 10).images.shape == (1, 3, 16, 16)  # no smaller than that


@pytest.mark.parametrize("longest", [40, 33])
def test_a_smaller_camera_sees_the_same(longest):
    """A ramp over columns and rows: what a pixel shows is where its ray goes, whatever its size."""
    rows, columns = np.mgrid[:64, :80] + 0.5
    ramp = np.stack([columns / 80, rows / 64, 0 * rows])[None].astype(np.float32)
    K = np.array([[[70.0, 0, 37.0], [0, 66.0, 30.0], [0, 0, 1]]])
    views = PosedImages(ramp, np.eye(4)[None], "pinhole", ("a",), K)
    small = smaller(views, ("a",), longest)
    height, width = small.images.shape[-2:]
    pixels = np.stack([*np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), np.ones((height, width))], -1)
    back = pixels @ np.linalg.inv(small.K[0]).T @ K[0].T  # the pixels of the large picture that these rays meet
    # areas of a size that does not divide overlap by up to a pixel
    assert np.abs(small.images[0, 0] - back[..., 0] / 80).max() < (1e-6 if longest == 40 else 0.5 / 80)
    assert np.abs(small.images[0, 1] - back[..., 1] / 64).max() < (1e-6 if longest == 40 else 0.5 / 64)
