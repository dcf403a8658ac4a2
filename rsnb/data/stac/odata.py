"""The Copernicus Data Space's OData catalogue: whole products of every Sentinel, as STAC items.

OData knows products that the STAC catalogue does not hold yet (Sentinel-1, -2, -3, -5P, Landsat, the DEM), with size
and MD5 of the zipped product. Source: documentation.dataspace.copernicus.eu, APIs, OData.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rsnb.data.stac.catalogues import Catalogue
from rsnb.data.stac.checksums import multihash
from rsnb.data.stac.matching import Matcher, sort_items
from rsnb.data.stac.options import SearchOptions, parse_moment
from rsnb.errors import InputError

ODATA_URL = "https://catalogue.dataspace.copernicus.eu/odata/v1"
DOWNLOAD_URL = "https://download.dataspace.copernicus.eu/odata/v1"
ODATA_COLLECTIONS = ("SENTINEL-1", "SENTINEL-2", "SENTINEL-3", "SENTINEL-5P", "LANDSAT-5", "LANDSAT-7", "LANDSAT-8-ESA",
                     "COP-DEM")
# Attribute of OData -> property of STAC.
PROPERTIES = {"cloudCover": "eo:cloud_cover", "instrumentShortName": "instruments", "productType": "product:type",
              "processorVersion": "processing:version", "relativeOrbitNumber": "sat:relative_orbit",
              "orbitNumber": "sat:absolute_orbit", "orbitDirection": "sat:orbit_state", "tileId": "grid:code",
              "polarisationChannels": "sar:polarizations", "operationalMode": "sar:instrument_mode",
              "swathIdentifier": "sar:swath", "processingLevel": "processing:level", "timeliness": "product:timeliness"}
EXTENSIONS = ["https://stac-extensions.github.io/file/v2.1.0/schema.json",
              "https://stac-extensions.github.io/eo/v1.1.0/schema.json"]


def is_odata(values: object) -> bool:
    """Whether a decoded JSON answer is OData's: a list of products, or one product."""
    if not isinstance(values, Mapping):
        return False
    if isinstance(values.get("value"), list):
        return "@odata.context" in values or all(isinstance(v, Mapping) and "Name" in v for v in values["value"])
    return "Id" in values and "Name" in values and "ContentDate" in values


def parse_odata(values: Mapping, where: str | Path = ODATA_URL) -> tuple:
    """`pystac.Item`s of an OData answer; Attributes and Assets are used where the question expanded them.

    Args:
        values: the decoded answer, or one product of it.
        where: named in messages.

    Returns:
        Items with an asset "product" (the zip, its size and checksum) and, where there is one, "thumbnail".

    Raises:
        InputError: naming the product: no id, no name, no date, or a footprint that cannot be read.
    """
    products = values["value"] if isinstance(values.get("value"), list) else [values]
    return tuple(_item(product, where) for product in products)


def adopt_eodag(item):
    """An item as the eodag client stores it, given assets for the hrefs among its properties; changed in place."""
    import pystac

    link, picture = (item.properties.get(f"eodag:{name}") for name in ("download_link", "thumbnail"))
    if link and "product" not in item.assets:
        item.add_asset("product", pystac.Asset(link, title=item.id, media_type="application/zip",
                                               roles=["data", "archive"]))
    if picture and "thumbnail" not in item.assets:
        item.add_asset("thumbnail", pystac.Asset(picture, media_type="image/jpeg", roles=["thumbnail"]))
    return item


def search_odata(options: SearchOptions, url: str = ODATA_URL):
    """Ask the OData catalogue; the answer is checked here again.

    Args:
        options: `collections` by OData's names, of `ODATA_COLLECTIONS`; one at a time is quickest.
        url: of the service.

    Returns:
        `search.SearchResult`.

    Raises:
        InputError: no network, or a question that is refused.
    """
    from pystac_client.stac_api_io import StacApiIO

    from rsnb.data.stac.connect import CONNECT_TIMEOUT, READ_TIMEOUT, session_retries, stac_errors
    from rsnb.data.stac.search import SearchResult

    io = StacApiIO(timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), max_retries=session_retries())
    matcher, found, seen, matched = Matcher(options), {}, set(), None
    with stac_errors(url):
        page = io.read_json(f"{url}/Products", parameters=odata_question(options))
        while True:
            matched = page.get("@odata.count", matched)
            fresh = {item.id: item for item in parse_odata(page, url) if item.id not in seen}
            seen.update(fresh)
            found.update((name, item) for name, item in fresh.items() if matcher.fits(item))
            following = page.get("@odata.nextLink")
            if not fresh or not following or len(found) >= options.max_items:
                break
            page = io.read_json(following)
    notes = tuple(f"{count} left out: {why}" for why, count in sorted(matcher.reasons.items()))
    items = sort_items(found.values(), options.sort_key)[:options.max_items]
    return SearchResult(tuple(items), matched, notes, Catalogue("copernicus_odata", "Copernicus OData", url))


