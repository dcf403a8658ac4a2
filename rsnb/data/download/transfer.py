"""The bytes of one file from one server into its part: asked for, checked for what they are, asked for again."""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rsnb.data.download.disk import disk_error, require_room, size_text
from rsnb.data.download.parts import Part
from rsnb.errors import InputError

if TYPE_CHECKING:
    from requests import Response

CHUNK = 32 * 1024  # bytes that a kill can lose: what is read is written at once
LATER = (408, 425, 429, 500, 502, 503, 504)  # "try again" in the server's words
log = logging.getLogger("rsnb.data.download")


class DownloadError(InputError):
    """A server did not give a file; another mirror may."""


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


class _TryAgain(Exception):
    def __init__(self, reason: str, wait_s: float | None = None, tries: int | None = None):
        super().__init__(reason)
        self.reason, self.wait_s, self.tries = reason, wait_s, tries


def show_url(url: str) -> str:
    """A URL without user, query and fragment, since those may hold a token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


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
            except _TryAgain as again:
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
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema,
            requests.exceptions.TooManyRedirects, requests.exceptions.InvalidProxyURL) as error:
        raise DownloadError(f"{show_url(url)} is no address to download from ({type(error).__name__})",
                            where=part.target, mend="Correct the URL, or the proxy in the environment") from None
    except requests.exceptions.SSLError as error:
        if "CERTIFICATE" not in str(error).upper():
            raise _TryAgain("the secure connection broke off") from None
        raise DownloadError(f"{show_url(url)}: the certificate of the server is not valid", where=part.target,
                            mend="Set REQUESTS_CA_BUNDLE if a proxy puts in its own; check the clock") from None
    except requests.exceptions.RequestException as error:
        raise _TryAgain(_reason(error)) from None
    whole = expected.bytes if expected.bytes is not None else part.state.get("bytes")
    if whole is not None and part.size != whole:
        if part.size > whole:
            part.begin({})
        raise _TryAgain(f"{part.size} bytes came, {whole} were announced")


def _conditions(part: Part, url: str, expected: Expected) -> dict[str, str] | None:
    """Headers that ask for the rest; None if there is no rest."""
    have, state = part.size, part.state
    whole = expected.bytes if expected.bytes is not None else state.get("bytes")
    if have and whole is not None and have > whole:
        part.begin({})
        have = 0
    if not have:
        return {}
    if have == whole:
        return None
    validator = None
    if state.get("url") == show_url(url):
        etag = state.get("etag") or ""
        validator = etag if etag.startswith('"') else state.get("last_modified")  # a weak ETag is no condition
    if validator:
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
        raise _TryAgain(why, tries=3)
    if status in LATER:
        raise _TryAgain(f"the server answers {status} ({answer.reason})", _retry_after(answer))
    mend = {401: "It needs an account or a token", 403: "It may need an account, a signed link, or another network",
            404: "The file has moved: look at the data set's homepage, and correct the manifest",
            410: "The file is gone: look at the data set's homepage"}
    raise DownloadError(f"{show_url(url)}: the server answers {status} ({answer.reason})", where=part.target,
                        mend=mend.get(status, "Look at the data set's homepage"))


def _receive(answer: Response, part: Part, url: str, expected: Expected, options: HttpOptions) -> None:
    """Append the body, or start from 0 with it."""
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    # a .gz that is announced as packed is meant as it is; anything else is unpacked on the way, and cannot be resumed
    unpack = encoding not in ("", "identity") and not part.target.name.lower().endswith((".gz", ".tgz"))
    length = None if unpack else _number(answer.headers.get("Content-Length"))
    whole = length
    if answer.status_code == 206:
        whole = _continued(answer, part, url)
        if not answer.request.headers.get("If-Range"):
            part.note(sure=False)
    chunks = _chunks(answer, unpack)
    first = next(chunks, b"")
    if answer.status_code == 200:
        _refuse_page(answer, first, part, url, expected)
        if None not in (length, expected.bytes) and length != expected.bytes:
            raise _TryAgain(f"the server announces {length} bytes, published are {expected.bytes}", tries=2)
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
    start, whole = (int(span[1]), _number(span[3])) if span else (None, None)
    known, etag = part.state.get("bytes"), answer.headers.get("ETag")
    same = part.state.get("url") != show_url(url) or etag in (None, part.state.get("etag"))
    if start == part.size and same and (None in (whole, known) or whole == known):
        return whole if whole is not None else known
    why = "the server sends another piece than asked" if start != part.size else "the file has changed on the server"
    _restart(part, url, why)
    raise _TryAgain(why, 0.0)


def _restart(part: Part, url: str, why: str) -> None:
    """Give up what is there, with one line for people."""
    if part.size:
        log.warning("%s: %s: %s; starting again from byte 0", part.target.name, show_url(url), why)
        part.begin({})


def _refuse_page(answer: Response, first: bytes, part: Part, url: str, expected: Expected) -> None:
    """A web page with status 200 in place of data: a quota, a login, a captive network."""
    if part.target.suffix.lower() in (".html", ".htm", ".xhtml"):
        return
    start = first[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    looks = start.startswith((b"<!doctype html", b"<html"))
    called = answer.headers.get("Content-Type", "").strip().lower().startswith(("text/html", "application/xhtml"))
    if not looks and (not called or expected.digest):
        return
    title = re.search(rb"<title[^>]*>\s*(.*?)\s*</title", first, re.S | re.I)
    said = f", titled {title[1].decode('utf-8', 'replace')[:80]!r}" if title else ""
    raise DownloadError(f"{show_url(url)}: a web page came in place of the file{said}", where=part.target,
                        mend="Open the address in a browser to see what it wants: a quota, a login, terms to accept")


def _wait(again: _TryAgain, fruitless: int, options: HttpOptions, part: Part, url: str) -> None:
    if again.wait_s is not None and again.wait_s > options.longest_wait_s:
        raise DownloadError(f"{show_url(url)}: {again.reason} and asks to wait {again.wait_s:.0f} s",
                            where=part.target, mend=f"Try again then. {_continue(part)}")
    wait = again.wait_s
    if wait is None:
        wait = min(options.backoff_s * 2 ** (fruitless - 1), options.longest_wait_s) * random.uniform(0.5, 1.0)
    log.info("%s: %s; again in %.1f s", part.target.name, again.reason, wait)
    time.sleep(wait)


def _retry_after(answer: Response) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max((when - datetime.now(UTC)).total_seconds(), 0.0)


def _reason(error: Exception) -> str:
    """A few words for a failed connection; the library's own text may hold the whole URL."""
    text = str(error)
    for sign, words in (("timed out", "no answer in time"), ("IncompleteRead", "the connection broke off"),
                        ("Name or service not known", "the server's name is not known (is there a network?)"),
                        ("NameResolutionError", "the server's name is not known (is there a network?)"),
                        ("refused", "the server refuses the connection"), ("reset", "the connection broke off")):
        if sign in text:
            return words
    return f"the connection failed ({type(error).__name__})"


def _continue(part: Part) -> str:
    return (f"Try again: it goes on after the {size_text(part.size)} that are here" if part.size
            else "Try again later, or look at the data set's homepage")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdecimal() else None
