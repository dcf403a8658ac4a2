"""Geometry scores by hand, and of a box building whose heights, voxels and masses are known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rsnb.density.bootstrap import table
from rsnb.density.geometry_scores import (
    SurfaceTruth,
    height_scores,
    mass_scores,
    occupancy_scores,
    score_geometry,
    truths_of,
)
from rsnb.density.heights import volume_from_heights
from rsnb.density.panorama_scores import ViewTruth
from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame
from rsnb.errors import InputError
from rsnb.metrics import height_errors

FRAME = TileFrame(extent_m=16.0, ceiling_m=8.0)
SIZE, SLICES = 32, 16  # cells and slices of 0.5 m
EYE = 1.7
BOX = np.array([[3.0, -2.0, 0.0], [6.0, 2.0, 4.0]])  # a building in the east, its west face 3 m from the middle


def box_heights():
    centres = (np.arange(SIZE) + 0.5) * 0.5 - 8
    x, y = np.meshgrid(centres, -centres)
    return np.where((x > 3) & (x < 6) & (abs(y) < 2), 4.0, 0.0)[None]


def box_volume(heights=None):
    heights = torch.as_tensor(box_heights() if heights is None else heights, dtype=torch.float32)
    return volume_from_heights(heights, torch.full((len(heights), 3, SIZE, SIZE), 0.5), FRAME, SLICES)


def box_view(position, heading=0.0, rows=32, columns=64):
    """What the box and the ground look like: rays against the box's planes (Kay and Kajiya's slabs) and z = 0."""
    position = np.asarray(position, np.float64)
    lat = (0.5 - (np.arange(rows) + 0.5) / rows) * math.pi
    bearing = heading + ((np.arange(columns) + 0.5) / columns - 0.5) * 2 * math.pi
    rays = np.stack([np.cos(lat)[:, None] * np.sin(bearing), np.cos(lat)[:, None] * np.cos(bearing),
                     np.repeat(np.sin(lat)[:, None], columns, 1)], axis=-1)
    with np.errstate(divide="ignore"):
        planes = (BOX[:, None, None] - position) / rays
        ground = np.where(rays[..., 2] < 0, -position[2] / rays[..., 2], np.inf)
    enter, leave = planes.min(axis=0).max(axis=-1), planes.max(axis=0).min(axis=-1)
    box = np.where((enter < leave) & (leave > 0), enter, np.inf)
    depth = np.minimum(box, ground)
    return ViewTruth(position[None], depth[None], np.isinf(depth)[None], heading)


def values(scores):
    return {name: score.pooled for name, score in scores.items()}


def test_heights_by_hand():
    #            west-east, two tiles of 2 x 2 cells; an unknown cell in the second
    true = np.array([[[0.0, 4.0], [0.0, 6.0]], [[0.0, 0.0], [np.nan, 10.0]]])
    found = np.array([[[0.2, 5.0], [2.0, 0.0]], [[0.0, 3.0], [7.0, 10.0]]])
    visible = np.array([[[1, 1], [0, 0]], [[1, 0], [1, 0]]], bool)
    scores = height_scores(found, SurfaceTruth(true, visible))
    # errors 0.2, 1, 2, -6 | 0, 3, -, 0
    got = values(scores)
    assert got["height/rmse"] == pytest.approx(math.sqrt((0.04 + 1 + 4 + 36 + 9) / 7))
    assert got["height/mae"] == pytest.approx(12.2 / 7)
    assert got["height/bias"] == pytest.approx(0.2 / 7)
    assert got["height/median"] == pytest.approx((1.5 + 0) / 2)  # of the tiles, and their mean
    assert [got[f"height/under_{limit}"] for limit in ("0.5", "1", "2.5", "7.5")] == pytest.approx(
        [3 / 7, 3 / 7, 5 / 7, 1])
    assert got["height/rmse/objects"] == pytest.approx(math.sqrt((1 + 36 + 0) / 3))
    assert got["height/bias/objects"] == pytest.approx(-5 / 3)
    assert got["height/mae/visible"] == pytest.approx((0.2 + 1 + 0) / 3)
    assert got["height/mae/occluded"] == pytest.approx((2 + 6 + 3 + 0) / 4)
    # higher than 1 m: found 5, 2, 3, 10 (four cells); true 4, 6, 10 (three); both 4 and 10; either five
    assert got["footprint/iou"] == pytest.approx(2 / 5)
    assert (got["footprint/precision"], got["footprint/recall"]) == pytest.approx((2 / 4, 2 / 3))
    one = height_errors(found[0], true[0])
    assert {name: scores[f"height/{name}"].values[0] for name in ("rmse", "mae", "bias", "median")} == pytest.approx(
        {name: one[name] for name in ("rmse", "mae", "bias", "median")})


def test_a_city_without_objects_has_no_footprint():
    flat = height_scores(np.zeros((3, 2, 2)), SurfaceTruth(np.zeros((3, 2, 2))))
    rows = table(flat)
    assert rows["footprint/iou"].value is None and rows["height/rmse/objects"].value is None
    assert rows["height/rmse"].value == 0 and rows["height/rmse"].tiles == 3


def test_voxels_by_hand():
    """One column of six slices in a 3 x 3 tile: a hollow find of a solid tower of four."""
    true, found = np.zeros((2, 1, 6, 3, 3), bool)
    true[0, :4, 1, 1] = True
    found[0, [0, 3, 5], 1, 1] = True  # the ground floor, the top floor, and a floater
    got = values(occupancy_scores(found, SurfaceTruth(np.zeros((1, 3, 3)), occupied=true)))
    assert got["occupancy/iou"] == pytest.approx(2 / 5)
    assert got["occupancy/iou_filled"] == pytest.approx(4 / 6)
    assert (got["occupancy/precision"], got["occupancy/recall"]) == pytest.approx((2 / 3, 2 / 4))
    # every voxel of a single column is surface. Found 0 and 3 meet the truth, 5 is two above 3; true 0..3 lie beside
    # found ones: 0 itself, 1 above it, 2 below 3, 3 itself
    assert (got["surface/precision"], got["surface/recall"]) == pytest.approx((2 / 3, 1))
    assert got["surface/f_score"] == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))


def test_inner_voxels_and_those_on_the_border_are_no_surface():
    solid = np.zeros((1, 4, 5, 5), bool)
    solid[:, :3] = True  # all of the tile, three slices: only the uppermost meets the air
    skin = solid.copy()
    skin[:, :2] = False
    got = values(occupancy_scores(skin, SurfaceTruth(np.zeros((1, 5, 5)), occupied=solid)))
    assert got["occupancy/iou"] == pytest.approx(1 / 3)
    # the skin's own underside is surface of the find, at the same voxels
    assert got["surface/f_score"] == 1
    higher = np.roll(solid, 1, axis=1)
    higher[:, 0] = True
    got = values(occupancy_scores(higher, SurfaceTruth(np.zeros((1, 5, 5)), occupied=solid)))
    assert got["surface/f_score"] == 1  # one voxel too high is allowed
    low = solid.copy()
    low[:, 1:] = False
    assert values(occupancy_scores(low, SurfaceTruth(np.zeros((1, 5, 5)), occupied=solid)))["surface/f_score"] == 0


def test_masses_of_fog():
    """Fog of 0.1 / m up to 8 m over a 4 m box: 3.5 m of it lie more than a slice above, 4.5 m above the box's leak."""
    fog = DensityVolume(torch.full((1, SLICES, SIZE, SIZE), 0.1, dtype=torch.float64),
                        torch.zeros(1, 3, SIZE, SIZE, dtype=torch.float64), FRAME)
    truth = SurfaceTruth(box_heights())
    got = values(mass_scores(fog, truth))
    box = (truth.heights > 0).mean()
    over = [1 - math.exp(-0.1 * (8 - h - 0.5)) for h in (4, 0)]
    assert got["mass/floater"] == pytest.approx(box * over[0] + (1 - box) * over[1])
    assert got["mass/leak"] == pytest.approx(math.exp(-0.1 * 4.5))
    assert values(mass_scores(fog, truth, margin_m=2.0))["mass/leak"] == pytest.approx(math.exp(-0.6))


