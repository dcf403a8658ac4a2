"""Panorama scores by hand: opacities, skylines and depths whose errors are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rsnb.density.panorama_scores import ViewTruth, pool_views, score_view, score_views, skyline, view_rings
from rsnb.density.volume import DensityVolume, Rendered, RenderOptions, TileFrame
from rsnb.errors import InputError
from rsnb.metrics import depth_errors

FRAME = TileFrame(extent_m=20.0, ceiling_m=8.0)
ROWS, COLUMNS = 6, 4  # rows of 30 degrees, columns of 90: their centres look south-west, north-west ...


def truth(depth, position=(0.0, 0.0, 2.0), **options):
    depth = np.asarray(depth, np.float64)[None]
    return ViewTruth(np.asarray(position, np.float64)[None], depth, np.isinf(depth), **options)


def street():
    """Sky above the horizon, but for one wall 5 m away in column 2; ground below."""
    depth = np.full((ROWS, COLUMNS), np.inf)
    depth[3:] = np.array([7.7, 2.8, 2.1])[:, None]
    depth[1:3, 2] = 5.0
    return depth


def score(opacity, depth, of, frame=FRAME):
    return {name: value.pooled for name, value in score_view(opacity[None], depth[None], of, frame).items()}


def test_the_truth_itself_is_perfect():
    depth = street()
    got = score(np.isfinite(depth).astype(float), depth, truth(depth))
    for name, value in got.items():
        ideal = 1 if name.startswith(("opacity/iou", "depth/delta_1")) else 0
        assert value == pytest.approx(ideal, abs=2e-4), name


def test_skyline_by_column():
    depth = street()
    hit = np.isfinite(depth)
    hit[0, 2] = True  # a row too high: 30 degrees
    hit[2, 0] = hit[1, 0] = True  # two
    hit[3, 1] = False  # one too low
    got = score(hit.astype(float), np.where(hit, 3.0, np.inf), truth(depth))
    # errors +60, -30, +30, 0
    assert got["skyline/mean"] == pytest.approx(30) and got["skyline/bias"] == pytest.approx(15)
    assert got["skyline/median"] == pytest.approx(30)
    assert got["skyline/p90"] == pytest.approx(30 + 0.7 * 30)  # 0, 30, 30, 60: rank 2.7 from 0
    # rows of a field of view of 60 degrees are 10 degrees high
    narrow = score(hit.astype(float), np.where(hit, 3.0, np.inf), truth(depth, vertical_fov=math.pi / 3))
    assert narrow["skyline/mean"] == pytest.approx(10)
    # a wall 30 m away is none of the tile's: column 2 with its 30 degrees no longer counts
    depth[1:3, 2] = 30.0
    beyond = score(hit.astype(float), np.where(hit, 3.0, np.inf), truth(depth))
    assert beyond["skyline/mean"] == pytest.approx(30) and beyond["skyline/mean/inside"] == pytest.approx((60 + 30) / 3)
    assert beyond["skyline/bias/inside"] == pytest.approx((60 - 30) / 3)
    assert beyond["skyline/median/inside"] == pytest.approx(30)
    empty = score(np.zeros((ROWS, COLUMNS)), np.full((ROWS, COLUMNS), np.inf), truth(depth))
    assert empty["skyline/bias"] == pytest.approx(-(90 * 3 + 150) / 4)  # down to the nadir


def test_the_skyline_is_the_upper_edge_of_the_topmost_solid_pixel():
    solid = np.zeros((2, 4, 3), bool)
    solid[0, 2:, 0] = True  # ground: the horizon
    solid[0, [1, 3], 1] = True  # something floats above the ground
    solid[1, 0] = True
    # rows of 45 degrees; the last column of the first is sky down to the nadir
    expected = np.radians([[0, 45, -90], [90, 90, 90]])
    np.testing.assert_allclose(skyline(solid, math.pi), expected)
    np.testing.assert_allclose(skyline(torch.from_numpy(solid[0]), math.pi / 2), expected[0] / 2)


def test_a_tile_scores_the_same_whoever_is_rendered_beside_it():
    """The length of a ray follows from the farthest camera of the set, also where that is in another batch."""
    lengths = []

    def render(volume, camera, place, heading, options):
        lengths.append(options.length_m)
        return Rendered(torch.zeros(len(volume), 3, ROWS, COLUMNS), torch.zeros(len(volume), ROWS, COLUMNS),
                        torch.zeros(len(volume), ROWS, COLUMNS))

    position = np.tile([0.0, 0.0, 2.0], (18, 1))
    position[17, 0] = -6.0
    position[3] = np.nan
    depth = np.repeat(street()[None], 18, axis=0)
    score_views(volumes(18), [ViewTruth(position, depth, np.isinf(depth))], render=render)
    # 16 m east-west to the farther wall, 10 north-south, 6 up to the ceiling
    assert lengths == pytest.approx([math.sqrt(16**2 + 10**2 + 6**2)] * 2)
    lengths.clear()
    score_views(volumes(1), [ViewTruth(position[:1], depth[:1], np.isinf(depth[:1]), length_m=33.0)], render=render)
    score_views(volumes(1), [ViewTruth(position[:1], depth[:1], np.isinf(depth[:1]), length_m=33.0)],
                RenderOptions(length_m=9.0), render)
    assert lengths == [33.0, 9.0]


def test_opacity_by_hand():
    depth = street()
    solid = np.isfinite(depth)
    opacity = np.where(solid, 0.8, 0.1)
    opacity[2, 2], opacity[0, 0] = 0.3, 0.6  # one miss, one false hit of 14 solid and 10 sky pixels
    got = score(opacity, np.where(opacity >= 0.5, 3.0, np.inf), truth(depth))
    assert got["opacity/iou"] == pytest.approx(13 / 15)
    assert got["opacity/l1"] == pytest.approx((13 * 0.2 + 0.7 + 9 * 0.1 + 0.6) / 24)
    assert got["opacity/bce"] == pytest.approx(
        -(13 * math.log(0.8) + math.log(0.3) + 9 * math.log(0.9) + math.log(0.4)) / 24)
    # bins: 13 at 0.8 all solid, 9 at 0.1 all sky, 1 at 0.3 solid, 1 at 0.6 sky
    assert got["opacity/ece"] == pytest.approx((13 * 0.2 + 9 * 0.1 + 0.7 + 0.6) / 24)
    assert got["depth/false_hits"] == pytest.approx(1 / 10)
    # half of what has opacity 0.5 is solid: a calibrated answer, however useless
    even = np.zeros((ROWS, COLUMNS))
    even[:3] = np.inf
    even[3:] = 4
    fog = score(np.full((ROWS, COLUMNS), 0.5), np.full((ROWS, COLUMNS), 5.0), truth(even))
    assert fog["opacity/ece"] == pytest.approx(0) and fog["opacity/l1"] == pytest.approx(0.5)


def test_depth_as_the_metrics_room_defines_it():
    rng = np.random.default_rng(8)
    true = np.where(rng.random((ROWS, COLUMNS)) < 0.7, rng.uniform(1, 30, (ROWS, COLUMNS)), np.inf)
    found = np.where(rng.random((ROWS, COLUMNS)) < 0.8, np.where(np.isinf(true), 9, true) *
                     rng.uniform(0.6, 1.5, true.shape), np.inf)
    got = score(np.isfinite(found).astype(float), found, truth(true))
    above = np.zeros(true.shape, bool)
    above[: ROWS // 2] = True
    for suffix, mask in (("", None), ("/above", above)):
        expected = depth_errors(found, true, mask)
        for name in ("abs_rel", "rmse", "delta_1", "missed"):
            assert got[f"depth/{name}{suffix}"] == pytest.approx(expected[name]), name + suffix
    assert got["depth/false_hits"] == pytest.approx(depth_errors(found, true)["false_hits"])
    missed = score(np.zeros(true.shape), np.full(true.shape, np.inf), truth(true))
    assert missed["depth/missed"] == 1 and math.isnan(missed["depth/rmse"])
    there = np.isfinite(true)
    assert missed["depth/rmse_all"] == pytest.approx(math.sqrt((true[there] ** 2).mean()))
    error = np.where(np.isfinite(found), found - np.where(there, true, 0), true)[there]
    assert got["depth/rmse_all"] == pytest.approx(math.sqrt((error**2).mean()))


def test_surfaces_beyond_the_tile_are_left_out_of_inside():
    """Camera 2 m east of the middle whose centre column looks west: the columns look SE, SW, NW, NE."""
    depth = np.full((ROWS, COLUMNS), np.inf)
    # 8 m are left to the east, 12 to the west, 10 to north and south
    depth[2] = [12.0, 8.0, 12.0, 14.5]  # 15 degrees up, times cos 15 cos 45 = 0.683: 8.2, 5.5, 8.2, 9.9 m away
    depth[1] = [7.0, 8.0, 9.0, 10.0]  # 45 degrees up: 2 m + 0.707 d is above 8 m from 8.49 on
    view = truth(depth, position=(2.0, 0.0, 2.0), heading=math.radians(270))
    opacity = np.where(np.isfinite(depth), 1.0, 0.0)
    inside = np.zeros(depth.shape, bool)
    # row 2, x: 2 + 8.2 out, 2 - 5.5 in, 2 - 8.2 in, 2 + 9.9 out; row 1, z: 6.95, 7.66 in, 8.36, 9.07 out
    inside[2], inside[1] = [0, 1, 1, 0], [1, 1, 0, 0]
    # every pixel outside is missed: told in the plain scores alone
    found = np.where(inside, depth, np.inf)
    got = score(np.where(inside, opacity, 0), found, view)
    assert got["depth/missed"] == pytest.approx(4 / 8) and got["depth/missed/inside"] == 0
    assert got["opacity/iou"] == pytest.approx(4 / 8) and got["opacity/iou/inside"] == 1
    assert got["depth/missed/inside_above"] == 0
    east = score(np.where(inside, opacity, 0), found, truth(depth, position=(2.0, 0.0, 2.0)))
    assert east["depth/missed/inside"] > 0  # another heading, other pixels


def volumes(n):
    return DensityVolume(torch.zeros(n, 2, 4, 4), torch.zeros(n, 3, 4, 4), FRAME)


def test_views_are_rendered_in_parts_and_absent_ones_left_out(monkeypatch):
    """Twenty tiles, one without this camera; what is rendered says which tile, place and heading it was asked for."""
    n, asked = 20, []
    position = np.zeros((n, 3))
    position[:, 2] = 2
    position[:, 0] = np.arange(n) / 2
    position[7] = np.nan
    depth = np.repeat(street()[None], n, axis=0)
    view = ViewTruth(position, depth, np.isinf(depth), heading=np.arange(n) / 10)

    def render(volume, camera, place, heading, options):
        asked.append((len(volume), place[:, 0].tolist(), heading.tolist(), options.samples))
        assert (camera.width, camera.height) == (COLUMNS, ROWS)
        seen = torch.as_tensor(street())[None].repeat(len(volume), 1, 1)
        solid = torch.isfinite(seen)
        return Rendered(torch.zeros(len(volume), 3, ROWS, COLUMNS), solid.double(), torch.where(solid, seen, 0.0))

    scores = score_views(volumes(n), [view], RenderOptions(samples=9), render)[0]
    assert [a[0] for a in asked] == [16, 3] and {a[3] for a in asked} == {9}
    kept = np.delete(np.arange(n), 7)
    assert [x for a in asked for x in a[1]] == pytest.approx(kept / 2)
    assert [h for a in asked for h in a[2]] == pytest.approx(kept / 10)
    assert scores["opacity/iou"].pooled == 1 and scores["depth/rmse"].pooled == 0
    alone = {name for name, value in scores.items() if not np.isnan(value.values[7])}
    assert alone == set()
    # eight tiles (0 to 3.5 m) in the first ring, twelve without the seventh (4 to 9.5 m) in the second
    rings = view_rings([view], [scores], (0, 4, 100))
    assert list(rings) == ["0-4 m", "4-100 m"]
    assert [(~np.isnan(ring["skyline/median"].values)).sum() for ring in rings.values()] == [7, 12]
    both = pool_views([scores, scores])
    assert both["depth/rmse"].sums[0].tolist() == (2 * scores["depth/rmse"].sums[0]).tolist()


def test_what_does_not_fit_is_said():
    depth = street()
    with pytest.raises(InputError, match="NaN, 0 or negative"):
        truth(np.where(depth == 5, np.nan, depth))
    with pytest.raises(InputError, match="Give \\[N, 3\\]"):
        ViewTruth(np.zeros((1, 2)), depth[None], np.isinf(depth)[None])
    with pytest.raises(InputError, match="camera of the truth"):
        score(np.zeros((3, 3)), np.ones((3, 3)), truth(depth))
    with pytest.raises(InputError, match="NaN"):
        score(np.full(depth.shape, np.nan), depth, truth(depth))
    with pytest.raises(InputError, match="a view of 1 tiles for 2 volumes"):
        score_views(volumes(2), [truth(depth)])
