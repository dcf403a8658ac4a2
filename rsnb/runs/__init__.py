"""Runs: what a notebook says about itself, how it is executed and recorded, and how records become tables and pages.

Inside a notebook, five calls are all there is:

    from rsnb import runs

    run = runs.start("02_mesh_rendering", out_dir=out_dir, seed=seed)   # once, after the parameters cell
    run.metric("psnr_test", psnr)                                       # a number of the result
    runs.check("psnr_test", psnr, 31.4, rtol=0.02)                      # the same, and it must be near 31.4
    run.figure(run.path("street.png"), "The street canyon")             # a file in the run's folder that a reader sees
    run.dataset("rsnb city", sha256, "Apache-2.0")                      # what the numbers rest on
    run.finish()                                                        # writes metrics.json, whole or not at all

`run.artefact(path, "what it is")` declares any other product. They work the same under `rsnb run`, plain papermill,
nbval and JupyterLab: the folder is `out_dir` where that is given, else `runs/manual/<notebook>` of the clone around
the working directory (or of the working directory itself outside a clone).

Expected values in `check` hold for the notebook's default parameters. With other parameters (another mesh, another
size) `check` only records the number and says so; `always=True` marks a promise that holds for any parameters.

Around a notebook: `execute` (the run and its record), `table`, `gallery`. Nothing here imports torch.
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "start": "notebook",
    "current": "notebook",
    "Run": "notebook",
    "check": "checks",
    "check_at_least": "checks",
    "check_at_most": "checks",
    "CheckFailed": "checks",
    "Parameter": "parameters",
    "read_parameters": "parameters",
    "resolve": "parameters",
    "Plan": "planning",
    "plan": "planning",
    "execute": "execution",
    "read_record": "record",
    "collect": "table",
    "write_gallery": "gallery",
    "data_folder": "places",
    "project_root": "places",
    "runs_folder": "places",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
