"""Data manifests: one YAML file per data set, weight file or catalogue, found in a clone and in a wheel alike.

The keys are described in `data_manifests/README.md` and checked by `rsnb.data.manifest_schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import rsnb
from rsnb.data.manifest_schema import Checker
from rsnb.errors import InputError


@dataclass(frozen=True)
class Licence:
    """Terms of use.

    Attributes:
        name: SPDX identifier where there is one; "none stated" where the publisher states none; None: see `unknown`.
        url: where the terms stand.
        text: the terms in a sentence, or what is special about them.
    """

    name: str | None
    url: str | None = None
    text: str = ""


@dataclass(frozen=True)
class ManifestFile:
    """One file of a data set as it is published.

    Attributes:
        path: where it goes, relative to the data set's folder, with /.
        urls: mirrors with the same bytes, best first; empty where a person must fetch it.
        bytes: size; None where nobody publishes it.
        bytes_about: the size rounded as a page shows it, where there is no exact one: for planning only, never checked.
        sha256: hex digest; None where nobody publishes one: trusted on first use, recorded in the lock file.
        md5: hex digest, where the publisher gives this one; checked as well.
        unpack: folder, relative, into which the archive is unpacked ("." for the data set's own); None: kept as is.
        drive_id: id of the file on Google Drive.
        optional: the notebooks run without it; fetched only when asked for.
    """

    path: str
    urls: tuple[str, ...] = ()
    bytes: int | None = None
    bytes_about: int | None = None
    sha256: str | None = None
    md5: str | None = None
    unpack: str | None = None
    drive_id: str | None = None
    optional: bool = False


@dataclass(frozen=True)
class Manifest:
    """One data set, weight file or catalogue; `data_manifests/README.md` says more about each key.

    Attributes:
        name: short name, the same as the file's.
        title: one line for people.
        kind: "dataset", "weights" or "catalogue" (searched, not fetched as a whole).
        access: "built" (this package makes it), "open" (plain download), "drive" (Google Drive), "form", "mail" (a
            person asks), "gated" (an account or a click on terms).
        licence: terms of use.
        citation: how to cite it.
        used_by: numbers of the notebooks that use it.
        homepage: None where there is none.
        ask: how a person gets the files, or what a catalogue wants; empty for an open download.
        command: what makes it, for "built".
        files: the published files; empty for "built" and catalogues.
        sensor: what took the pictures.
        gsd_m: metres a pixel, one number or several.
        tree: {relative path or pattern: what it is}, after unpacking.
        counts: {what: how many}, in the words that the format's audit counts in; None: unknown.
        loads_into: {"converter": "package.module:function"} or {"why_not": text}; weights only.
        endpoints: {what: address} of interfaces and folders besides the files.
        unknown: {dotted key of each null: {"why": text, "asked_where": text}}.
    """

    name: str
    title: str
    kind: Literal["dataset", "weights", "catalogue"]
    access: Literal["built", "open", "drive", "form", "mail", "gated"]
    licence: Licence
    citation: str
    used_by: tuple[str, ...]
    homepage: str | None = None
    ask: str = ""
    command: str = ""
    files: tuple[ManifestFile, ...] = ()
    sensor: str | None = None
    gsd_m: float | tuple[float, ...] | None = None
    tree: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int | None] = field(default_factory=dict)
    loads_into: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def known_counts(self) -> dict[str, int]:
        """`counts` without those that nobody publishes."""
        return {what: number for what, number in self.counts.items() if number is not None}


def manifests_folder() -> Path:
    """The folder of manifests: inside the package (a wheel), or beside it (a clone)."""
    package = Path(rsnb.__file__).parent
    for folder in (package / "data_manifests", package.parent / "data_manifests"):
        if (folder / "city.yaml").is_file():
            return folder
    raise InputError("the data manifests are missing", where=package, mend="Install the package again")


def manifest_names() -> list[str]:
    """Names of all manifests."""
    return sorted(path.stem for path in manifests_folder().glob("*.yaml"))


def read_manifest(name: str) -> Manifest:
    """The manifest of a data set.

    Raises:
        InputError: no such manifest, or a key is unknown, missing or wrong: the message names file, line and key.
    """
    path = manifests_folder() / f"{name}.yaml"
    if name not in manifest_names():
        raise InputError("there is no such manifest", where=path, mend=f"Choose among: {', '.join(manifest_names())}")
    values, lines = _load(path)
    manifest = parse_manifest(values, path, lines)
    if manifest.name != name:
        raise InputError(f"name is {manifest.name!r}, the file is called {name}", where=path, line=lines.get(("name",)),
                         mend="Give both the same name")
    return manifest


def parse_manifest(values: Mapping[str, Any], where: str | Path, lines: Mapping[tuple, int] | None = None) -> Manifest:
    """A manifest from plain values, checked.

    Args:
        values: what the YAML file holds.
        where: for messages.
        lines: {path of keys and list positions: line}, where the values come from a file.

    Raises:
        InputError: a key is unknown, missing or wrong.
    """
    unknown = Checker(values, where, lines or {}).check()
    made = dict(values)
    made["licence"] = Licence(**values["licence"])
    made["files"] = tuple(ManifestFile(**{**file, "urls": tuple(file.get("urls", ()))})
                          for file in values.get("files", ()))
    made["used_by"] = tuple(values["used_by"])
    made["unknown"] = unknown
    if isinstance(values.get("gsd_m"), list):
        made["gsd_m"] = tuple(values["gsd_m"])
    return Manifest(**made)


def _load(path: Path) -> tuple[dict, dict[tuple, int]]:
    """Values of a YAML file and the line of each key; a key that stands twice is an error."""
    import yaml

    lines: dict[tuple, int] = {}

    def walk(node: yaml.Node, at: tuple) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*at, key.value)
                if here in lines:
                    raise InputError(f"key {key.value!r} stands twice, first in line {lines[here]}", where=path,
                                     line=key.start_mark.line + 1, mend="Remove one of the two")
                lines[here] = key.start_mark.line + 1
                walk(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                lines[(*at, i)] = value.start_mark.line + 1
                walk(value, (*at, i))

    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise InputError("this is not UTF-8 text", where=path, line=content.count(b"\n", 0, error.start) + 1,
                         mend="Save the file as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(f"this is not YAML ({getattr(error, 'problem', None) or 'unreadable'})", where=path,
                         line=mark.line + 1 if mark else None, mend="Check indentation, colons and quotes") from None
    if not isinstance(values, dict):
        raise InputError("this is not a YAML file of lines `key: value`", where=path, line=1)
    walk(root, ())
    return values, lines
