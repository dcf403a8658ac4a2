"""Figures of views, layers, depth, curves, scores and cameras say what the arrays say."""

import io
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from rsnb.errors import InputError
from rsnb.viewers import camera_map, depth_panel, layer_strip, psnr_curves, score_bars, view_comparison
from rsnb.viewers import mpi as figures
from rsnb.viewers.planes import as_array, plane_alpha, plane_corners, shown_weights, shrink
from rsnb.viewers.scores import curve, first_reach

LOG2 = float(np.log(2.0))


@pytest.fixture(autouse=True)
def no_figures_left_open():
    yield
    plt.close("all")


def texts(fig) -> list[str]:
    """All titles, labels and annotations with words in them."""
    found = fig.findobj(plt.Text)
    return [text.get_text() for text in found if text.get_text() and text.get_visible()]


def drawn(fig) -> list[np.ndarray]:
    """The picture of every axis that has one, in the order of the axes; not those of colour bars."""
    return [np.asarray(ax.images[0].get_array()) for ax in fig.axes if ax.images]


def pixels(fig) -> np.ndarray:
    data = io.BytesIO()
    fig.savefig(data, format="png", dpi=60)
    return np.asarray(Image.open(data).convert("RGB"), float)


def assert_nothing_cut(fig) -> None:
    """No word reaches over the edge of the figure, and no title into the next axis."""
    fig.canvas.draw()
    width, height = fig.canvas.get_width_height()
    for text in fig.findobj(plt.Text):
        if (text.get_text() and text.get_visible() and text.axes is not None) or text in fig.texts:
            box = text.get_window_extent()
            assert box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1, text.get_text()
    titles = [ax.title.get_window_extent() if ax.title.get_text() else ax._left_title.get_window_extent()
              for ax in fig.axes if ax.get_title(loc="left")]
    for i, one in enumerate(titles):
        assert not any(one.overlaps(other) for other in titles[i + 1 :])


def flat(value, shape=(3, 24, 32)) -> np.ndarray:
    return np.full(shape, float(value))


def stack(planes=12, size=(6, 8), sigma=0.5) -> tuple[np.ndarray, np.ndarray]:
    """Grey planes, plane i of brightness i / planes, at depths 10, 12, 14 ..."""
    mpi = np.zeros((planes, 4, *size))
    mpi[:, :3] = (np.arange(planes) / planes)[:, None, None, None]
    mpi[:, 3] = sigma
    return mpi, 10.0 + 2.0 * np.arange(planes)


# planes in numpy


def test_alpha_is_the_closed_form_with_the_last_gap_repeated():
    mpi = np.zeros((3, 4, 1, 2))
    mpi[:, 3, 0, 0] = LOG2 / np.array([1.0, 2.0, 2.0])  # gaps 1, 2, and 2 once more: half is absorbed by each
    alpha = plane_alpha(mpi, [4.0, 5.0, 7.0])
    assert alpha[:, 0, 0] == pytest.approx([0.5, 0.5, 0.5]) and not alpha[:, 0, 1].any()
    assert plane_alpha(mpi, [4, 5, 7], gaps=[2.0, 2.0, 2.0])[0, 0, 0] == pytest.approx(0.75)
    assert shown_weights(alpha)[:, 0, 0] == pytest.approx([0.5, 0.25, 0.125])


def test_corners_of_a_sheet_by_hand():
    K = np.array([[100.0, 0, 30], [0, 50, 10], [0, 0, 1]])  # fx != fy, off centre
    corners = plane_corners(K, (20, 80), [2.0, 10.0])
    # x = (u - 30) / 100 z, y = (v - 10) / 50 z for (u, v) = (0, 0), (80, 0), (80, 20), (0, 20)
    assert corners[1] == pytest.approx(np.array([[-3, -2, 10], [5, -2, 10], [5, 2, 10], [-3, 2, 10]]))
    assert corners[0] == pytest.approx(corners[1] / 5)


def test_shrinking_averages_whole_blocks_also_where_sides_do_not_divide():
    small = shrink(np.arange(10.0).reshape(1, 2, 5), (1, 2))  # columns 0, 1 and 2, 3, 4 of both rows
    assert small == pytest.approx(np.array([[[3.0, 5.5]]]))
    assert shrink(np.ones((1, 2, 3)), (5, 5)).shape == (1, 2, 3)


