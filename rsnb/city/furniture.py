"""Small things of the street: parked cars, lamps and benches."""

from __future__ import annotations

from dataclasses import dataclass
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
    "van": (4.9, 1.9, ((-2.45, 0.5), (-2.42, 1.1), (-1.2, 1.12), (1.3, 1.12), (2.3, 0.95), (2.45, 0.5)),
            ((-2.4, 1.1), (-2.3, 1.92), (0.85, 1.95), (1.6, 1.12))),
}
_BODY, _GLASS, _DARK, _LAMP, _TAIL, _HUB = range(6)
_PLAIN = (0.5, 0.97)  # a spot of the body's texture with nothing on it


class _Shell:
    """Triangles of a car under construction, in its own frame: nose along +x, left +y, wheels on z = 0."""

    def __init__(self):
        self.corners, self.uv, self.kind = [], [], []

    def polygon(self, points, kind, uv=None) -> None:
        """A convex polygon, counter-clockwise from outside; without uv it takes a plain spot of the texture."""
        uv = [_PLAIN] * len(points) if uv is None else uv
        for k in range(1, len(points) - 1):
            self.corners.append((points[0], points[k], points[k + 1]))
            self.uv.append((uv[0], uv[k], uv[k + 1]))
            self.kind.append(kind)

    def extrude(self, line, low_z, half_low, half_high, kinds, span) -> None:
        """A side view as a shell: kinds has one entry per segment of the line and one for the sides.

        Points above 1.3 m are half_high from the middle, others half_low. span = (x from, to, z from, to) maps the
        sides to the texture; None leaves them plain.
        """
        x0, x1, z0, z1 = span or (0.0, 1.0, low_z, 2.0)

        def at(x, z):
            return (x - x0) / (x1 - x0), (z - z0) / (z1 - z0)

        for k in range(len(line) - 1):
            (xa, za), (xb, zb) = line[k], line[k + 1]
            wa, wb = (half_high if z > 1.3 else half_low for z in (za, zb))
            plain = None if kinds[k] == _BODY else [(0.25, at(0, z)[1]) for z in (za, za, zb, zb)]
            self.polygon([(xa, wa, za), (xa, -wa, za), (xb, -wb, zb), (xb, wb, zb)], kinds[k], plain)
            for sign in (-1, 1):
                ring = [(xa, sign * half_low, low_z), (xb, sign * half_low, low_z), (xb, sign * wb, zb),
                        (xa, sign * wa, za)]
                uv = [at(xa, low_z), at(xb, low_z), at(xb, zb), at(xa, za)] if span else [_PLAIN] * 4
                self.polygon(ring if sign < 0 else ring[::-1], kinds[-1], uv if sign < 0 else uv[::-1])


@lru_cache(maxsize=8)
def _car(model: str):
    """One car: corners [F, 3, 3], uv [F, 3, 2], and what [F] each face is made of."""
    length, width, body, house = _MODELS[model]
    half = width / 2
    shell = _Shell()
    shell.extrude(body, 0.26, half, half, [_BODY] * 6, (-length / 2, length / 2, 0.26, 1.3))
    first, last = body[0], body[-1]
    shell.polygon([(first[0], half, 0.26), (first[0], -half, 0.26), (first[0], -half, first[1]),
                   (first[0], half, first[1])], _DARK)
    shell.polygon([(last[0], -half, 0.26), (last[0], half, 0.26), (last[0], half, last[1]), (last[0], -half, last[1])],
                  _DARK)
    shell.extrude(house, 0.96, half - 0.04, half - 0.2, [_GLASS, _BODY, _GLASS, _BODY if model == "van" else _GLASS],
                  None if model == "van" else (house[0][0], house[-1][0], 0.96, 1.5))
    if model == "van":  # windows at the front of a closed body
        for sign in (-1, 1):
            y = sign * (half - 0.09)
            pane = [(0.2, y, 1.2), (1.35, y, 1.2), (0.95, sign * (half - 0.18), 1.8), (0.2, sign * (half - 0.18), 1.8)]
            pane = [(x, w + sign * 0.03, z) for x, w, z in pane]
            uv = [(0.25, 0.2), (0.25, 0.2), (0.25, 0.8), (0.25, 0.8)]
            shell.polygon(pane if sign < 0 else pane[::-1], _GLASS, uv if sign < 0 else uv[::-1])
    for sign, kind, front in ((1, _LAMP, last), (-1, _TAIL, first)):
        for y in (-half + 0.24, half - 0.24):
            x = front[0] + sign * 0.015
            ring = [(x, y - 0.21, 0.62), (x, y + 0.21, 0.62), (x - sign * 0.06, y + 0.21, 0.76),
                    (x - sign * 0.06, y - 0.21, 0.76)]
            shell.polygon(ring if sign > 0 else ring[::-1], kind)
    for x in (0.6 * last[0], 0.6 * first[0]):
        angle = 2 * np.pi * np.arange(8) / 8
        for sign in (-1, 1):
            ring = [(x + 0.32 * np.cos(t), sign * (half + 0.02), 0.32 + 0.32 * np.sin(t)) for t in angle]
            hub = [(x + 0.17 * np.cos(t), sign * (half + 0.03), 0.32 + 0.17 * np.sin(t))
                   for t in 2 * np.pi * np.arange(6) / 6]
            shell.polygon(ring if sign < 0 else ring[::-1], _DARK)
            shell.polygon(hub if sign < 0 else hub[::-1], _HUB)
    return np.array(shell.corners, float), np.array(shell.uv, float), np.array(shell.kind)


