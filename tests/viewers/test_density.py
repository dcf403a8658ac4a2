"""Figures of notebook 04 say what the arrays say, in one scale, with nothing cut off."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.viewers.colours import depth_colours
from rsnb.viewers.density import height_panels, panorama_strips, path_map, skyline_plot, style_matrix
from rsnb.viewers.density_scores import calibration_curve, interval_bars, training_curves

TILE = np.full((3, 12, 12), 0.4)


@pytest.fixture(autouse=True)
def no_figures_left_open():
    yield
    plt.close("all")


def texts(fig) -> list[str]:
    return [text.get_text() for text in fig.findobj(plt.Text) if text.get_text() and text.get_visible()]


def drawn(fig) -> list[np.ndarray]:
    return [np.asarray(ax.images[0].get_array()) for ax in fig.axes if ax.images]


def assert_nothing_cut(fig) -> None:
    """No title, label or annotation reaches over the edge of the figure, and no title into another."""
    fig.canvas.draw()
    width, height = fig.canvas.get_width_height()
    for ax in fig.axes:
        for text in [*ax.texts, ax._left_title, ax.xaxis.label, ax.yaxis.label]:
            if text.get_text() and text.get_visible() and ax.axison:
                box = text.get_window_extent()
                assert box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1, text.get_text()
    titles = [ax._left_title.get_window_extent() for ax in fig.axes if ax.get_title(loc="left")]
    for i, one in enumerate(titles):
        assert not any(one.overlaps(other) for other in titles[i + 1 :])


def test_heights_share_one_scale_and_say_their_error():
    truth = np.zeros((8, 8))
    truth[2:4, 2:4] = 9.0
    ours = truth + 0.5
    ours[0, 0] = np.nan
    fig = height_panels([("a", TILE, ours, truth), ("b", TILE, truth, truth / 2)], 32.0)
    assert_nothing_cut(fig)
    limits = {ax.images[0].get_clim() for row in (1, 5) for ax in fig.axes[row : row + 2]}
    assert len(limits) == 1 and max(limits)[1] == pytest.approx(9.5, abs=0.5)
    # rmse of a: 0.5 everywhere; of b: 4.5 at 4 of 64 cells = 4.5 sqrt(4 / 64) = 1.125
    assert "predicted − true, RMSE 0.50 m" in texts(fig) and "predicted − true, RMSE 1.12 m" in texts(fig)
    assert np.nanmax(np.abs(drawn(fig)[3] - 0.5)) == pytest.approx(0) and fig.axes[3].images[0].get_clim() == (-5, 5)
    assert "a, 32 m" in texts(fig)


def test_heights_without_a_truth():
    fig = height_panels([("own", TILE, np.ones((8, 8)), None)], 20.0)
    assert "predicted height" in texts(fig) and "true height" not in texts(fig)
    assert_nothing_cut(fig)
    with pytest.raises(InputError, match="for all tiles or for none"):
        height_panels([("a", TILE, np.ones((8, 8)), None), ("b", TILE, np.ones((8, 8)), np.ones((8, 8)))], 20.0)


def places(n=2):
    rng = np.random.default_rng(0)
    return [(f"place {i}", {"true": rng.random((3, 16, 64)), "opacity": np.full((16, 64), 0.25 + i / 2),
                            "depth": np.full((16, 64), 4.0 + i)}) for i in range(n)]


def test_panoramas_of_a_kind_share_one_scale():
    fig = panorama_strips(places(), near_m=2.0, far_m=50.0)
    assert_nothing_cut(fig)
    pictures = drawn(fig)[:6]
    assert pictures[0].shape == (16, 64, 3)
    assert pictures[2][0, 0] == 0.25 and pictures[3][0, 0] == 0.75
    assert {ax.images[0].get_clim() for ax in fig.axes[2:4]} == {(0, 1)}
    wanted = depth_colours(np.full((1, 1), 5.0), 2.0, 50.0)[:, 0, 0]
    assert pictures[5][3, 3] == pytest.approx(wanted) and not np.allclose(pictures[4], pictures[5])
    assert "place 0: true" in texts(fig) and "place 1: true" in texts(fig)


def test_the_compass_follows_the_heading():
    fig = panorama_strips(places(), headings=[0.0, np.pi / 2])
    at = [dict(zip([t.get_text() for t in ax.get_xticklabels()], ax.get_xticks(), strict=True)) for ax in fig.axes[4:6]]
    # 64 columns: north in the middle is at 31.5, east a quarter on; then east in the middle, north a quarter before
    assert at[0]["N"] == pytest.approx(31.5) and at[0]["E"] == pytest.approx(47.5)
    assert at[1]["E"] == pytest.approx(31.5) and at[1]["N"] == pytest.approx(15.5)


def test_panoramas_of_other_kinds_are_refused():
    with pytest.raises(InputError, match="the same kinds"):
        panorama_strips([places()[0], ("b", {"true": np.zeros((3, 16, 64))})])


def test_skylines_in_degrees_with_their_error():
    truth = np.radians(np.full(36, 10.0))
    truth[0] = np.nan
    ours = np.radians(np.full(36, 13.0))
    fig = skyline_plot(truth, {"ours": ours, "flat": np.zeros(36)}, heading=np.pi / 2)
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["true", "ours, mean error 3.0°",
                                                                   "flat, mean error 10.0°"]
    x, y = ax.lines[1].get_data()
    assert x[0] == pytest.approx(-85) and x[-1] == pytest.approx(265) and y == pytest.approx(13.0)
    labels = dict(zip(ax.get_xticks(), [t.get_text() for t in ax.get_xticklabels()], strict=True))
    assert labels[90] == "E\n90°" and labels[0] == "N\n0°" and labels[-90] == "W\n270°"
    assert_nothing_cut(fig)
    over = skyline_plot(truth, {"ours": ours}, panorama=np.zeros((3, 16, 64)), vertical_fov=np.pi / 2)
    assert over.axes[0].images[0].get_extent() == [-180, 180, -45, 45]


def test_the_path_stands_on_the_tile_in_metres():
    points, headings = np.array([[-8, -8], [0, 0], [8, 0.0]]), np.radians([45, 90, 90.0])
    fig = path_map(TILE, 32.0, {"drive": (points, headings)}, clicked=np.array([[1, 2.0]]))
    ax = fig.axes[0]
    assert ax.images[0].get_extent() == [-16, 16, -16, 16] and ax.get_xlim() == (-16, 16)
    assert np.array_equal(ax.lines[0].get_xydata(), points)
    arrows = ax.collections[0]
    assert arrows.U == pytest.approx([np.sqrt(0.5), 1, 1]) and arrows.V == pytest.approx([np.sqrt(0.5), 0, 0])
    assert ax.lines[-1].get_xydata().tolist() == [[1, 2]] and {"drive", "clicked"} <= set(texts(fig))
    assert_nothing_cut(fig)


def test_every_tile_under_every_sky():
    pictures = [[np.full((3, 8, 32), (i + 1) * 0.1 + j * 0.3) for j in range(2)] for i in range(3)]
    fig = style_matrix([TILE] * 3, [np.zeros((3, 8, 32))] * 2, pictures, (["a", "b", "c"], ["noon", "dusk"]))
    assert_nothing_cut(fig)
    shown = drawn(fig)
    assert len(shown) == 2 + 3 * 3
    assert [shown[k][0, 0, 0] for k in (3, 4, 6, 7, 9, 10)] == pytest.approx([0.1, 0.4, 0.2, 0.5, 0.3, 0.6])
    assert {"a", "b", "c", "noon", "dusk"} <= set(texts(fig))
    assert len(drawn(style_matrix([TILE], [], pictures[:1]))) == 3
    with pytest.raises(InputError, match="a row a tile"):
        style_matrix([TILE] * 2, [], pictures)


def history(scale=1.0, n=60):
    return [{"step": i, "loss": scale * 0.9**i} | ({"rmse": 3.0 - i / 30} if i % 20 == 0 else {}) for i in range(n)]


def test_training_curves_have_a_panel_a_key():
    fig = training_curves({"ours": [history(), history(2.0)], "plain": history(3.0)},
                          {"loss": "loss, L1", "rmse": "height RMSE, m", "none": "other"}, goals={"rmse": 1.5})
    loss, rmse, nothing = fig.axes[:3]
    assert loss.get_yscale() == "log" and rmse.get_yscale() == "linear" and len(loss.lines) == 3
    assert rmse.lines[0].get_xydata().tolist() == [[0, 3.0], [20, pytest.approx(3 - 20 / 30)],
                                                   [40, pytest.approx(3 - 40 / 30)]]
    assert rmse.lines[-1].get_ydata()[0] == 1.5 and "goal" in texts(fig)
    assert "nothing recorded" in [t.get_text() for t in nothing.texts]
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["ours", "plain"]
    assert loss.lines[0].get_color() == loss.lines[1].get_color() != loss.lines[2].get_color()
    assert_nothing_cut(fig)
    with pytest.raises(InputError, match="nothing to draw"):
        training_curves({}, {"loss": "loss"})


def test_bars_with_intervals_and_goals():
    scores = {"ours": {"rmse": (1.4, 1.2, 1.6), "iou": 0.77}, "constant height": {"rmse": 2.7}}
    fig = interval_bars(scores, {"rmse": "height RMSE, m (less is better)", "iou": "footprint IoU"}, ["ours"],
                        {"rmse": 1.7})
    rmse, iou = fig.axes[:2]
    assert [bar.get_width() for bar in rmse.patches] == [1.4, 2.7]
    assert rmse.patches[0].get_facecolor() != rmse.patches[1].get_facecolor()
    assert rmse.lines[0].get_xdata().tolist() == [1.2, 1.6] and rmse.lines[-1].get_xdata()[0] == 1.7
    assert [t.get_text() for t in rmse.texts] == ["1.40", "2.70"]
    assert [t.get_text() for t in iou.texts] == ["0.77", "–"]
    assert [t.get_text() for t in rmse.get_yticklabels()] == ["ours", "constant height"]
    assert rmse.get_ylim()[0] > rmse.get_ylim()[1]  # the first on top
    assert "goal" in [t.get_text() for t in fig.legends[0].get_texts()]
    assert_nothing_cut(fig)
    with pytest.raises(InputError, match="no score"):
        interval_bars({}, {"rmse": "x"}, [])


def test_the_calibration_marks_the_peak_of_the_mean():
    heights = np.linspace(1, 3, 5)
    lines = np.array([[0, 0.3, 0.2, 0.1, 0], [0, 0.1, 0.4, np.nan, 0]])
    fig = calibration_curve(heights, lines, {"assumed": 2.5}, metres_a_pixel=0.125, names=["case 2", "case 4"])
    ax = fig.axes[0]
    words = [t.get_text() for t in ax.get_legend().get_texts()]
    assert words[0] == "mean of 2 pairs" and words[2] == "assumed: 2.50 m"
    assert words[1] == "best: 2.00 m = 16.0 tile pixels, correlation 0.30"  # (0.2 + 0.4) / 2 at 2 m
    mean = next(line for line in ax.lines if line.get_label() == "mean of 2 pairs")
    assert mean.get_ydata() == pytest.approx([0, 0.2, 0.3, 0.1, 0])
    assert ax.child_axes[0].get_xlabel() == "tile pixels" and {"case 2", "case 4"} <= {t.get_text() for t in ax.texts}
    assert_nothing_cut(fig)
    with pytest.raises(InputError, match=r"heights \(5,\) and correlations \(1, 4\)"):
        calibration_curve(heights, np.zeros(4))
