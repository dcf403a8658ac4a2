"""A path is clicked without a kernel: what a browser writes down are the metres of the clicks."""

import html
import re
import shutil
import subprocess
from urllib.parse import unquote

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.viewers.path_drawing import draw_path, drawing_html

TILE = np.full((3, 32, 32), 0.5)


@pytest.fixture(autouse=True)
def no_figures_left_open():
    yield
    plt.close("all")


def test_one_output_with_a_picture_for_pages_without_handlers(monkeypatch):
    sent = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: sent.append(bundle))
    draw_path(TILE, 32.0, begun=np.array([[1, 2], [3, -4.5]]))
    assert set(sent[0]) == {"text/html", "image/jpeg", "text/plain"}
    assert "x_m,y_m\n1.00,2.00\n3.00,-4.50\n" in sent[0]["text/html"]
    assert "<script" not in sent[0]["text/html"] and len(sent[0]["text/html"]) < 120_000


@pytest.mark.parametrize(("tile", "extent"), [(TILE[:, :8], 32.0), (TILE[0], 32.0), (TILE, 0.0)],
                         ids=["oblong", "grey", "extent"])
def test_bad_tiles_are_refused(tile, extent):
    with pytest.raises(InputError, match="metres above 0"):
        drawing_html(tile, extent)


def test_a_browser_writes_down_the_metres_of_the_clicks(tmp_path):
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if program is None:
        pytest.skip("no Chromium or Chrome is installed")
    # 400 pixels for 32 m: (300, 100) is 8 m east and 8 m north; the third click is taken back
    clicks = ("window.onload=function(){var s=document.querySelector('svg'),r=s.getBoundingClientRect();"
              "[[200,200],[300,100],[10,390]].forEach(function(c){s.dispatchEvent(new MouseEvent('click',"
              "{clientX:r.left+c[0],clientY:r.top+c[1],bubbles:true}))});document.querySelector('button').click();"
              "document.title=document.querySelector('textarea').value.replace(/\\n/g,';')}")
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><title></title>{drawing_html(TILE, 32.0, [[-4, 0]], 400)}"
                    f"<script>{clicks}</script>")
    dom = subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000",
                          f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
                         check=True, capture_output=True, timeout=100).stdout.decode()
    text = "x_m,y_m;-4.00,0.00;0.00,0.00;8.00,8.00;"
    assert re.search("<title>(.*?)</title>", dom)[1] == text
    link = re.search('href="data:text/csv,([^"]*)"', dom)[1]
    assert unquote(html.unescape(link)) == text.replace(";", "\n")
    # on the drawing of 1000 x 1000: -4 m is 375 across; 8 m north is 250 down
    assert 'points="375,500 500,500 750,250"' in dom
