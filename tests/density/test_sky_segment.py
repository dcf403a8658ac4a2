"""The sky of panoramas without a mask: drawn skies, the six CVACT demo panoramas, what must be refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from rsnb.density.sky_segment import checked_sky, segment_sky, sky_iou
from rsnb.errors import InputError

CASES = (2, 4, 5, 7, 8, 12)


def street(weather="blue", seed=0, rows=64, columns=128):
    """A drawn panorama [3, H, W] and its sky [H, W]: houses with windows, trees and a road, in some weather."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns] + 0.5
    up = 0.5 - y / rows  # 0.5 = zenith
    sky = {"blue": [0.35, 0.55, 0.9], "overcast": [0.72, 0.74, 0.77], "dusk": [0.3, 0.36, 0.5]}[weather]
    image = np.array(sky)[:, None, None] + 0.25 * (0.5 - up)
    if weather == "blue":
        image = image + 0.3 * np.clip(gaussian_filter(rng.normal(size=(rows, columns)), 4, mode="wrap") * 8, 0, 1)
    skyline = np.full(columns, 0.03)
    for left, width, height in ((5, 22, 0.2), (50, 14, 0.28), (90, 30, 0.15)):
        skyline[left:left + width] = height
    trees = 0.1 * np.abs(np.sin(x[0] / 5)) * ((x[0] > 30) & (x[0] < 48))
    skyline = np.maximum(skyline, trees)
    built = up < skyline
    wall = np.array([0.6, 0.5, 0.42])[:, None, None] - 0.3 * ((x // 2 % 2 == 0) & (y // 2 % 2 == 0))
    leaves = np.array([0.2, 0.32, 0.12])[:, None, None] * (1 + 0.5 * rng.normal(size=(rows, columns)))
    image = np.where(built, np.where((trees > 0.01)[None, None], leaves, wall), image)
    image = np.where(up < 0, 0.4 + 0.02 * rng.normal(size=(rows, columns)), image)
    return image.clip(0, 1).astype(np.float32), ~built


@pytest.mark.parametrize("weather", ["blue", "overcast", "dusk"])
def test_drawn_skies_are_found(weather):
    image, truth = street(weather)
    assert sky_iou(segment_sky(image), truth) > 0.95
    best_line = max(sky_iou(np.arange(64)[:, None] < np.full((1, 128), row), truth) for row in range(64))
    assert best_line < 0.9  # a horizon at its best height


def test_a_batch_is_its_pictures_and_a_turn_turns_the_mask():
    image, _ = street()
    turned = np.roll(image, 50, axis=-1)
    both = segment_sky(torch.from_numpy(np.stack([image, turned])[:, None]))
    assert both.shape == (2, 1, 64, 128) and both.dtype == torch.bool
    assert torch.equal(both[0, 0], segment_sky(image))
    assert (torch.roll(both[0, 0], 50, dims=-1) != both[1, 0]).float().mean() < 0.002


def test_a_band_around_the_horizon_and_larger_pictures():
    image, truth = street("blue", rows=64)
    band = segment_sky(image[:, 16:48], vertical_fov=math.pi / 2)
    assert sky_iou(band, truth[16:48]) > 0.9
    large = image.repeat(6, axis=1).repeat(6, axis=2)  # 384 x 768, shortened inside
    found = segment_sky(large)
    assert found.shape == (384, 768) and sky_iou(found, truth.repeat(6, axis=0).repeat(6, axis=1)) > 0.93


def test_a_white_wall_is_no_sky_and_a_lone_cloud_is():
    image, truth = street("blue")
    up = 0.5 - (np.arange(64) + 0.5) / 64
    image[:, (up < 0.12) & (up > 0.02), 92:118] = 0.9  # inside the third house, below its roof
    image[:, 8:11, 70:78] = 0.97
    found = segment_sky(image).numpy()
    assert not found[26:31, 94:116].any() and found[9, 72:76].all()
    assert sky_iou(found, truth) > 0.93


def test_nothing_but_leaves_has_no_sky():
    rng = np.random.default_rng(2)
    leaves = np.array([0.15, 0.3, 0.1])[:, None, None] * (1 + 0.5 * rng.normal(size=(64, 128)))
    assert segment_sky(leaves.clip(0, 1)).float().mean() < 0.02


def test_cvact_panoramas(real):
    # The masks beside them come from a segmentation network and are coarse: they widen trees and cut out dark clouds.
    # The best constant horizon reaches 0.846 in the mean, the best threshold on blue - red or on blue 0.78.
    folder = real("nb4_sat2ground/cvact_sat2density")
    scores = []
    for case in CASES:
        picture = Image.open(folder / f"case{case}/groundview.image.png").convert("RGB").resize((256, 128))
        mask = Image.open(folder / f"case{case}/groundview.sky.png").convert("L").resize((256, 128), 0)
        found = segment_sky(np.asarray(picture, np.float32).transpose(2, 0, 1) / 255)
        scores.append(sky_iou(found, np.asarray(mask) > 127))
    assert np.mean(scores) > 0.95 and min(scores) > 0.9, scores


@pytest.mark.parametrize(("picture", "arguments", "named"), [
    (np.zeros((4, 32, 64)), {}, "shape"), (np.zeros((3, 4, 64)), {}, "at least 8 x 16"),
    (np.full((3, 32, 64), np.nan), {}, "not finite"), (np.full((3, 32, 64), 200.0), {}, "divide 8-bit"),
    (np.zeros((3, 32, 64)), {"vertical_fov": 180.0}, "radians"), (np.zeros((3, 28, 154)), {}, "not 2:1"),
], ids=["channels", "too-small", "nan", "0-255", "degrees", "not-the-sphere"])
def test_bad_pictures_are_refused(picture, arguments, named):
    with pytest.raises(InputError, match=named):
        segment_sky(picture, **arguments)


def test_iou_by_hand():
    a, b = torch.tensor([[1, 1, 0, 0]]), torch.tensor([[0, 1, 1, 0]])
    assert sky_iou(a, b) == pytest.approx(1 / 3) and sky_iou(a * 0, b * 0) == 1
    with pytest.raises(InputError, match="masks of shape"):
        sky_iou(a, b[:, :3])


def test_masks_that_come_along_are_checked():
    panorama = np.zeros((2, 3, 8, 16), np.float32)
    mask = np.zeros((2, 8, 16), np.uint8)
    mask[:, :3] = 255
    assert checked_sky(mask, panorama).sum().item() == 2 * 3 * 16
    assert not checked_sky(mask * 0, panorama).any()  # a street under trees
    for bad, named in ((mask[:, :4], "size"), (mask // 2 + 1, "two values"), (mask * np.nan, "two values"),
                       (np.stack([mask[0], mask[0] * 0 + 255]), "1 of 2 masks are sky all over")):
        with pytest.raises(InputError, match=named):
            checked_sky(bad, panorama)
