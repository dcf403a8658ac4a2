"""A volume to turn around and its picture: things where the projection puts them, small, never blank."""

import base64
import io
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import trimesh
from PIL import Image

from rsnb.errors import InputError
from rsnb.viewers import density_interactive as views
from rsnb.viewers import volume_view
from rsnb.viewers.density_interactive import VolumeLook, path_film, show_volume, sky_slider, volume_picture
from rsnb.viewers.twins import figure_pixels, plain_json
from rsnb.viewers.volume_view import box_corners, oblique_view, on_screen

SOLID = 50.0


@pytest.fixture(autouse=True)
def no_figures_left_open():
    yield
    plt.close("all")


@pytest.fixture
def sent(monkeypatch):
    bundles = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def block():
    """A red tower of 4 x 4 x 6 m in the north-east of a grey tile of 16 m; voxels of 1 m, 8 m high."""
    sigma, tile = np.zeros((8, 16, 16)), np.full((3, 16, 16), 0.5)
    sigma[:6, 2:6, 10:14] = SOLID
    tile[:, 2:6, 10:14] = np.array([1.0, 0, 0])[:, None, None]
    return sigma, tile


def test_from_straight_above_it_is_the_tile():
    sigma, tile = block()
    picture, place = oblique_view(sigma, tile, 16.0, 8.0, turn_deg=0, tilt_deg=90, width=160)
    assert picture.shape == (3, 160, 160) and place == pytest.approx((-8, 8, -8, 8))
    red = (picture[0] > 0.9) & (picture[1] < 0.1)
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 59, 100, 139)
    assert picture[:, 150, 20] == pytest.approx(0.5, abs=0.01)  # open ground has its own colour


def test_seen_obliquely_the_tower_stands_where_the_projection_says():
    sigma, tile = block()
    for turn, tilt in ((0, 30), (90, 45), (-35, 50)):
        picture, (left, right, bottom, top) = oblique_view(sigma, tile, 16.0, 8.0, turn, tilt, width=240)
        red = (picture[0] > 2 * picture[1] + 0.1)
        rows, columns = np.nonzero(red)
        pixel = (right - left) / 240
        box = np.array([[x, y, z] for x in (2, 6) for y in (2, 6) for z in (0, 6.0)])  # 16 m: columns 10..13 are 2..6
        seen = on_screen(box, turn, tilt)
        found = [left + columns.min() * pixel, left + (columns.max() + 1) * pixel,
                 top - (rows.max() + 1) * pixel, top - rows.min() * pixel]
        wanted = [seen[:, 0].min(), seen[:, 0].max(), seen[:, 1].min(), seen[:, 1].max()]
        assert found == pytest.approx(wanted, abs=2.5 * pixel)
        assert picture[:, 0, 0].tolist() == [1, 1, 1]  # paper around


def test_walls_are_darker_than_roofs_and_thin_smoke_lets_through():
    sigma, tile = block()
    picture, (_, _, _, top) = oblique_view(sigma, tile, 16.0, 8.0, 0, 45, width=240)
    pixel = 16 / 240
    at = [on_screen(np.array(point), 0, 45) for point in ([4, 4, 6.0], [4, 2, 3.0])]
    roof, wall = (picture[0, int((top - v) / pixel), int((u + 8) / pixel)] for u, v in at)
    assert roof == pytest.approx(1, abs=0.02) and 0.4 < wall < 0.7


