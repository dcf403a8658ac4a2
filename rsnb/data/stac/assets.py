"""Which asset of an item holds a band, by the band's common name, whatever the catalogue calls it.

Names are those of STAC's eo extension: coastal, blue, green, red, rededge1 ... rededge3, nir, nir08, nir09, cirrus,
swir16, swir22, lwir11; beside them scl, qa_pixel, aot, wvp, visual, dem, vv, vh, hh, hv. Asset keys differ: "red"
(Earth Search v1), "B04" (v0, Planetary Computer), "B04_10m" (Copernicus), "SR_B4.TIF" (USGS). Band numbers are read
with the platform in hand: B4 is red on Sentinel-2 and Landsat 8, near infrared on Landsat 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import urlsplit

from rsnb.data.stac.grids import is_projected, stated_crs
from rsnb.data.stac.platforms import RESOLUTION, SYNONYMS, canonical_name, is_band, plain_key
from rsnb.errors import InputError

NO_BAND_ROLES = {"thumbnail", "overview", "visual", "metadata"}


@dataclass(frozen=True)
class BandAsset:
    """One band of one item.

    Attributes:
        key: of the asset.
        href: absolute where the item's own place is known; https where a catalogue gives s3 and https.
        band: number of the band in the file, from 1.
        name: that was asked for.
        type: media type, or "".
        gsd_m: pixel size, metres, or None.
        fields: the asset's own fields and those of its band, for scale, offset, size, checksum.
    """

    key: str
    href: str
    band: int
    name: str
    type: str
    gsd_m: float | None
    fields: dict

    @property
    def is_cog(self) -> bool:
        """Said to be a cloud-optimized GeoTIFF, or at least a TIFF."""
        return "tiff" in self.type.lower() or self.href.split("?")[0].lower().endswith((".tif", ".tiff"))


def asset_of(item, name: str, resolution_m: float | None = None) -> BandAsset:
    """The asset that holds a band.

    Args:
        item: `pystac.Item`.
        name: common name ("red"), band id ("B04") or asset key, in any case.
        resolution_m: wanted pixel size: the coarsest asset at least that fine is taken, else the finest. None: finest.

    Raises:
        InputError: the item has no such band; it names what there is.
    """
    wanted = canonical_name(item, name)
    found = [choice for key, asset in item.assets.items() if (choice := _match(item, key, asset, wanted, name))]
    if not found and wanted == "nir":  # Landsat has the narrow near infrared alone
        return asset_of(item, "nir08", resolution_m)
    if not found and wanted == "dem":  # heights are the one raster of their items, or that under the key "data"
        rasters = [key for key, asset in item.assets.items() if _is_raster(asset)]
        found = [_band_asset(item, key, item.assets[key], 1, name, {}, 0) for key in rasters
                 if len(rasters) == 1 or key == "data"]
    if not found:
        raise InputError(f"there is no asset for {name!r}", where=item.id,
                         mend=f"It has {', '.join(band_names(item)) or 'no assets at all'}")
    return min(found, key=lambda choice: _rank(choice, resolution_m))[1]


def band_names(item) -> list[str]:
    """Common names of the bands that an item has, or asset keys where they have none; in order of the assets."""
    names = []
    for key, asset in item.assets.items():
        if set(asset.roles or ()) & NO_BAND_ROLES or not _is_raster(asset):
            continue
        common = [c for band in _bands(item, asset) if (c := _common_name(band))]
        names += common if len(common) == 1 else [canonical_name(item, plain_key(key), key)]
    return list(dict.fromkeys(names))


def pixel_size_m(item, asset) -> float | None:
    """Pixel size that an asset states (its name, its raster fields, its grid, its gsd), else the item's, or None."""
    fields = asset.extra_fields
    raster = (fields.get("raster:bands") or fields.get("bands") or [{}])[0]
    raster = raster if isinstance(raster, dict) else {}
    in_title = RESOLUTION.search(str(asset.title or ""))
    transform = fields.get("proj:transform")
    code = stated_crs(fields) or stated_crs(item.properties)
    in_metres = code is None or is_projected(code)
    for value in (raster.get("spatial_resolution"), raster.get("raster:spatial_resolution"),
                  fields.get("raster:spatial_resolution"), in_title and in_title.group(1),
                  transform[0] if transform and in_metres else None, fields.get("gsd"),
                  fields.get("eo:gsd"), item.properties.get("gsd"), item.properties.get("eo:gsd")):
        try:
            if value and math.isfinite(float(value)):
                return abs(float(value))
        except (TypeError, ValueError):
            continue
    return None


