"""Trees: a few species as lumpy crowns on trunks, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely

from rsnb.city import surfaces
from rsnb.city.assembly import Palette, Parts
from rsnb.city.options import TREE
from rsnb.city.terrain import Terrain

_VARIANTS = 5


@dataclass(frozen=True)
class Species:
    """Shape of a species at height 1: crown blobs (x, y, z, radius across, radius up) and trunk."""

    name: str
    blobs: tuple[tuple[float, float, float, float, float], ...]
    trunk_top: float
    trunk_radius: float
    leaves: str
    tints: tuple[tuple[float, float, float], ...]
    clumps: int = 190
    clump_size: float = 0.085


SPECIES = {
    "linden": Species("linden", ((0, 0, 0.64, 0.22, 0.25), (0.1, 0.04, 0.77, 0.16, 0.19),
                                 (-0.1, -0.07, 0.68, 0.17, 0.2)),
                      0.55, 0.02, "broad", ((0.8, 0.9, 0.7), (0.9, 0.95, 0.72), (0.74, 0.85, 0.68))),
    "maple": Species("maple", ((0, 0, 0.66, 0.26, 0.23), (0.13, -0.06, 0.6, 0.18, 0.17),
                               (-0.11, 0.1, 0.73, 0.19, 0.19)),
                     0.55, 0.024, "broad", ((0.78, 0.82, 0.64), (0.98, 0.92, 0.64), (0.86, 0.82, 0.6))),
    "birch": Species("birch", ((0, 0, 0.52, 0.14, 0.22), (0.04, 0.03, 0.77, 0.12, 0.2), (-0.05, 0.02, 0.64, 0.13, 0.2)),
                     0.5, 0.014, "broad", ((1.0, 1.02, 0.8), (0.94, 0.98, 0.84)), 170, 0.062),
    "poplar": Species("poplar", ((0, 0, 0.42, 0.1, 0.32), (0.01, 0.01, 0.7, 0.075, 0.28)), 0.3, 0.018, "broad",
                      ((0.74, 0.88, 0.68), (0.82, 0.92, 0.7)), 190, 0.05),
    "spruce": Species("spruce", ((0, 0, 0.28, 0.2, 0.2), (0, 0, 0.48, 0.15, 0.2), (0, 0, 0.72, 0.1, 0.27)), 0.3, 0.016,
                      "needle", ((1, 1, 1), (0.86, 0.96, 1.0)), 190, 0.06),
}


@dataclass(frozen=True)
class Trees:
    """The trees table: N trees.

    Attributes:
        xy: [N, 2] foot, model metres.
        height_m, turn: [N] metres; radians about the trunk.
        species: N names of `SPECIES`.
        object_id: [N] instance ids in `mesh.face_object`.
        variant: [N] which of the shapes of the species.
    """

    xy: np.ndarray
    height_m: np.ndarray
    turn: np.ndarray
    species: tuple[str, ...]
    object_id: np.ndarray
    variant: np.ndarray

    def __len__(self) -> int:
        return len(self.xy)


@lru_cache(maxsize=4)
def _ball(level: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit icosphere: vertices [V, 3], faces [F, 3] counter-clockwise from outside; 20, 80 faces for level 0, 1."""
    g = (1 + 5**0.5) / 2
    v = np.array([(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g), (0, -1, -g), (0, 1, -g),
                  (g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)], float)
    f = np.array([(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4), (11, 10, 2),
                  (10, 7, 6), (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5), (2, 4, 11),
                  (6, 2, 10), (8, 6, 7), (9, 8, 1)])
    for _ in range(level):
        edges = np.sort(f[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        unique, number = np.unique(edges, axis=0, return_inverse=True)
        middle = len(v) + number.reshape(-1, 3)
        v = np.concatenate([v, v[unique].mean(axis=1)])
        a, b, c = f.T
        ab, bc, ca = middle.T
        f = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
    return v / np.linalg.norm(v, axis=1, keepdims=True), f


@lru_cache(maxsize=64)
def _shape(species: str, variant: int, detail: str):
    """Crown and trunk of one variant at height 1 m: vertices, faces, uv [F, 3, 2] per metre, is-trunk [F].

    In full detail each blob is a coarse ball under a coat of leaf clumps: single triangles that face about outwards,
    so that the outline is ragged and the light breaks up as it does on foliage.
    """
    kind = SPECIES[species]
    rng = np.random.default_rng([sum(map(ord, species)), variant])
    full = detail == "full"
    blobs = np.array(kind.blobs if full else (_hull(kind),))
    if full:
        blobs = blobs * rng.uniform(0.92, 1.08, blobs.shape)
        spin = rng.uniform(0, 2 * np.pi)
        blobs[:, :2] = blobs[:, :2] @ np.array([[np.cos(spin), np.sin(spin)], [-np.sin(spin), np.cos(spin)]])
    vertices, faces, count = [], [], 0
    for x, y, z, across, up in blobs:
        unit, triangles = _ball(0)
        turn = rng.uniform(0, 2 * np.pi)
        c, s = np.cos(turn), np.sin(turn)
        unit = unit @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        if kind.leaves == "needle":
            unit = _tier(unit)
        vertices.append(unit * (0.88 if full else 1.05) * (across, across, up) + (x, y, z))
        faces.append(triangles + count)
        count += len(unit)
    if full:
        clumps = _clumps(kind, blobs, rng)
        vertices.append(clumps.reshape(-1, 3))
        faces.append(count + np.arange(3 * len(clumps)).reshape(-1, 3))
        count += 3 * len(clumps)
    crown = sum(len(f) for f in faces)
    sides = 5 if full else 3
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    foot = np.column_stack([ring * kind.trunk_radius * 1.25, np.full(sides, -0.03)])
    top = np.column_stack([ring * kind.trunk_radius * 0.7, np.full(sides, kind.trunk_top)])
    a = np.arange(sides)
    b = (a + 1) % sides
    vertices += [foot, top]
    faces.append(count + np.concatenate([np.stack([a, b, b + sides], 1), np.stack([a, b + sides, a + sides], 1)]))
    vertices, faces = np.concatenate(vertices), np.concatenate(faces)
    corner = vertices[faces]
    normal = np.abs(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]))
    drop = np.argmax(normal, axis=1)
    keep = np.array([[1, 2], [0, 2], [0, 1]])[drop]
    uv = np.take_along_axis(corner, keep[:, None, :].repeat(3, axis=1), axis=2)
    return vertices, faces, uv, np.arange(len(faces)) >= crown


