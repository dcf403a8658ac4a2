"""What an archive holds, judged by names and numbers before the first byte is written.

An archive is data from strangers: a name may climb out of the folder, a link may lead out of it, a few kilobytes may
unfold to a disk full, and two names may be one file on another system. Such an archive is refused as a whole; to repair
a name silently would hide that something is wrong with it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rsnb.errors import InputError

RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.I)  # of Windows


class HostileError(InputError):
    """An archive that is refused; nothing of it was written."""


@dataclass(frozen=True)
class Limits:
    """What an archive may at most be.

    Attributes:
        ratio: unpacked to packed bytes. Pictures are packed 1 to 3 times, text 10, empty masks a few hundred times.
        small: below so many unpacked bytes no ratio is asked for.
        members: files and folders; the largest archives of the suite hold 200,000, and each takes 1.5 kB of memory.
        depth: folders within folders.
        length: characters of a path.
    """

    ratio: float = 200.0
    small: int = 2**20
    members: int = 1_000_000
    depth: int = 32
    length: int = 768


@dataclass(frozen=True)
class Member:
    """One entry of an archive.

    Attributes:
        path: relative, with /, without "." parts.
        size: bytes when unpacked.
        folder: whether it is one.
        handle: what the archive's library calls it.
    """

    path: str
    size: int
    folder: bool
    handle: object


class Census:
    """Members as they are met; each is judged at once, so that a bomb is not even read to its end.

    Args:
        archive: for messages, and for its size.
        limits: see there.
        free: bytes that may be written.
    """

    def __init__(self, archive: Path, limits: Limits, free: int):
        self.archive, self.limits, self.free = archive, limits, free
        self.packed = archive.stat().st_size
        self.members: list[Member] = []
        self.bytes = 0
        self._spelling: dict[str, str] = {}
        self._folders: set[str] = set()
        self._files: set[str] = set()

    def add(self, name: str, size: int, folder: bool, handle: object) -> None:
        """Judge one member.

        Raises:
            HostileError: naming the member and what is wrong.
        """
        path = self._clean(name)
        if not path:
            if folder:
                return  # "./", the archive's own root
            self.refuse(name, "has no name")
        self.bytes += size
        if len(self.members) >= self.limits.members:
            self.refuse(name, f"is one of more than {self.limits.members}")
        if self.bytes > self.limits.small and self.bytes > self.limits.ratio * self.packed:
            self.refuse(name, f"brings the unpacked size to {self.bytes} bytes, from {self.packed} packed ones: a bomb")
        if self.bytes > self.free:
            self.refuse(name, f"brings the unpacked size to {self.bytes} bytes, but {self.free} are free")
        self._place(name, path, folder)
        self.members.append(Member(path, size, folder, handle))

    def refuse(self, name: str, why: str) -> None:
        """Raise for a member."""
        raise HostileError(f"member {name!r} {why}; nothing was unpacked", where=self.archive,
                           mend="Get the archive from its publisher again, or unpack by hand what you trust")

    def _clean(self, name: str) -> str:
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
            self.refuse(name, "has a control character in its name")
        if "\\" in name:
            self.refuse(name, "has a backslash in its name")
        if name.startswith("/"):
            self.refuse(name, "has an absolute path")
        if re.match(r"[A-Za-z]:", name):
            self.refuse(name, "names a drive")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            self.refuse(name, "climbs out of its folder")
        if any(part[-1] in ". " for part in parts):
            self.refuse(name, "ends in a dot or a blank, which other systems drop")
        if os.name == "nt" and any(RESERVED.match(part) or ":" in part for part in parts):
            self.refuse(name, "cannot be a file name on Windows")
        if len(parts) > self.limits.depth:
            self.refuse(name, f"lies {len(parts)} folders deep, at most {self.limits.depth} are taken")
        if len(name) > self.limits.length or any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
            self.refuse(f"{name[:60]}...", "has a name that is too long")
        return "/".join(parts)

    def _place(self, name: str, path: str, folder: bool) -> None:
        for prefix in _prefixes(path):
            spelled = self._spelling.setdefault(unicodedata.normalize("NFC", prefix).casefold(), prefix)
            if spelled != prefix:
                self.refuse(name, f"differs from {spelled!r} in case alone: one file on some systems")
        above = list(_prefixes(path))[:-1]
        if path in self._files:
            self.refuse(name, "is there twice")
        if (not folder and path in self._folders) or any(prefix in self._files for prefix in above):
            self.refuse(name, "is a file and a folder at once")
        self._folders.update(above)
        (self._folders if folder else self._files).add(path)


def _prefixes(path: str) -> Iterable[str]:
    """a, a/b, a/b/c of "a/b/c"."""
    parts = path.split("/")
    return ("/".join(parts[:i + 1]) for i in range(len(parts)))
