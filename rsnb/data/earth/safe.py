"""Sentinel-2 SAFE products: a folder `*.SAFE` (or its zip) with XML and one JPEG 2000 file per band and resolution.

    S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU_20221005T164454.SAFE/
        MTD_MSIL2A.xml, manifest.safe
        GRANULE/L2A_T29UNU_A038058_20221005T115407/
            MTD_TL.xml
            IMG_DATA/R10m/T29UNU_20221005T115411_B04_10m.jp2      (and R20m, R60m; Level-1C has no such folders)
            QI_DATA/MSK_CLDPRB_20m.jp2, MSK_CLASSI_B00.jp2 ...

Products with GeoTIFF instead of JPEG 2000 (some catalogues convert) are read as well. The pixels are digital numbers:
reflectance = (DN + offset) / 10000, applied here once (`safe_metadata`). Copernicus Sentinel data are free and open
under the Sentinel legal notice. Nothing is unpacked: windows are read from inside a zip too.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.audit import Audit
from rsnb.data.earth.bands import band_id, common_name
from rsnb.data.earth.safe_metadata import SafeFacts, parse_product
from rsnb.data.raster import open_raster, read_grid, read_on_grid
from rsnb.data.raster_grid import MAX_BYTES, Bbox, RasterGrid, require_memory
from rsnb.data.scene_classification import clear_mask
from rsnb.errors import InputError
from rsnb.scenes import DatedStack

MAIN = re.compile(r"(?:.*/)?(?:MTD_MSIL(?:1C|2A)|S2\w_\w+_MTD_SAFL(?:1C|2A)_[^/]*)\.xml", re.I)
IMAGE = re.compile(r"(?:.*_|)(?P<band>B\d{1,2}|B8A|SCL|TCI|AOT|WVP|CLD|SNW|PVI)(?:_(?P<m>\d+)m)?\.(?:jp2|tiff?)", re.I)
MASK = re.compile(r"(?:.*_)?MSK_(?P<kind>[A-Z]+)(?:_\w*?(?P<band>B\d\w))?\w*?(?:_(?P<m>\d+)m)?"
                  r"\.(?:jp2|gml|tiff?)", re.I)
NATIVE_L1C = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "TCI": 10, "B01": 60, "B09": 60, "B10": 60}
SATURATED = 65535
# What zipfile raises on damaged or locked archives (a ValueError is a negative place in the file).
ZIP_FAULTS = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, RuntimeError, ValueError, EOFError, OSError)


@dataclass(frozen=True)
class SafeFile:
    """One raster of a product.

    Attributes:
        kind: "band", "classes" (SCL), "atmosphere" (AOT, WVP), "picture" (TCI, PVI) or "mask".
        band: "B04", "SCL" ...; of a mask its kind ("CLDPRB", "DETFOO B04").
        common_name: "red" ..., "" for what is no band.
        resolution_m: of a pixel, or None where the name does not say.
        path: for rasterio; inside a zip it begins with /vsizip/.
    """

    kind: str
    band: str
    common_name: str
    resolution_m: int | None
    path: str


@dataclass(frozen=True)
class SafeProduct:
    """One product: facts from its metadata, and the rasters that are there.

    Attributes:
        path: folder or zip.
        facts: from the XML.
        files: rasters, bands first.
        missing: image files that the XML lists and that are not there.
    """

    path: Path
    facts: SafeFacts
    files: tuple[SafeFile, ...]
    missing: tuple[str, ...]

    def select(self, kind: str | None = None, band: str | None = None, resolution_m: int | None = None
               ) -> tuple[SafeFile, ...]:
        """The rasters of a kind, a band ("red" or "B04") and a pixel size; None = all."""
        wanted = None if band is None else band_id(band)
        return tuple(f for f in self.files if kind in (None, f.kind) and wanted in (None, f.band)
                     and resolution_m in (None, f.resolution_m))

    def table(self) -> list[dict]:
        """A row per raster, for a data frame: kind, band, common_name, resolution_m, path."""
        return [dict(kind=f.kind, band=f.band, common_name=f.common_name, resolution_m=f.resolution_m, path=f.path)
                for f in self.files]


def find_safe(root: str | Path) -> tuple[Path, ...]:
    """Products under a folder, whatever the folders are called: where a main XML lies, and zips that hold one."""
    root = Path(root)
    if not root.is_dir():
        raise InputError("there is no such folder", where=root, mend="Give the folder that holds the products")
    found = {p.parent for p in root.rglob("*.xml") if MAIN.fullmatch(p.name)}
    for archive in root.rglob("*.zip"):
        try:
            with zipfile.ZipFile(archive) as file:
                if any(MAIN.fullmatch(name) for name in file.namelist()):
                    found.add(archive)
        except ZIP_FAULTS:
            continue  # no zip, or a broken one: `open_safe` says so of one that is named
    return tuple(sorted(found))


def open_safe(path: str | Path) -> SafeProduct:
    """Look into a product: its metadata and its rasters; no pixel is read.

    Args:
        path: the `.SAFE` folder, a folder with that one inside, its main XML, or its zip.

    Raises:
        InputError: no product, several, metadata that do not parse, or a zip cut short.
    """
    path = Path(path)
    names, read, prefix = _members(path)
    mains = [n for n in names if MAIN.fullmatch(n)]
    if len(mains) != 1:
        what = "there is no MTD_MSIL2A.xml or MTD_MSIL1C.xml" if not mains else f"there are {len(mains)} products"
        raise InputError(what, where=path, mend="Name one product's .SAFE folder or zip")
    facts = parse_product(read(mains[0]), f"{path}/{mains[0]}")
    folder = mains[0].rpartition("/")[0]
    inside = [n for n in names if not folder or n.startswith(f"{folder}/")]
    files = [f for n in inside if (f := _file(n, prefix, facts.level))]
    order = {"band": 0, "classes": 1, "atmosphere": 2, "picture": 3, "mask": 4}
    files.sort(key=lambda f: (order[f.kind], f.resolution_m or 0, f.band))
    stems = {re.sub(r"\.(jp2|tiff?)$", "", n[len(folder):].lstrip("/"), flags=re.I).rsplit("/")[-1] for n in inside}
    missing = tuple(n for n in facts.listed if n.rsplit("/")[-1] not in stems)
    return SafeProduct(path, facts, tuple(files), missing)


def read_safe(products: SafeProduct | Sequence[SafeProduct], bands: Sequence[str] = ("red", "green", "blue"), *,
              resolution_m: int = 10, bbox: Bbox | None = None, bbox_crs: str | None = None,
              max_bytes: int = MAX_BYTES) -> DatedStack:
    """Bands of one or several products as a dated stack of reflectance; only the window asked for is decoded.

    Args:
        products: `open_safe`'s; of several the grid is that of the earliest, tiles of other zones are warped onto it.
        bands: "red" or "B04" ...; "aot" and "wvp" in their own units, "scl" and masks ("CLDPRB") as stored.
        resolution_m: of the stack: 10, 20 or 60. A band is taken from the file of that pixel size, else from a finer
            one (averaged), else from a coarser one (bilinear; SCL nearest).
        bbox: west, south, east, north, widened to whole pixels; None = the whole tile.
        bbox_crs: of the box; None = the tile's own.
        max_bytes: of the result; more is refused before anything is read.

    Returns:
        Reflectance, nan where DN is 0. Clear after SCL (Level-2A), and not where a band is saturated; without SCL every
        pixel with data.

    Raises:
        InputError: a band that is not there, a box that lies outside the tile, or a stack larger than `max_bytes`.
    """
    products = [products] if isinstance(products, SafeProduct) else list(products)
    if not products:
        raise InputError("there is no product", where="read_safe")
    bands = (bands,) if isinstance(bands, str) else tuple(bands)
    products.sort(key=lambda p: (p.facts.date, p.facts.name))
    grid = _grid(products[0], bands[0], resolution_m)
    if bbox is not None:
        grid = grid.cropped(*grid.window(bbox, bbox_crs))
    require_memory(len(products), len(bands), grid, max_bytes, "read_safe")
    images = np.empty((len(products), len(bands), grid.height, grid.width), np.float32)
    clear = [_read_one(p, bands, grid, resolution_m, image) for p, image in zip(products, images, strict=True)]
    return DatedStack(images, np.array([p.facts.date for p in products]), tuple(map(common_name, bands)),
                      np.stack(clear), grid.transform, grid.crs, tuple(p.facts.name or p.path.name for p in products))


def read_quicklook(product: SafeProduct, max_side: int = 512) -> np.ndarray:
    """The product's own true-colour picture, made small: [3, H, W] float32 in 0..1, for overviews and maps.

    Only as much of the JPEG 2000 file is decoded as that size needs.

    Raises:
        InputError: the product has neither TCI nor PVI.
    """
    pictures = sorted(product.select("picture"), key=lambda f: (f.band != "TCI", -(f.resolution_m or 0)))
    if not pictures:
        raise InputError("there is no picture (TCI or PVI) in it", where=product.path, mend="Read red, green and blue")
    with open_raster(pictures[0].path) as file:
        scale = min(1.0, max_side / max(file.height, file.width))
        shape = (min(3, file.count), max(1, round(file.height * scale)), max(1, round(file.width * scale)))
        return file.read(list(range(1, shape[0] + 1)), out_shape=shape).astype(np.float32) / np.float32(255)


def audit(root: Path) -> Audit:
    """Products, bands, masks; files listed but absent, of another size or checksum than manifest.safe says."""
    from rsnb.data.earth.safe_audit import audit as look

    return look(Path(root))


def _members(path: Path):
    """(names with "/" between, a function that reads one, the prefix of a path for rasterio)."""
    if path.suffix.lower() == ".xml" and path.is_file():
        path = path.parent
    if path.is_dir():
        names = [p.relative_to(path).as_posix() for p in sorted(path.rglob("*")) if p.is_file()]
        return names, lambda name: (path / name).read_bytes(), f"{path}/"
    if not path.is_file():
        raise InputError("there is no such product", where=path, mend="Name a .SAFE folder or its zip")
    try:
        with zipfile.ZipFile(path) as file:
            names = sorted(n for n in file.namelist() if not n.endswith("/"))
    except ZIP_FAULTS as error:
        raise InputError(f"this is no whole zip ({error})", where=path, mend="Fetch it again") from None

    def read(name: str) -> bytes:
        try:
            with zipfile.ZipFile(path) as file:
                return file.read(name)
        except ZIP_FAULTS as error:
            raise InputError(f"{name} in it cannot be read ({error})", where=path, mend="Fetch it again") from None

    return names, read, f"/vsizip/{path.resolve()}/"


def _file(name: str, prefix: str, level: str) -> SafeFile | None:
    folder, _, base = name.rpartition("/")
    if base.startswith("."):
        return None
    match = MASK.fullmatch(base)
    if match:
        label = match["kind"].upper() + (f" {match['band'].upper()}" if match["band"] else "")
        return SafeFile("mask", label, "", int(match["m"]) if match["m"] else None, prefix + name)
    match = IMAGE.fullmatch(base)
    if not match or ("QI_DATA" in folder.upper() and match["band"].upper() != "PVI"):
        return None
    band = band_id(match["band"])
    kind = {"SCL": "classes", "TCI": "picture", "PVI": "picture"}.get(band, "band" if band[0] == "B" else "atmosphere")
    metres = int(match["m"]) if match["m"] else (NATIVE_L1C.get(band, 20) if level == "L1C" else None)
    return SafeFile(kind, band, common_name(band) if kind == "band" else "", metres, prefix + name)


def _source(product: SafeProduct, band: str, resolution_m: int) -> SafeFile:
    """The file of a band whose pixels fit best: equal, else the nearest finer, else the finest coarser."""
    found = [f for f in product.select(band=band) if f.kind != "picture" and not f.path.lower().endswith(".gml")]
    if not found:
        there = list(dict.fromkeys(f.band for f in product.files if f.kind != "picture"))
        raise InputError(f"there is no band {band!r}", where=product.path, mend=f"Choose among {', '.join(there)}")
    rank = lambda f: ((f.resolution_m or 0) > resolution_m, abs((f.resolution_m or 0) - resolution_m))  # noqa: E731
    best = min(found, key=rank)
    if len({f.path for f in found if rank(f) == rank(best)}) > 1:
        raise InputError(f"several tiles of it hold band {band!r} (products before December 2016 do)",
                         where=product.path,
                         mend="Copy the granule wanted and the product's XML into a folder of their own")
    return best


def _grid(product: SafeProduct, band: str, resolution_m: int) -> RasterGrid:
    if resolution_m not in (10, 20, 60):
        raise InputError(f"resolution_m = {resolution_m}", where="read_safe", mend="Choose 10, 20 or 60")
    grid = read_grid(_source(product, band, resolution_m).path)
    if grid.crs is None:
        raise InputError("the raster has no georeference", where=_source(product, band, resolution_m).path,
                         mend="Fetch the product again")
    factor = abs(grid.transform[0]) / resolution_m
    return grid.scaled(round(grid.height * factor), round(grid.width * factor))


def _read_one(product: SafeProduct, bands, grid: RasterGrid, resolution_m: int, out: np.ndarray) -> np.ndarray:
    """Fill `out` [B, H, W]; [H, W] clear."""
    facts, clear = product.facts, np.ones((grid.height, grid.width), bool)
    for image, band in zip(out, bands, strict=True):
        source = _source(product, band, resolution_m)
        way = "nearest" if source.kind in ("classes", "mask") else "auto"
        numbers = read_on_grid(source.path, grid, [1], way, nodata=None if source.kind == "mask" else 0)[0]
        clear &= np.isfinite(numbers)
        if source.kind == "band":
            clear &= numbers < SATURATED
            numbers = (numbers + facts.offsets.get(source.band, 0.0)) / facts.quantification
        elif source.kind == "atmosphere":
            numbers = numbers / facts.scales.get(source.band, 1.0)
        image[...] = numbers
    if product.select(kind="classes"):
        scl = read_on_grid(_source(product, "SCL", resolution_m).path, grid, [1], resampling="nearest", nodata=0)[0]
        clear &= clear_mask(scl)
    return clear
