"""A folder of the user's own pictures as a provider: street views with a known place, GeoTIFFs for views from above."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from rsnb.data.crossview.pairs import distance_m
from rsnb.data.providers.picture_metadata import Shot, shot_of
from rsnb.data.providers.provider import ProvidedImage, check_request, check_top_view, too_far
from rsnb.data.street.panos import read_panos
from rsnb.errors import InputError
from rsnb.scenes import Georeference

_PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_RASTERS = (".tif", ".tiff", ".jp2", ".vrt")
TERMS = "Pictures of the user's own folder; whoever took them holds the rights"


class FolderProvider:
    """Street views and top views from files.

    A street view's place comes from a JSON beside it (lat, lon, or position in model metres; heading_deg, fov_deg,
    date), a `panos.txt` in its folder or the root, the street-view file-name grammar, or its EXIF GPS, in this order.
    Its id is the file name without suffix.

    Args:
        root: searched with all folders in it.
        georeference: of model coordinates in sidecars, `panos.txt` and file names.
        terms: licence and attribution to hand out with each picture.

    Raises:
        InputError: no such folder, or a broken sidecar or `panos.txt`.
    """

    name = "folder"

    def __init__(self, root: str | Path, georeference: Georeference | None = None, terms: str = TERMS):
        self.root, self.terms = Path(root), terms
        if not self.root.is_dir():
            raise InputError("there is no such folder of pictures", where=self.root, mend="Give the folder")
        files = sorted(p for p in self.root.rglob("*") if p.is_file() and not p.name.startswith("."))
        listed = {p.parent: _listed(p, georeference) for p in files if p.name.lower() == "panos.txt"}
        shots = [shot_of(p, listed.get(p.parent, listed.get(self.root, {})), georeference)
                 for p in files if p.suffix.lower() in _PICTURES]
        self._shots = [shot for shot in shots if shot is not None]
        self.without_place = len(shots) - len(self._shots)
        self._rasters = [p for p in files if p.suffix.lower() in _RASTERS]

    def __repr__(self) -> str:
        return (f"FolderProvider({str(self.root)!r}: {len(self._shots)} pictures with a place, {self.without_place} "
                f"without, {len(self._rasters)} rasters)")

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the pictures that have a place."""
        return tuple(shot.path.stem for shot in self._shots)

    def street_view(self, pano_id: str | None = None, *, lat: float | None = None, lon: float | None = None,
                    max_distance_m: float = 50.0) -> ProvidedImage:
        """See `ImageProvider`; a picture twice as wide as high, or of 360 degrees, counts as a panorama."""
        check_request(pano_id, lat, lon)
        if not self._shots:
            raise InputError(f"none of the {self.without_place} pictures here says where it was taken", where=self.root,
                             mend="Put a JSON with lat and lon beside each, or use pictures with EXIF GPS")
        if pano_id is not None:
            shot = next((s for s in self._shots if pano_id in (s.path.stem, s.path.name)), None)
            if shot is None:
                raise InputError(f"there is no picture {pano_id!r} with a known place", where=self.root,
                                 mend=f"The first ids are {', '.join(self.ids[:3])}")
            return self._provided(shot, math.nan)
        away = distance_m(np.array([(s.lat, s.lon) for s in self._shots]), np.array([lat, lon], float))
        nearest = int(np.argmin(away))
        if away[nearest] > max_distance_m:
            raise too_far(float(away[nearest]), max_distance_m, "picture", str(self.root))
        return self._provided(self._shots[nearest], float(away[nearest]))

    def top_view(self, lat: float, lon: float, extent_m: float = 50.0, size: int = 256) -> ProvidedImage:
        """See `ImageProvider`; from the finest raster (8 bits a band, or 0..1) that covers the square, read by window.

        Up is true north whatever the raster's grid: the square is a local azimuthal map around the place.
        """
        check_top_view(lat, lon, extent_m, size)
        if not self._rasters:
            raise InputError("there is no raster here", where=self.root,
                             mend="Put a georeferenced GeoTIFF of the place into the folder")
        faults, best = [], None
        for path in self._rasters:
            try:
                found = read_square(path, lat, lon, extent_m, size)
            except InputError as error:
                faults.append(f"{path.name}: {error.what}")
                continue
            if best is None or found[1] < best[1]:
                best = (*found, path)
        if best is None:
            raise InputError(f"no raster covers the square of {extent_m:g} m ({'; '.join(faults[:3])})",
                             where=self.root, mend="Ask for a place inside, or a smaller extent")
        image, _, date, path = best
        return ProvidedImage(image, "top", path.stem, lat, lon, 0.0, 0.0, str(path), self.terms, date,
                             extent_m=float(extent_m))

    def _provided(self, shot: Shot, away: float) -> ProvidedImage:
        from PIL import Image, ImageOps

        try:
            with Image.open(shot.path) as picture:
                image = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), np.float32)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"this is no picture that can be read ({error})", where=shot.path,
                             mend="Fetch or write it again") from None
        round_ = shot.fov_deg == 360.0 or (math.isnan(shot.fov_deg) and image.shape[1] == 2 * image.shape[0])
        fov = 2 * math.pi if round_ else None if math.isnan(shot.fov_deg) else math.radians(shot.fov_deg)
        return ProvidedImage(image.transpose(2, 0, 1) / np.float32(255.0), "panorama" if round_ else "pinhole",
                             shot.path.stem, shot.lat, shot.lon, math.radians(shot.heading_deg), away,
                             f"{shot.path} (place from {shot.told_by})", self.terms, shot.date, fov)


