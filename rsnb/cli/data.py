"""`rsnb city` and `rsnb fetch`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from rsnb.cli.base import app, err, out
from rsnb.errors import InputError


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


def _district(text: str) -> tuple[int, int]:
    """District index of a text like "0,0"."""
    try:
        column, row = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} names no district", where="--district", mend="Write column,row like 0,0") from None
    return column, row
