"""`rsnb info`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.table import Table

from rsnb.cli.base import app, out


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
    facts.add_row("rsnb", f"{found['versions'].pop('rsnb', 'not installed')}  ({Path(__file__).parents[1]})")
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


def _installed(name: str, metadata) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
