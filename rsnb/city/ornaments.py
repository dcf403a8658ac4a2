"""Small geometry on houses: balconies, cornices, awnings, chimneys, dormers, roof-top units."""

from __future__ import annotations

import numpy as np

from rsnb.city import surfaces
from rsnb.city.facades import BAYS, FACADES, STOREYS, facade_texture
from rsnb.city.house_frame import HouseFrame
from rsnb.city.roofs import rise

_AWNINGS = ((0.72, 0.32, 0.28), (0.3, 0.5, 0.42), (0.3, 0.4, 0.6), (0.85, 0.7, 0.42), (0.5, 0.5, 0.52))
_BALCONY_BAYS = (1, 3)  # of the balcony design


def add_balconies(house: HouseFrame, a, b, bottom: float, top: float, count: tuple[int, int], first_bay: int) -> None:
    """Slabs with parapets before the bays whose texture shows a balcony door.

    Args:
        a, b: ends (x, y) of the wall, seen with a on its left.
        bottom, top: of its storeys; count: (bays, storeys).
        first_bay: bay of the texture that stands at a.
    """
    bays, storeys = count
    a, b = np.array(a), np.array(b)
    along, out = (b - a) / bays, np.array([(b - a)[1], -(b - a)[0]]) / np.hypot(*(b - a))
    rail = house.palette.look("balcony_rail", surfaces.plaster(), np.array(house.facade.trim) / 236.0)
    trim = house.looks["trim"]
    for bay in range(bays):
        if (first_bay + bay) % BAYS not in _BALCONY_BAYS:
            continue
        p, q = a + along * (bay + 0.04), a + along * (bay + 0.96)
        r, s = q + 1.25 * out, p + 1.25 * out
        for storey in range(storeys):
            z = bottom + storey * (top - bottom) / storeys
            low, floor, high = z - 0.12, z + 0.04, z + 1.05
            house.sheet([(*q, low), (*r, low), (*s, low), (*p, low)], trim)
            house.sheet([(*p, floor), (*s, floor), (*r, floor), (*q, floor)], trim)
            for c, d in ((p, s), (s, r), (r, q)):
                house.sheet([(*c, low), (*d, low), (*d, high), (*c, high)], rail)
                house.sheet([(*d, floor), (*c, floor), (*c, high), (*d, high)], rail)


def add_cornice(house: HouseFrame, top: float) -> None:
    """A moulding along the street front of a flat roof."""
    w, y, z0, z1, foot, trim = house.lot.width, -0.32, top - 0.25, top + 0.1, top - 0.45, house.looks["trim"]
    house.sheet([(0, y, z0), (w, y, z0), (w, y, z1), (0, y, z1)], trim)
    house.sheet([(0, y, z1), (w, y, z1), (w, 0, z1), (0, 0, z1)], trim)
    house.sheet([(0, 0, foot), (w, 0, foot), (w, y, z0), (0, y, z0)], trim)
    house.sheet([(0, 0, foot), (0, y, z0), (0, y, z1), (0, 0, z1)], trim)
    house.sheet([(w, y, z0), (w, 0, foot), (w, 0, z1), (w, y, z1)], trim)


