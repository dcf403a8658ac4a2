"""Picked points: pixels of a photo and the points of the model behind them, as JSON (with all that belongs to them)
or CSV (u, v, x, y, z)."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.street.intrinsics import fov_camera_matrix, parse_camera_matrix
from rsnb.errors import InputError
from rsnb.files import require_file, write_text

SCHEMA, VERSION = "rsnb.picks", 1
MINIMUM = 4  # three points leave up to four poses; the fourth decides


@dataclass(frozen=True)
class Picks:
    """Pairs that somebody clicked for one picture.

    Attributes:
        pixels: [N, 2] float64, image points, pixels from the top-left corner (pixel centres at +0.5).
        world: [N, 3] float64, the points behind them, model metres.
        ids: one a pair.
        image: name of the picture, or "".
        width, height: its size in pixels, or None.
        K: [3, 3] float64 camera matrix, or None.
        fov_deg: horizontal field of view, degrees, or None.
        prior: [4, 4] float64 world_to_cam guessed before, or None.
        render_pixels: [N, 2] float64, the point clicked in the render (NaN where none), or None.
        depth: [N] float64, distance along the ray in the render, metres (NaN where none), or None.
        annotator, time: who and when (ISO 8601), or "".
    """

    pixels: np.ndarray
    world: np.ndarray
    ids: tuple[str, ...] = ()
    image: str = ""
    width: int | None = None
    height: int | None = None
    K: np.ndarray | None = None
    fov_deg: float | None = None
    prior: np.ndarray | None = None
    render_pixels: np.ndarray | None = None
    depth: np.ndarray | None = None
    annotator: str = ""
    time: str = ""

    def __post_init__(self):
        n = len(self.pixels)
        if self.pixels.shape != (n, 2) or self.world.shape != (n, 3):
            raise InputError(f"pixels have shape {self.pixels.shape} and world points {self.world.shape}",
                             where="Picks", mend="Give [N, 2] and [N, 3]")
        if n < MINIMUM:
            raise InputError(f"{n} pairs, but a pose needs at least {MINIMUM}", where="Picks",
                             mend="Pick more points; about 9 make wrong ones visible")
        bad = np.flatnonzero(~(np.isfinite(self.pixels).all(axis=1) & np.isfinite(self.world).all(axis=1)))
        if len(bad):
            raise InputError(f"pair {bad[0] + 1} holds a value that is not a finite number", where="Picks",
                             mend="Pick it again, not on the sky")
        if not self.ids:
            object.__setattr__(self, "ids", tuple(str(i + 1) for i in range(n)))

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def camera_matrix(self) -> np.ndarray | None:
        """[3, 3] float64: K, else the one of the field of view and the picture's size, else None."""
        if self.K is not None or None in (self.fov_deg, self.width, self.height):
            return self.K
        return fov_camera_matrix(self.fov_deg, self.width, self.height)


def find_picks(folder: str | Path, name: str) -> Path | None:
    """The picks of a picture: the file of the same stem in `folder`, JSON before CSV; None where there is none."""
    files = (Path(folder) / f"{Path(name).stem}{suffix}" for suffix in (".json", ".csv"))
    return next((file for file in files if file.is_file()), None)


