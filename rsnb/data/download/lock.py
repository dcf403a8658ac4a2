"""`rsnb.lock.json` in the data folder: what each fetched file was when it was verified.

A file whose size and modification time are those of the record need not be hashed again. Where nobody publishes a
hash, the one of the first download is recorded ("first use"), and other bytes later are an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rsnb.errors import InputError
from rsnb.files import write_text

VERSION = 1


@dataclass(frozen=True)
class Record:
    """A file as it was when it was verified.

    Attributes:
        sha256: hex digest.
        bytes, mtime_ns: of the file then.
        url: where it came from, without query; empty if a person put it there.
        date: of the verification, ISO 8601, UTC.
        trust: "published" (the manifest gives a hash) or "first use".
    """

    sha256: str
    bytes: int
    mtime_ns: int
    url: str
    date: str
    trust: Literal["published", "first use"]

    def fits(self, path: Path) -> bool:
        """Whether the file looks untouched since."""
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.bytes, self.mtime_ns)


def lock_path(data_root: str | Path) -> Path:
    """Where the records of a data folder lie."""
    return Path(data_root) / "rsnb.lock.json"


def read_records(data_root: str | Path) -> dict[str, Record]:
    """{"<data set>/<path>": record}; empty where nothing was fetched yet.

    Raises:
        InputError: the file is damaged.
    """
    path = lock_path(data_root)
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["version"] != VERSION:
            raise InputError(f"version {values['version']} of the records is not known", where=path,
                             mend="Use the version of rsnb that wrote it, or newer")
        return {key: Record(**record) for key, record in values["files"].items()}
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the records are damaged ({error})", where=path,
                         mend="Remove the file: all data is then hashed anew, and trusted as it is") from None


def record(data_root: str | Path, key: str, path: Path, sha256: str, url: str = "", published: bool = False) -> Record:
    """Note a verified file; another process that does so at the same time loses nothing."""
    stat = path.stat()
    made = Record(sha256, stat.st_size, stat.st_mtime_ns, url, datetime.now(UTC).isoformat(timespec="seconds"),
                  "published" if published else "first use")
    with _locked(data_root):
        for torn in Path(data_root).glob(".rsnb.lock.????????.json"):  # of a process killed while it wrote
            torn.unlink(missing_ok=True)
        records = {**read_records(data_root), key: made}
        write_text(lock_path(data_root), json.dumps(
            {"version": VERSION, "files": {k: asdict(records[k]) for k in sorted(records)}}, indent=1) + "\n")
    return made


@contextmanager
def _locked(data_root: str | Path) -> Iterator[None]:
    from filelock import FileLock

    with FileLock(Path(data_root) / ".rsnb.lock.json.lock"):
        yield
