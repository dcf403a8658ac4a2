"""Facade textures: designs with windows, doors, shop fronts and balconies, drawn by program.

A design gives two textures: "upper", five bays by three storeys of a street front, and "ground", five bays of the
storey at street level with a door. Walls repeat them by whole bays and storeys, so no window is ever cut.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from rsnb.city.facade_designs import BAYS, FACADES, GROUND_STOREY_M, STOREYS, Facade
from rsnb.city.surfaces import finish, noise

_SIZE = {"upper": (512, 1024), "ground": (256, 1024)}  # rows, columns as kept; drawn twice as large


class _Canvas:
    """A picture measured in metres from its lower left corner."""

    def __init__(self, rows: int, columns: int, width_m: float, height_m: float):
        self.image = np.zeros((rows, columns, 3), np.float32)
        self.sx, self.sy, self.rows = columns / width_m, rows / height_m, rows

    def box(self, x0, y0, x1, y1):
        """Pixel slice of a rectangle in metres (clipped to the picture)."""
        r0, r1 = self.rows - round(y1 * self.sy), self.rows - round(y0 * self.sy)
        c0, c1 = round(x0 * self.sx), round(x1 * self.sx)
        return slice(max(r0, 0), max(r1, 0)), slice(max(c0, 0), max(c1, 0))

    def fill(self, x0, y0, x1, y1, rgb):
        self.image[self.box(x0, y0, x1, y1)] = rgb

    def tone(self, x0, y0, x1, y1, factor):
        self.image[self.box(x0, y0, x1, y1)] *= factor


def _wall(canvas: _Canvas, facade: Facade, rng, height_m: float) -> None:
    """Covers the canvas with bare wall."""
    rows, columns = canvas.image.shape[:2]
    width_m = columns / canvas.sx
    canvas.image[:] = facade.rgb
    tone = 3.5 * noise(rows, columns, (4, 9), rng) + 2.5 * noise(rows, columns, (4, 70), rng)
    tone += rng.normal(0, 2.2, (rows, columns)).astype(np.float32)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    if facade.wall == "brick":
        courses, bricks = round(height_m / 0.08), round(width_m / 0.26)
        row = (y * courses / rows).astype(int)
        column = (x * bricks / columns + 0.5 * (row % 2)) % bricks
        tint = rng.normal(0, 9, (courses, bricks)).astype(np.float32)
        tone += tint[np.minimum(row, courses - 1), column.astype(int)]
        joint = ((y * courses / rows) % 1.0 < 0.16) | (column % 1.0 < 0.07)
        canvas.image[joint] = np.array(facade.rgb) * 0.5 + 85
    elif facade.wall == "stone":
        courses, blocks = round(height_m / 0.45), round(width_m / 0.9)
        row = (y * courses / rows).astype(int)
        column = (x * blocks / columns + 0.5 * (row % 2)) % blocks
        tone += rng.normal(0, 4.5, (courses, blocks)).astype(np.float32)[np.minimum(row, courses - 1),
                                                                         column.astype(int)]
        tone -= 26 * (((y * courses / rows) % 1.0 < 0.05) | (column % 1.0 < 0.025))
    elif facade.wall == "timber":
        boards = round(height_m / 0.16)
        tone += rng.normal(0, 6, boards).astype(np.float32)[np.minimum((y * boards / rows).astype(int), boards - 1)]
        tone -= 34 * ((y * boards / rows) % 1.0 < 0.14)
    elif facade.wall == "metal":
        ribs = round(width_m / 0.3)
        tone += 10 * np.sign(np.sin(2 * np.pi * x * ribs / columns)) - 14 * ((x * ribs / columns) % 0.5 < 0.08)
    canvas.image += tone[..., None]


def _shed_front(canvas: _Canvas, facade: Facade, rng) -> None:
    """A hall's wall: a strip of high windows, a roller gate in bay 2, a concrete foot."""
    w, h, sill = facade.window
    for bay in range(BAYS):
        x = bay * facade.bay_m + (facade.bay_m - w) / 2
        _window(canvas, x, sill, x + w, sill + h, facade, rng)
    canvas.fill(0, 0, BAYS * facade.bay_m, 0.5, (146, 144, 140))
    middle = 2.5 * facade.bay_m
    canvas.fill(middle - 2.0, 0, middle + 2.0, 3.9, (84, 88, 92))
    canvas.fill(middle - 1.85, 0, middle + 1.85, 3.75, (196, 200, 202))
    for k in range(18):
        canvas.tone(middle - 1.85, k * 0.21, middle + 1.85, k * 0.21 + 0.06, 0.8)
    canvas.fill(middle + 2.6, 0, middle + 3.5, 2.1, (74, 92, 110))


