"""The planes in space: sheets where the pinhole puts them, what is hidden left out, files small, never blank."""

import base64
import io
import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from rsnb.viewers import PlanesLook, planes_picture, show_planes
from rsnb.viewers import mpi_interactive as views
from rsnb.viewers.twins import figure_pixels, plain_json

K = np.array([[8.0, 0, 4], [0, 4, 2], [0, 0, 1]])  # of frames of 4 x 8 pixels; fx != fy
DEPTHS = np.array([10.0, 12.0, 16.0])
OPAQUE = 50.0


@pytest.fixture(autouse=True)
def no_figures_left_open():
    yield
    plt.close("all")


def stack() -> np.ndarray:
    """Plane 1 opaque and red but for its first column; plane 2 opaque and blue; plane 0 clear."""
    mpi = np.zeros((3, 4, 4, 8))
    mpi[1, 0], mpi[2, 2] = 1.0, 1.0
    mpi[1, 3, :, 1:], mpi[2, 3] = OPAQUE, OPAQUE
    return mpi


def arrays(trace) -> tuple[np.ndarray, np.ndarray]:
    return (np.stack([np.asarray(trace[axis], float) for axis in "xyz"], axis=1).round(4),
            np.stack([np.asarray(trace[corner], int) for corner in "ijk"], axis=1))


