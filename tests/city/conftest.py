"""Districts that several tests look at, built once."""

from __future__ import annotations

from functools import lru_cache

import pytest

from rsnb.city import CityOptions, build_district, write_catalogue, write_worldstrat


@lru_cache(maxsize=8)
def _built(index, detail, seed):
    return build_district(CityOptions(seed=seed), index, detail)


@pytest.fixture(scope="session")
def district():
    """`district()` is the default district; `district((1, 0), "twin", seed=8)` another one."""
    def get(index=(0, 0), detail="full", seed=7):
        return _built(tuple(index), detail, seed)

    return get


@pytest.fixture(scope="module")
def quick_district(district):
    """Writers of a series get the district that other tests built; it lacks the belt, which nothing there looks at."""
    patch = pytest.MonkeyPatch()
    for module in (write_catalogue, write_worldstrat):
        patch.setattr(module, "shared_district", lambda *_, **__: district())
    yield
    patch.undo()
