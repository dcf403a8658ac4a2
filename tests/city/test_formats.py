"""Every format has its writer behind its name, and the choice of city and district reaches it."""

from __future__ import annotations

import importlib

import pytest

from rsnb.city import CityOptions
from rsnb.city.formats import FORMATS, ensure_format
from rsnb.errors import InputError

WRITERS = {"street": "street_scene", "levir_nvs": "levir_nvs", "whu_mvs": "whu_mvs", "worldstrat": "worldstrat",
           "catalogue": "catalogue", "cvusa": "pairs", "cvact": "pairs", "cvact_aligned": "pairs"}


@pytest.mark.parametrize("name", FORMATS)
def test_city_and_district_reach_the_writer(name, monkeypatch, tmp_path):
    asked = []
    module = importlib.import_module(f"rsnb.city.write_{WRITERS[name]}")
    monkeypatch.setattr(module, f"ensure_{WRITERS[name]}", lambda root, options: asked.append(options) or root)
    assert ensure_format(tmp_path, name, CityOptions(seed=3), (1, 2)) == tmp_path
    (options,) = asked
    assert options.city.seed == 3
    if name == "worldstrat":
        assert options.districts == ((1, 2),)
    elif name not in ("levir_nvs", "whu_mvs"):
        assert options.district == (1, 2)
    if WRITERS[name] == "pairs":
        assert options.layout == name


def test_other_names_and_districts_are_refused(tmp_path):
    with pytest.raises(InputError, match="cvact_aligned"):
        ensure_format(tmp_path, "kitti")
    with pytest.raises(InputError, match="district"):
        ensure_format(tmp_path, "cvusa", district=(4, 0))
    assert not list(tmp_path.iterdir())
