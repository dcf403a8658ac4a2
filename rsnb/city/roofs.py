"""Roofs over rectangles: flat with parapet, gable, hip, mansard, shed, stepped, sawtooth, spire.

All functions work in a house's own frame (x along the front, y inward, z up) and return lists of faces
(corners [n, 3] counter-clockwise from outside, what) where `what` names a look of `HouseFrame`.
"""

from __future__ import annotations

import numpy as np

ROOF_TYPES = ("flat", "gable", "hip", "mansard", "shed", "stepped", "sawtooth", "spire")
_PARAPET_M = 0.7
_PLATE_M = 0.22


def roof_faces(kind: str, width: float, depth: float, z: float, detail: str, blind=(False, False)) -> list:
    """Faces of a roof whose walls end at height z.

    Args:
        kind: one of `ROOF_TYPES` ("stepped" is flat here; its upper storeys are another body).
        width, depth: of the walls, metres.
        z: height of the wall tops.
        detail: "full", or "twin" (no parapets, no overhang).
        blind: (right, left) sides that join a neighbour: no overhang there.
    """
    full = detail == "full"
    over = 0.45 if full else 0.0
    left = over if not blind[1] else 0.0
    right = over if not blind[0] else 0.0
    if kind in ("flat", "stepped"):
        return _flat(width, depth, z, full)
    if kind == "gable":
        return _gable(width, depth, z, over, left, right, full)
    if kind == "hip":
        up = rise("hip", width, depth)
        return _hip((-over, -over, width + over, depth + over), z - 0.72 * over, up + 0.72 * over, full)
    if kind == "mansard":
        return _mansard(width, depth, z, full)
    if kind == "shed":
        return _shed(width, depth, z, over, full)
    if kind == "spire":
        return _hip((-over, -over, width + over, depth + over), z, rise("spire", width, depth), full, "copper")
    return _sawtooth(width, depth, z)


def rise(kind: str, width: float, depth: float) -> float:
    """Height of the highest point of a roof above the wall tops, metres (parapets not counted)."""
    return {"gable": 0.42 * depth, "hip": 0.36 * min(width, depth), "mansard": 2.7 + 0.12 * min(width, depth),
            "shed": 0.16 * depth, "sawtooth": 2.2, "spire": 2.1 * min(width, depth)}.get(kind, 0.0)


def _flat(w, d, z, full):
    if not full:
        return [(np.array([(0, 0, z), (w, 0, z), (w, d, z), (0, d, z)], float), "flat")]
    t, top = 0.3, z + _PARAPET_M
    outer = np.array([(0, 0), (w, 0), (w, d), (0, d)], float)
    inner = np.array([(t, t), (w - t, t), (w - t, d - t), (t, d - t)], float)
    faces = [(_at(inner, z + 0.02), "flat")]
    for k in range(4):
        m = (k + 1) % 4
        faces.append((np.array([(*outer[k], z), (*outer[m], z), (*outer[m], top), (*outer[k], top)]), "trim"))
        faces.append((np.array([(*outer[k], top), (*outer[m], top), (*inner[m], top), (*inner[k], top)]), "trim"))
        faces.append((np.array([(*inner[m], z + 0.02), (*inner[k], z + 0.02), (*inner[k], top), (*inner[m], top)]),
                      "trim"))
    return faces


def _at(points, z):
    return np.column_stack([points, np.full(len(points), z)])


def _plate(quad):
    """Underside and edges of a roof plate, so that eaves seen from the street are closed."""
    low = quad - (0, 0, _PLATE_M)
    faces = [(low[::-1], "trim")]
    for k in range(len(quad)):
        m = (k + 1) % len(quad)
        faces.append((np.array([low[k], low[m], quad[m], quad[k]]), "trim"))
    return faces


