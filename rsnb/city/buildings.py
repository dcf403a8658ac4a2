"""Buildings on their lots: walls with whole bays and storeys, roofs, wings, towers and a church."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from rsnb.city import ornaments
from rsnb.city.assembly import Palette, Parts
from rsnb.city.facades import BAYS, FACADES, GROUND_STOREY_M, STOREYS
from rsnb.city.ground import KERB_M
from rsnb.city.house_frame import HouseFrame, Plan
from rsnb.city.lots import Lot
from rsnb.city.options import Character
from rsnb.city.roofs import rise, roof_faces
from rsnb.city.terrain import Terrain

SHED_M = 6.5  # wall height of sheds
_TERRACE_M = 2.2  # how far the upper storeys of a stepped building stand back


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


OUT_OF_STYLE = 0.2  # of the houses were built in another time than their quarter


def plan_buildings(lots: list[Lot], character: Character, rng) -> list[Plan]:
    """Storeys, roof, facade and colour of every lot; roof types keep their shares exactly."""
    ordinary = [k for k, lot in enumerate(lots) if lot.use == "house"]
    roofs = dict(zip(ordinary, _quota(len(ordinary), character.roofs, rng), strict=True))
    sheds = [k for k, lot in enumerate(lots) if lot.use == "shed"]
    roofs |= dict(zip(sheds, _quota(len(sheds), {"sawtooth": 0.35, "shed": 0.35, "gable": 0.3}, rng), strict=True))
    names = list(character.facades)
    solid = [name for name in names if FACADES[name].wall != "glass"]
    rare = [name for name in FACADES if name not in (*names, "church", "cladding") and FACADES[name].wall != "glass"]
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
        elif lot.use in ("nave", "spire"):
            storeys, facade = (1 if lot.use == "nave" else 3), "church"
            roof = "gable" if lot.use == "nave" else "spire"
        elif lot.use == "shed":
            storeys, facade, roof = 1, "cladding" if rng.random() < 0.7 else "loft", roofs[k]
        else:
            storeys = int(np.clip(base + rng.integers(-1, 2), max(low, 1), high))
            pool = rare if rng.random() < OUT_OF_STYLE else names
            facade, roof = str(pool[rng.integers(len(pool))]), roofs[k]
            if roof == "stepped" and storeys < 3:
                roof = "flat"
            if FACADES[facade].wall == "glass" and roof in ("gable", "hip", "mansard"):
                facade = solid[int(rng.integers(len(solid)))]
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
    house = HouseFrame(parts, palette, plan, detail)
    lot, storey_m = plan.lot, house.facade.storey_m
    low, base = _footing(lot, terrain)
    upper = 0
    if plan.roof == "stepped":
        upper = 1 if plan.storeys < 6 else 2
    lower = max(plan.storeys - upper, 1)
    body = _Body((0, 0, lot.width, lot.depth), base, lower, low, lot.blind)
    top = base + _street_storey(lot, storey_m) + (lower - 1) * storey_m
    _add_walls(house, body, top)
    for corners, what in roof_faces(plan.roof, lot.width, lot.depth, top, detail, lot.blind):
        house.face(corners, what)
    highest = top + rise(plan.roof, lot.width, lot.depth)
    flat = body.box
    if upper:
        flat = (_TERRACE_M, _TERRACE_M, lot.width - _TERRACE_M, lot.depth - _TERRACE_M)
        high = top + (plan.storeys - lower) * storey_m
        highest = _add_flat_block(house, _Body(flat, top, plan.storeys - lower), high)
    if lot.wing is not None:
        x0, width, length = lot.wing
        storeys = max(plan.storeys - 1, 1)
        high = min(base + GROUND_STOREY_M + (storeys - 1) * storey_m, top - 0.4)
        wing = (x0, lot.depth, x0 + width, lot.depth + length)
        _add_flat_block(house, _Body(wing, base, storeys, low, front=False), high)
    if detail == "full":
        _add_ornaments(house, base, top, flat, highest)
    return Building(plan.object_id, lot.polygon(), base, highest - base, plan.storeys, plan.roof, plan.facade, lot.use)


def _footing(lot: Lot, terrain: Terrain) -> tuple[float, float]:
    """(foot of the walls below all ground, ground floor above all ground around the footprint)."""
    points = lot.points() if lot.wing is None else np.concatenate([lot.points(), lot.wing_points()])
    around = np.concatenate([points, (points + np.roll(points, -1, axis=0)) / 2])
    z = terrain(around[:, 0], around[:, 1])
    return float(z.min()) - 0.4, float(z.max()) + KERB_M + 0.03


def _street_storey(lot: Lot, storey_m: float) -> float:
    """Height of the lowest storey."""
    return SHED_M if lot.use == "shed" else storey_m if lot.use in ("nave", "spire") else GROUND_STOREY_M


def _add_ornaments(house: HouseFrame, base, top, flat, highest) -> None:
    plan, roof = house.plan, house.plan.roof
    if roof in ("flat", "stepped"):
        ornaments.add_roof_units(house, flat, highest)
    if house.lot.use != "house":
        return
    if roof == "flat" and house.facade.wall != "glass":
        ornaments.add_cornice(house, top)
    if plan.shop and house.rng.random() < 0.6:
        ornaments.add_awnings(house, base)
    if roof in ("gable", "hip", "mansard"):
        ornaments.add_chimneys(house, top)
    if house.lot.width >= 9 and (roof == "mansard" or (roof == "gable" and plan.roof_tint % 2 == 0)):
        ornaments.add_dormers(house, top)


@dataclass(frozen=True)
class _Body:
    """A block of storeys in the house's frame: box (x0, y0, x1, y1), its lowest floor, number of storeys.

    foot: where its plinth begins, None for a block that stands on another. blind: (right, left) sides without windows.
    front: whether its first side faces the street.
    """

    box: tuple[float, float, float, float]
    bottom: float
    storeys: int
    foot: float | None = None
    blind: tuple[bool, bool] = (False, False)
    front: bool = True


def _add_flat_block(house: HouseFrame, body: _Body, top: float) -> float:
    """Walls and a flat roof; returns the roof's height."""
    x0, y0, x1, y1 = body.box
    _add_walls(house, body, top)
    for corners, what in roof_faces("flat", x1 - x0, y1 - y0, top, house.detail):
        house.face(corners + (x0, y0, 0), what)
    return top