def _match(item, key: str, asset, wanted: str, name: str) -> tuple | None:
    """(how well, the asset) if it holds the band: 0 by its key, 1 by number or its one band, 3 as one of several."""
    plain = plain_key(key)
    roles = set(asset.roles or ())
    if name.lower() == key.lower() or wanted == plain:
        return _band_asset(item, key, asset, 1, name, {}, 0)
    if roles & NO_BAND_ROLES and wanted != "visual":
        return None
    if is_band(item, plain, wanted):
        return _band_asset(item, key, asset, 1, name, {}, 1)
    bands = _bands(item, asset)
    for number, band in enumerate(bands, 1):
        common = _common_name(band)
        if common == wanted or is_band(item, plain_key(str(band.get("name", ""))), wanted):
            return _band_asset(item, key, asset, number, name, band, 1 if len(bands) == 1 else 3)
    return None


def _band_asset(item, key, asset, band, name, band_fields, quality) -> tuple[int, BandAsset]:
    fields = {**asset.extra_fields, **band_fields}
    return quality, BandAsset(key, _href(item, asset), band, name, asset.media_type or "", _gsd(item, key, asset),
                              fields)


def _gsd(item, key: str, asset) -> float | None:
    in_key = RESOLUTION.search(key)
    return float(in_key.group(1)) if in_key else pixel_size_m(item, asset)


def _rank(choice: tuple[int, BandAsset], resolution_m: float | None) -> tuple:
    quality, asset = choice
    scheme = urlsplit(asset.href).scheme
    reach = {"s3": 1, "gs": 2}.get(scheme, 0)
    size = asset.gsd_m or 1e9
    if resolution_m is None:
        fit = (0, size)
    else:  # the coarsest that is fine enough, else the finest of the too coarse
        fit = (0, -size) if size <= resolution_m * 1.001 else (1, size)
    return quality > 1, reach, fit, not asset.is_cog, quality


def _is_raster(asset) -> bool:
    kind = (asset.media_type or "").lower()
    if kind:
        return any(word in kind for word in ("tiff", "jp2", "jpeg2000", "netcdf", "zarr", "hdf"))
    return asset.href.split("?")[0].lower().endswith((".tif", ".tiff", ".jp2", ".nc"))


def _href(item, asset) -> str:
    """https before s3 where a catalogue gives both (alternate-assets extension)."""
    href = asset.get_absolute_href() or asset.href
    if urlsplit(href).scheme == "s3":
        for other in (asset.extra_fields.get("alternate") or {}).values():
            if isinstance(other, dict) and str(other.get("href", "")).startswith("https://"):
                return other["href"]
    return href


def _bands(item, asset) -> list[dict]:
    """Bands of an asset by any version of STAC: `bands` (1.1), `eo:bands`, or numbers into the item's `eo:bands`."""
    fields = asset.extra_fields
    of_item = [b for b in item.properties.get("eo:bands") or () if isinstance(b, dict)]
    bands = []
    for band in fields.get("bands") or fields.get("eo:bands") or []:
        if isinstance(band, dict):
            bands.append(band)
        elif isinstance(band, int) and 0 <= band < len(of_item):
            bands.append(of_item[band])
    return bands


def _common_name(band: dict) -> str | None:
    name = band.get("eo:common_name") or band.get("common_name")
    # "rededge" stands for three or four bands of Sentinel-2 alike: it names none of them
    return None if not isinstance(name, str) or name in ("", "rededge") else SYNONYMS.get(name.lower(), name.lower())
