"""The application, its consoles and what all commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    name="rsnb", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    help="Five remote-sensing methods as notebooks that run on one procedural city, or on your data.\n\n"
         "Start with [bold]rsnb run --all[/bold]: it runs every notebook at small scale and builds an HTML gallery.")
BUSY = 75  # EX_TEMPFAIL of sysexits.h: try again later
# Without markup: a path or a parameter like [/x] is printed as it is. Styles go through Text and style=.
out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)

RunsFolder = Annotated[Path | None, typer.Option("--runs", help="Folder of all runs; runs/ in the clone if not given.")]
