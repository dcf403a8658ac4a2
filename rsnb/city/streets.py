"""The street net of a district: straight streets on a turned grid, a diagonal avenue, boulevards around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from shapely import LineString, Polygon, affinity

from rsnb.city.options import BELT_M, CORE_M, Character, CityOptions, core_bounds, random_stream

_MERGE_M = 2.5  # crossings nearer than this are one node
_KERB_RADIUS_M = 4.0
CANAL_WATER_M, QUAY_M = 15.0, 6.0


@dataclass(frozen=True)
class StreetKind:
    """A cross-section: kerb to kerb, one parking lane (there are two, or none with 0), one pavement; metres."""

    name: str
    carriageway_m: float
    parking_m: float
    pavement_m: float

    @property
    def total_m(self) -> float:
        return self.carriageway_m + 2 * self.pavement_m


KINDS = {
    "avenue": StreetKind("avenue", 12.0, 2.3, 5.6),
    "street": StreetKind("street", 10.0, 2.2, 3.8),
    "lane": StreetKind("lane", 5.6, 0.0, 2.6),
    "boulevard": StreetKind("boulevard", 14.0, 0.0, 4.0),
}


@dataclass(frozen=True)
class StreetGraph:
    """Centre lines as a graph.

    Attributes:
        nodes: [N, 2] model metres; crossings and ends.
        edges: [E, 2] int, node numbers, straight between them.
        kind: E names of `KINDS`.
        street: [E] int, edges of one street share a number; ordered along it.
    """

    nodes: np.ndarray
    edges: np.ndarray
    kind: tuple[str, ...]
    street: np.ndarray

    @property
    def widths(self) -> np.ndarray:
        """[E] carriageway width, metres."""
        return np.array([KINDS[k].carriageway_m for k in self.kind])

    @property
    def degree(self) -> np.ndarray:
        """[N] number of edges at each node."""
        return np.bincount(self.edges.ravel(), minlength=len(self.nodes))

    def segments(self) -> np.ndarray:
        """[E, 2, 2] end points of every edge."""
        return self.nodes[self.edges]

    def setback(self) -> np.ndarray:
        """[E, 2] how far the crossing carriageway and its rounded kerb reach along each edge from each end, metres."""
        segment = self.segments()
        along = segment[:, 1] - segment[:, 0]
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        half = self.widths / 2
        reach = np.zeros((len(self.edges), 2))
        arms: dict[int, list[tuple[int, int]]] = {}
        for e, pair in enumerate(self.edges):
            for side, node in enumerate(pair):
                arms.setdefault(int(node), []).append((e, side))
        for group in arms.values():
            for e, side in group:
                mine = along[e] * (1 - 2 * side)
                for other, other_side in group:
                    if other == e:
                        continue
                    theirs = along[other] * (1 - 2 * other_side)
                    cos = float(mine @ theirs)
                    sin = np.sqrt(max(1 - cos * cos, 0.0))
                    if cos < -0.97 or sin < 0.12:  # the street going on
                        continue
                    reach[e, side] = max(reach[e, side], (half[other] + half[e] * max(cos, 0)) / sin + 2.5)
        return reach


@dataclass(frozen=True)
class Layout:
    """What the streets leave and take, all shapely geometry in model metres.

    Attributes:
        graph: centre lines.
        core, tile: the 500 m core and the 550 m tile with its half belts.
        carriageway: kerb to kerb, corners rounded.
        corridor: building line to building line.
        water: canal, pond or basin, without bridges cut out.
        park: the park (may hold the pond).
        quay: paved banks of canal or basin.
        blocks: polygons between the corridors, inside the core.
        turn: angle of the grid, radians, counter-clockwise.
    """

    graph: StreetGraph
    core: Polygon
    tile: Polygon
    carriageway: shapely.Geometry
    corridor: shapely.Geometry
    water: shapely.Geometry
    park: shapely.Geometry
    quay: shapely.Geometry
    blocks: tuple[Polygon, ...]
    turn: float


def plan_streets(options: CityOptions, index: tuple[int, int], character: Character) -> Layout:
    """Streets, water, park and blocks of one district."""
    rng = random_stream(options, index, "streets")
    x_min, y_min, x_max, y_max = core_bounds(index)
    core = shapely.box(x_min, y_min, x_max, y_max)
    tile = core.buffer(BELT_M / 2, join_style="mitre")
    centre = np.array([x_min + CORE_M / 2, y_min + CORE_M / 2])
    turn = np.radians(rng.uniform(*character.turn_deg))

    def place(geometry):
        return affinity.translate(affinity.rotate(geometry, turn, origin=(0, 0), use_radians=True), *centre)

    at_u, at_v = (_positions(rng, spacing) for spacing in character.spacing)
    canal = character.water == "canal"
    canal_k = int(np.argmin(np.abs(at_u - rng.uniform(-130, -90)))) if canal else -1
    park_box, park_u, park_v = _park_cell(rng, at_u, at_v, character, canal_k)
    park_local = shapely.box(*park_box)

    lines, kinds = [], []
    main_u = int(np.argmin(np.abs(at_u - 60)))
    main_v = int(np.argmin(np.abs(at_v + 20)))
    for k, u in enumerate(at_u):
        if k != canal_k:
            _add(lines, kinds, LineString([(u, -400), (u, 400)]), "avenue" if k == main_u else
                 ("lane" if rng.random() < 0.18 else "street"), park_local if park_u[0] < k < park_u[1] else None)
    for k, v in enumerate(at_v):
        _add(lines, kinds, LineString([(-400, v), (400, v)]), "avenue" if k == main_v else
             ("lane" if rng.random() < 0.18 else "street"), park_local if park_v[0] < k < park_v[1] else None)
    if character.diagonal:
        angle = np.radians(rng.uniform(28, 40) if rng.random() < 0.5 else rng.uniform(140, 152))
        along = np.array([np.cos(angle), np.sin(angle)])
        through = np.array([at_u[main_u], at_v[main_v]])
        diagonal = LineString([through - 450 * along, through + 450 * along])
        _add(lines, kinds, diagonal, "avenue", park_local)
    lines = [place(line) for line in lines]

    water, quay = _water(rng, character, at_u, at_v, canal_k, park_box, main_u, main_v, core, place)
    middle = BELT_M / 2
    corners = [(x_min - middle, y_min - middle), (x_max + middle, y_min - middle), (x_max + middle, y_max + middle),
               (x_min - middle, y_max + middle)]
    inside = [shapely.intersection(line, tile) for line in lines]
    pieces = [(line, kind) for line, kind in zip(inside, kinds, strict=True) if line.length > 30]
    pieces += [(LineString([corners[k], corners[(k + 1) % 4]]), "boulevard") for k in range(4)]
    graph = _graph([line for line, _ in pieces], [kind for _, kind in pieces])

    carriageway, corridor = _corridors(graph, tile)
    park = place(park_local)
    solid = shapely.union_all([corridor, quay.buffer(0), water])
    open_land = shapely.difference(core, solid)
    blocks = [b for b in shapely.get_parts(open_land) if b.area > 1.0]
    park_parts = [b for b in blocks if park.contains(b.representative_point())]
    built = tuple(b for b in blocks if not park.contains(b.representative_point()))
    return Layout(graph, core, tile, carriageway, corridor, water, shapely.union_all(park_parts), quay, built, turn)


def _positions(rng, spacing) -> np.ndarray:
    """Street positions across the turned grid, from -400 to 400 m."""
    steps = rng.uniform(*spacing, size=12)
    at = np.cumsum(steps) - steps.sum() / 2
    return at[np.abs(at) < 400]


def _park_cell(rng, at_u, at_v, character, canal_k):
    """The park's rectangle in grid coordinates and the grid lines (numbers) that bound it."""
    across, along = character.park_blocks
    choices = []
    for k in range(len(at_u) - across):
        if k <= canal_k <= k + across:
            continue
        for m in range(len(at_v) - along):
            box = (at_u[k], at_v[m], at_u[k + across], at_v[m + along])
            middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
            # Near the middle, but away from where the avenues meet.
            choices.append((abs(np.hypot(*middle) - 125) + 40 * rng.random() + 60 * (middle[0] > 0), k, m, box))
    _, k, m, box = min(choices)
    return box, (k, k + across), (m, m + along)


