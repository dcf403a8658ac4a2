"""Buildings on their lots: walls with whole bays and storeys, roofs, wings, roof-top units, chimneys and dormers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from rsnb.city import surfaces
from rsnb.city.assembly import Palette, Parts
from rsnb.city.facades import BAYS, FACADES, GROUND_STOREY_M, STOREYS, blank_texture, facade_texture
from rsnb.city.ground import KERB_M
from rsnb.city.lots import Lot
from rsnb.city.options import BUILDING, Character
from rsnb.city.roofs import rise, roof_faces
from rsnb.city.terrain import Terrain

SHED_M = 6.5  # wall height of sheds
_ROOF_TINTS = ((0.76, 0.5, 0.41), (0.68, 0.45, 0.38), (0.57, 0.43, 0.38), (0.46, 0.45, 0.46), (0.82, 0.57, 0.45))
_AWNINGS = ((0.72, 0.32, 0.28), (0.3, 0.5, 0.42), (0.3, 0.4, 0.6), (0.85, 0.7, 0.42), (0.5, 0.5, 0.52))
_METAL_TINTS = ((0.62, 0.66, 0.68), (0.5, 0.53, 0.56), (0.6, 0.73, 0.68), (0.56, 0.5, 0.46))


@dataclass(frozen=True)
class Building:
    """One row of the buildings table.

    Attributes:
        object_id: instance id in `mesh.face_object`.
        footprint: counter-clockwise polygon of the walls, model metres.
        ground_m: height of the ground floor; the ground around is at most this.
        height_m: highest point of the roof (parapets and roof-top units aside) above `ground_m`.
        storeys: number of storeys.
        roof, facade, use: names.
    """

    object_id: int
    footprint: shapely.Polygon
    ground_m: float
    height_m: float
    storeys: int
    roof: str
    facade: str
    use: str


@dataclass(frozen=True)
class Plan:
    """What was decided about a building before any of its faces is made."""

    lot: Lot
    storeys: int
    roof: str
    facade: str
    tint: int
    roof_tint: int
    shop: bool
    object_id: int
    seed: int


def plan_buildings(lots: list[Lot], character: Character, rng) -> list[Plan]:
    """Storeys, roof, facade and colour of every lot; roof types keep their shares exactly."""
    ordinary = [k for k, lot in enumerate(lots) if lot.use == "house"]
    roofs = dict(zip(ordinary, _quota(len(ordinary), character.roofs, rng), strict=True))
    sheds = [k for k, lot in enumerate(lots) if lot.use == "shed"]
    roofs |= dict(zip(sheds, _quota(len(sheds), {"sawtooth": 0.35, "shed": 0.35, "gable": 0.3}, rng), strict=True))
    names = list(character.facades)
    plans = []
    low, high = character.storeys
    glassy = "curtain" in character.facades or "stone" in character.facades
    tall = ["curtain", "curtain_green", "panel", "balcony"] if glassy else ["panel", "balcony", "plaster_white"]
    block_base = {}
    for k, lot in enumerate(lots):
        base = block_base.setdefault(lot.block, int(rng.integers(low, high + 1)))
        if lot.use == "tower":
            storeys, facade = int(rng.integers(9, 17)), str(rng.choice(tall))
            roof = "stepped" if rng.random() < 0.4 else "flat"
        elif lot.use == "shed":
            storeys, facade, roof = 1, "cladding" if rng.random() < 0.7 else "loft", roofs[k]
        else:
            storeys = int(np.clip(base + rng.integers(-1, 2), max(low, 1), high))
            facade, roof = str(names[rng.integers(len(names))]), roofs[k]
            if roof == "stepped" and storeys < 3:
                roof = "flat"
        shop = lot.on_street and lot.use == "house" and rng.random() < character.shops and storeys > 1
        plans.append(Plan(lot, storeys, roof, facade, int(rng.integers(len(FACADES[facade].tints))),
                          int(rng.integers(100)), shop, k + 1, int(rng.integers(1 << 31))))
    return plans


def _quota(count: int, weights: dict[str, float], rng) -> list[str]:
    """`count` names in random order, each as often as its weight says (largest remainders)."""
    share = np.array(list(weights.values()), float)
    exact = share / share.sum() * count
    n = np.floor(exact).astype(int)
    n[np.argsort(n - exact, kind="stable")[: count - n.sum()]] += 1
    names = np.repeat(list(weights), n)
    return [str(name) for name in rng.permutation(names)]


def add_building(parts: Parts, palette: Palette, plan: Plan, terrain: Terrain, detail: str) -> Building:
    """Adds the faces of one building and returns its row of the table."""
    return _Builder(parts, palette, plan, terrain, detail).build()


class _Builder:
    """The faces of one building, made in its own frame: x along the front, y inward, z up."""

    def __init__(self, parts, palette, plan, terrain, detail):
        self.parts, self.palette, self.plan, self.detail = parts, palette, plan, detail
        self.lot, self.facade = plan.lot, FACADES[plan.facade]
        self.rng = np.random.default_rng(plan.seed)
        tint = self.facade.tints[plan.tint]
        name = plan.facade
        self.upper = palette.look(f"{name}_upper", facade_texture(name, "upper"), tint)
        part = "shop" if plan.shop else "house"
        self.ground = palette.look(f"{name}_{part}", facade_texture(name, part), tint)
        self.back = palette.look(f"{name}_house", facade_texture(name, "house"), tint)
        self.blank = palette.look(f"{name}_blank", blank_texture(name), tint)
        metal = _METAL_TINTS[plan.roof_tint % len(_METAL_TINTS)]
        slate = (0.62, 0.64, 0.68) if plan.roof_tint % 3 else (0.72, 0.5, 0.42)
        self.looks = {
            "roof": palette.look("tiles", surfaces.tiles(), _ROOF_TINTS[plan.roof_tint % len(_ROOF_TINTS)]),
            "slope": palette.look("slate", surfaces.slate(), slate),
            "metal": palette.look("seam_metal", surfaces.seam_metal(), metal),
            "flat": palette.look("bitumen", surfaces.bitumen(),
                                 ((1, 1, 1), (0.78, 0.78, 0.8), (1.1, 1.06, 0.98))[plan.roof_tint % 3]),
            "trim": palette.look("trim", surfaces.plaster(), (0.86, 0.85, 0.82)),
            "wall": self.blank,
            "glass": palette.look("roof_glass", None, (0.32, 0.4, 0.46)),
            "chimney": palette.look("brick_red_blank", blank_texture("brick_red"), (0.95, 0.92, 0.9)),
            "plinth": palette.look("granite", surfaces.granite(), (0.8, 0.79, 0.78)),
        }
        points = self.lot.points() if self.lot.wing is None else np.concatenate([self.lot.points(),
                                                                                 self.lot.wing_points()])
        around = np.concatenate([points, (points + np.roll(points, -1, axis=0)) / 2])
        z = terrain(around[:, 0], around[:, 1])
        self.low, self.base = float(z.min()) - 0.4, float(z.max()) + KERB_M + 0.03

    def build(self) -> Building:
        lot, plan = self.lot, self.plan
        w, d = lot.width, lot.depth
        lower = plan.storeys
        if plan.roof == "stepped":
            lower = max(plan.storeys - (1 if plan.storeys < 6 else 2), 1)
        street_storey = SHED_M if lot.use == "shed" else GROUND_STOREY_M
        top = self.base + street_storey + (lower - 1) * self.facade.storey_m
        self._walls((0, 0, w, d), self.base, top, lower, lot.blind)
        for corners, what in roof_faces(plan.roof, w, d, top, self.detail, lot.blind):
            self._face(corners, what)
        highest = top + rise(plan.roof, w, d)
        if plan.roof == "stepped":
            inset = 2.2
            high = top + (plan.storeys - lower) * self.facade.storey_m
            x0, y0, x1, y1 = inset, inset, w - inset, d - inset
            self._walls((x0, y0, x1, y1), top, high, plan.storeys - lower, (False, False), street=False)
            for corners, what in roof_faces("flat", x1 - x0, y1 - y0, high, self.detail):
                self._face(corners + (x0, y0, 0), what)
            highest = high
            self._on_flat_roof((x0, y0, x1, y1), high)
        elif plan.roof == "flat":
            self._on_flat_roof((0, 0, w, d), top)
        if lot.wing is not None:
            self._wing(top)
        if self.detail == "full":
            self._fronts(top, w)
            self._chimneys(top, w, d)
            self._dormers(top, w, d)
        return Building(plan.object_id, lot.polygon(), self.base, highest - self.base, plan.storeys, plan.roof,
                        plan.facade, lot.use)

    def _wing(self, top) -> None:
        """A lower wing at the back, under a flat roof."""
        x0, width, length = self.lot.wing
        storeys = max(self.plan.storeys - 1, 1)
        high = self.base + GROUND_STOREY_M + (storeys - 1) * self.facade.storey_m
        high = min(high, top - 0.4)
        box = (x0, self.lot.depth, x0 + width, self.lot.depth + length)
        self._walls(box, self.base, high, storeys, (False, False), front=False)
        for corners, what in roof_faces("flat", width, length, high, self.detail):
            self._face(corners + (x0, self.lot.depth, 0), what)

    def _world(self, corners) -> np.ndarray:
        corners = np.asarray(corners, float)
        xy = self.lot.corner + corners[:, :1] * self.lot.along + corners[:, 1:2] * self.lot.inward
        return np.column_stack([xy, corners[:, 2]])

    def _face(self, corners, what: str) -> None:
        """A planar face with its texture laid along its slope, 4 m a repeat."""
        corners = np.asarray(corners, float)
        look = self.looks[what]
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        normal /= max(np.linalg.norm(normal), 1e-12)
        across = np.cross((0, 0, 1), normal)
        across = np.array([1.0, 0, 0]) if np.linalg.norm(across) < 1e-6 else across / np.linalg.norm(across)
        up = np.cross(normal, across)
        uv = np.stack([corners @ across, corners @ up], axis=1) / 4.0
        world = self._world(corners)
        if len(corners) == 4:
            self.parts.quad(world, uv, look, BUILDING, self.plan.object_id)
        else:
            self.parts.triangle(world, uv, look, BUILDING, self.plan.object_id)

    def _walls(self, box, bottom, top, storeys, blind, street=True, front=True) -> None:
        """Four walls; the street storey (if any) carries its own texture, blind sides none."""
        x0, y0, x1, y1 = box
        ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        for side in range(4):
            a, b = ring[side], ring[(side + 1) % 4]
            length = abs(b[0] - a[0]) + abs(b[1] - a[1])
            if street:
                self._panel(a, b, self.low, bottom, length / 2.0, (bottom - self.low) / 2.0, self.looks["plinth"])
            if (side == 1 and blind[0]) or (side == 3 and blind[1]) or length < 0.7 * self.facade.bay_m:
                self._panel(a, b, bottom, top, length / 4.0, (top - bottom) / 4.0, self.blank)
                continue
            bays = max(1, round(length / self.facade.bay_m))
            split = bottom
            upper = storeys
            if street:
                split = top if self.lot.use == "shed" else bottom + GROUND_STOREY_M
                upper = storeys - 1
                u0 = max(0, 2 - bays // 2) / BAYS
                show = front and (side == 0 or self.lot.use == "tower")
                self._panel(a, b, bottom, split, bays / BAYS, 1.0, self.ground if show else self.back, u0)
            if upper > 0:
                start = int(self.rng.integers(BAYS)), int(self.rng.integers(STOREYS))
                if "balcony" in self.facade.features and self.detail == "full" and side in (0, 2):
                    self._balconies(a, b, split, top, (bays, upper), start[0])
                self._panel(a, b, split, top, bays / BAYS, upper / STOREYS, self.upper, start[0] / BAYS,
                            start[1] / STOREYS)

    def _panel(self, a, b, bottom, top, du, dv, look, u0=0.0, v0=0.0) -> None:
        corners = [(*a, bottom), (*b, bottom), (*b, top), (*a, top)]
        uv = [(u0, v0), (u0 + du, v0), (u0 + du, v0 + dv), (u0, v0 + dv)]
        self.parts.quad(self._world(corners), np.array(uv), look, BUILDING, self.plan.object_id)

    def _box(self, x0, y0, x1, y1, z0, z1, what, top_what=None) -> None:
        ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        for k in range(4):
            a, b = ring[k], ring[(k + 1) % 4]
            self._face([(*a, z0), (*b, z0), (*b, z1), (*a, z1)], what)
        self._face([(*p, z1) for p in ring], top_what or what)

    def _balconies(self, a, b, bottom, top, count, first_bay) -> None:
        """Slabs with parapets before the bays whose texture shows a balcony door."""
        bays, storeys = count
        a, b = np.array(a), np.array(b)
        along, out = (b - a) / bays, np.array([(b - a)[1], -(b - a)[0]]) / np.hypot(*(b - a))
        rail = self.palette.look("balcony_rail", surfaces.plaster(), np.array(self.facade.trim) / 236.0)
        for bay in range(bays):
            if (first_bay + bay) % BAYS not in (1, 3):
                continue
            p, q = a + along * (bay + 0.04), a + along * (bay + 0.96)
            r, s = q + 1.25 * out, p + 1.25 * out
            for storey in range(storeys):
                z = bottom + storey * (top - bottom) / storeys
                self._sheet([(*p, z - 0.12), (*s, z - 0.12), (*r, z - 0.12), (*q, z - 0.12)][::-1], self.looks["trim"])
                self._sheet([(*p, z + 0.04), (*s, z + 0.04), (*r, z + 0.04), (*q, z + 0.04)], self.looks["trim"])
                for c, d in ((p, s), (s, r), (r, q)):
                    self._sheet([(*c, z - 0.12), (*d, z - 0.12), (*d, z + 1.05), (*c, z + 1.05)], rail)
                    self._sheet([(*d, z + 0.04), (*c, z + 0.04), (*c, z + 1.05), (*d, z + 1.05)], rail)

    def _sheet(self, corners, look) -> None:
        corners = np.asarray(corners, float)
        across, up = np.linalg.norm(corners[1] - corners[0]) / 4, np.linalg.norm(corners[2] - corners[1]) / 4
        self.parts.quad(self._world(corners), np.array([(0, 0), (across, 0), (across, up), (0, up)]), look, BUILDING,
                        self.plan.object_id)

    def _fronts(self, top, w) -> None:
        """Cornice along the street front, and awnings over some shops."""
        if self.plan.roof == "flat" and self.lot.use == "house" and self.facade.wall != "glass":
            y, z0, z1 = -0.32, top - 0.25, top + 0.1
            self._sheet([(0, y, z0), (w, y, z0), (w, y, z1), (0, y, z1)], self.looks["trim"])
            self._sheet([(0, y, z1), (w, y, z1), (w, 0, z1), (0, 0, z1)], self.looks["trim"])
            self._sheet([(0, 0, z0 - 0.2), (w, 0, z0 - 0.2), (w, y, z0), (0, y, z0)], self.looks["trim"])
            self._sheet([(0, 0, z0 - 0.2), (0, y, z0), (0, y, z1), (0, 0, z1)], self.looks["trim"])
            self._sheet([(w, y, z0), (w, 0, z0 - 0.2), (w, 0, z1), (w, y, z1)], self.looks["trim"])
        if not self.plan.shop or self.rng.random() < 0.4:
            return
        bays = max(1, round(w / self.facade.bay_m))
        first = max(0, 2 - bays // 2)
        cloth = self.palette.look("awning", surfaces.awning(), _AWNINGS[int(self.rng.integers(len(_AWNINGS)))])
        for bay in range(bays):
            if (first + bay) % BAYS == 2:
                continue
            x0, x1 = w / bays * (bay + 0.05), w / bays * (bay + 0.95)
            z0, z1, y = self.base + 2.5, self.base + 2.95, -1.25
            n = (x1 - x0) / 2.0
            for corners, v0, v1 in (([(x0, y, z0), (x1, y, z0), (x1, 0, z1), (x0, 0, z1)], 0.1, 0.9),
                                    ([(x0, y, z0 - 0.22), (x1, y, z0 - 0.22), (x1, y, z0), (x0, y, z0)], 0.0, 0.1),
                                    ([(x1, y, z0 - 0.01), (x0, y, z0 - 0.01), (x0, 0, z1 - 0.01), (x1, 0, z1 - 0.01)],
                                     0.1, 0.9)):
                self.parts.quad(self._world(corners), np.array([(0, v0), (n, v0), (n, v1), (0, v1)]), cloth, BUILDING,
                                self.plan.object_id)

    def _on_flat_roof(self, box, z) -> None:
        """Stair house and ventilation units, clear of the parapet."""
        if self.detail != "full":
            return
        x0, y0, x1, y1 = box[0] + 1.2, box[1] + 1.2, box[2] - 1.2, box[3] - 1.2
        placed = []
        for size in ((4.0, 3.0, 2.6), (2.2, 1.6, 1.2), (1.6, 1.6, 1.0), (2.8, 1.2, 0.9)):
            w, d, h = size
            if x1 - x0 < w + 0.5 or y1 - y0 < d + 0.5:
                continue
            x, y = self.rng.uniform(x0, x1 - w), self.rng.uniform(y0, y1 - d)
            if any(x < q[2] + 0.4 and q[0] < x + w + 0.4 and y < q[3] + 0.4 and q[1] < y + d + 0.4 for q in placed):
                continue
            placed.append((x, y, x + w, y + d))
            self._box(x, y, x + w, y + d, z, z + h, "wall" if h > 2 else "metal", "flat" if h > 2 else "metal")

    def _chimneys(self, top, w, d) -> None:
        if self.plan.roof not in ("gable", "hip", "mansard") or self.lot.use != "house":
            return
        high = top + rise(self.plan.roof, w, d)
        for _ in range(1 + int(w > 16)):
            x, y = self.rng.uniform(0.25, 0.75) * w, d * self.rng.choice([0.4, 0.6])
            self._box(x - 0.4, y - 0.3, x + 0.4, y + 0.3, top + 0.3, high + 0.9, "chimney", "flat")

    def _dormers(self, top, w, d) -> None:
        """Small windowed boxes on steep slopes towards the street and the yard."""
        roof = self.plan.roof
        if roof not in ("gable", "mansard") or self.lot.use != "house" or w < 9 or (
                roof == "gable" and self.plan.roof_tint % 2):
            return
        window = self.palette.look("dormer", _dormer_texture())
        z0, z1 = (top + 0.75, top + 2.35) if roof == "mansard" else (top + 1.0, top + 2.3)
        front = 0.28 if roof == "mansard" else (z0 - top) / 0.84 + 0.05
        back = front + (1.2 if roof == "mansard" else 1.9)
        count = max(1, round((w - 3) / 3.8))
        for k in range(count):
            x = w * (k + 0.5) / count
            for y0, y1, turned in ((front, back, False), (d - front, d - back, True)):
                a, b = (x + 0.62, x - 0.62) if turned else (x - 0.62, x + 0.62)
                self.parts.quad(self._world([(a, y0, z0), (b, y0, z0), (b, y0, z1), (a, y0, z1)]),
                                np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float), window, BUILDING,
                                self.plan.object_id)
                self._face([(b, y0, z0), (b, y1, z0), (b, y1, z1), (b, y0, z1)], "metal")
                self._face([(a, y1, z0), (a, y0, z0), (a, y0, z1), (a, y1, z1)], "metal")
                o = 0.12 * (-1 if turned else 1)
                self._face([(a - o, y0 - o, z1), (b + o, y0 - o, z1), (b + o, y1, z1 + 0.1), (a - o, y1, z1 + 0.1)],
                           "metal")


def _dormer_texture() -> np.ndarray:
    """One window of the stucco design, cut out of its facade."""
    facade = FACADES["stucco"]
    texture = facade_texture("stucco", "upper")
    rows, columns = texture.shape[0] / STOREYS, texture.shape[1] / BAYS
    w, h, sill = facade.window
    low, high = (sill - 0.08) / facade.storey_m, (sill + h + 0.15) / facade.storey_m
    left = (facade.bay_m - w) / 2 / facade.bay_m - 0.05
    return texture[round(rows * (1 - high)):round(rows * (1 - low)), round(columns * left):round(columns * (1 - left))]
