"""The procedural, seeded, georeferenced city that every notebook runs on.

`build_district(CityOptions(seed=7), index=(0, 0))` gives a `District`: a textured mesh, the tables it was made from,
and the exact truth about it (heights, semantic map, camera stations along the streets).
"""

from __future__ import annotations

from importlib import import_module

_HOME = {
    "CityOptions": "options",
    "CLASSES": "options",
    "GEOREFERENCE": "options",
    "core_bounds": "options",
    "District": "district",
    "build_district": "district",
    "Stations": "stations",
    "Terrain": "terrain",
    "StreetSceneOptions": "write_street_scene",
    "ensure_street_scene": "write_street_scene",
    "dataset_sha256": "store",
    "TwinOptions": "twin",
    "bake_twin": "twin",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(f"rsnb.city.{_HOME[name]}"), name)
    raise AttributeError(f"module 'rsnb.city' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOME)
