"""Each committed notebook: executed in order, readable, small, free of one machine's traces, its parameters in use."""

from __future__ import annotations

import ast
import getpass
import json
import re
from pathlib import Path

import pytest
import yaml

from rsnb.runs.parameters import read_parameters, resolve
from rsnb.runs.planning import plan

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PROFILES = sorted((FOLDER / "params").glob("*/*.yaml"))
MAX_BYTES, MAX_CELLS, MAX_LINES = 1_500_000, 25, 15
MACHINE_PATH = re.compile(r"(?:^|[\s'\"(=])(/[A-Za-z_][\w.-]*/\S+|[A-Z]:\\\S+)", re.M)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(path):
    return [cell for cell in load(path)["cells"] if cell["cell_type"] == "code"]


def source(cell):
    return "".join(cell["source"])


def texts(cell):
    """Every text among a cell's outputs."""
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            yield "".join(output["text"])
        for kind, data in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield "".join(data)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param


def test_names_are_numbered(notebook):
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", notebook.stem)


def test_parameters_cell(notebook):
    declared = read_parameters(notebook)  # one cell, literal values, known types
    assert {"seed", "device", "data_root", "out_dir"} <= set(declared)
    assert declared["device"].default == "auto" and declared["seed"].type == "int"
    assert declared["data_root"].default == declared["out_dir"].default == ""
    cell = next(c for c in code_cells(notebook) if "parameters" in c["metadata"].get("tags", []))
    for line in filter(None, map(str.strip, source(cell).splitlines())):
        assert line.count("=") == 1, f"papermill's help drops a line with a second '=': {line}"
        assert re.match(r"\w+: ", line), f"papermill reads a type from its annotation only: {line}"
    for name, parameter in declared.items():
        assert parameter.help, f"{name} has no comment that explains it"


def test_each_parameter_is_read(notebook):
    read = set()
    for cell in code_cells(notebook):
        if "parameters" not in cell["metadata"].get("tags", []):
            tree = ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", source(cell)))
            read |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert set(read_parameters(notebook)) <= read


def test_executed_from_top_to_bottom(notebook):
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell["outputs"] if o["output_type"] == "error"]
    assert not [c for c in cells if "injected-parameters" in c["metadata"].get("tags", [])], "commit it at its defaults"


def test_some_outputs_are_compared(notebook):
    checked = [c for c in code_cells(notebook) if "nbval-check-output" in c["metadata"].get("tags", [])]
    assert checked
    for cell in checked:
        text = "".join(texts(cell))
        assert text.strip(), "nbval compares nothing where nothing is stored"
        assert "recorded (no expected value" not in text


def test_no_traces_of_one_machine(notebook):
    for cell in code_cells(notebook):
        for text in texts(cell):
            assert not MACHINE_PATH.search(text), MACHINE_PATH.search(text)[0]
            if getpass.getuser() not in ("root", "runner", "user"):
                assert getpass.getuser() not in text
    content = load(notebook)
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in content["metadata"], "strip the widget state"
    assert "papermill" not in content["metadata"]


def test_no_installing_and_no_path_tricks(notebook):
    for cell in code_cells(notebook):
        assert not re.search(r"%pip|!pip|sys\.path|%load_ext autoreload|os\.chdir", source(cell))


def test_size(notebook):
    assert notebook.stat().st_size <= MAX_BYTES
    cells = code_cells(notebook)
    assert len(cells) <= MAX_CELLS
    long = [source(c) for c in cells if "parameters" not in c["metadata"].get("tags", [])
            and len([line for line in source(c).splitlines() if line.strip()]) > MAX_LINES]
    assert not long


def test_nothing_is_blank_without_javascript(notebook):
    """An interactive output stands beside a picture, or says something as HTML of its own."""
    pictures = sum("image/png" in o.get("data", {}) or "image/jpeg" in o.get("data", {})
                   for cell in code_cells(notebook) for o in cell["outputs"])
    assert pictures >= 1
    for cell in code_cells(notebook):
        kinds = {kind for o in cell["outputs"] for kind in o.get("data", {})}
        if "application/vnd.plotly.v1+json" in kinds:
            assert kinds & {"image/png", "image/jpeg"}, "a plotly figure needs its static twin in the same cell"


def test_story(notebook):
    text = "\n".join(source(c) for c in load(notebook)["cells"] if c["cell_type"] == "markdown")
    assert len(re.findall(r"(?m)^# ", text)) == 1, "one title"
    for word in ("parameter", "limit", "licen", "try"):
        assert word in text.lower(), f"nothing about {word}..."
    assert "$" in text, "the method without an equation"


def test_readme_has_a_line(notebook, project):
    assert notebook.name in (project / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("profile", ["tiny", "full"])
def test_profiles_exist(notebook, profile):
    assert (FOLDER / "params" / profile / f"{notebook.stem[:2]}.yaml").is_file()


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_parameter_files_fit_their_notebook(path, tmp_path):
    number, _, variant = path.stem.partition("_")
    notebook = next(p for p in NOTEBOOKS if p.stem.startswith(number))
    resolve(read_parameters(notebook), path)
    plan(str(notebook), profile=path.parent.name, variant=variant, runs=tmp_path)  # as rsnb run --dry
    values = yaml.safe_load(path.read_text()) or {}
    assert not {"out_dir", "data_root"} & set(values), "a file for everybody names nobody's folders"
