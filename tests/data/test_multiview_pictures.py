"""Pictures as cameras and tools leave them: stored on their side, transparent, deep, of several sizes in one scene."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from rsnb.data.multiview.dispatch import read_posed_scene
from rsnb.data.multiview.one_size import crop_to_one_size
from rsnb.data.multiview.pictures import picture_size, read_picture
from rsnb.errors import InputError

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)  # 60 wide, 40 high, as stored
# What each orientation tag asks for, by hand: (stored rows, columns) -> upright, as EXIF 2.32 table 4.6.4 says.
UPRIGHT = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
           5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1),
           7: lambda a: a[::-1, ::-1].transpose(1, 0, 2), 8: lambda a: np.rot90(a)}


def save(path, orientation, array=RGB):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(array).save(path, exif=exif)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_pictures_stored_on_their_side(tmp_path, orientation):
    save(tmp_path / "a.png", orientation)
    lies = orientation >= 5
    assert picture_size(tmp_path / "a.png") == (60, 40) == picture_size(tmp_path / "a.png", (120, 80))
    # a camera of an upright picture, here of twice its size
    assert picture_size(tmp_path / "a.png", (80, 120)) == ((40, 60) if lies else (60, 40))
    stored = RGB.transpose(2, 0, 1) / 255
    assert np.abs(read_picture(tmp_path / "a.png") - stored).max() < 1e-6
    assert np.abs(read_picture(tmp_path / "a.png", size=(60, 40)) - stored).max() < 1e-6
    turned = read_picture(tmp_path / "a.png", size=(40, 60)).transpose(1, 2, 0)
    wanted = UPRIGHT[orientation](RGB) / 255 if lies else RGB / 255
    assert turned.shape == wanted.shape and np.abs(turned - wanted).max() < 1e-6


def write_scene(root, sizes, stated=None, orientation=1):
    """transforms.json of pictures "0.jpg" ... of these (width, height); the file states its own."""
    frames = []
    for i, (width, height) in enumerate(sizes):
        save(root / f"{i}.png", orientation, RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))
        w, h = stated or (width, height)
        pose = np.eye(4)
        pose[0, 3] = i
        frames.append({"file_path": f"{i}.png", "transform_matrix": pose.tolist(), "w": w, "h": h, "fl_x": w, "fl_y": w,
                       "cx": w / 2 + 1, "cy": h / 2 - 1})
    (root / "transforms.json").write_text(json.dumps({"frames": frames}))
    return root


def test_a_scene_of_photographs_stored_on_their_side(tmp_path):
    views = read_posed_scene(write_scene(tmp_path, [(60, 40)] * 2, stated=(40, 60), orientation=6))
    assert views.sizes.tolist() == [[40, 60]] * 2
    loaded = views.load()
    assert loaded.images.shape == (2, 3, 60, 40) and loaded.K[0].tolist() == [[40, 0, 21], [0, 40, 29], [0, 0, 1]]
    with pytest.raises(InputError, match=r"60 x 40 pixels, w and h are 40 x 60: another shape"):
        read_posed_scene(write_scene(tmp_path, [(60, 40)] * 2, stated=(40, 60), orientation=3))


def test_pictures_of_several_sizes_are_refused_or_cut(tmp_path):
    views = read_posed_scene(write_scene(tmp_path, [(60, 40), (40, 60), (120, 80)]))
    with pytest.raises(InputError, match=r"several sizes \(40 x 60, 60 x 40, 120 x 80\).*fit='crop'"):
        views.load()
    loaded = views.load(fit="crop")
    assert loaded.images.shape == (3, 3, 40, 40)
    # 0: principal point 31, 19 of 60 x 40: columns 11 to 51, all rows; 1 is cut above and below; 2 is halved first
    assert loaded.K[0].tolist() == [[60, 0, 20], [0, 60, 19], [0, 0, 1]]
    assert loaded.K[1].tolist() == [[40, 0, 21], [0, 40, 20], [0, 0, 1]]
    assert loaded.K[2].tolist() == [[60, 0, 20.5], [0, 60, 19.5], [0, 0, 1]]
    whole = [read_picture(path) for path in views.image_paths]
    assert (loaded.images[0] == whole[0][:, :, 11:51]).all() and (loaded.images[1] == whole[1][:, 9:49]).all()
    halves = whole[2].reshape(3, 40, 2, 60, 2).mean(axis=(2, 4))
    assert np.abs(loaded.images[2] - halves[:, :, 10:50]).max() < 1e-6  # 30.5 - 20 rounds to even, 10
    small = views.load(fit="crop", max_width=30)
    assert small.images.shape == (3, 3, 20, 30)


def test_cut_pictures_show_points_where_K_says():
    point, frames = np.array([0.1, -0.05, 2.0]), []
    for width, height, focal in ((90, 60, 80.0), (64, 64, 70.0), (180, 120, 160.0)):
        K = np.array([[focal, 0, width / 2 + 5], [0, focal, height / 2 - 3], [0, 0, 1]])
        x, y = (K @ point)[:2] / 2
        columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        light = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (focal / 30) ** 2))
        frames.append((np.repeat(light[None], 3, axis=0).astype(np.float32), K, light.astype(np.float32)))
    for image, K, depth in crop_to_one_size(frames):
        assert image.shape == (3, 60, 64) and depth.shape == (60, 64)
        columns, rows = np.meshgrid(np.arange(64) + 0.5, np.arange(60) + 0.5)
        found = np.array([(image[0] * columns).sum(), (image[0] * rows).sum()]) / image[0].sum()
        assert np.abs(found - (K @ point)[:2] / 2).max() < 0.05
        assert np.abs(depth - image[0]).max() < 0.35  # nearest pixels of a steep dot


def test_deep_transparent_and_palette_pictures(tmp_path):
    alpha = RNG.integers(0, 256, (40, 60), dtype=np.uint8)
    deep = RNG.integers(0, 65536, (40, 60, 4), dtype=np.uint16)
    Image.fromarray(np.dstack([RGB[..., 0], alpha]), "LA").save(tmp_path / "la.png")
    cv2.imwrite(str(tmp_path / "rgba16.png"), deep)  # OpenCV writes blue first
    palette = Image.fromarray(RGB).quantize(16)
    palette.save(tmp_path / "palette.png", transparency=3)
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "cmyk.tif")
    Image.fromarray(RGB[..., 0] > 127).save(tmp_path / "one_bit.png")
    share = alpha / 255
    grey = read_picture(tmp_path / "la.png", background=0.25)
    assert np.abs(grey - (RGB[..., 0] / 255 * share + 0.25 * (1 - share))).max() < 1e-5
    colour, cover = deep[..., 2::-1].transpose(2, 0, 1) / 65535, deep[..., 3] / 65535
    assert np.abs(read_picture(tmp_path / "rgba16.png") - (colour * cover + 1 - cover)).max() < 1e-5
    index, shown = np.asarray(palette), np.asarray(palette.convert("RGB")).transpose(2, 0, 1) / 255
    assert (index == 3).any()
    assert np.abs(read_picture(tmp_path / "palette.png") - np.where(index == 3, 1.0, shown)).max() < 1e-5
    assert np.abs(read_picture(tmp_path / "cmyk.tif") - RGB.transpose(2, 0, 1) / 255).max() < 2.5 / 255
    assert set(np.unique(read_picture(tmp_path / "one_bit.png"))) == {0.0, 1.0}