def _tier(unit: np.ndarray) -> np.ndarray:
    """A ball [V, 3] as a tier of a conifer: wide below, pointed above."""
    taper = np.where(unit[:, 2:] > 0, 1 - 0.75 * unit[:, 2:], 1 + 0.15 * unit[:, 2:])
    return unit * np.concatenate([taper, taper, np.ones_like(taper)], axis=1)


def _clumps(kind: Species, blobs: np.ndarray, rng) -> np.ndarray:
    """[C, 3, 3] leaf clumps spread evenly over the outside of the blobs."""
    area = blobs[:, 3] * (blobs[:, 3] + 2 * blobs[:, 4])
    each = np.maximum(np.round(kind.clumps * area / area.sum()), 8).astype(int)
    out = []
    for (x, y, z, across, up), n in zip(blobs, each, strict=True):
        k = np.arange(n) + 0.5
        height = 1 - 2 * k / n
        turn = np.pi * (1 + 5**0.5) * k + rng.normal(0, 0.25, n)
        direction = np.column_stack([np.cos(turn) * np.sqrt(1 - height**2), np.sin(turn) * np.sqrt(1 - height**2),
                                     height])
        shell = _tier(direction) if kind.leaves == "needle" else direction
        centre = shell * rng.uniform(0.86, 1.06, (n, 1)) * (across, across, up) + (x, y, z)
        others = [b for b in blobs if b[2] != z]
        buried = np.zeros(n, bool)
        for b in others:
            buried |= ((((centre - b[:3]) / (b[3], b[3], b[4])) ** 2).sum(axis=1) < 0.62)
        normal = direction + rng.normal(0, 0.42, (n, 3))
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        side = np.cross(normal, rng.normal(0, 1, (n, 3)))
        side /= np.linalg.norm(side, axis=1, keepdims=True)
        other = np.cross(normal, side)
        size = kind.clump_size * rng.uniform(0.8, 1.25, (n, 1))
        corners = [centre + size * (np.cos(t) * side + np.sin(t) * other)
                   for t in (0.0, 2 * np.pi / 3 + 0.2, 4 * np.pi / 3 - 0.2)]
        out.append(np.stack(corners, axis=1)[~buried])
    return np.concatenate(out)


