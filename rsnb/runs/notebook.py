"""The notebook's side of a run: where its files go, and what it reports in metrics.json."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from pathlib import Path

from rsnb.errors import InputError
from rsnb.files import write_text
from rsnb.runs.parameters import injected_over_defaults
from rsnb.runs.places import runs_folder

# Parameters that say where and on what a notebook runs, not what it computes: expected values hold whatever they are.
PLACE_PARAMETERS = frozenset({"out_dir", "data_root", "device", "processes", "threads"})

_current: Run | None = None


def start(notebook: str, out_dir: str | Path = "", seed: int | None = None, defaults: bool | None = None) -> Run:
    """Begin the report of a notebook; call it once, right after the parameters cell.

    Args:
        notebook: its name without suffix, "02_mesh_rendering".
        out_dir: folder for everything it writes; "" is `runs/manual/<notebook>`.
        seed: the notebook's seed, for the record.
        defaults: whether the parameters are the notebook's defaults, so that expected values apply. None finds out:
            papermill injects changed parameters as a cell of its own, which the kernel's input history shows.
    """
    global _current
    if not re.fullmatch(r"\w+", notebook):
        raise InputError(f"{notebook!r} is not a notebook's name", where="runs.start", mend="Use letters, digits and _")
    folder = Path(out_dir).expanduser().resolve() if str(out_dir) else runs_folder() / "manual" / notebook
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").unlink(missing_ok=True)  # an old report must not stand beside new files
    _current = Run(notebook, folder, seed, _defaults_in_use() if defaults is None else defaults)
    return _current


def current() -> Run | None:
    """The run that `start` began in this process, or None."""
    return _current


def _defaults_in_use() -> bool:
    """Whether the kernel runs the parameters cell unchanged (PLACE_PARAMETERS aside)."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return True
    return not (injected_over_defaults(shell.user_ns.get("In", [])) - PLACE_PARAMETERS)


class Run:
    """One run of one notebook. See `rsnb.runs` for the calls in order.

    Attributes:
        dir: folder that everything the run writes lies in.
        defaults: the parameters are the notebook's defaults, so the expected values of `check` apply.
    """

    def __init__(self, notebook: str, folder: Path, seed: int | None, defaults: bool):
        self.notebook, self.dir, self.seed, self.defaults = notebook, folder, seed, defaults
        self._metrics: dict[str, object] = {}
        self._checks: dict[str, str] = {}
        self._figures: dict[str, str] = {}
        self._artefacts: dict[str, str] = {}
        self._datasets: dict[str, dict[str, str]] = {}

    def path(self, name: str) -> Path:
        """A path inside the run's folder, its parent made."""
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def metric(self, name: str, value: float | int | str | bool | None, why: str = "") -> None:
        """Report a result. A number must be finite; None means not measured and needs the reason."""
        if value is None:
            if not why:
                raise InputError("a value of None needs a reason", where=f"metric {name!r}", mend="Give why='...'")
            self._metrics[name] = {"not measured": why}
            return
        if hasattr(value, "item"):  # a numpy or torch scalar
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"the value is {value}", where=f"metric {name!r}",
                             mend="Find out where it arose; report None with why='...' where there is no number")
        if not isinstance(value, (bool, int, float, str)):
            raise InputError(f"a {type(value).__name__} is no single value", where=f"metric {name!r}")
        self._metrics[name] = value

    def figure(self, path: str | Path, caption: str = "") -> None:
        """Declare a picture. The gallery lists it with its caption, and shows the first one in small on its index."""
        self._declare(self._figures, path, caption)

    def artefact(self, path: str | Path, what: str = "") -> None:
        """Declare any other product: a GeoTIFF, a mesh, a folder of frames."""
        self._declare(self._artefacts, path, what)

    def dataset(self, name: str, sha256: str, licence: str, citation: str = "") -> None:
        """Declare a data set that the numbers rest on."""
        self._datasets[name] = {"sha256": sha256, "licence": licence, "citation": citation}

    def note_check(self, name: str, promise: str) -> None:
        """Called by `rsnb.runs.check`: what was promised about a metric."""
        self._checks[name] = promise if self.defaults else "not applied: other parameters than the defaults"

    def finish(self) -> None:
        """Write metrics.json into the run's folder. The same numbers give the same bytes."""
        report = {
            "notebook": self.notebook,
            "seed": self.seed,
            "defaults": self.defaults,
            "metrics": self._metrics,
            "checks": self._checks,
            "figures": self._figures,
            "artefacts": self._artefacts,
            "datasets": self._datasets,
        }
        peak = _gpu_peak_bytes()
        if peak is not None:
            report["gpu_peak_bytes"] = peak
        write_text(self.dir / "metrics.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")

    def _declare(self, table: dict[str, str], path: str | Path, text: str) -> None:
        path = Path(path)
        inside = Path(os.path.abspath(path if path.is_absolute() else self.dir / path))
        if not inside.exists():
            raise InputError("a declared output was not written", where=inside, mend="Write the file, then declare it")
        if not inside.is_relative_to(self.dir):
            raise InputError("a declared output lies outside the run's folder", where=inside,
                             mend="Write it to run.path(name)")
        table[inside.relative_to(self.dir).as_posix()] = text

    def __repr__(self) -> str:
        return f"Run({self.notebook!r}, {len(self._metrics)} metrics, {len(self._figures)} figures)"


def _gpu_peak_bytes() -> int | None:
    """Peak GPU memory of this process, where torch is loaded and has used a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())
