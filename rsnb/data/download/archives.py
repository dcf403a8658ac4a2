"""Zip and tar archives behind one face: a list of judged members, and a stream for each."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from rsnb.data.download.members import Census, Limits, Member
from rsnb.errors import InputError

LONGEST_READ = 4 * 2**20  # bytes; tarfile reads a long name in one go, however long it says to be
TAIL = 64 * 2**20  # bytes of padding after the last member that are read to reach the checksum of a packed tar


class Archive(Protocol):
    """An open archive whose members have been judged."""

    members: list[Member]

    def open(self, member: Member) -> BinaryIO:
        """The bytes of a member; asked for in the archive's order."""


@contextmanager
def open_archive(path: Path, limits: Limits, free: int) -> Iterator[Archive]:
    """A zip, tar, tar.gz, tar.bz2 or tar.xz, told by its first bytes and not by its suffix.

    Args:
        path: of the archive.
        limits: what it may at most be.
        free: bytes that its members may take.

    Raises:
        HostileError: a member is refused.
        InputError: no such archive, encrypted, or damaged; also while members are read in the block.
    """
    import bz2
    import gzip
    import lzma
    import struct
    import tarfile
    import zipfile
    import zlib

    with open(path, "rb") as file:
        start = file.read(512)
    unpackers = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
    opener = next((opener for magic, opener in unpackers.items() if start.startswith(magic)), open)
    census = Census(path, limits, free)
    try:
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            with zipfile.ZipFile(path) as file:
                yield _Zip(file, census)
        elif opener is not open or start[257:262] == b"ustar" or _is_old_tar(start):
            with opener(path, "rb") as stream, tarfile.open(fileobj=_Bounded(stream, path), mode="r:") as file:
                yield _Tar(file, census)
        else:
            raise InputError(f"this is no archive that can be unpacked here ({_kind(start)})", where=path,
                             mend="Unpack it by hand into the data set's folder, or get a zip or tar of it")
    except InputError:
        raise
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, struct.error,
            NotImplementedError, ValueError) as error:
        raise InputError(f"the archive is damaged or cut short ({error}); nothing was unpacked", where=path,
                         mend="Remove it and fetch it again") from None
    except OSError as error:
        if not is_damage(error):
            raise
        raise InputError(f"the archive is damaged ({error}); nothing was unpacked", where=path,
                         mend="Remove it and fetch it again") from None


def is_damage(error: OSError) -> bool:
    """Whether an OSError speaks of the archive and not of the disk: bz2 says "Invalid data stream" without a number,
    and a wrong offset in a zip is an invalid place to seek to."""
    return error.errno is None or (error.errno == errno.EINVAL and error.filename is None)


class _Zip:
    def __init__(self, file, census: Census):
        self.file = file
        for info in file.infolist():
            name = info.orig_filename  # zipfile's own cuts at a NUL
            if name.startswith("__MACOSX/"):  # forks that the Finder adds to every zip
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                census.refuse(name, "is a link" if kind == stat.S_IFLNK else "is a device or pipe")
            if info.flag_bits & 0x1:
                census.refuse(name, "is encrypted")
            if info.compress_type not in (0, 8, 12, 14):  # stored, deflate, bzip2, lzma: what Python unpacks
                census.refuse(name, f"is packed by method {info.compress_type}, which cannot be unpacked here")
            name = _slashes(name)
            if name.endswith("/") and info.file_size:
                census.refuse(name, "is a folder with content")
            census.add(name, info.file_size, name.endswith("/"), info)
        self.members = census.members

    def open(self, member: Member) -> BinaryIO:
        return self.file.open(member.handle)


class _Tar:
    def __init__(self, file, census: Census):
        self.file = file
        for info in file:
            if info.issym() or info.islnk():
                census.refuse(info.name, "is a link")
            if not (info.isreg() or info.isdir()):
                census.refuse(info.name, "is a device or pipe")
            census.add(info.name, info.size if info.isreg() else 0, info.isdir(), info)
        self.members = census.members
        self._demand_end(census)

    def _demand_end(self, census: Census) -> None:
        """tarfile takes whatever it cannot read for the end; a whole archive ends with a block of zeros."""
        stream = self.file.fileobj
        stream.seek(self.file.offset)
        if stream.read(512) != bytes(512):
            raise EOFError("its end is missing")
        left = TAIL
        while piece := stream.read(2**20):  # a packed tar has its checksum at the very end
            left -= len(piece)
            if left < 0:
                census.refuse("", "is followed by more than padding")

    def open(self, member: Member) -> BinaryIO:
        return self.file.extractfile(member.handle)


class _Bounded:
    """A stream that refuses to be read in pieces so large that memory would run out."""

    def __init__(self, stream: BinaryIO, path: Path):
        self.stream, self.path = stream, path
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LONGEST_READ:
            raise InputError(f"a header says to be {size} bytes long; nothing was unpacked", where=self.path,
                             mend="Get the archive from its publisher again")
        return self.stream.read(size)


def _slashes(name: str) -> str:
    """Old Windows programs write backslashes into zips, against the specification (4.4.17.1); they mean folders."""
    return name if "/" in name else name.replace("\\", "/")


def _is_old_tar(start: bytes) -> bool:
    """A header of 1979 has no magic word, but its checksum: the sum of its bytes with the sum's own field as blanks."""
    try:
        said = int(start[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return len(start) == 512 and said == sum(start[:148]) + 8 * 32 + sum(start[156:])


def _kind(start: bytes) -> str:
    known = {b"7z\xbc\xaf": "it is a 7z", b"Rar!": "it is a rar", b"\x28\xb5\x2f\xfd": "it is packed by zstd",
             b"\x89HDF": "it is an HDF5 file"}
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page"
    return next((name for magic, name in known.items() if start.startswith(magic)), "neither zip nor tar")