def test_smoke_lets_the_ground_show_through(monkeypatch):
    # a voxel has the colour of the tile's pixel at its middle, here black; the ground has its own, here white elsewhere
    sigma, tile = np.zeros((8, 16, 16)), np.ones((3, 32, 32))
    sigma[:6, 2:6] = np.log(2) / 6
    tile[:, 1::2, 1::2] = 0
    monkeypatch.setattr(volume_view, "_light", lambda sigma, *_: np.ones_like(sigma))
    for tilt in (90, 30):
        picture, (left, right, _, top) = oblique_view(sigma, tile, 16.0, 8.0, 0, tilt, width=320)
        u, v = on_screen(np.array([-7.75, 4.75, 0.0]), 0, tilt)  # a white pixel; the smoke spans 2..6 m north
        seen = picture[0, int((top - v) / 0.05), int((u - left) / 0.05)]
        if tilt == 90:
            # the smoke lets 2^-(6 / 6) through, and the ground gets the light that its own voxel lets through
            assert right - left == pytest.approx(16) and seen == pytest.approx(0.5 * 2 ** (-1 / 6), abs=0.005)
        else:
            # towards the camera in the south 2.75 m of smoke along the ground, 2.75 / cos 30 along the ray
            assert seen == pytest.approx(2 ** (-2.75 / np.cos(np.radians(30)) / 6) * 2 ** (-1 / 6), abs=0.01)


def test_the_surface_in_plotly_is_closed_and_in_metres():
    sigma, tile = block()
    ground, surface, box, north = views.volume_figure(sigma, tile, 16.0, 8.0).data
    vertices, faces = (np.stack([np.asarray(surface[k], float) for k in keys], axis=1) for keys in ("xyz", "ijk"))
    mesh = trimesh.Trimesh(vertices, faces.astype(int), process=False)
    assert mesh.is_watertight and mesh.volume > 0
    assert mesh.bounds == pytest.approx(np.array([[2, 2, 0], [6, 6, 6]]), abs=0.01)
    seen = np.array([[int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)] for colour in surface.facecolor])
    level = np.abs(mesh.face_normals[:, 2] - 1) < 1e-6
    inside = level & (np.abs(mesh.triangles_center[:, 0] - 4) < 1.2) & (np.abs(mesh.triangles_center[:, 1] - 4) < 1.2)
    assert inside.any() and (seen[inside] == [1, 0, 0]).all()  # the roof in full light
    walls = (mesh.face_normals[:, 0] > 0.999) & (np.abs(mesh.triangles_center[:, 1] - 4) < 1.2)
    assert walls.any() and seen[walls, 0] == pytest.approx(0.5, abs=0.26) and seen[walls, 0].max() < 0.6
    assert len(ground.i) == len(ground.facecolor) == 2 * 16 * 16
    first = np.array([ground.x[ground.i[0]], ground.y[ground.i[0]]])
    assert first.tolist() == [-8, 8]  # row 0, column 0 is the north-western corner
    red = [k for k, colour in enumerate(ground.facecolor) if colour == "#ff0000"]
    middle = np.mean([[ground.x[ground.i[k]], ground.y[ground.i[k]]] for k in red], axis=0)
    assert middle == pytest.approx([3.5, 4.5])  # the north-western corners of squares from 2 to 6
    up = np.cross(*(np.array([[a[ground[c][0]] for a in (ground.x, ground.y, ground.z)] for c in "jk"])
                    - [ground.x[ground.i[0]], ground.y[ground.i[0]], 0.0]))
    assert up[2] > 0
    assert np.ptp(np.asarray(box.z)) == 8 and north.text == ("N",)


def test_large_volumes_stay_small_in_the_notebook():
    rng = np.random.default_rng(0)
    sigma = SOLID * (rng.random((32, 96, 96)) < 0.02).astype(float)
    sigma[:20, 20:50, 30:70] = SOLID
    figure = views.volume_figure(sigma, rng.random((3, 256, 256)), 32.0, 12.0)
    assert 300 < len(figure.data[1].i) <= VolumeLook.max_faces
    assert len(json.dumps(plain_json(figure.to_plotly_json()))) < 300_000
    north = views.coarse_surface(sigma, 32.0, 12.0, VolumeLook(max_faces=800))[0][:, 1]
    # the block survives: rows 20..50 of 96 on 32 m are 16 - 6.67 = 9.33 down to -0.67 north
    assert (north.min(), north.max()) == pytest.approx((-0.67, 9.33), abs=1.5)