def _add_walls(house: HouseFrame, body: _Body, top: float) -> None:
    """Four walls; the street storey (if any) carries its own texture, blind sides and short walls none."""
    x0, y0, x1, y1 = body.box
    ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    facade, use, bottom = house.facade, house.lot.use, body.bottom
    for side in range(4):
        a, b = ring[side], ring[(side + 1) % 4]
        length = abs(b[0] - a[0]) + abs(b[1] - a[1])
        if body.foot is not None:
            house.upright(a, b, body.foot, bottom, house.looks["plinth"], (length / 2.0, (bottom - body.foot) / 2.0))
        if (side == 1 and body.blind[0]) or (side == 3 and body.blind[1]) or length < 0.7 * facade.bay_m:
            house.upright(a, b, bottom, top, house.looks["wall"], (length / 4.0, (top - bottom) / 4.0))
            continue
        bays = max(1, round(length / facade.bay_m))
        split, upper = bottom, body.storeys
        if body.foot is not None and use not in ("nave", "spire"):
            split, upper = (top if use == "shed" else bottom + GROUND_STOREY_M), body.storeys - 1
            look = house.looks["street" if body.front and (side == 0 or use == "tower") else "back"]
            house.upright(a, b, bottom, split, look, (bays / BAYS, 1.0), (max(0, 2 - bays // 2) / BAYS, 0.0))
        if upper > 0:
            start = int(house.rng.integers(BAYS)), int(house.rng.integers(STOREYS))
            house.upright(a, b, split, top, house.looks["upper"], (bays / BAYS, upper / STOREYS),
                          (start[0] / BAYS, start[1] / STOREYS))
            if "balcony" in facade.features and house.detail == "full" and side in (0, 2):
                ornaments.add_balconies(house, a, b, split, top, (bays, upper), start[0])
