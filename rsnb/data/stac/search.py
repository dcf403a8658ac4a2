"""Search of a catalogue: by the server where it can, here where it cannot, with a note of who did what.

A STAC API says in its conformance classes whether it filters and sorts (FILTER, QUERY, SORT). Some servers ignore or
empty a search that uses what they lack, without an error. So nothing is asked that is not listed, and every answer is
checked here again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rsnb.data.stac.catalogues import Catalogue, collections_of, find_catalogue
from rsnb.data.stac.connect import OpenCatalogue, open_catalogue, stac_errors
from rsnb.data.stac.items import is_item_file, parse_item, read_items
from rsnb.data.stac.matching import Matcher, sort_items
from rsnb.data.stac.options import SearchOptions
from rsnb.data.stac.static import containers, items_of
from rsnb.errors import InputError

# Where the server cannot sort or filter, so many items are looked at before giving up on the rest.
SCAN_LIMIT = 5000


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        items: `pystac.Item`s, hrefs of assets absolute where their place is known.
        matched: how many the catalogue says there are, or None where it does not say.
        notes: what was done here instead of by the server, what was left out and why.
        catalogue: that was asked.
    """

    items: tuple
    matched: int | None
    notes: tuple[str, ...]
    catalogue: Catalogue

    def __len__(self) -> int:
        return len(self.items)

    def subset(self, ids) -> SearchResult:
        """Only the items of some ids, in the order of `ids`.

        Raises:
            InputError: an id that is not among them.
        """
        known = {item.id: item for item in self.items}
        for name in ids:
            if name not in known:
                raise InputError(f"{name!r} is not among the {len(known)} items found", where="ids",
                                 mend=f"Choose of {', '.join(list(known)[:3])} ...")
        return replace(self, items=tuple(known[name] for name in ids))


@dataclass(frozen=True)
class _Question:
    """Keywords for `Client.search`, and what is left to be done here."""

    keywords: dict
    filters_here: bool
    sorts_here: bool


@dataclass
class _Gathered:
    """What came in so far."""

    items: dict[tuple[str | None, str], object] = field(default_factory=dict)
    matched: int | None = 0
    seen: set = field(default_factory=set)
    twice: int = 0
    complete: bool = True
    notes: list[str] = field(default_factory=list)


def search(catalogue: str | Path | Catalogue, options: SearchOptions | None = None) -> SearchResult:
    """Ask a catalogue.

    Args:
        catalogue: "earth_search", "copernicus_data_space", "planetary_computer", the URL of any STAC API or static
            catalogue, the file or folder of a static catalogue on disk, which is walked, or a saved search result
            (GeoJSON).
        options: the question; None asks for anything.

    Raises:
        InputError: no such catalogue or collection, no network, an answer that is no STAC, a search that is refused.
    """
    options = options or SearchOptions()
    matcher = Matcher(options)
    known = find_catalogue(catalogue)
    if is_item_file(known.url):
        gathered = _Gathered()
        _from_file(Path(known.url), matcher, gathered)
        return _result(options, matcher, gathered, known, False)
    opened = open_catalogue(known)
    gathered = _Gathered(notes=list(opened.notes))
    if len(options.boxes) > 1:
        gathered.notes.append("the box crosses the antimeridian: both sides were searched and merged")
    with stac_errors(opened.catalogue.url):
        if opened.is_api:
            _ask_server(opened, options, matcher, gathered)
        else:
            _walk(opened, matcher, gathered)
        if not gathered.items and options.collections:
            _check_collections(opened, options)
    return _result(options, matcher, gathered, opened.catalogue, opened.is_api)


def _result(options: SearchOptions, matcher: Matcher, gathered: _Gathered, catalogue: Catalogue,
            is_api: bool) -> SearchResult:
    items = sort_items(gathered.items.values(), options.sort_key)[:options.max_items]
    _tell_left_out(matcher, gathered, is_api)
    return SearchResult(tuple(items), gathered.matched, tuple(gathered.notes), catalogue)


def _walk(opened: OpenCatalogue, matcher: Matcher, gathered: _Gathered) -> None:
    """Every item of a static catalogue."""
    wanted = matcher.options.collections
    for container in containers(opened.root, gathered.notes):
        is_collection = container.STAC_OBJECT_TYPE == "Collection"
        if is_collection and wanted and container.id not in wanted:
            continue
        for item in items_of(container, gathered.notes):
            if item.collection_id is None and is_collection:
                item.collection_id = container.id
            if matcher.fits(item):
                gathered.items.setdefault((item.collection_id, item.id), item)
    gathered.matched = len(gathered.items)


def _from_file(path: Path, matcher: Matcher, gathered: _Gathered) -> None:
    for item in read_items(path):
        if matcher.fits(item):
            gathered.items.setdefault((item.collection_id, item.id), item)
    gathered.matched = len(gathered.items)


