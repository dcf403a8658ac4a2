"""What is found in pairs of one's own: here in a few of the city's, of which one has lost its mask."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from rsnb.city.write_pairs import PairsOptions, write_pairs


@pytest.fixture(scope="module")
def pairs(district, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, PairsOptions("cvact_aligned", train=2, val=1, tile_px=32, panorama_size=(32, 64),
                                     supersample=1), [district()], threads=1)
    return folder


@pytest.fixture
def bench(project, monkeypatch):
    spec = importlib.util.spec_from_file_location("real_pairs", project / "benchmarks" / "real_pairs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("LOOK_COLUMNS", "TRAIN_COLUMNS"):
        monkeypatch.setattr(module, name, 64)
    monkeypatch.setattr(module, "TRAIN_TILE_PX", 32)
    return module


def test_pairs_of_which_some_have_no_mask(pairs, bench, tmp_path, capsys):
    masks = sorted((pairs / "pano_sky_mask").iterdir())
    masks[1].unlink()
    arguments = [str(pairs), "--out", str(tmp_path), "--steps", "2", "--size", "tiny", "--batch", "2"]
    assert bench.main(arguments) == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["pairs"] == 3 and report["sky"]["masks"] == "given of 2, found of 1"
    assert len(report["sky"]["IoU of found and given"]) == 2 and len(report["sky"]["share"]) == 3
    shares = dict(zip((row["id"] for row in report["headings"]), report["sky"]["share"], strict=True))
    for mask in masks[:1] + masks[2:]:
        assert shares[mask.stem.removesuffix("_grdView")] == (np.asarray(Image.open(mask)) > 127).mean()
    assert report["training"]["steps"] == 2 and len(report["training"]["opacity IoU after"]) == 3
    assert {p.name for p in tmp_path.iterdir()} == {"report.json", "report.md", "pairs.png", "training_ours.png"}
    for mask in masks[:1] + masks[2:]:
        mask.unlink()
    assert bench.main([str(pairs), "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "report.json").read_text())["sky"]["masks"] == "found"
