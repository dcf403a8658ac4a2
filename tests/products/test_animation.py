"""Films of dated frames, taken apart again by Pillow and PyAV."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from rsnb.errors import InputError
from rsnb.products.animation import AnimationOptions, frame_counts, write_animation

PLAIN = dict(label="", timeline=False)
DATES = ["2020-01-01", "2020-01-11", "2020-02-10"]


def grey(levels, height=40, width=60):
    """[T, 3, H, W] of constant grey."""
    return np.broadcast_to(np.array(levels, np.float32)[:, None, None, None], (len(levels), 3, height, width))


def film(path):
    """[N, H, W, 3] pictures of an MP4."""
    with av.open(path) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def test_a_frame_stays_until_the_next_date():
    # gaps of 10, 30 and (the last, as the mean) 20 days in 6 s of 10 pictures: 10 / 60, 30 / 60 and 20 / 60 of 60
    options = AnimationOptions(seconds=6, fps=10)
    assert frame_counts(DATES, options) == [10, 30, 20]
    even = AnimationOptions(seconds=6, fps=10, pacing="even")
    assert frame_counts(DATES, even) == [20, 20, 20]
    # dates on one day, or more frames than pictures: each is shown all the same
    assert min(frame_counts(["2020-01-01"] * 3 + ["2020-12-01"], AnimationOptions(seconds=1, fps=2))) == 1
    assert frame_counts(["2020-01-01"], options) == [60]


def test_pacing_in_the_film(tmp_path):
    options = AnimationOptions(seconds=2.4, fps=10, **PLAIN)
    path = write_animation(tmp_path / "a.mp4", grey([0.1, 0.5, 0.9]), DATES, options)
    levels = film(path).mean(axis=(1, 2, 3)) / 255
    assert len(levels) == 24
    assert np.abs(levels - np.repeat([0.1, 0.5, 0.9], [4, 12, 8])).max() < 0.02


def test_gif_keeps_the_time_of_each_frame(tmp_path):
    options = AnimationOptions(seconds=2.4, fps=10, **PLAIN)
    path = write_animation(tmp_path / "a.gif", grey([0.1, 0.5, 0.9]), DATES, options)
    durations = {}
    with Image.open(path) as picture:
        for i in range(picture.n_frames):
            picture.seek(i)
            level = round(np.asarray(picture.convert("L")).mean() / 25.5)
            durations[level] = durations.get(level, 0) + picture.info["duration"]
    assert durations == {1: 400, 5: 1200, 9: 800}


def test_blending_goes_through_the_days_between(tmp_path):
    options = AnimationOptions(seconds=2, fps=10, blend=True, **PLAIN)
    path = write_animation(tmp_path / "a.mp4", grey([0.2, 0.8]), ["2020-01-01", "2020-01-11"], options)
    levels = film(path).mean(axis=(1, 2, 3)) / 255
    # ten pictures to the second date: 0.2 + 0.6 k / 10, then the last stays
    assert np.abs(levels[:10] - (0.2 + 0.06 * np.arange(10))).max() < 0.02 and np.abs(levels[10:] - 0.8).max() < 0.02


def test_date_and_name_are_stamped(tmp_path):
    frames, dates = grey([0.5, 0.5], 80, 160), ["2020-01-01", "2020-07-09"]
    options = AnimationOptions(seconds=1, fps=2, pacing="even", timeline=False, label="{date} {name}")
    with_names = film(write_animation(tmp_path / "a.mp4", frames, dates, options, names=["x", "y"]))
    options = AnimationOptions(seconds=1, fps=2, pacing="even", **PLAIN)
    bare = film(write_animation(tmp_path / "b.mp4", frames, dates, options))
    assert with_names.shape == bare.shape == (2, 80, 160, 3)
    changed = np.abs(with_names.astype(int) - bare).max(axis=-1) > 40
    assert changed[0, :30, :110].sum() > 60 and not changed[:, 40:].any()  # in the upper left corner alone
    assert (changed[0] != changed[1]).sum() > 10  # other digits


def test_timeline_marks_the_dates_where_they_lie_in_time(tmp_path):
    frames = grey([0.2, 0.2, 0.2], 90, 200)
    options = AnimationOptions(seconds=3, fps=1, pacing="even", label="")
    seen = film(write_animation(tmp_path / "a.mp4", frames, DATES, options))
    marks = []
    for picture in seen.astype(int):
        marks.append(np.flatnonzero((picture.min(axis=-1) > 200).any(axis=0)).mean())
    # inset 8 of 200: dates at 0, 1/4 and 1 of the 184 pixels between
    assert np.abs(np.array(marks) - [8, 54, 192]).max() < 2.5


def test_enlarged_pixels_stay_squares(tmp_path):
    frame = np.zeros((1, 3, 8, 8), np.float32)
    frame[0, :, 2, 3] = 1
    path = write_animation(tmp_path / "a.gif", frame, ["2020-01-01"], AnimationOptions(scale=10, seconds=0.1, **PLAIN))
    with Image.open(path) as picture:
        got = np.asarray(picture.convert("L"))
    assert got.shape == (80, 80) and got[20:30, 30:40].min() > 250 and got.astype(int).sum() == 100 * 255


def test_missing_pixels_are_black(tmp_path):
    frames = grey([0.5, 0.5]).copy()
    frames[0, :, :20] = np.nan
    got = film(write_animation(tmp_path / "a.mp4", frames, ["2020-01-01", "2020-01-02"],
                               AnimationOptions(seconds=1, fps=2, **PLAIN)))
    assert got[0, :18].max() < 12 and got[0, 24:].min() > 115


@pytest.mark.parametrize("frames, dates, options, what", [
    (grey([]), [], {}, "T > 0"), (grey([1, 1])[:, :1], ["2020-01-01"] * 2, {}, "3"),
    (grey([1, 1]), ["2020-01-01"], {}, "dates"),
    (grey([1, 1]), ["2020-02-01", "2020-01-01"], {}, "order"), (grey([1]), ["soon"], {}, "dates"),
    (grey([1]), ["2020-01-01"], dict(scale=0), "scale"), (grey([1]), ["2020-01-01"], dict(fps=0), "fps"),
    (grey([1]), ["2020-01-01"], dict(scale=100), "4096"), (grey([1]), ["2020-01-01"], dict(pacing="fast"), "pacing"),
    (grey([1]), ["2020-01-01"], dict(label="{day}"), "label.*{date} and {name}"),
    (grey([1]), ["2020-01-01"], dict(label="{"), "no label")])
def test_bad_input_is_named_and_leaves_nothing(tmp_path, frames, dates, options, what):
    with pytest.raises(InputError, match=what):
        write_animation(tmp_path / "a.gif", frames, dates, AnimationOptions(**options))
    with pytest.raises(InputError, match="2 names for 1 frames"):
        write_animation(tmp_path / "a.gif", grey([1]), ["2020-01-01"], names=["a", "b"])
    with pytest.raises(InputError, match="avi"):
        write_animation(tmp_path / "a.avi", grey([1]), ["2020-01-01"])
    assert not list(tmp_path.iterdir())
