"""Data manifests: one YAML file per data set, found in a clone and in an installed wheel alike."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import rsnb
from rsnb.errors import InputError

ACCESS = ("built", "open", "form")


@dataclass(frozen=True)
class Manifest:
    """What `data_manifests/README.md` says about each key."""

    name: str
    title: str
    access: str
    licence: str
    citation: str
    used_by: tuple[str, ...]
    tree: dict[str, str]
    command: str = ""


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
        InputError: no such manifest, or a key is unknown, missing or of the wrong kind.
    """
    import yaml

    path = manifests_folder() / f"{name}.yaml"
    if name not in manifest_names():
        raise InputError("there is no such manifest", where=path, mend=f"Choose among: {', '.join(manifest_names())}")
    text = path.read_text(encoding="utf-8")
    try:
        values = yaml.safe_load(text)
        lines = {key.value: key.start_mark.line + 1 for key, _ in yaml.compose(text).value}
    except (yaml.YAMLError, AttributeError, TypeError):
        raise InputError("this is not a YAML file of lines `key: value`", where=path) from None
    known = {field.name for field in fields(Manifest)}
    for key in values:
        if key not in known:
            raise InputError(f"unknown key {key!r}", where=path, line=lines.get(key),
                             mend=f"The keys are: {', '.join(sorted(known))}")
    missing = sorted(known - {"command"} - set(values))
    if missing:
        raise InputError(f"missing: {', '.join(missing)}", where=path, mend="See data_manifests/README.md")
    for key, kind in {"used_by": list, "tree": dict}.items():
        if not isinstance(values[key], kind):
            raise InputError(f"{key!r} must be a {kind.__name__}", where=path, line=lines[key])
    if values["access"] not in ACCESS:
        raise InputError(f"access is {values['access']!r}", where=path, line=lines["access"],
                         mend=f"Choose one of: {', '.join(ACCESS)}")
    return Manifest(**{**values, "used_by": tuple(values["used_by"])})
