"""Batches: epochs are whole, and rays whose ground a turned tile does not show are known in closed form."""

import math

import numpy as np
import pytest
import torch

from rsnb.density.augment import draw_turns
from rsnb.density.batches import Batches
from rsnb.density.training_options import TrainingOptions
from rsnb.density.volume import TileFrame
from rsnb.errors import InputError
from rsnb.scenes import TilePanoramaPairs

FRAME = TileFrame(16.0, 8.0)
CPU = torch.device("cpu")


def pairs_of(count: int, **changes) -> TilePanoramaPairs:
    """Grey pairs of 8 and 16 x 32 pixels, cameras 2 m up in the middle unless said otherwise."""
    plain = {"tiles": np.full((count, 3, 8, 8), 0.5, np.float32), "heading": np.zeros(count), "vertical_fov": math.pi,
             "panoramas": np.full((count, 3, 16, 32), 0.5, np.float32), "sky": np.zeros((count, 16, 32), bool),
             "ids": tuple(str(i) for i in range(count)), "camera_height_m": 2.0}
    return TilePanoramaPairs(**(plain | changes))


def test_epochs_bring_every_pair_once_and_leave_the_rest_out():
    pairs = pairs_of(11)
    batches = Batches(pairs, TrainingOptions(batch=3, order="epochs"), FRAME, CPU)
    seen = [batches.index(number).tolist() for number in range(9)]
    epochs = [[i for batch in seen[k:k + 3] for i in batch] for k in (0, 3, 6)]
    assert all(len(set(epoch)) == 9 for epoch in epochs) and len({tuple(epoch) for epoch in epochs}) == 3
    assert len({i for epoch in epochs for i in epoch}) == 11  # whoever is left out changes
    again = Batches(pairs, TrainingOptions(batch=3, order="epochs"), FRAME, CPU)
    assert again.index(5).tolist() == seen[5]  # whatever came before
    with pytest.raises(InputError, match=r"2 pairs are too few.*at least 3, or use order=\"drawn\""):
        Batches(pairs_of(2), TrainingOptions(batch=3, order="epochs"), FRAME, CPU)


def test_turns_by_any_angle_leave_out_what_the_tile_did_not_show():
    pairs = pairs_of(8, heading=np.linspace(-1, 1, 8), offset_m=np.linspace([-3, 2], [3, 1], 8))
    batches = Batches(pairs, TrainingOptions(turns="any", order="epochs"), FRAME, CPU)
    turns = draw_turns(8, torch.Generator().manual_seed(0), width=32, whole=False)
    batch, index = batches.draw(0), batches.index(0)
    dip = (np.arange(16) + 0.5 - 8) / 16 * np.pi
    for i, turn in enumerate(turns):
        bearing = float(batch.heading[i]) + ((np.arange(32) + 0.5) / 32 - 0.5) * 2 * np.pi - turn.angle
        bearing = -bearing if turn.mirror else bearing  # in the world as it was
        reach = 2 / np.tan(np.where(dip > 0, dip, 1.0))[:, None]
        east, north = (pairs.offset_m[index[i], k] + reach * f(bearing) for k, f in ((0, np.sin), (1, np.cos)))
        inside = (dip < 0)[:, None] | (np.maximum(np.abs(east), np.abs(north)) <= 8)
        assert np.array_equal(batch.known[i].numpy(), inside), turn
        assert np.array_equal(batch.ground_inside(FRAME)[i].numpy() & inside, batch.ground_inside(FRAME)[i].numpy())
    assert 0.02 < float((~batch.known).float().mean()) < 0.2