def read_square(path: Path, lat: float, lon: float, extent_m: float, size: int) -> tuple[np.ndarray, float, str | None]:
    """A square of a raster around a place, true north up.

    Returns:
        [3, size, size] float32 in 0..1, the raster's pixel size in metres there (to choose the finest), its date.

    Raises:
        InputError: no raster, without a coordinate system, neither 8 bits nor 0..1, or it does not cover the square.
    """
    import rasterio
    from rasterio.enums import ColorInterp, Resampling
    from rasterio.errors import RasterioError
    from rasterio.transform import from_origin
    from rasterio.vrt import WarpedVRT

    local = f"+proj=aeqd +lat_0={float(lat)!r} +lon_0={float(lon)!r} +datum=WGS84 +units=m"
    step = extent_m / size
    try:
        with rasterio.open(path) as file:
            if file.crs is None:
                raise InputError("it has no coordinate system", where=path, mend="Write it as a GeoTIFF with one")
            if file.dtypes[0] not in ("uint8", "float32", "float64"):
                raise InputError(f"it holds {file.dtypes[0]}, no 8-bit picture", where=path,
                                 mend="Stretch it to 8 bits first")
            with WarpedVRT(file, crs=local) as whole:
                gsd = abs(whole.transform.a)
            bands = [1, 2, 3] if file.count >= 3 else [1, 1, 1]
            with WarpedVRT(file, crs=local, transform=from_origin(-extent_m / 2, extent_m / 2, step, step), width=size,
                           height=size, resampling=Resampling.average if gsd < step else Resampling.bilinear,
                           add_alpha=ColorInterp.alpha not in file.colorinterp) as view:
                data, seen = view.read(bands).astype(np.float32), view.dataset_mask() > 0
            date = file.tags().get("TIFFTAG_DATETIME") or file.tags().get("datetime")
    except RasterioError as error:
        raise InputError(f"it cannot be read ({error})", where=path, mend="Write it again") from None
    if seen.mean() < 0.999:
        raise InputError(f"it covers {100 * seen.mean():.0f} % of the square", where=path,
                         mend="Ask for a place inside, or a smaller extent")
    if file.dtypes[0] != "uint8" and (not np.isfinite(data).all() or data.min() < 0 or data.max() > 1.001):
        raise InputError(f"its values are {np.nanmin(data):g} to {np.nanmax(data):g}, expected 0 to 1", where=path,
                         mend="Stretch it to 0..1 or to 8 bits first")
    return np.clip(data / np.float32(255.0 if file.dtypes[0] == "uint8" else 1.0), 0, 1), gsd, date


def _listed(path: Path, georeference: Georeference | None) -> dict[str, tuple[float, float]]:
    try:
        table = read_panos(path, georeference)
    except InputError:
        if georeference is not None:
            raise
        # latitude and longitude are enough here: any grid will do to fill in the X and Y that the file may lack
        table = read_panos(path, Georeference("EPSG:3857"))
    return {i: (float(lat), float(lon)) for i, lat, lon in zip(table.ids, table.lat, table.lon, strict=True)}
