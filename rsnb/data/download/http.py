"""One file over HTTP, resumed after a kill and verified before it gets its name.

What is there already is `NAME.part`; `Range` with `If-Range` (RFC 9110, section 13.1.5) asks for the rest, provided
that it is still the same file. pooch hashes and names the result: `ResumingDownloader` is a downloader for any pooch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from rsnb.data.download.answers import DownloadError, show_url
from rsnb.data.download.disk import disk_error, sync_folder
from rsnb.data.download.parts import Part, claim, sweep_links
from rsnb.data.download.transfer import Expected, HttpOptions, fill, log
from rsnb.errors import InputError

AGAIN = "Try again, or another mirror; if it stays so, the publisher has changed the file"


class ChecksumError(DownloadError):
    """A file arrived whole, but it is another one than was expected; `actual` is its hash."""

    actual = ""


@dataclass(frozen=True)
class Downloaded:
    """A file that is there and verified.

    Attributes:
        path: where.
        sha256: hex digest.
        bytes: size.
        url: where it came from, without query; empty if it was there before.
    """

    path: Path
    sha256: str
    bytes: int
    url: str = ""


def download(urls: str | Sequence[str], path: str | Path, *, sha256: str | None = None, md5: str | None = None,
             bytes: int | None = None, options: HttpOptions | None = None) -> Downloaded:
    """Make sure that a file is there: what a former process got is kept, only the rest is fetched.

    Args:
        urls: one, or mirrors of the same bytes, tried in this order.
        path: of the file; `PATH.part` and `PATH.part.json` lie beside it until it is whole.
        sha256, md5: hex digests, where the publisher gives them. Without either the size alone is compared.
        bytes: size, where it is known.
        options: patience, headers, progress.

    Raises:
        ChecksumError: other bytes than published; both hashes are named, neither file nor part remains.
        DownloadError: no mirror gave the file; the part remains if it is of use.
        DiskError: the disk is full (the part remains), or the place cannot be written.
    """
    path, options = Path(path).expanduser().absolute(), options or HttpOptions()
    urls = (urls,) if isinstance(urls, str) else tuple(urls)
    if not urls:
        raise InputError("there is no address to download it from", where=path, mend="Give at least one URL")
    expected = Expected(sha256.lower() if sha256 else None, md5.lower() if md5 else None, bytes)
    with claim_target(path, options) as part:
        if path.is_file() and (part.waited or fits(path, expected)):
            check(path, expected, "another process wrote other bytes")
            part.discard()
            return Downloaded(path, sha256_of(path), path.stat().st_size)
        url = _from_mirrors(urls, part, expected, options)
        part.discard()
        sync_folder(path.parent)
    return Downloaded(path, expected.sha256 or sha256_of(path), path.stat().st_size, show_url(url))


@contextmanager
def claim_target(path: Path, options: HttpOptions) -> Iterator[Part]:
    """`parts.claim`, with the disk's refusals as errors that say what to do."""
    try:
        with claim(path, options.wait_s, log.warning) as part:
            yield part
    except OSError as error:
        raise disk_error(error, path) from None


class ResumingDownloader:
    """A downloader for pooch: `pooch.retrieve(url, ..., downloader=ResumingDownloader(path))`.

    Args:
        target: the file that it will become; its `.part` lies beside it. None: asked from the pooch, or, for
            `pooch.retrieve`, named by a hash of the URL in the same folder.
        expected: what is known of the file beforehand.
        options: patience, headers, progress.
        part: claimed by the caller, who discards it once the file is verified; until then it keeps the bytes.
    """

    def __init__(self, target: str | Path | None = None, expected: Expected | None = None,
                 options: HttpOptions | None = None, part: Part | None = None):
        self.target = None if target is None else Path(target)
        self.expected, self.options, self.part = expected or Expected(), options or HttpOptions(), part

    def __call__(self, url: str, output_file: str | Path, pooch=None, check_only: bool = False) -> bool | None:
        """Download to `output_file`; with `check_only` only say whether the server has it."""
        if check_only:
            import requests

            return requests.head(url, headers=dict(self.options.headers), allow_redirects=True,
                                 timeout=self.options.timeout_s).ok
        output_file = Path(output_file)
        if self.part is not None:
            fill(self.part, url, self.expected, self.options)
            _link(self.part.path, output_file)
            return None
        with claim_target(self._target(url, output_file, pooch), self.options) as part:
            fill(part, url, self.expected, self.options)
            os.replace(part.path, output_file)
            part.discard()
        return None

    def _target(self, url: str, output_file: Path, pooch) -> Path:
        if self.target is not None:
            return self.target
        if pooch is not None:
            for name in pooch.registry:
                if pooch.get_url(name) == url:
                    return Path(pooch.abspath) / name
        return output_file.parent / f"download-{sha256(url.encode()).hexdigest()[:16]}"


