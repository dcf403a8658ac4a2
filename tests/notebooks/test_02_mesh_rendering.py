"""Notebook 02 in this process: every parameter changes something, and a spoiled result fails a check.

The cells run as a script would, at `tiny` scale on the default city (built once into the data folder).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from in_process import Cells
from PIL import Image

import rsnb.data
import rsnb.mesh
import rsnb.metrics
import rsnb.products
from rsnb import runs
from rsnb.errors import InputError
from rsnb.geometry import poses

CELLS = Cells("02_mesh_rendering")
run_cells = CELLS.run
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What the notebook leaves at tiny scale."""
    return run_cells(tmp_path_factory.mktemp("plain"))


def test_the_same_parameters_leave_the_same_bytes(plain, tmp_path):
    assert run_cells(tmp_path) == plain and len(plain) >= 15


CHANGES = {
    "true_north": True,
    "crs": "EPSG:3067", "rows": "1", "heading": "10", "ground": "yes", "light": "sun", "pitch": 10.0, "epoch": 2021.5,
    "camera_height": 4.0, "fov": 60.0, "size": [120, 120], "panorama_width": 128, "gsd": 8.0, "supersample": 2,
    "flight_frames": 5, "left_out": 2, "origin": [25490001.0, 6668000.0, 0.0],
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_parameter_alone_changes_what_comes_out(name, plain, tmp_path):
    try:
        changed = run_cells(tmp_path, {name: CHANGES[name]})
    except InputError as error:
        assert name in ("crs", "origin"), error  # they contradict panos.txt, and that is said
        assert "panos.txt" in str(error) or "swapped" in str(error) or "outside" in str(error)
    else:
        assert changed != plain


def test_the_opengl_backend_sees_the_same_faces(plain, tmp_path):
    try:
        left = run_cells(tmp_path, {"backend": "egl"})
    except InputError as error:
        pytest.skip(f"no OpenGL here: {error}")
    assert left != plain and set(left) == set(plain)


def test_field_steps_and_colour_transfer_change_novel_views(tmp_path):
    few = {"left_out": 2}
    base = run_cells(tmp_path / "a", few)
    assert "worst.png" in base
    assert run_cells(tmp_path / "b", few | {"field_steps": 3})["metrics.json"] != base["metrics.json"]
    assert run_cells(tmp_path / "c", few | {"colour_transfer": True})["worst.png"] != base["worst.png"]


def test_another_mesh_and_list_are_used(plain, tmp_path):
    scene = rsnb.data.locate_street_scene(city_folder())
    alone = run_cells(tmp_path / "alone", {"mesh_path": str(scene.mesh)})
    assert "views/place000_rgb.png" in alone and "pose.png" not in alone
    short = tmp_path / "short.txt"
    short.write_text("\n".join(scene.panos.read_text().splitlines()[:1] + scene.panos.read_text().splitlines()[4:5]))
    listed = run_cells(tmp_path / "listed", {"mesh_path": str(city_folder()), "panos_path": str(short)})
    assert "views/city07-0003_rgb.png" in listed and "views/city07-0000_rgb.png" not in listed


def test_where_and_on_what_it_runs_is_read_but_changes_nothing(plain, tmp_path):
    (tmp_path / "elsewhere" / "city").mkdir(parents=True)
    (tmp_path / "elsewhere" / "city" / city_folder().name).symlink_to(city_folder())
    moved = run_cells(tmp_path / "a", {"data_root": str(tmp_path / "elsewhere"), "processes": 2})
    assert moved == plain
    with pytest.raises(InputError, match="device"):
        run_cells(tmp_path / "b", {"device": "abacus"})
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="GPU"):
            run_cells(tmp_path / "c", {"device": "cuda"})
    with pytest.raises(InputError, match="backend"):
        run_cells(tmp_path / "d", {"backend": "crayons"})


def test_another_seed_is_another_city(monkeypatch, tmp_path):
    asked, there = [], city_folder()
    monkeypatch.setattr(rsnb.city, "ensure_street_scene", lambda root, options: asked.append(options) or there)
    run_cells(tmp_path, {"seed": 8}, until="flight = ")
    assert asked[0].city.seed == 8


def city_folder() -> Path:
    return rsnb.city.ensure_street_scene(runs.data_folder(""))


