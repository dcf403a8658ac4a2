"""STAC documents of the city's catalogue, as dictionaries: worded like those of the catalogues they stand in for.

Sentinel-2 items follow Earth Search v1 (STAC 1.0.0: eo 1.1, projection 1.1 with `proj:epsg`, raster 1.1, view, grid,
mgrs, `s2:` and `earthsearch:` fields); the elevation model follows its cop-dem-glo-30; the high-resolution pictures
are STAC 1.1.0 (`bands`, `proj:code`), so that a reader meets both wordings. Every asset has `file:size` and
`file:checksum` (a multihash: 12 20, then sha256) of the file extension 2.1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.city.grids import Grid

COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
EXTENSIONS = "https://stac-extensions.github.io"
TILE = ("35", "V", "LG")  # the 100 km square of the military grid that holds Helsinki
COLLECTIONS = {"s2": "sentinel-2-l2a", "dem": "cop-dem-glo-30", "high": "city-high-resolution"}
# common name: Sentinel-2 band, number in titles, centre and width, micrometres (as Earth Search states them)
S2_BANDS = {
    "coastal": ("B01", "Coastal aerosol (band 1)", 0.443, 0.027), "blue": ("B02", "Blue (band 2)", 0.49, 0.098),
    "green": ("B03", "Green (band 3)", 0.56, 0.045), "red": ("B04", "Red (band 4)", 0.665, 0.038),
    "rededge1": ("B05", "Red edge 1 (band 5)", 0.704, 0.019), "rededge2": ("B06", "Red edge 2 (band 6)", 0.74, 0.018),
    "rededge3": ("B07", "Red edge 3 (band 7)", 0.783, 0.028), "nir": ("B08", "NIR 1 (band 8)", 0.842, 0.145),
    "nir08": ("B8A", "NIR 2 (band 8A)", 0.865, 0.033), "nir09": ("B09", "NIR 3 (band 9)", 0.945, 0.026),
    "swir16": ("B11", "SWIR 1 (band 11)", 1.61, 0.143), "swir22": ("B12", "SWIR 2 (band 12)", 2.19, 0.242)}
_SCL_SHARES = {"dark_features": 2, "cloud_shadow": 3, "vegetation": 4, "not_vegetated": 5, "water": 6,
               "unclassified": 7, "medium_proba_clouds": 8, "high_proba_clouds": 9, "thin_cirrus": 10, "snow_ice": 11}


@dataclass(frozen=True)
class Processing:
    """How the digital numbers of a Sentinel-2 product were made.

    Attributes:
        baseline: processing baseline; from 04.00 on ESA's numbers hold an offset of 1000.
        declared_offset: `raster:bands` offset in the item, reflectance.
        applied: `earthsearch:boa_offset_applied`: the offset has been taken off the stored numbers already.
    """

    baseline: str
    declared_offset: float
    applied: bool

    @property
    def stored_offset(self) -> int:
        """What the stored numbers hold on top of reflectance x 10000."""
        return 1000 if self.declared_offset and not self.applied else 0


def s2_id(date: np.datetime64, platform: str) -> str:
    """"S2A_35VLG_20220503_0_L2A"."""
    return f"S2{platform[-1].upper()}_{''.join(TILE)}_{str(date)[:10].replace('-', '')}_0_L2A"


def s2_properties(date, platform: str, sun_deg: tuple[float, float], scl: np.ndarray, how: Processing,
                  epsg: int) -> dict:
    """Properties of a Sentinel-2 item; percentages come from the scene classification [H, W]."""
    seen = max(int((scl != 0).sum()), 1)
    share = {name: round(100.0 * float((scl == k).sum()) / seen, 6) for name, k in _SCL_SHARES.items()}
    stamp, zone = f"{date}.000000Z", int(TILE[0])
    return {
        "datetime": f"{date}.000000Z", "created": stamp, "updated": stamp, "platform": platform,
        "constellation": "sentinel-2", "instruments": ["msi"], "gsd": 10,
        "eo:cloud_cover": round(share["medium_proba_clouds"] + share["high_proba_clouds"] + share["thin_cirrus"], 6),
        "proj:epsg": epsg, "mgrs:utm_zone": zone, "mgrs:latitude_band": TILE[1], "mgrs:grid_square": TILE[2],
        "grid:code": "MGRS-" + "".join(TILE), "view:sun_azimuth": sun_deg[0], "view:sun_elevation": sun_deg[1],
        "s2:nodata_pixel_percentage": round(100.0 * float((scl == 0).mean()), 6),
        **{f"s2:{name}_percentage": value for name, value in share.items()},
        "s2:product_type": "S2MSI2A", "s2:processing_baseline": how.baseline,
        "s2:product_uri": _product_uri(date, platform, how.baseline), "s2:sequence": "0",
        "earthsearch:boa_offset_applied": how.applied, "rsnb:simulated": True}


def _product_uri(date, platform: str, baseline: str) -> str:
    moment = str(date).replace("-", "").replace(":", "")
    return (f"S2{platform[-1].upper()}_MSIL2A_{moment}_N{baseline.replace('.', '')}_R079_T{''.join(TILE)}_{moment}"
            ".SAFE")


def s2_asset(band: str, grid: Grid, how: Processing) -> dict:
    """Asset of one reflectance band."""
    _, title, *_ = S2_BANDS[band]
    metres = round(grid.transform[0])
    return {"type": COG_TYPE, "title": f"{title} - {metres}m", "eo:bands": [eo_band(band)], "gsd": metres,
            **_on_grid(grid), "raster:bands": [{
                "nodata": 0, "data_type": "uint16", "bits_per_sample": 15, "spatial_resolution": metres,
                "scale": 0.0001, "offset": how.declared_offset}], "roles": ["data", "reflectance"]}


def scl_asset(grid: Grid) -> dict:
    """Asset of the scene classification."""
    return {"type": COG_TYPE, "title": "Scene classification map (SCL)", **_on_grid(grid), "raster:bands": [
        {"nodata": 0, "data_type": "uint8", "spatial_resolution": round(grid.transform[0])}],
        "roles": ["data", "reflectance"]}


def visual_asset(grid: Grid) -> dict:
    """Asset of the true-colour picture."""
    return {"type": COG_TYPE, "title": "True color image", "eo:bands": [eo_band(b) for b in ("red", "green", "blue")],
            **_on_grid(grid), "roles": ["visual"]}


def eo_band(band: str) -> dict:
    """Band object of the eo extension 1.1."""
    _, title, centre, width = S2_BANDS[band]
    return {"name": band, "common_name": "rededge" if band.startswith("rededge") else band, "description": title,
            "center_wavelength": centre, "full_width_half_max": width}


def _on_grid(grid: Grid) -> dict:
    return {"proj:shape": list(grid.shape), "proj:transform": [float(v) for v in grid.transform]}


def with_file(asset: dict, folder: Path, name: str) -> dict:
    """The asset with its relative href, size and checksum of the file, which must be there."""
    data = (folder / name).read_bytes()
    return {"href": f"./{name}", **asset, "file:size": len(data),
            "file:checksum": "1220" + hashlib.sha256(data).hexdigest()}


def footprint(grid: Grid, outline=((0, 0), (0, 1), (1, 1), (1, 0))) -> tuple[dict, list[float]]:
    """GeoJSON polygon and bbox, longitude and latitude, of corners given as parts of the grid (right, down).

    Sides are taken in eight steps, for straight lines of a map are bent in degrees.
    """
    import pyproj

    left, bottom, right, top = grid.bounds
    corners = np.array([*outline, outline[0]], float)
    parts = np.concatenate([a + (b - a) * np.linspace(0, 1, 8, endpoint=False)[:, None]
                            for a, b in zip(corners[:-1], corners[1:], strict=True)])
    parts = np.vstack([parts, parts[:1]])
    x, y = left + parts[:, 0] * (right - left), top - parts[:, 1] * (top - bottom)
    lon, lat = (np.round(v, 7) for v in pyproj.Transformer.from_crs(
        grid.crs, "EPSG:4326", always_xy=True).transform(x, y))
    ring = [[float(a), float(b)] for a, b in zip(lon, lat, strict=True)]
    return ({"type": "Polygon", "coordinates": [ring]},
            [float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())])


def item(item_id: str, collection: str, place: tuple[dict, list[float]], properties: dict, assets: dict,
         extensions: tuple[str, ...], version: str = "1.0.0") -> dict:
    """A STAC item of a collection beside it."""
    links = [{"rel": rel, "href": href, "type": "application/json"} for rel, href in (
        ("root", "../../catalog.json"), ("parent", "../collection.json"), ("collection", "../collection.json"))]
    return {"type": "Feature", "stac_version": version,
            "stac_extensions": [f"{EXTENSIONS}/{e}/schema.json" for e in extensions], "id": item_id,
            "geometry": place[0], "bbox": place[1], "properties": properties, "links": links, "assets": assets,
            "collection": collection}


def collection(collection_id: str, title: str, description: str, items: list[dict]) -> dict:
    """A STAC collection with links to its items, its extent the hull of theirs."""
    boxes = np.array([i["bbox"] for i in items])
    times = sorted(i["properties"]["datetime"] for i in items)
    links = [{"rel": "root", "href": "../catalog.json", "type": "application/json"},
             {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
             {"rel": "license", "href": "https://www.apache.org/licenses/LICENSE-2.0"}]
    links += [{"rel": "item", "href": f"./{i['id']}/{i['id']}.json", "type": "application/geo+json"} for i in items]
    return {"type": "Collection", "stac_version": items[0]["stac_version"], "stac_extensions": [], "id": collection_id,
            "title": title, "description": description, "license": "Apache-2.0",
            "providers": [{"name": "rsnb", "roles": ["producer", "processor"]}],
            "extent": {"spatial": {"bbox": [[*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]]},
                       "temporal": {"interval": [[times[0], times[-1]]]}}, "links": links}


def catalogue(collections: list[dict]) -> dict:
    """The root document."""
    links = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    links += [{"rel": "child", "href": f"./{c['id']}/collection.json", "type": "application/json",
               "title": c["title"]} for c in collections]
    return {"type": "Catalog", "stac_version": "1.0.0", "id": "rsnb-city", "title": "The procedural city",
            "description": "Simulated pictures of the procedural city: a Sentinel-2-like series, pictures of high "
                           "resolution and a surface model. No satellite took them.", "links": links}
