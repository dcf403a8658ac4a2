"""Films of optimisations, taken apart again by Pillow and PyAV."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from rsnb.errors import InputError
from rsnb.products.progress import MARGIN, ProgressFrame, ProgressOptions, write_progress

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def run(steps, levels, pace=1.0, psnr=None):
    """Moments whose picture is of one grey: step and level tell which moment a pane shows."""
    psnr = [20 + 10 * level for level in levels] if psnr is None else psnr
    return [ProgressFrame(step, step * pace, value, np.full((3, 40, 64), level, np.float32))
            for step, level, value in zip(steps, levels, psnr, strict=True)]


def film(path):
    """[N, H, W, 3] uint8 and the duration of each picture, ms."""
    with Image.open(path) as picture:
        frames, times = [], []
        for i in range(picture.n_frames):
            picture.seek(i)
            frames.append(np.asarray(picture.convert("RGB")))
            times.append(picture.info["duration"])
    return np.stack(frames), times


def pane_levels(frames, pane):
    """The grey in the middle of a pane of 256 x 160 pixels."""
    x = MARGIN + pane * (256 + MARGIN)
    return frames[:, 100:150, x + 50 : x + 200].mean(axis=(1, 2, 3)) / 255


def test_panes_show_the_same_step(tmp_path):
    runs = {"with CSI": run([1, 2, 4], [0.2, 0.4, 0.6]), "from scratch": run([2, 3], [0.5, 0.9])}
    frames, times = film(write_progress(tmp_path / "p.gif", runs, ProgressOptions(seconds=2, hold=0)))
    # steps 1, 2, 3, 4: the latest moment not after; nothing (light grey) before the first, the last from then on
    assert np.abs(pane_levels(frames, 0) - [0.2, 0.4, 0.4, 0.6]).max() < 0.02
    assert np.abs(pane_levels(frames, 1) - [0.93, 0.5, 0.9, 0.9]).max() < 0.02
    assert sum(times) == 2000


def test_panes_show_the_same_second(tmp_path):
    # ten seconds a step on the left, one on the right: at 10 s the right one is done
    runs = {"slow": run([1, 2], [0.2, 0.4], pace=10.0), "fast": run([1, 2], [0.5, 0.9])}
    frames, _ = film(write_progress(tmp_path / "p.gif", runs, ProgressOptions(clock="seconds", hold=0)))
    assert np.abs(pane_levels(frames, 0) - [0.93, 0.93, 0.2, 0.4]).max() < 0.02
    assert np.abs(pane_levels(frames, 1) - [0.5, 0.9, 0.9, 0.9]).max() < 0.02


def coloured(frames, rgb):
    """For each picture of the film: the columns of the chart that hold the colour of a run."""
    chart = frames[:, 230:].astype(int)
    return [np.flatnonzero((np.abs(picture - rgb).max(axis=-1) < 40).any(axis=0)) for picture in chart]


def test_curves_grow_in_the_colour_of_their_run(tmp_path):
    runs = {"a": run(range(1, 9), np.linspace(0.1, 0.3, 8)), "b": run(range(4, 9), np.linspace(0.5, 0.9, 5))}
    frames, _ = film(write_progress(tmp_path / "p.gif", runs, ProgressOptions(hold=0)))
    left, right = coloured(frames, BLUE), coloured(frames, ORANGE)
    ends = [columns.max() for columns in left]
    assert all(np.diff(ends) > 20)  # to the right, by an eighth of the axis a step
    assert [len(columns) > 0 for columns in right] == [False] * 3 + [True] * 5
    # the axis begins 34 pixels right of the margin and ends 8 left of the other: step 8 at its end
    width = frames.shape[2] - 2 * MARGIN
    assert abs(ends[-1] - (MARGIN + width - 8)) < 6 and abs(left[0].min() - (MARGIN + 34 + (width - 42) / 8)) < 6
    # the better run's curve is higher up
    rows = [np.flatnonzero((np.abs(frames[-1, 230:].astype(int) - rgb).max(axis=-1) < 40).any(axis=1)).mean()
            for rgb in (BLUE, ORANGE)]
    assert rows[1] < rows[0]


def test_numbers_and_names_are_written(tmp_path):
    runs = {"with CSI": run([1, 2], [0.2, 0.2], psnr=[20.0, 20.0]), "x" * 200: run([1, 2], [0.2, 0.2])}
    frames, _ = film(write_progress(tmp_path / "p.gif", runs, ProgressOptions(hold=0)))
    name, facts = slice(6, 26), slice(26, 46)
    assert (np.abs(frames[0, name, 12:268].astype(int) - BLUE).max(axis=-1) < 60).sum() > 100
    assert (frames[0, facts, 12:268].max(axis=-1) < 90).sum() > 100
    assert (frames[0, facts] != frames[1, facts]).any()  # the step's number
    # a name longer than its pane is cut: the margin right of it stays white
    assert (frames[:, :46, -MARGIN:] > 245).all() and (frames[:, :46, 268 : 268 + MARGIN] > 245).all()


def test_truth_is_a_last_pane_and_the_film_is_held(tmp_path):
    runs = {"a": run([1, 2], [0.2, 0.4])}
    options, truth = ProgressOptions(seconds=1, hold=1.5), np.full((3, 40, 64), 0.7)
    path = write_progress(tmp_path / "p.mp4", runs, options, truth)
    with av.open(str(path)) as file:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
        assert float(file.streams.video[0].average_rate) == 2
    assert len(frames) == 2 + 3 and np.abs(pane_levels(frames, 1) - 0.7).max() < 0.02
    assert np.abs(pane_levels(frames, 0) - [0.2, 0.4, 0.4, 0.4, 0.4]).max() < 0.02


def test_long_runs_are_thinned_and_keep_their_end(tmp_path):
    runs = {"a": run(range(1, 101), np.linspace(0.0, 0.99, 100))}
    frames, _ = film(write_progress(tmp_path / "p.gif", runs, ProgressOptions(pictures=5, hold=0)))
    assert np.abs(pane_levels(frames, 0) - [0.0, 0.25, 0.5, 0.74, 0.99]).max() < 0.03


@pytest.mark.parametrize(("runs", "message"), [
    ({}, "0 runs"), ({"a": []}, "without a moment"), ({"a": run([2, 1], [0, 1])}, "order"),
    ({"a": run([1], [0.5], psnr=[np.nan])}, "finite"), ({"a": run([1], [0.5]), "b": [
        ProgressFrame(1, 1.0, 20.0, np.zeros((3, 40, 65)))]}, "picture 0 of 'b'"),
    ({str(i): run([1], [0.5]) for i in range(5)}, "5 runs")],
    ids=["none", "empty", "order", "nan", "size", "five"])
def test_bad_input_leaves_nothing(tmp_path, runs, message):
    with pytest.raises(InputError, match=message):
        write_progress(tmp_path / "p.gif", runs)
    with pytest.raises(InputError, match="avi"):
        write_progress(tmp_path / "p.avi", {"a": run([1], [0.5])})
    with pytest.raises(InputError, match="true picture"):
        write_progress(tmp_path / "p.gif", {"a": run([1], [0.5])}, truth=np.zeros((3, 9, 9)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [dict(clock="hours"), dict(pane=8), dict(pictures=0), dict(seconds=0),
                                     dict(hold=-1)], ids=lambda options: next(iter(options)))
def test_bad_options_are_named(options):
    with pytest.raises(InputError, match=f"ProgressOptions.{next(iter(options))}"):
        ProgressOptions(**options)
