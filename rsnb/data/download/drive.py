"""Files on Google Drive, through gdown, which knows its cookies and confirmation pages."""

from __future__ import annotations

import glob
import os
import re
from inspect import signature
from pathlib import Path

from rsnb.data.download.answers import DownloadError
from rsnb.data.download.http import Downloaded, check, claim_target, sha256_of
from rsnb.data.download.transfer import Expected, HttpOptions


def drive_id_of(url: str) -> str | None:
    """The id in a link to a file on Google Drive, or None for other links."""
    if not re.match(r"https?://(drive|docs|drive\.usercontent)\.google\.com/", url):
        return None
    found = re.search(r"/d/([\w-]{10,})|[?&]id=([\w-]{10,})", url)
    return (found[1] or found[2]) if found else None


def download_from_drive(drive_id: str, path: str | Path, expected: Expected | None = None,
                        options: HttpOptions | None = None) -> Downloaded:
    """Make sure that a file of Google Drive is there, verified before it gets its name.

    Args:
        drive_id: of the file.
        path: where it goes.
        expected: what is known of it.
        options: as for `download`; gdown does its own asking again.

    Raises:
        DownloadError: Drive gives no file: too many downloads of it today (its quota), a private file, no network.
        ChecksumError, DiskError: as for `download`.
    """
    path, expected, options = Path(path).absolute(), expected or Expected(), options or HttpOptions()
    page = f"https://drive.google.com/file/d/{drive_id}/view"
    mend = (f"Wait a day, or open {page} in a browser, save the file as {path}, and fetch again: it is then verified "
            "and unpacked")
    with claim_target(path, options) as part:
        if part.waited and path.is_file():
            check(path, expected, "another process wrote other bytes")
            return Downloaded(path, sha256_of(path), path.stat().st_size)
        arrived = path.with_name(f".{path.name}.drive")
        _ask(drive_id, arrived, path, options, mend)
        _refuse_page(arrived, path, mend)
        try:
            check(arrived, expected, f"{page} gave other bytes than published")
        except DownloadError:
            arrived.unlink(missing_ok=True)
            raise
        with open(arrived, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(arrived, path)
        part.discard()
        for stray in path.parent.glob(f"{glob.escape(arrived.name)}*"):  # of a killed gdown
            stray.unlink()
    return Downloaded(path, expected.sha256 or sha256_of(path), path.stat().st_size, page)


def _ask(drive_id: str, arrived: Path, path: Path, options: HttpOptions, mend: str) -> None:
    import gdown
    import requests

    patience = {"timeout": options.timeout_s} if "timeout" in signature(gdown.download).parameters else {}  # gdown 6
    try:
        got = gdown.download(id=drive_id, output=str(arrived), quiet=not options.progress, resume=True, **patience)
    except OSError as error:
        if isinstance(error, requests.exceptions.RequestException):
            raise DownloadError(f"Google Drive cannot be reached ({type(error).__name__})", where=path,
                                mend="Try again with a network") from None
        raise
    except Exception as error:  # gdown's own classes have changed their base between versions
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise DownloadError(f"Google Drive does not give the file ({said[0].strip().rstrip('.')})", where=path,
                            mend=mend) from None
    if got is None or not arrived.is_file():
        raise DownloadError("Google Drive does not give the file", where=path, mend=mend)


def _refuse_page(arrived: Path, path: Path, mend: str) -> None:
    with open(arrived, "rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")) and path.suffix.lower() not in (".html", ".htm"):
        arrived.unlink()
        raise DownloadError("Google Drive sent a web page in place of the file, as it does when too many people have "
                            "downloaded it", where=path, mend=mend)
