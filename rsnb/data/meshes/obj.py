"""Wavefront OBJ with MTL and textures.

Read by an own parser: trimesh 5.2 drops group names (the semantics), resolves negative texture indices wrongly, and
knows no line numbers; it is the oracle of the tests for what both can do. Numbers are parsed in bulk by numpy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rsnb.data.meshes.class_tables import CITY_SURFACES, display_colour, surface_class
from rsnb.data.meshes.mtl import find_library, read_mtl
from rsnb.data.meshes.polygons import near_zero, split_polygons
from rsnb.data.meshes.reading import DEFAULTS, Reading, ReadOptions, is_file, place
from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.scenes import Georeference, Material, SemanticClass, TexturedMesh

GREY = (0.8, 0.8, 0.8)


def read_obj(
    path: str | Path,
    georeference: Georeference | None = None,
    options: ReadOptions = DEFAULTS,
    reading: Reading | None = None,
) -> TexturedMesh:
    """Read a Wavefront OBJ file, its material libraries and their textures.

    Semantics: a group or material whose name is a class ("g roof", "g class_high vegetation", "usemtl wall_2") gives
    its faces that class; groups come first. A header may carry the class table, one comment line a class:
    `# class ID NAME R G B`. Objects (`o`) are instances; without them, groups that are no class are. Colours behind
    the coordinates of `v` lines are kept where no texture was found.

    Args:
        path: the OBJ file; MTL and textures are looked for beside it.
        georeference: place on Earth of the file's coordinates.
        options: up axis, class table, texture size.
        reading: a job that several files share (then the caller reports its warnings).

    Raises:
        InputError: naming file and line where a line cannot be understood or an index points nowhere.
    """
    path = require_file(path, "OBJ file")
    own = reading is None
    reading = reading or Reading(options)
    lines = _Lines(path)
    lines.scan(path.read_bytes())
    vertices, colours = _vertices(lines)
    texture_corners = _table(lines, lines.vt, lines.vt_line, "vt", (1, 2, 3))
    corners, uv_index, source = _triangles(lines, vertices)
    uv = np.zeros((len(corners), 3, 2))
    if len(texture_corners):
        if texture_corners.shape[1] == 1:
            texture_corners = np.pad(texture_corners, ((0, 0), (0, 1)))
        uv = np.where(uv_index[..., None] >= 0, texture_corners[np.maximum(uv_index, 0), :2], 0.0)
    materials, face_material = _materials(lines, source, reading)
    classes, face_class, used = _classes(lines, source, options)
    placed, where = place(vertices, georeference, options)
    mesh = TexturedMesh(
        placed, corners.astype(np.int32), near_zero(uv), face_material, materials, face_class, classes,
        _objects(lines, source, used), where,
        None if any(m.texture is not None for m in materials) else colours, name=path.stem,
    )
    if own:
        reading.report(path)
    return mesh


@dataclass
class _Lines:
    """The file's lines by kind; of each face line, which material, group and object was in force."""

    path: Path
    v: list = field(default_factory=list)
    vt: list = field(default_factory=list)
    f: list = field(default_factory=list)
    v_line: list = field(default_factory=list)
    vt_line: list = field(default_factory=list)
    f_line: list = field(default_factory=list)
    counts: list = field(default_factory=list)  # (v, vt) read before each face line: for negative indices
    libraries: list = field(default_factory=list)
    table: list = field(default_factory=list)
    states: dict = field(default_factory=lambda: {"usemtl": [(0, "")], "g": [(0, "")], "o": [(0, "")]})

    def scan(self, data: bytes) -> None:
        if b"\\\n" in data or b"\\\r\n" in data:
            data = re.sub(rb"(?:.*\\\r?\n)+.*", _joined, data)
        v, vt, f, counts = self.v, self.vt, self.f, self.counts
        for number, line in enumerate(data.split(b"\n"), start=1):
            head = line[:2]
            if head == b"v ":
                v.append(line[2:])
                self.v_line.append(number)
            elif head == b"vt":
                vt.append(line[3:])
                self.vt_line.append(number)
            elif head == b"f ":
                f.append(line[2:])
                self.f_line.append(number)
                counts.append((len(v), len(vt)))
            elif head != b"vn" and line.strip():
                self._rare(line, number)

    def _rare(self, line: bytes, number: int) -> None:
        parts = line.decode("utf-8", "replace").strip().split(None, 1)
        word, rest = parts[0], parts[1].strip() if len(parts) > 1 else ""
        if word in ("v", "vt", "f"):  # indented, or a tab after the word
            getattr(self, word).append(rest.encode())
            getattr(self, f"{word}_line").append(number)
            if word == "f":
                self.counts.append((len(self.v), len(self.vt)))
        elif word in self.states:
            self.states[word].append((len(self.f), rest))
        elif word == "mtllib":
            self.libraries.append(rest)
        elif word == "#" and rest.startswith("class "):
            self.table.append((number, rest))

    def state(self, word: str) -> tuple[list[str], np.ndarray]:
        """Names that a statement gave, and of each face line the index of the one in force."""
        names = list(dict.fromkeys(name for _, name in self.states[word]))
        starts = [start for start, _ in self.states[word]] + [len(self.f)]
        index = [names.index(name) for _, name in self.states[word]]
        return names, np.repeat(index, np.diff(starts))


