"""WorldStrat: SPOT 6/7 pictures at 1.5 m with up to 16 Sentinel-2 L2A revisits each at 10 m (Cornebise et al., 2022).

What lies on disk, per place of about 2.5 km2 (`worldstrat_layout` lists the folder layouts that are understood):

- `<place>-<n>-L2A_data.tiff`: 12 bands float32 reflectance, about 160 x 155, EPSG:4326, nodata 0, in the order B01 B02
  B03 B04 B05 B06 B07 B08 B8A B09 B11 B12. The pixels are 10 m in both directions and so unequal in degrees: the
  transform keeps that, and the picture is not square although the place is.
- `-SCL`, `-CLM` (1 = cloud), `-CLP` (cloud probability 0..255), `-dataMask` on the same grid; `<place>-<n>.metadata`.
  The number n of a revisit is not date order, and `cloud_cover` is that of the whole product.
- `<place>_rgbn.tiff` (263 x 263, uint16, red green blue nir, 6 m), `_pan.tiff` (1054 x 1054, 1.5 m), `_ps.tiff` (pan
  sharpened): they name a CRS but have no transform. They cover the footprint of the low-resolution frames, so both are
  laid over one another by their corners (on [-1, 1] as LIIF does); the ratio of pixels is no whole number.
  Registration differs by up to 7.5 m (measured on nine places): see `rsnb.data.raster_tools.coregister`.
- The prepared frames of the Temporal LIIF thesis: `1.png` ... `5.png` in date order, 8-bit RGB whose brightness was
  matched to the high-resolution picture, and `hr_x2.png`; no place on Earth, no masks.

Licence: Sentinel-2 and labels CC BY 4.0, SPOT pictures CC BY-NC 4.0. Frames more than 365 days from the high-resolution
picture are flagged (`WorldStratPlace.far`); one published place has no nearer one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.audit import Audit
from rsnb.data.earth.prepared_frames import RGB, read_prepared
from rsnb.data.earth.worldstrat_dates import RevisitFacts, revisit_facts
from rsnb.data.earth.worldstrat_l2a import read_l2a
from rsnb.data.earth.worldstrat_layout import PlaceFiles, Revisit, list_files
from rsnb.data.raster import open_raster
from rsnb.data.raster_grid import RasterGrid
from rsnb.errors import InputError
from rsnb.scenes import DatedStack

FAR_DAYS = 365.0
# SPOT pictures are 12-bit counts; the factor to reflectance is not published with them.
TWELVE_BITS = 4095.0
HIGH_ORDER = ("ps", "rgbn", "pan", "rgb", "x6", "x4", "x2", "adapted")
HIGH_BANDS = {1: ("pan",), 3: RGB, 4: (*RGB, "nir")}


@dataclass(frozen=True)
class WorldStratPlace:
    """One place: its low-resolution series, and the high-resolution picture of the same footprint.

    Attributes:
        name: of the place.
        stack: [T, B, H, W] in date order; without a CRS (prepared frames) its transform runs over [-1, 1], y down.
        high_resolution: [C, H', W'] float32, counts / 4095 (8-bit pictures / 255), nan where all counts of a 16-bit
            picture are 0 (a rim of a pixel or two); or None.
        high_bands: C names.
        high_transform: of its pixels in the stack's CRS: the same footprint, other pixels.
        high_date: NaT where unknown.
        offset_days: [T] float64, frame minus high-resolution picture, nan where unknown.
        far: [T] bool, more than `max_offset_days` from the high-resolution picture.
        cloud_cover: [T] per cent of the whole product (not of the place), nan where unknown.
        notes: what was left out or contradicts itself.
    """

    name: str
    stack: DatedStack
    high_resolution: np.ndarray | None
    high_bands: tuple[str, ...]
    high_transform: tuple[float, float, float, float, float, float] | None
    high_date: np.datetime64
    offset_days: np.ndarray
    far: np.ndarray
    cloud_cover: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> tuple[float, float]:
        """High-resolution pixels per low-resolution pixel, down and along: about 6.5 x 6.8, no whole numbers."""
        if self.high_resolution is None:
            raise InputError("the place has no high-resolution picture", where=self.name)
        (h, w), (height, width) = self.stack.images.shape[-2:], self.high_resolution.shape[-2:]
        return height / h, width / w


def list_worldstrat(root: str | Path) -> tuple[PlaceFiles, ...]:
    """The places under a folder, by name; no file is opened.

    Raises:
        InputError: no such folder, or nothing of WorldStrat's in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError("there is no such folder", where=root, mend="Give the root of the data set, or of one place")
    places = list_files(root).places
    if not places:
        raise InputError("there is no WorldStrat frame here", where=root,
                         mend="Expected are files like <place>-1-L2A_data.tiff, or <place>/1.png")
    return places


