"""Dates as files write them: in metadata, in TIFF tags, in file names."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np

from rsnb.errors import InputError

_IN_NAME = (
    # 20230815T103629 and 2023-08-15 (with _ . or nothing between), then day of year after MODIS's A: A2013257
    (r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)[T_](\d\d)(\d\d)(\d\d)(?!\d)", "time"),
    (r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)(?!\d)", "day"),
    (r"(?<![A-Za-z\d])A((?:19|20)\d\d)(\d\d\d)(?!\d)", "year day"),
    (r"(?<!\d)((?:19|20)\d\d)-(\d\d\d)(?!\d)", "year day"),
)
_DELTA = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*(?:d|days?)?(?:,?\s*([+-])?(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?)?\s*")


def parse_date(value, where="date") -> np.datetime64:
    """A moment in UTC to the second, datetime64[s].

    Args:
        value: "2022-10-05T11:54:11.024Z" (offsets are taken to UTC), "2022-10-05", "2022/10/05", "20221005",
            "2022:10:05 11:54:11" (TIFFTAG_DATETIME), or anything that is a date already.

    Raises:
        InputError: anything else; days before months (05/10/2022) are refused, nobody knows which is which.
    """
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[s]")
    if not isinstance(value, datetime):
        text = str(value).strip().replace("/", "-")
        text = re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", text)
        text = re.sub(r"\s*(?:UTC|GMT)$", "Z", text)
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            raise InputError(f"{str(value)!r} is no date", where=where, mend="Write it as 2022-10-05") from None
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(value, "s")


def parse_days(value) -> float | None:
    """Days of a time span as metadata write it: -2, "-2 days", "-2 days +10:00:00", "-2 days, 10:00:00"; else None.

    In the last two the hours count forwards from the negative days (pandas and Python both print so): -1.58 days.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if np.isfinite(value) else None
    match = _DELTA.fullmatch(str(value))
    if match is None:
        return None
    hours = sum(float(part or 0) / scale for part, scale in zip(match.groups()[2:], (24, 1440, 86400), strict=True))
    return float(match[1]) + (-hours if match[2] == "-" else hours)


def date_in_name(name: str, pattern: str | None = None) -> np.datetime64 | None:
    """The first date in a file name, or None.

    Args:
        name: file name. Of several dates the first counts: products name the acquisition before the processing.
        pattern: a regular expression of your own, whose first group (or whole match) is a date.

    Raises:
        InputError: a pattern that is no regular expression, or that finds something that is no date.
    """
    if pattern is not None:
        try:
            match = re.search(pattern, name)
        except re.error as error:
            raise InputError(f"{pattern!r} is no regular expression ({error})", where="date pattern") from None
        if match is None:
            return None
        text = match[1] if match.re.groups else match[0]
        found = date_in_name(text)
        return parse_date(text, where=name) if found is None else found
    found = []
    for expression, kind in _IN_NAME:
        for match in re.finditer(expression, name):
            moment = _moment(match, kind)
            if moment is not None:
                found.append((match.start(), moment))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _moment(match: re.Match, kind: str) -> np.datetime64 | None:
    try:
        if kind == "year day":
            year, day = int(match[1]), int(match[2])
            moment = datetime(year, 1, 1) + timedelta(days=day - 1)
            return np.datetime64(moment, "s") if 1 <= day and moment.year == year else None
        numbers = [int(match[i]) for i in ((1, 3, 4) if kind == "day" else (1, 3, 4, 5, 6, 7))]
        return np.datetime64(datetime(*numbers), "s")
    except ValueError:
        return None
