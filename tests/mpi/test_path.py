"""The path of a film where a scene brings none."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre
from rsnb.mpi.path import orbit

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not put it there
from posed_scene import block_scene


def test_an_ellipse_that_looks_at_one_point():
    scene = block_scene()
    poses = orbit(scene, "0", ("1", "2", "3"), (4.0, 8.0), 16)
    reference = scene.world_to_cam[0]
    local = (np.concatenate([camera_centre(poses), np.ones((16, 1))], 1) @ reference.T)[:, :3]
    offsets = (camera_centre(scene.world_to_cam[1:4]) - camera_centre(reference)) @ reference[:2, :3].T
    a, b = 0.6 * np.sqrt((offsets**2).mean(0))
    assert np.allclose((local[:, 0] / a) ** 2 + (local[:, 1] / b) ** 2, 1) and np.allclose(local[:, 2], 0)
    middle = np.linalg.inv(reference) @ [0, 0, 2 / (1 / 4 + 1 / 8), 1]
    seen = poses @ middle
    assert np.allclose(seen[:, :2], 0) and (seen[:, 2] > 0).all()
    # pictures stay upright: the reference's up is up in all of them
    up = np.einsum("nij,j->ni", poses[:, :3, :3], -reference[1, :3])
    assert (up[:, 1] < -0.9).all()


def test_nothing_to_go_round():
    scene = block_scene()
    with pytest.raises(InputError, match="beside the reference"):
        orbit(scene, "0", ("0",), (4.0, 8.0))
    still = replace(scene, world_to_cam=np.broadcast_to(scene.world_to_cam[0], scene.world_to_cam.shape))
    with pytest.raises(InputError, match="one place"):
        orbit(still, "0", ("1", "2"), (4.0, 8.0))
    line = scene.world_to_cam.copy()  # further back along the reference's own axis, which is askew in the world
    line[:] = line[0]
    line[:, 2, 3] += np.arange(len(line))
    with pytest.raises(InputError, match="behind one another"):
        orbit(replace(scene, world_to_cam=line), "0", ("1", "2"), (4.0, 8.0))
    with pytest.raises(InputError, match="reversed"):
        orbit(scene, "0", ("1",), (8.0, 4.0))
