"""Posed views: lazy, scaled and undistorted right, pictures of every kind; judged by points painted into pictures."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image, ImageFile, TiffImagePlugin
from rasterio.errors import NotGeoreferencedWarning
from scipy.spatial.transform import Rotation

from rsnb.data.multiview.colmap import read_colmap
from rsnb.data.multiview.distortion import Distortion
from rsnb.data.multiview.opensfm import read_opensfm
from rsnb.data.multiview.pictures import PictureFolder, picture_size, read_picture
from rsnb.data.multiview.transforms_json import read_transforms_json
from rsnb.data.multiview.views import PosedViews, read_depth
from rsnb.errors import InputError

K = np.array([[310.0, 0, 165.5], [0, 302.0, 118.0], [0, 0, 1]])
POSE = np.array([[0.8, 0, -0.6, 0.1], [0, 1, 0, -0.2], [0.6, 0, 0.8, 3.0], [0, 0, 0, 1]])


def views(paths, sizes, lens=None, **more):
    n = len(paths)
    return PosedViews("here", tuple(Path(p).stem for p in paths), tuple(map(Path, paths)), np.stack([K] * n),
                      np.stack([POSE] * n), np.array(sizes), (lens,) * n, **more)


def dots(size, centres, sigma=2.5):
    """[H, W] uint8 picture of white Gaussian dots, pixel centres at +0.5."""
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    light = sum(np.exp(-((x - cx)**2 + (y - cy)**2) / (2 * sigma**2)) for cx, cy in centres)
    return (255 * light).clip(0, 255).round().astype(np.uint8)


def centroid(image, near, reach=9):
    """Centre of light [2] around a pixel, pixel centres at +0.5."""
    x, y = np.meshgrid(np.arange(image.shape[1]) + 0.5, np.arange(image.shape[0]) + 0.5)
    weight = image * (np.hypot(x - near[0], y - near[1]) < reach)
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize(("lens", "max_width"), [
    (None, None), (None, 130), (Distortion("OPENCV", (-0.3, 0.1, 1e-3, -2e-3)), None),
    (Distortion("OPENCV", (-0.3, 0.1, 1e-3, -2e-3)), 207), (Distortion("OPENCV_FISHEYE", (0.05, 0.01)), 200)])
def test_painted_points_lie_where_K_says(tmp_path, lens, max_width):
    """Dots are painted where OpenCV puts them; in what is loaded they must lie at K (R X + t)."""
    import cv2

    rng = np.random.default_rng(1)
    camera = np.c_[rng.uniform(-0.32, 0.32, 6), rng.uniform(-0.25, 0.25, 6), np.ones(6)] * rng.uniform(2, 4, (6, 1))
    world = (camera - POSE[:3, 3]) @ POSE[:3, :3]
    shift = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    turn, move = cv2.Rodrigues(POSE[:3, :3])[0], POSE[:3, 3]
    if lens is not None and lens.model == "OPENCV_FISHEYE":
        coefficients = np.array([*lens.coefficients, 0, 0])
        pixels = cv2.fisheye.projectPoints(world[:, None], turn, move, K - shift, coefficients)[0]
    else:
        coefficients = np.array(lens.coefficients if lens else (0.0,) * 4)
        pixels = cv2.projectPoints(world, turn, move, K - shift, coefficients)[0]
    pixels = pixels.reshape(-1, 2) + 0.5
    Image.fromarray(dots((331, 237), pixels)).save(tmp_path / "a.png")
    scene = views([tmp_path / "a.png"], [(331, 237)], lens)
    assert np.abs(scene.project("a", world) - pixels).max() < 1e-6
    loaded = scene.load(max_width=max_width)
    expected = camera / camera[:, 2:] @ loaded.K[0].T
    width, height = loaded.images.shape[3], loaded.images.shape[2]
    assert (width, height) == ((331, 237) if max_width is None else (max_width, round(237 * max_width / 331)))
    inside = ((expected[:, :2] > 10) & (expected[:, :2] < [width - 10, height - 10])).all(axis=1)
    assert inside.sum() >= 3
    apart = np.linalg.norm(expected[:, None, :2] - expected[None, :, :2], axis=2) + 99 * np.eye(6)
    checked = inside & (apart.min(axis=1) > 18)
    assert checked.sum() >= 2
    for point in expected[checked, :2]:
        # 0.06 px: what rounding to 8 bits and resampling do to a centroid; half a pixel of convention is ten times that
        assert np.abs(centroid(loaded.images[0, 0], point) - point).max() < 0.06


def test_sizes_come_from_the_head_alone_and_pixels_are_missed_when_loaded(tmp_path):
    Image.new("RGB", (400, 300)).save(tmp_path / "whole.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])  # the head, and no pixel
    assert picture_size(tmp_path / "a.png") == (400, 300)
    scene = views([tmp_path / "a.png"], [(400, 300)])
    assert len(scene) == 1
    with pytest.raises(InputError, match=r"a.png: this is no whole picture"):
        scene.load()


@pytest.mark.parametrize(("read", "name"), [
    (read_transforms_json, "fox"), (read_colmap, "sceaux_castle"), (read_colmap, "vesta_astrovision"),
    (read_opensfm, "odm_drone")])
def test_readers_leave_pixels_on_the_disk(real, monkeypatch, read, name):
    def refuse(self):
        raise AssertionError(f"{self.filename} was decoded")

    for kind in (ImageFile.ImageFile, TiffImagePlugin.TiffImageFile):
        monkeypatch.setattr(kind, "load", refuse)
    views = read(real(f"nb3_multiview/{name}"))
    assert len(views) >= 4
    with pytest.raises(AssertionError, match="was decoded"):
        views.load([views.names[0]])


def write_deep_png(path, rgb):
    """[H, W, 3] uint16 as PNG chunks by hand: head, rows without filter, end."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", rgb.shape[1], rgb.shape[0], 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb)
    chunks = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_pictures_of_every_kind(tmp_path):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    grey16 = rng.integers(0, 65536, (12, 16), dtype=np.uint16)
    alpha = rng.integers(0, 256, (12, 16), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    Image.fromarray(rgb).save(tmp_path / "rgb.tif")
    Image.fromarray(rgb[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(grey16).save(tmp_path / "grey16.png")
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "rgba.png")
    palette = Image.fromarray(rgb).quantize(8)
    palette.save(tmp_path / "palette.png")
    deep = np.dstack([grey16, grey16[::-1], grey16 // 2])
    tifffile.imwrite(tmp_path / "rgb16.tif", deep)
    write_deep_png(tmp_path / "rgb16.png", deep)
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((12, 16), np.float32))
    want = rgb.transpose(2, 0, 1) / 255
    for name in ("rgb.png", "rgb.tif"):
        assert np.abs(read_picture(tmp_path / name) - want).max() < 1e-6
    assert np.abs(read_picture(tmp_path / "grey.png") - want[:1]).max() < 1e-6
    assert np.abs(read_picture(tmp_path / "grey16.png") - grey16 / 65535).max() < 1e-6
    for name in ("rgb16.tif", "rgb16.png"):
        assert np.abs(read_picture(tmp_path / name) - deep.transpose(2, 0, 1) / 65535).max() < 1e-6
    share = alpha / 255
    assert np.abs(read_picture(tmp_path / "rgba.png") - (want * share + 1 - share)).max() < 1e-5
    assert np.abs(read_picture(tmp_path / "rgba.png", background=0.0) - want * share).max() < 1e-5
    assert np.abs(read_picture(tmp_path / "palette.png") * 255
                  - np.asarray(palette.convert("RGB")).transpose(2, 0, 1)).max() < 1e-3
    with pytest.raises(InputError, match="float32"):
        read_picture(tmp_path / "float.tif")
    (tmp_path / "cut.png").write_bytes((tmp_path / "rgb.png").read_bytes()[:200])
    (tmp_path / "html.jpg").write_text("<html>quota exceeded</html>")
    for name in ("cut.png", "html.jpg"):
        with pytest.raises(InputError, match=f"{name}: this is no whole picture"):
            read_picture(tmp_path / name)


def test_one_size_and_one_kind_at_a_time(tmp_path):
    for name, size in (("a", (20, 10)), ("b", (20, 12)), ("c", (20, 10))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    scene = views([tmp_path / f"{n}.png" for n in "abc"], [(20, 10), (20, 12), (20, 10)],
                  splits={"train": ("a", "c"), "test": ("b",)}, skipped={"d": "there is no such picture"})
    with pytest.raises(InputError, match=r"several sizes \(20 x 10, 20 x 12\)"):
        scene.load()
    assert scene.load("train").names == ("a", "c") and scene.load(["c"]).names == ("c",)
    part = scene.subset(["c", "b"])
    assert part.names == ("c", "b") and part.splits == {"train": ("c",), "test": ("b",)}
    with pytest.raises(InputError, match="no view 'd'.*left out: there is no such picture"):
        scene.subset(["d"])
    with pytest.raises(InputError, match="there is no depth of view a"):
        scene.load(["a"], with_depth=True)
    Image.new("RGB", (21, 10)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="has 21 x 10 pixels, it had 20 x 10"):
        scene.load(["a"])
    with pytest.raises(InputError, match="view 'a' is there twice"):
        scene.subset(["a", "a"])


def test_rotations_of_few_digits_are_made_exact_and_cameras_stay():
    rounded = POSE.copy()
    rounded[:3, :3] = np.round(Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix(), 3)
    place = -np.linalg.solve(rounded[:3, :3], rounded[:3, 3])
    read = views(["a.png"], [(331, 237)])
    scene = PosedViews("here", ("a",), read.image_paths, read.K, rounded[None], read.sizes)
    turn = scene.world_to_cam[0, :3, :3]
    assert np.abs(turn @ turn.T - np.eye(3)).max() < 1e-14 and np.abs(turn - rounded[:3, :3]).max() < 1e-3
    assert np.abs(-turn.T @ scene.world_to_cam[0, :3, 3] - place).max() < 1e-12
    # what is no rotation at all is not made one
    sheared = POSE + np.eye(4, k=1) * 0.2
    kept = PosedViews("here", ("a",), read.image_paths, read.K, sheared[None], read.sizes)
    assert (kept.world_to_cam == sheared).all()


def test_spherical_pictures_are_panoramas(tmp_path):
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "a.png")
    Image.new("RGB", (40, 20)).save(tmp_path / "b.png")
    sphere = views([tmp_path / "a.png"], [(40, 20)], Distortion("SPHERICAL"))
    loaded = sphere.load(max_width=20)
    assert loaded.camera == "panorama" and loaded.K is None and loaded.images.shape == (1, 3, 10, 20)
    both = PosedViews("both", ("a", "b"), (tmp_path / "a.png", tmp_path / "b.png"), np.stack([K, K]),
                      np.stack([POSE, POSE]), np.array([(40, 20)] * 2), (Distortion("SPHERICAL"), None))
    with pytest.raises(InputError, match="do not fit into one call"):
        both.load()


def test_lens_that_cannot_be_undone_names_the_picture(tmp_path):
    Image.new("RGB", (331, 237)).save(tmp_path / "a.png")
    scene = views([tmp_path / "a.png"], [(331, 237)], Distortion("EUCM", (0.6, 1.1)))
    with pytest.raises(InputError, match=r"a.png: the lens model EUCM is not supported"):
        scene.load()
    assert scene.load(undistort=False).images.shape == (1, 3, 237, 331)


def test_depths_are_taken_not_averaged(tmp_path):
    Image.new("RGB", (8, 4)).save(tmp_path / "a.png")
    depth = np.arange(32, dtype=np.float32).reshape(4, 8)  # 0 = unknown
    depth[3, 7] = np.inf
    tifffile.imwrite(tmp_path / "a.tiff", depth)
    Image.fromarray((depth[:3] * 64).astype(np.uint16)).save(tmp_path / "d.png")
    scene = views([tmp_path / "a.png"], [(8, 4)], depth_paths=(tmp_path / "a.tiff",))
    full, half = scene.load(with_depth=True).z_depth[0], scene.load(with_depth=True, max_width=4).z_depth[0]
    assert np.isnan(full[0, 0]) and np.isnan(full[3, 7]) and (full.ravel()[1:31] == depth.ravel()[1:31]).all()
    assert half.tolist() == full[np.ix_([1, 3], [1, 3, 5, 7])].tolist() or np.isnan(half[1, 3])
    assert read_depth(tmp_path / "d.png", 1 / 64)[2, 5] == 21.0
    other = views([tmp_path / "a.png"], [(8, 4)], depth_paths=(tmp_path / "d.png",))
    with pytest.raises(InputError, match=r"d.png: the depth has 8 x 3 pixels, its picture 8 x 4"):
        other.depth("a")
    with pytest.raises(InputError, match="one channel"):
        read_depth(tmp_path / "a.png")


@pytest.mark.parametrize("compress", ["lzw", "deflate", "zstd"])
@pytest.mark.parametrize(("dtype", "predictor"), [("float32", 1), ("float32", 3), ("float64", 1), ("uint16", 2)])
def test_depths_of_any_compression(tmp_path, compress, dtype, predictor):
    depth = np.arange(50, 50 + 48).reshape(6, 8).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "d.tif", "w", driver="GTiff", width=8, height=6, count=1, dtype=dtype,
                           compress=compress, predictor=predictor) as file:
            file.write(depth[None])
    assert read_depth(tmp_path / "d.tif").tolist() == depth.tolist()
    assert picture_size(tmp_path / "d.tif") == (8, 6)


def test_depths_as_opencv_writes_them(tmp_path):
    depth = np.linspace(50, 135, 48, dtype=np.float32).reshape(6, 8)
    cv2.imwrite(str(tmp_path / "d.tiff"), depth)  # LZW, unasked
    assert read_depth(tmp_path / "d.tiff").tolist() == depth.tolist()


@pytest.mark.filterwarnings("ignore")  # of Pillow
def test_damaged_tiffs(tmp_path):
    tifffile.imwrite(tmp_path / "d.tiff", np.full((20, 24), 90, np.float32), compression="zlib")
    whole = (tmp_path / "d.tiff").read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(4, len(whole), 80):
        (tmp_path / "d.tiff").write_bytes(whole[:at] + bytes([whole[at] ^ 0x3C]) + whole[at + 1:])
        for read in (read_depth, read_picture, picture_size):
            try:
                read(tmp_path / "d.tiff")
            except InputError as error:
                assert error.where == tmp_path / "d.tiff" and error.mend
    (tmp_path / "d.tiff").write_text("no picture")
    with pytest.raises(InputError, match="d.tiff: this is no raster"):
        read_depth(tmp_path / "d.tiff")


def test_files_found_whatever_case_suffix_or_folder(tmp_path):
    for name in ("images/A/IMG_1.JPG", "images/r_0.png", "images/r_0.5.png", "images/test/r_7.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    folder = PictureFolder([tmp_path / "images", tmp_path / "not there"])
    found = {name: folder.find(name) for name in ("a/img_1.jpg", "img_1.png", "./images/r_0", "../x/images/r_0.png",
                                                  "r_0.5", "train/r_7.png", "r_9.png", "A\\IMG_1.jpg")}
    assert {name: path and path.relative_to(tmp_path / "images").as_posix() for name, path in found.items()} == {
        "a/img_1.jpg": "A/IMG_1.JPG", "img_1.png": "A/IMG_1.JPG", "./images/r_0": "r_0.png",
        "../x/images/r_0.png": "r_0.png", "r_0.5": "r_0.5.png", "train/r_7.png": None, "r_9.png": None,
        "A\\IMG_1.jpg": "A/IMG_1.JPG"}


def test_pictures_whose_names_differ_in_case_alone(tmp_path):
    for name in ("a.JPG", "A.jpg", "._a.jpg"):
        Image.new("RGB", (2, 2)).save(tmp_path / name, "JPEG")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system takes them for one")
    folder = PictureFolder([tmp_path])
    assert [folder.find(name).name for name in ("a.JPG", "A.jpg", "./a.JPG")] == ["a.JPG", "A.jpg", "a.JPG"]
    assert sorted(path.name for path in folder.paths) == ["A.jpg", "a.JPG"]  # and not what a Mac left behind