def test_tensors_are_taken_as_they_are():
    torch = pytest.importorskip("torch")
    assert as_array(torch.ones(2, requires_grad=True)).tolist() == [1, 1]
    mpi, depths = stack(2)
    ours, plain = layer_strip(torch.tensor(mpi, requires_grad=True), torch.tensor(depths)), layer_strip(mpi, depths)
    assert texts(ours) == texts(plain)
    assert all(np.array_equal(a, b) for a, b in zip(drawn(ours), drawn(plain), strict=True))


def test_depths_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="with depths"):
        layer_strip(stack()[0], [1.0, 2.0])


# views against the truth


def rows(n=2):
    truth = flat(0.5)
    return [(f"view {i}", truth, {"plane": flat(0.1), "ours": flat(0.4)}, {"plane": 12.34, "ours": 31.4159})
            for i in range(n)]


def test_a_row_a_view_with_the_error_of_ours():
    fig = view_comparison(rows())
    shown = drawn(fig)
    assert len(shown) == 2 * 4
    assert shown[0] == pytest.approx(0.5) and shown[1] == pytest.approx(0.1) and shown[2] == pytest.approx(0.4)
    assert shown[3] == pytest.approx(0.1) and shown[3].shape == (24, 32)  # |0.4 - 0.5|
    words = " ".join(texts(fig))
    for wanted in ("view 0", "view 1", "plane\n12.3 dB", "ours\n31.4 dB", "of ours"):
        assert wanted in words
    assert drawn(view_comparison(rows(), ours="plane"))[3] == pytest.approx(0.4)


def test_the_error_scale_and_its_limit():
    assert view_comparison(rows(), error_limit=0.7).axes[3].images[0].get_clim() == (0, 0.7)


def test_zooming_adds_a_row_cut_from_where_the_box_lies():
    planted = rows(1)
    planted[0][1][:, 5, 7] = 1.0
    fig = view_comparison(planted, zoom=(4, 6, 8, 12))
    shown = drawn(fig)
    assert len(shown) == 8 and shown[4].shape == (8, 12, 3)
    assert shown[4][1, 1].tolist() == [1, 1, 1] and (shown[4] == 1).sum() == 3
    box = fig.axes[0].patches[0]
    assert (box.get_y(), box.get_x(), box.get_height(), box.get_width()) == (3.5, 5.5, 8, 12)
    assert_nothing_cut(fig)


@pytest.mark.parametrize("shape", [(3, 24, 32), (3, 40, 24), (3, 20, 60)], ids=["wide", "tall", "panorama"])
def test_comparisons_of_any_aspect_cut_nothing(shape):
    methods = {name: flat(0.3, shape) for name in ("best single plane", "nearest view", "published", "ours")}
    entry = ("view 007104", flat(0.5, shape), methods, dict.fromkeys(methods, 21.0))
    fig = view_comparison([entry] * 2)
    assert_nothing_cut(fig)
    box = fig.axes[0].get_window_extent()
    assert box.height / box.width == pytest.approx(shape[1] / shape[2], rel=0.02)
    assert box.width > 0.8 * fig.get_window_extent().width / 7.2  # pictures fill the width


# layers


def test_the_strip_holds_colour_sigma_and_alpha_of_its_planes():
    mpi, depths = stack(sigma=0.0)
    mpi[:, 3, 2, 3] = LOG2 / 2.0  # one texel a plane that absorbs half over the gap of 2
    fig = layer_strip(mpi, depths, columns=None)
    shown = drawn(fig)
    assert len(shown) == 36
    for plane in (0, 5, 11):
        assert shown[plane] == pytest.approx(plane / 12)
        assert shown[12 + plane][2, 3] == pytest.approx(LOG2 / 2) and shown[12 + plane].max() < 0.35
        assert shown[24 + plane][2, 3] == pytest.approx(0.5) and shown[24 + plane].sum() == pytest.approx(0.5)
    assert {"10.0", "12.0", "32.0"} <= set(texts(fig))
    assert_nothing_cut(fig)


def test_gaps_change_alpha_and_nothing_else():
    mpi, depths = stack(2, sigma=LOG2)
    thin, thick = (drawn(layer_strip(mpi, depths, gaps=np.full(2, gap))) for gap in (1.0, 2.0))
    assert thin[4] == pytest.approx(0.5) and thick[4] == pytest.approx(0.75)
    assert all(np.array_equal(a, b) for a, b in zip(thin[:4], thick[:4], strict=True))