def add_awnings(house: HouseFrame, base: float) -> None:
    """Striped cloth over the shop windows."""
    w = house.lot.width
    bays = max(1, round(w / house.facade.bay_m))
    first = max(0, 2 - bays // 2)
    cloth = house.palette.look("awning", surfaces.awning(), _AWNINGS[int(house.rng.integers(len(_AWNINGS)))])
    for bay in range(bays):
        if (first + bay) % BAYS == 2:  # the door
            continue
        x0, x1 = w / bays * (bay + 0.05), w / bays * (bay + 0.95)
        low, high, y, n = base + 2.5, base + 2.95, -1.25, (x1 - x0) / 2.0
        slope = [(x0, y, low), (x1, y, low), (x1, 0, high), (x0, 0, high)]
        under = [(x, y, z - 0.01) for x, y, z in (slope[1], slope[0], slope[3], slope[2])]
        edge = [(x0, y, low - 0.22), (x1, y, low - 0.22), (x1, y, low), (x0, y, low)]
        for corners, v0, v1 in ((slope, 0.1, 0.9), (edge, 0.0, 0.1), (under, 0.1, 0.9)):
            house.sheet(corners, cloth, [(0, v0), (n, v0), (n, v1), (0, v1)])


def add_roof_units(house: HouseFrame, box, z: float) -> None:
    """Stair house and ventilation units on a flat roof, clear of the parapet; box = (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box[0] + 1.2, box[1] + 1.2, box[2] - 1.2, box[3] - 1.2
    placed = []
    for w, d, h in ((4.0, 3.0, 2.6), (2.2, 1.6, 1.2), (1.6, 1.6, 1.0), (2.8, 1.2, 0.9)):
        if x1 - x0 < w + 0.5 or y1 - y0 < d + 0.5:
            continue
        x, y = house.rng.uniform(x0, x1 - w), house.rng.uniform(y0, y1 - d)
        if any(x < q[2] + 0.4 and q[0] < x + w + 0.4 and y < q[3] + 0.4 and q[1] < y + d + 0.4 for q in placed):
            continue
        placed.append((x, y, x + w, y + d))
        house.box((x, y, z), (x + w, y + d, z + h), "wall" if h > 2 else "metal", "flat" if h > 2 else "metal")


def add_chimneys(house: HouseFrame, top: float) -> None:
    """One or two stacks near the ridge."""
    w, d = house.lot.width, house.lot.depth
    high = top + rise(house.plan.roof, w, d)
    for _ in range(1 + int(w > 16)):
        x, y = house.rng.uniform(0.25, 0.75) * w, d * house.rng.choice([0.4, 0.6])
        house.box((x - 0.4, y - 0.3, top + 0.3), (x + 0.4, y + 0.3, high + 0.9), "chimney", "flat")


def add_dormers(house: HouseFrame, top: float) -> None:
    """Small windowed boxes on both slopes of a mansard or gable roof."""
    w, d = house.lot.width, house.lot.depth
    window = house.palette.look("dormer", dormer_texture())
    mansard = house.plan.roof == "mansard"
    z0, z1 = (top + 0.75, top + 2.35) if mansard else (top + 1.0, top + 2.3)
    front = 0.28 if mansard else (z0 - top) / 0.84 + 0.05
    back = front + (1.2 if mansard else 1.9)
    count = max(1, round((w - 3) / 3.8))
    for k in range(count):
        x = w * (k + 0.5) / count
        for y0, y1, sign in ((front, back, 1), (d - front, d - back, -1)):
            a, b, o = x - 0.62 * sign, x + 0.62 * sign, 0.12 * sign
            house.sheet([(a, y0, z0), (b, y0, z0), (b, y0, z1), (a, y0, z1)], window, [(0, 0), (1, 0), (1, 1), (0, 1)])
            house.face([(b, y0, z0), (b, y1, z0), (b, y1, z1), (b, y0, z1)], "metal")
            house.face([(a, y1, z0), (a, y0, z0), (a, y0, z1), (a, y1, z1)], "metal")
            house.face([(a - o, y0 - o, z1), (b + o, y0 - o, z1), (b + o, y1, z1 + 0.1), (a - o, y1, z1 + 0.1)],
                       "metal")


def dormer_texture() -> np.ndarray:
    """One window of the stucco design, cut out of its facade."""
    facade = FACADES["stucco"]
    texture = facade_texture("stucco", "upper")
    rows, columns = texture.shape[0] / STOREYS, texture.shape[1] / BAYS
    w, h, sill = facade.window
    low, high = (sill - 0.08) / facade.storey_m, (sill + h + 0.15) / facade.storey_m
    left = (facade.bay_m - w) / 2 / facade.bay_m - 0.05
    return texture[round(rows * (1 - high)):round(rows * (1 - low)), round(columns * left):round(columns * (1 - left))]
