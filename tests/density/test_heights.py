"""Heights of volumes whose answer is known: boxes, fog, ramps, and quadrature of the interpolated density."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from rsnb.density.heights import (
    column_filled,
    height_map,
    occupancy,
    optical_depth_above,
    published_heights,
    volume_from_heights,
)
from rsnb.density.volume import DensityVolume, TileFrame
from rsnb.errors import InputError

FRAME = TileFrame(extent_m=8.0, ceiling_m=4.0)


def volume(columns, ground="plane", edges="hold", frame=FRAME):
    """Densities [S * S, D] (lowest slice first) of a tile of S x S columns."""
    columns = torch.as_tensor(np.asarray(columns, np.float64))
    size = round(len(columns) ** 0.5)
    sigma = columns.T.reshape(1, -1, size, size)
    return DensityVolume(sigma, torch.zeros(1, 3, size, size, dtype=torch.float64), frame, ground, edges)


def density_at(slices, step, edges, z):
    """np.interp over the slices' centres, in place of the closed forms."""
    centres = (np.arange(len(slices)) + 0.5) * step
    if edges == "fade":
        centres, slices = np.r_[-step / 2, centres, centres[-1] + step], np.r_[0, slices, 0]
    return np.interp(z, centres, slices)


def integrated(slices, step, edges, ceiling):
    """Expected height and optical depth above z, by adaptive quadrature between the knots."""
    top = ceiling + (step / 2 if edges == "fade" else 0)
    knots = (np.arange(len(slices)) + 0.5) * step

    def depth(z):
        inner = [k for k in knots if z < k < top]
        edges_of = [z, *inner, top]
        # the integrand is linear between knots: the trapezoid rule is exact
        return sum((density_at(slices, step, edges, a + 1e-12) + density_at(slices, step, edges, b - 1e-12)) / 2
                   * (b - a) for a, b in zip(edges_of[:-1], edges_of[1:], strict=True))

    bounds = [0.0, *knots, top]
    expected = sum(quad(lambda z: 1 - math.exp(-depth(z)), a, b, epsabs=1e-12, epsrel=1e-12)[0]
                   for a, b in zip(bounds[:-1], bounds[1:], strict=True))
    return expected, depth


@pytest.mark.parametrize("edges", ["hold", "fade"])
@pytest.mark.parametrize("ground", ["plane", "none", "slab"])
def test_against_quadrature(edges, ground):
    rng = np.random.default_rng(3)
    columns = rng.uniform(0, 3, (9, 5)) * (rng.random((9, 5)) < 0.6)
    columns[0] = 0
    columns[1] = 0.7  # constant: the flat branch
    columns[2] = [1e-9, 0, 1e-3, 0, 2e-9]  # thin
    columns[3] = [30, 0, 200, 0, 0]  # opaque
    found = volume(columns, ground, edges)
    slices = found.slices[0].flatten(1).T.numpy()
    answers = [integrated(column, found.slice_m, edges, 4.0) for column in slices]
    expected = np.array([height for height, _ in answers])
    np.testing.assert_allclose(height_map(found).flatten().numpy(), expected, atol=1e-8)
    for z in (0.0, 0.3, 1.9, 3.99):
        depths = [depth(z) for _, depth in answers]
        above = optical_depth_above(found, np.full((1, 3, 3), z))
        np.testing.assert_allclose(above.flatten(), depths, rtol=1e-9, atol=1e-12)
    # the median is where the opacity above passes one half; 0 where all of it does not reach that
    for median, (_, depth) in zip(height_map(found, "median").flatten().tolist(), answers, strict=True):
        if depth(0.0) < math.log(2):
            assert median == 0
        else:
            assert depth(median) == pytest.approx(math.log(2), rel=1e-6)


def test_fog_of_constant_density():
    fog = volume(np.full((1, 8), 0.5))
    # T(z) = exp(-0.5 (4 - z)): the integral of 1 - T over 0..4 is 4 - 2 (1 - e^-2)
    assert height_map(fog).item() == pytest.approx(4 - 2 * (1 - math.exp(-2)), abs=1e-10)
    # 0.5 x = ln 2 below the ceiling; a quarter of the light gone: 0.5 x = -ln 0.75
    assert height_map(fog, "median").item() == pytest.approx(4 - 2 * math.log(2), abs=1e-10)
    assert height_map(fog, "median", opacity=0.25).item() == pytest.approx(4 + 2 * math.log(0.75), abs=1e-10)
    assert height_map(volume(np.full((1, 8), 0.1)), "median").item() == 0  # 1 - e^-0.4 < 0.5: only the ground stops it
    assert (height_map(volume(np.zeros((4, 8)))) == 0).all()


def test_a_box_building_is_as_high_as_it_is():
    """Rows from the north: a 2.5 m box in the north-east cell alone."""
    columns = np.zeros((4, 8))
    columns[1, :5] = 1000  # slices 0..4 of 0.5 m: 0..2.5 m, cell (row 0, column 1)
    box = volume(columns)
    median, mean = height_map(box, "median")[0], height_map(box)[0]
    # from 2.75 (0) to 2.25 (1000): 1000 x^2 = ln 2 below 2.75, and the mean lies sqrt(pi / 4000) below it
    assert median[0, 1].item() == pytest.approx(2.75 - math.sqrt(math.log(2) / 1000), abs=1e-9)
    assert mean[0, 1].item() == pytest.approx(2.75 - math.sqrt(math.pi / 4000), abs=1e-9)
    for heights in (median, mean):
        assert (heights.flatten()[[0, 2, 3]] == 0).all()
    voxels = occupancy(box)[0]
    assert voxels[:5, 0, 1].all() and voxels.sum() == 5


