"""What to search for, checked before anything is asked."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.stac.area import Box, parse_bbox, read_geometry, split_at_antimeridian
from rsnb.errors import InputError

Moment = str | dt.date | dt.datetime | np.datetime64 | None
_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
SORT_KEYS = {"datetime": "properties.datetime", "date": "properties.datetime", "cloud": "properties.eo:cloud_cover",
             "cloud_cover": "properties.eo:cloud_cover", "id": "id"}


@dataclass(frozen=True)
class SearchOptions:
    """One question to a catalogue. Every field may be left out; what is given is checked at once.

    Attributes:
        bbox: (west, south, east, north), degrees; west > east crosses the antimeridian. Also a text of four numbers.
        geometry: GeoJSON geometry, Feature or FeatureCollection, as a dictionary, text or file; not beside `bbox`.
        start: first moment, UTC: "2023", "2023-08", "2023-08-10", "2023-08-10T09:00:00Z", a date or a datetime.
        end: last moment, included: a day means until its last second, a year until its end.
        collections: ids; a single one may stand alone. Empty: all.
        max_cloud: percent, 0..100. Items that state no cloud cover are left out.
        max_items: most items to give.
        sort: "datetime", "cloud", "id" or any property such as "properties.view:sun_elevation"; a minus in front
            means largest first; empty: as the server sends them.
        page_size: items a request.

    Raises:
        InputError: naming the field: a box that is none, a date that does not parse, the end before the start ...
    """

    bbox: Box | Sequence[float] | str | None = None
    geometry: Mapping | str | Path | None = None
    start: Moment = None
    end: Moment = None
    collections: tuple[str, ...] | str = ()
    max_cloud: float | None = None
    max_items: int = 50
    sort: str = "-datetime"
    page_size: int = 100

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        if self.bbox is not None and self.geometry is not None:
            raise InputError("both a box and a geometry are given", where="SearchOptions", mend="Leave one of them out")
        if self.bbox is not None:
            put("bbox", parse_bbox(self.bbox))
        if self.geometry is not None:
            put("geometry", read_geometry(self.geometry))
        put("start", parse_moment(self.start, "start"))
        put("end", parse_moment(self.end, "end"))
        if self.start and self.end and self.start > self.end:
            raise InputError(f"the start ({_text(self.start)}) comes after the end ({_text(self.end)})",
                             where="start", mend="Swap the two dates")
        names = (self.collections,) if isinstance(self.collections, str) else tuple(self.collections)
        put("collections", tuple(name for name in names if name))
        if self.max_cloud is not None and not 0 <= float(self.max_cloud) <= 100:
            raise InputError(f"{self.max_cloud} is no percentage", where="max_cloud", mend="Give 0 to 100, or None")
        for name in ("max_items", "page_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{value!r} is no number of items", where=name, mend="Give a whole number from 1 on")
        put("sort", self.sort or "")

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The box, cut in two where it crosses the antimeridian; empty where none is given."""
        return () if self.bbox is None else split_at_antimeridian(self.bbox)

    @property
    def interval(self) -> str | None:
        """start/end as the STAC API writes it, an open end as "..", or None without dates."""
        if self.start is None and self.end is None:
            return None
        return "/".join(".." if moment is None else _text(moment) for moment in (self.start, self.end))

    @property
    def sort_key(self) -> tuple[str, bool] | None:
        """(field, largest first), or None where the server's order is kept."""
        if not self.sort:
            return None
        name = self.sort.lstrip("+-")
        return SORT_KEYS.get(name, name), self.sort.startswith("-")


def parse_moment(value: Moment, where: str) -> dt.datetime | None:
    """A UTC datetime; `where` "end" takes the last second of a day, month or year.

    Raises:
        InputError: naming `where`: it does not parse, or there is no such day.
    """
    if value is None or (isinstance(value, str) and value.strip() in ("", "..")):
        return None
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            return None
        whole_day = np.datetime_data(value.dtype)[0] in ("Y", "M", "D")
        value = str(value) if whole_day else value.astype("datetime64[s]").item()
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    text = value.isoformat() if isinstance(value, dt.date) else str(value).strip()
    try:
        day = _DAY.fullmatch(text)
        if day:
            return _first_or_last(*(int(part) if part else None for part in day.groups()), last=where == "end")
        return parse_moment(dt.datetime.fromisoformat(text), where)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{text!r} is no date ({error})", where=where,
                         mend="Write it year first, such as 2023-08-10 or 2023-08-10T09:30:00Z") from None


def _first_or_last(year: int, month: int | None, day: int | None, last: bool) -> dt.datetime:
    start = dt.datetime(year, month or 1, day or 1, tzinfo=dt.UTC)
    if not last:
        return start
    if day:
        after = start + dt.timedelta(days=1)
    elif month:
        after = start.replace(year=year + month // 12, month=month % 12 + 1)
    else:
        after = start.replace(year=year + 1)
    return after - dt.timedelta(seconds=1)


def _text(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
