"""What a manifest may hold: the rules of `data_manifests/README.md`, checked key by key with the line at fault.

A null says "nobody publishes this, or it could not be found out". Each null has an entry under `unknown` that says why
and where one asked; an entry without its null is a mistake too, so that a fact found later removes its excuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from rsnb.errors import InputError

KINDS = ("dataset", "weights", "catalogue")
ACCESS = ("built", "open", "drive", "form", "mail", "gated")


@dataclass(frozen=True)
class Key:
    """One key: the Python types of its value, whether it may be null, and the kinds of manifest that must have it."""

    types: type | tuple[type, ...]
    nullable: bool = False
    needed_by: tuple[str, ...] = ()


TOP = {
    "name": Key(str, needed_by=KINDS),
    "title": Key(str, needed_by=KINDS),
    "kind": Key(str, needed_by=KINDS),
    "access": Key(str, needed_by=KINDS),
    "homepage": Key(str, nullable=True),
    "ask": Key(str),
    "command": Key(str),
    "files": Key(list, needed_by=("weights",)),
    "licence": Key(dict, needed_by=KINDS),
    "citation": Key(str, needed_by=KINDS),
    "sensor": Key(str, nullable=True, needed_by=("dataset",)),
    "gsd_m": Key((int, float, list), nullable=True),
    "tree": Key(dict, needed_by=("dataset",)),
    "counts": Key(dict, needed_by=("dataset",)),
    "used_by": Key(list, needed_by=KINDS),
    "loads_into": Key(dict, needed_by=("weights",)),
    "endpoints": Key(dict, needed_by=("catalogue",)),
    "unknown": Key(dict),
}
FILE = {
    "path": Key(str, needed_by=KINDS),
    "urls": Key(list),
    "bytes": Key(int, nullable=True, needed_by=KINDS),
    "sha256": Key(str, nullable=True, needed_by=KINDS),
    "md5": Key(str),
    "bytes_about": Key(int),
    "unpack": Key(str),
    "drive_id": Key(str, nullable=True),
    "optional": Key(bool),
}
LICENCE = {"name": Key(str, nullable=True, needed_by=KINDS), "url": Key(str, nullable=True), "text": Key(str)}
LOADS_INTO = {"converter": Key(str), "why_not": Key(str)}
EXCUSE = {"why": Key(str, needed_by=KINDS), "asked_where": Key(str, needed_by=KINDS)}
_DIGESTS = {"sha256": 64, "md5": 32}
_WORDS = {str: "text", list: "a list", dict: "a mapping of keys to values", int: "a whole number", float: "a number",
          bool: "true or false"}


@dataclass
class Checker:
    """Checks one manifest; remembers the nulls on the way.

    Attributes:
        values: the manifest as a mapping, nothing trusted yet.
        where: the file, for messages.
        lines: {path of keys and list positions: line in the file}.
        nulls: {dotted key: path}, filled by `check`.
    """

    values: Mapping[str, Any]
    where: str | Path
    lines: Mapping[tuple, int] = field(default_factory=dict)
    nulls: dict[str, tuple] = field(default_factory=dict)

    def check(self) -> dict[str, dict[str, str]]:
        """Raise InputError for the first fault; gives `unknown` back with one dotted key for each null."""
        kind = self.values.get("kind", "dataset")
        if kind not in KINDS:
            self.refuse(("kind",), f"kind is {kind!r}", f"Choose one of: {', '.join(KINDS)}")
        self._keys(self.values, (), TOP, kind)
        if self.values["access"] not in ACCESS:
            self.refuse(("access",), f"access is {self.values['access']!r}", f"Choose one of: {', '.join(ACCESS)}")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.values["name"]):
            self.refuse(("name",), f"name is {self.values['name']!r}", "Use small letters, digits and _")
        self._licence(kind)
        self._files(kind)
        self._access()
        self._scalars()
        if kind == "weights":
            self._loads_into(kind)
        return self._unknown(kind)

    def refuse(self, path: tuple, what: str, mend: str | None = None) -> NoReturn:
        """The error, with the line of the innermost key of `path` that stands in the file."""
        places = (path[:n] for n in range(len(path), 0, -1))
        raise InputError(what, where=self.where, line=next((self.lines[p] for p in places if p in self.lines), None),
                         mend=mend)

    def dotted(self, path: tuple) -> str:
        """`files.train.zip.sha256` for ("files", 0, "sha256"), where the first file's path is train.zip."""
        if len(path) > 1 and path[0] == "files":
            return ".".join(["files", str(self.values["files"][path[1]].get("path", path[1])), *map(str, path[2:])])
        return ".".join(str(part) for part in path)

    def _keys(self, values: Mapping, path: tuple, keys: Mapping[str, Key], kind: str) -> None:
        """Unknown and missing keys, and values of the wrong type."""
        for name, value in values.items():
            here = (*path, name)
            if name not in keys:
                self.refuse(here, f"unknown key {self.dotted(here)!r}", f"The keys are: {', '.join(sorted(keys))}")
            key = keys[name]
            if value is None:
                if not key.nullable:
                    self.refuse(here, f"{self.dotted(here)!r} must not be null", "Give it, or leave the key out")
                self.nulls[self.dotted(here)] = here
                continue
            types = key.types if isinstance(key.types, tuple) else (key.types,)
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                wanted = " or ".join(_WORDS[t] for t in types)
                hint = "Put it in quotes" if str in types and isinstance(value, int | float | bool) else None
                self.refuse(here, f"{self.dotted(here)!r} must be {wanted}, not {value!r}", hint)
            if value == "" and key.needed_by:
                self.refuse(here, f"{self.dotted(here)!r} is empty")
        missing = [name for name, key in keys.items() if kind in key.needed_by and name not in values]
        if missing:
            inside = f" in {self.dotted(path)}" if path else ""
            self.refuse(path, f"missing{inside}: {', '.join(missing)}", "See data_manifests/README.md")

    def _licence(self, kind: str) -> None:
        licence = self.values["licence"]
        self._keys(licence, ("licence",), LICENCE, kind)
        if "url" not in licence and not licence.get("text"):
            self.refuse(("licence",), "the licence has neither url nor text",
                        "Give one of them, or `url: null` with a reason under `unknown`")
        self._web_address(licence.get("url"), ("licence", "url"))

    def _files(self, kind: str) -> None:
        seen = {}
        for i, file in enumerate(self.values.get("files", [])):
            here = ("files", i)
            if not isinstance(file, Mapping):
                self.refuse(here, f"file {i} must be a mapping with a path", "See data_manifests/README.md")
            self._keys(file, here, FILE, kind)
            for key in ("path", "unpack"):
                if key in file:
                    self._inside(file[key], (*here, key))
            if file["path"].casefold() in seen:
                self.refuse((*here, "path"), f"{file['path']!r} stands twice among the files")
            seen[file["path"].casefold()] = i
            for n, url in enumerate(file.get("urls", [])):
                self._web_address(url, (*here, "urls", n))
            if file["bytes"] is not None and file["bytes"] < 0:
                self.refuse((*here, "bytes"), f"bytes of {file['path']} is {file['bytes']}")
            for key, length in _DIGESTS.items():
                if file.get(key) is not None and not re.fullmatch(f"[0-9a-f]{{{length}}}", file[key]):
                    self.refuse((*here, key), f"{key} of {file['path']} is {file[key]!r}",
                                f"Write {length} digits 0-9a-f, small letters")

    def _inside(self, text: str, path: tuple) -> None:
        """A relative path with / that stays inside the data set's folder on every system."""
        parts = PurePosixPath(text).parts
        strange = re.search(r'[\\:*?"<>|\x00-\x1f]', text)
        if strange or text.startswith("/") or ".." in parts or (not parts and text != "."):
            self.refuse(path, f"{self.dotted(path)!r} is {text!r}", "Write a relative path with /, without ..")

    def _web_address(self, url: Any, path: tuple) -> None:
        if url is not None and not (isinstance(url, str) and re.match(r"https?://[^\s/]+", url)):
            self.refuse(path, f"{self.dotted(path)!r} is {url!r}", "Write an address that starts with https://")

    def _access(self) -> None:
        """What each way of access needs."""
        access, files = self.values["access"], self.values.get("files", [])
        if (access == "built") != bool(self.values.get("command")):
            self.refuse(("access",), "a command belongs to access: built, and to no other",
                        "Give `command`, or another access")
        if access != "built" and "homepage" not in self.values:
            self.refuse((), "missing: homepage", "See data_manifests/README.md")
        self._web_address(self.values.get("homepage"), ("homepage",))
        if access in ("drive", "form", "mail", "gated") and not self.values.get("ask"):
            self.refuse(("access",), f"access is {access}, but `ask` does not say how a person gets the files")
        if self.values.get("kind") != "catalogue" and access not in ("built", "open") and not files:
            self.refuse(("access",), "no file is named that could be checked on arrival", "List the files")
        for i, file in enumerate(files):
            if access == "open" and not file.get("urls"):
                self.refuse(("files", i), f"access is open, but {file['path']} has no urls")
            if access == "drive" and not file.get("urls") and "drive_id" not in file:
                self.refuse(("files", i), f"access is drive, but {file['path']} has neither drive_id nor urls")

    def _scalars(self) -> None:
        """Lists and mappings whose values have one type each."""
        gsd = self.values.get("gsd_m")
        for value in gsd if isinstance(gsd, list) else [] if gsd is None else [gsd]:
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
                self.refuse(("gsd_m",), f"gsd_m holds {value!r}", "Write metres a pixel")
        for i, number in enumerate(self.values["used_by"]):
            if not (isinstance(number, str) and re.fullmatch(r"0[1-9]", number)):
                self.refuse(("used_by", i), f"used_by holds {number!r}", 'Write numbers of notebooks as "01"')
        for key, kinds, wanted in (("tree", str, "text"), ("endpoints", str, "text"), ("counts", int, "a number")):
            for name, value in self.values.get(key, {}).items():
                here = (key, name)
                if value is None and key == "counts":
                    self.nulls[self.dotted(here)] = here
                elif not isinstance(value, kinds) or isinstance(value, bool) or not isinstance(name, str):
                    self.refuse(here, f"{self.dotted(here)!r} must be {wanted}, not {value!r}")
                elif key == "endpoints":
                    self._web_address(value, here)

    def _loads_into(self, kind: str) -> None:
        target = self.values["loads_into"]
        self._keys(target, ("loads_into",), LOADS_INTO, kind)
        if len(target) != 1:
            self.refuse(("loads_into",), "loads_into holds one of `converter` and `why_not`")
        if not re.fullmatch(r"[a-z_.]+[a-z0-9_.]*:[a-z_][a-z0-9_]*", target.get("converter", "a:b")):
            self.refuse(("loads_into", "converter"), f"converter is {target['converter']!r}",
                        "Write package.module:function")

    def _unknown(self, kind: str) -> dict[str, dict[str, str]]:
        """Nulls and their excuses, matched one to one."""
        excused = {}
        for key, excuse in self.values.get("unknown", {}).items():
            here = ("unknown", key)
            if not isinstance(excuse, Mapping):
                self.refuse(here, f"unknown {key!r} must hold why and asked_where")
            self._keys(excuse, here, EXCUSE, kind)
            covered = [null for null in self._meant(str(key)) if null in self.nulls and null not in excused]
            if not covered:
                self.refuse(here, f"unknown {key!r} excuses nothing: there is no such null",
                            "Remove the entry, or correct its key")
            excused.update({null: dict(excuse) for null in covered})
        for null, path in self.nulls.items():
            if null not in excused:
                self.refuse(path, f"{null!r} is null, but `unknown` does not say why",
                            f"Find it out, or add unknown: {{{null}: {{why: ..., asked_where: ...}}}}")
        return excused

    def _meant(self, key: str) -> Iterator[str]:
        """The dotted keys that an entry of `unknown` stands for: files by path, by [position], or all by [*]."""
        found = re.fullmatch(r"files\[(\d+|\*)\]\.(\w+)", key)
        if not found:
            yield key
            return
        for i in range(len(self.values.get("files", []))):
            if found[1] in ("*", str(i)):
                yield self.dotted(("files", i, found[2]))
