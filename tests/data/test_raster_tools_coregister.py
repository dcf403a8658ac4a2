"""Shifts of scenes that are known as functions, so that the truth has no interpolation in it."""

from __future__ import annotations

import numpy as np
import pytest

from rsnb.data.raster_tools.coregister import coregister, find_shift, shift_image
from rsnb.errors import InputError
from rsnb.scenes import DatedStack

SIZE = (96, 110)


def scene(rows=0.0, cols=0.0, seed=0, size=SIZE):
    """A sum of waves of 4 to 60 pixels, sampled at (r - rows, c - cols): its content lies rows below and cols right."""
    rng = np.random.default_rng(seed)
    r, c = np.mgrid[: size[0], : size[1]].astype(float)
    r, c = r - rows, c - cols
    out = np.zeros(size)
    for _ in range(60):
        period = np.exp(rng.uniform(np.log(4), np.log(60)))
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        out += period**0.7 * np.cos(2 * np.pi * (r * np.sin(angle) + c * np.cos(angle)) / period + phase)
    return 0.2 + 0.01 * out


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.45), (-1.27, 2.6), (4.5, 3.25), (-7.9, -6.1)])
def test_known_shifts_without_noise(shift):
    found = find_shift(scene(*shift), scene())
    assert np.hypot(found.rows - shift[0], found.cols - shift[1]) < 0.01 and found.trusted


def test_with_noise_another_radiometry_and_clouds():
    worst = 0.0
    for seed, shift in enumerate([(0.3, -0.45), (-1.27, 2.6), (2.5, 1.5), (0.05, 0.1)]):
        rng = np.random.default_rng(seed)
        fixed, moving = scene(seed=seed), scene(*shift, seed=seed)
        spread = fixed.std()
        moving = 1.3 * moving + 0.05 + rng.normal(0, 0.02 * spread, SIZE)
        clear = np.ones(SIZE, bool)
        clear[20:70, 30:90] = False  # 28 % of the picture
        moving[~clear] = 0.9 + rng.normal(0, 0.05, 3000)
        found = find_shift(moving, fixed, clear)
        worst = max(worst, float(np.hypot(found.rows - shift[0], found.cols - shift[1])))
        assert found.trusted
    assert worst < 0.03


def test_masked_clouds_have_no_influence():
    fixed, moving = scene(), scene(0.6, 0.4)
    clear = np.ones(SIZE, bool)
    clear[:40] = False
    results = []
    for seed in (0, 1):
        cloudy = np.where(clear, moving, np.random.default_rng(seed).random(SIZE) * (seed + 1) * 5)
        results.append(find_shift(cloudy, fixed, clear))
    assert np.hypot(results[0].rows - results[1].rows, results[0].cols - results[1].cols) < 1e-3
    # the same clouds taken for ground are what the mask is for
    believed = find_shift(cloudy, fixed)
    assert not believed.trusted or np.hypot(believed.rows - 0.6, believed.cols - 0.4) > 0.05


def test_moving_back_gives_the_scene():
    moved = shift_image(scene(1.4, -2.3), 1.4, -2.3)
    inner = slice(8, -8)
    error = np.abs(moved - scene())[inner, inner]
    assert np.sqrt((error**2).mean()) < 0.01 * scene().std()
    assert np.array_equal(shift_image(scene(), 0, 0), scene().astype(np.float32))
    # three rows down: what was row 3 is row 0, and the last three are not seen
    rows = shift_image(scene(), 3, 0, order=0)
    assert np.array_equal(rows[:-3], scene()[3:].astype(np.float32)) and np.isnan(rows[-3:]).all()


def test_holes_do_not_ring():
    picture = scene()
    picture[40:50, 40:60] = np.nan
    moved = shift_image(picture, 0.5, 0.5)
    assert np.isnan(moved[41:48, 41:58]).all() and np.isfinite(moved[30, 30])
    near = np.abs(moved - shift_image(scene(), 0.5, 0.5))[:38]
    assert np.nanmax(near) < 0.05 * scene().std()


def test_pictures_that_have_nothing_in_common():
    rng = np.random.default_rng(9)
    assert not find_shift(rng.random(SIZE), rng.random(SIZE)).trusted
    assert not find_shift(np.ones(SIZE), scene()).trusted
    far = find_shift(scene(0, 25.0), scene(), max_shift=5)
    assert max(abs(far.rows), abs(far.cols)) <= 5


def test_a_stack_is_laid_over_one_frame():
    shifts = [(0.3, -0.2), (0.0, 0.0), (-0.8, 1.1)]
    images = np.stack([np.stack([scene(*s), 2 * scene(*s)]) for s in shifts]).astype(np.float32)
    clear = np.ones((3, *SIZE), bool)
    clear[0, 10:30, 10:30], clear[2, :20] = False, False
    stack = DatedStack(images, np.array(["2020-01-01", "2020-01-06", "2020-02-01"], "datetime64[s]"), ("a", "b"), clear,
                       (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), "EPSG:32633", ("x", "y", "z"))
    moved, found = coregister(stack)
    assert np.abs(np.array([(s.rows, s.cols) for s in found]) - shifts).max() < 0.02
    both = moved.clear[0] & moved.clear[1] & moved.clear[2]
    both[:6], both[-6:], both[:, :6], both[:, -6:] = False, False, False, False
    assert both.sum() > 4000
    before = np.abs(stack.images[2] - stack.images[1])[:, both].mean()
    assert np.abs(moved.images[2] - moved.images[1])[:, both].mean() < 0.02 * before
    assert np.array_equal(moved.images[1], stack.images[1])
    picture, _ = coregister(stack, images[1])
    assert np.allclose(picture.images[2][:, both], moved.images[2][:, both], atol=1e-3)


@pytest.mark.parametrize("call, what", [
    (lambda: find_shift(np.ones((20, 20)), np.ones((20, 21))), "size"),
    (lambda: find_shift(np.ones((8, 8)), np.ones((8, 8))), "16"),
    (lambda: find_shift(scene(), scene(), np.zeros(SIZE, bool)), "64"),
])
def test_bad_arguments_are_named(call, what):
    with pytest.raises(InputError, match=what):
        call()


def test_real_frames_agree_after_a_known_move(real):
    """A real frame moved by spline is found again although the other frame is of another date."""
    from rsnb.data.earth.worldstrat import read_worldstrat

    stack = read_worldstrat(real("nb6_temporal/worldstrat_Landcover-14956"), bands=("red", "nir")).stack
    for i in range(1, 5):
        base = find_shift(stack.images[i], stack.images[0], stack.clear[i], stack.clear[0])
        moved = shift_image(stack.images[i], -0.7, 0.4)
        clear = stack.clear[i] & np.isfinite(moved).all(axis=0)
        found = find_shift(moved, stack.images[0], clear, stack.clear[0])
        assert base.trusted and found.rows - base.rows == pytest.approx(0.7, abs=0.05)
        assert found.cols - base.cols == pytest.approx(-0.4, abs=0.05)
