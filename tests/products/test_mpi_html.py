"""The page of a multiplane image: its layers taken apart by html.parser and Pillow, its picture by a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rsnb.errors import InputError
from rsnb.products.mpi_html import MpiHtmlOptions, html_layers, orbit_pose, write_mpi_html
from rsnb.products.plane_layers import over, plane_gaps

# rim of 6, 10, 8 and 4 pixels; off-centre, not square, with skew
K = np.array([[170.0, 14.0, 58.0], [0, 96.0, 40.0], [0, 0, 1]])
FRAME = SimpleNamespace(K=K, size=(94, 124), world_to_cam=np.eye(4), near=2.0, far=4.0, inset=(6, 8, 78, 112))
DEPTHS = 1 / np.linspace(1 / 2, 1 / 4, 4)


def scene():
    """[4, 4, 94, 124]: a full background, two discs with soft rims before it, and an empty plane."""
    height, width = FRAME.size
    y, x = np.mgrid[:height, :width] + 0.5
    mpi = np.zeros((4, 4, height, width), np.float32)
    for i, (cx, cy, radius) in enumerate([(40, 30, 15), (0, 0, 0), (84, 60, 22)]):
        mpi[i, 3] = 8 * np.clip((radius - np.hypot(x - cx, y - cy)) / 6, 0, 1) if radius else 0
        mpi[i, :3] = np.array([[0.9, 0.2, 0.1], [0, 1, 0], [0.1, 0.4, 0.9]])[i][:, None, None]
    mpi[3, :3] = 0.5 + 0.4 * np.sin(np.stack([x / 9, y / 7, (x + y) / 11]))
    mpi[3, 3] = 30
    return mpi


class Page(HTMLParser):
    """Every attribute that could load something, what noscript holds, and the data."""

    def __init__(self, path):
        super().__init__()
        self.sources, self.ids, self.inside, self.data, self.still = [], [], [], "", None
        self.feed(path.read_text(encoding="utf-8"))
        self.data = json.loads(self.data)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.sources += [attrs[key] for key in ("src", "href", "srcset", "data", "poster") if key in attrs]
        self.ids.append(attrs.get("id"))
        if tag == "img" and "noscript" in self.inside:
            self.still = attrs["src"]
        if tag in ("noscript", "script"):
            self.inside.append("data" if attrs.get("id") == "data" else tag)

    def handle_endtag(self, tag):
        if tag in ("noscript", "script"):
            self.inside.pop()

    def handle_data(self, data):
        if self.inside[-1:] == ["data"]:
            self.data += data


def picture(uri):
    kind, _, code = uri.partition(";base64,")
    assert kind in ("data:image/webp", "data:image/png")
    return Image.open(io.BytesIO(base64.b64decode(code)))


def embedded(data):
    """[L, H, W, 4] uint8 of the whole frame, put together again from the page's pictures."""
    box = data["frame"]
    layers = np.zeros((len(data["layers"]), box["h"], box["w"], 4), np.uint8)
    for layer, entry in zip(layers, data["layers"], strict=True):
        image = np.asarray(picture(entry["src"]).convert("RGBA"))
        assert image.shape[:2] == (entry["h"], entry["w"])
        top, left = entry["y"] - box["y"], entry["x"] - box["x"]
        layer[top : top + entry["h"], left : left + entry["w"]] = image
    return layers


def composite(mpi, depths):
    """What the reference camera sees, float64, by the definition."""
    height, width = mpi.shape[2:]
    y, x = np.mgrid[:height, :width] + 0.5
    way = np.linalg.norm(np.einsum("ij,jhw->ihw", np.linalg.inv(K), np.stack([x, y, np.ones_like(x)])), axis=0)
    tau = mpi[:, 3] * plane_gaps(depths)[:, None, None] * way
    before = np.cumsum(tau, axis=0) - tau
    return ((np.exp(-before) * (1 - np.exp(-tau)))[:, None] * mpi[:, :3]).sum(axis=0)


