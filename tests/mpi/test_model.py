"""Model, renderer and training loop together: a decoder learns a view, is killed, goes on, and is the same."""

from __future__ import annotations

import math

import pytest
import torch

from rsnb.mpi.decoder import Decoder
from rsnb.mpi.model import ImMPI
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.render import MpiCamera, RenderOptions, render_mpi
from rsnb.training import LoopOptions, Trained, seed_everything, train

SIDE, PLANES, STEPS = 128, 3, 6


def camera():
    """Turned, off-centre, not square, fx != fy; smaller than the reference picture."""
    K_ref = torch.tensor([[150.0, 0, 60], [0, 140, 70], [0, 0, 1]], dtype=torch.float64)
    K_target = torch.tensor([[70.0, 0, 30], [0, 75, 25], [0, 0, 1]], dtype=torch.float64)
    motion, angle = torch.eye(4, dtype=torch.float64), 0.1
    motion[:2, :2] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    motion[:3, 3] = torch.tensor([0.4, -0.2, 0.3])
    return MpiCamera(K_ref, K_target, motion, (48, 64))


def optimisation():
    seed_everything(3)
    model = ImMPI(decoder=Decoder(bottleneck_norm="group"))
    image = torch.rand(3, SIDE, SIDE)
    target = torch.tensor([0.8, 0.3, 0.1])[:, None, None].expand(3, 48, 64)
    with torch.no_grad():
        features = model.encoder(image)
    depths, codes = plane_depths(4.0, 8.0, PLANES), model.decoder.codes(PLANES)

    def step(i):
        view = render_mpi(model.decoder(features, codes)[0], depths, camera(), RenderOptions(backend="torch"))
        return ((view.rgb - target).abs() * view.mask).mean()

    return Trained(model.decoder, torch.optim.Adam(model.decoder.parameters(), 3e-3)), step


@pytest.fixture(scope="module")
def uninterrupted():
    trained, step = optimisation()
    return train(step, trained, LoopOptions(STEPS, description="")), trained


def test_a_view_is_learnt_through_renderer_and_decoder(uninterrupted):
    losses = uninterrupted[0].terms["loss"]
    assert losses[-1] < 0.75 * losses[0]


def test_a_resumed_optimisation_is_the_uninterrupted_one_to_the_last_digit(uninterrupted, tmp_path):
    path = tmp_path / "decoder.ckpt"
    trained, step = optimisation()
    train(step, trained, LoopOptions(2, checkpoint=path, description=""))
    trained, step = optimisation()
    history = train(step, trained, LoopOptions(STEPS, checkpoint=path, description=""))
    assert history.resumed_at == 2 and history.terms == uninterrupted[0].terms
    expected = uninterrupted[1].model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in trained.model.state_dict().items())
