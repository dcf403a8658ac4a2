"""Checksums of assets as catalogues write them: the file extension's multihash, a hex text that names its function.

Codes after github.com/multiformats/multicodec: the function's number, then the length of the digest in bytes.
"""

from __future__ import annotations

import re

from rsnb.errors import InputError

# Code: name in hashlib and hex digits of the digest.
MULTIHASH = {"1220": ("sha256", 64), "d50110": ("md5", 32), "1114": ("sha1", 40), "1340": ("sha512", 128),
             "1620": ("sha3_256", 64), "1420": ("sha3_512", 128)}


def checksum_of(fields: dict) -> tuple[str, str] | None:
    """(name of the function, hex digest) of an asset's `file:checksum`, or None where there is none we know.

    Raises:
        InputError: a multihash whose length does not fit its function.
    """
    text = str(fields.get("file:checksum") or fields.get("checksum:multihash") or "").lower()
    for code, (name, digits) in MULTIHASH.items():
        if text.startswith(code):
            digest = text[len(code):]
            if len(digest) != digits or not re.fullmatch(r"[0-9a-f]+", digest):
                raise InputError(f"the {name} in file:checksum has {len(digest)} digits, not {digits}",
                                 where="file:checksum", mend="Tell whoever runs the catalogue")
            return name, digest
    return None


def multihash(sums: dict[str, str]) -> str | None:
    """`file:checksum` for the first of {"MD5": digest, "SHA3-256": digest ...} whose function is known; or None."""
    known = {re.sub("[^A-Z0-9]", "", algorithm.upper()): digest.lower() for algorithm, digest in sums.items() if digest}
    for code, (name, _) in MULTIHASH.items():
        digest = known.get(re.sub("[^A-Z0-9]", "", name.upper()))
        if digest:
            return code + digest
    return None