def test_the_box_itself_scores_nearly_full_marks():
    truth = SurfaceTruth(box_heights(), occupied=box_occupied())
    views = [box_view([x, y, EYE], heading) for x, y, heading in ((0.0, 0.0, 0.0), (-2.0, 5.0, 1.1), (7.0, -5.0, 4.0))]
    got = values(score_geometry(box_volume(), truth, views[0], views[1:], options=RenderOptions(samples=160)))
    assert got["height/rmse"] < 1e-3 and got["footprint/iou"] == 1
    assert got["occupancy/iou"] == got["occupancy/iou_filled"] == got["surface/f_score"] == 1
    assert got["mass/floater"] < 1e-6 and got["mass/leak"] < 1e-4
    for place in ("centre", "off_centre", "ring 4-8 m", "ring 8-16 m"):
        assert got[f"{place}/opacity/iou"] > 0.98, place
        assert got[f"{place}/skyline/median"] < 180 / 32, place  # a row
        assert got[f"{place}/depth/missed"] < 0.01, place
        assert got[f"{place}/depth/delta_1"] > 0.97, place
        assert got[f"{place}/depth/rmse/inside_above"] < 0.6, place
    assert not [name for name in got if name.startswith(("ring 0-4 m", "ring from 16 m"))]


def box_occupied(top=4.0):
    inside = (np.arange(SLICES) + 0.5) * 0.5 < top
    return inside[None, :, None, None] & (box_heights() > 0)[:, None]


