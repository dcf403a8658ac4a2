"""What a fetch would do, found out without a network: needed minus present, bytes, free space, and who must act."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal

from rsnb.data.download.disk import MARGIN, free_bytes, size_text
from rsnb.data.download.drive import drive_id_of
from rsnb.data.download.lock import Record, read_records
from rsnb.data.download.unpack import Unpacked, read_stamp
from rsnb.data.manifest import Manifest, ManifestFile
from rsnb.errors import InputError

State = Literal["verified", "unpacked", "unverified", "absent"]
BY_HAND = ("form", "mail", "gated")


@dataclass(frozen=True)
class Place:
    """Where one file of a manifest lies, and what is known of it.

    Attributes:
        file: of the manifest.
        key: in the lock file.
        path: of the file.
        into: folder that it is unpacked into, or None.
        record: of the lock file, or None.
        tree: paths and patterns of the manifest's tree, relative to `into`.
    """

    file: ManifestFile
    key: str
    path: Path
    into: Path | None
    record: Record | None
    tree: tuple[str, ...] = ()

    @property
    def stamp(self) -> Unpacked | None:
        """What it was unpacked to, if that is this very archive."""
        stamp = None if self.into is None else read_stamp(self.into, self.path.name)
        known = self.file.sha256 or (self.record.sha256 if self.record else None)
        return stamp if stamp is not None and stamp.archive_sha256 == (known or stamp.archive_sha256) else None

    @property
    def state(self) -> State:
        """By size and time alone, nothing is read: "verified" and not touched since, "unpacked" (the archive itself
        has been removed), "unverified" (it is there and must be hashed), or "absent"."""
        if self.path.is_file():
            published = self.file.sha256
            sure = self.record is not None and self.record.fits(self.path)
            return "verified" if sure and published in (None, self.record.sha256) else "unverified"
        stamp = self.stamp
        return "unpacked" if stamp is not None and not stamp.faults() else "absent"

    @property
    def sources(self) -> bool:
        """Whether a program can get it: an address, or an id on Google Drive."""
        return bool(self.file.urls or self.file.drive_id)

    @property
    def drive_id(self) -> str | None:
        """Its id on Google Drive, given as such or in a link."""
        return self.file.drive_id or next((i for i in map(drive_id_of, self.file.urls) if i), None)

    @property
    def urls(self) -> tuple[str, ...]:
        """Its addresses for a plain download."""
        return tuple(url for url in self.file.urls if drive_id_of(url) is None)


@dataclass(frozen=True)
class FetchPlan:
    """What a fetch would do.

    Attributes:
        manifest: of the data set.
        folder: of the data set.
        needed: files to download.
        present: files that are there, verified and untouched since.
        unverified: files that are there and would be hashed.
        to_unpack: archives that are there or will be, and whose content is not.
        by_hand: files that a person must get.
        skipped: files that were not asked for.
        bytes: to download, as far as it is published (exactly or rounded), less what parts hold already.
        rounded: whether some of those sizes are rounded.
        unknown: how many needed files have no published size.
        resumed: bytes that parts hold already.
        free_bytes: on the disk.
        instructions: what a person must do; empty if nothing.
    """

    manifest: Manifest
    folder: Path
    needed: tuple[ManifestFile, ...]
    present: tuple[ManifestFile, ...]
    unverified: tuple[ManifestFile, ...]
    to_unpack: tuple[ManifestFile, ...]
    by_hand: tuple[ManifestFile, ...]
    skipped: tuple[ManifestFile, ...]
    bytes: int
    rounded: bool
    unknown: int
    resumed: int
    free_bytes: int
    instructions: str

    @property
    def fits(self) -> bool:
        """Whether the downloads fit on the disk, as far as their sizes are known. What archives unfold to is judged
        when they are there, before the first byte is written."""
        return self.bytes == 0 or self.bytes <= self.free_bytes - MARGIN

    def text(self) -> str:
        """A few lines for people."""
        licence = self.manifest.licence
        terms = ", ".join(filter(None, (licence.name, licence.url))) or licence.text or "none stated"
        lines = [f"{self.manifest.name}: {self.manifest.title}", f"  folder     {self.folder}", f"  licence    {terms}"]
        if self.needed:
            size = ("about " if self.rounded else "") + size_text(self.bytes)
            if self.unknown:
                size = f"{size} and {self.unknown} " if self.unknown < len(self.needed) else ""
                size += "of unknown size"
            kept = f"; {size_text(self.resumed)} are here from before" if self.resumed else ""
            lines.append(f"  download   {_files(self.needed)}, {size}{kept}; {size_text(self.free_bytes)} are free"
                         + ("" if self.fits else ": IT DOES NOT FIT"))
        for label, files in (("verify", self.unverified), ("unpack", self.to_unpack), ("there", self.present),
                             ("optional" if all(f.optional for f in self.skipped) else "left out", self.skipped)):
            if files:
                lines.append(f"  {label:10} {_files(files)}")
        if self.instructions:
            label = "by hand" if self.by_hand else "how"
            lines += [f"  {label:10} " + self.instructions.replace("\n", "\n             ")]
        if len(lines) == 3:
            lines.append("  nothing to do")
        return "\n".join(lines)


def plan_fetch(manifest: Manifest, data_root: str | Path, only: Sequence[str] = ()) -> FetchPlan:
    """Say what `fetch` would do; no network is asked, and no file is read.

    Args:
        manifest: of a data set, weights or catalogue.
        data_root: the data set's folder is `<data_root>/<name>`.
        only: globs over the files' paths; with them optional files count as well. Empty: all that are not optional.

    Raises:
        InputError: `only` fits no file, or the lock file is damaged.
    """
    root = Path(data_root).expanduser().absolute()
    chosen = choose(manifest, only)
    places = locate(manifest, root, chosen)
    by_state: dict[State, list[Place]] = {"verified": [], "unpacked": [], "unverified": [], "absent": []}
    for place in places:
        by_state[place.state].append(place)
    needed = [place for place in by_state["absent"] if place.sources]
    by_hand = [place for place in by_state["absent"] if not place.sources]
    here = by_state["verified"] + by_state["unverified"]
    to_unpack = [place for place in here + needed if place.into is not None and place.stamp is None]
    parts = {place: _part_bytes(place) for place in needed}
    sizes = {place: place.file.bytes if place.file.bytes is not None else place.file.bytes_about for place in needed}
    known = [place for place in needed if sizes[place] is not None]
    return FetchPlan(
        manifest, root / manifest.name, *(tuple(place.file for place in group) for group in (
            needed, by_state["verified"] + by_state["unpacked"], by_state["unverified"], to_unpack, by_hand)),
        skipped=tuple(file for file in manifest.files if file not in chosen),
        bytes=sum(max(sizes[place] - parts[place], 0) for place in known),
        rounded=any(place.file.bytes is None for place in known),
        unknown=len(needed) - len(known), resumed=sum(parts.values()), free_bytes=free_bytes(root),
        instructions=_instructions(manifest, root / manifest.name, by_hand))


def choose(manifest: Manifest, only: Sequence[str] = ()) -> tuple[ManifestFile, ...]:
    """The files that are asked for."""
    if not only:
        return tuple(file for file in manifest.files if not file.optional)
    chosen = tuple(file for file in manifest.files if any(fnmatchcase(file.path, glob) for glob in only))
    if not chosen:
        paths = [file.path for file in manifest.files]
        more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
        raise InputError(f"{manifest.name} has no file like {' or '.join(only)}", where="--only",
                         mend=f"Its files are: {', '.join(paths[:5])}{more}" if paths else "It has no files to fetch")
    return chosen


def locate(manifest: Manifest, root: Path, files: Sequence[ManifestFile]) -> list[Place]:
    """Where each file lies.

    Raises:
        InputError: a path of the manifest leads out of the data set's folder.
    """
    records: Mapping[str, Record] = read_records(root)
    folder = root / manifest.name
    places = []
    for file in files:
        for inner in (file.path, file.unpack or "."):
            if PurePosixPath(inner).is_absolute() or ".." in PurePosixPath(inner).parts or "\\" in inner:
                raise InputError(f"the path {inner!r} leads out of the data set's folder", where=manifest.name,
                                 mend="Correct the manifest")
        key = f"{manifest.name}/{file.path}"
        into = None if file.unpack is None else folder / file.unpack
        tree = () if file.unpack is None else tuple(_inside(manifest.tree, PurePosixPath(file.unpack)))
        places.append(Place(file, key, folder / file.path, into, records.get(key), tree))
    return places


def _inside(tree: Mapping[str, str], folder: PurePosixPath) -> Iterator[str]:
    """The patterns of a manifest's tree that lie in one of its folders, relative to that folder."""
    for pattern in (pattern for entry in tree for pattern in entry.split(", ")):
        parts = PurePosixPath(pattern).parts
        above = len(folder.parts)
        if len(parts) > above and all(map(fnmatchcase, folder.parts, parts)):
            yield "/".join(parts[above:])


