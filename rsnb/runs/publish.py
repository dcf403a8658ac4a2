"""Store a run's outputs in the notebook itself, as it is committed: what readers see on a forge, and nbval compares."""

from __future__ import annotations

import json
import re

from rsnb.errors import InputError
from rsnb.files import write_text
from rsnb.runs.gallery import merge_streams
from rsnb.runs.parameters import read_parameters
from rsnb.runs.planning import Plan

OWN_METADATA = ("papermill", "execution", "widgets")  # of one execution, not of the notebook
BAR = re.compile(r"\d+%\||\d(it/s|s/it)|\dit \[")  # what tqdm writes


def demand_defaults(planned: Plan) -> None:
    """Raise InputError unless a run is the one of the notebook's default parameters."""
    defaults = {name: parameter.default for name, parameter in read_parameters(planned.notebook).items()}
    if planned.parameters != defaults:
        raise InputError("a committed notebook shows its default parameters, and this run has others",
                         where=planned.notebook, mend="Run it without -p and --profile")


def store_outputs(done: Plan) -> None:
    """Copy the outputs of a finished run at default parameters into its source notebook.

    The cell that papermill injected, timings, widget state and progress bars stay behind; cells count 1, 2, 3, ...

    Raises:
        InputError: the run was not one of the defaults, or the notebook has changed since.
    """
    demand_defaults(done)
    source = json.loads(done.notebook.read_text(encoding="utf-8"))
    executed = [cell for cell in json.loads(done.executed.read_text(encoding="utf-8"))["cells"]
                if "injected-parameters" not in cell["metadata"].get("tags", [])]
    if ["".join(c["source"]) for c in executed] != ["".join(c["source"]) for c in source["cells"]]:
        raise InputError("the notebook has changed since it was run", where=done.notebook, mend="Run it again")
    count = 0
    for cell, ran in zip(source["cells"], executed, strict=True):
        for name in OWN_METADATA:
            cell["metadata"].pop(name, None)
        if cell["cell_type"] == "code":
            count += 1
            outputs = [_clean(output, count) for output in merge_streams(ran["outputs"])]
            cell.update(execution_count=count, outputs=[output for output in outputs if output is not None])
    for name in OWN_METADATA:
        source["metadata"].pop(name, None)
    write_text(done.notebook, json.dumps(source, indent=1, ensure_ascii=False) + "\n")


def _clean(output: dict, count: int) -> dict | None:
    """The output with its cell's number and without progress bars (widgets, and lines on stderr); None if it was one.

    What else stands on stderr, a warning above all, stays.
    """
    data = output.get("data", {})
    if "application/vnd.jupyter.widget-view+json" in data and BAR.search("".join(data.get("text/plain", ""))):
        return None
    if output["output_type"] == "stream":
        lines = kept = "".join(output["text"]).splitlines(keepends=True)  # a bar rewrites its line after \r
        if output["name"] == "stderr" and any(map(BAR.search, lines)):
            kept = [line for line in lines if not BAR.search(line) and line.strip("\r\n")]
        return {**output, "text": kept} if kept else None
    return {**output, "execution_count": count} if "execution_count" in output else output
