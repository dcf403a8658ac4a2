"""Archives unpacked whole or not at all: judged first, written beside, flushed, then one rename."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from rsnb.data.download import owners
from rsnb.data.download.archives import Archive, is_damage, open_archive
from rsnb.data.download.disk import MARGIN, disk_error, free_bytes, sync_folder
from rsnb.data.download.members import Limits, Member
from rsnb.errors import InputError
from rsnb.files import require_file, write_text

PIECE = 2**20
FEW = 1000  # files that are flushed one by one; more of them all at once
log = logging.getLogger("rsnb.data.download")


@dataclass(frozen=True)
class Unpacked:
    """What an archive became.

    Attributes:
        folder: where.
        archive_sha256: of the archive.
        files: {path relative to the folder: (bytes, sha256)}.
    """

    folder: Path
    archive_sha256: str
    files: Mapping[str, tuple[int, str]]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(size for size, _ in self.files.values())

    def faults(self, hashes: bool = False) -> list[str]:
        """Files that are gone or changed: by size, and with `hashes` by every byte."""
        return [path for path, (size, digest) in self.files.items()
                if _size(self.folder / path) != size or (hashes and _sha256(self.folder / path) != digest)]


def unpack(
    archive: str | Path, folder: str | Path, sha256: str | None = None, limits: Limits | None = None,
    progress: bool = False, tree: Sequence[str] = (),
) -> Unpacked:
    """Unpack a zip or tar; if that was done before and the files are there, only say so.

    All members are judged before the first is written. They go to a temporary folder beside, which is renamed in one
    step. Where the folder holds other files already they are moved in one by one: nothing that is there and differs is
    replaced. A stamp in the folder, `.unpacked-ARCHIVE.json`, lists each file with its hash. A `__MACOSX` folder in a
    zip is left out; modes and owners are not taken over.

    Args:
        archive: zip, tar, tar.gz, tar.bz2 or tar.xz.
        folder: for its members.
        sha256: of the archive, if it is known already.
        limits: what it may at most be.
        progress: whether to show a bar.
        tree: paths and patterns that the folder is to have. One folder around them all, as Google Drive and people put
            it there, is left out; without a tree nothing is.

    Raises:
        HostileError: a member is refused: a path out of the folder, a link, a device, a bomb, a name that is there
            twice or differs in case alone, encryption ...
        InputError: no archive, a damaged one, or a file is in the way.
        DiskError: the disk is full, or cannot be written.
    """
    archive = require_file(archive, "archive")
    folder = Path(folder).expanduser().resolve()
    sha256 = sha256 or _sha256(archive)
    try:
        done = _done(folder, archive, sha256)
        if done is not None and not _abandoned(folder):
            return done  # without a lock: the folder may be read-only
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            for left in _abandoned(folder):
                shutil.rmtree(left, ignore_errors=True)
            done = _done(folder, archive, sha256)
            return done or _unpack(archive, folder, sha256, limits or Limits(), progress, tree)
    except InputError:
        raise
    except OSError as error:
        raise disk_error(error, error.filename or folder, "Nothing was unpacked") from None


def read_stamp(folder: str | Path, archive_name: str) -> Unpacked | None:
    """What an archive of this name became in a folder, or None."""
    path = _stamp_path(Path(folder), archive_name)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        files = {name: (int(size), str(digest)) for name, (size, digest) in values["files"].items()}
        return Unpacked(Path(folder), values["sha256"], files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _done(folder: Path, archive: Path, sha256: str) -> Unpacked | None:
    """What this very archive became here, if all of it is still there."""
    stamp = read_stamp(folder, archive.name)
    return stamp if stamp is not None and stamp.archive_sha256 == sha256 and not stamp.faults() else None


def _unpack(
    archive: Path, folder: Path, sha256: str, limits: Limits, progress: bool, tree: Sequence[str]
) -> Unpacked:
    home = folder if _is_used(folder) else folder.parent  # on the same disk as what it becomes
    name = ".unpacking" if home == folder else f".{folder.name}.unpacking"
    tag = owners.new_tag()
    partial = home / f"{name}.{tag}"
    try:
        with open_archive(archive, limits, free_bytes(home) - MARGIN) as opened:
            if not any(not member.folder for member in opened.members):
                raise InputError("there is no file in this archive", where=archive, mend="Fetch it again")
            members = _without_wrapper(opened.members, tree)
            partial.mkdir()
            files = _write_all(opened, members, partial, archive, folder, progress)
        result = Unpacked(folder, sha256, files)
        write_text(_stamp_path(partial, archive.name), json.dumps(
            {"archive": archive.name, "sha256": sha256, "files": {path: list(entry) for path, entry in files.items()}}))
        _flush(partial)
        _place(partial, folder, result, archive.name)
        return result
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        owners.release(tag)


def _without_wrapper(members: Sequence[Member], tree: Sequence[str]) -> Sequence[Member]:
    """The members as `tree` has them: without the one folder around all, if only then some are what it names."""
    inner = [replace(member, path=member.path.partition("/")[2]) for member in members if "/" in member.path]
    if len({member.path.partition("/")[0] for member in members}) == 1 and not _any_fits(members, tree) \
            and _any_fits(inner, tree):
        return inner
    return members


def _any_fits(members: Sequence[Member], tree: Sequence[str]) -> bool:
    """Whether a member's path is one of the tree's; its * stay within a folder, its ** do not."""
    patterns = [(pattern, pattern.split("/")) for pattern in tree]
    return any(fnmatchcase(member.path, pattern) if "**" in parts else
               member.path.count("/") == len(parts) - 1 and all(map(fnmatchcase, member.path.split("/"), parts))
               for member in members for pattern, parts in patterns)


def _write_all(
    opened: Archive, members: Sequence[Member], partial: Path, archive: Path, folder: Path, progress: bool
) -> dict[str, tuple[int, str]]:
    from tqdm.auto import tqdm

    files: dict[str, tuple[int, str]] = {}
    few = len(members) <= FEW
    for member in tqdm(members, desc=f"unpacking {archive.name}", unit=" files", disable=not progress):
        try:
            if member.folder:
                (partial / member.path).mkdir(parents=True, exist_ok=True)
                continue
            size, digest = _write(opened, member, partial / member.path, flush=few)
        except OSError as error:
            if is_damage(error):
                raise
            raise disk_error(error, folder / member.path, "Nothing was unpacked") from None
        if size != member.size:
            raise InputError(f"member {member.path!r} should have {member.size} bytes and has "
                             f"{'more' if size > member.size else size}; nothing was unpacked", where=archive,
                             mend="Remove the archive and fetch it again")
        files[member.path] = size, digest
    return files


def _write(opened: Archive, member: Member, target: Path, flush: bool) -> tuple[int, str]:
    """One file; gives its size and sha256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with opened.open(member) as source, open(target, "xb") as file:
        while (piece := source.read(PIECE)) and size <= member.size:
            size += len(piece)
            digest.update(piece)
            file.write(piece)
        if flush:
            file.flush()
            os.fsync(file.fileno())
    return size, digest.hexdigest()