def read_picks(path: str | Path) -> Picks:
    """Read picks from JSON (schema "rsnb.picks", version 1) or CSV (columns u, v, x, y, z, optionally id).

    Raises:
        InputError: with file and line or pair: fewer than 4 pairs, a value that is missing, no number or not finite,
            an unknown schema version.
    """
    path = require_file(path, "picks file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("this is no text file", where=path, mend="Name a JSON or CSV file of picks") from None
    try:
        return _from_json(path, text) if text.lstrip().startswith("{") else _from_csv(path, text)
    except InputError as error:
        if error.where == "Picks":
            raise InputError(error.what, where=path, mend=error.mend) from None
        raise
    except Exception as error:  # damage that is not foreseen below
        what = " ".join(str(error).split())[:200]
        raise InputError(f"these picks cannot be read ({type(error).__name__}: {what})", where=path,
                         mend="Repair the file") from error


def write_picks(path: str | Path, picks: Picks) -> Path:
    """Write picks as JSON, or as CSV (points only) where the name ends in .csv; gives the path."""
    path = Path(path)
    if path.suffix.lower() == ".csv":
        rows = ["id,u,v,x,y,z"]
        for name, pixel, point in zip(picks.ids, picks.pixels, picks.world, strict=True):
            rows.append(",".join([name, *(repr(float(v)) for v in (*pixel, *point))]))
        return write_text(path, "\n".join(rows) + "\n")
    pairs = []
    for i, name in enumerate(picks.ids):
        pair = {"id": name, "image": picks.pixels[i].tolist(), "world": picks.world[i].tolist()}
        if picks.render_pixels is not None and np.isfinite(picks.render_pixels[i]).all():
            pair["render"] = picks.render_pixels[i].tolist()
        if picks.depth is not None and np.isfinite(picks.depth[i]):
            pair["depth_m"] = float(picks.depth[i])
        pairs.append(pair)
    document = {
        "schema": SCHEMA, "version": VERSION,
        "image": {"name": picks.image, "width": picks.width, "height": picks.height},
        "camera": {"K": None if picks.K is None else np.asarray(picks.K).tolist(), "fov_deg": picks.fov_deg},
        "prior": None if picks.prior is None else {"world_to_cam": np.asarray(picks.prior).tolist()},
        "pairs": pairs, "annotator": picks.annotator, "time": picks.time,
    }
    return write_text(path, json.dumps(document, indent=1) + "\n")


def _from_json(path: Path, text: str) -> Picks:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"this is no JSON ({error.msg}, column {error.colno})", where=path, line=error.lineno,
                         mend="Repair the file") from None
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
        raise InputError(f"this JSON cannot be read ({error})", where=path, mend="Repair the file") from None
    if document.get("schema") != SCHEMA or document.get("version") != VERSION:
        raise InputError(f"schema {document.get('schema')!r} version {document.get('version')!r} is not {SCHEMA!r} "
                         f"version {VERSION}", where=path, mend="Save the picks again with this version")
    pairs = document.get("pairs")
    if not isinstance(pairs, list):
        raise InputError('the key "pairs" is no list', where=path, mend="Repair the file")
    pixels, world, render, depth, ids = [], [], [], [], []
    for number, pair in enumerate(pairs, start=1):
        pair = _dict(path, pair, f"pair {number}")
        pixels.append(_vector(path, pair, "image", 2, number))
        world.append(_vector(path, pair, "world", 3, number))
        render.append(_vector(path, pair, "render", 2, number) if pair.get("render") is not None else [np.nan] * 2)
        depth.append(_vector(path, pair, "depth_m", 0, number) if pair.get("depth_m") is not None else np.nan)
        ids.append(str(pair.get("id", number)))
    image, camera, prior = (_dict(path, document.get(k) or {}, k) for k in ("image", "camera", "prior"))
    size = (image.get("width"), image.get("height"))
    if not all(n is None or (type(n) is int and 0 < n < 2**31) for n in size):
        raise InputError(f"the picture's width and height are {size[0]!r} and {size[1]!r}", where=path,
                         mend="Write whole numbers of pixels, or remove them")
    fov = camera.get("fov_deg")
    if fov is not None and not (type(fov) in (int, float) and 0.0 < fov < 180.0):
        raise InputError(f"fov_deg is {fov}", where=path,
                         mend="A pinhole camera sees more than 0 and less than 180 degrees")
    return Picks(
        np.array(pixels).reshape(-1, 2), np.array(world).reshape(-1, 3), tuple(ids), str(image.get("name") or ""),
        *size, None if camera.get("K") is None else parse_camera_matrix(camera["K"], path), fov,
        _pose(path, prior.get("world_to_cam")),
        np.array(render) if np.isfinite(render).any() else None, np.array(depth) if np.isfinite(depth).any() else None,
        str(document.get("annotator") or ""), str(document.get("time") or ""),
    )


def _dict(path: Path, value, key: str) -> dict:
    if not isinstance(value, dict):
        raise InputError(f"{key!r} is {_short(value)}, not an object", where=path, mend="Repair the file")
    return value


def _short(value) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _vector(path: Path, pair, key: str, length: int, number: int):
    try:
        value = np.asarray(pair[key], dtype=np.float64)
        good = value.shape == ((length,) if length else ()) and np.isfinite(value).all()
    except (KeyError, TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise InputError(f"pair {number}: {key!r} is {_short(pair.get(key))}, not {length or 1} finite numbers",
                         where=path, mend="Pick it again, not on the sky")
    return value.tolist()


def _pose(path: Path, rows) -> np.ndarray | None:
    if rows is None:
        return None
    try:
        matrix = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.zeros(0)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError("'prior' is no 4 x 4 matrix of numbers", where=path, mend="Repair or remove it")
    return matrix


def _from_csv(path: Path, text: str) -> Picks:
    reader = csv.reader(text.splitlines())
    try:
        lines = [(n, row) for n, row in enumerate(reader, start=1)
                 if row and any(c.strip() for c in row) and not row[0].lstrip().startswith("#")]
    except csv.Error as error:
        raise InputError(f"this is no CSV ({error})", where=path, line=reader.line_num,
                         mend="Name a file of picks, columns u, v, x, y, z") from None
    names = [c.strip().lower() for c in lines[0][1]] if lines else []
    if {"u", "v", "x", "y", "z"} <= set(names):
        lines = lines[1:]
    else:
        names = ["u", "v", "x", "y", "z"] if len(names) < 6 else ["id", "u", "v", "x", "y", "z"]
    table, ids = [], []
    for count, (number, row) in enumerate(lines, start=1):
        if len(row) < len(names):
            raise InputError(f"the row has {len(row)} columns, expected {len(names)} ({', '.join(names)})", where=path,
                             line=number, mend="Complete the row, or remove it")
        try:
            values = [float(row[names.index(k)]) for k in ("u", "v", "x", "y", "z")]
        except ValueError:
            raise InputError(f"`{','.join(row)}` holds something that is no number", where=path, line=number,
                             mend="Columns are u, v, x, y, z") from None
        if not np.isfinite(values).all():
            raise InputError(f"`{','.join(row)}` holds a value that is not finite", where=path, line=number,
                             mend="Pick it again, not on the sky")
        table.append(values)
        ids.append(row[names.index("id")].strip() if "id" in names else str(count))
    array = np.array(table).reshape(-1, 5)
    return Picks(array[:, :2], array[:, 2:], tuple(ids))
