"""Items as tables for people: one row an item, and everything about one."""

from __future__ import annotations

import json
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rsnb.data.stac.assets import pixel_size_m
from rsnb.data.stac.matching import cloud_cover, item_interval
from rsnb.errors import InputError
from rsnb.files import require_file

THUMBNAIL_LIMIT = 4_000_000  # bytes
# Kind of a field and of what is in it, for fields whose wrong kind would stop a whole batch.
KINDS = {"id": (str, None), "collection": (str, None), "bbox": (list, (int, float)), "href": (str, None),
         "type": (str, None), "roles": (list, str), "alternate": (dict, None), "bands": (list, (dict, int)),
         "eo:bands": (list, (dict, int)), "raster:bands": (list, dict), "proj:transform": (list, (int, float)),
         "proj:shape": (list, (int, float)), "file:size": (int, None)}


def read_items(path: str | Path) -> tuple:
    """`pystac.Item`s of a file: an Item, a FeatureCollection of them (a saved search), or an OData answer.

    Raises:
        InputError: naming the file and, where it is one of several, the item: no JSON, no items, or an item that lacks
            what STAC asks for.
    """
    from rsnb.data.stac.odata import adopt_eodag, is_odata, parse_odata

    path = require_file(path, "item file")
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"this is no JSON ({error})", where=path, line=getattr(error, "lineno", None),
                         mend="Give a STAC Item or FeatureCollection") from None
    if is_odata(values):
        return parse_odata(values, where=path)
    features = values.get("features") if isinstance(values, dict) and "features" in values else [values]
    items = []
    for number, feature in enumerate(features or []):
        name = feature.get("id", f"number {number}") if isinstance(feature, dict) else f"number {number}"
        try:
            items.append(adopt_eodag(parse_item(feature, str(path))))
        except InputError as error:
            raise InputError(f"item {name} is no STAC item: {error.what}", where=path, mend=error.mend) from None
    return tuple(items)


def parse_item(feature: dict, href: str | None = None):
    """A `pystac.Item` of decoded JSON, which is taken over; `href` is its own place, for relative hrefs.

    Raises:
        InputError: it lacks what STAC asks for, or a field that is used here is of another kind.
    """
    import pystac

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pystac tells what it could not bring to its newest version
            item = pystac.Item.from_dict(feature, href=href, preserve_dict=False)
    except Exception as error:  # pystac raises whatever the gap happens to cause
        text = (str(error).strip().splitlines() or [""])[0][:160]
        raise InputError(f"{type(error).__name__}: {text}", where="item",
                         mend="A STAC item is a GeoJSON Feature with id, properties and assets") from None
    return require_kinds(item)


def require_kinds(item):
    """The item itself, where the fields that are used here are of the kind that STAC says.

    Raises:
        InputError: naming item and field.
    """
    places = {f"assets.{key}": {"href": asset.href, "type": asset.media_type, "roles": asset.roles,
                                **asset.extra_fields} for key, asset in item.assets.items()}
    places["properties"] = item.properties
    places["item"] = {"id": item.id, "collection": item.collection_id, "bbox": item.bbox}
    for place, fields in places.items():
        for name, (kind, inner) in KINDS.items():
            value = fields.get(name)
            if value is None:
                continue
            if not isinstance(value, kind) or (inner and not all(isinstance(part, inner) for part in value)):
                raise InputError(f"{place}.{name} is {str(value)[:60]!r}", where=str(item.id),
                                 mend="Tell whoever runs the catalogue")
    return item


def is_item_file(path: str | Path) -> bool:
    """Whether a path on disk is a file of items: JSON with "features", a lone item, or an OData answer."""
    from rsnb.data.stac.odata import is_odata

    if str(path).startswith(("http://", "https://")) or not Path(path).is_file():
        return False
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, OSError):
        return False
    return is_odata(values) or (isinstance(values, dict) and values.get("type") in ("FeatureCollection", "Feature"))


def item_rows(items) -> list[dict]:
    """One row an item: id, platform, date (UTC), cloud (percent or None), gsd (m or None), assets, thumbnail (href)."""
    rows = []
    for item in items:
        start = item_interval(item)[0]
        p = item.properties
        rows.append({"id": item.id, "collection": item.collection_id,
                     "platform": p.get("platform") or p.get("eo:platform") or p.get("constellation"),
                     "date": start and start.strftime("%Y-%m-%d %H:%M:%S"), "cloud": cloud_cover(item),
                     "gsd": p.get("gsd") or p.get("eo:gsd") or _finest(item), "assets": len(item.assets),
                     "thumbnail": thumbnail_href(item)})
    return rows


