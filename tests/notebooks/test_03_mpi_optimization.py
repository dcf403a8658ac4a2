"""Notebook 03 in this process: every parameter changes something, and a spoiled result fails a check.

The cells run as a script would, at `tiny` scale on the default city (built once into the data folder).
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from in_process import Cells
from PIL import Image

import rsnb.city
import rsnb.data
import rsnb.mpi
import rsnb.products
from rsnb import runs
from rsnb.errors import InputError
from rsnb.mpi.render import MpiRendering

CELLS = Cells("03_mpi_optimization")
TIMED = ("curves.png", "progress.gif", "scene.mpi", "scene.mpi.sha256", "csi.ckpt", "csi.ckpt.sha256")  # hold seconds
pytestmark = pytest.mark.slow
QUICK = {"published_steps": 0}  # for parameters that the network knows nothing of
AFTER = "def our_recipe"  # up to there pictures are read and the baselines scored: the same for most tests


def run_cells(out_dir, *arguments, **options) -> dict:
    """As `Cells.run`, without what tells seconds."""
    left = {name: digest for name, digest in CELLS.run(out_dir, *arguments, **options).items() if name not in TIMED}
    if "metrics.json" in left:
        left["metrics.json"] = json.dumps(metrics_of(out_dir))
    return left


def metrics_of(out_dir) -> dict:
    metrics = json.loads((out_dir / "metrics.json").read_text())["metrics"]
    return {k: v for k, v in metrics.items() if not k.startswith("seconds")}


def scores_of(out_dir, changes) -> dict:
    """What is reported by the time everything is scored: cells from there on draw and write files."""
    run_cells(out_dir, changes, until="order = sorted", after=AFTER)
    runs.current().finish()
    return metrics_of(out_dir)


def city_folder():
    return rsnb.city.ensure_levir_nvs(runs.data_folder(""), rsnb.city.LevirOptions(scenes=1, size=128))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What the notebook leaves at tiny scale, without the network."""
    return run_cells(tmp_path_factory.mktemp("plain"), QUICK)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """The same with the network, and the folder."""
    folder = tmp_path_factory.mktemp("learnt")
    return folder, run_cells(folder, after=AFTER)


def test_the_same_parameters_leave_the_same_bytes(learnt, tmp_path):
    assert run_cells(tmp_path) == learnt[1] and len(learnt[1]) > 40
    assert "psnr_test" in learnt[1]["metrics.json"]


def test_what_is_kept_of_the_first_cells_depends_on_nothing_else():
    assert CELLS.read_before(AFTER) == {
        "seed", "device", "data_root", "out_dir", "scene_path", "scene", "scene_format", "convention", "max_width",
        "protocol", "test_views", "near_far", "lpips"}


