"""The loss of a rendered target: against hand calculation, naive float64 formulas and the lpips package itself."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rsnb.errors import InputError
from rsnb.metrics import perceptual
from rsnb.mpi.decoder_loss import DecoderLoss, DecoderLossOptions, Switches, scaled_camera, scaled_picture
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.render import MpiCamera, render_mpi
from rsnb.mpi.views import padded_frame, view_set

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not put it there
from posed_scene import block_scene

NO_LPIPS = (2.0, 1.0, 0.0)
DEPTHS = plane_depths(4.0, 7.5, 3)


@pytest.fixture
def trunks():
    try:
        perceptual._trunk_state("vgg", None)
    except InputError as error:
        if os.environ.get("RSNB_REAL"):
            raise
        pytest.skip(str(error))


def posed(size, name="2"):
    """Picture and camera of a view beside the reference, and planes of noise at four scales."""
    scene = block_scene(size=size, count=4)
    frame = padded_frame(scene, "0", (), (4.0, 7.5))
    views = view_set(scene, [name], frame)
    noise = torch.Generator().manual_seed(3)
    mpis = [torch.rand(len(DEPTHS), 4, size[0] >> s, size[1] >> s, generator=noise) for s in range(4)]
    return views.images[0], views.camera(0, frame), mpis


def loss_of(options, size=(32, 48), step=0):
    image, camera, mpis = posed(size)
    loss = DecoderLoss(options)
    return loss(mpis, loss.target(image, camera, DEPTHS, "2"), step)


@pytest.mark.parametrize("scale", [0, 1, 3])
def test_published_camera_is_the_one_of_integer_centres(scale):
    _, camera, _ = posed((32, 48))
    point = np.array([0.3, -0.2, 5.0])
    for name in ("K_ref", "K_target"):
        K = getattr(camera, name).numpy()
        integer = K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # what the published reader holds
        small = integer / 2**scale
        small[2, 2] = 1
        index = small @ point / point[2]  # column and row, counted from 0 at the first pixel's centre
        ours = getattr(scaled_camera(camera, scale, "published"), name).numpy() @ point / point[2]
        np.testing.assert_allclose(ours[:2], index[:2] + 0.5, atol=1e-12)
        exact = getattr(scaled_camera(camera, scale), name).numpy() @ point / point[2]
        np.testing.assert_allclose(exact[:2], (K @ point / point[2])[:2] / 2**scale, atol=1e-12)
        # the published picture holds at index i what lies at 2^s (i + 0.5) - 0.5 of the large one: the cameras miss it
        np.testing.assert_allclose(ours[:2] - exact[:2], 0.5 - 0.5 / 2**scale, atol=1e-12)
    assert scaled_camera(camera, scale).size == (32 >> scale, 48 >> scale)


def test_published_pictures_are_made_small_without_anti_alias():
    row = torch.arange(16.0).square()  # 0 1 4 9 16 25 36 49 64 ...
    image = row.expand(3, 16, 16)
    # scale 1: means of two; scale 2: of pixels 1 and 2, 5 and 6 ...; scale 3: of 3 and 4, 11 and 12
    assert scaled_picture(image, 1, "published")[0, 0, :3].tolist() == [0.5, 6.5, 20.5]
    assert scaled_picture(image, 2, "published")[1, 2].tolist() == [2.5, 30.5, 90.5, 182.5]
    assert scaled_picture(image, 3, "published")[2, 0].tolist() == [12.5, 132.5]
    # averages of all: (0 + 1 + 4 + 9) / 4, (0 + ... + 49) / 8
    assert scaled_picture(image, 2)[0, 0, 0] == 3.5
    assert scaled_picture(image, 3)[0, 0, 0] == 17.5
    assert torch.equal(scaled_picture(image, 1), scaled_picture(image, 1, "published"))
    assert scaled_picture(image, 0, "published") is image
    assert scaled_picture(image[:, :15], 3, "published").shape == (3, 1, 2)


def naive(options, size):
    """The published formulas, one window at a time, float64."""
    image, camera, mpis = posed(size)
    how = options.switches.pyramid
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = torch.from_numpy(np.outer(line, line) / line.sum() ** 2)[None, None]
    blur = lambda x: F.conv2d(x[:, None], window, padding=5)[:, 0]  # noqa: E731
    sums = {"l1": 0.0, "ssim": 0.0}
    for s, mpi in enumerate(mpis):
        seen = render_mpi(mpi.double(), DEPTHS, scaled_camera(camera, s, how), replace(options.rendering,
                                                                                       backend="torch"))
        a, b = (x * seen.mask for x in (seen.rgb, scaled_picture(image, s, how).double()))
        sums["l1"] += float((a - b).abs().sum() / seen.mask.sum())
        means = blur(a), blur(b)
        var = blur(a * a) - means[0] ** 2, blur(b * b) - means[1] ** 2
        ssim = (2 * means[0] * means[1] + 1e-4) * (2 * (blur(a * b) - means[0] * means[1]) + 9e-4)
        ssim /= (means[0] ** 2 + means[1] ** 2 + 1e-4) * (var[0] + var[1] + 9e-4)
        sums["ssim"] += 1 - float(ssim.mean())
        if s == 0:
            sums["psnr"] = -10 * np.log10(float(((a - b) ** 2).sum() / (3 * seen.mask.sum())))
    return sums


@pytest.mark.parametrize("switches", [Switches.all_mended(), Switches.all_published()], ids=["mended", "published"])
def test_loss_equals_the_naive_formulas(switches):
    options = DecoderLossOptions(weights=(2.0, 0.7, 0.0), switches=switches)
    terms, expected = loss_of(options), naive(options, (32, 48))
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(value, rel=2e-5)
    assert float(terms["loss"]) == pytest.approx(2 * expected["l1"] + 0.7 * expected["ssim"], rel=2e-5)
    assert "lpips" not in terms


@pytest.mark.parametrize("switch", ["pyramid", "mask"])
def test_each_switch_changes_the_loss(switch):
    plain = DecoderLossOptions(weights=NO_LPIPS)
    with_defect = replace(plain, switches=Switches(**{switch: "published"}))
    assert abs(float(loss_of(plain)["loss"] - loss_of(with_defect)["loss"])) > 1e-3


def test_weights_and_mask_share_are_read():
    one, two = (float(loss_of(DecoderLossOptions(weights=w))["loss"]) for w in ((1.0, 0.0, 0.0), (2.0, 0.0, 0.0)))
    assert two == pytest.approx(2 * one)
    less, more = (float(loss_of(DecoderLossOptions(weights=NO_LPIPS, mask_share=s))["loss"]) for s in (0.3, 1.0))
    assert less != more


def test_the_true_planes_have_no_loss_where_rays_stay_in_frame():
    """An opaque ground on the last plane, seen from aside. Rays that miss it at the frame's end are dark, and where
    they count they pull up the planes before it: a share below 1 is wrong about depth."""
    depths, margin = plane_depths(4.0, 7.5, 5), 16
    mpi = torch.zeros(5, 4, 48 + 2 * margin, 64 + 2 * margin)
    mpi[:, :3] = F.interpolate(torch.rand(1, 3, 10, 12, generator=torch.Generator().manual_seed(2)), mpi.shape[-2:],
                               mode="bicubic").clamp(0.2, 0.9)
    mpi[-1, 3] = 50.0
    K = torch.tensor([[86.0, 0, 33], [0, 90, 25], [0, 0, 1]], dtype=torch.float64)
    aside, turned = torch.eye(4, dtype=torch.float64), K.clone()
    aside[0, 3], turned[0, 2] = -0.9, 33 + 86 * 0.9 / 5.2  # both see the same spot at depth 5.2
    camera = MpiCamera(K, turned, aside, (48, 64))
    wide = K + torch.tensor([[0, 0, margin], [0, 0, margin], [0, 0, 0]])
    picture = render_mpi(mpi, depths, replace(camera, K_ref=wide)).rgb
    inner = mpi[..., margin:-margin, margin:-margin]
    loss, pull = {}, {}
    for share in (1.0, 0.5):
        measure = DecoderLoss(DecoderLossOptions(weights=NO_LPIPS, mask_share=share))
        planes = inner.clone().requires_grad_()
        found = measure([planes], measure.target(picture, camera, depths))["loss"]
        found.backward()
        loss[share], pull[share] = float(found.detach()), -float(planes.grad[:-1, 3].sum())
    assert loss[1.0] < 1e-3 and loss[0.5] > 0.03
    assert abs(pull[1.0]) < 1e-3 < 0.01 < pull[0.5]


@pytest.mark.parametrize("fed", ["mended", "published"])
def test_lpips_is_the_package_s_own(trunks, fed):
    options = DecoderLossOptions(weights=(0.0, 0.0, 1.0), switches=Switches(lpips_range=fed))
    image, camera, mpis = posed((128, 128))
    loss = DecoderLoss(options)
    package = perceptual._model("vgg", "cpu", None)
    expected = 0.0
    for s, mpi in enumerate(mpis):
        seen = render_mpi(mpi, DEPTHS, scaled_camera(camera, s), options.rendering)
        pair = [x * seen.mask for x in (seen.rgb, scaled_picture(image, s))]
        expected += float(package(*(x[None] for x in pair), normalize=fed == "mended"))
    target = loss.target(image, camera, DEPTHS)
    first, again = loss(mpis, target), loss(mpis, target, 1)  # computed, then from what is kept
    fresh = loss(mpis, loss.target(image, camera, DEPTHS), 1)
    assert float(first["loss"]) == pytest.approx(expected, rel=1e-4)
    assert torch.equal(first["loss"], again["loss"]) and torch.equal(fresh["loss"], again["loss"])
    moved = [mpi.clone().requires_grad_() for mpi in mpis]
    loss(moved, target)["loss"].backward()
    assert all(bool(mpi.grad.isfinite().all()) and mpi.grad.abs().max() > 0 for mpi in moved)


def test_black_pictures_have_a_gradient(trunks):
    # a feature map that is 0 in all channels has none in the package: the root of a sum of squares
    image = torch.zeros(3, 16, 16, requires_grad=True)
    measure = perceptual.Perceptual("vgg")
    (measure.distance([x * 0 for x in measure.features(image)], measure.features(image + 0.3))).backward()
    assert bool(image.grad.isfinite().all())


def test_lpips_now_and_then(trunks):
    options = DecoderLossOptions(perceptual_every=2)
    every, due, rest = (loss_of(o, (128, 128), step) for o, step in ((DecoderLossOptions(), 0), (options, 4),
                                                                     (options, 5)))
    assert "lpips" not in rest and torch.equal(due["lpips"], every["lpips"])
    assert float(due["loss"] - rest["loss"]) == pytest.approx(2 * float(every["lpips"]), rel=1e-4)


def test_without_the_trunk_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(perceptual, "_installed_file", lambda *_: None)
    perceptual._model.cache_clear()
    with pytest.raises(InputError, match="set the weight of that term to 0"):
        DecoderLoss()
    perceptual._model.cache_clear()
    DecoderLoss(DecoderLossOptions(weights=NO_LPIPS))


def test_a_view_that_looks_elsewhere():
    image, camera, mpis = posed((32, 48))
    away = camera.ref_to_target.clone()
    away[0, 3] += 1000
    loss = DecoderLoss(DecoderLossOptions(weights=NO_LPIPS))
    with pytest.raises(InputError, match="view 'west'"):
        loss(mpis, loss.target(image, replace(camera, ref_to_target=away), DEPTHS, "west"))
    with pytest.raises(InputError, match="too small"):
        loss.target(image[:, :8], camera, DEPTHS)


@pytest.mark.parametrize(("change", "words"), [
    ({"weights": (0.0, 0.0, 0.0)}, "weights"), ({"weights": (1.0, -1.0, 0.0)}, "weights"),
    ({"perceptual_every": 0}, "perceptual_every"), ({"perceptual": "alex"}, "perceptual"),
    ({"backend": "cuda"}, "is no renderer"), ({"mask_share": 0.0}, "mask_share"),
])
def test_options_are_checked(change, words):
    with pytest.raises(InputError, match=words):
        DecoderLossOptions(**change)


def test_switches():
    assert set(vars(Switches.all_published()).values()) == {"published"}
    assert Switches.all_mended() == Switches() and set(vars(Switches()).values()) == {"mended"}
    with pytest.raises(InputError, match="mask"):
        Switches(mask="fixed")


def test_switches_from_a_text():
    assert Switches.mending("all") == Switches.all_mended() and Switches.mending("none") == Switches.all_published()
    some = Switches.mending("mask, plane_code")
    assert (some.mask, some.plane_code, some.pyramid) == ("mended", "mended", "published")
    with pytest.raises(InputError, match="'colour' is no defect"):
        Switches.mending("mask,colour")
