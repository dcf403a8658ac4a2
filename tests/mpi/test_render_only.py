"""Any checkpoint renders without optimisation: a finished image, a network of ours, a file of the authors'."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from rsnb.data.weights.immpi import convert_immpi
from rsnb.errors import InputError
from rsnb.mpi import OptimisedMpi, open_model, open_mpi, plane_depths, save_mpi
from rsnb.mpi.decode import decode_scene, model_from_state, model_settings, network_frame, new_model
from rsnb.training import save_checkpoint

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not put it there
from posed_scene import block_scene
from published_network import published_encoder_state, published_state


@pytest.fixture(scope="module")
def views():
    return block_scene((100, 140), 2)


def test_a_finished_image_brings_its_own_planes(tmp_path, views):
    frame = network_frame(views, "0", (4.0, 7.5))
    saved = OptimisedMpi(torch.rand(3, 4, *frame.size), plane_depths(4.0, 7.5, 3), frame)
    opened = open_mpi(save_mpi(tmp_path / "scene.mpi", saved), views, "1", (1.0, 2.0), planes=9)
    assert torch.equal(opened.mpi, saved.mpi) and opened.frame.near == 4.0


def test_a_network_of_ours(tmp_path, views):
    model = new_model(bottleneck_norm="group", seed=3)
    path = save_checkpoint(tmp_path / "csi.ckpt", {"format": "rsnb training 1", "model": model.state_dict(),
                                                  "settings": model_settings(model)})
    opened = open_mpi(path, views, "0", (4.0, 7.5), planes=3)
    assert torch.equal(opened.mpi, decode_scene(model, views, "0", (4.0, 7.5), 3).mpi)
    assert not torch.equal(opened.mpi, open_mpi(path, views, "1", (4.0, 7.5), planes=3).mpi)


def test_a_file_of_the_authors(tmp_path, views):
    """As they write it: no record beside it, published keys, an optimizer nobody needs."""
    checkpoint = {"epoch": 499, "optimizer": {"state": {}}, "feature_generator": published_encoder_state(),
                  "mpi_generator": published_state()}
    path = tmp_path / "optimizedImMPI.ckpt"
    torch.save(checkpoint, path)
    opened = open_mpi(path, views, "0", (4.0, 7.5), planes=4, convert=convert_immpi)
    model = model_from_state(convert_immpi(checkpoint))
    assert torch.equal(opened.mpi, decode_scene(model, views, "0", (4.0, 7.5), 4).mpi)
    assert opened.rendering.published
    with pytest.raises(InputError, match="no converter"):
        open_model(path)


def test_what_is_no_checkpoint(tmp_path):
    page = tmp_path / "ASI_prior.ckpt"
    page.write_text("<html>quota exceeded</html>")
    with pytest.raises(InputError, match="cannot read it without running code"):
        open_model(page, convert_immpi)
    with pytest.raises(InputError):
        open_model(tmp_path / "absent.ckpt", convert_immpi)
