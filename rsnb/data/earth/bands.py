"""Names of bands: by number as in files (Sentinel-2, Landsat), and by the common names of STAC's eo extension."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rsnb.errors import InputError

SENTINEL2 = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge1", "B06": "rededge2",
    "B07": "rededge3", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B10": "cirrus", "B11": "swir16", "B12": "swir22",
}
# Band numbers in the metadata's offset lists (bandId, band_id): B8A stands between B8 and B9.
BAND_ID = tuple(SENTINEL2)
# Level-2A has no cirrus band.
L2A_ORDER = tuple(SENTINEL2[b] for b in BAND_ID if b != "B10")
_LANDSAT_OLI = {1: "coastal", 2: "blue", 3: "green", 4: "red", 5: "nir", 6: "swir16", 7: "swir22", 8: "pan",
                9: "cirrus", 10: "lwir11", 11: "lwir12"}
_LANDSAT_TM = {1: "blue", 2: "green", 3: "red", 4: "nir", 5: "swir16", 6: "lwir", 7: "swir22", 8: "pan"}
_ID_OF = {name: band for band, name in SENTINEL2.items()}


def band_id(name: str) -> str:
    """"B04" of "red", "B4", "b04" or "B04"; other names (SCL, TCI, AOT, pan) come back in capitals."""
    match = re.fullmatch(r"b0?(\d{1,2}|8a)", name.strip().lower())
    if match:
        text = match[1].upper()
        return f"B{text}" if text == "8A" else f"B{int(text):02d}"
    return _ID_OF.get(name.strip().lower(), name.strip().upper())


def common_name(name: str) -> str:
    """"red" of "B04", "B4" or "Red"; names that are no band of Sentinel-2 come back in small letters."""
    return SENTINEL2.get(band_id(name), name.strip().lower())


def band_of_file(name: str, file_name: str) -> str:
    """Common name of a band as a file calls it; B5 of Landsat is not B5 of Sentinel-2, so the file's name decides."""
    landsat = re.match(r"L[COTEM]0?([1-9])[_0-9]", file_name, re.I)
    number = re.fullmatch(r"(?:s[rt]_)?b(?:and)?0?(\d{1,2})", name.strip().lower())
    if landsat and number:
        table = _LANDSAT_OLI if landsat[1] in "89" else _LANDSAT_TM
        return table.get(int(number[1]), name.strip().lower())
    return common_name(name)


def choose(bands: Sequence[str], available: Sequence[str], where) -> list[int]:
    """Positions of the wanted bands among the available common names.

    Raises:
        InputError: no band is asked for, or one that is not there.
    """
    if isinstance(bands, str):
        bands = (bands,)
    names = [common_name(b) for b in bands]
    missing = [b for b, name in zip(bands, names, strict=True) if name not in available]
    if missing or not names:
        raise InputError(f"there is no band {', '.join(missing)}" if missing else "no band is asked for", where=where,
                         mend=f"Choose among {', '.join(available)}")
    return [list(available).index(name) for name in names]