@pytest.mark.parametrize("spoil", ["mirrored", "too low", "hollow", "empty"])
def test_a_wrong_volume_scores_worse_where_it_is_wrong(spoil):
    truth, view = SurfaceTruth(box_heights(), occupied=box_occupied()), box_view([0.0, 0.0, EYE])
    volume = box_volume()
    sigma = volume.sigma.clone()
    if spoil == "mirrored":
        sigma = sigma.flip(-1)
    elif spoil == "too low":
        sigma[:, 4:] = 0
    elif spoil == "hollow":
        sigma[:, :7] = 0  # only a roof of half a metre: unseen from above
    else:
        sigma[:] = 0
    wrong = DensityVolume(sigma, volume.tile, FRAME)
    got, right = (values(score_geometry(v, truth, view)) for v in (wrong, volume))
    if spoil == "hollow":
        assert got["height/rmse"] == pytest.approx(right["height/rmse"], abs=0.02)
        assert got["occupancy/iou"] == pytest.approx(1 / 8) and got["occupancy/iou_filled"] == 1
    else:
        assert got["height/rmse"] > right["height/rmse"] + 0.3
        assert got["occupancy/iou"] <= 0.5 and got["footprint/iou"] == (1 if spoil == "too low" else 0)
        assert got["mass/leak"] > 0.99
    assert got["centre/opacity/iou"] < right["centre/opacity/iou"] - 0.01
    missed = got["centre/depth/missed/above"]
    assert missed == 1 or missed > 0.2 or got["centre/depth/rmse/above"] > right["centre/depth/rmse/above"] + 0.2
    if spoil != "hollow":  # its roof hangs where the skyline is
        assert got["centre/skyline/mean"] > right["centre/skyline/mean"] + 1
    if spoil == "mirrored":
        assert got["mass/floater"] > 0.01 and got["centre/depth/false_hits"] > 0.01


def test_what_a_reader_gives_becomes_truth():
    views = [box_view([0.0, 0.0, EYE]), box_view([-2.0, 5.0, EYE]), box_view([4.5, 4.0, EYE])]
    visible = box_heights() > 0
    slope = np.linspace(-1.0, 1.0, SIZE)[None, :, None] * np.ones((1, SIZE, SIZE))  # what stands on it stays the same
    pairs = SimpleNamespace(
        heights=box_heights() + slope, ground=slope, top_visible=visible, occupancy=box_occupied(),
        camera=views[0].position, depth=views[0].depth, sky=views[0].sky, vertical_fov=math.pi,
        views=np.stack([view.position for view in views[1:]], axis=1),
        view_depth=np.stack([view.depth for view in views[1:]], axis=1),
        view_sky=np.stack([view.sky for view in views[1:]], axis=1))
    surface, centre, others = truths_of(pairs)
    assert surface.visible is not None and len(others) == 2 and (others[1].position == views[2].position).all()
    found, wanted = (values(score_geometry(box_volume(), s, c, o)) for s, c, o in (
        (surface, centre, others), (SurfaceTruth(box_heights(), visible, box_occupied()), views[0], views[1:])))
    assert found == pytest.approx(wanted, nan_ok=True)
    alone = truths_of(SimpleNamespace(**vars(pairs) | {"views": None, "occupancy": None, "top_visible": None}))
    assert alone[2] == () and alone[0].occupied is None and alone[0].visible is None


def test_several_tiles_are_pooled_and_keep_their_rows():
    heights = np.concatenate([box_heights(), np.zeros((1, SIZE, SIZE))])
    scores = height_scores(np.zeros_like(heights), SurfaceTruth(heights))
    # 6 x 8 cells of 1,024 are 4 m high in the first tile
    assert scores["height/rmse"].values.tolist() == pytest.approx([math.sqrt(48 / 1024 * 16), 0])
    assert scores["height/rmse"].pooled == pytest.approx(math.sqrt(48 / 2048 * 16))


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match=r"visible has shape \(1, 2, 3\)"):
        SurfaceTruth(np.zeros((1, 2, 2)), visible=np.zeros((1, 2, 3)))
    with pytest.raises(InputError, match="visible holds more than true and false"):
        SurfaceTruth(np.zeros((1, 2, 2)), visible=np.array([[[0, 1], [2, 0]]]))
    with pytest.raises(InputError, match=r"expected \[N, S, S\]"):
        SurfaceTruth(np.zeros((2, 3)))
    truth = SurfaceTruth(np.zeros((1, 2, 2)))
    with pytest.raises(InputError, match="2 heights are not finite"):
        height_scores(np.array([[[np.nan, 0], [np.inf, 1]]]), truth)
    with pytest.raises(InputError, match=r"heights have shape \(1, 3, 3\)"):
        height_scores(np.zeros((1, 3, 3)), truth)
    with pytest.raises(InputError, match="no voxels"):
        occupancy_scores(np.zeros((1, 1, 2, 2)), truth)
    with pytest.raises(InputError, match="slices of the truth"):
        occupancy_scores(np.zeros((1, 2, 2, 2)), SurfaceTruth(np.zeros((1, 2, 2)), occupied=np.zeros((1, 1, 2, 2))))
