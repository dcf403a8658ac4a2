"""Parameters: what a cell declares, and what is refused before a kernel starts."""

from __future__ import annotations

import logging

import pytest

from rsnb.errors import InputError
from rsnb.runs.parameters import injected_over_defaults, parse_cell, read_parameters, resolve


def test_names_types_defaults_and_help(write_notebook):
    found = read_parameters(write_notebook("pass"))
    assert list(found) == ["seed", "width", "rate", "scene", "device", "rows", "fast", "out_dir"]
    assert (found["seed"].type, found["seed"].default, found["seed"].help) == ("int", 0, "random seed")
    assert found["device"].choices == ("auto", "cpu", "cuda")
    assert found["rows"].default == [1, 2]


@pytest.mark.parametrize("behind", ["", ": what it means, and more", "; and more", " (what it means)", ". More"])
def test_every_listed_choice_is_accepted(behind):
    declared = parse_cell(f'mode: str = "auto"  # one of auto, yes, no{behind}')
    for choice in ("auto", "yes", "no"):
        assert resolve(declared, overrides=[("mode", choice)]) == {"mode": choice}
    with pytest.raises(InputError, match="Choose one of: auto, yes, no\\."):
        resolve(declared, overrides=[("mode", "maybe")])


def test_every_choice_that_a_notebook_lists_is_accepted(project):
    for notebook in sorted((project / "notebooks").glob("*.ipynb")):
        declared = read_parameters(notebook)
        for parameter in declared.values():
            assert all(choice.replace("_", "").isalnum() for choice in parameter.choices), parameter
            for choice in parameter.choices:
                assert resolve(declared, overrides=[(parameter.name, choice)])[parameter.name] == choice


def test_agrees_with_papermill(write_notebook):
    papermill = pytest.importorskip("papermill")
    path = write_notebook("pass")
    logging.getLogger("papermill").setLevel(logging.ERROR)
    theirs = papermill.inspect_notebook(str(path))
    ours = read_parameters(path)
    assert {n: p["inferred_type_name"] for n, p in theirs.items()} == {n: p.type for n, p in ours.items()}
    assert {n: p["help"] for n, p in theirs.items()} == {n: p.help for n, p in ours.items()}


@pytest.mark.parametrize(("source", "words"), [
    ("a = 1 + x", "not a literal"),
    ("import os", "only lines of the form"),
    ("a: int | None = None", "the type 'int | None'"),
    ("a: int = 'x'", "must be of type int, not str"),
    ("a: int = True", "must be of type int, not bool"),
    ("a = (", "not Python"),
    ("device: str = 'tpu'  # one of auto, cpu", "cannot be 'tpu'"),
])
def test_bad_cells_are_refused_with_the_line(source, words):
    with pytest.raises(InputError) as caught:
        parse_cell("b = 2\n" + source, where="here")
    assert str(caught.value).startswith("here, line 2: ") and words in str(caught.value)


def test_no_parameters_cell_or_no_notebook(write_notebook, tmp_path):
    with pytest.raises(InputError, match="0 cells are tagged"):
        read_parameters(write_notebook("pass", parameters=None))
    (tmp_path / "x.ipynb").write_text("no json")
    with pytest.raises(InputError, match="not a Jupyter notebook"):
        read_parameters(tmp_path / "x.ipynb")
    cells = '[{"cell_type": "code", "metadata": {"tags": ["parameters"]}}]'
    (tmp_path / "x.ipynb").write_text(f'{{"cells": {cells}}}')  # a cell without source
    with pytest.raises(InputError, match="not a Jupyter notebook"):
        read_parameters(tmp_path / "x.ipynb")
    with pytest.raises(InputError, match="no such notebook"):
        read_parameters(tmp_path / "y.ipynb")


DECLARED = parse_cell('seed: int = 0\nrate: float = 0.5\nscene: str = "068"\nfast: bool = False\n'
                      "rows: list[int] = []\nsizes: list = []\nsize: list[int] = [640, 480]\n"
                      "origin: list[float] = [0.0, 0.0, 0.0]\nmode: str = 'a'  # one of a, b\nmore: dict = {}")


@pytest.mark.parametrize(("name", "text", "value"), [
    ("seed", "7", 7), ("rate", "2", 2.0), ("rate", "1e-3", 0.001),
    ("scene", "068", "068"),  # papermill's own -p would make it the number 68
    ("scene", "true", "true"), ("fast", "true", True), ("fast", "0", False),
    ("rows", "1,2,3", [1, 2, 3]), ("rows", "[4, 5]", [4, 5]), ("rows", "", []), ("mode", "b", "b"),
    ("more", '{"a": 1}', {"a": 1}), ("size", "320,200", [320, 200]), ("origin", "1,2,3", [1.0, 2.0, 3.0]),
])
def test_command_line_texts_take_the_declared_type(name, text, value):
    resolved = resolve(DECLARED, overrides=[(name, text)])[name]
    assert resolved == value and type(resolved) is type(value)


@pytest.mark.parametrize(("name", "text", "words"), [
    ("sed", "1", "Did you mean 'seed'"), ("seed", "1.5", "type int"), ("seed", "abc", "type int"),
    ("fast", "maybe", "type bool"), ("rows", "1,x", "type int"), ("mode", "c", "Choose one of: a, b"),
    ("rate", "nan", "is nan"), ("rate", "inf", "is inf"), ("rate", "-1e999", "is -inf"),
    ("size", "640", "has 1 entries ([640]), not 2"), ("size", "1,2,3", "has 3 entries"), ("size", "", "has 0 entries"),
    ("origin", "[0, 0]", "has 2 entries"), ("origin", "0,0,inf", "is inf"), ("size", "6,x", "type int"),
    ("more", "[1]", "type dict"),
])
def test_wrong_texts_are_refused(name, text, words):
    with pytest.raises(InputError) as caught:
        resolve(DECLARED, overrides=[(name, text)])
    assert words in str(caught.value) and f"-p {name}={text}" in str(caught.value)


@pytest.mark.parametrize(("text", "line", "words"), [
    ("seed: 1\nsede: 2\n", 2, "Did you mean 'seed'"),
    ("rate: 0.1\nseed: '3'\n", 2, "type int, not str"),
    ("seed: 1\nfast: true\nseed: 2\n", 3, "given twice"),
    ("seed: [1\n", 2, "not YAML"),
    ("- 1\n", 1, "lines of the form"),
    ("seed: true\n", 1, "type int, not bool"),
])
def test_wrong_files_are_refused_with_name_and_line(tmp_path, text, line, words):
    path = tmp_path / "02.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        resolve(DECLARED, path)
    assert f"{path}, line {line}:" in str(caught.value) and words in str(caught.value)


def test_order_is_defaults_then_file_then_command_line(tmp_path):
    path = tmp_path / "02.yaml"
    path.write_text("seed: 1\nrate: 2\n")
    values = resolve(DECLARED, path, [("seed", "5")])
    assert (values["seed"], values["rate"], values["scene"]) == (5, 2.0, "068")


def test_changed_parameters_are_seen_in_the_input_history():
    cell = "seed = 0\nwidth: int = 4"
    assert injected_over_defaults(["", cell, "print(1)"]) == set()
    assert injected_over_defaults(["", cell, "# Parameters\nseed = 0\nwidth = 4\n"]) == set()
    assert injected_over_defaults(["", cell, "# Parameters\nseed = 1\nwidth = 4\nnew = 2\n"]) == {"seed", "new"}
