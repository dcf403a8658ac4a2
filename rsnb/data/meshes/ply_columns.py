"""The columns of a PLY file, ASCII or binary, whatever elements and properties its header names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rsnb.errors import InputError

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8", "int64": "i8", "uint64": "u8",
}


@dataclass
class _Element:
    name: str
    count: int
    properties: list[tuple[str, str, str | None]] = field(default_factory=list)  # name, type, type of list length


@dataclass
class Column:
    """One property of an element: `values` of all rows after each other, `counts` a row (None = one each)."""

    values: np.ndarray
    counts: np.ndarray | None = None


@dataclass
class PlyFile:
    """A PLY file taken apart.

    Attributes:
        columns: element name -> property name -> column.
        comments: texts of `comment` and `obj_info` lines.
        first_line: line number of each element's first row, ASCII files only.
    """

    columns: dict[str, dict[str, Column]]
    comments: list[str]
    first_line: dict[str, int]


def read_columns(path: Path) -> PlyFile:
    """All elements of a PLY file.

    Raises:
        InputError: header that cannot be understood, something that is no number, fewer rows than promised.
    """
    elements, comments, layout, body, header_lines = _header(path)
    if layout != "ascii":
        return PlyFile(_binary(path, elements, body, layout), comments, {})
    lines, line = {}, header_lines + 1
    for element in elements:
        lines[element.name] = line
        line += element.count
    return PlyFile(_ascii(path, elements, body, header_lines), comments, lines)


def _header(path: Path) -> tuple[list[_Element], list[str], str, bytes, int]:
    data = path.read_bytes()
    end = data.find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise InputError("this is no PLY file: it has no header from `ply` to `end_header`", where=path,
                         mend="Check the file; it may be cut short")
    stop = data.index(b"\n", end) + 1 if b"\n" in data[end:] else len(data)
    elements, comments, layout = [], [], "ascii"
    lines = data[:stop].decode("latin-1").replace("\r", "").split("\n")
    for number, line in enumerate(lines, start=1):
        words = line.split()
        try:
            if words[:1] == ["format"]:
                layout = words[1]
            elif words[:1] == ["comment"] or words[:1] == ["obj_info"]:
                comments.append(line.split(None, 1)[1] if len(words) > 1 else "")
            elif words[:1] == ["element"]:
                elements.append(_Element(words[1], int(words[2])))
                if elements[-1].count < 0:
                    raise ValueError(words[2])
            elif words[:2] == ["property", "list"]:
                elements[-1].properties.append((words[4], _TYPES[words[3]], _TYPES[words[2]]))
            elif words[:1] == ["property"]:
                elements[-1].properties.append((words[2], _TYPES[words[1]], None))
        except (IndexError, KeyError, ValueError):
            raise InputError(f"the header line `{line}` cannot be understood", where=path, line=number,
                             mend="Repair the header") from None
    if layout not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise InputError(f"unknown PLY format {layout!r}", where=path, mend="Use ascii or a binary format")
    return elements, comments, layout, data[stop:], len(lines) - 1


def _ascii(path: Path, elements: list[_Element], body: bytes, header_lines: int):
    try:
        values = np.array(body.split(), dtype=np.float64)
    except ValueError:
        for number, line in enumerate(body.split(b"\n"), start=header_lines + 1):
            try:
                [float(t) for t in line.split()]
            except ValueError:
                raise InputError(f"`{line.decode('latin-1').strip()[:80]}` holds something that is no number",
                                 where=path, line=number, mend="Repair that line") from None
        raise
    result, at = {}, 0
    for element in elements:
        table, at = _walk(path, element, values, at)
        result[element.name] = table
    return result


def _walk(path: Path, element: _Element, values: np.ndarray, at: int) -> tuple[dict[str, Column], int]:
    """Columns of one element out of a flat row of numbers from `at` on; rows of one shape are the fast way."""
    shape, cursor = [], at
    for _, _, list_type in element.properties:
        if list_type is None or element.count == 0:
            shape.append(1)
        else:
            shape.append(_length(path, element, 0, values[cursor]) + 1 if cursor < len(values) else 1)
        cursor += shape[-1]
    width = sum(shape)
    edges = np.concatenate([[0], np.cumsum(shape)]).astype(int)
    rows = values[at : at + width * element.count]
    if len(rows) == width * element.count:
        rows = rows.reshape(element.count, width)
        lists = [i for i, p in enumerate(element.properties) if p[2] is not None]
        if all((rows[:, edges[i]] == shape[i] - 1).all() for i in lists):
            table = {}
            for i, (name, kind, list_type) in enumerate(element.properties):
                block = rows[:, edges[i] + (list_type is not None) : edges[i + 1]].reshape(-1)
                counts = None if list_type is None else np.full(element.count, shape[i] - 1)
                table[name] = Column(_typed(block, kind), counts)
            return table, at + width * element.count
    return _walk_uneven(path, element, values.tolist(), at)


def _walk_uneven(path: Path, element: _Element, values: list[float], at: int) -> tuple[dict[str, Column], int]:
    """The same for rows of different lengths (polygons)."""
    table = {p[0]: ([], []) for p in element.properties}
    for row in range(element.count):
        for name, _, list_type in element.properties:
            length = 1
            if list_type is not None and at < len(values):
                length, at = _length(path, element, row, values[at]), at + 1
                table[name][1].append(length)
            if at + length > len(values):
                raise _short(path, element, row)
            table[name][0].extend(values[at : at + length])
            at += length
    return {
        name: Column(_typed(np.array(table[name][0]), kind),
                      None if list_type is None else np.array(table[name][1], dtype=int))
        for name, kind, list_type in element.properties
    }, at


def _length(path: Path, element: _Element, row: int, value: float) -> int:
    """A list's length, or an InputError where the number there can be none."""
    if not 0 <= value < 2**31 or value != int(value):
        raise InputError(f"row {row} (from 0) of `{element.name}` holds a list of {value} items", where=path,
                         mend="The file is damaged: fetch or export it again")
    return int(value)