CHANGES = {
    "max_width": 48, "protocol": "three_view", "test_views": "002,004", "planes": 5, "near_far": [70.0, 120.0],
    "recipe": "local", "steps": 5, "views_per_step": 1, "tv": 0.0, "smoothness": 0.0, "seeds": 2, "track_frames": 5,
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_parameter_alone_changes_what_comes_out(name, plain, tmp_path):
    assert run_cells(tmp_path, QUICK | {name: CHANGES[name]}, after=AFTER) != plain


@pytest.mark.parametrize(("name", "value"), [("published_steps", 3), ("mended", "none"), ("mended", "plane_code")])
def test_parameters_of_the_network_change_its_score(name, value, learnt, tmp_path):
    changed = run_cells(tmp_path, {name: value}, after=AFTER)
    assert changed["metrics.json"] != learnt[1]["metrics.json"]
    assert changed["layers/mpi.json"] == learnt[1]["layers/mpi.json"]  # our planes know nothing of it


def test_rates_fall_at_milestones(tmp_path):
    twelve = {"published_steps": 12, "mended": "none"}  # an epoch has ten steps
    held, fallen = (scores_of(tmp_path / name[0], twelve | {"milestones": name}) for name in ("50:2", "1:1000"))
    assert held != fallen


def test_lpips_in_loss_and_scores(tmp_path):
    without = scores_of(tmp_path / "plain", QUICK)
    scored = scores_of(tmp_path / "scored", QUICK | {"lpips": "alex"})
    assert {k: v for k, v in scored.items() if "lpips" not in k} == without
    assert 0 < scored["ours_test_standard_lpips"] < 1
    one_step = {"max_width": 128, "published_steps": 1, "mended": "none"}  # the term needs 128 x 128 pixels
    with_term, plain = (scores_of(tmp_path / f"{term}", one_step | {"published_lpips": term}) for term in (True, False))
    ours = {name for name in plain if name.startswith(("ours", "psnr"))}
    assert {name for name in plain if with_term[name] != plain[name]} >= {"as_published_test_standard_psnr"}
    assert ours and all(with_term[name] == plain[name] for name in ours)


def test_cross_scene_training_and_its_checkpoint(tmp_path, learnt):
    root = rsnb.city.ensure_whu_mvs(tmp_path, rsnb.city.WhuOptions(scenes=3, width=128, supersample=1))
    train = {"csi": "train", "csi_path": str(root), "csi_steps": 2}
    left = scores_of(tmp_path / "a", train)
    assert (tmp_path / "a" / "csi.ckpt").is_file()
    added = {name: value for name, value in left.items() if name not in metrics_of(learnt[0])}
    assert added and all("CSI" in name for name in added)
    longer = scores_of(tmp_path / "b", train | {"csi_steps": 5})
    assert all(longer[name] != value for name, value in added.items() if "psnr" in name)
    again = scores_of(tmp_path / "c", {"csi": str(tmp_path / "a" / "csi.ckpt")})
    assert again == left


def test_a_checkpoint_is_rendered_without_optimising(learnt, tmp_path, monkeypatch):
    folder, left = learnt
    monkeypatch.setattr(rsnb.mpi, "optimise_scene", None)  # calling it would fail
    rendered = run_cells(tmp_path, {"checkpoint": str(folder / "scene.mpi")}, after=AFTER)
    views = [name for name in left if name.startswith(("test_views/", "layers/"))]
    assert views and all(rendered[name] == left[name] for name in views)


def test_format_and_convention_are_read(learnt, tmp_path):
    named = {"scene_path": str(city_folder()), "scene": "scene_000"}
    left = run_cells(tmp_path / "a", QUICK | named | {"scene_format": "levir_nvs", "convention": "detect"})
    assert left["layers/mpi.json"] == learnt[1]["layers/mpi.json"]
    with pytest.raises(InputError):
        run_cells(tmp_path / "b", named | {"scene_format": "colmap"}, until="learnt =")
    with pytest.raises(InputError):
        run_cells(tmp_path / "c", named | {"scene": "scene_099"}, until="learnt =")
    turned = run_cells(tmp_path / "d", QUICK | named | {"convention": "opengl_w2c"}, until="part_of")
    assert turned == {} or turned != left


def test_the_city_is_asked_for_as_the_parameters_say(monkeypatch, tmp_path):
    asked, there = [], city_folder()
    monkeypatch.setattr(rsnb.city, "ensure_levir_nvs", lambda root, options: asked.append((root, options)) or there)
    run_cells(tmp_path, {"seed": 8, "max_width": 512, "data_root": str(tmp_path)}, until="learnt =")
    root, options = asked[0]
    assert options.city.seed == 8 and options.size == 512 and options.scenes == 1
    assert str(root).startswith(str(tmp_path))
    with pytest.raises(InputError):  # three scenes are asked for, and this folder has one
        run_cells(tmp_path, {"scene": "scene_002"}, until="learnt =")
    assert asked[1][1].scenes == 3


def test_the_device_is_read(tmp_path):
    with pytest.raises(InputError, match="device"):
        run_cells(tmp_path / "b", {"device": "abacus"})
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="GPU"):
            run_cells(tmp_path / "c", {"device": "cuda"})


def test_another_seed_draws_other_views(plain, tmp_path, monkeypatch):
    there = city_folder()
    monkeypatch.setattr(rsnb.city, "ensure_levir_nvs", lambda root, options: there)
    assert run_cells(tmp_path, QUICK | {"seed": 8})["layers/mpi.json"] != plain["layers/mpi.json"]


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """A scene of the city with the pictures' own size."""
    return rsnb.city.ensure_levir_nvs(tmp_path_factory.mktemp("native"), rsnb.city.LevirOptions(scenes=1,
                                                                                                 supersample=1))


@pytest.mark.parametrize("path", sorted((CELLS.path.parent / "params" / "full").glob("03*.yaml")), ids=lambda p: p.stem)
def test_the_full_parameters_run_at_native_sizes(path, native, tmp_path):
    """Two steps of everything at 512 x 512 (cross-scene: 768 x 384); few planes and the CPU, so that it fits."""
    import yaml

    full = yaml.safe_load(path.read_text())
    short = {"device": "cpu", "planes": 3, "steps": 2, "track_frames": 2, "seeds": 1, "lpips": "none",
             "published_lpips": False, "published_steps": min(full["published_steps"], 2)}
    if full.get("csi", "none") == "train":
        root = rsnb.city.ensure_whu_mvs(tmp_path, rsnb.city.WhuOptions(scenes=3, supersample=1))
        short |= {"csi_path": str(root), "csi_steps": 2}
    elif full.get("csi", "none") != "none":
        short["csi"] = "none"  # a checkpoint that only the other file's run can make
    left = run_cells(tmp_path / "out", full | short | {"scene_path": str(native), "scene": "scene_000"})
    assert left["track.mp4"].startswith("2 frames")
    pictures = sorted((tmp_path / "out" / "test_views" / "images").iterdir())
    assert len(pictures) == (17 if full["protocol"] == "three_view" else 10)
    with Image.open(pictures[0]) as picture:
        assert picture.size == (512, 512)


