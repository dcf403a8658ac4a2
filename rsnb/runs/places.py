"""Where things lie: the clone, its notebooks, its runs, its data."""

from __future__ import annotations

import os
from pathlib import Path

from rsnb.errors import InputError


def project_root(start: Path | None = None) -> Path | None:
    """The clone: the nearest folder upwards from `start` (default: working directory) that holds rsnb and notebooks.

    Where the working directory is elsewhere, the clone that an editable install came from; None for a plain wheel.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents, Path(__file__).resolve().parents[2]):
        if (folder / "pyproject.toml").is_file() and (folder / "rsnb" / "scenes.py").is_file():
            return folder
    return None


def runs_folder(given: str | Path | None = None) -> Path:
    """Folder of all runs: the one given, else `$RSNB_RUNS`, else `runs` in the clone, else `runs` right here."""
    named = given or os.environ.get("RSNB_RUNS")
    if named:
        return Path(named).expanduser().resolve()
    return (project_root() or Path.cwd()) / "runs"


def data_folder(given: str | Path | None = None) -> Path:
    """Folder of data sets and of the built city: the one given, else `$RSNB_DATA`, else `data` in the clone or here."""
    named = given or os.environ.get("RSNB_DATA")
    if named:
        return Path(named).expanduser().resolve()
    return (project_root() or Path.cwd()) / "data"


def notebooks(root: Path) -> list[Path]:
    """The numbered notebooks of a clone, in order."""
    return sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def find_notebook(name: str) -> Path:
    """The notebook meant by "02", "02_mesh_rendering" or a path to an .ipynb file."""
    path = Path(name).expanduser()
    if path.suffix == ".ipynb":
        if path.is_file():
            return path.resolve()
        raise InputError("there is no such notebook", where=path, mend="Check the path")
    root = project_root()
    if root is None:
        raise InputError(f"cannot tell which notebook {name!r} is, because this is not a clone of the project",
                         where="notebook", mend="Change into the clone, or give the path of an .ipynb file")
    found = notebooks(root)
    matches = [p for p in found if name in (p.stem, p.stem[:2])]
    if not matches:
        known = ", ".join(p.stem for p in found) or "none yet"
        raise InputError(f"there is no notebook {name!r}", where=root / "notebooks", mend=f"Choose among: {known}")
    return matches[0]


def profile_file(notebook: Path, profile: str, variant: str = "") -> Path | None:
    """The parameter file `params/<profile>/NN[_variant].yaml` beside a notebook.

    The profile "smoke" is the notebook's own defaults and needs no file: None where there is none.
    """
    folder = notebook.parent / "params"
    path = folder / profile / f"{notebook.stem[:2]}{'_' + variant if variant else ''}.yaml"
    if path.is_file():
        return path
    if profile == "smoke" and not variant:
        return None
    there = sorted(str(p.relative_to(folder)) for p in folder.glob(f"*/{notebook.stem[:2]}*.yaml"))
    raise InputError(f"{notebook.stem} has no profile {profile + ('/' + variant if variant else '')!r}", where=path,
                     mend="Choose among: smoke (the notebook's defaults)" + "".join(f", {name}" for name in there))