def test_one_file_that_loads_nothing(tmp_path):
    title = '<b>"Town" & co</b></script>@DATA@'
    path = write_mpi_html(tmp_path / "a.html", scene(), DEPTHS, FRAME, MpiHtmlOptions(title=title))
    text, page = path.read_text(encoding="utf-8"), Page(path)
    written = re.sub(r"base64,[A-Za-z0-9+/=]*", "", text)
    assert not re.search(r"(https?:)?//[a-z]|url\(|@import|fetch\(|XMLHttp", written)
    assert page.sources and all(source.startswith("data:image/") for source in page.sources)
    assert "default-src 'none'" in text and text.count("</script>") == 2 and "@TITLE@" not in text
    assert "<title>&lt;b&gt;&quot;Town&quot; &amp; co&lt;/b&gt;&lt;/script&gt;@DATA@</title>" in text
    assert {"view", "move", "play", "spread", "reset", "say", "facts"} <= set(page.ids)
    assert "prefers-reduced-motion" in text and "device-width" in text
    assert list(tmp_path.iterdir()) == [path]


def test_layers_in_the_page_make_the_reference_picture(tmp_path):
    page = Page(write_mpi_html(tmp_path / "a.html", scene(), DEPTHS, FRAME))
    data = page.data
    # the empty plane is not in the file, and a disc is cut to its box
    assert [layer["z"] for layer in data["layers"]] == DEPTHS[[0, 2, 3]].tolist()
    assert data["layers"][0]["w"] <= 30 and data["layers"][0]["h"] <= 30
    assert (data["width"], data["height"]) == (112, 78)
    assert np.array_equal(data["K"], [[170, 14, 50], [0, 96, 34], [0, 0, 1]])  # less the rim
    wanted = composite(scene(), DEPTHS)
    assert np.abs(over(embedded(data))[0] - wanted).max() < 2 / 255
    still = np.asarray(picture(page.still).convert("RGB")).transpose(2, 0, 1) / 255
    assert still.shape == (3, 78, 112) and np.abs(still - wanted[:, 6:84, 8:120]).mean() < 0.02


def test_thirty_thin_layers_do_not_get_darker(tmp_path):
    # fog of one colour: rounded each on its own, 32 layers of alpha 5/255 end several levels off the truth
    mpi = np.zeros((32, 4, 8, 8), np.float32)
    mpi[:, :3] = np.array([0.83, 0.41, 0.07])[:, None, None]
    depths = 1 / np.linspace(1, 0.5, 32)
    mpi[:, 3] = (0.02 / plane_gaps(depths))[:, None, None]
    facts = SimpleNamespace(K=np.array([[1e6, 0, 4], [0, 1e6, 4], [0, 0, 1.0]]), size=(8, 8), world_to_cam=np.eye(4),
                            near=1, far=2, inset=(0, 0, 8, 8))
    layers = html_layers(mpi, depths, facts, MpiHtmlOptions()).rgba
    shown = np.zeros((8, 8, 3), int)
    for layer in layers[::-1].astype(int):  # as a browser: products cut off to whole numbers, 8 bits after each layer
        alpha = layer[..., 3:]
        shown = layer[..., :3] * alpha // 255 + (shown * (255 - alpha) + 127) // 255
    truth = 255 * (1 - np.exp(-0.02 * 32)) * np.array([0.83, 0.41, 0.07])
    assert np.abs(shown - truth).max() < 1.01
    alpha = int(255 * (1 - np.exp(-0.02)) + 0.5)  # the plain way, for comparison
    plain, product = np.zeros(3, int), np.array([212, 105, 18]) * alpha // 255
    for _ in range(32):
        plain = product + (plain * (255 - alpha) + 127) // 255
    assert np.abs(plain - truth).max() > 3


def test_merged_layers_change_nothing_at_rest():
    merged = html_layers(scene(), DEPTHS, FRAME, MpiHtmlOptions(planes=2))
    assert merged.rgba.shape[0] == 2 and merged.depths[0] == pytest.approx(DEPTHS[0])  # its neighbour is empty
    assert DEPTHS[2] < merged.depths[1] < DEPTHS[3]
    assert np.abs(over(merged.rgba)[0] - composite(scene(), DEPTHS)).max() < 2 / 255