def _part_bytes(place: Place) -> int:
    """What former downloads have got of a file."""
    if not place.path.parent.is_dir():
        return 0
    start = f"{place.path.name}.part"
    return max((path.stat().st_size for path in place.path.parent.iterdir() if path.name == start or (
        path.name.startswith(f"{start}.") and path.name.count("-") >= 3)), default=0)


def _instructions(manifest: Manifest, folder: Path, by_hand: Sequence[Place]) -> str:
    if manifest.access == "built":
        return f"It is built here, not fetched: {manifest.command}"
    if manifest.kind == "catalogue":
        lines = [f"It is searched, not fetched as a whole: see notebook 01. {manifest.ask}".strip()]
        return "\n".join(lines + [f"  {what}: {address}" for what, address in manifest.endpoints.items()])
    if not by_hand and (manifest.files or manifest.access not in BY_HAND):
        return ""
    lines = [(manifest.ask or f"See {manifest.homepage or 'its publication'}.").strip()]
    lines += [f"  {what}: {address}" for what, address in manifest.endpoints.items()]
    if by_hand:
        one = len(by_hand) == 1
        lines.append(f"Then put into {folder}{' under this name' if one else ' under these names'}:")
        lines += [f"  {place.file.path}{_facts(place.file)}" for place in by_hand]
        lines.append(f"and run `rsnb fetch {manifest.name}` again: {'it is' if one else 'they are'} verified"
                     + (" and unpacked." if any(place.into for place in by_hand) else "."))
    else:
        lines.append(f"Then put what you get into {folder}.")
    if folder.is_dir() and any(folder.iterdir()):
        lines.append(f"The folder holds files already: `rsnb fetch {manifest.name} --dry --audit` looks them through.")
    return "\n".join(lines)


def _facts(file: ManifestFile) -> str:
    facts = [size_text(file.bytes)] if file.bytes is not None else []
    if file.bytes is None and file.bytes_about is not None:
        facts.append(f"about {size_text(file.bytes_about)}")
    if file.sha256 or file.md5:
        facts.append(f"sha256 {file.sha256[:12]}..." if file.sha256 else f"md5 {file.md5}")
    return f"  ({', '.join(facts)})" if facts else ""


def _files(files: Sequence[ManifestFile]) -> str:
    if len(files) <= 3:
        return ", ".join(file.path for file in files)
    return f"{len(files)} files ({files[0].path} to {files[-1].path})"
