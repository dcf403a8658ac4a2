"""The cost of a decoder's step against the fact sheet's counts, and against what a real step keeps."""

from __future__ import annotations

import pytest
import torch

from rsnb.errors import InputError
from rsnb.mpi.decoder import Decoder
from rsnb.mpi.decoder_cost import decoder_cost, require_memory
from rsnb.training import memory
from rsnb.training.memory import free_bytes


def test_operations_at_full_size_are_the_fact_sheets():
    naive = decoder_cost(Decoder(naive=True), (512, 512), 32)
    assert naive.forward_flop == pytest.approx(550e9, rel=0.005)
    assert naive.step_flop == pytest.approx(1650e9, rel=0.005)
    ours = decoder_cost(Decoder(), (512, 512), 32)
    assert ours.forward_flop < 200e9  # the sheet's 188, and the padded border
    assert ours.step_flop < naive.step_flop / 2.7
    assert ours.saved_bytes < 0.6 * naive.saved_bytes


@pytest.mark.parametrize("naive", [True, False])
def test_kept_bytes_are_those_of_a_real_step(naive):
    decoder = Decoder(naive=naive, bottleneck_norm="group")
    features = [torch.rand(1, c, 128 >> i, 128 >> i) for i, c in enumerate(decoder.widths, start=1)]
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        mpis = decoder(features, decoder.codes(3))
    weights = {p.untyped_storage().data_ptr() for p in decoder.parameters()}
    real = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in weights)
    assert decoder_cost(decoder, (128, 128), 3).saved_bytes == pytest.approx(real, rel=0.01)
    assert mpis[0].shape[0] == 3


def test_the_published_size_wants_a_gpu_before_it_starts():
    with pytest.raises(InputError, match=r"512 x 512 with 32 planes takes .* but only 4.0 GB are free on cpu.*"
                                         r"It wants a GPU: set device='cuda', or lower the image size or the number"):
        require_memory(Decoder(), (512, 512), 32, free=int(4e9))
    with pytest.warns(UserWarning, match="it wants a GPU; on this CPU"):
        require_memory(Decoder(), (512, 512), 32, free=int(64e9))
    with pytest.raises(InputError, match="free on cuda. Lower the image size"):
        require_memory(Decoder(), (512, 512), 32, "cuda", free=int(4e9))


def test_a_small_decoder_passes_in_silence(recwarn):
    assert require_memory(Decoder(bottleneck_norm="group"), (128, 128), 8, free=int(2e9)).peak_bytes < 1e9
    assert not recwarn.list


def test_free_memory_of_this_machine():
    free = free_bytes("cpu")
    assert free is None or 2**26 < free < 2**44


def test_a_container_with_a_limit_counts(tmp_path, monkeypatch):
    for name, text in {"memory.max": "3000000\n", "memory.current": "2500000\n",
                       "memory.stat": "anon 1000000\ninactive_file 700000\n"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert free_bytes("cpu") == 1_200_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes("cpu") != 1_200_000
