"""Who works on a file: a tag in a temporary file's name that tells whether the process that made it still lives.

A file `NAME.part.<tag>` is claimed by one rename, which has one winner on every file system, network ones with broken
locks included. After a kill the tag of the dead stays behind, and whoever comes next may take the file over.
"""

from __future__ import annotations

import os
import re
import socket
import time
import uuid
from pathlib import Path

# A claim of another machine cannot be asked after: it counts as abandoned when nothing was written for so long.
SILENCE_S = 600.0
_mine: set[str] = set()


def new_tag() -> str:
    """A tag for this process, unique; give it to `release` when the work is done."""
    tag = f"{_host()}-{os.getpid()}-{_start(os.getpid())}-{uuid.uuid4().hex[:8]}"
    _mine.add(tag)
    return tag


def release(tag: str) -> None:
    """The work under this tag is over."""
    _mine.discard(tag)


def is_alive(tag: str, path: Path) -> bool:
    """Whether the process that made a tag is still at it.

    Args:
        tag: by `new_tag`, maybe of another machine.
        path: the file that carries it; its modification time decides where the process cannot be asked after.
    """
    host, pid, start, _ = [*tag.split("-"), "", "", ""][:4]
    if host != _host() or not pid.isdecimal() or os.name == "nt":
        try:
            return time.time() - path.stat().st_mtime < SILENCE_S
        except FileNotFoundError:
            return False
    if int(pid) == os.getpid():
        return tag in _mine
    return _runs(int(pid)) and _start(int(pid)) == start


def who(tag: str) -> str:
    """For messages: "process 123", with its machine where that is another one, or "another thread"."""
    host, pid = [*tag.split("-"), ""][:2]
    if (host, pid) == (_host(), str(os.getpid())):
        return "another thread"
    return f"process {pid}" + ("" if host == _host() else f" on {host}")


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:32] or "here"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start(pid: int) -> str:
    """Start time of a process in clock ticks, so that a number given out again is not taken for the old process."""
    try:
        # the second field is the program's name in brackets and may hold blanks; the start time is the 22nd
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "0"
    return "gone" if fields[0] in "ZX" else fields[19]
