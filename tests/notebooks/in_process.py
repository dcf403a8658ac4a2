"""Runs the code cells of a notebook in this process, as a script would: for tests that change or spoil something."""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from types import FunctionType, GeneratorType

import av
import yaml

from rsnb import runs
from rsnb.runs.parameters import read_parameters

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


class Cells:
    """The cells of one notebook.

    Attributes:
        declared: its parameters by name.
        tiny, full: the values of those profiles.
    """

    def __init__(self, stem: str):
        self.path = FOLDER / f"{stem}.ipynb"
        self.declared = read_parameters(self.path)
        self.tiny, self.full = (yaml.safe_load((FOLDER / "params" / profile / f"{stem[:2]}.yaml").read_text()) or {}
                                for profile in ("tiny", "full"))
        cells = [cell for cell in json.loads(self.path.read_text())["cells"] if cell["cell_type"] == "code"]
        # (id, source) in order; None for the source of the cell that the parameters replace
        self.code = [(cell["id"], None if "parameters" in cell["metadata"].get("tags", []) else "".join(cell["source"]))
                     for cell in cells]
        self._kept: dict[tuple, tuple[dict, runs.Run]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="cells-")

    def run(self, out_dir: Path, changes: dict | None = None, until: str = "", only_defaults: bool = False,
            after: str = "") -> dict:
        """Run the code cells with tiny parameters and `changes`; gives the sha256 of each file they leave.

        Args:
            until: stop before the first cell that holds this text.
            only_defaults: let the expected values of checks apply.
            after: the cells before the first one that holds this text are run once for all calls that agree in the
                parameters those cells read; what they left and what they named is taken from there. Not for tests
                that spoil something in them.
        """
        values = {name: p.default for name, p in self.declared.items()}
        values |= self.tiny | {"out_dir": str(out_dir)} | (changes or {})
        begin = self._position(after) if after else 0
        names = self._resumed(begin, values, only_defaults) if after else {"__name__": "notebook"}
        end = next((i for i, (_, source) in enumerate(self.code) if until and source and until in source), None)
        self._execute(self.code[begin:end], names, values, only_defaults)
        return digests(out_dir)

    def read_before(self, text: str) -> set[str]:
        """The parameters that are named in the cells before the first one that holds a text."""
        sources = [source for _, source in self.code[:self._position(text)] if source is not None]
        named = {node.id for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
        return named & set(self.declared)

    def _position(self, text: str) -> int:
        return next(i for i, (_, source) in enumerate(self.code) if source and text in source)

    def _execute(self, cells: list[tuple[str, str | None]], names: dict, values: dict, only_defaults: bool) -> None:
        for name, source in cells:
            if source is None:
                names |= values
                continue
            exec(compile(source, f"{self.path.name}, cell {name}", "exec"), names)
            if "runs.start(" in source and not only_defaults:
                runs.current().defaults = False

    def _resumed(self, begin: int, values: dict, only_defaults: bool) -> dict:
        """The names as they are before a cell, with files, report and parameters of this call."""
        read = self.read_before(self.code[begin][1]) - {"out_dir"}
        key = begin, only_defaults, json.dumps({name: values[name] for name in sorted(read)})
        if key not in self._kept:
            names = {"__name__": "notebook"}
            there = values | {"out_dir": tempfile.mkdtemp(dir=self._folder.name)}
            self._execute(self.code[:begin], names, there, only_defaults)
            # one that was begun here would be used up by the first call
            assert not [name for name, value in names.items() if isinstance(value, GeneratorType)]
            self._kept[key] = names, runs.current()
        kept, report = self._kept[key]
        shutil.copytree(report.dir, values["out_dir"], dirs_exist_ok=True)
        mine = runs.start(report.notebook, values["out_dir"], report.seed)
        vars(mine).update(copy.deepcopy({k: v for k, v in vars(report).items() if k != "dir"}))
        names: dict = {}
        for name, value in kept.items():
            if value is report:
                value = mine
            elif isinstance(value, (dict, list)) and name != "__builtins__":
                value = copy.copy(value)  # a later cell may add to it
            elif isinstance(value, FunctionType) and value.__globals__ is kept:
                value = FunctionType(value.__code__, names, name, value.__defaults__, value.__closure__)
            names[name] = value
        names |= values  # in place, as these are the globals of those functions
        return names


def digests(folder: Path) -> dict[str, str]:
    """{relative path: sha256} of all files below a folder; of a video its facts, since x264's bytes differ."""
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: video_facts(path) if name.endswith(".mp4") else hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in files.items()}


def video_facts(path: Path) -> str:
    """Frames and their mean brightness: x264's bytes differ now and then by a rounding."""
    with av.open(path) as file:
        frames = [frame.to_ndarray(format="gray").mean() for frame in file.decode(video=0)]
    return f"{len(frames)} frames, " + ", ".join(f"{mean:.0f}" for mean in frames)
