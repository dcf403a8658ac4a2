"""Execute a notebook through papermill and write down, truthfully, what became of it.

papermill reports a dead kernel and a cell that timed out as completed. So whether a run is finished is read from
run.json alone, which gets its final status last: after papermill came back and the declared outputs were hashed.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import Timeout

from rsnb.runs.parameters import read_parameters
from rsnb.runs.planning import Plan, is_finished, notebook_fingerprint
from rsnb.runs.record import (
    BLANK,
    package_fingerprint,
    provenance,
    read_record,
    run_lock,
    sha256_file,
    write_record,
)

# Beginnings of what jupyter_client says, as a bare RuntimeError, of a kernel that never came up
KERNEL_NEVER_CAME = ("Kernel died before", "Kernel didn't respond")


class Busy(RuntimeError):
    """Another process works on this very run."""


def execute(todo: Plan, *, force: bool = False, timeout: float | None = None, progress: bool = True) -> dict:
    """Run what was planned, unless it is finished, and give its record.

    Args:
        todo: from `plan`.
        force: run again although it is finished.
        timeout: seconds that any one cell may take; None = no limit.
        progress: show a bar on the terminal.

    Returns:
        The record as in run.json; `record["cached"]` is True where nothing had to be run.

    Raises:
        Busy: another process works on this run.
        KeyboardInterrupt: interrupted; the record then says killed.
    """
    todo.folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with run_lock(todo.folder).acquire(blocking=False):
            if not force and is_finished(todo):
                return {**read_record(todo.folder), "cached": True}
            return _execute_locked(todo, timeout, progress)
    except Timeout:
        raise Busy(f"{todo.name} {todo.key} is being run by another process") from None


def _execute_locked(todo: Plan, timeout: float | None, progress: bool) -> dict:
    if todo.folder.exists():
        _end_orphans(todo.folder)
    shutil.rmtree(todo.folder, ignore_errors=True)  # what a killed or older run left behind
    todo.folder.mkdir(parents=True)
    record = {
        **copy.deepcopy(BLANK), "status": "running", "notebook": todo.name, "profile": todo.profile, "key": todo.key,
        "parameters": todo.parameters, "seed": todo.parameters.get("seed"), "data": todo.data, "started": _now(),
        "runner_pid": os.getpid(), **provenance(), "source_sha256": notebook_fingerprint(todo.notebook),
        "package_sha256": package_fingerprint(),
    }
    write_record(todo.folder, record)
    began, memory = time.monotonic(), _PeakMemory()
    try:
        with _terminate_as_interrupt(), memory:
            status, reason = _run_papermill(todo, timeout, progress)
        if status == "ok":
            status, reason = _collect(todo, record)
    except KeyboardInterrupt:
        record.update(status="killed", reason="interrupted (Ctrl-C or a request to terminate)")
        raise
    else:
        record.update(status=status, reason=reason)
    finally:
        if record["status"] == "running":
            record.update(status="failed", reason="the runner itself failed; see its message")
        record.update(ended=_now(), wall_seconds=round(time.monotonic() - began, 2), peak_rss_bytes=memory.peak)
        write_record(todo.folder, record)
    return record


def _run_papermill(todo: Plan, timeout: float | None, progress: bool) -> tuple[str, str]:
    """(status, reason) of the execution itself."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    partial = todo.folder / f"{todo.name}.partial.ipynb"
    declared = read_parameters(todo.notebook)
    given = {name: value for name, value in todo.parameters.items() if value != declared[name].default}
    if "out_dir" in declared:
        given["out_dir"] = str(todo.folder)
    try:
        with _environment(RSNB_RUN_DIR=str(todo.folder)):
            papermill.execute_notebook(
                todo.notebook, partial, parameters=given, kernel_name="python3", language="python",
                execution_timeout=timeout,
                # else ipykernel 7 warns on the terminal that local sockets are not encrypted, and a dying one rants
                extra_arguments=["--IPKernelApp.log_level=50"],
                progress_bar={"desc": todo.name, "leave": False} if progress else False)
    except PapermillExecutionError as error:
        said = re.sub(r"\x1b\[[0-9;]*m", "", error.evalue)  # some messages are coloured
        count = _own_count(todo.notebook, error.exec_count) if given and error.exec_count else error.exec_count
        return "failed", f"cell {count} raised {error.ename}: {said}"
    except CellTimeoutError:
        return "failed", f"timeout: a cell took longer than {timeout:g} s"
    except DeadKernelError:
        return "failed", "the kernel died (out of memory, killed, or a crash in native code)"
    except RuntimeError as error:
        if not str(error).startswith(KERNEL_NEVER_CAME):
            raise  # a defect here, not of the kernel
        return "failed", f"the kernel could not be started: {error}"
    _drop_widget_state(partial)
    os.replace(partial, todo.executed)
    return "ok", ""


def _own_count(notebook: Path, executed: int) -> int:
    """The number among the notebook's own code cells of the one executed as number so-and-so.

    papermill executes the given parameters as one more cell, right behind the one tagged `parameters`.
    """
    cells = [c for c in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
             if c["cell_type"] == "code" and "".join(c["source"]).strip()]  # an empty cell is not executed
    declared = next(i for i, c in enumerate(cells, 1) if "parameters" in c["metadata"].get("tags", []))
    return executed - 1 if executed > declared else executed


def _collect(todo: Plan, record: dict) -> tuple[str, str]:
    """Take over what the notebook reported, and hash every output it declared."""
    outputs = [todo.executed]
    report_path = todo.folder / "metrics.json"
    if report_path.is_file():
        report = json.loads(report_path.read_text(encoding="utf-8"))
        for part in ("metrics", "checks", "figures", "artefacts", "datasets"):
            record[part] = report.get(part, {})
        if "gpu_peak_bytes" in report:
            record["gpu_peak_bytes"] = report["gpu_peak_bytes"]
        outputs.append(report_path)
        for name in (*record["figures"], *record["artefacts"]):
            path = todo.folder / name
            if not path.exists():
                return "failed", f"the declared output {name} is not there"
            outputs += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for path in dict.fromkeys(outputs):
        record["outputs"].append({"path": path.relative_to(todo.folder).as_posix(), "bytes": path.stat().st_size,
                                  "sha256": sha256_file(path)})
    return "ok", ""


def _drop_widget_state(path: Path) -> None:
    """Widget state is megabytes of JavaScript that no static page shows; each viewer has a static twin instead."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["metadata"].pop("widgets", None) is not None:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _end_orphans(folder: Path) -> None:
    """End kernels that a killed runner left at work in this folder (they carry its path in RSNB_RUN_DIR)."""
    import psutil

    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("RSNB_RUN_DIR") == str(folder):
                process.kill()
                process.wait(5)
        except (psutil.Error, OSError):
            continue


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables that the kernel inherits, for the length of the run."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """A request to terminate (a batch system, a shutdown) ends the run like Ctrl-C: with a truthful record."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _PeakMemory:
    """Highest sum of resident memory of all child processes (the kernel and its workers), sampled."""

    def __init__(self, interval: float = 0.2):
        self.peak, self._interval, self._stop = 0, interval, threading.Event()

    def __enter__(self) -> _PeakMemory:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        me = psutil.Process()
        while not self._stop.wait(self._interval):
            total = 0
            for child in me.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
