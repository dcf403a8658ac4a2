"""All run records as one table: filter, sort, and write as text, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import operator
import re
from collections.abc import Iterable
from pathlib import Path

from rsnb.errors import InputError
from rsnb.runs.record import RECORD, read_record

OPERATORS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
             ">=": operator.ge}
FIXED = ("notebook", "profile", "key", "status", "started", "wall_seconds", "peak_rss_mib")


def collect(runs: Path) -> list[dict]:
    """The records under a runs folder, oldest first; each with its `folder`."""
    records = []
    for path in Path(runs).glob(f"*/*/{RECORD}"):
        record = read_record(path.parent)
        if record is not None:
            records.append({**record, "folder": path.parent})
    return sorted(records, key=lambda record: (record["started"], record["notebook"]))


def rows(records: Iterable[dict]) -> list[dict[str, object]]:
    """One flat row a record: the fixed columns, then metrics, then parameters as `-name`."""
    flat = []
    for record in records:
        row = {name: record.get(name) for name in FIXED[:-1]}
        row["peak_rss_mib"] = None if not record.get("peak_rss_bytes") else round(record["peak_rss_bytes"] / 2**20)
        row.update({name: value if not isinstance(value, dict) else "not measured"
                    for name, value in record.get("metrics", {}).items()})
        row.update({f"-{name}": value for name, value in record.get("parameters", {}).items()})
        if record.get("reason"):
            row["reason"] = record["reason"]
        flat.append(row)
    return flat


def select(table: list[dict], conditions: Iterable[str] = (), sort: str = "",
           columns: Iterable[str] = ()) -> list[dict]:
    """Rows that meet every condition ("psnr>=30", "status=ok"), sorted by a column ("-psnr": falling), columns picked.

    Raises:
        InputError: a condition that is none, or a column that no row has.
    """
    known = list(dict.fromkeys(name for row in table for name in row))
    for condition in conditions:
        match = re.fullmatch(r"(.+?)(<=|>=|!=|=|<|>)(.*)", condition)
        if not match:
            raise InputError(f"{condition!r} is no condition", where="--where", mend="Write it like psnr>=30")
        name, sign, text = match.groups()
        _demand(name, known, table)
        table = [row for row in table if _compare(row.get(name), OPERATORS[sign], text)]
    if sort:
        falling = sort.startswith("-") and sort not in known
        name = sort[1:] if falling else sort
        _demand(name, known, table)
        there = sorted((r for r in table if r.get(name) is not None), key=lambda r: _sortable(r[name]), reverse=falling)
        table = there + [r for r in table if r.get(name) is None]
    columns = list(columns)
    for name in columns:
        _demand(name, known, table)
    return [{name: row.get(name) for name in columns} for row in table] if columns else table


def render(table: list[dict], form: str) -> str:
    """The table as "csv", "json" or "markdown" text."""
    if form == "json":
        return json.dumps(table, indent=2, default=str, ensure_ascii=False) + "\n"
    names = list(dict.fromkeys(name for row in table for name in row))
    cells = [[cell_text(row.get(name)) for name in names] for row in table]
    if form == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([names, *([cell_text(row.get(name), full=True) for name in names] for row in table)])
        return out.getvalue()
    if form == "markdown":
        lines = [names, ["---"] * len(names), *cells]
        return "".join("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |\n" for line in lines)
    raise InputError(f"there is no form {form!r}", where="--format", mend="Choose one of: text, markdown, csv, json")


def compact(table: list[dict]) -> list[dict]:
    """Rows for a terminal's width: what a run was, and all its results in one text.

    A parameter is named where it differs between the runs of a notebook.
    """
    short = []
    for row in table:
        same = [other for other in table if other.get("notebook") == row.get("notebook")]
        details = [f"{name} {cell_text(value)}" for name, value in row.items()
                   if name not in (*FIXED, "reason") and value is not None
                   and (not name.startswith("-") or any(other.get(name) != value for other in same))]
        short.append({
            "notebook": row["notebook"], "profile": row["profile"], "key": row["key"][:8], "status": row["status"],
            "wall": None if row["wall_seconds"] is None else f"{row['wall_seconds']:.0f} s",
            "results": row.get("reason") or ", ".join(details),
        })
    return short


def cell_text(value: object, full: bool = False) -> str:
    """A value as text; four digits of a float unless `full`."""
    if value is None:
        return ""
    if isinstance(value, float) and not full:
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _demand(name: str, known: list[str], table: list[dict]) -> None:
    if table and name not in known:
        raise InputError(f"no run has a column {name!r}", where="rsnb table", mend=f"Columns: {', '.join(known)}")


def _compare(value: object, test, text: str) -> bool:
    if value is None:
        return False
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return test(cell_text(value), text)
    try:
        return test(value, float(text))
    except ValueError:
        raise InputError(f"{text!r} is not a number", where="--where", mend="This column holds numbers") from None


def _sortable(value: object) -> tuple:
    return (0, value, "") if isinstance(value, (int, float)) else (1, 0, str(value))
