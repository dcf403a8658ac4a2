"""Where buildings stand: footprints along the edges of every block, none overlapping another or a street."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import shapely
from shapely import Polygon

from rsnb.city.options import Character
from rsnb.city.streets import Layout

_SMALL_BLOCK_M2 = 420.0


@dataclass(frozen=True)
class Lot:
    """A rectangular place for one building.

    Attributes:
        corner: [2] start of the front, metres; the front runs along `along`, the lot lies left of it.
        along, inward: [2] unit vectors; inward is left of along.
        width, depth: metres, along and across the front.
        use: "house", "tower", "shed", "nave" or "spire" (of a church).
        wing: (from along the front, width, length) of a wing behind the house, or None.
        blind: (right, left) sides that touch or almost touch a neighbour.
        block: number of the block.
        on_street: whether the front faces a street.
    """

    corner: np.ndarray
    along: np.ndarray
    inward: np.ndarray
    width: float
    depth: float
    use: str
    blind: tuple[bool, bool]
    block: int
    on_street: bool = True
    wing: tuple[float, float, float] | None = None

    def polygon(self) -> Polygon:
        """The footprint, counter-clockwise; L-shaped or T-shaped with a wing."""
        main = self.points()
        if self.wing is None:
            return Polygon(main)
        x0, width, length = self.wing
        edge = self.depth
        ring = [(0, 0), (self.width, 0), (self.width, edge), (x0 + width, edge), (x0 + width, edge + length),
                (x0, edge + length), (x0, edge), (0, edge)]
        ring = [p for k, p in enumerate(ring) if p != ring[k - 1]]
        return Polygon([self.corner + x * self.along + y * self.inward for x, y in ring])

    def wing_points(self) -> np.ndarray:
        """[4, 2] corners of the wing, counter-clockwise."""
        x0, width, length = self.wing
        start = self.corner + self.along * x0 + self.inward * self.depth
        a, b = self.along * width, self.inward * length
        return np.stack([start, start + a, start + a + b, start + b])

    def points(self) -> np.ndarray:
        """[4, 2] corners: front start, front end, back end, back start."""
        a, b = self.along * self.width, self.inward * self.depth
        return np.stack([self.corner, self.corner + a, self.corner + a + b, self.corner + b])


def block_uses(layout: Layout, character: Character, rng) -> list[str]:
    """One of "house", "tower", "shed", "green" per block of the layout."""
    blocks = layout.blocks
    area = np.array([b.area for b in blocks])
    inner = np.array([b.buffer(-7).area for b in blocks])
    centre = np.array(layout.core.centroid.coords[0])
    distance = np.array([np.hypot(*(np.array(b.centroid.coords[0]) - centre)) for b in blocks])
    uses = ["house" if a > _SMALL_BLOCK_M2 and i > 30 else "green" for a, i in zip(area, inner, strict=True)]
    candidates = [k for k in np.argsort(distance + 70 * rng.random(len(blocks)))
                  if uses[k] == "house" and inner[k] > 700]
    for k in candidates[: character.towers]:
        uses[k] = "tower"
    far = [k for k in candidates[::-1] if uses[k] == "house" and inner[k] > 1000]
    for k in far[: character.shed_blocks]:
        uses[k] = "shed"
    return uses


def place_lots(layout: Layout, character: Character, rng) -> tuple[list[Lot], list[str]]:
    """All footprints of a district and the use of each block."""
    uses = block_uses(layout, character, rng)
    lots: list[Lot] = []
    for number, (block, use) in enumerate(zip(layout.blocks, uses, strict=True)):
        if use == "tower":
            church = character.church and not any(lot.use == "nave" for lot in lots)
            lots += _church(block, number, rng) if church else _tower(block, number, rng)
        elif use == "shed":
            lots += _along_edges(block, number, rng, layout, (18, 34), (14, 21), 5.0, 2.0, "shed")
        elif use == "house":
            lots += _along_edges(block, number, rng, layout, character.width, character.depth, character.gap,
                                 character.setback, "house")
    return _with_wings(lots, layout, rng), uses


def _with_wings(lots: list[Lot], layout: Layout, rng) -> list[Lot]:
    """Gives some larger houses a wing into the yard where there is room for one."""
    room = [block.buffer(-3.0) for block in layout.blocks]
    bodies: dict[int, list[Polygon]] = {}
    for lot in lots:
        bodies.setdefault(lot.block, []).append(lot.polygon())
    out = []
    for lot in lots:
        wanted = lot.use == "house" and lot.width >= 11 and rng.random() < 0.45
        width, length, left = rng.uniform(5.5, 8.0), rng.uniform(6.0, 12.0), rng.random() < 0.5
        if wanted:
            grown = replace(lot, wing=(0.0 if left else lot.width - width, width, length))
            wing = Polygon(grown.wing_points())
            air = wing.buffer(3.5)
            me = lot.polygon()
            if room[lot.block].contains(wing) and not any(
                    air.intersects(other) for other in bodies[lot.block] if not other.equals(me)
                    and not other.touches(me)) and not any(
                    wing.buffer(0.5).intersection(other).area > 6 for other in bodies[lot.block] if other.touches(me)):
                bodies[lot.block].append(wing)
                lot = grown
        out.append(lot)
    return out


def _tower(block: Polygon, number: int, rng) -> list[Lot]:
    """One or two slim towers on an open square, turned like the block."""
    box = shapely.oriented_envelope(block.buffer(-5))
    ring = shapely.get_coordinates(shapely.orient_polygons(box, exterior_cw=False))[:4]
    sides = np.linalg.norm(np.roll(ring, -1, axis=0) - ring, axis=1)
    k = int(np.argmax(sides))
    along = (ring[(k + 1) % 4] - ring[k]) / sides[k]
    inward = np.array([-along[1], along[0]])
    inside = block.buffer(-4)
    lots = []
    count = 2 if sides[k] > 54 else 1
    for m in range(count):
        for shrink in (1.0, 0.85, 0.7, 0.55):
            width, depth = rng.uniform(21, 26) * shrink, rng.uniform(17, 21) * shrink
            middle = ring[k] + along * sides[k] * (m + 0.5) / count + inward * sides[(k + 1) % 4] / 2
            corner = middle - along * width / 2 - inward * depth / 2
            lot = Lot(corner, along, inward, width, depth, "tower", (False, False), number)
            if inside.contains(lot.polygon()):
                lots.append(lot)
                break
    return lots


def _church(block: Polygon, number: int, rng) -> list[Lot]:
    """A nave with a tower at one end, on an open square."""
    box = shapely.oriented_envelope(block)
    ring = shapely.get_coordinates(shapely.orient_polygons(box, exterior_cw=False))[:4]
    sides = np.linalg.norm(np.roll(ring, -1, axis=0) - ring, axis=1)
    k = int(np.argmax(sides))
    along = (ring[(k + 1) % 4] - ring[k]) / sides[k]
    inward = np.array([-along[1], along[0]])
    if rng.random() < 0.5:
        along, inward = -along, -inward
    inside = block.buffer(-4)
    for scale in (1.0, 0.85, 0.7, 0.55):
        width, depth, tower = 30.0 * scale, 14.0 * scale, 8.5 * scale
        corner = ring.mean(axis=0) - along * (width - tower) / 2 - inward * depth / 2
        nave = Lot(corner, along, inward, width, depth, "nave", (False, False), number)
        spire = Lot(corner - along * tower + inward * (depth - tower) / 2, along, inward, tower, tower, "spire",
                    (False, False), number)
        if inside.contains(nave.polygon()) and inside.contains(spire.polygon()):
            return [nave, spire]
    return []


def _along_edges(block, number, rng, layout, widths, depths, gap, setback, use) -> list[Lot]:
    """Row of buildings along every edge of a block, edge by edge, keeping clear of those already there."""
    ring = shapely.orient_polygons(block.simplify(0.6), exterior_cw=False)
    points = shapely.get_coordinates(ring.exterior)
    room = block.buffer(0.02)
    shapely.prepare(room)
    shapely.prepare(layout.corridor)
    taken: list[Polygon] = []
    lots: list[Lot] = []
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    for k in np.argsort(-lengths, kind="stable"):
        if lengths[k] < max(8.0, widths[0] * 0.8):
            continue
        along = (points[k + 1] - points[k]) / lengths[k]
        inward = np.array([-along[1], along[0]])
        front = points[k] + inward * setback
        street = bool(shapely.dwithin(layout.corridor, shapely.Point((points[k] + points[k + 1]) / 2), 1.0))
        depth = rng.uniform(*depths)
        for low, high in _free(front, along, inward, lengths[k], depth, taken, max(gap, 0.0)):
            for a, b, first, last in _fill(low + (setback if gap > 0 else 0), high - (setback if gap > 0 else 0),
                                           widths, gap, rng):
                lot = _fit(front, along, inward, a, b, depth, room, taken, gap, widths[0])
                if lot is None:
                    continue
                corner, width, deep = lot
                blind = (gap < 3 and not last, gap < 3 and not first)
                lots.append(Lot(corner, along, inward, width, deep, use, blind, number, street))
                taken.append(lots[-1].polygon())
    return lots


def _free(front, along, inward, length, depth, taken, gap):
    """Intervals of an edge whose strip of the given depth holds no building yet."""
    blocked = []
    for polygon in taken:
        p = shapely.get_coordinates(polygon) - front
        t, n = p @ along, p @ inward
        # Neighbours are convex and mostly parallel or square to the edge: their shadow on the edge is exact then.
        if n.min() < depth + gap - 0.01 and n.max() > -gap + 0.01:
            blocked.append((t.min() - gap, t.max() + gap))
    intervals, low = [], 0.0
    for a, b in sorted(blocked):
        if a > low:
            intervals.append((low, min(a, length)))
        low = max(low, b)
    intervals.append((low, length))
    return [(a, b) for a, b in intervals if b - a > 6.0]


def _fill(low, high, widths, gap, rng):
    """Splits an interval into fronts: (from, to, is first, is last)."""
    span = high - low
    mean = (widths[0] + widths[1]) / 2
    count = max(1, round((span + gap) / (mean + gap)))
    if span < widths[0] * 0.6:
        return
    share = rng.uniform(0.75, 1.25, count)
    share *= (span - gap * (count - 1)) / share.sum()
    at = low
    for k, width in enumerate(share):
        yield at, at + width, k == 0, k == count - 1
        at += width + gap


def _fit(front, along, inward, a, b, depth, room, taken, gap, narrowest):
    """Trims a front from either end, then its depth, until the rectangle lies in the block and clear of others."""
    for deep in (depth, depth * 0.8, depth * 0.64):
        for trim in (0.0, 1.0, 2.0, 3.5, 5.0, 7.0):
            for left, right in ((trim, 0.0), (0.0, trim), (trim, trim)) if trim else ((0.0, 0.0),):
                width = b - a - left - right
                if width < min(narrowest * 0.6, 8.0):
                    continue
                corner = front + along * (a + left)
                rectangle = Polygon([corner, corner + along * width, corner + along * width + inward * deep,
                                     corner + inward * deep])
                if not room.covers(rectangle):
                    continue
                core = rectangle.buffer(max(gap * 0.6, 0) - 0.02, join_style="mitre")
                if any(core.intersects(other) for other in taken):
                    continue
                return corner, width, deep
    return None
