"""Notebook 01 in this process: every parameter changes something, and a spoiled result fails a check.

The cells run as a script would, at `tiny` scale on the default city (built once into the data folder).
"""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from in_process import Cells

import rsnb.city
import rsnb.data
from rsnb import runs
from rsnb.data.stac.catalogues import find_catalogue
from rsnb.data.stac.connect import open_catalogue
from rsnb.errors import InputError

CELLS = Cells("01_data_download")
SMOKE = {name: CELLS.declared[name].default for name in CELLS.tiny} | {"live": "no"}
# the first text of a cell that a change does not reach any more: what comes after need not run
FORMATS, SEARCH, READ, TRUTH, NDVI, SHIFTS, GUESS = (
    "known = (", "source = catalogue", "choice = ", "def true_image", "ndvi = ", "west, south", "inner = ")
pytestmark = pytest.mark.slow


def catalogue() -> Path:
    return rsnb.city.ensure_catalogue(runs.data_folder(""), rsnb.city.CatalogueOptions())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """`plain(until)`: what the notebook leaves at tiny scale up to a cell."""
    left = {}

    def get(until=""):
        if until not in left:
            left[until] = CELLS.run(tmp_path_factory.mktemp("plain"), until=until)
        return left[until]

    return get


def test_the_same_parameters_leave_the_same_bytes(plain, tmp_path):
    assert CELLS.run(tmp_path) == plain() and len(plain()) >= 9


