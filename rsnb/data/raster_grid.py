"""Size and place of a raster, boxes in coordinate systems, and how much memory a stack takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rsnb.errors import InputError

Bbox = tuple[float, float, float, float]  # west, south, east, north in the units of its CRS
# Of a stack, unless the caller allows more: reading takes about twice as much.
MAX_BYTES = 4_000_000_000


@dataclass(frozen=True)
class RasterGrid:
    """Size and place of a raster.

    Attributes:
        height, width: pixels.
        transform: (a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f, of pixel corners.
        crs: anything rasterio understands ("EPSG:32633"), or None for a raster without a place.
    """

    height: int
    width: int
    transform: tuple[float, float, float, float, float, float]
    crs: str | None

    @property
    def bounds(self) -> Bbox:
        """West, south, east, north: the box around the four corners."""
        a, b, c, d, e, f = self.transform
        x = [c, c + a * self.width, c + b * self.height, c + a * self.width + b * self.height]
        y = [f, f + d * self.width, f + e * self.height, f + d * self.width + e * self.height]
        return min(x), min(y), max(x), max(y)

    @property
    def pixel_size_m(self) -> tuple[float, float]:
        """Width and height of the middle pixel on the ground, metres; of degrees they differ (anisotropic pixels).

        Raises:
            InputError: no CRS.
        """
        from pyproj import CRS, Geod

        if self.crs is None:
            raise InputError("pixel sizes in metres need a coordinate system", where="RasterGrid")
        crs = CRS.from_user_input(self.crs)
        a, b, c, d, e, f = self.transform
        if not crs.is_geographic:
            metres = crs.axis_info[0].unit_conversion_factor or 1.0
            return math.hypot(a, d) * metres, math.hypot(b, e) * metres
        x = c + a * self.width / 2 + b * self.height / 2
        y = f + d * self.width / 2 + e * self.height / 2
        geod = crs.get_geod() or Geod(ellps="WGS84")
        return geod.inv(x, y, x + a, y + d)[2], geod.inv(x, y, x + b, y + e)[2]

    def cropped(self, rows: tuple[int, int], cols: tuple[int, int]) -> RasterGrid:
        """The grid of a window: rows[0] to rows[1] (excluded), and columns likewise."""
        a, b, c, d, e, f = self.transform
        corner = (a * cols[0] + b * rows[0] + c, d * cols[0] + e * rows[0] + f)
        return RasterGrid(rows[1] - rows[0], cols[1] - cols[0], (a, b, corner[0], d, e, corner[1]), self.crs)

    def scaled(self, height: int, width: int) -> RasterGrid:
        """Another number of pixels over the same footprint (half-pixel right: corners stay, centres move)."""
        a, b, c, d, e, f = self.transform
        along, down = self.width / width, self.height / height
        return RasterGrid(height, width, (a * along, b * down, c, d * along, e * down, f), self.crs)

    def window(self, bbox: Bbox, crs: str | None = None) -> tuple[tuple[int, int], tuple[int, int]]:
        """Whole pixels that cover a box, cut at the raster's edges: (first row, end row), (first column, end column).

        Args:
            bbox: west, south, east, north.
            crs: of the box; None = the raster's own.

        Raises:
            InputError: the box is turned around, has no area, or lies outside.
        """
        bbox = checked_box(bbox)
        if crs is not None and self.crs is not None and not same_crs(crs, self.crs):
            bbox = checked_box(_not_across(box_to_crs(bbox, crs, self.crs), self.bounds))
        a, b, c, d, e, f = self.transform
        scale = a * e - b * d
        corners = [(x - c, y - f) for x in bbox[::2] for y in bbox[1::2]]
        cols = [(e * x - b * y) / scale for x, y in corners]
        rows = [(a * y - d * x) / scale for x, y in corners]
        tiny = 1e-6  # a box that was printed and read again must not gain a row
        first = [max(0, math.floor(min(v) + tiny)) for v in (rows, cols)]
        end = [min(n, math.ceil(max(v) - tiny)) for v, n in ((rows, self.height), (cols, self.width))]
        if end[0] <= first[0] or end[1] <= first[1]:
            raise InputError(f"the box {_printed(bbox)} lies outside the raster's {_printed(self.bounds)}",
                             where="bbox", mend="Check the order west, south, east, north, and the CRS of the box")
        return (first[0], end[0]), (first[1], end[1])


def checked_box(bbox: Sequence[float]) -> Bbox:
    """Four finite numbers with west < east and south < north, or an InputError that says which are turned."""
    try:
        west, south, east, north = (float(v) for v in bbox)
    except (TypeError, ValueError):
        raise InputError(f"{bbox!r} are not four numbers", where="bbox", mend="Give west, south, east, north") from None
    if not all(map(math.isfinite, (west, south, east, north))):
        raise InputError("a number of the box is not finite", where="bbox", mend="Give west, south, east, north")
    for low, high, what in ((west, east, "west and east"), (south, north, "south and north")):
        if low >= high:
            raise InputError(f"{what} are {low:g} and {high:g}: they must rise", where="bbox",
                             mend="The order is west, south, east, north")
    return west, south, east, north


def same_crs(one: str, other: str) -> bool:
    """Whether two CRS texts mean the same system; InputError for one that names none."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return one == other or CRS.from_user_input(one) == CRS.from_user_input(other)
    except CRSError as error:
        raise InputError(f"{one!r} and {other!r} are not both coordinate systems ({error})", where="crs",
                         mend="Use an EPSG code, for example EPSG:4326") from None


def box_to_crs(bbox: Bbox, source: str, target: str) -> Bbox:
    """The box in another system that holds all of a box (its edges are followed, not its corners alone).

    In degrees a box over the antimeridian has west > east, here as there.

    Raises:
        InputError: a system that is not known, or in which the box has no place.
    """
    from rasterio.errors import CRSError
    from rasterio.warp import transform_bounds

    try:
        box = tuple(transform_bounds(source, target, *bbox, densify_pts=21))
    except CRSError as error:
        raise InputError(f"the box cannot be taken from {source} to {target} ({error})", where="bbox",
                         mend="Use an EPSG code, for example EPSG:4326") from None
    if not all(map(math.isfinite, box)):
        raise InputError(f"the box has no place in {target}", where="bbox", mend="Use the UTM zone of the box")
    return box


def _not_across(box: Bbox, bounds: Bbox) -> Bbox:
    """Of a box over the antimeridian the side on which a raster of these bounds lies; all longitudes for both sides."""
    west, south, east, north = box
    if west <= east:
        return box
    return (-180.0 if bounds[0] < east else west), south, (180.0 if bounds[2] > west else east), north


def require_memory(times: int, bands: int, grid: RasterGrid, limit: int, where: str) -> None:
    """InputError where a stack of float32 with its mask would take more bytes than a limit."""
    needed = times * (bands * 4 + 2) * grid.height * grid.width
    if needed > limit:
        raise InputError(f"{times} dates x {bands} bands x {grid.height} x {grid.width} pixels are {needed / 1e9:.1f} "
                         "GB", where=where, mend="Take a smaller box, coarser pixels, fewer bands or dates, or raise "
                                                 f"max_bytes ({limit / 1e9:.1f} GB)")


def _printed(bbox: Bbox) -> str:
    return ", ".join(f"{v:.6g}" for v in bbox)