def test_the_full_parameters_run_at_native_sizes(tmp_path):
    full = CELLS.full
    short = {"rows": "0", "flight_frames": 2, "left_out": 2, "field_steps": 2}
    left = run_cells(tmp_path, full | short | {"supersample": 1, "colour_transfer": False})  # sizes, not quality
    assert left["drive.mp4"].startswith("2 frames")
    with Image.open(tmp_path / "views" / "city07-0000_rgb.png") as picture:
        assert picture.size == tuple(full["size"])
    with rasterio.open(tmp_path / "nadir" / "mesh" / "dsm.tif") as raster:
        assert raster.res == (full["gsd"], full["gsd"]) and min(raster.shape) >= 500 / full["gsd"]


BAD = [("camera_height", -3.0), ("fov", 0.0), ("fov", 180.0), ("gsd", 0.0), ("rows", "9999"), ("mesh_path", "/nowhere"),
       ("panos_path", "/nowhere.txt"), ("heading", "north"), ("crs", "EPSG:1"), ("supersample", 0), ("processes", 0),
       ("left_out", -1), ("size", [1, 2, 3])]


@pytest.mark.parametrize("change", [dict([pair]) for pair in BAD], ids=lambda change: str(change))
def test_bad_parameters_stop_with_one_paragraph(change, tmp_path):
    with pytest.raises(InputError) as caught:
        run_cells(tmp_path, change)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert not (tmp_path / "metrics.json").exists()


# --- a test spoils each result and sees a check fail ---


SHARP = {name: CELLS.declared[name].default for name in ("rows", "size", "panorama_width", "gsd")}  # as at smoke scale


def expect_failure(check: str, out_dir: Path, changes: dict | None = None) -> None:
    with pytest.raises(runs.CheckFailed, match=check):
        run_cells(out_dir, changes, only_defaults=True)


def test_unspoiled_checks_pass(tmp_path):
    run_cells(tmp_path, SHARP, only_defaults=True)


def test_a_panorama_that_looks_elsewhere_fails(monkeypatch, tmp_path):
    true = rsnb.mesh.compare_with_panorama
    turned = poses.pose_from_heading(np.zeros(3), np.radians(5))

    def spoiled(view, panorama):
        return true(replace(view, world_to_cam=turned[:4] @ view.world_to_cam), panorama)

    monkeypatch.setattr(rsnb.mesh, "compare_with_panorama", spoiled)
    expect_failure("panorama_same_class", tmp_path, SHARP)


def test_places_read_a_metre_off_fail(monkeypatch, tmp_path):
    true = rsnb.mesh.stand_at_lonlat
    monkeypatch.setattr(rsnb.mesh, "stand_at_lonlat", lambda scene, lat, *rest: true(scene, lat + 1e-5, *rest))
    expect_failure("projection_error_m", tmp_path, SHARP)


def test_heights_that_are_off_by_half_a_metre_fail(monkeypatch, tmp_path):
    true = rsnb.products.write_nadir

    def spoiled(folder, view, *rest):
        return true(folder, replace(view, depth=view.depth + np.float32(0.5)), *rest)

    monkeypatch.setattr(rsnb.products, "write_nadir", spoiled)
    expect_failure("dsm_median_abs_m", tmp_path, SHARP)


def test_a_solver_that_only_repeats_the_stated_pose_fails(monkeypatch, tmp_path):
    true = rsnb.mesh.solve_pose

    def spoiled(pixels, world, K, width, height, options):
        return replace(true(pixels, world, K, width, height, options), world_to_cam=options.prior)

    monkeypatch.setattr(rsnb.mesh, "solve_pose", spoiled)
    expect_failure("solved_position_error_m", tmp_path, SHARP)


@pytest.mark.parametrize("spoil", ["mirrored pictures", "turned headings", "shuffled pictures"])
def test_spoiled_street_views_fail(spoil, monkeypatch, tmp_path):
    true = rsnb.data.read_street_views

    def spoiled(folder, *rest):
        views = true(folder, *rest)
        if Path(folder).name != "panoramas":
            return views
        if spoil == "mirrored pictures":
            return replace(views, images=np.ascontiguousarray(views.images[..., ::-1]))
        if spoil == "shuffled pictures":
            return replace(views, images=np.roll(views.images, 7, axis=0))
        turn = poses.pose_from_heading(np.zeros(3), np.radians(20))
        level = poses.pose_from_heading(np.zeros(3), 0.0)
        return replace(views, world_to_cam=turn @ poses.invert(level) @ views.world_to_cam)

    monkeypatch.setattr(rsnb.data, "read_street_views", spoiled)
    expect_failure("ibr_gain_db", tmp_path, SHARP | {"left_out": 20})


def test_a_field_that_learned_nothing_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(rsnb.mesh.SurfaceField, "fit", lambda self, samples, progress=False: None)
    expect_failure("field_gain_db", tmp_path, SHARP | {"left_out": 20, "field_steps": 400})

