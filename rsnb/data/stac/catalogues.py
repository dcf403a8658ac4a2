"""The open catalogues that are known by name, and what each wants of a user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rsnb.errors import InputError


@dataclass(frozen=True)
class Catalogue:
    """A STAC API or a static catalogue.

    Attributes:
        name: short; the key of `CATALOGUES`.
        title: for people.
        url: of the landing page, or of a static catalogue's root file.
        search_needs: what a search wants.
        data_needs: what reading the pixels wants.
        data_format: of its Sentinel-2 Level-2A pixels.
        collections: {sensor: id of its collection there}.
    """

    name: str
    title: str
    url: str
    search_needs: str = "nothing"
    data_needs: str = "nothing"
    data_format: str = ""
    collections: dict[str, str] | None = None


CATALOGUES = {c.name: c for c in (
    Catalogue(
        "earth_search", "Earth Search v1 (Element 84, on AWS)", "https://earth-search.aws.element84.com/v1",
        data_needs="nothing for Sentinel-2 COGs and the Copernicus DEM; s3:// hrefs of Landsat, Sentinel-1 and the JP2 "
                   "twins are requester-pays: AWS keys",
        data_format="COG over https",
        collections={"sentinel-1": "sentinel-1-grd", "sentinel-2": "sentinel-2-l2a",
                     "sentinel-2-c1": "sentinel-2-c1-l2a", "landsat": "landsat-c2-l2", "dem-30": "cop-dem-glo-30",
                     "dem-90": "cop-dem-glo-90"}),
    Catalogue(
        "copernicus_data_space", "Copernicus Data Space Ecosystem", "https://stac.dataspace.copernicus.eu/v1",
        data_needs="a free account: RSNB_CDSE_USER and RSNB_CDSE_PASSWORD (or the keyring) for https, personal S3 keys "
                   "for s3://eodata",
        data_format="JP2 in SAFE folders",
        collections={"sentinel-1": "sentinel-1-grd", "sentinel-2": "sentinel-2-l2a",
                     "sentinel-3": "sentinel-3-olci-2-lfr-ntc", "sentinel-5p": "sentinel-5p-l2-no2-offl",
                     "dem-30": "cop-dem-glo-30-dged-cog", "dem-90": "cop-dem-glo-90-dged-cog"}),
    Catalogue(
        "planetary_computer", "Planetary Computer (Microsoft)", "https://planetarycomputer.microsoft.com/api/stac/v1",
        data_needs="hrefs signed by its open token endpoint, which is done here; no account",
        data_format="COG over https, signed",
        collections={"sentinel-1": "sentinel-1-grd", "sentinel-2": "sentinel-2-l2a",
                     "sentinel-3": "sentinel-3-olci-lfr-l2-netcdf", "sentinel-5p": "sentinel-5p-l2-netcdf",
                     "landsat": "landsat-c2-l2", "dem-30": "cop-dem-glo-30", "dem-90": "cop-dem-glo-90"}),
)}
_ALIASES = {"earthsearch": "earth_search", "element84": "earth_search", "aws": "earth_search",
            "cdse": "copernicus_data_space", "copernicus": "copernicus_data_space",
            "dataspace": "copernicus_data_space", "pc": "planetary_computer", "microsoft": "planetary_computer"}


def find_catalogue(catalogue: str | Path | Catalogue) -> Catalogue:
    """The catalogue of a name (a key of `CATALOGUES`, or a usual short form such as "cdse"), an URL, a file or folder.

    Args:
        catalogue: a folder stands for the `catalog.json` or `collection.json` in it.

    Raises:
        InputError: neither a known name, nor an URL, nor anything on disk.
    """
    if isinstance(catalogue, Catalogue):
        return catalogue
    text = str(catalogue)
    name = text.lower().replace("-", "_").replace(" ", "_")
    if _ALIASES.get(name, name) in CATALOGUES:
        return CATALOGUES[_ALIASES.get(name, name)]
    if text.startswith(("http://", "https://")):
        return Catalogue(text, text, text.rstrip("/"), search_needs="unknown", data_needs="unknown")
    path = Path(text).expanduser()
    if path.is_dir():
        path = next((path / n for n in ("catalog.json", "collection.json") if (path / n).is_file()), path)
    if not path.is_file():
        raise InputError(f"{text!r} is no catalogue", where="catalogue",
                         mend=f"Give one of {', '.join(CATALOGUES)}, an URL, or the catalog.json of a static catalogue")
    return Catalogue(path.parent.name or str(path), str(path), str(path.resolve()))


def needs_table() -> list[dict[str, str]]:
    """One row a named catalogue: what a search there needs, and what its pixels need."""
    return [{"catalogue": c.name, "title": c.title, "url": c.url, "search needs": c.search_needs,
             "pixels need": c.data_needs, "Sentinel-2 pixels": c.data_format} for c in CATALOGUES.values()]


def list_collections(catalogue: str | Path | Catalogue) -> list[dict]:
    """One row a collection: id, title, start and end of its dates, licence; in order of id.

    Args:
        catalogue: as for `find_catalogue`.

    Raises:
        InputError: no such catalogue, no network, or an answer that is no STAC.
    """
    from rsnb.data.stac.connect import open_catalogue, stac_errors

    opened = open_catalogue(catalogue)
    with stac_errors(opened.catalogue.url):
        rows = [_row(collection) for collection in collections_of(opened)]
    return sorted(rows, key=lambda row: row["id"])


def collections_of(opened) -> Iterator:
    """The collections of a catalogue that was opened by `connect.open_catalogue`."""
    from rsnb.data.stac.static import containers

    if opened.is_api and opened.root.get_links("data"):
        yield from opened.root.get_collections()
    else:
        yield from (c for c in containers(opened.root, []) if c.STAC_OBJECT_TYPE == "Collection")


def _row(collection) -> dict:
    first = collection.extent.temporal.intervals[:1] if collection.extent else []
    start, end = (first[0][0], first[0][1]) if first else (None, None)
    return {"id": collection.id, "title": collection.title or "", "start": start and start.date().isoformat(),
            "end": end and end.date().isoformat(), "licence": collection.license or ""}