CHANGES = {
    "collections": ("city-high-resolution", READ), "max_items": (2, READ), "max_cloud": (5.0, READ),
    "start": ("2022-05-01", READ), "end": ("2022-05-01", READ), "bbox": ([24.90, 60.16, 24.95, 60.18], TRUTH),
    "bands": ("red,green,blue", ""), "resolution": (40.0, TRUTH), "break_at": (0.25, SEARCH),
    "catalogue": ("https://127.0.0.1:1/v1", TRUTH),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_parameter_alone_changes_what_comes_out(name, plain, tmp_path):
    value, until = CHANGES[name]
    try:
        changed = CELLS.run(tmp_path, {name: value}, until=until)
    except InputError as error:
        assert name == "catalogue" and "127.0.0.1" in str(error)  # nothing answers there, and that is said
    else:
        assert changed != plain(until)


def test_a_window_of_another_size_is_read(plain, tmp_path, monkeypatch):
    asked, true = [], rsnb.data.read_window
    monkeypatch.setattr(rsnb.data, "read_window", lambda href, **given: asked.append(given) or true(href, **given))
    CELLS.run(tmp_path, {"window": 32}, until=READ)
    assert [given["pixels"][2:] for given in asked] == [(32, 32)]


def test_sizes_and_seed_reach_the_city(monkeypatch, tmp_path):
    asked = {}
    for name in ("catalogue", "worldstrat", "levir_nvs", "whu_mvs", "pairs", "street_scene"):
        def note(root, options, name=name):
            asked.setdefault(name, []).append(options)
            return tmp_path
        monkeypatch.setattr(rsnb.city, f"ensure_{name}", note)
    monkeypatch.setattr(rsnb.city, "dataset_sha256", lambda folder: "0" * 64)
    CELLS.run(tmp_path / "out", {"seed": 8, "scene_size": 40, "pairs": 9}, until="views, block")
    assert {options.city.seed for listed in asked.values() for options in listed} == {8}
    assert asked["levir_nvs"][0].size == 40 and asked["whu_mvs"][0].width == 60
    assert [(p.train, p.val, p.tile_px) for p in asked["pairs"]] == [(6, 3, 40)] * 2


def test_a_folder_of_ones_own_is_looked_through(tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copytree(rsnb.city.ensure_levir_nvs(runs.data_folder(""), levir_options()) / "scene_000", mine / "scene_000")
    next((mine / "scene_000" / "Images").iterdir()).unlink()
    CELLS.run(tmp_path / "out", {"audit_path": str(mine), "audit_format": "levir_nvs"}, until="damaged = ")
    assert "missing" in capsys.readouterr().out
    with pytest.raises(InputError, match="no audit for"):
        CELLS.run(tmp_path / "b", {"audit_path": str(mine), "audit_format": "jpeg"}, until="damaged = ")


def levir_options():
    size = CELLS.declared["scene_size"].default
    return rsnb.city.LevirOptions(city=rsnb.city.CityOptions(seed=7), scenes=1, size=size)


def test_a_live_catalogue_is_asked_where_one_answers(monkeypatch, tmp_path, capsys):
    asked, true = [], rsnb.data.search

    def elsewhere(source, options):
        if source != "earth_search":
            return true(source, options)
        asked.append(options)
        raise InputError("no answer", where="https://example.org")

    monkeypatch.setattr(rsnb.data, "search", elsewhere)
    CELLS.run(tmp_path / "a", {"live": "auto"})
    assert len(asked) == 1 and asked[0].max_items == 3 and "No live catalogue answered" in capsys.readouterr().out
    CELLS.run(tmp_path / "b", {"live": "no"})
    assert len(asked) == 1
    with pytest.raises(InputError, match="no answer"):
        CELLS.run(tmp_path / "c", {"live": "yes"})


def test_where_and_on_what_it_runs_is_read(tmp_path, plain):
    with pytest.raises(InputError, match="device"):
        CELLS.run(tmp_path / "b", {"device": "abacus"})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "city").symlink_to(runs.data_folder("") / "city")
    assert CELLS.run(tmp_path / "a", {"data_root": str(tmp_path / "elsewhere")}, until=SEARCH) == plain(SEARCH)


def test_the_full_parameters_name_what_a_live_catalogue_has(monkeypatch, tmp_path):
    """Full scale on the city's catalogue: real names, native sizes, the real search but for the place."""
    here = {"catalogue": str(catalogue() / "catalog.json"), "live": "no", "pairs": 3, "max_items": 2,
            "bbox": [24.90, 60.16, 24.95, 60.18]}
    left = CELLS.run(tmp_path, CELLS.full | here)
    assert "series.png" in left
    options = rsnb.data.SearchOptions(bbox=CELLS.full["bbox"], start=CELLS.full["start"], end=CELLS.full["end"])
    assert options.interval and find_catalogue(CELLS.full["catalogue"]).url.startswith("https")


BAD = [("bbox", [60.13, 24.85, 60.23]), ("bbox", [0.0, 95.0, 1.0, 96.0]), ("start", "2022-13-01"), ("end", "yesterday"),
       ("start", "2023-01-01", "end", "2022-01-01"), ("collections", "sentinel-9"), ("bands", "ultraviolet"),
       ("max_items", 0), ("resolution", -10.0), ("catalogue", "/nowhere/catalog.json"), ("window", 0),
       ("audit_path", "/nowhere"), ("scene_size", 0), ("pairs", 1)]


@pytest.mark.parametrize("change", BAD, ids=str)
def test_bad_parameters_stop_with_one_paragraph(change, tmp_path):
    with pytest.raises(InputError) as caught:
        CELLS.run(tmp_path, dict(zip(change[::2], change[1::2], strict=True)))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert not (tmp_path / "metrics.json").exists()


# --- a test spoils each result and sees a check fail ---


def expect_failure(check: str, out_dir: Path, until: str = "") -> None:
    with pytest.raises(runs.CheckFailed, match=check):
        CELLS.run(out_dir, SMOKE, only_defaults=True, until=until)


def test_unspoiled_checks_pass(tmp_path):
    CELLS.run(tmp_path, SMOKE, only_defaults=True)


def test_an_audit_that_sees_nothing_fails(monkeypatch, tmp_path):
    true = rsnb.data.audit_dataset
    monkeypatch.setattr(rsnb.data, "audit_dataset", lambda name, root: replace(true(name, root), findings=()))
    expect_failure("damages_found", tmp_path)


def test_a_download_that_starts_again_fails(monkeypatch, tmp_path):
    from rsnb.data.download import transfer

    monkeypatch.setattr(transfer, "_conditions", lambda part, *rest: part.begin({}) or {})
    expect_failure("bytes_sent_twice", tmp_path)


def test_a_download_that_gives_up_fails(monkeypatch, tmp_path):
    true, given_up = rsnb.data.fetch, (("scene.zip", InputError("gave up")),)
    monkeypatch.setattr(rsnb.data, "fetch", lambda *given, **more: replace(true(*given, **more), failed=given_up))
    expect_failure("fetched", tmp_path)


def test_an_archive_that_climbs_out_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(rsnb.data, "unpack", lambda archive, folder: None)
    expect_failure("refused", tmp_path)


def test_a_search_that_ignores_clouds_fails(monkeypatch, tmp_path):
    true = rsnb.data.search
    monkeypatch.setattr(rsnb.data, "search", lambda source, o: true(source, replace(o, max_cloud=None)))
    expect_failure("items_found", tmp_path)


def test_a_window_that_reads_the_whole_file_fails(monkeypatch, tmp_path):
    import requests

    true = rsnb.data.read_window

    def greedy(href, **given):
        io.BytesIO(requests.get(href, timeout=10).content)
        return true(href, **given)

    monkeypatch.setattr(rsnb.data, "read_window", greedy)
    expect_failure("window_share_of_bytes", tmp_path)


@pytest.mark.parametrize(("spoil", "check"), [
    ("offset taken off twice on one date", "worst_reflectance_error"), ("frames in another order", "reflectance"),
    ("mask turned round", "worst_"), ("no mask", "masked_share|reflectance|wrongly"),
    ("mask a pixel too far", "worst_wrongly_masked|masked_share"), ("red for blue", "reflectance")])
def test_spoiled_stacks_fail(spoil, check, monkeypatch, tmp_path):
    true = rsnb.data.read_stack

    def spoiled(*given):
        stack = true(*given)
        images, clear = stack.images.copy(), stack.clear.copy()
        if spoil.startswith("offset"):
            images[3] -= 0.1
        elif spoil.startswith("frames"):
            images = images[::-1]
        elif spoil == "mask turned round":
            clear = ~clear
        elif spoil == "no mask":
            clear[:] = True
        elif spoil == "red for blue":
            images[:, [0, 2]] = images[:, [2, 0]]
        else:
            clear = np.roll(clear, 12, axis=-1)
        return replace(stack, images=images, clear=clear)

    monkeypatch.setattr(rsnb.data, "read_stack", spoiled)
    expect_failure(check, tmp_path)


@pytest.mark.parametrize("spoil", ["none found", "wrong sign"])
def test_shifts_that_are_wrong_fail(spoil, monkeypatch, tmp_path):
    true = rsnb.data.coregister
    factor = 0.0 if spoil == "none found" else -1.0

    def spoiled(stack):
        moved, shifts = true(stack)
        return moved, tuple(replace(s, rows=factor * s.rows, cols=factor * s.cols) for s in shifts)

    monkeypatch.setattr(rsnb.data, "coregister", spoiled)
    expect_failure("shift_error_median_px", tmp_path)


def test_a_line_between_the_wrong_dates_fails(monkeypatch, tmp_path):
    true = rsnb.data.resample_time

    def spoiled(stack, dates, method):
        if method == "linear":
            stack = replace(stack, images=stack.images[::-1].copy(), clear=stack.clear[::-1].copy())
        return true(stack, dates, method)

    monkeypatch.setattr(rsnb.data, "resample_time", spoiled)
    expect_failure("linear_over_mean_db", tmp_path)


def test_no_secret_is_asked_for():
    """The notebook takes no password as a parameter: papermill would write it into its output."""
    assert not [name for name in CELLS.declared if re.search("token|key|password|user|secret", name)]


def test_catalogues_open_without_a_network(tmp_path):
    assert open_catalogue(catalogue() / "catalog.json") is not None
