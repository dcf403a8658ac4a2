"""`rsnb run` and `rsnb table`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from rsnb.cli.base import BUSY, RunsFolder, app, err, out
from rsnb.errors import InputError


@app.command()
def run(
    notebook: Annotated[str | None, typer.Argument(
        help="Number or name of a notebook (02, 02_mesh_rendering), or the path of an .ipynb file.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every notebook of the clone, in order.")] = False,
    parameter: Annotated[list[str] | None, typer.Option(
        "-p", "--parameter", metavar="NAME=VALUE", help="Set a parameter; may be repeated. Lists: 1,2,3.")] = None,
    profile: Annotated[str, typer.Option(
        help="Scale: tiny (seconds), smoke (the defaults, minutes), small (up to an hour), "
             "full (GPU, real data sizes).")] = "smoke",
    variant: Annotated[str, typer.Option(
        help="Variant of the profile, from notebooks/params/PROFILE/NN_VARIANT.yaml.")] = "",
    dry: Annotated[bool, typer.Option("--dry", help="Only show what would run, with every parameter.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again although this very run is finished.")] = False,
    store: Annotated[bool, typer.Option(
        "--store", help="Then store the outputs in the notebook itself, for committing.")] = False,
    timeout: Annotated[float | None, typer.Option(min=1, help="Seconds that any one cell may take.")] = None,
    runs: RunsFolder = None,
) -> None:
    """Run a notebook and record it; a run that is finished is not run again.

    Unknown or mistyped parameters are refused before anything starts. Exit code: 0 finished, 1 a notebook failed,
    2 wrong input, 75 another process works on the same run.
    """
    from rsnb.runs.places import notebooks, project_root, runs_folder
    from rsnb.runs.planning import plan

    if (notebook is None) == (not everything):
        raise InputError("name one notebook, or give --all", where="rsnb run", mend="For example: rsnb run 02")
    names = [notebook]
    if everything:
        root = project_root()
        names = [] if root is None else [str(path) for path in notebooks(root)]
        if not names:
            raise InputError("there are no notebooks here", where=root or Path.cwd(), mend="Change into a clone")
    plans = [plan(name, profile=profile, variant=variant, overrides=_pairs(parameter or []), runs=runs)
             for name in names]
    if dry:
        for todo in plans:
            _show_plan(todo)
        return
    if store:
        from rsnb.runs.publish import demand_defaults, store_outputs

        for todo in plans:
            demand_defaults(todo)
    code = _worst([_run_one(todo, force, timeout) for todo in plans])
    if store and code == 0:
        for todo in plans:
            store_outputs(todo)
    from rsnb.runs.gallery import write_gallery

    index = write_gallery(runs_folder(runs))
    out.print(f"Gallery: {index}", soft_wrap=True)
    raise typer.Exit(code)


@app.command()
def table(
    where: Annotated[list[str] | None, typer.Option(
        "--where", "-w", help="Keep rows like 'status=ok' or 'psnr>=30'; may be repeated.")] = None,
    sort: Annotated[str, typer.Option(help="Column to sort by; with a minus before it, falling: --sort=-psnr")] = "",
    columns: Annotated[str, typer.Option(help="Only these columns, separated by commas.")] = "",
    form: Annotated[str, typer.Option("--format", help="text, markdown, csv or json")] = "text",
    gallery: Annotated[bool, typer.Option("--gallery", help="Also rebuild the HTML gallery.")] = False,
    runs: RunsFolder = None,
) -> None:
    """List all runs with status, metrics and parameters (a parameter's column is its name after a minus)."""
    from rsnb.runs import table as tables
    from rsnb.runs.places import runs_folder

    folder = runs_folder(runs)
    rows = tables.select(tables.rows(tables.collect(folder)), where or [], sort, [c for c in columns.split(",") if c])
    if gallery:
        from rsnb.runs.gallery import write_gallery

        err.print(f"Gallery: {write_gallery(folder)}", soft_wrap=True)
    if form != "text":
        sys.stdout.write(tables.render(rows, form))
        return
    if not rows:
        out.print(f"No runs{' that fit' if where else ''} in {folder}. `rsnb run --all` makes some.", soft_wrap=True)
        return
    if not columns:
        rows = tables.compact(rows)
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        shown.add_column(name, no_wrap=name in ("notebook", "status", "key", "wall"), overflow="fold")
    for row in rows:
        shown.add_row(*(tables.cell_text(value) for value in row.values()))
    out.print(shown)


def _run_one(todo, force: bool, timeout: float | None) -> int:
    """Execute one plan, say what became of it, give the exit code."""
    from rsnb.runs.execution import Busy, execute
    from rsnb.runs.planning import is_finished

    if force or not is_finished(todo):
        out.print(f"running      {todo.name}  {todo.key}")
    try:
        record = execute(todo, force=force, timeout=timeout, progress=sys.stderr.isatty())
    except Busy as busy:
        err.print(f"{busy}; it is left alone. Try again when that one has ended.", soft_wrap=True)
        return BUSY
    except KeyboardInterrupt:
        err.print(f"{todo.name}: interrupted; recorded as killed in {todo.folder}", soft_wrap=True)
        raise typer.Exit(130) from None
    if record.get("cached"):
        out.print(Text("done before", "green"), f" {todo.name}  {todo.key}  ({record['wall_seconds']:.0f} s then)")
        return 0
    status = Text(f"{record['status']:11}", "green" if record["status"] == "ok" else "red")
    out.print(status, f" {todo.name}  {todo.key}  {record['wall_seconds']:.0f} s")
    if record["status"] == "ok":
        return 0
    err.print(f"{record['reason']}\nWhat was executed so far: {todo.folder}", soft_wrap=True)
    return 1


def _show_plan(todo) -> None:
    from rsnb.runs.planning import is_finished

    out.print(Text(todo.name, "bold"), f" {todo.key}  {'done before' if is_finished(todo) else 'would run'}")
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column()
    shown.add_column(overflow="fold")
    for name, value in todo.parameters.items():
        shown.add_row(f"  {name}", repr(value))
    out.print(shown)


def _pairs(texts: list[str]) -> list[tuple[str, str]]:
    """("name", "value") of texts like name=value."""
    for text in texts:
        if "=" not in text or not text.split("=")[0].isidentifier():
            raise InputError(f"{text!r} is not of the form name=value", where="-p", mend="For example: -p seed=1")
    return [tuple(text.split("=", 1)) for text in texts]


def _worst(codes: list[int]) -> int:
    """One exit code for several runs: a failure before one that was busy, that before success."""
    return 1 if 1 in codes else max(codes)
