"""The command line: help that explains, answers without torch, errors without tracebacks."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from rsnb import cli
from rsnb.errors import InputError


def run(*words, **options):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize("command", ["info", "city", "run", "table"])
def test_each_command_explains_itself(command):
    help_text = run("-m", "rsnb", command, "--help")
    assert help_text.returncode == 0 and len(help_text.stdout.split()) > 12
    assert command in run("-m", "rsnb", "--help").stdout


HEAVY = "torch|numba|matplotlib|plotly|papermill|nbclient|cv2|rasterio|trimesh|scipy|jupyter_client"


def test_info_answers_without_anything_heavy(project):
    answer = run("-X", "importtime", "-m", "rsnb", "info", cwd=project)
    assert answer.returncode == 0
    imported = {line.split("|")[-1].strip().split(".")[0] for line in answer.stderr.splitlines() if "|" in line}
    assert "typer" in imported and not imported & set(HEAVY.split("|"))
    for word in ("rsnb", "Python", "GPU", "torch", "data", "runs"):
        assert word in answer.stdout


def test_runs_and_data_import_no_torch():
    program = ("import sys, rsnb.runs, rsnb.runs.execution, rsnb.runs.gallery, rsnb.runs.table, rsnb.runs.notebook, "
               "rsnb.data, rsnb.data.manifest; print([m for m in ('torch', 'papermill') if m in sys.modules])")
    assert run("-c", program).stdout.strip() == "[]"


@pytest.mark.parametrize(("words", "message"), [
    (["run", "99"], "no notebook '99'"),
    (["city", "--district", "0;0"], "names no district"),
    (["city", "--district=-1,2"], "Both numbers go from 0 to 3"),
    (["city", "/dev/null/x"], "/dev/null/x"),  # a place where no folder can be made
    (["table", "--format", "xml"], "Choose one of: text"),
    (["run", "02", "-p", "[/x]=[bold]"], "'[/x]=[bold]' is not of the form"),
])
def test_wrong_input_is_one_paragraph_and_exit_code_2(project, tmp_path, words, message):
    answer = run("-m", "rsnb", *words, cwd=project, env={"RSNB_RUNS": str(tmp_path), "PATH": ""})
    assert answer.returncode == 2 and message in answer.stderr
    assert answer.stderr.count("\n") == 1 and "Traceback" not in answer.stderr


def test_what_a_user_typed_is_printed_as_it_is(project, tmp_path):
    words = ["run", "02", "--dry", "-p", "mesh_path=[/x] [red]y"]
    dry = run("-m", "rsnb", *words, cwd=project, env={"RSNB_RUNS": str(tmp_path), "PATH": "", "COLUMNS": "200"})
    assert dry.returncode == 0 and "'[/x] [red]y'" in dry.stdout
    listed = run("-m", "rsnb", "table", "--runs", "/[x]r")
    assert listed.returncode == 0 and "in /[x]r." in listed.stdout


def test_a_package_that_is_missing_is_named_with_the_set_to_install(capsys, monkeypatch):
    monkeypatch.setattr(cli, "app", lambda: __import__("no_such_package"))
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "'no_such_package'" in said and "'rsnb[notebooks]'" in said


@pytest.mark.parametrize(("codes", "worst"), [([0, 0], 0), ([0, 75], 75), ([75, 1, 0], 1)])
def test_a_failure_counts_more_than_a_run_that_another_process_does(codes, worst):
    assert cli.running._worst(codes) == worst


def test_the_city_takes_its_exact_mesh_as_an_option(monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from rsnb.city import write_street_scene

    seen = []
    monkeypatch.setattr(write_street_scene, "ensure_street_scene", lambda root, options: seen.append(options) or root)
    for words in ([], ["--exact"], ["--no-exact"]):
        assert CliRunner().invoke(cli.app, ["city", str(tmp_path), *words]).exit_code == 0
    assert [options.exact_mesh for options in seen] == [False, True, False]


def test_an_unknown_option_is_refused_too():
    assert run("-m", "rsnb", "table", "--colour").returncode == 2


def test_input_error_names_place_and_mend():
    error = InputError("the row has 4 columns, not 7", where="panos.txt", line=3, mend="Add the missing ones")
    assert str(error) == "panos.txt, line 3: the row has 4 columns, not 7. Add the missing ones."


def test_input_error_comes_back_whole_from_a_worker_process():
    error = InputError("the row has 4 columns, not 7", where="panos.txt", line=3, mend="Add the missing ones")
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error)
    assert (back.what, back.where, back.line, back.mend) == (error.what, "panos.txt", 3, error.mend)
