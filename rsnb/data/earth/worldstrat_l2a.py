"""WorldStrat's 12-band Sentinel-2 frames and their masks, brought onto one grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsnb.data.earth.bands import BAND_ID, L2A_ORDER, choose, common_name
from rsnb.data.earth.worldstrat_dates import RevisitFacts
from rsnb.data.earth.worldstrat_layout import PlaceFiles, Revisit
from rsnb.data.raster import open_raster, read_grid, read_on_grid
from rsnb.data.raster_grid import RasterGrid
from rsnb.data.scene_classification import clear_mask
from rsnb.errors import InputError
from rsnb.scenes import DatedStack

# s2cloudless calls a pixel cloud from a probability of 0.4 on; CLP stores it in 0..255.
CLOUD_PROBABILITY = 0.4 * 255


def read_l2a(files: PlaceFiles, facts: Mapping[int, RevisitFacts], bands) -> tuple[DatedStack, list[int], list[str]]:
    """The frames of a place on the grid that most of them share.

    Args:
        files: of one place, frames "L2A".
        facts: {revisit number: dates}, in date order.
        bands: common names or numbers.

    Returns:
        The stack, the revisit numbers kept, notes on frames left out or resampled.

    Raises:
        InputError: no such band, no frame that can be read, or frames that do not lie over one another.
    """
    by_number = {r.n: r for r in files.revisits}
    grids, notes = {}, []
    for n in facts:
        try:
            grids[n] = read_grid(by_number[n].files["L2A_data"])
        except InputError as error:
            notes.append(f"revisit {n} is left out: {error}")
    shared = _shared_grid(grids, files)
    images, clear, kept = [], [], []
    for n, grid in grids.items():
        try:
            image, mask = _read_revisit(by_number[n], shared, bands)
        except InputError as error:
            if _about_bands(error):
                raise
            notes.append(f"revisit {n} is left out: {error}")
            continue
        if grid != shared:
            notes.append(f"revisit {n}: {grid.width} x {grid.height} pixels, resampled to {shared.width} x "
                         f"{shared.height}")
        images.append(image)
        clear.append(mask)
        kept.append(n)
    if not kept:
        raise InputError(f"no frame of {files.name} can be read ({notes[-1]})", where=files.name)
    names = (bands,) if isinstance(bands, str) else tuple(bands)
    stack = DatedStack(np.stack(images), np.array([facts[n].date for n in kept]), tuple(map(common_name, names)),
                       np.stack(clear), shared.transform, shared.crs,
                       tuple(by_number[n].files["L2A_data"].stem for n in kept))
    return stack, kept, notes


def _about_bands(error: InputError) -> bool:
    return error.what.startswith(("there is no band", "no band"))


def _shared_grid(grids: dict[int, RasterGrid], files: PlaceFiles) -> RasterGrid:
    """The grid most frames have; InputError for one that lies elsewhere or cannot be compared."""
    if not grids:
        raise InputError("no frame can be read", where=files.name, mend="Fetch the place again")
    counts = Counter(grids.values())
    shared = max(counts, key=lambda g: counts[g])  # of equals the first, which is the earliest
    for n, grid in grids.items():
        path = next(r.files["L2A_data"] for r in files.revisits if r.n == n)
        if grid == shared:
            continue
        if grid.crs is None or shared.crs is None:
            raise InputError(f"{grid.width} x {grid.height} pixels, the other frames {shared.width} x {shared.height}, "
                             "and no coordinate system to lay them over one another", where=path,
                             mend="Remove the frame, or crop all of them to one size")
        west, south, east, north = grid.bounds
        w, s, e, n_ = shared.bounds
        overlap = max(0.0, min(east, e) - max(west, w)) * max(0.0, min(north, n_) - max(south, s))
        if overlap < 0.5 * (e - w) * (n_ - s):
            raise InputError("the frame covers less than half of what the others cover", where=path,
                             mend="Remove the frame: it is of another place")
    return shared


def _read_revisit(revisit: Revisit, grid: RasterGrid, bands) -> tuple[np.ndarray, np.ndarray]:
    """[B, H, W] reflectance with nan, and [H, W] clear."""
    path = revisit.files["L2A_data"]
    with open_raster(path) as file:
        names = band_names(file, path)
        integer = np.issubdtype(np.dtype(file.dtypes[0]), np.integer)
    wanted = choose(bands, names, path)
    image = read_on_grid(path, grid)
    empty = np.isnan(image).all(axis=0)
    if "dataMask" in revisit.files:
        empty |= ~(read_on_grid(revisit.files["dataMask"], grid, resampling="nearest")[0] > 0)
    # nodata is 0, but a single band may be 0 where the ground is dark: only a pixel without any band is empty
    image = np.where(empty, np.nan, np.nan_to_num(image[wanted], nan=0.0)).astype(np.float32)
    if integer:
        image = image / np.float32(10000)
    return image, _clear(revisit, grid) & ~empty


def band_names(file, path: Path) -> tuple[str, ...]:
    """Common names of a frame's bands: as its band descriptions say, else by their number."""
    written = [common_name(d) for d in file.descriptions if d]
    if len(written) == file.count and set(written) <= {*L2A_ORDER, "cirrus"}:
        return tuple(written)
    if file.count == len(L2A_ORDER):
        return L2A_ORDER
    if file.count == len(BAND_ID):
        return tuple(common_name(b) for b in BAND_ID)
    raise InputError(f"the frame has {file.count} bands, expected the 12 of Level-2A", where=path,
                     mend="Fetch it again, or write the band names into the file's band descriptions")


def _clear(revisit: Revisit, grid: RasterGrid) -> np.ndarray:
    for kind in ("SCL", "CLM", "CLP"):
        if kind not in revisit.files:
            continue
        # nodata of a mask is 0, which in CLM and CLP says "no cloud": what lies outside the file stays nan
        mask = read_on_grid(revisit.files[kind], grid, resampling="nearest")[0]
        if kind == "SCL":
            return clear_mask(mask)
        clouded = mask >= (1 if kind == "CLM" else CLOUD_PROBABILITY)
        return ~clouded
    return np.ones((grid.height, grid.width), bool)