def faces_of(figure) -> list[int]:
    return [len(trace.facecolor) // 2 for trace in figure.data[:-1]]


def test_sheets_lie_in_the_frustum_of_the_camera():
    figure = views.planes_figure(stack(), DEPTHS, K, look=PlanesLook(least_shown=0))
    assert faces_of(figure) == [0, 28, 32]  # plane 1 without its column of 4
    vertices, faces = arrays(figure.data[2])
    # at depth 16: x = (u - 4) / 8 * 16 over u = 0..8, up = -(v - 2) / 4 * 16 over v = 0..4; 6 below the first plane
    assert vertices.min(axis=0) == pytest.approx([-8, -8, -6]) and vertices.max(axis=0) == pytest.approx([8, 8, -6])
    assert len(vertices) == 5 * 9 and len(faces) == 64
    vertices, _ = arrays(figure.data[1])
    assert vertices[:, 0].min() == pytest.approx((1 - 4) / 8 * 12) and vertices[:, 2] == pytest.approx(-2)
    assert set(figure.data[1].facecolor) == {"#ff0000"} and set(figure.data[2].facecolor) == {"#0000ff"}


def test_two_triangles_cover_each_texel_once():
    vertices, faces = arrays(views.planes_figure(stack(), DEPTHS, K, look=PlanesLook(least_shown=0)).data[1])
    a, b, c = vertices[faces].transpose(1, 0, 2)
    area = np.abs(np.cross(b - a, c - a)[:, 2]) / 2
    assert area == pytest.approx(12 / 8 * 12 / 4 / 2)  # half of a pixel at depth 12
    assert area.sum() == pytest.approx(7 * 4 * 12 / 8 * 12 / 4)


def test_what_the_reference_does_not_see_is_left_out():
    figure = views.planes_figure(stack(), DEPTHS, K)
    assert faces_of(figure) == [0, 28, 4]  # of plane 2 only what shows through the clear column
    vertices, _ = arrays(figure.data[2])
    assert vertices[:, 0].max() == pytest.approx((1 - 4) / 8 * 16)


def test_gaps_and_least_alpha_decide_what_is_opaque():
    thin = stack()
    thin[:, 3] = np.log(2.0) / 4.0 * (thin[:, 3] > 0)  # half absorbed over a gap of 4
    look = PlanesLook(least_shown=0, least_alpha=0.45)
    assert faces_of(views.planes_figure(thin, DEPTHS, K, look=look)) == [0, 28, 32]  # gaps 2, 4 and 4 again
    assert faces_of(views.planes_figure(thin, DEPTHS, K, [2, 2, 4], look)) == [0, 0, 32]
    assert faces_of(views.planes_figure(thin, DEPTHS, K, [2, 2, 4], replace(look, least_alpha=0.2))) == [0, 28, 32]


def test_stretch_and_inset_and_unit():
    look = PlanesLook(least_shown=0, stretch=3.0, inset=(1, 2, 2, 4), unit="ft")
    figure = views.planes_figure(stack(), DEPTHS, K, look=look)
    vertices, _ = arrays(figure.data[2])
    assert faces_of(figure) == [0, 8, 8]  # 2 x 4 pixels: u 2..6, v 1..3
    assert vertices.min(axis=0) == pytest.approx([-4, -4, -18]) and vertices.max(axis=0) == pytest.approx([4, 4, -18])
    assert [word for word in figure.data[-1].text if word] == ["10 ft", "16 ft"]
    assert figure.layout.sliders[0].currentvalue.suffix == " ft"


def test_the_outline_joins_first_and_last_sheet():
    corners = views.outline(K, (4, 8), DEPTHS, DEPTHS - 10)
    assert corners[0] == pytest.approx(np.array([[-5, 5, 0], [5, 5, 0], [5, -5, 0], [-5, -5, 0]]))
    assert corners[1] == pytest.approx(np.array([[-8, 8, -6], [8, 8, -6], [8, -8, -6], [-8, -8, -6]]))


def test_the_slider_takes_planes_off_from_the_front():
    steps = views.planes_figure(stack(), DEPTHS, K).layout.sliders[0].steps
    assert [step.args[0]["visible"] for step in steps] == [
        [True] * 4, [False, True, True, True], [False, False, True, True]]  # the outline always stays
    assert [step.label for step in steps] == ["10", "12", "16"]


def test_large_stacks_stay_small_in_the_notebook():
    rng = np.random.default_rng(0)
    mpi = rng.random((32, 4, 96, 128))
    mpi[:, 3] *= 4 * (rng.random((32, 96, 128)) < 0.3)
    depths = 1 / np.linspace(1 / 40, 1 / 80, 32)
    figure = views.planes_figure(mpi, depths, K, look=PlanesLook(least_shown=0))
    assert 2000 < sum(faces_of(figure)) <= PlanesLook.max_texels
    assert len(json.dumps(plain_json(figure.to_plotly_json()))) < 600_000
    fewer = views.planes_figure(mpi, depths, K, look=PlanesLook(least_shown=0, max_texels=500))
    assert 100 < sum(faces_of(fewer)) <= 500
    coarse = views.planes_figure(mpi[:2], depths[:2], K, look=PlanesLook(least_shown=0, least_alpha=0, side=16))
    assert faces_of(coarse) == [16 * 12] * 2  # 128 x 96 to 16 x 12


def test_coarse_colours_are_means_by_alpha():
    mpi = np.zeros((2, 4, 2, 2))
    mpi[0, :3, 0, 0], mpi[0, 3, 0, 0] = 1.0, OPAQUE  # one white opaque pixel among clear black ones
    colour, keep = views.decimated(mpi, views.plane_alpha(mpi, [1.0, 2.0]),
                                   PlanesLook(side=1, least_alpha=0.2, least_shown=0))
    assert colour[0, :, 0, 0] == pytest.approx(1.0) and keep[:, 0, 0].tolist() == [True, False]


def test_nan_texels_are_clear():
    mpi = stack()
    mpi[2, :, 1:3, 2:4] = np.nan
    figure = views.planes_figure(mpi, DEPTHS, K, look=PlanesLook(least_shown=0))
    assert faces_of(figure) == [0, 28, 28]
    figure_pixels(planes_picture(mpi, DEPTHS, K))


def test_the_view_carries_its_static_twin(monkeypatch):
    sent = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: sent.append(bundle))
    show_planes(stack(), DEPTHS, K)
    show_planes(stack(), DEPTHS, K, twin=np.full((3, 30, 50), 0.25))
    drawn, given = (Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"]))) for bundle in sent)
    assert given.size == (50, 30) and drawn.width == 560 and np.asarray(drawn).std() > 10
    plot = sent[0]["application/vnd.plotly.v1+json"]
    assert [trace["type"] for trace in plot["data"]] == ["mesh3d"] * 3 + ["scatter3d"]
    json.dumps(sent)  # plain: nothing of numpy is left
    assert sent[0]["text/plain"] == "3 planes"


def test_the_picture_puts_sheets_where_the_projection_says():
    straight = views.oblique(0.0, np.pi / 2)  # straight from above: right and up are those of the picture
    assert straight @ np.array([3.0, 2.0, 7.0]) == pytest.approx([3, 2])
    edge = views.oblique(0.0, 0.0)
    assert edge @ np.array([3.0, 2.0, 7.0]) == pytest.approx([3, 7])
    turned = views.oblique(np.pi / 2, np.pi / 2)
    assert turned @ np.array([3.0, 2.0, 7.0]) == pytest.approx([-2, 3])
    fig = planes_picture(stack(), DEPTHS, K, look=PlanesLook(least_shown=0), turn_deg=0, tilt_deg=90)
    ax = fig.axes[0]
    first, last = (line.get_xydata() for line in ax.lines[:2])
    assert first[0] == pytest.approx([-5, 5]) and last[2] == pytest.approx([8, -8])
    picture = figure_pixels(fig)
    middle = picture[:, picture.shape[1] // 2, picture.shape[2] // 3]
    assert middle == pytest.approx([1, 0, 0], abs=0.02)  # the red sheet above the blue one
    assert ((picture[2] > 0.9) & (picture[0] < 0.1)).any()  # which is wider


@pytest.mark.parametrize("name, value", [
    ("turn_deg", 40.0), ("tilt_deg", 60.0), ("width", 5.0), ("gaps", [1e-3] * 3), ("look", PlanesLook(unit="ft")),
    ("look", PlanesLook(stretch=2.0)), ("look", PlanesLook(inset=(1, 2, 2, 4))), ("look", PlanesLook(least_shown=0.0))],
    ids=["turn", "tilt", "width", "gaps", "unit", "stretch", "inset", "shown"])
def test_arguments_of_the_picture_change_it(name, value):
    plain = figure_pixels(planes_picture(stack(), DEPTHS, K))
    other = figure_pixels(planes_picture(stack(), DEPTHS, K, **{name: value}))
    assert plain.shape != other.shape or np.abs(plain - other).max() > 0.1
