"""What a run will be: its parameters, its key, its folder; and whether it has been done already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import rsnb
from rsnb.errors import InputError
from rsnb.runs.parameters import read_parameters, resolve
from rsnb.runs.places import find_notebook, profile_file, runs_folder
from rsnb.runs.record import package_fingerprint, read_record, sha256_file

HASH_WHOLE_FILES_TO = 64 * 2**20  # bytes; a larger input file counts by size and time of change


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run, before any kernel starts.

    Attributes:
        notebook: the source.
        parameters: every parameter with its value.
        data: fingerprint of the file or folder that each parameter named `..._path` names.
        key: 16 hex digits over notebook source, parameters, data, package version and package source.
        folder: `<runs>/<notebook>/<key>`.
        profile: "smoke", "full", ... with the variant behind a slash.
    """

    notebook: Path
    parameters: dict[str, object]
    data: dict[str, str]
    key: str
    folder: Path
    profile: str

    @property
    def name(self) -> str:
        return self.notebook.stem

    @property
    def executed(self) -> Path:
        """Where the executed notebook goes."""
        return self.folder / f"{self.name}.ipynb"


def plan(notebook: str, *, profile: str = "smoke", variant: str = "", overrides: Iterable[tuple[str, str]] = (),
         runs: str | Path | None = None) -> Plan:
    """Resolve and check everything about a run; raises InputError before anything has started or been written."""
    path = find_notebook(notebook)
    declared = read_parameters(path)
    values = resolve(declared, profile_file(path, profile, variant), overrides)
    if "out_dir" in declared and values["out_dir"] != declared["out_dir"].default:
        raise InputError("a recorded run has its own folder, so out_dir cannot be given", where="out_dir",
                         mend="Choose the folder of all runs with --runs; out_dir is for papermill and JupyterLab")
    data = _data_fingerprints(values)
    key = hashlib.sha256(json.dumps({
        "source": notebook_fingerprint(path),
        "parameters": {k: v for k, v in values.items() if k not in ("out_dir", "data_root")},
        "data": data,
        "version": rsnb.__version__,
        "package": package_fingerprint(),
    }, sort_keys=True).encode()).hexdigest()[:16]
    folder = runs_folder(runs) / path.stem / key
    return Plan(path, values, data, key, folder, profile + (f"/{variant}" if variant else ""))


def notebook_fingerprint(path: Path) -> str:
    """sha256 of a notebook's cells (kind, source, tags): outputs and counts do not change what it does."""
    cells = [[c["cell_type"], "".join(c["source"]), c.get("metadata", {}).get("tags", [])]
             for c in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def _data_fingerprints(values: dict[str, object]) -> dict[str, str]:
    """Of each parameter named `..._path` whose file or folder exists, seen from the working directory as a notebook is.

    Other texts ("auto", "0") are no files, even where the working directory has one of that name.
    """
    found = {}
    for name, value in values.items():
        if name.endswith("_path") and isinstance(value, str) and value:
            try:
                place = Path(value).expanduser()
                if place.exists():
                    found[f"{name}={value}"] = _fingerprint(place)
            except (OSError, RuntimeError, ValueError):  # too long, a home that is nobody's, a null character
                continue
    return found


def _fingerprint(place: Path) -> str:
    """sha256 of a file, or of the sorted listing of a folder with each file's contents."""
    if place.is_file():
        status = place.stat()
        if status.st_size <= HASH_WHOLE_FILES_TO:
            return sha256_file(place)
        return f"{status.st_size}@{status.st_mtime_ns}"
    digest, left = hashlib.sha256(), 8 * HASH_WHOLE_FILES_TO
    for path in sorted(p for p in place.rglob("*") if p.is_file()):
        status = path.stat()
        left -= status.st_size
        known = _fingerprint(path) if left > 0 else f"{status.st_size}@{status.st_mtime_ns}"
        digest.update(f"{path.relative_to(place).as_posix()}\0{known}\n".encode())
    return digest.hexdigest()


def is_finished(todo: Plan) -> bool:
    """Whether this very run is done and everything it declared is still there."""
    record = read_record(todo.folder)
    return bool(record and record["status"] == "ok" and record["outputs"] and all(
        (todo.folder / o["path"]).is_file() and (todo.folder / o["path"]).stat().st_size == o["bytes"]
        for o in record["outputs"]))
