"""Checkpoints: whole or not there, with their sha256 beside, and read without running anything that they contain.

`run.ckpt` is torch's zip of tensors, numbers and texts. `run.ckpt.sha256` beside it is what `sha256sum` writes, with
the size as a comment, so `sha256sum -c run.ckpt.sha256` checks it too. While a checkpoint is replaced the record names
both the old file and the new one, so a kill at any moment leaves a checkpoint that passes.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rsnb.errors import InputError
from rsnb.files import atomic_path, require_file, write_text

_RECORD = re.compile(r"# (?P<size>\d+) bytes\n(?P<digest>[0-9a-f]{64})  ")
_CALLED = re.compile(r"GLOBAL (?P<name>[\w.]+)")  # how torch names what a pickle wants to call
_PLAIN = (str, int, float, bool, bytes, type(None), torch.Tensor)


def save_checkpoint(path: str | Path, state: Mapping[str, Any]) -> Path:
    """Write a checkpoint atomically, and its sha256 beside it; gives the path back.

    Args:
        path: of the file; its folder is made if need be.
        state: tensors, numbers and texts in dicts, lists and tuples, as every `state_dict()` is.

    Raises:
        InputError: something that could not be loaded again without running code, named by its key.
    """
    path = Path(path)
    _require_plain(state, "state")
    with atomic_path(path) as temporary:
        torch.save(dict(state), temporary)
        new = _record(path.name, temporary.stat().st_size, _sha256(temporary))
        record = record_path(path)
        before = record.read_text(encoding="utf-8") if record.is_file() and path.is_file() else ""
        write_text(record, before + new)
    write_text(record, new)
    return path


def load_checkpoint(path: str | Path, *, sha256: str | None = None, device: str = "cpu") -> dict[str, Any]:
    """Read a checkpoint after its size and sha256 were found right.

    Args:
        path: of the file.
        sha256: what it must be; None reads the record beside the file.
        device: where its tensors go.

    Raises:
        InputError: with a message of its own for each of: no file, no record, a file cut short, one whose bytes
            changed, one that asks to run code, one that is no checkpoint at all.
    """
    path = require_file(path, "checkpoint")
    _verify(path, _expected(path) if sha256 is None else {sha256.lower(): None})
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError) as error:
        wanted = _CALLED.search(str(error))
        if wanted is not None:
            raise InputError("the file holds more than numbers and texts: loading it would run code "
                             f"({wanted['name']}), which is refused", where=path,
                             mend="Use a checkpoint from a source you trust, saved as a state dict") from error
        raise InputError("this is no checkpoint that torch can read", where=path,
                         mend="Name a file that a training of this suite has written") from error
    if not isinstance(state, dict):
        raise InputError(f"the checkpoint is a {type(state).__name__}, not a dict", where=path)
    return state


def record_path(path: str | Path) -> Path:
    """Where the sha256 of a checkpoint is written: beside it, with .sha256 behind its name."""
    path = Path(path)
    return path.with_name(f"{path.name}.sha256")


def _verify(path: Path, expected: Mapping[str, int | None]) -> None:
    size, digest = path.stat().st_size, _sha256(path)
    if digest in expected:
        return
    larger = [n for n in expected.values() if n is not None and n > size]
    if larger and len(larger) == len(expected):
        raise InputError(f"the checkpoint was cut short: {size:,} of {larger[-1]:,} bytes are there", where=path,
                         mend="Copy or download it again, or resume from an earlier one")
    raise InputError(f"the checkpoint's bytes have changed: its sha256 begins with {digest[:8]}, not with "
                     f"{' or '.join(d[:8] for d in expected)}", where=path,
                     mend="Copy or download it again, or resume from an earlier one")


def _expected(path: Path) -> dict[str, int | None]:
    record = record_path(path)
    if not record.is_file():
        raise InputError("the checkpoint has no sha256 beside it, so nobody can say whether it is whole", where=path,
                         mend=f"Copy {record.name} along with it, or give its sha256")
    found = {m["digest"]: int(m["size"]) for m in _RECORD.finditer(record.read_text(encoding="utf-8"))}
    if not found:
        raise InputError("this holds no sha256", where=record, mend="Copy it again along with the checkpoint")
    return found


def _record(name: str, size: int, digest: str) -> str:
    return f"# {size} bytes\n{digest}  {name}\n"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_plain(value: Any, key: str) -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            _require_plain(name, f"a key of {key}")
            _require_plain(item, f"{key}[{name!r}]")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _require_plain(item, f"{key}[{i}]")
    elif not isinstance(value, _PLAIN) or type(value).__module__ == "numpy":
        raise InputError(f"{key} is a {type(value).__name__}, which cannot be loaded again without running code",
                         where="save_checkpoint", mend="Store tensors, numbers and texts in dicts and lists")