def test_depths_and_unit_stand_above_the_planes():
    mpi, _ = stack(4)
    fig = layer_strip(mpi, [0.5, 0.52, 0.55, 0.6], unit="km")
    assert {"0.500 km", "0.520 km", "0.600 km", "sigma, 1/km"} <= set(texts(fig))
    assert_nothing_cut(fig)


def test_chosen_planes_lie_where_there_is_much_to_see():
    alpha = np.full((32, 2, 2), 1e-3)
    alpha[20:24] = 0.5
    chosen = figures.chosen_planes(alpha, 8)
    assert len(set(chosen)) == 8 and (np.diff(chosen) > 0).all()
    assert {20, 21} <= set(chosen) and (chosen < 16).sum() >= 2 and (chosen >= 24).sum() >= 1
    assert figures.chosen_planes(alpha, 99).tolist() == list(range(32))
    one = np.zeros((32, 2, 2))
    one[9] = 1.0  # everything on one plane: the choice still has eight
    assert len(set(figures.chosen_planes(one, 8))) == 8 and 9 in figures.chosen_planes(one, 8)


def test_an_empty_stack_is_drawn():
    layer_strip(np.zeros((3, 4, 4, 4)), [1.0, 2.0, 3.0])


# depth


def test_depth_errors_are_signed_and_masked():
    truth = np.full((20, 30), 50.0)
    truth[0] = np.nan
    depth = truth + 1.0
    depth[10] -= 3.0  # two metres too near
    depth[1, 1] = np.inf
    mask = np.ones((20, 30), bool)
    mask[:, 0] = False
    fig = depth_panel(flat(0.5, (3, 20, 30)), depth, truth, mask)
    picture, shown, true, error = (np.ma.asarray(ax.images[0].get_array()) for ax in fig.axes[:4])
    assert picture.shape == (20, 30, 3) and true.mask[0].all() and not true.mask[1:].any()
    assert error[5, 5] == pytest.approx(1) and error[10, 5] == pytest.approx(-2)
    assert error.mask[:, 0].all() and error.mask[0].all() and error.mask[1, 1] and shown.mask[1, 1]
    low, high = fig.axes[3].images[0].get_clim()
    assert low == -high == pytest.approx(-2, abs=0.1)
    # 19 rows of 29 and one of them -2, without the infinite one: (17 * 29 + 28 + 2 * 29) / (19 * 29 - 1) ...
    mean = (17 * 29 + 28 + 2 * 29) / (19 * 29 - 1)
    assert f"mean |error| {mean:.3g} m" in " ".join(texts(fig))
    assert f"bias {(17 * 29 + 28 - 2 * 29) / (19 * 29 - 1):+.2g} m" in " ".join(texts(fig))
    assert_nothing_cut(fig)


def test_depth_without_the_truth_has_two_pictures_and_its_unit():
    fig = depth_panel(flat(0.5, (3, 20, 30)), np.linspace(1, 2, 600).reshape(20, 30), unit="scene units")
    assert len(drawn(fig)) == 2 and "z depth, scene units" in texts(fig)
    assert_nothing_cut(fig)


def test_depth_of_nothing_is_drawn():
    nothing = np.full((8, 8), np.nan)
    fig = depth_panel(flat(0.5, (3, 8, 8)), nothing, nothing)
    assert "error: nothing to compare" in texts(fig)
    pixels(fig)


# curves


def history(offset=0.0, slower=1.0, n=10):
    return [{"step": i, "seconds": slower * i / 2, "psnr": 20.0 + i + offset} for i in range(1, n + 1)]


@pytest.mark.parametrize("x, last", [("seconds", 5.0), ("step", 10.0)])
def test_curves_run_over_seconds_or_steps(x, last):
    fig = psnr_curves({"ours": history()}, x=x, smooth=1)
    at, values = fig.axes[0].lines[0].get_data()
    assert at[-1] == last and values.tolist() == [20.0 + i for i in range(1, 11)]
    assert fig.axes[0].get_xlabel() == x


def test_seeds_become_a_mean_with_a_band():
    fig = psnr_curves({"ours": [history(), history(2.0)]}, x="step", smooth=1)
    ax = fig.axes[0]
    assert ax.lines[0].get_ydata()[-1] == pytest.approx(31.0)  # between 30 and 32
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(32) and "ours, 2 seeds" in texts(fig)


