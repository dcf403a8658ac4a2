"""How much memory is free on a device, so that a run can be refused before it starts."""

from __future__ import annotations

from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: str = "cpu") -> int | None:
    """Bytes that can still be taken on a device; None where the system does not tell.

    On the CPU this is what Linux calls available, or less where the process runs in a container with a limit. On a
    GPU what torch holds without using it counts as free.
    """
    if torch.device(device).type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, from earlier runs
        return torch.cuda.mem_get_info(device)[0] + kept
    known = [n for n in (_available(), _left_in_container()) if n is not None]
    return min(known) if known else None


def _available() -> int | None:
    if not _MEMINFO.is_file():
        return None
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def _left_in_container() -> int | None:
    """The limit of the container (cgroup version 2) less what is taken and cannot be given back."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        taken = int((_CGROUP / "memory.current").read_text())
        cached = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - taken + int(cached.get("inactive_file", 0)))