def _hull(kind: Species):
    """One blob about as large as all of a species' blobs together."""
    blobs = np.array(kind.blobs)
    low, high = (blobs[:, 2] - blobs[:, 4]).min(), (blobs[:, 2] + blobs[:, 4]).max()
    across = (np.hypot(blobs[:, 0], blobs[:, 1]) * 0.7 + blobs[:, 3]).max()
    return 0.0, 0.0, (low + high) / 2, across, (high - low) / 2


def add_trees(parts: Parts, palette: Palette, trees: Trees, terrain: Terrain, lift_m: float, detail: str) -> None:
    """Adds all trees; feet stand on the ground (lifted by the kerb's height)."""
    z = terrain(trees.xy[:, 0], trees.xy[:, 1]) + lift_m
    species = np.array(trees.species)
    bark = {name: palette.look("bark", surfaces.bark(), (1.7, 1.75, 1.8) if name == "birch" else (1, 1, 1))
            for name in SPECIES}
    for name, kind in SPECIES.items():
        for variant in range(_VARIANTS):
            which = np.flatnonzero((species == name) & (trees.variant == variant))
            if len(which) == 0:
                continue
            shape, faces, uv, trunk = _shape(name, variant, detail)
            tint = kind.tints[variant % len(kind.tints)]
            leaf = palette.look(f"leaves_{kind.leaves}", surfaces.leaves(kind.leaves), tint)
            size, n = trees.height_m[which], len(which)
            c, s = np.cos(trees.turn[which])[:, None], np.sin(trees.turn[which])[:, None]
            x = (c * shape[:, 0] - s * shape[:, 1]) * size[:, None] + trees.xy[which, :1]
            y = (s * shape[:, 0] + c * shape[:, 1]) * size[:, None] + trees.xy[which, 1:]
            up = shape[:, 2] * size[:, None] + z[which, None]
            vertices = np.stack([x, y, up], axis=-1).reshape(-1, 3)
            all_faces = (faces + len(shape) * np.arange(n)[:, None, None]).reshape(-1, 3)
            all_uv = (uv * (size[:, None, None, None] / np.where(trunk, 2.0, 4.0)[:, None, None])).reshape(-1, 3, 2)
            look = np.tile(np.where(trunk, bark[name], leaf), n)
            parts.add(vertices, all_faces, all_uv, look, TREE, np.repeat(trees.object_id[which], len(faces)))


def scatter(area: shapely.Geometry, spacing_m: float, rng, most: int) -> np.ndarray:
    """[N, 2] random points of an area, none nearer than spacing_m to another (dart throwing)."""
    if area.is_empty or most <= 0:
        return np.zeros((0, 2))
    x0, y0, x1, y1 = area.bounds
    tries = min(int(9 * (x1 - x0) * (y1 - y0) / spacing_m**2) + 20, 30000)
    points = rng.uniform((x0, y0), (x1, y1), (tries, 2))
    shapely.prepare(area)
    points = points[shapely.contains_xy(area, points[:, 0], points[:, 1])]
    return thin(points, spacing_m)[:most]


def thin(points: np.ndarray, spacing_m: float) -> np.ndarray:
    """The points [N, 2] that are no nearer than spacing_m to an earlier one."""
    cells: dict[tuple[int, int], list[np.ndarray]] = {}
    kept = []
    for point in points:
        i, j = int(point[0] // spacing_m), int(point[1] // spacing_m)
        near = (q for a in (i - 1, i, i + 1) for b in (j - 1, j, j + 1) for q in cells.get((a, b), ()))
        if all((q[0] - point[0]) ** 2 + (q[1] - point[1]) ** 2 >= spacing_m**2 for q in near):
            cells.setdefault((i, j), []).append(point)
            kept.append(point)
    return np.array(kept).reshape(-1, 2)