def test_occupancy_counts_the_light_a_voxel_stops():
    # slices of 0.5 m: alpha 1 - e^(-0.5 s) is 0.5 at s = 1.386
    columns = np.array([[0, 1.3, 1.4, 0, 5, 0, 0, 0]])
    found = volume(columns)
    assert occupancy(found).flatten().tolist() == [False, False, True, False, True, False, False, False]
    assert occupancy(found, threshold=0.45).flatten().tolist()[1]  # e^-0.65 = 0.522: alpha 0.478
    assert column_filled(occupancy(found)).flatten().tolist() == [True] * 5 + [False] * 3
    # four slices of 1 m have their centres in slices 1, 3, 5, 7; sixteen have two in each
    assert occupancy(found, slices=4).flatten().tolist() == [False] * 4
    assert occupancy(found, slices=16).flatten().tolist() == [False] * 4 + [True] * 2 + [False] * 2 + [True] * 2 + [
        False] * 6


def test_the_slab_is_no_object_and_hides_none():
    """Columns: bare ground; a house from the ground up; a roof in the air, on the second slice above the slab."""
    columns = np.zeros((9, 8))
    columns[4], columns[5, 1] = 9.0, 9.0
    slab = volume(columns, ground="slab")
    found = occupancy(slab)[0].flatten(1).T.tolist()
    assert found[0] == [False] * 9 and found[4] == [True] * 9
    assert found[5] == [False, False, True, *[False] * 6]
    # on the grid of a truth with 8 slices the house is there down to the ground too
    truth = occupancy(volume(columns))
    as_truth = occupancy(slab, slices=8)[0].flatten(1).T.tolist()
    assert as_truth[4] == [True] * 8 == truth[0].flatten(1).T[4].tolist() and not any(as_truth[0])


@pytest.mark.parametrize("slices", [1, 7, 24])
def test_heights_become_a_solid_and_come_back(slices):
    frame = TileFrame(8.0, 12.0)
    step = 12 / slices
    heights = torch.linspace(0, 12, 400, dtype=torch.float64).reshape(1, 20, 20)
    solid = volume_from_heights(heights, torch.zeros(1, 3, 20, 20, dtype=torch.float64), frame, slices)
    back = height_map(solid, "median")
    low = heights < step / 4
    assert (back[low] == 0).all()
    assert ((back - heights).abs()[~low] <= step / 5).all()
    assert ((back - heights).abs()[~low] < 1e-6 * step).double().mean() > 0.6
    if slices > 1:
        # a voxel is filled where its centre is: what lies below the lowest centre alone is the exception
        centres = (torch.arange(slices) + 0.5)[:, None, None] * step
        assert torch.equal(occupancy(solid)[0, 1:], (heights >= centres)[1:])
    assert (height_map(volume_from_heights(torch.full((1, 4, 4), 99.0), torch.zeros(1, 3, 4, 4), frame, 6),
                       "median") > 11.5).all()  # clipped to the ceiling


def test_heights_as_published_are_coarse():
    """A 2.5 m box on a plane, rays of 8 m in steps of 0.5 m, each sample at the end of its step."""
    columns = np.zeros((16, 8))
    columns[[5, 6, 9, 10], :5] = 1000
    box = volume(columns)
    found = published_heights(box, samples=16)[0]
    assert (found[0].abs() < 1e-5).all()  # the plane is met where it is, not at a sample
    # the first sample with density is the one at 2.5 m: 0.5 m below the last free one
    assert found[1, 1].item() == pytest.approx(2.5, abs=1e-5)
    fine = published_heights(box, samples=800)[0]
    assert fine[1, 1].item() == pytest.approx(height_map(box)[0, 1, 1].item(), abs=0.02)
    # what is transparent looks high: half of the light of a thin fog ends nowhere above a ground that is not there
    fog = volume(np.full((1, 8), math.log(2) / 4), ground="none")
    assert published_heights(fog, samples=800).item() > 8 - 0.5 * 8 > height_map(fog).item()


def test_what_cannot_be_a_height_is_said():
    fine = volume(np.zeros((4, 3)))
    with pytest.raises(InputError, match="no height of kind 'mean'"):
        height_map(fine, "mean")
    with pytest.raises(InputError, match="opacity is 1"):
        height_map(fine, "median", opacity=1)
    bad = np.zeros((4, 3))
    bad[2, 1] = np.nan
    for wrong in (bad, bad * 0 - 1):
        with pytest.raises(InputError, match="negative, NaN or infinite"):
            height_map(volume(wrong))
    with pytest.raises(InputError, match=r"heights have shape \(5, 5\)"):
        optical_depth_above(fine, np.zeros((5, 5)))
    with pytest.raises(InputError, match="threshold is 0"):
        occupancy(fine, 0)
    with pytest.raises(InputError, match="slices is 0"):
        occupancy(fine, slices=0)
    with pytest.raises(InputError, match='ground="plane" or "none"'):
        volume_from_heights(np.zeros((1, 2, 2)), torch.zeros(1, 3, 2, 2), FRAME, 4, ground="slab")
