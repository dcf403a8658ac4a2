"""The district that several writers share in memory."""

from __future__ import annotations

from rsnb.city import CityOptions, build_district, shared_district
from rsnb.city import district as module


def test_it_is_built_once_and_is_what_build_district_gives(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "build_district", lambda *given: calls.append(given) or build_district(*given))
    shared_district.cache_clear()
    first = shared_district(CityOptions(seed=9), (0, 0), "twin")
    assert shared_district(CityOptions(seed=9), (0, 0), "twin") is first and len(calls) == 1
    again = build_district(CityOptions(seed=9), (0, 0), "twin")
    assert (again.mesh.vertices == first.mesh.vertices).all() and again.bounds == first.bounds
    shared_district.cache_clear()
