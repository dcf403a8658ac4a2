import av
import numpy as np
import pytest
from PIL import Image

from rsnb.errors import InputError
from rsnb.products import write_video


def frames(n, height=48, width=64):
    for i in range(n):
        yield np.full((3, height, width), i / (n - 1), np.float32)


def test_mp4_has_every_frame_in_order(tmp_path):
    with av.open(write_video(tmp_path / "v.mp4", frames(6, 49, 65), fps=5)) as file:
        decoded = [frame.to_ndarray(format="gray").mean() for frame in file.decode(video=0)]
        assert file.streams.video[0].codec_context.name == "h264" and float(file.streams.video[0].average_rate) == 5
        assert (file.streams.video[0].width, file.streams.video[0].height) == (64, 48)
    assert len(decoded) == 6 and decoded == sorted(decoded) and decoded[-1] - decoded[0] > 200


def test_gif_has_every_frame(tmp_path):
    assert Image.open(write_video(tmp_path / "v.gif", frames(4), fps=10)).n_frames == 4


@pytest.mark.parametrize("name", ["v.mp4", "v.gif"])
def test_no_frames_is_an_error_and_leaves_nothing(tmp_path, name):
    with pytest.raises(InputError, match="no frames"):
        write_video(tmp_path / name, iter(()))
    assert not list(tmp_path.iterdir())


def test_another_suffix_is_an_error(tmp_path):
    with pytest.raises(InputError, match="avi"):
        write_video(tmp_path / "v.avi", frames(3))


@pytest.mark.parametrize("name", ["v.mp4", "v.gif"])
def test_the_same_frames_give_the_same_bytes(tmp_path, name):
    noise = list(np.random.default_rng(0).random((8, 3, 64, 96), np.float32))
    first, second = (write_video(tmp_path / f / name, noise).read_bytes() for f in "ab")
    assert first == second
