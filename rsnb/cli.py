"""The command line. Each command imports what it needs when it runs, so that `rsnb info` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rsnb.errors import InputError

app = typer.Typer(
    name="rsnb", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    help="Five remote-sensing methods as notebooks that run on one procedural city, or on your data.\n\n"
         "Start with [bold]rsnb run --all[/bold]: it runs every notebook at small scale and builds an HTML gallery.")
BUSY = 75  # EX_TEMPFAIL of sysexits.h: try again later
# Without markup: a path or a parameter like [/x] is printed as it is. Styles go through Text and style=.
out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)

RunsFolder = Annotated[Path | None, typer.Option("--runs", help="Folder of all runs; runs/ in the clone if not given.")]


@app.command()
def info() -> None:
    """Say what is installed, on what machine, and where notebooks, data and runs lie."""
    import os
    from importlib import metadata

    from rsnb.runs import places, record

    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    root = places.project_root()
    found = record.provenance()
    facts.add_row("rsnb", f"{found['versions'].pop('rsnb', 'not installed')}  ({Path(__file__).parent})")
    facts.add_row("Python", f"{found['versions'].pop('python')}  ({sys.executable})")
    hardware = found["hardware"]
    memory = f", {hardware['memory_bytes'] / 2**30:.0f} GiB" if "memory_bytes" in hardware else ""
    facts.add_row("machine", f"{hardware['system']}, {hardware['cpu']}, {hardware['cores']} cores{memory}")
    facts.add_row("GPU", ", ".join(hardware["gpus"]) or "none found (everything runs on the CPU)")
    if found["git"]:
        facts.add_row("commit", found["git"]["commit"][:12] + (" with changes" if found["git"]["dirty"] else ""))
    listed = [] if root is None else [path.stem for path in places.notebooks(root)]
    facts.add_row("notebooks", "\n".join(listed) or "none (this is not a clone of the project)")
    for name, folder in (("data", places.data_folder()), ("runs", places.runs_folder())):
        facts.add_row(name, f"{folder}" + ("" if folder.is_dir() else "  (not made yet)"))
    variables = [f"{name}={os.environ[name]}" for name in ("RSNB_DATA", "RSNB_RUNS", "RSNB_REAL") if name in os.environ]
    if variables:
        facts.add_row("environment", "\n".join(variables))
    facts.add_row("packages", ", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    missing = [name for name in ("torch", "papermill", "jupyterlab") if not _installed(name, metadata)]
    if missing:
        facts.add_row("missing", f"{', '.join(missing)}: pip install 'rsnb[notebooks]'")
    out.print(facts)


@app.command()
def city(
    root: Annotated[Path | None, typer.Argument(help="Data folder; data/ in the clone if not given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another city; the same gives the same bytes.")] = 7,
    district: Annotated[str, typer.Option(help="Which 500 x 500 m of it, as column,row, each 0 to 3.")] = "0,0",
    spacing: Annotated[float, typer.Option(min=1, help="Metres between panoramas along a street.")] = 16.0,
    reach: Annotated[float, typer.Option(min=1, help="Panoramas within so many metres of the middle.")] = 90.0,
    width: Annotated[int, typer.Option(min=16, help="Pixels across a panorama.")] = 384,
    form: Annotated[str, typer.Option(
        "--as", help="street, levir_nvs, whu_mvs, cvusa, cvact, cvact_aligned, worldstrat or catalogue; spacing, "
                     "reach, width and exact are for street.")] = "street",
    exact: Annotated[bool, typer.Option(
        "--exact/--no-exact", help="Also write the mesh tiles with the city's exact geometry.")] = False,
) -> None:
    """Build the procedural city in the format of a real data set: mesh tiles with street views, or one given by --as.

    The notebooks build what they need by themselves; this is for a look at the files, or for other settings. What has
    been built once is not built again.
    """
    from rsnb.runs.places import data_folder

    index = _district(district)
    from rsnb.city.formats import ensure_format
    from rsnb.city.options import CityOptions
    from rsnb.city.write_street_scene import StreetSceneOptions, ensure_street_scene

    options = StreetSceneOptions(city=CityOptions(seed=seed), district=index, spacing_m=spacing, reach_m=reach,
                                 panorama_width=width, exact_mesh=exact)
    with err.status("Building the city, which takes about a minute ..."):
        folder = (ensure_street_scene(data_folder(root), options) if form == "street"
                  else ensure_format(data_folder(root), form, options.city, index))
    out.print(f"The city is in {folder}", soft_wrap=True)


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(
        metavar="NAME...", help="Manifests: data sets, weights or catalogues. Without any, they are listed.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every manifest.")] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Only say what would be done; needs no network.")] = False,
    verify: Annotated[bool, typer.Option(
        "--verify", help="Hash everything again, unpacked files too, whatever the records say.")] = False,
    audit: Annotated[bool, typer.Option(
        "--audit", help="Then look the folder through: files missing, unreadable, twice there, or too few.")] = False,
    only: Annotated[list[str] | None, typer.Option(
        "--only", metavar="GLOB", help="Only files like this, optional ones too; may be repeated.")] = None,
    root: Annotated[Path | None, typer.Option(
        "--root", help="Data folder; $RSNB_DATA, or data/ in the clone, if not given.")] = None,
) -> None:
    """Download data sets and weights: what is missing, resumed after a kill, verified, unpacked.

    First the plan is printed. What is behind a form, a mail or an account is explained: put the archive where it says,
    and fetch again. The exit code is 1 if a file failed, or if a named data set still waits for a person.
    """
    from rsnb.data.manifest import manifest_names, read_manifest
    from rsnb.runs.places import data_folder

    if not names and not everything:
        _list_manifests()
        return
    from rsnb.data.download.fetch import fetch as fetch_one
    from rsnb.data.download.fetch import plan_fetch

    known = manifest_names()
    folder, failed = data_folder(root), False
    for name in names or []:
        if name not in known:
            raise InputError(f"there is no manifest {name!r}", where="fetch", mend=f"Choose among: {', '.join(known)}")
    for name in dict.fromkeys([*(names or []), *(known if everything else [])]):
        try:
            manifest = read_manifest(name)
            out.print(plan_fetch(manifest, folder, only or []).text(), soft_wrap=True)
            if not dry:
                result = fetch_one(manifest, folder, verify, progress=sys.stderr.isatty(), only=only or [])
                out.print(result.text(), soft_wrap=True, end="\n" if result.text() else "")
                failed |= not (result.ok if everything else result.complete)
            if audit:
                failed |= not _audit(name, folder / name)
        except InputError as error:
            failed = True
            err.print(Text("rsnb:", "bold red"), f"{name}: {error}", soft_wrap=True)
        except KeyboardInterrupt:
            err.print(f"{name}: interrupted; what has arrived is kept, and the same command goes on from there",
                      soft_wrap=True)
            raise typer.Exit(130) from None
    raise typer.Exit(1 if failed else 0)


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


def _list_manifests() -> None:
    """What can be fetched, and how one gets it."""
    from rsnb.data.manifest import manifest_names, read_manifest

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "kind", "access", "what it is"):
        shown.add_column(column, no_wrap=column != "what it is", overflow="fold")
    for name in manifest_names():
        try:
            manifest = read_manifest(name)
            shown.add_row(Text(name), manifest.kind, manifest.access, Text(manifest.title))
        except InputError as error:
            shown.add_row(Text(name), "?", "?", Text(str(error)))
    out.print(shown)
    out.print("`rsnb fetch NAME --dry` says what a fetch would do.")


def _audit(name: str, folder: Path) -> bool:
    """Print what an audit of a data set's folder finds; whether it found nothing wrong."""
    from rsnb.data.audit import AUDITS, audit_dataset

    if name not in AUDITS:
        out.print(f"{name}: there is no audit for this format", soft_wrap=True)
        return True
    if not folder.is_dir():
        out.print(f"{name}: nothing to audit, there is no folder {folder}", soft_wrap=True)
        return True
    found = audit_dataset(name, folder)
    out.print(found.text(), soft_wrap=True)
    return found.ok


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


def _district(text: str) -> tuple[int, int]:
    """District index of a text like "0,0"."""
    try:
        column, row = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} names no district", where="--district", mend="Write column,row like 0,0") from None
    return column, row


def _installed(name: str, metadata) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _worst(codes: list[int]) -> int:
    """One exit code for several runs: a failure before one that was busy, that before success."""
    return 1 if 1 in codes else max(codes)


def main() -> None:
    """Entry point: bad input is one paragraph on stderr and exit code 2, never a traceback."""
    try:
        app()
    except InputError as error:
        _refuse(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "rsnb":
            raise
        _refuse(f"the package {error.name!r} is not installed. Install the notebooks' set: "
                "pip install 'rsnb[notebooks]'.")
    except OSError as error:
        if error.filename is None:
            raise
        _refuse(f"{error.filename}: {error.strerror or error}. Check that the place exists and can be written.")


def _refuse(message: str) -> None:
    err.print(Text("rsnb:", "bold red"), message, soft_wrap=True)
    raise SystemExit(2) from None
