"""Textures of ground, roofs, walls and leaves, drawn by program; all repeat without a seam.

Every function returns [H, W, 3] uint8, row 0 at the top (v = 1), drawn once per process and then shared.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np


def noise(height: int, width: int, cells: tuple[int, int], rng) -> np.ndarray:
    """[H, W] float32 smooth noise in -1..1 that repeats at the borders; `cells` (down, across) sets its grain."""
    coarse = rng.random(cells).astype(np.float32) * 2 - 1
    pad = 3
    wide = np.pad(coarse, pad, mode="wrap")
    sy, sx = height / cells[0], width / cells[1]
    full = cv2.resize(wide, (round(width + 2 * pad * sx), round(height + 2 * pad * sy)), interpolation=cv2.INTER_CUBIC)
    return full[round(pad * sy):round(pad * sy) + height, round(pad * sx):round(pad * sx) + width]


def finish(image: np.ndarray) -> np.ndarray:
    """Float image 0..255 as a read-only uint8 texture."""
    texture = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    texture.setflags(write=False)
    return texture


def _flat(height, width, rgb) -> np.ndarray:
    return np.broadcast_to(np.array(rgb, np.float32), (height, width, 3)).copy()


@lru_cache(maxsize=1)
def asphalt() -> np.ndarray:
    """Carriageway, 10 x 10 m: grain, worn lighter areas, patches and thin cracks."""
    rng, n = np.random.default_rng(101), 512
    image = _flat(n, n, (92, 92, 95))
    grain = rng.normal(0, 5.5, (n, n)).astype(np.float32)
    tone = 6 * noise(n, n, (5, 5), rng) + 4 * noise(n, n, (17, 17), rng) + 3 * noise(n, n, (90, 90), rng)
    for _ in range(3):
        x, y, w, h = rng.integers(20, 380), rng.integers(20, 380), rng.integers(30, 110), rng.integers(30, 90)
        tone[y:y + h, x:x + w] -= rng.uniform(3, 8)
    cracks = np.zeros((n, n), np.float32)
    for _ in range(5):
        path = np.cumsum(np.vstack([rng.integers(60, 450, (1, 2)), rng.normal(0, 7, (20, 2)) + rng.normal(0, 4, 2)]), 0)
        cv2.polylines(cracks, [path.astype(np.int32)], False, 1.0, 1, cv2.LINE_AA)
    return finish(image + (grain + tone - 16 * cracks)[..., None])


@lru_cache(maxsize=1)
def paving() -> np.ndarray:
    """Pavement, 5 x 5 m: concrete slabs of 0.5 m with single stones a shade off."""
    rng, n, count = np.random.default_rng(102), 512, 10
    slab = rng.normal(0, 5, (count, count)).astype(np.float32)
    size = n / count
    row, col = (np.arange(n) / size).astype(int), (np.arange(n) / size).astype(int)
    tone = slab[row][:, col] + rng.normal(0, 3.2, (n, n)).astype(np.float32) + 4 * noise(n, n, (6, 6), rng)
    for k in range(count):
        at = int(k * size)
        tone[at:at + 2] -= 24
        tone[:, at:at + 2] -= 24
        tone[at + 2:at + 3] += 7
    return finish(_flat(n, n, (172, 167, 160)) + tone[..., None])


@lru_cache(maxsize=1)
def cobbles() -> np.ndarray:
    """Yard and quay paving, 2.5 x 2.5 m: setts in running bond."""
    rng, n, count = np.random.default_rng(103), 512, 16
    size = n // count
    tone = np.zeros((n, n), np.float32)
    for r in range(count):
        shift = (r % 2) * size // 2
        for c in range(count):
            x = (c * size + shift) % n
            tint = rng.normal(0, 11)
            for part in (x, x - n):
                a, b = max(part + 2, 0), max(part + size - 1, 0)
                tone[r * size + 2:(r + 1) * size - 1, a:b] = 14 + tint
    tone = cv2.blur(tone, (3, 3))
    tone += rng.normal(0, 4, (n, n)).astype(np.float32)
    return finish(_flat(n, n, (138, 130, 122)) + tone[..., None] * (1.0, 0.97, 0.93))


@lru_cache(maxsize=1)
def grass() -> np.ndarray:
    """Lawn, 25 x 12.5 m: blades, clover patches, drier and lusher spots."""
    rng, h, w = np.random.default_rng(104), 512, 1024
    lush = noise(h, w, (4, 7), rng) * 0.55 + noise(h, w, (11, 22), rng) * 0.4 + noise(h, w, (40, 80), rng) * 0.3
    blades = cv2.blur(rng.normal(0, 1, (h, w)).astype(np.float32), (1, 3)) * 1.6
    image = _flat(h, w, (104, 122, 66))
    image += lush[..., None] * (-17, -9, -13) + blades[..., None] * (8, 9.5, 6)
    image += np.clip(noise(h, w, (60, 120), rng) - 0.25, 0, 1)[..., None] * (16, 14, 4)
    return finish(image)


@lru_cache(maxsize=1)
def gravel() -> np.ndarray:
    """Park path and flat roof, 5 x 5 m: fine sandy grit."""
    rng, n = np.random.default_rng(105), 512
    tone = rng.normal(0, 9, (n, n)).astype(np.float32)
    tone = cv2.blur(tone, (2, 2)) * 1.5 + 5 * noise(n, n, (8, 8), rng) + 4 * noise(n, n, (30, 30), rng)
    return finish(_flat(n, n, (188, 172, 145)) + tone[..., None])


@lru_cache(maxsize=1)
def water() -> np.ndarray:
    """Water, 25 x 25 m: ripples over deep green-blue."""
    rng, n = np.random.default_rng(106), 512
    ripple = noise(n, n, (46, 20), rng) * 0.6 + noise(n, n, (90, 44), rng) * 0.45 + noise(n, n, (9, 7), rng) * 0.5
    image = _flat(n, n, (62, 92, 104)) + ripple[..., None] * (9, 11, 12)
    return finish(image + np.clip(ripple - 0.8, 0, 1)[..., None] * (30, 33, 34))


@lru_cache(maxsize=1)
def granite() -> np.ndarray:
    """Kerbs, plinths and quay walls, 2 x 2 m: speckled stone in courses."""
    rng, n = np.random.default_rng(107), 256
    tone = rng.normal(0, 10, (n, n)).astype(np.float32) + 6 * noise(n, n, (6, 6), rng)
    for k in range(4):
        tone[k * 64:k * 64 + 2] -= 26
        for c in range(2):
            x = (c * 128 + (k % 2) * 64) % n
            tone[k * 64:(k + 1) * 64, x:x + 2] -= 22
    return finish(_flat(n, n, (160, 156, 152)) + tone[..., None])


@lru_cache(maxsize=1)
def paint() -> np.ndarray:
    """Lane marking, 2.5 x 2.5 m: white, a little worn."""
    rng, n = np.random.default_rng(108), 128
    worn = np.clip(noise(n, n, (24, 24), rng) * 0.6 + noise(n, n, (60, 60), rng) * 0.5 - 0.3, 0, 1)
    return finish(_flat(n, n, (228, 228, 222)) - worn[..., None] * 70 + rng.normal(0, 4, (n, n, 1)))


@lru_cache(maxsize=1)
def tiles() -> np.ndarray:
    """Pitched roof, 4 x 4 m (v up the slope): rows of pantiles, tinted by the material."""
    rng, n, rows, cols = np.random.default_rng(109), 512, 12, 16
    y, x = np.mgrid[0:n, 0:n].astype(np.float32)
    down = (y * rows / n) % 1.0
    wave = np.sin(2 * np.pi * x * cols / n)
    tile = rng.normal(0, 9, (rows, cols)).astype(np.float32)
    tone = tile[(y * rows / n).astype(int), (x * cols / n).astype(int)]
    tone += 13 * wave + 16 * down - 8
    tone -= 46 * (down > 0.9) + 8 * (down < 0.06)
    tone += 7 * noise(n, n, (5, 5), rng) + rng.normal(0, 3, (n, n)).astype(np.float32)
    return finish(_flat(n, n, (205, 200, 196)) + tone[..., None] * (1.0, 0.95, 0.9))


@lru_cache(maxsize=1)
def slate() -> np.ndarray:
    """Steep roofs, 4 x 4 m: small slates in running bond."""
    rng, n, rows, cols = np.random.default_rng(110), 512, 20, 16
    y, x = np.mgrid[0:n, 0:n].astype(np.float32)
    row = (y * rows / n).astype(int)
    column = ((x * cols / n + 0.5 * (row % 2)) % cols)
    tile = rng.normal(0, 13, (rows, cols)).astype(np.float32)
    tone = tile[row, column.astype(int) % cols]
    tone -= 38 * (((y * rows / n) % 1.0) > 0.88) + 26 * ((column % 1.0) < 0.07)
    tone += 5 * noise(n, n, (5, 5), rng) + rng.normal(0, 3, (n, n)).astype(np.float32)
    return finish(_flat(n, n, (178, 180, 186)) + tone[..., None])


@lru_cache(maxsize=1)
def seam_metal() -> np.ndarray:
    """Shallow metal roofs, 4 x 4 m (v up the slope): standing seams."""
    rng, n = np.random.default_rng(111), 256
    tone = 7 * noise(n, n, (4, 4), rng) + 4 * noise(n, n, (3, 30), rng)
    for k in range(8):
        tone[:, k * 32:k * 32 + 2] += 26
        tone[:, k * 32 + 2:k * 32 + 4] -= 30
    tone[:2] -= 14
    return finish(_flat(n, n, (186, 190, 192)) + tone[..., None])


@lru_cache(maxsize=1)
def bitumen() -> np.ndarray:
    """Flat roofs, 5 x 5 m: felt in sheets with lapped joints and puddle marks."""
    rng, n = np.random.default_rng(112), 512
    tone = rng.normal(0, 5, (n, n)).astype(np.float32) + 7 * noise(n, n, (5, 5), rng) + 4 * noise(n, n, (14, 14), rng)
    for k in range(5):
        tone[:, k * n // 5:k * n // 5 + 3] -= 20
    tone[n // 3:n // 3 + 3] -= 16
    return finish(_flat(n, n, (150, 148, 145)) + tone[..., None])


@lru_cache(maxsize=1)
def plaster() -> np.ndarray:
    """Blank render walls, 5 x 5 m, tinted by the material."""
    rng, n = np.random.default_rng(113), 256
    tone = rng.normal(0, 3, (n, n)).astype(np.float32) + 5 * noise(n, n, (5, 5), rng) + 4 * noise(n, n, (3, 26), rng)
    return finish(_flat(n, n, (236, 232, 226)) + tone[..., None])


@lru_cache(maxsize=2)
def leaves(kind: str) -> np.ndarray:
    """Foliage, 4 x 4 m: clumps of light and dark leaves ("broad") or needles ("needle")."""
    rng, n = np.random.default_rng(114 if kind == "broad" else 115), 256
    clump = noise(n, n, (12, 12), rng) * 0.5 + noise(n, n, (26, 26), rng) * 0.5
    image = _flat(n, n, (104, 132, 62) if kind == "broad" else (66, 96, 66))
    image += clump[..., None] * (30, 30, 16)
    count, size = (2600, (3, 6)) if kind == "broad" else (2600, (1, 8))
    where = rng.integers(0, n, (count, 2))
    light = rng.normal(0, 1, count)
    for (x, y), tone in zip(where.tolist(), light.tolist(), strict=True):
        colour = image[y, x] + tone * np.array((20, 22, 11), np.float32)
        angle = (x * 37 + y * 91) % 180
        cv2.ellipse(image, (x, y), (size[1] // 2 + 1, size[0] // 2 + 1), angle, 0, 360, colour.tolist(), -1)
    return finish(image)


@lru_cache(maxsize=1)
def car_body() -> np.ndarray:
    """Side of a car (u nose to tail over its length, v over 1 m of height), white for the paint to tint."""
    n, m = 128, 512
    image = _flat(n, m, (246, 246, 246))
    y, x = np.mgrid[0:n, 0:m].astype(np.float32)
    image *= (0.86 + 0.14 * (1 - y / n))[..., None]
    image[n - 18:] *= 0.4  # sill
    for u in (0.36, 0.53, 0.7):  # door gaps
        image[30:n - 14, round(u * m):round(u * m) + 2] *= 0.45
    image[44:47, :] *= 0.86
    for u in (0.41, 0.58):
        image[36:40, round(u * m):round(u * m) + 18] *= 0.55
    for u in (0.2, 0.8):  # wheel arches
        image[((x - u * m) / (0.088 * m)) ** 2 + ((y - n + 8) / (0.4 * n)) ** 2 < 1] = (26, 26, 27)
    image[:10] = (250, 250, 250)
    return finish(image)


@lru_cache(maxsize=1)
def car_glass() -> np.ndarray:
    """Side windows of a car: two panes between dark pillars, sky reflected above."""
    n, m = 64, 256
    t = np.linspace(0, 1, n, dtype=np.float32)[:, None, None]
    image = np.broadcast_to((1 - t) * (96, 116, 132) + t * (34, 42, 48), (n, m, 3)).astype(np.float32)
    for u0, u1 in ((0.0, 0.06), (0.5, 0.54), (0.94, 1.0)):
        image[:, round(u0 * m):round(u1 * m)] = (24, 25, 27)
    image[:6] = (30, 31, 33)
    return finish(image)


@lru_cache(maxsize=1)
def awning() -> np.ndarray:
    """Striped cloth, 2 m across: one coloured and one light stripe in turn, tinted by the material."""
    image = _flat(64, 128, (235, 235, 235))
    for k in range(4):
        image[:, k * 32:k * 32 + 16] = (150, 150, 150)
    return finish(image)


@lru_cache(maxsize=1)
def bark() -> np.ndarray:
    """Trunks, 1 x 2 m: upright ridges."""
    rng, n = np.random.default_rng(116), 128
    tone = 22 * noise(n, n, (6, 40), rng) + rng.normal(0, 6, (n, n)).astype(np.float32)
    return finish(_flat(n, n, (104, 86, 70)) + tone[..., None])
