"""What is wrong with SAFE products: against what their XML lists and what their manifest.safe sums up."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from rsnb.data.audit import Audit, Finding
from rsnb.data.earth.safe import SafeProduct, find_safe, open_safe
from rsnb.data.earth.safe_metadata import parse_xml
from rsnb.data.raster import open_raster
from rsnb.errors import InputError

HASHES = {"MD5": "md5", "SHA3-256": "sha3_256", "SHA-256": "sha256", "SHA256": "sha256"}


def audit(root: Path) -> Audit:
    """Products under a folder (or one product): counts, and what is absent, cut short or changed.

    Where a folder has its manifest.safe, sizes and checksums settle it; else the first and the last pixels of each
    raster are decoded, which finds files that end too early.
    """
    paths = find_safe(root) if root.is_dir() else (root,)
    counts = {"products": 0, "bands": 0, "masks": 0}
    findings, names = [], {}
    for path in paths:
        label = path.relative_to(root).as_posix() if path != root else path.name
        try:
            product = open_safe(path)
        except InputError as error:
            findings.append(Finding("unreadable", label, str(error)))
            continue
        counts["products"] += 1
        counts["bands"] += len({f.band for f in product.select("band")})
        counts["masks"] += len(product.select("mask"))
        if product.facts.name and product.facts.name in names:
            findings.append(Finding("duplicate", label, f"the same product as {names[product.facts.name]}"))
        names.setdefault(product.facts.name, label)
        findings += _product_findings(product, label)
    return Audit("safe", root, counts, {}, tuple(findings))


def _product_findings(product: SafeProduct, label: str) -> list[Finding]:
    found = [Finding("missing", f"{label}/{name}", "the product's XML lists it") for name in product.missing]
    found += [Finding("note", label, note) for note in product.facts.notes]
    summed = _against_manifest(product, label)
    if summed is not None:
        return found + summed
    for file in product.files:
        if file.path.lower().endswith(".gml"):
            continue
        try:
            with open_raster(file.path) as raster:
                for row, col in ((0, 0), (raster.height - 1, raster.width - 1)):
                    raster.read(1, window=((row, row + 1), (col, col + 1)))
        except InputError as error:
            found.append(Finding("unreadable", f"{label}/{file.path.rsplit('/', 1)[-1]}", error.what))
    return found


def _against_manifest(product: SafeProduct, label: str) -> list[Finding] | None:
    """Size and checksum of every file that manifest.safe names; None where there is none, and for a zip."""
    manifest = next(product.path.rglob("manifest.safe"), None) if product.path.is_dir() else None
    if manifest is None:
        return None
    found = []
    try:
        root = parse_xml(manifest.read_bytes(), manifest)
    except InputError as error:
        return [Finding("unreadable", f"{label}/manifest.safe", error.what)]
    for stream in (e for e in root.iter() if e.tag.endswith("byteStream")):
        parts = {e.tag.rsplit("}", 1)[-1]: e for e in stream}
        if "fileLocation" not in parts:
            continue
        name = re.sub(r"^\./", "", parts["fileLocation"].get("href", "").replace("\\", "/"))
        path = manifest.parent / name
        if not path.is_file():
            found.append(Finding("missing", f"{label}/{name}", "manifest.safe lists it"))
        elif stream.get("size", "").isdigit() and path.stat().st_size != int(stream.get("size")):
            found.append(Finding("unreadable", f"{label}/{name}",
                                 f"{path.stat().st_size} bytes, manifest.safe says {stream.get('size')}"))
        elif "checksum" in parts and not _sum_agrees(path, parts["checksum"]):
            found.append(Finding("unreadable", f"{label}/{name}", "another checksum than manifest.safe says"))
    return found


def _sum_agrees(path: Path, element) -> bool:
    kind = HASHES.get(element.get("checksumName", "").upper())
    if kind is None or not element.text:
        return True  # a kind of sum that is not known says nothing against the file
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest().lower() == element.text.strip().lower()
