"""What a run will be: its parameters, its key, its folder; and whether it has been done already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import rsnb
from rsnb.runs.parameters import read_parameters, resolve
from rsnb.runs.places import data_folder, find_notebook, profile_file, runs_folder
from rsnb.runs.record import package_fingerprint, read_record, sha256_file

HASH_WHOLE_FILES_TO = 64 * 2**20  # bytes; a larger input file counts by size and time of change


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run, before any kernel starts.

    Attributes:
        notebook: the source.
        parameters: every parameter with its value.
        data: fingerprint of each parameter value that names an existing file or folder.
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
    values = resolve(read_parameters(path), profile_file(path, profile, variant), overrides)
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
    """Of each parameter (out_dir and data_root aside) that names something on disk, here or under the data root."""
    root, found = data_folder(str(values.get("data_root") or "")), {}
    for name, value in values.items():
        texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        for text in texts if name not in ("out_dir", "data_root") else []:
            if not isinstance(text, str) or not text or len(text) > 1000:
                continue
            place = next((p for p in (Path(text).expanduser(), root / text) if p.exists()), None)
            if place is not None:
                found[f"{name}={text}"] = _fingerprint(place)
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
    return bool(record and record["status"] == "ok" and all(
        (todo.folder / o["path"]).is_file() and (todo.folder / o["path"]).stat().st_size == o["bytes"]
        for o in record["outputs"]))
