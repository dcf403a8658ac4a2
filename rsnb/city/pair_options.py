"""What a user may choose about a set of tile-panorama pairs, looked at before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rsnb.city.option_ranges import check_ranges
from rsnb.city.options import CityOptions, check_index
from rsnb.errors import InputError

Layout = Literal["cvusa", "cvact", "cvact_aligned"]
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class PairsOptions:
    """What to write.

    Attributes:
        layout: of which data set.
        train, val, test: pairs of each list; `test` are further pairs of CVACT's `valSetAll`.
        tile_px, tile_extent_m: pixels and metres along the side of a tile.
        panorama_size: (rows, columns); None = 32 x 176 for CVUSA (its 224 x 1232 at a seventh), 64 x 128 for CVACT,
            whose panoramas show the whole sphere: half as many rows as columns.
        camera_height_m: above the carriageway.
        tile_offset_m: tiles are centred up to so far from the camera, at random (the real ones: 0); at most half the
            extent, so that every camera stands on its tile.
        supersample: colour rays a pixel and axis.
        tile_supersample, panorama_supersample: the same for one of the two pictures; None = `supersample`.
        city: what is photographed.
        district: where all lists lie side by side, unless `districts` is given.
        districts: the districts of each list, {"train": ((0, 0), (1, 3)), "val": ((2, 2),)}, or in this order the
            districts of train, val and test; no district serves two lists. A list's pairs are spread evenly over its
            districts. See `PLAN` for what each of the 4 x 4 is like.
        tallest_m: leave out places whose tile holds something taller than this above the bare ground below it, so that
            a volume with a low ceiling can hold it all; None = keep them.
        cast_shadows: of the sun, in the tiles. False leaves shading by orientation alone: shadows tell heights, and a
            set without them shows how much of what is learned comes from there. Panoramas keep theirs.
        slices, ceiling_m: of the true occupancy of val and test tiles, D slices from the bare ground of each cell to
            the ceiling above it; 0 slices = none is written.
        off_centre, off_centre_m: further cameras of each val and test pair, and how far from its camera at most.
        seed: of places, order, ids and light.
    """

    layout: Layout = "cvusa"
    train: int = 16
    val: int = 8
    test: int = 0
    tile_px: int = 64
    tile_extent_m: float = 64.0
    panorama_size: tuple[int, int] | None = None
    camera_height_m: float = 2.5
    tile_offset_m: float = 0.0
    supersample: int = 2
    tile_supersample: int | None = None
    panorama_supersample: int | None = None
    city: CityOptions = field(default_factory=CityOptions)
    district: tuple[int, int] = (0, 0)
    districts: Mapping[str, tuple[tuple[int, int], ...]] | None = None
    tallest_m: float | None = None
    cast_shadows: bool = True
    slices: int = 0
    ceiling_m: float = 16.0
    off_centre: int = 0
    off_centre_m: float = 8.0
    seed: int = 5

    def __post_init__(self):
        if self.layout not in ("cvusa", "cvact", "cvact_aligned"):
            raise InputError(f"layout is {self.layout!r}", where="PairsOptions",
                             mend='Use "cvusa", "cvact" or "cvact_aligned"')
        check_ranges(self, {"train": (1, 1_000_000), "val": (1, 1_000_000), "test": (0, 1_000_000),
                            "tile_px": (8, 4096), "supersample": (1, 16), "seed": (0, 2**63 - 1),
                            "tile_extent_m": (4.0, 200.0), "camera_height_m": (0.5, 50.0),
                            "tile_offset_m": (0.0, 50.0), "slices": (0, 1024), "ceiling_m": (1.0, 200.0),
                            "off_centre": (0, 64), "off_centre_m": (1.0, 100.0)})
        optional = {"tallest_m": (1.0, 500.0), "tile_supersample": (1, 16), "panorama_supersample": (1, 16)}
        check_ranges(self, {name: span for name, span in optional.items() if getattr(self, name) is not None})
        size = self.panorama_size
        if size is not None and not (isinstance(size, tuple | list) and len(size) == 2
                                     and all(type(n) is int and n >= 2 for n in size)):
            raise InputError(f"panorama_size is {size!r}", where="PairsOptions",
                             mend="Give whole numbers of rows and columns, such as (32, 176)")
        if self.layout != "cvusa" and 2 * self.panorama[0] != self.panorama[1]:
            raise InputError(f"a panorama of {size[1]} x {size[0]} pixels in the layout {self.layout!r}",
                             where="PairsOptions.panorama_size",
                             mend="CVACT's show the whole sphere, and its readers take them so: give half as many rows "
                                  "as columns, such as (64, 128)")
        if self.tile_offset_m > self.tile_extent_m / 2:
            raise InputError(f"tile_offset_m is {self.tile_offset_m:g} on tiles of {self.tile_extent_m:g} m",
                             where="PairsOptions", mend="Half the extent at most, or cameras stand beside their tiles")
        if not isinstance(self.cast_shadows, bool):
            raise InputError(f"cast_shadows is {self.cast_shadows!r}", where="PairsOptions", mend="True or False")
        if self.test and self.layout == "cvusa":
            raise InputError("CVUSA has no test list", where="PairsOptions", mend="Leave test at 0")
        if self.districts is not None:
            object.__setattr__(self, "districts", _districts_of_lists(self.districts, self.wanted))

    @property
    def panorama(self) -> tuple[int, int]:
        """(rows, columns) of the panoramas."""
        return tuple(self.panorama_size or ((32, 176) if self.layout == "cvusa" else (64, 128)))

    @property
    def wanted(self) -> dict[Split, int]:
        """Pairs of each list."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def lists_of_districts(self) -> dict[tuple[int, int], tuple[Split, ...]]:
        """The districts in the order in which they are visited, and which lists have pairs there."""
        present = tuple(split for split in SPLITS if self.wanted[split])
        if self.districts is None:
            return {check_index(self.district): present}
        return {index: (split,) for split in present for index in self.districts[split]}


def _districts_of_lists(districts, wanted: Mapping[Split, int]) -> dict[str, tuple[tuple[int, int], ...]]:
    """{list: its districts}, of a mapping or of up to three groups.

    Raises:
        InputError: an unknown list, no such district, one that serves twice, or a list with pairs and no district.
    """
    where = "PairsOptions.districts"
    if not isinstance(districts, Mapping):
        if not isinstance(districts, tuple | list) or not 1 <= len(districts) <= 3:
            raise InputError(f"districts is {districts!r}", where=where,
                             mend='Give {"train": ((0, 0),), "val": ((1, 2),)}, or the groups in this order')
        districts = dict(zip(SPLITS, districts, strict=False))
    unknown = sorted(set(districts) - set(SPLITS))
    if unknown:
        raise InputError(f"there is no list {unknown[0]!r}", where=where, mend='Use "train", "val" and "test"')
    out = {split: tuple(check_index(index) for index in districts.get(split, ())) for split in SPLITS}
    every = [index for indices in out.values() for index in indices]
    twice = sorted({index for index in every if every.count(index) > 1})
    if twice:
        raise InputError(f"district {twice[0]} is named twice", where=where,
                         mend="Lists share no building only where each district serves one list, once")
    bare = [split for split, count in wanted.items() if count and not out[split]]
    if bare:
        raise InputError(f"{wanted[bare[0]]} {bare[0]} pairs are asked for, but the list has no district", where=where,
                         mend=f"Name its districts, or set {bare[0]} to 0")
    return out
