"""Films of colour and depth, taken apart again by PyAV."""

from __future__ import annotations

import gc
import weakref

import av
import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.products.track_video import cubehelix, depth_rgb, write_track_video


def film(path):
    with av.open(path) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def frame(level=0.5, depth=2.0, height=130, width=180):
    return np.full((3, height, width), level, np.float32), np.full((height, width), depth, np.float32)


def test_brightness_rises_towards_the_near_end():
    table = cubehelix()
    assert table.shape == (256, 3) and table.min() >= 0 and table.max() <= 1
    luma = table @ [0.30, 0.59, 0.11]  # the weights that the formula's turning leaves alone
    assert (np.diff(luma) > 0).all()
    assert np.abs(luma - np.linspace(0.06, 0.94, 256)).max() < 0.02  # and evenly, but for what is clipped
    # by hand, without rotation: l = 1/2, start 3/2 makes the angle 3 pi: cos -1, sin 0; a = 1/8
    middle = cubehelix(1.5, 0.0, 1.0, (0.5, 0.5))[0]
    assert np.abs(middle - [0.5 + 0.14861 / 8, 0.5 + 0.29227 / 8, 0.5 - 1.97294 / 8]).max() < 1e-12


def test_depth_colours_are_even_in_inverse_depth():
    table = cubehelix()
    # 1/z halfway between 1/1 and 1/3 is 2/3: z = 1.5; beyond the range the ends, no depth is grey
    got = depth_rgb(np.array([[1.0, 1.5, 3.0, 0.5, 99.0, np.nan, 0.0, np.inf, -1.0]]), 1.0, 3.0)[:, 0].T
    assert np.allclose(got[:5], table[[255, 128, 0, 255, 0]], atol=0.006)
    assert (got[5:] == 0.35).all()


def test_colour_left_depth_right_and_a_key_below(tmp_path):
    frames = [frame(0.2 + 0.1 * i, 1.0 + i) for i in range(3)]
    seen = film(write_track_video(tmp_path / "t.mp4", frames, 1.0, 3.0, fps=5, unit="m")) / 255
    assert seen.shape == (3, 2 * 130 + 24, 2 * 2 * 180, 3)  # enlarged twice to reach 256 rows
    for i in range(3):
        assert np.abs(seen[i, 20:240, 20:340] - (0.2 + 0.1 * i)).max() < 0.03
        assert np.abs(seen[i, 20:240, 380:700].mean((0, 1)) - depth_rgb([[1.0 + i]], 1, 3)[:, 0, 0]).max() < 0.04
    key = seen[0, 262:, 360:]
    lit = np.flatnonzero(key[10].max(axis=-1) > 0.2)
    assert len(lit) > 150  # numbers and a bar of colours
    light = key[10, 120:280].mean(axis=-1)
    assert light[:10].mean() > light[-10:].mean() + 0.3  # near is light, and left
    with av.open(str(tmp_path / "t.mp4")) as file:
        assert float(file.streams.video[0].average_rate) == 5


def test_without_depth_there_is_colour_alone(tmp_path):
    seen = film(write_track_video(tmp_path / "t.mp4", [(frame(0.6)[0], None)] * 2, 1, 2, min_side=1))
    assert seen.shape == (2, 130, 180, 3) and np.abs(seen / 255 - 0.6).max() < 0.03


def test_frames_are_taken_one_by_one(tmp_path):
    """Whatever the film's length, no more than a few frames of it are alive at once."""
    alive, most = weakref.WeakSet(), []

    class Tracked(np.ndarray):
        pass

    def frames():
        for i in range(40):
            rgb = frame(i / 40, height=32, width=32)[0].view(Tracked)
            alive.add(rgb)
            gc.collect() if i % 10 == 0 else None
            most.append(len(alive))
            yield rgb, frame(height=32, width=32)[1]
            del rgb

    Tracked.__hash__ = object.__hash__
    Tracked.__eq__ = object.__eq__
    assert len(film(write_track_video(tmp_path / "t.mp4", frames(), 1, 3, min_side=1))) == 40
    assert max(most) <= 3


@pytest.mark.parametrize(("frames", "near", "far", "message"), [
    ([], 1, 2, "no frames"), ([frame()], 2, 1, "range"), ([frame()], 0, 1, "range"),
    ([frame(), (frame()[0], None)], 1, 2, "frame 1"), ([(frame()[0][:2], None)], 1, 2, "frame 0"),
    ([frame(), frame(height=100)], 1, 2, "frame 1"), ([(frame()[0], np.ones((3, 3)))], 1, 2, "frame 0")],
    ids=["none", "reversed", "zero", "depth missing", "channels", "size", "depth size"])
def test_bad_input_leaves_nothing(tmp_path, frames, near, far, message):
    with pytest.raises(InputError, match=message):
        write_track_video(tmp_path / "t.mp4", frames, near, far)
    assert not list(tmp_path.iterdir())