def test_thresholds_say_when_the_test_views_reach_them_if_all_have_test_views():
    ours, other = history(), history(slower=4.0)
    for run in (ours, other):
        run[5]["test_psnr"], run[9]["test_psnr"] = 24.0, 28.0
    said = texts(psnr_curves({"ours": ours, "published": other}, thresholds=(25.0,), smooth=1))
    assert "5 s" in said and "20 s" in said and "25 dB" in said  # entry 10 of each
    del other[5]["test_psnr"], other[9]["test_psnr"]
    said = texts(psnr_curves({"ours": ours, "published": other}, thresholds=(25.0,), smooth=1))
    assert "2.5 s" in said and "10 s" in said  # else both by their training curves: entry 5
    said = texts(psnr_curves({"ours": ours}, thresholds=(25.0,), test_key="none such", smooth=1))
    assert "2.5 s" in said and "training views (lines)" in said


def test_a_threshold_that_a_seed_never_reaches_is_not_marked():
    curves = [(np.array([1.0, 2.0]), np.array([10.0, 20.0])), (np.array([1.0, 4.0]), np.array([10.0, 30.0]))]
    assert first_reach(curves, 20.0) == 3.0 and first_reach(curves, 25.0) is None and first_reach([], 1.0) is None


def test_smoothing_is_a_running_median_and_nan_is_left_out():
    noisy = [{"step": i, "psnr": v} for i, v in enumerate([1.0, 9.0, 2.0, np.nan, 3.0, 4.0])]
    at, values = curve(noisy, "step", "psnr", smooth=3)
    assert at.tolist() == [0, 1, 2, 4, 5] and values.tolist() == [1.0, 2.0, 3.0, 3.0, 4.0]


@pytest.mark.filterwarnings("error")
def test_empty_histories_are_drawn_without_a_warning():
    assert "nothing recorded" not in texts(psnr_curves({"ours": [], "published": history()}))
    no_psnr = [{"step": 1, "seconds": 1.0, "loss": 0.3}]
    for nothing in ({}, {"ours": []}, {"ours": [[], []]}, {"ours": no_psnr}):
        fig = psnr_curves(nothing)
        assert "nothing recorded" in texts(fig)
        assert_nothing_cut(fig)


@pytest.mark.parametrize("scores", [{}, {"ours": {}}, {"ours": {"test": {"views": 3.0}}}])
def test_bars_of_nothing_are_refused(scores):
    with pytest.raises(InputError, match="no score to draw"):
        score_bars(scores)


# scores


def table(methods=("nearest view", "best single plane", "ours")):
    values = {"immpi_masked/psnr": (30.0, 0.5), "standard/psnr": 28.0, "standard/ssim": (0.9, float("nan")),
              "counted": 0.9, "views": 10.0}
    return {method: {"train": values, "test": values} for method in methods}


def test_families_never_share_an_axis():
    fig = score_bars(table())
    titles = [ax.get_title(loc="left") for ax in fig.axes]
    assert [title.split(":")[0] for title in titles] == ["immpi_masked"] * 2 + ["standard"] * 2
    lengths = [[bar.get_width() for bar in ax.patches] for ax in fig.axes]
    assert lengths == [[30.0] * 6, [], [28.0] * 6, [0.9] * 6]  # a missing score leaves its axis empty
    assert_nothing_cut(fig)


def test_deviations_are_drawn_and_said_where_there_are_any():
    fig = score_bars(table(("ours",)))
    masked, standard = fig.axes[0], fig.axes[2]
    assert masked.lines[0].get_xdata() == pytest.approx([29.5, 30.5]) and not standard.lines
    said = texts(fig)
    assert said.count("30.0 \N{PLUS-MINUS SIGN} 0.5") == 2 and said.count("28.0") == 2 and said.count("0.900") == 2


def test_splits_and_methods_are_named_once():
    said = texts(score_bars(table()))
    assert said.count("train views") == said.count("test views") == 1 and "best single plane" in said


# cameras


def ring(n=6) -> np.ndarray:
    """Cameras 100 above the ground that look straight down (x east, y south), one in the middle of a ring of 10."""
    angle = 2 * np.pi * np.arange(n - 1) / (n - 1)
    centres = np.concatenate([[[0, 0, 100.0]], np.stack([10 * np.cos(angle), 10 * np.sin(angle), 0 * angle + 100], 1)])
    poses = np.tile(np.diag([1.0, -1, -1, 1]), (n, 1, 1))
    poses[:, :3, 3] = -(poses[:, :3, :3] @ centres[..., None])[..., 0]
    return poses


