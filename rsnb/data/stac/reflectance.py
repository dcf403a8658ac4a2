"""From stored numbers to reflectance: scale and offset, applied once and only once.

From processing baseline 04.00 on (25 January 2022, and all that was reprocessed since), ESA stores Sentinel-2 values as
reflectance x 10000 + 1000. Whether that 1000 is still in the pixels depends on who serves them:

| where | what the item says | scale | offset |
|---|---|---|---|
| Earth Search v0 and v1 | `...:boa_offset_applied` true (raster:bands may still say -0.1) | 1e-4 | 0 |
| Earth Search v1 | it is false, baseline from 04.00 on | 1e-4 | -0.1 |
| Earth Search v1 | it is false, baseline below 04.00 | 1e-4 | 0 |
| anywhere else | baseline below 04.00 (whatever offset is declared: no such pixels hold the 1000) | 1e-4 | 0 |
| Earth Search c1, Copernicus STAC | no such flag; scale and offset of raster:bands, bands or asset | said | said |
| Planetary Computer, OData, v0 | nothing, baseline from 04.00 on | 1e-4 | -0.1 |
| Sen2Cor's maps AOT and WVP | an offset (Copernicus declares that of reflectance), or nothing | 1e-3 | 0 |
| Harmonized Landsat Sentinel-2 (HLS) | a scale, or nothing | 1e-4 | 0 |
| Sentinel-2 of other makers (national archives) | scale and offset if said | 1 | 0 |
| Landsat Collection 2 Level 2 | scale and offset, or nothing (USGS, older) | 2.75e-5 | -0.2 |
| Landsat surface temperature | scale and offset, or nothing | 0.00341802 | 149 (kelvin) |
| SCL, QA, true colour, Sentinel-1, DEM, anything else | scale and offset if said | 1 | 0 |

The baseline comes from `s2:processing_baseline`, `processing:version`, or the N0510 in a product's name; where none
says it, the date of sensing decides, and `Scaling.why` tells so. Sources: Sentinel-2 Products Specification Document
14.9; STAC raster extension; USGS Landsat Collection 2 Level 2 guide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from rsnb.data.stac.assets import BandAsset
from rsnb.data.stac.matching import item_interval
from rsnb.data.stac.platforms import SENTINEL_2, is_harmonized, is_landsat, is_sentinel_2, plain_key, s2_band

OFFSET_BASELINE = (4, 0)
OFFSET_DATE = "2022-01-25"
_IN_NAME = re.compile(r"_N(\d{2})(\d{2})_")
_NO_REFLECTANCE = {"scl", "aot", "wvp", "visual"}
_S2_REFLECTANCE = {name for common, band in SENTINEL_2.items() if common not in _NO_REFLECTANCE
                   for name in (common, band.lower())}


@dataclass(frozen=True)
class Scaling:
    """value = stored * scale + offset, where stored is not `nodata`.

    Attributes:
        scale, offset: of the stored numbers.
        nodata: stored number that means nothing is there, or None; the file's own counts too.
        why: which rule gave them, for people.
    """

    scale: float
    offset: float
    nodata: float | None
    why: str

    def apply(self, stored: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
        """float32 of the same shape, nan where there is no data. Reflectance below 0 stays as it is.

        Args:
            stored: numbers as in the file; nan is no data.
            valid: [..., H, W] bool, false where the file has no data.
        """
        out = stored.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        if self.nodata is not None:
            out[stored == self.nodata] = np.nan
        if valid is not None:
            out[~valid] = np.nan
        return out


def scaling_of(item, asset: BandAsset) -> Scaling:
    """The rule of the table above for one band.

    Args:
        item: `pystac.Item`.
        asset: of `assets.asset_of`.
    """
    said_scale, said_offset, nodata = _said(asset)
    name = s2_band(plain_key(asset.key))
    reflects = name in _S2_REFLECTANCE or s2_band(asset.name) in _S2_REFLECTANCE
    if is_sentinel_2(item) and reflects and not _is_made_elsewhere(item):
        return _sentinel_2(item, said_scale, said_offset, 0.0 if nodata is None else nodata)
    if is_sentinel_2(item) and name in ("aot", "wvp") and (said_scale is None or said_offset):
        return Scaling(1e-3, 0.0, 0.0, "maps of Sen2Cor are stored x 1000")
    if said_scale is not None or said_offset is not None:
        return Scaling(1.0 if said_scale is None else said_scale, said_offset or 0.0, nodata, "as the item says")
    heat = is_landsat(item) and name in ("b10", "b11")
    if is_harmonized(item) and reflects and not heat:
        return Scaling(1e-4, 0.0, -9999.0, "Harmonized Landsat Sentinel-2, by its guide")
    if is_landsat(item) and _is_collection_2(item):
        stem = plain_key(urlsplit(asset.href).path)  # keys are "red" as well as "SR_B4.TIF", file names say it always
        if re.search(r"sr_b\d+$", stem):
            return Scaling(2.75e-5, -0.2, 0.0, "Landsat Collection 2 surface reflectance, by its guide")
        if re.search(r"st_b\d+$", stem):
            return Scaling(0.00341802, 149.0, 0.0, "Landsat Collection 2 surface temperature, by its guide")
    return Scaling(1.0, 0.0, nodata, "stored as it is")


def baseline_of(item) -> tuple[int, int] | None:
    """Processing baseline of a Sentinel-2 item as (major, minor), from its properties or a product name; or None."""
    for name in ("s2:processing_baseline", "sentinel2:processing_baseline", "processing:version"):
        match = re.fullmatch(r"\s*(\d{1,2})\.(\d{1,2})\s*", str(item.properties.get(name, "")))
        if match:
            return int(match.group(1)), int(match.group(2))
    names = [item.properties.get(n) for n in ("s2:product_uri", "sentinel:product_id", "title")]
    for text in [*names, item.id, *(asset.href for asset in item.assets.values())]:
        match = _IN_NAME.search(str(text or ""))
        if match:
            return int(match.group(1)), int(match.group(2))
    return None


def _sentinel_2(item, scale: float | None, offset: float | None, nodata: float) -> Scaling:
    scale = 1e-4 if scale is None else scale
    flags = [v for k, v in item.properties.items() if k.endswith("boa_offset_applied")]
    if flags and _true(flags[0]):
        return Scaling(scale, 0.0, nodata, "the offset is already applied (boa_offset_applied)")
    baseline = baseline_of(item)
    if not flags and offset is not None and (baseline is None or baseline >= OFFSET_BASELINE):
        return Scaling(scale, offset, nodata, "as the item says")
    if baseline is not None:
        text = f"baseline {baseline[0]:02d}.{baseline[1]:02d}"
        late = baseline >= OFFSET_BASELINE
        return Scaling(scale, -0.1 if late else 0.0, nodata,
                       f"{text}: " + ("1000 is still in the pixels" if late else "before the offset of 04.00"))
    if offset is not None:
        return Scaling(scale, offset, nodata, "as the item says")
    start = item_interval(item)[0]
    late = start is not None and start.date().isoformat() >= OFFSET_DATE
    return Scaling(scale, -0.1 if late else 0.0, nodata,
                   f"no baseline is stated: by the date, {'after' if late else 'before'} {OFFSET_DATE}")


def _said(asset: BandAsset) -> tuple[float | None, float | None, float | None]:
    """scale, offset and nodata of raster:bands (1.0), of the band (1.1), or of the asset (1.1); None where unsaid."""
    fields = asset.fields
    rows = fields.get("raster:bands") or fields.get("bands") or []
    row = rows[min(asset.band, len(rows)) - 1] if rows and isinstance(rows[0], dict) else {}

    def get(name: str) -> float | None:
        for value in (row.get(name), row.get(f"raster:{name}"), fields.get(f"raster:{name}"), fields.get(name)):
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return float(value)
        return None

    return get("scale"), get("offset"), get("nodata")


def _is_made_elsewhere(item) -> bool:
    """Not ESA's own Level-1C or 2A: others computed their numbers anew, without its offset."""
    text = f"{item.collection_id} {item.id}".lower()
    return is_harmonized(item) or bool(re.search(r"(?:^|\s)ga_|_ard_|nbar", text))


def _is_collection_2(item) -> bool:
    text = f"{item.collection_id} {item.properties.get('landsat:collection_number')} {item.id}".lower()
    return "c2" in text or " 02" in text


def _true(value) -> bool:
    return value is True or str(value).lower() == "true"
