"""Pair lists of CVUSA's kind: satellite path, panorama path and maybe label path a line, no header."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rsnb.data.crossview.folders import PICTURES
from rsnb.errors import InputError
from rsnb.files import require_file

_FROM_ABOVE = re.compile(r"bing|aerial|sat(?!urn)|overhead|nadir")
_FROM_STREET = re.compile(r"street|pano|ground|grd")


@dataclass(frozen=True)
class Row:
    """One line of a list.

    Attributes:
        id: stem of the satellite picture, or its digits where the two stems are words with a number.
        cells: the paths as written, "/" between folders.
        folder: of the list.
        line: from 1.
    """

    id: str
    cells: tuple[str, ...]
    folder: Path
    line: int

    @property
    def names_differ(self) -> bool:
        """The two names carry different numbers."""
        tile, panorama = (re.findall(r"\d+", _stem(cell)) for cell in self.cells[:2])
        return bool(tile and panorama) and int(tile[-1]) != int(panorama[-1])

    @property
    def panorama_stem(self) -> str:
        """File name of the panorama without its suffix, which masks and labels share."""
        return _stem(self.cells[1])

    def candidates(self, column: int, root: str) -> Iterator[str]:
        """Where the picture of a column may lie: below the root, below the list's folder, or in the root itself."""
        if column < len(self.cells):
            cell = self.cells[column]
            yield f"{root}/{cell}"
            yield f"{self.folder}/{cell}"
            yield f"{root}/{cell.rpartition('/')[2]}"


def read_pair_list(path: str | Path) -> list[Row]:
    """Read a list; columns by comma, semicolon, tab or blanks; one header line is passed over, "\\" counts as "/".

    Raises:
        InputError: naming the line: fewer than two paths, no picture names, the two columns swapped, an id twice.
    """
    path = require_file(path, "pair list")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("this is no text file", where=path, mend="Give a csv such as train-19zl.csv") from None
    rows: list[Row] = []
    first: dict[str, int] = {}
    seen = False
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = tuple(c.replace("\\", "/").removeprefix("./") for c in _cells(line))
        pictures = [c.lower().endswith(PICTURES) for c in cells[:2]]
        if not seen and not any(pictures):
            seen = True
            continue  # a header
        seen = True
        row = _checked_row(path, number, cells, pictures)
        if row.id in first:
            raise InputError(f"pair {row.id} stands here and in line {first[row.id]}", where=path, line=number,
                             mend="Remove one of the two")
        first[row.id] = number
        rows.append(row)
    if not rows:
        raise InputError("there is no pair in this list", where=path,
                         mend="Write lines such as bingmap/19/0000001.jpg,streetview/panos/0000001.jpg")
    return rows


def _cells(line: str) -> list[str]:
    separator = next((s for s in ",;\t" if s in line), " ")
    cells = [c.strip() for c in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]
    while cells and not cells[-1]:
        cells.pop()
    return [c for c in cells if c] if separator == " " else cells


def _checked_row(path: Path, number: int, cells: tuple[str, ...], pictures: list[bool]) -> Row:
    if len(cells) < 2 or not all(pictures):
        what = f"column {len(pictures) + 1 if len(cells) < 2 else pictures.index(False) + 1} is not a picture"
        raise InputError(f"{what} ({','.join(cells)[:80]!r})", where=path, line=number,
                         mend="Each line needs the satellite picture, the panorama and, if there is one, the label, "
                              "separated by commas")
    above = [bool(_FROM_ABOVE.search(c.lower())) for c in cells[:2]]
    street = [bool(_FROM_STREET.search(c.lower())) for c in cells[:2]]
    if street[0] and above[1] and not (above[0] or street[1]):
        raise InputError(f"the columns look swapped: {cells[0]} comes before {cells[1]}", where=path, line=number,
                         mend="The satellite picture stands first, the panorama second")
    stems = [_stem(c) for c in cells[:2]]
    digits = re.findall(r"\d+", stems[0])
    return Row(stems[0] if stems[0] == stems[1] or not digits else digits[-1], cells, path.parent, number)


def _stem(cell: str) -> str:
    return cell.rpartition("/")[2].rpartition(".")[0]