def _ask_server(opened: OpenCatalogue, options: SearchOptions, matcher: Matcher, gathered: _Gathered) -> None:
    from pystac_client.exceptions import APIError

    question = _question(opened.root, options)
    try:
        _collect(opened, options, question, matcher, gathered)
    except APIError as error:
        status = getattr(error, "status_code", None)
        if gathered.seen:
            gathered.complete = False
            gathered.notes.append(f"the server broke off after {len(gathered.seen)} items ({status or 'no answer'}): "
                                  "what came before is kept")
        elif status in (400, 422, 501) and question.keywords.keys() & {"query", "filter", "sortby"}:
            gathered.notes.append(f"the server refuses to filter or sort ({status}), though it lists that")
            question = _question(opened.root, options, plain=True)
            _collect(opened, options, question, matcher, gathered)
        else:
            raise
    if question.filters_here:
        gathered.notes.append("the server cannot filter by cloud cover (no FILTER or QUERY): that was done here")
    if question.sorts_here:
        gathered.notes.append("the server cannot sort (no SORT): that was done here")
    if question.filters_here or gathered.matched is None:  # what the server counts is not what was asked for
        gathered.matched = len(gathered.items) if gathered.complete else None
    if len(gathered.seen) >= SCAN_LIMIT:
        gathered.notes.append(f"only the first {len(gathered.seen)} items were looked at: ask for fewer days or a "
                              "smaller area")


def _collect(opened: OpenCatalogue, options: SearchOptions, question: _Question, matcher: Matcher,
             gathered: _Gathered) -> None:
    areas = [{"bbox": list(b)} for b in options.boxes] or [{"intersects": options.geometry} if options.geometry else {}]
    for area in areas:
        found_here = 0
        matched = None
        for page in _pages(opened.root, {**question.keywords, **area}):
            if matched is None:
                matched = _matched(page)
            seen = len(gathered.seen)
            found_here += _gather(page, matcher, gathered)
            enough = found_here >= options.max_items and not question.sorts_here
            # a page with nothing new: a server that gives the same next page for ever
            if enough or len(gathered.seen) == seen or len(gathered.seen) >= SCAN_LIMIT:
                gathered.complete &= len(page["features"]) < question.keywords["limit"]
                break
        gathered.matched = None if matched is None or gathered.matched is None else gathered.matched + matched


def _gather(page: dict, matcher: Matcher, gathered: _Gathered) -> int:
    """Take in the items of a page that fit; how many were new."""
    found = 0
    for feature in page["features"]:
        item = _item(feature, gathered)
        if item is None:
            continue
        key = (item.collection_id, item.id)
        if key in gathered.seen:
            gathered.twice += key in gathered.items
        elif matcher.fits(item):
            gathered.items[key] = item
            found += 1
        gathered.seen.add(key)
    return found


def _question(client, options: SearchOptions, plain: bool = False) -> _Question:
    """What to ask of this server; `plain`: without anything that it may not know."""
    from pystac_client import ConformanceClasses

    def can(name: str) -> bool:
        return not plain and client.conforms_to(getattr(ConformanceClasses, name))

    keywords: dict = {"limit": options.page_size, "datetime": options.interval, "method": _method(client)}
    if options.collections:
        keywords["collections"] = list(options.collections)
    clouds = options.max_cloud is not None
    if clouds and can("QUERY"):
        keywords["query"] = {"eo:cloud_cover": {"lte": options.max_cloud}}
    elif clouds and can("FILTER"):
        keywords["filter"] = {"op": "<=", "args": [{"property": "eo:cloud_cover"}, options.max_cloud]}
        keywords["filter_lang"] = "cql2-json"
    if options.sort_key and can("SORT"):
        name, largest_first = options.sort_key
        keywords["sortby"] = [{"field": name, "direction": "desc" if largest_first else "asc"}]
    filters_here = clouds and not keywords.keys() & {"query", "filter"}
    sorts_here = options.sort_key is not None and "sortby" not in keywords
    if not filters_here and not sorts_here:
        keywords["limit"] = min(options.page_size, options.max_items)
    return _Question(keywords, filters_here, sorts_here)


def _method(client) -> str:
    methods = {str(link.extra_fields.get("method") or "").upper() for link in client.get_links("search")}
    return "GET" if methods == {"GET"} else "POST"


def _pages(client, parameters: dict) -> Iterator[dict]:
    from pystac_client.exceptions import APIError

    parameters = {name: value for name, value in parameters.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield from client.search(**parameters).pages_as_dicts()
        except APIError as error:
            if getattr(error, "status_code", None) != 405 or parameters["method"] == "GET":
                raise
            yield from client.search(**{**parameters, "method": "GET"}).pages_as_dicts()


def _item(feature: dict, gathered: _Gathered):
    try:
        return parse_item(feature)
    except InputError as error:  # one bad item of a page is no reason to lose the others
        name = feature.get("id", "an item") if isinstance(feature, dict) else "an item"
        gathered.notes.append(f"{name} is no valid item and was left out ({error.what})")
        return None


def _matched(page: dict) -> int | None:
    for value in (page.get("numberMatched"), (page.get("context") or {}).get("matched")):
        if isinstance(value, int):
            return value
    return None


def _check_collections(opened: OpenCatalogue, options: SearchOptions) -> None:
    """Nothing found: is it because there is no such collection?"""
    known = {collection.id for collection in collections_of(opened)}
    unknown = [name for name in options.collections if name not in known]
    if unknown and known:
        raise InputError(f"there is no collection {unknown[0]!r} in {opened.catalogue.name}", where="collections",
                         mend=f"Choose of {', '.join(sorted(known)[:12])}")


def _tell_left_out(matcher: Matcher, gathered: _Gathered, is_api: bool) -> None:
    for reason, count in sorted(matcher.reasons.items()):
        if reason.startswith("no "):
            gathered.notes.append(f"{count} left out: {reason}")
        elif is_api and reason in ("another collection", "another date", "elsewhere"):
            gathered.notes.append(f"the server sent {count} that were not asked for ({reason}): left out")
    if gathered.twice:
        gathered.notes.append(f"{gathered.twice} came twice and are kept once")