def _joined(lines: re.Match) -> bytes:
    """A line continued by backslashes as one line, its breaks behind it: the lines after it keep their numbers."""
    parts = re.split(rb"\\\r?\n", lines[0])
    return b" ".join(parts) + b"\n" * (len(parts) - 1)


def _table(lines: _Lines, rows: list[bytes], numbers: list[int], word: str, allowed: tuple[int, ...]) -> np.ndarray:
    """[N, k] float64 out of rows of numbers, or an InputError that names the first bad line."""
    if not rows:
        return np.zeros((0, 2))
    try:
        flat = np.array(b" ".join(rows).split(), dtype=np.float64)
    except ValueError:
        flat = None
    width = len(rows[0].split())
    # The product can fit by accident (one row short, one long): only equal rows count.
    if flat is not None and len(flat) == width * len(rows) and width in allowed and _equal_rows(rows, width):
        return flat.reshape(-1, width)
    table, least = [], allowed[0]
    for row, number in zip(rows, numbers, strict=True):
        try:
            values = [float(t) for t in row.split()]
        except ValueError:
            raise InputError(f"`{word} {row.decode('utf-8', 'replace').strip()}` holds something that is no number",
                             where=lines.path, line=number, mend="Repair that line") from None
        if len(values) < least:
            raise InputError(f"`{word}` has {len(values)} numbers, expected {' or '.join(map(str, allowed))}",
                             where=lines.path, line=number, mend="Repair that line")
        table.append(values)
    width = min(max(len(row) for row in table), max(allowed))
    return np.array([(row + [1.0] * width)[:width] for row in table])


def _equal_rows(rows: list[bytes], width: int) -> bool:
    return all(len(row.split()) == width for row in rows)


def _vertices(lines: _Lines) -> tuple[np.ndarray, np.ndarray | None]:
    """[V, 3] float64 file coordinates, and [V, 3] uint8 colours where six numbers stand in each row."""
    table = _table(lines, lines.v, lines.v_line, "v", (3, 4, 6, 7))
    if not lines.v or not lines.f:
        raise InputError("the mesh has no faces", where=lines.path, mend="Check that the file holds `v` and `f` lines")
    bad = np.flatnonzero(~np.isfinite(table[:, :3]).all(axis=1))
    if len(bad):
        raise InputError(f"a vertex is not a finite number (`v {lines.v[bad[0]].decode().strip()}`)",
                         where=lines.path, line=lines.v_line[bad[0]], mend="Remove or repair that vertex")
    colours = None
    if table.shape[1] >= 6:
        rgb = table[:, 3:6] * (1.0 if table[:, 3:6].max() > 1.0 else 255.0)
        colours = np.clip(np.round(rgb), 0, 255).astype(np.uint8)
    return table[:, :3], colours


