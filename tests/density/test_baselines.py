"""Baselines: means by hand, an oracle that learns what it is told, and a generator without a volume."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rsnb.density.baselines import OracleOptions, constant_heights, mean_map, train_oracle
from rsnb.density.model import ModelOptions, SatDensity
from rsnb.density.volume import TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.training import LoopOptions

QUIET = LoopOptions(1, description="")


def test_means_are_those_of_the_training_tiles():
    heights = np.stack([np.zeros((2, 2)), [[4.0, 0.0], [0.0, 8.0]]])
    assert constant_heights(heights, 3).tolist() == np.full((3, 2, 2), 1.5).tolist()
    assert mean_map(heights, 2)[1].tolist() == [[2.0, 0.0], [0.0, 4.0]]


def test_the_oracle_learns_the_heights_that_go_with_colours():
    draw = np.random.default_rng(0)
    red = (draw.random((24, 4, 4)) < 0.4).repeat(4, axis=1).repeat(4, axis=2)
    tiles = np.stack([red, ~red, ~red], axis=1).astype(np.float32)
    options = OracleOptions(steps=60, width=8, depth=2)
    net, history = train_oracle(tiles[:16], 6.0 * red[:16], options, QUIET)
    with torch.no_grad():
        error = (net(torch.as_tensor(tiles[16:])).numpy() - 6.0 * red[16:]) ** 2
    assert np.sqrt(error.mean()) < 0.25 * (6.0 * red[16:]).std() and len(history.terms["loss"]) == 60
    again, _ = train_oracle(tiles[:16], 6.0 * red[:16], options, QUIET)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_a_generator_without_a_volume_sees_the_ground_alone():
    frame = TileFrame(30.0, 8.0)
    model = SatDensity(replace(ModelOptions.of_size("tiny", frame, samples=4), density=None)).eval()
    tile = torch.rand(1, 3, 16, 16)
    view = model.view(model.volume(tile), PanoramaCamera(32, 16), [0.0, 0.0, 2.0])
    assert view.rendered.opacity[0, :8].abs().max() == 0 and torch.allclose(view.rendered.opacity[0, 8:],
                                                                            torch.ones(8, 32))
    assert view.rgb.shape == (1, 3, 16, 32) and not [n for n, _ in model.named_parameters() if n.startswith("density")]


@pytest.mark.parametrize("heights", [np.zeros((2, 4)), np.zeros((0, 4, 4)), np.full((1, 4, 4), np.nan)],
                         ids=["shape", "empty", "nan"])
def test_heights_that_are_none_are_refused(heights):
    with pytest.raises(InputError, match="baselines"):
        constant_heights(heights, 1)
    with pytest.raises(InputError, match="baselines|train_oracle"):
        train_oracle(np.zeros((1, 3, 4, 4), np.float32), heights)


@pytest.mark.parametrize(("changes", "message"), [({"steps": 0}, "steps is 0"), ({"batch": 1.5}, "whole"),
                                                  ({"rate": float("nan")}, "rate is nan"), ({"depth": 0}, "depth is 0"),
                                                  ({"width": True}, "width is True"), ({"seed": -1}, "seed is -1")],
                         ids=["steps", "batch", "rate", "depth", "width", "seed"])
def test_options_of_the_oracle_that_cannot_be(changes, message):
    with pytest.raises(InputError, match=f"OracleOptions: .*{message}"):
        OracleOptions(**changes)


def test_the_oracle_stays_on_its_device_and_goes_on_with_its_own_checkpoint_alone(tmp_path):
    tiles, heights = np.zeros((2, 3, 16, 16), np.float32), np.ones((2, 16, 16))
    options, loop = OracleOptions(steps=1, batch=1, width=4, depth=2), replace(QUIET, checkpoint=tmp_path / "o.ckpt")
    net, _ = train_oracle(tiles, heights, options, loop, device="auto")
    assert next(net.parameters()).device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InputError, match="no device"):
        train_oracle(tiles, heights, options, QUIET, device="tpu9")
    with pytest.raises(InputError, match=r"oracle.rate = 0.01, now it is 0.02\."):
        train_oracle(tiles, heights, replace(options, rate=0.02), loop)
    with pytest.raises(InputError, match="made for 1 steps, now 2"):
        train_oracle(tiles, heights, replace(options, steps=2), loop)
    with pytest.raises(InputError, match="on one device only"):
        train_oracle(tiles, heights, options, replace(QUIET, devices=2))