def _glass(canvas, x0, y0, x1, y1, rng, warm=False) -> None:
    """Panes: sky reflected above, dark below, a slanted gleam, curtains or blinds behind some."""
    rows, columns = canvas.box(x0, y0, x1, y1)
    h, w = rows.stop - rows.start, columns.stop - columns.start
    if h <= 0 or w <= 0:
        return
    t = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    bright = rng.uniform(0.8, 1.15)
    pane = (np.array((118, 140, 158), np.float32) * (1 - t) + np.array((48, 58, 66), np.float32) * t) * bright
    pane = np.broadcast_to(pane, (h, w, 3)).copy()
    mood = rng.random()
    if warm:
        pane = 0.45 * pane + 0.55 * np.array((150, 122, 84), np.float32) * rng.uniform(0.6, 1.0)
    elif mood < 0.45:
        side = int(w * rng.uniform(0.14, 0.3))
        cloth = np.array((206, 200, 188), np.float32) * rng.uniform(0.78, 1.0)
        folds = 1 + 0.08 * np.sin(np.arange(w) * 2 * np.pi / max(w / 14, 3))[None, :, None]
        for part in (slice(0, side), slice(w - side, w)):
            pane[:, part] = 0.35 * pane[:, part] + 0.65 * (cloth * folds)[:, part]
    elif mood < 0.62:
        down = int(h * rng.uniform(0.25, 0.8))
        blind = np.array((214, 208, 196), np.float32) * (1 - 0.1 * (np.arange(down) % 8 < 2))[:, None, None]
        pane[:down] = 0.3 * pane[:down] + 0.7 * blind
    elif mood < 0.7:
        pane = 0.6 * pane + 0.4 * np.array((214, 178, 118), np.float32)
    yy, xx = np.mgrid[0:h, 0:w]
    gleam = (xx / max(w, 1) + 0.55 * yy / max(h, 1) - rng.uniform(0.3, 0.9))
    pane += 20 * ((gleam > 0) & (gleam < 0.22))[..., None]
    canvas.image[rows, columns] = pane


def _window(canvas, x0, y0, x1, y1, facade, rng, warm=False, panes=None) -> None:
    """A window with reveal, frame, bars and sill."""
    f = 0.07
    canvas.tone(x0 - 0.05, y0, x1 + 0.05, y1 + 0.05, 0.62)  # the reveal, in shade
    canvas.fill(x0, y0, x1, y1, facade.frame)
    columns, rows = panes or facade.panes
    dx, dy = (x1 - x0 - f) / columns, (y1 - y0 - f) / rows
    _glass(canvas, x0 + f, y0 + f, x1 - f, y1 - f, rng, warm)
    for k in range(1, columns):
        canvas.fill(x0 + k * dx, y0 + f, x0 + k * dx + f * 0.8, y1 - f, facade.frame)
    for k in range(1, rows):
        canvas.fill(x0 + f, y0 + k * dy, x1 - f, y0 + k * dy + f * 0.8, facade.frame)
    canvas.tone(x0, y1 - 0.14, x1, y1, 0.72)  # the lintel's shadow
    canvas.tone(x0, y0, x0 + 0.09, y1, 0.82)