def _typed(block: np.ndarray, kind: str) -> np.ndarray:
    if kind[0] not in "iu":
        return block.astype(np.float64)
    with np.errstate(invalid="ignore"):  # NaN among integers becomes an impossible index or label, found later
        return block.astype(np.int64)


def _short(path: Path, element: _Element, row: int) -> InputError:
    return InputError(f"the header promises {element.count} rows of `{element.name}`, the file ends in row {row}",
                      where=path, mend="The file is cut short: fetch or export it again")


def _binary(path: Path, elements: list[_Element], body: bytes, layout: str):
    order = "<" if layout == "binary_little_endian" else ">"
    result, at = {}, 0
    for element in elements:
        if not element.count or not element.properties:
            result[element.name] = {}
            continue
        table = _binary_even(path, element, body, at, order)
        result[element.name], at = table if table is not None else _binary_uneven(path, element, body, at, order)
    return result


def _binary_even(path: Path, element: _Element, body: bytes, at: int, order: str):
    """All rows of one shape, that of the first: one structured array. None where that does not hold."""
    fields, cursor = [], at
    for i, (_, kind, list_type) in enumerate(element.properties):
        length = 1
        if list_type is not None:
            size = np.dtype(list_type).itemsize
            if cursor + size > len(body):
                return None  # the careful way says what is wrong
            length = _length(path, element, 0, np.frombuffer(body, order + list_type, 1, cursor)[0])
            fields.append((f"n{i}", order + list_type))
            cursor += size
            if length * np.dtype(kind).itemsize > len(body) - cursor:
                return None
        fields.append((f"p{i}", order + kind, (length,)))
        cursor += np.dtype(kind).itemsize * length
    layout = np.dtype(fields)
    if at + layout.itemsize * element.count > len(body):
        return None
    rows = np.frombuffer(body, layout, element.count, at)
    table = {}
    for i, (name, _, list_type) in enumerate(element.properties):
        block = rows[f"p{i}"]
        if list_type is not None and (rows[f"n{i}"] != block.shape[1]).any():
            return None
        counts = None if list_type is None else np.full(element.count, block.shape[1])
        table[name] = Column(block.reshape(-1), counts)
    return table, at + layout.itemsize * element.count


def _binary_uneven(path: Path, element: _Element, body: bytes, at: int, order: str):
    parts = {p[0]: ([], []) for p in element.properties}
    plan = [(name, np.dtype(order + kind), None if lt is None else np.dtype(order + lt))
            for name, kind, lt in element.properties]
    for row in range(element.count):
        for name, kind, list_type in plan:
            length = 1
            try:
                if list_type is not None:
                    length = _length(path, element, row, np.frombuffer(body, list_type, 1, at)[0])
                    at += list_type.itemsize
                    parts[name][1].append(length)
                parts[name][0].append(np.frombuffer(body, kind, length, at))
            except InputError:
                raise
            except ValueError:
                raise _short(path, element, row) from None
            at += kind.itemsize * length
    return {
        name: Column(np.concatenate(parts[name][0]) if parts[name][0] else np.zeros(0, kind),
                      None if list_type is None else np.array(parts[name][1], dtype=int))
        for name, kind, list_type in plan
    }, at
