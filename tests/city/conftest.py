"""Districts that several tests look at, built once."""

from __future__ import annotations

from functools import lru_cache

import pytest

from rsnb.city import CityOptions, build_district


@lru_cache(maxsize=8)
def _built(index, detail, seed):
    return build_district(CityOptions(seed=seed), index, detail)


@pytest.fixture(scope="session")
def district():
    """`district()` is the default district; `district((1, 0), "twin", seed=8)` another one."""
    def get(index=(0, 0), detail="full", seed=7):
        return _built(tuple(index), detail, seed)

    return get