def _bay(canvas, facade, x, y, rng, bay, storey) -> None:
    """One bay of an upper storey with its lower left corner at (x, y)."""
    w, h, sill = facade.window
    has = facade.features
    x0, x1, y0, y1 = x + (facade.bay_m - w) / 2, x + (facade.bay_m + w) / 2, y + sill, y + sill + h
    dark = np.array(facade.trim) * 0.6
    if "balcony" in has and bay in (1, 3):
        _window(canvas, x + 0.3, y + 0.05, x + facade.bay_m - 0.3, y + 2.4, facade, rng, panes=(3, 1))
        canvas.tone(x + 0.05, y - 0.1, x + facade.bay_m - 0.05, y + 0.05, 0.7)
        canvas.fill(x + 0.05, y + 0.05, x + facade.bay_m - 0.05, y + 1.05, facade.trim)
        canvas.fill(x + 0.05, y + 1.0, x + facade.bay_m - 0.05, y + 1.08, (90, 90, 94))
        for k in range(1, 9):
            canvas.tone(x + 0.05 + k * (facade.bay_m - 0.1) / 9, y + 0.05, x + 0.08 + k * (facade.bay_m - 0.1) / 9,
                        y + 1.0, 0.86)
        return
    if "surround" in has:
        canvas.fill(x0 - 0.17, y0 - 0.1, x1 + 0.17, y1 + 0.2, facade.trim)
        canvas.tone(x1 + 0.17, y0 - 0.1, x1 + 0.21, y1 + 0.2, 0.8)
    if "lintel" in has:
        canvas.fill(x0 - 0.2, y1 + 0.06, x1 + 0.2, y1 + 0.3, facade.trim)
        canvas.tone(x0 - 0.2, y1 + 0.02, x1 + 0.2, y1 + 0.06, 0.6)
    _window(canvas, x0, y0, x1, y1, facade, rng)
    if "arch" in has:
        rows, columns = canvas.box(x0 - 0.02, y1 - (0.35 if h < 4 else w / 2), x1 + 0.02, y1 + 0.02)
        yy, xx = np.mgrid[0:rows.stop - rows.start, 0:columns.stop - columns.start]
        n, m = yy.shape
        outside = ((xx - m / 2) / (m / 2)) ** 2 + ((n - yy) / n) ** 2 > 1
        canvas.image[rows, columns][outside] = facade.trim
    if "shutters" in has:
        for a, b in ((x0 - 0.52, x0 - 0.04), (x1 + 0.04, x1 + 0.52)):
            canvas.fill(a, y0, b, y1, (74, 104, 92))
            for k in range(12):
                canvas.tone(a + 0.06, y0 + (k + 0.3) * h / 12, b - 0.06, y0 + (k + 0.5) * h / 12, 0.76)
    canvas.fill(x0 - 0.13, y0 - 0.1, x1 + 0.13, y0, facade.trim)  # sill and its shadow
    canvas.tone(x0 - 0.13, y0 - 0.2, x1 + 0.13, y0 - 0.1, 0.72)
    if "pilaster" in has:
        canvas.tone(x - 0.02, y, x + 0.22, y + facade.storey_m, 1.07)
        canvas.tone(x + 0.22, y, x + 0.28, y + facade.storey_m, 0.75)
    if "grid" in has:
        canvas.fill(x, y, x + 0.03, y + facade.storey_m, dark)
        canvas.fill(x, y, x + facade.bay_m, y + 0.03, dark)


def _curtain_wall(canvas, facade, rng) -> None:
    """Glass from slab to slab between mullions, with a darker spandrel at each floor."""
    w, h, sill = facade.window
    for storey in range(STOREYS):
        y = storey * facade.storey_m
        for bay in range(BAYS):
            x = bay * facade.bay_m
            canvas.fill(x, y, x + facade.bay_m, y + sill, np.array(facade.rgb) * rng.uniform(0.56, 0.66))
            _glass(canvas, x, y + sill, x + facade.bay_m, y + facade.storey_m, rng)
            box = canvas.box(x, y + sill, x + facade.bay_m, y + facade.storey_m)
            canvas.image[box] = 0.5 * canvas.image[box] + 0.5 * np.array(facade.rgb) * rng.uniform(0.86, 1.14)
            for k in range(facade.panes[0]):
                at = x + k * facade.bay_m / facade.panes[0]
                canvas.fill(at, y, at + 0.07, y + facade.storey_m, facade.frame)
            if "fins" in facade.features:
                canvas.fill(x, y, x + 0.22, y + facade.storey_m, np.array(facade.frame) * 1.5)
        canvas.fill(0, y + sill, BAYS * facade.bay_m, y + sill + 0.07, facade.frame)
        canvas.fill(0, y, BAYS * facade.bay_m, y + 0.1, np.array(facade.frame) * 0.85)


