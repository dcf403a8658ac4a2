"""A data set from its manifest: planned, downloaded or asked for, verified, recorded, unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rsnb.data.download import lock
from rsnb.data.download.answers import DownloadError
from rsnb.data.download.disk import disk_error, require_room
from rsnb.data.download.drive import download_from_drive
from rsnb.data.download.http import ChecksumError, Downloaded, all_failed, check, checksum_error, download, sha256_of
from rsnb.data.download.parts import sweep
from rsnb.data.download.plan import BY_HAND, FetchPlan, Place, choose, locate, plan_fetch
from rsnb.data.download.transfer import Expected, HttpOptions
from rsnb.data.download.unpack import unpack
from rsnb.data.manifest import Manifest
from rsnb.errors import InputError

__all__ = ["FetchPlan", "FetchResult", "fetch", "plan_fetch"]


@dataclass(frozen=True)
class FetchResult:
    """What a fetch did.

    Attributes:
        plan: that it began with.
        done: files that are there and verified (or unpacked, with their archive removed).
        failed: (path in the manifest, why) of the others.
        by_hand: paths that a person must get; `plan.instructions` says how.
    """

    plan: FetchPlan
    done: tuple[str, ...]
    failed: tuple[tuple[str, InputError], ...]
    by_hand: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Of the data set."""
        return self.plan.folder

    @property
    def ok(self) -> bool:
        """Nothing failed; files may still wait for a person."""
        return not self.failed

    @property
    def complete(self) -> bool:
        """Everything that was asked for is there; of what is built or searched, nothing is."""
        manifest = self.plan.manifest
        asked = manifest.kind != "catalogue" and manifest.access in BY_HAND and not manifest.files
        return not self.failed and not self.by_hand and not asked

    def text(self) -> str:
        """A few lines for people."""
        name = self.plan.manifest.name
        total = len(self.done) + len(self.failed) + len(self.by_hand)
        lines = [f"{name}: {len(self.done)} of {total} files verified in {self.folder}"] if total else []
        lines += [f"  failed: {path}: {error}" for path, error in self.failed]
        if self.by_hand:
            lines.append(f"{name}: {', '.join(self.by_hand[:3])}{' ...' if len(self.by_hand) > 3 else ''}: "
                         "a person must get this, see above")
        return "\n".join(lines)


def fetch(manifest: Manifest, data_root: str | Path, verify: bool = False, progress: bool = True,
          only: Sequence[str] = (), options: HttpOptions | None = None) -> FetchResult:
    """Bring a data set to `<data_root>/<name>`: what is there and verified is left alone.

    Each file is downloaded (or, behind a form, taken from where a person has put it), compared with the manifest, noted
    in `rsnb.lock.json`, and unpacked where the manifest says so. Where one file fails the others go on.

    Args:
        manifest: what to fetch.
        data_root: folder of all data sets.
        verify: hash everything again, unpacked files too, whatever the records say.
        progress: show a bar for each download.
        only: globs over the files' paths, optional ones included.
        options: patience of the downloads.

    Raises:
        DiskError: the downloads do not fit; nothing was begun.
        InputError: `only` fits no file, or the lock file is damaged.
    """
    root = Path(data_root).expanduser().absolute()
    plan = plan_fetch(manifest, root, only)
    if not plan.fits:
        require_room(plan.folder, plan.bytes, f"what is missing of {manifest.name}")
    options = replace(options or HttpOptions(), progress=progress)
    done: list[str] = []
    failed: list[tuple[str, InputError]] = []
    by_hand: list[str] = []
    for place in locate(manifest, root, choose(manifest, only)):
        try:
            (done if _bring(place, root, verify, options) else by_hand).append(place.file.path)
        except InputError as error:
            failed.append((place.file.path, error))
        except OSError as error:
            failed.append((place.file.path, disk_error(error, error.filename or place.path)))
    return FetchResult(plan, tuple(done), tuple(failed), tuple(by_hand))


def _bring(place: Place, root: Path, verify: bool, options: HttpOptions) -> bool:
    """One file, there and verified at the end; False if a person must get it."""
    state, url = place.state, place.record.url if place.record else ""
    if state == "absent" and not place.sources:
        return False
    if state == "absent":
        found = _download(place, options)
        digest, url = found.sha256, found.url
    elif state == "unpacked":
        digest = place.stamp.archive_sha256
    elif state == "unverified" or verify:
        digest = _adopt(place)
    else:
        digest = place.record.sha256
    sweep(place.path)
    if state != "unpacked":
        if place.into is not None:  # before it is noted: what cannot be unpacked is not to be trusted as its first use
            unpack(place.path, place.into, digest, progress=options.progress, tree=place.tree)
        if not _is_noted(place, digest):
            lock.record(root, place.key, place.path, digest, url, published=bool(place.file.sha256))
    if verify and place.into is not None:
        _verify_unpacked(place)
    return True


def _is_noted(place: Place, digest: str) -> bool:
    """Whether the records say so already; a hash that has been published since the first use is noted anew."""
    known = place.record
    return known is not None and known.sha256 == digest and known.fits(place.path) and (
        known.trust == "published" or not place.file.sha256)


def _download(place: Place, options: HttpOptions) -> Downloaded:
    file, known = place.file, place.record
    first_use = known is not None and not file.sha256 and not file.md5
    expected = Expected(known.sha256 if first_use else file.sha256, file.md5, file.bytes)
    errors: list[DownloadError] = []
    try:
        if place.urls:
            try:
                return download(place.urls, place.path, sha256=expected.sha256, md5=expected.md5,
                                bytes=expected.bytes, options=options)
            except DownloadError as error:
                errors.append(error)
        if place.drive_id:
            return download_from_drive(place.drive_id, place.path, expected, options)
    except DownloadError as error:
        errors.append(error)
    error = all_failed(errors, place.path)
    raise _changed(place, error.actual) if first_use and getattr(error, "actual", "") else error


def _adopt(place: Place) -> str:
    """The hash of a file that is there, compared with the manifest and with its first use.

    Raises:
        ChecksumError: naming both hashes; the file is left as it is.
    """
    file, what = place.file, "this is not the published file"
    mend = "Move it away, and fetch again" if place.sources else "Move it away, and put the published one there"
    check(place.path, Expected(None, file.md5, file.bytes), what, mend)
    digest = sha256_of(place.path)
    if file.sha256 and digest != file.sha256.lower():
        raise checksum_error(place.path, Expected(file.sha256), digest, what, mend)
    if place.record is not None and not file.sha256 and not file.md5 and digest != place.record.sha256:
        raise _changed(place, digest)
    return digest


def _changed(place: Place, digest: str) -> ChecksumError:
    error = ChecksumError(
        f"nobody publishes a hash of this file, and it is another one than at its first use on {place.record.date}: "
        f"sha256 is {digest}, was {place.record.sha256}", where=place.path,
        mend=f"Remove the file to fetch it again; if the publisher has changed it, also remove {place.key!r} from "
             "rsnb.lock.json")
    error.actual = digest
    return error


def _verify_unpacked(place: Place) -> None:
    faults = place.stamp.faults(hashes=True) if place.stamp else []
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise InputError(f"{', '.join(faults[:3])}{more} changed since {place.path.name} was unpacked here",
                         where=place.into, mend="Remove them, and fetch again: they are unpacked anew")
