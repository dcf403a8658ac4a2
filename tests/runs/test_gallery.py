"""The gallery: whole pages that ask nobody for anything."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from rsnb import runs
from rsnb.runs import gallery
from rsnb.runs.offline import offline

STORY = '''from rsnb import runs
run = runs.start("90_sample", out_dir=out_dir, seed=seed)
from PIL import Image
Image.new("RGB", (1600, 900), (200, 30, 40)).save(run.path("red.png")); run.figure("red.png", "Red")
run.metric("psnr", 31.25)
from IPython.display import display, HTML
display(Image.open(run.path("red.png")).resize((16, 9)))
display(HTML("<b>bold</b><script src='https://cdn.example/x.js'></script><img src='https://cdn.example/x.png'>"))
display({"application/vnd.plotly.v1+json": {"data": []}, "text/html": "<div>plot</div>"}, raw=True)
import sys
for i in range(3): print(f"\\r{i} of 3", end="", file=sys.stderr)
print("1 < 2")
run.finish();'''


class Pages(HTMLParser):
    """Everything a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.fetched, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [v for k, v in attrs if k in ("src", "srcset", "poster", "data") and not v.startswith("data:")]
        if tag in ("link", "script", "iframe"):
            self.fetched.append(tag)


@pytest.fixture
def page(write_notebook, tmp_path):
    todo = runs.plan(str(write_notebook(STORY)), overrides=[("width", "5")], runs=tmp_path / "runs")
    assert runs.execute(todo, progress=False)["status"] == "ok"
    failing = runs.plan(str(write_notebook("raise RuntimeError('\\x1b[31mno\\x1b[0m <luck>')", name="91_failing")),
                        runs=tmp_path / "runs")
    runs.execute(failing, progress=False)
    index = runs.write_gallery(tmp_path / "runs")
    return lambda name: next(index.parent.glob(f"{name}*.html")).read_text()


def test_pages_show_what_happened_and_fetch_nothing(page, tmp_path):
    text = page("90")
    for html in (text, page("91"), page("index")):
        pages = Pages()
        pages.feed(html)
        assert pages.fetched == []
        assert "@import" not in html and "url(" not in html
    assert "<b>bold</b>" in text and "<script" not in text
    assert "<math" in text and "$a^2$" not in text
    assert "1 &lt; 2" in text and "2 of 3" in text and "0 of 3" not in text
    assert str(tmp_path) not in text  # the folder of this machine is no news to a reader
    assert re.search(r"width</span>.*5", text)  # the parameter that was changed is shown
    assert "JupyterLab shows an interactive view here" in text and "<div>plot</div>" not in text
    assert text.count("data:image/png") == 1  # the cell's; a declared picture is listed, not put in once more
    assert re.search(r"red\.png</code></td><td>Red<", text)
    assert "papermill encountered" not in page("91")
    assert "31.25" in page("index") and "RuntimeError" in page("91") and "no &lt;luck&gt;" in page("91")
    assert "\x1b" not in page("91")


def test_thumbnails_are_small_pictures(page):
    found = re.search(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page("index"))
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as picture:
        assert picture.size == (720, 405)


def test_of_the_same_run_with_other_code_only_the_last_is_shown(tmp_path):
    record = {"notebook": "90_sample", "parameters": {"seed": 1}, "data": {}}
    old, new, other = {**record, "key": "a"}, {**record, "key": "b"}, {**record, "parameters": {"seed": 2}, "key": "c"}
    assert [r["key"] for r in gallery._newest([old, other, new])] == ["b", "c"]


def test_an_empty_gallery_says_how_to_fill_it(tmp_path):
    assert "rsnb run --all" in runs.write_gallery(tmp_path / "runs").read_text()


def test_a_formula_that_cannot_be_converted_stays_readable():
    assert "\\left( x" in gallery._formula("\\left( x", "inline")
    assert "&</mi>" not in gallery._formula("\\begin{aligned} a &amp;= b \\\\ c &amp;= d \\end{aligned}", "block")
    assert gallery._formula("x_{i}", "inline").startswith("<math")


@pytest.mark.parametrize("foreign", [
    "<img src=http://x.y/a.png>", "<img src='http://x.y/a.png'>", '<IMG SRC="//x.y/a.png">',
    "<img srcset='http://x.y 2x'>",
    '<p style="background: url(http://x.y/a)">t</p>', "<p style='background:u\\72l(//x.y)'>t</p>",
    "<style>@import 'http://x.y/a.css';</style>", "<style>p { background: URL( 'http://x.y/a' ) }</style>",
    '<svg><image href="http://x.y/a.png"/></svg>', '<svg><use xlink:href="http://x.y/a.svg#b"/></svg>',
    '<svg><rect fill="url(http://x.y/a.svg#b)"/></svg>', '<meta http-equiv=refresh content="0;url=http://x.y">',
    "<link rel=stylesheet href=http://x.y/a.css>", "<base href='http://x.y/'>", "<embed src=http://x.y>",
    "<script>fetch('http://x.y')</script>", "<iframe srcdoc='<p>http://x.y'></iframe>",
    "<object data=http://x.y>http://x.y</object>", "<video poster=http://x.y/a src=http://x.y/b></video>",
    "<table background=http://x.y/a><tr></tr></table>", "<img src=x onerror=fetch('http://x.y')>",
    "<img/src=http://x.y/a/onerror=alert(1)>", "<noscript><img src=http://x.y></noscript>",
    "<!-- <img src=http://x.y> -->", '<input type="image" src="http://x.y">', "<form action=http://x.y></form>",
    "<svg><animate attributeName=href to=http://x.y /></svg>",
])
def test_foreign_html_fetches_and_runs_nothing(foreign):
    text = offline(f"<b>before</b>{foreign}")
    assert "<b>before</b>" in text and "x.y" not in text and "onerror" not in text and "alert" not in text


@pytest.mark.parametrize("harmless", [
    'set data = "abc", then src = "x"', "<p>a &lt; b &amp; c&nbsp;&#228;</p>", '<a href="https://x.y/z">z</a>',
    '<img alt="dot" src="data:image/png;base64,AAAA">', "<style>td > p { color: red }</style>", "a<br>b",
    '<td style="text-align:right">1</td>', '<svg viewbox="0 0 1 1"><rect fill="url(#a)"></rect></svg>',
    '<div class="math">$$x_{i} &lt; 1$$</div>',
])
def test_harmless_html_stays_as_it_is(harmless):
    assert offline(harmless) == harmless


def test_a_link_runs_no_script():
    assert offline("<a href=' java\nscript:alert(1)'>x</a>") == "<a>x</a>"
