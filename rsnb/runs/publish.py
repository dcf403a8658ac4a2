"""Store a run's outputs in the notebook itself, as it is committed: what readers see on a forge, and nbval compares."""

from __future__ import annotations

import json
import re

from rsnb.errors import InputError
from rsnb.files import write_text
from rsnb.runs.parameters import read_parameters
from rsnb.runs.planning import Plan

OWN_METADATA = ("papermill", "execution", "widgets")  # of one execution, not of the notebook


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
            outputs = [_clean(output, count) for output in ran["outputs"] if not _is_progress(output)]
            cell.update(execution_count=count, outputs=outputs)
    for name in OWN_METADATA:
        source["metadata"].pop(name, None)
    write_text(done.notebook, json.dumps(source, indent=1, ensure_ascii=False) + "\n")


def _clean(output: dict, count: int) -> dict:
    """The output with its cell's number, without metadata of one execution."""
    return {**output, "execution_count": count} if "execution_count" in output else output


def _is_progress(output: dict) -> bool:
    """Whether an output is a progress bar, as a widget or as text on stderr."""
    data = output.get("data", {})
    text = data.get("text/plain", "") if "application/vnd.jupyter.widget-view+json" in data else \
        output.get("text", "") if output.get("name") == "stderr" else ""
    return re.search(r"\d+%\||\dit/s", "".join(text)) is not None
