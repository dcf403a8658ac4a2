"""The city in any of its formats by name, at the writers' own sizes: for the command line and for a first look."""

from __future__ import annotations

from pathlib import Path

from rsnb.city.options import CityOptions, check_index
from rsnb.errors import InputError

FORMATS = ("street", "levir_nvs", "whu_mvs", "cvusa", "cvact", "cvact_aligned", "worldstrat", "catalogue")


def ensure_format(root: str | Path, name: str, options: CityOptions = CityOptions(), district=(0, 0)) -> Path:
    """The folder of the city in one of `FORMATS`, built now if it is not there yet.

    Args:
        root: data folder.
        name: of the format.
        options: which city.
        district: (i, j). LEVIR-NVS and WHU MVS have scenes of several districts and pass it over.

    Raises:
        InputError: another name, or no such district.
    """
    index = check_index(district)
    if name not in FORMATS:
        raise InputError(f"there is no format {name!r}", where="city", mend=f"Choose one of: {', '.join(FORMATS)}")
    if name == "street":
        from rsnb.city.write_street_scene import StreetSceneOptions, ensure_street_scene

        return ensure_street_scene(root, StreetSceneOptions(city=options, district=index))
    if name == "levir_nvs":
        from rsnb.city.write_levir_nvs import LevirOptions, ensure_levir_nvs

        return ensure_levir_nvs(root, LevirOptions(city=options))
    if name == "whu_mvs":
        from rsnb.city.write_whu_mvs import WhuOptions, ensure_whu_mvs

        return ensure_whu_mvs(root, WhuOptions(city=options))
    if name == "worldstrat":
        from rsnb.city.write_worldstrat import WorldStratOptions, ensure_worldstrat

        return ensure_worldstrat(root, WorldStratOptions(city=options, districts=(index,)))
    if name == "catalogue":
        from rsnb.city.write_catalogue import CatalogueOptions, ensure_catalogue

        return ensure_catalogue(root, CatalogueOptions(city=options, district=index))
    from rsnb.city.write_pairs import PairsOptions, ensure_pairs

    return ensure_pairs(root, PairsOptions(layout=name, city=options, district=index))