def read_worldstrat(root: str | Path | PlaceFiles, place: str | None = None, bands=RGB, *, frames: str = "auto",
                    high_resolution: str | None = "auto", max_offset_days: float = FAR_DAYS) -> WorldStratPlace:
    """One place as a dated stack with its high-resolution picture.

    Args:
        root: the data set, one place of it, or an entry of `list_worldstrat` (for many places: the folder is then
            looked through once).
        place: its name; may be None where there is only one.
        bands: of the low-resolution frames, common names or numbers ("red" or "B04"); all 12: `bands.L2A_ORDER`.
        frames: "L2A" (TIFF), "prepared" (PNG), or "auto": TIFF where both are there.
        high_resolution: "rgbn", "pan", "ps", "rgb", "x6", "x4", "x2", None, or "auto": the first there is of ps, rgbn,
            pan and the others.
        max_offset_days: frames farther from the high-resolution picture are flagged, not dropped.

    Returns:
        The frames lie on the grid that most of them share (of the earliest where that is a tie): frames that differ by
        a row or a column are resampled onto it (bilinear, masks nearest) and noted. A frame that has no date or cannot
        be read is left out and noted. A pixel is no data (nan) where all 12 bands are 0 or dataMask is 0. Clear is what
        SCL calls clear; without SCL, where CLM is 0; without both, where CLP is under 40 %; else all pixels with data.

    Raises:
        InputError: no such place or band, no frame with a date, or frames that do not overlap.
    """
    places = (root,) if isinstance(root, PlaceFiles) else list_worldstrat(root)
    files = _choose_place(places, place, frames, root.name if isinstance(root, PlaceFiles) else root)
    facts, notes = _dated(files)
    read = read_prepared if files.frames == "prepared" else read_l2a
    stack, kept, more = read(files, facts, bands)
    rows = [facts[n] for n in kept]
    high_date, high_notes = _one_high_date(rows)
    # a delta can be known where the other date is not
    offsets = np.array([(r.date - high_date) / np.timedelta64(1, "D") if not np.isnat(high_date) else r.offset_days
                        for r in rows], dtype=np.float64)
    far = np.abs(offsets) > max_offset_days
    if far.any():
        high_notes.append(f"{far.sum()} of {len(far)} frames are over {max_offset_days:g} days from the "
                          "high-resolution picture")
    picture, names, transform = _read_high(files, high_resolution, stack)
    return WorldStratPlace(files.name, stack, picture, names, transform, high_date, offsets, far,
                           np.array([r.cloud_cover for r in rows]), tuple(notes + more + high_notes))


def footprint_coordinates(n: int) -> np.ndarray:
    """[n] float64 centres of n pixels along one side of a footprint that is [-1, 1]: -1 + (2 i + 1) / n.

    The same for both pictures of a place whatever their numbers of pixels: equal coordinates are the same ground.
    """
    return -1 + (2 * np.arange(n) + 1) / n


def audit(root: Path) -> Audit:
    """Places, revisits and high-resolution pictures; what is missing, cannot be read, or is there twice."""
    from rsnb.data.earth.worldstrat_audit import audit as look

    return look(Path(root))