BAD = [("near_far", [120.0, 60.0]), ("near_far", [0.0, 60.0]), ("test_views", "001,nothing"), ("planes", 1),
       ("steps", -1), ("views_per_step", 0), ("tv", -1.0), ("protocol", "half"), ("recipe", "best"),
       ("mended", "all,x"), ("csi", "/nowhere.ckpt"), ("checkpoint", "/nowhere.ckpt"), ("scene_path", "/nowhere"),
       ("scene_format", "jpeg"), ("track_frames", 0), ("seeds", 0), ("published_steps", -1), ("lpips", "resnet")]


@pytest.mark.parametrize("change", [dict([pair]) for pair in BAD], ids=lambda change: str(change))
def test_bad_parameters_stop_with_one_paragraph(change, tmp_path):
    with pytest.raises(InputError) as caught:
        run_cells(tmp_path, QUICK | change if "mended" not in change and "published_steps" not in change else change,
                  after=AFTER)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert not (tmp_path / "metrics.json").exists()


# --- a test spoils each result and sees a check fail ---


SHARP = {name: CELLS.declared[name].default for name in ("planes", "steps", "max_width")} | QUICK


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Our planes at smoke scale, and what the checks say of them."""
    results = []
    with pytest.MonkeyPatch.context() as patch:
        optimise = rsnb.mpi.optimise_scene

        def record(*arguments, **options):
            results.append(optimise(*arguments, **options))
            return results[-1]

        patch.setattr(rsnb.mpi, "optimise_scene", record)
        run_cells(tmp_path_factory.mktemp("good"), SHARP, only_defaults=True, after=AFTER)
    return results[0]


def wrong_pose(result):
    pose = result.frame.world_to_cam.copy()
    pose[:3, 3] += (4.0, 0.0, 0.0)
    return replace(result, frame=replace(result.frame, world_to_cam=pose))


SPOILT = {
    "colours negated": lambda result: replace(result, mpi=torch.cat([1 - result.mpi[:, :3], result.mpi[:, 3:]], 1)),
    "planes in the wrong order": lambda result: replace(result, mpi=result.mpi.flip(0)),
    "the camera a step aside": wrong_pose,
    "no density": lambda result: replace(result, mpi=result.mpi * torch.tensor([1.0, 1, 1, 1e-3])[:, None, None]),
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_planes_fail_a_check(name, good, tmp_path, monkeypatch):
    monkeypatch.setattr(rsnb.mpi, "optimise_scene", lambda *_, **__: SPOILT[name](good))
    with pytest.raises(runs.CheckFailed, match="psnr_test"):
        run_cells(tmp_path, SHARP, only_defaults=True, after=AFTER)


class FlatDepth:
    """The right pictures with the depth of one plane."""

    def __init__(self, result):
        self.result = result

    def __getattr__(self, name):
        return getattr(self.result, name)

    def view(self, views, name) -> MpiRendering:
        seen = self.result.view(views, name)
        return seen._replace(depth=torch.full_like(seen.depth, float(np.mean([self.frame.near, self.frame.far]))))


def test_a_flat_depth_fails_its_check(good, tmp_path, monkeypatch):
    monkeypatch.setattr(rsnb.mpi, "optimise_scene", lambda *_, **__: FlatDepth(good))
    with pytest.raises(runs.CheckFailed, match="depth_error"):
        run_cells(tmp_path, SHARP, only_defaults=True, after=AFTER)


def test_a_gain_that_is_none_fails_its_check(good, tmp_path, monkeypatch):
    """The bar set to the warp by true depth, which a good result passes by two decibels only."""
    score = rsnb.mpi.score_baselines

    def better(*arguments, **options):
        found = score(*arguments, **options)
        return found | {"single plane": found["true depth"]}

    monkeypatch.setattr(rsnb.mpi, "optimise_scene", lambda *_, **__: good)
    monkeypatch.setattr(rsnb.mpi, "score_baselines", better)
    with pytest.raises(runs.CheckFailed, match="gain_over_single_plane"):
        run_cells(tmp_path, SHARP, only_defaults=True)  # all cells: a kept one holds the true baselines


@pytest.mark.parametrize("what", ["layers", "checkpoint"])
def test_a_bit_that_is_off_fails_its_check(what, good, tmp_path, monkeypatch):
    monkeypatch.setattr(rsnb.mpi, "optimise_scene", lambda *_, **__: good)
    if what == "layers":
        read = rsnb.products.read_layers

        def touched(folder):
            layers = read(folder)
            layers.mpi[0, 0, 0, 0] = np.nextafter(layers.mpi[0, 0, 0, 0], np.float32(2))
            return layers

        monkeypatch.setattr(rsnb.products, "read_layers", touched)
    else:
        load = rsnb.mpi.load_mpi
        monkeypatch.setattr(rsnb.mpi, "load_mpi", lambda path: replace(load(path), mpi=load(path).mpi * 1.001))
    with pytest.raises(runs.CheckFailed, match="bit_equal"):
        run_cells(tmp_path, SHARP, only_defaults=True, after=AFTER)