def _add(lines, kinds, line, kind, hole) -> None:
    """One street, or its two halves where the park interrupts it."""
    rest = line if hole is None else shapely.difference(line, hole)
    for part in shapely.get_parts(rest):
        lines.append(part)
        kinds.append(kind)


def _water(rng, character, at_u, at_v, canal_k, park_box, main_u, main_v, core, place):
    """Water and its paved banks."""
    inner = core.buffer(-20, join_style="mitre")
    if character.water == "canal":
        line = place(LineString([(at_u[canal_k], -400), (at_u[canal_k], 400)]))
        water = shapely.intersection(line.buffer(CANAL_WATER_M / 2, cap_style="flat"), inner)
        quay = shapely.intersection(line.buffer(CANAL_WATER_M / 2 + QUAY_M, cap_style="flat"), core)
        return water, quay
    if character.water == "pond":
        u0, v0, u1, v1 = park_box
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        wobble = 1 + 0.13 * np.cos(2 * angle + rng.uniform(0, 6)) + 0.1 * np.cos(3 * angle + rng.uniform(0, 6))
        half_u, half_v = max(0.5 * (u1 - u0) - 24, 20), max(0.5 * (v1 - v0) - 24, 20)
        shape = np.stack([np.cos(angle) * half_u * wobble, np.sin(angle) * half_v * wobble], axis=1) * 0.9
        pond = place(Polygon(shape + ((u0 + u1) / 2, (v0 + v1) / 2)))
        pond = shapely.intersection(pond, core.buffer(-22, join_style="mitre"))
        return pond, Polygon()
    best = min(((k, m) for k in range(len(at_u) - 1) for m in range(len(at_v) - 1)),
               key=lambda km: abs(np.hypot((at_u[km[0]] + at_u[km[0] + 1]) / 2, (at_v[km[1]] + at_v[km[1] + 1]) / 2)
                                  - 150) + 1e3 * ((at_u[km[0]], at_v[km[1]]) == (park_box[0], park_box[1]))
               + 60 * ((at_v[km[1]] + at_v[km[1] + 1]) / 2 > 0))
    u0, u1, v0, v1 = at_u[best[0]], at_u[best[0] + 1], at_v[best[1]], at_v[best[1] + 1]
    cell = place(shapely.box(u0, v0, u1, v1))
    basin = shapely.intersection(place(shapely.box(u0 + 20, v0 + 20, u1 - 20, v1 - 20)), inner)
    return basin, shapely.intersection(cell, core)


