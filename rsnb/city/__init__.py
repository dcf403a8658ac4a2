"""The procedural, seeded, georeferenced city that every notebook runs on.

`build_district(CityOptions(seed=7), index=(0, 0))` gives a `District`: a textured mesh, the tables it was made from,
and the exact truth about it (heights, semantic map, camera stations along the streets).
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "CityOptions": "options",
    "CLASSES": "options",
    "GEOREFERENCE": "options",
    "core_bounds": "options",
    "District": "district",
    "build_district": "district",
    "shared_district": "district",
    "Stations": "stations",
    "Terrain": "terrain",
    "StreetSceneOptions": "write_street_scene",
    "ensure_street_scene": "write_street_scene",
    "CatalogueOptions": "write_catalogue",
    "ensure_catalogue": "write_catalogue",
    "WorldStratOptions": "write_worldstrat",
    "ensure_worldstrat": "write_worldstrat",
    "truth_image": "true_images",
    "true_shifts": "true_images",
    "LevirOptions": "write_levir_nvs",
    "ensure_levir_nvs": "write_levir_nvs",
    "WhuOptions": "write_whu_mvs",
    "ensure_whu_mvs": "write_whu_mvs",
    "PairsOptions": "write_pairs",
    "ensure_pairs": "write_pairs",
    "CityProvider": "provider",
    "dataset_sha256": "store",
    "TwinOptions": "twin",
    "bake_twin": "twin",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
