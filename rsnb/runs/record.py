"""run.json: what is written down about a run, and the truth about runs that never ended."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import NoneType

from filelock import FileLock, Timeout

import rsnb
from rsnb.files import write_text
from rsnb.runs.places import project_root

RECORD = "run.json"
# What decides numbers and pictures; a record names their versions.
RECORDED_PACKAGES = ("rsnb", "torch", "numpy", "scipy", "numba", "trimesh", "embreex", "opencv-python-headless",
                     "rasterio", "pyproj", "shapely", "scikit-image", "pillow", "tifffile", "imageio", "av", "lpips",
                     "torchvision", "matplotlib", "plotly", "ipykernel", "nbclient", "papermill")

# A record in full; what another version of this package (or another program) left out reads as this.
BLANK = {
    "status": "", "reason": "", "notebook": "", "profile": "", "key": "", "parameters": {}, "seed": None, "data": {},
    "started": "", "ended": None, "wall_seconds": None, "peak_rss_bytes": None, "versions": {}, "git": {},
    "hardware": {}, "metrics": {}, "checks": {}, "figures": {}, "artefacts": {}, "datasets": {}, "outputs": [],
}


def write_record(folder: Path, record: dict) -> Path:
    """Write run.json, whole or not at all."""
    return write_text(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n")


def read_record(folder: str | Path) -> dict | None:
    """The record of a run's folder, told truthfully: one that says running, while nobody holds its lock, was killed.

    What it lacks is filled in from `BLANK`. None where there is no readable record.
    """
    try:
        record = json.loads((Path(folder) / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or "status" not in record:
        return None
    here = Path(folder).absolute()
    record = {**copy.deepcopy(BLANK), "notebook": here.parent.name, "key": here.name, **record}
    if any(not isinstance(record[name], type(blank)) for name, blank in BLANK.items() if blank is not None) \
            or not all(isinstance(record[name], (int, float, NoneType)) for name in ("wall_seconds", "peak_rss_bytes")):
        return None
    if record["status"] == "running" and not is_locked(Path(folder)):
        record.update(status="killed", reason="the process that ran it ended without a word (killed, or power lost)")
    return record


def run_lock(folder: Path) -> FileLock:
    """The lock of a run's folder. The operating system frees it when its holder dies, however it dies."""
    return FileLock(folder.parent / f".{folder.name}.lock")


def is_locked(folder: Path) -> bool:
    """Whether a living process works in this run's folder."""
    lock = run_lock(folder)
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(blocking=False):
            return False
    except Timeout:
        return True


def sha256_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_fingerprint() -> str:
    """sha256 over every source file of the package: a changed function is a changed run."""
    root = Path(rsnb.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def provenance() -> dict:
    """Versions, git state and hardware of this process."""
    return {"versions": _versions(), "git": _git_state(project_root()), "hardware": _hardware()}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git_state(root: Path | None) -> dict:
    """Commit and whether tracked files differ from it; empty outside a git clone."""
    if root is None or not (root / ".git").exists():
        return {}
    try:
        def git(*args: str) -> str:
            return subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=True,
                                  timeout=20).stdout.strip()

        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _hardware() -> dict:
    """CPU, memory and GPUs, without importing torch."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {"system": f"{platform.system()} {platform.machine()}", "cpu": _cpu_name(), "cores": cores}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_bytes"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    facts["gpus"] = gpu_names()
    return facts


def _cpu_name() -> str:
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text().splitlines():
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
        except OSError:
            pass
    return platform.processor() or "unknown"


def gpu_names() -> list[str]:
    """NVIDIA GPUs that the driver lists; [] where there is none."""
    try:
        listed = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True,
                                text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listed.stdout.splitlines() if line.strip()]