def _graph(lines, kinds) -> StreetGraph:
    """Cuts streets at their crossings."""
    ends = np.array([[line.coords[0], line.coords[-1]] for line in lines])
    cuts: list[list[float]] = [[0.0, line.length] for line in lines]
    for a in range(len(lines)):
        for b in range(a + 1, len(lines)):
            touch = shapely.intersection(lines[a].buffer(0.3), lines[b])
            if touch.is_empty:
                continue
            point = _crossing(ends[a], ends[b])
            if point is None:
                continue
            for k in (a, b):
                cuts[k].append(float(np.clip(lines[k].project(shapely.Point(point)), 0, lines[k].length)))
    nodes: list[np.ndarray] = []

    def node(point) -> int:
        for number, known in enumerate(nodes):
            if np.hypot(*(known - point)) < _MERGE_M:
                return number
        nodes.append(point)
        return len(nodes) - 1

    edges, kind, street = [], [], []
    for number, (end, cut) in enumerate(zip(ends, cuts, strict=True)):
        length = np.hypot(*(end[1] - end[0]))
        at = [node(end[0] + (end[1] - end[0]) * c / length) for c in sorted(cut)]
        for a, b in zip(at[:-1], at[1:], strict=True):
            if a != b and (a, b) not in edges and (b, a) not in edges:
                edges.append((a, b))
                kind.append(kinds[number])
                street.append(number)
    return StreetGraph(np.array(nodes), np.array(edges), tuple(kind), np.array(street))


def _crossing(first, second) -> np.ndarray | None:
    """Where two lines through the given end points meet, or None for nearly parallel ones."""
    d, e = first[1] - first[0], second[1] - second[0]
    cross = d[0] * e[1] - d[1] * e[0]
    if abs(cross) < 0.05 * np.hypot(*d) * np.hypot(*e):
        return None
    w = second[0] - first[0]
    return first[0] + d * (w[0] * e[1] - w[1] * e[0]) / cross


def _corridors(graph: StreetGraph, tile: Polygon):
    """Carriageway with rounded kerbs, and the whole corridor with its pavements."""
    lines = shapely.linestrings(graph.segments())
    kind = [KINDS[k] for k in graph.kind]
    road = shapely.buffer(lines, np.array([k.carriageway_m / 2 for k in kind]), cap_style="flat")
    whole = shapely.buffer(lines, np.array([k.total_m / 2 for k in kind]), cap_style="flat")
    # Square caps of half a metre close the notches where two flat ends meet at an angle.
    road = shapely.union_all(np.concatenate([road, shapely.buffer(shapely.points(graph.nodes), 2.5)]))
    road = road.buffer(_KERB_RADIUS_M, quad_segs=5).buffer(-_KERB_RADIUS_M, quad_segs=5)
    whole = shapely.union_all([*whole, road.buffer(1.5, quad_segs=5)])
    road = shapely.intersection(road.simplify(0.01), tile)
    return road, shapely.intersection(whole.buffer(1.5, join_style="mitre").buffer(-1.5, join_style="mitre"), tile)
