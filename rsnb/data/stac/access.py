"""From an asset's href to what can be opened: signed, with a token, from a public bucket, or explained."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rsnb.data.stac.secrets import Secret
from rsnb.data.stac.tokens import CopernicusToken, PlanetarySigner
from rsnb.errors import InputError

COPERNICUS_HOSTS = ("download.dataspace.copernicus.eu", "zipper.dataspace.copernicus.eu",
                    "catalogue.dataspace.copernicus.eu")
# Buckets that anyone may read by https, and where they lie.
PUBLIC_BUCKETS = {"sentinel-cogs": "us-west-2", "copernicus-dem-30m": "eu-central-1",
                  "copernicus-dem-90m": "eu-central-1", "e84-earth-search-sentinel-data": "us-west-2"}
S3_NEEDS = {
    "eodata": "personal S3 keys of the Copernicus Data Space (eodata-s3keysmanager.dataspace.copernicus.eu): set "
              "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_S3_ENDPOINT=eodata.dataspace.copernicus.eu and "
              "AWS_VIRTUAL_HOSTING=FALSE",
    "usgs-landsat": "an AWS account that pays for the transfer: set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
                    "AWS_REQUEST_PAYER=requester and AWS_REGION=us-west-2; or take Landsat from planetary_computer",
}
S3_NEEDS_ELSE = ("an AWS account, which pays for the transfer where the bucket is requester-pays: set "
                 "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REQUEST_PAYER=requester")


@dataclass(frozen=True)
class Opened:
    """An href made ready.

    Attributes:
        target: URL or path to open; a signed one is a secret.
        headers: to send along.
        label: the href without query, for messages.
    """

    target: Secret
    headers: dict[str, Secret]
    label: str

    @property
    def is_local(self) -> bool:
        """A file of this machine."""
        return "://" not in self.target.reveal()


@dataclass(frozen=True)
class Access:
    """How hrefs are made ready. One object serves a whole batch, so that tokens are fetched once.

    Attributes:
        copernicus: token source, used for `hosts` alone.
        planetary: signer of Planetary Computer hrefs.
        hosts: that get the Copernicus token; it is sent to nobody else.
    """

    copernicus: CopernicusToken = field(default_factory=CopernicusToken)
    planetary: PlanetarySigner = field(default_factory=PlanetarySigner)
    hosts: tuple[str, ...] = COPERNICUS_HOSTS

    def open(self, href: str) -> Opened:
        """What to open for an href.

        Raises:
            InputError: an s3:// href that this machine has no keys for (it says what it needs), missing credentials,
                or a scheme that is not known.
        """
        parts = urlsplit(href)
        label = href.split("?", 1)[0]
        if parts.scheme in ("http", "https"):
            if self.planetary.signs(href):
                return Opened(self.planetary.sign(href), {}, label)
            safe = parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost")
            # quick-looks, which OData calls Assets, are open to all
            wants = _host(parts) in self.hosts and "/Assets(" not in parts.path
            headers = self.copernicus.header() if safe and wants else {}
            return Opened(Secret(href), headers, label)
        if parts.scheme == "s3":
            return Opened(Secret(_s3(parts.netloc, parts.path.lstrip("/"), label)), {}, label)
        if parts.scheme == "file":
            return Opened(Secret(unquote(parts.path)), {}, label)
        if parts.scheme == "" or len(parts.scheme) == 1:  # one letter: a drive of Windows
            return Opened(Secret(str(Path(href))), {}, label)
        raise InputError(f"hrefs that begin with {parts.scheme}:// cannot be opened", where=label,
                         mend="Choose an asset with an https href")


def _host(parts) -> str:
    host = (parts.hostname or "").lower()
    return f"{host}:{parts.port}" if parts.port else host


def _s3(bucket: str, key: str, label: str) -> str:
    if bucket in PUBLIC_BUCKETS:
        return f"https://{bucket}.s3.{PUBLIC_BUCKETS[bucket]}.amazonaws.com/{key}"
    if os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_PROFILE"):
        return f"s3://{bucket}/{key}"
    raise InputError("this href lies in an S3 bucket that is not open to all", where=label,
                     mend=f"It needs {S3_NEEDS.get(bucket, S3_NEEDS_ELSE)}")
