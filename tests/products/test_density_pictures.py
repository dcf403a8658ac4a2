"""Slices on one sheet, the map with its camera, films with one depth scale and one frame size."""

import av
import numpy as np
import pytest
import tifffile
from PIL import Image

from rsnb.errors import InputError
from rsnb.products.density_pictures import (
    FilmOptions,
    distance_rgb,
    film_frames,
    map_with_camera,
    write_panoramas,
    write_path_film,
    write_path_frames,
    write_slices,
)
from rsnb.products.density_volume import TileVolume

TILE = np.full((3, 16, 16), 0.5)
WAY = np.array([[-8.0, 0], [0, 0], [8, 0]]), np.full(3, np.pi / 2)
SMALL = FilmOptions(least_width=1)


def frames(n=3, height=20, width=40, distance=5.0):
    return [(np.full((3, height, width), 0.2 * (i + 1)), np.full((height, width), distance)) for i in range(n)]


def orange(picture) -> np.ndarray:
    """[M, 2] (column, row) of the pixels in the arrow's colour."""
    r, g, b = picture
    return np.argwhere((r > 0.8) & (b < 0.25) & (g > 0.4))[:, ::-1]


def test_slices_show_the_opacity_of_their_thickness(tmp_path):
    sigma = np.zeros((6, 8, 8))
    sigma[2:4, :4] = np.log(2)  # slices of 1 m: half opaque each, three quarters both; the northern half
    path = write_slices(tmp_path / "s.png", TileVolume(sigma, TILE, 8.0, 6.0), count=3, columns=3, side=40)
    sheet = np.asarray(Image.open(path).convert("L"), float) / 255
    tiles = [sheet[22 : 22 + 40, 8 + 48 * i : 48 + 48 * i] for i in range(3)]
    assert tiles[0].min() == 1 and tiles[2].min() == 1
    assert tiles[1][:20] == pytest.approx(0.25, abs=0.01) and tiles[1][20:].min() == 1
    single = write_slices(tmp_path / "t.png", TileVolume(sigma, TILE, 8.0, 6.0), side=40)
    assert np.asarray(Image.open(single).convert("L"))[30, 8 + 2 * 48 + 10] == pytest.approx(128, abs=1)


def test_the_arrow_stands_at_the_camera_and_points_ahead():
    for heading, way in ((0.0, (0, -1)), (np.pi / 2, (1, 0)), (np.pi, (0, 1))):
        picture = map_with_camera(TILE, 32.0, np.array([[0, 0], [8.0, 4.0]]), 1, heading, side=256)
        found = orange(picture)
        # 8 m east and 4 m north of the middle of 32 m on 256 pixels: column 128 + 64, row 128 - 32
        assert found.mean(axis=0) == pytest.approx([192, 96], abs=5)
        tip = found[np.argmax(found @ np.array(way))]
        ahead = (found - [192, 96]) @ np.array(way)
        assert (tip - [192, 96]) @ np.array(way) > 9 and ahead.min() > -9.5
        across = (found - [192, 96]) @ np.array(way[::-1])
        assert np.ptp(across[ahead > 7]) < 0.5 * np.ptp(across[ahead < -4])  # the tip is narrower than the tail


def test_depth_colours_are_one_scale():
    near, middle, far, beyond, nothing = distance_rgb(np.array([[2.0, 8.0, 32.0, 99.0, np.inf]]), 2.0, 32.0)[:, 0].T
    assert near.mean() > middle.mean() > far.mean()
    assert np.array_equal(far, beyond) and nothing.tolist() == [0.35] * 3
    whole = distance_rgb(np.geomspace(2, 32, 257)[None], 2.0, 32.0)[:, 0].T
    assert middle == pytest.approx(whole[128], abs=0.01)  # 8 m is half way in the logarithm
    first = list(film_frames(frames(distance=5.0), TILE, 32.0, WAY, options=SMALL))
    again = list(film_frames([*frames(2, distance=5.0), *frames(1, distance=50.0)], TILE, 32.0, WAY, options=SMALL))
    assert np.array_equal(first[1], again[1])  # what another frame shows changes nothing here


def test_frames_of_a_film_are_of_one_even_size_and_hold_the_pictures():
    for height, width in ((20, 40), (21, 43)):
        shown = list(film_frames(frames(3, height, width), TILE, 32.0, WAY, options=SMALL))
        assert len(shown) == 3 and len({f.shape for f in shown}) == 1
        assert shown[0].shape[1] % 2 == 0 and shown[0].shape[2] % 2 == 0
        side = 2 * height + 22
        for i, frame in enumerate(shown):
            panorama = frame[:, 22 : 22 + height, side + 16 : side + 16 + width]
            assert panorama == pytest.approx(0.2 * (i + 1), abs=0.003)
            below = frame[:, 44 + height + 2 : 44 + 2 * height, side + 16 : side + 16 + width]
            assert below[:, 0, 0] == pytest.approx(distance_rgb(np.array([[5.0]]), 2.0, 40.0)[:, 0, 0], abs=0.003)
    wide = next(iter(film_frames(frames(), TILE, 32.0, WAY)))
    assert wide.shape[2] > 512  # 40 columns enlarged 13 times