K = np.array([[200.0, 0, 64], [0, 200, 48], [0, 0, 1]])
NAMES = [f"{i:03d}" for i in range(6)]
SPLITS = {"000": "reference", "001": "train", "002": "test", "003": "train"}


def marked(ax) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_xydata() for line in ax.lines if not line.get_label().startswith("_")}


def test_cameras_stand_where_they_stand_in_the_reference_frame():
    fig = camera_map(ring(), K, NAMES, SPLITS, (80.0, 120.0))
    above, side = (marked(ax) for ax in fig.axes)
    assert set(above) == {"reference", "train, 2", "test", "unused, 2"}
    assert above["reference"] == pytest.approx(np.zeros((1, 2)))
    assert above["train, 2"][0] == pytest.approx([10, 0]) and side["train, 2"][0] == pytest.approx([10, 0])
    quarter = 2 * np.pi / 5
    assert above["test"][0] == pytest.approx([10 * np.cos(quarter), -10 * np.sin(quarter)])  # north is up: negative
    assert fig.axes[0].yaxis_inverted() and fig.axes[1].yaxis_inverted()
    assert_nothing_cut(fig)


def test_the_reference_frustum_reaches_from_the_first_to_the_last_plane():
    fig = camera_map(ring(), K, NAMES, SPLITS, (80.0, 120.0))
    edge = [line.get_xydata() for line in fig.axes[1].lines if len(line.get_xydata()) == 5]
    # half the width of the picture over fx: 64 / 200 of the depth
    assert edge[0][:, 1] == pytest.approx(80) and np.ptp(edge[0][:, 0]) == pytest.approx(2 * 0.32 * 80)
    assert edge[1][:, 1] == pytest.approx(120) and np.ptp(edge[1][:, 0]) == pytest.approx(2 * 0.32 * 120)
    assert {"first plane, 80 m", "last plane, 120 m"} <= set(texts(fig))


def test_points_unit_and_another_reference_show():
    fig = camera_map(ring(), np.tile(K, (6, 1, 1)), NAMES, {"001": "reference"}, (80.0, 120.0),
                     np.array([[10.0, 0.0, 30.0], [10.0, 0.0, -1e6]]), unit="feet")
    dots = [line for line in fig.axes[1].lines if line.get_marker() == "."]
    assert dots[0].get_xydata() == pytest.approx(np.array([[0.0, 70.0]]))  # 70 below camera 001; none far off
    assert "right, feet" in texts(fig) and marked(fig.axes[0])["reference"] == pytest.approx(np.zeros((1, 2)))


# every argument tells


@pytest.mark.parametrize("name, value", [
    ("ours", "plane"), ("error_limit", 0.5), ("zoom", (2, 2, 8, 8)), ("width", 9.0)])
def test_arguments_of_the_comparison_change_it(name, value):
    assert differ(default("comparison"), pixels(view_comparison(rows(1), **{name: value})))


@pytest.mark.parametrize("name, value", [
    ("gaps", np.full(2, 7.0)), ("columns", 1), ("unit", "km"), ("width", 9.0)])
def test_arguments_of_the_strip_change_it(name, value):
    assert differ(default("strip"), pixels(layer_strip(*stack(2), **{name: value})))


@pytest.mark.parametrize("name, value", [
    ("x", "step"), ("thresholds", (25.0,)), ("test_key", "psnr"), ("smooth", 5), ("width", 9.0), ("height", 5.0)])
def test_arguments_of_the_curves_change_them(name, value):
    runs = {"ours": history(0.0) + [{"step": 11, "seconds": 6.0, "psnr": 20.0}] + history(4.0)[-1:]}
    runs["ours"][-1] = {"step": 12, "seconds": 6.5, "psnr": 34.0}
    assert differ(*(pixels(psnr_curves(runs, **{"smooth": 1} | change)) for change in ({}, {name: value})))


@cache
def default(kind: str) -> np.ndarray:
    """Pixels of a figure without further arguments."""
    return pixels(view_comparison(rows(1)) if kind == "comparison" else layer_strip(*stack(2)))


def differ(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape != b.shape or bool(np.abs(a - b).max() > 8)
