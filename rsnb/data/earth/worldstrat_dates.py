"""Dates of WorldStrat's revisits: from `.metadata` files, from `dates.csv` or `metadata.csv`, from file names."""

from __future__ import annotations

import ast
import csv
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from rsnb.data.earth.dates import date_in_name, parse_date, parse_days
from rsnb.data.earth.worldstrat_layout import PlaceFiles, Revisit
from rsnb.errors import InputError

LOW_KEYS = ("lowres_date", "datetime", "acquisition_date", "sensing_time", "date")
HIGH_KEYS = ("highres_date", "target_date", "hr_date")
PLACE_KEYS = ("aoi", "poi", "place", "name", "location", "")
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class RevisitFacts:
    """What the metadata say about one revisit.

    Attributes:
        date: of the frame; NaT where nothing says it.
        high_date: of the high-resolution picture; NaT where nothing says it.
        offset_days: date - high_date; where one of the two is unknown the stated delta, else nan.
        cloud_cover: per cent of the whole product, not of this place; nan where not stated.
        notes: what contradicts itself.
    """

    date: np.datetime64
    high_date: np.datetime64
    offset_days: float
    cloud_cover: float
    notes: tuple[str, ...] = ()


def revisit_facts(place: PlaceFiles, revisit: Revisit) -> RevisitFacts:
    """Dates and cloud cover of a revisit.

    Raises:
        InputError: metadata that cannot be read, or a date in them that is none.
    """
    fields, where = _fields(place, revisit)
    low = _date(fields, LOW_KEYS, where)
    high = _date(fields, HIGH_KEYS, where)
    if np.isnat(low) and not revisit.metadata:
        names = [date_in_name(path.name) for path in revisit.files.values()]
        low = next((d for d in names if d is not None), low)
    delta = parse_days(fields.get("delta"))
    # Day against day: a delta of hours (Amnesty) rounds as the published dates do.
    if np.isnat(low) and not np.isnat(high) and delta is not None:
        low = high + np.timedelta64(round(delta * 86400), "s")
    offset, notes = np.nan if delta is None else delta, []
    if not np.isnat(low) and not np.isnat(high):
        offset = float((low - high) / DAY)
        if delta is not None and abs(offset - delta) > 1.0:
            notes.append(f"revisit {revisit.n}: delta says {delta:g} days, the dates {offset:g}")
    cloud = fields.get("cloud_cover")
    try:
        cloud = float(cloud)
    except (TypeError, ValueError):
        cloud = np.nan
    return RevisitFacts(low, high, offset, cloud, tuple(notes))


def _fields(place: PlaceFiles, revisit: Revisit) -> tuple[Mapping, Path | str]:
    """The revisit's own file first, then rows of tables; where they came from."""
    if revisit.metadata is not None:
        return read_metadata(revisit.metadata), revisit.metadata
    numbers = ("frame", "n") if place.frames == "prepared" else ("revisit_n", "n", "revisit")
    for table in place.tables:
        for row in _rows_by_place(table, table.stat().st_mtime_ns).get(place.name, ()):
            number = next((row[k] for k in numbers if row.get(k)), None)
            try:
                if number is not None and int(float(number)) == revisit.n:
                    return row, table
            except ValueError:
                raise InputError(f"the number of a frame of {place.name} is {number!r}", where=table) from None
    return {}, place.name


def read_metadata(path: str | Path) -> dict:
    """A `.metadata` file as a dictionary: JSON, a Python dictionary, or lines `key: value` / `key,value`.

    Raises:
        InputError: none of these.
    """
    text = Path(path).read_text(encoding="utf-8-sig", errors="replace").strip()
    for parse in (json.loads, ast.literal_eval):
        try:
            values = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(values, dict):
            return {str(k).strip().lower(): v for k, v in values.items()}
    values = {}
    for line in text.splitlines():
        cut = min((line.find(s) for s in ":,=\t" if s in line), default=-1)
        if cut > 0:
            values[line[:cut].strip(" \"'").lower()] = line[cut + 1 :].strip(" \"',")
    if not values:
        raise InputError("the metadata can be read neither as JSON nor as lines `key: value`", where=path,
                         mend="Write {\"lowres_date\": \"2019-10-18\", \"highres_date\": \"2019-10-20\"}")
    return values


@lru_cache(maxsize=4)
def _rows_by_place(path: Path, stamp: int) -> dict[str, list[Mapping[str, str]]]:
    """A table's rows, by place; `stamp` is the file's time, so that a changed table is read again."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("this is no text file", where=path) from None
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.DictReader(text.splitlines(), delimiter=separator)
    places = defaultdict(list)
    for cells in reader:
        row = {(k or "").strip().lower(): v for k, v in cells.items() if isinstance(v, str)}
        named = next((row[k] for k in PLACE_KEYS if row.get(k)), None)
        if named is not None:
            places[named.strip().replace(" ", "_")].append(row)
    return dict(places)


def _date(fields: Mapping, keys: tuple[str, ...], where) -> np.datetime64:
    for key in keys:
        value = fields.get(key)
        if value not in (None, "", "None", "nan", "NaT"):
            try:
                return parse_date(value)
            except InputError as error:
                raise InputError(f"{key}: {error.what}", where=where, mend=error.mend) from None
    return np.datetime64("NaT", "s")
