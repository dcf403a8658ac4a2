"""`NAME.part`, the part of a file that has arrived, and `NAME.part.json`, which says of what.

Whoever writes claims the part first: it is renamed to `NAME.part.<tag>`, and back when the work stops. A rename has one
winner, so two processes never append to the same bytes; a lock beside it only spares the second a wasted start.
"""

from __future__ import annotations

import glob
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rsnb.data.download import owners
from rsnb.errors import InputError
from rsnb.files import write_text

POLL_S = 0.1


class BusyError(InputError):
    """Another process is at the same file, and we were not to wait for it any longer."""


class Part:
    """A claimed part; only its owner writes to it.

    Attributes:
        target: the file that it is a part of.
        path: where its bytes lie now.
        state: what is known of them: "url", "etag", "last_modified", "bytes" (of the whole), "sure" (False when a
            piece was appended that the server did not say belongs to the same version).
        waited: whether somebody else had it before.
    """

    def __init__(self, target: Path, path: Path, waited: bool):
        self.target, self.path, self.waited = target, path, waited
        self.state = _read_state(_state_path(target)) if self.size else {}

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def begin(self, state: Mapping[str, object]) -> None:
        """Start from byte 0 with what is known of the file now."""
        # first the bytes, then what they are: a kill between the two leaves no old bytes under a new name
        self.path.unlink(missing_ok=True)
        open(self.path, "xb").close()
        self.state = {}
        self.note(**state, sure=True)

    def note(self, **changes: object) -> None:
        """Change what is known of the bytes."""
        self.state = {**self.state, **changes}
        write_text(_state_path(self.target), json.dumps(self.state, indent=1) + "\n")

    def discard(self) -> None:
        """Remove the bytes: they have become the target, or are of no use."""
        self.path.unlink(missing_ok=True)
        _state_path(self.target).unlink(missing_ok=True)
        self.state = {}


@contextmanager
def claim(target: Path, wait_s: float | None = None, say: Callable[[str], None] | None = None) -> Iterator[Part]:
    """The part of a file, ours until the block ends; then it is handed back if anything of it is left.

    Args:
        target: the file to come; its folder is made.
        wait_s: how long to wait for another process that is at it; None: for as long as it lives.
        say: told once that we wait.

    Raises:
        BusyError: the other one is still at it after `wait_s`.
        OSError: the folder cannot be made or written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    tag = owners.new_tag()
    try:
        path, waited = _take(target, tag, wait_s, say)
        part = Part(target, path, waited)
        if target.exists() and path.samefile(target):  # killed after the target got its name, before the part went
            part.discard()
        try:
            yield part
        finally:
            if part.size:
                os.replace(part.path, _part_path(target))
            else:
                part.discard()
            with suppress(OSError):  # not shared by rename, so no promise hangs on this file
                _lock_path(target).unlink()
    finally:
        owners.release(tag)


def sweep(target: Path) -> None:
    """Remove whatever killed downloads of a file have left beside it, unless somebody is at it; where the folder cannot
    be written it stays."""
    claims = _claims(target)
    if any(owners.is_alive(tag, path) for path, tag in claims):
        return
    paths = [_part_path(target), _state_path(target), _lock_path(target), *(path for path, _ in claims)]
    for end in (".part.????????.json", ".drive*"):  # a state that was being written; what came from Google Drive
        paths += target.parent.glob(f".{glob.escape(target.name)}{end}")
    with suppress(OSError):
        for path in paths:
            path.unlink(missing_ok=True)
        sweep_links(target)


def sweep_links(path: Path) -> None:
    """Remove what a killed pooch has left in a file's folder: second names of the file, and names still empty."""
    for entry in list(os.scandir(path.parent)):
        if re.fullmatch(r"tmp\w{8}", entry.name) and entry.is_file(follow_symlinks=False) and (
                entry.stat().st_size == 0 or (path.exists() and path.samefile(entry.path))):
            Path(entry.path).unlink(missing_ok=True)


def _take(target: Path, tag: str, wait_s: float | None, say: Callable[[str], None] | None) -> tuple[Path, bool]:
    mine = target.with_name(f"{target.name}.part.{tag}")
    until = None if wait_s is None else time.monotonic() + wait_s
    waited = False
    while True:
        with _locked(target):
            claims = _claims(target)
            living = [other for path, other in claims if owners.is_alive(other, path)]
            if not living:
                _take_over([_part_path(target), *(path for path, _ in claims)], mine)
                return mine, waited
        if until is not None and time.monotonic() >= until:
            raise BusyError(f"{owners.who(living[0])} is downloading this file", where=target,
                            mend="Wait for it, or end it; what it has got is kept")
        if not waited and say is not None:
            say(f"{target.name}: {owners.who(living[0])} is downloading it; waiting")
        waited = True
        time.sleep(POLL_S)


def _take_over(found: list[Path], mine: Path) -> None:
    """Make the longest part ours by a rename, and sweep what else the dead have left."""
    for path in sorted(found, key=_length, reverse=True):
        try:
            if mine.exists():
                path.unlink()
            else:
                os.rename(path, mine)
        except FileNotFoundError:
            continue
    if not mine.exists():
        open(mine, "xb").close()


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    from filelock import FileLock

    lock = FileLock(_lock_path(target))
    try:
        lock.acquire(timeout=30)
    except (OSError, NotImplementedError):  # no locks on this file system: the rename alone decides
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _claims(target: Path) -> list[tuple[Path, str]]:
    """All claims of a target's part, each with its tag."""
    start = f"{target.name}.part."
    names = [entry.name for entry in os.scandir(target.parent) if entry.name.startswith(start)]
    return [(target.parent / name, name[len(start):]) for name in names if name[len(start):].count("-") == 3]


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _read_state(path: Path) -> dict[str, object]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _part_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _state_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.json")


def _lock_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.lock")
