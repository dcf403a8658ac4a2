"""Figures of notebook 01, looked at through what they put on their axes."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot as plt

from rsnb.viewers import data as figures


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_pictures_keep_their_shape_and_fill_the_width():
    rows = [[("wide", np.zeros((3, 10, 40))), ("square", np.zeros((3, 30, 30)))], [("tall", np.zeros((20, 10)))]]
    fig = figures.picture_rows(rows, width=8.0)
    inches = fig.get_size_inches()
    sizes = [ax.get_position().bounds[2:] * inches for ax in fig.axes]
    for (w, h), aspect in zip(sizes, [4.0, 1.0, 0.5], strict=True):
        assert w / h == pytest.approx(aspect, rel=1e-6)
    assert sizes[0][0] + sizes[1][0] + 0.08 == pytest.approx(8.0)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["wide", "square", "tall"]


def test_each_request_is_drawn_where_its_bytes_lie():
    requests = [{"start": 0, "sent": 40, "status": 200}, {"start": 40, "sent": 60, "status": 206}]
    ax = figures.request_bars(requests, 100).axes[0]
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    assert spans == [(0.0, 1.0), (0.0, 0.4), (0.0, 1.0), (0.4, 1.0)]
    said = [text.get_text() for text in ax.texts]
    assert "connection lost" in said[0] and "connection lost" not in said[1] and "206" in said[1]


def test_a_mask_tints_what_it_leaves_out_and_nothing_else():
    picture = np.full((3, 2, 2), 0.5)
    picture[:, 1, 1] = np.nan
    clear = np.array([[True, False], [True, True]])
    shown = figures.masked(picture, clear)
    assert np.array_equal(shown[:, 0, 0], [0.5] * 3) and shown[0, 0, 1] > shown[1, 0, 1] < 0.4
    assert np.array_equal(shown[:, 1, 1], [1.0] * 3)


def test_a_series_puts_each_date_above_its_mask():
    fig = figures.series(np.zeros((5, 3, 4, 6)), np.ones((5, 4, 6), bool), list("abcde"), columns=3)
    assert len(fig.axes) == 12 and [ax.get_title(loc="left") for ax in fig.axes][:3] == ["a", "b", "c"]
    assert sum(len(ax.images) for ax in fig.axes) == 10


def test_curves_show_measured_dots_and_true_lines():
    dates = np.array(["2020-01-01", "2020-02-01"], "datetime64[D]")
    days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")
    ax = figures.dated_curves(dates, {"field": np.array([0.2, np.nan])}, days, {"field": np.linspace(0, 1, len(days))},
                              "NDVI").axes[0]
    line, dots = ax.lines
    assert len(line.get_xdata()) == len(days) and line.get_color() == dots.get_color()
    assert np.isnan(dots.get_ydata()[1]) and ax.get_ylabel() == "NDVI"


def test_footprints_have_true_proportions():
    outline = np.array([(24.9, 60.1), (25.1, 60.1), (25.1, 60.3), (24.9, 60.3)])
    ax = figures.footprints([outline], (24.95, 60.15, 25.0, 60.2)).axes[0]
    assert ax.get_aspect() == pytest.approx(1 / np.cos(np.radians(60.175))) and len(ax.patches) == 2