def test_large_pictures_are_averaged_down():
    mpi, whole = scene(), composite(scene(), DEPTHS)
    small = html_layers(mpi, DEPTHS, FRAME, MpiHtmlOptions(max_side=56))
    # 112 x 78 becomes 56 x 39; of the rim of 6, 8, 10 and 4 half
    assert small.inset == (3, 4, 39, 56) and small.rgba.shape[1:3] == (47, 62)
    assert np.abs(small.K - [[85, 7, 29], [0, 48, 20], [0, 0, 1]]).max() < 1e-12
    average = whole.reshape(3, 47, 2, 62, 2).mean(axis=(2, 4))
    assert np.abs(over(small.rgba)[0] - average).mean() < 0.01  # over of averages, not average of over: not the same
    third = html_layers(mpi, DEPTHS, FRAME, MpiHtmlOptions(max_side=40))
    top, left, height, width = third.inset
    assert (height, width) == (28, 40) and third.rgba.shape[1:3] == (28 + 2 + 3, 40 + 2 + 1)
    # a ray through the middle of the inset stays that ray
    middle = [np.linalg.solve(k, [x + w / 2, y + h / 2, 1]) for k, (y, x, h, w) in
              ((K, FRAME.inset), (third.K, third.inset))]
    assert np.abs(middle[0] - middle[1]).max() < 1e-12


def test_pivot_is_the_median_depth_that_is_seen():
    layers = html_layers(scene(), DEPTHS, FRAME, MpiHtmlOptions())
    assert layers.pivot() == pytest.approx(4.0, rel=1e-3)  # most of the picture is background


def test_orbit_pose_looks_at_the_pivot():
    pose = orbit_pose(8.0, -3.0, 5.0)
    assert np.abs(pose @ [0, 0, 5, 1] - [0, 0, 5, 1]).max() < 1e-12
    assert np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max() < 1e-12
    assert orbit_pose(0, 0, 5).tolist() == np.eye(4).tolist()
    centre = -pose[:3, :3].T @ pose[:3, 3]
    assert centre[0] > 0 and centre[1] > 0  # right, and down: the picture's y grows downwards


@pytest.mark.parametrize(("options", "message"), [
    (dict(max_side=8), "max_side"), (dict(planes=0), "planes"), (dict(reach_deg=0), "reach_deg"),
    (dict(reach_deg=90), "reach_deg"), (dict(pivot=-1.0), "pivot"), (dict(pivot=float("nan")), "pivot")],
    ids=["size", "planes", "still", "wide", "behind", "nan"])
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        MpiHtmlOptions(**options)


def test_empty_planes_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(InputError, match="all planes are empty"):
        write_mpi_html(tmp_path / "a.html", np.zeros((4, 4, 94, 124), np.float32), DEPTHS, FRAME)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """browser(address, *flags) runs Chromium without a window and gives what it wrote to the standard output."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if program is None:
        pytest.skip("no Chromium or Chrome is installed")
    profile = tmp_path_factory.mktemp("profile")

    def run(address, *flags):
        return subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                               f"--user-data-dir={profile}", "--virtual-time-budget=3000", *flags, address],
                              check=True, capture_output=True, timeout=100).stdout.decode()

    return run


def photographed(browser, page, where, tmp_path):
    """[3, 78, 112] of the page's picture, one pixel of it a pixel of the layers."""
    shot = tmp_path / "shot.png"
    browser(f"{page.as_uri()}#embed=1&zoom=1&{where}", "--window-size=500,400", f"--screenshot={shot}")
    return np.asarray(Image.open(shot).convert("RGB")).transpose(2, 0, 1)[:, :78, :112] / 255


def psnr(a, b):
    return -10 * np.log10(((a - b) ** 2).mean())


