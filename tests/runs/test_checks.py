"""check: a stable line for what holds, a stop for what does not, and no check that is none."""

from __future__ import annotations

import json
import math

import pytest

from rsnb import runs
from rsnb.errors import InputError
from rsnb.runs import notebook
from rsnb.runs.checks import CheckFailed, check, check_at_least, check_at_most


@pytest.fixture(autouse=True)
def no_run_left_over(monkeypatch):
    monkeypatch.setattr(notebook, "_current", None)


def test_the_line_holds_the_expected_value_only(capsys):
    check("psnr_test", 31.7, 31.4, rtol=0.02)  # 31.7 / 31.4 = 1.0096
    check("rows", 12, 12, rtol=0)
    check_at_least("gain", 6.61, 6)
    check_at_most("error_m", 0.02, 0.25)
    assert capsys.readouterr().out == ("psnr_test ok (31.4 within 2 %)\nrows ok (12 exactly)\n"
                                       "gain ok (at least 6)\nerror_m ok (at most 0.25)\n")


@pytest.mark.parametrize("value", [30.7, 32.1, math.nan, math.inf, -31.4])  # 2 % of 31.4 is 0.628
def test_a_number_that_is_off_stops(value):
    with pytest.raises(CheckFailed, match="psnr_test"):
        check("psnr_test", value, 31.4, rtol=0.02)


def test_bounds_stop_too():
    with pytest.raises(CheckFailed):
        check_at_least("gain", 5.99, 6)
    with pytest.raises(CheckFailed):
        check_at_most("error", 0.26, 0.25)
    with pytest.raises(CheckFailed):
        check_at_most("error", math.nan, 0.25)


def test_negative_expected_values():
    check("log_loss", -2.02, -2.0, rtol=0.02)
    with pytest.raises(CheckFailed):
        check("log_loss", -2.1, -2.0, rtol=0.02)


@pytest.mark.parametrize(("expected", "rtol"), [(0, 0.01), (math.nan, 0.01), (1, math.nan), (1, -0.1), (1, 0.06)])
def test_a_check_that_is_none_is_refused(expected, rtol):
    with pytest.raises(InputError):
        check("x", 1, expected, rtol=rtol)


def test_a_loose_tolerance_needs_its_reason():
    check("x", 1.08, 1, rtol=0.1, why="a random subset of 20 views")


def test_values_are_recorded_and_other_parameters_are_not_judged(tmp_path, capsys):
    run = runs.start("90_sample", out_dir=tmp_path, seed=3, defaults=False)
    check("psnr", 12.0, 31.4, rtol=0.02)
    check_at_most("error", 0.01, 0.25, always=True)
    with pytest.raises(CheckFailed):
        check_at_most("error", 0.3, 0.25, always=True)
    assert capsys.readouterr().out.splitlines() == [
        "psnr recorded (no expected value for these parameters)", "error ok (at most 0.25)"]
    run.finish()
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert report["metrics"] == {"psnr": 12.0, "error": 0.3} and report["seed"] == 3
    assert "not applied" in report["checks"]["psnr"]


def test_what_a_run_refuses_to_report(tmp_path):
    run = runs.start("90_sample", out_dir=tmp_path / "run")
    with pytest.raises(InputError, match="nan"):
        run.metric("psnr", math.nan)
    with pytest.raises(InputError, match="reason"):
        run.metric("lpips", None)
    with pytest.raises(InputError, match="was not written"):
        run.figure(run.path("a.png"))
    (tmp_path / "b.png").write_bytes(b"x")
    with pytest.raises(InputError, match="outside"):
        run.figure(tmp_path / "b.png")
    with pytest.raises(InputError, match="name"):
        runs.start("../x", out_dir=tmp_path)


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    texts = []
    for folder in ("a", "b"):
        run = runs.start("90_sample", out_dir=tmp_path / folder, seed=1)
        run.metric("psnr", 31.25)
        run.metric("lpips", None, why="no trunk offline")
        run.path("sub/a.png").write_bytes(b"x")
        run.figure("sub/a.png", "A picture")
        run.dataset("city", "ab" * 32, "Apache-2.0")
        run.finish()
        texts.append((run.dir / "metrics.json").read_bytes())
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["figures"] == {"sub/a.png": "A picture"}
    run = runs.start("90_sample", out_dir=tmp_path / "a")
    assert not (tmp_path / "a" / "metrics.json").exists()  # an old report does not survive a new start
