"""Small things of the street: parked cars, lamps and benches."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from rsnb.city import surfaces
from rsnb.city.assembly import Palette, Parts
from rsnb.city.options import CAR, PAVEMENT
from rsnb.city.terrain import Terrain

PAINTS = ((0.82, 0.83, 0.84), (0.12, 0.13, 0.15), (0.46, 0.48, 0.5), (0.55, 0.1, 0.1), (0.14, 0.24, 0.44),
          (0.9, 0.9, 0.88), (0.2, 0.32, 0.28), (0.7, 0.62, 0.5))
# Side views: (along, height) of the body line, then of the glasshouse; metres, nose to the right.
_MODELS = {
    "saloon": (4.5, 1.78, ((-2.25, 0.55), (-2.2, 0.95), (-1.2, 1.0), (1.0, 0.98), (2.1, 0.8), (2.25, 0.5)),
               ((-1.75, 0.98), (-1.05, 1.43), (0.25, 1.45), (1.05, 0.97))),
    "hatch": (4.0, 1.74, ((-2.0, 0.5), (-1.98, 1.0), (-1.2, 1.03), (0.95, 1.0), (1.85, 0.82), (2.0, 0.5)),
              ((-1.92, 1.0), (-1.6, 1.48), (0.15, 1.5), (1.0, 0.99))),
    "van": (4.9, 1.9, ((-2.45, 0.5), (-2.42, 1.1), (-1.2, 1.15), (1.3, 1.15), (2.3, 0.95), (2.45, 0.5)),
            ((-2.4, 1.1), (-2.3, 1.92), (0.85, 1.95), (1.6, 1.12))),
}
_BODY, _GLASS, _DARK, _LAMP = range(4)


@lru_cache(maxsize=8)
def _car(model: str):
    """One car standing on z = 0, nose along +x: corners [F, 3, 3] and what [F] each face is made of."""
    _, width, body, house = _MODELS[model]
    half, roof_half = width / 2, width / 2 - 0.2
    out, what = [], []

    def quad(a, b, c, d, kind):
        out.extend([(a, b, c), (a, c, d)])
        what.extend([kind, kind])

    def shell(line, low, half_low, half_high, kinds):
        """Extrudes a side view; kinds has one entry per segment and one for the sides."""
        low_z = low
        n = len(line)
        for k in range(n - 1):
            (x0, z0), (x1, z1) = line[k], line[k + 1]
            w0 = half_high if z0 > 1.3 else half_low
            w1 = half_high if z1 > 1.3 else half_low
            quad((x0, w0, z0), (x0, -w0, z0), (x1, -w1, z1), (x1, w1, z1), kinds[k])
            for sign in (-1, 1):
                a, b = (x0, sign * w0, z0), (x1, sign * w1, z1)
                c, d = (x1, sign * half_low, low_z), (x0, sign * half_low, low_z)
                quad(*((a, d, c, b) if sign < 0 else (b, c, d, a)), kinds[-1])

    shell(body, 0.28, half, half, [_BODY] * 6)
    first, last = body[0], body[-1]
    quad((first[0], half, 0.28), (first[0], -half, 0.28), (first[0], -half, first[1]), (first[0], half, first[1]), _DARK)
    quad((last[0], -half, 0.28), (last[0], half, 0.28), (last[0], half, last[1]), (last[0], -half, last[1]), _DARK)
    shell(house, 0.96, half - 0.05, roof_half, [_GLASS, _BODY, _GLASS, _GLASS])
    for x, sign in ((1.0, 1), (-1.0, -1)):  # head and tail lamps
        end = last[0] if sign > 0 else first[0]
        for y in (-half + 0.25, half - 0.25):
            a, b, z0, z1 = y - 0.2, y + 0.2, 0.6, 0.74
            xx = end - sign * 0.04 + sign * 0.1
            corners = [(xx, a, z0), (xx, b, z0), (xx, b, z1), (xx, a, z1)]
            quad(*(corners if sign > 0 else corners[::-1]), _LAMP)
    for x in (0.6 * last[0], 0.6 * first[0]):  # wheels: eight-sided discs that stand out a little
        angle = 2 * np.pi * np.arange(6) / 6
        for sign in (-1, 1):
            rim = [(x + 0.33 * np.cos(t), sign * (half + 0.03), 0.33 + 0.33 * np.sin(t)) for t in angle]
            order = rim if sign < 0 else rim[::-1]
            for k in range(1, 5):
                out.append((order[0], order[k], order[k + 1]))
                what.append(_DARK)
    return np.array(out, float), np.array(what)


def add_cars(parts: Parts, palette: Palette, places: np.ndarray, terrain: Terrain, first_id: int, rng) -> np.ndarray:
    """Adds parked cars and returns their instance ids [N].

    Args:
        places: [N, 3] x, y and heading (radians, counter-clockwise from east).
        terrain: the carriageway's height; a car pitches with the slope along it.
    """
    ids = first_id + np.arange(len(places))
    models = rng.choice(list(_MODELS), len(places), p=(0.42, 0.4, 0.18))
    paints = rng.integers(len(PAINTS), size=len(places))
    glass, dark = palette.look("car_glass", None, (0.12, 0.15, 0.18)), palette.look("car_dark", None, (0.06, 0.06, 0.065))
    lamp = palette.look("car_lamp", None, (0.75, 0.7, 0.66))
    body = np.array([palette.look("car_paint", None, paint) for paint in PAINTS])
    for model in _MODELS:
        which = np.flatnonzero(models == model)
        if len(which) == 0:
            continue
        corners, what = _car(model)
        along = np.stack([np.cos(places[which, 2]), np.sin(places[which, 2])], axis=1)
        nose, tail = places[which, :2] + 1.3 * along, places[which, :2] - 1.3 * along
        z0, z1 = terrain(*tail.T), terrain(*nose.T)
        slope = ((z1 - z0) / 2.6)[:, None, None]
        x = places[which, 0][:, None, None] + along[:, 0][:, None, None] * corners[..., 0] - \
            along[:, 1][:, None, None] * corners[..., 1]
        y = places[which, 1][:, None, None] + along[:, 1][:, None, None] * corners[..., 0] + \
            along[:, 0][:, None, None] * corners[..., 1]
        z = ((z0 + z1) / 2)[:, None, None] + slope * corners[..., 0] + corners[..., 2]
        vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
        n, f = len(which), len(corners)
        looks = np.array([0, glass, dark, lamp])[np.tile(what, n)]
        looks = np.where(np.tile(what, n) == _BODY, np.repeat(body[paints[which]], f), looks)
        parts.add(vertices, np.arange(3 * n * f).reshape(-1, 3), np.zeros((n * f, 3, 2)), looks, CAR,
                  np.repeat(ids[which], f))
    return ids


def _boxes(boxes) -> np.ndarray:
    """[F, 3, 3] outward triangles of axis-aligned boxes (x0, y0, z0, x1, y1, z1)."""
    out = []
    for x0, y0, z0, x1, y1, z1 in boxes:
        p = np.array([(x, y, z) for z in (z0, z1) for y in (y0, y1) for x in (x0, x1)])
        for a, b, c, d in ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (1, 3, 7, 5), (3, 2, 6, 7), (2, 0, 4, 6)):
            out += [p[[a, b, c]], p[[a, c, d]]]
    return np.array(out)


_LAMP_POST = ((-0.06, -0.06, -0.1, 0.06, 0.06, 5.6), (-0.04, -0.04, 5.6, 1.3, 0.04, 5.7),
              (0.8, -0.13, 5.5, 1.5, 0.13, 5.6))
_BENCH = ((-0.8, -0.25, 0.4, 0.8, 0.25, 0.47), (-0.8, 0.22, 0.47, 0.8, 0.28, 0.9), (-0.7, -0.2, -0.05, -0.6, 0.2, 0.4),
          (0.6, -0.2, -0.05, 0.7, 0.2, 0.4))


def add_fixtures(parts: Parts, palette: Palette, places: np.ndarray, kind: str, terrain: Terrain, lift_m: float) -> None:
    """Street lamps (arm along +x of their frame) or benches at [N, 3] x, y, angle; they count as pavement."""
    if len(places) == 0:
        return
    corners = _boxes(_LAMP_POST if kind == "lamp" else _BENCH)
    look = (palette.look("lamp_post", None, (0.22, 0.24, 0.25)) if kind == "lamp" else
            palette.look("bench", surfaces.bark(), (1.3, 1.15, 0.95)))
    c, s = np.cos(places[:, 2])[:, None, None], np.sin(places[:, 2])[:, None, None]
    x = places[:, 0][:, None, None] + c * corners[..., 0] - s * corners[..., 1]
    y = places[:, 1][:, None, None] + s * corners[..., 0] + c * corners[..., 1]
    z = terrain(places[:, 0], places[:, 1])[:, None, None] + lift_m + corners[..., 2]
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    n = len(vertices) // 3
    parts.add(vertices, np.arange(3 * n).reshape(-1, 3), np.tile(corners[..., [0, 2]], (len(places), 1, 1)), look,
              PAVEMENT)
