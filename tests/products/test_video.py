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


def test_mp4_colours_come_back(tmp_path):
    patches = np.zeros((3, 64, 96), np.float32)
    for k, rgb in enumerate([(0.9, 0.1, 0.1), (0.1, 0.8, 0.2), (0.15, 0.25, 0.9)]):
        patches[:, :, 32 * k : 32 * k + 32] = np.array(rgb)[:, None, None]
    with av.open(write_video(tmp_path / "v.mp4", [patches] * 3)) as file:
        seen = next(file.decode(video=0)).to_ndarray(format="rgb24")
    for k in range(3):
        assert np.abs(seen[32, 32 * k + 16] / 255.0 - patches[:, 32, 32 * k + 16]).max() < 0.03


@pytest.mark.parametrize("name", ["v.mp4", "v.gif"])
def test_no_frames_is_an_error_and_leaves_nothing(tmp_path, name):
    with pytest.raises(InputError, match="no frames"):
        write_video(tmp_path / name, iter(()))
    assert not list(tmp_path.iterdir())


def test_another_suffix_is_an_error(tmp_path):
    with pytest.raises(InputError, match="avi"):
        write_video(tmp_path / "v.avi", frames(3))


def test_the_same_frames_give_the_same_gif(tmp_path):
    noise = list(np.random.default_rng(0).random((8, 3, 64, 96), np.float32))
    assert len({write_video(tmp_path / f / "v.gif", noise).read_bytes() for f in "abcd"}) == 1