def test_a_browser_shows_the_reference_picture_at_rest(browser, tmp_path):
    page = write_mpi_html(tmp_path / "a.html", scene(), DEPTHS, FRAME)
    seen = photographed(browser, page, "yaw=0", tmp_path)
    assert psnr(seen, composite(scene(), DEPTHS)[:, 6:84, 8:120]) > 38


@pytest.mark.parametrize(("yaw", "pitch"), [(6.0, 0.0), (-3.0, 7.0)], ids=["right", "left and up"])
def test_a_browser_moves_the_camera_as_the_renderer_does(browser, tmp_path, yaw, pitch):
    import torch

    from rsnb.mpi.render import MpiCamera, RenderOptions, render_mpi

    page = write_mpi_html(tmp_path / "a.html", scene(), DEPTHS, FRAME, MpiHtmlOptions(pivot=3.0))
    seen = photographed(browser, page, f"yaw={yaw}&pitch={pitch}", tmp_path)
    K_view = K.copy()
    K_view[:2, 2] -= 8, 6
    views = {}
    for sign in (1, -1):
        pose = orbit_pose(sign * yaw, sign * pitch, 3.0)
        camera = MpiCamera(torch.tensor(K), torch.tensor(K_view), torch.tensor(pose), (78, 112))
        views[sign] = render_mpi(torch.tensor(scene()), DEPTHS, camera, RenderOptions(backend="torch"))
    inside = views[1].mask.numpy()
    assert inside.mean() > 0.6
    assert psnr(seen[:, inside], views[1].rgb.numpy()[:, inside]) > 30
    assert psnr(seen[:, inside], views[-1].rgb.numpy()[:, inside]) < 20  # the camera went the other way


ACTIONS = {
    "drag": "at.view.dispatchEvent(new PointerEvent('pointerdown', {clientX: 50, clientY: 50, pointerId: 1}));"
            "at.view.dispatchEvent(new PointerEvent('pointermove', {clientX: 40, clientY: 50, pointerId: 1}));",
    "key": "for (let i = 0; i < 30; i++) at.view.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp'}));",
    "slider": "at.move.value = -2.5; at.move.dispatchEvent(new Event('input'));",
    "spread": "at.spread.click();",
    "reset": "at.spread.click(); at.reset.click();",
    "nothing": "",
}


@pytest.mark.parametrize(("action", "says", "orbiting", "spread"), [
    ("drag", r"Camera \d\.\d° right of", "false", "false"), ("key", r"Camera 8\.0° up of", "false", "false"),
    ("slider", r"Camera 2\.5° left\b", "false", "false"), ("spread", "The 3 planes from the side", "false", "true"),
    ("reset", "The reference camera's view", "false", "false"), ("nothing", "", "true", "false")],
    ids=list(ACTIONS))
def test_what_a_reader_can_do(browser, tmp_path, action, says, orbiting, spread):
    page = write_mpi_html(tmp_path / "a.html", scene(), DEPTHS, FRAME)
    script = ("<script>const at = Object.fromEntries(['view', 'move', 'spread', 'reset'].map("
              f"id => [id, document.getElementById(id)])); setTimeout(() => {{ {ACTIONS[action]} }}, 500)"
              "</script></body>")
    where = "#yaw=0" if action in ("drag", "key") else ""
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    dom = browser(page.as_uri() + where, "--dump-dom", "--window-size=500,800")
    said = re.search(r'<p id="say">(.*?)</p>', dom).group(1)
    pressed = dict(re.findall(r'<button id="(\w+)" type="button" aria-pressed="(\w+)"', dom))
    assert re.match(says, said), said
    assert pressed == {"play": orbiting, "spread": spread}


def test_who_wants_no_motion_gets_none(browser, tmp_path):
    page = write_mpi_html(tmp_path / "a.html", scene(), DEPTHS, FRAME)
    dom = browser(page.as_uri(), "--dump-dom", "--force-prefers-reduced-motion")
    assert ">The reference camera's view. Drag" in dom
