"""Every generator comes back to the number it would have given next."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.training.checkpoints import load_checkpoint, save_checkpoint
from rsnb.training.seeds import random_state, restore_random_state, seed_everything

NUMPYS = {name: getattr(np.random, name) for name in ("PCG64", "MT19937", "Philox", "SFC64")}


def draws(generators):
    named = {name: g.random(3).tolist() if isinstance(g, np.random.Generator) else torch.rand(3, generator=g).tolist()
             for name, g in generators.items()}
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.standard_normal(),  # noqa: NPY002
            torch.rand(3).tolist(), torch.randn(3).tolist(), named]


def test_seeding_repeats_all_of_them():
    results = []
    for seed in (7, 7, 8):
        seed_everything(seed)
        results.append(draws({}))
    assert results[0] == results[1]
    assert all(a != b for a, b in zip(results[0][:-1], results[2][:-1], strict=True))


def test_states_come_back_through_a_file(tmp_path):
    generators = {name: np.random.Generator(kind(5)) for name, kind in NUMPYS.items()}
    generators["torch"] = torch.Generator().manual_seed(5)
    seed_everything(1)
    draws(generators)
    random.gauss(0, 1)  # leaves a second number waiting, as does numpy's
    np.random.standard_normal()  # noqa: NPY002
    path = save_checkpoint(tmp_path / "random.ckpt", random_state(generators))
    expected = draws(generators)
    assert draws(generators) != expected
    seed_everything(99)
    restore_random_state(load_checkpoint(path), generators)
    assert draws(generators) == expected


def test_other_generators_are_refused():
    state = random_state({"views": torch.Generator()})
    with pytest.raises(InputError, match=r"\['views'\], the training has \[\]"):
        restore_random_state(state)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, "3"])
def test_what_is_no_seed(seed):
    with pytest.raises(InputError, match="is no seed"):
        seed_everything(seed)