def _gable(w, d, z, over, left, right, full):
    slope = 0.42 * 2
    ridge = z + 0.42 * d
    eave = z - slope * over
    front = np.array([(-left, -over, eave), (w + right, -over, eave), (w + right, d / 2, ridge), (-left, d / 2, ridge)])
    back = np.array([(w + right, d + over, eave), (-left, d + over, eave), (-left, d / 2, ridge),
                     (w + right, d / 2, ridge)])
    lift = (0, 0, 0.06 if full else 0.0)
    front, back = front + lift, back + lift
    faces = [(front, "roof"), (back, "roof")]
    if full:
        faces += _plate(front) + _plate(back)
    faces.append((np.array([(w, 0, z), (w, d, z), (w, d / 2, ridge)], float), "wall"))
    faces.append((np.array([(0, d, z), (0, 0, z), (0, d / 2, ridge)], float), "wall"))
    return faces


def _hip(box, z, height, full, what="roof"):
    x0, y0, x1, y1 = box
    if x1 - x0 >= y1 - y0:
        h = (y1 - y0) / 2
        a, b = (x0 + h, (y0 + y1) / 2, z + height), (x1 - h, (y0 + y1) / 2, z + height)
        shapes = [[(x0, y0, z), (x1, y0, z), b, a], [(x1, y0, z), (x1, y1, z), b], [(x1, y1, z), (x0, y1, z), a, b],
                  [(x0, y1, z), (x0, y0, z), a]]
    else:
        h = (x1 - x0) / 2
        a, b = ((x0 + x1) / 2, y0 + h, z + height), ((x0 + x1) / 2, y1 - h, z + height)
        shapes = [[(x0, y0, z), (x1, y0, z), a], [(x1, y0, z), (x1, y1, z), b, a], [(x1, y1, z), (x0, y1, z), b],
                  [(x0, y1, z), (x0, y0, z), a, b]]
    faces = [(np.array(s, float), what) for s in shapes]
    if full:
        base = np.array([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], float)
        faces += _plate(base)
    return faces


def _mansard(w, d, z, full):
    t, up = 0.9, 2.7
    ring0 = np.array([(0, 0), (w, 0), (w, d), (0, d)], float)
    ring1 = np.array([(t, t), (w - t, t), (w - t, d - t), (t, d - t)], float)
    faces = []
    for k in range(4):
        m = (k + 1) % 4
        faces.append((np.array([(*ring0[k], z), (*ring0[m], z), (*ring1[m], z + up), (*ring1[k], z + up)]), "slope"))
    faces += _hip((t, t, w - t, d - t), z + up, 0.12 * min(w, d), False, "metal")
    if full:
        o = 0.35
        rim = np.array([(-o, -o, z + 0.15), (w + o, -o, z + 0.15), (w + o, d + o, z + 0.15), (-o, d + o, z + 0.15)])
        faces += [(rim, "trim"), *_plate(rim)]
    return faces


def _shed(w, d, z, over, full):
    top = z + 0.16 * d
    plate = np.array([(-over, -over, z - 0.16 * over), (w + over, -over, z - 0.16 * over),
                      (w + over, d + over, top + 0.16 * over), (-over, d + over, top + 0.16 * over)])
    plate = plate + (0, 0, 0.06 if full else 0.0)
    faces = [(plate, "metal"), (np.array([(w, 0, z), (w, d, z), (w, d, top)], float), "wall"),
             (np.array([(0, d, z), (0, 0, z), (0, d, top)], float), "wall"),
             (np.array([(w, d, z), (0, d, z), (0, d, top), (w, d, top)], float), "wall")]
    return faces + (_plate(plate) if full else [])


def _sawtooth(w, d, z):
    count = max(2, round(w / 7.0))
    step, up = w / count, 2.2
    faces = []
    for k in range(count):
        a, b = k * step, (k + 1) * step
        faces.append((np.array([(a, 0, z), (b, 0, z + up), (b, d, z + up), (a, d, z)], float), "metal"))
        faces.append((np.array([(b, 0, z), (b, d, z), (b, d, z + up), (b, 0, z + up)], float), "glass"))
        faces.append((np.array([(a, 0, z), (b, 0, z), (b, 0, z + up)], float), "wall"))
        faces.append((np.array([(b, d, z), (a, d, z), (b, d, z + up)], float), "wall"))
    return faces
