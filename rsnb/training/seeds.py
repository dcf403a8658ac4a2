"""Seeds of every generator at once, and their states as a checkpoint can hold them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rsnb.errors import InputError

Generator = torch.Generator | np.random.Generator
_LARGEST = 2**32 - 1  # numpy's global generator takes no larger seed


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators, on every device.

    Raises:
        InputError: a seed outside 0 ... 2^32 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= _LARGEST:
        raise InputError(f"{seed!r} is no seed", where="seed", mend=f"Give a whole number from 0 to {_LARGEST}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries draw from the global one
    torch.manual_seed(seed)


def random_state(generators: Mapping[str, Generator] | None = None) -> dict[str, Any]:
    """States of the global generators and of named ones, as numbers, texts and tensors alone.

    Args:
        generators: torch or numpy generators that the training draws from besides.
    """
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    version, words, next_gauss = random.getstate()
    return {
        "python": [version, list(words), next_gauss],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "named": {name: _state_of(generator) for name, generator in (generators or {}).items()},
    }


def restore_random_state(state: Mapping[str, Any], generators: Mapping[str, Generator] | None = None) -> None:
    """Put every generator back to where `random_state` found it.

    GPUs' generators are put back as far as there are as many GPUs as then.

    Raises:
        InputError: the named generators are not those of the state.
    """
    generators = generators or {}
    if set(generators) != set(state["named"]):
        raise InputError(f"the state holds generators {sorted(state['named'])}, the training has {sorted(generators)}",
                         where="generators", mend="Resume with the generators that the training began with")
    version, words, next_gauss = state["python"]
    random.setstate((version, tuple(words), next_gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    for name, generator in generators.items():
        if isinstance(generator, torch.Generator):
            generator.set_state(state["named"][name].cpu())
        else:
            generator.bit_generator.state = _with_arrays(state["named"][name])


def _state_of(generator: Generator) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    return _without_arrays(generator.bit_generator.state)


def _without_arrays(value: Any) -> Any:
    """numpy's arrays (MT19937, SFC64 and Philox have some) as lists under a mark."""
    if isinstance(value, np.ndarray):
        return {"array": [int(n) for n in value], "dtype": str(value.dtype)}
    if isinstance(value, dict):
        return {key: _without_arrays(item) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _with_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"array", "dtype"}:
            return np.array(value["array"], dtype=value["dtype"])
        return {key: _with_arrays(item) for key, item in value.items()}
    return value