def item_detail(item) -> dict:
    """Everything about one item.

    Returns:
        id, collection, platform, date, footprint (GeoJSON), bbox, percentages ({what: percent}, those that the item
        states), properties (the other ones), assets (rows of `asset_rows`).
    """
    row = item_rows([item])[0]
    shares = {key: value for key, value in item.properties.items()
              if re.search("_percentage$|cloud_cover|snow_cover", key) and isinstance(value, (int, float))}
    other = {key: value for key, value in item.properties.items() if key not in shares}
    percentages = {re.sub("^(s2|eo):|_percentage$", "", key): value for key, value in shares.items()}
    statistics = other.get("statistics")  # where the Copernicus Data Space keeps the classes' percentages
    if isinstance(statistics, dict) and all(isinstance(value, (int, float)) for value in statistics.values()):
        percentages |= other.pop("statistics")
    return {"id": item.id, "collection": item.collection_id, "platform": row["platform"], "date": row["date"],
            "footprint": item.geometry, "bbox": item.bbox, "percentages": percentages, "properties": other,
            "assets": asset_rows(item)}


def asset_rows(item) -> list[dict]:
    """One row an asset: key, title, type, roles, shape (rows x columns as stated), gsd (m), bytes, checksum, href."""
    rows = []
    for key, asset in item.assets.items():
        fields = asset.extra_fields
        shape = fields.get("proj:shape") or item.properties.get("proj:shape")
        is_raster = "tiff" in (asset.media_type or "") or "jp2" in (asset.media_type or "")
        rows.append({"key": key, "title": asset.title or "", "type": asset.media_type or "",
                     "roles": ", ".join(asset.roles or ()), "shape": tuple(shape) if shape and is_raster else None,
                     "gsd": pixel_size_m(item, asset) if is_raster else None, "bytes": fields.get("file:size"),
                     "checksum": fields.get("file:checksum"), "href": asset.get_absolute_href() or asset.href})
    return rows


def thumbnail_href(item) -> str | None:
    """Absolute href of the small picture, by role, key or media type; or None."""
    found = []
    for key, asset in item.assets.items():
        roles = set(asset.roles or ())
        kind = (asset.media_type or "").lower()
        shown = kind in ("image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif") or not kind
        named = key.lower() in ("thumbnail", "preview", "quicklook", "rendered_preview") or "overview" in roles
        if "thumbnail" in roles or (shown and named):
            rank = ("thumbnail" not in roles, key.lower() != "thumbnail", not shown)
            found.append((rank, asset.get_absolute_href() or asset.href))
    return min(found)[1] if found else None


def read_thumbnail(item, access=None, limit: int = THUMBNAIL_LIMIT) -> bytes:
    """The small picture's bytes, for a table or a card.

    Args:
        item: `pystac.Item`.
        access: `access.Access`; None for a fresh one.
        limit: bytes; a larger one is refused before it is read whole.

    Raises:
        InputError: the item has none, it does not answer, it is too large, or no picture.
    """
    from rsnb.data.stac.access import Access

    href = thumbnail_href(item)
    if href is None:
        raise InputError("the item has no thumbnail", where=item.id)
    opened = (access or Access()).open(href)
    if opened.is_local:
        data = require_file(opened.target.reveal(), "thumbnail").read_bytes()[:limit + 1]
    else:
        data = _get(opened, limit)
    if len(data) > limit:
        raise InputError(f"the thumbnail is larger than {limit} bytes", where=opened.label,
                         mend="Raise the limit, or download the asset")
    if not data.startswith((b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF")):
        raise InputError("the thumbnail is no JPEG, PNG, GIF or WebP picture", where=opened.label,
                         mend="The server may have sent a login page; see what the catalogue needs")
    return data


def read_thumbnails(items, access=None, workers: int = 4) -> dict[str, bytes | None]:
    """{item id: the small picture's bytes, or None where it cannot be had}, for a table; a few at a time."""
    from rsnb.data.stac.access import Access

    access = access or Access()

    def one(item) -> bytes | None:
        try:
            return read_thumbnail(item, access)
        except InputError:
            return None

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        return dict(zip([item.id for item in items], pool.map(one, items), strict=True))


def _get(opened, limit: int) -> bytes:
    import requests

    headers = {name: value.reveal() for name, value in opened.headers.items()}
    try:
        with requests.get(opened.target.reveal(), headers=headers, stream=True, timeout=(10, 30)) as answer:
            if not answer.ok:
                raise InputError(f"the thumbnail cannot be had ({answer.status_code})", where=opened.label)
            data = b""
            for piece in answer.iter_content(65536):
                data += piece
                if len(data) > limit:
                    break
            return data
    except requests.RequestException as error:  # its text holds the signed address
        raise InputError(f"the thumbnail cannot be had ({type(error).__name__})", where=opened.label,
                         mend="Check the network") from None


def _finest(item) -> float | None:
    sizes = [size for asset in item.assets.values() if (size := pixel_size_m(item, asset))]
    return min(sizes, default=None)
