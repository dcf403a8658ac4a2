"""Samples for training across scenes: which views, from which scenes, and when their pixels are read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rsnb.data.multiview.cross_scene import cross_scene_samples
from rsnb.errors import InputError

CAMERA = """extrinsic
1.0{s}0.0{s}0.0{s}{x}
0.0{s}1.0{s}0.0{s}0.0
0.0{s}0.0{s}1.0{s}0.0
0.0{s}0.0{s}0.0{s}1.0

intrinsic
40.0{s}0.0{s}15.5
0.0{s}40.0{s}7.5
0.0{s}0.0{s}1.0

80.0{s}100.0
"""


def write_scene(scene, count, separator):
    for part in ("Images", "Cams"):
        (scene / part).mkdir(parents=True)
    for i in range(count):
        picture = np.full((16, 32, 3), 10 * i, np.uint8)
        picture[:, ::2] += 4  # columns 10 i + 4 and 10 i: their mean is 10 i + 2
        Image.fromarray(picture).save(scene / "Images" / f"{i:03d}.png")
        (scene / "Cams" / f"{i:03d}.txt").write_text(CAMERA.format(x=float(i), s=separator))


@pytest.fixture
def whu(tmp_path):
    for n in range(3):
        write_scene(tmp_path / f"scene_{n:03d}", 20, " ")
    (tmp_path / "train.txt").write_text("000\n002\n")
    (tmp_path / "val.txt").write_text("001\n")
    return tmp_path


def test_two_references_of_19_neighbours_or_six_of_4(whu):
    samples = cross_scene_samples(whu, "train")
    assert [(name, reference, len(beside)) for name, reference, beside, _ in samples] == [
        (name, reference, 19) for name in ("scene_000", "scene_002") for reference in ("007", "012")]
    samples = cross_scene_samples(whu, "val", 4)
    assert [reference for _, reference, _, _ in samples] == ["006", "007", "008", "011", "012", "013"]
    assert {name for name, *_ in samples} == {"scene_001"}
    assert samples[1][2] == ("006", "008", "002", "012")  # left, right, up, down of 007
    assert len(cross_scene_samples(whu)) == 6 and len(cross_scene_samples(whu, scenes=["scene_001"])) == 2


def test_the_samples_of_a_scene_share_what_they_read(whu):
    (_, _, _, a), (_, _, _, b) = cross_scene_samples(whu, "val", max_width=16)
    assert a is b
    views = a()
    assert views.images.shape == (20, 3, 8, 16) and views.names[7] == "007"
    assert np.allclose(views.images[7] * 255, 72, atol=0.51)  # the mean of columns 74 and 70
    assert views.K[0].tolist() == [[20, 0, 8], [0, 20, 4], [0, 0, 1]]  # centres at +0.5, half the pixels
    assert views.near_far[7].tolist() == [80, 100]
    # the corners of the block belong to no cross of five
    assert "000" not in cross_scene_samples(whu, "val", 4)[0][3]().names


def test_levir_gives_the_reference_and_its_train_views(tmp_path):
    for n in range(2):
        write_scene(tmp_path / f"scene_{n:03d}", 21, ",")
    odd, even = (" ".join(f"{i:03d}" for i in range(first, 21, 2)) for first in (1, 2))
    (tmp_path / "view_split.txt").write_text(f"10\n{odd}\n10\n{even}\n")
    samples = cross_scene_samples(tmp_path, scenes=["scene_001"])
    (name, reference, beside, load), = samples
    assert (name, reference) == ("scene_001", "000") and beside == tuple(odd.split())
    assert set(load().names) == {"000", *beside}  # no test view is read
    with pytest.raises(InputError, match="has no list of scenes for val"):
        cross_scene_samples(tmp_path, "val")


@pytest.mark.parametrize(("arguments", "words"), [
    ({"neighbours": 5}, "5 neighbours.*4 or 19"),
    ({"part": "test"}, "there is no list of scenes for test"),
    ({"scenes": ["scene_009"]}, "there is no scene 'scene_009'"),
], ids=["neighbours", "part", "scene"])
def test_bad_input(whu, arguments, words):
    with pytest.raises(InputError, match=words):
        cross_scene_samples(whu, **arguments)


def test_a_block_without_its_middle_has_no_sample(tmp_path):
    write_scene(tmp_path / "scene_000", 6, " ")
    with pytest.raises(InputError, match="no scene has a reference"):
        cross_scene_samples(tmp_path)
