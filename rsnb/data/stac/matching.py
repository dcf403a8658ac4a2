"""Which items fit a question, decided here: for static catalogues, and for servers that cannot or do not filter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rsnb.data.stac.area import on_the_globe, split_at_antimeridian
from rsnb.data.stac.options import SearchOptions, parse_moment
from rsnb.errors import InputError


class Matcher:
    """Tells why an item does not fit a `SearchOptions`, or that it does; geometry is prepared once.

    Attributes:
        reasons: {why: how many items were left out for it}, counted as they come.
    """

    def __init__(self, options: SearchOptions):
        from shapely.geometry import box, shape
        from shapely.ops import unary_union

        self.options = options
        self.reasons: dict[str, int] = {}
        area = None
        if options.geometry is not None:
            area = shape(options.geometry)
        elif options.boxes:
            area = unary_union([box(*b) for b in options.boxes])
        self._area = area

    def fits(self, item) -> bool:
        """Whether a `pystac.Item` fits; if not, its reason is counted."""
        reason = self._reason(item)
        if reason is not None:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        return reason is None

    def _reason(self, item) -> str | None:
        options = self.options
        if options.collections and item.collection_id not in options.collections:
            return "another collection"
        if options.start or options.end:
            start, end = item_interval(item)
            if start is None:
                return "no date"
            if (options.start and end < options.start) or (options.end and start > options.end):
                return "another date"
        if options.max_cloud is not None:
            cloud = cloud_cover(item)
            if cloud is None:
                return "no cloud cover stated"
            if cloud > options.max_cloud:
                return "too cloudy"
        if self._area is not None:
            footprint = item_footprint(item)
            if footprint is None:
                return "no footprint"
            if not footprint.intersects(self._area):
                return "elsewhere"
        return None


def item_interval(item) -> tuple[dt.datetime | None, dt.datetime | None]:
    """First and last moment of an item, UTC; both its `datetime` where that is all it has; (None, None) without."""
    moments = []
    for name in ("start_datetime", "end_datetime"):
        try:
            moments.append(parse_moment(item.properties.get(name), name))
        except InputError:
            moments.append(None)
    moment = item.datetime
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    start, end = moments[0] or moment or moments[1], moments[1] or moment or moments[0]
    return start, end


def cloud_cover(item) -> float | None:
    """Percent of clouds, by the names that catalogues give it, or None."""
    for name in ("eo:cloud_cover", "cloudCover", "s2:cloud_cover", "landsat:cloud_cover_land"):
        value = item.properties.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value) if 0 <= value <= 100 else None  # -1 is how some catalogues say unknown
    return None


def item_footprint(item):
    """The footprint as a shapely geometry, from the box where there is no geometry; None without either."""
    from shapely.errors import ShapelyError
    from shapely.geometry import box
    from shapely.ops import unary_union

    if item.geometry:
        try:
            return on_the_globe(item.geometry)
        except (ShapelyError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            pass
    if not item.bbox or len(item.bbox) not in (4, 6):
        return None
    west, south, east, north = item.bbox if len(item.bbox) == 4 else [*item.bbox[:2], *item.bbox[3:5]]
    return unary_union([box(*part) for part in split_at_antimeridian((west, south, east, north))])


def sort_items(items: Iterable, key: tuple[str, bool] | None) -> list:
    """Items by (field, largest first); those without the field last, ties by id."""
    items = list(items)
    if key is None:
        return items
    field, largest_first = key
    get = field_getter(field)
    known = sorted((i for i in items if get(i) is not None), key=lambda i: i.id)
    known.sort(key=_comparable(get, known), reverse=largest_first)
    return known + [i for i in items if get(i) is None]


def field_getter(field: str) -> Callable[[Any], Any]:
    """How to read a field ("id", "datetime", "properties.eo:cloud_cover", "eo:cloud_cover") off an item."""
    name = field.removeprefix("properties.")
    if name == "datetime":
        return lambda item: item_interval(item)[0]
    if name in ("id", "collection"):
        return lambda item: item.id if name == "id" else item.collection_id
    if name == "eo:cloud_cover":
        return cloud_cover
    return lambda item: item.properties.get(name)


def _comparable(get: Callable[[Any], Any], items: Sequence) -> Callable[[Any], Any]:
    kinds = {isinstance(get(i), (int, float)) for i in items}
    mixed = len(kinds) > 1 or any(isinstance(get(i), (list, dict)) for i in items)
    return (lambda item: str(get(item))) if mixed else get
