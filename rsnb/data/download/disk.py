"""Room on the disk, and what to tell a user when the disk refuses."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from rsnb.errors import InputError

MARGIN = 16 * 2**20  # bytes left free for everybody else


class DiskError(InputError):
    """The disk is full, or the place cannot be written; another mirror would not help."""


def disk_error(error: OSError, path: str | Path, note: str = "") -> DiskError:
    """The message for a write that failed.

    Args:
        error: what the system said.
        path: the file that was to be written.
        note: what became of the work so far, as a sentence without the final full stop.
    """
    end = f". {note}" if note else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError("the disk is full, or a quota is used up", where=path,
                         mend=f"Free some space there (rsnb fetch NAME --dry says how much), and try again{end}")
    if error.errno == errno.EFBIG:
        return DiskError("the file grows larger than this place allows", where=path,
                         mend=f"Choose a file system, or a process limit, for larger files{end}")
    return DiskError(f"this cannot be written ({error.strerror or error})", where=path,
                     mend=f"Choose another data folder (--root, or RSNB_DATA), or mend its permissions{end}")


def free_bytes(path: str | Path) -> int:
    """Bytes that are free where a path lies or would lie."""
    path = Path(path).absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def require_room(path: str | Path, needed: int, what: str) -> None:
    """Refuse before the first byte what cannot fit.

    Raises:
        DiskError: naming both numbers.
    """
    free = free_bytes(path)
    if needed > free - MARGIN:
        raise DiskError(f"{what} needs {size_text(needed)}, but {size_text(free)} are free here", where=path,
                        mend="Free some space, or choose another data folder (--root, or RSNB_DATA)")


def size_text(count: int) -> str:
    """12.3 GB, in powers of a thousand as disks and servers count."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{count} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def sync_folder(folder: str | Path) -> None:
    """Make renames in a folder survive a power cut; where folders cannot be opened (Windows) that is not needed."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse
    finally:
        os.close(handle)
