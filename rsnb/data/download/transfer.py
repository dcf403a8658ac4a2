"""The bytes of one file from one server into its part: asked for, checked for what they are, asked for again."""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rsnb.data.download.answers import (
    DownloadError,
    TryAgain,
    judge_failure,
    judge_status,
    number,
    refuse_page,
    show_url,
)
from rsnb.data.download.disk import disk_error, require_room, size_text
from rsnb.data.download.parts import Part

if TYPE_CHECKING:
    from requests import Response

CHUNK = 32 * 1024  # bytes that a kill can lose: what is read is written at once
log = logging.getLogger("rsnb.data.download")


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is asked for.

    Attributes:
        sha256, md5: hex digests; the first that is given decides.
        bytes: size.
    """

    sha256: str | None = None
    md5: str | None = None
    bytes: int | None = None

    @property
    def algorithm(self) -> str:
        return "sha256" if self.sha256 or not self.md5 else "md5"

    @property
    def digest(self) -> str | None:
        return self.sha256 or self.md5

    @property
    def known_hash(self) -> str | None:
        """As pooch writes it: "sha256:...", or None."""
        return f"{self.algorithm}:{self.digest}" if self.digest else None


@dataclass(frozen=True)
class HttpOptions:
    """How patient a download is.

    Attributes:
        tries: that bring no new byte before it gives up.
        backoff_s: wait before the second of them; doubled each time, less up to a half by chance.
        longest_wait_s: no wait is longer; a server that asks for more is left for later.
        timeout_s: for a connection, and for each piece of data.
        wait_s: how long to wait for another process that downloads the same file; None: for as long as it lives.
        headers: sent along, such as an Authorization; never written to a file or a message.
        progress: whether to show a bar.
    """

    tries: int = 5
    backoff_s: float = 1.0
    longest_wait_s: float = 60.0
    timeout_s: tuple[float, float] = (10.0, 60.0)
    wait_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    progress: bool = False


def fill(part: Part, url: str, expected: Expected, options: HttpOptions) -> None:
    """Bring a part to its full length, and to the disk.

    Raises:
        DownloadError: the server does not give the file.
        DiskError: the disk is full or cannot be written; the part stays.
    """
    import requests

    farthest, fruitless, reason = part.size, 0, ""
    with requests.Session() as session:
        session.headers.update({"User-Agent": "rsnb (pooch; python-requests)", **options.headers,
                                "Accept-Encoding": "identity"})  # a packed answer has other bytes and no ranges
        while True:
            try:
                _once(session, part, url, expected, options)
                break
            except TryAgain as again:
                fruitless = 1 if part.size > farthest else fruitless + 1
                farthest = max(farthest, part.size)
                reason = again.reason if again.tries else reason  # the one that says most
                if fruitless >= min(again.tries or options.tries, options.tries):
                    raise DownloadError(f"{show_url(url)}: {reason or again.reason} ({fruitless} tries)",
                                        where=part.target, mend=_continue(part)) from None
                _wait(again, fruitless, options, part, url)
    if part.state.get("bytes") is None:
        part.note(bytes=part.size)
    with open(part.path, "rb+") as file:
        os.fsync(file.fileno())


def _once(session, part: Part, url: str, expected: Expected, options: HttpOptions) -> None:
    """One request; returns when the part is whole."""
    import requests

    headers = _conditions(part, url, expected)
    if headers is None:
        return
    try:
        with session.get(url, headers=headers, stream=True, timeout=options.timeout_s) as answer:
            if _is_whole(answer, part, url, expected):
                return
            _receive(answer, part, url, expected, options)
    except requests.exceptions.RequestException as error:
        raise judge_failure(error, url, part.target) from None
    whole = expected.bytes if expected.bytes is not None else part.state.get("bytes")
    if whole is not None and part.size != whole:
        if part.size > whole:
            part.begin({})
        raise TryAgain(f"{part.size} bytes came, {whole} were announced")


def _conditions(part: Part, url: str, expected: Expected) -> dict[str, str] | None:
    """Headers that ask for the rest; None if there is no rest."""
    have, state = part.size, part.state
    whole = expected.bytes if expected.bytes is not None else state.get("bytes")
    same_url = state.get("url") == show_url(url)
    if have and ((whole is not None and have > whole) or not (same_url or expected.digest)):
        part.begin({})  # without a hash nobody could tell whether two addresses have the same bytes
        have = 0
    if not have:
        return {}
    if have == whole:
        return None
    etag = state.get("etag") or ""
    validator = etag if etag.startswith('"') else state.get("last_modified")  # a weak ETag is no condition
    if same_url and validator:
        return {"Range": f"bytes={have}-", "If-Range": validator}
    if expected.digest:  # the hash will tell
        return {"Range": f"bytes={have}-"}
    part.begin({})
    return {}


def _is_whole(answer: Response, part: Part, url: str, expected: Expected) -> bool:
    """Judge the status line; True where the server says that there is no more to come."""
    status = answer.status_code
    if status in (200, 206):
        return False
    if status == 416 and part.size:
        whole = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
        said = part.state.get("bytes")
        if whole and int(whole[1]) == part.size and (expected.digest or said in (None, part.size)):
            part.note(bytes=part.size)
            return True
        why = "the server has nothing at this position" if said is None or whole is None else \
            f"the server announced {said} bytes and has {whole[1]}"
        _restart(part, url, why)
        raise TryAgain(why, tries=3)
    raise judge_status(answer, url, part.target)


def _receive(answer: Response, part: Part, url: str, expected: Expected, options: HttpOptions) -> None:
    """Append the body, or start from 0 with it."""
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    # a .gz that is announced as packed is meant as it is; anything else is unpacked on the way, and cannot be resumed
    unpack = encoding not in ("", "identity") and not part.target.name.lower().endswith((".gz", ".tgz"))
    length = None if unpack else number(answer.headers.get("Content-Length"))
    whole = length
    if answer.status_code == 206:
        whole = _continued(answer, part, url)
        if not answer.request.headers.get("If-Range"):
            part.note(sure=False)
    chunks = _chunks(answer, unpack)
    first = next(chunks, b"")
    if answer.status_code == 200:
        refuse_page(answer, first, url, part.target, trusted=expected.digest is not None)
        if None not in (length, expected.bytes) and length != expected.bytes:
            raise TryAgain(f"the server announces {length} bytes, published are {expected.bytes}", tries=2)
        if part.size:
            _restart(part, url, "the server sends the whole file" if answer.headers.get("ETag") in
                     (None, part.state.get("etag")) else "the file has changed on the server")
        part.begin({"url": show_url(url), "etag": None if unpack else answer.headers.get("ETag"),
                    "last_modified": None if unpack else answer.headers.get("Last-Modified"), "bytes": whole})
    elif part.state.get("bytes") is None:
        part.note(bytes=whole)
    if whole is not None:
        require_room(part.target, whole - part.size, "the rest of this file")
    _append(first, chunks, part, whole, options)


def _append(first: bytes, chunks, part: Part, whole: int | None, options: HttpOptions) -> None:
    from tqdm.auto import tqdm

    bar = tqdm(total=whole, initial=part.size, unit="B", unit_scale=True, desc=part.target.name, leave=True,
               disable=not options.progress)
    try:
        file = open(part.path, "ab", buffering=0)
    except OSError as error:
        raise disk_error(error, part.target) from None
    with file, bar:
        piece = first
        while piece:
            view = memoryview(piece)
            while view:
                try:
                    written = file.write(view)
                except OSError as error:
                    raise disk_error(error, part.target, _continue(part)) from None
                view = view[written:]
            bar.update(len(piece))
            piece = next(chunks, b"")


def _chunks(answer: Response, unpack: bool):
    """Pieces of the body as they come: not held back until a chunk is full, so that a kill loses little."""
    import requests
    import urllib3

    try:
        read = getattr(answer.raw, "read1", answer.raw.read)  # urllib3 1 has no read1
        while piece := read(CHUNK, decode_content=unpack):
            yield piece
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise requests.exceptions.ConnectionError(error) from None


def _continued(answer: Response, part: Part, url: str) -> int | None:
    """Size of the whole file if a 206 continues ours, else start again."""
    span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
    start, whole = (int(span[1]), number(span[3])) if span else (None, None)
    known = part.state.get("bytes")
    etags = part.state.get("etag"), answer.headers.get("ETag")
    same = part.state.get("url") != show_url(url) or None in etags or etags[0] == etags[1]
    if start == part.size and same and (None in (whole, known) or whole == known):
        return whole if whole is not None else known
    why = "the server sends another piece than asked" if start != part.size else "the file has changed on the server"
    _restart(part, url, why)
    raise TryAgain(why, 0.0)


def _restart(part: Part, url: str, why: str) -> None:
    """Give up what is there, with one line for people."""
    if part.size:
        log.warning("%s: %s: %s; starting again from byte 0", part.target.name, show_url(url), why)
        part.begin({})


def _wait(again: TryAgain, fruitless: int, options: HttpOptions, part: Part, url: str) -> None:
    if again.wait_s is not None and again.wait_s > options.longest_wait_s:
        raise DownloadError(f"{show_url(url)}: {again.reason} and asks to wait {again.wait_s:.0f} s",
                            where=part.target, mend=f"Try again then. {_continue(part)}")
    wait = again.wait_s
    if wait is None:
        wait = min(options.backoff_s * 2 ** (fruitless - 1), options.longest_wait_s) * random.uniform(0.5, 1.0)
    log.info("%s: %s; again in %.1f s", part.target.name, again.reason, wait)
    time.sleep(wait)


def _continue(part: Part) -> str:
    return (f"Try again: it goes on after the {size_text(part.size)} that are here" if part.size
            else "Try again later, or look at the data set's homepage")
