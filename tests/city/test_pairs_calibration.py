"""Pairs of the city as if they were somebody's own pictures: what is measured from them against what was written."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from rsnb.city.write_pairs import PairsOptions, write_pairs
from rsnb.density.alignment import check_headings
from rsnb.density.calibrate import CalibrationOptions, calibrate_camera_height
from rsnb.density.sky_segment import segment_sky, sky_iou
from rsnb.scenes import TilePanoramaPairs

OPTIONS = PairsOptions(layout="cvact_aligned", train=7, val=1, tile_px=128, panorama_size=(64, 128), supersample=1)


@pytest.fixture(scope="module")
def written(district, tmp_path_factory):
    """The pairs, read without any reader of the project, and their sky masks [N, H, W]."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, OPTIONS, [district()])

    def read(part, end):
        return [np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1) / 255
                for path in sorted((folder / part).glob("*" + end))]

    names = tuple(path.name for path in sorted((folder / "streetview").iterdir()))
    pairs = TilePanoramaPairs(np.stack(read("satview_correct", ".png")), np.stack(read("streetview", ".png")), names,
                              np.zeros(len(names)), math.pi)
    return pairs, np.stack(read("pano_sky_mask", ".png"))[:, 0] > 0.5


def test_camera_height_and_tile_extent_are_found_to_a_few_per_cent(written):
    found = calibrate_camera_height(written[0], CalibrationOptions(steps=31))
    assert not found.at_edge and found.correlation > 0.15
    assert found.pixels == pytest.approx(2.5 / 64.0 * 128, rel=0.06)
    assert found.metres(64.0) == pytest.approx(2.5, rel=0.06)
    assert found.tile_extent_m(2.5) == pytest.approx(64.0, rel=0.06)


def test_no_heading_is_called_wrong_and_turned_ones_are_not_called_right(written):
    pairs = written[0]
    verdicts = [check.verdict for check in check_headings(pairs, 5.0)]
    assert "turned" not in verdicts and verdicts.count("ok") >= 5, verdicts
    turned = TilePanoramaPairs(pairs.tiles, pairs.panoramas, pairs.ids, np.full(len(pairs), math.radians(60)), math.pi)
    assert "ok" not in [check.verdict for check in check_headings(turned, 5.0)]


def test_the_sky_is_found_without_its_mask(written):
    pairs, skies = written
    scores = [sky_iou(segment_sky(panorama), sky) for panorama, sky in zip(pairs.panoramas, skies, strict=True)]
    assert np.mean(scores) > 0.95 and min(scores) > 0.85, scores
    rows = np.arange(64)[:, None]
    line = max(np.mean([sky_iou(np.broadcast_to(rows < row, sky.shape), sky) for sky in skies]) for row in range(64))
    blue = max(np.mean([sky_iou(p[2] - p[0] > level, s) for p, s in zip(pairs.panoramas, skies, strict=True)])
               for level in np.linspace(-0.2, 0.4, 13))
    assert np.mean(scores) > max(line, blue) + 0.08