def _flush(partial: Path) -> None:
    """To the disk before the rename, or a power cut may leave a whole folder of empty files."""
    if hasattr(os, "sync") and sum(1 for _ in partial.rglob("*")) > FEW:
        os.sync()
    sync_folder(partial)


def _place(partial: Path, folder: Path, result: Unpacked, archive_name: str) -> None:
    if not _is_used(folder):
        try:
            if folder.is_dir():
                folder.rmdir()
            os.rename(partial, folder)
        except OSError:
            if not _is_used(folder):
                raise  # else somebody was faster, where locks do not work: what is there is compared with ours
        else:
            sync_folder(folder.parent)
            return
    blocked = [path for path, (size, digest) in result.files.items() if _differs(folder / path, size, digest)]
    if blocked:
        more = f" and {len(blocked) - 3} more" if len(blocked) > 3 else ""
        raise InputError(f"{', '.join(blocked[:3])}{more} of {archive_name} would replace other files that are here",
                         where=folder, mend="Move them away, and unpack again")
    for path in sorted(partial.rglob("*")):
        target = folder / path.relative_to(partial)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path.name != _stamp_path(partial, archive_name).name or path.parent != partial:
            os.replace(path, target)
    os.replace(_stamp_path(partial, archive_name), _stamp_path(folder, archive_name))  # last: now it is whole
    sync_folder(folder)


def _differs(path: Path, size: int, digest: str) -> bool:
    """Whether something else is in the way of a file."""
    if not path.is_symlink() and not path.exists():
        return any(parent.exists() and not parent.is_dir() for parent in path.parents)
    return not path.is_file() or _size(path) != size or _sha256(path) != digest


def _is_used(folder: Path) -> bool:
    return folder.is_dir() and any(True for _ in os.scandir(folder))


def _abandoned(folder: Path) -> list[str]:
    """What killed processes left half unpacked."""
    starts = [start for start in (folder.parent / f".{folder.name}.unpacking.", folder / ".unpacking.")
              if start.parent.is_dir()]
    return [entry.path for start in starts for entry in os.scandir(start.parent)
            if entry.name.startswith(start.name)
            and not owners.is_alive(entry.name.removeprefix(start.name), Path(entry.path))]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path = folder.parent / f".{folder.name}.unpack.lock"
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=1)
        except Timeout:
            log.warning("%s: another process is unpacking into it; waiting", folder)
            lock.acquire()
    except NotImplementedError:  # no locks on this file system: the rename has one winner all the same
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            path.unlink(missing_ok=True)
            lock.release()


def _stamp_path(folder: Path, archive_name: str) -> Path:
    return folder / f".unpacked-{Path(archive_name).name}.json"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