def add_cars(parts: Parts, palette: Palette, places: np.ndarray, terrain: Terrain, first_id: int, rng) -> np.ndarray:
    """Adds parked cars and returns their instance ids [N].

    Args:
        places: [N, 3] x, y and heading (radians, counter-clockwise from east).
        terrain: the carriageway's height; a car pitches with the slope along it.
    """
    ids = first_id + np.arange(len(places))
    models = rng.choice(list(_MODELS), len(places), p=(0.42, 0.4, 0.18))
    paints = rng.integers(len(PAINTS), size=len(places))
    glass = palette.look("car_glass", surfaces.car_glass())
    plain = [palette.look(f"car_{name}", None, rgb) for name, rgb in (
        ("dark", (0.07, 0.07, 0.075)), ("lamp", (0.86, 0.85, 0.82)), ("tail", (0.5, 0.08, 0.07)),
        ("hub", (0.55, 0.56, 0.58)))]
    body = np.array([palette.look("car_paint", surfaces.car_body(), paint) for paint in PAINTS])
    for model in _MODELS:
        which = np.flatnonzero(models == model)
        if len(which) == 0:
            continue
        corners, uv, what = _car(model)
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
        looks = np.array([0, glass, *plain])[np.tile(what, n)]
        looks = np.where(np.tile(what, n) == _BODY, np.repeat(body[paints[which]], f), looks)
        parts.add(vertices, np.arange(3 * n * f).reshape(-1, 3), np.tile(uv, (n, 1, 1)), looks, CAR,
                  np.repeat(ids[which], f))
    return ids


@dataclass(frozen=True)
class WallKind:
    """A long low body on the ground: material number, class, height and thickness in metres, metres per repeat."""

    look: int
    class_id: int
    height_m: float
    thickness_m: float
    repeat_m: float


def add_low_walls(parts: Parts, kind: WallKind, edges: np.ndarray, terrain: Terrain, lift_m: float) -> None:
    """Bridge parapets or hedges along edges [N, 2, 2]; the body stands left of each edge."""
    for a, b in edges:
        along = (b - a) / max(np.hypot(*(b - a)), 1e-9)
        inner = np.array([-along[1], along[0]]) * kind.thickness_m
        ring = np.array([a, b, b + inner, a + inner])
        ground = terrain(ring[:, 0], ring[:, 1]) + lift_m
        low, high = np.column_stack([ring, ground - 0.1]), np.column_stack([ring, ground + kind.height_m])
        v = kind.height_m / kind.repeat_m
        for k in range(4):
            m = (k + 1) % 4
            u = np.hypot(*(ring[m] - ring[k])) / kind.repeat_m
            uv = np.array([(0, 0), (u, 0), (u, v), (0, v)])
            parts.quad(np.array([low[k], low[m], high[m], high[k]]), uv, kind.look, kind.class_id)
        parts.quad(high, (high[:, :2] - (6000.0, 4500.0)) / kind.repeat_m, kind.look, kind.class_id)


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


def add_fixtures(parts: Parts, palette: Palette, places: np.ndarray, kind: str, terrain: Terrain,
                 lift_m: float) -> None:
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