def _choose_place(places: tuple[PlaceFiles, ...], name: str | None, frames: str, root) -> PlaceFiles:
    if frames not in ("auto", "L2A", "prepared"):
        raise InputError(f"frames = {frames!r}", where="read_worldstrat", mend='Write "auto", "L2A" or "prepared"')
    names = sorted({p.name for p in places})
    if name is None and len(names) > 1:
        raise InputError(f"there are {len(names)} places", where=root, mend=f"Name one: {', '.join(names[:5])} ...")
    wanted = names[0] if name is None else name.strip().replace(" ", "_")
    found = [p for p in places if p.name == wanted and frames in ("auto", p.frames)]
    if not found:
        raise InputError(f"there is no place {wanted!r}" + ("" if frames == "auto" else f" with frames {frames!r}"),
                         where=root, mend=f"Choose one of {', '.join(names[:5])}")
    with_data = [p for p in found if any(_picture(r) for r in p.revisits)]
    if not with_data:
        raise InputError(f"place {wanted} has metadata or masks, but no frame", where=root,
                         mend=f"Expected is {wanted}-{found[0].revisits[0].n}-L2A_data.tiff")
    return min(with_data, key=lambda p: p.frames)  # "L2A" before "prepared"


def _picture(revisit: Revisit) -> Path | None:
    return revisit.files.get("L2A_data") or revisit.files.get("png")


def _dated(files: PlaceFiles) -> tuple[dict[int, RevisitFacts], list[str]]:
    """{revisit number: facts} in date order, of those that have a picture and a date."""
    facts, notes = {}, []
    for revisit in files.revisits:
        if _picture(revisit) is None:
            continue
        try:
            fact = revisit_facts(files, revisit)
        except InputError as error:
            notes.append(f"revisit {revisit.n} is left out: {error}")
            continue
        notes.extend(fact.notes)
        if np.isnat(fact.date):
            notes.append(f"revisit {revisit.n} is left out: neither its metadata nor a table say its date")
        else:
            facts[revisit.n] = fact
    if not facts:
        frame = next(p for r in files.revisits if (p := _picture(r)))
        example = files.name + "," + str(files.revisits[0].n) + ",2019-10-18"
        column = "frame" if files.frames == "prepared" else "revisit_n"
        raise InputError(f"no frame of {files.name} has a date" + (f" ({notes[0]})" if notes else ""), where=frame,
                         mend=f"Put its .metadata beside it, or a dates.csv: aoi,{column},lowres_date / {example}")
    return dict(sorted(facts.items(), key=lambda item: (item[1].date, item[0]))), notes


def _one_high_date(rows: list[RevisitFacts]) -> tuple[np.datetime64, list[str]]:
    known = Counter(r.high_date.astype("datetime64[s]") for r in rows if not np.isnat(r.high_date))
    if not known:
        return np.datetime64("NaT", "s"), ["nothing says the date of the high-resolution picture"]
    notes = [] if len(known) == 1 else [f"the revisits name {len(known)} dates of the high-resolution picture"]
    return known.most_common(1)[0][0], notes


def _read_high(files: PlaceFiles, kind: str | None, stack: DatedStack):
    """[C, H, W] float32, its band names, and the transform over the stack's footprint."""
    there = [k for k in HIGH_ORDER if k in files.high_resolution]
    if kind is None or (kind == "auto" and not there):
        return None, (), None
    if kind == "auto":
        kind = there[0]
    if kind not in files.high_resolution:
        raise InputError(f"{files.name} has no high-resolution picture {kind!r}", where="high_resolution",
                         mend=f"Choose one of {', '.join(there)}" if there else "There is none")
    path = files.high_resolution[kind]
    with open_raster(path) as file:
        counts = file.read()
        if file.count == 4 and path.suffix.lower() == ".png":
            counts = counts[:3]  # the fourth band of a PNG is opacity
    if len(counts) not in HIGH_BANDS:
        raise InputError(f"the picture has {len(counts)} bands, expected 1, 3 or 4", where=path)
    if counts.dtype.kind == "u":
        empty = (counts == 0).all(axis=0) & (counts.dtype != np.uint8)
        counts = counts.astype(np.float32) / np.float32(255 if counts.dtype == np.uint8 else TWELVE_BITS)
        counts[:, empty] = np.nan
    grid = RasterGrid(*stack.images.shape[-2:], stack.transform, stack.crs).scaled(*counts.shape[-2:])
    return counts.astype(np.float32), HIGH_BANDS[len(counts)], grid.transform
