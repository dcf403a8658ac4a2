"""A picture on a board: its own view, the warp by that plane, and nothing beyond the border."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from rsnb.geometry.poses import invert
from rsnb.metrics import psnr
from rsnb.mpi.baselines import warp_by_plane
from rsnb.mpi.flat import flat_mpi

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not put it there
from posed_scene import block_scene

RANGE = (4.0, 7.5)


def test_a_board_is_the_warp_by_its_plane():
    scene = block_scene()
    board = flat_mpi(scene, "0", RANGE, planes=9, others=("3",))
    own = board.view(scene, "0")
    assert psnr(own.rgb.numpy(), scene.images[0]) > 60
    plane = int(board.mpi[:, 3].amax((1, 2)).argmax())
    assert 1 / float(board.depths[plane]) == pytest.approx((1 / 4 + 1 / 7.5) / 2)  # the fifth of nine
    seen, warp = board.view(scene, "3"), warp_by_plane(scene, "0", "3", float(board.depths[plane]))
    inside = warp.mask & (seen.alpha.numpy() > 0.999)
    assert inside.mean() > 0.8
    assert psnr(seen.rgb.numpy(), warp.image, inside) > 45
    assert seen.alpha.numpy()[~warp.mask].mean() < 0.2


def test_points_say_where_it_stands():
    scene = block_scene()
    local = np.array([[0.0, 0.0, 5.0], [0.2, 0.1, 7.0], [0, 0, -3.0], [50.0, 0, 5.0]])  # two are not in the picture
    back = invert(scene.world_to_cam[0])
    points = local @ back[:3, :3].T + back[:3, 3]
    board = flat_mpi(scene, "0", RANGE, planes=200, points=points)
    plane = int(board.mpi[:, 3].amax((1, 2)).argmax())
    assert 1 / float(board.depths[plane]) == pytest.approx((1 / 5 + 1 / 7) / 2, abs=2e-4)
    nowhere = flat_mpi(scene, "0", RANGE, planes=9, points=points[2:])
    assert int(nowhere.mpi[:, 3].amax((1, 2)).argmax()) == 4
