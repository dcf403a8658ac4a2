"""Figures say what the arrays say: colours by hand, outputs that are never blank, files that are pictures."""

import base64
import io
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from rsnb.scenes import Material, SemanticClass, TexturedMesh
from rsnb.viewers import depth_colours, image_grid, label_colours, normal_colours, show
from rsnb.viewers import mesh as figures
from rsnb.viewers.colours import SKY

CLASSES = (SemanticClass(0, "unclassified", (0, 0, 0)), SemanticClass(2, "road", (255, 0, 51)))


@pytest.fixture(autouse=True)
def no_figures_left_open():
    yield
    plt.close("all")


def test_label_colours_are_the_tables_and_nothing_is_light():
    rgb = label_colours(np.array([[0, 2]]), CLASSES)
    assert rgb[:, 0, 1].tolist() == [1.0, 0.0, 0.2]
    assert rgb[:, 0, 0] == pytest.approx(SKY)


def test_near_is_brighter_than_far_and_sky_is_grey():
    rgb = depth_colours(np.array([[1.0, 3.0, 10.0, 30.0, np.inf]]))
    brightness = rgb.sum(axis=0)[0]
    assert (np.diff(brightness[:4]) < 0).all() and rgb[:, 0, 4] == pytest.approx(SKY)


def test_normals_up_east_and_none():
    normal = np.array([[[0, 1, 0]], [[0, 0, 0]], [[1, 0, 0]]], float)  # up, east, none
    rgb = normal_colours(normal)
    assert rgb[:, 0, 0].tolist() == [0.5, 0.5, 1.0] and rgb[:, 0, 1].tolist() == [1.0, 0.5, 0.5]
    assert rgb[:, 0, 2] == pytest.approx(SKY)


def test_a_shown_figure_is_saved_and_closed(tmp_path):
    fig = image_grid([np.full((3, 40, 60), 0.5)] * 5, ["a"] * 5, columns=3)
    picture = Image.open(show(fig, tmp_path / "grid.png"))
    assert picture.width == 880 and not plt.fignum_exists(fig.number)


def bumpy(n: int = 40) -> TexturedMesh:
    x, y = np.meshgrid(np.arange(n), np.arange(n))
    vertices = np.stack([x, y, np.sin(x / 3.0) * 3], axis=-1).reshape(-1, 3).astype(float)
    a = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + n + 1], 1), np.stack([a, a + n + 1, a + n], 1)]).astype(np.int32)
    half = np.zeros((4, 4, 3), np.uint8)
    half[:2] = (255, 0, 0)  # upper half red: v > 0.5
    uv = np.where(vertices[faces][..., :1] < 20, 0.9, 0.1) * np.ones((1, 1, 2))
    return TexturedMesh(vertices, faces, uv.astype(np.float32), np.zeros(len(faces), np.int32),
                        (Material("half", texture=half),), np.zeros(len(faces), np.int32))


def test_decimation_keeps_the_extent_within_the_budget():
    mesh = bumpy()
    vertices, faces, source = figures.decimate(mesh, 800)
    assert 100 < len(faces) <= 800 and faces.max() < len(vertices) and source.max() < len(mesh.faces)
    assert np.abs(np.ptp(vertices, axis=0) - np.ptp(mesh.vertices, axis=0)).max() < 4.0
    a, b, c = faces.T
    assert not ((a == b) | (b == c) | (c == a)).any()


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e4])
def test_decimation_does_not_depend_on_the_unit(scale):
    mesh = replace(bumpy(), vertices=bumpy().vertices * scale)
    assert 100 < len(figures.decimate(mesh, 800)[1]) <= 800


def test_scattered_small_things_leave_their_largest_faces():
    one = bumpy(12).vertices
    faces = bumpy(12).faces
    far = np.random.default_rng(0).uniform(0, 1e6, (60, 3)) * (1, 1, 0)
    vertices = np.concatenate([one + shift for shift in far])
    many = np.concatenate([faces + k * len(one) for k in range(60)])
    n = len(many)
    mesh = TexturedMesh(vertices, many, np.zeros((n, 3, 2), np.float32), np.zeros(n, np.int32), (Material("plain"),),
                        np.zeros(n, np.int32))
    assert 50 < len(figures.decimate(mesh, 500)[1]) <= 500


def test_face_colours_take_the_texture_with_v_up():
    mesh = bumpy()
    colour = figures.face_colours(mesh)
    west = mesh.vertices[mesh.faces].mean(axis=1)[:, 0] < 18
    assert np.allclose(colour[west], (1, 0, 0)) and np.allclose(colour[~west][-5:], 0)


def test_the_mesh_view_carries_its_static_twin(monkeypatch):
    sent = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: sent.append(bundle))
    figures.show_mesh(bumpy(), np.full((3, 30, 50), 0.25), max_faces=300)
    (bundle,) = sent
    twin = Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"])))
    assert twin.size == (50, 30) and abs(np.asarray(twin).mean() - 64) < 3
    plot = bundle["application/vnd.plotly.v1+json"]
    assert plot["data"][0]["type"] == "mesh3d" and len(plot["data"][0]["facecolor"]) <= 300


def test_the_checkerboard_takes_squares_in_turn():
    blend = figures.checkerboard_blend(np.zeros((3, 8, 8)), np.ones((3, 8, 8)), squares=4)
    assert blend[0, 0].tolist() == [0, 0, 1, 1, 0, 0, 1, 1] and blend[0, 2].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]


def test_score_figures_hold_every_number():
    scores = {"mesh": [18.0, 17.0, 16.0], "IBR": [25.0, 27.0, 22.0]}
    strips = figures.score_strips(scores, [8.0, 8.0, 2.0])
    lines = [line.get_ydata() for line in strips.axes[1].lines]
    assert lines[0].tolist() == [16.0, 18.0, 17.0] and lines[1].tolist() == [22.0, 25.0, 27.0]  # the hardest first
    curve = figures.pose_error_curve(["0", "1"], [25.0, 17.0], 18.0)
    assert curve.axes[0].lines[1].get_ydata().tolist() == [25.0, 17.0]


def test_the_nadir_maps_mark_each_camera_where_it_stands():
    fig = figures.nadir_maps(np.zeros((3, 20, 30)), np.zeros((20, 30)), np.full((20, 30), 2), CLASSES,
                             np.array([[3.0, 4.0], [10.0, 12.0]]), np.array([0.0, np.pi / 2]))
    assert fig.axes[0].lines[0].get_xydata().tolist() == [[3, 4], [10, 12]]
    arrows = fig.axes[0].collections[0]
    assert arrows.V[0] < 0 and arrows.U[1] > 0  # north is up in the picture, rows count down
