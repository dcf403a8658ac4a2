"""Resampling in space against Pillow, in time against hand calculation, scipy and known answers of real frames."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.interpolate import interp1d

from rsnb.data.earth.worldstrat import list_worldstrat, read_worldstrat
from rsnb.data.raster_tools.resample import resample_images, resample_space
from rsnb.data.raster_tools.temporal import resample_time, shifted_dates
from rsnb.errors import InputError
from rsnb.metrics import psnr
from rsnb.scenes import DatedStack

PIL_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR,
               "average": Image.Resampling.BOX, "nearest": Image.Resampling.NEAREST}


def series(values, days, clear=None, size=(1, 1)):
    """[T] numbers (or [T, B, H, W]) at whole days after 2020-01-01."""
    images = np.asarray(values, np.float32)
    if images.ndim == 1:
        images = np.broadcast_to(images[:, None, None, None], (len(images), 1, *size)).copy()
    dates = np.datetime64("2020-01-01T00:00:00") + np.asarray(days) * np.timedelta64(86400, "s")
    clear = np.ones((len(images), *images.shape[-2:]), bool) if clear is None else clear
    return DatedStack(images, dates, tuple(f"b{i}" for i in range(images.shape[1])), clear,
                      (10.0, 0.0, 500.0, 0.0, -20.0, 900.0), "EPSG:32633", tuple(map(str, days)))


def on_day(day):
    return np.datetime64("2020-01-01T00:00:00") + np.timedelta64(round(day * 86400), "s")


@pytest.mark.parametrize("method", PIL_FILTERS)
@pytest.mark.parametrize("size", [(37, 53), (161, 155), (12, 9), (314, 314)])
def test_equals_pillow(method, size):
    picture = np.random.default_rng(0).random((53, 61), np.float32)
    ours = resample_images(picture, *size, method=method)
    pillow = np.asarray(Image.fromarray(picture, "F").resize(size[::-1], PIL_FILTERS[method]))
    assert np.abs(ours - pillow).max() < 2e-6


def test_corners_stay():
    stack = series(np.arange(2.0), [0, 5], size=(4, 6))
    finer = resample_space(stack, 2.5)
    # 4 x 6 pixels of 20 x 10 m are 10 x 15 pixels of 8 x 4 m, from the same corner
    assert finer.images.shape == (2, 1, 10, 15) and finer.transform == (4.0, 0.0, 500.0, 0.0, -8.0, 900.0)
    other = resample_space(stack, size=(4, 5))
    assert other.transform == (12.0, 0.0, 500.0, 0.0, -20.0, 900.0)


def test_a_ramp_stays_a_ramp_at_its_own_place():
    # value = x of the pixel's centre; whatever the scale, a finer pixel must read its own centre's x
    ramp = np.tile(np.arange(20) + 0.5, (4, 1))
    for n in (33, 50, 47):
        got = resample_images(ramp, 4, n, method="bilinear")[0]
        expected = (np.arange(n) + 0.5) * 20 / n
        inner = slice(n // 10, -(n // 10))
        assert np.abs(got[inner] - expected[inner]).max() < 1e-5


def test_missing_pixels_do_not_spread():
    picture = np.ones((8, 8))
    picture[3, 3] = np.nan
    halved = resample_images(picture, 4, 4, method="average")
    assert np.array_equal(halved, np.ones((4, 4)))  # a pixel of which three quarters are there
    picture[2:4, 2:4] = np.nan
    halved = resample_images(picture, 4, 4, method="average")
    assert np.isnan(halved[1, 1]) and np.isfinite(halved).sum() == 15
    clouded = series(np.ones(1), [0], size=(4, 4))
    clouded.clear[0, :2, :2] = False
    assert resample_space(clouded, 0.5).clear[0].tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("call, what", [
    (lambda s: resample_space(s), "either"), (lambda s: resample_space(s, 2, size=(3, 3)), "either"),
    (lambda s: resample_space(s, -1), "scale"), (lambda s: resample_space(s, 2, method="lanczos"), "lanczos"),
    (lambda s: resample_time(s, ["2020-01-01"], "cubic"), "cubic"), (lambda s: resample_time(s, []), "no date"),
    (lambda s: resample_time(s, ["soon"]), "soon"), (lambda s: resample_time(s, ["2020-01-01"], "harmonic", 9), "9"),
])
def test_bad_arguments_are_named(call, what):
    with pytest.raises(InputError, match=what):
        call(series(np.ones(2), [0, 3]))


def test_linear_by_days_and_not_by_index():
    stack = series([1.0, 2.0, 7.0], [0, 10, 12])
    at = resample_time(stack, [on_day(0), on_day(2.5), on_day(11), on_day(12)]).stack.images[:, 0, 0, 0]
    # between day 0 and 10: 1 + 2.5 / 10; half-way between day 10 and 12: 4.5
    assert at.tolist() == [1.0, 1.25, 4.5, 7.0]


@pytest.mark.parametrize("method", ["linear", "nearest", "previous"])
def test_equals_scipy_where_all_is_clear(method):
    rng = np.random.default_rng(3)
    days = np.sort(rng.choice(200, 9, replace=False))
    stack = series(rng.random((9, 2, 3, 4)), days)
    wanted = np.sort(rng.uniform(days[0], days[-1], 40))
    kind = {"nearest": "nearest"}.get(method, method)
    oracle = interp1d(days - days[0], stack.images, axis=0, kind=kind)(wanted - days[0])
    ours = resample_time(stack, [on_day(d) for d in wanted], method).stack.images
    assert np.abs(ours - oracle).max() < 1e-4


def test_clouds_are_bridged():
    clear = np.ones((3, 1, 2), bool)
    clear[1, 0, 0] = False
    stack = series([0.0, 100.0, 4.0], [0, 1, 4], clear, size=(1, 2))
    got = resample_time(stack, [on_day(1), on_day(2)])
    # left pixel: day 0 to day 4 across the cloud, 0 + 4 / 4; right pixel: the look on day 1, then 100 to 4 in 3 days
    assert got.stack.images[0, 0, 0].tolist() == [1.0, 100.0]
    assert got.stack.images[1, 0, 0].tolist() == [2.0, 68.0]
    assert got.gap_days[:, 0].tolist() == [[4.0, 0.0], [4.0, 3.0]] and not got.extrapolated.any()


def test_a_look_is_given_back_and_a_cloud_never_is():
    rng = np.random.default_rng(5)
    stack = series(rng.random((6, 3, 5, 5)), [0, 3, 4, 9, 20, 21], rng.random((6, 5, 5)) > 0.3)
    got = resample_time(stack, stack.dates).stack
    clear = np.broadcast_to(stack.clear[:, None], got.images.shape)
    assert np.array_equal(got.images[clear], stack.images[clear])
    spoilt = series(np.where(clear, stack.images, np.nan), [0, 3, 4, 9, 20, 21], stack.clear)
    assert np.array_equal(resample_time(spoilt, stack.dates).stack.images, got.images, equal_nan=True)


def test_beyond_the_looks_is_flagged():
    clear = np.array([False, True, True, False])[:, None, None]
    stack = series([9.0, 1.0, 2.0, 9.0], [0, 5, 7, 9], clear)
    got = resample_time(stack, [on_day(d) for d in (1, 5, 6, 8)])
    assert got.stack.images[:, 0, 0, 0].tolist() == [1.0, 1.0, 1.5, 2.0]
    assert got.extrapolated[:, 0, 0].tolist() == [True, False, False, True]
    never = series([1.0, 2.0], [0, 1], np.zeros((2, 1, 1), bool))
    got = resample_time(never, [on_day(0.5)])
    assert np.isnan(got.stack.images).all() and not got.stack.clear.any() and got.extrapolated.all()


def test_mean_counts_clear_looks_only():
    clear = np.array([True, False, True])[:, None, None]
    got = resample_time(series([1.0, 50.0, 4.0], [0, 1, 2], clear), [on_day(1)], "mean")
    assert got.stack.images[0, 0, 0, 0] == 2.5


def test_harmonic_recovers_a_year():
    days = np.array([3, 40, 77, 100, 160, 171, 230, 301, 350, 420, 500, 610, 700])
    wave = lambda d: 0.3 + 0.1 * np.cos(2 * np.pi * (d - 200) / 365.25) + 2e-5 * d  # noqa: E731
    rng = np.random.default_rng(0)
    clear = rng.random((len(days), 4, 4)) > 0.2
    values = np.where(clear[:, None], wave(days)[:, None, None, None], 1.5).astype(np.float32)
    got = resample_time(series(values, days, clear), [on_day(d) for d in (60, 250, 450)], "harmonic").stack.images
    for i, day in enumerate((60, 250, 450)):
        assert np.abs(got[i] - wave(day)).max() < 2e-3  # the ridge costs a thousandth
    few = series([1.0, 3.0], [0, 10])
    assert resample_time(few, [on_day(5)], "harmonic").stack.images[0, 0, 0, 0] == 2.0


def test_published_answers_of_the_prepared_frames(real):
    """Frame 3 from frames 2 and 4 of nine places: 25.64 dB linear by dates, 24.74 plain mean, 24.72 nearest."""
    root = real("nb6_temporal/worldstrat_rgb5")
    scores = {"linear": [], "mean": [], "nearest": [], "turned": []}
    for place in list_worldstrat(root):
        stack = read_worldstrat(root, place.name).stack
        pair = stack.subset([1, 3])
        for method in ("linear", "mean", "nearest"):
            guess = resample_time(pair, [stack.dates[2]], method).stack.images[0]
            scores[method].append(psnr(guess, stack.images[2]))
        turned = resample_time(shifted_dates(pair, [1, 0]), [stack.dates[2]], "linear").stack.images[0]
        scores["turned"].append(psnr(turned, stack.images[2]))
    mean = {k: np.mean(v) for k, v in scores.items()}
    assert mean["linear"] == pytest.approx(25.64, abs=0.006)
    assert mean["mean"] == pytest.approx(24.74, abs=0.006)
    assert mean["nearest"] == pytest.approx(24.72, abs=0.006)
    assert mean["turned"] < mean["mean"]  # dates the wrong way round are worse than none


def test_published_answers_of_all_interior_frames(real):
    """Each interior frame from the others at full and at half size: 25.38 and 24.99 dB linear in time."""
    root = real("nb6_temporal/worldstrat_rgb5")
    full, half = [], []
    for place in list_worldstrat(root):
        stack = read_worldstrat(root, place.name).stack
        for i in (1, 2, 3):
            others = stack.subset([k for k in range(5) if k != i])
            guess = resample_time(others, [stack.dates[i]]).stack.images[0]
            full.append(psnr(np.clip(guess, 0, 1), stack.images[i]))
            h, w = stack.images.shape[-2:]
            small = resample_space(others, size=(round(h / 2), round(w / 2)))
            guess = resample_space(resample_time(small, [stack.dates[i]]).stack, size=(h, w)).images[0]
            half.append(psnr(np.clip(guess, 0, 1), stack.images[i]))
    assert np.mean(full) == pytest.approx(25.38, abs=0.02) and np.mean(half) == pytest.approx(24.99, abs=0.05)