def test_an_empty_volume_shows_the_tile_alone():
    figure = views.volume_figure(np.zeros((4, 8, 8)), np.zeros((3, 8, 8)), 8.0, 4.0)
    assert [trace.type for trace in figure.data] == ["mesh3d", "scatter3d", "scatter3d"]
    with pytest.raises(InputError, match="Densities"):
        views.volume_figure(np.full((4, 8, 8), np.nan), np.zeros((3, 8, 8)), 8.0, 4.0)


def test_the_view_carries_its_static_twin(sent):
    show_volume(*block(), 16.0, 8.0)
    (bundle,) = sent
    twin = np.asarray(Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"]))))
    assert twin.shape[1] == 560 and twin.std() > 10
    assert bundle["application/vnd.plotly.v1+json"]["data"][1]["type"] == "mesh3d"
    assert bundle["text/plain"] == "density volume, 8 x 16 x 16 voxels"
    json.dumps(sent)


@pytest.mark.parametrize("look", [VolumeLook(turn_deg=20.0), VolumeLook(tilt_deg=60.0)], ids=["turn", "tilt"])
def test_the_look_changes_the_picture(look):
    plain, other = (figure_pixels(volume_picture(*block(), 16.0, 8.0, l, width=3.0)) for l in (None, look))
    assert plain.shape != other.shape or np.abs(plain - other).max() > 0.1


def test_the_picture_says_how_large_it_is():
    fig = volume_picture(*block(), 16.0, 8.0)
    assert {"16 m", "8 m", "N"} <= {t.get_text() for t in fig.axes[0].texts}
    corners = on_screen(box_corners(16.0, 8.0), -30.0, 40.0)
    assert fig.axes[0].lines[0].get_xydata()[:4] == pytest.approx(corners[:4])
    fig.canvas.draw()
    for text in fig.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 > 0 and box.y0 > 0 and box.x1 < fig.bbox.width and box.y1 < fig.bbox.height


def test_skies_to_slide_through(sent):
    pictures = [np.full((3, 16, 64), value) for value in (0.2, 0.5, 0.8)]
    sky_slider(pictures, ["dusk", "half way", "noon"])
    html = sent[0]["text/html"]
    assert html.count("<img") == 3 and [html.index(w) for w in ("dusk", "half way", "noon")] == sorted(
        html.index(w) for w in ("dusk", "half way", "noon"))
    shades = [np.asarray(Image.open(io.BytesIO(base64.b64decode(part.split('"')[0])))).mean() / 255
              for part in html.split("base64,")[1:]]
    assert shades == pytest.approx([0.2, 0.5, 0.8], abs=0.01)
    assert "image/jpeg" in sent[0]
    with pytest.raises(InputError, match="3 pictures and 2 labels"):
        sky_slider(pictures, ["a", "b"])


def test_a_way_to_go_along_in_one_depth_scale(sent):
    rgb = [np.full((3, 16, 64), 0.5)] * 3
    path_film(rgb, [np.full((16, 64), 5.0), np.full((16, 64), 5.0), np.full((16, 64), 30.0)], 2.0, 40.0)
    frames = [np.asarray(Image.open(io.BytesIO(base64.b64decode(part.split('"')[0]))), float)
              for part in sent[0]["text/html"].split("base64,")[1:]]
    assert frames[0].shape == (32, 64, 3)
    assert frames[0][24, 30] == pytest.approx(frames[1][24, 30]) and np.abs(frames[0] - frames[2])[24, 30].max() > 50
    with pytest.raises(InputError, match="3 panoramas and 1 depths"):
        path_film(rgb, [np.zeros((16, 64))])
    with pytest.raises(InputError, match="at least two"):
        path_film(rgb[:1], [np.zeros((16, 64))])