def _ground(canvas, facade, rng, shop: bool) -> None:
    """Street-level storey: shop windows under a sign band, or a raised ground floor; a door in bay 2."""
    b, top = facade.bay_m, GROUND_STOREY_M
    stone = np.array(facade.rgb) * 0.5 + np.array((66, 64, 62))
    dark = np.array((54, 56, 58), np.float32)
    if shop:
        canvas.image[:] = canvas.image * 0.35 + 0.65 * stone
    sign = np.array(((118, 40, 36), (36, 72, 64), (38, 54, 92), (150, 110, 48), (70, 62, 58))[rng.integers(5)])
    for bay in range(BAYS):
        x = bay * b
        if bay == 2:
            continue
        if shop:
            canvas.fill(x + 0.2, 0.35, x + b - 0.2, 2.85, dark)
            _glass(canvas, x + 0.28, 0.45, x + b - 0.28, 2.78, rng, warm=True)
            for _ in range(7):  # goods on display
                at, up = rng.uniform(x + 0.35, x + b - 0.6), rng.uniform(0.45, 1.3)
                canvas.fill(at, up, at + rng.uniform(0.12, 0.4), up + rng.uniform(0.2, 0.6),
                            rng.uniform(70, 190) * (1 + rng.uniform(-0.16, 0.16, 3)) * (1.04, 0.98, 0.9))
            box = canvas.box(x + 0.28, 0.45, x + b - 0.28, 2.78)
            canvas.image[box] = 0.72 * canvas.image[box] + 0.28 * np.array((120, 138, 150), np.float32)
        else:
            w, h = facade.window[0], min(facade.window[1], 1.9)
            x0 = x + (b - w) / 2
            if "surround" in facade.features:
                canvas.fill(x0 - 0.17, 1.2, x0 + w + 0.17, 1.5 + h, facade.trim)
            _window(canvas, x0, 1.3, x0 + w, 1.3 + h, facade, rng)
            canvas.fill(x0 - 0.13, 1.2, x0 + w + 0.13, 1.3, facade.trim)
    if shop:
        canvas.fill(0, 2.95, BAYS * b, 3.55, sign)
        for bay in range(BAYS):
            for k in range(int(rng.integers(6, 10))):  # lettering that nobody can read
                x = bay * b + 0.45 + k * 0.2
                if x < (bay + 1) * b - 0.5:
                    canvas.fill(x, 3.1, x + rng.uniform(0.07, 0.15), 3.1 + rng.uniform(0.18, 0.3), (236, 228, 206))
        canvas.tone(0, 2.86, BAYS * b, 2.95, 0.5)
    else:
        canvas.image[canvas.box(0, 0, BAYS * b, 0.75)] *= 0.3
        canvas.image[canvas.box(0, 0, BAYS * b, 0.75)] += 0.7 * stone * 0.92
    middle, half = 2.5 * b, min(0.62 if shop else 0.72, b * 0.36)
    canvas.fill(middle - half - 0.16, 0, middle + half + 0.16, 2.95, facade.trim if not shop else dark * 1.4)
    wood = np.array(((104, 68, 44), (52, 78, 70), (96, 36, 34), (60, 66, 82))[rng.integers(4)], np.float32)
    canvas.fill(middle - half, 0, middle + half, 2.2, wood)
    _glass(canvas, middle - half, 2.3, middle + half, 2.85, rng, warm=True)
    for sign_x in (-1, 1):
        a, c = sorted((middle + sign_x * 0.08, middle + sign_x * (half - 0.1)))
        canvas.tone(a, 0.2, c, 0.85, 0.78)
        _glass(canvas, a, 1.0, c, 2.05, rng)
    canvas.fill(middle - 0.02, 0, middle + 0.02, 2.2, wood * 0.5)
    canvas.fill(0, top - 0.28, BAYS * b, top - 0.06, facade.trim)
    canvas.tone(0, top - 0.36, BAYS * b, top - 0.28, 0.65)


@lru_cache(maxsize=64)
def facade_texture(name: str, part: str) -> np.ndarray:
    """[H, W, 3] uint8 picture of a design; part is "upper" (5 bays x 3 storeys), "shop" or "house" (5 bays)."""
    facade = FACADES[name]
    rng = np.random.default_rng([sum(map(ord, name)), len(part)])
    rows, columns = _SIZE["upper" if part == "upper" else "ground"]
    hall = facade.wall == "metal"
    height_m = STOREYS * facade.storey_m if part == "upper" else (facade.storey_m if hall else GROUND_STOREY_M)
    canvas = _Canvas(2 * rows, 2 * columns, BAYS * facade.bay_m, height_m)
    _wall(canvas, facade, rng, height_m)
    if hall:
        _shed_front(canvas, facade, rng)
    elif part != "upper":
        _ground(canvas, facade, rng, part == "shop")
    elif facade.wall == "glass":
        _curtain_wall(canvas, facade, rng)
    else:
        for storey in range(STOREYS):
            for bay in range(BAYS):
                _bay(canvas, facade, bay * facade.bay_m, storey * facade.storey_m, rng, bay, storey)
            if "band" in facade.features:
                y = (storey + 1) * facade.storey_m
                canvas.fill(0, y - 0.2, BAYS * facade.bay_m, y, facade.trim)
                canvas.tone(0, y - 0.28, BAYS * facade.bay_m, y - 0.2, 0.7)
    return finish(cv2.resize(canvas.image, (columns, rows), interpolation=cv2.INTER_AREA))


@lru_cache(maxsize=32)
def blank_texture(name: str) -> np.ndarray:
    """[256, 256, 3] uint8 windowless wall of a design, 4 x 4 m, for gables and fire walls."""
    facade = FACADES[name]
    canvas = _Canvas(512, 512, 4.0, 4.0)
    if facade.wall == "glass":
        canvas.image[:] = np.array(facade.rgb) * 0.62
    else:
        _wall(canvas, facade, np.random.default_rng(len(name)), 4.0)
    return finish(cv2.resize(canvas.image, (256, 256), interpolation=cv2.INTER_AREA))
