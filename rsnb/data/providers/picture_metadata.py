"""Where and when a picture was taken: EXIF GPS, Google's panorama XMP, or a JSON beside it."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from rsnb.data.street.streetview import parse_street_view_name
from rsnb.errors import InputError
from rsnb.geometry.georeference import grid_to_true_heading, model_to_lonlat
from rsnb.scenes import Georeference

_GPS, _EXIF = 0x8825, 0x8769
_PANO_HEADING = re.compile(r"GPano:PoseHeadingDegrees[>=\"'\s]+(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Shot:
    """What is known of one picture.

    Attributes:
        path: the file.
        lat, lon: degrees.
        heading_deg: bearing of the middle column from true north, nan where unknown.
        fov_deg: horizontal, nan where unknown.
        date: ISO 8601 or None.
        told_by: "sidecar", "panos.txt", "file name" or "EXIF".
    """

    path: Path
    lat: float
    lon: float
    heading_deg: float = math.nan
    fov_deg: float = math.nan
    date: str | None = None
    told_by: str = "EXIF"


def shot_of(path: Path, listed: dict[str, tuple[float, float]], georeference: Georeference | None) -> Shot | None:
    """The picture's place from the first of: sidecar, `panos.txt`, file name, EXIF; None where none tells it.

    Args:
        path: a picture.
        listed: {id: (lat, lon)} of a `panos.txt`.
        georeference: of model coordinates in sidecars and file names; without it those count as no place.

    Raises:
        InputError: a sidecar that cannot be understood.
    """
    exif = exif_of(path)
    told = _sidecar(path, georeference)
    by = "sidecar"
    if told is None and path.stem in listed:
        told, by = dict(zip(("lat", "lon"), listed[path.stem], strict=True)), "panos.txt"
    if told is None and georeference is not None:
        told, by = _named(path, georeference), "file name"
    if told is None and "lat" in exif:
        told, by = {}, "EXIF"
    if told is None:
        return None
    known = exif | told
    return Shot(path, known["lat"], known["lon"], known.get("heading_deg", math.nan), known.get("fov_deg", math.nan),
                known.get("date"), by)


def exif_of(path: Path) -> dict:
    """What the file itself says, of lat, lon, heading_deg (true north only: a compass bearing is left out), date; empty
    where it says nothing, or is no picture."""
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")  # of damaged EXIF: such a picture has no place, which is what is told
            exif, xmp = picture.getexif(), picture.info.get("xmp", b"")
            gps, more = exif.get_ifd(_GPS), exif.get_ifd(_EXIF)
    except (OSError, ValueError, SyntaxError, TypeError, KeyError):
        return {}
    found: dict = {}
    try:
        lat, lon = _degrees(gps[2], gps[1], "S"), _degrees(gps[4], gps[3], "W")
        if abs(lat) <= 90 and abs(lon) <= 180 and (lat, lon) != (0.0, 0.0):  # cameras without a fix write zeros
            found |= {"lat": lat, "lon": lon}
    except (KeyError, TypeError, ValueError, ZeroDivisionError, IndexError):
        pass
    try:
        if str(gps.get(16, "T")).strip("\0 ").upper().startswith("T"):
            found["heading_deg"] = float(gps[17]) % 360.0
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        pass
    panorama = _PANO_HEADING.search(xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp))
    if panorama:
        found["heading_deg"] = float(panorama.group(1)) % 360.0
    taken = str(more.get(0x9003) or exif.get(0x0132) or "")
    if re.match(r"\d{4}:\d\d:\d\d", taken):
        found["date"] = taken[:10].replace(":", "-") + taken[10:19].replace(" ", "T")
    return found


def _degrees(parts, letter, negative: str) -> float:
    degrees, minutes, seconds = (float(v) for v in (*parts, 0, 0)[:3])
    value = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(value):
        raise ValueError(value)
    return -value if str(letter).strip("\0 ").upper().startswith(negative) else value


def _sidecar(path: Path, georeference: Georeference | None) -> dict | None:
    """lat, lon, heading_deg, fov_deg, date of the JSON of the same name; None without one, or one without a place."""
    side = path.with_suffix(".json")
    if not side.is_file():
        return None
    try:
        data = json.loads(side.read_text(encoding="utf-8-sig"))
        told = {key: _within(data, key, most) for key, most in (("heading_deg", 1e6), ("fov_deg", 360.0))
                if data.get(key) is not None}
        told |= {"date": str(data["date"])} if data.get("date") else {}
        if data.get("lat") is not None:
            return told | {"lat": _within(data, "lat", 90.0), "lon": _within(data, "lon", 180.0)}
        if data.get("position") is None or georeference is None:
            return None
        x, y = (float(v) for v in data["position"][:2])
        if not math.isfinite(x + y):
            raise ValueError(f"position is {data['position']}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise InputError(f"the sidecar cannot be understood ({type(error).__name__}: {error})", where=side,
                         mend='It needs "lat" and "lon" in degrees, or "position": [x, y, z] in model metres') from None
    return told | _from_model(x, y, told.get("heading_deg"), georeference)


def _within(data: dict, key: str, most: float) -> float:
    value = float(data[key])
    if not -most <= value <= most or (key == "fov_deg" and value <= 0):
        raise ValueError(f"{key} is {value:g}")
    return value


def _named(path: Path, georeference: Georeference) -> dict | None:
    try:
        view = parse_street_view_name(path.name)
    except InputError:
        return None
    return {"fov_deg": view.fov_deg} | _from_model(view.x, view.y, view.heading_deg, georeference)


def _from_model(x: float, y: float, heading_deg: float | None, georeference: Georeference) -> dict:
    """lat, lon, and the grid bearing turned to one from true north."""
    lat, lon = (float(v) for v in model_to_lonlat([x, y], georeference))
    told = {"lat": lat, "lon": lon}
    if heading_deg is not None:
        turned = grid_to_true_heading(math.radians(heading_deg), lat, lon, georeference.crs)
        told["heading_deg"] = math.degrees(float(turned)) % 360.0
    return told
