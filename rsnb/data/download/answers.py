"""What a server's answer means: try again, do not, or something else than the file."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rsnb.errors import InputError

if TYPE_CHECKING:
    from requests import Response
    from requests.exceptions import RequestException

LATER = (408, 425, 429, 500, 502, 503, 504)  # "try again" in the server's words
MENDS = {
    401: "It needs an account or a token",
    403: "It may need an account, a signed link, or another network",
    404: "The file has moved: look at the data set's homepage, and correct the manifest",
    410: "The file is gone: look at the data set's homepage",
}


class DownloadError(InputError):
    """A server did not give a file; another mirror may."""


class TryAgain(Exception):
    """Not an error yet: the same request may succeed a moment later.

    Attributes:
        reason: why it did not now.
        wait_s: what the server asks to wait; None where it says nothing.
        tries: so many are enough; None: as many as the options allow.
    """

    def __init__(self, reason: str, wait_s: float | None = None, tries: int | None = None):
        super().__init__(reason)
        self.reason, self.wait_s, self.tries = reason, wait_s, tries


def show_url(url: str) -> str:
    """A URL without user, query and fragment, since those may hold a token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def judge_status(answer: Response, url: str, target: Path) -> TryAgain | DownloadError:
    """What to raise for a status that brings no data."""
    status = answer.status_code
    if status in LATER:
        return TryAgain(f"the server answers {status} ({answer.reason})", _retry_after(answer))
    return DownloadError(f"{show_url(url)}: the server answers {status} ({answer.reason})", where=target,
                         mend=MENDS.get(status, "Look at the data set's homepage"))


def judge_failure(error: RequestException, url: str, target: Path) -> TryAgain | DownloadError:
    """What to raise for a request that had no answer, or broke off. The library's own text may hold the whole URL with
    a token in it, so it is not handed on."""
    from requests import exceptions

    text = str(error)
    if isinstance(error, exceptions.InvalidURL | exceptions.InvalidSchema | exceptions.MissingSchema |
                  exceptions.TooManyRedirects):
        return DownloadError(f"{show_url(url)} is no address to download from ({type(error).__name__})",
                             where=target, mend="Correct the URL, or the proxy in the environment")
    if isinstance(error, exceptions.SSLError) and "CERTIFICATE" in text.upper():
        return DownloadError(f"{show_url(url)}: the certificate of the server is not valid", where=target,
                             mend="Set REQUESTS_CA_BUNDLE if a proxy puts in its own; check the clock")
    if "NameResolution" in text or "Name or service not known" in text or "getaddrinfo" in text:
        return TryAgain("the server's name is not known (is there a network?)", tries=2)
    for sign, words in (("timed out", "no answer in time"), ("IncompleteRead", "the connection broke off"),
                        ("refused", "the server refuses the connection"), ("reset", "the connection broke off"),
                        ("EOF", "the connection broke off")):
        if sign in text:
            return TryAgain(words)
    return TryAgain(f"the connection failed ({type(error).__name__})")


def refuse_page(answer: Response, first: bytes, url: str, target: Path, trusted: bool) -> None:
    """Raise for a web page with status 200 in place of data: a quota, a login, a captive network.

    Args:
        answer: of the server.
        first: bytes of the body.
        url: that was asked for.
        target: file that it should become; one that is to be a page is let through.
        trusted: whether a published hash will decide, so that a wrong Content-Type alone is no reason.
    """
    if target.suffix.lower() in (".html", ".htm", ".xhtml"):
        return
    start = first[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    looks = start.startswith((b"<!doctype html", b"<html"))
    called = answer.headers.get("Content-Type", "").strip().lower().startswith(("text/html", "application/xhtml"))
    if not looks and (not called or trusted):
        return
    title = re.search(rb"<title[^>]*>\s*(.*?)\s*</title", first, re.S | re.I)
    said = f", titled {title[1].decode('utf-8', 'replace')[:80]!r}" if title else ""
    raise DownloadError(f"{show_url(url)}: a web page came in place of the file{said}", where=target,
                        mend="Open the address in a browser to see what it wants: a quota, a login, terms to accept")


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


def number(text: str | None) -> int | None:
    """Of a header; None where there is none."""
    return int(text) if text and text.strip().isdecimal() else None
