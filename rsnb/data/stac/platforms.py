"""Band numbers of the platforms, and how catalogues write them in asset keys."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from rsnb.data.earth.bands import SENTINEL2

SENTINEL_2 = {name: band for band, name in SENTINEL2.items()} | {
    "scl": "SCL", "aot": "AOT", "wvp": "WVP", "visual": "TCI"}
LANDSAT_8 = {"coastal": "B1", "blue": "B2", "green": "B3", "red": "B4", "nir08": "B5", "swir16": "B6", "swir22": "B7",
             "cirrus": "B9", "lwir11": "B10", "lwir12": "B11"}
LANDSAT_5 = {"blue": "B1", "green": "B2", "red": "B3", "nir08": "B4", "swir16": "B5", "lwir": "B6", "swir22": "B7"}
SYNONYMS = {"rededge071": "rededge1", "rededge075": "rededge2", "rededge078": "rededge3", "elevation": "dem",
            "true_color": "visual", "tci": "visual"}
RESOLUTION = re.compile(r"[\s_-](\d+)\s?m$", re.IGNORECASE)
_S2_BAND = re.compile(r"B?(0?[1-9]|1[0-2]|0?8A)", re.IGNORECASE)


def is_sentinel_2(item) -> bool:
    """Whether an item is of Sentinel-2, by its platform, constellation, collection or id."""
    return bool(re.search(r"sentinel-?_?\s?2|(?:^|\s)s2[abcd]?_|hls\w*[._-]?s30", _platform(item)))


def is_landsat(item) -> bool:
    """Whether an item is of Landsat."""
    return bool(re.search(r"landsat|(?:^|\s)l[ceto]0[4-9]_|hls\w*[._-]?l30", _platform(item)))


def is_harmonized(item) -> bool:
    """Whether an item is of NASA's Harmonized Landsat Sentinel-2 (HLS), which has the bands of either."""
    return bool(re.search(r"(?<![a-z])hls(?:[sl]30|\d?[._-])", _platform(item)))


def landsat_number(item) -> int:
    """4 to 9; 8 where nothing says it."""
    text = _platform(item)
    match = re.search(r"landsat[-_ ]?0?([4-9])(?!\d)", text) or re.search(r"\bl[ceto]0([4-9])_", text)
    return int(match.group(1)) if match else 8


def plain_key(key: str) -> str:
    """A key without folder, suffix, resolution and format: "B04_10m" and "red-jp2" become b04 and red."""
    text = re.sub(r"\.(tiff?|jp2)$", "", PurePosixPath(key).name.lower())
    return RESOLUTION.sub("", re.sub(r"[_-](jp2|cog|tif)$", "", text))


def s2_band(text: str) -> str:
    """A Sentinel-2 band id, lower case with two digits: "B4" and "04" become b04, "B8A" b8a; others as they are."""
    match = _S2_BAND.fullmatch(text)
    if not match:
        return text.lower()
    number = match.group(1).lower().lstrip("0")
    return f"b{number}" if number == "8a" else f"b{number.zfill(2)}"


def is_band(item, key: str, wanted: str) -> bool:
    """Whether a plain key or a band's name is the number that the item's platform gives a common name."""
    if is_landsat(item):
        number = re.search(r"(?:^|_)b0?(\d+)$", key)
        table = LANDSAT_5 if landsat_number(item) <= 7 else LANDSAT_8
        return bool(number) and f"b{number.group(1)}" in (table.get(wanted, "").lower(), wanted)
    return is_sentinel_2(item) and s2_band(key) == s2_band(SENTINEL_2.get(wanted, wanted))


def canonical_name(item, name: str, otherwise: str | None = None) -> str:
    """Common name for a band id ("B8A" of Sentinel-2 is nir08), a synonym or a common name, lower case.

    Args:
        item: whose platform counts.
        name: to look up.
        otherwise: given where the platform's table does not hold it; None: the name itself.
    """
    plain = SYNONYMS.get(name.lower(), name.lower())
    if is_sentinel_2(item):
        for common, band in SENTINEL_2.items():
            if s2_band(plain) in (common, s2_band(band)):
                return common
    return plain if otherwise is None else otherwise


def _platform(item) -> str:
    p = item.properties
    names = (p.get("constellation"), p.get("platform"), p.get("eo:platform"), item.collection_id, item.id)
    return " ".join(str(name) for name in names if name).lower()
