"""Assets of items onto the disk: resumed, checked against the catalogue's checksum, readable without a network."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rsnb.data.stac.access import Access, Opened
from rsnb.data.stac.assets import asset_of, band_names
from rsnb.data.stac.checksums import checksum_of
from rsnb.data.stac.odata import DOWNLOAD_URL, ODATA_URL
from rsnb.errors import InputError
from rsnb.files import atomic_path, require_file, write_text

SUFFIXES = {"application/zip": ".zip", "image/jpeg": ".jpg", "image/png": ".png", "image/jp2": ".jp2",
            "application/json": ".json", "application/xml": ".xml", "application/x-netcdf": ".nc"}


@dataclass(frozen=True)
class AssetsDownloaded:
    """What came of a download.

    Attributes:
        paths: {(item id, asset key): file}.
        items: item files beside them, whose hrefs name the files: `items.read_items` reads them.
        failures: one text for each asset that could not be had.
        unchecked: (item id, asset key) of those whose catalogue gives no checksum that can be computed here.
    """

    paths: dict[tuple[str, str], Path]
    items: tuple[Path, ...]
    failures: tuple[str, ...]
    unchecked: tuple[tuple[str, str], ...]


def download_assets(items: Sequence, folder: str | Path, names: Sequence[str] | str = "all",
                    access: Access | None = None, progress: bool = False) -> AssetsDownloaded:
    """Download assets of items into `folder`/<item id>/, and write each item beside its files.

    What is there and right stays; a download that was broken off goes on. One asset that fails does not stop the rest.

    Args:
        items: `pystac.Item`s.
        folder: where to.
        names: common names, band ids or asset keys; "all": every band once, with pictures and metadata; "product": the
            whole product as the catalogue zips it.
        access: how to sign and log in; None for a fresh one.
        progress: show a bar a file.
    """
    access, folder = access or Access(), Path(folder)
    paths, written, failures, unchecked = {}, [], [], []
    for item in items:
        here = folder / _safe(item.id)
        got: dict[str, Path] = {}
        for name in _wanted(item, names):
            try:
                key, asset = _asset(item, name)
                path = here / file_name(item, key, asset)
                if not _fetch(_href(asset), path, asset.extra_fields, access, progress):
                    unchecked.append((item.id, key))
                got[key] = path
            except InputError as error:
                failures.append(f"{item.id}, {name}: {error}")
        if got:
            paths.update({(item.id, key): path for key, path in got.items()})
            written.append(_write_item(item, here, got))
    return AssetsDownloaded(paths, tuple(written), tuple(failures), tuple(unchecked))


def file_name(item, key: str, asset) -> str:
    """A name for an asset's file that cannot leave its folder: the href's own, or item and key where that says nothing.

    Two assets with one name get their keys in front.
    """
    own = _safe(unquote(urlsplit(asset.href).path).rsplit("/", 1)[-1])
    if "." not in own or own.startswith("$") or "value" in own:
        suffix = SUFFIXES.get((asset.media_type or "").split(";")[0].strip().lower(), "")
        return f"{_safe(item.id)}{'' if key.lower() == 'product' else '-' + _safe(key)}{suffix}"
    others = [unquote(urlsplit(a.href).path).rsplit("/", 1)[-1] for k, a in item.assets.items() if k != key]
    return f"{_safe(key)}-{own}" if own in map(_safe, others) else own


def _wanted(item, names: Sequence[str] | str) -> list[str]:
    if names == "product":
        return ["product"]
    if names != "all":
        return [names] if isinstance(names, str) else list(names)
    bands = band_names(item)
    keys = {asset_of(item, band).key for band in bands}
    rest = [key for key, asset in item.assets.items()
            if key not in keys and (set(asset.roles or ()) & {"thumbnail", "overview", "visual", "metadata"})
            and urlsplit(_href(asset)).scheme != "s3" and key.lower() != "product"]
    return bands + rest


def _asset(item, name: str):
    if name == "product":
        for key, asset in item.assets.items():
            if key.lower() in ("product", "safe_manifest_zip", "downloadlink") or "archive" in (asset.roles or ()):
                return key, asset
        raise InputError("the catalogue offers no whole product of this item", where=item.id,
                         mend="Take its assets one by one, or search by OData")
    if name in item.assets:
        return name, item.assets[name]
    key = asset_of(item, name).key
    return key, item.assets[key]


def _href(asset) -> str:
    href = asset.get_absolute_href() or asset.href
    if urlsplit(href).scheme == "s3":
        for other in (asset.extra_fields.get("alternate") or {}).values():
            if isinstance(other, dict) and str(other.get("href", "")).startswith("https://"):
                href = other["href"]
    # the catalogue's own address only redirects there, and a login is not carried along to another host
    return href.replace(ODATA_URL, DOWNLOAD_URL) if href.endswith("$value") else href


def _fetch(href: str, path: Path, fields: dict, access: Access, progress: bool) -> bool:
    """Whether the file was checked against a checksum."""
    expected = checksum_of(fields)
    if path.is_file() and expected and _digest(path, expected[0]) == expected[1]:
        return True
    opened = access.open(href)
    path.parent.mkdir(parents=True, exist_ok=True)
    if opened.is_local:
        _copy(Path(opened.target.reveal()), path, expected)
    else:
        _download(opened, path, expected, fields, progress)
    return expected is not None


def _download(opened: Opened, path: Path, expected: tuple[str, str] | None, fields: dict, progress: bool) -> None:
    from rsnb.data.download.http import download
    from rsnb.data.download.transfer import HttpOptions

    url = opened.target.reveal()
    if url.startswith("s3://"):
        raise InputError("whole files are not fetched from S3 here", where=opened.label,
                         mend="Use a client of S3 with your keys, or read windows of it")
    size = fields.get("file:size")
    options = HttpOptions(headers={name: value.reveal() for name, value in opened.headers.items()}, progress=progress)
    sums = {expected[0]: expected[1]} if expected and expected[0] in ("sha256", "md5") else {}
    if expected and not sums:  # of a kind that the downloader does not check: under another name until that is done
        waiting = path.with_name(path.name + ".unchecked")
        download(url, waiting, bytes=size, options=options)
        _require_digest(waiting, expected, opened.label)
        os.replace(waiting, path)
    else:
        download(url, path, bytes=size, options=options, **sums)
    if path.suffix.lower() in (".tif", ".tiff", ".jp2") and not _has_place(path):
        try:
            download(url + ".aux.xml", path.with_name(path.name + ".aux.xml"),
                     options=HttpOptions(headers=options.headers, tries=1))
        except InputError:
            pass  # then it has no place on Earth, and whoever reads it is told so


def _copy(source: Path, path: Path, expected: tuple[str, str] | None) -> None:
    require_file(source, "asset")
    with atomic_path(path) as temporary:
        shutil.copyfile(source, temporary)
        if expected:
            _require_digest(temporary, expected, str(source))
    beside = source.with_name(source.name + ".aux.xml")
    if beside.is_file():
        with atomic_path(path.with_name(path.name + ".aux.xml")) as temporary:
            shutil.copyfile(beside, temporary)


def _require_digest(path: Path, expected: tuple[str, str], label: str) -> None:
    found = _digest(path, expected[0])
    if found != expected[1]:
        path.unlink(missing_ok=True)
        raise InputError(f"{expected[0]} is {found}, but the catalogue says {expected[1]}", where=label,
                         mend="Download it again; if that gives the same, tell whoever runs the catalogue")


def _digest(path: Path, name: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, name).hexdigest()


def _has_place(path: Path) -> bool:
    from rsnb.data.raster import read_grid

    try:
        return read_grid(path).crs is not None
    except InputError:
        return True  # no raster of ours to judge


def _write_item(item, folder: Path, got: dict[str, Path]) -> Path:
    """The item with the files' names as hrefs; the assets that are not there keep their absolute hrefs."""
    values = item.to_dict(include_self_link=False, transform_hrefs=False)
    values["links"] = [link for link in values.get("links", []) if str(link.get("href", "")).startswith("http")]
    for key, asset in values["assets"].items():
        if key in got:
            asset["href"] = f"./{got[key].name}"
        else:
            asset["href"] = item.assets[key].get_absolute_href() or asset["href"]
    return write_text(folder / f"{_safe(item.id)}.json", json.dumps(values, indent=1) + "\n")


def _safe(name: str) -> str:
    """Letters, digits and a few signs; never a path, a hidden file or nothing."""
    return re.sub(r"[^\w.()+=@-]", "_", name).lstrip(".") or "unnamed"
