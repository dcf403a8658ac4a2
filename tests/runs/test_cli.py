"""The command line: help that explains, answers without torch, errors without tracebacks."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
    (["table", "--format", "xml"], "Choose one of: text"),
])
def test_wrong_input_is_one_paragraph_and_exit_code_2(project, tmp_path, words, message):
    answer = run("-m", "rsnb", *words, cwd=project, env={"RSNB_RUNS": str(tmp_path), "PATH": ""})
    assert answer.returncode == 2 and message in answer.stderr
    assert answer.stderr.count("\n") == 1 and "Traceback" not in answer.stderr


def test_an_unknown_option_is_refused_too():
    assert run("-m", "rsnb", "table", "--colour").returncode == 2


def test_input_error_names_place_and_mend():
    error = InputError("the row has 4 columns, not 7", where="panos.txt", line=3, mend="Add the missing ones")
    assert str(error) == "panos.txt, line 3: the row has 4 columns, not 7. Add the missing ones."
