"""Scores of tiles taken some at a time: equal to those of all at once, to the last bit; and their rows on disk."""

from __future__ import annotations

import csv
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rsnb.density.bootstrap import PerTile
from rsnb.density.geometry_scores import score_geometry, truths_of
from rsnb.density.tile_scores import score_tiles, write_tile_rows
from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame
from rsnb.errors import InputError

FRAME = TileFrame(extent_m=32.0, ceiling_m=8.0)
COUNT, SIZE, SLICES, ROWS, COLUMNS = 5, 8, 4, 8, 16


def known(views: bool = True, **changes):
    """Random truths of tiles on sloping ground; two further cameras each, some of which are not there."""
    rng = np.random.default_rng(5)
    depth = rng.uniform(1, 30, (COUNT, 3, ROWS, COLUMNS))
    depth[rng.random(depth.shape) < 0.3] = np.inf
    ground = rng.normal(0, 0.3, (COUNT, SIZE, SIZE))
    heights = ground + rng.uniform(0, 7, ground.shape) * (rng.random(ground.shape) < 0.4)
    heights[2] = ground[2]  # a tile without any object
    places = np.concatenate([rng.uniform(-9, 9, (COUNT, 2, 2)), np.full((COUNT, 2, 1), 2.0)], axis=-1)
    places[:, 1, :2] *= 0.2
    places[3, 0, :2] = 15.0  # the outermost ring has this one camera, the innermost none of the first tiles
    places[:2, 1, :2], places[1, 0, :2] = 5.0, 8.0
    places[4, 1] = np.nan
    camera = np.tile([0.0, 0.0, 2.0], (COUNT, 1))
    camera[4, :2] = 3.0
    truth = dict(
        heights=heights, ground=ground, top_visible=rng.random(ground.shape) < 0.5,
        occupancy=rng.random((COUNT, SLICES, SIZE, SIZE)) < 0.3, camera=camera, depth=depth[:, 0],
        sky=np.isinf(depth[:, 0]), vertical_fov=math.pi, views=places if views else None, view_depth=depth[:, 1:],
        view_sky=np.isinf(depth[:, 1:]))
    return SimpleNamespace(**(truth | changes))


def tiles():
    return torch.rand(COUNT, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def volume_of(tile):
    """Density that follows the tile, another one for every tile and slice."""
    sigma = torch.stack([tile[:, k % 3] * (SLICES - k) for k in range(SLICES)], dim=1) ** 3 / 20
    return DensityVolume(sigma, tile, FRAME)


@pytest.mark.parametrize("views", [True, False])
@pytest.mark.parametrize("batch", [1, 2, 4, 16])
def test_some_at_a_time_is_all_at_once(batch, views):
    truth, options = known(views), {"how": "termination", "options": RenderOptions(12, backend="torch")}
    at_once = score_geometry(volume_of(tiles()), *truths_of(truth), **options)
    found = score_tiles(volume_of, tiles().numpy(), truth, batch, **options)
    assert set(found) == set(at_once)
    assert {name.split("/")[0] for name in found if name.startswith("ring")} == (
        {"ring 0-4 m", "ring 4-8 m", "ring 8-16 m", "ring from 16 m"} if views else set())
    for name, score in found.items():
        assert score.statistic is at_once[name].statistic
        np.testing.assert_array_equal(score.sums, at_once[name].sums, err_msg=name)


def test_volumes_are_never_all_there():
    held = []

    def watched(tile):
        held.append(len(tile))
        assert not torch.is_grad_enabled()
        return volume_of(tile)

    score_tiles(watched, tiles(), known(), 2)
    assert held == [2, 2, 1]


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match="4 tiles and the truth of 5"):
        score_tiles(volume_of, tiles()[:4], known())
    with pytest.raises(InputError, match="batch is 0"):
        score_tiles(volume_of, tiles(), known(), 0)
    with pytest.raises(InputError, match="1 volumes of 2 tiles"):
        score_tiles(lambda tile: volume_of(tile[:1]), tiles(), known(), 2)


def test_rows_on_disk(tmp_path):
    scores = {"footprint/iou": PerTile(np.array([[1.0, 4], [0, 0]])), "psnr": PerTile.of_values([math.inf, 20.5])}
    path = write_tile_rows(tmp_path / "rows.csv", scores, ("a", "b"))
    rows = list(csv.reader(path.open()))
    assert rows == [["id", "footprint/iou", "psnr"], ["a", "0.25", "inf"], ["b", "", "20.5"]]
    with pytest.raises(InputError, match="3 names for 2 tiles"):
        write_tile_rows(tmp_path / "rows.csv", scores, ("a", "b", "c"))