def test_the_camera_moves_along_the_map():
    # 8 m of 32 m on 200 pixels are 50 pixels
    shown = [orange(f[:, :, :208]).mean(axis=0)[0] for f in film_frames(
        frames(), TILE, 32.0, WAY, options=FilmOptions(least_width=1, map_height=200))]
    assert np.diff(shown) == pytest.approx([50, 50], abs=2)
    assert shown[0] == pytest.approx(8 + 50, abs=3)  # after the margin of 8 pixels


def test_compass_and_mark_follow_the_heading():
    east = WAY[0], np.full(3, np.pi / 2)
    up, north = (next(iter(film_frames(frames(1, 32, 256), TILE, 32.0, (east[0][:1], east[1][:1]), heading_up, SMALL)))
                 for heading_up in (True, False))
    left, strip = 2 * 32 + 22 + 16, slice(22 + 32, 22 + 32 + 9)
    assert orange(up[:, strip, left:]).mean(axis=0)[0] == pytest.approx(128, abs=1.5)  # ahead in the middle
    assert orange(north[:, strip, left:]).mean(axis=0)[0] == pytest.approx(192, abs=1.5)  # east, three quarters


def test_a_film_has_its_frames_at_its_speed(tmp_path):
    path = write_path_film(tmp_path / "film.mp4", iter(frames()), TILE, 32.0, WAY, options=SMALL)
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert stream.average_rate == 12 and sum(1 for _ in film.decode(video=0)) == 3


def test_frames_as_pictures_have_distinct_names(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    written = write_path_frames(tmp_path, frames(), TILE, 32.0, WAY)
    assert [p.name for p in written[:4]] == ["panorama_0000.png", "depth_0000.png", "map_0000.png", "panorama_0001.png"]
    assert len({p.read_bytes() for p in written if p.name.startswith(("panorama", "map"))}) == 6
    assert (tmp_path / "mine.txt").exists() and len(list(tmp_path.iterdir())) == 10
    with pytest.raises(InputError, match="more frames than the 3 points"):
        write_path_frames(tmp_path, frames(4), TILE, 32.0, WAY)


def test_everything_of_a_place_has_its_own_file(tmp_path):
    depth = np.array([[2.0, 8.0], [32.0, np.inf]])
    views = {"true": np.full((3, 2, 2), 0.2), "opacity": np.array([[0, 1.0], [0.5, 0.5]]), "true depth": depth,
             "height": np.array([[0.0, 20.0]] * 2)}
    written = write_panoramas(tmp_path, "case 4", views, 2.0, 32.0)
    assert [p.name for p in written] == ["case 4_true.png", "case 4_opacity.png", "case 4_true_depth.tif",
                                         "case 4_true_depth.png", "case 4_height.tif", "case 4_height.png"]
    assert np.array_equal(tifffile.imread(written[2]), depth.astype(np.float32))
    shown = np.asarray(Image.open(written[3]), float) / 255
    assert shown == pytest.approx(np.moveaxis(distance_rgb(depth, 2.0, 32.0), 0, -1), abs=0.003)
    assert np.asarray(Image.open(written[1]))[:, :, 0].tolist() == [[0, 255], [128, 128]]
    low, high = np.asarray(Image.open(written[5]), float)[0].mean(axis=1)
    assert low < 40 and high > 200


@pytest.mark.parametrize(("name", "views", "message"), [
    ("a", {"true": np.zeros((3, 2, 2)), "opacity": np.zeros((1, 1, 2, 2))}, r"opacity has shape \(1, 1, 2, 2\)"),
    ("../a", {"true": np.zeros((3, 2, 2))}, "no part of a file name"),
], ids=["shape", "name"])
def test_bad_views_leave_nothing(tmp_path, name, views, message):
    with pytest.raises(InputError, match=message):
        write_panoramas(tmp_path / "out", name, views)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("given", "message"), [
    (frames(2), "2 frames for a path of 3"),
    (frames(4), "more frames for a path of 3"),
    ([*frames(1), *frames(2, 22, 40)], r"frame 1 \(from 0\) has a panorama of shape \(3, 22, 40\)"),
    ([(np.zeros((3, 8, 8)), np.zeros((8, 9)))] * 3, r"depth \(8, 9\)"),
], ids=["few", "many", "size", "depth"])
def test_frames_that_do_not_fit_leave_no_film(tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        write_path_film(tmp_path / "film.mp4", given, TILE, 32.0, WAY, options=SMALL)
    assert not list(tmp_path.iterdir())


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match="near_m"):
        FilmOptions(near_m=5.0, far_m=5.0)
    with pytest.raises(InputError, match="fps"):
        FilmOptions(fps=0.0)
