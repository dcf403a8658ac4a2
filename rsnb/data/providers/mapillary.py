"""Street views from Mapillary's Graph API v4, politely: one picture at a time, cached, with its attribution.

The service was chosen because its pictures carry a licence that allows what notebooks do with them (CC BY-SA 4.0, with
attribution) and because its API states where each picture was really taken. It needs a free client token, made at
https://www.mapillary.com/dashboard/developers and put into the environment variable MAPILLARY_TOKEN.

Used of the API (https://www.mapillary.com/developer/api-documentation): GET /<image id>?fields=..., and
GET /images?bbox=west,south,east,north&fields=... (less than 0.01 square degrees), both with the header
`Authorization: OAuth <token>`; answers are one object, or {"data": [objects]}, or {"error": {"message", "code"}}.
Addresses of thumbnails expire, so the pictures themselves are kept. There are no views from above.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from rsnb.data.crossview.pairs import distance_m
from rsnb.data.providers.provider import ProvidedImage, check_request, too_far
from rsnb.errors import InputError
from rsnb.files import atomic_path, write_text

KEY_VARIABLE = "MAPILLARY_TOKEN"
API = "https://graph.mapillary.com"
TERMS = ("Mapillary, CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/): name Mapillary and the "
         "contributor, link to the picture, share what you make of it under the same licence; terms of use "
         "https://www.mapillary.com/terms")
FIELDS = ("id", "geometry", "computed_geometry", "compass_angle", "computed_compass_angle", "captured_at", "is_pano",
          "creator", "thumb_2048_url")
SEARCH_FIELDS = ("id", "geometry", "computed_geometry", "is_pano")  # the service cuts long answers: the fewer, the more
MAX_BYTES = 64 << 20  # of one picture
MAX_LIMIT = 500  # requests of a process, whatever the user says
PAGE = 500  # pictures of one search
METRES_A_DEGREE = 111_195.0
_spent: Counter[str] = Counter()  # requests of this process, by host


class MapillaryProvider:
    """Street views of one place or id.

    What was fetched lies in the cache and costs no request again. The provider refuses to go on after `limit` requests
    of one process: it serves to look at places, not to gather a data set.

    Args:
        cache: folder for pictures and what is known of them; it never holds the key.
        limit: requests (searches and pictures) of one process.
        pause_s: between two requests.
        panoramas_only: leave out perspective pictures.
        api: address of the service.
        show: how the terms are shown before the first request.

    Raises:
        InputError: a limit beyond 500. The key, from the environment variable MAPILLARY_TOKEN, is looked at only when
            something must be asked.
    """

    name, terms = "mapillary", TERMS

    def __init__(self, cache: str | Path, *, limit: int = 60, pause_s: float = 0.5, panoramas_only: bool = True,
                 api: str = API, show: Callable[[str], None] = print):
        self.cache, self.limit, self.pause_s = Path(cache) / self.name, limit, pause_s
        self.panoramas_only, self.api, self._show = panoramas_only, api.rstrip("/"), show
        self._shown, self._last = False, 0.0
        if not 1 <= limit <= MAX_LIMIT:
            raise InputError(f"limit is {limit!r}", where=self.name,
                             mend=f"Give 1 to {MAX_LIMIT} requests; this provider does not gather data sets")

    def __repr__(self) -> str:
        return f"MapillaryProvider({self.api}, cache {str(self.cache)!r}, {self.spent} of {self.limit} requests spent)"

    @property
    def spent(self) -> int:
        """Requests of this process so far, by all providers of this host."""
        return _spent[urlsplit(self.api).netloc]

    def street_view(self, pano_id: str | None = None, *, lat: float | None = None, lon: float | None = None,
                    max_distance_m: float = 50.0) -> ProvidedImage:
        """See `ImageProvider`. The position is Mapillary's computed one where there is one, else the camera's GPS.

        Raises:
            InputError: no key, key refused, no network, no such picture, none so near, request limit reached.
        """
        check_request(pano_id, lat, lon)
        if pano_id is not None:
            if not str(pano_id).isdecimal():
                raise InputError(f"{pano_id!r} is no id of Mapillary's", where="street_view",
                                 mend="Ids are numbers, such as 1933525276802129")
            return self._provided(str(pano_id), math.nan)
        entries = self._near(float(lat), float(lon), max_distance_m)
        away = [float(distance_m(_place(entry), (lat, lon))) for entry in entries]
        if not entries or min(away) > max_distance_m:
            if entries:
                raise too_far(min(away), max_distance_m, "picture", self.name)
            what = "panorama" if self.panoramas_only else "picture"
            raise InputError(f"there is no {what} within {max_distance_m:g} m", where=self.name,
                             mend="Ask for another place, or raise max_distance_m")
        return self._provided(str(entries[int(np.argmin(away))].get("id", "")), min(away))

    def top_view(self, lat: float, lon: float, extent_m: float = 50.0, size: int = 256) -> ProvidedImage:
        """Always an InputError: there are no views from above here."""
        raise InputError("Mapillary has no views from above", where=self.name,
                         mend="Use FolderProvider with a GeoTIFF, or Sentinel-2 through rsnb.data.stac")

    def _near(self, lat: float, lon: float, reach_m: float) -> list[dict]:
        """Pictures in the box around a place. A full page may lack the nearest ones: then half the box is asked too."""
        entries: list[dict] = []
        for halvings in range(3):
            page = self._search(lat, lon, reach_m / 2**halvings)
            entries += page
            if len(page) < PAGE:
                break
        return [e for e in entries if _place(e) is not None and (e.get("is_pano") or not self.panoramas_only)]

    def _search(self, lat: float, lon: float, reach_m: float) -> list[dict]:
        up = reach_m / METRES_A_DEGREE
        side = up / max(math.cos(math.radians(lat)), 0.01)
        if not 0 < 4 * up * side < 0.01:
            raise InputError(f"max_distance_m is {reach_m:g}", where=self.name, mend="Give metres above 0, up to 3,000")
        corners = (max(lon - side, -180.0), max(lat - up, -90.0), min(lon + side, 180.0), min(lat + up, 90.0))
        query = {"bbox": ",".join(f"{v:.7f}" for v in corners), "fields": ",".join(SEARCH_FIELDS), "limit": str(PAGE)}
        query |= {"is_pano": "true"} if self.panoramas_only else {}
        name = f"search-{hashlib.sha256(json.dumps(query).encode()).hexdigest()[:16]}.json"
        kept = _entries(self._cached(name))
        if kept is not None:
            return kept
        entries = _entries(self._ask("/images", query))
        if entries is None:
            raise self._strange("a search without data")
        self._keep(name, {"data": [_lasting(e) for e in entries]})
        return entries

    def _provided(self, number: str, away: float) -> ProvidedImage:
        if not number.isdecimal():
            raise self._strange("a picture without id")
        entry = self._cached(f"{number}.json") or self._ask(f"/{number}", {"fields": ",".join(FIELDS)})
        place = _place(entry)
        if place is None or str(entry.get("id")) != number:
            raise self._strange("a picture without id or place")
        picture = self.cache / f"{number}.jpg"
        if not picture.is_file():
            self._fetch_picture(entry, picture)
        if self._cached(f"{number}.json") is None:
            self._keep(f"{number}.json", _lasting(entry))
        angle = next((entry[k] for k in ("computed_compass_angle", "compass_angle") if _is_number(entry.get(k))),
                     math.nan)
        creator = entry.get("creator")
        by = (creator.get("username") if isinstance(creator, dict) else None) or "a contributor"
        source = f"https://www.mapillary.com/app/?pKey={number}"
        panorama = bool(entry.get("is_pano"))
        return ProvidedImage(
            _decode(picture.read_bytes(), picture), "panorama" if panorama else "pinhole", number, *place,
            math.radians(angle % 360.0), away, source, f"Picture by {by} on {source}. {TERMS}",
            _date(entry.get("captured_at")), 2 * math.pi if panorama else None)

    def _fetch_picture(self, entry: dict, path: Path) -> None:
        address = entry.get("thumb_2048_url")  # not in answers from the cache: it would have expired
        if not address:
            address = self._ask(f"/{entry['id']}", {"fields": "thumb_2048_url"}).get("thumb_2048_url")
        if urlsplit(str(address)).scheme not in ("https", urlsplit(self.api).scheme):
            raise self._strange("a picture without an address")
        status, body = self._get(address, {}, {})  # without the key: pictures lie on another host
        if status != 200:
            raise InputError(f"the picture was answered with status {status}", where=f"{self.name} {entry['id']}",
                             mend="Ask again later")
        _decode(body, f"{self.name} {entry['id']}")
        with atomic_path(path) as temporary:
            temporary.write_bytes(body)

    def _ask(self, path: str, query: dict[str, str]) -> dict:
        """The JSON object that the API answers."""
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not key:
            raise InputError(f"the environment variable {KEY_VARIABLE} is not set", where=self.name,
                             mend="Make a free client token at https://www.mapillary.com/dashboard/developers and set "
                                  "it, or use FolderProvider")
        status, body = self._get(self.api + path, query, {"Authorization": f"OAuth {key}"})
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        error = answer.get("error") if isinstance(answer, dict) else None
        if status == 200 and isinstance(answer, dict) and not error:
            return answer
        said = str((error or {}).get("message", f"status {status}") if isinstance(error or {}, dict) else error)
        said = said.replace(key, "***")[:200].rstrip(".")
        code = error.get("code") if isinstance(error, dict) else None
        if status in (401, 403) or code == 190:
            raise InputError(f"the key was refused ({said})", where=self.name,
                             mend=f"Check {KEY_VARIABLE}; client tokens begin with MLY|")
        if status == 429 or code in (4, 17, 613):
            raise InputError(f"the service asks to slow down ({said})", where=self.name, mend="Wait some minutes")
        if status == 404 or code == 100:
            raise InputError(f"there is no such picture ({said})", where=f"{self.name} {path}", mend="Check the id")
        raise self._strange(said)

    def _get(self, address: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, bytes]:
        """One request, counted; nothing of `headers` gets into an error."""
        import requests
        from urllib3.exceptions import HTTPError

        host = urlsplit(self.api).netloc
        if _spent[host] >= self.limit:
            raise InputError(f"{self.limit} requests were made, the limit of one session", where=self.name,
                             mend="This provider looks at single places and does not gather data sets; what was "
                                  "fetched stays in the cache. Start a new session for more")
        if not self._shown:
            self._show(self.terms)
            self._shown = True
        time.sleep(max(0.0, self._last + self.pause_s - time.monotonic()))
        _spent[host] += 1
        try:
            with requests.get(address, params=query, headers=headers, timeout=(10, 60), stream=True) as answer:
                body = answer.raw.read(MAX_BYTES + 1, decode_content=True)
                status = answer.status_code
        except (requests.RequestException, OSError) as error:
            raise InputError(f"no answer from {urlsplit(address).netloc} ({type(error).__name__})", where=self.name,
                             mend="Check the network and the proxy; FolderProvider works without") from None
        except HTTPError as error:  # urllib3's own, which `raw.read` lets through: a connection cut in the middle
            raise InputError(f"{urlsplit(address).netloc} broke off ({type(error).__name__})", where=self.name,
                             mend="Ask again") from None
        finally:
            self._last = time.monotonic()
        if len(body) > MAX_BYTES:
            raise self._strange(f"more than {MAX_BYTES >> 20} MiB")
        return status, body

    def _strange(self, what: str) -> InputError:
        return InputError(f"the service answered something unexpected: {what}", where=self.name,
                          mend="Ask again later; if it stays so, its API has changed")

    def _cached(self, name: str) -> dict | None:
        try:
            found = json.loads((self.cache / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None  # not there, or broken: asked again
        return found if isinstance(found, dict) else None

    def _keep(self, name: str, answer: dict) -> None:
        write_text(self.cache / name, json.dumps(answer, indent=1) + "\n")


def _lasting(entry: dict) -> dict:
    """What of an answer may be kept: the fields that were asked for, without the address that expires."""
    return {name: entry[name] for name in FIELDS if name in entry and not name.startswith("thumb")}


def _entries(answer: dict | None) -> list[dict] | None:
    """The pictures of a search's answer, None where it is none."""
    data = answer.get("data") if isinstance(answer, dict) else None
    return data if isinstance(data, list) and all(isinstance(e, dict) for e in data) else None


def _place(entry: dict) -> tuple[float, float] | None:
    """(lat, lon) of an answer; GeoJSON has the longitude first."""
    for field in ("computed_geometry", "geometry"):
        geometry = entry.get(field)
        point = geometry.get("coordinates") if isinstance(geometry, dict) else None
        if isinstance(point, list) and len(point) >= 2 and all(_is_number(v) for v in point[:2]) \
                and abs(point[0]) <= 180 and abs(point[1]) <= 90:
            return float(point[1]), float(point[0])
    return None


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _date(milliseconds) -> str | None:
    """ISO 8601 of a time since 1970."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _decode(data: bytes, where) -> np.ndarray:
    """[3, H, W] float32 in 0..1."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGB"), np.float32).transpose(2, 0, 1) / np.float32(255.0)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"this is no picture ({error})", where=where,
                         mend="Remove it if it lies in the cache, and ask again") from None