def odata_question(options: SearchOptions) -> dict[str, str]:
    """The query parameters ($filter and the like) for a search."""
    from shapely.geometry import box, shape
    from shapely.ops import unary_union

    terms = []
    if options.collections:
        terms.append("(" + " or ".join(f"Collection/Name eq '{_quoted(c)}'" for c in options.collections) + ")")
    if options.start:
        terms.append(f"ContentDate/End ge {options.start:%Y-%m-%dT%H:%M:%S.000Z}")
    if options.end:
        terms.append(f"ContentDate/Start le {options.end:%Y-%m-%dT%H:%M:%S.999Z}")
    area = shape(options.geometry) if options.geometry else unary_union([box(*b) for b in options.boxes])
    if not area.is_empty:
        parts = getattr(area, "geoms", [area])
        terms.append("(" + " or ".join(f"OData.CSC.Intersects(area=geography'SRID=4326;{part.wkt}')" for part in parts)
                     + ")")
    if options.max_cloud is not None:
        terms.append("Attributes/OData.CSC.DoubleAttribute/any(att:att/Name eq 'cloudCover' and "
                     f"att/OData.CSC.DoubleAttribute/Value le {float(options.max_cloud):.2f})")
    question = {"$top": str(min(options.max_items, options.page_size, 1000)), "$count": "True",
                "$expand": "Attributes,Assets"}
    if terms:
        question["$filter"] = " and ".join(terms)
    if options.sort_key and options.sort_key[0] == "properties.datetime":
        question["$orderby"] = f"ContentDate/Start {'desc' if options.sort_key[1] else 'asc'}"
    return question


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _item(product: object, where) -> object:
    import pystac

    name = product.get("Name") if isinstance(product, Mapping) else None
    if not name or not product.get("Id"):
        raise InputError("a product has no Id or no Name", where=where, mend="This is no OData answer")
    dates = product.get("ContentDate") or {}
    start, end = (parse_moment(dates.get(key), f"{name}, ContentDate/{key}") for key in ("Start", "End"))
    if start is None and end is None:
        raise InputError(f"{name} has no ContentDate", where=where, mend="Ask for the product again")
    geometry = _footprint(product, name, where)
    properties = _properties(product, name, start or end, end or start)
    collection = (product.get("Collection") or {}).get("Name") or _collection_of(name)
    item = pystac.Item(id=re.sub(r"\.(SAFE|SEN3|nc|zip|tar)$", "", name), geometry=geometry,
                       bbox=_bounds(geometry), datetime=start or end, properties=properties,
                       stac_extensions=EXTENSIONS, collection=collection)
    for key, asset in _assets(product).items():
        item.add_asset(key, asset)
    return item


def _properties(product: Mapping, name: str, start, end) -> dict:
    rows = [row for row in product.get("Attributes") or () if isinstance(row, Mapping)]
    stated = {row["Name"]: row.get("Value") for row in rows if "Name" in row}
    properties = {PROPERTIES[key]: value for key, value in stated.items() if key in PROPERTIES and value is not None}
    if "instruments" in properties:
        properties["instruments"] = [str(properties["instruments"]).lower()]
    platform = f"{stated.get('platformShortName', '')}{stated.get('platformSerialIdentifier', '')}".lower()
    properties["platform"] = platform or (f"sentinel-{name[1:3].lower()}" if re.match(r"S\d[A-D]_", name) else None)
    properties.update(start_datetime=start.isoformat(), end_datetime=end.isoformat(), title=name,
                      online=product.get("Online"), uid=product["Id"])
    return {key: value for key, value in properties.items() if value is not None}


def _collection_of(name: str) -> str | None:
    match = re.match(r"S(1|2|3|5P?|6)[A-Z]?_", name)
    return {"5": "SENTINEL-5P"}.get(match.group(1), f"SENTINEL-{match.group(1)}") if match else None


def _footprint(product: Mapping, name: str, where) -> dict | None:
    """GeoJSON of GeoFootprint, or of Footprint, which is GeoJSON or text like geography'SRID=4326;POLYGON ((...))'."""
    from shapely import wkt
    from shapely.errors import ShapelyError
    from shapely.geometry import mapping

    for value in (product.get("GeoFootprint"), product.get("Footprint")):
        if isinstance(value, Mapping) and value.get("coordinates"):
            return {"type": value["type"], "coordinates": value["coordinates"]}
        if isinstance(value, str) and value.strip():
            text = re.sub(r"^geography'|'$", "", value.strip()).split(";")[-1]
            try:
                return dict(mapping(wkt.loads(text)))
            except (ShapelyError, ValueError) as error:
                raise InputError(f"the Footprint of {name} cannot be read ({error})", where=where,
                                 mend="Ask for the product again") from None
    return None


def _bounds(geometry: dict | None) -> list[float] | None:
    from shapely.geometry import shape

    return None if geometry is None else list(shape(geometry).bounds)


def _assets(product: Mapping) -> dict:
    import pystac

    fields = {}
    if product.get("ContentLength"):
        fields["file:size"] = int(product["ContentLength"])
    checksum = multihash({str(c.get("Algorithm", "")): str(c.get("Value", "")) for c in product.get("Checksum") or ()
                          if isinstance(c, Mapping)})
    if checksum:
        fields["file:checksum"] = checksum
    if product.get("S3Path"):
        fields["alternate"] = {"s3": {"href": f"s3://{str(product['S3Path']).lstrip('/')}"}}
    assets = {"product": pystac.Asset(f"{DOWNLOAD_URL}/Products({product['Id']})/$value", title=product["Name"],
                                      media_type="application/zip", roles=["data", "archive"], extra_fields=fields)}
    for asset in product.get("Assets") or ():
        if isinstance(asset, Mapping) and asset.get("DownloadLink"):
            assets.setdefault("thumbnail", pystac.Asset(asset["DownloadLink"], title=str(asset.get("Type", "")),
                                                        media_type="image/jpeg", roles=["thumbnail"]))
    return assets