def _from_mirrors(urls: Sequence[str], part: Part, expected: Expected, options: HttpOptions) -> str:
    """Fill the part from the first mirror that has the right bytes, give it its name, and tell which mirror it was."""
    errors: list[DownloadError] = []
    for url in urls:
        try:
            _retrieve(url, part, expected, options)
            return url
        except DownloadError as error:
            errors.append(error)
            if len(errors) < len(urls):
                log.warning(f"{part.target.name}: {error.what}; trying the next mirror")
    raise all_failed(errors, part.target)


def all_failed(errors: Sequence[DownloadError], target: Path) -> DownloadError:
    """One error for all sources of a file that failed; other bytes than published are worth more than a silence."""
    if len(errors) == 1:
        return errors[0]
    wrong = next((error for error in errors if isinstance(error, ChecksumError)), errors[-1])
    made = type(wrong)("no mirror gave the file: " + "; ".join(error.what for error in errors), where=target,
                       mend=wrong.mend)
    if isinstance(wrong, ChecksumError):
        made.actual = wrong.actual
    return made


def _retrieve(url: str, part: Part, expected: Expected, options: HttpOptions) -> None:
    """One mirror through pooch, which hashes and renames."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # it announces each file, which our progress bar does already
    try:
        for _ in range(2):
            sweep_links(part.path)
            try:
                # pooch makes a file of its own first: with the bytes here before, a kill can hardly leave it behind
                fill(part, url, expected, options)
                if expected.known_hash is None and part.target.exists():
                    os.replace(part.path, part.target)  # it has another size, but without a hash pooch would keep it
                    return
                pooch.retrieve(url, expected.known_hash, part.target.name, part.target.parent,
                               downloader=ResumingDownloader(part.target, expected, options, part))
                return
            except InputError:
                raise
            except ValueError as error:
                sure = part.state.get("sure", True)
                part.discard()
                if sure:
                    raise _mismatch(error, url, part.target, expected) from None
                log.warning(f"{part.target.name}: the resumed file is a mixture of two; starting again from byte 0")
        raise DownloadError(f"{show_url(url)} gave a mixture of two files twice", where=part.target,
                            mend="Try again later")
    finally:
        logger.setLevel(level)


def _mismatch(error: ValueError, url: str, target: Path, expected: Expected) -> ChecksumError:
    found = re.search(r"but got ([0-9a-f]+)", str(error))
    actual = found[1] if found else "another one"
    return checksum_error(target, expected, actual, f"{show_url(url)} sent other bytes than published")


def checksum_error(path: Path, expected: Expected, actual: str, what: str, mend: str = AGAIN) -> ChecksumError:
    """The error for a file with another hash, naming both."""
    error = ChecksumError(f"{what}: {expected.algorithm} is {actual}, expected {expected.digest}", where=path,
                          mend=mend)
    error.actual = actual
    return error


def fits(path: Path, expected: Expected) -> bool:
    """Whether a file is the one, as far as anything is known of it."""
    if expected.bytes not in (None, path.stat().st_size):
        return False
    return expected.known_hash is None or sha256_of(path, expected.algorithm) == expected.digest


def check(path: Path, expected: Expected, what: str, mend: str = AGAIN) -> None:
    """Raise ChecksumError unless a file is the one; `what` begins the message."""
    if expected.bytes not in (None, path.stat().st_size):
        raise ChecksumError(f"{what}: {path.stat().st_size} bytes, expected {expected.bytes}", where=path, mend=mend)
    if expected.known_hash is not None:
        actual = sha256_of(path, expected.algorithm)
        if actual != expected.digest:
            raise checksum_error(path, expected, actual, what, mend)


def sha256_of(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return file_digest(file, algorithm).hexdigest()


def _link(part: Path, output_file: Path) -> None:
    """The same bytes under a second name, so that a kill while pooch hashes them loses nothing."""
    output_file.unlink(missing_ok=True)
    try:
        os.link(part, output_file)
    except OSError:  # a file system without hard links
        os.replace(part, output_file)
