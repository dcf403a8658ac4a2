"""Sliders hold their pictures themselves, begin without a script element, and leave a picture where nothing moves."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from rsnb.errors import InputError
from rsnb.viewers import compare_slider, view_slider
from rsnb.viewers.slider import compare_html, fitting_jpegs, live_view, slider_html


@pytest.fixture(autouse=True)
def no_figures_left_open():
    yield
    plt.close("all")


@pytest.fixture
def sent(monkeypatch) -> list[dict]:
    bundles = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def pictures(html: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r"base64,([^\"]+)\"", html)]


def brightness(picture: Image.Image) -> float:
    return float(np.asarray(picture, float).mean() / 255)


def grey(position: float) -> np.ndarray:
    return np.full((3, 40, 60), position)


def test_the_path_is_rendered_from_end_to_end(sent):
    asked = []
    view_slider(lambda position: asked.append(position) or grey(position), n=5)
    assert asked == [0, 0.25, 0.5, 0.75, 1]
    found = pictures(sent[0]["text/html"])
    assert [picture.size for picture in found] == [(60, 40)] * 5
    assert [brightness(picture) for picture in found] == pytest.approx(asked, abs=0.01)


def test_one_output_with_the_slider_and_a_row_of_pictures(sent):
    view_slider(grey, n=9, static_positions=3)
    (bundle,) = sent
    assert set(bundle) == {"text/html", "image/jpeg", "text/plain"}  # no widget
    twin = np.asarray(Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"]))), float) / 255
    middle = twin[twin.shape[0] * 2 // 3].mean(axis=1)
    thirds = middle[[len(middle) // 6, len(middle) // 2, len(middle) * 5 // 6]]
    assert twin.shape[1] == 880 and thirds == pytest.approx([0, 0.5, 1], abs=0.02)


def test_handlers_are_whole_and_no_script_element_is_needed():
    html = slider_html([grey(0.1)] * 4, list("abcd"), 300, 100_000)
    assert "<script" not in html and html.count(' onload="') == html.count(' oninput="') == 1
    assert 'max="3" value="2"' in html and "max-width:300px" in html
    assert re.findall(r'alt="(.)"', html) == list("abcd")
    for handler in re.findall(r'on\w+="([^"]*)"', html):
        assert handler.count("{") == handler.count("}") and handler.count("(") == handler.count(")")
        assert "<" not in handler and ">" not in handler
    assert html.count("<div") == html.count("</div>")


def test_labels_are_escaped(sent):
    view_slider(grey, n=2, labels=['5" <b>', "& more"])
    assert 'alt="5&quot; &lt;b&gt;"' in sent[0]["text/html"] and 'alt="&amp; more"' in sent[0]["text/html"]


def test_without_handlers_all_pictures_stand_side_by_side():
    html = slider_html([grey(0.1)] * 12, [""] * 12, 420, 100_000)
    shares = [int(share) for share in re.findall(r"inline-block;width:(\d+)%", html)]
    assert len(shares) == 12 and 90 <= 6 * shares[0] <= 100
    assert re.search(r'<input[^>]*style="display:none', html)  # a slider that cannot move is not shown


def test_pictures_fit_the_limit_or_say_so():
    noise = [np.random.default_rng(i).random((3, 120, 160)) for i in range(3)]
    free = fitting_jpegs(noise, 10**9)
    assert sum(map(len, free)) > 40_000 and Image.open(io.BytesIO(free[0])).size == (160, 120)
    tight = fitting_jpegs(noise, 12_000)
    assert sum(map(len, tight)) <= 12_000
    width, height = Image.open(io.BytesIO(tight[0])).size
    assert width < 160 and width / height == pytest.approx(4 / 3, rel=0.05)
    with pytest.raises(InputError, match="do not fit"):
        fitting_jpegs(noise, 100)


def test_before_and_after_lie_over_each_other(sent):
    compare_slider(grey(0.2), grey(0.8), ("photograph", "rendered"), shown_width=222)
    html = sent[0]["text/html"]
    assert [brightness(picture) for picture in pictures(html)] == pytest.approx([0.2, 0.8], abs=0.01)
    assert "photograph | rendered" in html and "clipPath" in html and "max-width:222px" in html
    twin = np.asarray(Image.open(io.BytesIO(base64.b64decode(sent[0]["image/jpeg"]))), float) / 255
    row = twin[twin.shape[0] * 2 // 3].mean(axis=1)
    assert row[[len(row) // 4, len(row) * 3 // 4]] == pytest.approx([0.2, 0.8], abs=0.02)


def test_bad_pictures_are_refused(sent):
    with pytest.raises(InputError, match="shape"):
        compare_slider(grey(0.2), np.zeros((3, 4, 4)))
    with pytest.raises(InputError, match="1 pictures"):
        view_slider(grey, n=1)
    assert not sent


def test_limits_reach_both_kinds():
    noise = np.random.default_rng(0).random((3, 100, 100))
    for make in (lambda limit: slider_html([noise] * 2, ["", ""], 300, limit),
                 lambda limit: compare_html(noise, noise, ("a", "b"), 300, limit)):
        assert len(make(4_000)) < 9_000 < len(make(10**6))


def test_nan_is_black(sent):
    view_slider(lambda position: np.full((3, 20, 20), np.nan), n=2)
    assert brightness(pictures(sent[0]["text/html"])[0]) == 0


def test_the_live_view_renders_what_its_sliders_say():
    pytest.importorskip("ipywidgets")
    box = live_view(lambda right, down: np.full((3, 8, 8), 0.5 + right / 4 + down / 8), reach=2.0, shown_width=99)
    picture, right, down = box.children
    assert int(picture.width) == 99 and (right.min, right.max) == (-2, 2)

    def shown():
        return brightness(Image.open(io.BytesIO(picture.value)))

    assert shown() == pytest.approx(0.5, abs=0.01)
    right.value = 1.0
    assert shown() == pytest.approx(0.75, abs=0.01)
    down.value = -2.0
    assert shown() == pytest.approx(0.5, abs=0.01)