def _triangles(lines: _Lines, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners [F, 3], texture corners [F, 3] (-1 = none) and the face line index [F] that each triangle comes from."""
    tokens = [line.split() for line in lines.f]
    counts = np.array([len(t) for t in tokens])
    if counts.min() < 3:
        short = int(np.argmin(counts))
        raise InputError(f"a face has {counts[short]} corners", where=lines.path, line=lines.f_line[short],
                         mend="A face needs at least 3")
    index = _corner_indices(lines, tokens)  # [C, 2] from 0, -1 = none
    line_of_corner = np.repeat(np.arange(len(tokens)), counts)
    for column, what, limit in ((0, "vertex", len(vertices)), (1, "texture corner", len(lines.vt))):
        lowest = 0 if column == 0 else -1
        bad = np.flatnonzero((index[:, column] < lowest) | (index[:, column] >= limit))
        if len(bad):
            line = line_of_corner[bad[0]]
            raise InputError(f"a face names {what} {index[bad[0], column] + 1}, but there are only {limit} "
                             f"(`f {lines.f[line].decode('utf-8', 'replace').strip()}`)", where=lines.path,
                             line=lines.f_line[line], mend="The file is cut short or its indices are off")
    pick, source = split_polygons(counts, index[:, 0], vertices)
    return index[pick, 0], index[pick, 1], source


def _corner_indices(lines: _Lines, tokens: list[list[bytes]]) -> np.ndarray:
    """[C, 2] vertex and texture index of every corner, from 0, -1 = none."""
    slashes = {t.count(b"/") for face in tokens for t in face}
    joined = b" ".join(lines.f)
    try:
        if len(slashes) == 1 and b"-" not in joined:
            numbers = np.array(joined.replace(b"//", b"/0/").replace(b"/", b" ").split(), dtype=np.int64)
            numbers = numbers.reshape(-1, slashes.pop() + 1)
            texture = numbers[:, 1] if numbers.shape[1] > 1 else np.zeros(len(numbers), dtype=np.int64)
            return np.stack([numbers[:, 0], texture], axis=1) - 1
    except (ValueError, OverflowError):
        pass  # the careful way below finds the line
    rows = []
    for face, number, (n_v, n_vt) in zip(tokens, lines.f_line, lines.counts, strict=True):
        for token in face:
            parts = token.split(b"/")
            try:
                a = int(parts[0])
                b = int(parts[1]) if len(parts) > 1 and parts[1] else 0
                if max(abs(a), abs(b)) >= 2**31:
                    raise ValueError
            except ValueError:
                raise InputError(f"`{token.decode('utf-8', 'replace')}` is no face corner", where=lines.path,
                                 line=number, mend="A corner is a number, or numbers with slashes") from None
            # 0 is no index in OBJ; -2 after the shift is out of every range, so the caller names the line.
            rows.append((n_v + a if a < 0 else a - 1, n_vt + b if b < 0 else b - 1))
    return np.array(rows, dtype=np.int64)


def _materials(lines: _Lines, source: np.ndarray, reading: Reading) -> tuple[tuple[Material, ...], np.ndarray]:
    known: dict[str, Material] = {}
    for library in lines.libraries:
        for found in find_library(lines.path.parent, library):
            if is_file(found):
                known |= read_mtl(found, reading)
            else:
                reading.notes.append(f"material library {found.name} is missing")
    names, index = lines.state("usemtl")
    unknown = [n for n in names if n and n not in known]
    if unknown and known:
        reading.notes.append(f"{len(unknown)} materials are in no library ({', '.join(unknown[:3])})")
    used, compact = np.unique(index[source], return_inverse=True)
    materials = tuple(known.get(names[i], Material(names[i] or "none", GREY)) for i in used)
    return materials, compact.astype(np.int32)


def _classes(lines: _Lines, source: np.ndarray, options: ReadOptions):
    """Class table, [F] class ids, and the group names that were classes."""
    table = {c.name: c for c in options.classes or _header_table(lines)}
    fixed = bool(table)
    face_class, used = np.zeros(len(lines.f), dtype=np.int32), set()
    for word in ("usemtl", "g"):  # groups last: they win
        names, index = lines.state(word)
        for i, name in enumerate(names):
            row = _named_class(name, table, fixed)
            if row is not None:
                used.add(name)
                table.setdefault(row.name, row)
                face_class[index == i] = row.id
    if not fixed and table:
        table = {c.name: c for c in CITY_SURFACES} | table
    return tuple(sorted(table.values(), key=lambda c: c.id)), face_class[source], used


def _named_class(name: str, table: dict[str, SemanticClass], fixed: bool) -> SemanticClass | None:
    """The class that a group or material name says, if it says one."""
    spoken = name.removeprefix("class_")
    if spoken in table:
        return table[spoken]
    for token in (*spoken.split(), spoken.rstrip("0123456789").rstrip("_-. ")):
        if token in table:
            return table[token]
    if fixed:
        return None
    if known := surface_class(spoken) or next(filter(None, map(surface_class, spoken.split())), 0):
        return CITY_SURFACES[known]
    if name.startswith("class_") and spoken not in ("none", "unclassified"):
        taken = [c.id for c in (*CITY_SURFACES, *table.values())]
        return SemanticClass(max(taken) + 1, spoken, display_colour(max(taken) + 1))
    return None


def _header_table(lines: _Lines) -> list[SemanticClass]:
    rows = []
    for number, text in lines.table:
        parts = text.split()
        try:
            rows.append(SemanticClass(int(parts[1]), " ".join(parts[2:-3]), tuple(int(c) for c in parts[-3:])))
        except (ValueError, IndexError):
            raise InputError(f"`# {text}` is no class", where=lines.path, line=number,
                             mend="Write `# class ID NAME R G B`") from None
    return rows


def _objects(lines: _Lines, source: np.ndarray, class_names: set[str]) -> np.ndarray | None:
    """[F] instance ids from 1: objects, else groups that are no class; None where the file has neither."""
    for word in ("o", "g"):
        names, index = lines.state(word)
        ids = np.array([0 if not n or n in class_names or n.startswith("class_") else i + 1
                        for i, n in enumerate(names)])
        if ids.any():
            _, compact = np.unique(np.concatenate([[0], ids[index[source]]]), return_inverse=True)
            return compact[1:].astype(np.int32)
    return None
